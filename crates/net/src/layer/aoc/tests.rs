use super::*;

/// f64 kernels of up to 300 products: rounding of the Gram matrix stays far below.
const ORTHOGONAL: f64 = 1e-12;

fn aoc(input: usize, out: usize, kernel: usize, stride: usize) -> Aoc {
    let shape = Shape {
        input,
        out,
        kernel,
        stride,
        dilation: 1,
        groups: 1,
        transposed: false,
    };
    let by = Orthogonaliser::Bjorck;
    Aoc { shape, by }
}

fn raw64(aoc: &Aoc, seed: u64) -> Vec<f64> {
    let raw = aoc.start(&mut Rng::new(seed));
    raw.into_iter().map(f64::from).collect()
}

/// The operator on a circular map, as a dense matrix: from `side` x `side` pixels to those divided
/// by the stride, or from the latter to the former where transposed. Straight from the definitions
/// y[o, t] = Σ W[o, i, m]·x[i, s·t + d·m] and y[o, s·t + d·m] = Σ W[i, o, m]·x[i, t].
fn operator(aoc: &Aoc, weight: &[f64], side: usize) -> Matrix<f64> {
    let (k, small) = (aoc.shape.kernel, side.div_ceil(aoc.shape.stride));
    let (outer, inner) = (
        aoc.shape.out / aoc.shape.groups,
        aoc.shape.input / aoc.shape.groups,
    );
    let (to, from) = match aoc.shape.transposed {
        true => (side, small),
        false => (small, side),
    };
    let mut matrix = Matrix::zeros(aoc.shape.out * to * to, aoc.shape.input * from * from);
    for group in 0..aoc.shape.groups {
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            for (y, x) in (0..small).flat_map(|y| (0..small).map(move |x| (y, x))) {
                for (m, n) in (0..k).flat_map(|m| (0..k).map(move |n| (m, n))) {
                    let large =
                        |t: usize, m: usize| (aoc.shape.stride * t + aoc.shape.dilation * m) % side;
                    let (large, small) = (large(y, m) * side + large(x, n), y * small + x);
                    let (here, there, pair) = match aoc.shape.transposed {
                        true => (large, small, (group * inner + i) * outer + o),
                        false => (small, large, (group * outer + o) * inner + i),
                    };
                    let row = (group * outer + o) * to * to + here;
                    let col = (group * inner + i) * from * from + there;
                    matrix.data[row * matrix.cols + col] += weight[(pair * k + m) * k + n];
                }
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

/// Every branch: in, out, kernel, stride, dilation, groups; side of the map.
const SHAPES: [([usize; 6], usize); 32] = [
    // BCOP
    ([4, 4, 3, 1, 1, 1], 6),
    ([4, 6, 3, 1, 1, 1], 6),
    ([6, 4, 3, 1, 1, 1], 7),
    ([4, 4, 5, 1, 1, 1], 6),
    ([4, 4, 2, 1, 1, 1], 6),
    ([3, 8, 2, 1, 1, 1], 6),
    ([1, 2, 3, 1, 1, 1], 6),
    ([4, 4, 3, 1, 2, 1], 7),
    ([3, 5, 3, 1, 3, 1], 6),
    // RKO
    ([5, 3, 1, 1, 1, 1], 6),
    ([3, 5, 2, 2, 1, 1], 6),
    ([2, 9, 2, 2, 3, 1], 8),
    ([2, 3, 3, 3, 2, 1], 9),
    ([1, 1, 2, 2, 1, 1], 6),
    // BCOP ⊛ RKO
    ([4, 8, 3, 2, 1, 1], 6),
    ([4, 16, 3, 2, 1, 1], 6),
    ([4, 32, 3, 2, 1, 1], 6),
    ([8, 8, 3, 2, 1, 1], 6),
    ([3, 32, 3, 2, 1, 1], 6),
    ([4, 8, 4, 2, 1, 1], 6),
    ([6, 3, 3, 2, 1, 1], 6),
    ([2, 7, 5, 3, 1, 1], 9),
    ([3, 5, 3, 2, 3, 1], 8),
    // BCOP at a stride
    ([6, 6, 3, 2, 3, 1], 6),
    ([6, 4, 3, 2, 2, 1], 8),
    ([6, 4, 2, 2, 2, 1], 8),
    ([5, 3, 3, 3, 3, 1], 9),
    // groups
    ([4, 8, 3, 1, 1, 2], 6),
    ([4, 4, 1, 1, 1, 4], 6),
    ([6, 12, 3, 2, 1, 3], 6),
    ([6, 6, 2, 2, 1, 2], 6),
    ([8, 4, 3, 2, 2, 2], 6),
];

/// Every shape as a convolution and as the adjoint out → in.
fn table() -> impl Iterator<Item = (Aoc, usize)> {
    SHAPES.into_iter().flat_map(|(shape, side)| {
        let [input, out, kernel, stride, dilation, groups] = shape;
        let plain = Aoc {
            shape: Shape {
                dilation,
                groups,
                ..aoc(input, out, kernel, stride).shape
            },
            ..aoc(input, out, kernel, stride)
        };
        let transposed = Aoc {
            shape: Shape {
                input: out,
                out: input,
                transposed: true,
                ..plain.shape
            },
            ..plain
        };
        [(plain, side), (transposed, side)]
    })
}

#[test]
fn every_construction_is_orthogonal_on_circular_maps() {
    for (aoc, side) in table() {
        aoc.check().unwrap();
        let (weight, _) = aoc.weight(&raw64(&aoc, 1));
        assert_eq!(
            weight.len(),
            aoc.shape.weight_shape().iter().product::<usize>()
        );
        let got = residual(&operator(&aoc, &weight, side));
        assert!(got < ORTHOGONAL, "{aoc:?}: {got}");
    }
}

#[test]
fn every_orthogonaliser_builds_every_kind_of_factor() {
    for by in Orthogonaliser::ALL {
        for shape in [aoc(4, 6, 3, 1), aoc(3, 13, 4, 2), aoc(5, 2, 2, 2)] {
            let aoc = Aoc { by, ..shape };
            let (weight, _) = aoc.weight(&raw64(&aoc, 1));
            let got = residual(&operator(&aoc, &weight, 6));
            assert!(got < ORTHOGONAL, "{aoc:?}: {got}");
        }
    }
}

/// ‖M‖ from below, by power iteration.
fn at_least(matrix: &Matrix<f64>) -> f64 {
    let mut rng = Rng::new(1);
    let data = (0..matrix.cols).map(|_| rng.normal()).collect();
    let mut v = Matrix::new(matrix.cols, 1, data);
    for _ in 0..50 {
        let next = matrix.transposed_times(&matrix.times(&v));
        v = next.scaled(1.0 / next.frobenius());
    }
    matrix.times(&v).frobenius()
}

#[test]
fn the_comparison_sees_planted_errors() {
    let shape = aoc(4, 4, 3, 1);
    let (mut weight, _) = shape.weight(&raw64(&shape, 1));
    weight[5] += 1e-6;
    assert!(residual(&operator(&shape, &weight, 6)) > ORTHOGONAL);
    // a circular map that the stride does not divide: two windows overlap out of phase
    for shape in [aoc(4, 8, 3, 2), aoc(4, 16, 3, 2), aoc(4, 8, 4, 2)] {
        let (weight, _) = shape.weight(&raw64(&shape, 1));
        assert!(at_least(&operator(&shape, &weight, 7)) > 1.5, "{shape:?}");
    }
    // windows of a stride and a dilation with a common divisor overlap too
    let shape = aoc(4, 8, 2, 2);
    let (weight, _) = shape.weight(&raw64(&shape, 1));
    let dilated = Aoc {
        shape: Shape {
            dilation: 2,
            ..shape.shape
        },
        ..shape
    };
    assert!(dilated.check().is_err());
    assert!(at_least(&operator(&dilated, &weight, 8)) > 1.5);
}

#[test]
fn groups_are_blocks_of_their_own() {
    let grouped = Aoc {
        shape: Shape {
            groups: 2,
            ..aoc(6, 4, 3, 1).shape
        },
        ..aoc(6, 4, 3, 1)
    };
    let raw = raw64(&grouped, 3);
    let (weight, _) = grouped.weight(&raw);
    assert_eq!(grouped.shape.weight_shape(), [4, 3, 3, 3]);
    let alone = aoc(3, 2, 3, 1);
    let halves = raw.chunks(raw.len() / 2).flat_map(|r| alone.weight(r).0);
    assert_eq!(weight, halves.collect::<Vec<_>>());
}

#[test]
fn a_transposed_kernel_is_that_of_the_convolution_the_other_way() {
    // in ≤ 4·out: the same channels between the factors, so the same kernel from the same raw values
    for [input, out, kernel] in [[8, 4, 2], [6, 4, 3], [12, 3, 4]] {
        let up = Aoc {
            shape: Shape {
                transposed: true,
                ..aoc(input, out, kernel, 2).shape
            },
            ..aoc(input, out, kernel, 2)
        };
        assert_eq!(up.shape.weight_shape(), [input, out, kernel, kernel]);
        let down = aoc(out, input, kernel, 2);
        let raw = raw64(&up, 3);
        assert_eq!(up.weight(&raw).0, down.weight(&raw).0);
        let (weight, _) = up.weight(&raw);
        let adjoint = operator(&down, &weight, 6).transposed();
        assert_eq!(operator(&up, &weight, 6), adjoint);
    }
}

#[test]
fn raw_parameters_are_as_many_as_the_reference_says() {
    let transposed = |shape: Aoc| Aoc {
        shape: Shape {
            transposed: true,
            ..shape.shape
        },
        ..shape
    };
    // BCOP: groups·2k·c·⌊c/2⌋; RKO: out·(in/groups)·k²
    assert_eq!(aoc(4, 6, 3, 1).raw_len(), 6 * 6 * 3);
    assert_eq!(aoc(7, 5, 3, 1).raw_len(), 6 * 7 * 3);
    assert_eq!(aoc(5, 6, 2, 2).raw_len(), 6 * 5 * 4);
    // out > 4·in: BCOP(4 → 8, 2) and RKO(8 → 32, 2)
    assert_eq!(aoc(4, 32, 3, 2).raw_len(), 4 * 8 * 4 + 32 * 8 * 4);
    // its adjoint has 4 channels between: BCOP(4 → 4, 2) and RKO(4 → 32, 2)
    let up = transposed(aoc(32, 4, 3, 2));
    assert_eq!(up.raw_len(), 4 * 4 * 2 + 32 * 4 * 4);
    let grouped = Aoc {
        shape: Shape {
            groups: 2,
            ..aoc(8, 12, 3, 1).shape
        },
        ..aoc(8, 12, 3, 1)
    };
    assert_eq!(grouped.raw_len(), 2 * 6 * 6 * 3);
    // BCOP at a stride
    let dilated = Aoc {
        shape: Shape {
            dilation: 2,
            ..aoc(6, 4, 3, 2).shape
        },
        ..aoc(6, 4, 3, 2)
    };
    assert_eq!(dilated.raw_len(), 6 * 6 * 3);
    for (aoc, _) in table() {
        assert_eq!(aoc.start(&mut Rng::new(1)).len(), aoc.raw_len(), "{aoc:?}");
    }
}

/// Central differences with h = 1e-6 in f64: truncation 1e-12, rounding 1e-9, gradients of order 1.
const DIFFERENCES: f64 = 1e-6;

/// Largest distance between `gradient(C)` and central differences of ⟨C, weight(raw)⟩.
fn gradient_error(aoc: &Aoc, factor: f64) -> f64 {
    let mut rng = Rng::new(9);
    // away from the orthogonal start, where the polar factor has the simplest gradient
    let mut raw = raw64(aoc, 2);
    raw.iter_mut().for_each(|x| *x += 0.1 * rng.normal());
    let (weight, tape) = aoc.weight(&raw);
    let direction: Vec<f64> = weight.iter().map(|_| rng.normal()).collect();
    let loss = |raw: &[f64]| -> f64 {
        let (weight, _) = aoc.weight(raw);
        weight.iter().zip(&direction).map(|(w, d)| w * d).sum()
    };
    let gradient = aoc.backward(&tape, &direction);
    assert_eq!(gradient.len(), raw.len());
    let error = |i: usize| {
        let (mut up, mut down) = (raw.clone(), raw.clone());
        up[i] += 1e-6;
        down[i] -= 1e-6;
        (factor * gradient[i] - (loss(&up) - loss(&down)) / 2e-6).abs()
    };
    let errors = (0..raw.len()).map(error);
    // NaN would lose every max
    errors
        .map(|e| if e.is_nan() { f64::INFINITY } else { e })
        .fold(0.0, f64::max)
}

#[test]
fn gradients_equal_central_differences() {
    let plain = [
        aoc(2, 4, 3, 1),
        aoc(4, 3, 3, 1),
        aoc(3, 8, 3, 2),
        aoc(3, 2, 1, 1),
        aoc(2, 3, 2, 2),
    ];
    let strided = Aoc {
        shape: Shape {
            dilation: 2,
            ..aoc(4, 2, 3, 2).shape
        },
        ..aoc(4, 2, 3, 2)
    };
    let grouped = Aoc {
        shape: Shape {
            groups: 2,
            ..aoc(4, 6, 3, 2).shape
        },
        ..aoc(4, 6, 3, 2)
    };
    let transposed = Aoc {
        shape: Shape {
            transposed: true,
            groups: 2,
            ..aoc(6, 4, 3, 2).shape
        },
        ..aoc(6, 4, 3, 2)
    };
    let members = Orthogonaliser::ALL.map(|by| Aoc {
        by,
        ..aoc(2, 4, 3, 2)
    });
    let shapes = [strided, grouped, transposed];
    for aoc in plain.into_iter().chain(shapes).chain(members) {
        let error = gradient_error(&aoc, 1.0);
        assert!(error < DIFFERENCES, "{aoc:?}: {error}");
    }
    assert!(gradient_error(&grouped, 1.0001) > DIFFERENCES);
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
    let transposed = |aoc: Aoc| Aoc {
        shape: Shape {
            transposed: true,
            ..aoc.shape
        },
        ..aoc
    };
    let grouped = |groups, aoc: Aoc| Aoc {
        shape: Shape {
            groups,
            ..aoc.shape
        },
        ..aoc
    };
    let dilated = |dilation, aoc: Aoc| Aoc {
        shape: Shape {
            dilation,
            ..aoc.shape
        },
        ..aoc
    };
    assert!(refused(aoc(4, 4, 1, 2)).contains("no orthogonal one exists"));
    assert!(refused(transposed(aoc(4, 4, 1, 2))).contains("no orthogonal one exists"));
    assert!(refused(aoc(1, 1, 3, 1)).contains("one channel"));
    assert!(refused(grouped(4, aoc(4, 4, 3, 1))).contains("one channel"));
    for zero in [
        aoc(0, 4, 3, 1),
        aoc(4, 4, 3, 0),
        grouped(0, aoc(4, 4, 3, 1)),
        dilated(0, aoc(4, 4, 3, 1)),
    ] {
        assert!(refused(zero).contains("zero dimension"));
    }
    assert!(refused(grouped(2, aoc(3, 4, 3, 1))).contains("groups"));
    assert!(refused(grouped(3, aoc(3, 4, 3, 1))).contains("groups"));
    // stride and dilation: the direction of the construction counts
    assert!(refused(dilated(2, aoc(4, 4, 3, 2))).contains("never read"));
    assert!(refused(dilated(2, aoc(4, 8, 4, 4))).contains("never read"));
    assert!(refused(transposed(dilated(2, aoc(8, 4, 3, 2)))).contains("never read"));
    assert!(transposed(dilated(2, aoc(4, 8, 3, 2))).check().is_ok());
    assert!(transposed(aoc(4, 4, 3, 2)).check().is_ok());
    assert!(aoc(4, 8, 3, 2).check().is_ok());
}
