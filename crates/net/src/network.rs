//! The baked network: plain f32 weights, its audited Lipschitz constant, its logits.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use certiseg_cert::{self as cert, Audit, Grid};

use crate::error::{Error, Result};
use crate::node::{Conv, Node, Weights, Wrap, check_size, forward, on, per_channel, walk};

/// A network with plain weights: what is audited, stored, certified and attacked.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The forward pass.
    pub nodes: Vec<Node>,
    /// NAME.weight `[out, in, k, k]` (transposed: `[in, out, k, k]`), NAME.bias and NAME.shift, one value per channel.
    pub tensors: BTreeMap<String, Vec<f32>>,
}

/// Logits of one picture.
pub struct Logits {
    /// Classes, height, width.
    pub grid: Grid,
    /// (K, H, W).
    pub values: Vec<f32>,
    /// Bound on |computed − exact| of every entry, as *measured*: twice the largest difference to
    /// the same forward pass in f64, whose own error is about 2⁻²⁹ of the f32 one. 0: not measured.
    pub eta: f64,
}

impl Network {
    /// Checks that every tensor is there, of the right length and finite.
    ///
    /// # Errors
    /// [`Error::Tensor`] naming the tensor and what is wrong with it.
    pub fn new(nodes: Vec<Node>, tensors: BTreeMap<String, Vec<f32>>) -> Result<Self> {
        for (name, shape) in shapes(&nodes) {
            let expected: usize = shape.iter().product();
            let Some(values) = tensors.get(&name) else {
                return Err(Error::tensor(name, "missing".into()));
            };
            if values.len() != expected {
                let what = format!("{} values, expected {expected} {shape:?}", values.len());
                return Err(Error::tensor(name, what));
            }
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(Error::tensor(name, format!("{} at index {at}", values[at])));
            }
        }
        let network = Self { nodes, tensors };
        Ok(network)
    }

    /// Number of classes: channels of the last convolution.
    pub fn classes(&self) -> usize {
        let outputs = self.nodes.iter().rev().find_map(|node| match node {
            Node::Conv(conv) => Some(conv.out),
            _ => None,
        });
        outputs.unwrap_or(0)
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
        check_size(&self.nodes, height, width)?;
        Ok(cert::audit(&self.layers(&self.nodes), height, width)?)
    }

    fn layers<'a>(&'a self, nodes: &'a [Node]) -> Vec<cert::Layer<'a>> {
        nodes.iter().map(|node| self.layer(node)).collect()
    }

    fn layer<'a>(&'a self, node: &'a Node) -> cert::Layer<'a> {
        match node {
            Node::Normalize { std, .. } => cert::Layer::Normalize { std },
            Node::Shift { .. } => cert::Layer::Shift,
            Node::MaxMin => cert::Layer::MaxMin,
            Node::Concat { branches, scale } => cert::Layer::Concat {
                branches: branches.iter().map(|b| self.layers(b)).collect(),
                scale: *scale,
            },
            Node::Conv(conv) => cert::Layer::Conv {
                name: &conv.name,
                conv: cert::Conv {
                    kernel: &self.tensors[&conv.weight_name()],
                    out_channels: conv.out,
                    in_channels: conv.input,
                    groups: 1,
                    kernel_size: conv.kernel,
                    stride: conv.stride,
                    dilation: conv.dilation,
                    transposed: conv.transposed,
                },
                padding: conv.padding,
                wrap: match conv.wrap {
                    Wrap::Zeros => cert::Wrap::Zeros,
                    Wrap::Circular => cert::Wrap::Circular,
                },
                scale: conv.scale,
            },
        }
    }

    /// The weights on a device in a precision.
    pub fn on_device(&self, device: &Device, dtype: DType) -> OnDevice {
        let (mut kernels, mut channels) = (BTreeMap::new(), BTreeMap::new());
        for (name, shape) in shapes(&self.nodes) {
            let values = &self.tensors[&name];
            match <[usize; 4]>::try_from(shape) {
                Ok(shape) => {
                    let data = TensorData::new(values.clone(), shape);
                    let kernel = Tensor::from_data(data, on(device, dtype));
                    kernels.insert(name, kernel);
                }
                Err(_) => {
                    channels.insert(name, per_channel(values, device, dtype));
                }
            }
        }
        OnDevice {
            nodes: self.nodes.clone(),
            classes: self.classes(),
            weights: Weights { kernels, channels },
            device: device.clone(),
            dtype,
        }
    }

    /// f32 and f64 weights on the CPU, for certified logits.
    pub fn certifier(&self) -> Certifier {
        let device = Device::flex();
        Certifier {
            single: self.on_device(&device, DType::F32),
            double: self.on_device(&device, DType::F64),
        }
    }
}

