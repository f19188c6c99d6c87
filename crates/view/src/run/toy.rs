//! Rows of paper 002's experiment.

use certiseg_cert::smoothing::Toy as Experiment;
use serde::Deserialize;

/// A series at a point.
#[derive(Clone, Debug, Deserialize)]
pub struct Toy {
    /// `2a`, `2b`, `2c`, `5`, `6a`, `6b`.
    pub figure: String,
    /// `text` or `code` of the paper.
    pub settings: String,
    /// An algorithm.
    pub series: String,
    /// The settings of the point.
    pub toy: Experiment,
    /// Simulations.
    pub runs: u64,
    /// Mean share of certified components.
    pub simulated: f64,
    /// Its expectation, where one is known in closed form.
    pub exact: Option<f64>,
}
