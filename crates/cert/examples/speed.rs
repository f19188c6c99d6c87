//! Median time of certificates on one core: `cargo run --release --example speed -p certiseg-cert`.

use std::hint::black_box;
use std::time::Instant;

use certiseg_cert::{Budget, Goal, Grid, Image, Metric, Norm, Premises, margins};

const RUNS: usize = 15;
const EPS: [f64; 5] = [0.0, 0.1, 0.5, 1.0, 2.0];
const METRICS: [Metric; 4] = [
    Metric::Accuracy,
    Metric::Stability,
    Metric::Fnr(1),
    Metric::Iou(1),
];
const THRESHOLDS: [&str; 3] = ["0.3", "0.5", "0.7"];

/// Labels in squares, and logits that mostly agree with them.
fn picture(grid: Grid) -> (Vec<f32>, Vec<u8>) {
    const SQUARE: usize = 32;
    let label = |pixel: usize| {
        let square = pixel / grid.width / SQUARE + pixel % grid.width / SQUARE;
        (square % grid.classes) as u8
    };
    let labels: Vec<u8> = (0..grid.pixels()).map(label).collect();
    let logits = (0..grid.classes * grid.pixels()).map(|index| {
        let hash = (index as u32).wrapping_mul(2_654_435_761);
        let noise = (hash ^ (hash >> 15)).wrapping_mul(2_246_822_519) >> 8;
        let right = usize::from(labels[index % grid.pixels()]) == index / grid.pixels();
        noise as f32 / (1 << 24) as f32 + if right { 0.5 } else { 0.0 }
    });
    (logits.collect(), labels)
}

/// Every worst value and every budget of these metrics, from the logits on.
fn certify(grid: Grid, logits: &[f32], labels: &[u8], metrics: &[Metric], goals: &[Vec<Goal>]) {
    let premises = Premises {
        norm: Norm::L2,
        lipschitz: 1.0,
        eta: 1e-6,
    };
    let image = Image::new(grid, logits, Some(labels), Some(255)).expect("a checked picture");
    let margins = margins(&image, &premises).expect("checked premises");
    for (metric, goals) in metrics.iter().zip(goals) {
        let Ok(Some(certificate)) = metric.certify(&margins) else {
            continue;
        };
        for eps in EPS {
            black_box(certificate.worst(Budget::new(eps).expect("a budget")));
        }
        for goal in goals {
            black_box(certificate.budget(goal)).expect("its own goal");
        }
    }
}

fn main() {
    let goal = |metric: &Metric, threshold: &&str| -> Goal {
        let sign = if metric.higher_is_better() {
            "<="
        } else {
            ">="
        };
        format!("{metric}{sign}{threshold}")
            .parse()
            .expect("a goal")
    };
    for (classes, side, metrics, thresholds) in [
        (2, 256, &METRICS[..], &THRESHOLDS[..]),
        (19, 1024, &METRICS[..1], &[]),
    ] {
        let grid = Grid::new(classes, side, side).expect("a grid");
        let goals: Vec<Vec<Goal>> = metrics
            .iter()
            .map(|m| thresholds.iter().map(|t| goal(m, t)).collect())
            .collect();
        let (logits, labels) = picture(grid);
        let mut times = [0; RUNS].map(|_| {
            let start = Instant::now();
            certify(grid, black_box(&logits), &labels, metrics, &goals);
            start.elapsed().as_secs_f64() * 1e3
        });
        times.sort_unstable_by(f64::total_cmp);
        println!(
            "{side} x {side} x {classes}, {} metrics, {} eps, {} goals: median {:.2} ms, least {:.2} ms",
            metrics.len(),
            EPS.len(),
            thresholds.len(),
            times[RUNS / 2],
            times[0]
        );
    }
}
