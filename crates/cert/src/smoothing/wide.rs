//! Positive numbers of 128 bits and any exponent, cut off towards 0.
//!
//! Binomial tails below 1e-1000 and errors below 2^-90 come from four operations in integers, with
//! the same bits on every machine. A *unit* is 2^-127: each operation returns at most what is true,
//! and less by at most the units stated, relative. Errors of products and sums of positive numbers
//! add up; products of errors, below 2^-150 for what is done here, lie in the callers' margins.

use std::cmp::Ordering;

const TOP: u128 = 1 << 127;

/// `mantissa`·2^(`exponent` - 127), the top bit of the mantissa set; or 0, with the least exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wide {
    exponent: i64,
    mantissa: u128,
}

impl Wide {
    pub(super) const ZERO: Wide = Wide {
        exponent: i64::MIN,
        mantissa: 0,
    };
    pub(super) const ONE: Wide = Wide {
        exponent: 0,
        mantissa: TOP,
    };
    /// sqrt(2·pi).
    pub(super) const SQRT_TAU: Wide = Wide {
        exponent: 1,
        mantissa: 0xa06c_98ff_b138_2cb2_be52_0fd7_3916_7717,
    };

    /// `mantissa`·2^`scale`, exact.
    pub(super) fn new(mantissa: u128, scale: i64) -> Self {
        if mantissa == 0 {
            return Wide::ZERO;
        }
        let zeros = mantissa.leading_zeros();
        Wide {
            mantissa: mantissa << zeros,
            exponent: scale + 127 - i64::from(zeros),
        }
    }

    /// A finite number of at least 0, exact.
    pub(super) fn from(value: f64) -> Self {
        debug_assert!(value >= 0.0 && value.is_finite());
        let bits = value.to_bits();
        let (fraction, exponent) = (bits & ((1 << 52) - 1), (bits >> 52) as i64);
        match exponent {
            0 => Wide::new(fraction.into(), -1074),
            _ => Wide::new((fraction | 1 << 52).into(), exponent - 1075),
        }
    }

    pub(super) fn whole(value: u64) -> Self {
        Wide::new(value.into(), 0)
    }

    pub(super) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// 2^`by` times as much, exact.
    pub(super) fn shifted(self, by: i64) -> Self {
        if self.is_zero() {
            return self;
        }
        Wide {
            exponent: self.exponent + by,
            ..self
        }
    }

    /// At most 1 unit.
    pub(super) fn times(self, other: Wide) -> Self {
        if self.is_zero() || other.is_zero() {
            return Wide::ZERO;
        }
        let (high, low) = product(self.mantissa, other.mantissa);
        let exponent = self.exponent + other.exponent;
        if high & TOP != 0 {
            return Wide {
                mantissa: high,
                exponent: exponent + 1,
            };
        }
        Wide {
            mantissa: high << 1 | low >> 127,
            exponent,
        }
    }

    /// By a positive whole number; at most 1 unit.
    pub(super) fn over(self, divisor: u64) -> Self {
        debug_assert!(divisor > 0);
        if self.is_zero() {
            return self;
        }
        let zeros = divisor.leading_zeros();
        let divisor = u128::from(divisor << zeros);
        // two digits of 64 bits; the first is in [2^63, 2^65)
        let (first, rest) = (self.mantissa / divisor, self.mantissa % divisor);
        let second = (rest << 64) / divisor;
        let exponent = self.exponent + i64::from(zeros) - 63;
        if first >> 64 == 0 {
            return Wide {
                mantissa: first << 64 | second,
                exponent: exponent - 1,
            };
        }
        Wide {
            mantissa: first << 63 | second >> 1,
            exponent,
        }
    }

