//! Rows to standard output and to a folder: JSON lines, CSV, or a table for people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_cert::Head;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::fail::{self, Usage};

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

/// Lines to standard output and to a file.
pub struct Rows {
    format: Format,
    file: Option<Partial>,
}

impl Rows {
    /// Opens rows.jsonl in `out`, which is made where it is missing, and writes the head.
    pub fn open<S: Serialize>(format: Format, out: Option<&Path>, head: &Head<S>) -> Result<Self> {
        let path = out.map(|dir| dir.join("rows.jsonl"));
        let mut rows = Self::create(format, path.as_deref())?;
        rows.push(head)?;
        Ok(rows)
    }

    /// Opens a file of this name; its folder is made where it is missing.
    pub fn create(format: Format, path: Option<&Path>) -> Result<Self> {
        let file = path.map(|path| Partial::create(path, None)).transpose()?;
        Ok(Self { format, file })
    }

    /// Where the lines are until the file has its name.
    pub fn beside(path: &Path) -> PathBuf {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".partial");
        beside.into()
    }

    /// Goes on behind so many bytes of what lies beside `path`.
    pub fn go_on(&mut self, path: &Path, bytes: u64) -> Result<()> {
        self.file = Some(Partial::create(path, Some(bytes))?);
        Ok(())
    }

    /// Writes one row.
    pub fn push<T: Serialize>(&mut self, row: &T) -> Result<()> {
        self.line(&serde_json::to_string(row)?)?;
        self.flush()
    }

    /// Writes a line, to standard output as JSON lines only.
    pub fn line(&mut self, line: &str) -> Result<()> {
        if self.format == Format::Jsonl {
            self.print(line)?;
        }
        self.store(line)
    }

    /// A line on standard output; where its reader has gone, a file is still written to its end.
    pub fn print(&mut self, line: &str) -> Result<()> {
        if self.format == Format::Table {
            return Ok(());
        }
        match print_line(line) {
            Err(error) if self.file.is_some() && fail::pipe_closed(&error) => {
                self.format = Format::Table;
                Ok(())
            }
            printed => printed,
        }
    }

    /// A line in the file.
    pub fn store(&mut self, line: &str) -> Result<()> {
        match &mut self.file {
            Some(file) => file.line(line),
            None => Ok(()),
        }
    }

    /// What was written reaches the file.
    pub fn flush(&mut self) -> Result<()> {
        self.file.as_mut().map_or(Ok(()), Partial::flush)
    }

    /// Leaves what is written beside the file for a later run; where that is.
    pub fn keep(&mut self) -> Option<PathBuf> {
        let file = self.file.as_mut()?;
        file.keep = true;
        Some(file.beside.clone())
    }

    /// Gives the file its name; before this there is none.
    pub fn finish(self) -> Result<Option<PathBuf>> {
        self.file.map(Partial::finish).transpose()
    }
}

/// A line on standard output, flushed; an error where it cannot be written.
pub fn print_line(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.context("cannot write to standard output")
}

/// A name among comma-separated values (RFC 4180).
pub fn quoted(name: &str) -> String {
    match name.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    }
}

/// Makes a folder and checks that a file can be made in it.
pub fn make_dir(dir: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(dir);
    made.with_context(|| format!("cannot make the output folder {}", dir.display()))?;
    let probe = dir.join(".certiseg-probe");
    let removed = |_| match std::fs::remove_file(&probe) {
        // by another process with the same folder
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let probed = File::create(&probe).and_then(removed);
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
    /// Whether what is written stays, whatever ends the run.
    keep: bool,
}

impl Partial {
    /// A new one, or one that goes on behind so many bytes.
    fn create(path: &Path, after: Option<u64>) -> Result<Self> {
        let mut fresh = false;
        if let Some(dir) = path.parent() {
            fresh = !dir.exists();
            make_dir(dir)?;
        }
        let beside = Rows::beside(path);
        let wrong = || format!("cannot write {}", beside.display());
        let mut options = OpenOptions::new();
        // not cut before it is ours
        let options = options.write(true).create(after.is_none()).truncate(false);
        let mut file = options.open(&beside).with_context(wrong)?;
        let taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        // or finished between these lines: then this is its result
        if taken || !beside.exists() {
            let message = format!("another run writes {}", beside.display());
            return Err(Usage::error(message, "wait for it, or name another --out"));
        }
        file.set_len(after.unwrap_or(0)).with_context(wrong)?;
        file.seek(SeekFrom::End(0)).with_context(wrong)?;
        Ok(Self {
            writer: Some(BufWriter::new(file)),
            beside,
            path: path.to_owned(),
            fresh,
            keep: after.is_some(),
        })
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let written = writeln!(writer, "{line}");
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.writer.as_mut().map_or(Ok(()), BufWriter::flush);
        flushed.with_context(|| format!("cannot write {}", self.path.display()))
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
        if self.keep {
            return;
        }
        if std::fs::remove_file(&self.beside).is_ok() && self.fresh {
            // removes an empty folder only
            let _ = self.path.parent().map(std::fs::remove_dir);
        }
    }
}
