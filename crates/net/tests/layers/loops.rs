//! The function that is evaluated is the one that is described: the nodes walked by plain loops in
//! f64 give the logits of the tensor library.

use burn::tensor::{DType, Device, Tensor, TensorData};
use certiseg_net::architecture::{
    Activation, Architecture, Block, Centering, Family, Kernels, Preset, Size,
};
use certiseg_net::network::{Network, floats};
use certiseg_net::node::{Conv, Node, Pooling, Resampling, Spread, Wrap, on};
use certiseg_net::parameters::Parameters;
use certiseg_net::rng::Rng;

use super::table::layers;

/// (channels, height, width).
#[derive(Clone)]
struct Map {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f64>,
}

impl Map {
    fn zeros(channels: usize, height: usize, width: usize) -> Self {
        let values = vec![0.0; channels * height * width];
        Self {
            channels,
            height,
            width,
            values,
        }
    }

    fn index(&self, channel: usize, y: usize, x: usize) -> usize {
        (channel * self.height + y) * self.width + x
    }

    /// The value at a place that may lie beyond the border.
    fn at(&self, channel: usize, y: isize, x: isize, wrap: Wrap) -> f64 {
        let (height, width) = (self.height as isize, self.width as isize);
        let inside = (0..height).contains(&y) && (0..width).contains(&x);
        match (wrap, inside) {
            (Wrap::Zeros, false) => 0.0,
            _ => {
                let (y, x) = (y.rem_euclid(height), x.rem_euclid(width));
                self.values[self.index(channel, y as usize, x as usize)]
            }
        }
    }

    /// The mean of every channel.
    fn means(&self) -> Vec<f64> {
        let pixels = self.height * self.width;
        let channels = self.values.chunks_exact(pixels);
        channels
            .map(|c| c.iter().sum::<f64>() / pixels as f64)
            .collect()
    }

    /// Every place set to what `value` says of (channel, row, column).
    fn filled(mut self, value: impl Fn(usize, usize, usize) -> f64) -> Self {
        for channel in 0..self.channels {
            for y in 0..self.height {
                for x in 0..self.width {
                    let at = self.index(channel, y, x);
                    self.values[at] = value(channel, y, x);
                }
            }
        }
        self
    }

    /// One after the other along the channels.
    fn stacked(maps: &[Self]) -> Self {
        Self {
            channels: maps.iter().map(|map| map.channels).sum(),
            values: maps.iter().flat_map(|map| map.values.clone()).collect(),
            ..maps[0]
        }
    }

    fn per_channel(mut self, change: impl Fn(usize, f64) -> f64) -> Self {
        let pixels = self.height * self.width;
        for (at, value) in self.values.iter_mut().enumerate() {
            *value = change(at / pixels, *value);
        }
        self
    }
}

