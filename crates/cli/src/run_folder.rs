//! The folder of a training run, in which a name always holds a whole file:
//!
//! | file | holds | written |
//! |---|---|---|
//! | `config.toml` | every setting | at the start |
//! | `env.json` | program, machine and data of each session | at the start, and at every resume |
//! | `metrics.jsonl`, `metrics.csv` | a line per epoch | after every epoch |
//! | `events.out.tfevents.*` | the same and every step, for TensorBoard | as they come |
//! | `model.safetensors` | the plain network of the last epoch | after every epoch |
//! | `best.safetensors` | the parameters of the best epoch | when one is better |
//! | `checkpoint.safetensors` | all that going on needs | after every epoch, and every so many seconds |
//!
//! The checkpoint comes last: a program killed between two files does the epoch once more, to the
//! same bits, and writes them again. What is beyond the checkpoint is cut off on resume.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use certiseg_net::checkpoint::{Origin, load_training, save_model, save_training, write_whole};
use certiseg_net::evaluate::Evaluation;
use certiseg_net::network::Network;
use certiseg_net::train::{Learned, State};
use serde::{Deserialize, Serialize};

use crate::events::Events;
use crate::fail::Usage;
use crate::output::make_dir;

const CHECKPOINT: &str = "checkpoint.safetensors";
const MODEL: &str = "model.safetensors";
const BEST: &str = "best.safetensors";
const CONFIG: &str = "config.toml";
const ENV: &str = "env.json";
const METRICS: &str = "metrics.jsonl";
const TABLE: &str = "metrics.csv";
const LOCK: &str = "lock";

/// One line of metrics.jsonl.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Epoch, counted from 1.
    pub epoch: u64,
    /// Steps since the training began.
    pub step: u64,
    /// Mean loss of its steps.
    pub loss: Option<f64>,
    /// Learning rate of its last step.
    pub rate: f64,
    /// Wall time, validation included, of the session that ended it.
    pub seconds: f64,
    /// Whether it is the best so far.
    pub best: bool,
    /// Figures on the validation set.
    pub validation: Option<Evaluation>,
}

/// Program, machine and data of one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub program: String,
    pub commit: Option<String>,
    pub started_unix_seconds: u64,
    pub from_epoch: u64,
    pub from_step: u64,
    pub machine: String,
    pub processor: Option<String>,
    pub threads: usize,
    pub instructions: Option<String>,
    pub device: String,
    pub seed: u64,
    pub train: DataOf,
    pub validation: Option<DataOf>,
}

/// A split as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataOf {
    pub pictures: usize,
    /// Of the names and bytes of all image and mask files, in order.
    pub sha256: String,
}

/// A run folder under way; nobody else writes into it.
pub struct RunFolder {
    dir: PathBuf,
    metrics: Vec<Metrics>,
    sessions: Vec<Session>,
    events: Events,
    every: Duration,
    saved: Instant,
    /// Held until the program ends, however it ends.
    _lock: File,
}

impl RunFolder {
    /// Refuses a folder that holds a run already, and one that cannot be written.
    pub fn check_new(dir: &Path) -> Result<()> {
        let files = [CHECKPOINT, MODEL, BEST, CONFIG, ENV, METRICS];
        let Some(file) = files.into_iter().find(|file| dir.join(file).exists()) else {
            return Ok(());
        };
        let message = format!("{} holds a {file} already", dir.display());
        let hint = format!(
            "go on with --resume {}, or name another --out",
            dir.display()
        );
        Err(Usage::error(message, hint))
    }

    /// The training that a folder holds.
    pub fn training(dir: &Path) -> Result<State> {
        if dir.is_file() {
            let message = format!("--resume {} is a file", dir.display());
            return Err(Usage::error(message, "give the run folder that holds it"));
        }
        if !dir.join(CHECKPOINT).exists() {
            let message = format!("{} holds no {CHECKPOINT} to go on from", dir.display());
            return Err(Usage::error(message, "give the --out of a training"));
        }
        let state = load_training(&dir.join(CHECKPOINT))?;
        if state.moments.steps == 0 && (state.epoch > 0 || state.step > 0) {
            let message = format!(
                "the {CHECKPOINT} of {} holds parameters without the state of their optimiser",
                dir.display()
            );
            let hint = "begin a new training with --from";
            return Err(Usage::error(message, hint));
        }
        Ok(state)
    }

