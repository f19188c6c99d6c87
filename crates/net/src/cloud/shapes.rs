//! Generated clouds: unions of primitives with part labels and analytic normals, the same bytes on every
//! platform, so that a result on them can be repeated anywhere without a download.
//!
//! | shape | parts |
//! |---|---|
//! | mug | cup (cylinder and bottom), handle (half a torus) |
//! | table | top, four legs (boxes) |
//! | lamp | base (disc), pole (cylinder), shade (frustum) |
//! | airplane | body (ellipsoid), wings, tail (slabs) |
//! | rocket | body (cylinder and bottom), nose (cone), three or four fins (slabs) |
//!
//! A primitive is picked by its area, a point falls evenly on it, and what lies inside another one is
//! dropped. Dimensions are drawn for each shape.

use super::chance::Chance;
use super::primitive::{Primitive, Surface, UPRIGHT, Vector, norm, pick};
use super::{Catalogue, Cloud, normalised};
use crate::error::{Error, Result};
use crate::smooth::{Philox, Stream};

/// Names of the categories, by number.
pub const NAMES: [&str; 5] = ["mug", "table", "lamp", "airplane", "rocket"];

/// First part of each category, and the end.
const PARTS: [u8; 6] = [0, 2, 4, 7, 10, 13];

/// Fewest points of a cloud.
const FEWEST: usize = 16;

/// A generated cloud.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Its points.
    pub cloud: Cloud,
    /// Names and sizes of what was drawn, before the cloud was brought to norm 1.
    pub dimensions: Vec<(&'static str, f64)>,
}

/// The five categories and their 13 parts.
pub fn catalogue() -> Catalogue {
    Catalogue {
        names: NAMES.map(str::to_owned).to_vec(),
        parts: PARTS.windows(2).map(|ends| ends[0]..ends[1]).collect(),
    }
}

/// `count` clouds of `points` points each, the categories in turn; `turned` by any angle about z, or as they
/// were built. A longer list begins with the shorter one.
///
/// # Errors
/// [`Error::Setting`] for fewer than 16 points.
pub fn shapes(seed: u64, count: u32, points: usize, turned: bool) -> Result<Vec<Shape>> {
    (0..count)
        .map(|index| shape(seed, index, points, turned))
        .collect()
}

/// The name of the shape of a number.
pub fn name(index: u32) -> String {
    let kind = index as usize % NAMES.len();
    format!("{}_{index:05}", NAMES[kind])
}

/// The shape of a number; its category is the number modulo 5.
///
/// # Errors
/// As [`shapes`].
pub fn shape(seed: u64, index: u32, points: usize, turned: bool) -> Result<Shape> {
    if points < FEWEST {
        let expected = format!("at least {FEWEST}");
        return Err(Error::setting("points", points.to_string(), expected));
    }
    let category = (index % NAMES.len() as u32) as u8;
    let kind = usize::from(category);
    // sizes and points have streams of their own: more points of a shape begin with the fewer
    let chance = |what| Chance::new(Philox::new(seed, Stream::Data, index, what));
    let mut plan = Plan {
        chance: chance(0),
        first: PARTS[kind],
        primitives: Vec::new(),
        dimensions: Vec::new(),
    };
    [mug, table, lamp, airplane, rocket][kind](&mut plan);
    // drawn in any case, so that both have the same points
    let direction = plan.chance.direction();
    let [cos, sin] = if turned { direction } else { [1.0, 0.0] };
    let mut chance = chance(1);
    let areas: Vec<f64> = plan.primitives.iter().map(|p| p.surface.area()).collect();
    let mut all = Vec::with_capacity(points);
    let (mut normals, mut labels) = (Vec::with_capacity(points), Vec::with_capacity(points));
    let turn = |[x, y, z]: Vector| [cos * x - sin * y, sin * x + cos * y, z];
    while all.len() < points {
        let from = pick(&areas, chance.uniform());
        let [point, normal] = plan.primitives[from].sample(&mut chance);
        let others = plan.primitives.iter().enumerate();
        if others
            .filter(|(i, _)| *i != from)
            .any(|(_, p)| p.hides(point))
        {
            continue;
        }
        all.push(turn(point));
        let normal = turn(normal);
        let length = norm(normal);
        normals.push(normal.map(|value| (value / length) as f32));
        labels.push(plan.primitives[from].part);
    }
    let id = name(index);
    Ok(Shape {
        cloud: Cloud {
            points: normalised(&id, &all)?,
            id,
            category,
            normals,
            labels,
        },
        dimensions: plan.dimensions,
    })
}

/// A shape as it grows.
struct Plan {
    chance: Chance,
    /// Its first part.
    first: u8,
    primitives: Vec<Primitive>,
    dimensions: Vec<(&'static str, f64)>,
}

impl Plan {
    /// Draws a dimension.
    fn size(&mut self, name: &'static str, low: f64, high: f64) -> f64 {
        let size = self.chance.between(low, high);
        self.dimensions.push((name, size));
        size
    }

