//! Attacked pictures of one picture as an `npz` archive, so that anyone can take the figures again:
//! `clean` (3, H, W) and `attacked` (criteria, budgets, 3, H, W) f32 in [0, 1], `labels` (H, W) u8,
//! `eps` (budgets) f64.

use std::path::Path;

use super::maps::{Map, write_arrays};
use super::npy::Kind;
use super::npz::Archive;
use super::{Sample, VOID};
use crate::{Error, Result};

const ATTACKED: &str = "attacked";
const CLEAN: &str = "clean";
const LABELS: &str = "labels";
const EPS: &str = "eps";

/// Writes the attacked pictures of a sample, of each criterion one per budget.
///
/// # Errors
/// [`Error::Write`].
pub fn write_attacked(
    path: &Path,
    sample: &Sample,
    eps: &[f64],
    attacked: &[Vec<Vec<f32>>],
) -> Result<()> {
    let [height, width] = [sample.height, sample.width];
    let labels = Map::Bytes(labels(sample));
    let clean = Map::Floats(sample.image_f32());
    let budgets = Map::Doubles(eps.to_vec());
    let all = Map::Floats(attacked.concat().concat());
    write_arrays(
        path,
        &[
            (CLEAN, &[3, height, width], &clean),
            (LABELS, &[height, width], &labels),
            (EPS, &[eps.len()], &budgets),
            (
                ATTACKED,
                &[attacked.len(), eps.len(), 3, height, width],
                &all,
            ),
        ],
    )
}

/// Reads attacked pictures of a sample, of so many criteria one per budget. What else the archive holds
/// of the three other arrays must be the sample's picture and labels, and these budgets.
///
/// # Errors
/// Those of the archive, [`Error::MissingArray`], [`Error::ArrayShape`], [`Error::ArrayType`];
/// [`Error::Setting`] for another picture, other labels or budgets.
pub fn read_attacked(
    path: &Path,
    sample: &Sample,
    eps: &[f64],
    criteria: usize,
) -> Result<Vec<Vec<Vec<f32>>>> {
    let [height, width] = [sample.height, sample.width];
    let mut archive = Archive::open(path)?;
    let clean: Vec<f64> = sample.image_f32().into_iter().map(f64::from).collect();
    let labels: Vec<f64> = labels(sample).into_iter().map(f64::from).collect();
    agree(&mut archive, path, CLEAN, &[3, height, width], &clean)?;
    agree(&mut archive, path, LABELS, &[height, width], &labels)?;
    agree(&mut archive, path, EPS, &[eps.len()], eps)?;
    let Some(mut array) = archive.array(ATTACKED)? else {
        return Err(archive.missing(ATTACKED)?);
    };
    let shape = [criteria, eps.len(), 3, height, width];
    if array.shape != shape {
        return Err(array.wrong_shape(format!("{shape:?}: criteria, budgets, 3, height, width")));
    }
    if array.number.kind != Kind::Float || array.number.bytes > 4 {
        return Err(array.wrong_type("float32 or float16"));
    }
    let number = array.number;
    let mut picture = || {
        let bytes = array.take(3 * height * width)?;
        let numbers = bytes.chunks_exact(number.bytes);
        Ok(numbers.map(|chunk| number.float(chunk) as f32).collect())
    };
    let mut all = Vec::new();
    for _ in 0..criteria {
        all.push((0..eps.len()).map(|_| picture()).collect::<Result<_>>()?);
    }
    array.finish()?;
    Ok(all)
}

fn labels(sample: &Sample) -> Vec<u8> {
    let void = || vec![VOID; sample.height * sample.width];
    sample.mask.clone().unwrap_or_else(void)
}

/// An error where an array is there and does not hold these numbers, or those nearest to them in f32.
fn agree(
    archive: &mut Archive,
    path: &Path,
    name: &'static str,
    shape: &[usize],
    expected: &[f64],
) -> Result<()> {
    let Some(mut array) = archive.array(name)? else {
        return Ok(());
    };
    if array.shape != shape {
        return Err(array.wrong_shape(format!("{shape:?}, as in this run")));
    }
    let number = array.number;
    let bytes = array.take(expected.len())?;
    for (chunk, &expected) in bytes.chunks_exact(number.bytes).zip(expected) {
        let got = match number.kind {
            Kind::Float => number.float(chunk),
            Kind::Signed | Kind::Unsigned => number.integer(chunk) as f64,
        };
        if got != expected && got != f64::from(expected as f32) {
            let field = format!("a number of {name:?} in {}", path.display());
            let expected = format!("{expected}, as in this run");
            return Err(Error::setting(field, got.to_string(), expected));
        }
    }
    array.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            id: "a".into(),
            height: 1,
            width: 2,
            mask: Some(vec![0, 255]),
            image: vec![0, 51, 102, 153, 204, 255],
        }
    }

    fn pictures() -> Vec<Vec<Vec<f32>>> {
        let picture = |x: f32| vec![x, 0.1, 0.2, 0.3, 0.4, 0.5];
        vec![
            vec![picture(0.0), picture(0.25)],
            vec![picture(0.5), picture(0.75)],
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let (sample, attacked) = (sample(), pictures());
        // 0.7 in f32 is less
        let eps = [0.1, 0.7];
        write_attacked(&path, &sample, &eps, &attacked).unwrap();
        assert_eq!(read_attacked(&path, &sample, &eps, 2).unwrap(), attacked);
        let mut archive = Archive::open(&path).unwrap();
        let mut saved = archive.array(EPS).unwrap().unwrap();
        assert_eq!(saved.take(2).unwrap(), eps.map(f64::to_le_bytes).concat());
        let other = read_attacked(&path, &sample, &eps, 1).unwrap_err();
        assert!(matches!(other, Error::ArrayShape { .. }));
    }

    #[test]
    fn pictures_of_another_run_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let (sample, eps) = (sample(), [0.1, 0.7]);
        write_attacked(&path, &sample, &eps, &pictures()).unwrap();
        let refused = |sample: &Sample, eps: &[f64]| {
            let error = read_attacked(&path, sample, eps, 2).unwrap_err();
            error.to_string()
        };
        let mut other = sample.clone();
        other.image[1] = 255;
        let words = refused(&other, &eps);
        assert!(words.contains("\"clean\"") && words.contains("expected 1,"));
        let mut other = sample.clone();
        other.mask = Some(vec![0, 1]);
        let words = refused(&other, &eps);
        assert!(words.contains("is 255, expected 1,"), "{words}");
        let words = refused(&sample, &[0.1, 0.6]);
        assert!(words.contains("is 0.7, expected 0.6,"), "{words}");
        let words = refused(&sample, &[0.1]);
        assert!(words.contains("eps"), "{words}");
        // as programs that keep f32 save it
        let rounded = [0.1f32, 0.7].map(f64::from);
        write_attacked(&path, &sample, &rounded, &pictures()).unwrap();
        assert!(read_attacked(&path, &sample, &eps, 2).is_ok());
    }
}
