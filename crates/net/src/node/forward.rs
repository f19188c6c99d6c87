//! The forward pass: nodes in order, in training and in inference the same.

use std::collections::BTreeMap;

use burn::tensor::activation::relu;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};

use super::conv::{Conv, Wrap};
use super::{Node, Slot, cpu, mix_name, normal_name, ops, shift_name, slots};

/// Tensors of a network on a device: kernels by name, all else as (1, N, 1, 1).
pub struct Weights {
    /// Effective kernels, tensor NAME.weight.
    pub kernels: BTreeMap<String, Tensor<4>>,
    /// Biases, shifts, normals and mixing weights, each (1, N, 1, 1).
    pub channels: BTreeMap<String, Tensor<4>>,
}

impl Weights {
    /// Values by tensor name on a device; `leaf` is applied to every tensor.
    pub fn new(
        nodes: &[Node],
        values: &BTreeMap<String, Vec<f32>>,
        device: &Device,
        dtype: DType,
        leaf: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> Self {
        let (mut kernels, mut channels) = (BTreeMap::new(), BTreeMap::new());
        for Slot { name, shape, .. } in slots(nodes) {
            let values = &values[&name];
            match <[usize; 4]>::try_from(shape) {
                Ok(shape) => {
                    let data = TensorData::new(values.clone(), shape);
                    kernels.insert(name, leaf(Tensor::from_data(data, on(device, dtype))));
                }
                Err(_) => {
                    channels.insert(name, leaf(per_channel(values, device, dtype)));
                }
            }
        }
        Self { kernels, channels }
    }
}

/// Runs the nodes on a batch. `center` is asked for the output of every [`Node::Shift`] and
/// [`Node::BatchNorm`], so that training can observe and use the statistics of its input.
pub fn forward(
    nodes: &[Node],
    mut x: Tensor<4>,
    weights: &Weights,
    center: &mut dyn FnMut(&Node, Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    for node in nodes {
        x = match node {
            Node::Normalize { mean, std } => normalize(x, mean, std),
            Node::Conv(conv) => convolve(conv, x, weights),
            Node::Residual(conv) => residual(conv, x, weights),
            Node::Shift { .. } | Node::BatchNorm { .. } => center(node, x),
            Node::Center { name, .. } => {
                let apart = x.clone() - ops::image_mean(x);
                ops::add_channels(apart, weights.channels[&shift_name(name)].clone())
            }
            Node::MaxMin => ops::max_min(x),
            Node::GroupSort { size } => ops::group_sort(x, *size),
            Node::HouseHolder { name, .. } => {
                ops::householder(x, weights.channels[&normal_name(name)].clone())
            }
            Node::Abs => x.abs(),
            Node::Relu => relu(x),
            Node::Pool { kind, size, stride } => ops::pool(x, *kind, *size, *stride),
            Node::ImageMean => {
                let zeros = x.zeros_like();
                ops::image_mean(x) + zeros
            }
            Node::ImageMax { spread } => ops::image_max(x, *spread),
            Node::PixelShuffle { factor } => ops::shuffle(x, *factor),
            Node::PixelUnshuffle { factor } => ops::unshuffle(x, *factor),
            Node::Upsample { kind, factor } => ops::upsample(x, *kind, *factor),
            Node::Concat { branches, scale } => {
                let outputs = branches
                    .iter()
                    .map(|branch| forward(branch, x.clone(), weights, center))
                    .collect();
                Tensor::cat(outputs, 1).mul_scalar(*scale)
            }
            Node::Split { parts } => {
                let mut first = 0;
                let mut outputs = Vec::with_capacity(parts.len());
                for part in parts {
                    let part_of_x = x.clone().narrow(1, first, part.channels);
                    outputs.push(forward(&part.nodes, part_of_x, weights, center));
                    first += part.channels;
                }
                Tensor::cat(outputs, 1)
            }
            Node::Sum { name, branches, .. } => {
                let mix = &weights.channels[&mix_name(name)];
                let terms = branches.iter().enumerate().map(|(at, branch)| {
                    forward(branch, x.clone(), weights, center) * mix.clone().narrow(1, at, 1)
                });
                // a sum of no branches was refused when the nodes were checked
                terms.reduce(|sum, term| sum + term).unwrap_or(x)
            }
            Node::Prescaled { name, branch } => {
                let mix = &weights.channels[&mix_name(name)];
                let scaled = x.clone() * mix.clone().narrow(1, 0, 1);
                let y = forward(branch, scaled, weights, center);
                (x + y) * mix.clone().narrow(1, 1, 1)
            }
        };
    }
    x
}

/// The (1, N, 1, 1) tensor of values, in the precision and on the device asked for.
pub fn per_channel(values: &[f32], device: &Device, dtype: DType) -> Tensor<4> {
    let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1]);
    Tensor::from_data(data, on(device, dtype))
}

