//! Pictures and maps as text: photographs as JPEG, maps as deflated bytes, both in base64. Maps are not PNG, since
//! some browsers change the pixels that a page reads back from a picture; bytes stay what they are.

use std::io::{Cursor, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use serde::Serialize;

use super::budgets::levels;
use crate::{Error, Picture, Result};

/// Quality of photographs: they are looked at, nothing is computed from them.
const QUALITY: u8 = 80;
/// Bytes of text for all pictures; what does not fit is left out, maps of later metrics first.
pub const ROOM: usize = 4_300_000;

/// A picture in the document.
#[derive(Clone, Debug, Serialize)]
pub struct Packed {
    /// Height, width.
    pub size: [usize; 2],
    /// The photograph as a `data:` address; none for logits of others.
    pub photo: Option<String>,
    /// Whether there is a label among the planes.
    pub labelled: bool,
    /// Names of the metrics whose levels are among the planes, in order.
    pub levels: Vec<String>,
    /// base64 of zlib of planes (H, W) of bytes, one behind the other: the predicted class, the label where there is
    /// one (255: does not count), and per metric the level: the first position at which the pixel may be taken.
    pub planes: String,
}

impl Packed {
    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        self.planes.len() + self.photo.as_ref().map_or(0, String::len)
    }
}

/// Packs a picture with the levels of at most so many metrics, given by the names of their maps and their own.
///
/// # Errors
/// [`Error::Picture`] for maps of other sizes.
pub fn pack(picture: &Picture, positions: &[f64], metrics: &[(String, String)]) -> Result<Packed> {
    let [height, width] = picture.size;
    let pixels = height * width;
    let wrong = |reason: String| Error::Picture {
        id: picture.id.clone(),
        reason,
    };
    let fits = |name: &str, got: usize, expected: usize| match got == expected {
        true => Ok(()),
        false => Err(wrong(format!(
            "{name} has {got} numbers, expected {expected} for {height}x{width}"
        ))),
    };
    fits("prediction", picture.prediction.len(), pixels)?;
    let mut planes = picture.prediction.clone();
    if let Some(label) = &picture.label {
        fits("label", label.len(), pixels)?;
        planes.extend(label);
    }
    let mut names = Vec::new();
    for (map, metric) in metrics {
        let Some(budgets) = picture.budgets.get(map) else {
            continue;
        };
        fits(map, budgets.len(), pixels)?;
        planes.extend(levels(positions, budgets));
        names.push(metric.clone());
    }
    let photo = match &picture.image {
        None => None,
        Some(image) => {
            fits("image", image.len(), 3 * pixels)?;
            let jpeg = jpeg(image, picture.size).map_err(|error| wrong(error.to_string()))?;
            Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
        }
    };
    let deflated = deflate(&planes).map_err(|error| wrong(error.to_string()))?;
    Ok(Packed {
        size: picture.size,
        photo,
        labelled: picture.label.is_some(),
        levels: names,
        planes: STANDARD.encode(deflated),
    })
}

fn deflate(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn jpeg(image: &[u8], [height, width]: [usize; 2]) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder.write_image(image, width as u32, height as u32, ExtendedColorType::Rgb8)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    /// A smooth photograph under maps like noise, the worst case that is not itself noise.
    pub fn noisy(id: &str, side: usize) -> Picture {
        let mut state = 1u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let pixels = side * side;
        let budgets = (0..pixels).map(|_| next() as f32 / 5e5).collect();
        let blob = |at: usize| u8::from((at / side + at % side) % 97 < 40);
        let photo = |at: usize| [at / side, at % side, at / 256].map(|value| (value % 256) as u8);
        Picture {
            id: id.into(),
            size: [side, side],
            image: Some((0..pixels).flat_map(photo).collect()),
            label: Some((0..pixels).map(blob).collect()),
            prediction: (0..pixels).map(|at| blob(at + 3)).collect(),
            radius: vec![0.0; pixels],
            budgets: BTreeMap::from([("budget_accuracy".to_owned(), budgets)]),
        }
    }

    fn accuracy() -> [(String, String); 1] {
        [("budget_accuracy".into(), "accuracy".into())]
    }

    #[test]
    fn planes_come_back_to_the_byte() {
        let picture = noisy("a", 16);
        let positions = [0.0, 1.0, 10.0];
        let packed = pack(&picture, &positions, &accuracy()).unwrap();
        let bytes = STANDARD.decode(&packed.planes).unwrap();
        let mut planes = Vec::new();
        flate2::read::ZlibDecoder::new(&bytes[..])
            .read_to_end(&mut planes)
            .unwrap();
        let budgets = &picture.budgets["budget_accuracy"];
        let parts = [
            picture.prediction.clone(),
            picture.label.clone().unwrap(),
            levels(&positions, budgets),
        ];
        assert_eq!(planes, parts.concat());
        assert_eq!(packed.levels, ["accuracy"]);
        assert!(
            packed
                .photo
                .unwrap()
                .starts_with("data:image/jpeg;base64,/9j/")
        );
    }

    #[test]
    fn maps_of_another_size_are_named() {
        let picture = Picture {
            label: Some(vec![0; 3]),
            ..noisy("a", 4)
        };
        let error = pack(&picture, &[0.0], &accuracy()).unwrap_err().to_string();
        assert_eq!(error, "picture a: label has 3 numbers, expected 16 for 4x4");
    }
}
