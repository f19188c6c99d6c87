//! `certiseg model`: what a model is, its constant, and its way in and out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use certiseg_net::checkpoint::{load_model, load_training, save_model, save_training, write_whole};
use certiseg_net::node::total_stride;
use certiseg_net::{import, onnx, summary};
use clap::{Args, Subcommand};

use crate::cmd::audit::Audit;
use crate::fail::Usage;
use crate::output::{print_line, table};
use crate::source::size;

/// What to do with a model.
#[derive(Subcommand)]
pub enum Model {
    /// The layers, their shapes and weights
    Info(Info),
    /// The Lipschitz constant, layer by layer, computed from the weights
    Audit(Audit),
    /// Write plain weights (.safetensors, with the graph inside) or ONNX (.onnx, opset 17)
    Export(Export),
    /// Write the parameters of a training alone: half the size of plain weights, baked on reading
    Pack(Pack),
    /// Read a baked network described by a graph file (JSON) and plain weights (safetensors)
    Import(Import),
}

impl Model {
    /// Does it.
    pub fn run(self) -> Result<ExitCode> {
        match self {
            Model::Info(info) => info.run(),
            Model::Audit(audit) => audit.run(),
            Model::Export(export) => export.run(),
            Model::Pack(pack) => pack.run(),
            Model::Import(import) => import.run(),
        }
    }
}

/// Flags of `model info`.
#[derive(Args)]
pub struct Info {
    /// Model or training checkpoint (safetensors)
    model: PathBuf,
    /// Size of the input for the shapes, HEIGHTxWIDTH; by default that of the training
    #[arg(long, value_parser = size)]
    size: Option<[usize; 2]>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

impl Info {
    fn run(self) -> Result<ExitCode> {
        let model = load_model(&self.model)?;
        let trained = model.origin.as_ref().map(|o| &o.settings);
        let trained_at = trained.map(|t| [t.height, t.width]);
        let summary = summary::of(&model.network, self.size.or(trained_at))?;
        if self.json {
            print_line(&serde_json::to_string(&summary)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let header = ["layer", "kind", "output", "weights"].map(str::to_owned);
        let rows = summary.lines.iter().map(|line| {
            let indent = "  ".repeat(line.depth);
            let output = match line.size {
                Some([height, width]) => format!("{}x{height}x{width}", line.channels),
                None => line.channels.to_string(),
            };
            let weights = if line.weights == 0 {
                String::new()
            } else {
                line.weights.to_string()
            };
            vec![
                format!("{indent}{}", line.name),
                line.kind.clone(),
                output,
                weights,
            ]
        });
        let rows: Vec<_> = rows.collect();
        print_line(&table(&header, &rows))?;
        print_line(&format!(
            "{} classes, {} weights, heights and widths in multiples of {}",
            summary.classes, summary.weights, summary.multiple
        ))?;
        if let Some(origin) = &model.origin {
            let Some([height, width]) = trained_at else {
                return Ok(ExitCode::SUCCESS);
            };
            print_line(&format!(
                "trained {} epochs at {height}x{width}",
                origin.epoch
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Flags of `model export`.
#[derive(Args)]
pub struct Export {
    /// Model or training checkpoint (safetensors)
    model: PathBuf,
    /// File to write: NAME.onnx or NAME.safetensors
    #[arg(long)]
    out: PathBuf,
}

impl Export {
    fn run(self) -> Result<ExitCode> {
        let format = writable(&self.out, &["onnx", "safetensors"])?;
        let model = load_model(&self.model)?;
        match format {
            "onnx" => write_whole(&self.out, &onnx::export(&model.network)?)?,
            _ => save_model(&self.out, &model.network, model.origin)?,
        }
        let multiple = total_stride(&model.network.nodes);
        say!(
            "wrote {}, for heights and widths in multiples of {multiple}",
            self.out.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Flags of `model pack`.
#[derive(Args)]
pub struct Pack {
    /// Training checkpoint (safetensors)
    checkpoint: PathBuf,
    /// File to write (.safetensors)
    #[arg(long)]
    out: PathBuf,
}

impl Pack {
    fn run(self) -> Result<ExitCode> {
        writable(&self.out, &["safetensors"])?;
        let state = load_training(&self.checkpoint)?;
        save_training(&self.out, &state.packed())?;
        let bytes = std::fs::metadata(&self.out)?.len();
        say!(
            "wrote {}, epoch {}, {:.1} MB; every verb reads it as a model",
            self.out.display(),
            state.epoch,
            bytes as f64 / 1e6
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Flags of `model import`.
#[derive(Args)]
pub struct Import {
    /// The layers and how data flows between them (JSON)
    #[arg(long)]
    graph: PathBuf,
    /// The weights (safetensors, F32)
    #[arg(long)]
    tensors: PathBuf,
    /// Model file to write (.safetensors)
    #[arg(long)]
    out: PathBuf,
}

impl Import {
    fn run(self) -> Result<ExitCode> {
        writable(&self.out, &["safetensors"])?;
        let network = import::read(&self.graph, &self.tensors)?;
        save_model(&self.out, &network, None)?;
        say!(
            "wrote {}, {} classes, {} weights",
            self.out.display(),
            network.classes(),
            network.weights()
        );
        say!(
            "next:  certiseg audit --model {} --size HEIGHTxWIDTH",
            self.out.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// The format that the name of a file to be written says, one of `formats`.
fn writable<'a>(out: &Path, formats: &[&'a str]) -> Result<&'a str> {
    if out.exists() {
        let hint = "name another --out, or remove it first";
        return Err(Usage::error(format!("{} exists", out.display()), hint));
    }
    let named = out.extension().and_then(|e| e.to_str());
    let format = formats
        .iter()
        .find(|f| named.is_some_and(|n| n.eq_ignore_ascii_case(f)));
    format.copied().ok_or_else(|| {
        let message = format!("--out {} says no format that can be written", out.display());
        Usage::error(message, format!("name it .{}", formats.join(" or .")))
    })
}
