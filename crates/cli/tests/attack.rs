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
        // as certificates measure it
        assert_eq!(row["lengths"]["l2"], row["distance"]);
        let before_and_after = row["iou"].as_array().unwrap();
        assert_eq!(before_and_after.len(), 3);
        assert!(
            before_and_after
                .iter()
                .all(|pair| pair.as_array().unwrap().len() == 2)
        );
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
    refused("0.001,0.002", alone, "that it was made within");
    refused("0.5,0.1", alone, "rising budgets");
    let output = certiseg(&[&base[..], &["--save", saved]].concat());
    assert_eq!(output.status.code(), Some(2), "the folder is not empty");
}

#[test]
fn attacks_stay_in_their_region() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 1);
    let [model, data] = [&model, &data].map(|path| path.to_str().unwrap());
    let mask = dir.path().join("mask.png");
    let inside = |x: u32, y: u32| (2..30).contains(&x) && (20..28).contains(&y);
    let drawn = image::GrayImage::from_fn(32, 32, |x, y| image::Luma([u8::from(inside(x, y))]));
    drawn.save(&mask).unwrap();
    let mask = mask.to_str().unwrap();
    let base = [
        "attack", "--model", model, "--data", data, "--eps", "8", "--steps", "3",
    ];
    let base = [&base[..], &["--format", "jsonl"]].concat();
    let saved = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let attacked = |region: &str, folder: &str| {
        let more = ["--region", region, "--save", folder];
        rows(&stdout(&[&base[..], &more].concat()))
    };
    let [a, b] = ["a", "b"].map(saved);
    let [rectangle, drawn] = [attacked("2,20,28,8", &a), attacked(mask, &b)];
    assert_eq!(rectangle[0]["settings"]["region"], "2,20,28,8");
    assert!(drawn[0]["settings"]["region_hash"].is_string());
    assert_eq!(rectangle[1]["region"], 224);
    assert_eq!(rectangle[1..], drawn[1..]);
    let numbers = |name: &str| -> Vec<f32> {
        let bytes = bytes_of(&dir.path().join("a/0.npz"), name);
        let numbers = bytes.chunks_exact(4);
        numbers
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect()
    };
    let (clean, changed) = (numbers("clean"), numbers("attacked"));
    let differs = |at: &usize| clean[*at] != changed[*at];
    let place = |at: usize| ((at % 32) as u32, (at / 32 % 32) as u32);
    let moved: Vec<usize> = (0..3 * 32 * 32).filter(differs).collect();
    assert!(!moved.is_empty(), "an untrained network gives way");
    for at in moved {
        let (x, y) = place(at);
        assert!(inside(x, y), "{x},{y}");
    }
    let refused = |region: &str, expected: &str| {
        let output = certiseg(&[&base[..], &["--region", region]].concat());
        assert_eq!(output.status.code(), Some(2), "{region}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains(expected), "{words}");
    };
    refused("30,0,3,1", "ends in column 33");
    refused("0,0,0,4", "no pixel");
    refused("0,0,4", "X,Y,WIDTH,HEIGHT");
    refused("nowhere.png", "nowhere.png");
    let small = dir.path().join("small.png");
    image::GrayImage::from_pixel(8, 8, image::Luma([1]))
        .save(&small)
        .unwrap();
    refused(
        small.to_str().unwrap(),
        "the region is 8x8, the pictures are 32x32",
    );
    // the same pictures, said to be attacked elsewhere
    let evaluate = [
        "attack",
        "--model",
        model,
        "--data",
        data,
        "--eps",
        "8",
        "--evaluate",
        &a,
    ];
    let output = certiseg(&[&evaluate[..], &["--region", "0,0,2,2"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("outside the region"), "{words}");
    stdout(&[&evaluate[..], &["--region", mask]].concat());
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
        (&["--eps", "2/255"][..], "write 0.00784313725490196 for"),
    ] {
        let output = certiseg(&[&base[..], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn a_beaten_certificate_is_told_though_nobody_reads_the_tables() {
    use std::process::{Command, Stdio};

    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 1);
    let out = dir.path().join("out");
    let [model, data, out] = [&model, &data, &out].map(|path| path.to_str().unwrap());
    let run = ["attack", "--model", model, "--data", data, "--eps", "0.1"];
    stdout(&[&run[..], &["--steps", "1", "--out", out]].concat());
    let path = dir.path().join("out/rows.jsonl");
    let kind = r#""kind":"attack","#;
    let beaten = format!(r#"{kind}"unsound":true,"#);
    let rows = fs::read_to_string(&path).unwrap();
    fs::write(&path, rows.replacen(kind, &beaten, 1)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_certiseg"))
        .args(["merge", out])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("UNSOUND"), "{words}");

    // gone on with where nothing is left to do: the pictures are shown to whoever has none
    let saved = dir.path().join("saved");
    fs::create_dir(&saved).unwrap();
    fs::write(saved.join("0.npz"), "").unwrap();
    let saved = saved.to_str().unwrap();
    let resume = ["--steps", "1", "--out", out, "--resume"];
    for (save, hinted) in [(&[][..], true), (&["--save", saved][..], false)] {
        let output = certiseg(&[&run[..], &resume, save].concat());
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{words}");
        assert!(words.contains("please report this"), "{words}");
        let hint = words.contains("again with --save DIR and the same seed, --seed 0");
        assert_eq!(hint, hinted, "{words}");
    }
}
