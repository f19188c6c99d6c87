//! Worked examples through the public surface: logits in, shares and budgets out. Where the paper
//! or its released code gives another value, that value is here too, and must differ.

mod dataset;

use std::f64::consts::FRAC_1_SQRT_2;

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{
    Budget, ClassHead, Conventions, Error, Forced, Goal, Grid, Image, Layer, Margins, Metric, Norm,
    Premises, Share, Value, audit, margins, margins_with_head, predictions,
};

/// Radii such as 0.1 are given by f32 logits, and budgets of the map are f32: 6e-8 each.
const F32: f64 = 1e-6;
/// Six f64 operations, and a slack that covers them.
const TIGHT: f64 = 1e-9;
/// E1 in tenths, so that ties are exact; 0 is a wrong pixel.
const E1: [f64; 5] = [2.0, 4.0, 1.0, 0.0, 10.0];

fn share(numerator: u64, denominator: u64) -> Value {
    Value::Share(Share {
        numerator,
        denominator,
    })
}

fn budget(eps: f64) -> Budget {
    Budget::new(eps).unwrap()
}

fn near(found: f64, truth: f64) {
    assert!((found - truth).abs() <= F32 * truth, "{found} {truth}");
}

/// L for which the radius is the gap: 2^((1-p)/p).
fn unit(norm: Norm) -> Premises {
    let lipschitz = [1.0, FRAC_1_SQRT_2, 0.5][[Norm::L1, Norm::L2, Norm::LINF]
        .iter()
        .position(|n| *n == norm)
        .unwrap()];
    Premises::new(norm, lipschitz, 0.0).unwrap()
}

/// A row of pixels of two classes: these of label 0, then those of label 1, with these radii, and
/// each 0 a wrong pixel.
fn pixels<T>(
    [zeros, ones]: [&[f64]; 2],
    premises: Premises,
    then: impl FnOnce(&Margins) -> T,
) -> T {
    let wrong = |r: f64| if r == 0.0 { -1.0 } else { r };
    let gaps = zeros
        .iter()
        .map(|r| wrong(*r))
        .chain(ones.iter().map(|r| -wrong(*r)));
    let gaps: Vec<f32> = gaps.map(|gap| gap as f32).collect();
    let count = gaps.len();
    let logits = [gaps, vec![0.0; count]].concat();
    let labels = [vec![0; zeros.len()], vec![1; ones.len()]].concat();
    let image = Image::new(
        Grid::new(2, 1, count).unwrap(),
        &logits,
        Some(&labels),
        None,
    )
    .unwrap();
    then(&margins(&image, &premises).unwrap())
}

fn on(lists: [&[f64]; 2], metric: Metric, norm: Norm, eps: f64) -> Value {
    pixels(lists, unit(norm), |margins| {
        metric.certify(margins).unwrap().unwrap().worst(budget(eps))
    })
}

fn worst(radii: &[f64], metric: Metric, eps: f64) -> Value {
    on([radii, &[]], metric, Norm::L2, eps)
}

fn least_of(lists: [&[f64]; 2], norm: Norm, goal: &str) -> f64 {
    let goal: Goal = goal.parse().unwrap();
    pixels(lists, unit(norm), |margins| {
        goal.metric
            .certify(margins)
            .unwrap()
            .unwrap()
            .budget(&goal)
            .unwrap()
            .unwrap()
    })
}

fn least(radii: &[f64], goal: &str) -> f64 {
    least_of([radii, &[]], Norm::L2, goal)
}

/// E(n) of an accuracy.
fn flips(radii: &[f64], n: usize) -> f64 {
    let of = |margins: &Margins| {
        Metric::Accuracy
            .certify(margins)
            .unwrap()
            .unwrap()
            .budget_where(|i, _| i >= n)
    };
    pixels([radii, &[]], unit(Norm::L2), of).unwrap()
}

fn roots<const N: usize>(squares: [f64; N]) -> [f64; N] {
    squares.map(f64::sqrt)
}

