//! Tables of rows: which there are, what each needs, in four forms or by a template.
//!
//! A table is drawn as a [`Grid`] of finished texts, so that every form shows the same digits.

mod attacks;
mod budgets;
mod certificates;
mod classes;
mod columns;
mod corrections;
mod families;
mod format;
mod grid;
mod methods;
mod smoothing;
mod template;

use certiseg_cert::Budget;

pub use self::format::{Form, csv, latex, markdown, show};
pub use self::grid::{Align, Column, Grid, Group, Line};
pub use self::template::fill;
use crate::{Error, Result, Run};

/// What is asked of a table.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The budgets to show; all where none is named.
    pub eps: Vec<Budget>,
    /// Decimals of values.
    pub digits: usize,
}

impl Default for Ask {
    fn default() -> Self {
        Ask {
            eps: Vec::new(),
            digits: 4,
        }
    }
}

/// A table that can be asked for.
pub struct Kind {
    /// By this name.
    pub name: &'static str,
    /// What it shows.
    pub shows: &'static str,
    /// The tables of the papers it stands for.
    pub papers: &'static str,
    /// What makes its rows.
    pub command: &'static str,
    /// Whether budgets can be chosen.
    pub has_eps: bool,
    draw: fn(&str, &[Run], &Ask) -> Result<Grid>,
}

/// All tables.
pub const KINDS: [Kind; 9] = [
    Kind {
        name: "certificates",
        shows: "worst value of each metric within eps, both averages (Q1)",
        papers: "001 Table 2, left",
        command: "certify --metric fnr:1 --eps 0.1,0.2,0.3 --dataset",
        has_eps: true,
        draw: certificates::draw,
    },
    Kind {
        name: "budgets",
        shows: "budget that each goal needs, median and quartiles over images (Q2)",
        papers: "001 Table 2, right",
        command: "certify --metric fnr:1 --until 'fnr:1>=0.7' --dataset",
        has_eps: false,
        draw: budgets::draw,
    },
    Kind {
        name: "classes",
        shows: "worst value of single classes by eps",
        papers: "001 Table 3",
        command: "certify --metric iou:1 --eps 0.01,0.025,0.05,0.075,0.1 --dataset",
        has_eps: true,
        draw: classes::draw,
    },
    Kind {
        name: "methods",
        shows: "Lipschitz bound beside smoothing, and what each costs",
        papers: "001 Table 1",
        command: "compare --twin T --sigma 0.1,0.2,0.3 --eps 0.1,0.17",
        has_eps: true,
        draw: methods::draw,
    },
    Kind {
        name: "families",
        shows: "plain figures of networks side by side",
        papers: "001 Table 4",
        command: "eval, one run a network",
        has_eps: false,
        draw: families::draw,
    },
    Kind {
        name: "attacks",
        shows: "attacked beside certified, and whether they are sound",
        papers: "none; the numbers of 001 Figure 3",
        command: "attack --suite paper001 --eps 0.05,0.1,0.2,0.3",
        has_eps: true,
        draw: attacks::draw,
    },
    Kind {
        name: "smoothing",
        shows: "certified and right, mIoU, abstentions by noise and threshold",
        papers: "002 Tables 1 and 8; 5 of a model trained with `consistency`",
        command: "smooth --scales S --sigma 0.25 --tau 0.75 --n 100, one run a line; eval for a network without noise",
        has_eps: false,
        draw: smoothing::pictures,
    },
    Kind {
        name: "clouds",
        shows: "the same of point clouds, noise on points or rotations",
        papers: "002 Tables 2 and 7",
        command: "cloud smooth --sigma 0.25 --tau 0.75 --n 1000; --rotate z",
        has_eps: false,
        draw: smoothing::clouds,
    },
    Kind {
        name: "corrections",
        shows: "other corrections as differences to Holm's",
        papers: "002 Tables 4 and 6",
        command: "smooth or cloud smooth with --correction holm and with bonferroni, all else equal",
        has_eps: false,
        draw: corrections::draw,
    },
];

