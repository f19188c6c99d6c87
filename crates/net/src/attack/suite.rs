//! Several attacks as one: the best picture of any, for rising budgets.
//!
//! A picture that was found within a smaller budget stays valid within every larger one, so what is
//! won never falls as the budget rises; and attacks may begin where it is, scaled up, or at the best
//! of those that ran before.

use std::time::Instant;

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::gate::{Ball, difference};
use super::knapsack::Knapsack;
use super::lqa::{Gap, Lqa};
use super::named::{Attack, Known};
use super::{Attacked, Duel, Passes};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Attacks one after another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suite {
    /// The attacks in order.
    pub entries: Vec<Entry>,
}

/// An attack of a suite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub attack: Attack,
    /// Where it begins.
    pub from: From,
}

/// Where an attack begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// At the clean picture.
    Clean,
    /// At the best picture within the budget before, scaled up; left out where there is none above 0.
    Smaller,
    /// At the best picture so far.
    Best,
}

/// What one attack came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blow {
    /// Its name.
    pub attack: String,
    /// Pixels that count and are adversarial.
    pub adversarial: usize,
    /// Passes through the network. Where one run serves several budgets (minimal-norm attacks whose steps
    /// know nothing of the goal) it counts once, at the smallest above 0: the others have what shrinking
    /// took. So the sum over the budgets is what was made.
    pub passes: Passes,
    /// Wall time of the same; `None` where it is not asked for, since it differs from run to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The best within one budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// The budget.
    pub eps: f64,
    /// The best picture within it.
    pub best: Attacked,
    /// Name of the attack that found it; empty where it is the clean picture.
    pub winner: String,
    /// All attacks.
    pub blows: Vec<Blow>,
    /// From the linearised programme, where it ran from the clean picture.
    pub gap: Option<Gap>,
}

/// Names of the suites.
pub const SUITES: [&str; 3] = ["quick", "strong", "paper001"];

impl Suite {
    /// The attacks of these names, each from the clean picture.
    ///
    /// # Errors
    /// Those of [`Attack::named`].
    pub fn of(names: &[String], steps: Option<usize>) -> Result<Self> {
        let entry = |name: &String| entry(name, steps, From::Clean);
        let entries = names.iter().map(entry).collect::<Result<_>>()?;
        Ok(Self { entries })
    }

