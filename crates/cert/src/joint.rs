//! Worst-case IoU, Dice and precision of a class over a data set, each image attacked within the
//! same budget. Extends paper 001 appendix B (eqs 27-29), which treats one image.
//!
//! The least ratio of sums is the largest t for which no choice of attacks makes
//! t·denominator - numerator positive. That difference is a·i + b·j summed over the images, and a
//! constant, with a, b >= 0, so each image chooses for itself, and only among the vertices of its
//! hull (Dinkelbach's method). Adding up the worst attack on each image is no bound: another
//! choice may be worse for the sum.
//! All arithmetic is in integers: nothing is rounded.

use serde::{Deserialize, Serialize};

use crate::share::EXACT;

/// Pixels [lost, gained] = [i, j] that an attack on one image may reach: those vertices of the
/// convex hull that are best for some a·i + b·j with a, b >= 0. i rises and j falls strictly.
/// Empty: nothing is lost or gained.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<[u64; 2]>", into = "Vec<[u64; 2]>")]
pub(crate) struct Hull {
    points: Vec<[u64; 2]>,
}

impl Hull {
    /// `frontier`: for every affordable i, from 0 on and rising, the largest affordable j.
    /// Never holds more than the vertices of what it has read. Panics where i does not rise.
    pub(crate) fn new(frontier: impl IntoIterator<Item = [u64; 2]>) -> Self {
        let mut points: Vec<[u64; 2]> = Vec::new();
        for point in frontier {
            if let Some(last) = points.last() {
                assert!(last[0] < point[0], "i must rise: {last:?}, {point:?}");
            }
            while points.last().is_some_and(|last| last[1] <= point[1]) {
                points.pop();
            }
            while let [.., before, last] = points[..]
                && !is_corner(before, last, point)
            {
                points.pop();
            }
            points.push(point);
        }
        Hull { points }
    }

    /// The most pixels that are lost.
    pub(crate) fn lost(&self) -> u64 {
        self.points.last().map_or(0, |[lost, _]| *lost)
    }

    /// The point with the largest a·i + b·j; of equal ones, the one that loses most.
    /// a and b below 2^64, i and j below 2^63: the sum fits.
    fn farthest(&self, [a, b]: [u128; 2]) -> [u64; 2] {
        let value = |&[i, j]: &[u64; 2]| a * u128::from(i) + b * u128::from(j);
        self.points
            .iter()
            .copied()
            .max_by_key(value)
            .unwrap_or_default()
    }
}

impl From<Hull> for Vec<[u64; 2]> {
    fn from(hull: Hull) -> Self {
        hull.points
    }
}

/// What was stored; refused where i does not rise or j does not fall.
impl TryFrom<Vec<[u64; 2]>> for Hull {
    type Error = &'static str;

    fn try_from(points: Vec<[u64; 2]>) -> Result<Self, Self::Error> {
        let falls = points.windows(2).all(|pair| {
            let [[i, j], [next_i, next_j]] = [pair[0], pair[1]];
            i < next_i && j > next_j
        });
        let fits = points.iter().flatten().all(|&count| count < EXACT);
        match falls && fits {
            true => Ok(Hull { points }),
            false => Err("points of a hull that do not fall"),
        }
    }
}

/// Whether `middle` lies strictly outside the line from `left` to `right`; i rises and j falls.
fn is_corner(left: [u64; 2], middle: [u64; 2], right: [u64; 2]) -> bool {
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    product(middle[0] - left[0], middle[1] - right[1])
        > product(left[1] - middle[1], right[0] - middle[0])
}

/// A share in [0, 1] that no pixel lost or gained raises.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ratio {
    /// (s - i) / (s + j)
    Iou,
    /// 2(s - i) / (2s - i + j)
    Dice,
    /// (s - i) / (s - i + j)
    Precision,
}

