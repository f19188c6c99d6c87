//! Orthogonal matrices from skew-symmetric ones: the Cayley transform and the exponential.
//!
//! The tall raw block X = [U; V] (n x m) is padded by zeros to a square; the first m columns of the
//! orthogonal n x n matrix are the result.
//!
//! Cayley: A = X − Xᵀ, W = (I+A)^{-1}(I−A). With F = U − Uᵀ + VᵀV and P = (I+F)^{-1} its first
//! columns are [2P − I; −2VP] (Trockman and Kolter 2021): one m x m inverse. The symmetric part of
//! I+F is at least I, so P exists and ‖P‖ ≤ 1.
//!
//! Exponential: A = (X − Xᵀ)/2, exp(A) = (T(A/2^s))^{2^s} with the Taylor polynomial T of the degree
//! whose remainder vanishes in f64; backward by reverse mode through polynomial and squarings.
//!
//! Rounding grows with the norm of A, so a raw block of Frobenius norm above [`LIMIT`] is first
//! scaled down to it: both maps are saturated or have wound round many times there. At the limit 8
//! digits are left.

use super::super::matrix::{Matrix, Side};
use super::{Image, gaussian, haar, unit};
use crate::rng::Rng;

/// Largest Frobenius norm of the raw block.
const LIMIT: f64 = 1e4;

/// Columns of the Cayley transform.
pub(super) fn cayley(x: &Matrix<f64>) -> Image {
    let (x, factor) = bounded(x);
    let (u, v) = halves(&x);
    let identity = Matrix::identity(x.cols, x.cols);
    let mut sum = v.transposed_times(&v);
    sum.add_scaled(1.0, &u);
    sum.add_scaled(-1.0, &u.transposed());
    sum.add_scaled(1.0, &identity);
    let p = inverse(&sum);
    let mut top = p.scaled(2.0);
    top.add_scaled(-1.0, &identity);
    let w = stacked(top, &v.times(&p).scaled(-2.0));
    let back = move |g: &Matrix<f64>| {
        let (g_top, g_bottom) = halves(g);
        // P = (I+F)^{-1}: dF = −Pᵀ·dP·Pᵀ
        let mut in_p = g_top.scaled(2.0);
        in_p.add_product(-2.0, &v, Side::Transposed, &g_bottom, Side::Plain);
        let in_f = p.transposed_times(&in_p).times_transposed(&p).scaled(-1.0);
        let flipped = in_f.transposed();
        let (mut skew, mut symmetric) = (in_f.clone(), in_f);
        skew.add_scaled(-1.0, &flipped);
        symmetric.add_scaled(1.0, &flipped);
        let mut in_v = v.times(&symmetric);
        in_v.add_product(-2.0, &g_bottom, Side::Plain, &p, Side::Transposed);
        bounded_backward(&x, factor, stacked(skew, &in_v))
    };
    (w, Box::new(back))
}

/// A raw block whose Cayley transform is a random orthonormal matrix. The inverse transform
/// P = (I+W₁)/2, V = −W₂·P^{-1}/2, U = (P^{-1} − P^{-T})/4 has its pole at an eigenvalue −1 of W₁,
/// which half of all square matrices have (determinant −1): drawn again near it.
pub(super) fn cayley_start(rows: usize, cols: usize, rng: &mut Rng) -> Matrix<f64> {
    loop {
        let (mut p, mut v) = halves(&haar(rows, cols, rng));
        p.add_scaled(1.0, &Matrix::identity(cols, cols));
        let q = inverse(&p);
        v = v.times(&q).scaled(-1.0);
        let mut u = q.scaled(0.5);
        u.add_scaled(-0.5, &q.transposed());
        let raw = stacked(u, &v);
        if raw.frobenius() <= LIMIT.min(10.0 * rows as f64) {
            return raw;
        }
    }
}

