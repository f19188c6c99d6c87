//! A metric against the budget (paper 001, Figure 3).
//!
//! Means are over the images that all runs have and on which the metric is defined. The certified line is a
//! staircase: up to each budget the value at that budget, which holds before it; the band is from the 10th to the
//! 90th hundredth of images.

use std::collections::{BTreeMap, BTreeSet};

use certiseg_cert::Metric;

use super::axis::Axis;
use super::plot::{Join, Look, Panel, Series, plots};
use super::source::{about, alike};
use super::spread::{mean, tenths};
use super::{Ask, Figure, Material, missing};
use crate::number::certified_mean;
use crate::{Result, Run};

const MADE: &str = "rows of that metric: certify --metric M --eps E,... [--curve], and attack with the same metric";
/// Places of a curve.
const PLACES: u32 = 160;

/// One image: its bounds, by rising budget, each good for all budgets before it.
#[derive(Default)]
struct Bounds {
    clean: Option<f64>,
    rows: Vec<[f64; 2]>,
    curve: Vec<[f64; 2]>,
}

impl Bounds {
    /// The best that is known within `eps`; what nothing can be worse than where nothing is.
    fn at(&self, metric: Metric, eps: f64) -> f64 {
        let good = metric.higher_is_better();
        let none = if good { 0.0 } else { 1.0 };
        let from = |list: &[[f64; 2]]| list.iter().find(|[at, _]| *at >= eps).map(|[_, v]| *v);
        let known = [from(&self.rows), from(&self.curve)];
        known
            .into_iter()
            .flatten()
            .fold(none, |best, value| match good {
                true => best.max(value),
                false => best.min(value),
            })
    }
}

/// Draws it.
pub(super) fn draw(material: &Material, ask: &Ask) -> Result<Figure> {
    let metric = ask.metric;
    let runs: Vec<&Run> = material.runs.iter().map(|labelled| &labelled.run).collect();
    alike(&runs)?;
    let attacks = || runs.iter().filter(|run| !run.attacks.is_empty());
    let certified = runs.iter().filter(|run| !run.rows.is_empty());
    let mut bounds: BTreeMap<&str, Bounds> = BTreeMap::new();
    certified.for_each(|run| certify(&mut bounds, run, metric));
    if bounds.is_empty() {
        attacks().for_each(|run| beside(&mut bounds, run, metric));
    }
    let mut images: BTreeSet<&str> = bounds.keys().copied().collect();
    for run in attacks() {
        let struck = run.attacks.iter().filter(|row| row.metric == metric);
        let struck: BTreeSet<&str> = struck.map(|row| row.image.as_str()).collect();
        images.retain(|image| struck.contains(image));
    }
    bounds.retain(|image, bounds| images.contains(image) && bounds.clean.is_some());
    if bounds.is_empty() {
        return Err(missing(
            "eps",
            format!("{MADE}; no image has {metric} in all runs given"),
        ));
    }
    let budgets = budgets(&bounds, &runs, metric);
    let most = budgets.last().copied().unwrap_or_default();
    let all: Vec<&Bounds> = bounds.values().collect();
    let clean: Vec<f64> = all.iter().filter_map(|bounds| bounds.clean).collect();
    let clean = mean(&clean).unwrap_or_default();
    let level = vec![[0.0, clean], [most, clean]];
    let mut series = vec![Series::new("clean", level, Join::Lines, Look::reference())];
    let mut look = 1;
    for labelled in &material.runs {
        let points = attacked(&labelled.run, metric, &bounds, clean);
        if points.len() > 1 {
            let name = match (&labelled.label, attacks().count()) {
                (None, 1) => "attacked".to_owned(),
                _ => labelled.name(),
            };
            series.push(Series::new(&name, points, Join::Lines, Look::of(look)));
            look += 1;
        }
    }
    series.push(line(metric, &all, &budgets));
    let norm = runs.iter().find_map(|run| run.head.norm);
    let norm = norm.map(|norm| format!("l{norm} ")).unwrap_or_default();
    let values = series.iter().flat_map(|series| {
        let band = series.band.iter().flat_map(|[_, low, high]| [*low, *high]);
        series.points.iter().map(|[_, y]| *y).chain(band)
    });
    let panel = Panel {
        title: String::new(),
        x: Axis::from_zero(&format!("{norm}budget eps, [0,1] pixel space"), [most]),
        y: Axis::share(&format!("{metric}, mean over images, band 10–90 %"), values),
        series,
    };
    let about = about(runs.iter().copied(), bounds.len());
    Ok(plots(
        &format!("{metric} against the budget"),
        &[panel],
        &about,
    ))
}

