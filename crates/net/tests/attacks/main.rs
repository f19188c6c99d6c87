//! Attacks on networks of which everything is known: a linear one, and those of `tests/vectors`. Recorded
//! logits and steps are in `../shared/vectors/attacks` (said aloud where the files are not there).

mod budget;
mod laws;
mod toys;
#[path = "../vectors/mod.rs"]
mod vectors;
