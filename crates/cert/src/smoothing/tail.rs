//! Exact binomial tails P(X >= k), X ~ Bin(n, tau), rounded up, for all counts k at once.
//!
//! From k = n down: P(X = n) = tau^n and P(X = j-1) = P(X = j)·j/(n-j+1)·(1-tau)/tau; the tail is the
//! running sum of positive terms. In [`Wide`] numbers nothing underflows and no logarithm of a
//! factorial is needed. All is cut off towards 0: in units of 2^-127, tau^n loses n, each of n steps 6
//! and each addition 2, so that the tail is at most 9(n+1) units too small: 2^-99 for a million
//! samples, 2^-90 for the most that are taken.

use super::elementary::{self, ln};
use super::wide::Wide;
use crate::error::{Error, Result};

/// Most samples: 2^24.
pub const MAX_SAMPLES: usize = 1 << 24;

/// Exponent of the relative error of tails.
const ERROR: i64 = -90;

/// One p-value a count.
///
/// Each p is above the true tail by 1 to 6 units of its last place, at least 3/2 of 2^-52 relative:
/// three roundings of the level that it is compared with, such as k·(alpha - guard)/N, cannot make a
/// count pass that should not. ln p is rounded up too, by 2^-46 of itself at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Tail {
    threshold: f64,
    p: Vec<f64>,
    ln_p: Vec<f64>,
}

impl Tail {
    /// P(X >= k), k = 0..=n, for a class that was fixed before the n samples were drawn.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless tau is inside (0, 1) and n from 1 to [`MAX_SAMPLES`].
    pub fn new(samples: usize, tau: f64) -> Result<Self> {
        check(samples, tau, 0.0)?;
        let p = Descending::new(samples, tau);
        Ok(Self::collect(samples, tau, p))
    }

    /// P(Bin(n, tau) >= k) + P(Bin(n, 1 - tau) >= k) for k > n/2, otherwise 1: for a class that was
    /// chosen from the same n samples.
    ///
    /// # Errors
    ///
    /// As [`Tail::new`]; tau from 1/2.
    pub fn single_stage(samples: usize, tau: f64) -> Result<Self> {
        check(samples, tau, 0.5)?;
        // 1 - tau is exact
        let both = Descending::new(samples, tau).zip(Descending::new(samples, 1.0 - tau));
        let sums = both.map(|(p, q)| p.plus(q));
        Ok(Self::collect(samples, tau, sums).ones_below(samples / 2 + 1))
    }

    /// p of n - `misses` votes alone, as the tables have it; of a single stage for counts above n/2.
    pub(super) fn one(samples: usize, tau: f64, misses: usize, single: bool) -> Result<f64> {
        check(samples, tau, 0.0)?;
        let none = Wide::ZERO;
        let mut tail = Descending::new(samples, tau).nth(misses).unwrap_or(none);
        if single {
            let other = Descending::new(samples, 1.0 - tau).nth(misses);
            tail = tail.plus(other.unwrap_or(none));
        }
        let above = tail.plus(tail.shifted(ERROR));
        let all = above >= Wide::ONE || single && 2 * misses >= samples;
        Ok(if all { 1.0 } else { up(above) })
    }

    /// With p = 1 for all counts below `least`.
    pub(super) fn ones_below(mut self, least: usize) -> Self {
        let end = least.min(self.p.len());
        self.p[..end].fill(1.0);
        self.ln_p[..end].fill(0.0);
        self
    }

    /// From tails for k = n, n-1, ..., each at most 2^[`ERROR`] too small.
    fn collect(samples: usize, threshold: f64, tails: impl Iterator<Item = Wide>) -> Self {
        let mut p = Vec::with_capacity(samples + 1);
        let mut ln_p = Vec::with_capacity(samples + 1);
        for tail in tails {
            let above = tail.plus(tail.shifted(ERROR));
            if above >= Wide::ONE {
                p.push(1.0);
                ln_p.push(0.0);
            } else {
                p.push(up(above));
                ln_p.push(ln(above) * (1.0 - 2.0 * elementary::ERROR));
            }
        }
        p.reverse();
        ln_p.reverse();
        Tail { threshold, p, ln_p }
    }

    /// n.
    pub fn samples(&self) -> usize {
        self.p.len() - 1
    }

