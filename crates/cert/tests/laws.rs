//! Laws that every metric obeys, on images of 1 to 12 pixels with logits in sixteenths.

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{
    Budget, Certificate, Goal, Grid, Image, Margins, Metric, Norm, Premises, Share, margins,
};
use proptest::prelude::*;

/// Every metric; a new one is one line.
const METRICS: [Metric; 6] = [
    Metric::Accuracy,
    Metric::Stability,
    Metric::Fnr(0),
    Metric::Fnr(1),
    Metric::Iou(0),
    Metric::Iou(1),
];
const EXPONENTS: [f64; 5] = [1.0, 1.5, 2.0, 3.0, f64::INFINITY];
const VOID: u8 = 255;
/// Rounding of a certificate of 12 pixels, 1e-13 for general p, with room; Q2 above all.
const CLOSE: f64 = 1e-9;

#[derive(Clone, Debug)]
struct Case {
    classes: usize,
    /// Logits of each pixel.
    pixels: Vec<Vec<f32>>,
    labels: Vec<u8>,
    void: u8,
    premises: Premises,
}

impl Case {
    fn with<T>(&self, then: impl FnOnce(&Margins) -> T) -> T {
        let logits: Vec<f32> = (0..self.classes)
            .flat_map(|class| self.pixels.iter().map(move |pixel| pixel[class]))
            .collect();
        let grid = Grid::new(self.classes, 1, self.pixels.len()).unwrap();
        let image = Image::new(grid, &logits, Some(&self.labels), Some(self.void)).unwrap();
        then(&margins(&image, &self.premises).unwrap())
    }

    fn certify<T>(&self, metric: Metric, then: impl FnOnce(&Certificate) -> T) -> Option<T> {
        self.with(|margins| metric.certify(margins).unwrap().map(|c| then(&c)))
    }

    fn worst(&self, metric: Metric, eps: f64) -> Option<Share> {
        self.certify(metric, |c| c.worst(budget(eps)))
    }

    /// Clean value, worst values and budgets: all that is reported.
    fn report(&self, metric: Metric, eps: f64) -> Option<(Vec<Share>, Vec<Option<f64>>)> {
        self.certify(metric, |c| {
            let shares = vec![c.clean(), c.worst(budget(0.0)), c.worst(budget(eps))];
            let budgets = (0..=4).map(|quarter| c.budget(&goal(metric, 25 * quarter)).unwrap());
            (shares, budgets.collect())
        })
    }

    /// The costs of the metric's pixels, from the definition: (is a loss, radius).
    fn radii(&self, metric: Metric) -> Vec<(bool, f64)> {
        let p = self.premises.norm.p();
        let factor = if p == f64::INFINITY {
            0.5
        } else {
            2f64.powf((1.0 - p) / p)
        };
        let radius =
            |gap: f64| factor * (gap - 2.0 * self.premises.eta).max(0.0) / self.premises.lipschitz;
        let mut radii = Vec::new();
        for (pixel, &label) in self.pixels.iter().zip(&self.labels) {
            let logit = |class: usize| f64::from(pixel[class]);
            let top = (0..self.classes)
                .rev()
                .max_by(|&a, &b| logit(a).total_cmp(&logit(b)))
                .unwrap();
            let leave = |class: usize| {
                let others = (0..self.classes).filter(|&c| c != class).map(logit);
                radius(logit(class) - others.fold(f64::NEG_INFINITY, f64::max))
            };
            let lose = if top == usize::from(label) {
                leave(top)
            } else {
                0.0
            };
            match metric {
                Metric::Stability => radii.push((true, leave(top))),
                _ if label == self.void => {}
                Metric::Accuracy => radii.push((true, lose)),
                Metric::Fnr(class) | Metric::Iou(class) if class == label => {
                    radii.push((true, lose))
                }
                Metric::Iou(class) => {
                    let gain = if top == usize::from(class) {
                        0.0
                    } else {
                        radius(logit(top) - logit(class.into()))
                    };
                    radii.push((false, gain));
                }
                Metric::Fnr(_) => {}
            }
        }
        radii
    }

