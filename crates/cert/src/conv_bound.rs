//! An upper bound of the norm of a convolution, from its kernel alone.
//!
//! On Z^2 dilation leaves the norm (see `step`), and the kernel is regrouped by the stride (polyphase)
//! into one of stride 1, whose norm is sup ||P(theta)||. Zero-padded, valid, cropped, transposed and dilated maps, and circular ones
//! whose size the stride divides, are compressions or samples of it. Groups are independent blocks:
//! their maximum counts.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::gram::{Gram, adjoint};

/// A convolution as torch stores it.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// (out, in/groups, k, k); transposed: (in, out/groups, k, k).
    pub kernel: &'a [f32],
    /// Channels of the output.
    pub out_channels: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Groups; they divide both channel counts.
    pub groups: usize,
    /// Side k of the kernel.
    pub kernel_size: usize,
    /// Stride, at least 1.
    pub stride: usize,
    /// Dilation, at least 1.
    pub dilation: usize,
    /// Whether it is a transposed convolution.
    pub transposed: bool,
}

/// How a bound was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Row sums and Frobenius norms of the kernel's Gram sequence.
    Residual,
    /// Eigenvalues on a grid of frequencies, with the correction between its points.
    Grid,
    /// A closed formula.
    Rule,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Method::Residual => "residual",
            Method::Grid => "grid",
            Method::Rule => "rule",
        })
    }
}

/// An upper bound of a norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Rounded up, finite.
    pub norm: f64,
    /// How it was found.
    pub method: Method,
}

impl Conv<'_> {
    /// Rows a kernel covers once dilated: dilation·(k-1) + 1; `None` where that overflows.
    pub(crate) fn extent(&self) -> Option<usize> {
        self.kernel_size
            .checked_sub(1)?
            .checked_mul(self.dilation)?
            .checked_add(1)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let numbers = [
            ("out_channels", self.out_channels),
            ("in_channels", self.in_channels),
            ("groups", self.groups),
            ("kernel_size", self.kernel_size),
            ("stride", self.stride),
            ("dilation", self.dilation),
        ];
        for (what, got) in numbers {
            /// Keeps every product below 2^64.
            const LARGEST: usize = 1 << 20;
            if !(1..=LARGEST).contains(&got) {
                return Err(Error::Shape {
                    what,
                    got,
                    expected: format!("1 to {LARGEST}"),
                });
            }
        }
        for (what, got) in [
            ("out_channels", self.out_channels),
            ("in_channels", self.in_channels),
        ] {
            if got % self.groups != 0 {
                return Err(Error::Shape {
                    what,
                    got,
                    expected: format!("a multiple of {} groups", self.groups),
                });
            }
        }
        let [_, outer, inner] = self.blocks();
        let channels = outer * self.groups * inner;
        let expected = channels.checked_mul(self.kernel_size * self.kernel_size);
        if expected != Some(self.kernel.len()) {
            let expected = expected.map_or("fewer channels".into(), |n| {
                format!("{n} from channels, groups and kernel_size")
            });
            return Err(Error::Shape {
                what: "kernel length",
                got: self.kernel.len(),
                expected,
            });
        }
        match self.kernel.iter().position(|w| !w.is_finite()) {
            Some(index) => Err(Error::Number {
                what: "weight",
                index,
                value: self.kernel[index],
                expected: "a finite number",
            }),
            None => Ok(()),
        }
    }

    /// Groups, and the outer and inner channels of one: the kernel is (groups, outer, inner, k, k).
    fn blocks(&self) -> [usize; 3] {
        let (outer, inner) = match self.transposed {
            true => (self.in_channels, self.out_channels),
            false => (self.out_channels, self.in_channels),
        };
        [self.groups, outer / self.groups, inner / self.groups]
    }

    /// The stride of the kernel without dilation that has the same norm on Z^2: s/g, g the greatest
    /// common divisor of stride s and dilation d. Output t reads at s·t + d·m = g·(s't + d'm): one
    /// class modulo g. With t = d'τ + ρ that is s'ρ + d'(s'τ + m), and the d' residues s'ρ modulo d'
    /// differ: d' independent copies of stride s' without dilation.
    fn step(&self) -> usize {
        let (mut a, mut b) = (self.stride, self.dilation);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        self.stride / a
    }

    /// The polyphase kernel of one group: side of its taps, and (outer, taps, inner·phases).
    fn polyphase(&self, block: &[f32]) -> Result<(usize, Vec<f64>)> {
        let [_, outer, inner] = self.blocks();
        let k = self.kernel_size;
        let stride = self.step();
        let side = k.div_ceil(stride);
        let phases = stride.min(k);
        let columns = inner * phases * phases;
        /// 2^27 numbers, 1 GiB.
        const LARGEST: usize = 1 << 27;
        let length = [side, side, columns]
            .into_iter()
            .try_fold(outer, |product, n| product.checked_mul(n));
        let length = length.filter(|&n| n <= LARGEST).ok_or(TOO_LARGE)?;
        let mut matrix = vec![0.0; length];
        for (index, &weight) in block.iter().enumerate() {
            let (y, x) = (index / k % k, index % k);
            let (o, i) = (index / (k * k) / inner, index / (k * k) % inner);
            let tap = (y / stride) * side + x / stride;
            let phase = (y % stride) * phases + x % stride;
            matrix[(o * side * side + tap) * columns + i * phases * phases + phase] =
                f64::from(weight);
        }
        Ok((side, matrix))
    }
}

