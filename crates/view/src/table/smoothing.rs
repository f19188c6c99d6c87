//! Randomized smoothing by setting: of pictures (paper 002, Tables 1, 5 and 8), of point clouds (its Tables 2 and 7).

use certiseg_cert::smoothing::{Law, SmoothDataset, SmoothRow};
use certiseg_cert::{mean_lower, round_down, round_up};

use super::columns::{beside, setting};
use super::grid::{Column, Grid};
use super::{Ask, missing};
use crate::number::{NONE, nearest};
use crate::{Result, Run};

/// The verb whose rows are of clouds.
const CLOUD: &str = "cloud";

/// One setting and what it came to.
pub struct Smoothed<'a> {
    /// The image whose draws are farthest off the law: its statement is that of all others, or less.
    pub row: &'a SmoothRow,
    /// All images.
    pub all: &'a SmoothDataset,
}

impl<'a> Smoothed<'a> {
    /// Of a run that has rows of images and of all of them.
    pub fn of(run: &'a Run) -> Option<Self> {
        let farther = |most: &'a SmoothRow, row: &'a SmoothRow| match row.sampling.distance
            > most.sampling.distance
        {
            true => row,
            false => most,
        };
        Some(Smoothed {
            row: run.smooth.iter().reduce(farther)?,
            all: run.smooth_dataset.last()?,
        })
    }

    /// mIoU with abstentions as wrong, classes of all images together; none where some of the certified may be
    /// wrong, as nobody knows of which class these are.
    pub fn miou(&self) -> Option<f64> {
        let figures = self.all.figures.as_ref()?;
        figures.miou_dataset.filter(|_| self.row.allowed == Some(0))
    }
}

/// Noise for people.
pub fn noise(law: Law) -> String {
    match law {
        Law::Gaussian { sigma } => sigma.to_string(),
        Law::Laplace { scale } => format!("laplace {scale}"),
        Law::Uniform { width } => format!("uniform {width}"),
    }
}

/// The table of pictures.
pub fn pictures(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    let is = |run: &Run| run.head.verb.as_deref() != Some(CLOUD);
    let caption = "Randomized smoothing of pictures";
    let column = Column::words("scales");
    let scales = |run: &Run| {
        let flips = setting(run, "flips").is_some_and(|flips| flips == "true");
        let scales = setting(run, "scales")?;
        let scales = scales.trim_matches(['[', ']']).replace(',', ", ");
        Some(scales + if flips { ", flipped too" } else { "" })
    };
    let needed = "rows of `certiseg smooth`, or of `certiseg eval` for a network without noise";
    let kind = Kind {
        is,
        caption,
        column,
        value: scales,
        needed,
    };
    draw(name, runs, ask, kind)
}

/// The table of point clouds.
pub fn clouds(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    let kind = Kind {
        is: |run| run.head.verb.as_deref() == Some(CLOUD),
        caption: "Randomized smoothing of point clouds",
        column: Column::words("noise on"),
        value: |run| {
            let axis = setting(run, "rotate").map(|rotate| format!("rotations ({rotate})"));
            axis.or(Some("points".into()))
        },
        needed: "rows of `certiseg cloud smooth`",
    };
    draw(name, runs, ask, kind)
}

/// What tells the two tables apart.
struct Kind {
    is: fn(&Run) -> bool,
    caption: &'static str,
    column: Column,
    value: fn(&Run) -> Option<String>,
    needed: &'static str,
}

fn draw(name: &str, runs: &[Run], ask: &Ask, kind: Kind) -> Result<Grid> {
    let right = |title| Column::numbers(title).under("right");
    let columns = vec![
        Column::words("run"),
        Column::words("what"),
        kind.column,
        Column::words("correction"),
        Column::numbers("n0"),
        Column::numbers("n"),
        Column::numbers("tau"),
        Column::numbers("sigma"),
        Column::numbers("radius"),
        Column::numbers("images"),
        right("pooled"),
        right("mean"),
        Column::numbers("mIoU"),
        Column::numbers("abstained"),
    ];
    let mut grid = Grid::new(name, kind.caption, columns);
    for run in runs {
        let value = (kind.value)(run).unwrap_or(NONE.into());
        let line = match (Smoothed::of(run), run.evaluation.last()) {
            (Some(smoothed), _) if (kind.is)(run) => smoothed_line(run, &smoothed, value, ask),
            (None, Some(_)) if (kind.is)(run) => plain_line(run, ask),
            _ => {
                let what = format!("the table {name} of {}", run.name);
                return Err(missing(&what, kind.needed));
            }
        };
        grid.add([line]);
    }
    words(&mut grid, runs);
    Ok(grid)
}

fn smoothed_line(run: &Run, smoothed: &Smoothed, value: String, ask: &Ask) -> Vec<String> {
    let Smoothed { row, all } = smoothed;
    let down = |value: Option<f64>| value.map_or(NONE.into(), |v| round_down(v, ask.digits));
    let of_images = run.smooth.iter().filter_map(SmoothRow::right_at_least);
    vec![
        run.name.clone(),
        "smoothed".into(),
        value,
        row.correction.to_string(),
        row.sampling.choose.to_string(),
        row.sampling.samples.to_string(),
        row.tau.to_string(),
        noise(row.sampling.law),
        round_down(row.radius, ask.digits),
        all.images.to_string(),
        down(all.right_at_least),
        down(mean_lower(&of_images.collect::<Vec<_>>())),
        down(smoothed.miou()),
        all.abstained
            .map_or(NONE.into(), |share| round_up(share, ask.digits)),
    ]
}

