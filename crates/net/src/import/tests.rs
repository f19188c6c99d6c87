use super::*;
use crate::node::{Conv, Mix, Node, Wrap};

/// A network with a branch, a sum and every other op.
fn graph() -> Value {
    let conv = |name: &str, input: &str, shape: [usize; 4], padding: usize| {
        json!({
            "name": name, "op": "conv2d", "inputs": [input], "weight": format!("{name}.w"),
            "weight_shape": shape, "stride": 1, "padding": padding, "dilation": 1,
            "padding_mode": "zeros", "coeff": 2.0, "branch_coeff": 0.5,
            "audited_norm_without_coeff": 1e-9, "grid_norm_without_coeff": 1e-9
        })
    };
    let mut first = conv("first", "norm", [4, 3, 3, 3], 1);
    first["padding_mode"] = "circular".into();
    first["stride"] = 2.into();
    let mut up = conv("up", "both", [6, 2, 2, 2], 0);
    up["op"] = "conv_transpose2d".into();
    up["stride"] = 2.into();
    up["groups"] = 2.into();
    up["padding_mode"] = "none".into();
    let mut head = conv("head", "sum", [2, 4, 1, 1], 0);
    head["bias"] = "head.b".into();
    json!({
        "format": FORMAT,
        "input": { "name": "x", "shape": ["N", 3, "H", "W"], "range": [0, 1], "size_multiple": 2 },
        "output": "head", "num_classes": 2, "class_names": ["a", "b"],
        "maxmin_split": MAXMIN, "conv_weight_layout": LAYOUT, "L": { "rigorous": 1e-9 },
        "layers": [
            { "name": "norm", "op": "affine_input", "inputs": ["x"], "scale": 2.0, "shift": -1.0,
              "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5] },
            first,
            { "name": "act", "op": "maxmin_split", "inputs": ["first"] },
            { "name": "bias", "op": "channel_bias", "inputs": ["act"], "bias": "bias.b", "channels": 4 },
            conv("branch", "bias", [2, 4, 3, 3], 1),
            { "name": "both", "op": "concat", "inputs": ["branch", "bias"], "axis": 1 },
            up,
            conv("term", "up", [4, 4, 1, 1], 0),
            { "name": "sum", "op": "sum", "inputs": ["up", "term"] },
            head
        ]
    })
}

fn tensors() -> Tensors {
    let shapes: [(&str, &[usize]); 7] = [
        ("first.w", &[4, 3, 3, 3]),
        ("bias.b", &[4]),
        ("branch.w", &[2, 4, 3, 3]),
        ("up.w", &[6, 2, 2, 2]),
        ("term.w", &[4, 4, 1, 1]),
        ("head.w", &[2, 4, 1, 1]),
        ("head.b", &[2]),
    ];
    let mut next = 0.0;
    let mut values = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|at| next + at as f32).collect();
        next += 1000.0;
        values
    };
    let tensor =
        |(name, shape): (&str, &[usize])| (name.to_owned(), (shape.to_vec(), values(shape)));
    shapes.map(tensor).into()
}

fn import(graph: &Value) -> Result<Network> {
    build(graph.to_string().as_bytes(), tensors())
}

/// The message about a graph with one thing changed.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut graph = graph();
    change(&mut graph);
    import(&graph).unwrap_err().to_string()
}

#[test]
fn layers_become_nested_nodes_and_tensors_keep_their_values() {
    let network = import(&graph()).unwrap();
    let conv = |name: &str, input, out, kernel| Conv::same(name, input, out, kernel);
    let first = Conv {
        stride: 2,
        wrap: Wrap::Circular,
        ..conv("first", 3, 4, 3)
    };
    let up = Conv {
        stride: 2,
        padding: 0,
        groups: 2,
        transposed: true,
        ..conv("up", 6, 4, 2)
    };
    let head = Conv {
        bias: true,
        ..conv("head", 4, 2, 1)
    };
    let expected = vec![
        Node::Normalize {
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
        },
        Node::Conv(first),
        Node::MaxMin,
        Node::Shift {
            name: "bias".into(),
            channels: 4,
        },
        Node::Concat {
            branches: vec![vec![Node::Conv(conv("branch", 4, 2, 3))], vec![]],
            scale: 1.0,
        },
        Node::Conv(up),
        Node::Sum {
            name: "sum".into(),
            branches: vec![vec![], vec![Node::Conv(conv("term", 4, 4, 1))]],
            mix: Mix::Even,
        },
        Node::Conv(head),
    ];
    assert_eq!(network.nodes, expected);
    let file = tensors();
    for (ours, theirs) in [
        ("first.weight", "first.w"),
        ("bias.shift", "bias.b"),
        ("head.bias", "head.b"),
    ] {
        assert_eq!(network.tensors[ours], file[theirs].1, "{ours}");
    }
    assert_eq!(network.tensors["sum.mix"], [1.0, 1.0]);
    assert_eq!(network.tensors.len(), file.len() + 1);
}