    /// Adds a surface of a part, counted within the shape, which hides what is in it.
    fn add(&mut self, part: u8, surface: Surface, at: Vector) -> &mut Primitive {
        self.primitives.push(Primitive {
            surface,
            at,
            axes: UPRIGHT,
            part: self.first + part,
            filled: true,
        });
        let last = self.primitives.len() - 1;
        &mut self.primitives[last]
    }

    /// A disc that faces down.
    fn bottom(&mut self, part: u8, radius: f64, height: f64) {
        let disc = Surface::Disc {
            inner: 0.0,
            outer: radius,
        };
        let down = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]];
        self.add(part, disc, [0.0, 0.0, height]).axes = down;
    }
}

fn mug(plan: &mut Plan) {
    let radius = plan.size("radius", 0.3, 0.45);
    let half = plan.size("height", 0.7, 1.1) / 2.0;
    let major = half * plan.size("handle / half height", 0.5, 0.75);
    let minor = plan.size("handle thickness", 0.03, 0.06);
    plan.add(0, Surface::Cylinder { radius, half }, [0.0; 3]);
    plan.bottom(0, radius, -half);
    let handle = Surface::Torus {
        major,
        minor,
        half: true,
    };
    // its ends are in the cup; it lies in the plane of x and z
    let placed = plan.add(1, handle, [radius - minor, 0.0, 0.0]);
    placed.axes = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]];
}

fn table(plan: &mut Plan) {
    let long = plan.size("length", 1.0, 1.8) / 2.0;
    let wide = plan.size("width", 0.6, 1.0) / 2.0;
    let high = plan.size("height", 0.5, 0.9) / 2.0;
    let thick = plan.size("thickness", 0.04, 0.1) / 2.0;
    let leg = plan.size("leg", 0.05, 0.12) / 2.0;
    let inset = leg + plan.size("inset", 0.0, 0.1);
    plan.add(0, Surface::Box([long, wide, thick]), [0.0; 3]);
    for [x, y] in [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]] {
        // up to the middle of the top
        let at = [x * (long - inset), y * (wide - inset), -high];
        plan.add(1, Surface::Box([leg, leg, high]), at);
    }
}

fn lamp(plan: &mut Plan) {
    let outer = plan.size("base radius", 0.2, 0.4);
    let radius = plan.size("pole radius", 0.02, 0.05);
    let half = plan.size("height", 0.8, 1.4) / 2.0;
    let bottom = plan.size("shade radius", 0.25, 0.45);
    let top = bottom * plan.size("shade top / bottom", 0.4, 0.8);
    let height = plan.size("shade height", 0.25, 0.5);
    plan.add(0, Surface::Disc { inner: 0.0, outer }, [0.0; 3]);
    plan.add(1, Surface::Cylinder { radius, half }, [0.0, 0.0, half]);
    let shade = Surface::Cone {
        bottom,
        top,
        height,
    };
    // open: the pole is seen in it
    let at = [0.0, 0.0, 2.0 * half - 0.6 * height];
    plan.add(2, shade, at).filled = false;
}

fn airplane(plan: &mut Plan) {
    let body = [
        1.0,
        plan.size("body width", 0.16, 0.26) / 2.0,
        plan.size("body height", 0.16, 0.26) / 2.0,
    ];
    let chord = plan.size("wing chord", 0.2, 0.4) / 2.0;
    let span = plan.size("wing span", 1.2, 2.0) / 2.0;
    let thick = plan.size("wing thickness", 0.02, 0.04) / 2.0;
    let along = plan.size("wing position", -0.15, 0.15);
    let length = plan.size("tail length", 0.14, 0.26) / 2.0;
    let rise = plan.size("tail height", 0.25, 0.45) / 2.0;
    plan.add(0, Surface::Ellipsoid(body), [0.0; 3]);
    plan.add(1, Surface::Box([chord, span, thick]), [along, 0.0, 0.0]);
    let tail = Surface::Box([length, thick, rise]);
    plan.add(2, tail, [length - 0.95, 0.0, rise]);
}

