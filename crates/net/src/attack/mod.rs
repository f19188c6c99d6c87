//! Attacks: functions from (network, picture, aim, budget, settings, chance) to an attacked picture.
//!
//! One convention. The picture is (3, H, W) f32 in [0, 1], labels are (H, W) u8 with 255 = void, a
//! budget is a distance over all 3HW numbers in the unit of the picture. The attacked picture stays
//! in the box, within the budget ([`gate`]: checked in f64 on the very f32 numbers that are returned)
//! and is changed in the region of the [`scene`] only. Void pixels give no loss and count nowhere.
//! One picture at a time: no result depends on a batch. Chance is an argument.
//!
//! | file | what |
//! |---|---|
//! | [`model`], [`target`] | what an attack sees of a network; the network with gradients |
//! | [`scene`], [`criterion`], [`duel`] | the picture; what counts; both with a network, passes counted |
//! | [`losses`] | the table of losses |
//! | [`pgd`], [`apgd`] on [`ascent`] | gradients of a loss |
//! | [`knapsack`], [`lqa`] | ours: led by what the certificate fears |
//! | [`named`], [`suite`], [`least`] | all of them by name; the best of several; the least budget |
//! | [`minimal`] | attacks that look for the smallest change |
//! | [`noise`] | a model seen through noise |

pub mod apgd;
pub mod ascent;
pub mod criterion;
pub mod duel;
pub mod gate;
pub mod knapsack;
pub mod least;
pub mod losses;
pub mod lqa;
pub mod minimal;
pub mod model;
pub mod named;
pub mod noise;
pub mod pgd;
pub mod scene;
pub mod suite;
pub mod target;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use criterion::{Aim, Criterion, View, Wish};
pub use duel::{Best, Duel};
pub use gate::{Ball, distance};
pub use losses::{Form, Loss};
pub use minimal::{Goal, Method};
pub use model::{Model, Sparse};
pub use named::Attack;
pub use noise::Noisy;
pub use scene::Scene;
pub use suite::Suite;
pub use target::Target;

/// An attacked picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Attacked {
    /// (3, H, W) in [0, 1].
    pub image: Vec<f32>,
    /// Distance to the clean picture in the norm of the attack, in f64.
    pub distance: f64,
    /// Pixels that count and are adversarial.
    pub adversarial: usize,
    /// What was won, see [`View::score`].
    pub score: f64,
    /// Whether anything was won, or the goal was met.
    pub success: bool,
    /// Step of the picture returned; 0 is where the attack began.
    pub step: usize,
    /// What it cost.
    pub passes: Passes,
}

/// Passes through the network, of one picture each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passes {
    /// Forward.
    pub forward: usize,
    /// Backward.
    pub backward: usize,
}

/// # Errors
/// [`Error::Setting`] for a setting that is no finite number of at least `least`.
fn at_least(field: &str, value: f64, least: f64) -> Result<()> {
    if (least..f64::INFINITY).contains(&value) {
        return Ok(());
    }
    let expected = format!("a finite number of at least {least}");
    Err(Error::setting(field, value.to_string(), expected))
}

/// # Errors
/// [`Error::Setting`] for a setting outside (0, 1].
fn factor(field: &str, value: f64) -> Result<()> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    let expected = "above 0 and at most 1";
    Err(Error::setting(field, value.to_string(), expected))
}

/// # Errors
/// [`Error::Setting`] for a setting outside [0, 1).
fn fraction(field: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    let expected = "at least 0 and below 1";
    Err(Error::setting(field, value.to_string(), expected))
}