    /// By a positive number; at most 1 unit. Slow: bit by bit.
    pub(super) fn divided_by(self, other: Wide) -> Self {
        debug_assert!(!other.is_zero());
        if self.is_zero() {
            return self;
        }
        let below = self.mantissa < other.mantissa;
        let mut quotient = u128::from(!below);
        let mut rest = self.mantissa - if below { 0 } else { other.mantissa };
        while quotient & TOP == 0 {
            let carry = rest & TOP != 0;
            rest <<= 1;
            quotient <<= 1;
            if carry || rest >= other.mantissa {
                rest = rest.wrapping_sub(other.mantissa);
                quotient |= 1;
            }
        }
        Wide {
            mantissa: quotient,
            exponent: self.exponent - other.exponent - i64::from(below),
        }
    }

    /// At most 2 units.
    pub(super) fn plus(self, other: Wide) -> Self {
        let (large, small) = if self.exponent >= other.exponent {
            (self, other)
        } else {
            (other, self)
        };
        let Some(addend) = small.aligned(large.exponent) else {
            return large;
        };
        match large.mantissa.checked_add(addend) {
            Some(mantissa) => Wide { mantissa, ..large },
            None => Wide {
                mantissa: large.mantissa.wrapping_add(addend) >> 1 | TOP,
                exponent: large.exponent + 1,
            },
        }
    }

    /// `other` <= self; off by at most 1 unit of self, either side.
    pub(super) fn minus(self, other: Wide) -> Self {
        debug_assert!(other <= self);
        match other.aligned(self.exponent) {
            Some(part) => Wide::new(self.mantissa - part, self.exponent - 127),
            None => self,
        }
    }

    /// The mantissa for a larger exponent, cut off; none if nothing is left.
    fn aligned(self, exponent: i64) -> Option<u128> {
        if self.is_zero() {
            return None;
        }
        let shift = u32::try_from(exponent - self.exponent).ok()?;
        self.mantissa.checked_shr(shift)
    }

    /// self^n, n >= 1; at most n - 1 units, and n times those of self.
    pub(super) fn power(self, n: u64) -> Self {
        debug_assert!(n > 0);
        let mut result = self;
        for bit in (0..n.ilog2()).rev() {
            result = result.times(result);
            if n >> bit & 1 == 1 {
                result = result.times(self);
            }
        }
        result
    }

    /// e^self for numbers up to 45; at most 2^14 units.
    pub(super) fn exponential(self) -> Self {
        // (e^(self/128))^128
        let y = self.shifted(-7);
        let (mut power, mut term) = (Wide::ONE, Wide::ONE);
        for k in 1..40 {
            term = term.times(y).over(k);
            power = power.plus(term);
        }
        power.power(128)
    }

    /// What is before the point, of numbers below 2^64.
    pub(super) fn whole_part(self) -> u64 {
        debug_assert!(self.exponent < 64);
        let shift = u32::try_from(127 - self.exponent).unwrap_or(128);
        self.mantissa.checked_shr(shift).unwrap_or(0) as u64
    }

    /// The next double below or equal; `f64::MAX` above that, 0 below `f64::MIN_POSITIVE`.
    pub(super) fn down(self) -> f64 {
        match self.exponent {
            -1022..1024 => {
                let fraction = (self.mantissa >> 75) as u64 & ((1 << 52) - 1);
                f64::from_bits(((self.exponent + 1023) as u64) << 52 | fraction)
            }
            1024.. => f64::MAX,
            _ => 0.0,
        }
    }

    /// (m, e) with m·2^e its value cut off to 53 bits, m in [1, 2). Not of 0.
    pub(super) fn split(self) -> (f64, i64) {
        debug_assert!(!self.is_zero());
        let mantissa = Wide {
            exponent: 0,
            ..self
        };
        (mantissa.down(), self.exponent)
    }
}

impl PartialOrd for Wide {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Wide {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.exponent, self.mantissa).cmp(&(other.exponent, other.mantissa))
    }
}

