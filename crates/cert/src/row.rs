//! Rows between computing and drawing: one JSON object a line, first the head, then one row per
//! image, metric and question. Numbers are rounded to the safe side; JSON has no infinity, so "no
//! budget is enough" and "undefined" have names.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::error::Result;
use crate::{Budget, Claim, Conventions, Goal, Metric, Norm, Premises};

/// Version of the format of heads and rows.
pub const FORMAT: u32 = 1;

/// Marks a head line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HeadKind {
    #[default]
    Head,
}

/// Marks a row line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RowKind {
    #[default]
    Row,
}

/// The first line: what the rows rest on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head<S> {
    kind: HeadKind,
    /// Version of the format, [`FORMAT`].
    pub format: u32,
    /// Name of the program.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Commit it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// What the program did: `certify`, `attack`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// Which of N equal parts of the images the rows are about: `0/4`, or several `0,2/4`; absent
    /// where all are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// Seed of everything random; null where nothing is.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The resolved settings.
    pub settings: S,
    /// Upper bound of the Lipschitz constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lipschitz: Option<f64>,
    /// Whether it was audited or assumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lipschitz_source: Option<String>,
    /// Norm of the budgets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Whether the claim is about the exact function or the program that gave the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// How metrics are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conventions: Option<Conventions>,
    /// The tensor in which budgets are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Bound of the error of each logit, if it is one for all images; rows state theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    /// Whether it was assumed, measured or derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_source: Option<String>,
}

impl<S> Head<S> {
    /// A head of the current format.
    pub fn new(program: &str, version: &str, settings: S) -> Self {
        Head {
            kind: HeadKind::Head,
            format: FORMAT,
            program: program.into(),
            version: version.into(),
            git: None,
            verb: None,
            shard: None,
            seed: None,
            settings,
            lipschitz: None,
            lipschitz_source: None,
            norm: None,
            claim: None,
            conventions: None,
            unit: None,
            eta: None,
            eta_source: None,
        }
    }

    /// With the constant, and whether it was audited or assumed.
    pub fn lipschitz(self, lipschitz: f64, source: impl Into<String>) -> Self {
        Head {
            lipschitz: Some(lipschitz),
            lipschitz_source: Some(source.into()),
            ..self
        }
    }

    /// With the norm of budgets and the tensor in which they are measured.
    pub fn unit(self, norm: Norm, unit: impl Into<String>) -> Self {
        Head {
            norm: Some(norm),
            unit: Some(unit.into()),
            ..self
        }
    }

    /// With the error of logits of all images.
    pub fn eta(self, eta: f64) -> Self {
        Head {
            eta: Some(eta),
            ..self
        }
    }

    /// With the origin of the error of logits.
    pub fn eta_source(self, source: impl Into<String>) -> Self {
        Head {
            eta_source: Some(source.into()),
            ..self
        }
    }

    /// With whose predictions are certified, and how metrics are read.
    pub fn claim(self, claim: Claim, conventions: Conventions) -> Self {
        Head {
            claim: Some(claim),
            conventions: Some(conventions),
            ..self
        }
    }

    /// With what the program did, and to which part of the images.
    pub fn verb(self, verb: &str, shard: Option<String>) -> Self {
        Head {
            verb: Some(verb.into()),
            shard,
            ..self
        }
    }

    /// With the seed.
    pub fn seed(self, seed: u64) -> Self {
        Head {
            seed: Some(seed),
            ..self
        }
    }

    /// With the commit, where it is known.
    pub fn git(self, git: Option<&str>) -> Self {
        Head {
            git: git.map(str::to_owned),
            ..self
        }
    }
}

/// What was asked of an image.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Q1: the worst value within a budget.
    Worst(Budget),
    /// Q2: the budget below which a goal is out of reach.
    Budget(Goal),
}

impl Question {
    /// Of a row that asks one thing.
    pub(crate) fn of(eps: Option<Budget>, goal: Option<&Goal>) -> Option<Self> {
        match (eps, goal) {
            (Some(eps), None) => Some(Question::Worst(eps)),
            (None, Some(goal)) => Some(Question::Budget(goal.clone())),
            _ => None,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Worst(eps) => write!(f, "eps = {}", eps.get()),
            Question::Budget(goal) => goal.fmt(f),
        }
    }
}

/// One image, one metric, one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    kind: RowKind,
    /// Name of the image.
    pub image: String,
    /// The metric.
    pub metric: Metric,
    /// Norm of the budget.
    pub norm: Norm,
    /// Value of the clean prediction, to the nearest.
    pub clean: Option<f64>,
    /// Worst value (rounded down; of the rates of false decisions up) or budget (rounded down).
    pub value: Option<f64>,
    /// Q1: the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eps: Option<Budget>,
    /// Q2: the goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// The Lipschitz constant the value rests on.
    pub lipschitz: f64,
    /// The error of logits it allows for.
    pub eta: f64,
    /// Pixels that count, or objects; 0 where the metric is undefined.
    pub counted: u64,
    /// No budget is enough for the goal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreachable: bool,
    /// The metric is undefined on this image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undefined: bool,
}

impl Row {
    /// A row without a question yet.
    pub fn new(image: &str, metric: Metric, premises: &Premises) -> Self {
        Row {
            kind: RowKind::Row,
            image: image.into(),
            metric,
            norm: premises.budgets(),
            clean: None,
            value: None,
            eps: None,
            goal: None,
            lipschitz: premises.lipschitz,
            eta: premises.eta,
            counted: 0,
            unreachable: false,
            undefined: false,
        }
    }

