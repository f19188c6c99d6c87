//! Names beside what they name: where they do not lie on each other.

use super::svg::{Place, Rect};

/// Middles of blocks of these heights, none on another, in the order given by `wanted`, each as near to where it is
/// wanted as the others let it be. Within `[top, bottom]` where they fit.
pub(super) fn spread(wanted: &[f64], heights: &[f64], [top, bottom]: [f64; 2]) -> Vec<f64> {
    struct Cluster {
        members: Vec<usize>,
        height: f64,
        top: f64,
    }
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let place = |members: &[usize]| {
        let height: f64 = members.iter().map(|index| heights[*index]).sum();
        // where the members' tops would like the cluster to begin, on average
        let mut offset = 0.0;
        let mut sum = 0.0;
        for index in members {
            sum += wanted[*index] - heights[*index] / 2.0 - offset;
            offset += heights[*index];
        }
        let begin = (sum / members.len() as f64).min(bottom - height).max(top);
        (height, begin)
    };
    let mut clusters: Vec<Cluster> = Vec::new();
    for index in order {
        let mut members = vec![index];
        let (mut height, mut begin) = place(&members);
        while let Some(last) = clusters.pop_if(|last| last.top + last.height > begin) {
            members.splice(0..0, last.members);
            (height, begin) = place(&members);
        }
        clusters.push(Cluster {
            members,
            height,
            top: begin,
        });
    }
    let mut middles = vec![0.0; wanted.len()];
    for cluster in clusters {
        let mut top = cluster.top;
        for index in cluster.members {
            middles[index] = top + heights[index] / 2.0;
            top += heights[index];
        }
    }
    middles
}

/// A place for a name of `[width, height]` around a point: the one with the least of `taken` under it that is inside
/// of `room`; the sooner the better among equals.
pub(super) fn beside(point: Place, [width, height]: [f64; 2], taken: &[Rect], room: Rect) -> Rect {
    const GAP: f64 = 5.0;
    let [x, y] = point;
    let rect = |left: f64, top: f64| Rect {
        left,
        top,
        width,
        height,
    };
    let near = |gap: f64| {
        let (right, below) = (x + gap, y + gap);
        let (left, above) = (x - gap - width, y - gap - height);
        [
            rect(right, y - height / 2.0),
            rect(left, y - height / 2.0),
            rect(x - width / 2.0, above),
            rect(x - width / 2.0, below),
            rect(right, above),
            rect(right, below),
            rect(left, above),
            rect(left, below),
        ]
    };
    let places = [GAP, 2.0 * GAP, 4.0 * GAP].into_iter().flat_map(near);
    let cost = |place: &Rect| {
        let outside = place.width * place.height - place.overlap(room);
        outside * 4.0 + taken.iter().map(|other| place.overlap(*other)).sum::<f64>()
    };
    let best = places.reduce(|best, place| match cost(&place) + 1e-9 < cost(&best) {
        true => place,
        false => best,
    });
    best.unwrap_or(rect(x, y))
}

/// Small rectangles along a line, which names should not cross.
pub(super) fn along(from: Place, to: Place) -> Vec<Rect> {
    const SIDE: f64 = 3.0;
    let steps = ((to[0] - from[0]).hypot(to[1] - from[1]) / SIDE)
        .ceil()
        .clamp(1.0, 2000.0);
    let at = |step: usize| {
        let part = step as f64 / steps;
        let [x, y] = [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * part);
        Rect {
            left: x - SIDE / 2.0,
            top: y - SIDE / 2.0,
            width: SIDE,
            height: SIDE,
        }
    };
    (0..=steps as usize).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two blocks that lie on each other.
    fn collision(middles: &[f64], heights: &[f64]) -> Option<(usize, usize)> {
        let ends = |index: usize| [-0.5, 0.5].map(|half| middles[index] + half * heights[index]);
        let pairs = (0..middles.len()).flat_map(|a| (0..a).map(move |b| (b, a)));
        let hits = |&(a, b): &(usize, usize)| {
            let ([from, to], [other_from, other_to]) = (ends(a), ends(b));
            from < other_to - 1e-9 && other_from < to - 1e-9
        };
        pairs.into_iter().find(hits)
    }

    #[test]
    fn labels_do_not_collide() {
        let heights = [12.0, 24.0, 12.0, 12.0];
        for wanted in [
            [50.0, 50.0, 50.0, 50.0],
            [0.0, 1.0, 2.0, 3.0],
            [100.0, 99.0, 98.0, 10.0],
            [10.0, 40.0, 70.0, 90.0],
        ] {
            let middles = spread(&wanted, &heights, [0.0, 100.0]);
            assert_eq!(collision(&middles, &heights), None, "{middles:?}");
            assert!(middles.iter().zip(heights).all(|(middle, height)| {
                *middle - height / 2.0 >= -1e-9 && *middle + height / 2.0 <= 100.0 + 1e-9
            }));
        }
        // with room for all nothing moves
        let wanted = [10.0, 40.0, 70.0, 90.0];
        assert_eq!(spread(&wanted, &heights, [0.0, 100.0]), wanted);
        // too many for the room: still none on another
        let middles = spread(&[5.0; 4], &heights, [0.0, 20.0]);
        assert_eq!(collision(&middles, &heights), None);
    }

    #[test]
    fn a_collision_is_seen() {
        assert_eq!(collision(&[10.0, 15.0], &[12.0, 12.0]), Some((0, 1)));
        assert_eq!(collision(&[10.0, 22.0], &[12.0, 12.0]), None);
    }

    #[test]
    fn names_keep_off_what_is_there() {
        let room = Rect {
            left: 0.0,
            top: 0.0,
            width: 200.0,
            height: 100.0,
        };
        let free = beside([50.0, 50.0], [30.0, 10.0], &[], room);
        assert_eq!((free.left, free.top), (55.0, 45.0));
        let moved = beside([50.0, 50.0], [30.0, 10.0], &[free], room);
        assert_eq!(moved.overlap(free), 0.0);
        // at the edge it goes to the other side
        let edge = beside([190.0, 50.0], [30.0, 10.0], &[], room);
        assert!(edge.right() <= 190.0);
        let line = along([0.0, 50.0], [200.0, 50.0]);
        let off = beside([50.0, 50.0], [30.0, 10.0], &line, room);
        assert!(line.iter().all(|spot| spot.overlap(off) == 0.0));
    }
}
