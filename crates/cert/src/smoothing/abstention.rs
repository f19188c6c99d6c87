//! Accuracy and IoU of class maps that may abstain.
//!
//! v counts the pixels whose label is not [`IGNORE`], a those of them where [`ABSTAIN`] is predicted. An
//! abstention is wrong, and no class: it stays in the union of its label. Means over classes differ
//! between papers by what they do with classes that are absent, and over what they are means; each has
//! a name here. Figures are to the nearest: they describe what was certified, and bound nothing.

use serde::{Deserialize, Serialize};

use super::guess::{ABSTAIN, IGNORE, check_map};
use crate::error::{Error, Result};

/// Sums over images.
#[derive(Clone, Debug, PartialEq)]
pub struct Abstentions {
    classes: Vec<ClassCounts>,
    counted: u64,
    right: u64,
    abstained: u64,
    pixels: u64,
    abstained_anywhere: u64,
    images: u64,
    /// Images with a class, and the sum of the means over their classes.
    present: (u64, f64),
    /// Pairs of an image and a class in it, and the sum of their IoU.
    pairs: (u64, f64),
}

/// What one image adds, in whole numbers: images seen by several processes can be summed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbstentionCounts {
    /// v.
    pub counted: u64,
    /// Certified and correct.
    pub right: u64,
    /// a.
    pub abstained: u64,
    /// All pixels.
    pub pixels: u64,
    /// Those that abstain.
    pub abstained_anywhere: u64,
    /// By class, up to the last that occurs.
    pub classes: Vec<ClassCounts>,
}

/// Counted pixels of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassCounts {
    /// With both.
    pub right: u64,
    /// With its label.
    pub labelled: u64,
    /// With its certificate.
    pub certified: u64,
}

impl ClassCounts {
    fn either(self) -> u64 {
        (self.labelled + self.certified).saturating_sub(self.right)
    }

    fn iou(self) -> Option<f64> {
        (self.either() > 0).then(|| self.right as f64 / self.either() as f64)
    }

    fn accuracy(self) -> Option<f64> {
        (self.labelled > 0).then(|| self.right as f64 / self.labelled as f64)
    }
}

impl AbstentionCounts {
    /// Of an image: classes or [`ABSTAIN`], and labels or [`IGNORE`].
    ///
    /// # Errors
    ///
    /// [`Error::Components`] unless both have the same size; [`Error::LabelOutOfRange`] for anything else, with
    /// classes below `classes`.
    pub fn of(classes: usize, predictions: &[u8], labels: &[u8]) -> Result<Self> {
        check_map(predictions, labels.len())?;
        let out = |(value, other): (&u8, u8)| *value != other && usize::from(*value) >= classes;
        for (pixel, pair) in labels.iter().zip(predictions).enumerate() {
            for (value, other) in [(pair.0, IGNORE), (pair.1, ABSTAIN)] {
                if out((value, other)) {
                    return Err(Error::LabelOutOfRange {
                        pixel,
                        label: *value,
                        classes,
                    });
                }
            }
        }
        let mut counts = AbstentionCounts::default();
        let mut by_class = vec![ClassCounts::default(); classes];
        for (label, class) in labels.iter().zip(predictions) {
            counts.pixels += 1;
            counts.abstained_anywhere += u64::from(*class == ABSTAIN);
            if *label == IGNORE {
                continue;
            }
            counts.counted += 1;
            counts.abstained += u64::from(*class == ABSTAIN);
            by_class[usize::from(*label)].labelled += 1;
            if *class != ABSTAIN {
                by_class[usize::from(*class)].certified += 1;
            }
            if label == class {
                counts.right += 1;
                by_class[usize::from(*label)].right += 1;
            }
        }
        let occurs = |class: &ClassCounts| class.either() > 0;
        let last = by_class.iter().rposition(occurs).map_or(0, |last| last + 1);
        by_class.truncate(last);
        counts.classes = by_class;
        Ok(counts)
    }
}

