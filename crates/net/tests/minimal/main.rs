//! Minimal-norm attacks: step by step against the public ones, against a known optimum, and the laws
//! that hold for all of them.

mod laws;
mod linear;
mod noise;
mod runs;
mod steps;
#[path = "../vectors/mod.rs"]
mod vectors;

use certiseg_cert::Metric;
use certiseg_net::Result;
use certiseg_net::attack::minimal::Method;
use certiseg_net::attack::{Criterion, Model};

const ACCURACY: Criterion = Criterion::Metric(Metric::Accuracy);

/// Logits are linear in the picture: class k of a pixel is Σ_c matrix[k][c]·(x_c − 0.5).
struct Linear<const K: usize>([[f32; 3]; K]);

impl Linear<3> {
    /// The segmenter of which the cheapest attack is known: f(x) = x − 0.5, L = 1.
    const IDENTITY: Self = Linear([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
}

impl<const K: usize> Model for Linear<K> {
    fn classes(&self) -> usize {
        K
    }

    fn logits(&self, image: &[f32]) -> Result<Vec<f32>> {
        let pixels = image.len() / 3;
        let logit = |at: usize| {
            let row = self.0[at / pixels].iter().enumerate();
            row.map(|(c, w)| w * (image[c * pixels + at % pixels] - 0.5))
                .sum()
        };
        Ok((0..K * pixels).map(logit).collect())
    }

    fn pull(
        &self,
        image: &[f32],
        weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
    ) -> Result<(Vec<f32>, Vec<f64>)> {
        let (logits, pixels) = (self.logits(image)?, image.len() / 3);
        let weights = weights(&logits);
        let slope = |at: usize| {
            let rows = self.0.iter().enumerate();
            rows.map(|(k, row)| f64::from(row[at / pixels]) * weights[k * pixels + at % pixels])
                .sum()
        };
        Ok((logits, (0..image.len()).map(slope).collect()))
    }
}

/// All of them, with the settings they have by name.
fn methods(steps: usize) -> Vec<Method> {
    let named = Method::NAMES
        .iter()
        .map(|name| Method::named(name).unwrap());
    named.map(|method| method.steps(steps)).collect()
}
