//! The project's law, attacked ≥ certified: on small random networks, on a trained one, and on a
//! linear one where the certificate is tight.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use certiseg_cert::{Metric, Norm};
use certiseg_net::architecture::{Architecture, Preset, Size};
use certiseg_net::attack::{Attack, Criterion, Suite};
use certiseg_net::compare::{Arena, Assault, Comparison};
use certiseg_net::data::{Pictures, Sample, shapes};
use certiseg_net::device::Compute;
use certiseg_net::loss::Loss;
use certiseg_net::network::Network;
use certiseg_net::node::{Conv, Node};
use certiseg_net::parameters::Parameters;
use certiseg_net::train::{End, State, Train, train};

const METRICS: [Metric; 15] = [
    Metric::Accuracy,
    Metric::Stability,
    Metric::Recall(1),
    Metric::Fnr(0),
    Metric::Fnr(1),
    Metric::Fpr(0),
    Metric::Specificity(1),
    Metric::Precision(1),
    Metric::Dice(0),
    Metric::Iou(0),
    Metric::Iou(2),
    Metric::MeanClassAccuracy,
    Metric::Miou,
    Metric::Objects(1),
    Metric::StableObjects(0),
];
const EPS: [f64; 4] = [0.0, 0.05, 0.3, 1.0];

/// Everything, at few steps and few candidates.
fn assault(eps: &[f64]) -> Assault {
    let mut suite = Suite::named("strong", Some(6)).unwrap();
    let random = ["pgd-002", "pgd", "fgm"].map(str::to_owned);
    let random = Suite::of(&random, Some(6)).unwrap();
    suite.entries.extend(random.entries);
    for entry in &mut suite.entries {
        if let Attack::Lqa(settings) = &mut entry.attack {
            (settings.candidates, settings.rounds) = (24, 1);
        }
    }
    Assault {
        norm: Norm::L2,
        eps: eps.to_vec(),
        suite,
        seed: 7,
        timed: false,
    }
}

fn criteria() -> Vec<Criterion> {
    let words = ["accuracy", "iou:0", "vanish:1"];
    words.map(|word| word.parse().unwrap()).into()
}

/// Flips gained over clean by the attack and allowed by the certificate, summed over budgets; every
/// cell of the law is checked on the way.
fn law(network: &Network, samples: &[Sample]) -> (u64, u64) {
    let arena = Arena::new(network, [samples[0].height, samples[0].width]).unwrap();
    let (mut gained, mut allowed) = (0, 0);
    for sample in samples {
        let linf = [Criterion::Metric(Metric::Accuracy)];
        for (norm, criteria) in [(Norm::L2, &criteria()[..]), (Norm::LINF, &linf)] {
            let assault = Assault {
                norm,
                ..assault(&EPS)
            };
            let seen = arena.compare(sample, &METRICS, criteria, &assault).unwrap();
            assert_eq!(seen.violations(&METRICS), [], "{}", sample.id);
            let (g, a) = flips(&seen);
            if norm == Norm::L2 {
                gained += g;
                allowed += a;
            }
        }
    }
    (gained, allowed)
}

fn flips(seen: &Comparison) -> (u64, u64) {
    let bounds = seen.bounds[0].as_ref().unwrap();
    let clean = bounds.clean.share().unwrap().numerator;
    let (mut gained, mut allowed) = (0, 0);
    for (strike, worst) in seen.strikes.iter().zip(&bounds.worst) {
        for (_, round) in &strike.rounds {
            assert!(round.best.distance <= strike.eps);
            assert!(round.best.image.iter().all(|x| (0.0..=1.0).contains(x)));
        }
        gained += clean - strike.hits[0].value.unwrap().share().unwrap().numerator;
        allowed += clean - worst.share().unwrap().numerator;
    }
    (gained, allowed)
}

#[test]
fn random_networks() {
    for (preset, seed) in [(Preset::Plain, 1), (Preset::Paper, 2)] {
        let settings = Architecture {
            size: Size::Xs,
            preset,
            classes: 4,
            rates: vec![1, 2],
            ..Architecture::default()
        };
        let nodes = settings.resolve(32).unwrap().nodes();
        let network = Parameters::start(&nodes, seed).bake(&nodes).unwrap();
        law(&network, &shapes(seed, 2, 32));
    }
}

#[test]
#[ignore = "minutes: make slow"]
fn networks_of_size_s() {
    for (preset, seed) in [(Preset::Plain, 3), (Preset::Paper, 4)] {
        let settings = Architecture {
            size: Size::S,
            preset,
            classes: 4,
            ..Architecture::default()
        };
        let nodes = settings.resolve(64).unwrap().nodes();
        let network = Parameters::start(&nodes, seed).bake(&nodes).unwrap();
        law(&network, &shapes(seed, 4, 64));
    }
}

