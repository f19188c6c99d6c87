use super::*;

const SHAPES: [(usize, usize); 7] = [(1, 1), (4, 2), (3, 3), (5, 9), (7, 1), (64, 32), (32, 64)];

fn random<T: Real>(rows: usize, cols: usize, seed: u64) -> Matrix<T> {
    gaussian(rows, cols, &mut Rng::new(seed)).cast()
}

/// WᵀW in f64, or WWᵀ where W has fewer rows than columns.
fn gram<T: Real>(w: &Matrix<T>) -> Matrix<f64> {
    let w = turned(w.cast(), w.rows < w.cols);
    w.transposed_times(&w)
}

/// ‖WᵀW − I‖_F: bounds |σ² − 1| of all singular values.
fn residual<T: Real>(w: &Matrix<T>) -> f64 {
    let mut gram = gram(w);
    gram.add_scaled(-1.0, &Matrix::identity(gram.rows, gram.cols));
    gram.frobenius()
}

/// An upper bound of the largest singular value: the root of ‖G^p‖_F^{1/p}, G = WᵀW, p = 2^26, which
/// exceeds it by n^{1/4p}, 2e-8 for n = 64.
fn norm<T: Real>(w: &Matrix<T>) -> f64 {
    let mut power = gram(w);
    let (mut logarithm, mut p) = (0.0, 1.0);
    for _ in 0..=26 {
        let size = power.frobenius();
        if size == 0.0 {
            return 0.0;
        }
        logarithm += size.ln() / p;
        p *= 2.0;
        power = power.scaled(1.0 / size);
        power = power.times(&power);
    }
    (logarithm / 2.0).exp()
}

/// f32: 32 columns rounded by half an ulp leave 2e-7, Björck's last step in f32 a few times that.
/// f64: the same 1e-9 times smaller, times the condition number of the samples.
fn orthonormal<T: Real>() -> f64 {
    if T::CONVERGED > 1e-6 { 1e-6 } else { 1e-12 }
}

/// What rounding to f32 may add to a norm of one.
const NORM: f64 = 1.0 + 1e-6;

#[test]
fn columns_or_rows_become_orthonormal() {
    fn check<T: Real>(by: Orthogonaliser, rows: usize, cols: usize) {
        let (w, _) = by.apply(&random::<T>(rows, cols, 7));
        let got = residual(&w);
        assert_eq!((w.rows, w.cols), (rows, cols));
        assert!(got < orthonormal::<T>(), "{by:?} {rows}x{cols}: {got}");
    }
    for by in Orthogonaliser::ALL {
        for (rows, cols) in SHAPES {
            check::<f32>(by, rows, cols);
            check::<f64>(by, rows, cols);
        }
    }
}

#[test]
fn the_comparisons_see_planted_errors() {
    let (mut w, _) = Orthogonaliser::Qr.apply(&random::<f64>(64, 32, 7));
    assert!((norm(&w) - 1.0).abs() < 1e-7);
    w.data[5] += 1e-5;
    assert!(residual(&w) > orthonormal::<f32>());
    let stretched = w.scaled(1.000_002);
    assert!(norm(&stretched) > NORM);
    assert_eq!(norm(&Matrix::<f64>::zeros(3, 2)), 0.0);
    let wrong = |x: &Matrix<f64>| Orthogonaliser::Qr.apply(&x.scaled(1.0)).1.backward(x);
    assert!(gradient_error(Orthogonaliser::Cholesky, &random(4, 2, 1), &wrong) > DIFFERENCES);
}

/// Singular values from 1 down to 1/`condition`, evenly on a logarithmic scale.
fn conditioned(rows: usize, cols: usize, condition: f64) -> Matrix<f64> {
    let rank = rows.min(cols);
    let mut left = haar(rows, rank, &mut Rng::new(1));
    for (i, value) in left.data.iter_mut().enumerate() {
        *value *= condition.powf(-((i % rank) as f64) / (rank - 1) as f64);
    }
    left.times(&haar(rank, cols, &mut Rng::new(2)))
}

