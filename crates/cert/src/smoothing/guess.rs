//! The class of each component: the most frequent of a few samples, ties to the lowest.
//!
//! Samples come one by one and are not kept: a component has the class it began with, the first other
//! class that it showed, and how often it kept the first: 3 bytes. Whatever differs from both is listed,
//! 3 bytes each, so that the memory grows only where samples disagree in three ways.

use super::votes::{Counts, Votes};
use crate::error::{Error, Result};

/// In a map of classes: no class is certified. Also the first label that is no class.
pub const ABSTAIN: u8 = 254;

/// In labels: the pixel counts nowhere.
pub const IGNORE: u8 = 255;

/// No second class yet.
const NONE: u8 = 255;

/// Components of a list of third classes, so that a place is a `u16`.
const TILE: usize = 1 << 16;

/// Samples that choose the classes.
#[derive(Clone, Debug)]
pub struct Guess {
    samples: u8,
    first: Vec<u8>,
    second: Vec<u8>,
    /// How often the first was seen.
    kept: Vec<u8>,
    third: Vec<Third>,
}

/// Labels of a tile that are neither its first nor its second, by time.
#[derive(Clone, Debug, Default)]
struct Third {
    places: Vec<u16>,
    labels: Vec<u8>,
}

/// The classes that were chosen, and how many samples chose them.
#[derive(Clone, Debug, PartialEq)]
pub struct Guessed {
    samples: usize,
    classes: Vec<u8>,
    hits: Vec<u8>,
}

impl Guess {
    /// Of so many components; no sample yet.
    pub fn new(components: usize) -> Self {
        Guess {
            samples: 0,
            first: Vec::new(),
            second: Vec::new(),
            kept: Vec::new(),
            third: vec![Third::default(); components.div_ceil(TILE)],
        }
        .sized(components)
    }

    fn sized(mut self, components: usize) -> Self {
        self.first = vec![0; components];
        self.second = vec![NONE; components];
        self.kept = vec![0; components];
        self
    }

    /// Takes a label map of a noisy picture.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for a map of another size, [`Error::NoClass`] for labels from [`ABSTAIN`],
    /// [`Error::Shape`] for more than 255 samples. The map is then not taken.
    pub fn add(&mut self, labels: &[u8]) -> Result<()> {
        check_map(labels, self.first.len())?;
        if let Some(component) = labels.iter().position(|label| *label >= ABSTAIN) {
            return Err(Error::NoClass {
                component,
                label: labels[component],
            });
        }
        let Some(samples) = self.samples.checked_add(1) else {
            return Err(Error::Shape {
                what: "number of samples that choose classes",
                got: 256,
                expected: "at most 255: test with the others".into(),
            });
        };
        if self.samples == 0 {
            self.first.copy_from_slice(labels);
            self.kept.fill(1);
        } else {
            let tiles = self.first.chunks(TILE).zip(self.second.chunks_mut(TILE));
            let tiles = tiles.zip(self.kept.chunks_mut(TILE).zip(labels.chunks(TILE)));
            for (((first, second), (kept, labels)), third) in tiles.zip(&mut self.third) {
                third.add(first, second, kept, labels);
            }
        }
        self.samples = samples;
        Ok(())
    }

    /// The most frequent classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoSamples`] where none was added.
    pub fn finish(self) -> Result<Guessed> {
        if self.samples == 0 {
            return Err(Error::NoSamples);
        }
        let (mut classes, mut hits) = (self.first, self.kept);
        let tiles = classes.chunks_mut(TILE).zip(hits.chunks_mut(TILE));
        let tiles = tiles.zip(self.second.chunks(TILE)).zip(&self.third);
        for (((classes, hits), second), third) in tiles {
            third.finish(self.samples, classes, hits, second);
        }
        Ok(Guessed {
            samples: self.samples.into(),
            classes,
            hits,
        })
    }
}

