//! Whether a node list is a network: channels fit from node to node, every number is usable, maps
//! come out at the size of the picture.

use std::collections::BTreeSet;

use super::conv::{Construction, Conv, Wrap};
use super::{Node, slots};
use crate::error::{Error, Result};

/// Largest channel count, kernel, stride, dilation, padding or side of a map.
pub(crate) const LARGEST: usize = 1 << 14;

/// Checks a node list from a file.
///
/// # Errors
/// [`Error::Node`] naming the node and what is wrong with it; [`Error::Unsupported`] where a kernel
/// has no such construction.
pub fn check_nodes(nodes: &[Node]) -> Result<()> {
    let classes = flow(nodes, 3)?;
    let mut names = BTreeSet::new();
    for slot in slots(nodes) {
        if let Some(name) = names.replace(slot.name) {
            return Err(Error::node(&name, "two nodes have a tensor of this name"));
        }
    }
    match nodes.last() {
        Some(Node::Conv(_) | Node::Upsample { .. } | Node::Sum { .. })
            if (2..=255).contains(&classes) =>
        {
            Ok(())
        }
        _ => Err(Error::node(
            "last node",
            "expected scores of 2 to 255 classes, from a convolution, an enlargement or a sum",
        )),
    }
}

/// Channels out of a node list, from channels in.
pub(crate) fn flow(nodes: &[Node], input: usize) -> Result<usize> {
    nodes.iter().try_fold(input, |channels, node| {
        let channels = step(node, channels)?;
        match (1..=LARGEST).contains(&channels) {
            true => Ok(channels),
            false => {
                let what = format!("{channels} channels, expected 1 to {LARGEST}");
                Err(Error::node(label(node), what))
            }
        }
    })
}

/// Channels out of a node.
pub(crate) fn step(node: &Node, channels: usize) -> Result<usize> {
    let refuse = |what: String| -> Result<usize> { Err(Error::node(label(node), what)) };
    let fits = |expected: usize| match expected == channels {
        true => Ok(()),
        false => refuse(format!("gets {channels} channels, expects {expected}")).map(drop),
    };
    let divides = |by: usize| match by > 0 && by <= LARGEST && channels.is_multiple_of(by) {
        true => Ok(()),
        false => refuse(format!(
            "needs a multiple of {by} channels, gets {channels}"
        ))
        .map(drop),
    };
    match node {
        Node::Normalize { mean, std } => {
            fits(mean.len())?;
            fits(std.len())?;
            let usable = |s: &f32| (f32::MIN_POSITIVE..f32::INFINITY).contains(s);
            if !std.iter().all(usable) || !mean.iter().all(|m| m.is_finite()) {
                return refuse(format!(
                    "mean {mean:?}, std {std:?}: expected finite, std positive"
                ));
            }
        }
        Node::Conv(conv) => {
            fits(conv.input)?;
            conv.check()?;
            return Ok(conv.out);
        }
        Node::Residual(conv) => {
            fits(conv.input)?;
            conv.check()?;
            let keeps = conv.stride == 1
                && !conv.transposed
                && conv.wrap == Wrap::Zeros
                && conv.bias
                && conv.scale == 1.0
                && conv.kernel % 2 == 1
                && conv.padding == conv.dilation * (conv.kernel / 2);
            if !keeps {
                return refuse(
                    "a residual block needs an odd kernel of stride 1, zero padding that keeps the size, a bias and no scale".into(),
                );
            }
        }
        Node::Shift { channels, .. }
        | Node::Center { channels, .. }
        | Node::BatchNorm { channels, .. } => fits(*channels)?,
        Node::HouseHolder { channels, .. } => {
            fits(*channels)?;
            divides(2)?;
        }
        Node::MaxMin => divides(2)?,
        Node::GroupSort { size } => divides(*size)?,
        Node::Abs | Node::Relu | Node::ImageMean | Node::ImageMax { .. } => {}
        Node::Pool { size, stride, .. } => {
            let usable = (1..=LARGEST).contains(size) && (1..=LARGEST).contains(stride);
            if !usable {
                return refuse(format!(
                    "window {size}, stride {stride}: expected 1 to {LARGEST}"
                ));
            }
        }
        Node::Upsample { factor, .. } => square(*factor).or_else(refuse).map(drop)?,
        Node::PixelShuffle { factor } => {
            let square = square(*factor).or_else(refuse)?;
            divides(square)?;
            return Ok(channels / square);
        }
        Node::PixelUnshuffle { factor } => {
            let square = square(*factor).or_else(refuse)?;
            return Ok(channels.saturating_mul(square));
        }
        Node::Concat { branches, scale } => {
            if branches.is_empty() || !scale.is_finite() {
                return refuse(format!("{} branches, scale {scale}", branches.len()));
            }
            let outputs = branches.iter().map(|branch| flow(branch, channels));
            return outputs.sum();
        }
        Node::Split { parts } => {
            let taken = parts.iter().map(|part| part.channels);
            let taken = taken.fold(0, usize::saturating_add);
            if parts.iter().any(|part| part.channels == 0) {
                return refuse("a part of 0 channels, expected at least 1".into());
            }
            fits(taken)?;
            let outputs = parts.iter().map(|part| flow(&part.nodes, part.channels));
            return outputs.sum();
        }
        Node::Sum { branches, .. } => {
            let mut outputs = branches.iter().map(|branch| flow(branch, channels));
            let Some(first) = outputs.next().transpose()? else {
                return refuse("no branches".into());
            };
            for output in outputs {
                let output = output?;
                if output != first {
                    return refuse(format!("branches of {first} and {output} channels"));
                }
            }
            return Ok(first);
        }
        Node::Prescaled { branch, .. } => {
            let output = flow(branch, channels)?;
            fits(output)?;
        }
    }
    Ok(channels)
}