#[test]
fn no_finite_input_leaves_a_norm_above_one() {
    for (rows, cols) in [(24, 12), (12, 24), (9, 9)] {
        let plain = [
            ("condition 1e3", conditioned(rows, cols, 1e3)),
            ("condition 1e6", conditioned(rows, cols, 1e6)),
            ("condition 1e12", conditioned(rows, cols, 1e12)),
            ("rank 2", random(rows, 2, 3).times(&random(2, cols, 4))),
            ("rank 1", Matrix::new(rows, cols, vec![1.0; rows * cols])),
            ("zero", Matrix::zeros(rows, cols)),
            ("Gaussian", random(rows, cols, 5)),
        ];
        for (name, x) in plain {
            for scale in [1e-30, 1.0, 1e3, 1e30] {
                for by in Orthogonaliser::ALL {
                    let x: Matrix<f32> = x.scaled(scale).cast();
                    let (w, tape) = by.apply(&x);
                    let got = norm(&w);
                    assert!(got <= NORM, "{by:?} {rows}x{cols} {name} {scale}: {got}");
                    let gradient = tape.backward(&random(rows, cols, 6));
                    assert_eq!((gradient.rows, gradient.cols), (rows, cols));
                }
            }
        }
        // where the table of the file says so, the columns stay orthonormal
        use Orthogonaliser::{Cayley, Exponential, Qr};
        for by in [Qr, Cayley, Exponential] {
            let (w, _) = by.apply(&Matrix::<f32>::zeros(rows, cols));
            assert!(residual(&w) < orthonormal::<f32>(), "{by:?}");
        }
        for by in Orthogonaliser::ALL {
            let (w, _) = by.apply(&conditioned(rows, cols, 1e3));
            assert!(residual(&w) < orthonormal::<f64>(), "{by:?}");
        }
    }
}

/// Differences with h = 1e-6: h² = 1e-12 of truncation and 1e-13/h = 1e-7 of rounding, relative to
/// gradients of order one.
const DIFFERENCES: f64 = 1e-6;

/// Largest distance between central differences of ⟨C, W(x)⟩ and `gradient(C)`.
fn gradient_error(
    by: Orthogonaliser,
    x: &Matrix<f64>,
    gradient: &dyn Fn(&Matrix<f64>) -> Matrix<f64>,
) -> f64 {
    let direction = random(x.rows, x.cols, 12);
    let loss = |x: &Matrix<f64>| -> f64 {
        let (w, _) = by.apply(x);
        w.data.iter().zip(&direction.data).map(|(a, b)| a * b).sum()
    };
    let gradient = gradient(&direction);
    let error = |i: usize| {
        let (mut up, mut down) = (x.clone(), x.clone());
        up.data[i] += 1e-6;
        down.data[i] -= 1e-6;
        (gradient.data[i] - (loss(&up) - loss(&down)) / 2e-6).abs()
    };
    let errors = (0..x.data.len()).map(error);
    // NaN would lose every max
    errors
        .map(|e| if e.is_nan() { f64::INFINITY } else { e })
        .fold(0.0, f64::max)
}

#[test]
fn gradients_equal_central_differences() {
    for by in Orthogonaliser::ALL {
        for (rows, cols) in [(1, 1), (4, 2), (2, 5), (3, 3), (6, 1), (7, 4)] {
            let x = random(rows, cols, 11);
            let (_, tape) = by.apply(&x);
            let error = gradient_error(by, &x, &|g| tape.backward(g));
            assert!(error < DIFFERENCES, "{by:?} {rows}x{cols}: {error}");
        }
    }
}

