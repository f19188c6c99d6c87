//! Every loss pixel by pixel from its formula in f64, for the tests.

use super::Loss;
use super::scene::Scene;

/// The loss of a batch. What no gradient may flow through is read from `frozen`, the logits of
/// another moment or the same ones.
pub fn naive(loss: &Loss, scene: &Scene, frozen: &[Vec<f64>]) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (at, &label) in scene.labels.iter().enumerate() {
        if let Some(&weight) = scene.weights.get(usize::from(label)).filter(|&&w| w > 0.0) {
            sum += f64::from(weight) * pixel(loss, scene, frozen, at);
            total += f64::from(weight);
        }
    }
    let budget = match *loss {
        Loss::Certificate { share, weight, .. } => weight * budget(scene, share),
        _ => 0.0,
    };
    sum / total - budget
}

/// The loss of one counted pixel.
fn pixel(loss: &Loss, scene: &Scene, frozen: &[Vec<f64>], at: usize) -> f64 {
    let (f, fixed) = (&scene.logits[at], &frozen[at]);
    let (y, k) = (usize::from(scene.labels[at]), f.len());
    let distance = |j: usize| scene.distances[y * k + j];
    let others = || (0..k).filter(move |&j| j != y);
    let each = |of: &dyn Fn(usize) -> f64| (0..k).map(of).collect::<Vec<f64>>();
    let emma = |eps: f64| {
        each(&|j| match j == y {
            true => 0.0,
            false => {
                let reach = eps * distance(j);
                f[j] - f[y] + ((fixed[y] - fixed[j]) / reach).clamp(0.01, 1.0) * reach
            }
        })
    };
    let annealed = |f: &[f64], offset: f64, t: f64, power: f64| {
        let c = entropy(
            &each(&|j| (f[j] - if j == y { offset } else { 0.0 }) / t),
            y,
        );
        t * (1.0 - (-c).exp()).powf(power) * c
    };
    let scaled = |f: &[f64], t: f64| entropy(&each(&|j| t * f[j]), y) / t;
    let lack = |j: usize, eps: f64| relu(eps - (f[y] - f[j]) / distance(j));
    let sign = |j: usize| if j == y { 1.0 } else { -1.0 };
    match *loss {
        Loss::CrossEntropy { temperature } | Loss::Certificate { temperature, .. } => {
            scaled(f, temperature)
        }
        Loss::MarginOffset {
            offset,
            temperature,
        } => annealed(f, offset, temperature, 0.0),
        Loss::LogitAnnealing {
            offset,
            temperature,
            power,
            eps,
        } => match eps > 0.0 {
            true => annealed(&emma(eps), offset, temperature, power),
            false => annealed(f, offset, temperature, power),
        },
        Loss::Emma { eps, temperature } => scaled(&emma(eps), temperature),
        Loss::Gloro { eps, temperature } => {
            let moved = each(&|j| f[j] + if j == y { 0.0 } else { eps * distance(j) });
            scaled(&moved, temperature)
        }
        Loss::Cosine { share, eps } => {
            let norm = f.iter().map(|f| f * f).sum::<f64>().sqrt();
            let total: f64 = others().map(|j| lack(j, eps).exp()).sum();
            let soft: f64 = others()
                .map(|j| lack(j, eps) * lack(j, eps).exp() / total)
                .sum();
            share * soft - (1.0 - share) * f[y] / norm
        }
        Loss::Hinge { margin } => {
            let factor = |j: usize| if j == y { k as f64 - 1.0 } else { 1.0 };
            let of = |j: usize| factor(j) * relu(margin / 2.0 - sign(j) * f[j]);
            (0..k).map(of).sum::<f64>() / k as f64
        }
        Loss::CategoricalHinge { margin } => {
            relu(margin - others().map(|j| f[y] - f[j]).fold(f64::INFINITY, f64::min))
        }
        Loss::Hkr { alpha, margin } => {
            let alpha = if alpha > 1.0 {
                alpha / (1.0 + alpha)
            } else {
                alpha
            };
            let hinge = pixel(&Loss::Hinge { margin }, scene, frozen, at);
            alpha * hinge - (1.0 - alpha) * kantorovich(scene, at)
        }
        Loss::SoftHkr {
            alpha,
            margin,
            temperature,
        } => {
            let counted = (0..scene.labels.len()).filter(|&at| scene.counts(at));
            let values: Vec<f64> = counted.flat_map(|at| frozen[at].clone()).collect();
            let mean = values.iter().map(|v| v.abs()).sum::<f64>() / values.len() as f64;
            let t = (temperature * margin / mean.max(margin)).clamp(0.005, 250.0);
            let total: f64 = others().map(|j| (t * fixed[j]).exp()).sum();
            let of = |j: usize| {
                let factor = if j == y {
                    1.0
                } else {
                    (t * fixed[j]).exp() / total
                };
                let signed = sign(j) * f[j];
                factor * (alpha * relu(margin / 2.0 - signed) - (1.0 - alpha) * signed)
            };
            (0..k).map(of).sum()
        }
        Loss::LseHkr {
            alpha,
            margin,
            penalty,
        } => {
            let t = (k as f64 - 1.0).ln() / (margin * penalty / 2.0);
            let rival = match k {
                2 => f[1 - y],
                _ => others().map(|j| (t * f[j]).exp()).sum::<f64>().ln() / t,
            };
            alpha * (relu(margin / 2.0 - f[y]) + relu(margin / 2.0 + rival))
                - (1.0 - alpha) * (f[y] - rival)
        }
        Loss::Radius {
            eps,
            weight,
            temperature,
        } => scaled(f, temperature) + weight * relu(1.0 - scene.radius(at) / eps),
    }
}

