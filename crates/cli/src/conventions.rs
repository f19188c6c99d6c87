//! Flags that say how metrics are read.

use anyhow::Result;
use certiseg_cert::{
    Connectivity, Conventions, EmptyPrecision, Forced, Metric, MiouClasses, Objects,
};
use clap::Args;
use serde::de::DeserializeOwned;

use crate::fail::Usage;

/// One flag for each field of [`Conventions`].
#[derive(Args, Clone, Copy, Debug)]
pub struct ConventionArgs {
    /// Cost of making a pixel predict a class: pairwise (default), or exact (l1, l2, linf without a
    /// head; slower)
    #[arg(long, value_parser = word::<Forced>)]
    forced: Option<Forced>,
    /// Precision of a class that is predicted nowhere: one (default), zero or skip
    #[arg(long, value_parser = word::<EmptyPrecision>)]
    empty_precision: Option<EmptyPrecision>,
    /// Classes of miou: present (in the label, default), or union (of label and prediction)
    #[arg(long, value_parser = word::<MiouClasses>)]
    miou: Option<MiouClasses>,
    /// Neighbours that touch in an object: 4 (default) or 8
    #[arg(long, value_parser = connectivity)]
    connectivity: Option<Connectivity>,
    /// Fewest pixels of an object, 1 by default
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    min_object: Option<u32>,
    /// An object is lost where at most this percentage of its pixels is left, 0 by default
    #[arg(long, value_parser = clap::value_parser!(u8).range(..100))]
    coverage: Option<u8>,
}

impl ConventionArgs {
    /// The conventions; an error where a flag concerns none of the metrics.
    pub fn check(self, metrics: &[Metric]) -> Result<Conventions> {
        let objects = |m: &Metric| matches!(m, Metric::Objects(_) | Metric::StableObjects(_));
        let gains = |m: &Metric| {
            matches!(
                m,
                Metric::Fpr(_)
                    | Metric::Specificity(_)
                    | Metric::Precision(_)
                    | Metric::Dice(_)
                    | Metric::Iou(_)
                    | Metric::Miou
            )
        };
        let flags: [(&str, bool, bool, &str); 6] = [
            (
                "--forced",
                self.forced.is_some(),
                metrics.iter().any(gains),
                "iou:1",
            ),
            (
                "--empty-precision",
                self.empty_precision.is_some(),
                metrics.iter().any(|m| matches!(m, Metric::Precision(_))),
                "precision:1",
            ),
            (
                "--miou",
                self.miou.is_some(),
                metrics.contains(&Metric::Miou),
                "miou",
            ),
            (
                "--connectivity",
                self.connectivity.is_some(),
                metrics.iter().any(objects),
                "objects:1",
            ),
            (
                "--min-object",
                self.min_object.is_some(),
                metrics.iter().any(objects),
                "objects:1",
            ),
            (
                "--coverage",
                self.coverage.is_some(),
                metrics.iter().any(objects),
                "objects:1",
            ),
        ];
        for (flag, given, used, example) in flags {
            if given && !used {
                let message = format!("{flag} concerns none of the metrics asked for");
                let hint = format!("leave it out, or ask for one it concerns, such as {example}");
                return Err(Usage::error(message, hint));
            }
        }
        let usual = Objects::default();
        Ok(Conventions {
            forced: self.forced.unwrap_or_default(),
            empty_precision: self.empty_precision.unwrap_or_default(),
            miou: self.miou.unwrap_or_default(),
            objects: Objects {
                connectivity: self.connectivity.unwrap_or(usual.connectivity),
                pixels: self.min_object.unwrap_or(usual.pixels),
                coverage: self.coverage.unwrap_or(usual.coverage),
            },
        })
    }
}

/// A word of an enumeration, as its rows have it; the message lists the words.
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn connectivity(text: &str) -> Result<Connectivity, &'static str> {
    match text {
        "4" => Ok(Connectivity::Four),
        "8" => Ok(Connectivity::Eight),
        _ => Err("expected 4 or 8"),
    }
}
