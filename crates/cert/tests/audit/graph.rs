//! Rules of the graph, and what is refused.

use certiseg_cert::{Audit, Conv, Error, Layer, Method, Wrap, audit, conv_bound};

use crate::dense::{above_and_close, plain};

#[test]
fn groups_are_a_maximum() {
    let kernel = [0.3, 10.0];
    let conv = Conv {
        groups: 2,
        ..plain(&kernel, [2, 2], 1, 1)
    };
    above_and_close(conv_bound(&conv).unwrap().norm, 10.0, 1e-9).unwrap();
}

fn scaled(kernel: &[f32], scale: f32) -> Layer<'_> {
    Layer::Conv {
        name: "c",
        conv: plain(kernel, [1, 1], 1, 1),
        padding: 0,
        wrap: Wrap::Zeros,
        scale,
    }
}

#[test]
fn rules_of_the_graph() {
    /// Some steps up of one unit in the last place each.
    const STEPS: f64 = 1e-13;
    let lipschitz = |layers: &[Layer]| audit(layers, 4, 4).unwrap().lipschitz;
    assert_eq!(lipschitz(&[]), 1.0);
    assert_eq!(lipschitz(&[Layer::Shift, Layer::Shift]), 1.0);
    let [three, four] = [[3.0], [4.0]];
    let (a, b) = (scaled(&three, 1.0), scaled(&four, 1.0));
    above_and_close(lipschitz(&[a.clone(), b.clone()]), 12.0, STEPS).unwrap();
    above_and_close(lipschitz(&[scaled(&three, -0.5)]), 1.5, STEPS).unwrap();
    let concat = |scale| Layer::Concat {
        branches: vec![vec![a.clone()], vec![b.clone()]],
        scale,
    };
    above_and_close(lipschitz(&[concat(1.0)]), 5.0, STEPS).unwrap();
    above_and_close(lipschitz(&[concat(0.5), Layer::MaxMin]), 2.5, STEPS).unwrap();
    let identity = Layer::Concat {
        branches: vec![vec![], vec![]],
        scale: 1.0,
    };
    above_and_close(lipschitz(&[identity]), 2f64.sqrt(), STEPS).unwrap();
    // a bound is rounded up: each square is at least the square of the exact constant
    let std = [0.229, 0.224, 0.225];
    let Audit { lipschitz, layers } = audit(&[Layer::Normalize { std: &std }], 4, 4).unwrap();
    assert!(lipschitz * f64::from(std[1]) >= 1.0);
    assert_eq!(
        (layers[0].name.as_str(), layers[0].method),
        ("normalize", Method::Rule)
    );
}

#[test]
fn bounds_are_listed_in_order_with_their_scale() {
    let weight = [3.0];
    let branch = || vec![scaled(&weight, 2.0)];
    let layers = [
        scaled(&weight, 1.0),
        Layer::Concat {
            branches: vec![branch(), branch()],
            scale: 1.0,
        },
    ];
    let audit = audit(&layers, 4, 4).unwrap();
    let names: Vec<&str> = audit.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["c", "c", "c", "concat"]);
    for (layer, norm) in audit.layers.iter().zip([3.0, 6.0, 6.0, 72f64.sqrt()]) {
        above_and_close(layer.norm, norm, 1e-13).unwrap();
    }
}

#[test]
fn number() {
    let layer = |weight: f32| audit(&[scaled(&[1.0], 1.0), scaled(&[weight], 1.0)], 4, 4);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = layer(bad).unwrap_err().to_string();
        assert!(error.starts_with("layer c: weight 0 is "), "{error}");
        let kernel = [0.0, 0.0, bad, 0.0];
        let error = conv_bound(&plain(&kernel, [2, 2], 1, 1)).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Number {
                    what: "weight",
                    index: 2,
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            audit(&[scaled(&[1.0], bad)], 4, 4)
                .unwrap_err()
                .to_string()
                .contains("scale")
        );
        let error = audit(&[Layer::Normalize { std: &[1.0, bad] }], 4, 4).unwrap_err();
        assert!(
            error.to_string().contains("standard deviation 1 is"),
            "{error}"
        );
    }
    assert!(audit(&[Layer::Normalize { std: &[0.0] }], 4, 4).is_err());
    // beyond the range of f64 is an error, not an infinite constant
    let huge = vec![scaled(&[3e38], 3e38); 5];
    assert!(matches!(audit(&huge, 4, 4), Err(Error::Lipschitz { .. })));
    // nor is it lost where 0 times it is no number
    let none = Layer::Sum {
        name: "s",
        weights: &[0.0],
        branches: vec![huge],
    };
    let split = Layer::Split {
        parts: vec![(1, vec![none]), (1, vec![])],
    };
    assert!(matches!(
        audit(&[split], 4, 4),
        Err(Error::Lipschitz { .. })
    ));
}

