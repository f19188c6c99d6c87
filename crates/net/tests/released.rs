//! The network that the authors of paper 001 released, imported from `../shared/models`: logits,
//! constant and certificates against figures of other programs. Says so where the files are not there.

use std::path::{Path, PathBuf};

use certiseg_cert::{Budget, Image, Metric, mean_lower};
use certiseg_net::data::{Filter, Layout, LoadSettings, VOID, list, load};
use certiseg_net::import;
use certiseg_net::network::Network;
use safetensors::SafeTensors;

/// A file or folder beside the repository; `None`, said aloud, where there is none.
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

fn network() -> Option<Network> {
    let graph = shared("models/kvasir_s_released.graph.json")?;
    let tensors = shared("models/kvasir_s_released.safetensors")?;
    Some(import::read(&graph, &tensors).unwrap())
}

const SIDE: usize = 256;

#[test]
fn its_logits_and_constant_are_those_of_the_authors() {
    let (Some(network), Some(path)) =
        (network(), shared("models/kvasir_s_reference_4.safetensors"))
    else {
        return;
    };
    let certifier = network.certifier(SIDE, SIDE).unwrap();
    // a rigorous f64 bound of others is 6.532261, a grid without correction 6.532052
    let lipschitz = certifier.lipschitz();
    assert!((6.53205..6.5335).contains(&lipschitz), "{lipschitz}");

    let content = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&content).unwrap();
    // the file says (4, 3, H, W), but its bytes are (4, H, W, 3)
    let pixels = tensors.tensor("input_u8").unwrap().data();
    let expected = tensors.tensor("logits_f32_original").unwrap().data();
    let expected: Vec<f32> = expected
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    for (at, expected) in expected.chunks_exact(2 * SIDE * SIDE).enumerate() {
        let pixels = &pixels[at * 3 * SIDE * SIDE..][..3 * SIDE * SIDE];
        let mut picture = vec![0.0; 3 * SIDE * SIDE];
        for (pixel, colours) in pixels.chunks_exact(3).enumerate() {
            for (channel, &value) in colours.iter().enumerate() {
                picture[channel * SIDE * SIDE + pixel] = f32::from(value) / 255.0;
            }
        }
        let logits = certifier.logits(&picture).unwrap();
        let pairs = logits.values.iter().zip(expected);
        let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // f32 passes of two programs through twenty layers; their own baking differs by 1e-5
        assert!(apart < 1e-4, "image {at}: {apart}");
        assert!(logits.eta < 1e-4, "image {at}: eta {}", logits.eta);
    }
}

#[test]
#[ignore = "minutes: make slow"]
fn its_certificates_are_those_of_the_authors_to_three_decimals() {
    let (Some(network), Some(data)) = (network(), shared("data/kvasir_seg")) else {
        return;
    };
    let certifier = network.certifier(SIDE, SIDE).unwrap();
    let settings = LoadSettings {
        height: SIDE,
        width: SIDE,
        filter: Filter::Nearest,
        classes: 2,
    };
    let entries = list(&data, Layout::Kvasir, Some("test")).unwrap();
    assert_eq!(entries.len(), 240);
    let fnr: Metric = "fnr:1".parse().unwrap();
    // accuracy and FNR at 0, 0.1, 0.2
    let mut values = [const { [const { Vec::new() }; 3] }; 2];
    for entry in entries.chunks(16) {
        for sample in load(entry, &settings, &|_, _| {}).unwrap() {
            let logits = certifier.logits(&sample.image_f32()).unwrap();
            let image = Image::new(
                logits.grid,
                &logits.values,
                sample.mask.as_deref(),
                Some(VOID),
            )
            .unwrap();
            let premises = certifier.premises(logits.eta).unwrap();
            let margins = certifier.margins(&image, &premises).unwrap();
            for (metric, values) in [&Metric::Accuracy, &fnr].into_iter().zip(&mut values) {
                let certificate = metric
                    .certify(&margins)
                    .unwrap()
                    .expect("a polyp in every picture");
                for (eps, values) in [0.0, 0.1, 0.2].into_iter().zip(values) {
                    let worst = certificate.worst(Budget::new(eps).unwrap());
                    values.push(worst.nearest());
                }
            }
        }
    }
    let expected = [
        [0.904_638, 0.877_816, 0.860_479],
        [0.273_728, 0.366_288, 0.424_589],
    ];
    for (values, expected) in values.iter().zip(expected) {
        for (values, expected) in values.iter().zip(expected) {
            let mean = mean_lower(values).unwrap();
            // on equal pixels they agree to 2e-5; JPEG decoders differ by up to 4 of 255 in a tenth
            // of the values
            assert!((mean - expected).abs() < 5e-4, "{mean} {expected}");
        }
    }
}
