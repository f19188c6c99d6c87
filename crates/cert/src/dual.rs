//! Worst-case mIoU and mean class accuracy: all classes share one budget, priced by Lagrange
//! multipliers.
//!
//! Paper 001 = "Fast and Flexible Robustness Certificates for Semantic Segmentation" bounds one
//! class at a time (appendix B). Giving each class the whole budget is sound but weak. Moving a
//! pixel from class y to class c costs at least what leaving y costs, at least what forcing c
//! costs, and so at least any mean of the two: a part can be charged to y and the rest to c. With
//! prices alpha, beta >= 0 for the two parts, over K classes,
//!
//! ```text
//! mean IoU >= sum_k min_ij [ (s_k - i) / (K (s_k + j)) + alpha lose_k[i] + beta gain_k[j] ]
//!             - (alpha + beta) budget
//! ```
//!
//! This holds at every pair of prices and is concave in them: the pair is sought without watching
//! any rounding, and only the value at the pair found is computed with care.

use std::borrow::Cow;

use crate::steps::Steps;

/// One class of the label: lower bounds of what its worst changes cost, in the unit of the budget.
/// Both may end with infinities.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    /// Losing pixels of the class, at least one.
    pub(crate) lose: Steps,
    /// Gaining pixels elsewhere; none for mean class accuracy.
    pub(crate) gain: Steps,
}

/// A lower bound in [0, 1], rounded down, of the mean over the classes, at least one, of
/// (s - i)/(s + j) after any attack within `budget` >= 0.
///
/// The losses and gains of any one class are of different pixels, so the budget pays both.
/// Budgets below 2^-960 count as 2^-960; an infinite one gives 0.
pub(crate) fn mean_share_bound(classes: &[Lists], budget: f64) -> f64 {
    if budget.is_nan() || budget == f64::INFINITY {
        return 0.0;
    }
    // prices are of the order of 1 / budget and must not overflow
    let budget = budget.max(2f64.powi(-960));
    let prices = Problem::new(classes, budget, STEERING_ENTRIES).best_prices();
    Problem::new(classes, budget, usize::MAX).bound(prices)
}

/// Entries per list while the prices are sought, some 300 times: they lose a relative 1e-7 of the
/// bound as a rule, 4e-5 at the worst seen.
const STEERING_ENTRIES: usize = 1024;

/// What a bracket may lose between the ends of a block, all classes together.
const BLOCKS: f64 = 1.0 / (1u64 << 26) as f64;

/// The entries of a list within the budget: all, or some and the last.
struct Curve<'a> {
    counts: Cow<'a, [u32]>,
    costs: Cow<'a, [f64]>,
    exact: bool,
}

impl<'a> Curve<'a> {
    fn new(steps: &'a Steps, budget: f64, most: usize) -> Self {
        // a block that the budget pays in part is kept whole
        let part = usize::from(!steps.exact);
        let finite = steps.within(f64::MAX);
        let within = (steps.within(budget) + part).min(finite);
        let (counts, costs) = (&steps.counts[..within], &steps.costs[..within]);
        let step = (within - 1).div_ceil(most).max(1);
        let kept = || (0..within - 1).step_by(step).chain([within - 1]);
        let (counts, costs) = if step == 1 {
            (Cow::Borrowed(counts), Cow::Borrowed(costs))
        } else {
            let counts = kept().map(|entry| counts[entry]).collect();
            (counts, kept().map(|entry| costs[entry]).collect())
        };
        Curve {
            counts,
            costs,
            exact: steps.exact,
        }
    }

    /// Pixels changed at this entry.
    fn pixels(&self, entry: usize) -> f64 {
        self.counts[entry].into()
    }

