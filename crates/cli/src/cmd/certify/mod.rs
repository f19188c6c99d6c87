//! `certiseg certify`: the worst value of a metric within a budget (Q1), the budget below which a
//! goal is out of reach (Q2).

mod source;
mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{
    Budget, Claim, CurveRow, DatasetRow, Goal, Grid, Image, Margins, Metric, Norm, Pool, Row,
};
use certiseg_net::data::VOID;
use clap::Args;
use serde::Serialize;

use self::source::Source;
pub use self::tally::Certified;
use crate::conventions::{ConventionArgs, word};
use crate::fail::Usage;
use crate::interrupt;
use crate::maps::Maps;
use crate::output::{Format, head, make_dir};
use crate::progress::Progress;
use crate::region::Region;
use crate::run::{Run, RunArgs};
use crate::source::{DataArgs, file_hash};

/// Flags of the verb.
#[derive(Args, Debug)]
pub struct Certify {
    /// Model or training checkpoint (safetensors); needs --data
    #[arg(long, conflicts_with_all = ["logits", "lipschitz", "eta", "head", "dimension"])]
    model: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Logits from anywhere: npz with `logits` (N,K,H,W) and, for all metrics but stability,
    /// `labels` (N,H,W)
    #[arg(long, conflicts_with_all = ["data", "layout", "split", "size", "filter", "limit"])]
    logits: Option<PathBuf>,
    /// Lipschitz constant of those logits: joint over all pixels and classes, in the norm of --norm,
    /// from the tensor in which eps is measured
    #[arg(long, allow_negative_numbers = true)]
    lipschitz: Option<f64>,
    /// Bound on the rounding error of each logit in the file
    #[arg(
        long,
        requires = "logits",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    eta: f64,
    /// Rows of the last layer, npz with `weight` (K,C); --lipschitz is then that of the features
    /// before it, and radii are by class pairs. A model's own head is known
    #[arg(long, requires = "logits")]
    head: Option<PathBuf>,
    /// Norm of the budget: 1, 2, inf or any p of at least 1. Budgets of a model are converted from
    /// l2; for logits it is the norm of --lipschitz, unless there is --dimension
    #[arg(long, default_value = "2")]
    norm: Norm,
    /// Number of values of the attacked tensor: --lipschitz is in l2, budgets of --norm are
    /// converted
    #[arg(long, requires = "logits")]
    dimension: Option<usize>,
    /// What is certified: function (of the exact weights; 2 eta off each margin), or program (that
    /// gave the logits; 4 eta)
    #[arg(long, default_value = "function", value_parser = word::<Claim>)]
    claim: Claim,
    /// Only these pixels count: a PNG of the size of the logits, black (0 in all channels) is out
    #[arg(long)]
    region: Option<PathBuf>,
    #[command(flatten)]
    conventions: ConventionArgs,
    /// Budgets, comma-separated; 0.05,0.1,0.2 where a metric has no --until either
    #[arg(long, allow_hyphen_values = true)]
    eps: Option<String>,
    /// accuracy, stability, recall:K, fnr:K, fpr:K, specificity:K, precision:K, dice:K, iou:K,
    /// mean-class-accuracy, miou, objects:K or stable-objects:K, K a class; repeatable
    #[arg(long = "metric")]
    metrics: Vec<Metric>,
    /// A degradation, for example 'accuracy<=0.5', 'fnr:1>=0.7' or stability@50; repeatable
    #[arg(long)]
    until: Vec<Goal>,
    /// The data set as a whole too: counts of all images pooled, each attacked within the budget.
    /// Pooled means are over the classes that are labelled or predicted anywhere
    #[arg(long)]
    dataset: bool,
    /// The whole curve of every image and metric in at most so many points (2 to 1025), as rows
    /// of JSON lines; each point of miou may take tens of milliseconds
    #[arg(long, num_args = 0..=1, default_missing_value = "65", value_name = "POINTS",
          value_parser = clap::value_parser!(u16).range(2..=1025))]
    curve: Option<u16>,
    /// Folder for one new npz per image: predictions, radii, and per metric the budgets or places at
    /// which the worst attack takes each pixel (none for the means over classes); see the README
    #[arg(long)]
    maps: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// The settings of a run as its head row tells them.
#[derive(Serialize)]
struct Settings<'a> {
    model: Option<&'a Path>,
    model_hash: Option<&'a str>,
    data: Option<&'a Path>,
    layout: Option<String>,
    split: Option<&'a str>,
    size: Option<[usize; 2]>,
    filter: Option<String>,
    logits: Option<&'a Path>,
    data_hash: String,
    norm: Norm,
    eps: &'a [Budget],
    metrics: &'a [Metric],
    until: &'a [Goal],
    ignore: Option<i64>,
    limit: Option<u32>,
    images: usize,
    classes: usize,
    eta: Option<f64>,
    head: Option<&'a Path>,
    head_hash: Option<String>,
    dimension: Option<usize>,
    region: Option<&'a Path>,
    region_hash: Option<String>,
    dataset: bool,
    curve: Option<u16>,
}

