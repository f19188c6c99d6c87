//! Primal-dual proximal gradient descent: as [`super::pdgd`], with a proximal step of the norm in
//! Adam's metric in place of its gradient.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::gate::{into_box, length};
use super::super::{Attacked, Duel};
use super::frame::{Constraint, Masking};
use super::pdgd::{Adam, Dual, Pdgd};
use super::prox::prox;
use super::tracks::{Tracks, only};
use super::{Goal, at_least, known, show};
use crate::error::Result;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pdpgd {
    /// The norm: 1, 2 or inf.
    pub norm: Norm,
    /// Proximal steps at most.
    pub proximal: usize,
    /// Relative change at which they stop.
    pub enough: f64,
    /// All that it shares with primal-dual descent.
    pub descent: Pdgd,
}

impl Default for Pdpgd {
    fn default() -> Self {
        Self {
            norm: Norm::L2,
            proximal: 5,
            enough: 1e-2,
            descent: Pdgd {
                least_ratio: 1e-12,
                ..Pdgd::default()
            },
        }
    }
}

impl Pdpgd {
    /// A rate of 0.01.
    pub fn rony_2023(norm: Norm) -> Self {
        let mut settings = Self {
            norm,
            ..Self::default()
        };
        settings.descent.rate = 0.01;
        settings
    }

    /// The same with the constraints masked, as for a goal below all pixels.
    pub fn masked(mut self, masking: Masking) -> Self {
        self.descent.masking = masking;
        self
    }
}

/// The attack.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn pdpgd(duel: &Duel, goal: Goal, settings: &Pdpgd) -> Result<Attacked> {
    pdpgd_ahead(duel, &[goal], settings).map(only)
}

/// The attack for the first of at least one goal, and in the same run for the others unless masks follow
/// the goal.
pub(super) fn pdpgd_ahead(duel: &Duel, goals: &[Goal], settings: &Pdpgd) -> Result<Vec<Attacked>> {
    known(settings.norm, &[Norm::L1, Norm::L2, Norm::LINF])?;
    at_least("enough", settings.enough, 0.0)?;
    let descent = &settings.descent;
    descent.check()?;
    let clean = duel.scene.image;
    let (goal, goals) = (goals[0], descent.masking.served(goals));
    let mut tracks = Tracks::new(duel, goals, settings.norm);
    let mut delta = vec![0.0; clean.len()];
    let mut adam = Adam::new(clean.len());
    let mut dual = Dual::new(duel.aim.wishes.len(), descent);
    for step in 0..descent.steps {
        let image = show(&delta, clean);
        let (mut kept, mut shares, mut free) = (Vec::new(), Vec::new(), 0.0);
        let (view, gradient) = duel.pull(&image, |view| {
            kept = descent
                .masking
                .kept(goal, &view.margins, step, descent.steps);
            shares = dual.shares(&kept, step > 0);
            let weights;
            (weights, free) = dual.weights(&shares, &kept, &view.margins);
            Constraint::Margin.pull(&duel.aim, view, &weights)
        })?;
        tracks.offer(&image, &view, step);
        let rate = descent.rate_at(step);
        let metric = adam.step(&mut delta, &gradient, rate);
        into_box(&mut delta, clean);
        let weight = free / (1.0 - free) * rate;
        settings.pull_in(&mut delta, metric, weight, clean);
        dual.shares = shares;
        dual.rise(&view.margins, |at| kept[at], descent.dual_rate_at(step));
    }
    tracks.finish(descent.last.then_some((&delta, descent.steps)))
}

impl Pdpgd {
    /// The proximal step of weight·‖δ‖ in a diagonal metric, by steps in the plain one.
    fn pull_in(&self, delta: &mut [f64], metric: Vec<f64>, weight: f64, clean: &[f32]) {
        let largest = metric.iter().copied().fold(0.0, f64::max);
        let weight = weight / largest;
        let mut now = delta.to_vec();
        for _ in 0..self.proximal {
            let numbers = now.iter().zip(delta.iter()).zip(&metric);
            let moved: Vec<f64> = numbers
                .map(|((&q, &r), &h)| q - h / largest * (q - r))
                .collect();
            let mut next = prox(self.norm, &moved, weight);
            into_box(&mut next, clean);
            let change: Vec<f64> = next.iter().zip(&now).map(|(a, b)| a - b).collect();
            let (change, all) = (length(&change), length(&next));
            now = next;
            // at 0 the relative change of the library is 0/0
            if change <= self.enough * all {
                break;
            }
        }
        delta.copy_from_slice(&now);
    }
}
