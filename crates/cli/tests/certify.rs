//! The contract of `certify`: rows that others script against.

mod common;

use std::fs;

use common::{Npz, certiseg, folder_data, logits_npz, stdout, untrained_model};
use serde_json::Value;

/// The fixture of six pixels, three classes and L = 2; the last pixel is void.
const LOGITS: [[f32; 6]; 3] = [
    [3.0, 1.0, 0.0, 2.0, 0.0, 5.0],
    [1.0, 1.0, 2.0, 1.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0, 4.0, 0.0],
];

fn rows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn fixture(dir: &std::path::Path) -> String {
    let path = dir.join("fixture.npz");
    let npz = Npz::new().logits([1, 3, 1, 6], LOGITS.as_flattened());
    npz.labels([1, 1, 6], &[0, 0, 1, 1, 2, -1]).write(&path);
    path.to_str().unwrap().to_owned()
}

#[test]
fn both_questions_of_all_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let path = fixture(dir.path());
    let out = dir.path().join("out");
    let text = stdout(&[
        "certify",
        "--logits",
        &path,
        "--lipschitz",
        "2",
        "--ignore",
        "-1",
        "--eps",
        "0,0.3,0.8",
        "--metric",
        "accuracy",
        "--metric",
        "stability",
        "--metric",
        "fnr:1",
        "--metric",
        "iou:2",
        "--until",
        "stability<=0.5",
        "--until",
        "accuracy <= 0.4",
        "--until",
        "fnr:1>=0.7",
        "--until",
        "iou:2<=0",
        "--format",
        "jsonl",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(text, fs::read_to_string(out.join("rows.jsonl")).unwrap());
    let rows = rows(&text);
    let head = &rows[0];
    assert_eq!(head["kind"], "head");
    assert_eq!(head["lipschitz"], 2.0);
    assert!(
        head["lipschitz_source"]
            .as_str()
            .unwrap()
            .contains("assumed")
    );
    assert_eq!(head["settings"]["until"][1], "accuracy<=0.4");

    let value = |metric: &str, key: &str, question: Value| {
        let found = rows
            .iter()
            .find(|row| row["metric"] == metric && row[key] == question);
        found
            .unwrap_or_else(|| panic!("no row of {metric} {key} {question}"))
            .clone()
    };
    let worst =
        |metric: &str, eps: f64| value(metric, "eps", eps.into())["value"].as_f64().unwrap();
    let budget = |metric: &str, goal: &str| {
        value(metric, "goal", goal.into())["value"]
            .as_f64()
            .unwrap()
    };
    // rounded down, so at most the nearest double of the exact fraction
    let clean = value("accuracy", "eps", 0.0.into())["clean"]
        .as_f64()
        .unwrap();
    assert_eq!(near(clean), near(0.8));
    assert_eq!(
        [
            worst("accuracy", 0.0),
            worst("accuracy", 0.3),
            worst("accuracy", 0.8)
        ]
        .map(near),
        [near(0.6), near(0.6), near(0.4)]
    );
    assert_eq!(near(worst("fnr:1", 0.8)), near(1.0));
    assert_eq!(near(worst("iou:2", 0.8)), near(1.0 / 3.0));
    assert!(worst("iou:2", 0.8) <= 1.0 / 3.0);
    // squares of the radii: 5/8 for three of six pixels, 1/2 for the third wrong one of five
    assert_eq!(
        near(budget("stability", "stability<=0.5")),
        near(0.625f64.sqrt())
    );
    assert!(budget("stability", "stability<=0.5") <= 0.625f64.sqrt());
    assert_eq!(
        near(budget("accuracy", "accuracy<=0.4")),
        near(0.5f64.sqrt())
    );
    assert_eq!(near(budget("fnr:1", "fnr:1>=0.7")), near(0.5f64.sqrt()));
    assert_eq!(near(budget("iou:2", "iou:2<=0")), near(1.125f64.sqrt()));
    for row in &rows[1..] {
        for key in [
            "image",
            "metric",
            "norm",
            "clean",
            "value",
            "lipschitz",
            "eta",
        ] {
            assert!(!row[key].is_null(), "{key} in {row}");
        }
        assert_ne!(row["eps"].is_null(), row["goal"].is_null(), "{row}");
    }
}

/// Nine digits: certified numbers lie within 1e-9 of the exact ones.
fn near(value: f64) -> String {
    format!("{value:.9}")
}

#[test]
fn undefined_and_unreachable_have_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = logits_npz(dir.path());
    let path = path.to_str().unwrap();
    let text = stdout(&[
        "certify",
        "--logits",
        path,
        "--lipschitz",
        "1",
        "--format",
        "jsonl",
        "--until",
        "accuracy<0",
        "--metric",
        "fnr:0",
        "--eps",
        "0.1",
    ]);
    let rows = rows(&text);
    let unreachable = rows.iter().find(|row| row["goal"] == "accuracy<0").unwrap();
    assert_eq!(unreachable["unreachable"], true);
    assert!(unreachable["value"].is_null());
    let npz = Npz::new().logits([1, 2, 1, 2], &[1.0, 0.0, 0.0, 2.0]);
    let absent = dir.path().join("absent.npz");
    npz.labels([1, 1, 2], &[0, 0]).write(&absent);
    let absent = absent.to_str().unwrap();
    let text = stdout(&[
        "certify",
        "--logits",
        absent,
        "--lipschitz",
        "1",
        "--format",
        "jsonl",
        "--metric",
        "iou:1",
        "--eps",
        "0.1",
    ]);
    assert_eq!(self::rows(&text)[1]["undefined"], true);
}

