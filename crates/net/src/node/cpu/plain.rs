//! The operations and the parts of their gradients, on burn's tensors on the CPU.

use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, TensorData};
use certiseg_conv::{self as kernels, Activation, After, Direction, Element, Packed, SHARE};
use rayon::prelude::*;

use super::{Convolution, Layers, buffers};
use crate::profile::{self, Pass};

/// A precision that tensors and kernels share.
trait Real: Element {
    /// Entries of a dense tensor.
    fn entries(tensor: &FlexTensor) -> &[Self];
    /// The same to change; a tensor that is shared is copied first.
    fn entries_mut(tensor: &mut FlexTensor) -> &mut [Self];
    /// A tensor of these entries, which are not copied.
    fn tensor(entries: Vec<Self>, shape: [usize; 4]) -> FlexTensor;
    /// Its name.
    const DTYPE: DType;
    /// The nearest number.
    fn nearest(value: f64) -> Self;
}

macro_rules! real {
    ($t:ty, $dtype:expr) => {
        impl Real for $t {
            fn entries(tensor: &FlexTensor) -> &[Self] {
                tensor.storage()
            }
            fn entries_mut(tensor: &mut FlexTensor) -> &mut [Self] {
                tensor.storage_mut()
            }
            fn tensor(entries: Vec<Self>, shape: [usize; 4]) -> FlexTensor {
                FlexTensor::from_data(TensorData::new(entries, shape))
            }
            const DTYPE: DType = $dtype;
            fn nearest(value: f64) -> Self {
                value as $t
            }
        }
    };
}

real!(f32, DType::F32);
real!(f64, DType::F64);

/// Calls a function of one precision with that of a tensor.
macro_rules! in_precision_of {
    ($tensor:expr, $function:ident($($argument:expr),*)) => {
        match $tensor.dtype() {
            DType::F32 => $function::<f32>($($argument),*),
            DType::F64 => $function::<f64>($($argument),*),
            other => panic!("layers on the CPU take f32 and f64, not {other:?}"),
        }
    };
}

