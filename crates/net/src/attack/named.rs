//! The attacks by name, each a row of one table.

use certiseg_cert::Norm;
use serde::Serialize;

use super::apgd::{Apgd, apgd};
use super::knapsack::{Knapsack, allowed, knapsack};
use super::lqa::{Gap, Lqa, lqa};
use super::minimal::alma::Alma;
use super::minimal::alma_prox::AlmaProx;
use super::minimal::asma::Asma;
use super::minimal::bisect::MinimalPgd;
use super::minimal::dag::Dag;
use super::minimal::ddn::Ddn;
use super::minimal::fmn::Fmn;
use super::minimal::nearest::Nearest;
use super::minimal::pdgd::Pdgd;
use super::minimal::pdpgd::Pdpgd;
use super::minimal::{Goal, Method};
use super::pgd::{Pgd, pgd};
use super::{Attacked, Ball, Duel, Form, Loss};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// An attack with its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// See [`super::pgd`].
    Pgd(Pgd),
    /// See [`super::apgd`].
    Apgd(Apgd),
    /// See [`super::knapsack`].
    Knapsack(Knapsack),
    /// See [`super::lqa`].
    Lqa(Lqa),
    /// See [`super::minimal`]: with the goal that the certificate sets at the budget, then shrunk to it,
    /// as in paper 001.
    Minimal(Method),
}

/// What an attack may know besides the network.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Lipschitz constant of the certificate, or a guess.
    pub lipschitz: f64,
    /// A change to begin with, instead of none.
    pub from: Option<&'a [f64]>,
}

/// What an attack came to, budget after budget.
pub type Strikes<'a> = Box<dyn Iterator<Item = Result<(Attacked, Option<Gap>)>> + 'a>;

/// What makes an attack of a number of steps.
type Make = fn(usize) -> Attack;

