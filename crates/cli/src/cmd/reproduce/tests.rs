//! All settings that travel with the program, held against its own command line.

use std::collections::BTreeSet;

use clap::Parser;

use super::*;
use crate::Cli;

fn all() -> Vec<(String, Manifest)> {
    let names = ALL.iter().map(|(name, _)| Manifest::find(name).unwrap());
    names.collect()
}

fn scales(manifest: &Manifest) -> Vec<&Scale> {
    let scales = [&manifest.laptop, &manifest.full];
    scales.into_iter().flatten().collect()
}

fn places(model: &str) -> Places {
    Places {
        data: Some("data".into()),
        model: Some(model.into()),
        out: "out".into(),
    }
}

fn parse(name: &str, line: &[String]) -> Cli {
    let words = ["certiseg".to_owned()]
        .into_iter()
        .chain(line.iter().cloned());
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{name}: {}: {error}", shown(line)))
}

#[test]
fn every_step_is_a_line_of_this_program() {
    let mut lines = 0;
    for (name, manifest) in all() {
        for scale in scales(&manifest) {
            let plan = Plan::of(scale, &places("m"), None).unwrap();
            for (step, line, _) in &plan.steps {
                parse(&name, line);
                lines += 1;
                if resumes(line) {
                    let (line, goes_on) = resumed(step, line);
                    assert!(goes_on, "{name}");
                    parse(&name, &line);
                }
            }
        }
    }
    assert!(lines >= 50, "{lines}");
}

#[test]
fn every_result_is_a_line_of_this_program() {
    for (name, manifest) in all() {
        for scale in scales(&manifest) {
            let plan = Plan::of(scale, &places("m"), None).unwrap();
            plan.results
                .iter()
                .for_each(|line| drop(parse(&name, line)));
        }
    }
}

/// The line with which a step goes on.
fn resumed(step: &Step, line: &[String]) -> (Vec<String>, bool) {
    let dir = tempfile::tempdir().unwrap();
    let work = Work {
        out: dir.path().into(),
        journal: Journal::open(dir.path(), "x", "laptop").unwrap(),
        plan: Plan {
            steps: Vec::new(),
            results: Vec::new(),
        },
    };
    work.line(&step.name, line, Way::GoOn).unwrap()
}

#[test]
fn a_wrong_flag_would_be_seen() {
    let line = ["certify", "--modle", "m"].map(String::from);
    let words = ["certiseg".to_owned()].into_iter().chain(line);
    assert!(Cli::try_parse_from(words).is_err());
}

#[test]
fn every_step_writes_into_its_folder() {
    for (name, manifest) in all() {
        for step in scales(&manifest).iter().flat_map(|scale| &scale.steps) {
            let folder = format!("{{out}}/{}", step.name);
            // what is printed lies in its log
            let there = step.show > 0 || step.run.contains(&folder);
            assert!(there, "{name}: {}", step.name);
            let inside = |made: &String| made.starts_with(&format!("{folder}/"));
            assert!(step.makes.as_ref().is_none_or(inside), "{name}");
        }
    }
}

#[test]
fn every_name_says_what_it_takes_or_why_it_cannot() {
    for (name, manifest) in all() {
        let (paper, item) = name.split_once('-').unwrap();
        assert_eq!(manifest.of, paper);
        let item = item.replace("table", "Table ").replace("fig", "Figure ");
        assert_eq!(manifest.item, item);
        match &manifest.cannot {
            Some(_) => assert!(
                scales(&manifest).is_empty() && manifest.paper.is_empty(),
                "{name}"
            ),
            None => {
                assert!(manifest.laptop.is_some(), "{name}");
                assert!(
                    manifest.full.is_some() != manifest.no_full.is_some(),
                    "{name}"
                );
                assert!(
                    manifest.paper.len() >= 2 || name == "001-fig1" || name == "001-fig8",
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn every_number_of_ours_is_of_a_step() {
    for (name, manifest) in all() {
        let steps = scales(&manifest).into_iter().flat_map(|scale| &scale.steps);
        let steps: BTreeSet<&String> = steps.map(|step| &step.name).collect();
        for number in &manifest.paper {
            assert_eq!(
                number.run.is_some(),
                number.ours.is_some(),
                "{name}: {}",
                number.label
            );
            assert!(
                number.value.is_some() != number.says.is_some(),
                "{name}: {}",
                number.label
            );
            for run in [&number.run, &number.minus].into_iter().flatten() {
                assert!(steps.contains(run), "{name}: {run}");
            }
        }
    }
}

#[test]
fn the_list_has_every_name_its_time_and_every_reason() {
    let text = listing().unwrap();
    for (name, manifest) in all() {
        assert!(
            text.contains(&format!("{name:11} {}: ", manifest.item)),
            "{name}"
        );
        assert!(
            manifest
                .cannot
                .as_ref()
                .is_none_or(|reason| text.contains(reason))
        );
        for scale in scales(&manifest) {
            let time = format!("{} ({})", scale.time, scale.known.name());
            assert!(text.contains(&time), "{name}");
        }
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/reproduce");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(
        files,
        ALL.len(),
        "a file that is no part of the program, or the reverse"
    );
}

#[test]
fn a_given_model_takes_the_place_of_its_training() {
    let (_, manifest) = Manifest::find("001-fig2").unwrap();
    let full = manifest.full.as_ref().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m");
    std::fs::write(&file, "one").unwrap();
    let names =
        |plan: &Plan| -> Vec<String> { plan.steps.iter().map(|s| s.0.name.clone()).collect() };
    let trained = Plan::of(full, &places("m"), None).unwrap();
    assert_eq!(names(&trained), ["train", "compare"]);
    let given = Plan::of(full, &places("m"), Some(&file)).unwrap();
    assert_eq!(names(&given), ["compare"]);
    // another file of the same name is another step
    std::fs::write(&file, "two").unwrap();
    let other = Plan::of(full, &places("m"), Some(&file)).unwrap();
    assert_ne!(given.steps[0].2, other.steps[0].2);
}

#[test]
fn only_verbs_that_know_it_are_resumed() {
    let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (text, known) in [
        ("smooth --model m", true),
        ("smooth toy --out o", false),
        ("cloud smooth --model m", true),
        ("cloud train --out o", false),
        ("compare --model m", false),
        ("certify --model m", true),
        ("bench", false),
    ] {
        assert_eq!(resumes(&line(text)), known, "{text}");
    }
}

#[test]
fn lines_are_shown_as_one_types_them() {
    let line = ["certify", "--until", "fnr:1>=0.7", "it's"].map(String::from);
    assert_eq!(shown(&line), r"certify --until 'fnr:1>=0.7' 'it'\''s'");
}