#[test]
fn example_e1_accuracy_counts_and_ties() {
    for (eps, left, pixelwise) in [
        (0.0, 4, 4),
        (1.0, 3, 3),
        (5f64.sqrt(), 2, 2),
        (2.5, 2, 2),
        (4.2, 2, 1),
    ] {
        assert_eq!(worst(&E1, Metric::Accuracy, eps), share(left, 5), "{eps}");
        let robust = pixels([&E1, &[]], unit(Norm::L2), |margins| {
            let right = margins
                .radii()
                .into_iter()
                .zip(margins.predictions())
                .filter(|(_, p)| **p == 0);
            right.filter(|(radius, _)| *radius > eps).count()
        });
        assert_eq!(robust, pixelwise, "{eps}");
    }
    // the released code calls a pixel at its boundary robust, and at 0 the wrong one too
    for (eps, released) in [(1.0, share(4, 5)), (0.0, share(5, 5))] {
        assert_ne!(worst(&E1, Metric::Accuracy, eps), released);
    }
}

#[test]
fn example_e2_counts_of_a_goal() {
    let table = [0.0, 0.0, 1.0, 5f64.sqrt(), 21f64.sqrt(), 11.0];
    for (n, truth) in table.into_iter().enumerate() {
        below_and_close(flips(&E1, n), truth, TIGHT).unwrap();
    }
    // goal, flips, and those of the paper, ceil(threshold · 5)
    for (goal, n, paper) in [
        ("accuracy<=0.8", 1, 4),
        ("accuracy<0.8", 2, 4),
        ("accuracy<=0.6", 2, 3),
        ("accuracy<0.6", 3, 3),
        ("accuracy<=0.4", 3, 2),
    ] {
        assert_eq!(least(&E1, goal), flips(&E1, n), "{goal}");
        assert_eq!(
            flips(&E1, paper) > flips(&E1, n),
            paper > n,
            "{goal}: the paper over-claims"
        );
        assert_eq!(flips(&E1, paper) != flips(&E1, n), paper != n, "{goal}");
    }
    // the released code reads one pixel too far, and divides squares by L instead of L²
    let fnr = least(&E1, "fnr:0>=0.4");
    below_and_close(fnr, 1.0, TIGHT).unwrap();
    let (one_too_many, l) = (flips(&E1, 3), 4f64);
    assert!(one_too_many > 2.2 * fnr && one_too_many * l.sqrt() > 4.4 * fnr);
}

#[test]
fn example_e3_both_lists_and_the_missing_factor() {
    // in twentieths
    let lists: [&[f64]; 2] = [&[0.0, 2.0, 6.0], &[0.0, 4.0, 5.0]];
    for (metric, left) in [
        (Metric::Iou(0), share(1, 5)),
        (Metric::Dice(0), share(1, 3)),
        (Metric::Precision(0), share(1, 3)),
        (Metric::Recall(0), share(1, 3)),
        (Metric::Specificity(0), share(1, 3)),
    ] {
        assert_eq!(on(lists, metric, Norm::L2, 5.0), left, "{metric}");
        assert_eq!(on(lists, metric, Norm::L2, 6.6), share(0, 1), "{metric}");
    }
    for (goal, square) in [
        ("iou:0<=0.5", 0.0),
        ("iou:0<=0.3", 4.0),
        ("iou:0<=0.2", 20.0),
        ("iou:0<=0", 40f64),
    ] {
        below_and_close(least_of(lists, Norm::L2, goal), square.sqrt(), TIGHT).unwrap();
    }
    // as printed, costs are twice these: radii sqrt(2) too large
    let printed = Premises::new(Norm::L2, 0.5, 0.0).unwrap();
    let printed = pixels(lists, printed, |margins| {
        Metric::Iou(0)
            .certify(margins)
            .unwrap()
            .unwrap()
            .worst(budget(5.0))
    });
    assert_eq!(printed, share(1, 4));
    // which the identity of logits, 1-Lipschitz, refutes: costs of 4 and 16 move two pixels past a tie
    let root = 2f32.sqrt();
    let mut logits = [
        -1.0,
        2.0 * root,
        6.0 * root,
        1.0,
        -4.0 * root,
        -5.0 * root,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    ];
    let clean = logits;
    for (pixel, step) in [(1, -root - 0.01), (4, 2.0 * root + 0.01)] {
        logits[pixel] += step;
        logits[pixel + 6] -= step;
    }
    let norm = logits
        .iter()
        .zip(clean)
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum::<f64>()
        .sqrt();
    let grid = Grid::new(2, 1, 6).unwrap();
    let attacked = predictions(grid, &logits).unwrap();
    let image = Image::new(grid, &clean, Some(&[0, 0, 0, 1, 1, 1]), None).unwrap();
    let margins = margins(&image, &Premises::new(Norm::L2, 1.0, 0.0).unwrap()).unwrap();
    let left = margins.value(Metric::Iou(0), &attacked).unwrap().unwrap();
    assert!(norm < 5.0 && left == share(1, 5) && Metric::Iou(0).is_worse(left, printed));
}

