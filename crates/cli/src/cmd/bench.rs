//! `certiseg bench`: how long a training step or an inference takes, and where.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use certiseg_net::bench::{Times, WARM_UP, inference, instructions, threads, training};
use certiseg_net::checkpoint::load_model;
use certiseg_net::profile::{Cost, Pass};
use clap::Args;
use serde::Serialize;

use crate::fail::Usage;
use crate::output::{print_line, table};
use crate::progress::Progress;
use crate::settings;
use crate::source::size;

/// Flags of the verb.
#[derive(Args)]
pub struct Bench {
    /// Settings of a training (TOML), as for train; its step is timed, its data are not read
    config: Option<PathBuf>,
    /// Override one setting, for example --set network.size='"m1"'
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "model")]
    sets: Vec<String>,
    /// Pictures per step
    #[arg(long, conflicts_with = "model")]
    batch: Option<usize>,
    /// Time the forward pass of this model instead, one picture at a time
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    model: Option<PathBuf>,
    /// Sizes of the pictures, HEIGHTxWIDTH or one side; by default that of the settings (without a
    /// file 64,128), of a model 256,512,1024
    #[arg(long, value_delimiter = ',', value_parser = size)]
    size: Vec<[usize; 2]>,
    /// Runs whose median is shown, after two to warm up
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeats: u32,
    /// One JSON object per size instead of tables
    #[arg(long)]
    json: bool,
}

/// The JSON form of one size.
#[derive(Serialize)]
struct Report<'a> {
    /// `training step` or `inference`.
    what: &'static str,
    height: usize,
    width: usize,
    /// Pictures of one run.
    batch: usize,
    threads: usize,
    instructions: &'static str,
    milliseconds: f64,
    least_milliseconds: f64,
    /// Of this process up to now, earlier sizes included, in MB of 10^6 bytes; null where the system
    /// does not tell.
    peak_megabytes: Option<f64>,
    /// Milliseconds of a run.
    stages: Vec<Stage>,
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
struct Stage {
    stage: &'static str,
    milliseconds: f64,
}

/// Of one run.
#[derive(Serialize)]
struct Layer<'a> {
    kind: &'a str,
    pass: &'static str,
    calls: f64,
    milliseconds: f64,
    /// None where nothing is multiplied.
    gigaflops: Option<f64>,
}

