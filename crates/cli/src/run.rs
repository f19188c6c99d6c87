//! A verb going over images: its rows to standard output and to a file, parts of the work for
//! several processes, and going on where a run was stopped.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::Head;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::fail::{STOPPED, Usage};
use crate::fields::fields;
use crate::output::{Format, Rows, print_line};
use crate::rows_file::{Group, Line, RowsFile};
use crate::shard::{Shard, one};
use crate::tally::{Tally, tally};

/// Flags of every verb that goes over images.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Part I of N, I from 0: every N-th image from the I-th on. `certiseg merge` makes one of all
    #[arg(long, value_name = "I/N", value_parser = one, allow_hyphen_values = true)]
    pub shard: Option<Shard>,
    /// Folder for rows.jsonl; of a shard rows-I-of-N.jsonl
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on where a run into the same folder was stopped; its settings must be these
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// What standard output gets
    #[arg(long, default_value = "table")]
    pub format: Format,
}

/// Rows on their way.
pub struct Run {
    rows: Rows,
    tally: Box<dyn Tally>,
    format: Format,
    /// Whether the rows are those of some of the images.
    partial: bool,
    /// Rows of the image at work.
    image: Vec<String>,
    /// Names of the images whose rows are there from an earlier run.
    kept: Vec<String>,
    /// Images whose rows are written.
    done: usize,
    /// Whether this goes on where another run was stopped.
    resumed: bool,
    /// Whether what is written stays, whatever ends the run.
    stays: bool,
    /// Whether rows about all images were written already.
    closed: bool,
    /// The file of an earlier run, where that had finished.
    finished: Option<PathBuf>,
}

impl Run {
    /// Opens the outputs of `verb`, writes the head, and reads what an earlier run has left.
    pub fn open<S: Serialize>(args: &RunArgs, verb: &str, head: Head<S>) -> Result<Self> {
        let shard = args.shard.as_ref();
        let head = serde_json::to_string(&head.verb(verb, shard.map(Shard::to_string)))?;
        let path = args.out.as_deref();
        let path = path.map(|dir| dir.join(Shard::file_name(shard)));
        match path {
            Some(path) if args.resume => Self::resume(&path, &head, shard, args.format),
            path => Self::start(path.as_deref(), &head, shard, args.format),
        }
    }

    /// Rows under a head that is written already; `path` is the file they go to.
    pub fn start(
        path: Option<&Path>,
        head: &str,
        shard: Option<&Shard>,
        format: Format,
    ) -> Result<Self> {
        let tally = tally(head)?;
        let mut run = Self::new(Rows::create(format, path)?, tally, shard, format);
        run.rows.line(head)?;
        run.header()?;
        Ok(run)
    }

    fn new(rows: Rows, tally: Box<dyn Tally>, shard: Option<&Shard>, format: Format) -> Self {
        Self {
            rows,
            tally,
            format,
            partial: shard.is_some(),
            image: Vec::new(),
            kept: Vec::new(),
            done: 0,
            resumed: false,
            stays: false,
            closed: false,
            finished: None,
        }
    }

    fn resume(path: &Path, head: &str, shard: Option<&Shard>, format: Format) -> Result<Self> {
        let beside = Rows::beside(path);
        let anew = || {
            let run = Self::start(Some(path), head, shard, format)?;
            Ok(Self { stays: true, ..run })
        };
        let (from, finished) = match beside.exists() {
            true => (&*beside, false),
            false if path.exists() => (path, true),
            false => return anew(),
        };
        let mut file = match RowsFile::open(from) {
            Ok(file) => file,
            // stopped before its first image
            Err(_) if !finished => return anew(),
            Err(error) => return Err(error),
        };
        if let Some(difference) = difference(file.head(), head)? {
            return Err(Usage::error(
                format!(
                    "{} in {}, and now {}",
                    difference.first,
                    from.display(),
                    difference.second
                ),
                "give the settings of that run, another --out, or leave --resume out to begin anew",
            ));
        }
        let mut run = Self::new(Rows::create(format, None)?, tally(head)?, shard, format);
        run.rows.line(head)?;
        run.header()?;
        if finished {
            run.finished = Some(path.to_owned());
            while let Some(group) = file.next_image()? {
                run.keep(group)?;
            }
            while let Some(line) = file.next_line()? {
                run.show(&line)?;
            }
            let expected = expected(head, shard)?;
            if run.done != expected {
                let message = format!(
                    "{} has {} images, expected {expected}",
                    path.display(),
                    run.done
                );
                let hint = "copy the file again, or leave --resume out to begin anew";
                return Err(Usage::error(message, hint));
            }
            return Ok(run);
        }
        // the last image may lack rows
        let mut last = None;
        while let Ok(Some(group)) = file.next_image() {
            if let Some(group) = last.replace(group) {
                run.keep(group)?;
            }
        }
        let start = last.map_or(file.body(), |group| group.start);
        run.rows.go_on(path, start)?;
        run.resumed = true;
        run.stays = true;
        Ok(run)
    }

