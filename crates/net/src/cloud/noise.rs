//! What is random about a draw: noise on the points, or a rotation of the whole cloud.
//!
//! *Points*: the cloud is brought to the grid of 2^-12, and whole numbers q = round(4096·noise) are added, so
//! that nothing of the cloud leaks through a rounded sum; what is certified is the cloud on the grid, of the
//! network that reads points from the grid ([`GridLaw`]). Normals stay as they are: nothing is promised where
//! they change.
//!
//! *Rotations*: angles of turns about z add up, so noise on the angle is noise in one dimension, and a radius
//! is an angle in radians; normals turn too. What turns is the cloud on the grid, as above: of a cloud that was
//! turned first and brought to the grid then nothing is said. Of a uniform angle the smoothed model gives one answer for all
//! turns; of a uniform rotation of SO(3) for all rotations (about every axis it is a uniform angle). Gaussian
//! noise on rotations about changing axes is not offered: these do not add up. A rotation is computed in
//! floating point, which is not covered.

use std::f64::consts::{PI, TAU};

use certiseg_cert::Norm;
use certiseg_cert::smoothing::{FloatingPoint, GridLaw, Law};

use crate::error::Result;
use crate::smooth::{Arithmetic, Moments, Philox, Stream, Table};

/// Steps of the grid between 0 and 1.
pub const GRID: u32 = 4096;

/// What is random about a draw.
#[derive(Clone, Debug)]
pub struct CloudNoise {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Points { law: Law, table: Table },
    Turn { sigma: f64 },
    AnyTurn,
    AnyRotation,
}

/// A cloud that enters a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Drawn {
    /// (P, 3).
    pub(super) points: Vec<[f32; 3]>,
    /// (P, 3) or empty.
    pub(super) normals: Vec<[f32; 3]>,
}

/// Where noisy clouds come from; tests put mutants in its place.
pub(super) trait Source: Sync {
    fn noise(&self) -> &CloudNoise;
    fn draw(&self, key: Key, points: &[[i32; 3]], normals: &[[f32; 3]]) -> Drawn;
}

/// Of the random bits of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) seed: u64,
    pub(super) image: u32,
    pub(super) sample: u32,
}

impl Key {
    pub(super) fn bits(self, stream: Stream) -> Philox {
        Philox::new(self.seed, stream, self.image, self.sample)
    }
}

impl CloudNoise {
    /// Noise on every coordinate.
    ///
    /// # Errors
    /// [`Error::Cert`](crate::Error::Cert) for scales that are not above 0, or too wide for the grid.
    pub fn points(law: Law) -> Result<Self> {
        let table = Table::new(GridLaw::new(law, GRID)?);
        let kind = Kind::Points { law, table };
        Ok(CloudNoise { kind })
    }

    /// Turns about z by an angle of N(0, sigma²), in radians.
    ///
    /// # Errors
    /// [`Error::Cert`](crate::Error::Cert) unless sigma is finite and above 0.
    pub fn turn(sigma: f64) -> Result<Self> {
        Law::Gaussian { sigma }.check()?;
        let kind = Kind::Turn { sigma };
        Ok(CloudNoise { kind })
    }

    /// Turns about z by any angle, all alike.
    pub fn any_turn() -> Self {
        let kind = Kind::AnyTurn;
        CloudNoise { kind }
    }

    /// Any rotation of SO(3), all alike.
    pub fn any_rotation() -> Self {
        let kind = Kind::AnyRotation;
        CloudNoise { kind }
    }

    /// Its law, in the unit of [`CloudNoise::unit`].
    pub fn law(&self) -> Law {
        match self.kind {
            Kind::Points { law, .. } => law,
            Kind::Turn { sigma } => Law::Gaussian { sigma },
            // one angle, shifted by another, modulo a whole turn
            Kind::AnyTurn | Kind::AnyRotation => Law::Uniform { width: PI },
        }
    }

    /// What it is added to, for a cloud of so many points.
    pub fn unit(&self, points: usize) -> String {
        match self.kind {
            Kind::Points { .. } => {
                format!("xyz of {points} points, on the grid of 2^-12")
            }
            Kind::Turn { .. } => format!("angle of a turn about z of {ON_GRID}"),
            Kind::AnyTurn => format!("angle, modulo 2 pi, of a turn about z of {ON_GRID}"),
            Kind::AnyRotation => format!("angle of a rotation about any axis of {ON_GRID}"),
        }
    }

    /// Whether it moves points, and not the cloud as a whole: then a radius can be spread over them.
    pub fn on_points(&self) -> bool {
        matches!(self.kind, Kind::Points { .. })
    }

