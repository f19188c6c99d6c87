//! AOC: orthogonal convolution kernels by BCOP ⊛ RKO (Boissin et al. 2025; BCOP after Li et al.
//! 2019, RKO after Serrurier et al. 2021), with the backward pass.
//!
//! | case | construction |
//! |---|---|
//! | k < s | none exists: refused |
//! | k = s, and every transposed kernel here | RKO: the matrix [out, in·k²] with orthonormal rows or columns |
//! | s = 1 | BCOP |
//! | k > s > 1 | BCOP(in → mid, k−s+1) ⊛ RKO(mid → out, s), mid = max(in, ⌊out/s²⌋) |
//!
//! BCOP: raw are 2k matrices P_j (c x ⌊c/2⌋, c = max(in, out)), orthonormalised, with projectors
//! N_j = P_jP_jᵀ. The kernel starts as the first min(in, out) columns of (I − 2N₀)(I − 2N₁) and
//! grows k−1 times by one column (tap pair [N, I − N]) and one row. If out < in it was built for
//! out → in and is transposed channel by channel.

use super::kernel::{Axis, Kernel};
use super::matrix::{Matrix, Real, Side};
use super::orthogonal::{Polar, orthogonalise};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Shape of an orthogonal convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aoc {
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub out: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// The adjoint of the convolution out → in; weight layout [in, out, k, k].
    pub transposed: bool,
}

/// What the backward pass of [`Aoc::weight`] needs.
pub struct Tape<T> {
    parts: Parts<T>,
}

enum Parts<T> {
    Rko(Polar<T>),
    Bcop(BcopTape<T>),
    Fused {
        first: BcopTape<T>,
        first_kernel: Kernel<T>,
        second: Polar<T>,
        second_kernel: Kernel<T>,
    },
}

struct BcopTape<T> {
    shape: Bcop,
    factors: Vec<(Matrix<T>, Polar<T>)>,
    projectors: Vec<Matrix<T>>,
    /// First columns of the identity, and those after the reflection by N₁.
    columns: [Matrix<T>; 2],
    /// The kernel before each growing step.
    steps: Vec<Kernel<T>>,
}

/// A stride-1 kernel in → out.
#[derive(Clone, Copy, Debug)]
struct Bcop {
    input: usize,
    out: usize,
    kernel: usize,
}

impl Aoc {
    /// Checks that the construction exists.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a kernel smaller than its stride, and for a transposed kernel
    /// whose side is not its stride.
    pub fn check(&self) -> Result<()> {
        let unsupported = |what: String, hint: &str| Err(Error::unsupported(what, hint));
        let Self { kernel, stride, .. } = *self;
        if self.input == 0 || self.out == 0 || kernel == 0 || stride == 0 {
            return unsupported(
                format!("{self:?}: an orthogonal convolution with a zero dimension"),
                "give at least one channel, tap and step",
            );
        }
        if kernel < stride {
            return unsupported(
                format!(
                    "a {kernel}x{kernel} kernel with stride {stride}: no orthogonal one exists"
                ),
                "use a kernel at least as large as the stride",
            );
        }
        if self.transposed && kernel != stride {
            return unsupported(
                format!("a transposed {kernel}x{kernel} kernel with stride {stride}"),
                "use a kernel as large as the stride",
            );
        }
        if kernel > stride && self.bcop().channels() < 2 {
            return unsupported(
                format!("a {kernel}x{kernel} kernel with stride {stride} on one channel"),
                "BCOP needs at least 2 channels in or out",
            );
        }
        Ok(())
    }

    /// The four axes of the weight: [out, in, k, k], or [in, out, k, k] where transposed.
    pub fn weight_shape(&self) -> [usize; 4] {
        let (first, second) = match self.transposed {
            true => (self.input, self.out),
            false => (self.out, self.input),
        };
        [first, second, self.kernel, self.kernel]
    }

