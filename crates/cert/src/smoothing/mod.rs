//! Randomized smoothing.

mod cohen;
mod correction;
mod elementary;
mod guess;
mod law;
mod looks;
mod lower;
mod normal;
mod plan;
mod radius;
mod tail;
mod verdict;
mod votes;
mod wide;

pub use cohen::{Joint, Prediction, certify, indiv_class, joint_class, predict};
pub use correction::{Correction, weighted_bonferroni};
pub use guess::{ABSTAIN, Guess, Guessed, IGNORE};
pub use law::{Law, Promise};
pub use looks::{Look, Looks};
pub use lower::lower_bound;
pub use normal::{normal_cdf, normal_quantile};
pub use plan::{Plan, Step, Warning, tau_of};
pub use radius::{RadiusPoint, RadiusTable};
pub use tail::{MAX_SAMPLES, Tail};
pub use verdict::{Decision, Procedure, Stage};
pub use votes::Votes;
