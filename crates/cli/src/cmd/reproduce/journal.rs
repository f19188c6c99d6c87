//! What was done under an output folder: `reproduce.json`, written before and after each step.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_net::checkpoint::write_whole;
use serde::{Deserialize, Serialize};

use crate::fail::Usage;

/// Its name.
const FILE: &str = "reproduce.json";
/// Of its form.
const FORMAT: u32 = 1;

/// What was done.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    /// Of the table or figure.
    name: String,
    scale: String,
    steps: Vec<Entry>,
}

/// A step that was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Of the step.
    pub name: String,
    /// Hash of its arguments and of the model it was given.
    pub arguments: String,
    /// Of the program that ran it.
    pub version: String,
    /// What that was built from.
    pub git: Option<String>,
    /// Wall time, of all sessions.
    pub seconds: f64,
    /// Whether it ended well.
    pub done: bool,
}

/// How a step is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It was done: not at all.
    Skip,
    /// It was begun under these settings.
    GoOn,
    /// It was run under other settings or by another version, or what it reads was made anew.
    Again,
    /// It was never begun.
    First,
}

/// The record and its place.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    record: Record,
}

impl Journal {
    /// Of a folder, which is made where it is missing.
    pub fn open(out: &Path, name: &str, scale: &str) -> Result<Self> {
        crate::output::make_dir(out)?;
        let path = out.join(FILE);
        let fresh = Record {
            format: FORMAT,
            name: name.into(),
            scale: scale.into(),
            steps: Vec::new(),
        };
        let record = match path.exists() {
            false => fresh,
            true => Self::read(&path)?,
        };
        if (record.name.as_str(), record.scale.as_str()) != (name, scale) {
            let Record {
                name: n, scale: s, ..
            } = record;
            let message = format!(
                "{} holds {n} at scale {s}, not {name} at {scale}",
                out.display()
            );
            return Err(Usage::error(message, "name another --out"));
        }
        Ok(Self { path, record })
    }

    fn read(path: &Path) -> Result<Record> {
        let wrong = || format!("cannot read {}", path.display());
        let text = std::fs::read_to_string(path).with_context(wrong)?;
        let record: Record = serde_json::from_str(&text).with_context(wrong)?;
        match record.format {
            FORMAT => Ok(record),
            other => {
                let message = format!("{} has format {other}, expected {FORMAT}", path.display());
                Err(Usage::error(message, "name another --out"))
            }
        }
    }

    /// How a step with these arguments is run; `stale` where what it reads was made anew.
    pub fn way(&self, name: &str, arguments: &str, stale: bool) -> Way {
        let Some(entry) = self.entry(name) else {
            return Way::First;
        };
        let same = entry.arguments == arguments && entry.version == env!("CARGO_PKG_VERSION");
        match (same && !stale, entry.done) {
            (false, _) => Way::Again,
            (true, true) => Way::Skip,
            (true, false) => Way::GoOn,
        }
    }

    /// A step begins; the time it has taken before, if it goes on.
    pub fn begin(&mut self, name: &str, arguments: &str, goes_on: bool) -> Result<f64> {
        let before = self.entry(name).filter(|_| goes_on);
        let before = before.map_or(0.0, |entry| entry.seconds);
        self.record.steps.retain(|entry| entry.name != name);
        self.record.steps.push(Entry {
            name: name.into(),
            arguments: arguments.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            git: option_env!("CERTISEG_COMMIT").map(str::to_owned),
            seconds: before,
            done: false,
        });
        self.write()?;
        Ok(before)
    }

    /// A step ended, well or not, after so many seconds in all.
    pub fn end(&mut self, name: &str, seconds: f64, done: bool) -> Result<()> {
        let entry = self.record.steps.iter_mut();
        for entry in entry.filter(|entry| entry.name == name) {
            (entry.seconds, entry.done) = (seconds, done);
        }
        self.write()
    }

    /// Of all steps, in all sessions.
    pub fn seconds(&self) -> f64 {
        self.record.steps.iter().map(|entry| entry.seconds).sum()
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.record.steps.iter().find(|entry| entry.name == name)
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.record)?;
        Ok(write_whole(&self.path, text.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_not_done_again_unless_something_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| Journal::open(dir.path(), name, "laptop");
        let mut journal = open("a").unwrap();
        assert_eq!(journal.way("x", "1", false), Way::First);
        assert_eq!(journal.begin("x", "1", false).unwrap(), 0.0);
        assert_eq!(open("a").unwrap().way("x", "1", false), Way::GoOn);
        journal.end("x", 2.5, false).unwrap();
        assert_eq!(journal.begin("x", "1", true).unwrap(), 2.5);
        journal.end("x", 4.0, true).unwrap();
        let journal = open("a").unwrap();
        assert_eq!(journal.way("x", "1", false), Way::Skip);
        assert_eq!(journal.way("x", "2", false), Way::Again);
        assert_eq!(journal.way("x", "1", true), Way::Again);
        assert_eq!(journal.seconds(), 4.0);
        let error = open("b").unwrap_err().to_string();
        assert!(error.contains("holds a at scale laptop"), "{error}");
    }

    #[test]
    fn another_version_and_another_format_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), "a", "full").unwrap();
        journal.begin("x", "1", false).unwrap();
        journal.end("x", 1.0, true).unwrap();
        let path = dir.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&version), "{text}");
        std::fs::write(&path, text.replace(&version, "\"version\": \"0.0.0\"")).unwrap();
        let journal = Journal::open(dir.path(), "a", "full").unwrap();
        assert_eq!(journal.way("x", "1", false), Way::Again);
        std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 7")).unwrap();
        let error = Journal::open(dir.path(), "a", "full").unwrap_err();
        assert!(error.to_string().contains("format 7"));
    }
}
