//! The part of a picture that counts, drawn as a mask.

use std::path::Path;

use anyhow::{Context, Result};
use certiseg_cert::Grid;
use image::ImageFormat;

use crate::fail::Usage;

/// The pixels that count, (height, width).
pub struct Region {
    size: [usize; 2],
    inside: Vec<bool>,
}

impl Region {
    /// Reads a PNG of any depth: a pixel counts where a channel other than opacity is not 0.
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
            return Err(Usage::error(
                message,
                "mark the pixels that count in another color",
            ));
        }
        Ok(Region {
            size: [picture.height() as usize, picture.width() as usize],
            inside,
        })
    }

    /// Its pixels, for logits of the same size.
    pub fn of(&self, grid: Grid) -> Result<&[bool]> {
        let [height, width] = self.size;
        if self.size == [grid.height, grid.width] {
            return Ok(&self.inside);
        }
        let message = format!(
            "the region is {height}x{width}, logits are {}x{}",
            grid.height, grid.width
        );
        Err(Usage::error(
            message,
            "draw the region at the size of the logits",
        ))
    }
}
