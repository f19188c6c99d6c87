//! Surfaces of which shapes are made: their area, uniform points on them with normals, and what lies inside.

use std::f64::consts::PI;

use super::chance::Chance;

/// A point or a direction.
pub(super) type Vector = [f64; 3];

/// So far under the surface a point counts as inside: what touches is not hidden.
const DEPTH: f64 = 1e-9;

/// Intervals of Simpson's rule by axis for the area of an ellipsoid: 1e-9 relative for axes 1 : 0.1.
const INTERVALS: u32 = 128;

/// A surface around its own origin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Surface {
    /// All six faces, by half sides.
    Box(Vector),
    /// In the plane z = 0, facing up, between two radii.
    Disc { inner: f64, outer: f64 },
    /// Without its ends, about z, from -half to half.
    Cylinder { radius: f64, half: f64 },
    /// Side of a frustum about z, radius `bottom` at 0, `top` at `height`.
    Cone { bottom: f64, top: f64, height: f64 },
    /// About z; the half of it where x >= 0, without ends, if `half`.
    Torus { major: f64, minor: f64, half: bool },
    /// By half axes.
    Ellipsoid(Vector),
}

/// A surface in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Primitive {
    pub(super) surface: Surface,
    /// Its origin.
    pub(super) at: Vector,
    /// Its three axes, of length 1.
    pub(super) axes: [Vector; 3],
    pub(super) part: u8,
    /// Whether it hides what is inside.
    pub(super) filled: bool,
}

