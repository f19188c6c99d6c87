//! The DeepLabV3-like network of paper 001 (appendices D and F).
//!
//! Encoder: per stage a 3x3 convolution with stride 2 and `repeats` − 1 blocks. ASPP: a 1x1 and three
//! dilated 3x3 branches, concatenated, then 1x1. Decoder: 3x3, then per stage a 2x2 transposed
//! convolution with stride 2 that halves the channels. Head: 1x1 with bias. No image pooling.

use crate::architecture::Architecture;
use crate::node::{Conv, Node, Wrap};

/// The nodes after the normalisation.
pub(crate) fn nodes(net: &Architecture) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut channels = 3;
    for (stage, &width) in net.widths().iter().enumerate() {
        nodes.extend(net.stage(stage, channels, width));
        channels = width;
    }
    nodes.push(aspp(net, channels));
    let branches = net.rates.len() + 1;
    nodes.extend(net.unit(net.conv("projection".into(), branches * channels, channels, 1)));
    nodes.push(Node::Conv(net.conv(
        "decoder".into(),
        channels,
        channels,
        3,
    )));
    nodes.push(net.activation("decoder", channels));
    for stage in 0..net.widths().len() {
        nodes.extend(net.up(format!("up.{stage}"), channels, channels / 2));
        channels /= 2;
    }
    nodes.push(net.scores("head".into(), channels));
    nodes
}

fn aspp(net: &Architecture, channels: usize) -> Node {
    let branch = |name: &str, kernel: usize, rate: usize| {
        vec![Node::Conv(Conv {
            dilation: rate,
            padding: rate * (kernel / 2),
            wrap: Wrap::Zeros,
            ..net.conv(format!("aspp.{name}"), channels, channels, kernel)
        })]
    };
    let dilated = net.rates.iter();
    let dilated = dilated.map(|&rate| branch(&format!("rate{rate}"), 3, rate));
    let branches: Vec<_> = std::iter::once(branch("point", 1, 1))
        .chain(dilated)
        .collect();
    let scale = (1.0 / (branches.len() as f64).sqrt()) as f32;
    Node::Concat { branches, scale }
}
