//! A rigorous bound on the rounding error of the f64 forward pass, from the weights.
//!
//! Written for maps in l2. A node turns a map of norm at most B with error at most E into one of
//! norm at most L·B + ‖shift‖ and error at most L·E + (its own rounding), L its audited constant.
//! A convolution sums n products in some order: off by at most γ_n·(|W| ∗ |x|) entry by entry, with
//! γ_n = n·u/(1 − n·u), so by γ_n·‖|W|‖·B in l2, and ‖|W|‖² is at most the largest row sum times
//! the largest column sum of |W| (Schur). Every other step rounds each entry a few times.

use std::collections::BTreeMap;

use certiseg_cert::{Audit, Method};

use crate::network::Network;
use crate::node::{
    Conv, Node, Pooling, ROOT, Spread, convolutions, mix_name, normal_name, shift_name, side_after,
};

/// Unit roundoff of f64.
const U: f64 = f64::EPSILON / 2.0;
/// What the arithmetic of these bounds themselves may round away.
const SLACK: f64 = 1.0 + 1e-9;

/// l2 bounds of a map: its norm, and the error of its computed values.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Size {
    norm: f64,
    error: f64,
}

/// Height and width.
type Sides = [usize; 2];

/// What the bound needs of a network, made once for all pictures of a size.
pub struct Rounding {
    network: Network,
    /// By the name of the convolution.
    kernels: BTreeMap<String, Kernel>,
}

/// What the bound needs of a convolution.
struct Kernel {
    /// The audited constant, its scale included.
    lipschitz: f64,
    /// ‖|W|‖ from above.
    absolute: f64,
    /// γ_n/u of its sums.
    gamma: f64,
}

impl Rounding {
    /// From the audit of the network at the size of the pictures.
    pub fn new(network: &Network, audit: &Audit) -> Self {
        let kernels = convolutions(&network.nodes).into_iter().map(|conv| {
            let kernel = Kernel::of(conv, &network.tensors[&conv.weight_name()], audit);
            (conv.name.clone(), kernel)
        });
        Self {
            kernels: kernels.collect(),
            network: network.clone(),
        }
    }

    /// Bound on |computed − exact| of every logit of an f64 forward pass on a (3, `height`,
    /// `width`) picture of l2 norm at most `norm`; infinite where none can be given.
    pub fn f64_error(&self, [height, width]: Sides, norm: f64) -> f64 {
        let start = Size { norm, error: 0.0 };
        let (end, _) = self.through(&self.network.nodes, start, [height, width]);
        match end.error.is_finite() {
            true => end.error,
            false => f64::INFINITY,
        }
    }

    /// The size of the map after the nodes, and its height and width.
    fn through(&self, nodes: &[Node], size: Size, sides: Sides) -> (Size, Sides) {
        nodes.iter().fold((size, sides), |(size, sides), node| {
            // sides that do not pass were refused by the audit
            let next = sides.map(|side| side_after(node, side).unwrap_or(0));
            (self.after(node, size, sides, next), next)
        })
    }

