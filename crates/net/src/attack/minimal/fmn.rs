//! Fast minimum norm: gradient steps against the mean margin, projected on a ball whose radius
//! follows the distance to the boundary, then success and failure.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::gate::{into_box, length};
use super::super::{Attacked, Duel};
use super::frame::{Constraint, Masking};
use super::track::Track;
use super::{Goal, at_least, cosine, factor, farthest, known, show, size};
use crate::error::Result;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fmn {
    /// Steps.
    pub steps: usize,
    /// The norm, 2 or inf.
    pub norm: Norm,
    /// The first stride (α), l2; falls to its hundredth.
    pub stride: f64,
    /// By which share the radius changes at first (γ); falls to 0.001.
    pub grain: f64,
    /// Which margins are paid for; the library: all.
    pub masking: Masking,
    /// Pay for positive margins only; the library pays for those of pixels already won too.
    pub hinge: bool,
    /// Project as the library does: always onto the sphere, numbers cut at 1.
    pub as_coded: bool,
    /// Whether to look at what the last step made.
    pub last: bool,
}

impl Default for Fmn {
    fn default() -> Self {
        Self {
            steps: 10,
            norm: Norm::L2,
            stride: 1.0,
            grain: 0.05,
            masking: Masking::Off,
            hinge: false,
            as_coded: false,
            last: true,
        }
    }
}

impl Fmn {
    /// 500 steps, in l∞ with a stride of 10.
    pub fn rony_2023(norm: Norm) -> Self {
        Self {
            steps: 500,
            norm,
            stride: if norm == Norm::LINF { 10.0 } else { 1.0 },
            ..Self::default()
        }
    }
}

/// The attack.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn fmn(duel: &Duel, goal: Goal, settings: &Fmn) -> Result<Attacked> {
    known(settings.norm, &[Norm::L2, Norm::LINF])?;
    at_least("stride", settings.stride, 0.0)?;
    factor("grain", settings.grain)?;
    let clean = duel.scene.image;
    let (norm, corner) = (settings.norm, farthest(settings.norm, clean));
    let dual = if norm == Norm::LINF {
        Norm::L1
    } else {
        Norm::L2
    };
    let mut track = Track::new(duel, goal, norm);
    let mut delta = vec![0.0; clean.len()];
    let mut eps = f64::INFINITY;
    for step in 0..settings.steps {
        let falls = cosine(step, settings.steps);
        let stride = settings.stride * (0.01 + 0.99 * falls);
        let grain = 0.001 + (settings.grain - 0.001) * falls;
        let image = show(&delta, clean);
        let mut loss = 0.0;
        let (view, gradient) = duel.pull(&image, |view| {
            let margins = &view.margins;
            let kept = settings.masking.kept(goal, margins, step, settings.steps);
            let paid = kept.iter().zip(margins);
            let paid = paid.map(|(&kept, &m)| kept && (m > 0.0 || !settings.hinge));
            let paid: Vec<bool> = paid.collect();
            let share = -1.0 / paid.iter().filter(|&&paid| paid).count() as f64;
            let weights = paid.iter().map(|&paid| if paid { share } else { 0.0 });
            let weights: Vec<f64> = weights.collect();
            loss = weights.iter().zip(margins).map(|(w, m)| w * m).sum();
            Constraint::Margin.pull(&duel.aim, view, &weights)
        })?;
        let met = track.offer(&image, &view, step);
        eps = match (met, track.met()) {
            (true, _) => (eps * (1.0 - grain)).min(track.least()),
            (false, true) => eps * (1.0 + grain),
            (false, false) => size(norm, &delta) + loss.abs() / size(dual, &gradient).max(1e-12),
        }
        .min(corner);
        let scale = stride / length(&gradient).max(1e-12);
        let moves = delta.iter_mut().zip(&gradient);
        moves.for_each(|(d, g)| *d += scale * g);
        settings.project(&mut delta, eps);
        into_box(&mut delta, clean);
    }
    track.finish(settings.last.then_some((&delta, settings.steps)))
}

impl Fmn {
    fn project(&self, delta: &mut [f64], eps: f64) {
        if self.norm == Norm::LINF {
            delta.iter_mut().for_each(|d| *d = d.clamp(-eps, eps));
            return;
        }
        let size = length(delta).max(1e-12);
        if self.as_coded {
            delta
                .iter_mut()
                .for_each(|d| *d = (*d * (eps / size)).min(1.0));
        } else if size > eps {
            delta.iter_mut().for_each(|d| *d *= eps / size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projection_of_the_library_is_none() {
        let ours = Fmn::default();
        let coded = Fmn {
            as_coded: true,
            ..Fmn::default()
        };
        let project = |fmn: &Fmn, mut delta: [f64; 2], eps| {
            fmn.project(&mut delta, eps);
            delta.map(|d| (d * 1e9).round() / 1e9)
        };
        assert_eq!(project(&ours, [0.03, 0.04], 1.0), [0.03, 0.04]);
        assert_eq!(project(&coded, [0.03, 0.04], 1.0), [0.6, 0.8]);
        assert_eq!(project(&ours, [3.0, 4.0], 2.5), [1.5, 2.0]);
        assert_eq!(project(&coded, [3.0, 4.0], 2.5), [1.0, 1.0]);
    }
}
