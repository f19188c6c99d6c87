//! One table of losses, and laws over all of it.

use std::f64::consts::SQRT_2;

use burn::tensor::{DType, Device};
use serde_json::json;

use super::{Loss, Pairs};
use naive::naive;
use scene::{Scene, random, scene};

mod naive;
mod reference;
mod scene;

/// Two orders of summing a few hundred f64 terms, relative to values of about 1.
const SUMS: f64 = 1e-11;
/// Central differences of step 1e-6: 1e-12 from the cubic term times slopes up to τ², and 1e-16
/// of rounding over 1e-6.
const DIFFERENCES: f64 = 1e-7;
const STEP: f64 = 1e-6;

/// A loss from its settings.
fn loss(settings: serde_json::Value) -> Loss {
    serde_json::from_value(settings).unwrap()
}

/// Every loss with other settings than its defaults.
fn settings() -> Vec<serde_json::Value> {
    vec![
        json!({"kind": "cross_entropy", "temperature": 2.0}),
        json!({"kind": "margin_offset", "offset": 0.4, "temperature": 2.0}),
        json!({"kind": "logit_annealing", "offset": 0.4, "temperature": 2.0, "power": 1.5, "eps": 0.3}),
        json!({"kind": "emma", "eps": 0.3, "temperature": 2.0}),
        json!({"kind": "gloro", "eps": 0.3, "temperature": 2.0}),
        json!({"kind": "cosine", "share": 0.6, "eps": 1.5}),
        json!({"kind": "hkr", "alpha": 3.0, "margin": 0.8}),
        json!({"kind": "soft_hkr", "alpha": 0.4, "margin": 0.2, "temperature": 3.0}),
        json!({"kind": "lse_hkr", "alpha": 0.4, "margin": 0.8, "penalty": 2.0}),
        json!({"kind": "hinge", "margin": 0.8}),
        json!({"kind": "categorical_hinge", "margin": 0.8}),
        json!({"kind": "radius", "eps": 0.5, "weight": 2.0, "temperature": 2.0}),
        json!({"kind": "certificate", "share": 0.4, "weight": 2.0, "temperature": 2.0}),
    ]
}

/// Every loss twice: with those settings and with its defaults.
fn losses() -> Vec<Loss> {
    let both = |s: serde_json::Value| [loss(json!({"kind": s["kind"]})), loss(s)];
    settings().into_iter().flat_map(both).collect()
}

/// The first place where two lists differ by more than a tolerance; NaN differs from all.
fn difference(got: &[f64], expected: &[f64], tolerance: f64) -> Option<String> {
    assert_eq!(got.len(), expected.len());
    let near = |&at: &usize| {
        let scale = expected[at].abs().max(1.0);
        (got[at] - expected[at]).abs() <= tolerance * scale
    };
    let at = (0..got.len()).find(|at| !near(at))?;
    Some(format!("at {at}: {} expected {}", got[at], expected[at]))
}

#[test]
fn every_loss_is_its_formula() {
    for loss in losses() {
        for classes in [2, 3, 5] {
            let scene = random(1, classes);
            let (got, _) = scene.learn(&loss, DType::F64);
            let expected = naive(&loss, &scene, &scene.logits);
            let wrong = difference(&[got], &[expected], SUMS);
            assert_eq!(wrong, None, "{loss:?} {classes}");
        }
    }
}

/// Central differences of the formula, with what is detached held at these logits if `frozen`.
fn differences(loss: &Loss, scene: &Scene, frozen: bool) -> Vec<f64> {
    let mut slopes = Vec::new();
    for (at, pixel) in scene.logits.iter().enumerate() {
        for class in 0..pixel.len() {
            let value = |step: f64| {
                let mut moved = scene.clone();
                moved.logits[at][class] += step;
                let fixed = if frozen { &scene.logits } else { &moved.logits };
                naive(loss, &moved, fixed)
            };
            slopes.push((value(STEP) - value(-STEP)) / (2.0 * STEP));
        }
    }
    slopes
}

