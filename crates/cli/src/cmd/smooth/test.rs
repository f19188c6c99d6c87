//! What is tested, how and at which level: flags, and the one struct that they become.

use std::path::PathBuf;

use anyhow::Result;
use certiseg_cert::smoothing::{
    Correction, Family, Hierarchy, Law, MAX_SAMPLES, Procedure, Promise, Stage,
};
use clap::{Args, ValueEnum};

use crate::conventions::word;
use crate::fail::Usage;

/// n0 where it is not named.
pub const CHOOSE: usize = 10;

/// Flags of the test.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Samples that choose the classes; the others test them. 10 by default; of votes it is only told. With
    /// --single-stage they test too, and 0 takes all, at most 255
    #[arg(long)]
    n0: Option<usize>,
    /// Law of the noise: gaussian (radii in l2), laplace or uniform (l1)
    #[arg(long, default_value = "gaussian", value_enum)]
    law: LawName,
    /// Standard deviation of Gaussian noise, in the unit of --unit
    #[arg(long, allow_negative_numbers = true)]
    sigma: Option<f64>,
    /// Of Laplace noise the mean of |x|, of uniform noise half of the interval
    #[arg(long, allow_negative_numbers = true)]
    scale: Option<f64>,
    /// Threshold of the probability of a class, from 0.5, below 1: it fixes the radius
    #[arg(long, default_value_t = 0.75, allow_negative_numbers = true)]
    tau: f64,
    /// Probability that the statement about an image is wrong
    #[arg(long, default_value_t = 0.001, allow_negative_numbers = true)]
    alpha: f64,
    /// For many components: holm, bonferroni, kfwer:K (fewer than K wrong), count:B (at most B wrong, single
    /// step), none (each component by itself)
    #[arg(long, default_value = "holm")]
    correction: Correction,
    /// All samples choose and test: no n0 beside n, and as sound
    #[arg(long)]
    single_stage: bool,
    /// Share of alpha with which a single stage guards holm, kfwer:K and --radius-map
    #[arg(
        long,
        default_value_t = 0.1,
        requires = "single_stage",
        allow_negative_numbers = true
    )]
    guard: f64,
    /// What a certified component may do within the radius: class-or-abstain, or strong:OUT, where the model that
    /// abstains up to OUT (0.5 if left out) does not abstain either, for less radius
    #[arg(long, default_value = "class-or-abstain", value_parser = statement)]
    statement: Promise,
    /// Which components are tested: all, not-ignored (for metrics only), screened (chosen by at least --screen of
    /// the n0 samples)
    #[arg(long, default_value = "all", value_parser = word::<Family>)]
    family: Family,
    /// Fewest of the n0 samples for --family screened
    #[arg(long)]
    screen: Option<usize>,
    /// Levels of classes, JSON: [[node of class 0, node of class 1, ...], ...], from leaves to the root; each
    /// component is certified at the finest that holds. With bonferroni or count:B
    #[arg(long, value_name = "JSON")]
    hierarchy: Option<PathBuf>,
    /// The tensor that the noise was added to, in words: the unit of sigma and of radii. Of a model it is known
    #[arg(long, conflicts_with = "model")]
    unit: Option<String>,
}

/// A law without its scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LawName {
    Gaussian,
    Laplace,
    Uniform,
}

/// Checked.
pub struct Test {
    /// n0, where it was named.
    pub n0: Option<usize>,
    /// The noise.
    pub law: Law,
    /// Threshold, level, correction, stage.
    pub procedure: Procedure,
    /// Of a certified component.
    pub promise: Promise,
    /// Which are tested.
    pub family: Family,
    /// Fewest samples of a screening.
    pub screen: usize,
    /// Levels of classes.
    pub hierarchy: Option<Hierarchy>,
    /// Of the radius.
    pub unit: String,
}

impl TestArgs {
    /// The file of the hierarchy.
    pub fn hierarchy(&self) -> Option<&PathBuf> {
        self.hierarchy.as_ref()
    }

    /// An error where something means nothing, before anything is read but the hierarchy.
    pub fn check(&self) -> Result<Test> {
        self.check_under(None)
    }

