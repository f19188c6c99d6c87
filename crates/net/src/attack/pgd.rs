//! Projected gradient descent in l2: the attack of paper 002 (App. C.1) with the two repairs that
//! make it one: a unit gradient and a real projection (its printed form always rescales onto the
//! sphere, its code leaves the ball).
//!
//! The loss is cross-entropy of τ·f over the counted pixels. On a Lipschitz network margins are
//! small, and τ = 2 / median margin keeps the loss from spending the budget on hopeless pixels.

use burn::tensor::{DType, Device};
use certiseg_cert::{self as cert, Grid};
use serde::{Deserialize, Serialize};

use super::{Attacked, distance, project};
use crate::data::VOID;
use crate::error::{Error, Result};
use crate::loss::{Targets, cross_entropy};
use crate::network::{Network, OnDevice, floats};
use crate::rng::Rng;

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pgd {
    /// Gradient steps; one forward pass more is run.
    pub steps: usize,
    /// Length of a step in units of the budget.
    pub step: f64,
    /// Whether to start at a random point of the ball instead of the clean picture.
    pub random_start: bool,
}

impl Default for Pgd {
    fn default() -> Self {
        Self {
            steps: 20,
            step: 0.25,
            random_start: false,
        }
    }
}

/// A network prepared for gradients in its input.
pub struct Target {
    network: OnDevice,
    device: Device,
    classes: usize,
}

/// The clean picture: what is attacked.
pub struct Scene<'a> {
    /// (3, H, W) in [0, 1].
    pub image: &'a [f32],
    /// (H, W), 255 = void.
    pub labels: &'a [u8],
    /// Height of the picture.
    pub height: usize,
    /// Width of the picture.
    pub width: usize,
}

impl Target {
    /// Puts the network on the CPU with gradients.
    pub fn new(network: &Network) -> Self {
        let device = Device::flex().autodiff();
        Self {
            classes: network.classes(),
            network: network.on_device(&device, DType::F32),
            device,
        }
    }
}

/// Attacks the pixel accuracy of one picture within an l2 budget `eps` and returns the iterate with
/// the most wrong pixels (the clean picture, where none is worse).
///
/// # Errors
/// [`Error::Setting`] for settings or a budget out of range; [`Error::AllVoid`]; those of the
/// forward pass.
pub fn pgd(
    target: &Target,
    scene: &Scene,
    eps: f64,
    settings: &Pgd,
    rng: &mut Rng,
) -> Result<Attacked> {
    // on a thread of the pool, where a layer begins at once
    rayon::scope(|_| ascend(target, scene, eps, settings, rng))
}

fn ascend(
    target: &Target,
    scene: &Scene,
    eps: f64,
    settings: &Pgd,
    rng: &mut Rng,
) -> Result<Attacked> {
    settings.check()?;
    if !(0.0..f64::INFINITY).contains(&eps) {
        return Err(Error::setting(
            "eps",
            eps.to_string(),
            "a finite number of at least 0",
        ));
    }
    let ones = vec![1.0; target.classes];
    let shape = [1, scene.height, scene.width];
    let targets = Targets::new(scene.labels, shape, &ones, &target.device);
    if targets.is_void() {
        return Err(Error::AllVoid);
    }
    let mut image = scene.image.to_vec();
    if settings.random_start {
        start(&mut image, eps, rng);
        project(&mut image, scene.image, eps);
    }
    let mut best = scene.image.to_vec();
    let mut most_wrong = None;
    let mut temperature = None;
    for step in 0..=settings.steps {
        let x = target
            .network
            .picture(&image, scene.height, scene.width)?
            .require_grad();
        let logits = target.network.forward(x.clone());
        let values: Vec<f32> = floats(logits.clone().detach())?
            .iter()
            .map(|&v| v as f32)
            .collect();
        let (wrong, margin) = wrong_pixels(&values, target.classes, scene)?;
        if most_wrong.is_none_or(|most| wrong > most) {
            most_wrong = Some(wrong);
            best.copy_from_slice(&image);
        }
        if step == settings.steps {
            break;
        }
        let temperature = *temperature.get_or_insert(2.0 / margin.max(1e-12));
        let mut gradients = cross_entropy(logits, &targets, temperature).backward();
        let Some(gradient) = x.grad_remove(&mut gradients) else {
            break;
        };
        let gradient = floats(gradient)?;
        let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        if !(length > 0.0 && length.is_finite()) {
            break;
        }
        let factor = settings.step * eps / length;
        for (x, g) in image.iter_mut().zip(&gradient) {
            *x = (f64::from(*x) + factor * g) as f32;
        }
        project(&mut image, scene.image, eps);
    }
    Ok(Attacked {
        distance: distance(&best, scene.image),
        image: best,
    })
}

impl Pgd {
    fn check(&self) -> Result<()> {
        if !(0.0..f64::INFINITY).contains(&self.step) {
            return Err(Error::setting(
                "step",
                self.step.to_string(),
                "a finite number of at least 0",
            ));
        }
        Ok(())
    }
}

/// A Gaussian direction of length uniform in [0, eps].
fn start(image: &mut [f32], eps: f64, rng: &mut Rng) {
    let direction: Vec<f64> = image.iter().map(|_| rng.normal()).collect();
    let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
    let factor = eps * rng.uniform() / length;
    for (x, d) in image.iter_mut().zip(direction) {
        *x = (f64::from(*x) + factor * d) as f32;
    }
}

/// Wrong counted pixels, and the median of max(margin, 0) over counted pixels.
fn wrong_pixels(logits: &[f32], classes: usize, scene: &Scene) -> Result<(u64, f64)> {
    let pixels = scene.height * scene.width;
    let grid = Grid::new(classes, scene.height, scene.width)?;
    let predictions = cert::predictions(grid, logits)?;
    let mut wrong = 0;
    let mut margins = Vec::new();
    for (pixel, (&label, &predicted)) in scene.labels.iter().zip(&predictions).enumerate() {
        if label == VOID {
            continue;
        }
        wrong += u64::from(predicted != label);
        let of = |class: usize| f64::from(logits[class * pixels + pixel]);
        let others = (0..classes).filter(|&class| class != usize::from(label));
        let best = others.map(of).fold(f64::NEG_INFINITY, f64::max);
        margins.push((of(usize::from(label)) - best).max(0.0));
    }
    let middle = margins.len() / 2;
    let (_, median, _) = margins.select_nth_unstable_by(middle, f64::total_cmp);
    Ok((wrong, *median))
}
