//! Operations other than convolutions on maps (C, H, W), in parallel over channels. Every result is
//! made by one task in one order: the number of threads changes no bit.

use rayon::prelude::*;

use certiseg_conv::SHARE;

use super::Number;
use super::plan::Shape;
use crate::node::{Pooling, ROOT};

/// Entries that are copied and worked on while they are in the first-level cache.
const PIECE: usize = 1 << 11;

/// Least number of tasks' parts of `length` entries.
fn at_least(length: usize) -> usize {
    SHARE.div_ceil(length.max(1))
}

/// A picture in another precision, normalised where there are a mean and a deviation per channel.
pub fn load<T: Number>(image: &[f32], normal: Option<&[Vec<T>; 2]>, pixels: usize, y: &mut [T]) {
    let channels = y
        .par_chunks_exact_mut(pixels)
        .zip(image.par_chunks_exact(pixels));
    channels.enumerate().for_each(|(c, (y, x))| match normal {
        None => y.iter_mut().zip(x).for_each(|(y, &x)| *y = T::from(x)),
        Some([mean, std]) => {
            let (mean, std) = (mean[c], std[c]);
            let pairs = y.iter_mut().zip(x);
            pairs.for_each(|(y, &x)| *y = (T::from(x) - mean) / std);
        }
    });
}

/// Calls `work` with pieces of every channel of `y`, copied from `x` before where there is one.
pub fn channels<T: Number>(
    pixels: usize,
    x: Option<&[T]>,
    y: &mut [T],
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    let least = at_least(pixels);
    let y = y
        .par_chunks_exact_mut(pixels)
        .enumerate()
        .with_min_len(least);
    match x {
        None => y.for_each(|(c, y)| work(c, y)),
        Some(x) => y.for_each(|(c, y)| {
            let x = &x[c * pixels..][..pixels];
            for (y, x) in y.chunks_mut(PIECE).zip(x.chunks(PIECE)) {
                y.copy_from_slice(x);
                work(c, y);
            }
        }),
    }
}

/// Calls `work` with the entries of `x` and `y` at the same place.
pub fn with<T: Number>(pixels: usize, x: &[T], y: &mut [T], work: impl Fn(T, &mut T) + Sync) {
    let y = y
        .par_chunks_exact_mut(pixels)
        .zip(x.par_chunks_exact(pixels));
    y.with_min_len(at_least(pixels))
        .for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, &x)| work(x, y)));
}

/// A mean: at most as many additions per entry as there are entries.
fn mean<T: Number>(values: &[T]) -> T {
    certiseg_conv::sum(values) / T::of(values.len() as f64)
}

/// (x − its mean) + shift.
pub fn center<T: Number>(pixels: usize, shift: &[T], x: Option<&[T]>, y: &mut [T]) {
    means(pixels, x, y, |c, mean, v| (v - mean) + shift[c]);
}

/// The mean, everywhere.
pub fn image_mean<T: Number>(pixels: usize, x: Option<&[T]>, y: &mut [T]) {
    means(pixels, x, y, |_, mean, _| mean);
}

/// The maximum times a factor, everywhere.
pub fn image_max<T: Number>(pixels: usize, factor: T, x: Option<&[T]>, y: &mut [T]) {
    let most = |values: &[T]| {
        values[1..]
            .iter()
            .fold(values[0], |most, &v| most.larger(v))
    };
    let y = y.par_chunks_exact_mut(pixels).enumerate();
    y.with_min_len(at_least(pixels)).for_each(|(c, y)| {
        let most = match x {
            None => most(y),
            Some(x) => most(&x[c * pixels..][..pixels]),
        };
        y.fill(most * factor);
    });
}

/// `work`(channel, mean of the channel, entry) for every entry.
fn means<T: Number>(
    pixels: usize,
    x: Option<&[T]>,
    y: &mut [T],
    work: impl Fn(usize, T, T) -> T + Sync,
) {
    let y = y.par_chunks_exact_mut(pixels).enumerate();
    y.with_min_len(at_least(pixels)).for_each(|(c, y)| match x {
        None => {
            let mean = mean(y);
            y.iter_mut().for_each(|v| *v = work(c, mean, *v));
        }
        Some(x) => {
            let x = &x[c * pixels..][..pixels];
            let mean = mean(x);
            let pairs = y.iter_mut().zip(x);
            pairs.for_each(|(y, &x)| *y = work(c, mean, x));
        }
    });
}

