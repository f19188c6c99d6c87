//! The toy experiment of paper 002 section 6.1: two classes, an oracle that errs by chance, and what share of its
//! components is certified. All components are independent, so that the expectation is known exactly where one
//! level serves all of them.

use serde::{Deserialize, Serialize};

use super::correction::Correction;
use super::lower::lower_bounds;
use super::tail::Tail;
use super::verdict::{Procedure, Stage};
use super::wide::Wide;
use crate::Share;
use crate::error::{Error, Result};

/// The chance that a simulation lies outside of [`Expectation::within`]: at most 10^-6.
const LN_OUTSIDE: f64 = 14.508_657_738_524_22;

/// What is simulated. The true class is 1, an error is class 0, and ties of a guess go to class 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toy {
    /// N.
    pub components: u64,
    /// Components with five times the error.
    pub bad: u64,
    /// Error of the others, from 0 to 1.
    pub gamma: f64,
    /// n0.
    pub choose: usize,
    /// n.
    pub samples: usize,
    /// Threshold.
    pub tau: f64,
    /// Level.
    pub alpha: f64,
}

/// The share that is certified in one run: its mean, and how far it strays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expectation {
    /// The mean.
    pub mean: f64,
    /// The variance.
    pub variance: f64,
    /// What one of the independent things that happen in a run changes at most.
    pub step: f64,
}

impl Expectation {
    /// The mean of so many runs is within this of that of all, but for a probability of 10^-6 (Bernstein).
    pub fn within(&self, runs: u64) -> f64 {
        let third = LN_OUTSIDE * self.step / (3.0 * runs as f64);
        third + (third * third + 2.0 * LN_OUTSIDE * self.variance / runs as f64).sqrt()
    }
}

impl Toy {
    /// As it stands.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an error outside [0, 1] and as [`Procedure::check`]; [`Error::Shape`] for no component,
    /// no sample, or more bad components than there are.
    pub fn check(self) -> Result<Self> {
        if !(0.0..=1.0).contains(&self.gamma) {
            return Err(Error::Parameter {
                what: "error gamma",
                got: self.gamma,
                expected: "a probability from 0 to 1",
            });
        }
        self.procedure(Correction::Holm).check()?;
        let shape = |what, got, sound: bool, expected: &str| match sound {
            true => Ok(()),
            false => Err(Error::Shape {
                what,
                got,
                expected: expected.into(),
            }),
        };
        let least = self.choose.min(self.samples);
        shape("number of samples", least, least > 0, "at least 1")?;
        let components = self.components as usize;
        shape(
            "number of components",
            components,
            components > 0,
            "at least 1",
        )?;
        let bad = self.bad as usize;
        shape(
            "number of bad components",
            bad,
            self.bad <= self.components,
            "at most all",
        )?;
        Ok(self)
    }

    /// The test of a correction.
    pub fn procedure(&self, correction: Correction) -> Procedure {
        Procedure {
            tau: self.tau,
            alpha: self.alpha,
            correction,
            stage: Stage::Two,
        }
    }

    /// The share of so many certified ones among all, to the nearest.
    pub fn share(certified: u64, all: u64) -> f64 {
        Share::new(certified as usize, all as usize).nearest()
    }

    /// The error of a component: 5·gamma, at most 1, of a bad one.
    pub fn error(&self, bad: bool) -> f64 {
        if bad {
            (5.0 * self.gamma).min(1.0)
        } else {
            self.gamma
        }
    }

    /// P(X >= k), k = 0..=n, of right answers among n of a component.
    ///
    /// # Errors
    ///
    /// As [`Tail::new`].
    pub fn right(&self, samples: usize, bad: bool) -> Result<Vec<f64>> {
        at_least(samples, 1.0 - self.error(bad))
    }

