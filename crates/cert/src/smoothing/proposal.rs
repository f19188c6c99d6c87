//! A plan as it is shown: steps with their power and cost, the one that is recommended, what speaks against a
//! number of samples.

use serde::Serialize;

use super::law::Law;
use super::lower::lower_bound;
use super::plan::{Plan, Step};
use super::tail::Tail;
use super::verdict::Stage;
use crate::error::{Error, Result};

/// A number of samples and what it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// n.
    pub samples: usize,
    /// Least count that is certified; null where none is.
    pub threshold: Option<usize>,
    /// Misses that are tolerated.
    pub misses: Option<usize>,
    /// Probability that a component of the reference probability is certified: an estimate, not a bound.
    pub power: f64,
    /// Forwards in all.
    pub forwards: usize,
    /// Their time, where that of one is known.
    pub seconds: Option<f64>,
    /// No threshold above this certifies anything: a^(1/n) for the level a of the first step.
    pub largest_tau: f64,
}

/// What is proposed for a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// What is planned.
    pub plan: Plan,
    /// The noise, where it is known.
    pub law: Option<Law>,
    /// The radius of tau, rounded down.
    pub radius: Option<f64>,
    /// Reference probability of a component's class.
    pub p_ref: f64,
    /// Power that is wanted there.
    pub power: f64,
    /// n_min; null if no number is enough.
    pub least: Option<usize>,
    /// The first steps.
    pub steps: Vec<Line>,
    /// The first step with the power.
    pub recommended: Option<Line>,
    /// A number of samples that was asked about.
    pub asked: Option<Line>,
    /// What speaks against it, in words.
    pub warnings: Vec<String>,
}

impl Proposal {
    /// For a plan: so many steps, the step of `power` at `p_ref`, and `asked` samples; `forward_ms` is the time
    /// of one forward in milliseconds.
    ///
    /// # Errors
    ///
    /// As [`Plan::recommend`] and [`Law::radius`]; [`Error::Parameter`] for a power outside (0, 1) or a time that is
    /// negative or not finite.
    pub fn of(
        plan: Plan,
        law: Option<Law>,
        (p_ref, power): (f64, f64),
        (steps, asked): (usize, Option<usize>),
        forward_ms: Option<f64>,
    ) -> Result<Self> {
        if !(power > 0.0 && power < 1.0) {
            return Err(Error::Parameter {
                what: "power that is wanted",
                got: power,
                expected: "a probability inside (0, 1)",
            });
        }
        if let Some(got) = forward_ms.filter(|ms| !(0.0..f64::INFINITY).contains(ms)) {
            return Err(Error::Parameter {
                what: "time of a forward in milliseconds",
                got,
                expected: "a finite number from 0",
            });
        }
        let line = |samples| line(&plan, samples, p_ref, forward_ms);
        let step = |step: Step| line(step.samples);
        let warnings = match asked {
            Some(samples) => plan.warnings(samples)?,
            None if plan.stage == Stage::Two && plan.choose == 0 => vec![super::Warning::NoChoice],
            None if plan.least()?.is_none() => vec![super::Warning::OutOfReach],
            None => Vec::new(),
        };
        Ok(Proposal {
            plan,
            law,
            radius: law.map(|law| law.radius(plan.tau)).transpose()?,
            p_ref,
            power,
            least: plan.least()?,
            steps: plan
                .steps(steps)?
                .into_iter()
                .map(step)
                .collect::<Result<_>>()?,
            recommended: plan.recommend(p_ref, power)?.map(step).transpose()?,
            asked: asked.map(line).transpose()?,
            warnings: warnings.iter().map(ToString::to_string).collect(),
        })
    }
}

