//! APGD with any loss of the table (Croce and Hein 2020), and SEA's shrinking budgets (Croce et al. 2024).

use serde::{Deserialize, Serialize};

use super::ascent::{Course, Schedule, ascend};
use super::gate::Ball;
use super::pgd::start;
use super::{Attacked, Best, Duel, Form, Loss};
use crate::error::Result;
use crate::rng::Rng;

/// What says whether steps go well, where the loss that leads them cannot.
const PLAIN: Loss = Loss::plain(Form::CrossEntropy);

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Apgd {
    /// Gradient steps; one forward pass more is run.
    pub steps: usize,
    /// What is increased. Masked, or with `shrinking`, steps are halved by the plain cross-entropy.
    pub loss: Loss,
    /// How steps fall.
    pub schedule: Schedule,
    /// Starts at the clean picture, or where it is given, and so many more at random points.
    pub restarts: usize,
    /// Spends 30, 30, 40 % of the steps in 2, 1.5 and 1 budgets, each part from the last, projected.
    pub shrinking: bool,
}

impl Default for Apgd {
    fn default() -> Self {
        Self {
            steps: 100,
            loss: Loss::CE_TAU,
            schedule: Schedule::Apgd,
            restarts: 0,
            shrinking: false,
        }
    }
}

/// Attacks one picture within a budget and returns the iterate that won most.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn apgd(
    duel: &Duel,
    ball: &Ball,
    settings: &Apgd,
    from: Option<&[f64]>,
    rng: &mut Rng,
) -> Result<Attacked> {
    settings.loss.check()?;
    let mut best = Best::new(duel);
    for restart in 0..=settings.restarts {
        let mut delta = match (restart, from) {
            (0, None) => vec![0.0; duel.scene.image.len()],
            (0, Some(from)) => from.to_vec(),
            _ => start(duel, ball, rng),
        };
        let parts: &[(f64, f64)] = match settings.shrinking {
            true => &[(0.3, 2.0), (0.3, 1.5), (0.4, 1.0)],
            false => &[(1.0, 1.0)],
        };
        for &(share, factor) in parts {
            let ball = Ball::new(ball.norm(), ball.eps() * factor)?;
            ball.project(&mut delta, duel.scene.image);
            let steps = (share * settings.steps as f64).round() as usize;
            let mut here = Best::new(duel);
            ascend(
                duel,
                &ball,
                delta,
                Course {
                    steps,
                    schedule: settings.schedule,
                    first: 1.0,
                },
                &mut |view, step| {
                    let progress = step as f64 / steps as f64;
                    let (value, gradient) = settings.loss.of(&duel.aim, view, progress);
                    let masked = matches!(settings.loss.form, Form::Masked | Form::MaskedBalanced);
                    match masked || settings.shrinking {
                        // as SEA does: a masked loss falls where a pixel is won
                        true => (PLAIN.of(&duel.aim, view, progress).0, gradient),
                        false => (value, gradient),
                    }
                },
                if factor > 1.0 { &mut here } else { &mut best },
            )?;
            delta = here.delta(duel);
        }
    }
    Ok(best.attacked(duel, ball))
}
