//! Hinge losses and those of Kantorovich and Rubinstein, each per pixel: logits (B, K, H, W) to
//! (B, 1, H, W). m is a margin, s_k = 1 for the pixel's class y and -1 for the others.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Tensor, TensorData};

use super::Targets;
use crate::node::on;

/// mean_k c_k·relu(m/2 - s_k·f_k), c_y = K - 1, else 1 (deel-torchlip).
pub fn hinge(logits: Tensor<4>, targets: &Targets, margin: f64) -> Tensor<4> {
    let [_, classes, _, _] = logits.dims();
    let share = targets.one_hot.clone().mul_scalar(classes as f64 - 2.0) + 1.0;
    (share * relu(margin / 2.0 - signed(logits, targets))).mean_dim(1)
}

/// relu(m - (f_y - max_{j≠y} f_j)).
pub fn categorical(logits: Tensor<4>, targets: &Targets, margin: f64) -> Tensor<4> {
    let rival = rivals(logits.clone(), targets).max_dim(1);
    relu(margin - targets.at_label(logits) + rival)
}

/// α·hinge - (1 - α)·KR (Serrurier et al., 2006.06520).
pub fn hkr(logits: Tensor<4>, targets: &Targets, alpha: f64, margin: f64) -> Tensor<4> {
    let alpha = share(alpha);
    let hinge = hinge(logits.clone(), targets, margin).mul_scalar(alpha);
    hinge - kantorovich(logits, targets).mul_scalar(1.0 - alpha)
}

/// mean_k of f_k·B/n_k if k is the pixel's class, else -f_k·B/(B - n_k), with B the counted
/// pixels of the batch and n_k those of class k: its mean over the batch is the mean over k of
/// E[f_k | k] - E[f_k | not k].
pub(super) fn kantorovich(logits: Tensor<4>, targets: &Targets) -> Tensor<4> {
    let count = targets.count();
    // an empty side has no pixel that would read its factor
    let factor = |n: usize| if n == 0 { 0.0 } else { count as f64 / n as f64 };
    let row = |values: Vec<f64>| {
        let data = TensorData::new(values, [1, targets.per_class.len(), 1, 1]);
        Tensor::<4>::from_data(data, on(&logits.device(), logits.dtype()))
    };
    let inside = row(targets.per_class.iter().map(|&n| factor(n)).collect());
    let outside = row(targets
        .per_class
        .iter()
        .map(|&n| factor(count - n))
        .collect());
    let one_hot = &targets.one_hot;
    let factors = one_hot.clone() * (inside + outside.clone()) - outside;
    (factors * logits).mean_dim(1)
}

/// α·Σ F_k·relu(m/2 - s_k·f_k) - (1 - α)·Σ F_k·s_k·f_k, where F_y = 1 and F is the softmax of
/// f·clamp(T·m/max(mean |f|, m), 0.005, 250) over the other classes, without gradient
/// (deel-torchlip). The mean of |f| is that of this batch, not a running one: the loss has no
/// state.
pub fn soft_hkr(
    logits: Tensor<4>,
    targets: &Targets,
    alpha: f64,
    margin: f64,
    temperature: f64,
) -> Tensor<4> {
    let alpha = share(alpha);
    let fixed = logits.clone().detach();
    let values = (targets.count() * targets.per_class.len()) as f64;
    // void pixels hold zeros: they are in neither the sum nor the count
    let mean = fixed
        .clone()
        .abs()
        .sum()
        .div_scalar(values)
        .clamp_min(margin);
    let scale = mean
        .recip()
        .mul_scalar(temperature * margin)
        .clamp(0.005, 250.0);
    let scaled = fixed * scale.reshape([1, 1, 1, 1]);
    let factors = softmax(rivals(scaled, targets), 1) + targets.one_hot.clone();
    let signed = signed(logits, targets);
    let hinge = relu(margin / 2.0 - signed.clone()).mul_scalar(alpha);
    (factors * (hinge - signed.mul_scalar(1.0 - alpha))).sum_dim(1)
}

/// α·(relu(m/2 - f_y) + relu(m/2 + n)) - (1 - α)·(f_y - n) with the soft maximum of the rivals
/// n = ln(Σ_{j≠y} e^{t·f_j})/t, t = ln(K - 1)/(m·penalty/2) (deel-torchlip). For K = 2 any t
/// gives n = f_j, and t is 1.
pub fn lse_hkr(
    logits: Tensor<4>,
    targets: &Targets,
    alpha: f64,
    margin: f64,
    penalty: f64,
) -> Tensor<4> {
    let alpha = share(alpha);
    let t = match targets.per_class.len() {
        2 => 1.0,
        classes => (classes as f64 - 1.0).ln() / (margin * penalty / 2.0),
    };
    let label = targets.at_label(logits.clone());
    let rivals = rivals(logits, targets);
    let most = rivals.clone().detach().max_dim(1);
    let sum = (rivals - most.clone()).mul_scalar(t).exp().sum_dim(1);
    let rival = sum.log().div_scalar(t) + most;
    let hinges = relu(margin / 2.0 - label.clone()) + relu(rival.clone() + margin / 2.0);
    hinges.mul_scalar(alpha) - (label - rival).mul_scalar(1.0 - alpha)
}

/// α as a share: above 1 it is the older ratio of hinge to KR.
fn share(alpha: f64) -> f64 {
    if alpha > 1.0 {
        alpha / (1.0 + alpha)
    } else {
        alpha
    }
}

/// s_k·f_k.
fn signed(logits: Tensor<4>, targets: &Targets) -> Tensor<4> {
    logits * (targets.one_hot.clone().mul_scalar(2.0) - 1.0)
}

/// Logits with the pixel's class out of every maximum.
fn rivals(logits: Tensor<4>, targets: &Targets) -> Tensor<4> {
    logits.mask_fill(targets.label.clone(), f32::NEG_INFINITY)
}
