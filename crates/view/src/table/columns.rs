//! What tables of several runs have in common: their budgets, and words about what lies side by side.

use certiseg_cert::{Budget, Norm};

use super::grid::{Column, Grid};
use super::{Ask, missing};
use crate::number::certified_mean;
use crate::{Result, Run};

/// A budget and its norm.
pub type At = (Norm, Budget);

/// The budgets of a table: all that occur, or of those the ones that are asked for; by norm as they come, rising.
///
/// # Errors
/// [`crate::Error::Missing`] for one that no row has.
pub fn budgets(
    name: &str,
    those: impl IntoIterator<Item = At>,
    (ask, verb): (&Ask, &str),
) -> Result<Vec<At>> {
    let mut norms: Vec<Norm> = Vec::new();
    let mut all: Vec<At> = Vec::new();
    for at in those {
        if !norms.contains(&at.0) {
            norms.push(at.0);
        }
        if !all.contains(&at) {
            all.push(at);
        }
    }
    let place = |norm: &Norm| norms.iter().position(|known| known == norm);
    all.sort_by(|(p, a), (q, b)| {
        let by_size = || a.get().total_cmp(&b.get());
        place(p).cmp(&place(q)).then_with(by_size)
    });
    if let Some(absent) = ask
        .eps
        .iter()
        .find(|eps| !all.iter().any(|at| at.1 == **eps))
    {
        let there: Vec<_> = all.iter().map(|at| at.1.get().to_string()).collect();
        let eps = absent.get();
        return Err(missing(
            &format!("the table {name} at eps {eps}"),
            &format!(
                "rows of {verb} --eps {eps}; those given have {}",
                there.join(", ")
            ),
        ));
    }
    all.retain(|at| ask.eps.is_empty() || ask.eps.contains(&at.1));
    Ok(all)
}

/// A column for each budget under a heading that names the norm.
pub fn columns(heading: &str, budgets: &[At]) -> impl Iterator<Item = Column> {
    budgets.iter().map(move |(norm, eps)| {
        Column::numbers(&eps.get().to_string()).under(&format!("{heading} (l{norm})"))
    })
}

/// Mean of what is no bound.
pub fn mean(values: &[f64]) -> Option<f64> {
    certified_mean(certiseg_cert::Metric::Accuracy, values)
}

/// Says where runs beside each other are not of the same pictures, or only of a part of them.
pub fn beside(grid: &mut Grid, runs: &[Run]) {
    for run in runs {
        if let Some(shard) = &run.head.shard {
            grid.note(format!(
                "{} is shard {shard}: it has a part of the images only; `certiseg merge` makes one of all",
                run.name
            ));
        }
    }
    let Some((first, rest)) = runs.split_first() else {
        return;
    };
    // what a run does not say is not another
    let differ = |what: &dyn Fn(&Run) -> Option<String>| -> Vec<&str> {
        let known = what(first);
        let other = |run: &&Run| known.is_some() && what(run).is_some_and(|it| Some(it) != known);
        let others = rest.iter().filter(other);
        others.map(|run| run.name.as_str()).collect()
    };
    let others = differ(&|run| setting(run, "data_hash"));
    if !others.is_empty() {
        grid.note(format!(
            "not the same pictures as {}: {}",
            first.name,
            others.join(", ")
        ));
    }
    let mut others = differ(&|run| run.head.unit.clone());
    others.extend(differ(&|run| setting(run, "size")));
    others.sort_unstable();
    others.dedup();
    if !others.is_empty() {
        grid.note(format!(
            "not the size or unit of {}, so equal eps are not equally hard: {}",
            first.name,
            others.join(", ")
        ));
    }
}

/// A setting of the head; of smoothing also of the network whose votes they are.
pub fn setting(run: &Run, name: &str) -> Option<String> {
    let network = || match run.head.settings.get("network")?.get(name)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    run.setting(name).or_else(network)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    fn at(norm: Norm, eps: f64) -> At {
        (norm, Budget::new(eps).unwrap())
    }

    #[test]
    fn budgets_rise_within_their_norm() {
        let those = [
            at(Norm::LINF, 0.5),
            at(Norm::L2, 0.1),
            at(Norm::LINF, 0.25),
            at(Norm::L2, 0.1),
        ];
        let all = budgets("t", those, (&Ask::default(), "certify")).unwrap();
        assert_eq!(all, [those[2], those[0], those[1]]);
        let names: Vec<_> = columns("eps", &all).map(|column| column.name()).collect();
        assert_eq!(names, ["eps (linf) 0.25", "eps (linf) 0.5", "eps (l2) 0.1"]);
        let ask = |eps: f64| Ask {
            eps: vec![Budget::new(eps).unwrap()],
            ..Ask::default()
        };
        assert_eq!(
            budgets("t", those, (&ask(0.1), "certify")).unwrap(),
            [those[1]]
        );
        let error = budgets("t", those, (&ask(0.3), "certify")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the table t at eps 0.3 needs rows of certify --eps 0.3; those given have 0.25, 0.5, 0.1"
        );
    }

    #[test]
    fn what_differs_is_said() {
        let head = |name: &str, data: &str, size: &str, shard: &str| {
            run(
                name,
                "certify",
                &format!(r#""data_hash":{data},"size":{size}"#),
                &[],
            )
            .shard(shard)
        };
        let mut grid = Grid::new("t", "", Vec::new());
        let a = head("a", "1", "[8,8]", "");
        let silent = head("c", "null", "null", "");
        beside(&mut grid, &[a, head("b", "1", "[8,8]", ""), silent]);
        assert!(grid.notes.is_empty(), "{:?}", grid.notes);
        let a = head("a", "1", "[8,8]", "");
        beside(
            &mut grid,
            &[
                a,
                head("b", "2", "[8,8]", "0/2"),
                head("c", "1", "[9,9]", ""),
            ],
        );
        let starts = [
            "b is shard 0/2",
            "not the same pictures as a: b",
            "not the size or unit of a",
        ];
        assert_eq!(grid.notes.len(), 3);
        for (note, start) in grid.notes.iter().zip(starts) {
            assert!(note.starts_with(start), "{note}");
        }
    }

    #[test]
    fn settings_of_a_network_are_found() {
        let run = run(
            "a",
            "smooth",
            r#""network":{"scales":[1.0],"split":null}"#,
            &[],
        );
        assert_eq!(setting(&run, "scales").as_deref(), Some("[1.0]"));
        assert_eq!(setting(&run, "split"), None);
    }
}
