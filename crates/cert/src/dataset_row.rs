//! Rows about a whole data set, and curves of single images: what `certify --dataset` and `--curve`
//! add to the rows of images.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::row::Question;
use crate::share::{round_down, round_up};
use crate::{Budget, Certificate, Goal, Metric, Norm, Pool, Premises};

/// Marks a data set line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DatasetKind {
    #[default]
    Dataset,
}

/// Marks a curve line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CurveKind {
    #[default]
    Curve,
}

/// One metric and question of a data set whose every image is attacked within the same budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRow {
    kind: DatasetKind,
    /// The metric, its counts summed over all images.
    pub metric: Metric,
    /// Norm of the budget.
    pub norm: Norm,
    /// Pooled value of the clean predictions, to the nearest.
    pub clean: Option<f64>,
    /// Pooled worst value, or the common budget; rounded as in [`crate::Row`].
    pub value: Option<f64>,
    /// Q1: the budget on each image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eps: Option<Budget>,
    /// Q2: the goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// Sum of numerators over sum of denominators of the worst attack on each image by itself:
    /// no bound of the pooled value, shown beside it because others report it. Ratios only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum_of_image_minima: Option<f64>,
    /// Images.
    pub images: u64,
    /// Images on which the metric alone is undefined.
    pub undefined: u64,
    /// No budget is enough for the goal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreachable: bool,
}

impl DatasetRow {
    /// All rows of a pool: one for each of its eps, then one for each goal of its metric.
    ///
    /// Errors: those of [`Pool::budget`].
    pub fn of(pool: &Pool, goals: &[Goal], premises: &Premises) -> Result<Vec<Self>> {
        let metric = pool.metric();
        let blank = DatasetRow {
            kind: DatasetKind::Dataset,
            metric,
            norm: premises.budgets(),
            clean: pool.clean().map(|value| value.nearest()),
            value: None,
            eps: None,
            goal: None,
            sum_of_image_minima: None,
            images: pool.images() as u64,
            undefined: pool.undefined() as u64,
            unreachable: false,
        };
        let sums = pool.sum_of_image_minima();
        let worst = pool.eps().iter().zip(pool.worst()).zip(sums);
        let mut rows: Vec<_> = worst
            .map(|((&eps, value), sum)| DatasetRow {
                value: value.map(|value| metric.cautious(value)),
                eps: Some(eps),
                sum_of_image_minima: sum.map(|value| value.nearest()),
                ..blank.clone()
            })
            .collect();
        for goal in goals.iter().filter(|goal| goal.metric == metric) {
            let value = pool.budget(goal)?;
            rows.push(DatasetRow {
                value,
                goal: Some(goal.clone()),
                unreachable: value.is_none() && blank.clean.is_some(),
                ..blank.clone()
            });
        }
        Ok(rows)
    }

    /// Header and lines of a table for people, rounded as in [`crate::Summary::lines`].
    pub fn lines(rows: &[Self]) -> (Vec<String>, Vec<Vec<String>>) {
        const DIGITS: usize = 4;
        let header = [
            "data set",
            "question",
            "images",
            "clean",
            "pooled",
            "sum of image minima (no bound)",
        ];
        let line = |row: &Self| {
            let upper = row.eps.is_some() && !row.metric.higher_is_better();
            let show = if upper { round_up } else { round_down };
            let number = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.DIGITS$}"));
            vec![
                row.metric.to_string(),
                row.question()
                    .map_or_else(String::new, |question| question.to_string()),
                row.images.to_string(),
                number(row.clean),
                match row.value {
                    Some(value) => show(value, DIGITS),
                    None if row.unreachable => "unreachable".into(),
                    None => "-".into(),
                },
                number(row.sum_of_image_minima),
            ]
        };
        (
            header.map(str::to_owned).to_vec(),
            rows.iter().map(line).collect(),
        )
    }

    /// What was asked; `None` of a row that asks nothing, or two things.
    pub fn question(&self) -> Option<Question> {
        Question::of(self.eps, self.goal.as_ref())
    }
}

/// The whole curve of one image and metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurveRow {
    kind: CurveKind,
    /// Name of the image.
    pub image: String,
    /// The metric.
    pub metric: Metric,
    /// Norm of the budgets.
    pub norm: Norm,
    /// Budgets, rising from 0.
    pub eps: Vec<f64>,
    /// A value for each, which holds for every budget up to and including it; rounded as in
    /// [`crate::Row`].
    pub value: Vec<f64>,
}

