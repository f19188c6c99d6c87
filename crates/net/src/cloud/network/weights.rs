//! Weights of a network by name, from a file or at random.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::layer::{Layer, Mlp, Norm, Plain};
use super::plan::{AXES, Kind, Settings, Slot};
use crate::checkpoint::{read, write_whole};
use crate::data::hex;
use crate::error::{Error, Result};
use crate::infer::Number;
use crate::rng::Rng;

/// Weights of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    settings: Settings,
    tensors: BTreeMap<String, Vec<f32>>,
}

/// What the files of PyTorch programs count and no pass reads.
const COUNTER: &str = ".num_batches_tracked";

/// Key of the random stream of start values.
const START: u64 = 11;

/// Tensors of a normalisation: factor, what is added, running mean, running variance.
const NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

impl Slot {
    /// Names and lengths of its tensors; the kernel comes first.
    fn tensors(&self) -> Vec<(String, usize)> {
        let name = &self.name;
        let mut tensors = vec![
            (format!("{name}.weight"), self.out * self.input),
            (format!("{name}.bias"), self.out),
        ];
        if let Some(norm) = &self.norm {
            tensors.extend(NORM.map(|part| (format!("{norm}.{part}"), self.out)));
        }
        tensors
    }
}

impl Weights {
    /// Checks that every tensor is there, of the right length and finite, and that there is no other.
    ///
    /// # Errors
    /// [`Error::Tensor`] naming it; those of [`Settings::check`].
    pub fn new(settings: Settings, tensors: BTreeMap<String, Vec<f32>>) -> Result<Self> {
        settings.check()?;
        let mut known = 0;
        for slot in settings.blocks().iter().flatten() {
            for (name, length) in slot.tensors() {
                let Some(values) = tensors.get(&name) else {
                    return Err(Error::tensor(name, "missing".into()));
                };
                if values.len() != length {
                    let what = format!("{} values, expected {length}", values.len());
                    return Err(Error::tensor(name, what));
                }
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    return Err(Error::tensor(name, format!("{} at index {at}", values[at])));
                }
                if name.ends_with(".running_var") && values.iter().any(|&v| v < 0.0) {
                    return Err(Error::tensor(name, "a variance below 0".into()));
                }
                known += 1;
            }
        }
        if known < tensors.len() {
            let blocks = settings.blocks();
            let names: Vec<_> = blocks.iter().flatten().flat_map(Slot::tensors).collect();
            let read = |name: &String| names.iter().any(|(known, _)| known == name);
            if let Some(extra) = tensors.keys().find(|name| !read(name)) {
                let what = format!("no layer of a {} reads it", settings.kind);
                return Err(Error::tensor(extra.clone(), what));
            }
        }
        Ok(Self { settings, tensors })
    }

    /// At random, as before a training: kernels normal of variance 2/inputs, normalisations that change
    /// nothing. Same seed, same bits on one platform.
    ///
    /// # Errors
    /// Those of [`Settings::check`].
    pub fn random(settings: Settings, seed: u64) -> Result<Self> {
        settings.check()?;
        let mut tensors = BTreeMap::new();
        for (at, slot) in (0..).zip(settings.blocks().iter().flatten()) {
            let mut rng = Rng::keyed(seed, &[START, at]);
            let deviation = (2.0 / slot.input as f64).sqrt();
            for (name, length) in slot.tensors() {
                let kernel = length == slot.out * slot.input && name.starts_with(&slot.name);
                let one = slot.norm.as_ref().is_some_and(|norm| {
                    name == format!("{norm}.{}", NORM[0]) || name == format!("{norm}.{}", NORM[3])
                });
                let value = |rng: &mut Rng| match kernel {
                    true => (deviation * rng.normal()) as f32,
                    false => f32::from(u8::from(one)),
                };
                let values = (0..length).map(|_| value(&mut rng)).collect();
                tensors.insert(name, values);
            }
        }
        Self::new(settings, tensors)
    }

    /// Reads a safetensors file of F32 tensors with the names of the usual PyTorch programs; which network
    /// it is, and with how many channels, categories and parts, follows from names and shapes.
    ///
    /// # Errors
    /// [`Error::Unreadable`]; [`Error::File`] naming the file and what is wrong in it.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(&read(path)?).map_err(|error| error.in_file(path))
    }

    /// As [`Weights::load`], from bytes.
    ///
    /// # Errors
    /// [`Error::NotACheckpoint`], [`Error::Tensor`], those of [`Settings::check`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let whole = SafeTensors::deserialize(bytes);
        let whole = whole.map_err(|error| {
            Error::not_a_checkpoint(format!("no whole safetensors file ({error})"))
        })?;
        let (mut tensors, mut shapes) = (BTreeMap::new(), BTreeMap::new());
        for (name, view) in whole.iter().filter(|(name, _)| !name.ends_with(COUNTER)) {
            if view.dtype() != Dtype::F32 {
                let what = format!("{:?} values, expected F32", view.dtype());
                return Err(Error::tensor(name.to_owned(), what));
            }
            let floats = view.data().chunks_exact(4);
            let floats = floats.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            tensors.insert(name.to_owned(), floats.collect::<Vec<_>>());
            shapes.insert(name.to_owned(), view.shape().to_vec());
        }
        let settings = settings(&shapes)?;
        for slot in settings.blocks().iter().flatten() {
            let name = format!("{}.weight", slot.name);
            // lengths are checked later; this tells a kernel from its transpose
            if let Some(shape) = shapes.get(&name)
                && sides(shape) != Some([slot.out, slot.input])
            {
                let what = format!("shape {shape:?}, expected [{}, {}]", slot.out, slot.input);
                return Err(Error::tensor(name, what));
            }
        }
        Self::new(settings, tensors)
    }

    /// Writes a file that [`Weights::load`] reads.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut all = Vec::new();
        for slot in self.settings.blocks().iter().flatten() {
            for (at, (name, length)) in slot.tensors().into_iter().enumerate() {
                let shape = match at {
                    0 => vec![slot.out, slot.input],
                    _ => vec![length],
                };
                let values = self.tensors[&name].iter();
                let bytes: Vec<u8> = values.flat_map(|v| v.to_le_bytes()).collect();
                all.push((name, shape, bytes));
            }
        }
        let mut views = Vec::with_capacity(all.len());
        for (name, shape, bytes) in &all {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            let view = view.map_err(|e| Error::tensor(name.clone(), e.to_string()))?;
            views.push((name.as_str(), view));
        }
        let content = safetensors::serialize(views, None);
        write_whole(
            path,
            &content.map_err(|e| Error::not_a_checkpoint(e.to_string()))?,
        )
    }

    /// What the layers depend on.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// SHA-256 of settings and weights.
    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}\n", self.settings));
        for (name, values) in &self.tensors {
            hash.update(format!("{name} {}\n", values.len()));
            values.iter().for_each(|v| hash.update(v.to_le_bytes()));
        }
        hex(&hash.finalize())
    }

    /// All blocks of layers, with normalisations folded in f64.
    pub(super) fn blocks<T: Number>(&self) -> Vec<Mlp<T>> {
        let blocks = self.settings.blocks();
        let of = |block: &Vec<Slot>| Mlp(block.iter().map(|slot| self.layer(slot)).collect());
        blocks.par_iter().with_max_len(1).map(of).collect()
    }

    fn layer<T: Number>(&self, slot: &Slot) -> Layer<T> {
        let wide = |name: String| -> Vec<f64> {
            self.tensors[&name].iter().map(|&v| f64::from(v)).collect()
        };
        let plain = Plain {
            kernel: wide(format!("{}.weight", slot.name)),
            bias: wide(format!("{}.bias", slot.name)),
        };
        let plain = match &slot.norm {
            None => plain,
            Some(norm) => {
                let [gain, shift, mean, variance] = NORM.map(|part| wide(format!("{norm}.{part}")));
                plain.normalised(&Norm {
                    gain: &gain,
                    shift: &shift,
                    mean: &mean,
                    variance: &variance,
                })
            }
        };
        Layer::new(&plain, slot.relu)
    }
}

