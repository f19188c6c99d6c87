//! A rigorous bound on the rounding error of the f64 forward pass, from the weights.
//!
//! Written for maps in l2. A node turns a map of norm at most B with error at most E into one of
//! norm at most L·B + ‖shift‖ and error at most L·E + (its own rounding), L its audited constant.
//! A convolution sums n products in some order: off by at most γ_n·(|W| ∗ |x|) entry by entry, with
//! γ_n = n·u/(1 − n·u), so by γ_n·‖|W|‖·B in l2, and ‖|W|‖² is at most the largest row sum times
//! the largest column sum of |W| (Schur). Every other step rounds each entry a few times.

use certiseg_cert::Audit;

use crate::network::{Network, shift_name};
use crate::node::Node;

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

/// Bound on |computed − exact| of every logit of an f64 forward pass on a (3, `height`, `width`)
/// picture of l2 norm at most `norm`; infinite where none can be given. `audit` is that of the
/// network at this size.
pub fn f64_error(network: &Network, audit: &Audit, [height, width]: [usize; 2], norm: f64) -> f64 {
    let start = Size { norm, error: 0.0 };
    let walk = Walk { network, audit };
    let (end, _) = walk.through(&network.nodes, start, [height, width]);
    match end.error.is_finite() {
        true => end.error,
        false => f64::INFINITY,
    }
}

struct Walk<'a> {
    network: &'a Network,
    audit: &'a Audit,
}

impl Walk<'_> {
    /// The size of the map after the nodes, and its height and width.
    fn through(&self, nodes: &[Node], mut size: Size, mut sides: [usize; 2]) -> (Size, [usize; 2]) {
        for node in nodes {
            let Size { norm, error } = size;
            let pixels = (sides[0] * sides[1]) as f64;
            size = match node {
                Node::MaxMin => size,
                Node::Normalize { mean, std } => {
                    let least = f64::from(std.iter().copied().fold(f32::INFINITY, f32::min));
                    let sum = norm + (square_sum(mean) * pixels).sqrt();
                    // a subtraction and a division
                    rounded(sum / least, error / least, 3.0 * sum / least)
                }
                Node::Shift { name, .. } => {
                    let shift = &self.network.tensors[&shift_name(name)];
                    let sum = norm + (square_sum(shift) * pixels).sqrt();
                    rounded(sum, error, 2.0 * sum)
                }
                Node::Concat { branches, scale } => {
                    let scale = f64::from(scale.abs());
                    let ends: Vec<_> = branches
                        .iter()
                        .map(|branch| self.through(branch, size, sides))
                        .collect();
                    sides = ends.first().map_or(sides, |(_, sides)| *sides);
                    let root = |part: fn(&Size) -> f64| {
                        let squares = ends.iter().map(|(end, _)| part(end).powi(2));
                        scale * squares.sum::<f64>().sqrt()
                    };
                    let norm = root(|end| end.norm);
                    rounded(norm, root(|end| end.error), 2.0 * norm)
                }
                Node::Conv(conv) => {
                    let layer = self
                        .audit
                        .layers
                        .iter()
                        .find(|layer| layer.name == conv.name);
                    let lipschitz = layer.map_or(f64::INFINITY, |layer| layer.norm);
                    let scale = f64::from(conv.scale.abs());
                    // sides that do not pass were refused by the audit
                    sides = sides.map(|side| conv.output_side(side).unwrap_or(0));
                    let pixels = (sides[0] * sides[1]) as f64;
                    let bias = match conv.bias {
                        true => {
                            (square_sum(&self.network.tensors[&conv.bias_name()]) * pixels).sqrt()
                        }
                        false => 0.0,
                    };
                    let kernel = &self.network.tensors[&conv.weight_name()];
                    let [outer, inner, ..] = conv.aoc().weight_shape();
                    let absolute = absolute_norm(kernel, outer, inner);
                    // products and sums of one output entry, and one each for bias and scale
                    let terms = (conv.kernel * conv.kernel * conv.input + 3) as f64;
                    let gamma = terms / (1.0 - terms * U);
                    let own = scale * (gamma * absolute * norm + 3.0 * bias);
                    rounded(lipschitz * norm + scale * bias, lipschitz * error, own)
                }
            };
        }
        (size, sides)
    }
}

/// A map of exact norm `norm`, whose inputs bring `error`, computed with `units` roundoffs.
fn rounded(norm: f64, error: f64, units: f64) -> Size {
    // roundoffs act on computed values, which differ from the exact ones by the error
    Size {
        norm: (norm + error) * SLACK,
        error: (error * (1.0 + 1e-6) + units * U + f64::MIN_POSITIVE) * SLACK,
    }
}

fn square_sum(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}

/// √(largest row sum · largest column sum) of |W| over both channel axes of (outer, inner, k, k):
/// at least the norm of the convolution with |W|, plain or transposed.
fn absolute_norm(kernel: &[f32], outer: usize, inner: usize) -> f64 {
    let taps = kernel.len() / (outer * inner).max(1);
    let (mut rows, mut columns) = (vec![0.0; outer], vec![0.0; inner]);
    for (index, &weight) in kernel.iter().enumerate() {
        let weight = f64::from(weight.abs());
        rows[index / taps / inner] += weight;
        columns[index / taps % inner] += weight;
    }
    let largest = |sums: &[f64]| sums.iter().copied().fold(0.0, f64::max);
    (largest(&rows) * largest(&columns)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::deeplab::DeepLab;
    use crate::parameters::Parameters;

    fn network() -> Network {
        let nodes = DeepLab::default().resolve(64).unwrap().nodes();
        Parameters::start(&nodes, 1).bake(&nodes).unwrap()
    }

    #[test]
    fn the_bound_is_far_below_f32_errors_and_grows_with_the_picture() {
        let network = network();
        let audit = network.audit(64, 64).unwrap();
        let bound = |norm| f64_error(&network, &audit, [64, 64], norm);
        // f32 passes of this network are off by about 1e-7
        assert!(bound(64.0) > 0.0 && bound(64.0) < 1e-8, "{}", bound(64.0));
        assert!(bound(640.0) > bound(64.0));
        assert_eq!(bound(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn absolute_norm_bounds_by_rows_and_columns() {
        // |W| = [1 2; 3 4] as a 1x1 convolution: rows 3, 7, columns 4, 6
        assert_eq!(absolute_norm(&[1.0, -2.0, 3.0, -4.0], 2, 2), 42f64.sqrt());
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
        assert!(f64_error(&network, &audit, [64, 64], 64.0) > 100.0);
    }
}
