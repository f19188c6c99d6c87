//! What the rows of a verb come to: the one thing that sharding, resuming and merging ask of it.
//!
//! Everything that is said of all images together is computed from the rows as they were written,
//! so that a run and a merge of its parts say the same.

use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{FORMAT, Head};
use serde::de::IgnoredAny;

use crate::cmd::{attack, certify, cloud, eval, smooth};
use crate::fail::Usage;
use crate::fields::{elements, fields};
use crate::rows_file::Line;

/// The rows of a run, added up.
pub trait Tally {
    /// Adds a row.
    fn add(&mut self, line: &Line) -> Result<()>;

    /// Rows about all images, to be written behind those of the last.
    fn closing(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Tables for people, and words below them.
    fn tables(&self) -> Result<Vec<String>>;

    /// Names of the comma-separated values.
    fn csv_header(&self) -> String;

    /// A row as comma-separated values; `None` of rows that have no place there.
    fn csv(&self, line: &Line) -> Result<Option<String>>;

    /// What the program ends with.
    fn verdict(&self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

/// The tally of the verb that wrote this head; a new verb is one line.
pub fn tally(head: &str) -> Result<Box<dyn Tally>> {
    let read: Head<IgnoredAny> = serde_json::from_str(head)?;
    if read.format != FORMAT {
        return Err(Usage::error(
            format!("rows of format {}, expected format {FORMAT}", read.format),
            "use the version of the program that wrote them",
        ));
    }
    Ok(match read.verb.as_deref() {
        Some("certify") => Box::new(certify::Certified::new(head)?),
        Some("attack") => Box::new(attack::Attacked::new(head)?),
        Some("eval") => Box::new(eval::Evaluated::new(head)?),
        Some("smooth") => Box::new(smooth::Smoothed::new(head)?),
        Some("cloud") => Box::new(cloud::Clouded::new(head)?),
        other => {
            let verb = other.unwrap_or("a verb that its head does not name");
            return Err(Usage::error(
                format!("these are rows of {verb}"),
                "give rows of certify, attack, eval, smooth or cloud",
            ));
        }
    })
}

/// The budgets in the settings of a head row, exactly.
pub fn budgets(head: &str) -> Result<Vec<f64>> {
    let find = |object, name: &str| {
        let fields = fields(object)?;
        let found = fields.into_iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value)
            .with_context(|| format!("the head row has no {name}"))
    };
    // the word for infinity stands between quotes
    let number = |text: &str| text.trim_matches('"').parse();
    let eps = elements(find(find(head, "settings")?, "eps")?);
    let eps: Result<_, _> = eps.into_iter().map(number).collect();
    eps.context("budgets of the head row")
}
