//! The command line of certiseg: parse, call, write.

/// A line on standard error; a closed one is no reason to stop.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod cmd;
mod conventions;
mod fail;
mod interrupt;
mod maps;
mod output;
mod palette;
mod picture;
mod progress;
mod region;
mod settings;
mod source;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Certified robustness for semantic segmentation.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// One minute, nothing to download: certify and attack a bundled network on generated images
    Demo(cmd::demo::Demo),
    /// Train a Lipschitz network on images and masks
    Train(cmd::train::Train),
    /// Bound the Lipschitz constant of a model, layer by layer, from its weights
    Audit(cmd::audit::Audit),
    /// Certificates: the worst value of a metric within a budget, the budget a goal needs
    Certify(cmd::certify::Certify),
    /// Attack a model and check that no attack beats its certificate
    Attack(cmd::attack::Attack),
    /// Time a training step or an inference, and show where the time goes
    Bench(cmd::bench::Bench),
    /// What a model is; its way in and out (ONNX, safetensors, graph files)
    #[command(subcommand)]
    Model(cmd::model::Model),
    /// Look at data sets before a training does; make one
    #[command(subcommand)]
    Data(cmd::data::Data),
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    // a choice that is not there must not be passed over in silence
    if let Err(message) = certiseg_net::bench::instructions() {
        return fail::report(&fail::Usage::error(
            message,
            "name one of these, or unset it",
        ));
    }
    let done = match verb {
        Verb::Demo(demo) => demo.run(),
        Verb::Train(train) => train.run(),
        Verb::Audit(audit) => audit.run(),
        Verb::Certify(certify) => certify.run(),
        Verb::Attack(attack) => attack.run(),
        Verb::Bench(bench) => bench.run(),
        Verb::Model(model) => model.run(),
        Verb::Data(data) => data.run(),
    };
    done.unwrap_or_else(|error| fail::report(&error))
}