/// The tensor with its entries in order and nothing else in its storage.
fn dense(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

fn dims(tensor: &FlexTensor) -> [usize; 4] {
    tensor.shape().dims()
}

impl Layers for Flex {
    fn layer_convolution(
        x: FlexTensor,
        kernel: FlexTensor,
        bias: FlexTensor,
        by: Convolution,
    ) -> FlexTensor {
        let has_bias = bias.shape().num_elements() > 0;
        apply(&by, x, kernel, has_bias.then_some(bias), Activation::None)
    }

    fn layer_residual(
        x: FlexTensor,
        kernel: FlexTensor,
        bias: FlexTensor,
        by: Convolution,
    ) -> FlexTensor {
        let hidden = hidden(&by, x.clone(), kernel.clone(), bias);
        minus_twice(&by, x, kernel, hidden)
    }

    fn layer_max_min(x: FlexTensor) -> FlexTensor {
        profile::layer(
            None,
            |_| "MaxMin".into(),
            0.0,
            || in_precision_of!(x, max_min_in(x)),
        )
    }

    fn layer_add_channels(x: FlexTensor, values: FlexTensor) -> FlexTensor {
        profile::layer(
            None,
            |_| "shift".into(),
            0.0,
            || in_precision_of!(x, add_channels_in(x, values)),
        )
    }

    fn layer_channel_means(x: FlexTensor) -> FlexTensor {
        let [batch, _, height, width] = dims(&x);
        channel_sums(x, 1.0 / (batch * height * width) as f64)
    }
}

/// activation(scale · (W ∗ x + bias)), the bias per channel.
pub fn apply(
    by: &Convolution,
    x: FlexTensor,
    kernel: FlexTensor,
    bias: Option<FlexTensor>,
    activation: Activation,
) -> FlexTensor {
    profile::layer(
        None,
        |reversed| by.kind(reversed),
        by.flop(),
        || in_precision_of!(x, apply_in(by, x, kernel, bias, activation)),
    )
}

fn apply_in<T: Real>(
    by: &Convolution,
    x: FlexTensor,
    kernel: FlexTensor,
    bias: Option<FlexTensor>,
    activation: Activation,
) -> FlexTensor {
    let [x, kernel] = [x, kernel].map(dense);
    let bias = bias.map(dense);
    let packed = Packed::new(&by.conv, by.direction, T::entries(&kernel));
    let after = After {
        bias: bias.as_ref().map(T::entries),
        scale: T::nearest(by.scale),
        activation,
        shift: None,
    };
    let mut y = buffers::take(by.result(), T::DTYPE);
    packed.apply(&by.maps, T::entries(&x), &after, T::entries_mut(&mut y));
    buffers::give_back(x);
    y
}

/// Gradient in the kernel, from what the convolution read and the gradient in what it made.
pub fn kernel_gradient(by: &Convolution, x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let pass = Some(Pass::WeightGradient);
    profile::layer(
        pass,
        |_| by.kind(false),
        by.flop(),
        || in_precision_of!(x, kernel_gradient_in(by, x, gradient)),
    )
}

fn kernel_gradient_in<T: Real>(
    by: &Convolution,
    x: FlexTensor,
    gradient: FlexTensor,
) -> FlexTensor {
    let (fine, coarse) = match by.direction {
        Direction::Plain => (x, gradient),
        Direction::Adjoint => (gradient, x),
    };
    let [fine, coarse] = [fine, coarse].map(dense);
    let [x, y] = [&fine, &coarse].map(T::entries);
    let mut kernel = kernels::weight_gradient(&by.conv, &by.maps, x, y);
    scale(&mut kernel, by.scale);
    for map in [fine, coarse] {
        buffers::give_back(map);
    }
    T::tensor(kernel, by.kernel())
}

fn scale<T: Real>(values: &mut [T], factor: f64) {
    if factor != 1.0 {
        let factor = T::nearest(factor);
        values.iter_mut().for_each(|v| *v = *v * factor);
    }
}

/// Sums over maps and pixels times a factor, (1, C, 1, 1).
pub fn channel_sums(x: FlexTensor, factor: f64) -> FlexTensor {
    profile::layer(
        None,
        |_| "sums per channel".into(),
        0.0,
        || in_precision_of!(x, channel_sums_in(x, factor)),
    )
}

fn channel_sums_in<T: Real>(x: FlexTensor, factor: f64) -> FlexTensor {
    let [_, channels, height, width] = dims(&x);
    let x = dense(x);
    let mut sums = kernels::channel_sums(channels, height * width, T::entries(&x));
    scale(&mut sums, factor);
    buffers::give_back(x);
    T::tensor(sums, [1, channels, 1, 1])
}

fn max_min_in<T: Real>(x: FlexTensor) -> FlexTensor {
    let shape @ [_, channels, height, width] = dims(&x);
    let x = dense(x);
    let mut y = buffers::take(shape, T::DTYPE);
    kernels::max_min(
        channels,
        height * width,
        T::entries(&x),
        T::entries_mut(&mut y),
    );
    buffers::give_back(x);
    y
}

/// Gradient of MaxMin in its input.
pub fn max_min_backward(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    profile::layer(
        None,
        |_| "MaxMin".into(),
        0.0,
        || in_precision_of!(x, max_min_backward_in(x, gradient)),
    )
}

fn max_min_backward_in<T: Real>(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let [_, channels, height, width] = dims(&x);
    let (x, mut gradient) = (dense(x), dense(gradient));
    let entries = T::entries_mut(&mut gradient);
    kernels::max_min_backward(channels, height * width, T::entries(&x), entries);
    buffers::give_back(x);
    gradient
}

fn add_channels_in<T: Real>(x: FlexTensor, values: FlexTensor) -> FlexTensor {
    let [_, _, height, width] = dims(&x);
    let (mut x, values) = (dense(x), dense(values));
    kernels::add_channels(T::entries(&values), height * width, T::entries_mut(&mut x));
    x
}

/// relu(K ∗ x + bias).
pub fn hidden(by: &Convolution, x: FlexTensor, kernel: FlexTensor, bias: FlexTensor) -> FlexTensor {
    apply(by, x, kernel, Some(bias), Activation::Relu)
}

/// x − 2·Kᵀ h.
pub fn minus_twice(
    by: &Convolution,
    x: FlexTensor,
    kernel: FlexTensor,
    h: FlexTensor,
) -> FlexTensor {
    let back = Convolution {
        scale: -2.0,
        ..by.reversed()
    };
    let y = apply(&back, h, kernel, None, Activation::None);
    in_precision_of!(x, pairwise_in(y, x, Pairwise::Sum))
}

/// The gradient −2·K ∗ `gradient` in K ∗ x + bias, from that in what a residual block made.
pub fn through_relu(
    by: &Convolution,
    kernel: FlexTensor,
    gradient: FlexTensor,
    hidden: FlexTensor,
) -> FlexTensor {
    let twice = Convolution { scale: -2.0, ..*by };
    let inside = apply(&twice, gradient, kernel, None, Activation::None);
    in_precision_of!(inside, pairwise_in(inside, hidden, Pairwise::WherePositive))
}

/// a + b.
pub fn sum(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    in_precision_of!(a, pairwise_in(a, b, Pairwise::Sum))
}

/// What is made of the entries a and b.
enum Pairwise {
    /// a + b.
    Sum,
    /// a where b > 0, else 0.
    WherePositive,
}

/// In the place of `a`.
fn pairwise_in<T: Real>(a: FlexTensor, b: FlexTensor, how: Pairwise) -> FlexTensor {
    let (mut a, b) = (dense(a), dense(b));
    let pairs = T::entries_mut(&mut a).par_iter_mut().zip(T::entries(&b));
    let pairs = pairs.with_min_len(SHARE);
    match how {
        Pairwise::Sum => pairs.for_each(|(a, &b)| *a = *a + b),
        Pairwise::WherePositive => {
            pairs.for_each(|(a, &b)| *a = if b > T::ZERO { *a } else { T::ZERO })
        }
    }
    buffers::give_back(b);
    a
}
