//! Pictures with their maps, read back from the folder that `certify --maps` wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_net::data::{Map, MapFile};
use certiseg_view::Picture;

use crate::fail::Usage;

const HINT: &str = "give a folder that certify --maps DIR wrote";

/// The pictures of a folder, by name of file.
pub fn read(dir: &Path) -> Result<Vec<Picture>> {
    files(dir)?.iter().map(|path| picture(path)).collect()
}

/// The same under the names that images have; of those behind the first `whole` of them, and of others, classes and
/// labels only: thousands of pictures with all their maps are more than memory holds.
pub fn read_some<'a>(
    dir: &Path,
    images: impl IntoIterator<Item = &'a str>,
    whole: usize,
) -> Result<Vec<Picture>> {
    let names = names(images);
    let mut known = 0;
    let mut all = Vec::new();
    for path in files(dir)? {
        let mut picture = picture(&path)?;
        let named = name(&mut picture, &names);
        known += usize::from(named);
        // without rows every picture is one
        let shown = names.is_empty() && all.len() < whole || named && known <= whole;
        if !shown {
            picture.image = None;
            picture.radius = Vec::new();
            picture.budgets.clear();
        }
        all.push(picture);
    }
    Ok(all)
}

/// The files of a folder, by name.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir);
    let entries = entries.with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", dir.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "npz") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Usage::error(
            format!("{} holds no npz file", dir.display()),
            HINT,
        ));
    }
    files.sort();
    Ok(files)
}

/// Gives each picture the name it has in the rows: a file cannot be called as every image.
pub fn rename<'a>(pictures: &mut [Picture], images: impl IntoIterator<Item = &'a str>) {
    let names = names(images);
    for picture in pictures {
        name(picture, &names);
    }
}

/// Names of images by the files of their maps.
fn names<'a>(images: impl IntoIterator<Item = &'a str>) -> BTreeMap<PathBuf, &'a str> {
    let images: BTreeSet<&str> = images.into_iter().collect();
    let of_file = |image: &str| crate::maps::Maps::file(Path::new(""), image);
    images.into_iter().map(|id| (of_file(id), id)).collect()
}

/// Names a picture as its image; whether there is one.
fn name(picture: &mut Picture, names: &BTreeMap<PathBuf, &str>) -> bool {
    let image = names.get(&PathBuf::from(format!("{}.npz", picture.id)));
    if let Some(&id) = image {
        picture.id = id.into();
    }
    image.is_some()
}

fn picture(path: &Path) -> Result<Picture> {
    let mut file = MapFile::open(path)?;
    let names = file.names()?;
    let ([height, width], prediction) = match read_map(&mut file, "prediction")? {
        (shape, Map::Bytes(prediction)) if shape.len() == 2 && !prediction.is_empty() => {
            ([shape[0], shape[1]], prediction)
        }
        (shape, map) => return Err(wrong(path, "prediction", &shape, &map, "uint8 (H,W)")),
    };
    let size = [height, width];
    let mut bytes = |name: &str, shape: &[usize]| -> Result<Option<Vec<u8>>> {
        if !names.iter().any(|known| known == name) {
            return Ok(None);
        }
        match read_map(&mut file, name)? {
            (got, Map::Bytes(bytes)) if got == shape => Ok(Some(bytes)),
            (got, map) => Err(wrong(path, name, &got, &map, &format!("uint8 {shape:?}"))),
        }
    };
    let image = bytes("image", &[height, width, 3])?;
    let label = bytes("label", &size)?;
    let mut floats = |name: &str| match read_map(&mut file, name)? {
        (got, Map::Floats(values)) if got == size => Ok(values),
        (got, map) => Err(wrong(path, name, &got, &map, &format!("float32 {size:?}"))),
    };
    let radius = floats("radius")?;
    let budgets = names.iter().filter(|name| name.starts_with("budget_"));
    let budgets: Result<_> = budgets
        .map(|name| Ok((name.clone(), floats(name)?)))
        .collect();
    let id = path.file_stem().unwrap_or_default();
    Ok(Picture {
        id: id.to_string_lossy().into_owned(),
        size,
        image,
        label,
        prediction,
        radius,
        budgets: budgets?,
    })
}

fn read_map(file: &mut MapFile, name: &str) -> Result<(Vec<usize>, Map)> {
    let names = file.names()?;
    if !names.iter().any(|known| known == name) {
        let (path, names) = (file.path().display(), names.join(", "));
        let message = format!("{path} has no array {name}, it has {names}");
        return Err(Usage::error(message, HINT));
    }
    let read = file.read(name);
    read.with_context(|| format!("array {name} of {}", file.path().display()))
}

