//! Which n for which tau, N and alpha.
//!
//! Power moves in steps: n_m is the least number of samples at which a component with m misses is
//! certified at the first level. Between n_m and n_(m+1) every sample more lowers the power. Below
//! n_0 everything abstains, whatever the correction: the first step of Holm is that of Bonferroni.

use serde::{Deserialize, Serialize};

use super::correction::Correction;
use super::lower::check_level;
use super::normal::normal_cdf;
use super::tail::{MAX_SAMPLES, Tail, check};
use super::verdict::Stage;
use crate::error::{Error, Result};

/// What is planned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Threshold, from 1/2, below 1.
    pub tau: f64,
    /// N, from 1.
    pub tests: u64,
    /// Level of an image.
    pub alpha: f64,
    /// For many components.
    #[serde(default)]
    pub correction: Correction,
    /// One or two stages.
    #[serde(default)]
    pub stage: Stage,
    /// Samples that choose the classes; of two stages, beside n.
    #[serde(default)]
    pub choose: usize,
}

/// A number of samples that tolerates one miss more than any smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Misses that are tolerated.
    pub misses: usize,
    /// The least such n.
    pub samples: usize,
}

/// What speaks against a number of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Warning {
    /// n is below `least`: everything abstains.
    AllAbstain {
        /// n_min.
        least: usize,
    },
    /// No number of samples below [`MAX_SAMPLES`] is enough.
    OutOfReach,
    /// As many misses are tolerated with fewer samples, and more pass.
    NotOnAStep {
        /// The n of the same step.
        samples: usize,
    },
    /// Two stages, and no sample that chooses.
    NoChoice,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::AllAbstain { least } => {
                write!(f, "everything abstains below n = {least}")
            }
            Warning::OutOfReach => write!(f, "everything abstains at any number of samples"),
            Warning::NotOnAStep { samples } => {
                write!(
                    f,
                    "n = {samples} tolerates as many misses with fewer samples"
                )
            }
            Warning::NoChoice => write!(f, "n0 = 0 leaves no class to test: use a single stage"),
        }
    }
}

impl Plan {
    /// As it stands.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for numbers out of their range, [`Error::Correction`], [`Error::Shape`] for
    /// N = 0.
    pub fn check(self) -> Result<Self> {
        check(1, self.tau, 0.5)?;
        check_level(self.alpha)?;
        self.correction.check()?;
        if self.tests == 0 {
            return Err(Error::Shape {
                what: "number of components",
                got: 0,
                expected: "at least 1".into(),
            });
        }
        Ok(self)
    }

    /// The level of the first step.
    pub(super) fn level(&self) -> f64 {
        let alpha = match self.stage {
            Stage::Single { guard } if self.correction.steps() => self.alpha - guard * self.alpha,
            _ => self.alpha,
        };
        self.correction.level(alpha, self.tests, 0)
    }

    /// Whether p is the sum of two tails.
    fn two_tails(&self) -> bool {
        self.stage != Stage::Two && !self.correction.steps()
    }

    /// The least count that is certified at n samples; none: everything abstains.
    ///
    /// # Errors
    ///
    /// As [`Plan::check`] and [`Tail::new`].
    pub fn threshold(&self, samples: usize) -> Result<Option<usize>> {
        self.check()?;
        let tail = if self.two_tails() {
            Tail::single_stage(samples, self.tau)?
        } else {
            let (_, least) = self.stage.guarded(samples, self.tests, self.alpha)?;
            Tail::new(samples, self.tau)?.ones_below(least)
        };
        Ok(tail.least(self.level()))
    }

    /// n_min; none if no number of samples is enough.
    ///
    /// # Errors
    ///
    /// As [`Plan::check`].
    pub fn least(&self) -> Result<Option<usize>> {
        Ok(self.steps(1)?.first().map(|step| step.samples))
    }

    /// The first `count` steps, rising in both.
    ///
    /// # Errors
    ///
    /// As [`Plan::check`].
    pub fn steps(&self, count: usize) -> Result<Vec<Step>> {
        self.check()?;
        let mut steps: Vec<Step> = Vec::new();
        while steps.len() < count {
            let last = steps.last().map_or(0, |step| step.samples);
            match self.next_step(last, steps.len())? {
                Some(step) => steps.push(step),
                None => break,
            }
        }
        Ok(steps)
    }

    /// The least n > `last` that tolerates `misses`: p falls in n, so that it is bracketed.
    fn next_step(&self, last: usize, misses: usize) -> Result<Option<Step>> {
        let level = self.level();
        // of a single stage in steps the guard too, which binds where tau is near 1/2
        let guard = match self.stage {
            Stage::Single { guard } if self.correction.steps() => {
                Some(guard * self.alpha / self.tests as f64 / 2.0)
            }
            _ => None,
        };
        let passes = |samples: usize| -> Result<bool> {
            if Tail::one(samples, self.tau, misses, self.two_tails())? > level {
                return Ok(false);
            }
            match guard {
                Some(guard) => Ok(Tail::one(samples, 0.5, misses, false)? <= guard),
                None => Ok(true),
            }
        };
        let (mut fails, mut width) = (last.max(misses), 8);
        let mut found = loop {
            if fails + width > MAX_SAMPLES {
                return Ok(None);
            }
            if passes(fails + width)? {
                break fails + width;
            }
            fails += width;
            width *= 2;
        };
        while found - fails > 1 {
            let middle = fails + (found - fails) / 2;
            if passes(middle)? {
                found = middle;
            } else {
                fails = middle;
            }
        }
        Ok(Some(Step {
            misses,
            samples: found,
        }))
    }

