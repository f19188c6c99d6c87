//! What is measured on an image, and which pixels an attack has to change for it.
//!
//! Pixel accuracy, false negative rate, stability: paper 001 eqs 7, 10, 15-21. Class IoU:
//! appendix B. A pixel that is wrong already, or tied, has radius 0. Void pixels count nowhere,
//! except in stability, which knows no labels.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::margin::{Margins, check_length};
use crate::share::Share;

/// A number in [0, 1] of one image. Written `accuracy`, `stability`, `fnr:1`, `iou:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Metric {
    /// Share of pixels predicted as labelled.
    Accuracy,
    /// Share of pixels whose prediction is the clean one; needs no labels.
    Stability,
    /// False negative rate of a class: share of its pixels predicted otherwise.
    Fnr(u8),
    /// Intersection over union of a class.
    Iou(u8),
}

/// Which of its pixels an attack changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A pixel that counts for the value is lost.
    Lose,
    /// A pixel elsewhere becomes this class.
    Gain,
}

impl Metric {
    /// Whether attacks push the value down; only the false negative rate is pushed up.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Metric::Fnr(_))
    }

    /// Whether labels are needed.
    pub fn needs_labels(self) -> bool {
        self != Metric::Stability
    }

    /// [`Error::ClassOutOfRange`] where the class is not one of `classes`.
    pub fn check(self, classes: usize) -> Result<()> {
        match self {
            Metric::Fnr(class) | Metric::Iou(class) if usize::from(class) >= classes => {
                Err(Error::ClassOutOfRange { class, classes })
            }
            _ => Ok(()),
        }
    }

    /// `share` as a bound that errs against us: rounded down where higher is better, else up.
    pub fn cautious(self, share: Share) -> f64 {
        if self.higher_is_better() {
            share.lower()
        } else {
            share.upper()
        }
    }

    /// The value of given predictions, exactly; `None` where it is undefined (0/0).
    ///
    /// `reference` are the labels, for stability the clean predictions; pixels whose reference is
    /// `ignore` do not count, except in stability. For IoU it is undefined where the label lacks
    /// the class. Errors: [`Error::Length`].
    pub fn value(
        self,
        predictions: &[u8],
        reference: &[u8],
        ignore: Option<u8>,
    ) -> Result<Option<Share>> {
        check_length("predictions", predictions.len(), reference.len())?;
        let ignore = ignore.filter(|_| self.needs_labels());
        let pairs = predictions
            .iter()
            .zip(reference)
            .filter(|&(_, &r)| Some(r) != ignore);
        let [mut hit, mut miss, mut extra] = [0; 3];
        for (&predicted, &expected) in pairs {
            match self {
                Metric::Accuracy | Metric::Stability => {
                    *(if predicted == expected {
                        &mut hit
                    } else {
                        &mut miss
                    }) += 1
                }
                Metric::Fnr(class) | Metric::Iou(class) => {
                    match (predicted == class, expected == class) {
                        (true, true) => hit += 1,
                        (false, true) => miss += 1,
                        (true, false) => extra += 1,
                        (false, false) => {}
                    }
                }
            }
        }
        let share = match self {
            Metric::Accuracy | Metric::Stability => Share::new(hit, hit + miss),
            Metric::Fnr(_) => Share::new(miss, hit + miss),
            Metric::Iou(_) => Share::new(hit, hit + miss + extra),
        };
        Ok((hit + miss > 0).then_some(share))
    }

    /// The value over a data set whose every image is attacked within the same budget: the sum of
    /// numerators over the sum of denominators; `None` for no image.
    ///
    /// Exact for accuracy, stability and false negative rate; [`Error::NotPooled`] for IoU, where
    /// the worst images together are not the worst data set. [`Error::TooManyPixels`] from 2^53.
    pub fn pooled(self, shares: impl IntoIterator<Item = Share>) -> Result<Option<Share>> {
        if let Metric::Iou(_) = self {
            return Err(Error::NotPooled { metric: self });
        }
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        let mut sum = Share {
            numerator: 0,
            denominator: 0,
        };
        for share in shares {
            sum.numerator = sum.numerator.saturating_add(share.numerator);
            sum.denominator = sum.denominator.saturating_add(share.denominator);
        }
        match sum.denominator {
            0 => Ok(None),
            1..EXACT => Ok(Some(sum)),
            EXACT.. => Err(Error::TooManyPixels),
        }
    }

    /// Value of the clean prediction.
    pub(crate) fn clean(self, margins: &Margins) -> Result<Option<Share>> {
        self.check(margins.image().grid().classes)?;
        let reference = match (self, margins.image().labels()) {
            (Metric::Stability, _) => margins.predictions(),
            (_, Some(labels)) => labels,
            (_, None) => return Err(Error::LabelsMissing { metric: self }),
        };
        self.value(margins.predictions(), reference, margins.image().ignore())
    }

    /// Calls `each(change, pixel, radius)` for every pixel that counts, row by row.
    pub(crate) fn radii(self, margins: &Margins, mut each: impl FnMut(Change, usize, f64)) {
        let (predictions, ignore) = (margins.predictions(), margins.image().ignore());
        // Without labels only stability comes here, and it looks at none.
        let labels = margins.image().labels().unwrap_or(predictions);
        for (pixel, (&radius, (&predicted, &label))) in margins
            .radii()
            .iter()
            .zip(predictions.iter().zip(labels))
            .enumerate()
        {
            let if_right = if predicted == label { radius } else { 0.0 };
            match self {
                Metric::Stability => each(Change::Lose, pixel, radius),
                _ if Some(label) == ignore => {}
                Metric::Accuracy => each(Change::Lose, pixel, if_right),
                Metric::Fnr(class) | Metric::Iou(class) if label == class => {
                    each(Change::Lose, pixel, if_right)
                }
                Metric::Iou(class) => {
                    each(Change::Gain, pixel, margins.forced_radius(pixel, class))
                }
                Metric::Fnr(_) => {}
            }
        }
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let class = |class: &str| class.parse().ok();
        let metric = match text.split_once(':') {
            None if text == "accuracy" => Some(Metric::Accuracy),
            None if text == "stability" => Some(Metric::Stability),
            Some(("fnr", k)) => class(k).map(Metric::Fnr),
            Some(("iou", k)) => class(k).map(Metric::Iou),
            _ => None,
        };
        metric.ok_or_else(|| Error::Metric { got: text.into() })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::Accuracy => f.pad("accuracy"),
            Metric::Stability => f.pad("stability"),
            Metric::Fnr(class) => f.pad(&format!("fnr:{class}")),
            Metric::Iou(class) => f.pad(&format!("iou:{class}")),
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
        for text in ["accuracy", "stability", "fnr:0", "iou:255"] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "Accuracy",
            "iou",
            "iou:",
            "iou:256",
            "iou:-1",
            "fnr:1:2",
            "accuracy:1",
            "dice:1",
        ] {
            assert_eq!(
                bad.parse::<Metric>(),
                Err(Error::Metric { got: bad.into() })
            );
        }
    }

    #[test]
    fn class_out_of_range() {
        for metric in [Metric::Fnr(3), Metric::Iou(3)] {
            assert_eq!(
                metric.check(3),
                Err(Error::ClassOutOfRange {
                    class: 3,
                    classes: 3
                })
            );
            assert_eq!(metric.check(4), Ok(()));
        }
    }

    #[test]
    fn values_by_hand() {
        let share = |numerator, denominator| {
            Ok(Some(Share {
                numerator,
                denominator,
            }))
        };
        let (predictions, labels) = ([0, 1, 1, 1, 2], [0, 0, 1, 9, 1]);
        let value = |metric: Metric| metric.value(&predictions, &labels, Some(9));
        assert_eq!(value(Metric::Accuracy), share(2, 4));
        assert_eq!(value(Metric::Stability), share(2, 5));
        assert_eq!(value(Metric::Fnr(1)), share(1, 2));
        assert_eq!(value(Metric::Iou(1)), share(1, 3));
        assert_eq!(value(Metric::Iou(2)), Ok(None), "not in the label");
        assert_eq!(value(Metric::Fnr(2)), Ok(None));
        assert_eq!(Metric::Accuracy.value(&[1], &[9], Some(9)), Ok(None));
        assert_eq!(Metric::Accuracy.value(&[1], &[9], None), share(0, 1));
        assert!(matches!(
            Metric::Accuracy.value(&[1], &[], None),
            Err(Error::Length {
                got: 1,
                expected: 0,
                ..
            })
        ));
    }

    #[test]
    fn not_pooled() {
        assert_eq!(
            Metric::Iou(1).pooled([]),
            Err(Error::NotPooled {
                metric: Metric::Iou(1)
            })
        );
    }

    #[test]
    fn too_many_pixels() {
        let share = Share {
            numerator: 1,
            denominator: (1 << 53) - 1,
        };
        assert_eq!(Metric::Accuracy.pooled([share]), Ok(Some(share)));
        assert_eq!(
            Metric::Accuracy.pooled([share, share]),
            Err(Error::TooManyPixels)
        );
        assert_eq!(
            Metric::Accuracy.pooled([share; 3000]),
            Err(Error::TooManyPixels),
            "more than 64 bits"
        );
        assert_eq!(Metric::Accuracy.pooled([]), Ok(None));
    }
}
