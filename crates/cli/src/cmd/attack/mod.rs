//! `certiseg attack`: attacks a model and checks that no attack beats its certificate.

mod row;
mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{Budget, Goal, Metric, Norm};
use certiseg_net::attack::{Criterion, Suite};
use certiseg_net::compare::{Arena, Assault, Comparison};
use certiseg_net::data::{Sample, read_attacked, write_attacked};
use certiseg_net::network::Certifier;
use clap::Args;
use serde::Serialize;

pub use self::row::Row;
use self::row::{Sought, Struck};
pub use self::tally::Attacked;
use super::certify::without_repeats;
use crate::budgets::parse_eps;
use crate::fail::{self, UNSOUND, Usage};
use crate::interrupt;
use crate::maps::Maps;
use crate::output::head;
use crate::picture;
use crate::progress::Progress;
use crate::region::Place;
use crate::run::{Run, RunArgs};
use crate::source::{DataArgs, Pictures, file_hash, pixels};

/// Flags of the verb.
#[derive(Args)]
pub struct Attack {
    /// Model or training checkpoint (safetensors)
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Budgets in [0, 1] pixel space, comma-separated, rising
    #[arg(long, default_value = "0.05,0.1,0.2", allow_hyphen_values = true)]
    eps: String,
    /// Norm of the budgets: 2, or inf, with certificates converted
    #[arg(long, default_value = "2")]
    norm: Norm,
    /// Where pictures may be changed, X,Y,WIDTH,HEIGHT in pixels of the network's input or a PNG of its
    /// size, black is out; certificates are still those of every change
    #[arg(long, value_name = "X,Y,W,H|PNG")]
    region: Option<Place>,
    /// accuracy, stability, fnr:CLASS or iou:CLASS; repeatable
    #[arg(long = "metric", default_value = "accuracy")]
    metrics: Vec<Metric>,
    /// What is attacked: a metric, or vanish:CLASS; repeatable; by default every metric
    #[arg(long = "criterion")]
    criteria: Vec<Criterion>,
    /// Attack by name, instead of a suite; repeatable; an unknown name lists all
    #[arg(long = "attack", conflicts_with = "suite")]
    attacks: Vec<String>,
    /// Attacks to take the best of: quick, strong, paper001
    #[arg(long, default_value = "quick")]
    suite: String,
    /// Gradient steps of each attack and budget; of dag the most, of lqa rounds (not of those in a suite);
    /// fgm is one step
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Seed of whatever is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A goal, such as 'accuracy<=0.5': the least budget found that reaches it, beside the certified
    /// one; repeatable; by the first attack of the suite
    #[arg(long)]
    until: Vec<Goal>,
    /// Rows tell the pixels of each class and size of region
    #[arg(long)]
    parts: bool,
    /// Folder for pictures of the largest budget, ID.png each: label, prediction, what the certificate
    /// fears, what the attack on the accuracy took
    #[arg(long)]
    maps: Option<PathBuf>,
    /// Rows tell wall time; they differ from run to run
    #[arg(long)]
    times: bool,
    /// New or empty folder for the attacked pictures, ID.npz each
    #[arg(long)]
    save: Option<PathBuf>,
    /// Folder of saved pictures to take the figures of, under the settings that saved them: other
    /// pictures, labels or budgets are refused, where the files hold theirs
    #[arg(long, conflicts_with_all = ["attacks", "suite", "steps", "save", "times", "seed", "until", "parts", "resume"])]
    evaluate: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// The settings of a run as its head row tells them.
#[derive(Serialize)]
struct Settings<'a> {
    model: &'a Path,
    model_hash: &'a str,
    data: Option<&'a Path>,
    layout: String,
    split: Option<&'a str>,
    size: [usize; 2],
    filter: String,
    data_hash: &'a str,
    norm: Norm,
    eps: &'a [Budget],
    metrics: &'a [Metric],
    criteria: Vec<String>,
    until: &'a [Goal],
    ignore: Option<i64>,
    limit: Option<u32>,
    images: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region_hash: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    parts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    attack: Option<&'a Suite>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluate: Option<&'a Path>,
}