/// Bounds of a run of `certify`.
fn certify<'a>(bounds: &mut BTreeMap<&'a str, Bounds>, run: &'a Run, metric: Metric) {
    for row in run.rows.iter().filter(|row| row.metric == metric) {
        if let (Some(eps), Some(value)) = (row.eps, row.value) {
            let image = bounds.entry(&row.image).or_default();
            image.clean = row.clean;
            image.rows.push([eps.get(), value]);
        }
    }
    for curve in run.curves.iter().filter(|curve| curve.metric == metric) {
        if let Some(image) = bounds.get_mut(curve.image.as_str()) {
            let points = curve.eps.iter().zip(&curve.value);
            image
                .curve
                .extend(points.map(|(eps, value)| [*eps, *value]));
        }
    }
    sort(bounds);
}

/// Bounds that a run of `attack` states beside what it found.
fn beside<'a>(bounds: &mut BTreeMap<&'a str, Bounds>, run: &'a Run, metric: Metric) {
    for row in run.attacks.iter().filter(|row| row.metric == metric) {
        if let Some(value) = row.certified {
            let image = bounds.entry(&row.image).or_default();
            image.clean = row.clean;
            image.rows.push([row.eps.get(), value]);
        }
    }
    sort(bounds);
}

fn sort(bounds: &mut BTreeMap<&str, Bounds>) {
    for image in bounds.values_mut() {
        image.rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        image.curve.sort_by(|a, b| a[0].total_cmp(&b[0]));
    }
}

/// Those of the rows of all images, rising.
fn budgets(bounds: &BTreeMap<&str, Bounds>, runs: &[&Run], metric: Metric) -> Vec<f64> {
    let rows = bounds.values().flat_map(|image| &image.rows);
    let struck = runs.iter().flat_map(|run| &run.attacks);
    let struck = struck.filter(|row| row.metric == metric);
    let rows = rows.map(|[eps, _]| *eps);
    let mut budgets: Vec<f64> = rows.chain(struck.map(|row| row.eps.get())).collect();
    budgets.sort_by(f64::total_cmp);
    budgets.dedup();
    budgets
}

/// The certified line: a mark at each budget of the rows.
fn line(metric: Metric, images: &[&Bounds], budgets: &[f64]) -> Series {
    let values = |eps: f64| -> Vec<f64> {
        let bounds = images.iter().map(|image| image.at(metric, eps));
        bounds.collect()
    };
    // beyond the last row of an image it has no bound
    let rows: Vec<f64> = images
        .iter()
        .filter_map(|image| Some(image.rows.last()?[0]))
        .collect();
    let last = rows.into_iter().fold(f64::INFINITY, f64::min);
    let budgets: Vec<f64> = budgets.iter().copied().filter(|eps| *eps <= last).collect();
    let most = budgets.last().copied().unwrap_or_default();
    let mut places = budgets.clone();
    places.push(0.0);
    if images.iter().all(|image| !image.curve.is_empty()) {
        let step = most / f64::from(PLACES);
        places.extend((1..PLACES).map(|place| f64::from(place) * step));
    }
    places.sort_by(f64::total_cmp);
    places.dedup();
    let point = |eps: &f64| Some([*eps, certified_mean(metric, &values(*eps))?]);
    let mut series = Series::new(
        "certified",
        places.iter().filter_map(point).collect(),
        Join::Steps,
        Look::of(0),
    );
    series.marked = budgets.iter().filter_map(point).collect();
    let band = |eps: &f64| {
        let [low, high] = tenths(&values(*eps))?;
        Some([*eps, low, high])
    };
    series.band = places.iter().filter_map(band).collect();
    series
}

