//! Attacks within a budget: step by step against another program, as strong as it, and on a network
//! where the optimum is known.

use certiseg_cert::{Metric, Norm};
use certiseg_net::attack::gate::difference;
use certiseg_net::attack::knapsack::allowed;
use certiseg_net::attack::named::Known;
use certiseg_net::attack::pgd::{Pgd, pgd};
use certiseg_net::attack::{Attack, Ball, Criterion, Duel, Form, Loss, Model, Scene, Target};
use certiseg_net::rng::Rng;
use serde_json::Value;

use crate::toys::*;

const ACCURACY: Criterion = Criterion::Metric(Metric::Accuracy);

/// Wrong pixels beyond the clean ones, over all pictures, by an attack of that name.
fn gained(
    model: &dyn Model,
    pictures: &Pictures,
    attack: &Attack,
    eps: f64,
    scale: Option<f64>,
) -> usize {
    let size = [pictures.side; 2];
    let pairs = pictures.images.iter().zip(&pictures.labels);
    let one = |(image, labels): (&Vec<f32>, &Vec<u8>)| {
        let scene = Scene::new(image, labels, size).unwrap();
        let mut duel = Duel::new(model, scene, &ACCURACY).unwrap();
        if let Some(median) = scale {
            duel.aim.median = median;
        }
        let ball = Ball::l2(eps).unwrap();
        let known = Known {
            lipschitz: 1.0,
            from: None,
        };
        let mut rng = Rng::new(1);
        let (attacked, _) = attack.strike(&duel, &ball, known, &mut rng).unwrap();
        assert!(attacked.distance <= eps, "{} > {eps}", attacked.distance);
        assert!(attacked.image.iter().all(|x| (0.0..=1.0).contains(x)));
        let again = duel.look(&attacked.image).unwrap();
        assert_eq!(again.count, attacked.adversarial);
        assert!(attacked.adversarial <= allowed(&duel.clean, eps).max(duel.clean.count));
        attacked.adversarial - duel.clean.count
    };
    pairs.map(one).sum()
}

/// What the certificate of L = 1 allows beyond the clean ones.
fn certified(model: &dyn Model, pictures: &Pictures, eps: f64) -> usize {
    let size = [pictures.side; 2];
    let pairs = pictures.images.iter().zip(&pictures.labels);
    let one = |(image, labels): (&Vec<f32>, &Vec<u8>)| {
        let scene = Scene::new(image, labels, size).unwrap();
        let duel = Duel::new(model, scene, &ACCURACY).unwrap();
        allowed(&duel.clean, eps) - duel.clean.count
    };
    pairs.map(one).sum()
}

/// ‖d − ref‖₂ of the README of the vectors: rounding of x + δ, and what drifts in 20 steps.
fn tolerance(step: usize, reference: f64) -> f64 {
    match step < 19 {
        true => 2e-6 + 1e-4 * reference,
        false => 1e-5 + 1e-3 * reference,
    }
}