impl Attack {
    /// Attacks every image.
    pub fn run(mut self) -> Result<ExitCode> {
        let mut eps = parse_eps(&self.eps)?;
        without_repeats(&mut eps);
        without_repeats(&mut self.metrics);
        without_repeats(&mut self.criteria);
        let budgets = eps.iter().map(|&eps| Ok(Budget::new(eps)?));
        let budgets = budgets.collect::<Result<Vec<_>>>()?;
        if self.criteria.is_empty() {
            let each = self.metrics.iter().map(|&metric| Criterion::Metric(metric));
            self.criteria = each.collect();
        }
        let steps = self.steps.map(|steps| steps as usize);
        let assault = Assault {
            norm: self.norm,
            eps,
            suite: match self.attacks.is_empty() {
                true => Suite::named(&self.suite, steps)?,
                false => Suite::of(&self.attacks, steps)?,
            },
            seed: self.seed,
            timed: self.times,
        };
        self.check(&assault)?;
        let mut pictures = Pictures::open(&self.model, &self.data, self.run.shard.as_ref())?;
        for metric in &self.metrics {
            metric.check(pictures.model.network.classes())?;
        }
        let region = self.region.as_ref().map(|place| place.of(pictures.size));
        let region = region.transpose()?;
        let mut arena = Arena::new(&pictures.model.network, pictures.size)?;
        let mut inside = None;
        if let Some(region) = &region {
            arena = arena.within(region)?;
            inside = Some(region.iter().filter(|&&inside| inside).count());
        }
        let [height, width] = pictures.size;
        let settings = Settings {
            model: &self.model,
            model_hash: &pictures.hash,
            data: self.data.data.as_deref(),
            layout: self.data.layout.to_string(),
            split: self.data.split.as_deref(),
            size: pictures.size,
            filter: pictures.filter.to_string(),
            data_hash: &pictures.data_hash,
            norm: self.norm,
            eps: &budgets,
            metrics: &self.metrics,
            criteria: self.criteria.iter().map(Criterion::to_string).collect(),
            until: &self.until,
            ignore: self.data.ignore,
            limit: self.data.limit,
            images: pictures.all,
            region: self.region.as_ref().map(Place::to_string),
            region_hash: self
                .region
                .as_ref()
                .and_then(Place::mask)
                .map(file_hash)
                .transpose()?,
            parts: self.parts,
            attack: self.evaluate.is_none().then_some(&assault.suite),
            evaluate: self.evaluate.as_deref(),
        };
        let head = head(&settings)
            .lipschitz(arena.lipschitz, arena.lipschitz_source())
            .unit(self.norm, pixels(height, width))
            .eta_source(Certifier::ETA_SOURCE)
            .seed(self.seed);
        let mut run = Run::open(&self.run, "attack", head)?;
        pictures.skip(run.kept())?;
        for dir in [&self.save, &self.maps].into_iter().flatten() {
            let made = std::fs::create_dir_all(dir);
            made.with_context(|| format!("cannot make the folder {}", dir.display()))?;
        }
        if let Some(dir) = &self.save
            && let Some(id) = run.kept().iter().find(|id| !Maps::file(dir, id).exists())
        {
            return Err(Usage::error(
                format!(
                    "{} is not there, but its rows are",
                    Maps::file(dir, id).display()
                ),
                "give --save the folder of the run that goes on, or leave --resume out to begin anew",
            ));
        }
        let progress = Progress::new("attack", pictures.len());
        interrupt::listen()?;
        while let Some(sample) = pictures.next()? {
            if interrupt::asked() {
                progress.finish();
                return Ok(self.verdict(run.stopped()));
            }
            let saved = self.save.as_deref();
            let saved = saved.map(|dir| Maps::place(dir, &sample.id, run.redoes(), "--save"));
            let saved = saved.transpose()?;
            let seen = self.seen(&arena, &sample, &assault);
            let seen = seen.with_context(|| format!("image {}", sample.id))?;
            for (metric, eps) in seen.violations(&self.metrics) {
                beaten(
                    &mut run,
                    &format!("image {}: {metric} at eps {eps}", sample.id),
                );
            }
            let rows = Row::of(&sample.id, self.norm, &self.metrics, &seen, inside)?;
            rows.iter().try_for_each(|row| run.push(row))?;
            let rows = Struck::of(&sample.id, &seen, self.parts)?;
            rows.iter().try_for_each(|row| run.push(row))?;
            for goal in &self.until {
                let first = &assault.suite.entries[0];
                let quest = arena.least(&sample, goal, &first.attack, self.seed);
                let quest = quest.with_context(|| format!("image {}", sample.id))?;
                if let Some(quest) = quest {
                    if quest.is_violated() {
                        beaten(&mut run, &format!("image {}: {goal}", sample.id));
                    }
                    run.push(&Sought::of(&sample.id, goal, &first.name, &quest))?;
                }
            }
            // rows first: a run that goes on redoes the last image that has some
            run.image()?;
            if let Some(path) = saved {
                write_attacked(&path, &sample, &assault.eps, &found(&seen, &self.criteria))?;
            }
            if let Some(dir) = &self.maps {
                draw(dir, &sample, &seen)?;
            }
            progress.set(run.done(), "");
        }
        progress.finish();
        Ok(self.verdict(run.finish::<Row>(&[])?))
    }

