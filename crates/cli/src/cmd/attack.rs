//! `certiseg attack`: attacks a model and checks that no attack beats its certificate.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{Metric, Value, mean_lower, mean_upper, round_down, round_up};
use certiseg_net::attack::pgd::Pgd;
use certiseg_net::compare::{Arena, Comparison};
use clap::Args;
use serde::Serialize;

use super::certify::parse_eps;
use crate::fail::{STOPPED, UNSOUND};
use crate::interrupt;
use crate::output::{print_line, table};
use crate::progress::Progress;
use crate::source::{DataArgs, Pictures};

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
    /// One JSON row per image, metric and budget on standard output
    #[arg(long)]
    json: bool,
}

/// A row of the attack.
#[derive(Serialize)]
struct Row<'a> {
    kind: &'static str,
    image: &'a str,
    metric: Metric,
    norm: &'static str,
    eps: f64,
    clean: Option<f64>,
    certified: Option<f64>,
    attacked: Option<f64>,
    distance: f64,
    attack: &'static str,
}

impl Attack {
    /// Attacks every image.
    pub fn run(self) -> Result<ExitCode> {
        let eps = parse_eps(&self.eps)?;
        let mut pictures = Pictures::open(&self.model, &self.data)?;
        for metric in &self.metrics {
            metric.check(pictures.model.network.classes())?;
        }
        let arena = Arena::new(&pictures.model.network, pictures.size)?;
        let settings = Pgd {
            steps: self.steps as usize,
            random_start: self.random_start,
            ..Pgd::default()
        };
        let mut tally = Tally::new(&self.metrics, &eps);
        let progress = Progress::new("attack", pictures.len());
        let mut done = 0;
        interrupt::listen()?;
        while let Some(sample) = pictures.next()? {
            if interrupt::asked() {
                progress.finish();
                say!("stopped after {done} images");
                return Ok(ExitCode::from(STOPPED));
            }
            let seen = arena.compare(&sample, &self.metrics, &eps, &settings, self.seed);
            let seen = seen.with_context(|| format!("image {}", sample.id))?;
            tally.add(&sample.id, &seen);
            if self.json {
                rows(&sample.id, &self.metrics, &seen)?;
            }
            done += 1;
            progress.set(done, "");
        }
        progress.finish();
        if !self.json {
            print_line(&tally.table())?;
        }
        Ok(tally.verdict())
    }
}

fn rows(image: &str, metrics: &[Metric], seen: &Comparison) -> Result<()> {
    for (at, strike) in seen.strikes.iter().enumerate() {
        for (index, &metric) in metrics.iter().enumerate() {
            let bounds = seen.bounds[index].as_ref();
            let row = Row {
                kind: "attack",
                image,
                metric,
                norm: "2",
                eps: strike.eps,
                clean: bounds.map(|b| b.clean.nearest()),
                certified: bounds.map(|b| metric.cautious(b.worst[at])),
                attacked: strike.values[index].map(Value::nearest),
                distance: strike.distance,
                attack: "pgd",
            };
            print_line(&serde_json::to_string(&row)?)?;
        }
    }
    Ok(())
}

/// Clean, certified and attacked values over images.
pub struct Tally {
    metrics: Vec<Metric>,
    eps: Vec<f64>,
    /// Per metric and budget: clean, certified, attacked of each image.
    values: Vec<Vec<[Vec<f64>; 3]>>,
    images: usize,
    unsound: usize,
    violations: Vec<String>,
}

impl Tally {
    /// Of nothing yet.
    pub fn new(metrics: &[Metric], eps: &[f64]) -> Self {
        Self {
            metrics: metrics.to_vec(),
            eps: eps.to_vec(),
            values: vec![vec![Default::default(); eps.len()]; metrics.len()],
            images: 0,
            unsound: 0,
            violations: Vec::new(),
        }
    }

    /// Adds an image.
    pub fn add(&mut self, id: &str, seen: &Comparison) {
        self.images += 1;
        for (at, strike) in seen.strikes.iter().enumerate() {
            for (index, metric) in self.metrics.iter().enumerate() {
                if let Some((bounds, hit)) = seen.bounds[index].as_ref().zip(strike.values[index]) {
                    let [clean, certified, attacked] = &mut self.values[index][at];
                    clean.push(bounds.clean.nearest());
                    certified.push(metric.cautious(bounds.worst[at]));
                    attacked.push(hit.nearest());
                }
            }
        }
        let violations = seen.violations(&self.metrics);
        self.unsound += usize::from(!violations.is_empty());
        for (metric, eps) in violations {
            self.violations
                .push(format!("image {id}: {metric} at eps {eps}"));
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

    /// Says whether the law held, loudly where it did not.
    pub fn verdict(&self) -> ExitCode {
        let sound = self.images - self.unsound;
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
