//! Losses on angles and radii, per pixel (B, 1, H, W) unless said otherwise.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Bool, Tensor, TensorData};

use super::{Pairs, Targets};
use crate::node::on;

/// Least length of a logit vector: far below those of a 1-Lipschitz network, and the gradient of
/// a pixel stays below its inverse.
const LEAST_NORM: f64 = 1e-4;
/// Least mean square of radii under the root: zero in all but name, with a finite slope.
const LEAST_SQUARE: f64 = 1e-30;

/// f_y/‖f‖.
pub fn cosine(logits: Tensor<4>, targets: &Targets) -> Tensor<4> {
    let squares = (logits.clone() * logits.clone()).sum_dim(1);
    let norm = squares.clamp_min(LEAST_NORM * LEAST_NORM).sqrt();
    targets.at_label(logits) / norm
}

/// Σ_j s_j·softmax(s)_j over the rivals j, s_j = relu(ε - (f_y - f_j)/D_j), D the distances from
/// the pixel's class: what the rivals' radii lack of ε (orthogonium).
pub fn shortfall(
    logits: Tensor<4>,
    targets: &Targets,
    distances: Tensor<4>,
    eps: f64,
) -> Tensor<4> {
    let lack = relu(eps - targets.gaps(&logits) / distances);
    let label = &targets.label;
    let shares = softmax(lack.clone().mask_fill(label.clone(), f32::NEG_INFINITY), 1);
    (lack * shares).sum_dim(1)
}

/// r = min_{j≠y} (f_y - f_j)/(L·‖w_y - w_j‖): the head-aware radius of the certificates with
/// the label in place of the prediction, negative on wrong pixels. Unit of the network's input.
pub fn signed_radius(logits: &Tensor<4>, targets: &Targets, pairs: &Pairs) -> Tensor<4> {
    let radii = targets.gaps(logits) / pairs.at_labels(targets);
    radii
        .mask_fill(targets.label.clone(), f32::INFINITY)
        .min_dim(1)
}

/// relu(1 - r/ε).
pub fn too_small(radii: Tensor<4>, eps: f64) -> Tensor<4> {
    relu(1.0 - radii.div_scalar(eps))
}

/// E(n)/√n, averaged over the images that have a counted pixel, where E(n)² is the sum of the n
/// smallest r₊² of the image and n = ⌈share·counted pixels⌉: the budget that flips n pixels
/// (paper 001, eqs 12-14), as a radius per pixel. Its slope reaches those n pixels only. Takes
/// radii (B, 1, H, W).
pub fn budget(radii: Tensor<4>, targets: &Targets, share: f64) -> Tensor<1> {
    let (device, dtype) = (radii.device(), radii.dtype());
    let [images, _, height, width] = radii.dims();
    let pixels = height * width;
    let flips = targets
        .per_image
        .iter()
        .map(|&n| (share * n as f64).ceil() as usize);
    let flips: Vec<usize> = flips.collect();
    let beyond = flips
        .iter()
        .flat_map(|&n| (0..pixels).map(move |rank| rank >= n));
    let beyond = TensorData::new(beyond.collect::<Vec<bool>>(), [images, pixels]);
    let beyond = Tensor::<2, Bool>::from_data(beyond, &device);
    let row = |values: Vec<f64>| {
        Tensor::<2>::from_data(TensorData::new(values, [images, 1]), on(&device, dtype))
    };
    let counted = flips.iter().filter(|&&n| n > 0).count() as f64;
    let used = |value: &dyn Fn(f64) -> f64| {
        let values = flips
            .iter()
            .map(|&n| if n == 0 { 0.0 } else { value(n as f64) });
        row(values.collect())
    };
    let radii = relu(radii).mask_fill(targets.void.clone(), f32::INFINITY);
    let smallest = radii
        .reshape([images, pixels])
        .sort(1)
        .mask_fill(beyond, 0.0);
    let mean_square = (smallest.clone() * smallest).sum_dim(1) * used(&|n| 1.0 / n);
    (mean_square.clamp_min(LEAST_SQUARE).sqrt() * used(&|_| 1.0 / counted)).sum()
}
