//! One step: forward, backward, optimiser.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::bake::VARIANCE;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::loss::{Pairs, Targets};
use crate::network::floats;
use crate::node::{
    Node, Weights, add_channels, channel_means, forward, gain_name, head, nominal, on, per_channel,
    shift_name,
};
use crate::optimizer::clip;
use crate::parameters::{Effective, Values};
use crate::profile;

use super::{State, Train};

/// What a step tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// The loss.
    pub loss: f64,
    /// l2 norm of its gradient in all raw parameters, before it was shortened.
    pub gradient: f64,
}

impl State {
    /// One step over several batches; `None` where every pixel is void.
    pub(crate) fn learn(
        &mut self,
        nodes: &[Node],
        batches: &[Batch],
        rate: f64,
        device: &Device,
    ) -> Result<Option<Learned>> {
        let settings = self.settings.clone();
        let targets = batches
            .iter()
            .map(|batch| Targets::new(&batch.labels, batch.shape, &settings.class_weights, device));
        let counted: Vec<_> = batches.iter().zip(targets).collect();
        let total: f64 = counted.iter().map(|(_, targets)| targets.weight()).sum();
        if total == 0.0 {
            return Ok(None);
        }
        let parameters = &self.parameters;
        let effective = profile::stage("weights", || parameters.effective(nodes));
        if effective.tensors.values().flatten().any(|w| !w.is_finite()) {
            return Err(self.diverged(f64::NAN));
        }
        let (mut value, mut sums) = (0.0, Values::new());
        for (part, (batch, targets)) in counted.into_iter().enumerate() {
            if targets.is_void() {
                continue;
            }
            let (loss, gradients) =
                self.batch(nodes, &settings, &effective, (batch, part), &targets)?;
            // the mean over the counted pixels of all batches
            let share = targets.weight() / total;
            value += share * loss;
            add(&mut sums, gradients, share as f32);
        }
        if !value.is_finite() {
            return Err(self.diverged(value));
        }
        let mut raw = profile::stage("backward of weights", || effective.backward(sums));
        let gradient = clip(&mut raw, settings.clip);
        profile::stage("optimiser", || {
            let (raw_values, moments) = (&mut self.parameters.raw, &mut self.moments);
            settings.adamw.step(rate, raw_values, &raw, moments);
            self.observe();
        });
        Ok(Some(Learned {
            loss: value,
            gradient,
        }))
    }

    /// Loss of a batch, which is one part of a step, and its gradients in the effective tensors.
    fn batch(
        &mut self,
        nodes: &[Node],
        settings: &Train,
        effective: &Effective,
        (batch, part): (&Batch, usize),
        targets: &Targets,
    ) -> Result<(f64, Values)> {
        let device = targets.device();
        let [count, height, width] = batch.shape;
        // leaves, which keep their gradients
        let weights = Weights::new(nodes, &effective.tensors, &device, DType::F32, |x| {
            x.require_grad()
        });
        let (images, count) = match &settings.consistency {
            None => (batch.images.clone(), count),
            Some(consistency) => {
                let key = [self.moments.steps, part as u64];
                let copies = consistency.copies_of(&batch.images, settings.seed, key);
                (copies, consistency.copies * count)
            }
        };
        let data = TensorData::new(images, [count, 3, height, width]);
        let images = Tensor::from_data(data, on(&device, DType::F32));

        // the first batch sets the running statistics, later ones move them, and those of another
        // training
        let decay = match self.moments.steps == 0 && self.parameters.is_unobserved(nodes) {
            true => 0.0,
            false => settings.mean_decay,
        };
        let mut centering = Centering::new(&mut self.parameters.running, &weights, decay);
        let logits = profile::stage("forward", || {
            forward(nodes, images, &weights, &mut |node, x| {
                centering.of(node, x)
            })
        });
        centering.end()?;
        let loss = profile::stage("loss", || {
            objective(nodes, settings, effective, logits, targets)
        })?;
        let by_name = gradients(&weights, &loss)?;
        Ok((floats(loss)?[0], by_name))
    }
}

/// Gradients of a loss in the effective tensors, which are leaves.
pub(crate) fn gradients(weights: &Weights, loss: &Tensor<1>) -> Result<Values> {
    let mut gradients = profile::stage(profile::BACKWARD, || loss.backward());
    let mut by_name = Values::new();
    for (name, leaf) in weights.kernels.iter().chain(&weights.channels) {
        if let Some(gradient) = leaf.grad_remove(&mut gradients) {
            let data = gradient.try_into_data().map_err(Error::device)?;
            let values = data.try_into_vec().map_err(Error::device)?;
            by_name.insert(name.clone(), values);
        }
    }
    Ok(by_name)
}

