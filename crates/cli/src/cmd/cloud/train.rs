//! `certiseg cloud train`: a small PointNet on labelled clouds under noise.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use certiseg_net::checkpoint::{save_model, write_whole};
use certiseg_net::cloud::train::{CloudTrain, train};
use clap::Args;

use super::data::CloudArgs;
use crate::fail::{STOPPED, Usage};
use crate::interrupt;
use crate::output::make_dir;
use crate::settings;

/// Flags of `cloud train`.
#[derive(Args)]
pub struct Train {
    /// Settings (TOML); what it does not name has its default
    config: Option<PathBuf>,
    #[command(flatten)]
    clouds: CloudArgs,
    /// Override one setting, for example --set sigma=0.1 or --set network.lipschitz=true
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Folder to make: model.safetensors, config.toml and, line by line, losses.jsonl
    #[arg(long)]
    out: PathBuf,
}

impl Train {
    /// Trains.
    pub fn run(self) -> Result<ExitCode> {
        let text = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                Some(text.with_context(|| format!("cannot read {}", path.display()))?)
            }
            None => None,
        };
        let mut settings: CloudTrain = settings::read_as(text.as_deref(), &self.sets)?;
        if self.out.exists() {
            let message = format!("{} is there already", self.out.display());
            return Err(Usage::error(
                message,
                "name a folder that does not exist yet",
            ));
        }
        let mut clouds = self.clouds.open(None)?;
        if settings.network.parts == 0 {
            settings.network.parts = clouds.catalogue.classes();
        }
        let mut all = Vec::with_capacity(clouds.len());
        while let Some(cloud) = clouds.next()? {
            all.push(cloud);
        }
        settings.check_with(&all, &clouds.catalogue)?;
        make_dir(&self.out)?;
        let config = toml::to_string(&settings)?;
        write_whole(&self.out.join("config.toml"), config.as_bytes())?;
        interrupt::listen()?;
        let (mut losses, mut stopped, start) = (String::new(), false, Instant::now());
        let file = self.out.join("losses.jsonl");
        let mut failed = None;
        let network = train(&settings, &all, &clouds.catalogue, &mut |epoch, loss| {
            let seconds = start.elapsed().as_secs_f64();
            say!("epoch {epoch}: loss {loss:.4}, {seconds:.0} s");
            // a string takes every write
            let _ = writeln!(
                losses,
                r#"{{"epoch":{epoch},"loss":{loss:?},"seconds":{seconds:?}}}"#
            );
            // a training that is killed leaves what it has come to
            failed = write_whole(&file, losses.as_bytes()).err();
            stopped = interrupt::asked();
            match stopped || failed.is_some() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let model = self.out.join("model.safetensors");
        save_model(&model, &network, None)?;
        say!("{}", model.display());
        Ok(match stopped {
            true => ExitCode::from(STOPPED),
            false => ExitCode::SUCCESS,
        })
    }
}
