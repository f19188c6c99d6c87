//! A network as a table: one line per node.

use serde::Serialize;

use crate::error::Result;
use crate::network::Network;
use crate::node::{Construction, Node, Wrap, check_size, label, side_after, step, total_stride};

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Name, or the kind where it has none.
    pub name: String,
    /// What it is, in words.
    pub kind: String,
    /// Nesting in branches.
    pub depth: usize,
    /// Channels of its output.
    pub channels: usize,
    /// Height and width of its output, where those of the picture are known.
    pub size: Option<[usize; 2]>,
    /// Stored numbers.
    pub weights: usize,
}

/// A whole network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of classes.
    pub classes: usize,
    /// Stored numbers.
    pub weights: usize,
    /// What heights and widths of pictures must be multiples of.
    pub multiple: usize,
    /// In order, those inside branches after the node that holds them.
    pub lines: Vec<Line>,
}

/// Describes a network, for pictures of a (height, width) where given.
///
/// # Errors
/// [`crate::Error::ImageSize`] where such a picture does not fit.
pub fn of(network: &Network, size: Option<[usize; 2]>) -> Result<Summary> {
    if let Some([height, width]) = size {
        check_size(&network.nodes, height, width)?;
    }
    let mut lines = Vec::new();
    describe(&network.nodes, network, 3, size, 0, &mut lines)?;
    Ok(Summary {
        classes: network.classes(),
        weights: network.weights(),
        multiple: total_stride(&network.nodes),
        lines,
    })
}

fn describe(
    nodes: &[Node],
    network: &Network,
    mut channels: usize,
    mut size: Option<[usize; 2]>,
    depth: usize,
    lines: &mut Vec<Line>,
) -> Result<()> {
    for node in nodes {
        let (before, inside) = (channels, size);
        channels = step(node, channels)?;
        size = size.and_then(|[h, w]| Some([side_after(node, h)?, side_after(node, w)?]));
        let own = node.own_slots().into_iter();
        lines.push(Line {
            name: label(node).to_owned(),
            kind: kind(node),
            depth,
            channels,
            size,
            weights: own.map(|slot| network.tensors[&slot.name].len()).sum(),
        });
        let parts = match node {
            Node::Split { parts } => parts.iter().map(|part| part.channels).collect(),
            _ => vec![before; node.branches().len()],
        };
        for (branch, channels) in node.branches().into_iter().zip(parts) {
            describe(branch, network, channels, inside, depth + 1, lines)?;
        }
    }
    Ok(())
}

fn kind(node: &Node) -> String {
    match node {
        Node::Conv(conv) | Node::Residual(conv) => {
            let mut words = format!("{0}x{0} ", conv.kernel);
            words += match (node, conv.transposed) {
                (Node::Residual(_), _) => "residual",
                (_, true) => "transposed",
                (_, false) => "convolution",
            };
            for (what, value) in [
                ("stride", conv.stride),
                ("dilation", conv.dilation),
                ("groups", conv.groups),
            ] {
                if value != 1 {
                    words += &format!(", {what} {value}");
                }
            }
            words += match (conv.wrap, conv.padding) {
                (Wrap::Circular, 1..) => ", circular",
                (Wrap::Zeros, 0) if conv.kernel > 1 && !conv.transposed => ", valid",
                _ => "",
            };
            if conv.scale != 1.0 {
                words += &format!(", times {}", conv.scale);
            }
            words += match conv.construction {
                Construction::Free => "",
                Construction::Aoc(_) => ", orthogonal",
                Construction::Spectral => ", spectral",
                Construction::Aol => ", AOL",
                Construction::Soc { .. } => ", SOC",
                Construction::UnitRows => ", rows of norm 1",
            };
            words
        }
        Node::Pool { kind, size, stride } => {
            format!("{kind:?} pool {size}, stride {stride}").to_lowercase()
        }
        Node::Upsample { kind, factor } => format!("{kind:?} x{factor}").to_lowercase(),
        Node::Concat { branches, .. } => format!("{} branches", branches.len()),
        Node::Sum { branches, .. } => format!("sum of {}", branches.len()),
        Node::Split { parts } => format!("{} parts of the channels", parts.len()),
        Node::Prescaled { .. } => "pre-scaled residual".into(),
        Node::Normalize { .. } => "mean and std".into(),
        Node::Shift { .. } => "shift".into(),
        Node::Center { .. } => "centering over the image".into(),
        Node::HouseHolder { .. } => "HouseHolder".into(),
        _ => String::new(),
    }
}