/// The main loss and those that are added to it; of noisy copies their mean, and what makes them agree.
fn objective(
    nodes: &[Node],
    settings: &Train,
    effective: &Effective,
    logits: Tensor<4>,
    targets: &Targets,
) -> Result<Tensor<1>> {
    let mixed = || settings.mix.iter();
    let reads_pairs = |loss: &crate::loss::Loss| loss.needs_pairs();
    let needed = reads_pairs(&settings.loss) || mixed().any(|mixed| reads_pairs(&mixed.loss));
    let pairs = match needed {
        true => pairs(nodes, &effective.tensors, settings.network.classes)?,
        false => Pairs::even(settings.network.classes, 1.0)?,
    };
    let of = |logits: Tensor<4>| {
        let main = settings.loss.of(logits.clone(), targets, &pairs);
        mixed().fold(main, |sum, mixed| {
            let loss = mixed.loss.of(logits.clone(), targets, &pairs);
            sum + loss.mul_scalar(mixed.weight)
        })
    };
    let Some(consistency) = &settings.consistency else {
        return Ok(of(logits));
    };
    let copies = logits.chunk(consistency.copies, 0);
    let temperature = settings.loss.temperature().unwrap_or(1.0);
    let agree = consistency.of(&copies, targets, temperature);
    let share = 1.0 / consistency.copies as f64;
    Ok(copies
        .into_iter()
        .fold(agree, |sum, copy| sum + of(copy).mul_scalar(share)))
}

/// Adds gradients times a share; a first share of 1 is taken as it is.
fn add(sums: &mut Values, gradients: Values, share: f32) {
    for (name, mut gradient) in gradients {
        gradient.iter_mut().for_each(|g| *g *= share);
        match sums.get_mut(&name) {
            None => _ = sums.insert(name, gradient),
            Some(sum) => sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g),
        }
    }
}

/// Shifts and batch norms of a step, which move the running statistics.
pub(crate) struct Centering<'a> {
    running: &'a mut Values,
    channels: &'a BTreeMap<String, Tensor<4>>,
    /// Share of the old value.
    decay: f32,
    failed: Option<Error>,
}

impl<'a> Centering<'a> {
    /// `decay`: the share of the old value; 0: the batch sets the statistics.
    pub(crate) fn new(running: &'a mut Values, weights: &'a Weights, decay: f32) -> Self {
        Self {
            running,
            channels: &weights.channels,
            decay,
            failed: None,
        }
    }

    /// What went wrong on the way.
    pub(crate) fn end(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    /// The output of such a node.
    pub(crate) fn of(&mut self, node: &Node, x: Tensor<4>) -> Tensor<4> {
        match node {
            Node::BatchNorm { name, .. } => {
                let (shift, gain) = (shift_name(name), gain_name(name));
                let mean = x.clone().mean_dims(&[0, 2, 3]);
                let apart = x - mean.clone();
                let variance = apart.clone().square().mean_dims(&[0, 2, 3]);
                self.observe(&shift, mean);
                self.observe(&gain, variance.clone());
                let factor = self.channels[&gain].clone() / variance.add_scalar(VARIANCE).sqrt();
                apart * factor + self.channels[&shift].clone()
            }
            Node::Shift { name, .. } => {
                let name = shift_name(name);
                self.observe(&name, channel_means(x.clone()));
                let mean = per_channel(&self.running[&name], &x.device(), DType::F32);
                add_channels(x, self.channels[&name].clone() - mean)
            }
            _ => x,
        }
    }

    /// Moves a running statistic towards that of the batch.
    fn observe(&mut self, name: &str, batch: Tensor<4>) {
        match floats(batch.detach()) {
            Err(error) => self.failed = Some(error),
            Ok(batch) => {
                let running = self.running.get_mut(name).into_iter().flatten();
                for (running, batch) in running.zip(batch) {
                    *running = self.decay * *running + (1.0 - self.decay) * batch as f32;
                }
            }
        }
    }
}

/// L·‖w_i − w_j‖ of the scores as they are now, with the nominal constant of the features; of a
/// network that does not end in one layer of scores, as if their rows were orthonormal.
fn pairs(nodes: &[Node], tensors: &Values, classes: usize) -> Result<Pairs> {
    let Some((conv, before)) = head(nodes) else {
        return Pairs::even(classes, nominal(nodes) * 2f64.sqrt());
    };
    let scale = nominal(before) * f64::from(conv.scale.abs());
    let kernel = &tensors[&conv.weight_name()];
    let row = |class: usize| &kernel[class * conv.input..][..conv.input];
    let apart = |i: usize, j: usize| {
        let squares = row(i)
            .iter()
            .zip(row(j))
            .map(|(a, b)| f64::from(a - b).powi(2));
        scale * squares.sum::<f64>().sqrt()
    };
    let distances = (0..classes).flat_map(|i| (0..classes).map(move |j| (i, j)));
    Pairs::new(classes, distances.map(|(i, j)| apart(i, j)).collect())
}
