//! Certificates of tiny images and data sets against the enumeration of all that the relaxation
//! allows: the definition of what a certificate is.

mod dataset;
mod relaxation;
mod scenes;

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{
    Conventions, Forced, Metric, MiouClasses, Norm, Objects, Premises, Share, Value,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

use relaxation::{Scene, Tally, budget, goal, meets, metrics, value_of_image, worse};
use scenes::{VOID, scene, terms};

/// Rounding of both sides, 1e-13; Q2 above all, found by bisection to 2^-30.
pub const CLOSE: f64 = 1e-9;
/// What the search of the prices may leave of a bound that is a mean.
const SEARCHED: f64 = 1e-6;
/// f64 sums of a few terms.
pub const NOISE: f64 = 1e-12;

/// All that an attack may leave of one image: budget, tally, value where it has one.
struct Enumeration {
    metric: Metric,
    conventions: Conventions,
    shared: bool,
    outcomes: Vec<(f64, Tally, Option<Share>)>,
}

impl Enumeration {
    fn of(scene: &Scene, metric: Metric, assignments: &[(f64, Vec<u8>)]) -> Self {
        let outcome = |(budget, classes): &(f64, Vec<u8>)| {
            let tally = scene.tally(metric, classes);
            let value = value_of_image(metric, &tally, &scene.conventions);
            (*budget, tally, value)
        };
        Enumeration {
            metric,
            conventions: scene.conventions,
            shared: scene.premises.norm != Norm::LINF,
            outcomes: assignments.iter().map(outcome).collect(),
        }
    }

    /// The worst that any assignment within `eps` leaves, of the values that `of` gives.
    fn worst_of(
        &self,
        eps: f64,
        of: impl Fn(&Tally, Option<Share>) -> Option<Share>,
    ) -> Option<Share> {
        let within = self.outcomes.iter().filter(|(budget, ..)| *budget <= eps);
        within
            .filter_map(|(_, tally, value)| of(tally, *value))
            .reduce(|a, b| worse(self.metric, a, b))
    }

    fn worst(&self, eps: f64) -> Share {
        self.worst_of(eps, |_, value| value).unwrap()
    }

    /// Classes of the label, which stay what they are.
    fn present(&self) -> Vec<usize> {
        let tally = &self.outcomes[0].1;
        (0..tally.len())
            .filter(|&class| tally[class][2] > 0)
            .collect()
    }

    /// Whether the certificate is exact.
    fn is_exact(&self) -> bool {
        match self.metric {
            Metric::MeanClassAccuracy => self.present().len() <= 2,
            Metric::Miou => {
                self.present().len() == 1 && self.conventions.miou == MiouClasses::Present
            }
            _ => true,
        }
    }

    /// The least bound of a mean that is not exact: mean class accuracy may be short by a part of
    /// one pixel, mIoU is no worse than each class attacked with the whole budget.
    fn least_bound(&self, eps: f64) -> f64 {
        let present = self.present();
        if self.metric == Metric::MeanClassAccuracy {
            let smallest = present
                .iter()
                .map(|&class| self.outcomes[0].1[class][2])
                .min()
                .unwrap();
            let gap = if self.shared {
                1.0 / (present.len() as u64 * smallest) as f64
            } else {
                0.0
            };
            return self.worst(eps).lower() - gap;
        }
        let of_class = |&class: &usize| {
            let share = |tally: &Tally, _| {
                Some(Share {
                    numerator: tally[class][0],
                    denominator: tally[class][1],
                })
            };
            self.worst_of(eps, share).unwrap().lower()
        };
        let within = || self.outcomes.iter().filter(|(budget, ..)| *budget <= eps);
        let joins = |class: &usize| {
            within().any(|(_, tally, _)| tally[*class][2] == 0 && tally[*class][1] > 0)
        };
        let union = self.conventions.miou == MiouClasses::Union;
        let joined = (0..self.outcomes[0].1.len())
            .filter(|class| union && joins(class))
            .count();
        present.iter().map(of_class).sum::<f64>() / (present.len() + joined) as f64
    }

    /// `found` is the worst value: never better, and worse only where a budget is within rounding
    /// of `eps`, or the bound is known to be idle by that much.
    fn check_worst(&self, found: Value, eps: f64) -> Result<(), String> {
        let metric = self.metric;
        let [least, most] = [1.0 - CLOSE, 1.0 + CLOSE].map(|factor| self.worst(eps * factor));
        let (sound, tight) = match found {
            Value::Share(share) => (
                worse(metric, share, least) == share,
                worse(metric, most, share) == most,
            ),
            Value::Real { lower, .. } => (lower <= least.upper(), lower >= most.lower() - NOISE),
        };
        let tight = if self.is_exact() {
            tight
        } else {
            found.lower() >= self.least_bound(eps * (1.0 + CLOSE)) - SEARCHED
        };
        match sound && tight {
            true => Ok(()),
            false => Err(format!(
                "{metric} at {eps}: {found}, enumeration {least} to {most}, sound {sound}"
            )),
        }
    }

    /// The least budget whose value holds.
    fn least(&self, holds: impl Fn(Share) -> bool) -> Option<f64> {
        let reached = self
            .outcomes
            .iter()
            .filter(|(.., value)| value.is_some_and(&holds));
        reached.map(|(budget, ..)| *budget).reduce(f64::min)
    }

    /// `found` is the least budget of the assignments that reach the goal.
    fn check_budget(&self, found: Option<f64>, hundredths: u64) -> Result<(), String> {
        let metric = self.metric;
        let least = self.least(|share| meets(share, metric, hundredths));
        let error = || {
            Err(format!(
                "{metric} {hundredths}: {found:?}, enumeration {least:?}"
            ))
        };
        match (found, least) {
            (None, None) => Ok(()),
            (Some(found), Some(least)) if self.is_exact() => {
                below_and_close(found, least * (1.0 + NOISE), CLOSE)
                    .map_err(|error| format!("{metric} {hundredths}: {error}"))
            }
            (Some(found), least)
                if !self.is_exact() && least.is_none_or(|least| found <= least * (1.0 + NOISE)) =>
            {
                // from the gap of the value: what reaches the goal with its help costs no more
                let threshold = hundredths as f64 / 100.0;
                let beyond =
                    |eps: f64| self.least_bound(eps * (1.0 + CLOSE)) > threshold + SEARCHED;
                if beyond(found * (1.0 + CLOSE)) {
                    error()
                } else {
                    Ok(())
                }
            }
            _ => error(),
        }
    }
}

/// A budget near one that matters, or anywhere: at, just below, just above.
type Pick = (Index, u8, f64);

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    prop::collection::vec((any::<Index>(), 0..4u8, 0.0..6.0f64), 3)
}

