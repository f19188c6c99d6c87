//! What the tests of the parametrisations share: dense operators, norms, central differences.

use certiseg_cert::{Bound, Conv, conv_bound_to};

use super::matrix::Matrix;
use super::shape::Shape;
use crate::rng::Rng;

const fn shape(input: usize, out: usize, kernel: usize, stride: usize) -> Shape {
    Shape {
        input,
        out,
        kernel,
        stride,
        dilation: 1,
        groups: 1,
        transposed: false,
    }
}

/// Every kind of convolution once, small.
pub(super) const SHAPES: [Shape; 9] = [
    shape(2, 3, 3, 1),
    shape(3, 2, 2, 1),
    shape(3, 2, 1, 1),
    shape(2, 3, 3, 2),
    shape(1, 4, 3, 3),
    shape(2, 1, 1, 2),
    Shape {
        dilation: 2,
        groups: 2,
        ..shape(4, 2, 3, 1)
    },
    Shape {
        dilation: 3,
        ..shape(1, 2, 2, 2)
    },
    Shape {
        groups: 2,
        transposed: true,
        ..shape(4, 2, 3, 2)
    },
];

/// Gaussian values.
pub(super) fn random(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| rng.normal()).collect()
}

/// The convolution on a circular `side` x `side` map, as a dense matrix; of a transposed one the
/// adjoint, which has the same norm.
pub(super) fn operator(shape: &Shape, weight: &[f64], side: usize) -> Matrix<f64> {
    let (k, s, half) = (shape.kernel, shape.stride, side / shape.stride);
    let [rows, cols] = shape.block();
    let mut matrix = Matrix::zeros(
        rows * shape.groups * half * half,
        cols * shape.groups * side * side,
    );
    let width = matrix.cols;
    for (index, &value) in weight.iter().enumerate() {
        let (tap, channels) = (index % (k * k), index / (k * k));
        let (o, group) = (channels / cols, channels / cols / rows);
        let i = group * cols + channels % cols;
        for (y, x) in (0..half * half).map(|pixel| (pixel / half, pixel % half)) {
            let from = [(y, tap / k), (x, tap % k)]
                .map(|(at, tap)| (at * s + tap * shape.dilation) % side);
            let (row, col) = (
                (o * half + y) * half + x,
                (i * side + from[0]) * side + from[1],
            );
            matrix.data[row * width + col] += value;
        }
    }
    matrix
}

/// Spectral norm to about 1e-14, by squaring MᵀM: ‖(MᵀM)^(2^t)‖_F^(1/2^(t+1)) with t = 48, whose
/// excess is below ln(size)/2^49 and whose roundings halve at every step.
pub(super) fn norm(matrix: &Matrix<f64>) -> f64 {
    let mut power = match matrix.rows < matrix.cols {
        true => matrix.times_transposed(matrix),
        false => matrix.transposed_times(matrix),
    };
    let (mut log, mut share) = (0.0, 0.5);
    for _ in 0..49 {
        let size = power.frobenius();
        if size == 0.0 {
            return 0.0;
        }
        log += share * size.ln();
        share /= 2.0;
        power = power.scaled(1.0 / size);
        power = power.times(&power);
    }
    log.exp()
}

/// The rigorous bound of the weight rounded to f32, for every map size; one of at most `enough` that
/// is cheap is not improved.
pub(super) fn bound_to(shape: &Shape, weight: &[f64], enough: f64) -> Bound {
    let kernel: Vec<f32> = weight.iter().map(|&w| w as f32).collect();
    let conv = Conv {
        kernel: &kernel,
        out_channels: shape.out,
        in_channels: shape.input,
        groups: shape.groups,
        kernel_size: shape.kernel,
        stride: shape.stride,
        dilation: shape.dilation,
        transposed: shape.transposed,
    };
    conv_bound_to(&conv, enough).unwrap()
}

/// The closest such bound.
pub(super) fn bound(shape: &Shape, weight: &[f64]) -> f64 {
    bound_to(shape, weight, 0.0).norm
}

/// Central differences with h = 1e-6 in f64: truncation h² = 1e-12 and rounding 1e-15/h = 1e-9 of
/// values, third derivatives and losses of order 1 to 100.
const DIFFERENCES: f64 = 1e-6;

/// Largest difference of ⟨gradient, d⟩ from the central difference of `loss` at `raw` along d, for
/// three random directions d, relative to 1 + |⟨gradient, d⟩|.
fn gradient_error(raw: &[f64], gradient: &[f64], loss: impl Fn(&[f64]) -> f64) -> f64 {
    assert_eq!(gradient.len(), raw.len());
    let mut worst = 0f64;
    for seed in 0..3 {
        let direction = random(raw.len(), 1000 + seed);
        let at = |step: f64| {
            let moved = raw.iter().zip(&direction).map(|(x, d)| x + step * d);
            loss(&moved.collect::<Vec<_>>())
        };
        let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
        let got: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let error = (got - expected).abs() / (1.0 + expected.abs());
        // NaN would lose every max
        worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
    }
    worst
}

/// Asserts that the backward pass of a parametrisation is the gradient of ⟨weight, direction⟩ for
/// a random direction.
pub(super) fn assert_gradient<Tape>(
    name: &str,
    raw: &[f64],
    weight: impl Fn(&[f64]) -> (Vec<f64>, Tape),
    backward: impl Fn(&Tape, &[f64]) -> Vec<f64>,
) {
    let (value, tape) = weight(raw);
    let direction = random(value.len(), 99);
    let gradient = backward(&tape, &direction);
    let loss = |raw: &[f64]| {
        weight(raw)
            .0
            .iter()
            .zip(&direction)
            .map(|(w, d)| w * d)
            .sum()
    };
    let error = gradient_error(raw, &gradient, loss);
    assert!(error < DIFFERENCES, "{name}: {error}");
}

#[test]
fn the_comparisons_see_planted_errors() {
    let raw = random(5, 1);
    let cubes = |x: &[f64]| -> f64 { x.iter().map(|x| x * x * x).sum() };
    let mut gradient: Vec<f64> = raw.iter().map(|x| 3.0 * x * x).collect();
    assert!(gradient_error(&raw, &gradient, cubes) < DIFFERENCES);
    gradient[4] += 1e-4;
    assert!(gradient_error(&raw, &gradient, cubes) > DIFFERENCES);
    // singular values 3 and 2 in the plane of a rotation by 0.3
    let (sin, cos) = 0.3f64.sin_cos();
    let matrix = Matrix::new(
        3,
        2,
        vec![3.0 * cos, 3.0 * sin, -2.0 * sin, 2.0 * cos, 0.0, 0.0],
    );
    assert!((norm(&matrix) - 3.0).abs() < 1e-13);
    assert!((norm(&matrix.scaled(1.0 + 1e-12)) - 3.0).abs() > 1e-13);
    assert_eq!(norm(&Matrix::zeros(2, 2)), 0.0);
}
