//! Where images come from: a model and a data set; what an image is to the judge.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_cert::Grid;
use certiseg_net::checkpoint::{Model, load_model};
use certiseg_net::data::{Entry, Filter, Layout, LoadSettings, Sample, list, load};
use certiseg_net::rng::Rng;
use certiseg_net::smooth::image_numbers;
use clap::Args;

use crate::fail::Usage;
use crate::shard::Shard;

/// Largest side of a picture.
const LARGEST: usize = 1 << 14;
/// Pictures decoded at a time, in parallel.
const CHUNK: usize = 16;

/// A data set on disk.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Folder of the data set
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// kvasir, pets, camvid, cityscapes, voc, context, folder, or images (without masks)
    #[arg(long, default_value = "folder")]
    pub layout: Layout,
    /// Name of the split: SPLIT.txt or a sub-folder; without it, all images
    #[arg(long)]
    pub split: Option<String>,
    /// Size of the network's input, HEIGHTxWIDTH; by default that of its training
    #[arg(long, value_parser = size)]
    pub size: Option<[usize; 2]>,
    /// How pictures are resized: nearest or bilinear (antialiased); by default that of the training
    #[arg(long)]
    pub filter: Option<Filter>,
    /// Label of pixels that do not count, instead of 255 or what the data says of itself
    #[arg(long, allow_negative_numbers = true)]
    pub ignore: Option<i64>,
    /// Use the first N images only
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// Checks that the data, where it says how many classes it has, has those of the network.
pub fn check_classes(layout: Layout, dir: &Path, classes: usize) -> Result<()> {
    match layout.classes(dir)? {
        Some(known) if known.count != classes => {
            let message = format!(
                "the data has {} classes, the network {classes}",
                known.count
            );
            Err(Usage::error(
                message,
                "use a network and data of the same classes",
            ))
        }
        _ => Ok(()),
    }
}

/// Reads `256x512` or `256`.
pub fn size(text: &str) -> Result<[usize; 2], String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let side = |side: &str| match side.parse() {
        Ok(side) if (1..=LARGEST).contains(&side) => Ok(side),
        _ => Err(format!(
            "{text:?} is no size, expected HEIGHTxWIDTH of 1 to 16384, for example 256x512"
        )),
    };
    Ok([side(height)?, side(width)?])
}

/// The tensor in which budgets of pictures of this size are measured.
pub fn pixels(height: usize, width: usize) -> String {
    format!("[0,1] pixel space of the resized picture, 3x{height}x{width}")
}

/// A model together with labelled pictures, decoded as they are asked for.
pub struct Pictures {
    /// The model.
    pub model: Model,
    /// Of its file, so that rows of two models do not become one.
    pub hash: String,
    /// Of the names of all pictures and the sizes of their files, so that rows of two data sets do
    /// not become one.
    pub data_hash: String,
    /// Height and width of the pictures.
    pub size: [usize; 2],
    /// How they are resized.
    pub filter: Filter,
    /// Pictures of the data set, those of other processes too.
    pub all: usize,
    /// Their names.
    names: Vec<String>,
    entries: Vec<Entry>,
    next: usize,
    ready: VecDeque<Sample>,
}

impl Pictures {
    /// Reads the model and lists the data, or a part of it.
    pub fn open(model: &Path, args: &DataArgs, shard: Option<&Shard>) -> Result<Self> {
        let (path, model) = (model, load_model(model)?);
        let Some(dir) = &args.data else {
            let hint = "give --data DIR with the images to run the model on";
            return Err(Usage::error("a model, but no data", hint));
        };
        let trained = model.origin.as_ref().map(|origin| &origin.settings);
        let size = args.size.or(trained.map(|t| [t.height, t.width]));
        let Some(size) = size else {
            let hint = "give --size HEIGHTxWIDTH";
            return Err(Usage::error("the model does not say its input size", hint));
        };
        let filter = args.filter.or(trained.map(|t| t.data.filter));
        let mut entries = list(dir, args.layout, args.split.as_deref())?;
        check_classes(args.layout, dir, model.network.classes())?;
        if let Some(label) = args.ignore {
            let Ok(label) = u8::try_from(label) else {
                let hint = "masks hold 0 to 255; give one of these";
                return Err(Usage::error(format!("--ignore {label} for masks"), hint));
            };
            entries.iter_mut().for_each(|entry| entry.ignore = label);
        }
        entries.truncate(args.limit.map_or(usize::MAX, |limit| limit as usize));
        let all = entries.len();
        let data_hash = listing_hash(&entries)?;
        let names = entries.iter().map(|entry| entry.id.clone()).collect();
        if let Some(shard) = shard {
            let mut index = 0..;
            entries.retain(|_| index.next().is_some_and(|index| shard.has(index)));
        }
        Ok(Self {
            hash: file_hash(path)?,
            data_hash,
            model,
            size,
            filter: filter.unwrap_or(Filter::Bilinear),
            all,
            names,
            entries,
            next: 0,
            ready: VecDeque::new(),
        })
    }

