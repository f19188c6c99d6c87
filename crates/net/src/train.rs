//! Training: AdamW with cosine annealing over augmented batches. Everything that is drawn is keyed by (seed, epoch, sample): a resumed run sees the
//! same batches as an unbroken one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::bake::VARIANCE;
use crate::data::{Augment, Filter, Layout, Sample};
use crate::error::{Error, Result};
use crate::evaluate::{Evaluation, evaluate};
use crate::loss::{Loss, Pairs, Targets};
use crate::network::{Network, floats};
use crate::node::{
    Node, Weights, add_channels, channel_means, check_nodes, check_size, forward, gain_name, head,
    nominal, on, per_channel, shift_name,
};
use crate::optimizer::{AdamW, Moments, cosine};
use crate::parameters::{Parameters, Values};
use crate::profile;
use crate::rng::Rng;

/// Which pictures to train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingData {
    /// Folder of the data set.
    pub dir: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
    /// Split to train on; `None`: all images.
    pub train: Option<String>,
    /// Split to validate on after each epoch; `None`: no validation.
    pub validation: Option<String>,
    /// How pictures are resized.
    pub filter: Filter,
}

impl Default for TrainingData {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            layout: Layout::Folder,
            train: None,
            validation: None,
            filter: Filter::Bilinear,
        }
    }
}

/// Settings of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Seeds start values, order and augmentation.
    pub seed: u64,
    /// Passes over the training set.
    pub epochs: u64,
    /// Pictures per step; the last batch of an epoch may be smaller.
    pub batch: usize,
    /// Height of training pictures, a multiple of the network's total stride.
    pub height: usize,
    /// Width, likewise.
    pub width: usize,
    /// Learning rate of the first step.
    pub rate: f64,
    /// Learning rate of the last step.
    pub last_rate: f64,
    /// Optimiser.
    pub adamw: AdamW,
    /// What is minimised.
    pub loss: Loss,
    /// Weight per class in the loss; empty: all 1.
    pub class_weights: Vec<f32>,
    /// Share of the old value in the running mean of centering, per step.
    pub mean_decay: f32,
    /// The pictures.
    pub data: TrainingData,
    /// Random changes of the training pictures.
    pub augment: Augment,
    /// The network.
    pub network: Architecture,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            seed: 0,
            epochs: 100,
            batch: 8,
            height: 128,
            width: 128,
            rate: 1e-3,
            last_rate: 1e-6,
            adamw: AdamW::default(),
            loss: Loss::default(),
            class_weights: Vec::new(),
            mean_decay: 0.9,
            data: TrainingData::default(),
            augment: Augment::default(),
            network: Architecture::default(),
        }
    }
}

impl Train {
    /// Fills what follows from other fields and checks every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field, what it is and what it may be.
    pub fn resolve(mut self) -> Result<Self> {
        self.network = self.network.resolve(self.height.min(self.width))?;
        if self.class_weights.is_empty() {
            self.class_weights = vec![1.0; self.network.classes];
        }
        let positive =
            |name: &str, value: f64| match (0.0..f64::INFINITY).contains(&value) && value > 0.0 {
                true => Ok(()),
                false => Err(Error::setting(name, value.to_string(), "a positive number")),
            };
        positive("epochs", self.epochs as f64)?;
        positive("batch", self.batch as f64)?;
        positive("rate", self.rate)?;
        positive("last_rate", self.last_rate)?;
        self.loss.check()?;
        positive("adamw.epsilon", self.adamw.epsilon)?;
        let share = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::setting(
                name,
                value.to_string(),
                "at least 0 and less than 1",
            )),
        };
        share("adamw.betas", self.adamw.betas[0])?;
        share("adamw.betas", self.adamw.betas[1])?;
        share("adamw.weight_decay", self.adamw.weight_decay)?;
        share("mean_decay", f64::from(self.mean_decay))?;
        let classes = self.network.classes;
        let usable = |w: &f32| (0.0..f32::INFINITY).contains(w);
        if self.class_weights.len() != classes || !self.class_weights.iter().all(usable) {
            let got = format!("{:?}", self.class_weights);
            let expected = format!("{classes} numbers of at least 0, one per class");
            return Err(Error::setting("class_weights", got, expected));
        }
        if self.class_weights.iter().all(|&weight| weight == 0.0) {
            let got = format!("{:?}", self.class_weights);
            return Err(Error::setting("class_weights", got, "at least one above 0"));
        }
        for (name, value, most) in [
            ("epochs", self.epochs, 1_000_000),
            ("batch", self.batch as u64, 1 << 20),
        ] {
            if value > most {
                return Err(Error::setting(
                    name,
                    value.to_string(),
                    format!("at most {most}"),
                ));
            }
        }
        self.augment.check()?;
        check_nodes(&self.network.nodes())?;
        check_size(&self.network.nodes(), self.height, self.width)?;
        Ok(self)
    }
}