#[test]
fn example_e4_forced_class() {
    let force = |logits: &[f32], forced: Forced| {
        let grid = Grid::new(logits.len(), 1, 1).unwrap();
        let image = Image::new(grid, logits, Some(&[1]), None).unwrap();
        let premises = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
        let conventions = Conventions {
            forced,
            ..Conventions::default()
        };
        let margins = margins(&image, &premises)
            .unwrap()
            .with(conventions)
            .unwrap();
        let certificate = Metric::Fpr(0).certify(&margins).unwrap().unwrap();
        certificate
            .budget(&"fpr:0>=1".parse().unwrap())
            .unwrap()
            .unwrap()
    };
    let tied = [0.0, 1.0, 1.0];
    below_and_close(force(&tied, Forced::Pairwise), 0.5f64.sqrt(), TIGHT).unwrap();
    below_and_close(force(&tied, Forced::Exact), (2.0 / 3.0f64).sqrt(), TIGHT).unwrap();
    for forced in [Forced::Pairwise, Forced::Exact] {
        near(force(&[0.0, 2f32.sqrt(), 0.0, 0.0], forced), 1.0);
    }
}

#[test]
fn example_e5_norms() {
    for (norm, radius) in [
        (Norm::L1, 1.0),
        (Norm::L2, 0.5f64.sqrt()),
        (Norm::LINF, 0.5),
    ] {
        let premises = Premises::new(norm, 1.0, 0.0).unwrap();
        let radii = pixels([&[1.0], &[]], premises, |margins| margins.radii());
        below_and_close(radii[0], radius, TIGHT).unwrap();
    }
    for (norm, eps, left) in [
        (Norm::L1, 3.5, 2),
        (Norm::LINF, 2.5, 2),
        (Norm::LINF, 4.2, 1),
    ] {
        assert_eq!(on([&E1, &[]], Metric::Accuracy, norm, eps), share(left, 5));
    }
    below_and_close(
        least_of([&E1, &[]], Norm::LINF, "accuracy<=0.6"),
        1.0,
        TIGHT,
    )
    .unwrap();
    let iou = on(
        [&[0.0, 2.0, 6.0], &[0.0, 4.0, 5.0]],
        Metric::Iou(0),
        Norm::LINF,
        5.0,
    );
    assert_eq!(iou, share(1, 6));
}

#[test]
fn t06_flip_budget_map() {
    let map = pixels([&E1, &[]], unit(Norm::L2), |margins| {
        let certificate = Metric::Accuracy.certify(margins).unwrap().unwrap();
        let taken = certificate.taken(budget(2.5)).unwrap();
        assert_eq!(taken.unwrap(), [true, false, true, true, false]);
        assert_eq!(certificate.worst(budget(2.5)), share(2, 5));
        certificate.flip_budgets().unwrap().unwrap()
    });
    for (found, truth) in map.iter().zip(roots([5.0, 21.0, 1.0, 0.0, 121.0])) {
        assert!(
            (f64::from(*found) - truth).abs() <= F32 * truth,
            "{found} {truth}"
        );
    }
    assert_eq!(map.iter().filter(|b| **b <= 2.5).count(), 3);
    // the radii themselves, and a rank too many, are no such map
    assert!((f64::from(map[0]) - 2.0).abs() > F32 && (f64::from(map[2]) - 5f64.sqrt()).abs() > F32);
}

/// Of pixels of radius 1 in l1 the budget is the number of flips.
#[test]
fn t07_rounding_of_the_threshold() {
    let flips = |size: usize, goal: &str| least_of([&vec![1.0; size], &[]], Norm::L1, goal);
    // threshold and size, and what the paper counts: ceil in floats, or nothing rounded
    for (size, goal, n, paper) in [
        (10, "accuracy<=0.7", 3.0, ((1.0 - 0.7) * 10f64).ceil()),
        (20, "accuracy<=0.85", 3.0, ((1.0 - 0.85) * 20f64).ceil()),
        (20, "accuracy<=0.95", 1.0, ((1.0 - 0.95) * 20f64).ceil()),
        (1000, "accuracy<=0.7", 300.0, ((1.0 - 0.7) * 1000f64).ceil()),
        (100, "fnr:0>=0.07", 7.0, (0.07 * 100f64).ceil()),
        (3, "fnr:0>=0.5", 2.0, 0.5 * 3.0),
    ] {
        below_and_close(flips(size, goal), n, TIGHT).unwrap();
        assert_ne!(n, paper, "{goal}");
    }
    below_and_close(flips(20, "fnr:0>=0.35"), 7.0, TIGHT).unwrap();
}

