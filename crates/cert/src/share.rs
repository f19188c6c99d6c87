//! A share of pixels as an exact fraction, and numbers for people rounded to one side.

use std::{cmp::Ordering, fmt};

/// Numbers below this are exact as f64.
pub(crate) const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

/// An exact fraction of pixels in [0, 1], of fewer than 2^53 pixels. Compared by value: 1/2 equals 2/4.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Pixels that count.
    pub numerator: u64,
    /// Pixels in all, at least 1 in every share this crate gives.
    pub denominator: u64,
}

impl Share {
    /// numerator / denominator.
    pub(crate) fn new(numerator: usize, denominator: usize) -> Self {
        Share {
            numerator: numerator as u64,
            denominator: denominator as u64,
        }
    }

    /// The largest f64 that is at most this share; 0 for 0/0.
    pub fn lower(self) -> f64 {
        let (nearest, excess) = self.quotient();
        if excess > 0.0 {
            nearest.next_down()
        } else {
            nearest
        }
    }

    /// The smallest f64 that is at least this share; 1 for 0/0.
    pub fn upper(self) -> f64 {
        let (nearest, excess) = self.quotient();
        if self.denominator == 0 {
            return 1.0;
        }
        if excess < 0.0 {
            nearest.next_up()
        } else {
            nearest
        }
    }

    /// The f64 nearest to this share, for values that are no bounds; 0 for 0/0.
    pub fn nearest(self) -> f64 {
        self.quotient().0
    }

    /// The quotient, and the sign of its rounding error: exact, as a fused product rounds once.
    fn quotient(self) -> (f64, f64) {
        if self.denominator == 0 {
            return (0.0, 0.0);
        }
        let (numerator, denominator) = (self.numerator as f64, self.denominator as f64);
        let quotient = numerator / denominator;
        (quotient, quotient.mul_add(denominator, -numerator))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Share {}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.numerator, other.denominator).cmp(&product(other.numerator, self.denominator))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

/// A value in [0, 1]: of metrics that count an exact fraction, of means a number between two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Exactly this.
    Share(Share),
    /// At least `lower`, at most `upper`; a bound where both are the same.
    Real {
        /// Rounded down.
        lower: f64,
        /// Rounded up.
        upper: f64,
    },
}

impl Value {
    /// A bound that is this very number.
    pub(crate) fn bound(number: f64) -> Self {
        Value::Real {
            lower: number,
            upper: number,
        }
    }

    /// Rounded down.
    pub fn lower(self) -> f64 {
        match self {
            Value::Share(share) => share.lower(),
            Value::Real { lower, .. } => lower,
        }
    }

    /// Rounded up.
    pub fn upper(self) -> f64 {
        match self {
            Value::Share(share) => share.upper(),
            Value::Real { upper, .. } => upper,
        }
    }

    /// To the nearest, for values that are no bounds.
    pub fn nearest(self) -> f64 {
        match self {
            Value::Share(share) => share.nearest(),
            Value::Real { lower, upper } => lower.midpoint(upper),
        }
    }

    /// The exact fraction of the metrics that count.
    pub fn share(self) -> Option<Share> {
        match self {
            Value::Share(share) => Some(share),
            Value::Real { .. } => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Share(share) => share.fmt(f),
            Value::Real { lower, upper } if lower == upper => lower.fmt(f),
            Value::Real { lower, upper } => write!(f, "{lower} to {upper}"),
        }
    }
}

/// `value` with `digits` decimals, rounded down (towards minus infinity): for lower bounds.
/// Exact: .08999 at 3 digits is `0.089`.
pub fn round_down(value: f64, digits: usize) -> String {
    directed(value, digits, value < 0.0)
}

/// `value` with `digits` decimals, rounded up: for upper bounds.
pub fn round_up(value: f64, digits: usize) -> String {
    directed(value, digits, value > 0.0)
}

fn directed(value: f64, digits: usize, away_from_zero: bool) -> String {
    // Every f64 ends within 1074 decimals, so this text is exact.
    const ALL: usize = 1074;
    if !value.is_finite() || digits >= ALL {
        return format!("{value:.digits$}");
    }
    let exact = format!("{value:.ALL$}");
    let (kept, rest) = exact.split_at(exact.len() - ALL + digits);
    let mut kept = kept.trim_end_matches('.').to_owned();
    if away_from_zero && rest.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        kept = one_more(&kept);
    }
    // -0.00 would show a sign that the number shown does not have
    if kept.bytes().all(|b| matches!(b, b'-' | b'.' | b'0')) {
        kept.trim_start_matches('-').to_owned()
    } else {
        kept
    }
}

