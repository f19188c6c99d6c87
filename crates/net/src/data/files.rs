//! The files of a folder, and the names in a split list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What lies in a folder of images or masks.
#[derive(Default)]
pub(super) struct Folder {
    /// The pictures by name: their stems without the suffix.
    pub(super) pictures: BTreeMap<String, PathBuf>,
    /// Pairs of pictures of one name.
    same: Vec<[PathBuf; 2]>,
    /// Pictures in formats that are not read: leaving them out in silence would change the data set.
    foreign: Vec<PathBuf>,
    /// Files whose names begin with a dot, among them `._NAME`, which macOS adds to archives.
    pub(super) hidden: Vec<PathBuf>,
    /// Other files.
    pub(super) strays: Vec<PathBuf>,
    /// Folders.
    pub(super) folders: Vec<PathBuf>,
}

impl Folder {
    /// The files in `folder` (in its sub-folders, if `nested`); pictures are those whose stem ends in `suffix`.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub(super) fn read(folder: &Path, suffix: &str, nested: bool) -> Result<Self> {
        let unreadable = |source| Error::Unreadable {
            path: folder.into(),
            source,
        };
        let mut paths = Vec::new();
        for item in fs::read_dir(folder).map_err(unreadable)? {
            paths.push(item.map_err(unreadable)?.path());
        }
        paths.sort();
        let mut found = Self::default();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match stem(&name) {
                _ if path.is_dir() && nested && !name.starts_with('.') => {
                    found.append(Self::read(&path, suffix, false)?);
                }
                _ if path.is_dir() => found.folders.push(path),
                _ if name.starts_with('.') => found.hidden.push(path),
                Some(stem) => {
                    // other pictures of the same data set: Cityscapes' colours and instances
                    if let Some(id) = stem.strip_suffix(suffix) {
                        found.insert(id.to_string(), path.clone());
                    }
                }
                None if foreign(&name) => found.foreign.push(path),
                // suffixes tell kinds of files apart, so that others are expected
                None if suffix.is_empty() => found.strays.push(path),
                None => {}
            }
        }
        Ok(found)
    }

    fn insert(&mut self, id: String, path: PathBuf) {
        if let Some(first) = self.pictures.insert(id, path.clone()) {
            self.same.push([first, path]);
        }
    }

    fn append(&mut self, inner: Self) {
        for (id, path) in inner.pictures {
            self.insert(id, path);
        }
        self.same.extend(inner.same);
        self.foreign.extend(inner.foreign);
        self.hidden.extend(inner.hidden);
        self.strays.extend(inner.strays);
    }

    /// What no data set may have: [`Error::NotAnImage`] and [`Error::SameStem`].
    pub(super) fn problems(&self) -> impl Iterator<Item = Error> + '_ {
        let foreign = self.foreign.iter().map(|path| Error::NotAnImage {
            path: path.clone(),
            content: "of a format this program does not read",
        });
        let same = self.same.iter().cloned();
        foreign.chain(same.map(|[first, second]| Error::SameStem { first, second }))
    }
}

/// The name of a picture file without its extension; `None` for other files.
pub(super) fn stem(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    ["png", "jpg", "jpeg"]
        .contains(&extension.to_lowercase().as_str())
        .then_some(stem)
}

/// Whether a file name says that it is a picture in a format that is not read.
fn foreign(name: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_lowercase());
    let formats = ["bmp", "gif", "tif", "tiff", "webp"];
    extension.is_some_and(|extension| formats.contains(&extension.as_str()))
}

/// A split list.
pub(super) struct Names {
    /// The pictures named, each once.
    pub(super) names: Vec<String>,
    /// Those named twice.
    pub(super) problems: Vec<Error>,
}

impl Names {
    /// The pictures in a list, one per line: a name or a path, with or without extension. Blank lines and lines that
    /// begin with `#` are skipped. `columns`: only the first word of a line is the name.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::Empty`].
    pub(super) fn read(list: &Path, columns: bool) -> Result<Self> {
        let text = fs::read_to_string(list).map_err(|source| Error::Unreadable {
            path: list.into(),
            source,
        })?;
        let (mut seen, mut names, mut problems) = (BTreeSet::new(), Vec::new(), Vec::new());
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let line = match columns {
                true => line.split_whitespace().next().unwrap_or_default(),
                false => line,
            };
            let name = line.rsplit(['/', '\\']).next().unwrap_or_default();
            let id = stem(name).unwrap_or(name).to_string();
            match seen.insert(id.clone()) {
                true => names.push(id),
                false => problems.push(Error::ListedTwice {
                    list: list.into(),
                    id,
                }),
            }
        }
        match names.is_empty() {
            true => Err(Error::Empty { path: list.into() }),
            false => Ok(Self { names, problems }),
        }
    }
}
