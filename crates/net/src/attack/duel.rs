//! An attack under way: the network, the picture, the aim, and what it has cost so far.

use std::cell::Cell;

use super::criterion::{Aim, Criterion, View};
use super::gate::{Ball, difference};
use super::model::{Model, Sparse};
use super::scene::Scene;
use super::{Attacked, Passes};
use crate::error::{Error, Result};

/// A network against an attack, on one picture.
pub struct Duel<'a> {
    /// The network.
    pub model: &'a dyn Model,
    /// The clean picture.
    pub scene: Scene<'a>,
    /// What is to become worse.
    pub aim: Aim,
    /// The clean picture as the network sees it.
    pub clean: View,
    passes: Cell<Passes>,
}

impl<'a> Duel<'a> {
    /// Looks at the clean picture (one forward pass).
    ///
    /// # Errors
    /// [`crate::Error::AllVoid`] where nothing counts; those of the criterion and of the network.
    pub fn new(model: &'a dyn Model, scene: Scene<'a>, criterion: &Criterion) -> Result<Self> {
        let logits = model.logits(scene.image)?;
        let aim = criterion.aim(&scene, model.classes(), &logits)?;
        let passes = Passes {
            forward: 1,
            backward: 0,
        };
        Ok(Self {
            model,
            scene,
            clean: aim.view(logits),
            aim,
            passes: Cell::new(passes),
        })
    }

    /// Passes so far, that of the clean picture included.
    pub fn passes(&self) -> Passes {
        self.passes.get()
    }

    fn count(&self, forward: usize, backward: usize) {
        let passes = self.passes.get();
        self.passes.set(Passes {
            forward: passes.forward + forward,
            backward: passes.backward + backward,
        });
    }

    /// What the network makes of a picture (3, H, W).
    ///
    /// # Errors
    /// [`Error::Setting`] for pictures and logits that are not finite; those of the network.
    pub fn look(&self, image: &[f32]) -> Result<View> {
        finite("a number of an attacked picture", image.iter().copied())?;
        self.count(1, 0);
        let logits = self.model.logits(image)?;
        finite("a logit", logits.iter().copied())?;
        Ok(self.aim.view(logits))
    }

    /// What the network makes of a picture, and the gradient (3, H, W) of a loss in it, whose gradient
    /// in the logits (K, H, W) `loss` gives; 0 outside the region that may change.
    ///
    /// # Errors
    /// As [`Duel::look`], and for a gradient that is not finite.
    pub fn pull(
        &self,
        image: &[f32],
        mut loss: impl FnMut(&View) -> Vec<f64>,
    ) -> Result<(View, Vec<f64>)> {
        finite("a number of an attacked picture", image.iter().copied())?;
        self.count(1, 1);
        let mut seen = None;
        let (logits, mut gradient) = self.model.pull(image, &mut |logits| {
            let view = self.aim.view(logits.to_vec());
            let weights = loss(&view);
            seen = Some(view);
            weights
        })?;
        self.scene.mask(&mut gradient);
        finite("a logit", logits)?;
        finite("a number of a gradient", gradient.iter().copied())?;
        match seen {
            Some(view) => Ok((view, gradient)),
            // a model that does not ask for weights has no gradient to give
            None => Ok((self.look(image)?, gradient)),
        }
    }

    /// Gradients (3, H, W) of weighted sums of logits, one backward pass each; 0 outside the region.
    ///
    /// # Errors
    /// As [`Duel::pull`].
    pub fn rows(&self, image: &[f32], sums: &[Sparse]) -> Result<Vec<Vec<f32>>> {
        self.count(sums.len(), sums.len());
        let mut rows = self.model.rows(image, sums)?;
        rows.iter_mut().for_each(|row| self.scene.mask(row));
        finite("a number of a gradient", rows.iter().flatten().copied())?;
        Ok(rows)
    }
}

/// An attack led by what is no number would stay where it is, and a picture that was not attacked would
/// pass for one that stood.
fn finite(what: &str, numbers: impl IntoIterator<Item = impl Into<f64>>) -> Result<()> {
    let mut numbers = numbers.into_iter().map(Into::<f64>::into);
    match numbers.find(|x| !x.is_finite()) {
        Some(bad) => Err(Error::setting(what, bad.to_string(), "a finite one")),
        None => Ok(()),
    }
}

/// The best picture of an attack within a budget: the most won, the earliest of equals.
pub struct Best {
    image: Vec<f32>,
    view: View,
    step: usize,
    start: Passes,
}

impl Best {
    /// The clean picture.
    pub fn new(duel: &Duel) -> Self {
        Self {
            image: duel.scene.image.to_vec(),
            view: duel.clean.clone(),
            step: 0,
            start: duel.passes(),
        }
    }

    /// Keeps a picture that won more; says whether it did.
    pub fn offer(&mut self, image: &[f32], view: &View, step: usize) -> bool {
        let more = view.score > self.view.score;
        if more {
            self.image.copy_from_slice(image);
            self.view = view.clone();
            self.step = step;
        }
        more
    }

    /// The best change δ of the clean picture.
    pub fn delta(&self, duel: &Duel) -> Vec<f64> {
        difference(&self.image, duel.scene.image)
    }

    /// The result: success is anything won over the clean picture.
    pub fn attacked(self, duel: &Duel, ball: &Ball) -> Attacked {
        let passes = duel.passes();
        Attacked {
            distance: ball.distance(&self.image, duel.scene.image),
            image: self.image,
            adversarial: self.view.count,
            score: self.view.score,
            success: self.view.score > duel.clean.score,
            step: self.step,
            passes: Passes {
                forward: passes.forward - self.start.forward,
                backward: passes.backward - self.start.backward,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits are the picture; slopes are all this number.
    struct Sick(f64);

    impl Model for Sick {
        fn classes(&self) -> usize {
            3
        }

        fn logits(&self, image: &[f32]) -> Result<Vec<f32>> {
            Ok(image.to_vec())
        }

        fn pull(
            &self,
            image: &[f32],
            weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
        ) -> Result<(Vec<f32>, Vec<f64>)> {
            weights(image);
            Ok((image.to_vec(), vec![self.0; image.len()]))
        }
    }

    #[test]
    fn a_gradient_or_a_picture_that_is_no_number_is_an_error() {
        let (image, labels, region) = ([0.5; 12], [0; 4], [true; 4]);
        let scene = Scene::new(&image, &labels, [2, 2]).unwrap();
        let scene = scene.within(&region).unwrap();
        let accuracy = Criterion::Metric(certiseg_cert::Metric::Accuracy);
        for (slope, fine) in [(1.0, true), (f64::NAN, false), (f64::INFINITY, false)] {
            let sick = Sick(slope);
            let duel = Duel::new(&sick, scene, &accuracy).unwrap();
            let pulled = duel.pull(&image, |view| vec![1.0; view.logits.len()]);
            assert_eq!(pulled.is_ok(), fine, "{slope}");
            let rows = duel.rows(&image, &[vec![(0, 1.0)]]);
            assert_eq!(rows.is_ok(), fine, "{slope}");
        }
        let sick = Sick(1.0);
        let duel = Duel::new(&sick, scene, &accuracy).unwrap();
        let none = duel.look(&[f32::NAN; 12]);
        assert!(matches!(none, Err(Error::Setting { .. })));
    }
}