/// A training under way: what a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Resolved settings.
    pub settings: Train,
    /// Parameters and running means.
    pub parameters: Parameters,
    /// Optimiser state.
    pub moments: Moments,
    /// Epochs finished.
    pub epoch: u64,
    /// Steps done in the epoch under way.
    pub step: u64,
    /// Hash of the names of the training samples in order, once known.
    pub samples: Option<u64>,
}

/// What a training tells while it runs.
#[derive(Clone, Debug)]
pub enum Event {
    /// A step is done.
    Step {
        /// Epoch under way, counted from 1.
        epoch: u64,
        /// Step in the epoch, counted from 1.
        step: u64,
        /// Steps per epoch.
        steps: u64,
        /// Loss of the batch; `None` where every pixel was void.
        loss: Option<f64>,
        /// Learning rate.
        rate: f64,
    },
    /// An epoch is done and its network baked, audited and evaluated.
    Epoch {
        /// Epoch, counted from 1.
        epoch: u64,
        /// Mean loss over its steps in this run; `None` where no step had one.
        loss: Option<f64>,
        /// The network of this moment.
        network: Box<Network>,
        /// Figures on the validation set; `None` without one.
        evaluation: Option<Evaluation>,
    },
}

impl State {
    /// A training that has not begun.
    ///
    /// # Errors
    /// As [`Train::resolve`].
    pub fn start(settings: Train) -> Result<Self> {
        let settings = settings.resolve()?;
        let parameters = Parameters::start(&settings.network.nodes(), settings.seed);
        Ok(Self {
            settings,
            parameters,
            moments: Moments::default(),
            epoch: 0,
            step: 0,
            samples: None,
        })
    }

    /// The network of this moment, plain and rounded to f32.
    ///
    /// # Errors
    /// As [`Parameters::bake`].
    pub fn bake(&self) -> Result<Network> {
        self.parameters.bake(&self.settings.network.nodes())
    }
}