/// Name, steps unless said, what makes it. A new attack is a row.
const TABLE: &[(&str, usize, Make)] = &[
    ("pgd", 20, |steps| {
        Attack::Pgd(Pgd {
            steps,
            ..Pgd::default()
        })
    }),
    ("pgd-002", 100, |steps| {
        Attack::Pgd(Pgd {
            steps,
            step: 10.0 / steps as f64,
            random_start: true,
            loss: Loss::plain(Form::CrossEntropy),
            ..Pgd::default()
        })
    }),
    ("pgd-ce", 40, |steps| rony(steps, Form::CrossEntropy)),
    ("pgd-dl", 40, |steps| rony(steps, Form::Difference)),
    ("pgd-dlr", 40, |steps| rony(steps, Form::DifferenceRatio)),
    ("fgm", 1, |_| {
        Attack::Pgd(Pgd {
            steps: 1,
            step: 1.0,
            loss: Loss::plain(Form::CrossEntropy),
            ..Pgd::default()
        })
    }),
    ("mi-fgsm", 20, |steps| {
        Attack::Pgd(Pgd {
            steps,
            step: 1.0 / steps as f64,
            momentum: Some(1.0),
            loss: Loss::plain(Form::CrossEntropy),
            ..Pgd::default()
        })
    }),
    ("apgd-ce", 100, |steps| {
        ascent(steps, Form::CrossEntropy, 0.0)
    }),
    ("apgd-ce-tau", 100, |steps| {
        ascent(steps, Form::CrossEntropy, 2.0)
    }),
    ("apgd-mask", 100, |steps| ascent(steps, Form::Masked, 0.0)),
    ("apgd-balanced", 100, |steps| {
        ascent(steps, Form::MaskedBalanced, 0.0)
    }),
    ("apgd-segpgd", 100, |steps| ascent(steps, Form::Seg, 0.0)),
    ("apgd-segpgd-tau", 100, |steps| {
        ascent(steps, Form::Seg, 2.0)
    }),
    ("apgd-cospgd", 100, |steps| ascent(steps, Form::Cosine, 0.0)),
    ("apgd-cospgd-tau", 100, |steps| {
        ascent(steps, Form::Cosine, 2.0)
    }),
    ("apgd-jsd", 100, |steps| {
        ascent(steps, Form::JensenShannon, 0.0)
    }),
    ("apgd-jsd-tau", 100, |steps| {
        ascent(steps, Form::JensenShannon, 2.0)
    }),
    ("apgd-dl", 100, |steps| ascent(steps, Form::Difference, 0.0)),
    ("apgd-dlr", 100, |steps| {
        ascent(steps, Form::DifferenceRatio, 0.0)
    }),
    ("apgd-hinge", 100, |steps| ascent(steps, Form::Hinge, 0.0)),
    ("apgd-radius", 100, |steps| ascent(steps, Form::Radius, 2.0)),
    ("apgd-ce-tau-restart", 100, |steps| {
        Attack::Apgd(Apgd {
            steps,
            restarts: 1,
            ..Apgd::default()
        })
    }),
    ("smooth-count", 100, |steps| {
        ascent(steps, Form::SmoothCount, 10.0)
    }),
    ("smooth-count-sharp", 100, |steps| {
        ascent(steps, Form::SmoothCount, 30.0)
    }),
    ("sea-balanced", 300, |steps| {
        sea(steps, Form::MaskedBalanced)
    }),
    ("sea-mask", 300, |steps| sea(steps, Form::Masked)),
    ("sea-jsd", 300, |steps| sea(steps, Form::JensenShannon)),
    ("knapsack", 100, |steps| guided(steps, 1.0)),
    ("knapsack-0.6", 100, |steps| guided(steps, 0.6)),
    ("knapsack-0.3", 100, |steps| guided(steps, 0.3)),
    ("knapsack-glide", 100, |steps| {
        Attack::Knapsack(Knapsack {
            steps,
            ..Knapsack::GLIDE
        })
    }),
    ("lqa", 3, |rounds| {
        Attack::Lqa(Lqa {
            rounds,
            ..Lqa::default()
        })
    }),
    ("lqa-wide", 3, |rounds| {
        Attack::Lqa(Lqa {
            rounds,
            candidates: 240,
            ..Lqa::default()
        })
    }),
    ("dag", 500, |steps| {
        smallest(Method::Dag(Dag::l2(0.05)), steps)
    }),
    ("dag-linf", 500, |steps| {
        smallest(Method::Dag(Dag::rony_2023(0.003)), steps)
    }),
    ("asma", 500, |steps| {
        smallest(Method::Asma(Asma::default()), steps)
    }),
    ("pdgd", 500, |steps| {
        smallest(Method::Pdgd(Pdgd::rony_2023()), steps)
    }),
    ("pdpgd", 500, |steps| {
        smallest(Method::Pdpgd(Pdpgd::rony_2023(Norm::L2)), steps)
    }),
    ("pdpgd-linf", 500, |steps| {
        smallest(Method::Pdpgd(Pdpgd::rony_2023(Norm::LINF)), steps)
    }),
    ("alma", 500, |steps| {
        smallest(Method::Alma(Alma::rony_2023()), steps)
    }),
    ("alma-prox", 500, |steps| {
        smallest(Method::AlmaProx(AlmaProx::default()), steps)
    }),
    ("ddn", 500, |steps| {
        smallest(Method::Ddn(Ddn::rony_2023()), steps)
    }),
    ("fmn", 500, |steps| {
        // the library pays for all pixels, and stays where their mean margin is 0
        let settings = Fmn {
            hinge: true,
            ..Fmn::rony_2023(Norm::L2)
        };
        smallest(Method::Fmn(settings), steps)
    }),
    ("minimal-pgd", 40, |steps| {
        let settings = MinimalPgd::rony_2023(Norm::L2);
        smallest(Method::MinimalPgd(settings), steps)
    }),
    ("nearest", 100, |steps| {
        smallest(Method::Nearest(Nearest::default()), steps)
    }),
    ("fmn-linf", 500, |steps| {
        let settings = Fmn {
            hinge: true,
            ..Fmn::rony_2023(Norm::LINF)
        };
        smallest(Method::Fmn(settings), steps)
    }),
];

fn smallest(method: Method, steps: usize) -> Attack {
    Attack::Minimal(method.steps(steps))
}

/// The settings of Rony et al. 2023.
fn rony(steps: usize, form: Form) -> Attack {
    Attack::Pgd(Pgd {
        steps,
        step: 0.1 / 3.0,
        loss: Loss::plain(form),
        ..Pgd::default()
    })
}

fn ascent(steps: usize, form: Form, scale: f64) -> Attack {
    Attack::Apgd(Apgd {
        steps,
        loss: Loss { form, scale },
        ..Apgd::default()
    })
}

fn sea(steps: usize, form: Form) -> Attack {
    Attack::Apgd(Apgd {
        steps,
        loss: Loss::plain(form),
        shrinking: true,
        ..Apgd::default()
    })
}

