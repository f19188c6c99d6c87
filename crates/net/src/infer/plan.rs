//! The steps of a pass, and where its maps lie.

use std::ops::Range;
use std::sync::Arc;

use certiseg_conv::{Activation, Maps, Packed};

use super::bands::Bands;
use super::ops::Between;
use crate::node::{Pooling, Spread};

/// Channels, height and width of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Shape {
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    pub fn length(self) -> usize {
        self.channels * self.pixels()
    }
}

/// A map, or consecutive channels of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the map.
    pub map: usize,
    /// First entry: of the map before the layout, of the arena after it.
    pub start: usize,
    pub shape: Shape,
}

impl Place {
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.shape.length()
    }

    /// `channels` channels from `first` on.
    pub fn part(&self, first: usize, channels: usize) -> Self {
        Self {
            start: self.start + first * self.shape.pixels(),
            shape: Shape {
                channels,
                ..self.shape
            },
            ..*self
        }
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        let [a, b] = [self.range(), other.range()];
        self.map == other.map && a.start < b.end && b.start < a.end
    }
}

/// Values per channel.
pub(super) type Values<T> = Arc<[T]>;

/// What a step makes of x and y, which is new where not said otherwise.
pub(super) enum Op<T> {
    /// activation((K·x + bias)·scale) + shift.
    Conv {
        kernel: Arc<Packed<T>>,
        maps: Maps,
        bias: Option<Values<T>>,
        scale: T,
        activation: Activation,
        shift: Option<Values<T>>,
    },
    /// x with this many rows and columns of the opposite border on every side.
    Wrap(usize),
    Pool {
        kind: Pooling,
        size: usize,
        stride: usize,
    },
    Nearest(usize),
    Bilinear {
        factor: usize,
        rows: Vec<Between<T>>,
        columns: Vec<Between<T>>,
    },
    Shuffle(usize),
    Unshuffle(usize),
    /// Row by row through the last layers.
    Bands(Box<Bands<T>>),
    /// y + x·w, in place.
    AddScaled(T),
    /// (x + y)·w, in place.
    Join(T),
    /// x − 2y, in place.
    Reflect,
    /// From here on of x, or of y in place where there is no x: x itself.
    Copy,
    Scale(T),
    Normalize {
        mean: Values<T>,
        std: Values<T>,
    },
    Shift(Values<T>),
    Center(Values<T>),
    ImageMean,
    ImageMax(Spread),
    MaxMin,
    HouseHolder(Values<T>),
    /// Pairs of channels of a group to compare, in order.
    Sort {
        size: usize,
        pairs: Vec<[usize; 2]>,
    },
    Abs,
    Relu,
}

/// One step.
pub(super) struct Step<T> {
    pub op: Op<T>,
    pub x: Option<Place>,
    pub y: Place,
}

/// Steps in one arena.
pub(super) struct Plan<T> {
    pub input: Place,
    pub output: Place,
    pub steps: Vec<Step<T>>,
    /// Entries of the arena.
    pub length: usize,
    /// Most entries that are alive at one step: no layout is shorter.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "what the layout is tested against")
    )]
    pub alive: usize,
}

/// First and last step that a map is alive at.
#[derive(Clone, Copy)]
struct Life {
    first: usize,
    last: usize,
}

impl<T> Step<T> {
    fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        let scratch = match &mut self.op {
            Op::Bands(bands) => Some(&mut bands.scratch),
            _ => None,
        };
        self.x.iter_mut().chain([&mut self.y]).chain(scratch)
    }
}

impl<T> Plan<T> {
    /// Lays out maps of the given lengths, none over another that is alive at the same time.
    pub fn new(
        mut input: Place,
        mut output: Place,
        mut steps: Vec<Step<T>>,
        lengths: &[usize],
    ) -> Self {
        /// Entries: maps begin at a cache line of f32.
        const LINE: usize = 16;
        let lengths: Vec<_> = lengths.iter().map(|l| l.next_multiple_of(LINE)).collect();
        let mut lives: Vec<Option<Life>> = vec![None; lengths.len()];
        let mut seen = |map: usize, step: usize| {
            let life = lives[map].get_or_insert(Life {
                first: step,
                last: step,
            });
            life.last = step;
        };
        seen(input.map, 0);
        for (at, step) in steps.iter_mut().enumerate() {
            step.places().for_each(|place| seen(place.map, at));
        }
        seen(output.map, steps.len());

        // the largest first, each as low as it can be
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&map| std::cmp::Reverse(lengths[map]));
        let mut starts = vec![0; lengths.len()];
        let mut placed: Vec<(Life, Range<usize>)> = Vec::new();
        for map in order {
            // a map that no step reads or writes takes no room
            let Some(life) = lives[map] else { continue };
            let mut start = 0;
            for (other, range) in &placed {
                let together = life.first <= other.last && other.first <= life.last;
                if together && start < range.end && range.start < start + lengths[map] {
                    start = range.end;
                }
            }
            starts[map] = start;
            placed.push((life, start..start + lengths[map]));
            placed.sort_by_key(|(_, range)| range.start);
        }
        let moved = steps.iter_mut().flat_map(Step::places);
        for place in moved.chain([&mut input, &mut output]) {
            place.start += starts[place.map];
        }
        let alive = (0..=steps.len()).map(|step| {
            let alive = lives.iter().zip(&lengths).filter_map(|(life, length)| {
                let Life { first, last } = (*life)?;
                (first..=last).contains(&step).then_some(length)
            });
            alive.sum()
        });
        Self {
            input,
            output,
            alive: alive.max().unwrap_or(0),
            length: placed.iter().map(|(_, r)| r.end).max().unwrap_or(0),
            steps,
        }
    }
}
