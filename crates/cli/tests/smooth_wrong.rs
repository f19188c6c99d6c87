//! What users of `smooth` get wrong; `smooth plan` and `smooth toy`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::smooth::{args, pictures, rows, text};
use common::{certiseg, save, stdout};
use serde_json::Value;

/// Exit code 2, a message with these words, a hint, and nothing in `out`.
fn refused(arguments: &[&str], words: &[&str], out: &Path) {
    let output = certiseg(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    println!("{message}");
    assert!(
        message.starts_with("error: ") && message.contains("hint: "),
        "{message}"
    );
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert!(!out.exists());
}

#[test]
fn wrong_moves() {
    let dir = tempfile::tempdir().unwrap();
    let paths = pictures(dir.path(), 2);
    let out = dir.path().join("out");
    let wrong = |more: &[&str], words: &[&str]| {
        refused(
            &args(&paths, &[more, &["--out", text(&out)]].concat()),
            words,
            &out,
        )
    };
    wrong(
        &["--n0", "70"],
        &["image p0", "--n0 70 of 70 samples", "--single-stage"],
    );
    wrong(&["--n0", "71", "--single-stage"], &["--n0 71 of 70"]);
    wrong(&["--n0", "0"], &["--n0 0 leaves no class"]);
    wrong(&["--tau", "0.4"], &["tau is 0.4", "from 0.5"]);
    wrong(&["--tau", "1"], &["tau is 1"]);
    wrong(&["--tau", "nan"], &["tau is NaN"]);
    wrong(&["--alpha", "0"], &["alpha is 0"]);
    wrong(&["--scale", "1"], &["sigma"]);
    wrong(&["--law", "laplace"], &["scale"]);
    wrong(
        &["--statement", "strong:1"],
        &["threshold left at the border is 1"],
    );
    wrong(
        &["--statement", "strong:0.9"],
        &["strong:0.9 above --tau 0.75"],
    );
    wrong(&["--family", "screened"], &["--screen"]);
    wrong(&["--screen", "3"], &["--family screened"]);
    wrong(
        &["--family", "screened", "--screen", "11"],
        &["--screen 11 of 10"],
    );
    wrong(
        &["--family", "screened", "--screen", "3", "--single-stage"],
        &["--single-stage"],
    );
    wrong(
        &["--hierarchy", "nowhere.json", "--correction", "bonferroni"],
        &["cannot read nowhere.json"],
    );
    wrong(
        &["--labels", &paths[0]],
        &["1 files of labels for 2 images"],
    );
    let mut without = args(&paths, &["--out", text(&out)]);
    without.retain(|word| !["--sigma", "0.25"].contains(word));
    refused(&without, &["sigma"], &out);
    let twice = [paths[0].clone(), paths[0].clone()];
    refused(
        &args(&twice, &["--out", text(&out)]),
        &["two files are called p0"],
        &out,
    );
    refused(&["smooth", "--sigma", "1"], &["nothing to certify"], &out);
    refused(&args(&paths, &["--curve"]), &["--curve gives rows"], &out);
    refused(&args(&paths, &["--radius-map"]), &["--radius-map"], &out);
}

#[test]
fn wrong_files() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let path: PathBuf = dir.path().join("a.npz");
    let wrong = |what: &str, words: &[&str]| {
        refused(
            &[
                "smooth",
                what,
                text(&path),
                "--sigma",
                "1",
                "--out",
                text(&out),
            ],
            words,
            &out,
        )
    };
    let good: Vec<u8> = (0..12 * 4).map(|at| (at % 4) as u8).collect();
    let samples = |kind: &str, bytes: &[u8]| save(&path, &[("samples", kind, &[12, 4], bytes)]);
    let mut bad = good.clone();
    bad[4 * 11 + 2] = 254;
    samples("|u1", &bad);
    wrong("--samples", &["254 at [11, 2]", "0 to 253"]);
    bad[4 * 11 + 2] = 255;
    samples("|i1", &bad);
    wrong("--samples", &["-1 at [11, 2]"]);
    let floats: Vec<u8> = good
        .iter()
        .flat_map(|class| f32::from(*class).to_le_bytes())
        .collect();
    samples("<f4", &floats);
    wrong("--samples", &["float32", "integer"]);
    samples("|u1", &good[..40]);
    wrong("--samples", &["cut short"]);
    fs::write(&path, b"").unwrap();
    wrong("--samples", &["a.npz", "no npz archive"]);
    save(&path, &[("maps", "|u1", &[12, 4], &good)]);
    wrong("--samples", &["no array \"samples\"", "maps"]);
    wrong("--votes", &["no array \"classes\"", "maps"]);
    save(
        &path,
        &[
            ("samples", "|u1", &[12, 4], &good),
            ("labels", "|u1", &[5], &good[..5]),
        ],
    );
    wrong("--samples", &["\"labels\"", "4 components"]);
    samples("|u1", &good);
    let other = dir.path().join("b.npz");
    save(&other, &[("labels", "|u1", &[2, 3], &good[..6])]);
    let base = [
        "smooth",
        "--samples",
        text(&path),
        "--sigma",
        "1",
        "--out",
        text(&out),
    ];
    refused(
        &[&base[..], &["--labels", text(&other)]].concat(),
        &["labels of image a", "4 components"],
        &out,
    );
    refused(
        &[&base[..], &["--family", "not-ignored"]].concat(),
        &["no labels"],
        &out,
    );
    let levels = dir.path().join("levels.json");
    let tree = ["--correction", "bonferroni", "--hierarchy", text(&levels)];
    for (json, word) in [
        ("[[0,0]]", "tells all classes apart"),
        ("{}", "is no hierarchy"),
        ("[[0,1]]", "2"),
    ] {
        fs::write(&levels, json).unwrap();
        refused(&[&base[..], &tree[..]].concat(), &[word], &out);
    }
    refused(
        &[&base[..], &["--hierarchy", text(&levels)]].concat(),
        &["one threshold"],
        &out,
    );
    // counts over all samples, tested as if those that chose had not been counted
    let votes = |counts: [u8; 2]| {
        let arrays: [(_, _, &[u64], &[u8]); 3] = [
            ("classes", "|u1", &[2], &[0, 1]),
            ("counts", "|u1", &[2], &counts),
            ("samples", "|u1", &[], &[100]),
        ];
        save(&path, &arrays);
    };
    votes([100, 110]);
    wrong("--votes", &["component 1 has 110 votes of 100 samples"]);
    votes([100, 100]);
    let screened = [
        "smooth",
        "--votes",
        text(&path),
        "--sigma",
        "1",
        "--family",
        "screened",
        "--screen",
        "1",
        "--out",
        text(&out),
    ];
    refused(&screened, &["need the samples"], &out);
}

