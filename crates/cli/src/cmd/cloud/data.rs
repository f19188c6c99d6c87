//! Where clouds come from: a folder, ShapeNet part, or nowhere, as they are generated.

use std::path::PathBuf;

use anyhow::{Context, Result};
use certiseg_net::cloud::shapenet::{Listed, Resample, ShapeNet};
use certiseg_net::cloud::{Catalogue, Cloud, read_cloud, read_folder, shapenet, shapes};
use certiseg_net::data::checksums;
use certiseg_net::smooth::image_numbers;
use clap::Args;
use serde::Serialize;

use crate::fail::Usage;
use crate::shard::Shard;
use crate::source::{hash, skip};

/// Flags of the clouds.
#[derive(Args, Clone, Debug, Serialize)]
pub struct CloudArgs {
    /// Folder with catalogue.json and an npz for each cloud, as `certiseg cloud shapes` makes it
    #[arg(long, conflicts_with_all = ["shapenet", "generate"])]
    data: Option<PathBuf>,
    /// Folder of ShapeNet part (…_v0_normal) as it is downloaded
    #[arg(long, conflicts_with = "generate")]
    shapenet: Option<PathBuf>,
    /// Split of ShapeNet part: train, val or test
    #[arg(long, conflicts_with_all = ["data", "generate"])]
    split: Option<String>,
    /// So many generated shapes, as `certiseg cloud shapes` makes them
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    generate: Option<u32>,
    /// Seed of generated shapes, and of the points that are drawn of those of ShapeNet
    #[arg(long, default_value_t = 0, conflicts_with = "data")]
    data_seed: u64,
    /// Points of a cloud that is generated; of one of ShapeNet they are drawn, with replacement
    #[arg(long, default_value_t = 2048, conflicts_with = "data", value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    points: u32,
    /// Generated shapes are turned about z by any angle
    #[arg(long, conflicts_with_all = ["data", "shapenet"])]
    turned: bool,
    /// Use every K-th cloud, from the first on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Use the first N of these only
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// Clouds to come.
pub struct Clouds {
    /// Categories and parts.
    pub catalogue: Catalogue,
    /// Clouds of all processes.
    pub all: usize,
    /// Of their names and what they are made of.
    pub hash: String,
    entries: Vec<(String, Entry)>,
    next: usize,
}

enum Entry {
    File(PathBuf),
    Listed(Listed, Resample),
    Generated {
        seed: u64,
        index: u32,
        points: usize,
        turned: bool,
    },
}

impl CloudArgs {
    /// Lists the clouds, those of a shard.
    pub fn open(&self, shard: Option<&Shard>) -> Result<Clouds> {
        let (catalogue, entries) = self.list()?;
        let entries = entries.into_iter().step_by(self.every as usize);
        let most = self.limit.map_or(usize::MAX, |limit| limit as usize);
        let entries: Vec<_> = entries.take(most).collect();
        // the noise of two clouds may not be the same
        image_numbers(entries.iter().map(|(id, _)| id.as_str()))?;
        let mut text = String::new();
        for (id, entry) in &entries {
            text += &format!("{id:?} {}\n", entry.content()?);
        }
        let all = entries.len();
        let own = |index: &usize| shard.is_none_or(|shard| shard.has(*index));
        let entries = entries.into_iter().enumerate();
        Ok(Clouds {
            catalogue,
            all,
            hash: hash(text.as_bytes()),
            entries: entries
                .filter(|(index, _)| own(index))
                .map(|(_, entry)| entry)
                .collect(),
            next: 0,
        })
    }

    fn list(&self) -> Result<(Catalogue, Vec<(String, Entry)>)> {
        let points = self.points as usize;
        if let Some(dir) = &self.data {
            let (catalogue, paths) = read_folder(dir)?;
            let entry = |path: PathBuf| {
                let stem = path.file_stem().unwrap_or_default();
                (stem.to_string_lossy().into_owned(), Entry::File(path))
            };
            return Ok((catalogue, paths.into_iter().map(entry).collect()));
        }
        if let Some(dir) = &self.shapenet {
            let shapenet = ShapeNet::open(dir)?;
            // no default: nobody should train on test by leaving it out
            let Some(split) = &self.split else {
                let hint = "give --split train, val or test";
                return Err(Usage::error("--shapenet without --split", hint));
            };
            let listed = shapenet.split(split)?;
            let seed = self.data_seed;
            let entry = |listed: Listed| {
                let resample = Resample { points, seed };
                (listed.id.clone(), Entry::Listed(listed, resample))
            };
            return Ok((
                shapenet::catalogue(),
                listed.into_iter().map(entry).collect(),
            ));
        }
        let Some(count) = self.generate else {
            let hint = "give --data DIR, --shapenet DIR or --generate N";
            return Err(Usage::error("no clouds", hint));
        };
        let (seed, turned) = (self.data_seed, self.turned);
        let entry = |index| {
            let entry = Entry::Generated {
                seed,
                index,
                points,
                turned,
            };
            (shapes::name(index), entry)
        };
        Ok((shapes::catalogue(), (0..count).map(entry).collect()))
    }
}

impl Entry {
    /// So that rows of two data sets do not become one.
    fn content(&self) -> Result<String> {
        Ok(match self {
            Entry::File(path) => checksums(path)?,
            Entry::Listed(listed, resample) => format!("{} {resample:?}", listed.size()?),
            Entry::Generated {
                seed,
                points,
                turned,
                ..
            } => format!("{seed} {points} {turned}"),
        })
    }
}

impl Clouds {
    /// Clouds of this process.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Their names, those to come.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.entries[self.next..].iter().map(|(id, _)| id.as_str())
    }

    /// Leaves the first ones out: their rows are there.
    pub fn skip(&mut self, ids: &[String]) -> Result<()> {
        self.next = skip(ids, self.entries.iter().map(|(id, _)| id))?;
        Ok(())
    }

    /// The next one.
    pub fn next(&mut self) -> Result<Option<Cloud>> {
        let Some((id, entry)) = self.entries.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let cloud = match entry {
            Entry::File(path) => read_cloud(path, &self.catalogue),
            Entry::Listed(listed, resample) => listed.load(Some(*resample)),
            Entry::Generated {
                seed,
                index,
                points,
                turned,
            } => shapes::shape(*seed, *index, *points, *turned).map(|shape| shape.cloud),
        };
        Ok(Some(cloud.with_context(|| format!("cloud {id}"))?))
    }
}