fn eps(budgets: &[f64], (index, kind, anywhere): &Pick) -> f64 {
    match kind {
        0 => *anywhere,
        kind => index.get(budgets) * (1.0 + 1e-6 * (f64::from(*kind) - 2.0)),
    }
}

/// All metrics of a tiny image, at some budgets and goals.
fn check_image(scene: &Scene, picks: &[Pick], hundredths: u64) {
    let assignments = scene.assignments();
    let budgets: Vec<f64> = assignments.iter().map(|(budget, _)| *budget).collect();
    let predictions: Vec<u8> = (0..scene.labels.len())
        .map(|pixel| scene.prediction(pixel))
        .collect();
    scene.with(|margins| {
        assert_eq!(margins.predictions(), predictions);
        for metric in metrics(scene.classes) {
            let enumeration = Enumeration::of(scene, metric, &assignments);
            let clean = value_of_image(
                metric,
                &scene.tally(metric, &predictions),
                &scene.conventions,
            );
            let Some(certificate) = metric.certify(margins).unwrap() else {
                assert_eq!(clean, None, "{metric}");
                continue;
            };
            let same = match certificate.clean() {
                Value::Share(share) => Some(share) == clean,
                Value::Real { lower, upper } => clean.is_some_and(|clean| {
                    lower <= clean.upper() && clean.lower() <= upper && upper - lower < NOISE
                }),
            };
            assert!(same, "{metric}: {} {clean:?}", certificate.clean());
            for pick in picks {
                let eps = eps(&budgets, pick);
                enumeration
                    .check_worst(certificate.worst(budget(eps)), eps)
                    .unwrap();
            }
            for hundredths in [hundredths, 0, 50, 100] {
                let found = certificate.budget(&goal(metric, hundredths)).unwrap();
                enumeration.check_budget(found, hundredths).unwrap();
            }
            // what attacks reach is measured as here
            for (_, classes) in assignments.iter().step_by(7) {
                let measured = margins.value(metric, classes).unwrap();
                let truth =
                    value_of_image(metric, &scene.tally(metric, classes), &scene.conventions);
                assert_eq!(measured.is_some(), truth.is_some(), "{metric}");
                let [measured, truth] = [measured.map(Value::nearest), truth.map(Share::nearest)]
                    .map(Option::unwrap_or_default);
                assert!(
                    (measured - truth).abs() < NOISE,
                    "{metric} {measured} {truth}"
                );
            }
        }
    });
}

/// So many random cases.
pub fn run<S: Strategy>(cases: u32, strategy: S, check: impl Fn(S::Value)) {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    let test = |value| {
        check(value);
        Ok(())
    };
    TestRunner::new(config).run(&strategy, test).unwrap();
}

fn check_images(cases: u32) {
    let scene = (2..=3usize, terms()).prop_flat_map(|(classes, terms)| scene(classes, 6, terms));
    run(
        cases,
        (scene, picks(), 0..=100u64),
        |(scene, picks, hundredths)| check_image(&scene, &picks, hundredths),
    );
}

#[test]
fn certificates_equal_the_enumeration_of_all_assignments() {
    check_images(1000);
}

#[test]
#[ignore = "minutes: make slow"]
fn certificates_equal_the_enumeration_many_times() {
    check_images(30_000);
}

