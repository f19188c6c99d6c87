//! The last layer as the judge sees it: how far apart the rows of two classes are.
//!
//! Logits f_k = <w_k, phi> + b_k of a feature map phi with constant L change their gap by at most
//! L·eps_w·||w_y - w_j||_q, 1/p + 1/q = 1 (Hölder). So the rows of a head need not be orthonormal, and cost no factor
//! for being many or long in common.

use crate::error::{Error, Result};
use crate::norm::Norm;
use crate::pow::{POW_ERROR, pow, root};

/// The rows w_k of a head, checked. The bias needs no mention: the logits contain it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassHead {
    classes: usize,
    rows: Vec<f32>,
}

impl ClassHead {
    /// `rows` (classes, features), finite.
    ///
    /// Errors: [`Error::Shape`], [`Error::Length`], [`Error::Number`].
    pub fn new(classes: usize, rows: Vec<f32>) -> Result<Self> {
        if !(2..=256).contains(&classes) {
            return Err(Error::Shape {
                what: "number of rows of the head",
                got: classes,
                expected: "2 to 256, one a class".into(),
            });
        }
        if rows.is_empty() || !rows.len().is_multiple_of(classes) {
            return Err(Error::Length {
                what: "rows of the head",
                got: rows.len(),
                expected: rows.len().div_ceil(classes).max(1) * classes,
            });
        }
        if let Some(index) = rows.iter().position(|w| !w.is_finite()) {
            return Err(Error::Number {
                what: "weight of the head",
                index,
                value: rows[index],
                expected: "a finite number",
            });
        }
        Ok(ClassHead { classes, rows })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Table [y·classes + j] of ||w_y - w_j||_q, q dual to `norm`, rounded up; 0 for equal rows.
    pub(crate) fn distances(&self, norm: Norm) -> Vec<f64> {
        let row = |class: usize| {
            let features = self.rows.len() / self.classes;
            &self.rows[class * features..][..features]
        };
        let mut table = vec![0.0; self.classes * self.classes];
        for y in 0..self.classes {
            for j in 0..y {
                let distance = dual(row(y), row(j), norm);
                table[y * self.classes + j] = distance;
                table[j * self.classes + y] = distance;
            }
        }
        table
    }
}

/// ||a - b||_q, rounded up.
fn dual(a: &[f32], b: &[f32], norm: Norm) -> f64 {
    // One rounding in each difference of two f32, one in each square, one in each sum, one in
    // each root: n + 8 steps of 2^-52 cover these, of terms that are not negative.
    let up = |value: f64, extra: f64| value * (1.0 + (a.len() as f64 + 8.0) * f64::EPSILON + extra);
    let differences = || {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs())
    };
    let largest = differences().fold(0.0, f64::max);
    if largest == 0.0 {
        return 0.0;
    }
    match norm.p() {
        1.0 => up(largest, 0.0),
        2.0 => up(differences().map(|d| d * d).sum::<f64>().sqrt(), 0.0),
        f64::INFINITY => up(differences().sum(), 0.0),
        p => {
            // Norms fall in q: a q that is too small errs upwards. Shares of the largest keep
            // every power within [0, 1]; one that underflows is nothing beside the largest, 1.
            let q = (p / (p - 1.0) * (1.0 - 4.0 * f64::EPSILON)).max(1.0);
            let sum: f64 = differences().map(|d| pow_or_zero(d / largest, q)).sum();
            up(largest * root(sum, q), 4.0 * POW_ERROR)
        }
    }
}

fn pow_or_zero(x: f64, q: f64) -> f64 {
    if x == 0.0 { 0.0 } else { pow(x, q) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TIGHT, below_and_close};

    #[test]
    fn distances_are_those_of_the_dual_norm() {
        let head = ClassHead::new(2, vec![3.0, 0.0, 0.0, -4.0]).unwrap();
        for (p, distance) in [
            (1.0, 4.0),
            (2.0, 5.0),
            (f64::INFINITY, 7.0),
            (1.5, 91f64.cbrt()),
            (3.0, (27f64.sqrt() + 8.0).cbrt().powi(2)),
        ] {
            let table = head.distances(Norm::new(p).unwrap());
            assert_eq!([table[0], table[3]], [0.0, 0.0]);
            assert_eq!(table[1], table[2]);
            below_and_close(distance, table[1], TIGHT).unwrap();
        }
    }

    #[test]
    fn extremes_are_finite_and_above() {
        for value in [1e-45, 1.0, f32::MAX] {
            let head = ClassHead::new(2, vec![value, 0.0, -value, 0.0]).unwrap();
            for p in [1.0, 1.000001, 1.5, 2.0, 3.0, 1e6, f64::INFINITY] {
                let found = head.distances(Norm::new(p).unwrap())[1];
                let truth = 2.0 * f64::from(value);
                assert!(
                    found >= truth && found <= truth * (1.0 + TIGHT),
                    "{value} {p}: {found}"
                );
            }
        }
    }

    #[test]
    fn bad_heads() {
        assert!(matches!(
            ClassHead::new(1, vec![1.0]),
            Err(Error::Shape { got: 1, .. })
        ));
        assert!(matches!(
            ClassHead::new(2, vec![]),
            Err(Error::Length { expected: 2, .. })
        ));
        assert!(matches!(
            ClassHead::new(2, vec![1.0; 3]),
            Err(Error::Length { expected: 4, .. })
        ));
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(matches!(
                ClassHead::new(2, vec![1.0, bad]),
                Err(Error::Number { index: 1, .. })
            ));
        }
    }
}
