//! Numbers of a paper beside ours: what a paper says, and which rows say the same of a run.
//!
//! Ours are cut as everywhere: certified ones against us, plain and attacked ones to the nearest, budgets out of reach
//! counted, never averaged.

use certiseg_cert::{
    Budget, Goal, Metric, Quantile, Row, Summary, mean_lower, round_down, round_up,
};
use serde::Deserialize;

use crate::number::{certified, certified_mean, nearest};
use crate::{Error, Result, Run};

/// Digits behind the point of ours.
const DIGITS: usize = 4;

/// A number that a paper states, and where ours comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quoted {
    /// What it is a number of: `worst mean FNR at eps 0.1`.
    pub label: String,
    /// The number, where there is one.
    pub value: Option<f64>,
    /// What the paper gives as its spread.
    pub spread: Option<f64>,
    /// What the paper says in words instead of a number.
    pub says: Option<String>,
    /// Where in the paper.
    pub at: String,
    /// The run that ours is of, by the name of its step; none where nothing of ours is comparable.
    pub run: Option<String>,
    /// The number of ours.
    pub ours: Option<Ours>,
    /// A run whose number is taken off.
    pub minus: Option<String>,
}

/// Which number of a run.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ours {
    /// Mean over images of what is certified within a budget.
    Worst {
        /// The metric.
        metric: Metric,
        /// The budget.
        eps: Budget,
    },
    /// Certified of all images pooled.
    Pooled {
        /// The metric.
        metric: Metric,
        /// The budget.
        eps: Budget,
    },
    /// Mean over images of the clean value.
    Clean {
        /// The metric.
        metric: Metric,
    },
    /// Mean and median over images of the budget below which a goal is out of reach.
    Needed {
        /// The goal.
        goal: Goal,
    },
    /// Mean over images of the worst value found.
    Attacked {
        /// The metric.
        metric: Metric,
        /// The budget.
        eps: Budget,
    },
    /// Certified and right pixels of a method of `compare`.
    Crpa {
        /// `model` or `twin`.
        network: String,
        /// `lipschitz`, `holm`, ...
        method: String,
        /// The budget.
        eps: f64,
        /// Samples that test; none of the bound.
        n: Option<usize>,
    },
    /// Samples with which a method of `compare` certifies as much as the bound.
    Equal {
        /// `model` or `twin`.
        network: String,
        /// A method with samples.
        method: String,
        /// The budget.
        eps: f64,
    },
    /// Plain figures of all images pooled.
    Plain {
        /// Which.
        figure: Plain,
    },
    /// Of smoothing, all images.
    Smoothed {
        /// Which.
        figure: Smoothed,
    },
    /// A point of paper 002's experiment, simulated.
    Toy {
        /// `2a`, ...
        figure: String,
        /// An algorithm.
        series: String,
        /// `text` or `code`; the first of the rows where nothing is said.
        settings: Option<String>,
        /// The error, where it runs along the axis.
        gamma: Option<f64>,
        /// Components, where they do.
        components: Option<u64>,
    },
}

/// A plain figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plain {
    /// Of pixels.
    Accuracy,
    /// Mean IoU.
    Miou,
}

/// A figure of smoothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Smoothed {
    /// Certified and right, of the pixels that count, less those that may be wrong; down.
    Accuracy,
    /// Mean IoU with abstentions, where no certified pixel may be wrong; to the nearest.
    Miou,
    /// Abstained, of the pixels that count; up.
    Abstained,
}

impl Quoted {
    /// What the paper states, as it is printed.
    pub fn paper(&self) -> String {
        let number = self.value.map(|value| match self.spread {
            Some(spread) => format!("{value} ± {spread}"),
            None => value.to_string(),
        });
        number.or(self.says.clone()).unwrap_or_default()
    }

