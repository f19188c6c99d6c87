//! Clopper-Pearson: the least p that k successes of n leave possible, rounded down.
//!
//! L_a(k) solves P(Bin(n, L) >= k) = a. With probability 1 - a or more the true p is above it. It is
//! sought by Newton's method on ln P over ln(p/(1-p)), which is concave, and then lowered until
//! the tail there, rounded up as in [`Tail`](super::Tail), is at most a: so a count passes the test of
//! tau at level a where L_a(k) >= tau.

use super::elementary::{exp, ln};
use super::tail::{check, up};
use super::wide::Wide;
use crate::error::{Error, Result};

/// Terms below this part of the sum end it, once they fall: at most 2^24 follow.
const LAST: i64 = -125;

/// Exponent of the relative error of tails, 9(n+1) units of 2^-127 and what is left out, as in `tail`.
const ERROR: i64 = -90;

/// L_a(k), relative error 1e-12, rounded down; 0 for k = 0.
///
/// # Errors
///
/// [`Error::Parameter`] unless the level is inside (0, 1), `samples` as in [`Tail::new`](super::Tail::new)
/// and `count` at most that.
pub fn lower_bound(samples: usize, count: usize, level: f64) -> Result<f64> {
    check(samples, 0.5, 0.0)?;
    check_level(level)?;
    if count > samples {
        return Err(Error::Shape {
            what: "count",
            got: count,
            expected: format!("at most the {samples} samples"),
        });
    }
    let mut search = Search::new(samples, level);
    while search.count > count.max(1) {
        search.step_down();
    }
    Ok(if count == 0 { 0.0 } else { search.solve() })
}

/// L_a(k) by count, k = 0..=n, rising; 0 for counts below `least`, whose bounds are not wanted.
pub(super) fn lower_bounds(samples: usize, least: usize, level: f64) -> Vec<f64> {
    let mut search = Search::new(samples, level);
    let mut bounds = vec![0.0; samples + 1];
    while search.count >= least.max(1) {
        bounds[search.count] = search.solve();
        search.step_down();
    }
    bounds
}

/// A level inside (0, 1).
pub(super) fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(Error::Parameter {
        what: "level alpha",
        got: level,
        expected: "a probability inside (0, 1)",
    })
}

/// The search of one count after the other, from n down.
struct Search {
    samples: u64,
    count: usize,
    level: f64,
    /// n over k.
    binomial: Wide,
    /// ln(p/(1-p)) of the last solution.
    logit: f64,
}

impl Search {
    fn new(samples: usize, level: f64) -> Self {
        // k = n: a^(1/n); 1 - a^(1/n) without cancellation where that matters
        let exponent = ln(Wide::from(level)) / samples as f64;
        let rest = if exponent > -1e-3 {
            -exponent * (1.0 + exponent / 2.0)
        } else {
            1.0 - exp(exponent)
        };
        Search {
            samples: samples as u64,
            count: samples,
            level,
            binomial: Wide::ONE,
            logit: exponent - ln(Wide::from(rest)),
        }
    }

    fn step_down(&mut self) {
        let count = self.count as u64;
        let ways = self.binomial.times(Wide::whole(count));
        self.binomial = ways.over(self.samples - count + 1);
        self.count -= 1;
    }

    fn solve(&mut self) -> f64 {
        let level = Wide::from(self.level);
        for _ in 0..60 {
            let x = self.probability();
            let (tail, ratio) = self.tail(x);
            let slope = self.count as f64 * (1.0 - x) / ratio;
            let step = -ln(tail.divided_by(level)) / slope;
            self.logit = (self.logit + step).clamp(-600.0, 36.0);
            if step.abs() < 1e-9 {
                break;
            }
        }
        let found = self.probability();
        let mut steps = 0.0;
        loop {
            let x = (found * (1.0 - steps * f64::EPSILON)).max(0.0);
            if x == 0.0 || self.is_below(x) {
                return x;
            }
            steps = 2.0 * steps + 1.0;
        }
    }

    fn probability(&self) -> f64 {
        // inside (0, 1)
        (1.0 / (1.0 + exp(-self.logit))).min(1.0 - f64::EPSILON / 2.0)
    }