/// KR of one counted pixel.
fn kantorovich(scene: &Scene, at: usize) -> f64 {
    let (f, y) = (&scene.logits[at], scene.labels[at]);
    let counted: Vec<u8> = (0..scene.labels.len())
        .filter(|&at| scene.counts(at))
        .map(|at| scene.labels[at])
        .collect();
    let of = |(k, f): (usize, &f64)| {
        let same = usize::from(y) == k;
        let alike = counted
            .iter()
            .filter(|&&l| (usize::from(l) == k) == same)
            .count();
        let factor = counted.len() as f64 / alike as f64;
        if same { factor * f } else { -factor * f }
    };
    f.iter().enumerate().map(of).sum::<f64>() / f.len() as f64
}

/// Mean over the images of the root of the mean of the n smallest squares of radii.
fn budget(scene: &Scene, share: f64) -> f64 {
    let pixels = scene.labels.len() / scene.images;
    let (mut sum, mut images) = (0.0, 0.0);
    for image in 0..scene.images {
        let at = (image * pixels..(image + 1) * pixels).filter(|&at| scene.counts(at));
        let mut radii: Vec<f64> = at.map(|at| relu(scene.radius(at))).collect();
        radii.sort_unstable_by(f64::total_cmp);
        let n = (share * radii.len() as f64).ceil();
        if n > 0.0 {
            let squares: f64 = radii.iter().take(n as usize).map(|r| r * r).sum();
            sum += (squares / n).sqrt();
            images += 1.0;
        }
    }
    sum / images
}

impl Scene {
    fn counts(&self, at: usize) -> bool {
        let weight = self.weights.get(usize::from(self.labels[at]));
        weight.is_some_and(|&w| w > 0.0)
    }

    fn radius(&self, at: usize) -> f64 {
        let (f, y) = (&self.logits[at], usize::from(self.labels[at]));
        let of = |j: usize| (f[y] - f[j]) / self.distances[y * f.len() + j];
        (0..f.len())
            .filter(|&j| j != y)
            .map(of)
            .fold(f64::INFINITY, f64::min)
    }
}

fn entropy(f: &[f64], y: usize) -> f64 {
    f.iter().map(|&v| (v - f[y]).exp()).sum::<f64>().ln()
}

fn relu(x: f64) -> f64 {
    x.max(0.0)
}
