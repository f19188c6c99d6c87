//! A data set looked at as a whole: every file decoded once, sizes, classes, and what is suspicious.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use super::VOID;
use super::catalogue::Catalogue;
use super::decode::Picture;
use super::finding::{Finding, Kind, Level};
use super::listing::Entry;
use super::mask::MaskRule;
use crate::Error;

/// What a survey found.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// Name of the layout.
    pub layout: String,
    /// The splits with their counts.
    pub splits: Vec<SplitCount>,
    /// Number of pictures listed, each once.
    pub pictures: usize,
    /// Number of those with a mask.
    pub masks: usize,
    /// Sizes of the images that could be read; `None` if there are none.
    pub sizes: Option<Sizes>,
    /// Pixels of the masks that could be read.
    pub pixels: u64,
    /// Those of them that are void.
    pub void: u64,
    /// The classes, by index.
    pub classes: Vec<ClassCount>,
    /// Whether the number of classes is known; else the classes are the values found.
    pub classes_known: bool,
    /// All findings, the grave ones first.
    pub findings: Vec<Finding>,
}

/// A split and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitCount {
    /// Its name.
    pub name: String,
    /// Number of its pictures.
    pub pictures: usize,
    /// The splits it consists of, where it does.
    pub parts: Vec<String>,
}

/// Sizes of images, (height, width) as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The one with fewest pixels.
    pub smallest: [usize; 2],
    /// The middle one by pixels (the lower of two).
    pub median: [usize; 2],
    /// The one with most pixels.
    pub largest: [usize; 2],
    /// The most frequent.
    pub commonest: [usize; 2],
    /// How many images have it.
    pub commonest_count: usize,
    /// How many sizes there are.
    pub different: usize,
}

/// A class and where it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassCount {
    /// Its index.
    pub index: usize,
    /// Its name, where somebody gave it.
    pub name: Option<String>,
    /// Its pixels.
    pub pixels: u64,
    /// Share of all pixels that are not void, in [0, 1].
    pub share: f64,
    /// Mean over the masks of its share of their pixels that are not void, in [0, 1].
    pub mean_share: f64,
    /// Masks that have it.
    pub masks: usize,
}

/// What one picture told.
#[derive(Default)]
struct Look {
    size: Option<[usize; 2]>,
    /// Of the pixels, with the size.
    hash: Option<u64>,
    mask_hash: Option<u64>,
    /// Values in the mask file, each once.
    values: Vec<u8>,
    /// Class (or [`VOID`]) and its pixels.
    counts: Vec<(u8, u64)>,
    findings: Vec<Finding>,
}