/// Figures with abstentions, each under its name; none where it would be 0/0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbstentionFigures {
    /// Certified and correct, of v: the certified accuracy of paper 001 eq 24, where no certified one may be wrong
    /// ([`super::SmoothRow::right_at_least`] counts those that may).
    pub acc_certified: Option<f64>,
    /// The same of those that do not abstain.
    pub acc_selective: Option<f64>,
    /// a/v.
    pub abstain_rate: Option<f64>,
    /// All abstentions of all pixels, ignored ones included.
    pub abstain_rate_all_pixels: Option<f64>,
    /// Certified and correct of the pixels of a class, over the data set.
    pub acc_by_class: Vec<Option<f64>>,
    /// By class, over the data set.
    pub iou_dataset: Vec<Option<f64>>,
    /// Mean of these over classes that occur: the default.
    pub miou_dataset: Option<f64>,
    /// With 0 for absent classes, over K.
    pub miou_dataset_absent0: f64,
    /// Sum over K + 1: abstention as a class of IoU 0.
    pub miou_dataset_kplus1: f64,
    /// Mean over all pairs of an image and a class that occurs in it.
    pub miou_pairs_skip_absent: Option<f64>,
    /// Over all pairs, 0 where the class is absent.
    pub miou_pairs_absent0: Option<f64>,
    /// Over all pairs, 1 where the class is absent.
    pub miou_pairs_absent1: Option<f64>,
    /// Mean over images of the mean over their classes.
    pub miou_image_mean: Option<f64>,
}

impl Abstentions {
    /// Of so many classes; no image yet.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless there are 1 to 254 classes.
    pub fn new(classes: usize) -> Result<Self> {
        if !(1..=usize::from(ABSTAIN)).contains(&classes) {
            return Err(Error::Shape {
                what: "number of classes",
                got: classes,
                expected: "1 to 254".into(),
            });
        }
        Ok(Abstentions {
            classes: vec![ClassCounts::default(); classes],
            counted: 0,
            right: 0,
            abstained: 0,
            pixels: 0,
            abstained_anywhere: 0,
            images: 0,
            present: (0, 0.0),
            pairs: (0, 0.0),
        })
    }

    /// Takes an image: classes or [`ABSTAIN`], and labels or [`IGNORE`].
    ///
    /// # Errors
    ///
    /// As [`AbstentionCounts::of`]. The image is then not taken.
    pub fn add(&mut self, predictions: &[u8], labels: &[u8]) -> Result<()> {
        let counts = AbstentionCounts::of(self.classes.len(), predictions, labels)?;
        self.add_counts(&counts)
    }

    /// Takes the counts of an image.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for counts of more classes. The image is then not taken.
    pub fn add_counts(&mut self, image: &AbstentionCounts) -> Result<()> {
        if image.classes.len() > self.classes.len() {
            return Err(Error::Shape {
                what: "number of classes of an image",
                got: image.classes.len(),
                expected: format!("at most {}", self.classes.len()),
            });
        }
        for (sum, class) in self.classes.iter_mut().zip(&image.classes) {
            sum.right += class.right;
            sum.labelled += class.labelled;
            sum.certified += class.certified;
        }
        self.counted += image.counted;
        self.right += image.right;
        self.abstained += image.abstained;
        self.pixels += image.pixels;
        self.abstained_anywhere += image.abstained_anywhere;
        let present: Vec<f64> = image
            .classes
            .iter()
            .filter_map(|class| class.iou())
            .collect();
        let sum: f64 = present.iter().sum();
        self.images += 1;
        self.pairs.0 += present.len() as u64;
        self.pairs.1 += sum;
        if !present.is_empty() {
            self.present.0 += 1;
            self.present.1 += sum / present.len() as f64;
        }
        Ok(())
    }

