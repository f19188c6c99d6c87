//! The rows of a head from anywhere: an `npz` archive with `weight` (K, C) or (K, C, 1, 1), as
//! `torch.nn.Linear` and a 1x1 convolution have it.

use std::path::Path;

use certiseg_cert::ClassHead;

use super::npy::Kind;
use super::npz::Archive;
use crate::Result;

const WEIGHT: &str = "weight";

/// Reads a head. Its numbers must be f32 values, exactly: a rounded row is another head.
///
/// # Errors
/// Those of the archive, [`Error::MissingArray`], [`Error::ArrayShape`], [`Error::ArrayType`], [`Error::Cert`].
///
/// [`Error::MissingArray`]: crate::Error::MissingArray
/// [`Error::ArrayShape`]: crate::Error::ArrayShape
/// [`Error::ArrayType`]: crate::Error::ArrayType
/// [`Error::Cert`]: crate::Error::Cert
pub fn read_head(path: &Path) -> Result<ClassHead> {
    let mut archive = Archive::open(path)?;
    let Some(mut weight) = archive.array(WEIGHT)? else {
        return Err(archive.missing(WEIGHT)?);
    };
    let (classes, features) = match weight.shape[..] {
        [classes, features] | [classes, features, 1, 1] => (classes, features),
        _ => return Err(weight.wrong_shape("(classes, features) or (classes, features, 1, 1)")),
    };
    let Some(count) = classes.checked_mul(features).filter(|&n| n <= 1 << 28) else {
        return Err(weight.wrong_shape("at most 2^28 numbers"));
    };
    if weight.number.kind != Kind::Float {
        return Err(weight.wrong_type("float32 or float16"));
    }
    let number = weight.number;
    let bytes = weight.take(count)?;
    weight.finish()?;
    let values: Vec<f64> = bytes
        .chunks_exact(number.bytes)
        .map(|chunk| number.float(chunk))
        .collect();
    // NaN and infinity are refused by the judge, which names them
    let inexact = |v: &f64| v.is_finite() && f64::from(*v as f32) != *v;
    if values.iter().any(inexact) {
        return Err(weight.wrong_type("float32 values: a rounded row is another head"));
    }
    let rows = values.into_iter().map(|v| v as f32).collect();
    Ok(ClassHead::new(classes, rows)?)
}

#[cfg(test)]
mod tests {
    use super::super::npy::tests::npy;
    use super::super::npz::tests::save;
    use super::*;
    use crate::Error;
    use zip::CompressionMethod::Stored;

    fn read(descr: &str, shape: &str, bytes: &[u8]) -> Result<ClassHead> {
        let (_dir, path) = save(&[(WEIGHT, npy(descr, "False", shape, bytes))], Stored);
        read_head(&path)
    }

    #[test]
    fn rows_of_linear_layers_and_of_convolutions() {
        let singles = [1f32, 0.0, 0.6, 0.8].map(f32::to_le_bytes).concat();
        let expected = ClassHead::new(2, vec![1.0, 0.0, 0.6, 0.8]).unwrap();
        assert_eq!(read("<f4", "(2, 2)", &singles).unwrap(), expected);
        assert_eq!(read("<f4", "(2, 2, 1, 1)", &singles).unwrap(), expected);
        let doubles = [1.0, 0.0, f64::from(0.6f32), f64::from(0.8f32)].map(f64::to_le_bytes);
        assert_eq!(read("<f8", "(2, 2)", &doubles.concat()).unwrap(), expected);
    }

    #[test]
    fn heads_that_are_none() {
        let doubles = [1.0, 0.0, 0.6, 0.8].map(f64::to_le_bytes).concat();
        let inexact = read("<f8", "(2, 2)", &doubles);
        assert!(matches!(inexact, Err(Error::ArrayType { .. })));
        assert!(matches!(
            read("<f8", "(4,)", &doubles),
            Err(Error::ArrayShape { .. })
        ));
        assert!(matches!(
            read("<f8", "(2, 1, 2, 1)", &doubles),
            Err(Error::ArrayShape { .. })
        ));
        assert!(matches!(
            read("<i8", "(2, 2)", &doubles),
            Err(Error::ArrayType { .. })
        ));
        assert!(matches!(
            read("<f8", "(1, 4)", &[0; 32]),
            Err(Error::Cert(_))
        ));
        let nan = [f32::NAN, 0.0].map(f32::to_le_bytes).concat();
        assert!(matches!(read("<f4", "(2, 1)", &nan), Err(Error::Cert(_))));
        let (_dir, path) = save(&[("rows", npy("<f4", "False", "(2, 1)", &[0; 8]))], Stored);
        assert!(matches!(read_head(&path), Err(Error::MissingArray { .. })));
    }
}
