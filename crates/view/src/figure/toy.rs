//! Power of tests on synthetic votes (paper 002, Figures 2, 5 and 6): exact expectations as lines, simulated means as
//! points. Nothing is smoothed, so that Figure 5, the paper's 2a and 2b without smoothing, is ours of these two.

use super::axis::{Axis, counted};
use super::plot::{Join, Look, Panel, Series, plots};
use super::source::about;
use super::{Ask, Figure, Material, missing};
use crate::run::Toy;
use crate::{Error, Result};

/// Draws it.
pub(super) fn draw(material: &Material, ask: &Ask) -> Result<Figure> {
    let runs = material.runs.iter().map(|labelled| &labelled.run);
    let rows: Vec<&Toy> = runs.clone().flat_map(|run| &run.toy).collect();
    let mut known: Vec<String> = rows.iter().map(|row| panel_name(row)).collect();
    known.sort();
    known.dedup();
    if known.is_empty() {
        return Err(missing("toy", "rows of smooth toy"));
    }
    let mut wanted: Vec<&str> = Vec::new();
    for panel in &ask.panels {
        match panel.as_str() {
            "5" => wanted.extend(["2a", "2b"]),
            panel => wanted.push(panel),
        }
    }
    if wanted.is_empty() {
        let text = known.iter().filter(|name| !name.ends_with("-code"));
        wanted = text.map(String::as_str).collect();
    }
    if let Some(absent) = wanted
        .iter()
        .find(|panel| !known.iter().any(|name| name == *panel))
    {
        return Err(Error::Missing {
            what: format!("panel {absent} of figure toy"),
            needed: format!(
                "rows of smooth toy --figure {}; these have {}",
                absent.trim_end_matches("-code"),
                known.join(", ")
            ),
        });
    }
    let panels = wanted.iter().map(|name| {
        let rows: Vec<&Toy> = rows
            .iter()
            .copied()
            .filter(|row| panel_name(row) == *name)
            .collect();
        panel(name, &rows)
    });
    let panels: Vec<Panel> = panels.collect();
    let mut simulated: Vec<u64> = rows.iter().map(|row| row.runs).collect();
    simulated.sort_unstable();
    let mut about = about(runs, 0);
    if let (Some(least), Some(most)) = (simulated.first(), simulated.last()) {
        let runs = if least == most {
            least.to_string()
        } else {
            format!("{least}–{most}")
        };
        about.insert(
            0,
            format!("lines exact, points means of {runs} simulations"),
        );
    }
    Ok(plots("power of tests on synthetic votes", &panels, &about))
}

/// As the paper calls it; where its code differs from its text, that of the code is `NAME-code`.
fn panel_name(row: &Toy) -> String {
    match row.settings.as_str() {
        "code" => format!("{}-code", row.figure),
        _ => row.figure.clone(),
    }
}

fn panel(name: &str, rows: &[&Toy]) -> Panel {
    let by_error = name.starts_with("2a") || name.starts_with("2b");
    let at = |row: &Toy| match by_error {
        true => row.toy.gamma,
        false => row.toy.components as f64,
    };
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.series.as_str()) {
            names.push(&row.series);
        }
    }
    let mut series = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let look = Look::of(index);
        let points = |value: &dyn Fn(&Toy) -> Option<f64>| {
            let rows = rows.iter().filter(|row| row.series == *name);
            let mut points: Vec<[f64; 2]> = rows
                .filter_map(|row| Some([at(row), value(row)?]))
                .collect();
            points.sort_by(|a, b| a[0].total_cmp(&b[0]));
            points
        };
        let exact = points(&|row| row.exact);
        let simulated = points(&|row| Some(row.simulated));
        let mut line = match exact.is_empty() {
            // no closed form: points alone, joined thinly where they are few
            true => Series::new(
                &told(name),
                simulated.clone(),
                Join::Lines,
                look.dashed("1 2.5"),
            ),
            false => Series::new(&told(name), exact, Join::Lines, look.dashed("")),
        };
        line.marked = simulated;
        series.push(line);
    }
    let values = series.iter().flat_map(|series| {
        let marked = series.marked.iter().map(|[_, y]| *y);
        series.points.iter().map(|[_, y]| *y).chain(marked)
    });
    let y = Axis::share("share of components certified", values);
    let x = match by_error {
        true => Axis::from_zero("error gamma of the oracle", rows.iter().map(|row| at(row))),
        false => {
            let sizes: Vec<f64> = rows.iter().map(|row| at(row)).collect();
            Axis::log("components N, log scale", &sizes)
        }
    };
    Panel {
        title: title(name, rows),
        x,
        y,
        series,
    }
}

