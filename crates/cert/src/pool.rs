//! Data sets: every image is attacked within the same budget, and the counts of all are one.
//!
//! Counts add up: the worst sum is the sum of the worst. Ratios do not: the worst class IoU of a
//! data set is a minimum over all choices together (`joint.rs`, Dinkelbach), and adding up the
//! worst of each image is no bound of it; that sum appears under its own name. The means are means
//! over classes of these, each class attacked with the whole budget.

mod row;

pub use row::PoolRow;

use crate::conventions::{Conventions, EmptyPrecision, MiouClasses};
use crate::error::{Error, Result};
use crate::flip_curve::FlipCurve;
use crate::frontier::Frontier;
use crate::goal::Goal;
use crate::joint::{Hull, Ratio, joint_minimum};
use crate::margin::Margins;
use crate::metric::{Kind, Metric};
use crate::norm::{Budget, Norm};
use crate::object;
use crate::share::{EXACT, Share, Value};
use crate::summary::mean_lower;
use crate::value::{Confusion, mean_between};

/// One metric of a data set; images are added one by one and can be dropped after.
#[derive(Clone, Debug)]
pub struct Pool {
    metric: Metric,
    classes: usize,
    eps: Vec<Budget>,
    /// Whether curves are kept for Q2.
    keep: bool,
    images: usize,
    undefined: usize,
    /// Norm of the costs, norm of the budgets, conventions.
    rules: Option<(Norm, Norm, Conventions)>,
    parts: Parts,
}

#[derive(Clone, Debug)]
enum Parts {
    /// Sums of what is left and of all, clean and at each eps.
    Counts {
        clean: Share,
        worst: Vec<Share>,
        curves: Vec<FlipCurve>,
    },
    Ratios(Ratios),
    /// A pool for each class; whether a class that is nowhere counts once an attack makes it appear.
    Classes {
        pools: Vec<Pool>,
        union: bool,
    },
}

#[derive(Clone, Debug)]
struct Ratios {
    ratio: Ratio,
    empty: EmptyPrecision,
    /// Pixels of both lists.
    counted: u64,
    clean: Share,
    /// Sums of per-image minimisers at each eps.
    minimisers: Vec<Share>,
    hulls: Vec<Hulls>,
    frontiers: Vec<Frontier>,
}

/// What an attack within one eps may do to each image.
#[derive(Clone, Debug)]
struct Hulls {
    images: Vec<(u64, Hull)>,
    /// Whether the class can be wiped out everywhere.
    all_lost: bool,
}

const NONE: Share = Share {
    numerator: 0,
    denominator: 0,
};

impl Pool {
    /// A pool for `classes` classes that answers Q1 at each of `eps`, and with `goals` Q2 too, for
    /// which it keeps 8 bytes per pixel that counts (for the means: and class).
    ///
    /// Errors: [`Error::ClassOutOfRange`].
    pub fn new(metric: Metric, classes: usize, eps: &[Budget], goals: bool) -> Result<Self> {
        metric.check(classes)?;
        let parts = match metric.kind() {
            Kind::Mean => {
                let of = |class| match metric {
                    Metric::Miou => Metric::Iou(class),
                    _ => Metric::Recall(class),
                };
                let class = |class| Pool::new(of(class), classes, eps, goals);
                let pools = (0..=u8::MAX).take(classes).map(class);
                Parts::Classes {
                    pools: pools.collect::<Result<_>>()?,
                    union: false,
                }
            }
            Kind::Ratio(ratio) => Parts::Ratios(Ratios {
                ratio,
                empty: EmptyPrecision::default(),
                counted: 0,
                clean: NONE,
                minimisers: vec![NONE; eps.len()],
                hulls: vec![Hulls::none(); eps.len()],
                frontiers: Vec::new(),
            }),
            Kind::Count | Kind::Objects => Parts::Counts {
                clean: NONE,
                worst: vec![NONE; eps.len()],
                curves: Vec::new(),
            },
        };
        Ok(Pool {
            metric,
            classes,
            eps: eps.to_vec(),
            keep: goals,
            images: 0,
            undefined: 0,
            rules: None,
            parts,
        })
    }

