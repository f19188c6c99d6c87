//! Corrections for many components: which p-values certify.
//!
//! Bonferroni, Holm (paper 002 section 5.2), the step-down of Lehmann and Romano for k-FWER (paper 002
//! App. B.2, whose released code has other levels), and its single step, a certificate of counts. All
//! hold under any dependence of the components. All reject where p <= level, a tie included.
//!
//! As p falls in the count, what is certified are the components with at least some count. With r
//! components certified, all of the next smaller count pass together if they pass at the level of
//! the first of them: p is the same for all and the levels rise.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::lower::check_level;
use super::tail::Tail;
use super::wide::Wide;
use crate::error::{Error, Result};

/// A correction, of N components tested together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Correction {
    /// None: each component by itself is wrongly certified with probability alpha at most.
    None,
    /// p <= alpha/N.
    Bonferroni,
    /// Sorted p_i <= alpha/(N+1-i), up to the first failure: with probability 1 - alpha no component
    /// is wrongly certified, as for Bonferroni.
    #[default]
    Holm,
    /// k-FWER, step-down: with probability 1 - alpha fewer than k are wrongly certified.
    /// Sorted p_i <= k·alpha/N up to i = k, then k·alpha/(N+k-i).
    Kfwer(u64),
    /// At most B wrong, single step: p <= (B+1)·alpha/N.
    Count(u64),
}

impl Correction {
    /// As it stands.
    ///
    /// # Errors
    ///
    /// [`Error::Correction`] for a k-FWER of 0.
    pub fn check(self) -> Result<Self> {
        match self {
            Correction::Kfwer(0) | Correction::Count(u64::MAX) => Err(Error::Correction {
                got: self.to_string(),
            }),
            _ => Ok(self),
        }
    }

    /// How many certified components may be wrong, with probability 1 - alpha; `Correction::None`
    /// promises nothing.
    pub fn allowed(self) -> Option<u64> {
        match self {
            Correction::None => None,
            Correction::Bonferroni | Correction::Holm => Some(0),
            Correction::Kfwer(k) => Some(k - 1),
            Correction::Count(wrong) => Some(wrong),
        }
    }

    /// Of so many certified components, how many are right with probability 1 - alpha.
    pub fn net(self, certified: u64) -> u64 {
        certified.saturating_sub(self.allowed().unwrap_or(certified))
    }

    /// Whether the level depends on what is certified already.
    pub(super) fn steps(self) -> bool {
        matches!(self, Correction::Holm | Correction::Kfwer(_))
    }

    /// The level of the next component with `rejected` of `tests` certified already, to the nearest
    /// double; a p-value of [`Tail`] leaves room for that.
    pub fn level(self, alpha: f64, tests: u64, rejected: u64) -> f64 {
        let (k, over) = match self {
            Correction::None => (1, 1),
            Correction::Bonferroni => (1, tests),
            Correction::Holm => (1, tests - rejected),
            Correction::Kfwer(k) if rejected < k => (k, tests),
            Correction::Kfwer(k) => (k, tests - rejected + k - 1),
            Correction::Count(wrong) => (wrong + 1, tests),
        };
        k as f64 * alpha / over as f64
    }

    /// The least count that is certified; none if no component is. `histogram[c]` is the number of
    /// components with c of n votes.
    ///
    /// # Errors
    ///
    /// [`Error::Histogram`] unless it has n + 1 entries, [`Error::Parameter`] unless alpha is
    /// inside (0, 1), and as [`Correction::check`].
    pub fn threshold(self, tail: &Tail, histogram: &[u64], alpha: f64) -> Result<Option<usize>> {
        self.check()?;
        check_level(alpha)?;
        check_histogram(histogram, tail.samples())?;
        let tests = histogram.iter().sum();
        let mut rejected = 0;
        let mut threshold = None;
        for count in (0..=tail.samples()).rev() {
            let group = histogram[count];
            if group == 0 {
                continue;
            }
            if tail.p(count) > self.level(alpha, tests, rejected) {
                break;
            }
            threshold = Some(count);
            rejected += group;
        }
        Ok(threshold)
    }

