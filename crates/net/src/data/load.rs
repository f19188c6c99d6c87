//! From files to samples of one size, in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::Sample;
use super::decode::Picture;
use super::listing::Entry;
use super::resize::{Filter, resize, to_planes};
use crate::{Error, Result};

/// How samples are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadSettings {
    /// Rows of the samples, at least 1.
    pub height: usize,
    /// Columns, at least 1.
    pub width: usize,
    /// Filter of the images; masks are always nearest.
    pub filter: Filter,
    /// Number of classes, 1 to 255.
    pub classes: usize,
}

impl LoadSettings {
    /// Samples of `height` x `width`, bilinear.
    pub fn new(height: usize, width: usize, classes: usize) -> Self {
        Self {
            height,
            width,
            filter: Filter::Bilinear,
            classes,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        for (field, got, top) in [
            ("height", self.height, usize::MAX),
            ("width", self.width, usize::MAX),
            ("classes", self.classes, 255),
        ] {
            if !(1..=top).contains(&got) {
                let expected = if top == 255 { "1 to 255" } else { "at least 1" };
                return Err(Error::setting(field, got.to_string(), expected));
            }
        }
        Ok(())
    }
}

/// The samples of `entries`, in their order. `progress` is called after each with how many are done and how many there
/// are, from any thread. In memory at a time: the samples, and one original per thread.
///
/// # Errors
/// That of the first entry that has one, whatever the number of threads: [`Error::Unreadable`], [`Error::Truncated`],
/// [`Error::Undecodable`], [`Error::NotAnImage`], [`Error::WrongExtension`], [`Error::Alpha`], [`Error::Oriented`],
/// [`Error::MaskNotIndexed`], [`Error::SixteenBit`], [`Error::MaskColours`], [`Error::UnknownColour`],
/// [`Error::TrainIds`], [`Error::MaskSize`], [`Error::MaskValue`]; and [`Error::Setting`].
pub fn load(
    entries: &[Entry],
    settings: &LoadSettings,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Sample>> {
    settings.check()?;
    let done = AtomicUsize::new(0);
    // rayon's own collection of results keeps whichever error came first in time
    let first_error = AtomicUsize::new(usize::MAX);
    let results: Vec<Option<Result<Sample>>> = entries
        .par_iter()
        .enumerate()
        .map(|(i, entry)| {
            if i > first_error.load(Ordering::Relaxed) {
                return None;
            }
            let sample = load_one(entry, settings);
            match &sample {
                Ok(_) => progress(done.fetch_add(1, Ordering::Relaxed) + 1, entries.len()),
                Err(_) => _ = first_error.fetch_min(i, Ordering::Relaxed),
            }
            Some(sample)
        })
        .collect();
    // entries are left out behind an error only, which ends the collection before
    results.into_iter().flatten().collect()
}

/// One sample, with the errors of [`load`].
pub(super) fn load_one(entry: &Entry, settings: &LoadSettings) -> Result<Sample> {
    let size = |_| [settings.height, settings.width];
    read(entry, settings.classes, size, settings.filter)
}

/// One picture at the size it has in its file, with classes below `classes`.
///
/// # Errors
/// Those of [`load()`] that are about a file.
pub fn open(entry: &Entry, classes: usize) -> Result<Sample> {
    read(entry, classes, |size| size, Filter::Nearest)
}

/// One picture at the size that `resized` makes of its own.
fn read(
    entry: &Entry,
    classes: usize,
    resized: impl FnOnce([usize; 2]) -> [usize; 2],
    filter: Filter,
) -> Result<Sample> {
    let picture = Picture::open(&entry.image, entry.care)?;
    let mask = entry
        .mask
        .as_deref()
        .map(|path| entry.rule.open(path, entry.colours.as_deref()))
        .transpose()?;
    let picture = picture.turned_like(mask.as_ref().map(|mask| mask.size), &entry.image)?;
    let size = picture.size();
    let new = resized(size);
    let mask = match mask {
        Some(mask) if mask.size != size => {
            return Err(Error::MaskSize {
                id: entry.id.clone(),
                got: mask.size,
                expected: size,
            });
        }
        Some(mask) => {
            let labels = entry.rule.classes(&entry.id, mask, classes, entry.ignore)?;
            Some(resize(&labels, size, new, Filter::Nearest))
        }
        None => None,
    };
    Ok(Sample {
        id: entry.id.clone(),
        height: new[0],
        width: new[1],
        image: to_planes::<3>(&picture.into_pixels(), size, new, filter),
        mask,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    use image::{GrayImage, RgbImage, RgbaImage};
    use png::BitDepth;

    use super::super::decode::tests::{noise, save, save_oriented};
    use super::super::samples::tests::save_palette;
    use super::super::{Layout, VOID, list};
    use super::*;

    /// A plain folder with `count` pictures of 6x8 and masks of three classes and void.
    fn folder(count: usize) -> (tempfile::TempDir, Vec<Entry>) {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..count {
            save(
                noise(6, 8 + i as u32 % 2),
                &dir.path().join(format!("images/{i:03}.png")),
            );
            let width = 8 + i % 2;
            let values: Vec<u8> = (0..6 * width)
                .map(|p| [0, 1, 2, 255][(p + i) % 4])
                .collect();
            save_palette(
                &values,
                width as u32,
                BitDepth::Eight,
                &dir.path().join(format!("masks/{i:03}.png")),
            );
        }
        let entries = list(dir.path(), Layout::Folder, None).unwrap();
        (dir, entries)
    }

    fn quietly(entries: &[Entry], settings: &LoadSettings) -> Result<Vec<Sample>> {
        load(entries, settings, &|_, _| {})
    }

    #[test]
    fn samples_keep_their_order_and_every_step_is_told() {
        let (_dir, entries) = folder(40);
        let steps = Mutex::new(Vec::new());
        let samples = load(&entries, &LoadSettings::new(3, 4, 3), &|done, total| {
            steps.lock().unwrap().push((done, total))
        })
        .unwrap();
        assert!(
            samples
                .iter()
                .map(|s| &s.id)
                .eq(entries.iter().map(|e| &e.id))
        );
        let mut steps = steps.into_inner().unwrap();
        steps.sort_unstable();
        assert!(steps.into_iter().eq((1..=40).map(|done| (done, 40))));
        for sample in &samples {
            assert_eq!(
                (sample.height, sample.width, sample.image.len()),
                (3, 4, 36)
            );
            assert!(
                sample
                    .mask
                    .as_ref()
                    .unwrap()
                    .iter()
                    .all(|class| [0, 1, 2, VOID].contains(class))
            );
        }
    }

    #[test]
    fn one_size_is_the_file_itself() {
        let (_dir, entries) = folder(1);
        let sample = quietly(&entries, &LoadSettings::new(6, 8, 3))
            .unwrap()
            .remove(0);
        let pixels = noise(6, 8);
        assert!(
            (0..48).all(|i| (0..3).all(|c| sample.image[c * 48 + i] == pixels.as_raw()[3 * i + c]))
        );
        assert!((0..48).all(|i| sample.mask.as_ref().unwrap()[i] == [0, 1, 2, 255][i % 4]));
    }

    #[test]
    fn the_rule_comes_before_the_resizing() {
        // blurred values that a filter after the threshold would keep and one before would not
        let dir = tempfile::tempdir().unwrap();
        save(noise(16, 16), &dir.path().join("images/a.jpg"));
        save(
            GrayImage::from_fn(16, 16, |x, _| image::Luma([if x < 8 { 100 } else { 140 }])),
            &dir.path().join("masks/a.jpg"),
        );
        let entries = list(dir.path(), Layout::Kvasir, None).unwrap();
        let sample = quietly(&entries, &LoadSettings::new(2, 4, 2))
            .unwrap()
            .remove(0);
        assert_eq!(sample.mask.unwrap(), [0, 0, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn the_first_entry_s_error_is_the_one_told() {
        let (dir, entries) = folder(64);
        for i in [63, 5, 40, 6] {
            fs::remove_file(dir.path().join(format!("images/{i:03}.png"))).unwrap();
        }
        for _ in 0..20 {
            let error = quietly(&entries, &LoadSettings::new(3, 4, 3)).unwrap_err();
            assert!(matches!(error, Error::Unreadable { path, .. } if path.ends_with("005.png")));
        }
    }

    #[test]
    fn mask_size() {
        let (dir, entries) = folder(1);
        save(GrayImage::new(6, 8), &dir.path().join("masks/000.png"));
        let error = quietly(&entries, &LoadSettings::new(3, 4, 3)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "mask of 000 is 8x6, its image is 6x8 (height x width)"
        );
    }

    #[test]
    fn mask_value() {
        let (_dir, entries) = folder(1);
        let error = quietly(&entries, &LoadSettings::new(3, 4, 2)).unwrap_err();
        assert!(matches!(
            error,
            Error::MaskValue {
                value: 2,
                row: 0,
                column: 2,
                ..
            }
        ));
        let void = Entry {
            ignore: 2,
            ..entries[0].clone()
        };
        let sample = quietly(&[void], &LoadSettings::new(6, 8, 2))
            .unwrap()
            .remove(0);
        assert_eq!(sample.mask.unwrap()[..4], [0, 1, VOID, VOID]);
    }

    #[test]
    fn setting() {
        for settings in [
            LoadSettings::new(0, 4, 3),
            LoadSettings::new(3, 0, 3),
            LoadSettings::new(3, 4, 0),
            LoadSettings::new(3, 4, 256),
        ] {
            assert!(matches!(
                quietly(&[], &settings),
                Err(Error::Setting { .. })
            ));
        }
    }

    #[test]
    fn images_turn_with_their_mask_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| -> PathBuf { dir.path().join(path) };
        fs::create_dir_all(at("images")).unwrap();
        let pixels = RgbImage::from_fn(32, 16, |x, _| {
            image::Rgb([if x < 16 { 10 } else { 240 }; 3])
        });
        save_oriented(&pixels, 6, &at("images/a.jpg"));
        let first = |mask: GrayImage, path: &Path| {
            save(mask, path);
            let entries = list(dir.path(), Layout::Folder, None).unwrap();
            quietly(&entries, &LoadSettings::new(2, 2, 1))
                .map(|samples| samples[0].image[..4].to_vec())
        };
        let bright = |image: Vec<u8>| image.iter().map(|&v| v > 128).collect::<Vec<_>>();
        assert_eq!(
            bright(first(GrayImage::new(32, 16), &at("masks/a.png")).unwrap()),
            [false, true, false, true]
        );
        assert_eq!(
            bright(first(GrayImage::new(16, 32), &at("masks/a.png")).unwrap()),
            [false, false, true, true]
        );
        save_oriented(&pixels, 3, &at("images/a.jpg"));
        assert!(matches!(
            first(GrayImage::new(32, 16), &at("masks/a.png")),
            Err(Error::Oriented { .. })
        ));
    }

    #[test]
    fn pets_take_what_the_official_files_have() {
        let dir = tempfile::tempdir().unwrap();
        save(
            RgbaImage::from_pixel(4, 4, image::Rgba([9, 8, 7, 0])),
            &dir.path().join("images/Cat_5.png"),
        );
        fs::rename(
            dir.path().join("images/Cat_5.png"),
            dir.path().join("images/Cat_5.jpg"),
        )
        .unwrap();
        save(
            GrayImage::from_fn(4, 4, |x, _| image::Luma([x as u8 % 3 + 1])),
            &dir.path().join("annotations/trimaps/Cat_5.png"),
        );
        fs::write(dir.path().join("annotations/test.txt"), "Cat_5 1 1 1\n").unwrap();
        let entries = list(dir.path(), Layout::Pets, Some("test")).unwrap();
        let sample = quietly(&entries, &LoadSettings::new(1, 4, 3))
            .unwrap()
            .remove(0);
        assert_eq!(sample.image, [9, 9, 9, 9, 8, 8, 8, 8, 7, 7, 7, 7]);
        assert_eq!(sample.mask.unwrap(), [0, 1, 2, 0]);
    }

    #[test]
    fn images_without_masks_load() {
        let dir = tempfile::tempdir().unwrap();
        save(noise(5, 5), &dir.path().join("a.png"));
        let entries = list(dir.path(), Layout::Images, None).unwrap();
        assert_eq!(
            quietly(&entries, &LoadSettings::new(5, 5, 2)).unwrap()[0].mask,
            None
        );
    }
}
