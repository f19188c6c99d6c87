//! Logits, L, eta -> predictions and radii. Paper 001 eqs 3, 6, 8, 20, appendix B.
//!
//! r = 2^((1-p)/p) · (top1 - top2 - 2·eta) / L, at least 0, rounded down: an attack within eps
//! changes the joint logits by at most L·eps, and closing the gap of pixel w costs L·r_w of it.
//! With the rows of the head, r = min over j of (f_y - f_j - 2·eta) / (L·||w_y - w_j||_q).

use crate::conventions::{Conventions, Forced};
use crate::error::{Error, Result};
use crate::head::ClassHead;
use crate::image::{Grid, Image};
use crate::power::Power;
use crate::premises::Premises;
use crate::share::f32_down;
use crate::top_two::top_two;

/// The class of the largest logit of each pixel, ties to the lowest class: (height, width).
///
/// Errors: [`Error::Grid`], [`Error::Length`], [`Error::LogitNotFinite`].
pub fn predictions(grid: Grid, logits: &[f32]) -> Result<Vec<u8>> {
    let image = Image::new(grid, logits, None, None)?;
    let mut classes = Vec::with_capacity(grid.pixels());
    top_two(&image, |block| classes.extend(block.classes()))?;
    Ok(classes)
}

/// Predictions and stability radii of one image: what every metric is certified from.
#[derive(Clone, Debug)]
pub struct Margins<'a> {
    image: Image<'a>,
    premises: Premises,
    conventions: Conventions,
    gaps: Gaps,
    predictions: Vec<u8>,
    stability: Stability,
    /// About the largest finite radius; 0 if there is none.
    largest: f64,
}

/// What the stability radius of each pixel follows from: 8 bytes a pixel.
#[derive(Clone, Debug)]
enum Stability {
    /// The two largest logits.
    Logits { first: Vec<f32>, second: Vec<f32> },
    /// The radius, where each pair of classes has a distance of its own.
    Radii(Vec<f64>),
}

/// Predictions and radii of an image, in one pass over its logits.
///
/// Errors: those of [`Premises::check`], [`Error::LogitNotFinite`].
pub fn margins<'a>(image: &Image<'a>, premises: &Premises) -> Result<Margins<'a>> {
    premises.check()?;
    let reach = finite(premises.norm.gap_factor() / premises.lipschitz);
    of_gaps(image, premises, Gaps::new(premises, Reach::All(reach)))
}

/// The same with the rows of the head; `premises.lipschitz` is then that of the features, jointly
/// over all pixels and channels. Never below [`margins()`] with the constant of both together, up
/// to rounding.
///
/// Errors: those of [`margins()`], [`Error::HeadClasses`].
pub fn margins_with_head<'a>(
    image: &Image<'a>,
    premises: &Premises,
    head: &ClassHead,
) -> Result<Margins<'a>> {
    premises.check()?;
    let classes = image.grid().classes;
    if head.classes() != classes {
        return Err(Error::HeadClasses {
            got: head.classes(),
            expected: classes,
        });
    }
    let reach = head.distances(premises.norm).into_iter().map(|distance| {
        // equal rows: a gap that no attack changes
        let equal = distance == 0.0;
        let reach = finite(1.0 / (distance * premises.lipschitz).next_up());
        if equal { f64::INFINITY } else { reach }
    });
    let reach = Reach::Pairs(classes, reach.collect());
    of_gaps(image, premises, Gaps::new(premises, reach))
}