const TOO_LONG: Error = Error::Unsupported {
    what: "a kernel whose bound needs hours",
    way_out: "use fewer channels, groups, or a smaller kernel",
};

pub(crate) const TOO_LARGE: Error = Error::Unsupported {
    what: "a kernel whose bound needs over 1 GiB",
    way_out: "use fewer channels, groups, or a smaller stride or dilation",
};

/// An upper bound of the l2 norm of a convolution without bias, for every map size and zero,
/// valid or (see [`crate::audit`]) circular padding.
///
/// Finite for every finite kernel. Within 0.1 % of the norm where the kernel is close to a multiple
/// of an orthogonal one. Of a free kernel of up to 1024 channels (the smaller side, in a group)
/// within about 1 % for 3 x 3 up to 600 and for 5 x 5 up to 128, within 4 % beyond, and 2 to 11 % for
/// 7 x 7, in seconds: of more channels it is bounded by row sums and Frobenius norms, some times the norm.
/// Errors: [`Error::Shape`], [`Error::Number`], [`Error::Unsupported`] beyond 1 GiB of work space.
pub fn conv_bound(conv: &Conv) -> Result<Bound> {
    conv_bound_to(conv, 0.0)
}

/// As [`conv_bound`], but a bound of at most `enough` that is cheap is not improved.
pub fn conv_bound_to(conv: &Conv, enough: f64) -> Result<Bound> {
    conv.check()?;
    let [groups, outer, _] = conv.blocks();
    let mut largest = Bound {
        norm: 0.0,
        method: Method::Residual,
    };
    for block in conv.kernel.chunks_exact(conv.kernel.len() / groups) {
        let (side, matrix) = conv.polyphase(block)?;
        // products of the Gram sequence: pairs of rows, shifts, taps, columns
        let rows = outer.min(matrix.len() / outer / (side * side)) as u128;
        let taps = (side * side) as u128;
        /// About an hour on one core.
        const LARGEST: u128 = 1 << 43;
        if rows * (matrix.len() as u128 / outer as u128).max(1) * 2 * taps * rows > LARGEST {
            return Err(TOO_LONG);
        }
        // of a square kernel the other side is as small, and may give the cheap bound that is enough
        let square = matrix.len() == outer * side * side * outer;
        let other = (enough > 0.0 && square).then(|| adjoint(outer, side * side, &matrix));
        let gram = Gram::of(outer, side, matrix)?;
        let bound = match other {
            Some(other) if gram.cheap().norm > enough => {
                let cheap = Gram::of(outer, side, other)?.cheap();
                match cheap.norm <= enough {
                    true => cheap,
                    false => gram.bound(enough),
                }
            }
            _ => gram.bound(enough),
        };
        if bound.norm >= largest.norm {
            largest = bound;
        }
    }
    Ok(largest)
}
