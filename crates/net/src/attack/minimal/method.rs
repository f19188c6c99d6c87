//! The minimal-norm attacks as one.

use std::collections::VecDeque;

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::super::{Attacked, Ball, Duel};
use super::alma::{Alma, alma};
use super::alma_prox::{AlmaProx, alma_prox};
use super::asma::{Asma, asma, asma_ahead};
use super::bisect::{MinimalPgd, minimal_pgd};
use super::dag::{Dag, dag, dag_ahead};
use super::ddn::{Ddn, ddn};
use super::fmn::{Fmn, fmn};
use super::nearest::{Nearest, nearest};
use super::pdgd::{Pdgd, pdgd, pdgd_ahead};
use super::pdpgd::{Pdpgd, pdpgd, pdpgd_ahead};
use super::{Goal, shrunk};
use crate::error::Result;
use crate::rng::Rng;

/// A minimal-norm attack with its settings; by name in [`super::super::Attack::named`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Dense adversary generation.
    Dag(Dag),
    /// The adaptive mask attack.
    Asma(Asma),
    /// Primal-dual gradient descent.
    Pdgd(Pdgd),
    /// Primal-dual proximal gradient descent.
    Pdpgd(Pdpgd),
    /// The augmented Lagrangian attack in l2.
    Alma(Alma),
    /// The augmented Lagrangian attack in l∞.
    AlmaProx(AlmaProx),
    /// Direction and norm decoupled.
    Ddn(Ddn),
    /// Fast minimum norm.
    Fmn(Fmn),
    /// Bisection of the budget of gradient descent.
    MinimalPgd(MinimalPgd),
    /// Fast minimum norm, refined.
    Nearest(Nearest),
}

impl Method {
    /// The same with so many steps, of minimal gradient descent per budget, of the nearest twice.
    pub fn steps(mut self, count: usize) -> Self {
        let steps = match &mut self {
            Method::Dag(settings) => &mut settings.steps,
            Method::Asma(settings) => &mut settings.steps,
            Method::Pdgd(settings) => &mut settings.steps,
            Method::Pdpgd(settings) => &mut settings.descent.steps,
            Method::Alma(settings) => &mut settings.steps,
            Method::AlmaProx(settings) => &mut settings.steps,
            Method::Ddn(settings) => &mut settings.steps,
            Method::Fmn(settings) => &mut settings.steps,
            Method::MinimalPgd(settings) => &mut settings.attack.steps,
            Method::Nearest(settings) => {
                settings.then.steps = count;
                &mut settings.first.steps
            }
        };
        *steps = count;
        self
    }

    /// The norm it makes small.
    pub fn norm(&self) -> Norm {
        match self {
            Method::Dag(settings) => settings.norm,
            Method::Pdpgd(settings) => settings.norm,
            Method::Fmn(settings) => settings.norm,
            Method::MinimalPgd(settings) => settings.norm,
            Method::AlmaProx(_) => Norm::LINF,
            Method::Asma(_) | Method::Pdgd(_) | Method::Alma(_) | Method::Ddn(_) => Norm::L2,
            Method::Nearest(settings) => settings.first.norm,
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`crate::Error::Setting`]; those of the network.
    pub fn run(&self, duel: &Duel, goal: Goal, rng: &mut Rng) -> Result<Attacked> {
        match self {
            Method::Dag(settings) => dag(duel, goal, settings),
            Method::Asma(settings) => asma(duel, goal, settings),
            Method::Pdgd(settings) => pdgd(duel, goal, settings),
            Method::Pdpgd(settings) => pdpgd(duel, goal, settings),
            Method::Alma(settings) => alma(duel, goal, settings),
            Method::AlmaProx(settings) => alma_prox(duel, goal, settings),
            Method::Ddn(settings) => ddn(duel, goal, settings, rng),
            Method::Fmn(settings) => fmn(duel, goal, settings),
            Method::MinimalPgd(settings) => minimal_pgd(duel, goal, settings, rng),
            Method::Nearest(settings) => nearest(duel, goal, settings),
        }
    }

    /// Runs it for the first of these goals, and in the same run for those after it where steps know
    /// nothing of the goal: dense adversary generation and both primal-dual descents without masks, the
    /// adaptive mask attack. So the answer may be shorter than the goals. Each result is, to the bit,
    /// that of [`Method::run`] with its goal (of a model that always answers the same), but for the
    /// passes: those of the run are the first's, the others have none.
    ///
    /// # Errors
    /// Those of [`Method::run`].
    pub fn run_ahead(&self, duel: &Duel, goals: &[Goal], rng: &mut Rng) -> Result<Vec<Attacked>> {
        let Some(&first) = goals.first() else {
            return Ok(Vec::new());
        };
        match self {
            Method::Dag(settings) => dag_ahead(duel, goals, settings),
            Method::Asma(settings) => asma_ahead(duel, goals, settings),
            Method::Pdgd(settings) => pdgd_ahead(duel, goals, settings),
            Method::Pdpgd(settings) => pdpgd_ahead(duel, goals, settings),
            // steps follow what was met, or chance
            _ => Ok(vec![self.run(duel, first, rng)?]),
        }
    }

    /// Runs it and shrinks its change into a budget, as paper 001's protocol does with a goal of as
    /// many pixels as are certified.
    ///
    /// # Errors
    /// Those of [`Method::run`].
    pub fn within(&self, duel: &Duel, ball: &Ball, goal: Goal, rng: &mut Rng) -> Result<Attacked> {
        shrunk(duel, ball, &self.run(duel, goal, rng)?)
    }

    /// [`Method::within`] for several budgets, each with its goal and chance, one after another as they
    /// are taken. A run that serves several is made, with its passes and its time, when the first of them
    /// is taken; the others cost the look at what was shrunk.
    pub fn within_each<'a>(
        &'a self,
        duel: &'a Duel<'a>,
        asked: Vec<(Ball, Goal, Rng)>,
    ) -> impl Iterator<Item = Result<Attacked>> + 'a {
        let goals: Vec<Goal> = asked.iter().map(|(_, goal, _)| *goal).collect();
        let mut ahead: VecDeque<Attacked> = VecDeque::new();
        let budgets = asked.into_iter().enumerate();
        budgets.map(move |(at, (ball, _, mut rng))| {
            if ahead.is_empty() {
                ahead = self.run_ahead(duel, &goals[at..], &mut rng)?.into();
            }
            let found = ahead.pop_front().expect("the first goal has a result");
            shrunk(duel, &ball, &found)
        })
    }
}
