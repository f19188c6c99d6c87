//! Attacks within a budget: step by step against another program, as strong as it, and on a network
//! where the optimum is known.

use certiseg_cert::{Metric, Norm};
use certiseg_net::attack::apgd::{Apgd, apgd};
use certiseg_net::attack::gate::difference;
use certiseg_net::attack::knapsack::allowed;
use certiseg_net::attack::named::Known;
use certiseg_net::attack::pgd::{Pgd, pgd};
use certiseg_net::attack::{Attack, Attacked, Ball, Criterion, Duel, Form, Loss, Model, Target};
use certiseg_net::rng::Rng;
use serde_json::Value;

use crate::toys::*;
use crate::vectors::{EVERY, SIDE, json, network, numbers, pictures, tensor, tolerance};

const ACCURACY: Criterion = Criterion::Metric(Metric::Accuracy);

/// An attack of a network of L = 1.
fn strike(attack: &Attack, duel: &Duel, ball: &Ball, seed: u64) -> Attacked {
    let known = Known {
        lipschitz: 1.0,
        from: None,
    };
    let rng = &mut Rng::new(seed);
    attack.strike(duel, ball, known, rng).unwrap().0
}

/// Wrong pixels beyond the clean ones, over all pictures.
fn gained(model: &dyn Model, pictures: &[Picture], attack: &Attack, eps: f64) -> usize {
    let one = |picture: &Picture| {
        let duel = Duel::new(model, scene(picture), &ACCURACY).unwrap();
        let attacked = strike(attack, &duel, &Ball::l2(eps).unwrap(), 1);
        assert!(attacked.distance <= eps, "{} > {eps}", attacked.distance);
        assert!(attacked.image.iter().all(|x| (0.0..=1.0).contains(x)));
        let again = duel.look(&attacked.image).unwrap();
        assert_eq!(again.count, attacked.adversarial);
        assert!(attacked.adversarial <= allowed(&duel.clean, eps).max(duel.clean.count));
        attacked.adversarial - duel.clean.count
    };
    pictures.iter().map(one).sum()
}

/// What the certificate of L = 1 allows beyond the clean ones.
fn certified(model: &dyn Model, pictures: &[Picture], eps: f64) -> usize {
    let one = |picture: &Picture| {
        let duel = Duel::new(model, scene(picture), &ACCURACY).unwrap();
        allowed(&duel.clean, eps) - duel.clean.count
    };
    pictures.iter().map(one).sum()
}

fn length(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn pgd_goes_step_by_step_where_the_peer_goes() {
    let (told, pictures) = (json("trace.json"), pictures());
    let image = &pictures[0].0;
    for name in ["lip", "plain"] {
        let recorder = Recorder::new(&network(name));
        let duel = Duel::new(&recorder, scene(&pictures[0]), &ACCURACY).unwrap();
        let settings = Pgd {
            step: 0.1 / 3.0,
            loss: Loss::plain(Form::CrossEntropy),
            ..Pgd::default()
        };
        let ball = Ball::l2(0.5).unwrap();
        let found = pgd(&duel, &ball, &settings, &mut Rng::new(0)).unwrap();
        let key = format!("{name}/pgd_ce_eps0.5");
        let seen = recorder.seen.lock().unwrap().clone();
        let told = &told["traces"][&key];
        let wrong = numbers(&told["wrong_valid_pixels_per_step"]);
        let lengths = numbers(&told["l2_of_perturbation_per_step"]);
        for step in [1, 2, 5, 19] {
            let reference = tensor("thinned.safetensors", &format!("{key}/step{step}"));
            let reference: Vec<f64> = reference.into_iter().map(f64::from).collect();
            let moved = difference(&seen[step], image);
            let apart = (length(&moved) - lengths[step]).abs();
            let limit = tolerance(step, lengths[step]);
            assert!(apart <= limit, "{key} step {step}: {apart} > {limit}");
            let some: Vec<f64> = moved.into_iter().step_by(EVERY).collect();
            assert_eq!(some.len(), reference.len());
            let apart: Vec<f64> = some.iter().zip(&reference).map(|(a, b)| a - b).collect();
            let (apart, limit) = (length(&apart), tolerance(step, length(&reference)));
            assert!(apart <= limit, "{key} step {step}: {apart} > {limit}");
            // the same check, fed the step before, must object
            let before = difference(&seen[step - 1], image);
            let pairs = before.iter().step_by(EVERY).zip(&reference);
            let apart: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
            assert!(length(&apart) > limit, "{key} step {step} is any step");
            let count = duel.look(&seen[step]).unwrap().count as f64;
            assert!((count - wrong[step]).abs() <= 2.0);
        }
        // one evaluation more than the peer, whose best is step 19
        assert!(found.step >= 19, "{}", found.step);
    }
}

#[test]
fn logits_and_certificates_are_those_of_the_peer() {
    let (pictures, results) = (pictures(), json("results.json"));
    let target = Target::new(&network("lip"), [SIDE; 2]);
    // of logits up to 0.26 and 9.2: f32 sums in another order
    for (name, limit) in [("lip", 1e-5), ("plain", 1e-4)] {
        let expected = tensor("thinned.safetensors", &format!("logits_{name}"));
        let target = Target::new(&network(name), [SIDE; 2]);
        let logits = pictures
            .iter()
            .flat_map(|(image, _)| target.logits(image).unwrap());
        let some: Vec<f32> = logits.step_by(EVERY).collect();
        assert_eq!(some.len(), expected.len());
        let apart = some.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) <= limit, "{name}");
    }
    let wrong = sum(&results["lip"]["clean"]["wrong"]);
    for eps in ["0.1", "0.25", "0.5", "1.0"] {
        let all = sum(&results["lip"]["certificate"]["N"][eps]);
        let ours = certified(&target, &pictures, eps.parse().unwrap());
        assert_eq!(ours, all - wrong, "eps {eps}");
    }
}