    /// Ours, of the run named and of the one that is taken off.
    ///
    /// # Errors
    /// [`Error::Missing`] where the rows do not say it.
    pub fn answer(&self, run: &Run, minus: Option<&Run>) -> Result<Option<String>> {
        let Some(ours) = &self.ours else {
            return Ok(None);
        };
        match (minus, ours) {
            (None, ours) => ours.answer(run).map(Some),
            (Some(minus), Ours::Smoothed { figure }) => {
                let difference = figure.of(run)? - figure.of(minus)?;
                Ok(Some(format!("{difference:+.DIGITS$}")))
            }
            (Some(_), _) => Err(missing(
                &self.label,
                "figures of smoothing to be subtracted",
            )),
        }
    }
}

impl Ours {
    /// The number, for people.
    ///
    /// # Errors
    /// [`Error::Missing`] where the rows do not say it.
    pub fn answer(&self, run: &Run) -> Result<String> {
        match self {
            Ours::Worst { metric, eps } => worst(run, *metric, *eps),
            Ours::Pooled { metric, eps } => pooled(run, *metric, *eps),
            Ours::Clean { metric } => clean(run, *metric),
            Ours::Needed { goal } => needed(run, goal),
            Ours::Attacked { metric, eps } => attacked(run, *metric, *eps),
            Ours::Crpa {
                network,
                method,
                eps,
                n,
            } => crpa(run, network, method, *eps, *n),
            Ours::Equal {
                network,
                method,
                eps,
            } => equal(run, network, method, *eps),
            Ours::Plain { figure } => figure.of(run),
            Ours::Smoothed { figure } => figure.of(run).map(|value| figure.show(value)),
            Ours::Toy {
                figure,
                series,
                settings,
                gamma,
                components,
            } => toy(
                run,
                [figure, series],
                settings.as_ref(),
                *gamma,
                *components,
            ),
        }
    }
}

fn missing(what: &str, needed: &str) -> Error {
    Error::Missing {
        what: what.into(),
        needed: needed.into(),
    }
}

fn worst(run: &Run, metric: Metric, eps: Budget) -> Result<String> {
    let asked = |row: &&Row| row.metric == metric && row.eps == Some(eps);
    let rows: Vec<&Row> = run.rows.iter().filter(asked).collect();
    let values: Vec<f64> = rows.iter().filter_map(|row| row.value).collect();
    if values.is_empty() {
        let what = format!("{metric} within {}", eps.get());
        let needed = format!("rows of `certify --metric {metric} --eps {}`", eps.get());
        return Err(missing(&what, &needed));
    }
    let mean = certified(metric, certified_mean(metric, &values), DIGITS);
    Ok(with_undefined(mean, rows.len() - values.len()))
}

/// Images on which nothing is defined are no part of a mean: that is said.
fn with_undefined(text: String, undefined: usize) -> String {
    match undefined {
        0 => text,
        some => format!("{text} (undefined on {some})"),
    }
}

fn pooled(run: &Run, metric: Metric, eps: Budget) -> Result<String> {
    let mut rows = run.dataset.iter();
    let row = rows.find(|row| row.metric == metric && row.eps == Some(eps));
    let value = row.and_then(|row| row.value);
    let needed = format!(
        "rows of `certify --dataset --metric {metric} --eps {}`",
        eps.get()
    );
    match value {
        Some(value) => Ok(certified(metric, Some(value), DIGITS)),
        None => Err(missing(
            &format!("pooled {metric} within {}", eps.get()),
            &needed,
        )),
    }
}

fn clean(run: &Run, metric: Metric) -> Result<String> {
    let summary = summary(run);
    let entry = summary
        .entries()
        .iter()
        .find(|entry| entry.metric == metric);
    let mean = entry.and_then(|entry| mean_lower(&entry.clean));
    match mean {
        Some(mean) => Ok(nearest(Some(mean), DIGITS)),
        None => Err(missing(
            &format!("clean {metric}"),
            &format!("rows of `certify --metric {metric}`"),
        )),
    }
}

fn summary(run: &Run) -> Summary {
    let mut summary = Summary::new(&[], &[], &[]);
    run.rows.iter().for_each(|row| summary.add(row));
    summary
}

