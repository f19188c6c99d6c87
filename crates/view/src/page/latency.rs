//! Wall times as a histogram with its quantiles.

use serde::Serialize;

use crate::Run;

/// Bars of the histogram.
const BARS: usize = 24;

/// Times of images.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// How many.
    pub images: usize,
    /// Name and milliseconds: p50, p95, p99, max.
    pub quantiles: Vec<[String; 2]>,
    /// Mean share of passes and of certificates, in milliseconds.
    pub parts: [String; 2],
    /// Milliseconds at the left of the first bar and at the right of the last.
    pub range: [f64; 2],
    /// Images per bar.
    pub bars: Vec<usize>,
}

impl Latency {
    /// Of the time rows of all runs; none without any.
    pub fn of(runs: &[Run]) -> Option<Self> {
        let times = || runs.iter().flat_map(|run| &run.times);
        let mut all: Vec<f64> = times()
            .map(|time| 1e3 * (time.pass_seconds + time.certificate_seconds))
            .collect();
        all.sort_unstable_by(f64::total_cmp);
        let (&first, &last) = (all.first()?, all.last()?);
        // the nearest rank: a time that was measured
        let quantile = |percent: usize| all[(percent * all.len()).div_ceil(100).max(1) - 1];
        let quantiles = [50, 95, 99].map(|p| [format!("p{p}"), milliseconds(quantile(p))]);
        let mut quantiles = quantiles.to_vec();
        quantiles.push(["max".into(), milliseconds(last)]);
        let width = (last - first).max(f64::MIN_POSITIVE);
        let mut bars = vec![0; BARS];
        for time in &all {
            let bar = ((time - first) / width * BARS as f64) as usize;
            bars[bar.min(BARS - 1)] += 1;
        }
        let mean = |sum: f64| milliseconds(1e3 * sum / all.len() as f64);
        Some(Latency {
            images: all.len(),
            quantiles,
            parts: [
                mean(times().map(|time| time.pass_seconds).sum()),
                mean(times().map(|time| time.certificate_seconds).sum()),
            ],
            range: [first, last],
            bars,
        })
    }
}

fn milliseconds(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::run;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let row = |i: usize| {
            format!(
                r#"{{"kind":"time","image":"{i}","pass_seconds":{i}e-3,"certificate_seconds":0.0}}"#
            )
        };
        let rows: Vec<String> = (1..=200).rev().map(row).collect();
        let latency = Latency::of(&[run("certify", &rows)]).unwrap();
        let texts = latency.quantiles.iter().map(|[_, text]| text.as_str());
        assert_eq!(texts.collect::<Vec<_>>(), ["100", "190", "198", "200"]);
        assert_eq!(latency.bars.iter().sum::<usize>(), 200);
        assert!(latency.bars.iter().all(|&count| count > 0));
        assert!(Latency::of(&[run("certify", &[])]).is_none());
        let one = Latency::of(&[run("certify", &rows[..1])]).unwrap();
        assert_eq!(one.bars.iter().sum::<usize>(), 1);
    }
}
