//! JSON lines as text: the fields of an object as they were written, and numbers read exactly.
//!
//! The JSON library reads a number with a fraction to within a unit in the last place; certified
//! numbers that lie on the safe side when written should lie there when read. The standard library
//! reads them exactly.

use anyhow::{Context, Result, bail};
use serde::de::value::{Error, MapDeserializer};
use serde::de::{self, DeserializeOwned, IgnoredAny, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Name and value of each field of an object, as written.
pub fn fields(object: &str) -> Result<Vec<(String, &str)>> {
    // what is checked here need not be checked below
    let checked: serde_json::Result<IgnoredAny> = serde_json::from_str(object);
    checked.context("no JSON")?;
    let Some(inside) = within(object, ['{', '}']) else {
        bail!("no JSON object");
    };
    let field = |text| {
        let name = split(text, ':').next().unwrap_or_default();
        let value = text.get(name.len() + 1..).unwrap_or_default();
        Ok((serde_json::from_str(name)?, value.trim()))
    };
    split(inside, ',').map(field).collect()
}

/// The elements of an array, as written; of anything else none.
pub fn elements(array: &str) -> Vec<&str> {
    let inside = within(array, ['[', ']']).unwrap_or_default();
    split(inside, ',').map(str::trim).collect()
}

/// The object with these fields.
pub fn object(fields: &[(String, &str)]) -> Result<String> {
    let field =
        |(name, value): &(String, &str)| Ok(format!("{}:{value}", serde_json::to_string(name)?));
    let fields: Result<Vec<_>> = fields.iter().map(field).collect();
    Ok(format!("{{{}}}", fields?.join(",")))
}

/// Reads an object; numbers that are fields of it are exact.
pub fn exact<T: DeserializeOwned>(object: &str) -> Result<T> {
    let fields = fields(object)?;
    let raw = fields
        .iter()
        .map(|(name, value)| (name.as_str(), Raw(value)));
    Ok(T::deserialize(MapDeserializer::new(raw))?)
}

/// Text of a value.
#[derive(Clone, Copy)]
struct Raw<'a>(&'a str);

impl<'de> IntoDeserializer<'de, Error> for Raw<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for Raw<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (self.0.contains(['.', 'e', 'E']), self.0.parse::<f64>()) {
            // words like inf are no numbers of JSON and stand between quotes
            (true, Ok(number)) => visitor.visit_f64(number),
            _ => {
                let value: serde_json::Value =
                    serde_json::from_str(self.0).map_err(de::Error::custom)?;
                value.deserialize_any(visitor).map_err(de::Error::custom)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            "null" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let value: serde_json::Value = serde_json::from_str(self.0).map_err(de::Error::custom)?;
        let value = value.deserialize_enum(name, variants, visitor);
        value.map_err(de::Error::custom)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// What stands between two brackets.
fn within(text: &str, [open, close]: [char; 2]) -> Option<&str> {
    text.trim().strip_prefix(open)?.strip_suffix(close)
}

/// Parts of valid JSON between separators that stand in no string, array or object.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    let (mut quoted, mut escaped) = (false, false);
    let cut = move |c: char| {
        if quoted {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            quoted = !ends;
            return false;
        }
        match c {
            '"' => quoted = true,
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => return c == separator && depth == 0,
        }
        false
    };
    let empty = text.trim().is_empty();
    text.split(cut).filter(move |_| !empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_was_written() {
        let text = r#"{"a":1.50,"b\"{":"x,\\\"}:","c":{"d":[1,{"e":2}]}, "f" : [] }"#;
        let fields = fields(text).unwrap();
        let expected = [
            ("a", "1.50"),
            ("b\"{", r#""x,\\\"}:""#),
            ("c", r#"{"d":[1,{"e":2}]}"#),
            ("f", "[]"),
        ];
        let read: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        assert_eq!(read, expected);
        let again = object(&fields).unwrap();
        assert_eq!(super::fields(&again).unwrap(), fields);
        assert_eq!(super::fields("{}").unwrap(), []);
        for bad in ["", "[]", "1", r#"{"a":1"#, r#"{"a":}"#] {
            assert!(super::fields(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn elements_of_an_array() {
        assert_eq!(
            elements(r#"[0.1, "a,b",[1,2]]"#),
            ["0.1", r#""a,b""#, "[1,2]"]
        );
        assert!(elements("[]").is_empty() && elements("null").is_empty());
    }

    /// Numbers that the JSON library alone reads one unit in the last place away are exact here.
    #[test]
    fn numbers_are_exact() {
        let (mut state, mut inexact) = (1u64, 0);
        for _ in 0..10_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            let number = (state >> 11) as f64 / (1u64 << 53) as f64 * 1e-5;
            let text = serde_json::to_string(&number).unwrap();
            let row: One = exact(&format!(r#"{{"value":{text}}}"#)).unwrap();
            assert_eq!(row.value, Some(number));
            inexact += usize::from(serde_json::from_str::<f64>(&text).unwrap() != number);
        }
        assert!(inexact > 0, "then there would be no need of this");
        assert_eq!(exact::<One>(r#"{"value":null}"#).unwrap().value, None);
        assert_eq!(exact::<One>(r#"{"value":3}"#).unwrap().value, Some(3.0));
        assert!(exact::<One>(r#"{"value":"3.0"}"#).is_err());
        assert!(exact::<One>(r#"{"value":1,"more":2}"#).is_err());
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct One {
        value: Option<f64>,
    }
}
