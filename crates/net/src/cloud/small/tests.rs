//! The small PointNet: its constant, its passes, its masks.

use burn::tensor::{DType, Device};

use super::*;
use crate::network::floats;
use crate::parameters::Parameters;
use crate::rng::Rng;

fn settings(lipschitz: bool) -> SmallPointNet {
    SmallPointNet {
        parts: 5,
        local: vec![16, 12],
        global: 24,
        head: vec![20],
        lipschitz,
    }
}

/// Untrained, with shifts that do something.
fn network(nodes: &[Node]) -> Network {
    let mut parameters = Parameters::start(nodes, 3);
    let mut rng = Rng::new(4);
    let all = parameters.raw.values_mut().flatten();
    all.for_each(|x| *x += 0.1 * rng.normal() as f32);
    parameters.bake(nodes).unwrap()
}

fn cloud(points: usize) -> Cloud {
    let mut rng = Rng::new(9);
    Cloud {
        id: "c".into(),
        category: 1,
        points: (0..points)
            .map(|_| [(); 3].map(|()| rng.normal() as f32 / 2.0))
            .collect(),
        normals: Vec::new(),
        labels: (0..points).map(|at| 2 + (at % 3) as u8).collect(),
    }
}

/// f64 scores (K, P) by the definition of the nodes.
fn definition(network: &Network, cloud: &Cloud) -> Vec<f64> {
    let burn = network.on_device(&Device::flex(), DType::F64);
    let x = burn.picture(&picture(&cloud.points), 1, cloud.points.len());
    floats(burn.forward(x.unwrap())).unwrap()
}

#[test]
fn passes_equal_the_definition() {
    for lipschitz in [false, true] {
        let network = network(&settings(lipschitz).nodes());
        let model = SmallModel::new(network.clone()).unwrap();
        for points in [1, 7, 300] {
            let cloud = cloud(points);
            let want = definition(&network, &cloud);
            let mut pass = Inference::<f64>::new(&network, 1, points).unwrap();
            let double = pass.forward(&picture(&cloud.points)).unwrap();
            let far = double.iter().zip(&want).map(|(a, b)| (a - b).abs());
            assert!(far.fold(0.0, f64::max) < 1e-12);

            let scores = model.scores(&cloud.points, &[], 0, 0).unwrap();
            assert_eq!(scores, model.scores(&cloud.points, &[], 3, 0).unwrap());
            let logits = model
                .certifier(points)
                .unwrap()
                .logits(&picture(&cloud.points))
                .unwrap();
            for point in 0..points {
                for class in 0..5 {
                    let score = scores[point * 5 + class];
                    assert_eq!(score, logits.values[class * points + point]);
                    let off = (f64::from(score) - want[class * points + point]).abs();
                    assert!(off <= logits.eta + 1e-12, "{off} {}", logits.eta);
                }
            }
        }
        assert_eq!((model.classes(), model.identity().len()), (5, 64));
    }
}

#[test]
fn points_in_another_order_have_the_same_scores() {
    let model = SmallModel::new(network(&settings(true).nodes())).unwrap();
    let mut cloud = cloud(40);
    let scores = model.scores(&cloud.points, &[], 0, 0).unwrap();
    cloud.points.reverse();
    let turned = model.scores(&cloud.points, &[], 0, 0).unwrap();
    assert!(turned.chunks(5).rev().flatten().eq(&scores));
}

/// The largest ‖f(x) − f(y)‖/‖x − y‖ that is found.
fn steepest(network: &Network, points: usize) -> f64 {
    let mut rng = Rng::new(1);
    let mut found = 0.0f64;
    for round in 0..60 {
        let start = cloud(points);
        let mut moved = start.clone();
        // all points, then single ones
        let single = (round > 5).then(|| rng.below(points as u64) as usize);
        for (at, point) in moved.points.iter_mut().enumerate() {
            if single.is_none_or(|single| single == at) {
                point
                    .iter_mut()
                    .for_each(|v| *v += 0.1 * rng.normal() as f32);
            }
        }
        let apart = |a: &[f64], b: &[f64]| {
            let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
            squares.sum::<f64>().sqrt()
        };
        let wide = |cloud: &Cloud| -> Vec<f64> {
            picture(&cloud.points).into_iter().map(f64::from).collect()
        };
        let rise = apart(&definition(network, &moved), &definition(network, &start));
        found = found.max(rise / apart(&wide(&moved), &wide(&start)));
    }
    found
}

