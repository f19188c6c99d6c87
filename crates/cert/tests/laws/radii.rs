//! Laws of radii: the rows of a head, and the cost of forcing a class.

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{ClassHead, Conventions, Forced, Metric, Norm};
use proptest::prelude::*;

use crate::case::*;

/// Logits of the features of each pixel, the rows of the head with them. Small integers by
/// sixteenths: exact in f32.
fn with_rows(case: &Case, features: &[Vec<f32>], rows: &[Vec<f32>]) -> Case {
    let logit = |phi: &[f32], row: &[f32]| row.iter().zip(phi).map(|(w, x)| w * x).sum();
    let logits = |phi: &Vec<f32>| rows.iter().map(|row| logit(phi, row)).collect();
    Case {
        classes: rows.len(),
        pixels: features.iter().map(logits).collect(),
        head: Some(ClassHead::new(rows.len(), rows.concat()).unwrap()),
        conventions: Conventions {
            forced: Forced::Pairwise,
            ..case.conventions
        },
        ..case.clone()
    }
}

/// ||a||_q, q dual to p.
fn dual(a: impl Iterator<Item = f64>, p: f64) -> f64 {
    match p {
        1.0 => a.map(f64::abs).fold(0.0, f64::max),
        f64::INFINITY => a.map(f64::abs).sum(),
        p => a
            .map(|v| v.abs().powf(p / (p - 1.0)))
            .sum::<f64>()
            .powf((p - 1.0) / p),
    }
}

/// Largest singular value of rows of two features.
fn spectral(rows: &[Vec<f32>]) -> f64 {
    let gram = |a: usize, b: usize| {
        rows.iter()
            .map(|row| f64::from(row[a]) * f64::from(row[b]))
            .sum::<f64>()
    };
    let (half, difference) = (
        (gram(0, 0) + gram(1, 1)) / 2.0,
        (gram(0, 0) - gram(1, 1)) / 2.0,
    );
    (half + difference.hypot(gram(0, 1))).sqrt()
}

/// Features of two numbers for 12 pixels, and rows of a head on them.
fn two_features() -> impl Strategy<Value = (Vec<Vec<f32>>, Vec<Vec<f32>>)> {
    let pair = |most: i8| prop::collection::vec((-most..=most).prop_map(f32::from), 2);
    let features = prop::collection::vec(
        pair(16).prop_map(|phi| phi.iter().map(|v| v / 16.0).collect()),
        12,
    );
    (features, prop::collection::vec(pair(4), 2..=4usize))
}