    /// Number of raw parameters.
    pub fn raw_len(&self) -> usize {
        let [rows, cols] = self.rko_shape();
        match self.kernel == self.stride {
            true => rows * cols,
            false if self.stride == 1 => self.bcop().raw_len(),
            false => self.bcop().raw_len() + rows * cols,
        }
    }

    /// Raw parameters at the start of a training: every matrix orthogonal (the polar factor of a
    /// Gaussian one), so that no layer starts contractive.
    pub fn start(&self, rng: &mut Rng) -> Vec<f32> {
        let mut raw = Vec::with_capacity(self.raw_len());
        let mut draw = |rows: usize, cols: usize, raw: &mut Vec<f32>| {
            let gaussian = (0..rows * cols).map(|_| rng.normal()).collect();
            let (matrix, _) = orthogonalise(&Matrix::<f64>::new(rows, cols, gaussian));
            raw.extend(matrix.data.iter().map(|&x| x as f32));
        };
        if self.kernel > self.stride {
            let bcop = self.bcop();
            for _ in 0..2 * bcop.kernel {
                draw(bcop.channels(), bcop.rank(), &mut raw);
            }
        }
        if self.stride > 1 || self.kernel == 1 {
            let [rows, cols] = self.rko_shape();
            draw(rows, cols, &mut raw);
        }
        raw
    }

    /// The effective weight in [`Aoc::weight_shape`] layout, from `raw_len` raw parameters.
    pub fn weight<T: Real>(&self, raw: &[T]) -> (Vec<T>, Tape<T>) {
        assert_eq!(raw.len(), self.raw_len(), "raw parameters of {self:?}");
        let [rows, cols] = self.rko_shape();
        if self.kernel == self.stride {
            let (matrix, polar) = orthogonalise(&Matrix::new(rows, cols, raw.to_vec()));
            let parts = Parts::Rko(polar);
            return (matrix.data, Tape { parts });
        }
        let bcop = self.bcop();
        let (bcop_raw, rko_raw) = raw.split_at(bcop.raw_len());
        let (first_kernel, first) = bcop.kernel(bcop_raw);
        if self.stride == 1 {
            let parts = Parts::Bcop(first);
            return (first_kernel.to_oihw(), Tape { parts });
        }
        let (matrix, second) = orthogonalise(&Matrix::new(rows, cols, rko_raw.to_vec()));
        let second_kernel = Kernel::from_oihw(&matrix.data, self.rko_weight_shape());
        let weight = first_kernel.then(&second_kernel).to_oihw();
        let parts = Parts::Fused {
            first,
            first_kernel,
            second,
            second_kernel,
        };
        (weight, Tape { parts })
    }

    /// Gradient in the raw parameters, from the gradient in the effective weight.
    pub fn backward<T: Real>(&self, tape: &Tape<T>, gradient: &[T]) -> Vec<T> {
        let [rows, cols] = self.rko_shape();
        let oihw = self.weight_shape();
        match &tape.parts {
            Parts::Rko(polar) => {
                polar
                    .backward(&Matrix::new(rows, cols, gradient.to_vec()))
                    .data
            }
            Parts::Bcop(bcop) => bcop.backward(&Kernel::from_oihw(gradient, oihw)),
            Parts::Fused {
                first,
                first_kernel,
                second,
                second_kernel,
            } => {
                let gradient = Kernel::from_oihw(gradient, oihw);
                let (in_first, in_second) = first_kernel.then_backward(second_kernel, &gradient);
                let mut raw = first.backward(&in_first);
                let in_matrix = Matrix::new(rows, cols, in_second.to_oihw());
                raw.extend(second.backward(&in_matrix).data);
                raw
            }
        }
    }

    /// Channels between the two factors of a fused kernel.
    fn middle(&self) -> usize {
        match self.stride {
            1 => self.out,
            s => self.input.max(self.out / (s * s)),
        }
    }

    fn bcop(&self) -> Bcop {
        Bcop {
            input: self.input,
            out: self.middle(),
            kernel: self.kernel - self.stride + 1,
        }
    }