/// a·b in two halves.
fn product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = a0 * b0;
    let first = a1 * b0 + (low >> 64);
    let second = a0 * b1 + (first & LOW);
    let high = a1 * b1 + (first >> 64) + (second >> 64);
    (high, second << 64 | low & LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `got` is at most `want` and within `units`.
    fn just_below(got: Wide, want: Wide, units: u128) -> bool {
        got <= want && want.minus(got) <= Wide::new(units, want.exponent - 127)
    }

    fn numbers() -> Vec<Wide> {
        let mut state = 1u128;
        (0..200)
            .map(|i| {
                state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645) | 1;
                Wide::new(state, i % 37 - 150)
            })
            .collect()
    }

    #[test]
    fn small_whole_numbers_are_exact() {
        for a in 1..60u64 {
            for b in 1..60u64 {
                let [x, y] = [a, b].map(Wide::whole);
                assert_eq!(x.times(y), Wide::whole(a * b));
                assert_eq!(x.plus(y), Wide::whole(a + b));
                assert_eq!(Wide::whole(a * b).over(b), x);
                assert_eq!(Wide::whole(a * b).divided_by(y), x);
                assert_eq!(x.cmp(&y), a.cmp(&b));
                if a >= b {
                    assert_eq!(x.minus(y), Wide::whole(a - b));
                }
            }
            assert_eq!(Wide::whole(a).power(9), Wide::whole(a.pow(9)));
        }
        assert_eq!(Wide::whole(3).shifted(-2), Wide::from(0.75));
        assert!(Wide::ZERO.plus(Wide::ZERO).is_zero());
        assert!(Wide::ONE.minus(Wide::ONE).is_zero());
    }

    /// x·y/y and x/y·y are x but for what was cut off.
    #[test]
    fn operations_lose_no_more_than_they_say() {
        let numbers = numbers();
        for pair in numbers.windows(2) {
            let [x, y] = [pair[0], pair[1]];
            assert!(just_below(x.times(y).divided_by(y), x, 3));
            assert!(just_below(x.divided_by(y).times(y), x, 3));
            let divisor = (y.mantissa >> 90) as u64;
            assert!(just_below(
                x.over(divisor).times(Wide::whole(divisor)),
                x,
                3
            ));
            assert_eq!(x.over(divisor), x.divided_by(Wide::whole(divisor)));
            let (large, small) = if x > y { (x, y) } else { (y, x) };
            let back = large.plus(small).minus(small);
            assert!(just_below(back, large, 2) || just_below(large, back, 2));
            assert!(
                just_below(x.power(5), x.times(x).times(x).times(x).times(x), 4) || {
                    just_below(x.times(x).times(x).times(x).times(x), x.power(5), 4)
                }
            );
        }
    }

    #[test]
    fn the_comparison_sees_planted_errors() {
        let x = numbers()[3];
        let off = |units: u128| Wide::new(x.mantissa - units, x.exponent - 127);
        assert!(just_below(off(3), x, 3));
        assert!(!just_below(off(4), x, 3), "more than stated");
        assert!(!just_below(x, off(1), 3), "above the truth");
    }

    #[test]
    fn doubles_come_back() {
        for x in [
            0.0,
            1.0,
            0.75,
            0.1,
            1e300,
            f64::MIN_POSITIVE,
            f64::MAX,
            123.456,
        ] {
            assert_eq!(Wide::from(x).down(), x);
        }
        // subnormal numbers are taken exactly, and given back as 0
        assert_eq!(Wide::from(5e-324).shifted(1074), Wide::ONE);
        assert_eq!(Wide::from(5e-324).down(), 0.0);
        assert_eq!(Wide::whole(2).power(5000).down(), f64::MAX);
        assert_eq!(Wide::from(0.5).power(5000).split(), (1.0, -5000));
        assert_eq!(Wide::ONE.over(10).down(), 0.1f64.next_down());
    }

    /// Its square is 2·pi, 0x3.243f6a88... twice.
    #[test]
    fn the_constant_is_a_square_root() {
        let tau = Wide::new(0x3243_f6a8_885a_308d_3131_98a2_e037_0734, -123);
        assert!(just_below(
            Wide::SQRT_TAU.times(Wide::SQRT_TAU),
            tau.plus(Wide::new(1, -123)),
            8
        ));
    }
}