    /// Adds an image.
    ///
    /// Errors: those of [`Metric::certify`], [`Error::TooManyPixels`] from 2^53, [`Error::Shape`]
    /// for another number of classes, [`Error::MixedPool`] for other norms or conventions than
    /// those of the first image.
    pub fn add(&mut self, margins: &Margins) -> Result<()> {
        let metric = self.metric;
        let classes = margins.image().grid().classes;
        if classes != self.classes {
            return Err(Error::Shape {
                what: "number of classes of an image of the data set",
                got: classes,
                expected: self.classes.to_string(),
            });
        }
        let premises = margins.premises();
        let rules = (premises.norm, premises.budgets(), *margins.conventions());
        if *self.rules.get_or_insert(rules) != rules {
            return Err(Error::MixedPool);
        }
        let clean_value = margins.value(metric, margins.predictions())?;
        match &mut self.parts {
            Parts::Classes { pools, union } => {
                *union = margins.conventions().miou == MiouClasses::Union;
                for pool in pools {
                    pool.add(margins)?;
                }
            }
            Parts::Counts {
                clean,
                worst,
                curves,
            } => {
                if let Some(value) = clean_value.and_then(Value::share) {
                    add(clean, value)?;
                    let curve = object::counted_curve(metric, margins)?;
                    for (sum, eps) in worst.iter_mut().zip(&self.eps) {
                        let left = curve.len() - curve.flips(eps.get());
                        add(sum, metric.share(left, curve.len()))?;
                    }
                    curves.extend(self.keep.then_some(curve));
                }
            }
            Parts::Ratios(ratios) => ratios.add(metric, margins, &self.eps, self.keep)?,
        }
        self.images += 1;
        self.undefined += usize::from(clean_value.is_none());
        Ok(())
    }

    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Images added.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Images on which the metric alone is undefined; with a ratio they count for what they gain.
    pub fn undefined(&self) -> usize {
        self.undefined
    }

    /// The eps of its Q1.
    pub fn eps(&self) -> &[Budget] {
        &self.eps
    }

    /// The pooled value of the clean predictions; `None` where it is undefined. Of the means: over
    /// the classes that are labelled or predicted anywhere.
    pub fn clean(&self) -> Option<Value> {
        match &self.parts {
            Parts::Counts { clean, .. } => defined(*clean),
            Parts::Ratios(ratios) => ratios.clean(),
            Parts::Classes { pools, .. } => {
                let values = pools.iter().filter_map(Pool::clean).collect::<Vec<_>>();
                mean_between(&values)
            }
        }
    }

    /// Q1 at each eps: no attack within eps on every image makes the pooled value worse than this.
    /// Exact for all but the means, which are lower bounds.
    pub fn worst(&self) -> Vec<Option<Value>> {
        let indices = 0..self.eps.len();
        indices.map(|index| self.worst_of(index)).collect()
    }

    /// Q1 at one of the eps.
    fn worst_of(&self, index: usize) -> Option<Value> {
        match &self.parts {
            Parts::Counts { worst, .. } => defined(worst[index]),
            Parts::Ratios(ratios) => ratios.worst(&ratios.hulls[index]),
            Parts::Classes { pools, union } => mean_worst(pools, |pool| match &pool.parts {
                Parts::Ratios(ratios) if *union => ratios.reached(&ratios.hulls[index]),
                _ => pool.worst_of(index),
            }),
        }
    }

    /// At each eps the sum of the numerators over the sum of the denominators of the worst attack
    /// on each image by itself: **no bound** of the pooled ratio, which another choice may make
    /// smaller. `None` for all but the ratios.
    pub fn sum_of_image_minima(&self) -> Vec<Option<Value>> {
        match &self.parts {
            Parts::Ratios(ratios) => ratios.minimisers.iter().copied().map(defined).collect(),
            _ => vec![None; self.eps.len()],
        }
    }

    /// Q2: no attack within a budget below this, the same on every image, makes the pooled value
    /// reach the goal. For counts the least flip budget that does, exactly; for the others by
    /// bisection the last budget that is safe for sure, to 2^-40 of itself. `None` where no budget
    /// is enough, where the value is undefined, and where no curves were kept.
    ///
    /// Errors: [`Error::GoalOfOtherMetric`].
    pub fn budget(&self, goal: &Goal) -> Result<Option<f64>> {
        goal.check(self.metric)?;
        if !self.keep || self.clean().is_none() {
            return Ok(None);
        }
        let Parts::Counts { curves, .. } = &self.parts else {
            let safe = |eps| {
                self.worst_at(eps)
                    .is_some_and(|value| goal.is_out_of_reach(value))
            };
            return Ok(last_safe(safe, 1 << 12));
        };
        let needed = goal.flips(curves.iter().map(FlipCurve::len).sum());
        let flips = |eps| curves.iter().map(|curve| curve.flips(eps)).sum::<usize>();
        if needed > flips(f64::MAX) {
            return Ok(None);
        }
        // below the next number no attack flips enough, which is what the least budget says
        let last = last_safe(|eps| flips(eps) < needed, 1);
        Ok(last.map(|eps| {
            if flips(0.0) >= needed {
                0.0
            } else {
                eps.next_up()
            }
        }))
    }

