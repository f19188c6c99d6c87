//! The adaptive mask attack as the library has it, for parity only: it raises the *true* logit of
//! pixels that are wrong already, which is the targeted form, and repairs pixels where no target is.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::criterion::{Aim, View};
use super::super::gate::into_box;
use super::super::{Attacked, Duel};
use super::tracks::{Tracks, only};
use super::{Goal, at_least, show};
use crate::error::Result;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asma {
    /// Steps.
    pub steps: usize,
    /// The least length of a step (τ); the first one.
    pub least: f64,
    /// What the mean IoU of the iterate adds to it (β).
    pub slope: f64,
    /// Whether to look at what the last step made.
    pub last: bool,
}

impl Default for Asma {
    fn default() -> Self {
        Self {
            steps: 1000,
            least: 1e-7,
            slope: 1e-6,
            last: true,
        }
    }
}

/// The attack, on one picture: in the library pictures of a batch share their mean IoU.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn asma(duel: &Duel, goal: Goal, settings: &Asma) -> Result<Attacked> {
    asma_ahead(duel, &[goal], settings).map(only)
}

/// The attack for several goals in one run.
pub(super) fn asma_ahead(duel: &Duel, goals: &[Goal], settings: &Asma) -> Result<Vec<Attacked>> {
    at_least("least", settings.least, 0.0)?;
    at_least("slope", settings.slope, 0.0)?;
    let clean = duel.scene.image;
    let mut tracks = Tracks::new(duel, goals, Norm::L2);
    let mut delta = vec![0.0; clean.len()];
    for step in 0..settings.steps {
        let image = show(&delta, clean);
        let (view, gradient) = duel.pull(&image, |view| {
            let mut weights = vec![0.0; view.logits.len()];
            for (wish, &done) in duel.aim.wishes.iter().zip(&view.adversarial) {
                // predicted as another class than that of the wish
                if done != wish.join {
                    weights[duel.aim.place(wish.class, wish.pixel)] += 1.0;
                }
            }
            weights
        })?;
        tracks.offer(&image, &view, step);
        let length = match step {
            0 => settings.least,
            _ => settings.slope * mean_iou(&duel.aim, &view) + settings.least,
        };
        for (d, g) in delta.iter_mut().zip(&gradient) {
            *d += length * (g - 2.0 * *d);
        }
        into_box(&mut delta, clean);
    }
    tracks.finish(settings.last.then_some((&delta, settings.steps)))
}

/// Over all classes of the network; absent ones count 0.
fn mean_iou(aim: &Aim, view: &View) -> f64 {
    let classes = aim.classes();
    let mut counts = vec![[0.0; 3]; classes];
    for (at, wish) in aim.wishes.iter().enumerate() {
        let is_class = view.adversarial[at] == wish.join;
        let predicted = if is_class {
            wish.class
        } else {
            view.rivals[at]
        };
        counts[usize::from(wish.class)][0] += 1.0;
        counts[usize::from(predicted)][1] += 1.0;
        counts[usize::from(wish.class)][2] += f64::from(u8::from(is_class));
    }
    let iou = |[own, predicted, both]: [f64; 3]| both / (own + predicted - both + 1e-6);
    counts.into_iter().map(iou).sum::<f64>() / classes as f64
}

#[cfg(test)]
mod tests {
    use super::super::super::{Criterion, Scene};
    use super::*;

    #[test]
    fn the_mean_iou_counts_absent_classes_as_nothing() {
        let image = [0.5; 9];
        let scene = Scene::new(&image, &[0, 0, 1], [1, 3]).unwrap();
        let accuracy = Criterion::Metric(certiseg_cert::Metric::Accuracy);
        // predicted 0 1 1 of three classes
        let logits = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        let aim = accuracy.aim(&scene, 3, &logits).unwrap();
        let found = mean_iou(&aim, &aim.view(logits.to_vec()));
        assert!((found - (0.5 + 0.5 + 0.0) / 3.0).abs() < 1e-6);
    }
}
