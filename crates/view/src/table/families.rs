//! Plain figures of networks side by side: with a bound and without, by architecture. Paper 001, Table 4 and
//! appendix D.

use super::columns::beside;
use super::grid::{Column, Grid};
use super::{Ask, missing};
use crate::number::nearest;
use crate::run::Figures;
use crate::{Result, Run};

/// A figure and its heading.
type Figure = (&'static str, fn(&Figures) -> Option<f64>);

/// In the order of the table.
const FIGURES: [Figure; 3] = [
    ("pixel accuracy", |figures| figures.accuracy),
    ("mIoU", |figures| figures.miou),
    ("mean class accuracy", |figures| figures.mean_class_accuracy),
];

/// The table.
pub fn draw(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    let mut columns = vec![Column::words("run"), Column::numbers("images")];
    for (figure, _) in FIGURES {
        let under = |title| Column::numbers(title).under(figure);
        columns.extend(["pooled", "mean"].map(under));
    }
    let mut grid = Grid::new(name, "Plain figures, without an attack", columns);
    for run in runs {
        let Some(all) = run.evaluation.last() else {
            return Err(missing(
                &format!("the table {name} of {}", run.name),
                "rows of `certiseg eval`",
            ));
        };
        let mut cells = vec![run.name.clone(), all.images.to_string()];
        for (_, of) in FIGURES {
            let both = [&all.pooled, &all.mean];
            cells.extend(both.map(|figures| nearest(of(figures), ask.digits)));
        }
        grid.add([cells]);
    }
    grid.note("nothing here is certified; pooled: counts of all images together; mean: over the images on which a figure is defined");
    beside(&mut grid, runs);
    Ok(grid)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::super::{Ask, table};

    #[test]
    fn both_averages_have_their_names() {
        let figures = |accuracy: f64, miou: &str| {
            format!(
                r#"{{"pixels":4,"accuracy":{accuracy},"mean_class_accuracy":0.5,"miou":{miou},"iou":[],"dice":[],"precision":[],"recall":[]}}"#
            )
        };
        let row = format!(
            r#"{{"kind":"evaluation","images":3,"pooled":{},"mean":{}}}"#,
            figures(0.92, "0.51999"),
            figures(0.75, "null")
        );
        let ask = Ask {
            digits: 3,
            ..Ask::default()
        };
        let grid = table("families", &[run("LipNet", "eval", "", &[row])], &ask).unwrap();
        let cells = grid.lines[0].cells.join(" ");
        assert_eq!(cells, "LipNet 3 0.920 0.750 0.520 - 0.500 0.500");
        let error = table("families", &[run("r", "eval", "", &[])], &ask).unwrap_err();
        assert!(error.to_string().ends_with("rows of `certiseg eval`"));
    }
}