/// The square of a factor, or what is wrong with it.
fn square(factor: usize) -> std::result::Result<usize, String> {
    match (1..=64).contains(&factor) {
        true => Ok(factor * factor),
        false => Err(format!("factor {factor}, expected 1 to 64")),
    }
}

/// What a node is called in messages.
pub(crate) fn label(node: &Node) -> &str {
    match node {
        Node::Conv(conv) | Node::Residual(conv) => &conv.name,
        Node::Shift { name, .. }
        | Node::Center { name, .. }
        | Node::BatchNorm { name, .. }
        | Node::HouseHolder { name, .. }
        | Node::Sum { name, .. }
        | Node::Prescaled { name, .. } => name,
        Node::Normalize { .. } => "normalize",
        Node::MaxMin => "max_min",
        Node::GroupSort { .. } => "group_sort",
        Node::Abs => "abs",
        Node::Relu => "relu",
        Node::Pool { .. } => "pool",
        Node::ImageMean => "image_mean",
        Node::ImageMax { .. } => "image_max",
        Node::PixelShuffle { .. } => "pixel_shuffle",
        Node::PixelUnshuffle { .. } => "pixel_unshuffle",
        Node::Upsample { .. } => "upsample",
        Node::Concat { .. } => "concat",
        Node::Split { .. } => "split",
    }
}

impl Conv {
    /// Whether the numbers are usable and the construction exists.
    fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::node(&self.name, what));
        let numbers = [
            ("channels in", self.input),
            ("channels out", self.out),
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
            ("groups", self.groups),
            // of padding 0 is as good as 1
            ("padding", self.padding.max(1)),
        ];
        for (what, got) in numbers {
            if !(1..=LARGEST).contains(&got) {
                return refuse(format!("{what} {got}, expected 1 to {LARGEST}"));
            }
        }
        if !self.scale.is_finite() {
            return refuse(format!("scale {}, expected a finite number", self.scale));
        }
        if !self.input.is_multiple_of(self.groups) || !self.out.is_multiple_of(self.groups) {
            let (input, out) = (self.input, self.out);
            return refuse(format!(
                "{} groups do not divide {input} channels in and {out} out",
                self.groups
            ));
        }
        if self.transposed && self.wrap == Wrap::Circular {
            return refuse("circular padding of a transposed convolution is not supported".into());
        }
        match self.construction {
            Construction::UnitRows if [self.kernel, self.stride, self.groups] != [1; 3] => {
                refuse("rows of norm 1 are for 1x1 convolutions of one group".into())
            }
            Construction::Soc { .. }
                if self.input != self.out || self.stride != 1 || self.groups != 1 =>
            {
                refuse("SOC keeps the channels: stride 1, one group, as many out as in".into())
            }
            _ => self.parametrisation().check(),
        }
    }
}

/// What heights and widths must be multiples of: the largest factor by which maps shrink on the way.
pub fn total_stride(nodes: &[Node]) -> usize {
    shrink(nodes, (1, 1)).1
}

/// (factor after the nodes, largest factor met), from those before.
fn shrink(nodes: &[Node], start: (usize, usize)) -> (usize, usize) {
    nodes.iter().fold(start, |(now, most), node| {
        let now = match node {
            Node::Conv(conv) if conv.transposed => (now / conv.stride).max(1),
            Node::Conv(conv) => now.saturating_mul(conv.stride),
            Node::Pool { stride, .. } => now.saturating_mul(*stride),
            Node::PixelUnshuffle { factor } => now.saturating_mul(*factor),
            Node::PixelShuffle { factor } | Node::Upsample { factor, .. } => (now / factor).max(1),
            _ => {
                let inside = node.branches().into_iter().map(|b| shrink(b, (now, most)));
                let inside: Vec<_> = inside.collect();
                let after = inside.first().map_or(now, |(after, _)| *after);
                let most = inside.iter().map(|(_, most)| *most).fold(most, usize::max);
                return (after, most);
            }
        };
        (now, most.max(now))
    })
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
    nodes.iter().try_fold(side, |side, node| {
        let side = side_after(node, side)?;
        (1..=LARGEST).contains(&side).then_some(side)
    })
}

/// The side of a map after one node.
pub(crate) fn side_after(node: &Node, side: usize) -> Option<usize> {
    match node {
        Node::Conv(conv) => conv.output_side(side),
        Node::Pool { size, stride, .. } => Some(side.checked_sub(*size)? / stride + 1),
        Node::PixelUnshuffle { factor } => side.is_multiple_of(*factor).then_some(side / factor),
        Node::PixelShuffle { factor } | Node::Upsample { factor, .. } => side.checked_mul(*factor),
        Node::Prescaled { branch, .. } => (through(branch, side)? == side).then_some(side),
        Node::Concat { .. } | Node::Sum { .. } | Node::Split { .. } => {
            let mut sides = node.branches().into_iter().map(|b| through(b, side));
            let first = sides.next()??;
            sides.all(|side| side == Some(first)).then_some(first)
        }
        _ => Some(side),
    }
}
