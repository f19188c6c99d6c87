//! Training of a [`SmallPointNet`] on labelled clouds under Gaussian noise.
//!
//! As point networks are usually trained: each cloud is scaled and shifted at random, then its coordinates
//! get noise. The loss of a point sees the parts of its category only, as the labels of smoothed clouds do.
//! All chance is keyed by (seed, epoch, cloud): same seed, same bits.

use std::f64::consts::{PI, TAU};
use std::ops::ControlFlow;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::small::SmallPointNet;
use super::{Catalogue, Cloud};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::loss::{Targets, cross_entropy};
use crate::network::{Network, floats};
use crate::node::{Node, Weights, forward, on};
use crate::optimizer::{AdamW, Moments, clip};
use crate::parameters::Parameters;
use crate::rng::Rng;
use crate::train::{Centering, gradients};

/// Settings of a training on clouds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudTrain {
    /// What is trained.
    pub network: SmallPointNet,
    /// Times that each cloud is seen.
    pub epochs: u64,
    /// Clouds of a step.
    pub batch: usize,
    /// Learning rate of the first step, from which it falls in half a cosine.
    pub rate: f64,
    /// Learning rate of the last step.
    pub last_rate: f64,
    /// Largest l2 norm of a gradient; 0: any.
    pub clip: f64,
    /// The optimiser.
    pub adamw: AdamW,
    /// τ of the cross-entropy CE(τ·f, y)/τ: large for Lipschitz networks, 1 for others.
    pub temperature: f64,
    /// Standard deviation of the noise on each coordinate.
    pub sigma: f64,
    /// Least and largest factor of all coordinates of a cloud.
    pub scale: [f64; 2],
    /// Largest shift along each axis.
    pub shift: f64,
    /// Whether clouds are turned about the z axis by an angle of any size.
    pub turn: bool,
    /// Share of the old value in a running mean.
    pub mean_decay: f32,
    /// Seed of everything.
    pub seed: u64,
}

impl Default for CloudTrain {
    fn default() -> Self {
        Self {
            network: SmallPointNet::default(),
            epochs: 20,
            batch: 16,
            rate: 2e-3,
            last_rate: 1e-5,
            clip: 0.0,
            adamw: AdamW::default(),
            temperature: 1.0,
            sigma: 0.25,
            scale: [0.8, 1.25],
            shift: 0.1,
            turn: false,
            mean_decay: 0.9,
            seed: 0,
        }
    }
}

/// Keys of the random streams.
const ORDER: u64 = 21;
const CLOUD: u64 = 22;

/// Added to the logits of parts of other categories, divided by the temperature: e to its power is 0.
const ELSEWHERE: f32 = -1e4;

