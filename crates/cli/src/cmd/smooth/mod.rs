//! `certiseg smooth`: certificates by randomized smoothing.

mod hybrid;
mod levels;
mod network;
mod plan;
mod source;
mod tally;
mod test;
mod toy;
mod verdict;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::smoothing::{Family, Law, Procedure, Promise};
use clap::{Args, Subcommand};
use serde::Serialize;

use self::network::{Network, Origin, SampleArgs};
pub use self::source::Counted;
use self::source::{Files, Source};
pub use self::tally::Smoothed;
pub use self::test::{CHOOSE, Test, TestArgs};
pub use self::verdict::{Asked, judge, warned};
use crate::fail::Usage;
use crate::interrupt;
use crate::maps::Maps;
use crate::output::{Format, head};
use crate::run::{Run, RunArgs};
use crate::source::{DataArgs, file_hash, pixels};

/// What votes from files have no use for.
const FILES_CONFLICT: [&str; 7] = [
    "votes", "data", "layout", "split", "size", "filter", "limit",
];

/// Flags of the verb.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Smooth {
    #[command(subcommand)]
    tool: Option<Tool>,
    /// Model or training checkpoint (safetensors), any of ours: its label maps of noisy pictures; needs --data
    #[arg(long, conflicts_with_all = ["samples", "votes", "labels"])]
    model: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    sample: SampleArgs,
    /// Label maps of noisy pictures from any program, an npz for each picture: `samples` (n0 + n, pixels) or
    /// (n0 + n, H, W), classes 0 to 253; optionally `labels`. The first n0 choose the classes
    #[arg(long, value_name = "NPZ", num_args = 1.., conflicts_with_all = FILES_CONFLICT)]
    samples: Vec<PathBuf>,
    /// Votes counted elsewhere, an npz for each picture: `classes`, `counts` of the same shape, the number
    /// `samples`; optionally `labels`
    #[arg(long, value_name = "NPZ", num_args = 1.., conflicts_with_all = &FILES_CONFLICT[1..])]
    votes: Vec<PathBuf>,
    /// Labels in files of their own, an npz with `labels` for each picture, in the same order
    #[arg(long, value_name = "NPZ", num_args = 1..)]
    labels: Vec<PathBuf>,
    #[command(flatten)]
    test: TestArgs,
    /// Radii in the npz of --out by component, for all tau together, instead of that of tau
    #[arg(long)]
    radius_map: bool,
    /// How many components have at least which radius, for all radii together: rows of JSON lines, one for each
    /// number B of components that may be wrong
    #[arg(long, value_name = "B,...", num_args = 0..=1, default_missing_value = "0", value_delimiter = ',')]
    curve: Vec<u64>,
    /// Number of classes, for means over them; by default up to the last that occurs
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=254))]
    classes: Option<u8>,
    /// Pixels within which a change of label is near, for figures of boundary and interior
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=1000))]
    boundary: u32,
    #[command(flatten)]
    run: RunArgs,
}

/// What goes with it.
#[derive(Subcommand)]
enum Tool {
    /// How many samples for which radius: the least number, steps and their power, cost
    Plan(plan::Plan),
    /// The toy experiment of paper 002 (figures 2 and 6), simulated beside its exact expectation
    Toy(toy::Toy),
}

/// The settings of a run as its head row tells them.
#[derive(Serialize)]
struct Settings<'a> {
    network: Option<Origin>,
    samples: &'a [PathBuf],
    votes: &'a [PathBuf],
    labels: &'a [PathBuf],
    data_hash: &'a str,
    images: usize,
    n0: Option<usize>,
    law: Law,
    procedure: Procedure,
    promise: Promise,
    family: Family,
    screen: usize,
    hierarchy: Option<&'a Path>,
    hierarchy_hash: Option<String>,
    radius_map: bool,
    curves: &'a [u64],
    ignore: Option<i64>,
    classes: Option<usize>,
    boundary: u32,
}

