//! `certiseg certify`: the worst value of a metric within a budget (Q1), the budget below which a
//! goal is out of reach (Q2).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{
    Budget, Claim, ClassHead, CurveRow, DatasetRow, Goal, Grid, Image, Margins, Metric, Norm, Pool,
    Premises, Row, Summary, margins, margins_with_head,
};
use certiseg_net::data::{LogitsFile, VOID, read_head};
use certiseg_net::network::Certifier;
use clap::Args;
use serde::Serialize;

use crate::conventions::{ConventionArgs, word};
use crate::fail::{STOPPED, Usage};
use crate::interrupt;
use crate::maps::Maps;
use crate::output::{Format, Rows, head, make_dir, print_line, table};
use crate::progress::Progress;
use crate::region::Region;
use crate::source::{DataArgs, Item, Pictures};

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
    /// Folder for rows.jsonl
    #[arg(long)]
    out: Option<PathBuf>,
    /// What standard output gets
    #[arg(long, default_value = "table")]
    format: Format,
}

/// The settings of a run as its head row tells them.
#[derive(Serialize)]
struct Settings<'a> {
    model: Option<&'a Path>,
    data: Option<&'a Path>,
    layout: Option<String>,
    split: Option<&'a str>,
    size: Option<[usize; 2]>,
    filter: Option<String>,
    logits: Option<&'a Path>,
    norm: Norm,
    eps: &'a [Budget],
    metrics: &'a [Metric],
    until: &'a [Goal],
    ignore: Option<i64>,
    limit: Option<u32>,
    eta: Option<f64>,
    head: Option<&'a Path>,
    dimension: Option<usize>,
    region: Option<&'a Path>,
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
        if self.format != Format::Jsonl && self.out.is_none() {
            let lost = match (self.curve, self.dataset, self.format) {
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
        let budgets = eps.iter().map(|&eps| Ok(Budget::new(eps)?));
        let mut budgets: Vec<Budget> = budgets.collect::<Result<_>>()?;
        let mut goals = self.until.clone();
        without_repeats(&mut budgets);
        without_repeats(&mut goals);
        let eps: Vec<f64> = budgets.iter().map(|eps| eps.get()).collect();
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
            data: self.data.data.as_deref(),
            layout: pictures.map(|_| self.data.layout.to_string()),
            split: self.data.split.as_deref(),
            size: pictures.map(|p| p.size),
            filter: pictures.map(|p| p.filter.to_string()),
            logits: self.logits.as_deref(),
            norm: self.norm,
            eps: &budgets,
            metrics: &metrics,
            until: &goals,
            ignore: self.data.ignore,
            limit: self.data.limit,
            eta: self.logits.as_ref().map(|_| self.eta),
            head: self.head.as_deref(),
            dimension: self.dimension,
            region: self.region.as_deref(),
            dataset: self.dataset,
            curve: self.curve,
        };
        let head = head(&settings)
            .lipschitz(premises.lipschitz, source.lipschitz_source())
            .unit(self.norm, source.unit())
            .claim(self.claim, conventions)
            .eta_source(source.eta_source());
        let mut rows = Rows::open(self.format, self.out.as_deref(), &head)?;
        let mut summary = Summary::new(&metrics, &eps, &goals);
        let progress = Progress::new("certify", source.len());
        let pool = |&metric: &Metric| {
            let goals = goals.iter().any(|goal| goal.metric == metric);
            Ok(Pool::new(metric, source.classes(), &budgets, goals)?)
        };
        let mut pools = match self.dataset {
            true => metrics.iter().map(pool).collect::<Result<Vec<_>>>()?,
            false => Vec::new(),
        };
        if let Some(dir) = &self.maps {
            make_dir(dir)?;
        }
        let mut done = 0;
        interrupt::listen()?;
        while let Some(item) = source.next()? {
            if interrupt::asked() {
                progress.finish();
                say!("stopped after {done} images; no rows were kept");
                return Ok(ExitCode::from(STOPPED));
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
                    let row = row.clone().worst(certificate, budget);
                    summary.add(&row);
                    rows.push(&row)?;
                }
                for goal in goals.iter().filter(|goal| goal.metric == metric) {
                    let row = row.clone().budget(certificate, goal)?;
                    summary.add(&row);
                    rows.push(&row)?;
                }
                if let (Some(points), Some(certificate)) = (self.curve, certificate) {
                    let points = points.into();
                    rows.push_other(&CurveRow::of(&item.id, certificate, points, &premises))?;
                }
                if let (Some(_), Some(certificate)) = (&self.maps, certificate) {
                    maps.add(certificate)?;
                }
            }
            for pool in &mut pools {
                pool.add(&margins).with_context(context)?;
            }
            if let Some(dir) = &self.maps {
                maps.write(dir, &item.id)?;
            }
            done += 1;
            progress.set(done, "");
        }
        let mut dataset = Vec::new();
        for pool in &pools {
            dataset.extend(DatasetRow::of(pool, &goals, &premises)?);
        }
        dataset.iter().try_for_each(|row| rows.push_other(row))?;
        progress.finish();
        let path = rows.finish()?;
        if self.format == Format::Table {
            let (header, lines) = summary.lines();
            print_line(&table(&header, &lines))?;
            if self.dataset {
                let (header, lines) = DatasetRow::lines(&dataset);
                print_line(&table(&header, &lines))?;
            }
            print_line(&footer(done, &premises, &source))?;
        }
        if let Some(path) = path {
            say!("rows  {}", path.display());
        }
        if let Some(dir) = &self.maps {
            say!("maps  {} ({done} files)", dir.display());
        }
        Ok(ExitCode::SUCCESS)
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
fn without_repeats<T: PartialEq + Clone>(list: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::new();
    for item in list.iter() {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
    }
    *list = kept;
}

