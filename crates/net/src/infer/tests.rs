use std::collections::BTreeMap;

use burn::tensor::{DType, Device};

use super::*;
use crate::architecture::{
    Activation, Architecture, Block, Centering, Family, Head, Kernels, Preset, Size,
};
use crate::network::floats;
use crate::node::{Conv, Mix, Part, Pooling, Resampling, Wrap, slots, total_stride};
use crate::parameters::Parameters;
use crate::rng::Rng;
use crate::rounding::Rounding;

/// Twenty to forty layers of norm about one: f32 passes in two orders of summation differ by some
/// 1e-6 of the largest logit.
const SINGLE: f64 = 2e-5;
/// As [`SINGLE`], with roundoffs 5e8 times smaller: where the derived bound is loose, as without
/// constraints on the kernels, it would see little.
const DOUBLE: f64 = 1e-12;

/// Every family, block, activation, kind of kernels, centering, head and preset.
fn table() -> Vec<(String, Architecture)> {
    let base = || Architecture {
        size: Size::Xs,
        classes: 3,
        ..Architecture::default()
    };
    let mut table = Vec::new();
    let mut add = |name: String, settings| table.push((name, settings));
    for block in Block::ALL {
        let block = Some(block);
        add(format!("{block:?}"), Architecture { block, ..base() });
    }
    for family in [
        Family::Fcn,
        Family::FcnSkips,
        Family::Unet,
        Family::UnetClassic,
    ] {
        add(format!("{family:?}"), Architecture { family, ..base() });
    }
    for kernels in [Kernels::Spectral, Kernels::Unconstrained] {
        add(format!("{kernels:?}"), Architecture { kernels, ..base() });
    }
    for activation in [
        Activation::GroupSort,
        Activation::HouseHolder,
        Activation::Abs,
        Activation::Relu,
    ] {
        let activation = Some(activation);
        let name = format!("{activation:?}");
        add(
            name,
            Architecture {
                activation,
                ..base()
            },
        );
    }
    for head in [Head::UnitRows, Head::Free] {
        let head = Some(head);
        add(format!("{head:?}"), Architecture { head, ..base() });
    }
    for centering in [Centering::Layer, Centering::None] {
        let centering = Some(centering);
        let name = format!("{centering:?}");
        add(
            name,
            Architecture {
                centering,
                ..base()
            },
        );
    }
    let preset = Preset::Paper;
    let rates = vec![1, 2];
    add(
        "paper".into(),
        Architecture {
            preset,
            rates,
            ..base()
        },
    );
    add(
        "size_s".into(),
        Architecture {
            size: Size::S,
            ..base()
        },
    );
    table
}

/// A table's network with weights that are not those of the start.
fn network(settings: &Architecture) -> Network {
    let nodes = settings.clone().resolve(32).unwrap().nodes();
    let mut parameters = Parameters::start(&nodes, 7);
    let mut rng = Rng::new(7);
    let raw = parameters.raw.values_mut();
    let all = raw.chain(parameters.running.values_mut()).flatten();
    all.for_each(|x| *x += 0.05 * rng.normal() as f32);
    parameters.bake(&nodes).unwrap()
}

/// Nodes with random tensors of order one.
fn of_nodes(nodes: Vec<Node>) -> Network {
    let mut rng = Rng::new(3);
    let tensors: BTreeMap<_, _> = slots(&nodes)
        .into_iter()
        .map(|slot| {
            let length = slot.shape.iter().product::<usize>();
            let fan = slot.shape.iter().skip(1).product::<usize>() as f64;
            let values = (0..length).map(|_| (rng.normal() / fan.sqrt()) as f32);
            (slot.name, values.collect())
        })
        .collect();
    Network::new(nodes, tensors).unwrap()
}

fn shift(name: &str, channels: usize) -> Node {
    let name = name.into();
    Node::Shift { name, channels }
}

