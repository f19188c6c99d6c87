//! Two curves that share a budget: pixels of a class to lose, pixels elsewhere to gain.
//! Paper 001 appendix B, eqs 27-29.
//!
//! An attack that loses i of the s pixels of the class and gains j elsewhere pays at least
//! A_i + B_j. For each i the largest affordable j falls as i rises: one scan finds the worst of any
//! value that does not rise in j. The radii contain the factor 2^((1-p)/p) and 1/L, which the
//! printed formulas lack.

use crate::cheapest::cheapest;
use crate::error::Result;
use crate::flip_curve::FlipCurve;
use crate::goal::Goal;
use crate::joint::Ratio;
use crate::margin::Margins;
use crate::metric::{Change, Metric};
use crate::share::Share;

/// The pixels of a class, to lose, and the others, to gain.
#[derive(Clone, Debug)]
pub(crate) struct Frontier {
    pub(crate) lose: FlipCurve,
    pub(crate) gain: FlipCurve,
}

impl Frontier {
    /// All pixels of both lists.
    pub(crate) fn whole(metric: Metric, margins: &Margins) -> Result<Self> {
        let power = margins.power();
        Ok(Frontier {
            lose: FlipCurve::new(metric.radii(margins, Change::Lose)?, power),
            gain: FlipCurve::new(metric.radii(margins, Change::Gain)?, power),
        })
    }

    /// What decides the ratios of one image, in a fraction of the time: within a budget that loses
    /// the whole class and gains one pixel every ratio is 0, so that gains which together cost more
    /// than that decide nothing. Also the number of pixels of both lists.
    pub(crate) fn deciding(metric: Metric, margins: &Margins) -> Result<(Self, usize)> {
        let power = margins.power();
        let lose = FlipCurve::new(metric.radii(margins, Change::Lose)?, power);
        let all_lost = lose.costs()[lose.len()];
        let enough = |one_gain| power.both(all_lost, one_gain);
        let (gain, [gains, _]) = cheapest(metric, margins, Change::Gain, true, power, enough)?;
        let counted = lose.len() + gains;
        Ok((Frontier { lose, gain }, counted))
    }

    /// Cost of losing i and gaining j pixels, rounded down (the slack of the curves covers this sum).
    pub(crate) fn cost(&self, [lost, gained]: [usize; 2]) -> f64 {
        let (lose, gain) = (self.lose.costs()[lost], self.gain.costs()[gained]);
        self.lose.power().both(lose, gain)
    }

    /// Calls `each` with every (i, largest affordable j), i rising; of [`Self::deciding`], no j
    /// beyond its list.
    pub(crate) fn scan(&self, eps: f64, mut each: impl FnMut([usize; 2])) {
        let affordable = self.lose.power().affordable(eps);
        let (lose, gain) = (self.lose.costs(), self.gain.costs());
        let lost_at_most = lose.partition_point(|&cost| cost <= affordable);
        let mut gained = gain.partition_point(|&cost| cost <= affordable) - 1;
        for lost in 0..lost_at_most {
            while gained > 0 && self.cost([lost, gained]) > affordable {
                gained -= 1;
            }
            each([lost, gained]);
        }
    }

    /// Q1 of a value that does not rise in j: the first pair of the least value within `eps`;
    /// pairs without a value do not count.
    pub(crate) fn worst<T: PartialOrd>(
        &self,
        eps: f64,
        value: impl Fn([usize; 2]) -> Option<T>,
    ) -> Option<([usize; 2], T)> {
        let mut best: Option<([usize; 2], T)> = None;
        self.scan(eps, |pair| {
            if let Some(value) = value(pair)
                && best.as_ref().is_none_or(|(_, least)| value < *least)
            {
                best = Some((pair, value));
            }
        });
        best
    }

    /// Q2: no budget below this pays for any pair (i, gains(i)), i up to s; `None` where none does.
    pub(crate) fn budget(&self, gains: impl Fn(usize) -> Option<usize>) -> Option<f64> {
        let cost = |lost| {
            let gained = gains(lost).filter(|&gained| gained <= self.gain.len())?;
            Some(self.cost([lost, gained]))
        };
        let least = (0..=self.lose.len()).filter_map(cost).reduce(f64::min)?;
        Some(self.lose.power().root(least)).filter(|budget| budget.is_finite())
    }