/// Three pixels of class 0, two of class 1 and a void one that is predicted 0; L = 3.
fn planted() -> Scene {
    Scene {
        classes: 3,
        width: 6,
        logits: vec![
            vec![24, 8, 0],
            vec![20, 4, 8],
            vec![0, 32, 20],
            vec![4, 20, 0],
            vec![32, 0, 0],
            vec![4, 28, 20],
        ],
        labels: vec![0, 0, 0, 1, VOID, 1],
        void: VOID,
        region: None,
        premises: Premises::new(Norm::L2, 3.0, 0.0).unwrap(),
        conventions: Conventions {
            objects: Objects {
                pixels: 2,
                ..Objects::default()
            },
            ..Conventions::default()
        },
    }
}

/// The comparisons must object to a lost pixel, a budget 0.1 % short, a wrong norm, a missing
/// factor 2^((1-p)/p), a dropped 1/L, a void pixel that counts.
#[test]
fn the_comparisons_see_planted_errors() {
    let scene = planted();
    let root = 2f64.sqrt();
    let changed = |change: &dyn Fn(&mut Scene)| {
        let mut scene = scene.clone();
        change(&mut scene);
        scene
    };
    let wrong = [
        (
            "a wrong norm",
            changed(&|s| s.premises = Premises::new(Norm::L1, 3.0, 0.0).unwrap()),
        ),
        (
            "no shared budget",
            changed(&|s| s.premises = Premises::new(Norm::LINF, 3.0, 0.0).unwrap()),
        ),
        ("no factor", changed(&|s| s.premises.lipschitz = 3.0 / root)),
        ("no 1/L", changed(&|s| s.premises.lipschitz = 1.0)),
        (
            "0.1 % short",
            changed(&|s| s.premises.lipschitz = 3.0 / 1.001),
        ),
        ("void counts", changed(&|s| s.labels[4] = 2)),
    ];
    let assignments = scene.assignments();
    let certified =
        |scene: &Scene, metric: Metric, ask: &dyn Fn(&certiseg_cert::Certificate) -> String| {
            scene.with(|margins| ask(&metric.certify(margins).unwrap().unwrap()))
        };
    for metric in metrics(1) {
        let enumeration = Enumeration::of(&scene, metric, &assignments);
        // just below and above every budget at which the value moves, and every goal
        let near = assignments
            .iter()
            .flat_map(|(budget, _)| [0.9995, 1.0005].map(|factor| budget * factor));
        let moves = |eps: &f64| enumeration.worst(eps * 0.999) != enumeration.worst(eps * 1.001);
        let budgets: Vec<f64> = near.filter(moves).collect();
        let objections = |scene: &Scene| {
            let of_worst = |eps: &f64| {
                certified(scene, metric, &|c| {
                    enumeration
                        .check_worst(c.worst(budget(*eps)), *eps)
                        .err()
                        .unwrap_or_default()
                })
            };
            let of_budget = |hundredths: &u64| {
                certified(scene, metric, &|c| {
                    enumeration
                        .check_budget(c.budget(&goal(metric, *hundredths)).unwrap(), *hundredths)
                        .err()
                        .unwrap_or_default()
                })
            };
            let seen = |text: &String| !text.is_empty();
            [
                budgets.iter().map(of_worst).filter(seen).count(),
                (0..=100)
                    .collect::<Vec<_>>()
                    .iter()
                    .map(of_budget)
                    .filter(seen)
                    .count(),
            ]
        };
        assert_eq!(objections(&scene), [0, 0], "{metric}");
        // a bound with a gap hides what is smaller than its gap
        if enumeration.is_exact() {
            for (name, scene) in &wrong {
                let void = *name == "void counts";
                let blind = void
                    && !(metric.needs_labels()
                        && [None, Some(0)].contains(&metric.class())
                        && !matches!(
                            metric,
                            Metric::Recall(_) | Metric::Fnr(_) | Metric::Objects(_)
                        ));
                let [worst, budget] = objections(scene);
                assert!(
                    blind || worst > 0 && budget > 0,
                    "{metric}: {name} {worst} {budget}"
                );
            }
            let eps = budgets[0];
            let share = enumeration.worst(eps);
            for numerator in [share.numerator + 1, share.numerator.wrapping_sub(1)] {
                enumeration
                    .check_worst(Value::Share(Share { numerator, ..share }), eps)
                    .unwrap_err();
            }
        } else {
            let truth = enumeration.worst(1.0).upper() + CLOSE;
            enumeration
                .check_worst(
                    Value::Real {
                        lower: truth,
                        upper: truth,
                    },
                    1.0,
                )
                .unwrap_err();
            enumeration
                .check_worst(
                    Value::Real {
                        lower: 0.0,
                        upper: 0.0,
                    },
                    0.0,
                )
                .unwrap_err();
        }
    }
    // exact costs are not pairwise ones
    let exact = changed(&|s| s.conventions.forced = Forced::Exact);
    let fpr = Metric::Fpr(0);
    let enumeration = Enumeration::of(&exact, fpr, &exact.assignments());
    let found = |scene: &Scene| {
        scene.with(|m| {
            fpr.certify(m)
                .unwrap()
                .unwrap()
                .budget(&goal(fpr, 100))
                .unwrap()
        })
    };
    enumeration.check_budget(found(&exact), 100).unwrap();
    assert!(enumeration.check_budget(found(&scene), 100).is_err());
}