fn line(plan: &Plan, samples: usize, p_ref: f64, forward_ms: Option<f64>) -> Result<Line> {
    let threshold = plan.threshold(samples)?;
    let forwards = plan.forwards(samples);
    let level = plan.level();
    Ok(Line {
        samples,
        threshold,
        misses: threshold.map(|least| samples - least),
        power: match threshold {
            Some(least) => Tail::new(samples, p_ref)?.p(least),
            None => 0.0,
        },
        forwards,
        seconds: forward_ms.map(|ms| ms * forwards as f64 / 1000.0),
        largest_tau: if level < 1.0 {
            lower_bound(samples, samples, level)?
        } else {
            1.0
        },
    })
}

/// Deviations of Gaussian noise worth a look for a radius: from half of it, where votes are best, to six times
/// of it, where samples are fewest.
pub fn sigmas(eps: f64) -> [f64; 8] {
    [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0].map(|factor| factor * eps)
}

#[cfg(test)]
mod tests {
    use super::super::Correction;
    use super::*;

    fn plan() -> Plan {
        Plan {
            tau: 0.75,
            tests: 1 << 21,
            alpha: 0.001,
            correction: Correction::Holm,
            stage: Stage::Two,
            choose: 10,
        }
    }

    fn of(plan: Plan, asked: Option<usize>) -> Proposal {
        let law = Some(Law::Gaussian { sigma: 0.25 });
        Proposal::of(plan, law, (0.99, 0.95), (8, asked), Some(20.0)).unwrap()
    }

    #[test]
    fn the_plan_of_the_design() {
        let proposal = of(plan(), Some(100));
        let steps: Vec<_> = proposal.steps.iter().map(|line| line.samples).collect();
        assert_eq!(steps, [75, 87, 97, 106, 115, 123, 131, 139]);
        assert_eq!(proposal.least, Some(75));
        let recommended = proposal.recommended.unwrap();
        assert_eq!(
            (recommended.samples, recommended.threshold),
            (106, Some(103))
        );
        assert_eq!(
            (recommended.forwards, recommended.seconds),
            (116, Some(2.32))
        );
        let asked = proposal.asked.unwrap();
        assert_eq!((asked.threshold, asked.misses), (Some(98), Some(2)));
        for (line, power) in [
            (proposal.steps[2], 0.9261),
            (asked, 0.9206),
            (recommended, 0.9778),
        ] {
            assert!((line.power - power).abs() < 5e-5, "{line:?}");
        }
        assert_eq!(
            proposal.warnings,
            ["n = 97 tolerates as many misses with fewer samples"]
        );
        assert!(
            proposal
                .radius
                .is_some_and(|radius| (radius - 0.168622437549).abs() < 1e-11)
        );
    }

    #[test]
    fn the_limit_of_figure_3() {
        let line = of(plan(), Some(300)).asked.unwrap();
        assert!((line.largest_tau - 0.9309533098).abs() < 1e-10, "{line:?}");
        let few = of(plan(), Some(60));
        assert_eq!(few.asked.unwrap().threshold, None);
        assert_eq!(few.warnings, ["everything abstains below n = 75"]);
        assert!(few.asked.unwrap().largest_tau < 0.75);
    }

    #[test]
    fn single_stages_and_parameters() {
        let single = Plan {
            stage: Stage::SINGLE,
            correction: Correction::Bonferroni,
            ..plan()
        };
        let line = of(single, Some(110)).asked.unwrap();
        assert_eq!((line.threshold, line.forwards), (Some(107), 110));
        let none = of(
            Plan {
                choose: 0,
                ..plan()
            },
            None,
        );
        assert_eq!(
            none.warnings,
            ["n0 = 0 leaves no class to test: use a single stage"]
        );
        let wrong = |power, ms| Proposal::of(plan(), None, (0.99, power), (1, None), Some(ms));
        for (power, ms) in [
            (1.0, 1.0),
            (f64::NAN, 1.0),
            (0.9, -1.0),
            (0.9, f64::INFINITY),
        ] {
            assert!(matches!(wrong(power, ms), Err(Error::Parameter { .. })));
        }
        let all = sigmas(0.1);
        assert!(all.is_sorted() && all[2] == 0.1);
    }
}