    /// Every set of flips: its budget and the value it leaves.
    fn subsets(&self, metric: Metric) -> Vec<(f64, Share)> {
        let (radii, p) = (self.radii(metric), self.premises.norm.p());
        let losses = radii.iter().filter(|(loss, _)| *loss).count() as u64;
        (0..1u32 << radii.len())
            .map(|set| {
                let taken = || {
                    radii
                        .iter()
                        .enumerate()
                        .filter(|(n, _)| set >> n & 1 == 1)
                        .map(|(_, r)| r)
                };
                let budget = match p {
                    f64::INFINITY => taken().map(|(_, r)| *r).fold(0.0, f64::max),
                    p => taken().map(|(_, r)| r.powf(p)).sum::<f64>().powf(1.0 / p),
                };
                let lost = taken().filter(|(loss, _)| *loss).count() as u64;
                let gained = taken().count() as u64 - lost;
                let numerator = if metric.higher_is_better() {
                    losses - lost
                } else {
                    lost
                };
                (
                    budget,
                    Share {
                        numerator,
                        denominator: losses + gained,
                    },
                )
            })
            .collect()
    }
}

fn budget(eps: f64) -> Budget {
    Budget::new(eps).unwrap()
}

/// The goal at `hundredths` / 100, without equality where `hundredths` is odd.
fn goal(metric: Metric, hundredths: u32) -> Goal {
    let sign = match (metric.higher_is_better(), hundredths % 2 == 1) {
        (true, false) => "<=",
        (true, true) => "<",
        (false, false) => ">=",
        (false, true) => ">",
    };
    format!("{metric}{sign}{}.{:02}", hundredths / 100, hundredths % 100)
        .parse()
        .unwrap()
}

/// Whether `share` meets [`goal`], in integers.
fn meets(share: Share, metric: Metric, hundredths: u32) -> bool {
    let (value, threshold) = (
        share.numerator * 100,
        share.denominator * u64::from(hundredths),
    );
    match (metric.higher_is_better(), hundredths % 2 == 1) {
        (true, false) => value <= threshold,
        (true, true) => value < threshold,
        (false, false) => value >= threshold,
        (false, true) => value > threshold,
    }
}

/// Whether `a` is at least as bad as `b`.
fn as_bad(metric: Metric, a: Share, b: Share) -> bool {
    if metric.higher_is_better() {
        a <= b
    } else {
        a >= b
    }
}

/// `found` is the worst value that a set of at most `eps` leaves: never better, and equal where no
/// budget is within rounding of `eps`.
fn equals_enumeration(
    metric: Metric,
    found: Share,
    subsets: &[(f64, Share)],
    eps: f64,
) -> Result<(), String> {
    let worst_within = |eps: f64| {
        let within = subsets
            .iter()
            .filter(|(budget, _)| *budget <= eps)
            .map(|(_, share)| *share);
        within
            .reduce(|a, b| if as_bad(metric, a, b) { a } else { b })
            .unwrap()
    };
    let (least, most) = (
        worst_within(eps * (1.0 - CLOSE)),
        worst_within(eps * (1.0 + CLOSE)),
    );
    if as_bad(metric, found, least) && as_bad(metric, most, found) {
        Ok(())
    } else {
        Err(format!(
            "{metric} at {eps}: {found}, enumeration {least} to {most}"
        ))
    }
}