    /// The size of the map after one node.
    fn after(&self, node: &Node, size: Size, sides: Sides, next: Sides) -> Size {
        let Size { norm, error } = size;
        let root = |sides: Sides| ((sides[0] * sides[1]) as f64).sqrt();
        let summands = (sides[0] * sides[1]) as f64;
        let ends: Vec<Size> = node
            .branches()
            .into_iter()
            .map(|branch| match node {
                // its branch reads a scaled map, see below
                Node::Prescaled { .. } => size,
                _ => self.through(branch, size, sides).0,
            })
            .collect();
        let together = |part: fn(&Size) -> f64| ends.iter().map(part).fold(0.0, f64::hypot);
        match node {
            // exact: they choose, negate or move entries
            Node::MaxMin
            | Node::GroupSort { .. }
            | Node::Abs
            | Node::Relu
            | Node::PixelShuffle { .. }
            | Node::PixelUnshuffle { .. } => size,
            Node::Normalize { mean, std } => {
                let least = f64::from(std.iter().copied().fold(f32::INFINITY, f32::min));
                let sum = norm + l2(mean) * root(sides);
                // a subtraction and a division
                rounded(sum / least, error / least, 3.0 * sum / least)
            }
            Node::Shift { name, .. } => {
                let sum = norm + l2(self.tensor(shift_name(name))) * root(sides);
                rounded(sum, error, 2.0 * sum)
            }
            // folded or refused before
            Node::BatchNorm { .. } => Size {
                norm,
                error: f64::INFINITY,
            },
            Node::Center { name, .. } => {
                let sum = norm + l2(self.tensor(shift_name(name))) * root(sides);
                // a mean of all pixels, of l2 at most the map's, a subtraction and a shift
                rounded(sum, error, (summands + 6.0) * norm + 2.0 * sum)
            }
            Node::ImageMean => rounded(norm, error, (summands + 3.0) * norm),
            // a root, a division and a product; the maximum is exact
            Node::ImageMax { spread } => {
                let constant = match spread {
                    Spread::Full => root(sides) * SLACK,
                    Spread::Even => 1.0,
                };
                rounded(constant * norm, constant * error, 5.0 * constant * norm)
            }
            Node::HouseHolder { name, .. } => {
                let normal = self.tensor(normal_name(name));
                let (a, b) = normal.split_at(normal.len() / 2);
                let squares = a.iter().zip(b).map(|(&a, &b)| {
                    let (a, b) = (f64::from(a), f64::from(b));
                    a * a + b * b
                });
                // max(1, 2|n|² − 1)
                let lipschitz = (2.0 * squares.fold(0.0, f64::max) - 1.0).max(1.0) * SLACK;
                // five operations on numbers of at most |n| and |n|² times the pair
                let units = 40.0 * (1.0 + lipschitz) * norm;
                rounded(lipschitz * norm, lipschitz * error, units)
            }
            Node::Pool {
                kind: Pooling::Max,
                size,
                stride,
            } => {
                let constant = size.div_ceil(*stride) as f64;
                Size {
                    norm: constant * norm * SLACK,
                    error: constant * error * SLACK,
                }
            }
            Node::Pool { kind, size, stride } => {
                let constant = size.div_ceil(*stride) as f64;
                // l2 pooling of zeros is the root of what is added inside; no map has more channels
                let floor = match kind {
                    Pooling::L2 => {
                        ROOT.sqrt()
                            * (crate::node::LARGEST as f64 * (next[0] * next[1]) as f64).sqrt()
                    }
                    Pooling::Average | Pooling::Max => 0.0,
                };
                let sum = constant * norm + floor;
                rounded(sum, constant * error, ((size * size) as f64 + 6.0) * sum)
            }
            // at most four products of weights below 1, twice; the weights are rounded too
            Node::Upsample { .. } => rounded(norm, error, 24.0 * norm),
            Node::Concat { scale, .. } => {
                let scale = f64::from(scale.abs());
                let norm = scale * together(|end| end.norm);
                rounded(norm, scale * together(|end| end.error), 2.0 * norm)
            }
            // each part has at most the norm and the error of the whole
            Node::Split { .. } => {
                let (norm, error) = (together(|end| end.norm), together(|end| end.error));
                Size {
                    norm: norm * SLACK,
                    error: error * SLACK,
                }
            }
            Node::Sum { name, .. } => {
                let weights = self.tensor(mix_name(name));
                let sum = |part: fn(&Size) -> f64| {
                    let weighted = ends.iter().zip(weights);
                    let weighted = weighted.map(|(end, &w)| f64::from(w.abs()) * part(end));
                    weighted.sum::<f64>()
                };
                let norm = sum(|end| end.norm);
                rounded(norm, sum(|end| end.error), (ends.len() + 1) as f64 * norm)
            }
            Node::Prescaled { name, branch } => {
                let mix = self.tensor(mix_name(name));
                let [scale, factor] = [mix[0], mix[1]].map(|m| f64::from(m.abs()));
                let scaled = rounded(scale * norm, scale * error, 2.0 * scale * norm);
                let (end, _) = self.through(branch, scaled, sides);
                let norm = factor * (norm + end.norm);
                rounded(norm, factor * (error + end.error), 4.0 * norm)
            }
            Node::Residual(conv) => {
                let &Kernel {
                    lipschitz,
                    absolute,
                    gamma,
                } = self.kernel(conv);
                let bias = l2(self.tensor(conv.bias_name())) * root(sides);
                // the constant is at least 2‖K‖² − 1; K is applied, then its adjoint, twice
                let norm_of_k = ((lipschitz + 1.0) / 2.0).sqrt();
                let hidden = norm_of_k * norm + bias;
                let own = gamma * absolute * norm + 2.0 * hidden;
                let back = 2.0 * (norm_of_k * own + (gamma + 4.0) * absolute * hidden);
                let sum = lipschitz * norm + 2.0 * norm_of_k * bias;
                let last = 2.0 * (norm + 2.0 * norm_of_k * hidden);
                rounded(sum, lipschitz * error, back + last)
            }
            Node::Conv(conv) => {
                let &Kernel {
                    lipschitz,
                    absolute,
                    gamma,
                } = self.kernel(conv);
                let scale = f64::from(conv.scale.abs());
                let bias = match conv.bias {
                    true => l2(self.tensor(conv.bias_name())) * root(next),
                    false => 0.0,
                };
                let own = scale * (gamma * absolute * norm + 3.0 * bias);
                rounded(lipschitz * norm + scale * bias, lipschitz * error, own)
            }
        }
    }

