//! Radii to the flip curve E(n), the smallest budget that flips n pixels.
//!
//! Paper 001 eqs 9-14, 26. E(n) = (sum of the n smallest r^p)^(1/p), rounded down; for p = inf
//! the n-th smallest radius. Q1 is the largest n with E(n) <= eps (a tie counts as flipped), Q2
//! is E(n).

use crate::power::Power;

/// The curve of one list of pixels.
#[derive(Clone, Debug)]
pub(crate) struct FlipCurve {
    power: Power,
    /// `[n]`: lower bound of the cost of n flips, 0 for none, never falling.
    costs: Vec<f64>,
}

impl FlipCurve {
    /// `radii`: 0 to inf, any order; room for one more saves a copy.
    pub(crate) fn new(mut radii: Vec<f64>, power: Power) -> Self {
        debug_assert!(
            radii.iter().all(|r| *r >= 0.0),
            "a radius is negative or NaN"
        );
        radii.push(0.0);
        // Floats of at least 0 sort as their bits, and integers compare faster; the 0 of no flip
        // comes first.
        radii.sort_unstable_by_key(|radius| radius.to_bits());
        let mut costs = radii;
        match power.p() {
            f64::INFINITY => {}
            1.0 | 2.0 => sums(&mut costs[1..], &power, |radius| power.simple_cost(radius)),
            _ => sums(&mut costs[1..], &power, |radius| power.cost(radius)),
        }
        FlipCurve { power, costs }
    }

    /// Its memory, for another list.
    pub(crate) fn into_memory(self) -> Vec<f64> {
        self.costs
    }

    /// Number of pixels.
    pub(crate) fn len(&self) -> usize {
        self.costs.len() - 1
    }

    /// `[n]`: cost of n flips.
    pub(crate) fn costs(&self) -> &[f64] {
        &self.costs
    }

    /// How costs become budgets.
    pub(crate) fn power(&self) -> &Power {
        &self.power
    }

    /// Q2: no budget below this flips n pixels, n <= len; inf if none does.
    pub(crate) fn budget(&self, n: usize) -> f64 {
        self.power.root(self.costs[n])
    }

    /// Q1: no attack within `eps` flips more pixels than this.
    pub(crate) fn flips(&self, eps: f64) -> usize {
        let affordable = self.power.affordable(eps);
        self.costs[1..].partition_point(|&cost| cost <= affordable)
    }
}

/// Rising radii to the running sums of their costs, rounded down.
///
/// Each sum carries what its additions lost (T. Ogita, S. M. Rump, S. Oishi, "Accurate sum and dot
/// product", 2005, Sum2): of n terms, none negative, it is off by 2^-53 + (n·2^-53)^2 at most, so
/// that 2^24 pixels need no more slack than one.
fn sums(radii: &mut [f64], power: &Power, cost: impl Fn(f64) -> f64) {
    let count = radii.len() as f64 * f64::EPSILON;
    // the sum, the product here, a sum of two curves; the costs themselves
    let lowered = 1.0 - 4.0 * f64::EPSILON - count * count - 2.0 * power.error();
    let (mut sum, mut lost, mut last) = (0.0f64, 0.0f64, 0.0f64);
    for entry in radii {
        let cost = cost(*entry);
        if cost == f64::INFINITY {
            // and so are all that follow
            *entry = cost;
            continue;
        }
        let next = sum + cost;
        let added = next - sum;
        lost += (sum - (next - added)) + (cost - added);
        sum = next;
        last = ((sum + lost) * lowered).max(last);
        *entry = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Norm;
    use crate::testing::{TIGHT, below_and_close};

    const E1: [f64; 5] = [0.2, 0.4, 0.1, 0.0, 1.0];

    fn curve(radii: &[f64], norm: Norm) -> FlipCurve {
        FlipCurve::new(radii.to_vec(), power(radii, norm))
    }

    fn power(radii: &[f64], norm: Norm) -> Power {
        let finite = radii.iter().copied().filter(|r| r.is_finite());
        Power::new(norm, finite.fold(0.0, f64::max))
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
        below_and_close(curve.budget(1 << 20).powi(2), ANSWER, 1e-14).unwrap();
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
            // what is lost below the normal range is free, which is sound
            assert!(c.flips(0.0) >= 1 && c.flips(1e-299) >= 3);
            assert_eq!(c.flips(f64::INFINITY), 7);
            assert!((5..=6).contains(&c.flips(1.7e308)));
            assert_eq!(c.budget(7), f64::INFINITY);
            assert!(c.budget(6) <= f64::MAX && c.budget(6) > 1e300);
            assert!(c.costs.is_sorted());
        }
    }

    /// Two radii of 1.7e-162 promised 3.1e-162 in a draft; the root of two is 2.404e-162.
    #[test]
    fn tiny_radii_do_not_grow() {
        let c = curve(&[1.7e-162, 1.7e-162], Norm::L2);
        below_and_close(c.budget(2), 1.7e-162 * 2f64.sqrt(), TIGHT).unwrap();
    }

    /// Squares of 53 bits added one by one: the slack of 2^-50 must hold the exact sum, kept in
    /// integers.
    #[test]
    fn sums_are_below_exact_ones_and_close() {
        let radii: Vec<f64> = (0..100_000u64)
            .map(|n| (1 + n.wrapping_mul(2_654_435_761) % (1 << 26)) as f64)
            .collect();
        let mut sorted = radii.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let curve = curve(&radii, Norm::L2);
        let unit = curve.power.cost(1.0);
        let mut exact = 0u128;
        for (n, radius) in sorted.iter().enumerate() {
            exact += u128::from((radius * radius) as u64);
            // both exact to 2^-52: the unit is a power of two
            let found = curve.costs[n + 1] / unit;
            below_and_close(found, exact as f64, 1e-14).unwrap();
        }
        let naive: f64 = sorted.iter().map(|radius| radius * radius * 1.001).sum();
        assert!(below_and_close(naive, exact as f64, 1e-14).is_err());
    }
}
