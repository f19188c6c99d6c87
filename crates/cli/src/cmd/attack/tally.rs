//! The rows of `attack`, added up.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::{Head, Metric, Norm, mean_lower, mean_upper, round_down, round_up};
use certiseg_net::compare::{median, tightness};
use serde::Deserialize;

use super::row::{Row, Sought, Struck};
use crate::fail::{self, UNSOUND};
use crate::output::{quoted, table};
use crate::rows_file::Line;
use crate::tally::{Tally, budgets};

/// What must hold on every image, of values that are better the higher they are.
const LAW: &str = "certified <= attacked <= clean";

/// What an attack came to, over images, criteria and budgets.
struct Record {
    name: String,
    ran: usize,
    /// Times that it found the best picture, those of smaller budgets that were carried along not counted.
    won: usize,
    /// Adversarial pixels, those that no other attack reached, passes forward and backward, seconds.
    sums: [Vec<f64>; 5],
}

/// The least budgets of a goal, over images.
#[derive(Default)]
struct Search {
    /// Certified, where one was found too: means side by side are over the same images.
    certified: Vec<f64>,
    /// Of each image that was searched.
    found: Vec<Option<f64>>,
    ratios: Vec<f64>,
}

/// Clean, certified and attacked values over images.
pub struct Attacked {
    metrics: Vec<Metric>,
    eps: Vec<f64>,
    /// Per metric and budget: clean, certified, attacked of each image.
    values: Vec<Vec<[Vec<f64>; 3]>>,
    norm: Norm,
    /// Whether attacks were confined to a region.
    confined: bool,
    records: Vec<Record>,
    /// Of the image at work the most adversarial pixels so far, by criterion and attack.
    reached: BTreeMap<String, BTreeMap<String, usize>>,
    at_work: String,
    /// Per budget the factors of the gap to the certificate, of each image.
    gaps: Vec<[Vec<f64>; 3]>,
    /// Per budget and part of pictures: pixels, wrong, attacked, feared.
    parts: BTreeMap<(usize, String), [u64; 4]>,
    /// By goal.
    sought: BTreeMap<String, Search>,
    /// Names, and whether anything was certified that an attack could beat.
    images: BTreeMap<String, bool>,
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
            region: Option<String>,
        }
        fn l2() -> Norm {
            Norm::L2
        }
        let eps = budgets(head)?;
        let head: Head<Asked> = serde_json::from_str(head).context("the head row")?;
        Ok(Self {
            norm: head.settings.norm,
            confined: head.settings.region.is_some(),
            ..Self::of(&head.settings.metrics, &eps)
        })
    }

    /// No rows yet, of these metrics and budgets.
    pub fn of(metrics: &[Metric], eps: &[f64]) -> Self {
        Self {
            metrics: metrics.to_vec(),
            eps: eps.to_vec(),
            values: vec![vec![Default::default(); eps.len()]; metrics.len()],
            norm: Norm::L2,
            confined: false,
            records: Vec::new(),
            reached: BTreeMap::new(),
            at_work: String::new(),
            gaps: vec![Default::default(); eps.len()],
            parts: BTreeMap::new(),
            sought: BTreeMap::new(),
            images: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, row: &Row) {
        let Row {
            image, metric, eps, ..
        } = row;
        *self.images.entry(image.clone()).or_default() |= row.is_at_stake();
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
            fail::beaten();
            let eps = eps.get();
            self.violations
                .push(format!("image {image}: {metric} at eps {eps}"));
        }
    }

    fn struck(&mut self, row: &Struck) {
        if self.at_work != row.image {
            self.reached.clear();
            self.at_work = row.image.clone();
        }
        let reached = self.reached.entry(row.criterion.clone()).or_default();
        for blow in &row.attacks {
            // what was found within a smaller budget stays
            let most = reached.entry(blow.attack.clone()).or_default();
            *most = blow.adversarial.max(*most);
        }
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
            let won = !row.carried && row.winner.as_ref() == Some(&blow.attack);
            record.won += usize::from(won);
            let others = reached.iter().filter(|(name, _)| **name != blow.attack);
            let others = others.map(|(_, &most)| most).max();
            let alone = others.map_or(0, |most| reached[&blow.attack].saturating_sub(most));
            let [forward, backward] = [blow.passes.forward, blow.passes.backward];
            let counts = [blow.adversarial, alone, forward, backward].map(|count| count as f64);
            for (list, value) in record.sums.iter_mut().zip(counts) {
                list.push(value);
            }
            record.sums[4].extend(blow.seconds);
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
        *self.images.entry(row.image.clone()).or_default() |= row.is_at_stake();
        let search = self.sought.entry(row.goal.to_string()).or_default();
        let certified = row.certified.filter(|_| row.attacked.is_some());
        search.certified.extend(certified);
        search.ratios.extend(row.ratio);
        // a goal that no change reaches is not searched for
        if row.certified.is_some() {
            search.found.push(row.attacked);
        }
        if row.unsound {
            fail::beaten();
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
            "median",
            "found/certified",
        ];
        let lines = self.sought.iter().map(|(goal, search)| {
            let text = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.4}"));
            let certified = mean_lower(&search.certified).map(|m| round_down(m, 4));
            let found: Vec<f64> = search.found.iter().flatten().copied().collect();
            vec![
                goal.clone(),
                format!("{}/{}", found.len(), search.found.len()),
                certified.unwrap_or("-".to_owned()),
                text(mean_lower(&found)),
                text(median(&search.found)),
                text(mean_lower(&search.ratios)),
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
            "lost without",
            "forward",
            "backward",
            "seconds",
        ];
        let line = |record: &Record| {
            let mean = |values: &[f64], digits: usize| {
                mean_lower(values).map_or("-".to_owned(), |mean| format!("{mean:.digits$}"))
            };
            let [adversarial, alone, forward, backward, seconds] = &record.sums;
            vec![
                record.name.clone(),
                format!("{}/{}", record.won, record.ran),
                mean(adversarial, 1),
                mean(alone, 2),
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
            // one per image and criterion
            "plans",
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
        let attacked = match self.confined {
            true => "attacked in region",
            false => "attacked",
        };
        let header = ["metric", &eps, "clean", attacked, "certified", "found"].map(str::to_owned);
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
        "image,metric,norm,eps,clean,certified,attacked,distance,attack,unsound,region,idle".into()
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
            row.region
                .map_or(String::new(), |pixels| pixels.to_string()),
            row.idle.to_string(),
        ];
        Ok(Some(values.join(",")))
    }

    /// Says whether the law held, loudly where it did not.
    fn verdict(&self) -> ExitCode {
        if self.violations.is_empty() {
            let tested = self.images.values().filter(|&&at_stake| at_stake).count();
            match (tested, self.images.len() - tested) {
                (0, 0) => {}
                (0, idle) => say!(
                    "nothing was tested: nothing is certified of the {idle} images, or nothing of them attacked"
                ),
                (_, 0) => say!("sound: {LAW} on {tested}/{tested} images"),
                (_, idle) => say!(
                    "sound: {LAW} on {tested}/{tested} images; {idle} more had nothing certified, or nothing to attack"
                ),
            }
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

    /// What attacks reached on an image within a budget, and who won.
    fn struck(
        image: &str,
        eps: f64,
        winner: &str,
        carried: bool,
        found: &[(&str, usize)],
    ) -> Struck {
        let passes = serde_json::json!({"forward": 3, "backward": 2});
        let blow = |&(attack, adversarial): &(&str, usize)| serde_json::json!({"attack": attack, "adversarial": adversarial, "passes": passes});
        let blows: Vec<_> = found.iter().map(blow).collect();
        let lengths = serde_json::json!({"l1": 0.1, "l2": 0.1, "linf": 0.1});
        let row = serde_json::json!({
            "kind": "attacks", "image": image, "criterion": "accuracy", "eps": eps, "winner": winner,
            "carried": carried, "distance": 0.1, "lengths": lengths, "adversarial": 9, "iou": [[0.5, null]],
            "attacks": blows,
        });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn an_attack_that_beats_a_certificate_is_loud_in_rows_that_are_read_too() {
        let head = r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{"eps":[0.1],"metrics":["accuracy"]},"verb":"attack"}"#;
        let mut tally = Attacked::new(head).unwrap();
        tally.row(&row("a", ""));
        assert_eq!(tally.verdict(), ExitCode::SUCCESS);
        tally.row(&row("b", r#","unsound":true"#));
        assert_eq!(tally.verdict(), ExitCode::from(UNSOUND));
        assert_eq!(tally.images.len(), 2);
        assert_eq!(tally.violations, ["image b: accuracy at eps 0.1"]);
        assert!(tally.table().contains("0.2500"));
    }

    #[test]
    fn comma_separated_values_tell_of_regions_and_of_images_without_an_attack() {
        let tally = Attacked::of(&[Metric::Accuracy], &[0.1]);
        let header = tally.csv_header();
        let of = |extra: &str| {
            let text = serde_json::to_string(&row("a", extra)).unwrap();
            let values = tally.csv(&Line::new(text).unwrap()).unwrap().unwrap();
            let pairs = header.split(',').zip(values.split(','));
            let told: BTreeMap<_, _> = pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
            assert_eq!(told.len(), values.split(',').count());
            ["unsound", "region", "idle"].map(|name| told[name].clone())
        };
        assert_eq!(of(""), ["false", "", "false"]);
        assert_eq!(of(r#","region":224"#), ["false", "224", "false"]);
        assert_eq!(of(r#","idle":true"#), ["false", "", "true"]);
    }

    #[test]
    fn images_of_which_nothing_is_certified_prove_nothing() {
        let mut tally = Attacked::of(&[Metric::Accuracy], &[0.1]);
        let mut vacuous = row("a", "");
        vacuous.certified = Some(0.0);
        tally.row(&vacuous);
        let mut undefined = row("b", "");
        (undefined.clean, undefined.certified, undefined.attacked) = (None, None, None);
        tally.row(&undefined);
        tally.row(&row("d", r#","idle":true"#));
        assert!(tally.images.values().all(|at_stake| !at_stake));
        tally.row(&row("c", ""));
        tally.row(&vacuous);
        let tested = tally.images.values().filter(|&&at_stake| at_stake);
        assert_eq!((tested.count(), tally.images.len()), (1, 4));
    }

    #[test]
    fn a_win_counts_once_and_an_attack_is_worth_what_no_other_reached() {
        let mut tally = Attacked::of(&[Metric::Accuracy], &[0.1, 0.2]);
        tally.struck(&struck("a", 0.1, "x", false, &[("x", 9), ("y", 4)]));
        // nothing better was found within the larger budget
        tally.struck(&struck("a", 0.2, "x", true, &[("x", 8), ("y", 9)]));
        tally.struck(&struck("b", 0.1, "y", false, &[("x", 2), ("y", 3)]));
        let won: Vec<_> = tally.records.iter().map(|r| (r.won, r.ran)).collect();
        assert_eq!(won, [(1, 3), (1, 3)]);
        let alone: Vec<_> = tally.records.iter().map(|r| r.sums[1].clone()).collect();
        assert_eq!(alone, [[5.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
    }

    #[test]
    fn goals_tell_how_many_searches_succeeded() {
        let mut tally = Attacked::of(&[Metric::Accuracy], &[0.1]);
        for (image, certified, attacked) in [
            ("a", Some(1.0), Some(2.0)),
            ("b", Some(1.0), None),
            ("c", Some(0.5), Some(4.0)),
            ("d", None, None),
        ] {
            let row = serde_json::json!({
                "kind": "least", "image": image, "goal": "accuracy<=0.5", "certified": certified,
                "attacked": attacked, "ratio": null, "attack": "pgd", "forward": 9,
            });
            tally.sought(&serde_json::from_value(row).unwrap());
        }
        let table = tally.goals().unwrap();
        assert!(table.contains("2/3") && table.contains("4.0000"), "{table}");
    }
}
