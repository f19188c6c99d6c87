//! SegCertify: from a histogram of counts to what is certified (paper 002 Alg. 2).
//!
//! Two stages: the class of a component is the most frequent of n0 samples, and n others test it.
//! One stage: the same n samples choose and test. There p is the sum of two tails
//! ([`Tail::single_stage`]), as is on both sides of 1/2 the sum over all classes of P(X_c >= k); this serves
//! procedures that need each p-value alone. Procedures in steps need the class fixed: a part of alpha
//! pays for a *guard*, the least count above n/2 with 2·P(Bin(n, 1/2) >= k) <= guard/N. Off an event of
//! that probability whatever reaches it has a class above 1/2, and the theory of a fixed class applies.

use serde::{Deserialize, Serialize};

use super::correction::{Correction, check_histogram};
use super::lower::check_level;
use super::tail::{Tail, check};
use super::votes::Votes;
use crate::error::{Error, Result};

/// How classes are chosen and tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stage {
    /// By samples of their own.
    #[default]
    Two,
    /// By the samples that test them.
    Single {
        /// Share of alpha that pays for the guard, where one is needed; inside (0, 1).
        guard: f64,
    },
}

impl Stage {
    /// One stage, with a tenth of alpha for the guard.
    pub const SINGLE: Stage = Stage::Single { guard: 0.1 };

    /// (alpha that is left, least count) of a procedure that needs its classes fixed.
    pub(super) fn guarded(self, samples: usize, tests: u64, alpha: f64) -> Result<(f64, usize)> {
        let Stage::Single { guard } = self else {
            return Ok((alpha, 0));
        };
        check_guard(guard)?;
        let share = guard * alpha;
        let least = if tests == 0 {
            None
        } else {
            Tail::new(samples, 0.5)?.least(share / tests as f64 / 2.0)
        };
        let above_half = samples / 2 + 1;
        let least = least.map_or(samples + 1, |least| least.max(above_half));
        Ok((alpha - share, least))
    }
}

/// What is tested, how, and at which level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Procedure {
    /// Threshold of the probability of a class, from 1/2, below 1.
    pub tau: f64,
    /// Probability that the statement about an image is wrong, inside (0, 1).
    pub alpha: f64,
    /// For many components.
    #[serde(default)]
    pub correction: Correction,
    /// How classes are chosen.
    #[serde(default)]
    pub stage: Stage,
}

impl Procedure {
    /// As it stands.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for numbers out of their range, [`Error::Correction`].
    pub fn check(self) -> Result<Self> {
        check(1, self.tau, 0.5)?;
        check_level(self.alpha)?;
        self.correction.check()?;
        if let Stage::Single { guard } = self.stage {
            check_guard(guard)?;
        }
        Ok(self)
    }

    /// p by count of n samples, for N components; below the guard they are 1.
    ///
    /// # Errors
    ///
    /// As [`Procedure::check`] and [`Tail::new`].
    pub fn tail(&self, samples: usize, tests: u64) -> Result<Tail> {
        self.check()?;
        if self.stage == Stage::Two {
            return Tail::new(samples, self.tau);
        }
        if !self.correction.steps() {
            return Tail::single_stage(samples, self.tau);
        }
        let (_, least) = self.stage.guarded(samples, tests, self.alpha)?;
        Ok(Tail::new(samples, self.tau)?.ones_below(least))
    }

    /// What is certified of components with these counts: `histogram[c]` have c of n votes for
    /// their class. N is their number.
    ///
    /// # Errors
    ///
    /// As [`Procedure::tail`]; [`Error::Histogram`] unless it has n + 1 entries.
    pub fn decide(&self, samples: usize, histogram: &[u64]) -> Result<Decision> {
        check_histogram(histogram, samples)?;
        let tests = histogram.iter().sum();
        let tail = self.tail(samples, tests)?;
        let alpha = if self.correction.steps() {
            self.stage.guarded(samples, tests, self.alpha)?.0
        } else {
            self.alpha
        };
        let threshold = self.correction.threshold(&tail, histogram, alpha)?;
        let certified = threshold.map_or(0, |least| histogram[least..].iter().sum());
        Ok(Decision {
            tail,
            tests,
            threshold,
            certified,
            net: self.correction.net(certified),
        })
    }
}

impl Decision {
    /// ln p per component, rounded up; 0, that is p = 1, outside a family.
    ///
    /// # Errors
    ///
    /// [`Error::Histogram`] for votes of another number of samples, [`Error::Components`] for a family of another size.
    pub fn ln_p(&self, votes: &Votes, family: Option<&[bool]>) -> Result<Vec<f64>> {
        if votes.samples() != self.tail.samples() {
            return Err(Error::Histogram {
                got: votes.samples() + 1,
                expected: self.tail.samples() + 1,
            });
        }
        votes.by_count(family, 0.0, |count| self.tail.ln_p(count))
    }
}

fn check_guard(guard: f64) -> Result<()> {
    if guard > 0.0 && guard < 1.0 {
        return Ok(());
    }
    Err(Error::Parameter {
        what: "share of alpha for the guard",
        got: guard,
        expected: "a number inside (0, 1)",
    })
}