fn guided(steps: usize, reach: f64) -> Attack {
    Attack::Knapsack(Knapsack {
        steps,
        reach,
        ..Knapsack::default()
    })
}

impl Attack {
    /// The names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|(name, _, _)| *name)
    }

    /// The attack of a name, with its own number of steps or another.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Setting`] for no steps.
    pub fn named(name: &str, steps: Option<usize>) -> Result<Self> {
        let row = TABLE.iter().find(|(known, _, _)| *known == name);
        let Some((_, usual, make)) = row else {
            return Err(Error::UnknownName {
                what: "attack",
                got: name.to_owned(),
                expected: Self::names().collect::<Vec<_>>().join(", "),
            });
        };
        match steps.unwrap_or(*usual) {
            0 => Err(Error::setting("steps", "0", "at least 1")),
            steps => Ok(make(steps)),
        }
    }

    /// Whether it attacks in this norm.
    pub fn knows(&self, norm: Norm) -> bool {
        match self {
            Attack::Lqa(_) => norm == Norm::L2,
            Attack::Minimal(method) => norm == method.norm(),
            Attack::Pgd(_) | Attack::Apgd(_) | Attack::Knapsack(_) => {
                norm == Norm::L2 || norm == Norm::LINF
            }
        }
    }

    /// Attacks a picture within a budget.
    ///
    /// # Errors
    /// Those of the attack.
    pub fn strike(
        &self,
        duel: &Duel,
        ball: &Ball,
        known: Known,
        rng: &mut Rng,
    ) -> Result<(Attacked, Option<Gap>)> {
        let Known { lipschitz, from } = known;
        let attacked = match self {
            Attack::Pgd(settings) => pgd(duel, ball, settings, rng),
            Attack::Apgd(settings) => apgd(duel, ball, settings, from, rng),
            Attack::Knapsack(settings) => knapsack(duel, ball, lipschitz, settings, from),
            Attack::Lqa(settings) => return lqa(duel, ball, lipschitz, settings, from),
            Attack::Minimal(method) => {
                method.within(duel, ball, certified(duel, ball, lipschitz)?, rng)
            }
        };
        Ok((attacked?, None))
    }

    /// [`Attack::strike`] from the clean picture within several budgets, each with its chance, one after
    /// another as they are taken. What serves several of them is run once: [`Method::within_each`].
    ///
    /// # Errors
    /// Those of the goals; those of the attack come where its results would.
    pub fn strikes<'a>(
        &'a self,
        duel: &'a Duel<'a>,
        lipschitz: f64,
        budgets: Vec<(Ball, Rng)>,
    ) -> Result<Strikes<'a>> {
        let budgets = budgets.into_iter();
        if let Attack::Minimal(method) = self {
            let ask = |(ball, rng)| Ok((ball, certified(duel, &ball, lipschitz)?, rng));
            let asked = budgets.map(ask).collect::<Result<Vec<_>>>()?;
            let found = method.within_each(duel, asked);
            return Ok(Box::new(found.map(|found| Ok((found?, None)))));
        }
        let known = Known {
            lipschitz,
            from: None,
        };
        let strike = move |(ball, mut rng)| self.strike(duel, &ball, known, &mut rng);
        Ok(Box::new(budgets.map(strike)))
    }
}

/// As many wishes as the certificate allows within a budget.
fn certified(duel: &Duel, ball: &Ball, lipschitz: f64) -> Result<Goal> {
    let count = allowed(&duel.clean, ball.eps() * lipschitz);
    Goal::count(&duel.aim, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_attack() {
        for name in Attack::names() {
            assert!(Attack::named(name, None).is_ok());
            assert_eq!(Attack::names().filter(|other| *other == name).count(), 1);
        }
        for name in Attack::names() {
            let Attack::Minimal(method) = Attack::named(name, Some(7)).unwrap() else {
                continue;
            };
            let text = serde_json::to_string(&method).unwrap();
            let kind = name.trim_end_matches("-linf");
            assert!(text.starts_with(&format!("{{\"{kind}\":")), "{text}");
            assert!(text.contains("\"steps\":7"), "{text}");
            assert_eq!(serde_json::from_str::<Method>(&text).unwrap(), method);
        }
        let error = Attack::named("fgsm2", None).unwrap_err();
        assert!(matches!(error, Error::UnknownName { .. }));
        let error = Attack::named("pgd", Some(0)).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
    }
}
