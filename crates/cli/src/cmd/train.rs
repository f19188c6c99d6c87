//! `certiseg train`: settings from a TOML file and the line, a run folder out.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use certiseg_cert::{round_down, round_up};
use certiseg_net::checkpoint::{Origin, load_training, save_model, save_training, write_whole};
use certiseg_net::data::{Layout, LoadSettings, Sample, list, load};
use certiseg_net::evaluate::{EPS, Evaluation};
use certiseg_net::train::{Event, State, Train as Settings, train};
use clap::Args;
use serde::Serialize;

use crate::fail::{STOPPED, Usage};
use crate::interrupt;
use crate::output::make_dir;
use crate::progress::Progress;
use crate::source::check_classes;

const CHECKPOINT: &str = "checkpoint.safetensors";
const MODEL: &str = "model.safetensors";
const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";

/// Flags of the verb.
#[derive(Args)]
pub struct Train {
    /// Settings (TOML); what it does not name has its default
    config: Option<PathBuf>,
    /// Folder of the data set
    #[arg(long)]
    data: Option<PathBuf>,
    /// kvasir, pets, camvid, cityscapes, voc, context or folder
    #[arg(long)]
    layout: Option<Layout>,
    /// Split to train on: SPLIT.txt or a sub-folder; without it, all images
    #[arg(long)]
    split: Option<String>,
    /// Split to validate on after every epoch
    #[arg(long)]
    validation: Option<String>,
    /// Override one setting, for example --set network.size='"m1"' or --set epochs=10
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Run folder to make
    #[arg(long, required_unless_present = "resume")]
    out: Option<PathBuf>,
    /// Go on with the training in this run folder
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "data", "layout", "split", "validation", "sets", "out"])]
    resume: Option<PathBuf>,
}

impl Train {
    /// Trains.
    pub fn run(self) -> Result<ExitCode> {
        let (mut state, out) = match (&self.resume, &self.out) {
            (Some(run), _) if run.is_file() => {
                let message = format!("--resume {} is a file", run.display());
                return Err(Usage::error(message, "give the run folder that holds it"));
            }
            (Some(run), _) => (load_training(&run.join(CHECKPOINT))?, run.clone()),
            (None, Some(out)) => (State::start(self.settings()?)?, out.clone()),
            (None, None) => return Err(Usage::error("no run folder", "give --out DIR")),
        };
        let files = [CHECKPOINT, MODEL, CONFIG, METRICS];
        let there = files.into_iter().find(|file| out.join(file).exists());
        if let (None, Some(file)) = (&self.resume, there) {
            let message = format!("{} holds a {file} already", out.display());
            let hint = format!(
                "go on with --resume {}, or name another --out",
                out.display()
            );
            return Err(Usage::error(message, hint));
        }
        let samples = samples(
            &state.settings,
            state.settings.data.train.as_deref(),
            "training",
        )?;
        let validation = match state.settings.data.validation.as_deref() {
            None => Vec::new(),
            split => self::samples(&state.settings, split, "validation")?,
        };
        certiseg_net::train::check_samples(&state.settings, &samples)?;
        certiseg_net::train::check_samples(&state.settings, &validation)?;
        make_dir(&out)?;
        let config = toml::to_string(&state.settings)?;
        interrupt::listen()?;
        // before all else: whatever comes, the folder can be gone on with
        save_training(&out.join(CHECKPOINT), &state)?;
        write_whole(&out.join(CONFIG), config.as_bytes())?;
        run(&mut state, &samples, &validation, &out)
    }

    fn settings(&self) -> Result<Settings> {
        let mut settings = crate::settings::read(self.config.as_deref(), &self.sets)?;
        if let Some(data) = &self.data {
            settings.data.dir.clone_from(data);
        }
        if let Some(layout) = self.layout {
            settings.data.layout = layout;
        }
        if self.split.is_some() {
            settings.data.train.clone_from(&self.split);
        }
        if self.validation.is_some() {
            settings.data.validation.clone_from(&self.validation);
        }
        if settings.data.dir.as_os_str().is_empty() {
            return Err(Usage::error("no data to train on", "give --data DIR"));
        }
        Ok(settings)
    }
}

fn samples(settings: &Settings, split: Option<&str>, what: &str) -> Result<Vec<Sample>> {
    let data = &settings.data;
    let entries = list(&data.dir, data.layout, split)?;
    check_classes(data.layout, &data.dir, settings.network.classes)?;
    let progress = Progress::new(&format!("reading {what}"), entries.len());
    let load_settings = LoadSettings {
        height: settings.height,
        width: settings.width,
        filter: data.filter,
        classes: settings.network.classes,
    };
    let samples = load(&entries, &load_settings, &|done, _| progress.set(done, ""))?;
    progress.finish();
    Ok(samples)
}

