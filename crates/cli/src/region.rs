//! A part of pictures, what counts or where attacks may change them: drawn as a mask, or a rectangle.

use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use certiseg_cert::Grid;
use image::ImageFormat;

use crate::fail::Usage;

/// Pixels, (height, width).
pub struct Region {
    size: [usize; 2],
    inside: Vec<bool>,
}

impl Region {
    /// Reads a PNG of any depth: a pixel is in it where a channel other than opacity is not 0.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = || format!("cannot read the region {}", path.display());
        let reader = image::ImageReader::open(path).with_context(wrong)?;
        let reader = reader.with_guessed_format().with_context(wrong)?;
        if reader
            .format()
            .is_some_and(|format| format != ImageFormat::Png)
        {
            let message = format!("the region {} is no PNG", path.display());
            return Err(Usage::error(
                message,
                "save it as PNG: others blur its border",
            ));
        }
        // 8 bits become 16 without loss, 16 bits would not become 8
        let picture = reader.decode().with_context(wrong)?.to_rgb16();
        let inside: Vec<bool> = picture.pixels().map(|pixel| pixel.0 != [0; 3]).collect();
        if !inside.contains(&true) {
            let message = format!("the region {} is all black", path.display());
            return Err(Usage::error(message, "mark its pixels in another color"));
        }
        Ok(Region {
            size: [picture.height() as usize, picture.width() as usize],
            inside,
        })
    }

    /// Its pixels, for logits of the same size.
    pub fn of(&self, grid: Grid) -> Result<&[bool]> {
        self.sized([grid.height, grid.width], "the logits")
    }

    /// Its pixels, for things of the same size.
    fn sized(&self, size: [usize; 2], things: &str) -> Result<&[bool]> {
        let ([height, width], [rows, columns]) = (self.size, size);
        if self.size == size {
            return Ok(&self.inside);
        }
        let message = format!("the region is {height}x{width}, {things} are {rows}x{columns}");
        let hint = format!("draw the region at the size of {things}");
        Err(Usage::error(message, hint))
    }
}

/// Where attacks may change pictures.
#[derive(Clone, Debug)]
pub enum Place {
    /// Columns and rows of the network's input.
    Rectangle([Range<usize>; 2]),
    /// A PNG of the size of the network's input.
    Mask(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    /// Reads X,Y,WIDTH,HEIGHT; whatever is not numbers between commas is the name of a file.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[x, y, width, height]) => {
                let side = |from: usize, length: usize| match from.checked_add(length) {
                    Some(to) if length > 0 => Ok(from..to),
                    _ => Err(format!(
                        "{text:?} has no pixel, expected a side of at least 1"
                    )),
                };
                Ok(Place::Rectangle([side(x, width)?, side(y, height)?]))
            }
            Ok(_) => Err(format!(
                "{text:?} is no region, expected X,Y,WIDTH,HEIGHT or a PNG"
            )),
            Err(_) => Ok(Place::Mask(text.into())),
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Mask(path) => path.display().fmt(f),
            Place::Rectangle([columns, rows]) => {
                let [x, y] = [columns.start, rows.start];
                write!(f, "{x},{y},{},{}", columns.len(), rows.len())
            }
        }
    }
}

impl Place {
    /// The file it is read from, if it is.
    pub fn mask(&self) -> Option<&Path> {
        match self {
            Place::Mask(path) => Some(path),
            Place::Rectangle(_) => None,
        }
    }

    /// Its pixels in pictures of this size; an error where it is not within them.
    pub fn of(&self, size: [usize; 2]) -> Result<Vec<bool>> {
        let [columns, rows] = match self {
            Place::Mask(path) => {
                return Ok(Region::read(path)?.sized(size, "the pictures")?.to_vec());
            }
            Place::Rectangle(sides) => sides,
        };
        let [height, width] = size;
        if rows.end > height || columns.end > width {
            let message = format!(
                "the region ends in column {} and row {}, pictures have {width} and {height}",
                columns.end, rows.end
            );
            return Err(Usage::error(
                message,
                "give pixels of the network's input: X,Y,WIDTH,HEIGHT",
            ));
        }
        let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
        Ok(pixels
            .map(|(row, column)| rows.contains(&row) && columns.contains(&column))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_has_pixels_of_the_picture_only() {
        let place = |text: &str| text.parse::<Place>();
        let top = place("1,0,2,1").unwrap();
        assert_eq!(
            top.of([2, 3]).unwrap(),
            [false, true, true, false, false, false]
        );
        assert_eq!(top.to_string(), "1,0,2,1");
        assert!(
            place("0,0,3,2")
                .unwrap()
                .of([2, 3])
                .unwrap()
                .iter()
                .all(|&here| here)
        );
        for outside in ["2,0,2,1", "0,1,1,2"] {
            let error = place(outside).unwrap().of([2, 3]).unwrap_err();
            assert!(
                error.to_string().contains("pictures have 3 and 2"),
                "{error}"
            );
        }
        let far = format!("{},0,1,1", usize::MAX);
        for empty in ["1,1,0,1", "1,1,1,0", far.as_str()] {
            assert!(place(empty).unwrap_err().contains("no pixel"), "{empty}");
        }
        for wrong in ["1,1,1", "5", "1,1,1,1,1"] {
            assert!(
                place(wrong).unwrap_err().contains("X,Y,WIDTH,HEIGHT"),
                "{wrong}"
            );
        }
        for file in ["mask.png", "-1,0,2,2", ""] {
            assert!(matches!(place(file), Ok(Place::Mask(_))), "{file}");
        }
    }
}