    /// The certified share under a correction with one level, Bonferroni or a certificate of counts; none for those
    /// in steps, whose level depends on all components.
    ///
    /// # Errors
    ///
    /// As [`Toy::check`].
    pub fn expectation(&self, correction: Correction) -> Result<Option<Expectation>> {
        self.check()?;
        if correction.steps() {
            return Ok(None);
        }
        let level = correction.level(self.alpha, self.components, 0);
        let least = Tail::new(self.samples, self.tau)?.least(level);
        let (mut mean, mut variance) = (0.0, 0.0);
        for bad in [false, true] {
            let p = match least {
                Some(least) => self.passes(least, bad)?,
                None => 0.0,
            };
            let part = self.number(bad) as f64 / self.components as f64;
            mean += part * p;
            variance += part * p * (1.0 - p);
        }
        Ok(Some(Expectation {
            mean,
            variance: variance / self.components as f64,
            step: 1.0 / self.components as f64,
        }))
    }

    /// The same of IndivClass, which certifies all components where every bound is above 1/2, or none.
    ///
    /// # Errors
    ///
    /// As [`Toy::check`].
    pub fn indiv_class(&self) -> Result<Expectation> {
        self.check()?;
        let level = self.alpha / self.components as f64;
        let bounds = lower_bounds(self.samples, self.samples / 2 + 1, level);
        let least = bounds.partition_point(|bound| *bound <= 0.5);
        let mut mean = 1.0;
        for bad in [false, true] {
            let p = self.passes(least, bad)?;
            mean *= match self.number(bad) {
                0 => 1.0,
                // nothing to a power is nothing
                _ if p <= 0.0 => 0.0,
                number => Wide::from(p.min(1.0)).power(number).down(),
            };
        }
        Ok(Expectation {
            mean,
            variance: mean * (1.0 - mean),
            step: 1.0,
        })
    }

    /// How many components have this error.
    fn number(&self, bad: bool) -> u64 {
        if bad {
            self.bad
        } else {
            self.components - self.bad
        }
    }

    /// P(the class that is chosen gets at least so many votes).
    fn passes(&self, least: usize, bad: bool) -> Result<f64> {
        if least > self.samples {
            return Ok(0.0);
        }
        let error = self.error(bad);
        let half = self.choose / 2 + 1;
        let right = at_least(self.choose, 1.0 - error)?[half];
        // by its own tail, without cancellation
        let wrong = at_least(self.choose, error)?[self.choose.div_ceil(2)];
        let test = |p: f64| at_least(self.samples, p).map(|tail| tail[least]);
        Ok(right * test(1.0 - error)? + wrong * test(error)?)
    }
}

