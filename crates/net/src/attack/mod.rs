//! Attacks: functions from (network, picture, labels, settings, chance) to an attacked picture.
//!
//! One convention: the picture is (3, H, W) f32 in [0, 1], labels are (H, W) u8 with 255 = void,
//! the budget is an l2 distance over all 3HW numbers in the unit of the picture. The attacked
//! picture stays in the box and within the budget, checked in f64 on the very f32 numbers that are
//! returned. Void pixels give no loss and count nowhere. One picture at a time: no result depends
//! on a batch.

pub mod pgd;

/// An attacked picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Attacked {
    /// (3, H, W) in [0, 1].
    pub image: Vec<f32>,
    /// l2 distance to the clean picture, computed in f64.
    pub distance: f64,
}

/// l2 distance of two pictures, in f64.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Moves `image` to the nearest point of the ball of radius `eps` around `clean`, then into the
/// box [0, 1]: clipping moves every number towards `clean`, so the ball is kept. Every number is
/// rounded to f32 towards `clean`; what rounding leaves outside is shrunk further, at last to
/// `clean` itself.
pub fn project(image: &mut [f32], clean: &[f32], eps: f64) {
    // an f64 sum of n squares is off by at most n·2⁻⁵³ relative: ask for that much less
    let margin = 1.0 + image.len() as f64 * f64::EPSILON;
    let mut shrink = 1e-6;
    loop {
        let length = distance(image, clean);
        if length * margin <= eps {
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
        shrink *= 2.0;
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
        // 1e-6 of shrinking, f32 rounding of numbers near one half
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
            let mut image: Vec<f32> = (0..length).map(|_| rng.normal() as f32).collect();
            project(&mut image, &clean, eps);
            assert!(distance(&image, &clean) <= eps);
            assert!(image.iter().all(|x| (0.0..=1.0).contains(x)));
        }
    }
}
