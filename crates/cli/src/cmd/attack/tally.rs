//! The rows of `attack`, added up.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{
    Budget, Goal, Head, Metric, Norm, Value, mean_lower, mean_upper, round_down, round_up,
};
use certiseg_net::attack::Criterion;
use certiseg_net::attack::lqa::Gap;
use certiseg_net::attack::suite::Blow;
use certiseg_net::compare::{Comparison, Quest, tightness};
use certiseg_net::parts::Part;
use serde::{Deserialize, Serialize};

use crate::fail::UNSOUND;
use crate::output::{quoted, table};
use crate::rows_file::Line;
use crate::tally::{Tally, budgets};

/// Marks an attack line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Attack,
}

/// One image, one metric, one budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    kind: Kind,
    image: String,
    metric: Metric,
    norm: Norm,
    eps: Budget,
    clean: Option<f64>,
    certified: Option<f64>,
    attacked: Option<f64>,
    distance: f64,
    /// Who found the worst picture; nobody where none is worse than the clean one.
    attack: Option<String>,
    /// The attack beat the certificate, compared as fractions where they are some.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsound: bool,
}

impl Row {
    /// All rows of an image.
    pub fn of(image: &str, norm: Norm, metrics: &[Metric], seen: &Comparison) -> Result<Vec<Self>> {
        let violations = seen.violations(metrics);
        let mut rows = Vec::new();
        for (at, strike) in seen.strikes.iter().enumerate() {
            for (index, &metric) in metrics.iter().enumerate() {
                let (bounds, hit) = (seen.bounds[index].as_ref(), &strike.hits[index]);
                rows.push(Row {
                    kind: Kind::Attack,
                    image: image.into(),
                    metric,
                    norm,
                    eps: Budget::new(strike.eps)?,
                    clean: bounds.map(|b| b.clean.nearest()),
                    certified: bounds.map(|b| metric.cautious(b.worst[at])),
                    attacked: hit.value.map(Value::nearest),
                    distance: hit.distance,
                    attack: Some(hit.attack.clone()).filter(|name| !name.is_empty()),
                    unsound: violations.contains(&(metric, strike.eps)),
                });
            }
        }
        Ok(rows)
    }
}

/// Marks a line about the attacks of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StruckKind {
    #[default]
    Attacks,
}

/// One image, one criterion, one budget: what each attack came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Struck {
    kind: StruckKind,
    image: String,
    criterion: String,
    eps: Budget,
    winner: Option<String>,
    distance: f64,
    adversarial: usize,
    attacks: Vec<Blow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gap: Option<Gap>,
    /// By class and size of region, of the accuracy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
}

/// Marks a line about the least budget of a goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SoughtKind {
    #[default]
    Least,
}

/// One image, one goal: the budget certified, the least found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sought {
    kind: SoughtKind,
    image: String,
    goal: Goal,
    certified: Option<f64>,
    attacked: Option<f64>,
    ratio: Option<f64>,
    attack: String,
    forward: usize,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsound: bool,
}

impl Sought {
    /// The row of an image and a goal.
    pub fn of(image: &str, goal: &Goal, attack: &str, quest: &Quest) -> Self {
        Sought {
            kind: SoughtKind::Least,
            image: image.into(),
            goal: goal.clone(),
            certified: quest.certified,
            attacked: quest.found,
            ratio: quest.ratio(),
            attack: attack.into(),
            forward: quest.forward,
            unsound: quest.is_violated(),
        }
    }
}

impl Struck {
    /// All rows of an image; none of saved pictures.
    pub fn of(image: &str, seen: &Comparison, parts: bool) -> Result<Vec<Self>> {
        let mut rows = Vec::new();
        for strike in &seen.strikes {
            let bites = strike.bites.as_ref().filter(|_| parts);
            for (criterion, round) in strike.rounds.iter().filter(|(_, r)| !r.blows.is_empty()) {
                rows.push(Struck {
                    kind: StruckKind::Attacks,
                    image: image.into(),
                    criterion: criterion.to_string(),
                    eps: Budget::new(strike.eps)?,
                    winner: Some(round.winner.clone()).filter(|name| !name.is_empty()),
                    distance: round.best.distance,
                    adversarial: round.best.adversarial,
                    attacks: round.blows.clone(),
                    gap: round.gap,
                    parts: match criterion {
                        Criterion::Metric(Metric::Accuracy) => {
                            bites.map_or(Vec::new(), |bites| bites.parts.clone())
                        }
                        _ => Vec::new(),
                    },
                });
            }
        }
        Ok(rows)
    }
}

