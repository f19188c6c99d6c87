//! PNG and JPEG pictures as 8-bit RGB: decoded by their content, refused where a silent choice would change them.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, Limits};
use serde::Serialize;

use crate::{Error, Result};

/// How much of a picture file may be odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Nothing: wrong extension, transparency and an ambiguous orientation are errors.
    Strict,
    /// What the official files of Oxford-IIIT Pet have: the name may tell another format, alpha is dropped, pixels
    /// are taken as stored, whatever EXIF says (their masks were drawn so).
    Lenient,
}

/// What is unusual about a picture that is read all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// Its name tells another format than its content, which is this.
    Misnamed(&'static str),
    /// Its transparency is dropped.
    Alpha,
    /// Its 16 bits per channel are rounded to 8.
    SixteenBit,
    /// It is turned as EXIF asks (orientation 2 to 8).
    Turned(u8),
}

/// Formats read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
}

/// A decoded picture, pixels as stored.
pub(super) struct Picture {
    pixels: DynamicImage,
    orientation: Orientation,
    /// What is unusual about it.
    pub(super) oddities: Vec<Oddity>,
}

/// The bytes of a whole PNG or JPEG file.
pub(super) struct Whole {
    pub(super) format: Format,
    pub(super) bytes: Vec<u8>,
    misnamed: Option<Oddity>,
}

/// Reads a PNG or JPEG file to its end.
pub(super) fn read(path: &Path, care: Care) -> Result<Whole> {
    let bytes = fs::read(path).map_err(|source| Error::Unreadable {
        path: path.into(),
        source,
    })?;
    let (format, name, extensions) = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => (Format::Png, "a PNG", &["png"][..]),
        [0xff, 0xd8, ..] => (Format::Jpeg, "a JPEG", &["jpg", "jpeg"][..]),
        _ => {
            return Err(Error::NotAnImage {
                path: path.into(),
                content: other_content(&bytes),
            });
        }
    };
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let misnamed = !extensions.contains(&extension.as_str());
    if care == Care::Strict && misnamed {
        return Err(Error::WrongExtension {
            path: path.into(),
            content: name,
        });
    }
    let end = match format {
        Format::Png => png_end(&bytes),
        Format::Jpeg => jpeg_end(&bytes),
    };
    match end {
        Some(_) => Ok(Whole {
            format,
            bytes,
            misnamed: misnamed.then_some(Oddity::Misnamed(name)),
        }),
        None => Err(Error::Truncated {
            path: path.into(),
            reason: format!("{} bytes without {name}'s end marker", bytes.len()),
        }),
    }
}

/// A name for the first bytes of a file that is neither PNG nor JPEG.
fn other_content(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "empty",
        [b'G', b'I', b'F', ..] => "a GIF",
        [b'B', b'M', ..] => "a BMP",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "a TIFF",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "a WebP",
        _ => "something else",
    }
}

/// Where the last chunk of a PNG ends; `None` if the file ends before.
fn png_end(bytes: &[u8]) -> Option<usize> {
    let mut start = 8;
    loop {
        let head = bytes.get(start..)?.first_chunk::<8>()?;
        let [a, b, c, d, kind @ ..] = *head;
        // length, kind, body, checksum
        let end = start + 12 + u32::from_be_bytes([a, b, c, d]) as usize;
        bytes.get(..end)?;
        if kind == *b"IEND" {
            return Some(end);
        }
        start = end;
    }
}

/// Where the end-of-image marker of a JPEG ends; `None` if the file ends before. The decoder would fill what is missing
/// with grey and say nothing. Segments are skipped by their length, as a thumbnail inside one has its own end marker.
fn jpeg_end(bytes: &[u8]) -> Option<usize> {
    let mut start = 2;
    loop {
        // between segments and in compressed data alike: stuffed zeros, padding and restarts are no segments
        let is_segment =
            |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0x01 | 0xd0..=0xd8 | 0xff);
        start += bytes.get(start..)?.windows(2).position(is_segment)?;
        if bytes[start + 1] == 0xd9 {
            return Some(start + 2);
        }
        let length = bytes.get(start + 2..)?.first_chunk::<2>()?;
        start += 2 + usize::from(u16::from_be_bytes(*length));
    }
}

