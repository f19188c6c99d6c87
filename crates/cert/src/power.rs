//! Radii to costs and back: r -> r^p, sum -> p-th root, without over- or underflow.
//!
//! Costs and roots are rounded down. Radii are scaled by a power of two of the largest, so
//! that costs lie in [0, 1]; a cost below the normal range becomes 0 (free), which is sound.

use crate::norm::{Norm, POWER_ERROR};

/// Radii are lowered to this before they are scaled: 2^1000.
const CEILING: f64 = f64::from_bits((1023 + 1000) << 52);

/// The costs of one list, or of two lists that share a budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Power {
    p: f64,
    scale: f64,
    unscale: f64,
}

impl Power {
    /// Costs for radii up to `largest`, the largest finite radius.
    pub(crate) fn new(norm: Norm, largest: f64) -> Self {
        let largest = largest.clamp(1.0 / CEILING, CEILING);
        let exponent = (largest.to_bits() >> 52) as i64 - 1023;
        let two_to = |n: i64| f64::from_bits(((1023 + n) as u64) << 52);
        Power {
            p: norm.p(),
            scale: two_to(-exponent - 1),
            unscale: two_to(exponent + 1),
        }
    }

    /// (scaled r)^p in [0, 1], at most 2·[`Self::error`] above the true value; 0 for p = inf,
    /// where nothing is shared. `radius` is 0 to inf.
    pub(crate) fn cost(&self, radius: f64) -> f64 {
        let x = radius.min(CEILING) * self.scale;
        if x < f64::MIN_POSITIVE {
            return 0.0;
        }
        let cost = match self.p {
            1.0 => x,
            2.0 => x * x,
            f64::INFINITY => 0.0,
            p => x.powf(p),
        };
        if cost < f64::MIN_POSITIVE { 0.0 } else { cost }
    }

    /// Relative error of one cost.
    pub(crate) fn error(&self) -> f64 {
        match self.p {
            1.0 | 2.0 | f64::INFINITY => f64::EPSILON,
            _ => POWER_ERROR,
        }
    }

    /// The radius of a sum of costs, rounded down.
    pub(crate) fn root(&self, cost: f64) -> f64 {
        if cost <= 0.0 {
            return 0.0;
        }
        let root = match self.p {
            1.0 => cost,
            2.0 => cost.sqrt(),
            // 1/p is rounded: the exponent's relative error is multiplied by ln(cost)
            p => cost.powf(1.0 / p) * (1.0 - POWER_ERROR - (cost.ln().abs() + 4.0) * f64::EPSILON),
        };
        // 4 units of roundoff for the root and the two products, one step for a result that is subnormal
        (root * (1.0 - 2.0 * f64::EPSILON) * self.unscale)
            .next_down()
            .max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TIGHT, below_and_close};

    #[test]
    fn root_of_cost_is_below_the_radius_and_close() {
        for p in [1.0, 1.25, 1.5, 2.0, 3.0, 10.0] {
            for radius in [1e-300, 1.7e-162, 1e-90, 0.1, 1.0, 3.0, 1e150, 1e300] {
                let power = Power::new(Norm::new(p).unwrap(), radius);
                let back = power.root(power.cost(radius) * (1.0 - 4.0 * power.error()));
                below_and_close(back, radius, TIGHT).unwrap();
            }
        }
    }

    /// 1e-90 at p = 3 came out 9e-15 too large in a draft; 1.7e-162 twice at p = 2 gave 3.1e-162.
    #[test]
    fn small_beside_large_is_sound() {
        for p in [1.0, 1.5, 2.0, 3.0, 100.0, 1e6, 1e300] {
            let power = Power::new(Norm::new(p).unwrap(), 1.0);
            for radius in [0.0, 5e-324, 1e-310, 1e-200, 1e-90, 0.3, 1.0] {
                assert!(
                    power.root(power.cost(radius) * (1.0 - 4.0 * power.error())) <= radius,
                    "{p} {radius}"
                );
            }
        }
        let power = Power::new(Norm::L2, 1.7e-162);
        let pair = power.root(2.0 * power.cost(1.7e-162) * (1.0 - 4.0 * power.error()));
        below_and_close(pair, 1.7e-162 * 2f64.sqrt(), TIGHT).unwrap();
    }

    #[test]
    fn extremes_stay_finite() {
        for p in [1.0, 1.5, 2.0, 3.0, 1e300, f64::INFINITY] {
            for largest in [0.0, 5e-324, f64::MIN_POSITIVE, 1.0, f64::MAX] {
                let power = Power::new(Norm::new(p).unwrap(), largest);
                for radius in [0.0, largest, f64::MAX.min(largest), f64::INFINITY] {
                    let cost = power.cost(radius.min(largest));
                    assert!((0.0..=1.0).contains(&cost), "{p} {largest} {radius}");
                    assert!(power.root(cost * 1e9).is_finite());
                }
            }
        }
    }
}
