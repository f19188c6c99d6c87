//! A network in ONNX beside our attacks on it, for other programs to check (`make peers`):
//! attack_pairs FOLDER MODEL.safetensors HEIGHT WIDTH [DATA LAYOUT SPLIT] [PICTURES] [STEPS]
//!
//! MODEL.onnx, and MODEL.attacks.safetensors: `image`, `labels`, `logits`, budgets `eps`, wrong pixels
//! allowed by the certificate `certified` (P, E), and per attack the attacked pictures
//! `attacked.NAME` (P, E, 3, H, W) with our count of wrong pixels `wrong.NAME` (P, E). Pictures are
//! generated shapes where no data is named.

use std::collections::HashMap;
use std::path::Path;

use certiseg_cert::{Budget, Image, Metric};
use certiseg_net::attack::pgd::{Pgd, pgd};
use certiseg_net::attack::{Attack, Ball, Criterion, Duel, Goal, Scene, Target};
use certiseg_net::checkpoint::load_model;
use certiseg_net::data::{LoadSettings, Sample, VOID, list, load, shapes};
use certiseg_net::network::Network;
use certiseg_net::onnx;
use certiseg_net::rng::Rng;
use safetensors::tensor::{Dtype, TensorView};

const EPS: [f64; 4] = [0.1, 0.25, 0.5, 1.0];
/// Those of paper 001's protocol, and others.
const METHODS: [&str; 6] = ["pdgd", "pdpgd", "dag", "asma", "alma", "ddn"];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage =
        "usage: attack_pairs FOLDER MODEL HEIGHT WIDTH [DATA LAYOUT SPLIT] [PICTURES] [STEPS]";
    let [folder, model, height, width, rest @ ..] = &arguments[..] else {
        return Err(usage.into());
    };
    let size = [height.parse()?, width.parse()?];
    let (data, rest) = match rest {
        [data, layout, split, rest @ ..] => (Some((data, layout, split)), rest),
        rest => (None, rest),
    };
    let number = |at: usize, other: usize| rest.get(at).map_or(Ok(other), |n| n.parse());
    let (pictures, steps) = (number(0, 4)?, number(1, 100)?);
    let model = Path::new(model);
    let network = load_model(model)?.network;
    let samples = match data {
        None => shapes(1, pictures, size[0]),
        Some((data, layout, split)) => {
            let mut entries = list(Path::new(data), layout.parse()?, Some(split))?;
            entries.truncate(pictures);
            let settings = LoadSettings::new(size[0], size[1], network.classes());
            load(&entries, &settings, &|_, _| {})?
        }
    };
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    let name = model.file_stem().ok_or(usage)?.to_string_lossy();
    std::fs::write(folder.join(format!("{name}.onnx")), onnx::export(&network)?)?;
    let (tensors, lipschitz) = attack(&network, &samples, size, steps)?;
    let mut views = HashMap::new();
    for (name, (dtype, shape, bytes)) in &tensors {
        views.insert(
            name.as_str(),
            TensorView::new(*dtype, shape.clone(), bytes)?,
        );
    }
    let about = HashMap::from([
        ("lipschitz".to_owned(), lipschitz.to_string()),
        ("steps".to_owned(), steps.to_string()),
    ]);
    let content = safetensors::serialize(views, Some(about))?;
    std::fs::write(folder.join(format!("{name}.attacks.safetensors")), content)?;
    Ok(())
}

type Tensors = HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn attack(
    network: &Network,
    samples: &[Sample],
    size: [usize; 2],
    steps: usize,
) -> Outcome<(Tensors, f64)> {
    let [height, width] = size;
    let (certifier, target) = (
        network.certifier(height, width)?,
        Target::new(network, size),
    );
    let mut floats: HashMap<String, Vec<f32>> = HashMap::new();
    let mut counts: HashMap<String, Vec<i64>> = HashMap::new();
    let mut labels = Vec::new();
    for sample in samples {
        let image = sample.image_f32();
        let mask = sample.mask.as_deref().ok_or("a picture has no mask")?;
        let logits = certifier.logits(&image)?;
        let premises = certifier.premises(logits.eta)?;
        let judged = Image::new(logits.grid, &logits.values, Some(mask), Some(VOID))?;
        let margins = certifier.margins(&judged, &premises)?;
        let certificate = Metric::Accuracy.certify(&margins)?.ok_or("all is void")?;
        let scene = Scene::new(&image, mask, size)?;
        let duel = Duel::new(&target, scene, &Criterion::Metric(Metric::Accuracy))?;
        let mut allowed = Vec::new();
        for eps in EPS {
            let worst = certificate.worst(Budget::new(eps)?);
            let right = worst.share().ok_or("no share")?.numerator as usize;
            allowed.push(duel.aim.wishes.len() - right);
        }
        let mut keep = |name: &str, image: &[f32], wrong: usize| {
            let name = |what: &str| format!("{what}.{name}");
            floats.entry(name("attacked")).or_default().extend(image);
            counts.entry(name("wrong")).or_default().push(wrong as i64);
        };
        for eps in EPS {
            let settings = Pgd {
                steps,
                ..Pgd::default()
            };
            let attacked = pgd(&duel, &Ball::l2(eps)?, &settings, &mut Rng::new(0))?;
            keep("pgd", &attacked.image, attacked.adversarial);
        }
        for method in METHODS {
            let Attack::Minimal(settings) = Attack::named(method, Some(steps))? else {
                return Err(format!("{method} looks for no smallest change").into());
            };
            for (&count, eps) in allowed.iter().zip(EPS) {
                let goal = Goal::count(&duel.aim, count)?;
                let ball = Ball::l2(eps)?;
                let attacked = settings.within(&duel, &ball, goal, &mut Rng::new(0))?;
                keep(method, &attacked.image, attacked.adversarial);
            }
        }
        let allowed = allowed.iter().map(|&count| count as i64);
        counts
            .entry("certified".into())
            .or_default()
            .extend(allowed);
        floats.entry("image".into()).or_default().extend(&image);
        floats
            .entry("logits".into())
            .or_default()
            .extend(&logits.values);
        labels.extend_from_slice(mask);
        println!("{} done", sample.id);
    }
    let (pictures, budgets) = (samples.len(), EPS.len());
    let mut tensors = Tensors::new();
    for (name, values) in floats {
        let shape = match name.as_str() {
            "image" => vec![pictures, 3, height, width],
            "logits" => vec![pictures, network.classes(), height, width],
            _ => vec![pictures, budgets, 3, height, width],
        };
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.insert(name, (Dtype::F32, shape, bytes));
    }
    for (name, values) in counts {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.insert(name, (Dtype::I64, vec![pictures, budgets], bytes));
    }
    tensors.insert(
        "labels".into(),
        (Dtype::U8, vec![pictures, height, width], labels),
    );
    let eps = EPS.iter().flat_map(|x| x.to_le_bytes()).collect();
    tensors.insert("eps".into(), (Dtype::F64, vec![budgets], eps));
    Ok((tensors, certifier.lipschitz()))
}
