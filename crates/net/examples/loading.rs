//! How fast pictures come from the disk into batches, with every augmentation on:
//! `cargo run --release -p certiseg-net --example loading DIR LAYOUT SPLIT SIDE [MILLISECONDS]`.
//!
//! Prints pictures per second of decoding alone (one thread), of a first epoch, whose pictures are decoded, and of later
//! ones; how many of the batches ahead waited when one was taken, with MILLISECONDS (0) spent on each; peak memory.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use certiseg_net::data::{Augment, Batches, Layout, LoadSettings, Pictures, list};
use certiseg_net::rng::Rng;

const BATCH: usize = 8;
const DEPTH: usize = 2;
const EPOCHS: u64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, layout, split, side, rest @ ..] = arguments.as_slice() else {
        return Err("expected DIR LAYOUT SPLIT SIDE [MILLISECONDS]".into());
    };
    let (dir, layout, side) = (Path::new(dir), layout.parse::<Layout>()?, side.parse()?);
    let step = rest.first().map_or(Ok(0), |text| text.parse())?;
    let entries = list(dir, layout, Some(split))?;
    let count = entries.len();
    let classes = layout.classes(dir)?.map_or(255, |classes| classes.count);
    let settings = LoadSettings::new(side, side, classes);

    // no room: every picture is read anew
    let some = entries.iter().step_by(count.div_ceil(100)).cloned();
    let none_kept = Pictures::new(some.collect(), settings.clone(), 0)?;
    let began = Instant::now();
    for i in 0..none_kept.len() {
        none_kept.get(i)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{count} pictures of {layout} at {side}x{side}, batches of {BATCH}, {DEPTH} ahead\n\
         decoding and resizing, one thread: {:.0} pictures/s",
        none_kept.len() as f64 / seconds
    );

    let augment = Augment {
        flip_horizontal: 0.5,
        flip_vertical: 0.5,
        rotation_degrees: 30.0,
        scale: [0.9, 1.2],
        crop_padding: 4,
        brightness: 0.2,
        contrast: 0.2,
        saturation: 0.2,
        hue: 0.1,
        noise: 0.25,
    };
    augment.check()?;
    let limit = Pictures::room([side, side], BATCH, DEPTH);
    let pictures = Arc::new(Pictures::new(entries, settings, limit)?);
    pictures.check([side, side])?;
    for epoch in 0..EPOCHS {
        let mut order: Vec<usize> = (0..count).collect();
        Rng::keyed(0, &[epoch]).shuffle(&mut order);
        let steps: Vec<_> = order.chunks(BATCH).map(|m| (epoch, m.to_vec())).collect();
        let taken = steps.len() as f64;
        let mut waiting = 0;
        let began = Instant::now();
        let mut batches = Batches::new(pictures.clone(), steps, augment.clone(), 0, DEPTH);
        while let Some(batch) = batches.next() {
            let batch = batch?;
            assert_eq!(batch.images.len(), batch.shape[0] * 3 * side * side);
            sleep(Duration::from_millis(step));
            waiting += batches.ready();
        }
        println!(
            "epoch {}: {:.0} pictures/s, {:.1} batches waiting, {} MB kept, peak memory {} MB",
            epoch + 1,
            count as f64 / began.elapsed().as_secs_f64(),
            waiting as f64 / taken,
            pictures.bytes() / 1_000_000,
            peak_memory().map_or("unknown".into(), |mb| format!("{mb:.0}"))
        );
    }
    Ok(())
}

/// Largest resident memory of this process so far, in MB of 10^6 bytes, where /proc tells.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}
