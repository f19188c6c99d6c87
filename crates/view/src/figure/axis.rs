//! Axes: which range, round numbers on it, where a value lies.

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// A round number on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) text: String,
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// What it shows, and its unit.
    pub(super) title: String,
    pub(super) scale: Scale,
    /// From, to.
    pub(super) range: [f64; 2],
    pub(super) ticks: Vec<Tick>,
}

impl Axis {
    /// From 0 to the largest value.
    pub(super) fn from_zero(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let most = extremes(values).map_or(1.0, |[_, most]| most);
        let range = [0.0, if most > 0.0 { most } else { 1.0 }];
        Self::linear(title, range, ticks(range, 5))
    }

    /// Shares: as much of 0 to 1 as the values need, from round number to round number.
    pub(super) fn share(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let [low, high] = extremes(values).unwrap_or([0.0, 1.0]);
        let [low, high] = [low.clamp(0.0, 1.0), high.clamp(0.0, 1.0)];
        // small differences fill no panel
        let middle = (low + high) / 2.0;
        let half = ((high - low) / 2.0).max(0.02);
        let step = step(2.0 * half, 5);
        let low = ((middle - half) / step + 1e-9).floor().max(0.0);
        let high = ((middle + half) / step - 1e-9).ceil();
        let range = [low * step, (high * step).min(1.0)];
        Self::linear(title, range, ticks(range, 5))
    }

    /// The same of values that need not be shares on a range of their own, with some room around.
    pub(super) fn around(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let Self { range, .. } = Self::share(title, values);
        let room = (range[1] - range[0]) * 0.06;
        let range = [(range[0] - room).max(0.0), (range[1] + room).min(1.0)];
        Self::linear(title, range, ticks(range, 5))
    }

    /// Powers of ten, or the values themselves where those are few.
    pub(super) fn log(title: &str, values: &[f64]) -> Self {
        let [low, high] =
            extremes(values.iter().copied().filter(|value| *value > 0.0)).unwrap_or([1.0, 10.0]);
        let range = match low < high {
            true => [low, high],
            false => [low / 2.0, high * 2.0],
        };
        let mut own: Vec<f64> = values.to_vec();
        own.sort_by(f64::total_cmp);
        own.dedup();
        let powers = (low.log10() - 1e-9).ceil() as i32..=(high.log10() + 1e-9).floor() as i32;
        let at = match own.len() <= 6 {
            true => own,
            false => powers.map(|power| 10f64.powi(power)).collect(),
        };
        let tick = |at| Tick {
            at,
            text: counted(at),
        };
        Axis {
            title: title.into(),
            scale: Scale::Log,
            range,
            ticks: at.into_iter().map(tick).collect(),
        }
    }

    fn linear(title: &str, range: [f64; 2], ticks: Vec<Tick>) -> Self {
        Axis {
            title: title.into(),
            scale: Scale::Linear,
            range,
            ticks,
        }
    }

    /// Where a value lies between two ends.
    pub(super) fn place(&self, value: f64, [from, to]: [f64; 2]) -> f64 {
        let on = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        };
        let [low, high] = self.range.map(on);
        from + (on(value) - low) / (high - low) * (to - from)
    }
}

/// The least and the largest of finite values.
fn extremes(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |range, value| match range {
        None => Some([value; 2]),
        Some([low, high]) => Some([value.min(low), value.max(high)]),
    })
}

/// 1, 2 or 5 times a power of ten, about so many of which fill a span.
fn step(span: f64, about: usize) -> f64 {
    let raw = span / about as f64;
    let power = 10f64.powf(raw.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0];
    let times = times.into_iter().find(|times| times * power >= raw * 0.999);
    times.unwrap_or(10.0) * power
}

/// Round numbers inside a range.
fn ticks([low, high]: [f64; 2], about: usize) -> Vec<Tick> {
    let step = step(high - low, about);
    let digits = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    let tick = |index: i64| Tick {
        at: index as f64 * step,
        text: format!("{:.digits$}", index as f64 * step),
    };
    (first..=last).map(tick).collect()
}

/// A number of things: powers of ten from 10,000 on as such.
pub(super) fn counted(value: f64) -> String {
    let power = value.log10().round();
    if value >= 9_999.0 && (value / 10f64.powf(power) - 1.0).abs() < 1e-9 {
        const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
        let digits = format!("{power}");
        let digits = digits
            .bytes()
            .map(|digit| RAISED[usize::from(digit - b'0')]);
        return format!("10{}", digits.collect::<String>());
    }
    let text = format!("{value}");
    match text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => thousands(&text),
        false => text,
    }
}

fn thousands(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::from_zero("eps", [0.1, 1.0]);
        assert_eq!(texts(&axis), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&Axis::from_zero("eps", [0.3])).len(), 4);
        let axis = Axis::share("accuracy", [0.913, 0.968]);
        assert_eq!(axis.range, [0.9, 0.98]);
        assert_eq!(texts(&axis), ["0.90", "0.92", "0.94", "0.96", "0.98"]);
        // equal values, no value, one that is none
        for values in [vec![1.0, 1.0], vec![], vec![f64::NAN], vec![0.0]] {
            let axis = Axis::share("accuracy", values);
            let [low, high] = axis.range;
            assert!(
                low < high && high <= 1.0 && axis.ticks.len() > 1,
                "{axis:?}"
            );
        }
    }

    #[test]
    fn values_lie_in_proportion() {
        let axis = Axis::share("accuracy", [0.0, 1.0]);
        assert_eq!(axis.place(0.25, [100.0, 0.0]), 75.0);
        let axis = Axis::log("samples", &[10.0, 100.0, 1000.0]);
        assert!((axis.place(100.0, [0.0, 50.0]) - 25.0).abs() < 1e-9);
        assert_eq!(texts(&axis), ["10", "100", "1,000"]);
        // one value alone is in the middle
        let axis = Axis::log("samples", &[100.0]);
        assert!((axis.place(100.0, [0.0, 50.0]) - 25.0).abs() < 1e-9);
    }

    #[test]
    fn large_numbers_are_powers() {
        let texts = [100.0, 1000.0, 10_000.0, 1e6, 12_345.0].map(counted);
        assert_eq!(texts, ["100", "1,000", "10⁴", "10⁶", "12,345"]);
    }
}