#[test]
fn a_table_and_csv() {
    let dir = tempfile::tempdir().unwrap();
    let path = fixture(dir.path());
    let base = [
        "certify",
        "--logits",
        &path,
        "--lipschitz",
        "2",
        "--ignore",
        "-1",
        "--eps",
        "0.3",
    ];
    let table = stdout(&base);
    for word in [
        "accuracy",
        "stability",
        "0.5999",
        "eps = 0.3",
        "L = 2",
        "assumed",
    ] {
        assert!(table.contains(word), "{word:?} is not in\n{table}");
    }
    let csv = stdout(
        &[
            base.as_slice(),
            &["--format", "csv", "--metric", "accuracy"],
        ]
        .concat(),
    );
    let lines: Vec<_> = csv.lines().collect();
    assert!(lines[0].starts_with("image,metric,norm,clean,value,eps,goal"));
    // 4/5 to the nearest; 0.6 is the largest double of at most 3/5
    assert!(
        lines[1].starts_with("0,accuracy,2,0.8,0.6,"),
        "{}",
        lines[1]
    );
}

#[test]
fn a_model_on_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 3);
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    let arguments = [
        "certify", "--model", model, "--data", data, "--format", "jsonl", "--eps", "0,0.1",
    ];
    let text = stdout(&arguments);
    assert_eq!(text, stdout(&arguments));
    let rows = rows(&text);
    assert!(
        rows[0]["lipschitz_source"]
            .as_str()
            .unwrap()
            .contains("audited")
    );
    assert!((2.0..2.001).contains(&rows[0]["lipschitz"].as_f64().unwrap()));
    assert!(rows[0]["eta_source"].as_str().unwrap().contains("measured"));
    assert_eq!(rows.len(), 1 + 3 * 2 * 2);
    assert!(rows[1]["eta"].as_f64().unwrap() > 0.0);

    let json = stdout(&["audit", "--model", model, "--json"]);
    let audit: Value = serde_json::from_str(&json).unwrap();
    // the constant of the features: that of all but for the rounding of an orthonormal head
    let [all, features] = [&audit, &rows[0]].map(|of| of["lipschitz"].as_f64().unwrap());
    assert!((all / features - 1.0).abs() < 1e-6, "{all} {features}");
    assert!(stdout(&["audit", "--model", model]).contains("encoder.0.0"));
    let attack = [
        "attack", "--model", model, "--data", data, "--eps", "1e-6,0.5", "--steps", "3",
    ];
    let output = certiseg(&attack);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("on 3/3 images"));
}
