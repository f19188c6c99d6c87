//! Randomized smoothing: votes of noisy pictures in, verdicts out. *Scalable Certified Segmentation via
//! Randomized Smoothing* ("paper 002"), with its errors mended.
//!
//! The caller draws noise, runs any network, and hands over label maps (u8, one class a component) or
//! counts; here is all that must be believed about them. No chance, files or threads, and no library's
//! logarithm: tails are computed in 128-bit integers, so that verdicts have the same bits everywhere.
//!
//! # What is assumed
//!
//! 1. Label maps are those of independent draws of the stated [`Law`], added to the input in the unit of
//!    the radius; the network sees each draw by itself.
//! 2. Samples that choose the classes and samples that test them are disjoint ([`Stage::Two`]), or
//!    procedures are used that allow one set for both ([`Stage::Single`]).
//! 3. n, tau, corrections, families and looks were set before the test samples were seen.
//!
//! # What is proved (paper 002, theorem 5.1, corrected)
//!
//! With probability 1 - alpha over the sampling, for all certified components and all changes of the input
//! within the radius at once: the *smoothed* model, which takes the class of most probability under noise,
//! gives the class stated. The model that abstains up to tau may be made to abstain; the paper says that
//! it may not, which is wrong (p = 0.7501 > tau = 0.75, sigma = 0.25: at distance 0.16 < R p may be 0.5139).
//! [`Promise::Strong`] excludes it, for less radius. Alpha is per image: of M images all statements hold
//! with probability 1 - M·alpha.
//!
//! # Rounding
//!
//! p-values are rounded up, with room for the rounding of the level that they are compared with ([`Tail`]);
//! lower bounds of probabilities and radii are rounded down. p <= level certifies, a tie of these numbers included; a tie of
//! the true ones is lost to the rounding.
//!
//! # A tour
//!
//! ```
//! use certiseg_cert::smoothing::*;
//!
//! // Six components; the network flickers at the fourth and is lost at the last two.
//! let sample = |draw: u32| [0, 1, 2, u8::from(draw % 9 == 0), (draw % 3) as u8, (draw % 4) as u8];
//!
//! // Ten samples choose the classes, a hundred others test them.
//! let mut guess = Guess::new(6);
//! for draw in 0..10 {
//!     guess.add(&sample(draw))?;
//! }
//! let mut votes = guess.two_stage()?;
//! for draw in 10..110 {
//!     votes.add(&sample(draw))?;
//! }
//!
//! // SegCertify: Holm's correction over all components.
//! let procedure = Procedure { tau: 0.75, alpha: 0.001, correction: Correction::Holm, stage: Stage::Two };
//! let decision = procedure.decide(votes.samples(), &votes.histogram(None)?)?;
//! assert_eq!((decision.certified, decision.threshold), (3, Some(100)));
//! assert_eq!(votes.certified(decision.threshold, None)?, [0, 1, 2, ABSTAIN, ABSTAIN, ABSTAIN]);
//!
//! // Their radius.
//! let law = Law::Gaussian { sigma: 0.25 };
//! let radius = law.radius(procedure.tau)?;
//! assert!(radius > 0.1686 && radius < 0.1687);
//!
//! // A radius for each component, for all thresholds at once.
//! let promise = Promise::ClassOrAbstain;
//! let table = RadiusTable::new((100, Stage::Two), (6, 0), 0.001, (law, promise))?;
//! let map = table.map(&votes)?;
//! assert!(map[0] > 0.33 && map[3] > 0.1 && map[5] == 0.0);
//!
//! // How many samples would have been enough, and what one more miss costs.
//! let plan = Plan { tau: 0.75, tests: 6, alpha: 0.001, correction: Correction::Holm, stage: Stage::Two, choose: 10 };
//! assert_eq!(plan.least()?, Some(31));
//! assert_eq!(plan.steps(2)?[1].samples, 40);
//! # Ok::<(), certiseg_cert::Error>(())
//! ```

mod abstention;
mod band;
mod boundary;
mod cohen;
mod correction;
mod curve;
mod dataset;
mod elementary;
mod family;
mod grid;
mod guess;
mod hierarchy;
mod hybrid;
mod law;
mod looks;
mod lower;
mod normal;
mod plan;
mod proposal;
mod radius;
mod row;
mod tail;
mod toy;
mod verdict;
mod versus;
mod votes;
mod wide;

pub use abstention::{AbstentionCounts, AbstentionFigures, Abstentions, ClassCounts};
pub use band::band;
pub use boundary::{BoundarySplit, Side, near_changes};
pub use cohen::{Joint, Prediction, certify, indiv_class, joint_class, predict};
pub use correction::{Correction, weighted_bonferroni};
pub use curve::{CurvePoint, SmoothCurve};
pub use dataset::SmoothDataset;
pub use family::not_ignored;
pub use grid::GridLaw;
pub use guess::{ABSTAIN, Guess, Guessed, IGNORE};
pub use hierarchy::{Hierarchy, Levels, Node, PathVotes};
pub use hybrid::{Hybrid, MeanLogits, smoothed_constant};
pub use law::{Law, Promise};
pub use looks::{Look, Looks};
pub use lower::lower_bound;
pub use normal::{normal_cdf, normal_quantile};
pub use plan::{Plan, Step, Warning, tau_of};
pub use proposal::{Line, Proposal, sigmas};
pub use radius::{RadiusPoint, RadiusTable};
pub use row::{Canary, Family, FloatingPoint, ImageFigures, Sampling, SmoothRow};
pub use tail::{MAX_SAMPLES, Tail};
pub use toy::{Expectation, Toy};
pub use verdict::{Decision, Procedure, Stage};
pub use versus::{crpa, image_mean};
pub use votes::Votes;
