//! Noise on the values of a picture, from counted random bits.
//!
//! *Grid*: q = round(255·noise) is added to the bytes, in whole numbers, so that nothing of the picture leaks
//! through a rounded sum; the network that reads the result is f'(z) = f(round(255·z)/255)
//! ([`GridLaw`]). *Float*: real noise of 52-bit uniforms, rounded with the sum to f32; what is proved then
//! holds up to rounding. Neither is cut to [0, 1]: that would be the network's part.
//!
//! Value (c, y, x) of a picture (3, H, W) takes number j = (y·W + x)·3 + c of the sample, whatever
//! the layout in memory.

use certiseg_cert::smoothing::{FloatingPoint, GridLaw, Law};
use pulp::{Arch, NullaryFnOnce};
use serde::{Deserialize, Serialize};

use super::philox::Philox;
use super::real;
use crate::data::UNIT;
use crate::error::Result;

/// Channels of a picture.
const CHANNELS: usize = 3;

/// Pixels whose noise is made together: their numbers stay in the first-level cache.
const PIXELS: usize = 256;

/// Levels of a byte.
const LEVELS: u32 = 255;

/// How noise and picture are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// In whole numbers, on the grid of the bytes.
    #[default]
    Grid,
    /// In f32.
    Float,
}

/// Noise of a law, ready to be drawn.
///
/// ```
/// use certiseg_cert::smoothing::Law;
/// use certiseg_net::smooth::{Arithmetic, Noise, Philox, Stream};
///
/// let noise = Noise::new(Law::Gaussian { sigma: 0.25 }, Arithmetic::Grid)?;
/// let picture = vec![128; 3 * 4 * 4];
/// let mut noisy = vec![0.0; picture.len()];
/// noise.add(&Philox::new(7, Stream::Certification, 0, 0), &picture, &mut noisy);
/// assert!(noisy.iter().all(|value| (value * 255.0).round() / 255.0 == *value));
/// # Ok::<(), certiseg_net::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Noise {
    law: Law,
    table: Option<Table>,
}

/// Values of q by their random bits.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// By the top 16 bits; [`SEARCH`] where these do not decide.
    values: Box<[i16; 1 << 16]>,
    pub(crate) law: GridLaw,
}

/// No value of q: they are symmetric.
const SEARCH: i16 = i16::MIN;

/// Second and fourth moments about 0, which is the mean, in [0, 1] units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Mean of the squares.
    pub variance: f64,
    /// Mean of the fourth powers.
    pub fourth: f64,
}

impl Noise {
    /// Noise of a law, in [0, 1] units.
    ///
    /// # Errors
    /// [`Error::Cert`](crate::Error::Cert) for scales that are not above 0, or too wide for a grid.
    pub fn new(law: Law, arithmetic: Arithmetic) -> Result<Self> {
        let law = law.check()?;
        let table = match arithmetic {
            Arithmetic::Float => None,
            Arithmetic::Grid => Some(Table::new(GridLaw::new(law, LEVELS)?)),
        };
        Ok(Noise { law, table })
    }

    /// Its law.
    pub fn law(&self) -> Law {
        self.law
    }

    /// How it is added.
    pub fn arithmetic(&self) -> Arithmetic {
        match self.table {
            Some(_) => Arithmetic::Grid,
            None => Arithmetic::Float,
        }
    }

    /// What a report says of rounding.
    pub fn floating_point(&self) -> FloatingPoint {
        match self.table {
            Some(_) => FloatingPoint::Covered,
            None => FloatingPoint::Modulo,
        }
    }

    /// The most by which so many values are off the law, in total variation, rounded up; of real noise, whose
    /// rounding is not counted, 0.
    pub fn distance(&self, draws: u64) -> f64 {
        let table = self.table.as_ref();
        table.map_or(0.0, |table| table.law.distance(draws))
    }

    /// Its moments; on a grid those of q/255.
    pub fn moments(&self) -> Moments {
        if let Some(table) = &self.table {
            return Moments::on_grid(&table.law, LEVELS);
        }
        let (scale, second, fourth) = match self.law {
            Law::Gaussian { sigma } => (sigma, 1.0, 3.0),
            Law::Laplace { scale } => (scale, 2.0, 24.0),
            Law::Uniform { width } => (width, 1.0 / 3.0, 0.2),
        };
        let square = scale * scale;
        Moments {
            variance: second * square,
            fourth: fourth * square * square,
        }
    }

