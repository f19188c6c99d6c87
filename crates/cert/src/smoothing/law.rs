//! Laws of noise: from a bound of a probability to a radius, and back.
//!
//! With p > tau at x, the class is the argmax of the smoothed model within the radius of tau. Paper 002
//! Theorem 5.1 in its corrected form; the l1 laws from the ratio of shifted Laplace densities and from
//! the overlap of shifted cubes. `out` is what shall be left at the border: 1/2 for the argmax, more to
//! exclude an abstention ([`Promise`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::elementary::{self, exp, ln};
use super::normal::{cdf_up, quantile_down, quantile_up};
use super::wide::Wide;
use crate::Norm;
use crate::error::{Error, Result};

/// The noise on each coordinate, in the unit of the picture it is added to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Law {
    /// N(0, sigma²); radii in l2.
    Gaussian {
        /// Standard deviation.
        sigma: f64,
    },
    /// Density e^(-|x|/scale)/(2·scale); radii in l1.
    Laplace {
        /// Mean of the absolute value.
        scale: f64,
    },
    /// Uniform on [-width, width]; radii in l1.
    Uniform {
        /// Half of the interval.
        width: f64,
    },
}

/// What a certified component may do within its radius.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Promise {
    /// It has its class or abstains; it never has another class.
    #[default]
    ClassOrAbstain,
    /// It has its class, also in the model that abstains up to a probability of `out`.
    Strong {
        /// Threshold of that model, from 1/2, below 1.
        out: f64,
    },
}

impl Promise {
    /// What shall be left at the border.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a threshold outside [1/2, 1).
    pub fn out(self) -> Result<f64> {
        match self {
            Promise::ClassOrAbstain => Ok(0.5),
            Promise::Strong { out } => probability("threshold left at the border", out),
        }
    }
}

impl Law {
    /// Law, norm and scale as they stand.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless the scale is finite and above 0.
    pub fn check(self) -> Result<Self> {
        let (what, got) = match self {
            Law::Gaussian { sigma } => ("sigma of the noise", sigma),
            Law::Laplace { scale } => ("scale of the noise", scale),
            Law::Uniform { width } => ("width of the noise", width),
        };
        if got > 0.0 && got.is_finite() {
            return Ok(self);
        }
        Err(Error::Parameter {
            what,
            got,
            expected: "a finite number above 0",
        })
    }

    /// The norm of its radii.
    pub fn norm(self) -> Norm {
        match self {
            Law::Gaussian { .. } => Norm::L2,
            Law::Laplace { .. } | Law::Uniform { .. } => Norm::L1,
        }
    }

    /// The radius of p > tau, rounded down; 0 for tau <= 1/2.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a threshold of at least 1 or NaN, and as [`Law::check`].
    pub fn radius(self, tau: f64) -> Result<f64> {
        self.radius_to(tau, Promise::ClassOrAbstain)
    }

    /// The radius of p > tau for a promise, rounded down; 0 where nothing is left.
    ///
    /// # Errors
    ///
    /// As [`Law::radius`] and [`Promise::out`].
    pub fn radius_to(self, tau: f64, promise: Promise) -> Result<f64> {
        let out = promise.out()?;
        let tau = probability("threshold tau", if tau < 0.5 { 0.5 } else { tau })?;
        if tau <= out {
            return self.check().map(|_| 0.0);
        }
        let radius = match self.check()? {
            Law::Gaussian { sigma } => {
                let room = (quantile_down(tau) - quantile_up(out)).next_down();
                sigma * room
            }
            // both differences are exact
            Law::Laplace { scale } => {
                let ratio = Wide::from(1.0 - out).divided_by(Wide::from(1.0 - tau));
                scale * ln(ratio) * (1.0 - 2.0 * elementary::ERROR)
            }
            Law::Uniform { width } => width * (2.0 * (tau - out)),
        };
        Ok(radius.next_down().max(0.0))
    }

    /// The least threshold that is sure to have this radius, rounded up.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a radius that is negative or NaN, or that no threshold below 1 has.
    pub fn threshold(self, radius: f64, promise: Promise) -> Result<f64> {
        let out = promise.out()?;
        let expected = match self.check()? {
            Law::Uniform { .. } => "a number from 0 that is less than the width of the noise",
            _ => "a number from 0 that is not many times the scale of the noise",
        };
        let refused = Error::Parameter {
            what: "radius",
            got: radius,
            expected,
        };
        if !(0.0..f64::INFINITY).contains(&radius) {
            return Err(refused);
        }
        let tau = match self {
            Law::Gaussian { sigma } => {
                let z = (quantile_up(out) + (radius / sigma).next_up()).next_up();
                cdf_up(z).unwrap_or(1.0)
            }
            Law::Laplace { scale } => {
                let left = exp(-(radius / scale).next_up()) * (1.0 - 2.0 * elementary::ERROR);
                (1.0 - ((1.0 - out) * left).next_down()).next_up()
            }
            Law::Uniform { width } => (out + (radius / (2.0 * width)).next_up()).next_up(),
        };
        let tau = if radius == 0.0 { out } else { tau };
        if tau < 1.0 { Ok(tau) } else { Err(refused) }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Law::Gaussian { sigma } => write!(f, "gaussian noise, sigma {sigma}"),
            Law::Laplace { scale } => write!(f, "laplace noise, scale {scale}"),
            Law::Uniform { width } => write!(f, "uniform noise on [-{width}, {width}]"),
        }
    }
}

