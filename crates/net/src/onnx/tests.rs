use std::collections::BTreeSet;

use super::*;
use crate::node::{Mix, Part, Spread, slots};

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Int(u64),
    Bytes(Vec<u8>),
}

/// The fields of a message, read back.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let varint = |bytes: &mut &[u8]| {
        let length = bytes.iter().position(|b| *b < 0x80).unwrap() + 1;
        let (value, rest) = bytes.split_at(length);
        *bytes = rest;
        value
            .iter()
            .rev()
            .fold(0, |sum, b| sum << 7 | u64::from(b & 0x7f))
    };
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Int(value),
            2 => {
                let (inside, rest) = bytes.split_at(value as usize);
                bytes = rest;
                Field::Bytes(inside.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// All byte fields of a number.
fn all(bytes: &[u8], number: u64) -> Vec<Vec<u8>> {
    let of_number = fields(bytes).into_iter().filter(|(n, _)| *n == number);
    let bytes = of_number.map(|(_, field)| match field {
        Field::Bytes(bytes) => bytes,
        Field::Int(value) => panic!("{value} in field {number}"),
    });
    bytes.collect()
}

fn texts(bytes: &[u8], number: u64) -> Vec<String> {
    let texts = all(bytes, number)
        .into_iter()
        .map(|text| String::from_utf8(text).unwrap());
    texts.collect()
}

/// What is wrong with the values of a graph: each is made once, before it is read.
fn fault(graph: &[u8]) -> Option<String> {
    let names = all(graph, 5).into_iter().chain(all(graph, 11));
    let mut known = BTreeSet::from([String::new()]);
    for part in names {
        // a tensor has its name in field 8, an input of the graph in field 1
        let name = texts(&part, 8)
            .pop()
            .unwrap_or_else(|| texts(&part, 1).remove(0));
        if let Some(name) = known.replace(name) {
            return Some(format!("{name} twice"));
        }
    }
    for node in all(graph, 1) {
        if let Some(unknown) = texts(&node, 1)
            .into_iter()
            .find(|name| !known.contains(name))
        {
            return Some(format!("{unknown} unknown"));
        }
        for output in texts(&node, 2) {
            if let Some(name) = known.replace(output) {
                return Some(format!("{name} twice"));
            }
        }
    }
    let output = texts(&all(graph, 12)[0], 1).remove(0);
    (!known.contains(&output)).then(|| format!("{output} not made"))
}

fn graph(network: &Network) -> Vec<u8> {
    all(&export(network).unwrap(), 7).remove(0)
}

/// Operators of a graph in order.
fn ops(graph: &[u8]) -> Vec<String> {
    let nodes = all(graph, 1);
    nodes.iter().map(|node| texts(node, 4).remove(0)).collect()
}

fn conv(name: &str, input: usize, out: usize, kernel: usize) -> Conv {
    Conv {
        bias: true,
        ..Conv::same(name, input, out, kernel)
    }
}

/// A network with tensors that count upwards.
fn network(nodes: Vec<Node>) -> Network {
    let tensor = |slot: crate::node::Slot| {
        let count: usize = slot.shape.iter().product();
        (slot.name, (0..count).map(|at| at as f32).collect())
    };
    let tensors = slots(&nodes).into_iter().map(tensor).collect();
    Network::new(nodes, tensors).unwrap()
}

/// The largest value everywhere.
fn maxima(spread: Spread) -> Vec<Node> {
    vec![Node::ImageMax { spread }]
}

/// Every kind of node but batch norm.
fn everything() -> Network {
    let c = |conv| Node::Conv(conv);
    let pool = |kind| Node::Pool {
        kind,
        size: 1,
        stride: 1,
    };
    let name = |name: &str| name.to_owned();
    let tail = Part {
        channels: 6,
        nodes: vec![Node::Abs, Node::Relu],
    };
    network(vec![
        Node::Normalize {
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
        },
        c(Conv {
            wrap: Wrap::Circular,
            stride: 2,
            ..conv("a", 3, 8, 3)
        }),
        Node::MaxMin,
        Node::GroupSort { size: 2 },
        Node::GroupSort { size: 4 },
        Node::Residual(conv("r", 8, 5, 3)),
        Node::Shift {
            name: name("s"),
            channels: 8,
        },
        Node::Center {
            name: name("z"),
            channels: 8,
        },
        Node::HouseHolder {
            name: name("h"),
            channels: 8,
        },
        Node::Concat {
            branches: vec![maxima(Spread::Even), vec![Node::ImageMean]],
            scale: 0.5,
        },
        Node::ImageMax {
            spread: Spread::Full,
        },
        Node::Split {
            parts: vec![
                Part {
                    channels: 10,
                    nodes: vec![],
                },
                tail,
            ],
        },
        Node::Split {
            parts: vec![Part {
                channels: 16,
                nodes: vec![],
            }],
        },
        pool(Pooling::Average),
        pool(Pooling::L2),
        pool(Pooling::Max),
        c(Conv {
            transposed: true,
            stride: 2,
            padding: 0,
            scale: 2.0,
            ..conv("t", 16, 4, 2)
        }),
        Node::PixelUnshuffle { factor: 2 },
        Node::Upsample {
            kind: Resampling::Nearest,
            factor: 2,
        },
        Node::PixelUnshuffle { factor: 2 },
        Node::Upsample {
            kind: Resampling::Bilinear,
            factor: 2,
        },
        Node::Prescaled {
            name: name("p"),
            branch: vec![Node::Abs],
        },
        c(conv("head", 64, 5, 1)),
        Node::Sum {
            name: name("m"),
            branches: vec![vec![], vec![Node::Abs]],
            mix: Mix::Even,
        },
    ])
}

#[test]
fn every_value_of_a_graph_is_made_once_and_before_it_is_read() {
    let network = everything();
    let graph = graph(&network);
    assert_eq!(fault(&graph), None);
    // and every tensor is there, bit for bit, but for the weights of merges, which become factors
    let stored = all(&graph, 5);
    for (name, values) in &network.tensors {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let found = stored
            .iter()
            .find(|tensor| texts(tensor, 8) == [name.as_str()]);
        match found {
            Some(tensor) => assert_eq!(all(tensor, 9), [bytes], "{name}"),
            None => assert!(name.ends_with(".mix"), "{name}"),
        }
    }
}

#[test]
fn the_look_at_a_graph_sees_planted_errors() {
    let whole = graph(&network(vec![Node::Conv(conv("a", 3, 2, 3))]));
    assert_eq!(fault(&whole), None);
    let with = |field: u64, part: Message| {
        [
            whole.clone(),
            Message::default().bytes(field, part).into_bytes(),
        ]
        .concat()
    };
    let node = |from: &str, to: &str| proto::node("Abs", &[from], &[to.to_owned()], &[]);
    assert_eq!(fault(&with(1, node("b", "c"))), Some("b unknown".into()));
    assert_eq!(
        fault(&with(1, node("image", "logits"))),
        Some("logits twice".into())
    );
    assert_eq!(
        fault(&with(5, proto::ints("a.weight", &[1]))),
        Some("a.weight twice".into())
    );
    let without: Vec<_> = fields(&whole)
        .into_iter()
        .filter(|(number, _)| *number != 1)
        .collect();
    let without = without
        .into_iter()
        .fold(Message::default(), |message, (number, field)| match field {
            Field::Int(value) => message.int(number, value as i64),
            Field::Bytes(bytes) => message.bytes(number, bytes),
        });
    assert_eq!(fault(without.as_ref()), Some("logits not made".into()));
}

#[test]
fn a_factor_is_applied_after_the_bias() {
    let ops = |conv: Conv| ops(&graph(&network(vec![Node::Conv(conv)])));
    let plain = conv("a", 3, 2, 3);
    assert_eq!(ops(plain.clone()), ["Conv", "Identity"]);
    let scaled = Conv {
        scale: 2.0,
        ..plain
    };
    assert_eq!(ops(scaled.clone()), ["Conv", "Add", "Mul", "Identity"]);
    assert_eq!(
        ops(Conv {
            bias: false,
            ..scaled
        }),
        ["Conv", "Mul", "Identity"]
    );
}

#[test]
fn a_model_says_its_versions() {
    let model = export(&network(vec![Node::Conv(conv("a", 3, 2, 3))])).unwrap();
    let fields = fields(&model);
    assert_eq!(fields[0], (1, Field::Int(8)));
    assert_eq!(texts(&model, 2), ["certiseg"]);
    // domain "" in version 17
    assert_eq!(all(&model, 8), [[0x0a, 0, 0x10, 17]]);
}

#[test]
fn what_is_no_baked_network_is_refused() {
    let norm = Node::BatchNorm {
        name: "n".into(),
        channels: 3,
    };
    let mut unbaked = network(vec![Node::Conv(conv("a", 3, 2, 3))]);
    unbaked.nodes.insert(0, norm);
    let error = export(&unbaked).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let error = export(&network(vec![Node::Conv(conv("a", 4, 2, 3))])).unwrap_err();
    assert!(matches!(error, Error::Node { .. }), "{error}");
}