/// Labels that fit any number of classes.
fn binary(mut case: Case) -> Case {
    case.labels
        .iter_mut()
        .filter(|label| **label != VOID)
        .for_each(|label| *label %= 2);
    case
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// r = min over j of (f_y - f_j - 2·eta) / (L·||w_y - w_j||_q), and for l2 never below the radius
    /// of L·||W||.
    #[test]
    fn head_gives_the_radius_of_its_rows((features, rows) in two_features(), case in case(12..=12)) {
        let case = with_rows(&binary(case), &features, &rows);
        let premises = &case.premises;
        let (l, p) = (premises.lipschitz, premises.norm.p());
        case.with(|margins| for ((logits, &top), found) in case.pixels.iter().zip(margins.predictions()).zip(margins.radii()) {
            let top = usize::from(top);
            let gap = |j: usize| f64::from(logits[top]) - f64::from(logits[j]) - 2.0 * premises.eta;
            let radius = |j: usize| {
                let distance = dual(rows[top].iter().zip(&rows[j]).map(|(a, b)| f64::from(a - b)), p);
                if gap(j) > 0.0 { gap(j) / (l * distance) } else { 0.0 }
            };
            let others = || (0..rows.len()).filter(|&j| j != top);
            let truth = others().map(radius).fold(f64::INFINITY, f64::min);
            if truth.is_finite() {
                below_and_close(found, truth * (1.0 + 1e-14), CLOSE).unwrap();
            } else {
                assert_eq!(found, truth);
            }
            let margin = others().map(gap).fold(f64::INFINITY, f64::min);
            let global = margin / (2f64.sqrt() * l * spectral(&rows));
            assert!(p != 2.0 || found >= global * (1.0 - CLOSE), "{found} {global}");
        });
    }

    /// Equal rows but for one number, which is as far as orthonormal rows are apart.
    #[test]
    fn identity_head_is_none(case in case(1..=12), eps in eps()) {
        let mut none = case.clone();
        none.conventions.forced = Forced::Pairwise;
        let unit = |class: usize| (0..case.classes).map(|k| f32::from(u8::from(k == class))).collect();
        let rows: Vec<Vec<f32>> = (0..case.classes).map(unit).collect();
        let with = with_rows(&case, &case.pixels, &rows);
        prop_assert_eq!(&with.pixels, &none.pixels);
        for metric in METRICS {
            same_but_for_rounding(&with, &none, metric, eps).unwrap();
        }
    }

    /// Rows (1, 1, 1, 1)/2, (1, -1, 1, -1)/2 and so on.
    #[test]
    fn orthonormal_rows_are_no_head_in_l2(case in case(12..=12), eps in eps(), features in prop::collection::vec(prop::collection::vec(-16..=16i8, 4), 12)) {
        let mut case = binary(case);
        case.in_norm(Norm::L2);
        let rows = [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1i8]];
        let rows = rows.map(|row| row.map(|sign| f32::from(sign) / 2.0).to_vec());
        let features: Vec<Vec<f32>> = features.iter().map(|phi| phi.iter().map(|v| f32::from(*v) / 8.0).collect()).collect();
        let with = with_rows(&case, &features, &rows);
        let none = Case { head: None, ..with.clone() };
        for metric in METRICS {
            same_but_for_rounding(&with, &none, metric, eps).unwrap();
        }
        // and twice the rows are twice the constant
        let doubled = rows.clone().map(|row| row.iter().map(|w| 2.0 * w).collect());
        let halves: Vec<Vec<f32>> = features.iter().map(|phi| phi.iter().map(|v| v / 2.0).collect()).collect();
        let with = with_rows(&case, &halves, &doubled);
        let mut none = Case { head: None, ..with.clone() };
        none.premises.lipschitz *= 2.0;
        for metric in METRICS {
            same_but_for_rounding(&with, &none, metric, eps).unwrap();
        }
    }

    /// Exact costs are at least the pairwise ones, and the same for two classes, for l1 and linf.
    #[test]
    fn exact_forced_costs_are_at_least_pairwise(case in case(1..=12), eps in eps(), p in prop::sample::select(vec![1.0, 2.0, f64::INFINITY])) {
        let [mut exact, mut pairwise] = [(); 2].map(|()| case.clone());
        for (case, forced) in [(&mut exact, Forced::Exact), (&mut pairwise, Forced::Pairwise)] {
            case.in_norm(Norm::new(p).unwrap());
            case.conventions.forced = forced;
        }
        for metric in METRICS {
            if case.classes == 2 || p != 2.0 {
                same_but_for_rounding(&exact, &pairwise, metric, eps).unwrap();
            }
            if let (Some(a), Some(b)) = (pairwise.worst(metric, eps), exact.worst(metric, eps)) {
                prop_assert!(as_bad(metric, a, b), "{}: {} {}", metric, a, b);
            }
        }
        // the cost itself: one pixel of class 0 that has to become class 1
        let mut costs = [exact, pairwise].map(|mut case| {
            case = case.keep(|pixel| pixel == 0);
            (case.labels[0], case.region) = (0, None);
            case.certify(Metric::Fpr(1), |c| c.budget(&goal(Metric::Fpr(1), 100)).unwrap().unwrap()).unwrap()
        });
        if case.classes == 2 || p != 2.0 {
            costs.sort_unstable_by(f64::total_cmp);
            below_and_close(costs[0], costs[1], CLOSE).unwrap();
        }
        prop_assert!(costs[0] >= costs[1] * (1.0 - CLOSE), "{:?}", costs);
    }
}
