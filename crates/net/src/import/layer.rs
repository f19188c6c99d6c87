//! One layer of a graph file and the node it becomes.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::checkpoint::Tensors;
use crate::error::{Error, Result};
use crate::node::{Construction, Conv, Mix, Node, Wrap, mix_name, shift_name};
use crate::parameters::Values;

/// Largest deviation of `scale` and `shift` from what `mean` and `std` say, relative: all of them are
/// decimal forms of f32 numbers, 6e-8 each.
const AGREES: f64 = 1e-6;

/// What a layer does.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Op {
    AffineInput {
        mean: Vec<f32>,
        std: Vec<f32>,
        scale: Option<f64>,
        shift: Option<f64>,
    },
    Conv2d(Kernel),
    ConvTranspose2d(Kernel),
    MaxminSplit {},
    ChannelBias {
        bias: String,
        channels: usize,
    },
    Concat {
        axis: i64,
    },
    Sum {},
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    weight: String,
    bias: Option<String>,
    weight_shape: [usize; 4],
    stride: usize,
    padding: usize,
    dilation: usize,
    groups: Option<usize>,
    padding_mode: PaddingMode,
    #[serde(rename = "coeff")]
    _coeff: Option<f64>,
    #[serde(rename = "branch_coeff")]
    _branch_coeff: Option<f64>,
    #[serde(rename = "audited_norm_without_coeff")]
    _audited: Option<IgnoredAny>,
    #[serde(rename = "grid_norm_without_coeff")]
    _grid: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PaddingMode {
    None,
    Zeros,
    Circular,
    /// Refused, as is the next.
    #[serde(alias = "reflection", alias = "mirror")]
    Reflect,
    #[serde(alias = "border", alias = "edge")]
    Replicate,
}

/// A layer with the names of what it reads.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) inputs: Vec<String>,
    pub(super) op: Op,
}

impl Layer {
    /// Reads the fields of the layer at an index of the list.
    ///
    /// # Errors
    /// [`Error::Node`] with the name of the layer, or its index where it has none.
    pub(super) fn parse(index: usize, mut fields: Map<String, Value>) -> Result<Self> {
        let mut label = format!("at index {index}");
        let mut take = |key: &str| fields.remove(key).unwrap_or(Value::Null);
        let (name, inputs) = (take("name"), take("inputs"));
        let name: String = read(&label, "name: ", name)?;
        label.clone_from(&name);
        let inputs: Vec<String> = read(&label, "inputs: ", inputs)?;
        let op = read(&label, "", Value::Object(fields))?;
        let merges = matches!(op, Op::Concat { .. } | Op::Sum {});
        if inputs.is_empty() || inputs.len() > 1 && !merges {
            let what = format!("{} inputs, expected one, or more of a merge", inputs.len());
            return Err(Error::node(&name, what));
        }
        Ok(Self { name, inputs, op })
    }

    /// The node, from the branches of a merge; its tensors move from those of the file to its own.
    pub(super) fn node(
        self,
        branches: Vec<Vec<Node>>,
        file: &mut Tensors,
        own: &mut Values,
    ) -> Result<Node> {
        let name = self.name;
        let mut take = |tensor: &str, shape: &[usize], as_name: String| {
            let refuse = |what: String| Err(Error::tensor(tensor.to_owned(), what));
            match file.remove(tensor) {
                None => refuse(format!("missing, or read twice; layer {name} reads it")),
                Some((got, _)) if got != shape => {
                    refuse(format!("shape {got:?}, layer {name} expects {shape:?}"))
                }
                Some((_, values)) => {
                    own.insert(as_name, values);
                    Ok(())
                }
            }
        };
        Ok(match self.op {
            Op::AffineInput {
                mean,
                std,
                scale,
                shift,
            } => {
                let agree = |said: Option<f64>, value: f64| {
                    said.is_none_or(|said| (said - value).abs() <= AGREES * value.abs().max(1.0))
                };
                let channels = mean
                    .iter()
                    .zip(&std)
                    .map(|(&m, &s)| (f64::from(m), f64::from(s)));
                for (mean, std) in channels {
                    if !agree(scale, 1.0 / std) || !agree(shift, -mean / std) {
                        let what = format!(
                            "scale {scale:?} and shift {shift:?}, expected {} and {} from mean and std",
                            1.0 / std,
                            -mean / std
                        );
                        return Err(Error::node(&name, what));
                    }
                }
                Node::Normalize { mean, std }
            }
            Op::Conv2d(kernel) => Node::Conv(kernel.conv(&name, false, &mut take)?),
            Op::ConvTranspose2d(kernel) => Node::Conv(kernel.conv(&name, true, &mut take)?),
            Op::MaxminSplit {} => Node::MaxMin,
            Op::ChannelBias { bias, channels } => {
                take(&bias, &[channels], shift_name(&name))?;
                Node::Shift { name, channels }
            }
            Op::Concat { axis: 1 } => Node::Concat {
                branches,
                scale: 1.0,
            },
            Op::Concat { axis } => {
                return Err(Error::node(
                    &name,
                    format!("axis {axis}, expected 1, the channels"),
                ));
            }
            Op::Sum {} => {
                own.insert(mix_name(&name), vec![1.0; branches.len()]);
                Node::Sum {
                    name,
                    branches,
                    mix: Mix::Even,
                }
            }
        })
    }
}

impl Kernel {
    /// The convolution; `take` moves a tensor of a shape to its new name.
    fn conv(
        self,
        name: &str,
        transposed: bool,
        take: &mut impl FnMut(&str, &[usize], String) -> Result<()>,
    ) -> Result<Conv> {
        let [rows, columns, kernel, width] = self.weight_shape;
        if kernel != width {
            let what = format!("a kernel of {kernel}x{width}, expected a square");
            return Err(Error::node(name, what));
        }
        let wrap = match self.padding_mode {
            PaddingMode::None if self.padding > 0 => {
                let what = format!("padding {} of the kind none, expected 0", self.padding);
                return Err(Error::node(name, what));
            }
            PaddingMode::None | PaddingMode::Zeros => Wrap::Zeros,
            PaddingMode::Circular => Wrap::Circular,
            PaddingMode::Reflect | PaddingMode::Replicate => {
                let what = "reflected and repeated borders raise the norm of a kernel up to 2.4: they have no bound here, expected zeros or circular";
                return Err(Error::node(name, what));
            }
        };
        let groups = self.groups.unwrap_or(1);
        let columns = columns.saturating_mul(groups);
        let (input, out) = match transposed {
            true => (rows, columns),
            false => (columns, rows),
        };
        let conv = Conv {
            name: name.to_owned(),
            input,
            out,
            kernel,
            stride: self.stride,
            dilation: self.dilation,
            groups,
            padding: self.padding,
            wrap,
            transposed,
            bias: self.bias.is_some(),
            scale: 1.0,
            construction: Construction::Free,
        };
        take(&self.weight, &self.weight_shape, conv.weight_name())?;
        if let Some(bias) = self.bias {
            take(&bias, &[out], conv.bias_name())?;
        }
        Ok(conv)
    }
}

/// A value of the file; `field` stands before what is wrong with it.
fn read<T: serde::de::DeserializeOwned>(layer: &str, field: &str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::node(layer, format!("{field}{error}")))
}