    /// Q2 by predicate, which holds for all larger j once it holds for one.
    pub(crate) fn budget_where(&self, reached: impl Fn([usize; 2]) -> bool) -> Option<f64> {
        self.budget(|lost| {
            let (mut unreached, mut gained) = (0, self.gain.len() + 1);
            // the least j in [unreached, gained); len + 1 where none reaches it
            while unreached < gained {
                let middle = unreached.midpoint(gained);
                if middle <= self.gain.len() && !reached([lost, middle]) {
                    unreached = middle + 1;
                } else {
                    gained = middle;
                }
            }
            Some(gained)
        })
    }
}

impl Ratio {
    /// The value after losing i and gaining j of a class of `size` pixels.
    pub(crate) fn share(self, size: usize, [lost, gained]: [usize; 2]) -> Share {
        let [numerator, denominator] = self.of(size as u64, lost as u64, gained as u64);
        Share {
            numerator,
            denominator,
        }
    }

    /// Pixels to gain for the goal once `lost` of `size` are lost; `None` where none suffice.
    /// w(s-i) / (D+j) <= a/b  <=>  a(D+j) >= b·w(s-i), D the denominator without gains. At 0/0
    /// `empty_reaches` says whether no gain suffices.
    pub(crate) fn gains(
        self,
        goal: &Goal,
        size: usize,
        lost: usize,
        empty_reaches: bool,
    ) -> Option<usize> {
        let share = self.share(size, [lost, 0]);
        if share.denominator == 0 {
            return match empty_reaches {
                true => Some(0),
                // 0/j, which is below every threshold but 0 itself
                false => (!goal.is_strict() || goal.threshold.numerator > 0).then_some(1),
            };
        }
        let (a, b) = (goal.threshold.numerator, goal.threshold.denominator);
        let needed = u128::from(b) * u128::from(share.numerator) + u128::from(goal.is_strict());
        let gained = match (needed, u128::from(a)) {
            (0, _) => 0,
            (_, 0) => return None,
            (needed, a) => needed.div_ceil(a).saturating_sub(share.denominator.into()),
        };
        usize::try_from(gained).ok()
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

    fn worst(frontier: &Frontier, eps: f64) -> ([usize; 2], Share) {
        let size = frontier.lose.len();
        let share = |pair| Some(Ratio::Iou.share(size, pair));
        frontier.worst(eps, share).unwrap()
    }

    fn least(frontier: &Frontier, goal: &str) -> Option<f64> {
        let (goal, size): (Goal, _) = (goal.parse().unwrap(), frontier.lose.len());
        let closed = frontier.budget(|lost| Ratio::Iou.gains(&goal, size, lost, false));
        let threshold = &goal.threshold;
        let [a, b] = [threshold.numerator, threshold.denominator].map(u128::from);
        let by_search = frontier.budget_where(|pair| {
            let share = Ratio::Iou.share(size, pair);
            let (value, most) = (
                u128::from(share.numerator) * b,
                u128::from(share.denominator) * a,
            );
            value < most || value == most && !goal.is_strict()
        });
        assert_eq!(closed, by_search, "{goal}");
        closed
    }

    fn example_e3() -> Frontier {
        frontier(&[0.0, 0.1, 0.3], &[0.0, 0.2, 0.25], Norm::L2)
    }

    #[test]
    fn example_e3_worst_iou() {
        let frontier = example_e3();
        for (eps, numerator, denominator) in [(0.25, 1, 5), (0.33, 0, 1)] {
            assert_eq!(
                worst(&frontier, eps).1,
                Share {
                    numerator,
                    denominator
                },
                "{eps}"
            );
        }
        assert_eq!(worst(&frontier, 0.25).0, [2, 2]);
        // App. B as printed: costs doubled, which is unsound
        let doubled = [0.0, 0.1, 0.3].map(|r: f64| r * 2f64.sqrt());
        let printed = super::tests::frontier(
            &doubled,
            &[0.0, 0.2, 0.25].map(|r: f64| r * 2f64.sqrt()),
            Norm::L2,
        );
        assert_eq!(
            worst(&printed, 0.25).1,
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
            let budget = least(&example_e3(), text).unwrap();
            below_and_close(budget, square.sqrt(), TIGHT).unwrap();
        }
        assert_eq!(least(&example_e3(), "iou:1<0"), None);
    }

    #[test]
    fn example_e5_infinity() {
        let frontier = frontier(&[0.0, 0.1, 0.3], &[0.0, 0.2, 0.25], Norm::LINF);
        assert_eq!(worst(&frontier, 0.25).0, [2, 3]);
        assert_eq!(
            worst(&frontier, 0.25).1,
            Share {
                numerator: 1,
                denominator: 6
            }
        );
        assert_eq!(least(&frontier, "iou:1<=0.2"), Some(0.2));
    }

    /// Frontiers of section 7.2, images 1 to 3.
    #[test]
    fn example_t12_per_image() {
        let of = |lose: &[f64], gain: &[f64]| {
            let [lose, gain] =
                [lose, gain].map(|costs| costs.iter().map(|c| c.sqrt()).collect::<Vec<_>>());
            let frontier = frontier(&lose, &gain, Norm::L2);
            worst(&frontier, 0.285).1
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
        assert_eq!(worst(&all, f64::INFINITY).0, [2, 0]);
        below_and_close(least(&all, "iou:1<=0.5").unwrap(), 1.0, TIGHT).unwrap();
    }

    /// The smallest j that reaches the goal, by products.
    #[test]
    fn gains_equal_enumeration() {
        for ratio in [Ratio::Iou, Ratio::Dice, Ratio::Precision] {
            for text in ["<=0", "<0", "<=0.3", "<0.3", "<=0.5", "<0.5", "<=1", "<1"] {
                let goal: Goal = format!("iou:1{text}").parse().unwrap();
                let [a, b] = [goal.threshold.numerator, goal.threshold.denominator];
                for (size, lost) in (0..8).flat_map(|size| (0..=size).map(move |lost| (size, lost)))
                {
                    let holds = |j: &usize| {
                        let share = ratio.share(size, [lost, *j]);
                        let (value, most) = (b * share.numerator, a * share.denominator);
                        share.denominator > 0
                            && if goal.is_strict() {
                                value < most
                            } else {
                                value <= most
                            }
                    };
                    let found = ratio.gains(&goal, size, lost, false);
                    assert_eq!(found, (0..100).find(holds), "{ratio:?}{text} {size} {lost}");
                    let empty = ratio.share(size, [lost, 0]).denominator == 0;
                    if empty {
                        assert_eq!(ratio.gains(&goal, size, lost, true), Some(0));
                    }
                }
            }
        }
    }

    /// Every third block is sampled, and is cheaper than the others: the sample promises more cheap
    /// gains than there are, so that those it keeps do not decide and all are taken.
    #[test]
    fn gains_that_decide_are_enough_where_the_sample_misleads() {
        let pixels = 24_000;
        let (mut logits, mut labels) = (vec![0.0f32; 2 * pixels], vec![0; pixels]);
        for pixel in 0..pixels {
            let of_class = pixel == 1;
            labels[pixel] = u8::from(of_class);
            let gap = match (of_class, pixel / 256 % 3) {
                (true, _) => 1.0,
                (false, 0) => 0.01,
                (false, _) => 0.02,
            };
            logits[usize::from(of_class) * pixels + pixel] = gap;
        }
        let grid = crate::Grid::new(2, 1, pixels).unwrap();
        let image = crate::Image::new(grid, &logits, Some(&labels), None).unwrap();
        // gaps are radii
        let premises = crate::Premises::new(Norm::L2, 0.5f64.sqrt(), 0.0).unwrap();
        let margins = crate::margins(&image, &premises).unwrap();
        let metric = Metric::Iou(1);
        let whole = Frontier::whole(metric, &margins).unwrap();
        let (deciding, counted) = Frontier::deciding(metric, &margins).unwrap();
        assert_eq!(counted, pixels);
        for cost in [0.0, 0.1, 0.5, 0.85, 0.9, 0.95, 1.2] {
            for ratio in [Ratio::Iou, Ratio::Dice, Ratio::Precision] {
                let value = |frontier: &Frontier| {
                    let share = |pair| Some(ratio.share(1, pair)).filter(|s| s.denominator > 0);
                    frontier.worst(f64::sqrt(cost), share).unwrap().1
                };
                assert_eq!(value(&deciding), value(&whole), "{ratio:?} {cost}");
            }
        }
        // a list cut to what the sample kept would be seen
        let kept: Vec<f64> = (0..pixels)
            .map(|n| if n / 256 % 3 == 0 { 0.01 } else { 9.0 })
            .collect();
        let cut = Frontier {
            gain: FlipCurve::new(kept, *whole.lose.power()),
            ..whole.clone()
        };
        let iou = |frontier: &Frontier| worst(frontier, f64::sqrt(0.9)).1;
        assert!(iou(&cut) > iou(&whole));
    }
}
