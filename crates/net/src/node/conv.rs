//! The description of a convolution.

use serde::{Deserialize, Serialize};

use super::check::LARGEST;
use crate::layer::Parametrisation;
use crate::layer::aoc::Aoc;
use crate::layer::aol::Aol;
use crate::layer::orthogonal::Orthogonaliser;
use crate::layer::shape::Shape;
use crate::layer::soc::Soc;
use crate::layer::spectral::Spectral;
use crate::layer::unit_rows::UnitRows;

/// What lies beyond the border. Reflected and repeated borders are not offered: with them the norm
/// of an orthogonal kernel rises up to 2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrap {
    /// Zeros; with padding 0 a valid convolution.
    Zeros,
    /// The opposite border; sound only where the stride divides the map.
    Circular,
}

/// How a kernel follows from raw parameters in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Construction {
    /// The raw parameters themselves: no constraint.
    #[default]
    Free,
    /// Orthogonal: BCOP, RKO or their composition, with this orthogonaliser.
    Aoc(Orthogonaliser),
    /// Divided by its norm as a convolution: an estimate in training, the audited bound when baked.
    Spectral,
    /// Almost orthogonal: scaled per input channel, norm at most 1 by a closed formula.
    Aol,
    /// The truncated exponential of a skew kernel.
    Soc {
        /// Terms of the series after the identity.
        terms: usize,
    },
    /// A 1x1 kernel with rows of norm 1.
    UnitRows,
}

/// y = scale · (W ∗ x + bias).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Prefix of its tensors.
    pub name: String,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub out: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Distance of the taps.
    pub dilation: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Rows and columns added on every side; of a transposed convolution, cropped.
    pub padding: usize,
    /// What they hold.
    pub wrap: Wrap,
    /// Whether it enlarges the map by its stride.
    pub transposed: bool,
    /// Whether there is a bias, tensor NAME.bias.
    pub bias: bool,
    /// A constant factor on the output (RMS scaling).
    pub scale: f32,
    /// How the kernel was made; no bound relies on it.
    pub construction: Construction,
}

impl Conv {
    /// A convolution of stride 1 that keeps the size (odd kernel): zero padding, no bias, no
    /// constraint.
    pub fn same(name: impl Into<String>, input: usize, out: usize, kernel: usize) -> Self {
        Self {
            name: name.into(),
            input,
            out,
            kernel,
            stride: 1,
            dilation: 1,
            groups: 1,
            padding: kernel / 2,
            wrap: Wrap::Zeros,
            transposed: false,
            bias: false,
            scale: 1.0,
            construction: Construction::Free,
        }
    }

    /// Shape of the kernel.
    pub fn shape(&self) -> Shape {
        Shape {
            input: self.input,
            out: self.out,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            groups: self.groups,
            transposed: self.transposed,
        }
    }

    /// As the kernels of [`certiseg_conv`] see it: a transposed convolution goes from the coarse map
    /// to the fine one.
    pub(crate) fn geometry(&self) -> certiseg_conv::Conv {
        let (input, out) = match self.transposed {
            true => (self.out, self.input),
            false => (self.input, self.out),
        };
        certiseg_conv::Conv {
            input,
            out,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            groups: self.groups,
            padding: self.padding,
            wrap: match self.wrap {
                Wrap::Zeros => certiseg_conv::Wrap::Zeros,
                Wrap::Circular => certiseg_conv::Wrap::Circular,
            },
        }
    }

    /// How the kernel follows from raw parameters.
    pub fn parametrisation(&self) -> Parametrisation {
        let shape = self.shape();
        match self.construction {
            Construction::Free => Parametrisation::Kernel { shape },
            Construction::Aoc(by) => Parametrisation::Aoc(Aoc { shape, by }),
            Construction::Spectral => Parametrisation::Spectral(Spectral { shape }),
            Construction::Aol => Parametrisation::Aol(Aol { shape }),
            Construction::Soc { terms } => Parametrisation::Soc(Soc {
                channels: self.out,
                kernel: self.kernel,
                terms,
            }),
            Construction::UnitRows => Parametrisation::UnitRows(UnitRows {
                rows: self.out,
                columns: self.input,
            }),
        }
    }

    /// Side of the output for a side of the input; `None` where the kernel does not fit.
    pub(crate) fn output_side(&self, side: usize) -> Option<usize> {
        let reach = self.dilation * (self.kernel - 1);
        let padding = 2 * self.padding;
        let side = match self.transposed {
            true => {
                let apart = side.checked_sub(1)?.checked_mul(self.stride)?;
                apart.checked_add(reach + 1)?.checked_sub(padding)?
            }
            false if self.wrap == Wrap::Circular && self.padding > side => return None,
            false => side.checked_add(padding)?.checked_sub(reach + 1)? / self.stride + 1,
        };
        (1..=LARGEST).contains(&side).then_some(side)
    }

    /// Name of the weight tensor.
    pub fn weight_name(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Name of the bias tensor.
    pub fn bias_name(&self) -> String {
        format!("{}.bias", self.name)
    }
}
