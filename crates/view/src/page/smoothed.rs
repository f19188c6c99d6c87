//! Randomized smoothing beside certificates: what it certifies, and its own statement, which is another.

use certiseg_cert::{Norm, mean_lower};
use serde::Serialize;

use super::provenance::hash;
use crate::Run;
use crate::number::{NONE, nearest};

/// A run of randomized smoothing.
#[derive(Debug, Serialize)]
pub struct Smoothing {
    /// Its name.
    pub name: String,
    /// Images.
    pub images: usize,
    /// What is claimed, of the first image.
    pub statement: String,
    /// Name and value of its figures.
    pub figures: Vec<[String; 2]>,
}

/// A method beside others.
#[derive(Debug, Serialize)]
pub struct Beside {
    /// Network, method, budget, samples, certified and right, seconds of an image, statement.
    pub cells: Vec<String>,
}

impl Smoothing {
    /// Of each run that has such rows.
    pub fn of(runs: &[Run]) -> Vec<Self> {
        let all = runs.iter().filter_map(|run| {
            let first = run.smooth.first()?;
            let values = |field: fn(&certiseg_cert::smoothing::SmoothRow) -> Option<f64>| {
                run.smooth.iter().filter_map(field).collect::<Vec<_>>()
            };
            let abstained = values(|row| row.abstained);
            let mut figures = vec![
                figure("radius", Some(first.radius), true),
                figure(
                    "certified, mean over images",
                    mean_lower(&values(|row| row.certified)),
                    true,
                ),
                figure(
                    "abstained, mean over images",
                    certiseg_cert::mean_upper(&abstained),
                    false,
                ),
            ];
            if let Some(all) = run.smooth_dataset.first() {
                figures.push(figure(
                    "right, at least, pixels pooled",
                    all.right_at_least,
                    true,
                ));
                figures.push(figure(
                    "images of which a statement may be wrong",
                    all.wrong_images,
                    false,
                ));
            }
            Some(Smoothing {
                name: run.name.clone(),
                images: run.smooth.len(),
                statement: first.statement(),
                figures,
            })
        });
        all.collect()
    }
}

fn figure(name: &str, value: Option<f64>, down: bool) -> [String; 2] {
    let cut = match down {
        true => certiseg_cert::round_down,
        false => certiseg_cert::round_up,
    };
    [
        name.into(),
        value.map_or(NONE.into(), |value| cut(value, 4)),
    ]
}

/// Mean over images of the share of pixels that are certified as right within `eps` in l2; none where an image has
/// neither a curve nor a radius that reaches so far. Of the first run whose radii are l2, and of the pictures and the
/// unit of the certificates beside which it stands.
pub fn right_at(runs: &[Run], eps: f64) -> Option<f64> {
    let beside = runs.iter().find(|run| !run.rows.is_empty());
    let differ = |a: Option<String>, b: Option<String>| a.zip(b).is_some_and(|(a, b)| a != b);
    let fits = |run: &&Run| {
        let l2 = run.smooth.iter().all(|row| row.norm == Norm::L2);
        let other = beside.is_some_and(|beside| {
            differ(hash(beside, "data_hash"), hash(run, "data_hash"))
                || differ(beside.head.unit.clone(), run.head.unit.clone())
        });
        !run.smooth.is_empty() && l2 && !other
    };
    let run = runs.iter().find(fits)?;
    let values: Option<Vec<f64>> = run
        .smooth
        .iter()
        .map(|row| {
            let curve = run
                .smooth_curves
                .iter()
                .find(|curve| curve.image == row.image);
            match curve {
                Some(curve) => {
                    let reach = curve.points.iter().rfind(|point| point.radius >= eps);
                    reach.map_or(curve.counted.map(|_| 0.0), |point| point.right)
                }
                None if row.radius >= eps => row.right_at_least(),
                None => None,
            }
        })
        .collect();
    mean_lower(&values?)
}

impl Beside {
    /// Of the rows of `compare`.
    pub fn of(runs: &[Run]) -> Vec<Self> {
        let rows = runs.iter().flat_map(|run| &run.compared);
        rows.map(|row| Beside {
            cells: vec![
                row.network.clone(),
                row.method.clone(),
                row.eps.to_string(),
                row.n.map_or(NONE.into(), |n| n.to_string()),
                certiseg_cert::round_down(row.crpa, 4),
                nearest(Some(row.seconds), 4),
                row.statement.clone(),
            ],
        })
        .collect()
    }
}
