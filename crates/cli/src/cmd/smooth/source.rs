//! Where votes come from, image by image.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_cert::smoothing::{
    ABSTAIN, Canary, Decision, Family, FloatingPoint, Guess, PathVotes, Sampling, Stage, Votes,
};
use certiseg_net::data::{LabelMaps, VoteFile, checksums, read_labels};

use super::hybrid::HybridRow;
use super::network::Network;
use super::test::{CHOOSE, Test, hinted};
use crate::fail::Usage;
use crate::progress::Progress;
use crate::shard::Shard;
use crate::source::{hash, skip};

/// What a hierarchy must know.
const CLASSES: &str = "give a hierarchy that names a node for every class of the samples";

/// Votes about one image.
pub struct Counted<'a> {
    /// Name of the image.
    pub id: String,
    /// (pixels) or (height, width).
    pub shape: Vec<usize>,
    /// Columns, where they are known.
    pub width: Option<usize>,
    /// Classes, or 255.
    pub labels: Option<Vec<u8>>,
    /// What is certified of: all components and their counts; of a hierarchy its leaves.
    pub votes: Votes,
    /// Votes for the nodes above.
    pub paths: Option<PathVotes<'a>>,
    /// Components that a screening has picked.
    pub screened: Option<Vec<bool>>,
    /// Label maps that equal an earlier one, where these are suspiciously many.
    pub repeated: usize,
    /// How the votes came about.
    pub sampling: Sampling,
    /// What looks before the last sample have certified.
    pub looked: Option<Looked>,
    /// Rows of mean logits.
    pub hybrid: Vec<HybridRow>,
}

/// What all looks at an image together have certified.
pub struct Looked {
    /// Classes, or abstentions.
    pub classes: Vec<u8>,
    /// That of the last look.
    pub decision: Decision,
}

impl Looked {
    /// After a look.
    pub fn new(classes: Vec<u8>, decision: Decision) -> Self {
        Looked { classes, decision }
    }

    /// Certified components.
    pub fn certified(&self) -> usize {
        self.classes.iter().filter(|c| **c != ABSTAIN).count()
    }
}

/// Where votes come from.
pub enum Source {
    /// A model with pictures.
    Network(Box<Network>),
    /// Label maps, an archive for each image.
    Samples(Files),
    /// Votes counted elsewhere, an archive for each image.
    Votes(Files),
}

/// An archive for each image, and perhaps one for its labels.
pub struct Files {
    /// (name, archive, labels), of this process.
    files: Vec<(String, PathBuf, Option<PathBuf>)>,
    next: usize,
    /// Images, those of other processes too.
    all: usize,
    /// Of the archives' own checksums.
    hash: String,
    /// Label of pixels that do not count.
    ignore: i64,
}

impl Source {
    /// Images in all.
    pub fn all(&self) -> usize {
        match self {
            Source::Network(network) => network.pictures().all,
            Source::Samples(files) | Source::Votes(files) => files.all,
        }
    }

    /// Images of this process.
    pub fn len(&self) -> usize {
        match self {
            Source::Network(network) => network.pictures().len(),
            Source::Samples(files) | Source::Votes(files) => files.files.len(),
        }
    }

    /// So that rows of two data sets do not become one.
    pub fn data_hash(&self) -> &str {
        match self {
            Source::Network(network) => &network.pictures().data_hash,
            Source::Samples(files) | Source::Votes(files) => &files.hash,
        }
    }

    /// Leaves the first images out: their rows are there.
    pub fn skip(&mut self, ids: &[String]) -> Result<()> {
        match self {
            Source::Network(network) => network.skip(ids)?,
            Source::Samples(files) | Source::Votes(files) => {
                files.next = skip(ids, files.files.iter().map(|(id, ..)| id))?;
            }
        }
        Ok(())
    }

    /// Progress of images, or of the samples of a model.
    pub fn progress(&self, done: usize) -> Progress {
        match self {
            Source::Network(network) => {
                let all = network.samples();
                let before = done * all.checked_div(self.len()).unwrap_or(0);
                Progress::from("smooth", " samples", before, all)
            }
            _ => Progress::new("smooth", self.len()),
        }
    }

