//! The polar factor by Björck's iteration (Björck and Bowie 1971), with the backward pass.
//!
//! X is divided by a scale s and multiplied again and again by the start of the series of
//! (I − E)^{-1/2}, E = I − WᵀW, which converges to the polar factor X(XᵀX)^{-1/2}: the nearest
//! matrix with orthonormal columns. Per singular value, with e = 1 − σ²:
//!
//! | step | factor of σ | converges from | grows small σ by | leaves of a small e |
//! |---|---|---|---|---|
//! | Björck's | 1 + e/2 = 1.5 − 0.5σ² | σ ≤ √3, which lands in [0, 1] | 1.5 | 0.75·e² |
//! | quintic | 1 + e/2 + 3e²/8 + 5e³/16 + 35e⁴/128 | σ ≤ √2 | 2.46 | 0.5·e⁵ |
//!
//! The quintic has two products more, of the size of E: the smaller side of X only.
//!
//! The scale is ‖X‖_F/√n, which is the singular value itself when all are equal (as at the
//! orthogonal start). Where ‖E‖_F ≤ 1 does not prove σ ≤ √2, the scale is raised where needed so
//! that σ ≤ 1.7 < √3 is *proven* by σ_max ≤ ‖(XᵀX)⁴‖_F^{1/8}, and Björck's step comes first: no
//! power iteration, no state, and the iteration cannot diverge.
//! The polar factor does not depend on s; the backward pass holds s constant.
//!
//! No iteration ends without a step: the Jacobian of the step at an orthonormal W is the projection
//! dW − W·sym(WᵀdW) on the tangent space, without which the gradient of a converged matrix would
//! keep its normal part.

use super::super::matrix::{Matrix, Real, Side};

/// Most iterations; a singular value of 1e-10 of the scale is brought to one in 28.
const MOST: usize = 40;

/// What the backward pass needs: the steps and the scale.
pub(super) struct Polar<T> {
    steps: Vec<Step<T>>,
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
    let (mut w, mut defect, scale) = scaled(tall);
    let mut steps = Vec::new();
    while steps.len() < MOST {
        let size = defect.frobenius();
        if !size.is_finite() {
            break;
        }
        let nearly = size.powi(2) <= T::EPSILON;
        let step = if nearly || (steps.is_empty() && size > 1.0) {
            Step::bjorck(w, defect)
        } else {
            Step::quintic(w, defect)
        };
        w = step.image();
        // ‖E‖ ≤ ‖E²‖_F^{1/2}
        let fifth = step.square.as_ref().map(|e| e.frobenius().powf(2.5));
        let last = nearly || fifth.is_some_and(|fifth| fifth <= T::EPSILON);
        steps.push(step);
        if last {
            break;
        }
        defect = defect_of(&w);
    }
    let result = if transposed { w.transposed() } else { w };
    let polar = Polar {
        steps,
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
        for step in self.steps.iter().rev() {
            g = step.backward(&g);
        }
        let g = g.scaled(1.0 / self.scale);
        if self.transposed { g.transposed() } else { g }
    }
}

/// A step W ← W + W·Q of the iteration, Q a polynomial of E = I − WᵀW.
pub(super) struct Step<T> {
    w: Matrix<T>,
    defect: Matrix<T>,
    /// E² and B = 3/8·I + 5/16·E + 35/128·E² of a quintic step.
    square: Option<Matrix<T>>,
    factor: Matrix<T>,
}

impl<T: Real> Step<T> {
    /// Björck's step: Q = E/2.
    pub(super) fn bjorck(w: Matrix<T>, defect: Matrix<T>) -> Self {
        Self {
            factor: defect.scaled(0.5),
            w,
            defect,
            square: None,
        }
    }

    /// The quintic step: Q = E/2 + E²·B.
    fn quintic(w: Matrix<T>, defect: Matrix<T>) -> Self {
        let square = defect.times(&defect);
        let mut factor = defect.scaled(0.5);
        let rest = rest(&defect, &square);
        factor.add_product(1.0, &square, Side::Plain, &rest, Side::Plain);
        Self {
            w,
            defect,
            square: Some(square),
            factor,
        }
    }

