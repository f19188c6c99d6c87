//! `certiseg train`: settings from a TOML file and the line, a run folder out.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use certiseg_cert::{round_down, round_up};
use certiseg_net::bench::{instructions, threads};
use certiseg_net::checkpoint::load_training;
use certiseg_net::data::{Layout, LoadSettings, Pictures, digest, list};
use certiseg_net::device::Compute;
use certiseg_net::evaluate::Measure;
use certiseg_net::train::{AHEAD, End, Event, State, Train as Settings, train};
use clap::Args;

use crate::fail::{STOPPED, Usage};
use crate::interrupt;
use crate::presets;
use crate::progress::{Progress, Training};
use crate::run_folder::{DataOf, Metrics, RunFolder, Session};
use crate::source::check_classes;

/// Flags of the verb.
#[derive(Args)]
pub struct Train {
    /// Settings (TOML); what it does not name has its default
    config: Option<PathBuf>,
    /// Settings that travel with the program, by name; see --presets
    #[arg(long, conflicts_with = "config")]
    preset: Option<String>,
    /// List the presets and stop
    #[arg(long, exclusive = true)]
    presets: bool,
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
    /// Begin with the parameters of this checkpoint, for fine-tuning
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// Run folder to make
    #[arg(long, required_unless_present_any = ["resume", "presets"])]
    out: Option<PathBuf>,
    /// Go on with the training in this run folder
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "preset", "data", "layout", "split", "validation", "sets", "out"])]
    resume: Option<PathBuf>,
    /// Longest time between two checkpoints; there is one after every epoch, too
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    checkpoint_every: u64,
    #[command(flatten)]
    device: crate::device::DeviceArgs,
}

impl Train {
    /// Trains.
    pub fn run(self) -> Result<ExitCode> {
        if self.presets {
            return presets::print();
        }
        let (mut state, out) = match (&self.resume, &self.out) {
            (Some(run), _) => {
                let state = RunFolder::training(run)?;
                check_there(&state.settings.data.dir)?;
                (state, run.clone())
            }
            (None, Some(out)) => {
                RunFolder::check_new(out)?;
                let state = self.start()?;
                check_apart(out, &state.settings.data.dir)?;
                (state, out.clone())
            }
            (None, None) => return Err(Usage::error("no run folder", "give --out DIR")),
        };
        let compute = self.device.open()?;
        let data = &state.settings.data;
        let (training, train) = pictures(&state.settings, data.train.as_deref(), "training", 3)?;
        let (validation, validation_of) = match data.validation.as_deref() {
            None => (Pictures::of(Vec::new())?, None),
            split => {
                let (found, of) = pictures(&state.settings, split, "validation", 1)?;
                (found, Some(of))
            }
        };
        state.begin(&training, &validation)?;
        let session = session(&state, train, validation_of, &self.device);
        interrupt::listen()?;
        let every = Duration::from_secs(self.checkpoint_every);
        let folder = RunFolder::open(&out, &state, self.resume.is_some(), session, every)?;
        run(
            &mut state,
            &Arc::new(training),
            &validation,
            &compute,
            folder,
        )
    }

    fn start(&self) -> Result<State> {
        let settings = self.settings()?;
        match &self.from {
            None => Ok(State::start(settings)?),
            Some(from) => {
                let other = load_training(from)?;
                State::start_from(settings, &other).map_err(|error| {
                    let message = format!("{} holds another network: {error}", from.display());
                    let hint = "give the [network] settings it was trained with; config.toml of its run has them, of a packed model its card";
                    Usage::error(message, hint)
                })
            }
        }
    }

