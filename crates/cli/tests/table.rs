//! `certiseg table`: rows in, a table out.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{certiseg, stdout};

/// A folder with rows of a verb.
fn rows(dir: &Path, name: &str, verb: &str, rows: &[&str]) -> PathBuf {
    let folder = dir.join(name);
    fs::create_dir_all(&folder).unwrap();
    let head = format!(
        r#"{{"kind":"head","format":1,"program":"certiseg","version":"0","verb":"{verb}","settings":{{}}}}"#
    );
    let lines: String = [&[head.as_str()], rows].concat().join("\n") + "\n";
    fs::write(folder.join("rows.jsonl"), lines).unwrap();
    folder
}

const CERTIFIED: &str = r#"{"kind":"row","image":"a","metric":"accuracy","norm":"2","clean":0.75,"value":0.62599,"eps":0.1,"lipschitz":1.0,"eta":0.0,"counted":4}"#;
const BEATEN: &str = r#"{"kind":"attack","image":"a","metric":"accuracy","norm":"2","eps":0.1,"clean":1.0,"certified":0.5,"attacked":0.25,"distance":0.1,"attack":"pgd","unsound":true}"#;

fn error(arguments: &[&str]) -> String {
    let output = certiseg(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn runs_stand_side_by_side_by_label() {
    let dir = tempfile::tempdir().unwrap();
    let run = rows(dir.path(), "a", "certify", &[CERTIFIED]);
    let run = run.to_str().unwrap();
    let [one, two] = ["one", "two"].map(|label| format!("{label}={run}"));
    let csv = ["table", "certificates", &one, &two, "--format", "csv"];
    let text = stdout(&[&csv[..], &["--digits", "3"]].concat());
    assert_eq!(
        text,
        "run,metric,average,images,clean,certified within eps (l2) 0.1\n\
         one,accuracy,mean,1,0.750,0.625\n\
         two,accuracy,mean,1,0.750,0.625\n"
    );
    let template = dir.path().join("mine.txt");
    fs::write(&template, "{{ lines[1].cells|join('/') }}").unwrap();
    let mine = ["--template", template.to_str().unwrap()];
    let text = stdout(&[&csv[..4], &mine].concat());
    assert_eq!(text, "two/accuracy/mean/1/0.7500/0.6259\n");
    fs::write(&template, "\n{{ line }}").unwrap();
    let error = error(&[&csv[..4], &mine].concat());
    assert!(error.contains("mine.txt, line 2: "), "{error}");
}

#[test]
fn what_is_wrong_has_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let run = rows(dir.path(), "a", "certify", &[CERTIFIED]);
    let run = run.to_str().unwrap();
    for (arguments, words) in [
        (vec!["tables", run], "hint: certiseg table --list"),
        (vec!["certificates", run, run], "give each a label"),
        (vec!["budgets", run], "certify --until GOAL"),
        (vec!["budgets", run, "--eps", "0.1"], "leave --eps out"),
        (
            vec!["certificates", run, "--eps", "0.3"],
            "those given have 0.1",
        ),
        (vec!["certificates", run, "--eps", "-1"], "--eps"),
        (vec!["certificates"], "RUN"),
    ] {
        let error = error(&[&["table"], &arguments[..]].concat());
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn the_list_needs_no_rows() {
    let text = stdout(&["table", "--list", "--format", "csv"]);
    assert!(text.starts_with("table,shows,papers,"), "{text}");
    assert!(text.contains("\ncorrections,"), "{text}");
}

#[test]
fn a_beaten_certificate_ends_with_three() {
    let dir = tempfile::tempdir().unwrap();
    let run = rows(dir.path(), "a", "attack", &[BEATEN]);
    let output = certiseg(&["table", "attacks", run.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("- UNSOUND: "), "{text}");
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("UNSOUND"), "{words}");
    let drawing = dir.path().join("a.svg");
    let [run, drawing] = [&run, &drawing].map(|path| path.to_str().unwrap());
    let output = certiseg(&["figure", "eps", run, "--out", drawing]);
    assert_eq!(output.status.code(), Some(3));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("UNSOUND"), "{words}");
}