impl Third {
    fn add(&mut self, first: &[u8], second: &mut [u8], kept: &mut [u8], labels: &[u8]) {
        /// Components looked at together.
        const BLOCK: usize = 64;
        let blocks = first.chunks(BLOCK).zip(second.chunks_mut(BLOCK));
        let blocks = blocks.zip(kept.chunks_mut(BLOCK).zip(labels.chunks(BLOCK)));
        for (index, ((first, second), (kept, labels))) in blocks.enumerate() {
            let mut others = 0;
            for i in 0..labels
                .len()
                .min(first.len())
                .min(second.len())
                .min(kept.len())
            {
                let label = labels[i];
                let same = u8::from(label == first[i]);
                let free = u8::from(second[i] == NONE) & (1 - same);
                second[i] = if free == 1 { label } else { second[i] };
                kept[i] = kept[i].wrapping_add(same);
                others |= 1 - (same | u8::from(label == second[i]));
            }
            if others == 0 {
                continue;
            }
            for (i, label) in labels.iter().enumerate() {
                if *label != first[i] && *label != second[i] {
                    self.places.push((index * BLOCK + i) as u16);
                    self.labels.push(*label);
                }
            }
        }
    }

    /// `classes` and `hits` hold the first class and how often it was seen.
    fn finish(&self, samples: u8, classes: &mut [u8], hits: &mut [u8], second: &[u8]) {
        let listed = Listed::new(self, classes.len());
        let mut votes = [0u8; 256];
        for i in 0..classes.len() {
            let (class, hit) = (classes[i], hits[i]);
            let others = samples - hit;
            // fewer others than hits, or none at all
            if others < hit {
                continue;
            }
            let third = listed.of(i);
            let other = others - third.len() as u8;
            let mut best = (hit, class).max_by_votes((other, second[i]));
            if third.len() >= usize::from(best.0) {
                for label in third {
                    votes[usize::from(*label)] += 1;
                }
                for label in third {
                    best = best.max_by_votes((votes[usize::from(*label)], *label));
                }
                for label in third {
                    votes[usize::from(*label)] = 0;
                }
            }
            (hits[i], classes[i]) = best;
        }
    }
}

/// The labels of each component of a tile together.
struct Listed {
    /// `[i]`: end of the labels of component i.
    ends: Vec<u32>,
    labels: Vec<u8>,
}

impl Listed {
    fn new(third: &Third, components: usize) -> Self {
        if third.places.is_empty() {
            return Listed {
                ends: Vec::new(),
                labels: Vec::new(),
            };
        }
        // counts, then starts, which become ends while the labels are put in their places
        let mut ends = vec![0u32; components];
        for place in &third.places {
            ends[usize::from(*place)] += 1;
        }
        let mut start = 0;
        for end in &mut ends {
            (*end, start) = (start, start + *end);
        }
        let mut labels = vec![0; third.labels.len()];
        for (place, label) in third.places.iter().zip(&third.labels) {
            let end = &mut ends[usize::from(*place)];
            labels[*end as usize] = *label;
            *end += 1;
        }
        Listed { ends, labels }
    }

    fn of(&self, i: usize) -> &[u8] {
        if self.ends.is_empty() {
            return &[];
        }
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.labels[start as usize..self.ends[i] as usize]
    }
}

trait ByVotes {
    fn max_by_votes(self, other: Self) -> Self;
}

/// (votes, class)
impl ByVotes for (u8, u8) {
    fn max_by_votes(self, other: Self) -> Self {
        let better = other.0 > self.0 || other.0 == self.0 && other.1 < self.1;
        if better { other } else { self }
    }
}

impl Guessed {
    /// Samples that chose.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Class by component.
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// How many samples chose it, by component: what a screening may look at.
    pub fn hits(&self) -> &[u8] {
        &self.hits
    }

    /// To be tested by other samples.
    pub fn two_stage(self) -> Votes {
        Votes::new(self.classes)
    }

    /// To be tested by these samples and more: these are counted already.
    pub fn single_stage(self) -> Votes {
        Votes::with_counts(self.classes, Counts::U8(self.hits), self.samples)
    }
}

