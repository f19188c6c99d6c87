//! What `certify` offers beyond the usual rows: all metrics, heads, norms, regions, data sets,
//! curves and maps.

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;

use common::{Npz, certiseg, folder_data, stdout, untrained_model};
use serde_json::Value;

/// Six pixels, three classes, L = 2, the last pixel void (example T8).
const LOGITS: [[f32; 6]; 3] = [
    [3.0, 1.0, 0.0, 2.0, 0.0, 5.0],
    [1.0, 1.0, 2.0, 1.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0, 4.0, 0.0],
];
const LABELS: [i64; 6] = [0, 0, 1, 1, 2, 255];

fn fixture(dir: &Path, images: usize) -> String {
    let path = dir.join("fixture.npz");
    let (logits, labels) = (LOGITS.as_flattened().repeat(images), LABELS.repeat(images));
    let n = images as u64;
    Npz::new()
        .logits([n, 3, 2, 3], &logits)
        .labels([n, 2, 3], &labels)
        .write(&path);
    path.to_str().unwrap().to_owned()
}

/// The rows of a run on the fixture, the head first.
fn run(path: &str, arguments: &str) -> Vec<Value> {
    let fixed = format!("certify --logits {path} --lipschitz 2 --format jsonl {arguments}");
    let text = stdout(&fixed.split_whitespace().collect::<Vec<_>>());
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn refused(arguments: &str, words: &[&str]) {
    let output = certiseg(&arguments.split_whitespace().collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(2), "{arguments}");
    let text = String::from_utf8(output.stderr).unwrap();
    for word in words {
        assert!(text.contains(word), "{arguments}: {text}");
    }
}

fn close(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!(
        (found - expected).abs() < 1e-9 * expected.max(1.0),
        "{found} {expected}"
    );
}

#[test]
fn every_metric_has_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = fixture(dir.path(), 1);
    let rows = run(
        &path,
        "--eps 0.8 --metric recall:0 --metric fpr:2 --metric specificity:2 --metric precision:0 \
         --metric dice:0 --metric mean-class-accuracy --metric miou --metric objects:0 \
         --metric stable-objects:1 --until stability@50 --until objects:0<=0",
    );
    let value = |metric: &str, question: &str| {
        let row = rows
            .iter()
            .find(|row| row["metric"] == metric && row.get(question).is_some());
        row.unwrap_or_else(|| panic!("{metric}"))["value"].clone()
    };
    // costs of class 0: 1/2 and a tie; budget .64
    close(&value("recall:0", "eps"), 0.0);
    // pairwise costs of class 2: 9/8, 1/8, 1/2, 1/8: 1/8 + 1/8 is paid, of four
    close(&value("fpr:2", "eps"), 0.5);
    close(&value("specificity:2", "eps"), 0.5);
    close(&value("precision:0", "eps"), 0.0);
    close(&value("dice:0", "eps"), 0.0);
    // the decoupled bound is 1/9
    assert!(value("miou", "eps").as_f64().unwrap() >= 1.0 / 9.0 - 1e-12);
    // label object {p0, p1} costs 1/2 in all; predicted object {p2} costs 1/2
    close(&value("objects:0", "eps"), 0.0);
    close(&value("stable-objects:1", "eps"), 0.0);
    close(&value("objects:0", "goal"), 0.5f64.sqrt());
    close(&value("stability", "goal"), 0.625f64.sqrt());
    let accuracy = value("mean-class-accuracy", "eps").as_f64().unwrap();
    assert!((0.0..=0.5).contains(&accuracy), "{accuracy}");
}

