//! The network as a whole: what is baked is what was trained, what is audited is what is evaluated,
//! what is stored is what is read.

use certiseg_net::architecture::{Architecture, Preset, Size};
use certiseg_net::checkpoint::{load_model, load_training, parse_model, save_model, save_training};
use certiseg_net::network::Network;
use certiseg_net::parameters::Parameters;
use certiseg_net::rng::Rng;
use certiseg_net::train::{State, Train};

fn settings(preset: Preset, classes: usize, std: f32, size: Size) -> Architecture {
    let settings = Architecture {
        size,
        preset,
        classes,
        std: [std; 3],
        rates: vec![1, 2],
        ..Architecture::default()
    };
    settings.resolve(32).unwrap()
}

fn small(preset: Preset, seed: u64) -> Network {
    let nodes = settings(preset, 3, 0.5, Size::Xs).nodes();
    let mut parameters = Parameters::start(&nodes, seed);
    let mut rng = Rng::new(seed);
    let all = parameters
        .raw
        .values_mut()
        .chain(parameters.running.values_mut());
    all.flatten().for_each(|x| *x += 0.05 * rng.normal() as f32);
    parameters.bake(&nodes).unwrap()
}

fn picture(rng: &mut Rng, pixels: usize) -> Vec<f32> {
    (0..3 * pixels).map(|_| rng.uniform() as f32).collect()
}

/// Twenty baked layers whose f32 rounding leaves each norm within 1e-5 of one.
const AUDIT_SLACK: f64 = 3e-4;

#[test]
fn the_audit_finds_the_closed_form_of_the_paper() {
    // L = 2^n · √(K/3) / (2 · min std), lipschitz-layers §10.2
    let table = [
        (Size::S, 3, 0.224_f32, 17.857),
        (Size::S, 2, 0.5, 6.532),
        (Size::S, 19, 0.176, 57.196),
    ];
    for (size, classes, std, expected) in table {
        let paper = Architecture {
            rates: vec![6, 12, 18],
            ..settings(Preset::Paper, classes, std, size)
        };
        let nodes = paper.nodes();
        let network = Parameters::start(&nodes, 1).bake(&nodes).unwrap();
        let got = network.audit(128, 128).unwrap().lipschitz;
        let ratio = got / expected;
        // the table is rounded to three decimals
        assert!(
            ratio > 1.0 - 3e-5 && ratio < 1.0 + AUDIT_SLACK,
            "{got} {expected}"
        );
    }
}

#[test]
fn the_plain_preset_has_the_constant_of_its_normalisation() {
    let got = small(Preset::Plain, 3).audit(32, 32).unwrap().lipschitz;
    assert!((2.0..2.0 * (1.0 + AUDIT_SLACK)).contains(&got), "{got}");
}

#[test]
fn circular_networks_refuse_sizes_their_strides_do_not_divide() {
    let error = small(Preset::Paper, 3).audit(36, 32).unwrap_err();
    assert!(error.to_string().contains("multiples of 8"), "{error}");
}

#[test]
fn differences_of_logits_never_exceed_the_audited_constant() {
    for preset in [Preset::Plain, Preset::Paper] {
        let network = small(preset, 5);
        let lipschitz = network.audit(32, 32).unwrap().lipschitz;
        let certifier = network.certifier(32, 32).unwrap();
        let mut rng = Rng::new(8);
        let mut steepest: f64 = 0.0;
        for scale in [1.0, 1e-2, 1e-3] {
            let a = picture(&mut rng, 1024);
            // along a colour shift, where orthogonal networks are steep, and at random
            let shift = (rng.uniform() < 0.5) as u8 as f64;
            let b: Vec<f32> = a
                .iter()
                .map(|&x| (f64::from(x) + scale * (shift + rng.normal())) as f32)
                .collect();
            let (fa, fb) = (certifier.logits(&a).unwrap(), certifier.logits(&b).unwrap());
            let out = certiseg_net::attack::distance(&fa.values, &fb.values);
            let moved = certiseg_net::attack::distance(&a, &b);
            let error = (fa.eta + fb.eta) * (fa.values.len() as f64).sqrt();
            assert!(out <= lipschitz * moved + error);
            steepest = steepest.max(out / (lipschitz * moved));
        }
        // an idle bound, a thousand times too large, would fail here
        assert!(steepest > 1e-3, "{steepest}");
    }
}

#[test]
fn eta_is_found_and_small() {
    let network = small(Preset::Plain, 2);
    let mut rng = Rng::new(1);
    let logits = network
        .certifier(32, 32)
        .unwrap()
        .logits(&picture(&mut rng, 1024))
        .unwrap();
    let largest = logits.values.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(logits.eta > 0.0 && logits.eta < 1e-5 * f64::from(largest));
}

#[test]
fn pictures_of_another_length_or_size_are_refused() {
    let network = small(Preset::Plain, 2);
    let certifier = network.certifier(32, 32).unwrap();
    let error = certifier.logits(&[0.5; 10]).err().unwrap();
    assert_eq!(error.to_string(), "a picture of 10 numbers, expected 3072");
    let error = network.certifier(33, 32).err().unwrap();
    assert!(error.to_string().contains("multiples of 8"));
}

#[test]
fn a_model_file_holds_the_very_network() {
    let network = small(Preset::Paper, 4);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    save_model(&path, &network, None).unwrap();
    assert_eq!(load_model(&path).unwrap().network, network);

    let settings = Train {
        height: 32,
        width: 32,
        network: settings(Preset::Plain, 3, 0.5, Size::Xs),
        ..Train::default()
    };
    let state = State::start(settings).unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    save_training(&path, &state).unwrap();
    let read = load_model(&path).unwrap();
    assert_eq!(read.network, state.bake().unwrap());
    assert_eq!(read.origin.unwrap().settings, state.settings);
}

/// Replaces the first occurrence of bytes of equal length.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes());
    let at = at.expect("the bytes to replace");
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn a_broken_model_file_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    save_model(&path, &small(Preset::Plain, 4), None).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let reason = |bytes: &[u8]| parse_model(bytes).unwrap_err().to_string();
    for cut in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        let got = reason(&whole[..cut]);
        assert!(got.contains("no whole safetensors file"), "{cut}: {got}");
    }
    let version = r#"{\"format\":3,"#;
    let other = replaced(&whole, version, r#"{\"format\":9,"#);
    assert_eq!(reason(&other), "format 9, expected format 2 to 3");
    let unnamed = replaced(&whole, r#""certiseg":"#, r#""certifog":"#);
    assert!(reason(&unnamed).contains("metadata entry `certiseg`"));
    let mut poisoned = whole.clone();
    let end = poisoned.len();
    poisoned[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(reason(&poisoned).contains("NaN at index"));
    let renamed = replaced(&whole, "head.weight", "feet.weight");
    assert_eq!(reason(&renamed), "tensor head.weight: missing");

    let error = load_model(&dir.path().join("none"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot read"), "{error}");
    std::fs::write(&path, &whole[..50]).unwrap();
    let error = load_model(&path).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    assert!(error.hint().is_some());
    assert!(load_training(&path).is_err());
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("taken");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("inside"), b"x").unwrap();
    let error = save_model(&folder, &small(Preset::Plain, 4), None).unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
