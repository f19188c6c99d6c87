//! What is measured on an image, and which pixels an attack has to change for it.
//!
//! Pixel accuracy, false negative rate, stability: paper 001 eqs 7, 10, 15-21. Class IoU and what
//! else depends on pixels lost and gained: appendix B. A pixel that is wrong already, or tied, has
//! radius 0. Void pixels count nowhere, except where no labels are asked for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::joint::Ratio;
use crate::margin::Margins;
use crate::share::{Share, Value};

/// A number in [0, 1] of one image. Written as in [`Metric::NAMES`], K a class: `iou:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Metric {
    /// Share of pixels predicted as labelled.
    Accuracy,
    /// Share of pixels whose prediction is the clean one; needs no labels.
    Stability,
    /// Share of the pixels of a class that are predicted as it.
    Recall(u8),
    /// False negative rate of a class: share of its pixels predicted otherwise, 1 - recall.
    Fnr(u8),
    /// False positive rate of a class: share of all other pixels predicted as it.
    Fpr(u8),
    /// 1 - false positive rate.
    Specificity(u8),
    /// Share of the pixels predicted as a class that are labelled so.
    Precision(u8),
    /// 2·intersection over the sum of both sizes, also called F1.
    Dice(u8),
    /// Intersection over union of a class.
    Iou(u8),
    /// Mean of the recall of the classes in the label.
    MeanClassAccuracy,
    /// Mean of the IoU of the classes in the label, or of label and prediction ([`crate::MiouClasses`]).
    Miou,
    /// Share of the objects of a class in the label that are not lost ([`crate::Objects`]).
    Objects(u8),
    /// The same of the objects in the clean prediction, each pixel kept as long as it is predicted
    /// so; needs no labels.
    StableObjects(u8),
}

/// Pixels whose radii are computed at once; few enough that many blocks hold no pixel of a class.
const BLOCK: usize = 256;

/// Which of its pixels an attack changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A pixel that counts for the value is lost; for false positives, a pixel goes wrong.
    Lose,
    /// A pixel elsewhere becomes this class.
    Gain,
}

/// How the value follows from what is lost and gained.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The share that is left of one list.
    Count,
    /// A ratio of what is lost of one list and gained of another.
    Ratio(Ratio),
    /// A mean of shares or ratios of the classes in the label.
    Mean,
    /// The share of objects that is left.
    Objects,
}

impl Metric {
    /// The names, K standing for a class.
    pub const NAMES: [&str; 13] = [
        "accuracy",
        "stability",
        "recall:K",
        "fnr:K",
        "fpr:K",
        "specificity:K",
        "precision:K",
        "dice:K",
        "iou:K",
        "mean-class-accuracy",
        "miou",
        "objects:K",
        "stable-objects:K",
    ];

    /// The metric of that index in [`Self::NAMES`].
    fn of(index: usize, class: u8) -> Self {
        match index {
            0 => Metric::Accuracy,
            1 => Metric::Stability,
            2 => Metric::Recall(class),
            3 => Metric::Fnr(class),
            4 => Metric::Fpr(class),
            5 => Metric::Specificity(class),
            6 => Metric::Precision(class),
            7 => Metric::Dice(class),
            8 => Metric::Iou(class),
            9 => Metric::MeanClassAccuracy,
            10 => Metric::Miou,
            11 => Metric::Objects(class),
            _ => Metric::StableObjects(class),
        }
    }

