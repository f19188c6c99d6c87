//! Rows of plain figures.

use serde::Deserialize;

/// Figures of an image, or of several.
#[derive(Clone, Debug, Deserialize)]
pub struct Figures {
    /// Pixels that count.
    pub pixels: u64,
    /// Share of pixels predicted as labelled.
    pub accuracy: Option<f64>,
    /// Mean recall of the classes in the label.
    pub mean_class_accuracy: Option<f64>,
    /// Mean IoU.
    pub miou: Option<f64>,
    /// By class; none where it is absent.
    pub iou: Vec<Option<f64>>,
    /// By class.
    pub dice: Vec<Option<f64>>,
    /// By class.
    pub precision: Vec<Option<f64>>,
    /// By class.
    pub recall: Vec<Option<f64>>,
}

/// One image.
#[derive(Clone, Debug, Deserialize)]
pub struct Evaluated {
    /// Its name.
    pub image: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// All images.
#[derive(Clone, Debug, Deserialize)]
pub struct Evaluation {
    /// Images.
    pub images: usize,
    /// Of the counts of all images together.
    pub pooled: Figures,
    /// Means over the images on which a figure is defined.
    pub mean: Figures,
}
