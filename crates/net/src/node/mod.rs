//! A network as a list of nodes: one description that training, baking, audit, forward pass, file
//! and export walk.
//!
//! Tensors belong to nodes by name: a node NAME has NAME.weight and the like, listed by [`slots`]. In
//! training they follow from raw parameters ([`crate::layer::Parametrisation`]); in a baked
//! [`crate::network::Network`] they are plain numbers, and what a node says of their construction is
//! history: no bound relies on it.

mod check;
mod conv;
mod cpu;
mod forward;
mod ops;

pub(crate) use check::{LARGEST, flow, label, side_after, step};
pub use check::{check_nodes, check_size, total_stride};
pub use conv::{Construction, Conv, Wrap};
pub use forward::{Weights, forward, on, per_channel};
pub(crate) use ops::{ROOT, add_channels, channel_means};

use serde::{Deserialize, Serialize};

use crate::layer::Parametrisation;

/// One step of the forward pass. Maps are (batch, channels, height, width); constants are l2.
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
    /// A convolution.
    Conv(Conv),
    /// x − 2·Kᵀ relu(K·x + bias), K a convolution of stride 1 that keeps the size: constant
    /// max(1, 2‖K‖² − 1). An AOC block where K is orthogonal, SLL where it is AOL, CPL where it is
    /// spectrally normalised.
    Residual(Conv),
    /// A shift per channel. In training: bias − running mean of the input (batch centering).
    Shift {
        /// Prefix of its tensors.
        name: String,
        /// Number of channels.
        channels: usize,
    },
    /// x minus its mean over the image, plus a bias per channel (layer centering): a projection.
    Center {
        /// Prefix of its tensors.
        name: String,
        /// Number of channels.
        channels: usize,
    },
    /// (x − mean)/√variance·gain + bias of a batch, with running statistics where it is not in
    /// training: not Lipschitz in training, folded into the convolution before it when baked.
    BatchNorm {
        /// Prefix of its tensors.
        name: String,
        /// Number of channels.
        channels: usize,
    },
    /// [max(a, b); min(a, b)] of the two halves a, b of the channels: exact, 1-Lipschitz.
    MaxMin,
    /// Groups of neighbouring channels sorted upwards: exact, 1-Lipschitz.
    GroupSort {
        /// Channels per group; all channels: FullSort.
        size: usize,
    },
    /// x − 2·relu(n·x)·n on the pairs (c, c + C/2) of channels, n = (sin, −cos)(θ/2): the reflection
    /// of one half-plane on the other, 1-Lipschitz without further scaling.
    HouseHolder {
        /// Prefix of its tensors.
        name: String,
        /// Number of channels, even.
        channels: usize,
    },
    /// |x|: exact, 1-Lipschitz.
    Abs,
    /// max(x, 0): exact, 1-Lipschitz, loses gradient norm.
    Relu,
    /// Pooling without padding; constant ⌈size/stride⌉.
    Pool {
        /// What is taken of a window.
        kind: Pooling,
        /// Side of the window.
        size: usize,
        /// Step of the window.
        stride: usize,
    },
    /// The mean over the image, broadcast: a projection.
    ImageMean,
    /// The maximum over the image, broadcast: constant 1, or the root of the number of pixels.
    ImageMax {
        /// What it is multiplied by.
        spread: Spread,
    },
    /// Depth to space, (C·f², H, W) to (C, H·f, W·f): an isometry.
    PixelShuffle {
        /// f.
        factor: usize,
    },
    /// Space to depth: an isometry.
    PixelUnshuffle {
        /// f.
        factor: usize,
    },
    /// Enlargement by a whole factor, divided by it: constant 1.
    Upsample {
        /// What is between the pixels.
        kind: Resampling,
        /// The factor.
        factor: usize,
    },
    /// `scale` times the concatenated outputs of branches that read the same input.
    Concat {
        /// Node lists in channel order.
        branches: Vec<Vec<Node>>,
        /// 1/√(number of branches) keeps the constant at one.
        scale: f32,
    },
    /// Branches of disjoint channels, their outputs concatenated: constant max L_i.
    Split {
        /// In channel order.
        parts: Vec<Part>,
    },
    /// Σ wᵢ·branchᵢ of the same input, w the tensor NAME.mix: constant Σ |wᵢ|·Lᵢ.
    Sum {
        /// Prefix of its tensor.
        name: String,
        /// The summands; an empty one is the input.
        branches: Vec<Vec<Node>>,
        /// How the weights are made in training.
        mix: Mix,
    },
    /// (x + f(α·x))·β with (α, β) the tensor NAME.mix: constant |β|·(1 + |α|·L_f).
    Prescaled {
        /// Prefix of its tensor.
        name: String,
        /// f.
        branch: Vec<Node>,
    },
}

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean times the side of the window.
    Average,
    /// √(Σ x² + 1e-12).
    L2,
    /// The maximum.
    Max,
}

