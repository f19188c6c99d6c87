//! What the Lagrangian attacks share: constraints per pixel, which of them count, what they cost.

use serde::{Deserialize, Serialize};

use super::super::criterion::{Aim, View};
use super::Goal;

/// Which constraints count. The goal leaves k pixels over; those that are hardest to win may be they.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Masking {
    /// All of them.
    #[default]
    Off,
    /// All but the k − 1 largest.
    Whole,
    /// The same with k growing from 0 in a line over the steps.
    Decay,
}

impl Masking {
    /// Those of the goals, from the first on, that one run serves: where masks follow the goal, one.
    pub(super) fn served(self, goals: &[Goal]) -> &[Goal] {
        match self {
            Masking::Off => goals,
            Masking::Whole | Masking::Decay => &goals[..goals.len().min(1)],
        }
    }

    /// Per wish whether its constraint counts.
    pub(super) fn kept(self, goal: Goal, values: &[f64], step: usize, steps: usize) -> Vec<bool> {
        // in f32, as the library does
        let dropped = match self {
            Masking::Off => 0.0,
            Masking::Whole => goal.slack,
            Masking::Decay => {
                goal.slack * (step as f64 / steps.saturating_sub(1).max(1) as f64) as f32
            }
        } as usize;
        if dropped == 0 {
            return vec![true; values.len()];
        }
        let mut sorted = values.to_vec();
        let at = sorted.len() - dropped.min(sorted.len());
        let (_, &mut largest, _) = sorted.select_nth_unstable_by(at, f64::total_cmp);
        values.iter().map(|&value| value <= largest).collect()
    }
}

/// Takes the pixels whose wishes do not count out of a gradient in the logits.
pub(super) fn drop_wishes(aim: &Aim, kept: &[bool], slopes: &mut [f64]) {
    for (wish, _) in aim.wishes.iter().zip(kept).filter(|(_, kept)| !**kept) {
        let classes = 0..aim.classes() as u8;
        classes.for_each(|class| slopes[aim.place(class, wish.pixel)] = 0.0);
    }
}

/// What is to become negative at a pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Constraint {
    /// The margin.
    Margin,
    /// (margin + tolerance) over the distance of the largest logit and the third, of a wish to join
    /// the mean of the third and fourth. With fewer classes the margin + tolerance: there the ratio
    /// is a constant.
    Ratio(f64),
}

/// Added to the width of a ratio.
const WIDTH: f64 = 1e-8;

impl Constraint {
    /// The places of the logits that a width is made of, with their weights.
    fn width(self, aim: &Aim, view: &View, at: usize) -> Vec<(usize, f64)> {
        let wish = aim.wishes[at];
        if self == Constraint::Margin || aim.classes() < if wish.join { 4 } else { 3 } {
            return Vec::new();
        }
        let place = |class: usize| aim.place(class as u8, wish.pixel);
        let mut places: Vec<usize> = (0..aim.classes()).map(place).collect();
        places.sort_by(|&a, &b| f32::total_cmp(&view.logits[b], &view.logits[a]));
        match wish.join {
            true => vec![(places[0], 1.0), (places[2], -0.5), (places[3], -0.5)],
            false => vec![(places[0], 1.0), (places[2], -1.0)],
        }
    }

    fn over(self, margin: f64, view: &View, width: &[(usize, f64)]) -> (f64, f64) {
        let tolerance = match self {
            Constraint::Margin => 0.0,
            Constraint::Ratio(tolerance) => tolerance,
        };
        let terms = width
            .iter()
            .map(|&(at, weight)| weight * f64::from(view.logits[at]));
        let scale = if width.is_empty() {
            1.0
        } else {
            terms.sum::<f64>() + WIDTH
        };
        ((margin + tolerance) / scale, scale)
    }

    /// Its value per wish.
    pub(super) fn values(self, aim: &Aim, view: &View) -> Vec<f64> {
        let value = |(at, &margin)| self.over(margin, view, &self.width(aim, view, at)).0;
        view.margins.iter().enumerate().map(value).collect()
    }

    /// The gradient of Σ weight·value in the logits (K, H, W).
    pub(super) fn pull(self, aim: &Aim, view: &View, weights: &[f64]) -> Vec<f64> {
        let mut slopes = vec![0.0; view.logits.len()];
        for (at, (&wish, &weight)) in aim.wishes.iter().zip(weights).enumerate() {
            if weight == 0.0 {
                continue;
            }
            let width = self.width(aim, view, at);
            let (value, scale) = self.over(view.margins[at], view, &width);
            let along = if wish.join { -weight } else { weight } / scale;
            slopes[aim.place(wish.class, wish.pixel)] += along;
            slopes[aim.place(view.rivals[at], wish.pixel)] -= along;
            for (place, share) in width {
                slopes[place] -= weight * value / scale * share;
            }
        }
        slopes
    }
}

