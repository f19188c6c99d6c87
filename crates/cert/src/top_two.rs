//! The one pass over the logits: the two largest of each pixel, and the class of the largest.

use crate::error::{Error, Result};
use crate::image::Image;

/// Pixels at a time: their state stays in the fastest cache.
const BLOCK: usize = 1024;

/// The two largest logits of some pixels in a row, and the class of the largest.
pub(crate) struct Block {
    pixels: usize,
    first: [f32; BLOCK],
    second: [f32; BLOCK],
    /// A number, so that all four move in lanes of one width.
    class: [f32; BLOCK],
    /// Bits of v - v: not 0 for what is no number.
    odd: u32,
}

impl Block {
    pub(crate) fn first(&self) -> &[f32] {
        &self.first[..self.pixels]
    }

    pub(crate) fn second(&self) -> &[f32] {
        &self.second[..self.pixels]
    }

    pub(crate) fn classes(&self) -> impl Iterator<Item = u8> {
        /// Added to a small whole number, it leaves that number in the lowest bits.
        const WHOLE: f32 = (1 << 23) as f32;
        let classes = self.class[..self.pixels].iter();
        classes.map(|class| (class + WHOLE).to_bits() as u8)
    }

    /// Takes N classes at once, so that the state is loaded and stored once for all of them.
    #[expect(
        clippy::eq_op,
        reason = "v - v is 0 of every number, and of nothing else"
    )]
    fn take<const N: usize>(&mut self, planes: [&[f32]; N], classes: [f32; N]) {
        let n = self.pixels;
        let planes = planes.map(|plane| &plane[..n]);
        let (first, second) = (&mut self.first[..n], &mut self.second[..n]);
        let class = &mut self.class[..n];
        let mut odd = 0;
        for i in 0..n {
            let (mut top, mut next, mut top_class) = (first[i], second[i], class[i]);
            for k in 0..N {
                let v = planes[k][i];
                let lower = if v < top { v } else { top };
                next = if lower > next { lower } else { next };
                // classes rise, so that the last one taken is the largest
                let taken = if v > top { classes[k] } else { 0.0 };
                top_class = if taken > top_class { taken } else { top_class };
                top = if v > top { v } else { top };
                odd |= (v - v).to_bits();
            }
            (first[i], second[i], class[i]) = (top, next, top_class);
        }
        self.odd |= odd;
    }
}

/// Calls `each` with every block of pixels in order; one pass over the logits.
pub(crate) fn top_two(image: &Image, mut each: impl FnMut(&Block)) -> Result<()> {
    let mut block = Block {
        pixels: 0,
        first: [0.0; BLOCK],
        second: [0.0; BLOCK],
        class: [0.0; BLOCK],
        odd: 0,
    };
    let grid = image.grid();
    let classes: Vec<u8> = (0..=u8::MAX).take(grid.classes).collect();
    for start in (0..grid.pixels()).step_by(BLOCK) {
        let pixels = BLOCK.min(grid.pixels() - start);
        block.pixels = pixels;
        block.first.fill(f32::NEG_INFINITY);
        block.second.fill(f32::NEG_INFINITY);
        block.class.fill(0.0);
        let plane = |class: u8| &image.plane(class)[start..][..pixels];
        let (sixes, rest) = classes.as_chunks::<6>();
        for six in sixes.iter() {
            let planes = six.map(plane);
            block.take(planes, six.map(f32::from));
        }
        for &class in rest {
            let planes = [plane(class)];
            block.take(planes, [f32::from(class)]);
        }
        if block.odd != 0 {
            return Err(not_finite(image));
        }
        each(&block);
    }
    Ok(())
}

fn not_finite(image: &Image) -> Error {
    let pixels = image.grid().pixels();
    let odd = |value: &f32| !value.is_finite();
    let index = image.logits().iter().position(odd).unwrap_or_default();
    Error::LogitNotFinite {
        pixel: index % pixels,
        class: index / pixels,
        value: image.logits()[index],
    }
}
