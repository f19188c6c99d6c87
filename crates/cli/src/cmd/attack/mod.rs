//! `certiseg attack`: attacks a model and checks that no attack beats its certificate.

mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{Budget, Metric, Norm};
use certiseg_net::attack::pgd::Pgd;
use certiseg_net::compare::Arena;
use certiseg_net::network::Certifier;
use clap::Args;
use serde::Serialize;

pub use self::tally::{Attacked, Row};
use super::certify::{parse_eps, without_repeats};
use crate::interrupt;
use crate::output::head;
use crate::progress::Progress;
use crate::run::{Run, RunArgs};
use crate::source::{DataArgs, Pictures, pixels};

/// Flags of the verb.
#[derive(Args)]
pub struct Attack {
    /// Model or training checkpoint (safetensors)
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Budgets: l2 in [0, 1] pixel space, comma-separated, rising
    #[arg(long, default_value = "0.05,0.1,0.2", allow_hyphen_values = true)]
    eps: String,
    /// accuracy, stability, fnr:CLASS or iou:CLASS; repeatable
    #[arg(long = "metric", default_value = "accuracy")]
    metrics: Vec<Metric>,
    /// Gradient steps per budget
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Start at a random point of the ball
    #[arg(long)]
    random_start: bool,
    /// Seed of the random start
    #[arg(long, requires = "random_start", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    run: RunArgs,
}

/// The settings of a run as its head row tells them.
#[derive(Serialize)]
struct Settings<'a> {
    model: &'a Path,
    model_hash: &'a str,
    data: Option<&'a Path>,
    layout: String,
    split: Option<&'a str>,
    size: [usize; 2],
    filter: String,
    data_hash: &'a str,
    eps: &'a [Budget],
    metrics: &'a [Metric],
    ignore: Option<i64>,
    limit: Option<u32>,
    images: usize,
    attack: &'a Pgd,
}

impl Attack {
    /// Attacks every image.
    pub fn run(mut self) -> Result<ExitCode> {
        let mut eps = parse_eps(&self.eps)?;
        without_repeats(&mut eps);
        without_repeats(&mut self.metrics);
        let budgets = eps.iter().map(|&eps| Ok(Budget::new(eps)?));
        let budgets = budgets.collect::<Result<Vec<_>>>()?;
        let mut pictures = Pictures::open(&self.model, &self.data, self.run.shard.as_ref())?;
        for metric in &self.metrics {
            metric.check(pictures.model.network.classes())?;
        }
        let arena = Arena::new(&pictures.model.network, pictures.size)?;
        let attack = Pgd {
            steps: self.steps as usize,
            random_start: self.random_start,
            ..Pgd::default()
        };
        let [height, width] = pictures.size;
        let settings = Settings {
            model: &self.model,
            model_hash: &pictures.hash,
            data: self.data.data.as_deref(),
            layout: self.data.layout.to_string(),
            split: self.data.split.as_deref(),
            size: pictures.size,
            filter: pictures.filter.to_string(),
            data_hash: &pictures.data_hash,
            eps: &budgets,
            metrics: &self.metrics,
            ignore: self.data.ignore,
            limit: self.data.limit,
            images: pictures.all,
            attack: &attack,
        };
        let mut head = head(&settings)
            .lipschitz(arena.lipschitz, arena.lipschitz_source())
            .unit(Norm::L2, pixels(height, width))
            .eta_source(Certifier::ETA_SOURCE);
        if self.random_start {
            head = head.seed(self.seed);
        }
        let mut run = Run::open(&self.run, "attack", head)?;
        pictures.skip(run.kept())?;
        let progress = Progress::new("attack", pictures.len());
        interrupt::listen()?;
        while let Some(sample) = pictures.next()? {
            if interrupt::asked() {
                progress.finish();
                return Ok(run.stopped());
            }
            let seen = arena.compare(&sample, &self.metrics, &eps, &attack, self.seed);
            let seen = seen.with_context(|| format!("image {}", sample.id))?;
            let rows = Row::of(&sample.id, &self.metrics, &seen)?;
            rows.iter().try_for_each(|row| run.push(row))?;
            run.image()?;
            progress.set(run.done(), "");
        }
        progress.finish();
        run.finish::<Row>(&[])
    }
}