#[test]
fn the_constant_is_the_root_of_two_and_grows_where_the_maximum_is_not_shared() {
    let points = 100;
    let nodes = settings(true).nodes();
    let even = network(&nodes);
    let bound = even.audit(1, points).unwrap().lipschitz;
    assert!((1.0..1.0001 * 2f64.sqrt()).contains(&bound), "{bound}");
    let found = steepest(&even, points);
    assert!(found <= bound && found > 0.2, "{found} {bound}");

    let mut nodes = nodes;
    for node in &mut nodes {
        for branch in node.branches_mut() {
            if let Some(Node::ImageMax { spread }) = branch.last_mut() {
                *spread = Spread::Full;
            }
        }
    }
    let full = network(&nodes);
    let large = full.audit(1, points).unwrap().lipschitz;
    assert!(
        (large / (points as f64 + 1.0).sqrt() - 1.0).abs() < 1e-3,
        "{large}"
    );
    let found = steepest(&full, points);
    assert!(
        found > 1.1 * bound && found <= large,
        "{found} {bound} {large}"
    );
}

#[test]
fn logits_of_a_category_are_those_of_its_parts() {
    let model = SmallModel::new(network(&settings(true).nodes())).unwrap();
    let certifier = model.certifier(30).unwrap();
    let cloud = cloud(30);
    let own = PartLogits::new(&certifier, &cloud, &(2..5)).unwrap();
    let margins = own.margins().unwrap();
    let scores = model.scores(&cloud.points, &[], 1, 0).unwrap();
    for (point, (&class, radius)) in margins
        .predictions()
        .iter()
        .zip(margins.radii())
        .enumerate()
    {
        let mut of = scores[point * 5 + 2..][..3].to_vec();
        let best = of[usize::from(class)];
        of.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(best, of[0]);
        let most = f64::from(of[0] - of[1]) / 2f64.sqrt() / 1.0;
        assert!(
            radius <= most && radius > most / 2f64.sqrt() - 1e-4,
            "{radius} {most}"
        );
    }

    let refused = |parts: Range<u8>| PartLogits::new(&certifier, &cloud, &parts).map(|_| ());
    assert!(matches!(refused(3..6), Err(Error::Setting { .. })));
    assert!(matches!(refused(4..5), Err(Error::Cert(_))));
    // labels of other parts are no classes here
    for parts in [0..2, 3..5] {
        let other = PartLogits::new(&certifier, &cloud, &parts).unwrap();
        assert!(matches!(other.margins(), Err(Error::Cert(_))));
    }
    let short = super::super::Cloud {
        points: vec![[0.0; 3]; 29],
        ..cloud.clone()
    };
    assert!(PartLogits::new(&certifier, &short, &(2..5)).is_err());
}

#[test]
fn settings_out_of_range() {
    assert!(settings(true).check().is_ok());
    assert!(SmallPointNet::default().check().is_err());
    let refused = |change: &dyn Fn(&mut SmallPointNet)| {
        let mut settings = settings(true);
        change(&mut settings);
        settings.check().is_err()
    };
    assert!(refused(&|s| s.parts = 1) && refused(&|s| s.parts = 254));
    assert!(refused(&|s| s.local.clear()) && refused(&|s| s.head = vec![]));
    assert!(refused(&|s| s.global = 7), "MaxMin of 7 channels");
    assert!(refused(&|s| s.local[0] = 0));
}
