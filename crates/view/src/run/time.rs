//! Rows of wall times.

use serde::Deserialize;

/// One image of `certify --times`.
#[derive(Clone, Debug, Deserialize)]
pub struct Time {
    /// Its name.
    pub image: String,
    /// Seconds of the passes through the network; 0 for logits of others.
    pub pass_seconds: f64,
    /// Seconds of margins and certificates.
    pub certificate_seconds: f64,
}