/// Axes as they are.
pub(super) const UPRIGHT: [Vector; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

impl Surface {
    /// Its area, the same bits everywhere.
    pub(super) fn area(self) -> f64 {
        match self {
            Surface::Box([a, b, c]) => 8.0 * (a * b + b * c + c * a),
            Surface::Disc { inner, outer } => PI * (outer * outer - inner * inner),
            Surface::Cylinder { radius, half } => 4.0 * PI * radius * half,
            Surface::Cone {
                bottom,
                top,
                height,
            } => PI * (bottom + top) * slant(bottom, top, height),
            Surface::Torus { major, minor, half } => {
                PI * PI * major * minor * if half { 2.0 } else { 4.0 }
            }
            Surface::Ellipsoid(axes) => ellipsoid_area(axes),
        }
    }

    /// A point of it, all alike by area, and the normal there, outwards.
    pub(super) fn sample(self, chance: &mut Chance) -> [Vector; 2] {
        match self {
            Surface::Box(half) => {
                let [a, b, c] = half;
                let faces = [b * c, c * a, a * b];
                let axis = pick(&faces, chance.uniform());
                let mut point = half.map(|half| half * chance.between(-1.0, 1.0));
                let mut normal = [0.0; 3];
                normal[axis] = if chance.below(2) == 0 { -1.0 } else { 1.0 };
                point[axis] = normal[axis] * half[axis];
                [point, normal]
            }
            Surface::Disc { inner, outer } => {
                let radius = chance.between(inner * inner, outer * outer).sqrt();
                let [cos, sin] = chance.direction();
                [[radius * cos, radius * sin, 0.0], [0.0, 0.0, 1.0]]
            }
            Surface::Cylinder { radius, half } => {
                let [cos, sin] = chance.direction();
                let z = half * chance.between(-1.0, 1.0);
                [[radius * cos, radius * sin, z], [cos, sin, 0.0]]
            }
            Surface::Cone {
                bottom,
                top,
                height,
            } => {
                let share = chance.uniform();
                let square = bottom * bottom + share * (top * top - bottom * bottom);
                let radius = square.max(0.0).sqrt();
                let z = match bottom == top {
                    true => share * height,
                    false => height * (radius - bottom) / (top - bottom),
                };
                let [cos, sin] = chance.direction();
                let slant = slant(bottom, top, height);
                let (out, up) = (height / slant, (bottom - top) / slant);
                [[radius * cos, radius * sin, z], [out * cos, out * sin, up]]
            }
            Surface::Torus { major, minor, half } => {
                let [x, y] = chance.direction();
                let x = if half { x.abs() } else { x };
                // the outer side is longer than the inner one
                let [out, up] = loop {
                    let [out, up] = chance.direction();
                    if chance.uniform() * (major + minor) < major + minor * out {
                        break [out, up];
                    }
                };
                let radius = major + minor * out;
                let point = [radius * x, radius * y, minor * up];
                [point, [out * x, out * y, up]]
            }
            Surface::Ellipsoid(axes) => loop {
                let on_sphere = chance.sphere();
                let steep = [0, 1, 2].map(|i| on_sphere[i] / axes[i]);
                let length = norm(steep);
                let least = axes[0].min(axes[1]).min(axes[2]);
                if chance.uniform() < length * least {
                    let point = [0, 1, 2].map(|i| on_sphere[i] * axes[i]);
                    break [point, steep.map(|s| s / length)];
                }
            },
        }
    }

    /// Whether a point lies inside; of what has no ends, between them.
    fn inside(self, [x, y, z]: Vector) -> bool {
        let radius = (x * x + y * y).sqrt();
        match self {
            Surface::Box([a, b, c]) => {
                x.abs() < a - DEPTH && y.abs() < b - DEPTH && z.abs() < c - DEPTH
            }
            Surface::Disc { .. } => false,
            Surface::Cylinder { radius: most, half } => {
                radius < most - DEPTH && z.abs() < half - DEPTH
            }
            Surface::Cone {
                bottom,
                top,
                height,
            } => {
                let here = bottom + (top - bottom) * z / height;
                (DEPTH..height - DEPTH).contains(&z) && radius < here - DEPTH
            }
            Surface::Torus { major, minor, half } => {
                let out = radius - major;
                (x >= 0.0 || !half) && (out * out + z * z).sqrt() < minor - DEPTH
            }
            Surface::Ellipsoid([a, b, c]) => norm([x / a, y / b, z / c]) < 1.0 - DEPTH,
        }
    }
}

impl Primitive {
    /// A point of it in its place, and the normal there.
    pub(super) fn sample(&self, chance: &mut Chance) -> [Vector; 2] {
        let [point, normal] = self.surface.sample(chance);
        let turned = |v: Vector| {
            let [a, b, c] = self.axes;
            [0, 1, 2].map(|i| v[0] * a[i] + v[1] * b[i] + v[2] * c[i])
        };
        let point = turned(point);
        [[0, 1, 2].map(|i| self.at[i] + point[i]), turned(normal)]
    }

    /// Whether it hides a point.
    pub(super) fn hides(&self, point: Vector) -> bool {
        let from = [0, 1, 2].map(|i| point[i] - self.at[i]);
        let local = self
            .axes
            .map(|axis| axis[0] * from[0] + axis[1] * from[1] + axis[2] * from[2]);
        self.filled && self.surface.inside(local)
    }
}

/// The number of the weight into which a share of their sum falls.
pub(super) fn pick(weights: &[f64], share: f64) -> usize {
    let mut left = share * weights.iter().sum::<f64>();
    for (i, weight) in weights.iter().enumerate() {
        if left < *weight {
            return i;
        }
        left -= weight;
    }
    weights.len() - 1
}

pub(super) fn norm([x, y, z]: Vector) -> f64 {
    (x * x + y * y + z * z).sqrt()
}

fn slant(bottom: f64, top: f64, height: f64) -> f64 {
    (height * height + (bottom - top) * (bottom - top)).sqrt()
}

/// Eight octants, each an integral over the height z and the half tangent of the angle, by Simpson's rule.
fn ellipsoid_area([a, b, c]: Vector) -> f64 {
    let step = 1.0 / f64::from(INTERVALS);
    let weight = |i: u32| match i {
        0 | INTERVALS => 1.0,
        _ if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let mut sum = 0.0;
    for i in 0..=INTERVALS {
        let t = f64::from(i) * step;
        let one = 1.0 + t * t;
        let (cos, sin) = ((1.0 - t * t) / one, 2.0 * t / one);
        let level = cos * cos / (a * a) + sin * sin / (b * b);
        for j in 0..=INTERVALS {
            let z = f64::from(j) * step;
            let square = (1.0 - z * z) * level + z * z / (c * c);
            sum += weight(i) * weight(j) * square.sqrt() * 2.0 / one;
        }
    }
    8.0 * a * b * c * sum * step * step / 9.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smooth::{Philox, Stream};

    const ALL: [Surface; 7] = [
        Surface::Box([0.5, 0.3, 0.2]),
        Surface::Cylinder {
            radius: 0.4,
            half: 0.3,
        },
        Surface::Cone {
            bottom: 0.5,
            top: 0.2,
            height: 0.6,
        },
        Surface::Cone {
            bottom: 0.3,
            top: 0.0,
            height: 0.7,
        },
        Surface::Torus {
            major: 0.5,
            minor: 0.2,
            half: false,
        },
        Surface::Ellipsoid([1.0, 0.3, 0.2]),
        Surface::Ellipsoid([0.2, 0.2, 0.2]),
    ];

    /// Of the ends of what has none: height, radius, whether it faces up.
    fn ends(surface: Surface) -> Vec<(f64, f64, bool)> {
        match surface {
            Surface::Cylinder { radius, half } => {
                vec![(half, radius, true), (-half, radius, false)]
            }
            Surface::Cone {
                bottom,
                top,
                height,
            } => vec![(0.0, bottom, false), (height, top, true)],
            _ => Vec::new(),
        }
    }

    fn volume(surface: Surface) -> f64 {
        match surface {
            Surface::Box([a, b, c]) => 8.0 * a * b * c,
            Surface::Disc { .. } => 0.0,
            Surface::Cylinder { radius, half } => 2.0 * PI * radius * radius * half,
            Surface::Cone {
                bottom: r,
                top: s,
                height,
            } => PI * height * (r * r + r * s + s * s) / 3.0,
            Surface::Torus { major, minor, .. } => 2.0 * PI * PI * major * minor * minor,
            Surface::Ellipsoid([a, b, c]) => 4.0 / 3.0 * PI * a * b * c,
        }
    }

    fn chance(number: u32) -> Chance {
        Chance::new(Philox::new(1, Stream::Data, number, 0))
    }

    #[test]
    fn areas_known_in_closed_form() {
        // of the design; a ball; a spheroid of axes 1, 1, c: 2 pi (1 + c²/e·artanh e), e² = 1 - c²
        let area = Surface::Ellipsoid([1.0, 0.3, 0.2]).area();
        assert!((area - 2.55158).abs() < 5e-6, "{area}");
        let ball = Surface::Ellipsoid([0.7; 3]).area();
        assert!((ball / (4.0 * PI * 0.49) - 1.0).abs() < 1e-9, "{ball}");
        let flat = Surface::Ellipsoid([1.0, 1.0, 0.1]).area();
        let e = (1.0f64 - 0.01).sqrt();
        let want = 2.0 * PI * (1.0 + 0.01 / e * e.atanh());
        assert!((flat / want - 1.0).abs() < 1e-7, "{flat} {want}");
        assert_eq!(Surface::Box([0.5, 1.0, 1.5]).area(), 22.0);
        let whole = Surface::Torus {
            major: 2.0,
            minor: 1.0,
            half: false,
        };
        let half = Surface::Torus {
            major: 2.0,
            minor: 1.0,
            half: true,
        };
        assert_eq!(whole.area(), 2.0 * half.area());
    }

    /// Gauss: the integral of x_i n_j over a closed surface is its volume where i = j and 0 elsewhere: area, evenness
    /// and normals together. Samples of ends are those of discs. The largest error, of the volume.
    fn gauss(surface: Surface, n: u32, spoil: impl Fn(Vector) -> Vector) -> f64 {
        let mut parts = vec![(surface, 0.0, 1.0)];
        parts.extend(ends(surface).into_iter().map(|(z, outer, up)| {
            let disc = Surface::Disc { inner: 0.0, outer };
            (disc, z, if up { 1.0 } else { -1.0 })
        }));
        let mut sums = [[0.0; 3]; 3];
        for (part, z, sign) in parts {
            let share = part.area() / f64::from(n);
            let mut chance = chance(7);
            for _ in 0..n {
                let [mut x, normal] = part.sample(&mut chance);
                assert!((norm(normal) - 1.0).abs() < 1e-12);
                x[2] += z;
                let normal = spoil(normal.map(|value| value * sign));
                for (i, row) in sums.iter_mut().enumerate() {
                    for (j, sum) in row.iter_mut().enumerate() {
                        *sum += x[i] * normal[j] * share;
                    }
                }
            }
        }
        let volume = volume(surface);
        let error = |(i, row): (usize, [f64; 3])| {
            let of = |(j, sum): (usize, f64)| {
                let want = if i == j { volume } else { 0.0 };
                (sum - want).abs() / volume
            };
            row.into_iter().enumerate().map(of).fold(0.0, f64::max)
        };
        sums.into_iter().enumerate().map(error).fold(0.0, f64::max)
    }

    /// Of 10^5 samples; the seed is fixed.
    const SLACK: f64 = 0.03;

    #[test]
    fn volumes_come_out_of_areas_points_and_normals() {
        for surface in ALL {
            let error = gauss(surface, 100_000, |normal| normal);
            assert!(error < SLACK, "{surface:?}: {error}");
        }
    }

    #[test]
    fn the_comparison_sees_planted_errors() {
        for surface in ALL {
            let turned = gauss(surface, 100_000, |[x, y, z]| [y, -x, z]);
            let swapped = gauss(surface, 100_000, |n| n.map(|value| -value));
            assert!(turned > SLACK && swapped > SLACK, "{surface:?}");
        }
        // points of a ball, stretched: uneven on the ellipsoid
        let Surface::Ellipsoid(axes) = ALL[5] else {
            panic!("an ellipsoid")
        };
        let (mut sum, n) = (0.0, 100_000);
        let share = ALL[5].area() / f64::from(n);
        let mut chance = chance(7);
        for _ in 0..n {
            let u = chance.sphere();
            let steep = [0, 1, 2].map(|i| u[i] / axes[i]);
            sum += u[0] * axes[0] * steep[0] / norm(steep) * share;
        }
        assert!((sum / volume(ALL[5]) - 1.0).abs() > SLACK, "{sum}");
    }

    #[test]
    fn normals_lead_out_and_back_in() {
        for surface in ALL {
            let mut chance = chance(2);
            let mut excused = 0;
            for _ in 0..2_000 {
                let [point, normal] = surface.sample(&mut chance);
                // not at the ends, where what is beside is outside
                let at_end = ends(surface)
                    .iter()
                    .any(|(z, ..)| (point[2] - z).abs() < 1e-4);
                let along = |by: f64| [0, 1, 2].map(|i| point[i] + by * normal[i]);
                let tight = norm(point) < 1e-4;
                assert!(!surface.inside(point), "{surface:?} {point:?}");
                assert!(!surface.inside(along(1e-5)), "{surface:?} {point:?}");
                if !at_end && !tight && surface.inside(along(-1e-5)) {
                    continue;
                }
                // edges of a box, the tip of a cone
                assert!(
                    at_end || matches!(surface, Surface::Box(_) | Surface::Cone { .. }),
                    "{surface:?} {point:?}"
                );
                excused += 1;
            }
            assert!(excused < 20, "{surface:?}: {excused} of 2000");
        }
    }

    #[test]
    fn discs_and_half_tori() {
        let disc = Surface::Disc {
            inner: 0.3,
            outer: 0.5,
        };
        let mut chance = chance(4);
        let n = 50_000;
        let mut mean = 0.0;
        for _ in 0..n {
            let [[x, y, z], normal] = disc.sample(&mut chance);
            let square = x * x + y * y;
            assert!((0.09 - 1e-12..0.25 + 1e-12).contains(&square) && z == 0.0);
            assert_eq!(normal, [0.0, 0.0, 1.0]);
            mean += square / f64::from(n);
        }
        // the square of the radius is uniform: 0.16 wide
        assert!((mean - 0.17).abs() < 6.0 * 0.16 / (12.0 * f64::from(n)).sqrt());
        let half = Surface::Torus {
            major: 0.5,
            minor: 0.1,
            half: true,
        };
        assert!((0..1000).all(|_| half.sample(&mut chance)[0][0] >= 0.0));
        assert!(half.inside([0.5, 0.0, 0.0]) && !half.inside([-0.5, 0.0, 0.0]));
    }

    #[test]
    fn places_and_axes() {
        let primitive = Primitive {
            surface: Surface::Box([1.0, 0.1, 0.1]),
            at: [0.0, 5.0, 0.0],
            axes: [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
            part: 0,
            filled: true,
        };
        assert!(primitive.hides([0.0, 5.9, 0.0]) && !primitive.hides([0.9, 5.0, 0.0]));
        let mut chance = chance(5);
        for _ in 0..1000 {
            let [[x, y, z], normal] = primitive.sample(&mut chance);
            assert!(x.abs() <= 0.1 && (y - 5.0).abs() <= 1.0 && z.abs() <= 0.1);
            if (y - 6.0).abs() < 1e-12 && x.abs() < 0.09 && z.abs() < 0.09 {
                assert_eq!(normal, [0.0, 1.0, 0.0]);
            }
        }
        let open = Primitive {
            filled: false,
            ..primitive
        };
        assert!(!open.hides([0.0, 5.0, 0.0]));
    }

    #[test]
    fn weights_are_picked_by_their_share() {
        let weights = [1.0, 0.0, 3.0];
        assert_eq!(
            [0.0, 0.24, 0.25, 0.999].map(|s| pick(&weights, s)),
            [0, 0, 2, 2]
        );
        assert_eq!(pick(&weights, 1.0), 2);
    }
}