impl Bench {
    /// Times every size and prints.
    pub fn run(self) -> Result<ExitCode> {
        let repeats = self.repeats as usize;
        match &self.model {
            Some(file) => {
                let network = load_model(file)?.network;
                for size in self.sizes(&[256, 512, 1024]) {
                    let progress = Progress::new("inference", repeats + WARM_UP);
                    let times = inference(&network, size, repeats, &mut progress.counter())?;
                    progress.finish();
                    self.show("inference", size, 1, &times)?;
                }
            }
            None => {
                let config = self
                    .config
                    .as_deref()
                    .map(settings::read_file)
                    .transpose()?;
                let mut settings = settings::read(config.as_deref(), &self.sets)?;
                settings.batch = self.batch.unwrap_or(settings.batch);
                let sets_side =
                    |set: &&String| set.starts_with("height=") || set.starts_with("width=");
                if let (Some(set), false) = (self.sets.iter().find(sets_side), self.size.is_empty())
                {
                    let message = format!("--set {set} beside --size");
                    return Err(Usage::error(message, "give one of them"));
                }
                let sizes = match self.config.is_some() || self.sets.iter().any(|s| sets_side(&s)) {
                    true if self.size.is_empty() => vec![[settings.height, settings.width]],
                    _ => self.sizes(&[64, 128]),
                };
                for size in sizes {
                    let mut settings = settings.clone();
                    [settings.height, settings.width] = size;
                    let batch = settings.batch;
                    let progress = Progress::new("step", repeats + WARM_UP);
                    let times = training(settings, repeats, &mut progress.counter())?;
                    progress.finish();
                    self.show("training step", size, batch, &times)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn sizes(&self, usual: &[usize]) -> Vec<[usize; 2]> {
        match self.size.is_empty() {
            true => usual.iter().map(|&side| [side; 2]).collect(),
            false => self.size.clone(),
        }
    }

    fn show(
        &self,
        what: &'static str,
        [height, width]: [usize; 2],
        batch: usize,
        times: &Times,
    ) -> Result<()> {
        let runs = times.seconds.len() as f64;
        let of_run = |seconds: f64| seconds / runs * 1e3;
        let report = Report {
            what,
            height,
            width,
            batch,
            threads: threads(),
            instructions: instructions().unwrap_or_default(),
            milliseconds: times.median() * 1e3,
            least_milliseconds: times.least() * 1e3,
            peak_megabytes: peak_memory(),
            stages: times
                .profile
                .stages
                .iter()
                .map(|&(stage, seconds)| Stage {
                    stage,
                    milliseconds: of_run(seconds),
                })
                .collect(),
            layers: times
                .profile
                .layers
                .iter()
                .map(|((kind, pass), cost)| Layer {
                    kind,
                    pass: name(*pass),
                    calls: cost.calls as f64 / runs,
                    milliseconds: of_run(cost.seconds),
                    gigaflops: rate(cost),
                })
                .collect(),
        };
        if self.json {
            return print_line(&serde_json::to_string(&report)?);
        }
        print_line(&format!(
            "{what} of {batch} at {height}x{width}, {} thread{}, {}: {:.1} ms (least {:.1}), {:.1} images/s, peak memory so far {}",
            report.threads,
            if report.threads == 1 { "" } else { "s" },
            report.instructions,
            report.milliseconds,
            report.least_milliseconds,
            batch as f64 / times.median(),
            match report.peak_megabytes {
                Some(megabytes) => format!("{megabytes:.0} MB"),
                None => "unknown".to_owned(),
            },
        ))?;
        if !report.stages.is_empty() {
            let stages = report.stages.iter();
            let stages = stages.map(|s| vec![s.stage.to_owned(), format!("{:.2}", s.milliseconds)]);
            let header = ["stage", "ms"].map(str::to_owned);
            print_line(&table(&header, &stages.collect::<Vec<_>>()))?;
        }
        print_line(&layers(&report.layers))?;
        Ok(())
    }
}

/// A line per kind of layer, the slowest first, its passes side by side.
fn layers(layers: &[Layer]) -> String {
    let mut kinds: Vec<&str> = layers.iter().map(|layer| layer.kind).collect();
    kinds.dedup();
    let of = |kind: &str| {
        layers
            .iter()
            .filter(move |layer| layer.kind == kind)
            .collect::<Vec<_>>()
    };
    let total = |kind: &&str| -> f64 { of(kind).iter().map(|layer| layer.milliseconds).sum() };
    kinds.sort_by(|a, b| total(b).total_cmp(&total(a)));
    let passes = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient].map(name);
    let used: Vec<&str> = passes
        .into_iter()
        .filter(|pass| layers.iter().any(|layer| layer.pass == *pass))
        .collect();
    let mut header = vec!["layer".to_owned()];
    for pass in &used {
        header.extend([
            "calls".to_owned(),
            format!("{pass}, ms"),
            "GFLOP/s".to_owned(),
        ]);
    }
    let rows = kinds.iter().map(|kind| {
        let mut row = vec![(*kind).to_owned()];
        for pass in &used {
            row.extend(match of(kind).iter().find(|layer| layer.pass == *pass) {
                Some(layer) => [
                    format!("{}", layer.calls),
                    format!("{:.2}", layer.milliseconds),
                    layer
                        .gigaflops
                        .map_or_else(String::new, |rate| format!("{rate:.0}")),
                ],
                None => [const { String::new() }; 3],
            });
        }
        row
    });
    table(&header, &rows.collect::<Vec<_>>())
}

fn name(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward => "forward",
        Pass::InputGradient => "input gradient",
        Pass::WeightGradient => "weight gradient",
    }
}

fn rate(cost: &Cost) -> Option<f64> {
    (cost.flop > 0.0).then(|| cost.flop / cost.seconds / 1e9)
}

/// Largest resident memory of this process so far, in MB of 10^6 bytes, where /proc tells.
pub fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}
