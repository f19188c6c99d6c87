//! `certiseg report`: one HTML page of runs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_net::checkpoint::write_whole;
use certiseg_view::Picture;
use certiseg_view::page::{Audit, Bench, Materials, PICTURES, Training, page};
use clap::Args;
use serde_json::Value;

use crate::fail::{UNSOUND, Usage};
use crate::output::make_dir;
use crate::{pictures, runs};

/// What a RUN may be, as a hint.
const RUNS: &str = "give rows of certify, attack, smooth, compare or eval, their folder, the run folder of a \
                    training, or what audit --json or bench --json printed";

/// Flags of the verb.
#[derive(Args)]
pub struct Report {
    /// Files of rows or their folders (certify, attack, smooth, compare, eval), run folders of trainings, the
    /// output of audit --json and bench --json; all about one model
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Folder that certify --maps DIR wrote: the pictures under the slider, up to 50
    #[arg(long, value_name = "DIR")]
    maps: Option<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

impl Report {
    /// Reads the runs and writes the page.
    pub fn run(self) -> Result<ExitCode> {
        let mut materials = Materials::default();
        for path in &self.runs {
            add(&mut materials, path)?;
        }
        if let Some(dir) = &self.maps {
            materials.pictures = shown(dir, &materials)?;
        }
        write(&materials, &self.out)
    }
}

/// Writes the page of these materials and says its verdict.
fn write(materials: &Materials, out: &Path) -> Result<ExitCode> {
    free(out)?;
    let page = page(materials).map_err(explain)?;
    if let Some(dir) = out.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        make_dir(dir)?;
    }
    write_whole(out, page.html.as_bytes())?;
    for warning in &page.warnings {
        say!("warning: {warning}");
    }
    say!("{}", page.verdict);
    say!("report  {}", out.display());
    Ok(match page.unsound {
        true => ExitCode::from(UNSOUND),
        false => ExitCode::SUCCESS,
    })
}

/// Pictures of a folder with the names that images have in the rows, whole as far as a page shows them.
pub fn shown(dir: &Path, materials: &Materials) -> Result<Vec<Picture>> {
    let mut images: BTreeSet<&str> = BTreeSet::new();
    for run in &materials.runs {
        images.extend(run.rows.iter().map(|row| row.image.as_str()));
        images.extend(run.curves.iter().map(|row| row.image.as_str()));
        images.extend(run.attacks.iter().map(|row| row.image.as_str()));
    }
    pictures::read_some(dir, images, PICTURES)
}

/// Only an earlier page is written over: a slip in `--out` must not cost rows.
fn free(out: &Path) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    let page = || -> std::io::Result<bool> {
        let mut start = String::new();
        File::open(out)?.take(16).read_to_string(&mut start)?;
        let start = start.to_ascii_lowercase();
        Ok(start.is_empty() || start.starts_with("<!doctype html"))
    };
    match out.is_file() && page().unwrap_or(false) {
        true => Ok(()),
        false => Err(Usage::error(
            format!("{} is there and is no page", out.display()),
            "name a file that is not there, or an earlier report",
        )),
    }
}

/// With the way out, where the message does not have it.
fn explain(error: certiseg_view::Error) -> anyhow::Error {
    match &error {
        certiseg_view::Error::Mixed { .. } => {
            Usage::error(error.to_string(), "give a page to each")
        }
        certiseg_view::Error::Missing { .. } => Usage::error(error.to_string(), RUNS),
        _ => error.into(),
    }
}

