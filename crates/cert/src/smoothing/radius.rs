//! Radii of all components and all thresholds from one set of samples.
//!
//! With a = (B+1)·alpha/N the expected number of components whose true p is not above L_a(k_i) is at
//! most (B+1)·alpha, so that with probability 1 - alpha at most B are: none for B = 0. The event does not
//! mention tau: the map of radii, and the number of components with a radius of at least r for all r,
//! hold together, at every tau as strong as Bonferroni's. (Holm at many tau does not hold together.)

use super::law::{Law, Promise};
use super::lower::{check_level, lower_bounds};
use super::tail::check;
use super::verdict::Stage;
use super::{correction::check_histogram, votes::Votes};
use crate::error::Result;
use crate::share::f32_down;

/// One bound and one radius a count.
#[derive(Clone, Debug, PartialEq)]
pub struct RadiusTable {
    allowed: u64,
    lower: Vec<f64>,
    radii: Vec<f64>,
}

/// A point of the curve: so many components have at least this radius.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RadiusPoint {
    /// The radius, in the unit of the noise.
    pub radius: f64,
    /// Components with at least that radius.
    pub certified: u64,
    /// How many of them are right, for all radii together.
    pub net: u64,
}

impl RadiusTable {
    /// For N = `tests` components, of which `allowed` may be wrong with probability 1 - alpha.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`](crate::Error::Parameter) for numbers out of their range.
    pub fn new(
        (samples, stage): (usize, Stage),
        (tests, allowed): (u64, u64),
        alpha: f64,
        (law, promise): (Law, Promise),
    ) -> Result<Self> {
        check(samples, 0.5, 0.0)?;
        check_level(alpha)?;
        law.check()?;
        let out = promise.out()?;
        let (alpha, least) = stage.guarded(samples, tests, alpha)?;
        let level = (allowed as f64 + 1.0) * alpha / tests.max(1) as f64;
        let mut table = RadiusTable {
            allowed,
            lower: vec![0.0; samples + 1],
            radii: vec![0.0; samples + 1],
        };
        if level < 1.0 {
            // a bound above 1/2 needs more than half of the votes, as long as the level is below 1/2
            let least = least.max(samples / 2 + 1);
            table.lower = lower_bounds(samples, least, level);
        }
        for (bound, radius) in table.lower.iter().zip(&mut table.radii) {
            if *bound > out {
                *radius = law.radius_to(*bound, promise)?;
            }
        }
        Ok(table)
    }

    /// Components that may be wrong.
    pub fn allowed(&self) -> u64 {
        self.allowed
    }

    /// Lower bound of the probability of a class with so many votes; 0 up to half of them.
    ///
    /// # Panics
    ///
    /// For counts above n.
    pub fn lower(&self, count: usize) -> f64 {
        self.lower[count]
    }

    /// Radius of a component with so many votes; 0: none.
    ///
    /// # Panics
    ///
    /// For counts above n.
    pub fn radius(&self, count: usize) -> f64 {
        self.radii[count]
    }

    /// Radii by count, 0 to n, rising.
    pub fn radii(&self) -> &[f64] {
        &self.radii
    }

    /// Radius per component, rounded down to f32.
    ///
    /// # Errors
    ///
    /// [`Error::Histogram`](crate::Error::Histogram) for votes of another number of samples.
    pub fn map(&self, votes: &Votes) -> Result<Vec<f32>> {
        self.map_of(votes, None)
    }

    /// The same of a family; 0 outside.
    ///
    /// # Errors
    ///
    /// As [`RadiusTable::map`]; [`Error::Components`](crate::Error::Components) for a family of another size.
    pub fn map_of(&self, votes: &Votes, family: Option<&[bool]>) -> Result<Vec<f32>> {
        let entries = votes.samples() + 1;
        if entries != self.radii.len() {
            return Err(crate::Error::Histogram {
                got: entries,
                expected: self.radii.len(),
            });
        }
        let radii: Vec<f32> = self.radii.iter().map(|radius| f32_down(*radius)).collect();
        votes.by_count(family, 0.0, |count| radii[count])
    }

    /// Components with at least this radius. Of components whose class is right only, it bounds the
    /// certified accuracy.
    ///
    /// # Errors
    ///
    /// [`Error::Histogram`](crate::Error::Histogram) unless it has n + 1 entries.
    pub fn at(&self, histogram: &[u64], radius: f64) -> Result<RadiusPoint> {
        check_histogram(histogram, self.radii.len() - 1)?;
        let pairs = self.radii.iter().zip(histogram);
        let within = pairs.filter(|(r, _)| **r > 0.0 && **r >= radius);
        let certified = within.map(|(_, pixels)| pixels).sum();
        Ok(self.point(radius, certified))
    }

