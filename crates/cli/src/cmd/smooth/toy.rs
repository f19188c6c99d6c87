//! `certiseg smooth toy`: the toy experiment of paper 002, simulated beside its exact expectation.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use certiseg_cert::smoothing::{
    Correction, Expectation, Law, Toy as Experiment, indiv_class, joint_class,
};
use certiseg_net::rng::Rng;
use certiseg_net::toy::Oracle;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::fail::{REQUIREMENT, STOPPED};
use crate::interrupt;
use crate::output::{Format, Rows, head, print_line, table};
use crate::progress::Progress;

/// Components drawn at most, of all runs of a point.
const MOST: u64 = 10_000_000;

/// Flags of the verb.
#[derive(Args)]
pub struct Toy {
    /// 2a, 2b, 2c, 6a, 6b or all
    #[arg(long, value_delimiter = ',', default_value = "all")]
    figure: Vec<Figure>,
    /// Runs of a point (the paper: 600 for 2a and 2b); of a million components ten at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: u64,
    /// Step of the error in 2a and 2b (the paper: 0.001)
    #[arg(long, default_value_t = 0.004, value_parser = step)]
    step: f64,
    /// Largest number of components in 2c, 6a and 6b, a power of ten
    #[arg(long, default_value_t = 1_000_000, value_parser = power)]
    components: u64,
    /// Seed of all draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for rows.jsonl
    #[arg(long)]
    out: Option<PathBuf>,
    /// What standard output gets
    #[arg(long, default_value = "table")]
    format: Format,
}

/// A figure of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
enum Figure {
    /// All of them.
    #[value(name = "all")]
    All,
    /// Share certified over the error, n0 = n = 100.
    #[value(name = "2a")]
    #[serde(rename = "2a")]
    F2a,
    /// The same, n0 = n = 1000.
    #[value(name = "2b")]
    #[serde(rename = "2b")]
    F2b,
    /// Over the number of components.
    #[value(name = "2c")]
    #[serde(rename = "2c")]
    F2c,
    /// With errors allowed, alpha = 0.1.
    #[value(name = "6a")]
    #[serde(rename = "6a")]
    F6a,
    /// With errors allowed, alpha = 0.001.
    #[value(name = "6b")]
    #[serde(rename = "6b")]
    F6b,
}

/// Where settings are from, where the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Variant {
    /// The paper's text.
    Text,
    /// Its released code.
    Code,
}

/// The settings of a run as its head row tells them.
#[derive(Serialize)]
struct Settings<'a> {
    figures: &'a [Figure],
    runs: u64,
    step: f64,
    components: u64,
}

/// A series at a point.
#[derive(Serialize)]
struct Row {
    kind: &'static str,
    figure: Figure,
    settings: Variant,
    /// `joint-class`, `indiv-class` or a correction.
    series: String,
    toy: Experiment,
    runs: u64,
    /// Mean share of certified components.
    simulated: f64,
    /// Its expectation, where one is known in closed form.
    exact: Option<f64>,
    /// The simulated share is within this of it, but for a probability of 10^-6.
    within: Option<f64>,
}

impl Row {
    fn agrees(&self) -> Option<bool> {
        Some((self.simulated - self.exact?).abs() <= self.within?)
    }
}

/// A point of a figure.
struct Point {
    figure: Figure,
    settings: Variant,
    toy: Experiment,
    corrections: Vec<Correction>,
    /// Whether the algorithms for whole pictures take part, which need label maps.
    naive: bool,
}