/// A map of so many components.
pub(super) fn check_map(labels: &[u8], components: usize) -> Result<()> {
    if labels.len() == components {
        return Ok(());
    }
    Err(Error::Length {
        what: "labels of a sample",
        got: labels.len(),
        expected: components,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: all maps at hand.
    fn mode(maps: &[Vec<u8>], i: usize) -> (u8, u8) {
        let votes = |class: u8| maps.iter().filter(|map| map[i] == class).count() as u8;
        let most = (0..ABSTAIN).map(votes).max().unwrap();
        (
            most,
            (0..ABSTAIN).find(|class| votes(*class) == most).unwrap(),
        )
    }

    fn maps(components: usize, samples: usize, classes: u64, spread: u64) -> Vec<Vec<u8>> {
        let mut state = classes * 7919 + spread;
        let mut next = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 40
        };
        let sample = |_| {
            let label = |i: usize| {
                let noisy = next() % 100 < spread;
                (if noisy {
                    next() % classes
                } else {
                    i as u64 % classes
                }) as u8
            };
            (0..components).map(label).collect()
        };
        (0..samples).map(sample).collect()
    }

    fn finished(maps: &[Vec<u8>]) -> Guessed {
        let mut guess = Guess::new(maps[0].len());
        for map in maps {
            guess.add(map).unwrap();
        }
        guess.finish().unwrap()
    }

    #[test]
    fn the_mode_of_all_maps() {
        for (components, samples, classes, spread) in [
            (1, 1, 2, 50),
            (200, 2, 3, 100),
            (500, 10, 19, 10),
            (500, 10, 19, 100),
            (300, 10, 254, 100),
            (70_000, 9, 4, 60),
            (100, 255, 5, 100),
        ] {
            let maps = maps(components, samples, classes, spread);
            let guessed = finished(&maps);
            assert_eq!(guessed.samples(), samples);
            for i in 0..components {
                let got = (guessed.hits()[i], guessed.classes()[i]);
                assert_eq!(got, mode(&maps, i), "component {i} of {components}");
            }
        }
    }

    #[test]
    fn the_order_of_samples_is_irrelevant() {
        let mut maps = maps(400, 10, 6, 100);
        let guessed = finished(&maps);
        for turn in 1..10 {
            maps.rotate_left(turn);
            maps.swap(0, 5);
            assert_eq!(finished(&maps), guessed);
        }
    }

    #[test]
    fn no_samples_no_class_and_other_sizes() {
        assert_eq!(Guess::new(3).finish(), Err(Error::NoSamples));
        assert_eq!(
            Error::NoSamples.to_string(),
            "no sample to choose classes from; expected at least 1: set n0 to 1 or more"
        );
        let mut guess = Guess::new(3);
        guess.add(&[0, 1, 2]).unwrap();
        assert_eq!(
            guess.add(&[0, 254, 255]).unwrap_err().to_string(),
            "label 254 of component 1 in a sample; expected a class, 0 to 253 (254 and 255 stand for abstained and ignored)"
        );
        assert!(matches!(guess.add(&[0]), Err(Error::Length { .. })));
        for _ in 1..255 {
            guess.add(&[1, 1, 1]).unwrap();
        }
        assert!(matches!(guess.add(&[1, 1, 1]), Err(Error::Shape { .. })));
        // what was refused was not counted
        let guessed = guess.finish().unwrap();
        assert_eq!(
            (guessed.samples(), guessed.hits()),
            (255, &[254, 255, 254][..])
        );
        assert!(Guess::new(0).finish().is_err());
    }

    #[test]
    fn one_stage_counts_what_chose() {
        let maps = maps(100, 10, 3, 80);
        let guessed = finished(&maps);
        let hits = guessed.hits().to_vec();
        let single = guessed.clone().single_stage();
        assert_eq!((single.samples(), guessed.two_stage().samples()), (10, 0));
        assert!((0..100).all(|i| single.count(i) == usize::from(hits[i])));
    }
}
