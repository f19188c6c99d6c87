//! Random changes of colour: brightness, contrast, saturation, hue, in this order, as torchvision's ColorJitter defines
//! each. (That one draws the order too; a fixed one says what a setting does.)

use std::ops::Range;

/// Weights of red, green and blue in grey, as torchvision has them.
const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// One drawn change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Colour {
    /// Factor of all values.
    pub(super) brightness: f32,
    /// Factor of the distance to the mean grey of the picture.
    pub(super) contrast: f32,
    /// Factor of the distance to the pixel's own grey.
    pub(super) saturation: f32,
    /// Turn of the colour circle, 1 being once around: red becomes green at 1/3.
    pub(super) hue: f32,
}

impl Colour {
    /// Changes the pixels `inside` (columns of each row) of an image (3, H, W) in [0, 1]. Every operation is cut to [0, 1]; one
    /// whose factor is 1, or whose turn is 0, does not touch a bit.
    pub(super) fn apply(&self, image: &mut [f32], width: usize, inside: &[Range<usize>]) {
        if self.brightness != 1.0 {
            each(image, width, inside, |pixel| {
                blend(pixel, 0.0, self.brightness)
            });
        }
        if self.contrast != 1.0 {
            let (mut sum, mut count) = (0.0, 0.0f64);
            each(image, width, inside, |pixel| {
                sum += f64::from(grey(pixel));
                count += 1.0;
                pixel
            });
            let mean = (sum / count.max(1.0)) as f32;
            each(image, width, inside, |pixel| {
                blend(pixel, mean, self.contrast)
            });
        }
        if self.saturation != 1.0 {
            each(image, width, inside, |pixel| {
                blend(pixel, grey(pixel), self.saturation)
            });
        }
        if self.hue != 0.0 {
            each(image, width, inside, |pixel| turned(pixel, self.hue));
        }
    }
}

/// Changes every pixel inside, row by row.
fn each(
    image: &mut [f32],
    width: usize,
    inside: &[Range<usize>],
    mut change: impl FnMut([f32; 3]) -> [f32; 3],
) {
    let (red, rest) = image.split_at_mut(inside.len() * width);
    let (green, blue) = rest.split_at_mut(inside.len() * width);
    for (row, columns) in inside.iter().enumerate() {
        let span = row * width + columns.start..row * width + columns.end;
        let pixels = red[span.clone()].iter_mut().zip(&mut green[span.clone()]);
        for ((r, g), b) in pixels.zip(&mut blue[span]) {
            [*r, *g, *b] = change([*r, *g, *b]);
        }
    }
}

fn grey(pixel: [f32; 3]) -> f32 {
    let [r, g, b] = [0, 1, 2].map(|c| GREY[c] * pixel[c]);
    r + g + b
}

/// `factor` of the pixel and the rest of `other`.
fn blend(pixel: [f32; 3], other: f32, factor: f32) -> [f32; 3] {
    pixel.map(|v| (factor * v + (1.0 - factor) * other).clamp(0.0, 1.0))
}

