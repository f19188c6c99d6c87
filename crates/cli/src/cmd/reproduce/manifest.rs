//! What makes a table or figure of a paper: settings that travel with the program, or a file of the user's.

use std::path::Path;

use anyhow::{Context, Result};
use certiseg_net::data::Layout;
use certiseg_view::beside::Quoted;
use clap::ValueEnum;
use serde::Deserialize;

use crate::fail::Usage;

macro_rules! manifests {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../../experiments/reproduce/", $name, ".toml")))),*]
    };
}

/// Name and settings of all tables and figures.
pub const ALL: &[(&str, &str)] = manifests![
    "001-table1",
    "001-table2",
    "001-table3",
    "001-table4",
    "001-table5",
    "001-fig1",
    "001-fig2",
    "001-fig3",
    "001-fig4",
    "001-fig5",
    "001-fig6",
    "001-fig7",
    "001-fig8",
    "002-table1",
    "002-table2",
    "002-table3",
    "002-table4",
    "002-table5",
    "002-table6",
    "002-table7",
    "002-table8",
    "002-fig1",
    "002-fig2",
    "002-fig3",
    "002-fig4",
    "002-fig5",
    "002-fig6",
    "002-fig7",
    "002-fig8",
];

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// What two cores do in minutes.
    Laptop,
    /// What the paper did, as far as data and program go.
    Full,
}

impl Size {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Size::Laptop => "laptop",
            Size::Full => "full",
        }
    }
}

/// A table or figure of a paper.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `001` or `002`.
    pub of: String,
    /// `Table 2`.
    pub item: String,
    /// What it shows.
    pub shows: String,
    /// Why it cannot be reproduced; then nothing else is stated.
    pub cannot: Option<String>,
    /// What to know when numbers are compared.
    pub note: Option<String>,
    /// In minutes.
    pub laptop: Option<Scale>,
    /// As the paper did it.
    pub full: Option<Scale>,
    /// Why there is no such scale.
    pub no_full: Option<String>,
    /// What the paper states.
    #[serde(default)]
    pub paper: Vec<Quoted>,
}

/// What is done at a scale.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// On two cores.
    pub time: String,
    /// Whether that was measured.
    pub known: Known,
    /// What was scaled down, one sentence.
    pub scaled: String,
    /// What is needed for `{data}`.
    pub data: Option<Data>,
    /// Where a model for `{model}` lies; without it a step makes one.
    pub model: Option<String>,
    /// Run one after the other.
    pub steps: Vec<Step>,
    /// Figures and tables drawn in the end.
    #[serde(default)]
    pub result: Vec<Vec<String>>,
}

/// How a time is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// By a clock.
    Measured,
    /// From the times of other runs.
    Estimated,
}

impl Known {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Known::Measured => "measured",
            Known::Estimated => "estimated",
        }
    }
}

/// The data set of `--data`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// How it lies.
    pub layout: Layout,
    /// Splits that are read.
    pub splits: Vec<String>,
    /// Where it comes from.
    pub from: String,
}

/// A verb of this program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name, and that of its folder under `{out}`.
    pub name: String,
    /// The line.
    pub run: Vec<String>,
    /// The model file that it makes for `{model}`; passed over where `--model` is given.
    pub makes: Option<String>,
    /// So many lines of what it printed are a part of the result.
    #[serde(default)]
    pub show: usize,
}

impl Manifest {
    /// The one called so, `table2` is `001-table2`; or of a file whose name ends with `.toml`.
    pub fn find(name: &str) -> Result<(String, Self)> {
        if name.ends_with(".toml") {
            let text = std::fs::read_to_string(name);
            let text = text.with_context(|| format!("cannot read {name}"))?;
            let stem = Path::new(name).file_stem().unwrap_or_default();
            return Ok((
                stem.to_string_lossy().into_owned(),
                Self::parse(name, &text)?,
            ));
        }
        let known = |full: &str| ALL.iter().find(|(known, _)| *known == full);
        let found = known(name).or_else(|| known(&format!("001-{name}")));
        let Some((full, text)) = found else {
            return Err(Usage::error(
                format!("no table or figure is called {name:?}"),
                "certiseg reproduce --list has their names; a name without a paper is of 001",
            ));
        };
        Ok(((*full).into(), Self::parse(full, text)?))
    }

    /// Checks what the form alone does not say.
    fn parse(name: &str, text: &str) -> Result<Self> {
        let manifest: Manifest = toml::from_str(text).with_context(|| format!("in {name}"))?;
        let scales = [&manifest.laptop, &manifest.full].into_iter().flatten();
        for scale in scales {
            scale.check().with_context(|| format!("in {name}"))?;
        }
        Ok(manifest)
    }

    /// What is done at a scale; where nothing is, the reason.
    pub fn scale(&self, name: &str, size: Size) -> Result<&Scale> {
        let Manifest { of, item, .. } = self;
        if let Some(reason) = &self.cannot {
            let message = format!("{item} of paper {of} cannot be reproduced: {reason}");
            return Err(Usage::error(
                message,
                "certiseg reproduce --list has those that can",
            ));
        }
        let scale = match size {
            Size::Laptop => &self.laptop,
            Size::Full => &self.full,
        };
        scale.as_ref().ok_or_else(|| {
            let reason = self.no_full.as_deref().filter(|_| size == Size::Full);
            let reason = reason.unwrap_or("nothing is stated for it");
            let message = format!("{name} has no scale {}: {reason}", size.name());
            let other = match size {
                Size::Laptop => Size::Full,
                Size::Full => Size::Laptop,
            };
            Usage::error(message, format!("use --scale {}", other.name()))
        })
    }
}

