//! The canary: what enters the network is looked at, not what was meant to.
//!
//! The released sampler of paper 002 drew the right noise and then fed one picture of each batch again and
//! again, so that 110 draws were five. Therefore every tensor that enters the first layer is hashed, of
//! each sample and view, and two equal ones end the run. And the mean and the variance of each noisy
//! picture minus the clean one must be those of the law.

use std::collections::HashMap;

use super::noise::Moments;
use crate::data::UNIT;
use crate::error::{Error, Result};
use crate::rng::mix;

/// Elements of a tensor that are hashed: noise in them is enough to tell two draws apart.
const HASHED: usize = 4096;

/// Standard errors that a moment may be off: a true sampler is that far off once in 5·10^8 moments, those of the
/// heaviest tail, squares of Laplace noise in [`ENOUGH`] values, once in 10^7. Noise off by a factor s is seen
/// in n values where |s² - 1| is above some 9/sqrt(n): at 64x64 pixels, 4 % of sigma.
const STANDARD_ERRORS: f64 = 6.0;

/// Values from which sums of squares are near enough to normal for [`STANDARD_ERRORS`]; fewer are not judged.
const ENOUGH: usize = 4096;

/// The hashes of all that entered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Canary {
    seen: HashMap<u64, Entered>,
}

/// Where a tensor came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entered {
    /// Number of the sample.
    pub sample: u32,
    /// Number of the view.
    pub view: u32,
}

impl Canary {
    /// Notes that a tensor with this hash entered.
    ///
    /// # Errors
    /// [`Error::SameInput`] where one has already.
    pub fn enter(&mut self, hash: u64, from: Entered) -> Result<()> {
        match self.seen.insert(hash, from) {
            None => Ok(()),
            Some(first) => Err(Error::SameInput {
                first,
                second: from,
            }),
        }
    }

    /// How many have entered.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// All hashes, in the order of their samples.
    pub fn hashes(&self) -> Vec<(u64, Entered)> {
        let mut all: Vec<_> = self
            .seen
            .iter()
            .map(|(hash, from)| (*hash, *from))
            .collect();
        all.sort_unstable_by_key(|(_, from)| *from);
        all
    }
}

/// The hash of a tensor: its length and up to 4096 of its values, evenly spread.
pub fn hash(tensor: &[f32]) -> u64 {
    let taken = tensor.len().min(HASHED);
    let values = (0..taken).map(|i| tensor[i * tensor.len() / taken].to_bits());
    values.fold(mix(tensor.len() as u64), |hash, bits| {
        mix(hash.rotate_left(17) ^ u64::from(bits))
    })
}

/// Whether a noisy picture differs from the clean one by noise of this law.
///
/// # Errors
/// [`Error::NoiseMoment`]. Pictures of fewer than 4096 values are not judged.
pub fn judge(moments: &Moments, sample: u32, picture: &[u8], noisy: &[f32]) -> Result<()> {
    if picture.len() < ENOUGH {
        return Ok(());
    }
    judge_sums(moments, sample, picture.len(), sums(picture, noisy))
}

/// The same of the sum of so many values of noise, and of their squares.
pub(crate) fn judge_sums(
    moments: &Moments,
    sample: u32,
    values: usize,
    [sum, squares]: [f64; 2],
) -> Result<()> {
    if values < ENOUGH {
        return Ok(());
    }
    let n = values as f64;
    let Moments { variance, fourth } = *moments;
    let of_squares = (fourth - variance * variance).max(0.0);
    for (what, got, expected, spread) in [
        ("mean", sum / n, 0.0, variance),
        ("variance", squares / n, variance, of_squares),
    ] {
        let slack = STANDARD_ERRORS * (spread / n).sqrt();
        // NaN lies nowhere
        if !(-slack..=slack).contains(&(got - expected)) {
            return Err(Error::NoiseMoment {
                sample,
                what,
                got,
                expected,
                slack,
            });
        }
    }
    Ok(())
}

/// Sum of the noise and of its squares.
fn sums(picture: &[u8], noisy: &[f32]) -> [f64; 2] {
    /// Sums side by side, so that vectors can be used.
    const LANES: usize = 8;
    let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
    for (clean, noisy) in picture.chunks(LANES).zip(noisy.chunks(LANES)) {
        for (lane, (clean, noisy)) in clean.iter().zip(noisy).enumerate() {
            let noise = f64::from(noisy - UNIT[usize::from(*clean)]);
            sums[lane] += noise;
            squares[lane] += noise * noise;
        }
    }
    [sums.iter().sum(), squares.iter().sum()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(sample: u32) -> Entered {
        Entered { sample, view: 0 }
    }

    #[test]
    fn same_input() {
        let mut canary = Canary::default();
        canary.enter(1, from(3)).unwrap();
        canary.enter(2, from(4)).unwrap();
        let error = canary.enter(1, from(7)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "samples 3 and 7 (views 0 and 0) enter the network alike, expected noise of its own for each"
        );
        assert_eq!(canary.hashes()[0], (2, from(4)));
    }

    #[test]
    fn hashes_see_values_order_and_length() {
        let tensor: Vec<f32> = (0..5000).map(|i| i as f32).collect();
        let first = hash(&tensor);
        assert_eq!(hash(&tensor.clone()), first);
        let mut other = tensor.clone();
        other.swap(0, 1);
        assert_ne!(hash(&other), first);
        assert_ne!(hash(&tensor[..4999]), first);
        assert_ne!(hash(&[]), hash(&[0.0]));
        // one value of the subset
        let mut other = tensor;
        other[0] = 0.5;
        assert_ne!(hash(&other), first);
    }

    #[test]
    fn noise_moment() {
        let moments = Moments {
            variance: 0.01,
            fourth: 0.0002,
        };
        let picture = vec![0; ENOUGH];
        let noisy = |plus: f32| -> Vec<f32> {
            let sign = |i: usize| if i.is_multiple_of(2) { 0.1 } else { -0.1 };
            (0..ENOUGH).map(|i| sign(i) + plus).collect()
        };
        judge(&moments, 0, &picture, &noisy(0.0)).unwrap();
        let error = judge(&moments, 5, &picture, &noisy(0.01)).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the noise of sample 5 has the mean 0.0")
        );
        let wide = Moments {
            variance: 0.02,
            ..moments
        };
        let error = judge(&wide, 5, &picture, &noisy(0.0)).unwrap_err();
        assert!(error.to_string().contains("variance 0.01"), "{error}");
        assert!(judge(&moments, 5, &picture, &[f32::NAN; ENOUGH]).is_err());
        judge(&moments, 0, &picture[1..], &noisy(9.0)[1..]).unwrap();
    }
}
