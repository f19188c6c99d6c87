//! From noise to votes: samples are drawn, labelled and counted one by one, and none is kept.

use std::ops::{ControlFlow, Range};

use certiseg_cert::smoothing::{self as cert, Family, Sampling, Stage};
use rayon::prelude::*;

use super::canary::{hash, judge};
use super::means::Means;
use super::model::{Enter, Model, argmax};
use super::noise::{Arithmetic, Moments, Noise};
use super::philox::{Philox, Stream};
use super::state::{Stamp, State};
use crate::data::Sample;
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All samples are counted.
    Done,
    /// The watch broke it off.
    Stopped,
}

/// Draws noisy pictures for a model.
///
/// Sample i of an image is a function of (seed, image, i) alone: whatever the batch, the number of threads
/// (those of the rayon pool it runs in) and what was drawn before, votes have the same bits. Of two stages
/// samples 0..n0 choose the classes and those from n0 on test them; of a single stage samples 0..n do
/// both, the first n0 of them choosing.
pub struct Sampler<'a> {
    model: &'a dyn Model,
    source: Box<dyn Source + 'a>,
    seed: u64,
    batch: usize,
}

/// Where noisy pictures come from; tests put mutants in its place.
pub(super) trait Source: Sync {
    fn law(&self) -> (cert::Law, Arithmetic);
    fn moments(&self) -> Moments;
    fn distance(&self, draws: u64) -> f64;
    fn draw(&self, bits: &Philox, sample: u32, picture: &[u8], noisy: &mut [f32]);
}

impl Source for Noise {
    fn law(&self) -> (cert::Law, Arithmetic) {
        (Noise::law(self), self.arithmetic())
    }

    fn moments(&self) -> Moments {
        Noise::moments(self)
    }

    fn distance(&self, draws: u64) -> f64 {
        Noise::distance(self, draws)
    }

    fn draw(&self, bits: &Philox, _: u32, picture: &[u8], noisy: &mut [f32]) {
        self.add(bits, picture, noisy);
    }
}

/// The number that stands for an image in the counter of its noise: a 32-bit hash of its name (FNV-1a of 64
/// bits, both halves added), so that shards of a data set agree whatever else they hold. Names of a data set
/// with the same number are refused by [`image_numbers`].
pub fn image_number(name: &str) -> u32 {
    let hash = Rng::hash(name.as_bytes());
    (hash as u32).wrapping_add((hash >> 32) as u32)
}

/// The numbers of all images of a data set.
///
/// # Errors
/// [`Error::SameNumber`] where two names have one: their noise would be the same. Certificates of each hold
/// even so, but they would not be independent.
pub fn image_numbers<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Vec<u32>> {
    let mut seen = std::collections::HashMap::new();
    let number = |name: &'n str| {
        let number = image_number(name);
        match seen.insert(number, name) {
            None => Ok(number),
            Some(first) => Err(Error::SameNumber {
                first: first.into(),
                second: name.into(),
            }),
        }
    };
    names.into_iter().map(number).collect()
}

/// Classes that label maps have names for.
const MOST_CLASSES: usize = 253;

impl<'a> Sampler<'a> {
    /// Of a model under noise.
    ///
    /// # Errors
    /// [`Error::Setting`] for a model of more than 253 classes.
    pub fn new(model: &'a dyn Model, noise: Noise, seed: u64) -> Result<Self> {
        Self::of(model, Box::new(noise), seed)
    }

    pub(super) fn of(
        model: &'a dyn Model,
        source: Box<dyn Source + 'a>,
        seed: u64,
    ) -> Result<Self> {
        if model.classes() > MOST_CLASSES {
            let expected = format!("at most {MOST_CLASSES}: labels beyond mean no class");
            let got = model.classes().to_string();
            return Err(Error::setting("classes", got, expected));
        }
        Ok(Sampler {
            model,
            source,
            seed,
            batch: rayon::current_num_threads(),
        })
    }