/// Nodes that no family has, or in another order, for odd sizes: name and nodes.
fn odd() -> Vec<(&'static str, Vec<Node>)> {
    let same = |name: &str, input, out, kernel| Node::Conv(Conv::same(name, input, out, kernel));
    let biased = |name: &str, input, out, scale| {
        Node::Conv(Conv {
            bias: true,
            scale,
            ..Conv::same(name, input, out, 3)
        })
    };
    let circular = |dilation| {
        Node::Conv(Conv {
            wrap: Wrap::Circular,
            dilation,
            padding: dilation,
            ..Conv::same(format!("c{dilation}"), 4, 4, 3)
        })
    };
    let up = |kind, factor| Node::Upsample { kind, factor };
    let pool = |kind| Node::Pool {
        kind,
        size: 3,
        stride: 1,
    };
    let grow = |name: &str| {
        Node::Conv(Conv {
            kernel: 3,
            padding: 0,
            transposed: true,
            ..Conv::same(name, 4, 4, 3)
        })
    };
    let part = |channels, nodes| Part { channels, nodes };
    let split = |parts| Node::Split { parts };
    let half = |node| split(vec![part(2, vec![node]), part(2, vec![])]);
    let sum = |branches| Node::Sum {
        name: "sum".into(),
        branches,
        mix: Mix::Learned,
    };
    let start = || vec![same("a", 3, 4, 3)];
    let end = || same("z", 4, 3, 1);
    let with = |middle: Vec<Node>| [start(), middle, vec![end()]].concat();
    vec![
        ("no normalisation", with(vec![])),
        (
            "shift, act, shift",
            with(vec![shift("s", 4), Node::MaxMin, shift("t", 4)]),
        ),
        ("relu, shift", with(vec![Node::Relu, shift("t", 4)])),
        (
            "shifts",
            with(vec![shift("s", 4), shift("t", 4), Node::Relu]),
        ),
        (
            "scale",
            vec![
                biased("a", 3, 4, -0.7),
                shift("s", 4),
                Node::MaxMin,
                shift("t", 4),
                end(),
            ],
        ),
        (
            "scaled shift",
            vec![
                Node::Conv(Conv {
                    scale: 0.3,
                    ..Conv::same("a", 3, 4, 3)
                }),
                shift("s", 4),
                Node::Relu,
                end(),
            ],
        ),
        ("circular", with(vec![circular(1), circular(2)])),
        (
            "circular that does not close",
            with(vec![
                Node::Conv(Conv {
                    wrap: Wrap::Circular,
                    padding: 1,
                    ..Conv::same("w", 4, 4, 5)
                }),
                Node::Conv(Conv {
                    padding: 2,
                    ..Conv::same("v", 4, 4, 3)
                }),
            ]),
        ),
        ("average", with(vec![pool(Pooling::Average), grow("g")])),
        ("l2", with(vec![pool(Pooling::L2), grow("g")])),
        ("max", with(vec![pool(Pooling::Max), grow("g")])),
        (
            "image mean",
            with(vec![sum(vec![vec![], vec![Node::ImageMean], start_of(4)])]),
        ),
        ("full sort", with(vec![Node::GroupSort { size: 4 }])),
        (
            "sort of five",
            vec![
                same("a", 3, 10, 3),
                Node::GroupSort { size: 5 },
                same("z", 10, 2, 1),
            ],
        ),
        (
            "enlarged first",
            vec![
                Node::Normalize {
                    mean: vec![0.4; 3],
                    std: vec![0.2, 0.3, 0.4],
                },
                up(Resampling::Bilinear, 3),
                Node::PixelUnshuffle { factor: 3 },
                same("a", 27, 4, 3),
                up(Resampling::Nearest, 2),
                Node::PixelUnshuffle { factor: 2 },
                Node::Abs,
                Node::PixelShuffle { factor: 2 },
                Node::Pool {
                    kind: Pooling::Max,
                    size: 2,
                    stride: 2,
                },
                up(Resampling::Nearest, 2),
                Node::Pool {
                    kind: Pooling::Average,
                    size: 2,
                    stride: 2,
                },
                end(),
            ],
        ),
        (
            "bilinear last",
            vec![
                Node::PixelUnshuffle { factor: 1 },
                up(Resampling::Bilinear, 2),
                Node::Pool {
                    kind: Pooling::L2,
                    size: 2,
                    stride: 2,
                },
                same("z", 3, 2, 1),
            ],
        ),
        (
            "concat",
            vec![
                same("a", 3, 4, 3),
                Node::Concat {
                    branches: vec![
                        vec![same("b", 4, 6, 3), Node::MaxMin],
                        vec![],
                        vec![same("c", 4, 2, 1), shift("c", 2), Node::Relu, shift("d", 2)],
                        vec![Node::Abs, shift("e", 4)],
                    ],
                    scale: -0.6,
                },
                Node::GroupSort { size: 2 },
                same("z", 16, 3, 1),
            ],
        ),
        (
            "split",
            with(vec![Node::Split {
                parts: vec![
                    part(1, vec![]),
                    part(
                        1,
                        vec![same("b", 1, 2, 3), Node::MaxMin, same("c", 2, 1, 3)],
                    ),
                    part(2, vec![Node::Abs]),
                ],
            }]),
        ),
        (
            "splits that stay in a split that is made",
            with(vec![split(vec![part(
                4,
                vec![half(Node::Abs), half(Node::Relu)],
            )])]),
        ),
        (
            "split in split",
            with(vec![Node::Split {
                parts: vec![
                    part(
                        3,
                        vec![
                            Node::Split {
                                parts: vec![
                                    part(1, vec![]),
                                    part(2, vec![same("b", 2, 2, 3), same("c", 2, 2, 3)]),
                                ],
                            },
                            same("d", 3, 3, 3),
                        ],
                    ),
                    part(1, vec![shift("s", 1)]),
                ],
            }]),
        ),
        (
            "sum of branches that work in place",
            with(vec![sum(vec![
                vec![Node::Abs],
                vec![shift("s", 4), Node::Relu],
                vec![],
                vec![same("b", 4, 4, 3)],
            ])]),
        ),
        (
            "prescaled in prescaled",
            with(vec![Node::Prescaled {
                name: "p".into(),
                branch: vec![
                    Node::Prescaled {
                        name: "q".into(),
                        branch: vec![],
                    },
                    Node::MaxMin,
                ],
            }]),
        ),
        (
            "groups",
            with(vec![
                Node::Conv(Conv {
                    groups: 2,
                    ..Conv::same("g", 4, 8, 3)
                }),
                Node::MaxMin,
                Node::Conv(Conv {
                    groups: 4,
                    stride: 1,
                    transposed: true,
                    ..Conv::same("h", 8, 4, 3)
                }),
                Node::Relu,
                Node::Residual(Conv {
                    groups: 2,
                    bias: true,
                    ..Conv::same("r", 4, 4, 3)
                }),
            ]),
        ),
    ]
}

