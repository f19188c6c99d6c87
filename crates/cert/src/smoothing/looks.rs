//! Looking at the votes before all samples are drawn, with alpha spent on each look.
//!
//! Looks are set in advance, with shares of alpha that sum to 1 at most; classes are chosen by samples of
//! their own before the first. What a look certifies at its level stays certified, and one may stop at
//! any of them: with probability 1 - alpha no look is wrong.

use serde::{Deserialize, Serialize};

use super::guess::ABSTAIN;
use super::verdict::{Decision, Procedure, Stage};
use super::votes::Votes;
use crate::error::{Error, Result};

/// A look after `samples` test samples, with its share of alpha.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// n, counted from the first test sample.
    pub samples: usize,
    /// Share of alpha, above 0.
    pub share: f64,
}

/// Looks at one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Looks {
    procedure: Procedure,
    looks: Vec<Look>,
    next: usize,
    certified: Vec<u8>,
}

impl Looks {
    /// The looks at N = `components`, none taken yet.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] for looks that do not rise, or whose shares are not above 0 with a sum of at
    /// most 1; [`Error::Unsupported`] for one stage, and for corrections under which certified components may be wrong:
    /// each look might add its own. As [`Procedure::check`].
    pub fn new(procedure: Procedure, looks: &[Look], components: usize) -> Result<Self> {
        let procedure = procedure.check()?;
        if procedure.stage != Stage::Two {
            return Err(Error::Unsupported {
                what: "looking at classes that are chosen by the samples that test them",
                way_out: "use two stages",
            });
        }
        if procedure.correction.allowed() != Some(0) {
            return Err(Error::Unsupported {
                what: "looks under a correction that allows wrong components",
                way_out: "use holm or bonferroni",
            });
        }
        let refused = |reason| Err(Error::Look { reason });
        if looks.is_empty() || !looks.is_sorted_by(|a, b| a.samples < b.samples) {
            return refused("numbers of samples that rise, at least one");
        }
        let sum: f64 = looks.iter().map(|look| look.share).sum();
        let positive = looks.iter().all(|look| look.share > 0.0);
        // shares such as ten times 0.1 may round to a little more than 1
        if !positive || !(0.0..=1.0 + 0.5f64.powi(40)).contains(&sum) {
            return refused("shares of alpha above 0 whose sum is at most 1");
        }
        // no sum of what is spent exceeds alpha
        let down = (1.0 - looks.len() as f64 * f64::EPSILON) / sum.max(1.0);
        let share = |look: &Look| Look {
            share: look.share * down,
            ..*look
        };
        Ok(Looks {
            procedure,
            looks: looks.iter().map(share).collect(),
            next: 0,
            certified: vec![ABSTAIN; components],
        })
    }

    /// Shares of alpha in equal parts.
    pub fn equal(samples: &[usize]) -> Vec<Look> {
        let share = 1.0 / samples.len() as f64;
        let look = |samples: &usize| Look {
            samples: *samples,
            share,
        };
        samples.iter().map(look).collect()
    }

    /// The number of samples of the next look; none after the last.
    pub fn next_samples(&self) -> Option<usize> {
        self.looks.get(self.next).map(|look| look.samples)
    }

    /// Takes the next look.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] for votes of another number of samples or after the last look; [`Error::Components`]
    /// for another number of components.
    pub fn look(&mut self, votes: &Votes) -> Result<Decision> {
        let Some(look) = self.looks.get(self.next) else {
            return Err(Error::Look {
                reason: "no look after the last: more samples need looks of their own from the start",
            });
        };
        if votes.samples() != look.samples {
            return Err(Error::Look {
                reason: "votes of as many samples as were set for it in advance",
            });
        }
        if votes.len() != self.certified.len() {
            return Err(Error::Components {
                what: "votes",
                got: votes.len(),
                expected: self.certified.len(),
            });
        }
        let procedure = Procedure {
            alpha: self.procedure.alpha * look.share,
            ..self.procedure
        };
        let decision = procedure.decide(look.samples, &votes.histogram(None)?)?;
        let now = votes.certified(decision.threshold, None)?;
        for (class, now) in self.certified.iter_mut().zip(now) {
            *class = if *class == ABSTAIN { now } else { *class };
        }
        self.next += 1;
        Ok(decision)
    }

