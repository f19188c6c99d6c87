//! Every path against the twin, to the bit; the twin against the textbook.

use proptest::prelude::*;

use crate::apply;
use crate::gradient;
use crate::simd::Isa;
use crate::{Activation, After, Conv, Direction, Maps, Packed, Wrap, twin};

/// A geometry, its maps and what follows the sums.
#[derive(Clone, Debug)]
struct Case {
    conv: Conv,
    maps: Maps,
    activation: Activation,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let geometry = (
        1..=4usize,
        1..=3usize,
        1..=3usize,
        1..=3usize,
        0..=4usize,
        any::<bool>(),
    );
    let channels = (1..=3usize, 1..=20usize, 1..=20usize);
    let sides = (
        1..=3usize,
        1..=24usize,
        1..=24usize,
        0..3usize,
        any::<u64>(),
    );
    (geometry, channels, sides).prop_filter_map(
        "kernel must fit",
        |(
            (kernel, stride, dilation, far, padding, circular),
            (groups, i, o),
            (b, h, w, act, seed),
        )| {
            let dilation = if far == 3 { dilation * 5 } else { dilation };
            let reach = dilation * (kernel - 1);
            let padding = match circular {
                true => reach / 2,
                false => padding.min(reach),
            };
            let conv = Conv {
                input: i * groups,
                out: o * groups,
                kernel,
                stride,
                dilation,
                groups,
                padding,
                wrap: if circular {
                    Wrap::Circular
                } else {
                    Wrap::Zeros
                },
            };
            let fine = [h, w].map(|side| if circular { side * stride } else { side });
            if fine.iter().any(|side| side + 2 * padding <= reach) {
                return None;
            }
            if circular && !conv.closes(fine) {
                return None;
            }
            let activation = [Activation::None, Activation::MaxMin, Activation::Relu][act];
            let halves = activation != Activation::MaxMin
                || conv.input.is_multiple_of(2) && conv.out.is_multiple_of(2);
            let activation = if halves { activation } else { Activation::None };
            Some(Case {
                conv,
                maps: conv.maps(b, fine),
                activation,
                seed,
            })
        },
    )
}

