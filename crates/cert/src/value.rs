//! Values of given predictions, exactly: what attacks reach, and the clean value.

use crate::component::{Components, OUTSIDE, components};
use crate::conventions::MiouClasses;
use crate::error::Result;
use crate::image::check_length;
use crate::joint::Ratio;
use crate::margin::Margins;
use crate::metric::Metric;
use crate::share::{EXACT, Share, Value};
use crate::summary::{mean_lower, mean_upper};

/// Pixels of a class: labelled so and predicted so, labelled only, predicted only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Confusion {
    pub(crate) hit: usize,
    pub(crate) miss: usize,
    pub(crate) extra: usize,
    /// All pixels that count.
    pub(crate) all: usize,
}

impl Confusion {
    /// Of the pixels that count.
    pub(crate) fn of(class: u8, predictions: &[u8], reference: &[u8], counted: &[bool]) -> Self {
        /// Pixels at a time, so that small counters do: they fill wider lanes.
        const BLOCK: usize = 4096;
        let mut confusion = Confusion::default();
        let blocks = predictions.chunks(BLOCK).zip(reference.chunks(BLOCK));
        for ((predictions, labels), counted) in blocks.zip(counted.chunks(BLOCK)) {
            let [mut hit, mut miss, mut extra, mut all] = [0u16; 4];
            for ((&predicted, &label), &counted) in predictions.iter().zip(labels).zip(counted) {
                let (predicted, labelled) = (predicted == class, label == class);
                hit += u16::from(counted & predicted & labelled);
                miss += u16::from(counted & !predicted & labelled);
                extra += u16::from(counted & predicted & !labelled);
                all += u16::from(counted);
            }
            confusion.hit += usize::from(hit);
            confusion.miss += usize::from(miss);
            confusion.extra += usize::from(extra);
            confusion.all += usize::from(all);
        }
        confusion
    }

    fn recall(self) -> Share {
        Share::new(self.hit, self.hit + self.miss)
    }

    fn iou(self) -> Share {
        Share::new(self.hit, self.hit + self.miss + self.extra)
    }
}

