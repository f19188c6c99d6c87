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

/// The axis along which a kernel grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Down the image.
    Vertical,
    /// Along a row.
    Horizontal,
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

    /// Applies the two-tap kernel [N, I − N] along `axis` after `self`: the result is one tap
    /// longer, `K′[j] = K[j−1] + N·(K[j] − K[j−1])`. Orthogonal where `projector` N is one.
    pub fn shift_by_projector(&self, axis: Axis, projector: &Matrix<T>) -> Self {
        let mut result = self.delayed(axis);
        for (tap, difference) in result.taps.iter_mut().zip(&self.difference(axis).taps) {
            tap.add_product(1.0, projector, Side::Plain, difference, Side::Plain);
        }
        result
    }

    /// Gradients in `self` and in the (symmetric) projector, from the gradient in the result of
    /// [`Kernel::shift_by_projector`].
    pub fn shift_by_projector_backward(
        &self,
        axis: Axis,
        projector: &Matrix<T>,
        gradient: &Self,
    ) -> (Self, Matrix<T>) {
        let [out, input] = [self.taps[0].rows, self.taps[0].cols];
        let mut first = Self::zeros(self.height, self.width, out, input);
        let mut in_projector = Matrix::zeros(projector.rows, projector.cols);
        let differences = self.difference(axis);
        for (j, (g, difference)) in gradient.taps.iter().zip(&differences.taps).enumerate() {
            in_projector.add_product(1.0, g, Side::Plain, difference, Side::Transposed);
            let mut in_difference = Matrix::zeros(out, input);
            in_difference.add_product(1.0, projector, Side::Transposed, g, Side::Plain);
            if let Some(here) = self.source(axis, j, 0) {
                first.taps[here].add_scaled(1.0, &in_difference);
            }
            if let Some(before) = self.source(axis, j, 1) {
                first.taps[before].add_scaled(1.0, g);
                first.taps[before].add_scaled(-1.0, &in_difference);
            }
        }
        (first, in_projector)
    }

    /// `K[j] − K[j−1]` along `axis`, one tap longer than K.
    fn difference(&self, axis: Axis) -> Self {
        let mut result = self.delayed(axis);
        for (j, tap) in result.taps.iter_mut().enumerate() {
            *tap = tap.scaled(-1.0);
            if let Some(here) = self.source(axis, j, 0) {
                tap.add_scaled(1.0, &self.taps[here]);
            }
        }
        result
    }

    /// `K[j−1]` along `axis`, one tap longer than K.
    fn delayed(&self, axis: Axis) -> Self {
        let (height, width) = match axis {
            Axis::Vertical => (self.height + 1, self.width),
            Axis::Horizontal => (self.height, self.width + 1),
        };
        let mut result = Self::zeros(height, width, self.taps[0].rows, self.taps[0].cols);
        for j in 0..result.taps.len() {
            if let Some(before) = self.source(axis, j, 1) {
                result.taps[j] = self.taps[before].clone();
            }
        }
        result
    }

    /// The tap of `self` that lies `back` before tap `j` of the kernel one longer along `axis`.
    fn source(&self, axis: Axis, j: usize, back: usize) -> Option<usize> {
        let width = match axis {
            Axis::Vertical => self.width,
            Axis::Horizontal => self.width + 1,
        };
        let (mut row, mut col) = (j / width, j % width);
        match axis {
            Axis::Vertical => row = row.checked_sub(back)?,
            Axis::Horizontal => col = col.checked_sub(back)?,
        }
        (row < self.height && col < self.width).then_some(row * self.width + col)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn random(height: usize, width: usize, out: usize, input: usize, seed: u64) -> Kernel<f64> {
        let mut rng = Rng::new(seed);
        let mut kernel = Kernel::zeros(height, width, out, input);
        for tap in &mut kernel.taps {
            tap.data.iter_mut().for_each(|x| *x = rng.normal());
        }
        kernel
    }

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

    #[test]
    fn the_projector_step_is_composition_with_its_two_taps() {
        let kernel = random(2, 3, 4, 3, 1);
        let projector = {
            let p = random(1, 1, 4, 2, 2).taps.remove(0);
            p.times_transposed(&p)
        };
        let mut complement = Matrix::identity(4, 4);
        complement.add_scaled(-1.0, &projector);
        for (axis, [height, width]) in [(Axis::Vertical, [2, 1]), (Axis::Horizontal, [1, 2])] {
            let two = Kernel {
                height,
                width,
                taps: vec![projector.clone(), complement.clone()],
            };
            let expected = kernel.then(&two);
            let got = kernel.shift_by_projector(axis, &projector);
            assert_eq!([got.height, got.width], [expected.height, expected.width]);
            for (a, b) in got.to_oihw().iter().zip(expected.to_oihw()) {
                // entries of order 10, a few f64 roundings
                assert!((a - b).abs() < 1e-12);
            }
        }
    }
}