    /// Whether attacks push the value down; the rates of false decisions are pushed up.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Metric::Fnr(_) | Metric::Fpr(_))
    }

    /// Whether labels are needed.
    pub fn needs_labels(self) -> bool {
        !matches!(self, Metric::Stability | Metric::StableObjects(_))
    }

    /// The class it is about, if it is about one.
    pub fn class(self) -> Option<u8> {
        match self {
            Metric::Accuracy | Metric::Stability | Metric::MeanClassAccuracy | Metric::Miou => None,
            Metric::Recall(class)
            | Metric::Fnr(class)
            | Metric::Fpr(class)
            | Metric::Specificity(class)
            | Metric::Precision(class)
            | Metric::Dice(class)
            | Metric::Iou(class)
            | Metric::Objects(class)
            | Metric::StableObjects(class) => Some(class),
        }
    }

    /// [`Error::ClassOutOfRange`] where the class is not one of `classes`.
    pub fn check(self, classes: usize) -> Result<()> {
        match self.class() {
            Some(class) if usize::from(class) >= classes => {
                Err(Error::ClassOutOfRange { class, classes })
            }
            _ => Ok(()),
        }
    }

    /// `value` as a bound that errs against us: rounded down where higher is better, else up.
    pub fn cautious(self, value: Value) -> f64 {
        if self.higher_is_better() {
            value.lower()
        } else {
            value.upper()
        }
    }

    /// Whether `a` is worse than `b` for sure, however they are rounded.
    pub fn is_worse(self, a: Value, b: Value) -> bool {
        match (a, b, self.higher_is_better()) {
            (Value::Share(a), Value::Share(b), true) => a < b,
            (Value::Share(a), Value::Share(b), false) => a > b,
            (a, b, true) => a.upper() < b.lower(),
            (a, b, false) => a.lower() > b.upper(),
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Metric::Iou(_) => Kind::Ratio(Ratio::Iou),
            Metric::Dice(_) => Kind::Ratio(Ratio::Dice),
            Metric::Precision(_) => Kind::Ratio(Ratio::Precision),
            Metric::MeanClassAccuracy | Metric::Miou => Kind::Mean,
            Metric::Objects(_) | Metric::StableObjects(_) => Kind::Objects,
            _ => Kind::Count,
        }
    }

    /// The share of `left` of `all`, or of what is gone for the rates of false decisions.
    pub(crate) fn share(self, left: usize, all: usize) -> Share {
        let counted = if self.higher_is_better() {
            left
        } else {
            all - left
        };
        Share::new(counted, all)
    }

    /// Labels, or the clean predictions where none are asked for. Errors: those of
    /// [`Self::check`], [`Error::LabelsMissing`].
    pub(crate) fn reference<'a>(self, margins: &'a Margins) -> Result<&'a [u8]> {
        self.check(margins.image().grid().classes)?;
        match margins.image().labels() {
            _ if !self.needs_labels() => Ok(margins.predictions()),
            Some(labels) => Ok(labels),
            None => Err(Error::LabelsMissing { metric: self }),
        }
    }

    /// Calls `each(first pixel, radii, whether each is of the list)` for blocks of pixels, row by
    /// row, of every so many blocks; `None`: of all, and radii mean nothing. Nothing for the means,
    /// which have lists for each class.
    ///
    /// Block by block, so that radii are computed in lanes, without a branch on any pixel.
    fn blocks(
        self,
        margins: &Margins,
        list: Change,
        radii_of_every: Option<usize>,
        mut each: impl FnMut(usize, &[f64], &[bool]),
    ) -> Result<()> {
        let reference = self.reference(margins)?;
        let (class, of_class, forced) = match (self, list) {
            (Metric::Accuracy | Metric::Stability, Change::Lose) => (0, None, false),
            (Metric::Fpr(class) | Metric::Specificity(class), Change::Lose)
            | (Metric::Precision(class) | Metric::Dice(class) | Metric::Iou(class), Change::Gain) => {
                (class, Some(false), true)
            }
            (
                Metric::Recall(class)
                | Metric::Fnr(class)
                | Metric::Precision(class)
                | Metric::Dice(class)
                | Metric::Iou(class),
                Change::Lose,
            ) => (class, Some(true), false),
            _ => return Ok(()),
        };
        let (mut radii, mut listed) = ([0.0; BLOCK], [false; BLOCK]);
        let blocks = reference.chunks(BLOCK).enumerate();
        for (block, labels) in blocks.step_by(radii_of_every.unwrap_or(1)) {
            let start = block * BLOCK;
            let (radii, listed) = (&mut radii[..labels.len()], &mut listed[..labels.len()]);
            margins
                .image()
                .counted(start, labels, self.needs_labels(), listed);
            if let Some(wanted) = of_class {
                for (listed, &label) in listed.iter_mut().zip(labels) {
                    *listed &= (label == class) == wanted;
                }
            }
            if !listed.contains(&true) {
                continue;
            }
            if radii_of_every.is_none() {
                // only who is listed was asked
            } else if forced {
                margins.forced_radii(start, class, radii);
            } else {
                margins.stability_radii(start, radii);
                // what is wrong already is lost already
                let predictions = &margins.predictions()[start..][..labels.len()];
                for (radius, (predicted, label)) in
                    radii.iter_mut().zip(predictions.iter().zip(labels))
                {
                    *radius = if predicted == label { *radius } else { 0.0 };
                }
            }
            each(start, radii, listed);
        }
        Ok(())
    }

    /// Calls `each(pixel, radius)` for the pixels of one of the lists, row by row.
    pub(crate) fn each(
        self,
        margins: &Margins,
        list: Change,
        mut each: impl FnMut(usize, f64),
    ) -> Result<()> {
        self.blocks(margins, list, Some(1), |start, radii, listed| {
            for (at, (&radius, &listed)) in radii.iter().zip(listed).enumerate() {
                if listed {
                    each(start + at, radius);
                }
            }
        })
    }

    /// The radii of one of the lists in so many blocks, evenly spread, and how many times as many
    /// blocks there are.
    pub(crate) fn sample(
        self,
        margins: &Margins,
        list: Change,
        blocks: usize,
    ) -> Result<(Vec<f64>, f64)> {
        let all = margins.predictions().len().div_ceil(BLOCK);
        // odd, so that pictures with even rows are not sampled in columns
        let step = all.div_ceil(blocks) | 1;
        let mut sample = Vec::new();
        self.blocks(margins, list, Some(step), |_, radii, listed| {
            let listed = radii.iter().zip(listed).filter(|(_, listed)| **listed);
            sample.extend(listed.map(|(radius, _)| radius));
        })?;
        Ok((sample, all as f64 / all.div_ceil(step) as f64))
    }

    /// The radii of one of the lists, with room for one more.
    pub(crate) fn radii(self, margins: &Margins, list: Change) -> Result<Vec<f64>> {
        self.radii_in(margins, list, Vec::new())
    }

    /// The same in the memory of a list that is done with.
    pub(crate) fn radii_in(
        self,
        margins: &Margins,
        list: Change,
        done: Vec<f64>,
    ) -> Result<Vec<f64>> {
        Ok(self.gather(margins, list, done, |_| true)?.0)
    }

    /// Those radii of one of the lists that are to be kept; how many the list has, and how many of
    /// them are 0. Without a branch on any pixel: what is kept is hard to foresee.
    pub(crate) fn gather(
        self,
        margins: &Margins,
        list: Change,
        mut found: Vec<f64>,
        keep: impl Fn(f64) -> bool,
    ) -> Result<(Vec<f64>, [usize; 2])> {
        let mut all = 0;
        self.blocks(margins, list, None, |_, _, listed| {
            all += listed.iter().filter(|listed| **listed).count();
        })?;
        if found.is_empty() {
            // memory that is not touched is none
            found = vec![0.0; all + 1];
        } else if found.len() <= all {
            found.resize(all + 1, 0.0);
        }
        let [mut kept, mut free] = [0; 2];
        self.blocks(margins, list, Some(1), |_, radii, listed| {
            for (&radius, &listed) in radii.iter().zip(listed) {
                found[kept] = radius;
                kept += usize::from(listed & keep(radius));
                free += usize::from(listed & (radius == 0.0));
            }
        })?;
        found.truncate(kept);
        Ok((found, [all, free]))
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, class) = match text.split_once(':') {
            None => (text.to_owned(), None),
            Some((name, class)) => (format!("{name}:K"), Some(class)),
        };
        let refuse = || Error::Metric { got: text.into() };
        let index = Self::NAMES.iter().position(|known| *known == name);
        let class = match class {
            None => 0,
            // no sign, no leading zeros: one name each
            Some(class) => class
                .parse()
                .ok()
                .filter(|number: &u8| number.to_string() == class)
                .ok_or_else(refuse)?,
        };
        Ok(Self::of(index.ok_or_else(refuse)?, class))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class().unwrap_or_default();
        let index = (0..Self::NAMES.len()).find(|&index| Self::of(index, class) == *self);
        let name = index.map_or("", |index| Self::NAMES[index]);
        match name.strip_suffix('K') {
            Some(name) => f.pad(&format!("{name}{class}")),
            None => f.pad(name),
        }
    }
}