    /// Opens the folder of a training, new or `resumed`, for one session. A checkpoint is written at
    /// least once per `every`.
    pub fn open(
        dir: &Path,
        state: &State,
        resumed: bool,
        session: Session,
        every: Duration,
    ) -> Result<Self> {
        make_dir(dir)?;
        let lock = dir.join(LOCK);
        let lock =
            File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            let message = format!("another training writes into {}", dir.display());
            return Err(Usage::error(message, "wait for it, or name another folder"));
        }
        // what was found before the folder was ours may be old: pictures were read in between
        if !resumed {
            Self::check_new(dir)?;
        } else if Self::training(dir).map(|now| (now.epoch, now.step))? != (state.epoch, state.step)
        {
            let message = format!("another training has gone on in {}", dir.display());
            return Err(Usage::error(message, "give the same command again"));
        }
        let mut sessions: Vec<Session> = match std::fs::read(dir.join(ENV)) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("in {}", dir.join(ENV).display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let message = format!("cannot read {}", dir.join(ENV).display());
                return Err(error).context(message);
            }
        };
        if let Some(first) = sessions.first() {
            let now = (&session.train, &session.validation);
            if (&first.train, &first.validation) != now {
                let message =
                    "the pictures are not those this training began with: their files have changed";
                let hint = format!(
                    "bring them back (env.json has the sha256 of names and bytes: {} then, {} now), or begin anew",
                    first.train.sha256, session.train.sha256
                );
                return Err(Usage::error(message, hint));
            }
        }
        sessions.push(session);
        let metrics = read_metrics(&dir.join(METRICS), state.epoch)?;
        let step = metrics.last().map_or(0, |last| last.step) + state.step;
        let folder = Self {
            dir: dir.to_owned(),
            metrics,
            sessions,
            events: Events::open(dir, step, state.step == 0)?,
            every,
            saved: Instant::now(),
            _lock: lock,
        };
        // before all else: whatever comes, the folder can be gone on with
        save_training(&dir.join(CHECKPOINT), state)?;
        folder.write(CONFIG, toml::to_string(&state.settings)?)?;
        folder.write(ENV, serde_json::to_string_pretty(&folder.sessions)?)?;
        folder.write_metrics()?;
        Ok(folder)
    }

    /// The stored model.
    pub fn model(&self) -> PathBuf {
        self.dir.join(MODEL)
    }

    /// The model of the best epoch.
    pub fn best(&self) -> PathBuf {
        self.dir.join(BEST)
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A step is done; `at` counts them since the training began.
    pub fn step(
        &mut self,
        state: &State,
        at: u64,
        learned: Option<Learned>,
        rate: f64,
    ) -> Result<()> {
        let mut values = vec![("train/rate".to_owned(), rate)];
        if let Some(learned) = learned {
            values.push(("train/loss".into(), learned.loss));
            values.push(("train/gradient".into(), learned.gradient));
        }
        self.events.scalars(at, &values)?;
        if self.saved.elapsed() >= self.every {
            self.checkpoint(state)?;
        }
        Ok(())
    }

    /// An epoch is done.
    pub fn epoch(&mut self, state: &State, metrics: Metrics, network: &Network) -> Result<()> {
        let (step, best) = (metrics.step, metrics.best);
        let mut values: Vec<(String, f64)> = Vec::new();
        values.extend(metrics.loss.map(|loss| ("epoch/loss".to_owned(), loss)));
        if let Some(found) = &metrics.validation {
            let named = columns(found).into_iter();
            values.extend(named.filter_map(|(name, value)| Some((format!("val/{name}"), value?))));
        }
        self.events.scalars(step, &values)?;
        self.metrics.push(metrics);
        self.write_metrics()?;
        self.save_network(state, network)?;
        if best {
            save_training(&self.best(), &state.packed())?;
        }
        self.checkpoint(state)
    }

    /// Stores the network of this moment as the last one.
    pub fn save_network(&self, state: &State, network: &Network) -> Result<()> {
        Ok(save_model(&self.model(), network, Some(origin(state)))?)
    }

    /// Stores all that going on needs.
    pub fn checkpoint(&mut self, state: &State) -> Result<()> {
        // what is cut off on resume must be there first
        self.events.sync()?;
        save_training(&self.dir.join(CHECKPOINT), state)?;
        self.saved = Instant::now();
        Ok(())
    }

    fn write_metrics(&self) -> Result<()> {
        let mut lines = String::new();
        for metrics in &self.metrics {
            lines += &serde_json::to_string(metrics)?;
            lines.push('\n');
        }
        self.write(METRICS, lines)?;
        self.write(TABLE, table(&self.metrics))
    }

    fn write(&self, file: &str, content: String) -> Result<()> {
        Ok(write_whole(&self.dir.join(file), content.as_bytes())?)
    }
}

