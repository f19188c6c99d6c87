//! Minimal-norm attacks: so many wishes shall be fulfilled by as small a change as can be found.
//!
//! All of them are `fn(duel, goal, settings, ...) -> Attacked`, whose `success` says whether the goal
//! was met and whose distance is in the norm of the attack. Defaults are those of the public library
//! of Rony et al. (adv-lib); `rony_2023` gives the settings of their paper on segmentation
//! (arXiv 2206.07179). One step is one forward and one backward pass; `last` adds a forward pass that
//! looks at what the last step made, which the library never sees. Where steps know nothing of the goal
//! one run serves several of them, see [`Method::run_ahead`].
//!
//! | file | attack | norms |
//! |---|---|---|
//! | [`dag`] | dense adversary generation (Xie et al. 2017) | l2, l∞ |
//! | [`asma`] | adaptive mask attack (Ozbulak et al. 2019), for parity only | l2 |
//! | [`pdgd`], [`pdpgd`] | primal-dual descent, proximal too (Matyasko & Chau 2021) | l2; l1, l2, l∞ |
//! | [`alma`], [`alma_prox`] | augmented Lagrangian (Rony et al. 2021, 2022) | l2; l∞ |
//! | [`ddn`] | direction and norm decoupled (Rony et al. 2019) | l2 |
//! | [`fmn`] | fast minimum norm (Pintor et al. 2021) | l2, l∞ |
//! | [`refine`], [`nearest`] | ours: what an attack found made smaller; FMN and that | l2 |
//! | [`bisect`] | the least budget at which gradient descent meets the goal | l2, l∞ |

pub mod alma;
pub mod alma_prox;
pub mod asma;
pub mod bisect;
pub mod dag;
pub mod ddn;
pub mod fmn;
mod frame;
pub mod method;
pub mod nearest;
pub mod pdgd;
pub mod pdpgd;
mod prox;
pub mod refine;
mod track;
mod tracks;

pub use frame::Masking;
pub use method::Method;
pub use track::{radial, shrunk};

use certiseg_cert::Norm;

use super::criterion::{Aim, View};
use super::gate::{largest, length};
use super::{at_least, factor, fraction};
use crate::error::{Error, Result};

/// How many wishes are to be fulfilled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    count: usize,
    /// Wishes that may stay unfulfilled, not rounded.
    slack: f32,
}

impl Goal {
    /// At least so many.
    ///
    /// # Errors
    /// [`Error::Setting`] for more than there are.
    pub fn count(aim: &Aim, count: usize) -> Result<Self> {
        let all = aim.wishes.len();
        if count > all {
            let expected = format!("at most {all}, the pixels that count");
            return Err(Error::setting("goal", count.to_string(), expected));
        }
        let slack = (all - count) as f32;
        Ok(Self { count, slack })
    }

    /// At least this share of them, compared in f32 as the libraries do.
    ///
    /// # Errors
    /// [`Error::Setting`] for a share that is not in [0, 1].
    pub fn share(aim: &Aim, share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::setting(
                "goal",
                share.to_string(),
                "a share from 0 to 1",
            ));
        }
        let all = aim.wishes.len();
        let enough = |&count: &usize| count as f32 / all as f32 >= share as f32;
        Ok(Self {
            count: (0..all).find(enough).unwrap_or(all),
            slack: (1.0 - share) as f32 * all as f32,
        })
    }

    /// The number asked for.
    pub fn asked(&self) -> usize {
        self.count
    }

    /// Whether a picture meets it.
    pub fn is_met(&self, view: &View) -> bool {
        view.count >= self.count
    }
}

/// The picture x + δ in the box, each number rounded to the nearest; NaN stays NaN.
fn show(delta: &[f64], clean: &[f32]) -> Vec<f32> {
    let sums = delta.iter().zip(clean).map(|(&d, &c)| f64::from(c) + d);
    sums.map(|x| (x as f32).clamp(0.0, 1.0)).collect()
}

/// Length of a change in a norm: l1, l2, l∞.
fn size(norm: Norm, delta: &[f64]) -> f64 {
    match norm {
        Norm::L1 => delta.iter().map(|d| d.abs()).sum(),
        Norm::LINF => largest(delta),
        _ => length(delta),
    }
}

/// Length of the way to the farthest corner of the box.
pub(super) fn farthest(norm: Norm, clean: &[f32]) -> f64 {
    let away = |&c: &f32| f64::from(c).max(1.0 - f64::from(c));
    size(norm, &clean.iter().map(away).collect::<Vec<_>>())
}

/// # Errors
/// [`Error::Setting`] for a norm that an attack does not have.
fn known(norm: Norm, norms: &[Norm]) -> Result<()> {
    if norms.contains(&norm) {
        return Ok(());
    }
    let names: Vec<String> = norms.iter().map(Norm::to_string).collect();
    let expected = names.join(" or ");
    Err(Error::setting("norm", norm.to_string(), expected))
}

/// (1 + cos(π·step/steps))/2: from 1 to 0.
fn cosine(step: usize, steps: usize) -> f64 {
    (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::{Criterion, Scene};
    use super::*;

    #[test]
    fn a_goal_is_a_count_or_a_share_of_the_pixels() {
        let (image, labels) = ([0.5; 3 * 921], [0; 921]);
        let scene = Scene::new(&image, &labels, [1, 921]).unwrap();
        let accuracy = Criterion::Metric(certiseg_cert::Metric::Accuracy);
        let aim = accuracy.aim(&scene, 2, &[0.0; 2 * 921]).unwrap();
        for (share, count) in [(0.99, 912), (0.5, 461), (1.0, 921), (0.0, 0)] {
            let goal = Goal::share(&aim, share).unwrap();
            assert_eq!(goal.asked(), count, "{share}");
            // what may stay unfulfilled is what is not asked for
            assert_eq!(goal.slack as usize, 921 - count);
        }
        assert_eq!(Goal::count(&aim, 5).unwrap().slack, 916.0);
        assert!(Goal::count(&aim, 922).is_err());
        for share in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(
                Goal::share(&aim, share),
                Err(Error::Setting { .. })
            ));
        }
    }

    #[test]
    fn sizes_of_a_change() {
        let delta = [3.0, -4.0];
        let sizes = [Norm::L1, Norm::L2, Norm::LINF].map(|norm| size(norm, &delta));
        assert_eq!(sizes, [7.0, 5.0, 4.0]);
        assert_eq!(farthest(Norm::L1, &[0.25, 0.75, 0.5]), 2.0);
        // what is no number is no small change
        for norm in [Norm::L1, Norm::L2, Norm::LINF] {
            assert!(size(norm, &[f64::NAN, 1.0]).is_nan(), "{norm}");
        }
        assert!(show(&[f64::NAN], &[0.5])[0].is_nan());
    }
}
