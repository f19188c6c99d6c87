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

/// The first graphics card; a real one before one that the processor plays.
#[cfg(any(feature = "gpu", feature = "cuda"))]
fn card() -> Result<Device> {
    use burn::tensor::DeviceType;

    let kinds = [
        #[cfg(feature = "cuda")]
        ("CUDA", DeviceType::Cuda),
        #[cfg(feature = "gpu")]
        ("Vulkan", DeviceType::Vulkan),
    ];
    let mut tried = Vec::new();
    for (name, kind) in kinds {
        // a library that finds no driver says so by a panic
        let found = std::panic::catch_unwind(|| Device::enumerate(kind).into_vec());
        match found.map(|devices| devices.into_iter().next()) {
            Ok(Some(device)) => return Ok(device),
            _ => tried.push(name),
        }
    }
    Err(Error::NoDevice {
        reason: format!("{} finds none", tried.join(" and ")),
    })
}

#[cfg(not(any(feature = "gpu", feature = "cuda")))]
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
