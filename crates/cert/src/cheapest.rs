//! The cheap end of a list: what one budget can pay for is often a small part of it, and sorting a
//! part takes a part of the time.

use crate::error::Result;
use crate::flip_curve::FlipCurve;
use crate::margin::Margins;
use crate::metric::{Change, Metric};
use crate::power::Power;

/// Blocks of pixels from which the cheap end is guessed.
const SAMPLE: usize = 32;

/// The curve of the cheapest pixels of a list, without those that are free unless `free`; how many
/// the list has, and how many of it are free. It has either all of them or so many that all together
/// cost more than `enough`, which is given the cost of the cheapest: the guess decides the time and
/// nothing else.
pub(crate) fn cheapest(
    metric: Metric,
    margins: &Margins,
    list: Change,
    free: bool,
    power: Power,
    enough: impl Fn(f64) -> f64,
) -> Result<(FlipCurve, [usize; 2])> {
    let listed = |radius: f64| free | (radius > 0.0);
    let (mut sample, scale) = metric.sample(margins, list, SAMPLE)?;
    sample.retain(|&radius| listed(radius));
    sample.sort_unstable_by(f64::total_cmp);
    let target = sample
        .first()
        .map_or(f64::INFINITY, |&radius| enough(power.cost(radius)));
    // where the running sum, scaled to all pixels, is well above that
    let mut sum = 0.0;
    let dear = sample.iter().position(|&radius| {
        sum = power.both(sum, power.cost(radius) * scale);
        sum > 2.0 * target
    });
    if let Some(limit) = dear.map(|at| sample[at]) {
        let within = |radius: f64| listed(radius) & (radius <= limit);
        let (found, counts) = metric.gather(margins, list, Vec::new(), within)?;
        let curve = FlipCurve::new(found, power);
        let costs = curve.costs();
        if curve.len() > 0 && costs[curve.len()] > enough(costs[1]) {
            return Ok((curve, counts));
        }
    }
    let (found, counts) = metric.gather(margins, list, Vec::new(), listed)?;
    Ok((FlipCurve::new(found, power), counts))
}
