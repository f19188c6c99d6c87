//! `certiseg certify`: the worst value of a metric within a budget (Q1), the budget below which a
//! goal is out of reach (Q2).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{Budget, Goal, Grid, Image, Metric, Norm, Premises, Row, Summary, margins};
use certiseg_net::data::{LogitsFile, VOID};
use certiseg_net::network::Certifier;
use clap::Args;
use serde::Serialize;

use crate::fail::{STOPPED, Usage};
use crate::interrupt;
use crate::output::{Format, Rows, head, print_line, table};
use crate::progress::Progress;
use crate::source::{DataArgs, Item, Pictures};

/// Flags of the verb.
#[derive(Args, Debug)]
pub struct Certify {
    /// Model or training checkpoint (safetensors); needs --data
    #[arg(long, conflicts_with_all = ["logits", "lipschitz", "eta"])]
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
    /// Norm of the budget: 1, 2, inf or any p of at least 1
    #[arg(long, default_value = "2")]
    norm: Norm,
    /// Budgets, comma-separated; 0.05,0.1,0.2 where a metric has no --until either
    #[arg(long, allow_hyphen_values = true)]
    eps: Option<String>,
    /// accuracy, stability, fnr:CLASS or iou:CLASS; repeatable
    #[arg(long = "metric")]
    metrics: Vec<Metric>,
    /// A degradation, for example 'accuracy<=0.5' or 'fnr:1>=0.7'; repeatable
    #[arg(long)]
    until: Vec<Goal>,
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
}

impl Certify {
    /// Certifies every image.
    pub fn run(self) -> Result<ExitCode> {
        let eps = match &self.eps {
            Some(text) => parse_eps(text)?,
            None if self.asks_worst() => vec![0.05, 0.1, 0.2],
            None => Vec::new(),
        };
        let budgets = eps.iter().map(|&eps| Ok(Budget::new(eps)?));
        let budgets: Vec<Budget> = budgets.collect::<Result<_>>()?;
        let mut source = Source::open(&self)?;
        let metrics = self.metrics(source.labelled(), source.classes())?;
        let premises = Premises {
            norm: self.norm,
            lipschitz: source.lipschitz(),
            eta: self.eta,
        };
        premises.check()?;
        Grid::new(source.classes(), 1, 1)?;
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
            until: &self.until,
            ignore: self.data.ignore,
            limit: self.data.limit,
            eta: self.logits.as_ref().map(|_| self.eta),
        };
        let head = head(&settings)
            .lipschitz(premises.lipschitz, source.lipschitz_source())
            .unit(self.norm, source.unit())
            .eta_source(source.eta_source());
        let mut rows = Rows::open(self.format, self.out.as_deref(), &head)?;
        let mut summary = Summary::new(&metrics, &eps, &self.until);
        let progress = Progress::new("certify", source.len());
        let mut done = 0;
        interrupt::listen()?;
        while let Some(item) = source.next()? {
            if interrupt::asked() {
                progress.finish();
                say!("stopped after {done} images; nothing was kept");
                return Ok(ExitCode::from(STOPPED));
            }
            let eta = item.eta;
            let premises = Premises { eta, ..premises };
            let image = Image::new(item.grid, &item.logits, item.labels.as_deref(), Some(VOID));
            let image = image.with_context(|| format!("image {}", item.id))?;
            let margins =
                margins(&image, &premises).with_context(|| format!("image {}", item.id))?;
            for &metric in &metrics {
                let certificate = metric.certify(&margins)?;
                let certificate = certificate.as_ref();
                let row = Row::new(&item.id, metric, &premises);
                for &budget in &budgets {
                    let row = row.clone().worst(certificate, budget);
                    summary.add(&row);
                    rows.push(&row)?;
                }
                for goal in self.until.iter().filter(|goal| goal.metric == metric) {
                    let row = row.clone().budget(certificate, goal)?;
                    summary.add(&row);
                    rows.push(&row)?;
                }
            }
            done += 1;
            progress.set(done, "");
        }
        progress.finish();
        let path = rows.finish()?;
        if self.format == Format::Table {
            let (header, lines) = summary.lines();
            print_line(&table(&header, &lines))?;
            print_line(&footer(done, &premises, &source))?;
        }
        if let Some(path) = path {
            say!("rows  {}", path.display());
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
        let mut unique: Vec<Metric> = Vec::new();
        for metric in metrics {
            metric.check(classes)?;
            if metric.needs_labels() && !labelled {
                let hint =
                    "store an array `labels` (N,H,W) beside the logits, or ask for stability";
                return Err(Usage::error(
                    format!("{metric} needs labels and there are none"),
                    hint,
                ));
            }
            if !unique.contains(&metric) {
                unique.push(metric);
            }
        }
        Ok(unique)
    }
}

fn footer(images: usize, premises: &Premises, source: &Source) -> String {
    format!(
        "{images} images; l{} in {}; L = {} ({}); values are certified: worst within eps, rounded against us",
        premises.norm,
        source.unit(),
        certiseg_cert::round_up(premises.lipschitz, 6),
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
        lipschitz: f64,
    },
    File {
        file: Box<LogitsFile>,
        lipschitz: f64,
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
                eta: args.eta,
                next: 0,
            });
        }
        let hint = "give --model FILE with --data DIR, or --logits FILE with --lipschitz L";
        let model = args.model.as_ref();
        let model = model.ok_or_else(|| Usage::error("nothing to certify", hint))?;
        if args.norm != Norm::L2 {
            let message = format!(
                "budgets in l{} for a model whose constant is in l2",
                args.norm
            );
            let hint = "use --norm 2; costs of another norm would be unsound";
            return Err(Usage::error(message, hint));
        }
        let pictures = Pictures::open(model, &args.data)?;
        let [height, width] = pictures.size;
        let certifier = pictures.model.network.certifier(height, width)?;
        Ok(Source::Model {
            lipschitz: certifier.lipschitz(),
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
                Ok(Some(Item {
                    id,
                    grid: Grid::new(classes, height, width)?,
                    // conversion to f32 adds to what the user vouches for
                    eta: *eta + image.rounding,
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

    fn lipschitz(&self) -> f64 {
        match self {
            Source::Model { lipschitz, .. } | Source::File { lipschitz, .. } => *lipschitz,
        }
    }

    fn lipschitz_source(&self) -> &'static str {
        match self {
            Source::Model { .. } => "audited from the weights",
            Source::File { .. } => "assumed, given by the caller",
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
