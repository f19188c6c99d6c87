//! Triangular orthogonalisation X = Q·R with a positive diagonal of R, by two Cholesky
//! factorisations of Gram matrices (Yamamoto et al. 2015, CholeskyQR2) or by Householder
//! reflections. Both compute the same function.
//!
//! Backward pass (Walter and Lehmann 2010; Liao et al. 2019): with M = −GᵀQ and M̃ the symmetric
//! matrix that shares the lower triangle of M, dX = (G + Q·M̃)·R^{-T}. Where a diagonal entry of
//! R is zero, Q jumps, and the gradient in that column of X is set to zero.

use super::super::matrix::{Matrix, Side};
use super::{Back, Image, unit};

/// A pivot below this share of its diagonal entry is rounding of the Gram matrix, not information.
const LOST: f64 = 1e-13;

/// A diagonal entry of R below this share of its column is rounding of the reflections.
const DEPENDENT: f64 = 1e-14;

/// Q of a tall matrix by Cholesky. The first pass leaves an error of the squared condition number
/// times 1e-16; the second, on nearly orthonormal columns, removes it. A column whose pivot is
/// lost becomes zero, which leaves the norm at one.
pub(super) fn cholesky(x: &Matrix<f64>) -> Image {
    let (x, largest) = unit(x);
    let first = upper_factor(x.transposed_times(&x));
    let rough = solve(&x, &first);
    let second = upper_factor(rough.transposed_times(&rough));
    let q = solve(&rough, &second);
    (q.clone(), back(q, second.times(&first), largest))
}

/// Q of a tall matrix by Householder reflections, orthonormal for any finite input: a column that
/// depends on earlier ones becomes some unit vector orthogonal to them.
pub(super) fn householder(x: &Matrix<f64>) -> Image {
    let (mut x, largest) = unit(x);
    let (rows, cols) = (x.rows, x.cols);
    let mut mirrors = Vec::with_capacity(cols);
    for j in 0..cols {
        let mut mirror = Matrix::zeros(rows, 1);
        for i in j..rows {
            mirror.data[i] = x.data[i * cols + j];
        }
        let norm = mirror.frobenius();
        // away from cancellation; the sign of zero counts as plus
        mirror.data[j] += if mirror.data[j] < 0.0 { -norm } else { norm };
        let length = mirror.frobenius();
        if length != 0.0 {
            mirror = mirror.scaled(1.0 / length);
        }
        reflect(&mut x, &mirror);
        mirrors.push(mirror);
    }
    let mut q = Matrix::identity(rows, cols);
    for mirror in mirrors.iter().rev() {
        reflect(&mut q, mirror);
    }
    let mut r = Matrix::zeros(cols, cols);
    for j in 0..cols {
        let diagonal = x.data[j * cols + j];
        let column = (0..=j).map(|i| x.data[i * cols + j].powi(2)).sum::<f64>();
        let sign = if diagonal < 0.0 { -1.0 } else { 1.0 };
        for row in q.data.chunks_exact_mut(cols) {
            row[j] *= sign;
        }
        for i in j..cols {
            r.data[j * cols + i] = sign * x.data[j * cols + i];
        }
        if diagonal.abs() <= DEPENDENT * column.sqrt() {
            r.data[j * cols + j] = 0.0;
        }
    }
    (q.clone(), back(q, r, largest))
}

/// X ← (I − 2vvᵀ)·X for a column v of length one (or zero).
fn reflect(x: &mut Matrix<f64>, v: &Matrix<f64>) {
    let along = v.transposed_times(x);
    x.add_product(-2.0, v, Side::Plain, &along, Side::Plain);
}

/// R with RᵀR = S, upper triangular; the row of a lost pivot is zero.
fn upper_factor(mut s: Matrix<f64>) -> Matrix<f64> {
    let size = s.cols;
    let diagonal: Vec<f64> = (0..size).map(|j| s.data[j * size + j]).collect();
    for j in 0..size {
        let (above, below) = s.data.split_at_mut((j + 1) * size);
        let row = &mut above[j * size..];
        let lost = row[j] <= LOST * diagonal[j];
        let factor = if lost { 0.0 } else { 1.0 / row[j].sqrt() };
        row[..j].fill(0.0);
        row[j..].iter_mut().for_each(|x| *x *= factor);
        for (i, lower) in (j + 1..size).zip(below.chunks_exact_mut(size)) {
            subtract(&mut lower[i..], row[i], &row[i..]);
        }
    }
    s
}

/// X·R^{-1} for an upper triangular R; a zero on its diagonal gives a zero column.
fn solve(x: &Matrix<f64>, r: &Matrix<f64>) -> Matrix<f64> {
    let mut result = x.clone();
    for row in result.data.chunks_exact_mut(r.cols) {
        for (j, upper) in r.data.chunks_exact(r.cols).enumerate() {
            let (done, rest) = row.split_at_mut(j + 1);
            done[j] = quotient(done[j], upper[j]);
            subtract(rest, done[j], &upper[j + 1..]);
        }
    }
    result
}

/// X·R^{-T} for an upper triangular R; a zero on its diagonal gives a zero column.
fn solve_transposed(x: &Matrix<f64>, r: &Matrix<f64>) -> Matrix<f64> {
    let lower = r.transposed();
    let mut result = x.clone();
    for row in result.data.chunks_exact_mut(r.cols) {
        for (j, lower) in lower.data.chunks_exact(r.cols).enumerate().rev() {
            let (rest, done) = row.split_at_mut(j);
            done[0] = quotient(done[0], lower[j]);
            subtract(rest, done[0], &lower[..j]);
        }
    }
    result
}

fn back(q: Matrix<f64>, r: Matrix<f64>, largest: f64) -> Box<Back> {
    Box::new(move |g| {
        let mut mirrored = g.transposed_times(&q).scaled(-1.0);
        for i in 0..q.cols {
            for j in 0..i {
                mirrored.data[j * q.cols + i] = mirrored.data[i * q.cols + j];
            }
        }
        let mut inner = g.clone();
        inner.add_product(1.0, &q, Side::Plain, &mirrored, Side::Plain);
        solve_transposed(&inner, &r).scaled(1.0 / largest)
    })
}

/// 0 where the divisor is zero.
fn quotient(value: f64, divisor: f64) -> f64 {
    if divisor == 0.0 { 0.0 } else { value / divisor }
}

/// `y −= factor · x`.
fn subtract(y: &mut [f64], factor: f64, x: &[f64]) {
    for (a, b) in y.iter_mut().zip(x) {
        *a -= factor * b;
    }
}
