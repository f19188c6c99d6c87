//! Settings of a training: one struct, read from TOML, checked by [`Train::resolve`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::data::{Augment, Filter, Layout};
use crate::error::{Error, Result};
use crate::evaluate::Measure;
use crate::loss::{Consistency, Loss};
use crate::node::{check_nodes, check_size};
use crate::optimizer::AdamW;

/// Which pictures to train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingData {
    /// Folder of the data set.
    pub dir: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
    /// Split to train on; `None`: all images.
    pub train: Option<String>,
    /// Split to validate on after each epoch; `None`: no validation.
    pub validation: Option<String>,
    /// How pictures are resized.
    pub filter: Filter,
}

impl Default for TrainingData {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            layout: Layout::Folder,
            train: None,
            validation: None,
            filter: Filter::Bilinear,
        }
    }
}

/// How a training is watched: what is measured on the validation set, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// Epochs from one validation to the next; the last epoch always has one.
    pub every: u64,
    /// What is measured beside accuracy and IoU, certified figures as `fnr:1@0.1`.
    pub measures: Vec<Measure>,
    /// By which the best network is known and kept.
    pub best: Measure,
    /// Epochs without a better network after which the training ends; 0: it never ends early.
    pub patience: u64,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            every: 1,
            measures: Vec::new(),
            best: Measure::CRPA,
            patience: 0,
        }
    }
}

impl Validation {
    /// All measures, that of the best network first, none twice.
    pub fn all(&self) -> Vec<Measure> {
        let mut all = vec![self.best];
        for &measure in &self.measures {
            if !all.contains(&measure) {
                all.push(measure);
            }
        }
        all
    }
}

/// A loss that is added to the main one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixed {
    /// Its factor, above 0.
    pub weight: f64,
    /// The loss.
    pub loss: Loss,
}

/// Settings of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Seeds start values, order and augmentation.
    pub seed: u64,
    /// Passes over the training set.
    pub epochs: u64,
    /// Pictures that pass through the network together; the last batch of an epoch may be smaller.
    pub batch: usize,
    /// Batches per step: their gradients are summed, weighted by their counted pixels.
    pub accumulate: usize,
    /// Height of training pictures, a multiple of the network's total stride.
    pub height: usize,
    /// Width, likewise.
    pub width: usize,
    /// Highest learning rate, that of the first step after the warm-up.
    pub rate: f64,
    /// Learning rate of the last step; between the two lies half a cosine.
    pub last_rate: f64,
    /// Steps in which the learning rate rises in a line, before the cosine.
    pub warm_up: u64,
    /// Largest l2 norm of the gradient in all raw parameters; longer ones are shortened. 0: any.
    pub clip: f64,
    /// Share of the old value, per step, in the running average of all parameters that is validated
    /// and stored in place of the last ones, in [0, 1); 0: no average. The first steps keep less,
    /// (1 + steps)/(10 + steps).
    pub average: f64,
    /// Optimiser.
    pub adamw: AdamW,
    /// What is minimised.
    pub loss: Loss,
    /// Weight per class in the loss; empty: all 1.
    pub class_weights: Vec<f32>,
    /// Losses added to it.
    pub mix: Vec<Mixed>,
    /// Noisy copies of each picture and what makes them agree; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
    /// Share of the old value in the running mean of centering, per step.
    pub mean_decay: f32,
    /// The pictures.
    pub data: TrainingData,
    /// What is measured while training.
    pub validation: Validation,
    /// Random changes of the training pictures.
    pub augment: Augment,
    /// The network.
    pub network: Architecture,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            seed: 0,
            epochs: 100,
            batch: 8,
            accumulate: 1,
            height: 128,
            width: 128,
            rate: 1e-3,
            last_rate: 1e-6,
            warm_up: 0,
            clip: 0.0,
            average: 0.0,
            adamw: AdamW::default(),
            loss: Loss::default(),
            class_weights: Vec::new(),
            mix: Vec::new(),
            consistency: None,
            mean_decay: 0.9,
            data: TrainingData::default(),
            validation: Validation::default(),
            augment: Augment::default(),
            network: Architecture::default(),
        }
    }
}

