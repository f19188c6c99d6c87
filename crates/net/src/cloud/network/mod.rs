//! Networks of point clouds from plain weights, evaluated one cloud at a time: PointNet and PointNet++ as
//! they are usually trained.
//!
//! Same weights, same cloud, same start: same bits, whatever the processor and the number of threads.

mod abstraction;
mod layer;
mod pass;
mod plan;
#[cfg(test)]
mod tests;
mod weights;

pub use plan::{Kind, Settings};
pub use weights::Weights;

use super::CloudModel;
use crate::error::{Error, Result};
use crate::infer::Number;
use layer::Mlp;

/// A network, ready to be evaluated.
pub struct PointNetwork<T = f32> {
    settings: Settings,
    identity: String,
    blocks: Vec<Mlp<T>>,
}

impl<T: Number> PointNetwork<T> {
    /// Packs the weights.
    pub fn new(weights: &Weights) -> Self {
        Self {
            settings: weights.settings(),
            identity: weights.identity(),
            blocks: weights.blocks(),
        }
    }

    /// What its layers depend on.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Scores (P, K), before the softmax: it moves those of a point by one number, so that no choice of a
    /// class depends on it, nor one after a mean over several starts.
    ///
    /// `start` is the first centre of the first level of a PointNet++; the second level begins with that
    /// point too. Normals are read where the network was trained with them.
    ///
    /// # Errors
    /// [`Error::Setting`] for no points or numbers that are not finite, normals that are needed and missing,
    /// a category that the network does not know, a start that is no point.
    pub fn evaluate(
        &self,
        points: &[[T; 3]],
        normals: &[[T; 3]],
        category: u8,
        start: usize,
    ) -> Result<Vec<T>> {
        let Settings {
            channels,
            categories,
            parts,
            ..
        } = self.settings;
        let count = points.len();
        if !(1..=1 << 24).contains(&count) {
            return Err(Error::setting("points", count.to_string(), "1 to 2^24"));
        }
        if start >= count {
            let expected = format!("the index of one of {count} points");
            return Err(Error::setting("start", start.to_string(), expected));
        }
        // a network without categories is told none
        if categories > 0 && usize::from(category) >= categories {
            let expected = format!("one of the {categories} categories of the network, from 0");
            return Err(Error::setting("category", category.to_string(), expected));
        }
        let normals = if channels == 6 { normals } else { &[] };
        if channels == 6 && normals.len() != count {
            let expected = format!("{count}: the network was trained with one a point");
            return Err(Error::setting(
                "normals",
                normals.len().to_string(),
                expected,
            ));
        }
        let finite = |v: &[T; 3]| v.iter().all(|&v| v.into().is_finite());
        if let Some(at) = points.iter().chain(normals).position(|v| !finite(v)) {
            let got = format!("not finite at index {}", at % count);
            return Err(Error::setting("points", got, "finite numbers"));
        }
        let scores = self.pass(points, normals, category, start);
        let of_point = |point: usize| (0..parts).map(move |part| part * count + point);
        Ok((0..count).flat_map(of_point).map(|at| scores[at]).collect())
    }
}

impl CloudModel for PointNetwork<f32> {
    fn classes(&self) -> usize {
        self.settings.parts
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn samples_points(&self) -> bool {
        self.settings.kind != Kind::PointNet
    }

    fn scores(
        &self,
        points: &[[f32; 3]],
        normals: &[[f32; 3]],
        category: u8,
        start: usize,
    ) -> Result<Vec<f32>> {
        self.evaluate(points, normals, category, start)
    }
}