/// A network without noise: nothing of it is certified.
fn plain_line(run: &Run, ask: &Ask) -> Vec<String> {
    let mut cells = vec![run.name.clone(), "network".into()];
    cells.extend(std::iter::repeat_n(NONE.to_owned(), 7));
    let Some(all) = run.evaluation.last() else {
        return cells;
    };
    let figures = [all.pooled.accuracy, all.mean.accuracy, all.pooled.miou];
    cells.push(all.images.to_string());
    cells.extend(figures.map(|figure| nearest(figure, ask.digits)));
    cells.push(NONE.into());
    cells
}

fn words(grid: &mut Grid, runs: &[Run]) {
    let plain = runs.iter().filter(|run| run.smooth.is_empty());
    let plain: Vec<_> = plain.map(|run| run.name.as_str()).collect();
    if !plain.is_empty() {
        grid.note(format!(
            "{}: a network without noise, of which nothing is certified",
            plain.join(", ")
        ));
    }
    statements(grid, runs);
    if runs
        .iter()
        .filter_map(Smoothed::of)
        .any(|s| s.row.allowed != Some(0))
    {
        grid.note("where some of the certified may be wrong, they are taken off what is right, and there is no mIoU");
    }
    grid.note("right: of the pixels or points whose label counts; if smoothed, certified and right, abstentions counted as wrong, rounded down; pooled: of all images together, mean: over images; mIoU: of all images together, abstentions counted as wrong; abstained: mean over images, rounded up");
    grid.note("rows hold no run times: `certiseg compare` measures them");
    beside(grid, runs);
}

/// What is proved of each run, runs of the same statement together.
pub fn statements(grid: &mut Grid, runs: &[Run]) {
    let mut all: Vec<(String, Vec<&str>)> = Vec::new();
    for run in runs {
        let Some(smoothed) = Smoothed::of(run) else {
            continue;
        };
        let statement = smoothed.row.statement();
        match all.iter_mut().find(|(known, _)| *known == statement) {
            Some((_, names)) => names.push(&run.name),
            None => all.push((statement, vec![&run.name])),
        }
    }
    for (statement, names) in all {
        grid.note(format!("{}, each image: {statement}", names.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, smooth_rows};
    use super::super::{Ask, table};

    fn ask() -> Ask {
        Ask {
            digits: 3,
            ..Ask::default()
        }
    }

    const SCALES: &str = r#""network":{"scales":[0.5,1.0],"flips":true}"#;

    #[test]
    fn a_run_is_a_line() {
        let runs = [
            run("a", "smooth", SCALES, &smooth_rows("holm", "0", 7)),
            run("b", "smooth", "", &smooth_rows("count:1", "1", 7)),
        ];
        let grid = table("smoothing", &runs, &ask()).unwrap();
        let lines: Vec<_> = grid.lines.iter().map(|line| line.cells.join("|")).collect();
        assert_eq!(
            lines,
            [
                "a|smoothed|0.5, 1.0, flipped too|holm|10|100|0.75|0.25|0.168|1|0.699|0.699|0.699|0.201",
                "b|smoothed|-|count:1|10|100|0.75|0.25|0.168|1|0.599|0.599|-|0.201",
            ]
        );
        let proved = "a, each image: With probability at least 1 - 0.001 over the sampling, for every certified component";
        assert!(grid.notes[0].starts_with(proved), "{}", grid.notes[0]);
        assert!(grid.notes[1].starts_with("b, each image: With probability"));
        assert!(
            grid.notes
                .iter()
                .any(|note| note.contains("there is no mIoU"))
        );
    }

    #[test]
    fn a_network_without_noise_stands_beside_and_is_said_to_be_one() {
        let figures = r#"{"pixels":4,"accuracy":0.92,"mean_class_accuracy":0.5,"miou":0.6,"iou":[],"dice":[],"precision":[],"recall":[]}"#;
        let row =
            format!(r#"{{"kind":"evaluation","images":3,"pooled":{figures},"mean":{figures}}}"#);
        let runs = [
            run("base", "eval", "", &[row]),
            run("a", "smooth", SCALES, &smooth_rows("holm", "0", 7)),
        ];
        let grid = table("smoothing", &runs, &ask()).unwrap();
        assert_eq!(
            grid.lines[0].cells.join(" "),
            "base network - - - - - - - 3 0.920 0.920 0.600 -"
        );
        assert_eq!(grid.lines[0].cells.len(), grid.columns.len());
        assert!(grid.notes[0].starts_with("base: a network without noise"));
    }

    #[test]
    fn clouds_and_pictures_are_not_mixed() {
        let rows = smooth_rows("holm", "0", 7);
        let cloud = run("c", "cloud", r#""rotate":"z""#, &rows);
        let grid = table("clouds", std::slice::from_ref(&cloud), &ask()).unwrap();
        assert_eq!(grid.lines[0].cells[2], "rotations (z)");
        let error = table("smoothing", &[cloud], &ask())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("the table smoothing of c needs rows of `certiseg smooth`"));
        let picture = run("p", "smooth", "", &rows);
        let error = table("clouds", &[picture], &ask()).unwrap_err().to_string();
        assert!(
            error.ends_with("needs rows of `certiseg cloud smooth`"),
            "{error}"
        );
    }
}