    /// As it is, with the way to the pictures of a certificate that was beaten, where nothing has them.
    fn verdict(&self, verdict: ExitCode) -> ExitCode {
        let kept = self.save.is_some() || self.evaluate.is_some();
        if verdict == ExitCode::from(UNSOUND) && !kept {
            say!(
                "hint: the pictures were not saved: run again with --save DIR and the same seed, --seed {}",
                self.seed
            );
        }
        verdict
    }

    /// An error where something was asked for that would be nowhere.
    fn check(&self, assault: &Assault) -> Result<()> {
        let norm = self.norm;
        if !self.until.is_empty() && norm != Norm::L2 {
            let message =
                format!("--until in the norm {norm}: the least budget is looked for in l2");
            return Err(Usage::error(message, "leave one of them out"));
        }
        let accuracy = Criterion::Metric(Metric::Accuracy);
        if (self.parts || self.maps.is_some()) && !self.criteria.contains(&accuracy) {
            let message = "--parts and --maps tell of the attack on the accuracy";
            return Err(Usage::error(message, "add --criterion accuracy"));
        }
        // a suite does without those of its attacks that do not know the norm
        let entries = &assault.suite.entries;
        let unknown = entries.iter().find(|entry| !entry.attack.knows(norm));
        let none = entries.iter().all(|entry| !entry.attack.knows(norm));
        match unknown {
            Some(entry) if self.evaluate.is_none() && (none || !self.attacks.is_empty()) => {
                let message = format!("{} does not attack in the norm {norm}", entry.name);
                let hint = "give another --attack, --suite or --norm";
                Err(Usage::error(message, hint))
            }
            _ => Ok(()),
        }
    }

    fn seen(&self, arena: &Arena, sample: &Sample, assault: &Assault) -> Result<Comparison> {
        let (metrics, criteria) = (&self.metrics, &self.criteria);
        let Some(dir) = &self.evaluate else {
            return Ok(arena.compare(sample, metrics, criteria, assault)?);
        };
        let path = Maps::file(dir, &sample.id);
        let saved = read_attacked(&path, sample, &assault.eps, criteria.len())?;
        let budgets = (assault.norm, &assault.eps[..]);
        Ok(arena.compare_saved(sample, metrics, criteria, budgets, &saved)?)
    }
}

/// Says at once that a certificate was beaten: the verdict comes behind the last image, if that is ever reached.
fn beaten(run: &mut Run, what: &str) {
    say!("UNSOUND: {what}");
    fail::beaten();
    run.stay();
}

/// Label, prediction, worst case of the certificate and attacked pixels, side by side.
fn draw(dir: &Path, sample: &Sample, seen: &Comparison) -> Result<()> {
    let bites = seen.strikes.last().and_then(|strike| strike.bites.as_ref());
    let (Some(bites), Some(labels)) = (bites, sample.mask.as_deref()) else {
        return Ok(());
    };
    let size = [sample.height, sample.width];
    let prediction = certiseg_cert::predictions(seen.logits.grid, &seen.logits.values)?;
    let tiles = vec![
        picture::photo(&seen.picture, size),
        picture::classes(labels, size),
        picture::worst_case(&prediction, &bites.wrong, &bites.taken, size),
        picture::worst_case(&prediction, &bites.wrong, &bites.attacked, size),
    ];
    let path = Maps::file(dir, &sample.id).with_extension("png");
    picture::save(&path, &picture::sheet(&[tiles], 1))
}

/// The attacked pictures of each criterion, one per budget; the clean one where nothing counts.
fn found(seen: &Comparison, criteria: &[Criterion]) -> Vec<Vec<Vec<f32>>> {
    let of = |criterion: &Criterion| {
        let strikes = seen.strikes.iter().map(|strike| {
            let mut rounds = strike.rounds.iter();
            let round = rounds.find(|(of, _)| of == criterion);
            round.map_or(&seen.picture, |(_, round)| &round.best.image)
        });
        strikes.cloned().collect()
    };
    criteria.iter().map(of).collect()
}