fn wrong(path: &Path, name: &str, got: &[usize], map: &Map, expected: &str) -> anyhow::Error {
    let numbers = match map {
        Map::Bytes(_) => "uint8",
        Map::Places(_) => "uint32",
        Map::Floats(_) => "float32",
        Map::Signed(_) => "int16",
        Map::Doubles(_) => "float64",
    };
    Usage::error(
        format!(
            "array {name} of {} is {numbers} {got:?}, expected {expected}",
            path.display()
        ),
        HINT,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use certiseg_net::data::write_arrays;

    fn folder(arrays: &[(&str, &[usize], &Map)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        write_arrays(&dir.path().join("a__b.npz"), arrays).unwrap();
        dir
    }

    #[test]
    fn pictures_come_back_with_their_names() {
        let (bytes, floats) = (
            Map::Bytes(vec![0, 1]),
            Map::Floats(vec![0.5, f32::INFINITY]),
        );
        let image = Map::Bytes(vec![1, 2, 3, 4, 5, 6]);
        let arrays: [(&str, &[usize], &Map); 5] = [
            ("prediction", &[1, 2], &bytes),
            ("label", &[1, 2], &bytes),
            ("image", &[1, 2, 3], &image),
            ("radius", &[1, 2], &floats),
            ("budget_accuracy", &[1, 2], &floats),
        ];
        let dir = folder(&arrays);
        let mut pictures = read(dir.path()).unwrap();
        rename(&mut pictures, ["a/b", "c"]);
        let [picture] = &pictures[..] else {
            panic!("{pictures:?}");
        };
        assert_eq!(picture.id, "a/b");
        assert_eq!(picture.size, [1, 2]);
        assert_eq!(picture.image.as_deref(), Some(&[1, 2, 3, 4, 5, 6][..]));
        assert_eq!(picture.label.as_deref(), Some(&[0, 1][..]));
        assert_eq!(picture.budgets["budget_accuracy"], [0.5, f32::INFINITY]);
    }

    #[test]
    fn beyond_those_that_are_shown_pictures_are_classes() {
        let (bytes, floats) = (Map::Bytes(vec![0, 1]), Map::Floats(vec![0.5, 1.0]));
        let arrays: [(&str, &[usize], &Map); 3] = [
            ("prediction", &[1, 2], &bytes),
            ("radius", &[1, 2], &floats),
            ("budget_accuracy", &[1, 2], &floats),
        ];
        let dir = folder(&arrays);
        for name in ["b.npz", "c.npz", "d.npz"] {
            write_arrays(&dir.path().join(name), &arrays).unwrap();
        }
        let whole = |images: &[&str], whole: usize| -> Vec<(String, bool)> {
            let all = read_some(dir.path(), images.iter().copied(), whole).unwrap();
            assert!(all.iter().all(|picture| picture.prediction == [0, 1]));
            let about = |picture: Picture| (picture.id, !picture.budgets.is_empty());
            all.into_iter().map(about).collect()
        };
        let expected = |all: [(&str, bool); 4]| all.map(|(id, whole)| (id.to_owned(), whole));
        assert_eq!(
            whole(&["d", "a/b", "c"], 2),
            expected([("a/b", true), ("b", false), ("c", true), ("d", false)])
        );
        assert_eq!(
            whole(&[], 3),
            expected([("a__b", true), ("b", true), ("c", true), ("d", false)])
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        type Array<'a> = (&'a str, &'a [usize], &'a Map);
        let (bytes, floats) = (Map::Bytes(vec![0, 1]), Map::Floats(vec![0.5, 1.0]));
        let prediction: Array = ("prediction", &[1, 2], &bytes);
        let none = Map::Bytes(Vec::new());
        let cases: [(&[Array], &str); 5] = [
            (
                &[("prediction", &[0, 2], &none)],
                "uint8 [0, 2], expected uint8 (H,W)",
            ),
            (
                &[("radius", &[1, 2], &floats)],
                "has no array prediction, it has radius",
            ),
            (
                &[("prediction", &[2], &bytes)],
                "uint8 [2], expected uint8 (H,W)",
            ),
            (
                &[prediction, ("radius", &[1, 2], &bytes)],
                "array radius of",
            ),
            (
                &[
                    prediction,
                    ("image", &[1, 2], &bytes),
                    ("radius", &[1, 2], &floats),
                ],
                "expected uint8 [1, 2, 3]",
            ),
        ];
        for (arrays, words) in cases {
            let error = format!("{:#}", read(folder(arrays).path()).unwrap_err());
            assert!(error.contains(words), "{words}: {error}");
        }
        let empty = tempfile::tempdir().unwrap();
        let error = read(empty.path()).unwrap_err().to_string();
        assert!(error.contains("holds no npz"), "{error}");
    }
}
