//! Work spread over processes: parts merged are one run, to the byte, whatever their number; and a
//! run that was stopped goes on.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{Npz, certiseg, folder_data, stdout, untrained_model};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Seven images of 4x5 pixels and three classes, some of them without a class or without labels.
fn logits(dir: &Path) -> String {
    let path = dir.join("logits.npz");
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let values: Vec<f32> = (0..7 * 3 * 20).map(|_| next()).collect();
    let label = |at: usize| match at / 20 {
        3 => 255,
        4 => 1,
        image => ((at + image) % 3) as i64,
    };
    let labels: Vec<i64> = (0..7 * 20).map(label).collect();
    let npz = Npz::new().logits([7, 3, 4, 5], &values);
    npz.labels([7, 4, 5], &labels).write(&path);
    text(&path).to_owned()
}

const METRICS: [&str; 20] = [
    "--metric",
    "accuracy",
    "--metric",
    "stability",
    "--metric",
    "fnr:1",
    "--metric",
    "precision:2",
    "--metric",
    "dice:0",
    "--metric",
    "iou:1",
    "--metric",
    "miou",
    "--metric",
    "mean-class-accuracy",
    "--metric",
    "objects:1",
    "--eps",
    "0.05,0.3",
];

/// The verbs, each on data of seven images.
fn verbs(dir: &Path) -> Vec<Vec<String>> {
    let owned = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let model = untrained_model(dir);
    let data = folder_data(dir, "data", 7);
    let pictures = ["--model", text(&model), "--data", text(&data)];
    let logits = logits(dir);
    let certify = ["certify", "--logits", &logits, "--lipschitz", "1"];
    let goals = ["--until", "accuracy<=0.5", "--until", "stability@50"];
    vec![
        owned(&[&certify[..], &goals, &METRICS, &["--curve", "3"]].concat()),
        owned(&[&certify[..], &METRICS, &["--dataset", "--miou", "union"]].concat()),
        owned(&[&["certify"], &pictures[..], &["--limit", "5"]].concat()),
        owned(
            &[
                &["attack"],
                &pictures[..],
                &[
                    "--steps", "2", "--attack", "pgd-002", "--attack", "knapsack", "--seed", "7",
                    "--metric", "iou:1",
                ],
            ]
            .concat(),
        ),
        owned(&[&["eval"], &pictures[..]].concat()),
        owned(&["eval", "--logits", &logits, "--confusion"]),
    ]
}

fn run(verb: &[String], more: &[&str]) -> Output {
    let arguments: Vec<&str> = verb
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    certiseg(&arguments)
}

/// Runs, expects success, gives standard output.
fn done(verb: &[String], more: &[&str]) -> String {
    let output = run(verb, more);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{verb:?} {more:?}: {message}");
    String::from_utf8(output.stdout).unwrap()
}

fn shards(verb: &[String], of: u32, out: &Path) {
    for part in 0..of {
        done(
            verb,
            &["--shard", &format!("{part}/{of}"), "--out", text(out)],
        );
    }
}

