//! `certiseg merge`: one run of the parts that `--shard` has spread over processes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::Head;
use clap::Args;
use serde::de::IgnoredAny;

use crate::fail::Usage;
use crate::fields::{fields, object};
use crate::output::Format;
use crate::rows_file::RowsFile;
use crate::run::{End, Run, difference, expected};
use crate::shard::{Shard, listed};

/// Flags of the verb.
#[derive(Args)]
pub struct Merge {
    /// Files of rows, or folders with such; a single whole one is only shown
    #[arg(required = true)]
    rows: Vec<PathBuf>,
    /// Merge what is there where shards are missing; the result is a shard of several parts
    #[arg(long)]
    partial: bool,
    /// Folder for rows.jsonl
    #[arg(long)]
    out: Option<PathBuf>,
    /// What standard output gets
    #[arg(long, default_value = "table")]
    format: Format,
}

/// A file of rows and the part of the images it has.
struct Part {
    file: RowsFile,
    shard: Shard,
}

impl Merge {
    /// Merges them.
    pub fn run(self) -> Result<ExitCode> {
        let mut paths = Vec::new();
        for path in &self.rows {
            paths.extend(files(path)?);
        }
        let mut parts = Vec::new();
        for path in &paths {
            let file = RowsFile::open(path)?;
            let wrong = || format!("the head row of {}", path.display());
            let head: Head<IgnoredAny> = serde_json::from_str(file.head()).with_context(wrong)?;
            match head.shard {
                Some(shard) => parts.push(Part {
                    shard: shard.parse().map_err(anyhow::Error::msg)?,
                    file,
                }),
                None if paths.len() == 1 => return self.show(file),
                None => {
                    let message = format!("{} has the rows of all images", path.display());
                    let hint = "give files of shards, which runs with --shard I/N write";
                    return Err(Usage::error(message, hint));
                }
            }
        }
        let shard = union(&parts)?;
        for part in &parts[1..] {
            agree(&parts[0].file, &part.file)?;
        }
        let missing = shard.missing();
        if !missing.is_empty() {
            let missing = format!(
                "shards {} of {} are missing",
                listed(&missing, ", "),
                shard.of()
            );
            if !self.partial {
                let hint = "give them too, or --partial to merge what is there";
                return Err(Usage::error(missing, hint));
            }
            say!("{missing}; the result is shard {shard}");
        }
        self.merge(parts, &shard)
    }

    fn merge(&self, mut parts: Vec<Part>, shard: &Shard) -> Result<ExitCode> {
        let first = &parts[0].file;
        let images = expected(first.head(), None)?;
        let some = (!shard.missing().is_empty()).then_some(shard);
        let text = some.map(|shard| format!("\"{shard}\""));
        let mut fields = fields(first.head())?;
        match &text {
            Some(text) => fields
                .iter_mut()
                .filter(|(name, _)| name == "shard")
                .for_each(|(_, value)| *value = text),
            None => fields.retain(|(name, _)| name != "shard"),
        }
        let path = self.out.as_deref();
        let path = path.map(|dir| dir.join(Shard::file_name(some)));
        let mut run = Run::start(path.as_deref(), &object(&fields)?, some, self.format)?;
        for index in 0..images {
            let Some(part) = parts.iter_mut().find(|part| part.shard.has(index)) else {
                continue;
            };
            match part.file.next_image()? {
                Some(group) => {
                    let wrong = || part.file.path().display().to_string();
                    run.group(group).with_context(wrong)?;
                }
                None => return Err(unfinished(part, images)),
            }
        }
        for part in &mut parts {
            let end = part.file.next_line()?;
            let end: Option<End> = end.and_then(|line| serde_json::from_str(&line.text).ok());
            let whole = end.is_some_and(|end| end.images == part.shard.count(images));
            if !whole || part.file.next_line()?.is_some() {
                return Err(unfinished(part, images));
            }
        }
        run.finish::<End>(&[])
    }

