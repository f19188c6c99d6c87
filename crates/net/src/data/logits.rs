//! Logits from anywhere: an `npz` archive with `logits` (N, K, H, W) and optionally `labels` (N, H, W), read image by
//! image, so that memory holds one image however long the archive.

use std::path::{Path, PathBuf};

use super::VOID;
use super::npy::{Kind, Number};
use super::npz::{Archive, Array};
use crate::{Error, Result};

const LOGITS: &str = "logits";
const LABELS: &str = "labels";

/// The images of an archive, in order. Ends after the first error.
pub struct LogitsFile {
    path: PathBuf,
    checksums: String,
    logits: Array,
    labels: Option<Array>,
    ignore: i64,
    /// N, K, H, W.
    shape: [usize; 4],
    next: usize,
}

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct LogitsImage {
    /// (K, H, W), as they are in the file: NaN and infinity are not checked here.
    pub logits: Vec<f32>,
    /// (H, W), class indices or 255.
    pub labels: Option<Vec<u8>>,
    /// Largest |logit here - logit in the file|, exact: 0 unless the file has float64. Add it to the logits' error eta.
    /// Infinite where a finite number became infinite.
    pub rounding: f64,
}

impl LogitsFile {
    /// Opens an archive and checks the shapes and types of its arrays; `ignore` is the label of pixels without a class.
    ///
    /// The images come by iteration: [`Error::Truncated`], [`Error::LabelValue`], [`Error::ArrayHeader`] (more numbers
    /// than the shape says). The archive's checksums are compared at the last image: what was computed from the images
    /// before stands only when that one has come.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::NotNpz`], [`Error::Truncated`], [`Error::MissingArray`], [`Error::ArrayHeader`],
    /// [`Error::ArrayType`], [`Error::FortranOrder`], [`Error::ArrayShape`].
    pub fn open(path: &Path, ignore: i64) -> Result<Self> {
        let mut archive = Archive::open(path)?;
        let Some(logits) = archive.array(LOGITS)? else {
            return Err(archive.missing(LOGITS)?);
        };
        let &[images, classes, height, width] = &logits.shape[..] else {
            return Err(logits.wrong_shape("(images, classes, height, width)"));
        };
        let shape = [images, classes, height, width];
        let bytes = shape
            .iter()
            .try_fold(8usize, |bytes, &size| bytes.checked_mul(size));
        if bytes.is_none_or(|bytes| bytes == 0) || !(2..=usize::from(VOID)).contains(&classes) {
            return Err(logits.wrong_shape("at least one image and pixel, and 2 to 255 classes"));
        }
        if logits.number.kind != Kind::Float {
            return Err(logits.wrong_type("float32, float64 or float16"));
        }
        let labels = archive.array(LABELS)?;
        if let Some(labels) = &labels {
            if labels.shape != [images, height, width] {
                let expected = format!("{:?}, as logits have {shape:?}", [images, height, width]);
                return Err(labels.wrong_shape(expected));
            }
            if labels.number.kind == Kind::Float {
                return Err(labels.wrong_type("an integer type of 8 to 64 bits"));
            }
        }
        Ok(Self {
            path: path.into(),
            checksums: archive.checksums()?,
            logits,
            labels,
            ignore,
            shape,
            next: 0,
        })
    }

    /// Name, size and checksum of every array, as the archive states them.
    pub fn checksums(&self) -> &str {
        &self.checksums
    }

    /// K, H, W.
    pub fn shape(&self) -> [usize; 3] {
        let [_, classes, height, width] = self.shape;
        [classes, height, width]
    }

    /// Are there labels?
    pub fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    fn read(&mut self) -> Result<LogitsImage> {
        let [images, classes, height, width] = self.shape;
        let number = self.logits.number;
        let bytes = self.logits.take(classes * height * width)?;
        let mut rounding = 0f64;
        let logits = bytes.chunks_exact(number.bytes).map(|chunk| {
            let exact = number.float(chunk);
            let rounded = exact as f32;
            // exact by Sterbenz's lemma; NaN where both are infinite or NaN, and `max` leaves NaN out
            rounding = rounding.max((f64::from(rounded) - exact).abs());
            rounded
        });
        let logits = logits.collect();
        let labels = match &mut self.labels {
            None => None,
            Some(array) => Some((array.take(height * width)?, array.number)),
        };
        let classes = |(bytes, number): (Vec<u8>, Number)| {
            let values = bytes
                .chunks_exact(number.bytes)
                .map(|chunk| number.integer(chunk));
            values
                .enumerate()
                .map(|(i, value)| self.class(i, value))
                .collect::<Result<Vec<u8>>>()
        };
        let labels = labels.map(classes).transpose()?;
        if self.next + 1 == images {
            self.logits.finish()?;
            self.labels.as_mut().map_or(Ok(()), Array::finish)?;
        }
        Ok(LogitsImage {
            logits,
            labels,
            rounding,
        })
    }