fn footer(images: usize, premises: &Premises, source: &Source) -> String {
    format!(
        "{images} images; l{} in {}; L = {}{} ({}); values are certified, rounded against us: worst within eps, or budget of the goal",
        premises.budgets(),
        source.unit(),
        certiseg_cert::round_up(premises.lipschitz, 6),
        if premises.budgets() == premises.norm {
            ""
        } else {
            " converted from l2"
        },
        source.lipschitz_source(),
    )
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

/// Where logits come from.
enum Source {
    Model {
        pictures: Box<Pictures>,
        certifier: Box<Certifier>,
    },
    File {
        file: Box<LogitsFile>,
        lipschitz: f64,
        head: Option<ClassHead>,
        eta: f64,
        next: usize,
    },
}

impl Source {
    fn open(args: &Certify) -> Result<Self> {
        if let Some(path) = &args.logits {
            let hint = "give --lipschitz L: the file does not say how fast its logits may change";
            let missing = || Usage::error("logits without a Lipschitz constant", hint);
            return Ok(Source::File {
                file: Box::new(LogitsFile::open(path, args.data.ignore.unwrap_or(255))?),
                lipschitz: args.lipschitz.ok_or_else(missing)?,
                head: args.head.as_deref().map(read_head).transpose()?,
                eta: args.eta,
                next: 0,
            });
        }
        let hint = "give --model FILE with --data DIR, or --logits FILE with --lipschitz L";
        let model = args.model.as_ref();
        let model = model.ok_or_else(|| Usage::error("nothing to certify", hint))?;
        let pictures = Pictures::open(model, &args.data)?;
        let [height, width] = pictures.size;
        let certifier = pictures.model.network.certifier(height, width)?;
        Ok(Source::Model {
            certifier: Box::new(certifier),
            pictures: Box::new(pictures),
        })
    }

    /// The next image.
    fn next(&mut self) -> Result<Option<Item>> {
        match self {
            Source::Model {
                pictures,
                certifier,
                ..
            } => {
                let Some(sample) = pictures.next()? else {
                    return Ok(None);
                };
                let logits = certifier.logits(&sample.image_f32())?;
                Ok(Some(Item {
                    id: sample.id,
                    grid: logits.grid,
                    logits: logits.values,
                    labels: sample.mask,
                    eta: logits.eta,
                }))
            }
            Source::File {
                file, eta, next, ..
            } => {
                let Some(image) = file.next().transpose()? else {
                    return Ok(None);
                };
                let id = next.to_string();
                *next += 1;
                let [classes, height, width] = file.shape();
                if image.rounding == f64::INFINITY {
                    return Err(Usage::error(
                        format!("a logit of image {id} is beyond float32"),
                        "divide logits, --lipschitz and --eta by the same number",
                    ));
                }
                Ok(Some(Item {
                    id,
                    grid: Grid::new(classes, height, width)?,
                    // conversion to f32 adds to what the user vouches for
                    eta: if image.rounding > 0.0 {
                        (*eta + image.rounding).next_up()
                    } else {
                        *eta
                    },
                    logits: image.logits,
                    labels: image.labels,
                }))
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Source::Model { pictures, .. } => pictures.len(),
            Source::File { file, .. } => file.len(),
        }
    }

    fn labelled(&self) -> bool {
        match self {
            Source::Model { pictures, .. } => pictures.labelled(),
            Source::File { file, .. } => file.has_labels(),
        }
    }

    fn classes(&self) -> usize {
        match self {
            Source::Model { pictures, .. } => pictures.model.network.classes(),
            Source::File { file, .. } => file.shape()[0],
        }
    }

    /// What certificates of logits with this error rest on, in the norm that was asked for.
    fn premises(&self, args: &Certify, eta: f64) -> Result<Premises> {
        let (mut premises, values) = match self {
            Source::Model {
                pictures,
                certifier,
            } => {
                let [height, width] = pictures.size;
                (certifier.premises(eta)?, 3 * height * width)
            }
            Source::File { lipschitz, .. } => match args.dimension {
                None => (Premises::new(args.norm, *lipschitz, eta)?, 1),
                Some(values) => (Premises::new(Norm::L2, *lipschitz, eta)?, values),
            },
        };
        if args.dimension.is_some() && args.norm == Norm::L2 {
            return Err(Usage::error(
                "--dimension with budgets in l2: nothing to convert",
                "name the norm of the budgets with --norm, or leave --dimension out",
            ));
        }
        premises.claim = args.claim;
        Ok(premises.in_norm(args.norm, values)?)
    }

    fn margins<'a>(&self, image: &Image<'a>, premises: &Premises) -> Result<Margins<'a>> {
        Ok(match self {
            Source::Model { certifier, .. } => certifier.margins(image, premises)?,
            Source::File {
                head: Some(head), ..
            } => margins_with_head(image, premises, head)?,
            Source::File { head: None, .. } => margins(image, premises)?,
        })
    }

    fn lipschitz_source(&self) -> String {
        match self {
            Source::Model { certifier, .. } => certifier.lipschitz_source(),
            Source::File { head: Some(_), .. } => {
                "assumed, given by the caller; of the features, with the rows of the head".into()
            }
            Source::File { head: None, .. } => "assumed, given by the caller".into(),
        }
    }

    fn eta_source(&self) -> &'static str {
        match self {
            Source::Model { .. } => Certifier::ETA_SOURCE,
            Source::File { .. } => "assumed, given by the caller",
        }
    }

    fn unit(&self) -> String {
        match self {
            Source::Model { pictures, .. } => {
                let [height, width] = pictures.size;
                format!("[0,1] pixel space of the resized picture, 3x{height}x{width}")
            }
            Source::File { .. } => "the tensor to which the given constant refers".to_owned(),
        }
    }

    fn pictures(&self) -> Option<&Pictures> {
        match self {
            Source::Model { pictures, .. } => Some(pictures),
            Source::File { .. } => None,
        }
    }
}