    /// The same under a law that leaves nothing to choose.
    pub fn check_under(&self, known: Option<Law>) -> Result<Test> {
        let stage = match self.single_stage {
            true => Stage::Single { guard: self.guard },
            false => Stage::Two,
        };
        let procedure = Procedure {
            tau: self.tau,
            alpha: self.alpha,
            correction: self.correction,
            stage,
        };
        let hint = "tau is from 0.5 (a radius of 0) and below 1, alpha and --guard inside (0, 1)";
        let procedure = hinted(procedure.check(), hint)?;
        let hint = "sigma and scale are finite and above 0, the threshold of strong:OUT from 0.5 to below 1";
        let law = match known {
            None => self.law()?,
            Some(law) => self.no_other(law)?,
        };
        let law = hinted(law.check(), hint)?;
        let out = hinted(self.statement.out(), hint)?;
        if out > self.tau {
            return Err(Usage::error(
                format!(
                    "--statement strong:{out} above --tau {}: a class above tau may be below {out}, where that model abstains",
                    self.tau
                ),
                "give a --tau above OUT: the radius is what lies between",
            ));
        }
        if self.n0 == Some(0) && stage == Stage::Two {
            return Err(Usage::error(
                "--n0 0 leaves no class to test",
                "give --n0 10, or --single-stage",
            ));
        }
        let screened = self.family == Family::Screened;
        let screen = match (screened, self.screen) {
            (true, Some(screen)) => screen,
            (false, None) => 0,
            (true, None) => {
                let hint = "for example --screen 8 of --n0 10";
                return Err(Usage::error("--family screened, and no --screen", hint));
            }
            (false, Some(_)) => {
                let hint = "leave it out, or give --family screened";
                return Err(Usage::error(
                    "--screen concerns --family screened only",
                    hint,
                ));
            }
        };
        let choose = self.n0.unwrap_or(CHOOSE);
        if screen > choose {
            return Err(Usage::error(
                format!(
                    "--screen {screen} of {choose} samples that choose: no component is tested"
                ),
                "give at most --n0",
            ));
        }
        if screened && stage != Stage::Two {
            return Err(Usage::error(
                "--family screened with --single-stage: the samples that test may not choose what is tested",
                "leave one of both out",
            ));
        }
        let hierarchy = self.hierarchy.as_deref().map(read).transpose()?;
        if hierarchy.is_some() {
            let steps = !matches!(
                self.correction,
                Correction::Bonferroni | Correction::Count(_)
            );
            if steps || stage != Stage::Two || self.family != Family::All {
                return Err(Usage::error(
                    "--hierarchy needs one threshold for all components, and two stages",
                    "give --correction bonferroni or count:B, without --single-stage and --family",
                ));
            }
        }
        Ok(Test {
            n0: self.n0,
            law,
            procedure,
            promise: self.statement,
            family: self.family,
            screen,
            hierarchy,
            unit: match &self.unit {
                Some(unit) => unit.clone(),
                None => "the tensor that the noise was added to".into(),
            },
        })
    }

    fn no_other(&self, law: Law) -> Result<Law> {
        if self.law == LawName::Gaussian && self.sigma.is_none() && self.scale.is_none() {
            return Ok(law);
        }
        Err(Usage::error(
            "--law, --sigma or --scale, and noise that has none of them to choose",
            "leave them out",
        ))
    }

    fn law(&self) -> Result<Law> {
        let law = match (self.law, self.sigma, self.scale) {
            (LawName::Gaussian, Some(sigma), None) => Law::Gaussian { sigma },
            (LawName::Laplace, None, Some(scale)) => Law::Laplace { scale },
            (LawName::Uniform, None, Some(width)) => Law::Uniform { width },
            (LawName::Gaussian, ..) => {
                let hint = "give --sigma, and no --scale: the radius is a multiple of it";
                return Err(Usage::error("gaussian noise needs its sigma", hint));
            }
            _ => {
                let hint = "give --scale, and no --sigma: the radius is a multiple of it";
                return Err(Usage::error(
                    "laplace and uniform noise need their scale",
                    hint,
                ));
            }
        };
        Ok(law)
    }
}

impl Test {
    /// How many of the samples of a model choose the classes, where `samples` test them.
    pub fn choose(&self, samples: usize) -> Result<usize> {
        if samples > MAX_SAMPLES {
            return Err(Usage::error(
                format!("{samples} samples of a picture"),
                format!("give at most {MAX_SAMPLES}"),
            ));
        }
        let single = self.procedure.stage != Stage::Two;
        let choose = match self.n0 {
            Some(0) => samples.min(255),
            None if single => samples.min(CHOOSE),
            n0 => n0.unwrap_or(CHOOSE),
        };
        if choose > 255 {
            return Err(Usage::error(
                format!("--n0 {choose} samples that choose"),
                "give 1 to 255",
            ));
        }
        if single && choose > samples {
            return Err(Usage::error(
                format!("--n0 {choose} of --n {samples} samples of a single stage"),
                "give a smaller --n0, or more samples",
            ));
        }
        Ok(choose)
    }
}

/// An error of the judge with a way out.
pub fn hinted<T>(result: certiseg_cert::Result<T>, hint: &str) -> Result<T> {
    result.map_err(|error| Usage::error(error.to_string(), hint))
}

fn statement(text: &str) -> Result<Promise, String> {
    let out = match text {
        "class-or-abstain" => return Ok(Promise::ClassOrAbstain),
        "strong" => Some(0.5),
        _ => text
            .strip_prefix("strong:")
            .and_then(|out| out.parse().ok()),
    };
    let refused =
        || "expected class-or-abstain, strong or strong:OUT, for example strong:0.6".into();
    out.map(|out| Promise::Strong { out }).ok_or_else(refused)
}

fn read(path: &std::path::Path) -> Result<Hierarchy> {
    let hint = "give a list of levels, leaves first, each with the node of every class: [[0,1,2],[0,3,3],[4,4,4]]";
    let text = std::fs::read_to_string(path)
        .map_err(|error| Usage::error(format!("cannot read {}: {error}", path.display()), hint))?;
    let levels: Vec<Vec<u8>> = serde_json::from_str(&text).map_err(|error| {
        Usage::error(format!("{} is no hierarchy: {error}", path.display()), hint)
    })?;
    hinted(Hierarchy::new(levels), hint)
}
