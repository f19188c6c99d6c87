//! Mean scores of noisy pictures, for the shared budget of a Lipschitz network under noise.

use super::model::argmax;
use crate::error::{Error, Result};

/// Sums of scores (K, pixels), in f64, in the order of the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Means {
    sums: Vec<f64>,
    classes: usize,
    samples: usize,
    /// Largest size of a score.
    largest: f64,
}

impl Means {
    /// Of so many classes; no sample yet.
    pub fn new(classes: usize) -> Self {
        Means {
            sums: Vec::new(),
            classes,
            samples: 0,
            largest: 0.0,
        }
    }

    pub(super) fn add(&mut self, logits: &[f32]) -> Result<()> {
        if self.samples == 0 {
            self.sums = vec![0.0; logits.len()];
        }
        if logits.len() != self.sums.len() {
            let [got, expected] = [logits.len(), self.sums.len()];
            return Err(Error::ImageLength { got, expected });
        }
        for (sum, logit) in self.sums.iter_mut().zip(logits) {
            *sum += f64::from(*logit);
            // max() forgets NaN, and a rival that is NaN would be none: then no gap is finite
            self.largest = match logit.is_finite() {
                true => self.largest.max(f64::from(logit.abs())),
                false => f64::INFINITY,
            };
        }
        self.samples += 1;
        Ok(())
    }

    /// n.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Class of the largest mean of each pixel, ties to the lowest.
    pub fn classes(&self) -> Vec<u8> {
        let means: Vec<f32> = self.sums.iter().map(|sum| *sum as f32).collect();
        argmax(&means, self.classes)
    }

    /// By how much the mean of a pixel's class is above that of its closest rival, negative where it is not;
    /// rounded down. Of the scores as they were computed: their own error is the caller's to take off, twice.
    /// The classes must have been chosen by other samples, as those of votes in two stages; else, as those of
    /// [`Means::classes`], they need `same_samples` of [`certiseg_cert::smoothing::MeanLogits`].
    ///
    /// # Errors
    /// [`Error::Cert`] unless there is a class below K for each pixel.
    pub fn gaps(&self, classes: &[u8]) -> Result<Vec<f64>> {
        let pixels = self.sums.len() / self.classes.max(1);
        if classes.len() != pixels {
            return Err(certiseg_cert::Error::Components {
                what: "classes",
                got: classes.len(),
                expected: pixels,
            }
            .into());
        }
        let n = self.samples as f64;
        // n roundings of sums up to n·largest, two of them, a difference and a quotient
        let error = (2.0 * n + 4.0) * f64::EPSILON * self.largest;
        let gap = |(pixel, class): (usize, &u8)| {
            let own = usize::from(*class);
            if own >= self.classes {
                let (component, label) = (pixel, *class);
                return Err(certiseg_cert::Error::NoClass { component, label }.into());
            }
            let of = |class: usize| self.sums[class * pixels + pixel];
            let rivals = (0..self.classes).filter(|rival| *rival != own).map(of);
            Ok((of(own) - rivals.fold(f64::NEG_INFINITY, f64::max)) / n - error)
        };
        classes.iter().enumerate().map(gap).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_those_of_the_means_and_below_them() {
        let mut means = Means::new(3);
        // two pixels
        means.add(&[1.0, 0.0, 0.0, 2.0, -1.0, 0.1]).unwrap();
        means.add(&[0.0, 1.0, 0.5, 0.0, 0.0, 0.1]).unwrap();
        assert_eq!((means.samples(), means.classes()), (2, vec![0, 1]));
        let gaps = means.gaps(&[0, 1]).unwrap();
        for (got, want) in gaps.iter().zip([0.25, 0.5]) {
            assert!(*got < want && *got > want - 1e-13, "{got}");
        }
        let gaps = means.gaps(&[1, 2]).unwrap();
        assert!(gaps[0] < -0.25 && gaps[1] < -0.9 + 1e-6);
        assert!(means.gaps(&[0]).is_err() && means.gaps(&[0, 3]).is_err());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut means = Means::new(3);
            means.add(&[1.0, 0.0, bad]).unwrap();
            means.add(&[1.0, 0.0, 0.0]).unwrap();
            assert!(!means.gaps(&[0]).unwrap()[0].is_finite(), "{bad}");
        }
        assert!(means.add(&[0.0]).is_err());
    }
}
