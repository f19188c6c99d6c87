//! Makes a success smaller: descent on a shrinking sphere from where an attack ended, against the
//! smooth count of the pixels that are cheapest there; what direction and norm decoupled do from the
//! clean picture, with strides in units of the radius. Ours; l2.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::gate::{difference, into_box, length};
use super::super::losses::{Form, Loss};
use super::super::{Attacked, Duel, Passes};
use super::frame::{Masking, drop_wishes};
use super::track::{Track, radial};
use super::{Goal, at_least, cosine, factor, show};
use crate::error::Result;

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refine {
    /// Steps, and 12 halvings at the end, one forward pass each.
    pub steps: usize,
    /// The first stride over the radius; falls to its hundredth.
    pub stride: f64,
    /// By which share the radius changes at first; falls to its fiftieth.
    pub grain: f64,
    /// What is increased.
    pub loss: Loss,
    /// What its scale is multiplied by over the steps.
    pub sharpens: f64,
    /// Weight of a pixel's margin on the clean picture beside that where the attack is, when the
    /// cheapest pixels are chosen: what it costs to hold one grows with it.
    pub held: f64,
}

impl Default for Refine {
    fn default() -> Self {
        Self {
            steps: 100,
            stride: 0.1,
            grain: 0.05,
            loss: Loss {
                form: Form::SmoothCount,
                scale: 10.0,
            },
            sharpens: 8.0,
            held: 0.3,
        }
    }
}

/// The smallest success found, the given one if none is smaller; failures are returned as they are.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn refine(duel: &Duel, goal: Goal, attacked: Attacked, settings: &Refine) -> Result<Attacked> {
    at_least("stride", settings.stride, 0.0)?;
    factor("grain", settings.grain)?;
    at_least("sharpens", settings.sharpens, 1.0)?;
    at_least("held", settings.held, 0.0)?;
    settings.loss.check()?;
    if !attacked.success {
        return Ok(attacked);
    }
    let (clean, steps) = (duel.scene.image, settings.steps);
    let mut track = Track::new(duel, goal, Norm::L2);
    let mut delta = difference(&attacked.image, clean);
    let mut eps = length(&delta);
    for step in 0..steps {
        let falls = cosine(step, steps);
        let sharper = settings.sharpens.powf(step as f64 / steps as f64);
        let loss = Loss {
            scale: settings.loss.scale * sharper,
            ..settings.loss
        };
        let image = show(&delta, clean);
        let (view, gradient) = duel.pull(&image, |view| {
            let (_, mut slopes) = loss.of(&duel.aim, view, 0.0);
            let margins = view.margins.iter().zip(&duel.clean.margins);
            let costs: Vec<f64> = margins
                .map(|(m, clean)| m + settings.held * clean)
                .collect();
            let kept = Masking::Whole.kept(goal, &costs, step, steps);
            drop_wishes(&duel.aim, &kept, &mut slopes);
            slopes
        })?;
        let grain = settings.grain * (0.02 + 0.98 * falls);
        eps = match track.offer(&image, &view, step) {
            true => eps * (1.0 - grain),
            false => (eps * (1.0 + grain)).min(track.least()),
        };
        let stride = settings.stride * eps * (0.01 + 0.99 * falls);
        let scale = stride / length(&gradient).max(f64::MIN_POSITIVE);
        let moves = delta.iter_mut().zip(&gradient);
        moves.for_each(|(d, g)| *d += scale * g);
        let scale = eps / length(&delta).max(f64::MIN_POSITIVE);
        delta.iter_mut().for_each(|d| *d *= scale);
        into_box(&mut delta, clean);
    }
    let found = radial(
        duel,
        goal,
        Norm::L2,
        track.finish(Some((&delta, steps)))?,
        12,
    )?;
    let passes = Passes {
        forward: attacked.passes.forward + found.passes.forward,
        backward: attacked.passes.backward + found.passes.backward,
    };
    let smaller = found.success && found.distance <= attacked.distance;
    let best = if smaller { found } else { attacked };
    Ok(Attacked { passes, ..best })
}
