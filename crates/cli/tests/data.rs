//! `certiseg data info`, `verify` and `preview`: what they say, their exit codes, and what they draw.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{certiseg, folder_data, stdout};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Standard output and exit code.
fn told(arguments: &[&str]) -> (String, i32) {
    let output = certiseg(arguments);
    let words = String::from_utf8(output.stdout).unwrap();
    (words, output.status.code().unwrap())
}

/// Five pictures of three classes in two splits.
fn data(dir: &Path) -> PathBuf {
    let data = folder_data(dir, "data", 5);
    fs::write(data.join("train.txt"), "0\n1\n2\n").unwrap();
    fs::write(data.join("val.txt"), "3\n4\n").unwrap();
    let classes = r#"{"num_classes": 3, "names": ["sky", "road", "car"]}"#;
    fs::write(data.join("classes.json"), classes).unwrap();
    data
}

#[test]
fn info_says_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    fs::write(data.join("images/Thumbs.db"), "").unwrap();
    let words = stdout(&["data", "info", text(&data)]);
    for line in [
        "layout    folder: images and masks are there, its masks are PNGs",
        "pictures  5, 5 with masks",
        "splits    train 3, val 2",
        "size      32x32 (height x width)",
        "void      0.00 % of 5120 pixels",
        "│ 1 road ┆               34.38 ┆            34.38 ┆             5 │",
        "note: 1 file is no picture and left out",
    ] {
        assert!(words.contains(line), "{line:?} is not in:\n{words}");
    }
    let json = stdout(&["data", "info", text(&data), "--split", "val", "--json"]);
    let survey: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(survey["pictures"], 2);
    assert_eq!(survey["classes"][2]["name"], "car");
    assert_eq!(survey["findings"][0]["kind"], "stray");
    assert_eq!(survey["findings"][0]["level"], "note");
}

#[test]
fn verify_passes_fails_or_is_strict() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let verdict =
        "a training would read every picture: layout folder, 5 pictures, 0 errors, 0 warnings\n";
    assert_eq!(told(&["data", "verify", text(&data)]), (verdict.into(), 0));
    // a warning fails only if asked to
    fs::copy(data.join("masks/0.png"), data.join("masks/spare.png")).unwrap();
    let (words, code) = told(&["data", "verify", text(&data)]);
    assert_eq!(code, 0);
    assert!(
        words.starts_with("warning: 1 mask has no image\n    \""),
        "{words}"
    );
    let (words, code) = told(&["data", "verify", text(&data), "--strict"]);
    assert_eq!(code, 1);
    assert!(
        words.ends_with(
            "not fit for a training: layout folder, 5 pictures, 0 errors, 1 warning, --strict\n"
        ),
        "{words}"
    );
    // one of each: torn, without a mask, another size; all are told
    let whole = fs::read(data.join("images/0.png")).unwrap();
    fs::write(data.join("images/0.png"), &whole[..whole.len() / 2]).unwrap();
    fs::remove_file(data.join("masks/1.png")).unwrap();
    image::GrayImage::new(3, 2)
        .save(data.join("masks/4.png"))
        .unwrap();
    let (words, code) = told(&["data", "verify", text(&data)]);
    assert_eq!(code, 1);
    for line in [
        "error: 1 image has no mask\n    image 1 has no mask in ",
        "    hint: add a mask called 1, or list the images that have one in a split list\n",
        "error: 1 file is cut short\n",
        "error: 1 mask has another size than the image\n    mask of 4 is 2x3, its image is 32x32 (height x width)\n",
        "not fit for a training: layout folder, 4 pictures, 3 errors, 1 warning\n",
    ] {
        assert!(words.contains(line), "{line:?} is not in:\n{words}");
    }
    // the other split is whole but for its size
    let (words, code) = told(&["data", "verify", text(&data), "--split", "val"]);
    assert_eq!((code, words.matches("error: ").count()), (1, 1), "{words}");
}

#[test]
fn split_lists_that_name_nothing_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for (list, words) in [
        (&b"# nothing yet\n"[..], "no images in"),
        (b"b\xe4r\n", "valid UTF-8"),
        (b"other\n", "image other is not in"),
    ] {
        fs::write(data.join("test.txt"), list).unwrap();
        let (said, code) = told(&["data", "verify", text(&data)]);
        assert!(said.contains(words) && code == 1, "{said}");
    }
    // not called as a split list is
    fs::write(data.join("notes.txt"), "b\n").unwrap();
    fs::write(data.join("test.txt"), "0\n").unwrap();
    assert_eq!(told(&["data", "verify", text(&data)]).1, 0);
    // of a variable of the shell that is not set
    let output = certiseg(&["data", "verify", text(&data), "--split", ""]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("no split \"\"") && output.status.code() == Some(2),
        "{said}"
    );
}

#[test]
fn many_of_a_kind_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for id in 0..5 {
        image::RgbaImage::new(32, 32)
            .save(data.join(format!("images/{id}.png")))
            .unwrap();
    }
    let (words, _) = told(&["data", "verify", text(&data), "--examples", "2"]);
    assert!(
        words.starts_with("error: 5 images have an alpha channel\n"),
        "{words}"
    );
    assert!(
        words.contains("\n    and 3 more\n    hint: paint it on"),
        "{words}"
    );
}

#[test]
fn pictures_without_masks_are_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let (words, code) = told(&["data", "verify", text(&data.join("images"))]);
    assert_eq!(code, 1);
    let expected = "error: there are no masks, and a training needs them\nnot fit for a training: layout images, 5 pictures";
    assert!(words.starts_with(expected), "{words}");
}

