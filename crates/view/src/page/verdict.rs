//! The first line: whether an attack beat a certificate.

use std::collections::BTreeSet;

use serde::Serialize;

use super::provenance::hash;
use super::reading::Readings;
use crate::Run;
use crate::number::nearest;

/// What comes first on a page.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// `sound`, `unsound`, or `untested` where nothing was at stake.
    pub state: &'static str,
    /// The line.
    pub line: String,
    /// What it means.
    pub detail: String,
    /// One line for each certificate that was beaten.
    pub beaten: Vec<String>,
}

impl Verdict {
    /// Of the attacks of all runs, each against the certificate in its row and those of other rows on the same data.
    pub fn of(runs: &[Run], readings: &Readings) -> Self {
        let mut beaten = Vec::new();
        let mut images = BTreeSet::new();
        let mut bad = BTreeSet::new();
        let certified: Vec<_> = runs.iter().filter(|run| !run.rows.is_empty()).collect();
        for run in runs {
            let same = certified.iter().all(|other| comparable(other, run));
            for row in &run.attacks {
                let other = readings.get(row.metric, &row.image);
                let other = other.and_then(|reading| reading.at(row.eps.get()));
                let other = other.filter(|_| same && row.region.is_none() && !row.idle);
                let by_other = other.is_some_and(|certified| row.beats(certified));
                // an image that is bad was tested, whatever its own row has at stake
                if row.is_at_stake() || row.is_beaten() || by_other {
                    images.insert(&row.image);
                }
                if row.is_beaten() || by_other {
                    bad.insert(&row.image);
                    let certified = row.certified.filter(|_| row.is_beaten()).or(other);
                    beaten.push(format!(
                        "{}: {} certified {} within eps = {}, and {} found {}",
                        row.image,
                        row.metric,
                        nearest(certified, 6),
                        row.eps.get(),
                        row.attack.as_deref().unwrap_or("an attack"),
                        nearest(row.attacked, 6),
                    ));
                }
            }
            for row in &run.least {
                if row.is_at_stake() || row.is_beaten() {
                    images.insert(&row.image);
                }
                if row.is_beaten() {
                    bad.insert(&row.image);
                    beaten.push(format!(
                        "{}: {} certified out of reach below {}, and an attack reached it at {}",
                        row.image,
                        row.goal,
                        nearest(row.certified, 6),
                        nearest(row.attacked, 6),
                    ));
                }
            }
        }
        // what was beaten by a row of another run need not have been at stake in its own
        images.extend(bad.iter().copied());
        let (count, good) = (images.len(), images.len() - bad.len());
        let (state, line, detail) = match (count, bad.len()) {
            (0, _) => (
                "untested",
                "Not attacked: nothing on this page was tested by an attack".to_owned(),
                "Certificates are proofs under the assumptions below. An attack is an independent check of the program \
                 that computed them; `certiseg attack` makes one, whose rows can be given here too.",
            ),
            (_, 0) => (
                "sound",
                format!("Sound on {good}/{count} images: no attack beat a certificate"),
                "Every attacked value lies on the good side of the certified one. That is a check, not a proof: the proof is \
                 the certificate, under the assumptions below.",
            ),
            _ => (
                "unsound",
                format!(
                    "UNSOUND on {}/{count} images: an attack beat a certificate",
                    bad.len()
                ),
                "This must never happen. Do not use any number on this page: an assumption below does not hold, or the \
                 program has a mistake; please report it with the rows.",
            ),
        };
        Verdict {
            state,
            line,
            detail: detail.into(),
            beaten,
        }
    }
}

/// Whether what attacks of a run found can be held against the certified values of another: those are of the same
/// pictures, made ready in the same way, and all their pixels count.
fn comparable(certified: &Run, attacked: &Run) -> bool {
    let same = |name: &str| certified.head.settings.get(name) == attacked.head.settings.get(name);
    hash(certified, "data_hash") == hash(attacked, "data_hash")
        && same("filter")
        && same("ignore")
        && certified.setting("region").is_none()
}