impl Train {
    /// Fills what follows from other fields and checks every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field, what it is and what it may be.
    pub fn resolve(mut self) -> Result<Self> {
        self.network = self.network.resolve(self.height.min(self.width))?;
        if self.class_weights.is_empty() {
            self.class_weights = vec![1.0; self.network.classes];
        }
        positive("rate", self.rate)?;
        positive("last_rate", self.last_rate)?;
        positive("adamw.epsilon", self.adamw.epsilon)?;
        for (name, value) in [
            ("adamw.betas", self.adamw.betas[0]),
            ("adamw.betas", self.adamw.betas[1]),
            ("adamw.weight_decay", self.adamw.weight_decay),
            ("mean_decay", f64::from(self.mean_decay)),
            ("average", self.average),
        ] {
            let holds = (0.0..1.0).contains(&value);
            require(holds, name, value, "at least 0 and less than 1")?;
        }
        let holds = (0.0..f64::INFINITY).contains(&self.clip);
        require(holds, "clip", self.clip, "a finite number of at least 0")?;
        self.loss.check()?;
        for mixed in &self.mix {
            positive("mix.weight", mixed.weight)?;
            mixed.loss.check()?;
        }
        for (name, value, most) in [
            ("epochs", self.epochs, 1_000_000),
            ("batch", self.batch as u64, 1 << 20),
            ("accumulate", self.accumulate as u64, 1 << 20),
            ("validation.every", self.validation.every, 1_000_000),
        ] {
            let holds = (1..=most).contains(&value);
            require(holds, name, value, &format!("1 to {most}"))?;
        }
        self.check_classes()?;
        self.augment.check()?;
        if let Some(consistency) = &self.consistency {
            consistency.check()?;
            let noise = self.augment.noise;
            let expected = "0 with consistency: its copies have noise of their own";
            require(noise == 0.0, "augment.noise", noise, expected)?;
        }
        let (padding, side) = (self.augment.crop_padding, self.height.min(self.width));
        let expected = format!("at most half of the shorter side, {}", side / 2);
        require(
            padding <= side / 2,
            "augment.crop_padding",
            padding,
            &expected,
        )?;
        check_nodes(&self.network.nodes())?;
        check_size(&self.network.nodes(), self.height, self.width)?;
        Ok(self)
    }

    /// What depends on the number of classes.
    fn check_classes(&self) -> Result<()> {
        let classes = self.network.classes;
        self.validation.best.check("validation.best", classes)?;
        for measure in &self.validation.measures {
            measure.check("validation.measures", classes)?;
        }
        let weights = format!("{:?}", self.class_weights);
        let usable = |w: &f32| (0.0..f32::INFINITY).contains(w);
        let all = self.class_weights.len() == classes && self.class_weights.iter().all(usable);
        let expected = format!("{classes} numbers of at least 0, one per class");
        require(all, "class_weights", &weights, &expected)?;
        let any = self.class_weights.iter().any(|&weight| weight > 0.0);
        require(any, "class_weights", &weights, "at least one above 0")
    }

    /// Pictures that one step learns from.
    pub fn per_step(&self) -> usize {
        self.batch.saturating_mul(self.accumulate)
    }

    /// Steps of an epoch over so many pictures.
    pub fn steps(&self, pictures: usize) -> u64 {
        pictures.div_ceil(self.per_step()) as u64
    }

    /// Learning rate of a step, counted from 0, of `total`.
    pub fn rate_at(&self, step: u64, total: u64) -> f64 {
        if step < self.warm_up {
            return self.rate * (step + 1) as f64 / (self.warm_up + 1) as f64;
        }
        let (done, all) = (step - self.warm_up, total.saturating_sub(self.warm_up + 1));
        let share = (done as f64 / all.max(1) as f64).min(1.0);
        let height = 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
        self.last_rate + (self.rate - self.last_rate) * height
    }
}

