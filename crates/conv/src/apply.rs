//! Applying a kernel: tiles of unfolded pixels times panels of the kernel.

use rayon::prelude::*;

use crate::packed::{Activation, After, Packed, PackedPhase, channel_blocks};
use crate::scratch;
use crate::shape::{Direction, Maps, Tap, Wrap};
#[cfg(test)]
use crate::simd::Isa;
use crate::simd::{Element, Job, Simd};

/// Tasks that one call is divided into, where there are tiles enough.
const TASKS: usize = 64;

impl<T: Element> Packed<T> {
    /// The maps of the other side, from `x`: (B, out, H', W') from (B, input, H, W) for
    /// [`Direction::Plain`], and back for [`Direction::Adjoint`].
    ///
    /// # Panics
    /// Where a length or size does not belong to the geometry.
    pub fn apply(&self, maps: &Maps, x: &[T], after: &After<T>, y: &mut [T]) {
        let conv = &self.conv;
        conv.check(maps);
        let (from, to) = match self.direction {
            Direction::Plain => (maps.fine, maps.coarse),
            Direction::Adjoint => (maps.coarse, maps.fine),
        };
        let [read, made] = self.channels();
        let [all_read, all_made] = [read, made].map(|c| c * conv.groups);
        let [from_pixels, to_pixels] = [from, to].map(|[h, w]| h * w);
        assert_eq!(
            x.len(),
            maps.batch * all_read * from_pixels,
            "{conv:?} on {maps:?}"
        );
        assert_eq!(
            y.len(),
            maps.batch * all_made * to_pixels,
            "{conv:?} on {maps:?}"
        );
        after.check(all_made);

        // halves of the channels lie in one tile only where there are no groups
        let inside = conv.groups == 1 || after.activation != Activation::MaxMin;
        let linear = After::default();
        let in_tile = if inside { after } else { &linear };
        let planes = match self.direction {
            Direction::Plain if conv.stride > 1 => Planes::new(from, conv.stride),
            _ => Planes::new(from, 1),
        };
        let unfolded = (planes.stride > 1).then(|| planes.unfold(x));
        let source = unfolded.as_deref().unwrap_or(x);
        let result = Shared(y.as_mut_ptr());
        let [lanes, _, vectors] = self.isa.tile::<T>();
        for packed in &self.phases {
            let size = packed.phase.size(to);
            let chunks = (size[0] * size[1]).div_ceil(lanes);
            if chunks == 0 {
                continue;
            }
            // as even as can be, so that the last tile is not a rest
            let vectors = chunks.div_ceil(chunks.div_ceil(vectors));
            let tiles = chunks.div_ceil(vectors);
            let per_task = (tiles * maps.batch * conv.groups)
                .div_ceil(TASKS)
                .min(tiles);
            let tasks = tiles.div_ceil(per_task);
            let all = 0..maps.batch * conv.groups * tasks;
            all.into_par_iter().for_each(|task| {
                let (map, group) = (task / tasks / conv.groups, task / tasks % conv.groups);
                let first = task % tasks * per_task;
                let job = Tiles {
                    packed: self,
                    phase: packed,
                    after: in_tile,
                    planes: &planes,
                    source: &source[(map * all_read + group * read) * from_pixels..]
                        [..read * from_pixels],
                    result: &result,
                    at: (map * all_made + group * made) * to_pixels,
                    to,
                    group,
                    size,
                    vectors,
                    tiles: first..tiles.min(first + per_task),
                };
                // SAFETY: the instructions are those that the kernel was packed for, found on this
                // processor; tasks write different pixels or channels of y, whose length was checked
                unsafe {
                    self.isa.run(job);
                }
            });
        }
        if !inside {
            after.apply(all_made, to_pixels, y);
        }
    }
}

/// A result that tasks write disjoint parts of.
struct Shared<T>(*mut T);

// SAFETY: only disjoint parts are written, see `Packed::apply`
unsafe impl<T: Send> Sync for Shared<T> {}

/// A channel of the source as planes of every stride-th row and column, one after the other.
struct Planes {
    stride: usize,
    from: [usize; 2],
    /// First entry, height and width, by first row · stride + first column.
    all: Vec<(usize, [usize; 2])>,
}

impl Planes {
    fn new(from: [usize; 2], stride: usize) -> Self {
        let mut at = 0;
        let all = (0..stride * stride).map(|plane| {
            let first = [plane / stride, plane % stride];
            let size = [0, 1].map(|axis| from[axis].saturating_sub(first[axis]).div_ceil(stride));
            let here = (at, size);
            at += size[0] * size[1];
            here
        });
        Self {
            stride,
            from,
            all: all.collect(),
        }
    }