/// What is certified of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// p by count.
    pub tail: Tail,
    /// N.
    pub tests: u64,
    /// The least count that is certified; none if no component is.
    pub threshold: Option<usize>,
    /// Components with at least that count.
    pub certified: u64,
    /// How many of them are right with probability 1 - alpha.
    pub net: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn procedure(correction: Correction, stage: Stage) -> Procedure {
        Procedure {
            tau: 0.75,
            alpha: 0.001,
            correction,
            stage,
        }
    }

    #[test]
    fn the_example_of_five_components() {
        let mut histogram = vec![0; 21];
        for count in [19, 17, 16, 15, 10] {
            histogram[count] += 1;
        }
        let of = |correction| Procedure {
            tau: 0.5,
            alpha: 0.05,
            ..procedure(correction, Stage::Two)
        };
        let holm = of(Correction::Holm).decide(20, &histogram).unwrap();
        let bonferroni = of(Correction::Bonferroni).decide(20, &histogram).unwrap();
        assert_eq!((holm.certified, holm.threshold), (4, Some(15)));
        assert_eq!((bonferroni.certified, bonferroni.threshold), (3, Some(16)));
        let p = [19, 17, 16, 15, 10].map(|count| holm.tail.p(count));
        let want = [
            2.00271606e-5,
            0.001288414,
            0.00590896606,
            0.0206947327,
            0.588098526,
        ];
        for (p, want) in p.into_iter().zip(want) {
            assert!((p / want - 1.0).abs() < 1e-8, "{p} {want}");
        }
    }

    /// N = 2^21, n = 100, alpha2 = alpha/100: 84.
    #[test]
    fn the_guard_of_the_design() {
        let stage = Stage::Single { guard: 0.01 };
        let (alpha, least) = stage.guarded(100, 1 << 21, 0.001).unwrap();
        assert_eq!((least, alpha), (84, 0.001 - 0.00001));
        // too few samples for any count
        assert_eq!(stage.guarded(10, 1 << 21, 0.001).unwrap().1, 11);
        assert_eq!(Stage::Two.guarded(100, 1 << 21, 0.001).unwrap(), (0.001, 0));
    }

    /// 2·P(Bin(n, 1/2) >= k) <= guard/N at the least count, and not one below.
    #[test]
    fn the_guard_has_two_sides() {
        for (n, tests) in [(30, 5u64), (100, 1 << 21), (101, 1000), (1000, 40)] {
            let (_, least) = Stage::SINGLE.guarded(n, tests, 0.2).unwrap();
            let both = |k: usize| 2.0 * Tail::new(n, 0.5).unwrap().p(k) * tests as f64;
            assert!(both(least) <= 0.02 && both(least - 1) > 0.02, "{n} {tests}");
        }
    }

    #[test]
    fn guarded_is_a_part_of_unguarded() {
        for n in [12, 30, 50] {
            for seed in 0..40u64 {
                let histogram: Vec<u64> = (0..=n as u64)
                    .map(|c| (c * c * 7 + seed * 13) % 5 * u64::from(c > n as u64 / 3))
                    .collect();
                for correction in [Correction::Holm, Correction::Kfwer(3)] {
                    let fixed = Procedure {
                        alpha: 0.2,
                        ..procedure(correction, Stage::Two)
                    };
                    let single = Procedure {
                        stage: Stage::SINGLE,
                        ..fixed
                    };
                    let [fixed, single] = [fixed, single].map(|p| p.decide(n, &histogram).unwrap());
                    assert!(single.certified <= fixed.certified);
                    assert!(single.threshold.is_none_or(|k| 2 * k > n));
                }
            }
        }
    }

    #[test]
    fn p_values_by_component() {
        let votes = Votes::from_counts(vec![0; 3], &[20, 10, 20], 20).unwrap();
        let procedure = Procedure {
            tau: 0.75,
            alpha: 0.05,
            correction: Correction::Holm,
            stage: Stage::Two,
        };
        let decision = procedure
            .decide(20, &votes.histogram(None).unwrap())
            .unwrap();
        let [all, few] = [decision.tail.ln_p(20), decision.tail.ln_p(10)];
        assert_eq!(decision.ln_p(&votes, None).unwrap(), [all, few, all]);
        let family = [true, true, false];
        assert_eq!(
            decision.ln_p(&votes, Some(&family)).unwrap(),
            [all, few, 0.0]
        );
        assert!(decision.ln_p(&votes, Some(&family[1..])).is_err());
        let other = Votes::from_counts(vec![0], &[1], 21).unwrap();
        assert!(matches!(
            decision.ln_p(&other, None),
            Err(Error::Histogram { .. })
        ));
    }

    #[test]
    fn procedures_are_checked() {
        let good = procedure(Correction::Holm, Stage::SINGLE);
        good.check().unwrap();
        for bad in [
            Procedure { tau: 0.4, ..good },
            Procedure { tau: 1.0, ..good },
            Procedure { alpha: 0.0, ..good },
            Procedure {
                alpha: f64::NAN,
                ..good
            },
            Procedure {
                stage: Stage::Single { guard: 1.0 },
                ..good
            },
            Procedure {
                correction: Correction::Kfwer(0),
                ..good
            },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
            assert!(bad.decide(10, &[1; 11]).is_err(), "{bad:?}");
        }
        assert!(matches!(
            good.decide(10, &[1; 10]),
            Err(Error::Histogram { .. })
        ));
        let empty = good.decide(10, &[0; 11]).unwrap();
        assert_eq!(
            (empty.certified, empty.threshold, empty.tests),
            (0, None, 0)
        );
    }

    #[test]
    fn settings_are_written_and_read() {
        let text =
            r#"{"tau":0.75,"alpha":0.001,"correction":"holm","stage":{"single":{"guard":0.1}}}"#;
        let procedure: Procedure = serde_json::from_str(text).unwrap();
        assert_eq!(procedure.stage, Stage::SINGLE);
        assert_eq!(serde_json::to_string(&procedure).unwrap(), text);
        let short: Procedure = serde_json::from_str(r#"{"tau":0.75,"alpha":0.1}"#).unwrap();
        assert_eq!(
            (short.correction, short.stage),
            (Correction::Holm, Stage::Two)
        );
        assert!(serde_json::from_str::<Procedure>(r#"{"tau":0.75,"alpha":0.1,"n":3}"#).is_err());
    }
}
