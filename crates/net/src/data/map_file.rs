//! The maps of one picture read back from the `npz` archive that [`super::write_maps`] made, in the order asked for.

use std::path::{Path, PathBuf};

use super::maps::Map;
use super::npy::Kind;
use super::npz::Archive;
use crate::Result;

/// What errors call an array whose name is not known beforehand; the caller adds the name.
const MAP: &str = "map";

/// An archive of maps.
pub struct MapFile {
    path: PathBuf,
    archive: Archive,
}

impl MapFile {
    /// Opens it.
    ///
    /// # Errors
    /// [`crate::Error::Unreadable`], [`crate::Error::NotNpz`].
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.into(),
            archive: Archive::open(path)?,
        })
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the arrays.
    ///
    /// # Errors
    /// [`crate::Error::NotNpz`].
    pub fn names(&self) -> Result<Vec<String>> {
        self.archive.names()
    }

    /// The array of this name and its shape: bytes, u32, f32 or f64.
    ///
    /// # Errors
    /// Those of the archive; [`crate::Error::MissingArray`], [`crate::Error::ArrayType`] of other numbers,
    /// [`crate::Error::ArrayShape`] of more numbers than memory has.
    pub fn read(&mut self, name: &str) -> Result<(Vec<usize>, Map)> {
        let Some(mut array) = self.archive.array_as(name, MAP)? else {
            return Err(self.archive.missing(MAP)?);
        };
        let sides = array.shape.iter();
        let count = sides.copied().try_fold(1usize, usize::checked_mul);
        let bytes = count.and_then(|count| count.checked_mul(array.number.bytes));
        let (Some(count), Some(_)) = (count, bytes) else {
            return Err(array.wrong_shape("a map that memory holds"));
        };
        let number = array.number;
        if !matches!(
            (number.kind, number.bytes),
            (Kind::Unsigned, 1 | 4) | (Kind::Float, 4 | 8)
        ) {
            return Err(array.wrong_type("uint8, uint32, float32 or float64"));
        }
        let bytes = array.take(count)?;
        array.finish()?;
        let chunks = bytes.chunks_exact(number.bytes);
        let map = match (number.kind, number.bytes) {
            (Kind::Float, 8) => Map::Doubles(chunks.map(|c| number.float(c)).collect()),
            (Kind::Float, _) => Map::Floats(chunks.map(|c| number.float(c) as f32).collect()),
            (_, 1) => Map::Bytes(bytes),
            _ => Map::Places(chunks.map(|c| number.integer(c) as u32).collect()),
        };
        Ok((array.shape, map))
    }
}

#[cfg(test)]
mod tests {
    use super::super::maps::write_arrays;
    use super::*;
    use crate::Error;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let maps = [
            ("image", vec![1, 2, 3], Map::Bytes(vec![7; 6])),
            (
                "budget_fnr_1",
                vec![1, 2],
                Map::Floats(vec![0.1, f32::INFINITY]),
            ),
            ("lose_iou_1", vec![1, 2], Map::Places(vec![0, u32::MAX])),
            ("eps", vec![1], Map::Doubles(vec![0.1])),
            ("other", vec![1], Map::Signed(vec![1])),
        ];
        let arrays: Vec<_> = maps
            .iter()
            .map(|(name, shape, map)| (*name, &shape[..], map))
            .collect();
        write_arrays(&path, &arrays).unwrap();
        let mut file = MapFile::open(&path).unwrap();
        assert_eq!(file.names().unwrap().len(), 5);
        for (name, shape, map) in &maps[..4] {
            assert_eq!(file.read(name).unwrap(), (shape.clone(), map.clone()));
        }
        let error = file.read("other").unwrap_err();
        assert!(matches!(error, Error::ArrayType { .. }), "{error}");
        let error = file.read("absent").unwrap_err();
        assert!(matches!(error, Error::MissingArray { .. }), "{error}");
    }
}
