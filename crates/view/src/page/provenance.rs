//! Where numbers come from, and what they rest on, in plain words.

use serde::Serialize;
use serde_json::Value;

use crate::Run;
use crate::number::NONE;

/// A run, or a file of another kind.
#[derive(Debug, Serialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What it did.
    pub verb: String,
    /// Name and value: program, version, commit, seed, hashes.
    pub facts: Vec<[String; 2]>,
    /// Name and value of each setting.
    pub settings: Vec<[String; 2]>,
    /// Whole texts, folded away: title and text.
    pub texts: Vec<[String; 2]>,
}

/// One sentence of what numbers rest on.
#[derive(Debug, PartialEq, Serialize)]
pub struct Assumption {
    /// What it is about.
    pub what: String,
    /// `checked`, `assumed`, or `convention`.
    pub state: &'static str,
    /// The sentence.
    pub text: String,
}

/// A hash in the settings, wherever the verb has it.
pub fn hash(run: &Run, name: &str) -> Option<String> {
    let settings = &run.head.settings;
    let found = settings
        .get(name)
        .or_else(|| settings.get("network")?.get(name));
    found?.as_str().map(str::to_owned)
}

impl Source {
    /// Of a run.
    pub fn of(run: &Run) -> Self {
        let head = &run.head;
        let text = |value: &Option<String>| value.clone().unwrap_or(NONE.into());
        let fact = |name: &str, value: String| [name.to_owned(), value];
        let mut facts = vec![
            fact("program", format!("{} {}", head.program, head.version)),
            fact("commit", text(&head.git)),
            fact(
                "seed",
                head.seed
                    .map_or("nothing is random".into(), |seed| seed.to_string()),
            ),
        ];
        // logits of others have no model, generated pictures no files: what is not there is left out
        for name in ["model", "model_hash", "data", "data_hash"] {
            let value = hash(run, name);
            facts.extend(value.map(|value| fact(&name.replace('_', " "), value)));
        }
        if let Some(shard) = &head.shard {
            facts.push(fact("part of the images", shard.clone()));
        }
        let mut settings = Vec::new();
        flatten("", &head.settings, &mut settings);
        Source {
            name: run.name.clone(),
            verb: text(&head.verb),
            facts,
            settings,
            texts: Vec::new(),
        }
    }
}

/// Objects field by field, what is not set left out.
fn flatten(prefix: &str, value: &Value, out: &mut Vec<[String; 2]>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{name}"), value, out);
            }
        }
        Value::String(text) => out.push([prefix.into(), text.clone()]),
        other => out.push([prefix.into(), other.to_string()]),
    }
}

/// What the runs rest on, each sentence once.
pub fn assumptions(runs: &[Run]) -> Vec<Assumption> {
    let mut all = Vec::new();
    let mut add = |what: &str, state: &'static str, text: String| {
        let new = Assumption {
            what: what.into(),
            state,
            text,
        };
        if !all.contains(&new) {
            all.push(new);
        }
    };
    for run in runs {
        let head = &run.head;
        if let (Some(lipschitz), Some(source)) = (head.lipschitz, &head.lipschitz_source) {
            add(
                "Lipschitz constant",
                if source.starts_with("assumed") {
                    "assumed"
                } else {
                    "checked"
                },
                format!(
                    "No change of the input by one unit changes the logits by more than L = {} ({source}).",
                    certiseg_cert::round_up(lipschitz, 6)
                ),
            );
        }
        if let Some(source) = &head.eta_source {
            add(
                "rounding",
                if source.starts_with("assumed") {
                    "assumed"
                } else {
                    "checked"
                },
                format!(
                    "Logits are those of the exact function up to an error eta, which comes off every margin: {source}."
                ),
            );
        }
        if let (Some(norm), Some(unit)) = (head.norm, &head.unit) {
            add(
                "budget",
                "convention",
                format!("eps is the l{norm} length of the change of one picture, in {unit}."),
            );
        }
        if let Some(claim) = head.claim {
            let text = match serde_json::to_value(claim).unwrap_or_default().as_str() {
                Some("program") => {
                    "The claim is about the program that gave the logits: that eta holds at attacked pictures too is an assumption."
                }
                _ => {
                    "The claim is about the exact function of the stored weights, in real arithmetic."
                }
            };
            add("claim", "convention", text.into());
        }
        if !run.rows.is_empty() || !run.attacks.is_empty() {
            let void = match run.setting("ignore") {
                Some(label) => {
                    format!("Pixels labelled {label} count nowhere, except for stability.")
                }
                None => {
                    "Void pixels (255, or as the data say) count nowhere, except for stability."
                        .into()
                }
            };
            add("void", "convention", void);
        }
        if !run.attacks.is_empty() {
            add(
                "attacked values",
                "convention",
                "What attacks found: a stronger attack may find worse, never worse than certified. To the nearest.".into(),
            );
        }
        if let Some(row) = run.smooth.first() {
            add(
                "smoothed values",
                "convention",
                format!(
                    "The smoothed column is about another classifier, the vote of the network under noise, and holds with \
                     probability at least 1 - {} for each picture, over the noise drawn; pixels that abstain are not right.",
                    row.alpha
                ),
            );
        }
    }
    all
}
