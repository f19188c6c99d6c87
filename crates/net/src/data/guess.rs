//! Which layout a folder has, told from the folders in it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::files::Folder;
use super::layout::{Layout, ROWS, Row};
use crate::{Error, Result};

/// Masks looked at to tell JPEG from PNG.
const LOOKED_AT: usize = 8;
/// Things named where nothing fits.
const NAMED: usize = 6;

/// A layout that fits, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The layout.
    pub layout: Layout,
    /// What was seen, a fragment.
    pub why: String,
}

/// The layout of the data in `dir`. Folders tell it; where `images/` and `masks/` do not, JPEG masks are Kvasir-SEG's.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::ClassList`], [`Error::UnknownLayout`], [`Error::AmbiguousLayout`].
pub fn guess(dir: &Path) -> Result<Guess> {
    let here = Folder::read(dir, "", false)?;
    let mut fitting = Vec::new();
    for row in ROWS.iter().filter(|row| row.masks.is_some()) {
        if let Some(why) = fits(dir, row)? {
            let layout = row.layout;
            fitting.push(Guess { layout, why });
        }
    }
    // `Images/` beside `Masks/` is no split: names count letter by letter
    let meant = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default();
        ["images", "masks"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    if fitting.is_empty() && !here.folders.iter().any(meant) {
        let bare = |folder: &PathBuf| Folder::read(folder, "", false).map(|f| f.pictures.len());
        let inside = here.folders.iter().map(bare).sum::<Result<usize>>()?;
        let (layout, count) = (Layout::Images, here.pictures.len());
        if count + inside > 0 {
            let why = match count {
                0 => format!("{inside} pictures in sub-folders and no masks"),
                _ => format!("{count} pictures and no masks"),
            };
            fitting.push(Guess { layout, why });
        }
    }
    match fitting.len() {
        0 => Err(Error::UnknownLayout {
            dir: dir.into(),
            found: found(&here),
        }),
        1 => Ok(fitting.remove(0)),
        _ => {
            let all = fitting.iter().map(|g| format!("{} ({})", g.layout, g.why));
            Err(Error::AmbiguousLayout {
                dir: dir.into(),
                fitting: all.collect::<Vec<_>>().join(" and "),
            })
        }
    }
}

/// Why a layout with masks fits, if it does.
fn fits(dir: &Path, row: &Row) -> Result<Option<String>> {
    let Some(masks) = row.masks else {
        return Ok(None);
    };
    let starred = row.images.contains('*');
    let splits = if starred { row.splits } else { &[""] };
    for root in row.roots {
        for split in splits {
            let below = |folder: &str| {
                let at = Path::new(root).join(folder.replace('*', split));
                (dir.join(&at), at.display().to_string())
            };
            let ((images, image_name), (masks, mask_name)) = (below(row.images), below(masks));
            if !(images.is_dir() && masks.is_dir()) {
                continue;
            }
            let why = format!("{image_name} and {mask_name} are there");
            let plain = matches!(row.layout, Layout::Kvasir | Layout::Folder);
            if !plain || !root.is_empty() {
                return Ok(Some(why));
            }
            let [jpegs, all] = jpegs(&masks)?;
            let two = match Layout::Folder.classes(dir)? {
                Some(classes) => classes.count == 2,
                None => true,
            };
            let (fits, word) = match row.layout {
                Layout::Kvasir => (jpegs > 0 && two, "JPEGs"),
                _ => (jpegs < all || all == 0 || !two, "PNGs"),
            };
            let some = if 0 < jpegs && jpegs < all {
                "some"
            } else {
                "its"
            };
            if fits {
                return Ok(Some(format!("{why}, {some} masks are {word}")));
            }
        }
    }
    Ok(None)
}

/// How many of the first masks are JPEGs by content, and of how many.
fn jpegs(masks: &Path) -> Result<[usize; 2]> {
    let folder = Folder::read(masks, "", true)?;
    let mut counts = [0; 2];
    for path in folder.pictures.values().take(LOOKED_AT) {
        let mut start = Vec::new();
        let opened = fs::File::open(path).and_then(|f| f.take(2).read_to_end(&mut start));
        // a file that cannot be read is the survey's to tell
        if opened.is_ok() {
            counts[0] += usize::from(start == [0xff, 0xd8]);
            counts[1] += 1;
        }
    }
    Ok(counts)
}

/// What a folder has, for one that nothing fits.
fn found(here: &Folder) -> String {
    let name = |path: &PathBuf| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = here
        .folders
        .iter()
        .filter_map(name)
        .map(|name| name + "/")
        .collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    if more > 0 {
        names.push(format!("{more} more folders"));
    }
    match names.is_empty() {
        true => "no folder and no picture".into(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = &[0xff, 0xd8];

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, bytes) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    fn layout(files: &[(&str, &[u8])]) -> (Layout, String) {
        let found = guess(tree(files).path()).unwrap();
        (found.layout, found.why)
    }

    #[test]
    fn every_layout_is_known_by_its_folders() {
        let images: [(&str, &[u8]); 2] = [("images/a.jpg", JPEG), ("masks/a.jpg", JPEG)];
        assert_eq!(layout(&images).0, Layout::Kvasir);
        let cases: [(Layout, [&str; 2]); 8] = [
            (
                Layout::Kvasir,
                ["Kvasir-SEG/images/a.jpg", "Kvasir-SEG/masks/a.jpg"],
            ),
            (
                Layout::Pets,
                [
                    "oxford-iiit-pet/images/a.jpg",
                    "oxford-iiit-pet/annotations/trimaps/a.png",
                ],
            ),
            (
                Layout::Camvid,
                ["CamVid/val/a.png", "CamVid/valannot/a.png"],
            ),
            (Layout::Camvid, ["train/a.png", "trainannot/a.png"]),
            (
                Layout::Cityscapes,
                ["leftImg8bit/val/ulm/x.png", "gtFine/val/ulm/x.png"],
            ),
            (
                Layout::Voc,
                [
                    "VOCdevkit/VOC2012/JPEGImages/a.jpg",
                    "VOCdevkit/VOC2012/SegmentationClass/a.png",
                ],
            ),
            (
                Layout::Context,
                [
                    "VOC2010/JPEGImages/a.jpg",
                    "VOC2010/SegmentationClassContext/a.png",
                ],
            ),
            (Layout::Folder, ["images/a.jpg", "masks/a.png"]),
        ];
        for (expected, files) in cases {
            let (found, why) = layout(&files.map(|file| (file, &b"\x89P"[..])));
            assert_eq!(found, expected, "{files:?}: {why}");
        }
        assert_eq!(
            layout(&[("a.png", b""), ("b.jpg", b"")]),
            (Layout::Images, "2 pictures and no masks".into())
        );
        assert_eq!(layout(&[("val/a.png", b"")]).0, Layout::Images);
    }

    #[test]
    fn jpeg_masks_of_five_classes_are_no_kvasir() {
        let classes = br#"{"num_classes": 5}"#;
        let files: [(&str, &[u8]); 3] = [
            ("images/a.jpg", JPEG),
            ("masks/a.jpg", JPEG),
            ("classes.json", classes),
        ];
        assert_eq!(layout(&files).0, Layout::Folder);
    }

    #[test]
    fn ambiguous_layout() {
        let files: [(&str, &[u8]); 4] = [
            ("images/a.jpg", JPEG),
            ("masks/a.jpg", JPEG),
            ("images/b.jpg", JPEG),
            ("masks/b.png", b"\x89P"),
        ];
        let dir = tree(&files);
        let error = guess(dir.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{:?} fits several layouts: kvasir (images and masks are there, some masks are JPEGs) and folder (images and masks are there, some masks are PNGs)",
                dir.path()
            )
        );
        assert!(error.hint().unwrap().contains("--layout"));
        let both: [(&str, &[u8]); 3] = [
            ("JPEGImages/a.jpg", b""),
            ("SegmentationClass/a.png", b""),
            ("SegmentationClassContext/a.png", b""),
        ];
        let error = guess(tree(&both).path()).unwrap_err().to_string();
        assert!(
            error.contains("voc (") && error.contains("context ("),
            "{error}"
        );
    }

    #[test]
    fn unknown_layout() {
        let dir = tree(&[("images/a.png", b""), ("labels/a.png", b"")]);
        let error = guess(dir.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no known layout fits {:?}: it has images/, labels/, expected images/ and masks/ or an official download",
                dir.path()
            )
        );
        assert!(error.hint().is_some());
        let error = guess(tree(&[("Images/a.png", b""), ("Masks/a.png", b"")]).path()).unwrap_err();
        assert!(error.to_string().contains("Images/, Masks/"), "{error}");
        let error = guess(tree(&[("notes.txt", b"")]).path()).unwrap_err();
        assert!(error.to_string().contains("no folder and no picture"));
        assert!(matches!(
            guess(&dir.path().join("absent")),
            Err(Error::Unreadable { .. })
        ));
    }
}