#[test]
fn a_trained_network() {
    let settings = Train {
        epochs: 40,
        batch: 4,
        height: 32,
        width: 32,
        rate: 5e-3,
        loss: Loss::CrossEntropy { temperature: 10.0 },
        network: Architecture {
            size: Size::Xs,
            classes: 4,
            ..Architecture::default()
        },
        ..Train::default()
    };
    let samples = shapes(5, 24, 32);
    let mut state = State::start(settings).unwrap();
    let pictures = Arc::new(Pictures::of(samples).unwrap());
    let none = Pictures::of(Vec::new()).unwrap();
    let ended = train(&mut state, &pictures, &none, &Compute::Cpu, &mut |_, _| {
        ControlFlow::Continue(())
    });
    assert_eq!(ended.unwrap(), End::Done);
    let (gained, allowed) = law(&state.bake().unwrap(), &shapes(6, 3, 32));
    assert!(gained > 0, "the attack is idle: {gained} of {allowed}");
}

/// f(x) = x − 0.5 on three channels and three classes: L = 1, and flipping a set of pixels costs
/// exactly √(Σ m²/2).
fn linear() -> Network {
    let head = Conv::same("head", 3, 3, 1);
    let normalize = Node::Normalize {
        mean: vec![0.5; 3],
        std: vec![1.0; 3],
    };
    let identity = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let tensors = BTreeMap::from([("head.weight".to_owned(), identity)]);
    Network::new(vec![normalize, Node::Conv(head)], tensors).unwrap()
}

/// Colours in [0.3, 0.7], so that no flip meets the box; labels are the brightest channel, but for
/// every tenth pixel void and every twentieth wrong.
fn linear_sample(seed: u64) -> Sample {
    let mut rng = certiseg_net::rng::Rng::new(seed);
    let pixels = 16 * 16;
    let image: Vec<u8> = (0..3 * pixels).map(|_| 77 + rng.below(102) as u8).collect();
    let mask = (0..pixels).map(|at| {
        let brightest = (0..3).max_by_key(|c| image[c * pixels + at]).unwrap_or(0);
        match at % 20 {
            0 | 10 => 255,
            5 => ((brightest + 1) % 3) as u8,
            _ => brightest as u8,
        }
    });
    Sample {
        id: seed.to_string(),
        height: 16,
        width: 16,
        mask: Some(mask.collect()),
        image,
    }
}

#[test]
fn a_linear_network_where_the_certificate_is_tight() {
    let network = linear();
    let lipschitz = network.audit(16, 16).unwrap().lipschitz;
    assert!((1.0..1.0 + 1e-9).contains(&lipschitz), "{lipschitz}");
    let samples: Vec<_> = (0..4).map(linear_sample).collect();
    let (gained, allowed) = law(&network, &samples);
    // a bound twice too generous would leave less than half
    let share = gained as f64 / allowed as f64;
    assert!(share > 0.8, "{gained} of {allowed}");
}

#[test]
fn a_network_that_blinds_its_own_arithmetic_is_certified_nothing() {
    // +2^60 and -2^60 between picture and head: both passes give 0 and agree
    let mut network = linear();
    let head = network.nodes.pop().unwrap();
    for (name, value) in [("up", 2f32.powi(60)), ("down", -2f32.powi(60))] {
        let shift = Node::Shift {
            name: name.into(),
            channels: 3,
        };
        network.nodes.push(shift);
        network
            .tensors
            .insert(format!("{name}.shift"), vec![value; 3]);
    }
    network.nodes.push(head);
    let arena = Arena::new(&network, [16, 16]).unwrap();
    let sample = linear_sample(0);
    let seen = arena
        .compare(&sample, &METRICS, &criteria(), &assault(&[0.0]))
        .unwrap();
    assert!(seen.premises.eta > 1.0);
    assert_eq!(seen.bounds[0].as_ref().unwrap().worst[0].lower(), 0.0);
}

#[test]
fn a_constant_too_small_is_caught() {
    // 0.7 of the true one: the certificate claims budgets 1.4 times too large
    let mut arena = Arena::new(&linear(), [16, 16]).unwrap();
    arena.lipschitz *= 0.7;
    let seen = arena
        .compare(&linear_sample(0), &METRICS, &criteria(), &assault(&EPS))
        .unwrap();
    assert!(!seen.violations(&METRICS).is_empty());
}

#[test]
fn a_given_picture_is_held_to_what_is_certified_at_its_distance() {
    let mut arena = Arena::new(&linear(), [16, 16]).unwrap();
    let sample = linear_sample(0);
    let accuracy = [Criterion::Metric(Metric::Accuracy)];
    let found = arena.compare(&sample, &METRICS, &accuracy, &assault(&[1.0]));
    let saved = [vec![
        found.unwrap().strikes[0].rounds[0].1.best.image.clone(),
    ]];
    // nothing is certified within this budget
    let budgets = (Norm::L2, &[100.0][..]);
    let beaten = |arena: &Arena, criteria: &[Criterion]| {
        let seen = arena.compare_saved(&sample, &METRICS, criteria, budgets, &saved);
        seen.unwrap().violations(&METRICS)
    };
    assert_eq!(beaten(&arena, &accuracy), []);
    arena.lipschitz *= 0.3;
    // the same where nothing counts of what is said to have been attacked
    for criteria in [accuracy, [Criterion::Custom(Vec::new())]] {
        assert!(beaten(&arena, &criteria).contains(&(Metric::Accuracy, 100.0)));
    }
}