fn walk(network: &Network, nodes: &[Node], mut x: Map) -> Map {
    let tensor = |name: String| -> Vec<f64> {
        network.tensors[&name]
            .iter()
            .map(|&v| f64::from(v))
            .collect()
    };
    for node in nodes {
        x = match node {
            Node::Normalize { mean, std } => {
                x.per_channel(|c, v| (v - f64::from(mean[c])) / f64::from(std[c]))
            }
            Node::Shift { name, .. } => {
                let shift = tensor(format!("{name}.shift"));
                x.per_channel(|c, v| v + shift[c])
            }
            Node::MaxMin => {
                let half = x.values.len() / 2;
                let (a, b) = x.values.split_at(half);
                let pairs = || a.iter().zip(b);
                let max = pairs().map(|(a, b)| a.max(*b));
                let min = pairs().map(|(a, b)| a.min(*b));
                let values = max.chain(min).collect();
                Map { values, ..x }
            }
            Node::Concat { branches, scale } => {
                let maps: Vec<_> = branches
                    .iter()
                    .map(|b| walk(network, b, x.clone()))
                    .collect();
                Map::stacked(&maps).per_channel(|_, v| v * f64::from(*scale))
            }
            Node::Residual(conv) => {
                let kernel = tensor(conv.weight_name());
                let bias = tensor(conv.bias_name());
                let hidden = plain(conv, &kernel, &x);
                let hidden = hidden.per_channel(|c, v| (v + bias[c]).max(0.0));
                let back = adjoint(conv, &kernel, &hidden);
                let pairs = x.values.iter().zip(&back.values);
                let values = pairs.map(|(x, b)| x - 2.0 * b).collect();
                Map { values, ..x }
            }
            Node::Center { name, .. } => {
                let shift = tensor(format!("{name}.shift"));
                let means = x.means();
                x.per_channel(|c, v| v - means[c] + shift[c])
            }
            Node::ImageMean => {
                let means = x.means();
                x.per_channel(|c, _| means[c])
            }
            Node::ImageMax { spread } => {
                let pixels = x.height * x.width;
                let root = match spread {
                    Spread::Full => 1.0,
                    Spread::Even => (pixels as f64).sqrt(),
                };
                let most: Vec<f64> = (x.values.chunks_exact(pixels))
                    .map(|channel| channel.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v)))
                    .collect();
                x.per_channel(|c, _| most[c] / root)
            }
            // folded when baked
            Node::BatchNorm { .. } => unreachable!("a baked network has none"),
            Node::Abs => x.per_channel(|_, v| v.abs()),
            Node::Relu => x.per_channel(|_, v| v.max(0.0)),
            Node::GroupSort { size } => {
                let mut sorted = x.clone();
                for y in 0..x.height {
                    for column in 0..x.width {
                        for first in (0..x.channels).step_by(*size) {
                            let places: Vec<_> = (first..first + size)
                                .map(|c| x.index(c, y, column))
                                .collect();
                            let mut values: Vec<f64> =
                                places.iter().map(|&p| x.values[p]).collect();
                            values.sort_by(f64::total_cmp);
                            for (place, value) in places.into_iter().zip(values) {
                                sorted.values[place] = value;
                            }
                        }
                    }
                }
                sorted
            }
            Node::HouseHolder { name, .. } => {
                let normal = tensor(format!("{name}.normal"));
                let half = x.channels / 2;
                let pixels = x.height * x.width;
                let mut reflected = x.clone();
                for pair in 0..half {
                    let (n, m) = (normal[pair], normal[pair + half]);
                    for pixel in 0..pixels {
                        let (a, b) = (pair * pixels + pixel, (pair + half) * pixels + pixel);
                        let inside = (n * x.values[a] + m * x.values[b]).max(0.0);
                        reflected.values[a] -= 2.0 * inside * n;
                        reflected.values[b] -= 2.0 * inside * m;
                    }
                }
                reflected
            }
            Node::Pool { kind, size, stride } => pooled(&x, *kind, *size, *stride),
            Node::PixelShuffle { factor: f } => {
                let out = Map::zeros(x.channels / (f * f), x.height * f, x.width * f);
                out.filled(|c, y, col| {
                    let from = c * f * f + (y % f) * f + col % f;
                    x.values[x.index(from, y / f, col / f)]
                })
            }
            Node::PixelUnshuffle { factor: f } => {
                let out = Map::zeros(x.channels * f * f, x.height / f, x.width / f);
                out.filled(|c, y, col| {
                    let (dy, dx) = (c / f % f, c % f);
                    x.values[x.index(c / (f * f), y * f + dy, col * f + dx)]
                })
            }
            Node::Upsample { kind, factor: f } => {
                let out = Map::zeros(x.channels, x.height * f, x.width * f);
                out.filled(|c, y, col| {
                    let value = match kind {
                        Resampling::Nearest => x.values[x.index(c, y / f, col / f)],
                        Resampling::Bilinear => {
                            let line = |at: usize, side: usize| {
                                let place = ((at as f64 + 0.5) / *f as f64 - 0.5).max(0.0);
                                let below = (place as usize).min(side - 1);
                                let above = (below + 1).min(side - 1);
                                (below, above, place - below as f64)
                            };
                            let ((t, b, v), (l, r, u)) = (line(y, x.height), line(col, x.width));
                            let at = |y, col| x.values[x.index(c, y, col)];
                            let row = |y| at(y, l) * (1.0 - u) + at(y, r) * u;
                            row(t) * (1.0 - v) + row(b) * v
                        }
                    };
                    value / *f as f64
                })
            }
            Node::Split { parts } => {
                let mut first = 0;
                let mut outputs = Vec::new();
                for part in parts {
                    let pixels = x.height * x.width;
                    let values = x.values[first * pixels..][..part.channels * pixels].to_vec();
                    let channels = part.channels;
                    let input = Map {
                        channels,
                        values,
                        ..x
                    };
                    outputs.push(walk(network, &part.nodes, input));
                    first += channels;
                }
                Map::stacked(&outputs)
            }
            Node::Sum { name, branches, .. } => {
                let weights = tensor(format!("{name}.mix"));
                let outputs: Vec<_> = branches
                    .iter()
                    .map(|b| walk(network, b, x.clone()))
                    .collect();
                let mut sum = Map::zeros(outputs[0].channels, outputs[0].height, outputs[0].width);
                for (output, weight) in outputs.iter().zip(weights) {
                    let pairs = sum.values.iter_mut().zip(&output.values);
                    pairs.for_each(|(s, v)| *s += weight * v);
                }
                sum
            }
            Node::Prescaled { name, branch } => {
                let mix = tensor(format!("{name}.mix"));
                let inner = walk(network, branch, x.clone().per_channel(|_, v| v * mix[0]));
                let pairs = x.values.iter().zip(&inner.values);
                let values = pairs.map(|(x, f)| (x + f) * mix[1]).collect();
                Map { values, ..x }
            }
            Node::Conv(conv) => {
                let kernel = tensor(conv.weight_name());
                let bias = match conv.bias {
                    true => tensor(conv.bias_name()),
                    false => vec![0.0; conv.out],
                };
                let y = match conv.transposed {
                    true => transposed(conv, &kernel, &x),
                    false => plain(conv, &kernel, &x),
                };
                y.per_channel(|c, v| f64::from(conv.scale) * (v + bias[c]))
            }
        };
    }
    x
}