fn refused(arguments: &[&str], words: &[&str]) {
    let output = certiseg(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    println!("{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn merged_shards_are_one_run_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    for (index, verb) in verbs(dir.path()).iter().enumerate() {
        let out = |name: &str| dir.path().join(format!("{index}-{name}"));
        let table = done(verb, &["--out", text(&out("whole"))]);
        let whole = fs::read_to_string(out("whole").join("rows.jsonl")).unwrap();
        // 9 of 7 or 5 images: some shards have none
        for of in [1, 3, 9] {
            let parts = out(&format!("parts{of}"));
            shards(verb, of, &parts);
            let merged = out(&format!("merged{of}"));
            let shown = stdout(&["merge", text(&parts), "--out", text(&merged)]);
            let rows = fs::read_to_string(merged.join("rows.jsonl")).unwrap();
            assert!(rows == whole, "{verb:?} of {of}:\n{rows}\n{whole}");
            assert_eq!(shown, table, "{verb:?} of {of}");
            assert_eq!(stdout(&["merge", text(&parts), "--format", "jsonl"]), whole);
        }
        // a whole run is shown as it was
        let again = out("again");
        assert_eq!(
            stdout(&["merge", text(&out("whole")), "--out", text(&again)]),
            table
        );
        assert_eq!(fs::read_to_string(again.join("rows.jsonl")).unwrap(), whole);
        let csv = done(verb, &["--format", "csv", "--out", text(&out("csv"))]);
        assert_eq!(
            stdout(&["merge", text(&out("parts3")), "--format", "csv"]),
            csv
        );
    }
}

#[test]
fn merging_is_associative() {
    let dir = tempfile::tempdir().unwrap();
    for (index, verb) in verbs(dir.path()).iter().enumerate() {
        let out = |name: &str| dir.path().join(format!("{index}-{name}"));
        shards(verb, 4, &out("parts"));
        let part = |part: u32| out("parts").join(format!("rows-{part}-of-4.jsonl"));
        let merge = |parts: &[&Path], to: &str| {
            let paths = parts.iter().map(|path| text(path));
            let arguments: Vec<&str> = ["merge", "--partial"].into_iter().chain(paths).collect();
            let to = out(to);
            stdout(&[&arguments[..], &["--out", text(&to)]].concat());
            let files: Vec<_> = fs::read_dir(&to)
                .unwrap()
                .map(|file| file.unwrap().path())
                .collect();
            assert_eq!(files.len(), 1, "{files:?}");
            files[0].clone()
        };
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        let all = read(merge(&[&part(3), &part(1), &part(0), &part(2)], "all"));
        let left = merge(&[&merge(&[&part(2), &part(0)], "02"), &part(1)], "021");
        let right = merge(&[&part(3), &part(1)], "31");
        assert!(right.ends_with("rows-1+3-of-4.jsonl"));
        assert_eq!(read(merge(&[&left, &part(3)], "left")), all);
        let right = merge(&[&right, &merge(&[&part(0), &part(2)], "20")], "right");
        assert_eq!(read(right), all);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let logits = logits(dir.path());
    let verb: Vec<String> = ["certify", "--logits", &logits, "--lipschitz", "1"]
        .map(str::to_owned)
        .to_vec();
    let out = |name: &str| dir.path().join(name);
    shards(&verb, 3, &out("parts"));
    let part = |part: u32| out("parts").join(format!("rows-{part}-of-3.jsonl"));
    let [zero, one, two] = [part(0), part(1), part(2)];
    let (zero, one, two) = (text(&zero), text(&one), text(&two));
    refused(
        &["merge", zero, two],
        &["shards 1 of 3 are missing", "--partial"],
    );
    refused(&["merge", zero, one, zero], &["shard 0 of 3 is in", "once"]);
    done(
        &verb,
        &[
            "--eps",
            "0.2",
            "--shard",
            "2/3",
            "--out",
            text(&out("other")),
        ],
    );
    let other = out("other").join("rows-2-of-3.jsonl");
    let words = [
        "settings.eps is [0.05,0.1,0.2] in",
        "[0.2] in",
        "of one run",
    ];
    refused(&["merge", zero, one, text(&other)], &words);
    done(&verb, &["--shard", "1/2", "--out", text(&out("half"))]);
    refused(
        &["merge", zero, text(&out("half"))],
        &["0/3", "1/2", "one N"],
    );
    done(&verb, &["--out", text(&out("whole"))]);
    refused(
        &["merge", zero, text(&out("whole"))],
        &["rows of all images"],
    );
    refused(
        &["merge", text(&out("nowhere"))],
        &["cannot read", "nowhere"],
    );
    fs::create_dir(out("empty")).unwrap();
    refused(&["merge", text(&out("empty"))], &["no rows in"]);

    let whole = fs::read_to_string(one).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let bad = out("bad.jsonl");
    let write = |content: &str| fs::write(&bad, content).unwrap();
    let merge = |words: &[&str]| refused(&["merge", zero, text(&bad), two], words);
    write(whole.trim_end());
    merge(&["torn", "--resume"]);
    write(&whole[..whole.len() / 2]);
    merge(&["torn", "bad.jsonl"]);
    // all but the end row, all but the last image, nothing but the head, no head
    write(&(lines[..lines.len() - 1].join("\n") + "\n"));
    merge(&["not whole", "expected 2 images"]);
    write(&(lines[..1].join("\n") + "\n" + lines[lines.len() - 1] + "\n"));
    merge(&["not whole"]);
    write(&(lines[..1].join("\n") + "\n"));
    merge(&["not whole"]);
    write(&(lines[1..].join("\n") + "\n"));
    merge(&["begin with a head"]);
    write(&whole.replace("\"kind\":\"row\"", "\"kind\":\"cow\""));
    merge(&["bad.jsonl", "a cow row of 1", "no rows of kind cow"]);
    write("");
    merge(&["begin with a head"]);

    let shard = |text: &str, words: &str| {
        let output = run(&verb, &["--shard", text]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(words), "{message}");
    };
    for bad in ["3/3", "a", "0/0", "-1/3"] {
        shard(bad, "is no shard");
    }
    shard("0,1/3", "several shards");
    let goal = ["--dataset", "--until", "accuracy<=0.5", "--shard", "0/3"];
    let output = run(&verb, &goal);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("in one process"), "{message}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn shards_of_two_models_at_one_place_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 2);
    let out = dir.path().join("out");
    let eval = |shard: &str| {
        let base = ["eval", "--model", text(&model), "--data", text(&data)];
        stdout(&[&base[..], &["--shard", shard, "--out", text(&out)]].concat());
    };
    eval("0/2");
    let mut bytes = fs::read(&model).unwrap();
    let last = bytes.len() - 4;
    // the last bit of a weight
    bytes[last] ^= 1;
    fs::write(&model, bytes).unwrap();
    eval("1/2");
    refused(&["merge", text(&out)], &["settings.model_hash is"]);
}

#[test]
fn shards_of_two_data_sets_at_one_place_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (out, again) = (dir.path().join("out"), dir.path().join("again"));
    let region = dir.path().join("region.png");
    let all = image::GrayImage::from_pixel(5, 4, [9].into());
    all.save(&region).unwrap();
    let path = logits(dir.path());
    let certify = |shard: &str, out: &Path| {
        let base = ["certify", "--logits", &path, "--lipschitz", "1"];
        let more = [
            "--region",
            text(&region),
            "--shard",
            shard,
            "--out",
            text(out),
        ];
        stdout(&[&base[..], &more].concat());
    };
    certify("0/2", &out);
    certify("0/2", &again);
    let mut part = all.clone();
    part.put_pixel(0, 0, [0].into());
    part.save(&region).unwrap();
    certify("1/2", &out);
    refused(&["merge", text(&out)], &["settings.region_hash is"]);
    all.save(&region).unwrap();
    // as many images, other numbers
    let values: Vec<f32> = (0..7 * 3 * 20).map(|at| (at % 7) as f32).collect();
    let npz = Npz::new().logits([7, 3, 4, 5], &values);
    npz.labels([7, 4, 5], &[0; 140]).write(Path::new(&path));
    certify("1/2", &again);
    refused(&["merge", text(&again)], &["settings.data_hash is"]);

    // as many pictures, one with another name: it would belong to another shard
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 3);
    let out = dir.path().join("pictures");
    let eval = |shard: &str| {
        let base = ["eval", "--model", text(&model), "--data", text(&data)];
        stdout(&[&base[..], &["--shard", shard, "--out", text(&out)]].concat());
    };
    eval("0/2");
    for folder in ["images", "masks"] {
        let folder = data.join(folder);
        let files = fs::read_dir(&folder).unwrap();
        let last = files.map(|file| file.unwrap().path()).max().unwrap();
        let suffix = last.extension().unwrap().to_str().unwrap();
        fs::rename(&last, folder.join(format!("_first.{suffix}"))).unwrap();
    }
    eval("1/2");
    refused(&["merge", text(&out)], &["settings.data_hash is"]);
}

