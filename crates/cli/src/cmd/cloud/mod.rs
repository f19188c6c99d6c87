//! `certiseg cloud`: point clouds with part labels.

mod data;
mod shapes;
mod smooth;
mod tally;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub use self::tally::Clouded;

/// What to do.
#[derive(Subcommand)]
pub enum Cloud {
    /// Generate clouds of shapes with part labels: the same bytes on every machine
    Shapes(shapes::Shapes),
    /// Certificates of part labels by randomized smoothing: noise on the points, or rotations
    Smooth(Box<smooth::Smooth>),
}

impl Cloud {
    /// Does it.
    pub fn run(self) -> Result<ExitCode> {
        match self {
            Cloud::Shapes(shapes) => shapes.run(),
            Cloud::Smooth(smooth) => smooth.run(),
        }
    }
}