#[test]
fn what_has_no_meaning_here_is_refused_with_the_layer_and_what_is_possible() {
    type Change = fn(&mut Value);
    let cases: &[(Change, &[&str])] = &[
        (
            |g| g["layers"][1]["padding_mode"] = "reflect".into(),
            &["first", "reflect", "circular"],
        ),
        (
            |g| g["layers"][1]["op"] = "conv3d".into(),
            &["first", "conv3d", "conv_transpose2d"],
        ),
        (|g| g["layers"][2]["slope"] = 1.into(), &["act", "slope"]),
        (
            |g| g["layers"][1]["output_padding"] = 1.into(),
            &["first", "output_padding", "dilation"],
        ),
        (|g| g["layers"][1]["stride"] = (-1).into(), &["first", "-1"]),
        (
            |g| g["layers"][1]["coeff"] = "2".into(),
            &["first", "2", "f64"],
        ),
        (
            |g| g["layers"][1]["weight_shape"] = json!([4, 3, 3, 5]),
            &["first", "3x5", "square"],
        ),
        (
            |g| g["layers"][1]["weight_shape"] = json!([4, 3, 5, 5]),
            &["first.w", "[4, 3, 3, 3]", "[4, 3, 5, 5]"],
        ),
        (
            |g| g["layers"][6]["padding"] = 1.into(),
            &["up", "none", "1"],
        ),
        (
            |g| g["layers"][6]["padding_mode"] = "circular".into(),
            &["up", "circular", "transposed"],
        ),
        (
            |g| g["layers"][5]["axis"] = 2.into(),
            &["both", "2", "expected 1"],
        ),
        (
            |g| g["layers"][0]["scale"] = 1.0.into(),
            &["norm", "scale", "2"],
        ),
        (
            |g| g["layers"][0]["shift"] = (-0.9).into(),
            &["norm", "shift", "-1"],
        ),
        (|g| g["layers"][0]["std"][1] = 0.25.into(), &["norm", "4"]),
        (
            |g| g["layers"][3]["channels"] = 5.into(),
            &["bias.b", "[4]", "[5]"],
        ),
        (
            |g| g["layers"][3]["bias"] = "head.b".into(),
            &["head.b", "read twice"],
        ),
        (
            |g| g["layers"][3]["inputs"] = json!(["act", "first"]),
            &["bias", "2 inputs"],
        ),
        (
            |g| g["layers"][5]["inputs"] = json!([]),
            &["both", "0 inputs"],
        ),
        (
            |g| g["layers"][2]["inputs"] = json!(["bias"]),
            &["act", "bias", "earlier"],
        ),
        (
            |g| g["layers"][2]["inputs"] = json!(["act"]),
            &["act", "earlier"],
        ),
        (
            |g| g["layers"][2]["name"] = "first".into(),
            &["first", "twice"],
        ),
        (|g| g["layers"][2]["name"] = "x".into(), &["x", "twice"]),
        (
            |g| {
                g["layers"][2].as_object_mut().unwrap().remove("name");
            },
            &["index 2", "name"],
        ),
        (|g| g["output"] = "term".into(), &["ends nowhere", "term"]),
        (|g| g["output"] = "tail".into(), &["output", "tail"]),
        (|g| g["output"] = "x".into(), &["output", "x"]),
        (|g| g["num_classes"] = 3.into(), &["num_classes", "3", "2"]),
        (
            |g| g["class_names"] = json!(["a"]),
            &["class_names", "1", "2"],
        ),
        (
            |g| g["input"]["size_multiple"] = 1.into(),
            &["size_multiple", "1", "2"],
        ),
        (|g| g["input"]["range"] = json!([0, 255]), &["range", "255"]),
        (|g| g["input"]["shape"][1] = 1.into(), &["shape", "1", "3"]),
        (|g| g["format"] = "v2".into(), &["format", "v2", FORMAT]),
        (
            |g| g["maxmin_split"] = "pairs".into(),
            &["maxmin_split", "pairs"],
        ),
        (
            |g| g["conv_weight_layout"] = "HWIO".into(),
            &["conv_weight_layout", "HWIO"],
        ),
        (|g| g["outputs"] = json!([]), &["outputs"]),
    ];
    for (at, (change, words)) in cases.iter().enumerate() {
        let message = refused(*change);
        for word in *words {
            assert!(message.contains(word), "case {at}: no {word} in: {message}");
        }
    }
}