fn length(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn pgd_goes_step_by_step_where_the_peer_goes() {
    let (Some(trace), Some(told), Some(pictures)) = (
        shared("trace.safetensors"),
        vectors("trace.json"),
        pictures(),
    ) else {
        return;
    };
    let told: Value = serde_json::from_slice(&told).unwrap();
    for name in ["lip", "plain"] {
        let Some(network) = network(name) else { return };
        let recorder = Recorder::new(&network);
        let (image, labels) = (&pictures.images[0], &pictures.labels[0]);
        let scene = Scene::new(image, labels, [SIDE; 2]).unwrap();
        let duel = Duel::new(&recorder, scene, &ACCURACY).unwrap();
        let settings = Pgd {
            step: 0.1 / 3.0,
            loss: Loss::plain(Form::CrossEntropy),
            ..Pgd::default()
        };
        recorder.seen.lock().unwrap().clear();
        let ball = Ball::l2(0.5).unwrap();
        let found = pgd(&duel, &ball, &settings, &mut Rng::new(0)).unwrap();
        let key = format!("{name}/pgd_ce_eps0.5");
        let seen = recorder.seen.lock().unwrap().clone();
        let wrong = &told["traces"][&key]["wrong_valid_pixels_per_step"];
        for step in [1, 2, 5, 19] {
            let reference = floats(&trace, &format!("{key}/step{step}"));
            let reference: Vec<f64> = reference.into_iter().map(f64::from).collect();
            let moved = difference(&seen[step], image);
            let apart: Vec<f64> = moved.iter().zip(&reference).map(|(a, b)| a - b).collect();
            let limit = tolerance(step, length(&reference));
            let apart = length(&apart);
            assert!(apart <= limit, "{key} step {step}: {apart} > {limit}");
            let count = duel.look(&seen[step]).unwrap().count as i64;
            assert!((count - wrong[step].as_i64().unwrap()).abs() <= 2);
        }
        // one evaluation more than the peer, whose best is step 19
        assert!(found.step >= 19, "{}", found.step);
    }
}

/// Median of max(margin, 0) over the pixels of all pictures, from the README of the vectors.
const MEDIAN: f64 = 0.220_154_94;

#[test]
fn logits_and_certificates_are_those_of_the_peer() {
    let (Some(network), Some(pictures), Some(results)) = (network("lip"), pictures(), results())
    else {
        return;
    };
    let target = Target::new(&network, [SIDE; 2]);
    if let Some(data) = shared("data.safetensors") {
        let expected = floats(&data, "logits_lip");
        for (image, expected) in pictures.images.iter().zip(expected.chunks(4 * SIDE * SIDE)) {
            let logits = target.logits(image).unwrap();
            let apart = logits.iter().zip(expected).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f32::max) <= 1e-5);
        }
    }
    let wrong: u64 = sum(&results["lip"]["clean"]["wrong"]);
    for eps in ["0.1", "0.25", "0.5", "1.0"] {
        let all = sum(&results["lip"]["certificate"]["N"][eps]);
        let ours = certified(&target, &pictures, eps.parse().unwrap()) as u64;
        assert_eq!(ours, all - wrong, "eps {eps}");
    }
}

fn sum(counts: &Value) -> u64 {
    counts
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .sum()
}

/// Runs the attacks of these names on `lip` at the budgets of the vectors; the first row may not lose
/// 1 % to the peer's, as its README asks.
fn strength(rows: &[(&str, Option<&str>, [usize; 4])], budgets: &[usize]) {
    let (Some(network), Some(pictures), Some(results)) = (network("lip"), pictures(), results())
    else {
        return;
    };
    let target = Target::new(&network, [SIDE; 2]);
    let clean = sum(&results["lip"]["clean"]["wrong"]);
    for (name, peer, at_least) in rows {
        let attack = Attack::named(name, None).unwrap();
        for &at in budgets {
            let eps = ["0.1", "0.25", "0.5", "1.0"][at];
            let number = eps.parse().unwrap();
            let gained = gained(&target, &pictures, &attack, number, Some(MEDIAN));
            println!("{name} eps {eps}: {gained}");
            assert!(gained >= at_least[at], "{name} eps {eps}: {gained}");
            let Some(peer) = peer else { continue };
            let theirs = sum(&results["lip"]["budget"][peer]["wrong"][eps]) - clean;
            let least = 0.99 * theirs as f64;
            assert!(
                gained as f64 >= least,
                "{name} eps {eps}: {gained} of {theirs}"
            );
        }
    }
}

/// The shares of the certificate's allowance (238, 462, 784, 1404 flips) that issue and design ask for.
const ASKED: [usize; 4] = [65, 153, 283, 660];

#[test]
fn the_guided_attacks_find_what_they_found_elsewhere() {
    let rows = [
        ("knapsack", Some("kg_apgd_c1.0"), ASKED),
        ("knapsack-glide", None, [66, 156, 287, 670]),
    ];
    strength(&rows, &[0, 2]);
}

#[test]
#[ignore = "a minute: make slow"]
fn every_ported_attack_is_as_strong_as_the_peer() {
    let none = [0; 4];
    let rows = [
        ("knapsack", Some("kg_apgd_c1.0"), ASKED),
        ("knapsack-glide", None, [66, 156, 287, 670]),
        ("pgd-ce", Some("pgd_ce_40"), none),
        ("apgd-ce", Some("apgd_ce"), none),
        ("apgd-ce-tau", Some("apgd_ce_tau"), none),
        ("smooth-count", Some("apgd_smooth_count_T0.1"), none),
    ];
    strength(&rows, &[0, 1, 2, 3]);
}

