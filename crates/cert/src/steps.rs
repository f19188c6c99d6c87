//! A flip curve at some of its counts: what keeps the curves of all classes of a large picture in
//! memory at once.
//!
//! Between two counts the costs are taken as linear: every flip of a block costs as much as its
//! first, the cheapest. That is below the curve and convex, as the curve is. A block that starts
//! at n flips of a list holds 1/4096 of n + `offset`: with the size of the class as offset, taking a
//! whole block loses at most 2^-11 of the pixels of the class, or 2^-12 of its union.

use crate::flip_curve::FlipCurve;

/// Flips beyond which blocks hold more than one.
const RESOLUTION: usize = 1 << 12;

/// Counts and lower bounds of their costs, both rising from 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Steps {
    pub(crate) counts: Vec<u32>,
    pub(crate) costs: Vec<f64>,
    /// Whether every count is there.
    pub(crate) exact: bool,
}

impl Steps {
    /// All counts of a curve.
    pub(crate) fn all(curve: &FlipCurve) -> Self {
        Steps::of(curve.costs().to_vec())
    }

    /// `costs[n]` of n flips.
    pub(crate) fn of(costs: Vec<f64>) -> Self {
        Steps {
            counts: (0..costs.len() as u32).collect(),
            costs,
            exact: true,
        }
    }

    /// The curve in blocks, or all of it where it is short.
    pub(crate) fn thinned(curve: &FlipCurve, offset: usize) -> Self {
        let all = curve.costs();
        if all.len() + offset <= 2 * RESOLUTION || !curve.power().shared() {
            return Steps::all(curve);
        }
        let finite = all.partition_point(|&cost| cost < f64::INFINITY);
        // differences of sums are off by 2^-52 of these, once in each block
        let lowered = 1.0 - all.len() as f64 * 4.0 * f64::EPSILON;
        let (mut counts, mut costs) = (vec![0], vec![0.0]);
        let (mut n, mut cost, mut first) = (0, 0.0f64, 0.0f64);
        while n + 1 < all.len() {
            let block = ((n + offset) / RESOLUTION).max(1);
            // flips that nothing pays for are blocks of their own
            let end = if n + 1 < finite {
                finite - 1
            } else {
                all.len() - 1
            };
            let next = (n + block).min(end);
            first = first.max((all[n + 1] - all[n]) * lowered);
            cost = (cost + first * (next - n) as f64).min(all[next]);
            if all[n + 1] == f64::INFINITY {
                cost = f64::INFINITY;
            }
            counts.push(next as u32);
            costs.push(cost);
            n = next;
        }
        counts.shrink_to_fit();
        costs.shrink_to_fit();
        Steps {
            counts,
            costs,
            exact: false,
        }
    }

    /// Number of flips of the whole list.
    pub(crate) fn len(&self) -> usize {
        self.counts.last().map_or(0, |&count| count as usize)
    }

    /// Entries whose cost is at most this; at least 1 where it is at least 0.
    pub(crate) fn within(&self, cost: f64) -> usize {
        self.costs.partition_point(|&c| c <= cost)
    }

    /// The most flips whose cost may be that of this entry.
    pub(crate) fn most(&self, entry: usize) -> usize {
        let next = self.counts.get(entry + 1);
        next.map_or(self.len(), |&next| next as usize - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Norm;
    use crate::power::Power;

    fn curve(count: u64, infinite: usize) -> FlipCurve {
        let radii = (0..count).map(|n| (n.wrapping_mul(2_654_435_761) % 100_003) as f64 / 1e5);
        let radii = radii.chain(std::iter::repeat_n(f64::INFINITY, infinite));
        FlipCurve::new(radii.collect(), Power::new(Norm::L2, 1.0))
    }

    /// Below the curve everywhere, convex, and close.
    fn check(steps: &Steps, curve: &FlipCurve, offset: usize) -> Result<(), String> {
        if steps.len() != curve.len() {
            return Err(format!("{} of {} flips", steps.len(), curve.len()));
        }
        let mut slope = 0.0;
        for (counts, costs) in steps.counts.windows(2).zip(steps.costs.windows(2)) {
            let (from, to) = (counts[0] as usize, counts[1] as usize);
            let step = (costs[1] - costs[0]) / (to - from) as f64;
            if step < slope * (1.0 - 1e-9) {
                return Err(format!("not convex at {from}"));
            }
            slope = step;
            for n in from..=to {
                let linear = costs[0]
                    + if n > from {
                        step * (n - from) as f64
                    } else {
                        0.0
                    };
                // the linear interpolation here rounds too
                if linear * (1.0 - 1e-12) > curve.costs()[n] {
                    return Err(format!("{linear} above {} at {n}", curve.costs()[n]));
                }
            }
            // what the block and those before it lose is less than two blocks of flips
            let fewer = to.saturating_sub(2 * ((to + offset) / RESOLUTION).max(1));
            if costs[1] * (1.0 + 1e-9) < curve.costs()[fewer] {
                return Err(format!(
                    "{} far below {} at {to}",
                    costs[1],
                    curve.costs()[to]
                ));
            }
        }
        Ok(())
    }

    #[test]
    fn blocks_are_below_convex_and_close() {
        for (count, infinite, offset) in [
            (100_000, 0, 0),
            (100_000, 500, 70_000),
            (50_000, 0, 1_000_000),
            (9000, 20_000, 0),
        ] {
            let curve = curve(count, infinite);
            let steps = Steps::thinned(&curve, offset);
            check(&steps, &curve, offset).unwrap();
            assert!(!steps.exact && steps.counts.len() < 70_000);
            let dearer = Steps {
                costs: steps.costs.iter().map(|cost| cost * 1.01).collect(),
                ..steps.clone()
            };
            assert!(check(&dearer, &curve, offset).is_err(), "a planted error");
        }
    }

    #[test]
    fn short_lists_are_whole() {
        let curve = curve(100, 3);
        let steps = Steps::thinned(&curve, 50);
        assert_eq!(steps, Steps::all(&curve));
        assert_eq!((steps.len(), steps.most(7), steps.most(103)), (103, 7, 103));
    }
}
