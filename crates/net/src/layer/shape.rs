//! Shape of a convolution kernel, and the kernel regrouped by the stride (polyphase).
//!
//! A convolution of stride s is one of stride 1 on the s² phases of its input: tap (y, x) becomes
//! tap (⌊y/s⌋, ⌊x/s⌋) of the input channel of phase (y mod s, x mod s), and the norm on Z² is that
//! of the regrouped kernel. Dilation d leaves the norm of stride s/gcd(s, d): the
//! taps of a window lie in one class modulo d, and windows of other classes are independent. A transposed convolution is the adjoint: its array is
//! that of the convolution out → in and is regrouped as such.

use super::kernel::Kernel;
use super::matrix::Real;
use super::orthogonal::Orthogonaliser;
use crate::rng::Rng;

/// Shape of a convolution kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub out: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Dilation.
    pub dilation: usize,
    /// Groups: independent blocks of channels.
    pub groups: usize,
    /// The adjoint of the convolution out → in; weight layout [in, out/groups, k, k].
    pub transposed: bool,
}

impl Shape {
    /// The four axes of the weight: [out, in/groups, k, k], or [in, out/groups, k, k] where
    /// transposed.
    pub fn weight_shape(&self) -> [usize; 4] {
        let [rows, cols] = self.block();
        [rows * self.groups, cols, self.kernel, self.kernel]
    }

    /// Number of entries of the weight.
    pub fn weight_len(&self) -> usize {
        self.weight_shape().iter().product()
    }

    /// Start values of a free kernel: the taps of the polyphase kernel are zero but the one that
    /// holds the middle of the kernel, which is orthogonal (the polar factor of a Gaussian
    /// matrix). So the layer starts norm-preserving, or a projection where it has fewer values out
    /// than in ("delta-orthogonal", Xiao et al. 2018); a Gaussian kernel divided by its norm would
    /// lose half of the norm of a signal in every layer.
    pub fn start(&self, rng: &mut Rng) -> Vec<f32> {
        let [rows, cols] = self.block();
        let taps = self.kernel * self.kernel;
        let middle = (self.kernel - 1) / 2 * (self.kernel + 1);
        let tap = self.place(middle).0;
        let inside: Vec<usize> = (0..cols * taps)
            .filter(|&index| self.place(index).0 == tap)
            .collect();
        let mut raw = vec![0.0; self.weight_len()];
        for block in raw.chunks_exact_mut(rows * cols * taps) {
            let matrix = Orthogonaliser::Bjorck.start(rows, inside.len(), rng);
            for (row, values) in matrix.chunks_exact(inside.len()).enumerate() {
                for (&index, &value) in inside.iter().zip(values) {
                    block[row * cols * taps + index] = value;
                }
            }
        }
        raw
    }

    /// The polyphase kernel of each group, stride 1, side ⌈extent/stride⌉: taps of
    /// (rows x columns·phases²) for a block [rows, columns, k, k] of the weight.
    pub(super) fn polyphase<T: Real>(&self, weight: &[T]) -> Vec<Kernel<T>> {
        let [rows, cols] = self.block();
        let side = self.side();
        let blocks = weight.chunks_exact(weight.len() / self.groups);
        blocks
            .map(|block| {
                let mut kernel = Kernel::zeros(side, side, rows, cols * self.phases().pow(2));
                for (index, &value) in block.iter().enumerate() {
                    let (tap, entry) = self.place(index);
                    kernel.taps[tap].data[entry] = value;
                }
                kernel
            })
            .collect()
    }

    /// The weight whose polyphase kernels these are; what has no entry in the weight is dropped,
    /// so that this is also the adjoint of [`Shape::polyphase`].
    pub(super) fn weight_from<T: Real>(&self, kernels: &[Kernel<T>]) -> Vec<T> {
        let block = self.weight_len() / self.groups;
        let entries = kernels.iter().flat_map(|kernel| {
            (0..block).map(|index| {
                let (tap, entry) = self.place(index);
                kernel.taps[tap].data[entry]
            })
        });
        entries.collect()
    }

    /// Phases on an axis that the kernel touches.
    pub(super) fn phases(&self) -> usize {
        self.step().min(self.kernel)
    }

