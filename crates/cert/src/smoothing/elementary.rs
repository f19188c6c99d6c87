//! ln and exp with the same bits on every machine, and a stated error.

use std::f64::consts::{LN_2, LOG2_E, SQRT_2};

use super::wide::Wide;

/// Relative error of [`ln`] and [`exp`], either side: 2^-48. Their series leave out less than 2^-60;
/// what remains are about ten roundings of 2^-53.
pub(super) const ERROR: f64 = 1.0 / (1u64 << 48) as f64;

/// ln x, x > 0, relative error [`ERROR`] also near 1.
///
/// x = m·2^e with m in [sqrt 1/2, sqrt 2): ln x = e·ln 2 + 2·(s + s³/3 + s⁵/5 + ..),
/// s = (m-1)/(m+1), |s| < 0.172, where m - 1 is exact.
pub(super) fn ln(x: Wide) -> f64 {
    let (m, e) = x.split();
    let (m, e) = if m >= SQRT_2 {
        (x.shifted(-e - 1), e + 1)
    } else {
        (x.shifted(-e), e)
    };
    let (sign, difference) = if m >= Wide::ONE {
        (1.0, m.minus(Wide::ONE))
    } else {
        (-1.0, Wide::ONE.minus(m))
    };
    // a difference below f64 is far below the error of m
    let s = sign * difference.down() / m.plus(Wide::ONE).down();
    let square = s * s;
    let series = (0..12)
        .rev()
        .fold(0.0, |sum, k| 1.0 / f64::from(2 * k + 1) + square * sum);
    e as f64 * LN_2 + 2.0 * s * series
}

/// e^x, finite x, relative error [`ERROR`]; 0 below e^-700, `f64::MAX` above e^700.
pub(super) fn exp(x: f64) -> f64 {
    /// The first 32 bits of ln 2: products with whole numbers below 2^20 are exact.
    const HIGH: f64 = f64::from_bits(LN_2.to_bits() & !((1 << 21) - 1));
    /// ln 2 - HIGH.
    const LOW: f64 = 1.908_214_929_270_587_7e-10;
    if x.abs() > 700.0 {
        return if x < 0.0 { 0.0 } else { f64::MAX };
    }
    let n = (x * LOG2_E).round();
    let r = (x - n * HIGH) - n * LOW;
    let series = (1..16)
        .rev()
        .fold(1.0, |sum, k| 1.0 + r / f64::from(k) * sum);
    series * f64::from_bits(((1023 + n as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) -> bool {
        (got - want).abs() <= ERROR * want.abs()
    }

    /// The library promises nothing, and is right to a unit wherever it was looked at.
    #[test]
    fn near_the_library() {
        for i in 0..20_000 {
            let x = f64::from(i - 10_000) / 14.3;
            assert!(close(exp(x), x.exp()), "{x}");
            let y = 1.0 + f64::from(i - 10_000) / 10_001.0;
            assert!(close(ln(Wide::from(y)), y.ln()), "{y}");
            let z = f64::from(i + 1) * 1e-9;
            assert!(
                close(ln(Wide::ONE.minus(Wide::from(z))), (-z).ln_1p()),
                "{z}"
            );
            assert!(close(ln(Wide::ONE.plus(Wide::from(z))), z.ln_1p()), "{z}");
        }
        assert!(!close(2.0f64.ln() * (1.0 + 2.0 * ERROR), 2.0f64.ln()));
    }

    #[test]
    fn known_values() {
        assert_eq!((exp(0.0), ln(Wide::ONE)), (1.0, 0.0));
        assert!(close(exp(1.0), std::f64::consts::E));
        assert!(close(ln(Wide::whole(10)), std::f64::consts::LN_10));
        assert!(close(ln(Wide::from(0.5).power(1_000_000)), -1e6 * LN_2));
        assert_eq!((exp(-1e4), exp(1e4)), (0.0, f64::MAX));
    }
}