/// Where rows stand for less than the paper's table, and tables for which there are none, with the reason.
pub const LIMITS: [(&str, &str); 5] = [
    (
        "001 Tables 1, 3 and 4, 002 Tables 1, 4, 5 and 8",
        "the papers' are of Cityscapes and Pascal Context, which come from their owners alone: ours are of the data you have",
    ),
    (
        "001 Table 5",
        "speed of a training, which is in no rows: `certiseg bench SETTINGS --set 'network.kernels=orthogonal'`, and again with unconstrained, measures it",
    ),
    (
        "002 Tables 2, 6 and 7",
        "the papers' are of ShapeNet, which comes from its owners alone: `cloud smooth --shapenet DIR` reads it, `cloud shapes` generates other clouds",
    ),
    (
        "002 Table 3",
        "batch sizes of the authors' graphics cards: nothing to measure here",
    ),
    (
        "run times of 002 Tables 1, 2, 7 and 8",
        "rows of smooth hold none; `compare` measures them: the table methods",
    ),
];

/// The table of this name.
///
/// # Errors
/// [`Error::NoTable`], [`Error::Twice`], [`Error::NoBudgets`], and [`Error::Missing`] where rows lack.
pub fn table(name: &str, runs: &[Run], ask: &Ask) -> Result<Grid> {
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        let known = KINDS.map(|kind| kind.name).join(", ");
        let got = name.into();
        return Err(Error::NoTable { got, known });
    };
    for (index, run) in runs.iter().enumerate() {
        if runs[..index].iter().any(|other| other.name == run.name) {
            let label = run.name.clone();
            return Err(Error::Twice { label });
        }
    }
    if !ask.eps.is_empty() && !kind.has_eps {
        let table = name.into();
        return Err(Error::NoBudgets { table });
    }
    if runs.is_empty() {
        let needed = format!("rows of `certiseg {}`", kind.command);
        return Err(missing(&format!("the table {name}"), &needed));
    }
    (kind.draw)(name, runs, ask)
}

/// All tables as a table.
pub fn list() -> Grid {
    let columns = ["table", "shows", "papers", "rows of `certiseg ...`"];
    let columns = columns.map(Column::words).to_vec();
    let mut grid = Grid::new(
        "list",
        "Tables: certiseg table NAME [LABEL=]RUN...",
        columns,
    );
    for kind in KINDS {
        let cells = [kind.name, kind.shows, kind.papers, kind.command];
        grid.add([cells.map(str::to_owned).to_vec()]);
    }
    for (what, why) in LIMITS {
        grid.note(format!("{what}: {why}"));
    }
    grid
}

