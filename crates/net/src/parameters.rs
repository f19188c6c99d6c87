//! What training changes: raw parameters and running means; from them the effective weights of a
//! step (f32, with the way back for gradients) and the baked network (f64, then rounded).

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::error::Result;
use crate::layer::aoc::{Aoc, Tape};
use crate::network::{Network, fold_shifts, shift_name};
use crate::node::{Node, convolutions, walk};
use crate::rng::Rng;

/// Values by tensor name.
pub type Values = BTreeMap<String, Vec<f32>>;

/// The state of a network in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// NAME.weight: raw parameters of the kernel; NAME.bias; NAME.shift: bias of the centering.
    pub raw: Values,
    /// NAME.shift: running mean that the centering subtracts.
    pub means: Values,
}

/// Effective kernels of one step and the way back to the raw parameters.
pub struct Effective {
    /// NAME.weight, shape [`Aoc::weight_shape`].
    pub kernels: Values,
    tapes: BTreeMap<String, (Aoc, Tape<f32>)>,
}

impl Parameters {
    /// Start values: orthogonal matrices, zero biases and means. Same seed, same bits.
    pub fn start(nodes: &[Node], seed: u64) -> Self {
        let mut raw = Values::new();
        let mut means = Values::new();
        for (index, conv) in convolutions(nodes).into_iter().enumerate() {
            let mut rng = Rng::keyed(seed, &[START, index as u64]);
            raw.insert(conv.weight_name(), conv.aoc().start(&mut rng));
            if conv.bias {
                raw.insert(conv.bias_name(), vec![0.0; conv.out]);
            }
        }
        walk(nodes, &mut |node| {
            if let Node::Shift { name, channels } = node {
                raw.insert(shift_name(name), vec![0.0; *channels]);
                means.insert(shift_name(name), vec![0.0; *channels]);
            }
        });
        Self { raw, means }
    }

    /// Names and lengths of all tensors: (raw, means).
    pub fn lengths(nodes: &[Node]) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
        let (mut raw, mut means) = (BTreeMap::new(), BTreeMap::new());
        for conv in convolutions(nodes) {
            raw.insert(conv.weight_name(), conv.aoc().raw_len());
            if conv.bias {
                raw.insert(conv.bias_name(), conv.out);
            }
        }
        walk(nodes, &mut |node| {
            if let Node::Shift { name, channels } = node {
                raw.insert(shift_name(name), *channels);
                means.insert(shift_name(name), *channels);
            }
        });
        (raw, means)
    }

    /// Effective kernels in f32, all layers in parallel.
    pub fn effective(&self, nodes: &[Node]) -> Effective {
        let layers: Vec<_> = convolutions(nodes)
            .into_par_iter()
            .map(|conv| {
                let aoc = conv.aoc();
                let (kernel, tape) = aoc.weight(&self.raw[&conv.weight_name()]);
                (conv.weight_name(), kernel, (aoc, tape))
            })
            .collect();
        let (mut kernels, mut tapes) = (Values::new(), BTreeMap::new());
        for (name, kernel, tape) in layers {
            kernels.insert(name.clone(), kernel);
            tapes.insert(name, tape);
        }
        Effective { kernels, tapes }
    }

    /// The plain network: every kernel orthogonalised and composed anew in f64, rounded to f32;
    /// centering becomes a shift, folded into a bias where it follows a convolution.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] where a parameter has become NaN or infinite.
    pub fn bake(&self, nodes: &[Node]) -> Result<Network> {
        let layers: Vec<_> = convolutions(nodes)
            .into_par_iter()
            .map(|conv| {
                let raw: Vec<f64> = self.raw[&conv.weight_name()]
                    .iter()
                    .map(|&x| f64::from(x))
                    .collect();
                let (kernel, _) = conv.aoc().weight(&raw);
                let rounded = kernel.into_iter().map(|x| x as f32).collect();
                (conv.weight_name(), rounded)
            })
            .collect();
        let mut tensors: Values = layers.into_iter().collect();
        for (name, values) in &self.raw {
            if let Some(means) = self.means.get(name) {
                let shift = |(&b, &m): (&f32, &f32)| (f64::from(b) - f64::from(m)) as f32;
                let shifts = values.iter().zip(means).map(shift).collect();
                tensors.insert(name.clone(), shifts);
            } else if !tensors.contains_key(name) {
                tensors.insert(name.clone(), values.clone());
            }
        }
        let nodes = fold_shifts(nodes.to_vec(), &mut tensors);
        Network::new(nodes, tensors)
    }
}

impl Effective {
    /// Gradients in the raw parameters, from gradients in the effective kernels; other names
    /// (biases) pass through.
    pub fn backward(&self, gradients: Values) -> Values {
        gradients
            .into_par_iter()
            .map(|(name, gradient)| match self.tapes.get(&name) {
                Some((aoc, tape)) => (name, aoc.backward(tape, &gradient)),
                None => (name, gradient),
            })
            .collect()
    }
}

/// Key of the random stream that draws start values.
const START: u64 = 1;
