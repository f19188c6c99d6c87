//! Which iterate a minimal-norm attack returns.

use certiseg_cert::Norm;

use super::super::gate::difference;
use super::super::{Attacked, Ball, Best, Duel, Passes, View};
use super::{Goal, show, size};
use crate::error::Result;

/// The best iterate: the smallest that meets the goal; as long as none does, that with the most
/// adversarial pixels, the latest of equals.
pub struct Track<'a> {
    duel: &'a Duel<'a>,
    goal: Goal,
    norm: Norm,
    image: Vec<f32>,
    count: usize,
    score: f64,
    distance: f64,
    step: usize,
    met: bool,
    start: Passes,
}

impl<'a> Track<'a> {
    /// The clean picture.
    pub fn new(duel: &'a Duel, goal: Goal, norm: Norm) -> Self {
        Self {
            duel,
            goal,
            norm,
            image: duel.scene.image.to_vec(),
            count: 0,
            score: duel.clean.score,
            distance: f64::INFINITY,
            step: 0,
            met: false,
            start: duel.passes(),
        }
    }

    /// Shows an iterate; says whether it meets the goal.
    pub fn offer(&mut self, image: &[f32], view: &View, step: usize) -> bool {
        let distance = size(self.norm, &difference(image, self.duel.scene.image));
        let meets = self.goal.is_met(view);
        let smaller = meets && distance <= self.distance;
        let further = !self.met && view.count >= self.count.min(self.goal.asked());
        self.met |= meets;
        if smaller || further {
            self.image.copy_from_slice(image);
            self.count = view.count;
            self.score = view.score;
            self.distance = distance;
            self.step = step;
        }
        meets
    }

    /// The number of wishes asked for.
    pub fn asked(&self) -> usize {
        self.goal.asked()
    }

    /// Whether any iterate met the goal.
    pub fn met(&self) -> bool {
        self.met
    }

    /// Length of the smallest change that met the goal, ∞ before one did.
    pub fn least(&self) -> f64 {
        if self.met {
            self.distance
        } else {
            f64::INFINITY
        }
    }

    /// The result, after a look at the change of the last step, if there is one.
    ///
    /// # Errors
    /// Those of the network.
    pub fn finish(mut self, last: Option<(&[f64], usize)>) -> Result<Attacked> {
        if let Some((delta, step)) = last {
            let image = show(delta, self.duel.scene.image);
            let view = self.duel.look(&image)?;
            self.offer(&image, &view, step);
        }
        let passes = self.duel.passes();
        Ok(Attacked {
            distance: size(self.norm, &difference(&self.image, self.duel.scene.image)),
            image: self.image,
            adversarial: if self.distance.is_finite() {
                self.count
            } else {
                self.duel.clean.count
            },
            score: self.score,
            success: self.met,
            step: self.step,
            passes: Passes {
                forward: passes.forward - self.start.forward,
                backward: passes.backward - self.start.backward,
            },
        })
    }
}

/// The same attack with its change shrunk as far as the goal is still met, by so many halvings.
/// Attacks end on whole steps; on Lipschitz networks half of the distance can be that.
///
/// # Errors
/// Those of the network.
pub fn radial(
    duel: &Duel,
    goal: Goal,
    norm: Norm,
    attacked: Attacked,
    halvings: usize,
) -> Result<Attacked> {
    if !attacked.success {
        return Ok(attacked);
    }
    let clean = duel.scene.image;
    let delta = difference(&attacked.image, clean);
    let (mut best, mut low, mut high) = (attacked, 0.0, 1.0);
    for _ in 0..halvings {
        let middle = (low + high) / 2.0;
        let part: Vec<f64> = delta.iter().map(|d| middle * d).collect();
        let image = show(&part, clean);
        let view = duel.look(&image)?;
        best.passes.forward += 1;
        if goal.is_met(&view) {
            high = middle;
            best.distance = size(norm, &difference(&image, clean));
            best.adversarial = view.count;
            best.score = view.score;
            best.image = image;
        } else {
            low = middle;
        }
    }
    Ok(best)
}

/// A minimal-norm attack as one within a budget, as in paper 001: its change, shrunk if it is too
/// large, looked at once more. What shrinking undid is lost.
///
/// # Errors
/// Those of the network.
pub fn shrunk(duel: &Duel, ball: &Ball, attacked: &Attacked) -> Result<Attacked> {
    let clean = duel.scene.image;
    let mut best = Best::new(duel);
    let mut delta = difference(&attacked.image, clean);
    ball.project(&mut delta, clean);
    let image = ball.show(&delta, clean);
    best.offer(&image, &duel.look(&image)?, attacked.step);
    let mut within = best.attacked(duel, ball);
    within.passes.forward += attacked.passes.forward;
    within.passes.backward += attacked.passes.backward;
    Ok(within)
}
