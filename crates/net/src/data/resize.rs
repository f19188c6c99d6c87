//! Resizing of 8-bit pictures and masks, aspect ratio ignored, the same bytes on every platform.
//!
//! *Nearest* takes the pixel under the centre of the new one, floor((i + 1/2) · old / new), as PIL and torch's
//! `nearest-exact` do; torch's `nearest` drops the half and picks other rows.
//! *Bilinear* is PIL's: a triangle as wide as the shrinking factor, so that it averages (antialiases) when shrinking;
//! tensor libraries interpolate between two pixels only and alias. Weights in 2^-22, columns first, each pass rounded: PIL's bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Rule for the new pixels of a picture. Masks are always [`Filter::Nearest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The pixel under the new centre.
    Nearest,
    /// Antialiased triangle.
    Bilinear,
}

/// All filters with their names.
const FILTERS: [(&str, Filter); 2] = [("nearest", Filter::Nearest), ("bilinear", Filter::Bilinear)];

/// Bits of a fixed-point weight.
const WEIGHT_BITS: u32 = 22;

impl FromStr for Filter {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        FILTERS
            .iter()
            .find(|(n, _)| *n == name)
            .map(|&(_, filter)| filter)
            .ok_or_else(|| Error::UnknownName {
                what: "filter",
                got: name.into(),
                expected: FILTERS.map(|(n, _)| n).join(", "),
            })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Filter::Nearest => "nearest",
            Filter::Bilinear => "bilinear",
        })
    }
}

/// A plane of `old` = (height, width) at the size `new`, both at least 1.
pub fn resize(plane: &[u8], old: [usize; 2], new: [usize; 2], filter: Filter) -> Vec<u8> {
    to_planes::<1>(plane, old, new, filter)
}

/// Pixels (H, W, C) of the size `old` as planes (C, H, W) of the size `new`, each as [`resize`] makes it.
pub(super) fn to_planes<const C: usize>(
    pixels: &[u8],
    old: [usize; 2],
    new: [usize; 2],
    filter: Filter,
) -> Vec<u8> {
    assert_eq!(
        pixels.len(),
        C * old[0] * old[1],
        "{C} bytes a pixel, height x width pixels"
    );
    match filter {
        Filter::Bilinear if old != new => {
            lower::<C>(&narrower::<C>(pixels, old[1], new[1]), old[0], new)
        }
        _ => nearest::<C>(pixels, old, new),
    }
}

/// The pixel under the centre of pixel `i`: floor((i + 1/2) · old / new), exactly.
fn centre(i: usize, old: usize, new: usize) -> usize {
    (2 * i + 1) * old / (2 * new)
}

fn nearest<const C: usize>(
    pixels: &[u8],
    [old_height, old_width]: [usize; 2],
    [height, width]: [usize; 2],
) -> Vec<u8> {
    let columns: Vec<usize> = (0..width)
        .map(|x| C * centre(x, old_width, width))
        .collect();
    let mut planes = vec![0; C * height * width];
    for (i, out) in planes.chunks_exact_mut(width).enumerate() {
        let (channel, y) = (i / height, i % height);
        let row = &pixels[C * centre(y, old_height, height) * old_width..][..C * old_width];
        for (out, x) in out.iter_mut().zip(&columns) {
            *out = row[x + channel];
        }
    }
    planes
}

// Sums of weighted levels stay below 2^31: weights sum to 2^22 and half a unit each, there are at most 2^17 of them, and
// a level is below 2^8. So the additions and products below are plain ones without a check.

/// Each row of `old` pixels (W, C) filtered to `new` ones, channels first: (C, W').
fn narrower<const C: usize>(pixels: &[u8], old: usize, new: usize) -> Vec<u8> {
    let windows: Vec<_> = (0..new).map(|i| triangle(i, old, new)).collect();
    let rows = pixels.chunks_exact(C * old);
    let mut out = vec![0; rows.len() * C * new];
    for (row, out) in rows.zip(out.chunks_exact_mut(C * new)) {
        for (i, (start, weights)) in windows.iter().enumerate() {
            let mut sums = [HALF; C];
            for (pixel, &weight) in row[C * start..].chunks_exact(C).zip(weights) {
                for (sum, &level) in sums.iter_mut().zip(pixel) {
                    *sum = sum.wrapping_add(u32::from(level).wrapping_mul(weight));
                }
            }
            for (channel, sum) in sums.into_iter().enumerate() {
                out[channel * new + i] = level(sum);
            }
        }
    }
    out
}

