//! Votes of a model: noisy pictures are drawn, labelled and counted one by one.
//!
//! With --out the state of the image at work is a file, written whole at Ctrl-C, every minute and where an image is
//! done; a run that goes on loses nothing that was drawn.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use certiseg_cert::Budget;
use certiseg_cert::smoothing::{Correction, Family, Law, Look, Looks, Stage};
use certiseg_net::data::Sample;
use certiseg_net::network::Certifier;
use certiseg_net::smooth::{
    Arithmetic, End, Means, Model, NetworkModel, Noise, Sampler, State, Views,
};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::hybrid::HybridRow;
use super::levels::Levels;
use super::source::{Counted, Looked};
use super::test::{Test, hinted};
use super::verdict::warned;
use crate::fail::Usage;
use crate::hybrid::{Grounds, shares};
use crate::interrupt;
use crate::output::make_dir;
use crate::progress::Progress;
use crate::run::RunArgs;
use crate::source::{DataArgs, Pictures};

/// Between two states that are stored.
const PAUSE: Duration = Duration::from_secs(60);

/// Flags of the samples that a model gives.
#[derive(Args, Clone, Debug)]
pub struct SampleArgs {
    /// Samples that test the classes, of each picture; 100 by default. Of a single stage all samples
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["looks", "samples", "votes"])]
    n: Option<u32>,
    /// Look at the votes after so many test samples each, with equal parts of alpha, and stop as soon as a look gains
    /// little: rising numbers, for example 50,100,200. With holm or bonferroni
    #[arg(long, value_name = "N,...", value_delimiter = ',', conflicts_with_all = ["samples", "votes"])]
    looks: Vec<usize>,
    /// A look gains little where it certifies less than this share of the pixels anew
    #[arg(
        long,
        default_value_t = 0.01,
        requires = "looks",
        allow_negative_numbers = true
    )]
    least_gain: f64,
    /// How noise is added: grid (in whole 255ths, exact: floating point is covered), or f32 (modulo floating point)
    #[arg(long, default_value = "grid", value_enum, conflicts_with_all = ["samples", "votes"])]
    noise: NoiseName,
    /// Of the noise: the same seed gives the same bits whatever shard, batch and number of threads
    #[arg(long, default_value_t = 0, conflicts_with_all = ["samples", "votes"])]
    seed: u64,
    /// Sizes at which the model sees a noisy picture, whose scores are averaged
    #[arg(long, value_delimiter = ',', default_value = "1", conflicts_with_all = ["samples", "votes"])]
    scales: Vec<f64>,
    /// Each size mirrored too
    #[arg(long, conflicts_with_all = ["samples", "votes"])]
    flips: bool,
    /// Of a Lipschitz network under f32 noise: the argmax of the mean logits too, all pixels sharing one budget, for
    /// these l2 budgets. With it an image that was stopped begins anew
    #[arg(long, value_name = "EPS,...", value_delimiter = ',', allow_negative_numbers = true,
          conflicts_with_all = ["samples", "votes", "looks"])]
    hybrid: Vec<f64>,
}

/// Where noise lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NoiseName {
    Grid,
    F32,
}

/// What the head row says of a model and its samples.
#[derive(Serialize)]
pub struct Origin {
    model: PathBuf,
    model_hash: String,
    data: Option<PathBuf>,
    layout: String,
    split: Option<String>,
    size: [usize; 2],
    filter: String,
    limit: Option<u32>,
    n: usize,
    looks: Vec<usize>,
    least_gain: Option<f64>,
    noise: Arithmetic,
    seed: u64,
    scales: Vec<f64>,
    flips: bool,
    hybrid: Vec<f64>,
    lipschitz: Option<f64>,
}

/// A model with pictures.
pub struct Network {
    pictures: Pictures,
    model: Box<NetworkModel>,
    /// Of the hybrid.
    certifier: Option<Certifier>,
    noise: Noise,
    args: SampleArgs,
    /// Samples that choose, and whether these test too.
    choose: usize,
    single: bool,
    /// Numbers of test samples at which votes are looked at, the last one n.
    targets: Vec<usize>,
    /// Where states are stored.
    store: Option<PathBuf>,
    /// Whether to go on with them.
    resume: bool,
    /// The image whose rows were written last.
    written: Option<String>,
    /// Images before the one at work.
    done: usize,
}

