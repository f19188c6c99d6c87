//! Label maps of one picture under noise, from any program: an `npz` archive with `samples` (n, pixels) or (n, H, W) and
//! optionally `labels`, read map by map, so that memory holds one map however many there are.

use std::collections::BTreeMap;
use std::path::Path;

use super::integers::{labels, needed};
use super::npz::{Archive, Array};
use crate::Result;
use crate::rng::Rng;

const SAMPLES: &str = "samples";

/// Maps of which nothing is said: chance may repeat them.
const FEW: usize = 16;

/// The label maps of an archive, in order.
pub struct LabelMaps {
    samples: Array,
    /// Of one map.
    shape: Vec<usize>,
    /// (shape, labels)
    labels: Option<(Vec<usize>, Vec<u8>)>,
    next: usize,
    /// Hashes of the maps so far, and how often each came.
    known: BTreeMap<u64, usize>,
}

impl LabelMaps {
    /// Opens an archive and checks shapes and types; reads the labels, of which `ignore` marks pixels without a class.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::NotNpz`], [`Error::Truncated`], [`Error::MissingArray`], [`Error::ArrayHeader`],
    /// [`Error::ArrayType`], [`Error::FortranOrder`], [`Error::ArrayShape`], [`Error::ArrayValue`].
    ///
    /// [`Error::Unreadable`]: crate::Error::Unreadable
    /// [`Error::NotNpz`]: crate::Error::NotNpz
    /// [`Error::Truncated`]: crate::Error::Truncated
    /// [`Error::MissingArray`]: crate::Error::MissingArray
    /// [`Error::ArrayHeader`]: crate::Error::ArrayHeader
    /// [`Error::ArrayType`]: crate::Error::ArrayType
    /// [`Error::FortranOrder`]: crate::Error::FortranOrder
    /// [`Error::ArrayShape`]: crate::Error::ArrayShape
    /// [`Error::ArrayValue`]: crate::Error::ArrayValue
    pub fn open(path: &Path, ignore: i64) -> Result<Self> {
        let mut archive = Archive::open(path)?;
        let samples = needed(&mut archive, SAMPLES)?;
        let size = samples
            .shape
            .iter()
            .try_fold(8usize, |n, side| n.checked_mul(*side));
        if !(2..=3).contains(&samples.shape.len()) || size.is_none_or(|size| size == 0) {
            let expected =
                "(samples, pixels) or (samples, height, width) of one picture, none of them 0";
            return Err(samples.wrong_shape(expected));
        }
        let shape = samples.shape[1..].to_vec();
        let labels = labels(&mut archive, shape.iter().product(), ignore)?;
        Ok(Self {
            samples,
            shape,
            labels,
            next: 0,
            known: BTreeMap::new(),
        })
    }

    /// Maps in all.
    pub fn len(&self) -> usize {
        self.samples.shape[0]
    }

    /// Whether there is none; an archive of none is not opened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shape of a map: (pixels) or (height, width).
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Shape and values of the labels: classes, or 255. There is one for each pixel of a map.
    pub fn labels(&self) -> Option<(&[usize], &[u8])> {
        self.labels
            .as_ref()
            .map(|(shape, labels)| (&shape[..], &labels[..]))
    }

    /// How many maps so far equal an earlier one, the most frequent map apart, which a network that hardly flickers gives
    /// again and again; 0 of fewer than 16 others, or where less than half of them do. More is the sign of a
    /// sampler that uses its noise twice.
    pub fn repeated(&self) -> usize {
        let most = self.known.values().max().copied().unwrap_or_default();
        let others = self.next - most;
        let repeated = (others + 1).saturating_sub(self.known.len());
        let many = others >= FEW && 2 * repeated >= others;
        if many { repeated } else { 0 }
    }

    /// The next map, classes 0 to 253; `None` after the last, at which the checksum is compared: what was computed from
    /// the maps before stands only when that one has come.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::ArrayValue`], [`Error::ArrayHeader`] (more numbers than the shape says).
    ///
    /// [`Error::Truncated`]: crate::Error::Truncated
    /// [`Error::ArrayValue`]: crate::Error::ArrayValue
    /// [`Error::ArrayHeader`]: crate::Error::ArrayHeader
    pub fn next_map(&mut self) -> Result<Option<Vec<u8>>> {
        if self.next == self.len() {
            return Ok(None);
        }
        let pixels = self.shape.iter().product();
        let map = self.samples.classes(self.next * pixels, pixels)?;
        *self.known.entry(Rng::hash(&map)).or_default() += 1;
        self.next += 1;
        if self.next == self.len() {
            self.samples.finish()?;
        }
        Ok(Some(map))
    }
}

/// The array `labels` of an archive, one for each of so many pixels, with its shape: classes, and 255 where it says
/// `ignore`.
///
/// # Errors
/// As [`LabelMaps::open`].
pub fn read_labels(path: &Path, pixels: usize, ignore: i64) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut archive = Archive::open(path)?;
    match labels(&mut archive, pixels, ignore)? {
        Some(labels) => Ok(labels),
        None => Err(archive.missing("labels")?),
    }
}

#[cfg(test)]
mod tests {
    use zip::CompressionMethod::{Deflated, Stored};

    use super::super::npy::tests::npy;
    use super::super::npz::tests::save;
    use super::*;
    use crate::Error;

