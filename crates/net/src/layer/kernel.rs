//! Convolution kernels as taps: one matrix (out x in) per spatial offset, and the block
//! convolution A⊛B, the kernel of "apply A, then B":
//! `(A⊛B)[o,i,m] = Σ_{c,p} B[o,c,m−p]·A[c,i,p]`.

use super::matrix::{Matrix, Real, Side};

/// A kernel of `height` x `width` taps, row after row, each an out x in matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel<T> {
    /// Rows of taps.
    pub height: usize,
    /// Columns of taps.
    pub width: usize,
    /// The taps, `height · width` matrices of equal shape.
    pub taps: Vec<Matrix<T>>,
}

impl<T: Real> Kernel<T> {
    /// All taps zero.
    pub fn zeros(height: usize, width: usize, out: usize, input: usize) -> Self {
        let taps = vec![Matrix::zeros(out, input); height * width];
        Self {
            height,
            width,
            taps,
        }
    }

    /// A 1x1 kernel.
    pub fn pointwise(matrix: Matrix<T>) -> Self {
        Self {
            height: 1,
            width: 1,
            taps: vec![matrix],
        }
    }

    /// From the layout [out, in, height, width] of deep-learning frameworks.
    pub fn from_oihw(weight: &[T], [out, input, height, width]: [usize; 4]) -> Self {
        let mut kernel = Self::zeros(height, width, out, input);
        let taps = height * width;
        for (oi, values) in weight.chunks_exact(taps).enumerate() {
            for (tap, &value) in kernel.taps.iter_mut().zip(values) {
                tap.data[oi] = value;
            }
        }
        kernel
    }

    /// To the layout [out, in, height, width].
    pub fn to_oihw(&self) -> Vec<T> {
        let taps = self.taps.len();
        let mut weight = vec![T::from_f64(0.0); taps * self.taps[0].data.len()];
        for (oi, values) in weight.chunks_exact_mut(taps).enumerate() {
            for (value, tap) in values.iter_mut().zip(&self.taps) {
                *value = tap.data[oi];
            }
        }
        weight
    }

    /// Channels in and out exchanged tap by tap, without a spatial flip.
    pub fn transposed(&self) -> Self {
        let taps = self.taps.iter().map(Matrix::transposed).collect();
        Self { taps, ..*self }
    }

    /// The kernel of "apply `self`, then `next`".
    pub fn then(&self, next: &Self) -> Self {
        let (height, width) = (self.height + next.height - 1, self.width + next.width - 1);
        let mut result = Self::zeros(height, width, next.taps[0].rows, self.taps[0].cols);
        self.pairs(next, |p, q, sum| {
            result.taps[sum].add_product(
                1.0,
                &next.taps[q],
                Side::Plain,
                &self.taps[p],
                Side::Plain,
            );
        });
        result
    }

    /// Gradients in `self` and in `next` of a loss, from its gradient in `self.then(next)`.
    pub fn then_backward(&self, next: &Self, gradient: &Self) -> (Self, Self) {
        let zeros_like = |k: &Self| Self::zeros(k.height, k.width, k.taps[0].rows, k.taps[0].cols);
        let (mut first, mut second) = (zeros_like(self), zeros_like(next));
        self.pairs(next, |p, q, sum| {
            let g = &gradient.taps[sum];
            first.taps[p].add_product(1.0, &next.taps[q], Side::Transposed, g, Side::Plain);
            second.taps[q].add_product(1.0, g, Side::Plain, &self.taps[p], Side::Transposed);
        });
        (first, second)
    }

    /// Calls `visit(p, q, p + q)` with tap indices of `self`, `next` and their composition.
    fn pairs(&self, next: &Self, mut visit: impl FnMut(usize, usize, usize)) {
        let width = self.width + next.width - 1;
        for p in 0..self.taps.len() {
            let (pr, pc) = (p / self.width, p % self.width);
            for q in 0..next.taps.len() {
                let (qr, qc) = (q / next.width, q % next.width);
                visit(p, q, (pr + qr) * width + pc + qc);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_inverse() {
        let weight: Vec<f64> = (0..24).map(f64::from).collect();
        let kernel = Kernel::from_oihw(&weight, [2, 3, 2, 2]);
        assert_eq!(kernel.taps[1].data[4], weight[4 * 4 + 1]);
        assert_eq!(kernel.to_oihw(), weight);
    }

    #[test]
    fn one_dimensional_composition_is_polynomial_multiplication() {
        let line = |values: &[f64]| Kernel {
            height: 1,
            width: values.len(),
            taps: values.iter().map(|&v| Matrix::new(1, 1, vec![v])).collect(),
        };
        let product = line(&[1.0, 2.0]).then(&line(&[3.0, -1.0, 4.0]));
        assert_eq!(product, line(&[3.0, 5.0, 2.0, 8.0]));
    }
}
