//! Budget and box: what an attack may return.
//!
//! Attacks hold the change δ in f64. Two steps make a picture of it: [`Ball::project`] (ball, then
//! box: clipping moves every number towards the clean one, so the ball is kept), and [`Ball::show`],
//! which rounds every number of x + δ to f32 on the side of x. So every picture that a network is
//! shown is within the budget exactly, and the best of them is returned as it was judged.

use certiseg_cert::Norm;
use serde::{Deserialize, Serialize};

use super::at_least;
use crate::error::{Error, Result};

/// The changes allowed: l2 or l∞, over all 3HW numbers of the picture, in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ball {
    norm: Norm,
    eps: f64,
}

impl Ball {
    /// The l2 ball.
    ///
    /// # Errors
    /// [`Error::Setting`] for a budget that is no finite number of at least 0.
    pub fn l2(eps: f64) -> Result<Self> {
        Self::new(Norm::L2, eps)
    }

    /// The ball of a norm.
    ///
    /// # Errors
    /// As [`Ball::l2`], and for other norms than l2 and l∞.
    pub fn new(norm: Norm, eps: f64) -> Result<Self> {
        at_least("eps", eps, 0.0)?;
        if norm != Norm::L2 && norm != Norm::LINF {
            return Err(Error::setting("norm", norm.to_string(), "2 or inf"));
        }
        Ok(Self { norm, eps })
    }

    /// The norm.
    pub fn norm(&self) -> Norm {
        self.norm
    }

    /// The budget.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Length of a change.
    pub fn length(&self, delta: &[f64]) -> f64 {
        match self.norm == Norm::LINF {
            true => largest(delta),
            false => length(delta),
        }
    }

    /// Steepest direction: the gradient of unit length, or its signs. All 0 where there is none.
    pub fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        if self.norm == Norm::LINF {
            let sign = |&g: &f64| if g == 0.0 { 0.0 } else { g.signum() };
            return gradient.iter().map(sign).collect();
        }
        let length = length(gradient);
        let scale = if length > 0.0 && length.is_finite() {
            1.0 / length
        } else {
            0.0
        };
        gradient.iter().map(|g| g * scale).collect()
    }

    /// Moves a change to the nearest one within the budget, then into the box around `clean`.
    pub fn project(&self, delta: &mut [f64], clean: &[f32]) {
        let length = self.length(delta);
        if self.norm == Norm::LINF {
            delta
                .iter_mut()
                .for_each(|d| *d = d.clamp(-self.eps, self.eps));
        } else if length > self.eps {
            let factor = self.eps / length;
            delta.iter_mut().for_each(|d| *d *= factor);
        }
        into_box(delta, clean);
    }

    /// The picture x + δ, rounded towards `clean`, in the box and within the budget, exactly. What is
    /// no number stays none: it is never taken for the clean picture, and a duel refuses it.
    pub fn show(&self, delta: &[f64], clean: &[f32]) -> Vec<f32> {
        let mut image: Vec<f32> = delta
            .iter()
            .zip(clean)
            .map(|(&d, &c)| towards(f64::from(c), d).clamp(0.0, 1.0))
            .collect();
        if self.norm == Norm::LINF {
            for (x, (&c, d)) in image.iter_mut().zip(clean.iter().zip(delta)) {
                *x = towards(f64::from(c), d.clamp(-self.eps, self.eps)).clamp(0.0, 1.0);
            }
        } else {
            project(&mut image, clean, self.eps);
        }
        image
    }

    /// Distance of two pictures in f64.
    pub fn distance(&self, a: &[f32], b: &[f32]) -> f64 {
        self.length(&difference(a, b))
    }
}

/// Lengths of a change over all numbers of a picture, in f64.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lengths {
    /// Sum of sizes.
    pub l1: f64,
    /// Root of the sum of squares.
    pub l2: f64,
    /// The largest size.
    pub linf: f64,
}

impl Lengths {
    /// Of the change from one picture to another.
    pub fn between(a: &[f32], b: &[f32]) -> Self {
        let delta = difference(a, b);
        Self {
            l1: delta.iter().map(|d| d.abs()).sum(),
            l2: length(&delta),
            linf: largest(&delta),
        }
    }
}

/// a − b in f64.
pub fn difference(a: &[f32], b: &[f32]) -> Vec<f64> {
    let pairs = a.iter().zip(b);
    pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)).collect()
}

/// l2 length in f64.
pub fn length(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// l∞ length; NaN where any number is, which a maximum would pass over as if it were no change.
pub fn largest(numbers: &[f64]) -> f64 {
    let larger = |most: f64, x: &f64| match x.abs() <= most || most.is_nan() {
        true => most,
        false => x.abs(),
    };
    numbers.iter().fold(0.0, larger)
}

/// l2 distance of two pictures, in f64.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    length(&difference(a, b))
}

/// Clips a change so that `clean` with it is in [0, 1].
pub fn into_box(delta: &mut [f64], clean: &[f32]) {
    for (d, &c) in delta.iter_mut().zip(clean) {
        *d = d.clamp(-f64::from(c), 1.0 - f64::from(c));
    }
}