    /// Classes certified so far; [`ABSTAIN`] elsewhere.
    pub fn certified(&self) -> &[u8] {
        &self.certified
    }
}

#[cfg(test)]
mod tests {
    use super::super::Correction;
    use super::*;

    const PROCEDURE: Procedure = Procedure {
        tau: 0.75,
        alpha: 0.001,
        correction: Correction::Bonferroni,
        stage: Stage::Two,
    };

    /// N = 2^18: none, 98, 184, 350.
    #[test]
    fn thresholds_of_the_design() {
        let looks = Looks::equal(&[50, 100, 200, 400]);
        let mut tests = vec![];
        for look in &looks {
            let procedure = Procedure {
                alpha: 0.001 * look.share,
                ..PROCEDURE
            };
            let mut histogram = vec![0; look.samples + 1];
            histogram[look.samples] = 1 << 18;
            let tail = procedure.tail(look.samples, 1 << 18).unwrap();
            tests.push(tail.least(Correction::Bonferroni.level(procedure.alpha, 1 << 18, 0)));
        }
        assert_eq!(tests, [None, Some(98), Some(184), Some(350)]);
    }

    #[test]
    fn what_is_certified_stays() {
        let looks = Looks::equal(&[60, 120]);
        let mut state = Looks::new(PROCEDURE, &looks, 3).unwrap();
        let votes = |counts: [u32; 3], n| Votes::from_counts(vec![7, 8, 9], &counts, n).unwrap();
        assert_eq!(state.next_samples(), Some(60));
        state.look(&votes([60, 50, 30], 60)).unwrap();
        assert_eq!(state.certified(), [7, ABSTAIN, ABSTAIN]);
        // the first falls back, and stays
        state.look(&votes([80, 115, 60], 120)).unwrap();
        assert_eq!(state.certified(), [7, 8, ABSTAIN]);
        assert_eq!(state.next_samples(), None);
        assert!(matches!(
            state.look(&votes([1, 1, 1], 180)),
            Err(Error::Look { .. })
        ));
    }

    #[test]
    fn look() {
        let new = |looks: &[Look]| Looks::new(PROCEDURE, looks, 1);
        for looks in [
            &[][..],
            &Looks::equal(&[50, 50]),
            &Looks::equal(&[100, 50]),
            &[Look {
                samples: 10,
                share: 0.0,
            }],
            &[Look {
                samples: 10,
                share: 1.1,
            }],
            &[Look {
                samples: 10,
                share: f64::NAN,
            }],
        ] {
            assert!(matches!(new(looks), Err(Error::Look { .. })), "{looks:?}");
        }
        let mut state = new(&[Look {
            samples: 10,
            share: 1.0,
        }])
        .unwrap();
        let error = state
            .look(&Votes::from_counts(vec![0], &[9], 9).unwrap())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "look refused; expected votes of as many samples as were set for it in advance"
        );
        let other = Votes::from_counts(vec![0, 0], &[9, 9], 10).unwrap();
        assert!(matches!(state.look(&other), Err(Error::Components { .. })));
        // ten tenths are 1
        let tenths: Vec<usize> = (1..=10).map(|j| 10 * j).collect();
        new(&Looks::equal(&tenths)).unwrap();
        let single = Procedure {
            stage: Stage::SINGLE,
            ..PROCEDURE
        };
        let error = Looks::new(single, &Looks::equal(&[10]), 1).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }));
        // at most one wrong at each look is not at most one wrong
        for correction in [Correction::None, Correction::Kfwer(2), Correction::Count(1)] {
            let procedure = Procedure {
                correction,
                ..PROCEDURE
            };
            let error = Looks::new(procedure, &Looks::equal(&[10]), 1).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }));
        }
    }
}