    /// All points where the number changes, by falling radius.
    ///
    /// # Errors
    ///
    /// As [`RadiusTable::at`].
    pub fn curve(&self, histogram: &[u64]) -> Result<Vec<RadiusPoint>> {
        check_histogram(histogram, self.radii.len() - 1)?;
        let mut certified = 0;
        let mut points = Vec::new();
        for (radius, pixels) in self.radii.iter().zip(histogram).rev() {
            if *radius > 0.0 && *pixels > 0 {
                certified += pixels;
                points.push(self.point(*radius, certified));
            }
        }
        Ok(points)
    }

    fn point(&self, radius: f64, certified: u64) -> RadiusPoint {
        RadiusPoint {
            radius,
            certified,
            net: certified.saturating_sub(self.allowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Correction, Procedure};
    use super::*;

    const LAW: (Law, Promise) = (Law::Gaussian { sigma: 0.25 }, Promise::ClassOrAbstain);

    fn histogram(n: usize, seed: u64) -> Vec<u64> {
        let square = |c: u64| (c * c + seed * 31) % 97;
        (0..=n as u64).map(square).collect()
    }

    #[test]
    fn at_every_threshold_it_is_bonferroni() {
        for (n, seed) in [(20, 1), (50, 2), (100, 3)] {
            let histogram = histogram(n, seed);
            let tests = histogram.iter().sum();
            let table = RadiusTable::new((n, Stage::Two), (tests, 0), 0.01, LAW).unwrap();
            for i in 501..990 {
                let tau = f64::from(i) / 1000.0;
                let procedure = Procedure {
                    tau,
                    alpha: 0.01,
                    correction: Correction::Bonferroni,
                    stage: Stage::Two,
                };
                let decision = procedure.decide(n, &histogram).unwrap();
                let point = table.at(&histogram, LAW.0.radius(tau).unwrap()).unwrap();
                assert_eq!(point.certified, decision.certified, "{n} {tau}");
            }
        }
    }

    #[test]
    fn errors_allowed_enlarge_radii_and_are_subtracted() {
        let histogram = histogram(60, 5);
        let tests = histogram.iter().sum();
        let table = |allowed| RadiusTable::new((60, Stage::Two), (tests, allowed), 0.01, LAW);
        let [none, some] = [0, 20].map(|allowed| table(allowed).unwrap());
        assert!((0..=60).all(|k| none.radius(k) <= some.radius(k)));
        let curve = some.curve(&histogram).unwrap();
        assert!(curve.windows(2).all(|pair| {
            pair[0].radius > pair[1].radius && pair[0].certified < pair[1].certified
        }));
        for point in &curve {
            assert_eq!(point.net, point.certified.saturating_sub(20));
            assert_eq!(some.at(&histogram, point.radius).unwrap(), *point);
        }
        // one more than all: no level, no radius
        let all = RadiusTable::new((60, Stage::Two), (100, 100_000), 0.5, LAW).unwrap();
        assert_eq!(all.radius(60), 0.0);
    }

    #[test]
    fn one_stage_and_strong_promises_cost_radius() {
        let table = |stage, promise| {
            RadiusTable::new((100, stage), (1000, 0), 0.001, (LAW.0, promise)).unwrap()
        };
        let two = table(Stage::Two, Promise::ClassOrAbstain);
        let single = table(Stage::SINGLE, Promise::ClassOrAbstain);
        let strong = table(Stage::Two, Promise::Strong { out: 0.75 });
        for k in 0..=100 {
            assert!(single.radius(k) <= two.radius(k) && strong.radius(k) <= two.radius(k));
        }
        assert!(strong.radius(100) > 0.0 && single.radius(100) > 0.0);
        assert_eq!(single.radius(50), 0.0);
    }

    #[test]
    fn maps_look_up() {
        let table = RadiusTable::new((10, Stage::Two), (3, 0), 0.1, LAW).unwrap();
        let votes = Votes::from_counts(vec![0, 1, 2], &[10, 3, 9], 10).unwrap();
        let map = table.map(&votes).unwrap();
        let family: Vec<bool> = (0..votes.len()).map(|i| i.is_multiple_of(2)).collect();
        let some = table.map_of(&votes, Some(&family)).unwrap();
        let expected = |i: usize| if i.is_multiple_of(2) { map[i] } else { 0.0 };
        assert!((0..map.len()).all(|i| some[i] == expected(i)));
        assert!(map[0] > map[2] && map[1] == 0.0);
        assert!(f64::from(map[0]) <= table.radius(10));
        let others = Votes::from_counts(vec![0], &[3], 9).unwrap();
        assert!(matches!(
            table.map(&others),
            Err(crate::Error::Histogram { .. })
        ));
        assert!(table.at(&[0; 3], 0.1).is_err() && table.curve(&[0; 3]).is_err());
    }
}
