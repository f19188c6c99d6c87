//! How long a training step and an inference take, and where: on pictures of noise, without a disk.

use std::time::Instant;

use crate::data::{Batch, Pictures, Sample};
use crate::device::Compute;
use crate::error::Result;
use crate::infer::Inference;
use crate::network::Network;
use crate::profile::{self, Profile};
use crate::rng::Rng;
use crate::train::{State, Train};

/// Runs before the clock counts: caches, pages and the optimiser's moments are made there.
pub const WARM_UP: usize = 2;

/// The instructions that convolutions use: `avx512`, `avx2` or `portable`.
///
/// # Errors
/// Words for people where CERTISEG_SIMD names none that the processor has.
pub fn instructions() -> std::result::Result<&'static str, String> {
    certiseg_conv::instructions()
}

/// Threads that layers are computed with.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Times of equal runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// Wall seconds of every run.
    pub seconds: Vec<f64>,
    /// Sums over all of them.
    pub profile: Profile,
}

impl Times {
    /// The median, of an even number of runs the mean of the middle two.
    pub fn median(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_unstable_by(f64::total_cmp);
        let middle = |less: usize| seconds[(seconds.len() - less) / 2];
        match seconds.is_empty() {
            true => f64::NAN,
            false => 0.5 * (middle(1) + middle(0)),
        }
    }

    /// The shortest.
    pub fn least(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Times `repeats` training steps; `seen` is called after each, those of the warm-up included.
///
/// # Errors
/// Those of [`crate::train::train`].
pub fn training(settings: Train, repeats: usize, seen: &mut (dyn FnMut() + Send)) -> Result<Times> {
    // profiles belong to a thread: that of the pool which runs the steps
    rayon::scope(|_| time_training(settings, repeats, seen))
}

fn time_training(settings: Train, repeats: usize, seen: &mut dyn FnMut()) -> Result<Times> {
    let mut state = State::start(settings)?;
    let Train {
        batch,
        height,
        width,
        seed,
        ..
    } = state.settings;
    let classes = state.settings.network.classes as u64;
    let mut rng = Rng::keyed(seed, &[PICTURES]);
    let mut bytes = |count, below: u64| (0..count).map(|_| rng.below(below) as u8).collect();
    let noise = |_| Sample {
        id: "noise".into(),
        height,
        width,
        image: bytes(3 * height * width, 256),
        mask: Some(bytes(height * width, classes)),
    };
    let pictures = Pictures::of((0..batch).map(noise).collect())?;
    let (nodes, device) = (state.settings.network.nodes(), Compute::Cpu.training());
    let (augment, rate) = (state.settings.augment.clone(), state.settings.rate);
    let members: Vec<usize> = (0..batch).collect();
    let mut seconds = Vec::with_capacity(repeats);
    for step in 0..WARM_UP + repeats {
        if step == WARM_UP {
            profile::start();
        }
        let began = Instant::now();
        let batch = profile::stage("pictures", || {
            Batch::new(&pictures, &members, &augment, seed, step as u64)
        })?;
        state.learn(&nodes, &[batch], rate, &device)?;
        if step >= WARM_UP {
            seconds.push(began.elapsed().as_secs_f64());
        }
        seen();
    }
    Ok(Times {
        seconds,
        profile: profile::stop(),
    })
}

/// Times `repeats` forward passes of a baked network on one picture.
///
/// # Errors
/// Those of [`Inference::new`].
pub fn inference(
    network: &Network,
    [height, width]: [usize; 2],
    repeats: usize,
    seen: &mut (dyn FnMut() + Send),
) -> Result<Times> {
    rayon::scope(|_| time_inference(network, [height, width], repeats, seen))
}

fn time_inference(
    network: &Network,
    [height, width]: [usize; 2],
    repeats: usize,
    seen: &mut dyn FnMut(),
) -> Result<Times> {
    let mut rng = Rng::keyed(0, &[PICTURES]);
    let image: Vec<f32> = (0..3 * height * width)
        .map(|_| rng.uniform() as f32)
        .collect();
    let mut inference = Inference::<f32>::new(network, height, width)?;
    let mut seconds = Vec::with_capacity(repeats);
    for run in 0..WARM_UP + repeats {
        if run == WARM_UP {
            profile::start();
        }
        let began = Instant::now();
        inference.forward(&image)?;
        if run >= WARM_UP {
            seconds.push(began.elapsed().as_secs_f64());
        }
        seen();
    }
    Ok(Times {
        seconds,
        profile: profile::stop(),
    })
}

/// Key of the random stream.
const PICTURES: u64 = 0xbe;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Pass;

    #[test]
    fn every_step_is_timed_and_every_stage_seen() {
        let settings = Train {
            batch: 2,
            height: 32,
            width: 32,
            ..Train::default()
        };
        let mut seen = 0;
        let times = training(settings, 3, &mut || seen += 1).unwrap();
        assert_eq!((times.seconds.len(), seen), (3, 3 + WARM_UP));
        assert!(times.least() > 0.0 && times.least() <= times.median());
        let stages: f64 = times
            .profile
            .stages
            .iter()
            .map(|(_, seconds)| seconds)
            .sum();
        // stages lie inside the steps, and nearly fill them
        let whole: f64 = times.seconds.iter().sum();
        assert!(
            stages <= whole && stages > 0.5 * whole,
            "{stages} of {whole}"
        );
        for pass in [Pass::Forward, Pass::InputGradient, Pass::WeightGradient] {
            assert!(
                times.profile.layers.keys().any(|(_, p)| *p == pass),
                "{pass:?}"
            );
        }
    }

    #[test]
    fn the_median_is_a_run() {
        let times = |seconds: &[f64]| Times {
            seconds: seconds.to_vec(),
            profile: Profile::default(),
        };
        assert_eq!(times(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(times(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(times(&[4.0, 1.0]).least(), 1.0);
    }
}
