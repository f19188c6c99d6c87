//! Rows of `compare`, and the table.

use certiseg_cert::smoothing::{FloatingPoint, band, image_mean};
use certiseg_cert::{round_down, round_up};
use serde::Serialize;

use crate::output::table;

/// How a certificate is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The Lipschitz bound of one picture: a pass in f32, and one in f64 that says how far off it is.
    Lipschitz,
    /// SegCertify: n0 samples choose, n test, Holm.
    Holm,
    /// All n samples choose and test, Bonferroni.
    SingleStage,
    /// n0 and n, at most B certified pixels wrong, which are taken off.
    Count,
    /// Mean logits of the n samples, one budget shared by all pixels.
    Hybrid,
}

impl Method {
    /// Those of votes and means, in the order of the table.
    pub const SAMPLED: [Method; 4] = [
        Method::Holm,
        Method::SingleStage,
        Method::Count,
        Method::Hybrid,
    ];

    /// What is proved, of what, and with which certainty.
    pub fn statement(self) -> &'static str {
        match self {
            Method::Lipschitz => "deterministic; of the network itself",
            Method::Holm | Method::SingleStage => {
                "probability 1 - alpha per image; of the model smoothed by votes, which may abstain within eps"
            }
            Method::Count => {
                "probability 1 - alpha per image, but for B pixels; of the model smoothed by votes, which may abstain within eps"
            }
            Method::Hybrid => {
                "probability 1 - alpha per image; of the argmax of mean logits, all pixels sharing eps"
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Method::Lipschitz => "Lipschitz bound",
            Method::Holm => "SegCertify, Holm",
            Method::SingleStage => "single stage",
            Method::Count => "count",
            Method::Hybrid => "hybrid",
        }
    }
}

/// What a certificate is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Case {
    /// How it is made.
    pub method: Method,
    /// l2 budget.
    pub eps: f64,
    /// n.
    pub n: Option<usize>,
    /// Noise.
    pub sigma: Option<f64>,
}

/// One image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageRow {
    /// `compare-image`, or `compare-choice` of images on which sigma is chosen.
    pub kind: &'static str,
    /// Its name.
    pub image: String,
    /// `model` or `twin`.
    pub network: String,
    /// What is certified.
    #[serde(flatten)]
    pub case: Case,
    /// Certified and right, abstentions as errors; rounded down.
    pub crpa: Option<f64>,
    /// Time of all passes with their noise.
    pub sampling_seconds: f64,
    /// Time from counts or logits to the certificate.
    pub statistics_seconds: f64,
}

/// All images.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    kind: &'static str,
    /// `model` or `twin`.
    pub network: String,
    /// What is certified.
    #[serde(flatten)]
    pub case: Case,
    statement: &'static str,
    floating_point: Option<FloatingPoint>,
    n0: Option<usize>,
    tau: Option<f64>,
    alpha: Option<f64>,
    allowed: Option<u64>,
    seed: Option<u64>,
    /// Of the network, for the bound and the hybrid.
    lipschitz: Option<f64>,
    /// How far computed logits may be off.
    eta_source: Option<&'static str>,
    /// Mean over images.
    pub crpa: f64,
    /// Half of the width within which the mean of images of their kind is, with probability 0.95.
    band: f64,
    images: usize,
    /// Passes for one image.
    pub forwards: usize,
    /// One pass by itself.
    forward_seconds: f64,
    /// Noise of one sample by itself.
    noise_seconds: Option<f64>,
    sampling_seconds: f64,
    statistics_seconds: f64,
    /// Of an image, all together.
    pub seconds: f64,
    /// Largest memory of the process until then.
    peak_memory_mb: Option<f64>,
}

/// What all rows of a method share.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// Samples that choose.
    pub n0: usize,
    /// Level.
    pub alpha: f64,
    /// B of the count.
    pub count: u64,
    /// Of the noise.
    pub seed: u64,
    /// Threshold.
    pub tau: Option<f64>,
    /// Whether rounding is covered.
    pub floating_point: FloatingPoint,
    /// Of the network, where it has a bound.
    pub lipschitz: Option<f64>,
    /// One pass by itself.
    pub forward_seconds: f64,
    /// Noise of one sample by itself.
    pub noise_seconds: f64,
    /// Largest memory so far.
    pub peak_memory: Option<f64>,
}

impl Row {
    /// Of the rows of the images; none where no image has a pixel that counts.
    pub fn of(case: Case, images: &[&ImageRow], shared: &Shared) -> Option<Self> {
        let (crpa, number) = image_mean(images.iter().map(|row| row.crpa))?;
        let mean = |of: fn(&ImageRow) -> f64| image_mean(images.iter().map(|row| Some(of(row))));
        let (sampling, _) = mean(|row| row.sampling_seconds)?;
        let (statistics, _) = mean(|row| row.statistics_seconds)?;
        let sampled = case.method != Method::Lipschitz;
        let votes = sampled && case.method != Method::Hybrid;
        let two = sampled && case.method != Method::SingleStage;
        // the hybrid has no class to choose: labels are given
        let choose = if case.method == Method::Hybrid {
            0
        } else {
            shared.n0
        };
        Some(Row {
            kind: "compare",
            network: images.first()?.network.clone(),
            case,
            statement: case.method.statement(),
            floating_point: sampled.then_some(shared.floating_point),
            n0: sampled.then_some(choose),
            tau: shared.tau.filter(|_| votes),
            alpha: sampled.then_some(shared.alpha),
            allowed: (case.method == Method::Count).then_some(shared.count),
            seed: sampled.then_some(shared.seed),
            lipschitz: shared.lipschitz.filter(|_| !votes),
            eta_source: match case.method {
                Method::Lipschitz => Some("measured on each picture"),
                Method::Hybrid => {
                    Some("measured on the picture without noise, assumed of noisy ones")
                }
                _ => None,
            },
            crpa,
            band: band(number, 0.05).unwrap_or(1.0),
            images: number,
            forwards: case.n.map_or(2, |n| if two { n + choose } else { n }),
            forward_seconds: shared.forward_seconds,
            noise_seconds: sampled.then_some(shared.noise_seconds),
            sampling_seconds: sampling,
            statistics_seconds: statistics,
            seconds: sampling + statistics,
            peak_memory_mb: shared.peak_memory,
        })
    }
}

