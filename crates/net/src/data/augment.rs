//! Random changes of training pictures: flips, rotation, scale and crop, image and mask together; colour and noise, the
//! image alone.

use serde::{Deserialize, Serialize};

use super::affine::Affine;
use super::colour::Colour;
use super::{Sample, VOID};
use crate::rng::Rng;
use crate::{Error, Result};

/// How much training pictures may change; the default changes nothing. What is asked for happens in this order: flips, scale,
/// rotation, crop, then colours and noise as the fields stand here.
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
    /// The picture gets a border of so many pixels, void and 0, and a random window of the old size is cut out: a shift
    /// of whole pixels, by as much at most. 0 to 1024, less than the sides. Where the scale is above 1, the border
    /// shows more of the picture.
    pub crop_padding: usize,
    /// All values times a factor uniform in [1 - x, 1 + x], x in [0, 1], as the next two.
    pub brightness: f64,
    /// Distances to the mean grey of the picture times such a factor.
    pub contrast: f64,
    /// Distances to the pixel's own grey times such a factor.
    pub saturation: f64,
    /// Hue moved by a part uniform in [-x, x] of the colour circle, x in [0, 0.5].
    pub hue: f64,
    /// Standard deviation of Gaussian noise on every value, those outside the picture too, in [0, 1] units, 0 to 10. Not
    /// cut to [0, 1]: this is the noise that randomised smoothing trains with.
    pub noise: f64,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flip_horizontal: 0.0,
            flip_vertical: 0.0,
            rotation_degrees: 0.0,
            scale: [1.0, 1.0],
            crop_padding: 0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            noise: 0.0,
        }
    }
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
        if self.crop_padding > 1024 {
            let got = self.crop_padding.to_string();
            return Err(Error::setting("augment.crop_padding", got, "0 to 1024"));
        }
        for (field, value, most) in [
            ("brightness", self.brightness, 1.0),
            ("contrast", self.contrast, 1.0),
            ("saturation", self.saturation, 1.0),
            ("hue", self.hue, 0.5),
            ("noise", self.noise, 10.0),
        ] {
            if !(0.0..=most).contains(&value) {
                let (field, expected) = (format!("augment.{field}"), format!("0 to {most}"));
                return Err(Error::setting(field, value.to_string(), expected));
            }
        }
        Ok(())
    }

    /// A changed picture: image (3, H, W) in [0, 1], interpolated bilinearly, and mask (H, W), nearest pixel. Outside the
    /// old picture the image is 0 and the mask [`VOID`]; a sample without mask gets one that is [`VOID`] all over.
    /// Noise alone leaves [0, 1], and adds to what is outside.
    ///
    /// Everything drawn comes from `rng`: key it by (seed, epoch, sample) and a picture does not depend on the others.
    /// Without rotation, scale, colours and noise the result is exact; cosines and logarithms may differ in the last bit
    /// between platforms.
    /// The settings must have passed [`Augment::check`]; else the picture may be void, but nothing panics.
    pub fn apply(&self, sample: &Sample, rng: &mut Rng) -> (Vec<f32>, Vec<u8>) {
        let pixels = sample.height * sample.width;
        let (mut image, mut mask) = (vec![0.0; 3 * pixels], vec![VOID; pixels]);
        self.write(sample, rng, &mut image, &mut mask);
        (image, mask)
    }

    /// As [`Augment::apply`], over zeros and [`VOID`].
    pub(super) fn write(&self, sample: &Sample, rng: &mut Rng, image: &mut [f32], mask: &mut [u8]) {
        let map = self.draw([sample.height as f64, sample.width as f64], rng);
        let colour = self.draw_colour(rng);
        let inside = map.apply(sample, image, mask);
        colour.apply(image, sample.width, &inside);
        if self.noise > 0.0 {
            for values in image.chunks_mut(2) {
                for (value, normal) in values.iter_mut().zip(rng.normals()) {
                    *value += (self.noise * normal) as f32;
                }
            }
        }
    }

    /// Draws a map. The number of draws does not depend on the settings, and new ones come last: a picture is moved by the
    /// same draws as ever.
    fn draw(&self, size: [f64; 2], rng: &mut Rng) -> Affine {
        let flipped = [
            rng.uniform() < self.flip_vertical,
            rng.uniform() < self.flip_horizontal,
        ];
        let angle = ((2.0 * rng.uniform() - 1.0) * self.rotation_degrees).to_radians();
        let [low, high] = self.scale;
        let scale = low + rng.uniform() * (high - low);
        let corner = size.map(|length| rng.uniform() * (scale - 1.0) * length);
        let padding = self.crop_padding as f64;
        let shift = [(); 2].map(|()| (rng.uniform() * (2.0 * padding + 1.0)).floor() - padding);
        Affine {
            flipped,
            turn: [angle.cos(), angle.sin()],
            scale,
            corner,
            shift,
            size,
        }
    }

    /// Draws a change of colour, always with four numbers.
    fn draw_colour(&self, rng: &mut Rng) -> Colour {
        let mut around = |middle: f64, most| (middle + (2.0 * rng.uniform() - 1.0) * most) as f32;
        Colour {
            brightness: around(1.0, self.brightness),
            contrast: around(1.0, self.contrast),
            saturation: around(1.0, self.saturation),
            hue: around(0.0, self.hue),
        }
    }
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
            .map(|i| f32::from(sample.image[i / 24 * 24 + source(i % 24)]) / 255.0)
            .collect();
        (image, (0..24).map(|i| source(i) as u8).collect())
    }

    fn apply(augment: &Augment, seed: u64) -> (Vec<f32>, Vec<u8>) {
        augment.check().unwrap();
        augment.apply(&sample(), &mut Rng::new(seed))
    }

    /// Every setting on.
    fn everything() -> Augment {
        Augment {
            flip_horizontal: 0.5,
            flip_vertical: 0.5,
            rotation_degrees: 30.0,
            scale: [0.9, 1.2],
            crop_padding: 1,
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.2,
            hue: 0.1,
            noise: 0.1,
        }
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

    #[test]
    fn scale_2_shows_a_part_and_scale_one_half_the_whole() {
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
            crop_padding: 2,
            ..Augment::default()
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
        let all = everything();
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
            crop_padding: 2,
            ..Augment::default()
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
    fn a_crop_shifts_by_whole_pixels_each_as_often() {
        let augment = Augment {
            crop_padding: 1,
            ..Augment::default()
        };
        let mut seen = [[0; 3]; 3];
        for seed in 0..900 {
            let (image, mask) = apply(&augment, seed);
            // the sample's classes are its pixels' numbers, so one pixel that is left tells the shift
            let at = mask.iter().position(|&class| class != VOID).unwrap();
            let old = usize::from(mask[at]);
            let [down, right] = [old / 6 + 1 - at / 6, old % 6 + 1 - at % 6];
            seen[down][right] += 1;
            for (i, &class) in mask.iter().enumerate() {
                let (row, column) = (i / 6 + down, i % 6 + right);
                let inside = (1..=4).contains(&row) && (1..=6).contains(&column);
                let source = inside.then(|| (row - 1) * 6 + column - 1);
                assert_eq!(class, source.map_or(VOID, |at| at as u8));
                for plane in 0..3 {
                    let expected = source.map_or(0.0, |at| sample().image_f32()[plane * 24 + at]);
                    assert_eq!(image[plane * 24 + i], expected);
                }
            }
        }
        // five standard deviations of a binomial(900, 1/9) are 48
        let even = seen.as_flattened().iter().all(|n| (52..=148).contains(n));
        assert!(even, "{seen:?}");
    }

    #[test]
    fn colours_and_noise_leave_mask_and_place_alone() {
        let moves = Augment {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            noise: 0.0,
            ..everything()
        };
        let hued = Augment {
            hue: 0.5,
            ..moves.clone()
        };
        for seed in 0..50 {
            let still = apply(&moves, seed);
            assert_eq!(apply(&everything(), seed).1, still.1);
            assert_ne!(apply(&everything(), seed).0, still.0);
            // a hue keeps the largest and the smallest channel, so it shows that the pixels are the same ones
            let other = apply(&hued, seed);
            assert_ne!(other.0, still.0);
            for i in 0..24 {
                let ends = |image: &[f32]| {
                    let pixel = [image[i], image[24 + i], image[48 + i]];
                    [f32::min, f32::max].map(|end| pixel.into_iter().reduce(end).unwrap())
                };
                let pairs = ends(&other.0).into_iter().zip(ends(&still.0));
                assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= ROUNDING));
            }
        }
    }

    #[test]
    fn factors_are_uniform_around_one() {
        let brighter = Augment {
            brightness: 0.5,
            ..Augment::default()
        };
        // dark enough not to be cut
        let dark = Sample {
            image: vec![51; 72],
            ..sample()
        };
        let factors: Vec<f32> = (0..1000)
            .map(|seed| brighter.apply(&dark, &mut Rng::new(seed)).0[0] / 0.2)
            .collect();
        let (low, high) = (0.5 - ROUNDING, 1.5 + ROUNDING);
        assert!(factors.iter().all(|f| (low..=high).contains(f)));
        // five standard deviations of a binomial(1000, 1/4) are 68
        for (from, to) in [(0.5, 0.75), (0.75, 1.0), (1.0, 1.25), (1.25, 1.5)] {
            let count = factors.iter().filter(|&&f| f >= from && f < to).count();
            assert!((182..=318).contains(&count), "{count} in {from}..{to}");
        }
    }

    #[test]
    fn noise_has_its_standard_deviation_everywhere_and_is_not_cut() {
        let noisy = Augment {
            noise: 0.25,
            ..Augment::default()
        };
        let black = Sample {
            image: vec![0; 72],
            ..sample()
        };
        let n = 1000 * 72;
        let (mut sum, mut squares, mut below) = (0.0, 0.0, 0);
        for seed in 0..1000 {
            for value in noisy.apply(&black, &mut Rng::new(seed)).0 {
                sum += f64::from(value);
                squares += f64::from(value).powi(2);
                below += usize::from(value < 0.0);
            }
        }
        let (mean, deviation) = (sum / f64::from(n), (squares / f64::from(n)).sqrt());
        // five standard errors
        let tolerance = 5.0 * 0.25 / f64::from(n).sqrt();
        assert!(mean.abs() <= tolerance, "{mean}");
        assert!(
            (deviation - 0.25).abs() <= tolerance / 2f64.sqrt(),
            "{deviation}"
        );
        assert!((35_000..=37_000).contains(&below), "{below}");
        // a picture half the size lies in a larger one: noise is outside too
        let outside = Augment {
            scale: [0.5, 0.5],
            ..noisy
        };
        assert!(apply(&outside, 0).0.iter().all(|&v| v != 0.0));
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
            Augment {
                crop_padding: 1025,
                ..Augment::default()
            },
        ];
        let colours = [f64::NAN, -0.1, 10.1].into_iter().flat_map(|value| {
            let mut bad = [(); 5].map(|()| Augment::default());
            bad[0].brightness = value;
            bad[1].contrast = value;
            bad[2].saturation = value;
            bad[3].hue = value;
            bad[4].noise = value;
            bad
        });
        for augment in bad.into_iter().chain(colours) {
            assert!(
                matches!(augment.check(), Err(Error::Setting { .. })),
                "{augment:?}"
            );
            augment.apply(&sample(), &mut Rng::new(0));
        }
        let bright = Augment {
            brightness: 1.5,
            ..Augment::default()
        };
        assert_eq!(
            bright.check().unwrap_err().to_string(),
            "augment.brightness is 1.5, expected 0 to 1"
        );
        assert!(everything().check().is_ok());
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
