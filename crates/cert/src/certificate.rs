//! The certificate of one image and one metric: sorted once, it answers every budget.

use crate::error::{Error, Result};
use crate::flip_curve::FlipCurve;
use crate::goal::Goal;
use crate::iou::Frontier;
use crate::margin::Margins;
use crate::metric::{Change, Metric};
use crate::norm::Budget;
use crate::power::Power;
use crate::share::{Share, f32_down};

/// What no attack on one image can exceed, under the premises of its margins.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    metric: Metric,
    margins: &'a Margins<'a>,
    clean: Share,
    curves: Curves,
}

#[derive(Clone, Debug)]
enum Curves {
    One(FlipCurve),
    Two(Frontier),
}

impl Metric {
    /// The certificate of an image; `None` where the metric is undefined on it (no pixel counts,
    /// or the label lacks the class).
    ///
    /// Errors: [`Error::LabelsMissing`], [`Error::ClassOutOfRange`].
    pub fn certify<'a>(self, margins: &'a Margins<'a>) -> Result<Option<Certificate<'a>>> {
        let Some(clean) = self.clean(margins)? else {
            return Ok(None);
        };
        let [mut lose, mut gain] = [const { Vec::new() }; 2];
        let mut largest = 0.0f64;
        self.radii(margins, |change, _, radius| {
            largest = largest.max(radius);
            match change {
                Change::Lose => lose.push(radius),
                Change::Gain => gain.push(radius),
            }
        });
        let power = Power::new(margins.premises().norm, largest);
        let lose = FlipCurve::new(lose, power);
        let curves = match self {
            Metric::Iou(_) => Curves::Two(Frontier {
                lose,
                gain: FlipCurve::new(gain, power),
            }),
            _ => Curves::One(lose),
        };
        Ok(Some(Certificate {
            metric: self,
            margins,
            clean,
            curves,
        }))
    }
}

impl Certificate<'_> {
    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Value of the clean prediction.
    pub fn clean(&self) -> Share {
        self.clean
    }

    /// Pixels that count: those the metric looks at, void ones not.
    pub fn counted(&self) -> u64 {
        match &self.curves {
            Curves::One(curve) => curve.len() as u64,
            Curves::Two(frontier) => (frontier.lose.len() + frontier.gain.len()) as u64,
        }
    }

    /// Q1: no attack within `eps` makes the value worse than this (lower for accuracy, stability
    /// and IoU, higher for the false negative rate).
    pub fn worst(&self, eps: Budget) -> Share {
        match &self.curves {
            Curves::One(curve) => {
                let (flips, counted) = (curve.flips(eps.get()), curve.len());
                Share::new(
                    if self.metric.higher_is_better() {
                        counted - flips
                    } else {
                        flips
                    },
                    counted,
                )
            }
            Curves::Two(frontier) => frontier.share(frontier.worst(eps.get())),
        }
    }

    /// Q2: no attack within a budget below this reaches the goal; rounded down. `None` where no
    /// budget is enough. Errors: [`Error::GoalOfOtherMetric`].
    pub fn budget(&self, goal: &Goal) -> Result<Option<f64>> {
        if goal.metric != self.metric {
            return Err(Error::GoalOfOtherMetric {
                goal: goal.to_string(),
                metric: self.metric,
                expected: goal.metric,
            });
        }
        Ok(match &self.curves {
            Curves::One(curve) => Some(goal.flips(curve.len()))
                .filter(|&n| n <= curve.len())
                .map(|n| curve.budget(n))
                .filter(|b| b.is_finite()),
            Curves::Two(frontier) => frontier.budget(goal),
        })
    }

    /// The budget from which the worst attack takes each pixel, (height, width), rounded down;
    /// inf where a pixel does not count. The pixels of at most eps are those of [`Self::taken`],
    /// or more by rounding. `None` for IoU, whose worst attacks are not nested.
    pub fn flip_budgets(&self) -> Option<Vec<f32>> {
        let Curves::One(curve) = &self.curves else {
            return None;
        };
        let mut budgets = vec![f32::INFINITY; self.margins.predictions().len()];
        for (rank, pixel) in (1..).zip(self.order(Change::Lose)) {
            budgets[pixel] = f32_down(curve.budget(rank));
        }
        Some(budgets)
    }

    /// The pixels the worst attack of [`Self::worst`] takes, (height, width): one optimum of the
    /// relaxation, not an attack that was found. Of equal radii the first pixels go first.
    pub fn taken(&self, eps: Budget) -> Vec<bool> {
        let [lost, gained] = match &self.curves {
            Curves::One(curve) => [curve.flips(eps.get()), 0],
            Curves::Two(frontier) => frontier.worst(eps.get()),
        };
        let mut taken = vec![false; self.margins.predictions().len()];
        for (change, count) in [(Change::Lose, lost), (Change::Gain, gained)] {
            for pixel in self.order(change).into_iter().take(count) {
                taken[pixel] = true;
            }
        }
        taken
    }

    /// Pixels of one list, cheapest first, then row by row.
    fn order(&self, list: Change) -> Vec<usize> {
        let mut order = Vec::new();
        self.metric.radii(self.margins, |change, pixel, radius| {
            if change == list {
                order.push((radius.to_bits(), pixel));
            }
        });
        order.sort_unstable();
        order.into_iter().map(|(_, pixel)| pixel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, Image, Norm, Premises, margins};

    /// One pixel of class 0, without labels.
    fn unlabelled<T>(then: impl FnOnce(&Margins) -> T) -> T {
        let grid = Grid::new(2, 1, 1).unwrap();
        let image = Image::new(grid, &[1.0, 0.0], None, None).unwrap();
        let premises = Premises {
            norm: Norm::L2,
            lipschitz: 1.0,
            eta: 0.0,
        };
        then(&margins(&image, &premises).unwrap())
    }

    #[test]
    fn labels_missing() {
        unlabelled(|margins| {
            for metric in [Metric::Accuracy, Metric::Fnr(0), Metric::Iou(1)] {
                let error = metric.certify(margins).unwrap_err();
                assert_eq!(error, Error::LabelsMissing { metric });
            }
            assert!(Metric::Stability.certify(margins).is_ok());
            let beyond = Metric::Iou(2).certify(margins).unwrap_err();
            assert!(matches!(beyond, Error::ClassOutOfRange { class: 2, .. }));
        });
    }

    #[test]
    fn goal_of_other_metric() {
        unlabelled(|margins| {
            let certificate = Metric::Stability.certify(margins).unwrap().unwrap();
            let goal: Goal = "iou:1<=0.5".parse().unwrap();
            let error = certificate.budget(&goal).unwrap_err();
            assert_eq!(
                error.to_string(),
                "goal `iou:1<=0.5` was asked of a certificate of stability; certify iou:1"
            );
        });
    }
}
