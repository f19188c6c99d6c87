//! Plain folders, and what users' files have.

use certiseg_net::Error;
use certiseg_net::data::{Kind, Layout, Level, VOID, catalogue, open, survey};
use image::{DynamicImage, ImageFormat};

use crate::tree::{Tree, kinds, words};

const TWO: &str = r#"{"num_classes": 2, "names": ["ground", "thing"]}"#;

/// Pictures `a`, `b`, `c` of two classes and void.
fn folder() -> Tree {
    let tree = Tree::new();
    for id in ["a", "b", "c"] {
        tree.image(&format!("images/{id}.png"));
        tree.mask(&format!("masks/{id}.png"), &[0, 0, 1, 255]);
    }
    tree.text("classes.json", TWO);
    tree
}

/// What a training says of the whole folder, checked against the survey.
fn stops(tree: &Tree) -> String {
    tree.stops(Layout::Folder, None)
}

#[test]
fn a_folder_without_faults() {
    let tree = folder();
    let survey = tree.survey(Layout::Folder);
    assert_eq!(survey.findings, []);
    assert_eq!(
        (survey.pictures, survey.masks, survey.pixels, survey.void),
        (3, 3, 144, 36)
    );
    let shares: Vec<_> = survey
        .classes
        .iter()
        .map(|c| (c.pixels, c.share, c.masks))
        .collect();
    assert_eq!(shares, [(72, 2.0 / 3.0, 3), (36, 1.0 / 3.0, 3)]);
    assert_eq!(survey.classes[1].name.as_deref(), Some("thing"));
    let sizes = survey.sizes.unwrap();
    assert_eq!(
        (sizes.smallest, sizes.commonest_count, sizes.different),
        ([6, 8], 3, 1)
    );
}

#[test]
fn shares_of_pictures_and_of_pixels_are_two_things() {
    let tree = folder();
    let large = image::RgbImage::new(80, 60);
    tree.save("images/d.png", large, ImageFormat::Png);
    let mask = image::GrayImage::from_pixel(80, 60, image::Luma([1]));
    tree.save("masks/d.png", mask, ImageFormat::Png);
    let survey = tree.survey(Layout::Folder);
    let thing = &survey.classes[1];
    assert_eq!(thing.share, (36.0 + 4800.0) / (108.0 + 4800.0));
    assert!(
        (thing.mean_share - 0.5).abs() < 1e-12,
        "{}",
        thing.mean_share
    );
    assert_eq!(words(&survey, Kind::OneClass), ["d: class 1"]);
    let sizes = survey.sizes.unwrap();
    assert_eq!(
        (sizes.median, sizes.largest, sizes.different),
        ([6, 8], [60, 80], 2)
    );
}

#[test]
fn missing_pairs() {
    let tree = folder();
    std::fs::remove_file(tree.at("masks/b.png")).unwrap();
    tree.mask("masks/z.png", &[0]);
    let message = stops(&tree);
    assert!(
        message.starts_with("image b has no mask in \""),
        "{message}"
    );
    let found = tree.survey(Layout::Folder);
    assert_eq!(kinds(&found), [Kind::MissingMask, Kind::SpareMask]);
    assert!(words(&found, Kind::SpareMask)[0].ends_with("masks/z.png\""));
    assert_eq!(found.pictures, 2, "the others are looked at");
    // a list of the whole ones is fit, and one with a ghost is not
    tree.text("good.txt", "a\nc\n");
    assert_eq!(tree.samples(Layout::Folder, Some("good")).unwrap().len(), 2);
    tree.text("ghost.txt", "# chosen\na\nghost\na.png\n");
    let message = tree.stops(Layout::Folder, Some("ghost"));
    assert!(
        message.contains("names a twice") || message.contains("ghost"),
        "{message}"
    );
    let ghost = tree.catalogue(Layout::Folder, Some("ghost"));
    let found: Vec<Kind> = ghost.findings.iter().map(|f| f.kind).collect();
    assert!(found.contains(&Kind::ListedTwice) && found.contains(&Kind::MissingImage));
}

