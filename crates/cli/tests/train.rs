//! Training from the command line: what it writes, Ctrl-C, resume; and the demo.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{certiseg, folder_data, stdout};

const SETTINGS: [&str; 12] = [
    "--set",
    "height=32",
    "--set",
    "width=32",
    "--set",
    "network.size=xs",
    "--set",
    "network.classes=3",
    "--set",
    "batch=2",
    "--set",
    "data.validation=val",
];

fn data(dir: &Path) -> String {
    let data = folder_data(dir, "data", 6);
    fs::write(data.join("val.txt"), "4\n5\n").unwrap();
    data.to_str().unwrap().to_owned()
}

#[test]
fn a_run_folder_holds_settings_metrics_checkpoint_and_model() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let run = dir.path().join("run");
    let run_text = run.to_str().unwrap();
    let base = [
        "train", "--data", &data, "--out", run_text, "--set", "epochs=2",
    ];
    let arguments = [base.as_slice(), &SETTINGS].concat();
    stdout(&arguments);
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("epochs = 2") && config.contains("temperature"));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    let found = &last["validation"];
    assert!(found["miou"].is_number() && found["measures"]["accuracy@0.1"].is_number());
    let model = run.join("model.safetensors");
    let model = model.to_str().unwrap();
    stdout(&[
        "certify", "--model", model, "--data", &data, "--split", "val",
    ]);
    let checkpoint = run.join("checkpoint.safetensors");
    // the same network, read from either file
    let audit = |file: &Path| {
        let text = stdout(&["audit", "--json", file.to_str().unwrap()]);
        let mut audit: serde_json::Value = serde_json::from_str(&text).unwrap();
        for layer in audit["layers"].as_array_mut().unwrap() {
            layer["seconds"] = 0.into();
        }
        audit
    };
    assert_eq!(audit(&checkpoint), audit(Path::new(model)));

    let output = certiseg(&arguments);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("holds a checkpoint.safetensors already") && message.contains("--resume")
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_usable_checkpoint_and_resume_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let run = dir.path().join("run");
    let base = [
        "train",
        "--data",
        &data,
        "--out",
        run.to_str().unwrap(),
        "--set",
        "epochs=2000",
    ];
    let child = Command::new(env!("CARGO_BIN_EXE_certiseg"))
        .args([base.as_slice(), &SETTINGS].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let checkpoint = run.join("checkpoint.safetensors");
    let start = Instant::now();
    // a patience, not a timing: the first epoch takes well under a second
    while !checkpoint.exists() && start.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
    // twice at once, as `timeout` does: one wish
    for signal in ["-TERM", "-INT"] {
        let interrupted = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(interrupted.unwrap().success());
    }
    let stopped = child.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130));
    let words = String::from_utf8_lossy(&stopped.stderr);
    assert!(
        words.contains("go on with: certiseg train --resume"),
        "{words}"
    );
    let model = run.join("model.safetensors");
    stdout(&["audit", "--model", model.to_str().unwrap()]);

    // a changed data set is not gone on with
    fs::write(Path::new(&data).join("train.txt"), "0\n1\n").unwrap();
    let other = certiseg_net::checkpoint::load_training(&checkpoint).unwrap();
    let mut smaller = other.clone();
    smaller.settings.data.train = Some("train".into());
    certiseg_net::checkpoint::save_training(&checkpoint, &smaller).unwrap();
    let output = certiseg(&["train", "--resume", run.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not those this training began with"));
    certiseg_net::checkpoint::save_training(&checkpoint, &other).unwrap();

    // nor is one that is elsewhere
    let mut moved = other.clone();
    moved.settings.data.dir = "elsewhere".into();
    certiseg_net::checkpoint::save_training(&checkpoint, &moved).unwrap();
    let output = certiseg(&["train", "--resume", run.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("not in elsewhere") && words.contains("where the training was started"),
        "{words}"
    );
    certiseg_net::checkpoint::save_training(&checkpoint, &other).unwrap();

    let before = certiseg_net::checkpoint::load_training(&checkpoint).unwrap();
    let mut shorter = before.clone();
    // two epochs more, not two thousand
    shorter.settings.epochs = before.epoch + 2;
    certiseg_net::checkpoint::save_training(&checkpoint, &shorter).unwrap();
    stdout(&["train", "--resume", run.to_str().unwrap()]);
    let after = certiseg_net::checkpoint::load_training(&checkpoint).unwrap();
    assert_eq!((after.epoch, after.step), (before.epoch + 2, 0));
    assert!(after.moments.steps > before.moments.steps);
}

/// What a run wrote, without the times.
fn written(run: &Path) -> (Vec<serde_json::Value>, Vec<Vec<u8>>) {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["seconds"] = 0.into();
        line
    });
    let files = ["model", "best", "checkpoint"];
    let files = files.map(|name| fs::read(run.join(format!("{name}.safetensors"))).unwrap());
    (lines.collect(), files.to_vec())
}

