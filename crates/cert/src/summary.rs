//! Numbers over images: means with a side, quantiles, and the table of a run.
//!
//! A mean of worst values is a figure of the data set. A mean of budgets is a statistic, not a
//! guarantee. What is undefined or out of reach is counted, never averaged.

use crate::error::{Error, Result};
use crate::row::{Question, Row};
use crate::share::{round_down, round_up};
use crate::{Budget, Goal, Metric};

/// The side on which a rounded number errs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At most the exact value: for lower bounds.
    Lower,
    /// At least the exact value: for upper bounds.
    Upper,
}

/// The largest f64 that is at most the exact mean (the smallest value, if one lies outside
/// 1e-250 to 1e250); `None` of no value, or if one is not finite.
pub fn mean_lower(values: &[f64]) -> Option<f64> {
    mean(values, Side::Lower)
}

/// The smallest f64 that is at least the exact mean (the largest value, if one lies outside
/// 1e-250 to 1e250); `None` of no value, or if one is not finite.
pub fn mean_upper(values: &[f64]) -> Option<f64> {
    mean(values, Side::Upper)
}

fn mean(values: &[f64], side: Side) -> Option<f64> {
    /// Within these nothing below over- or underflows.
    const ORDINARY: std::ops::Range<f64> = 1e-250..1e250;
    let (&first, rest) = values.split_first()?;
    if values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let (smallest, largest) = rest
        .iter()
        .fold((first, first), |(low, high), &v| (low.min(v), high.max(v)));
    let trivial = if side == Side::Lower {
        smallest
    } else {
        largest
    };
    if smallest == largest
        || values
            .iter()
            .any(|v| *v != 0.0 && !ORDINARY.contains(&v.abs()))
    {
        return Some(trivial);
    }
    let count = values.len() as f64;
    let mut mean = excess(values, 0.0) / count;
    // The leading part of the exact sum leaves the mean a few steps off; the sign of
    // sum - mean·count is exact.
    match side {
        Side::Lower => {
            while excess(values, mean) < 0.0 {
                mean = mean.next_down();
            }
            while excess(values, mean.next_up()) >= 0.0 {
                mean = mean.next_up();
            }
        }
        Side::Upper => {
            while excess(values, mean) > 0.0 {
                mean = mean.next_up();
            }
            while excess(values, mean.next_down()) <= 0.0 {
                mean = mean.next_down();
            }
        }
    }
    Some(mean)
}

/// A number with the exact sign of (sum of values) - mean·count: an expansion of floats that do
/// not overlap, J. R. Shewchuk, "Adaptive precision floating-point arithmetic" (1997).
fn excess(values: &[f64], mean: f64) -> f64 {
    let count = values.len() as f64;
    let product = mean * count;
    let mut parts: Vec<f64> = Vec::new();
    for term in values
        .iter()
        .copied()
        .chain([-product, -mean.mul_add(count, -product)])
    {
        let mut carry = term;
        parts.retain_mut(|part| {
            let sum = carry + *part;
            let added = sum - carry;
            let lost = (carry - (sum - added)) + (*part - added);
            carry = sum;
            *part = lost;
            lost != 0.0
        });
        parts.push(carry);
    }
    // Non-overlapping and rising: the last one that is not 0 has the sign of all.
    parts.into_iter().rfind(|part| *part != 0.0).unwrap_or(0.0)
}

/// An order statistic of readings of which some are out of reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// A number.
    Value(f64),
    /// No budget is enough.
    Unreachable,
}

/// One metric and question over all images.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The metric.
    pub metric: Metric,
    /// The question.
    pub question: Question,
    /// Clean values, where defined.
    pub clean: Vec<f64>,
    /// Worst values, or budgets within reach.
    pub values: Vec<f64>,
    /// Images on which the metric is undefined.
    pub undefined: usize,
    /// Images whose goal no budget reaches.
    pub unreachable: usize,
}

impl Entry {
    fn new(metric: Metric, question: Question) -> Self {
        Entry {
            metric,
            question,
            clean: Vec::new(),
            values: Vec::new(),
            undefined: 0,
            unreachable: 0,
        }
    }

    /// The side on which the values err: upper for a worst rate of false decisions, else lower.
    pub fn side(&self) -> Side {
        match self.question {
            Question::Worst(_) if !self.metric.higher_is_better() => Side::Upper,
            _ => Side::Lower,
        }
    }

