//! Losses on a cross-entropy, each per pixel: logits (B, K, H, W) to (B, 1, H, W).

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::Targets;

/// Least share of a rival's reach that EMMA adds.
const LEAST_SHARE: f64 = 0.01;

/// CE(τ·f, y)/τ (paper 001, section 5.1).
pub fn cross_entropy(logits: Tensor<4>, targets: &Targets, temperature: f64) -> Tensor<4> {
    let log_probabilities = log_softmax(logits.mul_scalar(temperature), 1);
    targets
        .at_label(log_probabilities)
        .mul_scalar(-1.0 / temperature)
}

/// T·CE((f - o·1_y)/T, y): the label's logit must lead by an offset o (Prach and Lampert,
/// 2208.03160).
pub fn margin_offset(
    logits: Tensor<4>,
    targets: &Targets,
    offset: f64,
    temperature: f64,
) -> Tensor<4> {
    let behind = logits - targets.one_hot.clone().mul_scalar(offset);
    cross_entropy(behind, targets, 1.0 / temperature)
}

/// T·(1 - e^{-c})^γ·c with c = CE((f - o·1_y)/T, y): pixels with a good margin fade out
/// (2505.15174).
pub fn annealed(
    logits: Tensor<4>,
    targets: &Targets,
    offset: f64,
    temperature: f64,
    power: f64,
) -> Tensor<4> {
    let scaled = margin_offset(logits, targets, offset, temperature);
    let probability = scaled.clone().div_scalar(-temperature).exp();
    (1f64 - probability).powf_scalar(power) * scaled
}

/// f′_j = f_j - f_y + clip(share of the gap, 0.01, 1)·reach, f′_y = 0, where the reach of a rival
/// j is ε·L‖w_y - w_j‖ and the share of the gap (f_y - f_j)/reach: each rival is helped by what
/// it needs to win, up to what an attack can give it (2301.12549). No gradient flows
/// through the clip.
pub fn emma(logits: Tensor<4>, targets: &Targets, reach: Tensor<4>) -> Tensor<4> {
    let gaps = targets.gaps(&logits);
    let least = reach.clone().mul_scalar(LEAST_SHARE);
    let help = gaps.clone().detach().min_pair(reach).max_pair(least);
    help.mask_fill(targets.label.clone(), 0.0) - gaps
}

/// f_j + ε·L‖w_y - w_j‖ for every rival j: the logits after the worst attack (GloRo, 2102.08452,
/// as a margin).
pub fn gloro(logits: Tensor<4>, targets: &Targets, reach: Tensor<4>) -> Tensor<4> {
    logits + reach.mask_fill(targets.label.clone(), 0.0)
}
