//! The pictures of a training: decoded when they are first asked for, kept while there is room.
//!
//! Every epoch visits every picture once. When one comes again all others have been there since, so a cache that drops what
//! was used longest ago would drop most pictures just before they are needed. Here the first ones stay: room for a third
//! of the pictures saves a third of the decoding, and the others are decoded again in every epoch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::load::{LoadSettings, load_one};
use super::{Entry, Sample};
use crate::{Error, Result};

/// Pictures of one size, by index. Threads may share it.
#[derive(Debug)]
pub struct Pictures {
    /// Where they come from; `None` where all are kept from the start.
    files: Option<(Vec<Entry>, LoadSettings)>,
    kept: Vec<OnceLock<Arc<Sample>>>,
    /// Height and width.
    size: [usize; 2],
    /// Most bytes that may be kept.
    limit: usize,
    /// Bytes that are kept or about to be.
    bytes: AtomicUsize,
}

impl Pictures {
    /// Memory for pictures in a training, in bytes: kept ones, batches, originals that are being decoded.
    pub const MEMORY: usize = 1 << 30;

    /// The pictures of `entries`, none read yet, of which at most `limit` bytes will be kept (a picture has four bytes a
    /// pixel); [`Pictures::room`] is a good limit.
    ///
    /// # Errors
    /// [`Error::Setting`] as [`load`](super::load()).
    pub fn new(entries: Vec<Entry>, settings: LoadSettings, limit: usize) -> Result<Self> {
        settings.check()?;
        Ok(Self {
            kept: entries.iter().map(|_| OnceLock::new()).collect(),
            size: [settings.height, settings.width],
            files: Some((entries, settings)),
            limit,
            bytes: AtomicUsize::new(0),
        })
    }

    /// Pictures that are in memory already.
    ///
    /// # Errors
    /// [`Error::SampleSize`] for the first sample of another size than the first.
    pub fn of(samples: Vec<Sample>) -> Result<Self> {
        let size = samples.first().map_or([0, 0], |s| [s.height, s.width]);
        let other = samples.iter().find(|s| [s.height, s.width] != size);
        if let Some(sample) = other {
            return Err(Error::SampleSize {
                id: sample.id.clone(),
                got: [sample.height, sample.width],
                expected: size,
            });
        }
        let bytes = samples.iter().map(bytes).sum();
        let kept = samples.into_iter().map(|s| OnceLock::from(Arc::new(s)));
        Ok(Self {
            files: None,
            kept: kept.collect(),
            size,
            limit: bytes,
            bytes: AtomicUsize::new(bytes),
        })
    }

    /// Bytes that may be kept, 768 MiB at most, where [`Pictures::MEMORY`] has to hold `depth` batches of `batch`
    /// pictures of the size (height, width) that are made ahead, one in use, and originals that are being decoded.
    pub fn room([height, width]: [usize; 2], batch: usize, depth: usize) -> usize {
        let picture = height.saturating_mul(width).saturating_mul(13);
        let batches = depth.saturating_add(1).saturating_mul(batch);
        let others = picture.saturating_mul(batches).saturating_add(ORIGINALS);
        Self::MEMORY.saturating_sub(others).min(768 << 20)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Height and width of every picture; zeros where there is none and no settings say.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Their names, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().flat_map(|(entries, _)| entries);
        let kept = self.kept.iter().filter(|_| self.files.is_none());
        let kept = kept.filter_map(|slot| slot.get());
        files
            .map(|entry| entry.id.as_str())
            .chain(kept.map(|sample| sample.id.as_str()))
    }

    /// Bytes of the pictures that are kept now, never more than the limit.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Checks that every picture has a mask and the size `expected`, without reading one.
    ///
    /// # Errors
    /// [`Error::SampleSize`], [`Error::NoMask`].
    pub fn check(&self, expected: [usize; 2]) -> Result<()> {
        let got = self.size;
        if let Some(id) = self.ids().next().filter(|_| got != expected) {
            let id = id.to_owned();
            return Err(Error::SampleSize { id, got, expected });
        }
        let has_mask = |i: usize| match (&self.files, self.kept[i].get()) {
            (Some((entries, _)), _) => entries[i].mask.is_some(),
            (None, sample) => sample.is_some_and(|sample| sample.mask.is_some()),
        };
        match self.ids().enumerate().find(|&(i, _)| !has_mask(i)) {
            Some((_, id)) => Err(Error::NoMask { id: id.to_owned() }),
            None => Ok(()),
        }
    }

