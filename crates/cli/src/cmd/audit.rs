//! `certiseg audit`: the Lipschitz constant of a model, computed from its weights.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use certiseg_cert::LayerBound;
use certiseg_net::checkpoint::load_model;
use certiseg_net::node::convolutions;
use clap::Args;
use serde::Serialize;

use crate::fail::Usage;
use crate::output::{print_line, table};
use crate::progress::Progress;
use crate::source::size;

/// Flags of the verb.
#[derive(Args)]
pub struct Audit {
    /// Model or training checkpoint (safetensors)
    #[arg(
        value_name = "MODEL",
        required_unless_present = "model",
        conflicts_with = "model"
    )]
    file: Option<PathBuf>,
    /// The same
    #[arg(long)]
    model: Option<PathBuf>,
    /// Size of the input, HEIGHTxWIDTH; by default that of the training
    #[arg(long, value_parser = size)]
    size: Option<[usize; 2]>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// The JSON form.
#[derive(Serialize)]
struct Report<'a> {
    /// Upper bound of the joint l2 constant, from pictures in `[0, 1]` to all logits.
    lipschitz: f64,
    height: usize,
    width: usize,
    weights: usize,
    layers: Vec<Timed<'a>>,
}

/// One layer and how long its bound took.
#[derive(Serialize)]
struct Timed<'a> {
    #[serde(flatten)]
    bound: &'a LayerBound,
    seconds: f64,
}

impl Audit {
    /// Prints the bound of every layer and of the whole.
    pub fn run(self) -> Result<ExitCode> {
        let file = self.file.or(self.model).unwrap_or_default();
        let model = load_model(&file)?;
        let trained = model
            .origin
            .as_ref()
            .map(|o| [o.settings.height, o.settings.width]);
        let Some([height, width]) = self.size.or(trained) else {
            let hint = "give --size HEIGHTxWIDTH";
            return Err(Usage::error("the model does not say its input size", hint));
        };
        let progress = Progress::new("layer", convolutions(&model.network.nodes).len());
        let (mut seconds, mut since) = (Vec::new(), Instant::now());
        let audit = model.network.audit_with(height, width, &mut |layer| {
            seconds.push(since.elapsed().as_secs_f64());
            since = Instant::now();
            progress.set(seconds.len(), &layer.name);
        });
        progress.finish();
        let audit = audit?;
        if self.json {
            let timed = audit.layers.iter().zip(&seconds);
            let report = Report {
                lipschitz: audit.lipschitz,
                height,
                width,
                weights: model.network.weights(),
                layers: timed
                    .map(|(bound, &seconds)| Timed { bound, seconds })
                    .collect(),
            };
            print_line(&serde_json::to_string(&report)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let header = ["layer", "norm <=", "method", "ms"].map(str::to_owned);
        let rows: Vec<_> = audit
            .layers
            .iter()
            .zip(&seconds)
            .map(|(layer, seconds)| {
                let norm = certiseg_cert::round_up(layer.norm, 9);
                let time = format!("{:.1}", 1e3 * seconds);
                vec![layer.name.clone(), norm, layer.method.to_string(), time]
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
