//! `certiseg cloud smooth`: votes about the points of clouds, and what the judge says of them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use certiseg_cert::smoothing::{ABSTAIN, Family, Law, Procedure, Promise, Stage};
use certiseg_net::Error;
use certiseg_net::checkpoint::load_model;
use certiseg_net::cloud::metrics::ShapeCounts;
use certiseg_net::cloud::network::{PointNetwork, Weights};
use certiseg_net::cloud::small::SmallModel;
use certiseg_net::cloud::{Catalogue, Cloud, CloudModel, CloudNoise, CloudSampler};
use certiseg_net::data::write_maps;
use certiseg_net::smooth::{End, State};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::data::{CloudArgs, Clouds};
use super::tally::CloudRow;
use crate::cmd::smooth::{Asked, Counted, Test, TestArgs, judge, warned};
use crate::fail::Usage;
use crate::interrupt;
use crate::maps::Maps;
use crate::output::{head, make_dir};
use crate::progress::Progress;
use crate::run::{Run, RunArgs};
use crate::shard::Shard;
use crate::source::file_hash;

/// Between two states that are stored.
const PAUSE: Duration = Duration::from_secs(60);

/// Flags of `cloud smooth`.
#[derive(Args)]
pub struct Smooth {
    /// PointNet or PointNet++ (safetensors, with the names of the usual PyTorch programs), or what `cloud train` made
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    clouds: CloudArgs,
    /// Rotations instead of noise on the points: z (Gaussian angle about z, --sigma in radians), any-z (any angle about
    /// z), any (any rotation): of the last two the smoothed model gives one answer for all
    #[arg(long, value_enum)]
    rotate: Option<Rotate>,
    /// Samples that test the parts, of each cloud. Of a single stage all samples
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// Passes of a sample, whose scores are summed: farthest point sampling begins elsewhere in each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    passes: u32,
    /// Of noise and starts: the same seed gives the same bits whatever shard and number of threads
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    test: TestArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// Rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Rotate {
    Z,
    AnyZ,
    Any,
}

/// The settings of a run as its head row tells them.
#[derive(Serialize)]
struct Settings<'a> {
    model: &'a Path,
    model_hash: String,
    clouds: &'a CloudArgs,
    data_hash: &'a str,
    images: usize,
    catalogue: &'a Catalogue,
    n0: usize,
    n: u32,
    passes: u32,
    seed: u64,
    rotate: Option<Rotate>,
    law: Law,
    procedure: Procedure,
    promise: Promise,
    family: Family,
    screen: usize,
    classes: Option<usize>,
    radius_map: bool,
    curves: [u64; 0],
}

/// What all clouds share.
struct Work<'a> {
    test: &'a Test,
    sampler: CloudSampler<'a>,
    noise: CloudNoise,
    catalogue: Catalogue,
    choose: usize,
    samples: usize,
    /// Where states are stored.
    store: Option<PathBuf>,
    /// Whether to go on with them.
    resume: bool,
}

impl Smooth {
    /// Judges every cloud.
    pub fn run(self) -> Result<ExitCode> {
        let (test, noise) = self.noise()?;
        if test.hierarchy.is_some() {
            let hint = "leave it out";
            return Err(Usage::error("--hierarchy of the parts of clouds", hint));
        }
        let samples = self.n as usize;
        let choose = test.choose(samples)?;
        let shard = self.run.shard.as_ref();
        let mut clouds = self.clouds.open(shard)?;
        let catalogue = clouds.catalogue.clone();
        let model = model(&self.model, &catalogue)?;
        let keys = (self.seed, self.passes);
        let sampler = CloudSampler::new(&*model, &catalogue, noise.clone(), keys)?;
        let settings = Settings {
            model: &self.model,
            model_hash: file_hash(&self.model)?,
            clouds: &self.clouds,
            data_hash: &clouds.hash,
            images: clouds.all,
            catalogue: &catalogue,
            n0: choose,
            n: self.n,
            passes: self.passes,
            seed: self.seed,
            rotate: self.rotate,
            law: test.law,
            procedure: test.procedure,
            promise: test.promise,
            family: test.family,
            screen: test.screen,
            classes: Some(catalogue.classes()),
            radius_map: false,
            curves: [],
        };
        let unit = match self.rotate {
            None => "xyz of the points, on the grid of 2^-12".into(),
            Some(_) => noise.unit(0),
        };
        let head = head(&settings).unit(test.law.norm(), unit);
        let mut run = Run::open(&self.run, "cloud", head)?;
        clouds.skip(run.kept())?;
        let out = self.run.out.as_deref();
        if let Some(dir) = out {
            // before hours of sampling
            for (i, id) in clouds.left().enumerate() {
                Maps::place(dir, id, i == 0 && run.redoes(), "--out")?;
            }
        }
        let folder = match shard {
            None => "sampling".to_owned(),
            Some(shard) => format!("sampling-{}", Shard::to_string(shard).replace('/', "-of-")),
        };
        let work = Work {
            test: &test,
            sampler,
            noise,
            catalogue: catalogue.clone(),
            choose,
            samples,
            store: out.map(|out| out.join(folder)),
            resume: self.run.resume,
        };
        let code = work.all(&mut clouds, &mut run, out)?;
        match code {
            End::Stopped => Ok(run.stopped()),
            End::Done => {
                let code = run.finish::<()>(&[])?;
                work.store.iter().for_each(|folder| clear(folder));
                Ok(code)
            }
        }
    }

