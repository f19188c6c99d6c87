//! Where networks are trained: `--device`.

use anyhow::Result;
use certiseg_net::device::Compute;
use clap::Args;

/// The flag.
#[derive(Args, Debug)]
pub struct DeviceArgs {
    /// cpu, or gpu in a program built with the feature `gpu` (Vulkan) or `cuda`
    #[arg(long, default_value = "cpu")]
    device: String,
}

impl DeviceArgs {
    /// Opens it.
    pub fn open(&self) -> Result<Compute> {
        Ok(Compute::open(&self.device)?)
    }

    /// Its word.
    pub fn name(&self) -> String {
        self.device.clone()
    }
}