fn positive(name: &str, value: f64) -> Result<()> {
    let holds = value > 0.0 && value < f64::INFINITY;
    require(holds, name, value, "a positive number")
}

fn require(holds: bool, name: &str, got: impl ToString, expected: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::setting(name, got.to_string(), expected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_in_a_line_and_falls_in_half_a_cosine() {
        let settings = Train {
            rate: 1.0,
            last_rate: 0.2,
            ..Train::default()
        };
        assert_eq!(settings.rate_at(0, 11), 1.0);
        // half way, up to the rounding of a cosine
        assert!((settings.rate_at(5, 11) - 0.6).abs() < 1e-15);
        assert_eq!(settings.rate_at(10, 11), 0.2);
        assert_eq!(settings.rate_at(11, 11), 0.2);
        let warm = Train {
            warm_up: 3,
            ..settings
        };
        let rates = [0, 1, 2, 3, 13].map(|step| warm.rate_at(step, 14));
        assert_eq!(rates, [0.25, 0.5, 0.75, 1.0, 0.2]);
        // one step only, which is the first and the last
        assert_eq!(warm.rate_at(3, 4), 1.0);
    }

    #[test]
    fn an_epoch_ends_with_a_smaller_step() {
        let settings = Train {
            batch: 4,
            accumulate: 2,
            ..Train::default()
        };
        assert_eq!([1, 8, 9, 16].map(|n| settings.steps(n)), [1, 1, 2, 2]);
    }

    /// The field that a setting is refused by.
    fn refused(change: impl Fn(&mut Train)) -> String {
        let mut settings = Train::default();
        settings.network.classes = 2;
        change(&mut settings);
        match settings.resolve() {
            Err(Error::Setting { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_field_is_checked() {
        assert!(Train::default().resolve().is_ok());
        assert_eq!(refused(|s| s.epochs = 0), "epochs");
        assert_eq!(refused(|s| s.batch = 0), "batch");
        assert_eq!(refused(|s| s.accumulate = 0), "accumulate");
        assert_eq!(refused(|s| s.rate = 0.0), "rate");
        assert_eq!(refused(|s| s.last_rate = f64::NAN), "last_rate");
        assert_eq!(refused(|s| s.clip = -1.0), "clip");
        assert_eq!(refused(|s| s.clip = f64::INFINITY), "clip");
        assert_eq!(refused(|s| s.average = 1.0), "average");
        assert_eq!(refused(|s| s.validation.every = 0), "validation.every");
        let too_far = refused(|s| s.augment.crop_padding = 65);
        assert_eq!(too_far, "augment.crop_padding");
        let no_class = "iou:2@0.1".parse().unwrap();
        assert_eq!(refused(|s| s.validation.best = no_class), "validation.best");
        assert_eq!(
            refused(|s| s.validation.measures = vec![no_class]),
            "validation.measures"
        );
        let no_weight = Mixed {
            weight: 0.0,
            loss: Loss::default(),
        };
        assert_eq!(refused(|s| s.mix = vec![no_weight.clone()]), "mix.weight");
        let copies = Consistency {
            copies: 1,
            ..Consistency::default()
        };
        let refused_by = refused(|s| s.consistency = Some(copies));
        assert_eq!(refused_by, "consistency.copies");
        let twice = refused(|s| {
            s.consistency = Some(Consistency::default());
            s.augment.noise = 0.25;
        });
        assert_eq!(twice, "augment.noise");
        assert_eq!(refused(|s| s.class_weights = vec![1.0]), "class_weights");
        assert_eq!(refused(|s| s.class_weights = vec![0.0; 2]), "class_weights");
    }
}
