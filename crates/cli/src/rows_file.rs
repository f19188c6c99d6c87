//! Rows read back: a head, the rows of image after image, closing rows.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::fail::Usage;

/// A line as it was written.
pub struct Line {
    /// The JSON object.
    pub text: String,
    /// What kind of row it is.
    pub kind: String,
    /// The image it is about, if it is about one.
    pub image: Option<String>,
}

impl Line {
    /// Checks that the text is a row.
    pub fn new(text: String) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Peek {
            kind: String,
            #[serde(default)]
            image: Option<String>,
        }
        let Peek { kind, image } = serde_json::from_str(&text)?;
        Ok(Self { text, kind, image })
    }
}

/// The rows of one image.
pub struct Group {
    /// Name of the image.
    pub id: String,
    /// Its rows.
    pub lines: Vec<Line>,
    /// Bytes before them in the file.
    pub start: u64,
}

/// A file of rows, read image by image.
pub struct RowsFile {
    path: PathBuf,
    reader: BufReader<File>,
    /// Lines read.
    line: usize,
    /// Bytes read.
    read: u64,
    head: String,
    /// Bytes of the head.
    body: u64,
    /// The first line that is not given out yet, and the bytes before it.
    ahead: Option<(Line, u64)>,
}

impl RowsFile {
    /// Opens a file and reads its head.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path);
        let file = file.with_context(|| format!("cannot read {}", path.display()))?;
        let mut rows = Self {
            path: path.into(),
            reader: BufReader::new(file),
            line: 0,
            read: 0,
            head: String::new(),
            body: 0,
            ahead: None,
        };
        match rows.line()? {
            Some((line, _)) if line.kind == "head" => rows.head = line.text,
            _ => {
                let message = format!("{} does not begin with a head row", path.display());
                let hint =
                    "give files that certify, attack, eval or smooth wrote, or their folders";
                return Err(Usage::error(message, hint));
            }
        }
        rows.body = rows.read;
        rows.ahead = rows.line()?;
        Ok(rows)
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The head row.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The rows of the next image; `None` where a row is about no image, and at the end.
    pub fn next_image(&mut self) -> Result<Option<Group>> {
        let Some((_, start)) = &self.ahead else {
            return Ok(None);
        };
        let start = *start;
        let mut lines = Vec::new();
        let mut id: Option<String> = None;
        while let Some((line, _)) = &self.ahead
            && line.image.is_some()
            && (id.is_none() || id == line.image)
        {
            id.clone_from(&line.image);
            let next = self.line()?;
            lines.extend(std::mem::replace(&mut self.ahead, next).map(|(line, _)| line));
        }
        Ok(id.map(|id| Group { id, lines, start }))
    }

    /// The next line, whatever it is about.
    pub fn next_line(&mut self) -> Result<Option<Line>> {
        let next = self.line()?;
        Ok(std::mem::replace(&mut self.ahead, next).map(|(line, _)| line))
    }

    /// Bytes before the first image.
    pub fn body(&self) -> u64 {
        self.body
    }

    fn line(&mut self) -> Result<Option<(Line, u64)>> {
        let mut text = String::new();
        let start = self.read;
        let read = self.reader.read_line(&mut text);
        let read = read.with_context(|| format!("cannot read {}", self.path.display()))?;
        if read == 0 {
            return Ok(None);
        }
        self.read += read as u64;
        self.line += 1;
        let name = || format!("line {} of {}", self.line, self.path.display());
        let Some(whole) = text.strip_suffix('\n') else {
            let message = format!("{} is torn: the file ends within a row", name());
            return Err(Usage::error(
                message,
                "copy the file again, or go on with the run that wrote it: --resume",
            ));
        };
        let line = Line::new(whole.to_owned());
        Ok(Some((
            line.with_context(|| format!("{} is no row", name()))?,
            start,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Result<RowsFile>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        let rows = RowsFile::open(&path);
        (dir, rows)
    }

    const HEAD: &str = "{\"kind\":\"head\"}\n";
    const A: &str = "{\"kind\":\"row\",\"image\":\"a\"}\n";

    #[test]
    fn images_come_one_by_one() {
        let text = format!(
            "{HEAD}{A}{A}{}{{\"kind\":\"end\"}}\n",
            A.replace("\"a\"", "\"b\"")
        );
        let (_dir, rows) = file(&text);
        let mut rows = rows.unwrap();
        let mut group = || {
            let group = rows.next_image().unwrap()?;
            Some((group.id, group.lines.len(), group.start as usize))
        };
        assert_eq!(group(), Some(("a".into(), 2, HEAD.len())));
        assert_eq!(group(), Some(("b".into(), 1, HEAD.len() + 2 * A.len())));
        assert_eq!(group(), None);
        assert_eq!(rows.next_line().unwrap().unwrap().kind, "end");
        assert!(rows.next_line().unwrap().is_none());
        assert_eq!(rows.body() as usize, HEAD.len());
    }

    #[test]
    fn torn_lines_and_missing_heads_are_refused() {
        for (text, words) in [
            ("".to_owned(), "begin with a head"),
            (A.to_owned(), "begin with a head"),
            (HEAD.trim_end().to_owned(), "line 1"),
            (format!("{HEAD}{{\"kind\":"), "line 2"),
            (format!("{HEAD}{A}{{\"kind\":\"row\"}}"), "torn"),
            (format!("{HEAD}{A}{{\"kind\":\n{A}"), "is no row"),
        ] {
            let (_dir, rows) = file(&text);
            let error = rows.and_then(|mut rows| rows.next_image().map(|_| ()));
            let error = format!("{:#}", error.unwrap_err());
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
