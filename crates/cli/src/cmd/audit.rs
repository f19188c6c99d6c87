//! `certiseg audit`: the Lipschitz constant of a model, computed from its weights.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use certiseg_net::checkpoint::load_model;
use clap::Args;

use crate::fail::Usage;
use crate::output::{print_line, table};
use crate::source::size;

/// Flags of the verb.
#[derive(Args)]
pub struct Audit {
    /// Model or training checkpoint (safetensors)
    #[arg(long)]
    model: PathBuf,
    /// Size of the input, HEIGHTxWIDTH; by default that of the training
    #[arg(long, value_parser = size)]
    size: Option<[usize; 2]>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

impl Audit {
    /// Prints the bound of every layer and of the whole.
    pub fn run(self) -> Result<ExitCode> {
        let model = load_model(&self.model)?;
        let trained = model
            .origin
            .as_ref()
            .map(|o| [o.settings.height, o.settings.width]);
        let Some([height, width]) = self.size.or(trained) else {
            let hint = "give --size HEIGHTxWIDTH";
            return Err(Usage::error("the model does not say its input size", hint));
        };
        let audit = model.network.audit(height, width)?;
        if self.json {
            print_line(&serde_json::to_string(&audit)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let header = ["layer", "norm <=", "method"].map(str::to_owned);
        let rows: Vec<_> = audit
            .layers
            .iter()
            .map(|layer| {
                let norm = certiseg_cert::round_up(layer.norm, 9);
                vec![layer.name.clone(), norm, layer.method.to_string()]
            })
            .collect();
        print_line(&table(&header, &rows))?;
        let lipschitz = certiseg_cert::round_up(audit.lipschitz, 9);
        print_line(&format!(
            "L <= {lipschitz}  (l2, from pictures in [0,1] of {height}x{width} to all logits together; {} weights)",
            model.network.weights()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
