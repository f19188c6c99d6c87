//! The rows of `attack`, added up.

use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{
    Budget, Head, Metric, Norm, Value, mean_lower, mean_upper, round_down, round_up,
};
use certiseg_net::compare::Comparison;
use serde::{Deserialize, Serialize};

use crate::fail::UNSOUND;
use crate::output::{quoted, table};
use crate::rows_file::Line;
use crate::tally::{Tally, budgets};

/// Marks an attack line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Attack,
}

/// One image, one metric, one budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    kind: Kind,
    image: String,
    metric: Metric,
    norm: Norm,
    eps: Budget,
    clean: Option<f64>,
    certified: Option<f64>,
    attacked: Option<f64>,
    distance: f64,
    attack: String,
    /// The attack beat the certificate, compared as fractions where they are some.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsound: bool,
}

impl Row {
    /// All rows of an image.
    pub fn of(image: &str, metrics: &[Metric], seen: &Comparison) -> Result<Vec<Self>> {
        let violations = seen.violations(metrics);
        let mut rows = Vec::new();
        for (at, strike) in seen.strikes.iter().enumerate() {
            for (index, &metric) in metrics.iter().enumerate() {
                let bounds = seen.bounds[index].as_ref();
                rows.push(Row {
                    kind: Kind::Attack,
                    image: image.into(),
                    metric,
                    norm: Norm::L2,
                    eps: Budget::new(strike.eps)?,
                    clean: bounds.map(|b| b.clean.nearest()),
                    certified: bounds.map(|b| metric.cautious(b.worst[at])),
                    attacked: strike.values[index].map(Value::nearest),
                    distance: strike.distance,
                    attack: "pgd".into(),
                    unsound: violations.contains(&(metric, strike.eps)),
                });
            }
        }
        Ok(rows)
    }
}

/// Clean, certified and attacked values over images.
pub struct Attacked {
    metrics: Vec<Metric>,
    eps: Vec<f64>,
    /// Per metric and budget: clean, certified, attacked of each image.
    values: Vec<Vec<[Vec<f64>; 3]>>,
    images: usize,
    last: Option<String>,
    /// Name of each image on which an attack beat a certificate.
    unsound: Vec<String>,
    violations: Vec<String>,
}

impl Attacked {
    /// No rows yet, under this head.
    pub fn new(head: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Asked {
            metrics: Vec<Metric>,
        }
        let eps = budgets(head)?;
        let head: Head<Asked> = serde_json::from_str(head).context("the head row")?;
        Ok(Self::of(&head.settings.metrics, &eps))
    }

    /// No rows yet, of these metrics and budgets.
    pub fn of(metrics: &[Metric], eps: &[f64]) -> Self {
        Self {
            metrics: metrics.to_vec(),
            eps: eps.to_vec(),
            values: vec![vec![Default::default(); eps.len()]; metrics.len()],
            images: 0,
            last: None,
            unsound: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, row: &Row) {
        let Row {
            image, metric, eps, ..
        } = row;
        if self.last.as_ref() != Some(image) {
            self.images += 1;
            self.last = Some(image.clone());
        }
        let metrics = self.metrics.iter().zip(&mut self.values);
        for (_, values) in metrics.filter(|(known, _)| *known == metric) {
            for (_, values) in self
                .eps
                .iter()
                .zip(values)
                .filter(|(e, _)| **e == eps.get())
            {
                if let (Some(clean), Some(certified), Some(attacked)) =
                    (row.clean, row.certified, row.attacked)
                {
                    for (list, value) in values.iter_mut().zip([clean, certified, attacked]) {
                        list.push(value);
                    }
                }
            }
        }
        if row.unsound {
            if self.unsound.last() != Some(image) {
                self.unsound.push(image.clone());
            }
            let eps = eps.get();
            self.violations
                .push(format!("image {image}: {metric} at eps {eps}"));
        }
    }

    /// A table of means over images.
    pub fn table(&self) -> String {
        let header = ["metric", "eps (l2)", "clean", "attacked", "certified"].map(str::to_owned);
        let mut lines = Vec::new();
        for (metric, values) in self.metrics.iter().zip(&self.values) {
            for (eps, [clean, certified, attacked]) in self.eps.iter().zip(values) {
                let certified = match metric.higher_is_better() {
                    true => mean_lower(certified).map(|mean| round_down(mean, 4)),
                    false => mean_upper(certified).map(|mean| round_up(mean, 4)),
                };
                let plain = |values: &[f64]| mean_lower(values).map(|mean| format!("{mean:.4}"));
                let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                lines.push(vec![
                    metric.to_string(),
                    eps.to_string(),
                    or_dash(plain(clean)),
                    or_dash(plain(attacked)),
                    or_dash(certified),
                ]);
            }
        }
        table(&header, &lines)
    }
}

impl Tally for Attacked {
    fn add(&mut self, line: &Line) -> Result<()> {
        self.row(&serde_json::from_str(&line.text)?);
        Ok(())
    }

    fn tables(&self) -> Result<Vec<String>> {
        Ok(vec![self.table()])
    }

    fn csv_header(&self) -> String {
        "image,metric,norm,eps,clean,certified,attacked,distance,attack,unsound".into()
    }

    fn csv(&self, line: &Line) -> Result<Option<String>> {
        let row: Row = serde_json::from_str(&line.text)?;
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let values = [
            quoted(&row.image),
            row.metric.to_string(),
            row.norm.to_string(),
            row.eps.get().to_string(),
            number(row.clean),
            number(row.certified),
            number(row.attacked),
            row.distance.to_string(),
            row.attack,
            row.unsound.to_string(),
        ];
        Ok(Some(values.join(",")))
    }

    /// Says whether the law held, loudly where it did not.
    fn verdict(&self) -> ExitCode {
        let sound = self.images - self.unsound.len();
        if self.violations.is_empty() {
            say!(
                "sound: certified <= attacked <= clean on {sound}/{} images",
                self.images
            );
            return ExitCode::SUCCESS;
        }
        say!("UNSOUND: an attack beat a certificate; this must never happen");
        self.violations.iter().for_each(|line| say!("  {line}"));
        say!("\nhint: please report this with the model and the image");
        ExitCode::from(UNSOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, extra: &str) -> Row {
        let text = format!(
            r#"{{"kind":"attack","image":"{image}","metric":"accuracy","norm":"2","eps":0.1,"clean":1.0,"certified":0.5,"attacked":0.25,"distance":0.1,"attack":"pgd"{extra}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_attack_that_beats_a_certificate_is_loud_in_rows_that_are_read_too() {
        let head = r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{"eps":[0.1],"metrics":["accuracy"]},"verb":"attack"}"#;
        let mut tally = Attacked::new(head).unwrap();
        tally.row(&row("a", ""));
        assert_eq!(tally.verdict(), ExitCode::SUCCESS);
        tally.row(&row("b", r#","unsound":true"#));
        assert_eq!(tally.verdict(), ExitCode::from(UNSOUND));
        assert_eq!((tally.images, tally.unsound.len()), (2, 1));
        assert_eq!(tally.violations, ["image b: accuracy at eps 0.1"]);
        assert!(tally.table().contains("0.2500"));
    }
}
