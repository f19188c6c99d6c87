//! The function that is evaluated is the one that is described: the nodes walked by plain loops in
//! f64 give the logits of the tensor library.

use certiseg_net::architecture::{Architecture, Preset, Size};
use certiseg_net::network::Network;
use certiseg_net::node::{Conv, Node, Wrap};
use certiseg_net::parameters::Parameters;
use certiseg_net::rng::Rng;

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
                let channels = maps.iter().map(|map| map.channels).sum();
                let values = maps.iter().flat_map(|map| map.values.iter());
                let values = values.map(|v| v * f64::from(*scale)).collect();
                Map {
                    channels,
                    values,
                    ..maps[0]
                }
            }
            Node::Residual(_)
            | Node::Center { .. }
            | Node::BatchNorm { .. }
            | Node::GroupSort { .. }
            | Node::HouseHolder { .. }
            | Node::Abs
            | Node::Relu
            | Node::Pool { .. }
            | Node::ImageMean
            | Node::PixelShuffle { .. }
            | Node::PixelUnshuffle { .. }
            | Node::Upsample { .. }
            | Node::Split { .. }
            | Node::Sum { .. }
            | Node::Prescaled { .. } => todo!(),
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
                for i in 0..conv.input {
                    for tap in 0..k * k {
                        let at = |pos: usize, t: usize| {
                            (pos * stride + t * dilation) as isize - padding as isize
                        };
                        let value = x.at(i, at(row, tap / k), at(col, tap % k), conv.wrap);
                        sum += kernel[(o * conv.input + i) * k * k + tap] * value;
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
    let (k, s) = (conv.kernel, conv.stride);
    let mut y = Map::zeros(conv.out, x.height * s, x.width * s);
    for i in 0..conv.input {
        for row in 0..x.height {
            for col in 0..x.width {
                for o in 0..conv.out {
                    for tap in 0..k * k {
                        let at = y.index(o, row * s + tap / k, col * s + tap % k);
                        let weight = kernel[(i * conv.out + o) * k * k + tap];
                        y.values[at] += weight * x.values[x.index(i, row, col)];
                    }
                }
            }
        }
    }
    y
}

fn network(preset: Preset, seed: u64) -> Network {
    let settings = Architecture {
        size: Size::Xs,
        preset,
        classes: 3,
        std: [0.5, 0.25, 0.3],
        rates: vec![1, 2],
        ..Architecture::default()
    };
    let nodes = settings.resolve(16).unwrap().nodes();
    let mut parameters = Parameters::start(&nodes, seed);
    let mut rng = Rng::new(seed);
    let all = parameters
        .raw
        .values_mut()
        .chain(parameters.means.values_mut());
    all.flatten().for_each(|x| *x += 0.05 * rng.normal() as f32);
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
    (differences.fold(0.0, f64::max), logits.eta)
}

#[test]
fn plain_loops_give_the_same_logits_within_eta() {
    for preset in [Preset::Plain, Preset::Paper] {
        let network = network(preset, 3);
        let (difference, eta) = largest_difference(&network, &network);
        assert!(difference <= eta, "{preset:?}: {difference} {eta}");
    }
}

#[test]
fn the_comparison_sees_planted_errors() {
    let evaluated = network(Preset::Plain, 3);
    let mut described = evaluated.clone();
    if let Some(values) = described.tensors.get_mut("encoder.1.0.weight") {
        values[7] += 1e-3;
    }
    let (difference, eta) = largest_difference(&described, &evaluated);
    assert!(difference > eta, "{difference} {eta}");
}
