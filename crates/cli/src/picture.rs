//! Pictures for people: class maps, worst cases, flip budgets, side by side on one sheet.

use std::io::Cursor;
use std::path::Path;

use anyhow::Result;
use certiseg_net::checkpoint::write_whole;
use image::{ImageFormat, RgbImage, imageops};

use certiseg_view::palette::{Rgb, class_colour};

/// Void pixels, and pixels a map says nothing of.
const VOID: Rgb = [255, 255, 255];
/// A pixel that the attacker can take.
const TAKEN: Rgb = [255, 0, 60];
/// A pixel that is wrong without an attack.
const WRONG: Rgb = [110, 0, 30];
/// Dark to light, of equal steps in perceived lightness (after the cividis map).
const RAMP: [Rgb; 5] = [
    [0, 34, 78],
    [66, 78, 108],
    [124, 123, 120],
    [187, 174, 113],
    [254, 232, 56],
];

/// A picture (3, H, W) in [0, 1].
pub fn photo(image: &[f32], [height, width]: [usize; 2]) -> RgbImage {
    let pixels = height * width;
    paint([height, width], |at| {
        [0, 1, 2].map(|c| (image[c * pixels + at].clamp(0.0, 1.0) * 255.0).round() as u8)
    })
}

/// A class per pixel.
pub fn classes(map: &[u8], size: [usize; 2]) -> RgbImage {
    paint(size, |at| label_colour(map[at]))
}

/// The prediction, with what is wrong and what an attacker may take at the budget in red. It is one
/// optimum of the relaxation, not an attack that was found.
pub fn worst_case(prediction: &[u8], wrong: &[bool], taken: &[bool], size: [usize; 2]) -> RgbImage {
    paint(size, |at| match (wrong[at], taken[at]) {
        (true, _) => WRONG,
        (false, true) => TAKEN,
        (false, false) => label_colour(prediction[at]),
    })
}

/// Budget at which each pixel falls, dark 0 to light the largest by its square root, so that the
/// small budgets can be told apart; white where not counted.
pub fn budgets(map: &[f32], size: [usize; 2]) -> RgbImage {
    let finite = map.iter().copied().filter(|budget| budget.is_finite());
    let largest = finite.fold(f32::MIN_POSITIVE, f32::max);
    paint(size, |at| match map[at].is_finite() {
        true => ramp(f64::from(map[at] / largest).sqrt()),
        false => VOID,
    })
}

/// Pictures of one size side by side, row after row, each enlarged `zoom` times, with a white gap.
pub fn sheet(rows: &[Vec<RgbImage>], zoom: u32) -> RgbImage {
    let Some(first) = rows.first().and_then(|row| row.first()) else {
        return RgbImage::new(1, 1);
    };
    let (width, height) = (first.width() * zoom, first.height() * zoom);
    let gap = 6;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(1) as u32;
    let span = |count: u32, side: u32| count * (side + gap) + gap;
    let size = (span(columns, width), span(rows.len() as u32, height));
    let mut sheet = RgbImage::from_pixel(size.0, size.1, image::Rgb(VOID));
    for (y, row) in (0..).zip(rows) {
        for (x, picture) in (0..).zip(row) {
            let large = imageops::resize(picture, width, height, imageops::Nearest);
            let left = i64::from(gap + x * (width + gap));
            let top = i64::from(gap + y * (height + gap));
            imageops::replace(&mut sheet, &large, left, top);
        }
    }
    sheet
}

/// Writes a PNG, whole or not at all.
pub fn save(path: &Path, picture: &RgbImage) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(write_whole(path, bytes.get_ref())?)
}

/// A picture of a colour per pixel.
pub fn paint([height, width]: [usize; 2], colour: impl Fn(usize) -> Rgb) -> RgbImage {
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        image::Rgb(colour(y as usize * width + x as usize))
    })
}

fn label_colour(label: u8) -> Rgb {
    match label {
        255 => VOID,
        class => class_colour(class),
    }
}

fn ramp(share: f64) -> Rgb {
    let steps = RAMP.len() - 1;
    let at = share.clamp(0.0, 1.0) * steps as f64;
    let low = (at as usize).min(steps - 1);
    let weight = at - low as f64;
    let mix = |c: usize| {
        let (a, b) = (f64::from(RAMP[low][c]), f64::from(RAMP[low + 1][c]));
        (a + weight * (b - a)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_ends_where_its_colours_end() {
        assert_eq!(ramp(0.0), RAMP[0]);
        assert_eq!(ramp(1.0), RAMP[4]);
        assert_eq!(ramp(7.0), RAMP[4]);
        assert_eq!(ramp(0.5), RAMP[2]);
    }

    #[test]
    fn a_sheet_holds_every_picture_at_its_place() {
        let red = RgbImage::from_pixel(2, 2, image::Rgb([255, 0, 0]));
        let blue = RgbImage::from_pixel(2, 2, image::Rgb([0, 0, 255]));
        let sheet = sheet(&[vec![red, blue]], 3);
        assert_eq!(sheet.dimensions(), (6 + 12 + 12, 6 + 12));
        assert_eq!(sheet.get_pixel(6, 6).0, [255, 0, 0]);
        assert_eq!(sheet.get_pixel(18, 11).0, [0, 0, 255]);
        assert_eq!(sheet.get_pixel(0, 0).0, VOID);
    }
}
