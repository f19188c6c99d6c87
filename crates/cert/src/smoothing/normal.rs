//! The normal distribution function and its quantile: near, and on the safe side.
//!
//! Phi(z) = 1/2 + phi(z)·S(z), S(z) = z + z³/3 + z⁵/(3·5) + .. for z >= 0, of positive terms only.
//! In 128 bits 1 - Phi(8) is known to ten digits, which is what thresholds near 1 need.

use super::elementary::{exp, ln};
use super::wide::Wide;

/// sqrt(2·pi).
const SQRT_TAU: f64 = 2.506_628_274_631_000_7;

/// Phi(z), to 1e-14 relative in the lower tail, absolute above.
pub fn normal_cdf(z: f64) -> f64 {
    if z.is_nan() {
        return z;
    }
    if z < 0.0 { upper(-z) } else { 1.0 - upper(z) }
}

/// The z with Phi(z) = p, within 1e-14·max(1, |z|) for p from 1e-300 to 1 - 2^-53; -inf at 0, inf at 1.
pub fn normal_quantile(p: f64) -> f64 {
    match p {
        0.0 => f64::NEG_INFINITY,
        1.0 => f64::INFINITY,
        0.1..=0.9 => central(p - 0.5),
        // NaN and numbers outside [0, 1] have none
        _ if !(0.0..=1.0).contains(&p) => f64::NAN,
        _ if p < 0.5 => -tail(p),
        // exact above 1/2
        _ => tail(1.0 - p),
    }
}

/// A z with Phi(z) <= p for certain, for p in [1/2, 1); short by at most 2^-46, relative.
pub(super) fn quantile_down(p: f64) -> f64 {
    debug_assert!((0.5..1.0).contains(&p));
    if p == 0.5 {
        return 0.0;
    }
    let guess = normal_quantile(p);
    let mut steps = 1.0;
    loop {
        let z = guess * (1.0 - steps * f64::EPSILON);
        if is_below(z, p) {
            return z;
        }
        steps *= 2.0;
        debug_assert!(steps < 100.0, "the quantile of {p} is off");
    }
}

/// A z with Phi(z) >= p for certain, for p in [1/2, 1); too large by at most 2^-46, relative.
pub(super) fn quantile_up(p: f64) -> f64 {
    debug_assert!((0.5..1.0).contains(&p));
    if p == 0.5 {
        return 0.0;
    }
    let guess = normal_quantile(p);
    let mut steps = 1.0;
    loop {
        let z = guess * (1.0 + steps * f64::EPSILON);
        if is_above(z, p) {
            return z;
        }
        steps *= 2.0;
        debug_assert!(steps < 100.0, "the quantile of {p} is off");
    }
}

/// A number of at least Phi(z) and less than 1, for z in [0, 8]; none above.
pub(super) fn cdf_up(z: f64) -> Option<f64> {
    debug_assert!(z >= 0.0);
    if z > 8.0 {
        return None;
    }
    let (sum, power) = parts(Wide::from(z));
    let fraction = sum.divided_by(power.times(Wide::SQRT_TAU));
    let above = fraction.plus(fraction.shifted(ERROR)).plus(Wide::from(0.5));
    Some(above.down().next_up())
}

/// Exponent of the relative error of [`parts`] and of three more operations: at most 400 terms of S
/// lose 4 units each, e^(z²/2) 2^14 units in all, a unit is 2^-127.
const ERROR: i64 = -100;

/// Phi(z) <= p for certain, z >= 0, p in (1/2, 1): S(z) <= (p - 1/2)·sqrt(2·pi)·e^(z²/2).
fn is_below(z: f64, p: f64) -> bool {
    let (sum, power) = parts(Wide::from(z));
    // p - 1/2 is exact
    let right = Wide::from(p - 0.5).times(Wide::SQRT_TAU).times(power);
    sum.plus(sum.shifted(ERROR)) <= right
}

/// Phi(z) >= p for certain, as above.
fn is_above(z: f64, p: f64) -> bool {
    let (sum, power) = parts(Wide::from(z));
    let right = Wide::from(p - 0.5).times(Wide::SQRT_TAU).times(power);
    sum >= right.plus(right.shifted(ERROR))
}

/// Phi(z) - 1/2 for z in (0, 9.2], within 2^-100, relative.
pub(super) fn half_mass(z: Wide) -> Wide {
    let (sum, power) = parts(z);
    sum.divided_by(power.times(Wide::SQRT_TAU))
}

/// (S(z), e^(z²/2)), z in [0, 9.2], each at most the truth.
fn parts(z: Wide) -> (Wide, Wide) {
    /// Terms below this part of the sum are left out; the next are less than half of them each.
    const LAST: i64 = -130;
    let square = z.times(z);
    let mut sum = z;
    let mut term = sum;
    for odd in (3u64..).step_by(2) {
        term = term.times(square).over(odd);
        if term <= sum.shifted(LAST) && Wide::whole(odd) > square.shifted(1) {
            break;
        }
        sum = sum.plus(term);
    }
    (sum, square.shifted(-1).exponential())
}

