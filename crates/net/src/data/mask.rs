//! Masks: from the values in a file to class indices.

use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::VOID;
use super::decode::{Care, Format, Picture, read};
use crate::{Error, Result};

/// What the values in a mask file mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskRule {
    /// Class indices as they are. The other rules but [`MaskRule::Threshold`] read indices too.
    Index,
    /// Brightness above 128: class 1, else 0 (Kvasir-SEG: JPEG, so every value is blurred).
    Threshold,
    /// 1, 2, 3 are the classes 0, 1, 2 (Oxford-IIIT Pet).
    Trimap,
    /// 11 is void (CamVid as SegNet has it).
    Camvid,
    /// `labelIds` to the 19 `trainIds`, all else void (Cityscapes).
    Cityscapes,
    /// One more than the class, 0 and 255 are void (Pascal Context, 59 classes).
    OneBased,
}

/// labelId of each trainId of Cityscapes.
const CITYSCAPES: [u8; 19] = [
    7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33,
];

/// (H, W) values of a mask file.
pub(super) struct Mask {
    pub(super) size: [usize; 2],
    pub(super) values: Vec<u8>,
}

impl MaskRule {
    /// The class of a value in the file, [`VOID`] for none; `None` for a value that may not be there.
    pub fn class(self, value: u8) -> Option<u8> {
        match self {
            MaskRule::Index => Some(value),
            MaskRule::Threshold => Some(u8::from(value > 128)),
            MaskRule::Trimap => (1..=3).contains(&value).then(|| value - 1),
            MaskRule::Camvid => Some(if value == 11 { VOID } else { value }),
            MaskRule::Cityscapes => {
                let train_id = CITYSCAPES.iter().position(|&id| id == value);
                Some(train_id.map_or(VOID, |id| id as u8))
            }
            MaskRule::OneBased => Some(if matches!(value, 0 | VOID) {
                VOID
            } else {
                value - 1
            }),
        }
    }

    /// The values in a file.
    pub(super) fn open(self, path: &Path) -> Result<Mask> {
        match self {
            MaskRule::Threshold => brightness(path),
            _ => indices(path),
        }
    }

    /// Class indices below `classes` or [`VOID`]; those equal to `ignore` or 255 become [`VOID`].
    pub(super) fn classes(
        self,
        id: &str,
        mask: Mask,
        classes: usize,
        ignore: u8,
    ) -> Result<Vec<u8>> {
        let table: [Option<u8>; 256] = std::array::from_fn(|value| match self.class(value as u8) {
            Some(class) if class == ignore || class == VOID => Some(VOID),
            Some(class) if usize::from(class) < classes => Some(class),
            _ => None,
        });
        let is_bad = table.each_ref().map(Option::is_none);
        let bad = mask.values.iter().position(|&v| is_bad[usize::from(v)]);
        if let Some(i) = bad {
            return Err(Error::MaskValue {
                id: id.into(),
                value: mask.values[i],
                row: i / mask.size[1],
                column: i % mask.size[1],
                classes,
                ignore,
            });
        }
        let table = table.map(|class| class.unwrap_or(VOID));
        let mut values = mask.values;
        for value in &mut values {
            *value = table[usize::from(*value)];
        }
        Ok(values)
    }
}

/// Mean of red, green and blue, rounded up.
fn brightness(path: &Path) -> Result<Mask> {
    let picture = Picture::open(path, Care::Strict)?;
    let size = picture.size();
    let pixels = picture.into_pixels();
    let mut values = vec![0; pixels.len() / 3];
    for (value, pixel) in values.iter_mut().zip(pixels.chunks_exact(3)) {
        let sum = u16::from(pixel[0]) + u16::from(pixel[1]) + u16::from(pixel[2]);
        *value = sum.div_ceil(3) as u8;
    }
    Ok(Mask { size, values })
}

