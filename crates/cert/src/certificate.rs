//! The certificate of one image and one metric: sorted once, it answers every budget.

use crate::cheapest::cheapest;
use crate::component::OUTSIDE;
use crate::conventions::EmptyPrecision;
use crate::error::Result;
use crate::flip_curve::FlipCurve;
use crate::frontier::Frontier;
use crate::goal::Goal;
use crate::joint::Ratio;
use crate::margin::Margins;
use crate::mean::Mean;
use crate::metric::{Change, Kind, Metric};
use crate::norm::Budget;
use crate::object::counted_curve;
use crate::share::{Share, Value, f32_down};

/// What no attack on one image can exceed, under the premises of its margins.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    metric: Metric,
    margins: &'a Margins<'a>,
    clean: Value,
    curves: Curves,
}

#[derive(Clone, Debug)]
enum Curves {
    /// Pixels, or objects.
    One(FlipCurve),
    /// And the pixels of both lists: the frontier has what decides the ratio.
    Two(Ratio, Frontier, usize),
    Mean(Mean),
}

impl Metric {
    /// The certificate of an image; `None` where the metric is undefined on it (no pixel or object
    /// counts, or the label lacks the class).
    ///
    /// Errors: [`crate::Error::LabelsMissing`], [`crate::Error::ClassOutOfRange`].
    pub fn certify<'a>(self, margins: &'a Margins<'a>) -> Result<Option<Certificate<'a>>> {
        let Some(clean) = margins.value(self, margins.predictions())? else {
            return Ok(None);
        };
        let curves = match self.kind() {
            Kind::Mean => Curves::Mean(Mean::new(self, margins)?),
            Kind::Ratio(ratio) => {
                let (frontier, counted) = Frontier::deciding(self, margins)?;
                Curves::Two(ratio, frontier, counted)
            }
            Kind::Count | Kind::Objects => Curves::One(counted_curve(self, margins)?),
        };
        Ok(Some(Certificate {
            metric: self,
            margins,
            clean,
            curves,
        }))
    }

    /// Q1 of one budget, [`Certificate::worst`], in less time for the metrics that count pixels of
    /// one list.
    ///
    /// Errors: those of [`Self::certify`].
    pub fn worst(self, margins: &Margins, eps: Budget) -> Result<Option<Value>> {
        let Kind::Count = self.kind() else {
            let certificate = self.certify(margins)?;
            return Ok(certificate.map(|certificate| certificate.worst(eps)));
        };
        let power = margins.power();
        let affordable = power.affordable(eps.get());
        let (left, [counted, free]) =
            cheapest(self, margins, Change::Lose, false, power, |_| affordable)?;
        let flips = free + left.flips(eps.get());
        Ok((counted > 0).then(|| Value::Share(self.share(counted - flips, counted))))
    }
}

