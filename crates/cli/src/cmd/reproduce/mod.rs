//! `certiseg reproduce`: a table or figure of the papers, from the settings that travel with the program: its steps are
//! run one after the other as processes of this program, what was done is not done again, and in the end the paper's
//! numbers stand beside ours.

mod child;
mod journal;
mod manifest;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use certiseg_net::data::list;
use certiseg_view::Run;
use certiseg_view::beside::Quoted;
use clap::Args;

use self::child::End;
use self::journal::{Journal, Way};
use self::manifest::{ALL, Manifest, Places, Scale, Size, Step};
use crate::fail::{self, STOPPED, UNSOUND, Usage};
use crate::output::{make_dir, print_line, table};
use crate::source::{file_hash, hash};
use crate::{interrupt, runs};

/// Flags of the verb.
#[derive(Args)]
pub struct Reproduce {
    /// 001-table2, 002-fig2, ...; table2 is of paper 001. Or a TOML file of the form of experiments/reproduce
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// List all with the time each takes, and those that cannot be reproduced with the reason
    #[arg(long, conflicts_with_all = ["name", "data", "model", "out"])]
    list: bool,
    /// How much is done
    #[arg(long, value_enum, default_value = "laptop")]
    scale: Size,
    /// Folder of the data set, where one is needed
    #[arg(long)]
    data: Option<PathBuf>,
    /// Model or training checkpoint (safetensors), where one is needed; where a step would make it, this one instead
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder for all that is made; by default certiseg-reproduce/NAME-SCALE. The same line goes on in it
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Reproduce {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let Some(name) = self.name.as_deref().filter(|_| !self.list) else {
            print_line(&listing()?)?;
            return Ok(ExitCode::SUCCESS);
        };
        let (name, manifest) = Manifest::find(name)?;
        let scale = manifest.scale(&name, self.scale)?;
        self.check(&name, scale)?;
        let folder = format!("certiseg-reproduce/{name}-{}", self.scale.name());
        let out = self.out.clone().unwrap_or_else(|| folder.into());
        let made = scale.steps.iter().find_map(|step| step.makes.as_deref());
        let mut places = Places {
            data: self.data.as_deref().map(text).transpose()?,
            model: self.model.as_deref().map(text).transpose()?,
            out: text(&out)?,
        };
        if let (None, Some(made)) = (&places.model, made) {
            places.model = Some(places.fill(&[made.to_owned()])?.concat());
        }
        let plan = Plan::of(scale, &places, self.model.as_deref())?;
        let journal = Journal::open(&out, &name, self.scale.name())?;
        announce(&name, &manifest, scale, self.scale, &plan, &out);
        interrupt::listen()?;
        make_dir(&out.join("logs"))?;
        let mut work = Work { out, journal, plan };
        if let Some(code) = work.steps()? {
            return Ok(code);
        }
        work.results(&name, &manifest, scale, self.scale)
    }

    /// Whether what is needed is there, and nothing is given for nothing.
    fn check(&self, name: &str, scale: &Scale) -> Result<()> {
        match (&self.data, &scale.data) {
            (None, Some(needed)) => {
                let message = format!("{name} needs data of the layout {}", needed.layout);
                let hint = format!("give --data DIR: {}", needed.from);
                return Err(Usage::error(message, hint));
            }
            (Some(_), None) => {
                let message = format!("{name} reads no data set");
                return Err(Usage::error(message, "leave --data out"));
            }
            (Some(dir), Some(needed)) => {
                for split in &needed.splits {
                    let found = list(dir, needed.layout, Some(split));
                    found.map_err(|error| {
                        let message =
                            format!("{} is not what {name} needs: {error}", dir.display());
                        Usage::error(message, needed.from.clone())
                    })?;
                }
            }
            (None, None) => {}
        }
        match (&self.model, &scale.model) {
            (None, Some(place)) => {
                let message = format!("{name} needs a model");
                Err(Usage::error(message, format!("give --model FILE: {place}")))
            }
            (Some(_), _) if !scale.uses("{model}") => {
                let message = format!("{name} needs no model");
                Err(Usage::error(message, "leave --model out"))
            }
            (Some(file), _) if !file.is_file() => {
                let message = format!("--model {} is no file", file.display());
                let place = scale.model.as_deref();
                let hint = place.unwrap_or("without --model it is trained");
                Err(Usage::error(message, hint))
            }
            _ => Ok(()),
        }
    }
}