/// Six pixels, three classes, L = 2, the last pixel void.
fn t08<T>(void_label: u8, forced: Forced, then: impl FnOnce(&Margins) -> T) -> T {
    let pixels = [
        [3, 1, 0],
        [1, 1, 0],
        [0, 2, 0],
        [2, 1, 1],
        [0, 1, 4],
        [5, 0, 0],
    ];
    let logits: Vec<f32> = (0..3)
        .flat_map(|class| pixels.map(|p| p[class] as f32))
        .collect();
    let labels = [0, 0, 1, 1, 2, void_label];
    let image = Image::new(
        Grid::new(3, 2, 3).unwrap(),
        &logits,
        Some(&labels),
        Some(255),
    )
    .unwrap();
    let margins = margins(&image, &Premises::new(Norm::L2, 2.0, 0.0).unwrap()).unwrap();
    then(
        &margins
            .with(Conventions {
                forced,
                ..Conventions::default()
            })
            .unwrap(),
    )
}

#[test]
fn t08_one_fixture_for_everything() {
    t08(255, Forced::Pairwise, |margins| {
        assert_eq!(margins.predictions(), [0, 0, 1, 0, 2, 0]);
        for (radius, truth) in margins
            .radii()
            .iter()
            .zip(roots([0.5, 0.0, 0.5, 0.125, 1.125, 3.125]))
        {
            below_and_close(*radius, truth, TIGHT).unwrap();
        }
        let certify = |metric: Metric| metric.certify(margins).unwrap().unwrap();
        let accuracy = certify(Metric::Accuracy);
        assert_eq!((accuracy.clean(), accuracy.counted()), (share(4, 5), 5));
        for (eps, correct) in [(0.0, 3), (0.3, 3), (0.8, 2)] {
            assert_eq!(accuracy.worst(budget(eps)), share(correct, 5), "{eps}");
        }
        for goal in ["stability@50", "stability<=0.5"] {
            let half = certify(Metric::Stability)
                .budget(&goal.parse().unwrap())
                .unwrap();
            below_and_close(half.unwrap(), 0.625f64.sqrt(), TIGHT).unwrap();
        }
        for (class, shares) in [
            (0, [(1, 3), (1, 3), (1, 3), (0, 1)]),
            (1, [(1, 3), (1, 3), (1, 3), (0, 1)]),
            (2, [(1, 1), (1, 1), (1, 3), (1, 3)]),
        ] {
            let certificate = certify(Metric::Iou(class));
            assert_eq!(certificate.counted(), 5);
            for (eps, (numerator, denominator)) in [0.0, 0.3, 0.51, 0.8].into_iter().zip(shares) {
                assert_eq!(
                    certificate.worst(budget(eps)),
                    share(numerator, denominator),
                    "class {class} at {eps}"
                );
            }
        }
    });
    t08(255, Forced::Exact, |margins| {
        let certify = |metric: Metric| metric.certify(margins).unwrap().unwrap();
        assert_eq!(certify(Metric::Iou(2)).worst(budget(0.51)), share(1, 2));
        // between what the classes give one by one, and the true optimum
        for (eps, decoupled, truth) in [
            (0.0, 5.0 / 9.0, 5.0 / 9.0),
            (0.3, 5.0 / 9.0, 5.0 / 9.0),
            (0.51, 7.0 / 18.0, 4.0 / 9.0),
            (0.8, 1.0 / 9.0, 0.25),
        ] {
            let found = certify(Metric::Miou).worst(budget(eps)).lower();
            assert!(
                decoupled - TIGHT <= found && found <= truth,
                "{eps}: {found}"
            );
        }
    });
    // the paper counts the void pixel among those that may become class 0
    let counted = t08(2, Forced::Pairwise, |margins| {
        Metric::Iou(0)
            .certify(margins)
            .unwrap()
            .unwrap()
            .worst(budget(0.0))
    });
    assert_eq!(counted, share(1, 4));
}

