//! What an attack sees of a network: logits, and gradients of sums of logits. Plain numbers, so that
//! the attacks know no tensor library and can be tried on functions of which everything is known.

use crate::error::Result;

/// Weights of some logits: (place in (K, H, W), weight).
pub type Sparse = Vec<(usize, f64)>;

/// A differentiable segmentation of pictures of one size. Its functions are pure, or as random as a
/// smoothed model is.
pub trait Model: Sync {
    /// Number of classes.
    fn classes(&self) -> usize;

    /// Logits (K, H, W) of a picture (3, H, W).
    ///
    /// # Errors
    /// Those of the forward pass.
    fn logits(&self, image: &[f32]) -> Result<Vec<f32>>;

    /// Logits of a picture, and the gradient (3, H, W) of Σ w·logits in the picture, where w (K, H, W)
    /// is what `weights` makes of the logits and counts as constant: the gradient of a loss, where w
    /// is that of the loss in the logits. One forward and one backward pass.
    ///
    /// # Errors
    /// Those of the passes.
    fn pull(
        &self,
        image: &[f32],
        weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
    ) -> Result<(Vec<f32>, Vec<f64>)>;

    /// Gradients at one picture of several weighted sums of logits, in f32: there may be many. One
    /// backward pass each.
    ///
    /// # Errors
    /// Those of the passes.
    fn rows(&self, image: &[f32], sums: &[Sparse]) -> Result<Vec<Vec<f32>>> {
        let row = |sum: &Sparse| {
            let mut weights = |logits: &[f32]| {
                let mut weights = vec![0.0; logits.len()];
                sum.iter().for_each(|&(at, weight)| weights[at] += weight);
                weights
            };
            let (_, gradient) = self.pull(image, &mut weights)?;
            Ok(gradient.into_iter().map(|g| g as f32).collect())
        };
        sums.iter().map(row).collect()
    }
}
