//! Attacked pictures of one picture as an `npz` archive, so that anyone can take the figures again:
//! `clean` (3, H, W) and `attacked` (criteria, budgets, 3, H, W) f32 in [0, 1], `labels` (H, W) u8,
//! `eps` (budgets) f32, rounded.

use std::path::Path;

use super::maps::{Map, write_arrays};
use super::npy::Kind;
use super::npz::Archive;
use super::{Sample, VOID};
use crate::Result;

const ATTACKED: &str = "attacked";

/// Writes the attacked pictures of a sample, of each criterion one per budget.
///
/// # Errors
/// [`Error::Write`].
///
/// [`Error::Write`]: crate::Error::Write
pub fn write_attacked(
    path: &Path,
    sample: &Sample,
    eps: &[f64],
    attacked: &[Vec<Vec<f32>>],
) -> Result<()> {
    let [height, width] = [sample.height, sample.width];
    let void = || vec![VOID; height * width];
    let labels = Map::Bytes(sample.mask.clone().unwrap_or_else(void));
    let clean = Map::Floats(sample.image_f32());
    let budgets = Map::Floats(eps.iter().map(|&eps| eps as f32).collect());
    let all = Map::Floats(attacked.concat().concat());
    write_arrays(
        path,
        &[
            ("clean", &[3, height, width], &clean),
            ("labels", &[height, width], &labels),
            ("eps", &[eps.len()], &budgets),
            (
                ATTACKED,
                &[attacked.len(), eps.len(), 3, height, width],
                &all,
            ),
        ],
    )
}

/// Reads attacked pictures of so many criteria and budgets, of a height and width.
///
/// # Errors
/// Those of the archive, [`Error::MissingArray`], [`Error::ArrayShape`], [`Error::ArrayType`].
///
/// [`Error::MissingArray`]: crate::Error::MissingArray
/// [`Error::ArrayShape`]: crate::Error::ArrayShape
/// [`Error::ArrayType`]: crate::Error::ArrayType
pub fn read_attacked(
    path: &Path,
    [criteria, budgets]: [usize; 2],
    [height, width]: [usize; 2],
) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut archive = Archive::open(path)?;
    let Some(mut array) = archive.array(ATTACKED)? else {
        return Err(archive.missing(ATTACKED)?);
    };
    let shape = [criteria, budgets, 3, height, width];
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
        all.push((0..budgets).map(|_| picture()).collect::<Result<_>>()?);
    }
    array.finish()?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let sample = Sample {
            id: "a".into(),
            height: 1,
            width: 2,
            mask: Some(vec![0, 255]),
            image: vec![0, 51, 102, 153, 204, 255],
        };
        let picture = |x: f32| vec![x, 0.1, 0.2, 0.3, 0.4, 0.5];
        let attacked = vec![
            vec![picture(0.0), picture(0.25)],
            vec![picture(0.5), picture(0.75)],
        ];
        write_attacked(&path, &sample, &[0.1, 0.2], &attacked).unwrap();
        assert_eq!(read_attacked(&path, [2, 2], [1, 2]).unwrap(), attacked);
        let other = read_attacked(&path, [1, 2], [1, 2]).unwrap_err();
        assert!(matches!(other, Error::ArrayShape { .. }));
    }
}
