//! Figures of a network on labelled samples, by the judge's own metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use certiseg_cert::{self as cert, Budget, Conventions, Metric, Pool, Value};
use serde::{Deserialize, Serialize};

use crate::confusion::{Confusion, Scope};
use crate::data::{Pictures, VOID};
use crate::error::{Error, Result};
use crate::network::Network;

/// A figure of a data set: `iou:1` of the clean predictions, all images pooled; `fnr:1@0.1`
/// certified, the mean over images of the worst value within 0.1 (l2 in [0, 1] units).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The metric.
    pub metric: Metric,
    /// The budget of a certified figure, at least 0.
    pub eps: Option<f64>,
}

impl Measure {
    /// `accuracy@0.1`: pixel accuracy certified at a budget of 0.1 (CRPA).
    pub const CRPA: Self = Self {
        metric: Metric::Accuracy,
        eps: Some(0.1),
    };

    /// Whether a network of so many classes has it; `field` is the setting that names it.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(self, field: &str, classes: usize) -> Result<()> {
        let refuse = |expected| Err(Error::setting(field, self.to_string(), expected));
        match self.metric.check(classes) {
            Err(error) => refuse(format!("a class of the network ({error})")),
            Ok(()) if self.eps.is_none() && !self.metric.needs_labels() => {
                refuse(format!("a budget, as in {}@0.1: without one it is 1", self))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether `value` is better than `than`.
    pub fn is_better(self, value: f64, than: f64) -> bool {
        match self.metric.higher_is_better() {
            true => value > than,
            false => value < than,
        }
    }
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let expected = "a metric, as in iou:1, or a certified one, as in fnr:1@0.1";
        let refuse = || Error::setting("measure", format!("{text:?}"), expected);
        let (metric, eps) = match text.split_once('@') {
            None => (text, None),
            Some((metric, eps)) => {
                let eps = eps.parse().ok().filter(|&eps| Budget::new(eps).is_ok());
                (metric, Some(eps.ok_or_else(refuse)?))
            }
        };
        let metric = metric.parse().map_err(|_| refuse())?;
        Ok(Self { metric, eps })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.eps {
            None => write!(f, "{}", self.metric),
            Some(eps) => write!(f, "{}@{eps}", self.metric),
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Figures over a set of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Share of correct pixels, all pixels together; `None` where no pixel counts.
    pub accuracy: Option<f64>,
    /// IoU per class, all pixels together; `None` where label and prediction lack the class.
    pub iou: Vec<Option<f64>>,
    /// Mean of the present ones.
    pub miou: Option<f64>,
    /// What was asked for, by name: clean figures to the nearest, certified ones rounded against
    /// us; `None` where no image has them.
    pub measures: BTreeMap<String, Option<f64>>,
    /// Of every certified one the clean value it falls from, by metric: the mean over images,
    /// rounded down in its last bit. It is not the pooled value.
    #[serde(default)]
    pub clean_means: BTreeMap<String, Option<f64>>,
    /// The audited Lipschitz constant they rest on.
    pub lipschitz: f64,
}

impl Evaluation {
    /// The clean mean over images that a certified figure falls from.
    pub fn clean_of(&self, measure: Measure) -> Option<f64> {
        let name = measure.metric.to_string();
        self.clean_means.get(&name).copied().flatten()
    }

    /// One of the figures asked for.
    pub fn of(&self, measure: Measure) -> Option<f64> {
        self.measures.get(&measure.to_string()).copied().flatten()
    }
}

/// What is gathered for a measure.
enum Gathered {
    Clean(Pool),
    /// Budget, worst values and clean ones.
    Certified(Budget, Vec<f64>, Vec<f64>),
}

/// Evaluates on pictures with masks.
///
/// # Errors
/// Those of the forward pass, the audit and the judge.
pub fn evaluate(
    network: &Network,
    pictures: &Pictures,
    measures: &[Measure],
) -> Result<Evaluation> {
    if pictures.is_empty() {
        return Err(Error::setting(
            "validation set",
            "0 pictures",
            "at least one",
        ));
    }
    let [height, width] = pictures.size();
    let certifier = network.certifier(height, width)?;
    let classes = network.classes();
    let pool = |metric| Pool::new(metric, classes, &[], false);
    let mut confusion = Confusion::new(classes);
    let mut gathered = Vec::with_capacity(measures.len());
    for &measure in measures {
        measure.check("measures", classes)?;
        gathered.push(match measure.eps {
            None => Gathered::Clean(pool(measure.metric)?),
            Some(eps) => Gathered::Certified(Budget::new(eps)?, Vec::new(), Vec::new()),
        });
    }
    for index in 0..pictures.len() {
        let sample = pictures.get(index)?;
        let logits = certifier.logits(&sample.image_f32())?;
        let mask = sample.mask.as_deref();
        let image = cert::Image::new(logits.grid, &logits.values, mask, Some(VOID))?;
        let margins = certifier.margins(&image, &certifier.premises(logits.eta)?)?;
        let labels = mask.unwrap_or_default();
        confusion.merge(&Confusion::of(classes, labels, margins.predictions())?)?;
        for (measure, gathered) in measures.iter().zip(&mut gathered) {
            match gathered {
                Gathered::Clean(pool) => pool.add(&margins)?,
                Gathered::Certified(eps, values, means) => {
                    if let Some(certificate) = measure.metric.certify(&margins)? {
                        values.push(measure.metric.cautious(certificate.worst(*eps)));
                        means.push(certificate.clean().nearest());
                    }
                }
            }
        }
    }
    let clean = |pool: &Pool| pool.clean().map(Value::nearest);
    let figures = confusion.figures(Scope::DataSet, &Conventions::default());
    let named = measures.iter().zip(&gathered).map(|(measure, gathered)| {
        let value = match gathered {
            Gathered::Clean(pool) => clean(pool),
            Gathered::Certified(_, values, _) if measure.metric.higher_is_better() => {
                cert::mean_lower(values)
            }
            Gathered::Certified(_, values, _) => cert::mean_upper(values),
        };
        (measure.to_string(), value)
    });
    let clean_means = measures
        .iter()
        .zip(&gathered)
        .filter_map(|(measure, gathered)| {
            let Gathered::Certified(_, _, values) = gathered else {
                return None;
            };
            Some((measure.metric.to_string(), cert::mean_lower(values)))
        });
    Ok(Evaluation {
        clean_means: clean_means.collect(),
        accuracy: figures.accuracy,
        miou: figures.miou,
        iou: figures.iou,
        measures: named.collect(),
        lipschitz: certifier.lipschitz(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_have_one_name_each() {
        for name in [
            "accuracy@0.1",
            "iou:1",
            "miou@0.05",
            "fnr:1@0",
            "stability@0.25",
        ] {
            let measure: Measure = name.parse().unwrap();
            assert_eq!(measure.to_string(), name);
            let json = serde_json::to_string(&measure).unwrap();
            assert_eq!(serde_json::from_str::<Measure>(&json).unwrap(), measure);
        }
        assert_eq!("accuracy@0.1".parse::<Measure>().unwrap(), Measure::CRPA);
        for wrong in [
            "",
            "@0.1",
            "accuracy@",
            "accuracy@-1",
            "accuracy@nan",
            "roc",
        ] {
            let error = wrong.parse::<Measure>().unwrap_err().to_string();
            assert!(error.contains("fnr:1@0.1"), "{error}");
        }
    }

    #[test]
    fn measures_without_a_meaning_are_refused() {
        let check = |name: &str| name.parse::<Measure>().unwrap().check("best", 2);
        assert!(check("iou:1").is_ok() && check("stability@0.1").is_ok());
        let error = check("iou:2").unwrap_err().to_string();
        assert!(
            error.contains("iou:2") && error.contains("class"),
            "{error}"
        );
        let error = check("stability").unwrap_err().to_string();
        assert!(error.contains("stability@0.1"), "{error}");
    }

    #[test]
    fn of_error_rates_less_is_better() {
        let better = |name: &str| name.parse::<Measure>().unwrap().is_better(0.2, 0.1);
        assert!(better("iou:1") && !better("fnr:1@0.1"));
        assert!(!Measure::CRPA.is_better(0.1, 0.1));
    }
}
