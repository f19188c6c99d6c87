//! Applying a kernel: tiles of unfolded pixels times panels of the kernel.

use rayon::prelude::*;

use crate::packed::{Activation, After, Packed, PackedPhase, channel_blocks};
use crate::planes::Planes;
use crate::scratch;
use crate::shape::{Direction, Maps, Tap, Wrap};
#[cfg(test)]
use crate::simd::Isa;
use crate::simd::{Element, Job, Simd};

/// Tasks that one call is divided into, where there are tiles enough.
const TASKS: usize = 64;
/// Products that are worth a task of their own: some ten microseconds.
const TASK: usize = 1 << 20;

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
        match self.direction {
            Direction::Plain if conv.stride > 1 => {
                let planes = Planes::new(from, conv.stride);
                scratch::with(x.len(), |unfolded| {
                    planes.unfold(x, unfolded);
                    self.tiles(maps.batch, &planes, unfolded, in_tile, to, y);
                });
            }
            _ => self.tiles(maps.batch, &Planes::new(from, 1), x, in_tile, to, y),
        }
        if !inside {
            after.apply(all_made, to_pixels, y);
        }
    }

    /// All tiles, in parallel; lengths were checked.
    fn tiles(
        &self,
        batch: usize,
        planes: &Planes,
        source: &[T],
        after: &After<T>,
        to: [usize; 2],
        y: &mut [T],
    ) {
        let conv = &self.conv;
        let [read, made] = self.channels();
        let [all_read, all_made] = [read, made].map(|c| c * conv.groups);
        let [from_pixels, to_pixels] = [planes.from, to].map(|[h, w]| h * w);
        let result = Shared(y.as_mut_ptr());
        let [lanes, _, vectors] = self.isa.tile::<T>();
        for phases in &self.rows {
            let first = &phases[0].phase;
            // phases of the same rows have one grid; what lies outside the result is not written
            let size = first.size(to);
            let chunks = (size[0] * size[1]).div_ceil(lanes);
            if chunks == 0 || batch == 0 {
                continue;
            }
            // as even as can be, so that the last tile is not a rest
            let vectors = chunks.div_ceil(chunks.div_ceil(vectors));
            let tiles = chunks.div_ceil(vectors);
            let work = read * made * phases.iter().map(|p| p.phase.taps.len()).sum::<usize>();
            let worth = TASK.div_ceil(work.max(1) * vectors * lanes);
            let per_task = (tiles * batch * conv.groups)
                .div_ceil(TASKS)
                .max(worth)
                .min(tiles);
            let tasks = tiles.div_ceil(per_task);
            let all = 0..batch * conv.groups * tasks;
            let rows = made.next_multiple_of(self.isa.tile::<T>()[1]);
            let depth = |phase: &PackedPhase<T>| {
                let taps = phase.phase.taps.len();
                channel_blocks(read, taps)
                    .map(|block| block.len() * taps)
                    .max()
            };
            let deepest = phases.iter().filter_map(depth).max().unwrap_or(0);
            let width = vectors * lanes;
            let sums = phases.len() * rows * width;
            all.into_par_iter().for_each(|task| {
                let (map, group) = (task / tasks / conv.groups, task / tasks % conv.groups);
                let first = task % tasks * per_task;
                // taken here: a closure inside the job would not be compiled with its instructions
                scratch::with(sums + deepest * width, |buffer| {
                    let (sums, unfolded) = buffer.split_at_mut(sums);
                    let job = Tiles {
                        packed: self,
                        phases,
                        after,
                        planes,
                        source: &source[(map * all_read + group * read) * from_pixels..]
                            [..read * from_pixels],
                        result: &result,
                        at: (map * all_made + group * made) * to_pixels,
                        to,
                        group,
                        size,
                        vectors,
                        tiles: first..tiles.min(first + per_task),
                        sums,
                        unfolded,
                    };
                    // SAFETY: the instructions are those that the kernel was packed for, found on
                    // this processor; tasks write different pixels or channels of y, whose length
                    // was checked
                    unsafe {
                        self.isa.run(job);
                    }
                });
            });
        }
    }
}