    /// The pooled worst value at an eps that was not announced; curves were kept.
    fn worst_at(&self, eps: f64) -> Option<Value> {
        match &self.parts {
            Parts::Ratios(ratios) => ratios.worst(&ratios.hulls_at(eps)),
            Parts::Classes { pools, union } => mean_worst(pools, |pool| match &pool.parts {
                Parts::Ratios(ratios) if *union => ratios.reached(&ratios.hulls_at(eps)),
                _ => pool.worst_at(eps),
            }),
            Parts::Counts { curves, .. } => {
                let all: usize = curves.iter().map(FlipCurve::len).sum();
                let left = all - curves.iter().map(|curve| curve.flips(eps)).sum::<usize>();
                defined(self.metric.share(left, all))
            }
        }
    }
}

impl Ratios {
    fn add(&mut self, metric: Metric, margins: &Margins, eps: &[Budget], keep: bool) -> Result<()> {
        self.empty = margins.conventions().empty_precision;
        let frontier = Frontier::whole(metric, margins)?;
        let size = frontier.lose.len();
        let (reference, predictions) = (metric.reference(margins)?, margins.predictions());
        let counted = margins.image().all_counted(reference, true);
        let class = metric.class().unwrap_or_default();
        let confusion = Confusion::of(class, predictions, reference, &counted);
        self.counted += confusion.all as u64;
        let share = |pair| self.ratio.share(size, pair);
        add(&mut self.clean, share([confusion.miss, confusion.extra]))?;
        let each = self.minimisers.iter_mut().zip(&mut self.hulls).zip(eps);
        for ((minimiser, hulls), eps) in each {
            let of = |pair| Some(share(pair)).filter(|share| share.denominator > 0);
            if let Some((_, share)) = frontier.worst(eps.get(), of) {
                add(minimiser, share)?;
            }
            hulls.add(&frontier, eps.get());
        }
        self.frontiers.extend(keep.then_some(frontier));
        Ok(())
    }

    fn hulls_at(&self, eps: f64) -> Hulls {
        let mut hulls = Hulls::none();
        for frontier in &self.frontiers {
            hulls.add(frontier, eps);
        }
        hulls
    }

    fn clean(&self) -> Option<Value> {
        self.value(self.clean, false)
    }

    fn worst(&self, hulls: &Hulls) -> Option<Value> {
        self.clean()?;
        self.reached(hulls)
    }

    /// The worst value even where the clean one is undefined, if an attack makes it defined.
    fn reached(&self, hulls: &Hulls) -> Option<Value> {
        let [numerator, denominator] = joint_minimum(self.ratio, &hulls.images);
        let share = Share {
            numerator,
            denominator,
        };
        self.value(share, hulls.all_lost)
    }

    /// A pooled ratio; precision of nothing, clean or where an attack can lead there, by
    /// convention.
    fn value(&self, share: Share, all_lost: bool) -> Option<Value> {
        let of_none = match self.ratio {
            Ratio::Precision => self.empty.share().map(Value::Share),
            Ratio::Iou | Ratio::Dice => None,
        };
        let zero = all_lost && matches!(self.empty, EmptyPrecision::Zero);
        let value = match defined(share) {
            Some(_) if zero && of_none.is_some() => of_none,
            None => of_none,
            defined => defined,
        };
        value.filter(|_| self.counted > 0)
    }
}

impl Hulls {
    fn none() -> Self {
        Hulls {
            images: Vec::new(),
            all_lost: true,
        }
    }

    fn add(&mut self, frontier: &Frontier, eps: f64) {
        let size = frontier.lose.len();
        let mut pairs = Vec::new();
        frontier.scan(eps, |[lost, gained]| {
            pairs.push([lost as u64, gained as u64])
        });
        self.all_lost &= pairs.last().is_some_and(|[lost, _]| *lost == size as u64);
        self.images.push((size as u64, Hull::new(pairs)));
    }
}

/// The mean over the classes that the clean data set has, and those an attack adds; every value is
/// a lower bound.
fn mean_worst(pools: &[Pool], worst: impl Fn(&Pool) -> Option<Value>) -> Option<Value> {
    pools.iter().find_map(Pool::clean)?;
    let lower = pools.iter().filter_map(worst).map(Value::lower);
    mean_lower(&lower.collect::<Vec<_>>()).map(Value::bound)
}

fn defined(share: Share) -> Option<Value> {
    (share.denominator > 0).then_some(Value::Share(share))
}

fn add(sum: &mut Share, share: Share) -> Result<()> {
    sum.numerator = sum.numerator.saturating_add(share.numerator);
    sum.denominator = sum.denominator.saturating_add(share.denominator);
    if sum.denominator < EXACT {
        Ok(())
    } else {
        Err(Error::TooManyPixels)
    }
}