#[test]
fn gradients_in_f32_are_those_in_f64() {
    for by in Orthogonaliser::ALL {
        let (x, g) = (random::<f32>(16, 8, 1), random::<f32>(16, 8, 2));
        let got = by.apply(&x).1.backward(&g);
        let mut expected = by.apply(&x.cast::<f64>()).1.backward(&g.cast());
        let size = expected.frobenius();
        expected.add_scaled(-1.0, &got.cast());
        // 20 iterations of f32 rounding in Björck's
        assert!(expected.frobenius() < 1e-5 * size, "{by:?}");
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for by in Orthogonaliser::ALL {
        for bad in [f32::NAN, f32::INFINITY] {
            for position in 0..6 {
                let mut x = random::<f32>(3, 2, 1);
                x.data[position] = bad;
                let (w, tape) = by.apply(&x);
                let lost = |v: &f32| v.is_nan() || bad.is_infinite() && v.is_infinite();
                assert!(w.data.iter().any(lost), "{by:?} {bad}");
                tape.backward(&random(3, 2, 2));
            }
        }
    }
}

#[test]
fn a_start_is_orthonormal_and_spread_evenly() {
    const DRAWS: u16 = 400;
    // five standard errors of a mean, and of a mean square, of Gaussian entries of variance one
    let error = 5.0 / f64::from(DRAWS).sqrt();
    for by in Orthogonaliser::ALL {
        // the laws behind the exponential's scale hold for large matrices only
        let bias = if by == Orthogonaliser::Exponential {
            0.15
        } else {
            0.0
        };
        for (rows, cols) in [(6, 6), (12, 3), (3, 12)] {
            let mut rng = Rng::new(3);
            let (mut means, mut squares) = (vec![0.0; rows * cols], vec![0.0; rows * cols]);
            for _ in 0..DRAWS {
                let raw = by.start(rows, cols, &mut rng);
                let (w, _) = by.apply(&Matrix::new(rows, cols, raw));
                assert!(residual(&w) < orthonormal::<f32>(), "{by:?}");
                for (i, &value) in w.data.iter().enumerate() {
                    // of variance one under Haar's measure
                    let scaled = f64::from(value) * (rows.max(cols) as f64).sqrt();
                    means[i] += scaled / f64::from(DRAWS);
                    squares[i] += (scaled * scaled - 1.0) / f64::from(DRAWS);
                }
            }
            assert!(means.iter().all(|m| m.abs() < error + bias), "{by:?}");
            assert!(
                squares.iter().all(|s| s.abs() < 2f64.sqrt() * error),
                "{by:?}"
            );
        }
    }
}

#[test]
fn a_start_follows_its_seed() {
    for by in Orthogonaliser::ALL {
        let start = |seed| by.start(4, 3, &mut Rng::new(seed));
        assert_eq!(start(1), start(1));
        assert_ne!(start(1), start(2));
    }
}

#[test]
fn a_list_is_its_members_one_by_one() {
    let xs = [random::<f32>(5, 3, 1), random(2, 4, 2), random(1, 1, 3)];
    for by in Orthogonaliser::ALL {
        let all = by.apply_all(&xs);
        assert_eq!(all.len(), xs.len());
        for (x, (w, tape)) in xs.iter().zip(&all) {
            let (alone, tape_alone) = by.apply(x);
            assert_eq!(w, &alone);
            assert_eq!(tape.backward(x), tape_alone.backward(x));
        }
    }
}

#[test]
fn members_that_compute_the_same_function_agree() {
    use Orthogonaliser::{Bjorck, Cholesky, NewtonSchulz, Qr};
    for (one, other) in [(Bjorck, NewtonSchulz), (Cholesky, Qr)] {
        let x = random::<f64>(9, 5, 4);
        let (mut w, _) = one.apply(&x);
        w.add_scaled(-1.0, &other.apply(&x).0);
        assert!(w.frobenius() < orthonormal::<f64>());
    }
}

#[test]
fn names_in_settings_are_snake_case() {
    let names = serde_json::to_string(&Orthogonaliser::ALL).unwrap();
    let expected = r#"["bjorck","newton_schulz","cholesky","qr","cayley","exponential"]"#;
    assert_eq!(names, expected);
    let back: [Orthogonaliser; 6] = serde_json::from_str(&names).unwrap();
    assert_eq!(back, Orthogonaliser::ALL);
}