    fn unfold<T: Element>(&self, x: &[T]) -> Vec<T> {
        let [height, width] = self.from;
        let mut unfolded = vec![T::ZERO; x.len()];
        let channels = unfolded.par_chunks_exact_mut(height * width);
        let channels = channels.zip(x.par_chunks_exact(height * width));
        channels.with_min_len(4).for_each(|(target, x)| {
            for (plane, &(at, [h, w])) in self.all.iter().enumerate() {
                let [row, column] = [plane / self.stride, plane % self.stride];
                for r in 0..h {
                    let from = &x[(row + r * self.stride) * width..][..width];
                    let from = from.iter().skip(column).step_by(self.stride);
                    let target = &mut target[at + r * w..][..w];
                    target.iter_mut().zip(from).for_each(|(t, &v)| *t = v);
                }
            }
        });
        unfolded
    }
}

/// Lanes of a vector that lie side by side in the source.
#[derive(Clone, Copy)]
struct Run {
    mask: u32,
    /// Of lane 0, relative to the channel; lanes outside the mask may lie anywhere.
    at: isize,
}

/// Consecutive tiles of one phase of one group of one map.
struct Tiles<'a, T> {
    packed: &'a Packed<T>,
    phase: &'a PackedPhase<T>,
    after: &'a After<'a, T>,
    planes: &'a Planes,
    /// The channels of this group.
    source: &'a [T],
    result: &'a Shared<T>,
    /// Of the first channel made, in the result.
    at: usize,
    /// Height and width of the result.
    to: [usize; 2],
    group: usize,
    /// Height and width of the phase.
    size: [usize; 2],
    vectors: usize,
    tiles: std::ops::Range<usize>,
}

/// Which runs every (tap, vector) of a tile reads.
#[derive(Default)]
struct Reads {
    /// Taps that read anything.
    taps: Vec<usize>,
    /// Per tap read and vector, the end of its runs.
    ends: Vec<usize>,
    runs: Vec<Run>,
    /// Every vector is one full run.
    full: bool,
}

impl<T: Element> Job<T> for Tiles<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd<Element = T>>(self) {
        let width = self.vectors * S::LANES;
        let [read, made] = self.packed.channels();
        let taps = self.phase.phase.taps.len();
        let deepest = channel_blocks(read, taps)
            .map(|b| b.len())
            .max()
            .unwrap_or(0)
            * taps;
        let panels = made.div_ceil(S::ROWS);
        let sums = panels * S::ROWS * width;
        let mut reads = Reads::default();
        scratch::with::<T, _>(deepest * width + sums, |buffer| {
            let (sums, unfolded) = buffer.split_at_mut(sums);
            for tile in self.tiles.clone() {
                let first = tile * width;
                let count = width.min(self.size[0] * self.size[1] - first);
                let vectors = count.div_ceil(S::LANES);
                self.find::<S>(first, count, vectors, &mut reads);
                sums.fill(T::ZERO);
                let mut values = &self.phase.values[self.group * panels * S::ROWS * read * taps..];
                for block in channel_blocks(read, taps) {
                    // SAFETY: the buffers have the sizes above, runs lie inside a channel
                    unsafe {
                        self.unfold::<S>(&reads, vectors, block.clone(), unfolded.as_mut_ptr());
                    }
                    let depth = block.len() * taps;
                    let (here, rest) = values.split_at(panels * S::ROWS * depth);
                    values = rest;
                    for (panel, sums) in sums.chunks_exact_mut(S::ROWS * width).enumerate() {
                        let kernel = &here[panel * S::ROWS * depth..][..S::ROWS * depth];
                        let mut row = 0;
                        // taps read that follow each other in the kernel are multiplied at once
                        for taps in reads.taps.chunk_by(|a, b| a + 1 == *b) {
                            let length = taps.len() * block.len();
                            let kernel = &kernel[taps[0] * block.len() * S::ROWS..];
                            let kernel = &kernel[..length * S::ROWS];
                            let unfolded = &unfolded[row * vectors * S::LANES..];
                            // SAFETY: `length` rows of the panel and of the tile
                            unsafe {
                                multiply::<S>(vectors, kernel, unfolded, sums, width);
                            }
                            row += length;
                        }
                    }
                }
                // one row of the tile is one channel
                self.finish(made, width, first, count, sums);
            }
        });
    }
}

