//! Label maps under noise for the tests of `smooth`.

use std::path::Path;

use serde_json::Value;

use super::save;

/// JSON lines.
pub fn rows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Maps of 4x5 pixels: 10 that choose and 60 that test, the further to the right the more wrong; the label beside.
pub fn pictures(dir: &Path, count: u64) -> Vec<String> {
    let mut state = 1u64;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let mut paths = Vec::new();
    for picture in 0..count {
        let label = |at: u64| ((at / 7 + picture) % 3) as u8;
        let mut maps = Vec::new();
        for _ in 0..70 {
            for at in 0..20 {
                let wrong = next(100) < 6 * (at % 5);
                maps.push(if wrong { next(3) as u8 } else { label(at) });
            }
        }
        let labels: Vec<i64> = (0..20)
            .map(|at| if at == 3 { -1 } else { label(at).into() })
            .collect();
        let labels: Vec<u8> = labels
            .iter()
            .flat_map(|label| label.to_le_bytes())
            .collect();
        let path = dir.join(format!("p{picture}.npz"));
        let labels = ("labels", "<i8", &[4, 5][..], &labels[..]);
        save(&path, &[("samples", "|u1", &[70, 4, 5], &maps), labels]);
        paths.push(text(&path).to_owned());
    }
    paths
}

/// The verb on these, with more arguments.
pub fn args<'a>(paths: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let paths = paths.iter().map(String::as_str);
    let base = ["--sigma", "0.25", "--ignore", "-1"];
    ["smooth", "--samples"]
        .into_iter()
        .chain(paths)
        .chain(base)
        .chain(more.iter().copied())
        .collect()
}
