//! From label maps of a model to votes in a hierarchy.

use certiseg_cert::smoothing::PathVotes;

use super::test::Test;

/// Label maps on their way to votes for the nodes of a hierarchy.
pub struct Levels<'a> {
    test: &'a Test,
    choose: usize,
    maps: Vec<Vec<u8>>,
    /// Once the classes are chosen.
    pub votes: Option<PathVotes<'a>>,
}

impl<'a> Levels<'a> {
    /// None where there is no hierarchy.
    pub fn new(test: &'a Test, choose: usize) -> Option<Self> {
        test.hierarchy.as_ref().map(|_| Levels {
            test,
            choose,
            maps: Vec::new(),
            votes: None,
        })
    }

    /// The label map of a sample.
    pub fn add(&mut self, number: u32, labels: &[u8]) -> certiseg_net::Result<()> {
        let Some(hierarchy) = &self.test.hierarchy else {
            return Ok(());
        };
        if let Some(votes) = &mut self.votes {
            return Ok(votes.add(labels)?);
        }
        self.maps.push(labels.to_vec());
        if number as usize + 1 == self.choose {
            let maps = std::mem::take(&mut self.maps);
            let maps: Vec<&[u8]> = maps.iter().map(Vec::as_slice).collect();
            self.votes = Some(PathVotes::new(hierarchy, hierarchy.choose(&maps)?)?);
        }
        Ok(())
    }
}
