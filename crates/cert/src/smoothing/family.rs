//! Which components are tested, and which are right: marks by component.

use super::guess::{Guessed, IGNORE, check_map};
use super::votes::Votes;
use crate::error::Result;

/// Components whose label is not [`IGNORE`]: a family for metrics.
pub fn not_ignored(labels: &[u8]) -> Vec<bool> {
    labels.iter().map(|label| *label != IGNORE).collect()
}

impl Guessed {
    /// Components whose class at least so many samples chose: a family that the test samples have no part in.
    pub fn screened(&self, hits: usize) -> Vec<bool> {
        self.hits()
            .iter()
            .map(|all| usize::from(*all) >= hits)
            .collect()
    }
}

impl Votes {
    /// Of components of a family, or of all: the histogram of those whose class is their label, and how many have a
    /// label that is not [`IGNORE`].
    ///
    /// # Errors
    ///
    /// [`Error::Components`](crate::Error::Components) for labels or a family of another size.
    pub fn right_histogram(
        &self,
        labels: &[u8],
        family: Option<&[bool]>,
    ) -> Result<(Vec<u64>, u64)> {
        check_map(labels, self.len())?;
        let tested = family.map_or_else(|| vec![true; self.len()], <[bool]>::to_vec);
        super::votes::check_family(&tested, self.len())?;
        let pairs = || labels.iter().zip(&tested);
        let counted = pairs().filter(|(label, tested)| **tested && **label != IGNORE);
        let counted = counted.count() as u64;
        let right = pairs().zip(self.classes());
        let right: Vec<bool> = right.map(|((a, tested), b)| *tested && a == b).collect();
        Ok((self.histogram(Some(&right))?, counted))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Guess;
    use super::*;

    #[test]
    fn marks_by_hand() {
        let mut guess = Guess::new(3);
        for map in [[0, 1, 2], [0, 1, 0], [0, 2, 2]] {
            guess.add(&map).unwrap();
        }
        let guessed = guess.finish().unwrap();
        assert_eq!(guessed.screened(3), [true, false, false]);
        assert_eq!(guessed.screened(2), [true; 3]);
        let mut votes = guessed.two_stage();
        votes.add(&[0, 1, 1]).unwrap();
        let labels = [0, 3, IGNORE];
        assert_eq!(not_ignored(&labels), [true, true, false]);
        assert_eq!(
            votes.right_histogram(&labels, None).unwrap(),
            (vec![0, 1], 2)
        );
        assert_eq!(
            votes.right_histogram(&[0, 1, 2], None).unwrap(),
            (vec![1, 2], 3)
        );
        let family = [false, true, true];
        assert_eq!(
            votes.right_histogram(&labels, Some(&family)).unwrap(),
            (vec![0, 0], 1)
        );
        assert!(votes.right_histogram(&labels[1..], None).is_err());
        assert!(votes.right_histogram(&labels, Some(&family[1..])).is_err());
    }
}
