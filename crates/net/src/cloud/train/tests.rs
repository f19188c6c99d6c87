//! Training on clouds: it learns, it is the same again, and what it certifies no attack changes.

use burn::tensor::activation::log_softmax;

use super::super::CloudModel;
use super::super::small::{PartLogits, SmallModel, picture};
use super::*;

/// Balls whose parts are an upper and a lower half, and, in another category that looks the same, a left and
/// a right one: only who is told the category can label both.
fn data(count: usize, points: usize) -> (Vec<Cloud>, Catalogue) {
    let catalogue = Catalogue {
        names: vec!["layers".into(), "sides".into()],
        parts: vec![0..2, 2..4],
    };
    let cloud = |at: usize| {
        let mut rng = Rng::keyed(77, &[at as u64]);
        let category = (at % 2) as u8;
        let points: Vec<[f32; 3]> = (0..points)
            .map(|_| [(); 3].map(|()| (2.0 * rng.uniform() - 1.0) as f32 / 2.0))
            .collect();
        let axis = if category == 0 { 2 } else { 0 };
        let label = |point: &[f32; 3]| 2 * category + u8::from(point[axis] > 0.0);
        Cloud {
            id: format!("{at}"),
            category,
            labels: points.iter().map(label).collect(),
            points,
            normals: Vec::new(),
        }
    };
    ((0..count).map(cloud).collect(), catalogue)
}

fn settings(lipschitz: bool) -> CloudTrain {
    CloudTrain {
        network: SmallPointNet {
            parts: 4,
            local: vec![16, 16],
            global: 16,
            head: vec![16],
            lipschitz,
        },
        epochs: 8,
        batch: 8,
        rate: 1e-2,
        temperature: if lipschitz { 8.0 } else { 1.0 },
        sigma: 0.05,
        scale: [1.0, 1.0],
        shift: 0.0,
        ..CloudTrain::default()
    }
}

