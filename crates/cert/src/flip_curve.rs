//! Radii to the flip curve E(n), the smallest budget that flips n pixels.
//!
//! Paper 001 eqs 9-14, 26. E(n) = (sum of the n smallest r^p)^(1/p), rounded down; for p = inf
//! the n-th smallest radius, which is a lower bound for every p and is used as one.
//! Q1 is the largest n with E(n) <= eps (a tie counts as flipped), Q2 is E(n).

use crate::power::Power;

/// The curve of one list of pixels.
#[derive(Clone, Debug)]
pub(crate) struct FlipCurve {
    power: Power,
    /// Ascending.
    radii: Vec<f64>,
    /// costs[n]: lower bound of the sum of the n smallest scaled r^p.
    costs: Vec<f64>,
}

impl FlipCurve {
    /// `radii`: 0 to inf, any order; `power` made for at least their largest.
    pub(crate) fn new(radii: Vec<f64>, power: Power) -> Self {
        debug_assert!(
            radii.iter().all(|r| *r >= 0.0),
            "a radius is negative or NaN"
        );
        // Floats of at least 0 sort as their bits, and integers sort faster.
        let mut bits: Vec<u64> = radii.into_iter().map(f64::to_bits).collect();
        bits.sort_unstable();
        let radii: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
        // A sum of n terms is off by (n-1) roundings of 2^-53; twice that, and room for the
        // term itself, for this product and for one sum of two curves.
        let lowered = 1.0 - (radii.len() as f64 + 16.0) * f64::EPSILON - 4.0 * power.error();
        let mut sum = 0.0;
        let costs = std::iter::once(0.0)
            .chain(radii.iter().map(|&radius| {
                sum += power.cost(radius);
                sum * lowered
            }))
            .collect();
        FlipCurve {
            power,
            radii,
            costs,
        }
    }

    /// Number of pixels.
    pub(crate) fn len(&self) -> usize {
        self.radii.len()
    }

    fn radius(&self, n: usize) -> f64 {
        if n == 0 { 0.0 } else { self.radii[n - 1] }
    }

    /// Q2: no budget below this flips n pixels, n <= len; inf if none does.
    pub(crate) fn budget(&self, n: usize) -> f64 {
        self.power.root(self.costs[n]).max(self.radius(n))
    }

    /// Q1: no attack within `eps` flips more pixels than this.
    pub(crate) fn flips(&self, eps: f64) -> usize {
        // Where E(n+1) > eps, all later ones are out of reach too, rounded roots or not.
        let (mut flipped, mut safe) = (0, self.len() + 1);
        while safe - flipped > 1 {
            let middle = flipped.midpoint(safe);
            if self.budget(middle) <= eps {
                flipped = middle
            } else {
                safe = middle
            }
        }
        flipped
    }

    /// No budget below this flips n pixels of this list and m of the other, whose power is the same.
    pub(crate) fn budget_with(&self, n: usize, other: &FlipCurve, m: usize) -> f64 {
        self.power
            .root(self.cost_with(n, other, m))
            .max(self.radius(n))
            .max(other.radius(m))
    }

    /// Shared cost of that pair.
    pub(crate) fn cost_with(&self, n: usize, other: &FlipCurve, m: usize) -> f64 {
        self.costs[n] + other.costs[m]
    }

    /// Order statistic of that pair: a lower bound of its budget.
    pub(crate) fn radius_with(&self, n: usize, other: &FlipCurve, m: usize) -> f64 {
        self.radius(n).max(other.radius(m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Norm;
    use crate::testing::{TIGHT, below_and_close};

    const E1: [f64; 5] = [0.2, 0.4, 0.1, 0.0, 1.0];

    fn curve(radii: &[f64], norm: Norm) -> FlipCurve {
        let largest = radii
            .iter()
            .copied()
            .filter(|r| r.is_finite())
            .fold(0.0, f64::max);
        FlipCurve::new(radii.to_vec(), Power::new(norm, largest))
    }

    #[test]
    fn example_e1_and_e2() {
        let curve = curve(&E1, Norm::L2);
        for (eps, n) in [
            (0.0, 1),
            (0.1, 2),
            (0.05f64.sqrt(), 3),
            (0.25, 3),
            (0.42, 3),
            (1.2, 5),
            (f64::INFINITY, 5),
        ] {
            assert_eq!(curve.flips(eps), n, "{eps}");
        }
        for (n, square) in [0.0, 0.0, 0.01, 0.05, 0.21, 1.21f64]
            .into_iter()
            .enumerate()
        {
            below_and_close(curve.budget(n), square.sqrt(), TIGHT).unwrap();
        }
    }

    #[test]
    fn example_e5() {
        let one = curve(&E1, Norm::L1);
        assert_eq!(one.flips(0.35), 3);
        let inf = curve(&E1, Norm::LINF);
        assert_eq!([0.25, 0.42].map(|eps| inf.flips(eps)), [3, 4]);
        assert_eq!(inf.budget(2), 0.1);
    }

    #[test]
    fn example_t17_a_million_small_costs() {
        const ANSWER: f64 = 0.01048576; // 2^20 · 1e-8
        let curve = curve(&vec![1e-4; 1 << 20], Norm::L2);
        below_and_close(curve.budget(1 << 20).powi(2), ANSWER, TIGHT).unwrap();
        // the running f32 sum of the example must not pass
        assert!(below_and_close(0.010465, ANSWER, TIGHT).is_err());
    }

    #[test]
    fn extremes() {
        for norm in [
            Norm::L1,
            Norm::new(1.5).unwrap(),
            Norm::L2,
            Norm::new(3.0).unwrap(),
            Norm::LINF,
        ] {
            let empty = curve(&[], norm);
            assert_eq!((empty.flips(f64::INFINITY), empty.budget(0)), (0, 0.0));
            let c = curve(
                &[0.0, 5e-324, 1e-300, 1.0, 1e300, f64::MAX, f64::INFINITY],
                norm,
            );
            assert_eq!(c.flips(0.0), 1, "only the free pixel is free");
            assert_eq!(c.flips(1e-299), 3);
            assert_eq!(c.flips(f64::INFINITY), 7);
            assert_eq!(c.flips(1.7e308), 5);
            assert_eq!(c.budget(7), f64::INFINITY);
            assert!(c.budget(6) == f64::MAX);
        }
    }

    /// Two radii of 1.7e-162 promised 3.1e-162 in a draft; the root of two is 2.404e-162.
    #[test]
    fn tiny_radii_do_not_grow() {
        let c = curve(&[1.7e-162, 1.7e-162], Norm::L2);
        below_and_close(c.budget(2), 1.7e-162 * 2f64.sqrt(), TIGHT).unwrap();
    }
}
