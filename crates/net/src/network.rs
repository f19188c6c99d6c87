//! The baked network: plain f32 weights, its audited Lipschitz constant, its logits.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{DType, Device, Tensor, TensorData};
use certiseg_cert::{
    self as cert, Audit, ClassHead, Grid, Image, LayerBound, Margins, Norm, Premises,
};

use crate::error::{Error, Result};
use crate::infer::{Inference, Pool};
use crate::node::{
    Conv, Node, Spread, Weights, Wrap, check_size, flow, forward, head, mix_name, normal_name, on,
    shift_name, slots, walk,
};
use crate::rounding::Rounding;

/// A network with plain weights: what is audited, stored, certified and attacked.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The forward pass.
    pub nodes: Vec<Node>,
    /// Effective values by name, see [`slots`].
    pub tensors: BTreeMap<String, Vec<f32>>,
}

/// Logits of one picture.
pub struct Logits {
    /// Classes, height, width.
    pub grid: Grid,
    /// (K, H, W).
    pub values: Vec<f32>,
    /// Bound on |computed − exact| of every entry.
    pub eta: f64,
}

impl Network {
    /// Checks that every tensor is there, of the right length and finite.
    ///
    /// # Errors
    /// [`Error::Tensor`] naming the tensor and what is wrong with it.
    pub fn new(nodes: Vec<Node>, tensors: BTreeMap<String, Vec<f32>>) -> Result<Self> {
        let mut known = BTreeSet::new();
        for slot in slots(&nodes) {
            let (name, expected) = (slot.name, slot.shape.iter().product::<usize>());
            let Some(values) = tensors.get(&name) else {
                return Err(Error::tensor(name, "missing".into()));
            };
            if values.len() != expected {
                let shape = slot.shape;
                let what = format!("{} values, expected {expected} {shape:?}", values.len());
                return Err(Error::tensor(name, what));
            }
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(Error::tensor(name, format!("{} at index {at}", values[at])));
            }
            if let Some(name) = known.replace(name) {
                return Err(Error::tensor(
                    name,
                    "two nodes have a tensor of this name".into(),
                ));
            }
        }
        if let Some(extra) = tensors.keys().find(|name| !known.contains(*name)) {
            return Err(Error::tensor(extra.clone(), "no node reads it".into()));
        }
        let mut plain = Ok(());
        walk(&nodes, &mut |node| {
            if let Node::BatchNorm { name, .. } = node {
                let what = "batch normalisation is part of a training, expected it to be folded";
                plain = Err(Error::node(name, what));
            }
        });
        plain?;
        Ok(Self { nodes, tensors })
    }

    /// Number of classes: channels of the scores.
    pub fn classes(&self) -> usize {
        // checked when the nodes were
        flow(&self.nodes, 3).unwrap_or(0)
    }

    /// Number of stored weights.
    pub fn weights(&self) -> usize {
        self.tensors.values().map(Vec::len).sum()
    }

    /// Rigorous upper bound of the joint l2 Lipschitz constant from pictures in [0, 1] to logits,
    /// computed from the weights, for pictures of the given size.
    ///
    /// # Errors
    /// [`Error::ImageSize`]; [`Error::Cert`] where a layer has no sound bound at this size.
    pub fn audit(&self, height: usize, width: usize) -> Result<Audit> {
        self.audit_with(height, width, &mut |_| {})
    }

    /// As [`Network::audit`]; `seen` is shown each layer as soon as its bound is known.
    ///
    /// # Errors
    /// As [`Network::audit`].
    pub fn audit_with(
        &self,
        height: usize,
        width: usize,
        seen: &mut dyn FnMut(&LayerBound),
    ) -> Result<Audit> {
        check_size(&self.nodes, height, width)?;
        Ok(cert::audit_with(&self.description(), height, width, seen)?)
    }

    /// What the judge reads of the network.
    pub fn description(&self) -> Vec<cert::Layer<'_>> {
        self.layers(&self.nodes)
    }

    fn layers<'a>(&'a self, nodes: &'a [Node]) -> Vec<cert::Layer<'a>> {
        nodes.iter().map(|node| self.layer(node)).collect()
    }

    /// What the judge reads of a node.
    fn layer<'a>(&'a self, node: &'a Node) -> cert::Layer<'a> {
        let tensor = |name: String| -> &'a [f32] { &self.tensors[&name] };
        match node {
            Node::Normalize { std, .. } => cert::Layer::Normalize { std },
            // a training-only node was refused when the network was made
            Node::Shift { .. } | Node::BatchNorm { .. } => cert::Layer::Shift,
            Node::Center { .. } => cert::Layer::Center,
            Node::MaxMin => cert::Layer::MaxMin,
            Node::GroupSort { size } => cert::Layer::GroupSort { size: *size },
            Node::HouseHolder { name, .. } => cert::Layer::HouseHolder {
                name,
                normal: tensor(normal_name(name)),
            },
            Node::Abs | Node::Relu => cert::Layer::Pointwise,
            Node::ImageMean => cert::Layer::ImageMean,
            Node::ImageMax { spread } => cert::Layer::ImageMax {
                spread: match spread {
                    Spread::Full => cert::Spread::Full,
                    Spread::Even => cert::Spread::Even,
                },
            },
            Node::Pool { size, stride, .. } => cert::Layer::Pool {
                size: *size,
                stride: *stride,
            },
            Node::PixelShuffle { factor } => cert::Layer::PixelShuffle { factor: *factor },
            Node::PixelUnshuffle { factor } => cert::Layer::PixelUnshuffle { factor: *factor },
            Node::Upsample { factor, .. } => cert::Layer::Upsample { factor: *factor },
            Node::Concat { branches, scale } => cert::Layer::Concat {
                branches: branches.iter().map(|b| self.layers(b)).collect(),
                scale: *scale,
            },
            Node::Split { parts } => cert::Layer::Split {
                parts: parts
                    .iter()
                    .map(|part| (part.channels, self.layers(&part.nodes)))
                    .collect(),
            },
            Node::Sum { name, branches, .. } => cert::Layer::Sum {
                name,
                weights: tensor(mix_name(name)),
                branches: branches.iter().map(|b| self.layers(b)).collect(),
            },
            Node::Prescaled { name, branch } => {
                let mix = tensor(mix_name(name));
                cert::Layer::Prescaled {
                    name,
                    scale: mix[0],
                    factor: mix[1],
                    branch: self.layers(branch),
                }
            }
            Node::Residual(conv) => cert::Layer::Residual {
                name: &conv.name,
                conv: judged(conv, tensor(conv.weight_name())),
                padding: conv.padding,
            },
            Node::Conv(conv) => cert::Layer::Conv {
                name: &conv.name,
                conv: judged(conv, tensor(conv.weight_name())),
                padding: conv.padding,
                wrap: match conv.wrap {
                    Wrap::Zeros => cert::Wrap::Zeros,
                    Wrap::Circular => cert::Wrap::Circular,
                },
                scale: conv.scale,
            },
        }
    }

    /// The rows of a last layer that mixes the classes pixel by pixel, and the constant of all
    /// that comes before it, times its scale; `None` where the network ends otherwise.
    fn head(&self, height: usize, width: usize) -> Result<Option<(ClassHead, f64)>> {
        let Some((conv, before)) = head(&self.nodes) else {
            return Ok(None);
        };
        let features = cert::audit(&self.layers(before), height, width)?;
        let constant = features.lipschitz * f64::from(conv.scale.abs());
        let rows = self.tensors[&conv.weight_name()].clone();
        let head = ClassHead::new(conv.out, rows)?;
        Ok(Some((head, constant.next_up())))
    }

    /// The weights on a device in a precision.
    pub fn on_device(&self, device: &Device, dtype: DType) -> OnDevice {
        OnDevice {
            nodes: self.nodes.clone(),
            weights: Weights::new(&self.nodes, &self.tensors, device, dtype, |x| x),
            device: device.clone(),
            dtype,
        }
    }

    /// The network prepared for certified logits of pictures of one size: audited there, with f32
    /// and f64 passes on the CPU ([`Inference`]).
    ///
    /// # Errors
    /// Those of [`Network::audit`].
    pub fn certifier(&self, height: usize, width: usize) -> Result<Certifier> {
        let audit = self.audit(height, width)?;
        let head = self.head(height, width)?;
        let constant = head.as_ref().map_or(audit.lipschitz, |(_, l)| *l);
        Ok(Certifier {
            constant,
            head: head.map(|(head, _)| head),
            rounding: Rounding::new(self, &audit),
            audit,
            classes: self.classes(),
            single: Pool::new(Inference::new(self, height, width)?),
            double: Pool::new(Inference::new(self, height, width)?),
            size: [height, width],
        })
    }
}