impl Smooth {
    /// Judges every image.
    pub fn run(mut self) -> Result<ExitCode> {
        match self.tool.take() {
            Some(Tool::Plan(plan)) => return plan.run(),
            Some(Tool::Toy(toy)) => return toy.run(),
            None => {}
        }
        let test = self.test.check()?;
        if !self.curve.is_empty() && self.run.format != Format::Jsonl && self.run.out.is_none() {
            return Err(Usage::error(
                "--curve gives rows that are shown nowhere",
                "give --format jsonl, or --out DIR",
            ));
        }
        if self.radius_map && self.run.out.is_none() {
            let hint = "give --out DIR, or leave it out";
            return Err(Usage::error(
                "--radius-map is a map for the npz of --out",
                hint,
            ));
        }
        if (self.radius_map || !self.curve.is_empty()) && self.sample.looking() {
            return Err(Usage::error(
                "--looks with --radius-map or --curve: each spends the whole of alpha",
                "leave one of both out",
            ));
        }
        let mut source = self.source(&test)?;
        let (mut network, mut classes) = (None, self.classes.map(usize::from));
        let mut unit = test.unit.clone();
        let mut ignore = Some(self.ignore());
        if let (Source::Network(source), Some(path)) = (&source, &self.model) {
            network = Some(source.origin(path, &self.data));
            classes = classes.or(Some(source.classes()));
            let [height, width] = source.pictures().size;
            unit = pixels(height, width);
            ignore = self.data.ignore;
        }
        let data_hash = source.data_hash().to_owned();
        let hierarchy = self.test.hierarchy().map(PathBuf::as_path);
        let settings = Settings {
            network,
            samples: &self.samples,
            votes: &self.votes,
            labels: &self.labels,
            data_hash: &data_hash,
            images: source.all(),
            n0: test.n0,
            law: test.law,
            procedure: test.procedure,
            promise: test.promise,
            family: test.family,
            screen: test.screen,
            hierarchy,
            hierarchy_hash: hierarchy.map(file_hash).transpose()?,
            radius_map: self.radius_map,
            curves: &self.curve,
            ignore,
            classes,
            boundary: self.boundary,
        };
        let head = head(&settings).unit(test.law.norm(), unit);
        let mut run = Run::open(&self.run, "smooth", head)?;
        source.skip(run.kept())?;
        if let (Some(dir), Source::Network(network)) = (self.run.out.as_deref(), &source) {
            // before hours of sampling
            for (i, id) in network.pictures().left().enumerate() {
                Maps::place(dir, id, i == 0 && run.redoes(), "--out")?;
            }
        }
        let asked = Asked {
            classes,
            boundary: self.boundary,
            curves: self.curve.clone(),
            radius_map: self.radius_map,
            maps: self.run.out.is_some(),
        };
        let progress = source.progress(run.done());
        let mut notes = BTreeSet::new();
        if let (Source::Network(network), Family::All) = (&source, test.family) {
            // before the first sample is drawn
            for note in network.warned(&test)? {
                progress.say(&format!("note: {note}"));
                notes.insert(note);
            }
        }
        interrupt::listen()?;
        let (all, network) = (source.len(), self.model.is_some());
        while let Some(image) = source.next(&test, &progress)? {
            // of a model the state stays, and the next call stops
            if interrupt::asked() && !network {
                progress.finish();
                return Ok(run.stopped());
            }
            let verdict = judge(&test, &asked, &image);
            let verdict = verdict.with_context(|| format!("image {}", image.id))?;
            for note in verdict.notes {
                if notes.insert(note.clone()) {
                    progress.say(&format!("note: {note}"));
                }
            }
            run.push(&verdict.row)?;
            verdict
                .curves
                .iter()
                .try_for_each(|curve| run.push(curve))?;
            image.hybrid.iter().try_for_each(|row| run.push(row))?;
            // rows first: a run that goes on redoes the last image that has some
            let place = self.run.out.as_deref();
            let place = place
                .map(|dir| Maps::place(dir, &image.id, run.redoes(), "--out"))
                .transpose()?;
            run.image()?;
            if let Some(path) = place {
                certiseg_net::data::write_maps(&path, &image.shape, &verdict.maps)?;
            }
            source.written(&image.id);
        }
        progress.finish();
        if run.done() < all {
            return Ok(run.stopped());
        }
        let code = run.finish::<()>(&[])?;
        source.finished();
        Ok(code)
    }

    /// Label of pixels that do not count, in files.
    fn ignore(&self) -> i64 {
        self.data.ignore.unwrap_or(255)
    }

    fn source(&self, test: &Test) -> Result<Source> {
        if let Some(path) = &self.model {
            let network = Network::open(path, &self.data, &self.sample, test, &self.run)?;
            return Ok(Source::Network(Box::new(network)));
        }
        let (paths, samples) = match (&self.samples[..], &self.votes[..]) {
            ([], []) => {
                let hint = "give --model FILE with --data DIR, --samples F.npz with label maps of noisy pictures, or --votes F.npz with counts";
                return Err(Usage::error("nothing to certify", hint));
            }
            ([], votes) => (votes, false),
            (samples, _) => (samples, true),
        };
        let files = Files::open(paths, &self.labels, self.ignore(), self.run.shard.as_ref())?;
        Ok(match samples {
            true => Source::Samples(files),
            false => Source::Votes(files),
        })
    }
}
