//! The networks, pictures and figures of the vectors; a linear segmenter on which certificates are
//! tight; a model that records what it is shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use certiseg_net::Result;
use certiseg_net::attack::{Model, Target};
use certiseg_net::network::Network;
use certiseg_net::node::{Conv, Node};
use certiseg_net::rng::Rng;
use safetensors::SafeTensors;
use serde_json::Value;

/// Side of the pictures of the vectors.
pub const SIDE: usize = 32;

/// A file of the vectors of this repository.
pub fn vectors(name: &str) -> Option<Vec<u8>> {
    read("tests/vectors", name)
}

/// A file of `../shared/vectors/attacks`, with what is too large for the repository; `None`, said aloud,
/// where there is none.
pub fn shared(name: &str) -> Option<Vec<u8>> {
    read("../../../shared/vectors/attacks", name)
}

fn read(folder: &str, name: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join(folder).join(name);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(std::fs::read(path).unwrap())
}

/// A tensor of a file, as f32.
pub fn floats(file: &[u8], name: &str) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let data = tensors.tensor(name).unwrap().data().to_vec();
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    data.chunks_exact(4).map(number).collect()
}

/// A network of the vectors: `lip` (MaxMin, L = 1) or `plain` (ReLU).
pub fn network(name: &str) -> Option<Network> {
    let file = vectors(&format!("{name}.safetensors"))?;
    let mut nodes = vec![Node::Normalize {
        mean: vec![0.5; 3],
        std: vec![1.0; 3],
    }];
    let mut tensors = BTreeMap::new();
    let layers = [(3, 24, 3, 1), (24, 24, 3, 2), (24, 24, 3, 4), (24, 4, 1, 1)];
    for (at, (input, out, kernel, dilation)) in layers.into_iter().enumerate() {
        let prefix = format!("convs.{at}");
        for part in ["weight", "bias"] {
            let name = format!("{prefix}.{part}");
            let values = floats(&file, &name);
            tensors.insert(name, values);
        }
        nodes.push(Node::Conv(Conv {
            dilation,
            padding: kernel / 2 * dilation,
            bias: true,
            ..Conv::same(prefix, input, out, kernel)
        }));
        if at < 3 {
            nodes.push(if name == "lip" {
                Node::MaxMin
            } else {
                Node::Relu
            });
        }
    }
    Some(Network::new(nodes, tensors).unwrap())
}

/// Pictures and labels.
pub struct Pictures {
    pub images: Vec<Vec<f32>>,
    pub labels: Vec<Vec<u8>>,
    pub side: usize,
}

/// The eight of the vectors.
pub fn pictures() -> Option<Pictures> {
    let file = vectors("data.safetensors")?;
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let labels = tensors.tensor("labels").unwrap().data().to_vec();
    let images = floats(&file, "images");
    Some(Pictures {
        images: images
            .chunks(3 * SIDE * SIDE)
            .map(<[f32]>::to_vec)
            .collect(),
        labels: labels.chunks(SIDE * SIDE).map(<[u8]>::to_vec).collect(),
        side: SIDE,
    })
}

/// `results.json`.
pub fn results() -> Option<Value> {
    Some(serde_json::from_slice(&vectors("results.json")?).unwrap())
}

/// f(x) = x − 0.5 of three channels and classes: L = 1, and flipping pixels costs √(Σ m²/2) exactly.
/// Of two classes, the first two channels: the same.
pub struct Linear {
    pub classes: usize,
}

impl Model for Linear {
    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&self, image: &[f32]) -> Result<Vec<f32>> {
        let used = image.len() / 3 * self.classes;
        Ok(image[..used].iter().map(|x| x - 0.5).collect())
    }

    fn pull(
        &self,
        image: &[f32],
        weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
    ) -> Result<(Vec<f32>, Vec<f64>)> {
        let logits = self.logits(image)?;
        let mut gradient = weights(&logits);
        gradient.resize(image.len(), 0.0);
        Ok((logits, gradient))
    }
}

/// Pictures with colours in [0.3, 0.7], so that no flip meets the box: labels are the largest of the
/// channels, but for 10 % void and 5 % wrong.
pub fn linear_pictures(classes: usize) -> Pictures {
    let side = 16;
    let pixels = side * side;
    let picture = |seed| {
        let mut rng = Rng::new(seed);
        let image: Vec<f32> = (0..3 * pixels)
            .map(|_| (0.3 + 0.4 * rng.uniform()) as f32)
            .collect();
        let labels = (0..pixels).map(|at| {
            let value = |class: &usize| image[class * pixels + at];
            let best = (0..classes).max_by(|a, b| f32::total_cmp(&value(a), &value(b)));
            let best = best.unwrap();
            match rng.uniform() {
                u if u < 0.1 => 255,
                u if u < 0.15 => ((best + 1) % classes) as u8,
                _ => best as u8,
            }
        });
        let labels = labels.collect();
        (image, labels)
    };
    let (images, labels) = (0..8).map(picture).unzip();
    Pictures {
        images,
        labels,
        side,
    }
}

/// Keeps every picture that a network is shown.
pub struct Recorder {
    inner: Target,
    pub seen: Mutex<Vec<Vec<f32>>>,
}

impl Recorder {
    pub fn new(network: &Network) -> Self {
        Self {
            inner: Target::new(network, [SIDE, SIDE]),
            seen: Mutex::default(),
        }
    }
}

impl Model for Recorder {
    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn logits(&self, image: &[f32]) -> Result<Vec<f32>> {
        self.seen.lock().unwrap().push(image.to_vec());
        self.inner.logits(image)
    }

    fn pull(
        &self,
        image: &[f32],
        weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
    ) -> Result<(Vec<f32>, Vec<f64>)> {
        self.seen.lock().unwrap().push(image.to_vec());
        self.inner.pull(image, weights)
    }
}