#[test]
#[ignore = "minutes: make slow"]
fn the_linearised_programme_leads_within_small_budgets() {
    strength(&[("lqa", None, [73, 153, 265, 0])], &[0, 1, 2]);
}

#[test]
fn on_a_linear_network_the_programme_is_optimal_and_the_guide_nearly() {
    let pictures = linear_pictures(3);
    let model = Linear { classes: 3 };
    let exact = Attack::Lqa(certiseg_net::attack::lqa::Lqa {
        kappa: 1e-6,
        candidates: 240,
        rounds: 2,
        ..Default::default()
    });
    let guide = Attack::named("knapsack-glide", None).unwrap();
    for eps in [0.05, 0.25, 1.0] {
        let optimum = certified(&model, &pictures, eps);
        assert_eq!(
            gained(&model, &pictures, &exact, eps, None),
            optimum,
            "eps {eps}"
        );
        let share = gained(&model, &pictures, &guide, eps, None) as f64 / optimum as f64;
        assert!(share >= 0.8, "eps {eps}: {share}");
    }
    // the same check, fed a certificate that allows half, must object
    let half = certified(&model, &pictures, 0.25 / 2f64.sqrt());
    assert!(gained(&model, &pictures, &guide, 0.25, None) > half);
}

#[test]
fn every_attack_runs_on_two_classes_and_in_both_norms() {
    let pictures = linear_pictures(2);
    let model = Linear { classes: 2 };
    let (image, labels) = (&pictures.images[0], &pictures.labels[0]);
    let scene = Scene::new(image, labels, [16, 16]).unwrap();
    let region: Vec<bool> = (0..256).map(|at| at % 3 > 0).collect();
    for (norm, eps) in [(Norm::L2, 0.3), (Norm::LINF, 0.02)] {
        let ball = Ball::new(norm, eps).unwrap();
        for name in Attack::names() {
            let attack = Attack::named(name, None).unwrap();
            if !attack.knows(norm) {
                continue;
            }
            for scene in [scene, scene.within(&region).unwrap()] {
                let duel = Duel::new(&model, scene, &ACCURACY).unwrap();
                let known = Known {
                    lipschitz: 1.0,
                    from: None,
                };
                let run = || {
                    attack
                        .strike(&duel, &ball, known, &mut Rng::new(3))
                        .unwrap()
                        .0
                };
                let found = run();
                assert_eq!(found, run(), "{name}: same seed, same picture");
                assert!(found.distance <= eps, "{name}");
                // what looks for the smallest change may lose all it won when that is shrunk
                let shrunk = matches!(attack, Attack::Minimal(_));
                let won = found.adversarial > duel.clean.count;
                assert!(won || shrunk, "{name} is idle");
                for (at, (a, b)) in found.image.iter().zip(image).enumerate() {
                    let allowed = scene.region.is_none_or(|region| region[at % 256]);
                    assert!(allowed || a == b, "{name} left its region");
                }
            }
        }
    }
}

#[test]
fn a_pixel_without_a_label_counts_nowhere() {
    let pictures = linear_pictures(3);
    let model = Linear { classes: 3 };
    let (image, labels) = (&pictures.images[0], &pictures.labels[0]);
    // other colours under void pixels: the same wrong pixels are won
    let mut other = image.clone();
    for (at, _) in labels
        .iter()
        .enumerate()
        .filter(|(_, label)| **label == 255)
    {
        other[at] = 0.4;
    }
    let run = |image: &[f32]| {
        let scene = Scene::new(image, labels, [16, 16]).unwrap();
        let duel = Duel::new(&model, scene, &ACCURACY).unwrap();
        let ball = Ball::l2(0.3).unwrap();
        let attack = Attack::named("knapsack-glide", None).unwrap();
        let known = Known {
            lipschitz: 1.0,
            from: None,
        };
        let found = attack
            .strike(&duel, &ball, known, &mut Rng::new(3))
            .unwrap()
            .0;
        (found.adversarial, difference(&found.image, image))
    };
    let ((a, moved), (b, _)) = (run(image), run(&other));
    assert_eq!(a, b);
    // of a linear segmenter a void pixel's own colours are all its logits: they are left alone
    for (at, label) in labels.iter().enumerate() {
        assert!(*label != 255 || (0..3).all(|c| moved[c * 256 + at] == 0.0));
    }
}
