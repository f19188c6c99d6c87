//! Mask files: the values they hold, before anybody says what these mean.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::colours::{Colours, Rgb};
use super::decode::{Care, Format, Picture, read};
use crate::{Error, Result};

/// (H, W) values of a mask file.
pub(super) struct Mask {
    pub(super) size: [usize; 2],
    pub(super) values: Vec<u8>,
}

/// Mean of red, green and blue, rounded up.
pub(super) fn brightness(path: &Path) -> Result<Mask> {
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

/// The raw samples of a palette or grey PNG: not the colours of the palette, not scaled. RGB pixels are looked up in
/// `colours`; without these, three equal channels are an index. Alpha may be there if it is opaque.
pub(super) fn indices(path: &Path, colours: Option<&Colours>) -> Result<Mask> {
    let whole = read(path, Care::Strict)?;
    let not_indexed = |got: &str| Error::MaskNotIndexed {
        path: path.into(),
        got: got.into(),
    };
    if whole.format == Format::Jpeg {
        return Err(not_indexed("a JPEG, whose values are blurred"));
    }
    let undecodable = |error: png::DecodingError| Error::Undecodable {
        path: path.into(),
        reason: error.to_string(),
    };
    let mut decoder = Decoder::new(Cursor::new(whole.bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(undecodable)?;
    let (colour, depth) = reader.output_color_type();
    let too_large = || Error::Undecodable {
        path: path.into(),
        reason: "larger than memory".into(),
    };
    let mut packed = vec![0; reader.output_buffer_size().ok_or_else(too_large)?];
    let frame = reader.next_frame(&mut packed).map_err(undecodable)?;
    let size = [frame.height as usize, frame.width as usize];
    packed.truncate(frame.line_size * size[0]);
    let packed = match colour {
        ColorType::GrayscaleAlpha | ColorType::Rgba => {
            let bytes = depth as usize / 8;
            opaque(&packed, colour.samples() * bytes, bytes)
                .ok_or_else(|| not_indexed("partly transparent"))?
        }
        _ => packed,
    };
    let values = match (colour, depth) {
        (ColorType::Rgb | ColorType::Rgba, BitDepth::Sixteen) => {
            return Err(not_indexed("RGB of 16 bits per channel"));
        }
        (ColorType::Rgb | ColorType::Rgba, _) => {
            let (pixels, _) = packed.as_chunks();
            of_colours(path, pixels, size[1], colours)?
        }
        (_, BitDepth::Sixteen) => of_sixteen_bits(path, packed.as_chunks().0, size[1])?,
        _ => unpacked(&packed, size, depth),
    };
    Ok(Mask { size, values })
}

/// Pixels of `pixel` bytes without their last `alpha` bytes; `None` if one of these is not 255.
fn opaque(packed: &[u8], pixel: usize, alpha: usize) -> Option<Vec<u8>> {
    let mut rest = Vec::with_capacity(packed.len());
    for whole in packed.chunks_exact(pixel) {
        let (colour, opacity) = whole.split_at(pixel - alpha);
        if opacity.iter().any(|&byte| byte != u8::MAX) {
            return None;
        }
        rest.extend_from_slice(colour);
    }
    Some(rest)
}

/// Samples of 1 to 8 bits: rows begin at whole bytes, the first pixel in the highest bits.
fn unpacked(packed: &[u8], size: [usize; 2], depth: BitDepth) -> Vec<u8> {
    let bits = depth as usize;
    let value = |row: &[u8], x: usize| {
        row[x * bits / 8] >> (8 - bits - x * bits % 8) & (u8::MAX >> (8 - bits))
    };
    let rows = packed.chunks_exact((size[1] * bits).div_ceil(8).max(1));
    rows.flat_map(|row| (0..size[1]).map(move |x| value(row, x)))
        .collect()
}

/// Indices in 16 bits, high byte first.
fn of_sixteen_bits(path: &Path, pixels: &[[u8; 2]], width: usize) -> Result<Vec<u8>> {
    let index = |(i, &pixel): (usize, &[u8; 2])| match pixel {
        [0, low] => Ok(low),
        _ => Err(Error::SixteenBit {
            path: path.into(),
            value: u16::from_be_bytes(pixel),
            row: i / width,
            column: i % width,
        }),
    };
    pixels.iter().enumerate().map(index).collect()
}

/// Classes of colours.
fn of_colours(
    path: &Path,
    pixels: &[Rgb],
    width: usize,
    colours: Option<&Colours>,
) -> Result<Vec<u8>> {
    if let Some(colours) = colours {
        let class = |(i, &colour): (usize, &Rgb)| {
            colours.class(colour).ok_or_else(|| Error::UnknownColour {
                path: path.into(),
                colour,
                row: i / width,
                column: i % width,
            })
        };
        return pixels.iter().enumerate().map(class).collect();
    }
    let grey = |&[red, green, blue]: &Rgb| (red == green && green == blue).then_some(red);
    match pixels.iter().map(grey).collect() {
        Some(values) => Ok(values),
        None => Err(Error::MaskColours {
            path: path.into(),
            colours: pixels.iter().collect::<BTreeSet<_>>().len(),
        }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::PathBuf;

    use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};

    use super::super::VOID;
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
            let mask = indices(&path, None).unwrap();
            assert_eq!((mask.size, mask.values), ([3, 7], values), "{depth:?}");
        }
    }

    #[test]
    fn grey_is_read_by_value() {
        let (_folder, path) = scratch("a.png");
        save(GrayImage::from_raw(3, 1, vec![0, 1, 255]).unwrap(), &path);
        assert_eq!(indices(&path, None).unwrap().values, [0, 1, 255]);
        let mut encoder = png::Encoder::new(fs::File::create(&path).unwrap(), 3, 1);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::One);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&[0b0110_0000])
            .unwrap();
        assert_eq!(
            indices(&path, None).unwrap().values,
            [0, 1, 1],
            "not scaled to 255"
        );
        assert_eq!(
            brightness(&path).unwrap().values,
            [0, 255, 255],
            "brightness is"
        );
    }

    #[test]
    fn mask_not_indexed() {
        let clear = RgbaImage::new(2, 2);
        let rgb: DynamicImage = RgbImage::new(2, 2).into();
        for (name, pixels, got) in [
            ("a.png", clear.into(), "partly transparent"),
            ("b.jpg", rgb, "a JPEG, whose values are blurred"),
            (
                "c.png",
                DynamicImage::new_rgb16(2, 2),
                "RGB of 16 bits per channel",
            ),
        ] {
            let (_folder, path) = scratch(name);
            save(pixels, &path);
            let error = indices(&path, None).err().unwrap();
            assert_eq!(
                error.to_string(),
                format!(
                    "mask {path:?} is {got}, expected one class index per pixel: a palette or grey PNG"
                )
            );
        }
    }

    #[test]
    fn three_equal_channels_are_an_index_and_opaque_alpha_says_nothing() {
        let (_folder, path) = scratch("a.png");
        let rgb = RgbImage::from_fn(3, 2, |x, y| image::Rgb([(x + 3 * y) as u8; 3]));
        let rgba = RgbaImage::from_fn(3, 2, |x, y| {
            let v = (x + 3 * y) as u8;
            image::Rgba([v, v, v, 255])
        });
        let grey_alpha =
            image::ImageBuffer::from_fn(3, 2, |x, y| image::LumaA([(x + 3 * y) as u8, 255u8]));
        let deep =
            image::ImageBuffer::from_fn(3, 2, |x, y| image::LumaA([(x + 3 * y) as u16, u16::MAX]));
        let all: [DynamicImage; 4] = [rgb.into(), rgba.into(), grey_alpha.into(), deep.into()];
        for pixels in all {
            save(pixels, &path);
            let mask = indices(&path, None).unwrap();
            assert_eq!((mask.size, mask.values), ([2, 3], (0..6).collect()));
        }
    }

    #[test]
    fn mask_colours() {
        let (_folder, path) = scratch("a.png");
        save(
            RgbImage::from_fn(8, 4, |x, y| image::Rgb([x as u8, y as u8, 9])),
            &path,
        );
        let error = indices(&path, None).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "mask {path:?} is RGB with 32 colours, expected one class index per pixel: a palette or grey PNG"
            )
        );
        assert!(error.hint().unwrap().contains("classes.json"));
        save(super::super::decode::tests::noise(40, 40), &path);
        let error = indices(&path, None).err().unwrap();
        assert!(error.hint().unwrap().contains("smoothed"), "{error}");
    }

    #[test]
    fn unknown_colour() {
        let (_folder, path) = scratch("a.png");
        let colours = Colours::new(&[vec![[9, 8, 7]], vec![[0; 3], [1; 3]]], &[[5, 5, 5]]).unwrap();
        let raw = [9, 8, 7, 0, 0, 0, 5, 5, 5, 1, 1, 1];
        save(RgbImage::from_raw(2, 2, raw.to_vec()).unwrap(), &path);
        let mask = indices(&path, Some(&colours)).unwrap();
        assert_eq!(mask.values, [0, 1, VOID, 1]);
        let raw = [9, 8, 7, 0, 0, 0, 5, 5, 5, 9, 8, 6];
        save(RgbImage::from_raw(2, 2, raw.to_vec()).unwrap(), &path);
        let error = indices(&path, Some(&colours)).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "mask {path:?} has the colour [9, 8, 6] at row 1, column 1, expected one that classes.json gives a class"
            )
        );
        // colours explain RGB masks only
        save(GrayImage::from_raw(2, 1, vec![0, 3]).unwrap(), &path);
        let mask = indices(&path, Some(&colours)).unwrap();
        assert_eq!(mask.values, [0, 3]);
    }

    #[test]
    fn sixteen_bit() {
        let (_folder, path) = scratch("a.png");
        let save16 = |values: [u16; 6]| {
            save(
                image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 2, values.to_vec()).unwrap(),
                &path,
            )
        };
        save16([0, 1, 2, 7, 254, 255]);
        let mask = indices(&path, None).unwrap();
        assert_eq!(
            (mask.size, mask.values),
            ([2, 3], vec![0, 1, 2, 7, 254, 255])
        );
        save16([0, 1, 2, 7, 26001, 256]);
        let error = indices(&path, None).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("mask {path:?} has the value 26001 at row 1, column 1, expected at most 255")
        );
    }

    #[test]
    fn truncated() {
        let (_folder, path) = scratch("a.png");
        save_palette(&[1; 64], 8, BitDepth::Eight, &path);
        let whole = fs::read(&path).unwrap();
        for length in 8..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(indices(&path, None), Err(Error::Truncated { .. })));
        }
    }
}
