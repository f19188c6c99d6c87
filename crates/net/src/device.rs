//! Where tensors are computed.

use burn::tensor::Device;

use crate::error::{Error, Result};

/// A processor that trains and computes logits. What certifies runs on the CPU beside any of them.
#[derive(Clone, Debug, Default)]
pub enum Compute {
    /// The processor, by the kernels of [`certiseg_conv`].
    #[default]
    Cpu,
    /// A graphics card, by the tensor library's own kernels, in f32.
    Gpu(Device),
}

impl Compute {
    /// The device called `cpu` or `gpu`.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::NoDevice`] where the program was built without a graphics
    /// card in mind, or there is none.
    pub fn open(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "gpu" => card().map(Self::Gpu),
            _ => Err(Error::UnknownName {
                what: "device",
                got: name.to_owned(),
                expected: "cpu, gpu".to_owned(),
            }),
        }
    }

    /// The tensor library's device, with gradients.
    pub(crate) fn training(&self) -> Device {
        match self {
            Self::Cpu => Device::flex().autodiff(),
            Self::Gpu(device) => device.clone().autodiff(),
        }
    }
}

fn card() -> Result<Device> {
    Err(Error::NoDevice {
        reason: "this program was built without the feature `gpu` or `cuda`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        assert!(matches!(Compute::open("cpu"), Ok(Compute::Cpu)));
        let error = Compute::open("tpu").unwrap_err().to_string();
        assert!(
            error.contains("tpu") && error.contains("cpu, gpu"),
            "{error}"
        );
    }
}