    /// The next W.
    pub(super) fn image(&self) -> Matrix<T> {
        times_one_plus(&self.w, &self.factor)
    }

    /// Gradient in W, from the gradient G in the image: G + G·Q − 2·W·Ē, where Ē, the gradient in
    /// E, follows from H = sym(WᵀG), that in Q: a symmetric E has a symmetric Q.
    pub(super) fn backward(&self, g: &Matrix<T>) -> Matrix<T> {
        let mut in_factor = self.w.transposed_times(g);
        in_factor.symmetrise();
        let mut in_defect = in_factor.scaled(0.5);
        if let Some(square) = &self.square {
            let rest = rest(&self.defect, square);
            let mut in_rest = square.times(&in_factor);
            in_rest.symmetrise();
            let mut in_square = in_factor.times(&rest);
            in_square.add_scaled(35.0 / 128.0, &in_rest);
            in_square.symmetrise();
            let mut through = self.defect.times(&in_square);
            through.symmetrise();
            in_defect.add_scaled(5.0 / 16.0, &in_rest);
            in_defect.add_scaled(2.0, &through);
        }
        let mut next = times_one_plus(g, &self.factor);
        next.add_product(-2.0, &self.w, Side::Plain, &in_defect, Side::Plain);
        next
    }
}

/// B = 3/8·I + 5/16·E + 35/128·E².
fn rest<T: Real>(defect: &Matrix<T>, square: &Matrix<T>) -> Matrix<T> {
    let mut rest = defect.scaled(5.0 / 16.0);
    rest.add_scaled(35.0 / 128.0, square);
    rest.add_diagonal(3.0 / 8.0);
    rest
}

/// A·(I + Q).
fn times_one_plus<T: Real>(a: &Matrix<T>, q: &Matrix<T>) -> Matrix<T> {
    let mut result = a.clone();
    result.add_product(1.0, a, Side::Plain, q, Side::Plain);
    result
}

/// I − WᵀW.
pub(super) fn defect_of<T: Real>(w: &Matrix<T>) -> Matrix<T> {
    let mut defect = Matrix::identity(w.cols, w.cols);
    defect.add_product(-1.0, w, Side::Transposed, w, Side::Plain);
    defect
}

/// W = X/s, I − WᵀW and the scale s: all singular values of W are at most 1.7, and one where they
/// are equal.
pub(super) fn scaled<T: Real>(mut x: Matrix<T>) -> (Matrix<T>, Matrix<T>, f64) {
    let mut scale = x.frobenius() / (x.cols as f64).sqrt();
    if scale == 0.0 || !scale.is_finite() {
        scale = 1.0;
    }
    x = x.scaled(1.0 / scale);
    let mut defect = defect_of(&x);
    if defect.frobenius() > 1.0 {
        let mut gram = defect.scaled(-1.0);
        gram.add_diagonal(1.0);
        let second = gram.times(&gram);
        let fourth = second.times(&second);
        let more = fourth.frobenius().powf(0.125) / 1.7;
        if more > 1.0 {
            scale *= more;
            x = x.scaled(1.0 / more);
            defect = gram.scaled(-more.powi(-2));
            defect.add_diagonal(1.0);
        }
    }
    (x, defect, scale)
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
        assert!(polar.steps.len() < MOST);
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

    #[test]
    fn a_quintic_step_is_the_series_to_the_fourth_power() {
        for sigma in [0.0, 0.5, 1.0, 1.4] {
            let w = Matrix::new(1, 1, vec![sigma]);
            let defect = defect_of(&w);
            let got = Step::quintic(w, defect).image().data[0];
            // the coefficients of (1 − e)^{-1/2}: each is (2k − 1)/(2k) of the one before
            let e: f64 = 1.0 - sigma * sigma;
            let (mut term, mut sum) = (1.0, 1.0);
            for k in 1..=4 {
                term *= e * f64::from(2 * k - 1) / f64::from(2 * k);
                sum += term;
            }
            // a few f64 roundings of numbers of order one
            assert!((got - sigma * sum).abs() < 1e-15, "{sigma}: {got}");
        }
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
