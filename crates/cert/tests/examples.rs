//! Worked examples through the public surface: logits in, shares and budgets out.

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{
    Budget, Error, Goal, Grid, Image, Layer, Margins, Metric, Norm, Premises, Share, audit,
    margins, mean_lower,
};

/// Radii such as 0.1 are given by f32 logits, and budgets of the map are f32: 6e-8 each.
const F32: f64 = 1e-6;
/// Six f64 operations, and a slack that covers them.
const TIGHT: f64 = 1e-9;

fn share(numerator: u64, denominator: u64) -> Share {
    Share {
        numerator,
        denominator,
    }
}

fn budget(eps: f64) -> Budget {
    Budget::new(eps).unwrap()
}

/// Pixels of two classes, all labelled 0, with these radii at L = 1, p = 2; 0 is a wrong pixel.
fn with_radii<T>(radii: &[f64], then: impl FnOnce(&Margins) -> T) -> T {
    let first = radii.iter().map(|r| (r * 2f64.sqrt()) as f32);
    let second = radii.iter().map(|r| if *r == 0.0 { 1.0 } else { 0.0 });
    let logits: Vec<f32> = first.chain(second).collect();
    let labels = vec![0; radii.len()];
    let image = Image::new(
        Grid::new(2, 1, radii.len()).unwrap(),
        &logits,
        Some(&labels),
        None,
    )
    .unwrap();
    then(
        &margins(
            &image,
            &Premises {
                norm: Norm::L2,
                lipschitz: 1.0,
                eta: 0.0,
            },
        )
        .unwrap(),
    )
}

fn worst(radii: &[f64], metric: Metric, eps: f64) -> Share {
    with_radii(radii, |margins| {
        metric.certify(margins).unwrap().unwrap().worst(budget(eps))
    })
}

fn least(radii: &[f64], goal: &str) -> f64 {
    let goal: Goal = goal.parse().unwrap();
    with_radii(radii, |margins| {
        goal.metric
            .certify(margins)
            .unwrap()
            .unwrap()
            .budget(&goal)
            .unwrap()
            .unwrap()
    })
}

#[test]
fn t6_flip_budget_map() {
    let map = with_radii(&[0.2, 0.4, 0.1, 0.0, 1.0], |margins| {
        let certificate = Metric::Accuracy.certify(margins).unwrap().unwrap();
        assert_eq!(
            certificate.taken(budget(0.25)),
            [true, false, true, true, false]
        );
        assert_eq!(certificate.worst(budget(0.25)), share(2, 5));
        certificate.flip_budgets().unwrap()
    });
    for (found, square) in map.iter().zip([0.05, 0.21, 0.01, 0.0, 1.21f64]) {
        let truth = square.sqrt();
        assert!(
            (f64::from(*found) - truth).abs() <= F32 * truth,
            "{found} {truth}"
        );
    }
    assert_eq!(map.iter().filter(|b| **b <= 0.25).count(), 3);
    // the radii themselves, and a rank too many, are no such map
    assert!(
        (f64::from(map[0]) - 0.2).abs() > F32 && (f64::from(map[2]) - 0.05f64.sqrt()).abs() > F32
    );
}

/// Six pixels, three classes, L = 2, the last pixel void.
fn t8<T>(void_label: u8, then: impl FnOnce(&Margins) -> T) -> T {
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
    then(
        &margins(
            &image,
            &Premises {
                norm: Norm::L2,
                lipschitz: 2.0,
                eta: 0.0,
            },
        )
        .unwrap(),
    )
}

#[test]
fn t8_one_fixture_for_everything() {
    t8(255, |margins| {
        assert_eq!(margins.predictions(), [0, 0, 1, 0, 2, 0]);
        for (radius, square) in margins
            .radii()
            .iter()
            .zip([0.5, 0.0, 0.5, 0.125, 1.125, 3.125f64])
        {
            below_and_close(*radius, square.sqrt(), TIGHT).unwrap();
        }
        let certify = |metric: Metric| metric.certify(margins).unwrap().unwrap();
        let accuracy = certify(Metric::Accuracy);
        assert_eq!((accuracy.clean(), accuracy.counted()), (share(4, 5), 5));
        for (eps, correct) in [(0.0, 3), (0.3, 3), (0.8, 2)] {
            assert_eq!(accuracy.worst(budget(eps)), share(correct, 5), "{eps}");
        }
        let half = certify(Metric::Stability).budget(&"stability<=0.5".parse().unwrap());
        below_and_close(half.unwrap().unwrap(), 0.625f64.sqrt(), TIGHT).unwrap();
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
    // were the void pixel counted, class 0 would drop to 1/4
    let counted = t8(2, |margins| {
        Metric::Iou(0)
            .certify(margins)
            .unwrap()
            .unwrap()
            .worst(budget(0.0))
    });
    assert_eq!(counted, share(1, 4));
}

#[test]
fn t12_accuracy_of_two_images() {
    let images = [
        vec![0.0, 0.1, 0.2, 0.3],
        vec![0.02f64.sqrt(), 0.02f64.sqrt(), 0.5f64.sqrt()],
    ];
    let shares = images.map(|radii| worst(&radii, Metric::Accuracy, 0.21));
    assert_eq!(shares, [share(2, 4), share(1, 3)]);
    assert_eq!(Metric::Accuracy.pooled(shares), Ok(Some(share(3, 7))));
    below_and_close(
        mean_lower(&shares.map(Share::lower)).unwrap(),
        5.0 / 12.0,
        TIGHT,
    )
    .unwrap();
    // the sum of per-image minimisers is no bound of the pooled IoU
    assert_eq!(
        Metric::Iou(0).pooled(shares),
        Err(Error::NotPooled {
            metric: Metric::Iou(0)
        })
    );
}

#[test]
fn t13_radii_of_two_images() {
    // b: costs 0.0025 twice, 1 twice
    let fnr = [0.05, 1.0].map(|r| least(&[r; 2], "fnr:0>=0.5"));
    let mean = mean_lower(&fnr).unwrap();
    assert!((mean - 0.525).abs() < F32, "{mean}");
    assert!(
        (mean - 0.005f64.sqrt()).abs() > 0.4,
        "the mean is not the radius of the data set"
    );
    // c
    for radius in [0.1, 1.0] {
        let (found, answer) = (least(&[radius; 4], "stability<=0.5"), radius * 2f64.sqrt());
        assert!((found - answer).abs() < F32 * answer, "{found} {answer}");
    }
}

#[test]
fn t16_units() {
    let std = [0.229, 0.224, 0.225];
    let found = audit(&[Layer::Normalize { std: &std }], 128, 128)
        .unwrap()
        .lipschitz;
    assert!((found - 4.4642857).abs() < F32 * found, "{found}");
}
