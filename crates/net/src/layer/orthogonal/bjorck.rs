//! The polar factor by Björck's iteration (Björck and Bowie 1971), with the backward pass.
//!
//! X is divided by a scale s and sent through Björck's iteration W ← 1.5·W − 0.5·W·WᵀW, which
//! converges to the polar factor X(XᵀX)^{-1/2}: the nearest matrix with orthonormal columns.
//! Per singular value the step is σ ← 1.5σ − 0.5σ³: it maps [0, √3] into [0, 1], grows small
//! values by 1.5 and squares the error of values near one.
//!
//! The scale is ‖X‖_F/√n, which is the singular value itself when all are equal (as at the
//! orthogonal start), raised where needed so that σ_max/s ≤ 1.7 < √3 is *proven* by
//! σ_max ≤ ‖(XᵀX)⁴‖_F^{1/8}: no power iteration, no state, and the iteration cannot diverge.
//! The polar factor does not depend on s; the backward pass holds s constant.
//!
//! One step is taken after convergence: its Jacobian at an orthonormal W is the projection
//! dW − W·sym(WᵀdW) on the tangent space, without which the gradient of a converged matrix would
//! keep its normal part.

use super::super::matrix::{Matrix, Real, Side};

/// Most iterations; a singular value of 1e-6 of the scale is brought to one in 40.
const MOST: usize = 60;

/// What the backward pass needs: the iterates and the scale.
pub(super) struct Polar<T> {
    iterates: Vec<Matrix<T>>,
    scale: f64,
    transposed: bool,
}

/// Orthonormalises the columns of `x`, or its rows where there are fewer rows than columns.
///
/// A zero matrix, or one with entries that are not finite, comes out as it is; the audit of the
/// baked network refuses what is not finite.
pub(super) fn orthogonalise<T: Real>(x: &Matrix<T>) -> (Matrix<T>, Polar<T>) {
    let transposed = x.rows < x.cols;
    let tall = if transposed {
        x.transposed()
    } else {
        x.clone()
    };
    let scale = scale(&tall);
    let mut iterates = Vec::new();
    let mut w = tall.scaled(1.0 / scale);
    for _ in 0..MOST {
        let gram = w.transposed_times(&w);
        let mut residual = gram.clone();
        residual.add_scaled(-1.0, &Matrix::identity(gram.rows, gram.cols));
        let error = residual.frobenius();
        if !error.is_finite() {
            break;
        }
        let next = step(&w, &gram);
        iterates.push(std::mem::replace(&mut w, next));
        if error <= T::CONVERGED * (gram.rows as f64).sqrt() {
            break;
        }
    }
    let result = if transposed { w.transposed() } else { w };
    let polar = Polar {
        iterates,
        scale,
        transposed,
    };
    (result, polar)
}

impl<T: Real> Polar<T> {
    /// Gradient of a loss in `x`, from its gradient in the orthonormal matrix.
    pub(super) fn backward(&self, gradient: &Matrix<T>) -> Matrix<T> {
        let mut g = if self.transposed {
            gradient.transposed()
        } else {
            gradient.clone()
        };
        for w in self.iterates.iter().rev() {
            g = step_backward(w, &g);
        }
        let g = g.scaled(1.0 / self.scale);
        if self.transposed { g.transposed() } else { g }
    }
}

/// One step 1.5·W − 0.5·W·S, where S = WᵀW: singular values in [0, √3] land in [0, 1].
pub(super) fn step<T: Real>(w: &Matrix<T>, gram: &Matrix<T>) -> Matrix<T> {
    let mut next = w.scaled(1.5);
    next.add_product(-0.5, w, Side::Plain, gram, Side::Plain);
    next
}

/// Gradient in W from the gradient G in its [`step`]: 1.5·G − 0.5·(G·S + W·(WᵀG + GᵀW)).
pub(super) fn step_backward<T: Real>(w: &Matrix<T>, g: &Matrix<T>) -> Matrix<T> {
    let gram = w.transposed_times(w);
    let cross = w.transposed_times(g);
    let mut both = cross.transposed();
    both.add_scaled(1.0, &cross);
    let mut next = g.scaled(1.5);
    next.add_product(-0.5, g, Side::Plain, &gram, Side::Plain);
    next.add_product(-0.5, w, Side::Plain, &both, Side::Plain);
    next
}

