//! The rows of `attack`.

use anyhow::Result;
use certiseg_cert::{Budget, Goal, Metric, Norm, Value};
use certiseg_net::attack::Criterion;
use certiseg_net::attack::gate::Lengths;
use certiseg_net::attack::lqa::Gap;
use certiseg_net::attack::suite::Blow;
use certiseg_net::compare::{Comparison, Quest};
use certiseg_net::parts::Part;
use serde::{Deserialize, Serialize};

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
    pub image: String,
    pub metric: Metric,
    pub norm: Norm,
    pub eps: Budget,
    pub clean: Option<f64>,
    pub certified: Option<f64>,
    pub attacked: Option<f64>,
    pub distance: f64,
    /// Who found the worst picture; nobody where none is worse than the clean one.
    pub attack: Option<String>,
    /// Pixels that attacks may change, where those are not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<usize>,
    /// Nothing that was to be attacked counts on this image, so no attack ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// The attack beat the certificate, of this budget or of its own distance, compared as fractions where
    /// they are some.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsound: bool,
}

impl Row {
    /// All rows of an image, attacked in so many pixels, or all.
    pub fn of(
        image: &str,
        norm: Norm,
        metrics: &[Metric],
        seen: &Comparison,
        region: Option<usize>,
    ) -> Result<Vec<Self>> {
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
                    region,
                    idle: strike.rounds.is_empty(),
                    unsound: violations.contains(&(metric, strike.eps)),
                });
            }
        }
        Ok(rows)
    }

    /// Whether there was a certificate that an attack could beat, and an attack: one of 0, or of 1 where
    /// lower is better, it cannot.
    pub fn is_at_stake(&self) -> bool {
        let says = |certified: f64| match self.metric.higher_is_better() {
            true => certified > 0.0,
            false => certified < 1.0,
        };
        self.eps.get() > 0.0
            && !self.idle
            && self.attacked.is_some()
            && self.certified.is_some_and(says)
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
    pub image: String,
    pub criterion: String,
    pub eps: Budget,
    pub winner: Option<String>,
    /// The best picture was found within a smaller budget, and nothing better within this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub carried: bool,
    pub distance: f64,
    pub lengths: Lengths,
    pub adversarial: usize,
    /// Of each class the IoU before and after; nothing where the class is neither labelled nor predicted.
    pub iou: Vec<[Option<f64>; 2]>,
    pub attacks: Vec<Blow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// By class and size of region, of the accuracy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
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
    pub image: String,
    pub goal: Goal,
    pub certified: Option<f64>,
    pub attacked: Option<f64>,
    pub ratio: Option<f64>,
    pub attack: String,
    pub forward: usize,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsound: bool,
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

    /// Whether there is a certificate that an attack could beat.
    pub fn is_at_stake(&self) -> bool {
        self.unsound || self.certified.is_some_and(|certified| certified > 0.0)
    }
}

impl Struck {
    /// All rows of an image; none of saved pictures.
    pub fn of(image: &str, seen: &Comparison, parts: bool) -> Result<Vec<Self>> {
        let mut rows = Vec::new();
        for (at, strike) in seen.strikes.iter().enumerate() {
            let bites = strike.bites.as_ref().filter(|_| parts);
            for (index, (criterion, round)) in strike.rounds.iter().enumerate() {
                if round.blows.is_empty() {
                    continue;
                }
                let picture = &round.best.image;
                let smaller = at
                    .checked_sub(1)
                    .map(|at| &seen.strikes[at].rounds[index].1);
                let carried = smaller.is_some_and(|before| before.best.image == *picture);
                let ious = seen.ious.iter().zip(&strike.ious[index]);
                rows.push(Struck {
                    kind: StruckKind::Attacks,
                    image: image.into(),
                    criterion: criterion.to_string(),
                    eps: Budget::new(strike.eps)?,
                    winner: Some(round.winner.clone()).filter(|name| !name.is_empty()),
                    carried: carried && !round.winner.is_empty(),
                    distance: round.best.distance,
                    lengths: Lengths::between(picture, &seen.picture),
                    adversarial: round.best.adversarial,
                    iou: ious.map(before_and_after).collect(),
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

fn before_and_after((before, after): (&Option<Value>, &Option<Value>)) -> [Option<f64>; 2] {
    [before, after].map(|value| value.map(Value::nearest))
}
