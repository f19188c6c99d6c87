//! Layers that treat every point alike: 1x1 convolutions on maps (channels, points).

use certiseg_conv::{Activation, After, Conv, Direction, Packed, Wrap};

use crate::infer::Number;

/// Weights of a layer, what follows it folded in.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    /// (out, input).
    pub kernel: Vec<f64>,
    /// (out).
    pub bias: Vec<f64>,
}

/// Batch normalisation as it is after a training.
pub struct Norm<'a> {
    /// Factor.
    pub gain: &'a [f64],
    /// Added last.
    pub shift: &'a [f64],
    /// Running mean.
    pub mean: &'a [f64],
    /// Running variance.
    pub variance: &'a [f64],
}

/// Added to a variance.
const VARIANCE: f64 = 1e-5;

impl Plain {
    /// The layer followed by a normalisation, as one layer.
    pub fn normalised(mut self, norm: &Norm) -> Self {
        let input = self.kernel.len() / self.bias.len();
        for (out, kernel) in self.kernel.chunks_exact_mut(input).enumerate() {
            let factor = norm.gain[out] / (norm.variance[out] + VARIANCE).sqrt();
            kernel.iter_mut().for_each(|weight| *weight *= factor);
            self.bias[out] = (self.bias[out] - norm.mean[out]) * factor + norm.shift[out];
        }
        self
    }
}

/// A layer, packed for the processor.
pub struct Layer<T> {
    kernel: Packed<T>,
    bias: Vec<T>,
    relu: bool,
}

impl<T: Number> Layer<T> {
    /// Rounds the weights.
    pub fn new(plain: &Plain, relu: bool) -> Self {
        let rounded = |values: &[f64]| -> Vec<T> { values.iter().map(|&v| T::of(v)).collect() };
        Self::of(&rounded(&plain.kernel), rounded(&plain.bias), relu)
    }

    /// From a kernel (out, input).
    pub fn of(kernel: &[T], bias: Vec<T>, relu: bool) -> Self {
        let out = bias.len();
        let conv = Conv {
            input: kernel.len() / out,
            out,
            kernel: 1,
            stride: 1,
            dilation: 1,
            groups: 1,
            padding: 0,
            wrap: Wrap::Zeros,
        };
        Self {
            kernel: Packed::new(&conv, Direction::Plain, kernel),
            bias,
            relu,
        }
    }

    /// (out, points) from (input, points).
    ///
    /// # Panics
    /// Where the length does not fit.
    pub fn apply(&self, points: usize, x: &[T]) -> Vec<T> {
        let conv = self.kernel.conv();
        let after = After {
            bias: Some(&self.bias),
            activation: match self.relu {
                true => Activation::Relu,
                false => Activation::None,
            },
            ..After::default()
        };
        let mut y = vec![T::ZERO; conv.out * points];
        self.kernel
            .apply(&conv.maps(1, [1, points]), x, &after, &mut y);
        y
    }
}

/// Layers one after the other.
pub struct Mlp<T>(pub Vec<Layer<T>>);

impl<T: Number> Mlp<T> {
    /// (out, points) from (input, points).
    ///
    /// # Panics
    /// Where the length does not fit.
    pub fn apply(&self, points: usize, x: Vec<T>) -> Vec<T> {
        self.0.iter().fold(x, |x, layer| layer.apply(points, &x))
    }

    /// Channels of the result.
    pub fn out(&self) -> usize {
        self.0.last().map_or(0, |layer| layer.bias.len())
    }
}
