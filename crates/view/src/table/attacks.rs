//! What attacks found beside what is certified: paper 001, Figure 3, in numbers.

use std::collections::BTreeSet;

use certiseg_cert::{Metric, round_down};

use super::columns::{At, beside, budgets, mean};
use super::grid::{Column, Grid};
use super::{Ask, missing};
use crate::number::{NONE, certified, certified_mean, nearest};
use crate::run::Attack;
use crate::{Result, Run};

/// A fall per picture below this is rounding: certified values are rounded to the safe side.
const ROUNDING: f64 = 1e-12;

/// The table.
pub fn draw(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    if let Some(run) = runs.iter().find(|run| run.attacks.is_empty()) {
        return Err(missing(
            &format!("the table {name} of {}", run.name),
            "rows of `certiseg attack`",
        ));
    }
    let all = runs.iter().flat_map(|run| &run.attacks);
    let those = all.map(|row| (row.norm, row.eps));
    let budgets = budgets(name, those, (ask, "attack"))?;
    let columns = vec![
        Column::words("run"),
        Column::words("metric"),
        Column::numbers("eps"),
        Column::words("norm"),
        Column::numbers("images"),
        Column::numbers("clean"),
        Column::numbers("attacked"),
        Column::numbers("certified"),
        Column::numbers("found"),
        Column::numbers("sound on"),
        Column::words("found mostly by"),
    ];
    let mut grid = Grid::new(
        name,
        "Attacked beside certified, means over images",
        columns,
    );
    for run in runs {
        for metric in metrics(run) {
            let of = |(norm, eps): &At| -> Vec<&Attack> {
                let rows = run.attacks.iter().filter(|row| row.metric == metric);
                rows.filter(|row| row.norm == *norm && row.eps == *eps)
                    .collect()
            };
            let rows = budgets.iter().map(of).filter(|rows| !rows.is_empty());
            grid.add(
                rows.map(|rows| line(run, &rows, ask.digits))
                    .collect::<Vec<_>>(),
            );
        }
    }
    words(&mut grid, runs);
    beside(&mut grid, runs);
    Ok(grid)
}

/// Of the rows of one metric and budget, of which there is one.
fn line(run: &Run, rows: &[&Attack], digits: usize) -> Vec<String> {
    let row = rows[0];
    let values = |row: &Attack| Some([row.clean?, row.certified?, row.attacked?]);
    let defined = rows.iter().filter(|row| values(row).is_some());
    let defined: Vec<&Attack> = defined.copied().collect();
    let whole: Vec<[f64; 3]> = rows.iter().filter_map(|row| values(row)).collect();
    let all = |of: usize| -> Vec<f64> { whole.iter().map(|values| values[of]).collect() };
    let [clean, bound, attacked] = [0, 1, 2].map(all);
    let at_stake = rows.iter().filter(|row| row.is_at_stake());
    let (held, at_stake) = at_stake.fold((0, 0), |(held, all), row| {
        (held + usize::from(!row.is_beaten()), all + 1)
    });
    let found = found(&clean, &attacked, &bound);
    vec![
        run.name.clone(),
        row.metric.to_string(),
        row.eps.get().to_string(),
        format!("l{}", row.norm),
        whole.len().to_string(),
        nearest(mean(&clean), digits),
        nearest(mean(&attacked), digits),
        certified(row.metric, certified_mean(row.metric, &bound), digits),
        found.map_or(NONE.into(), |share| {
            format!("{} %", round_down(100.0 * share, 0))
        }),
        match at_stake {
            0 => NONE.into(),
            all => format!("{held}/{all}"),
        },
        most(&defined),
    ]
}

/// Share of the certified fall that was found, over the same images; none where no fall is certified possible.
fn found(clean: &[f64], attacked: &[f64], certified: &[f64]) -> Option<f64> {
    let fall = |to: &[f64]| -> f64 { clean.iter().zip(to).map(|(a, b)| (a - b).abs()).sum() };
    let allowed = fall(certified);
    (allowed > ROUNDING * clean.len() as f64).then(|| fall(attacked) / allowed)
}

/// The attack that found the worst value of most images, the first of several.
fn most(rows: &[&Attack]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for name in rows.iter().filter_map(|row| row.attack.as_deref()) {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let largest = counts.iter().map(|(_, count)| *count).max();
    let mut counts = counts.iter();
    let first = counts.find(|(_, count)| Some(*count) == largest);
    first.map_or(NONE.into(), |(name, count)| {
        format!("{name} ({count}/{})", rows.len())
    })
}

/// Metrics that are undefined on some images: on how many, of how many.
fn undefined(run: &Run) -> Vec<(Metric, usize, usize)> {
    let of = |metric: Metric| {
        let rows = || run.attacks.iter().filter(|row| row.metric == metric);
        let names = |row: &Attack| row.image.clone();
        let all: BTreeSet<String> = rows().map(names).collect();
        let lost = rows().filter(|row| row.clean.is_none());
        let lost: BTreeSet<String> = lost.map(names).collect();
        (metric, lost.len(), all.len())
    };
    let all = metrics(run).into_iter().map(of);
    all.filter(|(_, lost, _)| *lost > 0).collect()
}

/// Metrics of a run, in their order.
fn metrics(run: &Run) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for row in &run.attacks {
        if !metrics.contains(&row.metric) {
            metrics.push(row.metric);
        }
    }
    metrics
}

