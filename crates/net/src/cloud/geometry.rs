//! Farthest points, balls and nearest neighbours of a cloud (Qi, Yi, Su and Guibas, "PointNet++: deep
//! hierarchical feature learning on point sets in a metric space", 2017), in f32 and f64.
//!
//! Squared distances are (Δx² + Δy²) + Δz² of direct differences, without fused steps: the same bits on
//! every machine. Programs that expand |x|² + |c|² − 2x·c round otherwise, which moves ties and borders.

use crate::infer::Number;

/// Points, one list an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Points<T> {
    axes: [Vec<T>; 3],
}

/// Points near each centre: indices in rising order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    members: Vec<u32>,
    /// Where the group of each centre ends.
    ends: Vec<usize>,
}

impl<T: Number> Points<T> {
    /// From (P, 3).
    pub fn new(points: &[[T; 3]]) -> Self {
        let axis = |axis: usize| points.iter().map(|point| point[axis]).collect();
        Self {
            axes: [axis(0), axis(1), axis(2)],
        }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.axes[0].len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A point.
    pub fn at(&self, index: usize) -> [T; 3] {
        [0, 1, 2].map(|axis| self.axes[axis][index])
    }

    /// Coordinates along an axis.
    pub fn axis(&self, axis: usize) -> &[T] {
        &self.axes[axis]
    }

    /// The points of these indices, in their order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let axes = self.axes.each_ref();
        Self {
            axes: axes.map(|axis| indices.iter().map(|&index| axis[index]).collect()),
        }
    }

    /// Squared distances of the points from `first` on to a centre, into `squares`.
    fn squares(&self, first: usize, centre: [T; 3], squares: &mut [T]) {
        let [x, y, z] = self
            .axes
            .each_ref()
            .map(|axis| &axis[first..][..squares.len()]);
        for (((square, &x), &y), &z) in squares.iter_mut().zip(x).zip(y).zip(z) {
            let [x, y, z] = [x - centre[0], y - centre[1], z - centre[2]];
            *square = (x * x + y * y) + z * z;
        }
    }
}

impl Groups {
    /// Every point in one group.
    pub fn whole(points: usize) -> Self {
        Self {
            members: (0..points as u32).collect(),
            ends: vec![points],
        }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Indices of the points of a group.
    pub fn of(&self, group: usize) -> &[u32] {
        let first = match group {
            0 => 0,
            _ => self.ends[group - 1],
        };
        &self.members[first..self.ends[group]]
    }
}

/// Values that are worked on together: they stay in the first-level cache.
const BLOCK: usize = 256;

/// Farthest point sampling: `start`, then again and again the point with the largest distance to all that
/// are chosen, of equal ones that with the lowest index. Where there are fewer points than `count`, the
/// rest repeats the point 0.
///
/// # Panics
/// Where `start` is no index.
pub fn farthest<T: Number>(points: &Points<T>, start: usize, count: usize) -> Vec<usize> {
    assert!(start < points.len(), "start {start} of {}", points.len());
    let mut nearest = vec![T::of(f64::INFINITY); points.len()];
    let mut fresh = [T::ZERO; BLOCK];
    let mut chosen = Vec::with_capacity(count);
    let mut next = start;
    while chosen.len() < count {
        chosen.push(next);
        let centre = points.at(next);
        // the largest of each lane, so that the compiler compares several abreast
        let mut lanes = [T::ZERO; LANES];
        for (block, nearest) in nearest.chunks_mut(BLOCK).enumerate() {
            let fresh = &mut fresh[..nearest.len()];
            points.squares(block * BLOCK, centre, fresh);
            for (nearest, fresh) in nearest.chunks_mut(LANES).zip(fresh.chunks(LANES)) {
                for ((nearest, &fresh), lane) in nearest.iter_mut().zip(fresh).zip(&mut lanes) {
                    *nearest = nearest.smaller(fresh);
                    *lane = lane.larger(*nearest);
                }
            }
        }
        let largest = lanes.into_iter().fold(T::ZERO, T::larger);
        let found = nearest.iter().position(|distance| *distance == largest);
        // only where no distance is a number
        next = found.unwrap_or(0);
    }
    chosen
}

/// Numbers that are compared abreast.
const LANES: usize = 16;

/// Ball query: of each centre the first `most` points, in the order of their indices, whose squared distance
/// is at most `radius`². Programs that want groups of one size repeat the first member, which changes no
/// maximum over a group.
pub fn balls<T: Number>(
    points: &Points<T>,
    centres: &Points<T>,
    radius: f64,
    most: usize,
) -> Groups {
    let limit = T::of(radius * radius);
    let (mut members, mut ends) = (Vec::new(), Vec::with_capacity(centres.len()));
    let mut squares = [T::ZERO; BLOCK];
    for centre in 0..centres.len() {
        let centre = centres.at(centre);
        let full = members.len() + most;
        'points: for first in (0..points.len()).step_by(BLOCK) {
            let squares = &mut squares[..BLOCK.min(points.len() - first)];
            points.squares(first, centre, squares);
            for (index, square) in squares.iter().enumerate() {
                if *square <= limit {
                    members.push((first + index) as u32);
                    if members.len() == full {
                        break 'points;
                    }
                }
            }
        }
        ends.push(members.len());
    }
    Groups { members, ends }
}