/// `old` rows (C, W) filtered to planes (C, H, W) of the size `new`.
fn lower<const C: usize>(rows: &[u8], old: usize, [height, width]: [usize; 2]) -> Vec<u8> {
    let mut planes = vec![0; C * height * width];
    let mut sums = vec![0; C * width];
    for y in 0..height {
        let (start, weights) = triangle(y, old, height);
        sums.fill(HALF);
        for (row, weight) in rows[C * start * width..]
            .chunks_exact(C * width)
            .zip(weights)
        {
            for (sum, &level) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(u32::from(level).wrapping_mul(weight));
            }
        }
        for (channel, sums) in sums.chunks_exact(width).enumerate() {
            let out = &mut planes[(channel * height + y) * width..][..width];
            for (out, &sum) in out.iter_mut().zip(sums) {
                *out = level(sum);
            }
        }
    }
    planes
}

/// Half a level, so that [`level`] rounds.
const HALF: u32 = 1 << (WEIGHT_BITS - 1);

fn level(sum: u32) -> u8 {
    (sum >> WEIGHT_BITS).min(255) as u8
}

/// First old pixel and the fixed-point weights of new pixel `i`.
fn triangle(i: usize, old: usize, new: usize) -> (usize, Vec<u32>) {
    let scale = old as f64 / new as f64;
    let support = scale.max(1.0);
    let centre = (i as f64 + 0.5) * scale;
    let start = (centre - support + 0.5).max(0.0) as usize;
    let end = ((centre + support + 0.5) as usize).min(old);
    let heights: Vec<f64> = (start..end)
        .map(|x| (1.0 - ((x as f64 + 0.5 - centre) / support).abs()).max(0.0))
        .collect();
    let total: f64 = heights.iter().sum();
    let one = f64::from(1 << WEIGHT_BITS);
    (
        start,
        heights
            .iter()
            .map(|h| (h / total * one + 0.5) as u32)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn noise(seed: u64, pixels: usize) -> Vec<u8> {
        let mut rng = Rng::new(seed);
        (0..pixels).map(|_| rng.below(256) as u8).collect()
    }

    /// The antialiased triangle by its definition, in f64, rounded once at the end.
    fn by_definition(plane: &[u8], [h, w]: [usize; 2], [height, width]: [usize; 2]) -> Vec<f64> {
        let weights = |i: usize, old: usize, new: usize| -> Vec<f64> {
            let scale = old as f64 / new as f64;
            let raw = |x: usize| {
                (1.0 - ((x as f64 + 0.5) - (i as f64 + 0.5) * scale).abs() / scale.max(1.0))
                    .max(0.0)
            };
            let total: f64 = (0..old).map(raw).sum();
            (0..old).map(|x| raw(x) / total).collect()
        };
        let mut out = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let (rows, columns) = (weights(y, h, height), weights(x, w, width));
                out.push(
                    (0..h * w)
                        .map(|i| rows[i / w] * columns[i % w] * f64::from(plane[i]))
                        .sum(),
                );
            }
        }
        out
    }

    /// Half a level for each of the two rounded passes, and 0.001 for the weights' 22 bits.
    const TWO_ROUNDINGS: f64 = 1.001;

    fn close(got: &[u8], expected: &[f64]) -> bool {
        got.len() == expected.len()
            && got
                .iter()
                .zip(expected)
                .all(|(&g, e)| (f64::from(g) - e).abs() <= TWO_ROUNDINGS)
    }

    #[test]
    fn bilinear_is_the_antialiased_triangle() {
        for (seed, (old, new)) in [
            ([9, 7], [4, 3]),
            ([5, 6], [11, 8]),
            ([8, 3], [2, 9]),
            ([1, 1], [3, 2]),
            ([13, 1], [1, 1]),
        ]
        .into_iter()
        .enumerate()
        {
            let plane = noise(seed as u64, old[0] * old[1]);
            assert!(
                close(
                    &resize(&plane, old, new, Filter::Bilinear),
                    &by_definition(&plane, old, new)
                ),
                "{old:?} {new:?}"
            );
        }
    }

    #[test]
    fn the_comparison_sees_planted_errors() {
        let plane = noise(0, 63);
        let expected = by_definition(&plane, [9, 7], [4, 3]);
        let right = resize(&plane, [9, 7], [4, 3], Filter::Bilinear);
        assert!(close(&right, &expected));
        assert!(!close(
            &resize(&plane, [9, 7], [4, 3], Filter::Nearest),
            &expected
        ));
        let mut mirrored = right.clone();
        mirrored.reverse();
        assert!(!close(&mirrored, &expected));
        assert!(!close(&right[1..], &expected));
        let mut brighter = right;
        brighter[5] = brighter[5].wrapping_add(3);
        assert!(!close(&brighter, &expected));
    }

    #[test]
    fn a_constant_stays_itself_and_a_box_becomes_its_mean() {
        for value in [0, 1, 127, 254, 255] {
            assert_eq!(
                resize(&[value; 35], [5, 7], [3, 17], Filter::Bilinear),
                [value; 51]
            );
        }
        // 2 -> 1: the triangle of width 2 weighs both pixels alike
        assert_eq!(resize(&[10, 21], [1, 2], [1, 1], Filter::Bilinear), [16]);
    }

    #[test]
    fn nearest_takes_the_pixel_under_the_centre() {
        assert_eq!(
            resize(&[0, 1, 2, 3, 4], [1, 5], [1, 2], Filter::Nearest),
            [1, 3]
        );
        assert_eq!(
            resize(&[7, 9], [2, 1], [5, 1], Filter::Nearest),
            [7, 7, 9, 9, 9]
        );
        // against the sentence in rational arithmetic: new·(2·p) <= (2i+1)·old < new·2·(p+1)
        for (old, new) in [(530usize, 256usize), (3, 1000), (622, 128), (1, 9), (9, 1)] {
            for i in 0..new {
                let p = centre(i, old, new);
                assert!(
                    p < old
                        && 2 * new * p <= (2 * i + 1) * old
                        && (2 * i + 1) * old < 2 * new * (p + 1)
                );
            }
        }
        // data sets are compared by this: torch's floor(i · scale) picks another row everywhere from 530 to 256
        assert!((0..256).all(|i| centre(i, 530, 256) != i * 530 / 256));
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let plane = noise(5, 30);
        assert_eq!(resize(&plane, [5, 6], [5, 6], Filter::Bilinear), plane);
        let filtered = lower::<1>(&narrower::<1>(&plane, 6, 6), 5, [5, 6]);
        assert_eq!(filtered, plane, "and not by the short cut alone");
    }

    #[test]
    fn colours_are_resized_plane_by_plane() {
        for (old, new) in [
            ([9, 7], [4, 3]),
            ([5, 6], [11, 8]),
            ([5, 6], [5, 6]),
            ([4, 6], [4, 3]),
        ] {
            let planes = noise(6, 3 * old[0] * old[1]);
            let pixels: Vec<u8> = (0..planes.len())
                .map(|i| planes[i % 3 * old[0] * old[1] + i / 3])
                .collect();
            for filter in [Filter::Nearest, Filter::Bilinear] {
                let one_by_one: Vec<u8> = planes
                    .chunks_exact(old[0] * old[1])
                    .flat_map(|plane| resize(plane, old, new, filter))
                    .collect();
                assert_eq!(to_planes::<3>(&pixels, old, new, filter), one_by_one);
            }
        }
    }

    #[test]
    fn sums_of_the_widest_windows_do_not_wrap() {
        for old in [65_535, 131_072] {
            assert_eq!(
                resize(&vec![255; old], [1, old], [1, 1], Filter::Bilinear),
                [255]
            );
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_imaging_library() {
        // PIL's resize((3, 2), BILINEAR) of (37·y + 59·x) mod 256 on 5 rows and 7 columns
        let plane: Vec<u8> = (0..35)
            .map(|i| ((37 * (i / 7) + 59 * (i % 7)) % 256) as u8)
            .collect();
        assert_eq!(
            resize(&plane, [5, 7], [2, 3], Filter::Bilinear),
            [88, 153, 101, 145, 117, 158]
        );
    }

    #[test]
    fn names_go_both_ways() {
        for (name, filter) in FILTERS {
            assert_eq!(
                (name.parse::<Filter>().unwrap(), filter.to_string().as_str()),
                (filter, name)
            );
        }
        let error = "cubic".parse::<Filter>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"no filter is called "cubic", expected one of nearest, bilinear"#
        );
    }
}
