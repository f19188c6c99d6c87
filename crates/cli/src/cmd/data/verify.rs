//! `certiseg data verify`: would a training read every picture?

use std::process::ExitCode;

use anyhow::Result;
use certiseg_net::data::Level;
use clap::Args;

use super::findings::{self, counted};
use super::place::Place;
use crate::fail::{REQUIREMENT, STOPPED};
use crate::output::print_line;

/// Flags of `data verify`.
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    place: Place,
    /// Warnings fail too
    #[arg(long)]
    strict: bool,
    /// Examples shown of each kind of finding
    #[arg(long, default_value_t = 3)]
    examples: usize,
}

impl Verify {
    /// Checks it.
    pub fn run(self) -> Result<ExitCode> {
        let found = self.place.open()?;
        let Some(survey) = found.survey()? else {
            return Ok(ExitCode::from(STOPPED));
        };
        for line in findings::lines(&survey.findings, Level::Warning, self.examples) {
            print_line(&line)?;
        }
        let [errors, warnings] = [Level::Error, Level::Warning].map(|level| survey.count(level));
        let masked = survey.masks > 0;
        if !masked && errors == 0 {
            print_line("error: there are no masks, and a training needs them")?;
        }
        let good = masked && errors == 0 && !(self.strict && warnings > 0);
        let verdict = match good {
            true => "a training would read every picture",
            false => "not fit for a training",
        };
        let pictures = counted(survey.pictures, "picture");
        let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
        let strict = if self.strict { ", --strict" } else { "" };
        print_line(&format!(
            "{verdict}: layout {}, {pictures}, {errors}, {warnings}{strict}",
            survey.layout
        ))?;
        Ok(match good {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(REQUIREMENT),
        })
    }
}
