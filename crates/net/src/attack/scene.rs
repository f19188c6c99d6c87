//! What is attacked: a picture, its labels, and where it may be changed.

use crate::data::VOID;
use crate::error::{Error, Result};

/// A clean picture.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// (3, H, W) in [0, 1].
    pub image: &'a [f32],
    /// (H, W), 255 = void.
    pub labels: &'a [u8],
    /// Height of the picture.
    pub height: usize,
    /// Width of the picture.
    pub width: usize,
    /// (H, W), where the picture may be changed; everywhere, if not given.
    pub region: Option<&'a [bool]>,
}

impl<'a> Scene<'a> {
    /// A picture that may be changed everywhere.
    ///
    /// # Errors
    /// [`Error::ImageLength`], also for labels of another length.
    pub fn new(image: &'a [f32], labels: &'a [u8], [height, width]: [usize; 2]) -> Result<Self> {
        let pixels = height * width;
        for (got, expected) in [(image.len(), 3 * pixels), (labels.len(), pixels)] {
            if got != expected {
                return Err(Error::ImageLength { got, expected });
            }
        }
        Ok(Self {
            image,
            labels,
            height,
            width,
            region: None,
        })
    }

    /// The same picture, to be changed in a region (H, W) only.
    ///
    /// # Errors
    /// [`Error::ImageLength`].
    pub fn within(self, region: &'a [bool]) -> Result<Self> {
        if region.len() != self.pixels() {
            let [got, expected] = [region.len(), self.pixels()];
            return Err(Error::ImageLength { got, expected });
        }
        let region = Some(region);
        Ok(Self { region, ..self })
    }

    /// H·W.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The label of a pixel, `None` where it is void.
    pub fn label(&self, pixel: usize) -> Option<u8> {
        Some(self.labels[pixel]).filter(|&label| label != VOID)
    }

    /// Sets all numbers (3, H, W) outside the region to 0.
    pub fn mask<T: Copy + Default>(&self, numbers: &mut [T]) {
        let Some(region) = self.region else { return };
        for channel in numbers.chunks_mut(region.len()) {
            for (number, &inside) in channel.iter_mut().zip(region) {
                *number = if inside { *number } else { T::default() };
            }
        }
    }
}