    /// Probability that a component whose class has probability p is certified with n samples, if its
    /// class was chosen right: an estimate, not a bound.
    ///
    /// # Errors
    ///
    /// As [`Plan::threshold`]; p inside (0, 1).
    pub fn power(&self, samples: usize, p: f64) -> Result<f64> {
        let threshold = self.threshold(samples)?;
        let tail = Tail::new(samples, p)?;
        Ok(threshold.map_or(0.0, |least| tail.p(least)))
    }

    /// A step that reaches a power at p while the one before does not, the first up to 64 misses; none
    /// if no number of samples does, or p is not above tau.
    ///
    /// # Errors
    ///
    /// As [`Plan::power`].
    pub fn recommend(&self, p: f64, power: f64) -> Result<Option<Step>> {
        self.check()?;
        check(1, p, 0.0)?;
        if p <= self.tau {
            return Ok(None);
        }
        let reached = |misses: usize| -> Result<Option<(Step, bool)>> {
            let Some(step) = self.next_step(0, misses)? else {
                return Ok(None);
            };
            let of_p = Tail::one(step.samples, p, misses, false)?;
            Ok(Some((step, of_p >= power)))
        };
        // one by one, then in steps of twice the size
        let (mut below, mut width) = (None, 1);
        let (mut step, mut misses) = loop {
            let misses = below.map_or(0, |below: usize| below + width);
            match reached(misses)? {
                None => return Ok(None),
                Some((step, true)) => break (step, misses),
                Some(_) if misses >= 64 => width *= 2,
                Some(_) => {}
            }
            below = Some(misses);
        };
        while let Some(last) = below.filter(|last| misses - last > 1) {
            let middle = last + (misses - last) / 2;
            match reached(middle)? {
                Some((found, true)) => (step, misses) = (found, middle),
                _ => below = Some(middle),
            }
        }
        Ok(Some(step))
    }

    /// Forwards in all, for n tests.
    pub fn forwards(&self, samples: usize) -> usize {
        match self.stage {
            Stage::Two => self.choose.saturating_add(samples),
            Stage::Single { .. } => samples,
        }
    }

    /// What speaks against n samples.
    ///
    /// # Errors
    ///
    /// As [`Plan::threshold`].
    pub fn warnings(&self, samples: usize) -> Result<Vec<Warning>> {
        let mut warnings = Vec::new();
        if self.stage == Stage::Two && self.choose == 0 {
            warnings.push(Warning::NoChoice);
        }
        match self.threshold(samples)? {
            None => warnings.push(match self.least()? {
                Some(least) => Warning::AllAbstain { least },
                None => Warning::OutOfReach,
            }),
            Some(threshold) => {
                let misses = samples - threshold;
                let step = self.next_step(0, misses)?;
                if let Some(step) = step.filter(|step| step.samples < samples) {
                    warnings.push(Warning::NotOnAStep {
                        samples: step.samples,
                    });
                }
            }
        }
        Ok(warnings)
    }
}

