//! Certifying at the finest level of a hierarchy of classes that holds.
//!
//! A component has a path from a leaf to the root, fixed by the samples that choose; all nodes of the path
//! are counted over the same test samples. Counts and probabilities rise towards the root, so that a wrong
//! certificate at any level implies one at the coarsest level whose probability is at most tau, a
//! single test at the same level of alpha: all levels together cost nothing. This needs one threshold
//! for all components, that of Bonferroni or of a certificate of counts.

use serde::{Deserialize, Serialize};

use super::correction::Correction;
use super::elementary::{self, ln};
use super::guess::{ABSTAIN, IGNORE, check_classes, check_map};
use super::verdict::{Procedure, Stage};
use super::votes::Votes;
use super::wide::Wide;
use crate::error::{Error, Result};

/// Levels, from leaves to the root: the node of each class.
#[derive(Clone, Debug, PartialEq)]
pub struct Hierarchy {
    levels: Vec<Vec<u8>>,
}

/// A certified node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Level, 0 for leaves.
    pub level: usize,
    /// Its number in the table of that level.
    pub node: u8,
}

/// How much of an image is certified at each level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// Components whose finest certified node is of that level, from leaves on.
    pub certified: Vec<u64>,
    /// Components without one.
    pub abstained: u64,
    /// Certified information gain, rounded down; null without labels or where none counts.
    pub gain: Option<f64>,
}

impl Levels {
    /// Of certified nodes, and labels where there are some.
    ///
    /// # Errors
    ///
    /// As [`Hierarchy::gain`].
    pub fn of(
        hierarchy: &Hierarchy,
        certified: &[Option<Node>],
        labels: Option<&[u8]>,
    ) -> Result<Self> {
        let mut levels = Levels {
            certified: vec![0; hierarchy.certifiable()],
            abstained: 0,
            gain: None,
        };
        for node in certified {
            match node {
                Some(node) => levels.certified[node.level] += 1,
                None => levels.abstained += 1,
            }
        }
        if let Some(labels) = labels {
            levels.gain = hierarchy.gain(certified, labels)?;
        }
        Ok(levels)
    }
}

impl Hierarchy {
    /// `levels[h][class]` is the node of the class; nodes below [`ABSTAIN`].
    ///
    /// # Errors
    ///
    /// [`Error::Hierarchy`] unless each level has a node for each class, the first tells all classes
    /// apart, and classes that share a node share all above it.
    pub fn new(levels: Vec<Vec<u8>>) -> Result<Self> {
        let refused = |reason| Err(Error::Hierarchy { reason });
        let Some(leaves) = levels.first().filter(|leaves| !leaves.is_empty()) else {
            return refused("at least one level of at least one class");
        };
        let classes = leaves.len();
        if levels.iter().any(|level| level.len() != classes) {
            return refused("a node for each class in each level");
        }
        if levels.iter().flatten().any(|node| *node >= ABSTAIN) {
            return refused("nodes below 254");
        }
        if (0..classes).any(|class| leaves[..class].contains(&leaves[class])) {
            return refused("a first level that tells all classes apart");
        }
        for pair in levels.windows(2) {
            for a in 0..classes {
                for b in 0..a {
                    if pair[0][a] == pair[0][b] && pair[1][a] != pair[1][b] {
                        return refused("classes that share a node to share all above it");
                    }
                }
            }
        }
        Ok(Hierarchy { levels })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.levels[0].len()
    }

    /// Levels that can be certified: those that still tell classes apart.
    pub fn certifiable(&self) -> usize {
        let tells = |level: &&Vec<u8>| level.iter().any(|node| *node != level[0]);
        self.levels.iter().take_while(tells).count()
    }

    /// Classes of the node of a class at a level.
    ///
    /// # Panics
    ///
    /// For a level or class that is not there.
    pub fn leaves(&self, level: usize, class: u8) -> usize {
        let nodes = &self.levels[level];
        let node = nodes[usize::from(class)];
        nodes.iter().filter(|other| **other == node).count()
    }

    /// The leaf of each component whose path the samples choose: at the coarsest level the most
    /// frequent node, then the most frequent of its children, and so on; ties to the lowest node.
    ///
    /// # Errors
    ///
    /// [`Error::NoSamples`], [`Error::Components`] for maps of different sizes, [`Error::ClassOutOfRange`].
    pub fn choose(&self, maps: &[&[u8]]) -> Result<Vec<u8>> {
        let size = maps.first().ok_or(Error::NoSamples)?.len();
        for map in maps {
            check_map(map, size)?;
            self.check(map)?;
        }
        Ok((0..size).map(|i| self.path(maps, i)).collect())
    }

    fn path(&self, maps: &[&[u8]], i: usize) -> u8 {
        let mut within: Vec<u8> = (0..self.classes() as u8).collect();
        for level in self.levels.iter().rev() {
            let mut votes = [0usize; 256];
            for label in maps.iter().map(|map| map[i]) {
                if within.contains(&label) {
                    votes[usize::from(level[usize::from(label)])] += 1;
                }
            }
            let nodes = within.iter().map(|class| level[usize::from(*class)]);
            let key = |node: &u8| (votes[usize::from(*node)], std::cmp::Reverse(*node));
            let best = nodes.max_by_key(key).unwrap_or_default();
            within.retain(|class| level[usize::from(*class)] == best);
        }
        within[0]
    }

