//! Point clouds: shapes with part labels, their networks, and votes under noise.
//!
//! A cloud is centred on its centroid and its farthest point has norm 1, before noise; noise falls on the
//! points only, and l2 radii are over all P x 3 coordinates together.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use certiseg_cert::smoothing::{Correction, Law, Procedure, Stage};
//! use certiseg_net::cloud::{CloudModel, CloudNoise, CloudSampler, shapes};
//!
//! /// Whatever is low is the first part of its category.
//! struct Height;
//!
//! impl CloudModel for Height {
//!     fn classes(&self) -> usize {
//!         13
//!     }
//!     fn identity(&self) -> String {
//!         "height".into()
//!     }
//!     fn scores(
//!         &self,
//!         points: &[[f32; 3]],
//!         _normals: &[[f32; 3]],
//!         _category: u8,
//!         _start: usize,
//!     ) -> certiseg_net::Result<Vec<f32>> {
//!         let row = |point: &[f32; 3]| (0..13).map(|part| point[2] * part as f32).collect::<Vec<_>>();
//!         Ok(points.iter().flat_map(row).collect())
//!     }
//! }
//!
//! let (catalogue, lamp) = (shapes::catalogue(), shapes::shape(0, 2, 256, false)?.cloud);
//! let noise = CloudNoise::points(Law::Gaussian { sigma: 0.1 })?;
//! let radius = noise.law().radius(0.75)?;
//! assert!(noise.per_point(radius, 256).is_some_and(|each| each < radius / 16.0));
//!
//! // ten samples choose the parts, a hundred test them; one pass a sample, seed 7
//! let sampler = CloudSampler::new(&Height, &catalogue, noise, (7, 1))?;
//! let mut state = sampler.start(&lamp, 10, Stage::Two)?;
//! sampler.run(&lamp, &mut state, 100, &mut |_| ControlFlow::Continue(()))?;
//!
//! let votes = state.votes().expect("parts are chosen");
//! let procedure = Procedure { tau: 0.75, alpha: 0.001, correction: Correction::Holm, stage: Stage::Two };
//! let decision = procedure.decide(votes.samples(), &votes.histogram(None)?)?;
//! assert!(decision.certified > 150);
//! # Ok::<(), certiseg_net::Error>(())
//! ```

mod chance;
mod file;
pub mod geometry;
pub mod metrics;
pub mod network;
mod noise;
mod primitive;
mod sampler;
pub mod shapenet;
pub mod shapes;
pub mod small;
pub mod train;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use file::{read_cloud, read_folder, write_cloud};
pub use noise::{CloudNoise, GRID};
pub use sampler::CloudSampler;

use crate::error::{Error, Result};

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
    /// Empty, or one a point: parts, numbered over all categories.
    pub labels: Vec<u8>,
}

/// Coordinates reach no farther: the unit sphere, and room for clouds that are not quite of norm 1.
const FARTHEST: f32 = 2.0;

impl Cloud {
    /// Whether it is whole, and fits the catalogue.
    ///
    /// # Errors
    /// [`Error::BadCloud`] for no points, lengths that differ, numbers that are none or far outside the unit
    /// sphere, an unknown category, labels that are no parts of it.
    pub fn check(&self, catalogue: &Catalogue) -> Result<()> {
        let bad = |what: String| Err(Error::bad_cloud(&self.id, what));
        let count = self.points.len();
        if count == 0 {
            return bad("no points".into());
        }
        for (name, length) in [
            ("normals", self.normals.len()),
            ("labels", self.labels.len()),
        ] {
            if length != 0 && length != count {
                return bad(format!("{length} {name} for {count} points"));
            }
        }
        let inside = |value: &f32| (-FARTHEST..=FARTHEST).contains(value);
        if let Some(point) = self.points.iter().find(|point| !point.iter().all(inside)) {
            return bad(format!("the point {point:?}, expected the unit sphere"));
        }
        if let Some(normal) = self.normals.iter().find(|n| !n.iter().all(inside)) {
            return bad(format!("the normal {normal:?}, expected length 1"));
        }
        let parts = catalogue.parts(self.category).map_err(|_| {
            let known = catalogue.parts.len();
            let what = format!("the category {}, expected one below {known}", self.category);
            Error::bad_cloud(&self.id, what)
        })?;
        match self.labels.iter().find(|label| !parts.contains(label)) {
            None => Ok(()),
            Some(label) => bad(format!(
                "the label {label}, expected a part of its category, {} to {}",
                parts.start,
                parts.end - 1
            )),
        }
    }
}

/// Points moved so that their mean is the origin, and scaled so that the farthest has norm 1.
///
/// # Errors
/// [`Error::BadCloud`] where all are one point, or one is no number.
pub fn normalised(id: &str, points: &[[f64; 3]]) -> Result<Vec<[f32; 3]>> {
    let count = points.len() as f64;
    let mean = [0, 1, 2].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / count);
    let centred = || {
        points
            .iter()
            .map(|p| [0, 1, 2].map(|axis| p[axis] - mean[axis]))
    };
    let norm = |[x, y, z]: [f64; 3]| (x * x + y * y + z * z).sqrt();
    let farthest = centred().map(norm).fold(0.0, f64::max);
    // a number that is none makes the mean none
    if !(farthest > 0.0 && farthest.is_finite()) || mean.iter().any(|m| !m.is_finite()) {
        let what = "points that span nothing, expected finite numbers, not all the same";
        return Err(Error::bad_cloud(id, what.into()));
    }
    Ok(centred()
        .map(|p| p.map(|value| (value / farthest) as f32))
        .collect())
}

/// Categories and their parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

    /// The parts of a category.
    ///
    /// # Errors
    /// [`Error::Setting`] for a category that is not there.
    pub fn parts(&self, category: u8) -> Result<Range<u8>> {
        let parts = self.parts.get(usize::from(category)).cloned();
        let expected = || format!("below {}", self.parts.len());
        parts.ok_or_else(|| Error::setting("category", category.to_string(), expected()))
    }

    /// As it stands, where names and parts fit.
    ///
    /// # Errors
    /// [`Error::Setting`] unless there is a name for each category, and parts follow each other from 0, at least one
    /// a category, at most 253 in all.
    pub fn check(self) -> Result<Self> {
        let mut next = 0;
        let mut apart = self.names.len() == self.parts.len() && !self.names.is_empty();
        for parts in &self.parts {
            apart &= parts.start == next && parts.end > parts.start;
            next = parts.end;
        }
        if apart && next <= MOST_PARTS {
            return Ok(self);
        }
        let got = format!("{:?} with parts {:?}", self.names, self.parts);
        let expected =
            "a name and a range of parts for each category, one after the other from 0, up to 253";
        Err(Error::setting("catalogue", got, expected))
    }
}

/// Labels beyond mean no part.
const MOST_PARTS: u8 = 253;

/// A deterministic labelling of a noisy cloud.
pub trait CloudModel: Sync {
    /// Number of parts K, of all categories together.
    fn classes(&self) -> usize;

    /// What tells it from other models, in a word.
    fn identity(&self) -> String;

    /// Whether scores depend on where farthest point sampling begins; if not, several passes a sample are one.
    fn samples_points(&self) -> bool {
        true
    }

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

#[cfg(test)]
mod tests;
