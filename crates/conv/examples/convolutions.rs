//! GFLOP/s of single convolutions as a training calls them: forward, input gradient and weight
//! gradient, medians, the kernel arranged and the result allocated in each call; and the time of the
//! arranging alone. `cargo run --release -p certiseg-conv --example convolutions [WORD]`

use std::time::Instant;

use certiseg_conv::{After, Conv, Direction, Packed, Wrap, weight_gradient};

/// Name, batch, channels in and out, kernel, stride, dilation, side of the fine map.
const CASES: &[(&str, [usize; 7])] = &[
    ("32->32 at 256", [1, 32, 32, 3, 1, 1, 256]),
    ("32->32 at 64, b8", [8, 32, 32, 3, 1, 1, 64]),
    ("64->64 at 32, b8", [8, 64, 64, 3, 1, 1, 32]),
    ("128->128 at 16, b8", [8, 128, 128, 3, 1, 1, 16]),
    ("128->128 at 8, b8", [8, 128, 128, 3, 1, 1, 8]),
    ("128->128 at 64", [1, 128, 128, 3, 1, 1, 64]),
    ("128->128 at 64, dilation 4", [1, 128, 128, 3, 1, 4, 64]),
    ("128->128 at 16, dilation 6, b8", [8, 128, 128, 3, 1, 6, 16]),
    ("512->512 at 32", [1, 512, 512, 3, 1, 1, 32]),
    ("32->64 stride 2 at 128, b8", [8, 32, 64, 3, 2, 1, 128]),
    ("3->32 stride 2 at 128, b8", [8, 3, 32, 3, 2, 1, 128]),
    ("1x1 256->256 at 128", [1, 256, 256, 1, 1, 1, 128]),
    ("1x1 16->2 at 256", [1, 16, 2, 1, 1, 1, 256]),
    ("transposed 2x2 64->32 at 32, b8", [8, 32, 64, 2, 2, 1, 64]),
    ("transposed 2x2 32->16 at 128", [1, 16, 32, 2, 2, 1, 256]),
];

fn main() {
    let word = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:<34}{:>9}{:>9}{:>9}{:>12}",
        "GFLOP/s", "forward", "dx", "dw", "pack, us"
    );
    for &(name, [batch, input, out, kernel, stride, dilation, side]) in CASES {
        if !name.contains(&word) {
            continue;
        }
        // an odd kernel keeps the size; the transposed ones are the adjoints of 2x2 at stride 2
        let conv = Conv {
            input,
            out,
            kernel,
            stride,
            dilation,
            groups: 1,
            padding: dilation * (kernel / 2) * (kernel % 2),
            wrap: Wrap::Zeros,
        };
        let maps = conv.maps(batch, [side; 2]);
        let numbers = |length: usize| -> Vec<f32> {
            (0..length)
                .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
                .collect()
        };
        let fine = numbers(batch * input * maps.fine_pixels());
        let coarse = numbers(batch * out * maps.coarse_pixels());
        let weights = numbers(out * input * kernel * kernel);
        let flops = 2.0 * (weights.len() * batch * maps.coarse_pixels()) as f64;
        let apply = |direction, x: &[f32], length: usize| {
            let mut y = vec![0.0; length];
            Packed::new(&conv, direction, &weights).apply(&maps, x, &After::default(), &mut y);
            y
        };
        let forward = median(|| drop(apply(Direction::Plain, &fine, coarse.len())));
        let back = median(|| drop(apply(Direction::Adjoint, &coarse, fine.len())));
        let gradient = median(|| drop(weight_gradient(&conv, &maps, &fine, &coarse)));
        let pack = median(|| drop(Packed::new(&conv, Direction::Plain, &weights)));
        let [forward, back, gradient] = [forward, back, gradient].map(|s| flops / s / 1e9);
        let (forward, back) = match name.starts_with("transposed") {
            true => (back, forward),
            false => (forward, back),
        };
        println!(
            "{name:<34}{forward:>9.0}{back:>9.0}{gradient:>9.0}{:>12.0}",
            pack * 1e6
        );
    }
}

/// Median seconds of a call, over a quarter of a second on a thread of the pool; the first two only
/// warm up.
fn median(mut call: impl FnMut() + Send) -> f64 {
    rayon::scope(|_| {
        call();
        call();
        let all = Instant::now();
        let mut seconds = Vec::new();
        while all.elapsed().as_secs_f64() < 0.25 {
            let began = Instant::now();
            call();
            seconds.push(began.elapsed().as_secs_f64());
        }
        seconds.sort_unstable_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    })
}