    /// All figures.
    pub fn figures(&self) -> AbstentionFigures {
        let share = |part: f64, all: u64| (all > 0).then(|| part / all as f64);
        let classes = self.classes.len();
        let iou_dataset: Vec<_> = self.classes.iter().map(|class| class.iou()).collect();
        let present = iou_dataset.iter().flatten().count() as u64;
        let sum: f64 = iou_dataset.iter().flatten().sum();
        let pairs = self.images * classes as u64;
        let absent = (pairs - self.pairs.0) as f64;
        AbstentionFigures {
            acc_by_class: self.classes.iter().map(|class| class.accuracy()).collect(),
            acc_certified: share(self.right as f64, self.counted),
            acc_selective: share(
                self.right as f64,
                self.counted.saturating_sub(self.abstained),
            ),
            abstain_rate: share(self.abstained as f64, self.counted),
            abstain_rate_all_pixels: share(self.abstained_anywhere as f64, self.pixels),
            miou_dataset: share(sum, present),
            miou_dataset_absent0: sum / classes as f64,
            miou_dataset_kplus1: sum / (classes + 1) as f64,
            miou_pairs_skip_absent: share(self.pairs.1, self.pairs.0),
            miou_pairs_absent0: share(self.pairs.1, pairs),
            miou_pairs_absent1: share(self.pairs.1 + absent, pairs),
            miou_image_mean: share(self.present.1, self.present.0),
            iou_dataset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_design() {
        let mut sums = Abstentions::new(3).unwrap();
        sums.add(&[0, 0, ABSTAIN, 1], &[0, 0, 0, 1]).unwrap();
        sums.add(&[0, 0, 2, 0], &[0, 0, 2, 2]).unwrap();
        let figures = sums.figures();
        for (got, want) in [
            (figures.acc_certified, 0.75),
            (figures.abstain_rate, 0.125),
            (figures.acc_selective, 0.857143),
            (figures.miou_dataset, 0.722222),
            (Some(figures.miou_dataset_kplus1), 0.541667),
            (figures.miou_pairs_skip_absent, 0.708333),
            (figures.miou_pairs_absent0, 0.472222),
            (figures.miou_pairs_absent1, 0.805556),
        ] {
            assert!((got.unwrap() - want).abs() < 1e-6, "{got:?} {want}");
        }
        let text = serde_json::to_string(&figures).unwrap();
        assert_eq!(
            serde_json::from_str::<AbstentionFigures>(&text).unwrap(),
            figures
        );
    }

    #[test]
    fn nothing_is_undefined() {
        let mut sums = Abstentions::new(2).unwrap();
        sums.add(&[ABSTAIN, 0], &[IGNORE, IGNORE]).unwrap();
        let figures = sums.figures();
        assert_eq!(figures.acc_certified, None);
        assert_eq!(figures.abstain_rate, None);
        assert_eq!(figures.abstain_rate_all_pixels, Some(0.5));
        assert_eq!(
            (figures.miou_dataset, figures.miou_image_mean),
            (None, None)
        );
        assert_eq!(figures.miou_pairs_absent1, Some(1.0));
        // all abstain: no selective accuracy
        sums.add(&[ABSTAIN], &[0]).unwrap();
        assert_eq!(sums.figures().acc_selective, None);
        assert_eq!(sums.figures().acc_certified, Some(0.0));
    }

    #[test]
    fn maps_are_checked() {
        let mut sums = Abstentions::new(2).unwrap();
        let before = sums.clone();
        assert!(matches!(
            sums.add(&[0], &[0, 1]),
            Err(Error::Components { .. })
        ));
        for (predictions, labels) in [
            ([0, 2], [0, 0]),
            ([0, IGNORE], [0, 0]),
            ([0, 0], [0, ABSTAIN]),
        ] {
            let error = sums.add(&predictions, &labels).unwrap_err();
            assert!(matches!(error, Error::LabelOutOfRange { pixel: 1, .. }));
        }
        assert_eq!(sums, before);
        assert!(Abstentions::new(0).is_err() && Abstentions::new(255).is_err());
    }

    #[test]
    fn counts_of_images_are_the_images() {
        let images: [(&[u8], &[u8]); 3] = [
            (&[0, 0, ABSTAIN, 1], &[0, 0, 0, 1]),
            (&[0, 0, 2, 0], &[0, IGNORE, 2, 2]),
            (&[ABSTAIN, 3], &[IGNORE, IGNORE]),
        ];
        let (mut whole, mut summed) = (Abstentions::new(5).unwrap(), Abstentions::new(5).unwrap());
        for (predictions, labels) in images {
            whole.add(predictions, labels).unwrap();
            let counts = AbstentionCounts::of(254, predictions, labels).unwrap();
            let text = serde_json::to_string(&counts).unwrap();
            summed
                .add_counts(&serde_json::from_str(&text).unwrap())
                .unwrap();
        }
        assert_eq!(whole, summed);
        assert_eq!(whole.figures().acc_by_class[..2], [Some(0.75), Some(1.0)]);
        // the last that occurs is class 2; a certificate where nothing counts is none
        let counts = AbstentionCounts::of(254, images[1].0, images[1].1).unwrap();
        assert_eq!(counts.classes.len(), 3);
        assert!(
            AbstentionCounts::of(254, images[2].0, images[2].1)
                .unwrap()
                .classes
                .is_empty()
        );
        let mut few = Abstentions::new(2).unwrap();
        assert!(matches!(few.add_counts(&counts), Err(Error::Shape { .. })));
    }
}
