//! The gradient in the kernel: outer products of the channels of pixels that meet at a tap.
//!
//! Both maps are transposed to channels-last blocks first; then a register tile holds some rows of
//! one map's channels by some vectors of the other's, and pairs of pixels are added to it one after
//! the other. Rows of the coarse maps are divided into segments that follow from the sizes alone;
//! their parts are added in order, so that threads change no bit.

use std::ops::Range;

use rayon::prelude::*;

use crate::shape::{Conv, Direction, Maps, Tap, Wrap, phases};
use crate::simd::{Element, Isa, Job, Simd};

/// Most segments, and the fewest pixels of one.
const SEGMENTS: usize = 8;
const PIXELS: usize = 128;
/// Most entries of the parts of all segments together.
const PARTS: usize = 1 << 24;
/// Pixels whose channels are multiplied at once: they stay in the second-level cache.
const CHUNK: usize = 256;

/// Rows of coarse maps whose products are summed in one chain, as (map, rows).
pub(crate) fn segments(conv: &Conv, maps: &Maps) -> Vec<Vec<(usize, Range<usize>)>> {
    let height = maps.coarse[0];
    let rows = maps.batch * height;
    let wanted = (rows * maps.coarse[1] / PIXELS).clamp(1, SEGMENTS);
    let count = wanted.min((PARTS / conv.weights()).max(2)).min(rows);
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
    let (fine_block, coarse_block) = match fine_in_vectors {
        true => (width, rows),
        false => (rows, width),
    };
    let fine = Blocks::new(fine, fine_pixels, in_group, fine_block);
    let coarse = Blocks::new(coarse, coarse_pixels, out_group, coarse_block);
    let taps = phases(conv, Direction::Plain).swap_remove(0).taps;
    let shape = Outer {
        conv,
        maps,
        taps: &taps,
        fine: &fine,
        coarse: &coarse,
        fine_in_vectors,
        vectors,
        panels: down.div_ceil(rows),
        blocks: across.div_ceil(width),
    };
    let per_tap = shape.blocks * width * shape.panels * rows;

    let segments = segments(conv, maps);
    let tasks: Vec<_> = (0..conv.groups)
        .flat_map(|group| segments.iter().map(move |segment| (group, segment)))
        .collect();
    let parts: Vec<Vec<T>> = tasks
        .into_par_iter()
        .map(|(group, segment)| {
            let mut part = vec![T::ZERO; taps.len() * per_tap];
            let job = Segment {
                outer: &shape,
                group,
                segment,
                part: &mut part,
            };
            // SAFETY: the instructions are among those found on this processor
            unsafe {
                isa.run(job);
            }
            part
        })
        .collect();

    let mut gradient = vec![T::ZERO; conv.weights()];
    let kernels = gradient
        .par_chunks_exact_mut(in_group * taps.len())
        .enumerate();
    kernels.with_min_len(4).for_each(|(o, kernel)| {
        let (group, o) = (o / out_group, o % out_group);
        let parts = &parts[group * segments.len()..][..segments.len()];
        for (i, kernel) in kernel.chunks_exact_mut(taps.len()).enumerate() {
            let (across, down) = if fine_in_vectors { (i, o) } else { (o, i) };
            let (block, lane) = (across / width, across % width);
            let at = (block * shape.panels * rows + down) * width + lane;
            for (tap, sum) in kernel.iter_mut().enumerate() {
                for part in parts {
                    *sum = *sum + part[tap * per_tap + at];
                }
            }
        }
    });
    gradient
}

/// Maps as (map, group, block of channels, pixel, channel of the block), filled up with zeros.
struct Blocks<T> {
    values: Vec<T>,
    /// Entries of one group of one map.
    group: usize,
}

impl<T: Element> Blocks<T> {
    fn new(maps: &[T], pixels: usize, channels: usize, width: usize) -> Self {
        /// Pixels transposed at once: a few lines of every channel of a block.
        const SPAN: usize = 64;
        let blocks = channels.div_ceil(width);
        let group = blocks * pixels * width;
        let mut values = vec![T::ZERO; maps.len() / (channels * pixels) * group];
        let groups = values.par_chunks_exact_mut(group);
        groups
            .zip(maps.par_chunks_exact(channels * pixels))
            .for_each(|(target, map)| {
                let targets = target.chunks_exact_mut(pixels * width);
                for (target, map) in targets.zip(map.chunks(width * pixels)) {
                    let spans = target.chunks_mut(SPAN * width).zip((0..).step_by(SPAN));
                    for (target, first) in spans {
                        let count = target.len() / width;
                        for (c, channel) in map.chunks_exact(pixels).enumerate() {
                            let values = &channel[first..first + count];
                            for (pixel, &value) in target.chunks_exact_mut(width).zip(values) {
                                pixel[c] = value;
                            }
                        }
                    }
                }
            });
        Self { values, group }
    }

