//! AOC: orthogonal convolution kernels by BCOP ⊛ RKO (Boissin et al. 2025; BCOP after Li et al.
//! 2019, RKO after Serrurier et al. 2021), with the backward pass.
//!
//! A transposed convolution is the adjoint of the convolution out → in, so the table and the
//! formulas hold for it with in and out exchanged. Groups are independent blocks, one after the
//! other in raw parameters and weight; in and out below are channels of one group.
//!
//! | kernel k, stride s, dilation d | construction |
//! |---|---|
//! | k < s | none exists: refused |
//! | gcd(s, d) > 1 and out ≥ in | the taps of all windows miss most pixels: refused |
//! | k = s, gcd(s, d) = 1 | RKO: the matrix [out, in·k²] with orthonormal rows or columns |
//! | s = 1, or d > 1 and in ≥ out | BCOP(in → out, k) |
//! | else | BCOP(in → mid, k−s+1) ⊛ RKO(mid → out, s), mid = max(in, ⌊out/s²⌋), transposed: in |
//!
//! RKO is orthogonal as its windows tile the plane: the offsets d·m, m < s, fall into different
//! classes modulo s where s and d have no common divisor. BCOP at a stride keeps some rows of a
//! stride-1 kernel with orthonormal rows. Dilation changes neither kernel nor norm.
//!
//! BCOP: raw are 2k matrices P_j (c x ⌊c/2⌋, c = max(in, out)), orthonormalised, with projectors
//! N_j = P_jP_jᵀ. The kernel starts as the first min(in, out) columns of (I − 2N₀)(I − 2N₁) and
//! grows k−1 times by one column (tap pair [N, I − N]) and one row. If out < in it was built for
//! out → in and is transposed channel by channel.

use rayon::prelude::*;

use self::bcop::{Bcop, BcopTape};
use super::kernel::Kernel;
use super::matrix::{Matrix, Real};
use super::orthogonal::{self, Orthogonaliser};
use super::shape::{Shape, common_divisor};
use crate::error::{Error, Result};
use crate::rng::Rng;

mod bcop;

/// An orthogonal convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aoc {
    /// Shape of the kernel.
    pub shape: Shape,
    /// How the matrices are orthonormalised.
    pub by: Orthogonaliser,
}

/// What the backward pass of [`Aoc::weight`] needs: per group and factor.
pub struct Tape<T> {
    groups: Vec<GroupTape<T>>,
}

type GroupTape<T> = Vec<(Kernel<T>, FactorTape<T>)>;

enum FactorTape<T> {
    Rko(orthogonal::Tape<T>),
    Bcop(BcopTape<T>),
}

/// A factor of the kernel of one group.
#[derive(Clone, Copy, Debug)]
enum Factor {
    /// Shape [out, in, s, s].
    Rko([usize; 4]),
    Bcop(Bcop),
}

