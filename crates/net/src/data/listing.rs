//! The pictures of a data set: finding images, masks and split lists in a layout.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::classes::Classes;
use super::colours::Colours;
use super::decode::Care;
use super::files::{Folder, Names};
use super::layout::{Layout, Row};
use super::mask::MaskRule;
use crate::{Error, Result};

/// One picture of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// Its image file.
    pub image: PathBuf,
    /// Its mask file.
    pub mask: Option<PathBuf>,
    /// What the mask's values mean.
    pub rule: MaskRule,
    /// The class value that means "no class", beside 255.
    pub ignore: u8,
    /// What the colours of an RGB mask stand for, where `classes.json` says it.
    pub colours: Option<Arc<Colours>>,
    /// How odd the image file may be.
    pub care: Care,
}

/// What a listing found, with everything that is wrong with it.
pub(super) struct Listing {
    /// The pictures that are whole.
    pub(super) entries: Vec<Entry>,
    /// What makes [`list()`] fail, in the order in which it looks.
    pub(super) problems: Vec<Error>,
    /// Folder of the images, and what lies in it.
    pub(super) images: (PathBuf, Folder),
    /// The same of the masks.
    pub(super) masks: Option<(PathBuf, Folder)>,
}

/// The pictures of a data set in `dir`: in the order of the split list where there is one, else sorted by name.
/// Masks without an image are left out; an image without a mask is an error.
///
/// # Errors
/// [`Error::SplitNeeded`], [`Error::MissingFolder`], [`Error::MissingSplit`], [`Error::Empty`], [`Error::ListedTwice`],
/// [`Error::SameStem`], [`Error::MissingImage`], [`Error::MissingMask`], [`Error::NotAnImage`], [`Error::Unreadable`],
/// [`Error::ClassList`].
pub fn list(dir: &Path, layout: Layout, split: Option<&str>) -> Result<Vec<Entry>> {
    let listing = gather(dir, layout, split)?;
    match listing.problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(listing.entries),
    }
}

/// [`list()`] that goes on after what is wrong with single pictures.
pub(super) fn gather(dir: &Path, layout: Layout, split: Option<&str>) -> Result<Listing> {
    let row = layout.row();
    if split.is_none() && !row.splits.is_empty() {
        return Err(Error::SplitNeeded {
            layout: row.name,
            expected: row.splits.join(", "),
        });
    }
    let at = |template: &str| template.replace('*', split.unwrap_or_default());
    let roots: Vec<PathBuf> = row.roots.iter().map(|root| dir.join(root)).collect();
    let looked: Vec<PathBuf> = roots.iter().map(|root| root.join(at(row.images))).collect();
    let found = roots
        .iter()
        .zip(&looked)
        .find(|(_, images)| images.is_dir());
    let Some((root, images)) = found else {
        return Err(Error::MissingFolder {
            layout: row.name,
            dir: dir.into(),
            looked,
        });
    };
    let (mut images, mut masks) = (images.clone(), row.masks.map(|masks| root.join(at(masks))));
    let mut names = None;
    // a layout with `*` has found its split already
    if let Some(split) = split.filter(|_| !row.images.contains('*')) {
        let mut looked: Vec<PathBuf> = row
            .lists
            .iter()
            .map(|l| root.join(l).join(format!("{split}.txt")))
            .collect();
        if let Some(list) = looked.iter().find(|list| list.is_file()) {
            names = Some(Names::read(list, layout == Layout::Pets)?);
        } else if layout.has_folders() && !split.is_empty() && images.join(split).is_dir() {
            images.push(split);
            masks = masks.map(|masks| masks.join(split));
        } else {
            if layout.has_folders() {
                looked.push(images.join(split));
            }
            return Err(Error::MissingSplit {
                split: split.into(),
                looked,
            });
        }
    }
    pairs(row, dir, images, masks, names)
}

