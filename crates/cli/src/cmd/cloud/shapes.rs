//! `certiseg cloud shapes`: clouds that anyone can make.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use certiseg_net::checkpoint::write_whole;
use certiseg_net::cloud::{shapes, write_cloud};
use clap::Args;
use serde_json::{Map, Value};

use crate::fail::Usage;
use crate::output::make_dir;

/// Flags of `cloud shapes`.
#[derive(Args)]
pub struct Shapes {
    /// Folder to make: an npz for each cloud (points, normals, labels, category), catalogue.json, and shapes.jsonl
    /// with the dimensions that were drawn
    dir: PathBuf,
    /// Number of clouds; mugs, tables, lamps, airplanes and rockets in turn
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Points of a cloud
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    points: u32,
    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Turned about z by any angle
    #[arg(long)]
    turned: bool,
}

impl Shapes {
    /// Makes them.
    pub fn run(self) -> Result<ExitCode> {
        if self.dir.exists() {
            let message = format!("{} is there already", self.dir.display());
            return Err(Usage::error(
                message,
                "name a folder that does not exist yet",
            ));
        }
        make_dir(&self.dir)?;
        shapes::catalogue().write(&self.dir)?;
        let mut lines = String::new();
        for index in 0..self.count {
            let shape = shapes::shape(self.seed, index, self.points as usize, self.turned)?;
            write_cloud(&self.dir, &shape.cloud)?;
            let mut line = Map::new();
            line.insert("id".into(), shape.cloud.id.into());
            for (name, size) in shape.dimensions {
                line.insert(name.into(), size.into());
            }
            lines += &format!("{}\n", Value::Object(line));
        }
        write_whole(&self.dir.join("shapes.jsonl"), lines.as_bytes())?;
        say!("{} clouds in {}", self.count, self.dir.display());
        Ok(ExitCode::SUCCESS)
    }
}