/// Moves `image` to the nearest point of the l2 ball of radius `eps` around `clean`, then into the
/// box [0, 1]. Every number is rounded to f32 towards `clean`; what rounding leaves outside is
/// shrunk further, at last to `clean` itself.
pub fn project(image: &mut [f32], clean: &[f32], eps: f64) {
    // an f64 sum of n squares is off by at most n·2⁻⁵³ relative: ask for that much less
    let margin = 1.0 + image.len() as f64 * f64::EPSILON;
    let mut shrink = 1e-12;
    loop {
        let length = distance(image, clean);
        if length * margin <= eps || length.is_nan() {
            break;
        }
        let factor = eps / length * (1.0 - shrink);
        if !(factor > 0.0 && factor < 1.0) {
            image.copy_from_slice(clean);
            break;
        }
        for (x, &c) in image.iter_mut().zip(clean) {
            *x = towards(f64::from(c), (f64::from(*x) - f64::from(c)) * factor);
        }
        shrink *= 32.0;
    }
    for x in image.iter_mut() {
        *x = x.clamp(0.0, 1.0);
    }
}

/// `clean + step` rounded to the f32 on the side of `clean`.
fn towards(clean: f64, step: f64) -> f32 {
    let rounded = (clean + step) as f32;
    let moved = f64::from(rounded) - clean;
    match moved.abs() > step.abs() {
        true if moved > 0.0 => rounded.next_down(),
        true => rounded.next_up(),
        false => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projection_shrinks_only_what_is_outside() {
        let clean = [0.5, 0.5];
        let inside = [0.53, 0.54];
        let mut image = inside;
        project(&mut image, &clean, 0.1);
        assert_eq!(image, inside);
        let mut image = [0.8, 0.9];
        project(&mut image, &clean, 0.1);
        // f32 rounding of numbers near one half
        assert!((image[0] - 0.56).abs() < 1e-6 && (image[1] - 0.58).abs() < 1e-6);
        assert!(distance(&image, &clean) <= 0.1);
    }

    #[test]
    fn the_box_is_kept_and_zero_budget_is_the_clean_picture() {
        let clean = [0.0, 1.0, 0.5];
        let mut image = [-0.3, 1.4, 0.5];
        project(&mut image, &clean, 10.0);
        assert_eq!(image, [0.0, 1.0, 0.5]);
        let mut image = [0.2, 0.9, 0.1];
        project(&mut image, &clean, 0.0);
        assert_eq!(image, clean);
    }

    #[test]
    fn random_pictures_never_leave_the_ball() {
        let mut rng = crate::rng::Rng::new(5);
        let sizes = [
            (999, 1e-3),
            (999, 0.05),
            (999, 0.7),
            (50_000, 1e-3),
            (50_000, 1e-5),
        ];
        for (length, eps) in sizes
            .into_iter()
            .chain([1e-9, 1e-7, 1e-6, 1e-4].map(|e| (999, e)))
        {
            let clean: Vec<f32> = (0..length).map(|_| rng.uniform() as f32).collect();
            let mut delta: Vec<f64> = (0..length).map(|_| rng.normal()).collect();
            for norm in [Norm::L2, Norm::LINF] {
                let ball = Ball::new(norm, eps).unwrap();
                ball.project(&mut delta, &clean);
                let image = ball.show(&delta, &clean);
                assert!(ball.distance(&image, &clean) <= eps);
                assert!(image.iter().all(|x| (0.0..=1.0).contains(x)));
            }
        }
    }

    #[test]
    fn what_is_no_number_is_not_taken_for_the_clean_picture() {
        let clean = [0.5, 0.25];
        for norm in [Norm::L2, Norm::LINF] {
            let ball = Ball::new(norm, 0.1).unwrap();
            for mut delta in [[f64::NAN, 0.05], [0.05, f64::NAN]] {
                assert!(ball.length(&delta).is_nan(), "{norm}");
                ball.project(&mut delta, &clean);
                let image = ball.show(&delta, &clean);
                assert!(image.iter().any(|x| x.is_nan()), "{norm}");
                assert!(ball.distance(&image, &clean).is_nan(), "{norm}");
            }
        }
    }

    #[test]
    fn a_ball_has_a_budget_and_a_norm_of_the_two() {
        for (norm, eps) in [
            (Norm::L2, -1.0),
            (Norm::L2, f64::NAN),
            (Norm::LINF, f64::INFINITY),
            (Norm::L1, 1.0),
        ] {
            assert!(matches!(Ball::new(norm, eps), Err(Error::Setting { .. })));
        }
    }

    #[test]
    fn a_change_has_three_lengths() {
        let found = Lengths::between(&[0.5, 1.0, 0.25], &[0.5, 0.25, 1.25]);
        let [l1, l2, linf] = [1.75, 1.25, 1.0];
        assert_eq!(found, Lengths { l1, l2, linf });
    }
}