    /// The next image; none too where Ctrl-C has stopped a model within one.
    pub fn next<'a>(&mut self, test: &'a Test, progress: &Progress) -> Result<Option<Counted<'a>>> {
        let (files, read): (_, fn(_, _, _) -> _) = match self {
            Source::Network(network) => return network.next(test, progress),
            Source::Samples(files) => (files, counted),
            Source::Votes(files) => (files, votes),
        };
        let Some((id, path, labels)) = files.files.get(files.next) else {
            return Ok(None);
        };
        files.next += 1;
        let image: Result<Counted> = read(test, (id, path), files.ignore);
        let mut image = image.with_context(|| format!("image {id}"))?;
        if let Some(path) = labels {
            let read = read_labels(path, image.votes.len(), files.ignore);
            let (shape, labels) = read.with_context(|| format!("labels of image {id}"))?;
            fits(&image.shape, &shape).with_context(|| format!("labels of image {id}"))?;
            image.width = width(&image.shape, Some(&shape));
            image.labels = Some(labels);
        }
        progress.set(files.next, "");
        Ok(Some(image))
    }

    /// The rows of an image are written.
    pub fn written(&mut self, id: &str) {
        if let Source::Network(network) = self {
            network.written(id);
        }
    }

    /// The rows of all images are.
    pub fn finished(&self) {
        if let Source::Network(network) = self {
            network.finished();
        }
    }
}

impl Files {
    /// Looks into all archives, and keeps those of a shard. `labels` are one for each, or none.
    pub fn open(
        paths: &[PathBuf],
        labels: &[PathBuf],
        ignore: i64,
        shard: Option<&Shard>,
    ) -> Result<Self> {
        if !labels.is_empty() && labels.len() != paths.len() {
            return Err(Usage::error(
                format!(
                    "{} files of labels for {} images",
                    labels.len(),
                    paths.len()
                ),
                "give one for each image, in the same order, or put `labels` into its archive",
            ));
        }
        let mut known = BTreeSet::new();
        let mut text = String::new();
        let mut files = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let stem = path.file_stem().unwrap_or_default();
            let id = stem.to_string_lossy().into_owned();
            if !known.insert(id.clone()) {
                let message = format!("two files are called {id}");
                let hint = "rename one: the name of a file is that of its image";
                return Err(Usage::error(message, hint));
            }
            let beside = labels.get(index);
            for path in [Some(path), beside].into_iter().flatten() {
                text += &format!("{id:?} {}", checksums(path)?);
            }
            if shard.is_none_or(|shard| shard.has(index)) {
                files.push((id, path.clone(), beside.cloned()));
            }
        }
        Ok(Files {
            files,
            next: 0,
            all: paths.len(),
            hash: hash(text.as_bytes()),
            ignore,
        })
    }
}

/// An error where both have rows, and others: as many pixels in all do not make them one picture.
fn fits(maps: &[usize], labels: &[usize]) -> Result<()> {
    if maps.len() == 2 && labels.len() == 2 && maps != labels {
        let message = format!("labels of the shape {labels:?} for maps of {maps:?}");
        return Err(Usage::error(message, "give labels of the same rows"));
    }
    Ok(())
}

/// Columns of a picture: (height, width) of its maps, or of its labels.
fn width(shape: &[usize], labels: Option<&[usize]>) -> Option<usize> {
    let of = |shape: &[usize]| match shape {
        [_, width] => Some(*width),
        _ => None,
    };
    of(shape).or(labels.and_then(of))
}

fn sampling(test: &Test, choose: usize, samples: usize) -> Sampling {
    let forwards = match test.procedure.stage {
        Stage::Two => choose.saturating_add(samples),
        Stage::Single { .. } => samples,
    };
    Sampling {
        law: test.law,
        unit: test.unit.clone(),
        choose,
        samples,
        forwards: forwards as u64,
        seed: None,
        family: test.family,
        floating_point: FloatingPoint::Modulo,
        distance: 0.0,
        canary: Canary::NotRun,
    }
}