    /// Names of the images whose rows an earlier run has left, in order.
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// Images whose rows are written, those of an earlier run included.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Whether an earlier run may have left files of the next image behind.
    pub fn redoes(&self) -> bool {
        self.resumed && self.done == self.kept.len()
    }

    /// What is written stays from now on, whatever ends the run.
    pub fn stay(&mut self) {
        self.stays = true;
    }

    /// A row of the image at work.
    pub fn push<T: Serialize>(&mut self, row: &T) -> Result<()> {
        self.image.push(serde_json::to_string(row)?);
        Ok(())
    }

    /// Writes the rows of the image: they are all there.
    pub fn image(&mut self) -> Result<()> {
        for text in std::mem::take(&mut self.image) {
            self.write(text)?;
        }
        self.done += 1;
        if self.stays {
            self.rows.keep();
        }
        self.rows.flush()
    }

    /// Writes rows of an image that were read.
    pub fn group(&mut self, group: Group) -> Result<()> {
        self.image = group.lines.into_iter().map(|line| line.text).collect();
        self.image()
    }

    /// A line as it is, behind which nothing is added.
    pub fn verbatim(&mut self, line: Line) -> Result<()> {
        self.closed = true;
        self.write(line.text)
    }

    /// The rows of some images are all there: writes those about all images, `more` first, and gives
    /// the file its name.
    pub fn finish<T: Serialize>(mut self, more: &[T]) -> Result<ExitCode> {
        let path = match self.finished.take() {
            Some(path) => Some(path),
            None => {
                self.close(more)?;
                self.rows.finish()?
            }
        };
        if self.format == Format::Table {
            self.tally
                .tables()?
                .iter()
                .try_for_each(|text| print_line(text))?;
        }
        if let Some(path) = path {
            say!("rows  {}", path.display());
        }
        Ok(self.tally.verdict())
    }

    fn close<T: Serialize>(&mut self, more: &[T]) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        if self.partial {
            return self.write(serde_json::to_string(&End::new(self.done))?);
        }
        for row in more {
            self.write(serde_json::to_string(row)?)?;
        }
        let closing = self.tally.closing()?;
        closing.into_iter().try_for_each(|text| self.write(text))
    }

    /// Ctrl-C: what is written stays for `--resume`. A certificate that was beaten by then is the verdict.
    pub fn stopped(mut self) -> ExitCode {
        let done = self.done;
        match self.rows.keep() {
            Some(path) => say!(
                "stopped after {done} images; their rows are in {}: go on with --resume",
                path.display()
            ),
            None => say!("stopped after {done} images"),
        }
        let verdict = self.tally.verdict();
        match verdict == ExitCode::SUCCESS {
            true => ExitCode::from(STOPPED),
            false => verdict,
        }
    }

    fn keep(&mut self, group: Group) -> Result<()> {
        group.lines.iter().try_for_each(|line| self.show(line))?;
        self.kept.push(group.id);
        self.done += 1;
        Ok(())
    }

    fn header(&mut self) -> Result<()> {
        match self.format {
            Format::Csv => self.rows.print(&self.tally.csv_header()),
            _ => Ok(()),
        }
    }

    fn write(&mut self, text: String) -> Result<()> {
        let line = Line::new(text)?;
        if line.kind == "pool" && !self.partial {
            // rows of the data set follow, which say it all
            return self.tally.add(&line);
        }
        self.show(&line)?;
        self.rows.store(&line.text)
    }

    /// To the tally and to standard output.
    fn show(&mut self, line: &Line) -> Result<()> {
        if line.kind != "end" {
            let of = line.image.as_deref().unwrap_or("all images");
            let added = self.tally.add(line);
            added.with_context(|| format!("a {} row of {of}", line.kind))?;
        }
        match self.format {
            Format::Jsonl => self.rows.print(&line.text),
            Format::Csv => match self.tally.csv(line)? {
                Some(values) => self.rows.print(&values),
                None => Ok(()),
            },
            Format::Table => Ok(()),
        }
    }
}

