//! Robustness certificates for semantic segmentation: logits and a Lipschitz constant in, bounds
//! out; votes under noise in, verdicts out. No files, clocks, threads or chance, and no function of a mathematical
//! library but the square root: same input, same bound, to the bit, on every machine.
//!
//! Equation numbers are those of *Fast and Flexible Robustness Certificates for Semantic
//! Segmentation* ("paper 001"). `MATHS.md` maps each to its function and test.
//!
//! # What is assumed
//!
//! [`Premises`] are what the caller vouches for; a certificate is worth as much as they are.
//! 1. The logits f(x), of all pixels and classes, are a fixed function of one picture.
//! 2. ||f(x) - f(x')||_p <= L ||x - x'||_p for all x, x', the left norm taken **jointly** over
//!    pixels and classes. L is measured from the tensor in which the attack is measured, so that it
//!    contains the input normalisation; and in the same norm: an l2 constant does not answer p = 1,
//!    but by [`Premises::in_norm`].
//! 3. Each logit handed over is within eta of f(x). Certificates are about f, or, with four times
//!    eta, about the program that evaluates it ([`Claim`]).
//!
//! # The master inequality (eqs 6, 25)
//!
//! An attack of norm eps moves the logits by alpha with sum_w ||alpha_w||_p^p <= (L·eps)^p over the
//! pixels w. What needs ||alpha_w||_p >= L·r_w on a set F of pixels needs sum_{w in F} r_w^p <= eps^p:
//! all pixels share one budget. Every alpha in that ball is allowed, whether a picture reaches it or
//! not, and the picture may leave [0, 1]: both only lower the bounds. "Exact" means exact for this
//! relaxation. For p = inf nothing is shared: each pixel has the budget eps.
//!
//! # Radii (eqs 3, 8, 20): [`margins()`], [`margins_with_head()`]
//!
//! Closing a gap m of two logits costs 2^((1-p)/p)·m. With m = top1 - top2, less 2·eta, the
//! *stability radius* is r = 2^((1-p)/p)·m / L. With the rows of the head and L of the features it
//! is the least (f_y - f_j) / (L·||w_y - w_j||_q), never less up to rounding. For metrics with labels a wrong pixel
//! has radius 0. A tie is flipped already. To make a pixel predict class k costs at least the gap
//! from the top class down to k; exactly, for p = 2, the water level of [`Forced::Exact`].
//!
//! # The flip curve (eqs 9-18, 26): [`Metric::certify`]
//!
//! E(n), the root of the sum of the n smallest r^p, is the least budget that flips n pixels.
//! - Q1, [`Certificate::worst`]: at eps at most max {n : E(n) <= eps} pixels are flipped.
//! - Q2, [`Certificate::budget`]: below E(n) no attack flips n pixels. A [`Goal`] such as
//!   `accuracy<=0.7` needs n = ceil((1 - 0.7)·pixels), counted in integers (eqs 12-14 print
//!   ceil(0.7·pixels), which is right for the false negative rate alone).
//!
//! Objects are a list like pixels: an object costs the sum of the pixels that it must lose.
//!
//! # The frontier (appendix B, eqs 27-29): IoU, Dice, precision
//!
//! Of a class with s pixels an attack loses i and gains j elsewhere: (s-i)/(s+j) is left, at the
//! cost of both lists together. For each i the largest j that is affordable falls as i rises, so
//! one scan is exact for whatever does not rise in j ([`Certificate::worst_of`] takes your own).
//! The printed radii lack the factor 2^((1-p)/p) and 1/L, which is unsound.
//!
//! # Means over classes: mean class accuracy, mIoU
//!
//! Every class attacked with the whole budget is one lower bound. The other charges each moved pixel
//! once, a part to the class it leaves and the rest to the one it joins, with Lagrange multipliers;
//! any multipliers give a bound, and they are sought well. The larger bound counts. Lists of more
//! than 4096 pixels are taken in blocks there, which costs at most 2^-11 of a class.
//!
//! # Data sets: [`Pool`]
//!
//! Every image is attacked within the same eps. Counts add up. The pooled ratio is a minimum over
//! the choices on all images together (Dinkelbach's method, in integers); the sum of the worst
//! images is no bound of it. Means of budgets are statistics, not guarantees.
//!
//! # The audit (section 5.1, appendix C): [`audit`]
//!
//! L of a network is the product of its layers' bounds; [`Layer`] has the rule of each, of branches
//! and of the normalisation. [`conv_bound`] bounds a convolution from above, by the
//! Gram sequence of its polyphase kernel; power iteration, which errs below, bounds nothing.
//!
//! # Smoothing (paper 002): [`smoothing`]
//!
//! The other kind of certificate: votes of any network on noisy pictures, to verdicts that hold with
//! probability 1 - alpha. Its page is its own short course.
//!
//! # Rounding
//!
//! All arithmetic is f64. Norms and L are rounded up, radii and budgets down, a flip is counted
//! where E(n) = eps. Sums carry what their additions lose, so that a million pixels cost no more
//! slack than one; powers have a proven error. Counts are exact [`Share`]s; [`Value::lower`],
//! [`Value::upper`], [`round_down`], [`round_up`], [`mean_lower`] and [`mean_upper`] keep the side
//! up to the printed digit.
//!
//! # A tour
//!
//! ```
//! use certiseg_cert::*;
//!
//! // Two classes, two rows of three pixels; the network misses one of the two pixels of class 1. The
//! // last label is void.
//! let grid = Grid::new(2, 2, 3)?;
//! let logits = [
//!     2.0, 1.0, 0.0, 3.0, 1.0, 0.0, // class 0
//!     0.0, 0.0, 1.0, 0.0, 0.0, 2.0, // class 1
//! ];
//! let labels = [0, 0, 1, 0, 1, 255];
//! let image = Image::new(grid, &logits, Some(&labels), Some(255))?;
//!
//! // What is vouched for: a joint l2 constant of 1, logits without error.
//! let premises = Premises::new(Norm::L2, 1.0, 0.0)?;
//! let margins = margins(&image, &premises)?;
//! assert_eq!(margins.predictions(), [0, 0, 1, 0, 0, 1]);
//! assert!((margins.radii()[1] - 0.5f64.sqrt()).abs() < 1e-9); // a gap of 1 at p = 2
//!
//! // Q1: the worst value within a budget. Pixels of gap 1 fall one by one, at 1/2 each of eps^2.
//! let accuracy = Metric::Accuracy.certify(&margins)?.expect("five pixels count");
//! let eps = |eps| Budget::new(eps);
//! assert_eq!(accuracy.clean().to_string(), "4/5");
//! assert_eq!(accuracy.worst(eps(0.7)?).to_string(), "4/5");
//! assert_eq!(accuracy.worst(eps(0.8)?).to_string(), "3/5");
//! assert_eq!(accuracy.worst(eps(1.1)?).to_string(), "2/5");
//!
//! // Q2: the budget below which a degradation is out of reach; here two flips, sqrt(1/2 + 1/2).
//! let goal: Goal = "accuracy<=0.4".parse()?;
//! let least = accuracy.budget(&goal)?.expect("enough budget reaches it");
//! assert!(least < 1.0 && least > 0.999_999);
//!
//! // Every other metric is asked in the same way.
//! let worst = |name: &str, budget: f64| -> Result<f64> {
//!     let metric: Metric = name.parse()?;
//!     let certificate = metric.certify(&margins)?.expect("defined here");
//!     Ok(metric.cautious(certificate.worst(eps(budget)?)))
//! };
//! assert_eq!(worst("stability", 0.8)?, (5.0f64 / 6.0).next_down()); // of six, rounded down
//! assert_eq!(worst("recall:1", 0.8)?, 0.0);
//! assert_eq!(worst("fnr:1", 0.8)?, 1.0);
//! assert_eq!(worst("fpr:1", 0.8)?, (1.0f64 / 3.0).next_up()); // rounded up
//! assert_eq!(worst("iou:1", 0.5)?, 0.5);
//! assert_eq!(worst("dice:1", 0.8)?, 0.0);
//! // with no pixel left that is predicted 1 the precision is 1 by convention: gaining one is worse
//! assert_eq!(worst("precision:1", 0.8)?, 0.5);
//! // the two pixels of class 1 touch at a corner only: two objects, one of them missed already
//! assert_eq!(worst("objects:1", 0.7)?, 0.5);
//! let objects = margins.objects("objects:1".parse()?)?;
//! assert_eq!((objects.len(), objects[1].budget), (2, 0.0));
//!
//! // Means share one budget over all classes: at 1/2 of eps^2 one pixel falls, not one per class.
//! assert!(worst("mean-class-accuracy", 0.8)? >= 0.49);
//! assert!(worst("miou", 0.8)? >= 0.25);
//!
//! // A function of your own of i pixels lost and j gained, here Tversky's index at (0.3, 0.7).
//! let iou = Metric::Iou(1).certify(&margins)?.expect("class 1 is labelled");
//! let tversky = |lost: usize, gained: usize| {
//!     let kept = 2.0 - lost as f64;
//!     Some(kept / (kept + 0.3 * lost as f64 + 0.7 * gained as f64))
//! };
//! assert_eq!(iou.worst_of(eps(0.8)?, tversky), Some(0.0));
//!
//! // The whole curve, and the pixels the worst attack takes.
//! let curve = accuracy.curve(16);
//! assert!(curve.windows(2).all(|pair| pair[0].1.lower() >= pair[1].1.lower()));
//! let budgets = accuracy.flip_budgets()?.expect("one list is nested");
//! assert_eq!(budgets[4], 0.0); // wrong already
//! assert_eq!(budgets[5], f32::INFINITY); // void
//!
//! // linf budgets with an l2 constant: converted, over all numbers of the attacked picture.
//! let linf = premises.in_norm(Norm::LINF, 3 * 2 * 3)?;
//! let converted = certiseg_cert::margins(&image, &linf)?;
//! let certificate = Metric::Accuracy.certify(&converted)?.expect("defined");
//! let radius = certificate.budget(&goal)?.expect("in reach");
//! assert!((radius * 18f64.sqrt() - least).abs() < 1e-9);
//!
//! // A head that is known: L of the features, class pairs by the distance of their rows.
//! let head = ClassHead::new(2, vec![1.0, 0.0, 0.0, 1.0])?;
//! let by_pairs = margins_with_head(&image, &premises, &head)?;
//! assert!((by_pairs.radii()[1] - margins.radii()[1]).abs() < 1e-9); // orthonormal: the same
//!
//! // A data set of this image twice, each attacked within eps.
//! let mut pool = Pool::new(Metric::Iou(1), 2, &[eps(0.5)?], false)?;
//! pool.add(&margins)?;
//! pool.add(&margins)?;
//! assert_eq!(pool.worst()[0].expect("defined").to_string(), "2/4");
//! # Ok::<(), Error>(())
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod certificate;
mod cheapest;
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
mod hermitian;
mod image;
mod joint;
mod layer;
mod lipschitz;
mod map;
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
pub mod smoothing;
mod steps;
mod summary;
#[doc(hidden)]
pub mod testing;
mod top_two;
mod value;

pub use certificate::Certificate;
pub use component::Connectivity;
pub use conv_bound::{Bound, Conv, Method, conv_bound, conv_bound_to};
pub use conventions::{Conventions, EmptyPrecision, Forced, MiouClasses, Objects};
pub use dataset_row::{CurveRow, DatasetRow};
pub use error::{Error, Result};
pub use goal::{Decimal, Goal, Relation};
pub use head::ClassHead;
pub use image::{Grid, Image};
pub use layer::{Layer, Spread, Wrap};
pub use lipschitz::{Audit, LayerBound, audit, audit_with};
pub use margin::{Margins, margins, margins_with_head, predictions};
pub use metric::Metric;
pub use norm::{Budget, Norm};
pub use object::Object;
pub use pool::{Pool, PoolRow};
pub use premises::{Claim, Premises};
pub use row::{FORMAT, Head, Question, Row};
pub use share::{Share, Value, round_down, round_up};
pub use summary::{Entry, Quantile, Side, Summary, mean_lower, mean_upper};
pub use value::{mean_between, mean_of};