impl Certify {
    /// Certifies every image.
    pub fn run(self) -> Result<ExitCode> {
        let eps = match &self.eps {
            Some(text) => parse_eps(text)?,
            None if self.asks_worst() => vec![0.05, 0.1, 0.2],
            None => Vec::new(),
        };
        self.check_rows()?;
        let budgets = eps.iter().map(|&eps| Ok(Budget::new(eps)?));
        let mut budgets: Vec<Budget> = budgets.collect::<Result<_>>()?;
        let mut goals = self.until.clone();
        without_repeats(&mut budgets);
        without_repeats(&mut goals);
        let mut source = Source::open(&self)?;
        let metrics = self.metrics(source.labelled(), source.classes())?;
        // fails on a constant, a norm or conventions that mean nothing, before any picture is read
        let premises = source.premises(&self, self.eta)?;
        Grid::new(source.classes(), 1, 1)?;
        let conventions = self.conventions.check(&metrics)?;
        let region = self.region.as_deref().map(Region::read).transpose()?;
        let region = region.as_ref();
        let pictures = source.pictures();
        let settings = Settings {
            model: self.model.as_deref(),
            model_hash: pictures.map(|p| p.hash.as_str()),
            data: self.data.data.as_deref(),
            layout: pictures.map(|_| self.data.layout.to_string()),
            split: self.data.split.as_deref(),
            size: pictures.map(|p| p.size),
            filter: pictures.map(|p| p.filter.to_string()),
            logits: self.logits.as_deref(),
            data_hash: source.data_hash(),
            norm: self.norm,
            eps: &budgets,
            metrics: &metrics,
            until: &goals,
            ignore: self.data.ignore,
            limit: self.data.limit,
            images: source.all(),
            classes: source.classes(),
            eta: self.logits.as_ref().map(|_| self.eta),
            head: self.head.as_deref(),
            head_hash: self.head.as_deref().map(file_hash).transpose()?,
            dimension: self.dimension,
            region: self.region.as_deref(),
            region_hash: self.region.as_deref().map(file_hash).transpose()?,
            dataset: self.dataset,
            curve: self.curve,
        };
        let head = head(&settings)
            .lipschitz(premises.lipschitz, source.lipschitz_source())
            .unit(self.norm, source.unit())
            .claim(self.claim, conventions)
            .eta_source(source.eta_source());
        let mut run = Run::open(&self.run, "certify", head)?;
        source.skip(run.kept())?;
        let progress = Progress::new("certify", source.len());
        // of shards the pools are made of the rows of all
        let goals_of = |metric| self.run.shard.is_none() && asked(&goals, metric).next().is_some();
        let pool = |&metric: &Metric| {
            Ok(Pool::new(
                metric,
                source.classes(),
                &budgets,
                goals_of(metric),
            )?)
        };
        let pools = match self.dataset {
            true => metrics.iter().map(pool).collect::<Result<Vec<_>>>()?,
            false => Vec::new(),
        };
        let mut sums = pools.clone();
        if let Some(dir) = &self.maps {
            make_dir(dir)?;
        }
        interrupt::listen()?;
        while let Some(item) = source.next()? {
            if interrupt::asked() {
                progress.finish();
                return Ok(run.stopped());
            }
            let premises = source.premises(&self, item.eta)?;
            let context = || format!("image {}", item.id);
            let image = Image::new(item.grid, &item.logits, item.labels.as_deref(), Some(VOID));
            let mut image = image.with_context(context)?;
            if let Some(region) = region {
                image = image.region(region.of(item.grid)?).with_context(context)?;
            }
            let margins = source.margins(&image, &premises).with_context(context)?;
            let margins = margins.with(conventions)?;
            let mut maps = Maps::new(&margins);
            for &metric in &metrics {
                let certificate = metric.certify(&margins)?;
                let certificate = certificate.as_ref();
                let row = Row::new(&item.id, metric, &premises);
                for &budget in &budgets {
                    run.push(&row.clone().worst(certificate, budget))?;
                }
                for goal in asked(&goals, metric) {
                    run.push(&row.clone().budget(certificate, goal)?)?;
                }
                if let (Some(points), Some(certificate)) = (self.curve, certificate) {
                    let points = points.into();
                    run.push(&CurveRow::of(&item.id, certificate, points, &premises))?;
                }
                if let (Some(_), Some(certificate)) = (&self.maps, certificate) {
                    maps.add(certificate)?;
                }
            }
            match &self.run.shard {
                None => add(&mut sums, &margins).with_context(context)?,
                Some(_) => {
                    let mut pools = pools.clone();
                    add(&mut pools, &margins).with_context(context)?;
                    let rows = pools.iter().map(|pool| Ok(pool.row(&item.id)?));
                    let rows = rows.collect::<Result<Vec<_>>>()?;
                    rows.iter().try_for_each(|row| run.push(row))?;
                }
            }
            // rows first: a run that goes on redoes the last image that has some
            let place = self.maps.as_deref();
            let place = place.map(|dir| Maps::place(dir, &item.id, run.redoes(), "--maps"));
            let place = place.transpose()?;
            run.image()?;
            let (photo, labels) = (item.image.as_deref(), item.labels.as_deref());
            place.map_or(Ok(()), |path| maps.write(&path, photo, labels))?;
            progress.set(run.done(), "");
        }
        let mut dataset = Vec::new();
        if self.run.shard.is_none() {
            for pool in &sums {
                dataset.extend(DatasetRow::of(pool, &goals, &premises)?);
            }
        }
        progress.finish();
        let files = run.done();
        let verdict = run.finish(&dataset)?;
        if let Some(dir) = &self.maps {
            say!("maps  {} ({files} files)", dir.display());
        }
        Ok(verdict)
    }

