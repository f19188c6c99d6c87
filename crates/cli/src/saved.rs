//! Attacked pictures, read back from the folder that `attack --save` wrote, for figures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_net::data::{Map, MapFile};
use certiseg_view::figure::Saved;

use crate::fail::Usage;
use crate::maps::Maps;

const HINT: &str = "give a folder that attack --save DIR wrote";

/// Each picture after the attack on the first criterion within the largest budget, by name of file. Pictures that
/// `images` does not name keep the name of their file.
pub fn read<'a>(dir: &Path, images: impl IntoIterator<Item = &'a str>) -> Result<Vec<Saved>> {
    let entries = std::fs::read_dir(dir);
    let entries = entries.with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        files.push(entry.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "npz"));
    files.sort();
    if files.is_empty() {
        let message = format!("{} holds no npz file", dir.display());
        return Err(Usage::error(message, HINT));
    }
    let named: Vec<(PathBuf, &str)> = images
        .into_iter()
        .map(|id| (Maps::file(dir, id), id))
        .collect();
    let read = |path: &PathBuf| {
        let mut saved = picture(path)?;
        if let Some((_, id)) = named.iter().find(|(file, _)| file == path) {
            saved.id = (*id).into();
        }
        Ok(saved)
    };
    files.iter().map(read).collect()
}

fn picture(path: &Path) -> Result<Saved> {
    let mut file = MapFile::open(path)?;
    let names = file.names()?;
    let mut read = |name: &str| {
        if !names.iter().any(|known| known == name) {
            let (path, names) = (path.display(), names.join(", "));
            let message = format!("{path} has no array {name}, it has {names}");
            return Err(Usage::error(message, HINT));
        }
        let read = file.read(name);
        read.with_context(|| format!("array {name} of {}", path.display()))
    };
    let wrong = |name: &str, got: &[usize], expected: &str| {
        let message = format!(
            "array {name} of {} has the shape {got:?}, expected {expected}",
            path.display()
        );
        Usage::error(message, HINT)
    };
    let (shape, clean) = floats(read("clean")?);
    let &[3, height, width] = &shape[..] else {
        return Err(wrong("clean", &shape, "(3,H,W) of float32"));
    };
    let (shape, eps) = match read("eps")? {
        (shape, Map::Doubles(eps)) => (shape, eps),
        (shape, _) => (shape, Vec::new()),
    };
    let largest = (0..eps.len()).max_by(|a, b| eps[*a].total_cmp(&eps[*b]));
    let Some(largest) = largest else {
        return Err(wrong("eps", &shape, "budgets of float64"));
    };
    let (shape, attacked) = floats(read("attacked")?);
    let size = 3 * height * width;
    let fits = shape.len() == 5 && shape[0] > 0 && shape[1..] == [eps.len(), 3, height, width];
    if !fits || size == 0 || attacked.len() != shape[0] * eps.len() * size || clean.len() != size {
        let expected = format!("(criteria,{},3,{height},{width}) of float32", eps.len());
        return Err(wrong("attacked", &shape, &expected));
    }
    let id = path.file_stem().unwrap_or_default();
    Ok(Saved {
        id: id.to_string_lossy().into_owned(),
        size: [height, width],
        clean,
        attacked: attacked[largest * size..][..size].to_vec(),
        eps: eps[largest],
    })
}

/// None of numbers that are no f32.
fn floats((shape, map): (Vec<usize>, Map)) -> (Vec<usize>, Vec<f32>) {
    match map {
        Map::Floats(values) => (shape, values),
        _ => (shape, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use certiseg_net::data::write_arrays;

    fn folder(clean: &[usize], eps: &[f64]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let numbers = |count: usize| Map::Floats((0..count).map(|n| n as f32).collect());
        let (picture, attacked) = (numbers(6), numbers(24));
        let budgets = Map::Doubles(eps.to_vec());
        let arrays: [(&str, &[usize], &Map); 3] = [
            ("clean", clean, &picture),
            ("eps", &[eps.len()], &budgets),
            ("attacked", &[2, 2, 3, 1, 2], &attacked),
        ];
        write_arrays(&dir.path().join("a__b.npz"), &arrays).unwrap();
        dir
    }

    #[test]
    fn the_largest_budget_of_the_first_criterion_comes_back() {
        let dir = folder(&[3, 1, 2], &[0.1, 0.5]);
        let saved = read(dir.path(), ["a/b", "c"]).unwrap();
        assert_eq!((saved.len(), saved[0].id.as_str()), (1, "a/b"));
        assert_eq!((saved[0].size, saved[0].eps), ([1, 2], 0.5));
        assert_eq!(saved[0].attacked, [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    }

    #[test]
    fn other_shapes_are_refused() {
        for (clean, eps, words) in [
            (&[6usize][..], &[0.1, 0.5][..], "array clean"),
            (&[3, 1, 2], &[0.1], "array attacked"),
            (&[3, 1, 2], &[], "array eps"),
        ] {
            let error = read(folder(clean, eps).path(), []).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
        let map = Map::Bytes(vec![0]);
        let maps = tempfile::tempdir().unwrap();
        let arrays: [(&str, &[usize], &Map); 1] = [("prediction", &[1, 1], &map)];
        write_arrays(&maps.path().join("a.npz"), &arrays).unwrap();
        let error = read(maps.path(), []).unwrap_err().to_string();
        assert!(error.contains("has no array clean"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = read(empty.path(), []).unwrap_err().to_string();
        assert!(error.contains("holds no npz"), "{error}");
    }
}
