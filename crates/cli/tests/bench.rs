//! `certiseg bench`.

mod common;

use common::{certiseg, stdout, untrained_model};
use serde_json::Value;

/// The reports of a run, one per size.
fn reports(arguments: &[&str]) -> Vec<Value> {
    let text = stdout(&[&["bench", "--json", "--repeats", "1"], arguments].concat());
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_step_is_told_by_stage_and_layer() {
    let small = [
        "--set",
        "network.size=xs",
        "--batch",
        "2",
        "--size",
        "32,32x64",
    ];
    let reports = reports(&small);
    assert_eq!(reports.len(), 2);
    assert_eq!(
        (&reports[1]["height"], &reports[1]["width"]),
        (&32.into(), &64.into())
    );
    for report in &reports {
        assert_eq!(report["what"], "training step");
        assert_eq!(report["batch"], 2);
        let milliseconds = report["milliseconds"].as_f64().unwrap();
        let stages = report["stages"].as_array().unwrap();
        let sum: f64 = stages
            .iter()
            .map(|s| s["milliseconds"].as_f64().unwrap())
            .sum();
        assert!(0.0 < sum && sum <= milliseconds, "{sum} of {milliseconds}");
        let layers = report["layers"].as_array().unwrap();
        let kind = |layer: &&Value| layer["kind"] == "2x2 64->32, stride 2, transposed";
        let passes: Vec<_> = layers.iter().filter(kind).map(|l| &l["pass"]).collect();
        assert_eq!(passes, ["forward", "input gradient", "weight gradient"]);
    }
    let table = stdout(&[&["bench", "--repeats", "1"], &small[..4], &["--size", "32"]].concat());
    for word in [
        "training step of 2 at 32x32, ",
        "backward of weights",
        "MaxMin",
        "GFLOP/s",
    ] {
        assert!(table.contains(word), "{word} is missing in\n{table}");
    }
}

#[test]
fn a_model_is_timed_and_wrong_use_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let model = model.to_str().unwrap();
    let reports = reports(&["--model", model, "--size", "32,64"]);
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0]["what"], "inference");
    assert!(reports[1]["layers"].as_array().unwrap().len() > 5);
    for (arguments, words) in [
        (
            vec!["--model", "nowhere.safetensors"],
            "nowhere.safetensors",
        ),
        (vec!["--model", model, "--size", "33"], "33"),
        (vec!["--repeats", "0"], "--repeats"),
        (vec!["--batch", "0"], "batch"),
        (
            vec!["--model", model, "--batch", "4"],
            "cannot be used with",
        ),
        (vec!["nowhere.toml"], "nowhere.toml"),
        (vec!["--set", "height=64", "--size", "32"], "--size"),
        (vec!["--set", "network.sides=3"], "sides"),
    ] {
        let output = certiseg(&[&["bench"], arguments.as_slice()].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(words), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn instructions_that_are_not_there_are_refused() {
    let run = |word: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_certiseg"));
        let arguments = [
            "bench",
            "--json",
            "--repeats",
            "1",
            "--set",
            "network.size=xs",
        ];
        command
            .args(arguments)
            .args(["--batch", "1", "--size", "32"]);
        command.env("CERTISEG_SIMD", word).output().unwrap()
    };
    let wrong = run("sse9");
    let message = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(2), "{message}");
    assert!(
        message.contains("sse9") && message.contains("portable"),
        "{message}"
    );
    let report: Value = serde_json::from_slice(&run("portable").stdout).unwrap();
    assert_eq!(report["instructions"], "portable");
}