    /// Writes a noisy picture: bytes (3, H, W) to f32 (3, H, W) in [0, 1] units, not cut.
    ///
    /// # Panics
    /// Unless both have the same length, a multiple of 3.
    pub fn add(&self, bits: &Philox, picture: &[u8], noisy: &mut [f32]) {
        assert_eq!(picture.len(), noisy.len(), "one number a value");
        assert!(picture.len().is_multiple_of(CHANNELS), "three channels");
        Arch::new().dispatch(Addition {
            noise: self,
            bits,
            picture,
            noisy,
        });
    }
}

/// What [`Noise::add`] does, compiled for each width of vectors: the same operations, the same bits.
struct Addition<'a> {
    noise: &'a Noise,
    bits: &'a Philox,
    picture: &'a [u8],
    noisy: &'a mut [f32],
}

impl NullaryFnOnce for Addition<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Addition {
            noise: Noise { law, table },
            bits,
            picture,
            noisy,
        } = self;
        let pixels = picture.len() / CHANNELS;
        let mut numbers = [0; PIXELS * CHANNELS];
        let mut values = [0; PIXELS * CHANNELS];
        let mut reals = [[0.0; 2]; PIXELS * CHANNELS / 2];
        for start in (0..pixels).step_by(PIXELS) {
            let count = PIXELS.min(pixels - start);
            let numbers = &mut numbers[..(count * CHANNELS).next_multiple_of(2)];
            bits.fill(start * CHANNELS / 2, numbers);
            match table {
                Some(table) => table.look_up(numbers, &mut values),
                None => real::fill(*law, numbers.as_chunks::<2>().0, &mut reals),
            }
            for channel in 0..CHANNELS {
                let from = channel * pixels + start;
                let clean = &picture[from..][..count];
                let noisy = &mut noisy[from..][..count];
                if table.is_some() {
                    let values = values[channel..].iter().step_by(CHANNELS);
                    for ((noisy, clean), value) in noisy.iter_mut().zip(clean).zip(values) {
                        *noisy = on_grid(*clean, *value);
                    }
                } else {
                    let noise = reals.as_flattened()[channel..].iter().step_by(CHANNELS);
                    for ((noisy, clean), noise) in noisy.iter_mut().zip(clean).zip(noise) {
                        *noisy = (f64::from(UNIT[usize::from(*clean)]) + noise) as f32;
                    }
                }
            }
        }
    }
}

/// The sum in whole numbers, divided once.
#[inline(always)]
fn on_grid(clean: u8, value: i16) -> f32 {
    i32::from(clean).wrapping_add(i32::from(value)) as f32 / LEVELS as f32
}

impl Table {
    pub(crate) fn new(law: GridLaw) -> Self {
        let value = |top: u64| {
            let (first, last) = (top << 48, top << 48 | ((1 << 48) - 1));
            let value = law.value(first);
            if value == law.value(last) {
                value
            } else {
                SEARCH
            }
        };
        let mut values = Box::new([0; 1 << 16]);
        for (top, entry) in (0..).zip(values.iter_mut()) {
            *entry = value(top);
        }
        Table { values, law }
    }

    /// The value of each number.
    #[inline(always)]
    pub(crate) fn look_up(&self, numbers: &[u64], values: &mut [i16]) {
        for (value, bits) in values.iter_mut().zip(numbers) {
            *value = self.values[(*bits >> 48) as usize];
            if *value == SEARCH {
                *value = self.law.value(*bits);
            }
        }
    }
}

impl Moments {
    /// Of q/levels.
    pub(crate) fn on_grid(law: &GridLaw, levels: u32) -> Self {
        let reach = -i64::from(law.least());
        let (mut variance, mut fourth) = (0.0, 0.0);
        // from the rarest
        for j in (1..=reach).rev() {
            let above = law.threshold(j) - law.threshold(j - 1);
            // those of both signs, and 2^64
            let mass = above as f64 / 2f64.powi(63);
            let square = (j as f64 / f64::from(levels)).powi(2);
            variance += mass * square;
            fourth += mass * square * square;
        }
        Moments { variance, fourth }
    }
}

#[cfg(test)]
mod tests {
    use super::super::philox::Stream;
    use super::*;

    const LAWS: [Law; 3] = [
        Law::Gaussian { sigma: 0.25 },
        Law::Laplace { scale: 0.1 },
        Law::Uniform { width: 0.5 },
    ];
    const BITS: fn(u32) -> Philox = |sample| Philox::new(5, Stream::Certification, 9, sample);

