//! Randomized smoothing.

mod correction;
mod elementary;
mod guess;
mod law;
mod lower;
mod normal;
mod radius;
mod tail;
mod verdict;
mod votes;
mod wide;

pub use correction::{Correction, weighted_bonferroni};
pub use guess::{ABSTAIN, Guess, Guessed, IGNORE};
pub use law::{Law, Promise};
pub use lower::lower_bound;
pub use normal::{normal_cdf, normal_quantile};
pub use radius::{RadiusPoint, RadiusTable};
pub use tail::{MAX_SAMPLES, Tail};
pub use verdict::{Decision, Procedure, Stage};
pub use votes::Votes;