    /// Mean of [`Self::values`] on their side; images out of reach are not in it.
    pub fn mean(&self) -> Option<f64> {
        mean(&self.values, self.side())
    }

    /// The order statistic at `q`, 0 to 1, on the cautious side of two; out of reach counts as
    /// largest. `None` of no reading. [`Error::Quantile`].
    pub fn quantile(&self, q: f64) -> Result<Option<Quantile>> {
        if !(0.0..=1.0).contains(&q) {
            return Err(Error::Quantile { got: q });
        }
        let Some(last) = (self.values.len() + self.unreachable).checked_sub(1) else {
            return Ok(None);
        };
        let position = q * last as f64;
        let position = if self.side() == Side::Lower {
            position.floor()
        } else {
            position.ceil()
        };
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Ok(Some(
            sorted
                .get(position as usize)
                .map_or(Quantile::Unreachable, |&v| Quantile::Value(v)),
        ))
    }
}

/// The rows of a run by metric and question.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    entries: Vec<Entry>,
}

impl Summary {
    /// An empty summary in the order in which the questions were asked. Budgets that are none are
    /// left out.
    pub fn new(metrics: &[Metric], eps: &[f64], goals: &[Goal]) -> Self {
        let mut entries = Vec::new();
        for &metric in metrics {
            let budgets = eps.iter().filter_map(|&eps| Budget::new(eps).ok());
            entries.extend(budgets.map(|eps| Entry::new(metric, Question::Worst(eps))));
            let goals = goals.iter().filter(|goal| goal.metric == metric);
            entries.extend(goals.map(|goal| Entry::new(metric, Question::Budget(goal.clone()))));
        }
        Summary { entries }
    }

    /// Adds a row; a question not announced gets an entry at the end, a row without one is skipped.
    pub fn add(&mut self, row: &Row) {
        let Some(question) = row.question() else {
            return;
        };
        let known = self
            .entries
            .iter()
            .position(|e| e.metric == row.metric && e.question == question);
        let entry = known.unwrap_or_else(|| {
            self.entries.push(Entry::new(row.metric, question));
            self.entries.len() - 1
        });
        let entry = &mut self.entries[entry];
        entry.clean.extend(row.clean);
        match row.value {
            Some(value) => entry.values.push(value),
            None if row.unreachable => entry.unreachable += 1,
            None => entry.undefined += 1,
        }
    }