    /// Which hypotheses are rejected, from p-values of any origin.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a p-value outside [0, 1] or an alpha outside (0, 1), and as
    /// [`Correction::check`].
    pub fn reject(self, p_values: &[f64], alpha: f64) -> Result<Vec<bool>> {
        self.check()?;
        check_level(alpha)?;
        check_p_values(p_values)?;
        let mut order: Vec<usize> = (0..p_values.len()).collect();
        order.sort_unstable_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
        let tests = p_values.len() as u64;
        let mut rejected = vec![false; p_values.len()];
        for (index, i) in (0..).zip(order) {
            if p_values[i] > self.level(alpha, tests, index) {
                break;
            }
            rejected[i] = true;
        }
        Ok(rejected)
    }
}

/// Rejects p_i <= w_i·alpha: Bonferroni with weights that were fixed without the test samples.
///
/// # Errors
///
/// [`Error::Components`] unless there is a weight each, [`Error::Parameter`] for weights below 0 or of a sum
/// above 1 (by more than 2^-40, for rounding), p-values outside [0, 1] or an alpha outside (0, 1).
pub fn weighted_bonferroni(p_values: &[f64], weights: &[f64], alpha: f64) -> Result<Vec<bool>> {
    check_level(alpha)?;
    check_p_values(p_values)?;
    if weights.len() != p_values.len() {
        return Err(Error::Components {
            what: "weights",
            got: weights.len(),
            expected: p_values.len(),
        });
    }
    let refused = |got| Error::Parameter {
        what: "weight, or sum of weights,",
        got,
        expected: "weights from 0 whose sum is at most 1",
    };
    if let Some(weight) = weights.iter().find(|weight| !(0.0..=1.0).contains(*weight)) {
        return Err(refused(*weight));
    }
    // a million weights are too many for a sum in f64; -0 has no sign here
    let each = weights.iter().map(|weight| Wide::from(weight.abs()));
    let sum = each.fold(Wide::ZERO, Wide::plus);
    let sum = if sum > Wide::ONE {
        sum.down().next_up()
    } else {
        1.0
    };
    if sum > 1.0 + 0.5f64.powi(40) {
        return Err(refused(sum));
    }
    // what rounding adds to the sum is taken off
    let alpha = alpha / sum;
    let pairs = p_values.iter().zip(weights);
    Ok(pairs.map(|(p, weight)| *p <= weight * alpha).collect())
}

/// n + 1 entries.
pub(super) fn check_histogram(histogram: &[u64], samples: usize) -> Result<()> {
    if histogram.len() == samples + 1 {
        return Ok(());
    }
    Err(Error::Histogram {
        got: histogram.len(),
        expected: samples + 1,
    })
}

fn check_p_values(p_values: &[f64]) -> Result<()> {
    match p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        None => Ok(()),
        Some(p) => Err(Error::Parameter {
            what: "p-value",
            got: *p,
            expected: "a number from 0 to 1",
        }),
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Correction::None => write!(f, "none"),
            Correction::Bonferroni => write!(f, "bonferroni"),
            Correction::Holm => write!(f, "holm"),
            Correction::Kfwer(k) => write!(f, "kfwer:{k}"),
            Correction::Count(wrong) => write!(f, "count:{wrong}"),
        }
    }
}

impl FromStr for Correction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || Error::Correction { got: text.into() };
        let number = |digits: &str| digits.parse().map_err(|_| refused());
        match text.split_once(':') {
            None => match text {
                "none" => Ok(Correction::None),
                "bonferroni" => Ok(Correction::Bonferroni),
                "holm" => Ok(Correction::Holm),
                _ => Err(refused()),
            },
            Some(("kfwer", k)) => Correction::Kfwer(number(k)?).check(),
            Some(("count", wrong)) => Correction::Count(number(wrong)?).check(),
            Some(_) => Err(refused()),
        }
    }
}

impl From<Correction> for String {
    fn from(correction: Correction) -> Self {
        correction.to_string()
    }
}

impl TryFrom<String> for Correction {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holm_with_ties_takes_all_or_none() {
        let reject = |p: &[f64]| Correction::Holm.reject(p, 0.05).unwrap();
        assert_eq!(reject(&[0.001, 0.016, 0.016, 0.016]), [true; 4]);
        assert_eq!(reject(&[0.0126, 0.0126, 0.0126, 0.9]), [false; 4]);
        assert_eq!(reject(&[]), Vec::<bool>::new());
    }