#[test]
fn files_that_are_torn_or_not_what_they_say() {
    for (spoil, kind, end) in [
        (
            &(|tree: &Tree| tree.tear("images/b.png")) as &dyn Fn(&Tree),
            Kind::Torn,
            "without a PNG's end marker",
        ),
        (
            &|tree| tree.tear("masks/b.png"),
            Kind::Torn,
            "without a PNG's end marker",
        ),
        (
            &|tree| tree.text("images/b.png", "hello"),
            Kind::Foreign,
            "is something else, expected PNG or JPEG",
        ),
        (
            &|tree| {
                tree.save(
                    "images/b.png",
                    image::RgbImage::new(8, 6),
                    ImageFormat::Jpeg,
                )
            },
            Kind::WrongExtension,
            "is a JPEG by its content, expected what its name says",
        ),
        (
            &|tree| {
                tree.save(
                    "images/b.png",
                    image::RgbaImage::new(8, 6),
                    ImageFormat::Png,
                )
            },
            Kind::Alpha,
            "expected RGB, grey or a palette without transparency",
        ),
        (
            &|tree| tree.save("masks/b.png", image::GrayImage::new(6, 8), ImageFormat::Png),
            Kind::MaskSize,
            "mask of b is 8x6, its image is 6x8 (height x width)",
        ),
        (
            &|tree| tree.mask("masks/b.png", &[0, 1, 2]),
            Kind::MaskValue,
            "mask of b has the value 2 at row 0, column 2, expected a class below 2 or the ignore value 255",
        ),
        (
            &|tree| tree.text("images/b.bmp", "BM"),
            Kind::Foreign,
            "of a format this program does not read, expected PNG or JPEG",
        ),
        (
            &|tree| tree.image("images/b.jpg"),
            Kind::SameName,
            "images/b.png\"",
        ),
    ] {
        let tree = folder();
        spoil(&tree);
        let message = stops(&tree);
        assert!(message.contains(end), "{kind:?}: {message}");
        let found = tree.survey(Layout::Folder);
        assert_eq!(found.count(Level::Error), 1, "{:?}", found.findings);
        assert_eq!(found.findings[0].kind, kind);
        // the other pictures are counted
        assert!(found.pixels >= 96, "{kind:?}");
    }
}

#[test]
fn what_is_read_all_the_same_is_noted() {
    let tree = folder();
    tree.save(
        "images/a.png",
        DynamicImage::new_rgb16(8, 6),
        ImageFormat::Png,
    );
    tree.oriented("images/t.jpg", 6);
    tree.save("masks/t.png", image::GrayImage::new(6, 8), ImageFormat::Png);
    tree.text("images/._a.png", "");
    tree.text("masks/Thumbs.db", "");
    let found = tree.survey(Layout::Folder);
    assert_eq!(
        kinds(&found),
        [
            Kind::SixteenBit,
            Kind::Turned,
            Kind::OneClass,
            Kind::Hidden,
            Kind::Stray
        ]
    );
    assert_eq!(words(&found, Kind::Turned), ["t: EXIF orientation 6"]);
    assert_eq!(found.sizes.unwrap().largest, [8, 6], "as shown");
    assert!(tree.samples(Layout::Folder, None).is_ok());
    // upside down, the mask fits both ways
    tree.oriented("images/t.jpg", 3);
    tree.mask("masks/t.png", &[0, 1]);
    assert!(stops(&tree).contains("EXIF orientation 3"));
}

#[test]
fn masks_of_three_channels_and_sixteen_bits_are_indices() {
    let tree = folder();
    tree.colours("masks/a.png", &[[0; 3], [1; 3], [255; 3]]);
    tree.deep_mask("masks/b.png", &[1, 0, 255]);
    assert_eq!(tree.labels(Layout::Folder, None, "a", 3), [0, 1, VOID]);
    assert_eq!(tree.labels(Layout::Folder, None, "b", 3), [1, 0, VOID]);
    assert_eq!(tree.survey(Layout::Folder).findings, []);
    tree.deep_mask("masks/b.png", &[1, 0, 1000]);
    assert!(stops(&tree).ends_with("has the value 1000 at row 0, column 2, expected at most 255"));
}

#[test]
fn thirty_two_colours_need_a_word() {
    let tree = folder();
    let colours: Vec<[u8; 3]> = (0..32)
        .map(|i| [64 * (i % 4), 64 * (i / 4 % 4), 128 * (i / 16)])
        .collect();
    for id in ["a", "b", "c"] {
        tree.colours(&format!("masks/{id}.png"), &colours);
    }
    assert!(stops(&tree).contains("is RGB with 32 colours, expected one class index per pixel"));
    let list = |last: usize| {
        let class = |i: usize| {
            format!(
                r#"{{"id": {i}, "name": "n{i}", "color": {:?}}}"#,
                colours[i]
            )
        };
        let classes: Vec<String> = (0..last).map(class).collect();
        format!(
            r#"{{"num_classes": {last}, "classes": [{}], "ignore_color": {:?}}}"#,
            classes.join(", "),
            colours[31]
        )
    };
    tree.text("classes.json", &list(31));
    let labels = tree.labels(Layout::Folder, None, "c", 32);
    assert!(labels.into_iter().eq((0..31).chain([VOID])));
    assert_eq!(tree.survey(Layout::Folder).findings, []);
    // one colour that nobody named
    tree.text("classes.json", &list(30));
    let message = stops(&tree);
    let end = "has the colour [128, 192, 128] at row 3, column 6, expected one that classes.json gives a class";
    assert!(message.ends_with(end), "{message}");
}

