//! The geometry of a convolution: which pixel meets which tap.

/// Most pixels of a map: they are counted in 32 bits. No stride, side or padding is larger.
const LARGEST: usize = u32::MAX as usize;

/// What lies beyond the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// Zeros.
    Zeros,
    /// The opposite border; the stride must divide the map, and the padding keep it at that.
    Circular,
}

/// Which way a kernel is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the fine map with `input` channels to the coarse one with `out`.
    Plain,
    /// The adjoint: from the coarse map with `out` channels to the fine one with `input`.
    Adjoint,
}

/// A convolution of the fine map (B, input, H, W) to the coarse one (B, out, H', W'), with a kernel
/// [out, input/groups, kernel, kernel].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Channels of the fine map.
    pub input: usize,
    /// Channels of the coarse map.
    pub out: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Distance of the taps.
    pub dilation: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Rows and columns beyond every border.
    pub padding: usize,
    /// What they hold.
    pub wrap: Wrap,
}

/// Size of a batch of fine maps, and of the coarse ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maps {
    /// Maps.
    pub batch: usize,
    /// Height and width of a fine map.
    pub fine: [usize; 2],
    /// Height and width of a coarse map.
    pub coarse: [usize; 2],
}

impl Conv {
    /// Maps whose fine side is given.
    ///
    /// # Panics
    /// Where the kernel does not fit, or a circular border does not close.
    pub fn maps(&self, batch: usize, fine: [usize; 2]) -> Maps {
        let side = |side| {
            let coarse = self.side(side);
            coarse.unwrap_or_else(|| panic!("{self:?} does not fit into a side of {side}"))
        };
        let coarse = fine.map(side);
        let maps = Maps {
            batch,
            fine,
            coarse,
        };
        self.check(&maps);
        maps
    }

    /// Whether a circular border closes: the coarse map is the fine one divided by the stride.
    pub fn closes(&self, fine: [usize; 2]) -> bool {
        let closed = |&side: &usize| self.side(side).map(|coarse| coarse * self.stride);
        fine.iter().all(|side| closed(side) == Some(*side))
    }

    /// Side of the coarse map; `None` where the kernel does not fit.
    fn side(&self, side: usize) -> Option<usize> {
        let reach = self.dilation.checked_mul(self.kernel.checked_sub(1)?)?;
        let padded = self.padding.checked_mul(2)?.checked_add(side)?;
        let room = padded.checked_sub(reach.checked_add(1)?)?;
        Some(room.checked_div(self.stride)? + 1)
    }

    /// Floating-point operations on maps: two per weight and coarse pixel, those on the border too.
    pub fn flop(&self, maps: &Maps) -> f64 {
        2.0 * (self.weights() * maps.batch * maps.coarse_pixels()) as f64
    }

    /// What this kind of layer is called in a table: `3x3 32->64, stride 2`.
    pub fn kind(&self, direction: Direction) -> String {
        let (from, to) = match direction {
            Direction::Plain => (self.input, self.out),
            Direction::Adjoint => (self.out, self.input),
        };
        let mut kind = format!("{0}x{0} {from}->{to}", self.kernel);
        let unusual = [
            ("stride", self.stride),
            ("dilation", self.dilation),
            ("groups", self.groups),
        ];
        for (word, number) in unusual {
            if number > 1 {
                kind.push_str(&format!(", {word} {number}"));
            }
        }
        if direction == Direction::Adjoint {
            kind.push_str(", transposed");
        }
        kind
    }