impl SampleArgs {
    /// What is asked of each picture, or an error, before anything is read.
    fn targets(&self, test: &Test) -> Result<(usize, Vec<usize>)> {
        let targets = match &self.looks[..] {
            [] => vec![self.n.map_or(100, |n| n as usize)],
            looks => looks.to_vec(),
        };
        if !self.looks.is_empty() {
            let fits = matches!(
                test.procedure.correction,
                Correction::Holm | Correction::Bonferroni
            );
            if !fits || test.family != Family::All || test.hierarchy.is_some() {
                return Err(Usage::error(
                    "--looks needs a statement about all certified pixels of the picture",
                    "give --correction holm or bonferroni, without --family and --hierarchy",
                ));
            }
            if !(0.0..=1.0).contains(&self.least_gain) {
                let message = format!("--least-gain {}", self.least_gain);
                return Err(Usage::error(message, "give a share of the pixels, 0 to 1"));
            }
            let hint =
                "give numbers of test samples that rise, as --looks 50,100,200, and two stages";
            hinted(Looks::new(test.procedure, &self.shares(), 1), hint)?;
        }
        if !self.hybrid.is_empty() {
            self.check_hybrid(test)?;
        }
        let samples = targets.last().copied().unwrap_or(0);
        Ok((test.choose(samples)?, targets))
    }

    fn check_hybrid(&self, test: &Test) -> Result<()> {
        // rounding to the grid is no Lipschitz function, resizing has a constant of its own
        let plain = self.scales == [1.0] && !self.flips && self.noise == NoiseName::F32;
        if !plain || !matches!(test.law, Law::Gaussian { .. }) {
            return Err(Usage::error(
                "--hybrid holds for the network itself under Gaussian noise that is not rounded",
                "give --noise f32, without --law, --scales and --flips",
            ));
        }
        for eps in &self.hybrid {
            hinted(
                Budget::new(*eps),
                "give budgets from 0, as --hybrid 0.1,0.17",
            )?;
        }
        Ok(())
    }

    /// Whether votes are looked at before the last sample.
    pub fn looking(&self) -> bool {
        !self.looks.is_empty()
    }

    fn shares(&self) -> Vec<Look> {
        Looks::equal(&self.looks)
    }

    fn arithmetic(&self) -> Arithmetic {
        match self.noise {
            NoiseName::Grid => Arithmetic::Grid,
            NoiseName::F32 => Arithmetic::Float,
        }
    }
}

impl Network {
    /// Reads the model, lists the pictures, makes the noise.
    pub fn open(
        path: &Path,
        data: &DataArgs,
        args: &SampleArgs,
        test: &Test,
        run: &RunArgs,
    ) -> Result<Self> {
        let (choose, targets) = args.targets(test)?;
        let pictures = Pictures::open(path, data, run.shard.as_ref())?;
        pictures.check_numbers()?;
        let views = Views {
            scales: args.scales.clone(),
            flip: args.flips,
        };
        let model = NetworkModel::new(&pictures.model.network, pictures.size, &views)?;
        let (known, classes) = (test.hierarchy.as_ref(), model.classes());
        if let Some(known) = known.filter(|known| known.classes() != classes) {
            let known = known.classes();
            return Err(Usage::error(
                format!("the hierarchy has {known} classes, the network {classes}"),
                "name a node for every class of the network, and no others",
            ));
        }
        let noise = Noise::new(test.law, args.arithmetic())?;
        let [height, width] = pictures.size;
        let certifier = match args.hybrid.is_empty() {
            true => None,
            false => Some(pictures.model.network.certifier(height, width)?),
        };
        // of a model that labels cannot tell apart
        Sampler::new(&model, noise.clone(), args.seed)?;
        let folder = match &run.shard {
            None => "sampling".to_owned(),
            Some(shard) => format!("sampling-{}", shard.to_string().replace('/', "-of-")),
        };
        // beside these votes there is more than a state holds
        let kept = test.hierarchy.is_none() && certifier.is_none();
        Ok(Network {
            pictures,
            model: Box::new(model),
            certifier,
            noise,
            args: args.clone(),
            choose,
            single: test.procedure.stage != Stage::Two,
            targets,
            store: run
                .out
                .as_ref()
                .filter(|_| kept)
                .map(|out| out.join(folder)),
            resume: run.resume,
            written: None,
            done: 0,
        })
    }