/// Looks at every picture of a catalogue, in parallel; in memory at a time: one original with its mask per thread.
/// `progress` is called after each with how many are done, from any thread. `None` if `stop` asked to stop.
/// A file that cannot be read is a finding.
pub fn survey(
    catalogue: &Catalogue,
    progress: &(dyn Fn(usize) + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<Survey> {
    let classes = catalogue.classes.as_ref().map_or(255, |c| c.count);
    let done = AtomicUsize::new(0);
    let look = |entry: &Entry| {
        if stop() {
            return None;
        }
        let look = look(entry, classes);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        Some(look)
    };
    let looks: Vec<Look> = catalogue
        .entries
        .par_iter()
        .map(look)
        .collect::<Option<_>>()?;
    let mut findings = catalogue.findings.clone();
    findings.extend(looks.iter().flat_map(|look| look.findings.iter().cloned()));
    findings.extend(twice(catalogue, &looks));
    findings.extend(doubtful(catalogue, &looks));
    let counted = count(catalogue, &looks);
    findings.extend(absent(&counted));
    // stable: within a kind in the order of the pictures
    findings.sort_by_key(|finding| finding.kind);
    let whole: Vec<&Look> = looks
        .iter()
        .filter(|look| !look.counts.is_empty())
        .collect();
    let sum = |of: &dyn Fn(u8) -> bool| -> u64 {
        let all = whole.iter().flat_map(|look| &look.counts);
        all.filter(|(class, _)| of(*class)).map(|(_, n)| n).sum()
    };
    let parts = catalogue.parts();
    let names = |parts: &[usize]| {
        parts
            .iter()
            .map(|&i| catalogue.splits[i].name.clone())
            .collect()
    };
    let splits = catalogue.splits.iter().zip(&parts);
    Some(Survey {
        layout: catalogue.layout.to_string(),
        splits: splits
            .map(|(split, parts)| SplitCount {
                name: split.name.clone(),
                pictures: split.pictures.len(),
                parts: names(parts),
            })
            .collect(),
        pictures: catalogue.entries.len(),
        masks: catalogue
            .entries
            .iter()
            .filter(|entry| entry.mask.is_some())
            .count(),
        sizes: sizes(&looks),
        pixels: sum(&|_| true),
        void: sum(&|class| class == VOID),
        classes: counted,
        classes_known: catalogue.classes.is_some(),
        findings,
    })
}

impl Survey {
    /// Findings of a level.
    pub fn count(&self, level: Level) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    }
}

/// Opens a picture as [`open()`](super::open()) does, and goes on after a mistake.
fn look(entry: &Entry, classes: usize) -> Look {
    let mut look = Look::default();
    let refuse = |look: &mut Look, error: Error| look.findings.push(Finding::refused(&error));
    let path = entry.mask.as_deref();
    let mask = match path.map(|path| entry.rule.open(path, entry.colours.as_deref())) {
        Some(Ok(mask)) => Some(mask),
        Some(Err(error)) => {
            refuse(&mut look, error);
            None
        }
        None => None,
    };
    let mask_size = mask.as_ref().map(|mask| mask.size);
    let picture = Picture::open(&entry.image, entry.care);
    match picture.and_then(|picture| picture.turned_like(mask_size, &entry.image)) {
        Ok(picture) => {
            let size = picture.size();
            let odd = |&oddity: &_| Finding::odd(&entry.id, oddity);
            look.findings.extend(picture.oddities.iter().map(odd));
            look.size = Some(size);
            look.hash = Some(hash(size, &picture.into_pixels()));
        }
        Err(error) => refuse(&mut look, error),
    }
    let Some(mask) = mask else {
        return look;
    };
    if let (got, Some(expected)) = (mask.size, look.size)
        && got != expected
    {
        let id = entry.id.clone();
        refuse(&mut look, Error::MaskSize { id, got, expected });
    }
    let tally = |values: &[u8]| {
        let mut counts = [0_u64; 256];
        values.iter().for_each(|&v| counts[usize::from(v)] += 1);
        let there = (0..=VOID).zip(counts).filter(|&(_, n)| n > 0);
        there.collect::<Vec<_>>()
    };
    look.mask_hash = Some(hash(mask.size, &mask.values));
    look.values = tally(&mask.values).into_iter().map(|(v, _)| v).collect();
    match entry.rule.classes(&entry.id, mask, classes, entry.ignore) {
        Ok(labels) => look.counts = tally(&labels),
        Err(error) => refuse(&mut look, error),
    }
    look
}

fn hash(size: [usize; 2], bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (size, bytes).hash(&mut hasher);
    hasher.finish()
}

/// Pictures that are there twice: by name or by pixels, in two splits or in one.
fn twice(catalogue: &Catalogue, looks: &[Look]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let parts = catalogue.parts();
    // a split that is others together says nothing new
    let simple: Vec<_> = catalogue
        .splits
        .iter()
        .zip(&parts)
        .filter(|(_, parts)| parts.is_empty())
        .map(|(split, _)| split)
        .collect();
    let mut of_id: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut of_picture: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for split in simple {
        for &at in &split.pictures {
            let id = catalogue.entries[at].id.as_str();
            of_id.entry(id).or_default().insert(&split.name);
            of_picture.entry(at).or_default().insert(&split.name);
        }
    }
    let joined = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(" and ");
    let apart = "what is trained on must not be tested on";
    for (id, splits) in of_id.iter().filter(|(_, splits)| splits.len() > 1) {
        let words = format!("{id} is in {}", joined(splits));
        findings.push(Finding::new(Kind::TwoSplits, words, Some(apart)));
    }
    let mut same: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, look) in looks.iter().enumerate() {
        if let Some(hash) = look.hash {
            same.entry(hash).or_default().push(at);
        }
    }
    let mut groups: Vec<Vec<usize>> = same.into_values().filter(|group| group.len() > 1).collect();
    groups.sort();
    for group in groups {
        let first = group[0];
        for &other in &group[1..] {
            let [a, b] = [first, other].map(|at| catalogue.entries[at].id.as_str());
            let [of_a, of_b] = [first, other].map(|at| of_picture.get(&at));
            let masks = match looks[first].mask_hash == looks[other].mask_hash {
                true => "",
                false => ", with different masks",
            };
            let (kind, words, hint) = match (of_a, of_b) {
                (Some(one), Some(two)) if one.is_disjoint(two) => {
                    let (one, two) = (joined(one), joined(two));
                    let words = format!("{a} in {one} and {b} in {two} are the same pixels{masks}");
                    (Kind::TwoSplits, words, apart)
                }
                _ => {
                    let words = format!("{a} and {b} are the same pixels{masks}");
                    (Kind::Duplicate, words, "keep one of them")
                }
            };
            findings.push(Finding::new(kind, words, Some(hint)));
        }
    }
    findings
}

