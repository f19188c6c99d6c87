//! A point cloud as an `npz` archive: `points` (P, 3), `category` (one number), and optionally `normals` (P, 3) and
//! `labels` (P), parts numbered over all categories.

use std::path::Path;

use super::integers::{class, needed};
use super::maps::{Map, write_arrays};
use super::npy::Kind;
use super::npz::{Archive, Array};
use crate::Result;

/// The arrays of a cloud.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudFile {
    /// (P, 3).
    pub points: Vec<[f32; 3]>,
    /// (P, 3), or empty.
    pub normals: Vec<[f32; 3]>,
    /// (P), or empty.
    pub labels: Vec<u8>,
    /// Number of its category.
    pub category: u8,
}

impl CloudFile {
    /// Reads it whole.
    ///
    /// # Errors
    /// Those of the archive and its arrays: [`Error::MissingArray`](crate::Error::MissingArray) and others.
    pub fn read(path: &Path) -> Result<Self> {
        let mut archive = Archive::open(path)?;
        let points = match archive.array("points")? {
            Some(array) => triples(array, None)?,
            None => return Err(archive.missing("points")?),
        };
        let normals = archive.array("normals")?;
        let normals = normals.map(|array| triples(array, Some(points.len())));
        let mut labels = Vec::new();
        if let Some(array) = archive.array("labels")? {
            let mut array = array.whole()?;
            if array.shape != [points.len()] {
                return Err(
                    array.wrong_shape(format!("one label for each of {} points", points.len()))
                );
            }
            labels = array.all("a part, 0 to 253", class)?;
        }
        let mut category = needed(&mut archive, "category")?;
        if category.shape.iter().any(|side| *side != 1) {
            return Err(category.wrong_shape("one number"));
        }
        let category = category.all("a category, 0 to 253", class)?;
        Ok(CloudFile {
            points,
            normals: normals.transpose()?.unwrap_or_default(),
            labels,
            category: category.first().copied().unwrap_or_default(),
        })
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write).
    pub fn write(&self, path: &Path) -> Result<()> {
        let floats = |rows: &[[f32; 3]]| Map::Floats(rows.as_flattened().to_vec());
        let count = self.points.len();
        let [points, normals] = [&self.points, &self.normals].map(|rows| floats(rows));
        let labels = Map::Bytes(self.labels.clone());
        let category = Map::Bytes(vec![self.category]);
        let (rows, column) = ([count, 3], [count]);
        let mut arrays: Vec<(&str, &[usize], &Map)> = vec![("points", &rows, &points)];
        if !self.normals.is_empty() {
            arrays.push(("normals", &rows, &normals));
        }
        if !self.labels.is_empty() {
            arrays.push(("labels", &column, &labels));
        }
        arrays.push(("category", &[], &category));
        write_arrays(path, &arrays)
    }
}

/// Rows of three finite numbers, rounded to f32.
fn triples(mut array: Array, count: Option<usize>) -> Result<Vec<[f32; 3]>> {
    if array.number.kind != Kind::Float {
        return Err(array.wrong_type("float32, float64 or float16"));
    }
    let fits = match array.shape[..] {
        [rows, 3] => rows > 0 && rows <= MOST_POINTS && count.is_none_or(|count| rows == count),
        _ => false,
    };
    if !fits {
        let rows = count.map_or("P".to_owned(), |count| count.to_string());
        return Err(array.wrong_shape(format!("({rows}, 3), at least one row")));
    }
    let number = array.number;
    let bytes = array.take(3 * array.shape[0])?;
    array.finish()?;
    let values: Vec<f32> = bytes
        .chunks_exact(number.bytes)
        .map(|chunk| number.float(chunk) as f32)
        .collect();
    Ok(values.as_chunks::<3>().0.to_vec())
}

/// A header may claim any size.
const MOST_POINTS: usize = 1 << 26;

#[cfg(test)]
mod tests {
    use zip::CompressionMethod::Stored;

    use super::super::npy::tests::npy;
    use super::super::npz::tests::save;
    use super::*;
    use crate::Error;

    fn cloud() -> CloudFile {
        CloudFile {
            points: vec![[0.0, 0.5, -1.0], [0.25, 0.0, 0.125]],
            normals: vec![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]],
            labels: vec![3, 4],
            category: 2,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let plain = CloudFile {
            normals: Vec::new(),
            labels: Vec::new(),
            ..cloud()
        };
        for cloud in [cloud(), plain] {
            cloud.write(&path).unwrap();
            assert_eq!(CloudFile::read(&path).unwrap(), cloud);
        }
    }

    #[test]
    fn what_is_no_cloud() {
        let floats = |shape: &str, n: usize| npy("<f4", "False", shape, &vec![0; 4 * n]);
        let points = || ("points", floats("(2, 3)", 6));
        let category = || ("category", npy("|u1", "False", "()", &[1]));
        let error = |arrays: &[(&str, Vec<u8>)]| {
            let (_dir, path) = save(arrays, Stored);
            CloudFile::read(&path).unwrap_err()
        };
        let missing = |error: Error| matches!(error, Error::MissingArray { .. });
        assert!(missing(error(&[category()])) && missing(error(&[points()])));
        for bad in [
            ("points", floats("(3, 2)", 6)),
            ("points", floats("(0, 3)", 0)),
            ("points", floats("(6,)", 6)),
        ] {
            let error = error(&[bad, category()]);
            assert!(matches!(error, Error::ArrayShape { .. }), "{error}");
        }
        for bad in [
            ("normals", floats("(1, 3)", 3)),
            ("labels", npy("|u1", "False", "(3,)", &[0, 0, 0])),
        ] {
            let error = error(&[points(), category(), bad]);
            assert!(matches!(error, Error::ArrayShape { .. }), "{error}");
        }
        let bytes = ("points", npy("|u1", "False", "(2, 3)", &[0; 6]));
        assert!(matches!(
            error(&[bytes, category()]),
            Error::ArrayType { .. }
        ));
        let label = ("labels", npy("|u1", "False", "(2,)", &[0, 254]));
        let error = error(&[points(), category(), label]);
        assert!(matches!(error, Error::ArrayValue { .. }), "{error}");
    }
}