/// Numbers of order one that are not all alike.
fn noise(seed: u64, length: usize) -> Vec<f64> {
    let mut state = seed | 1;
    let mut next = || {
        // xorshift64: enough to tell entries apart
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

fn check(case: &Case) {
    check_in(case, |x| x as f32);
    check_in(case, |x| x);
}

fn check_in<T: crate::Element>(case: &Case, cast: impl Fn(f64) -> T) {
    let Case {
        conv,
        maps,
        activation,
        seed,
    } = case;
    let numbers = |salt: u64, length| -> Vec<T> {
        let seed = seed.wrapping_mul(31).wrapping_add(salt);
        noise(seed, length).into_iter().map(&cast).collect()
    };
    let fine = numbers(1, maps.batch * conv.input * maps.fine_pixels());
    let coarse = numbers(2, maps.batch * conv.out * maps.coarse_pixels());
    let kernel = numbers(3, conv.weights());
    for (direction, x, channels) in [
        (Direction::Plain, &fine, conv.out),
        (Direction::Adjoint, &coarse, conv.input),
    ] {
        let (bias, shift) = (numbers(4, channels), numbers(5, channels));
        let after = After {
            bias: Some(&bias),
            scale: cast(0.75),
            activation: *activation,
            shift: (seed % 2 == 0).then_some(&shift),
        };
        let expected = twin::apply(conv, direction, &kernel, maps, x, &after);
        for isa in Isa::available() {
            let got = apply::on(isa, conv, direction, &kernel, maps, x, &after);
            same(&got, &expected, &format!("{isa:?} {direction:?} {case:?}"));
        }
    }
    let expected = twin::weight_gradient(conv, maps, &fine, &coarse);
    for isa in Isa::available() {
        let got = gradient::on(isa, conv, maps, &fine, &coarse);
        same(
            &got,
            &expected,
            &format!("{isa:?} weight gradient {case:?}"),
        );
    }
}

/// Equal numbers, all of them; a zero of either sign is a zero.
fn same<T: crate::Element>(got: &[T], expected: &[T], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let differ = got.iter().zip(expected).position(|(a, b)| a != b);
    if let Some(at) = differ {
        panic!(
            "entry {at}: {:?}, expected {:?}: {what}",
            got[at], expected[at]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn all_paths_give_the_bits_of_the_twin(case in case()) {
        check(&case);
    }

    #[test]
    fn the_twin_is_the_textbook(case in case()) {
        textbook(&case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    #[ignore = "a minute: every path on thousands of shapes"]
    fn all_paths_give_the_bits_of_the_twin_on_many_shapes(case in case()) {
        check(&case);
    }
}

#[test]
fn shapes_of_networks_and_of_the_edge() {
    let conv = |input, out, kernel, stride, dilation, groups, padding, wrap| Conv {
        input,
        out,
        kernel,
        stride,
        dilation,
        groups,
        padding,
        wrap,
    };
    let (zeros, circular) = (Wrap::Zeros, Wrap::Circular);
    let table = [
        // more channels than one block holds, more rows than one panel
        (conv(70, 40, 3, 1, 1, 1, 1, circular), 1, [9, 17]),
        (conv(300, 3, 1, 1, 1, 1, 0, zeros), 2, [5, 5]),
        (conv(3, 32, 3, 2, 1, 1, 1, zeros), 2, [33, 18]),
        (conv(16, 32, 2, 2, 1, 1, 0, zeros), 1, [32, 50]),
        // only the middle tap of a far dilated kernel is inside
        (conv(8, 8, 3, 1, 18, 1, 18, zeros), 3, [8, 8]),
        (conv(8, 8, 3, 1, 6, 1, 6, circular), 1, [8, 8]),
        // depthwise; one pixel; one channel; a stride beyond the kernel; rows that no window reads
        (conv(20, 20, 3, 1, 1, 20, 1, zeros), 2, [7, 40]),
        (conv(5, 6, 3, 1, 1, 1, 1, zeros), 1, [1, 1]),
        (conv(1, 1, 5, 1, 1, 1, 2, zeros), 1, [6, 100]),
        (conv(4, 4, 2, 3, 1, 2, 0, zeros), 2, [10, 12]),
        (conv(2, 2, 3, 4, 1, 1, 0, zeros), 1, [6, 9]),
        // more segments than one, with rests
        (conv(17, 33, 3, 1, 1, 1, 1, zeros), 3, [21, 30]),
    ];
    for (conv, batch, fine) in table {
        for activation in [Activation::None, Activation::Relu] {
            let maps = conv.maps(batch, fine);
            let case = Case {
                conv,
                maps,
                activation,
                seed: 7,
            };
            check(&case);
            textbook(&case);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let conv = Conv {
        input: 24,
        out: 40,
        kernel: 3,
        stride: 1,
        dilation: 1,
        groups: 2,
        padding: 1,
        wrap: Wrap::Zeros,
    };
    let case = Case {
        conv,
        maps: conv.maps(2, [30, 30]),
        activation: Activation::MaxMin,
        seed: 4,
    };
    for threads in [1, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        // both are compared with the twin, which knows no threads
        pool.build().unwrap().install(|| check(&case));
    }
}

#[test]
fn the_comparisons_see_planted_errors() {
    let numbers = noise(1, 50);
    let planted = |change: &dyn Fn(&mut [f64])| {
        let mut other = numbers.clone();
        change(&mut other);
        std::panic::catch_unwind(|| same(&other, &numbers, "")).is_err()
    };
    assert!(!planted(&|_| {}));
    assert!(planted(&|x| x[49] = x[49].next_up()));
    assert!(planted(&|x| x.swap(3, 4)));
    assert!(planted(&|x| x[0] = f64::NAN));
    let far = |error: f64| std::panic::catch_unwind(|| near(1.0 + error, 1.0, 1.0, 10)).is_err();
    assert!(!far(5.0 * f64::EPSILON) && far(25.0 * f64::EPSILON) && far(f64::NAN));
}

/// Two sums of `terms` products of total magnitude `size`, in different orders: each is off by at
/// most terms · 2^-53 · size.
fn near(got: f64, expected: f64, size: f64, terms: usize) {
    let bound = 2.0 * terms as f64 * f64::EPSILON * size;
    assert!(
        (got - expected).abs() <= bound,
        "{got}, expected {expected} within {bound}"
    );
}

/// The twin in f64 against sums over every pair of pixels and every tap, written as the definition
/// of a convolution is, and the three operations against each other: ⟨Kx, g⟩ = ⟨x, Kᵀg⟩ = ⟨dK, K⟩,
/// which are the derivatives of a trilinear function.
fn textbook(case: &Case) {
    let Case { conv, maps, .. } = case;
    let numbers = |salt: u64, length| noise(case.seed.wrapping_add(salt), length);
    let fine = numbers(1, maps.batch * conv.input * maps.fine_pixels());
    let coarse = numbers(2, maps.batch * conv.out * maps.coarse_pixels());
    let kernel = numbers(3, conv.weights());
    let after = After::default();
    let made = twin::apply(conv, Direction::Plain, &kernel, maps, &fine, &after);
    let back = twin::apply(conv, Direction::Adjoint, &kernel, maps, &coarse, &after);
    let gradient = twin::weight_gradient(conv, maps, &fine, &coarse);
    let [in_group, out_group] = [conv.input, conv.out].map(|c| c / conv.groups);
    let squared = conv.kernel * conv.kernel;
    let mut expected = vec![(0.0, 0.0); made.len()];
    let mut transposed = vec![(0.0, 0.0); back.len()];
    let mut in_kernel = vec![(0.0, 0.0); kernel.len()];
    let add = |to: &mut (f64, f64), product: f64| {
        to.0 += product;
        to.1 += product.abs();
    };
    for (at, sum) in expected.iter_mut().enumerate() {
        let (channel, pixel) = (at / maps.coarse_pixels(), at % maps.coarse_pixels());
        let (map, o) = (channel / conv.out, channel % conv.out);
        let place = [pixel / maps.coarse[1], pixel % maps.coarse[1]];
        for i in 0..in_group {
            for tap in 0..squared {
                let tap_place = [tap / conv.kernel, tap % conv.kernel];
                let read = [0, 1].map(|axis| {
                    let at = place[axis] * conv.stride + tap_place[axis] * conv.dilation;
                    let side = maps.fine[axis];
                    match conv.wrap {
                        Wrap::Zeros => at.checked_sub(conv.padding).filter(|&at| at < side),
                        Wrap::Circular => Some((at + conv.padding * (side - 1)) % side),
                    }
                });
                let [Some(r), Some(c)] = read else { continue };
                let input = map * conv.input + o / out_group * in_group + i;
                let x = input * maps.fine_pixels() + r * maps.fine[1] + c;
                let k = (o * in_group + i) * squared + tap;
                add(sum, kernel[k] * fine[x]);
                add(&mut transposed[x], kernel[k] * coarse[at]);
                add(&mut in_kernel[k], fine[x] * coarse[at]);
            }
        }
    }
    let terms = squared * conv.input.max(conv.out);
    for (got, (sum, size)) in made.iter().zip(&expected) {
        near(*got, *sum, *size, terms);
    }
    for (got, (sum, size)) in back.iter().zip(&transposed) {
        near(*got, *sum, *size, terms);
    }
    let terms = maps.batch * maps.coarse_pixels();
    for (got, (sum, size)) in gradient.iter().zip(&in_kernel) {
        near(*got, *sum, *size, terms);
    }
}

#[test]
fn pointwise_operations_by_hand() {
    use crate::{add_channels, channel_sums, max_min, max_min_backward};
    // two maps of two channels of three pixels
    let x = [
        1.0, 5.0, 2.0, 4.0, 3.0, 2.0, -1.0, -2.0, 0.0, 1.0, -3.0, 0.5,
    ];
    let mut y = [0.0; 12];
    max_min(2, 3, &x, &mut y);
    assert_eq!(
        y,
        [
            4.0, 5.0, 2.0, 1.0, 3.0, 2.0, 1.0, -2.0, 0.5, -1.0, -3.0, 0.0
        ]
    );
    let mut g = [
        1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 4.0, 5.0, 6.0, 40.0, 50.0, 60.0,
    ];
    max_min_backward(2, 3, &x, &mut g);
    // where a > b the gradients stay, else they change places
    assert_eq!(
        g,
        [
            10.0, 2.0, 30.0, 1.0, 20.0, 3.0, 40.0, 5.0, 60.0, 4.0, 50.0, 6.0
        ]
    );
    assert_eq!(channel_sums(2, 3, &x), [5.0, 7.5]);
    let mut y = x;
    add_channels(&[1.0, -1.0], 3, &mut y);
    assert_eq!(y[..6], [2.0, 6.0, 3.0, 3.0, 2.0, 1.0]);
    // sums of more than the partial sums hold, and a rest
    let ones = vec![1.0f32; 3 * 37];
    assert_eq!(channel_sums(3, 37, &ones), [37.0; 3]);
}

#[test]
fn wrong_sizes_are_refused() {
    let conv = Conv {
        input: 2,
        out: 4,
        kernel: 3,
        stride: 1,
        dilation: 1,
        groups: 1,
        padding: 0,
        wrap: Wrap::Zeros,
    };
    let refused =
        |work: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err();
    let maps = conv.maps(1, [4, 4]);
    let kernel = vec![0.0f32; conv.weights()];
    let apply = |conv: &Conv, maps: &Maps, x: usize, y: usize| {
        let packed = Packed::new(conv, Direction::Plain, &kernel);
        let after = After::default();
        packed.apply(maps, &vec![0.0; x], &after, &mut vec![0.0; y]);
    };
    assert!(!refused(&|| apply(&conv, &maps, 32, 16)));
    assert!(refused(&|| apply(&conv, &maps, 31, 16)));
    assert!(refused(&|| apply(&conv, &maps, 32, 17)));
    let other = Maps {
        coarse: [3, 2],
        ..maps
    };
    assert!(refused(&|| apply(&conv, &other, 32, 24)));
    assert!(refused(&|| drop(Packed::new(
        &conv,
        Direction::Plain,
        &kernel[1..]
    ))));
    assert!(refused(&|| _ = conv.maps(1, [2, 4])));
    let open = Conv {
        wrap: Wrap::Circular,
        ..conv
    };
    assert!(!open.closes([4, 4]) && refused(&|| _ = open.maps(1, [4, 4])));
    let odd = Conv { groups: 3, ..conv };
    assert!(refused(&|| _ = odd.maps(1, [4, 4])));
    assert!(refused(&|| drop(crate::weight_gradient(
        &conv,
        &maps,
        &[0.0f32; 32],
        &[0.0; 15]
    ))));
    // sizes whose products wrap, and maps made by hand
    let wide = Conv {
        kernel: 2,
        dilation: (1 << 32) - 1,
        ..conv
    };
    assert!(refused(&|| _ = wide.maps(1, [1 << 32; 2])));
    let by_hand = Maps {
        batch: 1,
        fine: [1 << 32; 2],
        coarse: [1, 1],
    };
    assert!(refused(&|| apply(&wide, &by_hand, 0, 4)));
    for wrong in [Conv { stride: 0, ..conv }, Conv { kernel: 0, ..conv }] {
        assert!(refused(&|| _ = wrong.maps(1, [4, 4])));
        assert!(!wrong.closes([4, 4]));
    }
}

#[test]
fn no_maps_give_no_maps() {
    let conv = Conv {
        input: 2,
        out: 3,
        kernel: 3,
        stride: 2,
        dilation: 1,
        groups: 1,
        padding: 1,
        wrap: Wrap::Zeros,
    };
    let maps = conv.maps(0, [5, 5]);
    let kernel = vec![1.0f32; conv.weights()];
    for direction in [Direction::Plain, Direction::Adjoint] {
        let packed = Packed::new(&conv, direction, &kernel);
        packed.apply(&maps, &[], &After::default(), &mut []);
    }
    let gradient = crate::weight_gradient::<f32>(&conv, &maps, &[], &[]);
    assert_eq!(gradient, vec![0.0; kernel.len()]);
}

#[test]
fn a_nan_stays() {
    use crate::Element;
    let nan = f32::NAN;
    assert!(nan.larger(0.0).is_nan() && 0.0f32.larger(nan) == 0.0);
    // of a pair one is kept
    for (a, b) in [(nan, 1.0), (1.0, nan)] {
        assert!(a.larger(b).is_nan() != a.smaller(b).is_nan());
    }
}
