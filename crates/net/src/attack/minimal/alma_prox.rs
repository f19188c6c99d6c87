//! The augmented Lagrangian attack in l∞ with a proximal step of the norm (Rony et al. 2022), as
//! coded in the library: its penalty has a slope of μy where the derivative is μ.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::{Attacked, Duel};
use super::alma::Prices;
use super::frame::{Constraint, Masking, Penalty};
use super::prox::prox_linf_in_box;
use super::track::Track;
use super::{Goal, at_least, factor, fraction, show};
use crate::error::Result;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlmaProx {
    /// Steps.
    pub steps: usize,
    /// The first rate.
    pub rate: f64,
    /// The last rate over the first.
    pub rate_falls: f64,
    /// The first multiplier (μ).
    pub multiplier: f64,
    /// The first penalty (ρ).
    pub penalty: f64,
    /// Steps between two checks of the penalties (M).
    pub check_every: usize,
    /// Share to which a constraint must have fallen by then (τ).
    pub falls_to: f64,
    /// Factor on the penalties of those that have not (γ).
    pub grows: f64,
    /// How much of their running means multipliers and squares keep (α).
    pub memory: f64,
    /// Least scale of the constraints; the largest and first is 1.
    pub least_scale: f64,
    /// By which share the scale changes.
    pub grain: f64,
    /// Added to margins.
    pub tolerance: f64,
    /// Which constraints count.
    pub masking: Masking,
    /// The slope of the penalty as the library has it, not the derivative.
    pub as_coded: bool,
    /// Whether to look at what the last step made.
    pub last: bool,
}

impl Default for AlmaProx {
    fn default() -> Self {
        Self {
            steps: 500,
            rate: 1e-3,
            rate_falls: 0.1,
            multiplier: 1.0,
            penalty: 0.01,
            check_every: 10,
            falls_to: 0.95,
            grows: 2.0,
            memory: 0.8,
            least_scale: 0.1,
            grain: 0.02,
            tolerance: 1e-4,
            masking: Masking::Decay,
            as_coded: true,
            last: true,
        }
    }
}

impl AlmaProx {
    fn check(&self) -> Result<()> {
        at_least("rate", self.rate, 0.0)?;
        at_least("multiplier", self.multiplier, 0.0)?;
        at_least("penalty", self.penalty, 0.0)?;
        at_least("check_every", self.check_every as f64, 1.0)?;
        at_least("grows", self.grows, 1.0)?;
        at_least("tolerance", self.tolerance, 0.0)?;
        fraction("memory", self.memory)?;
        fraction("grain", self.grain)?;
        factor("falls_to", self.falls_to)?;
        factor("least_scale", self.least_scale)?;
        factor("rate_falls", self.rate_falls)
    }
}

/// The attack.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn alma_prox(duel: &Duel, goal: Goal, settings: &AlmaProx) -> Result<Attacked> {
    settings.check()?;
    let (clean, all) = (duel.scene.image, settings.steps);
    let constraint = Constraint::Ratio(settings.tolerance);
    let rule = Penalty {
        coded: settings.as_coded,
    };
    let mut track = Track::new(duel, goal, Norm::LINF);
    let mut delta = vec![0.0; clean.len()];
    let mut squares = vec![0.0; clean.len()];
    let mut prices = Prices::new(duel.aim.wishes.len(), settings.multiplier, settings.penalty);
    let (mut scale, mut found_at) = (1.0, all / 2);
    for step in 0..all {
        let image = show(&delta, clean);
        let mut next = None;
        let (view, gradient) = duel.pull(&image, |view| {
            let change = if goal.is_met(view) {
                settings.grain
            } else {
                -settings.grain
            };
            let scale = (scale / (1.0 + change)).clamp(settings.least_scale, 1.0);
            let values = constraint.values(&duel.aim, view);
            let values: Vec<f64> = values.into_iter().map(|value| scale * value).collect();
            let kept = settings.masking.kept(goal, &values, step, all);
            let mut now = prices.clone();
            let due = (step + 1) % settings.check_every == 0;
            now.see(
                view,
                &values,
                &kept,
                step,
                due,
                [settings.falls_to, settings.grows],
            );
            let slopes = now.weigh(rule, &values, &kept, step, settings.memory);
            next = Some((now, scale));
            let weights: Vec<f64> = slopes.iter().map(|slope| scale * slope).collect();
            constraint.pull(&duel.aim, view, &weights)
        })?;
        (prices, scale) = next.unwrap_or((prices, scale));
        let before = track.met();
        // late successes leave the rate as it is
        if track.offer(&image, &view, step) && !before && step < all / 2 {
            found_at = step;
        }
        let rate = settings.rate_at(step, found_at);
        let unbias = 1.0 - settings.memory.powi(step as i32 + 1);
        let mut metric = Vec::with_capacity(clean.len());
        for (at, &g) in gradient.iter().enumerate() {
            squares[at] = settings.memory * squares[at] + (1.0 - settings.memory) * g * g;
            let h = (squares[at] / unbias).sqrt().max(1e-8);
            delta[at] -= rate * g / h;
            metric.push(h);
        }
        delta = prox_linf_in_box(&delta, &metric, rate, clean);
    }
    track.finish(settings.last.then_some((&delta, all)))
}

impl AlmaProx {
    fn rate_at(&self, step: usize, found_at: usize) -> f64 {
        if self.rate_falls == 1.0 {
            return self.rate;
        }
        let left = (self.steps - found_at).max(1) as f64;
        let tangent = self.rate_falls / (1.0 - self.rate_falls) * left;
        self.rate * tangent / (step.saturating_sub(found_at) as f64 + tangent)
    }
}
