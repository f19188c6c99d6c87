//! Training: AdamW with cosine annealing over augmented batches. Everything that is drawn is keyed
//! by (seed, epoch, sample): a resumed run sees the same batches as an unbroken one, and gives the
//! same bits.

mod settings;
mod state;
mod step;

use std::ops::ControlFlow;

use rayon::prelude::*;

use crate::data::Sample;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::evaluate::{Evaluation, evaluate};
use crate::network::Network;
use crate::profile;
use crate::rng::Rng;

pub use settings::{Mixed, Train, TrainingData, Validation};
pub use state::{Best, Losses, State};
pub use step::Learned;

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
        /// Pictures it learned from.
        pictures: usize,
        /// Loss and gradient; `None` where every pixel was void.
        learned: Option<Learned>,
        /// Learning rate.
        rate: f64,
    },
    /// An epoch is done and its network baked.
    Epoch {
        /// Epoch, counted from 1.
        epoch: u64,
        /// Steps per epoch.
        steps: u64,
        /// Mean loss over its steps; `None` where no step had one.
        loss: Option<f64>,
        /// Learning rate of its last step.
        rate: f64,
        /// The network of this moment.
        network: Box<Network>,
        /// Figures on the validation set; `None` without one, and in epochs between.
        evaluation: Option<Evaluation>,
        /// Whether it is the best so far.
        best: bool,
    },
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All epochs are done.
    Done,
    /// No better network came for as many epochs as the settings allow.
    Early,
    /// The watch broke it off.
    Stopped,
}

/// Trains until all epochs are done, no better network comes, or `watch` breaks; `watch` sees the
/// state after each event. Samples must have the size of the settings.
///
/// # Errors
/// [`Error::Setting`] without training samples or with a warm-up as long as the training;
/// [`Error::SampleSize`]; [`Error::OtherSamples`] where a training goes on with other samples than
/// it began with; [`Error::Diverged`] where the loss is no number.
pub fn train(
    state: &mut State,
    samples: &[Sample],
    validation: &[Sample],
    compute: &Compute,
    watch: &mut dyn FnMut(&State, Event) -> ControlFlow<()>,
) -> Result<End> {
    let settings = state.settings.clone();
    let nodes = settings.network.nodes();
    let device = compute.training();
    check_samples(&settings, samples)?;
    check_samples(&settings, validation)?;
    if samples.is_empty() {
        return Err(Error::setting("training set", "0 samples", "at least one"));
    }
    let steps = settings.steps(samples.len());
    let total = steps.saturating_mul(settings.epochs);
    if settings.warm_up >= total {
        let got = format!("{} steps", settings.warm_up);
        let expected = format!("less than the {total} steps of the training");
        return Err(Error::setting("warm_up", got, expected));
    }
    let names: Vec<&[u8]> = samples.iter().map(|sample| sample.id.as_bytes()).collect();
    let hash = Rng::hash(&names.join(&b'\n'));
    if *state.samples.get_or_insert(hash) != hash || state.step > steps {
        return Err(Error::OtherSamples);
    }
    loop {
        if state.epoch >= settings.epochs {
            return Ok(End::Done);
        }
        if state.is_stale() {
            return Ok(End::Early);
        }
        let epoch = state.epoch;
        let order = order(settings.seed, epoch, samples.len());
        let rate = |step| settings.rate_at(epoch * steps + step, total);
        for step in state.step..steps {
            let members = order.chunks(settings.per_step()).nth(step as usize);
            let members = members.unwrap_or_default();
            let batches: Vec<_> = profile::stage("pictures", || {
                let batches = members.chunks(settings.batch);
                let batches = batches.map(|part| Batch::new(&settings, samples, part, epoch));
                batches.collect()
            });
            // from a thread of the pool: its first part of a layer begins at once
            let learned = rayon::scope(|_| state.learn(&nodes, &batches, rate(step), &device))?;
            state.step = step + 1;
            if let Some(learned) = learned {
                state.losses.add(learned.loss);
            }
            let event = Event::Step {
                epoch: epoch + 1,
                step: step + 1,
                steps,
                pictures: members.len(),
                learned,
                rate: rate(step),
            };
            if watch(state, event).is_break() {
                return Ok(End::Stopped);
            }
        }
        let raw = state.parameters.raw.values();
        if raw.flatten().any(|parameter| !parameter.is_finite()) {
            return Err(state.diverged(f64::NAN));
        }
        state.epoch = epoch + 1;
        state.step = 0;
        let loss = std::mem::take(&mut state.losses).mean();
        let network = Box::new(state.bake()?);
        let due =
            state.epoch.is_multiple_of(settings.validation.every) || state.epoch == settings.epochs;
        let evaluation = match due && !validation.is_empty() {
            true => Some(evaluate(&network, validation, &settings.validation.all())?),
            false => None,
        };
        let best = evaluation.as_ref().is_some_and(|found| state.judge(found));
        let event = Event::Epoch {
            epoch: state.epoch,
            steps,
            loss,
            rate: rate(steps - 1),
            network,
            evaluation,
            best,
        };
        if watch(state, event).is_break() {
            return Ok(match state.epoch >= settings.epochs {
                true => End::Done,
                false => End::Stopped,
            });
        }
    }
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
