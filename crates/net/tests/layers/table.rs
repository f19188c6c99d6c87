//! The table of layers that every law runs over.

use burn::tensor::{DType, Device, Tensor, TensorData};
use certiseg_net::layer::orthogonal::Orthogonaliser;
use certiseg_net::network::{Network, floats};
use certiseg_net::node::{
    Construction, Conv, Mix, Node, Part, Pooling, Resampling, Spread, Weights, Wrap, forward, on,
    slots, total_stride, walk,
};
use certiseg_net::parameters::Parameters;
use certiseg_net::rng::Rng;

/// One member.
pub struct Layer {
    pub name: &'static str,
    /// Channels in.
    pub channels: usize,
    pub nodes: Vec<Node>,
    /// Whether the constant is nearly reached by some pair of maps.
    pub tight: bool,
    /// Whether it is an isometry or a coisometry of every (divisible, circular) map.
    pub orthogonal: bool,
    /// Whether baking divides by another number than training.
    pub rescaled: bool,
}

impl Layer {
    /// Baked from perturbed start values.
    pub fn network(&self, seed: u64) -> Network {
        self.parameters(seed).bake(&self.nodes).unwrap()
    }

    fn parameters(&self, seed: u64) -> Parameters {
        let mut parameters = Parameters::start(&self.nodes, seed);
        let mut rng = Rng::new(seed);
        let all = parameters.raw.values_mut().flatten();
        all.for_each(|x| *x += 0.1 * rng.normal() as f32);
        parameters
    }

    /// A size at most this that the layer accepts.
    pub fn fits(&self, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
        let step = self.multiple();
        let least = self.least();
        let down = |side: usize| Some(side / step * step).filter(|&side| side >= least);
        Some([down(height)?, down(width)?])
    }

    /// Only circular borders and space to depth need divisible sides.
    fn multiple(&self) -> usize {
        let mut needs = 1;
        walk(&self.nodes, &mut |node| match node {
            Node::Conv(conv) if conv.wrap == Wrap::Circular => needs = needs.max(conv.stride),
            Node::PixelUnshuffle { factor } => needs = needs.max(*factor),
            Node::Split { .. } | Node::Concat { .. } => {
                needs = needs.max(total_stride(&self.nodes))
            }
            _ => {}
        });
        needs
    }

    /// The smallest side.
    fn least(&self) -> usize {
        let mut least = 1;
        walk(&self.nodes, &mut |node| match node {
            Node::Pool { size, .. } => least = least.max(*size),
            Node::Conv(conv) if conv.wrap == Wrap::Circular => {
                least = least.max(conv.padding.max(conv.stride))
            }
            Node::Conv(conv) if !conv.transposed => {
                let extent = conv.dilation * (conv.kernel - 1) + 1;
                least = least.max(extent.saturating_sub(2 * conv.padding));
            }
            _ => {}
        });
        least
    }

    /// Whether it keeps running statistics.
    pub fn observes(&self) -> bool {
        slots(&self.nodes).iter().any(|slot| slot.running.is_some())
    }

    /// Largest difference, relative to the largest output, of the f32 pass with the effective
    /// weights of a training step and the f64 pass of the baked network.
    pub fn difference_to_training(&self, seed: u64, shape: [usize; 4]) -> f64 {
        let parameters = self.parameters(seed);
        let device = Device::flex();
        let mut rng = Rng::new(seed);
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| rng.normal() as f32)
            .collect();
        let input = |dtype| -> Tensor<4> {
            Tensor::from_data(TensorData::new(values.clone(), shape), on(&device, dtype))
        };
        let effective = parameters.effective(&self.nodes);
        let weights = Weights::new(&self.nodes, &effective.tensors, &device, DType::F32, |x| x);
        let trained = forward(&self.nodes, input(DType::F32), &weights, &mut |_, x| x);
        let baked = self.network(seed).on_device(&device, DType::F64);
        let baked = floats(baked.forward(input(DType::F64))).unwrap();
        let trained = floats(trained).unwrap();
        let largest = baked.iter().fold(0f64, |most, v| most.max(v.abs()));
        let pairs = trained.iter().zip(&baked);
        let apart = pairs.map(|(a, b)| (a - b).abs());
        // NaN would lose every max
        let apart = apart.map(|d| if d.is_nan() { f64::INFINITY } else { d });
        apart.fold(0.0, f64::max) / largest
    }
}

fn aoc() -> Construction {
    Construction::Aoc(Orthogonaliser::Bjorck)
}

/// All layers.
pub fn layers() -> Vec<Layer> {
    let mut all = convolutions();
    all.extend(without_weights());
    all.extend(compositions());
    all
}

