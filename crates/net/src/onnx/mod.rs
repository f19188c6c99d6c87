//! Export of a baked network to ONNX: opset 17, plain operators that onnxruntime runs and onnx2torch
//! converts. (It has converters for neither later versions of `Split` nor `SpaceToDepth`.)
//!
//! Input `image` (N, 3, H, W), f32 in [0, 1]; output `logits` (N, K, H, W). N, H and W are free, but
//! a graph does not check sizes: it is the network for those that [`crate::node::check_size`] passes.
//! The operators follow the forward pass one by one, so that both round alike up to the order of sums.
//! The file holds no Lipschitz constant: a bound comes from an audit of the weights.

mod proto;

use crate::error::{Error, Result};
use crate::network::Network;
use crate::node::{
    Conv, Node, Pooling, ROOT, Resampling, Spread, Wrap, check_nodes, flow, mix_name, normal_name,
    shift_name,
};
use proto::Attribute::{self, Int, Ints, Text};
use proto::Message;

/// Version of the file format, the one that came with these operators.
const IR_VERSION: i64 = 8;

/// Version of the operators.
const OPSET: i64 = 17;

/// The bytes of an ONNX file.
///
/// # Errors
/// [`Error::Node`] where the nodes are no network; [`Error::Unsupported`] for a batch norm, which
/// baked networks do not have.
pub fn export(network: &Network) -> Result<Vec<u8>> {
    check_nodes(&network.nodes)?;
    let classes = flow(&network.nodes, 3)?;
    let mut graph = Graph {
        network,
        message: Message::default().bytes(2, "certiseg"),
        values: 0,
    };
    let last = graph.chain(&network.nodes, "image", 3)?;
    let logits = proto::node("Identity", &[&last], &["logits".into()], &[]);
    let message = graph.message.bytes(1, logits);
    let message = message.bytes(11, proto::maps("image", 3, "RGB in [0, 1]"));
    let message = message.bytes(12, proto::maps("logits", classes, "one map per class"));
    Ok(proto::model(message, IR_VERSION, OPSET).into_bytes())
}

/// A `GraphProto` under way. Values are known by name.
struct Graph<'a> {
    network: &'a Network,
    message: Message,
    values: usize,
}

