//! Temperature-scaled cross-entropy, CE(τ·f, y)/τ (paper 001, §5.1), averaged over the pixels that
//! count, each weighted by its class.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

/// Labels of a batch as a loss reads them.
pub struct Targets {
    /// (B, K, H, W): the class weight at the pixel's class, 0 elsewhere and on void pixels.
    weights: Tensor<4>,
    /// Sum of all weights; 0 where every pixel is void.
    total: f64,
}

impl Targets {
    /// From labels (B, H, W), where a value that is no class is void, and a weight per class.
    pub fn new(
        labels: &[u8],
        [batch, height, width]: [usize; 3],
        per_class: &[f32],
        device: &Device,
    ) -> Self {
        let (classes, pixels) = (per_class.len(), height * width);
        let mut weights = vec![0.0; batch * classes * pixels];
        let mut total = 0.0;
        for (at, &label) in labels.iter().enumerate() {
            let (image, pixel) = (at / pixels, at % pixels);
            if let Some(&weight) = per_class.get(usize::from(label)) {
                weights[(image * classes + usize::from(label)) * pixels + pixel] = weight;
                total += f64::from(weight);
            }
        }
        let data = TensorData::new(weights, [batch, classes, height, width]);
        Self {
            weights: Tensor::from_data(data, device),
            total,
        }
    }

    /// Whether no pixel counts: there is nothing to learn from this batch.
    pub fn is_void(&self) -> bool {
        self.total == 0.0
    }
}

/// Mean of CE(τ·f, y)/τ over the counted pixels; `logits` are (B, K, H, W).
pub fn cross_entropy(logits: Tensor<4>, targets: &Targets, temperature: f64) -> Tensor<1> {
    let log_probabilities = log_softmax(logits.mul_scalar(temperature), 1);
    let sum = (log_probabilities * targets.weights.clone()).sum();
    sum.mul_scalar(-1.0 / (temperature * targets.total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::DType;

    use crate::network::floats;
    use crate::node::on;

    /// The reference values carry 10 digits.
    const DIGITS: f64 = 1e-9;

    fn loss(pixels: &[&[f64]], labels: &[u8], weights: &[f32], temperature: f64) -> f64 {
        let (classes, device) = (weights.len(), Device::flex());
        let n = pixels.len();
        let mut logits = vec![0.0; classes * n];
        for (at, pixel) in pixels.iter().enumerate() {
            for (class, &value) in pixel.iter().enumerate() {
                logits[class * n + at] = value;
            }
        }
        let data = TensorData::new(logits, [1, classes, 1, n]);
        let logits = Tensor::<4>::from_data(data, on(&device, DType::F64));
        let mut targets = Targets::new(labels, [1, 1, n], weights, &device);
        targets.weights = targets.weights.cast(DType::F64);
        floats(cross_entropy(logits, &targets, temperature)).unwrap()[0]
    }

    #[test]
    fn the_reference_pixels() {
        let (a, b): (&[f64], &[f64]) = (&[1.0, 0.2, -0.5], &[0.1, 0.4, -0.2]);
        let table = [
            (a, 1.0, 0.514_295_072_8),
            (b, 1.0, 1.128_390_169_9),
            (a, 5.0, 0.003_738_583_4),
            (b, 5.0, 0.348_262_259_3),
            (b, 20.0, 0.300_124_090_7),
        ];
        for (pixel, temperature, expected) in table {
            let got = loss(&[pixel], &[0], &[1.0; 3], temperature);
            assert!((got - expected).abs() < DIGITS, "{got} {expected}");
        }
    }

    #[test]
    fn class_weights_and_void_pixels() {
        // f32 weights 0.8 and 1.3 are off by 3e-8 relative
        let pixels: [&[f64]; 3] = [&[0.3, -0.1], &[0.2, 0.5], &[9.0, -9.0]];
        let got = loss(&pixels, &[0, 1, 255], &[0.8, 1.3], 8.0);
        assert!((got - 0.008_622_003_8).abs() < 1e-9, "{got}");
    }

    #[test]
    fn a_void_batch_says_so() {
        let targets = Targets::new(&[255; 4], [1, 2, 2], &[1.0; 2], &Device::flex());
        assert!(targets.is_void());
    }
}
