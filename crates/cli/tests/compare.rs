//! `compare`: both kinds of certificates on the same network and images.

mod common;

use std::fs;

use common::smooth::{rows, text};
use common::{certiseg, folder_data, stdout, untrained_model};
use serde_json::Value;

fn of<'a>(rows: &'a [Value], kind: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["kind"] == kind).collect()
}

#[test]
fn both_on_the_same_images() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let twin = dir.path().join("twin.safetensors");
    fs::copy(&model, &twin).unwrap();
    let data = folder_data(dir.path(), "data", 3);
    fs::write(data.join("test.txt"), "0\n1\n").unwrap();
    fs::write(data.join("val.txt"), "2\n").unwrap();
    let out = dir.path().join("out");
    let arguments = [
        "compare",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--split",
        "test",
    ];
    let choice = [
        "--choose",
        "val",
        "--sigma",
        "0.05,0.2",
        "--eps",
        "0.02,0.05",
        "--n",
        "30,60",
    ];
    let more = ["--twin", text(&twin), "--out", text(&out)];
    let table = stdout(&[&arguments[..], &choice, &more].concat());
    for word in [
        "Lipschitz bound",
        "SegCertify, Holm",
        "single stage",
        "count",
        "hybrid",
        "deterministic",
        "each row is a statement by itself",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let all = rows(&fs::read_to_string(out.join("rows.jsonl")).unwrap());
    // two eps and two n: three methods of votes on both sides, the hybrid and the bound on one
    let sums = of(&all, "compare");
    assert_eq!(sums.len(), 2 + 2 * 2 * 4 + 2 * 2 * 3);
    assert_eq!(of(&all, "compare-image").len(), 2 * sums.len());
    // one image, two sigma, and all that is sampled
    assert_eq!(of(&all, "compare-choice").len(), 2 * (16 + 12));
    assert_eq!(of(&all, "compare-equal").len(), 2 * (4 + 3));
    for row in &sums {
        assert_eq!(row["images"], 2);
        let n = row["n"].as_u64();
        let passes = match row["method"].as_str().unwrap() {
            "lipschitz" => 2,
            "holm" | "count" => n.unwrap() + 10,
            _ => n.unwrap(),
        };
        assert_eq!(row["forwards"], passes, "{row}");
        let images = of(&all, "compare-image").into_iter();
        let same = |image: &&Value| {
            ["network", "method", "eps", "n", "sigma"]
                .iter()
                .all(|key| image[key] == row[key])
        };
        let values: Vec<f64> = images
            .filter(same)
            .map(|image| image["crpa"].as_f64().unwrap())
            .collect();
        let mean = values.iter().sum::<f64>() / 2.0;
        assert!(values.len() == 2 && (row["crpa"].as_f64().unwrap() - mean).abs() < 1e-12);
    }

    // the same figures as from certify and smooth
    let certify = [
        "certify",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--split",
        "test",
    ];
    let bound = rows(&stdout(
        &[
            &certify[..],
            &[
                "--eps",
                "0.02,0.05",
                "--metric",
                "accuracy",
                "--format",
                "jsonl",
            ],
        ]
        .concat(),
    ));
    for row in of(&all, "compare-image")
        .iter()
        .filter(|row| row["method"] == "lipschitz")
    {
        let other = bound
            .iter()
            .find(|other| other["image"] == row["image"] && other["eps"] == row["eps"]);
        assert_eq!(other.unwrap()["value"], row["crpa"], "{row}");
    }
    for (method, flags) in [
        ("holm", ["--correction", "holm"]),
        ("single-stage", ["--correction", "bonferroni"]),
    ] {
        let row = of(&all, "compare-image")
            .into_iter()
            .find(|row| row["method"] == method && row["n"] == 60)
            .unwrap();
        let sum = sums
            .iter()
            .find(|sum| {
                ["method", "n", "eps", "network"]
                    .iter()
                    .all(|key| sum[key] == row[key])
            })
            .unwrap();
        let [sigma, tau] = [&row["sigma"], &sum["tau"]].map(Value::to_string);
        let smooth = [
            "smooth",
            "--model",
            text(&model),
            "--data",
            text(&data),
            "--split",
            "test",
            "--noise",
            "f32",
            "--n",
            "60",
        ];
        let mut words = [
            &smooth[..],
            &flags,
            &["--sigma", &sigma, "--tau", &tau, "--format", "jsonl"],
        ]
        .concat();
        if method == "single-stage" {
            words.push("--single-stage");
        }
        let smoothed = rows(&stdout(&words));
        let other = smoothed
            .iter()
            .find(|other| other["image"] == row["image"])
            .unwrap();
        let certified = other["figures"]["figures"]["acc_certified"]
            .as_f64()
            .unwrap();
        assert!(
            (certified - row["crpa"].as_f64().unwrap()).abs() < 1e-12,
            "{row} {certified}"
        );
    }
    // grid noise: the mean of logits is no Lipschitz function of what is rounded
    let grid = [
        "--sigma", "0.1", "--noise", "grid", "--n", "30", "--format", "jsonl",
    ];
    let grid = rows(&stdout(&[&arguments[..], &grid].concat()));
    assert!(
        of(&grid, "compare")
            .iter()
            .all(|row| row["method"] != "hybrid")
    );
    assert!(
        of(&grid, "compare")
            .iter()
            .any(|row| row["floating_point"] == "covered")
    );
}

