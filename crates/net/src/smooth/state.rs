//! What a run over one image has come to: it can be stored at any sample and gone on with.
//!
//! One safetensors file with the metadata entry `certiseg`, written whole or not at all. It says what it
//! belongs to, and is refused by any other picture, model, noise or seed.

use std::collections::HashMap;
use std::path::Path;

use certiseg_cert::smoothing::{Guess, Law, Stage, Votes};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::canary::{Canary, Entered};
use super::noise::Arithmetic;
use crate::checkpoint::{read, write_whole};
use crate::data::{Sample, hex};
use crate::error::{Error, Result};

/// Version of the file.
const FORMAT: u32 = 1;

/// The metadata entry of the header.
const KEY: &str = "certiseg";

/// What votes belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Name of the image.
    pub image: String,
    /// SHA-256 of size and bytes of the picture.
    pub picture: String,
    /// Its height and width.
    pub size: [usize; 2],
    /// [`Model::identity`](super::Model::identity).
    pub model: String,
    /// The noise.
    pub law: Law,
    /// How it is added.
    pub arithmetic: Arithmetic,
    /// Its seed.
    pub seed: u64,
    /// n0.
    pub choose: usize,
    /// One stage or two.
    pub stage: Stage,
}

impl Stamp {
    /// # Errors
    /// [`Error::OtherSampling`] naming the first field that differs.
    pub(crate) fn check(&self, expected: &Stamp) -> Result<()> {
        let words = |stamp: &Stamp| {
            [
                ("image", stamp.image.clone()),
                ("picture", stamp.picture.clone()),
                ("size", format!("{:?}", stamp.size)),
                ("model", stamp.model.clone()),
                ("noise", format!("{:?}", stamp.law)),
                ("arithmetic", format!("{:?}", stamp.arithmetic)),
                ("seed", stamp.seed.to_string()),
                ("n0", stamp.choose.to_string()),
                ("stage", format!("{:?}", stamp.stage)),
            ]
        };
        for ((field, got), (_, expected)) in words(self).into_iter().zip(words(expected)) {
            if got != expected {
                return Err(Error::OtherSampling {
                    field,
                    got,
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// SHA-256 of size and bytes.
pub(super) fn digest(picture: &Sample) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}x{}\n", picture.height, picture.width));
    hash.update(&picture.image);
    hex(&hash.finalize())
}

/// Samples that were counted, and what they came to.
#[derive(Clone, Debug)]
pub struct State {
    stamp: Stamp,
    drawn: u32,
    canary: Canary,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Guess(Guess),
    Test { votes: Votes, hits: Vec<u8> },
}

impl State {
    pub(crate) fn new(stamp: Stamp) -> Self {
        let components = stamp.size[0] * stamp.size[1];
        State {
            stamp,
            drawn: 0,
            canary: Canary::default(),
            phase: Phase::Guess(Guess::new(components)),
        }
    }

    /// What it belongs to.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// All samples that were counted, those that choose too; the number of the next.
    pub fn drawn(&self) -> u32 {
        self.drawn
    }

    /// Tensors that the canary has seen.
    pub(super) fn entered(&self) -> u64 {
        self.canary.count() as u64
    }

    /// n so far: 0 while classes are chosen.
    pub fn samples(&self) -> usize {
        self.votes().map_or(0, Votes::samples)
    }

    /// The votes so far; `None` while classes are chosen.
    pub fn votes(&self) -> Option<&Votes> {
        match &self.phase {
            Phase::Guess(_) => None,
            Phase::Test { votes, .. } => Some(votes),
        }
    }

    /// How many of the samples that choose chose the class of each component: what a screening may look at.
    pub fn hits(&self) -> Option<&[u8]> {
        match &self.phase {
            Phase::Guess(_) => None,
            Phase::Test { hits, .. } => Some(hits),
        }
    }

    /// Takes the next sample; of an error nothing is kept but hashes.
    pub(crate) fn take(&mut self, sample: u32, labels: &[u8], hashes: &[u64]) -> Result<()> {
        for (view, hash) in (0..).zip(hashes) {
            self.canary.enter(*hash, Entered { sample, view })?;
        }
        match &mut self.phase {
            Phase::Guess(guess) => guess.add(labels)?,
            Phase::Test { votes, .. } => votes.add(labels)?,
        }
        self.drawn += 1;
        if self.drawn as usize == self.stamp.choose {
            self.choose()?;
        }
        Ok(())
    }

    fn choose(&mut self) -> Result<()> {
        let Phase::Guess(guess) = &mut self.phase else {
            return Ok(());
        };
        let guessed = std::mem::replace(guess, Guess::new(0)).finish()?;
        let hits = guessed.hits().to_vec();
        let votes = match self.stamp.stage {
            Stage::Two => guessed.two_stage(),
            Stage::Single { .. } => guessed.single_stage(),
        };
        self.phase = Phase::Test { votes, hits };
        Ok(())
    }

    /// Stores it.
    ///
    /// # Errors
    /// [`Error::Write`]; the file is then as it was.
    pub fn save(&self, path: &Path) -> Result<()> {
        let broken = |reason: String| Error::not_a_checkpoint(reason).in_file(path);
        let hashes = self.canary.hashes();
        let mut tensors = vec![
            column(
                "hashes",
                Dtype::U64,
                hashes.iter().map(|(hash, _)| hash.to_le_bytes()),
            ),
            column(
                "samples",
                Dtype::U32,
                hashes.iter().map(|(_, from)| from.sample.to_le_bytes()),
            ),
            column(
                "views",
                Dtype::U32,
                hashes.iter().map(|(_, from)| from.view.to_le_bytes()),
            ),
        ];
        match &self.phase {
            Phase::Guess(guess) => {
                tensors.push(column(
                    "maps",
                    Dtype::U8,
                    guess.maps().flatten().map(|l| [l]),
                ));
            }
            Phase::Test { votes, hits } => {
                let counts = (0..votes.len()).map(|i| (votes.count(i) as u32).to_le_bytes());
                tensors.push(column("counts", Dtype::U32, counts));
                tensors.push(column(
                    "classes",
                    Dtype::U8,
                    votes.classes().iter().map(|c| [*c]),
                ));
                tensors.push(column("hits", Dtype::U8, hits.iter().map(|hit| [*hit])));
            }
        }
        let views: std::result::Result<Vec<_>, _> = tensors
            .iter()
            .map(|(name, dtype, length, bytes)| {
                Ok((*name, TensorView::new(*dtype, vec![*length], bytes)?))
            })
            .collect();
        let header = Header {
            format: FORMAT,
            stamp: self.stamp.clone(),
            drawn: self.drawn,
            checksum: checksum(&self.stamp, self.drawn, |name| {
                let column = tensors.iter().find(|column| column.0 == name);
                column.map(|column| &column.3[..])
            })?,
        };
        let text = serde_json::to_string(&header).map_err(|error| broken(error.to_string()))?;
        let metadata = HashMap::from([(KEY.to_owned(), text)]);
        let content = views
            .and_then(|views| safetensors::serialize(views, Some(metadata)))
            .map_err(|error| broken(error.to_string()))?;
        write_whole(path, &content)
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// [`Error::Unreadable`]; [`Error::File`] naming the file and what is wrong in it.
    pub fn load(path: &Path) -> Result<State> {
        parse(&read(path)?).map_err(|error| error.in_file(path))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    stamp: Stamp,
    drawn: u32,
    checksum: String,
}

/// The arrays of the file.
const COLUMNS: [&str; 7] = [
    "hashes", "samples", "views", "maps", "counts", "classes", "hits",
];

/// SHA-256 of all that is there: a wrong bit of a count would be a wrong certificate.
fn checksum<'b>(
    stamp: &Stamp,
    drawn: u32,
    bytes_of: impl Fn(&str) -> Option<&'b [u8]>,
) -> Result<String> {
    let header = serde_json::to_string(&(stamp, drawn));
    let header = header.map_err(|error| Error::TornSampling {
        what: error.to_string(),
    })?;
    let mut hash = Sha256::new();
    hash.update(header);
    for name in COLUMNS {
        if let Some(bytes) = bytes_of(name) {
            hash.update(format!("{name} {}\n", bytes.len()));
            hash.update(bytes);
        }
    }
    Ok(hex(&hash.finalize()))
}

/// Most pixels of a picture: a header may claim any size.
const PIXELS: usize = 1 << 31;

/// Name, type, length and bytes.
type Column = (&'static str, Dtype, usize, Vec<u8>);

fn column<const N: usize>(
    name: &'static str,
    dtype: Dtype,
    values: impl Iterator<Item = [u8; N]>,
) -> Column {
    let bytes: Vec<u8> = values.flatten().collect();
    (name, dtype, bytes.len() / N, bytes)
}

fn parse(bytes: &[u8]) -> Result<State> {
    let torn = |what: String| Error::TornSampling { what };
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| torn(error.to_string()))?;
    let text = metadata.metadata().as_ref().and_then(|all| all.get(KEY));
    let text = text.ok_or_else(|| torn(format!("no metadata entry `{KEY}`")))?;
    let Header {
        format,
        stamp,
        drawn,
        checksum: expected,
    } = serde_json::from_str(text).map_err(|error| torn(format!("its header: {error}")))?;
    if format != FORMAT {
        return Err(Error::Format {
            got: format.to_string(),
            expected: FORMAT.to_string(),
        });
    }
    if !(1..=255).contains(&stamp.choose) {
        return Err(torn(format!("n0 is {}, expected 1 to 255", stamp.choose)));
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| torn(error.to_string()))?;
    let got = checksum(&stamp, drawn, |name| {
        let tensor = tensors.tensor(name).ok();
        tensor.map(|tensor| tensor.data())
    })?;
    if got != expected {
        return Err(torn("its checksum differs".into()));
    }
    let column = |name: &str, dtype: Dtype, length: usize| -> Result<Vec<u8>> {
        let tensor = tensors.tensor(name);
        let tensor = tensor.map_err(|_| Error::tensor(name.into(), "missing".into()))?;
        let (got, shape) = (tensor.dtype(), tensor.shape());
        if got != dtype || shape != [length] {
            let what = format!("{got:?} {shape:?}, expected {dtype:?} [{length}]");
            return Err(Error::tensor(name.into(), what));
        }
        Ok(tensor.data().to_vec())
    };
    let words = |bytes: Vec<u8>| -> Vec<u32> {
        let words = bytes.as_chunks().0.iter();
        words.map(|word| u32::from_le_bytes(*word)).collect()
    };
    let pixels = stamp.size[0].saturating_mul(stamp.size[1]);
    if pixels > PIXELS {
        return Err(torn(format!("a picture of {pixels} pixels")));
    }
    let mut state = State::new(stamp);
    state.drawn = drawn;
    let entered = tensors
        .tensor("hashes")
        .map_or(0, |hashes| hashes.data().len() / 8);
    let hashes = column("hashes", Dtype::U64, entered)?;
    let samples = words(column("samples", Dtype::U32, entered)?);
    let views = words(column("views", Dtype::U32, entered)?);
    for (i, hash) in hashes.as_chunks().0.iter().enumerate() {
        let (sample, view) = (samples[i], views[i]);
        let from = Entered { sample, view };
        state.canary.enter(u64::from_le_bytes(*hash), from)?;
    }
    let (drawn, choose) = (drawn as usize, state.stamp.choose);
    if let Phase::Guess(guess) = &mut state.phase
        && drawn < choose
    {
        let maps = column("maps", Dtype::U8, drawn.saturating_mul(pixels))?;
        for map in maps.chunks_exact(pixels.max(1)) {
            guess.add(map)?;
        }
        return Ok(state);
    }
    let tested = match state.stamp.stage {
        Stage::Two => drawn - choose,
        Stage::Single { .. } => drawn,
    };
    let classes = column("classes", Dtype::U8, pixels)?;
    let counts = words(column("counts", Dtype::U32, pixels)?);
    let hits = column("hits", Dtype::U8, pixels)?;
    let votes = Votes::from_counts(classes, &counts, tested)?;
    state.phase = Phase::Test { votes, hits };
    Ok(state)
}
