//! `cloud train`: a folder with a model that is audited and smoothed, and what it refuses.

mod common;

use std::fs;

use common::smooth::{rows, text};
use common::{certiseg, stdout};

const FEW: [&str; 4] = ["--generate", "10", "--points", "64"];

#[test]
fn a_model_is_trained_audited_and_smoothed() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    fs::write(
        &config,
        "epochs = 3\nbatch = 4\n[network]\nlocal = [8]\nglobal = 8\nhead = [16]\n",
    )
    .unwrap();
    let mut models = Vec::new();
    for lipschitz in ["true", "false"] {
        let out = dir.path().join(lipschitz);
        let set = format!("network.lipschitz={lipschitz}");
        let words = [
            "cloud",
            "train",
            text(&config),
            "--out",
            text(&out),
            "--set",
            &set,
        ];
        stdout(&[&words[..], &FEW].concat());
        let settings: toml::Table = fs::read_to_string(out.join("config.toml"))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(settings["network"]["parts"].as_integer(), Some(13));
        assert_eq!(settings["epochs"].as_integer(), Some(3));
        let losses = rows(&fs::read_to_string(out.join("losses.jsonl")).unwrap());
        let losses: Vec<_> = losses
            .iter()
            .map(|row| row["loss"].as_f64().unwrap())
            .collect();
        assert!(losses.len() == 3 && losses[2] < losses[0], "{losses:?}");
        models.push(out.join("model.safetensors"));
        // again: the same bytes
        let again = dir.path().join(format!("{lipschitz}.again"));
        let words = [
            "cloud",
            "train",
            text(&config),
            "--out",
            text(&again),
            "--set",
            &set,
        ];
        stdout(&[&words[..], &FEW].concat());
        let bytes = |path| fs::read(path).unwrap();
        assert_eq!(
            bytes(&again.join("model.safetensors")),
            bytes(&models[models.len() - 1])
        );
        let refused = certiseg(&[&words[..], &FEW].concat());
        assert_eq!(refused.status.code(), Some(2), "the folder is there");
    }
    let constant = |model| -> f64 {
        let audit = stdout(&["audit", text(model), "--size", "1x64", "--json"]);
        let audit: serde_json::Value = serde_json::from_str(&audit).unwrap();
        audit["lipschitz"].as_f64().unwrap()
    };
    let bound = constant(&models[0]);
    assert!(bound > 1.0 && bound < 2f64.sqrt() * 1.0001, "{bound}");
    for model in &models {
        let words = [
            "cloud",
            "smooth",
            "--model",
            text(model),
            "--sigma",
            "0.05",
            "--n",
            "40",
            "--tau",
            "0.6",
        ];
        let judged = rows(&stdout(
            &[&words[..], &FEW, &["--format", "jsonl"]].concat(),
        ));
        assert!(
            judged.iter().any(|row| row["kind"] == "smooth"),
            "{judged:?}"
        );
    }
}

#[test]
fn what_cannot_be_trained() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let refused = |more: &[&str], word: &str| {
        let output = certiseg(&[&["cloud", "train", "--out", text(&out)], more].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        assert!(message.contains(word), "{word:?} is not in: {message}");
        assert!(!out.exists(), "{more:?} left a folder");
    };
    let with = |set| [&FEW[..], &["--set", set]].concat();
    refused(&[], "--generate");
    refused(&with("sigma=-1"), "sigma is -1");
    refused(&with("network.parts=2"), "network.parts is 2");
    refused(&with("network.width=2"), "width");
    let odd = [
        &with("network.global=7")[..],
        &["--set", "network.lipschitz=true"],
    ]
    .concat();
    refused(&odd, "multiple of 2 channels");
    let no_file = dir.path().join("none.toml");
    refused(&[&[text(&no_file)], &FEW[..]].concat(), "cannot read");
}