/// One line of metrics.jsonl.
#[derive(Serialize)]
struct Metrics<'a> {
    epoch: u64,
    loss: Option<f64>,
    seconds: f64,
    #[serde(flatten)]
    evaluation: Option<&'a Evaluation>,
}

fn run(
    state: &mut State,
    samples: &[Sample],
    validation: &[Sample],
    out: &Path,
) -> Result<ExitCode> {
    let settings = state.settings.clone();
    let steps = samples.len().div_ceil(settings.batch);
    say!(
        "{} training and {} validation images of {}x{}, {} steps per epoch, seed {}",
        samples.len(),
        validation.len(),
        settings.height,
        settings.width,
        steps,
        settings.seed
    );
    for warning in settings
        .network
        .warnings(settings.height.min(settings.width))
    {
        say!("warning: {warning}");
    }
    let progress = Progress::new("step", steps * settings.epochs as usize);
    let (mut failure, mut baked) = (None, None);
    let mut since = Instant::now();
    let mut watch = |state: &State, event: Event| {
        let told = match event {
            Event::Step {
                epoch,
                step,
                steps,
                loss,
                ..
            } => {
                let loss = loss.map_or("void".to_owned(), |loss| format!("{loss:.4}"));
                let note = format!("epoch {epoch}/{}  loss {loss}", settings.epochs);
                progress.set(((epoch - 1) * steps + step) as usize, &note);
                Ok(())
            }
            Event::Epoch {
                epoch,
                loss,
                network,
                evaluation,
            } => {
                let seconds = since.elapsed().as_secs_f64();
                since = Instant::now();
                progress.say(&line(epoch, loss, seconds, evaluation.as_ref(), &settings));
                let evaluation = evaluation.as_ref();
                let metrics = Metrics {
                    epoch,
                    loss,
                    seconds,
                    evaluation,
                };
                let origin = Origin {
                    settings: settings.clone(),
                    epoch,
                };
                let saved = append(&out.join(METRICS), &metrics)
                    .and_then(|()| Ok(save_model(&out.join(MODEL), &network, Some(origin))?))
                    .and_then(|()| Ok(save_training(&out.join(CHECKPOINT), state)?));
                baked = Some(network);
                saved
            }
        };
        match told {
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
            Ok(()) if interrupt::asked() => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
        }
    };
    let ended = train(state, samples, validation, &mut watch);
    progress.finish();
    if let Some(error) = failure {
        return Err(error);
    }
    let stopped = ended?.is_break() && state.epoch < settings.epochs;
    // the network of the last epoch, unless the training stopped inside one
    let network = match baked {
        Some(network) if state.step == 0 => *network,
        _ => state.bake()?,
    };
    let origin = Origin {
        settings: settings.clone(),
        epoch: state.epoch,
    };
    save_training(&out.join(CHECKPOINT), state)?;
    save_model(&out.join(MODEL), &network, Some(origin))?;
    let model = out.join(MODEL);
    if stopped {
        let (epoch, step) = (state.epoch + 1, state.step);
        say!(
            "stopped in epoch {epoch} after step {step}; {} is usable",
            model.display()
        );
        say!("go on with: certiseg train --resume {}", out.display());
        return Ok(ExitCode::from(STOPPED));
    }
    let audit = network.audit(settings.height, settings.width)?;
    say!(
        "model  {}   L <= {}",
        model.display(),
        round_up(audit.lipschitz, 6)
    );
    say!(
        "next:  certiseg certify --model {} --data DIR",
        model.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn line(
    epoch: u64,
    loss: Option<f64>,
    seconds: f64,
    evaluation: Option<&Evaluation>,
    settings: &Settings,
) -> String {
    let loss = loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
    let head = format!(
        "epoch {epoch:>3}/{}  loss {loss}  {seconds:.1} s",
        settings.epochs
    );
    let Some(e) = evaluation else {
        return head;
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let plain = |share: Option<f64>| or_dash(share.map(|share| format!("{share:.4}")));
    let iou: Vec<_> = e.iou.iter().map(|&iou| plain(iou)).collect();
    let temperature = settings.loss.temperature();
    let temperature = temperature.map(|tau| format!("  tau*L {:.1}", tau * e.lipschitz));
    format!(
        "{head}  val accuracy {}  mIoU {}  IoU {}  certified accuracy at {EPS} >= {}{}",
        plain(e.accuracy),
        plain(e.miou),
        iou.join(" "),
        or_dash(e.certified.map(|share| round_down(share, 4))),
        temperature.unwrap_or_default(),
    )
}

fn append(path: &Path, metrics: &Metrics) -> Result<()> {
    let line = serde_json::to_string(metrics)?;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.with_context(|| format!("cannot write {}", path.display()))
}
