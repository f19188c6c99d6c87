//! The attack vectors of this folder, see its README.

#![allow(dead_code, reason = "every test uses some of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use certiseg_net::network::Network;
use certiseg_net::node::{Conv, Node};
use safetensors::SafeTensors;
use serde_json::Value;

/// Side of the pictures.
pub const SIDE: usize = 32;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

/// A JSON file of the folder.
pub fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

/// A list of numbers of a JSON file.
pub fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap();
    list.iter().map(|number| number.as_f64().unwrap()).collect()
}

/// `lip` or `plain`.
pub fn network(name: &str) -> Network {
    let content = std::fs::read(path(&format!("{name}.safetensors"))).unwrap();
    let tensors = SafeTensors::deserialize(&content).unwrap();
    let tensors: BTreeMap<String, Vec<f32>> = tensors
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, floats(tensor.data())))
        .collect();
    let mut nodes = vec![Node::Normalize {
        mean: vec![0.5; 3],
        std: vec![1.0; 3],
    }];
    for (at, dilation) in [1, 2, 4, 0].into_iter().enumerate() {
        let [input, out] = [if at == 0 { 3 } else { 24 }, if at == 3 { 4 } else { 24 }];
        let kernel = if at == 3 { 1 } else { 3 };
        nodes.push(Node::Conv(Conv {
            dilation: dilation.max(1),
            padding: dilation,
            bias: true,
            ..Conv::same(format!("convs.{at}"), input, out, kernel)
        }));
        match (at, name) {
            (3, _) => {}
            (_, "lip") => nodes.push(Node::MaxMin),
            _ => nodes.push(Node::Relu),
        }
    }
    Network::new(nodes, tensors).unwrap()
}

/// A tensor of f32 of a file of the folder.
pub fn tensor(file: &str, name: &str) -> Vec<f32> {
    let content = std::fs::read(path(file)).unwrap();
    let tensors = SafeTensors::deserialize(&content).unwrap();
    floats(tensors.tensor(name).unwrap().data())
}

/// Which numbers of a tensor `thinned.safetensors` has, and of a change `trace_more.safetensors`: those whose
/// place this divides.
pub const EVERY: usize = 17;

/// What an error of rounding may grow to over so many steps: absolute, as x + δ is rounded to f32,
/// and relative. Two implementations of the library's own authors' formulas stay within it.
pub fn tolerance(step: usize, length: f64) -> f64 {
    match step {
        ..=5 => 2e-6 + 1e-4 * length,
        _ => 1e-5 + 1e-3 * length,
    }
}

/// Pictures (3, H, W) with their labels (H, W).
pub fn pictures() -> Vec<(Vec<f32>, Vec<u8>)> {
    let content = std::fs::read(path("data.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&content).unwrap();
    let images = floats(tensors.tensor("images").unwrap().data());
    let labels = tensors.tensor("labels").unwrap().data();
    let pixels = SIDE * SIDE;
    images
        .chunks(3 * pixels)
        .zip(labels.chunks(pixels))
        .map(|(image, labels)| (image.to_vec(), labels.to_vec()))
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}
