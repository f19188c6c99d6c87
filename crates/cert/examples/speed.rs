//! Median time of certificates on one core, from the logits on: `make bench`. With `--json` one
//! object, which `make peers` sets beside the same work in Python. On Linux also the memory beyond
//! the logits, as the kernel counts it.

use std::hint::black_box;
use std::time::Instant;

use certiseg_cert::{Budget, Goal, Grid, Image, Margins, Metric, Norm, Premises, Value, margins};

const RUNS: usize = 15;
const EPS: [f64; 5] = [0.0, 0.1, 0.5, 1.0, 2.0];
const SMALL: [Metric; 4] = [
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

/// Median and least milliseconds.
fn time(mut work: impl FnMut()) -> [f64; 2] {
    let mut times = [0; RUNS].map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    });
    times.sort_unstable_by(f64::total_cmp);
    [times[RUNS / 2], times[0]]
}

struct Picture {
    grid: Grid,
    logits: Vec<f32>,
    labels: Vec<u8>,
}

impl Picture {
    fn new(classes: usize, side: usize) -> Self {
        let grid = Grid::new(classes, side, side).expect("a grid");
        let (logits, labels) = picture(grid);
        Picture {
            grid,
            logits,
            labels,
        }
    }

    fn with<T>(&self, then: impl FnOnce(&Margins) -> T) -> T {
        let logits = black_box(&self.logits);
        let image =
            Image::new(self.grid, logits, Some(&self.labels), Some(255)).expect("a picture");
        let premises = Premises::new(Norm::L2, 1.0, 0.0).expect("premises");
        then(&margins(&image, &premises).expect("numbers"))
    }

    /// From the logits to the worst value at every eps.
    fn values(&self, metric: Metric) -> Vec<Value> {
        self.with(|margins| worst(margins, metric))
    }
}

fn worst(margins: &Margins, metric: Metric) -> Vec<Value> {
    let certificate = metric.certify(margins).expect("labels").expect("its class");
    let eps = EPS.map(|eps| Budget::new(eps).expect("a budget"));
    eps.map(|eps| black_box(certificate.worst(eps))).to_vec()
}

/// All questions of the command line's usual run on a small picture.
fn small(picture: &Picture, goals: &[Vec<Goal>]) {
    picture.with(|margins| {
        for (metric, goals) in SMALL.iter().zip(goals) {
            let certificate = metric.certify(margins).expect("labels").expect("its class");
            for eps in EPS {
                black_box(certificate.worst(Budget::new(eps).expect("a budget")));
            }
            for goal in goals {
                black_box(certificate.budget(goal)).expect("its own goal");
            }
        }
    });
}

/// A line of this process's status, in KiB; `None` where the kernel keeps none.
fn status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()
}

/// Peak bytes a pixel of this work, beyond what was there before.
fn memory(pixels: usize, work: impl FnOnce()) -> Option<f64> {
    // 5 sets the peak back to what is in use
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS")?;
    work();
    let peak = status("VmHWM")?.saturating_sub(before);
    Some(peak as f64 * 1024.0 / pixels as f64)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--memory") {
        let metric: Metric = arguments
            .next()
            .and_then(|m| m.parse().ok())
            .expect("a metric");
        let large = Picture::new(19, 1024);
        if let Some(bytes) = memory(large.grid.pixels(), || drop(large.values(metric))) {
            println!("memory beyond the logits, {metric:<22} {bytes:5.1} bytes a pixel");
        }
        return;
    }
    let json = std::env::args().any(|argument| argument == "--json");
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
    let goals = SMALL.map(|metric| THRESHOLDS.iter().map(|t| goal(&metric, t)).collect());
    let (little, large) = (Picture::new(2, 256), Picture::new(19, 1024));
    let half = Budget::new(0.5).expect("a budget");
    let classes = || (0..19u8).map(Metric::Iou);
    let all_ious = |margins: &Margins| -> Vec<Vec<Value>> {
        classes().map(|metric| worst(margins, metric)).collect()
    };
    let rows = [
        (
            "floor",
            "read the logits once: their sum",
            time(|| {
                // sixteen sums, so that no addition waits for the last
                let mut sums = [0f32; 16];
                for chunk in black_box(&large.logits).chunks_exact(16) {
                    for (sum, v) in sums.iter_mut().zip(chunk) {
                        *sum += v;
                    }
                }
                black_box(sums);
            }),
        ),
        (
            "margins",
            "predictions and radii",
            time(|| {
                large.with(|m| {
                    black_box(m.predictions());
                })
            }),
        ),
        (
            "curve",
            "accuracy, whole curve, 5 eps",
            time(|| {
                black_box(large.values(Metric::Accuracy));
            }),
        ),
        (
            "q1",
            "accuracy at one eps",
            time(|| {
                large.with(|m| {
                    black_box(Metric::Accuracy.worst(m, half)).expect("labels");
                })
            }),
        ),
        (
            "iou",
            "IoU of one class, whole curve, 5 eps",
            time(|| {
                black_box(large.values(Metric::Iou(1)));
            }),
        ),
        (
            "all_ious",
            "IoU of 19 classes, whole curves, 5 eps",
            time(|| {
                large.with(|m| black_box(all_ious(m)));
            }),
        ),
        (
            "miou",
            "mIoU, whole curve, 5 eps",
            time(|| {
                black_box(large.values(Metric::Miou));
            }),
        ),
        (
            "small",
            "256x256x2: 4 metrics, 5 eps, 3 goals",
            time(|| small(&little, &goals)),
        ),
    ];
    if json {
        let times = rows
            .iter()
            .map(|(key, _, [median, _])| format!("\"{key}\": {median:.3}"));
        let share = |value: Value| value.share().expect("a count");
        let flips = large.values(Metric::Accuracy).into_iter().map(share);
        let flips: Vec<u64> = flips.map(|s| s.denominator - s.numerator).collect();
        let ious = large.values(Metric::Iou(1)).into_iter().map(share);
        let ious: Vec<[u64; 2]> = ious.map(|s| [s.numerator, s.denominator]).collect();
        let times = times.collect::<Vec<_>>().join(", ");
        println!(
            "{{\"ms\": {{{times}}}, \"results\": {{\"flips\": {flips:?}, \"iou\": {ious:?}}}}}"
        );
        return;
    }
    println!("one core, median and least of {RUNS}; 1024x1024x19 unless it says otherwise");
    let [floor, _] = rows[0].2;
    for (_, what, [median, least]) in rows {
        println!(
            "{what:<42} {median:8.2} ms {least:8.2} ms {:6.1} x floor",
            median / floor
        );
    }
    for metric in [
        "accuracy",
        "iou:1",
        "miou",
        "mean-class-accuracy",
        "objects:1",
    ] {
        // in a process of its own, as freed memory stays with the process
        let of = std::env::current_exe().expect("its own name");
        let out = std::process::Command::new(of)
            .args(["--memory", metric])
            .output();
        print!(
            "{}",
            String::from_utf8_lossy(&out.expect("a process").stdout)
        );
    }
}