/// Calls `work` with the entries of channels c and c + C/2 at the same place.
fn halves<T: Number>(
    pixels: usize,
    x: Option<&[T]>,
    y: &mut [T],
    work: impl Fn(usize, T, T) -> (T, T) + Sync,
) {
    let half = y.len() / 2;
    let (a, b) = y.split_at_mut(half);
    let pairs = a
        .par_chunks_exact_mut(pixels)
        .zip(b.par_chunks_exact_mut(pixels));
    let pairs = pairs.enumerate().with_min_len(at_least(2 * pixels));
    pairs.for_each(|(c, (a, b))| match x {
        None => {
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = work(c, *a, *b);
            }
        }
        Some(x) => {
            let from = x[c * pixels..][..pixels].iter();
            let from = from.zip(&x[half + c * pixels..][..pixels]);
            for ((a, b), (&from_a, &from_b)) in a.iter_mut().zip(b).zip(from) {
                (*a, *b) = work(c, from_a, from_b);
            }
        }
    });
}

/// [max; min] of the halves of the channels.
pub fn max_min<T: Number>(pixels: usize, x: Option<&[T]>, y: &mut [T]) {
    halves(pixels, x, y, |_, a, b| (a.larger(b), a.smaller(b)));
}

/// x − 2·relu(n·x)·n on the pairs of channels.
pub fn householder<T: Number>(pixels: usize, normal: &[T], x: Option<&[T]>, y: &mut [T]) {
    let (n, m) = normal.split_at(normal.len() / 2);
    halves(pixels, x, y, |c, a, b| {
        let inside = (a * n[c] + b * m[c]).larger(T::ZERO);
        let twice = inside + inside;
        (a - twice * n[c], b - twice * m[c])
    });
}

