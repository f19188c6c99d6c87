//! The knapsack of paper 001 on the mean logits of a noisy Lipschitz network.
//!
//! If F is jointly L-Lipschitz in l2, so is the mean of F(x + noise) over Gaussian noise, and the gap of
//! two logits is sqrt(2)·L-Lipschitz in the noise: the mean gap of n samples is more than t too
//! large with probability e^(-n·t²/(4·L²·sigma²)) at most. Of N·(K-1) comparisons all hold at once, or all but
//! fewer than k, for t = sqrt(2)·L·sigma·sqrt(2·ln(N(K-1)/(k·alpha))/n). What is left of the gaps are
//! margins of a Lipschitz function, and share one budget (eqs 8-11). Radii of votes do not.

use super::elementary::{self, ln};
use super::lower::check_level;
use super::normal::cdf_up;
use super::wide::Wide;
use crate::error::{Error, Result};
use crate::flip_curve::FlipCurve;
use crate::power::Power;
use crate::{Norm, Share};

/// What the bound of the mean gaps rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanLogits {
    /// Joint l2 constant of the network.
    pub lipschitz: f64,
    /// Standard deviation of the noise, in the unit of that constant.
    pub sigma: f64,
    /// n, the samples that were averaged.
    pub samples: usize,
    /// N.
    pub pixels: usize,
    /// K, at least 2.
    pub classes: usize,
    /// Level of the image.
    pub alpha: f64,
    /// Pixels that may be wrong.
    pub allowed: u64,
    /// Whether the top classes were chosen by the samples that were averaged: all pairs count then.
    pub same_samples: bool,
}

impl MeanLogits {
    /// t, by which a mean gap may be too large; rounded up.
    ///
    /// # Errors
    ///
    /// [`Error::Lipschitz`], [`Error::Parameter`] for sigma or alpha, [`Error::Shape`] for counts of 0 or a
    /// single class.
    pub fn slack(&self) -> Result<f64> {
        if !(self.lipschitz > 0.0 && self.lipschitz.is_finite()) {
            return Err(Error::Lipschitz {
                got: self.lipschitz,
            });
        }
        check_sigma(self.sigma)?;
        check_level(self.alpha)?;
        for (what, got, least) in [
            ("number of samples", self.samples, 1),
            ("number of pixels", self.pixels, 1),
            ("number of classes", self.classes, 2),
        ] {
            if got < least {
                return Err(Error::Shape {
                    what,
                    got,
                    expected: format!("at least {least}"),
                });
            }
        }
        let others = if self.same_samples {
            self.classes * (self.classes - 1)
        } else {
            self.classes - 1
        };
        let comparisons = Wide::whole(self.pixels as u64).times(Wide::whole(others as u64));
        let allowed = Wide::from(self.allowed as f64 + 1.0).times(Wide::from(self.alpha));
        // fewer comparisons than allowed errors: the logarithm is no bound
        let ratio = comparisons.divided_by(allowed).max(Wide::ONE);
        let deviations = ln(ratio) * (1.0 + 2.0 * elementary::ERROR) * 2.0 / self.samples as f64;
        let t = self.lipschitz * self.sigma * (2.0 * deviations).sqrt();
        Ok(t * (1.0 + 8.0 * f64::EPSILON))
    }

