//! The augmented Lagrangian attack in l2: one penalty per pixel, whose multipliers follow a running
//! mean, on ratios of margins; scaled gradient descent with momentum.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::criterion::View;
use super::super::gate::{into_box, length};
use super::super::{Attacked, Duel};
use super::frame::{Constraint, Masking, Penalty};
use super::track::Track;
use super::{Goal, at_least, factor, fraction, show};
use crate::error::Result;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alma {
    /// Steps.
    pub steps: usize,
    /// The first rate; not used where `first` is given.
    pub rate: f64,
    /// The last rate over the first; falls exponentially after the first success.
    pub rate_falls: f64,
    /// Length that a first plain step would have; 0: `rate` is taken.
    pub first: f64,
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
    /// How much of their running means multipliers, squares and momentum keep (α).
    pub memory: f64,
    /// Added to margins.
    pub tolerance: f64,
    /// Whether margins are divided by the distance of the first and the third logit.
    pub ratio: bool,
    /// Which constraints count.
    pub masking: Masking,
    /// Whether to look at what the last step made.
    pub last: bool,
}

impl Default for Alma {
    fn default() -> Self {
        Self {
            steps: 1000,
            rate: 0.1,
            rate_falls: 0.01,
            first: 0.0,
            multiplier: 1e-4,
            penalty: 1.0,
            check_every: 10,
            falls_to: 0.95,
            grows: 1.2,
            memory: 0.9,
            tolerance: 1e-4,
            ratio: true,
            masking: Masking::Off,
            last: true,
        }
    }
}

