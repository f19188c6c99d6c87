//! Every path against the twin, to the bit.

use proptest::prelude::*;

use crate::apply;
use crate::gradient;
use crate::simd::Isa;
use crate::{Activation, After, Conv, Direction, Maps, Wrap, twin};

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
        noise(seed.wrapping_mul(31).wrapping_add(salt), length)
            .into_iter()
            .map(&cast)
            .collect()
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
            assert!(got == expected, "{isa:?} {direction:?} {case:?}");
        }
    }
    let expected = twin::weight_gradient(conv, maps, &fine, &coarse);
    for isa in Isa::available() {
        let got = gradient::on(isa, conv, maps, &fine, &coarse);
        assert!(got == expected, "{isa:?} weight gradient {case:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_paths_give_the_bits_of_the_twin(case in case()) {
        check(&case);
    }
}