#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let arguments = |run: &Path| -> Vec<String> {
        let base = ["train", "--data", &data, "--out", run.to_str().unwrap()];
        let more = ["--checkpoint-every", "0", "--set", "epochs=6", "--set"];
        let rich = ["average=0.9", "--set", "warm_up=3"];
        let all = [&base[..], &SETTINGS, &more, &rich].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let whole = dir.path().join("whole");
    let of_whole = arguments(&whole);
    stdout(&of_whole.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = written(&whole);
    assert_eq!(expected.0.len(), 6);
    let mut kills = 0;
    for after in 0..4 {
        let run = dir.path().join(format!("killed{after}"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_certiseg"))
            .args(arguments(&run))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let lines = || {
            let text = fs::read_to_string(run.join("metrics.jsonl"));
            text.map_or(0, |text| text.lines().count())
        };
        // a patience, not a timing
        while lines() < after && start.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(3));
        }
        // SIGKILL: nothing can be tidied
        child.kill().unwrap();
        kills += usize::from(!child.wait().unwrap().success());
        let resume = ["train", "--resume", run.to_str().unwrap()];
        if run.join("checkpoint.safetensors").exists() {
            stdout(&resume);
            assert_eq!(written(&run), expected, "killed after {after} epochs");
        }
    }
    assert!(kills > 0, "no training was killed in time");
}

#[test]
fn a_run_tells_its_machine_its_data_and_its_curves() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let run = dir.path().join("run");
    let out = run.to_str().unwrap();
    let base = ["train", "--data", &data, "--out", out, "--set", "epochs=2"];
    let measures = ["--set", "validation.measures=['fnr:1@0.1', 'iou:2']"];
    let progress = ["--progress", "json"];
    let output = certiseg(&[&base[..], &SETTINGS, &measures, &progress].concat());
    assert!(output.status.success());
    // every line is an object
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["message"].is_string() || line["progress"].is_string());
    }
    let env = fs::read_to_string(run.join("env.json")).unwrap();
    let env: serde_json::Value = serde_json::from_str(&env).unwrap();
    let hash = env[0]["train"]["sha256"].as_str().unwrap();
    assert_eq!(
        (env[0]["train"]["pictures"].as_u64(), hash.len()),
        (Some(6), 64)
    );
    assert_eq!(env[0]["device"], "cpu");
    let table = fs::read_to_string(run.join("metrics.csv")).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split(',').collect()).collect();
    assert!(lines[0].contains(&"fnr:1@0.1") && lines[0].contains(&"accuracy@0.1"));
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    let events = run.join("events.out.tfevents.0.certiseg");
    let events = fs::read(events).unwrap();
    let has = |word: &str| {
        events
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    };
    assert!(has("train/loss") && has("val/fnr:1@0.1") && has("brain.Event:2"));

    // the best epoch can be fine-tuned, certified and packed
    let best = run.join("best.safetensors");
    let best = best.to_str().unwrap();
    stdout(&[
        "certify", "--model", best, "--data", &data, "--split", "val",
    ]);
    let tuned = dir.path().join("tuned");
    let tuned = ["--out", tuned.to_str().unwrap(), "--from", best];
    let data_of = ["train", "--data", &data, "--set", "epochs=1"];
    stdout(&[&data_of[..], &SETTINGS, &tuned].concat());
    let packed = dir.path().join("packed.safetensors");
    let checkpoint = run.join("checkpoint.safetensors");
    let [checkpoint, packed] = [&checkpoint, &packed].map(|path| path.to_str().unwrap());
    stdout(&["model", "pack", checkpoint, "--out", packed]);
    assert!(fs::metadata(packed).unwrap().len() * 2 < fs::metadata(checkpoint).unwrap().len());
    stdout(&["audit", packed]);
    // which is nothing to go on from as if it had never stopped
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(packed, other.join("checkpoint.safetensors")).unwrap();
    let output = certiseg(&["train", "--resume", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("without the state of their optimiser") && message.contains("--from"));
    // what travels does not tell where it was made
    let bytes = fs::read(packed).unwrap();
    let whole = dir.path().to_str().unwrap().as_bytes();
    assert!(!bytes.windows(whole.len()).any(|part| part == whole));

    // pictures that have changed are not gone on with
    fs::copy(
        format!("{data}/images/1.png"),
        format!("{data}/images/0.png"),
    )
    .unwrap();
    let output = certiseg(&["train", "--resume", out]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("not those this training began with"),
        "{message}"
    );
}

