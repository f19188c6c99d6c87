//! All pictures of a data set with the splits they are in, and what is wrong with its folders and lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::classes::Classes;
use super::files::{Folder, Names};
use super::finding::{Finding, Kind};
use super::layout::Layout;
use super::listing::{Entry, Listing, gather};
use crate::{Error, Result};

/// A file of text that is longer is no split list.
const LONGEST_LIST: u64 = 1 << 26;

/// What is called so is meant as a split list.
const USUAL_LISTS: [&str; 4] = ["train", "val", "test", "trainval"];

/// The pictures of a data set, before any is opened.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// The layout.
    pub layout: Layout,
    /// The classes, where the layout or `classes.json` says them.
    pub classes: Option<Classes>,
    /// Every picture once, those of the splits in their order first.
    pub entries: Vec<Entry>,
    /// The splits.
    pub splits: Vec<Split>,
    /// What the listing says.
    pub findings: Vec<Finding>,
}

/// A split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Its name.
    pub name: String,
    /// Indices of its pictures in [`Catalogue::entries`].
    pub pictures: Vec<usize>,
}

/// The pictures in `dir`: of one split, or of all splits and, in layouts that need none, the folder.
///
/// # Errors
/// Those of [`list()`](super::list()) if there is nothing to look at; [`Error::ClassList`].
pub fn catalogue(dir: &Path, layout: Layout, split: Option<&str>) -> Result<Catalogue> {
    let mut found = Catalogue {
        layout,
        classes: layout.classes(dir)?,
        entries: Vec::new(),
        splits: Vec::new(),
        findings: Vec::new(),
    };
    let names = match split {
        Some(name) => vec![name.to_owned()],
        None => split_names(dir, layout)?,
    };
    let mut seen = BTreeMap::new();
    let mut folders = BTreeSet::new();
    let mut first_error = None;
    let all = split.is_none() && layout.row().splits.is_empty();
    if let (true, false, [first, ..]) = (names.is_empty(), all, layout.row().splits) {
        // none of the official splits is there: the error says where it was looked for
        gather(dir, layout, Some(first))?;
    }
    let asked = names.into_iter().map(Some).chain(all.then_some(None));
    for name in asked {
        let listing = match gather(dir, layout, name.as_deref()) {
            Ok(listing) => listing,
            // pictures may lie in the sub-folders of the splits only
            Err(Error::Empty { .. }) if name.is_none() && !found.splits.is_empty() => continue,
            Err(error) => {
                found.findings.push(Finding::refused(&error));
                first_error.get_or_insert(error);
                continue;
            }
        };
        found.extras(&listing, &mut folders);
        let mut add = |entry: Entry| {
            *seen.entry(entry.image.clone()).or_insert_with(|| {
                found.entries.push(entry);
                found.entries.len() - 1
            })
        };
        let pictures: Vec<usize> = listing.entries.into_iter().map(&mut add).collect();
        match name {
            Some(name) => found.splits.push(Split { name, pictures }),
            None if !found.splits.is_empty() => found.outside(pictures),
            None => {}
        }
    }
    let mut told = BTreeSet::new();
    found
        .findings
        .retain(|f| told.insert((f.kind, f.words.clone())));
    match first_error {
        // nothing could be listed at all
        Some(error) if found.entries.is_empty() && found.findings.len() == 1 => Err(error),
        None if found.entries.is_empty() && found.findings.is_empty() => {
            Err(Error::Empty { path: dir.into() })
        }
        _ => Ok(found),
    }
}

impl Catalogue {
    /// What a listing says beside its pictures; what is in a folder is told once.
    fn extras(&mut self, listing: &Listing, folders: &mut BTreeSet<PathBuf>) {
        let findings = &mut self.findings;
        findings.extend(listing.problems.iter().map(Finding::refused));
        let pictures = &listing.images.1.pictures;
        let both = [Some(&listing.images), listing.masks.as_ref()];
        for (path, folder) in both.into_iter().flatten() {
            if !folders.insert(path.clone()) {
                continue;
            }
            for (files, kind) in [
                (&folder.hidden, Kind::Hidden),
                (&folder.strays, Kind::Stray),
            ] {
                for file in files {
                    findings.push(Finding::new(kind, format!("{file:?}"), None));
                }
            }
            if *path != listing.images.0 {
                let spare = folder
                    .pictures
                    .iter()
                    .filter(|(id, _)| !pictures.contains_key(*id));
                for (_, mask) in spare {
                    findings.push(Finding::new(Kind::SpareMask, format!("{mask:?}"), None));
                }
            }
        }
    }