fn words(grid: &mut Grid, runs: &[Run]) {
    for run in runs {
        let beaten: Vec<_> = run.beaten().into_iter().collect();
        if !beaten.is_empty() {
            grid.note(format!(
                "UNSOUND: {}: an attack beat a certificate on {}; this must never happen",
                run.name,
                beaten.join(", ")
            ));
        }
        for (metric, undefined, all) in undefined(run) {
            grid.note(format!(
                "{}: {metric} is undefined on {undefined} of {all} images, which are in no mean",
                run.name
            ));
        }
        let idle = run.attacks.iter().filter(|row| row.idle).count();
        if idle > 0 {
            grid.note(format!(
                "{}: no attack ran for {idle} of {} rows, of which nothing is certified or nothing counts",
                run.name,
                run.attacks.len()
            ));
        }
        if run.attacks.iter().any(|row| row.region.is_some()) {
            grid.note(format!(
                "{}: attacks may change a region of the picture only, certificates hold for changes anywhere: the gap looks wider than it is",
                run.name
            ));
        }
    }
    grid.note("certified values are rounded against us, clean and attacked ones to the nearest; found: the share of the certified fall that attacks found, rounded down");
    grid.note("sound on: images of which something is certified within an eps above 0, and on which no attack beat it");
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::super::{Ask, table};
    use super::found;

    fn row(image: &str, values: [&str; 3], attack: &str, extra: &str) -> String {
        let [clean, certified, attacked] = values;
        format!(
            r#"{{"kind":"attack","image":"{image}","metric":"accuracy","norm":"2","eps":0.1,"clean":{clean},"certified":{certified},"attacked":{attacked},"distance":0.1,"attack":"{attack}"{extra}}}"#
        )
    }

    fn cells(rows: &[String]) -> (String, Vec<String>) {
        let ask = Ask {
            digits: 3,
            ..Ask::default()
        };
        let grid = table("attacks", &[run("r", "attack", "", rows)], &ask).unwrap();
        (grid.lines[0].cells.join(" "), grid.notes)
    }

    #[test]
    fn a_line_says_how_much_of_the_fall_was_found() {
        let rows = [
            row("a", ["1.0", "0.5", "0.75"], "pgd", ""),
            row("b", ["1.0", "0.49999", "0.75"], "pgd", ""),
            row("c", ["1.0", "0.5", "0.75"], "apgd", ""),
            row("d", ["null", "null", "null"], "apgd", ""),
        ];
        let (cells, notes) = cells(&rows);
        assert_eq!(
            cells,
            "r accuracy 0.1 l2 3 1.000 0.750 0.499 49 % 3/3 pgd (2/3)"
        );
        let undefined = "r: accuracy is undefined on 1 of 4 images, which are in no mean";
        assert_eq!(notes[0], undefined);
    }

    #[test]
    fn a_beaten_certificate_is_loud() {
        let rows = [
            row("a", ["1.0", "0.5", "0.25"], "pgd", r#","unsound":true"#),
            row("b", ["1.0", "0.5", "0.75"], "pgd", ""),
            row("c", ["1.0", "0.0", "0.75"], "pgd", ""),
            row("d", ["1.0", "0.5", "1.0"], "pgd", r#","idle":true"#),
        ];
        let (cells, notes) = cells(&rows);
        assert!(cells.contains(" 1/2 "), "{cells}");
        assert!(notes[0].starts_with("UNSOUND: r: an attack beat a certificate on a;"));
        assert!(notes[1].starts_with("r: no attack ran for 1 of 4 rows"));
    }

    #[test]
    fn numbers_that_beat_are_as_loud_as_words() {
        let (cells, notes) = cells(&[row("a", ["1.0", "0.5", "0.25"], "pgd", "")]);
        assert!(cells.contains(" 0/1 "), "{cells}");
        assert!(notes[0].starts_with("UNSOUND: r:"), "{notes:?}");
    }

    #[test]
    fn nothing_is_found_where_nothing_may_fall() {
        assert_eq!(found(&[1.0], &[1.0], &[1.0 - 1e-16]), None);
        assert_eq!(found(&[1.0], &[0.5], &[0.0]), Some(0.5));
        assert_eq!(found(&[], &[], &[]), None);
    }
}