fn missing(what: &str, needed: &str) -> Error {
    Error::Missing {
        what: what.into(),
        needed: needed.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of these rows; settings as the inside of an object.
    pub fn run(name: &str, verb: &str, settings: &str, rows: &[String]) -> Run {
        let head = format!(
            r#"{{"kind":"head","format":1,"program":"certiseg","version":"0","verb":"{verb}","settings":{{{settings}}}}}"#
        );
        Run::read(name, &head, rows.iter().map(String::as_str)).unwrap()
    }

    impl Run {
        /// The same of a part of the images; of all where that is empty.
        pub fn shard(mut self, shard: &str) -> Self {
            self.head.shard = (!shard.is_empty()).then(|| shard.into());
            self
        }
    }

    /// A row of `certify` at eps 0.1; null where the metric is undefined.
    pub fn certified_row(image: &str, metric: &str, clean: &str, value: &str) -> String {
        let undefined = if value == "null" {
            r#","undefined":true"#
        } else {
            ""
        };
        format!(
            r#"{{"kind":"row","image":"{image}","metric":"{metric}","norm":"2","clean":{clean},"value":{value},"eps":0.1,"lipschitz":1.0,"eta":0.0,"counted":4{undefined}}}"#
        )
    }

    /// Its row of three images, one without the metric.
    pub fn dataset_row(metric: &str, clean: &str, value: &str) -> String {
        format!(
            r#"{{"kind":"dataset","metric":"{metric}","norm":"2","clean":{clean},"value":{value},"eps":0.1,"images":3,"undefined":1}}"#
        )
    }

    /// An image of ten pixels, so many of them certified and right, and the row of all images.
    pub fn smooth_rows(correction: &str, allowed: &str, right: u64) -> Vec<String> {
        let abstained = format!("0.{}00001", 9 - right);
        let (certified, lost) = (right + 1, 9 - right);
        let figures = format!(
            r#"{{"acc_certified":0.{right},"acc_selective":0.5,"abstain_rate":0.2,"abstain_rate_all_pixels":0.2,"acc_by_class":[],"iou_dataset":[],"miou_dataset":0.{right},"miou_dataset_absent0":0.5,"miou_dataset_kplus1":0.5,"miou_pairs_skip_absent":0.5,"miou_pairs_absent0":0.5,"miou_pairs_absent1":0.5,"miou_image_mean":0.5}}"#
        );
        let net = right - allowed.parse::<u64>().unwrap();
        vec![
            format!(
                r#"{{"kind":"smooth","image":"a","sampling":{{"law":{{"gaussian":{{"sigma":0.25}}}},"unit":"[0,1]","choose":10,"samples":100,"forwards":110,"seed":0,"family":"all","floating_point":"covered","distance":0.0,"canary":"no-duplicates"}},"norm":"2","tau":0.75,"alpha":0.001,"correction":"{correction}","stage":"two","promise":"class-or-abstain","tests":10,"allowed":{allowed},"threshold":93,"certified_components":{certified},"net":{certified},"certified":0.{certified},"abstained":{abstained},"radius":0.16862,"figures":{{"counts":{{"counted":10,"right":{right},"abstained":{lost},"pixels":10,"abstained_anywhere":{lost},"classes":[]}},"boundary":null,"figures":{figures}}}}}"#
            ),
            format!(
                r#"{{"kind":"smooth-dataset","images":1,"defined":1,"certified":0.{certified},"abstained":{abstained},"tests":10,"certified_components":{certified},"net":{certified},"wrong_images":0.001,"band":1.0,"gain":null,"right_at_least":0.{net},"figures":{figures},"boundary":null}}"#
            ),
        ]
    }

    #[test]
    fn unknown_tables_are_named_with_the_known() {
        let error = table("table9", &[], &Ask::default()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::NoTable { .. }));
        for kind in KINDS {
            assert!(text.contains(kind.name), "{text}");
        }
    }

    #[test]
    fn two_runs_of_one_label_are_refused() {
        let rows = [certified_row("a", "accuracy", "0.9", "0.7")];
        let runs = ["a", "b", "a"].map(|name| run(name, "certify", "", &rows));
        let error = table("certificates", &runs, &Ask::default()).unwrap_err();
        assert!(matches!(error, Error::Twice { label } if label == "a"));
        assert!(table("certificates", &runs[..2], &Ask::default()).is_ok());
    }

    #[test]
    fn budgets_that_a_table_does_not_have_are_refused() {
        let ask = Ask {
            eps: vec![Budget::new(0.1).unwrap()],
            ..Ask::default()
        };
        for kind in KINDS {
            let rows = [certified_row("a", "accuracy", "0.9", "0.7")];
            let error = table(kind.name, &[run("r", "certify", "", &rows)], &ask).err();
            let refused = matches!(error, Some(Error::NoBudgets { .. }));
            assert_eq!(refused, !kind.has_eps, "{}", kind.name);
        }
    }

    #[test]
    fn each_table_without_its_rows_says_what_makes_them() {
        for kind in KINDS {
            for runs in [vec![], vec![run("empty", "later", "", &[])]] {
                let error = table(kind.name, &runs, &Ask::default()).unwrap_err();
                let named = error.to_string().contains("`certiseg ");
                assert!(matches!(error, Error::Missing { .. }) && named, "{error}");
            }
        }
    }

    #[test]
    fn the_list_has_every_table_of_the_papers() {
        let text = show(&list(), Form::Csv) + &list().notes.join("\n");
        for kind in KINDS {
            assert!(text.contains(kind.name));
        }
        for number in 1..=5 {
            assert!(text.contains(&format!("001 Table {number}")), "{number}");
        }
        for known in ["1 and 8", "5 of a", "2 and 7", "4 and 6"] {
            assert!(text.contains(known), "{known}");
        }
        assert!(text.contains("002 Table 3"));
    }

    #[test]
    fn every_line_has_every_column() {
        let rows = [
            certified_row("a", "accuracy", "0.9", "0.7"),
            certified_row("a", "iou:1", "0.9", "0.7"),
        ];
        for name in ["certificates", "classes"] {
            let runs = [run("r", "certify", "", &rows)];
            let grid = table(name, &runs, &Ask::default()).unwrap();
            assert!(!grid.lines.is_empty());
            for line in &grid.lines {
                assert_eq!(line.cells.len(), grid.columns.len(), "{name}");
            }
        }
    }
}
