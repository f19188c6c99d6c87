//! Every layer against its definition on small maps: |f(x) - f(y)| <= L·|x - y| for random and
//! searched pairs, with near equality where the constant is attained.

use certiseg_cert::{Layer, Spread, audit};

use crate::dense::{Random, above_and_close, norm, plain, strongest};
use crate::picture::{Picture, adjoint_times, matrix, times};

/// Rounding of a quotient of differences 1e-3 long of numbers up to 100: 100·2e-16/1e-3, with room.
const ROUNDING: f64 = 1e-9;
/// Share of an attained constant that a search must reach.
const REACHED: f64 = 0.99;

type Function<'a> = Box<dyn Fn(&Picture) -> Picture + 'a>;

/// A layer, what it does, on which maps, and whether its constant is attained there.
struct Case<'a> {
    name: String,
    layer: Layer<'a>,
    function: Function<'a>,
    shape: [usize; 3],
    attained: bool,
}

/// `found`, the largest quotient seen, does not contradict `bound`, and reaches it if `attained`.
fn holds(bound: f64, found: f64, attained: bool) -> Result<(), String> {
    let least = if attained { REACHED * bound } else { 0.0 };
    match (least..=bound * (1.0 + ROUNDING)).contains(&found) && bound.is_finite() {
        true => Ok(()),
        false => Err(format!("{found} was found, the bound is {bound}")),
    }
}

/// The derivative at x, by central differences; exact up to rounding where the function is linear.
fn jacobian(function: &Function, x: &Picture) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-6;
    let columns: Vec<Picture> = (0..x.data.len())
        .map(|n| {
            let mut unit = x.map(|_| 0.0);
            unit.data[n] = 1.0;
            let (above, below) = (x.plus(STEP, &unit), x.plus(-STEP, &unit));
            let difference = function(&above).plus(-1.0, &function(&below));
            difference.map(|v| v / (2.0 * STEP))
        })
        .collect();
    (0..columns[0].data.len())
        .map(|row| columns.iter().map(|c| c.data[row]).collect())
        .collect()
}

/// The largest quotient over random pairs and along the strongest direction at random points,
/// points with a spike, and bright ones.
fn search(case: &Case, random: &mut Random) -> f64 {
    let Case {
        function, shape, ..
    } = case;
    let quotient = |x: &Picture, y: &Picture| {
        let moved = function(x).plus(-1.0, &function(y)).norm();
        let quotient = moved / x.plus(-1.0, y).norm();
        assert!(!quotient.is_nan());
        quotient
    };
    let mut found = 0.0f64;
    for start in 0..6 {
        let mut x = Picture::random(*shape, random);
        if start % 3 == 1 {
            let [_, height, width] = *shape;
            x.data[height / 2 * width + (height / 2).min(width - 1)] += 50.0;
        } else if start % 3 == 2 {
            x = x.map(|v| v + 10.0);
        }
        for length in [1e-3, 1.0, 10.0] {
            let y = x.plus(length, &Picture::random(*shape, random));
            found = found.max(quotient(&x, &y));
        }
        let data = strongest(&jacobian(function, &x)).1;
        let direction = Picture { data, ..x };
        for length in [1e-3, -1e-3, 1.0] {
            found = found.max(quotient(&x, &x.plus(length, &direction)));
        }
    }
    found
}

fn bound(layer: &Layer, [_, height, width]: [usize; 3]) -> f64 {
    let layers = std::slice::from_ref(layer);
    audit(layers, height, width).unwrap().lipschitz
}

fn case<'a>(
    name: impl ToString,
    layer: Layer<'a>,
    shape: [usize; 3],
    attained: bool,
    function: impl Fn(&Picture) -> Picture + 'a,
) -> Case<'a> {
    Case {
        name: name.to_string(),
        layer,
        function: Box::new(function),
        shape,
        attained,
    }
}