    /// Reads pictures in parallel for as long as there is room to keep them, so that what is wrong with a file is known
    /// before a training begins. `progress` is called after each with how many are done, from any thread.
    ///
    /// # Errors
    /// That of the first picture that has one.
    pub fn read(&self, progress: &(dyn Fn(usize) + Sync)) -> Result<()> {
        let [height, width] = self.size;
        let done = AtomicUsize::new(0);
        let first_error = AtomicUsize::new(usize::MAX);
        let results: Vec<Result<()>> = (0..self.len())
            .into_par_iter()
            .map(|index| {
                let full = self.bytes() + 4 * height * width > self.limit;
                if full || index > first_error.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if let Err(error) = self.get(index) {
                    first_error.fetch_min(index, Ordering::Relaxed);
                    return Err(error);
                }
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                Ok(())
            })
            .collect();
        results.into_iter().collect()
    }

    /// Picture `index`, which must be less than [`Pictures::len`]: the kept one, or read anew by the calling thread.
    ///
    /// # Errors
    /// Those of [`load`](super::load()), every time it is asked for.
    pub fn get(&self, index: usize) -> Result<Arc<Sample>> {
        let slot = &self.kept[index];
        let (entries, settings) = match (slot.get(), &self.files) {
            (Some(sample), _) => return Ok(sample.clone()),
            (None, Some(files)) => files,
            (None, None) => unreachable!("samples in memory are kept from the start"),
        };
        let sample = Arc::new(load_one(&entries[index], settings)?);
        let bytes = bytes(&sample);
        let more = |kept: usize| kept.checked_add(bytes).filter(|&all| all <= self.limit);
        let order = Ordering::Relaxed;
        let fits = self.bytes.fetch_update(order, order, more).is_ok();
        if fits && slot.set(sample.clone()).is_err() {
            // another thread has read it meanwhile
            self.bytes.fetch_sub(bytes, order);
        }
        Ok(sample)
    }
}

/// What decoding needs beside kept pictures and batches: file, pixels and halves of a resizing, on two threads.
const ORIGINALS: usize = 96 << 20;

