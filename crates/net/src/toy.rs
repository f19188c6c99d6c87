//! The oracle of paper 002 section 6.1: label maps, or their counts, without a network.

use certiseg_cert::smoothing::{Toy, Votes};

use crate::Result;
use crate::rng::Rng;

/// Draws what the oracle says. The true class is 1, an error 0.
pub struct Oracle {
    toy: Toy,
    /// P(X >= k) of right answers among those that choose, of a good and of a bad component.
    choose: [Vec<f64>; 2],
    /// Among those that test.
    test: [Vec<f64>; 2],
}

impl Oracle {
    /// For this experiment.
    ///
    /// # Errors
    /// [`Error::Cert`](crate::Error::Cert).
    pub fn new(toy: Toy) -> Result<Self> {
        let toy = toy.check()?;
        Ok(Self {
            choose: [toy.right(toy.choose, false)?, toy.right(toy.choose, true)?],
            test: [
                toy.right(toy.samples, false)?,
                toy.right(toy.samples, true)?,
            ],
            toy,
        })
    }

    /// `count` label maps; the bad components come first.
    pub fn maps(&self, count: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
        let errors = [false, true].map(|bad| threshold(self.toy.error(bad)));
        let mut right = |i: u64| {
            let error = errors[usize::from(i < self.toy.bad)];
            // 53 bits, so that an error of 1 is one always
            u8::from(rng.next_u64() >> 11 >= error)
        };
        let mut map = || (0..self.toy.components).map(&mut right).collect();
        (0..count).map(|_| map()).collect()
    }

    /// The votes of maps that choose and others that test. Any number of maps may choose between two classes, by the
    /// counts of one of them.
    ///
    /// # Errors
    /// [`Error::Cert`](crate::Error::Cert) for maps of different sizes.
    pub fn count(choose: &[&[u8]], test: &[&[u8]]) -> Result<Votes> {
        let mut ones = Votes::new(vec![1; choose.first().map_or(0, |map| map.len())]);
        choose.iter().try_for_each(|map| ones.add(map))?;
        let class = |i: usize| u8::from(2 * ones.count(i) > choose.len());
        let mut votes = Votes::new((0..ones.len()).map(class).collect());
        test.iter().try_for_each(|map| votes.add(map))?;
        Ok(votes)
    }

    /// The votes alone, drawn from their law: the class with more of n0 answers, a tie to 0, and its count of n.
    ///
    /// # Errors
    /// [`Error::Cert`](crate::Error::Cert).
    pub fn votes(&self, rng: &mut Rng) -> Result<Votes> {
        let mut classes = Vec::new();
        let mut counts = Vec::new();
        for i in 0..self.toy.components {
            let kind = usize::from(i < self.toy.bad);
            let right = draw(&self.choose[kind], rng);
            let test = draw(&self.test[kind], rng);
            let class = 2 * right > self.toy.choose;
            classes.push(u8::from(class));
            counts.push(if class { test } else { self.toy.samples - test } as u32);
        }
        Ok(Votes::from_counts(classes, &counts, self.toy.samples)?)
    }
}

/// Of 2^53.
fn threshold(error: f64) -> u64 {
    (error * (1u64 << 53) as f64) as u64
}

/// The largest k with P(X >= k) above a uniform number.
fn draw(tail: &[f64], rng: &mut Rng) -> usize {
    let uniform = rng.uniform();
    tail.partition_point(|p| *p > uniform).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use certiseg_cert::smoothing::{Correction, Expectation, Guess};

    use super::*;

    fn toy(gamma: f64) -> Toy {
        Toy {
            components: 40,
            bad: 10,
            gamma,
            choose: 11,
            samples: 50,
            tau: 0.6,
            alpha: 0.05,
        }
    }

    /// Certified by Bonferroni, of all runs.
    fn simulated(toy: Toy, runs: u64, maps: bool) -> f64 {
        let oracle = Oracle::new(toy).unwrap();
        let mut certified = 0;
        for run in 0..runs {
            let mut rng = Rng::keyed(3, &[run, maps.into()]);
            let votes = match maps {
                false => oracle.votes(&mut rng).unwrap(),
                true => {
                    let maps = oracle.maps(toy.choose + toy.samples, &mut rng);
                    let maps: Vec<&[u8]> = maps.iter().map(Vec::as_slice).collect();
                    let (choose, test) = maps.split_at(toy.choose);
                    let votes = Oracle::count(choose, test).unwrap();
                    // the mode of any classes is the same
                    let mut guess = Guess::new(toy.components as usize);
                    choose.iter().for_each(|map| guess.add(map).unwrap());
                    assert_eq!(guess.two_stage().unwrap().classes(), votes.classes());
                    votes
                }
            };
            let histogram = votes.histogram(None).unwrap();
            let procedure = toy.procedure(Correction::Bonferroni);
            certified += procedure.decide(toy.samples, &histogram).unwrap().certified;
        }
        certified as f64 / (runs * toy.components) as f64
    }

    fn exact(toy: Toy) -> Expectation {
        toy.expectation(Correction::Bonferroni).unwrap().unwrap()
    }

    #[test]
    fn maps_and_votes_have_the_exact_expectation() {
        for gamma in [0.0, 0.08, 0.12, 1.0] {
            let toy = toy(gamma);
            let exact = exact(toy);
            for maps in [false, true] {
                let got = simulated(toy, 400, maps);
                assert!(
                    (got - exact.mean).abs() <= exact.within(400),
                    "{gamma} {maps}: {got} {exact:?}"
                );
            }
        }
    }

    /// The interval is no empty word: an error of 0.13 for 0.12 is seen.
    #[test]
    fn the_comparison_sees_another_experiment() {
        let exact = exact(toy(0.12));
        let got = simulated(toy(0.13), 2000, false);
        assert!(
            (got - exact.mean).abs() > exact.within(2000),
            "{got} {exact:?}"
        );
    }
}
