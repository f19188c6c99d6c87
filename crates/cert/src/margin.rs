//! Logits, labels, L, p, eta -> predictions and radii. Paper 001 eqs 3, 6, 8, 20, appendix B.
//!
//! r = 2^((1-p)/p) · (top1 - top2 - 2·eta) / L, at least 0, rounded down: an attack within eps
//! changes the joint logits by at most L·eps, and closing the gap of pixel w costs L·r_w of it.

use crate::error::{Error, Result};
use crate::norm::Norm;

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

/// What the caller vouches for; every certificate rests on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Premises {
    /// The norm of the attack, of the logits and of `lipschitz`.
    pub norm: Norm,
    /// Upper bound of the joint Lipschitz constant of the logit map, all pixels and classes
    /// together, from the tensor that is attacked; above 0, finite.
    pub lipschitz: f64,
    /// Upper bound of the error of each given logit; at least 0, finite.
    pub eta: f64,
}

impl Premises {
    /// [`Error::Lipschitz`] or [`Error::Eta`] where no radius follows from these numbers.
    pub fn check(&self) -> Result<()> {
        if !(self.lipschitz > 0.0 && self.lipschitz.is_finite()) {
            return Err(Error::Lipschitz {
                got: self.lipschitz,
            });
        }
        if !(0.0..f64::INFINITY).contains(&self.eta) {
            return Err(Error::Eta { got: self.eta });
        }
        Ok(())
    }
}

/// Logits of one image, and its labels if there are any. Checked.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    grid: Grid,
    logits: &'a [f32],
    labels: Option<&'a [u8]>,
    ignore: Option<u8>,
    largest: f32,
}

impl<'a> Image<'a> {
    /// `logits` (classes, height, width), finite; `labels` (height, width), each a class or `ignore`.
    ///
    /// Errors: [`Error::Grid`], [`Error::Length`], [`Error::LogitNotFinite`], [`Error::LabelOutOfRange`].
    pub fn new(
        grid: Grid,
        logits: &'a [f32],
        labels: Option<&'a [u8]>,
        ignore: Option<u8>,
    ) -> Result<Self> {
        let largest = check_logits(grid, logits)?;
        if let Some(labels) = labels {
            check_length("labels", labels.len(), grid.pixels())?;
            let wrong = |&label: &u8| usize::from(label) >= grid.classes && Some(label) != ignore;
            if let Some(pixel) = labels.iter().position(wrong) {
                return Err(Error::LabelOutOfRange {
                    pixel,
                    label: labels[pixel],
                    classes: grid.classes,
                });
            }
        }
        Ok(Image {
            grid,
            logits,
            labels,
            ignore,
            largest,
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

    /// The void label: its pixels count nowhere, except in stability.
    pub fn ignore(&self) -> Option<u8> {
        self.ignore
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

/// Largest absolute logit.
fn check_logits(grid: Grid, logits: &[f32]) -> Result<f32> {
    let Grid {
        classes,
        height,
        width,
    } = grid;
    let pixels = Grid::new(classes, height, width)?.pixels();
    check_length("logits", logits.len(), classes * pixels)?;
    if let Some(index) = logits.iter().position(|v| !v.is_finite()) {
        let (class, pixel) = (index / pixels, index % pixels);
        return Err(Error::LogitNotFinite {
            pixel,
            class,
            value: logits[index],
        });
    }
    Ok(logits.iter().fold(0.0, |largest, v| largest.max(v.abs())))
}

/// The class of the largest logit of each pixel, ties to the lowest class: (height, width).
///
/// Errors: [`Error::Grid`], [`Error::Length`], [`Error::LogitNotFinite`].
pub fn predictions(grid: Grid, logits: &[f32]) -> Result<Vec<u8>> {
    check_logits(grid, logits)?;
    Ok(top_two(grid, logits, |_, _| ()).0)
}

/// Predictions, and `gap(top1, top2)` of each pixel; one pass over the logits.
fn top_two<T>(grid: Grid, logits: &[f32], gap: impl Fn(f32, f32) -> T) -> (Vec<u8>, Vec<T>) {
    /// Pixels at a time: three short arrays stay in the fastest cache.
    const CHUNK: usize = 2048;
    let pixels = grid.pixels();
    let mut classes = vec![0; pixels];
    let mut gaps = Vec::with_capacity(pixels);
    let (mut first, mut second) = ([0.0; CHUNK], [0.0; CHUNK]);
    for (chunk, classes) in classes.chunks_mut(CHUNK).enumerate() {
        let plane = |class: usize| &logits[class * pixels + chunk * CHUNK..][..classes.len()];
        let (first, second) = (&mut first[..classes.len()], &mut second[..classes.len()]);
        first.copy_from_slice(plane(0));
        second.fill(f32::NEG_INFINITY);
        let planes: Vec<&[f32]> = (0..grid.classes).map(plane).collect();
        for (class, plane) in (0..=u8::MAX).zip(planes).skip(1) {
            for (((&v, first), second), top) in plane
                .iter()
                .zip(&mut *first)
                .zip(&mut *second)
                .zip(&mut *classes)
            {
                *top = if v > *first { class } else { *top };
                *second = second.max(v.min(*first));
                *first = first.max(v);
            }
        }
        gaps.extend(
            first
                .iter()
                .zip(&*second)
                .map(|(&first, &second)| gap(first, second)),
        );
    }
    (classes, gaps)
}

/// Predictions and stability radii of one image: what every metric is certified from.
#[derive(Clone, Debug)]
pub struct Margins<'a> {
    image: Image<'a>,
    premises: Premises,
    gap: Gap,
    predictions: Vec<u8>,
    radii: Vec<f64>,
}

/// From a gap of two logits to a radius, rounded down.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// 2·(eta + rounding of a subtraction).
    twice_eta: f64,
    /// gap factor / L.
    reach: f64,
}

impl Gap {
    fn radius(self, top: f32, below: f32) -> f64 {
        let margin = (f64::from(top) - f64::from(below) - self.twice_eta).max(0.0);
        (margin * self.reach).next_down().max(0.0)
    }
}

/// Predictions and radii of an image, in one pass over its logits.
///
/// Errors: those of [`Premises::check`].
pub fn margins<'a>(image: &Image<'a>, premises: &Premises) -> Result<Margins<'a>> {
    premises.check()?;
    // Both subtractions of `radius` round by 2^-53 of at most 2·largest each.
    let eta = (premises.eta + f64::EPSILON * f64::from(image.largest)).next_up();
    let reach = (premises.norm.gap_factor() / premises.lipschitz)
        .next_down()
        .max(0.0);
    // All logits 0 and eta 0: no rounding to cover, and no margin either.
    let gap = Gap {
        twice_eta: 2.0 * eta,
        reach,
    };
    let (predictions, radii) = top_two(image.grid, image.logits, |first, second| {
        gap.radius(first, second)
    });
    Ok(Margins {
        image: *image,
        premises: *premises,
        gap,
        predictions,
        radii,
    })
}

impl<'a> Margins<'a> {
    /// Class of the largest logit, ties to the lowest class: (height, width).
    pub fn predictions(&self) -> &[u8] {
        &self.predictions
    }