fn start_of(channels: usize) -> Vec<Node> {
    vec![
        Node::Conv(Conv::same("inside", channels, channels, 3)),
        Node::ImageMean,
        Node::Abs,
    ]
}

fn picture(height: usize, width: usize) -> Vec<f32> {
    let mut rng = Rng::new(11);
    (0..3 * height * width)
        .map(|_| rng.uniform() as f32)
        .collect()
}

/// All of them, with sizes that pass.
fn all() -> Vec<(String, Network, [usize; 2])> {
    let table = table().into_iter().map(|(name, s)| (name, network(&s)));
    let odd = odd().into_iter();
    let odd = odd.map(|(name, nodes)| (name.to_owned(), of_nodes(nodes)));
    let sizes = [[7usize, 13], [31, 17]].into_iter().cycle();
    let sized = table.chain(odd).zip(sizes).map(|((name, network), size)| {
        let multiple = total_stride(&network.nodes);
        (
            name,
            network,
            size.map(|side| side.next_multiple_of(multiple)),
        )
    });
    sized.collect()
}

/// Largest difference, and the largest expected number; NaN is infinitely far.
fn apart<T: Number>(got: &[T], expected: &[f64]) -> (f64, f64) {
    assert_eq!(got.len(), expected.len());
    let differences = got.iter().zip(expected).map(|(&g, e)| {
        let g: f64 = g.into();
        if (g - e).is_nan() {
            f64::INFINITY
        } else {
            (g - e).abs()
        }
    });
    let largest = expected.iter().fold(0.0, |m: f64, e| m.max(e.abs()));
    (differences.fold(0.0, f64::max), largest)
}

/// Logits of the definition.
fn definition(network: &Network, [height, width]: [usize; 2], dtype: DType) -> Vec<f64> {
    let burn = network.on_device(&Device::flex(), dtype);
    let x = burn
        .picture(&picture(height, width), height, width)
        .unwrap();
    floats(burn.forward(x)).unwrap()
}

fn passes<T: Number>(network: &Network, [height, width]: [usize; 2], band: usize) -> Vec<T> {
    let mut pass = Inference::<T>::with_band(network, height, width, band).unwrap();
    pass.forward(&picture(height, width)).unwrap().to_vec()
}

/// What the passes of a network must give.
struct Expected {
    values: Vec<f64>,
    /// Of the difference of two f64 passes.
    bound: f64,
    size: [usize; 2],
}

impl Expected {
    fn of(network: &Network, size: [usize; 2]) -> Self {
        let audit = network.audit(size[0], size[1]).unwrap();
        let squares = picture(size[0], size[1]);
        let squares = squares.iter().map(|&v| f64::from(v).powi(2));
        let norm = squares.sum::<f64>().sqrt() * (1.0 + 1e-9);
        Self {
            values: definition(network, size, DType::F64),
            // both passes are within the bound, whatever the order of their sums
            bound: 2.0 * Rounding::new(network, &audit).f64_error(size, norm),
            size,
        }
    }

