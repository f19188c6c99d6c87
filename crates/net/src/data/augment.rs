//! Random changes of training pictures: flips, rotation, scale and crop in one affine map, image and mask together.

use serde::{Deserialize, Serialize};

use super::{Sample, VOID, unit};
use crate::rng::Rng;
use crate::{Error, Result};

/// How much training pictures may change; the default changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Probability that left and right change places, in [0, 1].
    pub flip_horizontal: f64,
    /// Probability that top and bottom change places, in [0, 1].
    pub flip_vertical: f64,
    /// Rotation about the centre by an angle uniform in [-x, x], in degrees, 0 to 180.
    pub rotation_degrees: f64,
    /// Scale uniform in [low, high], 0.1 to 10: above 1 a random part fills the picture, below 1 the whole picture lies
    /// at a random place in it.
    pub scale: [f64; 2],
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flip_horizontal: 0.0,
            flip_vertical: 0.0,
            rotation_degrees: 0.0,
            scale: [1.0, 1.0],
        }
    }
}

/// Where the new pixels of one picture come from. Coordinates run from 0 to H and W, pixel centres at halves.
struct Map {
    flipped: [bool; 2],
    /// Cosine and sine of the angle.
    turn: [f64; 2],
    scale: f64,
    /// Upper left corner of the picture in the scaled one.
    corner: [f64; 2],
    /// Height and width.
    size: [f64; 2],
}

impl Augment {
    /// # Errors
    /// [`Error::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        for (field, value) in [
            ("flip_horizontal", self.flip_horizontal),
            ("flip_vertical", self.flip_vertical),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::setting(
                    format!("augment.{field}"),
                    value.to_string(),
                    "a probability in [0, 1]",
                ));
            }
        }
        if !(0.0..=180.0).contains(&self.rotation_degrees) {
            let got = self.rotation_degrees.to_string();
            return Err(Error::setting("augment.rotation_degrees", got, "0 to 180"));
        }
        let [low, high] = self.scale;
        if !((0.1..=10.0).contains(&low) && (low..=10.0).contains(&high)) {
            let got = format!("[{low}, {high}]");
            return Err(Error::setting(
                "augment.scale",
                got,
                "[low, high] with 0.1 <= low <= high <= 10",
            ));
        }
        Ok(())
    }

    /// A changed picture: image (3, H, W) in [0, 1], interpolated bilinearly, and mask (H, W), nearest pixel. Outside the
    /// old picture the image is 0 and the mask [`VOID`]; a sample without mask gets one that is [`VOID`] all over.
    ///
    /// Everything drawn comes from `rng`: key it by (seed, epoch, sample) and a picture does not depend on the others.
    /// Without rotation and scale the result is exact; cosines may differ in the last bit between platforms.
    /// The settings must have passed [`Augment::check`]; else the picture may be void, but nothing panics.
    pub fn apply(&self, sample: &Sample, rng: &mut Rng) -> (Vec<f32>, Vec<u8>) {
        self.draw([sample.height as f64, sample.width as f64], rng)
            .apply(sample)
    }

    /// Draws a map. The number of draws does not depend on the settings.
    fn draw(&self, size: [f64; 2], rng: &mut Rng) -> Map {
        let flipped = [
            rng.uniform() < self.flip_vertical,
            rng.uniform() < self.flip_horizontal,
        ];
        let angle = ((2.0 * rng.uniform() - 1.0) * self.rotation_degrees).to_radians();
        let [low, high] = self.scale;
        let scale = low + rng.uniform() * (high - low);
        let corner = size.map(|length| rng.uniform() * (scale - 1.0) * length);
        Map {
            flipped,
            turn: [angle.cos(), angle.sin()],
            scale,
            corner,
            size,
        }
    }
}

impl Map {
    fn apply(&self, sample: &Sample) -> (Vec<f32>, Vec<u8>) {
        let (height, width) = (sample.height, sample.width);
        let pixels = height * width;
        let (mut image, mut mask) = (vec![0.0; 3 * pixels], vec![VOID; pixels]);
        for (i, label) in mask.iter_mut().enumerate() {
            let [y, x] = self.source([(i / width) as f64 + 0.5, (i % width) as f64 + 0.5]);
            if !((0.0..self.size[0]).contains(&y) && (0.0..self.size[1]).contains(&x)) {
                continue;
            }
            if let Some(old) = &sample.mask {
                *label = old[y as usize * width + x as usize];
            }
            let [(top, bottom, down), (left, right, across)] =
                [neighbours(y, height), neighbours(x, width)];
            for (channel, plane) in sample.image.chunks_exact(pixels).enumerate() {
                let row = |y: usize| {
                    let [a, b] = [left, right].map(|x| unit(plane[y * width + x]));
                    a * (1.0 - across) + b * across
                };
                image[channel * pixels + i] = row(top) * (1.0 - down) + row(bottom) * down;
            }
        }
        (image, mask)
    }