/// A path that can be an argument.
fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("{} is no text", path.display());
        Usage::error(message, "name folders and files in UTF-8")
    })
}

/// What is run.
struct Plan {
    /// The steps that are not passed over, their lines, and the hashes of these.
    steps: Vec<(Step, Vec<String>, String)>,
    /// Lines of the end.
    results: Vec<Vec<String>>,
}

impl Plan {
    fn of(scale: &Scale, places: &Places, model: Option<&Path>) -> Result<Self> {
        let model_hash = model.map(file_hash).transpose()?.unwrap_or_default();
        let mut steps = Vec::new();
        for step in &scale.steps {
            // trained only where none was given
            if step.makes.is_some() && model.is_some() {
                continue;
            }
            let line = places.fill(&step.run)?;
            let used = step.run.iter().any(|word| word.contains("{model}"));
            let model = if used { model_hash.as_str() } else { "" };
            let hashed = hash(format!("{line:?} {model}").as_bytes());
            steps.push((step.clone(), line, hashed));
        }
        let results = scale.result.iter().map(|line| places.fill(line));
        Ok(Self {
            steps,
            results: results.collect::<Result<_>>()?,
        })
    }
}

/// Says what will be done.
fn announce(name: &str, manifest: &Manifest, scale: &Scale, size: Size, plan: &Plan, out: &Path) {
    let Manifest {
        of, item, shows, ..
    } = manifest;
    say!("{name}: {item} of paper {of}: {shows}");
    say!("scale {}: {}", size.name(), scale.scaled);
    say!("time on two cores: {} ({})", scale.time, scale.known.name());
    for (step, line, _) in &plan.steps {
        say!("  {:10} certiseg {}", step.name, shown(line));
    }
    say!("  into {}", out.display());
}

