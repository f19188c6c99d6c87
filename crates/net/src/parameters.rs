//! What training changes: raw parameters and running statistics; from them the effective tensors of
//! a step (f32, with the way back for gradients) and the baked network (f64, then rounded).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::bake::bake;
use crate::error::Result;
use crate::layer::{Parametrisation, Tape};
use crate::network::Network;
use crate::node::{Node, slots};
use crate::rng::Rng;

/// Values by tensor name.
pub type Values = BTreeMap<String, Vec<f32>>;

/// The state of a network in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// Raw parameters of every tensor.
    pub raw: Values,
    /// NAME.shift: running mean of the input of a centering; NAME.gain: its running variance.
    pub running: Values,
}

/// Effective tensors of one step and the way back to the raw parameters.
pub struct Effective {
    /// In the layout of the tensors.
    pub tensors: Values,
    tapes: BTreeMap<String, (Parametrisation, Tape<f32>)>,
}

impl Parameters {
    /// Start values. Same seed, same bits.
    pub fn start(nodes: &[Node], seed: u64) -> Self {
        let (mut raw, mut running) = (Values::new(), Values::new());
        let mut kernels = 0;
        for slot in slots(nodes) {
            // only kernels draw: their count keys the stream
            let mut rng = Rng::keyed(seed, &[START, kernels]);
            kernels += u64::from(slot.shape.len() == 4);
            raw.insert(slot.name.clone(), slot.parametrisation.start(&mut rng));
            if let Some(start) = slot.running {
                running.insert(slot.name, vec![start; slot.shape[0]]);
            }
        }
        Self { raw, running }
    }

    /// Whether all running statistics have their start values.
    pub fn is_unobserved(&self, nodes: &[Node]) -> bool {
        let mut slots = slots(nodes).into_iter();
        slots.all(|slot| match (slot.running, self.running.get(&slot.name)) {
            (Some(start), Some(values)) => values.iter().all(|&value| value == start),
            _ => true,
        })
    }

    /// Names and lengths of all tensors: (raw, running).
    pub fn lengths(nodes: &[Node]) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
        let slots = slots(nodes);
        let kept = slots.iter().filter(|slot| slot.running.is_some());
        let running = kept.map(|slot| (slot.name.clone(), slot.shape[0]));
        let raw = slots.iter();
        let raw = raw.map(|slot| (slot.name.clone(), slot.parametrisation.raw_len()));
        (raw.collect(), running.collect())
    }

    /// Effective tensors in f32, all in parallel.
    pub fn effective(&self, nodes: &[Node]) -> Effective {
        let mut slots = slots(nodes);
        // one by one, the largest first: none is left to the end alone
        slots.sort_by_key(|slot| Reverse(slot.parametrisation.raw_len()));
        let made: Vec<_> = slots
            .into_par_iter()
            .with_max_len(1)
            .map(|slot| {
                let (values, tape) = slot.parametrisation.weight(&self.raw[&slot.name]);
                (slot.name, values, (slot.parametrisation, tape))
            })
            .collect();
        let (mut tensors, mut tapes) = (Values::new(), BTreeMap::new());
        for (name, values, tape) in made {
            tensors.insert(name.clone(), values);
            tapes.insert(name, tape);
        }
        Effective { tensors, tapes }
    }

    /// The plain network: all made anew in f64, folded, and rounded to f32.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] where a parameter has become NaN or infinite; what the judge
    /// refuses of a kernel that is divided by its bound.
    pub fn bake(&self, nodes: &[Node]) -> Result<Network> {
        bake(self, nodes)
    }
}

impl Effective {
    /// Gradients in the raw parameters, from gradients in the effective tensors.
    pub fn backward(&self, gradients: Values) -> Values {
        let mut gradients: Vec<_> = gradients.into_iter().collect();
        gradients.sort_by_key(|(_, gradient)| Reverse(gradient.len()));
        gradients
            .into_par_iter()
            .with_max_len(1)
            .map(|(name, gradient)| {
                let (parametrisation, tape) = &self.tapes[&name];
                let gradient = parametrisation.backward(tape, &gradient);
                (name, gradient)
            })
            .collect()
    }
}

/// Key of the random stream that draws start values.
const START: u64 = 1;