fn no_watch(_: u64, _: f64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Share of points with their own label among the parts of the category.
fn accuracy(model: &SmallModel, clouds: &[Cloud], catalogue: &Catalogue) -> f64 {
    let (mut right, mut all) = (0, 0);
    for cloud in clouds {
        let scores = model.scores(&cloud.points, &[], cloud.category, 0).unwrap();
        let parts = &catalogue.parts[usize::from(cloud.category)];
        for (scores, &label) in scores.chunks(4).zip(&cloud.labels) {
            let of = |part: &u8| scores[usize::from(*part)];
            let best = parts.clone().max_by(|a, b| of(a).total_cmp(&of(b)));
            right += usize::from(best == Some(label));
            all += 1;
        }
    }
    right as f64 / all as f64
}

#[test]
fn both_networks_learn_the_parts_of_categories_that_look_alike() {
    let (clouds, catalogue) = data(64, 64);
    let (fit, unseen) = clouds.split_at(48);
    for lipschitz in [false, true] {
        let mut losses = Vec::new();
        let network = train(&settings(lipschitz), fit, &catalogue, &mut |epoch, loss| {
            losses.push(loss);
            assert_eq!(losses.len() as u64, epoch);
            ControlFlow::Continue(())
        });
        let model = SmallModel::new(network.unwrap()).unwrap();
        let right = accuracy(&model, unseen, &catalogue);
        assert!(right > 0.9, "{lipschitz} {right} {losses:?}");
        assert!(losses[7] < 0.5 * losses[0], "{losses:?}");
    }
}

/// Points that are no longer labelled as `labels` say after an attack of l2 norm `eps` on all coordinates.
fn attacked(model: &SmallModel, cloud: &Cloud, parts: &std::ops::Range<u8>, eps: f64) -> usize {
    let device = Compute::Cpu.training();
    let net = model.network().on_device(&device, DType::F32);
    let count = cloud.points.len();
    let clean = picture(&cloud.points);
    let (first, most) = (usize::from(parts.start), parts.len());
    let labels: Vec<u8> = cloud
        .labels
        .iter()
        .map(|label| label - parts.start)
        .collect();
    let targets = Targets::new(&labels, [1, 1, count], &vec![1.0; most], &device);
    let mut moved = clean.clone();
    let mut worst = 0;
    for _ in 0..30 {
        let x = net.picture(&moved, 1, count).unwrap().require_grad();
        let logits = net.forward(x.clone()).narrow(1, first, most);
        let flat = floats(logits.clone()).unwrap();
        let wrong = |point: &usize| {
            let of = |part: usize| flat[part * count + point];
            let best = (1..most).fold(
                0,
                |best, part| if of(part) > of(best) { part } else { best },
            );
            best != usize::from(labels[*point])
        };
        worst = worst.max((0..count).filter(wrong).count());
        // points close to the border count most: soft errors, not their logarithms
        let gain = log_softmax(logits.mul_scalar(40.0), 1).exp();
        let gain = cross_entropy(gain, &targets, 1.0);
        let gradient = x.grad_remove(&mut gain.backward()).unwrap();
        let gradient: Vec<f64> = floats(gradient).unwrap();
        let length = gradient
            .iter()
            .map(|g| g * g)
            .sum::<f64>()
            .sqrt()
            .max(1e-30);
        let mut step: Vec<f64> = (0..3 * count)
            .map(|at| f64::from(moved[at] - clean[at]) + 0.3 * eps * gradient[at] / length)
            .collect();
        let norm = step.iter().map(|s| s * s).sum::<f64>().sqrt();
        // a hair inside: f32 rounds
        let back = (0.999 * eps / norm).min(1.0);
        step.iter_mut().for_each(|s| *s *= back);
        moved = (0..3 * count)
            .map(|at| clean[at] + step[at] as f32)
            .collect();
    }
    worst
}

#[test]
fn no_attack_changes_more_points_than_the_certificate_says() {
    let (clouds, catalogue) = data(48, 64);
    let network = train(&settings(true), &clouds[..40], &catalogue, &mut no_watch).unwrap();
    let model = SmallModel::new(network).unwrap();
    let certifier = model.certifier(64).unwrap();
    let (mut gained, mut allowed) = (0, 0);
    for cloud in &clouds[40..] {
        let parts = &catalogue.parts[usize::from(cloud.category)];
        let own = PartLogits::new(&certifier, cloud, parts).unwrap();
        let margins = own.margins().unwrap();
        for eps in [0.1, 0.4] {
            let budget = certiseg_cert::Budget::new(eps).unwrap();
            let worst = certiseg_cert::Metric::Accuracy.worst(&margins, budget);
            let certified: f64 = worst.unwrap().unwrap().lower();
            let wrong = attacked(&model, cloud, parts, eps);
            let right = 1.0 - wrong as f64 / 64.0;
            assert!(right >= certified, "{right} {certified}");
            gained += wrong;
            allowed += ((1.0 - certified) * 64.0).round() as usize;
        }
    }
    // the attack is not idle, and the certificate not empty
    assert!(gained > 20 && allowed < 8 * 2 * 64, "{gained} {allowed}");
}

#[test]
fn same_seed_same_bits() {
    let (clouds, catalogue) = data(6, 10);
    let run = |seed| {
        let settings = CloudTrain {
            epochs: 2,
            batch: 4,
            turn: true,
            scale: [0.8, 1.25],
            shift: 0.1,
            seed,
            ..settings(false)
        };
        train(&settings, &clouds, &catalogue, &mut no_watch).unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let mut epochs = 0;
    let broken = train(&settings(true), &clouds, &catalogue, &mut |_, _| {
        epochs += 1;
        ControlFlow::Break(())
    });
    assert!(broken.is_ok() && epochs == 1);
}

#[test]
fn what_is_seen_has_the_noise_and_the_turn_of_the_settings() {
    let (clouds, _) = data(1, 4000);
    let settings = CloudTrain {
        sigma: 0.25,
        ..settings(true)
    };
    let seen = settings.seen(&clouds[0], 1, 0);
    let clean = picture(&clouds[0].points);
    let noise: Vec<f64> = seen
        .iter()
        .zip(&clean)
        .map(|(a, b)| f64::from(a - b))
        .collect();
    let variance = noise.iter().map(|n| n * n).sum::<f64>() / noise.len() as f64;
    // five standard errors of 12000 squares
    assert!(
        (variance / 0.0625 - 1.0).abs() < 5.0 * (2.0 / 12_000f64).sqrt(),
        "{variance}"
    );
    assert_ne!(settings.seen(&clouds[0], 2, 0), seen);

    let turned = CloudTrain {
        sigma: 0.0,
        turn: true,
        ..settings
    };
    let seen = turned.seen(&clouds[0], 1, 0);
    let square = |p: &[f32], at: usize| f64::from(p[at]).powi(2) + f64::from(p[4000 + at]).powi(2);
    for at in 0..4000 {
        assert!((square(&seen, at) - square(&clean, at)).abs() < 1e-6);
        assert_eq!(seen[8000 + at], clean[8000 + at]);
    }
    assert_ne!(seen[..8000], clean[..8000]);
}

/// The field that something is refused by.
fn refused(result: Result<Network>) -> String {
    match result {
        Err(Error::Setting { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_and_data_that_do_not_fit() {
    let (clouds, catalogue) = data(2, 5);
    let with = |change: &dyn Fn(&mut CloudTrain)| {
        let mut settings = settings(true);
        change(&mut settings);
        refused(train(&settings, &clouds, &catalogue, &mut no_watch))
    };
    assert_eq!(with(&|s| s.epochs = 0), "epochs");
    assert_eq!(with(&|s| s.batch = 0), "batch");
    assert_eq!(with(&|s| s.rate = f64::NAN), "rate");
    assert_eq!(with(&|s| s.last_rate = -1.0), "last_rate");
    assert_eq!(with(&|s| s.clip = -1.0), "clip");
    assert_eq!(with(&|s| s.adamw.betas[1] = 1.0), "adamw.betas");
    assert_eq!(with(&|s| s.adamw.epsilon = 0.0), "adamw.epsilon");
    assert_eq!(with(&|s| s.adamw.weight_decay = -0.1), "adamw.weight_decay");
    assert_eq!(with(&|s| s.temperature = 0.0), "temperature");
    assert_eq!(with(&|s| s.sigma = 11.0), "sigma");
    assert_eq!(with(&|s| s.scale = [2.0, 1.0]), "scale");
    assert_eq!(with(&|s| s.shift = f64::INFINITY), "shift");
    assert_eq!(with(&|s| s.mean_decay = 1.0), "mean_decay");
    assert_eq!(with(&|s| s.network.parts = 3), "network.parts");

    let with = |change: &dyn Fn(&mut Cloud)| {
        let mut clouds = clouds.clone();
        change(&mut clouds[1]);
        refused(train(&settings(true), &clouds, &catalogue, &mut no_watch))
    };
    let points = "number of points of 1";
    assert_eq!(with(&|c| c.labels.clear()), "number of labels of 1");
    let fewer = |c: &mut Cloud| {
        c.points.truncate(4);
        c.labels.truncate(4);
    };
    assert_eq!(with(&fewer), points);
    let mut other = clouds.clone();
    other[1].labels[3] = 0;
    let bad = train(&settings(true), &other, &catalogue, &mut no_watch);
    assert!(matches!(bad, Err(Error::BadCloud { .. })), "{bad:?}");
    let none = train(&settings(true), &[], &catalogue, &mut no_watch);
    assert_eq!(refused(none), "clouds");
}