    /// Where the point `to` of the new picture lies in the old one: turned, moved to the crop, unscaled, flipped back.
    fn source(&self, to: [f64; 2]) -> [f64; 2] {
        let [y, x] = [0, 1].map(|axis| to[axis] - self.size[axis] / 2.0);
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
    use super::*;

    /// 4x6 noise, every mask pixel another class.
    fn sample() -> Sample {
        let mut rng = Rng::new(7);
        let image = (0..72).map(|_| rng.below(256) as u8).collect();
        Sample {
            id: "a".into(),
            height: 4,
            width: 6,
            image,
            mask: Some((0..24).collect()),
        }
    }

    /// The sample with its pixels moved: new (row, column) from old.
    fn moved(from: impl Fn(usize, usize) -> (usize, usize)) -> (Vec<f32>, Vec<u8>) {
        let sample = sample();
        let source = |i: usize| {
            let (y, x) = from(i / 6, i % 6);
            y * 6 + x
        };
        let image = (0..72)
            .map(|i| unit(sample.image[i / 24 * 24 + source(i % 24)]))
            .collect();
        (image, (0..24).map(|i| source(i) as u8).collect())
    }

    fn apply(augment: &Augment, seed: u64) -> (Vec<f32>, Vec<u8>) {
        augment.check().unwrap();
        augment.apply(&sample(), &mut Rng::new(seed))
    }

    #[test]
    fn the_default_changes_nothing() {
        for seed in 0..20 {
            assert_eq!(
                apply(&Augment::default(), seed),
                (sample().image_f32(), sample().mask.unwrap())
            );
        }
    }

    #[test]
    fn flips_are_exact() {
        let across = Augment {
            flip_horizontal: 1.0,
            ..Augment::default()
        };
        assert_eq!(apply(&across, 0), moved(|y, x| (y, 5 - x)));
        let down = Augment {
            flip_vertical: 1.0,
            ..Augment::default()
        };
        assert_eq!(apply(&down, 0), moved(|y, x| (3 - y, x)));
        assert_ne!(apply(&down, 0), apply(&across, 0));
        let both = Augment {
            flip_vertical: 1.0,
            ..across
        };
        assert_eq!(apply(&both, 0), moved(|y, x| (3 - y, 5 - x)));
    }

    #[test]
    fn flips_come_as_often_as_asked() {
        let augment = Augment {
            flip_horizontal: 0.25,
            ..Augment::default()
        };
        let still = apply(&Augment::default(), 0);
        let flipped = (0..2000)
            .filter(|&seed| apply(&augment, seed) != still)
            .count();
        // five standard deviations of a binomial(2000, 1/4) are 97
        assert!((403..=597).contains(&flipped), "{flipped}");
    }

    /// Images differ by the rounding of an f64 cosine in f32 interpolation.
    const ROUNDING: f32 = 1e-5;

    fn close(a: &(Vec<f32>, Vec<u8>), b: &(Vec<f32>, Vec<u8>)) -> bool {
        a.1 == b.1
            && a.0.len() == b.0.len()
            && a.0.iter().zip(&b.0).all(|(a, b)| (a - b).abs() <= ROUNDING)
    }

    /// One fixed map instead of a drawn one.
    fn fixed(angle: f64, scale: f64, corner: [f64; 2]) -> Map {
        let turn = [angle.to_radians().cos(), angle.to_radians().sin()];
        Map {
            flipped: [false; 2],
            turn,
            scale,
            corner,
            size: [4.0, 6.0],
        }
    }

    #[test]
    fn half_a_turn_is_both_flips_and_a_quarter_turn_moves_the_axes() {
        assert!(close(
            &fixed(180.0, 1.0, [0.0; 2]).apply(&sample()),
            &moved(|y, x| (3 - y, 5 - x))
        ));
        // clockwise as seen: what was below the centre is left of it
        let quarter = fixed(90.0, 1.0, [0.0; 2]).apply(&sample());
        for (y, x) in (0..4).flat_map(|y| (1..5).map(move |x| (y, x))) {
            assert_eq!(
                quarter.1[y * 6 + x],
                ((4 - x) * 6 + y + 1) as u8,
                "row {y}, column {x}"
            );
        }
    }

    #[test]
    fn scale_2_shows_a_part_and_scale_one_half_the_whole() {
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
        let half = Augment {
            scale: [0.5, 0.5],
            ..Augment::default()
        };
        let (image, mask) = apply(&half, 1);
        let void = mask.iter().filter(|&&class| class == VOID).count();
        assert_eq!(void, 18, "a quarter of the picture is left");
        assert!((0..24).all(|i| mask[i] != VOID || (0..3).all(|c| image[c * 24 + i] == 0.0)));
        let double = Augment {
            scale: [2.0, 2.0],
            ..Augment::default()
        };
        assert!(
            (0..50).all(|seed| !apply(&double, seed).1.contains(&VOID)),
            "a crop has no outside"
        );
    }

    #[test]
    fn a_constant_picture_stays_constant_where_it_is_not_void() {
        let constant = Sample {
            image: vec![51; 72],
            mask: Some(vec![3; 24]),
            ..sample()
        };
        let all = Augment {
            flip_horizontal: 0.5,
            flip_vertical: 0.5,
            rotation_degrees: 180.0,
            scale: [0.5, 2.0],
        };
        for seed in 0..200 {
            let (image, mask) = all.apply(&constant, &mut Rng::new(seed));
            for (i, class) in mask.into_iter().enumerate() {
                let expected = if class == VOID { 0.0 } else { 0.2 };
                assert!(class == VOID || class == 3);
                assert!((0..3).all(|c| (image[c * 24 + i] - expected).abs() <= ROUNDING));
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_picture() {
        let all = Augment {
            flip_horizontal: 0.5,
            flip_vertical: 0.5,
            rotation_degrees: 30.0,
            scale: [0.9, 1.2],
        };
        for seed in 0..20 {
            assert_eq!(apply(&all, seed), apply(&all, seed));
            assert_ne!(apply(&all, seed), apply(&all, seed + 1));
        }
    }

    #[test]
    fn the_comparison_sees_planted_errors() {
        let right = apply(&Augment::default(), 0);
        assert!(close(&right, &right));
        let mut shifted = right.clone();
        shifted.1.rotate_left(1);
        assert!(!close(&right, &shifted));
        let mut brighter = right.clone();
        brighter.0[40] += 1e-3;
        assert!(!close(&right, &brighter));
        assert!(!close(&right, &moved(|y, x| (y, 5 - x))));
    }

    /// Between the pixel under a point and the point itself, and f32 rounding of colours up to 230.
    const HALF_PIXEL: f64 = 0.5001;

    #[test]
    fn image_and_mask_move_together() {
        // red tells the row and green the column, so an interpolated colour names its source
        let plane = |f: fn(usize, usize) -> u8| (0..24 * 24).map(move |i| f(i / 24, i % 24));
        let image = plane(|y, _| 10 * y as u8)
            .chain(plane(|_, x| 10 * x as u8))
            .chain(plane(|_, _| 0))
            .collect();
        let mask = plane(|y, x| (y / 6 * 4 + x / 6) as u8).collect();
        let sample = Sample {
            id: "a".into(),
            height: 24,
            width: 24,
            image,
            mask: Some(mask),
        };
        let all = Augment {
            flip_horizontal: 0.5,
            flip_vertical: 0.5,
            rotation_degrees: 180.0,
            scale: [0.5, 2.0],
        };
        for seed in 0..100 {
            let (image, mask) = all.apply(&sample, &mut Rng::new(seed));
            for (i, &class) in mask.iter().enumerate().filter(|(_, class)| **class != VOID) {
                let [row, column] = [0, 1].map(|c| f64::from(image[c * 576 + i]) * 25.5);
                let tile = [usize::from(class) / 4, usize::from(class) % 4].map(|t| t as f64 * 6.0);
                let within =
                    |at: f64, low: f64| (low - HALF_PIXEL..=low + 5.0 + HALF_PIXEL).contains(&at);
                assert!(
                    within(row, tile[0]) && within(column, tile[1]),
                    "{row} {column} {class}"
                );
            }
        }
    }

    #[test]
    fn setting() {
        let bad = [
            Augment {
                flip_horizontal: -0.1,
                ..Augment::default()
            },
            Augment {
                flip_horizontal: f64::NAN,
                ..Augment::default()
            },
            Augment {
                flip_vertical: 1.1,
                ..Augment::default()
            },
            Augment {
                rotation_degrees: 181.0,
                ..Augment::default()
            },
            Augment {
                rotation_degrees: f64::INFINITY,
                ..Augment::default()
            },
            Augment {
                scale: [0.0, 1.0],
                ..Augment::default()
            },
            Augment {
                scale: [1.2, 0.9],
                ..Augment::default()
            },
            Augment {
                scale: [1.0, f64::NAN],
                ..Augment::default()
            },
        ];
        for augment in bad {
            assert!(
                matches!(augment.check(), Err(Error::Setting { .. })),
                "{augment:?}"
            );
            augment.apply(&sample(), &mut Rng::new(0));
        }
        assert!(serde_json::from_str::<Augment>(r#"{"flip": 1}"#).is_err());
        let one: Augment = serde_json::from_str(r#"{"scale": [0.9, 1.2]}"#).unwrap();
        assert_eq!(
            one,
            Augment {
                scale: [0.9, 1.2],
                ..Augment::default()
            }
        );
    }
}