/// The images in a folder with their masks, those called `names` only if given.
fn pairs(
    row: &Row,
    dir: &Path,
    images: PathBuf,
    masks: Option<PathBuf>,
    names: Option<Names>,
) -> Result<Listing> {
    if let Some(masks) = masks.as_ref().filter(|masks| !masks.is_dir()) {
        return Err(Error::MissingFolder {
            layout: row.name,
            dir: dir.into(),
            looked: vec![masks.clone()],
        });
    }
    let nested = row.layout == Layout::Cityscapes;
    let image_files = Folder::read(&images, row.suffixes[0], nested)?;
    let mut rule = row.rule;
    let mask_files = match &masks {
        None => None,
        Some(masks) => {
            let mut files = Folder::read(masks, row.suffixes[1], nested)?;
            if let Some((suffix, other)) = row.second.filter(|_| files.pictures.is_empty()) {
                files = Folder::read(masks, suffix, nested)?;
                rule = other;
            }
            Some(files)
        }
    };
    let classes = row.layout.classes(dir)?.unwrap_or(Classes::unnamed(1));
    let colours = classes.table.map(Arc::new);
    let mut problems = Vec::new();
    let names = match names {
        Some(names) => {
            problems.extend(names.problems);
            names.names
        }
        None => image_files.pictures.keys().cloned().collect(),
    };
    let mut entries = Vec::new();
    let folders = [Some(&image_files), mask_files.as_ref()];
    problems.extend(folders.into_iter().flatten().flat_map(Folder::problems));
    for id in names {
        let Some(image) = image_files.pictures.get(&id).cloned() else {
            let folder = images.clone();
            problems.push(Error::MissingImage { id, folder });
            continue;
        };
        let mask = match (&mask_files, &masks) {
            (Some(files), Some(folder)) => match files.pictures.get(&id).cloned() {
                None => {
                    let folder = folder.clone();
                    problems.push(Error::MissingMask { id, folder });
                    continue;
                }
                mask => mask,
            },
            _ => None,
        };
        entries.push(Entry {
            id,
            image,
            mask,
            rule,
            ignore: classes.ignore,
            colours: colours.clone(),
            care: row.care,
        });
    }
    if entries.is_empty() && problems.is_empty() {
        return Err(Error::Empty { path: images });
    }
    Ok(Listing {
        entries,
        problems,
        images: (images, image_files),
        masks: masks.zip(mask_files),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::VOID;
    use super::super::layout::ROWS;
    use super::*;

    /// A folder with empty files, and lists with text.
    fn tree(files: &[&str], lists: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files
            .iter()
            .map(|file| (*file, ""))
            .chain(lists.iter().copied())
        {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    /// `id image mask` of each entry, paths below `dir`.
    fn rows(dir: &tempfile::TempDir, layout: Layout, split: Option<&str>) -> Vec<String> {
        let below = |path: &Path| path.strip_prefix(dir.path()).unwrap().display().to_string();
        let entries = list(dir.path(), layout, split).unwrap();
        let row = |e: &Entry| {
            assert_eq!((e.rule, e.care), (layout.row().rule, layout.row().care));
            format!(
                "{} {} {}",
                e.id,
                below(&e.image),
                e.mask.as_deref().map(below).unwrap_or_default()
            )
        };
        entries.iter().map(row).collect()
    }

    #[test]
    fn folder_sorts_or_follows_its_list() {
        let files = [
            "images/b.png",
            "images/a.JPG",
            "images/a.b.png",
            "masks/a.png",
            "masks/b.png",
            "masks/a.b.png",
        ];
        let dir = tree(
            &files,
            &[
                ("val.txt", "\u{feff}# chosen\r\nb\r\n\r\nsome/where/a.jpg\n"),
                ("x y.txt", "a.b"),
            ],
        );
        let all = [
            "a images/a.JPG masks/a.png",
            "a.b images/a.b.png masks/a.b.png",
            "b images/b.png masks/b.png",
        ];
        assert_eq!(rows(&dir, Layout::Folder, None), all);
        assert_eq!(rows(&dir, Layout::Folder, Some("val")), [all[2], all[0]]);
        assert_eq!(rows(&dir, Layout::Folder, Some("x y")), [all[1]]);
    }

    #[test]
    fn folders_may_name_their_ignore_value() {
        let list_json = r#"{"num_classes": 3, "ignore_index": 7}"#;
        let dir = tree(
            &["images/a.png", "masks/a.png"],
            &[("classes.json", list_json)],
        );
        assert_eq!(list(dir.path(), Layout::Folder, None).unwrap()[0].ignore, 7);
        let dir = tree(&["images/a.png", "masks/a.png"], &[]);
        assert_eq!(
            list(dir.path(), Layout::Folder, None).unwrap()[0].ignore,
            VOID
        );
    }

    #[test]
    fn folder_takes_sub_folders_as_splits() {
        let dir = tree(
            &[
                "images/val/a.png",
                "masks/val/a.png",
                "images/train/b.png",
                "masks/train/b.png",
            ],
            &[],
        );
        assert_eq!(
            rows(&dir, Layout::Folder, Some("val")),
            ["a images/val/a.png masks/val/a.png"]
        );
        assert!(matches!(
            list(dir.path(), Layout::Folder, None),
            Err(Error::Empty { .. })
        ));
    }

    #[test]
    fn images_have_no_masks() {
        let dir = tree(&["b.png", "a.jpg", "notes.md", "val/c.png"], &[]);
        assert_eq!(rows(&dir, Layout::Images, None), ["a a.jpg ", "b b.png "]);
        assert_eq!(rows(&dir, Layout::Images, Some("val")), ["c val/c.png "]);
    }

    #[test]
    fn kvasir_lies_here_or_one_below_and_so_do_its_lists() {
        for root in ["", "Kvasir-SEG/"] {
            let paths = [
                "images/k1.jpg",
                "masks/k1.jpg",
                "images/k2.jpg",
                "masks/k2.jpg",
            ]
            .map(|p| format!("{root}{p}"));
            let dir = tree(
                &paths.each_ref().map(String::as_str),
                &[("test.txt", "k2\nk1\n")],
            );
            let [first, second] =
                [0, 2].map(|i| format!("k{} {} {}", i / 2 + 1, paths[i], paths[i + 1]));
            assert_eq!(
                rows(&dir, Layout::Kvasir, None),
                [first.clone(), second.clone()]
            );
            assert_eq!(
                rows(&dir, Layout::Kvasir, Some("test")),
                [second, first.clone()]
            );
            fs::write(dir.path().join(root).join("one.txt"), "k1").unwrap();
            assert_eq!(rows(&dir, Layout::Kvasir, Some("one")), [first]);
        }
    }

    #[test]
    fn pets_ignore_strays_and_read_the_first_column() {
        let files = [
            "images/Cat_1.jpg",
            "images/Cat_1.mat",
            "images/Cat_2.jpg",
            "annotations/trimaps/Cat_1.png",
        ];
        let hidden = ["annotations/trimaps/._Cat_1.png"];
        let files: Vec<String> = files
            .iter()
            .chain(&hidden)
            .map(|f| format!("oxford-iiit-pet/{f}"))
            .collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let dir = tree(
            &files,
            &[(
                "oxford-iiit-pet/annotations/test.txt",
                "#Image CLASS-ID\nCat_1 1 1 1\n",
            )],
        );
        let expected =
            "Cat_1 oxford-iiit-pet/images/Cat_1.jpg oxford-iiit-pet/annotations/trimaps/Cat_1.png";
        assert_eq!(rows(&dir, Layout::Pets, Some("test")), [expected]);
    }

    #[test]
    fn camvid_splits_are_folders() {
        let dir = tree(
            &[
                "CamVid/train/x.png",
                "CamVid/trainannot/x.png",
                "CamVid/val/y.png",
            ],
            &[],
        );
        assert_eq!(
            rows(&dir, Layout::Camvid, Some("train")),
            ["x CamVid/train/x.png CamVid/trainannot/x.png"]
        );
        let error = list(dir.path(), Layout::Camvid, Some("val")).unwrap_err();
        assert!(
            matches!(error, Error::MissingFolder { looked, .. } if looked[0].ends_with("valannot"))
        );
    }

    #[test]
    fn cityscapes_are_sorted_over_cities() {
        let mut files = Vec::new();
        for id in ["ulm_000001_000019", "aachen_000000_000019"] {
            let city = id.split('_').next().unwrap();
            files.push(format!("leftImg8bit/val/{city}/{id}_leftImg8bit.png"));
            for kind in ["labelIds", "instanceIds", "color"] {
                files.push(format!("gtFine/val/{city}/{id}_gtFine_{kind}.png"));
            }
        }
        let dir = tree(&files.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        let expected = [4, 0].map(|i| {
            let id = Path::new(&files[i])
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .strip_suffix("_leftImg8bit.png")
                .unwrap();
            format!("{id} {} {}", files[i], files[i + 1])
        });
        assert_eq!(rows(&dir, Layout::Cityscapes, Some("val")), expected);
    }

    #[test]
    fn voc_and_context_lie_in_the_devkit() {
        for (layout, year, masks, lists) in [
            (Layout::Voc, "VOC2012", "SegmentationClass", "Segmentation"),
            (
                Layout::Context,
                "VOC2010",
                "SegmentationClassContext",
                "SegmentationContext",
            ),
        ] {
            let [image, mask, unused] = [
                "JPEGImages/2007_1.jpg",
                &format!("{masks}/2007_1.png"),
                "JPEGImages/2008_2.jpg",
            ]
            .map(|path| format!("VOCdevkit/{year}/{path}"));
            let split = format!("VOCdevkit/{year}/ImageSets/{lists}/val.txt");
            let dir = tree(&[&image, &mask, &unused], &[(&split, "2007_1\n")]);
            assert_eq!(
                rows(&dir, layout, Some("val")),
                [format!("2007_1 {image} {mask}")]
            );
        }
    }

    #[test]
    fn missing_folder() {
        let dir = tree(&["pictures/a.png"], &[]);
        let error = list(dir.path(), Layout::Kvasir, None).unwrap_err();
        let Error::MissingFolder { looked, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(
            *looked,
            [
                dir.path().join("images"),
                dir.path().join("Kvasir-SEG/images")
            ]
        );
        let dir = tree(&["images/a.png"], &[]);
        let error = list(dir.path(), Layout::Folder, None).unwrap_err();
        assert!(
            matches!(error, Error::MissingFolder { looked, .. } if looked == [dir.path().join("masks")])
        );
    }

    #[test]
    fn missing_split() {
        let dir = tree(&["images/a.jpg", "masks/a.jpg"], &[]);
        let at = |name: &str| dir.path().join(name);
        for (layout, expected) in [
            (Layout::Kvasir, vec![at("val.txt"), at("../val.txt")]),
            (Layout::Folder, vec![at("val.txt"), at("images/val")]),
            (Layout::Images, vec![at("val")]),
        ] {
            let error = list(dir.path(), layout, Some("val")).unwrap_err();
            assert!(
                matches!(&error, Error::MissingSplit { looked, .. } if *looked == expected),
                "{error}"
            );
        }
    }

    #[test]
    fn split_needed() {
        let dir = tree(&["train/a.png"], &[]);
        for row in ROWS.iter().filter(|row| !row.splits.is_empty()) {
            assert!(
                matches!(
                    list(dir.path(), row.layout, None),
                    Err(Error::SplitNeeded { .. })
                ),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn empty() {
        let dir = tree(
            &["images/notes.md", "masks/notes.md"],
            &[("val.txt", "\n# none\n")],
        );
        assert!(
            matches!(list(dir.path(), Layout::Folder, None), Err(Error::Empty { path }) if path.ends_with("images"))
        );
        let error = list(dir.path(), Layout::Folder, Some("val")).unwrap_err();
        assert!(matches!(error, Error::Empty { path } if path.ends_with("val.txt")));
    }

    #[test]
    fn listed_twice() {
        let dir = tree(
            &["images/a.png", "masks/a.png"],
            &[("val.txt", "a\na.png\n")],
        );
        let error = list(dir.path(), Layout::Folder, Some("val")).unwrap_err();
        assert!(matches!(error, Error::ListedTwice { id, .. } if id == "a"));
    }

    #[test]
    fn same_stem() {
        let dir = tree(&["images/a.png", "images/a.jpg", "masks/a.png"], &[]);
        assert!(matches!(
            list(dir.path(), Layout::Folder, None),
            Err(Error::SameStem { .. })
        ));
    }

    #[test]
    fn missing_image() {
        let dir = tree(
            &["images/a.png", "masks/a.png", "masks/b.png"],
            &[("val.txt", "a\nb\n")],
        );
        let error = list(dir.path(), Layout::Folder, Some("val")).unwrap_err();
        assert!(matches!(error, Error::MissingImage { id, .. } if id == "b"));
    }

    #[test]
    fn missing_mask() {
        let dir = tree(&["images/a.png", "images/b.png", "masks/a.png"], &[]);
        let error = list(dir.path(), Layout::Folder, None).unwrap_err();
        assert!(matches!(error, Error::MissingMask { id, .. } if id == "b"));
    }

    #[test]
    fn unreadable() {
        let dir = tree(&["images/a.png", "masks/a.png"], &[]);
        fs::write(dir.path().join("val.txt"), [0xff, 0xfe, 0]).unwrap();
        assert!(
            matches!(
                list(dir.path(), Layout::Folder, Some("val")),
                Err(Error::Unreadable { .. })
            ),
            "not UTF-8"
        );
    }
}
