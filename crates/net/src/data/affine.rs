//! One affine map of image and mask together: flips, rotation, scale and crop in one interpolation.

use std::ops::Range;

use super::{Sample, UNIT};

/// Where the new pixels of one picture come from. Coordinates run from 0 to H and W, pixel centres at halves.
pub(super) struct Affine {
    /// Top and bottom, left and right change places.
    pub(super) flipped: [bool; 2],
    /// Cosine and sine of the angle.
    pub(super) turn: [f64; 2],
    pub(super) scale: f64,
    /// Upper left corner of the picture in the scaled one.
    pub(super) corner: [f64; 2],
    /// How far the window lies down and to the right of the finished picture.
    pub(super) shift: [f64; 2],
    /// Height and width.
    pub(super) size: [f64; 2],
}

impl Affine {
    /// Writes the new image (3, H, W), in [0, 1] and interpolated bilinearly, over zeros, and the new mask (H, W), nearest
    /// pixel, over [`VOID`](super::VOID). What lies outside the old picture is left as it is; the result is the columns
    /// of each row that lie inside.
    pub(super) fn apply(
        &self,
        sample: &Sample,
        image: &mut [f32],
        mask: &mut [u8],
    ) -> Vec<Range<usize>> {
        let (height, width) = (sample.height, sample.width);
        let pixels = height * width;
        let old: Vec<&[u8]> = sample.image.chunks_exact(pixels).collect();
        let mut sources = vec![[0.0; 2]; width];
        let mut row_inside = |row: usize| {
            let y = row as f64 + 0.5;
            for (x, source) in sources.iter_mut().enumerate() {
                *source = self.source([y, x as f64 + 0.5]);
            }
            let is_inside = |[y, x]: [f64; 2]| {
                (0.0..self.size[0]).contains(&y) && (0.0..self.size[1]).contains(&x)
            };
            let first = sources.iter().position(|&at| is_inside(at));
            let first = first.unwrap_or(width);
            // both coordinates rise or fall along a row, in floating point too: a row leaves the picture once
            let inside = sources[first..].iter().take_while(|&&at| is_inside(at));
            let inside = first..first + inside.count();
            for (at, &[y, x]) in (row * width..)
                .zip(&sources)
                .skip(inside.start)
                .take(inside.len())
            {
                if let Some(old) = &sample.mask {
                    mask[at] = old[y as usize * width + x as usize];
                }
                let [(top, bottom, down), (left, right, across)] =
                    [neighbours(y, height), neighbours(x, width)];
                let corners = [top, bottom].map(|y| [y * width + left, y * width + right]);
                for (channel, plane) in old.iter().enumerate() {
                    let [above, below] = corners.map(|row| {
                        let [a, b] = row.map(|at| UNIT[usize::from(plane[at])]);
                        a * (1.0 - across) + b * across
                    });
                    image[channel * pixels + at] = above * (1.0 - down) + below * down;
                }
            }
            inside
        };
        (0..height).map(&mut row_inside).collect()
    }

    /// Where the point `to` of the new picture lies in the old one: put back by the shift, turned, moved to the crop,
    /// unscaled, flipped back.
    fn source(&self, to: [f64; 2]) -> [f64; 2] {
        let [y, x] = [0, 1].map(|axis| to[axis] + self.shift[axis] - self.size[axis] / 2.0);
        let [cos, sin] = self.turn;
        let turned = [y * cos - x * sin, y * sin + x * cos];
        [0, 1].map(|axis| {
            let at = (turned[axis] + self.size[axis] / 2.0 + self.corner[axis]) / self.scale;
            if self.flipped[axis] {
                self.size[axis] - at
            } else {
                at
            }
        })
    }
}

/// The two pixels around a point in 0..length and the weight of the second; at the rim the outermost one twice.
fn neighbours(at: f64, length: usize) -> (usize, usize, f32) {
    let at = (at - 0.5).clamp(0.0, (length - 1) as f64);
    let first = at as usize;
    (
        first,
        (first + 1).min(length - 1),
        (at - first as f64) as f32,
    )
}

#[cfg(test)]
mod tests {
    use super::super::VOID;
    use super::*;
    use crate::rng::Rng;

    /// Noise of 4x6, every mask pixel another class.
    fn sample() -> Sample {
        let mut rng = Rng::new(7);
        Sample {
            id: "a".into(),
            height: 4,
            width: 6,
            image: (0..72).map(|_| rng.below(256) as u8).collect(),
            mask: Some((0..24).collect()),
        }
    }

    fn apply(map: &Affine) -> (Vec<f32>, Vec<u8>, Vec<Range<usize>>) {
        let (mut image, mut mask) = (vec![0.0; 72], vec![VOID; 24]);
        let inside = map.apply(&sample(), &mut image, &mut mask);
        (image, mask, inside)
    }

