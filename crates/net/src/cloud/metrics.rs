//! Figures of labelled clouds, with abstentions: an abstention is wrong, and no part.
//!
//! Part IoU of a shape: the mean over the parts of its category, where a part that is neither there nor
//! predicted counts 1. Instance mean: over shapes. Category mean: over categories of the mean over their shapes.

use certiseg_cert::smoothing::{ABSTAIN, AbstentionCounts, ClassCounts};
use serde::{Deserialize, Serialize};

use super::Catalogue;
use crate::error::{Error, Result};

/// What an IoU is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denominator {
    /// The union.
    #[default]
    Union,
    /// The union plus 1e-5, as some published figures have it.
    Padded,
}

/// One shape, in whole numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeCounts {
    /// Its category.
    pub category: u8,
    /// Points.
    pub points: u64,
    /// Right ones.
    pub right: u64,
    /// Abstaining ones.
    pub abstained: u64,
    /// By part of the category, in order.
    pub parts: Vec<ClassCounts>,
}

/// Many shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudFigures {
    /// Shapes.
    pub shapes: usize,
    /// Right points of all points, each point alike.
    pub accuracy: Option<f64>,
    /// Abstaining points of all points.
    pub abstain_rate: Option<f64>,
    /// Mean part IoU over shapes.
    pub instance_miou: Option<f64>,
    /// Mean over categories of the mean over their shapes.
    pub category_miou: Option<f64>,
    /// Mean part IoU by category; null where there is no shape.
    pub by_category: Vec<Option<f64>>,
}

impl ShapeCounts {
    /// Of a shape: parts or [`ABSTAIN`], and labels.
    ///
    /// # Errors
    /// [`Error::Cert`] unless both have the same length and the predictions are parts of the catalogue;
    /// [`Error::BadCloud`] for labels or predictions outside the category.
    pub fn of(
        catalogue: &Catalogue,
        category: u8,
        predictions: &[u8],
        labels: &[u8],
    ) -> Result<Self> {
        let parts = catalogue.parts(category)?;
        let counts = AbstentionCounts::of(catalogue.classes(), predictions, labels)?;
        let fits = |part: &u8| parts.contains(part) || *part == ABSTAIN;
        // no label is ignored
        if !labels.iter().all(|label| parts.contains(label)) || !predictions.iter().all(fits) {
            let what = format!(
                "points of parts outside its category, expected {} to {}",
                parts.start,
                parts.end - 1
            );
            let name = &catalogue.names[usize::from(category)];
            return Err(Error::bad_cloud(name, what));
        }
        let of = |part: u8| counts.classes.get(usize::from(part)).copied();
        Ok(ShapeCounts {
            category,
            points: counts.pixels,
            right: counts.right,
            abstained: counts.abstained_anywhere,
            parts: parts.map(|part| of(part).unwrap_or_default()).collect(),
        })
    }

    /// Right points of all.
    pub fn accuracy(&self) -> Option<f64> {
        (self.points > 0).then(|| self.right as f64 / self.points as f64)
    }

    /// Mean part IoU.
    pub fn miou(&self, denominator: Denominator) -> f64 {
        let iou = |part: &ClassCounts| {
            let union = part.labelled + part.certified - part.right;
            if union == 0 {
                return 1.0;
            }
            let more = match denominator {
                Denominator::Union => 0.0,
                Denominator::Padded => 1e-5,
            };
            part.right as f64 / (union as f64 + more)
        };
        self.parts.iter().map(iou).sum::<f64>() / self.parts.len() as f64
    }
}

