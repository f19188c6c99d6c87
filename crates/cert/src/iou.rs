//! Worst-case IoU of a class: two curves share one budget. Paper 001 appendix B, eqs 27-29.
//!
//! An attack that loses i of the s pixels of the class and gains j elsewhere leaves
//! (s-i)/(s+j), at a budget of at least (A_i + B_j)^(1/p). For each i the largest affordable j
//! falls as i rises: one scan is exact. The radii contain the factor 2^((1-p)/p) and 1/L, which
//! the printed formulas lack.

use crate::flip_curve::FlipCurve;
use crate::goal::Goal;
use crate::share::Share;

/// The pixels of a class, to lose, and the others, to gain.
#[derive(Clone, Debug)]
pub(crate) struct Frontier {
    pub(crate) lose: FlipCurve,
    pub(crate) gain: FlipCurve,
}

impl Frontier {
    /// IoU after losing i and gaining j pixels; the class has at least one pixel.
    pub(crate) fn share(&self, [lost, gained]: [usize; 2]) -> Share {
        Share::new(self.lose.len() - lost, self.lose.len() + gained)
    }

    /// Q1: pixels lost and gained by the worst attack within `eps`; of equal ones, the fewest lost.
    pub(crate) fn worst(&self, eps: f64) -> [usize; 2] {
        let mut gained = self.gain.flips(eps);
        let mut best = [0, gained];
        for lost in 1..=self.lose.flips(eps) {
            while gained > 0 && self.lose.budget_with(lost, &self.gain, gained) > eps {
                gained -= 1;
            }
            if self.share([lost, gained]) < self.share(best) {
                best = [lost, gained];
            }
        }
        best
    }

    /// Q2: no budget below this reaches the goal; `None` where none does.
    pub(crate) fn budget(&self, goal: &Goal) -> Option<f64> {
        let mut best: Option<f64> = None;
        // A sum whose root is at least `best` need not be rooted again.
        let mut enough = f64::INFINITY;
        for lost in 0..=self.lose.len() {
            let gained = goal
                .gains(self.lose.len(), lost)
                .and_then(|j| usize::try_from(j).ok());
            let Some(gained) = gained.filter(|&j| j <= self.gain.len()) else {
                continue;
            };
            let cost = self.lose.cost_with(lost, &self.gain, gained);
            let radius = self.lose.radius_with(lost, &self.gain, gained);
            if best.is_some_and(|best| cost >= enough || radius >= best) {
                continue;
            }
            let budget = self.lose.budget_with(lost, &self.gain, gained);
            if best.is_none_or(|best| budget < best) {
                (best, enough) = (
                    Some(budget),
                    if budget > radius { cost } else { f64::INFINITY },
                );
            }
        }
        best.filter(|best| best.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Norm;
    use crate::power::Power;
    use crate::testing::{TIGHT, below_and_close};

    fn frontier(lose: &[f64], gain: &[f64], norm: Norm) -> Frontier {
        let power = Power::new(norm, lose.iter().chain(gain).copied().fold(0.0, f64::max));
        Frontier {
            lose: FlipCurve::new(lose.to_vec(), power),
            gain: FlipCurve::new(gain.to_vec(), power),
        }
    }

    fn example_e3() -> Frontier {
        frontier(&[0.0, 0.1, 0.3], &[0.0, 0.2, 0.25], Norm::L2)
    }

    #[test]
    fn example_e3_worst_iou() {
        let frontier = example_e3();
        for (eps, numerator, denominator) in [(0.25, 1, 5), (0.33, 0, 1)] {
            assert_eq!(
                frontier.share(frontier.worst(eps)),
                Share {
                    numerator,
                    denominator
                },
                "{eps}"
            );
        }
        assert_eq!(frontier.worst(0.25), [2, 2]);
        // App. B as printed: costs doubled, which is unsound
        let doubled = [0.0, 0.1, 0.3].map(|r: f64| r * 2f64.sqrt());
        let printed = super::tests::frontier(
            &doubled,
            &[0.0, 0.2, 0.25].map(|r: f64| r * 2f64.sqrt()),
            Norm::L2,
        );
        assert_eq!(
            printed.share(printed.worst(0.25)),
            Share {
                numerator: 1,
                denominator: 4
            }
        );
    }

    #[test]
    fn example_e3_budgets() {
        for (text, square) in [
            ("iou:1<=0.5", 0.0),
            ("iou:1<=0.3", 0.01),
            ("iou:1<=0.2", 0.05),
            ("iou:1<=0", 0.1f64),
        ] {
            let budget = example_e3().budget(&text.parse().unwrap()).unwrap();
            below_and_close(budget, square.sqrt(), TIGHT).unwrap();
        }
        assert_eq!(example_e3().budget(&"iou:1<0".parse().unwrap()), None);
    }

    #[test]
    fn example_e5_infinity() {
        let frontier = frontier(&[0.0, 0.1, 0.3], &[0.0, 0.2, 0.25], Norm::LINF);
        assert_eq!(frontier.worst(0.25), [2, 3]);
        assert_eq!(
            frontier.share([2, 3]),
            Share {
                numerator: 1,
                denominator: 6
            }
        );
        assert_eq!(frontier.budget(&"iou:1<=0.2".parse().unwrap()), Some(0.2));
    }

    /// Frontiers of section 7.2, images 1 to 3.
    #[test]
    fn example_t12_per_image() {
        let of = |lose: &[f64], gain: &[f64]| {
            let [lose, gain] =
                [lose, gain].map(|costs| costs.iter().map(|c| c.sqrt()).collect::<Vec<_>>());
            let frontier = frontier(&lose, &gain, Norm::L2);
            frontier.share(frontier.worst(0.285))
        };
        let share = |numerator, denominator| Share {
            numerator,
            denominator,
        };
        assert_eq!(of(&[0.04; 4], &[0.015; 5]), share(4, 9));
        assert_eq!(of(&[0.05; 2], &[0.03; 3]), share(1, 3));
        assert_eq!(of(&[0.0; 4], &[]), share(0, 1));
    }

    #[test]
    fn all_pixels_of_the_class() {
        let all = frontier(&[1.0, 2.0], &[], Norm::L2);
        assert_eq!(all.worst(f64::INFINITY), [2, 0]);
        assert_eq!(all.budget(&"iou:1<=0.5".parse().unwrap()), Some(1.0));
    }
}