    /// What is wrong with the logits of a network.
    fn objection(&self, network: &Network) -> Option<String> {
        let (double, largest) = apart(&passes::<f64>(network, self.size, BAND), &self.values);
        let (single, _) = apart(&passes::<f32>(network, self.size, BAND), &self.values);
        let bound = self.bound;
        let fits = double <= bound.min(DOUBLE * largest) && single <= SINGLE * largest;
        (!fits).then(|| format!("f64 {double:e} of {bound:e}, f32 {single:e} of {largest}"))
    }
}

#[test]
fn logits_are_those_of_the_definition() {
    let all = all();
    let failures = all.iter().filter_map(|(name, network, size)| {
        let what = Expected::of(network, *size).objection(network)?;
        Some(format!("{name}: {what}"))
    });
    let failures: Vec<_> = failures.collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_comparison_sees_planted_errors() {
    for (name, network, size) in all().iter().step_by(3) {
        let expected = Expected::of(network, *size);
        let every = network.tensors.len().div_ceil(6);
        for tensor in network.tensors.keys().step_by(every) {
            let mut other = network.clone();
            let values = other.tensors.get_mut(tensor).unwrap();
            values.iter_mut().for_each(|v| *v = 1.001 * *v + 1e-3);
            assert!(expected.objection(&other).is_some(), "{name}: {tensor}");
        }
    }
}

#[test]
fn bands_change_no_bit() {
    let mut banded = 0;
    for (name, network, [height, width]) in all() {
        // three times as high, so that the last band is a short one
        let size = [height * 3, width];
        let whole = passes::<f32>(&network, size, usize::MAX);
        let wide = passes::<f64>(&network, size, usize::MAX);
        for band in [1, 1 << 14, 1 << 16] {
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&passes(&network, size, band)),
                bits(&whole),
                "{name} {band}"
            );
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&passes(&network, size, band)),
                bits(&wide),
                "{name} {band}"
            );
        }
        let [all, one] = [usize::MAX, 1].map(|band| {
            Inference::<f32>::with_band(&network, size[0], size[1], band)
                .unwrap()
                .prepared
                .plan
                .steps
                .len()
        });
        banded += usize::from(all != one);
    }
    assert!(banded > 10, "{banded} networks were run in bands");
}

#[test]
fn a_second_picture_leaves_no_trace() {
    for (name, network, [height, width]) in all() {
        let mut pass = Inference::<f32>::with_band(&network, height, width, 1 << 14).unwrap();
        let image = picture(height, width);
        let first = pass.forward(&image).unwrap().to_vec();
        let dark: Vec<f32> = image.iter().map(|v| 0.5 * v).collect();
        assert_ne!(pass.forward(&dark).unwrap(), first, "{name}");
        assert_eq!(pass.forward(&image).unwrap(), first, "{name}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let [one, four] = [1, 4].map(pool);
    for (name, network, size) in all() {
        // large enough to be shared
        let size = size.map(|side| 3 * side);
        let run = || passes::<f32>(&network, size, 1 << 18);
        assert_eq!(one.install(run), four.install(run), "{name}");
    }
}

#[test]
fn the_arena_is_as_short_as_what_is_alive() {
    for (name, network, [height, width]) in all() {
        let pass = Inference::<f32>::new(&network, height, width).unwrap();
        let plan = &pass.prepared.plan;
        let spare = plan.length as f64 / plan.alive as f64;
        assert!(spare <= 1.2, "{name}: {} for {}", plan.length, plan.alive);
    }
}

#[test]
fn sorting_pairs_sort() {
    // what sorts every sequence of zeros and ones sorts everything (Knuth, 5.3.4 Z)
    for size in 1..=12 {
        let pairs = ops::sorting_pairs(size);
        for bits in 0..1u32 << size {
            let mut values: Vec<_> = (0..size).map(|i| bits >> i & 1).collect();
            for &[lower, upper] in &pairs {
                if values[lower] > values[upper] {
                    values.swap(lower, upper);
                }
            }
            assert!(values.is_sorted(), "{size}: {bits:b}");
        }
    }
}

#[test]
fn image_size_and_length() {
    let network = network(&table()[0].1);
    let error = Inference::<f32>::new(&network, 33, 32).err().unwrap();
    assert!(error.to_string().contains("multiples of 8"), "{error}");
    let mut pass = Inference::<f64>::new(&network, 32, 32).unwrap();
    let error = pass.forward(&[0.5; 10]).err().unwrap();
    assert_eq!(error.to_string(), "a picture of 10 numbers, expected 3072");
}