impl TryFrom<String> for Metric {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> String {
        metric.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric() {
        for name in Metric::NAMES {
            let text = name.replace('K', "255");
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "Accuracy",
            "iou",
            "iou:",
            "iou:K",
            "iou:256",
            "iou:-1",
            "iou:+1",
            "fnr:01",
            "fnr:1:2",
            "accuracy:1",
            "miou:1",
        ] {
            assert_eq!(
                bad.parse::<Metric>(),
                Err(Error::Metric { got: bad.into() })
            );
        }
    }

    #[test]
    fn class_out_of_range() {
        for name in Metric::NAMES {
            let metric: Metric = name.replace('K', "3").parse().unwrap();
            assert_eq!(metric.check(4), Ok(()));
            let expected = match metric.class() {
                Some(class) => Err(Error::ClassOutOfRange { class, classes: 3 }),
                None => Ok(()),
            };
            assert_eq!(metric.check(3), expected);
        }
    }

    #[test]
    fn worse_means_for_sure() {
        let share = |n, d| {
            Value::Share(Share {
                numerator: n,
                denominator: d,
            })
        };
        assert!(Metric::Accuracy.is_worse(share(1, 3), share(1, 2)));
        assert!(!Metric::Accuracy.is_worse(share(2, 4), share(1, 2)));
        assert!(Metric::Fpr(0).is_worse(share(1, 2), share(1, 3)));
        let about = |lower, upper| Value::Real { lower, upper };
        assert!(Metric::Miou.is_worse(about(0.1, 0.2), about(0.3, 0.4)));
        assert!(!Metric::Miou.is_worse(about(0.1, 0.3), about(0.3, 0.4)));
        assert!(Metric::Fnr(0).is_worse(share(1, 2), about(0.3, 0.4)));
    }
}