    /// Metric and question by metric and question.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Header and lines of a table for people: clean values to the nearest, every certified number
    /// rounded to its cautious side.
    pub fn lines(&self) -> (Vec<String>, Vec<Vec<String>>) {
        const DIGITS: usize = 4;
        let header = [
            "metric",
            "question",
            "images",
            "clean",
            "mean",
            "median",
            "unreachable",
            "undefined",
        ]
        .map(str::to_owned)
        .to_vec();
        let line = |entry: &Entry| {
            let show = |side: Side, value: f64| {
                if side == Side::Lower {
                    round_down(value, DIGITS)
                } else {
                    round_up(value, DIGITS)
                }
            };
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            let median = entry
                .quantile(0.5)
                .ok()
                .flatten()
                .map(|median| match median {
                    Quantile::Value(value) => show(entry.side(), value),
                    Quantile::Unreachable => "unreachable".into(),
                });
            vec![
                entry.metric.to_string(),
                entry.question.to_string(),
                (entry.values.len() + entry.unreachable).to_string(),
                or_dash(mean_lower(&entry.clean).map(|v| format!("{v:.DIGITS$}"))),
                or_dash(entry.mean().map(|v| show(entry.side(), v))),
                or_dash(median),
                entry.unreachable.to_string(),
                entry.undefined.to_string(),
            ]
        };
        (header, self.entries.iter().map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Norm, Premises};

    #[test]
    fn means_enclose_and_touch() {
        assert_eq!([mean_lower(&[]), mean_upper(&[])], [None, None]);
        assert_eq!(
            [mean_lower(&[1.0, f64::NAN]), mean_upper(&[f64::INFINITY])],
            [None, None]
        );
        assert_eq!(mean_lower(&[0.1; 7]), Some(0.1));
        assert_eq!(
            [mean_lower(&[1.0, 0.0]), mean_upper(&[1.0, 0.0])],
            [Some(0.5), Some(0.5)]
        );
        let values = [1.0, 0.0, 0.0];
        let (low, high) = (mean_lower(&values).unwrap(), mean_upper(&values).unwrap());
        assert!(low.mul_add(3.0, -1.0) < 0.0 && high.mul_add(3.0, -1.0) > 0.0);
        assert_eq!(low.next_up(), high);
        // a running sum loses the 1: mean is 1/3 exactly between
        assert_eq!(mean_lower(&[1e20, 1.0, -1e20]), Some(low));
        assert_eq!(mean_upper(&[1e20, 1.0, -1e20]), Some(high));
        // out of the ordinary range: sound, and no more
        assert_eq!(
            [mean_lower(&[f64::MAX, 1.0]), mean_upper(&[f64::MAX, 1.0])],
            [Some(1.0), Some(f64::MAX)]
        );
        assert_eq!(
            [mean_lower(&[5e-324, 0.0]), mean_upper(&[5e-324, 0.0])],
            [Some(0.0), Some(5e-324)]
        );
    }

    #[test]
    fn the_sign_sees_planted_errors() {
        let values = [0.1, 0.2, 0.7, 0.3];
        let mean = mean_lower(&values).unwrap();
        assert!(excess(&values, mean) >= 0.0 && excess(&values, mean.next_up()) < 0.0);
        assert!(excess(&values, mean * 0.999) > 0.0 && excess(&values, mean * 1.001) < 0.0);
    }

    fn rows(metric: &str, readings: &[Option<f64>], unreachable: bool) -> (Entry, Summary) {
        let metric: Metric = metric.parse().unwrap();
        let premises = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
        let mut summary = Summary::new(&[metric], &[0.1], &[]);
        for reading in readings {
            let mut row = Row::new("a", metric, &premises).worst(None, Budget::new(0.1).unwrap());
            row.value = *reading;
            row.unreachable = reading.is_none() && unreachable;
            row.undefined = reading.is_none() && !unreachable;
            summary.add(&row);
        }
        (summary.entries()[0].clone(), summary)
    }

    #[test]
    fn quantile() {
        let (entry, _) = rows("accuracy", &[Some(0.5)], false);
        for bad in [f64::NAN, -0.1, 1.1] {
            assert!(matches!(entry.quantile(bad), Err(Error::Quantile { .. })));
        }
        let (entry, _) = rows("accuracy", &[Some(0.4), None, Some(0.2)], true);
        let at = |q| entry.quantile(q).unwrap().unwrap();
        assert_eq!(
            [at(0.0), at(0.5), at(1.0)],
            [
                Quantile::Value(0.2),
                Quantile::Value(0.4),
                Quantile::Unreachable
            ]
        );
        let even = |metric: &str| {
            rows(metric, &[Some(0.4), Some(0.2)], false)
                .0
                .quantile(0.5)
                .unwrap()
        };
        assert_eq!(even("accuracy"), Some(Quantile::Value(0.2)));
        assert_eq!(even("fnr:1"), Some(Quantile::Value(0.4)));
        assert_eq!(rows("accuracy", &[None], false).0.quantile(0.5), Ok(None));
    }

    #[test]
    fn absent_values_are_counted_not_averaged() {
        let (entry, summary) = rows("accuracy", &[Some(0.5), None, Some(0.25)], false);
        assert_eq!(
            (entry.undefined, entry.unreachable, entry.mean()),
            (1, 0, Some(0.375))
        );
        let line = &summary.lines().1[0];
        assert_eq!(
            line,
            &[
                "accuracy",
                "eps = 0.1",
                "2",
                "-",
                "0.3750",
                "0.2500",
                "0",
                "1"
            ]
        );
        let (entry, summary) = rows("fnr:1", &[Some(0.5), None, Some(0.33333)], true);
        assert_eq!((entry.undefined, entry.unreachable), (0, 1));
        assert_eq!(
            summary.lines().1[0],
            ["fnr:1", "eps = 0.1", "3", "-", "0.4167", "0.5000", "1", "0"]
        );
        assert_eq!(rows("accuracy", &[], false).0.mean(), None);
    }
}
