//! Pixels near a change of label and all others: smoothing abstains mostly near changes.

use serde::{Deserialize, Serialize};

use super::guess::{ABSTAIN, IGNORE, check_map};
use crate::error::{Error, Result};

/// Counted pixels of one side, in whole numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// v.
    pub counted: u64,
    /// Certified and correct.
    pub right: u64,
    /// a.
    pub abstained: u64,
}

/// Both sides, of one image or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundarySplit {
    /// In pixels, Euclidean, from the next pixel that has a neighbour of another label.
    pub distance: u32,
    /// At most so far.
    pub boundary: Side,
    /// Farther.
    pub interior: Side,
}

impl Side {
    /// Certified and correct, of v, to the nearest; none of none.
    pub fn accuracy(self) -> Option<f64> {
        (self.counted > 0).then(|| self.right as f64 / self.counted as f64)
    }

    /// a/v, to the nearest; none of none.
    pub fn abstain_rate(self) -> Option<f64> {
        (self.counted > 0).then(|| self.abstained as f64 / self.counted as f64)
    }

    fn add(&mut self, other: Side) {
        self.counted += other.counted;
        self.right += other.right;
        self.abstained += other.abstained;
    }
}

impl BoundarySplit {
    /// No pixel yet.
    pub fn new(distance: u32) -> Self {
        BoundarySplit {
            distance,
            boundary: Side::default(),
            interior: Side::default(),
        }
    }

    /// Of an image of `width` columns: classes or [`ABSTAIN`], and labels or [`IGNORE`].
    ///
    /// # Errors
    ///
    /// [`Error::Components`] unless both have the same size, [`Error::Shape`] for a width that does not divide it.
    pub fn of(distance: u32, width: usize, predictions: &[u8], labels: &[u8]) -> Result<Self> {
        check_map(predictions, labels.len())?;
        let near = near_changes(distance, width, labels)?;
        let mut split = BoundarySplit::new(distance);
        for ((label, class), near) in labels.iter().zip(predictions).zip(near) {
            let side = if near {
                &mut split.boundary
            } else {
                &mut split.interior
            };
            side.counted += u64::from(*label != IGNORE);
            side.right += u64::from(*label != IGNORE && label == class);
            side.abstained += u64::from(*label != IGNORE && *class == ABSTAIN);
        }
        Ok(split)
    }

    /// Adds another image.
    pub fn add(&mut self, other: &BoundarySplit) {
        self.boundary.add(other.boundary);
        self.interior.add(other.interior);
    }
}

/// Which pixels are within `distance` (Euclidean, between centres) of a pixel one of whose four neighbours has
/// another label; labels of [`IGNORE`] change nothing.
///
/// # Errors
///
/// [`Error::Shape`] for a width that does not divide the number of labels.
pub fn near_changes(distance: u32, width: usize, labels: &[u8]) -> Result<Vec<bool>> {
    if width == 0 || !labels.len().is_multiple_of(width) {
        return Err(Error::Shape {
            what: "number of columns",
            got: width,
            expected: format!("a divisor of the {} pixels", labels.len()),
        });
    }
    let height = labels.len() / width;
    let mut changes = vec![false; labels.len()];
    let mut compare = |a: usize, b: usize| {
        if labels[a] != labels[b] && labels[a] != IGNORE && labels[b] != IGNORE {
            (changes[a], changes[b]) = (true, true);
        }
    };
    for i in 0..labels.len() {
        if i % width + 1 < width {
            compare(i, i + 1);
        }
        if i + width < labels.len() {
            compare(i, i + width);
        }
    }
    // distance to the next change in the row, as far as it matters
    let reach = distance as usize;
    let mut along = vec![reach + 1; labels.len()];
    for (along, changes) in along.chunks_mut(width).zip(changes.chunks(width)) {
        let mut last = reach + 1;
        for (far, change) in along.iter_mut().zip(changes) {
            last = if *change {
                0
            } else {
                (last + 1).min(reach + 1)
            };
            *far = last;
        }
        last = reach + 1;
        for (far, change) in along.iter_mut().zip(changes).rev() {
            last = if *change {
                0
            } else {
                (last + 1).min(reach + 1)
            };
            *far = last.min(*far);
        }
    }
    let mut near = vec![false; labels.len()];
    for (row, near) in near.chunks_mut(width).enumerate() {
        let rows = row.saturating_sub(reach)..height.min(row + reach + 1);
        for other in rows {
            let down = row.abs_diff(other);
            let left = reach * reach - down * down;
            let along = &along[other * width..(other + 1) * width];
            for (near, far) in near.iter_mut().zip(along) {
                *near |= far * far <= left;
            }
        }
    }
    Ok(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition.
    fn defined(distance: u32, width: usize, labels: &[u8]) -> Vec<bool> {
        let place = |i: usize| ((i / width) as i64, (i % width) as i64);
        let square = |a: usize, b: usize| {
            let ((y, x), (v, u)) = (place(a), place(b));
            (y - v).pow(2) + (x - u).pow(2)
        };
        let changes = |a: usize| {
            (0..labels.len()).any(|b| {
                square(a, b) == 1
                    && labels[a] != labels[b]
                    && labels[a] != IGNORE
                    && labels[b] != IGNORE
            })
        };
        let within = i64::from(distance).pow(2);
        let near = |a| (0..labels.len()).any(|b| changes(b) && square(a, b) <= within);
        (0..labels.len()).map(near).collect()
    }

    #[test]
    fn nearness_is_as_defined() {
        let mut state = 1u32;
        for round in 0..60 {
            let (width, height) = (1 + round % 9, 1 + round % 7);
            let labels: Vec<u8> = (0..width * height)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    [0, 0, 0, 0, 0, 0, 1, IGNORE][(state >> 29) as usize]
                })
                .collect();
            for distance in [0, 1, 2, 3, 20] {
                let got = near_changes(distance, width, &labels).unwrap();
                assert_eq!(
                    got,
                    defined(distance, width, &labels),
                    "{distance} {labels:?}"
                );
            }
        }
    }

    #[test]
    fn sides_of_a_line() {
        // the change is between columns 1 and 2: distances 1 0 0 1 2 3
        let labels = [0, 0, 1, 1, 1, IGNORE];
        let classes = [0, ABSTAIN, 1, 0, 1, ABSTAIN];
        let mut split = BoundarySplit::of(1, 6, &classes, &labels).unwrap();
        let boundary = Side {
            counted: 4,
            right: 2,
            abstained: 1,
        };
        let interior = Side {
            counted: 1,
            right: 1,
            abstained: 0,
        };
        assert_eq!((split.boundary, split.interior), (boundary, interior));
        assert_eq!(
            (boundary.accuracy(), boundary.abstain_rate()),
            (Some(0.5), Some(0.25))
        );
        assert_eq!(Side::default().accuracy(), None);
        split.add(&split.clone());
        assert_eq!(split.boundary.counted, 8);
        assert!(BoundarySplit::of(1, 4, &classes, &labels).is_err());
        assert!(BoundarySplit::of(1, 6, &classes[1..], &labels).is_err());
    }
}