    fn noise(&self) -> Result<(Test, CloudNoise)> {
        let noise = match self.rotate {
            Some(Rotate::AnyZ) => CloudNoise::any_turn(),
            Some(Rotate::Any) => CloudNoise::any_rotation(),
            Some(Rotate::Z) => {
                let test = self.test.check()?;
                let Law::Gaussian { sigma } = test.law else {
                    let hint = "leave --law out, and give --sigma in radians";
                    return Err(Usage::error("--rotate z is Gaussian", hint));
                };
                return Ok((test, CloudNoise::turn(sigma)?));
            }
            None => {
                let test = self.test.check()?;
                let noise = CloudNoise::points(test.law)?;
                return Ok((test, noise));
            }
        };
        Ok((self.test.check_under(Some(noise.law()))?, noise))
    }
}

/// Any network for clouds.
fn model(path: &Path, catalogue: &Catalogue) -> Result<Box<dyn CloudModel>> {
    let other = match Weights::load(path) {
        Ok(weights) => {
            let settings = weights.settings();
            let [told, there] = [settings.categories, catalogue.parts.len()];
            // other numbers of parts are refused later
            let same_parts = settings.parts == catalogue.classes();
            if same_parts && told > 0 && told != there {
                return Err(Usage::error(
                    format!(
                        "a network that is told one of {told} categories, and clouds of {there}"
                    ),
                    "give clouds whose categories are numbered as those that it was trained on",
                ));
            }
            return Ok(Box::new(PointNetwork::<f32>::new(&weights)));
        }
        Err(error) => error,
    };
    match load_model(path) {
        Ok(model) => Ok(Box::new(SmallModel::new(model.network)?)),
        // of a file that is of neither kind, what networks of clouds look like
        Err(Error::File { source, .. }) if matches!(*source, Error::NotACheckpoint { .. }) => {
            Err(other.into())
        }
        Err(own) => Err(own.into()),
    }
}

