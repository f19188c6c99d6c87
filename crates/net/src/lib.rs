//! The player: Lipschitz segmentation networks, their training, data and attacks.
//!
//! What this crate tells the judge ([`certiseg_cert`]) must be true: the description of a network
//! is that of the function evaluated ([`node`] is walked by both), and logits come with a bound on
//! their error ([`network::Certifier`]). Everything else may be clever.

pub mod architecture;
pub mod attack;
mod bake;
pub mod bench;
pub mod checkpoint;
pub mod cloud;
pub mod compare;
pub mod confusion;
pub mod data;
mod deeplab;
pub mod device;
mod error;
pub mod evaluate;
mod fcn;
pub mod import;
pub mod infer;
pub mod layer;
pub mod loss;
pub mod network;
pub mod node;
pub mod onnx;
pub mod optimizer;
pub mod parameters;
pub mod parts;
pub mod profile;
pub mod rng;
pub mod rounding;
pub mod smooth;
pub mod summary;
pub mod toy;
pub mod train;
mod unet;

pub use error::{Error, Result};