    /// The radius that is left for each point where one is spread evenly over so many, rounded down; `None` of
    /// rotations.
    pub fn per_point(&self, radius: f64, points: usize) -> Option<f64> {
        let count = points as f64;
        let share = match self.law().norm() {
            Norm::L1 => count,
            _ => count.sqrt().next_up(),
        };
        self.on_points()
            .then(|| (radius / share).next_down().max(0.0))
    }

    /// All rotations of its kind within which what has this radius holds: those about z, or all; `None` where some
    /// are farther away.
    pub fn invariance(&self, radius: f64) -> Option<&'static str> {
        match self.kind {
            Kind::AnyRotation => Some("every rotation"),
            Kind::AnyTurn => Some("every turn about z"),
            // the f64 is below pi
            Kind::Turn { .. } if radius > PI => Some("every turn about z"),
            _ => None,
        }
    }

    /// What a report says of rounding.
    pub fn floating_point(&self) -> FloatingPoint {
        match self.on_points() {
            true => FloatingPoint::Covered,
            false => FloatingPoint::Modulo,
        }
    }

    /// The most by which so many values are off the law, in total variation, rounded up; of rotations, whose rounding
    /// is not counted, 0.
    pub fn distance(&self, draws: u64) -> f64 {
        match &self.kind {
            Kind::Points { table, .. } => table.law.distance(draws),
            _ => 0.0,
        }
    }

    pub(super) fn arithmetic(&self) -> Arithmetic {
        match self.on_points() {
            true => Arithmetic::Grid,
            false => Arithmetic::Float,
        }
    }

    /// In a word, as kinds of the same law differ.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Points { .. } => "points",
            Kind::Turn { .. } | Kind::AnyTurn => "turn",
            Kind::AnyRotation => "rotation",
        }
    }

    /// Its moments, of noise on points.
    pub(super) fn moments(&self) -> Option<Moments> {
        match &self.kind {
            Kind::Points { table, .. } => Some(Moments::on_grid(&table.law, GRID)),
            _ => None,
        }
    }
}

impl Source for CloudNoise {
    fn noise(&self) -> &CloudNoise {
        self
    }

    /// Coordinate j = point·3 + axis takes number j of the sample.
    fn draw(&self, key: Key, points: &[[i32; 3]], normals: &[[f32; 3]]) -> Drawn {
        let Kind::Points { table, .. } = &self.kind else {
            let rotation = self.rotation(key);
            let on_grid = |p: &[i32; 3]| rotated(&rotation, p.map(|k| f64::from(k) / STEPS));
            let turned = |n: &[f32; 3]| rotated(&rotation, n.map(f64::from));
            return Drawn {
                points: points.iter().map(on_grid).collect(),
                normals: normals.iter().map(turned).collect(),
            };
        };
        let mut numbers = vec![0; (3 * points.len()).next_multiple_of(2)];
        key.bits(Stream::Certification).fill(0, &mut numbers);
        let mut values = vec![0; numbers.len()];
        table.look_up(&numbers, &mut values);
        let noisy = |(point, values): (&[i32; 3], &[i16; 3])| {
            let at = |axis: usize| point[axis] + i32::from(values[axis]);
            [0, 1, 2].map(|axis| from_grid(at(axis)))
        };
        let triples = values.as_chunks::<3>().0;
        Drawn {
            points: points.iter().zip(triples).map(noisy).collect(),
            normals: normals.to_vec(),
        }
    }
}

const STEPS: f64 = GRID as f64;

/// What is turned, and the unit of angles.
const ON_GRID: &str = "the cloud on the grid of 2^-12, normals with it, in radians";

/// Number on the grid of a coordinate; halves go away from 0.
pub(super) fn to_grid(value: f32) -> i32 {
    (value * GRID as f32).round() as i32
}

/// The coordinate of a number on the grid: below 2^24, so exact.
pub(super) fn from_grid(number: i32) -> f32 {
    number as f32 / GRID as f32
}

/// Rows.
type Matrix = [[f64; 3]; 3];

