//! The operations of a layer that are not sums over channels, on maps (B, channels, pixels).

use rayon::prelude::*;

use crate::simd::Element;

/// Entries of maps that are worth a task of their own.
pub const SHARE: usize = 1 << 14;

/// Task sizes, in parts of `length` entries.
fn at_least(length: usize) -> usize {
    SHARE.div_ceil(length.max(1))
}

/// [max(a, b); min(a, b)] of the two halves a, b of the channels.
///
/// # Panics
/// Where `x` is not whole maps of an even number of channels, or `y` has another length.
pub fn max_min<T: Element>(channels: usize, pixels: usize, x: &[T], y: &mut [T]) {
    let map = halves(channels, pixels, x.len());
    assert_eq!(x.len(), y.len(), "MaxMin keeps the size");
    let maps = y.par_chunks_exact_mut(map).zip(x.par_chunks_exact(map));
    maps.with_min_len(at_least(map)).for_each(|(y, x)| {
        let (a, b) = x.split_at(map / 2);
        let (large, small) = y.split_at_mut(map / 2);
        let made = large.par_chunks_mut(SHARE).zip(small.par_chunks_mut(SHARE));
        let read = a.par_chunks(SHARE).zip(b.par_chunks(SHARE));
        made.zip(read).for_each(|((large, small), (a, b))| {
            for ((large, small), (&a, &b)) in large.iter_mut().zip(small).zip(a.iter().zip(b)) {
                (*large, *small) = (a.larger(b), a.smaller(b));
            }
        });
    });
}

/// Gradient in `x` of [`max_min`], from that in its result; of equals the first counts as smaller.
///
/// # Panics
/// As [`max_min`].
pub fn max_min_backward<T: Element>(channels: usize, pixels: usize, x: &[T], gradient: &mut [T]) {
    let map = halves(channels, pixels, x.len());
    assert_eq!(x.len(), gradient.len(), "MaxMin keeps the size");
    let maps = gradient
        .par_chunks_exact_mut(map)
        .zip(x.par_chunks_exact(map));
    maps.with_min_len(at_least(map)).for_each(|(gradient, x)| {
        let (a, b) = x.split_at(map / 2);
        let (first, second) = gradient.split_at_mut(map / 2);
        let made = first
            .par_chunks_mut(SHARE)
            .zip(second.par_chunks_mut(SHARE));
        let read = a.par_chunks(SHARE).zip(b.par_chunks(SHARE));
        made.zip(read).for_each(|((first, second), (a, b))| {
            for ((g, h), (a, b)) in first.iter_mut().zip(second).zip(a.iter().zip(b)) {
                // two choices of numbers, not one of places: the compiler makes vectors of them
                let (first, second, stays) = (*g, *h, a > b);
                *g = if stays { first } else { second };
                *h = if stays { second } else { first };
            }
        });
    });
}

fn halves(channels: usize, pixels: usize, length: usize) -> usize {
    let map = channels * pixels;
    assert!(
        channels.is_multiple_of(2) && map > 0 && length.is_multiple_of(map),
        "MaxMin of {length} entries in maps of {channels} x {pixels}"
    );
    map
}

/// The sum of every channel over maps and pixels, in an order that follows from the sizes alone.
///
/// # Panics
/// Where `x` is not whole maps.
pub fn channel_sums<T: Element>(channels: usize, pixels: usize, x: &[T]) -> Vec<T> {
    let map = channels * pixels;
    assert!(
        map > 0 && x.len().is_multiple_of(map),
        "{} entries in maps of {map}",
        x.len()
    );
    let sums = (0..channels)
        .into_par_iter()
        .with_min_len(at_least(x.len() / channels));
    let sums = sums.map(|channel| {
        let rows = x
            .chunks_exact(map)
            .map(|map| sum(&map[channel * pixels..][..pixels]));
        rows.fold(T::ZERO, |total, row| total + row)
    });
    sums.collect()
}

/// A sum over 16 interleaved partial sums: quick, and its error grows with a sixteenth of the length.
pub fn sum<T: Element>(values: &[T]) -> T {
    const PARTS: usize = 16;
    let mut parts = [T::ZERO; PARTS];
    let mut chunks = values.chunks_exact(PARTS);
    for chunk in &mut chunks {
        for (part, &value) in parts.iter_mut().zip(chunk) {
            *part = *part + value;
        }
    }
    let parts = parts.iter().chain(chunks.remainder());
    parts.fold(T::ZERO, |total, &part| total + part)
}

/// Adds one value per channel.
///
/// # Panics
/// Where `x` is not whole maps of as many channels as there are values.
pub fn add_channels<T: Element>(values: &[T], pixels: usize, x: &mut [T]) {
    let map = values.len() * pixels;
    assert!(
        map > 0 && x.len().is_multiple_of(map),
        "{} entries in maps of {map}",
        x.len()
    );
    let rows = x.par_chunks_exact_mut(pixels).enumerate();
    rows.with_min_len(at_least(pixels)).for_each(|(row, x)| {
        let value = values[row % values.len()];
        x.iter_mut().for_each(|x| *x = *x + value);
    });
}
