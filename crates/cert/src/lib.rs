//! Deterministic robustness certificates for semantic segmentation: logits and a Lipschitz
//! constant in, bounds out. No files, clocks, threads or chance: same input, same bound, to the bit.
//!
//! Equation numbers are those of *Fast and Flexible Robustness Certificates for Semantic
//! Segmentation* ("paper 001").
//!
//! # What is assumed
//!
//! [`Premises`] are what the caller vouches for; a certificate is worth as much as they are.
//! 1. The logits f(x), of all pixels and classes, are a fixed function of one picture.
//! 2. ||f(x) - f(x')||_p <= L ||x - x'||_p for all x, x', the left norm taken **jointly** over
//!    pixels and classes. L is measured from the tensor in which the attack is measured, so that it
//!    contains the input normalisation; and in the same norm: an l2 constant does not answer p = 1.
//! 3. Each logit handed over is within eta of f(x). Certificates are about f, not about the
//!    rounding of a program that evaluates it at the attacked picture.
//!
//! # The master inequality (eqs 6, 25)
//!
//! An attack of norm eps moves the logits by alpha with sum_w ||alpha_w||_p^p <= (L·eps)^p over the
//! pixels w. What needs ||alpha_w||_p >= L·r_w on a set F of pixels needs sum_{w in F} r_w^p <= eps^p:
//! all pixels share one budget. Every alpha in that ball is allowed, whether a picture reaches it or
//! not, and the picture may leave [0, 1]: both only lower the bounds.
//! For p = inf nothing is shared: each pixel has the budget eps.
//!
//! # Radii (eqs 3, 8, 20): [`margins()`]
//!
//! Closing a gap m of two logits costs 2^((1-p)/p)·m. With m = top1 - top2, less 2·eta, the
//! *stability radius* is r = 2^((1-p)/p)·m / L. For metrics with labels a wrong pixel has radius 0.
//! A tie is flipped already. To make a pixel predict class k costs at least the gap from the top
//! class down to k (a lower bound for 1 < p < inf with three classes or more).
//!
//! # The flip curve (eqs 9-18, 26): [`Metric::certify`]
//!
//! E(n), the root of the sum of the n smallest r^p, is the least budget that flips n pixels.
//! - Q1, [`Certificate::worst`]: at eps at most max {n : E(n) <= eps} pixels are flipped.
//! - Q2, [`Certificate::budget`]: below E(n) no attack flips n pixels. A [`Goal`] such as
//!   `accuracy<=0.7` needs n = ceil((1 - 0.7)·pixels), counted in integers (eqs 12-14 print
//!   ceil(0.7·pixels), which is right for the false negative rate alone).
//!
//! # The frontier of class IoU (appendix B, eqs 27-29)
//!
//! Of a class with s pixels an attack loses i and gains j elsewhere: (s-i)/(s+j) is left, at the
//! cost of both lists together. For each i the largest j that is affordable falls as i rises, so
//! one scan is exact. The printed radii lack the factor 2^((1-p)/p) and 1/L, which is unsound.
//!
//! # The audit (section 5.1, appendix C): [`audit`]
//!
//! L of a network is the product of its layers' bounds, sqrt(sum L_i^2) for concatenated branches,
//! 1 / min std for the normalisation. [`conv_bound`] bounds a convolution from above, by the
//! Gram sequence of its polyphase kernel; power iteration, which errs below, bounds nothing.
//!
//! # Rounding
//!
//! All arithmetic is f64. Norms and L are rounded up, radii and budgets down, a flip is counted
//! where E(n) = eps, and the slack of a sum grows with the number of its terms. Counts are exact
//! [`Share`]s; [`Share::lower`], [`Share::upper`], [`round_down`], [`round_up`], [`mean_lower`]
//! and [`mean_upper`] keep the side up to the printed digit.
//!
//! # Example
//!
//! ```
//! use certiseg_cert::{Budget, Grid, Image, Metric, Norm, Premises, margins};
//!
//! // two classes, one row of three pixels: margins 2, 1 and -1
//! let logits = [2.0, 1.0, 0.0, 0.0, 0.0, 1.0];
//! let labels = [0, 0, 0];
//! let image = Image::new(Grid::new(2, 1, 3)?, &logits, Some(&labels), Some(255))?;
//! let margins = margins(&image, &Premises::new(Norm::L2, 1.0, 0.0)?)?;
//! let certificate = Metric::Accuracy.certify(&margins)?.expect("three pixels count");
//!
//! assert_eq!(certificate.clean().to_string(), "2/3");
//! // the pixel of margin 1 falls at a budget of 1/sqrt(2)
//! assert_eq!(certificate.worst(Budget::new(0.7)?).to_string(), "2/3");
//! assert_eq!(certificate.worst(Budget::new(0.8)?).to_string(), "1/3");
//! let least = certificate.budget(&"accuracy<=0.5".parse()?)?.expect("a budget is enough");
//! assert!(least < 0.5f64.sqrt() && least > 0.7071);
//! # Ok::<(), certiseg_cert::Error>(())
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod certificate;
mod component;
mod conv_bound;
mod conventions;
mod dataset_row;
mod dual;
mod error;
mod flip_curve;
mod frontier;
mod goal;
mod gram;
mod head;
mod image;
mod joint;
mod lipschitz;
mod margin;
mod mean;
mod metric;
mod norm;
mod object;
mod pool;
mod pow;
mod power;
mod premises;
mod row;
mod share;
mod steps;
mod summary;
#[doc(hidden)]
pub mod testing;
mod value;

pub use certificate::Certificate;
pub use component::Connectivity;
pub use conv_bound::{Bound, Conv, Method, conv_bound};
pub use conventions::{Conventions, EmptyPrecision, Forced, MiouClasses, Objects};
pub use dataset_row::{CurveRow, DatasetRow};
pub use error::{Error, Result};
pub use goal::{Decimal, Goal, Relation};
pub use head::ClassHead;
pub use image::{Grid, Image};
pub use lipschitz::{Audit, Layer, LayerBound, Wrap, audit};
pub use margin::{Margins, margins, margins_with_head, predictions};
pub use metric::Metric;
pub use norm::{Budget, Norm};
pub use object::Object;
pub use pool::Pool;
pub use premises::{Claim, Premises};
pub use row::{FORMAT, Head, Question, Row};
pub use share::{Share, Value, round_down, round_up};
pub use summary::{Entry, Quantile, Side, Summary, mean_lower, mean_upper};