/// Columns of the exponential.
pub(super) fn exponential(x: &Matrix<f64>) -> Image {
    let (x, factor) = bounded(x);
    let (rows, cols) = (x.rows, x.cols);
    let mut a = Matrix::zeros(rows, rows);
    for (index, value) in x.data.iter().enumerate() {
        let (i, j) = (index / cols, index % cols);
        a.data[i * rows + j] += 0.5 * value;
        a.data[j * rows + i] -= 0.5 * value;
    }
    // the eigenvalues come in pairs ±iθ
    let mut norm = a.frobenius() / 2f64.sqrt();
    let mut scale = 1.0;
    while norm > 0.5 {
        norm *= 0.5;
        scale *= 0.5;
    }
    let a = a.scaled(scale);
    // each squaring doubles the remainder ‖A‖^{d+1}/(d+1)!
    let (mut degree, mut remainder) = (1, 0.5 * norm * norm);
    while remainder > 0.25 * f64::EPSILON * scale {
        degree += 1;
        remainder *= norm / f64::from(degree + 1);
    }
    let identity = Matrix::identity(rows, rows);
    let (mut w, mut sums, mut roots) = (identity.clone(), Vec::new(), Vec::new());
    for d in (1..=degree).map(f64::from).rev() {
        let mut next = identity.clone();
        next.add_product(1.0 / d, &a, Side::Plain, &w, Side::Plain);
        sums.push((d, std::mem::replace(&mut w, next)));
    }
    let mut power = scale;
    while power < 1.0 {
        power *= 2.0;
        let square = w.times(&w);
        roots.push(std::mem::replace(&mut w, square));
    }
    let w = columns(&w, cols);
    let back = move |g: &Matrix<f64>| {
        let mut g = columns(g, rows);
        for root in roots.iter().rev() {
            let mut next = root.transposed_times(&g);
            next.add_product(1.0, &g, Side::Plain, root, Side::Transposed);
            g = next;
        }
        let mut in_a = Matrix::zeros(rows, rows);
        for (d, sum) in sums.iter().rev() {
            in_a.add_product(1.0 / d, &g, Side::Plain, sum, Side::Transposed);
            g = a.transposed_times(&g).scaled(1.0 / d);
        }
        let flipped = in_a.transposed();
        in_a.add_scaled(-1.0, &flipped);
        let in_x = columns(&in_a.scaled(0.5 * scale), cols);
        bounded_backward(&x, factor, in_x)
    };
    (w, Box::new(back))
}

/// A Gaussian raw block whose exponential has a diagonal of mean zero. With entries of A of
/// deviation r/√n its mean is 2·J₁(2r)/(2r) for m = n (semicircle law), zero at r = 1.916, and
/// cos(r) for m ≪ n, zero at r = π/2; between the two r is interpolated.
pub(super) fn exponential_start(rows: usize, cols: usize, rng: &mut Rng) -> Matrix<f64> {
    let share = cols as f64 / rows as f64;
    let r = share * 1.915_853 + (1.0 - share) * std::f64::consts::FRAC_PI_2;
    let deviation = r / (rows as f64).sqrt();
    let (u, v) = halves(&gaussian(rows, cols, rng));
    // A holds the difference of two halves of U, and one half of V
    stacked(
        u.scaled(2f64.sqrt() * deviation),
        &v.scaled(2.0 * deviation),
    )
}

/// X, scaled down to the Frobenius norm [`LIMIT`] where it is above, and the factor.
fn bounded(x: &Matrix<f64>) -> (Matrix<f64>, f64) {
    let (direction, largest) = unit(x);
    let factor = LIMIT / direction.frobenius() / largest;
    // a NaN factor makes everything NaN
    match factor >= 1.0 {
        true => (x.clone(), 1.0),
        false => (x.scaled(factor), factor),
    }
}

/// Y = X·c/‖X‖: dX = (c/‖X‖)·(G − Y·⟨Y, G⟩/c²).
fn bounded_backward(y: &Matrix<f64>, factor: f64, mut g: Matrix<f64>) -> Matrix<f64> {
    if factor != 1.0 {
        let inner: f64 = y.data.iter().zip(&g.data).map(|(a, b)| a * b).sum();
        g.add_scaled(-inner / (LIMIT * LIMIT), y);
        g = g.scaled(factor);
    }
    g
}

/// The square top of a tall matrix and the rows below.
fn halves(x: &Matrix<f64>) -> (Matrix<f64>, Matrix<f64>) {
    let (top, bottom) = x.data.split_at(x.cols * x.cols);
    (
        Matrix::new(x.cols, x.cols, top.to_vec()),
        Matrix::new(x.rows - x.cols, x.cols, bottom.to_vec()),
    )
}

fn stacked(mut top: Matrix<f64>, bottom: &Matrix<f64>) -> Matrix<f64> {
    top.rows += bottom.rows;
    top.data.extend(&bottom.data);
    top
}

/// The first `cols` columns, filled up by zeros.
fn columns(x: &Matrix<f64>, cols: usize) -> Matrix<f64> {
    let mut result = Matrix::zeros(x.rows, cols);
    let kept = cols.min(x.cols);
    let rows = result.data.chunks_exact_mut(cols);
    for (to, from) in rows.zip(x.data.chunks_exact(x.cols)) {
        to[..kept].copy_from_slice(&from[..kept]);
    }
    result
}

