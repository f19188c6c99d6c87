//! Training: AdamW with cosine annealing over augmented batches. Everything that is drawn is keyed
//! by (seed, epoch, sample): a resumed run sees the same batches as an unbroken one, and gives the
//! same bits.

mod settings;
mod state;
mod step;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::data::{Batches, Pictures};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::evaluate::{Evaluation, evaluate};
use crate::network::Network;
use crate::profile;
use crate::rng::Rng;

pub use settings::{Mixed, Train, TrainingData, Validation};
pub use state::{Best, Losses, State};
pub use step::Learned;
pub(crate) use step::{Centering, gradients};

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
/// state after each event. Pictures must have the size of the settings.
///
/// # Errors
/// [`Error::Setting`] without training pictures or with a warm-up as long as the training;
/// [`Error::SampleSize`]; [`Error::NoMask`]; [`Error::OtherSamples`] where a training goes on with
/// other pictures than it began with; [`Error::Diverged`] where the loss is no number; those of
/// reading a picture.
pub fn train(
    state: &mut State,
    pictures: &Arc<Pictures>,
    validation: &Pictures,
    compute: &Compute,
    watch: &mut dyn FnMut(&State, Event) -> ControlFlow<()>,
) -> Result<End> {
    let settings = state.settings.clone();
    let nodes = settings.network.nodes();
    let device = compute.training();
    let total = state.begin(pictures, validation)?;
    let steps = settings.steps(pictures.len());
    let plan = plan(state, pictures.len());
    let augment = settings.augment.clone();
    let mut batches = Batches::new(pictures.clone(), plan, augment, settings.seed, AHEAD);
    loop {
        if state.epoch >= settings.epochs {
            return Ok(End::Done);
        }
        if state.is_stale() {
            return Ok(End::Early);
        }
        let epoch = state.epoch;
        let rate = |step| settings.rate_at(epoch * steps + step, total);
        for step in state.step..steps {
            // the last step of an epoch may have fewer pictures
            let first = step as usize * settings.per_step();
            let members = settings.per_step().min(pictures.len() - first);
            let parts = members.div_ceil(settings.batch);
            let batches: Vec<_> = profile::stage("pictures", || {
                batches.by_ref().take(parts).collect::<Result<_>>()
            })?;
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
                pictures: members,
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

impl State {
    /// Checks that a training on these pictures can begin or go on; the number of its steps.
    ///
    /// # Errors
    /// Those of [`train()`] that are known before the first step.
    pub fn begin(&mut self, pictures: &Pictures, validation: &Pictures) -> Result<u64> {
        let settings = &self.settings;
        let size = [settings.height, settings.width];
        pictures.check(size)?;
        validation.check(size)?;
        if pictures.is_empty() {
            return Err(Error::setting("training set", "0 pictures", "at least one"));
        }
        if validation.is_empty() && settings.validation.patience > 0 {
            let got = settings.validation.patience.to_string();
            let expected = "0 without a validation set: nothing says which network is best";
            return Err(Error::setting("validation.patience", got, expected));
        }
        let steps = settings.steps(pictures.len());
        let total = steps.saturating_mul(settings.epochs);
        if settings.warm_up >= total {
            let got = format!("{} steps", settings.warm_up);
            let expected = format!("less than the {total} steps of the training");
            return Err(Error::setting("warm_up", got, expected));
        }
        let names: Vec<&[u8]> = pictures.ids().map(str::as_bytes).collect();
        let hash = Rng::hash(&names.join(&b'\n'));
        if *self.samples.get_or_insert(hash) != hash || self.step > steps {
            return Err(Error::OtherSamples);
        }
        Ok(total)
    }
}

/// Epoch and members of every batch that is left, in order.
fn plan(state: &State, pictures: usize) -> impl Iterator<Item = (u64, Vec<usize>)> + use<> {
    let Train {
        seed,
        epochs,
        batch,
        ..
    } = state.settings;
    let per_step = state.settings.per_step();
    let (first, done) = (state.epoch, state.step as usize);
    (first..epochs).flat_map(move |epoch| {
        let order = order(seed, epoch, pictures);
        let skipped = if epoch == first { done } else { 0 };
        let steps = order.chunks(per_step).skip(skipped);
        let batches = steps.flat_map(|members| members.chunks(batch));
        batches
            .map(|part| (epoch, part.to_vec()))
            .collect::<Vec<_>>()
    })
}

/// The order of the pictures in an epoch.
fn order(seed: u64, epoch: u64, pictures: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pictures).collect();
    Rng::keyed(seed, &[ORDER, epoch]).shuffle(&mut order);
    order
}

/// Batches that are made ahead.
pub const AHEAD: usize = 2;

/// Key of the random stream.
const ORDER: u64 = 2;
