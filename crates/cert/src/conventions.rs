//! What the field leaves open, stated once: costs of a forced class, 0/0, absent classes, objects.

use serde::{Deserialize, Serialize};

use crate::component::Connectivity;
use crate::error::{Error, Result};
use crate::share::Share;

/// How metrics are read; the default is the one of the papers where they have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conventions {
    /// Cost of making a pixel predict a class.
    #[serde(default)]
    pub forced: Forced,
    /// Precision of a class that is predicted nowhere.
    #[serde(default)]
    pub empty_precision: EmptyPrecision,
    /// Classes over which the mean IoU is taken.
    #[serde(default)]
    pub miou: MiouClasses,
    /// What an object is, and when it is lost.
    #[serde(default)]
    pub objects: Objects,
}

/// Cost of making a pixel predict a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forced {
    /// The gap to the class above that costs most: exact for p = 1 and inf, else a lower bound.
    #[default]
    Pairwise,
    /// All classes above cut down at once: exact, for p = 1, 2 and inf, and slower.
    Exact,
}

/// Precision where nothing is predicted, 0/0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyPrecision {
    /// 1: no false alarm.
    #[default]
    One,
    /// 0.
    Zero,
    /// Undefined: such an image is left out, and attacks that lead there do not count.
    Skip,
}

impl EmptyPrecision {
    /// The value at 0/0.
    pub(crate) fn share(self) -> Option<Share> {
        match self {
            EmptyPrecision::One => Some(Share::new(1, 1)),
            EmptyPrecision::Zero => Some(Share::new(0, 1)),
            EmptyPrecision::Skip => None,
        }
    }
}

/// Classes over which the mean IoU of an image is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MiouClasses {
    /// Those in the label.
    #[default]
    Present,
    /// Those in the label or the prediction: a class absent from the label counts 0 as soon as an
    /// attack can make one pixel predict it.
    Union,
}

/// Objects: connected components of a class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objects {
    /// Which pixels touch.
    pub connectivity: Connectivity,
    /// Components of fewer pixels are no objects; at least 1.
    pub pixels: u32,
    /// An object is lost where at most this share of its pixels is left, in hundredths: 0, lost
    /// where it vanishes, to 99.
    pub coverage: u8,
}

impl Default for Objects {
    fn default() -> Self {
        Objects {
            connectivity: Connectivity::Four,
            pixels: 1,
            coverage: 0,
        }
    }
}

impl Objects {
    /// Pixels an object of `size` pixels has to lose: ceil((1 - coverage)·size).
    pub(crate) fn losses(self, size: usize) -> usize {
        (size * usize::from(100 - self.coverage)).div_ceil(100)
    }
}

impl Conventions {
    /// [`Error::Shape`] where an object may be empty, or is lost untouched.
    pub fn check(&self) -> Result<()> {
        let Objects {
            pixels, coverage, ..
        } = self.objects;
        if pixels == 0 {
            return Err(Error::Shape {
                what: "number of pixels of the smallest object",
                got: 0,
                expected: "at least 1".into(),
            });
        }
        if coverage > 99 {
            return Err(Error::Shape {
                what: "coverage at which an object is lost, in hundredths,",
                got: coverage.into(),
                expected: "0 to 99".into(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventions_that_mean_nothing_are_refused() {
        let with = |pixels, coverage| Conventions {
            objects: Objects {
                pixels,
                coverage,
                ..Objects::default()
            },
            ..Conventions::default()
        };
        assert_eq!(Conventions::default().check(), Ok(()));
        assert_eq!(with(200, 99).check(), Ok(()));
        for bad in [with(0, 0), with(1, 100), with(1, 255)] {
            assert!(matches!(bad.check(), Err(Error::Shape { .. })), "{bad:?}");
        }
    }

    /// ceil((1 - t)·n), never one more: 0.07·100 in floats rounds up to 8.
    #[test]
    fn losses_are_counted_in_integers() {
        let losses = |coverage, size| {
            Objects {
                coverage,
                ..Objects::default()
            }
            .losses(size)
        };
        assert_eq!([losses(0, 7), losses(50, 3), losses(50, 4)], [7, 2, 2]);
        assert_eq!([losses(93, 100), losses(90, 10), losses(99, 1)], [7, 1, 1]);
    }
}
