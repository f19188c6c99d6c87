//! What the tests of the command line share.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod smooth;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Runs the program.
pub fn certiseg(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_certiseg"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs the program, expects success, gives standard output.
pub fn stdout(arguments: &[&str]) -> String {
    let output = certiseg(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {message}");
    String::from_utf8(output.stdout).unwrap()
}

/// A plain folder of `count` pictures of 32x32 with masks of classes 0 to 2.
pub fn folder_data(dir: &Path, name: &str, count: u8) -> PathBuf {
    let data = dir.join(name);
    fs::create_dir_all(data.join("images")).unwrap();
    fs::create_dir_all(data.join("masks")).unwrap();
    for index in 0..count {
        let image = image::RgbImage::from_fn(32, 32, |x, y| {
            image::Rgb([x as u8 * 8, y as u8 * 8, 40 * index])
        });
        image
            .save(data.join(format!("images/{index}.png")))
            .unwrap();
        let mask = image::GrayImage::from_fn(32, 32, |x, _| image::Luma([(x / 11) as u8]));
        mask.save(data.join(format!("masks/{index}.png"))).unwrap();
    }
    data
}

/// A small model with the weights of its start.
pub fn untrained_model(dir: &Path) -> PathBuf {
    use certiseg_net::architecture::{Architecture, Size};
    use certiseg_net::checkpoint::{Origin, save_model};
    use certiseg_net::train::{State, Train};

    let settings = Train {
        height: 32,
        width: 32,
        network: Architecture {
            size: Size::Xs,
            classes: 3,
            ..Architecture::default()
        },
        ..Train::default()
    };
    let state = State::start(settings).unwrap();
    let path = dir.join("model.safetensors");
    let settings = state.settings.clone();
    let origin = Origin { settings, epoch: 0 };
    save_model(&path, &state.bake().unwrap(), Some(origin)).unwrap();
    path
}

/// Two pixels of two classes, both right.
pub fn logits_npz(dir: &Path) -> PathBuf {
    let path = dir.join("logits.npz");
    let npz = Npz::new().logits([1, 2, 1, 2], &[1.0, 0.0, 0.0, 2.0]);
    npz.labels([1, 1, 2], &[0, 1]).write(&path);
    path
}

/// Arrays for an npz file.
#[derive(Default)]
pub struct Npz {
    logits: Option<([u64; 4], Vec<f32>)>,
    labels: Option<([u64; 3], Vec<i64>)>,
    weight: Option<([u64; 2], Vec<f32>)>,
}

impl Npz {
    /// No array.
    pub fn new() -> Self {
        Self::default()
    }

    /// With `logits` (N, K, H, W), float32.
    pub fn logits(self, shape: [u64; 4], values: &[f32]) -> Self {
        Self {
            logits: Some((shape, values.to_vec())),
            ..self
        }
    }

    /// With `labels` (N, H, W), int64.
    pub fn labels(self, shape: [u64; 3], values: &[i64]) -> Self {
        Self {
            labels: Some((shape, values.to_vec())),
            ..self
        }
    }

    /// With `weight` (K, C), float32: a head.
    pub fn weight(self, shape: [u64; 2], values: &[f32]) -> Self {
        Self {
            weight: Some((shape, values.to_vec())),
            ..self
        }
    }

    /// Writes the file.
    pub fn write(self, path: &Path) {
        let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
        if let Some((shape, values)) = self.logits {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            array(&mut zip, "logits", "<f4", &shape, &bytes);
        }
        if let Some((shape, values)) = self.labels {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            array(&mut zip, "labels", "<i8", &shape, &bytes);
        }
        if let Some((shape, values)) = self.weight {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            array(&mut zip, "weight", "<f4", &shape, &bytes);
        }
        zip.finish().unwrap();
    }
}

/// Writes arrays: name, type, shape and bytes of each.
pub fn save(path: &Path, arrays: &[(&str, &str, &[u64], &[u8])]) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    for (name, kind, shape, bytes) in arrays {
        array(&mut zip, name, kind, shape, bytes);
    }
    zip.finish().unwrap();
}

/// The bytes of an array of a file, without its header.
pub fn bytes_of(path: &Path, name: &str) -> Vec<u8> {
    let mut zip = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut bytes = Vec::new();
    let mut entry = zip.by_name(&format!("{name}.npy")).unwrap();
    entry.read_to_end(&mut bytes).unwrap();
    let header = usize::from(bytes[8]) + 256 * usize::from(bytes[9]);
    bytes.split_off(10 + header)
}

/// One array as NumPy stores it, format version 1.0.
fn array(zip: &mut ZipWriter<fs::File>, name: &str, kind: &str, shape: &[u64], bytes: &[u8]) {
    // a single side needs its comma
    let shape: String = shape.iter().map(|side| format!("{side},")).collect();
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    // magic, version, length and header fill a multiple of 64 bytes
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let header = format!("{header:<width$}\n", width = padded - 1);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file(format!("{name}.npy"), options).unwrap();
    zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
    zip.write_all(&(padded as u16).to_le_bytes()).unwrap();
    zip.write_all(header.as_bytes()).unwrap();
    zip.write_all(bytes).unwrap();
}
