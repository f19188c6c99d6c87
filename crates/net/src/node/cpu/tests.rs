//! The operations against burn's own and against central differences.

use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;

use super::{add_channels, channel_means, max_min, residual, takes};
use crate::network::floats;
use crate::node::forward::{convolve_by_burn, convolve_by_kernels, residual_by_burn};
use crate::node::{Conv, Wrap, on};
use crate::rng::Rng;

/// A function of some tensors, linear in each of them.
type Function<'a> = &'a dyn Fn(Vec<Tensor<4>>) -> Tensor<4>;

/// Shape and entries of a tensor.
type Entries = ([usize; 4], Vec<f64>);

fn noise(rng: &mut Rng, shape: [usize; 4]) -> Entries {
    let count = shape.iter().product();
    // entries of f32, so that both precisions read the same
    let entries = (0..count).map(|_| f64::from(rng.normal() as f32));
    (shape, entries.collect())
}

fn tensor((shape, entries): &Entries, dtype: DType) -> Tensor<4> {
    let data = TensorData::new(entries.clone(), *shape);
    Tensor::from_data(data, on(&Device::flex().autodiff(), dtype))
}

/// The result, then the gradients of ⟨result, weights⟩ in all arguments.
fn all_of(
    function: Function,
    arguments: &[Entries],
    weights: &Entries,
    dtype: DType,
) -> Vec<Vec<f64>> {
    let leaves: Vec<_> = arguments
        .iter()
        .map(|argument| tensor(argument, dtype).require_grad())
        .collect();
    let y = function(leaves.clone());
    assert_eq!(y.dims(), weights.0);
    let mut gradients = (y.clone() * tensor(weights, dtype)).sum().backward();
    let gradients = leaves.iter().map(|leaf| {
        let gradient = leaf.grad_remove(&mut gradients).unwrap();
        assert_eq!(gradient.dims(), leaf.dims());
        floats(gradient).unwrap()
    });
    let gradients: Vec<_> = gradients.collect();
    std::iter::once(floats(y).unwrap())
        .chain(gradients)
        .collect()
}

/// A convolution and its maps.
#[derive(Clone, Debug)]
struct Case {
    conv: Conv,
    batch: usize,
    sides: [usize; 2],
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let kernel = (1..=4usize, 1..=3usize, 1..=3usize, 0..=3usize, 0..3usize);
    let channels = (
        1..=2usize,
        1..=5usize,
        1..=5usize,
        any::<bool>(),
        any::<bool>(),
    );
    let maps = (1..=2usize, 1..=9usize, 1..=9usize, any::<u64>());
    (kernel, channels, maps).prop_filter_map("kernel must fit", |(kernel, channels, maps)| {
        let (kernel, stride, dilation, padding, kind) = kernel;
        let (groups, input, out, bias, scaled) = channels;
        let (batch, height, width, seed) = maps;
        let conv = Conv {
            input: input * groups,
            out: out * groups,
            stride,
            dilation,
            groups,
            padding,
            wrap: [Wrap::Zeros, Wrap::Circular, Wrap::Zeros][kind],
            transposed: kind == 2,
            bias,
            scale: if scaled { 0.75 } else { 1.0 },
            ..Conv::same("c", 1, 1, kernel)
        };
        let sides = [height, width];
        let fits = sides.iter().all(|&side| conv.output_side(side).is_some());
        fits.then_some(Case {
            conv,
            batch,
            sides,
            seed,
        })
    })
}

impl Case {
    /// x, the kernel, the bias if any; and weights of the result.
    fn entries(&self) -> (Vec<Entries>, Entries) {
        let Self {
            conv,
            batch,
            sides: [height, width],
            seed,
        } = self;
        let mut rng = Rng::keyed(*seed, &[]);
        let weight = conv.shape().weight_shape();
        let mut arguments = vec![
            noise(&mut rng, [*batch, conv.input, *height, *width]),
            noise(&mut rng, weight),
        ];
        if conv.bias {
            arguments.push(noise(&mut rng, [1, conv.out, 1, 1]));
        }
        let [height, width] = self.sides.map(|side| conv.output_side(side).unwrap());
        let weights = noise(&mut rng, [*batch, conv.out, height, width]);
        (arguments, weights)
    }

    /// Most terms that any entry of the result or of a gradient sums, and the roundings besides:
    /// bias and scale, and burn's product with the scale on the way back.
    fn terms(&self) -> f64 {
        let Conv {
            input, out, kernel, ..
        } = self.conv;
        let pixels = |sides: [usize; 2]| self.batch * sides[0] * sides[1];
        let after = self.sides.map(|side| self.conv.output_side(side).unwrap());
        let terms = (input.max(out) * kernel * kernel)
            .max(pixels(self.sides))
            .max(pixels(after));
        terms as f64 + 4.0
    }
}

