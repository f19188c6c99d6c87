//! Values of two pixels and of a batch, computed with the peers' code.

use burn::tensor::{DType, Device};
use serde_json::json;

use super::super::{cross_entropy, hinge};
use super::scene::scene;
use super::{SUMS, difference, loss};
use crate::network::floats;

/// Reference values carry 10 digits.
const DIGITS: f64 = 1e-9;
/// Those of SoftHKR and LseHKR carry 7.
const FEW_DIGITS: f64 = 1e-6;

#[test]
fn the_reference_pixels() {
    let annealed = |eps: f64| json!({"kind": "logit_annealing", "eps": eps});
    let tau = |temperature: f64| json!({"kind": "cross_entropy", "temperature": temperature});
    let table = [
        (tau(1.0), [0.514_295_072_8, 1.128_390_169_9], DIGITS),
        (tau(5.0), [0.003_738_583_4, 0.348_262_259_3], DIGITS),
        (tau(20.0), [5.626_8e-9, 0.300_124_090_7], DIGITS),
        (
            json!({"kind": "margin_offset"}),
            [1.337_269_515_1, 2.443_043_636_1],
            DIGITS,
        ),
        (annealed(0.0), [0.788_013_786_4, 2.221_416_658_2], DIGITS),
        (annealed(0.1), [0.950_488_590_6, 2.282_696_492_3], DIGITS),
        (
            json!({"kind": "emma", "eps": 0.1, "temperature": 1.0}),
            [0.573_581_993_1, 1.164_751_090_2],
            DIGITS,
        ),
        (
            json!({"kind": "gloro", "eps": 0.1, "temperature": 1.0}),
            [0.573_581_993_1, 1.226_205_297_0],
            DIGITS,
        ),
        (
            json!({"kind": "cosine", "share": 0.0}),
            [-0.880_450_906_3, -0.218_217_890_2],
            DIGITS,
        ),
        (
            json!({"kind": "cosine"}),
            [-0.792_405_815_7, -0.175_642_065_3],
            DIGITS,
        ),
        (
            json!({"kind": "hinge"}),
            [0.233_333_333_3, 0.666_666_666_7],
            DIGITS,
        ),
        (
            json!({"kind": "soft_hkr"}),
            [0.317_731_4, 0.987_393_8],
            FEW_DIGITS,
        ),
        (
            json!({"kind": "lse_hkr"}),
            [0.781_774_2, 1.460_663_7],
            FEW_DIGITS,
        ),
        (json!({"kind": "categorical_hinge"}), [0.2, 1.3], DIGITS),
    ];
    for (settings, expected, tolerance) in table {
        let loss = loss(settings);
        let of = |f: &[f64]| scene(&[f], &[0], &[1.0; 3]).learn(&loss, DType::F64).0;
        let got = [of(&[1.0, 0.2, -0.5]), of(&[0.1, 0.4, -0.2])];
        assert_eq!(difference(&got, &expected, tolerance), None, "{loss:?}");
    }
    // this one has 5 digits, far below the others
    let (tiny, _) =
        scene(&[&[1.0, 0.2, -0.5]], &[0], &[1.0; 3]).learn(&loss(tau(20.0)), DType::F64);
    assert!((tiny - 5.626_8e-9).abs() < 1e-13, "{tiny}");
}

#[test]
fn the_reference_batches() {
    let batch = scene(&[&[1.0, 0.2, -0.5], &[0.1, 0.4, -0.2]], &[0, 1], &[1.0; 3]);
    let device = Device::flex();
    let targets = batch.targets(&device).cast(DType::F64);
    let logits = batch.tensor(DType::F64, &device);
    let kr = floats(hinge::kantorovich(logits.clone(), &targets)).unwrap();
    assert_eq!(difference(&kr, &[0.7, 0.8 / 3.0], DIGITS), None);
    let hkr = floats(hinge::hkr(logits, &targets, 0.9, 1.0)).unwrap();
    assert_eq!(difference(&hkr, &[0.14, 0.91 / 3.0], DIGITS), None);
}

#[test]
fn class_weights_and_void_pixels() {
    let weighted: [&[f64]; 3] = [&[0.3, -0.1], &[0.2, 0.5], &[9.0, -9.0]];
    let weighted = scene(&weighted, &[0, 1, 255], &[0.8, 1.3]);
    let (got, _) = weighted.learn(
        &loss(json!({"kind": "cross_entropy", "temperature": 8.0})),
        DType::F64,
    );
    assert_eq!(difference(&[got], &[0.008_622_003_8], DIGITS), None);
    let device = Device::flex();
    let logits = weighted.tensor(DType::F64, &device);
    let plain = cross_entropy(logits, &weighted.targets(&device), 8.0);
    assert_eq!(difference(&floats(plain).unwrap(), &[got], SUMS), None);
}
