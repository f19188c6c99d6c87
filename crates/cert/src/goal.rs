//! A degradation that an attacker wants: `accuracy<=0.5`, `fnr:1>=0.7`, `iou:1<0.3`.
//!
//! The threshold is the decimal that was typed, never a float: ceil((1-.7)·10) in floats is 4.
//! Paper 001 eqs 12-18 with the counts corrected: accuracy <= g needs ceil((1-g)·|S|) flips.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::share::Value;

/// Metric, relation and exact threshold. Serialised as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Goal {
    /// What is degraded.
    pub metric: Metric,
    /// How it compares with the threshold once the goal is reached.
    pub relation: Relation,
    /// The threshold, in [0, 1].
    pub threshold: Decimal,
}

/// Relation of the value to the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
}

/// A decimal in [0, 1] of at most 18 digits: numerator / denominator, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    pub(crate) numerator: u64,
    pub(crate) denominator: u64,
    text: String,
}

impl Relation {
    const ALL: [Relation; 4] = [
        Relation::AtMost,
        Relation::AtLeast,
        Relation::Below,
        Relation::Above,
    ];

    fn sign(self) -> &'static str {
        match self {
            Relation::AtMost => "<=",
            Relation::Below => "<",
            Relation::AtLeast => ">=",
            Relation::Above => ">",
        }
    }

    fn is_strict(self) -> bool {
        matches!(self, Relation::Below | Relation::Above)
    }
}

impl Decimal {
    /// Digits with at most one point between or beside them; no sign, no exponent.
    fn parse(text: &str) -> Option<Self> {
        const DIGITS: usize = 18; // 10^18 is below 2^63
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = [whole, part].concat();
        if digits.is_empty() || part.len() > DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let decimal = Decimal {
            numerator: digits.parse().ok()?,
            denominator: 10u64.pow(u32::try_from(part.len()).ok()?),
            text: text.into(),
        };
        (decimal.numerator <= decimal.denominator).then_some(decimal)
    }
}

impl Goal {
    /// Pixels an attack has to flip of `counted`, for the metrics of one list; more than
    /// `counted` where none suffice. Those wrong already are counted too.
    pub fn flips(&self, counted: usize) -> usize {
        let Decimal {
            numerator,
            denominator,
            ..
        } = self.threshold;
        let share = if self.metric.higher_is_better() {
            denominator - numerator
        } else {
            numerator
        };
        let (wanted, whole) = (u128::from(share) * counted as u128, u128::from(denominator));
        let flips = if self.relation.is_strict() {
            wanted / whole + 1
        } else {
            wanted.div_ceil(whole)
        };
        // share <= 1: at most counted + 1
        flips as usize
    }

    /// `stability@50`: at least so many percent of the pixels change.
    fn stability_at(percent: &str) -> Option<Self> {
        let percent: u8 = percent.parse().ok().filter(|n| (1..=100).contains(n))?;
        let left = 100 - percent;
        Some(Goal {
            metric: Metric::Stability,
            relation: Relation::AtMost,
            threshold: Decimal::parse(&format!("0.{left:02}"))?,
        })
    }

    /// [`Error::GoalOfOtherMetric`] where it is not about this metric.
    pub(crate) fn check(&self, metric: Metric) -> Result<()> {
        if self.metric == metric {
            return Ok(());
        }
        Err(Error::GoalOfOtherMetric {
            goal: self.to_string(),
            metric,
            expected: self.metric,
        })
    }

    /// Whether equality does not count.
    pub(crate) fn is_strict(&self) -> bool {
        self.relation.is_strict()
    }

    /// Whether a value that is at least this does not reach the goal, for metrics that attacks
    /// lower. Where rounding leaves a doubt: reached.
    pub(crate) fn is_out_of_reach(&self, value: Value) -> bool {
        let above = value.lower();
        // within one unit of roundoff of the threshold
        let threshold = self.threshold.numerator as f64 / self.threshold.denominator as f64;
        let threshold = (threshold * (1.0 + 4.0 * f64::EPSILON)).next_up();
        match (value, self.is_strict()) {
            (Value::Share(share), strict) => {
                let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
                let value = product(share.numerator, self.threshold.denominator);
                let least = product(share.denominator, self.threshold.numerator);
                value > least || strict && value == least
            }
            // every value is at least 0
            (_, true) if self.threshold.numerator == 0 => true,
            _ => above >= threshold,
        }
    }
}

