//! Kernels arranged for one direction, and what follows the sums.

use std::ops::Range;

use rayon::prelude::*;

use crate::shape::{Conv, Direction, Phase, phases};
use crate::simd::{Element, Isa};

/// Rows of a tile of unfolded pixels: with the kernel's panel it fills the first-level cache.
const DEPTH: usize = 288;

/// The channels that are multiplied together, in order; part of the definition of a sum.
pub(crate) fn channel_blocks(channels: usize, taps: usize) -> impl Iterator<Item = Range<usize>> {
    let most = (DEPTH / taps.max(1)).max(1);
    (0..channels.div_ceil(most)).map(move |at| at * most..channels.min((at + 1) * most))
}

/// A kernel arranged for one direction on this processor.
#[derive(Clone, Debug)]
pub struct Packed<T> {
    pub(crate) conv: Conv,
    pub(crate) direction: Direction,
    pub(crate) isa: Isa,
    /// The phases whose rows are the same lie together: their columns alternate in the result.
    pub(crate) rows: Vec<Vec<PackedPhase<T>>>,
}

/// The part of a kernel that one phase of the result reads.
#[derive(Clone, Debug)]
pub(crate) struct PackedPhase<T> {
    pub phase: Phase,
    /// Per group, block of channels and panel of rows: (tap, channel, row of the panel).
    pub values: Vec<T>,
}

impl<T: Element> Packed<T> {
    /// Arranges `kernel` [out, input/groups, k, k].
    ///
    /// # Panics
    /// Where the kernel has another length.
    pub fn new(conv: &Conv, direction: Direction, kernel: &[T]) -> Self {
        Self::on(Isa::best(), conv, direction, kernel)
    }

    pub(crate) fn on(isa: Isa, conv: &Conv, direction: Direction, kernel: &[T]) -> Self {
        assert_eq!(kernel.len(), conv.weights(), "weights of {conv:?}");
        let [in_group, out_group] = [conv.input, conv.out].map(|c| c / conv.groups);
        let squared = conv.kernel * conv.kernel;
        let [_, panel, _] = isa.tile::<T>();
        let mut packed = Self {
            conv: *conv,
            direction,
            isa,
            rows: Vec::new(),
        };
        let [read, made] = packed.channels();
        for phase in phases(conv, direction) {
            let taps = &phase.taps;
            let panels = made.div_ceil(panel);
            let group_length = panels * panel * read * taps.len();
            let mut values = vec![T::ZERO; conv.groups * group_length];
            let groups = values.chunks_exact_mut(group_length.max(1)).enumerate();
            for (group, mut rest) in groups {
                for block in channel_blocks(read, taps.len()) {
                    let depth = block.len() * taps.len();
                    let (here, after) = rest.split_at_mut(panels * panel * depth);
                    rest = after;
                    let pack = |(at, target): (usize, &mut [T])| {
                        for lane in 0..panel.min(made - at * panel) {
                            let row = at * panel + lane;
                            for (tap, k) in taps.iter().zip((0..).step_by(block.len())) {
                                // consecutive channels of this row lie `step` apart
                                let (first, step) = match direction {
                                    Direction::Plain => {
                                        let o = group * out_group + row;
                                        ((o * in_group + block.start) * squared, squared)
                                    }
                                    Direction::Adjoint => {
                                        let o = group * out_group + block.start;
                                        ((o * in_group + row) * squared, in_group * squared)
                                    }
                                };
                                for c in 0..block.len() {
                                    target[(k + c) * panel + lane] =
                                        kernel[first + tap.index + c * step];
                                }
                            }
                        }
                    };
                    let targets = here.par_chunks_exact_mut((panel * depth).max(1));
                    // a panel takes microseconds
                    targets.enumerate().with_min_len(4).for_each(pack);
                }
            }
            let packed_phase = PackedPhase { phase, values };
            match packed.rows.last_mut() {
                Some(row) if row[0].phase.start[0] == packed_phase.phase.start[0] => {
                    row.push(packed_phase);
                }
                _ => packed.rows.push(vec![packed_phase]),
            }
        }
        packed
    }

    /// The geometry.
    pub fn conv(&self) -> &Conv {
        &self.conv
    }

    /// The direction.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Channels of a group that are read and that are made.
    pub(crate) fn channels(&self) -> [usize; 2] {
        let [input, out] = [self.conv.input, self.conv.out].map(|c| c / self.conv.groups);
        match self.direction {
            Direction::Plain => [input, out],
            Direction::Adjoint => [out, input],
        }
    }
}

/// What follows a sum: `activation((sum + bias) · scale) + shift`.
#[derive(Clone, Copy, Debug)]
pub struct After<'a, T> {
    /// Per channel.
    pub bias: Option<&'a [T]>,
    /// A factor.
    pub scale: T,
    /// What comes then.
    pub activation: Activation,
    /// Per channel, last.
    pub shift: Option<&'a [T]>,
}

/// What is done with the entries of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// [max; min] of the two halves of the channels, whose number must be even.
    MaxMin,
    /// max(x, 0).
    Relu,
}

impl<T: Element> Default for After<'_, T> {
    fn default() -> Self {
        Self {
            bias: None,
            scale: T::ONE,
            activation: Activation::None,
            shift: None,
        }
    }
}

impl<T: Element> After<'_, T> {
    /// Panics where lengths do not fit the channels.
    pub(crate) fn check(&self, channels: usize) {
        for values in [self.bias, self.shift].into_iter().flatten() {
            assert_eq!(values.len(), channels, "values per channel");
        }
        let halves = self.activation == Activation::MaxMin;
        assert!(
            !halves || channels.is_multiple_of(2),
            "MaxMin of {channels} channels"
        );
    }

    /// On the entries of channel `channel` of maps in one layout.
    #[inline(always)]
    fn linear(&self, channel: usize, values: &mut [T]) {
        let bias = self.bias.map_or(T::ZERO, |bias| bias[channel]);
        if self.bias.is_some() || self.scale != T::ONE {
            values
                .iter_mut()
                .for_each(|v| *v = (*v + bias) * self.scale);
        }
    }

    /// As [`After::linear`], what comes last.
    #[inline(always)]
    fn shift(&self, channel: usize, values: &mut [T]) {
        if let Some(shift) = self.shift {
            for v in values {
                *v = *v + shift[channel];
            }
        }
    }

    /// On (channels, stride) entries from channel `first` on, in place.
    #[inline(always)]
    pub(crate) fn on(&self, first: usize, channels: usize, stride: usize, values: &mut [T]) {
        let values = &mut values[..channels * stride];
        for (channel, values) in values.chunks_exact_mut(stride).enumerate() {
            self.linear(first + channel, values);
        }
        match self.activation {
            Activation::None => {}
            Activation::Relu => {
                for v in values.iter_mut() {
                    *v = v.larger(T::ZERO);
                }
            }
            Activation::MaxMin => {
                let (a, b) = values.split_at_mut(channels / 2 * stride);
                for (a, b) in a.iter_mut().zip(b) {
                    (*a, *b) = (a.larger(*b), a.smaller(*b));
                }
            }
        }
        for (channel, values) in values.chunks_exact_mut(stride).enumerate() {
            self.shift(first + channel, values);
        }
    }

    /// On whole maps (B, channels, pixels), in place.
    pub(crate) fn apply(&self, channels: usize, pixels: usize, maps: &mut [T]) {
        let maps = maps.par_chunks_exact_mut(channels * pixels);
        maps.for_each(|map| self.on(0, channels, pixels, map));
    }
}
