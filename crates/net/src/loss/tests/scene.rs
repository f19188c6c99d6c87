//! A batch of pixels as plain numbers, and as tensors.

use std::f64::consts::SQRT_2;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::super::{Loss, Pairs, Targets};
use crate::network::floats;
use crate::node::on;
use crate::rng::Rng;

/// A batch of pixels.
#[derive(Clone)]
pub struct Scene {
    /// Logits of each pixel, image after image.
    pub logits: Vec<Vec<f64>>,
    /// Class of each pixel; a value that is no class is void.
    pub labels: Vec<u8>,
    pub images: usize,
    /// Weight of each class.
    pub weights: Vec<f32>,
    /// Distances between classes, row by row.
    pub distances: Vec<f64>,
}

/// A small random batch with void pixels, a class without weight and, but for the second image,
/// mostly right pixels.
pub fn random(seed: u64, classes: usize) -> Scene {
    let mut rng = Rng::keyed(seed, &[classes as u64]);
    let (images, pixels) = (3, 6);
    let label = |at: usize| at * 7 % 5 % classes;
    let mut draw = |at: usize, class: usize| {
        let lift = if label(at) == class && at / pixels != 1 {
            2.0
        } else {
            0.0
        };
        3.0 * rng.uniform() - 1.5 + lift
    };
    let all = 0..images * pixels;
    let logits = all
        .clone()
        .map(|at| (0..classes).map(|class| draw(at, class)).collect());
    let logits = logits.collect();
    let mut labels: Vec<u8> = all.map(|at| label(at) as u8).collect();
    for at in [1, 4, 17] {
        labels[at] = 255;
    }
    let mut weights: Vec<f32> = (0..classes).map(|class| 0.5 + class as f32).collect();
    if classes > 3 {
        weights[3] = 0.0;
    }
    let mut distances = vec![0.0; classes * classes];
    for i in 0..classes {
        for j in 0..i {
            distances[i * classes + j] = 0.5 + 0.3 * (i + 2 * j) as f64;
            distances[j * classes + i] = distances[i * classes + j];
        }
    }
    Scene {
        logits,
        labels,
        images,
        weights,
        distances,
    }
}

/// Pixels of one image, one by one; distances √2.
pub fn scene(pixels: &[&[f64]], labels: &[u8], weights: &[f32]) -> Scene {
    Scene {
        logits: pixels.iter().map(|p| p.to_vec()).collect(),
        labels: labels.to_vec(),
        images: 1,
        weights: weights.to_vec(),
        distances: vec![SQRT_2; weights.len() * weights.len()],
    }
}

impl Scene {
    /// Index of a logit in (B, K, 2, W / 2) or, for an odd number of pixels, (B, K, 1, W).
    fn index(&self, at: usize, class: usize) -> usize {
        let pixels = self.labels.len() / self.images;
        (at / pixels * self.weights.len() + class) * pixels + at % pixels
    }

    fn shape(&self) -> [usize; 4] {
        let pixels = self.labels.len() / self.images;
        let height = 2 - pixels % 2;
        [self.images, self.weights.len(), height, pixels / height]
    }

    pub fn targets(&self, device: &Device) -> Targets {
        let [batch, _, height, width] = self.shape();
        Targets::new(&self.labels, [batch, height, width], &self.weights, device)
    }

    pub fn tensor(&self, dtype: DType, device: &Device) -> Tensor<4> {
        let mut values = vec![0.0; self.logits.len() * self.weights.len()];
        for (at, pixel) in self.logits.iter().enumerate() {
            for (class, &value) in pixel.iter().enumerate() {
                values[self.index(at, class)] = value;
            }
        }
        Tensor::from_data(TensorData::new(values, self.shape()), on(device, dtype))
    }

    /// The loss and its gradient by logit, pixel by pixel.
    pub fn learn(&self, loss: &Loss, dtype: DType) -> (f64, Vec<Vec<f64>>) {
        let device = Device::flex().autodiff();
        let pairs = Pairs::new(self.weights.len(), self.distances.clone()).unwrap();
        let leaf = self.tensor(dtype, &device).require_grad();
        let value = loss.of(leaf.clone(), &self.targets(&device), &pairs);
        let gradient = leaf.grad_remove(&mut value.backward());
        let gradient = floats(gradient.unwrap()).unwrap();
        let classes = 0..self.weights.len();
        let of = |at| {
            classes
                .clone()
                .map(|k| gradient[self.index(at, k)])
                .collect()
        };
        (
            floats(value).unwrap()[0],
            (0..self.labels.len()).map(of).collect(),
        )
    }
}