    /// With so many samples under way at once, at least 1; by default the threads of the pool. Each needs the
    /// memory of a pass.
    pub fn batch(self, batch: usize) -> Self {
        Sampler {
            batch: batch.max(1),
            ..self
        }
    }

    /// A state without samples.
    ///
    /// # Errors
    /// [`Error::SampleSize`] for a picture of another size; [`Error::Setting`] unless 1 to 255 samples choose.
    pub fn start(&self, picture: &Sample, choose: usize, stage: Stage) -> Result<State> {
        if !(1..=255).contains(&choose) {
            let expected = "1 to 255 samples that choose the classes";
            return Err(Error::setting("n0", choose.to_string(), expected));
        }
        Ok(State::new(self.stamp(picture, choose, stage)?))
    }

    /// Goes on until `samples` test samples are counted (of a single stage, all samples), or `watch`, which
    /// sees the state after each sample, breaks. May be called again with more: looks at the votes between
    /// are [`cert::Looks`]'s to allow.
    ///
    /// # Errors
    /// [`Error::OtherSampling`] for a state of another picture, model, noise or seed; [`Error::SameInput`] and
    /// [`Error::NoiseMoment`], after which nothing that was counted may be used; those of the model.
    pub fn run(
        &self,
        picture: &Sample,
        state: &mut State,
        samples: usize,
        watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
    ) -> Result<End> {
        self.go(picture, (state, None), samples, &mut |_, _| Ok(()), watch)
    }

    /// As [`Sampler::run`], or with `means` as [`Sampler::run_with_means`]; `see` gets the number and the label map
    /// of each sample before it is counted.
    ///
    /// # Errors
    /// As these, and those of `see`.
    pub fn run_seeing(
        &self,
        picture: &Sample,
        (state, means): (&mut State, Option<&mut Means>),
        samples: usize,
        see: &mut dyn FnMut(u32, &[u8]) -> Result<()>,
        watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
    ) -> Result<End> {
        if let Some(means) = &means {
            same_number(state, means)?;
        }
        self.go(picture, (state, means), samples, see, watch)
    }

    /// As [`Sampler::run`], with the sums of the scores of the test samples from the same passes: their means
    /// go into [`cert::MeanLogits`]. Sums are not stored with a state: begin both, and go on with both.
    ///
    /// # Errors
    /// As [`Sampler::run`]; [`Error::OtherSampling`] for sums of another number of samples than the votes; those
    /// of models without scores.
    pub fn run_with_means(
        &self,
        picture: &Sample,
        (state, means): (&mut State, &mut Means),
        samples: usize,
        watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
    ) -> Result<End> {
        same_number(state, means)?;
        let both = (state, Some(means));
        self.go(picture, both, samples, &mut |_, _| Ok(()), watch)
    }

    fn go(
        &self,
        picture: &Sample,
        (state, mut means): (&mut State, Option<&mut Means>),
        samples: usize,
        see: &mut dyn FnMut(u32, &[u8]) -> Result<()>,
        watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
    ) -> Result<End> {
        let stamp = self.stamp(picture, state.stamp().choose, state.stamp().stage)?;
        state.stamp().check(&stamp)?;
        let first = first_test(&stamp);
        let total = samples.saturating_add(first as usize);
        let range = state.drawn()..u32::try_from(total).unwrap_or(u32::MAX);
        let scores = means.is_some();
        let work = |noisy: &[f32], enter: &mut Enter| match scores {
            false => Ok((self.model.labels(noisy, enter)?, Vec::new())),
            true => {
                let logits = self.model.logits(noisy, enter)?;
                Ok((argmax(&logits, self.model.classes()), logits))
            }
        };
        self.draws(picture, range, work, |sample, (labels, logits), hashes| {
            see(sample, &labels)?;
            state.take(sample, &labels, &hashes)?;
            if let Some(means) = means.as_mut().filter(|_| sample >= first) {
                means.add(&logits)?;
            }
            Ok(watch(state))
        })
    }

