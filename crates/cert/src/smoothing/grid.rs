//! Noise on the grid of a picture: exact thresholds by which 64 random bits become a whole number.
//!
//! A picture of whole numbers over `levels` (255 for bytes) and a network that rounds its input to that grid
//! see nothing of noise but q = round(levels·noise). So votes drawn with q speak of the model that rounds,
//! smoothed by the real law, without any rounding of the sum. Of u, 64 random bits, q is the least j with
//! u < T_j = floor(2^64·P(q <= j)): each probability is off by less than 2^-64, a draw by 2^-65 for each
//! value q may have, in total variation. Source: the idea of *Sound Randomized Smoothing in Floating-Point
//! Arithmetics*; the arithmetic is that of [`super::wide`].

use super::law::Law;
use super::normal::half_mass;
use super::wide::Wide;
use crate::error::{Error, Result};

/// The most that |q| may be.
const MOST: usize = i16::MAX as usize;

/// The law of q, symmetric about 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridLaw {
    /// T_j for j = -r..r, none below the last; all above 0, below 2^64 - 1.
    ends: Vec<u64>,
}

impl GridLaw {
    /// Of noise on values that are whole numbers over `levels`.
    ///
    /// # Errors
    ///
    /// As [`Law::check`]; [`Error::Parameter`] for 0 levels or noise so wide that q leaves 16 bits.
    pub fn new(law: Law, levels: u32) -> Result<Self> {
        let law = law.check()?;
        let refused = |got: f64, expected| Error::Parameter {
            what: "noise on a grid",
            got,
            expected,
        };
        if levels == 0 {
            return Err(refused(0.0, "at least 1 level"));
        }
        // T_j - 2^63 for j >= 0
        let mut above = Vec::new();
        for j in 0..=MOST {
            let half = law.mass(2 * j as u64 + 1, levels);
            if half.is_full() {
                break;
            }
            above.push(half);
        }
        if above.len() > MOST {
            let scale = match law {
                Law::Gaussian { sigma } => sigma,
                Law::Laplace { scale } => scale,
                Law::Uniform { width } => width,
            };
            return Err(refused(
                scale,
                "whole numbers of at most 16 bits: narrower noise, or real noise",
            ));
        }
        let below = above.iter().rev().map(Half::mirrored);
        let ends = below.chain(above.iter().map(|half| HALF + half.whole));
        Ok(GridLaw {
            ends: ends.collect(),
        })
    }

    /// T_j for j = -r..r, sorted, where q is drawn from -r..=r.
    pub fn thresholds(&self) -> &[u64] {
        &self.ends
    }

    /// The least value that is drawn, -r.
    pub fn least(&self) -> i16 {
        -((self.ends.len() / 2) as i16)
    }

    /// T_j; 0 before the first value, 2^64 - 1 from the last.
    pub fn threshold(&self, j: i64) -> u64 {
        match usize::try_from(j - i64::from(self.least())) {
            Err(_) => 0,
            Ok(place) => self.ends.get(place).copied().unwrap_or(u64::MAX),
        }
    }

    /// The most by which so many draws together are off their law, in total variation; rounded up.
    pub fn distance(&self, draws: u64) -> f64 {
        let values = self.ends.len() as f64 + 1.0;
        // u64 to f64 may round down
        (draws as f64).next_up() * values * 0.5f64.powi(65) * (1.0 + f64::EPSILON)
    }

    /// q of 64 random bits; the last value takes what is above all thresholds.
    pub fn value(&self, bits: u64) -> i16 {
        let place = self.ends.partition_point(|end| *end <= bits);
        // a place may be above 2^15 - 1, the sum is not
        (i32::from(self.least()) + place as i32) as i16
    }
}

/// 2^63, which is 2^64·P(q < 0 or half of q = 0).
const HALF: u64 = 1 << 63;

/// 2^64·P(0 < noise <= x).
struct Half {
    /// Whole part, at most 2^63.
    whole: u64,
    /// Nothing is left beside it.
    exact: bool,
}

impl Half {
    /// Of a number that is no whole one.
    fn broken(mass: Wide) -> Self {
        Half {
            whole: mass.shifted(64).whole_part(),
            exact: false,
        }
    }

    /// All of it, or all but less than 2^-64.
    fn is_full(&self) -> bool {
        self.whole >= HALF - 1
    }

    /// floor(2^63 - it): the threshold on the other side of 0.
    fn mirrored(&self) -> u64 {
        HALF - self.whole - u64::from(!self.exact)
    }
}

