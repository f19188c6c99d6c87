//! Votes: of each component its class and how many of n samples gave it that class.
//!
//! Samples are not kept: one comparison and one addition per component and sample.

use super::guess::{ABSTAIN, check_classes, check_map};
use super::tail::MAX_SAMPLES;
use crate::error::{Error, Result};

/// Counts of the narrowest width that holds n.
#[derive(Clone, Debug)]
pub(super) enum Counts {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

/// Classes and counts of the samples that test them.
#[derive(Clone, Debug)]
pub struct Votes {
    classes: Vec<u8>,
    counts: Counts,
    samples: usize,
}

/// Runs one expression for any width.
macro_rules! of_any_width {
    ($counts:expr, $name:ident => $result:expr) => {
        match $counts {
            Counts::U8($name) => $result,
            Counts::U16($name) => $result,
            Counts::U32($name) => $result,
        }
    };
}

impl Votes {
    /// Classes that are fixed, without samples yet.
    pub fn new(classes: Vec<u8>) -> Self {
        let counts = Counts::U8(vec![0; classes.len()]);
        Votes::with_counts(classes, counts, 0)
    }

    pub(super) fn with_counts(classes: Vec<u8>, counts: Counts, samples: usize) -> Self {
        Votes {
            classes,
            counts,
            samples,
        }
    }

    /// Votes counted elsewhere: `counts[i]` of `samples`.
    ///
    /// # Errors
    ///
    /// [`Error::Components`] unless there is a count for each class, [`Error::Count`] for counts above
    /// `samples`, [`Error::NoClass`] for classes from [`ABSTAIN`], [`Error::Shape`] for too many samples.
    pub fn from_counts(classes: Vec<u8>, counts: &[u32], samples: usize) -> Result<Self> {
        if counts.len() != classes.len() {
            return Err(Error::Components {
                what: "counts",
                got: counts.len(),
                expected: classes.len(),
            });
        }
        check_samples(samples)?;
        check_classes(&classes)?;
        if let Some(component) = counts.iter().position(|count| *count as usize > samples) {
            return Err(Error::Count {
                component,
                count: counts[component],
                samples,
            });
        }
        let counts = Counts::of(counts, samples);
        Ok(Votes::with_counts(classes, counts, samples))
    }

    /// Takes a label map of a noisy picture: a vote wherever it has the class.
    ///
    /// # Errors
    ///
    /// [`Error::Components`] for a map of another size, [`Error::Shape`] beyond [`MAX_SAMPLES`].
    pub fn add(&mut self, labels: &[u8]) -> Result<()> {
        check_map(labels, self.classes.len())?;
        check_samples(self.samples + 1)?;
        self.samples += 1;
        self.counts.widen(self.samples);
        let pairs = labels.iter().zip(&self.classes);
        of_any_width!(&mut self.counts, all => {
            for (count, (label, class)) in all.iter_mut().zip(pairs) {
                // n was widened for
                *count = count.wrapping_add((label == class).into());
            }
        });
        Ok(())
    }

    /// Adds the votes of other samples for the same classes, such as those of another process.
    ///
    /// # Errors
    ///
    /// [`Error::MixedVotes`] for other classes, [`Error::Shape`] beyond [`MAX_SAMPLES`].
    pub fn merge(&mut self, other: &Votes) -> Result<()> {
        if self.classes != other.classes {
            return Err(Error::MixedVotes);
        }
        check_samples(self.samples + other.samples)?;
        self.samples += other.samples;
        self.counts.widen(self.samples);
        of_any_width!(&mut self.counts, all => {
            for (i, count) in all.iter_mut().enumerate() {
                // a number up to n fits
                *count = (*count as usize + other.count(i)).try_into().unwrap_or_default();
            }
        });
        Ok(())
    }

    /// The same counts under other names of the classes.
    pub(super) fn renamed(&self, classes: Vec<u8>) -> Self {
        Votes {
            classes,
            ..self.clone()
        }
    }

    /// Number of components.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is no component.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// n.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Class by component.
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// Votes of a component.
    ///
    /// # Panics
    ///
    /// Beyond the last component.
    pub fn count(&self, component: usize) -> usize {
        of_any_width!(&self.counts, all => all[component] as usize)
    }