#[test]
fn two_runs_do_not_write_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let path = logits(dir.path());
    let base = ["eval", "--logits", &path, "--out", text(&out)];
    fs::create_dir(&out).unwrap();
    let beside = out.join("rows.jsonl.partial");
    fs::write(&beside, "of another run").unwrap();
    let held = fs::File::open(&beside).unwrap();
    held.lock().unwrap();
    for resume in [&[][..], &["--resume"]] {
        refused(&[&base[..], resume].concat(), &["another run writes"]);
        assert_eq!(fs::read_to_string(&beside).unwrap(), "of another run");
    }
    drop(held);
    stdout(&base);
}

/// A run of which the first `keep` lines, and a piece of the next, were left.
fn torn(whole: &Path, keep: usize, piece: usize) {
    let content = fs::read_to_string(whole).unwrap();
    let lines: Vec<&str> = content.split_inclusive('\n').collect();
    let mut left = lines[..keep].concat();
    left += &lines[keep][..piece];
    let mut beside = whole.as_os_str().to_owned();
    beside.push(".partial");
    fs::write(beside, left).unwrap();
    fs::remove_file(whole).unwrap();
}

#[test]
fn a_stopped_run_goes_on_and_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for (index, verb) in verbs(dir.path()).iter().enumerate() {
        let out = dir.path().join(format!("out{index}"));
        // what images add to a data set is in the rows of shards
        let (shard, file) = match verb.iter().any(|word| word == "--dataset") {
            true => (&["--shard", "0/1"][..], "rows-0-of-1.jsonl"),
            false => (&[][..], "rows.jsonl"),
        };
        let arguments = [shard, &["--out", text(&out)]].concat();
        let table = done(verb, &arguments);
        let path = out.join(file);
        let whole = fs::read_to_string(&path).unwrap();
        let resume = [&arguments[..], &["--resume"]].concat();
        // finished: nothing to do
        assert_eq!(done(verb, &resume), table);
        let lines = whole.lines().count();
        for (keep, piece) in [
            (0, 5),
            (1, 0),
            (1, 9),
            (2, 3),
            (lines / 2, 0),
            (lines / 2, 9),
            (lines - 1, 4),
        ] {
            torn(&path, keep, piece);
            assert_eq!(done(verb, &resume), table, "{verb:?} {keep} {piece}");
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                whole,
                "{verb:?} {keep} {piece}"
            );
            assert!(fs::read_dir(&out).unwrap().count() == 1);
        }
        torn(&path, lines / 2, 0);
        let rows = done(verb, &[&resume[..], &["--format", "jsonl"]].concat());
        assert_eq!(rows, whole);
        if !shard.is_empty() {
            let words = ["--resume with --dataset", "--shard 0/1"];
            let arguments = ["--out", text(&out), "--resume"];
            let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
            refused(&[&verb[..], &arguments].concat(), &words);
        }
    }
}

