//! `certiseg cloud`: point clouds with part labels.

mod data;
mod shapes;
mod smooth;
mod tally;
mod train;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub use self::tally::Clouded;

/// What to do.
#[derive(Subcommand)]
pub enum Cloud {
    /// Generate clouds of shapes with part labels: the same bytes on every machine
    Shapes(shapes::Shapes),
    /// Train a small PointNet on labelled clouds under noise, free or Lipschitz
    Train(Box<train::Train>),
    /// Certificates of part labels by randomized smoothing: noise on the points, or rotations
    Smooth(Box<smooth::Smooth>),
}

impl Cloud {
    /// Does it.
    pub fn run(self) -> Result<ExitCode> {
        match self {
            Cloud::Shapes(shapes) => shapes.run(),
            Cloud::Train(train) => train.run(),
            Cloud::Smooth(smooth) => smooth.run(),
        }
    }
}
