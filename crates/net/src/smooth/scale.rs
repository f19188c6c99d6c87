//! Bilinear resizing of real planes, antialiased where they shrink: the weights of [`crate::data::resize`],
//! without its rounding to bytes.

/// First old place and weights of every new one: a triangle as wide as the shrinking factor.
fn windows(old: usize, new: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = old as f64 / new as f64;
    let support = scale.max(1.0);
    let window = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(old);
        let height = |x| (1.0 - ((x as f64 + 0.5 - centre) / support).abs()).max(0.0);
        let total: f64 = (start..end).map(height).sum();
        (
            start,
            (start..end).map(|x| (height(x) / total) as f32).collect(),
        )
    };
    (0..new).map(window).collect()
}

/// Planes (C, H, W) of the size `old` = [H, W] at the size `new`; unchanged where these are equal.
pub(super) fn scaled(planes: &[f32], old: [usize; 2], new: [usize; 2]) -> Vec<f32> {
    if old == new {
        return planes.to_vec();
    }
    let [rows, columns] = [windows(old[0], new[0]), windows(old[1], new[1])];
    let mut narrow = Vec::with_capacity(planes.len() / old[1] * new[1]);
    for row in planes.chunks_exact(old[1]) {
        narrow.extend(columns.iter().map(|(start, weights)| {
            let pairs = row[*start..].iter().zip(weights);
            pairs.fold(0.0, |sum, (value, weight)| sum + value * weight)
        }));
    }
    let mut out = Vec::with_capacity(narrow.len() / old[0] * new[0]);
    for plane in narrow.chunks_exact(old[0] * new[1]) {
        for (start, weights) in &rows {
            let first = out.len();
            out.resize(first + new[1], 0.0);
            let rows = plane[start * new[1]..].chunks_exact(new[1]);
            for (row, weight) in rows.zip(weights) {
                for (sum, value) in out[first..].iter_mut().zip(row) {
                    *sum += value * weight;
                }
            }
        }
    }
    out
}

/// Every row turned round, of planes of this width.
pub(super) fn mirrored(planes: &[f32], width: usize) -> Vec<f32> {
    let rows = planes.chunks_exact(width);
    rows.flat_map(|row| row.iter().rev().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Filter, resize};

    #[test]
    fn bytes_are_resized_as_by_the_rule_for_pictures() {
        let bytes: Vec<u8> = (0..2 * 9 * 7).map(|i| (i * 59 % 256) as u8).collect();
        let planes: Vec<f32> = bytes.iter().map(|byte| f32::from(*byte)).collect();
        for new in [[4, 3], [18, 14], [9, 5], [9, 7]] {
            let got = scaled(&planes, [9, 7], new);
            let want: Vec<u8> = bytes
                .chunks_exact(63)
                .flat_map(|plane| resize(plane, [9, 7], new, Filter::Bilinear))
                .collect();
            assert_eq!(got.len(), want.len());
            // two roundings to bytes, of which these are free
            let near = |(got, want): (&f32, &u8)| (got - f32::from(*want)).abs() < 1.01;
            assert!(got.iter().zip(&want).all(near), "{new:?}");
            let mean = |sum: f32| sum / want.len() as f32;
            let [got, want] = [
                got.iter().sum::<f32>(),
                want.iter().map(|w| f32::from(*w)).sum(),
            ]
            .map(mean);
            assert!((got - want).abs() < 0.3, "{got} {want}");
        }
    }

    #[test]
    fn rows_are_turned_round() {
        assert_eq!(mirrored(&[1.0, 2.0, 3.0, 4.0], 2), [2.0, 1.0, 4.0, 3.0]);
    }
}
