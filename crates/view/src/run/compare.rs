//! Rows of certificates of several kinds side by side.

use serde::Deserialize;

/// A network, a method, a budget: all images.
#[derive(Clone, Debug, Deserialize)]
pub struct Compared {
    /// `model` or `twin`.
    pub network: String,
    /// `lipschitz`, `holm`, `single-stage`, `count`, `hybrid`.
    pub method: String,
    /// l2 budget.
    pub eps: f64,
    /// Samples that test; none of the bound.
    pub n: Option<usize>,
    /// Noise.
    pub sigma: Option<f64>,
    /// What is proved.
    pub statement: String,
    /// Certified and right, mean over images.
    pub crpa: f64,
    /// Half of the width within which the mean of images of their kind is.
    pub band: f64,
    /// Images.
    pub images: usize,
    /// Passes for one image.
    pub forwards: usize,
    /// Of an image, all together.
    pub seconds: f64,
}

/// The same of one image.
#[derive(Clone, Debug, Deserialize)]
pub struct ComparedImage {
    /// Its name.
    pub image: String,
    /// `model` or `twin`.
    pub network: String,
    /// As in [`Compared`].
    pub method: String,
    /// l2 budget.
    pub eps: f64,
    /// Samples that test.
    pub n: Option<usize>,
    /// Certified and right, rounded down.
    pub crpa: Option<f64>,
}

/// The fewest samples with which a method certifies as much as the bound.
#[derive(Clone, Debug, Deserialize)]
pub struct Equal {
    /// `model` or `twin`.
    pub network: String,
    /// As in [`Compared`].
    pub method: String,
    /// l2 budget.
    pub eps: f64,
    /// CRPA of the bound.
    pub lipschitz: f64,
    /// None where none of those tried is enough.
    pub n: Option<usize>,
    /// CRPA with as many.
    pub crpa: Option<f64>,
    /// Time over that of the bound.
    pub ratio: Option<f64>,
}