impl Toy {
    /// Simulates.
    pub fn run(self) -> Result<ExitCode> {
        let points = self.points();
        let settings = Settings {
            figures: &self.figure,
            runs: self.runs,
            step: self.step,
            components: self.components,
        };
        let head = head(&settings).verb("smooth toy", None).seed(self.seed);
        let mut rows = Rows::open(self.format, self.out.as_deref(), &head)?;
        if self.format == Format::Csv {
            rows.print(CSV)?;
        }
        let progress = Progress::new("toy", points.len());
        let mut all = Vec::new();
        interrupt::listen()?;
        for (index, point) in points.iter().enumerate() {
            let Some(done) = self.simulate(point)? else {
                progress.finish();
                return Ok(ExitCode::from(STOPPED));
            };
            for row in &done {
                rows.push(row)?;
                if self.format == Format::Csv {
                    rows.print(&csv(row))?;
                }
            }
            all.extend(done);
            progress.set(index + 1, "");
        }
        progress.finish();
        if let Some(path) = rows.finish()? {
            say!("rows  {}", path.display());
        }
        let outside: Vec<_> = all
            .iter()
            .filter(|row| row.agrees() == Some(false))
            .collect();
        if self.format == Format::Table {
            tables(&all).iter().try_for_each(|text| print_line(text))?;
        }
        for row in &outside {
            say!(
                "{} of {} at {} components, gamma {}: {} is not within {} of {}",
                row.series,
                name(row.figure),
                row.toy.components,
                row.toy.gamma,
                row.simulated,
                row.within.unwrap_or_default(),
                row.exact.unwrap_or_default()
            );
        }
        let known = all.iter().filter(|row| row.exact.is_some()).count();
        say!(
            "{} of {known} points with a known expectation are within the error of their runs",
            known - outside.len()
        );
        Ok(match outside.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(REQUIREMENT),
        })
    }

    fn points(&self) -> Vec<Point> {
        let wanted =
            |figure: &Figure| self.figure.contains(&Figure::All) || self.figure.contains(figure);
        let figures = [
            Figure::F2a,
            Figure::F2b,
            Figure::F2c,
            Figure::F6a,
            Figure::F6b,
        ];
        let figures = figures.into_iter().filter(wanted);
        figures.flat_map(|figure| self.of(figure)).collect()
    }

    /// The points of a figure, by the text and, where it differs, by the code.
    fn of(&self, figure: Figure) -> Vec<Point> {
        let toy = |components, (bad, gamma), samples, (tau, alpha)| Experiment {
            components,
            bad,
            gamma,
            choose: samples,
            samples,
            tau,
            alpha,
        };
        let both = vec![Correction::Holm, Correction::Bonferroni];
        if matches!(figure, Figure::F2a | Figure::F2b) {
            let samples = if figure == Figure::F2a { 100 } else { 1000 };
            let steps = (0.1 / self.step + 1e-9) as u32;
            let point = |step: u32| Point {
                figure,
                settings: Variant::Text,
                toy: toy(
                    100,
                    (1, f64::from(step) * self.step),
                    samples,
                    (0.75, 0.001),
                ),
                corrections: both.clone(),
                naive: true,
            };
            return (0..=steps).map(point).collect();
        }
        let sizes = (2..=6)
            .map(|power| 10u64.pow(power))
            .filter(|size| *size <= self.components);
        let mut points = Vec::new();
        for settings in [Variant::Text, Variant::Code] {
            for size in sizes.clone() {
                let mut corrections = both.clone();
                let permille = [size / 1000, size / 100];
                let toy = match (figure, settings) {
                    // tau is not given there, that of section 6.1; no bad component
                    (Figure::F2c, Variant::Text) => toy(size, (0, 0.05), 1000, (0.75, 0.1)),
                    (Figure::F2c, Variant::Code) => toy(size, (1, 0.05), 1000, (0.9, 0.1)),
                    (_, settings) => {
                        match settings {
                            // a budget of b errors needs k = b + 1
                            Variant::Text => {
                                let mut budgets = vec![1, permille[0], permille[1]];
                                budgets.retain(|b| *b > 0);
                                budgets.dedup();
                                corrections
                                    .extend(budgets.iter().map(|b| Correction::Kfwer(b + 1)));
                                corrections.extend(budgets.into_iter().map(Correction::Count));
                            }
                            // the code passes k and calls it b
                            Variant::Code => {
                                corrections.extend(permille.map(|k| Correction::Kfwer(k.max(1))))
                            }
                        }
                        let alpha = if figure == Figure::F6a { 0.1 } else { 0.001 };
                        toy(size, (1, 0.05), 1000, (0.9, alpha))
                    }
                };
                corrections.dedup();
                points.push(Point {
                    figure,
                    settings,
                    toy,
                    corrections,
                    naive: false,
                });
            }
        }
        points
    }

    /// The series of a point; none where the user stopped.
    fn simulate(&self, point: &Point) -> Result<Option<Vec<Row>>> {
        let toy = point.toy;
        let oracle = Oracle::new(toy)?;
        let runs = self.runs.min((MOST / toy.components).max(1));
        let law = Law::Gaussian { sigma: 1.0 };
        let mut certified = vec![0u64; point.corrections.len()];
        let (mut joint, mut indiv) = (0, 0);
        // the same draws whatever other points are asked for
        let (figure, settings) = (point.figure as u64, point.settings as u64);
        let place = [figure, settings, toy.components, toy.gamma.to_bits()];
        for run in 0..runs {
            if interrupt::asked() {
                return Ok(None);
            }
            let mut rng = Rng::keyed(self.seed, &[&place[..], &[run]].concat());
            let votes = if point.naive {
                let maps = oracle.maps(toy.choose + toy.samples, &mut rng);
                let maps: Vec<&[u8]> = maps.iter().map(Vec::as_slice).collect();
                let (choose, test) = maps.split_at(toy.choose);
                let votes = Oracle::count(choose, test)?;
                joint += u64::from(
                    joint_class(choose, test, toy.alpha, law)?
                        .certified
                        .is_some(),
                );
                indiv += u64::from(indiv_class(&votes, toy.alpha, law)?.is_some());
                votes
            } else {
                oracle.votes(&mut rng)?
            };
            let histogram = votes.histogram(None)?;
            for (sum, correction) in certified.iter_mut().zip(&point.corrections) {
                *sum += toy
                    .procedure(*correction)
                    .decide(toy.samples, &histogram)?
                    .certified;
            }
        }
        let row = |series: String, simulated: f64, exact: Option<Expectation>| Row {
            kind: "toy",
            figure: point.figure,
            settings: point.settings,
            series,
            toy,
            runs,
            simulated,
            exact: exact.map(|exact| exact.mean),
            within: exact.map(|exact| exact.within(runs)),
        };
        let mut rows = Vec::new();
        for (sum, correction) in certified.iter().zip(&point.corrections) {
            let share = Experiment::share(*sum, runs * toy.components);
            rows.push(row(
                correction.to_string(),
                share,
                toy.expectation(*correction)?,
            ));
        }
        if point.naive {
            rows.push(row(
                "indiv-class".into(),
                Experiment::share(indiv, runs),
                Some(toy.indiv_class()?),
            ));
            rows.push(row(
                "joint-class".into(),
                Experiment::share(joint, runs),
                None,
            ));
        }
        Ok(Some(rows))
    }
}

