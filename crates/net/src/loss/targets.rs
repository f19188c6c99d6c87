//! Labels of a batch, and distances between classes, as the losses read them.

use burn::tensor::{Bool, DType, Device, FloatDType, Tensor, TensorData};

use crate::error::{Error, Result};
use crate::node::on;

/// Labels of a batch. A pixel counts if its label is a class of positive weight. Every other
/// pixel is void: it reads as class 0 with weight 0 and logits 0, so that each formula stays
/// finite there and adds nothing.
#[derive(Clone)]
pub struct Targets {
    /// (B, K, H, W): whether this is the pixel's class.
    pub(super) label: Tensor<4, Bool>,
    /// (B, K, H, W): the same as 1 and 0.
    pub(super) one_hot: Tensor<4>,
    /// (B, 1, H, W): weight of the pixel's class, 0 on void pixels.
    weights: Tensor<4>,
    /// (B, 1, H, W): whether the pixel is void.
    pub(super) void: Tensor<4, Bool>,
    /// Counted pixels of each class.
    pub(super) per_class: Vec<usize>,
    /// Counted pixels of each image.
    pub(super) per_image: Vec<usize>,
    /// Sum of all weights; 0 where every pixel is void.
    total: f64,
}

impl Targets {
    /// From labels (B, H, W), where a value that is no class is void, and a weight per class.
    pub fn new(
        labels: &[u8],
        [batch, height, width]: [usize; 3],
        per_class: &[f32],
        device: &Device,
    ) -> Self {
        let (classes, pixels) = (per_class.len(), height * width);
        let mut label = vec![false; batch * classes * pixels];
        let mut weights = vec![0.0; batch * pixels];
        let (mut in_class, mut in_image) = (vec![0; classes], vec![0; batch]);
        let mut total = 0.0;
        for (at, &value) in labels.iter().enumerate() {
            let (image, pixel) = (at / pixels, at % pixels);
            let weight = per_class.get(usize::from(value)).filter(|&&w| w > 0.0);
            let class = weight.map_or(0, |_| usize::from(value));
            label[(image * classes + class) * pixels + pixel] = true;
            if let Some(&weight) = weight {
                weights[at] = weight;
                total += f64::from(weight);
                in_class[class] += 1;
                in_image[image] += 1;
            }
        }
        let label = TensorData::new(label, [batch, classes, height, width]);
        let label = Tensor::<4, Bool>::from_data(label, device);
        let weights = TensorData::new(weights, [batch, 1, height, width]);
        let weights = Tensor::<4>::from_data(weights, on(device, DType::F32));
        Self {
            one_hot: label.clone().float().cast(FloatDType::F32),
            label,
            void: weights.clone().equal_elem(0.0),
            weights,
            per_class: in_class,
            per_image: in_image,
            total,
        }
    }

    /// Whether no pixel counts: there is nothing to learn from this batch.
    pub fn is_void(&self) -> bool {
        self.total == 0.0
    }

    /// Sum of the weights of all counted pixels: what the mean of the losses is divided by.
    pub fn weight(&self) -> f64 {
        self.total
    }

    /// Where they lie.
    pub(crate) fn device(&self) -> Device {
        self.weights.device()
    }

    /// The same labels for logits of a precision.
    pub(super) fn cast(&self, dtype: DType) -> Self {
        let mut targets = self.clone();
        if dtype != DType::F32 {
            let dtype = FloatDType::from(dtype);
            targets.one_hot = targets.one_hot.cast(dtype);
            targets.weights = targets.weights.cast(dtype);
        }
        targets
    }

    /// Number of counted pixels.
    pub(super) fn count(&self) -> usize {
        self.per_image.iter().sum()
    }

    /// Logits with zeros on void pixels, whatever was there.
    pub(super) fn counted(&self, logits: Tensor<4>) -> Tensor<4> {
        logits.mask_fill(self.void.clone(), 0.0)
    }

    /// x_y: (B, K, H, W) to (B, 1, H, W).
    pub(super) fn at_label(&self, x: Tensor<4>) -> Tensor<4> {
        (x * self.one_hot.clone()).sum_dim(1)
    }

    /// f_y - f_j for every class j.
    pub(super) fn gaps(&self, logits: &Tensor<4>) -> Tensor<4> {
        self.at_label(logits.clone()) - logits.clone()
    }

    /// Σ w_y·x / Σ w_y over the pixels (B, 1, H, W).
    pub(super) fn mean(&self, x: Tensor<4>) -> Tensor<1> {
        (x * self.weights.clone()).sum().div_scalar(self.total)
    }
}

/// L·‖w_i - w_j‖₂ for every pair of classes, w the rows of the head and L the constant of what
/// comes before it: a difference of logits divided by it is a radius.
/// Plain numbers: no gradient flows into them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    classes: usize,
    /// Row by row; 1 on the diagonal, where it divides by nothing of interest.
    distances: Vec<f64>,
}

impl Pairs {
    /// From K × K distances, row by row; the diagonal is not read.
    ///
    /// # Errors
    /// [`Error::Setting`] unless there are K·K of them, all positive and finite.
    pub fn new(classes: usize, mut distances: Vec<f64>) -> Result<Self> {
        let expected = || format!("{classes}x{classes} positive numbers");
        if distances.len() != classes * classes {
            let got = format!("{} numbers", distances.len());
            return Err(Error::setting("distances", got, expected()));
        }
        distances
            .iter_mut()
            .step_by(classes + 1)
            .for_each(|d| *d = 1.0);
        match distances.iter().find(|&&d| !(d > 0.0 && d.is_finite())) {
            Some(d) => Err(Error::setting("distances", d.to_string(), expected())),
            None => Ok(Self { classes, distances }),
        }
    }

    /// The same distance between any two classes: √2·L for orthonormal rows.
    ///
    /// # Errors
    /// As [`Pairs::new`].
    pub fn even(classes: usize, distance: f64) -> Result<Self> {
        Self::new(classes, vec![distance; classes * classes])
    }

    /// (B, K, H, W): distances from the pixel's class y to each class; 1 at y itself.
    pub(super) fn at_labels(&self, targets: &Targets) -> Tensor<4> {
        let (one_hot, k) = (&targets.one_hot, self.classes);
        let options = on(&one_hot.device(), one_hot.dtype());
        // one term is not 0; a product of matrices, broadcast over the batch, was wrong on a graphics device
        let term = |class: usize| {
            let row = self.distances[class * k..][..k].to_vec();
            let row = Tensor::<4>::from_data(TensorData::new(row, [1, k, 1, 1]), options.clone());
            one_hot.clone().narrow(1, class, 1) * row
        };
        let first = term(0);
        (1..k).fold(first, |sum, class| sum + term(class))
    }
}