    /// A suite by name. `quick`: two attacks of 50 steps. `strong`: thirteen, of 300. `paper001`: what the
    /// released code of paper 001 runs, of 250.
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::Setting`].
    pub fn named(name: &str, steps: Option<usize>) -> Result<Self> {
        let (names, usual): (&[&str], usize) = match name {
            "quick" => (&["knapsack-glide", "smooth-count"], 50),
            "strong" => (
                &[
                    "knapsack-glide",
                    "knapsack",
                    "knapsack-0.6",
                    "knapsack-0.3",
                    "smooth-count",
                    "smooth-count-sharp",
                    "apgd-ce-tau-restart",
                    "apgd-cospgd",
                    "apgd-segpgd-tau",
                ],
                300,
            ),
            "paper001" => (&["pdgd", "pdpgd", "dag", "asma"], 250),
            _ => {
                return Err(Error::UnknownName {
                    what: "suite",
                    got: name.to_owned(),
                    expected: SUITES.join(", "),
                });
            }
        };
        let steps = steps.unwrap_or(usual);
        let clean = names
            .iter()
            .map(|name| entry(name, Some(steps), From::Clean));
        let mut entries = clean.collect::<Result<Vec<_>>>()?;
        let again = |steps| {
            Attack::Knapsack(Knapsack {
                steps,
                ..Knapsack::GLIDE
            })
        };
        if name == "strong" {
            entries.push(Entry {
                name: "lqa".into(),
                attack: Attack::Lqa(Lqa::default()),
                from: From::Clean,
            });
            entries.push(Entry {
                name: "warm".into(),
                attack: again(steps),
                from: From::Smaller,
            });
            entries.push(Entry {
                name: "polish".into(),
                attack: again(steps),
                from: From::Best,
            });
            entries.push(Entry {
                name: "lqa-polish".into(),
                attack: Attack::Lqa(Lqa {
                    candidates: 240,
                    rounds: 2,
                    ..Lqa::default()
                }),
                from: From::Best,
            });
        }
        Ok(Self { entries })
    }

    /// Attacks a picture within rising budgets. `key` and `seed` are those of the picture's chance.
    /// Attacks that do not know the norm are left out.
    ///
    /// # Errors
    /// Falling budgets; [`Error::Unsupported`] if no attack knows the norm; those of the attacks.
    pub fn run(
        &self,
        duel: &Duel,
        (norm, lipschitz): (Norm, f64),
        eps: &[f64],
        [seed, key]: [u64; 2],
        timed: bool,
    ) -> Result<Vec<Round>> {
        if !eps.is_sorted() {
            return Err(Error::setting("eps", format!("{eps:?}"), "rising budgets"));
        }
        // another norm than these two is an error of its own
        Ball::new(norm, 0.0)?;
        if !self.entries.iter().any(|entry| entry.attack.knows(norm)) {
            let what = format!("the norm {norm} in each of the attacks asked for");
            let hint =
                "a run without attacks proves nothing: take --suite strong, or --attack knapsack";
            return Err(Error::unsupported(what, hint));
        }
        let clean = duel.scene.image;
        // what l2 constants say of l∞ budgets
        let longest = (clean.len() as f64).sqrt();
        let lipschitz = lipschitz * if norm == Norm::L2 { 1.0 } else { longest };
        let chance = |entry: &Entry, index: usize| {
            let name = Rng::hash(entry.name.as_bytes());
            Rng::keyed(seed, &[key, name, index as u64])
        };
        // nothing runs before its result is taken
        let mut strikes = Vec::new();
        for entry in &self.entries {
            let above = eps.iter().enumerate().filter(|(_, eps)| **eps != 0.0);
            let budget = |(index, &eps)| Ok((Ball::new(norm, eps)?, chance(entry, index)));
            let budgets = above.map(budget).collect::<Result<Vec<_>>>()?;
            strikes.push(entry.attack.strikes(duel, lipschitz, budgets)?);
        }
        let mut rounds: Vec<Round> = Vec::new();
        for (index, &eps) in eps.iter().enumerate() {
            let ball = Ball::new(norm, eps)?;
            let before = rounds.last();
            let smaller = before.filter(|round| round.eps > 0.0).map(|round| {
                let mut delta = difference(&round.best.image, clean);
                let factor = eps / round.eps;
                delta.iter_mut().for_each(|d| *d *= factor);
                ball.project(&mut delta, clean);
                delta
            });
            let mut round = Round {
                eps,
                best: before.map_or_else(|| unharmed(duel), |round| round.best.clone()),
                winner: before.map_or(String::new(), |round| round.winner.clone()),
                blows: Vec::new(),
                gap: None,
            };
            for (entry, strikes) in self.entries.iter().zip(&mut strikes) {
                let best = difference(&round.best.image, clean);
                let from = match entry.from {
                    From::Clean => None,
                    From::Smaller if smaller.is_none() => continue,
                    From::Smaller => smaller.as_deref(),
                    From::Best => Some(&*best),
                };
                if !entry.attack.knows(norm) || eps == 0.0 {
                    continue;
                }
                let start = Instant::now();
                let (found, gap) = match from {
                    None => strikes.next().expect("one for each budget above 0")?,
                    Some(_) => {
                        let known = Known { lipschitz, from };
                        let mut rng = chance(entry, index);
                        entry.attack.strike(duel, &ball, known, &mut rng)?
                    }
                };
                round.blows.push(Blow {
                    attack: entry.name.clone(),
                    adversarial: found.adversarial,
                    passes: found.passes,
                    seconds: timed.then(|| start.elapsed().as_secs_f64()),
                });
                round.gap = round.gap.or(gap);
                if found.score > round.best.score {
                    round.best = found;
                    round.winner = entry.name.clone();
                }
            }
            rounds.push(round);
        }
        Ok(rounds)
    }
}

fn entry(name: &str, steps: Option<usize>, from: From) -> Result<Entry> {
    Ok(Entry {
        name: name.to_owned(),
        attack: Attack::named(name, steps)?,
        from,
    })
}

/// The clean picture as an attack's result.
pub fn unharmed(duel: &Duel) -> Attacked {
    Attacked {
        image: duel.scene.image.to_vec(),
        distance: 0.0,
        adversarial: duel.clean.count,
        score: duel.clean.score,
        success: false,
        step: 0,
        passes: Passes::default(),
    }
}