    /// Stability radius, rounded down: no attack whose share of this pixel is smaller changes its
    /// prediction. (height, width), in the unit of the budget; 0 for a tie.
    pub fn radii(&self) -> &[f64] {
        &self.radii
    }

    /// The image.
    pub fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// The premises.
    pub fn premises(&self) -> &Premises {
        &self.premises
    }

    /// Lower bound of the radius to make `pixel` predict `class`: the pairwise bound against the
    /// top class, for any p; 0 where it is predicted already.
    pub(crate) fn forced_radius(&self, pixel: usize, class: u8) -> f64 {
        let top = self.predictions[pixel];
        if top == class {
            return 0.0;
        }
        let logit =
            |class: u8| self.image.logits[usize::from(class) * self.predictions.len() + pixel];
        self.gap.radius(logit(top), logit(class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TIGHT, below_and_close};

    const TWO: Grid = Grid {
        classes: 2,
        height: 1,
        width: 1,
    };

    fn premises(norm: Norm, lipschitz: f64) -> Premises {
        Premises {
            norm,
            lipschitz,
            eta: 0.0,
        }
    }

    fn radius(logits: &[f32; 2], premises: Premises) -> f64 {
        margins(&Image::new(TWO, logits, None, None).unwrap(), &premises)
            .unwrap()
            .radii()[0]
    }

    #[test]
    fn grid() {
        for (classes, height, width) in [
            (0, 1, 1),
            (1, 1, 1),
            (257, 1, 1),
            (2, 0, 1),
            (2, 1, 0),
            (2, usize::MAX, 2),
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
    fn lipschitz() {
        for bad in [f64::NAN, 0.0, -0.0, -1.0, f64::INFINITY] {
            assert!(
                matches!(
                    premises(Norm::L2, bad).check(),
                    Err(Error::Lipschitz { .. })
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn eta() {
        for bad in [f64::NAN, -1.0, f64::INFINITY] {
            let premises = Premises {
                eta: bad,
                ..premises(Norm::L2, 1.0)
            };
            assert!(matches!(premises.check(), Err(Error::Eta { .. })), "{bad}");
        }
    }

    #[test]
    fn length() {
        assert_eq!(
            Image::new(TWO, &[0.0; 3], None, None).unwrap_err(),
            Error::Length {
                what: "logits",
                got: 3,
                expected: 2
            }
        );
        assert_eq!(
            Image::new(TWO, &[0.0; 2], Some(&[]), None).unwrap_err(),
            Error::Length {
                what: "labels",
                got: 0,
                expected: 1
            }
        );
    }

    #[test]
    fn logit_not_finite() {
        let grid = Grid::new(3, 1, 2).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let logits = [0.0, 0.0, 0.0, 0.0, 0.0, bad];
            let error = Image::new(grid, &logits, None, None).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::LogitNotFinite {
                        pixel: 1,
                        class: 2,
                        ..
                    }
                ),
                "{error}"
            );
            assert!(predictions(grid, &logits).is_err());
        }
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
    fn example_e5_norms() {
        for (norm, radius_of_one) in [
            (Norm::L1, 1.0),
            (Norm::L2, 0.5f64.sqrt()),
            (Norm::LINF, 0.5),
            (Norm::new(3.0).unwrap(), 0.25f64.cbrt()),
        ] {
            below_and_close(
                radius(&[1.0, 0.0], premises(norm, 1.0)),
                radius_of_one,
                TIGHT,
            )
            .unwrap();
        }
    }

    #[test]
    fn example_e4_pairwise_forced_class() {
        let of = |logits: &[f32], class| {
            let grid = Grid::new(logits.len(), 1, 1).unwrap();
            let image = Image::new(grid, logits, None, None).unwrap();
            margins(&image, &premises(Norm::L2, 1.0))
                .unwrap()
                .forced_radius(0, class)
        };
        below_and_close(of(&[0.0, 1.0, 1.0], 0), 0.5f64.sqrt(), TIGHT).unwrap();
        assert_eq!(of(&[0.0, 1.0, 1.0], 1), 0.0, "predicted");
        assert_eq!(of(&[0.0, 1.0, 1.0], 2), 0.0, "tied");
        let f = 2f32.sqrt();
        below_and_close(
            of(&[0.0, f, 0.0, 0.0], 0),
            f64::from(f) * 0.5f64.sqrt(),
            TIGHT,
        )
        .unwrap();
    }

    #[test]
    fn eta_is_taken_twice() {
        let p = Premises {
            norm: Norm::L1,
            lipschitz: 1.0,
            eta: 0.125,
        };
        below_and_close(radius(&[1.0, 0.0], p), 0.75, TIGHT).unwrap();
        assert_eq!(radius(&[1.0, 0.75], p), 0.0);
        assert_eq!(radius(&[1.0, 0.0], Premises { eta: f64::MAX, ..p }), 0.0);
    }

    #[test]
    fn extremes_are_finite_and_below() {
        for lipschitz in [5e-324, f64::MIN_POSITIVE, 1.0, f64::MAX] {
            for logits in [
                [0.0, 0.0],
                [f32::MAX, -f32::MAX],
                [1e-45, 0.0],
                [0.0, -1e-45],
            ] {
                let r = radius(&logits, premises(Norm::LINF, lipschitz));
                let margin = f64::from(logits[0]) - f64::from(logits[1]);
                assert!(
                    r.is_finite() && r >= 0.0 && r <= margin * 0.5 / lipschitz,
                    "{logits:?} {lipschitz} {r}"
                );
            }
        }
    }

    #[test]
    fn ties_go_to_the_lowest_class_and_all_256_are_seen() {
        let logits: Vec<f32> = (0..256)
            .map(|class| if class == 7 || class == 255 { 1.0 } else { 0.0 })
            .collect();
        let grid = Grid::new(256, 1, 1).unwrap();
        assert_eq!(predictions(grid, &logits), Ok(vec![7]));
        let rising: Vec<f32> = (0..256u16).map(f32::from).collect();
        assert_eq!(predictions(grid, &rising), Ok(vec![255]));
    }

    /// Chunks do not show: a map longer than one chunk equals pixel by pixel.
    #[test]
    fn long_map_equals_single_pixels() {
        let grid = Grid::new(3, 1, 5000).unwrap();
        let logits: Vec<f32> = (0..15000u32)
            .map(|i| {
                let h = i.wrapping_mul(2_654_435_761);
                ((h ^ (h >> 15)).wrapping_mul(2_246_822_519) >> 20) as f32
            })
            .collect();
        let image = Image::new(grid, &logits, None, None).unwrap();
        let m = margins(&image, &premises(Norm::L1, 1.0)).unwrap();
        let mut classes = [0; 3];
        for pixel in 0..5000 {
            let values = [0, 1, 2].map(|class| logits[class * 5000 + pixel]);
            let mut sorted = values;
            sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            let top = values.iter().position(|&v| v == sorted[0]).unwrap();
            classes[top] += 1;
            assert_eq!(usize::from(m.predictions()[pixel]), top);
            below_and_close(m.radii()[pixel], f64::from(sorted[0] - sorted[1]), TIGHT).unwrap();
        }
        assert!(classes.iter().all(|&n| n > 1000));
    }
}
