//! `certiseg smooth plan`: how many samples for which radius, and what more of them bring.

use std::process::ExitCode;

use anyhow::Result;
use certiseg_cert::smoothing::{
    Correction, Law, Line, Plan as Planned, Promise, Proposal, Stage, sigmas, tau_of,
};
use certiseg_cert::{round_down, round_up};
use clap::{Args, ValueEnum};

use super::test::{CHOOSE, hinted};
use crate::fail::Usage;
use crate::output::{print_line, table};
use crate::progress::Progress;

/// Flags of the verb.
#[derive(Args)]
pub struct Plan {
    /// The radius that is wanted, for Gaussian noise: tau is that of eps/sigma
    #[arg(
        long,
        conflicts_with = "tau",
        required_unless_present = "tau",
        allow_negative_numbers = true
    )]
    eps: Option<f64>,
    /// Deviations of the noise, comma-separated; by default some from eps/2 to 6·eps. With --tau it gives the radius
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true)]
    sigma: Vec<f64>,
    /// The threshold itself
    #[arg(long, allow_negative_numbers = true)]
    tau: Option<f64>,
    /// Components that are tested together: pixels of a picture
    #[arg(long, value_name = "N")]
    pixels: u64,
    /// Level of an image
    #[arg(long, default_value_t = 0.001, allow_negative_numbers = true)]
    alpha: f64,
    /// holm, bonferroni, kfwer:K, count:B or none
    #[arg(long, default_value = "holm")]
    correction: Correction,
    /// All samples choose and test
    #[arg(long)]
    single_stage: bool,
    /// Samples that choose the classes
    #[arg(long, default_value_t = CHOOSE)]
    n0: usize,
    /// A number of test samples to look at
    #[arg(long)]
    n: Option<usize>,
    /// Probability of its class at which a pixel should be certified
    #[arg(long, default_value_t = 0.99, allow_negative_numbers = true)]
    p_ref: f64,
    /// Probability with which it should be
    #[arg(long, default_value_t = 0.95, allow_negative_numbers = true)]
    power: f64,
    /// Time of one forward in milliseconds (certiseg bench measures it)
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    forward_ms: Option<f64>,
    /// Steps that are shown
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    steps: u8,
    /// What standard output gets
    #[arg(long, default_value = "table")]
    format: Format,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for people.
    Table,
    /// A JSON object for each deviation of the noise.
    Json,
}

