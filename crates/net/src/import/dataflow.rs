//! From layers that name what they read to a list of nodes with branches.
//!
//! Values are numbered: 0 is the picture, i + 1 the output of layer i. A layer reads values of earlier
//! layers only, so there are no cycles, and the value at which all inputs of a layer part, their last
//! common one, is found by going back from the latest of them until all are the same. Between that
//! value and the layer lie its branches, which must be read by nothing else.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::layer::Layer;
use crate::checkpoint::Tensors;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::parameters::Values;

/// Deepest nesting of branches: readers of model files and walks over nodes recurse.
const DEEPEST: usize = 16;

/// Layers under way into nodes.
struct Flow {
    names: Vec<String>,
    /// Inputs of the layer that makes a value; none of the picture.
    inputs: Vec<Vec<usize>>,
    /// The value at which those inputs part.
    parts_at: Vec<usize>,
    /// By value; none once it has become a node.
    layers: Vec<Option<Layer>>,
    file: Tensors,
    own: Values,
}

/// The nodes from the picture to the output, and their tensors by the names of the nodes.
///
/// # Errors
/// [`Error::Node`] for a layer, [`Error::Tensor`] for a tensor that is missing, of another shape or
/// read by no layer.
pub(super) fn nodes(
    picture: &str,
    layers: Vec<Map<String, Value>>,
    output: &str,
    tensors: Tensors,
) -> Result<(Vec<Node>, Values)> {
    let mut flow = Flow {
        names: vec![picture.to_owned()],
        inputs: vec![Vec::new()],
        parts_at: vec![0],
        layers: vec![None],
        file: tensors,
        own: Values::new(),
    };
    let mut known = BTreeMap::from([(picture.to_owned(), 0)]);
    for (index, fields) in layers.into_iter().enumerate() {
        let layer = Layer::parse(index, fields)?;
        let find = |input: &String| {
            let missing = || {
                let what = format!("reads {input:?}, expected an earlier layer or {picture:?}");
                Error::node(&layer.name, what)
            };
            known.get(input).copied().ok_or_else(missing)
        };
        let inputs: Vec<usize> = layer.inputs.iter().map(find).collect::<Result<_>>()?;
        if known.insert(layer.name.clone(), index + 1).is_some() {
            return Err(Error::node(&layer.name, "the name occurs twice"));
        }
        flow.names.push(layer.name.clone());
        flow.parts_at.push(last_common(&inputs, &flow.parts_at));
        flow.inputs.push(inputs);
        flow.layers.push(Some(layer));
    }
    let missing = || Error::setting("output", format!("{output:?}"), "the name of a layer");
    let last = known.get(output).copied().filter(|&value| value > 0);
    let nodes = flow.chain(0, last.ok_or_else(missing)?, 0)?;
    if let Some(layer) = flow.layers.iter().flatten().next() {
        let what = format!("ends nowhere, expected a way to the output {output:?}");
        return Err(Error::node(&layer.name, what));
    }
    match flow.file.into_keys().next() {
        Some(tensor) => Err(Error::tensor(tensor, "no layer reads it".into())),
        None => Ok((nodes, flow.own)),
    }
}

/// The last value through which the ways to all of these lead.
fn last_common(values: &[usize], parts_at: &[usize]) -> usize {
    let mut values = values.to_vec();
    loop {
        let first = values.iter().copied().min().unwrap_or(0);
        match values.iter_mut().find(|value| **value > first) {
            // every value parts at an earlier one
            Some(later) => *later = parts_at[*later],
            None => return first,
        }
    }
}

impl Flow {
    /// The nodes that lead from one value to another.
    fn chain(&mut self, from: usize, to: usize, depth: usize) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        let mut value = to;
        while value != from {
            let refuse = |what: String| Err(Error::node(&self.names[value], what));
            if depth > DEEPEST {
                return refuse(format!(
                    "branches nested too deep, expected at most {DEEPEST}"
                ));
            }
            let Some(layer) = self.layers[value].take() else {
                let what = "read by branches of two merges, expected branches that part at one \
                            value and meet in one layer";
                return refuse(what.into());
            };
            let parts_at = self.parts_at[value];
            let inputs = self.inputs[value].clone();
            let mut branches = Vec::with_capacity(inputs.len());
            for input in inputs {
                branches.push(self.chain(parts_at, input, depth + 1)?);
            }
            nodes.push(layer.node(branches, &mut self.file, &mut self.own)?);
            value = parts_at;
        }
        nodes.reverse();
        Ok(nodes)
    }
}