impl CloudFigures {
    /// Of shapes of a catalogue of so many categories.
    pub fn of(shapes: &[ShapeCounts], categories: usize, denominator: Denominator) -> Self {
        let sum = |of: fn(&ShapeCounts) -> u64| shapes.iter().map(of).sum::<u64>();
        let points = sum(|shape| shape.points);
        let share = |part: u64| (points > 0).then(|| part as f64 / points as f64);
        let of = |category: usize| {
            let own = shapes
                .iter()
                .filter(|shape| usize::from(shape.category) == category);
            mean(own.map(|shape| shape.miou(denominator)))
        };
        let by_category: Vec<_> = (0..categories).map(of).collect();
        CloudFigures {
            shapes: shapes.len(),
            accuracy: share(sum(|shape| shape.right)),
            abstain_rate: share(sum(|shape| shape.abstained)),
            instance_miou: mean(shapes.iter().map(|shape| shape.miou(denominator))),
            category_miou: mean(by_category.iter().flatten().copied()),
            by_category,
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue {
            names: vec!["a".into(), "b".into(), "c".into()],
            parts: vec![0..2, 2..5, 5..6],
        }
    }

    fn of(category: u8, predictions: &[u8], labels: &[u8]) -> ShapeCounts {
        ShapeCounts::of(&catalogue(), category, predictions, labels).unwrap()
    }

    #[test]
    fn figures_by_hand() {
        // part 0: 1 of 2, part 1: 1 of 2
        let first = of(0, &[0, 1, 1], &[0, 0, 1]);
        assert_eq!(first.miou(Denominator::Union), 0.5);
        assert_eq!(first.accuracy(), Some(2.0 / 3.0));
        // part 2: 1 of 2 by an abstention, part 3: 1 of 1, part 4 nowhere: 1
        let second = of(1, &[2, ABSTAIN, 3], &[2, 2, 3]);
        assert_eq!(second.miou(Denominator::Union), 2.5 / 3.0);
        // part 4 predicted and not there: 0 of 1; part 2: 1 of 2; part 3: 1 of 1
        let third = of(1, &[2, 4, 3], &[2, 2, 3]);
        assert_eq!(third.miou(Denominator::Union), 0.5);
        assert!(third.miou(Denominator::Padded) < 0.5 && third.miou(Denominator::Padded) > 0.49999);
        let figures = CloudFigures::of(&[first, second, third], 3, Denominator::Union);
        assert_eq!(figures.accuracy, Some(6.0 / 9.0));
        assert_eq!(figures.abstain_rate, Some(1.0 / 9.0));
        let pair = (2.5 / 3.0 + 0.5) / 2.0;
        assert_eq!(figures.by_category, [Some(0.5), Some(pair), None]);
        assert_eq!(figures.instance_miou, Some((0.5 + 2.5 / 3.0 + 0.5) / 3.0));
        assert_eq!(figures.category_miou, Some((0.5 + pair) / 2.0));
        let text = serde_json::to_string(&figures).unwrap();
        assert_eq!(
            serde_json::from_str::<CloudFigures>(&text).unwrap(),
            figures
        );
    }

    #[test]
    fn nothing_is_undefined() {
        let none = CloudFigures::of(&[], 2, Denominator::Union);
        assert_eq!((none.accuracy, none.instance_miou), (None, None));
        assert_eq!(none.by_category, [None, None]);
        // all abstain: no part is right, absent ones count 1
        let shape = of(1, &[ABSTAIN, ABSTAIN], &[2, 2]);
        assert_eq!(
            (shape.miou(Denominator::Union), shape.abstained),
            (2.0 / 3.0, 2)
        );
    }

    #[test]
    fn parts_of_other_categories_are_refused() {
        let bad = |predictions: &[u8], labels: &[u8]| {
            ShapeCounts::of(&catalogue(), 0, predictions, labels).unwrap_err()
        };
        assert!(matches!(bad(&[2], &[0]), Error::BadCloud { .. }));
        assert!(matches!(bad(&[0], &[5]), Error::BadCloud { .. }));
        assert!(matches!(bad(&[0], &[255]), Error::BadCloud { .. }));
        assert!(matches!(bad(&[0], &[9]), Error::Cert(_)));
        assert!(matches!(bad(&[0, 1], &[0]), Error::Cert(_)));
        assert!(ShapeCounts::of(&catalogue(), 3, &[], &[]).is_err());
    }
}