/// The inverse by Gauss and Jordan's elimination with row pivots; not finite where there is none.
fn inverse(x: &Matrix<f64>) -> Matrix<f64> {
    let size = x.cols;
    let identity = Matrix::<f64>::identity(size, size);
    let rows = x
        .data
        .chunks_exact(size)
        .zip(identity.data.chunks_exact(size));
    let mut rows: Vec<Vec<f64>> = rows.map(|(a, b)| [a, b].concat()).collect();
    for j in 0..size {
        let magnitude = |i: &usize| rows[*i][j].abs();
        let best = (j..size).max_by(|a, b| magnitude(a).total_cmp(&magnitude(b)));
        rows.swap(j, best.unwrap_or(j));
        let pivot = rows[j][j];
        let row: Vec<f64> = rows[j].iter().map(|v| v / pivot).collect();
        for other in &mut rows {
            let factor = other[j];
            for (a, b) in other.iter_mut().zip(&row) {
                *a -= factor * b;
            }
        }
        rows[j] = row;
    }
    let data = rows.iter().flat_map(|row| &row[size..]).copied().collect();
    Matrix::new(size, size, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rows: usize, cols: usize, seed: u64) -> Matrix<f64> {
        gaussian(rows, cols, &mut Rng::new(seed))
    }

    /// Entries of order one, a few f64 roundings, condition of the Gaussian samples below 100.
    const CLOSE: f64 = 1e-12;

    fn distance(a: &Matrix<f64>, b: &Matrix<f64>) -> f64 {
        let mut difference = a.clone();
        difference.add_scaled(-1.0, b);
        difference.frobenius()
    }

    /// A = X − Xᵀ, padded.
    fn padded(x: &Matrix<f64>) -> Matrix<f64> {
        let square = columns(x, x.rows);
        let mut a = square.clone();
        a.add_scaled(-1.0, &square.transposed());
        a
    }

    #[test]
    fn the_short_cayley_form_is_the_padded_one() {
        for (rows, cols) in [(5, 2), (3, 3), (4, 1), (1, 1)] {
            let x = random(rows, cols, 1);
            let a = padded(&x);
            let identity = Matrix::identity(rows, rows);
            let (mut plus, mut minus) = (identity.clone(), identity);
            plus.add_scaled(1.0, &a);
            minus.add_scaled(-1.0, &a);
            let expected = columns(&inverse(&plus).times(&minus), cols);
            assert!(distance(&cayley(&x).0, &expected) < CLOSE, "{rows}x{cols}");
            assert!(distance(&cayley(&x.scaled(1.001)).0, &expected) > CLOSE || rows == 1);
        }
    }

    #[test]
    fn the_exponential_is_its_series() {
        for (rows, cols) in [(5, 2), (3, 3)] {
            let x = random(rows, cols, 2);
            let a = padded(&x).scaled(0.5);
            // ‖A‖ < 4: the terms after 60 are below 1e-40
            let (mut sum, mut term) = (Matrix::identity(rows, rows), Matrix::identity(rows, rows));
            for d in 1..60 {
                term = term.times(&a).scaled(1.0 / f64::from(d));
                sum.add_scaled(1.0, &term);
            }
            let expected = columns(&sum, cols);
            assert!(distance(&exponential(&x).0, &expected) < CLOSE);
            assert!(distance(&exponential(&x.scaled(1.001)).0, &expected) > CLOSE);
        }
    }

    #[test]
    fn the_inverse_is_one_and_of_a_singular_matrix_not_finite() {
        let x = random(6, 6, 3);
        assert!(distance(&x.times(&inverse(&x)), &Matrix::identity(6, 6)) < CLOSE);
        let zero = inverse(&Matrix::zeros(2, 2));
        assert!(zero.data.iter().all(|v| !v.is_finite()));
    }

    #[test]
    fn a_start_of_cayley_is_the_inverse_transform_of_a_random_matrix() {
        let raw = cayley_start(7, 3, &mut Rng::new(4));
        let expected = haar(7, 3, &mut Rng::new(4));
        assert!(distance(&cayley(&raw).0, &expected) < CLOSE);
    }

    #[test]
    fn blocks_above_the_limit_are_scaled_down_with_their_gradient() {
        let x = random(3, 2, 5).scaled(LIMIT);
        let (y, factor) = bounded(&x);
        assert!((y.frobenius() / LIMIT - 1.0).abs() < CLOSE);
        let direction = random(3, 2, 6);
        let loss = |x: &Matrix<f64>| -> f64 {
            let (y, _) = bounded(x);
            y.data.iter().zip(&direction.data).map(|(a, b)| a * b).sum()
        };
        let gradient = bounded_backward(&y, factor, direction.clone());
        for i in 0..x.data.len() {
            // entries of 1e4: a step of 1 leaves 1e-8 of truncation, and 1e-12 of rounding
            let (mut up, mut down) = (x.clone(), x.clone());
            up.data[i] += 1.0;
            down.data[i] -= 1.0;
            assert!((gradient.data[i] - (loss(&up) - loss(&down)) / 2.0).abs() < 1e-7);
        }
        let small = random(3, 2, 5);
        assert_eq!(bounded(&small), (small, 1.0));
        let huge = bounded(&random(3, 2, 5).scaled(1e300)).0;
        assert!((huge.frobenius() / LIMIT - 1.0).abs() < CLOSE);
    }
}