    fn check(&self, labels: &[u8]) -> Result<()> {
        let classes = self.classes();
        match labels.iter().find(|label| usize::from(**label) >= classes) {
            None => Ok(()),
            Some(class) => Err(Error::ClassOutOfRange {
                class: *class,
                classes,
            }),
        }
    }
}

/// Votes for each node of the paths, by level.
#[derive(Clone, Debug)]
pub struct PathVotes<'a> {
    hierarchy: &'a Hierarchy,
    leaves: Vec<u8>,
    levels: Vec<Votes>,
    mapped: Vec<u8>,
}

impl<'a> PathVotes<'a> {
    /// Paths from these leaves, fixed before the test.
    ///
    /// # Errors
    ///
    /// [`Error::ClassOutOfRange`].
    pub fn new(hierarchy: &'a Hierarchy, leaves: Vec<u8>) -> Result<Self> {
        check_classes(&leaves)?;
        hierarchy.check(&leaves)?;
        let nodes = |level: &Vec<u8>| {
            leaves
                .iter()
                .map(|leaf| level[usize::from(*leaf)])
                .collect()
        };
        let levels = hierarchy.levels[..hierarchy.certifiable()].iter();
        Ok(PathVotes {
            hierarchy,
            levels: levels.map(|level| Votes::new(nodes(level))).collect(),
            mapped: vec![0; leaves.len()],
            leaves,
        })
    }

    /// Takes a label map of a noisy picture.
    ///
    /// # Errors
    ///
    /// [`Error::Components`], [`Error::ClassOutOfRange`].
    pub fn add(&mut self, labels: &[u8]) -> Result<()> {
        check_map(labels, self.leaves.len())?;
        self.hierarchy.check(labels)?;
        for (votes, level) in self.levels.iter_mut().zip(&self.hierarchy.levels) {
            for (mapped, label) in self.mapped.iter_mut().zip(labels) {
                *mapped = level[usize::from(*label)];
            }
            votes.add(&self.mapped)?;
        }
        Ok(())
    }

    /// Votes by level, from leaves on, for nodes: those of the first level too may have other numbers than the classes.
    pub fn levels(&self) -> &[Votes] {
        &self.levels
    }

    /// Votes for the leaves as classes of the network; none in a hierarchy of one class.
    pub fn of_classes(&self) -> Option<Votes> {
        Some(self.levels.first()?.renamed(self.leaves.clone()))
    }

    /// The finest certified node of each component; none: abstain.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for corrections in steps and a single stage; as [`Procedure::tail`].
    pub fn certified(&self, procedure: &Procedure) -> Result<Vec<Option<Node>>> {
        if procedure.correction.steps() {
            return Err(Error::Unsupported {
                what: "a correction in steps with a hierarchy",
                way_out: "use bonferroni or count:B",
            });
        }
        if procedure.stage != Stage::Two {
            return Err(Error::Unsupported {
                what: "a hierarchy whose paths are chosen by the samples that test them",
                way_out: "use two stages",
            });
        }
        let tests = self.leaves.len() as u64;
        let samples = self.levels.first().map_or(0, Votes::samples);
        let tail = procedure.tail(samples, tests)?;
        let alpha = procedure.alpha;
        let level = Correction::level(procedure.correction, alpha, tests.max(1), 0);
        let threshold = tail.least(level);
        let finest = |component: usize| {
            let least = threshold?;
            let level = self
                .levels
                .iter()
                .position(|votes| votes.count(component) >= least)?;
            Some(Node {
                level,
                node: self.levels[level].classes()[component],
            })
        };
        Ok((0..self.leaves.len()).map(finest).collect())
    }
}