fn sum(counts: &Value) -> usize {
    numbers(counts).iter().sum::<f64>() as usize
}

/// What may be lost to the peer, whose scale of margins is the median of all eight pictures; ours is that of
/// each, as users have it.
const MEDIANS: f64 = 0.03;

/// Runs the attacks of these names on `lip` at the budgets of the vectors.
fn strength(rows: &[(&str, Option<&str>, [usize; 4])], budgets: &[usize]) {
    let (pictures, results) = (pictures(), json("results.json"));
    let target = Target::new(&network("lip"), [SIDE; 2]);
    let clean = sum(&results["lip"]["clean"]["wrong"]);
    for (name, peer, at_least) in rows {
        let attack = Attack::named(name, None).unwrap();
        for &at in budgets {
            let eps = ["0.1", "0.25", "0.5", "1.0"][at];
            let gained = gained(&target, &pictures, &attack, eps.parse().unwrap());
            println!("{name} eps {eps}: {gained}");
            assert!(gained >= at_least[at], "{name} eps {eps}: {gained}");
            let Some(peer) = peer else { continue };
            let theirs = sum(&results["lip"]["budget"][peer]["wrong"][eps]) - clean;
            let least = (1.0 - MEDIANS) * theirs as f64;
            assert!(
                gained as f64 >= least,
                "{name} eps {eps}: {gained} of {theirs}"
            );
        }
    }
}

/// The shares of the certificate's allowance (238, 462, 784, 1404 flips) that issue and design ask for.
const ASKED: [usize; 4] = [65, 153, 283, 660];
/// A second implementation, in Python, has 71, 161, 290, 681 (`knapsack` 66, 157, 291, 668, and just the peer's
/// counts with its median): 2 % less.
const GLIDES: [usize; 4] = [69, 157, 284, 667];

#[test]
fn the_guided_attacks_find_what_they_found_elsewhere() {
    let rows = [
        ("knapsack", Some("kg_apgd_c1.0"), ASKED),
        ("knapsack-glide", None, GLIDES),
    ];
    strength(&rows, &[0, 2]);
}

