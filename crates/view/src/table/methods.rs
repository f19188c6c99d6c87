//! The Lipschitz bound beside randomized smoothing, with what each costs. Paper 001, Table 1.

use certiseg_cert::{round_down, round_up};

use super::columns::beside;
use super::grid::{Column, Grid};
use super::{Ask, missing};
use crate::number::{NONE, nearest};
use crate::run::Compared;
use crate::{Result, Run};

/// The bound among the methods.
const BOUND: &str = "lipschitz";

/// A method for people.
fn title(method: &str) -> &str {
    match method {
        BOUND => "Lipschitz bound",
        "holm" => "SegCertify, Holm",
        "single-stage" => "SegCertify, single stage",
        "count" => "SegCertify, count",
        "hybrid" => "mean logits",
        other => other,
    }
}

/// The table.
pub fn draw(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    if let Some(run) = runs.iter().find(|run| run.compared.is_empty()) {
        return Err(missing(
            &format!("the table {name} of {}", run.name),
            "rows of `certiseg compare`",
        ));
    }
    let those = runs.iter().flat_map(|run| &run.compared);
    let mut eps: Vec<f64> = those.map(|row| row.eps).collect();
    eps.sort_by(f64::total_cmp);
    eps.dedup();
    let known = |asked: f64| eps.contains(&asked);
    if let Some(absent) = ask.eps.iter().find(|asked| !known(asked.get())) {
        let eps = absent.get();
        return Err(missing(
            &format!("the table {name} at eps {eps}"),
            &format!("rows of compare --eps {eps}"),
        ));
    }
    let asked = |eps: &f64| ask.eps.is_empty() || ask.eps.iter().any(|a| a.get() == *eps);
    eps.retain(asked);
    let number = |title: &str, group: &str| Column::numbers(title).under(group);
    let columns = vec![
        Column::words("run"),
        Column::numbers("eps (l2)"),
        Column::words("network"),
        Column::words("method"),
        Column::words("statement"),
        Column::numbers("n"),
        Column::numbers("sigma"),
        Column::numbers("images"),
        number("mean", "certified and right"),
        number("band", "certified and right"),
        number("seconds", "of an image"),
        number("times the bound", "of an image"),
        number("passes", "of an image"),
    ];
    let mut grid = Grid::new(
        name,
        "Certified and right (CRPA) by method, and what it costs",
        columns,
    );
    for run in runs {
        for eps in &eps {
            let rows = run.compared.iter().filter(|row| row.eps == *eps);
            grid.add(
                rows.map(|row| line(run, row, ask.digits))
                    .collect::<Vec<_>>(),
            );
        }
    }
    words(&mut grid, runs, &eps, ask.digits);
    beside(&mut grid, runs);
    Ok(grid)
}

fn line(run: &Run, row: &Compared, digits: usize) -> Vec<String> {
    let mut rows = run.compared.iter();
    let bound = rows.find(|other| other.method == BOUND && other.eps == row.eps);
    let bound = bound.filter(|bound| bound.seconds > 0.0);
    let ratio = bound.map(|bound| row.seconds / bound.seconds);
    let statement = match row.method.as_str() {
        BOUND => "certain",
        _ => "probable",
    };
    vec![
        run.name.clone(),
        row.eps.to_string(),
        row.network.clone(),
        title(&row.method).into(),
        statement.into(),
        row.n.map_or(NONE.into(), |n| n.to_string()),
        row.sigma.map_or(NONE.into(), |sigma| sigma.to_string()),
        row.images.to_string(),
        round_down(row.crpa, digits),
        round_up(row.band, digits),
        nearest(Some(row.seconds), 4),
        nearest(ratio, 1),
        row.forwards.to_string(),
    ]
}

fn words(grid: &mut Grid, runs: &[Run], eps: &[f64], digits: usize) {
    let shown = || runs.iter().flat_map(|run| &run.compared);
    let shown = || shown().filter(|row| eps.contains(&row.eps));
    if shown().any(|row| row.method == BOUND) && shown().any(|row| row.method != BOUND) {
        grid.note("certain and probable statements stand side by side: the bound holds for the network itself, the others with probability 1 - alpha per image for a smoothed one");
    }
    for row in shown() {
        grid.note(format!("{}: {}", title(&row.method), row.statement));
    }
    grid.note("certified and right: share of the pixels, abstentions counted as wrong, mean over images, rounded down; band: the mean of images of their kind is within this, with probability 0.95, rounded up");
    for run in runs {
        for eps in eps {
            equals(grid, run, *eps, digits);
        }
    }
}

