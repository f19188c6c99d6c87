//! Randomized smoothing: noise on a picture, label maps of any model, votes for the judge
//! ([`certiseg_cert::smoothing`]).
//!
//! What the judge is told must be true: votes come from independent draws of the stated noise. So noise
//! is a function of counters ([`philox`](Philox)) that no batch, thread or shard can change, on a grid it is
//! exact ([`Noise`]), and what enters the network is watched ([`canary`]).
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use certiseg_cert::smoothing::{Correction, Law, Procedure, Stage};
//! use certiseg_net::data::Sample;
//! use certiseg_net::smooth::{Arithmetic, End, Enter, Model, Noise, Sampler};
//!
//! /// Class 1 where green is above a half.
//! struct Green;
//!
//! impl Model for Green {
//!     fn size(&self) -> [usize; 2] {
//!         [8, 8]
//!     }
//!     fn classes(&self) -> usize {
//!         2
//!     }
//!     fn identity(&self) -> String {
//!         "green".into()
//!     }
//!     fn labels(&self, picture: &[f32], enter: &mut Enter) -> certiseg_net::Result<Vec<u8>> {
//!         enter(picture);
//!         Ok(picture[64..128].iter().map(|green| u8::from(*green > 0.5)).collect())
//!     }
//! }
//!
//! let picture = Sample { id: "a".into(), height: 8, width: 8, image: vec![250; 192], mask: None };
//! let noise = Noise::new(Law::Gaussian { sigma: 0.25 }, Arithmetic::Grid)?;
//! let sampler = Sampler::new(&Green, noise, 7)?;
//!
//! // ten samples choose the classes, a hundred test them; after each one may stop and store the state
//! let mut state = sampler.start(&picture, 10, Stage::Two)?;
//! let end = sampler.run(&picture, &mut state, 100, &mut |_| ControlFlow::Continue(()))?;
//! let votes = state.votes().expect("classes are chosen");
//! assert_eq!((end, votes.samples(), sampler.forwards(&state)), (End::Done, 100, 110));
//!
//! let procedure = Procedure { tau: 0.75, alpha: 0.001, correction: Correction::Holm, stage: Stage::Two };
//! let decision = procedure.decide(votes.samples(), &votes.histogram(None)?)?;
//! assert!(decision.certified > 60);
//! # Ok::<(), certiseg_net::Error>(())
//! ```

pub mod canary;
mod means;
mod model;
mod noise;
mod philox;
mod real;
mod sampler;
mod scale;
mod state;
#[cfg(test)]
mod tests;

pub use means::Means;
pub use model::{Enter, Model, NetworkModel, Views, argmax};
pub(crate) use noise::Table;
pub use noise::{Arithmetic, Moments, Noise};
pub use philox::{Philox, Stream};
pub use sampler::{End, Sampler, image_number, image_numbers};
pub use state::{Stamp, State};
