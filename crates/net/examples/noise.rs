//! How long the noise of one sample takes, 1024x2048 pixels of three channels, one thread:
//! `cargo run --release -p certiseg-net --example noise`.

use std::time::Instant;

use certiseg_cert::smoothing::Law;
use certiseg_net::smooth::{Arithmetic, Noise, Philox, Stream, canary};

const SIZE: [usize; 2] = [1024, 2048];
const REPEATS: usize = 15;

fn main() -> certiseg_net::Result<()> {
    let values = 3 * SIZE[0] * SIZE[1];
    let picture: Vec<u8> = (0..values).map(|i| (i * 37 % 256) as u8).collect();
    let mut noisy = vec![0.0; values];
    println!(
        "{}x{}x3, milliseconds, median and least of {REPEATS}: of the processor, by the clock",
        SIZE[0], SIZE[1]
    );
    let mut numbers = vec![0; 768];
    let bits = Philox::new(1, Stream::Certification, 2, 3);
    report("random bits alone", || {
        for first in (0..values / 2).step_by(384) {
            bits.fill(first, &mut numbers);
        }
    });
    for law in [
        Law::Gaussian { sigma: 0.25 },
        Law::Laplace { scale: 0.1 },
        Law::Uniform { width: 0.5 },
    ] {
        for arithmetic in [Arithmetic::Grid, Arithmetic::Float] {
            let noise = Noise::new(law, arithmetic)?;
            let name = format!("{law}, {}", format!("{arithmetic:?}").to_lowercase());
            report(&name, || noise.add(&bits, &picture, &mut noisy));
        }
    }
    let noise = Noise::new(Law::Gaussian { sigma: 0.25 }, Arithmetic::Grid)?;
    noise.add(&bits, &picture, &mut noisy);
    let moments = noise.moments();
    report("canary: moments and hash", || {
        canary::judge(&moments, 0, &picture, &noisy).expect("true noise");
        assert_ne!(canary::hash(&noisy), 0);
    });
    Ok(())
}

fn report(name: &str, mut work: impl FnMut()) {
    let (mut walls, mut processor): (Vec<f64>, Vec<f64>) = (0..REPEATS)
        .map(|_| {
            let (began, used) = (Instant::now(), processor_time());
            work();
            (1e3 * began.elapsed().as_secs_f64(), processor_time() - used)
        })
        .unzip();
    walls.sort_by(f64::total_cmp);
    processor.sort_by(f64::total_cmp);
    let [of, all] = [processor, walls].map(|times| (times[REPEATS / 2], times[0]));
    println!(
        "{name:40} {:7.1} {:7.1} {:7.1} {:7.1}",
        of.0, of.1, all.0, all.1
    );
}

/// Milliseconds that this thread, the first, has run; NaN where the system does not say.
fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
    nanoseconds.map_or(f64::NAN, |time: f64| time / 1e6)
}