    /// A whole run: its table, and its rows as they are.
    fn show(&self, mut file: RowsFile) -> Result<ExitCode> {
        let images = expected(file.head(), None)?;
        let path = self.out.as_deref();
        let path = path.map(|dir| dir.join(Shard::file_name(None)));
        let mut run = Run::start(path.as_deref(), file.head(), None, self.format)?;
        while let Some(group) = file.next_image()? {
            run.group(group)?;
        }
        if run.done() != images {
            let (file, shard) = (file, Shard::whole());
            return Err(unfinished(&Part { file, shard }, images));
        }
        while let Some(line) = file.next_line()? {
            run.verbatim(line)?;
        }
        run.finish::<End>(&[])
    }
}

/// The files of rows that a path stands for: shards of a folder before what was made of them.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let wrong = || format!("cannot read the folder {}", path.display());
    let mut names = Vec::new();
    for entry in path.read_dir().with_context(wrong)? {
        names.push(
            entry
                .with_context(wrong)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    let shards = names
        .iter()
        .filter(|name| name.starts_with("rows-") && name.ends_with(".jsonl"));
    let shards: Vec<_> = shards.map(|name| path.join(name)).collect();
    if !shards.is_empty() {
        return Ok(shards);
    }
    let whole = path.join(Shard::file_name(None));
    if whole.exists() {
        return Ok(vec![whole]);
    }
    let unfinished = names.iter().find(|name| name.ends_with(".jsonl.partial"));
    match unfinished {
        Some(name) => Err(Usage::error(
            format!("{} is unfinished", path.join(name).display()),
            "go on with the run that wrote it: --resume",
        )),
        None => Err(Usage::error(
            format!("no rows in {}", path.display()),
            "give folders that were --out of certify, attack, eval or smooth",
        )),
    }
}

/// All parts together; an error where two files have one.
fn union(parts: &[Part]) -> Result<Shard> {
    let first = &parts[0];
    for (index, part) in parts.iter().enumerate() {
        if part.shard.of() != first.shard.of() {
            let message = format!(
                "{} is shard {}, {} is shard {}",
                first.file.path().display(),
                first.shard,
                part.file.path().display(),
                part.shard,
            );
            return Err(Usage::error(message, "merge parts of one N"));
        }
        for other in &parts[..index] {
            let both = |here: &&u32| other.shard.parts().contains(here);
            if let Some(twice) = part.shard.parts().iter().find(both) {
                let message = format!(
                    "shard {twice} of {} is in {} and in {}",
                    first.shard.of(),
                    other.file.path().display(),
                    part.file.path().display(),
                );
                return Err(Usage::error(message, "give each shard once"));
            }
        }
    }
    let all = parts.iter().flat_map(|part| part.shard.parts().to_vec());
    Shard::new(all.collect(), first.shard.of()).context("shards that cannot be")
}

/// An error where two heads differ in more than the shard.
fn agree(a: &RowsFile, b: &RowsFile) -> Result<()> {
    let without = |file: &RowsFile| {
        let mut fields = fields(file.head())?;
        fields.retain(|(name, _)| name != "shard");
        object(&fields)
    };
    match difference(&without(a)?, &without(b)?)? {
        None => Ok(()),
        Some(difference) => {
            let [a, b] = [a, b].map(|file| file.path().display());
            let message = format!("{} in {a}, {} in {b}", difference.first, difference.second);
            let hint = "merge shards of one run: same program, model, data and settings";
            Err(Usage::error(message, hint))
        }
    }
}

fn unfinished(part: &Part, images: usize) -> anyhow::Error {
    let message = format!(
        "{} is not whole, expected {} images and their last row",
        part.file.path().display(),
        part.shard.count(images)
    );
    let hint = "copy the file again, or go on with the run that wrote it: --resume";
    Usage::error(message, hint)
}
