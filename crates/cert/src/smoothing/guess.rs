//! The class of each component: the most frequent of a few samples, ties to the lowest.
//!
//! Samples come one by one and are not kept: of each component there is the class that it began with,
//! and whatever differs from it later is listed, 2 bytes each. So the memory is one map where samples
//! agree, and that of 2·n0 maps where they agree on nothing.

use super::votes::{Counts, Votes};
use crate::error::{Error, Result};

/// In a map of classes: no class is certified. Also the first label that is no class.
pub const ABSTAIN: u8 = 254;

/// In labels: the pixel counts nowhere.
pub const IGNORE: u8 = 255;

/// Components of a tile, so that a place in it is a `u8`.
const TILE: usize = 256;

/// Components looked at together.
const BLOCK: usize = 64;

/// Samples that choose the classes.
#[derive(Clone, Debug)]
pub struct Guess {
    first: Vec<u8>,
    /// Of the samples that came later.
    others: Vec<Others>,
    begun: bool,
}

/// Where a sample differs from the first.
#[derive(Clone, Debug)]
struct Others {
    /// (place in its tile, label).
    entries: Vec<[u8; 2]>,
    /// End of the entries by tile.
    ends: Vec<u32>,
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
            first: vec![0; components],
            others: Vec::new(),
            begun: false,
        }
    }

    /// Takes a label map of a noisy picture.
    ///
    /// # Errors
    ///
    /// [`Error::Components`] for a map of another size, [`Error::NoClass`] for labels from [`ABSTAIN`],
    /// [`Error::Shape`] for more than 255 samples. The map is then not taken.
    pub fn add(&mut self, labels: &[u8]) -> Result<()> {
        check_map(labels, self.first.len())?;
        check_classes(labels)?;
        if !self.begun {
            self.first.copy_from_slice(labels);
            self.begun = true;
            return Ok(());
        }
        if self.others.len() == 254 {
            return Err(Error::Shape {
                what: "number of samples that choose classes",
                got: 256,
                expected: "at most 255: test with the others".into(),
            });
        }
        let expected = self.others.last().map_or(0, |last| last.entries.len());
        self.others.push(Others::new(&self.first, labels, expected));
        Ok(())
    }

    /// The most frequent classes, and how many samples chose them.
    ///
    /// # Errors
    ///
    /// [`Error::NoSamples`] where none was added.
    pub fn finish(self) -> Result<Guessed> {
        let samples = self.samples();
        let mut hits = Vec::with_capacity(self.first.len());
        let classes = self.choose(|tile| hits.extend_from_slice(tile))?;
        Ok(Guessed {
            samples,
            classes,
            hits,
        })
    }

    /// The most frequent classes, to be tested by other samples: [`Guessed::two_stage`] with less memory.
    ///
    /// # Errors
    ///
    /// [`Error::NoSamples`] where none was added.
    pub fn two_stage(self) -> Result<Votes> {
        self.choose(|_| {}).map(Votes::new)
    }

    /// The label maps that were taken, in order: what a stored guess is made of again.
    pub fn maps(&self) -> impl Iterator<Item = Vec<u8>> {
        let first = self.begun.then(|| self.first.clone());
        let others = self.others.iter().map(|other| other.map(&self.first));
        first.into_iter().chain(others)
    }

    fn samples(&self) -> usize {
        self.others.len() + usize::from(self.begun)
    }

    /// The classes; the votes for them, tile by tile.
    fn choose(self, mut hits_of_tile: impl FnMut(&[u8])) -> Result<Vec<u8>> {
        if !self.begun {
            return Err(Error::NoSamples);
        }
        let samples = self.others.len() as u8 + 1;
        let mut classes = self.first;
        let mut listed = Listed::default();
        for (tile, classes) in classes.chunks_mut(TILE).enumerate() {
            let mut hits = [samples; TILE];
            if listed.fill(&self.others, tile) {
                listed.choose(classes, &mut hits);
            }
            hits_of_tile(&hits[..classes.len()]);
        }
        Ok(classes)
    }
}

impl Others {
    fn new(first: &[u8], labels: &[u8], expected: usize) -> Self {
        let mut entries = Vec::with_capacity(expected + expected / 16);
        let tiles = first.chunks(TILE).zip(labels.chunks(TILE));
        let ends = tiles.map(|(first, labels)| {
            let blocks = first.chunks(BLOCK).zip(labels.chunks(BLOCK));
            for (block, (first, labels)) in blocks.enumerate() {
                for i in differences(first, labels) {
                    entries.push([(block * BLOCK + i) as u8, labels[i]]);
                }
            }
            entries.len() as u32
        });
        let ends = ends.collect();
        entries.shrink_to_fit();
        Others { entries, ends }
    }

    /// The sample itself.
    fn map(&self, first: &[u8]) -> Vec<u8> {
        let mut map = first.to_vec();
        for (tile, labels) in map.chunks_mut(TILE).enumerate() {
            for [place, label] in self.tile(tile) {
                labels[usize::from(*place)] = *label;
            }
        }
        map
    }

    fn tile(&self, tile: usize) -> &[[u8; 2]] {
        let start = if tile == 0 { 0 } else { self.ends[tile - 1] };
        &self.entries[start as usize..self.ends[tile] as usize]
    }
}

/// Where the labels differ.
fn differences(first: &[u8], labels: &[u8]) -> impl Iterator<Item = usize> {
    let mut other = [0; BLOCK];
    for (other, (first, label)) in other.iter_mut().zip(first.iter().zip(labels)) {
        *other = u8::from(first != label);
    }
    places(&other)
}

