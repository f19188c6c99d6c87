//! Passes against vectors, and what files and callers may do wrong.

use std::collections::BTreeMap;

use serde_json::Value;

use super::abstraction::{Featured, abstraction, interpolated};
use super::layer::{Layer, Mlp, Norm, Plain};
use super::*;
use crate::cloud::geometry::tests::{cases, points};
use crate::cloud::geometry::{balls, farthest, three_nearest};

fn floats(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(floats).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

/// (rows, columns) to (columns, rows).
fn turned(rows: usize, values: &[f64]) -> Vec<f64> {
    let columns = values.len() / rows;
    let of = |column: usize| (0..rows).map(move |row| values[row * columns + column]);
    (0..columns).flat_map(of).collect()
}

fn mlp(layers: &Value) -> Mlp<f64> {
    let layer = |layer: &Value| {
        let of = |name: &str| floats(&layer[name]);
        let [gain, shift, mean, variance] = ["gamma", "beta", "mean", "var"].map(of);
        let plain = Plain {
            kernel: of("weight"),
            bias: of("bias"),
        };
        let norm = Norm {
            gain: &gain,
            shift: &shift,
            mean: &mean,
            variance: &variance,
        };
        Layer::new(&plain.normalised(&norm), true)
    };
    Mlp(layers.as_array().unwrap().iter().map(layer).collect())
}

/// Tolerance of the vectors, relative to the largest.
fn differ(got: &[f64], want: &[f64]) -> bool {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1.0, |most: f64, v| most.max(v.abs()));
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-10 * largest;
    !got.iter().zip(want).all(near)
}

#[test]
fn abstraction_and_propagation_equal_the_vectors() {
    for case in &cases() {
        let of = |name: &str| case[name].as_u64().unwrap() as usize;
        let from = Featured {
            points: points(&case["points"]),
            features: turned(
                case["points"].as_array().unwrap().len(),
                &floats(&case["points"]),
            ),
        };
        let count = from.points.len();
        let centres = from
            .points
            .select(&farthest(&from.points, of("fps_start"), of("fps_count")));
        let groups = balls(
            &from.points,
            &centres,
            case["radius"].as_f64().unwrap(),
            of("nsample"),
        );
        let first = case["order"] == "msg";
        let layers = mlp(&case["sa_layers"]);
        let features = abstraction(&from, &centres, &groups, first, &layers);
        let want = turned(centres.len(), &floats(&case["sa_features"]));
        assert!(!differ(&features, &want), "{}", case["id"]);
        let other = abstraction(&from, &centres, &groups, !first, &layers);
        assert!(differ(&other, &want), "the order of the channels is seen");

        let near = three_nearest(&from.points, &centres);
        let mut joined = from.features;
        joined.extend(interpolated(&near, centres.len(), &features));
        let got = mlp(&case["fp_layers"]).apply(count, joined);
        let want = turned(count, &floats(&case["fp_features"]));
        assert!(!differ(&got, &want), "{}", case["id"]);
    }
}

/// The numbers of `reference/point_networks.py`.
fn hashed(number: u64, count: usize) -> Vec<f32> {
    let value = |at: u64| {
        let mut x = at * 0x9e37_79b9 + number * 0x3c6e_f372;
        for (shift, factor) in [(16, 0x85eb_ca6b), (13, 0xc2b2_ae35)] {
            x &= 0xffff_ffff;
            x ^= x >> shift;
            x *= factor;
        }
        x &= 0xffff_ffff;
        x ^= x >> 16;
        (x % 4096) as f32 / 2048.0 - 1.0
    };
    (0..count as u64).map(value).collect()
}

fn rows(number: u64, count: usize) -> Vec<[f32; 3]> {
    hashed(number, 3 * count).as_chunks().0.to_vec()
}