    /// Whether every picture has a mask.
    pub fn labelled(&self) -> bool {
        self.entries.iter().all(|entry| entry.mask.is_some())
    }

    /// An error where the noise of two pictures would be the same, those of other processes too.
    pub fn check_numbers(&self) -> Result<()> {
        image_numbers(self.names.iter().map(String::as_str))?;
        Ok(())
    }

    /// A picture that is in both.
    pub fn shared<'p>(&'p self, other: &Pictures) -> Option<&'p String> {
        let others: HashSet<&String> = other.names.iter().collect();
        self.names.iter().find(|name| others.contains(name))
    }

    /// Names of the pictures of this process that are still to come.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        let left = &self.entries[self.next..];
        left.iter().map(|entry| entry.id.as_str())
    }

    /// Leaves the first pictures out: their rows are there.
    pub fn skip(&mut self, ids: &[String]) -> Result<()> {
        self.next = skip(ids, self.entries.iter().map(|entry| &entry.id))?;
        Ok(())
    }

    /// Number of pictures to look at.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The next picture with its labels.
    pub fn next(&mut self) -> Result<Option<Sample>> {
        if self.ready.is_empty() {
            let end = self.entries.len().min(self.next + CHUNK);
            let [height, width] = self.size;
            let settings = LoadSettings {
                height,
                width,
                filter: self.filter,
                classes: self.model.network.classes(),
            };
            self.ready = load(&self.entries[self.next..end], &settings, &|_, _| {})?.into();
            self.next = end;
        }
        Ok(self.ready.pop_front())
    }
}

/// Of the bytes of a file.
pub fn file_hash(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path);
    let bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hash(&bytes))
}

/// Of anything, as text (FNV-1a, against accidents only).
pub fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", Rng::hash(bytes))
}

/// Of names and sizes: to read all pictures in each process would take too long.
fn listing_hash(entries: &[Entry]) -> Result<String> {
    let mut text = String::new();
    for entry in entries {
        text += &format!("{:?}", entry.id);
        for path in [Some(&entry.image), entry.mask.as_ref()] {
            let size = path.map(std::fs::metadata).transpose();
            let size = size.with_context(|| format!("cannot read a file of {}", entry.id))?;
            text += &format!(" {:?}", size.map(|file| file.len()));
        }
    }
    Ok(hash(text.as_bytes()))
}

/// How many of the images are there already; an error where they are not the first ones.
pub fn skip<'a>(there: &[String], mut images: impl Iterator<Item = &'a String>) -> Result<usize> {
    for id in there {
        let expected = images.next();
        if expected != Some(id) {
            let expected = expected.map_or("none is left", |id| id);
            let message =
                format!("the rows that are there go on with image {id}, the data with {expected}");
            let hint = "give the data of that run, or leave --resume out to begin anew";
            return Err(Usage::error(message, hint));
        }
    }
    Ok(there.len())
}

/// One image as the judge sees it.
pub struct Item {
    /// Name or index.
    pub id: String,
    /// Classes, height, width.
    pub grid: Grid,
    /// (K, H, W).
    pub logits: Vec<f32>,
    /// (H, W), 255 = void.
    pub labels: Option<Vec<u8>>,
    /// Error bound of the logits.
    pub eta: f64,
    /// (3, H, W), where there is a picture.
    pub image: Option<Vec<u8>>,
    /// Wall time of the passes; 0 for logits of others.
    pub seconds: f64,
}