#[test]
fn two_trainings_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let run = dir.path().join("run");
    let base = [
        "train",
        "--data",
        &data,
        "--out",
        run.to_str().unwrap(),
        "--set",
        "epochs=1",
    ];
    stdout(&[&base[..], &SETTINGS].concat());
    let lock = fs::File::create(run.join("lock")).unwrap();
    lock.lock().unwrap();
    let output = certiseg(&["train", "--resume", run.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("another training writes into"),
        "{message}"
    );
    drop(lock);
    stdout(&["train", "--resume", run.to_str().unwrap()]);
}

#[test]
fn presets_are_listed_found_and_overridden() {
    let table = stdout(&["train", "--presets"]);
    for name in [
        "001-text-kvasir",
        "001-code-kvasir",
        "002-cityscapes",
        "shapes",
    ] {
        assert!(table.contains(name), "{table}");
    }
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let run = dir.path().join("run");
    let base = [
        "train",
        "--data",
        &data,
        "--out",
        run.to_str().unwrap(),
        "--layout",
        "folder",
    ];
    let preset = ["--preset", "001-code-kvasir", "--set", "epochs=1"];
    let more = [
        "--set",
        "class_weights=[]",
        "--set",
        "network.rates=[1]",
        "--set",
        "batch=4",
    ];
    let small = &SETTINGS[..8];
    let splits = ["--split", "val", "--validation", "val"];
    stdout(&[&base[..], &preset, &more, small, &splits].concat());
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("betas = [0.95, 0.95]") && config.contains("epochs = 1"));
    let output = certiseg(&["train", "--preset", "003", "--data", &data, "--out", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("001-text-pets"));
}