fn of_gaps<'a>(image: &Image<'a>, premises: &Premises, gaps: Gaps) -> Result<Margins<'a>> {
    let pixels = image.grid().pixels();
    let mut predictions: Vec<u8> = Vec::with_capacity(pixels);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut radii: Vec<f64> = Vec::new();
    match gaps.reach {
        Reach::All(_) => [&mut first, &mut second].map(|logits| logits.reserve_exact(pixels)),
        Reach::Pairs(..) => [(); 2].map(|()| radii.reserve_exact(pixels)),
    };
    top_two(image, |block| {
        let start = predictions.len();
        predictions.extend(block.classes());
        if let Reach::All(_) = gaps.reach {
            first.extend_from_slice(block.first());
            second.extend_from_slice(block.second());
        } else {
            radii.extend((start..predictions.len()).map(|pixel| {
                let top = predictions[pixel];
                let others = (0..=u8::MAX)
                    .take(image.grid().classes)
                    .filter(|&j| j != top);
                let radius = |j: u8| {
                    let (logit, other) = (image.plane(top)[pixel], image.plane(j)[pixel]);
                    gaps.radius(logit, other, gaps.pair(top, j))
                };
                others.map(radius).fold(f64::INFINITY, f64::min)
            }));
        }
    })?;
    let stability = match gaps.reach {
        Reach::All(_) => Stability::Logits { first, second },
        Reach::Pairs(..) => Stability::Radii(radii),
    };
    let mut margins = Margins {
        image: *image,
        premises: *premises,
        conventions: Conventions::default(),
        gaps,
        predictions,
        stability,
        largest: 0.0,
    };
    margins.largest = margins.largest_finite();
    Ok(margins)
}

impl<'a> Margins<'a> {
    /// With these conventions instead of the default ones.
    ///
    /// Errors: [`Error::Unsupported`] for exact forced costs with a head or a p other than 1, 2
    /// and inf; those of [`Conventions::check`].
    pub fn with(self, conventions: Conventions) -> Result<Self> {
        conventions.check()?;
        let known = matches!(self.premises.norm.p(), 1.0 | 2.0 | f64::INFINITY);
        let pairs = matches!(self.gaps.reach, Reach::Pairs(..));
        if conventions.forced == Forced::Exact && (pairs || !known) {
            return Err(Error::Unsupported {
                what: "the exact cost of a forced class with a head or in this norm",
                way_out: "ask for pairwise costs, or for l1, l2 or linf without a head",
            });
        }
        Ok(Margins {
            conventions,
            ..self
        })
    }

    /// Class of the largest logit, ties to the lowest class: (height, width).
    pub fn predictions(&self) -> &[u8] {
        &self.predictions
    }

    /// Stability radii, rounded down: no attack whose share of a pixel is smaller changes its
    /// prediction. (height, width), in the unit of the budget; 0 for a tie, inf where no attack
    /// changes it. Computed anew in each call.
    pub fn radii(&self) -> Vec<f64> {
        (0..self.predictions.len())
            .map(|pixel| self.radius(pixel))
            .collect()
    }

    /// The radii rounded down to f32, for maps.
    pub fn radii_f32(&self) -> Vec<f32> {
        (0..self.predictions.len())
            .map(|pixel| f32_down(self.radius(pixel)))
            .collect()
    }

    /// Stability radius of one pixel.
    pub(crate) fn radius(&self, pixel: usize) -> f64 {
        match (&self.stability, &self.gaps.reach) {
            (Stability::Logits { first, second }, Reach::All(reach)) => {
                self.gaps.radius(first[pixel], second[pixel], *reach)
            }
            (Stability::Radii(radii), _) => radii[pixel],
            // the two are made together
            (Stability::Logits { .. }, Reach::Pairs(..)) => 0.0,
        }
    }

    /// Stability radii of the pixels from `start` on.
    pub(crate) fn stability_radii(&self, start: usize, radii: &mut [f64]) {
        match (&self.stability, &self.gaps.reach) {
            (Stability::Logits { first, second }, Reach::All(reach)) => {
                let pairs = first[start..].iter().zip(&second[start..]);
                for (radius, (&first, &second)) in radii.iter_mut().zip(pairs) {
                    *radius = self.gaps.radius(first, second, *reach);
                }
            }
            (_, _) => {
                for (pixel, radius) in (start..).zip(radii) {
                    *radius = self.radius(pixel);
                }
            }
        }
    }