fn rocket(plan: &mut Plan) {
    let radius = plan.size("radius", 0.12, 0.2);
    let half = plan.size("height", 0.9, 1.3) / 2.0;
    let height = plan.size("nose height", 0.25, 0.5);
    let reach = plan.size("fin width", 0.2, 0.36) / 2.0;
    let rise = plan.size("fin height", 0.2, 0.4) / 2.0;
    let thick = plan.size("fin thickness", 0.02, 0.04) / 2.0;
    let fins = 3 + plan.chance.below(2);
    plan.dimensions.push(("fins", fins as f64));
    plan.add(0, Surface::Cylinder { radius, half }, [0.0; 3]);
    plan.bottom(0, radius, -half);
    let nose = Surface::Cone {
        bottom: radius,
        top: 0.0,
        height,
    };
    plan.add(1, nose, [0.0, 0.0, half]);
    let high = 0.75f64.sqrt();
    let around: &[[f64; 2]] = match fins {
        3 => &[[1.0, 0.0], [-0.5, high], [-0.5, -high]],
        _ => &[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]],
    };
    for [cos, sin] in around {
        // half of it is beyond the wall, or more
        let out = radius + 0.5 * reach;
        let at = [out * cos, out * sin, rise - half];
        let fin = plan.add(2, Surface::Box([reach, thick, rise]), at);
        fin.axes = [[*cos, *sin, 0.0], [-sin, *cos, 0.0], [0.0, 0.0, 1.0]];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Made once, on x86-64.
    const PINNED: u64 = 6_110_607_549_599_957_292;

    fn checksum(seed: u64) -> u64 {
        let mut bytes = Vec::new();
        for Shape { cloud, dimensions } in shapes(seed, 10, 64, true).unwrap() {
            let values = cloud.points.iter().chain(&cloud.normals).flatten();
            bytes.extend(values.flat_map(|value| value.to_le_bytes()));
            bytes.extend(cloud.labels);
            bytes.extend(dimensions.iter().flat_map(|(_, size)| size.to_le_bytes()));
        }
        Rng::hash(&bytes)
    }

    #[test]
    fn seed_0_is_these_bytes() {
        assert_eq!(
            checksum(0),
            PINNED,
            "published results were computed on other bytes"
        );
        assert_ne!(checksum(1), PINNED);
    }

    #[test]
    fn clouds_are_whole_centred_and_of_norm_1() {
        let catalogue = catalogue();
        assert_eq!(catalogue.classes(), 13);
        for (index, Shape { cloud, dimensions }) in
            shapes(3, 50, 512, true).unwrap().iter().enumerate()
        {
            assert_eq!(usize::from(cloud.category), index % 5);
            cloud.check(&catalogue).unwrap();
            assert_eq!(cloud.normals.len(), 512);
            let norms = cloud
                .points
                .iter()
                .map(|p| norm(p.map(f64::from)))
                .fold(0.0, f64::max);
            assert!((norms - 1.0).abs() < 1e-6, "{norms}");
            for axis in 0..3 {
                let mean: f64 = cloud
                    .points
                    .iter()
                    .map(|p| f64::from(p[axis]) / 512.0)
                    .sum();
                assert!(mean.abs() < 1e-6, "{mean}");
            }
            let lengths = cloud.normals.iter().map(|n| norm(n.map(f64::from)));
            lengths.for_each(|length| assert!((length - 1.0).abs() < 1e-6));
            // every part is seen, and dimensions tell what it is made of
            for part in catalogue.parts[index % 5].clone() {
                let count = cloud.labels.iter().filter(|label| **label == part).count();
                assert!(count >= 4, "{}: part {part} has {count} points", cloud.id);
            }
            assert!(dimensions.len() >= 4);
        }
    }

    #[test]
    fn longer_lists_and_turned_shapes_are_the_same_shapes() {
        let many = shapes(4, 7, 100, false).unwrap();
        assert_eq!(shapes(4, 3, 100, false).unwrap(), many[..3]);
        let more = shape(4, 2, 200, false).unwrap();
        assert_eq!(more.dimensions, many[2].dimensions);
        assert_eq!(more.cloud.labels[..100], many[2].cloud.labels);
        let turned = shape(4, 2, 100, true).unwrap();
        assert_eq!(turned.dimensions, many[2].dimensions);
        let height = |shape: &Shape| shape.cloud.points.iter().map(|p| p[2]).collect::<Vec<_>>();
        for (a, b) in height(&turned).iter().zip(height(&many[2])) {
            assert!((a - b).abs() < 1e-6);
        }
        assert_ne!(turned.cloud.points, many[2].cloud.points);
        assert_ne!(shape(5, 2, 100, false).unwrap(), many[2]);
    }

    /// No point lies deep inside the body it belongs to others of: drawn again from the plan it would be dropped.
    #[test]
    fn what_is_inside_is_dropped() {
        let Shape { cloud, dimensions } = shape(0, 0, 4000, false).unwrap();
        let of = |name: &str| dimensions.iter().find(|(n, _)| *n == name).unwrap().1;
        let handle = cloud.points.iter().zip(&cloud.labels);
        let handle: Vec<f64> = handle
            .filter(|(_, label)| **label == 1)
            .map(|(p, _)| f64::from(p[0]))
            .collect();
        let cup: Vec<f64> = cloud
            .points
            .iter()
            .zip(&cloud.labels)
            .filter(|(_, label)| **label == 0)
            .map(|(p, _)| f64::from(p[0]))
            .collect();
        let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // the cup is 2·radius wide; the handle begins where it ends
        let scale = (most(&cup) - least(&cup)) / (2.0 * of("radius"));
        let middle = (most(&cup) + least(&cup)) / 2.0;
        let radius = of("radius") * scale;
        let curve = (of("radius").powi(2) - of("handle thickness").powi(2)).sqrt() * scale;
        assert!(
            least(&handle) > middle + curve - 1e-3,
            "{} {radius}",
            least(&handle)
        );
        assert!(handle.len() > 100);
    }

    #[test]
    fn too_few_points() {
        let error = shapes(0, 1, 15, false).unwrap_err();
        assert_eq!(error.to_string(), "points is 15, expected at least 16");
    }
}