#[test]
fn plans() {
    let plan = |more: &[&str]| stdout(&[&["smooth", "plan"], more].concat());
    let json = rows(&plan(&[
        "--tau",
        "0.75",
        "--sigma",
        "0.25",
        "--pixels",
        "2097152",
        "--n",
        "100",
        "--forward-ms",
        "20",
        "--format",
        "json",
    ]));
    let steps: Vec<u64> = json[0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["samples"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [75, 87, 97, 106, 115, 123, 131, 139]);
    assert_eq!(
        (&json[0]["least"], &json[0]["recommended"]["samples"]),
        (&75.into(), &106.into())
    );
    assert_eq!(
        (
            &json[0]["asked"]["threshold"],
            &json[0]["recommended"]["seconds"]
        ),
        (&98.into(), &2.32.into())
    );
    let table = plan(&[
        "--tau", "0.75", "--sigma", "0.25", "--pixels", "2097152", "--n", "60",
    ]);
    for word in [
        "recommended",
        "106",
        "0.9778",
        "below n = 75 everything abstains",
        "radius 0.168622",
        "asked",
        "note: everything abstains below n = 75",
    ] {
        assert!(table.contains(word), "{word:?} is not in\n{table}");
    }
    // the larger the noise the fewer the samples
    let scan = rows(&plan(&[
        "--eps", "0.1", "--pixels", "1048576", "--format", "json",
    ]));
    let least: Vec<u64> = scan
        .iter()
        .filter_map(|one| one["least"].as_u64())
        .collect();
    assert!(
        scan.len() == 8 && least.len() >= 7 && least.windows(2).all(|pair| pair[0] > pair[1]),
        "{least:?}"
    );
    let given = rows(&plan(&[
        "--eps", "0.1", "--sigma", "0.2,0.3", "--pixels", "1048576", "--format", "json",
    ]));
    let least: Vec<_> = given
        .iter()
        .map(|one| one["least"].as_u64().unwrap())
        .collect();
    assert_eq!(least, [57, 46]);
    assert!(
        given
            .iter()
            .all(|one| one["radius"].as_f64().unwrap() >= 0.1 * (1.0 - 1e-12))
    );
    let count = rows(&plan(&[
        "--tau",
        "0.75",
        "--pixels",
        "2097152",
        "--correction",
        "count:2097",
        "--single-stage",
        "--format",
        "json",
    ]));
    assert_eq!(
        (&count[0]["least"], &count[0]["steps"][0]["forwards"]),
        (&49.into(), &49.into())
    );
    let out = Path::new("nowhere");
    for (more, word) in [
        (&["--tau", "0.4", "--pixels", "9"][..], "tau is 0.4"),
        (
            &["--tau", "0.6", "--pixels", "0"],
            "number of components is 0",
        ),
        (&["--eps", "-1", "--pixels", "9"], "radius eps is -1"),
        (
            &["--eps", "0.1", "--sigma", "0", "--pixels", "9"],
            "sigma of the noise is 0",
        ),
        (
            &["--tau", "0.6", "--sigma", "1,2", "--pixels", "9"],
            "several --sigma",
        ),
        (&["--tau", "0.6", "--pixels", "9", "--power", "1"], "power"),
    ] {
        refused(&[&["smooth", "plan"], more].concat(), &[word], out);
    }
}

#[test]
fn toys_are_within_their_interval() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let toy = |more: &[&str]| {
        stdout(
            &[
                &[
                    "smooth",
                    "toy",
                    "--runs",
                    "6",
                    "--components",
                    "1000",
                    "--step",
                    "0.02",
                ],
                more,
            ]
            .concat(),
        )
    };
    let lines = rows(&toy(&["--format", "jsonl", "--out", text(&out)]));
    assert_eq!(lines[0]["verb"], "smooth toy");
    // 2a and 2b: six errors, four series; 2c: two sizes twice; 6a, 6b: budgets that are the same are one
    let of = |figure: &str, settings: &str| {
        let fits = |row: &&Value| row["figure"] == figure && row["settings"] == settings;
        lines[1..].iter().filter(fits).count()
    };
    assert_eq!(
        [
            of("2a", "text"),
            of("2b", "text"),
            of("2c", "text"),
            of("2c", "code")
        ],
        [24, 24, 4, 4]
    );
    assert!(of("6a", "text") > of("6a", "code") && of("6b", "code") >= 4 && of("2a", "code") == 0);
    let mut known = 0;
    for row in &lines[1..] {
        if let Some(exact) = row["exact"].as_f64() {
            let error = (row["simulated"].as_f64().unwrap() - exact).abs();
            assert!(error <= row["within"].as_f64().unwrap(), "{row}");
            known += 1;
        }
        if row["series"] == "joint-class" && row["toy"]["gamma"] == 0.0 {
            assert_eq!(row["simulated"], 1.0);
        }
    }
    assert!(known > 40, "{known}");
    // Holm certifies what Bonferroni does, and a budget what Holm does
    let shares = |series: &str| -> Vec<f64> {
        let fits = lines[1..]
            .iter()
            .filter(|row| row["series"] == series && row["figure"] == "6b");
        fits.map(|row| row["simulated"].as_f64().unwrap()).collect()
    };
    let [bonferroni, holm, kfwer] = ["bonferroni", "holm", "kfwer:2"].map(shares);
    assert!(bonferroni.iter().zip(&holm).all(|(a, b)| a <= b));
    assert!(!kfwer.is_empty() && holm.iter().zip(&kfwer).all(|(a, b)| a <= b));
    let again = rows(&fs::read_to_string(out.join("rows.jsonl")).unwrap());
    assert_eq!(again, lines);
    let csv = toy(&["--figure", "2c", "--format", "csv"]);
    let csv: Vec<Vec<_>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert!(csv.len() == 9 && csv.iter().all(|line| line.len() == csv[0].len()));
    let table = toy(&["--figure", "6b"]);
    for word in [
        "figure 6b, settings of the paper's text",
        "kfwer:N/100+1",
        "0.93940",
        "0.86022",
    ] {
        assert!(table.contains(word), "{word:?} is not in\n{table}");
    }
    assert_ne!(
        toy(&["--figure", "2a", "--seed", "1"]),
        toy(&["--figure", "2a"])
    );
    assert_eq!(
        toy(&["--figure", "2a", "--seed", "1"]),
        toy(&["--figure", "2a", "--seed", "1"])
    );
}
