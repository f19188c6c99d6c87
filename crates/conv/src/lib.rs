//! Convolutions on the CPU: slices in, slices out, f32 and f64, in the layout (batch, channels,
//! height, width) with kernels [out, in/groups, k, k].
//!
//! Three operations make a convolution layer and its gradients: [`Direction::Plain`],
//! [`Direction::Adjoint`] (the input gradient, and the transposed convolution), and
//! [`weight_gradient`].
//!
//! **One definition, many processors.** [`twin`] states every result as a chain of fused
//! multiply-adds in a fixed order. The fast paths (AVX-512, AVX2 with FMA, portable) keep that order
//! per entry, so they give the same bits as the twin, whatever the processor and the number of
//! threads. Zeros beyond the border are left out of a chain, which changes no finite result but the
//! sign of a zero.
//!
//! How it is fast: a tile of some 16 to 48 pixels times all input channels and taps is copied into
//! the first-level cache, there multiplied with the kernel, finished (bias, scale, activation) and
//! written, so that no unfolded image is ever stored. Strides are unfolded into planes beforehand,
//! and taps that lie in the border for a whole tile are skipped.

#[expect(
    unsafe_code,
    reason = "register tiles by address; channels of a tile lie apart in y"
)]
mod apply;
#[expect(
    unsafe_code,
    reason = "register tiles by address: no bound is checked per entry"
)]
mod gradient;
mod packed;
mod planes;
mod pointwise;
mod scratch;
mod shape;
#[expect(
    unsafe_code,
    reason = "the processor's own instructions, chosen at run time"
)]
mod simd;
pub mod twin;

pub use gradient::weight_gradient;
pub use packed::{Activation, After, Packed};
pub use pointwise::{SHARE, add_channels, channel_sums, max_min, max_min_backward, sum};
pub use shape::{Conv, Direction, Maps, Wrap};
pub use simd::{Element, instructions};

#[cfg(test)]
mod tests;