/// Rows and columns of a kernel whose other sides are 1.
fn sides(shape: &[usize]) -> Option<[usize; 2]> {
    match shape {
        [out, input, rest @ ..] if rest.iter().all(|&side| side == 1) => Some([*out, *input]),
        _ => None,
    }
}

/// Which network has weights of these shapes.
fn settings(shapes: &BTreeMap<String, Vec<usize>>) -> Result<Settings> {
    let has = |kind: &Kind| shapes.contains_key(&format!("{}.weight", kind.first()));
    let kind = Kind::ALL.into_iter().find(has).ok_or_else(|| {
        let firsts = Kind::ALL.map(|kind| format!("{}.weight ({kind})", kind.first()));
        let what = format!("a safetensors file with none of {}", firsts.join(", "));
        Error::not_a_checkpoint(what)
    })?;
    let of = |layer: &str| {
        let name = format!("{layer}.weight");
        let shape = shapes.get(&name);
        match shape.map(|shape| sides(shape)) {
            Some(Some(sides)) => Ok(sides),
            Some(None) => Err(Error::tensor(
                name,
                format!("shape {shape:?}, expected two sides"),
            )),
            None => Err(Error::tensor(name, "missing".into())),
        }
    };
    let input = of(kind.first())?[1];
    let channels = match kind {
        Kind::Ssg | Kind::Msg => input.saturating_sub(AXES),
        Kind::PointNet => input,
    };
    let (layer, fixed) = kind.told();
    let fixed = match kind {
        Kind::Ssg | Kind::Msg => fixed + channels,
        Kind::PointNet => fixed,
    };
    let told = of(layer)?[1];
    let categories = told.checked_sub(fixed).ok_or_else(|| {
        let what = format!("{told} inputs, expected at least {fixed}");
        Error::tensor(format!("{layer}.weight"), what)
    })?;
    let settings = Settings {
        kind,
        channels,
        categories,
        parts: of(kind.last())?[0],
    };
    settings.check()?;
    Ok(settings)
}
