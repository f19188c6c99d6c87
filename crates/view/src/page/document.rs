//! The one JSON document behind a page. Numbers that people read are texts, cut in Rust on their safe side; the
//! script chooses among them and rounds nothing. The few plain numbers are places in drawings.

use serde::Serialize;

use super::latency::Latency;
use super::pack::Packed;
use super::provenance::{Assumption, Source};
use super::smoothed::{Beside, Smoothing};
use super::verdict::Verdict;

/// A page.
#[derive(Debug, Serialize)]
pub struct Document {
    /// What it is about.
    pub title: String,
    /// What comes first.
    pub verdict: Verdict,
    /// What does not fit together.
    pub warnings: Vec<String>,
    /// Norm and tensor of the budgets.
    pub unit: String,
    /// Of the slider, rising.
    pub positions: Vec<Position>,
    /// The position shown first.
    pub start: usize,
    /// Thresholds of the goal slider, as texts, rising.
    pub thresholds: Vec<String>,
    /// In the order of the rows.
    pub metrics: Vec<MetricPart>,
    /// In the order of the rows.
    pub images: Vec<ImagePart>,
    /// Pictures that found no room.
    pub left_out: usize,
    /// In the order of the classes; empty where rows tell nothing of them.
    pub classes: Vec<ClassPart>,
    /// Metrics of objects.
    pub objects: Vec<ObjectsPart>,
    /// Runs of randomized smoothing.
    pub smoothing: Vec<Smoothing>,
    /// Methods side by side.
    pub methods: Vec<Beside>,
    /// Wall times; none where they were not asked for.
    pub latency: Option<Latency>,
    /// The bound of each layer.
    pub audit: Option<AuditPart>,
    /// Timings of `bench`.
    pub benches: Vec<[String; 4]>,
    /// What was run, with which settings.
    pub sources: Vec<Source>,
    /// What the numbers rest on.
    pub assumptions: Vec<Assumption>,
}

/// A stop of the slider.
#[derive(Debug, Serialize)]
pub struct Position {
    /// The budget in its shortest form.
    pub text: String,
    /// Where it lies in drawings.
    pub number: f64,
    /// Whether rows ask about it.
    pub row: bool,
}

/// A metric over all images; lists are by position.
#[derive(Debug, Serialize)]
pub struct MetricPart {
    /// As in the rows.
    pub name: String,
    /// In words.
    pub title: String,
    /// Whether attacks push it down.
    pub higher: bool,
    /// Images on which it means something.
    pub images: usize,
    /// Images on which it does not.
    pub undefined: usize,
    /// Mean of clean values, to the nearest.
    pub clean: String,
    /// The same pooled.
    pub clean_pooled: String,
    /// Certified mean over images.
    pub mean: Vec<String>,
    /// The tenth of the images with the lowest values.
    pub low: Vec<String>,
    /// And with the highest.
    pub high: Vec<String>,
    /// Certified of all images pooled; of rows only.
    pub pooled: Vec<String>,
    /// Mean of what attacks found, with the number of images; of rows only.
    pub attacked: Vec<String>,
    /// Images behind [`Self::attacked`].
    pub attacked_images: Vec<usize>,
    /// Mean of what randomized smoothing certifies as right.
    pub smoothed: Vec<String>,
    /// By threshold: the budget within which the mean stays on the good side.
    pub until: Vec<String>,
    /// Goals of rows.
    pub goals: Vec<GoalPart>,
}

/// A goal of rows over all images.
#[derive(Debug, Serialize)]
pub struct GoalPart {
    /// As it was typed.
    pub goal: String,
    /// Mean of the budgets of images that are within reach.
    pub mean: String,
    /// The smallest.
    pub least: String,
    /// Images within reach.
    pub images: usize,
    /// Images whose goal no budget reaches.
    pub unreachable: usize,
    /// The common budget of all images pooled.
    pub pooled: String,
    /// The least that an attack found, mean over images.
    pub attacked: String,
}

/// An image; lists are by metric.
#[derive(Debug, Serialize)]
pub struct ImagePart {
    /// Its name.
    pub id: String,
    /// Clean values.
    pub clean: Vec<String>,
    /// By position; empty where the metric means nothing here.
    pub values: Vec<Vec<String>>,
    /// Attacked values by position; empty without attacks.
    pub attacked: Vec<Vec<String>>,
    /// Budgets by threshold.
    pub until: Vec<Vec<String>>,
    /// The picture and its maps.
    pub picture: Option<Packed>,
}

/// A class.
#[derive(Debug, Serialize)]
pub struct ClassPart {
    /// Its index and name.
    pub name: String,
    /// Its index.
    pub class: u8,
    /// `present`, `absent`, or `unknown` where no row tells.
    pub state: &'static str,
    /// Clean IoU of all images pooled, and the mean over images that have it.
    pub iou: [String; 2],
    /// Clean recall of all images pooled.
    pub recall: String,
    /// Clean precision of all images pooled.
    pub precision: String,
    /// Certified metrics of the class, as indices of [`Document::metrics`].
    pub metrics: Vec<usize>,
}

/// A metric of objects.
#[derive(Debug, Serialize)]
pub struct ObjectsPart {
    /// As in the rows.
    pub name: String,
    /// Goals of rows.
    pub goals: Vec<String>,
    /// Images that have some.
    pub images: Vec<ObjectImage>,
}

/// The objects of an image.
#[derive(Debug, Serialize)]
pub struct ObjectImage {
    /// Its name.
    pub id: String,
    /// How many.
    pub counted: u64,
    /// Budgets within which one more cannot vanish, rising.
    pub falls: Vec<String>,
    /// Budget per goal.
    pub budgets: Vec<String>,
}

/// The bound of a network.
#[derive(Debug, Serialize)]
pub struct AuditPart {
    /// The product, rounded up.
    pub lipschitz: String,
    /// Height, width.
    pub size: [usize; 2],
    /// Name, bound rounded up, how, milliseconds.
    pub layers: Vec<[String; 4]>,
}
