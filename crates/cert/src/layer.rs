//! The layers an audit knows, each with its l2 constant and why it holds. Paper 001 appendix C.

use crate::conv_bound::Conv;

/// One step of a network, from (channels, height, width) to the same.
#[derive(Clone, Debug)]
pub enum Layer<'a> {
    /// (x - mean) / std, channel by channel: 1 / min std.
    Normalize {
        /// Standard deviations, above 0.
        std: &'a [f32],
    },
    /// scale · convolution + bias.
    Conv {
        /// Name in messages.
        name: &'a str,
        /// The kernel, with its bias left out.
        conv: Conv<'a>,
        /// Rows added on each side; of a transposed convolution, rows cropped.
        padding: usize,
        /// What is added.
        wrap: Wrap,
        /// Factor of the result.
        scale: f32,
    },
    /// x - 2·K^T relu(K·x + b): max(1, 2·||K||^2 - 1).
    ///
    /// Its slopes I - 2·K^T D K, D diagonal in [0, 1], are symmetric with eigenvalues from
    /// 1 - 2·||K||^2 to 1. K^T is the exact adjoint of K on the padded map.
    Residual {
        /// Name in messages.
        name: &'a str,
        /// K, of stride 1 and not transposed.
        conv: Conv<'a>,
        /// Zeros on each side, dilation·(k-1)/2 with k odd: the map keeps its size.
        padding: usize,
    },
    /// x + constant.
    Shift,
    /// A function of each number that moves no two further apart, such as relu or abs: 1.
    Pointwise,
    /// Halves a, b of the channels to max(a, b), min(a, b); an even number of channels: 1.
    MaxMin,
    /// Groups of neighbouring channels, each sorted: 1, as no other order of two lists brings them
    /// closer than the sorted one.
    GroupSort {
        /// Channels in a group; it divides the channels.
        size: usize,
    },
    /// Pairs v = (x_c, x_{c + C/2}) to v - 2·relu(n·v)·n with n = (normal_c, normal_{c + C/2}):
    /// max over the pairs of max(1, 2·|n|^2 - 1), as for `Residual` with K = n^T.
    HouseHolder {
        /// Name in messages.
        name: &'a str,
        /// One number per channel.
        normal: &'a [f32],
    },
    /// x minus its mean over the image, plus a constant: 1, an orthogonal projection.
    Center,
    /// The mean over the image at every pixel: 1, an orthogonal projection.
    ImageMean,
    /// The maximum over the image at every pixel, times a factor: it moves at most by the largest
    /// move of a pixel, so by the l2 norm of all moves, and each of n pixels moves alike.
    ImageMax {
        /// The factor.
        spread: Spread,
    },
    /// Windows without padding, an incomplete last one dropped: average · side, l2 norm or maximum.
    /// ceil(size/stride): a window moves at most by the l2 norm of what moves inside it, and a
    /// pixel is in at most ceil(size/stride)^2 windows.
    Pool {
        /// Side of a window.
        size: usize,
        /// Step between windows.
        stride: usize,
    },
    /// (C·f^2, H, W) to (C, H·f, W·f): 1, numbers change place only.
    PixelShuffle {
        /// f.
        factor: usize,
    },
    /// (C, H·f, W·f) to (C·f^2, H, W): 1.
    PixelUnshuffle {
        /// f.
        factor: usize,
    },
    /// f times larger, nearest or bilinear with half-pixel centres and a clamped border, divided by
    /// f: 1. On an axis the weights are not negative, each row sums to 1 and each column to f (the
    /// clamped border is the mirrored one), so Schur's test gives sqrt(f), and both axes f.
    Upsample {
        /// f.
        factor: usize,
    },
    /// The outputs of branches of the same input, one after the other along the channels, times
    /// scale: |scale|·sqrt(sum L_i^2).
    Concat {
        /// Sequences of layers; an empty one is the identity.
        branches: Vec<Vec<Layer<'a>>>,
        /// Factor of the result.
        scale: f32,
    },
    /// The channels dealt out to branches in order, their outputs one after the other along the
    /// channels: max L_i, as the squares of disjoint inputs add up.
    Split {
        /// Channels of each part, and its layers.
        parts: Vec<(usize, Vec<Layer<'a>>)>,
    },
    /// The sum of weight·branch of the same input: sum |w_i|·L_i.
    Sum {
        /// Name in messages.
        name: &'a str,
        /// One per branch.
        weights: &'a [f32],
        /// Sequences of layers with outputs of one size; an empty one is the identity.
        branches: Vec<Vec<Layer<'a>>>,
    },
    /// (x + f(scale·x))·factor: |factor|·(1 + |scale|·L_f).
    Prescaled {
        /// Name in messages.
        name: &'a str,
        /// Factor of the input of f.
        scale: f32,
        /// Factor of the result.
        factor: f32,
        /// f, which keeps the size.
        branch: Vec<Layer<'a>>,
    },
}

/// Factor of a number that is repeated at every one of n pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// 1: the constant is sqrt(n).
    Full,
    /// 1/sqrt(n): the constant is 1.
    Even,
}

/// What is beyond the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// Zeros.
    Zeros,
    /// The other side.
    Circular,
}
