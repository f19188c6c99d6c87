//! Certified share against the radius of randomized smoothing (paper 002, Figure 3).
//!
//! Staircases, as radii come in steps: up to a radius the share that has at least it. Means are over images, the
//! band is from the 10th to the 90th hundredth of them.

use certiseg_cert::mean_lower;
use certiseg_cert::smoothing::{CurvePoint, SmoothCurve};

use super::axis::Axis;
use super::plot::{Join, Look, Panel, Series, plots};
use super::source::about;
use super::spread::tenths;
use super::{Ask, Figure, Material, missing};
use crate::alike::same;
use crate::{Result, Run};

/// Draws it.
pub(super) fn draw(material: &Material, _: &Ask) -> Result<Figure> {
    let runs: Vec<&Run> = material.runs.iter().map(|labelled| &labelled.run).collect();
    same(&runs, "norm", &|run| {
        run.smooth_curves
            .first()
            .map(|curve| curve.norm.to_string())
    })?;
    let mut series = Vec::new();
    let mut images = 0;
    for labelled in &material.runs {
        let curves = &labelled.run.smooth_curves;
        let mut allowed: Vec<u64> = curves.iter().map(|curve| curve.allowed).collect();
        allowed.sort_unstable();
        allowed.dedup();
        for (index, allowed) in allowed.iter().enumerate() {
            let curves: Vec<&SmoothCurve> = curves
                .iter()
                .filter(|curve| curve.allowed == *allowed)
                .collect();
            images = images.max(curves.len());
            let mut name = match (material.runs.len(), &labelled.label) {
                (1, None) => String::new(),
                _ => format!("{}, ", labelled.name()),
            };
            if *allowed > 0 {
                name += &format!("{allowed} may be wrong, ");
            }
            let look = Look::of(series.len() / 2 + index).unmarked().dashed("");
            series.push(line(
                &format!("{name}certified"),
                &curves,
                |curve| curve.tests > 0,
                |p| Some(p.certified),
                look,
            ));
            let mut right = line(
                &format!("{name}certified and right"),
                &curves,
                |curve| curve.counted.is_some_and(|counted| counted > 0),
                |point| point.right,
                look.dashed("5 2"),
            );
            // two bands on each other cannot be told apart
            right.band.clear();
            if !right.points.is_empty() {
                series.push(right);
            }
        }
    }
    if series.is_empty() {
        return Err(missing("radius", "rows of smooth --curve"));
    }
    let curves = material
        .runs
        .iter()
        .flat_map(|labelled| &labelled.run.smooth_curves);
    let norm = curves.map(|curve| curve.norm).next();
    let norm = norm.map(|norm| format!("l{norm} ")).unwrap_or_default();
    let values = series.iter().flat_map(|series: &Series| {
        let band = series.band.iter().flat_map(|[_, low, high]| [*low, *high]);
        series.points.iter().map(|[_, y]| *y).chain(band)
    });
    let radii = series
        .iter()
        .flat_map(|series| series.points.iter().map(|[x, _]| *x));
    let panel = Panel {
        title: String::new(),
        x: Axis::from_zero(&format!("{norm}radius, [0,1] pixel space"), radii),
        y: Axis::share(
            "share of pixels, mean; band 10–90 % of images, certified",
            values,
        ),
        series: series.clone(),
    };
    let about = about(material.runs.iter().map(|labelled| &labelled.run), images);
    Ok(plots(
        "certified share against the radius",
        &[panel],
        &about,
    ))
}