/// P(Bin(n, p) >= k), k = 0..=n, for any p.
fn at_least(samples: usize, p: f64) -> Result<Vec<f64>> {
    Ok(match p {
        // never, but for k = 0; always
        p if p <= 0.0 => (0..=samples).map(|k| f64::from(k == 0)).collect(),
        p if p >= 1.0 => vec![1.0; samples + 1],
        p => Tail::new(samples, p)?.values().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fig2a(gamma: f64) -> Toy {
        Toy {
            components: 100,
            bad: 1,
            gamma,
            choose: 100,
            samples: 100,
            tau: 0.75,
            alpha: 0.001,
        }
    }

    fn bonferroni(toy: Toy) -> f64 {
        toy.expectation(Correction::Bonferroni)
            .unwrap()
            .unwrap()
            .mean
    }

    #[test]
    fn the_figures_of_the_design() {
        for (gamma, want) in [
            (0.0, 1.0),
            (0.024, 0.987894),
            (0.048, 0.882970),
            (0.072, 0.562199),
            (0.096, 0.242727),
        ] {
            assert!((bonferroni(fig2a(gamma)) - want).abs() < 1e-6, "{gamma}");
        }
        let exponential = |alpha, components| {
            let (choose, samples, tau, gamma) = (1000, 1000, 0.9, 0.05);
            bonferroni(Toy {
                components,
                bad: 1,
                gamma,
                choose,
                samples,
                tau,
                alpha,
            })
        };
        let sizes = [100, 1_000, 10_000, 100_000, 1_000_000];
        for (alpha, wants) in [
            (0.1, [0.98847, 0.98842, 0.94880, 0.86107, 0.69983]),
            (0.001, [0.939402, 0.860220, 0.699763, 0.537524, 0.365560]),
        ] {
            for (components, want) in sizes.into_iter().zip(wants) {
                assert!(
                    (exponential(alpha, components) - want).abs() < 5e-6,
                    "{alpha} {components}"
                );
            }
        }
        assert!((exponential(0.1, 10_000) - 0.9487955519).abs() < 1e-10);
    }

    /// All outcomes of few samples, counted.
    #[test]
    fn expectations_by_enumeration() {
        for (choose, samples, error) in [(2, 5, 0.25), (3, 4, 0.5), (1, 6, 0.0), (4, 3, 1.0)] {
            let toy = Toy {
                components: 4,
                bad: 0,
                gamma: error,
                choose,
                samples,
                tau: 0.5,
                alpha: 0.9,
            };
            let level = Correction::Bonferroni.level(0.9, 4, 0);
            let least = Tail::new(samples, 0.5).unwrap().least(level).unwrap();
            let mut mean = 0.0;
            for bits in 0..1u32 << (choose + samples) {
                let wrong = bits.count_ones() as i32;
                let all = (choose + samples) as i32;
                let chance = error.powi(wrong) * (1.0 - error).powi(all - wrong);
                let chooses = (bits & ((1 << choose) - 1)).count_ones() as usize;
                let tests = (bits >> choose).count_ones() as usize;
                // a tie goes to the wrong class
                let count = if 2 * chooses < choose {
                    samples - tests
                } else {
                    tests
                };
                mean += if count >= least { chance } else { 0.0 };
            }
            let got = toy.expectation(Correction::Bonferroni).unwrap().unwrap();
            assert!(
                (got.mean - mean).abs() < 1e-12,
                "{choose} {samples}: {} {mean}",
                got.mean
            );
            assert!((got.variance - mean * (1.0 - mean) / 4.0).abs() < 1e-12);
        }
    }

    #[test]
    fn indiv_class_falls_with_its_worst_component() {
        let means =
            [0.0, 0.024, 0.048, 0.072, 0.096].map(|gamma| fig2a(gamma).indiv_class().unwrap().mean);
        assert_eq!(means[0], 1.0);
        assert!(means.windows(2).all(|pair| pair[0] > pair[1]));
        // 20 runs of the design: 1, .9, .05
        assert!(
            means[1] > 0.99 && (means[2] - 0.9).abs() < 0.15 && means[4] < 0.01,
            "{means:?}"
        );
    }

    #[test]
    fn toys_are_checked() {
        assert_eq!(fig2a(0.1).expectation(Correction::Holm), Ok(None));
        assert_eq!(
            (fig2a(0.5).error(true), fig2a(0.1).error(false)),
            (1.0, 0.1)
        );
        let toy = fig2a(0.1);
        for wrong in [
            Toy { gamma: 1.1, ..toy },
            Toy {
                gamma: f64::NAN,
                ..toy
            },
            Toy { tau: 0.4, ..toy },
        ] {
            assert!(matches!(wrong.check(), Err(Error::Parameter { .. })));
        }
        for wrong in [
            Toy { bad: 101, ..toy },
            Toy {
                components: 0,
                bad: 0,
                ..toy
            },
            Toy { choose: 0, ..toy },
        ] {
            assert!(matches!(wrong.check(), Err(Error::Shape { .. })));
        }
        let all = toy.right(3, true).unwrap();
        assert_eq!((all.len(), all[0]), (4, 1.0));
        // a single miss more than expected is no alarm, a tenth of all components is one
        let certain = fig2a(0.004)
            .expectation(Correction::Bonferroni)
            .unwrap()
            .unwrap();
        assert!(certain.within(20) > 1.0 / 2000.0 && certain.within(20) < 0.02);
    }
}