/// What the judge reads of a convolution with this kernel.
pub(crate) fn judged<'a>(conv: &Conv, kernel: &'a [f32]) -> cert::Conv<'a> {
    cert::Conv {
        kernel,
        out_channels: conv.out,
        in_channels: conv.input,
        groups: conv.groups,
        kernel_size: conv.kernel,
        stride: conv.stride,
        dilation: conv.dilation,
        transposed: conv.transposed,
    }
}

/// A network whose weights lie on a device.
pub struct OnDevice {
    nodes: Vec<Node>,
    weights: Weights,
    device: Device,
    dtype: DType,
}

impl OnDevice {
    /// Logits (B, K, H, W) of a batch (B, 3, H, W) on the same device and in the same precision.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = &self.weights.channels;
        let mut shift = |node: &Node, x: Tensor<4>| match node {
            Node::Shift { name, .. } => x + channels[&shift_name(name)].clone(),
            // no other is left in a baked network
            _ => x,
        };
        forward(&self.nodes, x, &self.weights, &mut shift)
    }

    /// A picture (3, H, W) in [0, 1] as a batch of one.
    ///
    /// # Errors
    /// [`Error::ImageSize`], [`Error::ImageLength`].
    pub fn picture(&self, image: &[f32], height: usize, width: usize) -> Result<Tensor<4>> {
        check_size(&self.nodes, height, width)?;
        if image.len() != 3 * height * width {
            let [got, expected] = [image.len(), 3 * height * width];
            return Err(Error::ImageLength { got, expected });
        }
        let data = TensorData::new(image.to_vec(), [1, 3, height, width]);
        Ok(Tensor::from_data(data, on(&self.device, self.dtype)))
    }
}