    /// Radii to make the pixels from `start` on predict `class`.
    pub(crate) fn forced_radii(&self, start: usize, class: u8, radii: &mut [f64]) {
        match (&self.stability, &self.gaps.reach, self.conventions.forced) {
            (Stability::Logits { first, .. }, Reach::All(reach), Forced::Pairwise) => {
                let wanted = &self.image.plane(class)[start..];
                // the class that is predicted has the largest logit, and a gap of 0
                for (radius, (&first, &wanted)) in
                    radii.iter_mut().zip(first[start..].iter().zip(wanted))
                {
                    *radius = self.gaps.radius(first, wanted, *reach);
                }
            }
            (_, _, _) => {
                for (pixel, radius) in (start..).zip(radii) {
                    *radius = self.forced_radius(pixel, class);
                }
            }
        }
    }

    fn largest_finite(&self) -> f64 {
        match (&self.stability, &self.gaps.reach) {
            // the radius rises with the gap, rounded as it may be
            (Stability::Logits { first, second }, Reach::All(reach)) => {
                // eight at a time, so that no comparison waits for the last
                let mut lanes = [0f32; 8];
                let (eights, rest) = first.as_chunks::<8>();
                let (others, other_rest) = second.as_chunks::<8>();
                let rests = rest
                    .iter()
                    .zip(other_rest)
                    .map(|(first, second)| first - second);
                for (first, second) in eights.iter().zip(others) {
                    for lane in 0..8 {
                        let gap = first[lane] - second[lane];
                        lanes[lane] = if gap > lanes[lane] { gap } else { lanes[lane] };
                    }
                }
                // a gap beyond f32 is half of it at least
                let gap = lanes.into_iter().chain(rests).fold(0.0, f32::max);
                (f64::from(gap.min(f32::MAX)) * reach).min(f64::MAX)
            }
            (_, _) => {
                let finite = self.radii().into_iter().filter(|radius| radius.is_finite());
                finite.fold(0.0, f64::max)
            }
        }
    }

    /// The image.
    pub fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// The premises.
    pub fn premises(&self) -> &Premises {
        &self.premises
    }

    /// The conventions.
    pub fn conventions(&self) -> &Conventions {
        &self.conventions
    }

    /// The costs of all lists of this picture.
    pub(crate) fn power(&self) -> Power {
        Power::new(self.premises.norm, self.largest)
    }

    /// Lower bound of the radius to make `pixel` predict `class`, 0 where it is predicted already:
    /// the pairwise bound against each class above it, or the exact cost, as the conventions say.
    pub(crate) fn forced_radius(&self, pixel: usize, class: u8) -> f64 {
        let top = self.predictions[pixel];
        if top == class {
            return 0.0;
        }
        let wanted = self.image.plane(class)[pixel];
        match self.gaps.reach {
            Reach::All(reach) => {
                let logit = match &self.stability {
                    Stability::Logits { first, .. } => first[pixel],
                    Stability::Radii(_) => self.image.plane(top)[pixel],
                };
                let pairwise = self.gaps.radius(logit, wanted, reach);
                if self.conventions.forced == Forced::Exact && self.premises.norm.p() == 2.0 {
                    pairwise.max(self.water_level(pixel, class))
                } else {
                    pairwise
                }
            }
            Reach::Pairs(classes, _) => {
                let others = (0..=u8::MAX).take(classes).filter(|&j| j != class);
                let radius = |j: u8| {
                    let logit = self.image.plane(j)[pixel];
                    self.gaps.radius(logit, wanted, self.gaps.pair(class, j))
                };
                others.map(radius).fold(0.0, f64::max)
            }
        }
    }

    /// Exact l2 cost of forcing a class: raise it to a level, cut all above down to it. The level
    /// is the mean of what it moves, as water finds its own. Rounded down.
    fn water_level(&self, pixel: usize, class: u8) -> f64 {
        let classes = self.image.grid().classes;
        let wanted = self.image.plane(class)[pixel];
        let mut above: Vec<f64> = (0..=u8::MAX)
            .take(classes)
            .map(|j| self.gaps.margin(self.image.plane(j)[pixel], wanted))
            .filter(|&margin| margin > 0.0)
            .collect();
        above.sort_unstable_by(|a, b| b.total_cmp(a));
        // logits relative to the forced one, which is 0
        let (mut sum, mut moved) = (0.0, 1.0);
        for &margin in &above {
            if margin * moved <= sum {
                break;
            }
            sum += margin;
            moved += 1.0;
        }
        let level = sum / moved;
        let cut = above.iter().map(|margin| (margin - level).max(0.0).powi(2));
        let cost = level * level + cut.sum::<f64>();
        // The level is off by K roundings, its square and the sum by as many again; the cost is
        // flat around the best level. Differences err by their minuend, which is in the sum too.
        let slack = 1.0 - (8.0 * classes as f64 + 32.0) * f64::EPSILON;
        floor_of_normal(cost.sqrt() * slack * finite(1.0 / self.premises.lipschitz)).min(f64::MAX)
    }
}

