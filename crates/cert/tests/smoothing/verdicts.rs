//! Verdicts from samples against their vectors.

use certiseg_cert::smoothing::{
    ABSTAIN, Abstentions, Correction, Guess, Hierarchy, Law, Look, Looks, MeanLogits, PathVotes,
    Procedure, Promise, RadiusTable, Stage, Votes, indiv_class, joint_class,
};
use serde_json::Value;

use crate::{bits, close, items, number, numbers, vectors, whole, wholes};

fn samples(case: &Value, alphabet: &str) -> Vec<Vec<u8>> {
    let class = |letter: char| alphabet.find(letter).unwrap() as u8;
    let map = |text: &Value| text.as_str().unwrap().chars().map(class).collect();
    case["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(map)
        .collect()
}

fn correction(name: &str) -> Correction {
    match name.rsplit_once("_k") {
        Some(("lr_stepdown", k)) => Correction::Kfwer(k.parse().unwrap()),
        Some(("lr_single", k)) => Correction::Count(k.parse::<u64>().unwrap() - 1),
        _ => name.parse().unwrap(),
    }
}

#[test]
fn segcertify_from_label_maps() {
    let file = vectors("segcertify");
    let alphabet = file["header"]["alphabet"].as_str().unwrap();
    for case in items("segcertify") {
        let id = &case["id"];
        let maps = samples(&case, alphabet);
        let (n0, n) = (whole(&case["n0"]), whole(&case["n"]));
        assert_eq!(maps.len(), n0 + n);
        let (alpha, tau) = (number(&case["alpha"]), number(&case["tau"]));
        let law = Law::Gaussian {
            sigma: number(&case["sigma"]),
        };
        assert!(
            close(law.radius(tau).unwrap(), number(&case["radius_tau"]), 1e-11),
            "{id}"
        );

        let mut guess = Guess::new(whole(&case["N"]));
        maps[..n0].iter().for_each(|map| guess.add(map).unwrap());
        let mut votes = guess.two_stage().unwrap();
        maps[n0..].iter().for_each(|map| votes.add(map).unwrap());
        let classes: Vec<u64> = votes
            .classes()
            .iter()
            .map(|class| u64::from(*class))
            .collect();
        assert_eq!(classes, wholes(&case["guess"]), "{id}");
        let counts: Vec<u64> = (0..votes.len()).map(|i| votes.count(i) as u64).collect();
        assert_eq!(counts, wholes(&case["count"]), "{id}");

        let histogram = votes.histogram(None).unwrap();
        for (name, reject) in case["reject"].as_object().unwrap() {
            let procedure = Procedure {
                tau,
                alpha,
                correction: correction(name),
                stage: Stage::Two,
            };
            let decision = procedure.decide(n, &histogram).unwrap();
            for (i, p) in numbers(&case["p"]).into_iter().enumerate() {
                assert!(
                    close(decision.tail.p(votes.count(i)), p, 1e-12),
                    "{id}: p of {i}"
                );
            }
            let certified = votes.certified(decision.threshold, None).unwrap();
            let got: Vec<bool> = certified.iter().map(|class| *class != ABSTAIN).collect();
            assert_eq!(got, bits(reject), "{name} of {id}");
        }

        let promise = (law, Promise::ClassOrAbstain);
        let tests = votes.len() as u64;
        let table = RadiusTable::new((n, Stage::Two), (tests, 0), alpha, promise).unwrap();
        let map = table.map(&votes).unwrap();
        let [bounds, radii] =
            ["lower_simultaneous", "radius_simultaneous"].map(|key| numbers(&case[key]));
        for i in 0..votes.len() {
            let count = votes.count(i);
            assert!(
                close(table.radius(count), radii[i], 1e-11),
                "{id}: radius of {i}"
            );
            assert!(f64::from(map[i]) <= radii[i] && close(map[i].into(), radii[i], 1e-6));
            if bounds[i] > 0.5 {
                assert!(
                    close(table.lower(count), bounds[i], 1e-11),
                    "{id}: bound of {i}"
                );
            }
        }

        let same = |got: Option<(f64, f64)>, of: &Value| match got {
            None => assert!(of["abstain"].as_bool().unwrap(), "{id}"),
            Some((_, radius)) => assert!(close(radius, number(&of["R"]), 1e-11), "{id}"),
        };
        same(indiv_class(&votes, alpha, law).unwrap(), &case["indiv"]);
        let views: Vec<&[u8]> = maps.iter().map(|map| &map[..]).collect();
        let joint = joint_class(&views[..n0], &views[n0..], alpha, law).unwrap();
        same(joint.certified, &case["joint"]);
        if let Some(pattern) = case["joint"]["pattern"].as_str() {
            let classes: Vec<u8> = pattern
                .chars()
                .map(|c| alphabet.find(c).unwrap() as u8)
                .collect();
            assert_eq!(joint.classes, classes, "{id}");
        }
    }
}

#[test]
fn count_curves() {
    for case in items("count_curve") {
        let law = (
            Law::Gaussian {
                sigma: number(&case["sigma"]),
            },
            Promise::ClassOrAbstain,
        );
        let tests = (whole(&case["N"]) as u64, whole(&case["k"]) as u64 - 1);
        let size = (whole(&case["n"]), Stage::Two);
        let table = RadiusTable::new(size, tests, number(&case["alpha"]), law).unwrap();
        let [all, right] =
            ["histogram_all", "histogram_correct_label"].map(|key| wholes(&case[key]));
        for row in case["curve"].as_array().unwrap() {
            let radius = number(&row[0]);
            let [all, right] = [&all, &right].map(|h| table.at(h, radius).unwrap());
            let got = [all.certified, all.net, right.net].map(|count| count as usize);
            assert_eq!(
                got,
                [1, 2, 3].map(|i| whole(&row[i])),
                "{} at {radius}",
                case["id"]
            );
        }
    }
}

#[test]
fn looks_with_alpha_spending() {
    for case in items("sequential") {
        let looks = case["looks"].as_array().unwrap();
        let look = |look: &Value| Look {
            samples: whole(&look["n"]),
            share: number(&look["alpha_fraction"]),
        };
        let procedure = Procedure {
            tau: number(&case["tau"]),
            alpha: number(&case["alpha"]),
            correction: Correction::Bonferroni,
            stage: Stage::Two,
        };
        let components = whole(&case["N"]);
        let set: Vec<Look> = looks.iter().map(look).collect();
        let mut state = Looks::new(procedure, &set, components).unwrap();
        for look in looks {
            let counts: Vec<u32> = wholes(&look["counts"]).iter().map(|c| *c as u32).collect();
            let votes =
                Votes::from_counts(vec![0; components], &counts, whole(&look["n"])).unwrap();
            state.look(&votes).unwrap();
            // a threshold is also that of a count nobody has
            let tests = components as u64;
            let level = procedure.alpha * number(&look["alpha_fraction"]) / tests as f64;
            let tail = procedure.tail(whole(&look["n"]), tests).unwrap();
            assert_eq!(
                tail.least(level).map(|k| k as u64),
                look["threshold"].as_u64()
            );
            let certified = state
                .certified()
                .iter()
                .filter(|class| **class != ABSTAIN)
                .count();
            assert_eq!(
                certified,
                whole(&look["certified_so_far"]),
                "{}",
                case["id"]
            );
        }
        let certified: Vec<bool> = state
            .certified()
            .iter()
            .map(|class| *class != ABSTAIN)
            .collect();
        assert_eq!(certified, bits(&case["certified"]), "{}", case["id"]);
    }
}

fn cityscapes() -> Hierarchy {
    let file = vectors("hierarchy");
    let tables = file["header"]["lookup_tables"].as_array().unwrap();
    let nodes = |table: &Value| wholes(table).iter().map(|node| *node as u8).collect();
    Hierarchy::new(tables.iter().map(nodes).collect()).unwrap()
}

#[test]
fn hierarchies() {
    let tree = cityscapes();
    assert_eq!(tree.certifiable(), 4);
    for case in items("hierarchy") {
        let n = whole(&case["n"]);
        let leaves: Vec<u8> = wholes(&case["guess_leaf"])
            .iter()
            .map(|leaf| *leaf as u8)
            .collect();
        let counts: Vec<Vec<u64>> = case["counts_by_level"]
            .as_array()
            .unwrap()
            .iter()
            .map(wholes)
            .collect();
        let mut votes = PathVotes::new(&tree, leaves.clone()).unwrap();
        for sample in 0..n as u64 {
            // the leaf itself, or a class that joins it at the level from which this sample counts
            let label = |i: usize| {
                let joins = (0..4).position(|level| sample < counts[i][level]);
                let level = joins.unwrap_or(4);
                let shares = |class: &u8| {
                    let node = |level: usize, class: u8| tree_node(&tree, level, class);
                    let leaf = leaves[i];
                    (level == 4 || node(level, *class) == node(level, leaf))
                        && (level == 0 || node(level - 1, *class) != node(level - 1, leaf))
                };
                (0..19u8).find(shares).unwrap()
            };
            let labels: Vec<u8> = (0..leaves.len()).map(label).collect();
            votes.add(&labels).unwrap();
        }
        for (i, of) in counts.iter().enumerate() {
            let got: Vec<u64> = votes.levels().iter().map(|v| v.count(i) as u64).collect();
            assert_eq!(got, *of, "{} at {i}", case["id"]);
        }
        let procedure = Procedure {
            tau: number(&case["tau"]),
            alpha: number(&case["alpha"]),
            correction: Correction::Bonferroni,
            stage: Stage::Two,
        };
        let certified = votes.certified(&procedure).unwrap();
        for (i, node) in certified.iter().enumerate() {
            let got = node.map(|node| (node.level as u64, u64::from(node.node)));
            let want = case["level"][i].as_u64().zip(case["node"][i].as_u64());
            assert_eq!(got, want, "{} at {i}", case["id"]);
        }
        let labels: Vec<u8> = wholes(&case["label"])
            .iter()
            .map(|label| *label as u8)
            .collect();
        let gain = tree.gain(&certified, &labels).unwrap().unwrap();
        assert!(
            (gain - number(&case["cig"])).abs() < 1e-12,
            "{}: {gain}",
            case["id"]
        );
        let share = certified.iter().flatten().count() as f64 / certified.len() as f64;
        assert_eq!(share, number(&case["certified_fraction"]));
    }
}

/// Node of a class, through the public surface: the class a path of its own votes for.
fn tree_node(tree: &Hierarchy, level: usize, class: u8) -> u8 {
    PathVotes::new(tree, vec![class]).unwrap().levels()[level].classes()[0]
}

/// 1 - ln(leaves)/ln 19 by number of leaves, as listed in the design.
#[test]
fn gains_of_cityscapes() {
    let tree = cityscapes();
    for (level, class, leaves, gain) in [
        (0, 0, 1, 1.0),
        (1, 6, 2, 0.764591),
        (1, 3, 5, 0.453397),
        (1, 14, 6, 0.391477),
        (2, 3, 7, 0.339124),
        (2, 14, 8, 0.293773),
        (3, 3, 17, 0.037775),
    ] {
        assert_eq!(tree.leaves(level, class), leaves);
        let node = tree_node(&tree, level, class);
        let certified = [Some(certiseg_cert::smoothing::Node { level, node })];
        let got = tree.gain(&certified, &[class]).unwrap().unwrap();
        assert!((got - gain).abs() < 1e-6, "{leaves}: {got}");
    }
    assert_eq!(tree.leaves(4, 0), 19);
}

#[test]
fn hybrids() {
    for case in items("hybrid") {
        let mean = MeanLogits {
            lipschitz: number(&case["L"]),
            sigma: number(&case["sigma"]),
            samples: whole(&case["n"]),
            pixels: whole(&case["N"]),
            classes: whole(&case["K"]),
            alpha: number(&case["alpha"]),
            allowed: whole(&case["k"]) as u64 - 1,
            same_samples: false,
        };
        let (slack, want) = (mean.slack().unwrap(), number(&case["t"]));
        assert!(close(slack, want, 1e-12) && slack >= want * (1.0 - 4.0 * f64::EPSILON));
        let right = bits(&case["label_correct"]);
        let hybrid = mean
            .certify(&numbers(&case["sample_margin"]), &right)
            .unwrap();
        for (got, want) in hybrid.radii().iter().zip(numbers(&case["radius_lower"])) {
            // a difference: the error is relative to the margin, of about 1
            assert!((got - want).abs() <= 1e-12 * want.max(0.1), "{got} {want}");
        }
        for row in case["curve"].as_array().unwrap() {
            let eps = number(&row[0]);
            let wrong = hybrid.wrong(eps).unwrap();
            assert_eq!(
                wrong - mean.allowed,
                whole(&row[1]) as u64,
                "{} at {eps}",
                case["id"]
            );
            let accuracy = hybrid.accuracy(eps).unwrap().lower();
            assert!(
                (accuracy - number(&row[2])).abs() < 1e-12,
                "{} at {eps}",
                case["id"]
            );
        }
    }
}

fn image(value: &Value) -> Vec<u8> {
    let rows = value.as_array().unwrap().iter();
    rows.flat_map(wholes).map(|label| label as u8).collect()
}

#[test]
fn figures_with_abstentions() {
    for case in items("metrics") {
        let mut sums = Abstentions::new(whole(&case["K"])).unwrap();
        let labels = case["labels"].as_array().unwrap();
        for (labels, predictions) in labels.iter().zip(case["predictions"].as_array().unwrap()) {
            sums.add(&image(predictions), &image(labels)).unwrap();
        }
        let got = serde_json::to_value(sums.figures()).unwrap();
        let want = case["metrics"].as_object().unwrap();
        assert!(want.len() > 10);
        for (name, want) in want {
            same_figures(&got[name], want)
                .unwrap_or_else(|e| panic!("{name} of {}: {e}", case["id"]));
        }
    }
}

fn same_figures(got: &Value, want: &Value) -> Result<(), String> {
    let refused = || Err(format!("{got} {want}"));
    match (got.as_array(), want.as_array()) {
        (Some(got), Some(want)) if got.len() == want.len() => got
            .iter()
            .zip(want)
            .try_for_each(|(got, want)| same_figures(got, want)),
        (None, None) => match (got.as_f64(), want.as_f64()) {
            (Some(got), Some(want)) if (got - want).abs() <= 1e-12 => Ok(()),
            (None, None) if got.is_null() && want.is_null() => Ok(()),
            _ => refused(),
        },
        _ => refused(),
    }
}

#[test]
fn the_comparison_of_figures_sees_planted_errors() {
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert!(same_figures(&value("[0.5, null]"), &value("[0.5, null]")).is_ok());
    for planted in ["[0.5, 0.0]", "[0.5]", "[0.501, null]", "null", "0.5"] {
        assert!(
            same_figures(&value(planted), &value("[0.5, null]")).is_err(),
            "{planted}"
        );
    }
}