impl CurveRow {
    /// The curve in at most `points`.
    pub fn of(image: &str, certificate: &Certificate, points: usize, premises: &Premises) -> Self {
        let metric = certificate.metric();
        let curve = certificate.curve(points);
        let (eps, value) = curve
            .into_iter()
            .map(|(eps, value)| (eps.get(), metric.cautious(value)))
            .unzip();
        CurveRow {
            kind: CurveKind::Curve,
            image: image.into(),
            metric,
            norm: premises.budgets(),
            eps,
            value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TIGHT, below_and_close};
    use crate::{Grid, Head, Image, Row, margins};

    /// Two pixels of class 0, one of them wrong, of gaps 1.
    fn with_pool(metric: &str, test: impl Fn(&Pool, &Certificate, &Premises, &[Budget], &[Goal])) {
        let metric: Metric = metric.parse().unwrap();
        let grid = Grid::new(2, 1, 2).unwrap();
        let image = Image::new(grid, &[1.0, 0.0, 0.0, 1.0], Some(&[0, 0]), None).unwrap();
        let premises = Premises::new(Norm::LINF, 1.0, 0.0).unwrap();
        let margins = margins(&image, &premises).unwrap();
        let eps = [0.0, 0.75].map(|eps| Budget::new(eps).unwrap());
        let sign = if metric.higher_is_better() {
            "<=0"
        } else {
            ">=1"
        };
        let goals: Vec<Goal> = vec![format!("{metric}{sign}").parse().unwrap()];
        let mut pool = Pool::new(metric, 2, &eps, true).unwrap();
        pool.add(&margins).unwrap();
        let certificate = metric.certify(&margins).unwrap().unwrap();
        test(&pool, &certificate, &premises, &eps, &goals);
    }

    #[test]
    fn rows_of_a_pool_and_its_table() {
        with_pool("iou:0", |pool, _, premises, _, goals| {
            let rows = DatasetRow::of(pool, goals, premises).unwrap();
            assert_eq!([rows[0].value, rows[1].value], [Some(0.5), Some(0.0)]);
            below_and_close(rows[2].value.unwrap(), 0.5, TIGHT).unwrap();
            assert_eq!(rows[0].sum_of_image_minima, Some(0.5));
            assert_eq!(rows[2].question(), Some(Question::Budget(goals[0].clone())));
            let (header, lines) = DatasetRow::lines(&rows);
            assert_eq!(header.len(), lines[0].len());
            assert_eq!(
                lines[0],
                ["iou:0", "eps = 0", "1", "0.5000", "0.5000", "0.5000"]
            );
            assert_eq!(lines[2][5], "-");
        });
        // a rate of false decisions is rounded up
        with_pool("fnr:0", |pool, _, premises, _, _| {
            let rows = DatasetRow::of(pool, &[], premises).unwrap();
            let third = DatasetRow {
                value: Some(1.0 / 3.0),
                ..rows[0].clone()
            };
            assert_eq!(DatasetRow::lines(&[third]).1[0][4], "0.3334");
        });
    }

    /// Numbers, absent ones, inf and goals come back as they were.
    #[test]
    fn rows_survive_json() {
        fn back<T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug>(row: &T) {
            let text = serde_json::to_string(row).unwrap();
            assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), row, "{text}");
        }
        with_pool("fnr:0", |pool, certificate, premises, eps, goals| {
            DatasetRow::of(pool, goals, premises)
                .unwrap()
                .iter()
                .for_each(back);
            back(&CurveRow::of("a", certificate, 9, premises));
            let row = Row::new("a/b", certificate.metric(), premises);
            back(
                &row.clone()
                    .worst(Some(certificate), Budget::new(f64::INFINITY).unwrap()),
            );
            back(&row.clone().worst(None, eps[1]));
            back(&row.budget(Some(certificate), &goals[0]).unwrap());
            let head = Head::new("p", "1", vec![1])
                .seed(7)
                .eta(1e-9)
                .git(Some("x"));
            let conventions = crate::Conventions::default();
            let head = head
                .claim(premises.claim, conventions)
                .lipschitz(0.1 + 0.2, "audited");
            back(&head.unit(premises.budgets(), "[0,1]"));
        });
    }
}
