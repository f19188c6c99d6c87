//! Small pictures inside figures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::palette::Rgb;

/// A picture of coloured pixels.
#[derive(Clone, Debug)]
pub(super) struct Raster {
    /// Height and width.
    pub(super) size: [usize; 2],
    /// Row by row.
    pub(super) pixels: Vec<Rgb>,
}

/// Pixels at least on a side: viewers smooth pictures that they enlarge.
const SIDE: usize = 240;

impl Raster {
    /// Of a colour for each pixel.
    pub(super) fn of(size: [usize; 2], colour: impl Fn(usize) -> Rgb) -> Self {
        Raster {
            size,
            pixels: (0..size[0] * size[1]).map(colour).collect(),
        }
    }

    /// Of bytes (H,W,3).
    pub(super) fn of_bytes(size: [usize; 2], bytes: &[u8]) -> Self {
        Self::of(size, |pixel| {
            [0, 1, 2].map(|channel| bytes[3 * pixel + channel])
        })
    }

    /// As a `data:` address of a PNG; each pixel as a block where there are few.
    pub(super) fn data(&self) -> String {
        let [height, width] = self.size;
        let block = SIDE.div_ceil(height.max(width).max(1));
        let row = |y: usize| {
            let row = &self.pixels[y / block * width..][..width];
            row.iter()
                .flat_map(move |pixel| std::iter::repeat_n(*pixel, block))
        };
        let bytes: Vec<u8> = (0..height * block).flat_map(row).flatten().collect();
        let mut file = Vec::new();
        let sides = [width, height].map(|side| (side * block) as u32);
        let mut encoder = png::Encoder::new(&mut file, sides[0], sides[1]);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::High);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&bytes)?;
            writer.finish()
        });
        written.expect("memory takes what is written, and the sides are those of the pixels");
        format!("data:image/png;base64,{}", STANDARD.encode(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_blocks_of_their_colour() {
        let raster = Raster::of([1, 2], |pixel| [pixel as u8; 3]);
        let data = raster.data();
        let file = data.strip_prefix("data:image/png;base64,").unwrap();
        let file = STANDARD.decode(file).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (240, 120));
        assert_eq!((bytes[0], bytes[3 * 119], bytes[3 * 120]), (0, 0, 1));
    }
}