    /// Radii of pixels from their mean gaps, (gap - t)/(sqrt(2)·L), 0 where the class is not the label;
    /// rounded down.
    ///
    /// # Errors
    ///
    /// As [`MeanLogits::slack`]; [`Error::Components`] unless there are N gaps and N marks, [`Error::Parameter`]
    /// for a gap that is no number.
    pub fn certify(&self, gaps: &[f64], right: &[bool]) -> Result<Hybrid> {
        let slack = self.slack()?;
        for (what, got) in [("gaps", gaps.len()), ("marks", right.len())] {
            if got != self.pixels {
                return Err(Error::Components {
                    what,
                    got,
                    expected: self.pixels,
                });
            }
        }
        if let Some(gap) = gaps.iter().find(|gap| !gap.is_finite()) {
            return Err(Error::Parameter {
                what: "mean gap of logits",
                got: *gap,
                expected: "a finite number",
            });
        }
        let scale = (1.0 - 4.0 * f64::EPSILON) / (2.0f64.sqrt() * self.lipschitz);
        let radius = |(gap, right): (&f64, &bool)| {
            let left = (gap - slack).next_down().max(0.0);
            if *right { left * scale } else { 0.0 }
        };
        let radii: Vec<f64> = gaps.iter().zip(right).map(radius).collect();
        let largest = radii.iter().copied().fold(0.0, f64::max);
        Ok(Hybrid {
            allowed: self.allowed,
            curve: FlipCurve::new(radii.clone(), Power::new(Norm::L2, largest)),
            radii,
        })
    }
}

/// The certificate of the model that takes the argmax of the mean logits, for all budgets at once.
#[derive(Clone, Debug)]
pub struct Hybrid {
    allowed: u64,
    radii: Vec<f64>,
    curve: FlipCurve,
}

impl Hybrid {
    /// Radius by pixel, in the unit of the noise.
    pub fn radii(&self) -> &[f64] {
        &self.radii
    }

    /// No attack within eps makes more pixels wrong, with those that are allowed to be.
    ///
    /// # Errors
    ///
    /// [`Error::Budget`].
    pub fn wrong(&self, eps: f64) -> Result<u64> {
        let eps = crate::Budget::new(eps)?.get();
        let flipped = self.curve.flips(eps) as u64 + self.allowed;
        Ok(flipped.min(self.radii.len() as u64))
    }

    /// Certified accuracy within eps.
    ///
    /// # Errors
    ///
    /// [`Error::Budget`].
    pub fn accuracy(&self, eps: f64) -> Result<Share> {
        let pixels = self.radii.len();
        Ok(Share::new(pixels - self.wrong(eps)? as usize, pixels))
    }
}

/// Lipschitz constant of the mean of a scalar output with values in [0, 1] and constant L:
/// L·erf(1/(2^(3/2)·L·sigma)) = L·(2·Phi(1/(2·L·sigma)) - 1), rounded up. For single outputs only: it must
/// not enter the shared budget.
///
/// # Errors
///
/// [`Error::Lipschitz`], [`Error::Parameter`] for sigma.
pub fn smoothed_constant(lipschitz: f64, sigma: f64) -> Result<f64> {
    check_sigma(sigma)?;
    if !(lipschitz > 0.0 && lipschitz.is_finite()) {
        return Err(Error::Lipschitz { got: lipschitz });
    }
    let z = 1.0 / (2.0 * lipschitz * sigma) * (1.0 + 4.0 * f64::EPSILON);
    let phi = if z.is_finite() { cdf_up(z) } else { None };
    let factor = phi.map_or(1.0, |phi| (2.0 * phi - 1.0).next_up());
    Ok((lipschitz * factor).next_up().min(lipschitz))
}

