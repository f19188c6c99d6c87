//! Plans and the toy experiment of paper 002 against their vectors, and the numbers of the design.

use certiseg_cert::smoothing::{Correction, Plan, Stage, Tail, Toy};

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

#[test]
fn the_toy_experiment() {
    for row in items("toy_curves") {
        let toy = Toy {
            components: whole(&row["N"]) as u64,
            bad: whole(&row["k_bad"]) as u64,
            gamma: number(&row["gamma"]),
            choose: whole(&row["n0"]),
            samples: whole(&row["n"]),
            tau: number(&row["tau"]),
            alpha: number(&row["alpha"]),
        };
        let bonferroni = plan(toy.tau, toy.components, toy.alpha, Correction::Bonferroni);
        if let Some(want) = row["bonferroni_min_count"].as_u64() {
            let least = bonferroni.threshold(toy.samples).unwrap();
            assert_eq!(least, Some(want as usize), "{row}");
        }
        let exact = toy.expectation(Correction::Bonferroni).unwrap().unwrap();
        let want = number(&row["bonferroni_exact_expectation"]);
        assert!(close(exact.mean, want, 1e-10), "{row}: {exact:?}");
        // what was simulated with the published functions is within the error of its runs
        let runs = whole(&row["repetitions"]) as u64;
        let simulated = &row["simulated"];
        if let Some(share) = simulated["bonferroni"].as_f64() {
            assert!((share - want).abs() <= exact.within(runs), "{row}");
        }
        if let Some(share) = simulated["indiv"].as_f64() {
            let indiv = toy.indiv_class().unwrap();
            assert!(
                (share - indiv.mean).abs() <= indiv.within(runs),
                "{row} {indiv:?}"
            );
        }
    }
}
