//! Orthonormal columns from a free matrix, six ways, each with its exact backward pass.
//!
//! | name | formula | reaches | where the columns are not orthonormal |
//! |---|---|---|---|
//! | Björck | polar factor X(XᵀX)^{-1/2}, Björck's iteration in the precision of X | all | singular values below 1e-10 of the largest stay below one; zero stays zero |
//! | Newton-Schulz | the same, by iterating on XᵀX | all | below 1e-5 of the largest they stay below one; zero stays zero |
//! | Cholesky | X·L^{-T}, XᵀX = LLᵀ, twice | all | a column that depends on earlier ones to 3e-7 may become zero |
//! | QR | Q of X = QR with a positive diagonal of R | all | never |
//! | Cayley | (I+A)^{-1}(I−A), A = X − Xᵀ, X padded to a square, cropped | no eigenvalue −1, hence determinant 1 where square | never |
//! | exponential | exp(A), A = (X − Xᵀ)/2, padded and cropped alike | determinant 1 where square | never |
//!
//! All leave the norm at one up to rounding, whatever the finite input: below 1 + 1e-6 in f32. A NaN
//! or infinite entry comes out as one that is not finite, and so does, by Björck in f32, a matrix all of
//! whose entries are below 1e-38. Nothing rests on either: the baked kernel is audited.
//!
//! Björck works in f32 in training. The others work in f64 throughout and round once at the end:
//! Gram matrices and solves square the condition number, and f32 would not survive that.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::matrix::{Matrix, Real};
use crate::rng::Rng;

mod bjorck;
mod newton_schulz;
mod skew;
mod triangular;

/// How a matrix gets orthonormal columns, or rows where it has fewer rows than columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orthogonaliser {
    /// Polar factor by Björck's iteration: products only, in the precision of the input.
    #[default]
    Bjorck,
    /// Polar factor by the inverse square root of the Gram matrix.
    NewtonSchulz,
    /// Triangular orthogonalisation by two Cholesky factorisations.
    Cholesky,
    /// The same by Householder reflections: orthonormal for any input.
    Qr,
    /// Cayley transform of a skew-symmetric matrix.
    Cayley,
    /// Exponential of a skew-symmetric matrix: the slowest, square in the longer side.
    Exponential,
}

/// The way back from the orthonormal matrix to the raw one.
pub struct Tape<T>(Box<Back<T>>);

/// Gradient in the raw matrix, from the gradient in its image.
type Back<T = f64> = dyn Fn(&Matrix<T>) -> Matrix<T> + Send + Sync;

/// An orthonormal matrix and the way back from it.
type Image = (Matrix<f64>, Box<Back>);

impl Orthogonaliser {
    /// Every orthogonaliser.
    pub const ALL: [Self; 6] = [
        Self::Bjorck,
        Self::NewtonSchulz,
        Self::Cholesky,
        Self::Qr,
        Self::Cayley,
        Self::Exponential,
    ];

    /// Orthonormalises the columns of `x`, or its rows where there are fewer rows than columns.
    pub fn apply<T: Real>(self, x: &Matrix<T>) -> (Matrix<T>, Tape<T>) {
        let of_tall: fn(&Matrix<f64>) -> Image = match self {
            Self::Bjorck => {
                let (w, polar) = bjorck::orthogonalise(x);
                return (w, Tape(Box::new(move |g| polar.backward(g))));
            }
            Self::NewtonSchulz => newton_schulz::polar_factor,
            Self::Cholesky => triangular::cholesky,
            Self::Qr => triangular::householder,
            Self::Cayley => skew::cayley,
            Self::Exponential => skew::exponential,
        };
        let wide = x.rows < x.cols;
        let (w, back) = of_tall(&turned(x.cast(), wide));
        let tape = move |g: &Matrix<T>| turned(back(&turned(g.cast(), wide)), wide).cast();
        (turned(w, wide).cast(), Tape(Box::new(tape)))
    }

    /// [`Orthogonaliser::apply`] on every matrix of a list, in parallel.
    pub fn apply_all<T: Real>(self, xs: &[Matrix<T>]) -> Vec<(Matrix<T>, Tape<T>)> {
        let xs = xs.par_iter().with_max_len(1);
        xs.map(|x| self.apply(x)).collect()
    }

    /// Raw start values of a `rows` x `cols` matrix, row after row, whose image is orthonormal and
    /// spread over all it can reach: distributed by Haar's measure, save that Cayley draws again
    /// near an eigenvalue −1 and the exponential is centred only.
    pub fn start(self, rows: usize, cols: usize, rng: &mut Rng) -> Vec<f32> {
        let wide = rows < cols;
        let (long, short) = (rows.max(cols), rows.min(cols));
        let raw = match self {
            // an orthonormal matrix is its own image
            Self::Bjorck | Self::NewtonSchulz | Self::Cholesky | Self::Qr => haar(rows, cols, rng),
            Self::Cayley => turned(skew::cayley_start(long, short, rng), wide),
            Self::Exponential => turned(skew::exponential_start(long, short, rng), wide),
        };
        raw.data.iter().map(|&x| x as f32).collect()
    }
}

impl<T: Real> Tape<T> {
    /// Gradient of a loss in the raw matrix, from its gradient in the orthonormal one.
    pub fn backward(&self, gradient: &Matrix<T>) -> Matrix<T> {
        (self.0)(gradient)
    }
}

/// Standard normal entries.
fn gaussian(rows: usize, cols: usize, rng: &mut Rng) -> Matrix<f64> {
    let data = (0..rows * cols).map(|_| rng.normal()).collect();
    Matrix::new(rows, cols, data)
}

/// A random orthonormal matrix: the polar factor of a Gaussian one.
fn haar(rows: usize, cols: usize, rng: &mut Rng) -> Matrix<f64> {
    bjorck::orthogonalise(&gaussian(rows, cols, rng)).0
}

fn turned(x: Matrix<f64>, turn: bool) -> Matrix<f64> {
    if turn { x.transposed() } else { x }
}

/// X divided by its largest magnitude, and that (1 for a zero matrix): no square overflows, and
/// not all underflow.
fn unit(x: &Matrix<f64>) -> (Matrix<f64>, f64) {
    let largest = x.data.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    let largest = if largest > 0.0 { largest } else { 1.0 };
    let data = x.data.iter().map(|v| v / largest).collect();
    (Matrix::new(x.rows, x.cols, data), largest)
}

#[cfg(test)]
mod tests;