/// By both, and burn on absolute values in f64: what the errors are measured by.
fn compare(case: &Case, dtype: DType, planted: f64) -> Result<(), String> {
    let unit = match dtype {
        DType::F32 => f64::from(f32::EPSILON) / 2.0,
        _ => f64::EPSILON / 2.0,
    };
    // each of two sums is off by γ_n of the sum of absolute values at most
    let (n, conv) = (case.terms(), &case.conv);
    let tolerance = 2.0 * n * unit / (1.0 - n * unit);
    let (arguments, weights) = case.entries();
    let split = |mut arguments: Vec<Tensor<4>>| {
        let bias = conv.bias.then(|| arguments.remove(2));
        let kernel = arguments.remove(1);
        (arguments.remove(0), kernel, bias)
    };
    let ours = |arguments| {
        let (x, kernel, bias) = split(arguments);
        assert!(takes(&x));
        convolve_by_kernels(conv, x, kernel, bias)
    };
    let theirs = |arguments| {
        let (x, kernel, bias) = split(arguments);
        convolve_by_burn(conv, x, kernel, bias)
    };
    let absolute = |(shape, entries): &Entries| -> Entries {
        (*shape, entries.iter().map(|v| v.abs()).collect())
    };
    let sizes: Vec<_> = arguments.iter().map(absolute).collect();
    let got = all_of(&ours, &arguments, &weights, dtype);
    let expected = all_of(&theirs, &arguments, &weights, dtype);
    let sizes = all_of(&theirs, &sizes, &absolute(&weights), DType::F64);
    let names = ["result", "gradient in x", "in the kernel", "in the bias"];
    for (((name, got), expected), sizes) in names.iter().zip(got).zip(expected).zip(sizes) {
        for (at, ((got, expected), size)) in got.iter().zip(expected).zip(sizes).enumerate() {
            let apart = (got * (1.0 + planted) - expected).abs();
            if !(0.0..=tolerance * size).contains(&apart) {
                return Err(format!(
                    "{name} at {at}: {got}, expected {expected}: {case:?}"
                ));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_and_their_gradients_are_those_of_burn(case in case()) {
        for dtype in [DType::F64, DType::F32] {
            compare(&case, dtype, 0.0).map_err(TestCaseError::fail)?;
        }
    }
}

/// A stride, groups, a bias and a scale.
fn example(transposed: bool) -> Case {
    let conv = Conv {
        stride: 2,
        groups: 2,
        bias: true,
        scale: 0.75,
        transposed,
        ..Conv::same("c", 4, 6, 3)
    };
    Case {
        conv,
        batch: 2,
        sides: [5, 4],
        seed: 1,
    }
}

#[test]
fn the_comparison_sees_planted_errors() {
    let case = example(false);
    compare(&case, DType::F32, 0.0).unwrap();
    compare(&case, DType::F32, 1e-4).unwrap_err();
    compare(&case, DType::F64, 1e-12).unwrap_err();
}

/// Step of central differences. Along a line every function below is a polynomial of degree 2
/// between its kinks, of which no step meets one: only rounding is left.
const STEP: f64 = 1e-5;
/// Sums of some 10³ products of order one, each rounded to 1e-16, divided by the step: 1e-8.
const DIFFERENCE: f64 = 1e-7;

/// Compares gradients, times 1 + `planted`, with central differences along a random direction of
/// every argument.
fn differences(function: Function, arguments: &[Entries], planted: f64) -> Result<(), String> {
    let mut rng = Rng::keyed(7, &[]);
    let tensors = |arguments: &[Entries]| {
        arguments
            .iter()
            .map(|a| tensor(a, DType::F64))
            .collect::<Vec<_>>()
    };
    let weights = noise(&mut rng, function(tensors(arguments)).dims());
    let value = |arguments: &[Entries]| {
        let y = function(tensors(arguments)) * tensor(&weights, DType::F64);
        floats(y.sum()).unwrap()[0]
    };
    let gradients = all_of(function, arguments, &weights, DType::F64).split_off(1);
    for (at, gradient) in gradients.iter().enumerate() {
        let (shape, entries) = &arguments[at];
        let direction = noise(&mut rng, *shape).1;
        let moved = |step: f64| {
            let mut arguments = arguments.to_vec();
            let entries = entries.iter().zip(&direction);
            arguments[at].1 = entries.map(|(v, d)| v + step * d).collect();
            value(&arguments)
        };
        let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let got: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let got = got * (1.0 + planted);
        let most = DIFFERENCE * expected.abs().max(1.0);
        if !(0.0..=most).contains(&(got - expected).abs()) {
            return Err(format!("argument {at}: {got}, expected {expected}"));
        }
    }
    Ok(())
}

fn residual_of(conv: &Conv) -> impl Fn(Vec<Tensor<4>>) -> Tensor<4> {
    move |arguments| {
        let [x, kernel, bias] = arguments.try_into().unwrap();
        residual(x, kernel, bias, conv.geometry())
    }
}

fn block() -> (Conv, Vec<Entries>) {
    let conv = Conv {
        bias: true,
        ..Conv::same("r", 4, 6, 3)
    };
    let mut rng = Rng::keyed(3, &[]);
    let shapes = [[2, 4, 5, 6], [6, 4, 3, 3], [1, 6, 1, 1]];
    (conv, shapes.map(|shape| noise(&mut rng, shape)).to_vec())
}

#[test]
fn gradients_are_central_differences() {
    for transposed in [false, true] {
        let case = example(transposed);
        let convolution = |mut arguments: Vec<Tensor<4>>| {
            let bias = arguments.pop();
            let [x, kernel] = arguments.try_into().unwrap();
            convolve_by_kernels(&case.conv, x, kernel, bias)
        };
        differences(&convolution, &case.entries().0, 0.0).unwrap();
    }
    let (conv, arguments) = block();
    differences(&residual_of(&conv), &arguments, 0.0).unwrap();
    let one = |arguments: Vec<Tensor<4>>| max_min(arguments[0].clone());
    differences(&one, &arguments[..1], 0.0).unwrap();
    let added = |arguments: Vec<Tensor<4>>| {
        let values = arguments[1]
            .clone()
            .narrow(0, 0, 1)
            .narrow(2, 0, 1)
            .narrow(3, 0, 1);
        add_channels(arguments[0].clone(), values)
    };
    differences(&added, &arguments[..2], 0.0).unwrap();
}

#[test]
fn the_differences_see_planted_errors() {
    let (conv, arguments) = block();
    differences(&residual_of(&conv), &arguments, 1e-5).unwrap_err();
}

#[test]
fn a_residual_block_is_that_of_burn() {
    let (conv, arguments) = block();
    let weights = noise(&mut Rng::keyed(4, &[]), arguments[0].0);
    let theirs = |arguments: Vec<Tensor<4>>| {
        let [x, kernel, bias] = arguments.try_into().unwrap();
        residual_by_burn(&conv, x, kernel, bias)
    };
    let got = all_of(&residual_of(&conv), &arguments, &weights, DType::F64);
    let expected = all_of(&theirs, &arguments, &weights, DType::F64);
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        // sums of sums: some 10⁴ products of order ten
        assert!((got - expected).abs() < 1e-10, "{got}, expected {expected}");
    }
}

#[test]
fn a_gradient_is_computed_only_where_it_is_asked_for() {
    let case = example(false);
    let (arguments, _) = case.entries();
    let all: Vec<_> = arguments.iter().map(|a| tensor(a, DType::F32)).collect();
    for asked in 0..3 {
        let mut leaves = all.clone();
        leaves[asked] = leaves[asked].clone().require_grad();
        let [x, kernel, bias] = leaves.clone().try_into().unwrap();
        let mut gradients = convolve_by_kernels(&case.conv, x, kernel, Some(bias))
            .sum()
            .backward();
        for (at, leaf) in leaves.iter().enumerate() {
            assert_eq!(leaf.grad_remove(&mut gradients).is_some(), at == asked);
        }
    }
}

#[test]
fn shifts_leave_what_others_hold_and_means_are_of_all_maps() {
    // entries and sums of sixteenths are exact
    let x = ([2, 2, 1, 2], vec![1.0, 2.0, 3.0, 5.0, 7.0, 8.0, 9.0, 11.0]);
    let x = tensor(&x, DType::F32);
    let values = tensor(&([1, 2, 1, 1], vec![0.5, -1.0]), DType::F32);
    let y = add_channels(x.clone(), values);
    let expected = vec![1.5, 2.5, 2.0, 4.0, 7.5, 8.5, 8.0, 10.0];
    assert_eq!(floats(y).unwrap(), expected);
    assert_eq!(floats(channel_means(x)).unwrap(), vec![4.5, 7.0]);
    // a part of a larger tensor is not dense
    let wide = tensor(
        &([1, 2, 1, 3], vec![1.0, 2.0, 3.0, 4.0, 6.0, 5.0]),
        DType::F64,
    );
    let part = wide.narrow(3, 1, 2);
    assert_eq!(floats(max_min(part)).unwrap(), vec![6.0, 5.0, 2.0, 3.0]);
}