    /// tau.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// p of a count, rounded up; never 0: below `f64::MIN_POSITIVE` it is that.
    ///
    /// # Panics
    ///
    /// For counts above n.
    pub fn p(&self, count: usize) -> f64 {
        self.p[count]
    }

    /// ln p of a count, rounded up; it does not underflow.
    ///
    /// # Panics
    ///
    /// For counts above n.
    pub fn ln_p(&self, count: usize) -> f64 {
        self.ln_p[count]
    }

    /// p by count, 0 to n, never rising.
    pub fn values(&self) -> &[f64] {
        &self.p
    }

    /// The least count with p <= level; none if even n is not enough.
    pub fn least(&self, level: f64) -> Option<usize> {
        let count = self.p.partition_point(|p| *p > level);
        (count < self.p.len()).then_some(count)
    }
}

/// n and tau in (`above`, 1), or from `above` if it is 1/2.
pub(super) fn check(samples: usize, tau: f64, above: f64) -> Result<()> {
    if !(1..=MAX_SAMPLES).contains(&samples) {
        return Err(Error::Parameter {
            what: "number of samples",
            got: samples as f64,
            expected: "1 to 2^24",
        });
    }
    let inside = tau < 1.0
        && if above == 0.0 {
            tau > 0.0
        } else {
            tau >= above
        };
    if !inside {
        let expected = if above == 0.0 {
            "a probability inside (0, 1)"
        } else {
            "a probability from 0.5, below 1"
        };
        return Err(Error::Parameter {
            what: "threshold tau",
            got: tau,
            expected,
        });
    }
    Ok(())
}

/// A number below 1, up by the room of [`Tail`].
pub(super) fn up(value: Wide) -> f64 {
    let mut p = value.down().max(f64::MIN_POSITIVE);
    for _ in 0..5 {
        p = p.next_up();
    }
    p.min(1.0)
}

/// Tails for k = n, n-1, ..., 0.
struct Descending {
    samples: u64,
    /// The next count, plus 1.
    next: u64,
    term: Wide,
    sum: Wide,
    /// (1 - tau)/tau.
    odds: Wide,
}

impl Descending {
    fn new(samples: usize, tau: f64) -> Self {
        let samples = samples as u64;
        let tau = Wide::from(tau);
        Descending {
            samples,
            next: samples + 1,
            term: tau.power(samples),
            sum: Wide::ZERO,
            // 1 unit each; 1 - tau is exact from 2^-74
            odds: Wide::ONE.minus(tau).divided_by(tau),
        }
    }
}

impl Iterator for Descending {
    type Item = Wide;