impl Law {
    /// Of the noise up to `odd`/(2·levels), the border between two values of q.
    fn mass(self, odd: u64, levels: u32) -> Half {
        const FULL: Half = Half {
            whole: HALF,
            exact: true,
        };
        /// Beyond it all but 2^-64 of either law is passed, in its unit.
        const FAR: f64 = 45.0;
        let twice = |scale: f64| Wide::from(scale).times(Wide::whole(2 * u64::from(levels)));
        let unit = |scale: f64| Wide::whole(odd).divided_by(twice(scale));
        match self {
            Law::Gaussian { sigma } => {
                let z = unit(sigma);
                if z >= Wide::from(9.2) {
                    return FULL;
                }
                Half::broken(half_mass(z))
            }
            Law::Laplace { scale } => {
                let y = unit(scale);
                if y >= Wide::from(FAR) {
                    return FULL;
                }
                let left = Wide::ONE.divided_by(y.exponential());
                Half::broken(Wide::ONE.minus(left).shifted(-1))
            }
            Law::Uniform { width } => {
                // 2^64·odd/(2·levels)/(2·width); the product of 53 and 33 bits is exact
                let (part, all) = (Wide::whole(odd).shifted(63), twice(width));
                let mass = part.divided_by(all);
                if mass >= Wide::whole(HALF) {
                    return FULL;
                }
                let whole = mass.whole_part();
                let exact = Wide::whole(whole).times(all) == part;
                Half { whole, exact }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAUSSIAN: Law = Law::Gaussian { sigma: 0.25 };

    #[test]
    fn thresholds_of_the_design() {
        let grid = GridLaw::new(GAUSSIAN, 255).unwrap();
        let got = [-1, 0, 1].map(|j| grid.threshold(j));
        let want = [
            9_165_653_521_579_243_463,
            9_281_090_552_130_308_152,
            9_396_513_381_674_001_756,
        ];
        assert_eq!(got, want);
        assert!((-600..-500).contains(&grid.least()), "{}", grid.least());
    }

    #[test]
    fn laws_are_symmetric_and_their_deviation_is_that_of_rounding() {
        for (law, variance) in [
            (GAUSSIAN, 0.0625),
            (Law::Laplace { scale: 0.1 }, 0.02),
            (Law::Uniform { width: 0.5 }, 0.25 / 3.0),
        ] {
            let grid = GridLaw::new(law, 255).unwrap();
            let ends = grid.thresholds();
            assert!(ends.is_sorted(), "{law}");
            for (up, down) in ends.iter().zip(ends.iter().rev()) {
                // 2^64 but for what is cut off
                assert!(up.wrapping_add(*down).wrapping_neg() <= 1, "{law}");
            }
            let mut last = 0;
            let mut second = 0.0;
            for j in i64::from(grid.least())..=-i64::from(grid.least()) {
                let mass = (grid.threshold(j) - last) as f64 / 2f64.powi(64);
                last = grid.threshold(j);
                second += mass * (j as f64).powi(2);
            }
            // rounding adds 1/12 of a level squared, and takes as much where a uniform law ends
            let want = variance * 255.0 * 255.0 + 1.0 / 12.0;
            assert!((second - want).abs() < 0.2, "{law}: {second} {want}");
        }
        let grid = GridLaw::new(GAUSSIAN, 255).unwrap();
        assert_eq!((grid.value(0), grid.value(1 << 63)), (grid.least(), 0));
        assert_eq!(grid.value(u64::MAX), -grid.least());
        // 2^-65 for each of the values -r to r
        let values = 2.0 * f64::from(-grid.least()) + 1.0;
        let distance = grid.distance(1 << 20) / 2f64.powi(20 - 65);
        assert!(distance >= values && distance < values * (1.0 + 1e-15));
    }

    #[test]
    fn widths_that_end_on_a_border_are_exact() {
        // q is -127 to 127, each but the ends as likely: 2^64/255
        let grid = GridLaw::new(Law::Uniform { width: 0.5 }, 255).unwrap();
        assert_eq!(grid.value(u64::MAX), 127);
        assert_eq!(grid.value(0), -127);
        // four levels of equal width, borders at halves: quarters of 2^64
        let grid = GridLaw::new(Law::Uniform { width: 1.0 }, 2).unwrap();
        assert_eq!(grid.least(), -2);
        let ends = [1u64, 3, 5, 7].map(|eighth| eighth << 61);
        assert_eq!(grid.thresholds(), ends);
    }

    /// Places of values go up to twice the largest of them, beyond 16 bits.
    #[test]
    fn wide_noise_reaches_both_ends() {
        for law in [Law::Gaussian { sigma: 0.8 }, Law::Laplace { scale: 0.1 }] {
            let grid = GridLaw::new(law, 4096).unwrap();
            assert!(grid.least() < -(1 << 14), "{}", grid.least());
            assert_eq!(
                (grid.value(0), grid.value(u64::MAX)),
                (grid.least(), -grid.least())
            );
            for j in [-12_000, -1, 0, 1, 12_000] {
                let end = grid.threshold(j.into());
                assert_eq!((grid.value(end - 1), grid.value(end)), (j, j + 1), "{law}");
            }
        }
    }

    #[test]
    fn noise_that_does_not_fit() {
        for law in [Law::Gaussian { sigma: 20.0 }, Law::Uniform { width: 200.0 }] {
            let error = GridLaw::new(law, 255).unwrap_err();
            assert!(error.to_string().contains("at most 16 bits"), "{error}");
        }
        assert!(GridLaw::new(GAUSSIAN, 0).is_err());
        assert!(GridLaw::new(Law::Gaussian { sigma: f64::NAN }, 255).is_err());
        // less than the grid can show: all zeros
        let none = GridLaw::new(Law::Gaussian { sigma: 1e-9 }, 255).unwrap();
        assert_eq!((none.value(0), none.value(u64::MAX)), (0, 0));
    }
}