impl Certificate<'_> {
    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Value of the clean prediction.
    pub fn clean(&self) -> Value {
        self.clean
    }

    /// Pixels that count: those the metric looks at, void ones not; for objects, their number.
    pub fn counted(&self) -> u64 {
        let counted = match &self.curves {
            Curves::One(curve) => curve.len(),
            Curves::Two(_, _, counted) => *counted,
            Curves::Mean(mean) => mean.counted(),
        };
        counted as u64
    }

    /// Q1: no attack within `eps` makes the value worse than this (higher for the rates of false
    /// decisions, else lower). Of the means a bound; of all others the worst value that costs as
    /// they are allow, exactly, up to a tie (pairwise costs of forcing a class, [`crate::Forced`], are
    /// themselves bounds for 1 < p < inf and three classes or more). For p beyond 100 or so less
    /// than that: powers of radii far below the largest are below all floats, and such pixels count
    /// as free.
    pub fn worst(&self, eps: Budget) -> Value {
        match &self.curves {
            Curves::One(curve) => {
                let left = curve.len() - curve.flips(eps.get());
                Value::Share(self.metric.share(left, curve.len()))
            }
            Curves::Two(ratio, frontier, _) => {
                let worst = frontier.worst(eps.get(), |pair| self.share(*ratio, frontier, pair));
                // without a value anywhere the worst is what undefined images are: left out
                worst.map_or(self.clean, |(_, share)| Value::Share(share))
            }
            Curves::Mean(mean) => mean.worst(eps.get()),
        }
    }

    /// Value of a pair of losses and gains.
    fn share(&self, ratio: Ratio, frontier: &Frontier, pair: [usize; 2]) -> Option<Share> {
        let size = frontier.lose.len();
        let share = ratio.share(size, pair);
        if share.denominator > 0 {
            return Some(share);
        }
        self.margins
            .precision(size, pair, self.counted() as usize)?
            .share()
    }

    /// Q2: no attack within a budget below this reaches the goal; rounded down. `None` where no
    /// budget is enough. Errors: [`crate::Error::GoalOfOtherMetric`].
    pub fn budget(&self, goal: &Goal) -> Result<Option<f64>> {
        goal.check(self.metric)?;
        Ok(match &self.curves {
            Curves::One(curve) => Some(goal.flips(curve.len()))
                .filter(|&n| n <= curve.len())
                .map(|n| curve.budget(n))
                .filter(|b| b.is_finite()),
            Curves::Two(ratio, frontier, _) => {
                let threshold = &goal.threshold;
                let empty = match self.margins.conventions().empty_precision {
                    EmptyPrecision::Zero => !goal.is_strict() || threshold.numerator > 0,
                    EmptyPrecision::One => {
                        !goal.is_strict() && threshold.numerator == threshold.denominator
                    }
                    EmptyPrecision::Skip => false,
                };
                let size = frontier.lose.len();
                frontier.budget(|lost| ratio.gains(goal, size, lost, empty))
            }
            Curves::Mean(mean) => mean.budget(goal),
        })
    }

    /// Q1 of a value of your own: the least `value(i, j)` within `eps` after losing i pixels of the
    /// class and gaining j elsewhere (losses, or wrongly gained pixels for FPR, and 0 for the
    /// metrics of one list). Exact where it does not rise in j, and for one list not in i. Pairs
    /// of value `None` or NaN do not count; `None` where none has one, and for the means.
    pub fn worst_of<T: PartialOrd>(
        &self,
        eps: Budget,
        value: impl Fn(usize, usize) -> Option<T>,
    ) -> Option<T> {
        match &self.curves {
            Curves::One(curve) => value(curve.flips(eps.get()), 0),
            Curves::Two(..) => {
                let whole = Frontier::whole(self.metric, self.margins).ok()?;
                let number = |value: T| value.partial_cmp(&value).map(|_| value);
                let worst = whole.worst(eps.get(), |[i, j]| value(i, j).and_then(number));
                worst.map(|(_, value)| value)
            }
            Curves::Mean(_) => None,
        }
    }

    /// Q2 of a condition of your own on the i and j of [`Self::worst_of`], which holds for all
    /// larger j, and for one list for all larger i, once it holds: no attack within a budget below
    /// this reaches it. `None` where no budget does, and for the means.
    pub fn budget_where(&self, reached: impl Fn(usize, usize) -> bool) -> Option<f64> {
        match &self.curves {
            Curves::One(curve) => {
                let least = (0..=curve.len()).find(|&i| reached(i, 0))?;
                Some(curve.budget(least)).filter(|budget| budget.is_finite())
            }
            Curves::Two(..) => {
                let whole = Frontier::whole(self.metric, self.margins).ok()?;
                whole.budget_where(|[i, j]| reached(i, j))
            }
            Curves::Mean(_) => None,
        }
    }

    /// The whole curve in at most `points`, never fewer than two where the value moves: budgets,
    /// rising from 0, each with a value that holds for every budget up to and including it. From the
    /// last one on the value moves no more at any finite budget. Points lie closest where it moves
    /// most.
    pub fn curve(&self, points: usize) -> Vec<(Budget, Value)> {
        /// Share of the last budget below which intervals are not divided.
        const NARROW: f64 = 1e-6;
        let value = |eps: f64| self.worst(Budget::known(eps));
        let (first, last) = (value(0.0), value(f64::MAX));
        let (mut moves, mut rests) = (0, f64::MAX.to_bits());
        // of the means, which take time, to 2^-30 of the budget
        let close = if let Curves::Mean(_) = self.curves {
            1 << 22
        } else {
            1
        };
        while first != last && rests - moves > close {
            let middle = moves.midpoint(rests);
            if value(f64::from_bits(middle)) == last {
                rests = middle;
            } else {
                moves = middle;
            }
        }
        let end = if first == last {
            0.0
        } else {
            f64::from_bits(rests)
        };
        let mut curve = vec![(0.0, first)];
        if end > 0.0 {
            curve.push((end, last));
        }
        while curve.len() < points {
            let drop = |pair: &[(f64, Value)]| (pair[0].1.lower() - pair[1].1.lower()).abs();
            let wide = |pair: &[(f64, Value)]| pair[1].0 - pair[0].0 > NARROW * end;
            let pairs = curve.windows(2).enumerate();
            let pairs = pairs.filter(|(_, pair)| drop(pair) > 0.0 && wide(pair));
            let steepest = pairs.max_by(|(_, a), (_, b)| drop(a).total_cmp(&drop(b)));
            let Some((at, pair)) = steepest else { break };
            let middle = pair[0].0.midpoint(pair[1].0);
            curve.insert(at + 1, (middle, value(middle)));
        }
        let known = |(eps, value)| (Budget::known(eps), value);
        curve.into_iter().map(known).collect()
    }

    /// Pixels lost and gained by a worst attack of [`Self::worst`]; objects lost and 0; `None`
    /// of the means.
    pub fn lost_and_gained(&self, eps: Budget) -> Option<[usize; 2]> {
        match &self.curves {
            Curves::One(curve) => Some([curve.flips(eps.get()), 0]),
            Curves::Two(ratio, frontier, _) => {
                let worst = frontier.worst(eps.get(), |pair| self.share(*ratio, frontier, pair));
                Some(worst.map_or([0, 0], |(pair, _)| pair))
            }
            Curves::Mean(_) => None,
        }
    }

    /// The budget from which the worst attack takes each pixel, (height, width), rounded down;
    /// inf where a pixel does not count. The pixels of at most eps are those of [`Self::taken`],
    /// or more by rounding. `None` for the ratios, whose worst attacks are not nested
    /// ([`Self::ranks`]), and for the means.
    pub fn flip_budgets(&self) -> Result<Option<Vec<f32>>> {
        let Curves::One(curve) = &self.curves else {
            return Ok(None);
        };
        let mut budgets = vec![f32::INFINITY; self.margins.predictions().len()];
        for (rank, pixel) in self.order(Change::Lose)? {
            budgets[pixel] = f32_down(curve.budget(rank + 1));
        }
        Ok(Some(budgets))
    }

    /// Of the ratios: the place of each pixel in the order in which pixels of the class are lost,
    /// and of the others are gained, from 0, (height, width); `u32::MAX` where a pixel is not in
    /// the list. Within a budget the first i and j of [`Self::lost_and_gained`] are taken.
    pub fn ranks(&self) -> Result<Option<[Vec<u32>; 2]>> {
        let Curves::Two(..) = &self.curves else {
            return Ok(None);
        };
        let mut ranks = [(); 2].map(|()| vec![u32::MAX; self.margins.predictions().len()]);
        for (ranks, list) in ranks.iter_mut().zip([Change::Lose, Change::Gain]) {
            for (rank, pixel) in self.order(list)? {
                ranks[pixel] = rank as u32;
            }
        }
        Ok(Some(ranks))
    }

    /// The pixels the worst attack of [`Self::worst`] takes, (height, width): one optimum of the
    /// relaxation, not an attack that was found. Of equal radii the first pixels go first. `None`
    /// for the means.
    pub fn taken(&self, eps: Budget) -> Result<Option<Vec<bool>>> {
        let Some([lost, gained]) = self.lost_and_gained(eps) else {
            return Ok(None);
        };
        let mut taken = vec![false; self.margins.predictions().len()];
        for (change, count) in [(Change::Lose, lost), (Change::Gain, gained)] {
            for (rank, pixel) in self.order(change)? {
                taken[pixel] |= rank < count;
            }
        }
        Ok(Some(taken))
    }

    /// Place of each pixel of one list, cheapest first, then row by row; the pixels of an object
    /// have its place.
    fn order(&self, list: Change) -> Result<Vec<(usize, usize)>> {
        if let Kind::Objects = self.metric.kind() {
            let map = self.margins.object_map(self.metric)?;
            let mut order: Vec<usize> = (0..map.objects.len()).collect();
            order.sort_unstable_by_key(|&object| (map.objects[object].budget.to_bits(), object));
            let mut place = vec![0; order.len()];
            for (rank, object) in order.into_iter().enumerate() {
                place[object] = rank;
            }
            let pixels = map.of.iter().enumerate();
            let pixels = pixels.filter(|(_, object)| **object != OUTSIDE && list == Change::Lose);
            return Ok(pixels
                .map(|(pixel, &object)| (place[object as usize], pixel))
                .collect());
        }
        let mut order = Vec::new();
        self.metric.each(self.margins, list, |pixel, radius| {
            order.push((radius.to_bits(), pixel))
        })?;
        order.sort_unstable();
        Ok(order
            .into_iter()
            .map(|(_, pixel)| pixel)
            .enumerate()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::{Grid, Image, Norm, Premises, margins};

    /// One pixel of class 0, without labels.
    fn unlabelled<T>(then: impl FnOnce(&Margins) -> T) -> T {
        let grid = Grid::new(2, 1, 1).unwrap();
        let image = Image::new(grid, &[1.0, 0.0], None, None).unwrap();
        let premises = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
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

    /// Precision of a class that is nowhere: 1, 0 or undefined, and goals at the ends.
    #[test]
    fn precision_of_nothing_at_the_ends() {
        let grid = Grid::new(2, 1, 1).unwrap();
        let image = Image::new(grid, &[2.0, 0.0], Some(&[0]), None).unwrap();
        let premises = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
        // the one pixel is gained at sqrt 2
        for (empty_precision, threshold, reached_at) in [
            (EmptyPrecision::One, "<=1", 0.0),
            (EmptyPrecision::One, "<1", 1.0),
            (EmptyPrecision::One, "<=0", 1.0),
            (EmptyPrecision::Zero, "<=0", 0.0),
        ] {
            let conventions = crate::Conventions {
                empty_precision,
                ..crate::Conventions::default()
            };
            let margins = margins(&image, &premises)
                .unwrap()
                .with(conventions)
                .unwrap();
            let certificate = Metric::Precision(1).certify(&margins).unwrap().unwrap();
            let goal: Goal = format!("precision:1{threshold}").parse().unwrap();
            let budget = certificate.budget(&goal).unwrap().unwrap();
            assert!(
                (budget - reached_at * 2f64.sqrt()).abs() < 1e-9,
                "{goal}: {budget}"
            );
        }
    }

    /// Not a number is no value, wherever it comes.
    #[test]
    fn own_values_that_are_no_numbers_do_not_hide_others() {
        let grid = Grid::new(2, 1, 2).unwrap();
        let image = Image::new(grid, &[1.0, 1.0, 0.0, 0.0], Some(&[0, 1]), None).unwrap();
        let premises = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
        let margins = margins(&image, &premises).unwrap();
        let certificate = Metric::Iou(0).certify(&margins).unwrap().unwrap();
        let eps = Budget::new(9.0).unwrap();
        let value = |lost, _| Some(if lost == 0 { f64::NAN } else { 0.25 });
        assert_eq!(certificate.worst_of(eps, value), Some(0.25));
    }
}