    /// Q1 at `eps`; `None` is the certificate of a metric that is undefined on this image.
    pub fn worst(self, certificate: Option<&Certificate>, eps: Budget) -> Self {
        let value = certificate.map(|c| c.metric().cautious(c.worst(eps)));
        Row {
            value,
            eps: Some(eps),
            goal: None,
            unreachable: false,
            ..self.of(certificate)
        }
    }

    /// Q2 of `goal`; `None` as for [`Self::worst`]. Errors: those of [`Certificate::budget`].
    pub fn budget(self, certificate: Option<&Certificate>, goal: &Goal) -> Result<Self> {
        let value = certificate.map(|c| c.budget(goal)).transpose()?.flatten();
        let unreachable = certificate.is_some() && value.is_none();
        Ok(Row {
            value,
            eps: None,
            goal: Some(goal.clone()),
            unreachable,
            ..self.of(certificate)
        })
    }

    fn of(self, certificate: Option<&Certificate>) -> Self {
        Row {
            metric: certificate.map_or(self.metric, Certificate::metric),
            clean: certificate.map(|c| c.clean().nearest()),
            counted: certificate.map_or(0, Certificate::counted),
            undefined: certificate.is_none(),
            ..self
        }
    }

    /// What was asked; `None` of a row that asks nothing, or two things.
    pub fn question(&self) -> Option<Question> {
        Question::of(self.eps, self.goal.as_ref())
    }

    /// Names of the fields of [`Self::csv`].
    pub const CSV_HEADER: &'static str =
        "image,metric,norm,clean,value,eps,goal,lipschitz,eta,counted,unreachable,undefined";

    /// The row as comma-separated values (RFC 4180), absent ones empty.
    pub fn csv(&self) -> String {
        fn text<T: ToString>(value: &Option<T>) -> String {
            value.as_ref().map(T::to_string).unwrap_or_default()
        }
        let image = match self.image.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", self.image.replace('"', "\"\"")),
            false => self.image.clone(),
        };
        [
            image,
            self.metric.to_string(),
            self.norm.to_string(),
            text(&self.clean),
            text(&self.value),
            text(&self.eps.map(Budget::get)),
            text(&self.goal),
            self.lipschitz.to_string(),
            self.eta.to_string(),
            self.counted.to_string(),
            self.unreachable.to_string(),
            self.undefined.to_string(),
        ]
        .join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, Image, margins};

    fn premises() -> Premises {
        Premises::new(Norm::LINF, 0.5, 0.0).unwrap()
    }

    fn with_certificate(metric: &str, test: impl Fn(Row, Option<&Certificate>)) {
        // margins 1, 0.5 and (wrong) 1; labels 0, 0, 0
        let grid = Grid::new(2, 1, 3).unwrap();
        let image = Image::new(
            grid,
            &[1.0, 0.5, 0.0, 0.0, 0.0, 1.0],
            Some(&[0, 0, 0]),
            None,
        )
        .unwrap();
        let margins = margins(&image, &premises()).unwrap();
        let metric: Metric = metric.parse().unwrap();
        test(
            Row::new("a", metric, &premises()),
            metric.certify(&margins).unwrap().as_ref(),
        );
    }

    #[test]
    fn values_are_rounded_to_the_safe_side() {
        let third = crate::Share {
            numerator: 1,
            denominator: 3,
        };
        let eps = Budget::new(0.75).unwrap();
        with_certificate("accuracy", |row, certificate| {
            let row = row.worst(certificate, eps);
            assert_eq!((row.value, row.counted), (Some(third.lower()), 3));
            assert!(third.lower() < third.upper());
        });
        with_certificate("fnr:0", |row, certificate| {
            let row = row.worst(certificate, Budget::new(0.0).unwrap());
            assert_eq!(
                (row.clean, row.value),
                (Some(1.0 / 3.0), Some(third.upper()))
            );
        });
    }

    #[test]
    fn unreachable_and_undefined_have_names() {
        with_certificate("accuracy", |row, certificate| {
            let row = row
                .budget(certificate, &"accuracy<0".parse().unwrap())
                .unwrap();
            assert_eq!(
                (row.value, row.unreachable, row.undefined),
                (None, true, false)
            );
            assert!(row.clean.is_some());
        });
        with_certificate("iou:1", |row, certificate| {
            assert!(certificate.is_none());
            let row = row
                .budget(certificate, &"iou:1<=0.5".parse().unwrap())
                .unwrap();
            assert_eq!(
                (row.value, row.unreachable, row.undefined, row.counted),
                (None, false, true, 0)
            );
        });
    }

    #[test]
    fn csv_quotes_names_and_leaves_absent_values_empty() {
        let metric = Metric::Accuracy;
        let row = Row::new("a,\"b\"", metric, &premises()).worst(None, Budget::new(0.5).unwrap());
        assert_eq!(
            row.csv(),
            "\"a,\"\"b\"\"\",accuracy,inf,,,0.5,,0.5,0,0,false,true"
        );
        assert_eq!(
            row.csv().replace(",\"\"b\"\"", "").split(',').count(),
            Row::CSV_HEADER.split(',').count()
        );
    }

    #[test]
    fn a_question_is_one_question() {
        let row = Row::new("a", Metric::Stability, &premises());
        assert_eq!(row.question(), None);
        let eps = Budget::new(0.5).unwrap();
        let row = row.worst(None, eps);
        assert_eq!(row.question(), Some(Question::Worst(eps)));
        let goal: Goal = "stability<=0.5".parse().unwrap();
        let row = row.budget(None, &goal).unwrap();
        assert_eq!(row.question(), Some(Question::Budget(goal.clone())));
        assert_eq!(
            Row {
                eps: Some(eps),
                ..row
            }
            .question(),
            None
        );
    }
}