fn case(pixels: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Case> {
    let eta = prop::sample::select(vec![0.0, 0.015625]);
    let lipschitz = prop::sample::select(vec![0.5, 1.0, 3.0]);
    let norm = prop::sample::select(EXPONENTS.to_vec()).prop_map(|p| Norm::new(p).unwrap());
    (2..=4usize, pixels, norm, lipschitz, eta).prop_flat_map(
        |(classes, count, norm, lipschitz, eta)| {
            let logit = (-32..=32i8).prop_map(|n| f32::from(n) / 16.0);
            let pixels = prop::collection::vec(prop::collection::vec(logit, classes), count);
            let label = (0..=classes as u8)
                .prop_map(move |n| if usize::from(n) == classes { VOID } else { n });
            let labels = prop::collection::vec(label, count);
            (pixels, labels).prop_map(move |(pixels, labels)| Case {
                classes,
                pixels,
                labels,
                void: VOID,
                premises: Premises {
                    norm,
                    lipschitz,
                    eta,
                },
            })
        },
    )
}

/// Budgets from none to enough for most images.
fn eps() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 1 => (0..64u8).prop_map(|n| f64::from(n) / 16.0), 6 => 0.0..6.0f64]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn worst_falls_in_eps_and_starts_at_most_clean(case in case(1..=12), a in eps(), b in eps()) {
        for metric in METRICS {
            case.certify(metric, |c| {
                let at = [0.0, a.min(b), a.max(b), f64::INFINITY].map(|eps| c.worst(budget(eps)));
                assert!(as_bad(metric, at[0], c.clean()), "{metric}: {} at 0, clean {}", at[0], c.clean());
                assert!(at.is_sorted_by(|x, y| as_bad(metric, *y, *x)), "{metric} {at:?}");
            });
        }
    }

    #[test]
    fn clean_gaps_above_eta_keep_the_clean_value_at_zero(case in case(1..=12)) {
        for metric in METRICS {
            // no tie, and no pixel within 2·eta
            let tied = case.with(|margins| margins.radii().contains(&0.0));
            let clean = case.certify(metric, |c| c.clean());
            prop_assert!(tied || case.worst(metric, 0.0) == clean, "{metric}");
        }
    }

    #[test]
    fn budget_is_the_inverse_of_worst(case in case(1..=12), hundredths in 0..=100u32) {
        for metric in METRICS {
            case.certify(metric, |c| {
                let reached = |eps: f64| meets(c.worst(budget(eps)), metric, hundredths);
                match c.budget(&goal(metric, hundredths)).unwrap() {
                    None => assert!(!reached(f64::INFINITY), "{metric} {hundredths}"),
                    Some(least) => {
                        assert!(reached(least * (1.0 + CLOSE)), "{metric} {hundredths} {least}");
                        assert!(least == 0.0 || !reached(least * (1.0 - CLOSE)), "{metric} {hundredths} {least}");
                    }
                }
            });
        }
    }

    #[test]
    fn shared_budget_is_no_worse_than_pixel_by_pixel(case in case(1..=12), eps in eps()) {
        case.with(|margins| {
            let robust = margins.predictions().iter().zip(&case.labels).zip(margins.radii());
            let robust = robust.filter(|((p, l), r)| p == l && **r > eps).count() as u64;
            if let Some(worst) = case.worst(Metric::Accuracy, eps) {
                assert!(worst.numerator >= robust, "{worst} {robust}");
            }
        });
    }

    #[test]
    fn order_of_pixels_changes_nothing(case in case(1..=12), eps in eps(), turn in 0..12usize) {
        let mut turned = case.clone();
        let turn = turn % case.labels.len();
        turned.pixels.rotate_left(turn);
        turned.labels.rotate_left(turn);
        turned.pixels.reverse();
        turned.labels.reverse();
        for metric in METRICS {
            prop_assert_eq!(case.report(metric, eps), turned.report(metric, eps));
        }
    }

    /// To the bit: 2 is a power of two.
    #[test]
    fn unit_of_the_logits_changes_nothing(case in case(1..=12), eps in eps()) {
        let mut doubled = case.clone();
        doubled.pixels.iter_mut().flatten().for_each(|v| *v *= 2.0);
        doubled.premises.eta *= 2.0;
        doubled.premises.lipschitz *= 2.0;
        for metric in METRICS {
            prop_assert_eq!(case.report(metric, eps), doubled.report(metric, eps));
        }
    }

    #[test]
    fn void_pixels_count_nowhere_but_in_stability(case in case(1..=12), eps in eps(), shift in 0..32i8) {
        let mut changed = case.clone();
        changed.void = VOID - 1;
        let mut kept = case.clone();
        for (pixel, label) in changed.pixels.iter_mut().zip(&mut changed.labels) {
            if *label == VOID {
                // stays within 2, so that the rounding slack of the margins is almost the same
                pixel.reverse();
                pixel[0] = f32::from(shift - 16) / 16.0;
                *label = changed.void;
            }
        }
        let mut keep = case.labels.iter().map(|label| *label != VOID);
        kept.pixels.retain(|_| keep.next().unwrap());
        kept.labels.retain(|label| *label != VOID);
        for metric in METRICS.into_iter().filter(|metric| metric.needs_labels()) {
            let reports = [&case, &changed].map(|case| case.report(metric, eps + 1e-7));
            let [Some((shares, budgets)), Some((others, other_budgets))] = reports else {
                prop_assert_eq!(&reports[0], &reports[1]);
                continue;
            };
            prop_assert_eq!(&shares, &others);
            for (a, b) in budgets.iter().zip(&other_budgets) {
                prop_assert_eq!(a.is_some(), b.is_some());
                let (a, b) = (a.unwrap_or(0.0), b.unwrap_or(0.0));
                below_and_close(a.min(b), a.max(b), CLOSE).unwrap();
            }
            // and as if they were not there
            prop_assert_eq!(kept.worst(metric, eps + 1e-7), Some(shares[2]));
        }
    }

    #[test]
    fn more_pixels_never_mean_fewer_flips(case in case(2..=12), eps in eps(), cut in 1..12usize) {
        let mut part = case.clone();
        let cut = cut.min(case.labels.len() - 1);
        part.pixels.truncate(cut);
        part.labels.truncate(cut);
        for metric in METRICS.into_iter().filter(|m| !matches!(m, Metric::Iou(_))) {
            let flips = |case: &Case| case.worst(metric, eps + 1e-7).map_or(0, |share| match metric {
                Metric::Fnr(_) => share.numerator,
                _ => share.denominator - share.numerator,
            });
            prop_assert!(flips(&part) <= flips(&case), "{metric}");
        }
    }

    #[test]
    fn worst_equals_the_enumeration_of_all_sets(case in case(1..=8), eps in eps()) {
        for metric in METRICS {
            let Some(found) = case.worst(metric, eps) else { continue };
            equals_enumeration(metric, found, &case.subsets(metric), eps).unwrap();
        }
    }

    /// The least budget of all sets that reach the goal.
    #[test]
    fn budget_equals_the_enumeration_of_all_sets(case in case(1..=8), hundredths in 0..=100u32) {
        for metric in METRICS {
            let Some(found) = case.certify(metric, |c| c.budget(&goal(metric, hundredths)).unwrap()) else { continue };
            let subsets = case.subsets(metric);
            let least = subsets.iter().filter(|(_, share)| meets(*share, metric, hundredths)).map(|(b, _)| *b);
            match (found, least.reduce(f64::min)) {
                (None, None) => {}
                (Some(found), Some(least)) => below_and_close(found, least * (1.0 + 1e-14), CLOSE).unwrap(),
                (found, least) => panic!("{metric} {hundredths}: {found:?}, enumeration {least:?}"),
            }
        }
    }

    /// The map colours the pixels that are taken, and as many as are flipped.
    #[test]
    fn flip_budgets_show_the_flips(case in case(1..=12), eps in eps()) {
        for metric in METRICS {
            case.certify(metric, |c| {
                let (taken, worst) = (c.taken(budget(eps)), c.worst(budget(eps)));
                let count = taken.iter().filter(|t| **t).count() as u64;
                let Some(map) = c.flip_budgets() else {
                    assert!(matches!(metric, Metric::Iou(_)) && count <= c.counted());
                    return;
                };
                let flips = if metric.higher_is_better() { worst.denominator - worst.numerator } else { worst.numerator };
                assert_eq!(count, flips, "{metric}");
                assert_eq!(map.iter().filter(|b| b.is_finite()).count() as u64, c.counted());
                assert!(map.iter().zip(&taken).all(|(b, taken)| !taken || f64::from(*b) <= eps), "{metric}");
            });
        }
    }
}