/// Masks that can be read and may mean something else.
fn doubtful(catalogue: &Catalogue, looks: &[Look]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let with_mask = || {
        catalogue
            .entries
            .iter()
            .zip(looks)
            .filter(|(_, l)| !l.counts.is_empty())
    };
    for (entry, look) in with_mask() {
        let id = entry.id.clone();
        match look.counts[..] {
            [(VOID, _)] => {
                let hint = "nothing is learned from them; the test labels of Cityscapes are such dummies: evaluate on val";
                findings.push(Finding::new(Kind::AllVoid, id, Some(hint)));
            }
            [(class, _)] => {
                let words = format!("{id}: class {class}");
                findings.push(Finding::new(Kind::OneClass, words, None));
            }
            _ => {}
        }
    }
    let values: BTreeSet<u8> = with_mask()
        .flat_map(|(_, l)| l.values.iter().copied())
        .collect();
    let all = |rule: MaskRule| with_mask().all(|(entry, _)| entry.rule == rule);
    if all(MaskRule::Index) && values == BTreeSet::from([0, VOID]) {
        let words = "0 is class 0 and 255 is void, so there is nothing to learn".into();
        let hint =
            "if 255 is class 1, read them with --layout kvasir: brightness above 128 is class 1";
        findings.push(Finding::new(Kind::Binary, words, Some(hint)));
    }
    // dummies have 0 to 3, streets have vehicles, trees and sky above 18
    let range = |low: u8, high: u8| values.range(low..=high).next().is_some();
    if all(MaskRule::Cityscapes) && range(4, 18) && !range(19, 33) {
        let words = "no mask has a labelId above 18: neither sky nor trees nor vehicles".into();
        let hint = "if they are trainIds, call the files NAME_gtFine_labelTrainIds.png";
        findings.push(Finding::new(Kind::MaybeTrainIds, words, Some(hint)));
    }
    findings
}

fn count(catalogue: &Catalogue, looks: &[Look]) -> Vec<ClassCount> {
    let known = catalogue.classes.as_ref();
    let found = looks
        .iter()
        .flat_map(|look| &look.counts)
        .map(|(class, _)| *class);
    let largest = found.filter(|&class| class != VOID).max();
    let classes = known.map_or(largest.map_or(0, |c| usize::from(c) + 1), |c| c.count);
    let mut counts: Vec<ClassCount> = (0..classes)
        .map(|index| ClassCount {
            index,
            name: known.and_then(|k| k.names.get(index).cloned()),
            pixels: 0,
            share: 0.0,
            mean_share: 0.0,
            masks: 0,
        })
        .collect();
    let mut all = 0;
    let mut masks = 0;
    for look in looks {
        let counted = || look.counts.iter().filter(|(class, _)| *class != VOID);
        let pixels: u64 = counted().map(|(_, n)| n).sum();
        all += pixels;
        masks += usize::from(pixels > 0);
        for &(class, n) in counted() {
            let row = &mut counts[usize::from(class)];
            row.pixels += n;
            row.mean_share += n as f64 / pixels as f64;
            row.masks += 1;
        }
    }
    for row in &mut counts {
        row.share = row.pixels as f64 / (all as f64).max(1.0);
        row.mean_share /= (masks as f64).max(1.0);
    }
    counts
}

/// Classes that the data set says it has and no mask has.
fn absent(classes: &[ClassCount]) -> Vec<Finding> {
    if classes.iter().all(|class| class.pixels == 0) {
        return Vec::new();
    }
    let none = classes.iter().filter(|class| class.pixels == 0);
    none.map(|class| {
        let name = class.name.as_deref().map(|name| format!(" ({name})"));
        let words = format!("class {}{}", class.index, name.unwrap_or_default());
        Finding::new(Kind::AbsentClass, words, None)
    })
    .collect()
}

fn sizes(looks: &[Look]) -> Option<Sizes> {
    let mut all: Vec<[usize; 2]> = looks.iter().filter_map(|look| look.size).collect();
    all.sort_by_key(|&[height, width]| (height * width, height));
    let mut frequency: BTreeMap<[usize; 2], usize> = BTreeMap::new();
    all.iter()
        .for_each(|&size| *frequency.entry(size).or_default() += 1);
    let (&commonest, &commonest_count) = frequency.iter().max_by_key(|&(size, n)| (*n, *size))?;
    Some(Sizes {
        smallest: *all.first()?,
        median: all[(all.len() - 1) / 2],
        largest: *all.last()?,
        commonest,
        commonest_count,
        different: frequency.len(),
    })
}
