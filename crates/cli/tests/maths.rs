//! MATHS.md names functions and tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names after `fn ` in all Rust files under a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for part in text.split("fn ").skip(1) {
                let end = part.find(|c: char| !c.is_alphanumeric() && c != '_');
                names.insert(part[..end.unwrap_or(part.len())].to_owned());
            }
        }
    }
}

/// Names in backquotes in the second and third column of the tables that are not there.
fn missing(text: &str, names: &BTreeSet<String>) -> (usize, Vec<String>) {
    let (mut rows, mut missing) = (0, Vec::new());
    for line in text
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'))
    {
        rows += 1;
        let columns: Vec<_> = line.split(" | ").collect();
        for name in columns[1..3]
            .iter()
            .flat_map(|column| column.split('`').skip(1).step_by(2))
        {
            if !names.contains(name) {
                missing.push(name.to_owned());
            }
        }
    }
    (rows, missing)
}

#[test]
fn every_function_and_test_of_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut names = BTreeSet::new();
    functions(&root.join("crates"), &mut names);
    let text = fs::read_to_string(root.join("MATHS.md")).unwrap();
    let (rows, absent) = missing(&text, &names);
    assert!(rows > 20, "{rows} rows");
    assert_eq!(absent, Vec::<String>::new());
}

#[test]
fn a_name_that_is_gone_is_seen() {
    let names = BTreeSet::from(["flips".to_owned()]);
    let (_, absent) = missing("| eq | `flips`, `gone` | `also_gone` | `remark` |", &names);
    assert_eq!(absent, ["gone", "also_gone"]);
}
