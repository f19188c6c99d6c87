//! Many images at one place of a line.

/// From the 10th to the 90th hundredth of values: a tenth of them lie below, a tenth above. `None` of no value.
pub(super) fn tenths(values: &[f64]) -> Option<[f64; 2]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = values.len() / 10;
    Some([*sorted.get(cut)?, *sorted.get(values.len() - 1 - cut)?])
}

/// To the nearest; `None` of no value.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    match values.len() {
        0 => None,
        count => Some(values.iter().sum::<f64>() / count as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_lies_on_each_side() {
        let values: Vec<f64> = (0..20).rev().map(f64::from).collect();
        assert_eq!(tenths(&values), Some([2.0, 17.0]));
        assert_eq!(tenths(&[3.0]), Some([3.0, 3.0]));
        assert_eq!((tenths(&[]), mean(&[])), (None, None));
        assert_eq!(mean(&[1.0, 2.0]), Some(1.5));
    }
}
