//! Direction and norm decoupled: steps along the gradient of the cross-entropy on a sphere that
//! shrinks on success and grows otherwise.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::gate::{into_box, length};
use super::super::losses::{Form, Loss};
use super::super::{Attacked, Duel};
use super::frame::{Masking, drop_wishes};
use super::track::Track;
use super::{Goal, at_least, cosine, factor, farthest, show};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ddn {
    /// Steps.
    pub steps: usize,
    /// The first radius.
    pub start: f64,
    /// By which share the radius changes (γ).
    pub grain: f64,
    /// Levels that the numbers of a picture are rounded to; 0: none. Rounding moves the picture after
    /// its norm was set, so that the library's 256 are off here.
    pub levels: u32,
    /// What is increased; the library: plain cross-entropy.
    pub loss: Loss,
    /// Which pixels are paid for; the library: all.
    pub masking: Masking,
    /// Whether to look at what the last step made.
    pub last: bool,
}

impl Default for Ddn {
    fn default() -> Self {
        Self {
            steps: 100,
            start: 1.0,
            grain: 0.05,
            levels: 0,
            loss: Loss::plain(Form::CrossEntropy),
            masking: Masking::Off,
            last: true,
        }
    }
}

impl Ddn {
    /// 500 steps.
    pub fn rony_2023() -> Self {
        Self {
            steps: 500,
            ..Self::default()
        }
    }
}

/// The attack in l2. Chance: a direction where the gradient is none.
///
/// # Errors
/// [`Error::Setting`]; those of the network.
pub fn ddn(duel: &Duel, goal: Goal, settings: &Ddn, rng: &mut Rng) -> Result<Attacked> {
    at_least("start", settings.start, 0.0)?;
    factor("grain", settings.grain)?;
    settings.loss.check()?;
    if settings.levels == 1 {
        return Err(Error::setting("levels", "1", "0, or at least 2"));
    }
    let clean = duel.scene.image;
    let corner = farthest(Norm::L2, clean);
    let mut track = Track::new(duel, goal, Norm::L2);
    let mut delta = vec![0.0; clean.len()];
    let mut eps = settings.start;
    for step in 0..settings.steps {
        let image = show(&delta, clean);
        let (view, mut gradient) = duel.pull(&image, |view| {
            let progress = step as f64 / settings.steps as f64;
            let (_, mut slopes) = settings.loss.of(&duel.aim, view, progress);
            let kept = settings
                .masking
                .kept(goal, &view.margins, step, settings.steps);
            drop_wishes(&duel.aim, &kept, &mut slopes);
            slopes
        })?;
        let met = track.offer(&image, &view, step);
        if length(&gradient) < 1e-12 {
            gradient.iter_mut().for_each(|g| *g = rng.normal());
            duel.scene.mask(&mut gradient);
        }
        let stride = 0.01 + 0.99 * cosine(step, settings.steps);
        let scale = stride / length(&gradient).max(f64::MIN_POSITIVE);
        let moves = delta.iter_mut().zip(&gradient);
        moves.for_each(|(d, g)| *d += scale * g);
        let change = if met { -settings.grain } else { settings.grain };
        eps = (eps * (1.0 + change)).min(corner);
        let size = length(&delta);
        if size > 0.0 {
            delta.iter_mut().for_each(|d| *d *= eps / size);
        }
        into_box(&mut delta, clean);
        if settings.levels > 1 {
            let top = f64::from(settings.levels - 1);
            for (d, &c) in delta.iter_mut().zip(clean) {
                *d = ((f64::from(c) + *d) * top).round() / top - f64::from(c);
            }
            duel.scene.mask(&mut delta);
        }
    }
    track.finish(settings.last.then_some((&delta, settings.steps)))
}