impl FromStr for Goal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason| Error::Goal {
            got: text.into(),
            reason,
        };
        let split = Relation::ALL.into_iter().find_map(|r| {
            text.split_once(r.sign())
                .map(|(metric, threshold)| (metric, r, threshold))
        });
        if let Some(percent) = text.trim().strip_prefix("stability@") {
            return Goal::stability_at(percent).ok_or(refuse(
                "expected stability@ and whole percents of pixels to change, 1 to 100",
            ));
        }
        let (metric, relation, threshold) =
            split.ok_or(refuse("expected METRIC<=NUMBER, with <=, <, >= or >"))?;
        let metric: Metric = metric.trim().parse()?;
        let downwards = matches!(relation, Relation::AtMost | Relation::Below);
        if downwards != metric.higher_is_better() {
            return Err(refuse(
                "attacks raise fnr and fpr (use >= or >) and lower every other metric (use <= or <)",
            ));
        }
        let threshold = Decimal::parse(threshold.trim()).ok_or(refuse(
            "expected a plain decimal from 0 to 1 with at most 18 digits, such as 0.7",
        ))?;
        Ok(Goal {
            metric,
            relation,
            threshold,
        })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "{}{}{}",
            self.metric,
            self.relation.sign(),
            self.threshold.text
        ))
    }
}

impl TryFrom<String> for Goal {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Goal> for String {
    fn from(goal: Goal) -> String {
        goal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal_of(text: &str) -> Goal {
        text.parse().unwrap()
    }

    #[test]
    fn goal() {
        for (typed, shown) in [
            ("accuracy<=0.5", "accuracy<=0.5"),
            (" iou:1 <= 0.30 ", "iou:1<=0.30"),
            ("fnr:1>=.7", "fnr:1>=.7"),
            ("stability < 1", "stability<1"),
            ("fnr:0>0", "fnr:0>0"),
            ("stability@50", "stability<=0.50"),
            ("stability@100", "stability<=0.00"),
        ] {
            assert_eq!(goal_of(typed).to_string(), shown);
            assert_eq!(goal_of(shown), goal_of(typed));
        }
        for bad in [
            "accuracy",
            "accuracy=0.5",
            "accuracy>=0.5",
            "fnr:1<=0.5",
            "iou:1>0.5",
            "stability>=1",
            "accuracy<=1.01",
            "accuracy<=-0.1",
            "accuracy<=",
            "accuracy<=.",
            "accuracy<=1e-3",
            "accuracy<=nan",
            "accuracy<=0.5.5",
            "accuracy<=0.0000000000000000001",
            "accuracy<==0.5",
            "accuracy<=99999999999999999999",
        ] {
            assert!(
                matches!(bad.parse::<Goal>(), Err(Error::Goal { .. })),
                "{bad}"
            );
        }
        assert!(matches!(
            "dise:1<=0.5".parse::<Goal>(),
            Err(Error::Metric { .. })
        ));
    }

    /// Size, goal, flips, and what a float `ceil` gives.
    #[test]
    fn example_t7_rounding_of_the_threshold() {
        for (size, text, flips, float) in [
            (10, "accuracy<=0.7", 3, 4.0),
            (20, "accuracy<=0.85", 3, 4.0),
            (20, "accuracy<=0.95", 1, 2.0),
            (1000, "accuracy<=0.7", 300, 301.0),
            (100, "fnr:1>=0.07", 7, 8.0),
            (20, "fnr:1>=0.35", 7, 7.0),
            (5, "fnr:1>=0.4", 2, 2.0),
        ] {
            let goal = goal_of(text);
            assert_eq!(goal.flips(size), flips, "{text}");
            let gamma: f64 = goal.threshold.text.parse().unwrap();
            let share = if goal.metric.higher_is_better() {
                1.0 - gamma
            } else {
                gamma
            };
            assert_eq!(
                (share * size as f64).ceil(),
                float,
                "the table's float column for {text}"
            );
        }
    }

    #[test]
    fn example_e2_counts() {
        for (text, flips) in [
            ("accuracy<=0.8", 1),
            ("accuracy<0.8", 2),
            ("accuracy<=0.6", 2),
            ("accuracy<0.6", 3),
            ("accuracy<=0.4", 3),
            ("accuracy<0", 6),
            ("accuracy<=1", 0),
            ("accuracy<1", 1),
        ] {
            assert_eq!(goal_of(text).flips(5), flips, "{text}");
        }
    }
}
