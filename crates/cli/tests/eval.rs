//! The contract of `eval`: plain figures, equal to those that certificates call clean.

mod common;

use std::fs;
use std::path::Path;

use common::{Npz, certiseg, folder_data, stdout, untrained_model};
use serde_json::Value;

fn rows(text: &str) -> Vec<Value> {
    let row = |line| serde_json::from_str(line).unwrap();
    text.lines().map(row).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Four classes of which 2 is only predicted and 3 is nowhere; the second image is all void.
///
/// label      0 0 0 1 1 void | void
/// predicted  0 0 1 1 2 1    | 0
fn logits(dir: &Path) -> String {
    let path = dir.join("logits.npz");
    let predicted = [[0, 0, 1, 1, 2, 1], [0; 6]];
    let one_hot = |image: [usize; 6]| {
        (0..4).flat_map(move |class| image.map(|of| if of == class { 1.0 } else { 0.0 }))
    };
    let values: Vec<f32> = predicted.into_iter().flat_map(one_hot).collect();
    let npz = Npz::new().logits([2, 4, 1, 6], &values);
    let labels = [[0, 0, 0, 1, 1, -1], [-1; 6]];
    npz.labels([2, 1, 6], labels.as_flattened()).write(&path);
    text(&path).to_owned()
}

#[test]
fn figures_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let path = logits(dir.path());
    let base = ["eval", "--logits", &path, "--ignore", "-1"];
    let rows = rows(&stdout(&[&base[..], &["--format", "jsonl"]].concat()));
    assert_eq!((&rows[0]["verb"], rows.len()), (&Value::from("eval"), 4));
    let [first, void, all] = [&rows[1], &rows[2], &rows[3]];
    assert_eq!(first["pixels"], 5);
    assert_eq!(first["accuracy"], 0.6);
    assert_eq!(first["iou"][3], Value::Null);
    assert_eq!(first["iou"][2], Value::Null);
    assert_eq!(first["miou"], 0.5);
    assert_eq!(void["pixels"], 0);
    assert_eq!(void["accuracy"], Value::Null);
    assert_eq!(all["kind"], "evaluation");
    assert_eq!((&all["images"], &all["undefined"]), (&2.into(), &1.into()));
    let confusion = "[[2,1,0,0],[0,1,1,0],[0,0,0,0],[0,0,0,0]]";
    assert_eq!(all["confusion"].to_string(), confusion);
    assert_eq!(all["pooled"]["iou"][2], 0.0);
    assert_eq!(all["pooled"]["iou"][3], Value::Null);
    assert_eq!(
        all["pooled"]["miou"].as_f64().map(|v| (v * 3.0).round()),
        Some(1.0)
    );
    assert_eq!(all["mean"]["accuracy"], 0.6);

    let table = stdout(&[&base[..], &["--confusion"]].concat());
    for word in [
        "pixel accuracy",
        "0.6000",
        "mIoU",
        "0.3333",
        "label \\ predicted",
        "2 images, 1 without",
    ] {
        assert!(table.contains(word), "{word:?} is not in\n{table}");
    }
    let nowhere: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("│ 3 "))
        .collect();
    assert!(nowhere[0].contains("- "), "{table}");
    let csv = stdout(&[&base[..], &["--format", "csv"]].concat());
    let lines: Vec<Vec<_>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    assert_eq!(
        lines[0][..6],
        [
            "image",
            "pixels",
            "accuracy",
            "mean_class_accuracy",
            "miou",
            "iou_0"
        ]
    );
    assert_eq!((lines[1][2], lines[2][2]), ("0.6", ""));
    let union = stdout(
        &[
            &base[..],
            &[
                "--miou",
                "union",
                "--empty-precision",
                "skip",
                "--format",
                "jsonl",
            ],
        ]
        .concat(),
    );
    let union = self::rows(&union);
    assert_eq!(union[1]["precision"][3], Value::Null);
    assert!(union[1]["miou"].as_f64() < Some(0.34));
}