/// Adds what lies at a path, whatever it is.
fn add(materials: &mut Materials, path: &Path) -> Result<()> {
    if path.is_dir() && path.join("config.toml").exists() && !path.join("rows.jsonl").exists() {
        materials.trainings.push(training(path)?);
        return Ok(());
    }
    if path.is_dir() {
        materials.runs.push(runs::read(path)?);
        return Ok(());
    }
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let first = text.lines().next().unwrap_or_default();
    let wrong = || format!("{} is no JSON", path.display());
    let value: Value = serde_json::from_str(first).with_context(wrong)?;
    if value["kind"].is_string() {
        materials.runs.push(runs::read(path)?);
        return Ok(());
    }
    if value["layers"].is_array() && value["lipschitz"].is_number() {
        let audit: Audit = serde_json::from_value(value)
            .with_context(|| format!("{} is no output of audit --json", path.display()))?;
        if materials.audit.replace(audit).is_some() {
            return Err(Usage::error(
                format!("{} is a second audit", path.display()),
                "give one: a page is about one model",
            ));
        }
        return Ok(());
    }
    if value["what"].is_string() && value["milliseconds"].is_number() {
        for line in text.lines() {
            let bench: Bench = serde_json::from_str(line)
                .with_context(|| format!("{} is no output of bench --json", path.display()))?;
            materials.benches.push(bench);
        }
        return Ok(());
    }
    Err(Usage::error(
        format!(
            "{} is neither rows nor an audit nor timings",
            path.display()
        ),
        RUNS,
    ))
}

/// The folder of a training; a file that is not there yet is empty.
fn training(dir: &Path) -> Result<Training> {
    let read = |name: &str| {
        let path = dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    };
    let json = |name: &str, text: &str| -> Result<Value> {
        let wrong = || format!("{} is torn", dir.join(name).display());
        serde_json::from_str(text).with_context(wrong)
    };
    let sessions = read("env.json")?;
    let metrics = read("metrics.jsonl")?;
    let epochs = metrics.lines().map(|line| json("metrics.jsonl", line));
    Ok(Training {
        name: dir.display().to_string(),
        config: read("config.toml")?,
        sessions: match sessions.is_empty() {
            true => Value::Null,
            false => json("env.json", &sessions)?,
        },
        epochs: epochs.collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{},"verb":"certify"}"#;

    fn added(name: &str, text: &str) -> Result<Materials> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut materials = Materials::default();
        add(&mut materials, &path)?;
        Ok(materials)
    }

    #[test]
    fn each_file_goes_to_its_kind() {
        let rows = added("rows.jsonl", &format!("{HEAD}\n")).unwrap();
        assert_eq!(rows.runs.len(), 1);
        let audit = r#"{"lipschitz":1.0,"height":4,"width":4,"weights":9,"layers":[{"name":"a","norm":1.0,"method":"rule","seconds":0.1}]}"#;
        assert_eq!(
            added("a.json", audit).unwrap().audit.unwrap().layers.len(),
            1
        );
        let bench = r#"{"what":"inference","height":4,"width":4,"batch":1,"threads":2,"milliseconds":1.5,"least_milliseconds":1.0}"#;
        let benches = added("b.json", &format!("{bench}\n{bench}\n"))
            .unwrap()
            .benches;
        assert_eq!(benches.len(), 2);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), "seed = 1").unwrap();
        std::fs::write(dir.path().join("metrics.jsonl"), "{\"epoch\":1}\n").unwrap();
        let mut materials = Materials::default();
        add(&mut materials, dir.path()).unwrap();
        assert_eq!(materials.trainings[0].epochs.len(), 1);
    }

    #[test]
    fn nothing_but_a_page_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        free(&file).unwrap();
        for (text, page) in [
            ("", true),
            ("<!doctype html>\n<html>", true),
            (HEAD, false),
            ("<!doc", false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(free(&file).is_ok(), page, "{text}");
        }
        std::fs::write(&file, [0xff; 20]).unwrap();
        let error = free(&file).unwrap_err().to_string();
        assert!(error.contains("is no page"), "{error}");
        assert!(free(dir.path()).is_err());
    }

    #[test]
    fn what_is_torn_or_unknown_is_named() {
        for (text, words) in [
            ("", "is no JSON"),
            ("{}\n", "neither rows nor"),
            (HEAD, "torn"),
            (&format!("{HEAD}\n{{\"kind\":\"row\"}}\n"), "line 2 of"),
            (
                r#"{"layers":[{}],"lipschitz":1.0}"#,
                "is no output of audit",
            ),
        ] {
            let error = format!("{:#}", added("x", text).err().unwrap());
            assert!(error.contains(words), "{words}: {error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let error = add(&mut Materials::default(), dir.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("holds no rows.jsonl"), "{error}");
    }
}
