//! Certified accuracy of smoothing as a number that stands beside that of a deterministic certificate.

use super::guess::{ABSTAIN, IGNORE};
use crate::error::{Error, Result};

/// CRPA of an image (paper 001, eq. 24): pixels that are certified and right, less those of them that a
/// statement about a count `allowed` to be wrong, of all that count; abstentions are errors. Rounded down;
/// none where no pixel counts.
///
/// # Errors
///
/// [`Error::Components`] unless there are as many classes as labels.
pub fn crpa(certified: &[u8], labels: &[u8], allowed: u64) -> Result<Option<f64>> {
    if certified.len() != labels.len() {
        return Err(Error::Components {
            what: "classes",
            got: certified.len(),
            expected: labels.len(),
        });
    }
    let counted = labels.iter().filter(|label| **label != IGNORE).count();
    let pairs = certified.iter().zip(labels);
    let right = pairs.filter(|(class, label)| class == label && **class != ABSTAIN);
    let right = (right.count() as u64).saturating_sub(allowed);
    Ok((counted > 0).then(|| crate::Share::new(right as usize, counted).lower()))
}

/// Mean over images, of those in which it is defined, and their number.
pub fn image_mean(values: impl IntoIterator<Item = Option<f64>>) -> Option<(f64, usize)> {
    let values = values.into_iter().flatten();
    let (sum, images) = values.fold((0.0, 0), |(sum, images), value| (sum + value, images + 1));
    (images > 0).then(|| (sum / images as f64, images))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abstentions_and_what_is_allowed_are_errors() {
        let certified = [0, 1, ABSTAIN, 2, 1];
        let labels = [0, 1, 1, 0, IGNORE];
        assert_eq!(crpa(&certified, &labels, 0).unwrap(), Some(0.5));
        assert_eq!(crpa(&certified, &labels, 1).unwrap(), Some(0.25));
        assert_eq!(crpa(&certified, &labels, 9).unwrap(), Some(0.0));
        assert_eq!(crpa(&[0], &[IGNORE], 0).unwrap(), None);
        // 255 and 254 are no class, even of labels that say so
        assert_eq!(crpa(&[ABSTAIN], &[ABSTAIN], 0).unwrap(), Some(0.0));
        assert!(matches!(
            crpa(&[0], &[0, 1], 0),
            Err(Error::Components { .. })
        ));
        let third = crpa(&[0, 1, 1], &[0, 0, 0], 0).unwrap().unwrap();
        assert!(third <= 1.0 / 3.0 && third > 0.333);
        let mean = image_mean([Some(0.5), None, Some(1.0)]);
        assert_eq!((mean, image_mean([None])), (Some((0.75, 2)), None));
    }
}