impl<T: Element> Tiles<'_, T> {
    /// The runs of the pixels `first..first + count` of the phase.
    #[inline(always)]
    fn find<S: Simd>(&self, first: usize, count: usize, vectors: usize, reads: &mut Reads) {
        reads.taps.clear();
        reads.ends.clear();
        reads.runs.clear();
        for (index, tap) in self.phase.phase.taps.iter().enumerate() {
            let (ends, runs) = (reads.ends.len(), reads.runs.len());
            for vector in 0..vectors {
                let lanes = S::LANES.min(count - vector * S::LANES);
                self.runs(tap, first + vector * S::LANES, lanes, &mut reads.runs);
                reads.ends.push(reads.runs.len());
            }
            match reads.runs.len() > runs {
                true => reads.taps.push(index),
                // nothing but border
                false => reads.ends.truncate(ends),
            }
        }
        reads.full = reads.runs.len() == reads.ends.len()
            && reads
                .runs
                .iter()
                .all(|run| run.mask == u32::MAX >> (32 - S::LANES));
    }

    /// Appends the runs of `lanes` pixels from `first` on.
    #[inline(always)]
    fn runs(&self, tap: &Tap, first: usize, lanes: usize, runs: &mut Vec<Run>) {
        let [row, column] = tap.plane;
        let (at, [height, width]) = self.planes.all[row * self.planes.stride + column];
        let circular = self.packed.conv.wrap == Wrap::Circular;
        let mut lane = 0;
        while lane < lanes {
            let (r, c) = ((first + lane) / self.size[1], (first + lane) % self.size[1]);
            let mut length = (self.size[1] - c).min(lanes - lane);
            let mut row = r as isize + tap.shift[0];
            let mut column = c as isize + tap.shift[1];
            if circular {
                row = row.rem_euclid(height as isize);
                column = column.rem_euclid(width as isize);
                length = length.min(width - column as usize);
            }
            if (0..height as isize).contains(&row) {
                // lanes of this row that are inside
                let from = (-column).clamp(0, length as isize) as usize;
                let to = (width as isize - column).clamp(0, length as isize) as usize;
                if from < to {
                    let ones = u32::MAX >> (32 - (to - from));
                    runs.push(Run {
                        mask: ones << (lane + from),
                        at: at as isize + row * width as isize + column - lane as isize,
                    });
                }
            }
            lane += length;
        }
    }

    /// Copies channels of the source to rows (tap read, channel) of `vectors` vectors.
    ///
    /// # Safety
    /// The processor must have the instructions, and the target room for all rows.
    #[inline(always)]
    unsafe fn unfold<S: Simd<Element = T>>(
        &self,
        reads: &Reads,
        vectors: usize,
        block: std::ops::Range<usize>,
        target: *mut T,
    ) {
        let pixels = self.planes.from[0] * self.planes.from[1];
        let width = vectors * S::LANES;
        for (c, channel) in block.clone().enumerate() {
            let source = self.source[channel * pixels..][..pixels].as_ptr();
            // SAFETY: lanes in a mask are pixels of the channel; the target holds
            // taps · block · width entries
            unsafe {
                let row = |tap: usize| target.add((tap * block.len() + c) * width);
                if reads.full {
                    for (tap, runs) in reads.runs.chunks_exact(vectors).enumerate() {
                        for (vector, run) in runs.iter().enumerate() {
                            let values = S::load(source.offset(run.at));
                            values.store(row(tap).add(vector * S::LANES));
                        }
                    }
                    continue;
                }
                let mut start = 0;
                for (tap, ends) in reads.ends.chunks_exact(vectors).enumerate() {
                    for (vector, &end) in ends.iter().enumerate() {
                        let mut values = S::splat(T::ZERO);
                        for run in &reads.runs[start..end] {
                            values = values.merge(run.mask, source.wrapping_offset(run.at));
                        }
                        values.store(row(tap).add(vector * S::LANES));
                        start = end;
                    }
                }
            }
        }
    }

    /// What follows the sums, and the way into the result.
    #[inline(always)]
    fn finish(&self, made: usize, width: usize, first: usize, count: usize, sums: &mut [T]) {
        let after = self.after;
        let channel = self.group * made;
        match after.activation {
            Activation::MaxMin => after.on(made, width, sums),
            _ => {
                for (row, values) in sums.chunks_exact_mut(width).take(made).enumerate() {
                    after.linear(channel + row, values);
                    if after.activation == Activation::Relu {
                        values.iter_mut().for_each(|v| *v = v.larger(T::ZERO));
                    }
                    after.shift(channel + row, values);
                }
            }
        }
        let [height, whole] = self.to;
        let phase = &self.phase.phase;
        for (row, values) in sums.chunks_exact(width).take(made).enumerate() {
            let at = self.at + row * height * whole;
            let mut done = 0;
            while done < count {
                let (r, c) = ((first + done) / self.size[1], (first + done) % self.size[1]);
                let (length, place) = match phase.step {
                    // rows follow each other without a gap
                    1 => (count, first),
                    step => {
                        let row = phase.start[0] + r * step;
                        let length = (self.size[1] - c).min(count - done);
                        (length, row * whole + phase.start[1] + c * step)
                    }
                };
                let values = &values[done..done + length];
                // SAFETY: pixels of this phase inside the channel, which no other task writes
                unsafe {
                    let target = self.result.0.add(at + place);
                    match phase.step {
                        1 => target.copy_from_nonoverlapping(values.as_ptr(), length),
                        step => {
                            for (i, &value) in values.iter().enumerate() {
                                target.add(i * step).write(value);
                            }
                        }
                    }
                }
                done += length;
            }
        }
    }
}

