//! The curve of an image: how many components have at least a radius, for all radii together.

use serde::{Deserialize, Serialize};

use super::correction::check_histogram;
use super::radius::RadiusTable;
use super::row::SmoothRow;
use crate::error::Result;
use crate::{Norm, Share};

/// Marks a row line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CurveKind {
    #[default]
    SmoothCurve,
}

/// One image, one number of components that may be wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmoothCurve {
    kind: CurveKind,
    /// Name of the image.
    pub image: String,
    /// Norm of the radii.
    pub norm: Norm,
    /// Level of the whole curve.
    pub alpha: f64,
    /// N.
    pub tests: u64,
    /// Of them those with a label that counts; null without labels.
    pub counted: Option<u64>,
    /// Components that may be wrong, with probability 1 - alpha, whatever the radius.
    pub allowed: u64,
    /// By falling radius, where the number changes.
    pub points: Vec<CurvePoint>,
}

/// A point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// Rounded down.
    pub radius: f64,
    /// Components with at least that radius.
    pub components: u64,
    /// Less those that may be wrong, of N; rounded down.
    pub certified: f64,
    /// Those whose class is the label, less those that may be wrong, of the counted ones; rounded down; null
    /// without labels.
    pub right: Option<f64>,
}

impl SmoothCurve {
    /// Of the image of a row; `right` is the histogram of components whose class is the label, with the number of
    /// components that have one.
    ///
    /// # Errors
    ///
    /// [`Error::Histogram`](crate::Error::Histogram) unless both have n + 1 entries.
    pub fn of(
        row: &SmoothRow,
        table: &RadiusTable,
        histogram: &[u64],
        right: Option<(&[u64], u64)>,
    ) -> Result<Self> {
        let tests: u64 = histogram.iter().sum();
        if let Some((right, _)) = right {
            check_histogram(right, histogram.len() - 1)?;
        }
        let share = |part: u64, all: u64| {
            let part = part.saturating_sub(table.allowed());
            Share::new(part as usize, all as usize).lower()
        };
        let points = table.curve(histogram)?;
        let point = |point: super::RadiusPoint| -> Result<CurvePoint> {
            let right = right.map(|(right, counted)| {
                let right = table.at(right, point.radius)?.certified;
                Ok(share(right, counted))
            });
            Ok(CurvePoint {
                radius: point.radius,
                components: point.certified,
                certified: share(point.certified, tests),
                right: right.transpose()?,
            })
        };
        Ok(SmoothCurve {
            kind: CurveKind::SmoothCurve,
            image: row.image.clone(),
            norm: row.norm,
            alpha: row.alpha,
            tests,
            counted: right.map(|(_, counted)| counted),
            allowed: table.allowed(),
            points: points.into_iter().map(point).collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::super::{Correction, Law, Promise, Stage};
    use super::*;

    #[test]
    fn a_curve_falls_to_what_has_no_radius() {
        let mut histogram = vec![0; 101];
        (histogram[100], histogram[98], histogram[50]) = (5, 3, 2);
        let mut right = vec![0; 101];
        (right[100], right[98]) = (4, 3);
        let law = (Law::Gaussian { sigma: 0.25 }, Promise::ClassOrAbstain);
        let row = row(Correction::Holm, law.1);
        for (allowed, certified, rights) in [
            (0, [0.5, 0.8], [0.5, 0.875]),
            (2, [0.3, 0.6], [0.25, 0.625]),
        ] {
            let table = RadiusTable::new((100, Stage::Two), (10, allowed), 0.001, law).unwrap();
            let curve = SmoothCurve::of(&row, &table, &histogram, Some((&right, 8))).unwrap();
            let radii: Vec<f64> = curve.points.iter().map(|point| point.radius).collect();
            assert_eq!(radii, [table.radius(100), table.radius(98)]);
            for ((point, certified), right) in curve.points.iter().zip(certified).zip(rights) {
                // 3/10 and 6/10 are rounded down
                assert!(point.certified <= certified && point.certified > certified - 1e-15);
                assert_eq!(point.right, Some(right));
            }
            let text = serde_json::to_string(&curve).unwrap();
            assert!(text.starts_with(r#"{"kind":"smooth-curve","image":"a""#));
            assert_eq!(serde_json::from_str::<SmoothCurve>(&text).unwrap(), curve);
            let bare = SmoothCurve::of(&row, &table, &histogram, None).unwrap();
            assert_eq!((bare.counted, bare.points[0].right), (None, None));
            assert!(SmoothCurve::of(&row, &table, &histogram, Some((&right[1..], 8))).is_err());
            assert!(SmoothCurve::of(&row, &table, &histogram[1..], None).is_err());
        }
    }
}
