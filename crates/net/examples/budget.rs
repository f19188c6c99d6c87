//! How much of its Lipschitz budget an untrained network keeps (`make budget`): what is lost here is
//! lost for every certificate. Pictures are uniform noise of 64x64; everything is divided by the
//! audited constant L. Columns:
//!
//! - local: the steepest direction at a picture, by power iteration on the Jacobian (from below);
//! - output: ‖f(x)‖ / ‖x − mean‖, the gain of the picture itself;
//! - random: the gain of a random direction;
//! - margin: the median difference of the two largest logits, over √2, the radius of a usual pixel.
//!
//! f64 passes of the baked network, medians of three seeds.

use burn::tensor::{DType, Device, Tensor, TensorData};
use certiseg_net::architecture::{Activation, Architecture, Block, Family, Kernels, Preset};
use certiseg_net::network::{OnDevice, floats};
use certiseg_net::node::on;
use certiseg_net::parameters::Parameters;
use certiseg_net::rng::Rng;

const SIDE: usize = 64;

fn main() {
    let base = Architecture {
        block: Some(Block::Plain),
        classes: 3,
        ..Architecture::default()
    };
    let block = |block| Architecture {
        block: Some(block),
        ..base.clone()
    };
    let family = |family| Architecture {
        family,
        ..base.clone()
    };
    let activation = |activation| Architecture {
        activation: Some(activation),
        ..base.clone()
    };
    let mut table: Vec<(String, Architecture)> = Block::ALL
        .into_iter()
        .map(|b| (format!("S, {b:?}").to_lowercase(), block(b)))
        .collect();
    table.push((
        "s, paper (circular, RMS)".into(),
        Architecture {
            preset: Preset::Paper,
            ..base.clone()
        },
    ));
    table.push((
        "s, spectral kernels".into(),
        Architecture {
            kernels: Kernels::Spectral,
            ..base.clone()
        },
    ));
    for (name, a) in [
        ("group sort", Activation::GroupSort),
        ("householder", Activation::HouseHolder),
        ("abs", Activation::Abs),
        ("relu", Activation::Relu),
    ] {
        table.push((format!("s, plain, {name}"), activation(a)));
    }
    for f in [
        Family::Fcn,
        Family::FcnSkips,
        Family::Unet,
        Family::UnetClassic,
    ] {
        table.push((format!("s, {f:?}").to_lowercase(), family(f)));
        if f == Family::Unet {
            table.push((
                "s, unet, reflection".into(),
                Architecture {
                    block: Some(Block::Reflection),
                    ..family(f)
                },
            ));
        }
    }
    println!(
        "{:<28} {:>9} {:>8} {:>8} {:>8} {:>8}",
        "network", "L", "local", "output", "random", "margin"
    );
    for (name, settings) in table {
        let nodes = settings
            .resolve(SIDE)
            .expect("settings of the table")
            .nodes();
        let mut rows = Vec::new();
        for seed in 0..3 {
            let network = Parameters::start(&nodes, seed)
                .bake(&nodes)
                .expect("finite start values");
            let lipschitz = network.audit(SIDE, SIDE).expect("a bound").lipschitz;
            let device = Device::flex().autodiff();
            let net = network.on_device(&device, DType::F64);
            let kept = kept(&net, &device, &mut Rng::new(seed));
            rows.push(
                [
                    vec![lipschitz],
                    kept.iter().map(|k| k / lipschitz).collect(),
                ]
                .concat(),
            );
        }
        let median = |column: usize| {
            let mut values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
            values.sort_by(f64::total_cmp);
            values[1]
        };
        println!(
            "{name:<28} {:>9.5} {:>8.4} {:>8.4} {:>8.4} {:>8.4}",
            median(0),
            median(1),
            median(2),
            median(3),
            median(4)
        );
    }
}

fn norm(x: Tensor<4>) -> f64 {
    let values = floats(x).expect("values of a tensor");
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// local, output, random, margin: before division by L.
fn kept(net: &OnDevice, device: &Device, rng: &mut Rng) -> [f64; 4] {
    let shape = [1, 3, SIDE, SIDE];
    let mut draw = |normal: bool| -> Tensor<4> {
        let count = shape.iter().product();
        let values: Vec<f64> = (0..count)
            .map(|_| if normal { rng.normal() } else { rng.uniform() })
            .collect();
        Tensor::from_data(TensorData::new(values, shape), on(device, DType::F64))
    };
    let x = draw(false);
    let fx = net.forward(x.clone()).detach();
    let output = norm(fx.clone()) / norm(x.clone() - 0.5);
    let (mut local, mut random): (f64, f64) = (0.0, 0.0);
    let mut direction = draw(true);
    /// Small against the distance to the next kink of most channels.
    const STEP: f64 = 1e-4;
    for round in 0..15 {
        let length = norm(direction.clone());
        let moved = (x.clone() + direction.div_scalar(length / STEP)).require_grad();
        let y = net.forward(moved.clone());
        let rise = y.clone().detach() - fx.clone();
        let gain = norm(rise.clone()) / STEP;
        if round == 0 {
            random = gain;
        }
        local = local.max(gain);
        let mut gradients = (y * rise).sum().backward();
        let pulled = moved
            .grad_remove(&mut gradients)
            .expect("the picture has a gradient");
        direction = Tensor::from_data(pulled.into_data(), on(device, DType::F64));
    }
    let values = floats(fx).expect("logits");
    let pixels = SIDE * SIDE;
    let mut margins: Vec<f64> = (0..pixels)
        .map(|at| {
            let mut scores: Vec<f64> = (0..3).map(|k| values[k * pixels + at]).collect();
            scores.sort_by(f64::total_cmp);
            (scores[2] - scores[1]) / 2f64.sqrt()
        })
        .collect();
    margins.sort_by(f64::total_cmp);
    [local, output, random, margins[pixels / 2]]
}
