//! BCOP (Li et al. 2019): a stride-1 kernel from orthonormal matrices, grown tap by tap.
//!
//! A growing kernel is one tall matrix: tap after tap, each the transposed matrix of the tap, so
//! that a projector N = PPᵀ is applied to all taps at once by two products, X ↦ (X·P)·Pᵀ, and a
//! shift of the taps is a shift in memory.

use rayon::prelude::*;

use super::super::kernel::Kernel;
use super::super::matrix::{Matrix, Real, Side};
use super::super::orthogonal::Tape;

/// A stride-1 kernel in → out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bcop {
    pub(super) input: usize,
    pub(super) out: usize,
    /// Side of the kernel.
    pub(super) kernel: usize,
}

/// What the backward pass needs.
pub(super) struct BcopTape<T> {
    shape: Bcop,
    factors: Vec<(Matrix<T>, Tape<T>)>,
    /// Per step the matrix X before it, and X·P.
    steps: Vec<[Matrix<T>; 2]>,
}

/// A step of the construction on the rows X of the kernel, with the product M = X·N.
#[derive(Clone, Copy)]
enum Step {
    /// X − 2M.
    Reflect,
    /// One tap more, K′[j] = K[j−1] + N·(K[j] − K[j−1]): in each of `runs` equal parts of X, X − M
    /// moves on by `rows` and M stays.
    Grow { runs: usize, rows: usize },
}

impl Bcop {
    /// Rows of the 2k raw matrices: channels of the reflections.
    pub(super) fn channels(&self) -> usize {
        self.input.max(self.out)
    }

    /// Columns of the raw matrices: rank of the projectors.
    pub(super) fn rank(&self) -> usize {
        self.channels() / 2
    }

    /// Rows of the matrix of a tap.
    fn tap_rows(&self) -> usize {
        self.input.min(self.out)
    }

    /// What is done to the first rows of the identity, and with which projector.
    fn steps(&self) -> Vec<(usize, Step)> {
        let mut steps = vec![(1, Step::Reflect), (0, Step::Reflect)];
        for side in 1..self.kernel {
            let rows = self.tap_rows();
            let right = Step::Grow { runs: side, rows };
            let rows = (side + 1) * rows;
            let down = Step::Grow { runs: 1, rows };
            steps.extend([(self.kernel + side, right), (1 + side, down)]);
        }
        steps
    }

    /// The kernel, from the 2k orthonormalised matrices and their tapes.
    pub(super) fn kernel<T: Real>(
        self,
        factors: Vec<(Matrix<T>, Tape<T>)>,
    ) -> (Kernel<T>, BcopTape<T>) {
        let mut x = Matrix::identity(self.tap_rows(), self.channels());
        let mut steps = Vec::new();
        for (j, step) in self.steps() {
            let p = &factors[j].0;
            let along = x.times(p);
            let next = step.apply(&x, &along, p);
            steps.push([std::mem::replace(&mut x, next), along]);
        }
        let taps = x.data.chunks_exact(self.tap_rows() * x.cols);
        let taps = taps.map(|tap| self.turned(Matrix::new(self.tap_rows(), x.cols, tap.to_vec())));
        let kernel = Kernel {
            height: self.kernel,
            width: self.kernel,
            taps: taps.collect(),
        };
        let shape = self;
        let tape = BcopTape {
            shape,
            factors,
            steps,
        };
        (kernel, tape)
    }

    /// From rows of the growing kernel to a tap or back: where channels get fewer, the kernel is
    /// that of out → in transposed, as its rows are.
    fn turned<T: Real>(&self, tap: Matrix<T>) -> Matrix<T> {
        match self.out < self.input {
            true => tap,
            false => tap.transposed(),
        }
    }
}

impl<T: Real> BcopTape<T> {
    /// Gradient in the raw matrices, one after the other.
    pub(super) fn backward(&self, gradient: &Kernel<T>) -> Vec<T> {
        let taps = gradient.taps.iter();
        let taps: Vec<_> = taps
            .map(|tap| self.shape.turned(tap.clone()).data)
            .collect();
        let channels = self.shape.channels();
        let mut g = Matrix::new(taps.len() * self.shape.tap_rows(), channels, taps.concat());
        let mut in_factors = vec![Matrix::zeros(0, 0); self.factors.len()];
        for ((j, step), [x, along]) in self.shape.steps().into_iter().zip(&self.steps).rev() {
            let p = &self.factors[j].0;
            let (mut in_x, in_product) = step.backward(&g);
            // M = (X·P)·Pᵀ
            let in_along = in_product.times(p);
            in_x.add_product(1.0, &in_along, Side::Plain, p, Side::Transposed);
            let mut in_p = in_product.transposed_times(along);
            in_p.add_product(1.0, x, Side::Transposed, &in_along, Side::Plain);
            in_factors[j] = in_p;
            g = in_x;
        }
        let factors = self.factors.par_iter().zip(in_factors).with_max_len(1);
        let raw = factors.map(|((_, tape), g)| tape.backward(&g).data);
        raw.collect::<Vec<_>>().concat()
    }
}

