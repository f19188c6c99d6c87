//! The table of losses: what a gradient attack increases at every pixel that counts.
//!
//! Notation at a pixel: z logits, c the class of the wish, m its margin, p = softmax(s·z) at c. Losses
//! are written for a wish to leave c; one to join c has the opposite sign (and λ, mask and weight go
//! by whether the wish is fulfilled). s = `scale` / median margin, or 1 where the scale is 0: on a
//! Lipschitz network margins are small and cross-entropy of plain logits is almost linear in them,
//! which spends the budget on hopeless pixels.

use serde::{Deserialize, Serialize};

use super::at_least;
use super::criterion::{Aim, View};
use crate::error::Result;

/// A loss: its form, and the scale of the logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// The form.
    pub form: Form,
    /// Logits are multiplied by this over the median margin of the clean picture; 0: taken as they are.
    pub scale: f64,
}

/// Forms of losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// −ln p.
    CrossEntropy,
    /// −ln p where the wish is not fulfilled (SEA, Croce et al. 2024).
    Masked,
    /// The same, weighted by one over the frequency of the class.
    MaskedBalanced,
    /// −ln p, weighted 1 − λ before and λ after the wish is fulfilled, λ = half of the steps taken
    /// (SegPGD, arXiv 2207.12391).
    Seg,
    /// −ln p times the cosine of the probabilities and the label, held constant (CosPGD, 2302.02213).
    Cosine,
    /// Jensen-Shannon divergence of the probabilities and the label.
    JensenShannon,
    /// −m.
    Difference,
    /// −m over the distance of the first and the third logit; of two classes −m.
    DifferenceRatio,
    /// −max(m, 0).
    Hinge,
    /// σ(−s·m): the number of adversarial pixels, made smooth.
    SmoothCount,
    /// −ln p of plain logits, weighted 1 / (1 + exp(s·m)), held constant: the weights by radius of Qu,
    /// Li and Wang (2304.02693) with the exact radius.
    Radius,
}

impl Form {
    /// All of them.
    pub const ALL: [Form; 11] = [
        Form::CrossEntropy,
        Form::Masked,
        Form::MaskedBalanced,
        Form::Seg,
        Form::Cosine,
        Form::JensenShannon,
        Form::Difference,
        Form::DifferenceRatio,
        Form::Hinge,
        Form::SmoothCount,
        Form::Radius,
    ];
}

/// One pixel, as a loss sees it.
struct Pixel<'a> {
    z: &'a [f64],
    /// The class of the wish and its best rival.
    class: usize,
    rival: usize,
    /// Signed margin, softmax of s·z.
    margin: f64,
    p: &'a [f64],
    join: bool,
    /// Whether the wish is fulfilled.
    done: bool,
    scale: f64,
    /// Weight of the class.
    balance: f64,
    /// Share of the steps taken.
    progress: f64,
}

impl Loss {
    /// A loss of plain logits.
    pub const fn plain(form: Form) -> Self {
        Self { form, scale: 0.0 }
    }

    /// Cross-entropy with logits times 2 / median margin.
    pub const CE_TAU: Loss = Loss {
        form: Form::CrossEntropy,
        scale: 2.0,
    };

    /// The smooth count at a tenth of the median margin.
    pub const SMOOTH_COUNT: Loss = Loss {
        form: Form::SmoothCount,
        scale: 10.0,
    };

    /// Whether its scale is one.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a scale that is no finite number of at least 0.
    pub(super) fn check(&self) -> Result<()> {
        at_least("scale of the loss", self.scale, 0.0)
    }

    /// Sum over the wishes, and its gradient in the logits (K, H, W). `progress` is the share of the
    /// steps taken.
    pub fn of(&self, aim: &Aim, view: &View, progress: f64) -> (f64, Vec<f64>) {
        let classes = aim.classes();
        let mut gradient = vec![0.0; view.logits.len()];
        let (mut z, mut p) = (vec![0.0; classes], vec![0.0; classes]);
        let mut slope = vec![0.0; classes];
        let scale = if self.scale > 0.0 {
            self.scale / aim.median
        } else {
            1.0
        };
        let balance = balance(aim);
        let mut sum = 0.0;
        for (at, wish) in aim.wishes.iter().enumerate() {
            for (class, z) in z.iter_mut().enumerate() {
                *z = f64::from(view.logits[aim.place(class as u8, wish.pixel)]);
            }
            let warm = if self.form == Form::Radius {
                1.0
            } else {
                scale
            };
            softmax(&z, warm, &mut p);
            let pixel = Pixel {
                z: &z,
                class: wish.class.into(),
                rival: view.rivals[at].into(),
                margin: view.margins[at],
                p: &p,
                join: wish.join,
                done: view.adversarial[at],
                scale,
                balance: balance[usize::from(wish.class)],
                progress,
            };
            slope.fill(0.0);
            sum += pixel.loss(self.form, &mut slope);
            for (class, slope) in slope.iter().enumerate() {
                gradient[aim.place(class as u8, wish.pixel)] += slope;
            }
        }
        (sum, gradient)
    }
}

