//! Rows read back, by kind. Fields that are not shown are not read.

mod attack;
mod compare;
mod eval;
mod time;
mod toy;

use std::collections::BTreeSet;

use certiseg_cert::smoothing::{SmoothCurve, SmoothDataset, SmoothRow};
use certiseg_cert::{CurveRow, DatasetRow, FORMAT, Head, Row};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use self::attack::{Attack, Blow, Gap, Least, Part, Struck};
pub use self::compare::{Compared, ComparedImage, Equal};
pub use self::eval::{Evaluated, Evaluation, Figures};
pub use self::time::Time;
pub use self::toy::Toy;
use crate::{Error, Result};

/// The rows of one run of a verb.
#[derive(Debug)]
pub struct Run {
    /// What it is called here: its file.
    pub name: String,
    /// Its head; settings as they were written.
    pub head: Head<serde_json::Value>,
    /// Q1 and Q2 of images.
    pub rows: Vec<Row>,
    /// Of all images pooled.
    pub dataset: Vec<DatasetRow>,
    /// Curves of images.
    pub curves: Vec<CurveRow>,
    /// Attacked beside certified values.
    pub attacks: Vec<Attack>,
    /// What each attack came to.
    pub struck: Vec<Struck>,
    /// Least budgets found.
    pub least: Vec<Least>,
    /// Randomized smoothing of images.
    pub smooth: Vec<SmoothRow>,
    /// Its curves.
    pub smooth_curves: Vec<SmoothCurve>,
    /// All images of it.
    pub smooth_dataset: Vec<SmoothDataset>,
    /// Methods side by side.
    pub compared: Vec<Compared>,
    /// Images of these.
    pub compared_images: Vec<ComparedImage>,
    /// Samples for as much as the bound.
    pub equal: Vec<Equal>,
    /// Plain figures of images.
    pub evaluated: Vec<Evaluated>,
    /// Of all images.
    pub evaluation: Vec<Evaluation>,
    /// Points of paper 002's experiment.
    pub toy: Vec<Toy>,
    /// Wall times of images.
    pub times: Vec<Time>,
}

