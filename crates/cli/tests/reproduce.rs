//! `certiseg reproduce` from the outside.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{certiseg, folder_data, stdout, untrained_model};
use serde_json::Value;

/// A manifest of two steps: certificates of a model, and paper 002's experiment.
fn manifest(dir: &Path, toy: &str) -> PathBuf {
    let text = format!(
        r#"
of = "002"
item = "Figure 0"
shows = "what the test is about"
no_full = "there is none"
note = "to be read"
[laptop]
time = "1 s"
known = "estimated"
scaled = "everything"
model = "a file that the test makes"
result = [["data", "info", "{{data}}"]]
[laptop.data]
layout = "folder"
splits = ["train"]
from = "the test makes it"
[[laptop.steps]]
name = "certify"
run = ["certify", "--model", "{{model}}", "--data", "{{data}}", "--split", "train", "--eps", "0.1", "--metric", "accuracy", "--out", "{{out}}/certify"]
[[laptop.steps]]
name = "toy"
run = ["smooth", "toy", {toy}, "--out", "{{out}}/toy"]
[[paper]]
label = "worst accuracy"
value = 0.25
at = "Table 0"
run = "certify"
ours = {{ kind = "worst", metric = "accuracy", eps = 0.1 }}
[[paper]]
label = "without ours"
says = "a lot"
at = "section 0"
"#
    );
    let path = dir.join("small.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Model, data with the split, and the folder to work in.
fn places(dir: &Path) -> [PathBuf; 3] {
    let data = folder_data(dir, "data", 3);
    fs::write(data.join("train.txt"), "0\n1\n2\n").unwrap();
    [untrained_model(dir), data, dir.join("out")]
}

fn line<'a>(manifest: &'a Path, [model, data, out]: &'a [PathBuf; 3]) -> Vec<&'a str> {
    let text = |path: &'a PathBuf| path.to_str().unwrap();
    let (model, data, out) = (text(model), text(data), text(out));
    let name = manifest.to_str().unwrap();
    vec![
        "reproduce",
        name,
        "--model",
        model,
        "--data",
        data,
        "--out",
        out,
    ]
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refused(arguments: &[&str], expected: &[&str]) {
    let output = certiseg(&[&["reproduce"][..], arguments].concat());
    let words = words(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {words}");
    for part in expected {
        assert!(words.contains(part), "{arguments:?}: {words}");
    }
}

#[test]
fn steps_run_once_and_ours_stands_beside_the_paper() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let toy = r#""--figure", "2a", "--runs", "2", "--step", "0.05""#;
    let manifest = manifest(dir.path(), toy);
    let line = line(&manifest, &places);
    let first = certiseg(&line);
    assert!(first.status.success(), "{}", words(&first));
    let text = String::from_utf8(first.stdout.clone()).unwrap();
    let out = &places[2];
    let rows = fs::read_to_string(out.join("certify/rows.jsonl")).unwrap();
    let values = rows.lines().skip(1).map(|row| {
        let row: Value = serde_json::from_str(row).unwrap();
        row["value"].as_f64().unwrap()
    });
    let values: Vec<f64> = values.collect();
    let mean = certiseg_cert::mean_lower(&values).unwrap();
    let ours = certiseg_cert::round_down(mean, 4);
    for part in [
        "0.25",
        ours.as_str(),
        "Table 0",
        "a lot",
        "scaled down: everything",
        "note: to be read",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // results are printed, steps are logged
    assert!(text.contains("folder"), "{text}");
    assert!(out.join("logs/toy.txt").metadata().unwrap().len() > 0);

    let again = certiseg(&line);
    assert!(again.status.success());
    let said = words(&again);
    assert_eq!(said.matches("done before").count(), 2, "{said}");

    // begun only: it goes on, and the rows are those of before
    let journal = out.join("reproduce.json");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(
        &journal,
        text.replacen("\"done\": true", "\"done\": false", 1),
    )
    .unwrap();
    let third = certiseg(&line);
    assert!(third.status.success(), "{}", words(&third));
    let said = words(&third);
    assert!(said.contains("--resume"), "{said}");
    assert_eq!(
        fs::read_to_string(out.join("certify/rows.jsonl")).unwrap(),
        rows
    );

    // other settings: anew, and what comes after it too
    let other = text_with(&manifest, "\"0.1\"", "\"0.1,0.2\"");
    fs::write(&manifest, other).unwrap();
    let fourth = certiseg(&line);
    assert!(fourth.status.success(), "{}", words(&fourth));
    let said = words(&fourth);
    assert!(!said.contains("done before"), "{said}");
    assert_eq!(said.matches("made anew").count(), 2, "{said}");

    // the folder holds something else
    let name = dir.path().join("other.toml");
    fs::copy(&manifest, &name).unwrap();
    let name = name.to_str().unwrap();
    let arguments = [&["reproduce", name][..], &line[2..]].concat();
    let output = certiseg(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("another --out"),
        "{}",
        words(&output)
    );
}

fn text_with(path: &Path, from: &str, to: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    text.replace(from, to)
}

#[cfg(unix)]
#[test]
fn what_is_stopped_goes_on_at_its_step() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    // nobody waits for its end
    let toy = r#""--figure", "2b", "--runs", "1000000""#;
    let manifest = manifest(dir.path(), toy);
    let line = line(&manifest, &places);
    let log = places[2].join("logs/toy.txt");
    let stopped = || {
        let _ = fs::remove_file(&log);
        let mut command = Command::new(env!("CARGO_BIN_EXE_certiseg"));
        let command = command.args(&line).stdout(Stdio::null());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while !log.exists() {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "the step never began"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        // until it listens
        std::thread::sleep(Duration::from_millis(500));
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", words(&output));
        words(&output)
    };
    let said = stopped();
    assert!(said.contains("stopped at step toy"), "{said}");
    let journal = fs::read_to_string(places[2].join("reproduce.json")).unwrap();
    let journal: Value = serde_json::from_str(&journal).unwrap();
    let done = |step: usize| journal["steps"][step]["done"].as_bool();
    assert_eq!((done(0), done(1)), (Some(true), Some(false)));
    let said = stopped();
    assert!(said.contains("step 1/2 certify: done before"), "{said}");
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let [model, data, out] = places(dir.path());
    let [model, data, out] = [&model, &data, &out].map(|path| path.to_str().unwrap());
    refused(
        &["001-table2"],
        &["needs data of the layout kvasir", "--data DIR"],
    );
    let kvasir = dir.path().join("kvasir");
    for folder in ["images", "masks"] {
        fs::create_dir_all(kvasir.join(folder)).unwrap();
    }
    let kvasir = kvasir.to_str().unwrap();
    refused(
        &["table2", "--data", kvasir],
        &["is not what 001-table2 needs"],
    );
    refused(&["table2", "--data", "/nowhere"], &["/nowhere"]);
    refused(&["002-fig2", "--data", data], &["reads no data set"]);
    refused(&["002-fig2", "--model", model], &["needs no model"]);
    refused(
        &["002-fig1"],
        &["Figure 1 of paper 002 cannot be reproduced"],
    );
    refused(
        &["001-table1", "--scale", "full"],
        &["no scale full", "--scale laptop"],
    );
    refused(&["003-fig1"], &["003-fig1", "--list"]);

    let manifest = manifest(dir.path(), r#""--runs", "1""#);
    let name = manifest.to_str().unwrap();
    refused(
        &[name, "--data", data],
        &["needs a model", "a file that the test makes"],
    );
    let gone = ["--data", data, "--model", "gone.safetensors"];
    refused(
        &[&[name][..], &gone[..]].concat(),
        &["gone.safetensors is no file"],
    );
    // a step that fails: its name, its log, nothing of the next
    let broken = text_with(&manifest, "--eps", "--epz");
    fs::write(&manifest, broken).unwrap();
    let line = [name, "--data", data, "--model", model, "--out", out];
    refused(
        &line,
        &[
            "--epz",
            "step certify ended with exit code 2",
            "certify.txt",
        ],
    );
    assert!(!Path::new(out).join("toy").exists());
}

#[test]
fn the_list_has_all_tables_and_figures() {
    let text = stdout(&["reproduce", "--list"]);
    for part in [
        "001-table2",
        "002-fig6",
        "not reproduced: ",
        "laptop: ",
        "full: ",
    ] {
        assert!(text.contains(part), "{part}");
    }
}
