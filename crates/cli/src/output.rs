//! Rows to standard output and to a folder: JSON lines, CSV, or a table for people.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_cert::{Head, Row};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::fail;

/// The head of a run of this program.
pub fn head<S>(settings: S) -> Head<S> {
    let head = Head::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), settings);
    head.git(option_env!("CERTISEG_COMMIT"))
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table of means for people.
    Table,
    /// One JSON object per line: a head, then the rows.
    Jsonl,
    /// The rows as comma-separated values.
    Csv,
}

/// Writes every row where it belongs, at once.
pub struct Rows {
    format: Format,
    file: Option<Partial>,
}

impl Rows {
    /// Opens the outputs and writes the head; `out` is made where it is missing.
    pub fn open<S: Serialize>(format: Format, out: Option<&Path>, head: &Head<S>) -> Result<Self> {
        let file = match out {
            None => None,
            Some(dir) => {
                let fresh = !dir.exists();
                make_dir(dir)?;
                Some(Partial::create(&dir.join("rows.jsonl"), fresh)?)
            }
        };
        let mut rows = Self { format, file };
        let line = serde_json::to_string(head)?;
        rows.json(&line)?;
        if format == Format::Csv {
            rows.print(Row::CSV_HEADER)?;
        }
        Ok(rows)
    }

    /// Writes one row.
    pub fn push(&mut self, row: &Row) -> Result<()> {
        self.json(&serde_json::to_string(row)?)?;
        if self.format == Format::Csv {
            self.print(&row.csv())?;
        }
        Ok(())
    }

    /// Writes a row of another kind: for JSON lines and the file; the columns of CSV and the table
    /// of images have no place for it.
    pub fn push_other<T: Serialize>(&mut self, row: &T) -> Result<()> {
        self.json(&serde_json::to_string(row)?)
    }

    /// A line on standard output; where its reader has gone, a file is still written to its end.
    fn print(&mut self, line: &str) -> Result<()> {
        match print_line(line) {
            Err(error) if self.file.is_some() && fail::pipe_closed(&error) => {
                self.format = Format::Table;
                Ok(())
            }
            printed => printed,
        }
    }

    /// Gives the file its name; before this there is none.
    pub fn finish(self) -> Result<Option<PathBuf>> {
        self.file.map(Partial::finish).transpose()
    }

    fn json(&mut self, line: &str) -> Result<()> {
        if self.format == Format::Jsonl {
            self.print(line)?;
        }
        match &mut self.file {
            Some(file) => file.line(line),
            None => Ok(()),
        }
    }
}

/// A line on standard output, flushed; an error where it cannot be written.
pub fn print_line(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.context("cannot write to standard output")
}

/// Makes a folder and checks that a file can be made in it.
pub fn make_dir(dir: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(dir);
    made.with_context(|| format!("cannot make the output folder {}", dir.display()))?;
    let probe = dir.join(".certiseg-probe");
    let probed = File::create(&probe).and_then(|_| std::fs::remove_file(&probe));
    probed.with_context(|| format!("cannot write into the output folder {}", dir.display()))
}

/// A table with aligned numbers: the first column left, the others right.
pub fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_header(header);
    rows.iter().for_each(|row| {
        table.add_row(row);
    });
    for column in 1..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// A file that has its name only once it is whole.
struct Partial {
    writer: Option<BufWriter<File>>,
    beside: PathBuf,
    path: PathBuf,
    /// Whether its folder was made for it.
    fresh: bool,
}

impl Partial {
    fn create(path: &Path, fresh: bool) -> Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".partial");
        let beside = PathBuf::from(beside);
        let file = File::create(&beside);
        let file = file.with_context(|| format!("cannot write {}", beside.display()))?;
        Ok(Self {
            writer: Some(BufWriter::new(file)),
            beside,
            path: path.to_owned(),
            fresh,
        })
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let written = writeln!(writer, "{line}").and_then(|()| writer.flush());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn finish(mut self) -> Result<PathBuf> {
        if let Some(writer) = self.writer.take() {
            let synced = writer
                .into_inner()
                .map_err(|e| e.into_error())
                .and_then(|f| f.sync_all());
            synced.with_context(|| format!("cannot write {}", self.path.display()))?;
        }
        let named = std::fs::rename(&self.beside, &self.path);
        named.with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.path.clone())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // unfinished: nothing half-written stays; after finish the file has another name
        drop(self.writer.take());
        if std::fs::remove_file(&self.beside).is_ok() && self.fresh {
            // removes an empty folder only
            let _ = self.path.parent().map(std::fs::remove_dir);
        }
    }
}
