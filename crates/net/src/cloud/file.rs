//! Clouds in a folder: `catalogue.json`, and an `npz` for each cloud ([`CloudFile`]), called as the cloud.

use std::path::Path;

use super::{Catalogue, Cloud};
use crate::checkpoint::{read, write_whole};
use crate::data::CloudFile;
use crate::error::{Error, Result};

/// The file of the categories.
const CATALOGUE: &str = "catalogue.json";

/// Norms of the farthest point of a cloud that somebody may have brought to norm 1: drawing some of its points
/// may have lost the farthest.
const FARTHEST: std::ops::RangeInclusive<f32> = 0.5..=1.5;

/// Reads a cloud; its name is that of the file. It is not centred or scaled here.
///
/// # Errors
/// Those of [`CloudFile::read`], and [`Cloud::check`]; [`Error::BadCloud`] where no point is near norm 1.
pub fn read_cloud(path: &Path, catalogue: &Catalogue) -> Result<Cloud> {
    let file = CloudFile::read(path)?;
    let stem = path.file_stem().unwrap_or_default();
    let cloud = Cloud {
        id: stem.to_string_lossy().into_owned(),
        category: file.category,
        points: file.points,
        normals: file.normals,
        labels: file.labels,
    };
    cloud
        .check(catalogue)
        .map_err(|error| error.in_file(path))?;
    let norm = |point: &[f32; 3]| point.iter().map(|v| v * v).sum::<f32>().sqrt();
    let farthest = cloud.points.iter().map(norm).fold(0.0, f32::max);
    if !FARTHEST.contains(&farthest) {
        let what =
            format!("its farthest point at norm {farthest}, expected near 1: centre and scale it");
        return Err(Error::bad_cloud(&cloud.id, what).in_file(path));
    }
    Ok(cloud)
}

/// Writes a cloud into a folder.
///
/// # Errors
/// [`Error::Write`].
pub fn write_cloud(dir: &Path, cloud: &Cloud) -> Result<()> {
    let file = CloudFile {
        points: cloud.points.clone(),
        normals: cloud.normals.clone(),
        labels: cloud.labels.clone(),
        category: cloud.category,
    };
    file.write(&dir.join(format!("{}.npz", cloud.id)))
}

impl Catalogue {
    /// That of a folder.
    ///
    /// # Errors
    /// [`Error::Unreadable`]; [`Error::ClassList`] for what is none; those of [`Catalogue::check`].
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CATALOGUE);
        let bytes = read(&path)?;
        let catalogue: Catalogue = serde_json::from_slice(&bytes).map_err(|error| {
            let reason = error.to_string();
            let path = path.clone();
            Error::ClassList { path, reason }
        })?;
        catalogue.check().map_err(|error| error.in_file(&path))
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(CATALOGUE);
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Write {
            path: path.clone(),
            source: error.into(),
        })?;
        write_whole(&path, text.as_bytes())
    }
}

/// The categories of a folder, and the paths of its clouds, in the order of their names.
///
/// # Errors
/// Those of [`Catalogue::read`]; [`Error::Unreadable`]; [`Error::Empty`] without a cloud.
pub fn read_folder(dir: &Path) -> Result<(Catalogue, Vec<std::path::PathBuf>)> {
    let catalogue = Catalogue::read(dir)?;
    let unreadable = |source| Error::Unreadable {
        path: dir.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in dir.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|ending| ending == "npz") && !hidden {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let path = dir.join("*.npz");
        return Err(Error::Empty { path });
    }
    paths.sort();
    Ok((catalogue, paths))
}

#[cfg(test)]
mod tests {
    use super::super::shapes;
    use super::*;

    #[test]
    fn folders_of_clouds_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let shapes = shapes::shapes(1, 6, 40, true).unwrap();
        shapes::catalogue().write(dir.path()).unwrap();
        for shape in &shapes {
            write_cloud(dir.path(), &shape.cloud).unwrap();
        }
        // what a Mac leaves behind
        std::fs::write(dir.path().join("._mug_00000.npz"), "x").unwrap();
        let (catalogue, paths) = read_folder(dir.path()).unwrap();
        assert_eq!(catalogue, shapes::catalogue());
        let mut clouds: Vec<_> = shapes.into_iter().map(|shape| shape.cloud).collect();
        clouds.sort_by(|a, b| a.id.cmp(&b.id));
        let read = paths
            .iter()
            .map(|path| read_cloud(path, &catalogue).unwrap());
        assert_eq!(read.collect::<Vec<_>>(), clouds);
    }

    #[test]
    fn clouds_of_another_size() {
        let dir = tempfile::tempdir().unwrap();
        for (factor, fits) in [(1.0, true), (1.4, true), (0.01, false), (1.6, false)] {
            let mut cloud = shapes::shape(0, 0, 40, false).unwrap().cloud;
            let points = cloud.points.iter_mut().flatten();
            points.for_each(|value| *value *= factor);
            write_cloud(dir.path(), &cloud).unwrap();
            let path = dir.path().join(format!("{}.npz", cloud.id));
            let read = read_cloud(&path, &shapes::catalogue());
            match read {
                Ok(_) => assert!(fits, "{factor}"),
                Err(error) => assert!(
                    !fits && error.to_string().contains("farthest point"),
                    "{factor}: {error}"
                ),
            }
        }
    }

    #[test]
    fn folders_that_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let error = || read_folder(dir.path()).unwrap_err();
        assert!(matches!(error(), Error::Unreadable { .. }));
        let write = |text: &str| std::fs::write(dir.path().join(CATALOGUE), text).unwrap();
        write("[]");
        assert!(matches!(error(), Error::ClassList { .. }));
        write(r#"{"names": ["a"], "parts": [{"start": 1, "end": 2}]}"#);
        assert!(error().to_string().contains("from 0"), "{}", error());
        write(r#"{"names": ["a"], "parts": [{"start": 0, "end": 2}]}"#);
        assert!(matches!(error(), Error::Empty { .. }));
        // a cloud of another catalogue
        let shape = shapes::shape(0, 4, 40, false).unwrap();
        write_cloud(dir.path(), &shape.cloud).unwrap();
        let (catalogue, paths) = read_folder(dir.path()).unwrap();
        let error = read_cloud(&paths[0], &catalogue).unwrap_err();
        assert!(error.to_string().contains("category 4"), "{error}");
    }
}
