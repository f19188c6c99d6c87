//! Rows of attacks.

use certiseg_cert::{Budget, Goal, Metric, Norm};
use serde::Deserialize;

/// One image, one metric, one budget.
#[derive(Clone, Debug, Deserialize)]
pub struct Attack {
    /// Name of the image.
    pub image: String,
    /// The metric.
    pub metric: Metric,
    /// Norm of the budget.
    pub norm: Norm,
    /// The budget.
    pub eps: Budget,
    /// Value of the clean prediction, to the nearest.
    pub clean: Option<f64>,
    /// Worst value within eps, on its safe side.
    pub certified: Option<f64>,
    /// Worst value found, to the nearest.
    pub attacked: Option<f64>,
    /// Who found it.
    pub attack: Option<String>,
    /// Pixels that attacks may change, where those are not all.
    #[serde(default)]
    pub region: Option<usize>,
    /// No attack ran.
    #[serde(default)]
    pub idle: bool,
    /// The attack beat the certificate.
    #[serde(default)]
    pub unsound: bool,
}

impl Attack {
    /// Whether there was a certificate that an attack could beat, and an attack.
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

    /// Whether what was found is worse than a certified value.
    pub fn beats(&self, certified: f64) -> bool {
        let worse = |attacked: f64| match self.metric.higher_is_better() {
            true => attacked < certified,
            false => attacked > certified,
        };
        self.attacked.is_some_and(worse)
    }

    /// Whether the attack beat the certificate beside it, by the word of the row or by its numbers: those are rounded so
    /// that an attack which did not beat it never looks as if it had.
    pub fn is_beaten(&self) -> bool {
        self.unsound
            || self
                .certified
                .is_some_and(|certified| self.beats(certified))
    }
}

/// One image, one criterion, one budget: what each attack came to.
#[derive(Clone, Debug, Deserialize)]
pub struct Struck {
    /// Name of the image.
    pub image: String,
    /// What was attacked.
    pub criterion: String,
    /// The budget.
    pub eps: Budget,
    /// Who found the best picture.
    pub winner: Option<String>,
    /// Nothing better was found than within a smaller budget.
    #[serde(default)]
    pub carried: bool,
    /// Adversarial pixels of the best.
    pub adversarial: usize,
    /// Each attack.
    pub attacks: Vec<Blow>,
    /// Where the gap to the certificate comes from.
    #[serde(default)]
    pub gap: Option<Gap>,
    /// By class and size of region.
    #[serde(default)]
    pub parts: Vec<Part>,
}

/// What one attack came to.
#[derive(Clone, Debug, Deserialize)]
pub struct Blow {
    /// Its name.
    pub attack: String,
    /// Adversarial pixels that count.
    pub adversarial: usize,
    /// Wall time, where it was asked for.
    #[serde(default)]
    pub seconds: Option<f64>,
}

/// Budgets for the same set of pixels, from the certificate to the network.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Gap {
    /// By the constant.
    pub certified: f64,
    /// By the true size of each gradient.
    pub gradients: f64,
    /// As pixels share directions.
    pub shared: f64,
    /// Pixels planned.
    pub planned: usize,
    /// Pixels of them that fell.
    pub realised: usize,
}

/// Pixels of a class or a size of region.
#[derive(Clone, Debug, Deserialize)]
pub struct Part {
    /// Its name.
    pub part: String,
    /// Pixels.
    pub pixels: u64,
    /// Wrong without an attack.
    pub wrong: u64,
    /// Wrong on the attacked picture.
    pub attacked: u64,
    /// Taken by the worst attack of the certificate.
    pub feared: u64,
}

/// One image, one goal: the budget certified, the least found.
#[derive(Clone, Debug, Deserialize)]
pub struct Least {
    /// Name of the image.
    pub image: String,
    /// The goal.
    pub goal: Goal,
    /// Rounded down.
    pub certified: Option<f64>,
    /// The least found.
    pub attacked: Option<f64>,
    /// The attack beat the certificate.
    #[serde(default)]
    pub unsound: bool,
}

impl Least {
    /// Whether there was a certificate that an attack could beat, and one that reached the goal.
    pub fn is_at_stake(&self) -> bool {
        self.attacked.is_some() && self.certified.is_some_and(|certified| certified > 0.0)
    }

    /// Whether the attack beat the certificate, by the word of the row or by its numbers.
    pub fn is_beaten(&self) -> bool {
        let within = |certified: f64| self.attacked.is_some_and(|attacked| attacked < certified);
        self.unsound || self.certified.is_some_and(within)
    }
}
