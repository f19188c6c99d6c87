//! Reference vectors, by scipy, statsmodels and mpmath (headers in the files), and the laws of smoothing.

mod grid;
mod multiple;
mod planted;
mod power;
mod simulation;
mod tables;
mod verdicts;

use serde_json::Value;

/// A file of `tests/vectors/smoothing`.
fn vectors(name: &str) -> Value {
    let path = format!(
        "{}/tests/vectors/smoothing/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// The rows or cases, as many as the header says.
fn items(name: &str) -> Vec<Value> {
    let file = vectors(name);
    let items = file
        .get("rows")
        .or(file.get("cases"))
        .unwrap()
        .as_array()
        .unwrap();
    assert_eq!(
        items.len() as u64,
        file["header"]["count"].as_u64().unwrap(),
        "{name}"
    );
    items.clone()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn whole(value: &Value) -> usize {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no whole number")) as usize
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn wholes(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| whole(v) as u64)
        .collect()
}

fn bits(value: &Value) -> Vec<bool> {
    value.as_str().unwrap().bytes().map(|b| b == b'1').collect()
}

/// Within a tolerance, relative.
fn close(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= tolerance * want.abs()
}

/// A generator for tests: SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[test]
fn the_comparison_sees_planted_errors() {
    assert!(close(1.0 + 1e-13, 1.0, 1e-12) && close(-2.0, -2.0, 0.0));
    for planted in [1.001, 1.0 + 1e-11, -1.0, 0.0, f64::NAN, f64::INFINITY] {
        assert!(!close(planted, 1.0, 1e-12), "{planted}");
    }
    assert!(!close(1e-300, 0.0, 1e-12));
}
