//! Parametrisations: how weights follow from free raw parameters, most of them with a norm of at most
//! one by construction.
//!
//! Each has three parts: `weight(raw)` with its backward pass, in f32 for training and in f64 for
//! baking; the rigorous bound of the baked weight, in [`certiseg_cert`]; and the start values.

pub mod aoc;
pub mod aol;
pub mod kernel;
pub mod matrix;
pub mod orthogonal;
mod parametrisation;
pub mod shape;
pub mod soc;
pub mod spectral;
#[cfg(test)]
mod testing;
pub mod unit_rows;

pub use parametrisation::{Parametrisation, Tape};
