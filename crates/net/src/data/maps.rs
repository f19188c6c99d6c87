//! Maps of one picture as an `npz` archive, for pictures and sliders.

use std::io::{Cursor, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::checkpoint::write_whole;
use crate::{Error, Result};

/// The numbers of a map.
#[derive(Clone, Debug, PartialEq)]
pub enum Map {
    /// Classes.
    Bytes(Vec<u8>),
    /// Places in an order.
    Places(Vec<u32>),
    /// Radii and budgets.
    Floats(Vec<f32>),
    /// Classes, and -1 where there is none.
    Signed(Vec<i16>),
    /// Logarithms of p-values.
    Doubles(Vec<f64>),
}

impl Map {
    fn npy(&self, shape: &[usize]) -> Vec<u8> {
        let (descr, bytes) = match self {
            Map::Bytes(values) => ("|u1", values.clone()),
            Map::Places(values) => ("<u4", values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Map::Floats(values) => ("<f4", values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Map::Signed(values) => ("<i2", values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Map::Doubles(values) => ("<f8", values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        };
        // one side needs its comma
        let shape: String = shape.iter().map(|side| format!("{side}, ")).collect();
        let shape = shape.trim_end();
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
        // magic, version and length take 10 bytes; all of it fills multiples of 64
        let padded = (header.len() + 11).next_multiple_of(64) - 11;
        let mut file = b"\x93NUMPY\x01\0".to_vec();
        file.extend((padded as u16 + 1).to_le_bytes());
        file.extend(format!("{header:padded$}\n").bytes());
        file.extend(bytes);
        file
    }
}

/// Writes maps of one shape, (height, width) or (pixels), under their names, deflated, whole or not at all.
///
/// # Errors
/// [`Error::Write`].
pub fn write_maps(path: &Path, shape: &[usize], maps: &[(String, Map)]) -> Result<()> {
    let arrays = maps.iter().map(|(name, map)| (name.as_str(), shape, map));
    write_arrays(path, &arrays.collect::<Vec<_>>())
}

/// The same of arrays that each have a shape.
///
/// # Errors
/// [`Error::Write`].
pub fn write_arrays(path: &Path, arrays: &[(&str, &[usize], &Map)]) -> Result<()> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut pack = || -> zip::result::ZipResult<Vec<u8>> {
        for (name, shape, map) in arrays {
            archive.start_file(format!("{name}.npy"), options)?;
            archive.write_all(&map.npy(shape))?;
        }
        Ok(
            std::mem::replace(&mut archive, ZipWriter::new(Cursor::default()))
                .finish()?
                .into_inner(),
        )
    };
    let bytes = pack().map_err(|error| Error::Write {
        path: path.into(),
        source: std::io::Error::other(error),
    })?;
    write_whole(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::super::npz::Archive;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let maps = [
            (
                "prediction".to_owned(),
                Map::Bytes(vec![1, 0, 255, 3, 4, 5]),
            ),
            (
                "radius".to_owned(),
                Map::Floats(vec![0.1, f32::INFINITY, 0.0, 1.0, 2.0, 3.0]),
            ),
            (
                "rank".to_owned(),
                Map::Places(vec![0, 1, u32::MAX, 3, 4, 5]),
            ),
        ];
        write_maps(&path, &[2, 3], &maps).unwrap();
        let mut archive = Archive::open(&path).unwrap();
        assert_eq!(archive.names().unwrap(), ["prediction", "radius", "rank"]);
        let mut take = |name| {
            let mut array = archive.array(name).unwrap().unwrap();
            assert_eq!(array.shape, [2, 3]);
            let bytes = array.take(6).unwrap();
            array.finish().unwrap();
            bytes
        };
        assert_eq!(take("prediction"), [1, 0, 255, 3, 4, 5]);
        let radii = [0.1, f32::INFINITY, 0.0, 1.0, 2.0, 3.0].map(f32::to_le_bytes);
        assert_eq!(take("radius"), radii.concat());
        assert_eq!(take("rank")[8..12], [255; 4]);
        let flat = [
            ("classes".to_owned(), Map::Signed(vec![-1, 253])),
            ("ln_p".to_owned(), Map::Doubles(vec![-1005.0, 0.0])),
        ];
        write_maps(&path, &[2], &flat).unwrap();
        let mut archive = Archive::open(&path).unwrap();
        let mut classes = archive.array("classes").unwrap().unwrap();
        assert_eq!(classes.shape, [2]);
        assert_eq!(classes.take(2).unwrap(), [255, 255, 253, 0]);
        let mut ln_p = archive.array("ln_p").unwrap().unwrap();
        assert_eq!(ln_p.take(1).unwrap(), (-1005f64).to_le_bytes());
        // NumPy wants the numbers at a multiple of 64
        assert_eq!((maps[1].1.npy(&[2, 3]).len() - 24) % 64, 0);
    }
}