/// sums (ROWS, `stride`) += kernelᵀ (depth, ROWS) · unfolded (depth, `vectors` vectors).
///
/// # Safety
/// The processor must have the instructions; `unfolded` must hold as many rows as `kernel`.
#[inline(always)]
unsafe fn multiply<S: Simd>(
    vectors: usize,
    kernel: &[S::Element],
    unfolded: &[S::Element],
    sums: &mut [S::Element],
    stride: usize,
) {
    let depth = kernel.len() / S::ROWS;
    assert!(unfolded.len() >= depth * vectors * S::LANES && vectors <= S::VECTORS);
    assert!(sums.len() >= (S::ROWS - 1) * stride + vectors * S::LANES);
    let (a, b, c) = (kernel.as_ptr(), unfolded.as_ptr(), sums.as_mut_ptr());
    // SAFETY: the lengths above
    unsafe {
        match (S::ROWS, vectors) {
            (8, 1) => tile::<S, 8, 1>(depth, a, b, c, stride),
            (8, 2) => tile::<S, 8, 2>(depth, a, b, c, stride),
            (8, _) => tile::<S, 8, 3>(depth, a, b, c, stride),
            (_, 1) => tile::<S, 4, 1>(depth, a, b, c, stride),
            (_, 2) => tile::<S, 4, 2>(depth, a, b, c, stride),
            _ => tile::<S, 4, 3>(depth, a, b, c, stride),
        }
    }
}

/// A register tile of R channels by V vectors; per entry one chain in the order of `depth`.
///
/// # Safety
/// As [`multiply`], with R = ROWS and V = `vectors`.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, const R: usize, const V: usize>(
    depth: usize,
    mut a: *const S::Element,
    mut b: *const S::Element,
    c: *mut S::Element,
    stride: usize,
) {
    // SAFETY: as of the caller
    unsafe {
        let mut sums = [[S::splat(S::Element::ZERO); V]; R];
        for (r, row) in sums.iter_mut().enumerate() {
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = S::load(c.add(r * stride + v * S::LANES));
            }
        }
        for _ in 0..depth {
            let mut values = [S::splat(S::Element::ZERO); V];
            for (v, value) in values.iter_mut().enumerate() {
                *value = S::load(b.add(v * S::LANES));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let weight = S::splat(*a.add(r));
                for (sum, value) in row.iter_mut().zip(values) {
                    *sum = weight.fma(value, *sum);
                }
            }
            a = a.add(R);
            b = b.add(V * S::LANES);
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                sum.store(c.add(r * stride + v * S::LANES));
            }
        }
    }
}

/// Runs on the best instructions; kept for tests of the others.
#[cfg(test)]
pub(crate) fn on<T: Element>(
    isa: Isa,
    conv: &crate::Conv,
    direction: Direction,
    kernel: &[T],
    maps: &Maps,
    x: &[T],
    after: &After<T>,
) -> Vec<T> {
    let packed = Packed::on(isa, conv, direction, kernel);
    let (channels, pixels) = match direction {
        Direction::Plain => (conv.out, maps.coarse_pixels()),
        Direction::Adjoint => (conv.input, maps.fine_pixels()),
    };
    let mut y = vec![T::ZERO; maps.batch * channels * pixels];
    packed.apply(maps, x, after, &mut y);
    y
}
