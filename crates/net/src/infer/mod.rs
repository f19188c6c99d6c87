//! A baked network prepared for pictures of one size: kernels packed once, maps laid out in one
//! arena by their lives, what follows a convolution done with it. No tensor library, batch 1.
//!
//! [`crate::node::forward()`] is the definition; the sums have other orders here. The steps of a pass
//! are a `plan::Plan`, made by `lower` and run by `run` with the slice code of `ops`.

mod bands;
mod lower;
mod number;
mod ops;
mod plan;
mod pool;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use number::Number;
pub(crate) use pool::Pool;

use crate::error::{Error, Result};
use crate::network::Network;
use crate::node::{Node, check_size, flow};
use lower::Lowering;
use plan::{Plan, Shape};

/// Most bytes of the maps that a band of the last layers needs.
const BAND: usize = 1 << 20;

/// A network prepared for pictures of one size, with the memory of one pass.
pub struct Inference<T> {
    prepared: Arc<Prepared<T>>,
    arena: Vec<T>,
}

/// What passes share.
struct Prepared<T> {
    /// Mean and deviation per channel, where the network begins with them.
    normal: Option<[Vec<T>; 2]>,
    plan: Plan<T>,
    size: [usize; 2],
}

impl<T: Number> Inference<T> {
    /// Prepares a network for pictures (3, `height`, `width`).
    ///
    /// # Errors
    /// [`Error::Node`] where the nodes are no network, [`Error::ImageSize`].
    pub fn new(network: &Network, height: usize, width: usize) -> Result<Self> {
        Self::with_band(network, height, width, BAND)
    }

    /// As [`Inference::new`], with another bound for the bytes of a band.
    fn with_band(network: &Network, height: usize, width: usize, band: usize) -> Result<Self> {
        flow(&network.nodes, 3)?;
        check_size(&network.nodes, height, width)?;
        let (normal, nodes) = match network.nodes.as_slice() {
            [Node::Normalize { mean, std }, nodes @ ..] => {
                let wide = |values: &[f32]| values.iter().map(|&v| T::from(v)).collect();
                (Some([wide(mean), wide(std)]), nodes)
            }
            nodes => (None, nodes),
        };
        let picture = Shape {
            channels: 3,
            height,
            width,
        };
        let plan = Lowering::new(network).network(nodes, picture, band)?;
        Ok(Self::of(Arc::new(Prepared {
            normal,
            plan,
            size: [height, width],
        })))
    }

    fn of(prepared: Arc<Prepared<T>>) -> Self {
        let arena = vec![T::ZERO; prepared.plan.length];
        Self { prepared, arena }
    }

    /// Logits (K, H, W) of a picture (3, H, W) in [0, 1].
    ///
    /// # Errors
    /// [`Error::ImageLength`].
    pub fn forward(&mut self, image: &[f32]) -> Result<&[T]> {
        let Prepared { normal, plan, size } = &*self.prepared;
        let [got, expected] = [image.len(), 3 * size[0] * size[1]];
        if got != expected {
            return Err(Error::ImageLength { got, expected });
        }
        let input = &mut self.arena[plan.input.range()];
        ops::load(image, normal.as_ref(), size[0] * size[1], input);
        // from a thread of the pool: its first part of a layer begins at once
        let arena = &mut self.arena;
        rayon::scope(|_| plan.run(arena));
        Ok(&self.arena[plan.output.range()])
    }
}
