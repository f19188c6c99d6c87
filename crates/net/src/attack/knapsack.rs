//! Knapsack-guided APGD, ours. The certificate says that flipping a set S costs at least √(Σ m²/2)/L:
//! so cheap pixels first, no more for a pixel once it is flipped, nothing for pixels that will not be
//! reached. A sum of cross-entropies breaks the last two rules.
//!
//! The loss is −Σ_S max(m + κ, 0)^q over a set S that is formed anew at every evaluation: the first
//! pixels in order of max(m, 0), flipped ones first, so that they do not come back; of a ratio, whose
//! pixels to lose and to gain are worth more or less, in order of max(m, 0)² over the worth. S begins
//! with as many as the certificate allows at c·eps, and shrinks towards what is flipped while that
//! stalls.

use serde::{Deserialize, Serialize};

use super::ascent::{Course, Schedule, ascend};
use super::gate::Ball;
use super::{Aim, Attacked, Best, Duel, View, at_least, factor};
use crate::error::Result;

/// First step, over the usual, where an attack goes on from what another found.
const NEAR: f64 = 0.1;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Knapsack {
    /// Gradient steps; one forward pass more is run.
    pub steps: usize,
    /// c: the first set is what the certificate allows at c·eps.
    pub reach: f64,
    /// κ in median margins: a pixel in S is pushed until its margin is below −κ.
    pub kappa: f64,
    /// q: 1, or more to push far pixels harder.
    pub power: f64,
    /// How steps fall.
    pub schedule: Schedule,
    /// Steps between two looks at the size of S.
    pub every: usize,
    /// What is left of the part of S that is not flipped, when no more flip.
    pub shrink: f64,
}

impl Knapsack {
    /// The stronger form: a step that falls steadily, and a square that pushes far pixels harder.
    pub const GLIDE: Knapsack = Knapsack {
        power: 2.0,
        schedule: Schedule::Glide,
        ..Knapsack::PLAIN
    };

    /// The first form: the steps of APGD, all pixels pushed alike.
    pub const PLAIN: Knapsack = Knapsack {
        steps: 100,
        reach: 1.0,
        kappa: 0.02,
        power: 1.0,
        schedule: Schedule::Apgd,
        every: 5,
        shrink: 0.7,
    };
}

impl Knapsack {
    fn check(&self) -> Result<()> {
        at_least("reach", self.reach, 0.0)?;
        at_least("kappa", self.kappa, 0.0)?;
        at_least("power", self.power, 1.0)?;
        at_least("every", self.every as f64, 1.0)?;
        factor("shrink", self.shrink)
    }
}

impl Default for Knapsack {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// Attacks one picture within a budget; `lipschitz` is that of the certificate, or any guess.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn knapsack(
    duel: &Duel,
    ball: &Ball,
    lipschitz: f64,
    settings: &Knapsack,
    from: Option<&[f64]>,
) -> Result<Attacked> {
    settings.check()?;
    let mut best = Best::new(duel);
    let kappa = settings.kappa * duel.aim.median;
    let mut size = allowed(&duel.clean, settings.reach * ball.eps() * lipschitz);
    let mut last = duel.clean.count;
    size = size.max(last + 1);
    let delta = from.map_or_else(|| vec![0.0; duel.scene.image.len()], <[f64]>::to_vec);
    let mut looked = 0;
    let mut guide = |view: &View, step: usize| {
        // a model seen through noise is looked at several times in a step
        if step > looked && step.is_multiple_of(settings.every) {
            looked = step;
            size = size.max(view.count + 1);
            if view.count <= last {
                let more = (settings.shrink * (size - view.count) as f64) as usize;
                size = view.count + more.max(1);
            }
            last = view.count;
        }
        let mut order: Vec<usize> = (0..view.margins.len()).collect();
        let worth = duel.aim.worth(view).map(|worth| worth.max(1e-9).sqrt());
        let join = |at: usize| usize::from(duel.aim.wishes[at].join);
        let cost = |&at: &usize| view.margins[at].max(0.0) / worth[join(at)];
        if size < order.len() {
            order.select_nth_unstable_by(size, |a, b| f64::total_cmp(&cost(a), &cost(b)));
            order.truncate(size);
        }
        push(&duel.aim, view, &order, kappa, settings.power)
    };
    let course = Course {
        steps: settings.steps,
        schedule: settings.schedule,
        first: if from.is_some() { NEAR } else { 1.0 },
    };
    ascend(duel, ball, delta, course, &mut guide, &mut best)?;
    Ok(best.attacked(duel, ball))
}

/// −Σ max(m + κ, 0)^q over some wishes, and its gradient in the logits.
fn push(aim: &Aim, view: &View, set: &[usize], kappa: f64, power: f64) -> (f64, Vec<f64>) {
    let mut gradient = vec![0.0; view.logits.len()];
    let mut sum = 0.0;
    for &at in set {
        let short = view.margins[at] + kappa;
        if short <= 0.0 {
            continue;
        }
        sum -= short.powf(power);
        let slope = -power * short.powf(power - 1.0);
        let wish = aim.wishes[at];
        let sign = if wish.join { -slope } else { slope };
        gradient[aim.place(wish.class, wish.pixel)] += sign;
        gradient[aim.place(view.rivals[at], wish.pixel)] -= sign;
    }
    (sum, gradient)
}

/// Pixels that an attack of length `reach` in the logits may flip: the most whose Σ max(m, 0)²/2 is at
/// most its square, those flipped already included.
pub fn allowed(view: &View, reach: f64) -> usize {
    let mut costs: Vec<f64> = view
        .margins
        .iter()
        .map(|m| m.max(0.0).powi(2) / 2.0)
        .collect();
    costs.sort_unstable_by(f64::total_cmp);
    let mut left = reach * reach;
    costs
        .iter()
        .take_while(|&&cost| {
            left -= cost;
            left >= 0.0
        })
        .count()
}
