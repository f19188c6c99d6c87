//! Projected gradient descent: the attack of paper 002 (App. C.1) with the two repairs that make it
//! one, a unit gradient and a real projection (its printed form always rescales onto the sphere, its
//! code leaves the ball), and with other steps and losses what Rony et al. 2023 run.

use serde::{Deserialize, Serialize};

use super::gate::{Ball, length};
use super::{Attacked, Best, Duel, Loss, at_least};
use crate::error::Result;
use crate::rng::Rng;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pgd {
    /// Gradient steps; one forward pass more is run.
    pub steps: usize,
    /// Length of a step in units of the budget.
    pub step: f64,
    /// Whether to start at a random point of the ball instead of the clean picture.
    pub random_start: bool,
    /// Steps along μ times the last direction plus the gradient divided by its l1 norm (MI-FGSM).
    pub momentum: Option<f64>,
    /// What is increased.
    pub loss: Loss,
}

impl Default for Pgd {
    fn default() -> Self {
        Self {
            steps: 20,
            step: 0.25,
            random_start: false,
            momentum: None,
            loss: Loss::CE_TAU,
        }
    }
}

/// Attacks one picture within a budget and returns the iterate that won most (the clean picture,
/// where none won).
///
/// # Errors
/// [`crate::Error::Setting`] for settings out of range; those of the network.
pub fn pgd(duel: &Duel, ball: &Ball, settings: &Pgd, rng: &mut Rng) -> Result<Attacked> {
    settings.check()?;
    let clean = duel.scene.image;
    let mut best = Best::new(duel);
    let mut moving = vec![0.0; clean.len()];
    let mut delta = vec![0.0; clean.len()];
    if settings.random_start {
        delta = start(duel, ball, rng);
    }
    for step in 0..settings.steps {
        let image = ball.show(&delta, clean);
        let progress = step as f64 / settings.steps as f64;
        let (view, gradient) =
            duel.pull(&image, |view| settings.loss.of(&duel.aim, view, progress).1)?;
        best.offer(&image, &view, step);
        let towards = match settings.momentum {
            None => gradient,
            Some(mu) => {
                let sum = gradient.iter().map(|g| g.abs()).sum::<f64>();
                let scale = 1.0 / sum.max(f64::MIN_POSITIVE);
                for (m, g) in moving.iter_mut().zip(&gradient) {
                    *m = mu * *m + g * scale;
                }
                moving.clone()
            }
        };
        for (d, g) in delta.iter_mut().zip(ball.direction(&towards)) {
            *d += settings.step * ball.eps() * g;
        }
        ball.project(&mut delta, clean);
    }
    let image = ball.show(&delta, clean);
    best.offer(&image, &duel.look(&image)?, settings.steps);
    Ok(best.attacked(duel, ball))
}

impl Pgd {
    fn check(&self) -> Result<()> {
        at_least("step", self.step, 0.0)?;
        at_least("momentum", self.momentum.unwrap_or(0.0), 0.0)?;
        self.loss.check()
    }
}

/// A random change: l2 of a Gaussian direction and a length uniform in [0, eps], l∞ uniform in the
/// ball.
pub fn start(duel: &Duel, ball: &Ball, rng: &mut Rng) -> Vec<f64> {
    let clean = duel.scene.image;
    let linf = ball.norm() == certiseg_cert::Norm::LINF;
    let mut delta: Vec<f64> = match linf {
        true => clean
            .iter()
            .map(|_| ball.eps() * (2.0 * rng.uniform() - 1.0))
            .collect(),
        false => clean.iter().map(|_| rng.normal()).collect(),
    };
    duel.scene.mask(&mut delta);
    if !linf {
        let factor = ball.eps() * rng.uniform() / length(&delta).max(f64::MIN_POSITIVE);
        delta.iter_mut().for_each(|d| *d *= factor);
    }
    ball.project(&mut delta, clean);
    delta
}
