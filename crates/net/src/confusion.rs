//! Which class was taken for which, and the plain figures that follow, by the judge's own rules: void
//! pixels count nowhere, and a class that is absent has no figure and is in no mean.
//!
//! Of one image a class that is not labelled has no IoU, Dice or recall ([`Scope::Image`], the clean
//! values of [`certiseg_cert::Metric`]); of a data set, whose counts are pooled, a class has them once it is
//! labelled or predicted anywhere ([`Scope::DataSet`], those of [`certiseg_cert::Pool`]).

use certiseg_cert::{
    self as cert, Conventions, EmptyPrecision, MiouClasses, Share, Value, mean_between, mean_lower,
    mean_of,
};
use serde::{Deserialize, Serialize};

use crate::data::VOID;
use crate::error::{Error, Result};

/// Counts of pixels are exact as f64 below this; those of Dice are twice as large.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

/// Pixels by label (rows) and prediction (columns).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

/// What the counts are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One image.
    Image,
    /// All images together.
    DataSet,
}

/// Plain figures in [0, 1], to the nearest; `None` where one is undefined. By class where they are many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Pixels that count.
    pub pixels: u64,
    /// Share of pixels predicted as labelled.
    pub accuracy: Option<f64>,
    /// Mean recall of the classes in the label.
    pub mean_class_accuracy: Option<f64>,
    /// Mean IoU of the classes in the label, or also of those predicted.
    pub miou: Option<f64>,
    /// Intersection over union.
    pub iou: Vec<Option<f64>>,
    /// 2·intersection over the sum of both sizes.
    pub dice: Vec<Option<f64>>,
    /// Share of the pixels predicted as a class that are labelled so.
    pub precision: Vec<Option<f64>>,
    /// Share of the pixels labelled as a class that are predicted so.
    pub recall: Vec<Option<f64>>,
}

impl Confusion {
    /// Of no pixel.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Of one image; labels 255 are void.
    ///
    /// # Errors
    /// [`Error::Cert`] for another number of labels than predictions and for labels that are no class;
    /// [`Error::Setting`] for predictions that are none.
    pub fn of(classes: usize, labels: &[u8], predictions: &[u8]) -> Result<Self> {
        if labels.len() != predictions.len() {
            return Err(cert::Error::Length {
                what: "predictions",
                got: predictions.len(),
                expected: labels.len(),
            }
            .into());
        }
        let mut confusion = Self::new(classes);
        for (pixel, (&label, &predicted)) in labels.iter().zip(predictions).enumerate() {
            if label == VOID {
                continue;
            }
            let (row, column) = (usize::from(label), usize::from(predicted));
            if row >= classes {
                return Err(cert::Error::LabelOutOfRange {
                    pixel,
                    label,
                    classes,
                }
                .into());
            }
            if column >= classes {
                let field = format!("prediction of pixel {pixel}");
                let expected = format!("a class below {classes}");
                return Err(Error::setting(field, predicted.to_string(), expected));
            }
            confusion.counts[row * classes + column] += 1;
        }
        Ok(confusion)
    }

