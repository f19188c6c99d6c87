//! Q1: the worst value of each metric within budgets. Paper 001, Table 2, left.

use certiseg_cert::{Metric, Question, Summary};

use super::columns::{At, beside, budgets, columns, mean};
use super::grid::{Column, Grid};
use super::{Ask, missing};
use crate::number::{certified, nearest};
use crate::{Result, Run};

/// A run's rows by metric and question, in the order in which they came.
pub fn summary(run: &Run) -> Summary {
    let mut summary = Summary::new(&[], &[], &[]);
    run.rows.iter().for_each(|row| summary.add(row));
    summary
}

/// Metrics of a run of which a worst value is known, in their order.
pub fn metrics(run: &Run) -> Vec<Metric> {
    let images = run.rows.iter().map(|row| (row.metric, row.eps));
    let pooled = run.dataset.iter().map(|row| (row.metric, row.eps));
    let mut metrics = Vec::new();
    for (metric, _) in images.chain(pooled).filter(|(_, eps)| eps.is_some()) {
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    metrics
}

/// Budgets within which a run says something.
pub fn those(run: &Run) -> impl Iterator<Item = At> {
    let images = run.rows.iter().map(|row| (row.norm, row.eps));
    let pooled = run.dataset.iter().map(|row| (row.norm, row.eps));
    images
        .chain(pooled)
        .filter_map(|(norm, eps)| Some((norm, eps?)))
}

/// Checks that each run has worst values.
pub fn check(name: &str, runs: &[Run], metrics: fn(&Run) -> bool, flags: &str) -> Result<()> {
    match runs.iter().find(|run| !metrics(run)) {
        None => Ok(()),
        Some(run) => Err(missing(
            &format!("the table {name} of {}", run.name),
            &format!("rows of `certiseg certify {flags}`"),
        )),
    }
}

/// Of the images of a run: how many, mean clean value, mean worst values.
pub fn means(run: &Run, metric: Metric, budgets: &[At], digits: usize) -> Option<Vec<String>> {
    let norm = run.rows.first()?.norm;
    let summary = summary(run);
    let entries = || summary.entries().iter().filter(|e| e.metric == metric);
    let first = entries().find(|entry| matches!(entry.question, Question::Worst(_)))?;
    let worst = budgets.iter().map(|(of, eps)| {
        let asked = Question::Worst(*eps);
        let entry = entries().find(|entry| entry.question == asked && *of == norm);
        certified(metric, entry.and_then(|entry| entry.mean()), digits)
    });
    let head = [
        first.values.len().to_string(),
        nearest(mean(&first.clean), digits),
    ];
    Some(head.into_iter().chain(worst).collect())
}

/// The same of all images pooled.
pub fn pooled(run: &Run, metric: Metric, budgets: &[At], digits: usize) -> Option<Vec<String>> {
    let rows = || run.dataset.iter().filter(|row| row.metric == metric);
    let first = rows().find(|row| row.eps.is_some())?;
    let worst = budgets.iter().map(|(norm, eps)| {
        let row = rows().find(|row| row.eps == Some(*eps) && row.norm == *norm);
        certified(metric, row.and_then(|row| row.value), digits)
    });
    let head = [first.images.to_string(), nearest(first.clean, digits)];
    Some(head.into_iter().chain(worst).collect())
}

/// Says on how many images a metric is not defined.
pub fn undefined(grid: &mut Grid, run: &Run, metric: Metric) {
    let summary = summary(run);
    let mut entries = summary.entries().iter().filter(|e| e.metric == metric);
    let Some(entry) = entries.next().filter(|entry| entry.undefined > 0) else {
        return;
    };
    let images = entry.undefined + entry.values.len() + entry.unreachable;
    grid.note(format!(
        "{}: {metric} is undefined on {} of {images} images, which are in no mean",
        run.name, entry.undefined
    ));
}

/// The table.
pub fn draw(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    check(name, runs, |run| !metrics(run).is_empty(), "--eps ...")?;
    let budgets = budgets(name, runs.iter().flat_map(those), (ask, "certify"))?;
    let mut all = vec![
        Column::words("run"),
        Column::words("metric"),
        Column::words("average"),
        Column::numbers("images"),
        Column::numbers("clean"),
    ];
    all.extend(columns("certified within eps", &budgets));
    let mut grid = Grid::new(name, "Worst value within eps", all);
    for run in runs {
        let mut lines = Vec::new();
        for metric in metrics(run) {
            let mut push = |average: &str, values: Option<Vec<String>>| {
                let names = [run.name.clone(), metric.to_string(), average.to_owned()];
                lines.extend(values.map(|values| names.into_iter().chain(values).collect()));
            };
            push("mean", means(run, metric, &budgets, ask.digits));
            push("pooled", pooled(run, metric, &budgets, ask.digits));
        }
        grid.add(lines);
    }
    words(&mut grid, runs);
    Ok(grid)
}

/// What the numbers of Q1 are.
pub fn words(grid: &mut Grid, runs: &[Run]) {
    grid.note(
        "certified values hold for every change within eps: rounded down, rates of false decisions (fnr, fpr) up; clean ones to the nearest",
    );
    grid.note(
        "mean: over images; pooled: counts of all images together, each image attacked within eps",
    );
    for run in runs {
        if run.dataset.is_empty() {
            grid.note(format!(
                "{}: no pooled values (`certify --dataset`)",
                run.name
            ));
        }
        for metric in metrics(run) {
            undefined(grid, run, metric);
        }
    }
    beside(grid, runs);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{certified_row, dataset_row, run};
    use super::super::{Ask, table};

    #[test]
    fn both_averages_are_cut_against_us() {
        let rows = [
            certified_row("a", "accuracy", "0.9", "0.7"),
            certified_row("b", "accuracy", "0.9", "0.79999"),
            certified_row("a", "fnr:1", "0.1", "0.2"),
            certified_row("b", "fnr:1", "0.1", "0.20002"),
            certified_row("c", "fnr:1", "null", "null"),
            dataset_row("fnr:1", "0.1", "0.30001"),
        ];
        let ask = Ask {
            digits: 3,
            ..Ask::default()
        };
        let grid = table("certificates", &[run("r", "certify", "", &rows)], &ask).unwrap();
        let lines: Vec<_> = grid.lines.iter().map(|line| line.cells.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "r accuracy mean 2 0.900 0.749",
                "r fnr:1 mean 2 0.100 0.201",
                "r fnr:1 pooled 3 0.100 0.301",
            ]
        );
        assert_eq!(grid.columns[5].name(), "certified within eps (l2) 0.1");
        let undefined = "r: fnr:1 is undefined on 1 of 3 images, which are in no mean";
        assert!(grid.notes.iter().any(|note| note == undefined));
    }

    #[test]
    fn what_a_run_lacks_is_named() {
        let rows = [certified_row("a", "accuracy", "0.9", "0.7")];
        let runs = [
            run("r", "certify", "", &rows),
            run("empty", "certify", "", &[]),
        ];
        let error = table("certificates", &runs, &Ask::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the table certificates of empty needs rows of `certiseg certify --eps ...`"
        );
    }
}
