//! Oxford-IIIT Pet, Kvasir-SEG, CamVid, Cityscapes, Pascal VOC, Pascal Context.

use certiseg_net::data::{Kind, Layout, Level, VOID, guess};
use image::{ImageFormat, Rgba, RgbaImage};

use crate::tree::{Tree, kinds, words};

/// Two cats and a dog as in the archive, with its strays.
fn pets() -> Tree {
    let tree = Tree::new();
    let root = "oxford-iiit-pet";
    for id in ["Abyssinian_1", "american_bulldog_105"] {
        tree.image(&format!("{root}/images/{id}.jpg"));
    }
    // a PNG with alpha under the name of a JPEG
    let clear = RgbaImage::from_pixel(8, 6, Rgba([9, 8, 7, 0]));
    let wrong = format!("{root}/images/Abyssinian_5.jpg");
    tree.save(&wrong, clear, ImageFormat::Png);
    // in no list
    tree.text(&format!("{root}/images/Abyssinian_34.jpg"), "GIF89a");
    tree.text(&format!("{root}/images/Abyssinian_100.mat"), "MATLAB");
    for id in ["Abyssinian_1", "Abyssinian_5", "american_bulldog_105"] {
        tree.mask(&format!("{root}/annotations/trimaps/{id}.png"), &[1, 2, 3]);
        tree.text(
            &format!("{root}/annotations/trimaps/._{id}.png"),
            "Mac OS X",
        );
    }
    let lists = format!("{root}/annotations");
    tree.text(
        &format!("{lists}/list.txt"),
        "#Image CLASS-ID SPECIES BREED ID\n",
    );
    let trainval = "# comment\nAbyssinian_1 1 1 1\namerican_bulldog_105 2 2 1\n";
    tree.text(&format!("{lists}/trainval.txt"), trainval);
    tree.text(&format!("{lists}/test.txt"), "Abyssinian_5 1 1 1\n");
    tree
}

#[test]
fn pets_are_read_with_their_oddities() {
    let tree = pets();
    assert_eq!(guess(tree.dir()).unwrap().layout, Layout::Pets);
    let survey = tree.survey(Layout::Pets);
    let splits: Vec<_> = survey
        .splits
        .iter()
        .map(|s| (s.name.as_str(), s.pictures))
        .collect();
    assert_eq!(splits, [("trainval", 2), ("test", 1)]);
    assert_eq!(
        kinds(&survey),
        [
            Kind::AlphaDropped,
            Kind::Misnamed,
            Kind::Hidden,
            Kind::Stray
        ]
    );
    assert_eq!(words(&survey, Kind::Misnamed), ["Abyssinian_5 is a PNG"]);
    assert_eq!(words(&survey, Kind::Hidden).len(), 3);
    assert!(words(&survey, Kind::Stray)[0].contains("Abyssinian_100.mat"));
    assert_eq!(
        survey.classes.iter().map(|c| c.pixels).collect::<Vec<_>>(),
        [48; 3]
    );
    let dog = "american_bulldog_105";
    assert_eq!(
        tree.labels(Layout::Pets, Some("trainval"), dog, 4),
        [0, 1, 2, 0]
    );
}

#[test]
fn a_gif_in_a_list_of_pets_is_refused() {
    let tree = pets();
    let trimap = "oxford-iiit-pet/annotations/trimaps/Abyssinian_34.png";
    tree.mask(trimap, &[1, 2, 3]);
    tree.text(
        "oxford-iiit-pet/annotations/test.txt",
        "Abyssinian_34 1 1 1\n",
    );
    let message = tree.stops(Layout::Pets, Some("test"));
    assert!(
        message.ends_with("Abyssinian_34.jpg\" is a GIF, expected PNG or JPEG"),
        "{message}"
    );
    // zero is no value of a trimap
    tree.mask(
        "oxford-iiit-pet/annotations/trimaps/Abyssinian_1.png",
        &[1, 2, 3, 0],
    );
    assert_eq!(
        tree.stops(Layout::Pets, Some("trainval")),
        "mask of Abyssinian_1 has the value 0 at row 0, column 3, expected 1, 2 or 3"
    );
}

#[test]
fn kvasir_masks_are_thresholds_of_three_channels() {
    let tree = Tree::new();
    for id in ["k1", "k2"] {
        tree.image(&format!("Kvasir-SEG/images/{id}.jpg"));
        let mask =
            image::RgbImage::from_fn(8, 6, |x, _| image::Rgb([if x < 4 { 7 } else { 249 }; 3]));
        let file = format!("Kvasir-SEG/masks/{id}.jpg");
        tree.save(&file, mask, ImageFormat::Jpeg);
    }
    tree.text("Kvasir-SEG/kavsir_bboxes.json", "{}");
    tree.text("train.txt", "k1\n");
    tree.text("test.txt", "k2\n");
    tree.text("notes.txt", "what I found out\n");
    let survey = tree.survey(Layout::Kvasir);
    assert_eq!(survey.findings, []);
    let names: Vec<_> = survey.splits.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["test", "train"], "notes are no split");
    assert_eq!(survey.classes[1].pixels, 48);
    let row = tree.labels(Layout::Kvasir, Some("test"), "k2", 8);
    assert_eq!(row, [0, 0, 0, 0, 1, 1, 1, 1]);
}