/// The mean of what a run of `attack` found on the images, from the clean one on.
fn attacked(
    run: &Run,
    metric: Metric,
    images: &BTreeMap<&str, Bounds>,
    clean: f64,
) -> Vec<[f64; 2]> {
    let mut by_eps: Vec<(f64, Vec<f64>)> = Vec::new();
    for row in run.attacks.iter().filter(|row| row.metric == metric) {
        let (eps, Some(value)) = (row.eps.get(), row.attacked) else {
            continue;
        };
        if !images.contains_key(row.image.as_str()) {
            continue;
        }
        match by_eps.iter_mut().find(|(known, _)| *known == eps) {
            Some((_, values)) => values.push(value),
            None => by_eps.push((eps, vec![value])),
        }
    }
    let whole = by_eps
        .into_iter()
        .filter(|(_, values)| values.len() == images.len());
    let points = whole.filter_map(|(eps, values)| Some([eps, mean(&values)?]));
    let mut points: Vec<[f64; 2]> = points.filter(|[eps, _]| *eps > 0.0).collect();
    points.push([0.0, clean]);
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    points
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_steady, labelled, line as drawn, texts};
    use super::*;

    fn row(image: &str, eps: f64, value: f64) -> String {
        format!(
            r#"{{"kind":"row","image":"{image}","metric":"accuracy","norm":"2","clean":0.9,"value":{value},"eps":{eps},"lipschitz":1.0,"eta":0.0,"counted":10}}"#
        )
    }

    fn curve(image: &str) -> String {
        format!(
            r#"{{"kind":"curve","image":"{image}","metric":"accuracy","norm":"2","eps":[0.0,0.1,0.5],"value":[0.9,0.8,0.2]}}"#
        )
    }

    fn struck(image: &str, eps: f64, value: f64) -> String {
        format!(
            r#"{{"kind":"attack","image":"{image}","metric":"accuracy","norm":"2","eps":{eps},"clean":0.9,"certified":0.3,"attacked":{value},"attack":"pgd"}}"#
        )
    }

    fn material() -> Material {
        let rows = ["a", "b"].map(|image| [row(image, 0.2, 0.6), row(image, 0.4, 0.4)]);
        let blows = [
            struck("a", 0.2, 0.8),
            struck("b", 0.2, 0.7),
            struck("a", 0.4, 0.5),
        ];
        Material {
            runs: vec![labelled("net", &rows.concat()), labelled("pgd", &blows)],
            ..Material::default()
        }
    }

    #[test]
    fn lines_lie_where_the_rows_say() {
        let figure = draw(&material(), &Ask::default()).unwrap();
        let certified = drawn(&figure, "certified");
        let ys: Vec<f64> = certified
            .iter()
            .map(|[_, y]| (y * 1e3).round() / 1e3)
            .collect();
        // a staircase: 0.6 holds before 0.2, 0.4 from there on
        assert_eq!(ys, [0.6, 0.6, 0.6, 0.4, 0.4][..][..ys.len()]);
        assert_eq!(certified[1][0], certified[0][0]);
        // b was attacked at one budget only: no mean of both at the other
        let attacked = drawn(&figure, "pgd");
        assert_eq!(attacked.len(), 2);
        assert!((attacked[1][1] - 0.75).abs() < 2e-3, "{attacked:?}");
        let clean = drawn(&figure, "clean");
        assert!((clean[0][1] - 0.9).abs() < 2e-3, "{clean:?}");
        let texts = texts(&figure);
        for expected in [
            "certified",
            "pgd",
            "clean",
            "l2 budget eps, [0,1] pixel space",
        ] {
            assert!(
                texts.iter().any(|text| text == expected),
                "{expected}: {texts:?}"
            );
        }
        is_steady(|| draw(&material(), &Ask::default()).unwrap());
    }

    #[test]
    fn curves_never_promise_more_than_they_say() {
        let mut bounds = BTreeMap::new();
        let run = labelled("net", &[row("a", 0.3, 0.6), curve("a")]).run;
        certify(&mut bounds, &run, Metric::Accuracy);
        let image = &bounds["a"];
        let at = |eps| image.at(Metric::Accuracy, eps);
        assert_eq!([at(0.0), at(0.05), at(0.1)], [0.9, 0.8, 0.8]);
        // between points of the curve: the row where it is better, else the next point
        assert_eq!([at(0.2), at(0.3), at(0.31), at(0.6)], [0.6, 0.6, 0.2, 0.0]);
    }

    #[test]
    fn rows_that_lack_the_metric_are_refused() {
        let ask = Ask {
            metric: Metric::Miou,
            ..Ask::default()
        };
        let error = draw(&material(), &ask).unwrap_err().to_string();
        assert!(error.contains("certify --metric"), "{error}");
        assert!(error.contains("miou"), "{error}");
    }
}
