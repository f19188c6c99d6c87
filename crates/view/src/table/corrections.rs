//! What another correction for many tests does to the same votes: paper 002, Tables 4 and 6.

use certiseg_cert::round_down;
use certiseg_cert::smoothing::Correction;

use super::columns::setting;
use super::grid::{Column, Grid};
use super::smoothing::{Smoothed, noise, statements};
use super::{Ask, missing};
use crate::number::NONE;
use crate::{Result, Run};

/// The table.
pub fn draw(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    let under = |title| Column::numbers(title).under("difference to holm");
    let mut columns = vec![
        Column::words("run"),
        Column::words("beside"),
        Column::words("correction"),
        Column::numbers("n"),
        Column::numbers("tau"),
        Column::numbers("sigma"),
        Column::numbers("radius"),
    ];
    columns.extend(["certified and right", "mIoU", "abstained"].map(under));
    let mut grid = Grid::new(
        name,
        "Other corrections on the same votes as Holm's",
        columns,
    );
    for run in runs {
        let Some(other) = Smoothed::of(run) else {
            return Err(missing(
                &format!("the table {name} of {}", run.name),
                "rows of `certiseg smooth --correction bonferroni` or `cloud smooth`",
            ));
        };
        if other.row.correction == Correction::Holm {
            continue;
        }
        let twin = runs.iter().find(|holm| is_twin(holm, run));
        let holm = twin.and_then(|holm| Some((holm, Smoothed::of(holm)?)));
        let Some((twin, holm)) = holm else {
            return Err(missing(
                &format!("the table {name} of {}", run.name),
                "a run beside it of the same votes with --correction holm: same pictures, model, noise, seed, n0, n, tau and alpha",
            ));
        };
        grid.add([line([run, twin], [&other, &holm], ask.digits)]);
    }
    if grid.lines.is_empty() {
        return Err(missing(
            &format!("the table {name}"),
            "a run of another correction beside that of Holm: `certiseg smooth --correction bonferroni`",
        ));
    }
    grid.note("differences are to the nearest and certify nothing; certified and right and mIoU are of all images together, abstained is a mean over images");
    statements(&mut grid, runs);
    Ok(grid)
}

/// Whether a run is Holm's on the votes of another.
fn is_twin(holm: &Run, other: &Run) -> bool {
    let (Some(a), Some(b)) = (Smoothed::of(holm), Smoothed::of(other)) else {
        return false;
    };
    let same = |name: &str| setting(holm, name) == setting(other, name);
    a.row.correction == Correction::Holm
        && a.row.sampling == b.row.sampling
        && (a.row.tau, a.row.alpha, a.row.stage) == (b.row.tau, b.row.alpha, b.row.stage)
        && a.all.images == b.all.images
        && ["data_hash", "model_hash", "scales", "flips"]
            .into_iter()
            .all(same)
}

fn line([run, twin]: [&Run; 2], [other, holm]: [&Smoothed; 2], digits: usize) -> Vec<String> {
    let differ = |of: fn(&Smoothed) -> Option<f64>| match (of(other), of(holm)) {
        (Some(other), Some(holm)) => signed(other - holm, digits),
        _ => NONE.into(),
    };
    let row = other.row;
    vec![
        run.name.clone(),
        twin.name.clone(),
        row.correction.to_string(),
        row.sampling.samples.to_string(),
        row.tau.to_string(),
        noise(row.sampling.law),
        round_down(row.radius, digits),
        differ(|smoothed| smoothed.all.right_at_least),
        differ(|smoothed| smoothed.miou()),
        differ(|smoothed| smoothed.all.abstained),
    ]
}

/// To the nearest, with its sign unless it is shown as 0.
fn signed(difference: f64, digits: usize) -> String {
    let text = format!("{difference:.digits$}");
    match text.parse::<f64>() {
        Ok(0.0) => text.trim_start_matches('-').into(),
        Ok(shown) if shown > 0.0 => format!("+{text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, smooth_rows};
    use super::super::{Ask, table};
    use super::signed;

    const DATA: &str = r#""data_hash":"1""#;

    #[test]
    fn differences_are_to_holm_on_the_same_votes() {
        let runs = [
            run("h", "smooth", DATA, &smooth_rows("holm", "0", 7)),
            run("b", "smooth", DATA, &smooth_rows("bonferroni", "0", 6)),
        ];
        let grid = table("corrections", &runs, &Ask::default()).unwrap();
        let cells = grid.lines[0].cells.join(" ");
        assert_eq!(grid.lines.len(), 1);
        assert_eq!(
            cells,
            "b h bonferroni 100 0.75 0.25 0.1686 -0.1000 -0.1000 +0.1000"
        );
    }

    #[test]
    fn other_votes_are_no_pair() {
        let holm = || run("h", "smooth", DATA, &smooth_rows("holm", "0", 7));
        let rows = smooth_rows("bonferroni", "0", 6);
        let seed = rows
            .iter()
            .map(|row| row.replace("\"seed\":0", "\"seed\":1"));
        let seed: Vec<_> = seed.collect();
        for other in [
            run("b", "smooth", DATA, &seed),
            run("b", "smooth", r#""data_hash":"2""#, &rows),
        ] {
            let error = table("corrections", &[holm(), other], &Ask::default());
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains("same votes with --correction holm"),
                "{error}"
            );
        }
        let error = table("corrections", &[holm()], &Ask::default()).unwrap_err();
        assert!(error.to_string().contains("--correction bonferroni"));
    }

    #[test]
    fn signs_are_those_of_what_is_shown() {
        assert_eq!(signed(0.00006, 4), "+0.0001");
        assert_eq!(signed(-0.00004, 4), "0.0000");
        assert_eq!(signed(-0.5, 1), "-0.5");
    }
}
