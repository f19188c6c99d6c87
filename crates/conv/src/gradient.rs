//! The gradient in the kernel: outer products of the channels of pixels that meet at a tap.
//!
//! One of the maps is transposed to blocks of channels, so that a vector holds channels of one
//! pixel; a register tile holds some channels of the other map by some such vectors, and pairs of
//! pixels are added to it one after the other. Rows of the coarse maps are divided into segments
//! that follow from the sizes alone; their parts are added in order, so that threads change no bit.

use std::ops::Range;

use rayon::prelude::*;

use crate::scratch;
use crate::shape::{Conv, Direction, Maps, Tap, Wrap, phases};
use crate::simd::{Element, Isa, Job, Simd};

/// Most segments, and the fewest pixels of one.
const SEGMENTS: usize = 8;
const PIXELS: usize = 128;
/// Most entries of the parts of all segments together: they should stay in a cache.
const PARTS: usize = 1 << 19;
/// Tasks that the work is divided into, by segments and then by channels.
const TASKS: usize = 8;
/// Pixels whose channels are multiplied at once: they stay in the second-level cache.
const CHUNK: usize = 256;

/// Rows of coarse maps whose products are summed in one chain, as (map, rows).
pub(crate) fn segments(conv: &Conv, maps: &Maps) -> Vec<Vec<(usize, Range<usize>)>> {
    let height = maps.coarse[0];
    let rows = maps.batch * height;
    let wanted = (rows * maps.coarse[1] / PIXELS).clamp(1, SEGMENTS);
    let count = wanted.min((PARTS / conv.weights()).max(1)).min(rows);
    let segment = |at: usize| {
        let (mut row, end) = (at * rows / count, (at + 1) * rows / count);
        let mut parts = Vec::new();
        while row < end {
            let (map, first) = (row / height, row % height);
            let last = height.min(first + end - row);
            parts.push((map, first..last));
            row += last - first;
        }
        parts
    };
    (0..count).map(segment).collect()
}

/// Gradient [out, input/groups, k, k] of a loss in the kernel, from the fine maps (B, input, H, W)
/// and the coarse maps (B, out, H', W'): one of them what the layer read, the other the gradient in
/// what it made.
///
/// # Panics
/// Where a length or size does not belong to the geometry.
pub fn weight_gradient<T: Element>(conv: &Conv, maps: &Maps, fine: &[T], coarse: &[T]) -> Vec<T> {
    on(Isa::best(), conv, maps, fine, coarse)
}

pub(crate) fn on<T: Element>(
    isa: Isa,
    conv: &Conv,
    maps: &Maps,
    fine: &[T],
    coarse: &[T],
) -> Vec<T> {
    conv.check(maps);
    let [in_group, out_group] = [conv.input, conv.out].map(|c| c / conv.groups);
    let [fine_pixels, coarse_pixels] = [maps.fine_pixels(), maps.coarse_pixels()];
    assert_eq!(
        fine.len(),
        maps.batch * conv.input * fine_pixels,
        "{conv:?} on {maps:?}"
    );
    assert_eq!(
        coarse.len(),
        maps.batch * conv.out * coarse_pixels,
        "{conv:?} on {maps:?}"
    );
    let [lanes, rows, most] = isa.tile::<T>();
    // vectors run over the channels that fill them
    let fine_in_vectors = in_group >= lanes || in_group >= out_group;
    let (across, down) = match fine_in_vectors {
        true => (in_group, out_group),
        false => (out_group, in_group),
    };
    let needed = across.div_ceil(lanes);
    // the fewest idle vectors, then the widest tile
    let vectors = (1..=most)
        .rev()
        .min_by_key(|v| needed.div_ceil(*v) * v)
        .unwrap_or(1);
    let width = vectors * lanes;
    let blocks = across.div_ceil(width);
    let (in_vectors, in_rows, pixels) = match fine_in_vectors {
        true => (fine, coarse, fine_pixels),
        false => (coarse, fine, coarse_pixels),
    };
    let segments = segments(conv, maps);
    if segments.is_empty() {
        return vec![T::ZERO; conv.weights()];
    }
    let panels = down.div_ceil(rows);
    let per_task = panels.div_ceil(TASKS.div_ceil(segments.len()));
    let shares = panels.div_ceil(per_task);
    let per_tap = blocks * per_task * rows * width;
    let taps = phases(conv, Direction::Plain).swap_remove(0).taps;
    let entries = maps.batch * conv.groups * blocks * pixels * width;
    let parts: Vec<Vec<T>> = scratch::with(entries, |transposed| {
        let block = transposed.par_chunks_exact_mut(pixels * width).enumerate();
        block.for_each(|(at, target)| {
            let (group, block) = (at / blocks, at % blocks);
            let channels = group * across + block * width..(group + 1) * across;
            let job = Transpose {
                source: &in_vectors[channels.start * pixels..channels.end * pixels],
                pixels,
                width,
                target,
            };
            // SAFETY: the instructions are among those found on this processor
            unsafe {
                isa.run(job);
            }
        });
        let outer = Outer {
            conv,
            maps,
            taps: &taps,
            in_rows,
            in_vectors: transposed,
            fine_in_vectors,
            vectors,
            blocks,
            down,
        };
        let tasks = (0..conv.groups * shares * segments.len()).into_par_iter();
        let parts = tasks.map(|task| {
            let (share, segment) = (task / segments.len(), task % segments.len());
            let mut part = vec![T::ZERO; taps.len() * per_tap];
            let first = share % shares * per_task;
            let job = Segment {
                outer: &outer,
                group: share / shares,
                panels: first..panels.min(first + per_task),
                segment: &segments[segment],
                part: &mut part,
                per_tap,
            };
            // SAFETY: the instructions are among those found on this processor
            unsafe {
                isa.run(job);
            }
            part
        });
        parts.collect()
    });

    let mut gradient = vec![T::ZERO; conv.weights()];
    let kernels = gradient
        .par_chunks_exact_mut(in_group * taps.len())
        .enumerate();
    kernels.with_min_len(4).for_each(|(o, kernel)| {
        let (group, o) = (o / out_group, o % out_group);
        for (i, kernel) in kernel.chunks_exact_mut(taps.len()).enumerate() {
            let (across, down) = if fine_in_vectors { (i, o) } else { (o, i) };
            let (share, row) = (down / (per_task * rows), down % (per_task * rows));
            let parts = &parts[(group * shares + share) * segments.len()..][..segments.len()];
            let (block, lane) = (across / width, across % width);
            let at = (block * per_task * rows + row) * width + lane;
            for (tap, sum) in kernel.iter_mut().enumerate() {
                for part in parts {
                    *sum = *sum + part[tap * per_tap + at];
                }
            }
        }
    });
    gradient
}