impl Run {
    /// Of a head and the lines behind it. Kinds that nothing here shows are passed over.
    ///
    /// # Errors
    /// [`Error::Row`] for what is no row, [`Error::Format`] for rows of another version, [`Error::TwoHeads`] for
    /// several runs in one file.
    pub fn read<'a>(
        name: &str,
        head: &str,
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        let head: Head<serde_json::Value> = parse(name, 1, head)?;
        if head.format != FORMAT {
            return Err(Error::Format {
                run: name.into(),
                got: head.format,
                expected: FORMAT,
            });
        }
        let mut run = Run::empty(name, head);
        for (number, line) in (2..).zip(lines) {
            let Kind { kind } = parse(name, number, line)?;
            let at = (name, number, line);
            match kind.as_str() {
                "row" => push(&mut run.rows, at)?,
                "dataset" => push(&mut run.dataset, at)?,
                "curve" => push(&mut run.curves, at)?,
                "attack" => push(&mut run.attacks, at)?,
                "attacks" => push(&mut run.struck, at)?,
                "least" => push(&mut run.least, at)?,
                "smooth" => push(&mut run.smooth, at)?,
                "smooth-curve" => push(&mut run.smooth_curves, at)?,
                "smooth-dataset" => push(&mut run.smooth_dataset, at)?,
                "compare" => push(&mut run.compared, at)?,
                "compare-image" => push(&mut run.compared_images, at)?,
                "compare-equal" => push(&mut run.equal, at)?,
                "eval" => push(&mut run.evaluated, at)?,
                "evaluation" => push(&mut run.evaluation, at)?,
                "toy" => push(&mut run.toy, at)?,
                "time" => push(&mut run.times, at)?,
                "head" => {
                    let run = name.into();
                    return Err(Error::TwoHeads { run, line: number });
                }
                _ => {}
            }
        }
        Ok(run)
    }

    fn empty(name: &str, head: Head<serde_json::Value>) -> Self {
        Run {
            name: name.into(),
            head,
            rows: Vec::new(),
            dataset: Vec::new(),
            curves: Vec::new(),
            attacks: Vec::new(),
            struck: Vec::new(),
            least: Vec::new(),
            smooth: Vec::new(),
            smooth_curves: Vec::new(),
            smooth_dataset: Vec::new(),
            compared: Vec::new(),
            compared_images: Vec::new(),
            equal: Vec::new(),
            evaluated: Vec::new(),
            evaluation: Vec::new(),
            toy: Vec::new(),
            times: Vec::new(),
        }
    }

    /// Images on which an attack beat the certificate beside it.
    pub fn beaten(&self) -> BTreeSet<&str> {
        let struck = self.attacks.iter().filter(|row| row.is_beaten());
        let least = self.least.iter().filter(|row| row.is_beaten());
        let struck = struck.map(|row| row.image.as_str());
        struck.chain(least.map(|row| row.image.as_str())).collect()
    }

    /// A setting of the head, as text without quotes.
    pub fn setting(&self, name: &str) -> Option<String> {
        match self.head.settings.get(name)? {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

fn push<T: DeserializeOwned>(
    rows: &mut Vec<T>,
    (run, line, text): (&str, usize, &str),
) -> Result<()> {
    rows.push(parse(run, line, text)?);
    Ok(())
}

fn parse<T: DeserializeOwned>(run: &str, line: usize, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| Error::Row {
        run: run.into(),
        line,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{"eps":[0.1],"model":"a","split":null},"verb":"attack"}"#;

    #[test]
    fn rows_go_to_their_kind() {
        let row = r#"{"kind":"attack","image":"a","metric":"accuracy","norm":"2","eps":0.1,"clean":1.0,"certified":0.5,"attacked":0.75,"distance":0.1,"attack":"pgd"}"#;
        let run = Run::read("r", HEAD, [row, r#"{"kind":"later"}"#]).unwrap();
        assert_eq!(run.attacks.len(), 1);
        assert!(!run.attacks[0].unsound);
        assert_eq!(run.setting("model").as_deref(), Some("a"));
        assert_eq!((run.setting("split"), run.setting("none")), (None, None));
        let beaten = row.replace("}", r#","unsound":true}"#);
        assert!(Run::read("r", HEAD, [beaten.as_str()]).unwrap().attacks[0].unsound);
    }

    #[test]
    fn certificates_are_beaten_by_words_or_by_numbers() {
        let attack = |metric: &str, certified: &str, attacked: &str| {
            format!(
                r#"{{"kind":"attack","image":"a","metric":"{metric}","norm":"2","eps":0.1,"clean":0.5,"certified":{certified},"attacked":{attacked},"attack":"pgd"}}"#
            )
        };
        let least = |certified: &str, attacked: &str| {
            format!(
                r#"{{"kind":"least","image":"a","goal":"accuracy<=0.5","certified":{certified},"attacked":{attacked}}}"#
            )
        };
        let beaten = |row: String| {
            let run = Run::read("r", HEAD, [row.as_str()]).unwrap();
            run.beaten().contains("a")
        };
        for row in [
            attack("accuracy", "0.5", "0.25"),
            attack("fnr:1", "0.5", "0.75"),
            attack("accuracy", "0.5", "0.5").replace('}', r#","unsound":true}"#),
            least("0.5", "0.25"),
            least("null", "0.25").replace('}', r#","unsound":true}"#),
        ] {
            assert!(beaten(row.clone()), "{row}");
        }
        for row in [
            attack("accuracy", "0.5", "0.5"),
            attack("fnr:1", "0.5", "0.5"),
            attack("accuracy", "null", "0.25"),
            attack("accuracy", "0.5", "null"),
            least("0.5", "0.5"),
            least("0.5", "null"),
        ] {
            assert!(!beaten(row.clone()), "{row}");
        }
    }

    #[test]
    fn what_is_no_row_is_named() {
        let error = Run::read("r", HEAD, [r#"{"kind":"row"}"#]).unwrap_err();
        assert!(error.to_string().starts_with("line 2 of r"), "{error}");
        let error = Run::read("r", HEAD, [r#"{"kind":"later"}"#, HEAD]).unwrap_err();
        assert!(matches!(error, Error::TwoHeads { line: 3, .. }), "{error}");
        let error = Run::read("r", &HEAD.replace("\"format\":1", "\"format\":9"), []).unwrap_err();
        assert!(matches!(error, Error::Format { got: 9, .. }));
    }
}
