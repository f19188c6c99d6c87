//! Consistency of noisy copies: a network that will be smoothed should say the same of each of them.
//!
//! Jeong and Shin (2006.04062), per pixel as in paper 002, appendix B.3: with F_j the softmax of τ times the
//! logits of copy j and F̄ their mean, λ·mean_j KL(F̄ ‖ F_j) + η·H(F̄) is added to the mean of the copies'
//! losses. Divided by τ, as the cross-entropy is. Paper 002 says λ = 1, the trainer that it released takes 5.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use serde::{Deserialize, Serialize};

use super::Targets;
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Training on noisy copies of each picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consistency {
    /// m: copies of each picture, with noise of their own; 2 to 16. A batch takes as many times the memory.
    pub copies: usize,
    /// λ, weight of the divergence from the mean.
    pub lambda: f64,
    /// η, weight of the entropy of the mean.
    pub eta: f64,
    /// Standard deviation of the noise, in [0, 1] units: that of the certificates to come.
    pub sigma: f64,
}

impl Default for Consistency {
    fn default() -> Self {
        Self {
            copies: 2,
            lambda: 1.0,
            eta: 0.5,
            sigma: 0.25,
        }
    }
}

/// Key of the random streams.
const NOISE: u64 = 5;

impl Consistency {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        if !(2..=16).contains(&self.copies) {
            let got = self.copies.to_string();
            return Err(Error::setting("consistency.copies", got, "2 to 16"));
        }
        for (name, value) in [("lambda", self.lambda), ("eta", self.eta)] {
            if !(0.0..f64::INFINITY).contains(&value) {
                let expected = "a finite number of at least 0";
                return Err(Error::setting(
                    format!("consistency.{name}"),
                    value.to_string(),
                    expected,
                ));
            }
        }
        if !(self.sigma > 0.0 && self.sigma <= 10.0) {
            let expected = "a number above 0, up to 10";
            return Err(Error::setting(
                "consistency.sigma",
                self.sigma.to_string(),
                expected,
            ));
        }
        Ok(())
    }

    /// Copy after copy of a batch, each value with noise of its own. Keyed by (seed, step, part of the step,
    /// copy): a resumed training draws what an unbroken one does.
    pub fn copies_of(&self, images: &[f32], seed: u64, [step, part]: [u64; 2]) -> Vec<f32> {
        let copies = (0..self.copies as u64).flat_map(|copy| {
            let mut rng = Rng::keyed(seed, &[NOISE, step, part, copy]);
            let mut noisy = images.to_vec();
            for pair in noisy.chunks_mut(2) {
                for (value, normal) in pair.iter_mut().zip(rng.normals()) {
                    *value += (self.sigma * normal) as f32;
                }
            }
            noisy
        });
        copies.collect()
    }

    /// What is added to the loss: one value, from the logits (B, K, H, W) of each copy. Weighted by class as the
    /// losses are; void pixels add nothing.
    ///
    /// # Panics
    /// Without copies, or where they and the targets differ in shape.
    pub fn of(&self, logits: &[Tensor<4>], targets: &Targets, temperature: f64) -> Tensor<1> {
        let targets = &targets.cast(logits[0].dtype());
        let log_softmax =
            |f: &Tensor<4>| log_softmax(targets.counted(f.clone()).mul_scalar(temperature), 1);
        let logs: Vec<Tensor<4>> = logits.iter().map(log_softmax).collect();
        let mean = |all: Vec<Tensor<4>>| {
            let count = all.len() as f64;
            let sum = all.into_iter().reduce(|sum, next| sum + next);
            sum.expect("copies").div_scalar(count)
        };
        // ln F̄ from the largest, so that rare classes do not become ln 0
        let top = logs.iter().cloned().reduce(Tensor::max_pair);
        let top = top.expect("copies").detach();
        let shifted = |log: &Tensor<4>| (log.clone() - top.clone()).exp();
        let log_mean = mean(logs.iter().map(shifted).collect()).log() + top.clone();
        let average = log_mean.clone().exp();
        let apart = log_mean.clone() - mean(logs);
        let divergence = (average.clone() * apart).sum_dim(1);
        let entropy = (average * log_mean).sum_dim(1).neg();
        let pixels = divergence.mul_scalar(self.lambda) + entropy.mul_scalar(self.eta);
        targets.mean(pixels.div_scalar(temperature))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};

    use super::*;
    use crate::network::floats;
    use crate::node::on;

    /// One image, two classes, pixels in a row.
    fn logits(pixels: &[[f64; 2]]) -> Tensor<4> {
        let planes = [0, 1].map(|class| pixels.iter().map(move |p| p[class]));
        let values: Vec<f64> = planes.into_iter().flatten().collect();
        let data = TensorData::new(values, [1, 2, 1, pixels.len()]);
        Tensor::from_data(data, on(&Device::flex().autodiff(), DType::F64))
    }

    fn targets(labels: &[u8], weights: &[f32]) -> Targets {
        let device = Device::flex().autodiff();
        Targets::new(labels, [1, 1, labels.len()], weights, &device)
    }

    fn value(settings: &Consistency, copies: &[Tensor<4>], targets: &Targets, t: f64) -> f64 {
        floats(settings.of(copies, targets, t)).unwrap()[0]
    }

    #[test]
    fn the_example_of_the_design() {
        let copies = [logits(&[[2.0, 0.0]]), logits(&[[0.0, 0.0]])];
        let one = targets(&[0], &[1.0; 2]);
        let parts = |lambda, eta| {
            let settings = Consistency {
                lambda,
                eta,
                ..Consistency::default()
            };
            value(&settings, &copies, &one, 1.0)
        };
        // six digits are given
        assert!((parts(1.0, 0.5) - 0.410248).abs() < 1e-6);
        assert!((parts(1.0, 0.0) - 0.5 * (0.127350 + 0.074366)).abs() < 1e-6);
        assert!((parts(0.0, 1.0) - 0.618781).abs() < 1e-6);
        // KL(F_j ‖ F̄) is another number
        let (p, q) = (0.880797f64, 0.690399f64);
        let turned = p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
        assert!((turned - 0.127350).abs() > 0.01);
    }

    #[test]
    fn void_pixels_and_rare_classes_add_nothing() {
        let settings = Consistency::default();
        let one = [logits(&[[2.0, 0.0]]), logits(&[[0.0, 0.0]])];
        let two = [
            logits(&[[2.0, 0.0], [9.0, 1.0]]),
            logits(&[[0.0, 0.0], [f64::NAN, -3.0]]),
        ];
        let alone = value(&settings, &one, &targets(&[0], &[1.0; 2]), 1.0);
        let with_void = value(&settings, &two, &targets(&[0, 255], &[1.0; 2]), 1.0);
        assert_eq!(alone, with_void);
        let unweighted = value(&settings, &two, &targets(&[0, 1], &[1.0, 0.0]), 1.0);
        assert_eq!(alone, unweighted);
        // a class of probability e^-2000 in all copies
        let sure = [logits(&[[2000.0, 0.0]]), logits(&[[2000.0, 0.0]])];
        assert_eq!(value(&settings, &sure, &targets(&[0], &[1.0; 2]), 1.0), 0.0);
    }

    /// τ·logits at τ = 1 and logits at τ, divided by τ; and the slope in a logit by differences.
    #[test]
    fn temperature_and_gradient() {
        let settings = Consistency::default();
        let one = targets(&[0], &[1.0; 2]);
        let copies = |a: f64| [logits(&[[a, 0.1]]), logits(&[[-0.2, 0.3]])];
        let hot = |a: f64| value(&settings, &copies(a), &one, 3.0);
        let scaled = [logits(&[[1.2, 0.3]]), logits(&[[-0.6, 0.9]])];
        let plain = value(&settings, &scaled, &one, 1.0) / 3.0;
        assert!((hot(0.4) - plain).abs() < 1e-12);

        let [first, second] = copies(0.4);
        let first = first.require_grad();
        let loss = settings.of(&[first.clone(), second], &one, 3.0);
        let gradients = loss.backward();
        let slope = floats(first.grad(&gradients).unwrap()).unwrap()[0];
        let expected = (hot(0.4 + 1e-6) - hot(0.4 - 1e-6)) / 2e-6;
        assert!((slope - expected).abs() < 1e-8, "{slope} {expected}");
    }

    #[test]
    fn copies_have_noise_of_their_own() {
        let settings = Consistency::default();
        let images = vec![0.5; 3 * 64 * 64];
        let noisy = settings.copies_of(&images, 1, [4, 0]);
        assert_eq!(noisy.len(), 2 * images.len());
        let (a, b) = noisy.split_at(images.len());
        assert_ne!(a, b);
        for copy in [a, b] {
            let squares = copy.iter().map(|v| f64::from(v - 0.5).powi(2));
            let variance = squares.sum::<f64>() / images.len() as f64;
            // four standard errors of 12288 squares
            assert!((variance / 0.0625 - 1.0).abs() < 0.051, "{variance}");
        }
        assert_eq!(settings.copies_of(&images, 1, [4, 0]), noisy);
        for key in [[5, 0], [4, 1]] {
            assert_ne!(settings.copies_of(&images, 1, key), noisy);
        }
    }

    #[test]
    fn every_field_is_checked() {
        let fine = Consistency::default();
        fine.check().unwrap();
        for (bad, field) in [
            (Consistency { copies: 1, ..fine }, "consistency.copies"),
            (
                Consistency {
                    lambda: -1.0,
                    ..fine
                },
                "consistency.lambda",
            ),
            (
                Consistency {
                    eta: f64::NAN,
                    ..fine
                },
                "consistency.eta",
            ),
            (Consistency { sigma: 0.0, ..fine }, "consistency.sigma"),
        ] {
            let error = bad.check().unwrap_err();
            assert!(matches!(&error, Error::Setting { field: got, .. } if got == field));
        }
    }
}