/// Coarse neighbours of a fine point and their weights, which sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbours<T> {
    /// Indices, the nearest first, of equal ones that with the lowest index.
    pub index: [usize; 3],
    /// 1/(d² + 1e-8), normalised.
    pub weight: [T; 3],
}

/// Added to the squared distance of neighbours.
const APART: f64 = 1e-8;

/// The three nearest of the coarse points to each fine one; of fewer coarse points all, with weights 0 for
/// those that are missing.
///
/// # Panics
/// Where there is no coarse point.
pub fn three_nearest<T: Number>(fine: &Points<T>, coarse: &Points<T>) -> Vec<Neighbours<T>> {
    assert!(!coarse.is_empty(), "at least one coarse point");
    let mut squares = vec![T::ZERO; coarse.len()];
    let of = |fine_index: usize| {
        coarse.squares(0, fine.at(fine_index), &mut squares);
        let mut best = [(T::of(f64::INFINITY), 0); 3];
        for (index, &square) in squares.iter().enumerate() {
            if square < best[2].0 {
                best[2] = (square, index);
                if square < best[1].0 {
                    best.swap(1, 2);
                }
                if square < best[0].0 {
                    best.swap(0, 1);
                }
            }
        }
        let near = best.map(|(square, _)| T::ONE / (square + T::of(APART)));
        let sum = (near[0] + near[1]) + near[2];
        Neighbours {
            index: best.map(|(_, index)| index),
            weight: near.map(|near| near / sum),
        }
    };
    (0..fine.len()).map(of).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::Value;

    /// `point_ops.json`: made by numpy in f64, see its header.
    pub fn cases() -> Vec<Value> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/vectors/smoothing/point_ops.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(Some(cases.len() as u64), file["header"]["count"].as_u64());
        cases.clone()
    }

    pub fn points(value: &Value) -> Points<f64> {
        let rows = value.as_array().unwrap().iter();
        let rows = rows.map(|row| [0, 1, 2].map(|axis| row[axis].as_f64().unwrap()));
        Points::new(&rows.collect::<Vec<_>>())
    }

    fn indices(value: &Value) -> Vec<usize> {
        let values = value.as_array().unwrap().iter();
        values.map(|v| v.as_u64().unwrap() as usize).collect()
    }

    /// With every group filled up by its first member.
    fn filled(groups: &Groups, most: usize) -> Vec<Vec<usize>> {
        let fill = |group: usize| {
            let group = groups.of(group);
            let of = |at: usize| group.get(at).copied().unwrap_or(group[0]) as usize;
            (0..most).map(of).collect()
        };
        (0..groups.len()).map(fill).collect()
    }

    #[test]
    fn operators_equal_the_vectors() {
        let cases = cases();
        for case in &cases {
            let all = points(&case["points"]);
            let of = |name: &str| case[name].as_u64().unwrap() as usize;
            let chosen = farthest(&all, of("fps_start"), of("fps_count"));
            assert_eq!(chosen, indices(&case["fps_index"]));
            let centres = all.select(&chosen);
            let groups = balls(
                &all,
                &centres,
                case["radius"].as_f64().unwrap(),
                of("nsample"),
            );
            let expected = case["ball_index"].as_array().unwrap().iter();
            let expected: Vec<_> = expected.map(indices).collect();
            assert_eq!(filled(&groups, of("nsample")), expected);
            let near = three_nearest(&all, &centres);
            for (at, near) in near.iter().enumerate() {
                assert_eq!(near.index.to_vec(), indices(&case["three_nn_index"][at]));
                for (got, want) in near
                    .weight
                    .iter()
                    .zip(case["three_nn_weight"][at].as_array().unwrap())
                {
                    assert!((got - want.as_f64().unwrap()).abs() < 1e-10);
                }
            }
            // the comparison sees a start, a radius and a number of samples that are others
            assert_ne!(farthest(&all, 0, chosen.len()), chosen);
            assert_ne!(
                filled(&balls(&all, &centres, 0.7, of("nsample")), of("nsample")),
                expected
            );
        }
    }

    /// As written in the definitions, without blocks, lanes and early ends.
    fn plainly(points: &[[f32; 3]], start: usize, count: usize) -> Vec<usize> {
        let square = |a: [f32; 3], b: [f32; 3]| {
            let [x, y, z] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
            (x * x + y * y) + z * z
        };
        let mut chosen = vec![start];
        while chosen.len() < count {
            let distance = |p: usize| {
                let to_all = chosen.iter().map(|&c| square(points[p], points[c]));
                to_all.fold(f32::INFINITY, f32::min)
            };
            let farthest =
                (1..points.len()).fold(0, |best, p| match distance(p) > distance(best) {
                    true => p,
                    false => best,
                });
            chosen.push(farthest);
        }
        chosen
    }

    /// Points on a coarse lattice: many equal distances.
    fn lattice(count: usize) -> Vec<[f32; 3]> {
        let of = |i: usize, by: usize| (i * by % 7) as f32 / 4.0 - 0.75;
        (0..count)
            .map(|i| [of(i, 3), of(i / 7, 5), of(i / 49, 1)])
            .collect()
    }

    #[test]
    fn ties_go_to_the_lowest_index_and_blocks_change_nothing() {
        for count in [1, 2, 17, 255, 256, 257, 343] {
            let all = lattice(count);
            let chosen = farthest(&Points::new(&all), count / 2, 20);
            assert_eq!(chosen, plainly(&all, count / 2, 20), "{count}");
            let points = Points::new(&all);
            let groups = balls(&points, &points, 0.5, 9);
            for centre in 0..count {
                let near = |&p: &usize| {
                    let squares = (0..3).map(|a| (all[p][a] - all[centre][a]).powi(2));
                    squares.sum::<f32>() <= 0.25
                };
                let expected: Vec<u32> =
                    (0..count).filter(near).take(9).map(|p| p as u32).collect();
                assert_eq!(groups.of(centre), expected);
            }
        }
        let [a, b] = [[0.0; 3], [1.0, 0.0, 0.0]];
        assert_eq!(farthest(&Points::new(&[a, b]), 1, 4), [1, 0, 0, 0]);
    }

    #[test]
    fn few_coarse_points_share_the_weight() {
        let fine = Points::new(&[[0.0, 0.0, 0.0], [3.0, 0.0, 0.0f64]]);
        let one = three_nearest(&fine, &Points::new(&[[5.0, 1.0, 2.0]]));
        assert!(one.iter().all(|near| near.weight == [1.0, 0.0, 0.0]));
        let two = three_nearest(&fine, &Points::new(&[[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]));
        assert_eq!((two[0].index, two[0].weight), ([0, 1, 0], [0.5, 0.5, 0.0]));
        // weights 1/4 and 1/16
        assert!((two[1].weight[0] - 0.8).abs() < 1e-8, "{two:?}");
    }
}
