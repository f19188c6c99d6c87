//! `cloud`: generated shapes, ShapeNet part, votes about points, rotations; shards, Ctrl-C within a cloud.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use certiseg_net::checkpoint::save_model;
use certiseg_net::cloud::network::{Kind, Settings, Weights};
use certiseg_net::cloud::small::SmallPointNet;
use certiseg_net::parameters::Parameters;
use common::smooth::{rows, text};
use common::{bytes_of, certiseg, stdout};
use serde_json::Value;

/// An untrained small PointNet for 13 parts.
fn small(dir: &Path) -> PathBuf {
    let settings = SmallPointNet {
        parts: 13,
        local: vec![8],
        global: 16,
        head: vec![16],
        lipschitz: false,
    };
    let nodes = settings.nodes();
    let network = Parameters::start(&nodes, 3).bake(&nodes).unwrap();
    let path = dir.join("small.safetensors");
    save_model(&path, &network, None).unwrap();
    path
}

/// An untrained PointNet for so many categories and parts.
fn model(dir: &Path, categories: usize, parts: usize) -> PathBuf {
    let settings = Settings {
        kind: Kind::PointNet,
        channels: 3,
        categories,
        parts,
    };
    let path = dir.join("net.safetensors");
    let weights = Weights::random(settings, 3).unwrap();
    weights.save(&path).unwrap();
    path
}

struct Scene {
    dir: tempfile::TempDir,
    model: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = small(dir.path());
        Scene { dir, model }
    }

    /// With a network that takes its time.
    fn slow() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = model(dir.path(), 5, 13);
        Scene { dir, model }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn with<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["cloud", "smooth", "--model", text(&self.model)];
        // files have their points
        if !more.contains(&"--data") {
            words.extend(["--points", "24"]);
        }
        // one may be named once
        if !more.contains(&"--tau") {
            words.extend(["--tau", "0.6"]);
        }
        words.extend(more);
        words
    }

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
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    }
}

fn file(dir: &Path) -> String {
    fs::read_to_string(dir.join("rows.jsonl")).unwrap()
}

#[test]
fn shapes_are_made_and_read() {
    let scene = Scene::new();
    let made = scene.out("made");
    let words = [
        "cloud",
        "shapes",
        text(&made),
        "--count",
        "6",
        "--points",
        "24",
    ];
    stdout(&words);
    let names = fs::read_to_string(made.join("shapes.jsonl")).unwrap();
    let dimensions = rows(&names);
    assert_eq!(dimensions.len(), 6);
    assert_eq!(dimensions[5]["id"], "mug_00005");
    assert!(dimensions[5]["radius"].as_f64().unwrap() > 0.2);
    assert_eq!(
        bytes_of(&made.join("lamp_00002.npz"), "points").len(),
        24 * 12
    );
    let output = certiseg(&words);
    assert_eq!(output.status.code(), Some(2), "the folder is there");

    // the same clouds whether read or generated, but for their order
    let few = ["--sigma", "0.1", "--n", "30"];
    let read = scene.rows(&[&["--data", text(&made)][..], &few].concat());
    let generated = scene.rows(&[&["--generate", "6"][..], &few].concat());
    let of = |rows: &[Value], id: &str| {
        let found = rows.iter().filter(|row| row["image"] == id);
        found.cloned().collect::<Vec<_>>()
    };
    for line in &dimensions {
        let id = line["id"].as_str().unwrap();
        assert_eq!(of(&read, id).len(), 2);
        assert_eq!(of(&read, id), of(&generated, id));
    }
}

