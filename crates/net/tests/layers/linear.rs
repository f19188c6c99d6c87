//! Linear layers as matrices: the bound is the norm, orthogonal layers are orthogonal.

use burn::tensor::{DType, Device, Tensor, TensorData};
use certiseg_net::network::{OnDevice, floats};
use certiseg_net::node::{Node, on};

use super::table::{Layer, layers};

/// Columns of the linear part, and the number of rows.
fn matrix(net: &OnDevice, shape: [usize; 4]) -> (Vec<Vec<f64>>, usize) {
    let device = Device::flex();
    let count: usize = shape.iter().product();
    let run = |values: Vec<f64>| {
        let x = Tensor::from_data(TensorData::new(values, shape), on(&device, DType::F64));
        floats(net.forward(x)).unwrap()
    };
    let offset = run(vec![0.0; count]);
    let columns = (0..count).map(|at| {
        let mut unit = vec![0.0; count];
        unit[at] = 1.0;
        run(unit).iter().zip(&offset).map(|(a, b)| a - b).collect()
    });
    (columns.collect(), offset.len())
}

/// The Gram matrix of the smaller side.
fn gram(columns: &[Vec<f64>], rows: usize) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    if columns.len() <= rows {
        let row = |a: &Vec<f64>| columns.iter().map(|b| dot(a, b)).collect();
        return columns.iter().map(row).collect();
    }
    let transposed: Vec<Vec<f64>> = (0..rows)
        .map(|r| columns.iter().map(|c| c[r]).collect())
        .collect();
    gram(&transposed, columns.len())
}

/// Largest eigenvalue of a Gram matrix, by power iteration: from below.
fn largest(gram: &[Vec<f64>]) -> f64 {
    let mut v: Vec<f64> = (0..gram.len())
        .map(|i| 1.0 + (i as f64 * 0.7).sin())
        .collect();
    let mut value = 0.0;
    for _ in 0..500 {
        let next: Vec<f64> = gram
            .iter()
            .map(|row| row.iter().zip(&v).map(|(a, b)| a * b).sum())
            .collect();
        value = next.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
        v = next.iter().map(|x| x / value).collect();
    }
    value
}

fn convolutions() -> impl Iterator<Item = Layer> {
    layers()
        .into_iter()
        .filter(|layer| matches!(layer.nodes[..], [Node::Conv(_)]))
}

/// Rounding of f64 sums of a few hundred terms.
const F64: f64 = 1e-12;

#[test]
fn the_norm_of_the_matrix_is_at_most_its_bound() {
    for layer in convolutions() {
        let net = layer.network(17);
        let device = net.on_device(&Device::flex(), DType::F64);
        for size in [[8, 8], [7, 5]] {
            let Some([height, width]) = layer.fits(size) else {
                continue;
            };
            let (columns, rows) = matrix(&device, [1, layer.channels, height, width]);
            let norm = largest(&gram(&columns, rows)).sqrt();
            let bound = certiseg_cert::audit(&net.description(), height, width)
                .unwrap()
                .lipschitz;
            assert!(norm <= bound * (1.0 + F64), "{} {norm} {bound}", layer.name);
            if layer.orthogonal {
                assert!(
                    bound <= 1.01 * norm,
                    "{}: {bound} is no tight bound of {norm}",
                    layer.name
                );
            }
        }
    }
}

/// Kernels are rounded to f32: entries of order 0.3 are off by 1e-8, tens of them are summed.
const ROUNDED: f64 = 1e-5;

#[test]
fn orthogonal_layers_are_orthogonal() {
    for layer in convolutions().filter(|layer| layer.orthogonal) {
        let net = layer.network(19);
        let device = net.on_device(&Device::flex(), DType::F64);
        let [height, width] = layer.fits([8, 8]).unwrap();
        let (columns, rows) = matrix(&device, [1, layer.channels, height, width]);
        for (i, row) in gram(&columns, rows).iter().enumerate() {
            for (j, &value) in row.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                assert!(
                    (value - expected).abs() < ROUNDED,
                    "{} {i} {j} {value}",
                    layer.name
                );
            }
        }
    }
}

#[test]
fn largest_and_gram_see_a_known_matrix() {
    // [3 0; 0 4; 0 0]: norm 4
    let columns = vec![vec![3.0, 0.0, 0.0], vec![0.0, 4.0, 0.0]];
    assert!((largest(&gram(&columns, 3)).sqrt() - 4.0).abs() < F64);
    let wide = vec![vec![3.0], vec![4.0]];
    assert!((largest(&gram(&wide, 1)).sqrt() - 5.0).abs() < F64);
}