#[test]
#[ignore = "a minute: make slow"]
fn every_ported_attack_is_as_strong_as_the_peer() {
    let none = [0; 4];
    let rows = [
        ("knapsack", Some("kg_apgd_c1.0"), ASKED),
        ("knapsack-glide", None, GLIDES),
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
    let model = Linear::IDENTITY;
    let exact = Attack::Lqa(certiseg_net::attack::lqa::Lqa {
        kappa: 1e-6,
        candidates: 240,
        rounds: 2,
        ..Default::default()
    });
    let guide = Attack::named("knapsack-glide", None).unwrap();
    for eps in [0.05, 0.25, 1.0] {
        let optimum = certified(&model, &pictures, eps);
        let found = gained(&model, &pictures, &exact, eps);
        assert_eq!(found, optimum, "eps {eps}");
        let share = gained(&model, &pictures, &guide, eps) as f64 / optimum as f64;
        assert!(share >= 0.8, "eps {eps}: {share}");
    }
    // the same check, fed a certificate that allows half, must object
    let half = certified(&model, &pictures, 0.25 / 2f64.sqrt());
    assert!(gained(&model, &pictures, &guide, 0.25) > half);
}

/// What a budget attack has to find of the optimum on the linear network to be called near it.
const NEAR: f64 = 0.8;

/// Shares of the optimum that budget attacks find there, of three classes, at eps 0.05 / 0.25 / 1, taken by
/// a second implementation in Python (this test prints its own at 0.25):
///
/// | attack | share |
/// |---|---|
/// | `knapsack-glide` | .99 / .92 / .93 |
/// | `knapsack`, `-0.6`, `-0.3` | .78 / .70 / .69, .73 / .70 / .72, .64 / .57 / .56 |
/// | `smooth-count`, `-sharp` | .67 / .71 / .60, .70 / .60 / .40 |
/// | `apgd-segpgd-tau`, `apgd-cospgd-tau`, `apgd-jsd-tau` | .45 / .63 / .76, .40 / .62 / .82, .41 / .59 / .72 |
/// | `apgd-dlr`, `pgd-dlr` | .38 / .50 / .68, .35 / .47 / .63 |
/// | `apgd-ce-tau`, with a restart, `pgd` | .35 / .52 / .49, .35 / .52 / .49, .35 / .52 / .47 |
/// | `apgd-radius` | .31 / .46 / .44 |
/// | all others: plain cross-entropy, masked, balanced, margins, hinges, SEA's | .20 to .22 / .36 to .43 / .47 to .63 |
///
/// Pixels do not meet here, so what is lost is lost by the loss alone: cross-entropy and margins share the
/// budget out among all pixels and go on paying for flipped ones; a smooth count has no slope where a
/// margin is several of its widths; a knapsack with the steps of APGD pays for dear pixels of its set
/// before cheap ones are flipped. The linearised programme is exact as far as its candidates go.
#[test]
fn budget_attacks_near_the_optimum_of_a_linear_network_are_these() {
    let (model, pictures, eps) = (Linear::IDENTITY, linear_pictures(3), 0.25);
    let optimum = certified(&model, &pictures, eps);
    let near = |name: &&str| {
        let attack = Attack::named(name, None).unwrap();
        if matches!(attack, Attack::Minimal(_)) {
            return false;
        }
        let share = gained(&model, &pictures, &attack, eps) as f64 / optimum as f64;
        println!("{name}: {share:.3} of {optimum}");
        share >= NEAR
    };
    let near: Vec<&str> = Attack::names().filter(near).collect();
    assert_eq!(near, ["knapsack-glide", "lqa", "lqa-wide"]);
}

/// Two classes, all pixels 0.01 from the border and none with a slope at the clean picture.
struct Summit;

impl Model for Summit {
    fn classes(&self) -> usize {
        2
    }

    fn logits(&self, image: &[f32]) -> certiseg_net::Result<Vec<f32>> {
        let pixels = image.len() / 3;
        let away = image[..pixels].iter().map(|x| (x - 0.5) * (x - 0.5));
        Ok(std::iter::repeat_n(0.01, pixels).chain(away).collect())
    }

    fn pull(
        &self,
        image: &[f32],
        weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
    ) -> certiseg_net::Result<(Vec<f32>, Vec<f64>)> {
        let (logits, pixels) = (self.logits(image)?, image.len() / 3);
        let weights = weights(&logits);
        let slope = |(x, weight): (&f32, &f64)| 2.0 * f64::from(x - 0.5) * weight;
        let slopes = image.iter().zip(&weights[pixels..]).map(slope);
        let mut gradient: Vec<f64> = slopes.collect();
        gradient.resize(image.len(), 0.0);
        Ok((logits, gradient))
    }
}

#[test]
fn a_restart_leaves_a_point_without_a_slope() {
    let picture = (vec![0.5; 48], vec![0; 16]);
    let ball = Ball::l2(1.0).unwrap();
    let run = |restarts: usize| {
        let duel = Duel::new(&Summit, scene(&picture), &ACCURACY).unwrap();
        let settings = Apgd {
            steps: 20,
            restarts,
            ..Apgd::default()
        };
        apgd(&duel, &ball, &settings, None, &mut Rng::new(1)).unwrap()
    };
    let (once, twice) = (run(0), run(1));
    assert_eq!((once.adversarial, once.distance), (0, 0.0));
    assert!(twice.adversarial > 0);
    assert_eq!(twice.passes.forward, 2 * once.passes.forward);
    assert_eq!(twice, run(1), "same seed, same picture");
    // as the suite runs it
    let named = Attack::named("apgd-ce-tau-restart", Some(20)).unwrap();
    let duel = Duel::new(&Summit, scene(&picture), &ACCURACY).unwrap();
    assert!(strike(&named, &duel, &ball, 1).adversarial > 0);
}

#[test]
fn every_attack_runs_on_two_classes_and_in_both_norms() {
    let pictures = linear_pictures(2);
    let model = Linear::TWO;
    let (image, scene) = (&pictures[0].0, scene(&pictures[0]));
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
                let found = strike(&attack, &duel, &ball, 3);
                let again = strike(&attack, &duel, &ball, 3);
                assert_eq!(found, again, "{name}: same seed, same picture");
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
    let model = Linear::IDENTITY;
    let (image, labels) = &pictures[0];
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
        let picture = (image.to_vec(), labels.clone());
        let duel = Duel::new(&model, scene(&picture), &ACCURACY).unwrap();
        let attack = Attack::named("knapsack-glide", None).unwrap();
        let found = strike(&attack, &duel, &Ball::l2(0.3).unwrap(), 3);
        (found.adversarial, difference(&found.image, image))
    };
    let ((a, moved), (b, _)) = (run(image), run(&other));
    assert_eq!(a, b);
    // of a linear segmenter a void pixel's own colours are all its logits: they are left alone
    for (at, label) in labels.iter().enumerate() {
        assert!(*label != 255 || (0..3).all(|c| moved[c * 256 + at] == 0.0));
    }
}