    #[test]
    fn lehmann_and_romano_by_hand() {
        let kfwer = Correction::Kfwer(2);
        let levels = [0, 1, 2, 3].map(|rejected| kfwer.level(0.1, 4, rejected));
        for (level, want) in levels.into_iter().zip([0.05, 0.05, 0.2 / 3.0, 0.1]) {
            assert!((level - want).abs() < 1e-15);
        }
        let reject = kfwer.reject(&[0.0, 0.0, 0.08, 0.15], 0.1).unwrap();
        assert_eq!(reject, [true, true, false, false]);
    }

    #[test]
    fn a_tie_with_the_level_is_rejected() {
        for correction in [
            Correction::Bonferroni,
            Correction::Holm,
            Correction::Count(0),
        ] {
            for (n, alpha) in [(3usize, 0.1), (7, 0.05), (1000, 0.001)] {
                let p = vec![alpha / n as f64; n];
                assert!(correction.reject(&p, alpha).unwrap().iter().all(|r| *r));
                let above = vec![(alpha / n as f64).next_up(); n];
                assert!(!correction.reject(&above, alpha).unwrap().iter().any(|r| *r));
            }
        }
    }

    #[test]
    fn weights_share_alpha() {
        let reject = |p: &[f64], w: &[f64]| weighted_bonferroni(p, w, 0.1);
        let got = reject(&[0.04, 0.04, 0.0], &[0.5, 0.3, 0.0]).unwrap();
        assert_eq!(got, [true, false, true]);
        assert!(reject(&[0.1; 10], &[0.1; 10]).is_ok());
        // in f64 these sum up to 1 + 8e-12
        assert!(reject(&vec![0.1; 1_000_000], &vec![1e-6; 1_000_000]).is_ok());
        assert!(reject(&[0.1, 0.1], &[-0.0, 1.0]).is_ok());
        for weights in [[0.6, 0.6], [-0.1, 0.5], [f64::NAN, 0.1]] {
            let error = reject(&[0.1, 0.1], &weights).unwrap_err();
            assert!(matches!(error, Error::Parameter { .. }));
        }
        assert!(matches!(reject(&[0.1], &[]), Err(Error::Components { .. })));
    }

    #[test]
    fn correction() {
        for name in ["none", "bonferroni", "holm", "kfwer:3", "count:0"] {
            let parsed: Correction = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            let text = serde_json::to_string(&parsed).unwrap();
            assert_eq!(serde_json::from_str::<Correction>(&text).unwrap(), parsed);
        }
        for bad in [
            "", "Holm", "kfwer", "kfwer:0", "kfwer:-1", "count:x", "fdr", "holm:2",
        ] {
            let error = bad.parse::<Correction>().unwrap_err();
            assert_eq!(error, Error::Correction { got: bad.into() });
        }
        assert_eq!(
            Error::Correction { got: "fdr".into() }.to_string(),
            "correction `fdr`; expected none, bonferroni, holm, kfwer:K with K from 1, or count:B with B wrong components allowed"
        );
        assert_eq!(Correction::Count(4).net(10), 6);
        assert_eq!(
            (Correction::Holm.net(10), Correction::None.net(10)),
            (10, 0)
        );
        assert_eq!(
            (Correction::Kfwer(4).net(10), Correction::Kfwer(40).net(10)),
            (7, 0)
        );
    }

    #[test]
    fn histogram() {
        let tail = Tail::new(4, 0.75).unwrap();
        let holm = Correction::Holm;
        assert_eq!(
            holm.threshold(&tail, &[1; 4], 0.1).unwrap_err().to_string(),
            "the histogram has 4 entries; expected 5, one for each count from 0 to n"
        );
        assert!(holm.threshold(&tail, &[1; 5], 1.0).is_err());
        assert!(Correction::Kfwer(0).threshold(&tail, &[1; 5], 0.1).is_err());
        for bad in [f64::NAN, -0.1, 1.1] {
            assert!(matches!(
                holm.reject(&[bad], 0.1),
                Err(Error::Parameter { .. })
            ));
        }
        assert!(holm.reject(&[0.1], f64::NAN).is_err());
        // no component, no certificate
        assert_eq!(holm.threshold(&tail, &[0; 5], 0.1).unwrap(), None);
    }
}
