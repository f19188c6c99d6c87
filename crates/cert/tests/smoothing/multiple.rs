//! Corrections against statsmodels and the formulas, and what they owe to each other.

use certiseg_cert::smoothing::{Correction, Procedure, Stage, Tail};
use proptest::prelude::*;
use serde_json::Value;

use crate::{items, number, numbers, whole, wholes};

/// Indices that are rejected.
fn rejected(correction: Correction, p: &[f64], alpha: f64) -> Vec<u64> {
    let reject = correction.reject(p, alpha).unwrap();
    (0..)
        .zip(reject)
        .filter_map(|(i, r)| r.then_some(i))
        .collect()
}

/// The levels of a published program: k·alpha/(s+1-i) for i > k. Not k-FWER.
fn unsound_published_variant(p: &[f64], k: usize, alpha: f64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let s = p.len();
    let passes = |(i, index): &(usize, &usize)| {
        let level = k as f64 * alpha / (if *i <= k { s } else { s + 1 - *i }) as f64;
        p[**index] <= level
    };
    let pairs = (1..).zip(&order).take_while(passes);
    let mut found: Vec<u64> = pairs.map(|(_, index)| *index as u64).collect();
    found.sort_unstable();
    found
}

#[test]
fn rejections_on_given_p_values() {
    let mut differ = 0;
    for case in items("multiple_testing") {
        let (p, alpha) = (numbers(&case["p"]), number(&case["alpha"]));
        let name = format!("{} of {}", case["kind"], case["m"]);
        for (correction, key) in [
            (Correction::Holm, "holm"),
            (Correction::Bonferroni, "bonferroni"),
        ] {
            assert_eq!(
                rejected(correction, &p, alpha),
                wholes(&case[key]),
                "{key} {name}"
            );
        }
        for (k, of_k) in case["kfwer"].as_object().unwrap() {
            let k: u64 = k.parse().unwrap();
            let step_down = rejected(Correction::Kfwer(k), &p, alpha);
            assert_eq!(
                step_down,
                wholes(&of_k["lehmann_romano_stepdown"]),
                "{k} {name}"
            );
            let single = rejected(Correction::Count(k - 1), &p, alpha);
            assert_eq!(single, wholes(&of_k["lr_single_step"]), "{k} {name}");
            let published = unsound_published_variant(&p, k as usize, alpha);
            assert_eq!(
                published,
                wholes(&of_k["unsound_published_variant"]),
                "{k} {name}"
            );
            differ += usize::from(published != step_down);
        }
    }
    assert!(differ > 0, "the vectors have a case that tells the variant");
}

/// The correction of a procedure of `holm_histogram`.
fn named(name: &str, of: &Value) -> Correction {
    let k = of["k"].as_u64().unwrap();
    match name.split_once("_k").map_or(name, |(head, _)| head) {
        "bonferroni" => Correction::Bonferroni,
        "holm" => Correction::Holm,
        "lr_stepdown" => Correction::Kfwer(k),
        "lr_single" => Correction::Count(k - 1),
        other => panic!("{other}"),
    }
}

#[test]
fn thresholds_of_histograms() {
    for case in items("holm_histogram") {
        let histogram = wholes(&case["histogram"]);
        assert_eq!(histogram.iter().sum::<u64>(), case["N"].as_u64().unwrap());
        for (name, of) in case["procedures"].as_object().unwrap() {
            let procedure = Procedure {
                tau: number(&case["tau"]),
                alpha: number(&case["alpha"]),
                correction: named(name, of),
                stage: Stage::Two,
            };
            let decision = procedure.decide(whole(&case["n"]), &histogram).unwrap();
            let want = of["threshold"].as_u64().map(|count| count as usize);
            let name = format!("{name} of {}", case["id"]);
            assert_eq!(decision.threshold, want, "{name}");
            assert_eq!(
                decision.certified,
                of["rejected"].as_u64().unwrap(),
                "{name}"
            );
            assert_eq!(decision.net, of["net"].as_u64().unwrap(), "{name}");
        }
    }
}