/// As that file makes them.
fn weights(settings: Settings) -> Weights {
    let mut tensors = BTreeMap::new();
    let mut number = 0;
    let mut next = |count: usize, by: &dyn Fn(f32) -> f32| -> Vec<f32> {
        number += 1;
        hashed(number, count).into_iter().map(by).collect()
    };
    for slot in settings.blocks().into_iter().flatten() {
        let unit = 0.5f32.powi(((slot.input as f64).log2() / 2.0).floor() as i32);
        let name = &slot.name;
        tensors.insert(
            format!("{name}.weight"),
            next(slot.out * slot.input, &|v| v * unit),
        );
        tensors.insert(format!("{name}.bias"), next(slot.out, &|v| v));
        if let Some(norm) = &slot.norm {
            let quarter = |v: f32| v / 4.0;
            tensors.insert(
                format!("{norm}.weight"),
                next(slot.out, &|v| 1.0 + quarter(v)),
            );
            tensors.insert(format!("{norm}.bias"), next(slot.out, &quarter));
            tensors.insert(format!("{norm}.running_mean"), next(slot.out, &quarter));
            tensors.insert(
                format!("{norm}.running_var"),
                next(slot.out, &|v| 1.0 + v / 2.0),
            );
        }
    }
    Weights::new(settings, tensors).unwrap()
}

fn wide(rows: &[[f32; 3]]) -> Vec<[f64; 3]> {
    rows.iter().map(|row| row.map(f64::from)).collect()
}

fn networks() -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/point_networks.json"
    );
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(Some(cases.len() as u64), file["header"]["count"].as_u64());
    cases.clone()
}

fn settings_of(case: &Value) -> Settings {
    let of = |name: &str| case[name].as_u64().unwrap() as usize;
    let named = |kind: &Kind| case["kind"] == format!("{kind:?}");
    Settings {
        kind: Kind::ALL.into_iter().find(named).unwrap(),
        channels: of("channels"),
        categories: of("categories"),
        parts: of("parts"),
    }
}

#[test]
fn networks_equal_the_vectors() {
    for case in networks() {
        let settings = settings_of(&case);
        let of = |name: &str| case[name].as_u64().unwrap() as usize;
        let weights = weights(settings);
        let (points, normals) = (rows(1000, of("points")), rows(1001, of("points")));
        let (category, start) = (of("category") as u8, of("start"));
        let double = PointNetwork::<f64>::new(&weights);
        let scores = |category, start| {
            double
                .evaluate(&wide(&points), &wide(&normals), category, start)
                .unwrap()
        };
        let got = scores(category, start);
        let want = floats(&case["scores"]);
        assert!(!differ(&got[..want.len()], &want), "{settings:?}");
        let mean = got.iter().sum::<f64>() / got.len() as f64;
        assert!(
            !differ(&[mean], &[case["mean"].as_f64().unwrap()]),
            "{settings:?}"
        );
        // what else it is told makes a difference
        if settings.categories > 0 {
            assert!(differ(&scores(category - 1, start)[..want.len()], &want));
        }
        if settings.kind != Kind::PointNet && points.len() > 512 {
            assert!(differ(&scores(category, start + 1)[..want.len()], &want));
        }

        let single = PointNetwork::<f32>::new(&weights);
        let got = single.scores(&points, &normals, category, start).unwrap();
        let far = got
            .iter()
            .zip(&want)
            .map(|(a, b)| (f64::from(*a) - b).abs());
        assert!(far.fold(0.0, f64::max) < 1e-4, "{settings:?}");
        // the same bits again, and on one thread
        let alone = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let again = alone
            .install(|| single.scores(&points, &normals, category, start))
            .unwrap();
        assert_eq!(got, again);
    }
}

/// Four parts of two categories, without normals.
fn small(kind: Kind) -> Settings {
    Settings {
        kind,
        channels: 3,
        categories: 2,
        parts: 4,
    }
}

#[test]
fn a_file_comes_back_and_says_which_network_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    for kind in Kind::ALL {
        for channels in [3, 6] {
            let settings = Settings {
                channels,
                ..small(kind)
            };
            let weights = Weights::random(settings, 5).unwrap();
            weights.save(&path).unwrap();
            let back = Weights::load(&path).unwrap();
            assert_eq!((back.settings(), &back), (settings, &weights));
            assert_eq!(back.identity(), weights.identity());
            assert_ne!(
                back.identity(),
                Weights::random(settings, 6).unwrap().identity()
            );
        }
    }
}

