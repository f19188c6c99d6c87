//! Metrics of single classes by budget. Paper 001, Table 3: the worst IoU of a class.

use certiseg_cert::Metric;

use super::Ask;
use super::certificates::{check, means, metrics, pooled, those, words};
use super::columns::{At, budgets};
use super::grid::{Column, Grid};
use crate::number::NONE;
use crate::{Result, Run};

/// What stands for a class that no image has.
const ABSENT: &str = "absent";

/// Before the worst values of a line of [`means`] and [`pooled`]: images, clean.
const HEAD: usize = 2;

fn of_classes(run: &Run) -> Vec<Metric> {
    let metrics = metrics(run).into_iter();
    metrics.filter(|metric| metric.class().is_some()).collect()
}

/// The table.
pub fn draw(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    let flags = "--metric iou:K --eps ...";
    check(name, runs, |run| !of_classes(run).is_empty(), flags)?;
    let budgets = budgets(name, runs.iter().flat_map(those), (ask, "certify"))?;
    let mut all: Vec<Metric> = Vec::new();
    for metric in runs.iter().flat_map(of_classes) {
        if !all.contains(&metric) {
            all.push(metric);
        }
    }
    let mut columns = vec![Column::words("run"), Column::numbers("eps")];
    for metric in &all {
        let titles = ["pooled", "mean", "images"];
        let under = |title| Column::numbers(title).under(&metric.to_string());
        columns.extend(titles.map(under));
    }
    let mut grid = Grid::new(name, "Worst value of each class by eps", columns);
    for run in runs {
        let of: Vec<_> = all
            .iter()
            .map(|metric| Values::of(run, *metric, &budgets, ask))
            .collect();
        let line = |eps: String, at: usize| {
            let values = of.iter().flat_map(|values| values.at(at));
            [run.name.clone(), eps].into_iter().chain(values).collect()
        };
        let clean = line("clean".into(), HEAD - 1);
        let has = |at: &At| those(run).any(|known| known == *at);
        let worst = budgets.iter().enumerate().filter(|(_, at)| has(at));
        let worst = worst.map(|(index, (norm, eps))| {
            let eps = format!("{} (l{norm})", eps.get());
            line(eps, HEAD + index)
        });
        grid.add([clean].into_iter().chain(worst).collect::<Vec<_>>());
    }
    grid.note("clean values to the nearest; images: those in the mean");
    words(&mut grid, runs);
    Ok(grid)
}

/// A metric of a run: images, clean, worst values.
struct Values {
    pooled: Option<Vec<String>>,
    means: Option<Vec<String>>,
    /// Nothing of the class is in any image.
    absent: bool,
}

impl Values {
    fn of(run: &Run, metric: Metric, budgets: &[At], ask: &Ask) -> Self {
        let rows = || run.rows.iter().filter(|row| row.metric == metric);
        Values {
            pooled: pooled(run, metric, budgets, ask.digits),
            means: means(run, metric, budgets, ask.digits),
            absent: rows().next().is_some() && rows().all(|row| row.undefined),
        }
    }

    fn at(&self, index: usize) -> [String; 3] {
        let of = |values: &Option<Vec<String>>, index: usize| {
            let value = values.as_ref().and_then(|values| values.get(index));
            value.cloned().unwrap_or(NONE.into())
        };
        let mean = match self.absent {
            true => ABSENT.into(),
            false => of(&self.means, index),
        };
        [of(&self.pooled, index), mean, of(&self.means, 0)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{certified_row, dataset_row, run};
    use super::super::{Ask, table};

    #[test]
    fn classes_stand_side_by_side() {
        let rows = [
            certified_row("a", "accuracy", "0.9", "0.7"),
            certified_row("a", "iou:1", "0.5", "0.25"),
            certified_row("b", "iou:1", "null", "null"),
            certified_row("a", "iou:2", "null", "null"),
            dataset_row("iou:1", "0.5", "0.24999"),
        ];
        let ask = Ask {
            digits: 3,
            ..Ask::default()
        };
        let grid = table("classes", &[run("r", "certify", "", &rows)], &ask).unwrap();
        let names: Vec<_> = grid.columns.iter().map(|column| column.name()).collect();
        let expected = ["iou:1 pooled", "iou:1 mean", "iou:1 images"];
        assert_eq!(names[2..5], expected);
        let lines: Vec<_> = grid.lines.iter().map(|line| line.cells.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "r clean 0.500 0.500 1 - absent 0",
                "r 0.1 (l2) 0.249 0.250 1 - absent 0"
            ]
        );
    }

    #[test]
    fn a_metric_of_a_class_is_needed() {
        let rows = [certified_row("a", "accuracy", "0.9", "0.7")];
        let error = table(
            "classes",
            &[run("r", "certify", "", &rows)],
            &Ask::default(),
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("certify --metric iou:K --eps"), "{error}");
    }
}
