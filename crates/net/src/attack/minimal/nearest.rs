//! The two that find most together: fast minimum norm to meet the goal, then the refinement. Ours; l2.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::{Attacked, Duel};
use super::fmn::{Fmn, fmn};
use super::refine::{Refine, refine};
use super::{Goal, known};
use crate::error::Result;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nearest {
    /// What meets the goal, in l2.
    pub first: Fmn,
    /// What makes the change smaller.
    pub then: Refine,
}

impl Default for Nearest {
    fn default() -> Self {
        let first = Fmn {
            steps: 100,
            ..Fmn::default()
        };
        Self {
            first,
            then: Refine::default(),
        }
    }
}

/// The attack.
///
/// # Errors
/// [`crate::Error::Setting`]; those of the network.
pub fn nearest(duel: &Duel, goal: Goal, settings: &Nearest) -> Result<Attacked> {
    known(settings.first.norm, &[Norm::L2])?;
    let first = fmn(duel, goal, &settings.first)?;
    refine(duel, goal, first, &settings.then)
}
