#![doc = "stub"]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod certificate;
mod conv_bound;
mod error;
mod flip_curve;
mod goal;
mod gram;
mod iou;
mod lipschitz;
mod margin;
mod metric;
mod norm;
mod power;
mod row;
mod share;
mod summary;
#[doc(hidden)]
pub mod testing;

pub use certificate::Certificate;
pub use conv_bound::{Bound, Conv, Method, conv_bound};
pub use error::{Error, Result};
pub use goal::{Decimal, Goal, Relation};
pub use lipschitz::{Audit, Layer, LayerBound, Wrap, audit};
pub use margin::{Grid, Image, Margins, Premises, margins, predictions};
pub use metric::Metric;
pub use norm::{Budget, Norm};
pub use row::{FORMAT, Head, Question, Row};
pub use share::{Share, round_down, round_up};
pub use summary::{Entry, Quantile, Side, Summary, mean_lower, mean_upper};