/// A network that gives logits with a bound on their error, for pictures of one size.
pub struct Certifier {
    audit: Audit,
    rounding: Rounding,
    head: Option<ClassHead>,
    /// Of the features before the head, or of all.
    constant: f64,
    classes: usize,
    single: Pool<f32>,
    double: Pool<f64>,
    size: [usize; 2],
}

impl Certifier {
    /// Where [`Logits::eta`] comes from, for head rows.
    pub const ETA_SOURCE: &str = "measured against an f64 pass of the same picture, whose own error is bounded from the weights";

    /// The audited constant at the size of the pictures.
    pub fn lipschitz(&self) -> f64 {
        self.audit.lipschitz
    }

    /// What certificates of logits with this error rest on: with a head the constant is that of the
    /// features.
    ///
    /// # Errors
    /// Those of the judge.
    pub fn premises(&self, eta: f64) -> Result<Premises> {
        Ok(Premises::new(Norm::L2, self.constant, eta)?)
    }

    /// Margins under [`Certifier::premises`], converted or not: by class pairs where the rows of
    /// the head are known.
    ///
    /// # Errors
    /// Those of the judge.
    pub fn margins<'a>(&self, image: &Image<'a>, premises: &Premises) -> Result<Margins<'a>> {
        Ok(match &self.head {
            Some(head) => cert::margins_with_head(image, premises, head)?,
            None => cert::margins(image, premises)?,
        })
    }

    /// Where the constant of [`Certifier::premises`] comes from, for head rows.
    pub fn lipschitz_source(&self) -> String {
        match self.head {
            Some(_) => format!(
                "audited from the weights; of the features, with the rows of the head; of all logits together {}",
                cert::round_up(self.audit.lipschitz, 6)
            ),
            None => "audited from the weights".to_owned(),
        }
    }

    /// f32 logits of one picture (3, H, W) in [0, 1]. `eta` is their largest difference to an f64
    /// pass on this very picture, plus a rigorous bound on the error of that pass.
    ///
    /// # Errors
    /// [`Error::ImageLength`].
    pub fn logits(&self, image: &[f32]) -> Result<Logits> {
        let [height, width] = self.size;
        let values = self
            .single
            .with(|pass| pass.forward(image).map(<[f32]>::to_vec))?;
        let measured = self.double.with(|pass| {
            let pairs = values.iter().zip(pass.forward(image)?);
            let differences = pairs.map(|(&f, &e)| (f64::from(f) - e).abs());
            // nothing is known where either is no number; the judge refuses such logits anyway
            let known = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
            Ok::<_, Error>(differences.map(known).fold(0.0, f64::max))
        })?;
        let squares = image.iter().map(|&x| f64::from(x) * f64::from(x));
        // a sum of n squares is off by n roundoffs at most
        let norm = squares.sum::<f64>().sqrt() * (1.0 + image.len() as f64 * f64::EPSILON);
        let derived = self.rounding.f64_error(self.size, norm);
        Ok(Logits {
            grid: Grid::new(self.classes, height, width)?,
            values,
            // beyond any f32 there is nothing to certify, and the judge wants a finite number
            eta: (measured + derived).next_up().min(f64::from(f32::MAX)),
        })
    }

    /// Class per pixel by the f64 pass, ties to the lowest class: what certificates speak of.
    ///
    /// # Errors
    /// [`Error::ImageLength`].
    pub fn classes(&self, image: &[f32]) -> Result<Vec<u8>> {
        let pixels = self.size[0] * self.size[1];
        let classes = self.classes.min(256) as u16;
        self.double.with(|pass| {
            let logits = pass.forward(image)?;
            let best = |pixel: usize| {
                let of = |class: u8| logits[usize::from(class) * pixels + pixel];
                (1..classes).fold(0, |best, class| match of(class as u8) > of(best) {
                    true => class as u8,
                    false => best,
                })
            };
            Ok((0..pixels).map(best).collect())
        })
    }
}

/// The values of a tensor, widened to f64.
///
/// # Errors
/// [`Error::Device`] with the device's own words.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>> {
    let data = tensor.try_into_data().map_err(Error::device)?;
    data.convert::<f64>().try_into_vec().map_err(Error::device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of one 1x1 convolution, 3 channels in and out.
    fn head_of(transposed: bool, scale: f32) -> Option<(ClassHead, f64)> {
        let conv = Conv {
            transposed,
            scale,
            ..Conv::same("head", 3, 3, 1)
        };
        let weight = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.0, 1.0];
        let tensors = BTreeMap::from([(conv.weight_name(), weight)]);
        let network = Network::new(vec![Node::Conv(conv)], tensors).unwrap();
        network.head(4, 4).unwrap()
    }

    #[test]
    fn the_head_is_the_last_layer_and_its_scale_is_in_the_constant() {
        let (head, constant) = head_of(false, 0.5).unwrap();
        assert_eq!(head.classes(), 3);
        assert!((0.5..0.5 + 1e-9).contains(&constant), "{constant}");
        assert!(head_of(true, 1.0).is_none(), "its rows lie in columns");
        assert!(head_of(false, 0.0).is_none());
    }
}