fn step(text: &str) -> Result<f64, String> {
    let step = text
        .parse()
        .ok()
        .filter(|step| (0.0001..=0.1).contains(step));
    step.ok_or_else(|| format!("{text:?} is no step, expected a number from 0.0001 to 0.1"))
}

fn power(text: &str) -> Result<u64, String> {
    let powers = (2..=6).map(|power| 10u64.pow(power));
    let found = powers.into_iter().find(|power| Ok(*power) == text.parse());
    found.ok_or_else(|| format!("{text:?} is no power of ten from 100 to 1000000"))
}

fn name(figure: Figure) -> String {
    figure
        .to_possible_value()
        .map_or(String::new(), |value| value.get_name().to_owned())
}

/// A table for each figure and its settings: a line for each point.
fn tables(rows: &[Row]) -> Vec<String> {
    let mut figures: BTreeMap<(Figure, Variant), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        figures
            .entry((row.figure, row.settings))
            .or_default()
            .push(row);
    }
    let mut texts = Vec::new();
    for ((figure, settings), rows) in figures {
        let by_size = rows.first().is_some_and(|first| {
            rows.iter()
                .any(|row| row.toy.components != first.toy.components)
        });
        let place = |row: &Row| match by_size {
            true => row.toy.components.to_string(),
            false => format!("{:.3}", row.toy.gamma),
        };
        let series = |row: &Row| match by_size {
            true => budget(row),
            false => row.series.clone(),
        };
        let mut names: Vec<String> = Vec::new();
        for row in &rows {
            let name = series(row);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut header = vec![if by_size { "N" } else { "gamma" }.to_owned()];
        let exact = |name: &String| {
            let known = |row: &&Row| series(row) == *name && row.exact.is_some();
            rows.iter().any(known)
        };
        for name in &names {
            header.push(name.clone());
            header.extend(exact(name).then(|| "exact".into()));
        }
        let mut lines: Vec<Vec<String>> = Vec::new();
        for at in rows.chunk_by(|a, b| a.toy == b.toy) {
            let mut line = vec![place(at[0])];
            for name in &names {
                let row = at.iter().find(|row| series(row) == *name);
                let shown =
                    |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.5}"));
                line.push(shown(row.map(|row| row.simulated)));
                line.extend(exact(name).then(|| shown(row.and_then(|row| row.exact))));
            }
            lines.push(line);
        }
        let toy = rows[0].toy;
        let settings = match settings {
            Variant::Text => "the paper's text",
            Variant::Code => "the released code",
        };
        texts.push(format!(
            "figure {}, settings of {settings}: n0 = n = {}, tau {}, alpha {}, {} bad components",
            name(figure),
            toy.samples,
            toy.tau,
            toy.alpha,
            toy.bad
        ));
        texts.push(table(&header, &lines));
    }
    texts
}

/// Series over numbers of components have budgets that go with these.
fn budget(row: &Row) -> String {
    let permille = [
        (row.toy.components / 1000, "N/1000"),
        (row.toy.components / 100, "N/100"),
    ];
    let Some((kind, number)) = row.series.split_once(':') else {
        return row.series.clone();
    };
    let number: u64 = number.parse().unwrap_or_default();
    let more = u64::from(kind == "kfwer" && row.settings == Variant::Text);
    for (share, word) in permille {
        if number == share + more && number > 1 + more {
            return format!("{kind}:{word}{}", if more == 1 { "+1" } else { "" });
        }
    }
    row.series.clone()
}

const CSV: &str =
    "figure,settings,series,components,bad,gamma,n0,n,tau,alpha,runs,simulated,exact,within";

fn csv(row: &Row) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let settings = match row.settings {
        Variant::Text => "text",
        Variant::Code => "code",
    };
    let toy = &row.toy;
    format!(
        "{},{settings},{},{},{},{},{},{},{},{},{},{},{},{}",
        name(row.figure),
        row.series,
        toy.components,
        toy.bad,
        toy.gamma,
        toy.choose,
        toy.samples,
        toy.tau,
        toy.alpha,
        row.runs,
        row.simulated,
        number(row.exact),
        number(row.within)
    )
}