    fn noisy(noise: &Noise, picture: &[u8], sample: u32) -> Vec<f32> {
        let mut noisy = vec![0.0; picture.len()];
        noise.add(&BITS(sample), picture, &mut noisy);
        noisy
    }

    /// The definition: number j of the sample, the value of the law, the sum, divided.
    #[test]
    fn the_fast_sum_is_the_slow_one() {
        for law in LAWS {
            let noise = Noise::new(law, Arithmetic::Grid).unwrap();
            let grid = GridLaw::new(law, 255).unwrap();
            // more than a chunk, and an odd number of values
            let pixels = 35 * 13;
            let picture: Vec<u8> = (0..3 * pixels).map(|i| (i * 37 % 256) as u8).collect();
            let got = noisy(&noise, &picture, 4);
            let mut numbers = vec![0; 3 * pixels + 1];
            BITS(4).fill(0, &mut numbers);
            for pixel in 0..pixels {
                for channel in 0..3 {
                    let at = channel * pixels + pixel;
                    let q = grid.value(numbers[pixel * 3 + channel]);
                    let want = (i32::from(picture[at]) + i32::from(q)) as f32 / 255.0;
                    assert_eq!(got[at], want, "{law} {at}");
                }
            }
            // what is added does not depend on the picture
            let other = noisy(&noise, &vec![0; 3 * pixels], 4);
            let q = |noisy: f32, clean: u8| (noisy * 255.0).round() as i32 - i32::from(clean);
            assert!((0..3 * pixels).all(|i| q(got[i], picture[i]) == q(other[i], 0)));
            assert_ne!(noisy(&noise, &picture, 5), got);
        }
    }

    #[test]
    fn every_value_follows_its_thresholds_where_the_top_bits_do_not_decide() {
        for law in LAWS {
            let table = Table::new(GridLaw::new(law, 255).unwrap());
            assert!(table.values.contains(&SEARCH));
            let thresholds = table.law.thresholds().to_vec();
            for end in thresholds {
                for bits in [end - 1, end, end + 1] {
                    let mut value = [0];
                    table.look_up(&[bits], &mut value);
                    assert_eq!(value[0], table.law.value(bits));
                }
            }
        }
    }

    /// Six standard errors of 3·2^17 values; the seed is fixed, so the test passes for ever or never.
    #[test]
    fn moments_are_those_of_the_law() {
        for law in LAWS {
            for arithmetic in [Arithmetic::Grid, Arithmetic::Float] {
                let noise = Noise::new(law, arithmetic).unwrap();
                let values = noisy(&noise, &vec![100; 3 << 17], 0);
                let n = values.len() as f64;
                let mean_of = |power: i32| {
                    let powers = values.iter().map(|v| f64::from(v - UNIT[100]).powi(power));
                    powers.sum::<f64>() / n
                };
                let Moments { variance, fourth } = noise.moments();
                assert!(mean_of(1).abs() < 6.0 * (variance / n).sqrt(), "{law}");
                let error = ((fourth - variance * variance) / n).sqrt();
                assert!((mean_of(2) - variance).abs() < 6.0 * error, "{law}");
                assert!((mean_of(4) / fourth - 1.0).abs() < 0.05, "{law}");
            }
        }
    }

    #[test]
    fn the_grid_hardly_changes_the_moments() {
        for law in LAWS {
            let of = |arithmetic| Noise::new(law, arithmetic).unwrap().moments();
            let (grid, float) = (of(Arithmetic::Grid), of(Arithmetic::Float));
            let change = grid.variance - float.variance;
            // a twelfth of a level squared, but for the ends of a uniform law
            assert!(change.abs() < 0.2 / (255.0 * 255.0), "{law}: {change:e}");
        }
    }

    #[test]
    fn words_of_reports() {
        let of = |arithmetic| Noise::new(LAWS[0], arithmetic).unwrap();
        assert_eq!(
            of(Arithmetic::Grid).floating_point(),
            FloatingPoint::Covered
        );
        assert_eq!(
            of(Arithmetic::Float).floating_point(),
            FloatingPoint::Modulo
        );
        assert_eq!(of(Arithmetic::Float).arithmetic(), Arithmetic::Float);
        assert!(Noise::new(Law::Gaussian { sigma: 0.0 }, Arithmetic::Float).is_err());
    }
}
