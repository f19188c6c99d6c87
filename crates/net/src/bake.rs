//! From raw parameters to plain weights: every tensor made anew in f64 and rounded to f32, so that
//! the network is f32 numbers and nothing else; what is folded is folded in f64 before rounding.
//!
//! - Orthogonal kernels are orthogonalised again in f64 and composed there.
//! - A spectrally normalised kernel is divided by the audited bound of its norm: training knows
//!   only an estimate from below. A kernel of any bounded construction whose rounded audit exceeds 1
//!   is divided by it too.
//! - A centering becomes a shift, folded into the bias of a convolution that it directly follows:
//!   exact, the shift is added to the convolution's output.
//! - Batch normalisation is folded into the kernel and the bias of the convolution before it.

use std::collections::BTreeMap;

use certiseg_cert::conv_bound_to;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::network::{Network, judged};
use crate::node::{Construction, Conv, Node, gain_name, shift_name, slots, walk};
use crate::parameters::Parameters;

/// Added to the running variance of a batch norm, also in training.
pub(crate) const VARIANCE: f64 = 1e-5;

type Doubles = BTreeMap<String, Vec<f64>>;

/// The plain network of a training state.
pub(crate) fn bake(parameters: &Parameters, nodes: &[Node]) -> Result<Network> {
    let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&x| f64::from(x)).collect() };
    let made: Vec<_> = slots(nodes)
        .into_par_iter()
        .map(|slot| {
            let raw = wide(&parameters.raw[&slot.name]);
            let (values, _) = slot.parametrisation.weight(&raw);
            (slot.name, values)
        })
        .collect();
    let mut tensors: Doubles = made.into_iter().collect();
    let mut convs = Vec::new();
    walk(nodes, &mut |node| match node {
        Node::Conv(conv) | Node::Residual(conv) => convs.push(conv),
        Node::Shift { name, .. } => {
            let name = shift_name(name);
            let means = &parameters.running[&name];
            if let Some(shift) = tensors.get_mut(&name) {
                shift
                    .iter_mut()
                    .zip(means)
                    .for_each(|(b, &m)| *b -= f64::from(m));
            }
        }
        _ => {}
    });
    let bounded: Vec<_> = convs
        .into_par_iter()
        .map(|conv| {
            Ok((
                conv.weight_name(),
                bounded(conv, &tensors[&conv.weight_name()])?,
            ))
        })
        .collect::<Result<_>>()?;
    tensors.extend(bounded);
    let nodes = fold(nodes.to_vec(), &mut tensors, parameters)?;
    let round = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
    let tensors = tensors
        .into_iter()
        .map(|(name, values)| (name, round(values)));
    Network::new(nodes, tensors.collect())
}

/// The kernel, divided by the audited bound of its norm where its construction asks for it.
fn bounded(conv: &Conv, kernel: &[f64]) -> Result<Vec<f64>> {
    /// Rounding to f32 moves the norm of an orthogonal kernel by less: left as it is.
    const ROUNDING: f64 = 1e-5;
    let limit = match conv.construction {
        Construction::Spectral => 0.0,
        Construction::Soc { .. } | Construction::Aol => 1.0 + ROUNDING,
        Construction::Free | Construction::Aoc(_) | Construction::UnitRows => {
            return Ok(kernel.to_vec());
        }
    };
    let rounded: Vec<f32> = kernel.iter().map(|&x| x as f32).collect();
    if rounded.iter().any(|x| !x.is_finite()) {
        let what = "a weight is no number: the training has diverged".into();
        return Err(Error::tensor(conv.weight_name(), what));
    }
    let bound = conv_bound_to(&judged(conv, &rounded), limit)?.norm;
    Ok(match bound > limit {
        true => kernel.iter().map(|x| x / bound).collect(),
        false => kernel.to_vec(),
    })
}

/// Folds shifts and batch norms into the convolutions that they follow.
fn fold(nodes: Vec<Node>, tensors: &mut Doubles, parameters: &Parameters) -> Result<Vec<Node>> {
    let mut folded: Vec<Node> = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        for branch in node.branches_mut() {
            *branch = fold(std::mem::take(branch), tensors, parameters)?;
        }
        match (folded.last_mut(), node) {
            // a scaled convolution would scale the shift too
            (Some(Node::Conv(conv)), Node::Shift { name, .. }) if conv.scale == 1.0 => {
                let shift = tensors.remove(&shift_name(&name)).unwrap_or_default();
                add_bias(conv, shift, tensors);
            }
            (Some(Node::Conv(conv)), Node::BatchNorm { name, .. }) => {
                batch_norm(conv, &name, tensors, parameters);
            }
            (_, Node::BatchNorm { name, .. }) => {
                let what = "batch normalisation can only be baked directly after a convolution";
                return Err(Error::node(&name, what));
            }
            (_, node) => folded.push(node),
        }
    }
    Ok(folded)
}

fn add_bias(conv: &mut Conv, shift: Vec<f64>, tensors: &mut Doubles) {
    let bias = tensors
        .entry(conv.bias_name())
        .or_insert_with(|| vec![0.0; shift.len()]);
    bias.iter_mut().zip(shift).for_each(|(b, s)| *b += s);
    conv.bias = true;
}

/// s·(W∗x + b) followed by (· − mean)·gain/√variance + shift, as one convolution.
fn batch_norm(conv: &mut Conv, name: &str, tensors: &mut Doubles, parameters: &Parameters) {
    let shift = tensors.remove(&shift_name(name)).unwrap_or_default();
    let gain = tensors.remove(&gain_name(name)).unwrap_or_default();
    let mean = &parameters.running[&shift_name(name)];
    let variance = &parameters.running[&gain_name(name)];
    let factors = gain.iter().zip(variance);
    let factors = factors.map(|(g, &v)| g / (f64::from(v) + VARIANCE).sqrt());
    let factors: Vec<f64> = factors.collect();
    let scale = f64::from(conv.scale);
    let [outer, inner, height, width] = conv.shape().weight_shape();
    if let Some(kernel) = tensors.get_mut(&conv.weight_name()) {
        for (at, weight) in kernel.iter_mut().enumerate() {
            let (o, i) = (at / (height * width) / inner, at / (height * width) % inner);
            // of a transposed kernel [in, out/g, k, k] the output channel is the second axis
            let channel = match conv.transposed {
                true => o / (outer / conv.groups) * inner + i,
                false => o,
            };
            *weight *= scale * factors[channel];
        }
    }
    let old = tensors
        .remove(&conv.bias_name())
        .unwrap_or_else(|| vec![0.0; conv.out]);
    let new = (0..conv.out).map(|c| (scale * old[c] - f64::from(mean[c])) * factors[c] + shift[c]);
    let new = new.collect();
    tensors.insert(conv.bias_name(), new);
    conv.bias = true;
    conv.scale = 1.0;
    // its norm is no longer that of its construction
    conv.construction = Construction::Free;
}
