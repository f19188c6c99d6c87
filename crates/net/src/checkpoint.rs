//! Files of networks and trainings: safetensors with the metadata entry `certiseg`, a JSON header
//! that begins with the version of the format. One entry, so that equal content has equal bytes.
//!
//! | kind | tensors | for |
//! |---|---|---|
//! | `model` | plain weights of the baked network | audit, certify, attack |
//! | `training` | `raw.*`, `running.*`, `first.*`, `second.*`, `average_*`: parameters, running means, moments, averages | resume; used as a model it is baked on reading |
//!
//! Neither holds a Lipschitz constant: it is computed from the weights each time it is used.
//! Files are written beside their place and renamed, so that a name holds a whole file or none.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::Network;
use crate::node::{Node, check_nodes, slots};
use crate::optimizer::Moments;
use crate::parameters::{Parameters, Values};
use crate::train::{Best, Losses, State, Train};

/// Version of the format that is written.
pub const FORMAT: u32 = 3;
/// The oldest that is read: what came later has a default.
const OLDEST: u32 = 2;

/// The metadata entry of the header.
const KEY: &str = "certiseg";

/// What every version begins with.
#[derive(Serialize, Deserialize)]
struct Versioned<H> {
    format: u32,
    header: H,
}

/// What the file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Header {
    Model {
        nodes: Vec<Node>,
        #[serde(default)]
        origin: Option<Box<Origin>>,
    },
    Training {
        settings: Box<Train>,
        steps: u64,
        epoch: u64,
        step: u64,
        samples: Option<u64>,
        #[serde(default)]
        losses: Losses,
        #[serde(default)]
        best: Option<Best>,
    },
}

/// How a model came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Settings of its training.
    pub settings: Train,
    /// Epochs finished.
    pub epoch: u64,
}

/// A network read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The baked network.
    pub network: Network,
    /// How it was trained, where the file says so.
    pub origin: Option<Origin>,
}

/// Writes a model.
///
/// # Errors
/// [`Error::Write`].
pub fn save_model(path: &Path, network: &Network, origin: Option<Origin>) -> Result<()> {
    let nodes = network.nodes.clone();
    let tensors = slots(&nodes)
        .into_iter()
        .map(|slot| {
            let bytes = bytes(&network.tensors[&slot.name]);
            (slot.name, slot.shape, bytes)
        })
        .collect();
    let origin = origin.map(Box::new);
    write(path, Header::Model { nodes, origin }, tensors)
}

/// Writes a training under way.
///
/// # Errors
/// [`Error::Write`].
pub fn save_training(path: &Path, state: &State) -> Result<()> {
    let mut groups = vec![
        ("raw", &state.parameters.raw),
        ("running", &state.parameters.running),
        ("first", &state.moments.first),
        ("second", &state.moments.second),
    ];
    if let Some(average) = &state.average {
        groups.push(("average_raw", &average.raw));
        groups.push(("average_running", &average.running));
    }
    let mut tensors = Vec::new();
    for (prefix, values) in groups {
        for (name, values) in values {
            tensors.push((
                format!("{prefix}.{name}"),
                vec![values.len()],
                bytes(values),
            ));
        }
    }
    let header = Header::Training {
        settings: Box::new(state.settings.clone()),
        steps: state.moments.steps,
        epoch: state.epoch,
        step: state.step,
        samples: state.samples,
        losses: state.losses,
        best: state.best,
    };
    write(path, header, tensors)
}

/// Reads a model, or bakes one from a training.
///
/// # Errors
/// [`Error::Unreadable`]; [`Error::File`] naming the file and what is wrong in it.
pub fn load_model(path: &Path) -> Result<Model> {
    parse_model(&read(path)?).map_err(|error| error.in_file(path))
}

/// As [`load_model`], from bytes.
///
/// # Errors
/// What is wrong in them.
pub fn parse_model(bytes: &[u8]) -> Result<Model> {
    let (header, tensors) = parse(bytes)?;
    match header {
        Header::Model { nodes, origin } => {
            check_nodes(&nodes)?;
            let network = Network::new(nodes, tensors)?;
            let origin = origin.map(|origin| *origin);
            Ok(Model { network, origin })
        }
        training => {
            let state = training_state(training, tensors)?;
            let network = state.bake()?;
            let origin = Some(Origin {
                epoch: state.epoch,
                settings: state.settings,
            });
            Ok(Model { network, origin })
        }
    }
}

/// Reads a training, to go on with it.
///
/// # Errors
/// [`Error::Unreadable`]; [`Error::File`], also where the file is a model, which cannot be trained on.
pub fn load_training(path: &Path) -> Result<State> {
    let state = parse(&read(path)?).and_then(|(header, tensors)| training_state(header, tensors));
    state.map_err(|error| error.in_file(path))
}