/// Adds a layer without fields of its own.
fn insert(graph: &mut Value, at: usize, name: &str, op: &str, inputs: &[&str]) {
    let layer = json!({ "name": name, "op": op, "inputs": inputs });
    graph["layers"].as_array_mut().unwrap().insert(at, layer);
}

#[test]
fn a_branch_that_ends_nowhere_is_refused() {
    let message = refused(|graph| insert(graph, 3, "lost", "maxmin_split", &["act"]));
    assert!(message.contains("node lost: ends nowhere"), "{message}");
}

#[test]
fn branches_that_cross_are_refused() {
    // c reads a and b, d reads b and c: b would be evaluated in two places
    let message = refused(|graph| {
        insert(graph, 3, "a", "maxmin_split", &["act"]);
        insert(graph, 4, "b", "maxmin_split", &["act"]);
        insert(graph, 5, "c", "sum", &["a", "b"]);
        insert(graph, 6, "d", "sum", &["b", "c"]);
        graph["layers"][7]["inputs"] = json!(["d"]);
    });
    assert!(
        message.contains("node b: read by branches of two merges"),
        "{message}"
    );
}

#[test]
fn branches_nest_as_in_a_u_net_but_not_without_end() {
    let nested = |depth: usize| {
        let mut graph = graph();
        let mut before = "act".to_owned();
        for at in 0..depth {
            let name = format!("in{at}");
            insert(&mut graph, 3 + at, &name, "maxmin_split", &[&before]);
            before = name;
        }
        for at in (0..depth).rev() {
            let (name, skip) = (format!("out{at}"), format!("in{at}"));
            insert(
                &mut graph,
                3 + 2 * depth - 1 - at,
                &name,
                "sum",
                &[&skip, &before],
            );
            before = name;
        }
        graph["layers"][3 + 2 * depth]["inputs"] = json!([before]);
        import(&graph)
    };
    let network = nested(2).unwrap();
    let Node::Sum { branches, .. } = &network.nodes[4] else {
        panic!("{:?}", network.nodes[4]);
    };
    assert!(branches[0].is_empty());
    assert!(matches!(branches[1][..], [Node::MaxMin, Node::Sum { .. }]));
    assert!(nested(16).is_ok());
    assert!(nested(18).unwrap_err().to_string().contains("too deep"));
}

#[test]
fn files_that_lack_something_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, content: &[u8]| std::fs::write(at(name), content).unwrap();
    let store = |tensors: &Tensors| {
        let bytes: Vec<_> = tensors
            .values()
            .map(|(_, v)| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
            .collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, (shape, _)), bytes)| {
                (
                    name,
                    safetensors::tensor::TensorView::new(
                        safetensors::tensor::Dtype::F32,
                        shape.clone(),
                        bytes,
                    )
                    .unwrap(),
                )
            });
        safetensors::serialize(views, None).unwrap()
    };
    let text = graph().to_string();
    write("graph", text.as_bytes());
    write("torn graph", &text.as_bytes()[..text.len() / 2]);
    let whole = store(&tensors());
    write("tensors", &whole);
    write("torn tensors", &whole[..whole.len() - 1]);
    let mut fewer = tensors();
    fewer.remove("branch.w");
    write("fewer", &store(&fewer));
    let mut more = tensors();
    more.insert("more.w".into(), (vec![1], vec![0.0]));
    write("more", &store(&more));
    let mut infinite = tensors();
    infinite.insert(
        "bias.b".into(),
        (vec![4], vec![0.0, f32::INFINITY, 0.0, 0.0]),
    );
    write("infinite", &store(&infinite));

    assert_eq!(
        read(&at("graph"), &at("tensors")).unwrap(),
        import(&graph()).unwrap()
    );
    for (graph, tensors, words) in [
        ("torn graph", "tensors", ["torn graph", "EOF"]),
        (
            "graph",
            "torn tensors",
            ["torn tensors", "a safetensors file"],
        ),
        ("no graph", "tensors", ["cannot read", "no graph"]),
        ("graph", "no tensors", ["cannot read", "no tensors"]),
        ("graph", "fewer", ["branch.w", "missing"]),
        ("graph", "more", ["more.w", "no layer reads it"]),
        ("graph", "infinite", ["bias.shift", "inf at index 1"]),
    ] {
        let message = read(&at(graph), &at(tensors)).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}