/// The comparison with enumeration must object to a lost pixel, a budget 0.1 % short, a wrong norm.
#[test]
fn the_comparison_sees_planted_errors() {
    let mut case = Case {
        classes: 2,
        pixels: [1.0, 1.0, 2.0, 0.0]
            .map(|margin| vec![margin, 0.0])
            .to_vec(),
        labels: vec![0, 0, 0, 1],
        void: VOID,
        premises: Premises {
            norm: Norm::L2,
            lipschitz: 1.0,
            eta: 0.0,
        },
    };
    // both pixels of radius 1/sqrt(2), at a budget of 1
    let eps = 1.0005;
    for metric in [
        Metric::Accuracy,
        Metric::Stability,
        Metric::Fnr(0),
        Metric::Iou(0),
    ] {
        let subsets = case.subsets(metric);
        let found = case.worst(metric, eps).unwrap();
        equals_enumeration(metric, found, &subsets, eps).unwrap();
        let [more, fewer] = [found.numerator + 1, found.numerator.wrapping_sub(1)];
        for numerator in [more, fewer] {
            assert!(
                equals_enumeration(metric, Share { numerator, ..found }, &subsets, eps).is_err(),
                "{metric}"
            );
        }
        let other = case.worst(metric, eps * 0.999).unwrap();
        assert!(
            equals_enumeration(metric, other, &subsets, eps).is_err(),
            "{metric}: 0.1 % short"
        );
        case.premises.norm = Norm::LINF;
        let other = case.worst(metric, eps).unwrap();
        assert!(
            equals_enumeration(metric, other, &subsets, eps).is_err(),
            "{metric}: wrong norm"
        );
        case.premises.norm = Norm::L2;
    }
    assert!(meets(
        Share {
            numerator: 1,
            denominator: 2
        },
        Metric::Accuracy,
        50
    ));
    assert!(!meets(
        Share {
            numerator: 1,
            denominator: 2
        },
        Metric::Accuracy,
        49
    ));
    assert!(!meets(
        Share {
            numerator: 1,
            denominator: 2
        },
        Metric::Fnr(0),
        51
    ));
}
