//! What a certificate rests on, and the norm in which its budgets are measured.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::norm::Norm;

/// What the caller vouches for; every certificate rests on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Premises {
    /// The norm of `lipschitz`, on both sides, and of the costs.
    pub norm: Norm,
    /// Upper bound of the joint Lipschitz constant of the logit map, all pixels and classes
    /// together, from the tensor that is attacked; of the feature map where a head is given
    /// ([`crate::margins_with_head`]). Above 0, finite.
    pub lipschitz: f64,
    /// Upper bound of the error of each given logit; at least 0, finite.
    pub eta: f64,
    /// What is certified.
    pub claim: Claim,
    /// The norm of budgets; other than `norm` only after [`Premises::in_norm`].
    budgets: Norm,
}

/// Whose predictions are certified, and what rounding of logits that leaves to cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// The exact function of the stored weights: 2·eta off every margin.
    #[default]
    Function,
    /// The program that gave the logits, whose logits at the attacked picture are off by eta
    /// too: 4·eta off every margin. That eta holds there as well is an assumption.
    Program,
}

impl Claim {
    /// Multiples of eta that come off a margin.
    pub(crate) fn etas(self) -> f64 {
        match self {
            Claim::Function => 2.0,
            Claim::Program => 4.0,
        }
    }
}

impl Premises {
    /// Premises about the exact function, with budgets in the norm of the constant.
    ///
    /// Errors: [`Error::Lipschitz`], [`Error::Eta`].
    pub fn new(norm: Norm, lipschitz: f64, eta: f64) -> Result<Self> {
        let premises = Premises {
            norm,
            lipschitz,
            eta,
            claim: Claim::Function,
            budgets: norm,
        };
        premises.check()?;
        Ok(premises)
    }

    /// The norm of budgets: that of the constant, unless converted.
    pub fn budgets(&self) -> Norm {
        self.budgets
    }

    /// [`Error::Lipschitz`] or [`Error::Eta`] where no radius follows from these numbers.
    pub fn check(&self) -> Result<()> {
        if !(self.lipschitz > 0.0 && self.lipschitz.is_finite()) {
            return Err(Error::Lipschitz {
                got: self.lipschitz,
            });
        }
        if !(0.0..f64::INFINITY).contains(&self.eta) {
            return Err(Error::Eta { got: self.eta });
        }
        Ok(())
    }

    /// The same premises with budgets in the norm `budgets` of the attacked tensor's `values`
    /// numbers: ||d||_2 <= values^max(0, 1/2 - 1/p) ||d||_p, and that factor, rounded up, goes into
    /// the constant. The costs stay those of l2: costs of p with an l2 constant are unsound
    /// (two flips are reached where they
    /// claim one). Converting to the norm it has already changes nothing.
    ///
    /// Errors: [`Error::Unsupported`] from another norm than l2, [`Error::Shape`] for 0 values,
    /// [`Error::Lipschitz`] where the product is too large.
    pub fn in_norm(self, budgets: Norm, values: usize) -> Result<Self> {
        if budgets == self.budgets {
            return Ok(self);
        }
        if self.norm != Norm::L2 || self.budgets != Norm::L2 {
            return Err(Error::Unsupported {
                what: "budgets in another norm than a constant that is not in l2",
                way_out: "give an l2 constant, or budgets in the norm of the constant",
            });
        }
        if values == 0 {
            return Err(Error::Shape {
                what: "number of values of the attacked tensor",
                got: 0,
                expected: "at least 1".into(),
            });
        }
        let factor = budgets.to_l2(values);
        let product = self.lipschitz * factor;
        let converted = Premises {
            // the product rounds once
            lipschitz: if factor == 1.0 {
                product
            } else {
                product.next_up()
            },
            budgets,
            ..self
        };
        converted.check()?;
        Ok(converted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TIGHT, below_and_close};

    fn l2(lipschitz: f64, eta: f64) -> Premises {
        Premises {
            norm: Norm::L2,
            lipschitz,
            eta,
            claim: Claim::Function,
            budgets: Norm::L2,
        }
    }

    #[test]
    fn lipschitz() {
        for bad in [f64::NAN, 0.0, -0.0, -1.0, f64::INFINITY] {
            let refused = matches!(l2(bad, 0.0).check(), Err(Error::Lipschitz { .. }));
            assert!(refused, "{bad}");
            assert!(Premises::new(Norm::L1, bad, 0.0).is_err());
        }
    }

    #[test]
    fn eta() {
        for bad in [f64::NAN, -1.0, f64::INFINITY] {
            let refused = matches!(l2(1.0, bad).check(), Err(Error::Eta { .. }));
            assert!(refused, "{bad}");
        }
        assert_eq!(
            [Claim::Function, Claim::Program].map(Claim::etas),
            [2.0, 4.0]
        );
    }

    /// T16: sqrt(3·128·128) = 221.7025, and 1/255 is 0.8694216 in l2.
    #[test]
    fn example_t16_budgets_in_another_norm() {
        const VALUES: usize = 3 * 128 * 128;
        let root = (VALUES as f64).sqrt();
        let linf = l2(2.0, 0.0).in_norm(Norm::LINF, VALUES).unwrap();
        assert_eq!((linf.norm, linf.budgets), (Norm::L2, Norm::LINF));
        below_and_close(2.0 * root, linf.lipschitz, TIGHT).unwrap();
        assert!((linf.lipschitz / 2.0 / 255.0 - 0.8694216).abs() < 5e-8);
        let l4 = l2(1.0, 0.0)
            .in_norm(Norm::new(4.0).unwrap(), VALUES)
            .unwrap();
        below_and_close(root.sqrt(), l4.lipschitz, TIGHT).unwrap();
        // up to p = 2 the l2 norm is the smaller one
        for norm in [Norm::L1, Norm::new(1.5).unwrap()] {
            let same = l2(1.0, 0.0).in_norm(norm, VALUES).unwrap();
            assert_eq!((same.lipschitz, same.budgets), (1.0, norm));
        }
        assert_eq!(l2(1.0, 0.0).in_norm(Norm::L2, VALUES), Ok(l2(1.0, 0.0)));
        // 2p overflows where p is close to the largest float
        for p in [1e300, 1e308, f64::MAX] {
            let all_but_linf = l2(1.0, 0.0).in_norm(Norm::new(p).unwrap(), VALUES).unwrap();
            below_and_close(root, all_but_linf.lipschitz, TIGHT).unwrap();
        }
    }

    #[test]
    fn only_l2_is_converted() {
        let l1 = Premises::new(Norm::L1, 1.0, 0.0).unwrap();
        assert!(matches!(
            l1.in_norm(Norm::L2, 9),
            Err(Error::Unsupported { .. })
        ));
        let linf = l2(1.0, 0.0).in_norm(Norm::LINF, 9).unwrap();
        assert!(matches!(
            linf.in_norm(Norm::L1, 9),
            Err(Error::Unsupported { .. })
        ));
        assert!(matches!(
            l2(1.0, 0.0).in_norm(Norm::LINF, 0),
            Err(Error::Shape { .. })
        ));
        let huge = l2(f64::MAX, 0.0).in_norm(Norm::LINF, 9);
        assert!(matches!(huge, Err(Error::Lipschitz { .. })));
    }
}
