//! Pictures with their maps, read back from the folder that `certify --maps` wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_net::data::{Map, MapFile};
use certiseg_view::Picture;

use crate::fail::Usage;

/// The pictures of a folder, by name of file.
pub fn read(dir: &Path) -> Result<Vec<Picture>> {
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
            "give a folder that certify --maps DIR wrote",
        ));
    }
    files.sort();
    files.iter().map(|path| picture(path)).collect()
}

/// Gives each picture the name it has in the rows: a file cannot be called as every image.
pub fn rename<'a>(pictures: &mut [Picture], images: impl IntoIterator<Item = &'a str>) {
    let images: BTreeSet<&str> = images.into_iter().collect();
    let of_file = |image: &str| crate::maps::Maps::file(Path::new(""), image);
    let names: BTreeMap<PathBuf, &str> = images.iter().map(|&id| (of_file(id), id)).collect();
    for picture in pictures {
        if let Some(&id) = names.get(&PathBuf::from(format!("{}.npz", picture.id))) {
            picture.id = id.into();
        }
    }
}

fn picture(path: &Path) -> Result<Picture> {
    let mut file = MapFile::open(path)?;
    let names = file.names()?;
    let ([height, width], prediction) = match read_map(&mut file, "prediction")? {
        (shape, Map::Bytes(prediction)) if shape.len() == 2 => ([shape[0], shape[1]], prediction),
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
        "give a folder that certify --maps DIR wrote",
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
    fn what_is_wrong_is_named_with_its_file() {
        let (bytes, floats) = (Map::Bytes(vec![0, 1]), Map::Floats(vec![0.5, 1.0]));
        let prediction: (&str, &[usize], &Map) = ("prediction", &[1, 2], &bytes);
        let cases: [(&[(&str, &[usize], &Map)], &str); 4] = [
            (&[("radius", &[1, 2], &floats)], "array prediction of"),
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
