//! Where the files of a data set lie: the official layouts as they come out of the download, and plain folders.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::classes::Classes;
use super::decode::Care;
use super::mask::MaskRule;
use crate::{Error, Result};

/// The layouts known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Kvasir-SEG: `{images,masks}/ID.jpg`. No official split: `SPLIT.txt` beside `images/` or one folder up.
    Kvasir,
    /// Oxford-IIIT Pet: `images/NAME.jpg`, `annotations/trimaps/NAME.png`, `annotations/{trainval,test}.txt`.
    Pets,
    /// CamVid in SegNet's form: `{train,val,test}/*.png`, `{train,val,test}annot/*.png`.
    Camvid,
    /// Cityscapes: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`, `gtFine/SPLIT/CITY/*_gtFine_labelIds.png`; where a split
    /// has none of these, `*_gtFine_labelTrainIds.png`.
    Cityscapes,
    /// Pascal VOC 2012: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/SPLIT.txt`.
    Voc,
    /// Pascal Context, 59 classes: `JPEGImages`, `SegmentationClassContext`, `ImageSets/SegmentationContext/SPLIT.txt`.
    Context,
    /// `images/` and `masks/` with equal stems; splits are lists `SPLIT.txt` or folders `{images,masks}/SPLIT/`.
    Folder,
    /// Images only, straight in the folder, without masks; splits as sub-folders.
    Images,
}

/// What tells one layout from another.
pub(super) struct Row {
    pub(super) layout: Layout,
    pub(super) name: &'static str,
    /// Where the data may lie below the folder given.
    pub(super) roots: &'static [&'static str],
    /// Folders of images and masks below the root, `*` is the split; no masks: no labels.
    pub(super) images: &'static str,
    pub(super) masks: Option<&'static str>,
    /// What follows the name of a picture in its files' stems.
    pub(super) suffixes: [&'static str; 2],
    /// Folders of the split lists below the root; none: splits are folders.
    pub(super) lists: &'static [&'static str],
    /// The splits there are; none: the user's choice.
    pub(super) splits: &'static [&'static str],
    pub(super) rule: MaskRule,
    /// Suffix and rule of masks that are read where there are none of the first kind.
    pub(super) second: Option<(&'static str, MaskRule)>,
    pub(super) care: Care,
    /// Names in the order of their indices, with commas.
    pub(super) classes: &'static str,
}

const FOLDER: Row = Row {
    layout: Layout::Folder,
    name: "folder",
    roots: &[""],
    images: "images",
    masks: Some("masks"),
    suffixes: ["", ""],
    lists: &[""],
    splits: &[],
    rule: MaskRule::Index,
    second: None,
    care: Care::Strict,
    classes: "",
};

pub(super) const ROWS: [Row; 8] = [
    Row {
        layout: Layout::Kvasir,
        name: "kvasir",
        roots: &["", "Kvasir-SEG"],
        lists: &["", ".."],
        rule: MaskRule::Threshold,
        classes: "background, polyp",
        ..FOLDER
    },
    Row {
        layout: Layout::Pets,
        name: "pets",
        roots: &["", "oxford-iiit-pet"],
        masks: Some("annotations/trimaps"),
        lists: &["annotations"],
        splits: &["trainval", "test"],
        rule: MaskRule::Trimap,
        care: Care::Lenient,
        classes: "foreground, background, border",
        ..FOLDER
    },
    Row {
        layout: Layout::Camvid,
        name: "camvid",
        roots: &["", "CamVid"],
        images: "*",
        masks: Some("*annot"),
        lists: &[],
        splits: &["train", "val", "test"],
        rule: MaskRule::Camvid,
        classes: "sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist",
        ..FOLDER
    },
    Row {
        layout: Layout::Cityscapes,
        name: "cityscapes",
        roots: &["", "cityscapes"],
        images: "leftImg8bit/*",
        masks: Some("gtFine/*"),
        suffixes: ["_leftImg8bit", "_gtFine_labelIds"],
        lists: &[],
        splits: &["train", "val", "test"],
        rule: MaskRule::Cityscapes,
        second: Some(("_gtFine_labelTrainIds", MaskRule::Index)),
        classes: "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person, rider, car, truck, bus, train, motorcycle, bicycle",
        ..FOLDER
    },
    Row {
        layout: Layout::Voc,
        name: "voc",
        roots: &["", "VOC2012", "VOCdevkit/VOC2012"],
        images: "JPEGImages",
        masks: Some("SegmentationClass"),
        lists: &["ImageSets/Segmentation"],
        splits: &["train", "val", "trainval"],
        classes: "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor",
        ..FOLDER
    },
    Row {
        layout: Layout::Context,
        name: "context",
        roots: &["", "VOC2010", "VOCdevkit/VOC2010"],
        images: "JPEGImages",
        masks: Some("SegmentationClassContext"),
        lists: &["ImageSets/SegmentationContext"],
        splits: &["train", "val"],
        rule: MaskRule::OneBased,
        ..FOLDER
    },
    FOLDER,
    Row {
        layout: Layout::Images,
        name: "images",
        images: "",
        masks: None,
        lists: &[],
        ..FOLDER
    },
];

impl Layout {
    pub(super) fn row(self) -> &'static Row {
        ROWS.iter()
            .find(|row| row.layout == self)
            .expect("each layout has a row")
    }

    /// Whether sub-folders are splits.
    pub(super) fn has_folders(self) -> bool {
        matches!(self, Layout::Folder | Layout::Images)
    }

    /// The classes: the official ones, else what `classes.json` in `dir` says; `None` if nobody says it.
    ///
    /// # Errors
    /// Those of [`Classes::read`].
    pub fn classes(self, dir: &Path) -> Result<Option<Classes>> {
        match self {
            Layout::Context => Ok(Some(Classes::unnamed(59))),
            _ if self.row().classes.is_empty() => Classes::read(dir),
            _ => Ok(Some(Classes::named(self.row().classes.split(", ")))),
        }
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        ROWS.iter()
            .find(|row| row.name == name)
            .map(|row| row.layout)
            .ok_or_else(|| Error::UnknownName {
                what: "layout",
                got: name.into(),
                expected: ROWS.map(|row| row.name).join(", "),
            })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_name() {
        let error = "ade20k".parse::<Layout>().unwrap_err();
        let expected = "kvasir, pets, camvid, cityscapes, voc, context, folder, images";
        assert_eq!(
            error.to_string(),
            format!("no layout is called \"ade20k\", expected one of {expected}")
        );
        for row in &ROWS {
            assert_eq!(row.name.parse::<Layout>().unwrap(), row.layout);
            assert_eq!(
                serde_json::to_string(&row.layout).unwrap(),
                format!("\"{}\"", row.layout)
            );
        }
    }

    #[test]
    fn classes_are_official_or_the_user_s() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("classes.json"), r#"{"num_classes": 5}"#).unwrap();
        let count = |layout: Layout| {
            layout
                .classes(dir.path())
                .unwrap()
                .map(|classes| classes.count)
        };
        let official = [
            Layout::Kvasir,
            Layout::Pets,
            Layout::Camvid,
            Layout::Cityscapes,
            Layout::Voc,
            Layout::Context,
        ];
        assert_eq!(official.map(count), [2, 3, 11, 19, 21, 59].map(Some));
        assert_eq!(count(Layout::Folder), Some(5));
    }
}