    fn tensor(&self, name: String) -> &[f32] {
        &self.network.tensors[&name]
    }

    fn kernel(&self, conv: &Conv) -> &Kernel {
        &self.kernels[&conv.name]
    }
}

impl Kernel {
    fn of(conv: &Conv, kernel: &[f32], audit: &Audit) -> Self {
        // other nodes may share the name of a convolution, but none of them is bounded by its kernel
        let layers = audit.layers.iter();
        let layers = layers.filter(|layer| layer.name == conv.name && layer.method != Method::Rule);
        let norms = layers.map(|layer| layer.norm);
        let [outer, inner, ..] = conv.shape().weight_shape();
        // products and sums of one output entry, and one each for bias and scale
        let terms = (conv.kernel * conv.kernel * conv.input.max(conv.out) + 3) as f64;
        Self {
            lipschitz: norms.reduce(f64::max).unwrap_or(f64::INFINITY),
            absolute: absolute_norm(kernel, outer, inner, conv.groups),
            gamma: terms / (1.0 - terms * U),
        }
    }
}

/// A map of exact norm `norm`, whose inputs bring `error`, computed with `units` roundoffs.
fn rounded(norm: f64, error: f64, units: f64) -> Size {
    /// Squares of larger numbers, in l2 pooling, leave the range of f64.
    const LARGEST: f64 = 1e150;
    // NaN is in no range
    if !(0.0..=LARGEST).contains(&(norm + error)) {
        let error = f64::INFINITY;
        return Size { norm, error };
    }
    // roundoffs act on computed values, which differ from the exact ones by the error
    Size {
        norm: (norm + error) * SLACK,
        error: (error * (1.0 + 1e-6) + units * U + f64::MIN_POSITIVE) * SLACK,
    }
}

fn l2(values: &[f32]) -> f64 {
    let squares = values.iter().map(|&v| f64::from(v) * f64::from(v));
    squares.sum::<f64>().sqrt()
}

