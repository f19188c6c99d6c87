//! Noise on a grid against thresholds of 60 digits, and draws.

use certiseg_cert::smoothing::{GridLaw, Law};
use serde_json::Value;

use crate::{items, number};

fn bits(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn thresholds_probabilities_and_draws() {
    for case in items("grid_noise") {
        let parameter = number(&case["parameter"]);
        let law = match case["law"].as_str().unwrap() {
            "gaussian" => Law::Gaussian { sigma: parameter },
            "laplace" => Law::Laplace { scale: parameter },
            _ => Law::Uniform { width: parameter },
        };
        let grid = GridLaw::new(law, 255).unwrap();
        for pair in case["thresholds"].as_array().unwrap() {
            let j = pair[0].as_i64().unwrap();
            assert_eq!(grid.threshold(j), bits(&pair[1]), "{law}: {j}");
        }
        for pair in case["probabilities"].as_array().unwrap() {
            let j = pair[0].as_i64().unwrap();
            let mass = (grid.threshold(j) - grid.threshold(j - 1)) as f64 / 2f64.powi(64);
            assert!((mass / number(&pair[1]) - 1.0).abs() < 1e-13, "{law}: {j}");
        }
        for pair in case["draws"].as_array().unwrap() {
            let q = i64::from(grid.value(bits(&pair[0])));
            assert_eq!(Some(q), pair[1].as_i64(), "{law}: {}", pair[0]);
        }
    }
}
