//! Statistics of a smoothed picture of 1024x2048 pixels from streamed label maps, one thread, and, on Linux,
//! the memory beyond one label map: `make bench`. n = 100, n0 = 10, 19 classes, tau = 0.75, alpha = 0.001.
//! `--json` prints one object.

use std::hint::black_box;
use std::time::{Duration, Instant};

use certiseg_cert::smoothing::{
    Correction, Guess, Law, Procedure, Promise, RadiusTable, Stage, Tail,
};

const PIXELS: usize = 1024 * 2048;
const CLASSES: u32 = 19;
const CHOOSE: u32 = 10;
const TEST: u32 = 100;
const RUNS: usize = 7;

/// Label maps in the manner of networks: most pixels nearly always right, some at random.
struct Maps {
    /// Of 2^16: how often a pixel is right.
    right: Vec<u16>,
    labels: Vec<u8>,
}

fn hash(a: u32, b: u32) -> u32 {
    let mut x = a.wrapping_mul(0x9e37_79b9) ^ b.wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

impl Maps {
    fn new() -> Self {
        let right = |i: usize| {
            let u = f64::from(hash(i as u32, 77)) / f64::from(u32::MAX);
            let p = match hash(i as u32, 99) % 20 {
                // 1 - Beta(1, 200), about Beta(20, 2), uniform on [0.3, 0.9]
                0..15 => 1.0 - (1.0 - u.powf(1.0 / 200.0)),
                15..18 => 1.0 - 0.18 * u,
                _ => 0.3 + 0.6 * u,
            };
            (p * 65_535.0) as u16
        };
        Maps {
            right: (0..PIXELS).map(right).collect(),
            labels: vec![0; PIXELS],
        }
    }

    fn draw(&mut self, sample: u32) -> &[u8] {
        for (i, (label, right)) in self.labels.iter_mut().zip(&self.right).enumerate() {
            let chance = hash(i as u32, sample + 1000);
            let class = (i / 64) as u32 % CLASSES;
            let wrong = class + (chance >> 16) % (CLASSES - 1) + 1;
            let kept = (chance & 0xffff) as u16 <= *right;
            *label = (if kept { class } else { wrong % CLASSES }) as u8;
        }
        black_box(&self.labels)
    }
}

/// Time of each part; of label maps nothing but the statistics.
#[derive(Default)]
struct Times {
    choose: Duration,
    test: Duration,
    decide: Duration,
    radii: Duration,
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

/// Certified pixels, and the sum of the radii.
fn run(maps: &mut Maps, times: &mut Times) -> (u64, f64) {
    let mut guess = timed(&mut times.choose, || Guess::new(PIXELS));
    for sample in 0..CHOOSE {
        let labels = maps.draw(sample);
        timed(&mut times.choose, || guess.add(labels)).expect("labels");
    }
    let mut votes = timed(&mut times.choose, || guess.two_stage()).expect("samples");
    for sample in CHOOSE..CHOOSE + TEST {
        let labels = maps.draw(sample);
        timed(&mut times.test, || votes.add(labels)).expect("labels");
    }
    let decision = timed(&mut times.decide, || {
        let procedure = Procedure {
            tau: 0.75,
            alpha: 0.001,
            correction: Correction::Holm,
            stage: Stage::Two,
        };
        let histogram = votes.histogram(None).expect("counts");
        let decision = procedure
            .decide(votes.samples(), &histogram)
            .expect("a procedure");
        black_box(votes.certified(decision.threshold, None).expect("classes"));
        decision
    });
    let sum = timed(&mut times.radii, || {
        let law = (Law::Gaussian { sigma: 0.25 }, Promise::ClassOrAbstain);
        let size = (votes.samples(), Stage::Two);
        let table = RadiusTable::new(size, (PIXELS as u64, 0), 0.001, law).expect("a table");
        let histogram = votes.histogram(None).expect("counts");
        let curve = table.curve(&histogram).expect("counts");
        curve.iter().map(|point| point.radius).sum()
    });
    (decision.certified, sum)
}

/// A line of this process's status, in KiB; `None` where the kernel keeps none.
fn status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    number.parse().ok()
}

/// Peak MB of one run beyond the maps.
fn memory(maps: &mut Maps) -> Option<f64> {
    // 5 sets the peak back to what is in use
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS")?;
    run(maps, &mut Times::default());
    Some(status("VmHWM")?.saturating_sub(before) as f64 / 1024.0 * 1.048_576)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut maps = Maps::new();
    let peak = memory(&mut maps);
    let mut parts: [Vec<f64>; 5] = Default::default();
    let mut certified = 0;
    for _ in 0..RUNS {
        let mut times = Times::default();
        certified = run(&mut maps, &mut times).0;
        let [choose, test, decide, radii] =
            [times.choose, times.test, times.decide, times.radii].map(|t| t.as_secs_f64() * 1e3);
        let all = choose + test + decide;
        for (part, time) in parts.iter_mut().zip([all, choose, test, decide, radii]) {
            part.push(time);
        }
    }
    let [all, choose, test, decide, radii] = parts.map(median);
    let tables: Vec<f64> = [100, 10_000, 1_000_000]
        .map(|n| {
            let start = Instant::now();
            black_box(Tail::new(n, 0.75).expect("a table"));
            start.elapsed().as_secs_f64() * 1e3
        })
        .to_vec();
    let share = certified as f64 / PIXELS as f64;
    if json {
        let peak = peak.map_or("null".into(), |mb| format!("{mb:.1}"));
        println!(
            r#"{{"all_ms":{all:.2},"choose_ms":{choose:.2},"test_ms":{test:.2},"decide_ms":{decide:.2},"radii_ms":{radii:.2},"memory_mb":{peak},"certified":{share:.4}}}"#
        );
        return;
    }
    println!(
        "1024x2048 pixels, n0 = 10, n = 100: {all:.1} ms, {:.1} % certified",
        100.0 * share
    );
    println!("  classes of {CHOOSE} maps  {choose:6.1} ms");
    println!("  votes of {TEST} maps    {test:6.1} ms");
    println!("  Holm and class map  {decide:6.1} ms");
    println!("  radii at all tau    {radii:6.1} ms, besides");
    if let Some(mb) = peak {
        println!("  memory beyond the maps {mb:.1} MB");
    }
    println!(
        "tables of p for n = 100, 10^4, 10^6: {:.3}, {:.2}, {:.0} ms",
        tables[0], tables[1], tables[2]
    );
}
