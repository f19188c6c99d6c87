//! `certiseg eval`: how good a model is without an attack.

mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use certiseg_cert::{Conventions, EmptyPrecision, Grid, MiouClasses, predictions};
use certiseg_net::confusion::{Confusion, Scope};
use certiseg_net::infer::Inference;
use clap::Args;
use serde::Serialize;

pub use self::tally::Evaluated;
use self::tally::Row;
use crate::conventions::word;
use crate::fail::Usage;
use crate::interrupt;
use crate::logits::FileLogits;
use crate::output::{Format, head};
use crate::progress::Progress;
use crate::run::{Run, RunArgs};
use crate::source::{DataArgs, Item, Pictures};

/// Flags of the verb.
#[derive(Args)]
pub struct Eval {
    /// Model or training checkpoint (safetensors), with certificates or without; needs --data
    #[arg(long, conflicts_with = "logits")]
    model: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Logits from anywhere: npz with `logits` (N,K,H,W) and `labels` (N,H,W)
    #[arg(long, conflicts_with_all = ["data", "layout", "split", "size", "filter", "limit"])]
    logits: Option<PathBuf>,
    /// Precision of a class that is predicted nowhere: one (default), zero or skip
    #[arg(long, value_parser = word::<EmptyPrecision>)]
    empty_precision: Option<EmptyPrecision>,
    /// Classes of miou of an image: present (in the label, default), or union (of label and
    /// prediction). That of all images together is over the classes labelled or predicted anywhere
    #[arg(long, value_parser = word::<MiouClasses>)]
    miou: Option<MiouClasses>,
    /// The table of the confusion matrix too, pixels by label and prediction, here and after a merge
    #[arg(long)]
    confusion: bool,
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
    ignore: Option<i64>,
    limit: Option<u32>,
    images: usize,
    classes: usize,
    names: Vec<String>,
    confusion: bool,
}

impl Eval {
    /// Evaluates every image.
    pub fn run(self) -> Result<ExitCode> {
        if self.confusion && self.run.format != Format::Table && self.run.out.is_none() {
            return Err(Usage::error(
                "--confusion is a table, and standard output gets rows",
                "leave it out: rows of JSON lines have the confusion matrix always",
            ));
        }
        let mut source = Source::open(&self)?;
        if !source.labelled() {
            return Err(Usage::error(
                "there are no labels to compare with",
                "give masks, or an array `labels` (N,H,W) beside the logits",
            ));
        }
        let classes = source.classes();
        Grid::new(classes, 1, 1)?;
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
            ignore: self.data.ignore,
            limit: self.data.limit,
            images: source.all(),
            classes,
            names: self.names()?,
            confusion: self.confusion,
        };
        let conventions = Conventions {
            empty_precision: self.empty_precision.unwrap_or_default(),
            miou: self.miou.unwrap_or_default(),
            ..Conventions::default()
        };
        let mut head = head(&settings);
        head.conventions = Some(conventions);
        let mut run = Run::open(&self.run, "eval", head)?;
        source.skip(run.kept())?;
        let progress = Progress::new("eval", source.len());
        let (start, before) = (Instant::now(), run.done());
        interrupt::listen()?;
        while let Some(item) = source.next()? {
            if interrupt::asked() {
                progress.finish();
                return Ok(run.stopped());
            }
            let context = || format!("image {}", item.id);
            let predicted = predictions(item.grid, &item.logits).with_context(context)?;
            let labels = item.labels.as_deref().unwrap_or_default();
            let confusion = Confusion::of(classes, labels, &predicted).with_context(context)?;
            let figures = confusion.figures(Scope::Image, &conventions);
            run.push(&Row::new(&item.id, figures, confusion))?;
            run.image()?;
            progress.set(run.done(), "");
        }
        progress.finish();
        let images = (run.done() - before) as f64;
        let verdict = run.finish::<Row>(&[])?;
        say!(
            "speed {:.1} images/s",
            images / start.elapsed().as_secs_f64()
        );
        Ok(verdict)
    }

    /// Names of the classes, where the data has some.
    fn names(&self) -> Result<Vec<String>> {
        let Some(dir) = &self.data.data else {
            return Ok(Vec::new());
        };
        let classes = self.data.layout.classes(dir)?;
        Ok(classes.map(|classes| classes.names).unwrap_or_default())
    }
}

/// Where logits come from.
enum Source {
    Model {
        pictures: Box<Pictures>,
        pass: Box<Inference<f32>>,
    },
    File(Box<FileLogits>),
}

impl Source {
    fn open(args: &Eval) -> Result<Self> {
        let shard = args.run.shard.as_ref();
        if let Some(path) = &args.logits {
            let file = FileLogits::open(path, args.data.ignore, shard)?;
            return Ok(Source::File(Box::new(file)));
        }
        let hint = "give --model FILE with --data DIR, or --logits FILE";
        let model = args.model.as_ref();
        let model = model.ok_or_else(|| Usage::error("nothing to evaluate", hint))?;
        let pictures = Pictures::open(model, &args.data, shard)?;
        let [height, width] = pictures.size;
        let pass = Inference::new(&pictures.model.network, height, width)?;
        Ok(Source::Model {
            pictures: Box::new(pictures),
            pass: Box::new(pass),
        })
    }

    fn next(&mut self) -> Result<Option<Item>> {
        let (pictures, pass) = match self {
            Source::Model { pictures, pass } => (pictures, pass),
            Source::File(file) => return file.next(),
        };
        let Some(sample) = pictures.next()? else {
            return Ok(None);
        };
        let classes = pictures.model.network.classes();
        Ok(Some(Item {
            grid: Grid::new(classes, sample.height, sample.width)?,
            logits: pass.forward(&sample.image_f32())?.to_vec(),
            id: sample.id,
            labels: sample.mask,
            eta: 0.0,
            image: None,
            seconds: 0.0,
        }))
    }

    fn skip(&mut self, ids: &[String]) -> Result<()> {
        match self {
            Source::Model { pictures, .. } => pictures.skip(ids),
            Source::File(file) => file.skip(ids),
        }
    }

    fn all(&self) -> usize {
        match self {
            Source::Model { pictures, .. } => pictures.all,
            Source::File(file) => file.all(),
        }
    }

    fn data_hash(&self) -> String {
        match self {
            Source::Model { pictures, .. } => pictures.data_hash.clone(),
            Source::File(file) => file.hash(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Source::Model { pictures, .. } => pictures.len(),
            Source::File(file) => file.len(),
        }
    }

    fn labelled(&self) -> bool {
        match self {
            Source::Model { pictures, .. } => pictures.labelled(),
            Source::File(file) => file.labelled(),
        }
    }

    fn classes(&self) -> usize {
        match self {
            Source::Model { pictures, .. } => pictures.model.network.classes(),
            Source::File(file) => file.classes(),
        }
    }

    fn pictures(&self) -> Option<&Pictures> {
        match self {
            Source::Model { pictures, .. } => Some(pictures),
            Source::File(_) => None,
        }
    }
}
