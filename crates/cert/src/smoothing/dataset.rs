//! The images of a data set together: means, figures beside labels, and what holds for how many of them.

use serde::{Deserialize, Serialize};

use super::abstention::{AbstentionFigures, Abstentions};
use super::band::band;
use super::boundary::BoundarySplit;
use super::row::SmoothRow;
use crate::error::Result;
use crate::{Share, mean_lower, mean_upper};

/// The mean over images is within the band of its expectation but for this probability.
const BETA: f64 = 0.05;

/// Marks a row line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DatasetKind {
    #[default]
    SmoothDataset,
}

/// The line below all images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmoothDataset {
    kind: DatasetKind,
    /// M.
    pub images: usize,
    /// Images with a component that is tested.
    pub defined: usize,
    /// Mean of the certified shares, rounded down.
    pub certified: Option<f64>,
    /// Mean of the abstained shares, rounded up.
    pub abstained: Option<f64>,
    /// Components tested, of all images.
    pub tests: u64,
    /// Certified ones.
    pub certified_components: u64,
    /// How many of them are right, each image with probability 1 - alpha.
    pub net: u64,
    /// Images of which a statement is wrong: at most so many are expected, and with probability 1 - this none is;
    /// M·alpha, rounded up. Null where components are certified one by one.
    pub wrong_images: Option<f64>,
    /// Hoeffding: the mean over images is within this of that over all images of their kind, with probability 0.95.
    pub band: Option<f64>,
    /// Mean of the certified information gains, rounded down.
    pub gain: Option<f64>,
    /// As [`SmoothRow::right_at_least`], pixels of all images as one.
    pub right_at_least: Option<f64>,
    /// Beside labels, counts of all images as one.
    pub figures: Option<AbstentionFigures>,
    /// Near changes of label and elsewhere.
    pub boundary: Option<BoundarySplit>,
}

impl SmoothDataset {
    /// Of the rows of all images; `classes` of them where that is known, otherwise those that occur.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) for rows with more classes.
    pub fn of(rows: &[SmoothRow], classes: Option<usize>) -> Result<Self> {
        let all = |field: fn(&SmoothRow) -> Option<f64>| rows.iter().filter_map(field).collect();
        let (certified, abstained): (Vec<f64>, Vec<f64>) =
            (all(|row| row.certified), all(|row| row.abstained));
        let gains: Vec<f64> = all(|row| row.levels.as_ref()?.gain);
        let images = || rows.iter().filter_map(|row| row.figures.as_deref());
        let occur = images().map(|image| image.counts.classes.len()).max();
        let mut figures = None;
        if let Some(occur) = occur {
            let mut sums = Abstentions::new(classes.unwrap_or(occur).max(1))?;
            for image in images() {
                sums.add_counts(&image.counts)?;
            }
            figures = Some(sums.figures());
        }
        let mut boundary: Option<BoundarySplit> = None;
        for split in images().filter_map(|image| image.boundary) {
            boundary
                .get_or_insert(BoundarySplit::new(split.distance))
                .add(&split);
        }
        let right = rows.iter().filter_map(SmoothRow::right_of);
        let right = right.fold([0, 0], |sum, image| [sum[0] + image[0], sum[1] + image[1]]);
        let right_at_least =
            (right[1] > 0).then(|| Share::new(right[0] as usize, right[1] as usize).lower());
        let single = rows.iter().any(|row| row.allowed.is_none());
        let alpha = rows.first().filter(|_| !single).map(|row| row.alpha);
        Ok(SmoothDataset {
            kind: DatasetKind::SmoothDataset,
            images: rows.len(),
            defined: certified.len(),
            certified: mean_lower(&certified),
            abstained: mean_upper(&abstained),
            tests: rows.iter().map(|row| row.tests).sum(),
            certified_components: rows.iter().map(|row| row.certified_components).sum(),
            net: rows.iter().map(|row| row.net).sum(),
            wrong_images: alpha.map(|alpha| (alpha * rows.len() as f64).next_up()),
            band: (!certified.is_empty())
                .then(|| band(certified.len(), BETA))
                .transpose()?,
            gain: mean_lower(&gains),
            right_at_least,
            figures,
            boundary,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::super::{ABSTAIN, Correction, IGNORE, ImageFigures, Levels, Promise};
    use super::*;

    fn rows() -> Vec<SmoothRow> {
        let mut rows = vec![row(Correction::Holm, Promise::ClassOrAbstain); 2];
        rows[1].certified = Some(0.25);
        let figures = |predictions: &[u8], labels: &[u8]| {
            let figures = ImageFigures::of(None, (1, Some(2)), predictions, labels);
            Some(Box::new(figures.unwrap()))
        };
        rows[0].figures = figures(&[0, 0, ABSTAIN, 1], &[0, 0, 0, 1]);
        rows[1].figures = figures(&[0, 0, 2, 0], &[0, 0, 2, 2]);
        rows
    }

    #[test]
    fn figures_of_rows_are_those_of_images() {
        let data = SmoothDataset::of(&rows(), None).unwrap();
        let mut sums = Abstentions::new(3).unwrap();
        sums.add(&[0, 0, ABSTAIN, 1], &[0, 0, 0, 1]).unwrap();
        sums.add(&[0, 0, 2, 0], &[0, 0, 2, 2]).unwrap();
        assert_eq!(data.figures, Some(sums.figures()));
        assert_eq!(
            (data.images, data.certified, data.abstained),
            (2, Some(0.5), Some(0.25))
        );
        assert_eq!((data.tests, data.certified_components, data.net), (8, 6, 6));
        // of 4 and 4 pixels 3 each are certified and right
        assert_eq!(data.right_at_least, Some(0.75));
        let mut wrong = rows();
        (wrong[0].allowed, wrong[1].allowed) = (Some(1), Some(9));
        assert_eq!(wrong[0].right_at_least(), Some(0.5));
        let wrong = SmoothDataset::of(&wrong, None).unwrap();
        assert_eq!(wrong.right_at_least, Some(0.25));
        assert!(
            data.wrong_images
                .is_some_and(|wrong| (0.002..0.00201).contains(&wrong))
        );
        assert_eq!(data.boundary.unwrap().boundary.counted, 8);
        let text = serde_json::to_string(&data).unwrap();
        assert!(text.starts_with(r#"{"kind":"smooth-dataset","images":2"#));
        assert_eq!(serde_json::from_str::<SmoothDataset>(&text).unwrap(), data);
        // absent classes are in some of the means
        let more = SmoothDataset::of(&rows(), Some(5))
            .unwrap()
            .figures
            .unwrap();
        assert!(more.miou_dataset_absent0 < sums.figures().miou_dataset_absent0);
        assert!(SmoothDataset::of(&rows(), Some(2)).is_err());
    }

    #[test]
    fn what_is_not_there_is_null() {
        let none = SmoothDataset::of(&[], None).unwrap();
        assert_eq!(
            (none.certified, none.band, none.figures),
            (None, None, None)
        );
        let mut row = row(Correction::None, Promise::ClassOrAbstain);
        row.levels = Some(Levels {
            certified: vec![1],
            abstained: 0,
            gain: Some(0.5),
        });
        let one = SmoothDataset::of(&[row], None).unwrap();
        assert_eq!(
            (one.wrong_images, one.gain, one.boundary),
            (None, Some(0.5), None)
        );
        let void = ImageFigures::of(None, (1, None), &[ABSTAIN], &[IGNORE]).unwrap();
        assert_eq!(void.figures.acc_certified, None);
    }
}