/// The pixel with its hue moved by `turn`, value and chroma kept. Grey has no hue.
fn turned(pixel: [f32; 3], turn: f32) -> [f32; 3] {
    let [r, g, b] = pixel;
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = most - least;
    if chroma <= 0.0 {
        return pixel;
    }
    // the circle in sixths: red at 0, green at 2, blue at 4
    let sixths = if most == r {
        (g - b) / chroma
    } else if most == g {
        (b - r) / chroma + 2.0
    } else {
        (r - g) / chroma + 4.0
    };
    let sixths = sixths + 6.0 * turn;
    // how far a primary colour is from this hue, 0 to 3: full within 1, none beyond 2
    [0.0, 2.0, 4.0].map(|primary| {
        let apart = (sixths - primary + 3.0).rem_euclid(6.0) - 3.0;
        least + chroma * (2.0 - apart.abs()).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const SAME: Colour = Colour {
        brightness: 1.0,
        contrast: 1.0,
        saturation: 1.0,
        hue: 0.0,
    };

    /// Two pixels, one above the other: planes of red, green, blue.
    fn pair(colour: Colour, pixels: [[f32; 3]; 2]) -> [[f32; 3]; 2] {
        let [a, b] = pixels;
        let mut image: Vec<f32> = (0..3).flat_map(|c| [a[c], b[c]]).collect();
        colour.apply(&mut image, 1, &[0..1, 0..1]);
        [0, 1].map(|i| [0, 1, 2].map(|c| image[2 * c + i]))
    }

    /// f32 sums of three or four terms of at most 1.
    const ROUNDING: f32 = 1e-6;

    fn close(got: [[f32; 3]; 2], expected: [[f32; 3]; 2]) -> bool {
        let pairs = got.as_flattened().iter().zip(expected.as_flattened());
        pairs.into_iter().all(|(a, b)| (a - b).abs() <= ROUNDING)
    }

    #[test]
    fn factors_of_one_and_no_turn_change_no_bit() {
        let pixels = [[0.1, 0.7, 0.3], [1.0, 0.0, 1.0 / 3.0]];
        assert_eq!(pair(SAME, pixels), pixels);
    }

    #[test]
    fn brightness_multiplies_and_is_cut() {
        let colour = Colour {
            brightness: 1.5,
            ..SAME
        };
        let got = pair(colour, [[0.2, 0.4, 0.8], [0.0, 1.0, 0.5]]);
        assert!(close(got, [[0.3, 0.6, 1.0], [0.0, 1.0, 0.75]]), "{got:?}");
    }

    #[test]
    fn contrast_moves_away_from_the_mean_grey() {
        // greys 0.2·0.9999 and 0.6·0.9999, mean 0.39996
        let colour = Colour {
            contrast: 0.5,
            ..SAME
        };
        let got = pair(colour, [[0.2; 3], [0.6; 3]]);
        assert!(close(got, [[0.299_98; 3], [0.499_98; 3]]), "{got:?}");
        // green alone: grey 0.587
        let none = Colour {
            contrast: 0.0,
            ..SAME
        };
        let got = pair(none, [[0.0, 1.0, 0.0]; 2]);
        assert!(close(got, [[0.587; 3]; 2]), "{got:?}");
    }

    #[test]
    fn saturation_moves_away_from_the_own_grey() {
        let colour = Colour {
            saturation: 0.0,
            ..SAME
        };
        let got = pair(colour, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
        assert!(close(got, [[0.2989; 3], [0.114; 3]]), "{got:?}");
        let more = Colour {
            saturation: 2.0,
            ..SAME
        };
        let got = pair(more, [[0.5, 0.25, 0.25], [0.5; 3]]);
        // grey of the first: 0.299·0.5 + 0.701·0.25 in their digits
        let grey = 0.2989 * 0.5 + 0.701 * 0.25;
        let expected = [
            [1.0 - grey, 0.5 - grey, 0.5 - grey],
            [1.0 - 0.5 * 0.9999; 3],
        ];
        assert!(close(got, expected), "{got:?}");
    }

    #[test]
    fn a_third_of_a_turn_makes_red_green_and_green_blue() {
        let colour = Colour {
            hue: 1.0 / 3.0,
            ..SAME
        };
        let got = pair(colour, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
        assert!(close(got, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), "{got:?}");
        let colour = Colour { hue: 0.5, ..SAME };
        let got = pair(colour, [[0.8, 0.2, 0.2], [0.4; 3]]);
        assert!(
            close(got, [[0.2, 0.8, 0.8], [0.4; 3]]),
            "cyan, and grey: {got:?}"
        );
        let colour = Colour {
            hue: -1.0 / 12.0,
            ..SAME
        };
        let got = pair(colour, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
        assert!(close(got, [[1.0, 0.0, 0.5], [0.0, 0.5, 1.0]]), "{got:?}");
    }

    #[test]
    fn a_turn_there_and_back_is_none() {
        let mut rng = Rng::new(1);
        for _ in 0..1000 {
            let pixels = [[(); 3]; 2].map(|p| p.map(|()| rng.uniform() as f32));
            let hue = (rng.uniform() - 0.5) as f32;
            let there = pair(Colour { hue, ..SAME }, pixels);
            let back = pair(Colour { hue: -hue, ..SAME }, there);
            let most = |p: [f32; 3]| p.into_iter().fold(0.0, f32::max);
            for i in 0..2 {
                assert!(
                    (most(there[i]) - most(pixels[i])).abs() <= ROUNDING,
                    "value"
                );
                // the hue is a quotient by the chroma
                let apart = (0..3).all(|c| (back[i][c] - pixels[i][c]).abs() <= 10.0 * ROUNDING);
                assert!(apart, "{pixels:?} {hue} {back:?}");
            }
        }
    }

    #[test]
    fn pixels_outside_are_neither_changed_nor_counted() {
        let colour = Colour {
            brightness: 0.5,
            contrast: 0.0,
            ..SAME
        };
        // two rows of two, of which one pixel each lies inside
        let mut image = vec![0.8; 12];
        colour.apply(&mut image, 2, &[1..2, 0..1]);
        for plane in image.chunks_exact(4) {
            assert_eq!([plane[0], plane[3]], [0.8; 2]);
            assert!((plane[1] - 0.4 * 0.9999).abs() <= ROUNDING && plane[1] == plane[2]);
        }
    }
}
