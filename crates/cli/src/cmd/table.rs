//! `certiseg table`: rows of runs as tables.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::Budget;
use certiseg_view::{Run, table};
use clap::{Args, ValueEnum};

use crate::fail::Usage;
use crate::output::print_line;
use crate::runs::{Labelled, verdict};

/// Flags of the verb.
#[derive(Args)]
pub struct Table {
    /// Which table; --list has all of them
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Folders that were --out of a verb, or files of rows, with a label each: LABEL=PATH. A run is a line, or several
    #[arg(required_unless_present = "list", value_name = "[LABEL=]RUN")]
    runs: Vec<String>,
    /// What standard output gets; the notes below a table are words on standard error for csv
    #[arg(long, default_value = "table")]
    format: Form,
    /// A form of your own: a template in the language of Jinja2, which may name `name`, `caption`, `columns` (`group`,
    /// `title`, `align`: left or right), `groups` (`title`, `span`), `lines` (`begins`, `cells`) and `notes`; the
    /// filters `latex`, `markdown` and `csv` escape a text. Files *.html and *.xml are escaped as such
    #[arg(long, value_name = "FILE", conflicts_with_all = ["format", "list"])]
    template: Option<PathBuf>,
    /// These budgets only
    #[arg(
        long,
        value_delimiter = ',',
        allow_negative_numbers = true,
        conflicts_with = "list"
    )]
    eps: Vec<f64>,
    /// Decimals of values; certified ones are cut against us
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=17), conflicts_with = "list")]
    digits: u8,
    /// All tables: what they show, which of the papers' they stand for, what makes their rows
    #[arg(long, conflicts_with_all = ["name", "runs"])]
    list: bool,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Aligned text.
    Table,
    /// A pipe table, the notes as a list.
    Markdown,
    /// Comma-separated values.
    Csv,
    /// A table for the package booktabs.
    Latex,
}

impl Form {
    fn of_view(self) -> table::Form {
        match self {
            Form::Table => table::Form::Terminal,
            Form::Markdown => table::Form::Markdown,
            Form::Csv => table::Form::Csv,
            Form::Latex => table::Form::Latex,
        }
    }
}

impl Table {
    /// Reads the rows and prints the table.
    pub fn run(self) -> Result<ExitCode> {
        let Some(name) = self.name.as_deref().filter(|_| !self.list) else {
            self.print(&table::list())?;
            return Ok(ExitCode::SUCCESS);
        };
        let template = self.template.as_deref().map(source).transpose()?;
        let eps: Result<Vec<Budget>, _> = self.eps.iter().map(|&eps| Budget::new(eps)).collect();
        let ask = table::Ask {
            eps: eps.context("--eps")?,
            digits: self.digits.into(),
        };
        let runs: Result<Vec<Run>> = self.runs.iter().map(|run| read(run)).collect();
        let runs = runs?;
        let grid = table::table(name, &runs, &ask).map_err(explain)?;
        match (template, &self.template) {
            (Some(source), Some(path)) => {
                let file = path.display().to_string();
                print_line(&table::fill(&grid, &file, &source)?)?;
            }
            _ => self.print(&grid)?,
        }
        Ok(verdict(&runs))
    }

    fn print(&self, grid: &table::Grid) -> Result<()> {
        let text = table::show(grid, self.format.of_view());
        print_line(text.trim_end_matches('\n'))?;
        if self.format == Form::Csv {
            grid.notes.iter().for_each(|note| say!("{note}"));
        }
        Ok(())
    }
}

/// A run under its label.
fn read(argument: &str) -> Result<Run> {
    let labelled = Labelled::of(argument);
    let mut run = labelled.read()?;
    if let Some(label) = labelled.label {
        run.name = label;
    }
    Ok(run)
}

fn source(path: &Path) -> Result<String> {
    let wrong = || format!("cannot read the template {}", path.display());
    std::fs::read_to_string(path).with_context(wrong)
}

/// With the way out, where the message does not have it.
fn explain(error: certiseg_view::Error) -> anyhow::Error {
    match &error {
        certiseg_view::Error::NoTable { .. } => Usage::error(
            error.to_string(),
            "certiseg table --list says what each shows and needs",
        ),
        _ => error.into(),
    }
}