impl Ratio {
    /// [numerator, denominator] after losing i = `lost` of s = `size` pixels and gaining
    /// j = `gained`; 0/0 where it is undefined. Linear: of sums it is the sum.
    pub(crate) fn of(self, size: u64, lost: u64, gained: u64) -> [u64; 2] {
        let kept = size - lost;
        match self {
            Ratio::Iou => [kept, size + gained],
            Ratio::Dice => [2 * kept, kept + size + gained],
            Ratio::Precision => [kept, kept + gained],
        }
    }

    /// [a, b] such that n·denominator - d·numerator is a·i + b·j and a constant; n <= d, so
    /// both are at least 0.
    fn weights(self, [n, d]: [u64; 2]) -> [u128; 2] {
        let [n, d] = [n, d].map(u128::from);
        match self {
            Ratio::Iou => [d, n],
            Ratio::Dice => [2 * d - n, n],
            Ratio::Precision => [d - n, n],
        }
    }
}

/// The least ratio of sums, as [numerator, denominator], over one hull point of each image.
/// `images`: pixels of the class, and what an attack may do to them; an image without the class
/// takes part with 0 pixels and what can be gained. At most 2^53 pixels in all.
///
/// Exact among the choices with a denominator above 0, and [0, 0] where there is none. Where no
/// attack brings the ratio below 1, it is the one with nothing lost or gained (i = j = 0 is always
/// affordable): a precision of 1, even if all can be lost, which leaves 0/0.
pub(crate) fn joint_minimum(ratio: Ratio, images: &[(u64, Hull)]) -> [u64; 2] {
    let size = images.iter().map(|(size, _)| size).sum();
    let mut least = ratio.of(size, 0, 0);
    let mut bound = [1, 1];
    loop {
        let weights = ratio.weights(bound);
        let [mut lost, mut gained] = [0, 0];
        for (_, hull) in images {
            let [i, j] = hull.farthest(weights);
            lost += i;
            gained += j;
        }
        let reached = ratio.of(size, lost, gained);
        // Strictly below also means a denominator above 0. There are finitely many values, so
        // the loop ends, and where it ends no choice is below `bound`.
        if !is_below(reached, bound) {
            return least;
        }
        least = reached;
        bound = reached;
    }
}

