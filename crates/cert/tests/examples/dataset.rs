//! Worked examples of means, objects and data sets.

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{
    Conventions, Goal, Grid, Image, Margins, Metric, Norm, Objects, Pool, Value, margins,
    mean_lower,
};

use crate::{F32, TIGHT, budget, least, near, on, pixels, roots, share, unit, worst};

/// Pixels of these labels, each with one logit above the others, by this radius.
fn classes<T>(
    count: usize,
    pixels: &[(u8, f64)],
    conventions: Conventions,
    then: impl FnOnce(&Margins) -> T,
) -> T {
    let logit = |class: usize, (label, radius): (u8, f64)| {
        if usize::from(label) == class {
            radius as f32
        } else {
            0.0
        }
    };
    let logits: Vec<f32> = (0..count)
        .flat_map(|class| pixels.iter().map(move |pixel| logit(class, *pixel)))
        .collect();
    let labels: Vec<u8> = pixels.iter().map(|(label, _)| *label).collect();
    let image = Image::new(
        Grid::new(count, 1, labels.len()).unwrap(),
        &logits,
        Some(&labels),
        None,
    )
    .unwrap();
    then(
        &margins(&image, &unit(Norm::L2))
            .unwrap()
            .with(conventions)
            .unwrap(),
    )
}

#[test]
fn t09_mean_class_accuracy() {
    let mut pixels: Vec<(u8, f64)> = roots([0.01, 0.04, 0.09, 0.16]).map(|r| (0, r)).to_vec();
    pixels.extend(roots([0.05, 0.30]).map(|r| (1, r)));
    let worst = |pixels: &[(u8, f64)], count| {
        let of = |margins: &Margins| {
            Metric::MeanClassAccuracy
                .certify(margins)
                .unwrap()
                .unwrap()
                .worst(budget(0.15f64.sqrt()))
        };
        classes(count, pixels, Conventions::default(), of)
    };
    // two classes: exact, and so above the fractional bound
    let exact = worst(&pixels, 2);
    assert_eq!(exact, share(1, 2));
    let fractional = 31.0 / 72.0;
    assert!(exact.lower() > fractional && exact.lower() <= fractional + 0.25);
    // three, one of them out of reach: the fractional bound of the two
    pixels.push((2, 9.0));
    let found = worst(&pixels, 3).lower();
    near(found, (2.0 * fractional + 1.0) / 3.0);
    assert!(found < (2.0 * 0.5 + 1.0) / 3.0);
}

#[test]
fn t10_mean_iou_is_tight_by_its_prices() {
    let pixels: Vec<(u8, f64)> = (0..16u8).map(|pixel| (pixel / 4, 1.0)).collect();
    classes(4, &pixels, Conventions::default(), |margins| {
        let certificate = Metric::Miou.certify(margins).unwrap().unwrap();
        for (square, truth, decoupled) in [(1f64, 71.0 / 80.0, (3, 4)), (2.0, 31.0 / 40.0, (1, 2))]
        {
            let eps = budget(square.sqrt());
            below_and_close(certificate.worst(eps).lower(), truth, F32).unwrap();
            let alone = Metric::Iou(0).certify(margins).unwrap().unwrap().worst(eps);
            assert_eq!(alone, share(decoupled.0, decoupled.1));
        }
    });
}

#[test]
fn t11_objects() {
    let objects = [vec![0.01, 0.04, 0.09], vec![0.02, 0.03], vec![0.10]];
    // with a pixel of another class behind each
    let pixels: Vec<(u8, f64)> = objects
        .iter()
        .flat_map(|costs| {
            let inside = costs.iter().map(|cost: &f64| (0, cost.sqrt()));
            inside.chain([(1, 1.0)]).collect::<Vec<_>>()
        })
        .collect();
    for (coverage, squares) in [(0, [0.14, 0.05, 0.10]), (50, [0.05, 0.02, 0.10])] {
        let rule = Objects {
            coverage,
            ..Objects::default()
        };
        classes(
            2,
            &pixels,
            Conventions {
                objects: rule,
                ..Conventions::default()
            },
            |margins| {
                for metric in [Metric::Objects(0), Metric::StableObjects(0)] {
                    let found = margins.objects(metric).unwrap();
                    assert_eq!(
                        found
                            .iter()
                            .map(|o| (o.first, o.pixels))
                            .collect::<Vec<_>>(),
                        [(0, 3), (4, 2), (7, 1)]
                    );
                    for (object, truth) in found.iter().zip(roots(squares)) {
                        near(object.budget, truth);
                    }
                    let certificate = metric.certify(margins).unwrap().unwrap();
                    assert_eq!(certificate.worst(budget(0.4)), share(1, 3));
                }
            },
        );
    }
}