fn largest(window: &[f64]) -> f64 {
    window.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn length(window: &[f64]) -> f64 {
    window.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The largest number of each channel everywhere.
fn image_max(spread: Spread) -> Case<'static> {
    let shape = [4, 5, 6];
    let name = format!("image max {spread:?}");
    case(name, Layer::ImageMax { spread }, shape, true, move |x| {
        let factor = match spread {
            Spread::Full => 1.0,
            Spread::Even => 1.0 / 30f64.sqrt(),
        };
        let channels: Vec<f64> = x.data.chunks_exact(30).map(largest).collect();
        Picture::of(shape, |c, _, _| factor * channels[c])
    })
}

/// Layers without weights.
fn simple() -> Vec<Case<'static>> {
    let shape = [4, 5, 6];
    let groups = |size: usize| -> Vec<Vec<usize>> {
        (0..4 / size)
            .map(|g| (g * size..(g + 1) * size).collect())
            .collect()
    };
    let halves = || vec![vec![0, 2], vec![1, 3]];
    let shift = |c: usize| c as f64 - 1.5;
    let mut cases = vec![
        case("relu", Layer::Pointwise, shape, true, |x| {
            x.map(|v| v.max(0.0))
        }),
        case("abs", Layer::Pointwise, shape, true, |x| x.map(f64::abs)),
        case("center", Layer::Center, shape, true, move |x| {
            let constant = Picture::of(x.shape, |c, _, _| shift(c));
            x.plus(-1.0, &x.mean()).plus(1.0, &constant)
        }),
        case("image mean", Layer::ImageMean, shape, true, Picture::mean),
        image_max(Spread::Even),
        image_max(Spread::Full),
        case("maxmin", Layer::MaxMin, shape, true, move |x| {
            x.by_groups(&halves(), |_, v| v.sort_by(|a, b| b.total_cmp(a)))
        }),
    ];
    for size in [1, 2, 4] {
        let layer = Layer::GroupSort { size };
        cases.push(case(format!("sort {size}"), layer, shape, true, move |x| {
            x.by_groups(&groups(size), |_, v| v.sort_by(f64::total_cmp))
        }));
    }
    for factor in 1..=3 {
        let layer = Layer::PixelShuffle { factor };
        let shape = [factor * factor * 2, 2, 3];
        cases.push(case("shuffle", layer, shape, true, move |x| {
            x.shuffled(factor)
        }));
        let layer = Layer::PixelUnshuffle { factor };
        let shape = [2, 2 * factor, factor];
        cases.push(case("unshuffle", layer, shape, true, move |x| {
            x.unshuffled(factor)
        }));
        for (bilinear, [height, width]) in [(false, [3, 2]), (true, [3, 2]), (true, [1, 5])] {
            let layer = Layer::Upsample { factor };
            let (name, shape) = (format!("upsample {bilinear}"), [1, height, width]);
            cases.push(case(name, layer, shape, true, move |x| {
                x.enlarged(factor, bilinear).map(|v| v / factor as f64)
            }));
        }
    }
    for (size, stride) in [(1, 1), (2, 2), (3, 2), (3, 1), (2, 3), (5, 2), (3, 3)] {
        // 9 x 10: an incomplete window is left over on one side at least
        let (layer, shape) = (Layer::Pool { size, stride }, [1, 9, 10]);
        let named = |kind| format!("{kind} pool {size} {stride}");
        let window = move |x: &Picture, value: fn(&[f64]) -> f64| x.pooled(size, stride, value);
        cases.extend([
            case(named("max"), layer.clone(), shape, true, move |x| {
                window(x, largest)
            }),
            case(named("l2"), layer.clone(), shape, true, move |x| {
                window(x, length)
            }),
            // overlapping means are closer to each other than that
            case(named("mean"), layer, shape, size <= stride, move |x| {
                window(x, |w| w.iter().sum::<f64>() / (w.len() as f64).sqrt())
            }),
        ]);
    }
    cases
}

