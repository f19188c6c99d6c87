//! Primal-dual gradient descent: Adam on the norm plus margins, weighted by multipliers that rise
//! while their pixels stand. Parts of it serve [`super::pdpgd`].

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::gate::{into_box, length};
use super::super::{Attacked, Duel};
use super::frame::{Constraint, Masking};
use super::tracks::{Tracks, only};
use super::{Goal, at_least, factor, fraction, show};
use crate::error::Result;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pdgd {
    /// Steps.
    pub steps: usize,
    /// First rate of Adam.
    pub rate: f64,
    /// Last rate over the first; falls exponentially.
    pub rate_falls: f64,
    /// First rate of the multipliers.
    pub dual_rate: f64,
    /// Last rate over the first; falls in a line.
    pub dual_rate_falls: f64,
    /// How much of their running mean multipliers keep.
    pub memory: f64,
    /// Weight of the norm over that of a pixel, times the pixels, at the start.
    pub ratio: f64,
    /// The least ratio of the two, either way.
    pub least_ratio: f64,
    /// Which constraints count.
    pub masking: Masking,
    /// Whether to look at what the last step made.
    pub last: bool,
}

impl Default for Pdgd {
    fn default() -> Self {
        Self {
            steps: 500,
            rate: 0.1,
            rate_falls: 0.01,
            dual_rate: 0.1,
            dual_rate_falls: 0.1,
            memory: 0.9,
            ratio: 1.0,
            least_ratio: 1e-6,
            masking: Masking::Off,
            last: true,
        }
    }
}

impl Pdgd {
    /// A rate of 0.01.
    pub fn rony_2023() -> Self {
        Self {
            rate: 0.01,
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        at_least("rate", self.rate, 0.0)?;
        at_least("dual_rate", self.dual_rate, 0.0)?;
        fraction("memory", self.memory)?;
        factor("rate_falls", self.rate_falls)?;
        factor("dual_rate_falls", self.dual_rate_falls)?;
        at_least("ratio", self.ratio, f64::MIN_POSITIVE)?;
        factor("least_ratio", self.least_ratio)
    }

    pub(super) fn rate_at(&self, step: usize) -> f64 {
        self.rate * self.rate_falls.powf(step as f64 / self.steps as f64)
    }

    pub(super) fn dual_rate_at(&self, step: usize) -> f64 {
        let last = self.steps - 1;
        let left = (last - step) as f64 / last.max(1) as f64;
        self.dual_rate * (left * (1.0 - self.dual_rate_falls) + self.dual_rate_falls)
    }
}

/// The attack in l2.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn pdgd(duel: &Duel, goal: Goal, settings: &Pdgd) -> Result<Attacked> {
    pdgd_ahead(duel, &[goal], settings).map(only)
}

/// The attack for the first of at least one goal, and in the same run for the others unless masks follow
/// the goal.
pub(super) fn pdgd_ahead(duel: &Duel, goals: &[Goal], settings: &Pdgd) -> Result<Vec<Attacked>> {
    settings.check()?;
    let clean = duel.scene.image;
    let (goal, goals) = (goals[0], settings.masking.served(goals));
    let mut tracks = Tracks::new(duel, goals, Norm::L2);
    let mut delta = vec![0.0; clean.len()];
    let mut adam = Adam::new(clean.len());
    let mut dual = Dual::new(duel.aim.wishes.len(), settings);
    for step in 0..settings.steps {
        let image = show(&delta, clean);
        let mut shares = Vec::new();
        let mut free = 0.0;
        let (view, mut gradient) = duel.pull(&image, |view| {
            let kept = settings
                .masking
                .kept(goal, &view.margins, step, settings.steps);
            shares = dual.shares(&kept, step > 0);
            let weights;
            (weights, free) = dual.weights(&shares, &kept, &view.margins);
            Constraint::Margin.pull(&duel.aim, view, &weights)
        })?;
        tracks.offer(&image, &view, step);
        let size = length(&delta);
        if size > 0.0 {
            let numbers = gradient.iter_mut().zip(&delta);
            numbers.for_each(|(g, d)| *g += free * d / size);
        }
        adam.step(&mut delta, &gradient, settings.rate_at(step));
        into_box(&mut delta, clean);
        dual.shares = shares;
        dual.rise(&view.margins, |_| true, settings.dual_rate_at(step));
    }
    tracks.finish(settings.last.then_some((&delta, settings.steps)))
}

