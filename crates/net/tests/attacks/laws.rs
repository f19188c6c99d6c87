//! Laws of the suite and of the search for a least budget.

use certiseg_cert::{Metric, Norm};
use certiseg_net::Error;
use certiseg_net::attack::apgd::Apgd;
use certiseg_net::attack::knapsack::Knapsack;
use certiseg_net::attack::knapsack::allowed;
use certiseg_net::attack::least::least;
use certiseg_net::attack::lqa::Lqa;
use certiseg_net::attack::named::Known;
use certiseg_net::attack::pgd::Pgd;
use certiseg_net::attack::{Attack, Ball, Criterion, Duel, Form, Loss, Suite};
use certiseg_net::rng::Rng;

use crate::toys::*;

const ACCURACY: Criterion = Criterion::Metric(Metric::Accuracy);

#[test]
fn what_a_suite_won_stays_won_within_larger_budgets() {
    let pictures = linear_pictures(3);
    let model = Linear::IDENTITY;
    for name in ["quick", "strong"] {
        let suite = Suite::named(name, Some(10)).unwrap();
        let (image, scene) = (&pictures[1].0, scene(&pictures[1]));
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

/// Each attack of paper 001 runs once for all budgets; what it finds within each is what it finds there
/// alone, and the passes told are those that were made.
#[test]
fn the_suite_of_paper_001_costs_one_run_and_finds_what_one_a_budget_finds() {
    let pictures = linear_pictures(3);
    let model = Linear::IDENTITY;
    let suite = Suite::named("paper001", Some(10)).unwrap();
    let duel = Duel::new(&model, scene(&pictures[2]), &ACCURACY).unwrap();
    let eps = [0.0, 0.1, 0.3, 0.9];
    let known = (Norm::L2, 1.0);
    let rounds = suite.run(&duel, known, &eps, [1, 2], false).unwrap();
    let blows = || rounds.iter().flat_map(|round| &round.blows);
    assert_eq!(blows().count(), 4 * 3);
    let made = duel.passes();
    let forward: usize = blows().map(|blow| blow.passes.forward).sum();
    let backward: usize = blows().map(|blow| blow.passes.backward).sum();
    // and one look at the clean picture
    assert_eq!([forward + 1, backward], [made.forward, made.backward]);
    // ten steps at most, and a look at what the last one made
    assert!(backward <= 4 * 10 && forward <= 4 * (10 + 1 + 3));
    for (at, round) in rounds.iter().enumerate().skip(1) {
        let ball = Ball::l2(round.eps).unwrap();
        for (entry, blow) in suite.entries.iter().zip(&round.blows) {
            let known = Known {
                lipschitz: 1.0,
                from: None,
            };
            let alone = entry
                .attack
                .strike(&duel, &ball, known, &mut Rng::new(0))
                .unwrap()
                .0;
            assert_eq!(blow.attack, entry.name);
            assert_eq!(blow.adversarial, alone.adversarial, "{}", entry.name);
            assert!(alone.score <= round.best.score, "{}", entry.name);
            if at > 1 {
                // what shrinking took
                assert_eq!([blow.passes.forward, blow.passes.backward], [1, 0]);
            }
            if round.winner == entry.name && round.best.score > rounds[at - 1].best.score {
                assert_eq!(alone.image, round.best.image, "{}", entry.name);
            }
        }
    }
    assert!(
        rounds[3].best.score > duel.clean.score,
        "idle attacks prove nothing"
    );
}

#[test]
fn a_suite_without_an_attack_in_the_norm_is_an_error() {
    let pictures = linear_pictures(3);
    let model = Linear::IDENTITY;
    let duel = Duel::new(&model, scene(&pictures[0]), &ACCURACY).unwrap();
    let suite = Suite::named("paper001", Some(10)).unwrap();
    let run = suite.run(&duel, (Norm::LINF, 1.0), &[0.1], [1, 2], false);
    assert!(matches!(run, Err(Error::Unsupported { .. })));
}

#[test]
fn settings_out_of_range_are_errors_that_name_them() {
    let pictures = linear_pictures(3);
    let model = Linear::IDENTITY;
    let duel = Duel::new(&model, scene(&pictures[0]), &ACCURACY).unwrap();
    let loss = Loss {
        form: Form::CrossEntropy,
        scale: -1.0,
    };
    let pgd = |step, momentum| {
        Attack::Pgd(Pgd {
            step,
            momentum,
            ..Pgd::default()
        })
    };
    let guided = |change: fn(&mut Knapsack)| {
        let mut settings = Knapsack::default();
        change(&mut settings);
        Attack::Knapsack(settings)
    };
    let programme = |change: fn(&mut Lqa)| {
        let mut settings = Lqa::default();
        change(&mut settings);
        Attack::Lqa(settings)
    };
    let scaled = Apgd {
        loss,
        ..Apgd::default()
    };
    for (attack, message) in [
        (
            pgd(f64::NAN, None),
            "step is NaN, expected a finite number of at least 0",
        ),
        (
            pgd(0.1, Some(-1.0)),
            "momentum is -1, expected a finite number of at least 0",
        ),
        (
            Attack::Apgd(scaled),
            "scale of the loss is -1, expected a finite number of at least 0",
        ),
        (
            guided(|settings| settings.power = 0.5),
            "power is 0.5, expected a finite number of at least 1",
        ),
        (
            guided(|settings| settings.every = 0),
            "every is 0, expected a finite number of at least 1",
        ),
        (
            guided(|settings| settings.shrink = 1.5),
            "shrink is 1.5, expected above 0 and at most 1",
        ),
        (
            programme(|settings| settings.candidates = 0),
            "candidates is 0, expected a finite number of at least 1",
        ),
        (
            programme(|settings| settings.kappa = f64::INFINITY),
            "kappa is inf, expected a finite number of at least 0",
        ),
    ] {
        let known = Known {
            lipschitz: 1.0,
            from: None,
        };
        let ball = Ball::l2(0.1).unwrap();
        let refused = attack.strike(&duel, &ball, known, &mut Rng::new(0));
        assert_eq!(refused.unwrap_err().to_string(), message);
    }
}

#[test]
fn the_least_budget_found_is_near_the_least_there_is() {
    let pictures = linear_pictures(3);
    let model = Linear::IDENTITY;
    let attack = Attack::named("knapsack-glide", None).unwrap();
    for picture in &pictures[..3] {
        let duel = Duel::new(&model, scene(picture), &ACCURACY).unwrap();
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
        // more than there is to certify is no reason not to look below it
        let wrong = least(&duel, &attack, 1.0, goal, 1.5 * high, &mut Rng::new(0));
        let ratio = wrong.unwrap().unwrap().distance / high;
        assert!((1.0 - 1e-6..=1.25).contains(&ratio), "{ratio}");
        let clean = least(&duel, &attack, 1.0, duel.clean.count, 0.0, &mut Rng::new(0));
        assert_eq!(clean.unwrap().unwrap().distance, 0.0);
    }
}