    /// An error where rows were asked for that would be nowhere.
    fn check_rows(&self) -> Result<()> {
        let RunArgs {
            shard,
            out,
            resume,
            format,
        } = &self.run;
        if *format != Format::Jsonl && out.is_none() {
            let lost = match (self.curve, self.dataset, format) {
                (Some(_), _, _) => Some("--curve gives rows that are shown nowhere"),
                (None, true, Format::Csv) => {
                    Some("--dataset gives rows that CSV has no columns for")
                }
                _ => None,
            };
            if let Some(lost) = lost {
                return Err(Usage::error(lost, "give --format jsonl, or --out DIR"));
            }
        }
        if self.dataset && shard.is_some() && !self.until.is_empty() {
            return Err(Usage::error(
                "--until of a data set needs every pixel of every image in one process",
                "leave --shard out, or --dataset, or ask for worst values with --eps only",
            ));
        }
        if self.dataset && *resume && shard.is_none() {
            return Err(Usage::error(
                "--resume with --dataset: finished rows do not say what an image adds to the data set",
                "give --shard 0/1, whose rows do, and then certiseg merge",
            ));
        }
        Ok(())
    }

    /// Without --eps: whether a metric is left without a question, or none was asked at all.
    fn asks_worst(&self) -> bool {
        let idle = |metric: &Metric| self.until.iter().all(|goal| goal.metric != *metric);
        self.until.is_empty() || self.metrics.iter().any(idle)
    }

    /// The metrics asked for, those of the goals included.
    fn metrics(&self, labelled: bool, classes: usize) -> Result<Vec<Metric>> {
        let mut metrics = self.metrics.clone();
        if metrics.is_empty() && self.until.is_empty() {
            metrics = match labelled {
                true => vec![Metric::Accuracy, Metric::Stability],
                false => vec![Metric::Stability],
            };
        }
        metrics.extend(self.until.iter().map(|goal| goal.metric));
        without_repeats(&mut metrics);
        for metric in &metrics {
            metric.check(classes)?;
            if metric.needs_labels() && !labelled {
                let hint = "store an array `labels` (N,H,W) beside the logits, or ask for stability or stable-objects:K";
                return Err(Usage::error(
                    format!("{metric} needs labels and there are none"),
                    hint,
                ));
            }
        }
        Ok(metrics)
    }
}

/// Questions asked twice are answered once.
pub fn without_repeats<T: PartialEq + Clone>(list: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::new();
    for item in list.iter() {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
    }
    *list = kept;
}

/// The goals of one metric.
fn asked(goals: &[Goal], metric: Metric) -> impl Iterator<Item = &Goal> {
    goals.iter().filter(move |goal| goal.metric == metric)
}

/// Adds an image to all pools.
fn add(pools: &mut [Pool], margins: &Margins) -> certiseg_cert::Result<()> {
    pools.iter_mut().try_for_each(|pool| pool.add(margins))
}

/// Reads `0.05,0.1`.
pub fn parse_eps(text: &str) -> Result<Vec<f64>> {
    let hint = "give comma-separated numbers of at least 0, for example --eps 0.05,0.1";
    if text.trim().is_empty() {
        return Err(Usage::error("the list of budgets is empty", hint));
    }
    let number = |word: &str| {
        let value = word.trim().parse::<f64>().ok().filter(|eps| *eps >= 0.0);
        value.ok_or_else(|| Usage::error(format!("{word:?} is no budget"), hint))
    };
    text.split(',').map(number).collect()
}