#[test]
fn the_demo_is_sound_and_draws_its_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("demo");
    let output = certiseg(&["demo", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains("certified <= attacked <= clean on 12/12 images"),
        "{words}"
    );
    let table = String::from_utf8(output.stdout).unwrap();
    for word in [
        "L = 2.0000",
        "accuracy",
        "time per image",
        "rows.jsonl",
        "overview.png",
    ] {
        assert!(table.contains(word), "{word:?} is not in\n{table}");
    }
    let overview = image::open(out.join("overview.png")).unwrap();
    assert!(overview.width() > 5 * 64 * 2);
    for name in ["image", "label", "prediction", "worst_case", "flip_budget"] {
        let picture = image::open(out.join(format!("shapes_00000_{name}.png"))).unwrap();
        assert_eq!((picture.width(), picture.height()), (64, 64));
    }
    let rows = fs::read_to_string(out.join("rows.jsonl")).unwrap();
    let of = |rows: &str, kind: &str| {
        let kind = format!("\"kind\":\"{kind}\"");
        rows.lines().filter(|row| row.contains(&kind)).count()
    };
    assert_eq!(of(&rows, "row"), 12 * (4 * 4 + 3));
    assert!(of(&rows, "curve") >= 12 * 2);
    let struck = fs::read_to_string(out.join("attack.jsonl")).unwrap();
    assert_eq!(
        (of(&struck, "head"), of(&struck, "attack")),
        (1, 12 * 4 * 4)
    );
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Sound on 12/12 images"));
    let places = ["\nfiles ", "report.html", "\nnext "].map(|word| table.find(word));
    assert!(places.is_sorted() && places[0].is_some(), "{table}");
    assert!(out.join("maps/shapes_00011.npz").exists());
    for (rows, verb) in [(&rows, "certify"), (&struck, "attack")] {
        let head: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        assert_eq!(head["verb"], verb);
        assert_eq!(head["settings"]["model_hash"].as_str().unwrap().len(), 16);
        assert_eq!(head["settings"]["data"], "generated, seed 1000003");
    }
    // the same page of the same files, by the verb; a second demo into the same folder is one
    let again = out.join("again.html");
    let mut words = vec!["report"];
    let paths = [
        out.join("rows.jsonl"),
        out.join("attack.jsonl"),
        out.join("maps"),
        again.clone(),
    ];
    let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    words.extend([paths[0], paths[1], "--maps", paths[2], "--out", paths[3]]);
    stdout(&words);
    assert!(
        fs::read_to_string(&again)
            .unwrap()
            .contains("Sound on 12/12 images")
    );
}

#[test]
fn generated_data_is_the_same_everywhere_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    for out in [&a, &b] {
        stdout(&[
            "data",
            "shapes",
            out.to_str().unwrap(),
            "--count",
            "3",
            "--size",
            "16",
        ]);
    }
    for file in [
        "images/shapes_00002.png",
        "masks/shapes_00000.png",
        "train.txt",
        "val.txt",
    ] {
        assert_eq!(
            fs::read(a.join(file)).unwrap(),
            fs::read(b.join(file)).unwrap(),
            "{file}"
        );
    }
    assert_eq!(
        certiseg(&["data", "shapes", a.to_str().unwrap()])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        certiseg(&["data", "shapes", "x", "--count", "1"])
            .status
            .code(),
        Some(2)
    );
}

#[cfg(not(any(feature = "gpu", feature = "cuda")))]
#[test]
fn a_program_without_a_graphics_card_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let run = dir.path().join("run");
    for (device, words) in [
        ("gpu", "built without the feature `gpu`"),
        ("tpu", "cpu, gpu"),
    ] {
        let arguments = ["train", "--data", &data, "--out", run.to_str().unwrap()];
        let output = certiseg(&[&arguments[..], &["--device", device], &SETTINGS].concat());
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains(words) && !run.exists(), "{message}");
    }
}

#[test]
fn a_run_keeps_away_from_the_data_and_from_other_networks() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let run = dir.path().join("run").to_str().unwrap().to_owned();
    let refused = |out: &str, more: &[&str]| {
        let arguments = ["train", "--data", &data, "--out", out];
        let output = certiseg(&[&arguments[..], &SETTINGS, more].concat());
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let message = refused(&data, &[]);
    assert!(message.contains("is the folder of the data"), "{message}");
    stdout(
        &[
            &["train", "--data", &data, "--out", &run, "--set", "epochs=1"],
            &SETTINGS[..],
        ]
        .concat(),
    );
    let checkpoint = format!("{run}/checkpoint.safetensors");
    let message = refused(
        &format!("{run}2"),
        &["--from", &checkpoint, "--set", "network.size=s"],
    );
    assert!(
        message.contains("holds another network") && message.contains("config.toml"),
        "{message}"
    );
}
