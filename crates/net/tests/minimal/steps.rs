//! Step by step against the public attacks.

use certiseg_cert::Norm;
use certiseg_net::attack::minimal::alma::Alma;
use certiseg_net::attack::minimal::alma_prox::AlmaProx;
use certiseg_net::attack::minimal::asma::Asma;
use certiseg_net::attack::minimal::dag::Dag;
use certiseg_net::attack::minimal::pdgd::Pdgd;
use certiseg_net::attack::minimal::pdpgd::Pdpgd;
use certiseg_net::attack::minimal::{Goal, Masking, Method};
use certiseg_net::attack::{Duel, Scene};
use certiseg_net::rng::Rng;

use super::ACCURACY;
use super::toys::Recorder;
use super::vectors::{EVERY, SIDE, json, network, numbers, pictures, tensor, tolerance};

/// Recorded by others, in `trace.json`.
fn traced() -> Vec<(&'static str, Method)> {
    let pdgd = |rate| {
        Method::Pdgd(Pdgd {
            steps: 20,
            rate,
            last: false,
            ..Pdgd::default()
        })
    };
    let dag = |norm, step| {
        Method::Dag(Dag {
            steps: 20,
            step,
            norm,
            last: false,
            ..Dag::default()
        })
    };
    let alma = Alma {
        steps: 20,
        last: false,
        ..Alma::rony_2023()
    };
    vec![
        ("pdgd", pdgd(0.1)),
        ("pdgd_lr0.01", pdgd(0.01)),
        ("dag_l2", dag(Norm::L2, 0.5)),
        ("dag_linf_g0.003", dag(Norm::LINF, 0.003)),
        ("alma_l2", Method::Alma(alma)),
    ]
}

/// Recorded by `reference/vectors/attack_traces.py`, in `trace_more.json`.
fn traced_too() -> Vec<(&'static str, Method)> {
    let pdpgd = |norm, rate, ratio, masking| {
        let mut settings = Pdpgd {
            norm,
            ..Pdpgd::default()
        };
        settings.descent.steps = 20;
        settings.descent.last = false;
        settings.descent.rate = rate;
        settings.descent.ratio = ratio;
        settings.descent.masking = masking;
        Method::Pdpgd(settings)
    };
    let asma = Asma {
        steps: 20,
        least: 1e-4,
        slope: 1e-3,
        last: false,
    };
    let alma_prox = AlmaProx {
        steps: 20,
        last: false,
        ..AlmaProx::default()
    };
    let met = AlmaProx {
        rate: 0.05,
        ..alma_prox.clone()
    };
    let late = AlmaProx {
        multiplier: 0.01,
        memory: 0.5,
        ..met.clone()
    };
    vec![
        ("pdpgd_l2", pdpgd(Norm::L2, 0.1, 1.0, Masking::Off)),
        ("pdpgd_l2_ratio", pdpgd(Norm::L2, 0.1, 1e-3, Masking::Off)),
        (
            "pdpgd_l2_lr0.01_masked",
            pdpgd(Norm::L2, 0.01, 1.0, Masking::Decay),
        ),
        ("pdpgd_l1_ratio", pdpgd(Norm::L1, 0.1, 1e-3, Masking::Off)),
        ("pdpgd_l2_met", pdpgd(Norm::L2, 0.1, 1e-3, Masking::Off)),
        ("pdpgd_linf", pdpgd(Norm::LINF, 0.1, 1.0, Masking::Off)),
        ("asma", Method::Asma(asma)),
        ("alma_prox", Method::AlmaProx(alma_prox.clone())),
        ("alma_prox_0.5", Method::AlmaProx(alma_prox)),
        ("alma_prox_met", Method::AlmaProx(met)),
        ("alma_prox_met_late", Method::AlmaProx(late)),
    ]
}

fn length(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn every_step_is_that_of_the_public_attack() {
    compare("trace.json", "thinned.safetensors", &traced());
    compare("trace_more.json", "trace_more.safetensors", &traced_too());
}

fn compare(file: &str, changes: &str, attacks: &[(&str, Method)]) {
    let trace = json(file);
    let (image, labels) = &pictures()[0];
    let scene = Scene::new(image, labels, [SIDE, SIDE]).unwrap();
    for net in ["lip", "plain"] {
        let recorder = Recorder::new(&network(net));
        let duel = Duel::new(&recorder, scene, &ACCURACY).unwrap();
        for (name, method) in attacks {
            recorder.seen.lock().unwrap().clear();
            let facts = &trace["traces"][format!("{net}/{name}")];
            let share = facts["settings"]["adv_threshold"].as_f64().unwrap();
            let goal = Goal::share(&duel.aim, share).unwrap();
            let attacked = method.run(&duel, goal, &mut Rng::new(0)).unwrap();
            let seen = recorder.seen.lock().unwrap().clone();
            let lengths = numbers(&facts["l2_of_perturbation_per_step"]);
            let wrong = numbers(&facts["wrong_valid_pixels_per_step"]);
            assert_eq!(seen.len(), 20, "{net}/{name}");
            assert_eq!(attacked.passes.forward, 20);
            for (step, shown) in seen.iter().enumerate() {
                let change = || {
                    let pairs = shown.iter().zip(image);
                    pairs.map(|(&a, &b)| f64::from(a) - f64::from(b))
                };
                let found = length(change());
                let error = (found - lengths[step]).abs();
                let most = tolerance(step, lengths[step]);
                assert!(
                    error <= most,
                    "{net}/{name} step {step}: {found}, not {}",
                    lengths[step]
                );
                let count = duel.look(shown).unwrap().count as f64;
                assert!(
                    (count - wrong[step]).abs() <= 2.0,
                    "{net}/{name} step {step}: {count}"
                );
                if ![1, 2, 5, 19].contains(&step) {
                    continue;
                }
                let name = format!("{net}/{name}/step{step}");
                let expected = tensor(changes, &name);
                let pairs = change().step_by(EVERY).zip(&expected);
                let error = length(pairs.map(|(a, &b)| a - f64::from(b)));
                assert_eq!(expected.len(), image.len().div_ceil(EVERY));
                // the tolerance is that of a length; changes of one length differ in direction besides (2.4 was seen, of
                // the network without a bound)
                assert!(
                    error <= 3.0 * most,
                    "{name}: off by {error}, at most 3·{most}"
                );
            }
            let returned = facts["returned_step"].as_u64().unwrap() as usize;
            assert_eq!(attacked.step, returned, "{net}/{name}");
            assert_eq!(attacked.success, name.contains("_met"), "{net}/{name}");
            let distance = facts["returned_l2"].as_f64().unwrap();
            let pairs = attacked.image.iter().zip(image);
            let found = length(pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)));
            let error = (found - distance).abs();
            assert!(error <= tolerance(19, distance), "{net}/{name}");
        }
    }
}
