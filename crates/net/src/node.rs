//! A network as a list of nodes: one description that training, baking, audit, file and forward
//! pass walk.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layer::aoc::Aoc;

/// One step of the forward pass. Maps are (batch, channels, height, width).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Node {
    /// (x − mean) / std per input channel; Lipschitz constant 1 / min std.
    Normalize {
        /// Per channel.
        mean: Vec<f32>,
        /// Per channel, positive.
        std: Vec<f32>,
    },
    /// A convolution with orthogonal kernel.
    Conv(Conv),
    /// A shift per channel. In training: bias − running mean of the input (batch centering).
    Shift {
        /// Prefix of its tensors.
        name: String,
        /// Number of channels.
        channels: usize,
    },
    /// [max(a, b); min(a, b)] of the two halves a, b of the channels: exact, 1-Lipschitz.
    MaxMin,
    /// `scale` times the concatenated outputs of branches that read the same input.
    Concat {
        /// Node lists in channel order.
        branches: Vec<Vec<Node>>,
        /// 1/√(number of branches) keeps the constant at one.
        scale: f32,
    },
}

/// What lies beyond the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrap {
    /// Zeros.
    Zeros,
    /// The opposite border; sound only where the stride divides the map.
    Circular,
}

/// y = scale · (W ∗ x + bias).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Prefix of its tensors.
    pub name: String,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub out: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Distance of the taps.
    pub dilation: usize,
    /// Rows and columns added on every side.
    pub padding: usize,
    /// What they hold.
    pub wrap: Wrap,
    /// Whether it enlarges the map by its stride.
    pub transposed: bool,
    /// Whether there is a bias, tensor NAME.bias.
    pub bias: bool,
    /// A constant factor on the output (RMS scaling).
    pub scale: f32,
}

impl Conv {
    /// The orthogonal construction of the kernel.
    pub fn aoc(&self) -> Aoc {
        Aoc {
            input: self.input,
            out: self.out,
            kernel: self.kernel,
            stride: self.stride,
            transposed: self.transposed,
        }
    }

    /// Side of the output for a side of the input; `None` where the kernel does not fit.
    pub(crate) fn output_side(&self, side: usize) -> Option<usize> {
        let reach = self.dilation * (self.kernel - 1);
        let padding = 2 * self.padding;
        let side = match self.transposed {
            true => {
                let apart = side.checked_sub(1)?.checked_mul(self.stride)?;
                apart.checked_add(reach + 1)?.checked_sub(padding)?
            }
            false if self.wrap == Wrap::Circular && self.padding > side => return None,
            false => side.checked_add(padding)?.checked_sub(reach + 1)? / self.stride + 1,
        };
        (1..=LARGEST).contains(&side).then_some(side)
    }

    /// Name of the weight tensor.
    pub fn weight_name(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Name of the bias tensor.
    pub fn bias_name(&self) -> String {
        format!("{}.bias", self.name)
    }
}

/// The nodes in order, those inside branches included.
pub fn walk<'a>(nodes: &'a [Node], visit: &mut impl FnMut(&'a Node)) {
    for node in nodes {
        visit(node);
        if let Node::Concat { branches, .. } = node {
            branches.iter().for_each(|branch| walk(branch, visit));
        }
    }
}

/// The convolutions in order, those inside branches included.
pub fn convolutions(nodes: &[Node]) -> Vec<&Conv> {
    let mut convs = Vec::new();
    walk(nodes, &mut |node| {
        if let Node::Conv(conv) = node {
            convs.push(conv);
        }
    });
    convs
}

/// Largest channel count, kernel, stride, dilation, padding or side of a map.
const LARGEST: usize = 1 << 14;

/// Checks a node list from a file: channels fit from node to node, every number is usable.
///
/// # Errors
/// [`Error::Node`] naming the node and what is wrong with it.
pub fn check_nodes(nodes: &[Node]) -> Result<()> {
    let mut names = BTreeSet::new();
    let classes = flow(nodes, 3, &mut names)?;
    match nodes.last() {
        Some(Node::Conv(_)) if (2..=255).contains(&classes) => Ok(()),
        _ => Err(Error::node(
            "last node",
            "expected a convolution to 2 to 255 classes",
        )),
    }
}

/// Channels out of a node list, from channels in.
fn flow<'a>(nodes: &'a [Node], input: usize, names: &mut BTreeSet<&'a str>) -> Result<usize> {
    let mut channels = input;
    for node in nodes {
        let fits = |name: &str, expected: usize| match expected == channels {
            true => Ok(()),
            false => {
                let what = format!("gets {channels} channels, expects {expected}");
                Err(Error::node(name, what))
            }
        };
        match node {
            Node::Normalize { mean, std } => {
                fits("normalize", mean.len())?;
                fits("normalize", std.len())?;
                let usable = |s: &f32| (f32::MIN_POSITIVE..f32::INFINITY).contains(s);
                if !std.iter().all(usable) || !mean.iter().all(|m| m.is_finite()) {
                    let what = format!("mean {mean:?}, std {std:?}: expected finite, std positive");
                    return Err(Error::node("normalize", what));
                }
            }
            Node::Conv(conv) => {
                fits(&conv.name, conv.input)?;
                let numbers = [
                    conv.input,
                    conv.out,
                    conv.kernel,
                    conv.stride,
                    conv.dilation,
                ];
                let usable = |n: &usize| (1..=LARGEST).contains(n);
                if !numbers.iter().all(usable) || conv.padding > LARGEST || !conv.scale.is_finite()
                {
                    let what = format!("unusable numbers in {conv:?}");
                    return Err(Error::node(&conv.name, what));
                }
                if conv.transposed && conv.wrap == Wrap::Circular {
                    let what = "circular padding of a transposed convolution is not supported";
                    return Err(Error::node(&conv.name, what));
                }
                if !names.insert(&conv.name) {
                    return Err(Error::node(&conv.name, "the name occurs twice"));
                }
                channels = conv.out;
            }
            Node::Shift { name, channels } => fits(name, *channels)?,
            Node::MaxMin if channels % 2 == 1 => {
                let what = format!("needs an even number of channels, gets {channels}");
                return Err(Error::node("max_min", what));
            }
            Node::MaxMin => {}
            Node::Concat { branches, scale } => {
                if branches.is_empty() || !scale.is_finite() {
                    let what = format!("{} branches, scale {scale}", branches.len());
                    return Err(Error::node("concat", what));
                }
                let outputs = branches.iter().map(|branch| flow(branch, channels, names));
                channels = outputs.sum::<Result<usize>>()?;
            }
        }
    }
    Ok(channels)
}