#[test]
fn norms_claims_and_heads() {
    let dir = tempfile::tempdir().unwrap();
    let path = fixture(dir.path(), 1);
    let budget = |arguments: &str| {
        let rows = run(&path, &format!("--until accuracy<=0.4 {arguments}"));
        (rows[0].clone(), rows[1]["value"].as_f64().unwrap())
    };
    let (_, l2) = budget("");
    // 100 values: sqrt(100) times as far in linf, the same in l1
    let (head, linf) = budget("--norm inf --dimension 100");
    assert!((linf * 10.0 - l2).abs() < 1e-9, "{linf} {l2}");
    assert_eq!(
        (&head["norm"], &head["settings"]["dimension"]),
        (&"inf".into(), &100.into())
    );
    assert!((budget("--norm 1 --dimension 100").1 - l2).abs() < 1e-9);
    // without the dimension the constant is in the norm of the budgets: another certificate
    assert!((budget("--norm 1").1 - l2).abs() > 0.1);
    // 4 eta instead of 2
    let claimed = budget("--eta 0.125 --claim program");
    assert_eq!(claimed.0["claim"], "program");
    assert_eq!(claimed.1, budget("--eta 0.25").1);
    assert!(claimed.1 < budget("--eta 0.125").1);
    // an orthonormal head is no other certificate; rows twice as long halve the radii
    let head = |scale: f32| {
        let file = dir.path().join("head.npz");
        let rows = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0f32]];
        let rows: Vec<f32> = rows.as_flattened().iter().map(|w| w * scale).collect();
        Npz::new().weight([3, 3], &rows).write(&file);
        budget(&format!("--head {}", file.display())).1
    };
    assert!((head(1.0) - l2).abs() < 1e-9);
    assert!((2.0 * head(2.0) - l2).abs() < 1e-9);
    let file = dir.path().join("two.npz");
    Npz::new().weight([2, 1], &[0.0, 1.0]).write(&file);
    let file = file.display();
    refused(
        &format!("certify --logits {path} --lipschitz 2 --head {file}"),
        &["2 rows", "expected 3"],
    );
    refused(
        &format!("certify --logits {path} --lipschitz 2 --head {path}"),
        &["weight", "logits"],
    );
    refused(
        &format!("certify --logits {path} --lipschitz 2 --dimension 0 --norm inf"),
        &["0", "at least 1"],
    );
    refused(
        &format!("certify --logits {path} --lipschitz 2 --metric iou:1 --norm 3 --forced exact"),
        &["exact", "pairwise"],
    );
    refused(
        &format!("certify --logits {path} --lipschitz 2 --claim sure"),
        &["function", "program"],
    );
}