fn convolutions() -> Vec<Layer> {
    let base = |construction| Conv {
        construction,
        ..Conv::same("conv", 4, 4, 3)
    };
    let orthogonal = |name, conv: Conv| Layer {
        name,
        channels: conv.input,
        nodes: vec![Node::Conv(conv)],
        tight: true,
        orthogonal: true,
        rescaled: false,
    };
    let circular = |conv: Conv| Conv {
        wrap: Wrap::Circular,
        ..conv
    };
    let mut all = vec![
        orthogonal("1x1", Conv::same("conv", 4, 6, 1)).with(aoc()),
        orthogonal("BCOP", circular(base(aoc()))),
        orthogonal(
            "BCOP widening",
            circular(Conv {
                out: 6,
                ..base(aoc())
            }),
        ),
        orthogonal(
            "BCOP narrowing",
            circular(Conv {
                input: 6,
                ..base(aoc())
            }),
        ),
        orthogonal(
            "BCOP 5x5 dilated",
            circular(Conv {
                kernel: 5,
                dilation: 2,
                padding: 4,
                ..base(aoc())
            }),
        ),
        orthogonal(
            "BCOP groups",
            circular(Conv {
                groups: 2,
                ..base(aoc())
            }),
        ),
        orthogonal(
            "RKO 2x2 stride 2",
            Conv {
                kernel: 2,
                stride: 2,
                padding: 0,
                out: 8,
                ..circular(base(aoc()))
            },
        ),
        orthogonal(
            "AOC 3x3 stride 2",
            circular(Conv {
                stride: 2,
                out: 16,
                ..base(aoc())
            }),
        ),
        orthogonal(
            "AOC 4x4 stride 2",
            circular(Conv {
                kernel: 4,
                stride: 2,
                out: 8,
                ..base(aoc())
            }),
        ),
        orthogonal(
            "AOC 3x3 stride 2 to few",
            circular(Conv {
                stride: 2,
                input: 3,
                out: 8,
                ..base(aoc())
            }),
        ),
        orthogonal(
            "AOC transposed 2x2",
            Conv {
                kernel: 2,
                stride: 2,
                padding: 0,
                out: 2,
                transposed: true,
                ..base(aoc())
            },
        ),
        orthogonal(
            "AOC transposed 4x4",
            Conv {
                kernel: 4,
                stride: 2,
                padding: 0,
                out: 2,
                input: 8,
                transposed: true,
                ..base(aoc())
            },
        ),
    ];
    all.push(Layer {
        orthogonal: false,
        ..orthogonal("BCOP zeros", base(aoc()))
    });
    all.push(Layer {
        orthogonal: false,
        ..orthogonal(
            "BCOP valid",
            Conv {
                padding: 0,
                ..base(aoc())
            },
        )
    });
    all.push(Layer {
        orthogonal: false,
        ..orthogonal(
            "AOC 3x3 stride 2 zeros",
            Conv {
                stride: 2,
                out: 8,
                ..base(aoc())
            },
        )
    });
    all.push(Layer {
        orthogonal: false,
        ..orthogonal(
            "scaled with bias",
            Conv {
                scale: 1.5,
                bias: true,
                ..base(aoc())
            },
        )
    });
    for (name, by) in [
        ("Cholesky", Orthogonaliser::Cholesky),
        ("QR", Orthogonaliser::Qr),
        ("Cayley", Orthogonaliser::Cayley),
        ("exponential", Orthogonaliser::Exponential),
        ("Newton-Schulz", Orthogonaliser::NewtonSchulz),
    ] {
        all.push(orthogonal(name, circular(base(Construction::Aoc(by)))));
    }
    let bounded = |name, tight, rescaled, conv: Conv| Layer {
        orthogonal: false,
        tight,
        rescaled,
        ..orthogonal(name, conv)
    };
    all.push(bounded(
        "spectral",
        true,
        true,
        base(Construction::Spectral),
    ));
    all.push(bounded(
        "spectral stride 2 groups",
        false,
        true,
        Conv {
            stride: 2,
            groups: 2,
            ..base(Construction::Spectral)
        },
    ));
    all.push(bounded(
        "spectral transposed",
        false,
        true,
        Conv {
            kernel: 2,
            stride: 2,
            padding: 0,
            transposed: true,
            ..base(Construction::Spectral)
        },
    ));
    all.push(bounded("AOL", false, false, base(Construction::Aol)));
    all.push(bounded(
        "SOC",
        true,
        true,
        Conv {
            kernel: 7,
            padding: 3,
            ..base(Construction::Soc { terms: 3 })
        },
    ));
    all.push(
        bounded("unit rows", true, false, Conv::same("conv", 4, 3, 1)).with(Construction::UnitRows),
    );
    all.push(bounded("free", true, false, base(Construction::Free)));
    all.push(bounded(
        "free 1x1",
        true,
        false,
        Conv {
            padding: 0,
            kernel: 1,
            ..base(Construction::Free)
        },
    ));
    all
}

