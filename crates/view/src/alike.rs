//! Whether runs may stand side by side: budgets of another norm or tensor, values of other pixels or read in another
//! way are other numbers under the same names, and a mean or a best of them is certified by nobody.

use crate::{Error, Result, Run};

/// [`Error::Mixed`] unless all runs that state a thing state that of the first.
pub(crate) fn same(
    runs: &[&Run],
    what: &'static str,
    read: &dyn Fn(&Run) -> Option<String>,
) -> Result<()> {
    let mut stated = runs.iter().filter_map(|run| Some((*run, read(run)?)));
    let Some((first, expected)) = stated.next() else {
        return Ok(());
    };
    match stated.find(|(_, got)| *got != expected) {
        None => Ok(()),
        Some((run, got)) => Err(Error::Mixed {
            what,
            run: run.name.clone(),
            other: first.name.clone(),
            got,
            expected,
        }),
    }
}

/// The norm of budgets and the tensor in which they are measured.
///
/// # Errors
/// [`Error::Mixed`] where runs differ.
pub(crate) fn budgets(runs: &[&Run]) -> Result<()> {
    same(runs, "norm", &|run| {
        run.head.norm.map(|norm| norm.to_string())
    })?;
    same(runs, "unit of budgets", &|run| run.head.unit.clone())
}

/// Of the runs that certify or attack: their budgets, the pixels that count, and how metrics are read.
///
/// # Errors
/// [`Error::Mixed`] where they differ.
pub(crate) fn values(runs: &[&Run]) -> Result<()> {
    let certifies =
        |run: &Run| !(run.rows.is_empty() && run.dataset.is_empty() && run.curves.is_empty());
    let attacks = |run: &Run| !(run.attacks.is_empty() && run.least.is_empty());
    let those = runs.iter().copied();
    let those: Vec<&Run> = those.filter(|run| certifies(run) || attacks(run)).collect();
    budgets(&those)?;
    let or = |run: &Run, name: &str, none: &str| Some(run.setting(name).unwrap_or(none.into()));
    same(&those, "ignored label", &|run| {
        or(run, "ignore", "that of the data")
    })?;
    same(&those, "convention", &|run| {
        let conventions = run.head.conventions.as_ref()?;
        serde_json::to_string(conventions).ok()
    })?;
    // the region of an attack is where it may change the picture, that of certify is what counts
    let those: Vec<&Run> = those.into_iter().filter(|run| certifies(run)).collect();
    same(&those, "region of pixels that count", &|run| {
        or(run, "region_hash", "the whole picture")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, norm: &str, settings: &str, rows: &[&str]) -> Run {
        let head = format!(
            r#"{{"kind":"head","format":1,"program":"certiseg","version":"0","norm":"{norm}","settings":{settings}}}"#
        );
        Run::read(name, &head, rows.iter().copied()).unwrap()
    }

    const ROW: &str = r#"{"kind":"row","image":"a","metric":"accuracy","norm":"2","clean":1.0,"value":0.5,"eps":0.1,"lipschitz":1.0,"eta":0.0,"counted":4}"#;
    const ATTACK: &str = r#"{"kind":"attack","image":"a","metric":"accuracy","norm":"2","eps":0.1,"clean":1.0,"certified":0.5,"attacked":0.75,"attack":"pgd"}"#;

    #[test]
    fn other_numbers_of_the_same_name_are_refused() {
        let first = run("first", "2", "{}", &[ROW]);
        for (other, what) in [
            (run("other", "inf", "{}", &[ROW]), "another norm"),
            (run("other", "2", r#"{"ignore":0}"#, &[ATTACK]), "ignored"),
            (
                run("other", "2", r#"{"region_hash":"r"}"#, &[ROW]),
                "region",
            ),
        ] {
            let error = values(&[&first, &other]).unwrap_err().to_string();
            assert!(
                error.starts_with("other is of") && error.contains(what),
                "{error}"
            );
        }
    }

    #[test]
    fn what_says_nothing_of_values_is_not_asked() {
        let first = run("first", "2", "{}", &[ROW]);
        // an attack on a region, and a run with rows of neither kind
        let attack = run("attack", "2", r#"{"region_hash":"r"}"#, &[ATTACK]);
        let other = run("other", "inf", r#"{"ignore":0}"#, &[]);
        values(&[&first, &attack, &other]).unwrap();
    }
}