    /// Adds the counts of other images.
    ///
    /// # Errors
    /// [`Error::Setting`] for another number of classes, [`Error::Cert`] from 2^52 pixels on.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let Self { classes, counts } = other;
        if *classes != self.classes {
            let expected = format!("{}, as of the images before", self.classes);
            return Err(Error::setting(
                "number of classes",
                classes.to_string(),
                expected,
            ));
        }
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum = sum.saturating_add(*count);
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        let add = |sum: u64, count: &u64| sum.saturating_add(*count);
        match self.counts.iter().fold(0, add) < EXACT / 2 {
            true => Ok(()),
            false => Err(cert::Error::TooManyPixels.into()),
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Pixels of one label by prediction.
    pub fn row(&self, label: usize) -> &[u64] {
        &self.counts[label * self.classes..][..self.classes]
    }

    /// Pixels that count.
    pub fn pixels(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Pixels labelled as a class.
    pub fn labelled(&self, class: usize) -> u64 {
        self.row(class).iter().sum()
    }

    /// Pixels predicted as a class.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|label| self.row(label)[class]).sum()
    }

    /// Pixels predicted as labelled.
    pub fn right(&self) -> u64 {
        (0..self.classes).map(|class| self.row(class)[class]).sum()
    }

    /// Share of pixels predicted as labelled.
    pub fn accuracy(&self) -> Option<Share> {
        share(self.right(), self.pixels())
    }

    /// Share of the pixels of a class that are predicted so.
    pub fn recall(&self, class: usize) -> Option<Share> {
        share(self.row(class)[class], self.labelled(class))
    }

    /// Share of the pixels predicted as a class that are labelled so; of none by convention.
    pub fn precision(&self, class: usize, empty: EmptyPrecision) -> Option<Share> {
        let of_none = match empty {
            EmptyPrecision::One => share(1, 1),
            EmptyPrecision::Zero => share(0, 1),
            EmptyPrecision::Skip => None,
        };
        let found = share(self.row(class)[class], self.predicted(class)).or(of_none);
        found.filter(|_| self.pixels() > 0)
    }

    /// Intersection over union of a class.
    pub fn iou(&self, class: usize, scope: Scope) -> Option<Share> {
        let both = self.row(class)[class];
        let union = self.labelled(class) + self.predicted(class) - both;
        share(both, union).filter(|_| self.defined(class, scope))
    }

    /// 2·intersection over the sum of both sizes.
    pub fn dice(&self, class: usize, scope: Scope) -> Option<Share> {
        let both = 2 * self.row(class)[class];
        let sizes = self.labelled(class) + self.predicted(class);
        share(both, sizes).filter(|_| self.defined(class, scope))
    }

    fn defined(&self, class: usize, scope: Scope) -> bool {
        scope == Scope::DataSet || self.labelled(class) > 0
    }

    /// All figures.
    pub fn figures(&self, scope: Scope, conventions: &Conventions) -> Figures {
        let classes = || 0..self.classes;
        let each = |of: &dyn Fn(usize) -> Option<Share>| -> Vec<Option<f64>> {
            classes()
                .map(|class| of(class).map(Share::nearest))
                .collect()
        };
        let union = scope == Scope::Image && conventions.miou == MiouClasses::Union;
        let counts = if union { Scope::DataSet } else { scope };
        let mean = |of: &dyn Fn(usize) -> Option<Share>| {
            let shares: Vec<Share> = classes().filter_map(of).collect();
            let mean = match scope {
                Scope::Image => mean_of(&shares),
                Scope::DataSet => {
                    let values: Vec<Value> = shares.into_iter().map(Value::Share).collect();
                    mean_between(&values)
                }
            };
            mean.map(Value::nearest)
        };
        Figures {
            pixels: self.pixels(),
            accuracy: self.accuracy().map(Share::nearest),
            mean_class_accuracy: mean(&|class| self.recall(class)),
            miou: mean(&|class| self.iou(class, counts)),
            iou: each(&|class| self.iou(class, scope)),
            dice: each(&|class| self.dice(class, scope)),
            precision: each(&|class| self.precision(class, conventions.empty_precision)),
            recall: each(&|class| self.recall(class)),
        }
    }
}

impl Figures {
    /// The mean over images of each figure, over those where it is defined.
    pub fn mean(images: &[Self], classes: usize) -> Self {
        let mean = |of: &dyn Fn(&Self) -> Option<f64>| {
            let values: Vec<f64> = images.iter().filter_map(of).collect();
            mean_lower(&values)
        };
        let each = |of: &dyn Fn(&Self) -> &[Option<f64>]| -> Vec<Option<f64>> {
            let class = |class: usize| mean(&|image| *of(image).get(class)?);
            (0..classes).map(class).collect()
        };
        Figures {
            pixels: images.iter().map(|image| image.pixels).sum(),
            accuracy: mean(&|image| image.accuracy),
            mean_class_accuracy: mean(&|image| image.mean_class_accuracy),
            miou: mean(&|image| image.miou),
            iou: each(&|image| &image.iou),
            dice: each(&|image| &image.dice),
            precision: each(&|image| &image.precision),
            recall: each(&|image| &image.recall),
        }
    }
}

fn share(numerator: u64, denominator: u64) -> Option<Share> {
    (denominator > 0).then_some(Share {
        numerator,
        denominator,
    })
}

impl From<Confusion> for Vec<Vec<u64>> {
    fn from(confusion: Confusion) -> Self {
        let rows = 0..confusion.classes;
        rows.map(|label| confusion.row(label).to_vec()).collect()
    }
}

/// What was stored; refused where it is not square or has 2^52 pixels.
impl TryFrom<Vec<Vec<u64>>> for Confusion {
    type Error = Error;

    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self> {
        let classes = rows.len();
        if let Some(row) = rows.iter().find(|row| row.len() != classes) {
            let got = format!("{classes} rows, one of {} numbers", row.len());
            return Err(Error::setting("confusion matrix", got, "a square"));
        }
        let counts = rows.concat();
        let confusion = Self { classes, counts };
        confusion.check()?;
        Ok(confusion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conventions(miou: MiouClasses, empty_precision: EmptyPrecision) -> Conventions {
        Conventions {
            miou,
            empty_precision,
            ..Conventions::default()
        }
    }

    fn close(found: Option<f64>, expected: Option<f64>) {
        match (found, expected) {
            // a share rounded once, or a mean of shares rounded a few times
            (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-15),
            _ => assert_eq!(found, expected),
        }
    }

    /// Classes: 0 and 1 ordinary, 2 only predicted, 3 nowhere. One pixel is void.
    ///
    /// label      0 0 0 1 1 void
    /// predicted  0 0 1 1 2 1
    #[test]
    fn figures_by_hand() {
        let confusion = Confusion::of(4, &[0, 0, 0, 1, 1, VOID], &[0, 0, 1, 1, 2, 1]).unwrap();
        let rows: Vec<Vec<u64>> = confusion.clone().into();
        assert_eq!(rows, [[2, 1, 0, 0], [0, 1, 1, 0], [0; 4], [0; 4]]);
        assert_eq!(confusion.pixels(), 5);
        let usual = Conventions::default();
        let image = confusion.figures(Scope::Image, &usual);
        close(image.accuracy, Some(3.0 / 5.0));
        close(image.mean_class_accuracy, Some((2.0 / 3.0 + 0.5) / 2.0));
        close(image.miou, Some((2.0 / 3.0 + 1.0 / 3.0) / 2.0));
        assert_eq!(image.iou, [Some(2.0 / 3.0), Some(1.0 / 3.0), None, None]);
        assert_eq!(image.dice, [Some(0.8), Some(0.5), None, None]);
        assert_eq!(image.recall, [Some(2.0 / 3.0), Some(0.5), None, None]);
        // nothing is predicted as 3: one, by convention
        assert_eq!(
            image.precision,
            [Some(1.0), Some(0.5), Some(0.0), Some(1.0)]
        );
        let other = conventions(MiouClasses::Union, EmptyPrecision::Skip);
        let union = confusion.figures(Scope::Image, &other);
        close(union.miou, Some(1.0 / 3.0));
        assert_eq!(union.iou, image.iou);
        assert_eq!(union.precision[3], None);
        let all = confusion.figures(Scope::DataSet, &usual);
        assert_eq!(all.iou, [Some(2.0 / 3.0), Some(1.0 / 3.0), Some(0.0), None]);
        assert_eq!(all.dice, [Some(0.8), Some(0.5), Some(0.0), None]);
        close(all.miou, Some(1.0 / 3.0));
        close(all.mean_class_accuracy, Some(7.0 / 12.0));
    }

    #[test]
    fn an_image_without_pixels_has_no_figures() {
        let none = Confusion::of(2, &[VOID; 3], &[0, 1, 0]).unwrap();
        for scope in [Scope::Image, Scope::DataSet] {
            let figures = none.figures(scope, &Conventions::default());
            assert_eq!(
                (figures.pixels, figures.accuracy, figures.miou),
                (0, None, None)
            );
            assert_eq!(figures.precision, [None, None]);
            assert_eq!(figures.recall, [None, None]);
        }
    }

    #[test]
    fn means_are_over_the_images_that_have_a_figure() {
        let images = [
            Confusion::of(2, &[0, 0], &[0, 0]).unwrap(),
            Confusion::of(2, &[0, 1], &[0, 0]).unwrap(),
            Confusion::of(2, &[VOID, VOID], &[0, 0]).unwrap(),
        ];
        let mut all = Confusion::new(2);
        images.iter().for_each(|image| all.merge(image).unwrap());
        let usual = Conventions::default();
        let each = images.map(|image| image.figures(Scope::Image, &usual));
        let mean = Figures::mean(&each, 2);
        assert_eq!((mean.pixels, mean.accuracy), (4, Some(0.75)));
        assert_eq!(mean.iou, [Some(0.75), Some(0.0)]);
        let pooled = all.figures(Scope::DataSet, &usual);
        assert_eq!((pooled.pixels, pooled.accuracy), (4, Some(0.75)));
        assert_eq!(pooled.iou, [Some(0.75), Some(0.0)]);
        assert_eq!(pooled.recall, [Some(1.0), Some(0.0)]);
        assert_eq!(Figures::mean(&[], 2).iou, [None, None]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let words = |found: Result<Confusion>| found.unwrap_err().to_string();
        assert!(words(Confusion::of(2, &[0], &[0, 1])).contains("predictions hold 2"));
        assert!(words(Confusion::of(2, &[0, 2], &[0, 1])).contains("label 2 at pixel 1"));
        let error = words(Confusion::of(2, &[0, 1], &[0, 7]));
        assert!(error.contains("prediction of pixel 1 is 7"), "{error}");
        let mut two = Confusion::new(2);
        let error = two.merge(&Confusion::new(3)).unwrap_err().to_string();
        assert!(error.contains("number of classes is 3"), "{error}");
        let read = |text: &str| serde_json::from_str::<Confusion>(text);
        assert_eq!(read("[[1,2],[3,4]]").unwrap().row(1), [3, 4]);
        let error = read("[[1,2],[3]]").unwrap_err().to_string();
        assert!(error.contains("2 rows, one of 1"), "{error}");
        assert!(read("[[9007199254740992]]").is_err());
        assert!(read("[[18446744073709551615,1],[1,1]]").is_err());
    }
}