/// Exact costs of a forced class are no cheaper: IoU of class 2 at eps .51 is 1/2, not 1/3.
#[test]
fn conventions() {
    let dir = tempfile::tempdir().unwrap();
    let path = fixture(dir.path(), 1);
    let value = |arguments: &str| run(&path, arguments)[1]["value"].clone();
    close(&value("--eps 0.51 --metric iou:2"), 1.0 / 3.0);
    close(&value("--eps 0.51 --metric iou:2 --forced exact"), 0.5);
    // class 0 has one object of two pixels
    assert!(value("--eps 0 --metric objects:0 --min-object 3").is_null());
    close(&value("--eps 0 --metric objects:0 --coverage 50"), 0.0);
    // two pixels that touch at a corner
    let corner = dir.path().join("corner.npz");
    let npz = Npz::new().logits([1, 2, 2, 2], &[0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    npz.labels([1, 2, 2], &[1, 0, 0, 1]).write(&corner);
    let counted = |arguments: &str| run(corner.to_str().unwrap(), arguments)[1]["counted"].clone();
    assert_eq!(counted("--eps 0 --metric objects:1"), 2);
    assert_eq!(counted("--eps 0 --metric objects:1 --connectivity 8"), 1);
    let head = &run(
        &path,
        "--eps 0 --metric miou --metric precision:1 --miou union --empty-precision skip",
    )[0]["conventions"];
    assert_eq!(
        (&head["miou"], &head["empty_precision"]),
        (&"union".into(), &"skip".into())
    );
    let wrong = format!("certify --logits {path} --lipschitz 2");
    for flag in [
        "--forced exact",
        "--miou union",
        "--empty-precision one",
        "--coverage 5",
    ] {
        let name = flag.split(' ').next().unwrap();
        refused(
            &format!("{wrong} --metric accuracy {flag}"),
            &[name, "none of the metrics"],
        );
    }
    refused(&format!("{wrong} --connectivity 6"), &["4 or 8"]);
    refused(&format!("{wrong} --coverage 100"), &["100"]);
    refused(&format!("{wrong} --min-object 0"), &["0"]);
    refused(&format!("{wrong} --miou all"), &["present", "union"]);
}

#[test]
fn a_region_counts_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = fixture(dir.path(), 1);
    let png = |name: &str, width: u32, values: &[u8]| {
        let file = dir.path().join(name);
        let height = values.len() as u32 / width;
        let picture = image::GrayImage::from_raw(width, height, values.to_vec()).unwrap();
        picture.save(&file).unwrap();
        file.display().to_string()
    };
    let top = png("top.png", 3, &[255, 255, 1, 0, 0, 0]);
    for (metric, counted) in [("accuracy", 3), ("stability", 3), ("fpr:1", 2)] {
        let rows = run(
            &path,
            &format!("--eps 0.1 --metric {metric} --region {top}"),
        );
        assert_eq!(rows[1]["counted"], counted, "{metric}");
    }
    // 16 bits of which the upper ones are 0
    let faint = dir.path().join("faint.png");
    let faint_values =
        image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 2, vec![0u16, 1, 1, 1, 1, 1]);
    faint_values.unwrap().save(&faint).unwrap();
    let faint = format!("--eps 0.1 --metric accuracy --region {}", faint.display());
    assert_eq!(run(&path, &faint)[1]["counted"], 4);
    let none = png("none.png", 3, &[0; 6]);
    let other = png("other.png", 2, &[1; 6]);
    let wrong = format!("certify --logits {path} --lipschitz 2 --region");
    refused(&format!("{wrong} {other}"), &["3x2", "2x3"]);
    refused(&format!("{wrong} {none}"), &["all black"]);
    let jpeg = dir.path().join("region.jpg");
    image::GrayImage::from_pixel(3, 2, image::Luma([255]))
        .save(&jpeg)
        .unwrap();
    refused(&format!("{wrong} {}", jpeg.display()), &["no PNG"]);
    refused(&format!("{wrong} {path}"), &["region"]);
    refused(&format!("{wrong} /nowhere.png"), &["/nowhere.png"]);
}