#[test]
fn every_gradient_is_a_limit_of_differences() {
    for loss in losses() {
        for classes in [2, 5] {
            let scene = random(2, classes);
            let got = scene.learn(&loss, DType::F64).1.concat();
            let wrong = difference(&got, &differences(&loss, &scene, true), DIFFERENCES);
            assert_eq!(wrong, None, "{loss:?} {classes}");
        }
    }
}

#[test]
fn the_comparison_sees_planted_errors() {
    assert!(difference(&[f64::NAN], &[1.0], SUMS).is_some());
    assert!(difference(&[0.0, 1.0 + 2.0 * SUMS], &[0.0, 1.0], SUMS).is_some());
    let scene = random(2, 5);
    for loss in losses() {
        let (value, gradient) = scene.learn(&loss, DType::F64);
        let mut other = scene.clone();
        other.labels.swap(0, 3);
        let wrong = naive(&loss, &other, &other.logits);
        assert!(difference(&[value], &[wrong], SUMS).is_some(), "{loss:?}");
        let slopes = differences(&loss, &other, true);
        let wrong = difference(&gradient.concat(), &slopes, DIFFERENCES);
        assert!(wrong.is_some(), "{loss:?}");
    }
    // what is detached shows
    for loss in [3, 7].map(|at| loss(settings()[at].clone())) {
        let got = scene.learn(&loss, DType::F64).1.concat();
        let wrong = difference(&got, &differences(&loss, &scene, false), DIFFERENCES);
        assert!(wrong.is_some(), "{loss:?}");
    }
}

#[test]
fn void_pixels_add_exactly_nothing() {
    for loss in losses() {
        let scene = random(3, 5);
        let (value, gradient) = scene.learn(&loss, DType::F32);
        let mut broken = scene.clone();
        let void = |at: &usize| [3, 255].contains(&scene.labels[*at]);
        for at in (0..scene.labels.len()).filter(void) {
            broken.logits[at] = vec![f64::NAN, f64::INFINITY, -1e30, 0.0, 7.0];
            assert_eq!(gradient[at], [0.0; 5], "{loss:?}");
        }
        let of_broken = broken.learn(&loss, DType::F32);
        assert_eq!(of_broken, (value, gradient), "{loss:?}");
    }
}

#[test]
fn the_budget_of_four_pixels() {
    // radii 0.3, 0.1, 0.2 and a wrong pixel; n = 3 takes 0, 0.1 and 0.2
    let gaps = [0.3, 0.1, 0.2, -0.4].map(|r: f64| [r * SQRT_2, 0.0]);
    let pixels: Vec<&[f64]> = gaps.iter().map(|gap| gap.as_slice()).collect();
    let scene = scene(&pixels, &[0; 4], &[1.0; 2]);
    let of = |weight: f64| {
        let settings = json!({"kind": "certificate", "share": 0.75, "weight": weight});
        scene.learn(&loss(settings), DType::F64)
    };
    let ((plain, slopes), (value, budget_slopes)) = (of(0.0), of(1.0));
    let root = (0.05f64 / 3.0).sqrt();
    assert_eq!(difference(&[plain - value], &[root], SUMS), None);
    let got = [0, 1, 2, 3].map(|at| slopes[at][0] - budget_slopes[at][0]);
    let expected = [0.0, 0.1, 0.2, 0.0].map(|r| r / (3.0 * root * SQRT_2));
    assert_eq!(difference(&got, &expected, SUMS), None);
}

#[test]
fn a_budget_whose_square_vanishes_has_a_finite_slope() {
    // (1e-25)² is 0 in f32
    let scene = scene(&[&[1e-25, 0.0]], &[0], &[1.0; 2]);
    let (_, slopes) = scene.learn(&loss(json!({"kind": "certificate"})), DType::F32);
    assert!(slopes[0].iter().all(|s| s.is_finite()), "{slopes:?}");
}

