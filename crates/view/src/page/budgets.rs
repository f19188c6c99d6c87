//! The positions of the slider, and the level of each pixel among them.

/// Levels are bytes: the last stands for "at no position".
pub const MOST: usize = 250;
/// Positions beside those of the rows.
const MORE: usize = 64;

/// 0, the budgets of `rows`, and round ones between and beyond them up to `last`, rising.
pub fn positions(rows: &[f64], last: f64) -> Vec<f64> {
    let finite = |eps: &f64| eps.is_finite() && *eps >= 0.0;
    let mut rows: Vec<f64> = rows.iter().copied().filter(finite).collect();
    rows.sort_unstable_by(f64::total_cmp);
    rows.dedup();
    // without the largest, where there are too many: a slider of hundreds of stops is of no use
    rows.truncate(MOST - 2 * MORE);
    let near = 2.0 * rows.last().copied().unwrap_or(last / 10.0);
    let near = if last > 0.0 { near.min(last) } else { near };
    let mut all = rows;
    all.push(0.0);
    all.extend(steps(0.0, near, MORE / 2));
    all.extend(steps(near, last, MORE / 2));
    all.sort_unstable_by(f64::total_cmp);
    all.dedup();
    all
}

/// At most `count` round numbers above `from`, the last of them at least `to`.
fn steps(from: f64, to: f64, count: usize) -> Vec<f64> {
    let width = (to - from) / count.saturating_sub(2).max(1) as f64;
    if !(width > 0.0 && width.is_finite()) {
        return Vec::new();
    }
    let exponent = width.log10().floor() as i32;
    // widths of the same decimals as people write them: parsed, not multiplied
    let round = |digits: u64, exponent: i32| -> f64 {
        format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN)
    };
    let (digits, exponent) = [
        (1, exponent),
        (2, exponent),
        (5, exponent),
        (1, exponent + 1),
    ]
    .into_iter()
    .find(|&(digits, exponent)| round(digits, exponent) >= width)
    .unwrap_or((1, exponent + 1));
    let step = round(digits, exponent);
    let first = (from / step).floor() as u64 + 1;
    (first..)
        .map(|k| round(k * digits, exponent))
        .filter(|&eps| eps > from)
        .scan(false, |done, eps| {
            let before = std::mem::replace(done, eps >= to);
            (!before).then_some(eps)
        })
        .take(count)
        .collect()
}

/// Of each pixel the first position at which it may be taken, the number of positions where at none. Its budget is
/// rounded down, so this errs against us.
pub fn levels(positions: &[f64], budgets: &[f32]) -> Vec<u8> {
    let level = |&budget: &f32| positions.partition_point(|&eps| eps < f64::from(budget)) as u8;
    budgets.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_taken_from_the_first_position_of_its_budget_on() {
        let positions = [0.0, 0.25, 0.5];
        let just = |eps: f32, up: bool| if up { eps.next_up() } else { eps.next_down() };
        for (budget, level) in [
            (0.0, 0),
            (just(0.0, true), 1),
            (just(0.25, false), 1),
            (0.25, 1),
            (just(0.25, true), 2),
            (0.5, 2),
            (just(0.5, true), 3),
            (f32::INFINITY, 3),
        ] {
            assert_eq!(levels(&positions, &[budget]), [level], "{budget}");
            for (at, &eps) in positions.iter().enumerate() {
                let shown = at >= usize::from(level);
                assert_eq!(shown, f64::from(budget) <= eps, "{budget} at {eps}");
            }
        }
    }

    #[test]
    fn positions_hold_the_budgets_of_the_rows_and_fit_a_byte() {
        let rows = [0.1, 0.25, 0.5, 1.0];
        let all = positions(&rows, 18.2);
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
        assert_eq!(all[0], 0.0);
        assert!(*all.last().unwrap() >= 18.2 && *all.last().unwrap() < 20.0);
        assert!(rows.iter().all(|eps| all.contains(eps)), "{all:?}");
        assert!((30..=100).contains(&all.len()), "{}", all.len());
        // as people write them
        assert!(all.iter().all(|eps| eps.to_string().len() <= 5), "{all:?}");
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        assert!(positions(&many, 1e6).len() <= MOST);
        assert_eq!(positions(&[], 0.0), [0.0]);
        assert_eq!(positions(&[0.5], 0.0).last(), Some(&1.0));
        assert!(positions(&[f64::INFINITY], 3e-7).len() > 20);
    }
}