#[test]
fn data_sets_curves_and_maps() {
    let dir = tempfile::tempdir().unwrap();
    let path = fixture(dir.path(), 2);
    let maps = dir.path().join("maps");
    let rows = run(
        &path,
        &format!(
            "--eps 0,0.51 --metric accuracy --metric iou:2 --metric miou --until iou:2<=0.4 \
             --dataset --curve 5 --maps {}",
            maps.display()
        ),
    );
    let of = |kind: &str, metric: &str| {
        let of = rows
            .iter()
            .filter(|row| row["kind"] == kind && row["metric"] == metric);
        of.cloned().collect::<Vec<_>>()
    };
    // both images are the same, and so is their pooled value
    for metric in ["accuracy", "iou:2"] {
        for (pooled, row) in of("dataset", metric).iter().zip(of("row", metric)) {
            close(&pooled["value"], row["value"].as_f64().unwrap());
            assert_eq!(pooled["images"], 2);
            let ratio = metric != "accuracy" && pooled.get("eps").is_some();
            assert_eq!(pooled.get("sum_of_image_minima").is_some(), ratio);
        }
    }
    assert_eq!(of("dataset", "miou").len(), 2);
    let curves = of("curve", "accuracy");
    assert_eq!(curves.len(), 2);
    let numbers = |key: &str| -> Vec<f64> {
        let list = curves[0][key].as_array().unwrap();
        list.iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let (eps, value) = (numbers("eps"), numbers("value"));
    assert!(eps.is_sorted() && eps[0] == 0.0 && (2..=5).contains(&eps.len()));
    assert!(value.is_sorted_by(|a, b| a >= b) && value.last() == Some(&0.0));
    let mut names = zip::ZipArchive::new(fs::File::open(maps.join("1.npz")).unwrap()).unwrap();
    let mut found: Vec<String> = names
        .file_names()
        .map(|n| n.unwrap().into_owned())
        .collect();
    found.sort();
    let expected = [
        "budget_accuracy",
        "gain_iou_2",
        "label",
        "lose_iou_2",
        "prediction",
        "radius",
    ]
    .map(|n| format!("{n}.npy"));
    assert_eq!(found, expected);
    let mut bytes = Vec::new();
    names
        .by_name("prediction.npy")
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert!(bytes.ends_with(&[0, 0, 1, 0, 2, 0]));
    // what is there stays: it may be somebody's logits
    let again = format!(
        "certify --logits {path} --lipschitz 2 --metric accuracy --maps {}",
        maps.display()
    );
    let before = fs::read(maps.join("0.npz")).unwrap();
    refused(&again, &["0.npz exists", "new or empty"]);
    assert_eq!(fs::read(maps.join("0.npz")).unwrap(), before);
    // asked twice, answered once
    let twice = run(
        &path,
        "--eps 0.5,0.5,0.50 --metric accuracy --until accuracy<=0.5 --until accuracy<=0.5",
    );
    assert_eq!(twice.len(), 1 + 2 * 2);
    // the table has both
    let table =
        format!("certify --logits {path} --lipschitz 2 --eps 0.51 --metric iou:2 --dataset");
    let table = stdout(&table.split_whitespace().collect::<Vec<_>>());
    assert!(
        table.contains("pooled") && table.contains("no bound"),
        "{table}"
    );
    let wrong = format!("certify --logits {path} --lipschitz 2");
    refused(&format!("{wrong} --curve"), &["--curve", "jsonl"]);
    refused(
        &format!("{wrong} --dataset --format csv"),
        &["--dataset", "jsonl"],
    );
    refused(&format!("{wrong} --curve 1"), &["1"]);
    refused(&format!("{wrong} --maps /proc/nowhere"), &["/proc/nowhere"]);
}

/// The l2 constant of a model answers other norms by conversion, and the head says so.
#[test]
fn a_model_in_another_norm() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = (
        untrained_model(dir.path()),
        folder_data(dir.path(), "data", 1),
    );
    let run = |norm: &str| {
        let [model, data] = [&model, &data].map(|path| path.to_str().unwrap());
        let text = stdout(&[
            "certify",
            "--model",
            model,
            "--data",
            data,
            "--norm",
            norm,
            "--until",
            "stability<=0.5",
            "--format",
            "jsonl",
        ]);
        let mut lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let (head, row) = (lines.next().unwrap(), lines.next().unwrap());
        (head["unit"].as_str().unwrap().to_owned(), row)
    };
    let ((unit, l2), (_, linf)) = (run("2"), run("inf"));
    let [_, size] = unit.rsplit_once(' ').map(|(a, b)| [a, b]).unwrap();
    let values: f64 = size.split('x').map(|n| n.parse::<f64>().unwrap()).product();
    assert_eq!([&l2["norm"], &linf["norm"]], ["2", "inf"]);
    close(
        &linf["value"],
        l2["value"].as_f64().unwrap() / values.sqrt(),
    );
    assert_eq!(run("1").1["value"], l2["value"]);
    // what only logits need
    let [model, data] = [model.display(), data.display()];
    for flag in ["--head h.npz", "--dimension 10"] {
        let name = flag.split(' ').next().unwrap();
        refused(
            &format!("certify --model {model} --data {data} {flag}"),
            &[name],
        );
    }
}
