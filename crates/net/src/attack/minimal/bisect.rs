//! The least budget at which gradient descent meets a goal.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::losses::{Form, Loss};
use super::super::pgd::{Pgd, pgd};
use super::super::{Attacked, Ball, Duel};
use super::track::Track;
use super::{Goal, at_least};
use crate::error::Result;
use crate::rng::Rng;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinimalPgd {
    /// Budgets tried.
    pub halvings: usize,
    /// The first budget, half of the largest.
    pub first: f64,
    /// The norm, 2 or inf.
    pub norm: Norm,
    /// What is run within each.
    pub attack: Pgd,
}

impl Default for MinimalPgd {
    fn default() -> Self {
        Self {
            halvings: 20,
            first: 80.0,
            norm: Norm::L2,
            attack: Pgd {
                steps: 40,
                step: 0.1 / 3.0,
                loss: Loss::plain(Form::CrossEntropy),
                ..Pgd::default()
            },
        }
    }
}

impl MinimalPgd {
    /// 13 halvings from 80 (l2) or 1 (l∞).
    pub fn rony_2023(norm: Norm) -> Self {
        Self {
            halvings: 13,
            first: if norm == Norm::LINF { 1.0 } else { 80.0 },
            norm,
            ..Self::default()
        }
    }
}

/// The attack. The step of the result is the halving.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn minimal_pgd(
    duel: &Duel,
    goal: Goal,
    settings: &MinimalPgd,
    rng: &mut Rng,
) -> Result<Attacked> {
    at_least("first", settings.first, 0.0)?;
    let mut track = Track::new(duel, goal, settings.norm);
    let (mut low, mut high) = (0.0, 2.0 * settings.first);
    track.offer(duel.scene.image, &duel.clean, 0);
    for step in 1..=settings.halvings {
        let eps = (low + high) / 2.0;
        let ball = Ball::new(settings.norm, eps)?;
        let attacked = pgd(duel, &ball, &settings.attack, rng)?;
        match track.offer(&attacked.image, &duel.look(&attacked.image)?, step) {
            true => high = eps,
            false => low = eps,
        }
    }
    track.finish(None)
}
