//! The definition: every entry as a chain of fused multiply-adds, one loop after the other.
//!
//! Slow, and meant to be read; the fast paths give the same bits.

use crate::gradient::segments;
use crate::packed::{After, channel_blocks};
use crate::shape::{Conv, Direction, Maps, Tap, Wrap, phases};
use crate::simd::Element;

/// The convolution of `x` with `kernel` in a direction; see [`crate::Packed::apply`].
pub fn apply<T: Element>(
    conv: &Conv,
    direction: Direction,
    kernel: &[T],
    maps: &Maps,
    x: &[T],
    after: &After<T>,
) -> Vec<T> {
    conv.check(maps);
    let (from, to) = match direction {
        Direction::Plain => (maps.fine, maps.coarse),
        Direction::Adjoint => (maps.coarse, maps.fine),
    };
    let [in_group, out_group] = [conv.input, conv.out].map(|c| c / conv.groups);
    let (read, made) = match direction {
        Direction::Plain => (in_group, out_group),
        Direction::Adjoint => (out_group, in_group),
    };
    let squared = conv.kernel * conv.kernel;
    let weight = |group: usize, row: usize, channel: usize, tap: usize| {
        let (o, i) = match direction {
            Direction::Plain => (row, channel),
            Direction::Adjoint => (channel, row),
        };
        kernel[((group * out_group + o) * in_group + i) * squared + tap]
    };
    let pixels = to[0] * to[1];
    let mut y = vec![T::ZERO; maps.batch * made * conv.groups * pixels];
    for phase in phases(conv, direction) {
        let [rows, columns] = phase.size(to);
        let spread = if direction == Direction::Plain {
            conv.stride
        } else {
            1
        };
        for (map, group, row) in triples(maps.batch, conv.groups, made) {
            for (r, c, _) in triples(rows, columns, 1) {
                let mut sum = T::ZERO;
                for block in channel_blocks(read, phase.taps.len()) {
                    for tap in &phase.taps {
                        let Some(at) = source(conv, tap, [r, c], from, spread) else {
                            continue;
                        };
                        for channel in block.clone() {
                            let map = map * conv.groups * read + group * read + channel;
                            let value = x[map * from[0] * from[1] + at];
                            sum = weight(group, row, channel, tap.index).fma(value, sum);
                        }
                    }
                }
                let place =
                    (phase.start[0] + r * phase.step) * to[1] + phase.start[1] + c * phase.step;
                y[((map * conv.groups + group) * made + row) * pixels + place] = sum;
            }
        }
    }
    after.apply(made * conv.groups, pixels, &mut y);
    y
}

/// The gradient in the kernel; see [`crate::weight_gradient`].
pub fn weight_gradient<T: Element>(conv: &Conv, maps: &Maps, fine: &[T], coarse: &[T]) -> Vec<T> {
    conv.check(maps);
    let [in_group, out_group] = [conv.input, conv.out].map(|c| c / conv.groups);
    let taps = &phases(conv, Direction::Plain)[0].taps;
    let mut gradient = vec![T::ZERO; conv.weights()];
    for (at, sum) in gradient.iter_mut().enumerate() {
        let (o, rest) = (at / (in_group * taps.len()), at % (in_group * taps.len()));
        let (i, tap) = (rest / taps.len(), rest % taps.len());
        let input = o / out_group * in_group + i;
        for segment in segments(conv, maps) {
            let mut part = T::ZERO;
            for (map, rows) in segment {
                for (r, c, _) in triples(rows.len(), maps.coarse[1], 1) {
                    let place = [rows.start + r, c];
                    let Some(at) = source(conv, &taps[tap], place, maps.fine, conv.stride) else {
                        continue;
                    };
                    let here = map * conv.out + o;
                    let g = coarse[here * maps.coarse_pixels() + place[0] * maps.coarse[1] + c];
                    let x = fine[(map * conv.input + input) * maps.fine_pixels() + at];
                    part = g.fma(x, part);
                }
            }
            *sum = *sum + part;
        }
    }
    gradient
}

/// Index of the pixel that a tap reads from a map, where it is inside.
fn source(
    conv: &Conv,
    tap: &Tap,
    place: [usize; 2],
    from: [usize; 2],
    spread: usize,
) -> Option<usize> {
    let mut at = [0; 2];
    for axis in 0..2 {
        let index =
            (place[axis] as isize + tap.shift[axis]) * spread as isize + tap.plane[axis] as isize;
        let side = from[axis] as isize;
        let index = match conv.wrap {
            Wrap::Zeros => index,
            Wrap::Circular => index.rem_euclid(side),
        };
        at[axis] = usize::try_from(index).ok().filter(|_| index < side)?;
    }
    Some(at[0] * from[1] + at[1])
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |at| (at / (b * c), at / c % b, at % c))
}