    /// P(Bin(n, x) >= k) <= level for certain; with the room of p-values.
    fn is_below(&self, x: f64) -> bool {
        let tail = self.tail(x).0;
        let above = tail.plus(tail.shifted(ERROR));
        above < Wide::ONE && up(above) <= self.level
    }

    /// (P(X >= k), P(X >= k)/P(X = k)), X ~ Bin(n, x), for x inside (0, 1).
    fn tail(&self, x: f64) -> (Wide, f64) {
        let (n, k) = (self.samples, self.count as u64);
        let x = Wide::from(x);
        let rest = Wide::ONE.minus(x);
        let odds = x.divided_by(rest);
        let (mut sum, mut term) = (Wide::ONE, Wide::ONE);
        for j in k..n {
            let next = term.times(Wide::whole(n - j)).times(odds).over(j + 1);
            if next < term && next < sum.shifted(LAST) {
                break;
            }
            term = next;
            sum = sum.plus(term);
        }
        let mut one = self.binomial.times(x.power(k));
        if n > k {
            one = one.times(rest.power(n - k));
        }
        (one.times(sum), sum.down())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_SAMPLES, Tail};
    use super::*;

    #[test]
    fn all_successes_have_a_closed_form() {
        for (n, a) in [
            (1, 0.5),
            (10, 1e-3),
            (100, 1e-3 / 2_097_152.0),
            (100_000, 0.9),
        ] {
            let bound = lower_bound(n, n, a).unwrap();
            let exact = a.powf(1.0 / n as f64);
            assert!((bound - exact).abs() <= 1e-14 * exact, "{n} {a}");
        }
    }

    /// The tail of the table at L is at most a, and above it a little further up.
    #[test]
    fn the_bound_is_the_last_threshold_that_passes() {
        for (n, a) in [(1, 0.3), (7, 0.9), (50, 1e-4), (300, 1e-9)] {
            let bounds = lower_bounds(n, 0, a);
            for (k, bound) in bounds.into_iter().enumerate() {
                assert_eq!(
                    bound,
                    if k == 0 {
                        0.0
                    } else {
                        lower_bounds(n, k, a)[k]
                    }
                );
                assert!((bound - lower_bound(n, k, a).unwrap()).abs() <= 1e-14 * bound);
                if k > 0 {
                    assert!(Tail::new(n, bound).unwrap().p(k) <= a, "{n} {k} {a}");
                    let above = Tail::new(n, bound * (1.0 + 1e-12)).unwrap();
                    assert!(above.p(k) > a, "idle: {n} {k} {a}");
                }
            }
        }
    }

    #[test]
    fn bounds_rise_with_the_count() {
        let bounds = lower_bounds(1000, 0, 1e-6);
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        let bounds = lower_bounds(1000, 600, 1e-6);
        assert!(bounds[..600].iter().all(|bound| *bound == 0.0) && bounds[600] > 0.0);
    }

    /// Levels at the ends of f64, the bound at those of its range.
    #[test]
    fn extremes_are_sound() {
        for n in [1, 1000, MAX_SAMPLES] {
            for level in [
                f64::MIN_POSITIVE,
                1e-290,
                1e-30,
                1.0 - 1e-12,
                1.0 - f64::EPSILON,
            ] {
                let bound = lower_bound(n, n, level).unwrap();
                assert!((0.0..1.0).contains(&bound), "{n} {level}");
                if bound > 0.0 {
                    assert!(
                        Tail::one(n, bound, 0, false).unwrap() <= level,
                        "{n} {level}"
                    );
                }
            }
        }
        assert!(lower_bound(1000, 1000, 1e-30).unwrap() > 0.93);
        // what is below any use is 0
        assert_eq!(lower_bound(1, 1, 1e-290).unwrap(), 0.0);
    }

    #[test]
    fn wrong_arguments() {
        assert_eq!(
            lower_bound(10, 11, 0.1).unwrap_err().to_string(),
            "count is 11; expected at most the 10 samples"
        );
        for level in [0.0, 1.0, -1.0, f64::NAN] {
            let error = lower_bound(10, 5, level).unwrap_err();
            assert!(matches!(error, Error::Parameter { .. }), "{level}");
        }
        assert!(lower_bound(0, 0, 0.1).is_err());
    }
}