/// How many samples certify as much as the bound.
fn equals(grid: &mut Grid, run: &Run, eps: f64, digits: usize) {
    let mut never = Vec::new();
    let mut bound = None;
    for equal in run.equal.iter().filter(|equal| equal.eps == eps) {
        let who = format!("{} ({})", title(&equal.method), equal.network);
        let much = round_down(equal.lipschitz, digits);
        match equal.n {
            Some(n) => grid.note(format!(
                "{}: {who} certifies as much as the bound at eps {eps} ({much}) with n = {n}, in {} times the time",
                run.name,
                nearest(equal.ratio, 1)
            )),
            None => never.push(who),
        }
        bound = Some(much);
    }
    if let Some(much) = bound.filter(|_| !never.is_empty()) {
        grid.note(format!(
            "{}: with no n that was tried as much as the bound at eps {eps} ({much}): {}",
            run.name,
            never.join("; ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::super::{Ask, table};
    use certiseg_cert::Budget;

    fn row(method: &str, eps: f64, n: &str, seconds: f64) -> String {
        format!(
            r#"{{"kind":"compare","network":"model","method":"{method}","eps":{eps},"n":{n},"sigma":{},"statement":"s of {method}","crpa":0.81239,"band":0.01231,"images":4,"forwards":2,"seconds":{seconds}}}"#,
            if n == "null" { "null" } else { "0.25" }
        )
    }

    fn rows() -> Vec<String> {
        vec![
            row("lipschitz", 0.2, "null", 0.5),
            row("lipschitz", 0.1, "null", 0.5),
            row("holm", 0.1, "100", 20.0),
            r#"{"kind":"compare-equal","network":"model","method":"holm","eps":0.1,"lipschitz":0.81239,"n":300,"crpa":0.82,"ratio":40.0}"#.into(),
            r#"{"kind":"compare-equal","network":"model","method":"hybrid","eps":0.1,"lipschitz":0.81239,"n":null,"crpa":null,"ratio":null}"#.into(),
        ]
    }

    #[test]
    fn methods_stand_by_eps_with_their_cost() {
        let ask = Ask {
            digits: 3,
            ..Ask::default()
        };
        let grid = table("methods", &[run("r", "compare", "", &rows())], &ask).unwrap();
        let lines: Vec<_> = grid.lines.iter().map(|line| line.cells.join("|")).collect();
        assert_eq!(
            lines,
            [
                "r|0.1|model|Lipschitz bound|certain|-|-|4|0.812|0.013|0.5000|1.0|2",
                "r|0.1|model|SegCertify, Holm|probable|100|0.25|4|0.812|0.013|20.0000|40.0|2",
                "r|0.2|model|Lipschitz bound|certain|-|-|4|0.812|0.013|0.5000|1.0|2",
            ]
        );
        assert!(grid.notes[0].starts_with("certain and probable"));
        let equal = "r: SegCertify, Holm (model) certifies as much as the bound at eps 0.1 (0.812) with n = 300, in 40.0 times the time";
        let never = "r: with no n that was tried as much as the bound at eps 0.1 (0.812): mean logits (model)";
        for words in [equal, never] {
            let said = grid.notes.iter().any(|note| note == words);
            assert!(said, "{words}: {:?}", grid.notes);
        }
    }

    #[test]
    fn statements_of_one_kind_are_not_said_to_be_mixed() {
        let ask = Ask {
            eps: vec![Budget::new(0.2).unwrap()],
            ..Ask::default()
        };
        let grid = table("methods", &[run("r", "compare", "", &rows())], &ask).unwrap();
        assert_eq!(grid.lines.len(), 1);
        assert!(!grid.notes.iter().any(|note| note.contains("side by side")));
        let ask = Ask {
            eps: vec![Budget::new(0.3).unwrap()],
            ..Ask::default()
        };
        let error = table("methods", &[run("r", "compare", "", &rows())], &ask).unwrap_err();
        assert!(error.to_string().ends_with("rows of compare --eps 0.3"));
    }
}