    fn settings(&self) -> Result<Settings> {
        let base = match (&self.preset, &self.config) {
            (Some(name), _) => Some(presets::find(name)?),
            (None, Some(path)) => Some(crate::settings::read_file(path)?),
            (None, None) => None,
        };
        let mut settings = crate::settings::read(base.as_deref(), &self.sets)?;
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

/// Refuses to go on where the pictures are not where the training began with them.
fn check_there(data: &Path) -> Result<()> {
    if data.is_dir() {
        return Ok(());
    }
    let message = format!("the data of this training is not in {}", data.display());
    let hint = match data.is_relative() {
        true => "the path counts from the folder where the training was started: go on from there",
        false => "bring it back, or begin anew",
    };
    Err(Usage::error(message, hint))
}

/// Refuses to write a run among the pictures.
fn check_apart(out: &Path, data: &Path) -> Result<()> {
    match (out.canonicalize(), data.canonicalize()) {
        (Ok(out), Ok(data)) if out == data => {
            let message = format!("--out {} is the folder of the data", out.display());
            Err(Usage::error(
                message,
                "name a folder of its own for the run",
            ))
        }
        _ => Ok(()),
    }
}

/// The pictures of a split, which may keep so many quarters of the memory, and what they are known
/// by.
fn pictures(
    settings: &Settings,
    split: Option<&str>,
    what: &str,
    quarters: usize,
) -> Result<(Pictures, DataOf)> {
    let data = &settings.data;
    let entries = list(&data.dir, data.layout, split)?;
    check_classes(data.layout, &data.dir, settings.network.classes)?;
    let progress = Progress::new(&format!("hashing {what}"), entries.len());
    let sha256 = digest(&entries, &mut progress.counter())?;
    progress.finish();
    let load_settings = LoadSettings {
        height: settings.height,
        width: settings.width,
        filter: data.filter,
        classes: settings.network.classes,
    };
    let size = [settings.height, settings.width];
    let room = Pictures::room(size, settings.batch, AHEAD.max(settings.accumulate));
    let pictures = Pictures::new(entries, load_settings, room / 4 * quarters)?;
    let progress = Progress::new(&format!("reading {what}"), pictures.len());
    pictures.read(&|done| progress.set(done, ""))?;
    progress.finish();
    let of = DataOf {
        pictures: pictures.len(),
        sha256,
    };
    Ok((pictures, of))
}

fn session(
    state: &State,
    train: DataOf,
    validation: Option<DataOf>,
    device: &crate::device::DeviceArgs,
) -> Session {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Session {
        program: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        commit: option_env!("CERTISEG_COMMIT").map(str::to_owned),
        started_unix_seconds: now.map_or(0, |since| since.as_secs()),
        from_epoch: state.epoch,
        from_step: state.step,
        machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processor: processor(),
        threads: threads(),
        instructions: instructions().ok().map(str::to_owned),
        device: device.name(),
        seed: state.settings.seed,
        train,
        validation,
    }
}

/// What Linux calls the processor.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn run(
    state: &mut State,
    training: &Arc<Pictures>,
    validation: &Pictures,
    compute: &Compute,
    mut folder: RunFolder,
) -> Result<ExitCode> {
    let settings = state.settings.clone();
    let steps = settings.steps(training.len());
    say!(
        "{} training and {} validation images of {}x{}, steps per epoch {}, seed {}",
        training.len(),
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
    let progress = Training::new(settings.epochs, steps, state.epoch * steps + state.step);
    let (mut failure, mut baked) = (None, None);
    let mut since = Instant::now();
    let mut watch = |state: &State, event: Event| {
        let told = match event {
            Event::Step {
                epoch,
                step,
                steps,
                pictures,
                learned,
                rate,
            } => {
                let loss = learned.map_or("void".to_owned(), |l| format!("{:.4}", l.loss));
                let note = format!("epoch {epoch}/{}  loss {loss}", settings.epochs);
                progress.step(epoch, step, pictures, &note);
                folder.step(state, (epoch - 1) * steps + step, learned, rate)
            }
            Event::Epoch {
                epoch,
                steps,
                loss,
                rate,
                network,
                evaluation,
                best,
            } => {
                let metrics = Metrics {
                    epoch,
                    step: epoch * steps,
                    loss,
                    rate,
                    seconds: since.elapsed().as_secs_f64(),
                    best,
                    validation: evaluation,
                };
                since = Instant::now();
                progress.epoch(epoch, &line(&metrics, &settings));
                let saved = folder.epoch(state, metrics, &network);
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
    let ended = train(state, training, validation, compute, &mut watch);
    progress.finish();
    if let Some(error) = failure {
        return Err(error);
    }
    let ended = ended?;
    // the network of the last epoch, unless the training stopped inside one
    let network = match baked {
        Some(network) if state.step == 0 => *network,
        _ => state.bake()?,
    };
    folder.checkpoint(state)?;
    folder.save_network(state, &network)?;
    let model = folder.model();
    match ended {
        End::Stopped => {
            let (epoch, step) = (state.epoch + 1, state.step);
            say!(
                "stopped in epoch {epoch} after step {step}; {} is usable",
                model.display()
            );
            say!(
                "go on with: certiseg train --resume {}",
                folder.dir().display()
            );
            return Ok(ExitCode::from(STOPPED));
        }
        End::Early => say!(
            "no better network for {} epochs: ended after epoch {}",
            settings.validation.patience,
            state.epoch
        ),
        End::Done => {}
    }
    if let Some(best) = state.best {
        let measure = settings.validation.best;
        say!(
            "best   {}   epoch {}: {measure} {}",
            folder.best().display(),
            best.epoch,
            shown(measure, best.value)
        );
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

/// A figure for people: certified ones are rounded against us.
fn shown(measure: Measure, value: f64) -> String {
    match (measure.eps, measure.metric.higher_is_better()) {
        (None, _) => format!("{value:.4}"),
        (Some(_), true) => format!(">= {}", round_down(value, 4)),
        (Some(_), false) => format!("<= {}", round_up(value, 4)),
    }
}

fn line(metrics: &Metrics, settings: &Settings) -> String {
    let loss = metrics
        .loss
        .map_or("-".to_owned(), |loss| format!("{loss:.4}"));
    let head = format!(
        "epoch {:>3}/{}  loss {loss}  {:.1} s",
        metrics.epoch, settings.epochs, metrics.seconds
    );
    let Some(found) = &metrics.validation else {
        return head;
    };
    let plain = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{share:.4}"));
    let iou: Vec<_> = found.iou.iter().map(|&iou| plain(iou)).collect();
    let measures = settings.validation.all().into_iter().map(|measure| {
        let value = found.of(measure);
        let value = value.map_or("-".to_owned(), |value| shown(measure, value));
        // a certified figure is a mean over images, and so is the clean one beside it
        let clean = measure.eps.map(|_| plain(found.clean_of(measure)));
        let clean = clean.map_or(String::new(), |clean| format!(" of {clean}"));
        format!("  {measure} {value}{clean}")
    });
    let temperature = settings.loss.temperature();
    let temperature = temperature.map(|tau| format!("  tau*L {:.1}", tau * found.lipschitz));
    format!(
        "{head}  val accuracy {}  mIoU {}  IoU {}{}{}{}",
        plain(found.accuracy),
        plain(found.miou),
        few(iou),
        measures.collect::<String>(),
        temperature.unwrap_or_default(),
        if metrics.best { "  best" } else { "" },
    )
}

/// Many classes make no line.
fn few(mut values: Vec<String>) -> String {
    const MOST: usize = 6;
    if values.len() > MOST {
        values.truncate(MOST);
        values.push("...".to_owned());
    }
    values.join(" ")
}
