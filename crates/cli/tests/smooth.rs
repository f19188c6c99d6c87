//! The contract of `smooth`: samples or votes in, rows and maps out.

mod common;

use std::fs;
use std::path::Path;

use common::smooth::{args, pictures, rows, text};
use common::{bytes_of, certiseg, save, stdout};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = format!("../cert/tests/vectors/smoothing/{name}.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_f64().unwrap())
        .collect()
}

fn classes(path: &Path) -> Vec<i16> {
    signed(path, "classes")
}

fn signed(path: &Path, name: &str) -> Vec<i16> {
    let bytes = bytes_of(path, name);
    bytes
        .chunks(2)
        .map(|two| i16::from_le_bytes([two[0], two[1]]))
        .collect()
}

fn ln_p(path: &Path) -> Vec<f64> {
    let eight = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap());
    bytes_of(path, "ln_p").chunks(8).map(eight).collect()
}

fn radii(path: &Path) -> Vec<f64> {
    let four = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap()).into();
    bytes_of(path, "radius").chunks(4).map(four).collect()
}

#[test]
fn verdicts_are_those_of_the_vectors() {
    let file = vectors("segcertify");
    let alphabet = file["header"]["alphabet"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for case in file["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let samples = case["samples"].as_array().unwrap().iter();
        let samples: Vec<&str> = samples.map(|map| map.as_str().unwrap()).collect();
        let class = |letter| alphabet.find(letter).unwrap() as i64;
        let maps = samples.concat();
        let bytes: Vec<u8> = maps
            .chars()
            .flat_map(|letter| class(letter).to_le_bytes())
            .collect();
        let path = dir.path().join(format!("{id}.npz"));
        let shape = [samples.len() as u64, samples[0].len() as u64];
        save(&path, &[("samples", "<i8", &shape, &bytes)]);
        let [n0, tau, alpha, sigma] =
            ["n0", "tau", "alpha", "sigma"].map(|key| case[key].to_string());
        let base = [
            "smooth",
            "--samples",
            text(&path),
            "--n0",
            &n0,
            "--tau",
            &tau,
            "--alpha",
            &alpha,
            "--sigma",
            &sigma,
            "--format",
            "jsonl",
        ];
        for (name, reject) in case["reject"].as_object().unwrap() {
            let correction = match name.rsplit_once("_k") {
                Some(("lr_stepdown", k)) => format!("kfwer:{k}"),
                Some((_, k)) => format!("count:{}", k.parse::<u64>().unwrap() - 1),
                None => name.clone(),
            };
            let out = dir.path().join(format!("{id}-{name}"));
            let more = [
                "--correction",
                &correction,
                "--radius-map",
                "--out",
                text(&out),
            ];
            let rows = rows(&stdout(&[&base[..], &more].concat()));
            assert_eq!(
                rows.len(),
                3,
                "a head, a row for the image, one for the data set"
            );
            let row = &rows[1];
            let want: Vec<bool> = reject
                .as_str()
                .unwrap()
                .chars()
                .map(|bit| bit == '1')
                .collect();
            let certified = want.iter().filter(|bit| **bit).count();
            assert_eq!(row["certified_components"], certified, "{id} {name}");
            let share = certified as f64 / want.len() as f64;
            assert!((row["certified"].as_f64().unwrap() - share).abs() < 1e-15);
            assert!((row["abstained"].as_f64().unwrap() - (1.0 - share)).abs() < 1e-15);
            let radius = case["radius_tau"].as_f64().unwrap();
            let got = row["radius"].as_f64().unwrap();
            assert!(
                got <= radius + 1e-15 && got > radius - 1e-11,
                "{id}: {got} {radius}"
            );

            let map = out.join(format!("{id}.npz"));
            let guess = numbers(&case["guess"]);
            let expected = guess
                .iter()
                .zip(&want)
                .map(|(class, certified)| if *certified { *class as i16 } else { -1 });
            assert_eq!(classes(&map), expected.collect::<Vec<_>>(), "{id} {name}");
            // what the radii of the map are about, abstained or not
            let all: Vec<i16> = guess.iter().map(|class| *class as i16).collect();
            assert_eq!(signed(&map, "guess"), all, "{id} {name}");
            for (got, want) in ln_p(&map).iter().zip(numbers(&case["p"])) {
                assert!(
                    (got - want.ln()).abs() <= 1e-11 * want.ln().abs().max(1.0),
                    "{got} {want}"
                );
            }
            if matches!(&name[..], "bonferroni" | "holm") {
                for (got, want) in radii(&map)
                    .iter()
                    .zip(numbers(&case["radius_simultaneous"]))
                {
                    assert!(
                        *got <= want && *got >= want * (1.0 - 1e-6) - 1e-30,
                        "{got} {want}"
                    );
                }
            }
        }
    }
}

/// Samples counted by hand and handed over as votes are the same image.
#[test]
fn votes_are_judged_as_samples() {
    let dir = tempfile::tempdir().unwrap();
    let samples = pictures(dir.path(), 1);
    let maps = bytes_of(Path::new(&samples[0]), "samples");
    let maps: Vec<&[u8]> = maps.chunks(20).collect();
    let mode = |maps: &[&[u8]], at: usize| {
        let votes = |class| maps.iter().filter(|map| map[at] == class).count();
        (0..3u8)
            .max_by_key(|class| (votes(*class), std::cmp::Reverse(*class)))
            .unwrap()
    };
    for (n0, single) in [(10, false), (10, true), (70, true)] {
        let guess: Vec<u8> = (0..20).map(|at| mode(&maps[..n0], at)).collect();
        let tests = if single { &maps[..] } else { &maps[n0..] };
        let count = |at: usize| tests.iter().filter(|map| map[at] == guess[at]).count() as i16;
        let counts: Vec<u8> = (0..20).flat_map(|at| count(at).to_le_bytes()).collect();
        let path = dir.path().join("p0-votes.npz");
        let labels = bytes_of(Path::new(&samples[0]), "labels");
        let arrays = [
            ("classes", "|u1", &[4, 5][..], &guess[..]),
            ("counts", "<i2", &[4, 5], &counts),
            ("samples", "<i4", &[], &(tests.len() as i32).to_le_bytes()),
            ("labels", "<i8", &[4, 5], &labels),
        ];
        save(&path, &arrays);
        let n0 = n0.to_string();
        let mut more = vec![
            "--n0", &n0, "--alpha", "0.05", "--tau", "0.6", "--format", "jsonl", "--out",
        ];
        if single {
            more.insert(0, "--single-stage");
        }
        let [a, b] = ["a", "b"].map(|name| dir.path().join(format!("{name}{n0}{single}")));
        let from_samples = rows(&stdout(&args(&samples, &[&more[..], &[text(&a)]].concat())));
        let mut command = args(&samples, &more);
        command[1] = "--votes";
        command[2] = text(&path);
        command.push(text(&b));
        let mut from_votes = rows(&stdout(&command));
        from_votes[1]["image"] = "p0".into();
        assert_eq!(from_samples[1..], from_votes[1..]);
        assert!(from_samples[1]["certified"].as_f64().unwrap() > 0.2);
        let [a, b] = [a.join("p0.npz"), b.join("p0-votes.npz")];
        assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
    }
}

#[test]
fn families_statements_and_laws() {
    let dir = tempfile::tempdir().unwrap();
    let paths = pictures(dir.path(), 2);
    let run = |more: &[&str]| {
        let base = ["--alpha", "0.05", "--tau", "0.6", "--format", "jsonl"];
        rows(&stdout(&args(&paths, &[&base[..], more].concat())))
    };
    let plain = run(&[]);
    assert_eq!(plain[1]["tests"], 20);
    let counted = run(&["--family", "not-ignored"]);
    assert_eq!(
        (&counted[1]["tests"], &counted[1]["sampling"]["family"]),
        (&19.into(), &"not-ignored".into())
    );
    let screened = run(&["--family", "screened", "--screen", "10"]);
    let tests = screened[1]["tests"].as_u64().unwrap();
    assert!(tests > 3 && tests < 20, "{tests}");
    // abstentions are of the family; figures beside labels are not
    assert_eq!(screened[1]["figures"]["counts"]["counted"], 19);
    let radius = |rows: &[Value]| rows[1]["radius"].as_f64().unwrap();
    let strong = run(&["--statement", "strong:0.55"]);
    assert!(radius(&strong) < radius(&plain) && radius(&strong) > 0.0);
    assert_eq!(radius(&run(&["--statement", "strong"])), radius(&plain));
    let words = |law: &str, more: &str| {
        let mut words = args(&paths, &["--law", law, more, "1", "--format", "jsonl"]);
        words.retain(|word| !["--sigma", "0.25"].contains(word));
        rows(&stdout(&words))
    };
    // -ln(2·0.25) and 2·0.25
    assert!((radius(&words("laplace", "--scale")) - std::f64::consts::LN_2).abs() < 1e-12);
    assert!((radius(&words("uniform", "--scale")) - 0.5).abs() < 1e-12);
    assert_eq!(words("uniform", "--scale")[1]["norm"], "1");
    let none = run(&["--correction", "none"]);
    assert_eq!(
        (&none[1]["allowed"], &none[3]["wrong_images"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn curves_hold_what_thresholds_certify() {
    let dir = tempfile::tempdir().unwrap();
    let paths = pictures(dir.path(), 1);
    let run = |more: &[&str]| {
        rows(&stdout(&args(
            &paths,
            &[&["--alpha", "0.05", "--format", "jsonl"], more].concat(),
        )))
    };
    let rows = run(&["--curve", "0,3", "--tau", "0.6"]);
    let kinds: Vec<_> = rows
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "head",
            "smooth",
            "smooth-curve",
            "smooth-curve",
            "smooth-dataset"
        ]
    );
    assert_eq!(
        (&rows[2]["allowed"], &rows[3]["allowed"]),
        (&0.into(), &3.into())
    );
    let mut compared = 0;
    for (curve, correction) in [(&rows[2], "bonferroni"), (&rows[3], "count:3")] {
        let points = curve["points"].as_array().unwrap();
        assert!(
            points
                .windows(2)
                .all(|pair| pair[0]["radius"].as_f64() > pair[1]["radius"].as_f64())
        );
        assert!(
            points
                .windows(2)
                .all(|pair| pair[0]["right"].as_f64() <= pair[1]["right"].as_f64())
        );
        for tau in ["0.55", "0.6", "0.7", "0.8"] {
            let row = &run(&["--tau", tau, "--correction", correction])[1];
            let within = points
                .iter()
                .rfind(|point| point["radius"].as_f64() >= row["radius"].as_f64());
            let components = within.map_or(0, |point| point["components"].as_u64().unwrap());
            assert_eq!(
                row["certified_components"], components,
                "{tau} {correction}"
            );
            compared += components;
        }
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn hierarchies_are_those_of_the_vectors() {
    let file = vectors("hierarchy");
    let dir = tempfile::tempdir().unwrap();
    let tables = dir.path().join("levels.json");
    fs::write(&tables, file["header"]["lookup_tables"].to_string()).unwrap();
    let tables_of: Vec<Vec<f64>> = file["header"]["lookup_tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(numbers)
        .collect();
    let list = |list: &Value| -> Vec<u8> { numbers(list).into_iter().map(|n| n as u8).collect() };
    for case in file["cases"].as_array().unwrap() {
        // samples with the counts of the vector: the rest of them at leaves that share no finer node
        let leaves = list(&case["guess_leaf"]);
        let counts: Vec<Vec<f64>> = case["counts_by_level"]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect();
        let n = case["n"].as_u64().unwrap() as usize;
        let mut maps = leaves.clone();
        let shares = |leaf: u8, other: usize, level: usize| {
            tables_of[level][usize::from(leaf)] == tables_of[level][other]
        };
        for sample in 0..n {
            for (leaf, counts) in leaves.iter().zip(&counts) {
                // the finest level whose count this sample still belongs to; 4: none but the root
                let level = counts
                    .iter()
                    .position(|count| (sample as f64) < *count)
                    .unwrap_or(4);
                let fits = |other: &usize| {
                    shares(*leaf, *other, level)
                        && (level == 0 || !shares(*leaf, *other, level - 1))
                };
                maps.push((0..19).find(fits).unwrap_or(usize::from(*leaf)) as u8);
            }
        }
        let id = case["id"].as_str().unwrap();
        let path = dir.path().join(format!("{id}.npz"));
        let labels = list(&case["label"]);
        let pixels = leaves.len() as u64;
        save(
            &path,
            &[
                ("samples", "|u1", &[n as u64 + 1, pixels], &maps),
                ("labels", "|u1", &[pixels], &labels),
            ],
        );
        let [tau, alpha] = ["tau", "alpha"].map(|key| case[key].to_string());
        let out = dir.path().join(format!("out-{id}"));
        let base = [
            "smooth",
            "--samples",
            text(&path),
            "--n0",
            "1",
            "--sigma",
            "1",
            "--tau",
            &tau,
            "--alpha",
            &alpha,
        ];
        let more = [
            "--correction",
            "bonferroni",
            "--hierarchy",
            text(&tables),
            "--format",
            "jsonl",
            "--out",
            text(&out),
        ];
        let row = &rows(&stdout(&[&base[..], &more].concat()))[1];
        let of = |name: &str| -> Vec<i64> {
            let bytes = bytes_of(&out.join(format!("{id}.npz")), name);
            bytes
                .chunks(2)
                .map(|two| i16::from_le_bytes([two[0], two[1]]).into())
                .collect()
        };
        let want = |key: &str| -> Vec<i64> {
            case[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|value| value.as_i64().unwrap_or(-1))
                .collect()
        };
        assert_eq!(
            (of("level"), of("node")),
            (want("level"), want("node")),
            "{id}"
        );
        let gain = row["levels"]["gain"].as_f64().unwrap();
        let cig = case["cig"].as_f64().unwrap();
        assert!(gain <= cig && gain > cig - 1e-12, "{gain} {cig}");
    }
}

#[test]
fn figures_with_abstentions_by_name() {
    // the worked example: classes certified by all of 100 votes, abstentions by half of them
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, classes, counts, labels) in [
        ("a", [0, 0, 0, 1], [100, 100, 50, 100], [0, 0, 0, 1u8]),
        ("b", [0, 0, 2, 0], [100; 4], [0, 0, 2, 2]),
    ] {
        let path = dir.path().join(format!("{name}.npz"));
        let arrays: [(_, _, &[u64], &[u8]); 4] = [
            ("classes", "|u1", &[1, 4], &classes),
            ("counts", "|u1", &[1, 4], &counts),
            ("samples", "|u1", &[1], &[100]),
            ("labels", "|u1", &[1, 4], &labels),
        ];
        save(&path, &arrays);
        paths.push(text(&path).to_owned());
    }
    let base = [
        "smooth",
        "--votes",
        &paths[0],
        &paths[1],
        "--sigma",
        "0.25",
        "--boundary",
        "1",
    ];
    let rows = rows(&stdout(&[&base[..], &["--format", "jsonl"]].concat()));
    let all = &rows[3]["figures"];
    for (name, want) in [
        ("acc_certified", 0.75),
        ("abstain_rate", 0.125),
        ("abstain_rate_all_pixels", 0.125),
        ("acc_selective", 0.857142857),
        ("miou_dataset", 0.722222222),
        ("miou_dataset_absent0", 0.722222222),
        ("miou_dataset_kplus1", 0.541666667),
        ("miou_pairs_skip_absent", 0.708333333),
        ("miou_pairs_absent0", 0.472222222),
        ("miou_pairs_absent1", 0.805555556),
    ] {
        let got = all[name].as_f64().unwrap();
        assert!((got - want).abs() < 1e-9, "{name}: {got}");
    }
    assert_eq!(rows[3]["boundary"]["boundary"]["counted"], 7);
    let table = stdout(&base);
    for word in [
        "certified and right",
        "0.7500",
        "0.7222",
        "for every certified component",
        "nothing is said of components that abstain",
        "alpha is per image: of 2",
        "within 1 pixels of a change of label",
    ] {
        assert!(table.contains(word), "{word:?} is not in\n{table}");
    }
    let csv = stdout(&[&base[..], &["--format", "csv"]].concat());
    let lines: Vec<Vec<_>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    assert_eq!((lines[1][8], lines[2][8]), ("0.75", "0.75"));
}

#[test]
fn notes_say_what_a_number_of_samples_wastes() {
    let dir = tempfile::tempdir().unwrap();
    let paths = pictures(dir.path(), 1);
    let words = |more: &[&str]| {
        let output = certiseg(&args(&paths, more));
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(words(&["--tau", "0.9"]).contains("everything abstains below n = "));
    assert!(words(&["--tau", "0.6"]).contains("tolerates as many misses with fewer samples"));
}

/// A sampler that draws new noise and hands the network the last picture of its batch: each map comes four times.
#[test]
fn repeated_noise_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let paths = pictures(dir.path(), 1);
    let words = |paths: &[String]| {
        let output = certiseg(&args(paths, &[]));
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(!words(&paths).contains("equal an earlier one"));
    let maps = bytes_of(Path::new(&paths[0]), "samples");
    let copies: Vec<u8> = maps
        .chunks(20)
        .step_by(4)
        .flat_map(|map| map.repeat(4))
        .collect();
    let path = dir.path().join("copies.npz");
    save(
        &path,
        &[("samples", "|u1", &[copies.len() as u64 / 20, 20], &copies)],
    );
    let words = words(&[text(&path).to_owned()]);
    assert!(
        words.contains("label maps of image copies equal an earlier one"),
        "{words}"
    );
}

#[test]
fn merged_shards_are_one_run_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let paths = pictures(dir.path(), 7);
    let out = |name: &str| dir.path().join(name);
    let more = [
        "--alpha",
        "0.05",
        "--curve",
        "0,2",
        "--boundary",
        "1",
        "--correction",
        "count:1",
    ];
    let run = |more_still: &[&str]| stdout(&args(&paths, &[&more[..], more_still].concat()));
    let table = run(&["--out", text(&out("whole"))]);
    let read = |folder: &Path| fs::read(folder.join("rows.jsonl")).unwrap();
    for of in [1, 3] {
        let parts = out(&format!("parts{of}"));
        for part in 0..of {
            run(&["--out", text(&parts), "--shard", &format!("{part}/{of}")]);
        }
        let merged = out(&format!("merged{of}"));
        let shown = stdout(&["merge", text(&parts), "--out", text(&merged)]);
        assert!(read(&merged) == read(&out("whole")), "of {of}");
        assert_eq!(shown, table);
        for picture in 0..7 {
            let name = format!("p{picture}.npz");
            assert_eq!(
                fs::read(parts.join(&name)).unwrap(),
                fs::read(out("whole").join(&name)).unwrap()
            );
        }
    }
    // stopped within the rows of the third image
    let torn = out("torn");
    fs::create_dir(&torn).unwrap();
    let whole = String::from_utf8(read(&out("whole"))).unwrap();
    let end: usize = whole.lines().take(8).map(|line| line.len() + 1).sum();
    fs::write(torn.join("rows.jsonl.partial"), &whole[..end + 40]).unwrap();
    for picture in 0..2 {
        let name = format!("p{picture}.npz");
        fs::copy(out("whole").join(&name), torn.join(&name)).unwrap();
    }
    assert_eq!(run(&["--out", text(&torn), "--resume"]), table);
    assert!(read(&torn) == read(&out("whole")));
}