impl CloudTrain {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field; those of [`SmallPointNet::check`].
    pub fn check(&self) -> Result<()> {
        self.network.check()?;
        let positive = |v: f64| v > 0.0 && v < f64::INFINITY;
        let [low, high] = self.scale;
        let [first, second] = self.adamw.betas;
        let fields = [
            (
                "epochs",
                self.epochs as f64,
                (1..=1_000_000).contains(&self.epochs),
                "1 to 1000000",
            ),
            (
                "batch",
                self.batch as f64,
                (1..=1 << 16).contains(&self.batch),
                "1 to 65536",
            ),
            ("rate", self.rate, positive(self.rate), "a positive number"),
            (
                "last_rate",
                self.last_rate,
                positive(self.last_rate),
                "a positive number",
            ),
            (
                "clip",
                self.clip,
                (0.0..f64::INFINITY).contains(&self.clip),
                "a finite number of at least 0",
            ),
            (
                "adamw.betas",
                first.max(second),
                [first, second].iter().all(|beta| (0.0..1.0).contains(beta)),
                "at least 0 and less than 1",
            ),
            (
                "adamw.epsilon",
                self.adamw.epsilon,
                positive(self.adamw.epsilon),
                "a positive number",
            ),
            (
                "adamw.weight_decay",
                self.adamw.weight_decay,
                (0.0..1.0).contains(&self.adamw.weight_decay),
                "at least 0 and less than 1",
            ),
            (
                "temperature",
                self.temperature,
                positive(self.temperature),
                "a positive number",
            ),
            (
                "sigma",
                self.sigma,
                (0.0..=10.0).contains(&self.sigma),
                "0 to 10",
            ),
            (
                "scale",
                low,
                low > 0.0 && low <= high && high <= 10.0,
                "two positive numbers in rising order, up to 10",
            ),
            (
                "shift",
                self.shift,
                (0.0..=10.0).contains(&self.shift),
                "0 to 10",
            ),
            (
                "mean_decay",
                f64::from(self.mean_decay),
                (0.0..1.0).contains(&self.mean_decay),
                "at least 0 and less than 1",
            ),
        ];
        match fields.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((field, got, _, expected)) => {
                Err(Error::setting(field, got.to_string(), expected))
            }
            None => Ok(()),
        }
    }

    /// Checks every field, and that clouds can be trained on; the number of points of each.
    ///
    /// # Errors
    /// Those of [`CloudTrain::check`] and [`Cloud::check`]; [`Error::Setting`] without clouds, without labels, with
    /// clouds of several sizes, or with other parts than the network.
    pub fn check_with(&self, clouds: &[Cloud], catalogue: &Catalogue) -> Result<usize> {
        self.check()?;
        let Some(first) = clouds.first() else {
            return Err(Error::setting("clouds", "0", "at least one to train on"));
        };
        let points = first.points.len();
        let classes = catalogue.classes();
        if classes != self.network.parts {
            let expected = format!("{classes}, those of the data");
            return Err(Error::setting(
                "network.parts",
                self.network.parts.to_string(),
                expected,
            ));
        }
        for cloud in clouds {
            cloud.check(catalogue)?;
            let (id, count) = (&cloud.id, cloud.points.len());
            for (what, count) in [("points", count), ("labels", cloud.labels.len())] {
                if count != points {
                    let expected = format!("{points}, the points of the first cloud");
                    let field = format!("number of {what} of {id}");
                    return Err(Error::setting(field, count.to_string(), expected));
                }
            }
        }
        Ok(points)
    }

    /// A cloud as it is seen in an epoch: (3, P).
    fn seen(&self, cloud: &Cloud, epoch: u64, index: usize) -> Vec<f32> {
        let mut rng = Rng::keyed(self.seed, &[CLOUD, epoch, index as u64]);
        let [low, high] = self.scale;
        let factor = low + (high - low) * rng.uniform();
        let shift = [(); 3].map(|()| self.shift * (2.0 * rng.uniform() - 1.0));
        let (sine, cosine) = match self.turn {
            true => (TAU * rng.uniform()).sin_cos(),
            false => (0.0, 1.0),
        };
        let count = cloud.points.len();
        let mut seen = vec![0.0; 3 * count];
        for (at, point) in cloud.points.iter().enumerate() {
            let [x, y, z] = point.map(f64::from);
            let [a, b] = rng.normals();
            let noise = [a, b, rng.normal()];
            let turned = [cosine * x - sine * y, sine * x + cosine * y, z];
            for axis in 0..3 {
                let value = factor * turned[axis] + shift[axis] + self.sigma * noise[axis];
                seen[axis * count + at] = value as f32;
            }
        }
        seen
    }
}

/// Trains on clouds of one size; `watch` sees each epoch, from 1, with its mean loss, and may end the training
/// there.
///
/// # Errors
/// Those of [`CloudTrain::check_with`]; [`Error::Diverged`] where the loss is no number.
pub fn train(
    settings: &CloudTrain,
    clouds: &[Cloud],
    catalogue: &Catalogue,
    watch: &mut dyn FnMut(u64, f64) -> ControlFlow<()>,
) -> Result<Network> {
    let points = settings.check_with(clouds, catalogue)?;
    let nodes = settings.network.nodes();
    let device = Compute::Cpu.training();
    let mut parameters = Parameters::start(&nodes, settings.seed);
    let mut moments = Moments::default();
    let steps = clouds.len().div_ceil(settings.batch) as u64;
    for epoch in 1..=settings.epochs {
        let mut order: Vec<usize> = (0..clouds.len()).collect();
        Rng::keyed(settings.seed, &[ORDER, epoch]).shuffle(&mut order);
        let mut losses = 0.0;
        for (step, members) in (1..).zip(order.chunks(settings.batch)) {
            let batch = Batch::new(settings, clouds, catalogue, (epoch, points), members);
            let done = (epoch - 1) * steps + step - 1;
            let rate = rate(settings, done, settings.epochs * steps);
            let loss = learn(
                settings,
                &nodes,
                batch,
                rate,
                &mut parameters,
                &mut moments,
                &device,
            )?;
            if !loss.is_finite() {
                return Err(Error::Diverged { epoch, step, loss });
            }
            losses += loss * members.len() as f64;
        }
        if watch(epoch, losses / clouds.len() as f64).is_break() {
            break;
        }
    }
    parameters.bake(&nodes)
}

