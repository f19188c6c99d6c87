//! Logits of others, image by image: the name of an image is its index.

use std::path::Path;

use anyhow::Result;
use certiseg_cert::Grid;
use certiseg_net::data::LogitsFile;

use crate::fail::Usage;
use crate::shard::Shard;
use crate::source::{Item, hash, skip};

/// The images of an npz file that a process is to look at.
pub struct FileLogits {
    file: LogitsFile,
    /// Images in the file.
    all: usize,
    /// Index of the next image of the file.
    next: usize,
    /// Images from here on that are there already.
    skipped: usize,
    shard: Shard,
}

impl FileLogits {
    /// Opens the file; `ignore` is the label of pixels that do not count.
    pub fn open(path: &Path, ignore: Option<i64>, shard: Option<&Shard>) -> Result<Self> {
        let file = LogitsFile::open(path, ignore.unwrap_or(255))?;
        Ok(Self {
            all: file.len(),
            file,
            next: 0,
            skipped: 0,
            shard: shard.cloned().unwrap_or_else(Shard::whole),
        })
    }

    /// The next image; its `eta` is what the conversion to f32 adds to the error of the logits.
    pub fn next(&mut self) -> Result<Option<Item>> {
        // images of others are read too: the file's checksums are known at its end
        while let Some(image) = self.file.next().transpose()? {
            let index = self.next;
            self.next += 1;
            if !self.shard.has(index) {
                continue;
            }
            if self.skipped > 0 {
                self.skipped -= 1;
                continue;
            }
            if image.rounding == f64::INFINITY {
                return Err(Usage::error(
                    format!("a logit of image {index} is beyond float32"),
                    "divide logits, --lipschitz and --eta by the same number",
                ));
            }
            let [classes, height, width] = self.file.shape();
            return Ok(Some(Item {
                id: index.to_string(),
                grid: Grid::new(classes, height, width)?,
                logits: image.logits,
                labels: image.labels,
                eta: image.rounding,
                image: None,
                seconds: 0.0,
            }));
        }
        Ok(None)
    }

    /// Leaves the first images out: their rows are there.
    pub fn skip(&mut self, ids: &[String]) -> Result<()> {
        let indices = (0..self.all).filter(|&index| self.shard.has(index));
        let indices: Vec<_> = indices.map(|index| index.to_string()).collect();
        self.skipped = skip(ids, indices.iter())?;
        Ok(())
    }

    /// Images to look at.
    pub fn len(&self) -> usize {
        self.shard.count(self.all)
    }

    /// Images in the file.
    pub fn all(&self) -> usize {
        self.all
    }

    /// Whether there are labels.
    pub fn labelled(&self) -> bool {
        self.file.has_labels()
    }

    /// Of the archive's checksums, so that rows of two files do not become one.
    pub fn hash(&self) -> String {
        hash(self.file.checksums().as_bytes())
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.file.shape()[0]
    }
}