fn needed(run: &Run, goal: &Goal) -> Result<String> {
    let lacking = || {
        missing(
            &goal.to_string(),
            &format!("rows of `certify --until '{goal}'`"),
        )
    };
    let asked = run.rows.iter();
    let mut summary = Summary::new(&[], &[], &[]);
    let asked = asked.filter(|row| row.goal.as_ref() == Some(goal));
    asked.for_each(|row| summary.add(row));
    let entry = summary.entries().first().ok_or_else(lacking)?;
    let mean = entry.mean().map(|mean| round_down(mean, DIGITS));
    let median = entry.quantile(0.5).ok().flatten();
    let median = median.map(|median| match median {
        Quantile::Value(value) => round_down(value, DIGITS),
        Quantile::Unreachable => "unreachable".into(),
    });
    let (Some(median), mean) = (median, mean) else {
        return Err(lacking());
    };
    let mean = match (mean, entry.unreachable) {
        (Some(mean), 0) => format!("mean {mean}"),
        (Some(mean), out) => format!("mean {mean} of those within reach ({out} are not)"),
        (None, _) => "no image within reach".into(),
    };
    Ok(with_undefined(
        format!("{mean}, median {median}"),
        entry.undefined,
    ))
}

fn attacked(run: &Run, metric: Metric, eps: Budget) -> Result<String> {
    let rows = run.attacks.iter();
    let rows = rows.filter(|row| row.metric == metric && row.eps == eps);
    let values: Vec<f64> = rows.filter_map(|row| row.attacked).collect();
    match mean_lower(&values) {
        Some(mean) => Ok(nearest(Some(mean), DIGITS)),
        None => Err(missing(
            &format!("attacked {metric} within {}", eps.get()),
            &format!("rows of `attack --metric {metric} --eps {}`", eps.get()),
        )),
    }
}

fn crpa(run: &Run, network: &str, method: &str, eps: f64, n: Option<usize>) -> Result<String> {
    let row = run
        .compared
        .iter()
        .find(|row| row.network == network && row.method == method && row.eps == eps && row.n == n);
    let row = row.ok_or_else(|| {
        let n = n.map_or(String::new(), |n| format!(" --n {n}"));
        missing(
            &format!("{method} of {network} at eps {eps}"),
            &format!("rows of `compare --eps {eps}{n}`"),
        )
    })?;
    let value = round_down(row.crpa, DIGITS);
    let sigma = row.sigma.map(|sigma| format!(" (sigma {sigma})"));
    Ok(format!("{value}{}", sigma.unwrap_or_default()))
}

fn equal(run: &Run, network: &str, method: &str, eps: f64) -> Result<String> {
    let row = run.equal.iter();
    let mut row =
        row.filter(|row| row.network == network && row.method == method && row.eps == eps);
    let row = row.next().ok_or_else(|| {
        missing(
            &format!("samples for as much as the bound at eps {eps}"),
            &format!("rows of `compare --eps {eps}`"),
        )
    })?;
    Ok(match (row.n, row.ratio) {
        (Some(n), Some(ratio)) => format!("n = {n}, {ratio:.0} times the time"),
        (Some(n), None) => format!("n = {n}"),
        (None, _) => "more than the largest n tried".into(),
    })
}

impl Plain {
    fn of(self, run: &Run) -> Result<String> {
        let pooled = run.evaluation.last().map(|all| &all.pooled);
        let value = pooled.and_then(|pooled| match self {
            Plain::Accuracy => pooled.accuracy,
            Plain::Miou => pooled.miou,
        });
        match value {
            Some(_) => Ok(nearest(value, DIGITS)),
            None => Err(missing("a plain figure", "rows of `eval`")),
        }
    }
}