/// The penalty-Lagrangian function P2 and its derivative in y, at ρ and μ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Penalty {
    /// Whether it is that of ALMA-prox as coded in the library: ρ at least 1 below 0, and a slope of
    /// μy where the derivative is μ.
    pub coded: bool,
}

impl Penalty {
    /// The slope by which constraints are weighted and multipliers move.
    pub(super) fn slope(self, y: f64, rho: f64, mu: f64) -> f64 {
        if y >= 0.0 {
            let first = if self.coded { mu * y } else { mu };
            return first + 2.0 * mu * rho * y + 0.5 * rho * rho * y * y;
        }
        let rho = if self.coded { rho.max(1.0) } else { rho };
        mu / (1.0 - rho * y).powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Criterion, Scene, Wish};
    use super::*;
    use crate::rng::Rng;

    fn goal(slack: f32) -> Goal {
        Goal { count: 0, slack }
    }

    #[test]
    fn masking_drops_one_constraint_less_than_the_goal_leaves() {
        let values = [0.3, -1.0, 2.0, 0.5, 1.0];
        let kept = |masking: Masking, slack, step| masking.kept(goal(slack), &values, step, 5);
        assert_eq!(kept(Masking::Off, 3.0, 0), [true; 5]);
        assert_eq!(kept(Masking::Whole, 0.9, 0), [true; 5]);
        assert_eq!(kept(Masking::Whole, 1.0, 0), [true; 5]);
        let expected = [true, true, false, true, false];
        assert_eq!(kept(Masking::Whole, 3.2, 0), expected);
        assert_eq!(kept(Masking::Decay, 3.0, 0), [true; 5]);
        assert_eq!(kept(Masking::Decay, 3.0, 4), expected);
        assert_eq!(
            kept(Masking::Whole, 5.0, 0),
            [false, true, false, false, false]
        );
    }

    #[test]
    fn constraints_have_the_gradients_of_finite_differences() {
        let image = [0.5; 9];
        let scene = Scene::new(&image, &[0; 3], [1, 3]).unwrap();
        let wish = |(pixel, class, join)| Wish { pixel, class, join };
        let wishes = [(0, 0, false), (1, 1, false), (2, 1, true)].map(wish);
        let wishes = Criterion::Custom(wishes.to_vec());
        for (classes, seed) in [(2, 0), (3, 1), (3, 2), (5, 3), (5, 4)] {
            let mut rng = Rng::new(seed);
            // far enough apart that a small step changes no order
            let apart = |at: usize| ((at / 3 + at % 3) % classes) as f32 * 0.7;
            let logits: Vec<f32> = (0..3 * classes)
                .map(|at| apart(at) + 0.1 * rng.uniform() as f32)
                .collect();
            let aim = wishes.aim(&scene, classes, &logits).unwrap();
            let weights = [0.7, -1.1, 0.4];
            for constraint in [Constraint::Margin, Constraint::Ratio(0.1)] {
                let slopes = constraint.pull(&aim, &aim.view(logits.clone()), &weights);
                for (at, slope) in slopes.iter().enumerate() {
                    let sum = |by: f32| {
                        let mut logits = logits.clone();
                        logits[at] += by;
                        let values = constraint.values(&aim, &aim.view(logits.clone()));
                        let sum: f64 = values.iter().zip(weights).map(|(v, w)| v * w).sum();
                        (sum, f64::from(logits[at]))
                    };
                    let ((up, right), (down, left)) = (sum(1e-3), sum(-1e-3));
                    let found = (up - down) / (right - left);
                    // square of the step times a third derivative
                    assert!(
                        (found - slope).abs() < 1e-4,
                        "{constraint:?}: {found} {slope}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_penalty_has_the_slope_of_its_formula_and_that_of_the_library() {
        let right = Penalty { coded: false };
        let value = |y: f64, rho: f64, mu: f64| match y >= 0.0 {
            true => mu * y + mu * rho * y * y + rho * rho * y.powi(3) / 6.0,
            false => mu * y / (1.0 - rho * y),
        };
        for y in [-2.0, -0.3, 0.3, 1.5] {
            let slope = (value(y + 1e-6, 2.0, 0.7) - value(y - 1e-6, 2.0, 0.7)) / 2e-6;
            assert!((right.slope(y, 2.0, 0.7) - slope).abs() < 1e-8);
        }
        assert!((right.slope(0.3, 2.0, 0.7) - 1.72).abs() < 1e-12);
        assert!((Penalty { coded: true }.slope(0.3, 2.0, 0.7) - 1.23).abs() < 1e-12);
        assert_eq!(Penalty { coded: true }.slope(-1.0, 0.5, 1.0), 0.25);
    }
}
