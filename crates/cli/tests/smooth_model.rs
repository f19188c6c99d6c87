//! `smooth --model`: samples of a model, drawn as they are counted; shards, Ctrl-C within an image, looks.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::smooth::{rows, text};
use common::{bytes_of, certiseg, folder_data, stdout, untrained_model};
use serde_json::Value;

/// An untrained model and pictures, as arguments.
struct Scene {
    dir: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Scene {
    fn new(pictures: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = untrained_model(dir.path());
        let data = folder_data(dir.path(), "data", pictures);
        let words = ["smooth", "--model", text(&model), "--data", text(&data)];
        let arguments = words.map(str::to_owned).to_vec();
        Scene { dir, arguments }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn with<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let base = self.arguments.iter().map(String::as_str);
        let sigma = ["--sigma", "0.1"];
        let given = more.contains(&sigma[0]);
        base.chain(["--tau", "0.6"])
            .chain(sigma.into_iter().filter(|_| !given))
            .chain(more.iter().copied())
            .collect()
    }

    /// Rows of a run that succeeds.
    fn rows(&self, more: &[&str]) -> Vec<Value> {
        rows(&stdout(
            &self.with(&[more, &["--format", "jsonl"]].concat()),
        ))
    }

    /// Exit code 2 with these words.
    fn refused(&self, more: &[&str], words: &[&str]) {
        let output = certiseg(&self.with(more));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        println!("{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    }

    /// Runs until a sample within the second image is drawn, and asks it to stop.
    fn stopped(&self, more: &[&str], each: u64) -> String {
        let mut child = Command::new(env!("CARGO_BIN_EXE_certiseg"))
            .args(self.with(more))
            .args(["--progress", "json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let within = lines.by_ref().map(Result::unwrap).any(|line| {
            let line: Value = serde_json::from_str(&line).unwrap();
            let done = line["done"].as_u64();
            done.is_some_and(|done| done > each && done % each > 20)
        });
        assert!(within, "it was too fast");
        let id = child.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().unwrap();
        let rest: Vec<_> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
        rest.join("\n")
    }
}

fn file(dir: &Path) -> String {
    fs::read_to_string(dir.join("rows.jsonl")).unwrap()
}

#[test]
fn a_model_is_sampled_and_judged() {
    let scene = Scene::new(2);
    let rows = scene.rows(&["--n", "40"]);
    assert_eq!(rows.len(), 4, "a head, two images, the data set");
    let network = &rows[0]["settings"]["network"];
    assert_eq!((&network["n"], &network["seed"]), (&40.into(), &0.into()));
    assert_eq!(rows[0]["settings"]["classes"], 3);
    for row in &rows[1..3] {
        let sampling = &row["sampling"];
        assert_eq!(sampling["forwards"], 50);
        assert_eq!(sampling["samples"], 40);
        assert_eq!(sampling["canary"], "no-duplicates");
        assert_eq!(sampling["floating_point"], "covered");
        assert_eq!(row["tests"], 1024);
        assert!(row["certified_components"].as_u64().unwrap() > 0, "{row}");
        assert_eq!(row["figures"]["counts"]["counted"], 1024);
    }
    // scales and flips are forwards each, and a single stage draws no samples beside n
    let views = ["--n", "30", "--scales", "1,2", "--flips", "--limit", "1"];
    let row = &scene.rows(&[&views[..], &["--single-stage", "--noise", "f32"]].concat())[1];
    assert_eq!(row["sampling"]["forwards"], 120);
    assert_eq!(row["sampling"]["floating_point"], "modulo");
    // maps, curves and levels as of samples from files
    let out = scene.out("maps");
    let levels = scene.out("levels.json");
    fs::write(&levels, "[[0,1,2],[0,3,3],[4,4,4]]").unwrap();
    let more = [
        "--n",
        "40",
        "--curve",
        "--radius-map",
        "--correction",
        "bonferroni",
        "--hierarchy",
        text(&levels),
        "--out",
        text(&out),
    ];
    let with = scene.rows(&more);
    let kinds: Vec<_> = with
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    let [one, two] = [["smooth", "smooth-curve"]; 2];
    assert_eq!(
        kinds,
        [&["head"], &one[..], &two, &["smooth-dataset"]].concat()
    );
    // the leaves are the same votes, at the same level
    let plain = scene.rows(&["--n", "40", "--correction", "bonferroni"]);
    assert_eq!(
        with[1]["certified_components"],
        plain[1]["certified_components"]
    );
    assert_eq!(bytes_of(&out.join("0.npz"), "level").len(), 2 * 1024);
    assert_eq!(bytes_of(&out.join("0.npz"), "radius").len(), 4 * 1024);
    assert!(!out.join("sampling").exists());
}

#[test]
fn shards_merged_are_one_run_to_the_byte() {
    let scene = Scene::new(5);
    let whole = scene.out("whole");
    let run = |more: &[&str]| {
        stdout(&scene.with(&[&["--n", "25", "--correction", "count:9"], more].concat()))
    };
    let table = run(&["--out", text(&whole)]);
    for of in [1, 2, 7] {
        let parts = scene.out(&format!("parts{of}"));
        for part in 0..of {
            run(&["--out", text(&parts), "--shard", &format!("{part}/{of}")]);
        }
        let merged = scene.out(&format!("merged{of}"));
        let shown = stdout(&["merge", text(&parts), "--out", text(&merged)]);
        assert_eq!(file(&merged), file(&whole));
        assert_eq!(shown.trim(), table.trim());
    }
}

#[test]
fn a_run_that_was_stopped_within_an_image_goes_on_there() {
    let scene = Scene::new(3);
    let looks = ["--looks", "1500,3000", "--least-gain", "0"];
    for (name, how) in [("plain", &["--n", "3000"][..]), ("looks", &looks)] {
        let out = scene.out(name);
        let into = [how, &["--out", text(&out)]].concat();
        let message = scene.stopped(&into, 3010);
        assert!(message.contains("samples"), "{message}");
        let states = fs::read_dir(out.join("sampling")).unwrap().count();
        assert!(states > 0 && !out.join("rows.jsonl").exists());
        // what is there belongs to this run alone
        let other = scene.out(&format!("{name}-other"));
        fs::create_dir_all(other.join("sampling")).unwrap();
        for entry in fs::read_dir(out.join("sampling"))
            .unwrap()
            .map(Result::unwrap)
        {
            fs::copy(entry.path(), other.join("sampling").join(entry.file_name())).unwrap();
        }
        let changed = [how, &["--out", text(&other), "--resume", "--seed", "1"]].concat();
        scene.refused(&changed, &["seed"]);
        let changed = [&into[..], &["--resume", "--seed", "1"]].concat();
        scene.refused(&changed, &["settings.network.seed is 0", "now 1"]);

        stdout(&scene.with(&[&into[..], &["--resume"]].concat()));
        let unbroken = scene.out(&format!("{name}-unbroken"));
        stdout(&scene.with(&[how, &["--out", text(&unbroken)]].concat()));
        assert_eq!(file(&out), file(&unbroken));
        for image in 0..3 {
            let map = |out: &Path| fs::read(out.join(format!("{image}.npz"))).unwrap();
            assert!(map(&out) == map(&unbroken));
        }
        assert!(!out.join("sampling").exists());
    }
}

#[test]
fn looks_stop_early_and_keep_what_they_certified() {
    let scene = Scene::new(2);
    let counts = |row: &Value| {
        let samples = row["sampling"]["samples"].as_u64().unwrap();
        (samples, row["certified_components"].as_u64().unwrap())
    };
    let all = scene.rows(&["--looks", "40,80,160", "--least-gain", "0"]);
    let early = scene.rows(&["--looks", "40,80,160", "--least-gain", "1"]);
    let first = scene.rows(&["--looks", "40"]);
    let fixed = scene.rows(&["--n", "40"]);
    // one look is the whole of alpha
    assert_eq!(counts(&first[1]), counts(&fixed[1]));
    assert_eq!(first[1]["alpha"], 0.001);
    let [(all, reached), (early, kept)] = [counts(&all[1]), counts(&early[1])];
    assert!(
        early < all && kept <= reached,
        "{early} {all} {kept} {reached}"
    );
}

#[test]
fn mean_logits_share_a_budget() {
    let scene = Scene::new(2);
    // less noise than the margins of an untrained network
    let noise = ["--n", "60", "--noise", "f32", "--sigma", "0.02"];
    let rows = scene.rows(&[&noise[..], &["--hybrid", "0,0.001,1"]].concat());
    let hybrid: Vec<_> = rows
        .iter()
        .filter(|row| row["kind"] == "smooth-hybrid")
        .collect();
    assert_eq!(hybrid.len(), 2 * 3);
    for image in hybrid.chunks(3) {
        let value = |row: &Value| row["value"].as_f64().unwrap();
        let [none, little, much] = [0, 1, 2].map(|at| value(image[at]));
        assert!(none >= little && little >= much && none <= 1.0 && much < 1.0);
        assert!(none > 0.0, "a bound that certifies nothing cannot fail");
        assert!(image[0]["lipschitz"].as_f64().unwrap() > 0.0);
        assert!(
            image[0]["statement"]
                .as_str()
                .unwrap()
                .contains("mean logits")
        );
    }
    // the votes are those of the same samples without it
    let plain = scene.rows(&noise);
    let votes: Vec<_> = rows.iter().filter(|row| row["kind"] == "smooth").collect();
    assert_eq!(
        votes,
        plain
            .iter()
            .filter(|row| row["kind"] == "smooth")
            .collect::<Vec<_>>()
    );
    for wrong in [
        &["--noise", "grid"][..],
        &["--noise", "f32", "--flips"],
        &["--noise", "f32", "--scales", "1,2"],
    ] {
        scene.refused(
            &[&["--hybrid", "0.1"], wrong].concat(),
            &["--hybrid", "--noise f32"],
        );
    }
    scene.refused(&["--noise", "f32", "--hybrid", "-1"], &["budget"]);
}

#[test]
fn pictures_without_masks_have_no_accuracy() {
    let scene = Scene::new(2);
    let images = scene.out("data").join("images");
    let data = ["--data", text(&images), "--layout", "images"];
    let model = scene.arguments[2].clone();
    let rest = ["--sigma", "0.1", "--n", "30", "--format", "jsonl"];
    let words = [&["smooth", "--model", &model], &data[..], &rest].concat();
    let row = &rows(&stdout(&words))[1];
    assert!(row["figures"].is_null() && row["tests"] == 1024, "{row}");
}

#[test]
fn wrong_moves() {
    let scene = Scene::new(1);
    let out = scene.out("out");
    let wrong = |more: &[&str], words: &[&str]| {
        scene.refused(&[more, &["--out", text(&out)]].concat(), words);
        assert!(!out.exists());
    };
    wrong(&["--size", "33"], &["33"]);
    wrong(&["--n0", "0"], &["--n0 0 leaves no class"]);
    wrong(&["--n", "0"], &["--n"]);
    wrong(
        &["--family", "screened", "--screen", "11"],
        &["--screen 11 of 10"],
    );
    wrong(&["--n", "16777217"], &["at most 16777216"]);
    wrong(&["--n0", "300"], &["n0", "300", "255"]);
    wrong(
        &["--single-stage", "--n", "5", "--n0", "6"],
        &["--n0 6 of --n 5"],
    );
    wrong(&["--looks", "50,50"], &["rise"]);
    wrong(&["--looks", "50", "--single-stage"], &["two stages"]);
    wrong(
        &["--looks", "50", "--correction", "count:3"],
        &["--looks", "holm"],
    );
    wrong(&["--looks", "50", "--radius-map"], &["alpha"]);
    wrong(
        &["--looks", "50", "--least-gain", "nan"],
        &["--least-gain NaN"],
    );
    wrong(&["--looks", "50", "--n", "60"], &["cannot be used"]);
    wrong(&["--scales", "0"], &["scales"]);
    wrong(&["--unit", "mm"], &["--unit"]);
    wrong(&["--samples", "a.npz"], &["cannot be used"]);
    let bare = &scene.arguments[..3];
    let bare: Vec<&str> = bare.iter().map(String::as_str).collect();
    let output = certiseg(&[&bare[..], &["--sigma", "0.1"]].concat());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && message.contains("--data"),
        "{message}"
    );
    for sigma in ["0", "-1", "nan", "inf"] {
        let words: Vec<&str> = scene.arguments.iter().map(String::as_str).collect();
        let output = certiseg(&[&words[..], &["--sigma", sigma]].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && message.contains("sigma"),
            "{message}"
        );
    }
    let other = scene.dir.path().join("other.safetensors");
    let mut bytes = fs::read(&scene.arguments[2]).unwrap();
    // the last byte of the last tensor: another model of the same shape
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&other, bytes).unwrap();
    let run = ["--sigma", "0.1", "--n", "20", "--out", text(&out)];
    let words: Vec<&str> = scene.arguments.iter().map(String::as_str).collect();
    stdout(&[&words[..], &run].concat());
    let mut changed = words.clone();
    changed[2] = text(&other);
    let output = certiseg(&[&changed[..], &run, &["--resume"]].concat());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && message.contains("model"),
        "{message}"
    );
}
