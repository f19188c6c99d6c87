use burn::tensor::{DType, Device, Tensor, TensorData};

use super::*;
use crate::architecture::Architecture;

fn nodes() -> Vec<Node> {
    Architecture::default().resolve(64).unwrap().nodes()
}

#[test]
fn the_network_passes_its_own_check() {
    check_nodes(&nodes()).unwrap();
    assert_eq!(total_stride(&nodes()), 8);
    check_size(&nodes(), 64, 128).unwrap();
}

#[test]
fn image_size() {
    for (height, width) in [(60, 64), (64, 0), (64, 65)] {
        let error = check_size(&nodes(), height, width).unwrap_err();
        assert!(error.to_string().contains("multiples of 8"), "{error}");
    }
}

#[test]
fn node() {
    type Change = fn(&mut Vec<Node>);
    let changes: [(Change, &str); 13] = [
        (|n| n.truncate(n.len() - 1), "last node"),
        (|n| n.insert(1, Node::MaxMin), "multiple of 2"),
        (|n| drop(n.remove(1)), "gets 3 channels"),
        (|n| n.insert(1, n[1].clone()), "encoder.0.0"),
        (
            |n| n.insert(2, Node::GroupSort { size: 3 }),
            "multiple of 3",
        ),
        (
            |n| {
                n.insert(
                    2,
                    Node::Upsample {
                        kind: Resampling::Nearest,
                        factor: 0,
                    },
                )
            },
            "factor 0",
        ),
        (
            |n| n.insert(2, Node::Split { parts: Vec::new() }),
            "expects 0",
        ),
        (
            |n| {
                n.insert(
                    2,
                    Node::Sum {
                        name: "s".into(),
                        branches: Vec::new(),
                        mix: Mix::Even,
                    },
                )
            },
            "no branches",
        ),
        (|n| n.insert(2, n[2].clone()), "two nodes"),
        (
            |n| n.insert(2, Node::Residual(Conv::same("r", 32, 32, 3))),
            "a bias",
        ),
        (|n| set_first(n, |c| c.stride = 0), "stride 0"),
        (|n| set_first(n, |c| c.scale = f32::NAN), "scale NaN"),
        (
            |n| {
                n[0] = Node::Normalize {
                    mean: vec![0.0; 3],
                    std: vec![0.0; 3],
                }
            },
            "std positive",
        ),
    ];
    for (change, expected) in changes {
        let mut nodes = nodes();
        change(&mut nodes);
        let error = check_nodes(&nodes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn set_first(nodes: &mut [Node], change: fn(&mut Conv)) {
    if let Node::Conv(conv) = &mut nodes[1] {
        change(conv);
    }
}

#[test]
fn circular_padding_brings_the_opposite_border() {
    let device = Device::flex();
    let data = TensorData::new(vec![1f32, 2.0, 3.0, 4.0], [1, 1, 2, 2]);
    let x = Tensor::<4>::from_data(data, on(&device, DType::F32));
    let wrapped = ops::wrap(x, 1).into_data().try_into_vec::<f32>().unwrap();
    let expected = [
        4.0, 3.0, 4.0, 3.0, 2.0, 1.0, 2.0, 1.0, 4.0, 3.0, 4.0, 3.0, 2.0, 1.0, 2.0, 1.0,
    ];
    assert_eq!(wrapped, expected);
}

#[test]
fn max_min_orders_the_two_halves() {
    let device = Device::flex();
    let data = TensorData::new(vec![1f32, -2.0, 0.5, 7.0], [1, 4, 1, 1]);
    let x = Tensor::<4>::from_data(data, on(&device, DType::F32));
    let got = ops::max_min(x).into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(got, [1.0, 7.0, 0.5, -2.0]);
}