/// What `certify` calls clean: of each image, and of all of them as one.
#[test]
fn figures_are_the_clean_values_of_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 5);
    // an image without pixels, one of one class
    let mask = |index: u8, class: u8| {
        let mask = image::GrayImage::from_pixel(32, 32, image::Luma([class]));
        mask.save(data.join(format!("masks/{index}.png"))).unwrap();
    };
    mask(1, 255);
    mask(2, 1);
    for (miou, empty) in [("present", "one"), ("union", "zero")] {
        let base = [
            "--model",
            text(&model),
            "--data",
            text(&data),
            "--format",
            "jsonl",
        ];
        let words = ["--miou", miou, "--empty-precision", empty];
        let eval = rows(&stdout(&[&["eval"], &base[..], &words].concat()));
        let mut metrics = vec![
            "accuracy".to_owned(),
            "mean-class-accuracy".to_owned(),
            "miou".to_owned(),
        ];
        for figure in ["iou", "dice", "precision", "recall"] {
            metrics.extend((0..3).map(|class| format!("{figure}:{class}")));
        }
        let flags: Vec<&str> = metrics
            .iter()
            .flat_map(|metric| ["--metric", metric])
            .collect();
        let certify = [
            &["certify"],
            &base[..],
            &words,
            &["--eps", "0.1", "--dataset"],
            &flags,
        ]
        .concat();
        let certify = rows(&stdout(&certify));
        let figure = |row: &Value, metric: &str| match metric.split_once(':') {
            Some((name, class)) => row[name][class.parse::<usize>().unwrap()].clone(),
            None => row[metric.replace('-', "_")].clone(),
        };
        let mut compared = 0;
        for row in &certify[1..] {
            let metric = row["metric"].as_str().unwrap();
            let of = match row["kind"].as_str().unwrap() {
                "row" => eval.iter().find(|e| e["image"] == row["image"]).unwrap(),
                _ => &eval.last().unwrap()["pooled"],
            };
            assert_eq!(figure(of, metric), row["clean"], "{miou} {row}");
            compared += 1;
        }
        assert_eq!(compared, (5 + 1) * metrics.len());
    }
}

#[test]
fn a_twin_without_certificates_is_evaluated_too() {
    use certiseg_net::architecture::{Architecture, Size};
    use certiseg_net::train::{State, Train};

    let dir = tempfile::tempdir().unwrap();
    let mut network = Architecture {
        size: Size::Xs,
        classes: 3,
        ..Architecture::default()
    };
    network.kernels = serde_json::from_str("\"unconstrained\"").unwrap();
    network.block = serde_json::from_str("\"plain\"").unwrap();
    network.head = serde_json::from_str("\"free\"").unwrap();
    let settings = Train {
        height: 32,
        width: 32,
        network,
        ..Train::default()
    };
    let Ok(state) = State::start(settings) else {
        panic!("an unconstrained network starts");
    };
    let path = dir.path().join("twin.safetensors");
    certiseg_net::checkpoint::save_model(&path, &state.bake().unwrap(), None).unwrap();
    let data = folder_data(dir.path(), "data", 2);
    let arguments = [
        "eval",
        "--model",
        text(&path),
        "--data",
        text(&data),
        "--size",
        "32",
    ];
    assert!(stdout(&arguments).contains("2 images, 0 without"));
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = logits(dir.path());
    let out = dir.path().join("out");
    let refused = |arguments: &[&str], words: &str| {
        let output = certiseg(&[&["eval"], arguments, &["--out", text(&out)]].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(words), "{words:?} is not in: {message}");
        assert!(!out.join("rows.jsonl").exists());
    };
    refused(&[], "nothing to evaluate");
    refused(&["--logits", &path], "label -1");
    let rows = ["--logits", &path, "--ignore", "-1", "--format", "csv"];
    let output = certiseg(&[&["eval", "--confusion"], &rows[..]].concat());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("--confusion is a table"), "{message}");
    assert_eq!(output.status.code(), Some(2));
    let bare = dir.path().join("bare.npz");
    Npz::new().logits([1, 2, 1, 1], &[0.0, 1.0]).write(&bare);
    refused(&["--logits", text(&bare)], "no labels");
    Npz::new()
        .logits([1, 2, 1, 1], &[0.0, f32::NAN])
        .labels([1, 1, 1], &[0])
        .write(&bare);
    refused(&["--logits", text(&bare)], "image 0");
    fs::remove_file(bare).unwrap();
}
