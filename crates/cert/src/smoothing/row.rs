//! What a report must carry, one JSON object a line, and the sentence it prints.

use serde::{Deserialize, Serialize};

use super::abstention::{AbstentionCounts, AbstentionFigures, Abstentions};
use super::boundary::BoundarySplit;
use super::correction::Correction;
use super::guess::ABSTAIN;
use super::hierarchy::Levels;
use super::law::{Law, Promise};
use super::verdict::{Decision, Procedure, Stage};
use crate::error::{Error, Result};
use crate::share::f32_down;
use crate::{Norm, Share};

/// Marks a row line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SmoothKind {
    #[default]
    Smooth,
}

/// Which components are tested: N of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// All.
    All,
    /// Those whose label is not ignored: for metrics only.
    NotIgnored,
    /// Those that the samples that choose, and nothing else, picked.
    Screened,
}

/// Whether the statement holds in floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FloatingPoint {
    /// Noise on the grid of the picture, of its law but for [`Sampling::distance`]; the network is the program.
    Covered,
    /// Up to rounding.
    Modulo,
}

/// Whether any two inputs of the network were equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Canary {
    /// Looked for, and none were.
    NoDuplicates,
    /// Not looked for: votes from elsewhere.
    NotRun,
    /// Label maps of noisy pictures were equal: a steady network, or noise that was used twice.
    RepeatedMaps,
}

/// How votes came about; what the caller vouches for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// The noise.
    pub law: Law,
    /// What it is added to, a tensor or an angle, and so the unit of the radius.
    pub unit: String,
    /// n0; of a single stage those of the n that choose.
    pub choose: usize,
    /// n.
    pub samples: usize,
    /// Forwards of the network in all: scales, flips and votes included.
    pub forwards: u64,
    /// Seed of the noise; none for votes from elsewhere.
    pub seed: Option<u64>,
    /// Which components are tested.
    pub family: Family,
    /// Whether rounding is covered.
    pub floating_point: FloatingPoint,
    /// Total variation between what was drawn, all of it together, and the law; rounded up. 0 where that is not known.
    pub distance: f64,
    /// Whether the draws differ.
    pub canary: Canary,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmoothRow {
    kind: SmoothKind,
    /// Name of the image.
    pub image: String,
    /// How votes came about.
    pub sampling: Sampling,
    /// Norm of the radius.
    pub norm: Norm,
    /// Threshold.
    pub tau: f64,
    /// Level, of this image alone.
    pub alpha: f64,
    /// Correction.
    pub correction: Correction,
    /// How classes were chosen.
    pub stage: Stage,
    /// What is promised within the radius.
    pub promise: Promise,
    /// N.
    pub tests: u64,
    /// Certified components that may be wrong; null where each is by itself.
    pub allowed: Option<u64>,
    /// The least count that is certified; null where none is.
    pub threshold: Option<u64>,
    /// Certified components.
    pub certified_components: u64,
    /// How many of them are right with probability 1 - alpha.
    pub net: u64,
    /// Certified, of N; rounded down.
    pub certified: Option<f64>,
    /// Not certified, of N; rounded up.
    pub abstained: Option<f64>,
    /// Radius of all that are certified, rounded down.
    pub radius: f64,
    /// Beside labels, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Box<ImageFigures>>,
    /// By level of a hierarchy, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Levels>,
}

/// An image beside its labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFigures {
    /// What it adds to the data set.
    pub counts: AbstentionCounts,
    /// Near changes of label and elsewhere; null for pixels in no rows.
    pub boundary: Option<BoundarySplit>,
    /// Of the image alone.
    pub figures: AbstentionFigures,
}

impl ImageFigures {
    /// Of `classes` classes; where that is not known, of those that occur.
    ///
    /// # Errors
    ///
    /// As [`AbstentionCounts::of`] and [`BoundarySplit::of`].
    pub fn of(
        classes: Option<usize>,
        (distance, width): (u32, Option<usize>),
        predictions: &[u8],
        labels: &[u8],
    ) -> Result<Self> {
        let most = usize::from(ABSTAIN);
        let counts = AbstentionCounts::of(classes.unwrap_or(most), predictions, labels)?;
        let mut sums = Abstentions::new(classes.unwrap_or(counts.classes.len()).max(1))?;
        sums.add_counts(&counts)?;
        let split = |width| BoundarySplit::of(distance, width, predictions, labels);
        Ok(ImageFigures {
            boundary: width.map(split).transpose()?,
            figures: sums.figures(),
            counts,
        })
    }
}

impl SmoothRow {
    /// At one threshold.
    ///
    /// # Errors
    ///
    /// As [`Law::radius_to`]; [`Error::Parameter`] for a strong promise above the threshold: it holds nowhere.
    pub fn new(
        image: &str,
        sampling: Sampling,
        procedure: &Procedure,
        promise: Promise,
        decision: &Decision,
    ) -> Result<Self> {
        let out = promise.out()?;
        if out > procedure.tau {
            return Err(Error::Parameter {
                what: "threshold left at the border",
                got: out,
                expected: "at most the threshold tau of the test",
            });
        }
        let radius = sampling.law.radius_to(procedure.tau, promise)?;
        let row = Self::of(image, sampling, procedure, promise, radius);
        let row = SmoothRow {
            threshold: decision.threshold.map(|count| count as u64),
            net: decision.net,
            ..row
        };
        Ok(row.counted(decision.certified, decision.tests))
    }

