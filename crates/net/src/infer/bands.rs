//! The last layers in bands of rows, so that maps at full resolution are never whole.

use super::Number;
use super::plan::{Place, Plan};
use crate::node::{Conv, Node, side_after};

/// A plan for bands of rows of a map, and where they lie.
pub(super) struct Bands<T> {
    /// For as many rows as its input has.
    pub full: Plan<T>,
    /// For those that are left.
    pub rest: Option<Plan<T>>,
    /// Their arena.
    pub scratch: Place,
}

impl<T: Number> Bands<T> {
    /// From a map `x` to `y`, both whole.
    pub fn run(&self, from: Place, to: Place, x: &[T], scratch: &mut [T], y: &mut [T]) {
        let mut done = 0;
        while done < from.shape.height {
            let left = from.shape.height - done;
            let plan = match &self.rest {
                Some(rest) if left < self.full.input.shape.height => rest,
                _ => &self.full,
            };
            let (read, made) = (plan.input.shape, plan.output.shape);
            let band = &mut scratch[plan.input.range()];
            let rows = band.chunks_exact_mut(read.pixels());
            for (band, x) in rows.zip(x.chunks_exact(from.shape.pixels())) {
                band.copy_from_slice(&x[done * read.width..][..read.pixels()]);
            }
            plan.run(scratch);
            // the tail enlarges every row alike
            let first = done * (to.shape.height / from.shape.height);
            let rows = scratch[plan.output.range()].chunks_exact(made.pixels());
            for (band, y) in rows.zip(y.chunks_exact_mut(to.shape.pixels())) {
                y[first * made.width..][..made.pixels()].copy_from_slice(band);
            }
            done += read.height;
        }
    }
}

/// Where the layers begin that can be run in bands, and enlarge: the number of nodes before them.
pub(super) fn tail(nodes: &[Node]) -> Option<usize> {
    let local = nodes.iter().rev().take_while(|node| is_local(node)).count();
    let first = nodes.len() - local;
    let enlarges = |node: &Node| is_local(node) && side_after(node, 1).is_some_and(|side| side > 1);
    let at = nodes[first..].iter().position(enlarges)?;
    Some(first + at)
}

/// Whether every row of the result depends on one row of the input, as many rows on each.
fn is_local(node: &Node) -> bool {
    match node {
        Node::Conv(Conv {
            kernel,
            stride,
            dilation,
            padding: 0,
            transposed,
            ..
        }) => {
            let reach = dilation * (kernel - 1) + 1;
            reach == *stride && (*transposed || *stride == 1)
        }
        Node::Residual(conv) => conv.kernel == 1,
        Node::Conv(_)
        | Node::BatchNorm { .. }
        | Node::Center { .. }
        | Node::ImageMean
        | Node::ImageMax { .. }
        | Node::Pool { .. }
        | Node::PixelUnshuffle { .. } => false,
        Node::Normalize { .. }
        | Node::Shift { .. }
        | Node::MaxMin
        | Node::GroupSort { .. }
        | Node::HouseHolder { .. }
        | Node::Abs
        | Node::Relu
        | Node::PixelShuffle { .. } => true,
        Node::Upsample { kind, .. } => *kind == crate::node::Resampling::Nearest,
        Node::Concat { .. } | Node::Split { .. } | Node::Sum { .. } | Node::Prescaled { .. } => {
            let mut inside = node.branches().into_iter().flatten();
            inside.all(is_local)
        }
    }
}
