//! Mean class accuracy and mIoU: the classes of the label share one budget.
//!
//! Two lower bounds, of which the larger counts, as neither is always the better one:
//! - decoupled: every class is attacked with the whole budget;
//! - Lagrangian (`dual.rs`): each pixel pays once, in parts for the class it leaves and for the one
//!   it joins. Without gains it is the fractional knapsack of mean class accuracy.
//!
//! Mean class accuracy of two classes is exact, by two pointers. For p = inf no budget is shared, and
//! the decoupled bound of mean class accuracy is exact.

use crate::conventions::MiouClasses;
use crate::dual::{Lists, mean_share_bound};
use crate::error::Result;
use crate::flip_curve::FlipCurve;
use crate::frontier::Frontier;
use crate::goal::Goal;
use crate::joint::Ratio;
use crate::margin::Margins;
use crate::metric::{Change, Metric};
use crate::pool::last_safe;
use crate::power::Power;
use crate::share::{Share, Value};
use crate::steps::Steps;
use crate::value::mean_of;

/// The curves of all classes.
#[derive(Clone, Debug)]
pub(crate) struct Mean {
    power: Power,
    /// Of the classes in the label; empty for mean class accuracy of two.
    classes: Vec<Lists>,
    /// Mean class accuracy of two classes: both to lose.
    pair: Option<Frontier>,
    /// Least cost of predicting each class that the label lacks, if those count.
    absent: Vec<f64>,
    counted: usize,
}

impl Mean {
    /// Of [`Metric::MeanClassAccuracy`] or [`Metric::Miou`]. The classes are taken one by one, so
    /// that no more than one class has its whole curve in memory.
    pub(crate) fn new(metric: Metric, margins: &Margins) -> Result<Self> {
        let power = margins.power();
        let reference = metric.reference(margins)?;
        let mut sizes = vec![0; margins.image().grid().classes];
        let counted = margins.image().all_counted(reference, true);
        for (&label, _) in reference
            .iter()
            .zip(counted)
            .filter(|&(_, counted)| counted)
        {
            sizes[usize::from(label)] += 1;
        }
        let miou = metric == Metric::Miou;
        let union = miou && margins.conventions().miou == MiouClasses::Union;
        let curve = |class: u8, change, memory| {
            let radii = Metric::Iou(class).radii_in(margins, change, memory)?;
            Ok(FlipCurve::new(radii, power))
        };
        let counted = sizes.iter().sum();
        let present: Vec<(u8, usize)> = (0..=u8::MAX).zip(sizes.iter().copied()).collect();
        let (present, missing): (Vec<_>, Vec<_>) =
            present.into_iter().partition(|&(_, size)| size > 0);
        let mut mean = Mean {
            power,
            classes: Vec::new(),
            pair: None,
            absent: Vec::new(),
            counted,
        };
        if let ([(a, _), (b, _)], false) = (&present[..], miou) {
            mean.pair = Some(Frontier {
                lose: curve(*a, Change::Lose, Vec::new())?,
                gain: curve(*b, Change::Lose, Vec::new())?,
            });
            return Ok(mean);
        }
        // one piece of memory for the curves of all classes
        let mut memory = Vec::with_capacity(if miou { counted + 1 } else { 0 });
        for (class, size) in present {
            let lose = curve(class, Change::Lose, memory)?;
            let lists = if miou {
                let thin = Steps::thinned(&lose, size);
                let gain = curve(class, Change::Gain, lose.into_memory())?;
                let lists = Lists {
                    lose: thin,
                    gain: Steps::thinned(&gain, size),
                };
                memory = gain.into_memory();
                lists
            } else {
                let (all, gain) = (Steps::all(&lose), Steps::of(vec![0.0]));
                memory = lose.into_memory();
                Lists { lose: all, gain }
            };
            mean.classes.push(lists);
        }
        for (class, _) in missing.into_iter().filter(|_| union) {
            let mut cheapest = f64::INFINITY;
            let gain = Metric::Iou(class);
            gain.each(margins, Change::Gain, |_, radius| {
                cheapest = cheapest.min(radius)
            })?;
            let cheapest = FlipCurve::new(vec![cheapest], power);
            mean.absent.extend(cheapest.costs().get(1));
        }
        Ok(mean)
    }

    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// Q1: a lower bound of the mean within `eps`.
    pub(crate) fn worst(&self, eps: f64) -> Value {
        if let Some(pair) = &self.pair {
            let sizes = [&pair.lose, &pair.gain].map(FlipCurve::len);
            let mean = |lost: [usize; 2]| {
                let left = [0, 1].map(|class| Share::new(sizes[class] - lost[class], sizes[class]));
                mean_of(&left)
            };
            // of sums of costs any pair is within reach for which this holds; the mean falls in both
            let worst = pair.worst(eps, |lost| Some(mean(lost)?.lower()));
            return worst
                .and_then(|(lost, _)| mean(lost))
                .unwrap_or(Value::bound(0.0));
        }
        let affordable = self.power.affordable(eps);
        let alone: Vec<Share> = self
            .classes
            .iter()
            .map(|lists| alone(lists, affordable, self.power))
            .collect();
        let decoupled = mean_of(&alone).unwrap_or(Value::bound(0.0));
        let joint = if self.power.shared() {
            // the first cost beyond reach is at least eps^p, so that this is no less than the budget
            mean_share_bound(&self.classes, affordable.next_up())
        } else {
            0.0
        };
        let best = if joint > decoupled.lower() {
            Value::bound(joint)
        } else {
            decoupled
        };
        let joined = self
            .absent
            .iter()
            .filter(|&&cost| cost <= affordable)
            .count();
        if joined == 0 {
            return match best {
                Value::Share(_) => best,
                Value::Real { lower, .. } => Value::bound(lower),
            };
        }
        // K of K + joined classes; four roundings
        let classes = self.classes.len() as f64;
        let left = best.lower() * (classes / (classes + joined as f64));
        Value::bound(left * (1.0 - 2.0 * f64::EPSILON))
    }

    /// Q2 by bisection: a budget for which the goal is out of reach for sure, as close to the least
    /// as 2^-40 of it; 0 where even that is in reach, `None` where no budget is enough.
    pub(crate) fn budget(&self, goal: &Goal) -> Option<f64> {
        last_safe(|eps| goal.is_out_of_reach(self.worst(eps)), 1 << 12)
    }
}

/// The least IoU of one class that has the whole budget.
fn alone(lists: &Lists, affordable: f64, power: Power) -> Share {
    let Lists { lose, gain } = lists;
    let size = lose.len();
    let mut gained = gain.within(affordable) - 1;
    let mut least = Ratio::Iou.share(size, [0, gain.most(gained)]);
    for lost in 0..lose.within(affordable) {
        while gained > 0 && power.both(lose.costs[lost], gain.costs[gained]) > affordable {
            gained -= 1;
        }
        least = least.min(Ratio::Iou.share(size, [lose.most(lost), gain.most(gained)]));
    }
    least
}