/// CamVid as SegNet has it, whose lists hold paths of another machine.
fn camvid() -> Tree {
    let tree = Tree::new();
    for (split, id) in [
        ("train", "0006R0_f01170"),
        ("val", "0016E5_08009"),
        ("test", "Seq05VD_f00150"),
    ] {
        tree.image(&format!("CamVid/{split}/{id}.png"));
        tree.mask(&format!("CamVid/{split}annot/{id}.png"), &[0, 3, 10, 11]);
        let line =
            format!("/SegNet/CamVid/{split}/{id}.png /SegNet/CamVid/{split}annot/{id}.png\n");
        tree.text(&format!("CamVid/{split}.txt"), &line);
    }
    tree
}

#[test]
fn camvid_has_its_void_at_eleven() {
    let tree = camvid();
    assert_eq!(guess(tree.dir()).unwrap().layout, Layout::Camvid);
    let survey = tree.survey(Layout::Camvid);
    assert_eq!((survey.pixels, survey.void), (144, 36));
    assert_eq!(words(&survey, Kind::AbsentClass).len(), 8);
    assert_eq!(words(&survey, Kind::AbsentClass)[0], "class 1 (building)");
    let first = tree.labels(Layout::Camvid, Some("val"), "0016E5_08009", 4);
    assert_eq!(first, [0, 3, 10, VOID]);
}

#[test]
fn camvid_of_thirty_two_colours_is_another_download() {
    let tree = camvid();
    let colours: Vec<[u8; 3]> = (0..32)
        .map(|i| [64 * (i % 4), 64 * (i / 4 % 4), 128 * (i / 16)])
        .collect();
    tree.colours("CamVid/valannot/0016E5_08009.png", &colours);
    let message = tree.stops(Layout::Camvid, Some("val"));
    assert!(message.contains("is RGB with 32 colours"), "{message}");
    // indices of these
    tree.mask("CamVid/testannot/Seq05VD_f00150.png", &[0, 11, 31]);
    assert_eq!(
        tree.stops(Layout::Camvid, Some("test")),
        "mask of Seq05VD_f00150 has the value 31 at row 0, column 2, expected 0 to 10, or 11 for void"
    );
    let survey = tree.survey(Layout::Camvid);
    assert_eq!(survey.count(Level::Error), 2);
    assert_eq!(survey.pixels, 48, "what can be read is counted");
}

/// Two cities, with the masks given and their companions.
fn cityscapes(kind: &str, values: &[u8]) -> Tree {
    let tree = Tree::new();
    for city in ["ulm", "aachen"] {
        let id = format!("{city}_000001_000019");
        tree.image(&format!("leftImg8bit/val/{city}/{id}_leftImg8bit.png"));
        tree.mask(&format!("gtFine/val/{city}/{id}_gtFine_{kind}.png"), values);
        tree.deep_mask(
            &format!("gtFine/val/{city}/{id}_gtFine_instanceIds.png"),
            &[7, 26001],
        );
        tree.colours(
            &format!("gtFine/val/{city}/{id}_gtFine_color.png"),
            &[[128, 64, 128]],
        );
        tree.text(
            &format!("gtFine/val/{city}/{id}_gtFine_polygons.json"),
            "{}",
        );
    }
    tree
}

#[test]
fn cityscapes_maps_its_label_ids() {
    let tree = cityscapes("labelIds", &[7, 26, 33, 0, 4, 255]);
    assert_eq!(guess(tree.dir()).unwrap().layout, Layout::Cityscapes);
    let survey = tree.survey(Layout::Cityscapes);
    assert_eq!(survey.count(Level::Error), 0, "{:?}", survey.findings);
    assert_eq!(words(&survey, Kind::AbsentClass).len(), 16);
    let first = tree.labels(Layout::Cityscapes, Some("val"), "ulm_000001_000019", 6);
    assert_eq!(first, [0, 13, 18, VOID, VOID, VOID]);
}