#[test]
fn layers_without_weights_keep_their_constant() {
    let mut random = Random(21);
    for case in simple() {
        let found = search(&case, &mut random);
        holds(bound(&case.layer, case.shape), found, case.attained)
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
}

#[test]
fn constants_of_pools_are_those_of_the_table() {
    for (size, stride, constant) in [(2, 2, 1.0), (3, 2, 2.0), (3, 1, 3.0), (2, 3, 1.0)] {
        assert_eq!(bound(&Layer::Pool { size, stride }, [1, 9, 9]), constant);
    }
}

/// Bilinear enlargement has norm f exactly, on every map; with aligned corners it would not.
#[test]
fn the_norm_of_an_enlargement_is_its_factor() {
    /// The step at which power iteration stops is 1e-10.
    const SEARCHED: f64 = 1e-8;
    for (factor, height, width) in
        (1..=4).flat_map(|f| (1..=4).flat_map(move |h| (1..=3).map(move |w| (f, h, w))))
    {
        for bilinear in [false, true] {
            let mut columns = Picture::of([height * width, height, width], |c, y, x| {
                f64::from(u8::from(c == y * width + x))
            });
            columns = columns.enlarged(factor, bilinear);
            let area = height * width * factor * factor;
            let transposed: Vec<Vec<f64>> = columns.data.chunks(area).map(Vec::from).collect();
            let found = norm(&transposed) / factor as f64;
            above_and_close(1.0, found, SEARCHED)
                .unwrap_or_else(|e| panic!("{factor} {height} {width}: {e}"));
        }
    }
}

#[test]
fn residual_blocks_keep_their_constant() {
    let mut random = Random(23);
    // ||K|| = 1.25, 0.8 and free ones; positive biases open every gate on bright pictures
    let turn = [1.0f32, 0.75, -0.75, 1.0];
    let weak = turn.map(|v| v * 0.64);
    let wide: Vec<f32> = random.kernel(3 * 2 * 9).iter().map(|v| v * 0.3).collect();
    for (kernel, channels, k, dilation, attained) in [
        (&turn[..], [2, 2], 1, 1, true),
        (&weak, [2, 2], 1, 1, true),
        (&wide, [3, 2], 3, 1, false),
        (&wide, [3, 2], 3, 2, false),
    ] {
        let conv = certiseg_cert::Conv {
            dilation,
            ..plain(kernel, channels, k, 1)
        };
        let padding = dilation * (k - 1) / 2;
        let layer = Layer::Residual {
            name: "r",
            conv,
            padding,
        };
        let shape = [channels[1], 5, 5];
        let operator = matrix(conv, padding, 5);
        let bound = bound(&layer, shape);
        // gates half open and all open
        let found = [0.0, 100.0].map(|bias| {
            let function = |x: &Picture| {
                let gated = times(&operator, x).map(|v| (v + bias).max(0.0));
                x.plus(-2.0, &adjoint_times(&operator, &gated))
            };
            let case = case("residual", layer.clone(), shape, attained, function);
            search(&case, &mut random)
        });
        holds(bound, found[0].max(found[1]), attained)
            .unwrap_or_else(|e| panic!("{k} {dilation}: {e}"));
        let open = 2.0 * norm(&operator).powi(2) - 1.0;
        holds(bound, open, false).unwrap();
        assert_eq!(bound > 1.0, kernel.as_ptr() != weak.as_ptr(), "{bound}");
    }
}

#[test]
fn householder_keeps_its_constant() {
    let mut random = Random(25);
    // pairs (0, 2) and (1, 3): |n|^2 = 1 and 0.25; then the first longer
    for (normal, constant) in [
        ([0.6f32, 0.3, 0.8, 0.4], 1.0),
        ([0.9, 0.3, 1.2, 0.4], 3.5),
        ([0.0; 4], 1.0),
    ] {
        let layer = Layer::HouseHolder {
            name: "h",
            normal: &normal,
        };
        let turned = |x: &Picture| {
            x.by_groups(&[vec![0, 2], vec![1, 3]], |pair, v| {
                let n = [normal[pair], normal[pair + 2]].map(f64::from);
                let along = (n[0] * v[0] + n[1] * v[1]).max(0.0);
                v.iter_mut().zip(n).for_each(|(v, n)| *v -= 2.0 * along * n);
            })
        };
        let case = case("householder", layer.clone(), [4, 2, 3], true, turned);
        let bound = bound(&layer, case.shape);
        holds(bound, search(&case, &mut random), true).unwrap();
        assert!((bound - constant).abs() < 1e-6, "{bound}");
    }
}

/// 1 x 1 convolutions of one sign, so that the branches align and every constant is attained.
#[test]
fn joined_branches_keep_their_constant() {
    let mut random = Random(27);
    let (three, four) = ([3.0f32], [4.0f32]);
    let conv = |kernel: &'static str, weight| Layer::Conv {
        name: kernel,
        conv: plain(weight, [1, 1], 1, 1),
        padding: 0,
        wrap: certiseg_cert::Wrap::Zeros,
        scale: 1.0,
    };
    let (a, b) = (conv("a", &three), conv("b", &four));
    let split = Layer::Split {
        parts: vec![(1, vec![b.clone()]), (2, vec![]), (1, vec![a.clone()])],
    };
    let sum = Layer::Sum {
        name: "s",
        weights: &[0.5, -2.0, 0.0],
        branches: vec![vec![a.clone()], vec![b.clone(), Layer::Shift], vec![]],
    };
    let prescaled = Layer::Prescaled {
        name: "p",
        scale: -0.5,
        factor: -1.5,
        branch: vec![b.clone(), Layer::Pointwise],
    };
    let concat = Layer::Concat {
        branches: vec![vec![a.clone()], vec![b.clone()]],
        scale: 0.5,
    };
    let split_up = |x: &Picture| {
        let (first, last) = (x.channels(0, 1), x.channels(3, 4));
        let rest = first.map(|v| 4.0 * v).stacked(&x.channels(1, 3));
        rest.stacked(&last.map(|v| 3.0 * v))
    };
    let one = [1, 2, 3];
    for (case, constant) in [
        (case("split", split, [4, 2, 3], true, split_up), 4.0),
        // |0.5|·3 + |-2|·4; the branches have opposite signs here
        (
            case("sum", sum.clone(), one, false, |x| {
                x.map(|v| 1.5 * v - 8.0 * v)
            }),
            9.5,
        ),
        (
            case("sum", sum, one, true, |x| x.map(|v| 1.5 * v + 8.0 * v)),
            9.5,
        ),
        // f(x) = -|4x|
        (
            case("prescaled", prescaled, one, true, |x| {
                x.map(|v| -1.5 * (v + (2.0 * v).abs()))
            }),
            4.5,
        ),
        (
            case("concat", concat, one, true, |x| {
                x.map(|v| 1.5 * v).stacked(&x.map(|v| 2.0 * v))
            }),
            2.5,
        ),
    ] {
        let bound = bound(&case.layer, case.shape);
        holds(bound, search(&case, &mut random), case.attained)
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
        assert!(
            (constant..=constant * (1.0 + 1e-13)).contains(&bound),
            "{bound}"
        );
    }
}

#[test]
fn the_comparison_sees_planted_constants() {
    let mut random = Random(29);
    let mut planted = 0;
    for case in simple().iter().filter(|case| case.attained).step_by(4) {
        let (bound, found) = (bound(&case.layer, case.shape), search(case, &mut random));
        holds(bound, found, true).unwrap();
        for wrong in [0.98, 0.5, 1.02, 2.0, f64::NAN, f64::INFINITY] {
            assert!(
                holds(bound * wrong, found, true).is_err(),
                "{} {wrong}",
                case.name
            );
            planted += 1;
        }
    }
    assert!(planted > 50, "{planted}");
    // the constant of separate windows is wrong for overlapping ones
    let overlapping = simple()
        .into_iter()
        .find(|case| case.name == "max pool 3 2");
    let found = search(&overlapping.unwrap(), &mut random);
    assert!(holds(1.0, found, false).is_err());
}
