//! Dense adversary generation: steps of one length against the margins that are still positive,
//! until the goal is met. Nothing is made smaller after that, so the norm has the grain of the step.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::{Attacked, Duel};
use super::frame::{Constraint, Masking};
use super::tracks::{Tracks, only};
use super::{Goal, at_least, known, show, size};
use crate::error::Result;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dag {
    /// Steps at most.
    pub steps: usize,
    /// Length of a step (γ) in the norm.
    pub step: f64,
    /// The norm, 2 or inf.
    pub norm: Norm,
    /// Which margins are paid for; the library: all.
    pub masking: Masking,
    /// Whether to look at what the last step made.
    pub last: bool,
}

impl Default for Dag {
    fn default() -> Self {
        Self {
            steps: 200,
            step: 0.5,
            norm: Norm::LINF,
            masking: Masking::Off,
            last: true,
        }
    }
}

impl Dag {
    /// Paper 001's norm, 300 steps.
    pub fn l2(step: f64) -> Self {
        Self {
            steps: 300,
            step,
            norm: Norm::L2,
            ..Self::default()
        }
    }

    /// γ = 0.001 or 0.003 in l∞, 500 steps.
    pub fn rony_2023(step: f64) -> Self {
        Self {
            steps: 500,
            step,
            ..Self::default()
        }
    }
}

/// Returns the first success, the clean picture if there is none. Adversarial means a negative
/// margin: ties are not.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn dag(duel: &Duel, goal: Goal, settings: &Dag) -> Result<Attacked> {
    dag_ahead(duel, &[goal], settings).map(only)
}

/// The attack for the first of at least one goal, and in the same run for the others unless masks follow
/// the goal. It
/// ends when all are met.
pub(super) fn dag_ahead(duel: &Duel, goals: &[Goal], settings: &Dag) -> Result<Vec<Attacked>> {
    known(settings.norm, &[Norm::L2, Norm::LINF])?;
    at_least("step", settings.step, 0.0)?;
    let clean = duel.scene.image;
    let (goal, goals) = (goals[0], settings.masking.served(goals));
    let mut tracks = Tracks::new(duel, goals, settings.norm);
    // never clipped itself
    let mut change = vec![0.0; clean.len()];
    for step in 0..settings.steps {
        let image = show(&change, clean);
        let (view, gradient) = duel.pull(&image, |view| {
            let margins = &view.margins;
            let kept = settings.masking.kept(goal, margins, step, settings.steps);
            let pays = kept.iter().zip(margins).map(|(&kept, &m)| kept && m > 0.0);
            let weights: Vec<f64> = pays.map(|pays| f64::from(u8::from(pays))).collect();
            Constraint::Margin.pull(&duel.aim, view, &weights)
        })?;
        if tracks.first(&image, &view, step, fooled(&view.margins)) {
            return tracks.finish(None);
        }
        // what is beyond the box has no gradient
        let numbers = gradient.iter().zip(change.iter().zip(clean));
        let inside =
            numbers.map(
                |(&g, (&d, &c))| match (0.0..=1.0).contains(&(f64::from(c) + d)) {
                    true => g,
                    false => 0.0,
                },
            );
        let gradient: Vec<f64> = inside.collect();
        let scale = settings.step / size(settings.norm, &gradient).max(1e-8);
        let moves = change.iter_mut().zip(&gradient);
        moves.for_each(|(d, g)| *d -= scale * g);
    }
    if settings.last {
        let image = show(&change, clean);
        let view = duel.look(&image)?;
        tracks.first(&image, &view, settings.steps, fooled(&view.margins));
    }
    tracks.finish(None)
}

fn fooled(margins: &[f64]) -> usize {
    margins.iter().filter(|&&margin| margin < 0.0).count()
}