    /// How far later pixels stay below the dearest before them, summed and rounded up: 0 for a
    /// convex list, of the order of its rounding errors for prefix sums.
    fn dent(&self) -> f64 {
        let (mut dearest, mut dent) = (0f64, 0.0);
        for entry in 1..self.costs.len() {
            let pixels = self.pixels(entry) - self.pixels(entry - 1);
            let increment = self.costs[entry] - self.costs[entry - 1];
            dearest = dearest.max(increment / pixels);
            dent += (dearest * pixels - increment).max(0.0);
        }
        // Terms >= 0, each difference and sum off by a relative 2^-53: of 2^32 below 2^-20. The
        // products are off by as much of what their pixels cost.
        let last = self.costs.last().copied().unwrap_or_default();
        dent * (1.0 + 2f64.powi(-19)) + 8.0 * f64::EPSILON * last
    }
}

struct Class<'a> {
    size: f64,
    lose: Curve<'a>,
    gain: Curve<'a>,
}

struct Problem<'a> {
    budget: f64,
    classes: Vec<Class<'a>>,
}

impl<'a> Problem<'a> {
    fn new(classes: &'a [Lists], budget: f64, most: usize) -> Self {
        let class = |lists: &'a Lists| Class {
            size: lists.lose.len() as f64,
            lose: Curve::new(&lists.lose, budget, most),
            gain: Curve::new(&lists.gain, budget, most),
        };
        let classes = classes.iter().map(class).collect();
        Problem { budget, classes }
    }

    /// The bound at these prices per budget, each in [0, 1], rounded down.
    ///
    /// Let u = 2^-53, and let the mark of a pixel be alpha K (s + j) times its increment of `lose`:
    /// losing it changes the bracket by (mark - 1) / (K (s + j)). A computed mark has four
    /// roundings and does not rise as j falls.
    /// - At every j the walk of `lowest_of` has passed fewer than s + 1 marks, all <= 1 + 5 u: no
    ///   smaller i is better by more than 5 u / K.
    /// - It stops where no larger i is paid, or before a mark >= 1 - 5 u. A later increment is
    ///   smaller than that one by a relative 2 u and its share of the dent at most: no larger i is
    ///   better by more than 7 u / K + alpha dent.
    /// - A term of a bracket has at most four roundings, the sum over the classes K - 1, and it is
    ///   at most 1 (nothing lost or gained). The charge, at most 2, is off by 2 u of itself; two
    ///   differences by u each; underflow by less than 2^-1000.
    ///
    /// Together less than (K + 20) u + alpha dents. Within the blocks of lists that are not whole
    /// the bracket is linear in i, and convex in j: below the line between the ends of a block of d
    /// pixels by a quarter of (d / (s + j))^2 <= 2^-24 of the share, and the shares add up to 1.
    fn bound(&self, prices: [f64; 2]) -> f64 {
        let [alpha, beta] = prices.map(|price| price / self.budget);
        let [value, _, _] = self.lowest([alpha, beta]);
        let dents: f64 = self.classes.iter().map(|class| class.lose.dent()).sum();
        let blocks = if self.exact() { 0.0 } else { BLOCKS };
        let slack = (self.classes.len() as f64 + 32.0) * f64::EPSILON + alpha * dents + blocks;
        (value - (alpha + beta) * self.budget - slack).max(0.0)
    }

    /// Whether every count of every list is there.
    fn exact(&self) -> bool {
        let whole = |class: &Class| class.lose.exact && class.gain.exact;
        self.classes.iter().all(whole)
    }

    /// Sums over the classes: smallest bracket, and its costs of losing and of gaining.
    fn lowest(&self, prices: [f64; 2]) -> [f64; 3] {
        self.classes.iter().fold([0.0; 3], |sums, class| {
            let lowest = self.lowest_of(class, prices);
            [0, 1, 2].map(|part| sums[part] + lowest[part])
        })
    }

    /// Every j is visited, downwards: a lost pixel saves 1 / (K (s + j)), ever more, and the budget
    /// leaves more for it, so the best i only rises. Inlined it takes 2.6 times as long (measured).
    #[inline(never)]
    fn lowest_of(&self, class: &Class, [alpha, beta]: [f64; 2]) -> [f64; 3] {
        let count = self.classes.len() as f64;
        let (lose, rate) = (&*class.lose.costs, alpha * count);
        // the end of a block may cost too much together with what its begin leaves room for
        let both = class.lose.exact && class.gain.exact;
        let (mut i, mut lost, mut least, mut costs) = (0, 0.0, f64::INFINITY, [0.0; 2]);
        for (j, &gain) in class.gain.costs.iter().enumerate().rev() {
            let union = class.size + class.gain.pixels(j);
            while let Some(&next) = lose.get(i + 1) {
                let more = class.lose.pixels(i + 1);
                // rounded to nearest, a sum is above the budget only if it truly is
                let idle = (next - lose[i]) * (rate * union) > more - lost;
                if idle || both && next + gain > self.budget {
                    break;
                }
                (i, lost) = (i + 1, more);
            }
            let share = (class.size - lost) / (count * union);
            let value = share + alpha * lose[i] + beta * gain;
            if value < least {
                (least, costs) = (value, [lose[i], gain]);
            }
        }
        [least, costs[0], costs[1]]
    }

    /// Prices per budget in [0, 1] of about the best bound, by one search for a peak in another.
    fn best_prices(&self) -> [f64; 2] {
        let (mut best, mut prices) = (0.0, [0.0; 2]);
        // nothing lost or gained gives the plane 1 - a - b, which ends both searches
        peak([1.0, 0.0, -1.0, 0.0], |a| {
            let [_, value, _, slope] = peak([1.0 - a, 0.0, -1.0, -1.0], |b| {
                let [value, lost, gained] = self.lowest([a, b].map(|price| price / self.budget));
                let value = value - a - b;
                if value > best {
                    (best, prices) = (value, [a, b]);
                }
                let [slope, side] = [gained, lost].map(|cost| cost / self.budget - 1.0);
                [b, value, slope, side]
            });
            [a, value, slope, 0.0]
        });
        prices
    }
}