/// √(largest row sum · largest column sum) of |W| over both channel axes of (outer, inner/g, k, k):
/// at least the norm of the convolution with |W|, plain or transposed.
fn absolute_norm(kernel: &[f32], outer: usize, inner: usize, groups: usize) -> f64 {
    let taps = kernel.len() / (outer * inner).max(1);
    let (mut rows, mut columns) = (vec![0.0; outer], vec![0.0; inner * groups]);
    for (index, &weight) in kernel.iter().enumerate() {
        let weight = f64::from(weight.abs());
        let (o, i) = (index / taps / inner, index / taps % inner);
        rows[o] += weight;
        columns[o / (outer / groups) * inner + i] += weight;
    }
    let largest = |sums: &[f64]| sums.iter().copied().fold(0.0, f64::max);
    (largest(&rows) * largest(&columns)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::architecture::Architecture;
    use crate::parameters::Parameters;

    fn network() -> Network {
        let nodes = Architecture::default().resolve(64).unwrap().nodes();
        Parameters::start(&nodes, 1).bake(&nodes).unwrap()
    }

    #[test]
    fn the_bound_is_far_below_f32_errors_and_grows_with_the_picture() {
        let network = network();
        let audit = network.audit(64, 64).unwrap();
        let bound = |norm| Rounding::new(&network, &audit).f64_error([64, 64], norm);
        // f32 passes of this network are off by about 1e-7
        assert!(bound(64.0) > 0.0 && bound(64.0) < 1e-8, "{}", bound(64.0));
        assert!(bound(640.0) > bound(64.0));
        assert_eq!(bound(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn absolute_norm_bounds_by_rows_and_columns() {
        // |W| = [1 2; 3 4] as a 1x1 convolution: rows 3, 7, columns 4, 6
        assert_eq!(
            absolute_norm(&[1.0, -2.0, 3.0, -4.0], 2, 2, 1),
            42f64.sqrt()
        );
    }

    #[test]
    fn shifts_that_cancel_are_seen() {
        // +C and -C: exact result x, computed 0 once C·2⁻⁵³ exceeds x
        let mut network = network();
        let head = network.nodes.len() - 1;
        let shift = |name: &str| Node::Shift {
            name: name.into(),
            channels: 16,
        };
        network.nodes.splice(head..head, [shift("a"), shift("b")]);
        let large = 2f32.powi(60);
        let added = BTreeMap::from([
            (shift_name("a"), vec![large; 16]),
            (shift_name("b"), vec![-large; 16]),
        ]);
        network.tensors.extend(added);
        let audit = network.audit(64, 64).unwrap();
        assert!(Rounding::new(&network, &audit).f64_error([64, 64], 64.0) > 100.0);
    }

    #[test]
    fn names_have_no_say() {
        use crate::node::{Conv, normal_name};
        // a tiny convolution and a HouseHolder of constant 1 by one name
        let bound = |name: &str| {
            let nodes = vec![
                Node::Conv(Conv::same("a", 3, 4, 1)),
                Node::HouseHolder {
                    name: name.into(),
                    channels: 4,
                },
                Node::Conv(Conv::same("b", 4, 2, 1)),
            ];
            let tensors = BTreeMap::from([
                ("a.weight".to_owned(), vec![1e-3; 12]),
                (normal_name(name), vec![0.6, 0.0, 0.8, 1.0]),
                ("b.weight".to_owned(), vec![1.0; 8]),
            ]);
            let network = Network::new(nodes, tensors).unwrap();
            let audit = network.audit(4, 4).unwrap();
            Rounding::new(&network, &audit).f64_error([4, 4], 10.0)
        };
        assert_eq!(bound("a"), bound("other"));
    }

    #[test]
    fn small_errors_are_not_lost_in_squares_and_large_numbers_not_in_infinity() {
        use crate::node::Conv;
        let scaled = |name: String, exponent: i32| {
            let scale = 2f32.powi(exponent);
            Node::Conv(Conv {
                scale,
                ..Conv::same(name, 3, 3, 1)
            })
        };
        let shift = |name: &str| Node::Shift {
            name: name.into(),
            channels: 3,
        };
        let identity = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        // what `inside` is given is 2^-600 or 2^540 times the picture
        let bound = |first: i32, inside: Node| {
            let mut nodes = vec![shift("up"), shift("down")];
            nodes.extend((0..5).map(|at| scaled(format!("a{at}"), first)));
            nodes.push(inside);
            nodes.extend((0..5).map(|at| scaled(format!("b{at}"), -first)));
            let tensors = crate::node::slots(&nodes).into_iter().map(|slot| {
                let large = 2f32.powi(55);
                let values = match slot.name.as_str() {
                    "up.shift" => vec![large; 3],
                    "down.shift" => vec![-large; 3],
                    _ => identity.clone(),
                };
                (slot.name, values)
            });
            let network = Network::new(nodes.clone(), tensors.collect()).unwrap();
            let audit = network.audit(4, 4).unwrap();
            Rounding::new(&network, &audit).f64_error([4, 4], 1.0)
        };
        let concat = Node::Concat {
            branches: vec![Vec::new()],
            scale: 1.0,
        };
        let part = crate::node::Part {
            channels: 3,
            nodes: Vec::new(),
        };
        let split = Node::Split { parts: vec![part] };
        // the shifts alone hide numbers of order one
        assert!(bound(-120, concat) > 1.0);
        assert!(bound(-120, split) > 1.0);
        let pool = Node::Pool {
            kind: Pooling::L2,
            size: 1,
            stride: 1,
        };
        assert_eq!(bound(108, pool), f64::INFINITY);
    }
}
