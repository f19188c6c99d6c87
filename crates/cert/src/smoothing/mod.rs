//! Randomized smoothing.

mod elementary;
mod normal;
mod tail;
mod wide;

pub use normal::{normal_cdf, normal_quantile};
pub use tail::{MAX_SAMPLES, Tail};