    /// The class of pixel `i` of the next image.
    fn class(&self, i: usize, value: i128) -> Result<u8> {
        let [_, classes, _, width] = self.shape;
        match u8::try_from(value) {
            _ if value == i128::from(self.ignore) => Ok(VOID),
            Ok(class) if usize::from(class) < classes => Ok(class),
            _ => Err(Error::LabelValue {
                path: self.path.clone(),
                image: self.next,
                value,
                row: i / width,
                column: i % width,
                classes,
                ignore: self.ignore,
            }),
        }
    }
}

impl Iterator for LogitsFile {
    type Item = Result<LogitsImage>;

    fn next(&mut self) -> Option<Self::Item> {
        let images = self.shape[0];
        (self.next < images).then(|| {
            let image = self.read();
            self.next = if image.is_ok() { self.next + 1 } else { images };
            image
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.shape[0] - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for LogitsFile {}

#[cfg(test)]
mod tests {
    use zip::CompressionMethod;

    use super::super::npy::tests::npy;
    use super::super::npz::tests::save;
    use super::*;

    fn logits(shape: &str, values: &[f32]) -> (&'static str, Vec<u8>) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (LOGITS, npy("<f4", "False", shape, &bytes))
    }

    fn labels(shape: &str, values: &[u8]) -> (&'static str, Vec<u8>) {
        (LABELS, npy("|u1", "False", shape, values))
    }

    fn read(arrays: &[(&str, Vec<u8>)]) -> Result<Vec<LogitsImage>> {
        let (_dir, path) = save(arrays, CompressionMethod::Stored);
        LogitsFile::open(&path, -1)?.collect()
    }

    /// 2 images, 2 classes, 1x3 pixels.
    const SHAPE: &str = "(2, 2, 1, 3)";

    fn numbers() -> Vec<f32> {
        (0..12).map(|i| i as f32 / 4.0 - 1.0).collect()
    }

    #[test]
    fn images_come_one_by_one_stored_or_deflated() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let other = ("images", b"anything".to_vec());
            let (_dir, path) = save(
                &[
                    other,
                    labels("(2, 1, 3)", &[0, 1, 1, 1, 0, 0]),
                    logits(SHAPE, &numbers()),
                ],
                method,
            );
            let mut file = LogitsFile::open(&path, -1).unwrap();
            assert_eq!(
                (file.shape(), file.has_labels(), file.len()),
                ([2, 1, 3], true, 2)
            );
            let first = file.next().unwrap().unwrap();
            let half = |from: usize| numbers()[from..from + 6].to_vec();
            let expected = LogitsImage {
                logits: half(0),
                labels: Some(vec![0, 1, 1]),
                rounding: 0.0,
            };
            assert_eq!((first, file.len()), (expected, 1));
            let second = file.next().unwrap().unwrap();
            let expected = LogitsImage {
                logits: half(6),
                labels: Some(vec![1, 0, 0]),
                rounding: 0.0,
            };
            assert_eq!(second, expected);
            assert!(file.next().is_none());
        }
    }

    #[test]
    fn an_error_is_the_last_item() {
        let (_dir, path) = save(&[logits(SHAPE, &numbers()[..7])], CompressionMethod::Stored);
        let mut file = LogitsFile::open(&path, -1).unwrap();
        assert!(file.next().unwrap().is_ok());
        assert!(matches!(file.next(), Some(Err(Error::Truncated { .. }))));
        assert!(file.next().is_none());
    }

    #[test]
    fn labels_are_optional() {
        assert!(
            read(&[logits(SHAPE, &numbers())])
                .unwrap()
                .iter()
                .all(|image| image.labels.is_none())
        );
    }

    #[test]
    fn float64_is_rounded_and_says_by_how_much() {
        let values = [0.1f64, 1.0, -3.0, 1e-60, f64::NAN, f64::INFINITY];
        for (descr, bytes) in [
            ("<f8", values.map(f64::to_le_bytes)),
            (">f8", values.map(f64::to_be_bytes)),
        ] {
            let image = read(&[(
                LOGITS,
                npy(descr, "False", "(1, 2, 1, 3)", bytes.as_flattened()),
            )])
            .unwrap()
            .remove(0);
            assert_eq!(image.logits[..4], [0.1, 1.0, -3.0, 0.0]);
            assert!(
                image.logits[4].is_nan() && image.logits[5] == f32::INFINITY,
                "left to the judge"
            );
            // 0.1 is 0xcccccd·2^-27 in f32
            assert_eq!(
                image.rounding,
                f64::from(0xcccccd) / f64::from(1 << 27) - 0.1
            );
        }
        let huge = [1e300f64, 0.0].map(f64::to_le_bytes);
        let image = read(&[(
            LOGITS,
            npy("<f8", "False", "(1, 2, 1, 1)", huge.as_flattened()),
        )])
        .unwrap()
        .remove(0);
        assert_eq!(image.rounding, f64::INFINITY);
    }

    #[test]
    fn float16_is_read_without_rounding() {
        let bytes = [0x3c00u16, 0xc000].map(u16::to_le_bytes);
        let array = npy("<f2", "False", "(1, 2, 1, 1)", bytes.as_flattened());
        let image = read(&[(LOGITS, array)]).unwrap().remove(0);
        assert_eq!((&image.logits[..], image.rounding), (&[1.0, -2.0][..], 0.0));
    }

    #[test]
    fn labels_of_any_integer_type_are_read() {
        let values = [-1i64, 0, 1];
        for (descr, size) in [
            ("|i1", 1),
            ("<i2", 2),
            ("<i4", 4),
            ("<i8", 8),
            (">i4", 4),
            (">i8", 8),
        ] {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|v| match descr.starts_with('>') {
                    true => v.to_be_bytes()[8 - size..].to_vec(),
                    false => v.to_le_bytes()[..size].to_vec(),
                })
                .collect();
            let arrays = [
                logits("(1, 2, 1, 3)", &numbers()[..6]),
                (LABELS, npy(descr, "False", "(1, 1, 3)", &bytes)),
            ];
            assert_eq!(
                read(&arrays).unwrap()[0].labels.as_deref(),
                Some(&[VOID, 0, 1][..]),
                "{descr}"
            );
        }
    }

    #[test]
    fn label_value() {
        let error = read(&[
            logits(SHAPE, &numbers()),
            labels("(2, 1, 3)", &[0, 1, 1, 0, 2, 0]),
        ])
        .unwrap_err();
        assert!(
            matches!(
                error,
                Error::LabelValue {
                    image: 1,
                    value: 2,
                    row: 0,
                    column: 1,
                    classes: 2,
                    ..
                }
            ),
            "{error}"
        );
        let largest = [u64::MAX, 0, 0].map(u64::to_le_bytes);
        let arrays = [
            logits("(1, 2, 1, 3)", &numbers()[..6]),
            (
                LABELS,
                npy("<u8", "False", "(1, 1, 3)", largest.as_flattened()),
            ),
        ];
        assert!(
            matches!(read(&arrays), Err(Error::LabelValue { value, .. }) if value == u64::MAX.into()),
            "not -1"
        );
    }

    #[test]
    fn missing_array() {
        let error = read(&[("scores", b"x".to_vec()), labels("(2, 1, 3)", &[0; 6])]).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with(r#"has no array "logits", it has scores, labels"#),
            "{error}"
        );
        assert!(matches!(read(&[]), Err(Error::MissingArray { found, .. }) if found == "none"));
    }

    #[test]
    fn array_header() {
        let good = logits(SHAPE, &numbers()).1;
        let mut long = numbers();
        long.push(0.0);
        let version = [&good[..6], &[9], &good[7..]].concat();
        let bad = [
            version,
            npy("<f4", "Maybe", SHAPE, &[]),
            npy("<f4", "False", "7", &[]),
            npy("<f4", "False", "(a,)", &[]),
            logits(SHAPE, &long).1,
        ];
        for array in bad {
            let error = read(&[(LOGITS, array)]).unwrap_err();
            assert!(matches!(error, Error::ArrayHeader { .. }), "{error}");
        }
    }

    #[test]
    fn array_type() {
        for descr in ["<c8", "|O", "<f16", "|b1", "<i4", "=f4", "|V2"] {
            let error = read(&[(LOGITS, npy(descr, "False", SHAPE, &[0; 192]))]).unwrap_err();
            assert!(
                matches!(error, Error::ArrayType { name: LOGITS, .. }),
                "{descr}: {error}"
            );
        }
        let floats = (LABELS, npy("<f4", "False", "(2, 1, 3)", &[0; 24]));
        let error = read(&[logits(SHAPE, &numbers()), floats]).unwrap_err();
        assert!(matches!(error, Error::ArrayType { name: LABELS, got, .. } if got == "float32"));
    }

    #[test]
    fn fortran_order() {
        let error = read(&[(LOGITS, npy("<f4", "True", SHAPE, &[0; 48]))]).unwrap_err();
        assert!(matches!(error, Error::FortranOrder { name: LOGITS, .. }));
        assert!(error.hint().unwrap().contains("ascontiguousarray(logits)"));
    }

    #[test]
    fn array_shape() {
        let huge = "(1, 2, 4294967296, 4294967296)";
        for shape in [
            "(2, 1, 3)",
            "()",
            "(0, 2, 1, 3)",
            "(1, 256, 1, 1)",
            "(1, 0, 1, 1)",
            huge,
        ] {
            let error = read(&[logits(shape, &numbers())]).unwrap_err();
            assert!(
                matches!(error, Error::ArrayShape { name: LOGITS, .. }),
                "{shape}: {error}"
            );
        }
        let error = read(&[logits(SHAPE, &numbers()), labels("(2, 3, 1)", &[0; 6])]).unwrap_err();
        assert!(matches!(error, Error::ArrayShape { name: LABELS, .. }));
    }
}
