use super::*;
use crate::node::{check_nodes, check_size, convolutions, parameters, total_stride};

fn counted(size: Size, kernels: Kernels) -> Architecture {
    Architecture {
        size,
        kernels,
        block: Some(Block::Plain),
        classes: 3,
        rates: vec![6, 12, 18],
        ..Architecture::default()
    }
}

#[test]
fn sizes_and_parameter_counts_are_those_of_the_released_networks() {
    let expected = [
        (Size::S, 19, 503_875, 1_196_723),
        (Size::M1, 25, 2_530_563, 6_331_491),
        (Size::M2, 31, 10_201_347, 25_539_683),
    ];
    for (size, convs, constrained, twin) in expected {
        for (kernels, count) in [
            (Kernels::Orthogonal, constrained),
            (Kernels::Unconstrained, twin),
        ] {
            let nodes = counted(size, kernels).resolve(128).unwrap().nodes();
            assert_eq!(convolutions(&nodes).len(), convs, "{size:?}");
            assert_eq!(parameters(&nodes), count, "{size:?} {kernels:?}");
        }
    }
    let nodes = counted(Size::L, Kernels::Orthogonal)
        .resolve(128)
        .unwrap()
        .nodes();
    assert_eq!(parameters(&nodes), 12_292_227);
    let paper = Architecture {
        preset: Preset::Paper,
        ..counted(Size::S, Kernels::Orthogonal)
    };
    assert_eq!(parameters(&paper.resolve(128).unwrap().nodes()), 503_875);
}

/// Every family, size, kind of kernels and block that may be combined.
fn all() -> Vec<Architecture> {
    let families = [
        Family::Deeplab,
        Family::Fcn,
        Family::FcnSkips,
        Family::Unet,
        Family::UnetClassic,
    ];
    let sizes = [Size::Xs, Size::S, Size::M1, Size::M2, Size::L, Size::Xl];
    let kernels = [
        Kernels::Orthogonal,
        Kernels::Spectral,
        Kernels::Unconstrained,
    ];
    let mut all = Vec::new();
    for family in families {
        for size in sizes {
            for kernels in kernels {
                for block in Block::ALL {
                    let net = Architecture {
                        family,
                        size,
                        kernels,
                        block: Some(block),
                        ..Architecture::default()
                    };
                    all.extend(net.resolve(128));
                }
            }
        }
    }
    all
}

#[test]
fn every_combination_is_a_network_that_gives_back_the_size_of_the_picture() {
    let all = all();
    // 10 blocks with orthogonal kernels, 5 with each of the others
    assert_eq!(all.len(), 5 * 6 * (10 + 5 + 5));
    for net in all {
        let nodes = net.nodes();
        check_nodes(&nodes).unwrap_or_else(|e| panic!("{net:?}: {e}"));
        let multiple = total_stride(&nodes);
        assert_eq!(multiple, 1 << net.widths().len(), "{net:?}");
        check_size(&nodes, 4 * multiple, 5 * multiple).unwrap();
    }
}

#[test]
fn settings_are_read_as_they_are_written() {
    for net in all().into_iter().step_by(7) {
        let text = serde_json::to_string(&net).unwrap();
        assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), net);
        let nodes = net.nodes();
        let text = serde_json::to_string(&nodes).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Node>>(&text).unwrap(), nodes);
    }
}

#[test]
fn rates_come_from_the_feature_size_without_repetition() {
    let rates = |side| Architecture::default().resolve(side).unwrap().rates;
    assert_eq!(rates(128), [2, 4, 6]);
    assert_eq!(rates(256), [4, 8, 12]);
    assert_eq!(rates(32), [1]);
}

#[test]
fn a_dilation_beyond_the_feature_map_is_told() {
    let paper = Architecture {
        preset: Preset::Paper,
        ..Architecture::default()
    };
    let paper = paper.resolve(128).unwrap();
    assert!(
        paper.warnings(128)[0].contains("[18]"),
        "{:?}",
        paper.warnings(128)
    );
    assert!(paper.warnings(256).is_empty());
}

#[test]
fn each_bad_field_is_named() {
    type Change = fn(&mut Architecture);
    let table: [(Change, &str); 10] = [
        (|n| n.classes = 1, "classes"),
        (|n| n.classes = 256, "classes"),
        (|n| n.std = [0.5, 0.0, 0.5], "std"),
        (|n| n.std = [f32::NAN; 3], "std"),
        (|n| n.mean = [f32::INFINITY; 3], "mean"),
        (|n| n.rates = vec![0], "rates"),
        (|n| n.rates = vec![2, 2], "rates"),
        (
            |n| n.centering = Some(Centering::Norm),
            "no Lipschitz constant",
        ),
        (
            |n| (n.kernels, n.block) = (Kernels::Spectral, Some(Block::Sll)),
            "constraint of its own",
        ),
        (
            |n| (n.kernels, n.preset) = (Kernels::Unconstrained, Preset::Paper),
            "preset",
        ),
    ];
    for (change, expected) in table {
        let mut net = Architecture::default();
        change(&mut net);
        let error = net.resolve(128).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