impl Pixel<'_> {
    /// The loss; its gradient in z is added to `slope`.
    fn loss(&self, form: Form, slope: &mut [f64]) -> f64 {
        let cosine = {
            let length = self.p.iter().map(|p| p * p).sum::<f64>().sqrt();
            self.p[self.class] / length
        };
        let weigh = |towards: f64| if self.join { 1.0 - towards } else { towards };
        match form {
            Form::CrossEntropy => self.entropy(1.0, self.scale, slope),
            Form::Masked if self.done => 0.0,
            Form::Masked => self.entropy(1.0, self.scale, slope),
            Form::MaskedBalanced if self.done => 0.0,
            Form::MaskedBalanced => self.entropy(self.balance, self.scale, slope),
            Form::Seg => {
                let lambda = self.progress / 2.0;
                let weight = if self.done { lambda } else { 1.0 - lambda };
                self.entropy(weight, self.scale, slope)
            }
            Form::Cosine => self.entropy(weigh(cosine), self.scale, slope),
            Form::JensenShannon => self.jensen_shannon(slope),
            Form::Difference => self.margins(-self.margin, -1.0, slope),
            Form::DifferenceRatio => self.ratio(slope),
            Form::Hinge if self.margin <= 0.0 => 0.0,
            Form::Hinge => self.margins(-self.margin, -1.0, slope),
            Form::SmoothCount => {
                let share = sigmoid(-self.scale * self.margin);
                self.margins(share, -self.scale * share * (1.0 - share), slope)
            }
            Form::Radius => self.entropy(sigmoid(-self.scale * self.margin), 1.0, slope),
        }
    }

    /// A value that depends on the margin with this slope.
    fn margins(&self, value: f64, by_margin: f64, slope: &mut [f64]) -> f64 {
        let sign = if self.join { -by_margin } else { by_margin };
        slope[self.class] += sign;
        slope[self.rival] -= sign;
        value
    }

    /// A value that depends on p with this slope, at logits times `scale`.
    fn probability(&self, value: f64, by_p: f64, scale: f64, slope: &mut [f64]) -> f64 {
        let p = self.p[self.class];
        for (class, slope) in slope.iter_mut().enumerate() {
            let same = if class == self.class { 1.0 } else { 0.0 };
            *slope += by_p * scale * p * (same - self.p[class]);
        }
        value
    }

    fn sign(&self) -> f64 {
        if self.join { -1.0 } else { 1.0 }
    }

    fn entropy(&self, weight: f64, scale: f64, slope: &mut [f64]) -> f64 {
        let weight = weight * self.sign();
        for (class, slope) in slope.iter_mut().enumerate() {
            let same = if class == self.class { 1.0 } else { 0.0 };
            *slope += weight * scale * (self.p[class] - same);
        }
        // ln p without underflow
        let top = self.z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let others = self.z.iter().map(|z| ((z - top) * scale).exp());
        -weight * ((self.z[self.class] - top) * scale - others.sum::<f64>().ln())
    }

    fn jensen_shannon(&self, slope: &mut [f64]) -> f64 {
        let p = self.p[self.class].max(f64::MIN_POSITIVE);
        let ln2 = std::f64::consts::LN_2;
        let terms = (1.0 - p) * ln2 + p * (2.0 * p / (1.0 + p)).ln() + (2.0 / (1.0 + p)).ln();
        let by_p = 0.5 * (p / (1.0 + p)).ln();
        let sign = self.sign();
        self.probability(sign * 0.5 * terms, sign * by_p, self.scale, slope)
    }

    fn ratio(&self, slope: &mut [f64]) -> f64 {
        let mut order: Vec<usize> = (0..self.z.len()).collect();
        order.sort_by(|&a, &b| f64::total_cmp(&self.z[b], &self.z[a]));
        // with fewer logits the ratio of the two margins is a constant
        let low: &[usize] = match (self.join, &order[..]) {
            (false, [_, _, third, ..]) => &[*third],
            (true, [_, _, third, fourth, ..]) => &[*third, *fourth],
            _ => return self.margins(-self.margin, -1.0, slope),
        };
        let share = 1.0 / low.len() as f64;
        let mean = low.iter().map(|&at| self.z[at]).sum::<f64>() * share;
        let width = self.z[order[0]] - mean + 1e-8;
        let by_width = self.margin / (width * width);
        slope[order[0]] += by_width;
        low.iter().for_each(|&at| slope[at] -= by_width * share);
        self.margins(-self.margin / width, -1.0 / width, slope)
    }
}

/// Per class one over its frequency among the wishes, 1 in the mean over them.
fn balance(aim: &Aim) -> Vec<f64> {
    let mut counts = vec![0usize; aim.classes()];
    for wish in &aim.wishes {
        counts[usize::from(wish.class)] += 1;
    }
    let present = counts.iter().filter(|&&count| count > 0).count();
    let mean = aim.wishes.len() as f64 / present.max(1) as f64;
    counts
        .iter()
        .map(|&count| if count > 0 { mean / count as f64 } else { 0.0 })
        .collect()
}