/// The fewest samples with which a method certifies as much as the Lipschitz bound.
#[derive(Clone, Debug, Serialize)]
pub struct Equal {
    kind: &'static str,
    network: String,
    method: Method,
    eps: f64,
    /// CRPA of the Lipschitz bound.
    lipschitz: f64,
    /// n; null where none of those tried is enough.
    n: Option<usize>,
    crpa: Option<f64>,
    seconds: Option<f64>,
    /// Its time over that of the Lipschitz bound.
    ratio: Option<f64>,
}

/// For every network, method and eps.
pub fn equals(rows: &[Row]) -> Vec<Equal> {
    let mut all: Vec<Equal> = Vec::new();
    for row in rows {
        let same = |other: &&Row| other.case.eps == row.case.eps;
        let mut bounds = rows.iter().filter(same);
        let bound = bounds.find(|other| other.case.method == Method::Lipschitz);
        let Some(bound) = bound.filter(|_| row.case.method != Method::Lipschitz) else {
            continue;
        };
        let (network, method, eps) = (&row.network, row.case.method, row.case.eps);
        let known = |e: &&mut Equal| e.network == *network && e.method == method && e.eps == eps;
        if all.iter_mut().find(known).is_none() {
            all.push(Equal {
                kind: "compare-equal",
                network: network.clone(),
                method,
                eps,
                lipschitz: bound.crpa,
                n: None,
                crpa: None,
                seconds: None,
                ratio: None,
            });
        }
        let Some(entry) = all.iter_mut().find(known) else {
            continue;
        };
        let fewer = entry.n.is_none_or(|n| row.case.n.is_some_and(|m| m < n));
        if row.crpa >= bound.crpa && fewer {
            entry.n = row.case.n;
            entry.crpa = Some(row.crpa);
            entry.seconds = Some(row.seconds);
            entry.ratio = (bound.seconds > 0.0).then(|| row.seconds / bound.seconds);
        }
    }
    all
}

/// For people.
pub fn tables(rows: &[Row], equals: &[Equal]) -> Vec<String> {
    let header = [
        "network",
        "method",
        "eps",
        "n",
        "sigma",
        "tau",
        "CRPA",
        "+-",
        "passes",
        "ms a pass",
        "ms of noise",
        "ms sampling",
        "ms statistics",
        "MB peak",
    ];
    let some = |value: Option<f64>, digits: usize| {
        value.map_or("-".into(), |value| format!("{value:.digits$}"))
    };
    let ms = |seconds: f64| format!("{:.2}", 1e3 * seconds);
    let line = |row: &Row| {
        vec![
            row.network.clone(),
            row.case.method.name().to_owned(),
            row.case.eps.to_string(),
            row.case.n.map_or("-".into(), |n| n.to_string()),
            row.case.sigma.map_or("-".into(), |sigma| sigma.to_string()),
            some(row.tau, 4),
            round_down(row.crpa, 4),
            round_up(row.band, 4),
            row.forwards.to_string(),
            ms(row.forward_seconds),
            row.noise_seconds.map_or("-".into(), ms),
            ms(row.sampling_seconds),
            ms(row.statistics_seconds),
            some(row.peak_memory_mb, 0),
        ]
    };
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    let mut tables = vec![table(&names(&header), &lines)];
    let line = |equal: &Equal| {
        vec![
            equal.network.clone(),
            equal.method.name().to_owned(),
            equal.eps.to_string(),
            round_down(equal.lipschitz, 4),
            equal.n.map_or("not reached".into(), |n| n.to_string()),
            equal.crpa.map_or("-".into(), |crpa| round_down(crpa, 4)),
            equal.seconds.map_or("-".into(), ms),
            equal
                .ratio
                .map_or("-".into(), |ratio| format!("{ratio:.1}")),
        ]
    };
    let header = [
        "network",
        "method",
        "eps",
        "Lipschitz CRPA",
        "n for as much",
        "CRPA",
        "ms an image",
        "times as long",
    ];
    tables.push(table(
        &names(&header),
        &equals.iter().map(line).collect::<Vec<_>>(),
    ));
    let mut said = Vec::new();
    for row in rows {
        let words = format!("{}: {}", row.case.method.name(), row.statement);
        if !said.contains(&words) {
            said.push(words);
        }
    }
    said.push("CRPA: certified and right, abstentions as errors, mean over images; statements of different kinds are no substitutes".into());
    said.push("passes of the Lipschitz bound: in f32, and in f64 for the error of the logits; all methods of a network share one sampling, so ms of it are with n0 passes for the hybrid too".into());
    if rows.iter().any(|row| row.case.method == Method::Hybrid) {
        said.push("hybrid: up to rounding; the error of the logits is measured on the picture without noise, by two passes that are not counted, and assumed of noisy ones".into());
    }
    said.push("MB peak: of the process until then, all rows above included".into());
    said.push("samples are drawn once for the largest n and smaller n are their beginnings: each row is a statement by itself, not all together".into());
    tables.push(said.join("\n"));
    tables
}
