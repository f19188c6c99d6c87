//! Proximal maps of the norms, in the plain metric and, of l∞ in the box, in a diagonal one.

use certiseg_cert::Norm;

use super::super::gate::{into_box, length};
use super::size;

/// argmin over u of ½‖u − v‖2² + weight·‖u‖, of l1, l2, l∞.
pub(super) fn prox(norm: Norm, v: &[f64], weight: f64) -> Vec<f64> {
    match norm {
        Norm::L1 => {
            let shrunk = v.iter().map(|&x| (x.abs() - weight).max(0.0).copysign(x));
            shrunk.collect()
        }
        Norm::LINF => {
            let cut = level(v, weight);
            v.iter().map(|&x| x.clamp(-cut, cut)).collect()
        }
        _ => {
            let length = length(v);
            let keep = if length > 0.0 {
                (1.0 - weight / length).max(0.0)
            } else {
                0.0
            };
            v.iter().map(|&x| x * keep).collect()
        }
    }
}

/// The level to which |v| is cut so that what is cut off sums to `weight`; 0 where all of it is less.
fn level(v: &[f64], weight: f64) -> f64 {
    if weight <= 0.0 {
        return size(Norm::LINF, v);
    }
    let mut sizes: Vec<f64> = v.iter().map(|x| x.abs()).collect();
    sizes.sort_unstable_by(|a, b| f64::total_cmp(b, a));
    let mut sum = -weight;
    let mut level = 0.0;
    for (at, &size) in sizes.iter().enumerate() {
        sum += size;
        let now = sum / (at + 1) as f64;
        if now >= size {
            break;
        }
        level = now;
    }
    level.max(0.0)
}

/// Accuracy of the search for a cut.
const CUT: f64 = 1e-6;

/// argmin over changes u in the box of Σ metric·(u − v)²/2 + weight·‖u‖∞, as ALMA-prox has it: the
/// change is clipped to the box first, then to a cut found by thirds.
pub(super) fn prox_linf_in_box(v: &[f64], metric: &[f64], weight: f64, clean: &[f32]) -> Vec<f64> {
    let mut boxed = v.to_vec();
    into_box(&mut boxed, clean);
    let (mut low, mut high) = (0.0, size(Norm::LINF, &boxed));
    let cost = |cut: f64| {
        let numbers = boxed.iter().zip(v).zip(metric);
        let squares = numbers.map(|((&b, &v), &h)| h * (b.clamp(-cut, cut) - v).powi(2));
        squares.sum::<f64>() + 2.0 * weight * cut
    };
    let rounds = ((CUT / high).ln() / (2.0f64 / 3.0).ln()).ceil();
    // none for nothing: the logarithm of infinity is not below 0
    for _ in 0..if high > 0.0 {
        rounds.max(0.0) as usize
    } else {
        0
    } {
        let third = (high - low) / 3.0;
        let (left, right) = (low + third, high - third);
        match cost(left) >= cost(right) {
            true => low = left,
            false => high = right,
        }
    }
    let cut = (low + high) / 2.0;
    boxed.iter().map(|&b| b.clamp(-cut, cut)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn near(found: &[f64], expected: &[f64]) -> bool {
        found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn worked_examples() {
        assert!(near(&prox(Norm::L2, &[3.0, 4.0], 1.0), &[2.4, 3.2]));
        assert!(near(&prox(Norm::LINF, &[3.0, 1.0], 1.0), &[2.0, 1.0]));
        assert!(near(&prox(Norm::LINF, &[3.0, 2.8], 1.0), &[2.4, 2.4]));
        assert!(near(&prox(Norm::L1, &[3.0, -0.5], 1.0), &[2.0, 0.0]));
        for norm in [Norm::L1, Norm::L2, Norm::LINF] {
            assert!(near(&prox(norm, &[0.0, 0.0], 1.0), &[0.0, 0.0]));
            assert!(near(&prox(norm, &[0.3, -0.2], 9.0), &[0.0, 0.0]));
            assert!(near(&prox(norm, &[0.3, -0.2], 0.0), &[0.3, -0.2]));
        }
    }

    #[test]
    fn nothing_near_is_better() {
        let mut rng = Rng::new(3);
        for norm in [Norm::L1, Norm::L2, Norm::LINF] {
            for _ in 0..50 {
                let v: Vec<f64> = (0..5).map(|_| rng.normal()).collect();
                let weight = rng.uniform();
                let cost = |u: &[f64]| {
                    let squares = u.iter().zip(&v).map(|(u, v)| (u - v).powi(2));
                    0.5 * squares.sum::<f64>() + weight * size(norm, u)
                };
                let found = prox(norm, &v, weight);
                for step in [1e-3, 0.1] {
                    let moved: Vec<f64> = found.iter().map(|u| u + step * rng.normal()).collect();
                    assert!(cost(&found) <= cost(&moved), "{norm}");
                }
            }
        }
    }

    #[test]
    fn the_cut_in_the_box_is_that_of_the_plain_metric_where_the_box_is_far() {
        let v = [0.3, -0.28, 0.1];
        let found = prox_linf_in_box(&v, &[2.0; 3], 0.2, &[0.5; 3]);
        let expected = prox(Norm::LINF, &v, 0.1);
        let far = found
            .iter()
            .zip(&expected)
            .any(|(a, b)| (a - b).abs() > CUT);
        assert!(!far, "{found:?} {expected:?}");
        let nothing = prox_linf_in_box(&[0.0; 3], &[2.0; 3], 0.2, &[0.5; 3]);
        assert_eq!(nothing, [0.0; 3]);
    }
}