    /// `[c]`: number of components with c votes, c = 0..=n; with a family, of those in it.
    ///
    /// # Errors
    ///
    /// [`Error::Components`] for a family of another size.
    pub fn histogram(&self, family: Option<&[bool]>) -> Result<Vec<u64>> {
        if let Some(family) = family {
            check_family(family, self.len())?;
        }
        let entries = self.samples + 1;
        Ok(of_any_width!(&self.counts, all => match family {
            None => histogram(all.iter().map(|count| *count as usize), entries),
            Some(family) => {
                let pairs = all.iter().zip(family).filter(|(_, tested)| **tested);
                histogram(pairs.map(|(count, _)| *count as usize), entries)
            }
        }))
    }

    /// What each component of a family, or of all, gets by its count; `outside` elsewhere.
    pub(super) fn by_count<T: Copy>(
        &self,
        family: Option<&[bool]>,
        outside: T,
        of: impl Fn(usize) -> T,
    ) -> Result<Vec<T>> {
        let mut all: Vec<T> = of_any_width!(&self.counts, all => {
            all.iter().map(|count| of(*count as usize)).collect()
        });
        if let Some(family) = family {
            check_family(family, self.len())?;
            let pairs = all.iter_mut().zip(family);
            pairs
                .filter(|(_, tested)| !**tested)
                .for_each(|(value, _)| *value = outside);
        }
        Ok(all)
    }

    /// The class where a component has at least `threshold` votes (and is in the family), otherwise
    /// [`ABSTAIN`].
    ///
    /// # Errors
    ///
    /// [`Error::Components`] for a family of another size.
    pub fn certified(&self, threshold: Option<usize>, family: Option<&[bool]>) -> Result<Vec<u8>> {
        if let Some(family) = family {
            check_family(family, self.len())?;
        }
        let Some(threshold) = threshold.filter(|least| *least <= self.samples) else {
            return Ok(vec![ABSTAIN; self.len()]);
        };
        let mut certified: Vec<u8> = of_any_width!(&self.counts, all => {
            let least = threshold.try_into().unwrap_or_default();
            let pairs = all.iter().zip(&self.classes);
            pairs.map(|(count, class)| if *count >= least { *class } else { ABSTAIN }).collect()
        });
        if let Some(family) = family {
            for (class, tested) in certified.iter_mut().zip(family) {
                *class = if *tested { *class } else { ABSTAIN };
            }
        }
        Ok(certified)
    }
}

impl Counts {
    /// Counts up to n, so that nothing is cut off.
    fn of(counts: &[u32], samples: usize) -> Self {
        let counts = counts.iter().copied();
        match samples {
            0..=0xff => Counts::U8(counts.map(|count| count as u8).collect()),
            0x100..=0xffff => Counts::U16(counts.map(|count| count as u16).collect()),
            _ => Counts::U32(counts.collect()),
        }
    }

