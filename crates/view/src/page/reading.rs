//! Certified values of images as the rows have them: at the budgets of rows those of rows, between and beyond what
//! curves say, which holds up to their points.

use std::collections::BTreeMap;

use certiseg_cert::{Goal, Metric};

use crate::Run;
use crate::number::certified_mean;

/// What rows say of an image and a metric.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Value of the clean prediction.
    pub clean: Option<f64>,
    /// Pixels or objects that count.
    pub counted: u64,
    /// The metric means nothing on this image.
    pub undefined: bool,
    /// Budgets and values of rows, rising.
    rows: Vec<(f64, f64)>,
    /// Of the curve; empty where there is none.
    curve: Vec<(f64, f64)>,
    /// Goals and budgets of rows; none where no budget is enough.
    pub goals: Vec<(Goal, Option<f64>)>,
}

impl Reading {
    /// The worst value within `eps`, at most so good: that of the row, or else of the next budget above.
    pub fn at(&self, eps: f64) -> Option<f64> {
        if let Some(&(_, value)) = self.rows.iter().find(|(known, _)| *known == eps) {
            return Some(value);
        }
        let above = |points: &[(f64, f64)]| points.iter().find(|(known, _)| *known >= eps).copied();
        let next = [above(&self.rows), above(&self.curve)];
        let next = next
            .into_iter()
            .flatten()
            .min_by(|a, b| a.0.total_cmp(&b.0));
        // from its last point on a curve moves no more
        next.or(self.curve.last().copied()).map(|(_, value)| value)
    }

    /// The largest known budget within which the value stays on the good side of `threshold`.
    pub fn until(&self, metric: Metric, threshold: &str) -> Option<Until> {
        let exact = self
            .goals
            .iter()
            .find(|(goal, _)| plain(metric, goal, threshold));
        if let Some((_, budget)) = exact {
            return Some(budget.map_or(Until::Never, Until::Budget));
        }
        let threshold: f64 = threshold.parse().ok()?;
        let mut points = [&self.rows[..], &self.curve].concat();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        until(metric, threshold, &points, !self.curve.is_empty())
    }

    /// Budgets at which the value of the curve is lower than before: where one of the objects vanishes.
    pub fn falls(&self) -> Vec<f64> {
        let pairs = self.curve.iter().zip(self.curve.iter().skip(1));
        // up to the point before the fall nothing has gone
        pairs
            .filter(|(before, after)| after.1 < before.1)
            .map(|(before, _)| before.0)
            .collect()
    }

    /// The points of the curve, or of rows.
    pub fn budgets(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().chain(&self.curve).map(|(eps, _)| *eps)
    }

    /// The last point of the curve, whatever rows ask: one budget in another unit must not stretch a slider.
    pub fn end(&self) -> Option<f64> {
        self.curve.last().map(|(eps, _)| *eps)
    }

    /// Whether a curve tells of all budgets.
    pub fn is_whole(&self) -> bool {
        !self.curve.is_empty()
    }
}

/// A budget until which something is out of reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    /// Rounded down.
    Budget(f64),
    /// No budget is enough.
    Never,
}

/// Whether the goal is "falls to the threshold" of this metric, in the same decimals or others.
fn plain(metric: Metric, goal: &Goal, threshold: &str) -> bool {
    let sign = if metric.higher_is_better() {
        "<="
    } else {
        ">="
    };
    let text = goal.to_string();
    let number = text
        .split_once(sign)
        .and_then(|(_, number)| number.parse::<f64>().ok());
    goal.metric == metric && number.is_some() && number == threshold.parse().ok()
}

/// Of values that hold up to their budgets.
pub fn until(metric: Metric, threshold: f64, points: &[(f64, f64)], whole: bool) -> Option<Until> {
    let holds = |value: f64| match metric.higher_is_better() {
        true => value > threshold,
        false => value < threshold,
    };
    let last = points.iter().rposition(|&(_, value)| holds(value));
    match last {
        _ if points.is_empty() => None,
        None => Some(Until::Budget(0.0)),
        Some(last) if whole && last + 1 == points.len() => Some(Until::Never),
        Some(last) => Some(Until::Budget(points[last].0)),
    }
}

/// All images of a page, by metric.
#[derive(Debug, Default)]
pub struct Readings {
    /// Names in the order of the rows.
    pub images: Vec<String>,
    /// In the order of the rows.
    pub metrics: Vec<Metric>,
    readings: BTreeMap<(Metric, String), Reading>,
}

impl Readings {
    /// Of the rows of all runs; what attacks say of certificates counts where no certificate does.
    pub fn of(runs: &[Run]) -> Self {
        let mut all = Self::default();
        for row in runs.iter().flat_map(|run| &run.rows) {
            let reading = all.entry(row.metric, &row.image);
            reading.clean = row.clean;
            reading.counted = row.counted;
            reading.undefined = row.undefined;
            if let (Some(eps), Some(value)) = (row.eps, row.value) {
                reading.put(eps.get(), value);
            }
            // an image whose rows are given twice counts once
            if let Some(goal) = row.goal.as_ref().filter(|_| !row.undefined)
                && !reading.goals.iter().any(|(known, _)| known == goal)
            {
                reading.goals.push((goal.clone(), row.value));
            }
        }
        for curve in runs.iter().flat_map(|run| &run.curves) {
            let points = curve.eps.iter().copied().zip(curve.value.iter().copied());
            all.entry(curve.metric, &curve.image).curve = points.collect();
        }
        for row in runs.iter().flat_map(|run| &run.attacks) {
            let reading = all.entry(row.metric, &row.image);
            reading.clean = reading.clean.or(row.clean);
            match (row.clean, row.certified) {
                (None, _) => reading.undefined = true,
                (_, Some(value)) => reading.put(row.eps.get(), value),
                (_, None) => {}
            }
        }
        all
    }

