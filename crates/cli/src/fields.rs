//! JSON lines as text: the fields of an object as they were written.

use anyhow::{Context, Result, bail};
use serde::de::IgnoredAny;

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
}
