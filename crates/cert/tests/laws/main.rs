//! Laws that every metric obeys, on images of 1 to 12 pixels with logits in sixteenths.

mod answers;
mod case;
mod radii;

use case::*;
use certiseg_cert::testing::below_and_close;
use certiseg_cert::{Claim, Forced, Metric, Norm, Premises, Value};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn worst_falls_in_eps_and_starts_at_most_clean(case in case(1..=12), a in eps(), b in eps()) {
        for metric in METRICS {
            case.certify(metric, |c| {
                let [clean, none, less, more] = [c.clean(), c.worst(budget(0.0)), c.worst(budget(a.min(b))), c.worst(budget(a.max(b)))];
                assert!(metric.cautious(none) <= metric.cautious(clean) || !metric.higher_is_better());
                assert!(as_bad(metric, none, clean) && as_bad(metric, less, none) && as_bad(metric, more, less), "{metric}");
                assert!(as_bad(metric, c.worst(budget(f64::INFINITY)), more), "{metric}");
            });
        }
    }

    #[test]
    fn clean_gaps_above_eta_keep_the_clean_value_at_zero(case in case(1..=12)) {
        for metric in METRICS {
            // no tie, and no pixel within 2·eta
            let tied = case.with(|margins| margins.radii().contains(&0.0));
            let values = case.certify(metric, |c| [c.clean(), c.worst(budget(0.0))].map(|value| metric.cautious(value)));
            prop_assert!(tied || values.is_none_or(|[clean, none]| (clean - none).abs() <= CLOSE), "{metric} {values:?}");
        }
    }

    #[test]
    fn budget_is_the_inverse_of_worst(case in case(1..=12), hundredths in 0..=100u32) {
        for metric in METRICS {
            case.certify(metric, |c| {
                let threshold = f64::from(hundredths) / 100.0;
                // by how much a value may miss the threshold, and still be called there or not there
                let reached = |eps: f64, miss: f64| match c.worst(budget(eps)) {
                    Value::Share(share) => meets(share, metric, hundredths),
                    value => value.lower() <= threshold + miss,
                };
                match c.budget(&goal(metric, hundredths)).unwrap() {
                    None => assert!(!reached(f64::MAX, -SEARCHED), "{metric} {hundredths}"),
                    Some(least) => {
                        assert!(reached(least * (1.0 + CLOSE), SEARCHED), "{metric} {hundredths} {least}");
                        assert!(least == 0.0 || !reached(least * (1.0 - CLOSE), -SEARCHED), "{metric} {hundredths} {least}");
                    }
                }
            });
        }
    }

    #[test]
    fn shared_budget_is_no_worse_than_pixel_by_pixel(case in case(1..=12), eps in eps()) {
        case.with(|margins| {
            let robust = margins.predictions().iter().zip(&case.labels).zip(margins.radii()).enumerate();
            let robust = robust.filter(|(pixel, ((p, l), r))| case.counts(*pixel) && p == l && *r > eps).count() as u64;
            if let Some(worst) = case.worst(Metric::Accuracy, eps) {
                assert!(worst.share().unwrap().numerator >= robust, "{worst} {robust}");
            }
        });
    }

    #[test]
    fn order_of_pixels_changes_nothing(case in case(1..=12), eps in eps(), turn in 0..12usize) {
        let count = case.labels.len();
        let order = |at: &dyn Fn(usize) -> usize| Case {
            pixels: (0..count).map(|pixel| case.pixels[at(pixel)].clone()).collect(),
            labels: (0..count).map(|pixel| case.labels[at(pixel)]).collect(),
            region: case.region.as_ref().map(|region| (0..count).map(|pixel| region[at(pixel)]).collect()),
            ..case.clone()
        };
        let (mirrored, turned) = (order(&|pixel| count - 1 - pixel), order(&|pixel| (pixel + turn) % count));
        for metric in METRICS {
            prop_assert_eq!(case.report(metric, eps), mirrored.report(metric, eps));
            // which tears objects apart
            prop_assert!(is_of_objects(metric) || case.report(metric, eps) == turned.report(metric, eps));
        }
    }

    /// To the bit: 2 is a power of two, and sixteenths below 64 are exact in f32.
    #[test]
    fn unit_and_offset_of_the_logits_change_nothing(case in case(1..=12), eps in eps(), offset in -32..=32i8) {
        let [mut doubled, mut moved, mut tripled] = [(); 3].map(|()| case.clone());
        doubled.pixels.iter_mut().flatten().for_each(|v| *v *= 2.0);
        doubled.premises.eta *= 2.0;
        doubled.premises.lipschitz *= 2.0;
        tripled.pixels.iter_mut().flatten().for_each(|v| *v *= 3.0);
        tripled.premises.eta *= 3.0;
        tripled.premises.lipschitz *= 3.0;
        for (pixel, logits) in moved.pixels.iter_mut().enumerate() {
            logits.iter_mut().for_each(|v| *v += f32::from(offset) * pixel as f32 / 16.0);
        }
        for metric in METRICS {
            prop_assert_eq!(case.report(metric, eps), doubled.report(metric, eps));
            prop_assert_eq!(case.report(metric, eps), moved.report(metric, eps));
            same_but_for_rounding(&case, &tripled, metric, eps).unwrap();
        }
    }

    #[test]
    fn claim_about_the_program_takes_eta_twice_as_often(mut case in case(1..=12), eps in eps()) {
        let mut doubled = case.clone();
        doubled.premises.eta *= 2.0;
        case.premises.claim = Claim::Program;
        for metric in METRICS {
            prop_assert_eq!(case.report(metric, eps), doubled.report(metric, eps));
        }
    }

    #[test]
    fn another_norm_is_a_factor_of_the_constant(mut case in case(1..=12), eps in eps(), p in prop::sample::select(EXPONENTS.to_vec()), values in 1..100usize) {
        case.in_norm(Norm::L2);
        let mut scaled = case.clone();
        let norm = Norm::new(p).unwrap();
        case.premises = case.premises.in_norm(norm, values).unwrap();
        prop_assert_eq!(case.premises.budgets(), norm);
        scaled.premises.lipschitz *= (values as f64).powf((0.5 - 1.0 / p).max(0.0));
        for metric in METRICS {
            same_but_for_rounding(&case, &scaled, metric, eps).unwrap();
        }
    }

    #[test]
    fn void_pixels_count_nowhere_but_in_stability(case in case(1..=12), eps in eps(), shift in 0..32i8) {
        let mut changed = case.clone();
        changed.void = VOID - 1;
        for (pixel, label) in changed.pixels.iter_mut().zip(&mut changed.labels) {
            if *label == VOID {
                pixel.reverse();
                pixel[0] = f32::from(shift - 16) / 16.0;
                *label = changed.void;
            }
        }
        let kept = case.keep(|pixel| case.labels[pixel] != VOID);
        for metric in METRICS.into_iter().filter(|metric| metric.needs_labels()) {
            same_but_for_rounding(&case, &changed, metric, eps).unwrap();
            // and as if they were not there; objects would join
            if is_of_objects(metric) { continue }
            if kept.labels.is_empty() {
                prop_assert_eq!(case.worst(metric, eps), None);
            } else {
                same_but_for_rounding(&kept, &case, metric, eps).unwrap();
            }
        }
    }

    /// The region is the image cut to it, and for labels as good as void outside.
    #[test]
    fn region_is_the_image_cut_to_it(mut case in case(1..=12), eps in eps(), from in 0..12usize, to in 0..12usize) {
        let count = case.labels.len();
        let window = from.min(to).min(count - 1)..=from.max(to).min(count - 1);
        if let Some(region) = case.region.take() {
            let mut void = case.clone();
            for (label, _) in void.labels.iter_mut().zip(&region).filter(|(_, inside)| !**inside) {
                *label = VOID;
            }
            case.region = Some(region);
            for metric in METRICS.into_iter().filter(|metric| metric.needs_labels()) {
                prop_assert_eq!(case.report(metric, eps), void.report(metric, eps));
            }
        }
        case.region = None;
        let cut = case.keep(|pixel| window.contains(&pixel));
        case.region = Some((0..count).map(|pixel| window.contains(&pixel)).collect());
        for metric in METRICS {
            same_but_for_rounding(&cut, &case, metric, eps).unwrap();
        }
    }

    #[test]
    fn more_pixels_never_mean_fewer_flips(case in case(2..=12), eps in eps(), cut in 1..12usize) {
        let part = case.keep(|pixel| pixel < cut);
        for metric in of_lists().filter(|metric| !is_ratio(*metric)) {
            let flips = |case: &Case, eps| case.certify(metric, |c| c.lost_and_gained(budget(eps)).unwrap()[0]);
            prop_assert!(flips(&part, eps) <= flips(&case, eps * (1.0 + CLOSE)), "{metric}");
        }
    }

    #[test]
    fn worst_equals_the_enumeration_of_all_sets(mut case in case(1..=8), eps in eps()) {
        case.conventions.forced = Forced::Pairwise;
        for metric in of_lists() {
            let Some(found) = case.worst(metric, eps) else { continue };
            equals_enumeration(metric, found, &case.subsets(metric), eps).unwrap();
        }
    }

    /// The least budget of all sets that reach the goal.
    #[test]
    fn budget_equals_the_enumeration_of_all_sets(mut case in case(1..=8), hundredths in 0..=100u32) {
        case.conventions.forced = Forced::Pairwise;
        for metric in of_lists() {
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

    /// Costs in integers: the square of a budget is at most the exact sum, which a fused product sees.
    #[test]
    fn budgets_are_at_most_those_of_exact_arithmetic(mut case in case(1..=12), p in prop::sample::select(vec![1.0, 2.0, f64::INFINITY])) {
        case.premises = Premises::new(Norm::new(p).unwrap(), 1.0, 0.0).unwrap();
        for metric in [Metric::Accuracy, Metric::Stability, Metric::Recall(0), Metric::Fpr(1)] {
            // forced pairwise; the gap in sixteenths, from the radius that the definition gives
            case.conventions.forced = Forced::Pairwise;
            let factor = match p { 1.0 => 16.0, 2.0 => 16.0 * 2f64.sqrt(), _ => 32.0 };
            let mut gaps: Vec<u32> = case.radii(metric).iter().map(|(_, r)| (r * factor).round() as u32).collect();
            gaps.sort_unstable();
            case.certify(metric, |c| for n in 1..=gaps.len() {
                let least = c.budget_where(|i, _| i >= n).unwrap();
                let sum = |power| gaps[..n].iter().map(|gap| f64::from(gap.pow(power))).sum::<f64>();
                let exact = match p { 1.0 => sum(1) / 16.0, 2.0 => sum(2) / 512.0, _ => f64::from(gaps[n - 1]) / 32.0 };
                let below = if p == 2.0 { least.mul_add(least, -exact) <= 0.0 } else { least <= exact };
                let truth = if p == 2.0 { exact.sqrt() } else { exact };
                assert!(below && least >= truth * (1.0 - CLOSE), "{metric} {n}: {least} {exact}");
            });
        }
    }
}

#[test]
fn the_same_bits_on_every_thread() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let cases: Vec<Case> = (0..64)
        .map(|_| case(1..=12).new_tree(&mut runner).unwrap().current())
        .collect();
    let reports = || -> Vec<Report> {
        cases
            .iter()
            .flat_map(|case| METRICS.map(|metric| case.report(metric, 1.0)))
            .collect()
    };
    let once = reports();
    for threads in [2, 8] {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads).map(|_| scope.spawn(reports)).collect();
            assert!(all.into_iter().all(|thread| thread.join().unwrap() == once));
        });
    }
}