impl Margins<'_> {
    /// The value of `predictions` (height, width) on this picture, under its conventions; `None`
    /// where it is undefined (0/0). What an attack has left is the value of its predictions.
    ///
    /// Errors: [`crate::Error::Length`], [`crate::Error::ClassOutOfRange`],
    /// [`crate::Error::LabelsMissing`].
    pub fn value(&self, metric: Metric, predictions: &[u8]) -> Result<Option<Value>> {
        let reference = metric.reference(self)?;
        check_length("predictions", predictions.len(), reference.len())?;
        let counted = self.image().all_counted(reference, metric.needs_labels());
        let share = match metric {
            Metric::Accuracy | Metric::Stability => {
                let (mut right, mut all) = (0, 0);
                let pixels = predictions.iter().zip(reference).zip(&counted);
                for ((predicted, label), &counted) in pixels {
                    right += usize::from(counted & (predicted == label));
                    all += usize::from(counted);
                }
                Share::new(right, all)
            }
            Metric::MeanClassAccuracy | Metric::Miou => {
                return Ok(self.mean(metric, predictions, reference, &counted));
            }
            Metric::Objects(class) | Metric::StableObjects(class) => {
                self.kept_objects(metric, class, predictions, reference)
            }
            _ => {
                let class = metric.class().unwrap_or_default();
                let of = Confusion::of(class, predictions, reference, &counted);
                let (size, others) = (of.hit + of.miss, of.all - of.hit - of.miss);
                match metric {
                    Metric::Recall(_) | Metric::Fnr(_) => metric.share(of.hit, size),
                    Metric::Fpr(_) | Metric::Specificity(_) => {
                        metric.share(others - of.extra, others)
                    }
                    Metric::Precision(_) => {
                        return Ok(self.precision(size, [of.miss, of.extra], of.all));
                    }
                    _ if size == 0 => return Ok(None),
                    Metric::Dice(_) => Ratio::Dice.share(size, [of.miss, of.extra]),
                    _ => of.iou(),
                }
            }
        };
        Ok((share.denominator > 0).then_some(Value::Share(share)))
    }

    /// Precision of a class of `size` pixels after losing and gaining so many, of `pixels` that
    /// count.
    pub(crate) fn precision(
        &self,
        size: usize,
        [lost, gained]: [usize; 2],
        pixels: usize,
    ) -> Option<Value> {
        let share = Ratio::Precision.share(size, [lost, gained]);
        let share = if share.denominator > 0 {
            Some(share)
        } else {
            self.conventions().empty_precision.share()
        };
        share.filter(|_| pixels > 0).map(Value::Share)
    }

    fn mean(
        &self,
        metric: Metric,
        predictions: &[u8],
        reference: &[u8],
        counted: &[bool],
    ) -> Option<Value> {
        let mut all = vec![Confusion::default(); 256];
        let pixels = predictions.iter().zip(reference).zip(counted);
        for ((&predicted, &label), _) in pixels.filter(|&(_, &counted)| counted) {
            if predicted == label {
                all[usize::from(label)].hit += 1;
            } else {
                all[usize::from(label)].miss += 1;
                all[usize::from(predicted)].extra += 1;
            }
        }
        let union = metric == Metric::Miou && self.conventions().miou == MiouClasses::Union;
        let counts = |c: &&Confusion| c.hit + c.miss > 0 || union && c.extra > 0;
        let present = all.iter().filter(counts).copied();
        let shares: Vec<Share> = match metric {
            Metric::Miou => present.map(Confusion::iou).collect(),
            _ => present.map(Confusion::recall).collect(),
        };
        mean_of(&shares)
    }

    fn kept_objects(
        &self,
        metric: Metric,
        class: u8,
        predictions: &[u8],
        reference: &[u8],
    ) -> Share {
        let Components { of, sizes } = self.components(metric, class, reference);
        let mut lost = vec![0; sizes.len()];
        for (&component, &predicted) in of.iter().zip(predictions) {
            if component != OUTSIDE && predicted != class {
                lost[component as usize] += 1;
            }
        }
        let rule = self.conventions().objects;
        let objects = sizes.iter().zip(lost);
        let objects = objects.filter(|&(&size, _)| size >= rule.pixels as usize);
        let (mut kept, mut all) = (0, 0);
        for (&size, lost) in objects {
            all += 1;
            kept += usize::from(lost < rule.losses(size));
        }
        Share::new(kept, all)
    }

    /// Connected components of the counted pixels of a class in the reference, small ones too.
    pub(crate) fn components(&self, metric: Metric, class: u8, reference: &[u8]) -> Components {
        let mut inside = self.image().all_counted(reference, metric.needs_labels());
        for (inside, &label) in inside.iter_mut().zip(reference) {
            *inside &= label == class;
        }
        let connectivity = self.conventions().objects.connectivity;
        components(&inside, self.image().grid().width, connectivity)
    }
}

/// The mean of shares; of up to two exactly, where that fits. `None` of none.
pub fn mean_of(shares: &[Share]) -> Option<Value> {
    if let [one] = shares {
        return Some(Value::Share(*one));
    }
    if let [a, b] = shares
        && let Some(halves) = a.denominator.checked_mul(b.denominator)
        && halves < EXACT / 2
    {
        return Some(Value::Share(Share {
            numerator: a.numerator * b.denominator + b.numerator * a.denominator,
            denominator: 2 * halves,
        }));
    }
    let shares: Vec<Value> = shares.iter().copied().map(Value::Share).collect();
    mean_between(&shares)
}