#[test]
fn an_image_of_void_pixels_adds_nothing_to_the_budget() {
    let loss = loss(settings()[12].clone());
    let mut scene = random(4, 3);
    scene.labels[6..12].fill(255);
    let (value, gradient) = scene.learn(&loss, DType::F64);
    scene.logits.drain(6..12);
    scene.labels.drain(6..12);
    scene.images = 2;
    let (expected, of_two) = scene.learn(&loss, DType::F64);
    assert_eq!(difference(&[value], &[expected], SUMS), None);
    let kept = [&gradient[..6], &gradient[12..]].concat().concat();
    assert_eq!(difference(&kept, &of_two.concat(), SUMS), None);
}

#[test]
fn ties_zeros_and_huge_logits_stay_finite() {
    for loss in losses() {
        for classes in [2, 5] {
            let ties = [(0.0, 0.0), (0.0, 1.0), (0.0, -1e4)];
            for (scale, offset) in [ties.as_slice(), &[(1e4, 0.0), (1e-20, 0.0)]].concat() {
                let mut scene = random(5, classes);
                let logits = scene.logits.iter_mut().flatten();
                logits.for_each(|f| *f = offset + scale * f.signum());
                let (value, gradient) = scene.learn(&loss, DType::F32);
                let finite = gradient.iter().flatten().all(|g| g.is_finite());
                let case = format!("{loss:?} {classes} {scale} {offset}");
                assert!(finite && value.is_finite(), "{case}");
            }
        }
    }
}

#[test]
fn a_void_batch_says_so() {
    let pixels: [&[f64]; 2] = [&[1.0, 0.0]; 2];
    for (labels, weights) in [([255, 2], [1.0, 1.0]), ([1, 1], [1.0, 0.0])] {
        let scene = scene(&pixels, &labels, &weights);
        assert!(scene.targets(&Device::flex()).is_void(), "{labels:?}");
    }
}

#[test]
fn settings_keep_their_names() {
    for settings in settings() {
        let loss = loss(settings.clone());
        assert_eq!(serde_json::to_value(&loss).unwrap(), settings);
        loss.check().unwrap();
        let with = |name: &str, value: f64| {
            let mut settings = settings.clone();
            settings[name] = value.into();
            serde_json::from_value::<Loss>(settings)
        };
        assert!(with("gamma", 1.0).is_err(), "{settings}");
        let names = settings.as_object().unwrap().keys();
        for name in names.filter(|&name| name != "kind") {
            let message = with(name, -1.0).unwrap().check().unwrap_err().to_string();
            assert!(message.contains(&format!("loss.{name}")), "{message}");
        }
    }
    for bad in [
        json!({"kind": "radius", "eps": 0.0}),
        json!({"kind": "cosine", "share": 1.1}),
        json!({"kind": "logit_annealing", "power": 0.9}),
    ] {
        assert!(loss(bad.clone()).check().is_err(), "{bad}");
    }
    for temperature in [f64::NAN, f64::INFINITY, 0.0] {
        assert!(Loss::CrossEntropy { temperature }.check().is_err());
    }
    losses().iter().for_each(|loss| loss.check().unwrap());
    assert_eq!(Loss::default(), loss(json!({"kind": "emma"})));
}

#[test]
fn temperatures_multiply_the_logits() {
    let got = losses().into_iter().step_by(2).map(|l| l.temperature());
    let tau = Some(20.0);
    let first = vec![tau, Some(4.0), Some(1.0 / 0.75), Some(40.0), tau];
    let expected = [first, vec![None; 6], vec![tau; 2]].concat();
    assert_eq!(got.collect::<Vec<_>>(), expected);
}

#[test]
fn distances_are_checked() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Pairs::even(3, bad).is_err(), "{bad}");
    }
    assert!(Pairs::new(3, vec![1.0; 8]).is_err());
    assert_eq!(
        Pairs::even(2, 3.0).unwrap(),
        Pairs::new(2, vec![0.0, 3.0, 3.0, 9.0]).unwrap()
    );
}
