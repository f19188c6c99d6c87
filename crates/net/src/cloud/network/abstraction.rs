//! What PointNet++ does besides its layers: from many points to few centres, and back.
//!
//! Maps are (channels, points).

use std::ops::Range;

use rayon::prelude::*;

use super::layer::Mlp;
use crate::cloud::geometry::{Groups, Neighbours, Points};
use crate::infer::Number;

/// Columns of a grouped map that are made at a time: they stay in the second-level cache.
const COLUMNS: usize = 1 << 11;

/// Points with features.
pub struct Featured<T> {
    /// Where they are.
    pub points: Points<T>,
    /// (channels, points).
    pub features: Vec<T>,
}

/// Layers on each group of points around its centre, coordinates relative to it, and the maximum over each
/// group: (out, groups). `features_first`: whether features come before coordinates.
///
/// # Panics
/// Where a group is empty or has no centre.
pub fn abstraction<T: Number>(
    from: &Featured<T>,
    centres: &Points<T>,
    groups: &Groups,
    features_first: bool,
    layers: &Mlp<T>,
) -> Vec<T> {
    assert_eq!(centres.len(), groups.len(), "a centre for each group");
    let bands = bands(groups);
    let work = |band: &Range<usize>| {
        let columns = band.clone().map(|group| groups.of(group).len()).sum();
        let x = grouped(from, centres, groups, features_first, band.clone(), columns);
        maxima(&layers.apply(columns, x), groups, band.clone(), columns)
    };
    let made: Vec<Vec<T>> = bands.par_iter().with_max_len(1).map(work).collect();
    let mut all = vec![T::ZERO; layers.out() * groups.len()];
    for (band, made) in bands.iter().zip(&made) {
        let channels = all.chunks_exact_mut(groups.len());
        for (all, made) in channels.zip(made.chunks_exact(band.len().max(1))) {
            all[band.clone()].copy_from_slice(made);
        }
    }
    all
}

/// Groups that are worked on together.
fn bands(groups: &Groups) -> Vec<Range<usize>> {
    let (mut bands, mut first, mut columns) = (Vec::new(), 0, 0);
    for group in 0..groups.len() {
        let size = groups.of(group).len();
        if columns + size > COLUMNS && columns > 0 {
            bands.push(first..group);
            (first, columns) = (group, 0);
        }
        columns += size;
    }
    bands.push(first..groups.len());
    bands
}

/// The input of a band of groups: (channels, columns), group after group.
fn grouped<T: Number>(
    from: &Featured<T>,
    centres: &Points<T>,
    groups: &Groups,
    features_first: bool,
    band: Range<usize>,
    columns: usize,
) -> Vec<T> {
    let points = from.points.len();
    let relative = |x: &mut Vec<T>| {
        for axis in 0..3 {
            let (of, centre) = (from.points.axis(axis), centres.axis(axis));
            for group in band.clone() {
                let centre = centre[group];
                let members = groups.of(group).iter();
                x.extend(members.map(|&member| of[member as usize] - centre));
            }
        }
    };
    let mut x = Vec::with_capacity((3 + from.features.len() / points) * columns);
    if !features_first {
        relative(&mut x);
    }
    for channel in from.features.chunks_exact(points) {
        for group in band.clone() {
            let members = groups.of(group).iter();
            x.extend(members.map(|&member| channel[member as usize]));
        }
    }
    if features_first {
        relative(&mut x);
    }
    x
}

/// The maximum over each group: (channels, groups of the band).
fn maxima<T: Number>(y: &[T], groups: &Groups, band: Range<usize>, columns: usize) -> Vec<T> {
    let mut largest = Vec::with_capacity(y.len() / columns.max(1) * band.len());
    for channel in y.chunks_exact(columns.max(1)) {
        let mut rest = channel;
        for group in band.clone() {
            let (members, after) = rest.split_at(groups.of(group).len());
            largest.push(maximum(members));
            rest = after;
        }
    }
    largest
}

/// The largest of some values.
///
/// # Panics
/// Where there is none.
pub fn maximum<T: Number>(values: &[T]) -> T {
    values[1..]
        .iter()
        .fold(values[0], |most, &v| most.larger(v))
}

/// Features (channels, coarse points) at the fine points: (channels, fine points).
pub fn interpolated<T: Number>(
    near: &[Neighbours<T>],
    coarse_points: usize,
    features: &[T],
) -> Vec<T> {
    let mut fine = Vec::with_capacity(features.len() / coarse_points * near.len());
    for channel in features.chunks_exact(coarse_points) {
        fine.extend(near.iter().map(|near| {
            let [a, b, c] = near.index.map(|index| channel[index]);
            let [p, q, r] = near.weight;
            (a * p + b * q) + c * r
        }));
    }
    fine
}