#[test]
fn a_run_goes_on_under_its_own_settings_only() {
    let dir = tempfile::tempdir().unwrap();
    let logits = logits(dir.path());
    let out = dir.path().join("out");
    let base = [
        "certify",
        "--logits",
        &logits,
        "--lipschitz",
        "1",
        "--out",
        text(&out),
    ];
    stdout(&base);
    let path = out.join("rows.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let other = [&base[..], &["--resume", "--eps", "0.2"]].concat();
    let words = ["settings.eps is [0.05,0.1,0.2]", "and now [0.2]"];
    refused(&other, &words);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    // the head, six rows of each image
    let cut: Vec<&str> = whole.split_inclusive('\n').collect();
    fs::write(&path, cut[..cut.len() - 6].concat()).unwrap();
    let words_of_cut = ["has 6 images, expected 7"];
    refused(&[&base[..], &["--resume"]].concat(), &words_of_cut);
    refused(&["merge", text(&path)], &["not whole, expected 7 images"]);
    fs::write(&path, &whole).unwrap();
    torn(&path, 14, 2);
    refused(&other, &words);
    // rows that name other images are of other data
    let beside = out.join("rows.jsonl.partial");
    let left = fs::read_to_string(&beside).unwrap();
    fs::write(&beside, left.replace("\"image\":\"0\"", "\"image\":\"x\"")).unwrap();
    refused(
        &[&base[..], &["--resume"]].concat(),
        &["go on with image x", "the data with 0"],
    );
    assert!(beside.exists(), "what was there stays");
    // without --resume a run begins anew
    stdout(&base);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    assert!(!beside.exists());
}

#[test]
fn maps_of_shards_and_of_a_run_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let logits = logits(dir.path());
    let [out, maps] = ["out", "maps"].map(|name| dir.path().join(name));
    let base = [
        "certify",
        "--logits",
        &logits,
        "--lipschitz",
        "1",
        "--maps",
        text(&maps),
        "--out",
        text(&out),
    ];
    stdout(&[&base[..], &["--shard", "0/2"]].concat());
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&maps)
            .unwrap()
            .map(|f| f.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["0.npz", "2.npz", "4.npz", "6.npz"]);
    stdout(&[&base[..], &["--shard", "1/2"]].concat());
    assert_eq!(names().len(), 7);
    // stopped behind the rows of image 2, before or after its maps; those of image 6 are somebody's
    let path = out.join("rows-0-of-2.jsonl");
    let lines = fs::read_to_string(&path).unwrap();
    let keep = lines
        .lines()
        .filter(|line| line.contains("\"image\":\"0\""))
        .count()
        * 2
        + 1;
    torn(&path, keep, 0);
    let resume = [&base[..], &["--shard", "0/2", "--resume"]].concat();
    refused(&resume, &["4.npz exists already"]);
    fs::remove_file(maps.join("4.npz")).unwrap();
    fs::remove_file(maps.join("6.npz")).unwrap();
    stdout(&resume);
    assert_eq!(names().len(), 7);
    assert_eq!(fs::read_to_string(&path).unwrap(), lines);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_what_it_has() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let data = folder_data(dir.path(), "data", 4);
    for copy in 10..50 {
        for kind in ["images", "masks"] {
            let name = |index: u32| data.join(format!("{kind}/{index}.png"));
            fs::copy(name(copy % 4), name(copy)).unwrap();
        }
    }
    let out = dir.path().join("out");
    let arguments = [
        "certify",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--out",
        text(&out),
    ];
    let mut child = Command::new(env!("CARGO_BIN_EXE_certiseg"))
        .args(arguments)
        .args(["--format", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // the head, two images
    (0..13).for_each(|_| drop(lines.next().unwrap().unwrap()));
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    lines.for_each(drop);
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("--resume"), "{message}");
    assert!(out.join("rows.jsonl.partial").exists());
    assert!(!out.join("rows.jsonl").exists());
    refused(&["merge", text(&out)], &["unfinished", "--resume"]);
    stdout(&[&arguments[..], &["--resume"]].concat());
    let resumed = fs::read_to_string(out.join("rows.jsonl")).unwrap();
    let whole = dir.path().join("whole");
    stdout(&[
        "certify",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--out",
        text(&whole),
    ]);
    assert_eq!(
        resumed,
        fs::read_to_string(whole.join("rows.jsonl")).unwrap()
    );
}