impl Plan {
    /// Plans.
    pub fn run(self) -> Result<ExitCode> {
        let all = self.proposals()?;
        if self.format == Format::Json {
            for proposal in &all {
                print_line(&serde_json::to_string(proposal)?)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        match &all[..] {
            [one] => {
                print_line(&steps(one))?;
                words(one).iter().try_for_each(|line| print_line(line))?;
            }
            _ => print_line(&scan(&all))?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn proposals(&self) -> Result<Vec<Proposal>> {
        let hint = "eps is from 0, sigma above 0: a radius of many sigma needs more samples than there are";
        let laws = |sigmas: &[f64]| {
            let law = |sigma: &f64| hinted(Law::Gaussian { sigma: *sigma }.check(), hint);
            sigmas.iter().map(law).collect::<Result<Vec<_>>>()
        };
        if let Some(tau) = self.tau {
            if self.sigma.len() > 1 {
                let hint = "give one, or --eps instead of --tau";
                return Err(Usage::error("--tau, and several --sigma", hint));
            }
            let law = laws(&self.sigma)?.pop();
            let progress = Progress::new("plan", 1);
            let proposal = self.proposal(tau, law);
            progress.finish();
            return Ok(vec![proposal?]);
        }
        let eps = self.eps.unwrap_or_default();
        hinted(tau_of(eps, 1.0), hint)?;
        let laws = match self.sigma.is_empty() {
            true => laws(&sigmas(eps))?,
            false => laws(&self.sigma)?,
        };
        let of = |law: Law| {
            let tau = hinted(law.threshold(eps, Promise::ClassOrAbstain), hint)?;
            self.proposal(tau, Some(law))
        };
        // where --p-ref is near tau each takes seconds
        let progress = Progress::new("plan", laws.len());
        let mut count = progress.counter();
        let laws = laws.into_iter().map(of);
        let all = laws.inspect(|_| count()).collect();
        progress.finish();
        all
    }

    fn proposal(&self, tau: f64, law: Option<Law>) -> Result<Proposal> {
        let plan = Planned {
            tau,
            tests: self.pixels,
            alpha: self.alpha,
            correction: self.correction,
            stage: if self.single_stage {
                Stage::SINGLE
            } else {
                Stage::Two
            },
            choose: if self.single_stage { 0 } else { self.n0 },
        };
        let wanted = (self.p_ref, self.power);
        let counts = (self.steps.into(), self.n);
        let proposal = Proposal::of(plan, law, wanted, counts, self.forward_ms);
        let hint = "tau is from 0.5, below 1; alpha, --p-ref and --power inside (0, 1), --pixels from 1, --n from 1 to 2^24";
        hinted(proposal, hint)
    }
}

fn count(count: Option<usize>) -> String {
    count.map_or("-".into(), |count| count.to_string())
}

fn seconds(line: &Line) -> String {
    line.seconds
        .map_or("-".into(), |seconds| format!("{seconds:.2}"))
}

const COLUMNS: [&str; 6] = ["n", "from votes", "misses", "power", "forwards", "seconds"];

fn cells(line: &Line) -> [String; 6] {
    [
        line.samples.to_string(),
        count(line.threshold),
        count(line.misses),
        // an estimate: to the nearest
        format!("{:.4}", line.power),
        line.forwards.to_string(),
        seconds(line),
    ]
}

/// One threshold: its steps.
fn steps(proposal: &Proposal) -> String {
    let header: Vec<String> = [
        "",
        "n",
        "from votes",
        "misses",
        "power",
        "forwards",
        "seconds",
    ]
    .map(str::to_owned)
    .into();
    let line = |name: &str, line: &Line| {
        std::iter::once(name.to_owned())
            .chain(cells(line))
            .collect::<Vec<_>>()
    };
    let named = |step: &Line| match proposal.recommended {
        Some(best) if best.samples == step.samples => line("recommended", step),
        _ => line("", step),
    };
    let mut lines: Vec<_> = proposal.steps.iter().map(named).collect();
    let shown = |other: &Line| {
        proposal
            .steps
            .iter()
            .any(|step| step.samples == other.samples)
    };
    lines.extend(
        proposal
            .recommended
            .iter()
            .filter(|best| !shown(best))
            .map(named),
    );
    lines.extend(proposal.asked.iter().map(|asked| line("asked", asked)));
    table(&header, &lines)
}

fn words(proposal: &Proposal) -> Vec<String> {
    let plan = &proposal.plan;
    let mut words = vec![format!(
        "tau {}, N = {}, alpha {}, {}; power: of a pixel whose class has probability {}, its guess being right",
        // whoever copies it gets the radius
        round_up(plan.tau, 6),
        plan.tests,
        plan.alpha,
        plan.correction,
        proposal.p_ref
    )];
    if let (Some(law), Some(radius)) = (proposal.law, proposal.radius) {
        words.push(format!("{law}: radius {}", round_down(radius, 6)));
    }
    match proposal.least {
        Some(least) => words.push(format!("below n = {least} everything abstains")),
        None => words.push("no number of samples is enough".into()),
    }
    if proposal.recommended.is_none() {
        words.push(format!(
            "no number of samples gives power {} at {}, which is not above tau or too near",
            proposal.power, proposal.p_ref
        ));
    }
    if let Some(asked) = proposal.asked {
        words.push(format!(
            "n = {} certifies at no tau above {}",
            asked.samples,
            round_up(asked.largest_tau, 6)
        ));
    }
    words.extend(
        proposal
            .warnings
            .iter()
            .map(|warning| format!("note: {warning}")),
    );
    words
}

/// Several deviations of the noise for one radius.
fn scan(all: &[Proposal]) -> String {
    let names = ["sigma", "tau", "least n"].into_iter().chain(COLUMNS);
    let header: Vec<_> = names.map(str::to_owned).collect();
    let line = |proposal: &Proposal| {
        let sigma = match proposal.law {
            Some(Law::Gaussian { sigma }) => format!("{sigma:.4}"),
            _ => String::new(),
        };
        let mut line = vec![sigma, round_up(proposal.plan.tau, 4), count(proposal.least)];
        match proposal.asked.or(proposal.recommended) {
            Some(best) => line.extend(cells(&best)),
            None => line.extend(COLUMNS.map(|_| "-".to_owned())),
        }
        line
    };
    let lines: Vec<_> = all.iter().map(line).collect();
    table(&header, &lines)
}
