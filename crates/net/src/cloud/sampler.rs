//! From noise to votes about points: clouds are drawn, labelled and counted one by one, and none is kept.

use std::ops::{ControlFlow, Range};

use certiseg_cert::smoothing::{Canary, Family, Sampling, Stage};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::chance::part;
use super::noise::{CloudNoise, Drawn, Key, Source, from_grid, to_grid};
use super::{Catalogue, Cloud, CloudModel};
use crate::data::hex;
use crate::error::{Error, Result};
use crate::smooth::canary::{hash, judge_sums};
use crate::smooth::{End, Moments, Stamp, State, Stream, image_number};

/// Most passes of a sample.
const MOST_PASSES: u32 = 1000;

/// Draws noisy clouds for a model.
///
/// Sample i of a cloud is a function of (seed, name, i) alone, whatever the number of threads and what was drawn
/// before. A model whose farthest point sampling begins somewhere is a random one: each pass gets a start of its
/// own, keyed by (seed, name, sample, pass) and independent of the noise, and one sample may average several passes,
/// which are then part of the draw. Labels are parts of the category of the shape: no others are voted for.
pub struct CloudSampler<'a> {
    model: &'a dyn CloudModel,
    catalogue: &'a Catalogue,
    source: Box<dyn Source + 'a>,
    moments: Option<Moments>,
    seed: u64,
    passes: u32,
}

/// A cloud on the grid.
struct OnGrid<'c> {
    points: Vec<[i32; 3]>,
    normals: &'c [[f32; 3]],
    parts: Range<u8>,
    category: u8,
    image: u32,
}

impl<'a> CloudSampler<'a> {
    /// Of a model under noise, so many `passes` averaged a sample.
    ///
    /// # Errors
    /// [`Error::Setting`] for a model of other parts than the catalogue, and unless there are 1 to 1000 passes, of a model
    /// that samples no points 1.
    pub fn new(
        model: &'a dyn CloudModel,
        catalogue: &'a Catalogue,
        noise: CloudNoise,
        (seed, passes): (u64, u32),
    ) -> Result<Self> {
        Self::of(model, catalogue, Box::new(noise), (seed, passes))
    }

    pub(super) fn of(
        model: &'a dyn CloudModel,
        catalogue: &'a Catalogue,
        source: Box<dyn Source + 'a>,
        (seed, passes): (u64, u32),
    ) -> Result<Self> {
        let [got, expected] = [model.classes(), catalogue.classes()];
        if got != expected {
            let expected = format!("{expected}, the parts of the catalogue");
            return Err(Error::setting(
                "classes of the model",
                got.to_string(),
                expected,
            ));
        }
        let most = if model.samples_points() {
            MOST_PASSES
        } else {
            1
        };
        if !(1..=most).contains(&passes) {
            let expected = match most {
                1 => "1: this network samples no points, all passes of a sample are alike".into(),
                most => format!("1 to {most}"),
            };
            return Err(Error::setting("passes", passes.to_string(), expected));
        }
        let moments = source.noise().moments();
        Ok(CloudSampler {
            model,
            catalogue,
            source,
            moments,
            seed,
            passes,
        })
    }

    /// A state without samples.
    ///
    /// # Errors
    /// Those of [`Cloud::check`]; [`Error::Setting`] unless 1 to 255 samples choose.
    pub fn start(&self, cloud: &Cloud, choose: usize, stage: Stage) -> Result<State> {
        if !(1..=255).contains(&choose) {
            let expected = "1 to 255 samples that choose the classes";
            return Err(Error::setting("n0", choose.to_string(), expected));
        }
        Ok(State::new(self.stamp(cloud, choose, stage)?))
    }

    /// Goes on until `samples` test samples are counted (of a single stage, all samples), or `watch`, which
    /// sees the state after each sample, breaks. May be called again with more.
    ///
    /// # Errors
    /// [`Error::OtherSampling`] for a state of another cloud, model, noise or seed; [`Error::SameInput`] and
    /// [`Error::NoiseMoment`], after which nothing that was counted may be used; those of the model.
    pub fn run(
        &self,
        cloud: &Cloud,
        state: &mut State,
        samples: usize,
        watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
    ) -> Result<End> {
        let stamp = self.stamp(cloud, state.stamp().choose, state.stamp().stage)?;
        state.stamp().check(&stamp)?;
        let first = match stamp.stage {
            Stage::Two => stamp.choose,
            Stage::Single { .. } => 0,
        };
        let last = u32::try_from(samples.saturating_add(first)).unwrap_or(u32::MAX);
        let on_grid = self.on_grid(cloud)?;
        let wave = rayon::current_num_threads() as u32;
        let mut next = state.drawn();
        while next < last {
            let end = last.min(next.saturating_add(wave));
            let drawn: Vec<_> = (next..end)
                .into_par_iter()
                .with_max_len(1)
                .map(|sample| self.sample(&on_grid, sample))
                .collect();
            for (sample, result) in (next..end).zip(drawn) {
                let (labels, entered) = result?;
                state.take(sample, &labels, &[entered])?;
                if watch(state).is_break() {
                    return Ok(End::Stopped);
                }
            }
            next = end;
        }
        Ok(End::Done)
    }

