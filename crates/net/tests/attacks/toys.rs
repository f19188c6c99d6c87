//! A linear segmenter on which certificates are tight, pictures for it, and a model that records what it
//! is shown.

#![allow(dead_code, reason = "every test uses some of it")]

use std::sync::Mutex;

use certiseg_net::Result;
use certiseg_net::attack::{Model, Scene, Target};
use certiseg_net::network::Network;
use certiseg_net::rng::Rng;

use super::vectors::SIDE;

/// (3, H, W) and labels (H, W), of a square.
pub type Picture = (Vec<f32>, Vec<u8>);

/// The scene of a square picture.
pub fn scene((image, labels): &Picture) -> Scene<'_> {
    Scene::new(image, labels, [labels.len().isqrt(); 2]).unwrap()
}

/// Logits are linear in the picture: class k of a pixel is Σ_c matrix[k][c]·(x_c − 0.5).
pub struct Linear<const K: usize>(pub [[f32; 3]; K]);

impl Linear<3> {
    /// f(x) = x − 0.5: L = 1, and flipping pixels costs √(Σ m²/2) exactly.
    pub const IDENTITY: Self = Linear([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
}

impl Linear<2> {
    /// The first two channels of it: the same.
    pub const TWO: Self = Linear([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
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

/// A picture of 16x16 with colours in [0.3, 0.7], so that no flip meets the box: labels are the largest of
/// the first channels, but for 10 % void and 5 % wrong.
pub fn linear_picture(classes: usize, seed: u64) -> Picture {
    let (mut rng, pixels) = (Rng::new(seed), 16 * 16);
    let image: Vec<f32> = (0..3 * pixels)
        .map(|_| (0.3 + 0.4 * rng.uniform()) as f32)
        .collect();
    let label = |at: usize| {
        let value = |class: &usize| image[class * pixels + at];
        let best = (0..classes).max_by(|a, b| f32::total_cmp(&value(a), &value(b)));
        let best = best.unwrap();
        match rng.uniform() {
            ..0.1 => 255,
            ..0.15 => ((best + 1) % classes) as u8,
            _ => best as u8,
        }
    };
    let labels = (0..pixels).map(label).collect();
    (image, labels)
}

/// Eight of them.
pub fn linear_pictures(classes: usize) -> Vec<Picture> {
    (0..8).map(|seed| linear_picture(classes, seed)).collect()
}

/// Keeps the pictures of which a gradient was asked.
pub struct Recorder {
    target: Target,
    pub seen: Mutex<Vec<Vec<f32>>>,
}

impl Recorder {
    pub fn new(network: &Network) -> Self {
        Self {
            target: Target::new(network, [SIDE; 2]),
            seen: Mutex::default(),
        }
    }
}

impl Model for Recorder {
    fn classes(&self) -> usize {
        self.target.classes()
    }

    fn logits(&self, image: &[f32]) -> Result<Vec<f32>> {
        self.target.logits(image)
    }

    fn pull(
        &self,
        image: &[f32],
        weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
    ) -> Result<(Vec<f32>, Vec<f64>)> {
        self.seen.lock().unwrap().push(image.to_vec());
        self.target.pull(image, weights)
    }
}
