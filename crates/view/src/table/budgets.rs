//! Q2: budgets below which a goal is out of reach. Paper 001, Table 2, right, and stability@50 of its Figure 5.

use certiseg_cert::{Entry, Goal, Quantile, Question, round_down};

use super::certificates::summary;
use super::columns::{beside, mean};
use super::grid::{Column, Grid};
use super::{Ask, missing};
use crate::number::{NONE, nearest};
use crate::{Result, Run};

/// What stands where no budget is enough.
const UNREACHABLE: &str = "unreachable";

/// Quartiles and the median.
const QUANTILES: [(&str, f64); 3] = [("25 %", 0.25), ("median", 0.5), ("75 %", 0.75)];

/// The table.
pub fn draw(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    let has_goal = |run: &Run| {
        let images = run.rows.iter().any(|row| row.goal.is_some());
        images || run.dataset.iter().any(|row| row.goal.is_some())
    };
    if let Some(run) = runs.iter().find(|run| !has_goal(run)) {
        return Err(missing(
            &format!("the table {name} of {}", run.name),
            "rows of `certiseg certify --until GOAL`",
        ));
    }
    let number = |title: &str| Column::numbers(title).under("certified budget over images");
    let mut columns = vec![
        Column::words("run"),
        Column::words("goal"),
        Column::words("norm"),
        Column::numbers("images"),
        Column::numbers("clean"),
    ];
    columns.extend(QUANTILES.map(|(title, _)| number(title)));
    columns.extend(["mean within reach", "unreachable", "undefined"].map(number));
    columns.push(Column::numbers("common to all").under("data set"));
    let mut grid = Grid::new(name, "Budget below which a goal is out of reach", columns);
    for run in runs {
        let summary = summary(run);
        let mut goals: Vec<Goal> = Vec::new();
        let rows = run.rows.iter().filter_map(|row| row.goal.clone());
        let pooled = run.dataset.iter().filter_map(|row| row.goal.clone());
        for goal in rows.chain(pooled) {
            if !goals.contains(&goal) {
                goals.push(goal);
            }
        }
        let lines = goals.iter().map(|goal| {
            let asked = Question::Budget(goal.clone());
            let entry = summary.entries().iter().find(|e| e.question == asked);
            line(run, goal, entry, ask.digits)
        });
        grid.add(lines.collect::<Vec<_>>());
    }
    grid.note("budgets are rounded down; of two neighbours a quantile is the smaller one, and images that no budget spoils count as largest");
    grid.note("a mean of budgets is a statistic of these images, not a guarantee about one; images that no budget spoils are in no mean");
    grid.note("common to all: the budget on every image below which the goal is out of reach for all images pooled (`certify --dataset`)");
    beside(&mut grid, runs);
    Ok(grid)
}

fn line(run: &Run, goal: &Goal, entry: Option<&Entry>, digits: usize) -> Vec<String> {
    let cut = |value: f64| round_down(value, digits);
    let mut pooled = run.dataset.iter();
    let pooled = pooled.find(|row| row.goal.as_ref() == Some(goal));
    let image = run.rows.iter().find(|row| row.goal.as_ref() == Some(goal));
    let norm = image.map(|row| row.norm).or(pooled.map(|row| row.norm));
    let common = pooled.map(|row| match row.value {
        Some(value) => cut(value),
        None if row.unreachable => UNREACHABLE.into(),
        None => NONE.into(),
    });
    let quantile = |q: f64| match entry.and_then(|entry| entry.quantile(q).ok().flatten()) {
        Some(Quantile::Value(value)) => cut(value),
        Some(Quantile::Unreachable) => UNREACHABLE.into(),
        None => NONE.into(),
    };
    let count = |of: fn(&Entry) -> usize| entry.map_or(NONE.into(), |entry| of(entry).to_string());
    let clean = entry.and_then(|entry| mean(&entry.clean));
    let mut cells = vec![
        run.name.clone(),
        goal.to_string(),
        norm.map_or(NONE.into(), |norm| format!("l{norm}")),
        count(|entry| entry.values.len() + entry.unreachable),
        nearest(clean.or(pooled.and_then(|row| row.clean)), digits),
    ];
    cells.extend(QUANTILES.map(|(_, q)| quantile(q)));
    cells.extend([
        entry.and_then(Entry::mean).map_or(NONE.into(), cut),
        count(|entry| entry.unreachable),
        count(|entry| entry.undefined),
        common.unwrap_or(NONE.into()),
    ]);
    cells
}

#[cfg(test)]
mod tests {
    use super::super::tests::{certified_row, run};
    use super::super::{Ask, table};

    fn budget(image: &str, value: &str, extra: &str) -> String {
        format!(
            r#"{{"kind":"row","image":"{image}","metric":"accuracy","norm":"2","clean":0.5,"value":{value},"goal":"accuracy<=0.25","lipschitz":1.0,"eta":0.0,"counted":4{extra}}}"#
        )
    }

    #[test]
    fn what_is_out_of_reach_is_counted_and_never_averaged() {
        let rows = [
            budget("a", "0.10009", ""),
            budget("b", "0.2", ""),
            budget("c", "0.3125", ""),
            budget("d", "null", r#","unreachable":true"#),
            budget("e", "null", r#","unreachable":true"#),
            budget("f", "null", r#","undefined":true"#).replace("\"clean\":0.5", "\"clean\":null"),
            r#"{"kind":"dataset","metric":"accuracy","norm":"2","clean":0.5,"value":0.15555,"goal":"accuracy<=0.25","images":6,"undefined":1}"#.into(),
        ];
        let ask = Ask {
            digits: 3,
            ..Ask::default()
        };
        let grid = table("budgets", &[run("r", "certify", "", &rows)], &ask).unwrap();
        let cells = grid.lines[0].cells.join(" ");
        assert_eq!(
            cells,
            "r accuracy<=0.25 l2 5 0.500 0.200 0.312 unreachable 0.204 2 1 0.155"
        );
    }

    #[test]
    fn runs_without_a_goal_are_refused() {
        let rows = [certified_row("a", "accuracy", "0.9", "0.7")];
        let error = table(
            "budgets",
            &[run("r", "certify", "", &rows)],
            &Ask::default(),
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.ends_with("`certiseg certify --until GOAL`"),
            "{error}"
        );
    }
}