fn density(z: f64) -> f64 {
    exp(-0.5 * z * z) / SQRT_TAU
}

/// S(z) for small z >= 0.
fn series(z: f64) -> f64 {
    (1..40)
        .rev()
        .fold(1.0, |sum, k| 1.0 + z * z / f64::from(2 * k + 1) * sum)
        * z
}

/// 1 - Phi(z), z >= 0, 1e-14 relative where z is not large.
fn upper(z: f64) -> f64 {
    if z < 2.0 {
        0.5 - density(z) * series(z)
    } else {
        density(z) * mills(z)
    }
}

/// (1 - Phi(z)) / phi(z) for z >= 2, by its continued fraction 1/(z + 1/(z + 2/(z + ..))).
fn mills(z: f64) -> f64 {
    1.0 / (1..150).rev().fold(z, |rest, k| z + f64::from(k) / rest)
}

/// z with Phi(z) - 1/2 = c, |c| <= 0.4, by Newton's method, which comes from below.
fn central(c: f64) -> f64 {
    let target = c.abs();
    let mut z = target * SQRT_TAU;
    for _ in 0..8 {
        z += target / density(z) - series(z);
    }
    z.copysign(c)
}

/// z with 1 - Phi(z) = q, q <= 0.1, by Newton's method on its logarithm.
fn tail(q: f64) -> f64 {
    // 1 - Phi(z) <= e^(-z²/2)/2
    let mut z = (-2.0 * ln(Wide::from(q).shifted(1))).sqrt();
    for _ in 0..8 {
        let found = upper(z);
        let excess = Wide::from(found).divided_by(Wide::from(q));
        z += ln(excess) * found / density(z);
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_undoes_the_distribution() {
        for i in 1..2000 {
            let p = f64::from(i) / 2000.0;
            let z = normal_quantile(p);
            assert!((normal_cdf(z) - p).abs() < 4e-16, "{p}");
            // 1 - p is rounded
            let room = 4e-15 + 1e-16 / density(z);
            assert!((normal_quantile(1.0 - p) + z).abs() <= room, "{p}");
        }
        for i in 1..300 {
            let p = 10f64.powi(-i);
            let z = normal_quantile(p);
            // z is rounded: z²·2^-53
            assert!((normal_cdf(z) / p - 1.0).abs() < 1e-12, "{p}");
        }
        for i in 2..54 {
            let q = 0.5f64.powi(i);
            assert_eq!(normal_quantile(1.0 - q), -normal_quantile(q));
        }
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        assert_eq!(normal_quantile(0.5), 0.0);
        assert!(normal_quantile(-0.1).is_nan() && normal_quantile(f64::NAN).is_nan());
        assert!(normal_cdf(f64::NAN).is_nan());
        assert_eq!((normal_cdf(f64::INFINITY), normal_cdf(-40.0)), (1.0, 0.0));
    }

    #[test]
    fn the_safe_side_is_close() {
        let near_one = (2..54).map(|i| 1.0 - 0.5f64.powi(i));
        let near_half = (2..53).map(|i| 0.5 + 0.5f64.powi(i));
        let between = (501..1000).map(|i| f64::from(i) / 1000.0);
        for p in near_one.chain(near_half).chain(between) {
            let z = quantile_down(p);
            assert!(is_below(z, p), "{p}");
            assert!(!is_below(z * (1.0 + 1e-13), p), "idle at {p}");
            let above = quantile_up(p);
            assert!(is_above(above, p) && !is_above(z, p), "{p}");
            assert!(above > z && above - z <= 3e-14 * z, "{p}");
        }
        assert_eq!((quantile_down(0.5), quantile_up(0.5)), (0.0, 0.0));
    }

    #[test]
    fn the_upper_bound_is_above_and_close() {
        for i in 0..=800 {
            let z = f64::from(i) / 100.0;
            let above = cdf_up(z).unwrap();
            assert!(above < 1.0 && above >= normal_cdf(z) - 1e-16, "{z}");
            assert!(above - normal_cdf(z) <= 4e-16, "{z}");
            assert!(!is_below(z.next_up() + 1e-15, above.next_down().next_down()) || z < 1e-3);
        }
        assert_eq!(cdf_up(8.1), None);
    }

    /// Both ways to the tail agree where they meet.
    #[test]
    fn series_and_continued_fraction_agree() {
        for z in [1.9, 2.0, 2.1, 2.5] {
            let difference = density(z) * (series(z) + mills(z)) - 0.5;
            assert!(difference.abs() < 2e-16, "{z}: {difference}");
        }
    }
}