/// The threshold at which Gaussian noise of deviation sigma has a radius of eps: Phi(eps/sigma), to the
/// nearest; for a radius that is sure, [`Law::threshold`](super::Law::threshold).
///
/// # Errors
///
/// [`Error::Parameter`] unless sigma is above 0 and eps from 0, both finite.
pub fn tau_of(eps: f64, sigma: f64) -> Result<f64> {
    for (what, got, sound) in [
        ("radius eps", eps, eps >= 0.0 && eps.is_finite()),
        (
            "sigma of the noise",
            sigma,
            sigma > 0.0 && sigma.is_finite(),
        ),
    ] {
        if !sound {
            return Err(Error::Parameter {
                what,
                got,
                expected: "a finite number, eps from 0 and sigma above 0",
            });
        }
    }
    Ok(normal_cdf(eps / sigma))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        tau: 0.75,
        tests: 1 << 21,
        alpha: 0.001,
        correction: Correction::Holm,
        stage: Stage::Two,
        choose: 10,
    };

    #[test]
    fn steps_and_power_of_the_design() {
        let steps = PLAN.steps(8).unwrap();
        let samples: Vec<usize> = steps.iter().map(|step| step.samples).collect();
        assert_eq!(samples, [75, 87, 97, 106, 115, 123, 131, 139]);
        for (n, power) in [(97, 0.9261), (100, 0.9206), (106, 0.9778)] {
            assert!((PLAN.power(n, 0.99).unwrap() - power).abs() < 5e-5, "{n}");
        }
        assert_eq!(PLAN.power(74, 0.99).unwrap(), 0.0);
        let counts = Plan {
            correction: Correction::Count(2097),
            ..PLAN
        };
        assert_eq!(counts.least().unwrap(), Some(49));
        assert_eq!(counts.threshold(100).unwrap(), Some(94));
    }

    #[test]
    fn recommendations_of_the_design() {
        for (tau, tests, p, power, n, k) in [
            (0.75, 1 << 21, 0.99, 0.95, 106, 103),
            (0.75, 1 << 21, 0.95, 0.9, 181, 168),
            (0.75, 1 << 20, 0.99, 0.95, 104, 101),
            (0.75, 1 << 20, 0.95, 0.9, 171, 159),
            (0.9, 1 << 21, 0.99, 0.95, 372, 365),
            (0.9, 1 << 21, 0.95, 0.9, 1583, 1493),
        ] {
            let plan = Plan { tau, tests, ..PLAN };
            let step = plan.recommend(p, power).unwrap().unwrap();
            assert_eq!(
                (step.samples, step.samples - step.misses),
                (n, k),
                "{tau} {p}"
            );
        }
        // below the threshold no number of samples helps; just above it many do
        assert_eq!(PLAN.recommend(0.75, 0.9).unwrap(), None);
        let step = PLAN.recommend(0.76, 0.9).unwrap().unwrap();
        let power = |misses: usize| {
            let step = PLAN.next_step(0, misses).unwrap().unwrap();
            PLAN.power(step.samples, 0.76).unwrap()
        };
        assert!(power(step.misses) >= 0.9 && power(step.misses - 1) < 0.9);
        let plan = Plan {
            tau: tau_of(0.1, 0.2).unwrap(),
            tests: 1 << 20,
            ..PLAN
        };
        let step = plan.recommend(0.99, 0.95).unwrap().unwrap();
        assert_eq!((step.samples, step.misses), (74, 2));
    }

    #[test]
    fn one_stage_saves_the_samples_that_choose() {
        let single = Plan {
            correction: Correction::Bonferroni,
            stage: Stage::SINGLE,
            ..PLAN
        };
        assert_eq!(single.threshold(110).unwrap(), Some(107));
        assert_eq!(single.steps(8).unwrap(), PLAN.steps(8).unwrap());
        assert_eq!((single.forwards(110), PLAN.forwards(100)), (110, 110));
    }

    /// Near 1/2 the guard of a single stage binds: 21 votes of 21 pass the test, 25 of 25 the guard too.
    #[test]
    fn single_stages_in_steps_need_their_guard() {
        let single = Plan {
            tau: 0.5,
            tests: 1000,
            stage: Stage::SINGLE,
            ..PLAN
        };
        let two = Plan {
            stage: Stage::Two,
            ..single
        };
        assert_eq!(two.least().unwrap(), Some(20));
        assert_eq!(single.threshold(24).unwrap(), None);
        assert_eq!(single.threshold(25).unwrap(), Some(25));
        let steps: Vec<usize> = single
            .steps(2)
            .unwrap()
            .iter()
            .map(|step| step.samples)
            .collect();
        assert_eq!(steps, [25, 30]);
        assert_eq!(
            single.warnings(24).unwrap(),
            [Warning::AllAbstain { least: 25 }]
        );
    }

    #[test]
    fn warnings_name_the_way_out() {
        let words = |plan: &Plan, n| -> Vec<String> {
            let warnings = plan.warnings(n).unwrap();
            warnings.iter().map(Warning::to_string).collect()
        };
        assert_eq!(words(&PLAN, 97), Vec::<String>::new());
        assert_eq!(
            words(&PLAN, 100),
            ["n = 97 tolerates as many misses with fewer samples"]
        );
        assert_eq!(words(&PLAN, 60), ["everything abstains below n = 75"]);
        let rash = Plan { choose: 0, ..PLAN };
        assert_eq!(rash.warnings(97).unwrap(), [Warning::NoChoice]);
        let hopeless = Plan {
            tau: 1.0 - 1e-9,
            ..PLAN
        };
        assert_eq!(hopeless.warnings(100).unwrap(), [Warning::OutOfReach]);
    }

    #[test]
    fn plans_are_checked() {
        for bad in [
            Plan { tau: 0.4, ..PLAN },
            Plan { tests: 0, ..PLAN },
            Plan { alpha: 1.0, ..PLAN },
            Plan {
                correction: Correction::Kfwer(0),
                ..PLAN
            },
        ] {
            assert!(bad.least().is_err() && bad.warnings(10).is_err(), "{bad:?}");
            assert!(bad.recommend(0.9, 0.9).is_err() && bad.power(10, 0.9).is_err());
        }
        assert!(PLAN.power(10, 1.0).is_err() && PLAN.recommend(0.0, 0.5).is_err());
        assert!(PLAN.power(0, 0.9).is_err());
        assert!(
            tau_of(-0.1, 1.0).is_err()
                && tau_of(0.1, 0.0).is_err()
                && tau_of(f64::NAN, 1.0).is_err()
        );
        assert!((tau_of(0.1, 0.3).unwrap() - 0.6305586598182363).abs() < 1e-15);
    }
}