/// The answers of a pool at one eps.
fn pooled(metric: Metric, images: &[[&[f64]; 2]], eps: f64) -> Pool {
    let mut pool = Pool::new(metric, 2, &[budget(eps)], true).unwrap();
    for lists in images {
        pixels(*lists, unit(Norm::L2), |margins| pool.add(margins).unwrap());
    }
    pool
}

#[test]
fn t12_accuracy_of_a_data_set() {
    let (first, second) = ([0.0, 0.1, 0.2, 0.3], roots([0.02, 0.02, 0.5]));
    let shares = [
        worst(&first, Metric::Accuracy, 0.21),
        worst(&second, Metric::Accuracy, 0.21),
    ];
    assert_eq!(shares, [share(2, 4), share(1, 3)]);
    let pool = pooled(Metric::Accuracy, &[[&first, &[]], [&second, &[]]], 0.21);
    assert_eq!(pool.worst(), [Some(share(3, 7))]);
    assert_eq!(pool.sum_of_image_minima(), [None]);
    // another number than the mean of the images
    below_and_close(
        mean_lower(&shares.map(Value::lower)).unwrap(),
        5.0 / 12.0,
        TIGHT,
    )
    .unwrap();
}

#[test]
fn t12_iou_of_a_data_set() {
    let [one, two] = [[0.2; 4], [0.015f64.sqrt(); 4]];
    let (few, some, lost) = (roots([0.05; 2]), roots([0.03; 3]), [0.0; 4]);
    let more = [two[0]; 5];
    let none = [0.1; 8];
    let images: [[&[f64]; 2]; 4] = [[&one, &more], [&few, &some], [&lost, &[]], [&[], &none]];
    let alone = [0, 1, 2].map(|image| on(images[image], Metric::Iou(0), Norm::L2, 0.285));
    assert_eq!(alone, [share(4, 9), share(1, 3), share(0, 4)]);
    let three = pooled(Metric::Iou(0), &images[..3], 0.285);
    assert_eq!(three.worst(), [Some(share(3, 11))]);
    // the released code adds up the minimisers, and leaves images without the class out
    let released = three.sum_of_image_minima()[0].unwrap();
    assert_eq!(released, share(5, 16));
    assert!(Metric::Iou(0).is_worse(share(3, 11), released));
    let four = pooled(Metric::Iou(0), &images, 0.285);
    assert_eq!(
        (four.worst(), four.undefined()),
        (vec![Some(share(3, 19))], 1)
    );
    assert!(Metric::Iou(0).is_worse(share(3, 19), released));
    // and over the classes a mean: class 1 has its whole budget too
    let mean = pooled(Metric::Miou, &images, 0.285).worst()[0]
        .unwrap()
        .lower();
    let other = pooled(Metric::Iou(1), &images, 0.285).worst()[0]
        .unwrap()
        .lower();
    near(mean, (3.0 / 19.0 + other) / 2.0);
}

#[test]
fn t13_budgets_of_a_data_set() {
    let common = |images: &[[&[f64]; 2]], goal: &str| {
        let goal: Goal = goal.parse().unwrap();
        pooled(goal.metric, images, 0.0)
            .budget(&goal)
            .unwrap()
            .unwrap()
    };
    // a: four of the seven flip budgets
    let (first, second) = ([0.0, 0.1, 0.2, 0.3], roots([0.02, 0.02, 0.5]));
    let mut map = [&first[..], &second]
        .map(|radii| {
            pixels([radii, &[]], unit(Norm::L2), |margins| {
                Metric::Accuracy
                    .certify(margins)
                    .unwrap()
                    .unwrap()
                    .flip_budgets()
                    .unwrap()
                    .unwrap()
            })
        })
        .concat();
    map.sort_unstable_by(f32::total_cmp);
    for (found, truth) in map.iter().zip([
        0.0,
        0.1,
        0.141421356,
        0.2,
        0.223606798,
        0.374165739,
        0.734846923,
    ]) {
        near(f64::from(*found), truth);
    }
    near(
        common(&[[&first, &[]], [&second, &[]]], "accuracy<=0.5"),
        0.2,
    );
    near(least(&first, "accuracy<=0.5"), 0.1);
    near(least(&second, "accuracy<=0.5"), 0.2);
    // b: the paper's mean of the images' budgets is none of the data set
    let fnr = [0.05, 1.0].map(|r| least(&[r; 2], "fnr:0>=0.5"));
    let (mean, together) = (
        mean_lower(&fnr).unwrap(),
        common(&[[&[0.05; 2], &[]], [&[1.0; 2], &[]]], "fnr:0>=0.5"),
    );
    near(mean, 0.525);
    near(together, 0.005f64.sqrt());
    assert!(mean > 7.0 * together);
    // c
    for radius in [0.1, 1.0] {
        near(least(&[radius; 4], "stability<=0.5"), radius * 2f64.sqrt());
    }
}