/// Of [1/2, 1).
fn probability(what: &'static str, got: f64) -> Result<f64> {
    if (0.5..1.0).contains(&got) {
        return Ok(got);
    }
    Err(Error::Parameter {
        what,
        got,
        expected: "a probability from 0.5, below 1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::below_and_close;

    const LAWS: [Law; 3] = [
        Law::Gaussian { sigma: 0.25 },
        Law::Laplace { scale: 0.5 },
        Law::Uniform { width: 2.0 },
    ];

    #[test]
    fn radius_and_threshold_undo_each_other_on_the_safe_side() {
        for law in LAWS {
            for promise in [Promise::ClassOrAbstain, Promise::Strong { out: 0.75 }] {
                let mut last = 0.0;
                for i in 1..240 {
                    let tau = promise.out().unwrap() + f64::from(i) / 1000.0;
                    let radius = law.radius_to(tau, promise).unwrap();
                    assert!(radius > last, "{law} {tau}");
                    last = radius;
                    let back = law.threshold(radius, promise).unwrap();
                    assert!((back - tau).abs() <= 1e-12, "{law} {tau} {back}");
                    // what is tested at that threshold has the radius asked for, within rounding
                    let again = law.radius_to(back, promise).unwrap();
                    assert!((again - radius).abs() <= 1e-12, "{law} {tau}");
                }
            }
        }
    }

    #[test]
    fn strong_promises_cost_radius() {
        for law in LAWS {
            let plain = law.radius(0.9).unwrap();
            let same = law.radius_to(0.9, Promise::Strong { out: 0.5 }).unwrap();
            assert_eq!(plain, same);
            let strong = law.radius_to(0.9, Promise::Strong { out: 0.75 }).unwrap();
            assert!(strong < plain && strong > 0.0);
            let none = law.radius_to(0.75, Promise::Strong { out: 0.75 }).unwrap();
            assert_eq!(none, 0.0);
        }
    }

    #[test]
    fn closed_forms_are_approached_from_below() {
        let laplace = Law::Laplace { scale: 1.0 }.radius(0.75).unwrap();
        below_and_close(laplace, std::f64::consts::LN_2, 1e-13).unwrap();
        let uniform = Law::Uniform { width: 1.0 }.radius(0.75).unwrap();
        below_and_close(uniform, 0.5, 1e-15).unwrap();
        let gaussian = Law::Gaussian { sigma: 0.25 }.radius(0.75).unwrap();
        below_and_close(gaussian, 0.168_622_437_549_020_43, 1e-13).unwrap();
        assert_eq!(LAWS[0].radius(0.3).unwrap(), 0.0);
        assert_eq!(LAWS.map(Law::norm), [Norm::L2, Norm::L1, Norm::L1]);
    }

    #[test]
    fn parameters_out_of_range() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Law::Gaussian { sigma: bad }.radius(0.75).is_err());
            assert!(
                Law::Laplace { scale: bad }
                    .threshold(0.1, Promise::ClassOrAbstain)
                    .is_err()
            );
        }
        for tau in [1.0, 2.0, f64::NAN] {
            assert!(LAWS[0].radius(tau).is_err(), "{tau}");
        }
        for out in [0.4, 1.0, f64::NAN] {
            assert!(
                LAWS[0].radius_to(0.9, Promise::Strong { out }).is_err(),
                "{out}"
            );
        }
        assert_eq!(
            LAWS[2]
                .threshold(2.0, Promise::ClassOrAbstain)
                .unwrap_err()
                .to_string(),
            "radius is 2; expected a number from 0 that is less than the width of the noise"
        );
        assert!(LAWS[0].threshold(3.0, Promise::ClassOrAbstain).is_err());
        assert!(
            LAWS[0]
                .threshold(f64::NAN, Promise::ClassOrAbstain)
                .is_err()
        );
    }

    #[test]
    fn laws_are_written_and_read() {
        let text = serde_json::to_string(&LAWS[0]).unwrap();
        assert_eq!(text, r#"{"gaussian":{"sigma":0.25}}"#);
        assert_eq!(serde_json::from_str::<Law>(&text).unwrap(), LAWS[0]);
        assert!(serde_json::from_str::<Law>(r#"{"gaussian":{"sigma":1,"mean":2}}"#).is_err());
        assert_eq!(LAWS[2].to_string(), "uniform noise on [-2, 2]");
    }
}
