//! Attacks through noise, for models that are smoothed by it: the gradient is the mean over draws of
//! the gradient of the loss (expectation over transformation), with fresh draws at every step. What
//! an attack counts on the way are estimates; a verdict needs votes on fresh noise at its picture. Passes
//! of such an attack are looks at the model: each is as many passes of the network as there are draws.

use std::sync::{Mutex, PoisonError};

use super::at_least;
use super::model::Model;
use crate::error::Result;
use crate::rng::Rng;

/// A model seen through Gaussian noise on its picture, not cut to [0, 1].
pub struct Noisy<'a> {
    model: &'a dyn Model,
    sigma: f64,
    draws: usize,
    rng: Mutex<Rng>,
}

impl<'a> Noisy<'a> {
    /// With noise of this standard deviation per number, in the unit of the picture, so many draws at
    /// every look.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a deviation that is no finite number of at least 0, and for no draws.
    pub fn new(model: &'a dyn Model, sigma: f64, draws: usize, rng: Rng) -> Result<Self> {
        at_least("sigma", sigma, 0.0)?;
        at_least("draws", draws as f64, 1.0)?;
        Ok(Self {
            model,
            sigma,
            draws,
            rng: Mutex::new(rng),
        })
    }

    fn draw(&self, image: &[f32]) -> Vec<f32> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noised = Vec::with_capacity(image.len() + 1);
        while noised.len() < image.len() {
            noised.extend(rng.normals());
        }
        let sums = image.iter().zip(noised);
        sums.map(|(&x, noise)| (f64::from(x) + self.sigma * noise) as f32)
            .collect()
    }

    fn mean<T: Copy + Into<f64>>(&self, sum: &mut Vec<f64>, of: &[T]) {
        sum.resize(of.len(), 0.0);
        let numbers = sum.iter_mut().zip(of);
        numbers.for_each(|(sum, &x)| *sum += x.into() / self.draws as f64);
    }
}

impl Model for Noisy<'_> {
    fn classes(&self) -> usize {
        self.model.classes()
    }

    /// The mean over the draws.
    fn logits(&self, image: &[f32]) -> Result<Vec<f32>> {
        let mut mean = Vec::new();
        for _ in 0..self.draws {
            self.mean(&mut mean, &self.model.logits(&self.draw(image))?);
        }
        Ok(mean.into_iter().map(|z| z as f32).collect())
    }

    /// `weights` is asked for every draw, and a last time, without effect, for the mean logits: what
    /// it keeps then is of these.
    fn pull(
        &self,
        image: &[f32],
        weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
    ) -> Result<(Vec<f32>, Vec<f64>)> {
        let (mut mean, mut gradient) = (Vec::new(), Vec::new());
        for _ in 0..self.draws {
            let (logits, slopes) = self.model.pull(&self.draw(image), weights)?;
            self.mean(&mut mean, &logits);
            self.mean(&mut gradient, &slopes);
        }
        let mean: Vec<f32> = mean.into_iter().map(|z| z as f32).collect();
        weights(&mean);
        Ok((mean, gradient))
    }
}