/// Half a cosine.
fn rate(settings: &CloudTrain, done: u64, total: u64) -> f64 {
    let share = done as f64 / total.saturating_sub(1).max(1) as f64;
    let height = 0.5 * (1.0 + (PI * share).cos());
    settings.last_rate + (settings.rate - settings.last_rate) * height
}

/// Clouds of a step.
struct Batch {
    /// (B, 3, 1, P).
    input: Vec<f32>,
    /// (B, 1, P).
    labels: Vec<u8>,
    /// (B, K, 1, 1): what is added to the logits of each part.
    elsewhere: Vec<f32>,
    clouds: usize,
    points: usize,
}

impl Batch {
    fn new(
        settings: &CloudTrain,
        clouds: &[Cloud],
        catalogue: &Catalogue,
        (epoch, points): (u64, usize),
        members: &[usize],
    ) -> Self {
        let mut batch = Self {
            input: Vec::new(),
            labels: Vec::new(),
            elsewhere: Vec::new(),
            clouds: members.len(),
            points,
        };
        for &index in members {
            let cloud = &clouds[index];
            let parts = &catalogue.parts[usize::from(cloud.category)];
            batch.input.extend(settings.seen(cloud, epoch, index));
            batch.labels.extend(&cloud.labels);
            let own =
                |part: usize| (usize::from(parts.start)..usize::from(parts.end)).contains(&part);
            let added = |part| match own(part) {
                true => 0.0,
                false => ELSEWHERE / settings.temperature as f32,
            };
            batch
                .elsewhere
                .extend((0..settings.network.parts).map(added));
        }
        batch
    }
}

/// One step: the loss before it.
fn learn(
    settings: &CloudTrain,
    nodes: &[Node],
    batch: Batch,
    rate: f64,
    parameters: &mut Parameters,
    moments: &mut Moments,
    device: &Device,
) -> Result<f64> {
    let Batch {
        input,
        labels,
        elsewhere,
        clouds,
        points,
    } = batch;
    let parts = settings.network.parts;
    let effective = parameters.effective(nodes);
    // leaves, which keep their gradients
    let weights = Weights::new(nodes, &effective.tensors, device, DType::F32, |x| {
        x.require_grad()
    });
    let tensor = |values: Vec<f32>, shape: [usize; 4]| {
        Tensor::<4>::from_data(TensorData::new(values, shape), on(device, DType::F32))
    };
    // the first batch sets the running statistics, later ones move them
    let decay = if moments.steps == 0 {
        0.0
    } else {
        settings.mean_decay
    };
    let mut centering = Centering::new(&mut parameters.running, &weights, decay);
    let input = tensor(input, [clouds, 3, 1, points]);
    let logits = forward(nodes, input, &weights, &mut |node, x| centering.of(node, x));
    centering.end()?;
    let targets = Targets::new(&labels, [clouds, 1, points], &vec![1.0; parts], device);
    let logits = logits + tensor(elsewhere, [clouds, parts, 1, 1]);
    let loss = cross_entropy(logits, &targets, settings.temperature);
    let by_name = gradients(&weights, &loss)?;
    let value = floats(loss)?[0];
    let mut raw = effective.backward(by_name);
    clip(&mut raw, settings.clip);
    settings
        .adamw
        .step(rate, &mut parameters.raw, &raw, moments);
    Ok(value)
}

#[cfg(test)]
mod tests;
