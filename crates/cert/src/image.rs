//! One picture as the judge sees it: its size, logits, labels, and which pixels count.

use crate::error::{Error, Result};

/// The size of a logit map, stored class by class and row by row: (classes, height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Classes, 2 to 256.
    pub classes: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Columns, at least 1.
    pub width: usize,
}

impl Grid {
    /// A checked grid; [`Error::Grid`] names the three numbers.
    pub fn new(classes: usize, height: usize, width: usize) -> Result<Self> {
        let fits = height
            .checked_mul(width)
            .and_then(|pixels| pixels.checked_mul(classes));
        match fits {
            Some(1..) if (2..=256).contains(&classes) => Ok(Grid {
                classes,
                height,
                width,
            }),
            _ => Err(Error::Grid {
                classes,
                height,
                width,
            }),
        }
    }

    /// Pixels of one class: height · width.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// Logits of one image, its labels if there are any, and the region that counts.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    grid: Grid,
    logits: &'a [f32],
    labels: Option<&'a [u8]>,
    ignore: Option<u8>,
    region: Option<&'a [bool]>,
}

impl<'a> Image<'a> {
    /// `logits` (classes, height, width); `labels` (height, width), each a class or `ignore`.
    /// Whether the logits are numbers is seen in the one pass of [`crate::margins()`].
    ///
    /// Errors: [`Error::Grid`], [`Error::Length`], [`Error::LabelOutOfRange`].
    pub fn new(
        grid: Grid,
        logits: &'a [f32],
        labels: Option<&'a [u8]>,
        ignore: Option<u8>,
    ) -> Result<Self> {
        let Grid {
            classes,
            height,
            width,
        } = grid;
        let pixels = Grid::new(classes, height, width)?.pixels();
        check_length("logits", logits.len(), classes * pixels)?;
        if let Some(labels) = labels {
            check_length("labels", labels.len(), pixels)?;
            let wrong = |&label: &u8| usize::from(label) >= classes && Some(label) != ignore;
            // all of them first, which needs no branches
            if labels.iter().fold(false, |any, label| any | wrong(label)) {
                let pixel = labels.iter().position(wrong).unwrap_or_default();
                return Err(Error::LabelOutOfRange {
                    pixel,
                    label: labels[pixel],
                    classes,
                });
            }
        }
        Ok(Image {
            grid,
            logits,
            labels,
            ignore,
            region: None,
        })
    }

    /// Only the pixels of `region` (height, width) count, in every metric; attacks may change all
    /// of the picture. Errors: [`Error::Length`].
    pub fn region(self, region: &'a [bool]) -> Result<Self> {
        check_length("pixels of the region", region.len(), self.grid.pixels())?;
        Ok(Image {
            region: Some(region),
            ..self
        })
    }

    /// Size.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Labels (height, width).
    pub fn labels(&self) -> Option<&'a [u8]> {
        self.labels
    }

    /// The void label: its pixels count nowhere, except where no labels are asked for.
    pub fn ignore(&self) -> Option<u8> {
        self.ignore
    }

    /// Logits of a class (height, width).
    pub(crate) fn plane(&self, class: u8) -> &'a [f32] {
        let pixels = self.grid.pixels();
        &self.logits[usize::from(class) * pixels..][..pixels]
    }

    /// All logits (classes, height, width).
    pub(crate) fn logits(&self) -> &'a [f32] {
        self.logits
    }

    /// Whether each pixel counts, from `start` on: `labels` is that part of a reference.
    pub(crate) fn counted(
        &self,
        start: usize,
        labels: &[u8],
        labelled: bool,
        counted: &mut [bool],
    ) {
        match self.ignore.filter(|_| labelled) {
            Some(void) => {
                for (counted, &label) in counted.iter_mut().zip(labels) {
                    *counted = label != void;
                }
            }
            None => counted.fill(true),
        }
        if let Some(region) = self.region {
            for (counted, inside) in counted.iter_mut().zip(&region[start..]) {
                *counted &= inside;
            }
        }
    }

    /// Whether each pixel counts, (height, width), given the reference.
    pub(crate) fn all_counted(&self, reference: &[u8], labelled: bool) -> Vec<bool> {
        let mut counted = vec![false; reference.len()];
        self.counted(0, reference, labelled, &mut counted);
        counted
    }
}

pub(crate) fn check_length(what: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected {
        Ok(())
    } else {
        Err(Error::Length {
            what,
            got,
            expected,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Grid = Grid {
        classes: 2,
        height: 1,
        width: 1,
    };

    #[test]
    fn grid() {
        for (classes, height, width) in [
            (1, 1, 1),
            (257, 1, 1),
            (0, 1, 1),
            (2, 0, 1),
            (2, 1, 0),
            (2, usize::MAX, 2),
            (2, 1 << 40, 1 << 40),
        ] {
            assert_eq!(
                Grid::new(classes, height, width),
                Err(Error::Grid {
                    classes,
                    height,
                    width
                })
            );
        }
        assert_eq!(Grid::new(256, 3, 5).unwrap().pixels(), 15);
        let unchecked = Grid {
            classes: 1,
            height: 1,
            width: 1,
        };
        assert!(matches!(
            Image::new(unchecked, &[0.0], None, None),
            Err(Error::Grid { .. })
        ));
    }

    #[test]
    fn length() {
        let error = |what, got, expected| Error::Length {
            what,
            got,
            expected,
        };
        let logits = Image::new(TWO, &[0.0; 3], None, None).unwrap_err();
        assert_eq!(logits, error("logits", 3, 2));
        let labels = Image::new(TWO, &[0.0; 2], Some(&[]), None).unwrap_err();
        assert_eq!(labels, error("labels", 0, 1));
        let image = Image::new(TWO, &[0.0; 2], None, None).unwrap();
        let region = image.region(&[true; 2]).unwrap_err();
        assert_eq!(region, error("pixels of the region", 2, 1));
    }

    #[test]
    fn label_out_of_range() {
        let error = Image::new(TWO, &[0.0; 2], Some(&[2]), Some(255)).unwrap_err();
        assert_eq!(
            error,
            Error::LabelOutOfRange {
                pixel: 0,
                label: 2,
                classes: 2
            }
        );
        assert!(Image::new(TWO, &[0.0; 2], Some(&[255]), Some(255)).is_ok());
        assert!(Image::new(TWO, &[0.0; 2], Some(&[255]), None).is_err());
    }

    #[test]
    fn void_and_region_decide_what_counts() {
        let grid = Grid::new(2, 1, 3).unwrap();
        let region = [true, true, false];
        let image = Image::new(grid, &[0.0; 6], Some(&[0, 255, 1]), Some(255)).unwrap();
        let image = image.region(&region).unwrap();
        let counted = |labelled| image.all_counted(&[0, 255, 1], labelled);
        assert_eq!(counted(true), [true, false, false]);
        assert_eq!(counted(false), [true, true, false]);
    }
}
