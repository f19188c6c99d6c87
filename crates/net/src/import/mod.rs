//! Import of a baked network that another program describes: a list of layers in JSON and their
//! tensors in a safetensors file.
//!
//! | op | is | fields beside `name`, `inputs` |
//! |---|---|---|
//! | `affine_input` | (x − mean)/std | `mean`, `std`; `scale`, `shift` only say it again |
//! | `conv2d`, `conv_transpose2d` | W ∗ x + bias | `weight`, `bias`, `weight_shape`, `stride`, `padding`, `dilation`, `groups`, `padding_mode` |
//! | `maxmin_split` | [max; min] of the two halves of the channels | |
//! | `channel_bias` | x + bias | `bias`, `channels` |
//! | `concat`, `sum` | of branches that part at one value | `axis`; none |
//!
//! Every field is read and checked; what has no meaning here is refused. The kernels in the file hold
//! their factors already: `coeff` and `branch_coeff` are history and are not applied. Norms and
//! Lipschitz constants in the file are not read either: a bound comes from an audit of the weights.

mod dataflow;
mod layer;

use std::path::Path;

use safetensors::tensor::SafeTensors;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::checkpoint::{self, Tensors, singles};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::node::{check_nodes, flow, total_stride};
use dataflow::nodes;

/// What the file must say of itself.
const FORMAT: &str = "layer list, dataflow by names";
const MAXMIN: &str = "first half of channels a, second half b: out = concat(max(a,b), min(a,b))";
const LAYOUT: &str = "OIHW; conv_transpose2d IOHW (torch)";

/// The graph file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Graph {
    format: String,
    input: Input,
    output: String,
    num_classes: usize,
    class_names: Option<Vec<String>>,
    maxmin_split: Option<String>,
    conv_weight_layout: Option<String>,
    #[serde(rename = "L")]
    _lipschitz: Option<IgnoredAny>,
    layers: Vec<Map<String, Value>>,
}

/// The picture.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    shape: Value,
    range: [f64; 2],
    size_multiple: Option<usize>,
}

/// Reads a network from a graph file and a safetensors file of its f32 tensors.
///
/// # Errors
/// [`Error::Unreadable`]; [`Error::File`] naming the file and what is wrong in it: the layer, what was
/// got, what is possible.
pub fn read(graph: &Path, tensors: &Path) -> Result<Network> {
    let values =
        parse_tensors(&checkpoint::read(tensors)?).map_err(|error| error.in_file(tensors))?;
    build(&checkpoint::read(graph)?, values).map_err(|error| error.in_file(graph))
}

/// Shape and values of every tensor, by name.
fn parse_tensors(bytes: &[u8]) -> Result<Tensors> {
    let torn = |error| {
        let got = format!("torn ({error})");
        Error::setting("the content", got, "a safetensors file")
    };
    singles(&SafeTensors::deserialize(bytes).map_err(torn)?)
}

fn build(text: &[u8], tensors: Tensors) -> Result<Network> {
    let unusable = |error| {
        let got = format!("no layer list ({error})");
        Error::setting("the content", got, format!("JSON of the format {FORMAT:?}"))
    };
    let graph: Graph = serde_json::from_slice(text).map_err(unusable)?;
    same("format", graph.format.as_str(), FORMAT)?;
    same(
        "input.shape",
        &graph.input.shape,
        &json!(["N", 3, "H", "W"]),
    )?;
    same("input.range", &graph.input.range, &[0.0, 1.0])?;
    same(
        "maxmin_split",
        graph.maxmin_split.as_deref().unwrap_or(MAXMIN),
        MAXMIN,
    )?;
    let layout = graph.conv_weight_layout.as_deref().unwrap_or(LAYOUT);
    same("conv_weight_layout", layout, LAYOUT)?;

    let (nodes, tensors) = nodes(&graph.input.name, graph.layers, &graph.output, tensors)?;
    check_nodes(&nodes)?;
    let (classes, stride) = (flow(&nodes, 3)?, total_stride(&nodes));
    same("num_classes", &graph.num_classes, &classes)?;
    let named = graph.class_names.map_or(classes, |names| names.len());
    same("the number of class_names", &named, &classes)?;
    let multiple = graph.input.size_multiple.unwrap_or(stride);
    same("input.size_multiple", &multiple, &stride)?;
    Network::new(nodes, tensors)
}

/// Refuses a field that is not what the layers, or this program, say it is.
fn same<T: PartialEq + std::fmt::Debug + ?Sized>(field: &str, got: &T, expected: &T) -> Result<()> {
    match got == expected {
        true => Ok(()),
        false => Err(Error::setting(
            field,
            format!("{got:?}"),
            format!("{expected:?}"),
        )),
    }
}

#[cfg(test)]
mod tests;
