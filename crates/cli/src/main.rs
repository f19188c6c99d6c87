//! The command line of certiseg: parse, call, write.

/// A line on standard error; a closed one is no reason to stop.
macro_rules! say {
    ($($words:tt)*) => {
        crate::progress::tell(&format!($($words)*))
    };
}

mod budgets;
mod cmd;
mod conventions;
mod device;
mod events;
mod fail;
mod fields;
mod hybrid;
mod interrupt;
mod logits;
mod maps;
mod output;
mod picture;
mod pictures;
mod presets;
mod progress;
mod region;
mod rows_file;
mod run;
mod run_folder;
mod runs;
mod saved;
mod settings;
mod shard;
mod source;
mod tally;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Certified robustness for semantic segmentation.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// How progress is shown on standard error
    #[arg(long, global = true, default_value = "auto", value_name = "STYLE")]
    progress: progress::Style,
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
    /// Plain figures: pixel accuracy, IoU, Dice, precision, recall by class, the confusion matrix
    Eval(cmd::eval::Eval),
    /// Attack a model and check that no attack beats its certificate
    Attack(cmd::attack::Attack),
    /// Time a training step or an inference, and show where the time goes
    Bench(cmd::bench::Bench),
    /// Certificates by randomized smoothing: of a model under noise, or from label maps or votes of any network
    Smooth(Box<cmd::smooth::Smooth>),
    /// Point clouds: generate shapes, certificates of part labels by randomized smoothing
    #[command(subcommand)]
    Cloud(cmd::cloud::Cloud),
    /// Deterministic and smoothed certificates on the same network and images, with what each costs
    Compare(cmd::compare::Compare),
    /// A table or figure of the papers: what makes it is run, and the paper's numbers stand beside ours
    Reproduce(cmd::reproduce::Reproduce),
    /// One HTML page of runs, which opens without a network: numbers, curves, masks under a budget slider
    Report(cmd::report::Report),
    /// Draw a figure of rows and maps as SVG, PDF or PNG
    Figure(cmd::figure::Figure),
    /// Make one of the rows that `--shard` has spread over processes
    Merge(cmd::merge::Merge),
    /// Rows as tables, those of the papers among them: for a terminal, Markdown, CSV, LaTeX, by a template
    Table(cmd::table::Table),
    /// What a model is; its way in and out (ONNX, safetensors, graph files)
    #[command(subcommand)]
    Model(cmd::model::Model),
    /// Look at data sets before a training does; make one
    #[command(subcommand)]
    Data(cmd::data::Data),
}

fn main() -> ExitCode {
    let Cli { verb, progress } = Cli::parse();
    progress.choose();
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
        Verb::Eval(eval) => eval.run(),
        Verb::Attack(attack) => attack.run(),
        Verb::Smooth(smooth) => smooth.run(),
        Verb::Cloud(cloud) => cloud.run(),
        Verb::Compare(compare) => compare.run(),
        Verb::Reproduce(reproduce) => reproduce.run(),
        Verb::Report(report) => report.run(),
        Verb::Figure(figure) => figure.run(),
        Verb::Merge(merge) => merge.run(),
        Verb::Bench(bench) => bench.run(),
        Verb::Table(table) => table.run(),
        Verb::Model(model) => model.run(),
        Verb::Data(data) => data.run(),
    };
    done.unwrap_or_else(|error| fail::report(&error))
}