impl Work<'_> {
    fn all(&self, clouds: &mut Clouds, run: &mut Run, out: Option<&Path>) -> Result<End> {
        let all = clouds.len();
        let progress = Progress::from(
            "cloud smooth",
            " samples",
            run.done() * self.each(),
            all * self.each(),
        );
        let asked = Asked {
            classes: Some(self.catalogue.classes()),
            boundary: 0,
            curves: Vec::new(),
            radius_map: false,
            maps: out.is_some(),
        };
        if !self.resume {
            // a run that begins anew has no use for what another one has stored
            self.store.iter().for_each(|folder| clear(folder));
        }
        let mut notes = BTreeSet::new();
        let mut before: Option<PathBuf> = None;
        interrupt::listen()?;
        while let Some(cloud) = clouds.next()? {
            let id = cloud.id.clone();
            let about = || format!("cloud {id}");
            if self.test.family == Family::All {
                // before its first sample is drawn
                let counts = (self.choose, self.samples);
                for note in warned(self.test, counts, cloud.points.len() as u64)? {
                    if notes.insert(note.clone()) {
                        progress.say(&format!("note: {note}"));
                    }
                }
            }
            let note = format!("cloud {} of {all}: {id}", run.done() + 1);
            let drawn = run.done() * self.each();
            let file = self.file(&id);
            let state = self.count(&cloud, file.as_deref(), &mut |state| {
                progress.set(drawn + state.drawn() as usize, &note);
            });
            let Some(state) = state.with_context(about)? else {
                progress.finish();
                return Ok(End::Stopped);
            };
            let image = self.counted(&cloud, &state)?;
            let verdict = judge(self.test, &asked, &image).with_context(about)?;
            let row = self.row(&cloud, verdict.row.radius, &verdict.classes);
            for note in verdict.notes {
                if notes.insert(note.clone()) {
                    progress.say(&format!("note: {note}"));
                }
            }
            run.push(&verdict.row)?;
            run.push(&row.with_context(about)?)?;
            // rows first: a run that goes on redoes the last cloud that has some
            let place = out.map(|dir| Maps::place(dir, &id, run.redoes(), "--out"));
            let place = place.transpose()?;
            run.image()?;
            if let Some(path) = place {
                write_maps(&path, &image.shape, &verdict.maps)?;
            }
            if let Some(path) = before.take() {
                let _ = std::fs::remove_file(path);
            }
            before = file;
        }
        progress.finish();
        Ok(End::Done)
    }

    /// Draws all samples of a cloud; none where Ctrl-C has asked to stop, and what was drawn is then stored.
    fn count(
        &self,
        cloud: &Cloud,
        file: Option<&Path>,
        see: &mut dyn FnMut(&State),
    ) -> Result<Option<State>> {
        if interrupt::asked() {
            return Ok(None);
        }
        let stage = self.test.procedure.stage;
        let mut state = self.sampler.start(cloud, self.choose, stage)?;
        let stored = file.filter(|path| self.resume && path.exists());
        if let Some(path) = stored {
            state = State::load(path)?;
        }
        let mut saved = Instant::now();
        let mut failed = None;
        let mut watch = |state: &State| {
            see(state);
            if interrupt::asked() {
                return ControlFlow::Break(());
            }
            if let Some(path) = file.filter(|_| saved.elapsed() >= PAUSE) {
                if let Err(error) = store(state, path) {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
                saved = Instant::now();
            }
            ControlFlow::Continue(())
        };
        let end = self
            .sampler
            .run(cloud, &mut state, self.samples, &mut watch);
        if let Some(error) = failed {
            return Err(error);
        }
        let end = match stored {
            None => end?,
            Some(path) => end.with_context(|| format!("going on with {}", path.display()))?,
        };
        if let Some(path) = file {
            store(&state, path)?;
        }
        if end == End::Stopped {
            say!("cloud {} stopped after {} samples", cloud.id, state.drawn());
            return Ok(None);
        }
        Ok(Some(state))
    }

    fn counted(&self, cloud: &Cloud, state: &State) -> Result<Counted<'_>> {
        let screened = state
            .hits()
            .filter(|_| self.test.family == Family::Screened);
        let screened = screened.map(|hits| {
            let enough = |hits: &u8| usize::from(*hits) >= self.test.screen;
            hits.iter().map(enough).collect()
        });
        Ok(Counted {
            id: cloud.id.clone(),
            shape: vec![cloud.points.len()],
            width: None,
            labels: (!cloud.labels.is_empty()).then(|| cloud.labels.clone()),
            votes: state.votes().cloned().context("no part was chosen")?,
            paths: None,
            screened,
            repeated: 0,
            sampling: self.sampler.sampling(state, self.test.family),
            looked: None,
            hybrid: Vec::new(),
        })
    }

    fn row(&self, cloud: &Cloud, radius: f64, certified: &[u8]) -> Result<CloudRow> {
        let mut figures = [None, None];
        if !cloud.labels.is_empty() {
            // the network itself never abstains
            let plain = self.sampler.plain(cloud)?;
            let (category, labels) = (cloud.category, &cloud.labels[..]);
            let of = |parts| ShapeCounts::of(&self.catalogue, category, parts, labels);
            figures = [Some(of(&plain)?), Some(of(certified)?)];
        }
        let holds = self.noise.invariance(radius);
        let any = certified.iter().any(|part| *part != ABSTAIN);
        let each = self.noise.per_point(radius, cloud.points.len());
        Ok(CloudRow::new(cloud, each, holds.filter(|_| any), figures))
    }

    /// Samples of a cloud.
    fn each(&self) -> usize {
        match self.test.procedure.stage {
            Stage::Two => self.samples + self.choose,
            Stage::Single { .. } => self.samples,
        }
    }

    fn file(&self, id: &str) -> Option<PathBuf> {
        let name = id.replace(['/', '\\', ':'], "__");
        let folder = self.store.as_ref()?;
        Some(folder.join(format!("{name}.state")))
    }
}

/// Removes the states of a folder; what is left is a nuisance, no harm.
fn clear(folder: &Path) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "state") {
            let _ = std::fs::remove_file(path);
        }
    }
    let _ = std::fs::remove_dir(folder);
}

fn store(state: &State, path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), make_dir)?;
    Ok(state.save(path)?)
}