fn plain(conv: &Conv, kernel: &[f64], x: &Map) -> Map {
    let Conv {
        kernel: k,
        stride,
        dilation,
        padding,
        ..
    } = *conv;
    let side = |side: usize| (side + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
    let mut y = Map::zeros(conv.out, side(x.height), side(x.width));
    for o in 0..conv.out {
        for row in 0..y.height {
            for col in 0..y.width {
                let mut sum = 0.0;
                let inner = conv.input / conv.groups;
                let group = o / (conv.out / conv.groups);
                for i in 0..inner {
                    for tap in 0..k * k {
                        let at = |pos: usize, t: usize| {
                            (pos * stride + t * dilation) as isize - padding as isize
                        };
                        let value = x.at(
                            group * inner + i,
                            at(row, tap / k),
                            at(col, tap % k),
                            conv.wrap,
                        );
                        sum += kernel[(o * inner + i) * k * k + tap] * value;
                    }
                }
                let at = y.index(o, row, col);
                y.values[at] = sum;
            }
        }
    }
    y
}

fn transposed(conv: &Conv, kernel: &[f64], x: &Map) -> Map {
    let side = |side: usize| (side - 1) * conv.stride + conv.dilation * (conv.kernel - 1) + 1;
    let crop = 2 * conv.padding;
    scattered(
        conv,
        kernel,
        x,
        conv.out,
        [side(x.height) - crop, side(x.width) - crop],
    )
}

/// The adjoint of a convolution of stride 1 that keeps the size.
fn adjoint(conv: &Conv, kernel: &[f64], x: &Map) -> Map {
    scattered(conv, kernel, x, conv.input, [x.height, x.width])
}

/// Every input pixel adds its kernel to the output; kernel [channels of x, out/groups, k, k].
fn scattered(conv: &Conv, kernel: &[f64], x: &Map, out: usize, [height, width]: [usize; 2]) -> Map {
    let (k, inner) = (conv.kernel, out / conv.groups);
    let mut y = Map::zeros(out, height, width);
    for i in 0..x.channels {
        let group = i / (x.channels / conv.groups);
        for row in 0..x.height {
            for col in 0..x.width {
                for o in 0..inner {
                    for tap in 0..k * k {
                        let place = |at: usize, t: usize, side: usize| {
                            let place =
                                (at * conv.stride + t * conv.dilation).checked_sub(conv.padding)?;
                            (place < side).then_some(place)
                        };
                        let to = (place(row, tap / k, height), place(col, tap % k, width));
                        let (Some(r), Some(c)) = to else { continue };
                        let at = y.index(group * inner + o, r, c);
                        y.values[at] +=
                            kernel[(i * inner + o) * k * k + tap] * x.values[x.index(i, row, col)];
                    }
                }
            }
        }
    }
    y
}

fn pooled(x: &Map, kind: Pooling, size: usize, stride: usize) -> Map {
    let side = |side: usize| (side - size) / stride + 1;
    Map::zeros(x.channels, side(x.height), side(x.width)).filled(|c, y, col| {
        let window = (0..size * size)
            .map(|t| x.values[x.index(c, y * stride + t / size, col * stride + t % size)]);
        match kind {
            Pooling::Average => window.sum::<f64>() / size as f64,
            Pooling::L2 => (window.map(|v| v * v).sum::<f64>() + 1e-12).sqrt(),
            Pooling::Max => window.fold(f64::NEG_INFINITY, f64::max),
        }
    })
}

fn network(settings: Architecture, seed: u64) -> Network {
    let settings = Architecture {
        size: Size::Xs,
        classes: 3,
        std: [0.5, 0.25, 0.3],
        rates: match settings.family {
            Family::Deeplab => vec![1, 2],
            _ => Vec::new(),
        },
        ..settings
    };
    let nodes = settings.resolve(16).unwrap().nodes();
    let mut parameters = Parameters::start(&nodes, seed);
    let mut rng = Rng::new(seed);
    let all = parameters.raw.values_mut().flatten();
    all.for_each(|x| *x += 0.05 * rng.normal() as f32);
    parameters.bake(&nodes).unwrap()
}

fn largest_difference(described: &Network, evaluated: &Network) -> (f64, f64) {
    let mut rng = Rng::new(1);
    let picture: Vec<f32> = (0..3 * 16 * 24).map(|_| rng.uniform() as f32).collect();
    let logits = evaluated
        .certifier(16, 24)
        .unwrap()
        .logits(&picture)
        .unwrap();
    let values = picture.iter().map(|&v| f64::from(v)).collect();
    let input = Map {
        channels: 3,
        height: 16,
        width: 24,
        values,
    };
    let expected = walk(described, &described.nodes, input);
    let pairs = expected.values.iter().zip(&logits.values);
    let differences = pairs.map(|(e, &v)| (e - f64::from(v)).abs());
    // NaN would lose every max
    let differences = differences.map(|d| if d.is_nan() { f64::INFINITY } else { d });
    (differences.fold(0.0, f64::max), logits.eta)
}

#[test]
fn plain_loops_give_the_same_logits_within_eta() {
    let base = Architecture::default;
    let mut networks: Vec<_> = Block::ALL
        .map(|block| Architecture {
            block: Some(block),
            ..base()
        })
        .into();
    let families = [
        Family::Fcn,
        Family::FcnSkips,
        Family::Unet,
        Family::UnetClassic,
    ];
    networks.extend(families.map(|family| Architecture { family, ..base() }));
    networks.push(Architecture {
        preset: Preset::Paper,
        ..base()
    });
    networks.push(Architecture {
        kernels: Kernels::Unconstrained,
        ..base()
    });
    for activation in [
        Activation::GroupSort,
        Activation::HouseHolder,
        Activation::Abs,
    ] {
        networks.push(Architecture {
            activation: Some(activation),
            ..base()
        });
    }
    for centering in [Centering::Layer, Centering::None] {
        networks.push(Architecture {
            centering: Some(centering),
            ..base()
        });
    }
    for settings in networks {
        let network = network(settings.clone(), 3);
        let (difference, eta) = largest_difference(&network, &network);
        assert!(difference <= eta, "{settings:?}: {difference} {eta}");
    }
}

/// Sums of f64 in another order, relative to outputs of order one to ten.
const F64: f64 = 1e-12;

#[test]
fn plain_loops_give_what_every_layer_gives() {
    for layer in layers() {
        for size in [[8, 8], [7, 5]] {
            let Some([height, width]) = layer.fits(size) else {
                continue;
            };
            let network = layer.network(23);
            let mut rng = Rng::new(4);
            let count = layer.channels * height * width;
            let values: Vec<f64> = (0..count).map(|_| rng.normal()).collect();
            let shape = [1, layer.channels, height, width];
            let device = Device::flex();
            let x = Tensor::from_data(
                TensorData::new(values.clone(), shape),
                on(&device, DType::F64),
            );
            let got = floats(network.on_device(&device, DType::F64).forward(x)).unwrap();
            let channels = layer.channels;
            let input = Map {
                channels,
                height,
                width,
                values,
            };
            let expected = walk(&network, &network.nodes, input).values;
            assert_eq!(got.len(), expected.len(), "{}", layer.name);
            for (a, b) in got.iter().zip(&expected) {
                assert!(
                    (a - b).abs() <= F64 * (1.0 + b.abs()),
                    "{} {size:?}: {a} {b}",
                    layer.name
                );
            }
        }
    }
}

#[test]
fn the_comparison_sees_planted_errors() {
    let evaluated = network(Architecture::default(), 3);
    let mut described = evaluated.clone();
    if let Some(values) = described.tensors.get_mut("encoder.1.0.weight") {
        values[7] += 1e-3;
    }
    let (difference, eta) = largest_difference(&described, &evaluated);
    assert!(difference > eta, "{difference} {eta}");
}