fn softmax(z: &[f64], scale: f64, p: &mut [f64]) {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for (p, z) in p.iter_mut().zip(z) {
        *p = ((z - top) * scale).exp();
    }
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::super::{Criterion, Scene, Wish};
    use super::*;
    use crate::rng::Rng;

    /// An aim of three pixels with two wishes to leave and one to join, and random logits.
    fn scene(classes: usize, seed: u64) -> (Aim, Vec<f32>) {
        let mut rng = Rng::new(seed);
        let logits: Vec<f32> = (0..3 * classes).map(|_| rng.normal() as f32).collect();
        let image = [0.5; 9];
        let scene = Scene::new(&image, &[0; 3], [1, 3]).unwrap();
        let wish = |(pixel, class, join)| Wish { pixel, class, join };
        let wishes = [(0, 0, false), (1, 1, false), (2, 1, true)].map(wish);
        let mut aim = Criterion::Custom(wishes.to_vec())
            .aim(&scene, classes, &logits)
            .unwrap();
        // a small one makes derivatives large
        aim.median = 1.0;
        (aim, logits)
    }

    /// Largest difference of a gradient to that by differences; weights that are held constant are
    /// frozen by taking the loss as linear in its own value at the point.
    fn error(loss: Loss, classes: usize, seed: u64, planted: f64) -> f64 {
        let (aim, logits) = scene(classes, seed);
        let view = aim.view(logits.clone());
        let (_, gradient) = loss.of(&aim, &view, 0.3);
        let step = 1e-3f32;
        let mut worst: f64 = 0.0;
        for at in 0..logits.len() {
            let moved = |by: f32| {
                let mut logits = logits.clone();
                logits[at] += by;
                let moved = f64::from(logits[at]) - f64::from(view.logits[at]);
                (loss.of(&aim, &aim.view(logits), 0.3).0, moved)
            };
            let ((up, right), (down, left)) = (moved(step), moved(-step));
            let slope = (up - down) / (right - left);
            worst = worst.max((slope - gradient[at] * planted).abs());
        }
        worst
    }

    /// Differences of step 1e-3 are off by its square times a third derivative.
    const TOLERANCE: f64 = 1e-4;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let frozen = [Form::Cosine, Form::Radius];
        for form in Form::ALL.into_iter().filter(|form| !frozen.contains(form)) {
            for (classes, scale) in [(2, 0.0), (3, 0.0), (5, 1.5)] {
                for seed in 0..4 {
                    let worst = error(Loss { form, scale }, classes, seed, 1.0);
                    assert!(worst < TOLERANCE, "{form:?} of {classes}: {worst}");
                    if form == Form::CrossEntropy {
                        assert!(error(Loss { form, scale }, classes, seed, 1.01) > TOLERANCE);
                    }
                }
            }
        }
    }

    #[test]
    fn a_weight_held_constant_is_that_of_the_formula() {
        let (aim, logits) = scene(3, 1);
        let view = aim.view(logits);
        let weights = |form| Loss::plain(form).of(&aim, &view, 0.0).1;
        let (cosine, entropy) = (weights(Form::Cosine), weights(Form::CrossEntropy));
        let z = [0, 1, 2].map(|class| f64::from(view.logits[3 * class]));
        let mut p = [0.0; 3];
        softmax(&z, 1.0, &mut p);
        let expected = p[0] / p.iter().map(|p| p * p).sum::<f64>().sqrt();
        assert!((cosine[0] / entropy[0] - expected).abs() < 1e-12);
        let radius = weights(Form::Radius);
        let expected = 1.0 / (1.0 + view.margins[0].exp());
        assert!((radius[0] / entropy[0] - expected).abs() < 1e-12);
    }

    #[test]
    fn worked_values() {
        // two classes at logits 0 0: p = 1/2
        let image = [0.5; 3];
        let scene = Scene::new(&image, &[0], [1, 1]).unwrap();
        let accuracy = Criterion::Metric(certiseg_cert::Metric::Accuracy);
        let aim = accuracy.aim(&scene, 2, &[0.0, 0.0]).unwrap();
        let view = aim.view(vec![0.0, 0.0]);
        let value = |form| Loss::plain(form).of(&aim, &view, 0.5).0;
        let ln2 = std::f64::consts::LN_2;
        assert!((value(Form::CrossEntropy) - ln2).abs() < 1e-15);
        assert!((value(Form::Seg) - 0.75 * ln2).abs() < 1e-15);
        assert!((value(Form::Cosine) - ln2 / 2f64.sqrt()).abs() < 1e-15);
        // half of (1/2·ln 2 + 1/2·ln(2/3) + ln(4/3))
        let expected = 0.5 * (0.5 * ln2 + 0.5 * (2f64 / 3.0).ln() + (4f64 / 3.0).ln());
        assert!((value(Form::JensenShannon) - expected).abs() < 1e-15);
        assert_eq!(value(Form::SmoothCount), 0.5);
    }
}
