//! From nodes to steps: what is done in one pass, what is done in place, who writes where.

use std::collections::BTreeMap;
use std::sync::Arc;

use certiseg_conv::{self as kernels, Activation, Direction, Packed};

use super::bands::{Bands, tail};
use super::plan::{Op, Place, Plan, Shape, Step, Values};
use super::{Number, ops};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::node::{
    Conv, Node, Part, Resampling, label, mix_name, normal_name, shift_name, side_after, step,
};

/// A node, and what is done in the same pass: a convolution takes in what follows it where that
/// rounds as the nodes one by one do.
struct Unit<'a> {
    node: &'a Node,
    /// Name of what is added to the sums.
    bias: Option<String>,
    activation: Activation,
    /// Name of what is added last.
    shift: Option<String>,
}

fn units(nodes: &[Node]) -> Vec<Unit<'_>> {
    let mut nodes = nodes.iter().peekable();
    let mut units = Vec::new();
    while let Some(node) = nodes.next() {
        let mut unit = Unit {
            node,
            bias: None,
            activation: Activation::None,
            shift: None,
        };
        if let Node::Conv(conv) = node {
            let mut next_shift = || match nodes.peek() {
                Some(Node::Shift { name, .. }) => {
                    nodes.next();
                    Some(shift_name(name))
                }
                _ => None,
            };
            unit.bias = match conv.bias {
                true => Some(conv.bias_name()),
                // nothing is between the sums and it
                false if conv.scale == 1.0 => next_shift(),
                false => None,
            };
            unit.activation = match nodes.peek() {
                Some(Node::MaxMin) => Activation::MaxMin,
                Some(Node::Relu) => Activation::Relu,
                _ => Activation::None,
            };
            if unit.activation != Activation::None {
                nodes.next();
            }
            if let Some(Node::Shift { name, .. }) = nodes.peek() {
                unit.shift = Some(shift_name(name));
                nodes.next();
            }
        }
        units.push(unit);
    }
    units
}

/// Whether a node can work in place.
fn in_place(node: &Node) -> bool {
    matches!(
        node,
        Node::Normalize { .. }
            | Node::Shift { .. }
            | Node::Center { .. }
            | Node::MaxMin
            | Node::GroupSort { .. }
            | Node::HouseHolder { .. }
            | Node::Abs
            | Node::Relu
            | Node::ImageMean
            | Node::ImageMax { .. }
    )
}

/// A map that is read, and whether nobody reads it later.
#[derive(Clone, Copy)]
struct Source {
    place: Place,
    owned: bool,
}

/// What steps are made with.
pub(super) struct Lowering<'a, T> {
    network: &'a Network,
    /// By name and direction.
    kernels: BTreeMap<(String, bool), Arc<Packed<T>>>,
    steps: Vec<Step<T>>,
    /// Of every map.
    lengths: Vec<usize>,
}