impl Smoothed {
    fn of(self, run: &Run) -> Result<f64> {
        let all = run.smooth_dataset.last();
        let figures = all.and_then(|row| row.figures.as_ref());
        // where some of the certified may be wrong nobody knows of which class these are
        let exact = run.smooth.iter().all(|row| row.allowed == Some(0));
        let value = match self {
            Smoothed::Accuracy => all.and_then(|row| row.right_at_least),
            Smoothed::Miou => figures.and_then(|f| f.miou_dataset.filter(|_| exact)),
            Smoothed::Abstained => figures.and_then(|f| f.abstain_rate),
        };
        value.ok_or_else(|| missing("a figure of smoothing", "rows of `smooth` beside labels"))
    }

    fn show(self, value: f64) -> String {
        match self {
            Smoothed::Accuracy => round_down(value, DIGITS),
            Smoothed::Miou => nearest(Some(value), DIGITS),
            Smoothed::Abstained => round_up(value, DIGITS),
        }
    }
}

fn toy(
    run: &Run,
    [figure, series]: [&String; 2],
    settings: Option<&String>,
    gamma: Option<f64>,
    components: Option<u64>,
) -> Result<String> {
    // a step of the error is a sum of steps
    let near = |got: f64| gamma.is_none_or(|gamma| (got - gamma).abs() < 1e-9);
    let point = run.toy.iter().find(|row| {
        row.figure == *figure
            && row.series == *series
            && settings.is_none_or(|settings| row.settings == *settings)
            && near(row.toy.gamma)
            && components.is_none_or(|components| row.toy.components == components)
    });
    match point {
        Some(point) => Ok(nearest(Some(point.simulated), DIGITS)),
        None => Err(missing(
            &format!("{series} of {figure}"),
            &format!("rows of `smooth toy --figure {figure}` with this point"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{}}"#;

    fn run(lines: &[&str]) -> Run {
        Run::read("r", HEAD, lines.iter().copied()).unwrap()
    }

    fn ours(json: &str) -> Ours {
        serde_json::from_str(json).unwrap()
    }

    fn row(question: &str) -> String {
        format!(
            r#"{{"kind":"row","image":"a","metric":"fnr:1","norm":"2","clean":0.25,{question},"lipschitz":2.0,"eta":0.0,"counted":4}}"#
        )
    }

    #[test]
    fn certified_means_are_cut_against_us() {
        let (a, b) = (
            row(r#""value":0.1,"eps":0.1"#),
            row(r#""value":0.20001,"eps":0.1"#),
        );
        let run = run(&[&a, &b]);
        let asked = |eps| {
            ours(&format!(
                r#"{{"kind":"worst","metric":"fnr:1","eps":{eps}}}"#
            ))
        };
        assert_eq!(asked(0.1).answer(&run).unwrap(), "0.1501");
        let error = asked(0.2).answer(&run).unwrap_err().to_string();
        assert!(error.contains("--metric fnr:1 --eps 0.2"), "{error}");
        let clean = ours(r#"{"kind":"clean","metric":"fnr:1"}"#);
        assert_eq!(clean.answer(&run).unwrap(), "0.2500");
    }

    #[test]
    fn budgets_out_of_reach_are_counted_and_not_averaged() {
        let goal = r#""goal":"fnr:1>=0.7""#;
        let within = row(&format!(r#""value":0.42429,{goal}"#));
        let out = row(&format!(r#""value":null,"unreachable":true,{goal}"#));
        let asked = ours(r#"{"kind":"needed","goal":"fnr:1>=0.7"}"#);
        assert_eq!(
            asked.answer(&run(&[&within])).unwrap(),
            "mean 0.4242, median 0.4242"
        );
        assert_eq!(
            asked.answer(&run(&[&within, &out, &out])).unwrap(),
            "mean 0.4242 of those within reach (2 are not), median unreachable"
        );
        assert!(asked.answer(&run(&[])).is_err());
    }

    #[test]
    fn what_attacks_found_is_a_mean_to_the_nearest() {
        let row = r#"{"kind":"attack","image":"a","metric":"accuracy","norm":"2","eps":0.1,"clean":1.0,"certified":0.5,"attacked":0.75,"distance":0.1,"attack":"pgd"}"#;
        let other = row.replace("0.75", "0.50004");
        let asked = ours(r#"{"kind":"attacked","metric":"accuracy","eps":0.1}"#);
        assert_eq!(asked.answer(&run(&[row, &other])).unwrap(), "0.6250");
        assert!(asked.answer(&run(&[])).is_err());
    }

    #[test]
    fn what_may_be_wrong_is_taken_off_what_smoothing_certifies() {
        let dataset = r#"{"kind":"smooth-dataset","images":1,"defined":1,"certified":0.6,"abstained":0.4,"tests":10,"certified_components":6,"net":5,"wrong_images":0.001,"band":1.0,"gain":null,"right_at_least":0.4,"figures":{"acc_certified":0.5,"acc_selective":0.5,"abstain_rate":0.4,"abstain_rate_all_pixels":0.4,"acc_by_class":[],"iou_dataset":[],"miou_dataset":0.5,"miou_dataset_absent0":0.5,"miou_dataset_kplus1":0.5,"miou_pairs_skip_absent":0.5,"miou_pairs_absent0":0.5,"miou_pairs_absent1":0.5,"miou_image_mean":0.5},"boundary":null}"#;
        let asked = ours(r#"{"kind":"smoothed","figure":"accuracy"}"#);
        let answer = asked.answer(&run(&[dataset])).unwrap();
        assert_eq!(answer.parse::<f64>().unwrap(), 0.4);
    }

    #[test]
    fn points_and_methods_are_found_by_their_names() {
        let toy = r#"{"kind":"toy","figure":"2a","settings":"text","series":"holm","toy":{"components":100,"bad":1,"gamma":0.050000000000000003,"choose":100,"samples":100,"tau":0.75,"alpha":0.001},"runs":20,"simulated":0.98756,"exact":null,"within":null}"#;
        let compared = r#"{"kind":"compare","network":"model","method":"holm","eps":0.1,"n":100,"sigma":0.25,"statement":"","crpa":0.85169,"band":0.1,"images":2,"forwards":110,"seconds":1.0}"#;
        let equal = r#"{"kind":"compare-equal","network":"model","method":"holm","eps":0.1,"lipschitz":0.9,"n":null,"crpa":null,"seconds":null,"ratio":null}"#;
        let run = run(&[toy, compared, equal]);
        let asked = ours(r#"{"kind":"toy","figure":"2a","series":"holm","gamma":0.05}"#);
        assert_eq!(asked.answer(&run).unwrap(), "0.9876");
        for other in [
            r#""gamma":0.06"#,
            r#""settings":"code""#,
            r#""components":7"#,
        ] {
            let asked = ours(&format!(
                r#"{{"kind":"toy","figure":"2a","series":"holm",{other}}}"#
            ));
            assert!(asked.answer(&run).is_err(), "{other}");
        }
        let asked = r#"{"kind":"crpa","network":"model","method":"holm","eps":0.1,"n":100}"#;
        assert_eq!(ours(asked).answer(&run).unwrap(), "0.8516 (sigma 0.25)");
        assert!(ours(&asked.replace("100", "50")).answer(&run).is_err());
        let asked = ours(r#"{"kind":"equal","network":"model","method":"holm","eps":0.1}"#);
        assert_eq!(asked.answer(&run).unwrap(), "more than the largest n tried");
    }

    #[test]
    fn what_the_paper_states_is_printed_as_it_stands() {
        let quoted = |json: &str| serde_json::from_str::<Quoted>(json).unwrap();
        let number = quoted(r#"{"label":"a","value":0.5348,"spread":0.0059,"at":"Table 1"}"#);
        assert_eq!(number.paper(), "0.5348 ± 0.0059");
        assert_eq!(number.answer(&run(&[]), None).unwrap(), None);
        let words = quoted(r#"{"label":"a","says":"close to 1","at":"section 6.1"}"#);
        assert_eq!(words.paper(), "close to 1");
        assert!(serde_json::from_str::<Quoted>(r#"{"label":"a","at":"b","lable":"c"}"#).is_err());
    }
}