    /// The blocks of a group of a map.
    fn of(&self, index: usize) -> &[T] {
        &self.values[index * self.group..][..self.group]
    }
}

/// What all segments share.
struct Outer<'a, T> {
    conv: &'a Conv,
    maps: &'a Maps,
    taps: &'a [Tap],
    fine: &'a Blocks<T>,
    coarse: &'a Blocks<T>,
    fine_in_vectors: bool,
    vectors: usize,
    /// Blocks of the channels in rows, and in vectors.
    panels: usize,
    blocks: usize,
}

struct Segment<'a, T> {
    outer: &'a Outer<'a, T>,
    group: usize,
    segment: &'a [(usize, Range<usize>)],
    /// (tap, block, row, lane).
    part: &'a mut [T],
}

impl<T: Element> Job<T> for Segment<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd<Element = T>>(self) {
        let Outer {
            conv,
            maps,
            vectors,
            panels,
            blocks,
            ..
        } = *self.outer;
        let width = vectors * S::LANES;
        let [_, columns] = maps.coarse;
        let per_block = panels * S::ROWS * width;
        let mut pairs = Vec::with_capacity(CHUNK);
        for (map, rows) in self.segment {
            let index = map * conv.groups + self.group;
            let [fine, coarse] = [self.outer.fine.of(index), self.outer.coarse.of(index)];
            let (in_rows, in_vectors, row_pixels, vector_pixels) = match self.outer.fine_in_vectors
            {
                true => (coarse, fine, maps.coarse_pixels(), maps.fine_pixels()),
                false => (fine, coarse, maps.fine_pixels(), maps.coarse_pixels()),
            };
            let pixels = rows.start * columns..rows.end * columns;
            for first in pixels.clone().step_by(CHUNK) {
                let chunk = first..pixels.end.min(first + CHUNK);
                for (tap, part) in self
                    .outer
                    .taps
                    .iter()
                    .zip(self.part.chunks_exact_mut(blocks * per_block))
                {
                    self.outer.pairs(tap, chunk.clone(), &mut pairs);
                    if pairs.is_empty() {
                        continue;
                    }
                    for (block, part) in part.chunks_exact_mut(per_block).enumerate() {
                        let b =
                            &in_vectors[block * vector_pixels * width..][..vector_pixels * width];
                        let tiles = part.chunks_exact_mut(S::ROWS * width);
                        for (a, c) in in_rows.chunks_exact(row_pixels * S::ROWS).zip(tiles) {
                            // SAFETY: pairs are pixels of both maps, tiles have ROWS · width entries
                            unsafe {
                                let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                                match (S::ROWS, vectors) {
                                    (8, 1) => add_outer::<S, 8, 1>(&pairs, a, b, c),
                                    (8, 2) => add_outer::<S, 8, 2>(&pairs, a, b, c),
                                    (8, _) => add_outer::<S, 8, 3>(&pairs, a, b, c),
                                    (_, 1) => add_outer::<S, 4, 1>(&pairs, a, b, c),
                                    (_, 2) => add_outer::<S, 4, 2>(&pairs, a, b, c),
                                    _ => add_outer::<S, 4, 3>(&pairs, a, b, c),
                                }
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

/// c (R, V vectors) += Σ over pairs (p, q) of a[p, R] ⊗ b[q, V vectors], one chain per entry.
///
/// # Safety
/// The processor must have the instructions; pairs must be rows of `a` and `b`.
#[inline(always)]
unsafe fn add_outer<S: Simd, const R: usize, const V: usize>(
    pairs: &[[u32; 2]],
    a: *const S::Element,
    b: *const S::Element,
    c: *mut S::Element,
) {
    // SAFETY: as of the caller
    unsafe {
        let mut sums = [[S::splat(S::Element::ZERO); V]; R];
        for (r, row) in sums.iter_mut().enumerate() {
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = S::load(c.add((r * V + v) * S::LANES));
            }
        }
        for &[p, q] in pairs {
            let a = a.add(p as usize * R);
            let b = b.add(q as usize * V * S::LANES);
            let mut values = [S::splat(S::Element::ZERO); V];
            for (v, value) in values.iter_mut().enumerate() {
                *value = S::load(b.add(v * S::LANES));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let left = S::splat(*a.add(r));
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