    fn rko_weight_shape(&self) -> [usize; 4] {
        match self.kernel == self.stride {
            true => self.weight_shape(),
            false => [self.out, self.middle(), self.stride, self.stride],
        }
    }

    /// The RKO matrix: rows, columns.
    fn rko_shape(&self) -> [usize; 2] {
        let [rows, channels, height, width] = self.rko_weight_shape();
        [rows, channels * height * width]
    }
}

impl Bcop {
    fn channels(&self) -> usize {
        self.input.max(self.out)
    }

    fn rank(&self) -> usize {
        self.channels() / 2
    }

    fn raw_len(&self) -> usize {
        2 * self.kernel * self.channels() * self.rank()
    }

    /// The growing steps: which projector, along which axis.
    fn steps(&self) -> Vec<(usize, Axis)> {
        let growths = self.kernel - 1;
        (0..growths)
            .flat_map(|t| [(2 + growths + t, Axis::Horizontal), (2 + t, Axis::Vertical)])
            .collect()
    }

    fn kernel<T: Real>(&self, raw: &[T]) -> (Kernel<T>, BcopTape<T>) {
        let (channels, rank) = (self.channels(), self.rank());
        let factors: Vec<_> = raw
            .chunks_exact(channels * rank)
            .map(|p| orthogonalise(&Matrix::new(channels, rank, p.to_vec())))
            .collect();
        let projectors: Vec<_> = factors.iter().map(|(p, _)| p.times_transposed(p)).collect();
        let columns = Matrix::identity(channels, self.input.min(self.out));
        let reflected = reflect(&projectors[1], &columns);
        let mut kernel = Kernel::pointwise(reflect(&projectors[0], &reflected));
        let mut steps = Vec::new();
        for (j, axis) in self.steps() {
            let next = kernel.shift_by_projector(axis, &projectors[j]);
            steps.push(std::mem::replace(&mut kernel, next));
        }
        if self.out < self.input {
            kernel = kernel.transposed();
        }
        let tape = BcopTape {
            shape: *self,
            factors,
            projectors,
            columns: [columns, reflected],
            steps,
        };
        (kernel, tape)
    }
}

impl<T: Real> BcopTape<T> {
    fn backward(&self, gradient: &Kernel<T>) -> Vec<T> {
        let mut g = match self.shape.out < self.shape.input {
            true => gradient.transposed(),
            false => gradient.clone(),
        };
        let channels = self.shape.channels();
        let mut in_projectors = vec![Matrix::zeros(channels, channels); self.projectors.len()];
        for ((j, axis), before) in self.shape.steps().into_iter().zip(&self.steps).rev() {
            let projector = &self.projectors[j];
            let (in_kernel, in_projector) = before.shift_by_projector_backward(axis, projector, &g);
            in_projectors[j] = in_projector;
            g = in_kernel;
        }
        let mut in_columns = g.taps.swap_remove(0);
        // Y = X − 2NX:  dN = −2·G·Xᵀ, dX = G − 2NG
        for (projector, columns) in [0, 1].into_iter().zip(self.columns.iter().rev()) {
            let in_projector = &mut in_projectors[projector];
            in_projector.add_product(-2.0, &in_columns, Side::Plain, columns, Side::Transposed);
            in_columns = reflect(&self.projectors[projector], &in_columns);
        }
        let mut raw = Vec::with_capacity(self.shape.raw_len());
        for ((p, polar), mut g) in self.factors.iter().zip(in_projectors) {
            // N = P·Pᵀ:  dP = (G + Gᵀ)·P
            let transposed = g.transposed();
            g.add_scaled(1.0, &transposed);
            raw.extend(polar.backward(&g.times(p)).data);
        }
        raw
    }
}

/// (I − 2N)·X.
fn reflect<T: Real>(projector: &Matrix<T>, x: &Matrix<T>) -> Matrix<T> {
    let mut result = x.clone();
    result.add_product(-2.0, projector, Side::Plain, x, Side::Plain);
    result
}

#[cfg(test)]
mod tests;