impl CloudNoise {
    fn rotation(&self, key: Key) -> Matrix {
        /// 2^-64.
        const UNIT: f64 = 1.0 / (1u128 << 64) as f64;
        let mut numbers = [0; 4];
        key.bits(Stream::Rotation).fill(0, &mut numbers);
        let share = |i: usize| numbers[i] as f64 * UNIT;
        match self.kind {
            Kind::AnyRotation => {
                // a unit quaternion, uniform (Shoemake 1992)
                let (low, high) = ((1.0 - share(0)).max(0.0).sqrt(), share(0).sqrt());
                let (a, b) = (TAU * share(1), TAU * share(2));
                matrix([low * a.sin(), low * a.cos(), high * b.sin(), high * b.cos()])
            }
            Kind::Turn { sigma } => {
                // Box and Muller; in (0, 1]
                let positive = ((numbers[0] >> 11) + 1) as f64 / (1u64 << 53) as f64;
                about_z(sigma * (-2.0 * positive.ln()).sqrt() * (TAU * share(1)).cos())
            }
            _ => about_z(TAU * share(0)),
        }
    }
}

fn about_z(angle: f64) -> Matrix {
    let (sin, cos) = angle.sin_cos();
    [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]
}

/// Of the unit quaternion x, y, z, w.
fn matrix([x, y, z, w]: [f64; 4]) -> Matrix {
    [
        [
            1.0 - 2.0 * (y * y + z * z),
            2.0 * (x * y - z * w),
            2.0 * (x * z + y * w),
        ],
        [
            2.0 * (x * y + z * w),
            1.0 - 2.0 * (x * x + z * z),
            2.0 * (y * z - x * w),
        ],
        [
            2.0 * (x * z - y * w),
            2.0 * (y * z + x * w),
            1.0 - 2.0 * (x * x + y * y),
        ],
    ]
}