#[test]
fn copies_and_leaks() {
    let tree = folder();
    std::fs::copy(tree.at("images/a.png"), tree.at("images/d.png")).unwrap();
    tree.mask("masks/d.png", &[1, 0]);
    let found = tree.survey(Layout::Folder);
    assert_eq!(
        words(&found, Kind::Duplicate),
        ["a and d are the same pixels, with different masks"]
    );
    tree.text("train.txt", "a\nb\n");
    tree.text("val.txt", "c\nd\n");
    tree.text("all.txt", "a\nb\nc\nd\n");
    let found = tree.survey(Layout::Folder);
    let leak = "a in train and d in val are the same pixels, with different masks";
    assert_eq!(words(&found, Kind::TwoSplits), [leak]);
    assert_eq!(found.splits[0].parts, ["train", "val"]);
    std::fs::remove_file(tree.at("all.txt")).unwrap();
    tree.text("val.txt", "c\nb\n");
    let found = tree.survey(Layout::Folder);
    assert_eq!(words(&found, Kind::TwoSplits), ["b is in train and val"]);
    assert_eq!(words(&found, Kind::NoSplit), ["d"]);
    // a part is no leak of its whole only where the whole is made of parts
    tree.text("train.txt", "a\nb\nc\nd\n");
    tree.text("val.txt", "c\n");
    let found = tree.survey(Layout::Folder);
    assert_eq!(words(&found, Kind::TwoSplits), ["c is in train and val"]);
}

#[test]
fn splits_may_be_folders() {
    let tree = Tree::new();
    for (split, id) in [("train", "a"), ("val", "a"), ("val", "b")] {
        tree.image(&format!("images/{split}/{id}.png"));
        tree.mask(&format!("masks/{split}/{id}.png"), &[0, 1]);
    }
    let found = tree.survey(Layout::Folder);
    assert_eq!((found.pictures, found.splits.len()), (3, 2));
    assert_eq!(words(&found, Kind::TwoSplits), ["a is in train and val"]);
    assert!(!found.classes_known);
    assert_eq!(found.classes.len(), 2, "the values found");
}

#[test]
fn black_and_white_is_void_to_an_index() {
    let tree = Tree::new();
    tree.image("images/a.png");
    tree.mask("masks/a.png", &[0, 255]);
    let found = tree.survey(Layout::Folder);
    assert_eq!(kinds(&found), [Kind::Binary]);
    assert!(
        found.findings[0]
            .hint
            .as_ref()
            .unwrap()
            .contains("--layout kvasir")
    );
    // the way out
    assert_eq!(tree.labels(Layout::Kvasir, None, "a", 2), [0, 1]);
    tree.mask("masks/a.png", &[0, 1, 255]);
    assert_eq!(tree.survey(Layout::Folder).findings, []);
}

#[test]
fn classes_that_no_mask_has() {
    let tree = folder();
    tree.text("classes.json", r#"{"num_classes": 4}"#);
    let found = tree.survey(Layout::Folder);
    assert_eq!(words(&found, Kind::AbsentClass), ["class 2", "class 3"]);
    assert_eq!(found.findings[0].level, Level::Warning);
    for id in ["a", "b", "c"] {
        tree.mask(&format!("masks/{id}.png"), &[255]);
    }
    assert_eq!(kinds(&tree.survey(Layout::Folder)), [Kind::AllVoid]);
}

#[test]
fn images_alone() {
    let tree = Tree::new();
    tree.image("a.png");
    tree.image("b.jpg");
    let found = tree.survey(Layout::Images);
    assert_eq!((found.pictures, found.masks, found.pixels), (2, 0, 0));
    assert_eq!(found.findings, []);
}

#[test]
fn nothing_to_look_at_is_an_error() {
    let tree = Tree::new();
    let wrong = |layout| catalogue(tree.dir(), layout, None).unwrap_err();
    assert!(matches!(wrong(Layout::Folder), Error::MissingFolder { .. }));
    assert!(matches!(wrong(Layout::Camvid), Error::MissingFolder { .. }));
    tree.text("images/notes.md", "");
    tree.text("masks/notes.md", "");
    assert!(matches!(wrong(Layout::Folder), Error::Empty { .. }));
    tree.text("classes.json", "{");
    assert!(matches!(wrong(Layout::Folder), Error::ClassList { .. }));
}

#[test]
fn a_survey_stops_when_asked_and_counts_its_steps() {
    let tree = folder();
    let all = tree.catalogue(Layout::Folder, None);
    assert!(survey(&all, &|_| {}, &|| true).is_none());
    let steps = std::sync::Mutex::new(Vec::new());
    survey(&all, &|done| steps.lock().unwrap().push(done), &|| false).unwrap();
    let mut steps = steps.into_inner().unwrap();
    steps.sort_unstable();
    assert_eq!(steps, [1, 2, 3]);
}

#[test]
fn one_picture_is_opened_at_its_own_size() {
    let tree = folder();
    let all = tree.catalogue(Layout::Folder, None);
    let sample = open(&all.entries[1], 2).unwrap();
    assert_eq!(
        (sample.id.as_str(), sample.height, sample.width),
        ("b", 6, 8)
    );
    assert_eq!(sample.mask.unwrap()[..4], [0, 0, 1, VOID]);
    assert!(matches!(
        open(&all.entries[1], 1),
        Err(Error::MaskValue { .. })
    ));
}