impl Graph<'_> {
    /// The output of a node list that reads the value `x` of `channels` channels.
    fn chain(&mut self, nodes: &[Node], x: &str, mut channels: usize) -> Result<String> {
        let mut x = x.to_owned();
        for node in nodes {
            x = self.node(node, &x, channels)?;
            channels = flow(std::slice::from_ref(node), channels)?;
        }
        Ok(x)
    }

    fn node(&mut self, node: &Node, x: &str, channels: usize) -> Result<String> {
        Ok(match node {
            Node::Normalize { mean, std } => {
                let [mean, std] = [mean, std].map(|v| self.floats(&[1, v.len(), 1, 1], v));
                let centred = self.op("Sub", &[x, &mean]);
                self.op("Div", &[&centred, &std])
            }
            Node::Conv(conv) => self.conv(conv, x),
            Node::Residual(conv) => {
                let hidden = self.conv(conv, x);
                let hidden = self.op("Relu", &[&hidden]);
                // the adjoint reads the same kernel: [h, c/g, k, k] is [in, out/g, k, k] of it
                let kernel = conv.weight_name();
                let back = self.op_with("ConvTranspose", &[&hidden, &kernel], &window(conv));
                let twice = self.times(&back, 2.0);
                self.op("Sub", &[x, &twice])
            }
            Node::Shift { name, .. } => {
                let shift = self.per_channel(&shift_name(name));
                self.op("Add", &[x, &shift])
            }
            Node::Center { name, .. } => {
                let shift = self.per_channel(&shift_name(name));
                let mean = self.image_mean(x);
                let centred = self.op("Sub", &[x, &mean]);
                self.op("Add", &[&centred, &shift])
            }
            Node::BatchNorm { name, .. } => {
                let what = format!("exporting the batch norm {name}");
                return Err(Error::unsupported(what, "bake the network first"));
            }
            Node::MaxMin => {
                let halves = self.split(x, 1, &[channels / 2; 2]);
                let max = self.op("Max", &[&halves[0], &halves[1]]);
                let min = self.op("Min", &[&halves[0], &halves[1]]);
                self.concat(&[max, min], 1)
            }
            Node::GroupSort { size } => self.group_sort(x, channels, *size),
            Node::HouseHolder { name, .. } => {
                let normal = self.per_channel(&normal_name(name));
                let product = self.op("Mul", &[x, &normal]);
                let halves = self.split(&product, 1, &[channels / 2; 2]);
                let inside = self.op("Add", &[&halves[0], &halves[1]]);
                let inside = self.op("Relu", &[&inside]);
                let inside = self.times(&inside, 2.0);
                let inside = self.concat(&[inside.clone(), inside], 1);
                let along = self.op("Mul", &[&inside, &normal]);
                self.op("Sub", &[x, &along])
            }
            Node::Abs => self.op("Abs", &[x]),
            Node::Relu => self.op("Relu", &[x]),
            Node::Pool { kind, size, stride } => self.pool(x, *kind, *size, *stride),
            Node::ImageMean => {
                let mean = self.image_mean(x);
                let shape = self.op("Shape", &[x]);
                self.op("Expand", &[&mean, &shape])
            }
            Node::ImageMax { spread } => {
                let axes = [("axes", Ints(vec![2, 3]))];
                let most = self.op_with("ReduceMax", &[x], &axes);
                let shape = self.op("Shape", &[x]);
                let most = match spread {
                    Spread::Full => most,
                    Spread::Even => {
                        // the l2 norm of ones is the root of their number
                        let one = self.floats(&[1, 1, 1, 1], &[1.0]);
                        let ones = self.op("Expand", &[&one, &shape]);
                        let root = self.op_with("ReduceL2", &[&ones], &axes);
                        self.op("Div", &[&most, &root])
                    }
                };
                self.op("Expand", &[&most, &shape])
            }
            Node::PixelShuffle { factor } => {
                let attributes = [("blocksize", Int(*factor as i64)), ("mode", Text("CRD"))];
                self.op_with("DepthToSpace", &[x], &attributes)
            }
            Node::PixelUnshuffle { factor } => self.unshuffle(x, *factor as i64),
            Node::Upsample { kind, factor } => {
                let scales = self.floats(&[4], &[1.0, 1.0, *factor as f32, *factor as f32]);
                let (mode, place) = match kind {
                    Resampling::Nearest => ("nearest", "asymmetric"),
                    Resampling::Bilinear => ("linear", "half_pixel"),
                };
                let attributes = [
                    ("mode", Text(mode)),
                    ("coordinate_transformation_mode", Text(place)),
                    ("nearest_mode", Text("floor")),
                ];
                let enlarged = self.op_with("Resize", &[x, "", &scales], &attributes);
                let factor = self.floats(&[], &[*factor as f32]);
                self.op("Div", &[&enlarged, &factor])
            }
            Node::Concat { branches, scale } => {
                let outputs = branches.iter().map(|b| self.chain(b, x, channels));
                let outputs: Vec<_> = outputs.collect::<Result<_>>()?;
                let all = self.concat(&outputs, 1);
                self.times(&all, *scale)
            }
            Node::Split { parts } => {
                let lengths: Vec<_> = parts.iter().map(|part| part.channels).collect();
                let inputs = self.split(x, 1, &lengths);
                let outputs = parts.iter().zip(&inputs);
                let outputs = outputs.map(|(p, input)| self.chain(&p.nodes, input, p.channels));
                let outputs: Vec<_> = outputs.collect::<Result<_>>()?;
                self.concat(&outputs, 1)
            }
            Node::Sum { name, branches, .. } => {
                let weights = &self.network.tensors[&mix_name(name)];
                let terms = branches.iter().zip(weights).map(|(branch, &weight)| {
                    let output = self.chain(branch, x, channels)?;
                    Ok(self.times(&output, weight))
                });
                let terms: Vec<_> = terms.collect::<Result<_>>()?;
                let sum = terms
                    .into_iter()
                    .reduce(|sum, term| self.op("Add", &[&sum, &term]));
                // a sum of no branches was refused when the nodes were checked
                sum.unwrap_or_else(|| x.to_owned())
            }
            Node::Prescaled { name, branch } => {
                let mix = &self.network.tensors[&mix_name(name)];
                let scaled = self.times(x, mix[0]);
                let output = self.chain(branch, &scaled, channels)?;
                let sum = self.op("Add", &[x, &output]);
                self.times(&sum, mix[1])
            }
        })
    }

    /// scale · (W ∗ x + bias), in this order.
    fn conv(&mut self, conv: &Conv, x: &str) -> String {
        let kernel = self.tensor(&conv.weight_name(), &conv.shape().weight_shape());
        let x = match conv.wrap {
            Wrap::Circular if conv.padding > 0 => &self.wrap(x, conv.padding),
            _ => x,
        };
        let op = match conv.transposed {
            true => "ConvTranspose",
            false => "Conv",
        };
        if !conv.bias {
            let y = self.op_with(op, &[x, &kernel], &window(conv));
            return self.times(&y, conv.scale);
        }
        if conv.scale == 1.0 {
            let bias = self.tensor(&conv.bias_name(), &[conv.out]);
            return self.op_with(op, &[x, &kernel, &bias], &window(conv));
        }
        let bias = self.per_channel(&conv.bias_name());
        let y = self.op_with(op, &[x, &kernel], &window(conv));
        let y = self.op("Add", &[&y, &bias]);
        self.times(&y, conv.scale)
    }

    /// `padding` rows and columns of the opposite border on every side. By `Gather`, which fails where
    /// a side is shorter: `Slice` takes fewer, and onnx2torch writes it in a way that torch gives up.
    fn wrap(&mut self, x: &str, padding: usize) -> String {
        let padding = padding as i64;
        [2, 3].into_iter().fold(x.to_owned(), |x, axis| {
            let [first, last] = [0..padding, -padding..0].map(|indices| {
                let indices = self.ints(&indices.collect::<Vec<_>>());
                self.op_with("Gather", &[&x, &indices], &[("axis", Int(axis))])
            });
            self.concat(&[last, x, first], axis)
        })
    }

    /// Neighbouring channels sorted upwards: along an axis of its own, then back to the old shape.
    fn group_sort(&mut self, x: &str, channels: usize, size: usize) -> String {
        let shape = self.op("Shape", &[x]);
        let groups = self.reshape(x, &[0, (channels / size) as i64, size as i64, -1]);
        let sorted = match size {
            2 => {
                let pair = self.split(&groups, 2, &[1, 1]);
                let min = self.op("Min", &[&pair[0], &pair[1]]);
                let max = self.op("Max", &[&pair[0], &pair[1]]);
                self.concat(&[min, max], 2)
            }
            _ => {
                let all = self.ints(&[size as i64]);
                let outputs = [self.name("TopK"), self.name("TopK")];
                let attributes = [("axis", Int(2)), ("largest", Int(0)), ("sorted", Int(1))];
                self.push("TopK", &[&groups, &all], &outputs, &attributes);
                outputs[0].clone()
            }
        };
        self.op("Reshape", &[&sorted, &shape])
    }

    fn pool(&mut self, x: &str, kind: Pooling, size: usize, stride: usize) -> String {
        let window = [
            ("kernel_shape", Ints(vec![size as i64; 2])),
            ("strides", Ints(vec![stride as i64; 2])),
        ];
        let side = size as f32;
        match kind {
            Pooling::Average => {
                let mean = self.op_with("AveragePool", &[x], &window);
                self.times(&mean, side)
            }
            Pooling::L2 => {
                let squares = self.op("Mul", &[x, x]);
                let mean = self.op_with("AveragePool", &[&squares], &window);
                let sum = self.times(&mean, side * side);
                let root = self.floats(&[], &[ROOT as f32]);
                let sum = self.op("Add", &[&sum, &root]);
                self.op("Sqrt", &[&sum])
            }
            Pooling::Max => self.op_with("MaxPool", &[x], &window),
        }
    }

    /// The mean over height and width, (N, C, 1, 1).
    fn image_mean(&mut self, x: &str) -> String {
        self.op_with("ReduceMean", &[x], &[("axes", Ints(vec![2, 3]))])
    }

    /// Channel c·f² + dy·f + dx is the place (dy, dx) of channel c. A reshape keeps sizes it need not
    /// know (0) and finds one (−1), so the axes are taken apart one by one.
    fn unshuffle(&mut self, x: &str, f: i64) -> String {
        let x = self.reshape(x, &[0, 0, 0, -1, f]);
        let x = self.transpose(&x, &[0, 1, 3, 4, 2]); // N, C, W/f, dx, H
        let x = self.reshape(&x, &[0, 0, 0, 0, -1, f]);
        let x = self.transpose(&x, &[0, 4, 2, 1, 5, 3]); // N, H/f, W/f, C, dy, dx
        let x = self.reshape(&x, &[0, 0, 0, -1]);
        self.transpose(&x, &[0, 3, 1, 2])
    }

    fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[x, &shape])
    }

    fn transpose(&mut self, x: &str, axes: &[i64]) -> String {
        self.op_with("Transpose", &[x], &[("perm", Ints(axes.to_vec()))])
    }

    fn split(&mut self, x: &str, axis: i64, lengths: &[usize]) -> Vec<String> {
        // onnx2torch makes a tuple of a single part
        if lengths.len() == 1 {
            return vec![x.to_owned()];
        }
        let outputs: Vec<_> = lengths.iter().map(|_| self.name("Split")).collect();
        let lengths: Vec<_> = lengths.iter().map(|&length| length as i64).collect();
        let lengths = self.ints(&lengths);
        self.push("Split", &[x, &lengths], &outputs, &[("axis", Int(axis))]);
        outputs
    }

    fn concat(&mut self, parts: &[String], axis: i64) -> String {
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        self.op_with("Concat", &parts, &[("axis", Int(axis))])
    }

    /// A factor of one is left out.
    fn times(&mut self, x: &str, factor: f32) -> String {
        if factor == 1.0 {
            return x.to_owned();
        }
        let factor = self.floats(&[], &[factor]);
        self.op("Mul", &[x, &factor])
    }

    fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        self.op_with(op, inputs, &[])
    }

    /// The one output of an operator.
    fn op_with(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let output = self.name(op);
        self.push(op, inputs, std::slice::from_ref(&output), attributes);
        output
    }

    fn push(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[String],
        attributes: &[(&str, Attribute)],
    ) {
        let node = proto::node(op, inputs, outputs, attributes);
        self.add(1, node);
    }

    /// A constant.
    fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let name = self.name("constant");
        self.add(5, proto::floats(&name, dims, values));
        name
    }

    /// A list of whole numbers.
    fn ints(&mut self, values: &[i64]) -> String {
        let name = self.name("constant");
        self.add(5, proto::ints(&name, values));
        name
    }

    /// A tensor of the network, under its name there.
    fn tensor(&mut self, name: &str, dims: &[usize]) -> String {
        self.add(5, proto::floats(name, dims, &self.network.tensors[name]));
        name.to_owned()
    }

    /// As [`Graph::tensor`], in the shape (1, C, 1, 1).
    fn per_channel(&mut self, name: &str) -> String {
        let channels = self.network.tensors[name].len();
        self.tensor(name, &[1, channels, 1, 1])
    }

    /// Adds a field to the message.
    fn add(&mut self, field: u64, part: Message) {
        self.message = std::mem::take(&mut self.message).bytes(field, part);
    }

    /// A new name; without a full stop, which every name of a tensor has.
    fn name(&mut self, what: &str) -> String {
        self.values += 1;
        format!("{what}_{}", self.values)
    }
}

/// The window of a convolution.
fn window(conv: &Conv) -> [(&'static str, Attribute<'static>); 5] {
    let padding = match conv.wrap {
        Wrap::Zeros => conv.padding,
        Wrap::Circular => 0,
    };
    let both = |value: usize| Ints(vec![value as i64; 2]);
    [
        ("kernel_shape", both(conv.kernel)),
        ("strides", both(conv.stride)),
        ("dilations", both(conv.dilation)),
        ("pads", Ints(vec![padding as i64; 4])),
        ("group", Int(conv.groups as i64)),
    ]
}

#[cfg(test)]
mod tests;