fn line(
    name: &str,
    curves: &[&SmoothCurve],
    defined: fn(&SmoothCurve) -> bool,
    share: fn(&CurvePoint) -> Option<f64>,
    look: Look,
) -> Series {
    let curves: Vec<&&SmoothCurve> = curves
        .iter()
        // where nothing is certified there is no point, but an image of the mean
        .filter(|curve| defined(curve))
        .collect();
    let mut radii: Vec<f64> = curves
        .iter()
        .flat_map(|curve| curve.points.iter().map(|point| point.radius))
        .collect();
    radii.push(0.0);
    radii.sort_by(f64::total_cmp);
    radii.dedup();
    let values = |radius: f64| -> Vec<f64> {
        let at = |curve: &&&SmoothCurve| {
            let points = curve.points.iter().rev();
            let mut beyond = points.filter(|point| point.radius >= radius);
            beyond.next().and_then(share).unwrap_or(0.0)
        };
        curves.iter().map(at).collect()
    };
    let point = |radius: &f64| Some([*radius, mean_lower(&values(*radius))?]);
    let points = radii.iter().filter_map(point).collect();
    let mut series = Series::new(name, points, Join::Steps, look);
    let band = |radius: &f64| {
        let [low, high] = tenths(&values(*radius))?;
        Some([*radius, low, high])
    };
    series.band = radii.iter().filter_map(band).collect();
    series
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_steady, labelled, line as drawn, texts};
    use super::*;

    fn curve(image: &str, points: &str, counted: &str) -> String {
        format!(
            r#"{{"kind":"smooth-curve","image":"{image}","norm":"2","alpha":0.001,"tests":10,"counted":{counted},"allowed":0,"points":[{points}]}}"#
        )
    }

    fn point(radius: f64, certified: f64, right: Option<f64>) -> String {
        let right = right.map_or("null".into(), |right| right.to_string());
        format!(r#"{{"radius":{radius},"components":1,"certified":{certified},"right":{right}}}"#)
    }

    fn material() -> Material {
        let a = [point(0.4, 0.5, Some(0.4)), point(0.2, 0.9, Some(0.8))].join(",");
        let b = point(0.2, 0.7, Some(0.6));
        Material {
            runs: vec![labelled(
                "sigma 0.25",
                &[curve("a", &a, "10"), curve("b", &b, "10")],
            )],
            ..Material::default()
        }
    }

    #[test]
    fn shares_hold_up_to_their_radius() {
        let figure = draw(&material(), &Ask::default()).unwrap();
        let certified = drawn(&figure, "sigma 0.25, certified");
        // 0.8 up to 0.2, and a alone, 0.25 of both, up to 0.4
        for ([_, y], expected) in certified.iter().zip([0.8, 0.8, 0.8, 0.25, 0.25]) {
            assert!((y - expected).abs() < 3e-3, "{certified:?}");
        }
        let right = drawn(&figure, "sigma 0.25, certified and right");
        assert!((right[0][1] - 0.7).abs() < 3e-3, "{right:?}");
        is_steady(|| draw(&material(), &Ask::default()).unwrap());
    }

    #[test]
    fn images_of_which_nothing_is_certified_are_in_the_mean() {
        let a = point(0.2, 0.9, Some(0.8));
        let rows = [
            curve("a", &a, "10"),
            curve("b", "", "10"),
            curve("void", "", "0"),
        ];
        let material = Material {
            runs: vec![labelled("s", &rows)],
            ..Material::default()
        };
        let figure = draw(&material, &Ask::default()).unwrap();
        // of three images all of which were tested, of two that have labels
        for (name, mean) in [("s, certified", 0.3), ("s, certified and right", 0.4)] {
            let line = drawn(&figure, name);
            assert!((line[0][1] - mean).abs() < 3e-3, "{name}: {line:?}");
        }
    }

    #[test]
    fn radii_of_two_norms_are_in_no_figure() {
        let rows = [
            curve("a", &point(0.2, 0.9, None), "null").replace(r#""norm":"2""#, r#""norm":"1""#)
        ];
        let mut mixed = material();
        mixed.runs.push(labelled("laplace", &rows));
        let error = draw(&mixed, &Ask::default()).unwrap_err().to_string();
        assert!(error.contains("another norm"), "{error}");
    }

    #[test]
    fn without_labels_nothing_is_right() {
        let mut bare = material();
        let rows = [curve("a", &point(0.4, 0.5, None), "null")];
        bare.runs = vec![labelled("s", &rows)];
        let texts = texts(&draw(&bare, &Ask::default()).unwrap());
        assert!(
            !texts.iter().any(|text| text.contains("right")),
            "{texts:?}"
        );
        bare.runs = vec![labelled("s", &[])];
        let error = draw(&bare, &Ask::default()).unwrap_err().to_string();
        assert_eq!(error, "figure radius needs rows of smooth --curve");
    }
}