impl Scale {
    /// Whether some line has this placeholder.
    pub fn uses(&self, placeholder: &str) -> bool {
        let lines = self.steps.iter().map(|step| &step.run).chain(&self.result);
        lines.flatten().any(|word| word.contains(placeholder))
    }

    /// Names of steps are folders, and what a line refers to is there.
    fn check(&self) -> Result<()> {
        let wrong = |message: String| {
            let hint = "see experiments/reproduce for the form";
            Err(Usage::error(message, hint))
        };
        for (at, step) in self.steps.iter().enumerate() {
            let name = &step.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                return wrong(format!(
                    "{name:?} is no name of a step, use letters, digits, -"
                ));
            }
            if name == "logs" || self.steps[..at].iter().any(|before| before.name == *name) {
                return wrong(format!("{name:?} is the name of something else already"));
            }
            if step.run.is_empty() {
                return wrong(format!("step {name} runs nothing"));
            }
        }
        let makes = self.steps.iter().any(|step| step.makes.is_some());
        if self.uses("{model}") != (self.model.is_some() || makes) {
            return wrong(
                "{model} needs `model` or a step that `makes` it, and these need {model}".into(),
            );
        }
        if self.uses("{data}") != self.data.is_some() {
            return wrong("{data} needs [data], and [data] a line with {data}".into());
        }
        Ok(())
    }
}

/// What the placeholders of lines stand for.
pub struct Places {
    /// `{data}`.
    pub data: Option<String>,
    /// `{model}`.
    pub model: Option<String>,
    /// `{out}`.
    pub out: String,
}

impl Places {
    /// A line with its placeholders filled.
    pub fn fill(&self, line: &[String]) -> Result<Vec<String>> {
        line.iter().map(|word| self.word(word)).collect()
    }

    fn word(&self, word: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = word;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, after)) = behind.split_once('}') else {
                break;
            };
            let value = match name {
                "data" => self.data.as_deref(),
                "model" => self.model.as_deref(),
                "out" => Some(self.out.as_str()),
                _ => None,
            };
            let Some(value) = value else {
                let message = format!("{{{name}}} in {word:?} stands for nothing");
                let hint = "placeholders are {data}, {model} and {out}";
                return Err(Usage::error(message, hint));
            };
            filled = filled + before + value;
            rest = after;
        }
        Ok(filled + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
of = "002"
item = "Figure 9"
shows = "something"
no_full = "the data are gone"
[laptop]
time = "1 s"
known = "measured"
scaled = "all"
[[laptop.steps]]
name = "toy"
run = ["smooth", "toy", "--out", "{out}/toy"]
"#;

    fn places() -> Places {
        Places {
            data: Some("a b".into()),
            model: None,
            out: "o".into(),
        }
    }

    #[test]
    fn placeholders_are_filled_and_unknown_ones_refused() {
        let line = ["x", "{out}/{data}/y", "{"].map(String::from);
        assert_eq!(places().fill(&line).unwrap(), ["x", "o/a b/y", "{"]);
        let refused = |word: &str| places().fill(&[word.into()]).unwrap_err().to_string();
        assert!(refused("{uot}/x").contains("{uot}"));
        assert!(refused("{model}").contains("{model}"));
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        Manifest::parse("x", SMALL).unwrap();
        let refused = |from: &str, to: &str| {
            assert!(SMALL.contains(from), "{from}");
            let error = Manifest::parse("x", &SMALL.replace(from, to)).unwrap_err();
            format!("{error:#}")
        };
        assert!(refused("name = \"toy\"", "name = \"a/b\"").contains("a/b"));
        assert!(refused("name = \"toy\"", "name = \"logs\"").contains("logs"));
        assert!(refused("{out}/toy", "{data}/toy").contains("[data]"));
        assert!(refused("{out}/toy", "{model}").contains("makes"));
        assert!(refused("\"measured\"", "\"guessed\"").contains("guessed"));
    }

    #[test]
    fn a_scale_that_is_not_there_says_why() {
        let manifest = Manifest::parse("x", SMALL).unwrap();
        let error = manifest.scale("x", Size::Full).unwrap_err().to_string();
        assert_eq!(error, "x has no scale full: the data are gone");
        let cannot = SMALL.replace("[laptop]", "cannot = \"a drawing\"\n[laptop]");
        let cannot = Manifest::parse("x", &cannot).unwrap();
        let error = cannot.scale("x", Size::Laptop).unwrap_err().to_string();
        assert_eq!(
            error,
            "Figure 9 of paper 002 cannot be reproduced: a drawing"
        );
    }

    #[test]
    fn a_name_without_a_paper_is_of_the_first() {
        assert_eq!(Manifest::find("table2").unwrap().0, "001-table2");
        assert!(Manifest::find("003-table2").is_err());
    }
}