    /// Three maps of two pixels.
    fn maps(descr: &str, bytes: &[u8]) -> (tempfile::TempDir, Result<LabelMaps>) {
        let samples = npy(descr, "False", "(3, 2)", bytes);
        let labels = npy("<i2", "False", "(1, 2)", &[1, 0, 255, 255]);
        let (dir, path) = save(&[("samples", samples), ("labels", labels)], Deflated);
        let maps = LabelMaps::open(&path, -1);
        (dir, maps)
    }

    fn all(maps: &mut LabelMaps) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        while let Some(map) = maps.next_map()? {
            all.push(map);
        }
        Ok(all)
    }

    #[test]
    fn maps_of_any_integers_come_one_by_one() {
        let numbers = [0u8, 253, 1, 1, 7, 0];
        let wide: Vec<u8> = numbers
            .iter()
            .flat_map(|n| i64::from(*n).to_le_bytes())
            .collect();
        let big: Vec<u8> = numbers
            .iter()
            .flat_map(|n| u16::from(*n).to_be_bytes())
            .collect();
        for (descr, bytes) in [("|u1", numbers.to_vec()), ("<i8", wide), (">u2", big)] {
            let (_dir, maps) = maps(descr, &bytes);
            let mut maps = maps.unwrap();
            assert_eq!((maps.len(), maps.shape()), (3, &[2][..]));
            assert_eq!(maps.labels(), Some((&[1, 2][..], &[1, 255][..])));
            assert_eq!(all(&mut maps).unwrap(), [[0, 253], [1, 1], [7, 0]]);
            assert!(maps.next_map().unwrap().is_none());
            assert_eq!(maps.repeated(), 0);
        }
    }

    #[test]
    fn repeated_maps_are_counted() {
        // pairs of 20 maps; the same with 100 clean maps; 15 of 20 maps new
        let pairs: Vec<u8> = (0..40).map(|at| at / 2).collect();
        let clean = [vec![99; 100], pairs.clone()].concat();
        let new: Vec<u8> = (0..20).map(|at| at.min(15)).chain([99; 9]).collect();
        for (maps, repeated) in [(pairs, 19), (clean, 20), (new, 0), (vec![7; 110], 0)] {
            let shape = format!("({}, 1)", maps.len());
            let (_dir, path) = save(&[("samples", npy("|u1", "False", &shape, &maps))], Stored);
            let mut file = LabelMaps::open(&path, 255).unwrap();
            all(&mut file).unwrap();
            assert_eq!(file.repeated(), repeated, "{maps:?}");
        }
    }

    #[test]
    fn array_value() {
        for (descr, bytes, words) in [
            ("|u1", [0, 1, 2, 254, 0, 0], "254 at [1, 1]"),
            ("|i1", [0, 1, 2, 3, 0xff, 0], "-1 at [2, 0]"),
        ] {
            let (_dir, maps) = maps(descr, &bytes);
            let error = all(&mut maps.unwrap()).unwrap_err();
            assert!(matches!(error, Error::ArrayValue { .. }));
            assert!(error.to_string().contains(words), "{error}");
        }
        let samples = npy("|u1", "False", "(1, 2)", &[0, 1]);
        let labels = npy("|i1", "False", "(2,)", &[0, 0xff]);
        let (_dir, path) = save(&[("samples", samples), ("labels", labels)], Stored);
        let error = LabelMaps::open(&path, 255).err().unwrap().to_string();
        assert!(
            error.contains("\"labels\"") && error.contains("-1 at [1]"),
            "{error}"
        );
        assert_eq!(read_labels(&path, 2, -1).unwrap(), (vec![2], vec![0, 255]));
    }

    #[test]
    fn what_is_no_stack_of_maps() {
        let (_dir, error) = maps("<f4", &[0; 24]);
        assert!(matches!(error.err().unwrap(), Error::ArrayType { .. }));
        for shape in ["(6,)", "(3, 0)", "(1, 3, 2, 1)"] {
            let samples = npy("|u1", "False", shape, &[0; 6]);
            let (_dir, path) = save(&[("samples", samples)], Stored);
            let error = LabelMaps::open(&path, 255).err().unwrap();
            assert!(matches!(error, Error::ArrayShape { .. }), "{error}");
        }
        let (_dir, path) = save(&[("maps", Vec::new())], Stored);
        let error = LabelMaps::open(&path, 255).err().unwrap();
        assert!(matches!(
            error,
            Error::MissingArray {
                name: "samples",
                ..
            }
        ));
        let samples = npy("|u1", "False", "(1, 2)", &[0, 1]);
        let labels = npy("|u1", "False", "(3,)", &[0; 3]);
        let (_dir, path) = save(&[("samples", samples), ("labels", labels)], Stored);
        let error = LabelMaps::open(&path, 255).err().unwrap().to_string();
        assert!(error.contains("2 components"), "{error}");
        assert!(read_labels(&path, 3, 255).is_ok());
    }

    #[test]
    fn a_torn_stack_is_seen_at_its_end() {
        let (_dir, maps) = maps("|u1", &[0, 1, 2, 3, 4]);
        let error = all(&mut maps.unwrap()).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{error}");
        let (_dir, maps) = self::maps("|u1", &[0, 1, 2, 3, 4, 5, 6]);
        let error = all(&mut maps.unwrap()).unwrap_err();
        assert!(matches!(error, Error::ArrayHeader { .. }), "{error}");
    }
}
