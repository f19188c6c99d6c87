//! Networks of every kind in ONNX, each beside its own logits and gradient, for other programs to
//! check (`make peers`): onnx_pairs FOLDER [MODEL.safetensors HEIGHT WIDTH]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use certiseg_net::architecture::{
    Activation, Architecture, Block, Centering, Family, Head, Kernels, Preset, Size,
};
use certiseg_net::checkpoint::load_model;
use certiseg_net::network::{Network, floats};
use certiseg_net::node::on;
use certiseg_net::onnx;
use certiseg_net::parameters::Parameters;
use certiseg_net::rng::Rng;
use safetensors::tensor::{Dtype, TensorView};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: onnx_pairs FOLDER [MODEL.safetensors HEIGHT WIDTH]";
    let folder = PathBuf::from(arguments.next().ok_or(usage)?);
    std::fs::create_dir_all(&folder)?;
    let number = |what: Option<String>| {
        what.ok_or(usage)?
            .parse::<usize>()
            .map_err(|e| e.to_string())
    };
    if let Some(model) = arguments.next() {
        let size = [number(arguments.next())?, number(arguments.next())?];
        return write(
            &folder,
            "model",
            &load_model(Path::new(&model))?.network,
            size,
        );
    }
    for (name, settings) in table() {
        let nodes = settings.resolve(32)?.nodes();
        let mut parameters = Parameters::start(&nodes, 7);
        let mut rng = Rng::new(7);
        let all = parameters.raw.values_mut().flatten();
        all.for_each(|x| *x += 0.05 * rng.normal() as f32);
        write(&folder, &name, &parameters.bake(&nodes)?, [32, 48])?;
    }
    Ok(())
}

/// Every family, block, activation, kind of kernels, centering, head and preset.
fn table() -> Vec<(String, Architecture)> {
    let base = || Architecture {
        size: Size::Xs,
        classes: 3,
        ..Architecture::default()
    };
    let mut table = Vec::new();
    let mut add = |name: String, settings| table.push((name.to_lowercase(), settings));
    for block in Block::ALL {
        add(
            format!("block_{block:?}"),
            Architecture {
                block: Some(block),
                ..base()
            },
        );
    }
    for family in [
        Family::Fcn,
        Family::FcnSkips,
        Family::Unet,
        Family::UnetClassic,
    ] {
        add(format!("{family:?}"), Architecture { family, ..base() });
    }
    for kernels in [Kernels::Spectral, Kernels::Unconstrained] {
        add(format!("{kernels:?}"), Architecture { kernels, ..base() });
    }
    for activation in [
        Activation::GroupSort,
        Activation::HouseHolder,
        Activation::Abs,
    ] {
        add(
            format!("{activation:?}"),
            Architecture {
                activation: Some(activation),
                ..base()
            },
        );
    }
    for head in [Head::UnitRows, Head::Free] {
        add(
            format!("{head:?}"),
            Architecture {
                head: Some(head),
                ..base()
            },
        );
    }
    add(
        "center_layer".into(),
        Architecture {
            centering: Some(Centering::Layer),
            ..base()
        },
    );
    add(
        "paper".into(),
        Architecture {
            preset: Preset::Paper,
            rates: vec![1, 2],
            ..base()
        },
    );
    add(
        "size_s".into(),
        Architecture {
            size: Size::S,
            ..base()
        },
    );
    table
}

/// NAME.onnx and NAME.safetensors: image, logits, a direction, and the gradient of their product.
fn write(
    folder: &Path,
    name: &str,
    network: &Network,
    [height, width]: [usize; 2],
) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::write(folder.join(format!("{name}.onnx")), onnx::export(network)?)?;
    let device = Device::flex().autodiff();
    let net = network.on_device(&device, DType::F32);
    let mut rng = Rng::new(1);
    let image: Vec<f32> = (0..3 * height * width)
        .map(|_| rng.uniform() as f32)
        .collect();
    let x = net.picture(&image, height, width)?.require_grad();
    let logits = net.forward(x.clone());
    let shape = logits.dims();
    let direction: Vec<f32> = (0..shape.iter().product())
        .map(|_| rng.normal() as f32)
        .collect();
    let along = TensorData::new(direction.clone(), shape);
    let along = Tensor::<4>::from_data(along, on(&device, DType::F32));
    let mut gradients = (logits.clone() * along).sum().backward();
    let gradient = x
        .grad_remove(&mut gradients)
        .ok_or("the image has no gradient")?;
    let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
    let picture = [1, 3, height, width];
    let tensors = [
        ("image", picture, image),
        ("logits", shape, single(floats(logits)?)),
        ("direction", shape, direction),
        ("gradient", picture, single(floats(gradient)?)),
    ];
    let bytes: Vec<_> = tensors
        .iter()
        .map(|(name, shape, values)| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (*name, shape.to_vec(), bytes)
        })
        .collect();
    let mut views = HashMap::new();
    for (name, shape, bytes) in &bytes {
        views.insert(*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?);
    }
    let content = safetensors::serialize(views, None)?;
    std::fs::write(folder.join(format!("{name}.safetensors")), content)?;
    Ok(())
}
