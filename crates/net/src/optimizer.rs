//! AdamW (Loshchilov & Hutter 2019) on named flat tensors, so that its state is a part of the
//! checkpoint like any other tensor.

use serde::{Deserialize, Serialize};

use crate::parameters::Values;

/// Settings of AdamW.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamW {
    /// Decay of the gradient mean and of the mean square, each in [0, 1).
    pub betas: [f64; 2],
    /// Added to the root mean square.
    pub epsilon: f64,
    /// Decoupled weight decay, times the learning rate per step.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 1e-4,
        }
    }
}

/// Moments of every parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Values,
    /// Running mean of its square.
    pub second: Values,
    /// Steps taken.
    pub steps: u64,
}

impl AdamW {
    /// One step: p ← p − rate·(m̂/(√v̂ + ε) + decay·p). Parameters without a gradient stay.
    pub fn step(&self, rate: f64, raw: &mut Values, gradients: &Values, moments: &mut Moments) {
        moments.steps = moments.steps.saturating_add(1);
        let [decay_first, decay_second] = self.betas.map(|beta| beta as f32);
        let power = i32::try_from(moments.steps).unwrap_or(i32::MAX);
        let correct_first = 1.0 - self.betas[0].powi(power);
        let correct_second = 1.0 - self.betas[1].powi(power);
        let step = (rate / correct_first) as f32;
        let shrink = (1.0 - rate * self.weight_decay) as f32;
        let (correction, epsilon) = (correct_second.sqrt() as f32, self.epsilon as f32);
        for (name, gradient) in gradients {
            let Some(values) = raw.get_mut(name) else {
                continue;
            };
            let zeros = || vec![0.0; gradient.len()];
            let first = moments.first.entry(name.clone()).or_insert_with(zeros);
            let second = moments.second.entry(name.clone()).or_insert_with(zeros);
            let moments = first.iter_mut().zip(second);
            for ((p, &g), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
                *m += (1.0 - decay_first) * (g - *m);
                *v += (1.0 - decay_second) * (g * g - *v);
                *p = *p * shrink - step * *m / (v.sqrt() / correction + epsilon);
            }
        }
    }
}

/// Shortens a gradient that is longer than `most` to that length, in l2 over all parameters; 0:
/// leaves any. Returns the length it had.
pub fn clip(gradients: &mut Values, most: f64) -> f64 {
    let squares = gradients.values().flatten().map(|&g| f64::from(g).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if most > 0.0 && length > most {
        let factor = (most / length) as f32;
        let all = gradients.values_mut().flatten();
        all.for_each(|gradient| *gradient *= factor);
    }
    length
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn one(value: f32) -> Values {
        BTreeMap::from([("p".to_owned(), vec![value])])
    }

    /// f32 arithmetic on numbers of order one.
    const ROUNDING: f32 = 1e-6;

    #[test]
    fn two_steps_by_hand() {
        // g = 2, then -1; rate 0.1, decay 0.01.
        // step 1: m̂ = 2, v̂ = 4: p = 1·0.999 − 0.1·1 = 0.899
        // step 2: m = 0.9·0.2 − 0.1 = 0.08, m̂ = 0.08/0.19; v = 0.999·0.004 + 0.001, v̂ = v/0.001999
        let settings = AdamW {
            weight_decay: 0.01,
            ..AdamW::default()
        };
        let (mut raw, mut moments) = (one(1.0), Moments::default());
        settings.step(0.1, &mut raw, &one(2.0), &mut moments);
        assert!((raw["p"][0] - 0.899).abs() < ROUNDING);
        settings.step(0.1, &mut raw, &one(-1.0), &mut moments);
        let expected = 0.899 * 0.999 - 0.1 * (0.08 / 0.19) / (0.004_996_f32 / 0.001_999).sqrt();
        assert!((raw["p"][0] - expected).abs() < ROUNDING);
        assert_eq!(moments.steps, 2);
    }

    #[test]
    fn long_gradients_are_shortened_and_short_ones_are_not() {
        let gradients = || Values::from([("a".into(), vec![3.0, 0.0]), ("b".into(), vec![-4.0])]);
        let mut short = gradients();
        assert_eq!(clip(&mut short, 5.0), 5.0);
        assert_eq!(short, gradients());
        assert_eq!(clip(&mut short, 0.0), 5.0);
        assert_eq!(short, gradients());
        assert_eq!(clip(&mut short, 2.5), 5.0);
        assert_eq!((&short["a"], &short["b"]), (&vec![1.5, 0.0], &vec![-2.0]));
    }
}
