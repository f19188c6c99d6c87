//! What users get wrong: each ends with exit code 2, a message that names both sides, and nothing
//! half-written.

mod common;

use std::fs;
use std::path::Path;

use common::{Npz, certiseg, folder_data, logits_npz, untrained_model};

/// Runs certiseg, expects exit code 2 and words in the message; nothing may be left under `out`.
fn refused(arguments: &[&str], words: &[&str], out: Option<&Path>) {
    let output = certiseg(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.starts_with("error: "), "{message}");
    // the message is ours: mistakes of the command line's grammar show its usage
    assert!(!message.contains("Usage:"), "{message}");
    println!("{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    if let Some(out) = out {
        let left: Vec<_> = fs::read_dir(out)
            .map(|dir| dir.flatten().collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn data_sets() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let out = dir.path().join("out");
    let certify = |data: &Path, words: &[&str]| {
        let arguments = [
            "certify",
            "--model",
            text(&model),
            "--data",
            text(data),
            "--out",
            text(&out),
        ];
        refused(&arguments, words, Some(&out));
    };
    certify(&dir.path().join("nowhere"), &["images", "nowhere"]);

    let data = folder_data(dir.path(), "unmasked", 2);
    fs::remove_file(data.join("masks/1.png")).unwrap();
    certify(&data, &["1", "mask"]);

    let data = folder_data(dir.path(), "size", 2);
    image::GrayImage::new(16, 32)
        .save(data.join("masks/1.png"))
        .unwrap();
    certify(&data, &["mask of 1 is 32x16", "its image is 32x32"]);

    let data = folder_data(dir.path(), "value", 2);
    let mask = image::GrayImage::from_fn(32, 32, |x, _| image::Luma([if x == 5 { 7 } else { 0 }]));
    mask.save(data.join("masks/0.png")).unwrap();
    certify(
        &data,
        &["mask of 0", "value 7", "row 0, column 5", "below 3"],
    );

    let data = folder_data(dir.path(), "deep", 2);
    let deep = image::ImageBuffer::from_fn(32, 32, |x, _| {
        image::Luma([if x == 5 { 26001_u16 } else { 0 }])
    });
    deep.save(data.join("masks/0.png")).unwrap();
    certify(
        &data,
        &["0.png", "value 26001 at row 0, column 5", "at most 255"],
    );

    let data = folder_data(dir.path(), "colours", 2);
    let colours =
        image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 % 4, y as u8 % 3, 9]));
    colours.save(data.join("masks/0.png")).unwrap();
    certify(
        &data,
        &[
            "RGB with 12 colours",
            "\"color\": [r, g, b] in classes.json",
        ],
    );

    let data = folder_data(dir.path(), "alpha", 2);
    image::RgbaImage::new(32, 32)
        .save(data.join("images/0.png"))
        .unwrap();
    certify(&data, &["0.png", "alpha"]);

    let data = folder_data(dir.path(), "torn", 2);
    let whole = fs::read(data.join("images/0.png")).unwrap();
    fs::write(data.join("images/0.png"), &whole[..whole.len() / 2]).unwrap();
    certify(&data, &["0.png", "cut short"]);

    let data = folder_data(dir.path(), "torn_jpeg", 2);
    fs::remove_file(data.join("images/0.png")).unwrap();
    let path = data.join("images/0.jpg");
    image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 8, y as u8 * 8, 77]))
        .save(&path)
        .unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
    certify(&data, &["0.jpg", "cut short"]);

    let data = folder_data(dir.path(), "named", 2);
    fs::rename(data.join("images/0.png"), data.join("images/0.jpg")).unwrap();
    certify(&data, &["0.jpg", "PNG"]);

    let data = folder_data(dir.path(), "foreign", 2);
    fs::rename(data.join("images/0.png"), data.join("images/0.bmp")).unwrap();
    certify(&data, &["0.bmp", "expected PNG or JPEG"]);

    let data = folder_data(dir.path(), "classes", 2);
    fs::write(data.join("classes.json"), r#"{"num_classes": 5}"#).unwrap();
    certify(&data, &["the data has 5 classes, the network 3"]);

    let data = folder_data(dir.path(), "empty", 2);
    fs::write(data.join("test.txt"), "\n").unwrap();
    let arguments = [
        "certify",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--split",
        "test",
    ];
    refused(&arguments, &["no images", "test.txt"], None);
    let arguments = [
        "certify",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--split",
        "val",
    ];
    refused(&arguments, &["no split", "val"], None);
}