/// The raw samples of a palette or grey PNG of 1, 2, 4 or 8 bits: not the colours of the palette, not scaled.
fn indices(path: &Path) -> Result<Mask> {
    let (format, bytes) = read(path, Care::Strict)?;
    let colours = |got: &str| Error::MaskNotIndexed {
        path: path.into(),
        got: got.into(),
    };
    if format == Format::Jpeg {
        return Err(colours("a JPEG, whose values are blurred"));
    }
    let undecodable = |error: png::DecodingError| Error::Undecodable {
        path: path.into(),
        reason: error.to_string(),
    };
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(undecodable)?;
    let (colour, depth) = reader.output_color_type();
    match colour {
        _ if depth == BitDepth::Sixteen => return Err(Error::SixteenBit { path: path.into() }),
        ColorType::Indexed | ColorType::Grayscale => {}
        ColorType::GrayscaleAlpha => return Err(colours("grey with alpha")),
        ColorType::Rgb => return Err(colours("RGB")),
        ColorType::Rgba => return Err(colours("RGBA")),
    }
    let too_large = || Error::Undecodable {
        path: path.into(),
        reason: "larger than memory".into(),
    };
    let mut packed = vec![0; reader.output_buffer_size().ok_or_else(too_large)?];
    let frame = reader.next_frame(&mut packed).map_err(undecodable)?;
    let size = [frame.height as usize, frame.width as usize];
    // rows begin at whole bytes, the first pixel in the highest bits
    let bits = depth as usize;
    let value = |row: &[u8], x: usize| {
        row[x * bits / 8] >> (8 - bits - x * bits % 8) & (u8::MAX >> (8 - bits))
    };
    let rows = packed.chunks_exact(frame.line_size).take(size[0]);
    Ok(Mask {
        size,
        values: rows
            .flat_map(|row| (0..size[1]).map(move |x| value(row, x)))
            .collect(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::PathBuf;

    use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};

    use super::super::decode::tests::save;
    use super::*;

    /// Saves indices as a palette PNG whose colours are nowhere near them.
    pub fn save_palette(values: &[u8], width: u32, depth: BitDepth, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let height = values.len() as u32 / width;
        let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
        encoder.set_color(ColorType::Indexed);
        encoder.set_depth(depth);
        encoder.set_palette(
            (0..3 << (depth as u32))
                .map(|i| 255 - (i * 7 % 251) as u8)
                .collect::<Vec<u8>>(),
        );
        let per_byte = 8 / depth as usize;
        let pack = |part: &[u8]| {
            (0..per_byte).fold(0, |byte, i| {
                byte << (depth as usize % 8) | part.get(i).unwrap_or(&0)
            })
        };
        let packed: Vec<u8> = values
            .chunks(width as usize)
            .flat_map(|row| row.chunks(per_byte).map(pack))
            .collect();
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&packed)
            .unwrap();
    }

    fn scratch(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        (folder, path)
    }

    fn value(rule: MaskRule, values: &[u8], classes: usize, ignore: u8) -> Result<Vec<u8>> {
        rule.classes(
            "a",
            Mask {
                size: [1, values.len()],
                values: values.to_vec(),
            },
            classes,
            ignore,
        )
    }

    #[test]
    fn palettes_are_read_by_index_at_every_depth() {
        for (depth, top) in [
            (BitDepth::One, 1u8),
            (BitDepth::Two, 3),
            (BitDepth::Four, 15),
            (BitDepth::Eight, 255),
        ] {
            let (_folder, path) = scratch("a.png");
            // 7 columns: the last byte of a packed row is half empty
            let values: Vec<u8> = (0..21u8).map(|i| i.wrapping_mul(37) & top).collect();
            save_palette(&values, 7, depth, &path);
            let mask = MaskRule::Index.open(&path).unwrap();
            assert_eq!((mask.size, mask.values), ([3, 7], values), "{depth:?}");
        }
    }

    #[test]
    fn grey_is_read_by_value() {
        let (_folder, path) = scratch("a.png");
        save(GrayImage::from_raw(3, 1, vec![0, 1, 255]).unwrap(), &path);
        assert_eq!(MaskRule::Index.open(&path).unwrap().values, [0, 1, 255]);
        let mut encoder = png::Encoder::new(fs::File::create(&path).unwrap(), 3, 1);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::One);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&[0b0110_0000])
            .unwrap();
        assert_eq!(
            MaskRule::Index.open(&path).unwrap().values,
            [0, 1, 1],
            "not scaled to 255"
        );
        assert_eq!(
            MaskRule::Threshold.open(&path).unwrap().values,
            [0, 255, 255],
            "brightness is"
        );
    }

    #[test]
    fn thresholds_read_jpegs() {
        let (_folder, path) = scratch("a.jpg");
        save(
            RgbImage::from_fn(32, 16, |x, _| image::Rgb([if x < 16 { 0 } else { 255 }; 3])),
            &path,
        );
        let mask = MaskRule::Threshold.open(&path).unwrap();
        let classes = MaskRule::Threshold.classes("a", mask, 2, 255).unwrap();
        assert!(
            classes
                .iter()
                .enumerate()
                .all(|(i, &class)| class == u8::from(i % 32 >= 16))
        );
    }

    #[test]
    fn mask_not_indexed() {
        let rgb: DynamicImage = RgbImage::new(2, 2).into();
        for (name, pixels) in [
            ("a.png", rgb.clone()),
            ("b.png", RgbaImage::new(2, 2).into()),
            ("c.jpg", rgb),
        ] {
            let (_folder, path) = scratch(name);
            save(pixels, &path);
            assert!(
                matches!(
                    MaskRule::Index.open(&path),
                    Err(Error::MaskNotIndexed { .. })
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn sixteen_bit() {
        let (_folder, path) = scratch("a.png");
        save(DynamicImage::new_luma16(2, 2), &path);
        assert!(matches!(
            MaskRule::Index.open(&path),
            Err(Error::SixteenBit { .. })
        ));
    }

    #[test]
    fn truncated() {
        let (_folder, path) = scratch("a.png");
        save_palette(&[1; 64], 8, BitDepth::Eight, &path);
        let whole = fs::read(&path).unwrap();
        for length in 8..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(
                MaskRule::Index.open(&path),
                Err(Error::Truncated { .. })
            ));
        }
    }

    #[test]
    fn mask_value() {
        let mask = Mask {
            size: [2, 3],
            values: vec![0, 255, 1, 2, 7, 9],
        };
        let error = MaskRule::Index.classes("a", mask, 3, 255).unwrap_err();
        assert_eq!(
            error.to_string(),
            "mask of a has the value 7 at row 1, column 1, expected a class below 3 or the ignore value 255"
        );
        assert!(matches!(
            value(MaskRule::Trimap, &[1, 0], 3, 255),
            Err(Error::MaskValue {
                value: 0,
                column: 1,
                ..
            })
        ));
    }

    #[test]
    fn every_rule_keeps_its_data_set_s_word() {
        assert_eq!(
            value(MaskRule::Index, &[0, 1, 7, 255], 2, 7).unwrap(),
            [0, 1, VOID, VOID]
        );
        assert_eq!(
            value(MaskRule::Threshold, &[0, 8, 128, 129, 247, 255], 2, 255).unwrap(),
            [0, 0, 0, 1, 1, 1]
        );
        assert_eq!(
            value(MaskRule::Trimap, &[1, 2, 3], 3, 255).unwrap(),
            [0, 1, 2]
        );
        assert_eq!(
            value(MaskRule::Camvid, &[0, 10, 11], 11, 255).unwrap(),
            [0, 10, VOID]
        );
        assert_eq!(
            value(MaskRule::OneBased, &[0, 1, 59, 255], 59, 255).unwrap(),
            [VOID, 0, 58, VOID]
        );
        assert!(value(MaskRule::OneBased, &[60], 59, 255).is_err());
        let known = [
            (7, 0),
            (8, 1),
            (11, 2),
            (20, 7),
            (26, 13),
            (33, 18),
            (0, VOID),
            (9, VOID),
            (34, VOID),
            (255, VOID),
        ];
        for (label, train) in known {
            assert_eq!(
                value(MaskRule::Cityscapes, &[label], 19, 255).unwrap(),
                [train]
            );
        }
    }
}