    /// Pixel by pixel and without tables: what trainings have been drawn with from the start.
    fn by_definition(map: &Affine) -> (Vec<f32>, Vec<u8>) {
        let sample = sample();
        let (mut image, mut mask) = (vec![0.0; 72], vec![VOID; 24]);
        for i in 0..24 {
            let [y, x] = map.source([(i / 6) as f64 + 0.5, (i % 6) as f64 + 0.5]);
            if !((0.0..4.0).contains(&y) && (0.0..6.0).contains(&x)) {
                continue;
            }
            mask[i] = sample.mask.as_ref().unwrap()[y as usize * 6 + x as usize];
            let [(top, bottom, down), (left, right, across)] = [neighbours(y, 4), neighbours(x, 6)];
            for (channel, plane) in sample.image.chunks_exact(24).enumerate() {
                let row = |y: usize| {
                    let [a, b] = [left, right].map(|x| f32::from(plane[y * 6 + x]) / 255.0);
                    a * (1.0 - across) + b * across
                };
                image[channel * 24 + i] = row(top) * (1.0 - down) + row(bottom) * down;
            }
        }
        (image, mask)
    }

    /// One fixed map instead of a drawn one.
    fn fixed(angle: f64, scale: f64, corner: [f64; 2]) -> Affine {
        let turn = [angle.to_radians().cos(), angle.to_radians().sin()];
        Affine {
            flipped: [false; 2],
            turn,
            scale,
            corner,
            shift: [0.0; 2],
            size: [4.0, 6.0],
        }
    }

    #[test]
    fn rows_give_the_bits_of_the_definition() {
        let mut rng = Rng::new(1);
        let mut uniform = |low: f64, high: f64| low + rng.uniform() * (high - low);
        for _ in 0..2000 {
            let mut map = fixed(uniform(-180.0, 180.0), uniform(0.1, 3.0), [0.0; 2]);
            map.corner = [4.0, 6.0].map(|side| uniform(0.0, 1.0) * (map.scale - 1.0) * side);
            map.flipped = [(); 2].map(|()| uniform(0.0, 1.0) < 0.5);
            map.shift = [(); 2].map(|()| uniform(-2.0, 3.0).floor());
            let (image, mask, inside) = apply(&map);
            assert_eq!(
                (image, &mask),
                (by_definition(&map).0, &by_definition(&map).1)
            );
            for (i, &class) in mask.iter().enumerate() {
                assert_eq!(class != VOID, inside[i / 6].contains(&(i % 6)));
            }
        }
    }

    #[test]
    fn half_a_turn_is_both_flips_and_a_quarter_turn_moves_the_axes() {
        let half = apply(&fixed(180.0, 1.0, [0.0; 2]));
        let mut backwards = sample();
        backwards.mask.as_mut().unwrap().reverse();
        backwards
            .image
            .chunks_exact_mut(24)
            .for_each(<[u8]>::reverse);
        assert_eq!(half.1, backwards.mask.clone().unwrap());
        // the rounding of an f64 cosine in f32 interpolation
        let pairs = half.0.iter().zip(backwards.image_f32());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-5));
        // clockwise as seen: what was below the centre is left of it
        let quarter = apply(&fixed(90.0, 1.0, [0.0; 2]));
        for (y, x) in (0..4).flat_map(|y| (1..5).map(move |x| (y, x))) {
            assert_eq!(
                quarter.1[y * 6 + x],
                ((4 - x) * 6 + y + 1) as u8,
                "row {y}, column {x}"
            );
        }
    }

    #[test]
    fn a_scale_shows_the_part_at_its_corner() {
        let map = fixed(0.0, 2.0, [4.0, 6.0]);
        assert_eq!(
            [map.source([0.0, 0.0]), map.source([4.0, 6.0])],
            [[2.0, 3.0], [4.0, 6.0]],
            "lower right quarter"
        );
        let map = fixed(0.0, 0.5, [-2.0, 0.0]);
        assert_eq!(
            [map.source([2.0, 0.0]), map.source([4.0, 3.0])],
            [[0.0, 0.0], [4.0, 6.0]]
        );
    }

    #[test]
    fn a_shift_moves_the_window() {
        let mut map = fixed(0.0, 1.0, [0.0; 2]);
        map.shift = [1.0, -2.0];
        let (_, mask, inside) = apply(&map);
        assert_eq!(mask[..6], [VOID, VOID, 6, 7, 8, 9]);
        assert_eq!(inside, [2..6, 2..6, 2..6, 6..6]);
    }
}