#[test]
fn clouds_are_sampled_and_judged() {
    let scene = Scene::new();
    let out = scene.out("out");
    let more = ["--generate", "5", "--sigma", "0.05", "--n", "40"];
    let twice = [&more[..], &["--passes", "2"]].concat();
    scene.refused(&twice, &["samples no points"]);
    let rows = scene.rows(&[&more[..], &["--out", text(&out)]].concat());
    let kinds: Vec<_> = rows
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    let pairs = ["smooth", "cloud"].repeat(5);
    let want = [&["head"], &pairs[..], &["smooth-dataset", "cloud-dataset"]].concat();
    assert_eq!(kinds, want);
    let (row, cloud) = (&rows[1], &rows[2]);
    let sampling = &row["sampling"];
    assert_eq!(
        (&sampling["samples"], &sampling["forwards"]),
        (&40.into(), &50.into())
    );
    assert_eq!(
        (&sampling["floating_point"], &row["tests"]),
        (&"covered".into(), &24.into())
    );
    assert_eq!(sampling["canary"], "no-duplicates");
    let (radius, each) = (
        row["radius"].as_f64().unwrap(),
        cloud["per_point"].as_f64().unwrap(),
    );
    assert!(each < radius / 24f64.sqrt() && each > radius / 24f64.sqrt() * 0.999999);
    assert_eq!(cloud["invariant_to"], Value::Null);
    let counts = &cloud["certified"];
    assert_eq!(counts["points"], 24);
    assert_eq!(
        counts["parts"].as_array().unwrap().len(),
        2,
        "parts of a mug"
    );
    let abstained = 24 - row["certified_components"].as_u64().unwrap();
    assert_eq!(counts["abstained"], abstained);
    let all = &rows[12];
    assert_eq!(all["plain"]["by_category"].as_array().unwrap().len(), 5);
    let [right, abstained] =
        ["accuracy", "abstain_rate"].map(|name| all["certified"][name].as_f64());
    assert!(right.unwrap() + abstained.unwrap() <= 1.0 + 1e-12);
    assert_eq!(all["plain"]["abstain_rate"], 0.0);
    // every certified part is one of its category
    let classes = bytes_of(&out.join("rocket_00004.npz"), "classes");
    for pair in classes.as_chunks().0 {
        let class = i16::from_le_bytes(*pair);
        assert!(class == -1 || (10..13).contains(&class), "{class}");
    }
    assert!(!out.join("sampling").exists());
    // other noise, the same network
    let seeded = scene.rows(&[&more[..], &["--seed", "1"]].concat());
    assert_eq!(seeded[2]["plain"], rows[2]["plain"]);
    let shown = stdout(&scene.with(&more));
    for word in [
        "a point",
        "mean of categories",
        "rocket",
        "l2 norm",
        "2^-12",
    ] {
        assert!(shown.contains(word), "{word} is not in {shown}");
    }
}

#[test]
fn rotations() {
    let scene = Scene::new();
    let few = ["--generate", "2", "--n", "40"];
    let of = |more: &[&str]| scene.rows(&[&few[..], more].concat());
    let z = of(&["--rotate", "z", "--sigma", "0.5"]);
    assert_eq!(z[1]["sampling"]["floating_point"], "modulo");
    assert_eq!(
        z[1]["sampling"]["unit"],
        "angle of a turn about z of the cloud on the grid of 2^-12, normals with it, in radians"
    );
    assert_eq!(
        (&z[2]["per_point"], &z[2]["invariant_to"]),
        (&Value::Null, &Value::Null)
    );
    // not a change of the points
    let shown = stdout(&scene.with(&[&few[..], &["--rotate", "z", "--sigma", "0.5"]].concat()));
    assert!(
        shown.contains("of what noise is added to (angle of a turn about z"),
        "{shown}"
    );
    // at tau 0.6 radii of pi need a sigma of 12.4
    let wide = of(&["--rotate", "z", "--sigma", "13"]);
    let certified = wide[1]["certified_components"].as_u64().unwrap() > 0;
    assert_eq!(wide[2]["invariant_to"] == "every turn about z", certified);
    let mut any = certified;
    for (name, word) in [("any-z", "every turn about z"), ("any", "every rotation")] {
        let rows = of(&["--rotate", name, "--tau", "0.5"]);
        let certified = rows[1]["certified_components"].as_u64().unwrap() > 0;
        assert_eq!(rows[2]["invariant_to"] == word, certified);
        any |= certified;
        scene.refused(
            &[&few[..], &["--rotate", name, "--sigma", "1"]].concat(),
            &["leave them out"],
        );
    }
    // else nothing was seen above
    assert!(any);
    let laplace = ["--rotate", "z", "--law", "laplace", "--scale", "1"];
    scene.refused(&[&few[..], &laplace].concat(), &["Gaussian"]);
}