    /// For the head row.
    pub fn origin(&self, path: &Path, data: &DataArgs) -> Origin {
        let looks = &self.args.looks;
        Origin {
            model: path.to_owned(),
            model_hash: self.pictures.hash.clone(),
            data: data.data.clone(),
            layout: data.layout.to_string(),
            split: data.split.clone(),
            size: self.pictures.size,
            filter: self.pictures.filter.to_string(),
            limit: data.limit,
            n: self.most(),
            looks: looks.clone(),
            least_gain: (!looks.is_empty()).then_some(self.args.least_gain),
            noise: self.args.arithmetic(),
            seed: self.args.seed,
            scales: self.args.scales.clone(),
            flips: self.args.flips,
            hybrid: self.args.hybrid.clone(),
            lipschitz: self.certifier.as_ref().map(Certifier::lipschitz),
        }
    }

    /// What speaks against its numbers of samples, of one look at all pixels.
    pub fn warned(&self, test: &Test) -> Result<Vec<String>> {
        let pixels = self.pictures.size.iter().product::<usize>() as u64;
        match self.targets[..] {
            [samples] => warned(test, (self.choose, samples), pixels),
            _ => Ok(Vec::new()),
        }
    }

    /// The pictures.
    pub fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.model.classes()
    }

    /// Leaves the first pictures out: their rows are there. A run that begins anew has no use for what another one
    /// has stored.
    pub fn skip(&mut self, ids: &[String]) -> Result<()> {
        if !self.resume {
            self.finished();
        }
        self.done = ids.len();
        self.pictures.skip(ids)
    }

    /// Samples of all pictures together, at most.
    pub fn samples(&self) -> usize {
        self.pictures.len() * self.each()
    }

    /// The next image; none after the last, and none where Ctrl-C has asked to stop: what was drawn is then stored.
    pub fn next<'a>(&mut self, test: &'a Test, progress: &Progress) -> Result<Option<Counted<'a>>> {
        if interrupt::asked() {
            return Ok(None);
        }
        let Some(sample) = self.pictures.next()? else {
            return Ok(None);
        };
        let id = sample.id.clone();
        let counted = self.count(test, sample, progress);
        let counted = counted.with_context(|| format!("image {id}"))?;
        self.done += usize::from(counted.is_some());
        Ok(counted)
    }

    /// The rows of an image are written: the state of the one before serves nobody any more.
    pub fn written(&mut self, id: &str) {
        if let Some(before) = self.written.replace(id.to_owned()) {
            for target in &self.targets {
                if let Some(path) = self.file(&before, *target) {
                    // what is left is a nuisance, no harm
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }

    /// All rows are written: no state is needed any more.
    pub fn finished(&self) {
        let Some(folder) = &self.store else {
            return;
        };
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "state") {
                let _ = std::fs::remove_file(path);
            }
        }
        let _ = std::fs::remove_dir(folder);
    }

    fn count<'a>(
        &self,
        test: &'a Test,
        sample: Sample,
        progress: &Progress,
    ) -> Result<Option<Counted<'a>>> {
        let sampler = Sampler::new(&*self.model, self.noise.clone(), self.args.seed)?;
        let mut state = sampler.start(&sample, self.choose, test.procedure.stage)?;
        let pixels = sample.height * sample.width;
        let mut looks = match self.args.looks.is_empty() {
            true => None,
            false => Some(Looks::new(test.procedure, &self.args.shares(), pixels)?),
        };
        let mut paths = Levels::new(test, self.choose);
        let mut looked: Option<Looked> = None;
        let mut means = self.certifier.as_ref().map(|_| Means::new(self.classes()));
        for &target in &self.targets {
            let path = self.file(&sample.id, target);
            let stored = path.as_deref();
            let stored = stored.filter(|path| self.resume && path.exists());
            if let Some(path) = stored {
                state = State::load(path)?;
            }
            let drawn = state.drawn();
            let end = self.go(
                &sampler,
                &sample,
                (&mut state, means.as_mut(), target),
                &mut paths,
                progress,
            );
            let end = match stored {
                None => end?,
                Some(path) => end.with_context(|| format!("going on with {}", path.display()))?,
            };
            if end == End::Stopped {
                return Ok(None);
            }
            if let Some(path) = path.filter(|_| state.drawn() > drawn) {
                store(&state, &path)?;
            }
            let votes = state.votes().context("no class was chosen")?;
            if let Some(looks) = &mut looks {
                let before = looked.take().map_or(0, |looked: Looked| looked.certified());
                let decision = looks.look(votes)?;
                let now = Looked::new(looks.certified().to_vec(), decision);
                let (count, gained) = (now.certified(), now.certified() - before);
                looked = Some(now);
                let little = before > 0 && (gained as f64) < self.args.least_gain * pixels as f64;
                if little || count == pixels {
                    break;
                }
            }
        }
        progress.set((self.done + 1) * self.each(), &self.note(&sample.id));
        let screened = state.hits().filter(|_| test.family == Family::Screened);
        let screened = screened.map(|hits| {
            let enough = |hits: &u8| usize::from(*hits) >= test.screen;
            hits.iter().map(enough).collect()
        });
        let sampling = sampler.sampling(&state, test.family);
        let hybrid = match (&self.certifier, &means) {
            (Some(certifier), Some(means)) => {
                let votes = state.votes().context("no class was chosen")?;
                self.hybrid(test, (certifier, means), &sample, votes.classes())?
            }
            _ => Vec::new(),
        };
        let paths = paths.and_then(|levels| levels.votes);
        let votes = match &paths {
            Some(paths) => paths.of_classes(),
            None => state.votes().cloned(),
        };
        Ok(Some(Counted {
            shape: vec![sample.height, sample.width],
            width: Some(sample.width),
            id: sample.id,
            labels: sample.mask,
            votes: votes.context("no class was chosen")?,
            paths,
            screened,
            repeated: 0,
            sampling,
            looked,
            hybrid,
        }))
    }

    /// Rows of the mean logits: beside labels how accurate they are, else how stable the classes that were chosen.
    fn hybrid(
        &self,
        test: &Test,
        (certifier, means): (&Certifier, &Means),
        sample: &Sample,
        chosen: &[u8],
    ) -> Result<Vec<HybridRow>> {
        let Law::Gaussian { sigma } = test.law else {
            return Ok(Vec::new());
        };
        let labels = sample.mask.as_deref();
        let grounds = Grounds {
            lipschitz: certifier.lipschitz(),
            eta: certifier.logits(&sample.image_f32())?.eta,
            sigma,
            alpha: test.procedure.alpha,
            same_samples: labels.is_none() && self.single,
        };
        let classes = (labels.unwrap_or(chosen), self.classes());
        let shares = shares(means, classes, &grounds, &self.args.hybrid)?;
        let metric = if labels.is_some() {
            "accuracy"
        } else {
            "stability"
        };
        let pairs = self.args.hybrid.iter().zip(shares);
        let row = |(eps, value): (&f64, Option<f64>)| {
            HybridRow::new((&sample.id, metric), (*eps, value), means, &grounds)
        };
        Ok(pairs.map(row).collect())
    }

    /// Draws until `target` test samples are counted.
    fn go(
        &self,
        sampler: &Sampler,
        sample: &Sample,
        (state, means, target): (&mut State, Option<&mut Means>, usize),
        paths: &mut Option<Levels>,
        progress: &Progress,
    ) -> Result<End> {
        let path = self.file(&sample.id, target);
        let (before, note) = (self.done * self.each(), self.note(&sample.id));
        let mut stored = Instant::now();
        let mut failed = None;
        let mut watch = |state: &State| {
            progress.set(before + state.drawn() as usize, &note);
            if interrupt::asked() {
                return ControlFlow::Break(());
            }
            if let Some(path) = path.as_deref().filter(|_| stored.elapsed() >= PAUSE) {
                if let Err(error) = store(state, path) {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
                stored = Instant::now();
            }
            ControlFlow::Continue(())
        };
        let mut see = |number: u32, labels: &[u8]| match paths {
            Some(levels) => levels.add(number, labels),
            None => Ok(()),
        };
        let end = sampler.run_seeing(sample, (state, means), target, &mut see, &mut watch);
        if let Some(error) = failed {
            return Err(error);
        }
        let end = end?;
        if let Some(path) = path.filter(|_| end == End::Stopped) {
            store(state, &path)?;
            say!(
                "image {} stopped after {} samples",
                sample.id,
                state.drawn()
            );
        }
        Ok(end)
    }

    /// Test samples of a picture, at most.
    fn most(&self) -> usize {
        self.targets.last().copied().unwrap_or(0)
    }

    /// Samples of a picture, at most.
    fn each(&self) -> usize {
        let choose = match self.single {
            true => 0,
            false => self.choose,
        };
        self.most() + choose
    }

    fn note(&self, id: &str) -> String {
        format!("image {} of {}: {id}", self.done + 1, self.pictures.len())
    }

    /// Where the state of an image lies that shall have so many test samples.
    fn file(&self, id: &str, target: usize) -> Option<PathBuf> {
        let name = id.replace(['/', '\\', ':'], "__");
        let folder = self.store.as_ref()?;
        Some(folder.join(format!("{name}-{target}.state")))
    }
}

fn store(state: &State, path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), make_dir)?;
    Ok(state.save(path)?)
}