/// The last budget known to be safe, `safe` being lost once and for all: its bits and those of the
/// first that is not differ by at most `close`. 0 where none is safe, `None` where all are.
pub(crate) fn last_safe(safe: impl Fn(f64) -> bool, close: u64) -> Option<f64> {
    if safe(f64::MAX) {
        return None;
    }
    let (mut out, mut within) = (0, f64::MAX.to_bits());
    if !safe(0.0) {
        return Some(0.0);
    }
    while within - out > close {
        let middle = out.midpoint(within);
        if safe(f64::from_bits(middle)) {
            out = middle;
        } else {
            within = middle;
        }
    }
    Some(f64::from_bits(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, Image, Premises, margins};

    /// A pool of one image of two pixels of class 0, at these logits, gaps 2.
    fn pool(metric: Metric, logits: [f32; 4], labels: [u8; 2], conventions: Conventions) -> Pool {
        let grid = Grid::new(2, 1, 2).unwrap();
        let image = Image::new(grid, &logits, Some(&labels), Some(9)).unwrap();
        let premises = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
        let margins = margins(&image, &premises)
            .unwrap()
            .with(conventions)
            .unwrap();
        let eps = [0.0, 1.5].map(|eps| Budget::new(eps).unwrap());
        let mut pool = Pool::new(metric, 2, &eps, true).unwrap();
        pool.add(&margins).unwrap();
        pool
    }

    #[test]
    fn a_class_that_appears_counts_in_the_union() {
        let union = Conventions {
            miou: MiouClasses::Union,
            ..Conventions::default()
        };
        let worst = |conventions| {
            let pool = pool(Metric::Miou, [2.0, 2.0, 0.0, 0.0], [0, 0], conventions);
            let budget = pool.budget(&"miou<=0.3".parse().unwrap()).unwrap().unwrap();
            (pool.worst()[1].unwrap().lower(), budget)
        };
        // one flip leaves IoU 1/2 of class 0, and 0 of class 1
        assert_eq!(worst(union).0, 0.25);
        assert!((worst(union).1 - 2f64.sqrt()).abs() < 1e-9);
        assert_eq!(worst(Conventions::default()).0, 0.5);
        assert!((worst(Conventions::default()).1 - 2.0).abs() < 1e-9);
    }

    #[test]
    fn precision_of_a_data_set_without_pixels_is_undefined() {
        for empty_precision in [
            EmptyPrecision::One,
            EmptyPrecision::Zero,
            EmptyPrecision::Skip,
        ] {
            let conventions = Conventions {
                empty_precision,
                ..Conventions::default()
            };
            let void = pool(
                Metric::Precision(1),
                [2.0, 2.0, 0.0, 0.0],
                [9, 9],
                conventions,
            );
            assert_eq!((void.clean(), &void.worst()[..]), (None, &[None, None][..]));
            let none = pool(
                Metric::Precision(1),
                [2.0, 2.0, 0.0, 0.0],
                [0, 0],
                conventions,
            );
            let skipped = matches!(empty_precision, EmptyPrecision::Skip);
            assert_eq!(none.clean().is_none(), skipped);
            assert_eq!(none.worst()[1].is_none(), skipped);
        }
        assert_eq!(
            Pool::new(Metric::Precision(1), 2, &[], false)
                .unwrap()
                .clean(),
            None
        );
    }

    #[test]
    fn images_of_other_classes_are_refused() {
        let grid = Grid::new(3, 1, 1).unwrap();
        let image = Image::new(grid, &[0.0; 3], Some(&[2]), None).unwrap();
        let margins = margins(&image, &Premises::new(Norm::L2, 1.0, 0.0).unwrap()).unwrap();
        let mut pool = Pool::new(Metric::MeanClassAccuracy, 2, &[], false).unwrap();
        assert!(matches!(
            pool.add(&margins),
            Err(Error::Shape { got: 3, .. })
        ));
        assert_eq!(pool.images(), 0);
    }

    #[test]
    fn mixed_pool() {
        let grid = Grid::new(2, 1, 1).unwrap();
        let image = Image::new(grid, &[1.0, 0.0], Some(&[0]), None).unwrap();
        let of = |norm| margins(&image, &Premises::new(norm, 1.0, 0.0).unwrap()).unwrap();
        let mut pool = Pool::new(Metric::Accuracy, 2, &[], false).unwrap();
        pool.add(&of(Norm::L2)).unwrap();
        assert_eq!(pool.add(&of(Norm::LINF)), Err(Error::MixedPool));
        let union = Conventions {
            miou: MiouClasses::Union,
            ..Conventions::default()
        };
        assert_eq!(
            pool.add(&of(Norm::L2).with(union).unwrap()),
            Err(Error::MixedPool)
        );
        assert_eq!(pool.images(), 1);
    }
}