    fn of(
        image: &str,
        sampling: Sampling,
        procedure: &Procedure,
        promise: Promise,
        radius: f64,
    ) -> Self {
        SmoothRow {
            kind: SmoothKind::Smooth,
            image: image.into(),
            norm: sampling.law.norm(),
            sampling,
            tau: procedure.tau,
            alpha: procedure.alpha,
            correction: procedure.correction,
            stage: procedure.stage,
            promise,
            tests: 0,
            allowed: procedure.correction.allowed(),
            threshold: None,
            certified_components: 0,
            net: 0,
            certified: None,
            abstained: None,
            radius,
            figures: None,
            levels: None,
        }
    }

    fn counted(self, certified: u64, tests: u64) -> Self {
        let share = |part: u64| (tests > 0).then(|| Share::new(part as usize, tests as usize));
        SmoothRow {
            tests,
            certified_components: certified,
            certified: share(certified).map(Share::lower),
            abstained: share(tests - certified).map(Share::upper),
            ..self
        }
    }

    /// With the components that all looks together have certified ([`super::Looks::certified`]), alpha being that of all.
    /// For corrections under which no certified component may be wrong.
    pub fn over_looks(self, alpha: f64, certified: &[u8]) -> Self {
        let count = certified.iter().filter(|class| **class != ABSTAIN).count() as u64;
        let tests = self.tests;
        let row = SmoothRow {
            alpha,
            net: count,
            ..self
        };
        row.counted(count, tests)
    }

    /// The radius of each component of a certified map, rounded down; 0 where it abstains.
    pub fn radius_map(&self, certified: &[u8]) -> Vec<f32> {
        let radius = f32_down(self.radius);
        let of = |class: &u8| if *class == ABSTAIN { 0.0 } else { radius };
        certified.iter().map(of).collect()
    }

    /// Certified and right beside labels, less those that may be wrong, of the pixels that count; rounded down.
    pub fn right_at_least(&self) -> Option<f64> {
        let [right, counted] = self.right_of()?;
        (counted > 0).then(|| Share::new(right as usize, counted as usize).lower())
    }

    /// The same as numbers of pixels.
    pub(super) fn right_of(&self) -> Option<[u64; 2]> {
        let counts = &self.figures.as_ref()?.counts;
        let right = counts.right.saturating_sub(self.allowed.unwrap_or(0));
        Some([right, counts.counted])
    }

    /// What is proved, in words.
    pub fn statement(&self) -> String {
        let which = match self.allowed {
            None => "for each certified component by itself".into(),
            Some(0) => "for every certified component".into(),
            Some(wrong) => format!("for all certified components but {wrong} at most"),
        };
        let then = match self.promise {
            Promise::ClassOrAbstain => "The abstaining model may abstain there.".into(),
            Promise::Strong { out } => {
                format!(
                    "The model that abstains up to a probability of {out} does not abstain there."
                )
            }
        };
        let rounding = match self.sampling.floating_point {
            FloatingPoint::Covered => "",
            FloatingPoint::Modulo => " It holds up to rounding in floating point.",
        };
        let twice = match self.sampling.canary {
            Canary::RepeatedMaps => {
                " Label maps of noisy pictures were equal: if noise was used twice, nothing here holds."
            }
            Canary::NoDuplicates | Canary::NotRun => "",
        };
        let off = match self.sampling.distance {
            0.0 => String::new(),
            distance => format!(" - {}", one_digit_up(distance)),
        };
        format!(
            "With probability at least 1 - {}{off} over the sampling, {which} and every change of l{} norm at most {} of what noise is added to ({}) at once, the smoothed model ({}) gives the class stated here. {then} The statement is about the smoothed model, not about the network.{rounding}{twice}",
            self.alpha, self.norm, self.radius, self.sampling.unit, self.sampling.law
        )
    }
}