/// A file as PyTorch writes it: kernels with sides of 1, counters of batches.
fn file(weights: &Weights, change: impl Fn(&str, &mut Vec<usize>, &mut Vec<u8>)) -> Vec<u8> {
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    weights.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let mut all = vec![(
        "sa1.mlp_bns.0.num_batches_tracked".to_owned(),
        vec![],
        vec![7u8, 0, 0, 0, 0, 0, 0, 0],
    )];
    for (name, view) in whole.iter() {
        let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
        if shape.len() == 2 {
            shape.extend([1, 1]);
        }
        change(name, &mut shape, &mut data);
        all.push((name.to_owned(), shape, data));
    }
    let all: Vec<_> = all
        .into_iter()
        .filter(|(name, ..)| !name.is_empty())
        .collect();
    let views = all
        .iter()
        .filter(|(_, shape, _)| shape != &[0])
        .map(|(name, shape, data)| {
            let dtype = if name.ends_with("tracked") {
                Dtype::I64
            } else {
                Dtype::F32
            };
            (
                name.as_str(),
                TensorView::new(dtype, shape.clone(), data).unwrap(),
            )
        });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn files_of_pytorch_are_read_and_broken_ones_are_not() {
    let weights = Weights::random(small(Kind::Ssg), 1).unwrap();
    assert_eq!(
        Weights::parse(&file(&weights, |_, _, _| {})).unwrap(),
        weights
    );

    let refused = |at: &'static str, change: &dyn Fn(&mut Vec<usize>, &mut Vec<u8>), says: &str| {
        let bytes = file(&weights, |name, shape, data| {
            if name == at {
                change(shape, data);
            }
        });
        let error = Weights::parse(&bytes).unwrap_err();
        assert!(
            matches!(error, Error::Tensor { .. } | Error::NotACheckpoint { .. }),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(says) && (text.contains(at) || at == "sa1.mlp_convs.0.weight"),
            "{text}"
        );
    };
    let gone = |shape: &mut Vec<usize>, data: &mut Vec<u8>| {
        *shape = vec![0];
        data.clear();
    };
    refused("bn1.bias", &gone, "missing");
    refused("sa1.mlp_convs.0.weight", &gone, "stn.conv1.weight");
    let nan =
        |_: &mut Vec<usize>, data: &mut Vec<u8>| data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    refused("conv2.bias", &nan, "NaN at index 0");
    let below =
        |_: &mut Vec<usize>, data: &mut Vec<u8>| data[..4].copy_from_slice(&(-1f32).to_le_bytes());
    refused("bn1.running_var", &below, "variance");
    refused(
        "sa2.mlp_convs.2.weight",
        &|shape, _| shape.swap(0, 1),
        "expected [256, 128]",
    );
}

#[test]
fn callers_are_told_what_is_wrong() {
    let network = PointNetwork::<f32>::new(&Weights::random(small(Kind::Msg), 1).unwrap());
    let cloud = rows(1000, 20);
    let refused = |points: &[[f32; 3]], category, start, field: &str| {
        let error = network.scores(points, &[], category, start).unwrap_err();
        assert!(
            matches!(&error, Error::Setting { field: of, .. } if of == field),
            "{error}"
        );
    };
    assert_eq!(network.scores(&cloud, &[], 1, 19).unwrap().len(), 20 * 4);
    refused(&[], 0, 0, "points");
    refused(&[[0.0, f32::NAN, 0.0]], 0, 0, "points");
    refused(&cloud, 2, 0, "category");
    refused(&cloud, 0, 20, "start");
    let settings = Settings {
        channels: 6,
        ..small(Kind::PointNet)
    };
    let network = PointNetwork::<f32>::new(&Weights::random(settings, 1).unwrap());
    let error = network.scores(&cloud, &cloud[1..], 0, 0).unwrap_err();
    assert!(error.to_string().starts_with("normals is 19"), "{error}");
    assert_eq!((network.classes(), network.identity().len()), (4, 64));
}
