//! Two schedules for steps with momentum, in l2 and l∞. That of APGD (Croce and Hein 2020) halves the
//! step where the loss no longer rises, and goes back to the best point each time. The other, ours,
//! lets the step fall by a constant factor: for losses that change from step to step, whose values
//! do not compare.

use serde::{Deserialize, Serialize};

use super::gate::Ball;
use super::{Best, Duel, View};
use crate::error::Result;

/// What leads an ascent: at each step a value to increase and its gradient in the logits (K, H, W).
pub type Guide<'a> = dyn FnMut(&View, usize) -> (f64, Vec<f64>) + 'a;

/// The steps of an ascent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// How many.
    pub steps: usize,
    /// How their length falls.
    pub schedule: Schedule,
    /// Length of the first of them, over the usual: less to stay near where the ascent begins.
    pub first: f64,
}

/// How the length of a step falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Halved where the loss no longer rises.
    Apgd,
    /// By a constant factor, to a hundredth of the first.
    Glide,
}

/// Evaluations between two checks: the first of them, what each check takes off, the least. Shares of
/// all steps.
const CHECKS: [f64; 3] = [0.22, 0.03, 0.06];
/// A step counts as going well if the loss rises in more than this share of the evaluations.
const RISING: f64 = 0.75;

/// Length of the first step in budgets, by schedule.
const FIRST: [f64; 2] = [2.0, 1.0];
/// The last step of a glide over its first, and the share of the new direction in its momentum.
const FALL: f64 = 0.01;
const FRESH: f64 = 0.25;

/// Ascends from a change `start` for so many steps (as many forward and backward passes, and one
/// forward pass more) and offers every picture on the way.
///
/// # Errors
/// Those of the network.
pub fn ascend(
    duel: &Duel,
    ball: &Ball,
    start: Vec<f64>,
    course: Course,
    guide: &mut Guide,
    best: &mut Best,
) -> Result<()> {
    let clean = duel.scene.image;
    let steps = course.steps;
    let mut evaluate = |delta: &[f64], step: usize| {
        let image = ball.show(delta, clean);
        let mut value = 0.0;
        let (view, gradient) = match step < steps {
            true => duel.pull(&image, |view| {
                let (loss, weights) = guide(view, step);
                value = loss;
                weights
            })?,
            false => {
                let view = duel.look(&image)?;
                value = guide(&view, step).0;
                (view, Vec::new())
            }
        };
        best.offer(&image, &view, step);
        Ok((value, gradient))
    };
    match course.schedule {
        Schedule::Apgd => apgd(duel, ball, start, course, &mut evaluate),
        Schedule::Glide => glide(duel, ball, start, course, &mut evaluate),
    }
}

/// The value of a change at a step, and the gradient there; none behind the last step.
type Evaluate<'a> = dyn FnMut(&[f64], usize) -> Result<(f64, Vec<f64>)> + 'a;

fn glide(
    duel: &Duel,
    ball: &Ball,
    mut delta: Vec<f64>,
    Course { steps, first, .. }: Course,
    evaluate: &mut Evaluate,
) -> Result<()> {
    let mut momentum = vec![0.0; delta.len()];
    for step in 0..steps {
        let (_, gradient) = evaluate(&delta, step)?;
        for (m, g) in momentum.iter_mut().zip(ball.direction(&gradient)) {
            *m += FRESH * (g - *m);
        }
        let length = first * FIRST[1] * ball.eps() * FALL.powf(step as f64 / steps as f64);
        for (d, m) in delta.iter_mut().zip(ball.direction(&momentum)) {
            *d += length * m;
        }
        ball.project(&mut delta, duel.scene.image);
    }
    evaluate(&delta, steps)?;
    Ok(())
}

fn apgd(
    duel: &Duel,
    ball: &Ball,
    start: Vec<f64>,
    Course { steps, first, .. }: Course,
    evaluate: &mut Evaluate,
) -> Result<()> {
    let clean = duel.scene.image;
    let share = |share: f64| ((share * steps as f64) as usize).max(1);
    let [mut wait, less, least] = CHECKS.map(share);
    let mut length = first * FIRST[0] * ball.eps();
    let mut delta = start;
    let (mut last, mut gradient) = evaluate(&delta, 0)?;
    let mut top = (last, delta.clone(), gradient.clone());
    let mut before = delta.clone();
    let (mut rising, mut waited, mut reduced) = (0usize, 0usize, true);
    let mut top_at_check = last;
    for step in 1..=steps {
        let mut towards = delta.clone();
        for (d, g) in towards.iter_mut().zip(ball.direction(&gradient)) {
            *d += length * g;
        }
        ball.project(&mut towards, clean);
        let share = if step > 1 { 0.75 } else { 1.0 };
        let momentum = delta.iter().zip(&before).map(|(now, then)| now - then);
        let mut next: Vec<f64> = delta
            .iter()
            .zip(&towards)
            .zip(momentum)
            .map(|((d, t), m)| d + share * (t - d) + (1.0 - share) * m)
            .collect();
        ball.project(&mut next, clean);
        before = std::mem::replace(&mut delta, next);
        let value;
        (value, gradient) = evaluate(&delta, step)?;
        rising += usize::from(value > last);
        last = value;
        if value > top.0 {
            top = (value, delta.clone(), gradient.clone());
        }
        waited += 1;
        if waited == wait {
            let poor = rising as f64 <= RISING * wait as f64;
            let stuck = !reduced && top.0 <= top_at_check;
            reduced = poor || stuck;
            if reduced {
                length /= 2.0;
                (_, delta, gradient) = top.clone();
            }
            top_at_check = top.0;
            (rising, waited) = (0, 0);
            wait = wait.saturating_sub(less).max(least);
        }
    }
    Ok(())
}