/// Where there is a 1 among 0s.
fn places(flags: &[u8; BLOCK]) -> impl Iterator<Item = usize> + use<> {
    let words = flags.as_chunks().0.iter().rev();
    // eight bytes of 0 or 1 become eight bits: byte j is moved to bit 56 + j, the others elsewhere
    let mut marks: u64 = words.fold(0, |marks, eight| {
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        marks << 8 | bits
    });
    std::iter::from_fn(move || {
        let place = (marks != 0).then(|| marks.trailing_zeros() as usize);
        marks &= marks.wrapping_sub(1);
        place
    })
}

/// The other labels of a tile, those of each component together.
struct Listed {
    /// `[i + 1]`: end of the labels of component i.
    ends: [u32; TILE + 1],
    labels: Vec<u8>,
    /// Votes by class, all 0 between components.
    votes: [u8; 256],
}

impl Default for Listed {
    fn default() -> Self {
        Listed {
            ends: [0; TILE + 1],
            labels: Vec::new(),
            votes: [0; 256],
        }
    }
}

impl Listed {
    /// False if there are none.
    fn fill(&mut self, others: &[Others], tile: usize) -> bool {
        // counts, then starts, which become ends while the labels are put in their places
        self.ends = [0; TILE + 1];
        for [place, _] in others.iter().flat_map(|sample| sample.tile(tile)) {
            self.ends[usize::from(*place) + 1] += 1;
        }
        let mut start = 0;
        for end in &mut self.ends {
            (*end, start) = (start, start + *end);
        }
        self.labels.resize(start as usize, 0);
        for [place, label] in others.iter().flat_map(|sample| sample.tile(tile)) {
            let end = &mut self.ends[usize::from(*place) + 1];
            self.labels[*end as usize] = *label;
            *end += 1;
        }
        start > 0
    }

    /// `classes` hold the first class, `hits` the number of samples.
    fn choose(&mut self, classes: &mut [u8], hits: &mut [u8; TILE]) {
        // 1 where all others together could outvote the first class
        let mut contested = [0; TILE];
        for ((contested, hits), ends) in contested
            .iter_mut()
            .zip(&mut *hits)
            .zip(self.ends.windows(2))
        {
            // at most all samples but the first
            let others = (ends[1] - ends[0]) as u8;
            *hits -= others;
            *contested = u8::from(others >= *hits);
        }
        for (block, contested) in contested.as_chunks().0.iter().enumerate() {
            for i in places(contested) {
                let i = block * BLOCK + i;
                let others = &self.labels[self.ends[i] as usize..self.ends[i + 1] as usize];
                let mut best = (hits[i], classes[i]);
                // the votes of a class are looked at when its last one is counted, too
                for label in others {
                    let votes = &mut self.votes[usize::from(*label)];
                    *votes += 1;
                    best = best.max_by_votes((*votes, *label));
                }
                for label in others {
                    self.votes[usize::from(*label)] = 0;
                }
                (hits[i], classes[i]) = best;
            }
        }
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

/// Labels below [`ABSTAIN`].
pub(super) fn check_classes(labels: &[u8]) -> Result<()> {
    // the largest is found in vectors, a place is not
    if labels.iter().fold(0, |most, label| most.max(*label)) < ABSTAIN {
        return Ok(());
    }
    match labels.iter().position(|label| *label >= ABSTAIN) {
        None => Ok(()),
        Some(component) => Err(Error::NoClass {
            component,
            label: labels[component],
        }),
    }
}

/// A map of so many components.
pub(super) fn check_map(labels: &[u8], components: usize) -> Result<()> {
    if labels.len() == components {
        return Ok(());
    }
    Err(Error::Components {
        what: "label map",
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
    fn maps_come_back() {
        assert_eq!(Guess::new(3).maps().count(), 0);
        let given = maps(600, 7, 5, 40);
        let mut guess = Guess::new(600);
        given.iter().for_each(|map| guess.add(map).unwrap());
        assert_eq!(guess.maps().collect::<Vec<_>>(), given);
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
    fn no_samples() {
        assert_eq!(Guess::new(3).finish(), Err(Error::NoSamples));
        assert!(Guess::new(0).two_stage().is_err());
        assert_eq!(
            Error::NoSamples.to_string(),
            "no sample to choose classes from; expected at least 1: set n0 to 1 or more"
        );
    }

    #[test]
    fn no_class() {
        let mut guess = Guess::new(3);
        guess.add(&[0, 1, 2]).unwrap();
        assert_eq!(
            guess.add(&[0, 254, 255]).unwrap_err().to_string(),
            "label 254 of component 1 in a sample; expected a class, 0 to 253 (254 and 255 stand for abstained and ignored)"
        );
        for _ in 1..255 {
            guess.add(&[1, 1, 1]).unwrap();
        }
        assert!(matches!(guess.add(&[1, 1, 1]), Err(Error::Shape { .. })));
        // what was refused was not counted
        let guessed = guess.finish().unwrap();
        let (samples, hits) = (guessed.samples(), guessed.hits());
        assert_eq!((samples, hits), (255, &[254, 255, 254][..]));
    }

    #[test]
    fn components() {
        assert_eq!(
            Guess::new(3).add(&[0]).unwrap_err().to_string(),
            "label map of 1 components; expected 3: give those of the same picture"
        );
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
