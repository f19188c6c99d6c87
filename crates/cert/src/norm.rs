//! The norm that measures an attack, and how large the attack may be.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};
use crate::pow::{self, POW_ERROR};

/// An lp norm, 1 <= p <= inf. Written `1`, `1.5`, `2`, `inf`; read also as `l2`, `linf`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Norm(f64);

impl Norm {
    /// Sum of absolute values.
    pub const L1: Norm = Norm(1.0);
    /// Euclidean norm.
    pub const L2: Norm = Norm(2.0);
    /// Largest absolute value.
    pub const LINF: Norm = Norm(f64::INFINITY);

    /// The norm of exponent `p` in [1, inf]; anything else is [`Error::Norm`].
    pub fn new(p: f64) -> Result<Self> {
        if (1.0..=f64::INFINITY).contains(&p) {
            Ok(Norm(p))
        } else {
            Err(Error::norm(p))
        }
    }

    /// Exponent p, 1 to inf.
    pub fn p(self) -> f64 {
        self.0
    }

    /// 2^((1-p)/p), rounded down: the cheapest change of two logits that closes a gap of 1.
    /// Paper 001 eq 3.
    pub(crate) fn gap_factor(self) -> f64 {
        match self.0 {
            1.0 => 1.0,
            f64::INFINITY => 0.5,
            2.0 => std::f64::consts::FRAC_1_SQRT_2.next_down(),
            p => pow::gap_factor(p) * (1.0 - 2.0 * POW_ERROR),
        }
    }

    /// values^max(0, 1/2 - 1/p), rounded up: the l2 norm of that many numbers is at most this
    /// times their lp norm. `values` is at least 1.
    pub(crate) fn to_l2(self, values: usize) -> f64 {
        let values = values as f64;
        match self.0 {
            ..=2.0 => 1.0,
            f64::INFINITY => values.sqrt().next_up(),
            p => {
                // 1/2 - 1/p = 1/e; an e that is too small errs upwards, as values >= 1
                let e = 2.0 * (p / (p - 2.0)) * (1.0 - 4.0 * f64::EPSILON);
                pow::root(values, e) * (1.0 + 2.0 * POW_ERROR)
            }
        }
    }
}

impl FromStr for Norm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let p = text.strip_prefix('l').unwrap_or(text);
        p.parse()
            .ok()
            .and_then(|p| Norm::new(p).ok())
            .ok_or_else(|| Error::norm(text))
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Norm {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Norm> for String {
    fn from(norm: Norm) -> String {
        norm.to_string()
    }
}

/// Size of an attack, in the unit of the premises: 0 to inf. Serialised as a number, inf as the
/// word `inf`, since JSON has no infinity.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Budget(f64);

impl Budget {
    /// A budget of at least 0; inf is allowed, NaN and less than 0 are [`Error::Budget`].
    pub fn new(eps: f64) -> Result<Self> {
        // + 0.0 turns -0 into 0
        if (0.0..=f64::INFINITY).contains(&eps) {
            Ok(Budget(eps + 0.0))
        } else {
            Err(Error::Budget { got: eps })
        }
    }

    /// A number known to be one.
    pub(crate) fn known(eps: f64) -> Self {
        debug_assert!((0.0..=f64::INFINITY).contains(&eps), "budget {eps}");
        Budget(eps)
    }

    /// The number, 0 to inf.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.serialize_str("inf")
        }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(BudgetVisitor)
    }
}

struct BudgetVisitor;

impl de::Visitor<'_> for BudgetVisitor {
    type Value = Budget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a budget: a number of at least 0, or `inf`")
    }

    fn visit_f64<E: de::Error>(self, eps: f64) -> std::result::Result<Budget, E> {
        Budget::new(eps).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, eps: u64) -> std::result::Result<Budget, E> {
        self.visit_f64(eps as f64)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Budget, E> {
        if text == "inf" {
            Ok(Budget(f64::INFINITY))
        } else {
            Err(E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norm() {
        for bad in [f64::NAN, 0.0, 0.999, -2.0, f64::NEG_INFINITY] {
            assert!(matches!(Norm::new(bad), Err(Error::Norm { .. })), "{bad}");
        }
        for (text, norm) in [
            ("l2", Norm::L2),
            ("2", Norm::L2),
            ("1", Norm::L1),
            ("inf", Norm::LINF),
            ("linf", Norm::LINF),
        ] {
            assert_eq!(text.parse(), Ok(norm));
        }
        for bad in ["", "l", "nan", "0.5", "ll2", "two", "-inf"] {
            assert_eq!(bad.parse::<Norm>(), Err(Error::Norm { got: bad.into() }));
        }
        for norm in [Norm::L1, Norm::new(1.5).unwrap(), Norm::L2, Norm::LINF] {
            assert_eq!(norm.to_string().parse(), Ok(norm));
        }
        assert_eq!(
            [Norm::L1, Norm::L2, Norm::LINF].map(|n| n.to_string()),
            ["1", "2", "inf"]
        );
    }

    #[test]
    fn budget() {
        for bad in [f64::NAN, -1.0, -f64::MIN_POSITIVE, f64::NEG_INFINITY] {
            assert!(
                matches!(Budget::new(bad), Err(Error::Budget { .. })),
                "{bad}"
            );
        }
        for good in [0.0, -0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY] {
            let budget = Budget::new(good).unwrap().get();
            assert!(budget == good && budget.is_sign_positive());
        }
    }

    /// Table of section 2.1: 6 digits are given, so the rounding of the table is 5e-7.
    #[test]
    fn gap_factor_is_below_the_table_and_close() {
        const TABLE_DIGITS: f64 = 5e-7;
        for (p, factor) in [
            (1.0, 1.0),
            (1.5, 0.793701),
            (2.0, std::f64::consts::FRAC_1_SQRT_2),
            (3.0, 0.629961),
            (f64::INFINITY, 0.5),
        ] {
            assert!((Norm(p).gap_factor() - factor).abs() <= TABLE_DIGITS, "{p}");
        }
        // f^p <= 2^(1-p), exactly for p = 2: f*f <= 1/2 with the error of the product inside
        let half = Norm::L2.gap_factor();
        assert!(half.mul_add(half, -0.5) < 0.0);
        assert!(
            half.next_up().mul_add(half.next_up(), -0.5) > 0.0,
            "one step more would be too large"
        );
    }

    #[test]
    fn budgets_are_read_as_numbers_and_the_word() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, F64Deserializer, StrDeserializer, U64Deserializer};
        let number: F64Deserializer<Error> = 0.5.into_deserializer();
        assert_eq!(Budget::deserialize(number), Ok(Budget(0.5)));
        let whole: U64Deserializer<Error> = 1u64.into_deserializer();
        assert_eq!(Budget::deserialize(whole), Ok(Budget(1.0)));
        let read = |text: &'static str| {
            Budget::deserialize(
                IntoDeserializer::<Error>::into_deserializer(text) as StrDeserializer<Error>
            )
        };
        assert_eq!(read("inf"), Ok(Budget(f64::INFINITY)));
        assert!(read("0.5").is_err());
        let negative: F64Deserializer<Error> = (-0.5).into_deserializer();
        assert!(Budget::deserialize(negative).is_err());
    }
}
