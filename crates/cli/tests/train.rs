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
    assert!(last["miou"].is_number() && last["certified"].is_number());
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
    let mut child = Command::new(env!("CARGO_BIN_EXE_certiseg"))
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
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
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
    assert_eq!(rows.lines().count(), 1 + 12 * (4 * 4 + 3));
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
