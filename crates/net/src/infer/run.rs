//! A plan is run.

use certiseg_conv::After;

use super::plan::{Op, Plan, Step};
use super::{Number, ops};
use crate::profile;

/// What profiles call layers that are no convolutions.
const OTHER: &str = "all others";

/// A broken layout: two maps that are alive lie over each other.
const APART: &str = "maps of a step lie apart";

impl<T: Number> Plan<T> {
    /// Runs all steps on an arena of at least the plan's length.
    pub fn run(&self, arena: &mut [T]) {
        self.steps.iter().for_each(|step| step.run(arena));
    }
}

impl<T: Number> Step<T> {
    fn run(&self, arena: &mut [T]) {
        let to = self.y.range();
        match (&self.op, self.x) {
            (Op::Bands(bands), Some(x)) => {
                let ranges = [x.range(), bands.scratch.range(), to];
                let [from, scratch, y] = arena.get_disjoint_mut(ranges).expect(APART);
                bands.run(x, self.y, from, scratch, y);
            }
            (Op::Conv { .. }, Some(x)) => {
                let [x, y] = arena.get_disjoint_mut([x.range(), to]).expect(APART);
                self.apply(Some(x), y);
            }
            (_, Some(x)) => {
                let [x, y] = arena.get_disjoint_mut([x.range(), to]).expect(APART);
                profile::layer(None, |_| OTHER.into(), 0.0, || self.apply(Some(x), y));
            }
            (_, None) => {
                profile::layer(
                    None,
                    |_| OTHER.into(),
                    0.0,
                    || self.apply(None, &mut arena[to]),
                );
            }
        }
    }

    fn apply(&self, x: Option<&[T]>, y: &mut [T]) {
        let (made, pixels) = (self.y.shape, self.y.shape.pixels());
        let from = self.x.map_or(made, |x| x.shape);
        match (&self.op, x) {
            (Op::Shift(by), _) => {
                ops::channels(pixels, x, y, |c, y| {
                    y.iter_mut().for_each(|v| *v = *v + by[c]);
                });
            }
            (Op::Normalize { mean, std }, _) => {
                ops::channels(pixels, x, y, |c, y| {
                    y.iter_mut().for_each(|v| *v = (*v - mean[c]) / std[c]);
                });
            }
            (&Op::Scale(by), _) => {
                ops::channels(pixels, x, y, |_, y| {
                    y.iter_mut().for_each(|v| *v = *v * by);
                });
            }
            (Op::Abs, _) => {
                ops::channels(pixels, x, y, |_, y| {
                    y.iter_mut().for_each(|v| *v = v.abs());
                });
            }
            (Op::Relu, _) => {
                ops::channels(pixels, x, y, |_, y| {
                    y.iter_mut().for_each(|v| *v = v.larger(T::ZERO));
                });
            }
            (Op::Copy, _) => ops::channels(pixels, x, y, |_, _| {}),
            (Op::Center(shift), _) => ops::center(pixels, shift, x, y),
            (Op::ImageMean, _) => ops::image_mean(pixels, x, y),
            (&Op::ImageMax(spread), _) => {
                ops::image_max(pixels, T::of(spread.factor(pixels)), x, y);
            }
            (Op::MaxMin, _) => ops::max_min(pixels, x, y),
            (Op::HouseHolder(normal), _) => ops::householder(pixels, normal, x, y),
            (Op::Sort { size, pairs }, _) => ops::sort(pixels, *size, pairs, x, y),
            (
                Op::Conv {
                    kernel,
                    maps,
                    bias,
                    scale,
                    activation,
                    shift,
                },
                Some(x),
            ) => {
                let after = After {
                    bias: bias.as_deref(),
                    scale: *scale,
                    activation: *activation,
                    shift: shift.as_deref(),
                };
                let conv = kernel.conv();
                let kind = |_| conv.kind(kernel.direction());
                profile::layer(None, kind, conv.flop(maps), || {
                    kernel.apply(maps, x, &after, y);
                });
            }
            (&Op::Wrap(padding), Some(x)) => ops::wrap(padding, from, x, y),
            (&Op::Pool { kind, size, stride }, Some(x)) => {
                ops::pool(kind, size, stride, from, made, x, y);
            }
            (&Op::Nearest(factor), Some(x)) => ops::nearest(factor, from, x, y),
            (
                Op::Bilinear {
                    factor,
                    rows,
                    columns,
                },
                Some(x),
            ) => ops::bilinear(*factor, rows, columns, from, x, y),
            (&Op::Shuffle(factor), Some(x)) => ops::shuffle(factor, from, x, y),
            (&Op::Unshuffle(factor), Some(x)) => ops::unshuffle(factor, from, x, y),
            (&Op::AddScaled(by), Some(x)) => {
                ops::with(pixels, x, y, |x, y| *y = *y + x * by);
            }
            (&Op::Join(by), Some(x)) => ops::with(pixels, x, y, |x, y| *y = (x + *y) * by),
            (Op::Reflect, Some(x)) => ops::with(pixels, x, y, |x, y| *y = x - (*y + *y)),
            (
                Op::Conv { .. }
                | Op::Wrap(_)
                | Op::Pool { .. }
                | Op::Nearest(_)
                | Op::Bilinear { .. }
                | Op::Shuffle(_)
                | Op::Unshuffle(_)
                | Op::AddScaled(_)
                | Op::Join(_)
                | Op::Reflect,
                None,
            )
            | (Op::Bands(_), _) => unreachable!("a step that reads another map has one"),
        }
    }
}