/// Factor of a number that is repeated at every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// 1.
    Full,
    /// 1/√(number of pixels).
    Even,
}

impl Spread {
    /// The factor, rounded twice in f64.
    pub(crate) fn factor(self, pixels: usize) -> f64 {
        match self {
            Self::Full => 1.0,
            Self::Even => 1.0 / (pixels as f64).sqrt(),
        }
    }
}

/// What is between the pixels of an enlarged map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Each pixel becomes a block: an isometry.
    Nearest,
    /// Linear along both axes, half-pixel centres, clamped at the border.
    Bilinear,
}

/// Consecutive channels and what becomes of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Number of channels.
    pub channels: usize,
    /// The nodes; none: as they are.
    pub nodes: Vec<Node>,
}

/// How the weights of a sum are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// 1/N each.
    Even,
    /// The softmax of raw values, which start at 0.
    Learned,
}

/// A tensor of a network: its name, the shape of its effective values, how they are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// NAME.weight, NAME.bias, ...
    pub name: String,
    /// Of the effective tensor: four axes for kernels, one for all else.
    pub shape: Vec<usize>,
    /// How it follows from raw parameters.
    pub parametrisation: Parametrisation,
    /// Running statistic kept beside it in training, with its start value.
    pub running: Option<f32>,
}

impl Node {
    /// The nodes inside, branch by branch.
    pub fn branches(&self) -> Vec<&[Node]> {
        match self {
            Node::Concat { branches, .. } | Node::Sum { branches, .. } => {
                branches.iter().map(Vec::as_slice).collect()
            }
            Node::Split { parts } => parts.iter().map(|part| part.nodes.as_slice()).collect(),
            Node::Prescaled { branch, .. } => vec![branch],
            _ => Vec::new(),
        }
    }

    /// As [`Node::branches`], to change them.
    pub fn branches_mut(&mut self) -> Vec<&mut Vec<Node>> {
        match self {
            Node::Concat { branches, .. } | Node::Sum { branches, .. } => {
                branches.iter_mut().collect()
            }
            Node::Split { parts } => parts.iter_mut().map(|part| &mut part.nodes).collect(),
            Node::Prescaled { branch, .. } => vec![branch],
            _ => Vec::new(),
        }
    }

    /// The tensors of this node alone.
    pub(crate) fn own_slots(&self) -> Vec<Slot> {
        let channel = |name: String, length: usize, parametrisation, running| Slot {
            name,
            shape: vec![length],
            parametrisation,
            running,
        };
        let free = |length: usize, start: f32| Parametrisation::Free { length, start };
        match self {
            Node::Conv(conv) | Node::Residual(conv) => {
                let mut slots = vec![Slot {
                    name: conv.weight_name(),
                    shape: conv.shape().weight_shape().to_vec(),
                    parametrisation: conv.parametrisation(),
                    running: None,
                }];
                if conv.bias {
                    slots.push(channel(
                        conv.bias_name(),
                        conv.out,
                        free(conv.out, 0.0),
                        None,
                    ));
                }
                slots
            }
            Node::Shift { name, channels } => {
                vec![channel(
                    shift_name(name),
                    *channels,
                    free(*channels, 0.0),
                    Some(0.0),
                )]
            }
            Node::Center { name, channels } => {
                vec![channel(
                    shift_name(name),
                    *channels,
                    free(*channels, 0.0),
                    None,
                )]
            }
            Node::BatchNorm { name, channels } => vec![
                channel(shift_name(name), *channels, free(*channels, 0.0), Some(0.0)),
                channel(gain_name(name), *channels, free(*channels, 1.0), Some(1.0)),
            ],
            Node::HouseHolder { name, channels } => {
                let angles = Parametrisation::Angles {
                    pairs: channels / 2,
                };
                vec![channel(normal_name(name), *channels, angles, None)]
            }
            Node::Sum {
                name,
                branches,
                mix,
            } => {
                let count = branches.len();
                let weights = match mix {
                    Mix::Even => Parametrisation::Even { count },
                    Mix::Learned => Parametrisation::Softmax { count },
                };
                vec![channel(mix_name(name), count, weights, None)]
            }
            Node::Prescaled { name, .. } => {
                vec![channel(mix_name(name), 2, Parametrisation::Prescale, None)]
            }
            _ => Vec::new(),
        }
    }
}