/// A scale s with σ_max(x)/s ≤ 1.7, equal to the common singular value where all are equal.
pub(super) fn scale<T: Real>(x: &Matrix<T>) -> f64 {
    let equal = x.frobenius() / (x.cols as f64).sqrt();
    if equal == 0.0 || !equal.is_finite() {
        return 1.0;
    }
    let unit = x.scaled(1.0 / equal);
    let gram = unit.transposed_times(&unit);
    let second = gram.times(&gram);
    let fourth = second.times(&second);
    let largest = fourth.frobenius().powf(0.125);
    equal * (largest / 1.7).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn gaussian(rows: usize, cols: usize, seed: u64) -> Matrix<f64> {
        let mut rng = Rng::new(seed);
        let data = (0..rows * cols).map(|_| rng.normal()).collect();
        Matrix::new(rows, cols, data)
    }

    fn residual(w: &Matrix<f64>) -> f64 {
        let mut gram = w.transposed_times(w);
        gram.add_scaled(-1.0, &Matrix::identity(w.cols, w.cols));
        gram.frobenius()
    }

    #[test]
    fn columns_or_rows_become_orthonormal() {
        for (rows, cols) in [(1, 1), (4, 2), (3, 3), (5, 9), (64, 32)] {
            let (w, _) = orthogonalise(&gaussian(rows, cols, 7));
            let tall = if rows < cols { w.transposed() } else { w };
            assert!(residual(&tall) < 1e-12, "{rows}x{cols}");
        }
    }

    #[test]
    fn a_badly_conditioned_matrix_converges_too() {
        let mut x = gaussian(16, 8, 3);
        for (i, value) in x.data.iter_mut().enumerate() {
            *value *= 10f64.powi(-((i % 8) as i32));
        }
        let (w, polar) = orthogonalise(&x);
        assert!(residual(&w) < 1e-12);
        assert!(polar.iterates.len() < MOST);
    }

    #[test]
    fn one_large_singular_value_does_not_diverge() {
        // σ = (1000, 1e-3, ...): ‖X‖_F/√n alone would leave σ_max at √8 > √5, where Björck diverges
        let mut x = Matrix::<f64>::identity(8, 8).scaled(1e-3);
        x.data[0] = 1000.0;
        let (w, _) = orthogonalise(&x);
        assert!(residual(&w) < 1e-12);
    }

    #[test]
    fn the_scalar_table_of_bjorck() {
        let step = |s: f64| 1.5 * s - 0.5 * s * s * s;
        assert!((step(2.2) + 2.024).abs() < 1e-12);
        assert!((step(2.05) + 1.232_562_5).abs() < 1e-6);
        assert!(step(3f64.sqrt()).abs() < 1e-12);
        assert!((step(5f64.sqrt()) + 5f64.sqrt()).abs() < 1e-12);
        let many = |start: f64, n: usize| (0..n).fold(start, |s, _| step(s));
        assert!((many(1e-3, 12) - 0.129).abs() < 1e-3);
        assert!((many(1e-3, 25) - 1.0).abs() < 1e-3);
    }

    /// Differences of the converged map: h = 1e-6 leaves h² = 1e-12 of truncation and 1e-13/h =
    /// 1e-7 of rounding, relative to gradients of order one.
    const DIFFERENCES: f64 = 1e-6;

    #[test]
    fn the_gradient_equals_central_differences() {
        for (rows, cols) in [(4, 2), (2, 5), (3, 3)] {
            let x = gaussian(rows, cols, 11);
            let direction = gaussian(rows, cols, 12);
            let loss = |x: &Matrix<f64>| -> f64 {
                let (w, _) = orthogonalise(x);
                w.data.iter().zip(&direction.data).map(|(a, b)| a * b).sum()
            };
            let (_, polar) = orthogonalise(&x);
            let gradient = polar.backward(&direction);
            for i in 0..x.data.len() {
                let (mut up, mut down) = (x.clone(), x.clone());
                up.data[i] += 1e-6;
                down.data[i] -= 1e-6;
                let expected = (loss(&up) - loss(&down)) / 2e-6;
                let got = gradient.data[i];
                assert!((got - expected).abs() < DIFFERENCES, "{got} {expected}");
            }
        }
    }

    #[test]
    fn zero_and_nan_come_out_as_they_are() {
        let (w, _) = orthogonalise(&Matrix::<f64>::zeros(3, 2));
        assert_eq!(w, Matrix::zeros(3, 2));
        let mut x = gaussian(3, 2, 1);
        x.data[4] = f64::NAN;
        assert!(orthogonalise(&x).0.data.iter().any(|v| v.is_nan()));
    }
}