#[test]
fn train_ids_are_read_under_their_own_name_only() {
    let values = [0, 10, 18, 255];
    let tree = cityscapes("labelTrainIds", &values);
    let first = tree.labels(Layout::Cityscapes, Some("val"), "aachen_000001_000019", 4);
    assert_eq!(first, [0, 10, 18, VOID]);
    assert_eq!(tree.survey(Layout::Cityscapes).count(Level::Error), 0);
    let tree = cityscapes("labelIds", &values);
    assert_eq!(
        tree.stops(Layout::Cityscapes, Some("val")),
        "mask of aachen_000001_000019 holds trainIds (0 to 18 and 255), expected labelIds as its name says"
    );
    assert_eq!(
        words(&tree.survey(Layout::Cityscapes), Kind::TrainIds).len(),
        2
    );
    // without void nothing proves it
    let tree = cityscapes("labelIds", &[0, 10, 18]);
    let survey = tree.survey(Layout::Cityscapes);
    assert_eq!(words(&survey, Kind::MaybeTrainIds).len(), 1);
    assert_eq!(survey.count(Level::Error), 0);
    // where both are there, labelIds are meant
    let tree = cityscapes("labelIds", &[7, 26]);
    for city in ["ulm", "aachen"] {
        tree.mask(
            &format!("gtFine/val/{city}/{city}_000001_000019_gtFine_labelTrainIds.png"),
            &[9],
        );
    }
    let first = tree.labels(Layout::Cityscapes, Some("val"), "ulm_000001_000019", 2);
    assert_eq!(first, [0, 13]);
}

#[test]
fn instance_ids_and_dummies_of_cityscapes_are_told() {
    let tree = cityscapes("labelIds", &[7, 26]);
    tree.deep_mask(
        "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png",
        &[7, 26001],
    );
    let message = tree.stops(Layout::Cityscapes, Some("val"));
    let end = "has the value 26001 at row 0, column 1, expected at most 255";
    assert!(message.ends_with(end), "{message}");
    let survey = cityscapes("labelIds", &[0, 1, 3]).survey(Layout::Cityscapes);
    assert_eq!(kinds(&survey), [Kind::AllVoid]);
    let tree = cityscapes("labelIds", &[7, 40]);
    assert_eq!(
        tree.stops(Layout::Cityscapes, Some("val")),
        "mask of aachen_000001_000019 has the value 40 at row 0, column 1, expected a labelId, 0 to 33"
    );
}

/// A devkit of one year: two pictures with masks, one without.
fn devkit(year: &str, masks: &str, lists: &str, values: &[u8]) -> Tree {
    let tree = Tree::new();
    let root = format!("VOCdevkit/{year}");
    for id in ["2007_000033", "2007_000061", "2008_000002"] {
        tree.image(&format!("{root}/JPEGImages/{id}.jpg"));
    }
    for (id, split) in [("2007_000033", "train"), ("2007_000061", "val")] {
        tree.palette(&format!("{root}/{masks}/{id}.png"), values);
        tree.text(
            &format!("{root}/ImageSets/{lists}/{split}.txt"),
            &format!("{id}\n"),
        );
    }
    tree
}

#[test]
fn voc_palettes_are_read_by_index() {
    let tree = devkit(
        "VOC2012",
        "SegmentationClass",
        "Segmentation",
        &[0, 20, 15, 255],
    );
    let both = "2007_000033\n2007_000061\n";
    tree.text(
        "VOCdevkit/VOC2012/ImageSets/Segmentation/trainval.txt",
        both,
    );
    assert_eq!(guess(tree.dir()).unwrap().layout, Layout::Voc);
    let survey = tree.survey(Layout::Voc);
    assert_eq!(kinds(&survey), [Kind::AbsentClass], "trainval is no leak");
    assert_eq!((survey.pictures, survey.void), (2, 24));
    assert_eq!(survey.splits[2].parts, ["train", "val"]);
    let first = tree.labels(Layout::Voc, Some("val"), "2007_000061", 4);
    assert_eq!(first, [0, 20, 15, VOID]);
    let tree = devkit("VOC2012", "SegmentationClass", "Segmentation", &[0, 21]);
    assert_eq!(
        tree.stops(Layout::Voc, Some("val")),
        "mask of 2007_000061 has the value 21 at row 0, column 1, expected a class below 21 or the ignore value 255"
    );
}

#[test]
fn context_loses_its_zero_and_keeps_its_void() {
    let (masks, lists) = ("SegmentationClassContext", "SegmentationContext");
    let tree = devkit("VOC2010", masks, lists, &[0, 1, 59, 255]);
    assert_eq!(guess(tree.dir()).unwrap().layout, Layout::Context);
    let first = tree.labels(Layout::Context, Some("val"), "2007_000061", 4);
    assert_eq!(first, [VOID, 0, 58, VOID], "255 - 1 would be class 254");
    assert_eq!(tree.survey(Layout::Context).void, 48);
    let tree = devkit("VOC2010", masks, lists, &[0, 60]);
    assert_eq!(
        tree.stops(Layout::Context, Some("train")),
        "mask of 2007_000033 has the value 60 at row 0, column 1, expected 1 to 59, or 0 for void"
    );
}
