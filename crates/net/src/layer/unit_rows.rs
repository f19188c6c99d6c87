//! Rows of norm one: the 1x1 head whose logits are 1-Lipschitz each, with the backward pass.
//!
//! Row w of the effective weight is r/‖r‖ of the raw row r. As an operator the head has a norm of
//! up to √rows; the certificate uses the rows themselves, r = min_j (f_y − f_j)/(L·‖w_y − w_j‖).
//! A zero row stays zero.

use super::matrix::{Real, dot};
use super::orthogonal::Orthogonaliser;
use crate::rng::Rng;

/// Shape of a head: a 1x1 convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitRows {
    /// Logits.
    pub rows: usize,
    /// Channels in.
    pub columns: usize,
}

/// What the backward pass of [`UnitRows::weight`] needs.
pub struct Tape<T> {
    weight: Vec<T>,
    /// Norm of each raw row, one for a zero row.
    norms: Vec<f64>,
}

impl UnitRows {
    /// The four axes of the weight: [rows, columns, 1, 1].
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.rows, self.columns, 1, 1]
    }

    /// Number of raw parameters.
    pub fn raw_len(&self) -> usize {
        self.rows * self.columns
    }

    /// Raw parameters at the start of a training: orthonormal rows or columns, so that
    /// any two of at most `columns` rows have the distance √2.
    pub fn start(&self, rng: &mut Rng) -> Vec<f32> {
        Orthogonaliser::Bjorck.start(self.rows, self.columns, rng)
    }

    /// The effective weight [rows, columns, 1, 1], from `raw_len` raw parameters.
    pub fn weight<T: Real>(&self, raw: &[T]) -> (Vec<T>, Tape<T>) {
        assert_eq!(raw.len(), self.raw_len(), "raw parameters of {self:?}");
        let norm = |row: &[T]| match dot(row, row).sqrt() {
            0.0 => 1.0,
            norm => norm,
        };
        let rows = raw.chunks_exact(self.columns);
        let norms: Vec<f64> = rows.clone().map(norm).collect();
        let unit = |(row, norm): (&[T], &f64)| -> Vec<T> {
            row.iter().map(|x| T::from_f64(x.to_f64() / norm)).collect()
        };
        let weight: Vec<T> = rows.zip(&norms).flat_map(unit).collect();
        let tape = Tape {
            weight: weight.clone(),
            norms,
        };
        (weight, tape)
    }

    /// Gradient in the raw parameters, from the gradient in the effective weight.
    pub fn backward<T: Real>(&self, tape: &Tape<T>, gradient: &[T]) -> Vec<T> {
        let rows = gradient.chunks_exact(self.columns);
        let rows = rows.zip(tape.weight.chunks_exact(self.columns));
        // w = r/‖r‖:  dr = (G − ⟨G, w⟩ w) / ‖r‖
        let row = |((g, w), norm): ((&[T], &[T]), &f64)| -> Vec<T> {
            let along = dot(g, w);
            let entries = g.iter().zip(w);
            entries
                .map(|(g, w)| T::from_f64((g.to_f64() - along * w.to_f64()) / norm))
                .collect()
        };
        rows.zip(&tape.norms).flat_map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradient, random};
    use super::*;

    const HEAD: UnitRows = UnitRows {
        rows: 3,
        columns: 5,
    };

    #[test]
    fn rows_have_norm_one_and_their_direction() {
        let raw = random(HEAD.raw_len(), 1);
        let (weight, _) = HEAD.weight(&raw);
        for (w, r) in weight.chunks_exact(5).zip(raw.chunks_exact(5)) {
            // Cauchy-Schwarz with equality: a few f64 roundings
            assert!((dot(w, w) - 1.0).abs() < 1e-15);
            assert!((dot(w, r) - dot(r, r).sqrt()).abs() < 1e-14);
        }
    }

    #[test]
    fn gradients_equal_central_differences() {
        assert_gradient(
            "unit rows",
            &random(HEAD.raw_len(), 2),
            |raw| HEAD.weight(raw),
            |tape, g| HEAD.backward(tape, g),
        );
    }

    #[test]
    fn a_zero_row_stays_zero_and_a_nan_stays_in_its_row() {
        let mut raw = HEAD.start(&mut Rng::new(1));
        raw[..5].fill(0.0);
        raw[7] = f32::NAN;
        let (weight, tape) = HEAD.weight(&raw);
        assert_eq!(weight[..5], [0.0; 5]);
        assert!(weight[5..10].iter().all(|w| w.is_nan()));
        // f32 rounding of a row that is orthonormal already
        assert!((weight[10] - raw[10]).abs() < 1e-6);
        assert_eq!(HEAD.backward(&tape, &[1.0; 15])[..5], [1.0; 5]);
    }

    #[test]
    fn a_start_has_rows_at_equal_distances() {
        let start = HEAD.start(&mut Rng::new(3));
        assert_eq!(start, HEAD.start(&mut Rng::new(3)));
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let [a, b] = [a, b].map(|row| &start[row * 5..][..5]);
            // f32 rounding
            assert!(dot(a, b).abs() < 1e-6);
        }
    }
}