impl Layer {
    fn with(mut self, construction: Construction) -> Self {
        if let Some(Node::Conv(conv)) = self.nodes.first_mut() {
            conv.construction = construction;
        }
        self
    }
}

fn plain(name: &'static str, channels: usize, tight: bool, nodes: Vec<Node>) -> Layer {
    Layer {
        name,
        channels,
        nodes,
        tight,
        orthogonal: false,
        rescaled: false,
    }
}

fn without_weights() -> Vec<Layer> {
    let one = |name, channels, tight, node| plain(name, channels, tight, vec![node]);
    let pool = |kind, size, stride| Node::Pool { kind, size, stride };
    vec![
        one(
            "normalize",
            3,
            true,
            Node::Normalize {
                mean: vec![0.4; 3],
                std: vec![0.5, 0.25, 0.3],
            },
        ),
        one("max_min", 4, true, Node::MaxMin),
        one("group_sort 2", 4, true, Node::GroupSort { size: 2 }),
        one("full_sort", 4, true, Node::GroupSort { size: 4 }),
        one(
            "householder",
            4,
            true,
            Node::HouseHolder {
                name: "angle".into(),
                channels: 4,
            },
        ),
        one("abs", 3, true, Node::Abs),
        one("relu", 3, true, Node::Relu),
        one(
            "center",
            3,
            true,
            Node::Center {
                name: "center".into(),
                channels: 3,
            },
        ),
        one(
            "shift",
            3,
            true,
            Node::Shift {
                name: "shift".into(),
                channels: 3,
            },
        ),
        one("average pool", 2, true, pool(Pooling::Average, 2, 2)),
        one(
            "average pool overlapping",
            2,
            false,
            pool(Pooling::Average, 3, 2),
        ),
        one("l2 pool", 2, true, pool(Pooling::L2, 2, 2)),
        one("max pool", 2, true, pool(Pooling::Max, 2, 2)),
        one("max pool overlapping", 2, false, pool(Pooling::Max, 3, 2)),
        one("image mean", 3, true, Node::ImageMean),
        one(
            "image max",
            3,
            true,
            Node::ImageMax {
                spread: Spread::Full,
            },
        ),
        one(
            "image max shared",
            3,
            true,
            Node::ImageMax {
                spread: Spread::Even,
            },
        ),
        one("pixel_shuffle", 8, true, Node::PixelShuffle { factor: 2 }),
        one(
            "pixel_unshuffle",
            2,
            true,
            Node::PixelUnshuffle { factor: 2 },
        ),
        one(
            "nearest",
            2,
            true,
            Node::Upsample {
                kind: Resampling::Nearest,
                factor: 3,
            },
        ),
        one(
            "bilinear",
            2,
            true,
            Node::Upsample {
                kind: Resampling::Bilinear,
                factor: 2,
            },
        ),
    ]
}

fn compositions() -> Vec<Layer> {
    let conv = |name: &str, input, out| {
        Node::Conv(Conv {
            construction: aoc(),
            ..Conv::same(name, input, out, 3)
        })
    };
    let residual = |construction| {
        vec![Node::Residual(Conv {
            bias: true,
            construction,
            ..Conv::same("block", 4, 6, 3)
        })]
    };
    let sum = |mix| {
        vec![Node::Sum {
            name: "sum".into(),
            branches: vec![Vec::new(), vec![conv("f", 4, 4), Node::MaxMin]],
            mix,
        }]
    };
    let branches = vec![
        vec![conv("a", 4, 4)],
        vec![conv("b", 4, 2)],
        vec![Node::Abs],
    ];
    let scale = 1.0 / 3f32.sqrt();
    let part = |nodes| Part { channels: 2, nodes };
    vec![
        plain("reflect", 4, true, residual(aoc())),
        plain("SLL", 4, true, residual(Construction::Aol)),
        Layer {
            rescaled: true,
            ..plain("CPL", 4, true, residual(Construction::Spectral))
        },
        plain("averaged", 4, false, sum(Mix::Even)),
        plain("learned", 4, false, sum(Mix::Learned)),
        plain(
            "prescaled",
            4,
            false,
            vec![Node::Prescaled {
                name: "pre".into(),
                branch: vec![conv("f", 4, 4), Node::MaxMin],
            }],
        ),
        plain("concat", 4, true, vec![Node::Concat { branches, scale }]),
        plain(
            "split",
            4,
            true,
            vec![Node::Split {
                parts: vec![part(vec![conv("f", 2, 2), Node::MaxMin]), part(Vec::new())],
            }],
        ),
        plain(
            "stack",
            4,
            true,
            vec![
                conv("f", 4, 4),
                Node::MaxMin,
                Node::Center {
                    name: "c".into(),
                    channels: 4,
                },
                conv("g", 4, 4),
            ],
        ),
    ]
}