    /// How the votes of a state came about, for rows.
    pub fn sampling(&self, state: &State, family: Family) -> Sampling {
        let (law, arithmetic) = self.source.law();
        let [height, width] = self.model.size();
        Sampling {
            law,
            unit: format!("[0,1], 3x{height}x{width}"),
            choose: state.stamp().choose,
            samples: state.samples(),
            forwards: self.forwards(state),
            seed: Some(self.seed),
            family,
            floating_point: match arithmetic {
                Arithmetic::Grid => cert::FloatingPoint::Covered,
                Arithmetic::Float => cert::FloatingPoint::Modulo,
            },
            distance: self
                .source
                .distance(u64::from(state.drawn()) * (3 * height * width) as u64),
            // a model that does not show what enters it is not watched
            canary: match state.entered() == self.forwards(state) {
                true => cert::Canary::NoDuplicates,
                false => cert::Canary::NotRun,
            },
        }
    }

    /// Passes through the network for all samples of a state: scales and flips count each, samples that choose
    /// too.
    pub fn forwards(&self, state: &State) -> u64 {
        u64::from(state.drawn()) * self.model.forwards()
    }

    fn stamp(&self, picture: &Sample, choose: usize, stage: Stage) -> Result<Stamp> {
        let got = [picture.height, picture.width];
        let expected = self.model.size();
        if got != expected || picture.image.len() != 3 * got[0] * got[1] {
            return Err(Error::SampleSize {
                id: picture.id.clone(),
                got,
                expected,
            });
        }
        let (law, arithmetic) = self.source.law();
        Ok(Stamp {
            image: picture.id.clone(),
            picture: super::state::digest(picture),
            size: got,
            model: self.model.identity(),
            law,
            arithmetic,
            seed: self.seed,
            choose,
            stage,
        })
    }

    /// Draws samples in waves, works on those of a wave side by side, and hands the results over in order.
    fn draws<T: Send>(
        &self,
        picture: &Sample,
        samples: Range<u32>,
        work: impl Fn(&[f32], &mut Enter) -> Result<T> + Sync,
        mut take: impl FnMut(u32, T, Vec<u64>) -> Result<ControlFlow<()>>,
    ) -> Result<End> {
        let image = image_number(&picture.id);
        let moments = self.source.moments();
        let one = |sample: u32| -> Result<(T, Vec<u64>)> {
            let bits = Philox::new(self.seed, Stream::Certification, image, sample);
            let mut noisy = vec![0.0; picture.image.len()];
            self.source.draw(&bits, sample, &picture.image, &mut noisy);
            judge(&moments, sample, &picture.image, &noisy)?;
            let mut hashes = Vec::new();
            let result = work(&noisy, &mut |tensor| hashes.push(hash(tensor)))?;
            Ok((result, hashes))
        };
        let mut next = samples.start;
        while next < samples.end {
            let end = samples.end.min(next.saturating_add(self.batch as u32));
            let wave: Vec<_> = (next..end)
                .into_par_iter()
                .with_max_len(1)
                .map(one)
                .collect();
            for (sample, result) in (next..end).zip(wave) {
                let (result, hashes) = result?;
                if take(sample, result, hashes)?.is_break() {
                    return Ok(End::Stopped);
                }
            }
            next = end;
        }
        Ok(End::Done)
    }
}

/// An error for sums of another number of samples than the votes.
fn same_number(state: &State, means: &Means) -> Result<()> {
    let tested = state.drawn().saturating_sub(first_test(state.stamp()));
    if means.samples() == tested as usize {
        return Ok(());
    }
    Err(Error::OtherSampling {
        field: "number of mean scores",
        got: means.samples().to_string(),
        expected: tested.to_string(),
    })
}

/// The number of the first sample that tests.
fn first_test(stamp: &Stamp) -> u32 {
    match stamp.stage {
        Stage::Two => stamp.choose as u32,
        Stage::Single { .. } => 0,
    }
}