/// By definition: sorted p-values, level after level, without groups or steps.
fn by_definition(correction: Correction, p: &[f64], alpha: f64) -> usize {
    let mut sorted = p.to_vec();
    sorted.sort_by(f64::total_cmp);
    let s = p.len() as f64;
    let level = |i: usize| match correction {
        Correction::None => alpha,
        Correction::Bonferroni => alpha / s,
        Correction::Holm => alpha / (s + 1.0 - i as f64),
        Correction::Kfwer(k) => {
            let k = k as f64;
            k * alpha / (if i as f64 <= k { s } else { s + k - i as f64 })
        }
        Correction::Count(b) => (b + 1) as f64 * alpha / s,
    };
    (1..)
        .zip(sorted)
        .take_while(|(i, p)| *p <= level(*i))
        .count()
}

const CORRECTIONS: [Correction; 7] = [
    Correction::Bonferroni,
    Correction::Holm,
    Correction::Kfwer(1),
    Correction::Kfwer(3),
    Correction::Count(0),
    Correction::Count(2),
    Correction::None,
];

fn histograms() -> impl Strategy<Value = (Vec<u64>, f64, f64)> {
    let counts = prop::collection::vec(0u64..6, 2..60);
    (counts, 0.5f64..0.97, 0.001f64..0.4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn histograms_and_slices_agree_with_the_definition((histogram, tau, alpha) in histograms()) {
        let n = histogram.len() - 1;
        let tail = Tail::new(n, tau).unwrap();
        let p: Vec<f64> = (0..=n).flat_map(|k| vec![tail.p(k); histogram[k] as usize]).collect();
        let of = |correction: Correction| {
            let threshold = correction.threshold(&tail, &histogram, alpha).unwrap();
            threshold.map_or(0, |least| histogram[least..].iter().sum::<u64>()) as usize
        };
        for correction in CORRECTIONS {
            let slices = correction.reject(&p, alpha).unwrap().iter().filter(|r| **r).count();
            prop_assert_eq!(of(correction), slices, "{}", correction);
            prop_assert_eq!(slices, by_definition(correction, &p, alpha), "{}", correction);
        }
        prop_assert_eq!(of(Correction::Holm), of(Correction::Kfwer(1)));
        prop_assert_eq!(of(Correction::Bonferroni), of(Correction::Count(0)));
        // each is a part of the next
        let chain = [Correction::Bonferroni, Correction::Holm, Correction::Kfwer(3), Correction::Kfwer(5)];
        prop_assert!(chain.windows(2).all(|pair| of(pair[0]) <= of(pair[1])));
        prop_assert!(of(Correction::Holm) <= of(Correction::None));
    }

    /// More votes lose nothing, more components gain nothing.
    #[test]
    fn certificates_are_monotone((mut histogram, tau, alpha) in histograms(), place in 0usize..60) {
        let n = histogram.len() - 1;
        let place = place % n;
        let tail = Tail::new(n, tau).unwrap();
        for correction in [Correction::Bonferroni, Correction::Holm] {
            let threshold = |histogram: &[u64]| {
                correction.threshold(&tail, histogram, alpha).unwrap().unwrap_or(n + 1)
            };
            let before = threshold(&histogram);
            // a component with no votes joins
            histogram[0] += 1;
            prop_assert!(threshold(&histogram) >= before);
            histogram[0] -= 1;
            if histogram[place] > 0 {
                // all that passed pass, where one has a vote more
                let mut more = histogram.clone();
                more[place] -= 1;
                more[place + 1] += 1;
                let certified = |h: &[u64], least: usize| h[least.min(n + 1)..].iter().sum::<u64>();
                prop_assert!(certified(&more, threshold(&more)) >= certified(&histogram, before));
            }
        }
    }
}

/// Simultaneous statement: Clopper-Pearson at alpha/N against tau is the test of tau at alpha/N.
#[test]
fn thresholded_bounds_are_bonferroni() {
    let mut chance = crate::Chance(5);
    for n in 1..=200usize {
        let (tau, tests) = (0.5 + 0.49 * chance.unit(), 1 + chance.below(1 << 21));
        let level = 0.001 / tests as f64;
        let tail = Tail::new(n, tau).unwrap();
        let least = tail.least(level);
        for k in (1..=n).rev().take(12) {
            let bound = certiseg_cert::smoothing::lower_bound(n, k, level).unwrap();
            assert_eq!(
                bound >= tau,
                least.is_some_and(|least| k >= least),
                "{n} {k} {tau}"
            );
        }
    }
}