impl Aoc {
    /// Checks that the construction exists.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a zero dimension, for groups that do not divide the channels,
    /// for a kernel smaller than its stride, for a stride and a dilation with a common divisor
    /// unless channels get fewer (in the direction of the construction), and for a kernel larger
    /// than its stride on one channel.
    pub fn check(&self) -> Result<()> {
        let unsupported = |what: String, hint: &str| Err(Error::unsupported(what, hint));
        let Shape {
            kernel,
            stride,
            dilation,
            groups,
            ..
        } = self.shape;
        let [all_in, all_out] = [self.shape.input, self.shape.out];
        if [all_in, all_out, kernel, stride, dilation, groups].contains(&0) {
            return unsupported(
                format!("{self:?}: an orthogonal convolution with a zero dimension"),
                "give at least one channel, tap, step and group",
            );
        }
        if !(all_in.is_multiple_of(groups) && all_out.is_multiple_of(groups)) {
            return unsupported(
                format!("{all_in} channels in and {all_out} out in {groups} groups"),
                "use a number of groups that divides both",
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
        let [input, out] = self.channels();
        if common_divisor(stride, dilation) > 1 && out >= input {
            return unsupported(
                format!("stride {stride} with dilation {dilation}: most pixels are never read"),
                "use a stride and a dilation without a common divisor",
            );
        }
        let narrow = |factor: &Factor| matches!(factor, Factor::Bcop(b) if b.channels() < 2);
        if self.factors().iter().any(narrow) {
            return unsupported(
                format!("a {kernel}x{kernel} kernel with stride {stride} on one channel"),
                "BCOP needs at least 2 channels in or out of each group",
            );
        }
        Ok(())
    }

    /// Number of raw parameters.
    pub fn raw_len(&self) -> usize {
        let factors = self.factors();
        self.shape.groups * factors.iter().map(Factor::raw_len).sum::<usize>()
    }

    /// Raw parameters at the start of a training: every matrix has a random orthonormal image, so
    /// that no layer starts contractive.
    pub fn start(&self, rng: &mut Rng) -> Vec<f32> {
        let factors = self.factors();
        let factors = (0..self.shape.groups).flat_map(|_| &factors);
        let matrices = factors.flat_map(|factor| {
            let [count, rows, cols] = factor.matrices();
            std::iter::repeat_n([rows, cols], count)
        });
        matrices
            .flat_map(|[rows, cols]| self.by.start(rows, cols, rng))
            .collect()
    }

    /// The effective weight in [`Shape::weight_shape`] layout, from `raw_len` raw parameters.
    pub fn weight<T: Real>(&self, raw: &[T]) -> (Vec<T>, Tape<T>) {
        assert_eq!(raw.len(), self.raw_len(), "raw parameters of {self:?}");
        let factors = self.factors();
        let group = |mut raw: &[T]| {
            let mut tapes = Vec::with_capacity(factors.len());
            for factor in &factors {
                let (here, rest) = raw.split_at(factor.raw_len());
                tapes.push(factor.kernel(self.by, here));
                raw = rest;
            }
            let weight = match &tapes[..] {
                [(first, _), (second, _)] => first.then(second).to_oihw(),
                _ => tapes[0].0.to_oihw(),
            };
            (weight, tapes)
        };
        let raw = raw.par_chunks_exact(raw.len() / self.shape.groups);
        let (weights, groups): (Vec<_>, _) = raw.map(group).unzip();
        (weights.concat(), Tape { groups })
    }

    /// Gradient in the raw parameters, from the gradient in the effective weight.
    pub fn backward<T: Real>(&self, tape: &Tape<T>, gradient: &[T]) -> Vec<T> {
        let [rows, shape @ ..] = self.shape.weight_shape();
        let [second, height, width] = shape;
        let group = |(factors, gradient): (&GroupTape<T>, &[T])| {
            let shape = [rows / self.shape.groups, second, height, width];
            let gradient = Kernel::from_oihw(gradient, shape);
            match &factors[..] {
                [(first, first_tape), (second, second_tape)] => {
                    let (in_first, in_second) = first.then_backward(second, &gradient);
                    let mut raw = first_tape.backward(&in_first);
                    raw.extend(second_tape.backward(&in_second));
                    raw
                }
                _ => factors[0].1.backward(&gradient),
            }
        };
        let gradients = gradient.par_chunks_exact(gradient.len() / self.shape.groups);
        let groups = tape.groups.par_iter().zip(gradients);
        groups.map(group).collect::<Vec<_>>().concat()
    }

    /// Channels in and out of one group of the convolution that is constructed.
    fn channels(&self) -> [usize; 2] {
        let [input, out] = [
            self.shape.input / self.shape.groups,
            self.shape.out / self.shape.groups,
        ];
        match self.shape.transposed {
            true => [out, input],
            false => [input, out],
        }
    }

    /// The factors of the kernel of one group, in order of application.
    fn factors(&self) -> Vec<Factor> {
        let Shape {
            kernel,
            stride,
            dilation,
            ..
        } = self.shape;
        let [input, out] = self.channels();
        let bcop = |out, kernel| Factor::Bcop(Bcop { input, out, kernel });
        if kernel == stride && common_divisor(stride, dilation) == 1 {
            return vec![Factor::Rko([out, input, kernel, kernel])];
        }
        if stride == 1 || (dilation > 1 && input >= out) {
            return vec![bcop(out, kernel)];
        }
        let middle = match self.shape.transposed {
            true => input,
            false => input.max(out / (stride * stride)),
        };
        vec![
            bcop(middle, kernel - stride + 1),
            Factor::Rko([out, middle, stride, stride]),
        ]
    }
}

impl Factor {
    /// Number, rows and columns of its raw matrices.
    fn matrices(&self) -> [usize; 3] {
        match *self {
            Self::Rko([out, input, height, width]) => [1, out, input * height * width],
            Self::Bcop(bcop) => [2 * bcop.kernel, bcop.channels(), bcop.rank()],
        }
    }

    fn raw_len(&self) -> usize {
        self.matrices().into_iter().product()
    }

    fn kernel<T: Real>(&self, by: Orthogonaliser, raw: &[T]) -> (Kernel<T>, FactorTape<T>) {
        let [_, rows, cols] = self.matrices();
        let matrices = raw.chunks_exact(rows * cols);
        let matrices: Vec<_> = matrices
            .map(|m| Matrix::new(rows, cols, m.to_vec()))
            .collect();
        let mut factors = by.apply_all(&matrices);
        match *self {
            Self::Rko(shape) => {
                let (matrix, tape) = factors.swap_remove(0);
                (
                    Kernel::from_oihw(&matrix.data, shape),
                    FactorTape::Rko(tape),
                )
            }
            Self::Bcop(bcop) => {
                let (kernel, tape) = bcop.kernel(factors);
                (kernel, FactorTape::Bcop(tape))
            }
        }
    }
}

impl<T: Real> FactorTape<T> {
    fn backward(&self, gradient: &Kernel<T>) -> Vec<T> {
        match self {
            Self::Rko(tape) => {
                let (rows, data) = (gradient.taps[0].rows, gradient.to_oihw());
                tape.backward(&Matrix::new(rows, data.len() / rows, data))
                    .data
            }
            Self::Bcop(tape) => tape.backward(gradient),
        }
    }
}

#[cfg(test)]
mod tests;