/// A result that tasks write disjoint parts of.
struct Shared<T>(*mut T);

// SAFETY: only disjoint parts are written, see `Packed::apply`
unsafe impl<T: Send> Sync for Shared<T> {}

/// Lanes of a vector that lie side by side in the source.
#[derive(Clone, Copy)]
struct Run {
    mask: u32,
    /// Whether lanes outside the mask are zero; else they are as earlier runs have left them.
    first: bool,
    /// Number of the tap among those read.
    tap: usize,
    /// Pixel of the tile that lane 0 holds.
    pixel: usize,
    /// Of lane 0 in the source, relative to the channel; lanes outside the mask may lie anywhere.
    at: isize,
}

/// Consecutive tiles of the phases that share their rows, of one group of one map.
struct Tiles<'a, T> {
    packed: &'a Packed<T>,
    phases: &'a [PackedPhase<T>],
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
    /// Height and width of a phase.
    size: [usize; 2],
    vectors: usize,
    tiles: std::ops::Range<usize>,
    /// (phase, channel made, pixel of the tile), channels filled up to whole panels.
    sums: &'a mut [T],
    /// Room for (tap, channel of a block, pixel of the tile).
    unfolded: &'a mut [T],
}

/// Lanes of a vector whose pixels lie in one row of the phase.
struct Piece {
    vector: usize,
    lane: usize,
    length: usize,
    row: isize,
    column: isize,
}

/// What the taps of a phase read for a tile.
#[derive(Default)]
struct Reads {
    pieces: Vec<Piece>,
    /// Taps that read anything.
    taps: Vec<usize>,
    /// By tap and vector; every vector of a tap that is read has one or more.
    runs: Vec<Run>,
    /// Those of the tap that reads the lowest row.
    lowest: std::ops::Range<usize>,
}

impl<T: Element> Job<T> for Tiles<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd<Element = T>>(mut self) {
        let width = self.vectors * S::LANES;
        let mut reads = Reads::default();
        for tile in self.tiles.clone() {
            let first = tile * width;
            let count = width.min(self.size[0] * self.size[1] - first);
            self.cut::<S>(first, count, &mut reads.pieces);
            self.sums.fill(T::ZERO);
            for phase in 0..self.phases.len() {
                // SAFETY: as of the caller
                unsafe {
                    self.add::<S>(phase, count.div_ceil(S::LANES), &mut reads);
                }
            }
            self.finish(width, first, count);
        }
    }
}

