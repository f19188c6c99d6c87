//! Randomized smoothing.

mod abstention;
mod cohen;
mod correction;
mod elementary;
mod guess;
mod hierarchy;
mod hybrid;
mod law;
mod looks;
mod lower;
mod normal;
mod plan;
mod radius;
mod row;
mod tail;
mod verdict;
mod votes;
mod wide;

pub use abstention::{AbstentionFigures, Abstentions};
pub use cohen::{Joint, Prediction, certify, indiv_class, joint_class, predict};
pub use correction::{Correction, weighted_bonferroni};
pub use guess::{ABSTAIN, Guess, Guessed, IGNORE};
pub use hierarchy::{Hierarchy, Node, PathVotes};
pub use hybrid::{Hybrid, MeanLogits, smoothed_constant};
pub use law::{Law, Promise};
pub use looks::{Look, Looks};
pub use lower::lower_bound;
pub use normal::{normal_cdf, normal_quantile};
pub use plan::{Plan, Step, Warning, tau_of};
pub use radius::{RadiusPoint, RadiusTable};
pub use row::{Canary, Family, FloatingPoint, Sampling, SmoothRow};
pub use tail::{MAX_SAMPLES, Tail};
pub use verdict::{Decision, Procedure, Stage};
pub use votes::Votes;