impl Picture {
    /// The picture in a file.
    pub(super) fn open(path: &Path, care: Care) -> Result<Self> {
        let Whole {
            format,
            bytes,
            misnamed,
        } = read(path, care)?;
        let undecodable = |error: image::ImageError| Error::Undecodable {
            path: path.into(),
            reason: error.to_string(),
        };
        let bytes = Cursor::new(bytes);
        let mut decoder: Box<dyn ImageDecoder> = match format {
            Format::Png => Box::new(PngDecoder::new(bytes).map_err(undecodable)?),
            Format::Jpeg => Box::new(JpegDecoder::new(bytes).map_err(undecodable)?),
        };
        // a header may claim any size
        let mut limits = Limits::default();
        limits.reserve(decoder.total_bytes()).map_err(undecodable)?;
        decoder.set_limits(limits).map_err(undecodable)?;
        use ColorType::{L16, La8, La16, Rgb16, Rgba8, Rgba16};
        let alpha = matches!(decoder.color_type(), La8 | La16 | Rgba8 | Rgba16);
        let deep = matches!(decoder.color_type(), L16 | La16 | Rgb16 | Rgba16);
        if care == Care::Strict && alpha {
            return Err(Error::Alpha { path: path.into() });
        }
        let orientation = match care {
            Care::Strict => decoder.orientation().map_err(undecodable)?,
            Care::Lenient => Orientation::NoTransforms,
        };
        let pixels = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
        let deep = deep.then_some(Oddity::SixteenBit);
        let alpha = alpha.then_some(Oddity::Alpha);
        Ok(Self {
            pixels,
            orientation,
            oddities: [misnamed, alpha, deep].into_iter().flatten().collect(),
        })
    }

    /// Height and width, as stored.
    pub(super) fn size(&self) -> [usize; 2] {
        [self.pixels.height() as usize, self.pixels.width() as usize]
    }

    /// The picture turned as EXIF asks where the size of its mask says that the mask is turned too (or there is none),
    /// as stored where it says that it is not.
    pub(super) fn turned_like(mut self, mask: Option<[usize; 2]>, path: &Path) -> Result<Self> {
        let stored = self.size();
        let shown = match self.orientation.to_exif() {
            1 => return Ok(self),
            2..=4 => stored,
            _ => [stored[1], stored[0]],
        };
        if mask == Some(shown) && shown == stored {
            return Err(Error::Oriented {
                path: path.into(),
                orientation: self.orientation.to_exif(),
            });
        }
        if mask.is_none_or(|size| size == shown) {
            self.pixels.apply_orientation(self.orientation);
            let turned = Oddity::Turned(self.orientation.to_exif());
            self.oddities.push(turned);
        }
        Ok(self)
    }