impl<'a, T: Number> Lowering<'a, T> {
    pub fn new(network: &'a Network) -> Self {
        Self {
            network,
            kernels: BTreeMap::new(),
            steps: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// The plan of a whole network, its tail in bands of at most `band` bytes, or of one row.
    pub fn network(mut self, nodes: &[Node], picture: Shape, band: usize) -> Result<Plan<T>> {
        let (body, tail) = nodes.split_at(tail(nodes).unwrap_or(nodes.len()));
        let input = self.new_map(picture);
        let x = self.list(
            body,
            Source {
                place: input,
                owned: true,
            },
            None,
        )?;
        let from = x.shape;
        let mut rows = from.height;
        if !tail.is_empty() {
            let of_one = self.plan(tail, Shape { height: 1, ..from })?;
            rows = (band / (of_one.length * size_of::<T>())).clamp(1, rows);
        }
        let output = match rows == from.height {
            true => self.list(
                tail,
                Source {
                    place: x,
                    owned: true,
                },
                None,
            )?,
            false => {
                // as even as can be
                let rows = from.height.div_ceil(from.height.div_ceil(rows));
                let of = |height| Shape { height, ..from };
                let full = self.plan(tail, of(rows))?;
                let left = from.height % rows;
                let rest = match left {
                    0 => None,
                    _ => Some(self.plan(tail, of(left))?),
                };
                let longest = rest.iter().map(|plan| plan.length);
                let length = longest.fold(full.length, usize::max);
                let scratch = self.new_map(Shape {
                    channels: 1,
                    height: 1,
                    width: length,
                });
                let made = full.output.shape;
                let factor = made.height / rows;
                let y = self.new_map(Shape {
                    height: factor * from.height,
                    ..made
                });
                let bands = Bands {
                    full,
                    rest,
                    scratch,
                };
                self.push(Op::Bands(Box::new(bands)), Some(x), y);
                y
            }
        };
        Ok(Plan::new(input, output, self.steps, &self.lengths))
    }

    /// A plan of its own, with the same kernels.
    fn plan(&mut self, nodes: &[Node], from: Shape) -> Result<Plan<T>> {
        let outer = (
            std::mem::take(&mut self.steps),
            std::mem::take(&mut self.lengths),
        );
        let input = self.new_map(from);
        let output = self.list(
            nodes,
            Source {
                place: input,
                owned: true,
            },
            None,
        )?;
        let steps = std::mem::replace(&mut self.steps, outer.0);
        let lengths = std::mem::replace(&mut self.lengths, outer.1);
        Ok(Plan::new(input, output, steps, &lengths))
    }

    fn new_map(&mut self, shape: Shape) -> Place {
        self.lengths.push(shape.length());
        Place {
            map: self.lengths.len() - 1,
            start: 0,
            shape,
        }
    }

    fn push(&mut self, op: Op<T>, x: Option<Place>, y: Place) {
        self.steps.push(Step { op, x, y });
    }

    fn values(&self, name: &str) -> Values<T> {
        wide(&self.network.tensors[name])
    }

    /// What a node that can work in place does.
    fn pointwise(&self, node: &Node) -> Op<T> {
        match node {
            Node::Normalize { mean, std } => Op::Normalize {
                mean: wide(mean),
                std: wide(std),
            },
            Node::Shift { name, .. } => Op::Shift(self.values(&shift_name(name))),
            Node::Center { name, .. } => Op::Center(self.values(&shift_name(name))),
            Node::MaxMin => Op::MaxMin,
            &Node::GroupSort { size } => Op::Sort {
                size,
                pairs: ops::sorting_pairs(size),
            },
            Node::HouseHolder { name, .. } => Op::HouseHolder(self.values(&normal_name(name))),
            Node::Abs => Op::Abs,
            Node::Relu => Op::Relu,
            Node::ImageMean => Op::ImageMean,
            Node::ImageMax { spread } => Op::ImageMax(*spread),
            _ => unreachable!("{} does not work in place", label(node)),
        }
    }

    /// Nodes in order; the result lies in the target where one is given.
    fn list(&mut self, nodes: &[Node], x: Source, target: Option<Place>) -> Result<Place> {
        let units = units(nodes);
        // what makes the last map writes it where it belongs, the rest is done in place
        let last = units
            .iter()
            .rposition(|unit| !in_place(unit.node))
            .unwrap_or(0);
        let mut x = x;
        for (at, unit) in units.iter().enumerate() {
            let target = target.filter(|_| at == last);
            let place = match target {
                Some(target) if !in_place(unit.node) && target.overlaps(&x.place) => {
                    let made = self.unit(unit, x, None)?;
                    // a split may have stayed where it was
                    if made != target {
                        self.push(Op::Copy, Some(made), target);
                    }
                    target
                }
                _ => self.unit(unit, x, target)?,
            };
            x = Source { place, owned: true };
        }
        match target {
            Some(target) if x.place != target => {
                self.push(Op::Copy, Some(x.place), target);
                Ok(target)
            }
            _ => Ok(x.place),
        }
    }

    /// Shape of the map after a node.
    fn after(node: &Node, from: Shape) -> Result<Shape> {
        let side = |side| {
            // a picture of a size that was checked passes
            side_after(node, side).ok_or_else(|| Error::node(label(node), "the map does not pass"))
        };
        Ok(Shape {
            channels: step(node, from.channels)?,
            height: side(from.height)?,
            width: side(from.width)?,
        })
    }

    fn unit(&mut self, unit: &Unit, x: Source, target: Option<Place>) -> Result<Place> {
        let node = unit.node;
        let Source { place, owned } = x;
        if in_place(node) {
            let y = match target {
                Some(target) => target,
                None if owned => place,
                None => self.new_map(place.shape),
            };
            let op = self.pointwise(node);
            self.push(op, (y != place).then_some(place), y);
            return Ok(y);
        }
        let made = Self::after(node, place.shape)?;
        if let (Node::Split { parts }, None, true) = (node, target, owned)
            && stays(parts, place.shape)?
        {
            self.split(parts, x, place)?;
            return Ok(place);
        }
        let y = match target {
            Some(target) => target,
            None => self.new_map(made),
        };
        match node {
            Node::Conv(conv) => self.conv(conv, unit, place, y),
            Node::Residual(conv) => {
                let hidden = self.new_map(Shape {
                    channels: conv.out,
                    ..made
                });
                let bias = Some(self.values(&conv.bias_name()));
                let inside = [Direction::Plain, Direction::Adjoint];
                let geometry = conv.geometry();
                let [plain, adjoint] =
                    inside.map(|direction| self.kernel(conv, geometry, direction, place.shape));
                let op = |(kernel, maps), bias, activation| Op::Conv {
                    kernel,
                    maps,
                    bias,
                    scale: T::ONE,
                    activation,
                    shift: None,
                };
                self.push(op(plain, bias, Activation::Relu), Some(place), hidden);
                self.push(op(adjoint, None, Activation::None), Some(hidden), y);
                self.push(Op::Reflect, Some(place), y);
            }
            &Node::Pool { kind, size, stride } => {
                self.push(Op::Pool { kind, size, stride }, Some(place), y);
            }
            &Node::PixelShuffle { factor } => self.push(Op::Shuffle(factor), Some(place), y),
            &Node::PixelUnshuffle { factor } => self.push(Op::Unshuffle(factor), Some(place), y),
            &Node::Upsample { kind, factor } => {
                let op = match kind {
                    Resampling::Nearest => Op::Nearest(factor),
                    Resampling::Bilinear => Op::Bilinear {
                        factor,
                        rows: ops::between(place.shape.height, factor),
                        columns: ops::between(place.shape.width, factor),
                    },
                };
                self.push(op, Some(place), y);
            }
            Node::Concat { branches, scale } => self.concat(branches, *scale, x, y)?,
            Node::Split { parts } => self.split(parts, x, y)?,
            Node::Sum { name, branches, .. } => {
                let mix = self.values(&mix_name(name));
                for (at, (branch, &weight)) in branches.iter().zip(mix.iter()).enumerate() {
                    let owned = owned && at + 1 == branches.len();
                    let x = Source { place, owned };
                    match (at, branch.as_slice()) {
                        (0, []) => self.push(Op::Scale(weight), Some(place), y),
                        (0, branch) => {
                            self.list(
                                branch,
                                Source {
                                    place,
                                    owned: false,
                                },
                                Some(y),
                            )?;
                            self.push(Op::Scale(weight), None, y);
                        }
                        (_, branch) => {
                            let term = self.list(branch, x, None)?;
                            self.push(Op::AddScaled(weight), Some(term), y);
                        }
                    }
                }
            }
            Node::Prescaled { name, branch } => {
                let mix = self.values(&mix_name(name));
                let scaled = self.new_map(place.shape);
                self.push(Op::Scale(mix[0]), Some(place), scaled);
                let scaled = Source {
                    place: scaled,
                    owned: true,
                };
                self.list(branch, scaled, Some(y))?;
                self.push(Op::Join(mix[1]), Some(place), y);
            }
            _ => {
                return Err(Error::node(
                    label(node),
                    "belongs to a training, expected none",
                ));
            }
        }
        Ok(y)
    }

    fn conv(&mut self, conv: &Conv, unit: &Unit, x: Place, y: Place) {
        let direction = match conv.transposed {
            true => Direction::Adjoint,
            false => Direction::Plain,
        };
        let mut geometry = conv.geometry();
        if geometry.padding == 0 {
            // nothing lies beyond the border
            geometry.wrap = kernels::Wrap::Zeros;
        }
        let mut x = x;
        let sides = [x.shape.height, x.shape.width];
        if geometry.wrap == kernels::Wrap::Circular && !geometry.closes(sides) {
            geometry.wrap = kernels::Wrap::Zeros;
            let by = std::mem::take(&mut geometry.padding);
            let wrapped = self.new_map(Shape {
                height: x.shape.height + 2 * by,
                width: x.shape.width + 2 * by,
                ..x.shape
            });
            self.push(Op::Wrap(by), Some(x), wrapped);
            x = wrapped;
        }
        let fine = if conv.transposed { y.shape } else { x.shape };
        let (kernel, maps) = self.kernel(conv, geometry, direction, fine);
        let named = |name: &Option<String>| name.as_ref().map(|name| self.values(name));
        let op = Op::Conv {
            kernel,
            maps,
            bias: named(&unit.bias),
            scale: T::from(conv.scale),
            activation: unit.activation,
            shift: named(&unit.shift),
        };
        self.push(op, Some(x), y);
    }

    /// A kernel packed for a direction, and its maps.
    fn kernel(
        &mut self,
        conv: &Conv,
        geometry: kernels::Conv,
        direction: Direction,
        fine: Shape,
    ) -> (Arc<Packed<T>>, kernels::Maps) {
        let maps = geometry.maps(1, [fine.height, fine.width]);
        let name = conv.weight_name();
        let network = self.network;
        let packed = || {
            let values = network.tensors[&name].iter().map(|&v| T::from(v));
            Arc::new(Packed::new(
                &geometry,
                direction,
                &values.collect::<Vec<_>>(),
            ))
        };
        let key = (name.clone(), direction == Direction::Adjoint);
        (self.kernels.entry(key).or_insert_with(packed).clone(), maps)
    }

    /// Every branch writes its own channels of y.
    fn concat(&mut self, branches: &[Vec<Node>], scale: f32, x: Source, y: Place) -> Result<()> {
        let by = T::from(scale);
        let mut first = 0;
        for (at, branch) in branches.iter().enumerate() {
            let channels = crate::node::flow(branch, x.place.shape.channels)?;
            let part = y.part(first, channels);
            first += channels;
            let owned = x.owned && at + 1 == branches.len();
            if branch.is_empty() {
                self.push(Op::Scale(by), Some(x.place), part);
                continue;
            }
            self.list(branch, Source { owned, ..x }, Some(part))?;
            match self.steps.last_mut() {
                // (sum + bias)·1·by, and a positive factor changes no order of numbers
                Some(Step {
                    op:
                        Op::Conv {
                            scale,
                            activation,
                            shift: None,
                            ..
                        },
                    y,
                    ..
                }) if *y == part
                    && *scale == T::ONE
                    && (*activation == Activation::None || by > T::ZERO) =>
                {
                    *scale = by;
                }
                _ if by == T::ONE => {}
                _ => self.push(Op::Scale(by), None, part),
            }
        }
        Ok(())
    }

    /// Every part reads and writes its own channels.
    fn split(&mut self, parts: &[Part], x: Source, y: Place) -> Result<()> {
        let (mut read, mut made) = (0, 0);
        for part in parts {
            let channels = crate::node::flow(&part.nodes, part.channels)?;
            let from = Source {
                place: x.place.part(read, part.channels),
                ..x
            };
            self.list(&part.nodes, from, Some(y.part(made, channels)))?;
            read += part.channels;
            made += channels;
        }
        Ok(())
    }
}

/// Whether parts can stay where they are: all keep their shape, and none is made in one step, which
/// would read where it writes.
fn stays(parts: &[Part], from: Shape) -> Result<bool> {
    for part in parts {
        let channels = crate::node::flow(&part.nodes, part.channels)?;
        let makers = part.nodes.iter().filter(|node| !in_place(node)).count();
        let keeps = |side| {
            let after = part
                .nodes
                .iter()
                .try_fold(side, |side, node| side_after(node, side));
            after == Some(side)
        };
        if channels != part.channels || makers == 1 || !keeps(from.height) || !keeps(from.width) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Values in the precision of the pass.
fn wide<T: Number, C: FromIterator<T>>(values: &[f32]) -> C {
    values.iter().map(|&v| T::from(v)).collect()
}
