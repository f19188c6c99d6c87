//! Attacks on networks of which everything is known: a linear one, and those of `tests/vectors`, with logits and
//! steps that others recorded.

mod budget;
mod laws;
mod toys;
#[path = "../vectors/mod.rs"]
mod vectors;