    /// Panics where sizes and description do not belong together.
    pub(crate) fn check(&self, maps: &Maps) {
        // below these limits no index wraps, whatever a profile says of overflow
        let entries = |channels: usize, [height, width]: [usize; 2]| {
            let pixels = height.checked_mul(width).filter(|&p| p <= LARGEST)?;
            pixels.checked_mul(channels)?.checked_mul(maps.batch)
        };
        let sizes = [
            entries(self.input, maps.fine),
            entries(self.out, maps.coarse),
        ];
        let lengths = [self.stride, self.dilation, self.padding, self.kernel];
        assert!(
            !sizes.contains(&None) && lengths.iter().all(|&length| length <= LARGEST),
            "{self:?} on {maps:?} is too large"
        );
        let numbers = [
            self.input,
            self.out,
            self.kernel,
            self.stride,
            self.dilation,
        ];
        assert!(
            self.groups > 0 && !numbers.contains(&0),
            "a zero dimension in {self:?}"
        );
        assert!(
            self.input.is_multiple_of(self.groups) && self.out.is_multiple_of(self.groups),
            "{self:?}: groups do not divide the channels"
        );
        for (fine, coarse) in maps.fine.into_iter().zip(maps.coarse) {
            // a fine map may have rows that no window reaches
            assert!(
                fine > 0 && Some(coarse) == self.side(fine),
                "{self:?} on {maps:?}"
            );
            let closed = self.wrap == Wrap::Zeros || coarse * self.stride == fine;
            assert!(
                closed,
                "{self:?}: a circular border does not close on {maps:?}"
            );
        }
    }

    /// Number of weights.
    ///
    /// # Panics
    /// Where no memory could hold them.
    pub(crate) fn weights(&self) -> usize {
        let factors = [self.input / self.groups, self.kernel, self.kernel];
        let product = factors
            .iter()
            .try_fold(self.out, |product, &f| product.checked_mul(f));
        product.unwrap_or_else(|| panic!("the kernel of {self:?} is too large"))
    }

    /// Where tap `tap` of an axis reads, relative to stride · (coarse index).
    pub(crate) fn offset(&self, tap: usize) -> isize {
        (tap * self.dilation) as isize - self.padding as isize
    }
}

impl Maps {
    /// Pixels of a fine map.
    pub fn fine_pixels(&self) -> usize {
        self.fine[0] * self.fine[1]
    }

    /// Pixels of a coarse map.
    pub fn coarse_pixels(&self) -> usize {
        self.coarse[0] * self.coarse[1]
    }
}

/// A tap as seen from the pixels that are computed: it reads the pixel at the same place of a plane
/// of the source, shifted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    /// Row · side + column in the kernel.
    pub index: usize,
    /// Plane of the source: its first row and column.
    pub plane: [usize; 2],
    /// Rows and columns to add.
    pub shift: [isize; 2],
}

/// Pixels of the result that meet the same taps: rows `start[0]`, `start[0] + step`, ...
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub start: [usize; 2],
    pub step: usize,
    /// In the order of the kernel.
    pub taps: Vec<Tap>,
}

impl Phase {
    /// Height and width of the pixels of a phase in a result of the given size.
    pub fn size(&self, result: [usize; 2]) -> [usize; 2] {
        let [rows, columns] = self.start;
        [
            result[0].saturating_sub(rows).div_ceil(self.step),
            result[1].saturating_sub(columns).div_ceil(self.step),
        ]
    }
}

/// The phases of a direction; those without taps give zero.
pub(crate) fn phases(conv: &Conv, direction: Direction) -> Vec<Phase> {
    let stride = conv.stride as isize;
    let pairs = |side: usize| (0..side * side).map(move |at| [at / side, at % side]);
    match direction {
        Direction::Plain => {
            let taps = pairs(conv.kernel).enumerate().map(|(index, tap)| {
                let offset = tap.map(|t| conv.offset(t));
                Tap {
                    index,
                    plane: offset.map(|o| o.rem_euclid(stride) as usize),
                    shift: offset.map(|o| o.div_euclid(stride)),
                }
            });
            vec![Phase {
                start: [0, 0],
                step: 1,
                taps: taps.collect(),
            }]
        }
        // the fine pixel stride·q + start is read by tap t from the coarse pixel
        // (stride·q + start − offset)/stride
        Direction::Adjoint => pairs(conv.stride)
            .map(|start| {
                let taps = pairs(conv.kernel).enumerate().filter_map(|(index, tap)| {
                    let apart = [0, 1].map(|axis| start[axis] as isize - conv.offset(tap[axis]));
                    let here = apart.iter().all(|a| a.rem_euclid(stride) == 0);
                    here.then(|| Tap {
                        index,
                        plane: [0, 0],
                        shift: apart.map(|a| a.div_euclid(stride)),
                    })
                });
                Phase {
                    start,
                    step: conv.stride,
                    taps: taps.collect(),
                }
            })
            .collect(),
    }
}