/// The last row of a shard: nothing is missing before it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    kind: String,
    /// Images whose rows are there.
    pub images: usize,
}

impl End {
    fn new(images: usize) -> Self {
        End {
            kind: "end".into(),
            images,
        }
    }
}

/// How many images a file with this head has.
pub fn expected(head: &str, shard: Option<&Shard>) -> Result<usize> {
    #[derive(Deserialize)]
    struct Size {
        images: usize,
    }
    let head: Head<Size> = serde_json::from_str(head).context("the head row")?;
    let images = head.settings.images;
    Ok(shard.map_or(images, |shard| shard.count(images)))
}

/// A field of two heads, each with its value.
pub struct Difference {
    /// Its name, and what it is in the first.
    pub first: String,
    /// What it is in the second.
    pub second: String,
}

/// The first field in which two heads differ, those of objects one by one.
pub fn difference(a: &str, b: &str) -> Result<Option<Difference>> {
    let (a, b) = (fields(a)?, fields(b)?);
    let of = |fields: &[(String, &str)], name: &str| {
        let found = fields.iter().find(|(known, _)| known == name);
        found.map_or("absent".to_owned(), |(_, value)| (*value).to_owned())
    };
    for (name, _) in a.iter().chain(&b) {
        let [first, second] = [of(&a, name), of(&b, name)];
        if first == second {
            continue;
        }
        let nested = |value: &str| value.starts_with('{');
        if nested(&first)
            && nested(&second)
            && let Some(inner) = difference(&first, &second)?
        {
            let first = format!("{name}.{}", inner.first);
            return Ok(Some(Difference { first, ..inner }));
        }
        let first = format!("{name} is {first}");
        return Ok(Some(Difference { first, second }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail::UNSOUND;

    #[test]
    fn a_stopped_run_is_unsound_where_a_certificate_was_beaten() {
        let head = r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{"eps":[0.1],"metrics":["accuracy"]},"verb":"attack"}"#;
        for (unsound, code) in [(false, STOPPED), (true, UNSOUND)] {
            let mut run = Run::start(None, head, None, Format::Table).unwrap();
            let row = serde_json::json!({
                "kind": "attack", "image": "a", "metric": "accuracy", "norm": "2", "eps": 0.1,
                "clean": 1.0, "certified": 0.5, "attacked": 0.25, "distance": 0.1, "attack": "pgd",
                "unsound": unsound,
            });
            run.push(&row).unwrap();
            run.image().unwrap();
            assert_eq!(run.stopped(), ExitCode::from(code));
        }
    }

    #[test]
    fn the_first_difference_has_a_name_and_both_values() {
        let named = |a: &str, b: &str| {
            let found = difference(a, b).unwrap()?;
            Some(format!("{} | {}", found.first, found.second))
        };
        let a = r#"{"kind":"head","seed":null,"settings":{"eps":[0.1],"model":"a"}}"#;
        assert_eq!(named(a, a), None);
        let found = |from: &str, to: &str| named(a, &a.replace(from, to)).unwrap();
        assert_eq!(found("0.1", "0.2"), "settings.eps is [0.1] | [0.2]");
        assert_eq!(found("null", "1"), "seed is null | 1");
        assert_eq!(found(r#""seed":null,"#, ""), "seed is null | absent");
        let more = found(r#""seed""#, r#""shard":"0/2","seed""#);
        assert_eq!(more, r#"shard is absent | "0/2""#);
    }
}
