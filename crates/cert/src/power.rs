//! Radii to costs and back: r -> r^p, sum -> p-th root, without over- or underflow.
//!
//! Costs and roots are rounded down. Radii are scaled by a power of two near the largest stability
//! radius; a cost below the normal range becomes 0 (free), one above 2^960 is cut down to that,
//! both of which are sound. For p = inf nothing is shared: the cost is the radius itself.

use crate::norm::Norm;
use crate::pow::{POW_ERROR, pow, root};

/// Scales stay within 2^-1000 to 2^1000.
const CEILING: f64 = f64::from_bits((1023 + 1000) << 52);
/// Largest finite cost: 2^60 of them have a finite sum.
const COSTLIEST: f64 = f64::from_bits((1023 + 960) << 52);

/// The costs of lists that share a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Power {
    p: f64,
    scale: f64,
    unscale: f64,
}

impl Power {
    /// Costs for radii of about `largest`, finite; larger ones are no error, 0 stands for 1.
    pub(crate) fn new(norm: Norm, largest: f64) -> Self {
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let largest = largest.clamp(1.0 / CEILING, CEILING);
        let exponent = (largest.to_bits() >> 52) as i64 - 1023;
        let two_to = |n: i64| f64::from_bits(((1023 + n) as u64) << 52);
        Power {
            p: norm.p(),
            scale: two_to(-exponent - 1),
            unscale: two_to(exponent + 1),
        }
    }

    /// Whether all pixels pay from one budget: not for p = inf.
    pub(crate) fn shared(&self) -> bool {
        self.p < f64::INFINITY
    }

    /// Exponent p.
    pub(crate) fn p(&self) -> f64 {
        self.p
    }

    /// [`Self::cost`] for p = 1 or 2.
    pub(crate) fn simple_cost(&self, radius: f64) -> f64 {
        let x = radius * self.scale;
        let cost = if self.p == 2.0 { x * x } else { x };
        let kept = if cost < f64::MIN_POSITIVE {
            0.0
        } else {
            cost.min(COSTLIEST)
        };
        if radius == f64::INFINITY {
            radius
        } else {
            kept
        }
    }

    /// (scaled r)^p, at most [`Self::error`] above the true value; inf for r = inf.
    pub(crate) fn cost(&self, radius: f64) -> f64 {
        if radius == f64::INFINITY || !self.shared() {
            return radius;
        }
        if let 1.0 | 2.0 = self.p {
            return self.simple_cost(radius);
        }
        let x = (radius * self.scale).min(f64::MAX);
        if x < f64::MIN_POSITIVE {
            return 0.0;
        }
        pow(x, self.p).min(COSTLIEST)
    }

    /// Relative error of one cost, upwards.
    pub(crate) fn error(&self) -> f64 {
        match self.p {
            1.0 | 2.0 | f64::INFINITY => f64::EPSILON,
            _ => 2.0 * POW_ERROR,
        }
    }

    /// Cost of both: one budget pays the sum, at p = inf the larger.
    pub(crate) fn both(&self, a: f64, b: f64) -> f64 {
        if self.shared() { a + b } else { a.max(b) }
    }

    /// The radius of a sum of costs, rounded down.
    pub(crate) fn root(&self, cost: f64) -> f64 {
        if cost <= 0.0 || cost == f64::INFINITY || !self.shared() {
            return cost;
        }
        let root = match self.p {
            1.0 => cost,
            2.0 => cost.sqrt(),
            p => root(cost, p) * (1.0 - 2.0 * POW_ERROR),
        };
        // 4 units of roundoff for the root and the two products, one step for a result that is
        // subnormal
        let radius = root * (1.0 - 2.0 * f64::EPSILON) * self.unscale;
        radius.next_down().clamp(0.0, f64::MAX)
    }

    /// The largest cost that `eps` pays for, eps in [0, inf]: [`Self::root`] of it is at most eps,
    /// of the next number above it more.
    pub(crate) fn affordable(&self, eps: f64) -> f64 {
        if eps == f64::INFINITY || !self.shared() {
            return eps;
        }
        // Bits of floats of at least 0 are ordered as they are.
        let (mut paid, mut beyond) = (0, f64::INFINITY.to_bits());
        while beyond - paid > 1 {
            let middle = paid.midpoint(beyond);
            if self.root(f64::from_bits(middle)) <= eps {
                paid = middle
            } else {
                beyond = middle
            }
        }
        f64::from_bits(paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TIGHT, below_and_close};

    const EXPONENTS: [f64; 7] = [1.0, 1.25, 1.5, 2.0, 3.0, 10.0, f64::INFINITY];

    #[test]
    fn root_of_cost_is_below_the_radius_and_close() {
        for p in EXPONENTS {
            for radius in [1e-300, 1.7e-162, 1e-90, 0.1, 1.0, 3.0, 1e150, 1e300] {
                let power = Power::new(Norm::new(p).unwrap(), radius);
                let back = power.root(power.cost(radius) * (1.0 - power.error()));
                below_and_close(back, radius, TIGHT).unwrap();
                // of a list whose largest stability radius is smaller
                let power = Power::new(Norm::new(p).unwrap(), radius / 1000.0);
                let back = power.root(power.cost(radius) * (1.0 - power.error()));
                below_and_close(back, radius, TIGHT).unwrap();
            }
        }
    }

    /// 1e-90 at p = 3 came out 9e-15 too large in a draft; 1.7e-162 twice at p = 2 gave 3.1e-162.
    #[test]
    fn small_beside_large_is_sound() {
        for p in [1.0, 1.5, 2.0, 3.0, 100.0, 1e6, 1e300] {
            let power = Power::new(Norm::new(p).unwrap(), 1.0);
            for radius in [
                0.0,
                5e-324,
                1e-310,
                1e-200,
                1e-90,
                0.3,
                1.0,
                7.0,
                1e200,
                f64::MAX,
            ] {
                let back = power.root(power.cost(radius) * (1.0 - power.error()));
                assert!(back <= radius, "{p} {radius} {back}");
            }
        }
        let power = Power::new(Norm::L2, 1.7e-162);
        let pair = power.root(2.0 * power.cost(1.7e-162) * (1.0 - power.error()));
        below_and_close(pair, 1.7e-162 * 2f64.sqrt(), TIGHT).unwrap();
    }

    #[test]
    fn extremes_stay_finite() {
        for p in [1.0, 1.5, 2.0, 3.0, 1e300, f64::INFINITY] {
            for largest in [0.0, 5e-324, f64::MIN_POSITIVE, 1.0, f64::MAX] {
                let power = Power::new(Norm::new(p).unwrap(), largest);
                for radius in [0.0, 5e-324, 1.0, largest, f64::MAX] {
                    let cost = power.cost(radius);
                    assert!(cost.is_finite() && cost >= 0.0, "{p} {largest} {radius}");
                    assert!(!power.shared() || (cost * 1e9).is_finite());
                    assert!(power.root(cost).is_finite());
                }
                assert_eq!(power.root(power.cost(f64::INFINITY)), f64::INFINITY);
            }
        }
    }

    #[test]
    fn affordable_is_the_last_cost_whose_root_is_within() {
        for p in EXPONENTS {
            let power = Power::new(Norm::new(p).unwrap(), 0.7);
            for eps in [0.0, 5e-324, 1e-100, 0.1, 0.7, 3.0, 1e10, f64::MAX] {
                let paid = power.affordable(eps);
                assert!(
                    power.root(paid) <= eps && power.root(paid.next_up()) > eps,
                    "{p} {eps}"
                );
            }
            assert_eq!(power.affordable(f64::INFINITY), f64::INFINITY);
        }
    }
}