    fn next(&mut self) -> Option<Wide> {
        let count = self.next.checked_sub(1)?;
        self.next = count;
        self.sum = self.sum.plus(self.term);
        if count > 0 {
            let step = self.term.times(Wide::whole(count)).times(self.odds);
            self.term = step.over(self.samples - count + 1);
        }
        Some(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole chain, from tau^n through a million steps: all tails together are 1.
    #[test]
    fn the_sum_of_all_is_one_and_no_more() {
        for (n, tau) in [
            (1, 0.3),
            (100, 0.75),
            (1000, 0.999),
            (100_000, 0.5),
            (1_000_000, 0.75),
        ] {
            let total = Descending::new(n, tau).last().unwrap();
            assert!(total <= Wide::ONE, "{n} {tau}");
            let lost = Wide::ONE.minus(total);
            assert!(lost <= Wide::new(9 * (n as u128 + 1), -127), "{n} {tau}");
        }
    }

    /// tau = 1/2 and few samples: p·2^n is a whole number.
    #[test]
    fn coins_are_counted_exactly() {
        for n in 1..=50usize {
            let tail = Tail::new(n, 0.5).unwrap();
            let (mut ways, mut sum) = (1u64, 0u64);
            for k in (0..=n).rev() {
                sum += ways;
                ways = ways * k as u64 / (n - k + 1) as u64;
                let exact = sum as f64 * 0.5f64.powi(n as i32);
                let p = tail.p(k);
                assert!(p == 1.0 && k == 0 || p > exact, "{n} {k}");
                assert!(p <= exact * (1.0 + 6.0 * f64::EPSILON), "{n} {k}");
            }
        }
    }

    /// By mpmath 1.4.1 with 50 digits, rounded to the nearest.
    const MILLION: [(usize, f64, f64); 12] = [
        (1_000_000, 0.999, -1_000.500_333_583_534_4),
        (750_000, 0.75, -0.692_072_887_679_382_1),
        (753_000, 0.75, -26.930_566_368_006_57),
        (760_000, 0.75, -273.126_915_421_447_4),
        (900_000, 0.75, -72_466.545_187_219_27),
        (500_500, 0.5, -1.839_496_909_910_938),
        (510_000, 0.5, -203.910_438_669_205),
        (999_200, 0.999, -24.176_389_157_559_547),
        (749_000, 0.75, -0.010_506_759_136_253_784),
        (745_000, 0.75, -5.054_239_694_185_152e-31),
        (400_000, 0.5, 0.0),
        (1, 0.001, 0.0),
    ];

    #[test]
    fn logarithms_of_a_million_samples() {
        for (k, tau, want) in MILLION {
            let tail = Tail::new(1_000_000, tau).unwrap();
            let got = tail.ln_p(k);
            assert!(
                got >= want + want * f64::EPSILON,
                "{k} {tau}: {got} is below {want}"
            );
            assert!(
                (got - want).abs() <= 2e-14 * want.abs().max(1e-12),
                "{k} {tau}: {got} {want}"
            );
        }
    }

    #[test]
    fn values_never_rise_and_leave_room_for_the_level() {
        for (n, tau) in [(100, 0.75), (1000, 0.999), (3000, 0.5)] {
            let tail = Tail::new(n, tau).unwrap();
            assert_eq!((tail.samples(), tail.threshold()), (n, tau));
            assert!(tail.values().windows(2).all(|pair| pair[0] >= pair[1]));
            assert!((0..n).all(|k| tail.ln_p(k) >= tail.ln_p(k + 1)));
            assert_eq!(tail.p(0), 1.0);
            for (k, exact) in (0..=n).rev().zip(Descending::new(n, tau)) {
                let p = tail.p(k);
                if p < 1.0 && p > 1e-300 {
                    let excess = Wide::from(p).divided_by(exact);
                    assert!(
                        excess >= Wide::from(1.0 + 1.5 * f64::EPSILON),
                        "{n} {tau} {k}"
                    );
                    assert!(
                        excess <= Wide::from(1.0 + 7.0 * f64::EPSILON),
                        "{n} {tau} {k}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_value_is_that_of_the_table() {
        for (n, tau) in [(1, 0.75), (30, 0.5), (101, 0.9)] {
            let tables = [Tail::new(n, tau), Tail::single_stage(n, tau)].map(Result::unwrap);
            for misses in 0..=n {
                for (table, single) in tables.iter().zip([false, true]) {
                    let one = Tail::one(n, tau, misses, single).unwrap();
                    assert_eq!(one, table.p(n - misses), "{n} {misses} {single}");
                }
            }
        }
    }

    #[test]
    fn nothing_underflows() {
        let tail = Tail::new(100_000, 0.99).unwrap();
        let p = tail.p(100_000);
        assert!(p > 0.0 && p < 1e-300);
        assert!((tail.ln_p(100_000) + 1_005.033_585_350_145).abs() < 1e-9);
        assert_eq!(tail.least(0.0), None);
        assert_eq!(tail.least(1.0), Some(0));
    }

    #[test]
    fn single_stage_is_one_up_to_half() {
        for n in [2, 3, 7, 100] {
            let tail = Tail::single_stage(n, 0.75).unwrap();
            let fixed = Tail::new(n, 0.75).unwrap();
            for k in 0..=n {
                // of an odd number, one more than half is no evidence either
                assert_eq!(tail.p(k) == 1.0, 2 * k <= n + 1, "{n} {k}");
                assert!(tail.p(k) >= fixed.p(k));
            }
        }
        assert!(Tail::single_stage(10, 0.4).is_err());
    }

    #[test]
    fn parameter() {
        for (n, tau) in [
            (0, 0.5),
            (MAX_SAMPLES + 1, 0.5),
            (5, 0.0),
            (5, 1.0),
            (5, f64::NAN),
        ] {
            let error = Tail::new(n, tau).unwrap_err();
            assert!(matches!(error, Error::Parameter { .. }), "{n} {tau}");
        }
        assert_eq!(
            Tail::single_stage(5, 0.25).unwrap_err().to_string(),
            "threshold tau is 0.25; expected a probability from 0.5, below 1"
        );
    }
}