/// Bytes that a sample takes.
fn bytes(sample: &Sample) -> usize {
    let mask = sample.mask.as_ref().map_or(0, Vec::len);
    size_of::<Sample>() + sample.id.len() + sample.image.len() + mask
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use image::GrayImage;

    use super::super::decode::tests::{noise, save};
    use super::super::{Layout, list, load, shapes};
    use super::*;

    /// A plain folder of `count` pictures of the size (height, width) with masks of class 0.
    fn folder(count: usize, [height, width]: [u32; 2]) -> (tempfile::TempDir, Vec<Entry>) {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..count {
            let at = |folder: &str| dir.path().join(format!("{folder}/{i:03}.png"));
            save(noise(height, width + i as u32 % 2), &at("images"));
            save(GrayImage::new(width + i as u32 % 2, height), &at("masks"));
        }
        let entries = list(dir.path(), Layout::Folder, None).unwrap();
        (dir, entries)
    }

    fn remove(dir: &Path, i: usize) {
        fs::remove_file(dir.join(format!("images/{i:03}.png"))).unwrap();
    }

    #[test]
    fn pictures_are_those_that_load_reads_and_are_read_once() {
        let (dir, entries) = folder(9, [6, 8]);
        let settings = LoadSettings::new(3, 4, 2);
        let expected = load(&entries, &settings, &|_, _| {}).unwrap();
        let pictures = Pictures::new(entries, settings, usize::MAX).unwrap();
        assert_eq!(
            (pictures.len(), pictures.size(), pictures.bytes()),
            (9, [3, 4], 0)
        );
        assert!(pictures.ids().eq(expected.iter().map(|s| &s.id)));
        pictures.check([3, 4]).unwrap();
        for _ in 0..2 {
            for (i, expected) in expected.iter().enumerate() {
                assert_eq!(*pictures.get(i).unwrap(), *expected);
            }
            // what is kept needs no file
            fs::remove_dir_all(dir.path().join("images")).ok();
        }
        assert_eq!(pictures.bytes(), expected.iter().map(bytes).sum::<usize>());
    }

    #[test]
    fn the_first_that_fit_stay_and_the_others_are_read_again() {
        let (dir, entries) = folder(9, [6, 8]);
        let settings = LoadSettings::new(3, 4, 2);
        let one = bytes(&load(&entries[..1], &settings, &|_, _| {}).unwrap()[0]);
        let pictures = Pictures::new(entries, settings, 4 * one + one / 2).unwrap();
        for i in [7, 2, 2, 5, 0, 1, 3, 4, 6, 8] {
            pictures.get(i).unwrap();
            assert!(pictures.bytes() <= 4 * one);
        }
        assert_eq!(pictures.bytes(), 4 * one);
        (0..9).for_each(|i| remove(dir.path(), i));
        let read: Vec<usize> = (0..9).filter(|&i| pictures.get(i).is_ok()).collect();
        assert_eq!(read, [0, 2, 5, 7]);
    }

    #[test]
    fn threads_that_ask_at_once_are_counted_once() {
        let (_dir, entries) = folder(3, [6, 8]);
        let settings = LoadSettings::new(3, 4, 2);
        for _ in 0..50 {
            let pictures = Pictures::new(entries.clone(), settings.clone(), usize::MAX).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..3).for_each(|i| drop(pictures.get(i).unwrap())));
                }
            });
            let kept = pictures.kept.iter().map(|slot| bytes(slot.get().unwrap()));
            assert_eq!(pictures.bytes(), kept.sum::<usize>());
        }
    }

    #[test]
    fn large_originals_stay_below_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let at = |folder: &str, i: usize| dir.path().join(format!("{folder}/{i:03}.png"));
        let picture = image::RgbImage::from_fn(2048, 1024, |x, y| {
            image::Rgb([(x / 8) as u8, (y / 4) as u8, ((x ^ y) / 64) as u8])
        });
        save(picture, &at("images", 0));
        save(GrayImage::new(2048, 1024), &at("masks", 0));
        for i in 1..64 {
            for folder in ["images", "masks"] {
                fs::hard_link(at(folder, 0), at(folder, i)).unwrap();
            }
        }
        let entries = list(dir.path(), Layout::Folder, None).unwrap();
        let limit = 100 << 20;
        let pictures = Pictures::new(entries, LoadSettings::new(1024, 1024, 1), limit).unwrap();
        for i in 0..64 {
            assert_eq!(pictures.get(i).unwrap().image.len(), 3 << 20);
            assert!(pictures.bytes() <= limit);
        }
        // four MiB each and a little
        assert_eq!(pictures.bytes() / (4 << 20), 24);
    }

    #[test]
    fn room_leaves_memory_for_batches() {
        assert_eq!(Pictures::room([128, 128], 8, 2), 768 << 20);
        // three batches of eight, thirteen bytes a pixel
        let cityscapes = Pictures::room([1024, 1024], 8, 2);
        assert_eq!(
            cityscapes,
            Pictures::MEMORY - ORIGINALS - 3 * 8 * (13 << 20)
        );
        assert_eq!(Pictures::room([usize::MAX; 2], 8, usize::MAX), 0);
    }

    #[test]
    fn reading_all_tells_the_first_error_and_stops_where_memory_does() {
        let (dir, entries) = folder(9, [6, 8]);
        let settings = LoadSettings::new(3, 4, 2);
        let pictures = |limit| Pictures::new(entries.clone(), settings.clone(), limit).unwrap();
        let (whole, calls) = (pictures(usize::MAX), AtomicUsize::new(0));
        whole
            .read(&|_| _ = calls.fetch_add(1, Ordering::Relaxed))
            .unwrap();
        assert_eq!(calls.into_inner(), 9);
        let one = whole.bytes() / 9;
        let some = pictures(3 * one + one / 2);
        some.read(&|_| ()).unwrap();
        assert_eq!(some.bytes() / one, 3);
        remove(dir.path(), 7);
        remove(dir.path(), 4);
        for _ in 0..20 {
            let error = pictures(usize::MAX).read(&|_| ()).unwrap_err();
            assert!(matches!(error, Error::Unreadable { path, .. } if path.ends_with("004.png")));
        }
    }

    #[test]
    fn samples_in_memory_are_pictures_too() {
        let samples = shapes(0, 3, 16);
        let pictures = Pictures::of(samples.clone()).unwrap();
        assert!(pictures.ids().eq(samples.iter().map(|s| &s.id)));
        assert!((0..3).all(|i| *pictures.get(i).unwrap() == samples[i]));
        pictures.check([16, 16]).unwrap();
        assert!(Pictures::of(Vec::new()).unwrap().check([4, 4]).is_ok());
    }

    #[test]
    fn sample_size() {
        let mut samples = shapes(0, 2, 16);
        samples.extend(shapes(0, 1, 24));
        let error = Pictures::of(samples.clone()).unwrap_err();
        assert!(matches!(
            &error,
            Error::SampleSize {
                got: [24, 24],
                expected: [16, 16],
                ..
            }
        ));
        samples.pop();
        let error = Pictures::of(samples).unwrap().check([16, 8]).unwrap_err();
        assert!(matches!(
            error,
            Error::SampleSize {
                expected: [16, 8],
                ..
            }
        ));
    }

    #[test]
    fn no_mask() {
        let mut samples = shapes(0, 3, 16);
        samples[1].mask = None;
        let id = samples[1].id.clone();
        let error = Pictures::of(samples).unwrap().check([16, 16]).unwrap_err();
        assert!(matches!(error, Error::NoMask { id: got } if got == id));
        let (dir, _) = folder(2, [6, 8]);
        let entries = list(&dir.path().join("images"), Layout::Images, None).unwrap();
        let pictures = Pictures::new(entries, LoadSettings::new(3, 4, 2), 0).unwrap();
        assert!(matches!(pictures.check([3, 4]), Err(Error::NoMask { id }) if id == "000"));
    }

    #[test]
    fn setting() {
        let settings = LoadSettings::new(0, 4, 2);
        let error = Pictures::new(Vec::new(), settings, 0).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
    }
}