/// Pairs (lower, upper) whose comparison in this order sorts `size` numbers: Batcher's merge
/// exchange (Knuth, The Art of Computer Programming 3, 5.2.2 M).
pub fn sorting_pairs(size: usize) -> Vec<[usize; 2]> {
    let mut pairs = Vec::new();
    let top = size.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut apart) = (top, 0, p);
        loop {
            let lower = (0..size.saturating_sub(apart)).filter(|i| i & p == r);
            pairs.extend(lower.map(|i| [i, i + apart]));
            if q == p {
                break;
            }
            (apart, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
    pairs
}

/// Groups of `size` neighbouring channels sorted upwards.
pub fn sort<T: Number>(
    pixels: usize,
    size: usize,
    pairs: &[[usize; 2]],
    x: Option<&[T]>,
    y: &mut [T],
) {
    let group = size * pixels;
    // a piece of every channel of a group stays in the cache
    let piece = (4 * PIECE / size).clamp(16, PIECE);
    let groups = y.par_chunks_exact_mut(group).enumerate();
    groups.with_min_len(at_least(group)).for_each(|(at, y)| {
        if let Some(x) = x {
            y.copy_from_slice(&x[at * group..][..group]);
        }
        for first in (0..pixels).step_by(piece) {
            let length = piece.min(pixels - first);
            for &[lower, upper] in pairs {
                let (a, b) = y.split_at_mut(upper * pixels);
                let a = &mut a[lower * pixels + first..][..length];
                let b = &mut b[first..][..length];
                for (a, b) in a.iter_mut().zip(b) {
                    (*a, *b) = (a.smaller(*b), a.larger(*b));
                }
            }
        }
    });
}

/// Calls `work` with every channel of `x` and the one of `y` made from it.
fn each<T: Number>(from: Shape, x: &[T], y: &mut [T], work: impl Fn(&[T], &mut [T]) + Sync) {
    let made = y.len() / from.channels;
    let y = y
        .par_chunks_exact_mut(made)
        .zip(x.par_chunks_exact(from.pixels()));
    y.with_min_len(at_least(made)).for_each(|(y, x)| work(x, y));
}

/// Circular padding.
pub fn wrap<T: Number>(padding: usize, from: Shape, x: &[T], y: &mut [T]) {
    let Shape { height, width, .. } = from;
    each(from, x, y, |x, y| {
        let rows = y.chunks_exact_mut(width + 2 * padding).enumerate();
        for (r, y) in rows {
            let x = &x[(r + height - padding) % height * width..][..width];
            let (left, y) = y.split_at_mut(padding);
            let (middle, right) = y.split_at_mut(width);
            left.copy_from_slice(&x[width - padding..]);
            middle.copy_from_slice(x);
            right.copy_from_slice(&x[..padding]);
        }
    });
}

/// Pooling; see [`Pooling`].
pub fn pool<T: Number>(
    kind: Pooling,
    size: usize,
    stride: usize,
    from: Shape,
    made: Shape,
    x: &[T],
    y: &mut [T],
) {
    let side = T::of(size as f64);
    each(from, x, y, |x, y| {
        for (r, y) in y.chunks_exact_mut(made.width).enumerate() {
            // entry by entry of the window, a row of windows at once
            for dy in 0..size {
                let x = &x[(r * stride + dy) * from.width..][..from.width];
                for dx in 0..size {
                    let pairs = y.iter_mut().zip(x[dx..].iter().step_by(stride));
                    let first = [dy, dx] == [0, 0];
                    match kind {
                        Pooling::Average if first => pairs.for_each(|(y, &x)| *y = x),
                        Pooling::Average => pairs.for_each(|(y, &x)| *y = *y + x),
                        Pooling::L2 if first => pairs.for_each(|(y, &x)| *y = x * x),
                        Pooling::L2 => pairs.for_each(|(y, &x)| *y = *y + x * x),
                        Pooling::Max if first => pairs.for_each(|(y, &x)| *y = x),
                        Pooling::Max => pairs.for_each(|(y, &x)| {
                            // a NaN stays, wherever it is
                            let ordered = (*y).partial_cmp(&x).is_some();
                            *y = if ordered { y.larger(x) } else { *y + x };
                        }),
                    }
                }
            }
            match kind {
                // the mean times the side of the window
                Pooling::Average => y.iter_mut().for_each(|y| *y = *y / side),
                Pooling::L2 => y.iter_mut().for_each(|y| *y = (*y + T::of(ROOT)).sqrt()),
                Pooling::Max => {}
            }
        }
    });
}

/// Each pixel a block, divided by the factor.
pub fn nearest<T: Number>(factor: usize, from: Shape, x: &[T], y: &mut [T]) {
    let by = T::of(factor as f64);
    let wide = from.width * factor;
    each(from, x, y, |x, y| {
        let rows = y.chunks_exact_mut(wide * factor);
        for (y, x) in rows.zip(x.chunks_exact(from.width)) {
            let (first, others) = y.split_at_mut(wide);
            for (block, &x) in first.chunks_exact_mut(factor).zip(x) {
                block.fill(x / by);
            }
            for other in others.chunks_exact_mut(wide) {
                other.copy_from_slice(first);
            }
        }
    });
}

/// Between two pixels of a side: their indices and weights.
pub(super) struct Between<T> {
    at: [usize; 2],
    weights: [T; 2],
}

/// For every pixel of an enlarged side, with half-pixel centres, clamped at the border.
pub fn between<T: Number>(side: usize, factor: usize) -> Vec<Between<T>> {
    let between = (0..side * factor).map(|at| {
        // in units of 1/(2·factor), exact
        let unit = 2 * factor;
        let place = (2 * at + 1).saturating_sub(factor).min(unit * (side - 1));
        let (below, rest) = (place / unit, place % unit);
        let share = |part: usize| T::of(part as f64 / unit as f64);
        Between {
            at: [below, (below + 1).min(side - 1)],
            weights: [share(unit - rest), share(rest)],
        }
    });
    between.collect()
}

/// Linear along both axes, divided by the factor.
pub fn bilinear<T: Number>(
    factor: usize,
    rows: &[Between<T>],
    columns: &[Between<T>],
    from: Shape,
    x: &[T],
    y: &mut [T],
) {
    let by = T::of(factor as f64);
    each(from, x, y, |x, y| {
        for (y, row) in y.chunks_exact_mut(columns.len()).zip(rows) {
            let [above, below] = row.at.map(|r| &x[r * from.width..][..from.width]);
            let [up, down] = row.weights;
            for (y, column) in y.iter_mut().zip(columns) {
                let [[a, b], [c, d]] = [above, below].map(|x| column.at.map(|at| x[at]));
                let [left, right] = column.weights;
                let [a, b] = [a * up + c * down, b * up + d * down];
                *y = (a * left + b * right) / by;
            }
        }
    });
}

/// Depth to space: channel c·f² + dy·f + dx goes to the place (dy, dx).
pub fn shuffle<T: Number>(factor: usize, from: Shape, x: &[T], y: &mut [T]) {
    let Shape { height, width, .. } = from;
    let block = factor * factor * from.pixels();
    let y = y.par_chunks_exact_mut(block).zip(x.par_chunks_exact(block));
    y.with_min_len(at_least(block)).for_each(|(y, x)| {
        for (r, y) in y.chunks_exact_mut(width * factor).enumerate() {
            let (row, dy) = (r / factor, r % factor);
            for dx in 0..factor {
                let x = &x[((dy * factor + dx) * height + row) * width..][..width];
                let places = y.iter_mut().skip(dx).step_by(factor);
                places.zip(x).for_each(|(y, &x)| *y = x);
            }
        }
    });
}

/// The inverse of [`shuffle`].
pub fn unshuffle<T: Number>(factor: usize, from: Shape, x: &[T], y: &mut [T]) {
    let Shape { height, width, .. } = from;
    let [low, narrow] = [height / factor, width / factor];
    each(from, x, y, |x, y| {
        for (plane, y) in y.chunks_exact_mut(low * narrow).enumerate() {
            let (dy, dx) = (plane / factor, plane % factor);
            for (r, y) in y.chunks_exact_mut(narrow).enumerate() {
                let x = x[(r * factor + dy) * width..][..width].iter();
                let places = x.skip(dx).step_by(factor);
                y.iter_mut().zip(places).for_each(|(y, &x)| *y = x);
            }
        }
    });
}