fn training_state(header: Header, tensors: Values) -> Result<State> {
    let Header::Training {
        settings,
        steps,
        epoch,
        step,
        samples,
        losses,
        best,
    } = header
    else {
        return Err(Error::unsupported(
            "going on from a baked model, which holds no state of its training,".into(),
            "give the checkpoint.safetensors of the training",
        ));
    };
    let settings = settings.resolve()?;
    if epoch > settings.epochs {
        let expected = format!("at most the {} epochs of the settings", settings.epochs);
        return Err(Error::setting("epoch", epoch.to_string(), expected));
    }
    let mut groups: BTreeMap<String, Values> = BTreeMap::new();
    for (name, values) in tensors {
        if let Some((prefix, rest)) = name.split_once('.') {
            let group = groups.entry(prefix.to_owned()).or_default();
            group.insert(rest.to_owned(), values);
        }
    }
    let averaged = groups.contains_key("average_raw");
    let mut take = |prefix: &str, lengths: &BTreeMap<String, usize>, needed: bool| {
        let values = groups.remove(prefix).unwrap_or_default();
        for (name, &expected) in lengths {
            let full = format!("{prefix}.{name}");
            match values.get(name).map(Vec::len) {
                Some(got) if got == expected => {}
                None if !needed => {}
                None => return Err(Error::tensor(full, "missing".into())),
                Some(got) => {
                    return Err(Error::tensor(
                        full,
                        format!("{got} values, expected {expected}"),
                    ));
                }
            }
        }
        for (name, values) in &values {
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                let what = format!("{} at index {at}", values[at]);
                return Err(Error::tensor(format!("{prefix}.{name}"), what));
            }
        }
        Ok(values)
    };
    let (raw, running) = Parameters::lengths(&settings.network.nodes());
    let average = match averaged {
        true => Some(Parameters {
            raw: take("average_raw", &raw, true)?,
            running: take("average_running", &running, true)?,
        }),
        false => None,
    };
    // a parameter that never had a gradient has no moments
    Ok(State {
        parameters: Parameters {
            raw: take("raw", &raw, true)?,
            running: take("running", &running, true)?,
        },
        moments: Moments {
            first: take("first", &raw, false)?,
            second: take("second", &raw, false)?,
            steps,
        },
        average,
        settings,
        epoch,
        step,
        losses,
        best,
        samples,
    })
}

fn parse(bytes: &[u8]) -> Result<(Header, Values)> {
    let torn = |error: safetensors::SafeTensorError| {
        Error::not_a_checkpoint(format!("no whole safetensors file ({error})"))
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(torn)?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(KEY));
    let missing = || format!("a safetensors file without the metadata entry `{KEY}`");
    let text = text.ok_or_else(|| Error::not_a_checkpoint(missing()))?;
    let broken = |error| Error::not_a_checkpoint(format!("its header: {error}"));
    let any: Versioned<IgnoredAny> = serde_json::from_str(text).map_err(broken)?;
    if !(OLDEST..=FORMAT).contains(&any.format) {
        let got = any.format.to_string();
        return Err(Error::Format {
            got,
            expected: format!("{OLDEST} to {FORMAT}"),
        });
    }
    let Versioned { header, .. } = serde_json::from_str(text).map_err(broken)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(torn)?;
    let values = singles(&tensors)?.into_iter();
    let values = values.map(|(name, (_, values))| (name, values)).collect();
    Ok((header, values))
}

/// Shape and values of tensors by name.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// All tensors of a file.
///
/// # Errors
/// [`Error::Tensor`] for any that is not F32.
pub(crate) fn singles(tensors: &SafeTensors) -> Result<Tensors> {
    let mut values = Tensors::new();
    for (name, view) in tensors.iter() {
        if view.dtype() != Dtype::F32 {
            let what = format!("{:?} values, expected F32", view.dtype());
            return Err(Error::tensor(name.to_owned(), what));
        }
        let floats = view.data().chunks_exact(4);
        let floats = floats.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        values.insert(name.to_owned(), (view.shape().to_vec(), floats.collect()));
    }
    Ok(values)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn write(path: &Path, header: Header, tensors: Vec<(String, Vec<usize>, Vec<u8>)>) -> Result<()> {
    let text = serde_json::to_string(&Versioned {
        format: FORMAT,
        header,
    });
    let text = text.map_err(|e| Error::not_a_checkpoint(e.to_string()))?;
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, bytes) in &tensors {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        let view = view.map_err(|e| Error::tensor(name.clone(), e.to_string()))?;
        views.push((name.as_str(), view));
    }
    let content = safetensors::serialize(views, Some(metadata));
    let content = content.map_err(|e| Error::not_a_checkpoint(e.to_string()))?;
    write_whole(path, &content)
}

/// Writes a file whole or not at all: beside its place first, then renamed.
///
/// # Errors
/// [`Error::Write`]; nothing is left behind.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = std::path::PathBuf::from(beside);
    let attempt = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    attempt().map_err(|source| {
        // the reason of the failure is reported, not that of the tidying
        let _ = std::fs::remove_file(&beside);
        Error::Write {
            path: path.to_owned(),
            source,
        }
    })
}
