//! Strides: every stride-th row and column lies side by side in a plane of its own.

use rayon::prelude::*;

use crate::simd::Element;

/// A channel of the source as planes of every stride-th row and column, one after the other.
pub(crate) struct Planes {
    pub stride: usize,
    /// Height and width of a channel.
    pub from: [usize; 2],
    /// First entry, height and width, by first row · stride + first column.
    pub all: Vec<(usize, [usize; 2])>,
}

impl Planes {
    pub fn new(from: [usize; 2], stride: usize) -> Self {
        let mut at = 0;
        let all = (0..stride * stride).map(|plane| {
            let first = [plane / stride, plane % stride];
            let size = [0, 1].map(|axis| from[axis].saturating_sub(first[axis]).div_ceil(stride));
            let here = (at, size);
            at += size[0] * size[1];
            here
        });
        Self {
            stride,
            from,
            all: all.collect(),
        }
    }

    /// Writes whole channels of `x` as planes.
    pub fn unfold<T: Element>(&self, x: &[T], unfolded: &mut [T]) {
        let [height, width] = self.from;
        let channels = unfolded.par_chunks_exact_mut(height * width);
        let channels = channels.zip(x.par_chunks_exact(height * width));
        channels.with_min_len(4).for_each(|(target, x)| {
            for (plane, &(at, [h, w])) in self.all.iter().enumerate() {
                let [row, column] = [plane / self.stride, plane % self.stride];
                for r in 0..h {
                    let from = &x[(row + r * self.stride) * width..][..width];
                    let from = from.iter().skip(column).step_by(self.stride);
                    let target = &mut target[at + r * w..][..w];
                    target.iter_mut().zip(from).for_each(|(t, &v)| *t = v);
                }
            }
        });
    }
}