fn title(name: &str, rows: &[&Toy]) -> String {
    let mut title = name.replace("-code", " (as in the code)");
    if let Some(row) = rows.first() {
        let toy = row.toy;
        title += &format!(
            ": n = {}, tau = {}, alpha = {}",
            counted(toy.samples as f64),
            toy.tau,
            toy.alpha
        );
    }
    title
}

/// What people call an algorithm.
fn told(series: &str) -> String {
    match series.split_once(':') {
        Some(("kfwer", k)) => format!("k-FWER, k = {k}"),
        Some(("count", b)) => format!("count, B = {b}"),
        _ => match series {
            "holm" => "Holm".into(),
            "bonferroni" => "Bonferroni".into(),
            "indiv-class" => "IndivClass".into(),
            "joint-class" => "JointClass".into(),
            other => other.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_steady, labelled, line, texts};
    use super::*;

    fn row(
        figure: &str,
        settings: &str,
        series: &str,
        gamma: f64,
        simulated: f64,
        exact: &str,
    ) -> String {
        format!(
            r#"{{"kind":"toy","figure":"{figure}","settings":"{settings}","series":"{series}","toy":{{"components":100,"bad":1,"gamma":{gamma},"choose":100,"samples":100,"tau":0.75,"alpha":0.001}},"runs":20,"simulated":{simulated},"exact":{exact},"within":null}}"#
        )
    }

    fn material() -> Material {
        let rows = [
            row("2a", "text", "bonferroni", 0.0, 1.0, "1.0"),
            row("2a", "text", "bonferroni", 0.1, 0.52, "0.5"),
            row("2a", "text", "joint-class", 0.0, 1.0, "null"),
            row("2a", "text", "joint-class", 0.1, 0.0, "null"),
            row("6a", "code", "holm", 0.05, 0.5, "null"),
        ];
        Material {
            runs: vec![labelled("toy", &rows)],
            ..Material::default()
        }
    }

    #[test]
    fn exact_values_are_lines_and_simulated_ones_points() {
        let figure = draw(&material(), &Ask::default()).unwrap();
        let exact = line(&figure, "Bonferroni");
        assert!((exact[1][1] - 0.5).abs() < 2e-3, "{exact:?}");
        let texts = texts(&figure);
        assert!(
            texts.iter().any(|text| text.starts_with("2a: n = 100")),
            "{texts:?}"
        );
        assert!(
            !texts.iter().any(|text| text.starts_with("6a")),
            "{texts:?}"
        );
        is_steady(|| draw(&material(), &Ask::default()).unwrap());
    }

    #[test]
    fn panels_are_asked_for_by_name() {
        let ask = |panel: &str| Ask {
            panels: vec![panel.into()],
            ..Ask::default()
        };
        let figure = draw(&material(), &ask("6a-code")).unwrap();
        assert!(
            texts(&figure)
                .iter()
                .any(|text| text.starts_with("6a (as in the code)"))
        );
        let error = draw(&material(), &ask("5")).unwrap_err().to_string();
        assert!(error.starts_with("panel 2b of figure toy needs"), "{error}");
    }
}