fn rotated(matrix: &Matrix, [x, y, z]: [f64; 3]) -> [f32; 3] {
    matrix.map(|row| (row[0] * x + row[1] * y + row[2] * z) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: Law = Law::Gaussian { sigma: 0.25 };

    fn key(sample: u32) -> Key {
        Key {
            seed: 7,
            image: 3,
            sample,
        }
    }

    fn cloud(count: i32) -> Vec<[i32; 3]> {
        (0..count)
            .map(|i| {
                [
                    i * 37 % 8192 - 4096,
                    i * 101 % 8192 - 4096,
                    i * 53 % 8192 - 4096,
                ]
            })
            .collect()
    }

    #[test]
    fn coordinate_j_takes_number_j() {
        let noise = CloudNoise::points(LAW).unwrap();
        let grid = GridLaw::new(LAW, 4096).unwrap();
        let (points, normals) = (cloud(101), vec![[0.0, 0.0, 1.0]; 101]);
        let got = noise.draw(key(4), &points, &normals);
        let mut numbers = [0; 304];
        Philox::new(7, Stream::Certification, 3, 4).fill(0, &mut numbers);
        for (point, clean) in points.iter().enumerate() {
            for axis in 0..3 {
                let q = grid.value(numbers[point * 3 + axis]);
                let want = f64::from(clean[axis] + i32::from(q)) / 4096.0;
                assert_eq!(f64::from(got.points[point][axis]), want);
            }
        }
        assert_eq!(got.normals, normals);
        assert_ne!(noise.draw(key(5), &points, &normals), got);
        // what is added does not depend on the cloud
        let none = noise.draw(key(4), &[[0; 3]; 101], &[]);
        for (at, clean) in points.iter().enumerate() {
            let q = |drawn: &Drawn| drawn.points[at].map(to_grid);
            let moved = [0, 1, 2].map(|axis| q(&none)[axis] + clean[axis]);
            assert_eq!(q(&got), moved);
        }
    }

    #[test]
    fn the_grid_goes_there_and_back() {
        assert_eq!(
            [0.5f32, -1.0, 0.00012207, 0.000123].map(to_grid),
            [2048, -4096, 0, 1]
        );
        for number in [-70_000, -1, 0, 3, 4095, 70_000] {
            assert_eq!(to_grid(from_grid(number)), number);
        }
    }

    #[test]
    fn moments_are_those_of_the_law() {
        let noise = CloudNoise::points(LAW).unwrap();
        let moments = noise.moments().unwrap();
        // a twelfth of a step squared beside it
        let change = moments.variance - 0.0625;
        assert!(
            (change - 1.0 / 12.0 / STEPS.powi(2)).abs() < 1e-9,
            "{change:e}"
        );
        assert!((moments.fourth / (3.0 * 0.0625f64.powi(2)) - 1.0).abs() < 1e-5);
        assert!(CloudNoise::any_turn().moments().is_none());
    }

    /// Six standard errors of 20,000 draws; the seed is fixed.
    #[test]
    fn rotations_are_rotations_of_their_law() {
        let n = 20_000;
        let slack = 6.0 / f64::from(n).sqrt();
        let unit = [[4096, 0, 0], [0, 4096, 0], [0, 0, 4096]];
        for noise in [
            CloudNoise::turn(0.5).unwrap(),
            CloudNoise::any_turn(),
            CloudNoise::any_rotation(),
        ] {
            let mut mean = [[0.0; 3]; 3];
            let (mut angle, mut trace) = (0.0, 0.0);
            for sample in 0..n as u32 {
                // images of the axes: columns of the matrix
                let [a, b, c] = noise.draw(key(sample), &unit, &[]).points[..] else {
                    panic!("three points")
                };
                let [a, b, c] = [a, b, c].map(|v| v.map(f64::from));
                let dot = |u: [f64; 3], v: [f64; 3]| u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
                assert!((dot(a, a) - 1.0).abs() < 1e-6 && dot(a, b).abs() < 1e-6);
                let cross = [
                    a[1] * b[2] - a[2] * b[1],
                    a[2] * b[0] - a[0] * b[2],
                    a[0] * b[1] - a[1] * b[0],
                ];
                assert!((dot(cross, c) - 1.0).abs() < 1e-6, "no mirror");
                for (sum, value) in mean.iter_mut().flatten().zip([a, b, c].iter().flatten()) {
                    *sum += value / f64::from(n);
                }
                angle += a[1].atan2(a[0]).powi(2) / f64::from(n);
                trace += (a[0] + b[1] + c[2]).powi(2) / f64::from(n);
            }
            match noise.kind {
                Kind::Turn { sigma } => {
                    // mean cos = e^(-sigma²/2); few angles are beyond pi
                    assert!((mean[0][0] - (-sigma * sigma / 2.0).exp()).abs() < slack);
                    assert!(
                        (angle / (sigma * sigma) - 1.0).abs() < 6.0 * (2.0 / f64::from(n)).sqrt()
                    );
                    assert!(mean[0][1].abs() < slack && mean[2][2] > 1.0 - 1e-6);
                }
                Kind::AnyTurn => {
                    assert!(mean[0][0].abs() < slack && mean[0][1].abs() < slack);
                    assert!((angle - PI * PI / 3.0).abs() < 6.0 * 2.95 / f64::from(n).sqrt());
                    assert!(mean[2][2] > 1.0 - 1e-6);
                }
                // entries of mean 0, and the mean square of the trace, a character, is 1
                _ => {
                    assert!(mean.iter().flatten().all(|m| m.abs() < slack), "{mean:?}");
                    assert!((trace - 1.0).abs() < 9.0 * slack, "{trace}");
                }
            }
        }
    }

    #[test]
    fn normals_turn_with_the_points() {
        let noise = CloudNoise::any_rotation();
        let got = noise.draw(key(2), &[[4096, 0, 0]], &[[1.0, 0.0, 0.0]]);
        assert_eq!(got.points, got.normals);
        assert_ne!(got.points, [[1.0, 0.0, 0.0]]);
    }

    #[test]
    fn words_of_reports() {
        let points = CloudNoise::points(LAW).unwrap();
        assert_eq!(points.floating_point(), FloatingPoint::Covered);
        assert!(points.on_points() && points.invariance(9.0).is_none());
        assert!(points.unit(2048).contains("2048 points"));
        // of the design: 0.1686 over 2048 points is 0.0037 a point
        let each = points.per_point(0.16862243754902043, 2048).unwrap();
        let exact = 0.16862243754902043 / 2048f64.sqrt();
        assert!(each < exact && each > exact * (1.0 - 1e-15) && format!("{each:.4}") == "0.0037");
        let taxi = CloudNoise::points(Law::Laplace { scale: 0.1 }).unwrap();
        assert!(
            taxi.per_point(1.0, 4)
                .is_some_and(|each| each < 0.25 && each > 0.2499999)
        );
        assert_eq!(points.per_point(0.0, 4), Some(0.0));
        let turn = CloudNoise::turn(5.0).unwrap();
        assert_eq!(turn.per_point(1.0, 4), None);
        assert_eq!(
            (turn.invariance(3.1), turn.law()),
            (None, Law::Gaussian { sigma: 5.0 })
        );
        assert_eq!(turn.invariance(3.15), Some("every turn about z"));
        assert_eq!(turn.floating_point(), FloatingPoint::Modulo);
        assert_eq!(
            CloudNoise::any_rotation().invariance(0.0),
            Some("every rotation")
        );
        assert_eq!(CloudNoise::any_turn().law(), Law::Uniform { width: PI });
        // q would leave 16 bits
        assert!(CloudNoise::points(Law::Gaussian { sigma: 1.0 }).is_err());
        assert!(CloudNoise::turn(0.0).is_err() && CloudNoise::turn(f64::NAN).is_err());
    }
}