    /// Rows and columns of the block of one group.
    pub(super) fn block(&self) -> [usize; 2] {
        let (rows, cols) = match self.transposed {
            true => (self.input, self.out),
            false => (self.out, self.input),
        };
        [rows / self.groups, cols / self.groups]
    }

    /// Stride of the kernel without dilation that has the same norm: the stride over its greatest
    /// common divisor with the dilation.
    fn step(&self) -> usize {
        self.stride / common_divisor(self.stride, self.dilation)
    }

    /// Taps of the polyphase kernel on an axis.
    fn side(&self) -> usize {
        self.kernel.div_ceil(self.step())
    }

    /// Where entry `index` of a block lies in its polyphase kernel: tap, entry of the tap.
    fn place(&self, index: usize) -> (usize, usize) {
        let (k, s, phases) = (self.kernel, self.step(), self.phases());
        let (y, x) = (index / k % k, index % k);
        // row and column of the block in one number
        let channel = index / (k * k);
        let entry = (channel * phases + y % s) * phases + x % s;
        ((y / s) * self.side() + x / s, entry)
    }
}

/// The greatest common divisor.
pub(super) fn common_divisor(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => common_divisor(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::Matrix;
    use super::super::testing::{SHAPES, norm, operator, random};
    use super::*;

    #[test]
    fn a_regrouped_kernel_is_the_same_weight() {
        for shape in SHAPES {
            let weight = random(shape.weight_len(), 1);
            let kernels = shape.polyphase(&weight);
            assert_eq!(shape.weight_from(&kernels), weight, "{shape:?}");
            let squares: f64 = kernels
                .iter()
                .flat_map(|k| k.to_oihw())
                .map(|x| x * x)
                .sum();
            let expected: f64 = weight.iter().map(|x| x * x).sum();
            // the same summands in another order
            assert!((squares - expected).abs() < 1e-12 * expected, "{shape:?}");
        }
    }

    #[test]
    fn a_regrouped_kernel_has_the_norm_of_the_weight() {
        for shape in SHAPES {
            let weight = random(shape.weight_len(), 2);
            let kernels = shape.polyphase(&weight);
            // equal maps: side 6 of the strided one has 6/stride pixels a phase
            let pixels = 6 / shape.stride;
            let regrouped = kernels.iter().map(|kernel| {
                let [rows, cols] = [kernel.taps[0].rows, kernel.taps[0].cols];
                let plain = Shape {
                    input: cols,
                    out: rows,
                    kernel: kernel.height,
                    stride: 1,
                    // on a finite map dilation chooses the frequencies
                    dilation: if shape.stride == 1 { shape.dilation } else { 1 },
                    groups: 1,
                    transposed: false,
                };
                norm(&operator(&plain, &kernel.to_oihw(), pixels))
            });
            let regrouped = regrouped.fold(0.0, f64::max);
            let expected = norm(&operator(&shape, &weight, 6));
            // both norms carry a few hundred f64 roundings
            assert!((regrouped - expected).abs() < 1e-12 * expected, "{shape:?}");
        }
    }

    #[test]
    fn the_start_preserves_the_norm_on_the_smaller_side() {
        for shape in SHAPES {
            let start = shape.start(&mut Rng::new(3));
            assert_eq!(start, shape.start(&mut Rng::new(3)));
            for kernel in shape.polyphase(&start) {
                let full: Vec<_> = kernel.taps.iter().filter(|t| t.frobenius() > 0.0).collect();
                assert_eq!(full.len(), 1, "{shape:?}: one tap");
                let tap = full[0];
                let used = (0..tap.cols)
                    .filter(|c| tap.data[*c..].iter().step_by(tap.cols).any(|&x| x != 0.0))
                    .count();
                let expected = (tap.rows.min(used) as f64).sqrt();
                // f32 rounding of orthonormal rows or columns
                assert!((tap.frobenius() - expected).abs() < 1e-6, "{shape:?}");
                let wide = Matrix::new(
                    tap.rows,
                    tap.cols,
                    tap.data.iter().map(|&x| f64::from(x)).collect(),
                );
                assert!((norm(&wide) - 1.0).abs() < 1e-6, "{shape:?}");
            }
        }
    }
}
