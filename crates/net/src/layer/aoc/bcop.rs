//! BCOP (Li et al. 2019): a stride-1 kernel from orthonormal matrices, grown tap by tap.

use rayon::prelude::*;

use super::super::kernel::{Axis, Kernel};
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
    projectors: Vec<Matrix<T>>,
    /// First columns of the identity, and those after the reflection by N₁.
    columns: [Matrix<T>; 2],
    /// The kernel before each growing step.
    steps: Vec<Kernel<T>>,
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

    /// The growing steps: which projector, along which axis.
    fn steps(&self) -> Vec<(usize, Axis)> {
        let growths = self.kernel - 1;
        (0..growths)
            .flat_map(|t| [(2 + growths + t, Axis::Horizontal), (2 + t, Axis::Vertical)])
            .collect()
    }

    /// The kernel, from the 2k orthonormalised matrices and their tapes.
    pub(super) fn kernel<T: Real>(
        self,
        factors: Vec<(Matrix<T>, Tape<T>)>,
    ) -> (Kernel<T>, BcopTape<T>) {
        let projectors: Vec<_> = factors.iter().map(|(p, _)| p.times_transposed(p)).collect();
        let columns = Matrix::identity(self.channels(), self.input.min(self.out));
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
            shape: self,
            factors,
            projectors,
            columns: [columns, reflected],
            steps,
        };
        (kernel, tape)
    }
}

impl<T: Real> BcopTape<T> {
    /// Gradient in the raw matrices, one after the other.
    pub(super) fn backward(&self, gradient: &Kernel<T>) -> Vec<T> {
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
        let factors = self.factors.par_iter().zip(in_projectors);
        let raw = factors.map(|((p, tape), mut g)| {
            // N = P·Pᵀ:  dP = (G + Gᵀ)·P
            let transposed = g.transposed();
            g.add_scaled(1.0, &transposed);
            tape.backward(&g.times(p)).data
        });
        raw.collect::<Vec<_>>().concat()
    }
}

/// (I − 2N)·X.
fn reflect<T: Real>(projector: &Matrix<T>, x: &Matrix<T>) -> Matrix<T> {
    let mut result = x.clone();
    result.add_product(-2.0, projector, Side::Plain, x, Side::Plain);
    result
}
