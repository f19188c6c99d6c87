//! Runs of verbs read back, for figures, tables and pages.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use certiseg_view::Run;

use crate::fail::{UNSOUND, Usage};
use crate::output::Rows;
use crate::rows_file::RowsFile;

/// The name under which verbs write their rows into a folder.
const ROWS: &str = "rows.jsonl";

/// The rows of a file, or of the `rows.jsonl` in a folder. The run is called as the path is given.
pub fn read(path: &Path) -> Result<Run> {
    let file = match path.is_dir() {
        true => path.join(ROWS),
        false => path.to_owned(),
    };
    if path.is_dir() && !file.exists() {
        let message = format!("{} holds no {ROWS}", path.display());
        return Err(Usage::error(message, instead(path)));
    }
    if path.extension().is_some_and(|ending| ending == "partial") {
        let message = format!("{} is of a run that has not ended", path.display());
        let hint = "go on with it: --resume; a copy under another name is read as it is";
        return Err(Usage::error(message, hint));
    }
    let mut rows = RowsFile::open(&file)?;
    let mut lines = Vec::new();
    while let Some(line) = rows.next_line()? {
        lines.push(line.text);
    }
    let name = path.display().to_string();
    Ok(Run::read(
        &name,
        rows.head(),
        lines.iter().map(String::as_str),
    )?)
}

/// The code of a verb that shows runs: where an attack beat a certificate in one of them, that is said.
pub fn verdict<'a>(runs: impl IntoIterator<Item = &'a Run>) -> ExitCode {
    let mut runs = runs.into_iter();
    match runs.find(|run| !run.beaten().is_empty()) {
        None => ExitCode::SUCCESS,
        Some(run) => {
            say!("UNSOUND: an attack beat a certificate of {}", run.name);
            ExitCode::from(UNSOUND)
        }
    }
}

/// What to give in place of a folder without rows.
fn instead(folder: &Path) -> &'static str {
    let shard = |name: &str| name.starts_with("rows-") && name.ends_with(".jsonl");
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    match Rows::beside(&folder.join(ROWS)).exists() {
        true => "the run that writes it has not ended: wait for it, or go on with it: --resume",
        false if names.any(|name| shard(&name)) => {
            "it has shards: certiseg merge makes one run of them"
        }
        false => "give a folder that was --out of a verb, or a file of rows",
    }
}

/// A run with the label under which it is shown, where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// What people read.
    pub label: Option<String>,
    /// A file of rows, or its folder.
    pub path: PathBuf,
}

impl Labelled {
    /// `LABEL=PATH` or `PATH`. A label holds no `/`, and a path that is there is never taken apart.
    pub fn of(argument: &str) -> Self {
        let split = argument.split_once('=');
        let split = split.filter(|(label, _)| !label.is_empty() && !label.contains('/'));
        match split {
            Some((label, path)) if !Path::new(argument).exists() => Labelled {
                label: Some(label.into()),
                path: path.into(),
            },
            _ => Labelled {
                label: None,
                path: argument.into(),
            },
        }
    }

    /// Its rows.
    pub fn read(&self) -> Result<Run> {
        read(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{},"verb":"certify"}"#;

    #[test]
    fn a_folder_stands_for_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("holds no rows.jsonl"), "{error}");
        assert!(instead(dir.path()).contains("--out of a verb"));
        std::fs::write(dir.path().join("rows-0-of-4.jsonl"), HEAD).unwrap();
        assert!(instead(dir.path()).contains("certiseg merge"));
        let partial = Rows::beside(&dir.path().join(ROWS));
        std::fs::write(&partial, format!("{HEAD}\n")).unwrap();
        assert!(instead(dir.path()).contains("has not ended"));
        let error = read(&partial).unwrap_err().to_string();
        assert!(error.contains("has not ended"), "{error}");
        let file = dir.path().join(ROWS);
        std::fs::write(&file, format!("{HEAD}\n{{\"kind\":\"later\"}}\n")).unwrap();
        for path in [dir.path(), &file] {
            let run = read(path).unwrap();
            assert_eq!(run.name, path.display().to_string());
            assert_eq!(run.head.verb.as_deref(), Some("certify"));
        }
        std::fs::write(&file, format!("{HEAD}\n{{\"kind\":\"row\"}}\n")).unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.starts_with("line 2 of "), "{error}");
    }

    #[test]
    fn labels_are_before_the_first_equals_sign() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a=b");
        std::fs::write(&odd, "").unwrap();
        let odd = odd.display().to_string();
        for (argument, label, path) in [
            ("runs/a", None, "runs/a"),
            ("tau 0.1=runs/a", Some("tau 0.1"), "runs/a"),
            ("PGD=runs/eps=1", Some("PGD"), "runs/eps=1"),
            ("runs/eps=1", None, "runs/eps=1"),
            ("=runs/a", None, "=runs/a"),
            (&odd, None, &odd),
        ] {
            let labelled = Labelled::of(argument);
            assert_eq!(labelled.label.as_deref(), label, "{argument}");
            assert_eq!(labelled.path, Path::new(path), "{argument}");
        }
    }
}
