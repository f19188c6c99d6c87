//! U-Net. At each level `split` sends one half of the channels down, through the lower levels and up
//! again, and keeps the other half as the skip: disjoint inputs, so that the constant is their
//! maximum and nothing is scaled. Classic: the level is concatenated with what came up, divided by
//! √2, which costs that factor at every level. The construction is ours: paper 001 compares a U-Net
//! without describing it.

use crate::architecture::Architecture;
use crate::node::{Conv, Node, Part};

/// The nodes after the normalisation.
pub(crate) fn nodes(net: &Architecture, split: bool) -> Vec<Node> {
    let width = net.widths()[0];
    let down = Conv {
        stride: 2,
        ..net.conv("encoder.0.0".into(), 3, width, 3)
    };
    let mut nodes = net.unit(down);
    nodes.extend(level(net, 0, split));
    nodes.extend(net.up("up.0".into(), width, width / 2));
    nodes.push(net.scores("head".into(), width / 2));
    nodes
}

/// One level: blocks, what lies below, the merge and another block.
fn level(net: &Architecture, at: usize, split: bool) -> Vec<Node> {
    let width = net.widths()[at];
    let mut nodes = Vec::new();
    for repeat in 1..net.repeats() {
        nodes.extend(net.block(&format!("encoder.{at}.{repeat}"), width));
    }
    let Some(&below) = net.widths().get(at + 1) else {
        return nodes;
    };
    let sent = if split { width / 2 } else { width };
    let down = Conv {
        stride: 2,
        ..net.conv(format!("encoder.{}.0", at + 1), sent, below, 3)
    };
    let mut through = net.unit(down);
    through.extend(level(net, at + 1, split));
    through.extend(net.up(format!("up.{}", at + 1), below, sent));
    let joined = match split {
        true => {
            let part = |nodes| Part {
                channels: width / 2,
                nodes,
            };
            let parts = vec![part(through), part(Vec::new())];
            nodes.push(Node::Split { parts });
            width
        }
        false => {
            let branches = vec![through, Vec::new()];
            let scale = std::f32::consts::FRAC_1_SQRT_2;
            nodes.push(Node::Concat { branches, scale });
            2 * width
        }
    };
    nodes.extend(net.unit(net.conv(format!("merge.{at}"), joined, width, 1)));
    nodes.extend(net.block(&format!("decoder.{at}"), width));
    nodes
}
