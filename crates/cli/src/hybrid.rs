//! Mean logits of a Lipschitz network under noise, all pixels sharing one budget.

use anyhow::Result;
use certiseg_cert::smoothing::{IGNORE, MeanLogits};
use certiseg_net::smooth::Means;

/// What the bound of an image rests on.
pub struct Grounds {
    /// Joint l2 constant of the network.
    pub lipschitz: f64,
    /// Error of each logit: that of the picture without noise, assumed of noisy ones.
    pub eta: f64,
    /// Deviation of the noise.
    pub sigma: f64,
    /// Level of the image.
    pub alpha: f64,
    /// Whether the samples that are averaged chose the classes too.
    pub same_samples: bool,
}

/// Share of the pixels whose class is the argmax of the mean logits, whatever changes within each eps; rounded down.
/// `classes` below `count`, or 255 of pixels that do not count; none where no pixel counts.
pub fn shares(
    means: &Means,
    (classes, count): (&[u8], usize),
    grounds: &Grounds,
    eps: &[f64],
) -> Result<Vec<Option<f64>>> {
    let counts = |class: &u8| *class != IGNORE;
    let some = |class: &u8| if counts(class) { *class } else { 0 };
    let gaps = means.gaps(&classes.iter().map(some).collect::<Vec<_>>())?;
    let counted = gaps.iter().zip(classes).filter(|(_, class)| counts(class));
    let left = |(gap, _): (&f64, _)| (gap - 2.0 * grounds.eta).next_down();
    let gaps: Vec<f64> = counted.map(left).collect();
    if gaps.is_empty() {
        return Ok(vec![None; eps.len()]);
    }
    let bound = MeanLogits {
        lipschitz: grounds.lipschitz,
        sigma: grounds.sigma,
        samples: means.samples(),
        pixels: gaps.len(),
        classes: count,
        alpha: grounds.alpha,
        allowed: 0,
        same_samples: grounds.same_samples,
    };
    let certified = bound.certify(&gaps, &vec![true; gaps.len()])?;
    let share = |eps: &f64| Ok(Some(certified.accuracy(*eps)?.lower()));
    eps.iter().map(share).collect()
}
