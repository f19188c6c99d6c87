//! `certiseg attack` from the outside.

mod common;

use std::fs;

use common::{bytes_of, certiseg, folder_data, save, stdout, untrained_model};
use serde_json::Value;

fn rows(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn what_is_saved_has_the_figures_that_were_told() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 3);
    let saved = dir.path().join("saved");
    let maps = dir.path().join("maps");
    let paths = [&model, &data, &saved, &maps].map(|path| path.to_str().unwrap());
    let [model, data, saved, maps] = paths;
    let base = [
        "attack",
        "--model",
        model,
        "--data",
        data,
        "--eps",
        "0.1,0.5",
        "--metric",
        "accuracy",
        "--metric",
        "iou:1",
        "--criterion",
        "accuracy",
        "--criterion",
        "vanish:0",
        "--format",
        "jsonl",
    ];
    let more = [
        "--suite",
        "strong",
        "--steps",
        "3",
        "--save",
        saved,
        "--maps",
        maps,
        "--parts",
        "--times",
        "--until",
        "accuracy<=0.2",
    ];
    let told = rows(&stdout(&[&base[..], &more].concat()));
    let of = |rows: &[Value], kind: &str| -> Vec<Value> {
        rows.iter()
            .filter(|row| row["kind"] == kind)
            .cloned()
            .collect()
    };
    let strikes = of(&told, "attacks");
    // images, budgets, criteria
    assert_eq!(strikes.len(), 3 * 2 * 2);
    let accuracy = strikes.iter().filter(|row| row["criterion"] == "accuracy");
    for row in accuracy {
        assert!(row["parts"].as_array().unwrap().len() >= 4);
        assert!(row["attacks"][0]["seconds"].as_f64().unwrap() > 0.0);
        assert!(row["attacks"][0]["passes"]["backward"].as_u64().unwrap() >= 3);
    }
    for row in of(&told, "least") {
        let (certified, found) = (row["certified"].as_f64(), row["attacked"].as_f64());
        assert!(found.is_none_or(|found| found >= certified.unwrap()));
    }
    assert!(dir.path().join("maps/0.png").exists());

    let again = rows(&stdout(&[&base[..], &["--evaluate", saved]].concat()));
    let attacked = |rows: &[Value]| -> Vec<Value> {
        let rows = of(rows, "attack");
        rows.iter().map(|row| row["attacked"].clone()).collect()
    };
    assert_eq!(attacked(&told), attacked(&again));
    assert_eq!(attacked(&told).len(), 3 * 2 * 2);

    let refused = |eps: &str, folder: &str, expected: &str| {
        let mut arguments = base.to_vec();
        arguments[6] = eps;
        let output = certiseg(&[&arguments[..], &["--evaluate", folder]].concat());
        assert_eq!(output.status.code(), Some(2));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains(expected), "{words}");
    };
    refused("0.001,0.002", saved, "is 0.1, expected 0.001");
    // the pictures alone, under smaller budgets than they were found within
    let alone = dir.path().join("alone");
    fs::create_dir(&alone).unwrap();
    for image in 0..3 {
        let name = format!("{image}.npz");
        let bytes = bytes_of(&dir.path().join("saved").join(&name), "attacked");
        let attacked = ("attacked", "<f4", &[2, 2, 3, 32, 32][..], &bytes[..]);
        save(&alone.join(&name), &[attacked]);
    }
    let alone = alone.to_str().unwrap();
    refused("0.001,0.002", alone, "distance of a saved picture is");
    refused("0.5,0.1", alone, "rising budgets");
    let output = certiseg(&[&base[..], &["--save", saved]].concat());
    assert_eq!(output.status.code(), Some(2), "the folder is not empty");
}

#[test]
fn an_unknown_attack_lists_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 1);
    let [model, data] = [&model, &data].map(|path| path.to_str().unwrap());
    let base = ["attack", "--model", model, "--data", data];
    for more in [
        ["--attack", "fgsm9"],
        ["--suite", "weak"],
        ["--criterion", "vanish:7"],
    ] {
        let output = certiseg(&[&base[..], &more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = match more[0] {
            "--attack" => "knapsack-glide",
            "--suite" => "quick, strong",
            _ => "class 7",
        };
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn what_would_be_nowhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 1);
    let [model, data] = [&model, &data].map(|path| path.to_str().unwrap());
    let base = ["attack", "--model", model, "--data", data];
    for (more, expected) in [
        (&["--attack", "dag-linf"][..], "dag-linf does not attack"),
        (&["--suite", "paper001", "--norm", "inf"][..], "pdgd does"),
        (&["--until", "accuracy<=0", "--norm", "inf"][..], "--until"),
        (&["--parts", "--criterion", "vanish:0"][..], "--parts and"),
        (&["--parts", "--evaluate", "saved"][..], "cannot be used"),
    ] {
        let output = certiseg(&[&base[..], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains(expected), "{words}");
    }
}