/// The product of all strides of the trunk: heights and widths must be multiples of it.
pub fn total_stride(nodes: &[Node]) -> usize {
    let strides = nodes.iter().map(|node| match node {
        Node::Conv(conv) if !conv.transposed => conv.stride,
        _ => 1,
    });
    strides.fold(1, usize::saturating_mul)
}

/// Checks that a (height, width) picture comes out at its own size.
///
/// # Errors
/// [`Error::ImageSize`] where a side is zero, no multiple of the total stride, or does not pass.
pub fn check_size(nodes: &[Node], height: usize, width: usize) -> Result<()> {
    let multiple = total_stride(nodes);
    let fits = |side: usize| {
        let usable = (1..=LARGEST).contains(&side) && side.is_multiple_of(multiple);
        usable && through(nodes, side) == Some(side)
    };
    match fits(height) && fits(width) {
        true => Ok(()),
        false => Err(Error::ImageSize {
            height,
            width,
            multiple,
        }),
    }
}

/// The side of a map after the nodes; `None` where it does not pass or branches disagree.
fn through(nodes: &[Node], side: usize) -> Option<usize> {
    nodes.iter().try_fold(side, |side, node| match node {
        Node::Conv(conv) => conv.output_side(side),
        Node::Concat { branches, .. } => {
            let mut sides = branches.iter().map(|branch| through(branch, side));
            let first = sides.next()??;
            sides.all(|side| side == Some(first)).then_some(first)
        }
        Node::Normalize { .. } | Node::Shift { .. } | Node::MaxMin => Some(side),
    })
}

/// Tensors of a network on a device: kernels by name, per-channel values as (1, C, 1, 1).
pub struct Weights {
    /// Effective kernels, tensor NAME.weight.
    pub kernels: BTreeMap<String, Tensor<4>>,
    /// Biases and shifts, NAME.bias and NAME.shift, each (1, C, 1, 1).
    pub channels: BTreeMap<String, Tensor<4>>,
}