/// What an attack came to, over images, criteria and budgets.
struct Record {
    name: String,
    ran: usize,
    won: usize,
    /// Adversarial pixels, passes forward and backward, seconds.
    sums: [Vec<f64>; 4],
}

/// Clean, certified and attacked values over images.
pub struct Attacked {
    metrics: Vec<Metric>,
    eps: Vec<f64>,
    /// Per metric and budget: clean, certified, attacked of each image.
    values: Vec<Vec<[Vec<f64>; 3]>>,
    norm: Norm,
    records: Vec<Record>,
    /// Per budget the factors of the gap to the certificate, of each image.
    gaps: Vec<[Vec<f64>; 3]>,
    /// Per budget and part of pictures: pixels, wrong, attacked, feared.
    parts: BTreeMap<(usize, String), [u64; 4]>,
    /// Per goal: certified, found, and their ratios.
    sought: BTreeMap<String, [Vec<f64>; 3]>,
    images: usize,
    last: Option<String>,
    /// Name of each image on which an attack beat a certificate.
    unsound: Vec<String>,
    violations: Vec<String>,
}

impl Attacked {
    /// No rows yet, under this head.
    pub fn new(head: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Asked {
            metrics: Vec<Metric>,
            // runs before there was a choice
            #[serde(default = "l2")]
            norm: Norm,
        }
        fn l2() -> Norm {
            Norm::L2
        }
        let eps = budgets(head)?;
        let head: Head<Asked> = serde_json::from_str(head).context("the head row")?;
        let norm = head.settings.norm;
        let none = Self::of(&head.settings.metrics, &eps);
        Ok(Self { norm, ..none })
    }

