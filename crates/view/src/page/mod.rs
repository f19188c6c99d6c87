//! One HTML file about runs: a document of texts and maps, with a script that chooses among them. It asks nothing of
//! any network, and opens from a disk.

pub mod budgets;
pub mod document;
pub mod latency;
pub mod pack;
pub mod provenance;
pub mod reading;
pub mod smoothed;
pub mod verdict;

mod build;
mod parts;

use serde::Deserialize;
use serde_json::Value;

pub use self::build::PICTURES;
use self::document::Document;
use crate::{Picture, Result, Run};

/// What a page is made of.
#[derive(Debug, Default)]
pub struct Materials {
    /// Rows of verbs.
    pub runs: Vec<Run>,
    /// Pictures with their maps, named as in the rows.
    pub pictures: Vec<Picture>,
    /// The bound of each layer.
    pub audit: Option<Audit>,
    /// Timings.
    pub benches: Vec<Bench>,
    /// Folders of trainings.
    pub trainings: Vec<Training>,
}

/// What `audit --json` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Audit {
    /// Upper bound of the whole.
    pub lipschitz: f64,
    /// Of the input.
    pub height: usize,
    /// Of the input.
    pub width: usize,
    /// Numbers in the network.
    pub weights: usize,
    /// In the order of the network.
    pub layers: Vec<AuditLayer>,
}

/// One layer.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditLayer {
    /// Its name.
    pub name: String,
    /// Upper bound.
    pub norm: f64,
    /// How it was found.
    pub method: String,
    /// Time that took, where it was measured.
    pub seconds: Option<f64>,
}

/// What `bench --json` prints for a size.
#[derive(Clone, Debug, Deserialize)]
pub struct Bench {
    /// `training step` or `inference`.
    pub what: String,
    /// Of a picture.
    pub height: usize,
    /// Of a picture.
    pub width: usize,
    /// Pictures of one run.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Median.
    pub milliseconds: f64,
    /// Least.
    pub least_milliseconds: f64,
}

/// The folder of a training.
#[derive(Clone, Debug)]
pub struct Training {
    /// Its name.
    pub name: String,
    /// `config.toml`.
    pub config: String,
    /// `env.json`: one object per session.
    pub sessions: Value,
    /// `metrics.jsonl`: one object per epoch.
    pub epochs: Vec<Value>,
}

/// A page, and what should be said beside it.
#[derive(Debug)]
pub struct Page {
    /// The file.
    pub html: String,
    /// The first line.
    pub verdict: String,
    /// Whether an attack beat a certificate.
    pub unsound: bool,
    /// What does not fit together.
    pub warnings: Vec<String>,
}

/// Writes the page.
///
/// # Errors
/// [`crate::Error::TwoModels`] for runs of several models, [`crate::Error::Mixed`] for budgets or pixels that are not
/// the same, [`crate::Error::Missing`] where nothing can be shown,
/// [`crate::Error::Picture`] for maps of the wrong size.
pub fn page(materials: &Materials) -> Result<Page> {
    let document = build::document(materials)?;
    Ok(Page {
        html: html(&document),
        verdict: document.verdict.line.clone(),
        unsound: document.verdict.state == "unsound",
        warnings: document.warnings,
    })
}

/// The document within its page. No `<` of the document remains, so nothing in it ends the script.
fn html(document: &Document) -> String {
    let json = serde_json::to_string(document).unwrap_or_default();
    let json = json.replace('<', "\\u003c");
    let title = escape(&document.title);
    // the document last: what it holds is never searched for marks
    include_str!("page.html")
        .replace("{{title}}", &title)
        .replace("{{style}}", include_str!("page.css"))
        .replace("{{first}}", &first(document))
        .replace("{{script}}", include_str!("page.js"))
        .replace("{{document}}", &json)
}

/// What is read without the script.
fn first(document: &Document) -> String {
    format!(
        "<p class=\"verdict {}\">{}</p>",
        document.verdict.state,
        escape(&document.verdict.line)
    )
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('{', "&#123;")
}

#[cfg(test)]
mod tests;