/// Adam (0.9, 0.999, 1e-8).
pub(super) struct Adam {
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl Adam {
    pub(super) fn new(numbers: usize) -> Self {
        Self {
            first: vec![0.0; numbers],
            second: vec![0.0; numbers],
            steps: 0,
        }
    }

    /// Moves against the gradient; returns what it divided by.
    pub(super) fn step(&mut self, delta: &mut [f64], gradient: &[f64], rate: f64) -> Vec<f64> {
        self.steps += 1;
        let unbias = |keep: f64| 1.0 - keep.powi(self.steps);
        let (rate, root) = (rate / unbias(0.9), unbias(0.999).sqrt());
        let moments = self.first.iter_mut().zip(&mut self.second);
        let numbers = delta.iter_mut().zip(gradient).zip(moments);
        let step = |((d, &g), (first, second)): ((&mut f64, &f64), (&mut f64, &mut f64))| {
            *first += 0.1 * (g - *first);
            *second += 0.001 * (g * g - *second);
            let metric = second.sqrt() / root + 1e-8;
            *d -= rate * *first / metric;
            metric
        };
        numbers.map(step).collect()
    }
}

/// Multipliers of the pixels, as logarithms of ratios to that of the norm.
pub(super) struct Dual {
    prices: Vec<f64>,
    /// Running mean of their softmax.
    pub shares: Vec<f64>,
    memory: f64,
    limit: f64,
}

impl Dual {
    pub(super) fn new(pixels: usize, settings: &Pdgd) -> Self {
        let mut dual = Self {
            prices: vec![-(pixels as f64 * settings.ratio).ln(); pixels],
            shares: Vec::new(),
            memory: settings.memory,
            limit: settings.least_ratio.ln().abs(),
        };
        dual.shares = dual.softmax(&vec![true; pixels]);
        dual
    }

    /// Softmax of 0 and the prices that count, without the first.
    fn softmax(&self, kept: &[bool]) -> Vec<f64> {
        let counted = self.prices.iter().zip(kept);
        let top = counted.clone().fold(
            0.0,
            |top, (&price, &kept)| if kept { price.max(top) } else { top },
        );
        let powers: Vec<f64> = counted
            .map(|(&price, &kept)| if kept { (price - top).exp() } else { 0.0 })
            .collect();
        let sum = (-top).exp() + powers.iter().sum::<f64>();
        powers.into_iter().map(|power| power / sum).collect()
    }

    /// The running mean, moved on.
    pub(super) fn shares(&self, kept: &[bool], moved: bool) -> Vec<f64> {
        if !moved {
            return self.shares.clone();
        }
        let pairs = self.shares.iter().zip(self.softmax(kept));
        pairs
            .map(|(&mean, now)| mean + (1.0 - self.memory) * (now - mean))
            .collect()
    }

    /// Slopes of Σ share·softplus(margin) over what counts, and what is left to the norm.
    pub(super) fn weights(
        &self,
        shares: &[f64],
        kept: &[bool],
        margins: &[f64],
    ) -> (Vec<f64>, f64) {
        let counted = shares
            .iter()
            .zip(kept)
            .map(|(&share, &kept)| if kept { share } else { 0.0 });
        let sum: f64 = counted.clone().sum();
        let slopes = margins.iter().map(|&margin| 1.0 / (1.0 + (-margin).exp()));
        (
            counted
                .zip(slopes)
                .map(|(share, slope)| share * slope)
                .collect(),
            1.0 - sum,
        )
    }

    /// Raises the prices of pixels that stand and lowers the others.
    pub(super) fn rise(&mut self, margins: &[f64], moves: impl Fn(usize) -> bool, rate: f64) {
        for (at, (price, &margin)) in self.prices.iter_mut().zip(margins).enumerate() {
            if moves(at) && margin != 0.0 {
                *price += rate * margin.signum();
            }
            *price = price.clamp(-self.limit, self.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_weight_is_the_norms_at_the_start() {
        let dual = Dual::new(8, &Pdgd::default());
        let kept = [true; 8];
        let (weights, free) = dual.weights(&dual.shares, &kept, &[0.0; 8]);
        assert!((free - 0.5).abs() < 1e-15);
        // the slope of softplus at 0 is a half
        assert!(weights.iter().all(|w| (w - 1.0 / 32.0).abs() < 1e-15));
    }

    #[test]
    fn prices_stay_within_their_limits_and_ties_keep_theirs() {
        let mut dual = Dual::new(3, &Pdgd::default());
        let before = dual.prices[2];
        dual.rise(&[1.0, -1.0, 0.0], |_| true, 100.0);
        let limit = 1e6f64.ln();
        assert!((dual.prices[0] - limit).abs() < 1e-12);
        assert!((dual.prices[1] + limit).abs() < 1e-12);
        assert_eq!(dual.prices[2], before);
    }

    #[test]
    fn the_first_step_of_adam_has_the_length_of_the_rate() {
        let mut delta = vec![0.0; 2];
        Adam::new(2).step(&mut delta, &[3.0, -1e-3], 0.1);
        assert!((delta[0] + 0.1).abs() < 1e-6 && (delta[1] - 0.1).abs() < 1e-5);
    }
}
