//! `certiseg data`: data sets.

mod findings;
mod info;
mod place;
mod preview;
mod shapes;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub enum Data {
    /// Say what a data set is: layout, splits, sizes, classes, and whatever looks wrong
    Info(info::Info),
    /// Check that a training would read every picture; exit code 1 if not
    Verify(verify::Verify),
    /// Draw some pictures with their masks on one sheet
    Preview(preview::Preview),
    /// Generate pictures of shapes with masks: the same bytes on every machine
    Shapes(shapes::Shapes),
}

impl Data {
    /// Does it.
    pub fn run(self) -> Result<ExitCode> {
        match self {
            Data::Info(info) => info.run(),
            Data::Verify(verify) => verify.run(),
            Data::Preview(preview) => preview.run(),
            Data::Shapes(shapes) => shapes.run(),
        }
    }
}