#[test]
fn logits() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let path = dir.path().join("logits.npz");
    let certify = |extra: &[&str], words: &[&str]| {
        let mut arguments = vec!["certify", "--logits", text(&path), "--out", text(&out)];
        arguments.extend(extra);
        refused(&arguments, words, Some(&out));
    };
    let good = || {
        Npz::new()
            .logits([1, 2, 1, 2], &[1.0, 0.0, 0.0, 2.0])
            .labels([1, 1, 2], &[0, 1])
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let npz = Npz::new().logits([1, 2, 1, 2], &[1.0, 0.0, bad, 2.0]);
        npz.labels([1, 1, 2], &[0, 1]).write(&path);
        certify(&["--lipschitz", "1"], &["image 0", "class 1"]);
    }
    good().write(&path);
    certify(&["--lipschitz", "0"], &["0"]);
    certify(&["--lipschitz", "-1"], &["-1"]);
    certify(&["--lipschitz", "NaN"], &["NaN"]);
    certify(&["--lipschitz", "inf"], &["inf"]);
    for (eps, words) in [
        ("-0.1", "-0.1"),
        ("NaN", "NaN"),
        ("", "empty"),
        ("0.1,,0.2", "no budget"),
        ("8/255", "write 0.03137254901960784 for 8/255"),
        ("a", "a"),
    ] {
        certify(&["--lipschitz", "1", &format!("--eps={eps}")], &[words]);
    }
    certify(&["--lipschitz", "1", "--metric", "fnr:2"], &["2"]);
    for eta in ["-1", "nan", "inf"] {
        certify(&["--lipschitz", "1", "--eta", eta], &["eta"]);
    }
    certify(&[], &["without a Lipschitz constant"]);
    let npz = Npz::new().logits([1, 2, 1, 2], &[1.0, 0.0, 0.0, 2.0]);
    npz.labels([1, 2, 1], &[0, 1]).write(&path);
    certify(&["--lipschitz", "1"], &["labels", "[1, 2, 1]"]);
    let npz = Npz::new().logits([1, 2, 1, 2], &[1.0, 0.0, 0.0, 2.0]);
    npz.labels([1, 1, 2], &[0, 9]).write(&path);
    certify(&["--lipschitz", "1"], &["label 9"]);
    Npz::new()
        .logits([1, 2, 1, 2], &[1.0, 0.0, 0.0, 2.0])
        .write(&path);
    certify(
        &["--lipschitz", "1", "--metric", "accuracy"],
        &["needs labels"],
    );
    Npz::new().labels([1, 1, 2], &[0, 1]).write(&path);
    certify(&["--lipschitz", "1"], &["no array \"logits\""]);
    fs::write(&path, b"not a zip").unwrap();
    certify(&["--lipschitz", "1"], &["npz"]);
}