/// A line nowhere below a concave function: a point on it (at, value), its slope there, and the
/// slope of its plane along the other price.
type Line = [f64; 4];

/// Where a rising line meets one that does not rise: their level mean.
fn meet([at, value, slope, side]: Line, [end, low, fall, aside]: Line) -> Line {
    let rise = (low - value - fall * (end - at)) / (slope - fall);
    let rise = rise.min(end - at).max(0.0);
    let level = (slope * aside - fall * side) / (slope - fall);
    [at + rise, value + slope * rise, 0.0, level]
}

/// A level line near the peak, and nowhere below, of the concave function that `touching` follows
/// from 0 to where `right` was taken: each step tries where the lines on both sides meet.
fn peak(mut right: Line, mut touching: impl FnMut(f64) -> Line) -> Line {
    let mut left = touching(0.0);
    if left[2] <= 0.0 {
        return left;
    }
    for _ in 0..64 {
        let top = meet(left, right);
        let line = touching(top[0]);
        let [_, value, slope, _] = line;
        if top[1] - value <= 1e-9 * top[1].max(1e-4) {
            return top;
        }
        *(if slope > 0.0 { &mut left } else { &mut right }) = line;
    }
    meet(left, right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f64 sums of a few terms against exact fractions.
    const NOISE: f64 = 1e-12;
    /// Both searches stop at a relative gap of 1e-9.
    const CLOSE: f64 = 1e-6;

    type Owned = [Vec<f64>; 2];

    fn prefix_sums(mut costs: Vec<f64>) -> Vec<f64> {
        costs.sort_unstable_by(f64::total_cmp);
        (0..=costs.len()).map(|n| costs[..n].iter().sum()).collect()
    }

    fn views(owned: &[Owned]) -> Vec<Lists> {
        let steps = |costs: &Vec<f64>| Steps::of(costs.clone());
        let lists = owned.iter().map(|[lose, gain]| Lists {
            lose: steps(lose),
            gain: steps(gain),
        });
        lists.collect()
    }

    fn bound(owned: &[Owned], budget: f64) -> f64 {
        mean_share_bound(&views(owned), budget)
    }

    fn assert_just_below(found: f64, worst: f64) {
        assert!(worst * (1.0 - CLOSE) <= found && found <= worst, "{found}");
    }

    /// A number below `sides`, the same in every run; the state is odd.
    fn roll(state: &mut u64, sides: usize) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005);
        (*state >> 33) as usize % sides
    }

    #[test]
    fn examples_t9_and_t10() {
        // 31/72 is the fractional knapsack; the others are the true worst values
        let [one, two] = [vec![0.01, 0.04, 0.09, 0.16], vec![0.05, 0.30]].map(prefix_sums);
        let lists = vec![[one, vec![0.0]], [two, vec![0.0]]];
        assert_just_below(bound(&lists, 0.15), 31.0 / 72.0);
        let lists = vec![[4, 12].map(|pixels| prefix_sums(vec![1.0; pixels])); 4];
        for (budget, worst) in [(1.0, 71.0 / 80.0), (2.0, 31.0 / 40.0)] {
            assert_just_below(bound(&lists, budget), worst);
            let views = views(&lists);
            let exact = Problem::new(&views, budget, usize::MAX);
            assert_just_below(
                exact.bound([5.0, 4.0].map(|part| part / 80.0 * budget)),
                worst,
            );
        }
    }

    /// The label, and the cost of forcing each of three classes, in sixteenths.
    type Pixel = (usize, [f64; 3]);

    fn image(dice: &mut u64) -> Vec<Pixel> {
        let pixel = |_| {
            let mut costs = [16; 3].map(|sides| roll(dice, sides) as f64 / 16.0);
            let [label, other, right] = [3, 3, 5].map(|sides| roll(dice, sides));
            costs[if right > 0 { label } else { other }] = 0.0;
            (label, costs)
        };
        (0..6).map(pixel).collect()
    }

    fn lists_of(image: &[Pixel], gains: bool) -> Vec<Owned> {
        let lists = (0..3).map(|class| {
            let [mut lose, mut gain] = [vec![], vec![]];
            for (label, costs) in image {
                if *label == class {
                    lose.push(costs[(class + 1) % 3].min(costs[(class + 2) % 3]));
                } else if gains {
                    gain.push(costs[class]);
                }
            }
            [lose, gain].map(prefix_sums)
        });
        lists.filter(|[lose, _]| lose.len() > 1).collect()
    }

    /// The true worst mean, over all 3^n assignments of classes to pixels.
    fn enumerated(image: &[Pixel], gains: bool, budget: f64) -> f64 {
        let means = (0..3usize.pow(image.len() as u32)).map(|mut code| {
            let (mut cost, mut kept, mut union) = (0.0, [0.0; 3], [0.0; 3]);
            for (label, costs) in image {
                let new = code % 3;
                code /= 3;
                cost += costs[new];
                kept[*label] += f64::from(new == *label);
                union[*label] += 1.0;
                union[new] += f64::from(gains && new != *label);
            }
            let present = (0..3).filter(|k| image.iter().any(|(label, _)| label == k));
            let shares: Vec<f64> = present.map(|k| kept[k] / union[k]).collect();
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            if cost <= budget { mean } else { 1.0 }
        });
        means.fold(1.0, f64::min)
    }

    #[test]
    fn never_above_enumeration_and_the_comparison_sees_planted_errors() {
        let (mut dice, mut short, mut touched) = (1, 0, 0);
        for case in 0..400 {
            let (image, gains) = (&image(&mut dice)[case % 6..], case % 12 < 6);
            let (lists, mut last) = (lists_of(image, gains), 1.0);
            for budget in [0.0, 1.0, 3.0, 6.0, 10.0, 20.0, 40.0].map(|cost| cost / 16.0) {
                let found = bound(&lists, budget);
                let worst = enumerated(image, gains, budget) + NOISE;
                assert!((0.0..=worst).contains(&found), "{found} {worst}");
                assert!(found <= last * (1.0 + CLOSE), "{found} after {last}");
                last = found;
                touched += usize::from(found >= worst * (1.0 - CLOSE) - 2.0 * NOISE);
                short += usize::from(bound(&lists, budget / 2.0) > worst);
            }
        }
        assert!(short > 200 && touched > 200, "{short} {touched}");
    }

    /// The bound at given prices per budget, over all pairs that the budget pays.
    fn by_definition(lists: &[Owned], budget: f64, prices: [f64; 2]) -> f64 {
        let mut sum = -prices[0] - prices[1];
        for [lose, gain] in lists {
            let (size, mut lowest) = (lose.len() - 1, f64::INFINITY);
            for (i, a) in lose.iter().enumerate() {
                for (j, b) in gain.iter().enumerate().filter(|(_, b)| a + *b <= budget) {
                    let share = (size - i) as f64 / (size + j) as f64 / lists.len() as f64;
                    lowest = lowest.min(share + (prices[0] * a + prices[1] * b) / budget);
                }
            }
            sum += lowest;
        }
        sum.max(0.0)
    }

    #[test]
    fn every_price_gives_its_definition_and_the_best_is_found() {
        let mut dice = 1;
        for case in 0..200 {
            let mut list = |least| {
                let sides = vec![9; least + roll(&mut dice, 8)].into_iter();
                let costs = sides.map(|sides| roll(&mut dice, sides).pow(2) as f64 / 7.0);
                prefix_sums(costs.collect())
            };
            let mut lists: Vec<Owned> = (0..1 + case % 3).map(|_| [list(1), list(0)]).collect();
            let (convex, budget) = (case % 2 == 0, (1 + case % 19) as f64);
            let costs = lists.iter_mut().flatten().flatten();
            costs.for_each(|cost| *cost = if convex { *cost } else { cost.sqrt() });
            let views = views(&lists);
            let (best, exact) = (bound(&lists, budget), Problem::new(&views, budget, 99));
            for price in 0..21 * 21 {
                let prices = [price / 21, price % 21].map(|price| f64::from(price) / 20.0);
                let (found, truth) = (exact.bound(prices), by_definition(&lists, budget, prices));
                assert!(found <= truth, "{found} {truth}");
                let near = truth * (1.0 - CLOSE) - NOISE;
                assert!(!convex || found >= truth - NOISE && best >= near, "{best}");
            }
        }
    }

    #[test]
    fn long_lists_are_steered_well() {
        let list = |last: usize, factor: f64| -> Vec<f64> {
            (0..=last).map(|n| factor * (n as f64).powi(3)).collect()
        };
        let lists = [(5_000, 1.0, 0.5), (20_000, 0.1, 3.0), (5_000, 7.0, 0.01)];
        let lists = lists.map(|(size, lose, gain)| [list(size, lose), list(30_000 - size, gain)]);
        for budget in [1e6, 1e8, 1e9, 1e10] {
            let views = views(&lists);
            let exact = Problem::new(&views, budget, usize::MAX);
            let (found, best) = (bound(&lists, budget), exact.bound(exact.best_prices()));
            assert!(0.0 < found && best * (1.0 - CLOSE) <= found, "{budget}");
        }
    }

    #[test]
    fn extremes() {
        // one of four pixels free to lose, one never; one free to gain, one never
        let lose = vec![0.0, 0.0, 1.0, 3.0, f64::INFINITY];
        let lists = vec![[lose, vec![0.0, 0.0, f64::INFINITY]]; 2];
        for budget in [0.0, 5e-324, 1e-300, 1e-9] {
            assert_just_below(bound(&lists, budget), 0.6);
        }
        assert_just_below(bound(&lists, 1e300), 0.2);
        assert_eq!(bound(&lists, f64::INFINITY), 0.0);
        // one pixel is paid, in any unit; below 2^-960 all is free
        for unit in [1e-280, 1.0, 1e300] {
            let lose = vec![0.0, unit, 2.0 * unit];
            assert_just_below(bound(&[[lose, vec![0.0]]], 1.5 * unit), 0.5);
        }
        let lose = vec![0.0, 5e-324, 1e-323];
        assert_eq!(bound(&[[lose, vec![0.0]]], 5e-324), 0.0);
    }
}