/// Channels (at most `width`, pixels) to (pixels, `width`); what has no channel stays as it is.
struct Transpose<'a, T> {
    source: &'a [T],
    pixels: usize,
    width: usize,
    target: &'a mut [T],
}

impl<T: Element> Job<T> for Transpose<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd<Element = T>>(self) {
        /// Side of the squares that are turned in registers.
        const SIDE: usize = 8;
        let channels = (self.source.len() / self.pixels).min(self.width);
        for channel in (0..channels).step_by(SIDE) {
            let rows = SIDE.min(channels - channel);
            let source = &self.source[channel * self.pixels..][..rows * self.pixels];
            for first in (0..self.pixels).step_by(SIDE) {
                let columns = SIDE.min(self.pixels - first);
                if [rows, columns] == [SIDE; 2] {
                    let mut square = [[T::ZERO; SIDE]; SIDE];
                    for (row, values) in square.iter_mut().zip(source.chunks_exact(self.pixels)) {
                        row.copy_from_slice(&values[first..first + SIDE]);
                    }
                    for column in 0..SIDE {
                        let target = &mut self.target[(first + column) * self.width + channel..];
                        for (target, row) in target[..SIDE].iter_mut().zip(&square) {
                            *target = row[column];
                        }
                    }
                    continue;
                }
                for (c, values) in source.chunks_exact(self.pixels).enumerate() {
                    for (pixel, &value) in (first..).zip(&values[first..first + columns]) {
                        self.target[pixel * self.width + channel + c] = value;
                    }
                }
            }
        }
    }
}

/// What all segments share.
struct Outer<'a, T> {
    conv: &'a Conv,
    maps: &'a Maps,
    taps: &'a [Tap],
    /// (map, channel, pixel).
    in_rows: &'a [T],
    /// (map, group, block, pixel, channel of the block).
    in_vectors: &'a [T],
    fine_in_vectors: bool,
    vectors: usize,
    /// Of the map in vectors, in a group.
    blocks: usize,
    /// Channels of the map in rows, in a group.
    down: usize,
}

/// Some rows of the gradient, summed over a segment.
struct Segment<'a, T> {
    outer: &'a Outer<'a, T>,
    group: usize,
    panels: Range<usize>,
    segment: &'a [(usize, Range<usize>)],
    /// (tap, block, row, channel of the block).
    part: &'a mut [T],
    per_tap: usize,
}