    /// So that n fits.
    fn widen(&mut self, samples: usize) {
        if let Counts::U8(all) = self
            && samples > usize::from(u8::MAX)
        {
            *self = Counts::U16(all.iter().map(|count| (*count).into()).collect());
        }
        if let Counts::U16(all) = self
            && samples > usize::from(u16::MAX)
        {
            *self = Counts::U32(all.iter().map(|count| (*count).into()).collect());
        }
    }
}

/// Four tables, as neighbours often have the same count.
fn histogram(counts: impl Iterator<Item = usize>, entries: usize) -> Vec<u64> {
    let mut tables = vec![[0u64; 4]; entries];
    for (i, count) in counts.enumerate() {
        tables[count][i % 4] += 1;
    }
    tables.into_iter().map(|four| four.iter().sum()).collect()
}

fn check_samples(samples: usize) -> Result<()> {
    if samples <= MAX_SAMPLES {
        return Ok(());
    }
    Err(Error::Shape {
        what: "number of samples",
        got: samples,
        expected: "at most 2^24".into(),
    })
}

pub(super) fn check_family(family: &[bool], components: usize) -> Result<()> {
    if family.len() == components {
        return Ok(());
    }
    Err(Error::Components {
        what: "marks of the family",
        got: family.len(),
        expected: components,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Component i has its class in every sample that its number divides.
    fn votes(components: usize, samples: std::ops::Range<usize>) -> Votes {
        let classes: Vec<u8> = (0..components).map(|i| (i % 19) as u8).collect();
        let mut votes = Votes::new(classes.clone());
        for sample in samples {
            let label = |i: usize| classes[i] + u8::from(!sample.is_multiple_of(i + 1));
            let labels: Vec<u8> = (0..components).map(label).collect();
            votes.add(&labels).unwrap();
        }
        votes
    }

    fn counts(votes: &Votes) -> Vec<usize> {
        (0..votes.len()).map(|i| votes.count(i)).collect()
    }

    #[test]
    fn counts_widen_where_they_must() {
        for n in [1, 254, 255, 256, 300, 65_535, 65_536, 65_540] {
            let votes = votes(7, 0..n);
            assert_eq!(votes.samples(), n);
            let want: Vec<usize> = (1..=7)
                .map(|i| (0..n).filter(|s| s % i == 0).count())
                .collect();
            assert_eq!(counts(&votes), want, "{n}");
            let histogram = votes.histogram(None).unwrap();
            assert_eq!(histogram.len(), n + 1);
            assert!(want.iter().all(|count| histogram[*count] > 0));
        }
    }

    #[test]
    fn parts_add_up_in_any_order() {
        let whole = votes(40, 0..700);
        let parts = [votes(40, 0..100), votes(40, 100..650), votes(40, 650..700)];
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut sum = Votes::new(whole.classes().to_vec());
            for part in order {
                sum.merge(&parts[part]).unwrap();
            }
            assert_eq!((counts(&sum), sum.samples()), (counts(&whole), 700));
        }
    }

    #[test]
    fn mixed_votes() {
        let mut left = Votes::new(vec![0, 1]);
        assert_eq!(left.merge(&Votes::new(vec![0, 2])), Err(Error::MixedVotes));
        assert_eq!(
            Error::MixedVotes.to_string(),
            "votes for other classes; expected the same class for each component: choose them once, and share them"
        );
    }

    #[test]
    fn families_and_certified_classes() {
        let votes = Votes::from_counts(vec![3, 4, 5, 6], &[10, 9, 10, 2], 10).unwrap();
        let family = [true, true, false, true];
        let histogram = votes.histogram(Some(&family)).unwrap();
        assert_eq!(histogram.iter().sum::<u64>(), 3);
        assert_eq!((histogram[10], histogram[9], histogram[2]), (1, 1, 1));
        let certified = |threshold, family| votes.certified(threshold, family).unwrap();
        assert_eq!(certified(Some(9), None), [3, 4, 5, ABSTAIN]);
        assert_eq!(
            certified(Some(10), Some(&family)),
            [3, ABSTAIN, ABSTAIN, ABSTAIN]
        );
        assert_eq!(certified(None, None), [ABSTAIN; 4]);
        // a threshold that no width holds is no threshold of 0
        assert_eq!(certified(Some(300), None), [ABSTAIN; 4]);
        assert!(matches!(
            votes.histogram(Some(&[true])),
            Err(Error::Components { .. })
        ));
        assert!(matches!(
            votes.certified(None, Some(&[true])),
            Err(Error::Components { .. })
        ));
        let wide = Votes::from_counts(vec![1, 2], &[300, 299], 300).unwrap();
        assert_eq!(wide.certified(Some(300), None).unwrap(), [1, ABSTAIN]);
    }

    #[test]
    fn count() {
        let error = Votes::from_counts(vec![0, 1], &[3, 11], 10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "component 1 has 11 votes of 10 samples; expected at most as many: count the samples that test, without those that choose"
        );
        assert!(matches!(
            Votes::from_counts(vec![0], &[], 10),
            Err(Error::Components { .. })
        ));
        assert!(matches!(
            Votes::from_counts(vec![255], &[1], 10),
            Err(Error::NoClass { .. })
        ));
        assert!(Votes::from_counts(vec![0], &[1], MAX_SAMPLES + 1).is_err());
        let mut votes = Votes::new(vec![0]);
        assert!(matches!(votes.add(&[0, 0]), Err(Error::Components { .. })));
        assert_eq!(votes.samples(), 0);
        assert!(Votes::new(Vec::new()).is_empty());
    }
}
