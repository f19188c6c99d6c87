use super::*;

/// f64 kernels of up to 300 products: rounding of the Gram matrix stays far below.
const ORTHOGONAL: f64 = 1e-11;

fn aoc(input: usize, out: usize, kernel: usize, stride: usize) -> Aoc {
    Aoc {
        input,
        out,
        kernel,
        stride,
        transposed: false,
    }
}

fn raw64(aoc: &Aoc, seed: u64) -> Vec<f64> {
    let raw = aoc.start(&mut Rng::new(seed));
    raw.into_iter().map(f64::from).collect()
}

/// The operator on a circular `side` x `side` map, as a dense matrix.
fn operator(aoc: &Aoc, weight: &[f64], side: usize) -> Matrix<f64> {
    let (k, s, half) = (aoc.kernel, aoc.stride, side.div_ceil(aoc.stride));
    let mut matrix = Matrix::zeros(aoc.out * half * half, aoc.input * side * side);
    let cols = matrix.cols;
    for (index, &value) in weight.iter().enumerate() {
        let (tap, io) = (index % (k * k), index / (k * k));
        let (i, o) = (io % aoc.input, io / aoc.input);
        for y in 0..half {
            for x in 0..half {
                let row = (o * half + y) * half + x;
                let (sy, sx) = ((y * s + tap / k) % side, (x * s + tap % k) % side);
                matrix.data[row * cols + (i * side + sy) * side + sx] += value;
            }
        }
    }
    matrix
}

/// ‖MMᵀ − I‖_F or ‖MᵀM − I‖_F, whichever is smaller than full rank allows: bounds |σ² − 1| of all
/// singular values.
fn residual(matrix: &Matrix<f64>) -> f64 {
    let mut gram = match matrix.rows <= matrix.cols {
        true => matrix.times_transposed(matrix),
        false => matrix.transposed_times(matrix),
    };
    let size = gram.rows;
    gram.add_scaled(-1.0, &Matrix::identity(size, size));
    gram.frobenius()
}

/// All shapes of §20 of the reference table, and the first layer of the network.
const SHAPES: [[usize; 4]; 13] = [
    [4, 4, 3, 1],
    [4, 6, 3, 1],
    [6, 4, 3, 1],
    [4, 4, 5, 1],
    [4, 4, 2, 1],
    [3, 8, 2, 1],
    [4, 8, 3, 2],
    [4, 16, 3, 2],
    [4, 32, 3, 2],
    [8, 8, 3, 2],
    [3, 32, 3, 2],
    [4, 8, 4, 2],
    [5, 3, 1, 1],
];

#[test]
fn every_construction_is_orthogonal_on_circular_maps() {
    for [input, out, kernel, stride] in SHAPES {
        let aoc = aoc(input, out, kernel, stride);
        let (weight, _) = aoc.weight(&raw64(&aoc, 1));
        let got = residual(&operator(&aoc, &weight, 6));
        assert!(got < ORTHOGONAL, "{aoc:?}: {got}");
    }
}

#[test]
fn the_comparison_sees_planted_errors() {
    let aoc = aoc(4, 4, 3, 1);
    let (mut weight, _) = aoc.weight(&raw64(&aoc, 1));
    weight[5] += 1e-6;
    assert!(residual(&operator(&aoc, &weight, 6)) > ORTHOGONAL);
    // a circular map that the stride does not divide: two windows overlap out of phase
    let strided = super::tests::aoc(4, 16, 3, 2);
    let (weight, _) = strided.weight(&raw64(&strided, 1));
    let odd = operator(&strided, &weight, 7);
    assert!(residual(&odd) > 0.1);
}

#[test]
fn a_transposed_kernel_is_the_adjoint_of_an_orthogonal_one() {
    let up = Aoc {
        transposed: true,
        ..aoc(8, 4, 2, 2)
    };
    assert_eq!(up.weight_shape(), [8, 4, 2, 2]);
    let (weight, _) = up.weight(&raw64(&up, 3));
    let down = aoc(4, 8, 2, 2);
    assert!(residual(&operator(&down, &weight, 6)) < ORTHOGONAL);
}

/// Central differences with h = 1e-6 in f64: truncation 1e-12, rounding 1e-9, gradients of order 1.
const DIFFERENCES: f64 = 1e-6;

#[test]
fn gradients_equal_central_differences() {
    let shapes = [
        [2, 4, 3, 1],
        [4, 3, 3, 1],
        [3, 8, 3, 2],
        [3, 2, 1, 1],
        [2, 3, 2, 2],
    ];
    for [input, out, kernel, stride] in shapes {
        let aoc = aoc(input, out, kernel, stride);
        let mut rng = Rng::new(9);
        // away from the orthogonal start, where the polar factor has the simplest gradient
        let mut raw = raw64(&aoc, 2);
        raw.iter_mut().for_each(|x| *x += 0.1 * rng.normal());
        let (weight, tape) = aoc.weight(&raw);
        let direction: Vec<f64> = weight.iter().map(|_| rng.normal()).collect();
        let loss = |raw: &[f64]| -> f64 {
            let (weight, _) = aoc.weight(raw);
            weight.iter().zip(&direction).map(|(w, d)| w * d).sum()
        };
        let gradient = aoc.backward(&tape, &direction);
        assert_eq!(gradient.len(), raw.len());
        for i in 0..raw.len() {
            let (mut up, mut down) = (raw.clone(), raw.clone());
            up[i] += 1e-6;
            down[i] -= 1e-6;
            let expected = (loss(&up) - loss(&down)) / 2e-6;
            let got = gradient[i];
            assert!(
                (got - expected).abs() < DIFFERENCES,
                "{aoc:?} {i}: {got} {expected}"
            );
        }
    }
}

#[test]
fn a_start_is_orthogonal_per_matrix_and_seeded() {
    let aoc = aoc(3, 32, 3, 2);
    assert_eq!(aoc.start(&mut Rng::new(4)), aoc.start(&mut Rng::new(4)));
    assert_ne!(aoc.start(&mut Rng::new(4)), aoc.start(&mut Rng::new(5)));
    let raw = raw64(&aoc, 4);
    // the RKO factor, 32 x 8·4, comes last; f32 rounding of 1,024 entries
    let rko = Matrix::new(32, 32, raw[raw.len() - 1024..].to_vec());
    assert!(residual(&rko) < 1e-5);
}

#[test]
fn what_has_no_construction_is_refused() {
    let refused = |aoc: Aoc| aoc.check().unwrap_err().to_string();
    assert!(refused(aoc(4, 4, 1, 2)).contains("no orthogonal one exists"));
    assert!(refused(aoc(1, 1, 3, 1)).contains("one channel"));
    assert!(refused(aoc(0, 4, 3, 1)).contains("zero dimension"));
    let transposed = Aoc {
        transposed: true,
        ..aoc(4, 4, 3, 2)
    };
    assert!(refused(transposed).contains("transposed"));
    assert!(aoc(4, 8, 3, 2).check().is_ok());
}