#[test]
fn models() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 2);
    let whole = fs::read(&model).unwrap();
    let audit = |bytes: &[u8], words: &[&str]| {
        fs::write(&model, bytes).unwrap();
        refused(
            &["audit", "--model", text(&model), "--size", "32"],
            words,
            None,
        );
        refused(
            &["certify", "--model", text(&model), "--data", text(&data)],
            words,
            None,
        );
    };
    audit(
        &whole[..whole.len() - 9],
        &["model.safetensors", "no whole safetensors file"],
    );
    let at = whole
        .windows(12)
        .position(|w| w == br#"\"format\":3"#)
        .unwrap();
    let mut other = whole.clone();
    other[at + 11] = b'7';
    audit(&other, &["format 7, expected format 2 to 3"]);
    let mut poisoned = whole.clone();
    poisoned[whole.len() - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    audit(&poisoned, &["tensor", "NaN at index"]);
    fs::write(&model, &whole).unwrap();
    let arguments = [
        "certify",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--size",
        "30x32",
    ];
    refused(&arguments, &["30x32", "multiples of 8"], None);
}

#[test]
fn outputs_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = logits_npz(dir.path());
    let taken = dir.path().join("taken");
    fs::write(&taken, b"a file").unwrap();
    let arguments = [
        "certify",
        "--logits",
        text(&path),
        "--lipschitz",
        "1",
        "--out",
        text(&taken),
    ];
    refused(&arguments, &["output folder", "taken"], None);
    assert_eq!(fs::read(&taken).unwrap(), b"a file");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = logits_npz(dir.path());
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_certiseg"))
        .args([
            "certify",
            "--logits",
            text(&path),
            "--lipschitz",
            "1",
            "--format",
            "jsonl",
        ])
        .stdout(full)
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("cannot write to standard output"),
        "{message}"
    );
}

#[test]
fn trainings() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder_data(dir.path(), "data", 2);
    let run = dir.path().join("run");
    let train = |extra: &[&str], words: &[&str]| {
        let mut arguments = vec!["train", "--data", text(&data), "--out", text(&run)];
        arguments.extend(extra);
        refused(&arguments, words, Some(&run));
    };
    train(&["--set", "epochz=3"], &["epochz"]);
    train(&["--set", "network.size=xxl"], &["xxl"]);
    train(&["--set", "rate=-1"], &["rate", "-1"]);
    train(&["--set", "rate=nan"], &["rate", "NaN"]);
    train(&["--set", "loss.temperature=0"], &["loss.temperature"]);
    train(&["--set", "temperature=20"], &["loss.temperature"]);
    train(
        &["--set", "loss.kind=hkr", "--set", "loss.temperature=2"],
        &["temperature"],
    );
    train(&["--set", "network.block=foo"], &["foo", "sll"]);
    train(
        &[
            "--set",
            "network.kernels=spectral",
            "--set",
            "network.block=sll",
        ],
        &["block is sll"],
    );
    train(
        &["--set", "network.family=unet", "--set", "network.rates=[3]"],
        &["rates", "only deeplab"],
    );
    train(
        &["--set", "class_weights=[0, 0]"],
        &["class_weights", "above 0"],
    );
    train(&["--set", "height=30"], &["multiples of 8"]);
    train(&["--set", "network.classes=1"], &["classes"]);
    train(&["--set", "class_weights=[1.0]"], &["class_weights"]);
    train(&["--set", "network.rates=[2,2]"], &["rates", "[2, 2]"]);
    train(
        &["--set", "network.rates=[9000000000000000000]"],
        &["rates"],
    );
    train(
        &["--set", "epochs=9000000000000000000"],
        &["epochs", "1 to 1000000"],
    );
    let unmasked = data.join("images");
    let arguments = [
        "train",
        "--data",
        text(&unmasked),
        "--layout",
        "images",
        "--out",
        text(&run),
    ];
    refused(&arguments, &["has no mask"], Some(&run));
    train(&["--set", "epochs"], &["--set epochs"]);
    train(&["missing.toml"], &["missing.toml"]);
    refused(&["train", "--out", text(&run)], &["--data"], Some(&run));
    refused(
        &["train", "--resume", text(&run)],
        &["checkpoint.safetensors", "--out of a training"],
        None,
    );
    train(
        &["--set", "validation.best=iou:9@0.1"],
        &["validation.best is iou:9@0.1"],
    );
}