/// A number above 0 as one digit and a power of ten, not below it.
fn one_digit_up(value: f64) -> String {
    let text = format!("{value:.0e}");
    match text.parse::<f64>() {
        Ok(near) if near < value => match text.split_once('e') {
            Some(("9", exponent)) => format!("1e{}", exponent.parse::<i32>().unwrap_or(0) + 1),
            Some((digit, exponent)) => {
                format!("{}e{exponent}", digit.parse::<u8>().unwrap_or(9) + 1)
            }
            None => text,
        },
        _ => text,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn sampling() -> Sampling {
        Sampling {
            law: Law::Gaussian { sigma: 0.25 },
            unit: "[0,1], 3x2x2".into(),
            choose: 10,
            samples: 100,
            forwards: 110,
            seed: Some(7),
            family: Family::All,
            floating_point: FloatingPoint::Covered,
            distance: 2.1e-10,
            canary: Canary::NoDuplicates,
        }
    }

    fn procedure(correction: Correction) -> Procedure {
        Procedure {
            tau: 0.75,
            alpha: 0.001,
            correction,
            stage: Stage::Two,
        }
    }

    /// Four components, three of them with all votes.
    fn histogram() -> Vec<u64> {
        let mut histogram = vec![0; 101];
        (histogram[100], histogram[50]) = (3, 1);
        histogram
    }

    pub fn row(correction: Correction, promise: Promise) -> SmoothRow {
        let procedure = procedure(correction);
        let decision = procedure.decide(100, &histogram()).unwrap();
        SmoothRow::new("a", sampling(), &procedure, promise, &decision).unwrap()
    }

    #[test]
    fn looks_together_certify_what_any_of_them_has() {
        let row = row(Correction::Holm, Promise::ClassOrAbstain);
        let row = row.over_looks(0.01, &[0, 1, ABSTAIN, ABSTAIN]);
        assert_eq!((row.certified_components, row.net, row.tests), (2, 2, 4));
        assert_eq!((row.certified, row.abstained), (Some(0.5), Some(0.5)));
        assert_eq!(row.alpha, 0.01);
    }

    #[test]
    fn a_row_is_written_and_read() {
        let row = row(Correction::Holm, Promise::ClassOrAbstain);
        assert_eq!((row.certified, row.abstained), (Some(0.75), Some(0.25)));
        assert_eq!((row.threshold, row.net, row.tests), (Some(100), 3, 4));
        let text = serde_json::to_string(&row).unwrap();
        assert!(text.starts_with(
            r#"{"kind":"smooth","image":"a","sampling":{"law":{"gaussian":{"sigma":0.25}}"#
        ));
        assert_eq!(serde_json::from_str::<SmoothRow>(&text).unwrap(), row);
        assert!(serde_json::from_str::<SmoothRow>(&text.replace("smooth", "row")).is_err());
        assert!(serde_json::from_str::<SmoothRow>(&text.replace("\"tests\"", "\"test\"")).is_err());
    }

    #[test]
    fn the_statement_says_what_is_proved() {
        let words = row(Correction::Holm, Promise::ClassOrAbstain).statement();
        assert_eq!(
            words,
            "With probability at least 1 - 0.001 - 3e-10 over the sampling, for every certified component and every change of l2 norm at most 0.16862243754902037 of what noise is added to ([0,1], 3x2x2) at once, the smoothed model (gaussian noise, sigma 0.25) gives the class stated here. The abstaining model may abstain there. The statement is about the smoothed model, not about the network."
        );
        let words = row(Correction::Count(5), Promise::Strong { out: 0.6 }).statement();
        assert!(words.contains("for all certified components but 5 at most"));
        assert!(words.contains("does not abstain there"));
        let words = row(Correction::None, Promise::ClassOrAbstain).statement();
        assert!(words.contains("for each certified component by itself"));
        let mut modulo = row(Correction::Holm, Promise::ClassOrAbstain);
        modulo.sampling.floating_point = FloatingPoint::Modulo;
        modulo.sampling.distance = 0.0;
        let words = modulo.statement();
        assert!(words.starts_with("With probability at least 1 - 0.001 over"));
        assert!(words.ends_with("up to rounding in floating point."));
        modulo.sampling.canary = Canary::RepeatedMaps;
        assert!(
            modulo
                .statement()
                .ends_with("used twice, nothing here holds.")
        );
    }

    /// p > 0.75 says nothing of a model that abstains up to 0.9, at no distance.
    #[test]
    fn a_strong_promise_above_the_threshold_is_none() {
        let procedure = procedure(Correction::Holm);
        let decision = procedure.decide(100, &histogram()).unwrap();
        let of = |out| {
            let promise = Promise::Strong { out };
            SmoothRow::new("a", sampling(), &procedure, promise, &decision)
        };
        assert_eq!(of(0.75).unwrap().radius, 0.0);
        for out in [0.75f64.next_up(), 0.9] {
            assert!(matches!(of(out), Err(Error::Parameter { .. })));
        }
    }

    #[test]
    fn digits_are_rounded_up() {
        for (value, want) in [
            (2e-8, "2e-8"),
            (2.1e-8, "3e-8"),
            (9.01e-8, "1e-7"),
            (9.9e-8, "1e-7"),
        ] {
            assert_eq!(one_digit_up(value), want);
        }
    }

    #[test]
    fn a_map_has_the_radius_where_it_is_certified() {
        let row = row(Correction::Holm, Promise::ClassOrAbstain);
        let map = row.radius_map(&[3, ABSTAIN]);
        assert_eq!(map[1], 0.0);
        assert!(f64::from(map[0]) <= row.radius && f64::from(map[0].next_up()) > row.radius);
    }

    #[test]
    fn no_component_is_no_share() {
        let procedure = procedure(Correction::Holm);
        let decision = procedure.decide(100, &[0; 101]).unwrap();
        let promise = Promise::ClassOrAbstain;
        let row = SmoothRow::new("a", sampling(), &procedure, promise, &decision).unwrap();
        assert_eq!((row.certified, row.abstained, row.tests), (None, None, 0));
    }
}