impl Hierarchy {
    /// Certified information gain: the mean over counted pixels of 1 - ln(leaves)/ln(K) where the
    /// certified node is that of the label, and 0 elsewhere; rounded down. None if no pixel counts.
    ///
    /// # Errors
    ///
    /// [`Error::Components`] unless there is a label for each node, [`Error::ClassOutOfRange`].
    pub fn gain(&self, certified: &[Option<Node>], labels: &[u8]) -> Result<Option<f64>> {
        check_map(labels, certified.len())?;
        let counted = || {
            labels
                .iter()
                .zip(certified)
                .filter(|(label, _)| **label != IGNORE)
        };
        let mut pixels = vec![0u64; self.classes() + 1];
        for (label, node) in counted() {
            self.check(std::slice::from_ref(label))?;
            if let Some(Node { level, node }) = *node
                && self.levels[level][usize::from(*label)] == node
            {
                pixels[self.leaves(level, *label)] += 1;
            }
        }
        let all = counted().count();
        if all == 0 {
            return Ok(None);
        }
        let whole = ln(Wide::whole(self.classes() as u64));
        let weighted = pixels.iter().enumerate().filter(|(_, count)| **count > 0);
        let sum: f64 = weighted
            .map(|(leaves, count)| {
                let part = if leaves == 1 {
                    0.0
                } else {
                    ln(Wide::whole(leaves as u64)) / whole
                };
                *count as f64 * (1.0 - part)
            })
            .sum();
        // a sum of at most 254 terms with errors of logarithms
        let down = sum / all as f64 * (1.0 - 300.0 * f64::EPSILON) - 3.0 * elementary::ERROR;
        Ok(Some(down.max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves 0 1 2 3; {0,1} = 4, {2,3} = 5; all = 6.
    fn small() -> Hierarchy {
        Hierarchy::new(vec![vec![0, 1, 2, 3], vec![4, 4, 5, 5], vec![6; 4]]).unwrap()
    }

    #[test]
    fn hierarchy() {
        for levels in [
            vec![],
            vec![vec![]],
            vec![vec![0, 1], vec![0]],
            vec![vec![0, 254]],
            vec![vec![0, 0]],
            vec![vec![0, 1, 2], vec![3, 3, 4], vec![5, 6, 6]],
        ] {
            let error = Hierarchy::new(levels).unwrap_err();
            assert!(matches!(error, Error::Hierarchy { .. }));
        }
        assert_eq!(
            Hierarchy::new(vec![]).unwrap_err().to_string(),
            "hierarchy of classes; expected at least one level of at least one class"
        );
        assert_eq!((small().classes(), small().certifiable()), (4, 2));
        assert_eq!((small().leaves(1, 2), small().leaves(2, 0)), (2, 4));
    }

    #[test]
    fn paths_are_chosen_from_the_root() {
        // 2 and 3 together are ahead of 0, which is the most frequent leaf
        let maps: [&[u8]; 7] = [&[0], &[0], &[0], &[2], &[2], &[3], &[3]];
        assert_eq!(small().choose(&maps).unwrap(), [2]);
        assert_eq!(small().choose(&[&[3], &[0]]).unwrap(), [0]);
        assert_eq!(small().choose(&[]), Err(Error::NoSamples));
        assert!(matches!(
            small().choose(&[&[4]]),
            Err(Error::ClassOutOfRange { .. })
        ));
        assert!(matches!(
            small().choose(&[&[0], &[0, 1]]),
            Err(Error::Components { .. })
        ));
    }

    /// Nodes of the first level may be numbered in any way.
    #[test]
    fn leaves_are_certified_as_classes() {
        let tree = Hierarchy::new(vec![vec![2, 0, 1], vec![5, 5, 6]]).unwrap();
        let mut votes = PathVotes::new(&tree, vec![0, 1, 2]).unwrap();
        votes.add(&[0, 1, 1]).unwrap();
        let leaves = votes.of_classes().unwrap();
        assert_eq!(leaves.classes(), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|i| leaves.count(i)), [1, 1, 0]);
        assert_eq!(leaves.samples(), 1);
        let one = Hierarchy::new(vec![vec![0]]).unwrap();
        assert!(
            PathVotes::new(&one, vec![0])
                .unwrap()
                .of_classes()
                .is_none()
        );
    }

    #[test]
    fn the_finest_level_that_holds() {
        let tree = small();
        let mut votes = PathVotes::new(&tree, vec![0, 0, 2]).unwrap();
        for sample in 0..100 {
            // leaf 0 always; leaf 0 or 1; anything
            votes
                .add(&[0, (sample % 2) as u8, (sample % 4) as u8])
                .unwrap();
        }
        let procedure = Procedure {
            tau: 0.75,
            alpha: 0.001,
            correction: Correction::Bonferroni,
            stage: Stage::Two,
        };
        let certified = votes.certified(&procedure).unwrap();
        let node = |level, node| Some(Node { level, node });
        assert_eq!(certified, [node(0, 0), node(1, 4), None]);
        let levels = Levels::of(&tree, &certified, None).unwrap();
        assert_eq!(
            (levels.certified, levels.abstained, levels.gain),
            (vec![1, 1], 1, None)
        );
        let gain = |labels: &[u8]| Levels::of(&tree, &certified, Some(labels)).unwrap().gain;
        // 1 and 1 - ln 2/ln 4, of three; a wrong leaf of the right node is right
        assert!((gain(&[0, 1, 2]).unwrap() - 0.5).abs() < 1e-12);
        assert!((gain(&[1, 2, 2]).unwrap()).abs() < 1e-12);
        assert!((gain(&[0, 1, IGNORE]).unwrap() - 0.75).abs() < 1e-12);
        assert_eq!(gain(&[IGNORE; 3]), None);
        assert!(Levels::of(&tree, &certified, Some(&[0])).is_err());
        assert!(tree.gain(&certified, &[0, 0, 4]).is_err());
        let holm = Procedure {
            correction: Correction::Holm,
            ..procedure
        };
        assert!(matches!(
            votes.certified(&holm),
            Err(Error::Unsupported { .. })
        ));
        assert!(votes.add(&[0]).is_err() && votes.add(&[0, 0, 9]).is_err());
        assert!(PathVotes::new(&tree, vec![4]).is_err());
    }
}