/// Runs the nodes on a batch. `shift` gives the (1, C, 1, 1) shift of a [`Node::Shift`] from its
/// name and its input, so that training can observe the mean of that input.
pub fn forward(
    nodes: &[Node],
    mut x: Tensor<4>,
    weights: &Weights,
    shift: &mut impl FnMut(&str, &Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    for node in nodes {
        x = match node {
            Node::Normalize { mean, std } => normalize(x, mean, std),
            Node::Conv(conv) => convolve(conv, x, weights),
            Node::Shift { name, .. } => {
                let shift = shift(name, &x);
                x + shift
            }
            Node::MaxMin => max_min(x),
            Node::Concat { branches, scale } => {
                let outputs = branches
                    .iter()
                    .map(|branch| forward(branch, x.clone(), weights, shift))
                    .collect();
                Tensor::cat(outputs, 1).mul_scalar(*scale)
            }
        };
    }
    x
}

/// The (1, C, 1, 1) tensor of per-channel values, in the precision and on the device of `like`.
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

fn max_min(x: Tensor<4>) -> Tensor<4> {
    let [_, channels, _, _] = x.dims();
    let half = channels / 2;
    let a = x.clone().narrow(1, 0, half);
    let b = x.narrow(1, half, half);
    Tensor::cat(vec![a.clone().max_pair(b.clone()), a.min_pair(b)], 1)
}

fn convolve(conv: &Conv, x: Tensor<4>, weights: &Weights) -> Tensor<4> {
    let kernel = weights.kernels[&conv.weight_name()].clone();
    let [stride, dilation] = [[conv.stride; 2], [conv.dilation; 2]];
    let mut y = match (conv.transposed, conv.wrap) {
        (true, _) => {
            let options = ConvTransposeOptions::new(stride, [conv.padding; 2], [0; 2], dilation, 1);
            conv_transpose2d(x, kernel, None, options)
        }
        (false, Wrap::Zeros) => {
            let options = ConvOptions::new(stride, [conv.padding; 2], dilation, 1);
            conv2d(x, kernel, None, options)
        }
        (false, Wrap::Circular) => {
            let options = ConvOptions::new(stride, [0; 2], dilation, 1);
            conv2d(wrap(x, conv.padding), kernel, None, options)
        }
    };
    if conv.bias {
        y = y + weights.channels[&conv.bias_name()].clone();
    }
    match conv.scale == 1.0 {
        true => y,
        false => y.mul_scalar(conv.scale),
    }
}

/// Circular padding by `padding` rows and columns on every side.
fn wrap(x: Tensor<4>, padding: usize) -> Tensor<4> {
    if padding == 0 {
        return x;
    }
    [2, 3].into_iter().fold(x, |x, axis| {
        let side = x.dims()[axis];
        let last = x.clone().narrow(axis, side - padding, padding);
        let first = x.clone().narrow(axis, 0, padding);
        Tensor::cat(vec![last, x, first], axis)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deeplab::DeepLab;

    fn nodes() -> Vec<Node> {
        DeepLab::default().resolve(64).unwrap().nodes()
    }

    #[test]
    fn the_network_passes_its_own_check() {
        check_nodes(&nodes()).unwrap();
        assert_eq!(total_stride(&nodes()), 8);
        check_size(&nodes(), 64, 128).unwrap();
    }

    #[test]
    fn image_size() {
        for (height, width) in [(60, 64), (64, 0), (64, 65)] {
            let error = check_size(&nodes(), height, width).unwrap_err();
            assert!(error.to_string().contains("multiples of 8"), "{error}");
        }
    }

    #[test]
    fn node() {
        type Change = fn(&mut Vec<Node>);
        let changes: [(Change, &str); 7] = [
            (|n| n.truncate(n.len() - 1), "last node"),
            (|n| n.insert(1, Node::MaxMin), "even number"),
            (|n| drop(n.remove(1)), "gets 3 channels"),
            (|n| n.insert(1, n[1].clone()), "encoder.0.0"),
            (|n| set_first(n, |c| c.stride = 0), "unusable"),
            (|n| set_first(n, |c| c.scale = f32::NAN), "unusable"),
            (
                |n| {
                    n[0] = Node::Normalize {
                        mean: vec![0.0; 3],
                        std: vec![0.0; 3],
                    }
                },
                "std positive",
            ),
        ];
        for (change, expected) in changes {
            let mut nodes = nodes();
            change(&mut nodes);
            let error = check_nodes(&nodes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    fn set_first(nodes: &mut [Node], change: fn(&mut Conv)) {
        if let Node::Conv(conv) = &mut nodes[1] {
            change(conv);
        }
    }

    #[test]
    fn circular_padding_brings_the_opposite_border() {
        let device = Device::flex();
        let data = TensorData::new(vec![1f32, 2.0, 3.0, 4.0], [1, 1, 2, 2]);
        let x = Tensor::<4>::from_data(data, on(&device, DType::F32));
        let wrapped = wrap(x, 1).into_data().try_into_vec::<f32>().unwrap();
        let expected = [
            4.0, 3.0, 4.0, 3.0, 2.0, 1.0, 2.0, 1.0, 4.0, 3.0, 4.0, 3.0, 2.0, 1.0, 2.0, 1.0,
        ];
        assert_eq!(wrapped, expected);
    }

    #[test]
    fn max_min_orders_the_two_halves() {
        let device = Device::flex();
        let data = TensorData::new(vec![1f32, -2.0, 0.5, 7.0], [1, 4, 1, 1]);
        let x = Tensor::<4>::from_data(data, on(&device, DType::F32));
        let got = max_min(x).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(got, [1.0, 7.0, 0.5, -2.0]);
    }
}