/// Creation options of a device and a precision.
pub fn on(device: &Device, dtype: DType) -> TensorCreationOptions {
    TensorCreationOptions::from(device).with_dtype(dtype)
}

fn normalize(x: Tensor<4>, mean: &[f32], std: &[f32]) -> Tensor<4> {
    let (device, dtype) = (x.device(), x.dtype());
    let mean = per_channel(mean, &device, dtype);
    let std = per_channel(std, &device, dtype);
    (x - mean) / std
}

fn convolve(conv: &Conv, x: Tensor<4>, weights: &Weights) -> Tensor<4> {
    let kernel = weights.kernels[&conv.weight_name()].clone();
    let bias = conv
        .bias
        .then(|| weights.channels[&conv.bias_name()].clone());
    match cpu::takes(&x) {
        true => convolve_by_kernels(conv, x, kernel, bias),
        false => convolve_by_burn(conv, x, kernel, bias),
    }
}

pub(super) fn convolve_by_kernels(
    conv: &Conv,
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<4>>,
) -> Tensor<4> {
    let scale = f64::from(conv.scale);
    let (x, by) = match conv.transposed {
        true => {
            let by = cpu::Convolution::adjoint(conv.geometry(), x.dims(), scale);
            (x, by)
        }
        false => {
            let (x, geometry) = bordered(conv, x);
            let by = cpu::Convolution::plain(geometry, x.dims(), scale);
            (x, by)
        }
    };
    cpu::convolution(x, kernel, bias, by)
}

pub(super) fn convolve_by_burn(
    conv: &Conv,
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<4>>,
) -> Tensor<4> {
    let mut y = match conv.transposed {
        true => adjoint(conv, x, kernel),
        false => plain(conv, x, kernel),
    };
    if let Some(bias) = bias {
        y = y + bias;
    }
    match conv.scale == 1.0 {
        true => y,
        false => y.mul_scalar(conv.scale),
    }
}

/// A map and the geometry of its convolution: circular borders that do not close are laid around
/// the map itself.
fn bordered(conv: &Conv, x: Tensor<4>) -> (Tensor<4>, certiseg_conv::Conv) {
    let geometry = conv.geometry();
    let [_, _, height, width] = x.dims();
    match conv.wrap {
        Wrap::Circular if !geometry.closes([height, width]) => {
            let bare = certiseg_conv::Conv {
                padding: 0,
                wrap: certiseg_conv::Wrap::Zeros,
                ..geometry
            };
            (ops::wrap(x, conv.padding), bare)
        }
        Wrap::Zeros | Wrap::Circular => (x, geometry),
    }
}

fn residual(conv: &Conv, x: Tensor<4>, weights: &Weights) -> Tensor<4> {
    let kernel = weights.kernels[&conv.weight_name()].clone();
    let bias = weights.channels[&conv.bias_name()].clone();
    match cpu::takes(&x) {
        true => cpu::residual(x, kernel, bias, conv.geometry()),
        false => residual_by_burn(conv, x, kernel, bias),
    }
}

pub(super) fn residual_by_burn(
    conv: &Conv,
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Tensor<4>,
) -> Tensor<4> {
    let hidden = relu(plain(conv, x.clone(), kernel.clone()) + bias);
    x - adjoint(conv, hidden, kernel).mul_scalar(2.0)
}

fn plain(conv: &Conv, x: Tensor<4>, kernel: Tensor<4>) -> Tensor<4> {
    let [stride, dilation] = [[conv.stride; 2], [conv.dilation; 2]];
    let (x, padding) = match conv.wrap {
        Wrap::Zeros => (x, conv.padding),
        Wrap::Circular => (ops::wrap(x, conv.padding), 0),
    };
    let options = ConvOptions::new(stride, [padding; 2], dilation, conv.groups);
    conv2d(x, kernel, None, options)
}

/// The transposed convolution; of a kernel [out, in, k, k] and zero padding, the adjoint of [`plain`].
fn adjoint(conv: &Conv, x: Tensor<4>, kernel: Tensor<4>) -> Tensor<4> {
    let [stride, dilation] = [[conv.stride; 2], [conv.dilation; 2]];
    let padding = [conv.padding; 2];
    let options = ConvTransposeOptions::new(stride, padding, [0; 2], dilation, conv.groups);
    conv_transpose2d(x, kernel, None, options)
}