    /// Pictures of the folder that are in no split.
    fn outside(&mut self, pictures: Vec<usize>) {
        let findings = &mut self.findings;
        let listed: BTreeSet<usize> = self
            .splits
            .iter()
            .flat_map(|s| s.pictures.clone())
            .collect();
        for at in pictures.into_iter().filter(|at| !listed.contains(at)) {
            let id = self.entries[at].id.clone();
            findings.push(Finding::new(Kind::NoSplit, id, None));
        }
    }

    /// For each split, the other splits that it consists of (trainval: train and val); empty for all others.
    pub fn parts(&self) -> Vec<Vec<usize>> {
        let sets: Vec<BTreeSet<usize>> = self
            .splits
            .iter()
            .map(|split| split.pictures.iter().copied().collect())
            .collect();
        let parts = |whole: usize| {
            let inside: Vec<usize> = (0..sets.len())
                .filter(|&i| sets[i].len() < sets[whole].len() && sets[i].is_subset(&sets[whole]))
                .collect();
            let together: BTreeSet<usize> = inside
                .iter()
                .flat_map(|&i| sets[i].iter().copied())
                .collect();
            if together == sets[whole] {
                inside
            } else {
                Vec::new()
            }
        };
        (0..sets.len()).map(parts).collect()
    }
}

/// The splits that a data set has.
fn split_names(dir: &Path, layout: Layout) -> Result<Vec<String>> {
    let row = layout.row();
    let roots = || row.roots.iter().map(|root| dir.join(root));
    if row.images.contains('*') {
        let there =
            |split: &&&str| roots().any(|r| r.join(row.images.replace('*', split)).is_dir());
        return Ok(row
            .splits
            .iter()
            .filter(there)
            .map(|s| s.to_string())
            .collect());
    }
    let Some(root) = roots().find(|root| root.join(row.images).is_dir()) else {
        return Ok(Vec::new());
    };
    if !row.splits.is_empty() {
        let lists = || row.lists.iter().map(|list| root.join(list));
        let there = |split: &&&str| lists().any(|list| list.join(format!("{split}.txt")).is_file());
        return Ok(row
            .splits
            .iter()
            .filter(there)
            .map(|s| s.to_string())
            .collect());
    }
    let images = Folder::read(&root.join(row.images), row.suffixes[0], false)?;
    let mut names = Vec::new();
    for list in row.lists {
        // a folder above that may not be read holds no list
        let Ok(folder) = Folder::read(&root.join(list), "", false) else {
            continue;
        };
        for path in &folder.strays {
            let above = *list == "..";
            if let Some(name) = list_name(path, &images, above).filter(|name| !names.contains(name))
            {
                names.push(name);
            }
        }
    }
    if layout.has_folders() {
        for folder in &images.folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let filled = || Folder::read(folder, "", false).is_ok_and(|f| !f.pictures.is_empty());
            // of images alone, a folder of masks would be no split
            if !name.starts_with('.') && !names.iter().any(|n| *n == name) && filled() {
                names.push(name.into_owned());
            }
        }
    }
    Ok(names)
}

/// The name of a split list: a text file that names an image, or is called as such a list is, whatever is wrong with
/// it; one above the data, which may belong to other data, names images in half of its lines.
fn list_name(path: &Path, images: &Folder, above: bool) -> Option<String> {
    let short = path
        .metadata()
        .is_ok_and(|about| about.len() <= LONGEST_LIST);
    if path.extension()? != "txt" || !short {
        return None;
    }
    let name = path.file_stem()?.to_str()?.to_owned();
    if !above && USUAL_LISTS.contains(&name.as_str()) {
        return Some(name);
    }
    let names = Names::read(path, false).ok()?.names;
    let known = names
        .iter()
        .filter(|name| images.pictures.contains_key(*name))
        .count();
    let enough = if above { names.len().div_ceil(2) } else { 1 };
    (known >= enough).then_some(name)
}
