//! `certiseg data info`: what a data set is.

use std::process::ExitCode;

use anyhow::Result;
use certiseg_net::data::{ClassCount, Level, Sizes, SplitCount, Survey};
use clap::Args;

use super::findings;
use super::place::Place;
use crate::fail::STOPPED;
use crate::output::{print_line, table};

/// Flags of `data info`.
#[derive(Args)]
pub struct Info {
    #[command(flatten)]
    place: Place,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
    /// Examples shown of each kind of finding
    #[arg(long, default_value_t = 3)]
    examples: usize,
}

impl Info {
    /// Says it.
    pub fn run(self) -> Result<ExitCode> {
        let found = self.place.open()?;
        let Some(survey) = found.survey()? else {
            return Ok(ExitCode::from(STOPPED));
        };
        match self.json {
            true => print_line(&serde_json::to_string(&survey)?)?,
            false => print_line(&words(&survey, &found.why, self.examples))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn words(survey: &Survey, why: &str, examples: usize) -> String {
    let mut lines = vec![
        format!("layout    {}: {why}", survey.layout),
        format!("pictures  {}, {} with masks", survey.pictures, survey.masks),
    ];
    if !survey.splits.is_empty() {
        let splits: Vec<String> = survey.splits.iter().map(split).collect();
        lines.push(format!("splits    {}", splits.join(", ")));
    }
    lines.extend(survey.sizes.as_ref().map(sizes));
    if survey.pixels > 0 {
        let void = percent(survey.void as f64 / survey.pixels as f64);
        lines.push(format!("void      {void} % of {} pixels", survey.pixels));
        lines.push(classes(&survey.classes));
        if !survey.classes_known {
            lines.push(
                "no classes.json says how many classes there are: these are the values found"
                    .into(),
            );
        }
    }
    lines.extend(findings::lines(&survey.findings, Level::Note, examples));
    lines.join("\n")
}

fn split(split: &SplitCount) -> String {
    let whole = format!("{} {}", split.name, split.pictures);
    match split.parts.is_empty() {
        true => whole,
        false => format!("{whole} (= {})", split.parts.join(" + ")),
    }
}

fn sizes(sizes: &Sizes) -> String {
    let show = |[height, width]: [usize; 2]| format!("{height}x{width}");
    if sizes.different == 1 {
        return format!("size      {} (height x width)", show(sizes.commonest));
    }
    format!(
        "sizes     {} to {}, median {} (height x width); {} different, most often {} ({} times)",
        show(sizes.smallest),
        show(sizes.largest),
        show(sizes.median),
        sizes.different,
        show(sizes.commonest),
        sizes.commonest_count
    )
}

fn classes(classes: &[ClassCount]) -> String {
    let header = [
        "class",
        "% of counted pixels",
        "mean % of a mask",
        "masks with it",
    ];
    let row = |class: &ClassCount| {
        let name = class.name.as_deref().unwrap_or_default();
        vec![
            format!("{} {name}", class.index).trim_end().to_owned(),
            percent(class.share),
            percent(class.mean_share),
            class.masks.to_string(),
        ]
    };
    let rows: Vec<_> = classes.iter().map(row).collect();
    table(&header.map(str::to_owned), &rows)
}

fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}