/// Trains until all epochs are done or `watch` breaks; `watch` sees the state after each event.
/// Samples must have the size of the settings.
///
/// # Errors
/// [`Error::Setting`] without training samples; [`Error::SampleSize`];
/// [`Error::OtherSamples`] where a training goes on with other samples than it began with;
/// [`Error::Diverged`] where the loss is no number.
pub fn train(
    state: &mut State,
    samples: &[Sample],
    validation: &[Sample],
    watch: &mut dyn FnMut(&State, Event) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let settings = state.settings.clone();
    let nodes = settings.network.nodes();
    check_samples(&settings, samples)?;
    check_samples(&settings, validation)?;
    if samples.is_empty() {
        return Err(Error::setting("training set", "0 samples", "at least one"));
    }
    let steps = samples.len().div_ceil(settings.batch) as u64;
    let total = steps.saturating_mul(settings.epochs);
    let names: Vec<&[u8]> = samples.iter().map(|sample| sample.id.as_bytes()).collect();
    let hash = Rng::hash(&names.join(&b'\n'));
    if *state.samples.get_or_insert(hash) != hash || state.step > steps {
        return Err(Error::OtherSamples);
    }
    while state.epoch < settings.epochs {
        let epoch = state.epoch;
        let order = order(settings.seed, epoch, samples.len());
        let (mut losses, mut counted) = (0.0, 0.0);
        for step in state.step..steps {
            let first = step as usize * settings.batch;
            let members = &order[first..samples.len().min(first + settings.batch)];
            let batch = profile::stage("pictures", || {
                Batch::new(&settings, samples, members, epoch)
            });
            let rate = cosine(
                settings.rate,
                settings.last_rate,
                epoch * steps + step,
                total - 1,
            );
            // from a thread of the pool: its first part of a layer begins at once
            let loss = rayon::scope(|_| state.learn(&nodes, batch, rate))?;
            state.step = step + 1;
            if let Some(loss) = loss {
                losses += loss;
                counted += 1.0;
            }
            let event = Event::Step {
                epoch: epoch + 1,
                step: step + 1,
                steps,
                loss,
                rate,
            };
            if watch(state, event).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let raw = state.parameters.raw.values();
        if raw.flatten().any(|parameter| !parameter.is_finite()) {
            return Err(state.diverged(f64::NAN));
        }
        state.epoch = epoch + 1;
        state.step = 0;
        let network = Box::new(state.bake()?);
        let evaluation = match validation.is_empty() {
            true => None,
            false => Some(evaluate(&network, validation)?),
        };
        let event = Event::Epoch {
            epoch: epoch + 1,
            loss: (counted > 0.0).then(|| losses / counted),
            network,
            evaluation,
        };
        if watch(state, event).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// One augmented batch.
struct Batch {
    /// (B, 3, H, W) in [0, 1].
    images: Vec<f32>,
    /// (B, H, W).
    labels: Vec<u8>,
    shape: [usize; 3],
}

impl Batch {
    fn new(settings: &Train, samples: &[Sample], members: &[usize], epoch: u64) -> Self {
        let changed: Vec<_> = members
            .par_iter()
            .map(|&index| {
                let key = [AUGMENT, epoch, index as u64];
                let mut rng = Rng::keyed(settings.seed, &key);
                settings.augment.apply(&samples[index], &mut rng)
            })
            .collect();
        let (images, labels): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
        Self {
            images: images.concat(),
            labels: labels.concat(),
            shape: [members.len(), settings.height, settings.width],
        }
    }
}

impl State {
    /// One step; the loss, or `None` where every pixel of the batch is void.
    fn learn(&mut self, nodes: &[Node], batch: Batch, rate: f64) -> Result<Option<f64>> {
        let device = Device::flex().autodiff();
        let [count, height, width] = batch.shape;
        let settings = &self.settings;
        let targets = Targets::new(&batch.labels, batch.shape, &settings.class_weights, &device);
        if targets.is_void() {
            return Ok(None);
        }
        let parameters = &self.parameters;
        let effective = profile::stage("weights", || parameters.effective(nodes));
        if effective.tensors.values().flatten().any(|w| !w.is_finite()) {
            return Err(self.diverged(f64::NAN));
        }
        // leaves, which keep their gradients
        let weights = Weights::new(nodes, &effective.tensors, &device, DType::F32, |x| {
            x.require_grad()
        });
        let data = TensorData::new(batch.images, [count, 3, height, width]);
        let images = Tensor::from_data(data, on(&device, DType::F32));

        // the first batch sets the running statistics, later ones move them
        let decay = match self.moments.steps {
            0 => 0.0,
            _ => settings.mean_decay,
        };
        let mut centering = Centering {
            running: &mut self.parameters.running,
            channels: &weights.channels,
            decay,
            failed: None,
        };
        let logits = profile::stage("forward", || {
            forward(nodes, images, &weights, &mut |node, x| {
                centering.of(node, x)
            })
        });
        if let Some(error) = centering.failed {
            return Err(error);
        }
        let pairs = match settings.loss.needs_pairs() {
            true => pairs(nodes, &effective.tensors, settings.network.classes)?,
            false => Pairs::even(settings.network.classes, 1.0)?,
        };
        let loss = profile::stage("loss", || settings.loss.of(logits, &targets, &pairs));
        let mut gradients = profile::stage(profile::BACKWARD, || loss.backward());
        let value = floats(loss)?[0];
        if !value.is_finite() {
            return Err(self.diverged(value));
        }

        let mut by_name = Values::new();
        let mut collect = |(name, leaf): (&String, &Tensor<4>)| -> Result<()> {
            if let Some(gradient) = leaf.grad_remove(&mut gradients) {
                let data = gradient.try_into_data().map_err(Error::device)?;
                let values = data.try_into_vec().map_err(Error::device)?;
                by_name.insert(name.clone(), values);
            }
            Ok(())
        };
        weights
            .kernels
            .iter()
            .chain(&weights.channels)
            .try_for_each(&mut collect)?;
        let raw = profile::stage("backward of weights", || effective.backward(by_name));
        let adamw = settings.adamw.clone();
        profile::stage("optimiser", || {
            adamw.step(rate, &mut self.parameters.raw, &raw, &mut self.moments);
        });
        Ok(Some(value))
    }
}

impl State {
    fn diverged(&self, loss: f64) -> Error {
        let (epoch, step) = (self.epoch + 1, self.step + 1);
        Error::Diverged { epoch, step, loss }
    }
}

/// Shifts and batch norms of a step, which move the running statistics.
struct Centering<'a> {
    running: &'a mut Values,
    channels: &'a BTreeMap<String, Tensor<4>>,
    /// Share of the old value.
    decay: f32,
    failed: Option<Error>,
}

impl Centering<'_> {
    fn of(&mut self, node: &Node, x: Tensor<4>) -> Tensor<4> {
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

/// The order of the samples in an epoch.
fn order(seed: u64, epoch: u64, samples: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    Rng::keyed(seed, &[ORDER, epoch]).shuffle(&mut order);
    order
}

/// Checks that every sample has a mask and the size of the settings.
///
/// # Errors
/// [`Error::SampleSize`], [`Error::NoMask`].
pub fn check_samples(settings: &Train, samples: &[Sample]) -> Result<()> {
    let expected = [settings.height, settings.width];
    for sample in samples {
        let got = [sample.height, sample.width];
        if got != expected {
            let id = sample.id.clone();
            return Err(Error::SampleSize { id, got, expected });
        }
        if sample.mask.is_none() {
            return Err(Error::NoMask {
                id: sample.id.clone(),
            });
        }
    }
    Ok(())
}

/// Keys of the random streams.
const ORDER: u64 = 2;
const AUGMENT: u64 = 3;
