//! Laws of the suite and of the search for a least budget.

use certiseg_cert::{Metric, Norm};
use certiseg_net::Error;
use certiseg_net::attack::knapsack::allowed;
use certiseg_net::attack::least::least;
use certiseg_net::attack::{Attack, Criterion, Duel, Scene, Suite};
use certiseg_net::rng::Rng;

use crate::toys::*;

const ACCURACY: Criterion = Criterion::Metric(Metric::Accuracy);

#[test]
fn what_a_suite_won_stays_won_within_larger_budgets() {
    let pictures = linear_pictures(3);
    let model = Linear { classes: 3 };
    for name in ["quick", "strong"] {
        let suite = Suite::named(name, Some(10)).unwrap();
        let (image, labels) = (&pictures.images[1], &pictures.labels[1]);
        let scene = Scene::new(image, labels, [16, 16]).unwrap();
        for criterion in [
            "accuracy",
            "iou:1",
            "fnr:2",
            "precision:0",
            "vanish:1",
            "stability",
        ] {
            let duel = Duel::new(&model, scene, &criterion.parse().unwrap()).unwrap();
            let eps = [0.0, 0.05, 0.1, 0.4];
            let known = (Norm::L2, 1.0);
            let rounds = suite.run(&duel, known, &eps, [1, 2], false).unwrap();
            assert_eq!(
                rounds,
                suite.run(&duel, known, &eps, [1, 2], false).unwrap()
            );
            assert_eq!(rounds[0].best.image, *image, "no budget, no change");
            let mut before = duel.clean.score;
            for round in &rounds {
                assert!(round.best.score >= before);
                assert!(round.best.distance <= round.eps);
                before = round.best.score;
            }
            assert!(before > duel.clean.score, "{name} is idle on {criterion}");
            assert!(
                suite
                    .run(&duel, known, &[0.1, 0.05], [1, 2], false)
                    .is_err()
            );
        }
    }
}

#[test]
fn a_suite_without_an_attack_in_the_norm_is_an_error() {
    let pictures = linear_pictures(3);
    let model = Linear { classes: 3 };
    let (image, labels) = (&pictures.images[0], &pictures.labels[0]);
    let scene = Scene::new(image, labels, [16, 16]).unwrap();
    let duel = Duel::new(&model, scene, &ACCURACY).unwrap();
    let suite = Suite::named("paper001", Some(10)).unwrap();
    let run = suite.run(&duel, (Norm::LINF, 1.0), &[0.1], [1, 2], false);
    assert!(matches!(run, Err(Error::Unsupported { .. })));
}

#[test]
fn the_least_budget_found_is_near_the_least_there_is() {
    let pictures = linear_pictures(3);
    let model = Linear { classes: 3 };
    let attack = Attack::named("knapsack-glide", None).unwrap();
    for (image, labels) in pictures.images.iter().zip(&pictures.labels).take(3) {
        let scene = Scene::new(image, labels, [16, 16]).unwrap();
        let duel = Duel::new(&model, scene, &ACCURACY).unwrap();
        let goal = duel.clean.count + 40;
        // the certificate is tight here: the least budget is where it allows as many
        let (mut low, mut high) = (0.0, 10.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            match allowed(&duel.clean, middle) >= goal {
                true => high = middle,
                false => low = middle,
            }
        }
        let found = least(&duel, &attack, 1.0, goal, low, &mut Rng::new(0)).unwrap();
        let found = found.unwrap();
        assert!(found.adversarial >= goal);
        let ratio = found.distance / high;
        assert!((1.0 - 1e-6..=1.25).contains(&ratio), "{ratio}");
        let clean = least(&duel, &attack, 1.0, duel.clean.count, 0.0, &mut Rng::new(0));
        assert_eq!(clean.unwrap().unwrap().distance, 0.0);
    }
}