    /// Labels of the cloud itself, on the grid, without noise; farthest point sampling begins at point 0.
    ///
    /// # Errors
    /// Those of [`Cloud::check`] and of the model.
    pub fn plain(&self, cloud: &Cloud) -> Result<Vec<u8>> {
        let on_grid = self.on_grid(cloud)?;
        let clean = Drawn {
            points: on_grid.points.iter().map(|p| p.map(from_grid)).collect(),
            normals: on_grid.normals.to_vec(),
        };
        let scores = self.scores(&on_grid, &clean, 0)?;
        Ok(argmax(&scores, self.model.classes(), &on_grid.parts))
    }

    /// How the votes of a state came about, for rows.
    pub fn sampling(&self, state: &State, family: Family) -> Sampling {
        let noise = self.source.noise();
        let points = state.stamp().size[1];
        let draws = u64::from(state.drawn()) * 3 * points as u64;
        Sampling {
            law: noise.law(),
            unit: noise.unit(points),
            choose: state.stamp().choose,
            samples: state.samples(),
            forwards: self.forwards(state),
            seed: Some(self.seed),
            family,
            floating_point: noise.floating_point(),
            distance: noise.distance(draws),
            canary: Canary::NoDuplicates,
        }
    }

    /// Passes through the network for all samples of a state.
    pub fn forwards(&self, state: &State) -> u64 {
        u64::from(state.drawn()) * u64::from(self.passes)
    }

    fn stamp(&self, cloud: &Cloud, choose: usize, stage: Stage) -> Result<Stamp> {
        let noise = self.source.noise();
        Ok(Stamp {
            image: cloud.id.clone(),
            picture: digest(&self.on_grid(cloud)?),
            size: [1, cloud.points.len()],
            model: format!(
                "{}, {} passes, {} of {:?}",
                self.model.identity(),
                self.passes,
                noise.name(),
                self.catalogue.parts
            ),
            law: noise.law(),
            arithmetic: noise.arithmetic(),
            seed: self.seed,
            choose,
            stage,
        })
    }

    fn on_grid<'c>(&self, cloud: &'c Cloud) -> Result<OnGrid<'c>> {
        cloud.check(self.catalogue)?;
        Ok(OnGrid {
            points: cloud.points.iter().map(|p| p.map(to_grid)).collect(),
            normals: &cloud.normals,
            parts: self.catalogue.parts(cloud.category)?,
            category: cloud.category,
            image: image_number(&cloud.id),
        })
    }

    /// Labels of a sample, and the hash of what entered the network.
    fn sample(&self, cloud: &OnGrid, sample: u32) -> Result<(Vec<u8>, u64)> {
        let key = Key {
            seed: self.seed,
            image: cloud.image,
            sample,
        };
        let drawn = self.source.draw(key, &cloud.points, cloud.normals);
        if let Some(moments) = &self.moments {
            let pairs = drawn.points.iter().zip(&cloud.points);
            let (mut sum, mut squares) = (0.0, 0.0);
            for (noisy, clean) in pairs {
                for axis in 0..3 {
                    let noise = f64::from(noisy[axis] - from_grid(clean[axis]));
                    sum += noise;
                    squares += noise * noise;
                }
            }
            judge_sums(moments, sample, 3 * cloud.points.len(), [sum, squares])?;
        }
        let entered = hash(drawn.points.as_flattened());
        let classes = self.model.classes();
        let mut sums = vec![0.0; cloud.points.len() * classes];
        for pass in 0..self.passes {
            let start = start(key, pass, cloud.points.len());
            let scores = self.scores(cloud, &drawn, start)?;
            // their log-softmax has the same order: of a point it is one number off
            let pairs = sums.iter_mut().zip(scores);
            pairs.for_each(|(sum, score)| *sum += f64::from(score));
        }
        Ok((argmax(&sums, classes, &cloud.parts), entered))
    }

    fn scores(&self, cloud: &OnGrid, drawn: &Drawn, start: usize) -> Result<Vec<f32>> {
        let Drawn { points, normals } = drawn;
        let scores = self.model.scores(points, normals, cloud.category, start)?;
        let expected = points.len() * self.model.classes();
        match scores.len() == expected {
            true => Ok(scores),
            false => Err(Error::setting(
                "scores of the model",
                scores.len().to_string(),
                format!("{expected}, one for each point and part"),
            )),
        }
    }
}

/// Where farthest point sampling begins in a pass.
fn start(key: Key, pass: u32, points: usize) -> usize {
    let mut pair = [0; 2];
    key.bits(Stream::Points).fill(pass as usize, &mut pair);
    part(pair[0], points)
}

/// Part of the highest score of each point among those of its category, ties to the lowest; scores are (P, K).
fn argmax<T: PartialOrd>(scores: &[T], classes: usize, parts: &Range<u8>) -> Vec<u8> {
    let best = |scores: &[T]| {
        parts.clone().fold(parts.start, |best, part| {
            match scores[usize::from(part)] > scores[usize::from(best)] {
                true => part,
                false => best,
            }
        })
    };
    scores.chunks(classes.max(1)).map(best).collect()
}

/// SHA-256 of category, points on the grid and normals.
fn digest(cloud: &OnGrid) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{} {}\n", cloud.category, cloud.points.len()));
    for number in cloud.points.as_flattened() {
        digest.update(number.to_le_bytes());
    }
    for value in cloud.normals.as_flattened() {
        digest.update(value.to_le_bytes());
    }
    hex(&digest.finalize())
}
