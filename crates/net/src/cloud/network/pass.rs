//! The forward passes.

use super::PointNetwork;
use super::abstraction::{Featured, abstraction, interpolated, maximum};
use super::layer::{Layer, Mlp};
use super::plan::{AXES, Hierarchy, Level};
use crate::cloud::geometry::{Groups, Points, balls, farthest, three_nearest};
use crate::infer::Number;

impl<T: Number> PointNetwork<T> {
    /// Scores (K, P).
    pub(super) fn pass(
        &self,
        points: &[[T; 3]],
        normals: &[[T; 3]],
        category: u8,
        start: usize,
    ) -> Vec<T> {
        // what enters the first layer: coordinates, then normals
        let mut input = channels(points);
        input.extend(channels(normals));
        let mut told = vec![T::ZERO; self.settings.categories * points.len()];
        let own = told
            .chunks_exact_mut(points.len())
            .nth(usize::from(category));
        own.into_iter().for_each(|own| own.fill(T::ONE));
        match self.settings.kind.hierarchy() {
            Some(hierarchy) => self.hierarchical(hierarchy, points, input, told, start),
            None => self.pointnet(points.len(), input, &told),
        }
    }

    fn hierarchical(
        &self,
        hierarchy: &Hierarchy,
        points: &[[T; 3]],
        input: Vec<T>,
        told: Vec<T>,
        start: usize,
    ) -> Vec<T> {
        let mut blocks = self.blocks.iter();
        let mut next = || {
            blocks
                .next()
                .expect("the plan has as many blocks as the pass")
        };
        let mut up = |from: &Featured<T>, level: &Level, start: usize| {
            let centres = farthest(&from.points, start, level.centres);
            let points = from.points.select(&centres);
            let mut features = Vec::new();
            for scale in level.scales {
                let groups = balls(&from.points, &points, scale.radius, scale.most);
                let first = hierarchy.features_first;
                features.extend(abstraction(from, &points, &groups, first, next()));
            }
            Featured { points, features }
        };
        let fine = Featured {
            points: Points::new(points),
            features: input,
        };
        let middle = up(&fine, &hierarchy.levels[0], start);
        let coarse = up(&middle, &hierarchy.levels[1], 0);
        let origin = Points::new(&[[T::ZERO; 3]]);
        let whole = Groups::whole(coarse.points.len());
        let mut features = abstraction(&coarse, &origin, &whole, false, next());

        let mut finest = told;
        finest.extend_from_slice(&fine.features[..AXES * points.len()]);
        finest.extend(fine.features);
        let downward = [
            (&origin, &coarse.points, coarse.features),
            (&coarse.points, &middle.points, middle.features),
            (&middle.points, &fine.points, finest),
        ];
        for (from, to, mut joined) in downward {
            let near = three_nearest(to, from);
            joined.extend(interpolated(&near, from.len(), &features));
            features = next().apply(to.len(), joined);
        }
        next().apply(points.len(), features)
    }

    fn pointnet(&self, count: usize, mut input: Vec<T>, told: &[T]) -> Vec<T> {
        let [
            stn,
            stn_last,
            first,
            second,
            third,
            fstn,
            fstn_last,
            fourth,
            fifth,
            head,
        ] = self.blocks.as_slice()
        else {
            unreachable!("the plan has as many blocks as the pass");
        };
        let turn = transformation(stn, stn_last, count, input.clone());
        let turned = turn.apply(count, &input[..AXES * count]);
        input[..AXES * count].copy_from_slice(&turned);

        let first = first.apply(count, input);
        let second = second.apply(count, first.clone());
        let third = third.apply(count, second.clone());
        let turn = transformation(fstn, fstn_last, count, third.clone());
        let fourth = fourth.apply(count, turn.apply(count, &third));
        let fifth = fifth.apply(count, fourth.clone());

        let mut all: Vec<T> = Vec::new();
        for channel in fifth.chunks_exact(count) {
            all.resize(all.len() + count, maximum(channel));
        }
        for part in [told, &first, &second, &third, &fourth, &fifth] {
            all.extend_from_slice(part);
        }
        head.apply(count, all)
    }
}

/// (3, P) from (P, 3).
fn channels<T: Number>(rows: &[[T; 3]]) -> Vec<T> {
    let axis = |axis: usize| rows.iter().map(move |row| row[axis]);
    (0..AXES).flat_map(axis).collect()
}

/// A square matrix made from the whole cloud, as a layer: points are rows x, and become x·(I + M).
fn transformation<T: Number>(
    local: &Mlp<T>,
    global: &Mlp<T>,
    count: usize,
    input: Vec<T>,
) -> Layer<T> {
    let features = local.apply(count, input);
    let most = features.chunks_exact(count).map(maximum).collect();
    let matrix = global.apply(1, most);
    let side = matrix.len().isqrt();
    let mut transposed = vec![T::ZERO; matrix.len()];
    for (at, &value) in matrix.iter().enumerate() {
        let (row, column) = (at / side, at % side);
        let one = if row == column { T::ONE } else { T::ZERO };
        transposed[column * side + row] = value + one;
    }
    Layer::of(&transposed, vec![T::ZERO; side], false)
}