#[test]
fn shapenet_is_read_as_it_is_downloaded() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), 16, 50);
    let base = dir.path().join("net");
    let write = |name: &str, text: &str| {
        let path = base.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "synsetoffset2category.txt",
        "Mug\t03797390\nTable\t04379243\n",
    );
    let cloud = |first: usize| -> String {
        let line = |i: usize| {
            format!(
                "{i} {} {} 0 0 1 {}.000000\n",
                i * i % 7,
                i % 3,
                first + i % 2
            )
        };
        (0..30).map(line).collect()
    };
    let mut list = Vec::new();
    for index in 0..6 {
        let (offset, first) = [("03797390", 36), ("04379243", 47)][index % 2];
        write(&format!("{offset}/m{index}.txt"), &cloud(first));
        list.push(format!("\"shape_data/{offset}/m{index}\""));
    }
    let list = format!("[{}]", list.join(", "));
    write("train_test_split/shuffled_test_file_list.json", &list);
    let words = [
        "cloud",
        "smooth",
        "--model",
        text(&model),
        "--shapenet",
        text(&base),
        "--split",
        "test",
        "--points",
        "20",
        "--every",
        "2",
        "--sigma",
        "0.05",
        "--n",
        "30",
        "--format",
        "jsonl",
    ];
    let rows = rows(&stdout(&words));
    let ids: Vec<_> = rows
        .iter()
        .filter_map(|row| row["image"].as_str())
        .collect();
    let want = ["m0", "m0", "m2", "m2", "m4", "m4"].map(|id| format!("03797390/{id}"));
    assert_eq!(ids, want);
    assert_eq!(rows[2]["category"], 11);
    write("03797390/m2.txt", "1 2 3 36.0\n");
    let output = certiseg(&words);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("line 1 of") && message.contains("v0_normal"),
        "{message}"
    );
}

#[test]
fn shards_merged_are_one_run_to_the_byte() {
    let scene = Scene::new();
    let run = |more: &[&str]| {
        let base = ["--generate", "5", "--sigma", "0.1", "--n", "20"];
        stdout(&scene.with(&[&base[..], more].concat()))
    };
    let whole = scene.out("whole");
    let table = run(&["--out", text(&whole)]);
    let parts = scene.out("parts");
    for part in ["0/2", "1/2"] {
        run(&["--out", text(&parts), "--shard", part]);
    }
    let merged = scene.out("merged");
    let shown = stdout(&["merge", text(&parts), "--out", text(&merged)]);
    assert_eq!(file(&merged), file(&whole));
    assert_eq!(shown.trim(), table.trim());
}

#[test]
fn a_run_that_was_stopped_within_a_cloud_goes_on_there() {
    let scene = Scene::slow();
    let (out, unbroken) = (scene.out("out"), scene.out("unbroken"));
    let base = [
        "--generate",
        "2",
        "--sigma",
        "0.1",
        "--n",
        "600",
        "--n0",
        "10",
    ];
    let mut child = Command::new(env!("CARGO_BIN_EXE_certiseg"))
        .args(scene.with(&[&base[..], &["--out", text(&out), "--progress", "json"]].concat()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let within = lines.by_ref().map(Result::unwrap).any(|line| {
        let line: Value = serde_json::from_str(&line).unwrap();
        line["done"].as_u64().is_some_and(|done| done > 630)
    });
    assert!(within, "it was too fast");
    let id = child.id().to_string();
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(out.join("sampling/table_00001.state").exists());
    let again = [&base[..], &["--out", text(&out), "--resume"]].concat();
    scene.refused(
        &[&again[..], &["--seed", "1"]].concat(),
        &["settings.seed is 0"],
    );
    stdout(&scene.with(&again));
    stdout(&scene.with(&[&base[..], &["--out", text(&unbroken)]].concat()));
    assert_eq!(file(&out), file(&unbroken));
    assert!(!out.join("sampling").exists());
}

#[test]
fn what_means_nothing_is_refused() {
    let scene = Scene::new();
    let with = |more: &[&str], words: &[&str]| {
        scene.refused(&[&["--sigma", "0.1"][..], more].concat(), words);
    };
    with(&[], &["no clouds", "--generate"]);
    with(&["--data", "/nowhere"], &["catalogue.json"]);
    with(&["--shapenet", "/nowhere"], &["synsetoffset2category.txt"]);
    with(
        &["--generate", "1", "--data", "x"],
        &["cannot be used with"],
    );
    with(
        &["--data", "x", "--data-seed", "7"],
        &["cannot be used with"],
    );
    with(
        &["--generate", "1", "--split", "val"],
        &["cannot be used with"],
    );
    with(&["--data", "x", "--turned"], &["cannot be used with"]);
    with(&["--generate", "1", "--n0", "300"], &["1 to 255"]);
    with(
        &["--generate", "1", "--unit", "inch"],
        &["cannot be used with"],
    );
    scene.refused(&["--generate", "1", "--sigma", "1"], &["16 bits"]);
    // a network of another number of parts
    let other = model(scene.dir.path(), 16, 50);
    let words = [
        "cloud",
        "smooth",
        "--model",
        text(&other),
        "--generate",
        "1",
        "--sigma",
        "0.1",
    ];
    let output = certiseg(&words);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("13, the parts of the catalogue"),
        "{message}"
    );
}