#[test]
fn a_folder_that_fits_nothing_or_too_much_is_wrong_use() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let refused = |arguments: &[&str], words: &str| {
        let output = certiseg(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(
            message.contains(words) && message.contains("hint: "),
            "{message}"
        );
    };
    for verb in ["info", "verify"] {
        refused(
            &["data", verb, text(dir.path())],
            "it has data/, expected images/ and masks/",
        );
        refused(
            &["data", verb, text(&data), "--layout", "voc"],
            "no voc data in",
        );
        refused(
            &["data", verb, text(&data), "--split", "absent"],
            "no split \"absent\"",
        );
    }
    fs::create_dir_all(data.join("annotations/trimaps")).unwrap();
    refused(
        &["data", "info", text(&data)],
        "fits several layouts: pets (",
    );
    let out = dir.path().join("sheet.png");
    refused(
        &["data", "preview", text(dir.path()), "--out", text(&out)],
        "no known layout",
    );
    assert!(!out.exists());
}

#[test]
fn preview_draws_image_mask_and_both() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let mask =
        image::GrayImage::from_fn(32, 32, |x, _| image::Luma([if x < 16 { 1 } else { 255 }]));
    mask.save(data.join("masks/0.png")).unwrap();
    let out = dir.path().join("sheet.png");
    let arguments = [
        "data",
        "preview",
        text(&data),
        "--out",
        text(&out),
        "--count",
        "2",
        "--side",
        "32",
    ];
    let words = stdout(&arguments);
    let first = format!(
        "{}: 2 of 5 pictures, row by row; each as image, mask, both\n    1\n    3\n",
        out.display()
    );
    assert!(words.starts_with(&first), "{words}");
    assert!(words.contains("#e69f00   1 road  orange\n"), "{words}");
    let sheet = image::open(&out).unwrap().to_rgb8();
    // two strips of three cells of 32, with gaps of 6 around cells and strips
    assert_eq!(sheet.dimensions(), (3 * 38 + 6 + 12, 2 * (32 + 24)));
    assert_eq!(sheet.get_pixel(12, 12).0, [0, 0, 40], "the image as it is");
    assert_eq!(
        sheet.get_pixel(12 + 38 + 11, 12).0,
        [230, 159, 0],
        "class 1"
    );
    let bytes = fs::read(&out).unwrap();
    stdout(&arguments);
    assert_eq!(fs::read(&out).unwrap(), bytes, "the same every time");

    // all five, one of them torn: a cross in its place; void is hatched; colours are the user's
    let whole = fs::read(data.join("images/4.png")).unwrap();
    fs::write(data.join("images/4.png"), &whole[..40]).unwrap();
    let classes = r#"{"num_classes": 2, "classes": [{"id": 0, "name": "sky", "color": [1, 2, 3]},
        {"id": 1, "name": "road", "color": [4, 5, 6]}]}"#;
    for id in 1..4 {
        image::GrayImage::new(32, 32)
            .save(data.join(format!("masks/{id}.png")))
            .unwrap();
    }
    fs::write(data.join("classes.json"), classes).unwrap();
    let output = certiseg(&[
        "data",
        "preview",
        text(&data),
        "--out",
        text(&out),
        "--side",
        "32",
    ]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("4.png\" is cut short"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("#040506   1 road\n"));
    let sheet = image::open(&out).unwrap().to_rgb8();
    let mask = |x: u32, y: u32| sheet.get_pixel(12 + 38 + x, 12 + y).0;
    assert_eq!(mask(0, 0), [4, 5, 6]);
    let hatch: std::collections::BTreeSet<_> = (16..32).map(|x| mask(x, 0)).collect();
    assert!(hatch.into_iter().eq([[170; 3], [255; 3]]));
    let last_row = 2 * (32 + 24) + 12;
    assert_eq!(
        sheet.get_pixel(12 + 16, last_row + 16).0,
        [200, 0, 40],
        "crossed out"
    );
}

#[test]
fn the_real_data_is_as_its_papers_say() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !shared.is_dir() {
        println!("skipped: ../shared/data is not there");
        return;
    }
    let survey = |name: &str, more: &[&str]| -> serde_json::Value {
        let folder = shared.join(name);
        let mut arguments = vec!["data", "info", text(&folder), "--json"];
        arguments.extend(more);
        serde_json::from_str(&stdout(&arguments)).unwrap()
    };
    // the 70 of one split: the whole takes seconds
    let found = survey("kvasir_seg", &["--split", "val"]);
    assert_eq!(
        (&found["layout"], &found["pictures"]),
        (&"kvasir".into(), &70.into())
    );
    for (name, layout, pictures, class, percent, tolerance) in [
        // frequencies as published beside the data, of samples that may differ by some pictures
        ("camvid", "folder", 654, 3, 29.3 / 0.964, 0.5),
        ("cvc_clinicdb", "folder", 586, 1, 9.2, 0.2),
        ("oxford_pets3", "folder", 538, 0, 28.0, 0.5),
    ] {
        let found = survey(name, &[]);
        assert_eq!(found["layout"], layout, "{name}");
        assert_eq!(found["pictures"], pictures, "{name}");
        assert_eq!(
            found["findings"].as_array().unwrap().len(),
            0,
            "{name}: {}",
            found["findings"]
        );
        let share = 100.0 * found["classes"][class]["share"].as_f64().unwrap();
        assert!((share - percent).abs() < tolerance, "{name}: {share}");
    }
    for (name, layout, pictures) in [("oxford_pets3", "pets", 25), ("camvid", "camvid", 15)] {
        let found = survey(&format!("{name}/official_layout_sample"), &[]);
        assert_eq!(
            (&found["layout"], &found["pictures"]),
            (&layout.into(), &pictures.into())
        );
    }
}
