//! What a training makes small: cross-entropies, hinges and losses on radii. Each is
//! Σ w_y·loss / Σ w_y over the counted pixels, w the class weights. In every formula f are the
//! logits of a pixel, y is its class and D_j = L·‖w_y - w_j‖ turns a difference of logits into a
//! radius.

use burn::tensor::Tensor;

mod consistency;
mod entropy;
mod hinge;
mod radius;
mod settings;
mod targets;
#[cfg(test)]
mod tests;

pub use consistency::Consistency;
pub use settings::Loss;
pub use targets::{Pairs, Targets};

impl Loss {
    /// The loss of a batch: one value, on the device and in the precision of the logits
    /// (B, K, H, W). Void pixels add exactly nothing, whatever their logits are. No number where
    /// every pixel is void, see [`Targets::is_void`].
    ///
    /// # Panics
    /// Where targets or pairs are for another shape or another number of classes.
    pub fn of(&self, logits: Tensor<4>, targets: &Targets, pairs: &Pairs) -> Tensor<1> {
        let targets = &targets.cast(logits.dtype());
        let f = targets.counted(logits);
        let reach = |eps: f64| pairs.at_labels(targets).mul_scalar(eps);
        let pixels = match *self {
            Loss::CrossEntropy { temperature } => entropy::cross_entropy(f, targets, temperature),
            Loss::MarginOffset {
                offset,
                temperature,
            } => entropy::margin_offset(f, targets, offset, temperature),
            Loss::LogitAnnealing {
                offset,
                temperature,
                power,
                eps,
            } => {
                let f = if eps > 0.0 {
                    entropy::emma(f, targets, reach(eps))
                } else {
                    f
                };
                entropy::annealed(f, targets, offset, temperature, power)
            }
            Loss::Emma { eps, temperature } => {
                let f = entropy::emma(f, targets, reach(eps));
                entropy::cross_entropy(f, targets, temperature)
            }
            Loss::Gloro { eps, temperature } => {
                let f = entropy::gloro(f, targets, reach(eps));
                entropy::cross_entropy(f, targets, temperature)
            }
            Loss::Cosine { share, eps } => {
                let lack = radius::shortfall(f.clone(), targets, reach(1.0), eps);
                lack.mul_scalar(share) - radius::cosine(f, targets).mul_scalar(1.0 - share)
            }
            Loss::Hkr { alpha, margin } => hinge::hkr(f, targets, alpha, margin),
            Loss::SoftHkr {
                alpha,
                margin,
                temperature,
            } => hinge::soft_hkr(f, targets, alpha, margin, temperature),
            Loss::LseHkr {
                alpha,
                margin,
                penalty,
            } => hinge::lse_hkr(f, targets, alpha, margin, penalty),
            Loss::Hinge { margin } => hinge::hinge(f, targets, margin),
            Loss::CategoricalHinge { margin } => hinge::categorical(f, targets, margin),
            Loss::Radius {
                eps,
                weight,
                temperature,
            } => {
                let radii = radius::signed_radius(&f, targets, pairs);
                let lack = radius::too_small(radii, eps).mul_scalar(weight);
                entropy::cross_entropy(f, targets, temperature) + lack
            }
            Loss::Certificate {
                share,
                weight,
                temperature,
            } => {
                let radii = radius::signed_radius(&f, targets, pairs);
                let budget = radius::budget(radii, targets, share).mul_scalar(weight);
                return targets.mean(entropy::cross_entropy(f, targets, temperature)) - budget;
            }
        };
        targets.mean(pixels)
    }
}

/// Mean of CE(τ·f, y)/τ over the counted pixels; `logits` are (B, K, H, W).
pub fn cross_entropy(logits: Tensor<4>, targets: &Targets, temperature: f64) -> Tensor<1> {
    let targets = &targets.cast(logits.dtype());
    let logits = targets.counted(logits);
    targets.mean(entropy::cross_entropy(logits, targets, temperature))
}