/// The decimal text one unit of its last digit further from 0.
fn one_more(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for byte in bytes.iter_mut().rev() {
        match byte {
            b'9' => *byte = b'0',
            b'0'..=b'8' => {
                *byte += 1;
                return bytes.into_iter().map(char::from).collect();
            }
            _ => {}
        }
    }
    let sign = text.len() - text.trim_start_matches('-').len();
    bytes.insert(sign, b'1');
    bytes.into_iter().map(char::from).collect()
}

/// The largest f32 that is at most `value`.
pub(crate) fn f32_down(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) > value {
        nearest.next_down()
    } else {
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_enclose_and_touch() {
        for denominator in 1..200u64 {
            for numerator in 0..=denominator {
                let share = Share {
                    numerator,
                    denominator,
                };
                let (lower, upper) = (share.lower(), share.upper());
                // value · denominator against numerator, rounded once: the sign is exact
                let side = |value: f64| value.mul_add(denominator as f64, -(numerator as f64));
                assert!(side(lower) <= 0.0 && side(upper) >= 0.0, "{share}");
                assert!(lower == upper || lower.next_up() == upper, "{share}");
                assert!(
                    (0.0..=1.0).contains(&lower) && (0.0..=1.0).contains(&upper),
                    "{share}"
                );
            }
        }
        let third = Share {
            numerator: 1,
            denominator: 3,
        };
        assert!(third.lower() < third.upper());
        let empty = Share {
            numerator: 0,
            denominator: 0,
        };
        assert_eq!((empty.lower(), empty.upper()), (0.0, 1.0));
    }

    #[test]
    fn shares_compare_by_value() {
        let share = |numerator, denominator| Share {
            numerator,
            denominator,
        };
        assert_eq!(share(1, 2), share(2, 4));
        assert_ne!(share(1, 2), share(2, 5));
        assert!(share(1, 3) > share(333_333_333_333, 1_000_000_000_000));
    }

    #[test]
    fn printing_is_directed() {
        assert_eq!(round_down(0.08999, 3), "0.089");
        assert_eq!(round_up(0.08999, 3), "0.090");
        assert_eq!(round_up(0.0801, 3), "0.081");
        assert_eq!([round_down(1.0, 3), round_up(1.0, 3)], ["1.000", "1.000"]);
        assert_eq!([round_down(0.5, 0), round_up(0.5, 0)], ["0", "1"]);
        assert_eq!(
            [round_down(9.996, 2), round_up(9.996, 2)],
            ["9.99", "10.00"]
        );
        assert_eq!(
            [round_down(-9.996, 2), round_up(-9.996, 2)],
            ["-10.00", "-9.99"]
        );
        assert_eq!(
            [round_down(5e-324, 3), round_up(5e-324, 3)],
            ["0.000", "0.001"]
        );
        assert_eq!(
            [round_down(-5e-324, 3), round_up(-5e-324, 3)],
            ["-0.001", "0.000"]
        );
        assert_eq!([round_down(-0.0, 1), round_up(0.0, 1)], ["0.0", "0.0"]);
        assert_eq!(
            [round_down(f64::INFINITY, 3), round_up(f64::NAN, 3)],
            ["inf", "NaN"]
        );
        // 0.1 lies above 1/10 by 5.6e-18, 0.3 below 3/10
        assert_eq!([round_up(0.1, 1), round_down(0.3, 1)], ["0.2", "0.2"]);
    }

    #[test]
    fn f32_is_rounded_down() {
        for value in [0.1, 1.0 / 3.0, 16777217.0, 1e-50, 1e300, f64::INFINITY, 0.0] {
            let down = f32_down(value);
            assert!(
                f64::from(down) <= value && f64::from(down.next_up()) > value
                    || value.is_infinite(),
                "{value}"
            );
        }
        assert_eq!(f32_down(f64::INFINITY), f32::INFINITY);
    }
}