fn origin(state: &State) -> Origin {
    Origin {
        settings: state.settings.clone(),
        epoch: state.epoch,
    }
}

/// The lines of the epochs up to `epoch`.
fn read_metrics(path: &Path, epoch: u64) -> Result<Vec<Metrics>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut kept = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let metrics: Metrics = serde_json::from_str(line)
            .with_context(|| format!("in line {} of {}", at + 1, path.display()))?;
        kept.extend((metrics.epoch <= epoch).then_some(metrics));
    }
    Ok(kept)
}

/// Names and values of the figures on the validation set.
fn columns(found: &Evaluation) -> Vec<(String, Option<f64>)> {
    let mut columns = vec![
        ("accuracy".to_owned(), found.accuracy),
        ("miou".to_owned(), found.miou),
    ];
    let classes = found.iou.iter().enumerate();
    columns.extend(classes.map(|(class, &value)| (format!("iou:{class}"), value)));
    for (name, &value) in &found.measures {
        if columns.iter().all(|(known, _)| known != name) {
            columns.push((name.clone(), value));
        }
    }
    let means = found.clean_means.iter();
    columns.extend(means.map(|(name, &value)| (format!("mean {name}"), value)));
    columns.push(("lipschitz".to_owned(), Some(found.lipschitz)));
    columns
}

/// The metrics as comma-separated values, absent ones empty.
fn table(metrics: &[Metrics]) -> String {
    let mut found = metrics.iter().filter_map(|m| m.validation.as_ref());
    let names: Vec<String> = found.next().map_or(Vec::new(), |found| {
        columns(found).into_iter().map(|(name, _)| name).collect()
    });
    let text = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let head = ["epoch", "step", "loss", "rate", "seconds", "best"].map(str::to_owned);
    let mut lines = [&head[..], &names].concat().join(",") + "\n";
    for m in metrics {
        let values = m.validation.as_ref().map(columns).unwrap_or_default();
        let value = |name: &String| {
            let found = values.iter().find(|(known, _)| known == name);
            text(found.and_then(|(_, value)| *value))
        };
        let head = [
            m.epoch.to_string(),
            m.step.to_string(),
            text(m.loss),
            m.rate.to_string(),
            format!("{:.3}", m.seconds),
            m.best.to_string(),
        ];
        let cells: Vec<String> = head.into_iter().chain(names.iter().map(value)).collect();
        lines += &(cells.join(",") + "\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use certiseg_net::train::Train;

    use super::*;

    fn session() -> Session {
        let train = DataOf {
            pictures: 1,
            sha256: "0".into(),
        };
        Session {
            program: "certiseg".into(),
            commit: None,
            started_unix_seconds: 0,
            from_epoch: 0,
            from_step: 0,
            machine: "none".into(),
            processor: None,
            threads: 1,
            instructions: None,
            device: "cpu".into(),
            seed: 0,
            train,
            validation: None,
        }
    }

    #[test]
    fn a_folder_that_changed_while_pictures_were_read_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let open = |state: &State, resumed| {
            let opened = RunFolder::open(dir.path(), state, resumed, session(), Duration::ZERO);
            opened.map(drop).map_err(|error| error.to_string())
        };
        let state = State::start(Train::default()).unwrap();
        open(&state, false).unwrap();
        // two that had both found it empty
        let error = open(&state, false).unwrap_err();
        assert!(error.contains("holds a checkpoint"), "{error}");
        // two that had both read the same checkpoint
        let mut further = state.clone();
        (further.epoch, further.moments.steps) = (1, 1);
        save_training(&dir.path().join(CHECKPOINT), &further).unwrap();
        let error = open(&state, true).unwrap_err();
        assert!(error.contains("gone on"), "{error}");
        open(&further, true).unwrap();
    }
}
