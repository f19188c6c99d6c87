//! Plans and the toy experiment of paper 002 against their vectors, and the numbers of the design.

use certiseg_cert::smoothing::{Correction, Plan, Stage, Tail};

use crate::{close, items, number, whole};

fn plan(tau: f64, tests: u64, alpha: f64, correction: Correction) -> Plan {
    Plan {
        tau,
        tests,
        alpha,
        correction,
        stage: Stage::Two,
        choose: 10,
    }
}

#[test]
fn steps_of_plans() {
    for row in items("plan") {
        let k = whole(&row["k"]) as u64;
        let (tau, tests) = (number(&row["tau"]), whole(&row["N"]) as u64);
        let plan = plan(tau, tests, number(&row["alpha"]), Correction::Count(k - 1));
        assert_eq!(plan.least().unwrap(), Some(whole(&row["n_min"])), "{row}");
        let want = row["steps"].as_array().unwrap();
        let got = plan.steps(want.len()).unwrap();
        for (got, want) in got.iter().zip(want) {
            assert_eq!(
                [got.misses, got.samples],
                [whole(&want[0]), whole(&want[1])],
                "{row}"
            );
        }
        assert_eq!(got.len(), want.len());
    }
}

#[test]
fn first_thresholds_of_the_design() {
    let k = |tests, tau, n| {
        plan(tau, tests, 0.001, Correction::Holm)
            .threshold(n)
            .unwrap()
    };
    let large = 1 << 21;
    for (tau, row) in [
        (
            0.75,
            [Some(98), Some(268), Some(432), Some(831), Some(7763)],
        ),
        (0.9, [None, Some(297), Some(486), Some(954), Some(9180)]),
        (0.95, [None, None, Some(499), Some(987), Some(9629)]),
        (0.99, [None, None, None, None, Some(9956)]),
    ] {
        assert_eq!(
            [100, 300, 500, 1000, 10_000].map(|n| k(large, tau, n)),
            row,
            "{tau}"
        );
    }
    // fig. 3 of paper 002: nothing above 0.93095 for 300 samples
    let fig3 = [0.90, 0.92, 0.925, 0.93, 0.9309532, 0.9309534].map(|tau| k(large, tau, 300));
    assert_eq!(
        fig3,
        [Some(297), Some(299), Some(300), Some(300), Some(300), None]
    );
    let pascal = [(100, 0.75), (300, 0.9), (500, 0.95), (10_000, 0.99)];
    let got = pascal.map(|(n, tau)| k(230_400, tau, n).unwrap());
    assert_eq!(got, [97, 296, 498, 9953]);
}

#[test]
fn least_numbers_of_samples() {
    for (tau, of) in [
        (0.6306, [47, 46, 15]),
        (0.6915, [59, 57, 19]),
        (0.75, [75, 73, 25]),
        (0.9, [204, 198, 66]),
        (0.95, [419, 405, 135]),
        (0.99, [2136, 2067, 688]),
    ] {
        let least = |tests| {
            plan(tau, tests, 0.001, Correction::Holm)
                .least()
                .unwrap()
                .unwrap()
        };
        assert_eq!([1 << 21, 1 << 20, 1].map(least), of, "{tau}");
    }
    // screening: 60 samples serve 31,356 components
    let least = |tests| plan(0.75, tests, 0.001, Correction::Holm).least().unwrap();
    assert_eq!([31_356, 31_357].map(least), [Some(60), Some(61)]);
}

#[test]
fn single_stages_of_the_design() {
    let p = |n, k| Tail::single_stage(n, 0.75).unwrap().p(k);
    assert!(close(p(50, 45), 0.0070462253212, 1e-10));
    assert!(close(p(20, 19), 0.0243126249206, 1e-10));
    assert!(close(p(110, 107), 1.57077504e-10, 1e-8));
}

/// P(guess is right and certified) + P(guess is wrong and certified) of one component, as in the header.
fn expectation(n0: usize, n: usize, least: Option<usize>, error: f64) -> f64 {
    let Some(least) = least else { return 0.0 };
    let at_least = |n: usize, p: f64, k: usize| match p {
        0.0 => f64::from(k == 0),
        1.0 => f64::from(k <= n),
        _ => Tail::new(n, p).unwrap().p(k),
    };
    let right = at_least(n0, 1.0 - error, n0 / 2 + 1);
    // the wrong guess, by its own tail: a tie goes to the wrong class
    let wrong = at_least(n0, error, n0.div_ceil(2));
    right * at_least(n, 1.0 - error, least) + wrong * at_least(n, error, least)
}

#[test]
fn the_toy_experiment() {
    for row in items("toy_curves") {
        let (n0, n) = (whole(&row["n0"]), whole(&row["n"]));
        let (tests, bad) = (number(&row["N"]), number(&row["k_bad"]));
        let (tau, alpha) = (number(&row["tau"]), number(&row["alpha"]));
        let bonferroni = plan(tau, tests as u64, alpha, Correction::Bonferroni);
        let least = bonferroni.threshold(n).unwrap();
        if let Some(want) = row["bonferroni_min_count"].as_u64() {
            assert_eq!(least, Some(want as usize), "{row}");
        }
        let gamma = number(&row["gamma"]);
        let of = |error: f64| expectation(n0, n, least, error.min(1.0));
        let got = ((tests - bad) * of(gamma) + bad * of(5.0 * gamma)) / tests;
        let want = number(&row["bonferroni_exact_expectation"]);
        assert!(close(got, want, 1e-10), "{row}: {got}");
    }
}