#[test]
fn t14_rows_of_the_head() {
    let with = |rows: &[f32], logits: &[f32]| {
        let image = Image::new(Grid::new(3, 1, 1).unwrap(), logits, None, None).unwrap();
        let head = ClassHead::new(3, rows.to_vec()).unwrap();
        margins_with_head(&image, &Premises::new(Norm::L2, 1.0, 0.0).unwrap(), &head)
            .unwrap()
            .radii()[0]
    };
    let without = |logits: &[f32], l: f64| {
        let image = Image::new(Grid::new(3, 1, 1).unwrap(), logits, None, None).unwrap();
        margins(&image, &Premises::new(Norm::L2, l, 0.0).unwrap())
            .unwrap()
            .radii()[0]
    };
    // a: the norm of the whole head, and a factor 2, are 2.5 and 2.2 times worse
    let logits = [1.0, 0.6, -1.0];
    near(
        with(&[1.0, 0.0, 0.6, 0.8, -1.0, 0.0], &logits),
        0.2f64.sqrt(),
    );
    near(without(&logits, 1.5763520), 0.1794286);
    near(without(&logits, 2f64.sqrt()), 0.2);
    // b: the third class is nearer than the second
    near(
        with(&[1.0, 0.0, 1.0, 0.5, -1.0, -1.0], &[1.0, 0.5, 0.0]),
        0.2f64.sqrt(),
    );
    // a head of other classes
    let image = Image::new(Grid::new(3, 1, 1).unwrap(), &logits, None, None).unwrap();
    let head = ClassHead::new(2, vec![1.0, 0.0]).unwrap();
    let refused = margins_with_head(&image, &unit(Norm::L2), &head).unwrap_err();
    assert_eq!(
        refused,
        Error::HeadClasses {
            got: 2,
            expected: 3
        }
    );
}

/// A rotation whose first column is (-1, 1, -1, 1)/2, onto two pixels of two classes: a step of 1
/// in l1, which is 1 in l2 too, closes both margins of 1.
#[test]
fn t15_l1_costs_with_an_l2_network_are_unsound() {
    // class 0 of both pixels, then class 1
    let (clean, column) = ([1f32, 1.0, 0.0, 0.0], [-0.5f32, -0.5, 0.5, 0.5]);
    let attacked: Vec<f32> = clean.iter().zip(column).map(|(f, step)| f + step).collect();
    assert_eq!(attacked[..2], attacked[2..], "two ties");
    let image = Image::new(Grid::new(2, 1, 2).unwrap(), &clean, None, None).unwrap();
    let left = |premises: Premises| {
        let margins = margins(&image, &premises).unwrap();
        Metric::Stability
            .certify(&margins)
            .unwrap()
            .unwrap()
            .worst(budget(1.0))
    };
    let l2 = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
    assert_eq!(left(l2), share(0, 2));
    assert_eq!(left(l2.in_norm(Norm::L1, 4).unwrap()), share(0, 2));
    let unsound = left(Premises::new(Norm::L1, 1.0, 0.0).unwrap());
    assert!(Metric::Stability.is_worse(share(0, 2), unsound) && unsound == share(1, 2));
}

#[test]
fn t16_units() {
    let std = [0.229, 0.224, 0.225];
    let found = audit(&[Layer::Normalize { std: &std }], 128, 128)
        .unwrap()
        .lipschitz;
    near(found, 4.4642857);
    // 1/255 in linf on 3·128·128 values is 0.8694216 in l2: the factor is in the constant
    let l2 = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
    let converted = l2.in_norm(Norm::LINF, 3 * 128 * 128).unwrap();
    near(converted.lipschitz / 255.0, 0.8694216);
    let margin = |premises| pixels([&[1.0], &[]], premises, |margins| margins.radii())[0];
    near(margin(l2) / margin(converted), 221.7025);
}

/// A million costs of 1e-8: a running f32 sum gives 0.010465.
#[test]
fn t17_a_million_small_costs() {
    let count = 1 << 20;
    let radii = vec![1e-4; count];
    let cost = f64::from(1e-4f32).powi(2);
    below_and_close(flips(&radii, count), (count as f64 * cost).sqrt(), TIGHT).unwrap();
    let f32_sum = (0..count).fold(0f32, |sum, _| sum + 1e-8);
    assert!((f64::from(f32_sum) - 0.010465).abs() < F32, "{f32_sum}");
    assert!(f64::from(f32_sum) < 0.999 * count as f64 * cost);
}
