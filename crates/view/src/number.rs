//! Numbers for people: cut to their digits on the side on which they err.

use certiseg_cert::{Metric, mean_lower, mean_upper, round_down, round_up};

/// What stands for a number that is not there.
pub const NONE: &str = "-";

/// A certified value of a metric: down, of rates of false decisions up.
pub fn certified(metric: Metric, value: Option<f64>, digits: usize) -> String {
    let show = if metric.higher_is_better() {
        round_down
    } else {
        round_up
    };
    value.map_or(NONE.into(), |value| show(value, digits))
}

/// Mean over images of certified values, on the same side; `None` of none.
pub fn certified_mean(metric: Metric, values: &[f64]) -> Option<f64> {
    match metric.higher_is_better() {
        true => mean_lower(values),
        false => mean_upper(values),
    }
}

/// What is not certified, to the nearest.
pub fn nearest(value: Option<f64>, digits: usize) -> String {
    value.map_or(NONE.into(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certified_numbers_are_cut_against_us() {
        let (good, bad) = (Metric::Accuracy, Metric::Fnr(1));
        assert_eq!(certified(good, Some(0.08999), 3), "0.089");
        assert_eq!(certified(bad, Some(0.08901), 3), "0.090");
        assert_eq!(certified(bad, None, 3), NONE);
        assert_eq!(nearest(Some(0.08999), 3), "0.090");
        let third = [0.0, 0.0, 1.0];
        assert!(certified_mean(good, &third) < certified_mean(bad, &third));
    }
}