impl<T: Element> Tiles<'_, T> {
    /// Cuts the pixels `first..first + count` of a phase at the ends of vectors and rows.
    #[inline(always)]
    fn cut<S: Simd>(&self, first: usize, count: usize, pieces: &mut Vec<Piece>) {
        pieces.clear();
        let (mut row, mut column) = (first / self.size[1], first % self.size[1]);
        let mut done = 0;
        while done < count {
            let lane = done % S::LANES;
            let length = (self.size[1] - column)
                .min(S::LANES - lane)
                .min(count - done);
            pieces.push(Piece {
                vector: done / S::LANES,
                lane,
                length,
                row: row as isize,
                column: column as isize,
            });
            done += length;
            column += length;
            if column == self.size[1] {
                (row, column) = (row + 1, 0);
            }
        }
    }

    /// Adds the products of one phase to its sums.
    ///
    /// # Safety
    /// The processor must have the instructions.
    #[inline(always)]
    unsafe fn add<S: Simd<Element = T>>(&mut self, at: usize, vectors: usize, reads: &mut Reads) {
        let phase = &self.phases[at];
        let width = self.vectors * S::LANES;
        let [read, made] = self.packed.channels();
        let taps = phase.phase.taps.len();
        // the phases of a kernel as large as its stride read the same pixels
        let reads_of = |at: usize| {
            self.phases[at]
                .phase
                .taps
                .iter()
                .map(|t| (t.plane, t.shift))
        };
        let one_block = channel_blocks(read, taps).nth(1).is_none();
        let again = at > 0 && one_block && reads_of(at).eq(reads_of(at - 1));
        if !again {
            self.find::<S>(&phase.phase.taps, vectors, reads);
        }
        let rows = made.next_multiple_of(S::ROWS);
        let mut values = &phase.values[self.group * rows * read * taps..];
        for block in channel_blocks(read, taps) {
            if !again {
                // SAFETY: the buffer has room for a block of channels, runs lie inside a channel
                unsafe {
                    self.unfold::<S>(reads, vectors, block.clone());
                }
            }
            let depth = block.len() * taps;
            let (here, rest) = values.split_at(rows * depth);
            values = rest;
            let sums = &mut self.sums[at * rows * width..][..rows * width];
            for (panel, sums) in sums.chunks_exact_mut(S::ROWS * width).enumerate() {
                let kernel = &here[panel * S::ROWS * depth..][..S::ROWS * depth];
                let mut row = 0;
                // taps read that follow each other in the kernel are multiplied at once
                for taps in reads.taps.chunk_by(|a, b| a + 1 == *b) {
                    let length = taps.len() * block.len();
                    let kernel = &kernel[taps[0] * block.len() * S::ROWS..];
                    let kernel = &kernel[..length * S::ROWS];
                    let unfolded = &self.unfolded[row * vectors * S::LANES..];
                    // SAFETY: `length` rows of the panel and of the tile
                    unsafe {
                        multiply::<S>(vectors, kernel, unfolded, sums, width);
                    }
                    row += length;
                }
            }
        }
    }

    /// The runs that taps read for the pieces of a tile.
    #[inline(always)]
    fn find<S: Simd>(&self, taps: &[Tap], vectors: usize, reads: &mut Reads) {
        reads.taps.clear();
        reads.runs.clear();
        reads.lowest = 0..0;
        let mut lowest = isize::MIN;
        for (index, tap) in taps.iter().enumerate() {
            let before = reads.runs.len();
            let mut pieces = reads.pieces.iter().peekable();
            for vector in 0..vectors {
                let empty = Run {
                    mask: 0,
                    first: true,
                    tap: reads.taps.len(),
                    pixel: vector * S::LANES,
                    at: 0,
                };
                let first = reads.runs.len();
                while let Some(piece) = pieces.next_if(|piece| piece.vector == vector) {
                    self.runs(tap, piece, empty, &mut reads.runs);
                }
                match reads.runs.get_mut(first) {
                    Some(_) => reads.runs[first + 1..]
                        .iter_mut()
                        .for_each(|r| r.first = false),
                    None => reads.runs.push(empty),
                }
            }
            let runs = &reads.runs[before..];
            match runs.iter().find(|run| run.mask != 0) {
                Some(run) => {
                    if run.at > lowest {
                        lowest = run.at;
                        reads.lowest = before..reads.runs.len();
                    }
                    reads.taps.push(index);
                }
                // nothing but border
                None => reads.runs.truncate(before),
            }
        }
    }

    /// Appends the runs that a tap reads for a piece.
    #[inline(always)]
    fn runs(&self, tap: &Tap, piece: &Piece, empty: Run, runs: &mut Vec<Run>) {
        let [row, column] = tap.plane;
        let (at, [height, width]) = self.planes.all[row * self.planes.stride + column];
        let (height, width) = (height as isize, width as isize);
        let mut row = piece.row + tap.shift[0];
        let mut column = piece.column + tap.shift[1];
        let circular = self.packed.conv.wrap == Wrap::Circular;
        if circular {
            row = row.rem_euclid(height);
            column = column.rem_euclid(width);
        }
        if !(0..height).contains(&row) {
            return;
        }
        let (mut lane, mut left) = (piece.lane, piece.length);
        while left > 0 {
            // lanes of this row that are inside
            let from = (-column).clamp(0, left as isize) as usize;
            let to = (width - column).clamp(0, left as isize) as usize;
            if from < to {
                let ones = u32::MAX >> (32 - (to - from));
                runs.push(Run {
                    mask: ones << (lane + from),
                    at: at as isize + row * width + column - lane as isize,
                    ..empty
                });
            }
            if !circular {
                return;
            }
            lane += to;
            left -= to;
            column = 0;
        }
    }

    /// Copies channels of the source to rows (tap read, channel) of `vectors` vectors.
    ///
    /// # Safety
    /// The processor must have the instructions, and the buffer room for all rows.
    #[inline(always)]
    unsafe fn unfold<S: Simd<Element = T>>(
        &mut self,
        reads: &Reads,
        vectors: usize,
        block: std::ops::Range<usize>,
    ) {
        let target = self.unfolded.as_mut_ptr();
        let pixels = self.planes.from[0] * self.planes.from[1];
        let width = vectors * S::LANES;
        for (c, channel) in block.clone().enumerate() {
            let source = self.source[channel * pixels..][..pixels].as_ptr();
            // the next tile reads what follows; the rows above were read before
            for run in &reads.runs[reads.lowest.clone()] {
                // SAFETY: an address is enough
                unsafe {
                    S::prefetch(source.wrapping_offset(run.at + width as isize));
                }
            }
            for run in &reads.runs {
                // SAFETY: lanes in a mask are pixels of the channel; the buffer holds
                // taps · block · width entries
                unsafe {
                    let into = target.add((run.tap * block.len() + c) * width + run.pixel);
                    let values = match run.first {
                        true => S::splat(T::ZERO),
                        false => S::load(into),
                    };
                    let values = values.merge(run.mask, source.wrapping_offset(run.at));
                    values.store(into);
                }
            }
        }
    }

    /// What follows the sums, and the way into the result.
    #[inline(always)]
    fn finish(&mut self, width: usize, first: usize, count: usize) {
        let step = self.phases.len();
        let made = self.packed.channels()[1];
        let per_phase = self.sums.len() / step;
        for sums in self.sums.chunks_exact_mut(per_phase) {
            self.after.on(self.group * made, made, width, sums);
        }
        let [height, whole] = self.to;
        let start = self.phases[0].phase.start[0];
        for channel in 0..made {
            let at = self.at + channel * height * whole;
            let values = |phase: usize| &self.sums[phase * per_phase + channel * width..];
            let mut done = 0;
            while done < count {
                let (r, c) = ((first + done) / self.size[1], (first + done) % self.size[1]);
                let (place, pixels) = match step {
                    // rows follow each other without a gap
                    1 => (first, count),
                    _ => {
                        let pixels = (self.size[1] - c).min(count - done);
                        ((start + r * step) * whole + c * step, pixels)
                    }
                };
                // the last pixels of later phases may lie outside
                let length = match step {
                    1 => pixels,
                    _ => (pixels * step).min(whole - c * step),
                };
                // SAFETY: pixels of these phases inside the channel, which no other task touches
                let target = unsafe {
                    std::slice::from_raw_parts_mut(self.result.0.add(at + place), length)
                };
                match step {
                    1 => target.copy_from_slice(&values(0)[..length]),
                    2 => {
                        let (even, odd) = (&values(0)[done..], &values(1)[done..]);
                        let (pairs, last) = target.as_chunks_mut::<2>();
                        for (pair, (&a, &b)) in pairs.iter_mut().zip(even.iter().zip(odd)) {
                            *pair = [a, b];
                        }
                        if let [last] = last {
                            *last = even[pixels - 1];
                        }
                    }
                    _ => {
                        for (i, target) in target.iter_mut().enumerate() {
                            *target = values(i % step)[done + i / step];
                        }
                    }
                }
                done += pixels;
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
            (6, 1) => tile::<S, 6, 1>(depth, a, b, c, stride),
            (6, _) => tile::<S, 6, 2>(depth, a, b, c, stride),
            (_, 1) => tile::<S, 4, 1>(depth, a, b, c, stride),
            _ => tile::<S, 4, 2>(depth, a, b, c, stride),
        }
    }
}

/// A register tile of R channels by V vectors; per entry one chain in the order of `depth`.
///
/// # Safety
/// As [`multiply`], with R = ROWS and V = `vectors`.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const V: usize>(
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

/// Runs on the given instructions.
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