    /// No rows yet, of these metrics and budgets.
    pub fn of(metrics: &[Metric], eps: &[f64]) -> Self {
        Self {
            metrics: metrics.to_vec(),
            eps: eps.to_vec(),
            values: vec![vec![Default::default(); eps.len()]; metrics.len()],
            norm: Norm::L2,
            records: Vec::new(),
            gaps: vec![Default::default(); eps.len()],
            parts: BTreeMap::new(),
            sought: BTreeMap::new(),
            images: 0,
            last: None,
            unsound: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, row: &Row) {
        let Row {
            image, metric, eps, ..
        } = row;
        if self.last.as_ref() != Some(image) {
            self.images += 1;
            self.last = Some(image.clone());
        }
        let metrics = self.metrics.iter().zip(&mut self.values);
        for (_, values) in metrics.filter(|(known, _)| *known == metric) {
            for (_, values) in self
                .eps
                .iter()
                .zip(values)
                .filter(|(e, _)| **e == eps.get())
            {
                if let (Some(clean), Some(certified), Some(attacked)) =
                    (row.clean, row.certified, row.attacked)
                {
                    for (list, value) in values.iter_mut().zip([clean, certified, attacked]) {
                        list.push(value);
                    }
                }
            }
        }
        if row.unsound {
            if self.unsound.last() != Some(image) {
                self.unsound.push(image.clone());
            }
            let eps = eps.get();
            self.violations
                .push(format!("image {image}: {metric} at eps {eps}"));
        }
    }

    fn struck(&mut self, row: &Struck) {
        for blow in &row.attacks {
            let known = self.records.iter().position(|r| r.name == blow.attack);
            let at = known.unwrap_or_else(|| {
                self.records.push(Record {
                    name: blow.attack.clone(),
                    ran: 0,
                    won: 0,
                    sums: Default::default(),
                });
                self.records.len() - 1
            });
            let record = &mut self.records[at];
            record.ran += 1;
            record.won += usize::from(row.winner.as_ref() == Some(&blow.attack));
            let passes = [blow.passes.forward, blow.passes.backward];
            let counts = [blow.adversarial, passes[0], passes[1]].map(|count| count as f64);
            for (list, value) in record.sums.iter_mut().zip(counts) {
                list.push(value);
            }
            record.sums[3].extend(blow.seconds);
        }
        let at = self.eps.iter().position(|eps| *eps == row.eps.get());
        for part in at.map_or(&[][..], |_| &row.parts) {
            let key = (at.unwrap_or_default(), part.part.clone());
            let sums = self.parts.entry(key).or_default();
            let counts = [part.pixels, part.wrong, part.attacked, part.feared];
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        let factors = row.gap.and_then(|gap| gap.factors());
        if let Some((at, factors)) = at.zip(factors) {
            for (list, factor) in self.gaps[at].iter_mut().zip(factors) {
                list.push(factor);
            }
        }
    }

    fn sought(&mut self, row: &Sought) {
        let lists = self.sought.entry(row.goal.to_string()).or_default();
        // means side by side are over the same images
        let certified = row.certified.filter(|_| row.attacked.is_some());
        for (list, value) in lists.iter_mut().zip([certified, row.attacked, row.ratio]) {
            list.extend(value);
        }
        if row.unsound {
            if self.unsound.last() != Some(&row.image) {
                self.unsound.push(row.image.clone());
            }
            self.violations
                .push(format!("image {}: {}", row.image, row.goal));
        }
    }

    /// Pixels by class and size of region, over all images.
    fn by_parts(&self) -> Option<String> {
        // no bound of a part: the worst attack on the whole picture may take other pixels
        let header = ["eps", "part", "pixels", "wrong", "attacked", "feared"];
        let lines = self.parts.iter().map(|((at, part), counts)| {
            let mut line = vec![self.eps[*at].to_string(), part.clone()];
            line.extend(counts.iter().map(u64::to_string));
            line
        });
        let lines: Vec<_> = lines.collect();
        (!lines.is_empty()).then(|| table(&header.map(str::to_owned), &lines))
    }

    /// Certified budgets of goals beside the least that attacks found.
    fn goals(&self) -> Option<String> {
        let header = [
            "goal (l2)",
            "found on",
            "certified budget",
            "found",
            "found/certified",
        ];
        let lines = self
            .sought
            .iter()
            .map(|(goal, [certified, found, ratios])| {
                let mean = |v: &[f64]| mean_lower(v).map_or("-".to_owned(), |m| format!("{m:.4}"));
                let certified = mean_lower(certified).map(|m| round_down(m, 4));
                vec![
                    goal.clone(),
                    found.len().to_string(),
                    certified.unwrap_or("-".to_owned()),
                    mean(found),
                    mean(ratios),
                ]
            });
        let lines: Vec<_> = lines.collect();
        (!lines.is_empty()).then(|| table(&header.map(str::to_owned), &lines))
    }

    /// What each attack won and cost; nothing where there was one.
    fn attacks(&self) -> Option<String> {
        let header = [
            "attack",
            "won",
            "adversarial pixels",
            "forward",
            "backward",
            "seconds",
        ];
        let line = |record: &Record| {
            let mean = |values: &[f64], digits: usize| {
                mean_lower(values).map_or("-".to_owned(), |mean| format!("{mean:.digits$}"))
            };
            let [adversarial, forward, backward, seconds] = &record.sums;
            vec![
                record.name.clone(),
                format!("{}/{}", record.won, record.ran),
                mean(adversarial, 1),
                mean(forward, 0),
                mean(backward, 0),
                mean(seconds, 2),
            ]
        };
        let lines: Vec<_> = self.records.iter().map(line).collect();
        (lines.len() > 1).then(|| table(&header.map(str::to_owned), &lines))
    }

    /// Where the gap to the certificate comes from.
    fn gaps(&self) -> Option<String> {
        let header = [
            "eps",
            "images",
            "gradients/certified",
            "shared/gradients",
            "realised/planned",
        ];
        let pairs = self.eps.iter().zip(&self.gaps);
        let lines = pairs.filter(|(_, factors)| !factors[0].is_empty());
        let lines = lines.map(|(eps, factors)| {
            let mut line = vec![eps.to_string(), factors[0].len().to_string()];
            let mean =
                |values: &Vec<f64>| mean_lower(values).map_or("-".into(), |m| format!("{m:.2}"));
            line.extend(factors.iter().map(mean));
            line
        });
        let lines: Vec<_> = lines.collect();
        (!lines.is_empty()).then(|| table(&header.map(str::to_owned), &lines))
    }

    /// A table of means over images.
    pub fn table(&self) -> String {
        let eps = format!("eps (l{})", self.norm);
        let header = ["metric", &eps, "clean", "attacked", "certified", "found"].map(str::to_owned);
        let mut lines = Vec::new();
        for (metric, values) in self.metrics.iter().zip(&self.values) {
            for (eps, [clean, certified, attacked]) in self.eps.iter().zip(values) {
                let found = tightness(clean, attacked, certified);
                let certified = match metric.higher_is_better() {
                    true => mean_lower(certified).map(|mean| round_down(mean, 4)),
                    false => mean_upper(certified).map(|mean| round_up(mean, 4)),
                };
                let plain = |values: &[f64]| mean_lower(values).map(|mean| format!("{mean:.4}"));
                let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                lines.push(vec![
                    metric.to_string(),
                    eps.to_string(),
                    or_dash(plain(clean)),
                    or_dash(plain(attacked)),
                    or_dash(certified),
                    or_dash(found.map(|share| format!("{:.0} %", 100.0 * share))),
                ]);
            }
        }
        table(&header, &lines)
    }
}

impl Tally for Attacked {
    fn add(&mut self, line: &Line) -> Result<()> {
        match line.kind.as_str() {
            "attacks" => self.struck(&serde_json::from_str(&line.text)?),
            "least" => self.sought(&serde_json::from_str(&line.text)?),
            _ => self.row(&serde_json::from_str(&line.text)?),
        }
        Ok(())
    }

    fn tables(&self) -> Result<Vec<String>> {
        let more = [self.goals(), self.attacks(), self.gaps(), self.by_parts()];
        let all = [Some(self.table())].into_iter().chain(more);
        Ok(all.flatten().collect())
    }

    fn csv_header(&self) -> String {
        "image,metric,norm,eps,clean,certified,attacked,distance,attack,unsound".into()
    }

    fn csv(&self, line: &Line) -> Result<Option<String>> {
        if line.kind != "attack" {
            return Ok(None);
        }
        let row: Row = serde_json::from_str(&line.text)?;
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let values = [
            quoted(&row.image),
            row.metric.to_string(),
            row.norm.to_string(),
            row.eps.get().to_string(),
            number(row.clean),
            number(row.certified),
            number(row.attacked),
            row.distance.to_string(),
            row.attack.unwrap_or_default(),
            row.unsound.to_string(),
        ];
        Ok(Some(values.join(",")))
    }

    /// Says whether the law held, loudly where it did not.
    fn verdict(&self) -> ExitCode {
        let sound = self.images - self.unsound.len();
        if self.violations.is_empty() {
            say!(
                "sound: certified <= attacked <= clean on {sound}/{} images",
                self.images
            );
            return ExitCode::SUCCESS;
        }
        say!("UNSOUND: an attack beat a certificate; this must never happen");
        self.violations.iter().for_each(|line| say!("  {line}"));
        say!("\nhint: please report this with the model and the image");
        ExitCode::from(UNSOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, extra: &str) -> Row {
        let text = format!(
            r#"{{"kind":"attack","image":"{image}","metric":"accuracy","norm":"2","eps":0.1,"clean":1.0,"certified":0.5,"attacked":0.25,"distance":0.1,"attack":"pgd"{extra}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_attack_that_beats_a_certificate_is_loud_in_rows_that_are_read_too() {
        let head = r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{"eps":[0.1],"metrics":["accuracy"]},"verb":"attack"}"#;
        let mut tally = Attacked::new(head).unwrap();
        tally.row(&row("a", ""));
        assert_eq!(tally.verdict(), ExitCode::SUCCESS);
        tally.row(&row("b", r#","unsound":true"#));
        assert_eq!(tally.verdict(), ExitCode::from(UNSOUND));
        assert_eq!((tally.images, tally.unsound.len()), (2, 1));
        assert_eq!(tally.violations, ["image b: accuracy at eps 0.1"]);
        assert!(tally.table().contains("0.2500"));
    }
}
