//! Flags that say how metrics are read.

use certiseg_cert::{Connectivity, Conventions, EmptyPrecision, Forced, MiouClasses, Objects};
use clap::Args;
use serde::de::DeserializeOwned;

/// One flag for each field of [`Conventions`].
#[derive(Args, Clone, Copy, Debug)]
pub struct ConventionArgs {
    /// Cost of making a pixel predict a class: pairwise, or exact (l1, l2, linf; slower)
    #[arg(long, default_value = "pairwise", value_parser = word::<Forced>)]
    forced: Forced,
    /// Precision of a class that is predicted nowhere: one, zero or skip
    #[arg(long, default_value = "one", value_parser = word::<EmptyPrecision>)]
    empty_precision: EmptyPrecision,
    /// Classes of miou: present (in the label), or union (of label and prediction)
    #[arg(long, default_value = "present", value_parser = word::<MiouClasses>)]
    miou: MiouClasses,
    /// Neighbours that touch in an object: 4 or 8
    #[arg(long, default_value = "4", value_parser = connectivity)]
    connectivity: Connectivity,
    /// Fewest pixels of an object
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    min_object: u32,
    /// An object is lost where at most this percentage of its pixels is left
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..100))]
    coverage: u8,
}

impl From<ConventionArgs> for Conventions {
    fn from(args: ConventionArgs) -> Self {
        Conventions {
            forced: args.forced,
            empty_precision: args.empty_precision,
            miou: args.miou,
            objects: Objects {
                connectivity: args.connectivity,
                pixels: args.min_object,
                coverage: args.coverage,
            },
        }
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