impl Step {
    /// The next matrix, from X, X·P and P.
    fn apply<T: Real>(self, x: &Matrix<T>, along: &Matrix<T>, p: &Matrix<T>) -> Matrix<T> {
        match self {
            Self::Reflect => {
                let mut next = x.clone();
                next.add_product(-2.0, along, Side::Plain, p, Side::Transposed);
                next
            }
            Self::Grow { runs, rows } => {
                let product = along.times_transposed(p);
                let mut next = Matrix::zeros(x.rows + runs * rows, x.cols);
                let (run, shift) = (x.data.len() / runs, rows * x.cols);
                let befores = x.data.chunks_exact(run).zip(product.data.chunks_exact(run));
                for (after, (x, m)) in next.data.chunks_exact_mut(run + shift).zip(befores) {
                    after[..run].copy_from_slice(m);
                    for ((after, &x), &m) in after[shift..].iter_mut().zip(x).zip(m) {
                        *after += x - m;
                    }
                }
                next
            }
        }
    }

    /// Gradients in X (without that through M) and in M.
    fn backward<T: Real>(self, g: &Matrix<T>) -> (Matrix<T>, Matrix<T>) {
        match self {
            Self::Reflect => (g.clone(), g.scaled(-2.0)),
            Self::Grow { runs, rows } => {
                let size = g.data.len() - runs * rows * g.cols;
                let (run, shift) = (size / runs, rows * g.cols);
                let (mut in_x, mut in_product) =
                    (Vec::with_capacity(size), Vec::with_capacity(size));
                for g in g.data.chunks_exact(run + shift) {
                    let (stayed, moved) = (&g[..run], &g[shift..]);
                    in_x.extend_from_slice(moved);
                    in_product.extend(stayed.iter().zip(moved).map(|(&s, &m)| s - m));
                }
                let matrix = |data| Matrix::new(size / g.cols, g.cols, data);
                (matrix(in_x), matrix(in_product))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::orthogonal::Orthogonaliser;
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_kernel_is_the_composition_of_its_reflections_and_two_tap_kernels() {
        let identity = || Matrix::<f64>::identity(4, 4);
        for [input, out, kernel] in [[3, 4, 3], [4, 4, 4], [4, 3, 3]] {
            let bcop = Bcop { input, out, kernel };
            let mut rng = Rng::new(1);
            let mut raw = || Matrix::new(4, 2, (0..8).map(|_| rng.normal()).collect());
            let raw: Vec<_> = (0..2 * kernel).map(|_| raw()).collect();
            let factors = Orthogonaliser::Bjorck.apply_all(&raw);
            let projectors: Vec<_> = factors.iter().map(|(p, _)| p.times_transposed(p)).collect();
            let minus = |scale: f64, n: &Matrix<f64>| {
                let mut difference = identity();
                difference.add_scaled(-scale, n);
                difference
            };
            let both = minus(2.0, &projectors[0]).times(&minus(2.0, &projectors[1]));
            let first = both.times(&Matrix::identity(4, input.min(out)));
            let mut expected = Kernel::pointwise(first);
            for t in 0..kernel - 1 {
                for (n, [height, width]) in [(1 + kernel + t, [1, 2]), (2 + t, [2, 1])] {
                    let n = &projectors[n];
                    let taps = vec![n.clone(), minus(1.0, n)];
                    expected = expected.then(&Kernel {
                        height,
                        width,
                        taps,
                    });
                }
            }
            if out < input {
                expected = expected.transposed();
            }
            let (got, _) = bcop.kernel(factors);
            assert_eq!([got.height, got.width], [kernel, kernel]);
            for (a, b) in got.to_oihw().iter().zip(expected.to_oihw()) {
                // entries of at most one, a few f64 roundings
                assert!((a - b).abs() < 1e-14, "{bcop:?} {a} {b}");
            }
        }
    }
}