/// Name of a shift or centering tensor.
pub fn shift_name(name: &str) -> String {
    format!("{name}.shift")
}

/// Name of the gain of a batch norm.
pub fn gain_name(name: &str) -> String {
    format!("{name}.gain")
}

/// Name of the normals of a HouseHolder activation: (n_c) of all pairs, then (n_{c + C/2}).
pub fn normal_name(name: &str) -> String {
    format!("{name}.normal")
}

/// Name of the weights of a merge.
pub fn mix_name(name: &str) -> String {
    format!("{name}.mix")
}

/// The nodes in order, those inside branches after the node that holds them.
pub fn walk<'a>(nodes: &'a [Node], visit: &mut impl FnMut(&'a Node)) {
    for node in nodes {
        visit(node);
        for branch in node.branches() {
            walk(branch, visit);
        }
    }
}

/// The convolutions in order, those of residual blocks and inside branches included.
pub fn convolutions(nodes: &[Node]) -> Vec<&Conv> {
    let mut convs = Vec::new();
    walk(nodes, &mut |node| {
        if let Node::Conv(conv) | Node::Residual(conv) = node {
            convs.push(conv);
        }
    });
    convs
}

/// All tensors of a node list, in order.
pub fn slots(nodes: &[Node]) -> Vec<Slot> {
    let mut slots = Vec::new();
    walk(nodes, &mut |node| slots.extend(node.own_slots()));
    slots
}

/// Number of raw parameters, without running statistics.
pub fn parameters(nodes: &[Node]) -> usize {
    let slots = slots(nodes);
    slots
        .iter()
        .map(|slot| slot.parametrisation.raw_len())
        .sum()
}

/// The convolution that mixes features into scores pixel by pixel, and the nodes before it. After it
/// may come what is linear, has constant 1 and treats every class alike: then differences of scores
/// have the constant of the features times ‖w_i − w_j‖. `None` where the network ends otherwise.
pub fn head(nodes: &[Node]) -> Option<(&Conv, &[Node])> {
    let alike = |node: &Node| matches!(node, Node::Shift { .. } | Node::Upsample { .. });
    let at = nodes.iter().rposition(|node| !alike(node))?;
    let Node::Conv(conv) = &nodes[at] else {
        return None;
    };
    let mixes = [conv.kernel, conv.stride, conv.padding, conv.groups] == [1, 1, 0, 1];
    // a transposed kernel has its rows in columns
    (mixes && !conv.transposed && conv.scale != 0.0).then_some((conv, &nodes[..at]))
}

/// The l2 constant if every kernel had norm 1: what training may aim at. No bound; that is the
/// audit's.
pub fn nominal(nodes: &[Node]) -> f64 {
    let constants = nodes.iter().map(|node| {
        let inside = node.branches().into_iter().map(nominal);
        match node {
            Node::Normalize { std, .. } => {
                1.0 / f64::from(std.iter().copied().fold(f32::INFINITY, f32::min))
            }
            Node::Conv(conv) => f64::from(conv.scale.abs()),
            Node::Concat { scale, .. } => {
                let squares = inside.map(|constant| constant * constant);
                f64::from(scale.abs()) * squares.sum::<f64>().sqrt()
            }
            Node::Split { .. } | Node::Sum { .. } | Node::Prescaled { .. } => {
                inside.fold(0.0, f64::max)
            }
            Node::Pool { size, stride, .. } => size.div_ceil(*stride) as f64,
            _ => 1.0,
        }
    });
    constants.product()
}

#[cfg(test)]
mod tests;