/// A line as one would type it.
fn shown(line: &[String]) -> String {
    let quoted = |word: &String| match word.chars().any(|c| " <>='\"[]()*?{}#&|;$".contains(c)) {
        true => format!("'{}'", word.replace('\'', "'\\''")),
        false => word.clone(),
    };
    line.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// What is done in a folder.
struct Work {
    out: PathBuf,
    journal: Journal,
    plan: Plan,
}

impl Work {
    /// Runs what is left; the code of the program where it ends early.
    fn steps(&mut self) -> Result<Option<ExitCode>> {
        let steps = std::mem::take(&mut self.plan.steps);
        let mut stale = false;
        for (at, (step, line, hashed)) in steps.iter().enumerate() {
            let name = &step.name;
            let label = format!("step {}/{} {name}", at + 1, steps.len());
            let way = self.journal.way(name, hashed, stale);
            if way == Way::Skip {
                say!("{label}: done before");
                continue;
            }
            if interrupt::asked() {
                return Ok(Some(self.stopped(name)));
            }
            if way == Way::Again {
                say!(
                    "{label}: {} is of other settings, another model or version: made anew",
                    self.out.join(name).display()
                );
            }
            stale |= way != Way::GoOn;
            let (line, goes_on) = self.line(name, line, way)?;
            say!("{label}: certiseg {}", shown(&line));
            let log = self.log(name);
            let before = self.journal.begin(name, hashed, goes_on)?;
            let start = Instant::now();
            let end = child::run(&line, Some(&log));
            let seconds = before + start.elapsed().as_secs_f64();
            self.journal
                .end(name, seconds, matches!(end, Ok(End::Done)))?;
            match end? {
                End::Done => {}
                End::Stopped => return Ok(Some(self.stopped(name))),
                End::Unsound => {
                    fail::beaten();
                    let log = log.display();
                    say!(
                        "UNSOUND: in step {name} an attack beat a certificate; see {log} and its rows"
                    );
                    return Ok(Some(ExitCode::from(UNSOUND)));
                }
                End::Failed(code) => return Err(failed(name, code, &log)),
            }
        }
        Ok(None)
    }

    /// The line of a step that may go on; whether it does. What it had made is removed where it begins anew: its
    /// folder is ours, the journal says so.
    fn line(&self, name: &str, line: &[String], way: Way) -> Result<(Vec<String>, bool)> {
        let folder = self.out.join(name);
        if way == Way::GoOn {
            if line[0] == "train" && folder.join("checkpoint.safetensors").exists() {
                let run = text(&folder)?;
                return Ok((vec!["train".into(), "--resume".into(), run], true));
            }
            if resumes(line) {
                let mut line = line.to_vec();
                line.push("--resume".into());
                return Ok((line, true));
            }
        }
        if way != Way::First && folder.is_dir() {
            let removed = std::fs::remove_dir_all(&folder);
            removed.with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        Ok((line.to_vec(), false))
    }

    /// What a step prints.
    fn log(&self, name: &str) -> PathBuf {
        self.out.join("logs").join(format!("{name}.txt"))
    }

    fn stopped(&self, name: &str) -> ExitCode {
        say!("stopped at step {name}: the same line goes on there");
        ExitCode::from(STOPPED)
    }

    /// Draws, and sets the paper's numbers beside ours.
    fn results(
        &self,
        name: &str,
        manifest: &Manifest,
        scale: &Scale,
        size: Size,
    ) -> Result<ExitCode> {
        let mut drawn = Vec::new();
        let mut trouble = Vec::new();
        for line in &self.plan.results {
            if interrupt::asked() {
                return Ok(self.stopped("of drawing"));
            }
            match child::run(line, None)? {
                End::Done => drawn.extend(file_of(line)),
                End::Stopped => return Ok(self.stopped("of drawing")),
                End::Unsound => {
                    // whatever else is printed, this is the exit code
                    fail::beaten();
                    trouble.push(format!(
                        "certiseg {}: an attack beat a certificate",
                        shown(line)
                    ));
                }
                End::Failed(code) => {
                    trouble.push(format!("certiseg {} ended {}", shown(line), how(code)));
                }
            }
        }
        for step in scale.steps.iter().filter(|step| step.show > 0) {
            let log = self.log(&step.name);
            let text = std::fs::read_to_string(&log);
            let text = text.with_context(|| format!("cannot read {}", log.display()))?;
            for line in text.lines().take(step.show) {
                print_line(&format!("{}: {line}", step.name))?;
            }
        }
        let Manifest { of, item, .. } = manifest;
        print_line(&format!(
            "\n{name}: {item} of paper {of} beside ours, scale {}",
            size.name()
        ))?;
        print_line(&beside(&self.out, &manifest.paper)?)?;
        print_line(&format!("scaled down: {}", scale.scaled))?;
        if let Some(note) = &manifest.note {
            print_line(&format!("note: {note}"))?;
        }
        for file in drawn {
            print_line(&format!("drawn: {file}"))?;
        }
        let seconds = self.journal.seconds();
        print_line(&format!("time of all steps: {}", duration(seconds)))?;
        match trouble.is_empty() {
            true => Ok(ExitCode::SUCCESS),
            false => {
                let hint = "the rows are there, and the same line tries again to draw them";
                Err(Usage::error(trouble.join("; "), hint))
            }
        }
    }
}

/// Whether its verb knows `--resume`.
fn resumes(line: &[String]) -> bool {
    match [0, 1].map(|at| line.get(at).map_or("", String::as_str)) {
        ["certify" | "attack" | "eval", _] | ["cloud", "smooth"] => true,
        // toy and plan begin anew
        ["smooth", flag] => flag.starts_with("--"),
        _ => false,
    }
}

/// An end that is none of the good ones, in words.
fn how(code: Option<i32>) -> String {
    match code {
        Some(code) => format!("with exit code {code}"),
        None => "by a signal".into(),
    }
}

fn failed(name: &str, code: Option<i32>, log: &Path) -> anyhow::Error {
    let (how, log) = (how(code), log.display());
    let message = format!("step {name} ended {how}; what it printed is in {log}");
    Usage::error(
        message,
        "mend what it says above; the same line goes on at this step",
    )
}

/// What a figure is drawn into.
fn file_of(line: &[String]) -> Option<&String> {
    let at = line.iter().position(|word| word == "--out")?;
    line.get(at + 1)
}

/// The numbers of a paper beside those of the runs in a folder.
fn beside(out: &Path, quoted: &[Quoted]) -> Result<String> {
    let header = ["", "the paper", "ours", "where"].map(str::to_owned);
    let mut rows = Vec::new();
    for number in quoted {
        let ours = ours(out, number)?.unwrap_or_else(|| "-".into());
        rows.push(vec![
            number.label.clone(),
            number.paper(),
            ours,
            number.at.clone(),
        ]);
    }
    Ok(table(&header, &rows))
}

/// Ours, where a run has it. That a run of another size lacks it is no error.
fn ours(out: &Path, number: &Quoted) -> Result<Option<String>> {
    let read = |run: &Option<String>| -> Result<Option<Run>> {
        let folder = run.as_ref().map(|run| out.join(run));
        let there = folder.filter(|folder| folder.join("rows.jsonl").exists());
        there.map(|folder| runs::read(&folder)).transpose()
    };
    let Some(run) = read(&number.run)? else {
        return Ok(None);
    };
    let minus = read(&number.minus)?;
    if number.minus.is_some() && minus.is_none() {
        return Ok(None);
    }
    match number.answer(&run, minus.as_ref()) {
        Err(certiseg_view::Error::Missing { .. }) => Ok(None),
        answer => Ok(answer?),
    }
}

/// Names, what each shows, and what it takes.
fn listing() -> Result<String> {
    let mut lines = Vec::new();
    for (name, _) in ALL {
        let (name, manifest) = Manifest::find(name)?;
        lines.push(format!("{name:11} {}: {}", manifest.item, manifest.shows));
        if let Some(reason) = &manifest.cannot {
            lines.push(format!("{:11}   not reproduced: {reason}", ""));
        }
        for (size, scale) in [("laptop", &manifest.laptop), ("full", &manifest.full)] {
            lines.extend(scale.as_ref().map(|scale| offer(size, scale)));
        }
        if let Some(reason) = &manifest.no_full {
            lines.push(format!("{:11}   no full scale: {reason}", ""));
        }
    }
    lines.push("times are those of two cores; certiseg reproduce NAME [--scale full] [--data DIR] [--model FILE]".into());
    Ok(lines.join("\n"))
}

fn offer(size: &str, scale: &Scale) -> String {
    let data = scale.data.as_ref();
    let data = data.map(|data| format!(", --data of the layout {}", data.layout));
    let model = scale
        .model
        .as_ref()
        .map(|place| format!(", --model {place}"));
    let (data, model) = (data.unwrap_or_default(), model.unwrap_or_default());
    let known = scale.known.name();
    format!("{:11}   {size}: {} ({known}){data}{model}", "", scale.time)
}

/// For people.
fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 120.0 => format!("{short:.0} s"),
        long if long < 7200.0 => format!("{:.0} min", long / 60.0),
        days => format!("{:.1} h", days / 3600.0),
    }
}