fn check_sigma(sigma: f64) -> Result<()> {
    if sigma > 0.0 && sigma.is_finite() {
        return Ok(());
    }
    Err(Error::Parameter {
        what: "sigma of the noise",
        got: sigma,
        expected: "a finite number above 0",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: MeanLogits = MeanLogits {
        lipschitz: 1.0,
        sigma: 0.25,
        samples: 100,
        pixels: 1 << 20,
        classes: 19,
        alpha: 0.001,
        allowed: 0,
        same_samples: false,
    };

    #[test]
    fn the_slack_of_the_design() {
        for (samples, loss) in [(100, 0.17198), (1000, 0.05438), (10_000, 0.01720)] {
            let slack = MeanLogits { samples, ..MEAN }.slack().unwrap();
            assert!((slack / 2f64.sqrt() - loss).abs() < 1e-5, "{samples}");
        }
        let slack = MEAN.slack().unwrap();
        assert!((slack - 0.2432132328).abs() < 1e-10);
        let same = MeanLogits {
            same_samples: true,
            ..MEAN
        };
        assert!(same.slack().unwrap() > slack);
        let allowed = MeanLogits {
            allowed: 1000,
            ..MEAN
        };
        assert!(allowed.slack().unwrap() < slack);
        // more errors allowed than comparisons: nothing is lost, and nothing promised
        let none = MeanLogits {
            allowed: 1 << 50,
            alpha: 0.5,
            ..MEAN
        };
        assert_eq!(none.slack().unwrap(), 0.0);
    }

    #[test]
    fn one_budget_for_all() {
        let mean = MeanLogits {
            pixels: 4,
            classes: 2,
            samples: 1_000_000,
            ..MEAN
        };
        let slack = mean.slack().unwrap();
        let gap = |radius: f64| 2f64.sqrt() * radius + slack;
        let gaps = [gap(0.3), gap(0.4), gap(0.5), gap(0.1)];
        let hybrid = mean.certify(&gaps, &[true, true, true, false]).unwrap();
        for (eps, wrong) in [
            (0.0, 1),
            (0.29, 1),
            (0.31, 2),
            (0.49, 2),
            (0.51, 3),
            (0.72, 4),
        ] {
            assert_eq!(hybrid.wrong(eps).unwrap(), wrong, "{eps}");
            let accuracy = hybrid.accuracy(eps).unwrap();
            assert_eq!(accuracy, Share::new(4 - wrong as usize, 4));
        }
        let allowed = MeanLogits { allowed: 2, ..mean };
        let hybrid = allowed.certify(&gaps, &[true; 4]).unwrap();
        assert_eq!(
            (hybrid.wrong(0.0).unwrap(), hybrid.wrong(9.0).unwrap()),
            (2, 4)
        );
        assert!(hybrid.wrong(-1.0).is_err() && hybrid.accuracy(f64::NAN).is_err());
        assert_eq!(hybrid.radii().len(), 4);
    }

    #[test]
    fn constants_of_the_design() {
        for (lipschitz, want) in [(1.0, 0.9544997361), (4.0, 1.5316996902)] {
            let got = smoothed_constant(lipschitz, 0.25).unwrap();
            assert!((got - want).abs() < 1e-10, "{got}");
        }
        // nothing is smoothed away
        assert_eq!(smoothed_constant(1e-3, 1.0).unwrap(), 1e-3);
        assert_eq!(smoothed_constant(1e-300, 1e-300).unwrap(), 1e-300);
        assert!(smoothed_constant(0.0, 1.0).is_err() && smoothed_constant(1.0, 0.0).is_err());
    }

    #[test]
    fn wrong_arguments() {
        for bad in [
            MeanLogits {
                lipschitz: 0.0,
                ..MEAN
            },
            MeanLogits {
                sigma: f64::NAN,
                ..MEAN
            },
            MeanLogits { alpha: 0.0, ..MEAN },
            MeanLogits { samples: 0, ..MEAN },
            MeanLogits { pixels: 0, ..MEAN },
            MeanLogits { classes: 1, ..MEAN },
        ] {
            assert!(bad.slack().is_err() && bad.certify(&[], &[]).is_err());
        }
        let two = MeanLogits { pixels: 2, ..MEAN };
        assert!(matches!(
            two.certify(&[1.0], &[true; 2]),
            Err(Error::Components { .. })
        ));
        assert!(matches!(
            two.certify(&[1.0; 2], &[true]),
            Err(Error::Components { .. })
        ));
        let nan = two.certify(&[1.0, f64::NAN], &[true; 2]).unwrap_err();
        assert!(matches!(nan, Error::Parameter { .. }));
    }
}