impl Alma {
    /// 500 steps, the first of length 1, masking that decays.
    pub fn rony_2023() -> Self {
        Self {
            steps: 500,
            rate_falls: 0.1,
            first: 1.0,
            memory: 0.8,
            masking: Masking::Decay,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<()> {
        at_least("rate", self.rate, 0.0)?;
        at_least("first", self.first, 0.0)?;
        at_least("multiplier", self.multiplier, 0.0)?;
        at_least("penalty", self.penalty, 0.0)?;
        at_least("check_every", self.check_every as f64, 1.0)?;
        at_least("grows", self.grows, 1.0)?;
        at_least("tolerance", self.tolerance, 0.0)?;
        fraction("memory", self.memory)?;
        factor("falls_to", self.falls_to)?;
        factor("rate_falls", self.rate_falls)
    }
}

/// The attack.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn alma(duel: &Duel, goal: Goal, settings: &Alma) -> Result<Attacked> {
    settings.check()?;
    let (clean, all) = (duel.scene.image, settings.steps);
    let constraint = match settings.ratio {
        true => Constraint::Ratio(settings.tolerance),
        false => Constraint::Margin,
    };
    let mut track = Track::new(duel, goal, Norm::L2);
    let mut delta = vec![0.0; clean.len()];
    let (mut squares, mut momentum) = (vec![1.0; clean.len()], vec![0.0; clean.len()]);
    let mut prices = Prices::new(duel.aim.wishes.len(), settings.multiplier, settings.penalty);
    let mut rate = settings.rate;
    let mut found_at = all / 2;
    for step in 0..all {
        let image = show(&delta, clean);
        let mut next = None;
        let (view, mut gradient) = duel.pull(&image, |view| {
            let values = constraint.values(&duel.aim, view);
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
            let rule = Penalty { coded: false };
            let weights = now.weigh(rule, &values, &kept, step, settings.memory);
            next = Some(now);
            constraint.pull(&duel.aim, view, &weights)
        })?;
        prices = next.unwrap_or(prices);
        let before = track.met();
        if track.offer(&image, &view, step) && !before {
            found_at = step;
        }
        let size = length(&delta);
        if size > 0.0 {
            let numbers = gradient.iter_mut().zip(&delta);
            numbers.for_each(|(g, d)| *g += d / size);
        }
        if step == 0 && settings.first > 0.0 {
            rate = rate_of(settings.first, &gradient, clean);
        }
        let late = step.saturating_sub(found_at) as f64 / (all - found_at) as f64;
        let rate = rate * settings.rate_falls.powf(late);
        let keep = settings.memory;
        for (at, &g) in gradient.iter().enumerate() {
            squares[at] = keep * squares[at] + (1.0 - keep) * g * g;
            momentum[at] = keep * momentum[at] + g / (squares[at].sqrt() + 1e-8);
            delta[at] -= rate * momentum[at];
        }
        into_box(&mut delta, clean);
    }
    track.finish(settings.last.then_some((&delta, all)))
}

/// The rate at which a plain step within the box has this length, by doubling and bisection; 1 where
/// the box or the gradient allows no such step.
fn rate_of(first: f64, gradient: &[f64], clean: &[f32]) -> f64 {
    let step = |rate: f64| {
        let mut step: Vec<f64> = gradient.iter().map(|g| -rate * g).collect();
        into_box(&mut step, clean);
        length(&step)
    };
    let mut high = 1.0;
    while step(high) < first {
        high *= 2.0;
        if high > 1e30 {
            return 1.0;
        }
    }
    let mut low = 0.0;
    for _ in 0..20 {
        let middle = (low + high) / 2.0;
        match step(middle) < first {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}

/// Multipliers and penalties of the pixels.
#[derive(Clone)]
pub(super) struct Prices {
    multipliers: Vec<f64>,
    penalties: Vec<f64>,
    before: Vec<f64>,
    /// Won at any step since the last check.
    hit: Vec<bool>,
}

impl Prices {
    pub(super) fn new(pixels: usize, multiplier: f64, penalty: f64) -> Self {
        Self {
            multipliers: vec![multiplier; pixels],
            penalties: vec![penalty; pixels],
            before: Vec::new(),
            hit: vec![false; pixels],
        }
    }

    /// Raises, where a check is due, the penalties of pixels that were not won since the last one and
    /// whose constraints have not fallen enough.
    pub(super) fn see(
        &mut self,
        view: &View,
        values: &[f64],
        kept: &[bool],
        step: usize,
        due: bool,
        [falls_to, grows]: [f64; 2],
    ) {
        for (hit, &now) in self.hit.iter_mut().zip(&view.adversarial) {
            *hit |= now;
        }
        if step == 0 {
            self.before = values.to_vec();
        } else if due {
            for (at, penalty) in self.penalties.iter_mut().enumerate() {
                let value = if kept[at] { values[at] } else { 0.0 };
                if !self.hit[at] && value > falls_to * self.before[at] {
                    *penalty *= grows;
                }
            }
            self.before = values.to_vec();
            self.hit.fill(false);
        }
    }

    /// Moves the multipliers, but for the first step, and gives the slopes of the penalties.
    pub(super) fn weigh(
        &mut self,
        rule: Penalty,
        values: &[f64],
        kept: &[bool],
        step: usize,
        memory: f64,
    ) -> Vec<f64> {
        let penalties = self.penalties.iter().zip(&mut self.multipliers);
        let pixels = penalties.zip(values).zip(kept);
        let slope = |(((&rho, mu), &value), &kept): (((&f64, &mut f64), &f64), &bool)| {
            let slope = |mu: f64| {
                if kept {
                    rule.slope(value, rho, mu)
                } else {
                    0.0
                }
            };
            if step > 0 {
                *mu += (1.0 - memory) * (slope(*mu) - *mu);
                *mu = mu.clamp(1e-12, 1.0);
            }
            slope(*mu)
        };
        pixels.map(slope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rate_gives_the_length_asked_for() {
        let gradient = [0.3, -0.4, 0.0];
        let rate = rate_of(0.25, &gradient, &[0.5; 3]);
        assert!((rate - 0.5).abs() < 1e-5);
        // the box allows 0.7 at most
        assert_eq!(rate_of(2.0, &gradient, &[0.5; 3]), 1.0);
    }

    #[test]
    fn multipliers_stay_within_their_range() {
        let mut prices = Prices::new(2, 0.5, 1e6);
        let rule = Penalty { coded: false };
        let slopes = prices.weigh(rule, &[3.0, -3.0], &[true, true], 1, 0.5);
        assert_eq!(prices.multipliers[0], 1.0);
        assert!((prices.multipliers[1] - 0.25).abs() < 1e-6);
        assert!(slopes[0] > 1.0 && slopes[1] < 1e-12);
    }
}