/// The mean of values, between two numbers. `None` of none.
pub fn mean_between(values: &[Value]) -> Option<Value> {
    let lower: Vec<f64> = values.iter().map(|value| value.lower()).collect();
    let upper: Vec<f64> = values.iter().map(|value| value.upper()).collect();
    Some(Value::Real {
        lower: mean_lower(&lower)?,
        upper: mean_upper(&upper)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conventions::{Conventions, EmptyPrecision, Objects};
    use crate::{Error, Grid, Image, Norm, Premises, margins};

    const PREDICTIONS: [u8; 5] = [0, 1, 1, 1, 2];
    const LABELS: [u8; 5] = [0, 0, 1, 9, 1];

    /// A row of pixels with the given clean predictions.
    fn on<T>(
        clean: &[u8],
        labels: Option<&[u8]>,
        conventions: Conventions,
        then: impl FnOnce(&Margins) -> T,
    ) -> T {
        let grid = Grid::new(3, 1, clean.len()).unwrap();
        let logit = |class: u8| {
            clean
                .iter()
                .map(move |&c| if c == class { 1.0 } else { 0.0 })
        };
        let logits: Vec<f32> = (0..3).flat_map(logit).collect();
        let image = Image::new(grid, &logits, labels, Some(9)).unwrap();
        let premises = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
        then(
            &margins(&image, &premises)
                .unwrap()
                .with(conventions)
                .unwrap(),
        )
    }

    fn value(metric: &str, conventions: Conventions) -> Option<Value> {
        let metric = metric.parse().unwrap();
        on(&[0; 5], Some(&LABELS), conventions, |margins| {
            margins.value(metric, &PREDICTIONS).unwrap()
        })
    }

    fn share(numerator: u64, denominator: u64) -> Option<Value> {
        Some(Value::Share(Share {
            numerator,
            denominator,
        }))
    }

    /// Four pixels count: 0 as 0, 0 as 1, 1 as 1, 1 as 2.
    #[test]
    fn values_by_hand() {
        let union = Conventions {
            miou: MiouClasses::Union,
            ..Conventions::default()
        };
        for (metric, found) in [
            ("accuracy", share(2, 4)),
            ("recall:1", share(1, 2)),
            ("fnr:1", share(1, 2)),
            ("fpr:1", share(1, 2)),
            ("specificity:2", share(3, 4)),
            ("fpr:2", share(1, 4)),
            ("precision:1", share(1, 2)),
            ("precision:2", share(0, 1)),
            ("dice:1", share(2, 4)),
            ("iou:1", share(1, 3)),
            ("iou:2", None),
            ("fnr:2", None),
            ("mean-class-accuracy", share(1, 2)),
            ("miou", share(5, 12)),
            ("objects:0", share(1, 1)),
            // pixels 2 and 4 do not touch; 4 is lost
            ("objects:1", share(1, 2)),
            ("objects:2", None),
            // the clean prediction is 0 everywhere
            ("stability", share(1, 5)),
            ("stable-objects:0", share(1, 1)),
        ] {
            assert_eq!(value(metric, Conventions::default()), found, "{metric}");
        }
        // class 2 is predicted and not labelled: (1/2 + 1/3 + 0) / 3
        let Some(Value::Real { lower, upper }) = value("miou", union) else {
            panic!("a mean of three")
        };
        assert!(lower <= 5.0 / 18.0 && 5.0 / 18.0 <= upper && upper - lower < 1e-15);
    }

    #[test]
    fn precision_of_a_class_predicted_nowhere() {
        for (empty_precision, found) in [
            (EmptyPrecision::One, share(1, 1)),
            (EmptyPrecision::Zero, share(0, 1)),
            (EmptyPrecision::Skip, None),
        ] {
            let conventions = Conventions {
                empty_precision,
                ..Conventions::default()
            };
            on(&[0, 0], Some(&[0, 1]), conventions, |margins| {
                assert_eq!(margins.value(Metric::Precision(1), &[0, 0]).unwrap(), found);
                assert_eq!(
                    margins.value(Metric::Precision(1), &[1, 0]).unwrap(),
                    share(0, 1)
                );
            });
            on(&[0, 0], Some(&[9, 9]), conventions, |margins| {
                assert_eq!(margins.value(Metric::Precision(1), &[0, 0]), Ok(None));
            });
        }
    }

    #[test]
    fn objects_are_lost_by_coverage_and_small_ones_do_not_count() {
        let labels = [1, 1, 1, 1, 0, 1, 1, 0];
        let kept = |coverage, pixels, predictions: [u8; 8]| {
            let objects = Objects {
                coverage,
                pixels,
                ..Objects::default()
            };
            let conventions = Conventions {
                objects,
                ..Conventions::default()
            };
            on(&labels, Some(&labels), conventions, |margins| {
                margins.value(Metric::Objects(1), &predictions).unwrap()
            })
        };
        let half = [1, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(kept(0, 1, half), share(1, 2), "one vanished");
        assert_eq!(kept(50, 1, half), share(0, 2), "at most half is left");
        assert_eq!(kept(49, 1, half), share(1, 2));
        assert_eq!(kept(0, 3, half), share(1, 1), "the vanished one was small");
        assert_eq!(kept(0, 5, half), None);
    }

    #[test]
    fn length_and_labels() {
        on(&[0, 0], None, Conventions::default(), |margins| {
            let error = margins.value(Metric::Stability, &[0]).unwrap_err();
            assert!(matches!(
                error,
                Error::Length {
                    got: 1,
                    expected: 2,
                    ..
                }
            ));
            let error = margins.value(Metric::Accuracy, &[0, 0]).unwrap_err();
            assert!(matches!(error, Error::LabelsMissing { .. }));
            assert_eq!(
                margins.value(Metric::Stability, &[0, 1]).unwrap(),
                share(1, 2)
            );
        });
    }
}