/// Names and shapes of the tensors of a node list, in order.
pub fn shapes(nodes: &[Node]) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    walk(nodes, &mut |node| match node {
        Node::Conv(conv) => {
            shapes.push((conv.weight_name(), conv.aoc().weight_shape().to_vec()));
            if conv.bias {
                shapes.push((conv.bias_name(), vec![conv.out]));
            }
        }
        Node::Shift { name, channels } => shapes.push((shift_name(name), vec![*channels])),
        Node::Normalize { .. } | Node::MaxMin | Node::Concat { .. } => {}
    });
    shapes
}

/// Name of the shift tensor.
pub fn shift_name(name: &str) -> String {
    format!("{name}.shift")
}

/// A network whose weights lie on a device.
pub struct OnDevice {
    nodes: Vec<Node>,
    classes: usize,
    weights: Weights,
    device: Device,
    dtype: DType,
}

impl OnDevice {
    /// Logits (B, K, H, W) of a batch (B, 3, H, W) on the same device and in the same precision.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = &self.weights.channels;
        let mut shift = |name: &str, _: &Tensor<4>| channels[&shift_name(name)].clone();
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

    /// Logits (K, H, W) of one picture, widened to f64.
    ///
    /// # Errors
    /// As [`OnDevice::picture`]; [`Error::Device`] where the device fails to give the result back.
    fn logits(&self, image: &[f32], height: usize, width: usize) -> Result<Vec<f64>> {
        let logits = self.forward(self.picture(image, height, width)?);
        floats(logits)
    }
}

/// A network that gives logits with a measured error.
pub struct Certifier {
    single: OnDevice,
    double: OnDevice,
}

impl Certifier {
    /// f32 logits of one picture (3, H, W) in [0, 1], with `eta` measured on this very picture.
    ///
    /// # Errors
    /// As [`OnDevice::picture`]; [`Error::Device`].
    pub fn logits(&self, image: &[f32], height: usize, width: usize) -> Result<Logits> {
        let mut logits = self.prediction(image, height, width)?;
        let exact = self.double.logits(image, height, width)?;
        let differences = logits
            .values
            .iter()
            .zip(&exact)
            .map(|(&f, e)| (f64::from(f) - e).abs());
        // NaN loses every max: it stays in the logits, where the judge refuses it
        logits.eta = 2.0 * differences.fold(0.0, f64::max);
        Ok(logits)
    }

    /// f32 logits alone, `eta` 0: for scoring pictures, not for certificates.
    ///
    /// # Errors
    /// As [`OnDevice::picture`]; [`Error::Device`].
    pub fn prediction(&self, image: &[f32], height: usize, width: usize) -> Result<Logits> {
        let values = self.single.logits(image, height, width)?;
        Ok(Logits {
            grid: Grid::new(self.single.classes, height, width)?,
            // widened from f32 above: exact
            values: values.into_iter().map(|v| v as f32).collect(),
            eta: 0.0,
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

/// Folds every shift that directly follows a convolution into a bias of that convolution: exact,
/// since the shift is added to the convolution's output.
pub fn fold_shifts(nodes: Vec<Node>, tensors: &mut BTreeMap<String, Vec<f32>>) -> Vec<Node> {
    let mut folded: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let node = match node {
            Node::Concat { branches, scale } => Node::Concat {
                branches: branches
                    .into_iter()
                    .map(|b| fold_shifts(b, tensors))
                    .collect(),
                scale,
            },
            other => other,
        };
        match (folded.last_mut(), node) {
            (Some(Node::Conv(conv)), Node::Shift { name, .. }) if foldable(conv) => {
                let shift = tensors.remove(&shift_name(&name)).unwrap_or_default();
                tensors.insert(conv.bias_name(), shift);
                conv.bias = true;
            }
            (_, node) => folded.push(node),
        }
    }
    folded
}

/// A scaled convolution would scale the shift too; a second bias would need a rounded sum.
fn foldable(conv: &Conv) -> bool {
    conv.scale == 1.0 && !conv.bias
}