    /// (H, W, 3): red, green, blue. Grey becomes three equal channels, alpha is dropped, 16 bits become the nearest of 8
    /// (v · 255 / 65535).
    pub(super) fn into_pixels(self) -> Vec<u8> {
        self.pixels.into_rgb8().into_raw()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use image::codecs::jpeg::JpegEncoder;
    use image::{GrayImage, ImageEncoder, RgbImage, RgbaImage};

    use super::super::resize::{Filter, to_planes};
    use super::*;
    use crate::rng::Rng;

    /// A noise picture, (H, W, 3).
    pub fn noise(height: u32, width: u32) -> RgbImage {
        let mut rng = Rng::keyed(0, &[u64::from(height), u64::from(width)]);
        RgbImage::from_fn(width, height, |_, _| {
            image::Rgb([0; 3].map(|_: u8| rng.below(256) as u8))
        })
    }

    /// Saves `pixels` under a name whose extension tells the format.
    pub fn save(pixels: impl Into<DynamicImage>, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        pixels.into().save(path).unwrap();
    }

    fn scratch(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        (folder, path)
    }

    fn planes(picture: Picture) -> Vec<u8> {
        let size = picture.size();
        to_planes::<3>(&picture.into_pixels(), size, size, Filter::Nearest)
    }

    fn open(path: &Path) -> Result<Vec<u8>> {
        Picture::open(path, Care::Strict).map(planes)
    }

    #[test]
    fn png_pixels_come_out_as_planes() {
        let (_folder, path) = scratch("a.png");
        let pixels = noise(2, 3);
        save(pixels.clone(), &path);
        let planes = open(&path).unwrap();
        for (x, y, colour) in pixels.enumerate_pixels() {
            let i = (y * 3 + x) as usize;
            assert_eq!([planes[i], planes[6 + i], planes[12 + i]], colour.0);
        }
    }

    #[test]
    fn grey_becomes_three_equal_planes() {
        for name in ["a.png", "a.jpg"] {
            let (_folder, path) = scratch(name);
            save(GrayImage::from_pixel(8, 8, image::Luma([77])), &path);
            assert_eq!(open(&path).unwrap(), [77; 192]);
        }
    }

    #[test]
    fn palettes_become_their_colours() {
        let (_folder, path) = scratch("a.png");
        let mut encoder = png::Encoder::new(fs::File::create(&path).unwrap(), 4, 1);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Two);
        encoder.set_palette(vec![1, 2, 3, 10, 20, 30, 100, 101, 102]);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&[0b00_01_10_00])
            .unwrap();
        assert_eq!(
            open(&path).unwrap(),
            [1, 10, 100, 1, 2, 20, 101, 2, 3, 30, 102, 3]
        );
    }

    #[test]
    fn unreadable() {
        let (_folder, path) = scratch("absent.png");
        assert!(matches!(open(&path), Err(Error::Unreadable { path: got, .. }) if got == path));
    }

    #[test]
    fn truncated_at_any_byte_is_an_error() {
        for name in ["a.png", "a.jpg"] {
            let (_folder, path) = scratch(name);
            save(noise(20, 24), &path);
            let whole = fs::read(&path).unwrap();
            assert!(open(&path).is_ok());
            for length in 12..whole.len() {
                fs::write(&path, &whole[..length]).unwrap();
                assert!(
                    matches!(open(&path), Err(Error::Truncated { .. })),
                    "{name}, {length} of {} bytes",
                    whole.len()
                );
            }
        }
    }

    #[test]
    fn the_decoder_alone_would_paint_a_truncated_jpeg_grey() {
        // the reason for `jpeg_end`: when this fails the guard may go
        let (_folder, path) = scratch("a.jpg");
        save(noise(64, 64), &path);
        let whole = fs::read(&path).unwrap();
        assert!(image::load_from_memory(&whole[..whole.len() / 2]).is_ok());
    }

    #[test]
    fn a_thumbnail_does_not_end_the_picture() {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9];
        assert_eq!(jpeg_end(&bytes), None);
        bytes.extend([
            0xff, 0xda, 0, 2, 7, 0xff, 0, 0xff, 0xd0, 0xff, 0xff, 0xd9, 1, 2, 3,
        ]);
        assert_eq!(jpeg_end(&bytes), Some(22));
    }

    #[test]
    fn wrong_extension() {
        let (_folder, path) = scratch("a.png");
        save(noise(2, 3), &path);
        let wrong = path.with_extension("jpg");
        fs::rename(&path, &wrong).unwrap();
        assert!(matches!(
            open(&wrong),
            Err(Error::WrongExtension {
                content: "a PNG",
                ..
            })
        ));
        assert!(Picture::open(&wrong, Care::Lenient).is_ok());
        fs::rename(&wrong, path.with_extension("PNG")).unwrap();
        assert!(open(&path.with_extension("PNG")).is_ok());
    }

    #[test]
    fn not_an_image() {
        let (_folder, path) = scratch("a.jpg");
        for (bytes, expected) in [
            (&b"GIF89a"[..], "a GIF"),
            (b"", "empty"),
            (b"hello", "something else"),
        ] {
            fs::write(&path, bytes).unwrap();
            assert!(
                matches!(open(&path), Err(Error::NotAnImage { content, .. }) if content == expected)
            );
        }
    }

    #[test]
    fn undecodable() {
        let (_folder, path) = scratch("a.png");
        save(noise(9, 9), &path);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(
            matches!(open(&path), Err(Error::Undecodable { .. })),
            "one flipped bit"
        );
    }

    #[test]
    fn sixteen_bits_become_the_nearest_of_eight() {
        let (_folder, path) = scratch("a.png");
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let grey = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(256, 256, all).unwrap();
        save(grey, &path);
        let nearest: Vec<u8> = (0..=u16::MAX)
            .map(|v| (f64::from(v) * 255.0 / 65535.0).round() as u8)
            .collect();
        for care in [Care::Strict, Care::Lenient] {
            let picture = Picture::open(&path, care).unwrap();
            assert_eq!(picture.oddities, [Oddity::SixteenBit]);
            let grey = nearest.iter().flat_map(|&v| [v; 3]);
            assert!(picture.into_pixels().into_iter().eq(grey), "{care:?}");
        }
        let colours = [257, 0, 65535, 128, 129, 65407];
        let pixels = image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(2, 1, colours.to_vec());
        save(pixels.unwrap(), &path);
        assert_eq!(open(&path).unwrap(), [1, 0, 0, 1, 255, 255]);
    }

    #[test]
    fn what_is_odd_is_told() {
        let (_folder, path) = scratch("a.png");
        save(DynamicImage::new_rgba16(2, 2), &path);
        assert!(matches!(open(&path), Err(Error::Alpha { .. })));
        fs::rename(&path, path.with_extension("jpg")).unwrap();
        let picture = Picture::open(&path.with_extension("jpg"), Care::Lenient).unwrap();
        assert_eq!(
            picture.oddities,
            [Oddity::Misnamed("a PNG"), Oddity::Alpha, Oddity::SixteenBit]
        );
        save(noise(2, 2), &path);
        assert_eq!(Picture::open(&path, Care::Strict).unwrap().oddities, []);
    }

    #[test]
    fn alpha() {
        let (_folder, path) = scratch("a.png");
        save(
            RgbaImage::from_pixel(1, 1, image::Rgba([9, 8, 7, 0])),
            &path,
        );
        assert!(matches!(open(&path), Err(Error::Alpha { .. })));
        assert_eq!(
            planes(Picture::open(&path, Care::Lenient).unwrap()),
            [9, 8, 7]
        );
    }

    /// A JPEG of `pixels` with an EXIF orientation.
    pub fn save_oriented(pixels: &RgbImage, orientation: u8, path: &Path) {
        let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        let mut encoder = JpegEncoder::new_with_quality(fs::File::create(path).unwrap(), 100);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.encode_image(pixels).unwrap();
    }

    #[test]
    fn oriented() {
        let (_folder, path) = scratch("a.jpg");
        // left half dark, right half bright
        let pixels = RgbImage::from_fn(32, 16, |x, _| {
            image::Rgb([if x < 16 { 10 } else { 240 }; 3])
        });
        save_oriented(&pixels, 6, &path);
        let turned = |mask| {
            Picture::open(&path, Care::Strict)
                .unwrap()
                .turned_like(mask, &path)
        };
        let first_row = |picture: Picture| planes(picture)[..16].iter().all(|&v| v < 60);
        for mask in [Some([32, 16]), None] {
            let upright = turned(mask).unwrap();
            assert_eq!(upright.size(), [32, 16]);
            assert!(
                first_row(upright),
                "a quarter turn clockwise puts the left half on top"
            );
        }
        assert_eq!(turned(Some([16, 32])).unwrap().size(), [16, 32]);
        let lenient = Picture::open(&path, Care::Lenient)
            .unwrap()
            .turned_like(None, &path)
            .unwrap();
        assert_eq!(lenient.size(), [16, 32]);
        // upside down: the mask fits both ways
        save_oriented(&pixels, 3, &path);
        let error = turned(Some([16, 32])).err().unwrap();
        assert!(matches!(error, Error::Oriented { orientation: 3, .. }));
        save_oriented(&pixels, 1, &path);
        assert!(turned(Some([16, 32])).is_ok());
    }
}