/// Whether the first fraction is below the second, n/d, d > 0; false for 0/0.
fn is_below(first: [u64; 2], [n, d]: [u64; 2]) -> bool {
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    product(first[0], d) < product(n, first[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATIOS: [Ratio; 3] = [Ratio::Iou, Ratio::Dice, Ratio::Precision];

    /// Pixels of the class and the frontier.
    type Image = (u64, Vec<[u64; 2]>);

    fn minimum(ratio: Ratio, images: &[Image]) -> [u64; 2] {
        let hulls: Vec<_> = images
            .iter()
            .map(|(size, frontier)| (*size, Hull::new(frontier.iter().copied())))
            .collect();
        joint_minimum(ratio, &hulls)
    }

    /// [numerator, denominator] of every combination of frontier points, by the definition:
    /// true positives, false negatives and false positives are counted over the data set.
    fn all(ratio: Ratio, images: &[Image]) -> Vec<[u64; 2]> {
        let mut counts = vec![[0, 0, 0]];
        for (size, frontier) in images {
            counts = counts
                .iter()
                .flat_map(|[tp, miss, extra]| {
                    frontier
                        .iter()
                        .map(move |[i, j]| [tp + size - i, miss + i, extra + j])
                })
                .collect();
        }
        let share = |[tp, miss, extra]: [u64; 3]| match ratio {
            Ratio::Iou => [tp, tp + miss + extra],
            Ratio::Dice => [2 * tp, 2 * tp + miss + extra],
            Ratio::Precision => [tp, tp + extra],
        };
        counts.into_iter().map(share).collect()
    }

    /// `got` is reached, defined if any choice is, and no choice is below it.
    fn check(ratio: Ratio, images: &[Image], got: [u64; 2]) -> Result<(), String> {
        let all = all(ratio, images);
        if !all.contains(&got) {
            return Err(format!("{ratio:?}: {got:?} is not reached"));
        }
        for &[n, d] in all.iter().filter(|[_, d]| *d > 0) {
            if got[1] == 0 || n * got[1] < got[0] * d {
                return Err(format!("{ratio:?}: {n}/{d} is below {got:?}"));
            }
        }
        Ok(())
    }

    /// For small a and b, the vertices reach what the frontier reaches, and none of them is idle.
    fn check_hull(frontier: &[[u64; 2]], points: &[[u64; 2]]) -> Result<(), String> {
        let best = |points: &[[u64; 2]], a, b| points.iter().map(|[i, j]| a * i + b * j).max();
        let mut idle = vec![true; points.len()];
        for a in 0..=12 {
            for b in 0..=12 {
                let largest = best(frontier, a, b);
                if best(points, a, b) != largest {
                    return Err(format!("{a} i + {b} j: {points:?} of {frontier:?}"));
                }
                for (n, idle) in idle.iter_mut().enumerate() {
                    let others = [&points[..n], &points[n + 1..]].concat();
                    *idle &= best(&others, a, b) == largest;
                }
            }
        }
        if idle.contains(&true) {
            return Err(format!("idle: {points:?} of {frontier:?}"));
        }
        Ok(())
    }

    /// Frontiers of images 1 to 3 of the example, and of one without the class.
    fn example_t12() -> Vec<Image> {
        vec![
            (4, vec![[0, 5], [1, 2], [2, 0]]),
            (2, vec![[0, 2], [1, 1]]),
            (4, vec![[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]]),
            (0, vec![[0, 8]]),
        ]
    }

    #[test]
    fn example_t12_joint_minimum() {
        let images = example_t12();
        assert_eq!(minimum(Ratio::Iou, &images[..3]), [3, 11]);
        assert_eq!(minimum(Ratio::Iou, &images), [3, 19]);
        assert_eq!(minimum(Ratio::Dice, &images[..3]), [6, 14]);
        for ratio in RATIOS {
            check(ratio, &images, minimum(ratio, &images)).unwrap();
        }
    }

    #[test]
    fn the_comparison_sees_planted_errors() {
        let images = &example_t12()[..3];
        // the sum of the per-image minimisers
        let separate = images.iter().map(|image| {
            let [n, d] = minimum(Ratio::Iou, std::slice::from_ref(image));
            assert!([[4, 9], [1, 3], [0, 4]].contains(&[n, d]));
            [n, d]
        });
        let sum = separate.fold([0, 0], |sum, [n, d]| [sum[0] + n, sum[1] + d]);
        assert_eq!(sum, [5, 16]);
        assert!(check(Ratio::Iou, images, sum).is_err());
        assert!(check(Ratio::Iou, images, [3, 12]).is_err(), "not reached");
        assert!(check(Ratio::Precision, images, [0, 0]).is_err());
        // a vertex lost
        let mut cut = images.to_vec();
        cut[0].1.remove(2);
        assert!(check(Ratio::Iou, images, minimum(Ratio::Iou, &cut)).is_err());

        let frontier = [[0, 5], [1, 4], [2, 2]];
        assert_eq!(Hull::new(frontier).points, frontier);
        check_hull(&frontier, &frontier).unwrap();
        assert!(check_hull(&frontier, &[[0, 5], [2, 2]]).is_err());
        assert!(check_hull(&frontier, &[[0, 5], [1, 4], [2, 1]]).is_err());
        assert!(check_hull(&[[0, 4], [1, 3], [2, 2]], &[[0, 4], [1, 3], [2, 2]]).is_err());
    }

    #[test]
    fn hulls_by_hand() {
        for (frontier, points) in [
            (vec![], vec![]),
            (vec![[0, 0]], vec![[0, 0]]),
            (vec![[0, 3], [1, 3], [2, 3]], vec![[2, 3]]),
            (vec![[0, 3], [1, 2], [2, 1]], vec![[0, 3], [2, 1]]),
            (vec![[0, 5], [1, 2], [2, 0]], vec![[0, 5], [2, 0]]),
            (
                vec![[0, 9], [1, 8], [2, 1], [3, 1], [4, 0]],
                vec![[0, 9], [1, 8], [4, 0]],
            ),
            (
                vec![[0, 9], [1, 7], [2, 5], [3, 4], [4, 0]],
                vec![[0, 9], [3, 4], [4, 0]],
            ),
        ] {
            assert_eq!(Hull::new(frontier.iter().copied()).points, points);
        }
    }

    #[test]
    #[should_panic(expected = "i must rise")]
    fn frontier_out_of_order() {
        Hull::new([[1, 2], [0, 1]]);
    }

    #[test]
    fn ratios_by_hand() {
        assert_eq!(Ratio::Iou.of(10, 4, 3), [6, 13]);
        assert_eq!(Ratio::Dice.of(10, 4, 3), [12, 19]);
        assert_eq!(Ratio::Precision.of(10, 4, 3), [6, 9]);
    }

    #[test]
    fn undefined_and_absent() {
        let lose_all = (3, vec![[0, 0], [1, 0], [2, 0], [3, 0]]);
        let gain_one = (0, vec![[0, 1]]);
        for ratio in RATIOS {
            assert_eq!(joint_minimum(ratio, &[]), [0, 0]);
            assert_eq!(minimum(ratio, &[(0, vec![[0, 0]])]), [0, 0]);
            assert_eq!(minimum(ratio, std::slice::from_ref(&gain_one)), [0, 1]);
            assert_eq!(
                joint_minimum(ratio, &[(3, Hull::default())]),
                ratio.of(3, 0, 0)
            );
            let both = [lose_all.clone(), gain_one.clone()];
            assert_eq!(minimum(ratio, &both), ratio.of(3, 3, 1));
        }
        let alone = [lose_all];
        assert_eq!(minimum(Ratio::Iou, &alone), [0, 3]);
        assert_eq!(minimum(Ratio::Dice, &alone), [0, 3]);
        assert_eq!(minimum(Ratio::Precision, &alone), [3, 3], "not 0/0");
    }

    #[test]
    fn no_overflow() {
        let top = u64::MAX;
        let half = top / 2;
        let bent = [[0, top], [half, half + 2], [top, 0]];
        assert_eq!(Hull::new(bent).points, bent);
        let straight = [[0, top], [half, half + 1], [top, 0]];
        assert_eq!(Hull::new(straight).points, [[0, top], [top, 0]]);
        // 2^53 pixels: every pixel but one lost, then a gain as large as the class
        let size = 1 << 52;
        for ratio in RATIOS {
            let image = (size, vec![[0, size], [size - 1, size - 1]]);
            assert_eq!(minimum(ratio, &[image]), ratio.of(size, size - 1, size - 1));
        }
    }

    /// `count` images of at most `size` pixels of the class.
    fn images(
        count: std::ops::RangeInclusive<usize>,
        size: u64,
    ) -> impl Strategy<Value = Vec<Image>> {
        let image = (0..=size).prop_flat_map(move |size| {
            let gains = proptest::collection::vec(0..size + 4, 1..=size as usize + 1);
            gains.prop_map(move |mut gains| {
                gains.sort_unstable_by(|a, b| b.cmp(a));
                (size, (0..).zip(gains).map(|(i, j)| [i, j]).collect())
            })
        });
        proptest::collection::vec(image, count)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn is_the_least_of_all_choices(images in images(0..=4, 4)) {
            for ratio in RATIOS {
                prop_assert_eq!(check(ratio, &images, minimum(ratio, &images)), Ok(()));
            }
        }

        #[test]
        fn is_the_least_of_long_frontiers(images in images(1..=2, 40)) {
            for ratio in RATIOS {
                prop_assert_eq!(check(ratio, &images, minimum(ratio, &images)), Ok(()));
            }
        }

        #[test]
        fn hull_reaches_what_the_frontier_reaches(images in images(1..=1, 8)) {
            let frontier = &images[0].1;
            let hull = Hull::new(frontier.iter().copied());
            prop_assert_eq!(check_hull(frontier, &hull.points), Ok(()));
        }
    }
}
