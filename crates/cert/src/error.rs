//! Everything that can be refused. A message says what was got, what was expected, the way out.

use crate::Metric;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What was refused, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A grid that no certificate fits.
    #[error(
        "grid of {classes} classes, {height}x{width} pixels; expected 2 to 256 classes, sides of at least 1, and a product that fits in memory"
    )]
    Grid {
        /// Number of classes.
        classes: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Not the p of an lp norm.
    #[error("norm `{got}`; expected a number from 1 to inf, such as 1, 1.5, 2, l2 or inf")]
    Norm {
        /// What was given.
        got: String,
    },
    /// Not a budget.
    #[error("budget {got}; expected a number of at least 0 (inf is allowed)")]
    Budget {
        /// What was given.
        got: f64,
    },
    /// Not a Lipschitz constant a radius can be divided by.
    #[error("lipschitz constant {got}; expected a finite number above 0")]
    Lipschitz {
        /// What was given.
        got: f64,
    },
    /// Not an error bound of logits.
    #[error("logit error eta {got}; expected a finite number of at least 0")]
    Eta {
        /// What was given.
        got: f64,
    },
    /// A buffer that does not fit its grid.
    #[error("{what} hold {got} values; expected {expected}: give the grid they were computed on")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Values given.
        got: usize,
        /// Values expected.
        expected: usize,
    },
    /// A logit that is no number.
    #[error("logit of class {class} at pixel {pixel} is {value}; expected a finite number")]
    LogitNotFinite {
        /// Pixel, row by row from 0.
        pixel: usize,
        /// Class.
        class: usize,
        /// What was found.
        value: f32,
    },
    /// A label that is neither a class nor void.
    #[error(
        "label {label} at pixel {pixel}; expected a class below {classes} or the ignored label"
    )]
    LabelOutOfRange {
        /// Pixel, row by row from 0.
        pixel: usize,
        /// What was found.
        label: u8,
        /// Number of classes.
        classes: usize,
    },
    /// A metric of a class the network does not have.
    #[error("class {class} of a metric; expected a class below {classes}")]
    ClassOutOfRange {
        /// The class.
        class: u8,
        /// Number of classes.
        classes: usize,
    },
    /// A metric that needs labels, and none were given.
    #[error(
        "{metric} needs labels, the image has none; give labels, or ask for stability or stable-objects"
    )]
    LabelsMissing {
        /// The metric.
        metric: Metric,
    },
    /// Not a metric.
    #[error("metric `{got}`; expected one of {}, K a class", Metric::NAMES.join(", "))]
    Metric {
        /// What was given.
        got: String,
    },
    /// Not a goal.
    #[error("goal `{got}`: {reason}")]
    Goal {
        /// What was given.
        got: String,
        /// What was expected.
        reason: &'static str,
    },
    /// A goal asked of the certificate of another metric.
    #[error("goal `{goal}` was asked of a certificate of {metric}; certify {expected}")]
    GoalOfOtherMetric {
        /// The goal.
        goal: String,
        /// Metric of the certificate.
        metric: Metric,
        /// Metric of the goal.
        expected: Metric,
    },
    /// A head of another number of classes than the logits.
    #[error("the head has {got} rows; expected {expected}, one for each class of the logits")]
    HeadClasses {
        /// Rows of the head.
        got: usize,
        /// Classes of the logits.
        expected: usize,
    },
    /// Images of a data set that cannot be summed.
    #[error(
        "an image in another norm or under other conventions than the first; expected the same for all: pool them apart"
    )]
    MixedPool,
    /// A row that does not belong to its pool.
    #[error("pool row of image {image} {reason}; expected a row written under the same settings")]
    PoolRow {
        /// Name of the image.
        image: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Counts that f64 does not hold exactly.
    #[error("pooled counts reach 2^53; expected fewer pixels: pool a part of the data set")]
    TooManyPixels,
    /// Not a quantile.
    #[error("quantile {got}; expected a number from 0 to 1")]
    Quantile {
        /// What was given.
        got: f64,
    },
    /// A layer was refused.
    #[error("layer {name}: {reason}")]
    Layer {
        /// Name of the layer.
        name: String,
        /// Why.
        reason: Box<Error>,
    },
    /// A weight, standard deviation or scale without a meaning.
    #[error("{what} {index} is {value}; expected {expected}")]
    Number {
        /// What kind of number.
        what: &'static str,
        /// Position in its buffer.
        index: usize,
        /// What was found.
        value: f32,
        /// What was expected.
        expected: &'static str,
    },
    /// A count or size without a meaning.
    #[error("{what} is {got}; expected {expected}")]
    Shape {
        /// What does not fit.
        what: &'static str,
        /// What was given.
        got: usize,
        /// What was expected.
        expected: String,
    },
    /// A probability, level or scale without a meaning.
    #[error("{what} is {got}; expected {expected}")]
    Parameter {
        /// Which one.
        what: &'static str,
        /// What was given.
        got: f64,
        /// What was expected.
        expected: &'static str,
    },
    /// Something of another picture than the rest.
    #[error("{what} of {got} components; expected {expected}: give those of the same picture")]
    Components {
        /// What does not fit.
        what: &'static str,
        /// Components given.
        got: usize,
        /// Components of the rest.
        expected: usize,
    },
    /// Not a correction for many tests.
    #[error(
        "correction `{got}`; expected none, bonferroni, holm, kfwer:K with K from 1, or count:B with B wrong components allowed"
    )]
    Correction {
        /// What was given.
        got: String,
    },
    /// A histogram of other samples.
    #[error("the histogram has {got} entries; expected {expected}, one for each count from 0 to n")]
    Histogram {
        /// Entries given.
        got: usize,
        /// Samples, and one more.
        expected: usize,
    },
    /// Classes were to be chosen from nothing.
    #[error("no sample to choose classes from; expected at least 1: set n0 to 1 or more")]
    NoSamples,
    /// A sample whose label is no class.
    #[error(
        "label {label} of component {component} in a sample; expected a class, 0 to 253 (254 and 255 stand for abstained and ignored)"
    )]
    NoClass {
        /// Component, from 0.
        component: usize,
        /// What was found.
        label: u8,
    },
    /// More votes than samples.
    #[error(
        "component {component} has {count} votes of {samples} samples; expected at most as many: count the samples that test, without those that choose"
    )]
    Count {
        /// Component, from 0.
        component: usize,
        /// Its votes.
        count: u32,
        /// n.
        samples: usize,
    },
    /// Votes that cannot be summed.
    #[error(
        "votes for other classes; expected the same class for each component: choose them once, and share them"
    )]
    MixedVotes,
    /// A look at the votes that alpha was not spent on.
    #[error("look refused; expected {reason}")]
    Look {
        /// What was expected.
        reason: &'static str,
    },
    /// Not a hierarchy of classes.
    #[error("hierarchy of classes; expected {reason}")]
    Hierarchy {
        /// What was expected.
        reason: &'static str,
    },
    /// Something that has no sound answer here.
    #[error("{what} is not supported; {way_out}")]
    Unsupported {
        /// What was asked.
        what: &'static str,
        /// What to do instead.
        way_out: &'static str,
    },
}

impl Error {
    pub(crate) fn in_layer(self, name: &str) -> Self {
        Error::Layer {
            name: name.into(),
            reason: Box::new(self),
        }
    }

    pub(crate) fn norm(got: impl ToString) -> Self {
        Error::Norm {
            got: got.to_string(),
        }
    }
}