impl<T: Element> Job<T> for Segment<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd<Element = T>>(self) {
        let Outer {
            conv,
            maps,
            vectors,
            blocks,
            down,
            ..
        } = *self.outer;
        let width = vectors * S::LANES;
        let [_, columns] = maps.coarse;
        let (row_pixels, vector_pixels) = match self.outer.fine_in_vectors {
            true => (maps.coarse_pixels(), maps.fine_pixels()),
            false => (maps.fine_pixels(), maps.coarse_pixels()),
        };
        let mut pairs = Vec::with_capacity(CHUNK);
        for (map, rows) in self.segment {
            let index = map * conv.groups + self.group;
            let in_rows = &self.outer.in_rows[index * down * row_pixels..][..down * row_pixels];
            let pixels = rows.start * columns..rows.end * columns;
            for first in pixels.clone().step_by(CHUNK) {
                let chunk = first..pixels.end.min(first + CHUNK);
                let parts = self.part.chunks_exact_mut(self.per_tap);
                for (tap, part) in self.outer.taps.iter().zip(parts) {
                    self.outer.pairs(tap, chunk.clone(), &mut pairs);
                    if pairs.is_empty() {
                        continue;
                    }
                    for (block, part) in part.chunks_exact_mut(self.per_tap / blocks).enumerate() {
                        let b = (index * blocks + block) * vector_pixels * width;
                        let b = &self.outer.in_vectors[b..][..vector_pixels * width];
                        let tiles = part.chunks_exact_mut(S::ROWS * width);
                        for (panel, c) in self.panels.clone().zip(tiles) {
                            let first = panel * S::ROWS;
                            let a = &in_rows[first * row_pixels..];
                            let rows = S::ROWS.min(down - first);
                            // SAFETY: pairs are pixels of both maps; a holds `rows` channels of
                            // row_pixels, c has ROWS · width entries
                            unsafe {
                                let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                                add::<S>(vectors, &pairs, a, rows, row_pixels, b, c);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl<T: Element> Outer<'_, T> {
    /// Pixels of both maps that meet at a tap, (in rows, in vectors), for coarse pixels.
    #[inline(always)]
    fn pairs(&self, tap: &Tap, pixels: Range<usize>, pairs: &mut Vec<[u32; 2]>) {
        pairs.clear();
        let stride = self.conv.stride as isize;
        let [height, width] = self.maps.fine.map(|side| side as isize);
        let offset = [0, 1].map(|axis| tap.shift[axis] * stride + tap.plane[axis] as isize);
        let circular = self.conv.wrap == Wrap::Circular;
        let columns = self.maps.coarse[1];
        let [mut r, mut c] = [pixels.start / columns, pixels.start % columns];
        for coarse in pixels {
            let mut row = r as isize * stride + offset[0];
            let mut column = c as isize * stride + offset[1];
            if circular {
                row = row.rem_euclid(height);
                column = column.rem_euclid(width);
            }
            if (0..height).contains(&row) && (0..width).contains(&column) {
                let fine = (row * width + column) as u32;
                pairs.push(match self.fine_in_vectors {
                    true => [coarse as u32, fine],
                    false => [fine, coarse as u32],
                });
            }
            c += 1;
            if c == columns {
                (r, c) = (r + 1, 0);
            }
        }
    }
}

/// [`add_outer`] with R = ROWS and V = `vectors`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn add<S: Simd>(
    vectors: usize,
    pairs: &[[u32; 2]],
    a: *const S::Element,
    rows: usize,
    pixels: usize,
    b: *const S::Element,
    c: *mut S::Element,
) {
    // SAFETY: as of the caller
    unsafe {
        match (S::ROWS, vectors) {
            (8, 1) => add_outer::<S, 8, 1>(pairs, a, rows, pixels, b, c),
            (8, 2) => add_outer::<S, 8, 2>(pairs, a, rows, pixels, b, c),
            (8, _) => add_outer::<S, 8, 3>(pairs, a, rows, pixels, b, c),
            (6, 1) => add_outer::<S, 6, 1>(pairs, a, rows, pixels, b, c),
            (6, _) => add_outer::<S, 6, 2>(pairs, a, rows, pixels, b, c),
            (_, 1) => add_outer::<S, 4, 1>(pairs, a, rows, pixels, b, c),
            _ => add_outer::<S, 4, 2>(pairs, a, rows, pixels, b, c),
        }
    }
}

/// c (R, V vectors) += Σ over pairs (p, q) of a[rows, p] ⊗ b[q, V vectors], one chain per entry;
/// `a` holds `rows` channels of `pixels`, rows of c beyond them are of no use.
///
/// # Safety
/// The processor must have the instructions; pairs must be pixels of `a` and `b`.
#[inline(always)]
unsafe fn add_outer<S: Simd, const R: usize, const V: usize>(
    pairs: &[[u32; 2]],
    a: *const S::Element,
    rows: usize,
    pixels: usize,
    b: *const S::Element,
    c: *mut S::Element,
) {
    // SAFETY: as of the caller
    unsafe {
        let channels: [_; R] = std::array::from_fn(|r| a.add(r.min(rows - 1) * pixels));
        let mut sums = [[S::splat(S::Element::ZERO); V]; R];
        for (r, row) in sums.iter_mut().enumerate() {
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = S::load(c.add((r * V + v) * S::LANES));
            }
        }
        for &[p, q] in pairs {
            let b = b.add(q as usize * V * S::LANES);
            let mut values = [S::splat(S::Element::ZERO); V];
            for (v, value) in values.iter_mut().enumerate() {
                *value = S::load(b.add(v * S::LANES));
            }
            for (row, channel) in sums.iter_mut().zip(channels) {
                let left = S::splat(*channel.add(p as usize));
                for (sum, value) in row.iter_mut().zip(values) {
                    *sum = left.fma(value, *sum);
                }
            }
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                sum.store(c.add((r * V + v) * S::LANES));
            }
        }
    }
}