/// From gaps of two logits to radii, rounded down.
#[derive(Clone, Debug)]
struct Gaps {
    /// 2·eta or 4·eta, rounded up.
    etas: f64,
    reach: Reach,
}

/// Radius of a gap of 1.
#[derive(Clone, Debug)]
enum Reach {
    /// Of any two classes.
    All(f64),
    /// Of each two: [y·classes + j].
    Pairs(usize, Vec<f64>),
}

impl Gaps {
    fn new(premises: &Premises, reach: Reach) -> Self {
        let etas = premises.claim.etas() * premises.eta;
        Gaps { etas, reach }
    }

    fn pair(&self, y: u8, j: u8) -> f64 {
        match &self.reach {
            Reach::All(reach) => *reach,
            Reach::Pairs(classes, table) => table[usize::from(y) * classes + usize::from(j)],
        }
    }

    /// Gap of two logits less 2·eta, at least 0. Each subtraction is off by half of 2^-52 of what
    /// it gives, which the factor behind it takes back.
    fn margin(&self, top: f32, below: f32) -> f64 {
        const DOWN: f64 = 1.0 - f64::EPSILON;
        let gap = (f64::from(top) - f64::from(below)) * DOWN;
        let margin = (gap - self.etas) * DOWN;
        if margin > 0.0 { margin } else { 0.0 }
    }

    fn radius(&self, top: f32, below: f32, reach: f64) -> f64 {
        let margin = self.margin(top, below);
        // 0·inf: classes with equal rows and equal logits are tied
        let largest = if reach.is_finite() { f64::MAX } else { reach };
        if margin > 0.0 {
            floor_of_normal(margin * reach).min(largest)
        } else {
            0.0
        }
    }
}

/// A quotient rounded down, finite, and 0 where it would lose digits below the normal range.
fn finite(quotient: f64) -> f64 {
    floor_of_normal(quotient * (1.0 - 4.0 * f64::EPSILON)).min(f64::MAX)
}

fn floor_of_normal(value: f64) -> f64 {
    if value < f64::MIN_POSITIVE {
        0.0
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Norm;
    use crate::testing::{TIGHT, below_and_close};

    const TWO: Grid = Grid {
        classes: 2,
        height: 1,
        width: 1,
    };

    fn premises(norm: Norm, lipschitz: f64) -> Premises {
        Premises::new(norm, lipschitz, 0.0).unwrap()
    }

    fn radius(logits: &[f32; 2], premises: Premises) -> f64 {
        margins(&Image::new(TWO, logits, None, None).unwrap(), &premises)
            .unwrap()
            .radii()[0]
    }

    #[test]
    fn logit_not_finite() {
        let grid = Grid::new(3, 1, 2).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let logits = [0.0, 0.0, 0.0, 0.0, 0.0, bad];
            let image = Image::new(grid, &logits, None, None).unwrap();
            let error = margins(&image, &premises(Norm::L2, 1.0)).unwrap_err();
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
        let p = Premises::new(Norm::L1, 1.0, 0.125).unwrap();
        below_and_close(radius(&[1.0, 0.0], p), 0.75, TIGHT).unwrap();
        assert_eq!(radius(&[1.0, 0.75], p), 0.0);
        let blind = Premises::new(Norm::L1, 1.0, f64::MAX).unwrap();
        assert_eq!(radius(&[1.0, 0.0], blind), 0.0);
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
