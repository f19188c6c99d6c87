//! The layers of a training step on the CPU: forward and backward by the kernels of
//! [`certiseg_conv`], for maps (B, C, H, W) in f32 and f64, as operations that burn's tensors and
//! their gradients know. Every gradient is written out; none is computed for a tensor that asks for
//! none.

mod autodiff;
mod buffers;
mod plain;
#[cfg(test)]
mod tests;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Device, Tensor};
use certiseg_conv::{Conv, Direction, Maps};

/// A convolution of maps of one size: y = scale · (W ∗ x + bias).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convolution {
    /// The geometry, with a kernel [out, input/groups, k, k].
    pub conv: Conv,
    /// Sizes of both maps.
    pub maps: Maps,
    /// From the fine maps to the coarse ones, or back (transposed).
    pub direction: Direction,
    /// A factor.
    pub scale: f64,
}

impl Convolution {
    /// Of fine maps, in the plain direction.
    pub fn plain(conv: Conv, [batch, _, height, width]: [usize; 4], scale: f64) -> Self {
        Self {
            conv,
            maps: conv.maps(batch, [height, width]),
            direction: Direction::Plain,
            scale,
        }
    }

    /// Of coarse maps, transposed: a side becomes (side − 1)·stride + dilation·(k − 1) + 1 −
    /// 2·padding.
    pub fn adjoint(conv: Conv, [batch, _, height, width]: [usize; 4], scale: f64) -> Self {
        let reach = conv.dilation * (conv.kernel - 1) + 1;
        let fine = [height, width]
            .map(|side| ((side - 1) * conv.stride + reach).saturating_sub(2 * conv.padding));
        Self {
            conv,
            maps: conv.maps(batch, fine),
            direction: Direction::Adjoint,
            scale,
        }
    }

    /// The same kernel in the other direction.
    fn reversed(self) -> Self {
        let direction = match self.direction {
            Direction::Plain => Direction::Adjoint,
            Direction::Adjoint => Direction::Plain,
        };
        Self { direction, ..self }
    }

    /// Shape of what it makes.
    fn result(&self) -> [usize; 4] {
        let (channels, [height, width]) = match self.direction {
            Direction::Plain => (self.conv.out, self.maps.coarse),
            Direction::Adjoint => (self.conv.input, self.maps.fine),
        };
        [self.maps.batch, channels, height, width]
    }

    /// What profiles call it; `reversed` where it is the gradient of the layer they mean.
    fn kind(&self, reversed: bool) -> String {
        let layer = if reversed { self.reversed() } else { *self };
        layer.conv.kind(layer.direction)
    }

    /// Floating-point operations.
    fn flop(&self) -> f64 {
        self.conv.flop(&self.maps)
    }

    /// Shape of the kernel.
    fn kernel(&self) -> [usize; 4] {
        let Conv {
            input,
            out,
            kernel,
            groups,
            ..
        } = self.conv;
        [out, input / groups, kernel, kernel]
    }
}

/// The operations, on a backend's own tensors.
#[backend_extension(Flex, Autodiff)]
pub trait Layers: Backend {
    /// See [`convolution`].
    fn layer_convolution(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        by: Convolution,
    ) -> FloatTensor<Self>;
    /// See [`residual`].
    fn layer_residual(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        by: Convolution,
    ) -> FloatTensor<Self>;
    /// See [`max_min`].
    fn layer_max_min(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`add_channels`].
    fn layer_add_channels(x: FloatTensor<Self>, values: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`channel_means`].
    fn layer_channel_means(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Whether these operations take the maps; elsewhere burn's own do the work.
pub fn takes(x: &Tensor<4>) -> bool {
    let here = x.device().without_autodiff() == Device::flex();
    here && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// scale · (W ∗ x + bias), with a bias (1, C, 1, 1) or none.
///
/// # Panics
/// Where shapes do not belong to the geometry.
pub fn convolution(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<4>>,
    by: Convolution,
) -> Tensor<4> {
    // no entry: no bias
    let bias = bias.unwrap_or_else(|| Tensor::empty([1, 0, 1, 1], (&x.device(), x.dtype())));
    let [x, kernel, bias] = [x, kernel, bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::layer_convolution(x, kernel, bias, by))
}

/// x − 2·Kᵀ relu(K ∗ x + bias), K a plain convolution that keeps the size, bias (1, C, 1, 1).
///
/// # Panics
/// Where shapes do not belong to the geometry.
pub fn residual(x: Tensor<4>, kernel: Tensor<4>, bias: Tensor<4>, conv: Conv) -> Tensor<4> {
    let by = Convolution::plain(conv, x.dims(), 1.0);
    let [x, kernel, bias] = [x, kernel, bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::layer_residual(x, kernel, bias, by))
}

/// [max; min] of the two halves of the channels.
pub fn max_min(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::layer_max_min(x.into_dispatch()))
}

/// x plus one value per channel, (1, C, 1, 1); in place where nobody else holds x.
pub fn add_channels(x: Tensor<4>, values: Tensor<4>) -> Tensor<4> {
    let [x, values] = [x, values].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::layer_add_channels(x, values))
}

/// Mean over maps and pixels, (1, C, 1, 1). No gradient flows through it: it feeds running means.
pub fn channel_means(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::layer_channel_means(x.into_dispatch()))
}