    fn entry(&mut self, metric: Metric, image: &str) -> &mut Reading {
        if !self.metrics.contains(&metric) {
            self.metrics.push(metric);
        }
        if !self.images.iter().any(|known| known == image) {
            self.images.push(image.into());
        }
        self.readings.entry((metric, image.into())).or_default()
    }

    /// Of an image; none where no row is about both.
    pub fn get(&self, metric: Metric, image: &str) -> Option<&Reading> {
        self.readings.get(&(metric, image.to_owned()))
    }

    /// Of all images on which the metric means something.
    pub fn defined(&self, metric: Metric) -> Vec<&Reading> {
        let images = self.images.iter();
        let all = images.filter_map(|image| self.get(metric, image));
        all.filter(|reading| !reading.undefined).collect()
    }

    /// Images on which it means nothing.
    pub fn undefined(&self, metric: Metric) -> usize {
        let images = self.images.iter();
        let all = images.filter_map(|image| self.get(metric, image));
        all.filter(|reading| reading.undefined).count()
    }

    /// Certified values of all images within `eps`; none where one of them is not known.
    pub fn values(&self, metric: Metric, eps: f64) -> Option<Vec<f64>> {
        let defined = self.defined(metric);
        let values: Option<Vec<f64>> = defined.iter().map(|reading| reading.at(eps)).collect();
        values.filter(|values| !values.is_empty())
    }

    /// Budgets and means over images, thinned to some hundreds.
    pub fn means(&self, metric: Metric, positions: &[f64]) -> Vec<(f64, f64)> {
        const MOST: usize = 300;
        let defined = self.defined(metric);
        let mut budgets: Vec<f64> = defined
            .iter()
            .flat_map(|reading| reading.budgets())
            .collect();
        budgets.sort_unstable_by(f64::total_cmp);
        budgets.dedup();
        let step = budgets.len().div_ceil(MOST).max(1);
        // from the end, which says whether a goal is ever reached
        let mut budgets: Vec<f64> = budgets.into_iter().rev().step_by(step).collect();
        budgets.extend(positions);
        budgets.sort_unstable_by(f64::total_cmp);
        budgets.dedup();
        let mean = |eps: f64| Some((eps, certified_mean(metric, &self.values(metric, eps)?)?));
        budgets.into_iter().map_while(mean).collect()
    }
}

impl Reading {
    /// Keeps rows rising; a budget that is known already keeps its value.
    fn put(&mut self, eps: f64, value: f64) {
        let at = self.rows.partition_point(|(known, _)| *known < eps);
        if self.rows.get(at).is_none_or(|(known, _)| *known != eps) {
            self.rows.insert(at, (eps, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading {
            rows: vec![(0.1, 0.9), (0.5, 0.7)],
            curve: vec![(0.0, 1.0), (0.2, 0.8), (0.4, 0.75), (1.0, 0.25)],
            ..Reading::default()
        }
    }

    #[test]
    fn values_are_those_of_rows_and_else_of_the_next_budget_above() {
        let reading = reading();
        for (eps, value) in [
            (0.0, 1.0),
            (0.05, 0.9),
            (0.1, 0.9),
            (0.15, 0.8),
            (0.2, 0.8),
            (0.45, 0.7),
            (0.5, 0.7),
            (0.6, 0.25),
            (7.0, 0.25),
        ] {
            assert_eq!(reading.at(eps), Some(value), "{eps}");
        }
        let bare = Reading {
            curve: Vec::new(),
            ..reading
        };
        assert_eq!((bare.at(0.3), bare.at(0.6)), (Some(0.7), None));
    }

    #[test]
    fn goals_are_out_of_reach_until_the_last_budget_that_says_so() {
        let mut reading = reading();
        let budget = |reading: &Reading, text| reading.until(Metric::Accuracy, text);
        assert_eq!(budget(&reading, "0.75"), Some(Until::Budget(0.2)));
        assert_eq!(budget(&reading, "0.7"), Some(Until::Budget(0.4)));
        assert_eq!(budget(&reading, "0.2"), Some(Until::Never));
        assert_eq!(budget(&reading, "1"), Some(Until::Budget(0.0)));
        reading.goals = vec![("accuracy<=0.70".parse().unwrap(), Some(0.51))];
        assert_eq!(budget(&reading, "0.7"), Some(Until::Budget(0.51)));
        reading.goals = vec![("accuracy<0.70".parse().unwrap(), Some(0.51))];
        assert_eq!(budget(&reading, "0.7"), Some(Until::Budget(0.4)));
        let rising = [(0.0, 0.1), (0.5, 0.3), (1.0, 0.8)];
        let fnr = |threshold| until(Metric::Fnr(1), threshold, &rising, true);
        assert_eq!(fnr(0.3), Some(Until::Budget(0.0)));
        assert_eq!(fnr(0.5), Some(Until::Budget(0.5)));
        assert_eq!(fnr(0.9), Some(Until::Never));
    }

    #[test]
    fn objects_vanish_behind_the_point_before_the_fall() {
        assert_eq!(reading().falls(), [0.0, 0.2, 0.4]);
    }
}