/// Label maps, read and counted one by one; only those that choose a path in a hierarchy are kept.
fn counted<'a>(test: &'a Test, (id, path): (&str, &Path), ignore: i64) -> Result<Counted<'a>> {
    let mut maps = LabelMaps::open(path, ignore)?;
    let rows = maps.len();
    let shape = maps.shape().to_vec();
    let labels = maps.labels();
    if let Some((labels, _)) = labels {
        fits(&shape, labels)?;
    }
    let columns = width(&shape, labels.map(|(shape, _)| shape));
    let labels = labels.map(|(_, labels)| labels.to_vec());
    let single = test.procedure.stage != Stage::Two;
    let n0 = match test.n0 {
        None if single => rows.min(CHOOSE),
        Some(0) => rows.min(255),
        n0 => n0.unwrap_or(CHOOSE),
    };
    if n0 > rows || n0 == rows && !single {
        return Err(Usage::error(
            format!("--n0 {n0} of {rows} samples leaves none to test"),
            "give a smaller --n0, more samples, or --single-stage",
        ));
    }
    let mut screened = None;
    let mut paths = None;
    let votes = if let Some(hierarchy) = &test.hierarchy {
        let chosen: Vec<Vec<u8>> = (0..n0)
            .filter_map(|_| maps.next_map().transpose())
            .collect::<Result<_, _>>()?;
        let chosen: Vec<&[u8]> = chosen.iter().map(Vec::as_slice).collect();
        let mut counts = PathVotes::new(hierarchy, hinted(hierarchy.choose(&chosen), CLASSES)?)?;
        drop(chosen);
        while let Some(map) = maps.next_map()? {
            hinted(counts.add(&map), CLASSES)?;
        }
        let leaves = counts.of_classes();
        paths = Some(counts);
        leaves.context("a hierarchy of one class, which leaves nothing to tell apart")?
    } else {
        let mut guess = Guess::new(shape.iter().product());
        for _ in 0..n0 {
            if let Some(map) = maps.next_map()? {
                guess.add(&map)?;
            }
        }
        let mut votes = match (single, test.family) {
            (true, _) => guess.finish()?.single_stage(),
            (false, Family::Screened) => {
                let guessed = guess.finish()?;
                screened = Some(guessed.screened(test.screen));
                guessed.two_stage()
            }
            (false, _) => guess.two_stage()?,
        };
        while let Some(map) = maps.next_map()? {
            votes.add(&map)?;
        }
        votes
    };
    let mut sampling = sampling(test, n0, votes.samples());
    if maps.repeated() > 0 {
        sampling.canary = Canary::RepeatedMaps;
    }
    Ok(Counted {
        id: id.into(),
        width: columns,
        shape,
        labels,
        sampling,
        votes,
        paths,
        screened,
        repeated: maps.repeated(),
        looked: None,
        hybrid: Vec::new(),
    })
}

/// Votes as they are.
fn votes<'a>(test: &'a Test, (id, path): (&str, &Path), ignore: i64) -> Result<Counted<'a>> {
    if test.family == Family::Screened || test.hierarchy.is_some() {
        return Err(Usage::error(
            "--family screened and --hierarchy need the samples, not their votes",
            "give --samples, or leave them out",
        ));
    }
    let file = VoteFile::read(path, ignore)?;
    if let Some((labels, _)) = &file.labels {
        fits(&file.shape, labels)?;
    }
    let columns = width(
        &file.shape,
        file.labels.as_ref().map(|(shape, _)| &shape[..]),
    );
    let hint =
        "counts are those of the samples that test: leave those that chose the classes out of both";
    let votes = hinted(
        Votes::from_counts(file.classes, &file.counts, file.samples),
        hint,
    )?;
    Ok(Counted {
        id: id.into(),
        width: columns,
        shape: file.shape,
        labels: file.labels.map(|(_, labels)| labels),
        sampling: sampling(test, test.n0.unwrap_or(0), votes.samples()),
        votes,
        paths: None,
        screened: None,
        repeated: 0,
        looked: None,
        hybrid: Vec::new(),
    })
}
