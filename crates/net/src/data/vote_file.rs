//! Votes that were counted elsewhere: an `npz` archive with `classes` (pixels) or (H, W), the classes that were tested,
//! `counts` of the same shape, how many test samples gave them, `samples`, the number of these, and optionally `labels`.

use std::path::Path;

use super::integers::{class, labels, needed};
use super::npz::Archive;
use crate::Result;

/// The votes of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct VoteFile {
    /// (pixels) or (height, width).
    pub shape: Vec<usize>,
    /// The class that was tested, 0 to 253, by pixel.
    pub classes: Vec<u8>,
    /// How many samples gave it; whether these are more than there are is not checked here.
    pub counts: Vec<u32>,
    /// Number of samples.
    pub samples: usize,
    /// Shape and values of the labels: classes, or 255.
    pub labels: Option<(Vec<usize>, Vec<u8>)>,
}

impl VoteFile {
    /// Reads it whole; labels of `ignore` become 255.
    ///
    /// # Errors
    /// Those of [`LabelMaps::open`](super::LabelMaps::open).
    pub fn read(path: &Path, ignore: i64) -> Result<Self> {
        let mut archive = Archive::open(path)?;
        let mut classes = needed(&mut archive, "classes")?;
        let mut counts = needed(&mut archive, "counts")?;
        let mut samples = needed(&mut archive, "samples")?;
        let shape = classes.shape.clone();
        let size = shape
            .iter()
            .try_fold(8usize, |n, side| n.checked_mul(*side));
        if !(1..=2).contains(&shape.len()) || size.is_none_or(|size| size == 0) {
            let expected = "(pixels) or (height, width) of one picture, none of them 0";
            return Err(classes.wrong_shape(expected));
        }
        if counts.shape != shape {
            return Err(counts.wrong_shape(format!("{shape:?}, as classes have")));
        }
        if samples.shape.iter().any(|side| *side != 1) {
            return Err(samples.wrong_shape("one number, how many samples were counted"));
        }
        let labels = labels(&mut archive, shape.iter().product(), ignore)?;
        let number = samples.all("a number from 1", |n| {
            usize::try_from(n).ok().filter(|n| *n > 0)
        })?;
        Ok(Self {
            classes: classes.all("a class, 0 to 253", class)?,
            counts: counts.all("a number from 0", |n| u32::try_from(n).ok())?,
            samples: number.first().copied().unwrap_or_default(),
            shape,
            labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use zip::CompressionMethod::Stored;

    use super::super::npy::tests::npy;
    use super::super::npz::tests::save;
    use super::*;
    use crate::Error;

    fn read(classes: &[u8], counts: &[u8], samples: (&str, u8)) -> Result<VoteFile> {
        let arrays = [
            ("classes", npy("|u1", "False", "(1, 2)", classes)),
            ("counts", npy("|i1", "False", "(1, 2)", counts)),
            ("samples", npy("|u1", "False", samples.0, &[samples.1])),
        ];
        let (_dir, path) = save(&arrays, Stored);
        VoteFile::read(&path, 255)
    }

    #[test]
    fn votes_are_read() {
        for shape in ["()", "(1,)"] {
            let votes = read(&[0, 253], &[100, 7], (shape, 100)).unwrap();
            assert_eq!((&votes.shape[..], votes.samples), (&[1, 2][..], 100));
            assert_eq!(
                (&votes.classes[..], &votes.counts[..]),
                (&[0, 253][..], &[100, 7][..])
            );
            assert_eq!(votes.labels, None);
        }
    }

    #[test]
    fn what_are_no_votes() {
        for (classes, counts, samples) in [
            ([0, 254], [1, 1], ("()", 2)),
            ([0, 1], [1, 0xff], ("()", 2)),
            ([0, 1], [1, 1], ("()", 0)),
        ] {
            let error = read(&classes, &counts, samples).unwrap_err();
            assert!(matches!(error, Error::ArrayValue { .. }), "{error}");
        }
        let error = read(&[0, 1], &[1, 1], ("(2,)", 2)).unwrap_err();
        assert!(
            matches!(
                error,
                Error::ArrayShape {
                    name: "samples",
                    ..
                }
            ),
            "{error}"
        );
        let arrays = [
            ("classes", npy("|u1", "False", "(2,)", &[0, 1])),
            ("counts", npy("|u1", "False", "(1, 2)", &[0, 1])),
            ("samples", npy("|u1", "False", "()", &[1])),
        ];
        let (_dir, path) = save(&arrays, Stored);
        let error = VoteFile::read(&path, 255).unwrap_err();
        assert!(
            matches!(error, Error::ArrayShape { name: "counts", .. }),
            "{error}"
        );
        let (_dir, path) = save(&arrays[..2], Stored);
        let error = VoteFile::read(&path, 255).unwrap_err();
        assert!(
            matches!(
                error,
                Error::MissingArray {
                    name: "samples",
                    ..
                }
            ),
            "{error}"
        );
    }
}
