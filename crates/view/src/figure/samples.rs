//! Certified and right against Monte-Carlo samples (paper 001, Figure 2): the bound is a level, as it samples nothing.
//!
//! The band is Hoeffding's: the mean over all images of their kind is within it, with probability 0.95.

use super::axis::Axis;
use super::plot::{Join, Look, Panel, Series, plots};
use super::source::{about, same_network, same_pictures};
use super::{Ask, Figure, Material, missing};
use crate::number::nearest;
use crate::run::Compared;
use crate::{Result, Run};

/// Methods in the order of their looks, and what people call them.
const METHODS: [(&str, &str); 4] = [
    ("holm", "SegCertify, Holm"),
    ("single-stage", "single stage"),
    ("count", "B may be wrong"),
    ("hybrid", "hybrid"),
];

/// Draws it.
pub(super) fn draw(material: &Material, ask: &Ask) -> Result<Figure> {
    let runs = material.runs.iter().map(|labelled| &labelled.run);
    let all: Vec<&Run> = runs.clone().collect();
    same_network(&all)?;
    same_pictures(&all)?;
    let rows: Vec<&Compared> = runs.clone().flat_map(|run| &run.compared).collect();
    let mut budgets: Vec<f64> = rows.iter().map(|row| row.eps).collect();
    budgets.retain(|eps| ask.eps.is_empty() || ask.eps.contains(eps));
    budgets.sort_by(f64::total_cmp);
    budgets.dedup();
    let twin = rows.iter().any(|row| row.network != "model");
    let panels = budgets.iter().map(|eps| panel(&rows, *eps, twin));
    let panels: Vec<Panel> = panels.collect();
    if panels.iter().all(|panel| panel.series.is_empty()) {
        let which = ask
            .eps
            .iter()
            .map(f64::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let which = if which.is_empty() {
            "E,...".into()
        } else {
            which
        };
        return Err(missing(
            "samples",
            format!("rows of compare --eps {which} --n N,..."),
        ));
    }
    let images = rows.iter().map(|row| row.images).max().unwrap_or_default();
    let about = about(runs, images);
    Ok(plots(
        "certified and right against samples",
        &panels,
        &about,
    ))
}

fn panel(rows: &[&Compared], eps: f64, twin: bool) -> Panel {
    let rows: Vec<&Compared> = rows.iter().copied().filter(|row| row.eps == eps).collect();
    let samples: Vec<f64> = rows.iter().filter_map(|row| Some(row.n? as f64)).collect();
    let x = Axis::log("Monte-Carlo samples n, log scale", &samples);
    let mut series = Vec::new();
    let mut networks: Vec<&str> = rows.iter().map(|row| row.network.as_str()).collect();
    networks.sort_unstable();
    networks.dedup();
    for (index, network) in networks.iter().enumerate() {
        let of = |name: &str| match twin {
            true => format!("{name} ({network})"),
            false => name.to_owned(),
        };
        let rows = || rows.iter().filter(|row| row.network == *network);
        if let Some(bound) = rows().find(|row| row.method == "lipschitz") {
            let level = x.range.map(|n| [n, bound.crpa]);
            let mut line = Series::new(
                &of("Lipschitz bound"),
                level.into(),
                Join::Lines,
                bound_look(),
            );
            let [low, high] =
                [-1.0, 1.0].map(|side| (bound.crpa + side * bound.band).clamp(0.0, 1.0));
            line.band = x.range.map(|n| [n, low, high]).into();
            series.push(line);
        }
        for (place, (method, name)) in METHODS.iter().enumerate() {
            let points = rows().filter(|row| row.method == *method);
            let points = points.filter_map(|row| Some([row.n? as f64, row.crpa]));
            let mut points: Vec<[f64; 2]> = points.collect();
            points.sort_by(|a, b| a[0].total_cmp(&b[0]));
            if !points.is_empty() {
                let look = Look::of(1 + place + index * METHODS.len());
                series.push(Series::new(&of(name), points, Join::Lines, look));
            }
        }
    }
    let values = series.iter().flat_map(|series| &series.points);
    let bands = rows.iter().map(|row| row.band);
    let band = bands.fold(0.0, f64::max);
    Panel {
        title: format!(
            "eps = {eps}; band: ± {} of the bound, 95 %",
            nearest(Some(band), 2)
        ),
        y: Axis::share(
            "certified and right, mean over images",
            values.map(|[_, y]| *y),
        ),
        x,
        series,
    }
}

fn bound_look() -> Look {
    Look::of(0).unmarked()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_steady, labelled, line, texts};
    use super::*;

    fn row(method: &str, n: Option<usize>, eps: f64, crpa: f64) -> String {
        let n = n.map_or("null".into(), |n| n.to_string());
        format!(
            r#"{{"kind":"compare","network":"model","method":"{method}","eps":{eps},"n":{n},"sigma":null,"statement":"","crpa":{crpa},"band":0.1,"images":5,"forwards":1,"seconds":1.0}}"#
        )
    }

    fn material() -> Material {
        let rows = [
            row("lipschitz", None, 0.1, 0.8),
            row("holm", Some(1000), 0.1, 0.9),
            row("holm", Some(10), 0.1, 0.3),
            row("holm", Some(100), 0.1, 0.6),
            row("lipschitz", None, 0.2, 0.5),
        ];
        Material {
            runs: vec![labelled("net", &rows)],
            ..Material::default()
        }
    }

    #[test]
    fn samples_are_in_order_and_the_bound_is_a_level() {
        let ask = Ask {
            eps: vec![0.1],
            ..Ask::default()
        };
        let figure = draw(&material(), &ask).unwrap();
        let holm = line(&figure, "SegCertify, Holm");
        for ([_, y], expected) in holm.iter().zip([0.3, 0.6, 0.9]) {
            assert!((y - expected).abs() < 2e-3, "{holm:?}");
        }
        // a decade is a decade
        assert!((holm[2][0] - holm[1][0] - (holm[1][0] - holm[0][0])).abs() < 0.05);
        let bound = line(&figure, "Lipschitz bound");
        assert!(
            bound.iter().all(|[_, y]| (y - 0.8).abs() < 2e-3),
            "{bound:?}"
        );
        let texts = texts(&figure);
        assert!(
            texts.contains(&"eps = 0.1; band: ± 0.10 of the bound, 95 %".to_owned()),
            "{texts:?}"
        );
        assert!(!texts.iter().any(|text| text.contains("0.2;")), "{texts:?}");
        is_steady(|| draw(&material(), &ask).unwrap());
    }

    #[test]
    fn other_rows_are_refused() {
        let ask = Ask {
            eps: vec![0.7],
            ..Ask::default()
        };
        let error = draw(&material(), &ask).unwrap_err().to_string();
        assert_eq!(
            error,
            "figure samples needs rows of compare --eps 0.7 --n N,..."
        );
    }
}