#[test]
fn shape() {
    let kernel = [1.0; 9];
    let good = plain(&kernel, [1, 1], 3, 1);
    for bad in [
        Conv {
            kernel: &kernel[1..],
            ..good
        },
        Conv {
            out_channels: 0,
            ..good
        },
        Conv { groups: 2, ..good },
        Conv {
            kernel_size: 0,
            ..good
        },
        Conv { stride: 0, ..good },
        Conv {
            dilation: usize::MAX,
            ..good
        },
    ] {
        assert!(
            matches!(conv_bound(&bad), Err(Error::Shape { .. })),
            "{bad:?}"
        );
    }
    let layer = |conv, padding| Layer::Conv {
        name: "c",
        conv,
        padding,
        wrap: Wrap::Zeros,
        scale: 1.0,
    };
    let fails = |layers: &[Layer], size: usize, part: &str| {
        let error = audit(layers, size, size).unwrap_err().to_string();
        assert!(error.contains(part), "{error} lacks {part}");
    };
    fails(&[layer(good, 0)], 2, "height is 2; expected at least 3");
    fails(
        &[layer(
            Conv {
                transposed: true,
                ..good
            },
            2,
        )],
        1,
        "cropped",
    );
    fails(
        &[layer(good, usize::MAX)],
        4,
        "smaller kernel, stride, dilation or padding",
    );
    fails(&[layer(good, 0)], 0, "height is 0");
    fails(
        &[layer(good, 0), Layer::MaxMin],
        4,
        "channels is 1; expected an even number",
    );
    fails(
        &[Layer::Normalize { std: &[1.0; 3] }, layer(good, 0)],
        4,
        "channels of the input is 3",
    );
    fails(
        &[Layer::Concat {
            branches: vec![],
            scale: 1.0,
        }],
        4,
        "branches is 0",
    );
    fails(
        &[Layer::Normalize { std: &[] }],
        4,
        "standard deviations is 0",
    );
    let uneven = vec![vec![layer(good, 1)], vec![layer(good, 0)]];
    fails(
        &[Layer::Concat {
            branches: uneven,
            scale: 1.0,
        }],
        4,
        "height of a branch is 2; expected 4",
    );
}

#[test]
fn unsupported() {
    let kernel = [1.0; 4];
    let conv = Conv {
        transposed: true,
        ..plain(&kernel, [1, 1], 2, 2)
    };
    let layer = Layer::Conv {
        name: "up",
        conv,
        padding: 0,
        wrap: Wrap::Circular,
        scale: 1.0,
    };
    let error = audit(&[layer], 4, 4).unwrap_err().to_string();
    assert!(
        error.starts_with("layer up: circular padding of a transposed convolution"),
        "{error}"
    );
    // 2^45 products
    let kernel = vec![1.0; 1 << 22];
    let error = conv_bound(&plain(&kernel, [1, 1], 2048, 1)).unwrap_err();
    assert!(error.to_string().contains("needs hours"), "{error}");
}

#[test]
fn far_taps_cost_nothing_and_change_nothing() {
    let kernel = [1.0, -2.0, 0.5, 3.0];
    let norm = |stride, dilation| {
        let conv = Conv {
            dilation,
            ..plain(&kernel, [1, 1], 2, stride)
        };
        conv_bound(&conv).unwrap().norm
    };
    // the step of the windows over the greatest common divisor counts
    assert_eq!(norm(2, 1 << 19), norm(1, 1));
    assert_eq!(norm(6, 4), norm(3, 1));
    assert_eq!(norm(2, 4095), norm(2, 1));
}

#[test]
fn layer() {
    let kernel = [1.0; 9];
    let conv = Conv {
        stride: 0,
        ..plain(&kernel, [1, 1], 3, 1)
    };
    let branch = vec![Layer::Conv {
        name: "down",
        conv,
        padding: 1,
        wrap: Wrap::Zeros,
        scale: 1.0,
    }];
    let alone = conv_bound(&conv).unwrap_err();
    let inside = audit(
        &[Layer::Concat {
            branches: vec![branch],
            scale: 1.0,
        }],
        4,
        4,
    )
    .unwrap_err();
    assert_eq!(inside.to_string(), format!("layer down: {alone}"));
}

#[test]
fn named_layers_are_listed() {
    let (kernel, normal) = ([2.0f32], [1.0f32, 0.0]);
    let residual = Layer::Residual {
        name: "r",
        conv: plain(&kernel, [1, 1], 1, 1),
        padding: 0,
    };
    let layers = [
        Layer::Prescaled {
            name: "p",
            scale: 1.0,
            factor: 0.5,
            branch: vec![residual.clone(), Layer::Pointwise],
        },
        Layer::Sum {
            name: "s",
            weights: &[1.0, 1.0],
            branches: vec![vec![residual], vec![]],
        },
        Layer::Concat {
            branches: vec![vec![], vec![]],
            scale: 1.0,
        },
        Layer::HouseHolder {
            name: "h",
            normal: &normal,
        },
        Layer::Split {
            parts: vec![(1, vec![]), (1, vec![Layer::Center])],
        },
        Layer::Pool { size: 3, stride: 2 },
        Layer::GroupSort { size: 2 },
    ];
    let audit = audit(&layers, 4, 4).unwrap();
    let names: Vec<&str> = audit.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["r", "p", "r", "s", "concat", "h", "split", "pool"]);
    // ||K|| = 2: 2·4 - 1
    let norms = [7.0, 4.0, 7.0, 8.0, 2f64.sqrt(), 1.0, 1.0, 2.0];
    for (layer, norm) in audit.layers.iter().zip(norms) {
        assert!(
            (layer.norm - norm).abs() < 1e-6,
            "{}: {}",
            layer.name,
            layer.norm
        );
    }
}
