//! Clean against certified value of several networks (paper 001, Figure 5), joined in the order in which they are given.

use certiseg_cert::Metric;

use super::axis::Axis;
use super::plot::{Join, Look, Panel, Series, plots};
use super::source::{about, same_pictures};
use super::spread::mean;
use super::{Ask, Figure, Labelled, Material, missing};
use crate::number::certified_mean;
use crate::{Result, Run};

/// Draws it.
pub(super) fn draw(material: &Material, ask: &Ask) -> Result<Figure> {
    let metric = ask.metric;
    let runs: Vec<&Run> = material.runs.iter().map(|labelled| &labelled.run).collect();
    same_pictures(&runs)?;
    let mut budgets = ask.eps.clone();
    if budgets.is_empty() {
        let rows = material.runs.iter().flat_map(|labelled| &labelled.run.rows);
        let rows = rows.filter(|row| row.metric == metric);
        budgets.extend(rows.filter_map(|row| Some(row.eps?.get())));
        budgets.retain(|eps| *eps > 0.0);
    }
    budgets.sort_by(f64::total_cmp);
    budgets.dedup();
    let mut series = Vec::new();
    for (index, eps) in budgets.iter().enumerate() {
        let points: Vec<[f64; 2]> = material
            .runs
            .iter()
            .map(|labelled| {
                point(labelled, metric, *eps).ok_or_else(|| {
                    let run = &labelled.run.name;
                    missing(
                        "front",
                        format!("rows of certify --metric {metric} --eps {eps} in {run}"),
                    )
                })
            })
            .collect::<Result<_>>()?;
        let mut line = Series::new(&format!("eps {eps}"), points, Join::Lines, Look::of(index));
        if index == 0 {
            line.tags = material.runs.iter().map(Labelled::name).collect();
        }
        series.push(line);
    }
    if series.is_empty() || material.runs.len() < 2 {
        return Err(missing(
            "front",
            format!("two runs or more of certify --metric {metric} --eps E,..., as LABEL=RUN"),
        ));
    }
    let coordinate = |axis: usize| {
        let points = series.iter().flat_map(|series| &series.points);
        points.map(move |point| point[axis])
    };
    let panel = Panel {
        title: String::new(),
        x: Axis::around(&format!("clean {metric}, mean over images"), coordinate(0)),
        y: Axis::around(
            &format!("certified {metric}, mean over images"),
            coordinate(1),
        ),
        series: series.clone(),
    };
    let images = material.runs.iter().map(|labelled| {
        let rows = labelled.run.rows.iter().filter(|row| row.metric == metric);
        let mut images: Vec<&str> = rows.map(|row| row.image.as_str()).collect();
        images.sort_unstable();
        images.dedup();
        images.len()
    });
    let about = about(
        material.runs.iter().map(|labelled| &labelled.run),
        images.max().unwrap_or_default(),
    );
    Ok(plots(
        &format!("clean against certified {metric}"),
        &[panel],
        &about,
    ))
}

/// Means over the images of a run on which the metric is defined.
fn point(labelled: &Labelled, metric: Metric, eps: f64) -> Option<[f64; 2]> {
    let rows = labelled.run.rows.iter().filter(|row| row.metric == metric);
    let rows = rows.filter(|row| row.eps.is_some_and(|asked| asked.get() == eps));
    let pairs: Vec<(f64, f64)> = rows
        .filter_map(|row| Some((row.clean?, row.value?)))
        .collect();
    let (clean, certified): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    Some([mean(&clean)?, certified_mean(metric, &certified)?])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_steady, labelled, line, texts};
    use super::*;

    fn row(eps: f64, clean: f64, value: f64) -> String {
        format!(
            r#"{{"kind":"row","image":"a","metric":"accuracy","norm":"2","clean":{clean},"value":{value},"eps":{eps},"lipschitz":1.0,"eta":0.0,"counted":10}}"#
        )
    }

    fn material() -> Material {
        let run = |label: &str, clean, [one, two]: [f64; 2]| {
            labelled(label, &[row(0.1, clean, one), row(0.2, clean, two)])
        };
        Material {
            runs: vec![
                run("tau 0.1", 0.9, [0.5, 0.4]),
                run("tau 1", 0.8, [0.6, 0.5]),
                run("tau 10", 0.7, [0.6, 0.6]),
            ],
            ..Material::default()
        }
    }

    #[test]
    fn networks_are_joined_as_they_are_given() {
        let figure = draw(&material(), &Ask::default()).unwrap();
        let upper = line(&figure, "eps 0.1");
        assert!(upper[0][0] > upper[1][0] && upper[1][0] > upper[2][0]);
        for ([_, y], expected) in upper.iter().zip([0.5, 0.6, 0.6]) {
            assert!((y - expected).abs() < 2e-3, "{upper:?}");
        }
        let texts = texts(&figure);
        for tag in ["tau 0.1", "tau 1", "tau 10"] {
            assert_eq!(texts.iter().filter(|text| *text == tag).count(), 1);
        }
        is_steady(|| draw(&material(), &Ask::default()).unwrap());
    }

    #[test]
    fn budgets_of_two_norms_are_on_no_front() {
        let mut mixed = material();
        mixed.runs[1].run.head.norm = Some(certiseg_cert::Norm::LINF);
        let error = draw(&mixed, &Ask::default()).unwrap_err().to_string();
        assert!(error.contains("another norm"), "{error}");
    }

    #[test]
    fn a_run_without_the_budget_is_named() {
        let ask = Ask {
            eps: vec![0.3],
            ..Ask::default()
        };
        let error = draw(&material(), &ask).unwrap_err().to_string();
        assert!(error.ends_with("--eps 0.3 in tau 0.1"), "{error}");
        let mut alone = material();
        alone.runs.truncate(1);
        let error = draw(&alone, &Ask::default()).unwrap_err().to_string();
        assert!(error.contains("two runs or more"), "{error}");
    }
}
