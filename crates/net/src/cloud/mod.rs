//! Point clouds: shapes with part labels, their networks, and votes under noise.
//!
//! A cloud is centred on its centroid and its farthest point has norm 1, before noise; noise falls on the
//! points only, and l2 radii are over all P x 3 coordinates together.

pub mod geometry;
pub mod network;

use std::ops::Range;

use crate::error::Result;

/// One shape. Points centred, the farthest of norm 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Cloud {
    /// Its name in rows; noise is keyed by it.
    pub id: String,
    /// Number of its category.
    pub category: u8,
    /// (P, 3).
    pub points: Vec<[f32; 3]>,
    /// Empty, or one a point, of length 1.
    pub normals: Vec<[f32; 3]>,
    /// One a point: parts, numbered over all categories.
    pub labels: Vec<u8>,
}

/// Categories and their parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Name by category.
    pub names: Vec<String>,
    /// Parts by category: disjoint, in rising order, together all parts from 0.
    pub parts: Vec<Range<u8>>,
}

impl Catalogue {
    /// Number of parts of all categories.
    pub fn classes(&self) -> usize {
        let ends = self.parts.iter().map(|parts| usize::from(parts.end));
        ends.max().unwrap_or(0)
    }
}

/// A deterministic labelling of a noisy cloud.
pub trait CloudModel: Sync {
    /// Number of parts K, of all categories together.
    fn classes(&self) -> usize;

    /// What tells it from other models, in a word.
    fn identity(&self) -> String;

    /// Scores (P, K) of points (P, 3) with normals (P, 3) or none, for a shape of a category; `start` is
    /// where farthest point sampling begins.
    ///
    /// # Errors
    /// Those of the network.
    fn scores(
        &self,
        points: &[[f32; 3]],
        normals: &[[f32; 3]],
        category: u8,
        start: usize,
    ) -> Result<Vec<f32>>;
}