#[test]
fn wrong_moves() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 1);
    let out = dir.path().join("out");
    let wrong = |more: &[&str], words: &[&str]| {
        let base = [
            "compare",
            "--model",
            text(&model),
            "--data",
            text(&data),
            "--out",
            text(&out),
        ];
        let output = certiseg(&[&base[..], more].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        println!("{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
        assert!(!out.exists());
    };
    wrong(&[], &["--sigma"]);
    wrong(&["--sigma", "0"], &["sigma"]);
    wrong(&["--sigma", "0.01"], &["not much below eps"]);
    wrong(&["--sigma", "0.1,0.2"], &["--choose"]);
    wrong(
        &["--sigma", "0.1,0.2", "--choose", "a", "--split", "a"],
        &["another split"],
    );
    // the split is part of all images
    fs::write(data.join("val.txt"), "0\n").unwrap();
    wrong(
        &["--sigma", "0.1,0.2", "--choose", "val"],
        &["such as 0", "share no image"],
    );
    wrong(&["--sigma", "0.1", "--choose", "val"], &["one sigma only"]);
    wrong(
        &["--sigma", "0.1", "--eps", "0.1,0.10"],
        &["--eps", "twice"],
    );
    wrong(&["--sigma", "0.1", "--n", "50,50"], &["rise"]);
    wrong(&["--sigma", "0.1", "--n", "5"], &["--n0 10"]);
    wrong(&["--sigma", "0.1", "--n0", "0"], &["1 to 255"]);
    wrong(&["--sigma", "0.1", "--alpha", "0"], &["alpha"]);
    wrong(&["--sigma", "0.1", "--eps", "-1"], &["eps"]);
    wrong(
        &["--sigma", "0.1", "--eps", "0.1,8/255"],
        &["write 0.03137254901960784 for 8/255"],
    );
    wrong(&["--sigma", "0.1", "--format", "csv"], &["CSV"]);
    let images = data.join("images");
    wrong(
        &[
            "--sigma",
            "0.1",
            "--data",
            text(&images),
            "--layout",
            "images",
        ],
        &["--data"],
    );
    let bare = [
        "compare",
        "--model",
        text(&model),
        "--data",
        text(&images),
        "--layout",
        "images",
        "--sigma",
        "0.1",
    ];
    let output = certiseg(&bare);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && message.contains("without masks"),
        "{message}"
    );
}
