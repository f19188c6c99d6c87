//! Rows of mean logits, beside those of votes.

use certiseg_cert::round_down;
use certiseg_cert::smoothing::image_mean;
use certiseg_net::smooth::Means;
use serde::{Deserialize, Serialize};

use crate::hybrid::Grounds;
use crate::output::table;

/// Marks a row.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    SmoothHybrid,
}

/// One image and budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HybridRow {
    kind: Kind,
    image: String,
    /// accuracy, or stability where there are no labels.
    metric: String,
    statement: String,
    eps: f64,
    /// Certified share of the pixels, rounded down; null where none counts.
    value: Option<f64>,
    sigma: f64,
    samples: usize,
    alpha: f64,
    lipschitz: f64,
    eta: f64,
    eta_source: String,
}

impl HybridRow {
    /// Of a name, a metric, a budget and what is certified.
    pub fn new(
        (image, metric): (&str, &str),
        (eps, value): (f64, Option<f64>),
        means: &Means,
        grounds: &Grounds,
    ) -> Self {
        HybridRow {
            kind: Kind::SmoothHybrid,
            image: image.into(),
            metric: metric.into(),
            statement: "with probability 1 - alpha, for every eps at once, of the argmax of the mean logits over Gaussian noise, all pixels sharing eps".into(),
            eps,
            value,
            sigma: grounds.sigma,
            samples: means.samples(),
            alpha: grounds.alpha,
            lipschitz: grounds.lipschitz,
            eta: grounds.eta,
            eta_source: "measured on the picture without noise, assumed of noisy ones".into(),
        }
    }
}

/// Means over images, and what they are about.
pub fn tables(rows: &[HybridRow]) -> Vec<String> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let mut eps: Vec<f64> = rows.iter().map(|row| row.eps).collect();
    eps.sort_unstable_by(f64::total_cmp);
    eps.dedup();
    let line = |eps: &f64| {
        let of = rows.iter().filter(|row| row.eps == *eps);
        let mean = image_mean(of.map(|row| row.value));
        let mean = mean.map_or("-".into(), |(mean, _)| round_down(mean, 4));
        vec![eps.to_string(), mean]
    };
    let header = ["eps".to_owned(), format!("{} of mean logits", first.metric)];
    let lines: Vec<_> = eps.iter().map(line).collect();
    let words = format!(
        "hybrid: {}; another model than that of the votes, at an alpha of its own, up to rounding",
        first.statement
    );
    vec![table(&header, &lines), words]
}
