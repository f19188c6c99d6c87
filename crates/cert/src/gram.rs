//! Norm bounds from the Gram sequence E[m] = sum_x A[x+m] A[x]^T of a stride-1 kernel A.
//!
//! E(theta) = P(theta) P(theta)*, so ||A||^2 = sup ||E(theta)||. Every rounding is bounded and
//! added. Bounds of ||A||^2, the smallest of which is used:
//! - row sums: max_i sum_{j,m} |E_ij[m]|·q_j/q_i, for any q > 0, and
//! - Frobenius: c + sum_m ||E[m] - c·I·[m = 0]||_F, c the mean of the diagonal of E[0];
//! - grid: hi/2 + hi/2 / cos(pi·(K-1)/N)^2, hi the largest eigenvalue on N x N frequencies: for a
//!   fixed vector u, u*(E(theta) - hi/2)u is a trigonometric polynomial of degree K-1 on each axis
//!   that stays within hi/2 on the grid, as E >= 0; Ehlich and Zeller (1964) bound it between.

use std::f64::consts::TAU;

use crate::conv_bound::{Bound, Method, TOO_LARGE};
use crate::error::Result;
use crate::hermitian::{Hermitian, LANES};

/// A bound this close (relative) to a lower bound is not improved.
const CLOSE: f64 = 1e-3;
/// Beyond, eigenvalues are not looked for: their rounding is bounded for up to 2^10 rows.
const MOST_ROWS: usize = 1 << 10;

/// The lower half of the Gram sequence of a kernel.
pub(crate) struct Gram {
    rows: usize,
    /// Taps of the kernel on an axis; shifts m run from -(side-1) to side-1 on each.
    side: usize,
    /// entries[pair(i, j)][m] for j <= i, m row by row.
    entries: Vec<f64>,
    /// Bound of the error of each entry.
    error: f64,
}

fn pair(i: usize, j: usize) -> usize {
    i * (i + 1) / 2 + j
}

impl Gram {
    /// Of a kernel (outer, side·side taps, columns), from its smaller side.
    pub(crate) fn of(outer: usize, side: usize, kernel: Vec<f64>) -> Result<Self> {
        let taps = side * side;
        let columns = kernel.len() / outer / taps;
        let (rows, columns, kernel) = match outer <= columns {
            true => (outer, columns, kernel),
            false => (columns, outer, adjoint(outer, taps, &kernel)),
        };
        let shifts = (2 * side - 1) * (2 * side - 1);
        /// 2^27 numbers, 1 GiB.
        const LARGEST: usize = 1 << 27;
        let length = (rows * (rows + 1) / 2)
            .checked_mul(shifts)
            .filter(|&n| n <= LARGEST)
            .ok_or(TOO_LARGE)?;
        let mut entries = Vec::with_capacity(length);
        let row = |i: usize| &kernel[i * taps * columns..][..taps * columns];
        for i in 0..rows {
            for j in 0..=i {
                correlate(row(i), row(j), side, columns, &mut entries);
            }
        }
        let mut gram = Gram {
            rows,
            side,
            entries,
            error: 0.0,
        };
        // A sum of n products is off by n·2^-53 of the product of the row norms, in any order; the
        // norms are off by less than 1 %. 16 more for the subtraction of c.
        gram.error =
            1.01 * gram.largest_diagonal() * (taps * columns + 16) as f64 * (f64::EPSILON / 2.0);
        Ok(gram)
    }

    fn shifts(&self) -> usize {
        (2 * self.side - 1).pow(2)
    }

    /// E[m] at row i and column j <= i, for all m.
    fn entry(&self, i: usize, j: usize) -> &[f64] {
        &self.entries[pair(i, j) * self.shifts()..][..self.shifts()]
    }

    /// Position of m = 0.
    fn center(&self) -> usize {
        self.shifts() / 2
    }

    /// max_i E_ii[0], the largest squared norm of a row: a lower bound of the squared norm.
    fn largest_diagonal(&self) -> f64 {
        (0..self.rows)
            .map(|i| self.entry(i, i)[self.center()])
            .fold(0.0, f64::max)
    }

    /// Error of a sum of |E_ij[m]| over one row.
    fn row_error(&self) -> f64 {
        self.error * (self.rows * self.shifts()) as f64
    }

    /// The smallest bound; the grid only where the cheap ones are loose and above `enough`, and it is
    /// affordable.
    pub(crate) fn bound(&self, enough: f64) -> Bound {
        let squared = self.residual();
        let residual = self.cheap();
        let close = squared <= self.largest_diagonal() * (1.0 + CLOSE).powi(2);
        if close || residual.norm <= enough {
            return residual;
        }
        let grid = self.grid_side().map(|side| self.grid(side, squared));
        match grid.map(|squared| squared.sqrt().next_up()) {
            Some(norm) if norm < residual.norm => Bound {
                norm,
                method: Method::Grid,
            },
            _ => residual,
        }
    }

    /// The bound without a grid.
    pub(crate) fn cheap(&self) -> Bound {
        Bound {
            norm: self.residual().sqrt().next_up(),
            method: Method::Residual,
        }
    }

    /// Row sums and Frobenius norms.
    fn residual(&self) -> f64 {
        let mean = (0..self.rows)
            .map(|i| self.entry(i, i)[self.center()])
            .sum::<f64>()
            / self.rows as f64;
        // |E_ij| of all shifts together, errors included
        let mut sums = vec![0.0; self.rows * self.rows];
        let mut squares = vec![0.0; self.shifts()];
        for i in 0..self.rows {
            for j in 0..=i {
                let entry = self.entry(i, j);
                let sum: f64 = entry.iter().map(|e| e.abs() + self.error).sum();
                sums[i * self.rows + j] = sum;
                sums[j * self.rows + i] = sum;
                for (m, &e) in entry.iter().enumerate() {
                    let e = if i == j && m == self.center() {
                        e - mean
                    } else {
                        e
                    };
                    squares[m] += e * e;
                    if i != j {
                        // E_ji[m] = E_ij[-m]
                        squares[self.shifts() - 1 - m] += e * e;
                    }
                }
            }
        }
        let row_sum = weighted_row_sum(self.rows, &sums);
        let frobenius = mean + squares.into_iter().map(f64::sqrt).sum::<f64>() + self.row_error();
        // Sums of at most rows^2 + shifts + rows·shifts terms, none of them negative.
        let terms = self.rows * self.rows + self.shifts() + self.rows * self.shifts() + 16;
        row_sum.min(frobenius) * (1.0 + terms as f64 * f64::EPSILON)
    }

    /// Frequencies on an axis: the finest grid of bounded work; 1 where E does not vary.
    fn grid_side(&self) -> Option<usize> {
        /// Grids and the multiplications each may take: about 1, 20 and 40 s on one core.
        const GRIDS: [(usize, usize); 3] = [(64, 1 << 33), (32, 1 << 37), (16, 1 << 38)];
        if self.rows > MOST_ROWS {
            return None;
        }
        if self.side == 1 {
            return Some(1);
        }
        let work = |n: usize| n * n / 2 * self.rows.pow(2) * (self.rows + self.shifts());
        GRIDS
            .into_iter()
            .find(|&(n, most)| n > 4 * (self.side - 1) && work(n) <= most)
            .map(|(n, _)| n)
    }

    /// Largest eigenvalue on the grid, rounded up, with the correction between grid points.
    /// `ceiling` is a bound already known.
    fn grid(&self, n: usize, ceiling: f64) -> f64 {
        /// The eigenvalue is found to this, relative.
        const STEP: f64 = 1e-4;
        let mut highest = self.largest_diagonal();
        let (folded, mut point) = (self.folded(), Hermitian::new(self.rows));
        let total = n * n;
        for step in 0..total {
            // Far frequencies after each other: the largest eigenvalue is met early. An odd
            // multiplier permutes the powers of 2 that n is.
            let index = (step * 0x9e37_79b1) % total;
            let (y, x) = (index / n, index % n);
            // E(-theta) is the conjugate of E(theta)
            if ((n - y) % n) * n + (n - x) % n < index {
                continue;
            }
            self.at(&folded, n, [y, x], &mut point);
            if point.is_below(highest) {
                continue;
            }
            let (mut low, mut high) = (highest, ceiling);
            while high > low * (1.0 + STEP) {
                let middle = (low * high).sqrt();
                if point.is_below(middle) {
                    high = middle
                } else {
                    low = middle
                }
            }
            highest = high;
        }
        // Cholesky of a matrix of trace t proves its least eigenvalue above -(rows+1)·2^-53·t
        // (S. M. Rump, "Verification of positive definiteness", 2006), in any order of its sums; 16
        // times that for complex arithmetic. Phases, sums of opposite shifts and the sum over shifts
        // are off by (8 + shifts/2)·2^-52 of the largest row sum in the real and in the imaginary
        // part; that sum is at most sqrt(rows) <= 32 times the ceiling. Entries are off by their error.
        let rows = self.rows as f64;
        let cholesky = 8.0 * (rows + 4.0) * f64::EPSILON * rows * highest;
        let phases = ceiling * (self.shifts() as f64 + 16.0) * 32.0 * f64::EPSILON;
        let highest = highest + cholesky + phases + self.row_error();
        let degree = (self.side - 1) as f64;
        let cosine = (std::f64::consts::PI * degree / n as f64).cos();
        let between = 1.0 / (cosine * cosine);
        highest * (0.5 + 0.5 * between) * (1.0 + 32.0 * f64::EPSILON)
    }

    /// The lower half of E as [`Hermitian`] keeps it, `shifts` numbers per entry: E[0], the sums
    /// E[m] + E[-m] of half of the shifts, their differences.
    fn folded(&self) -> Vec<[f64; LANES]> {
        let (center, shifts) = (self.center(), self.shifts());
        let mut folded = Vec::new();
        for first in (0..self.rows).step_by(LANES) {
            for (j, part) in (0..first + LANES).flat_map(|j| (0..shifts).map(move |m| (j, m))) {
                folded.push(std::array::from_fn(|lane| {
                    let i = first + lane;
                    if i >= self.rows || j > i {
                        return 0.0;
                    }
                    let entry = self.entry(i, j);
                    match part {
                        0 => entry[center],
                        m if m <= center => entry[center + m] + entry[center - m],
                        // E_ii[m] = E_ii[-m]
                        _ if i == j => 0.0,
                        m => entry[m] - entry[2 * center - m],
                    }
                }));
            }
        }
        folded
    }

    /// E at the frequency 2·pi·(y, x)/n.
    fn at(&self, folded: &[[f64; LANES]], n: usize, [y, x]: [usize; 2], point: &mut Hermitian) {
        let (width, center) = (2 * self.side - 1, self.center());
        let phases: Vec<(f64, f64)> = (center + 1..self.shifts())
            .map(|m| {
                // shifts count from -(side-1): less the central one, modulo n
                let turns =
                    (y * (m / width) + x * (m % width) + (n - (y + x) % n) * (self.side - 1)) % n;
                let (sine, cosine) = (TAU * turns as f64 / n as f64).sin_cos();
                (cosine, sine)
            })
            .collect();
        for (column, entry) in point
            .columns
            .iter_mut()
            .zip(folded.chunks_exact(self.shifts()))
        {
            let (sums, differences) = entry[1..].split_at(center);
            column.real = entry[0];
            column.imaginary = [0.0; LANES];
            for ((sum, difference), (cosine, sine)) in sums.iter().zip(differences).zip(&phases) {
                for lane in 0..LANES {
                    column.real[lane] += sum[lane] * cosine;
                    column.imaginary[lane] += difference[lane] * sine;
                }
            }
        }
    }
}

/// The adjoint of a kernel (outer, taps, columns), of the same norm. Its taps are mirrored, which only
/// mirrors the shifts of the Gram sequence.
pub(crate) fn adjoint(outer: usize, taps: usize, kernel: &[f64]) -> Vec<f64> {
    let columns = kernel.len() / outer / taps;
    let mut adjoint = vec![0.0; kernel.len()];
    for (index, &value) in kernel.iter().enumerate() {
        let (o, tap) = (index / columns / taps, index / columns % taps);
        adjoint[(index % columns * taps + tap) * outer + o] = value;
    }
    adjoint
}

/// The least max_i sum_j S_ij q_j / q_i over the q > 0 that are tried, S >= 0: at least the spectral
/// radius of S, and with it of every matrix whose entries it bounds (Collatz, Wielandt). Begins with
/// the row sums, q = 1, and follows the power iteration, whose limit is the best q; what is not
/// positive ends it.
fn weighted_row_sum(rows: usize, sums: &[f64]) -> f64 {
    /// Of the exact radius of most kernels to 1e-9.
    const ROUNDS: usize = 40;
    let mut q = vec![1.0f64; rows];
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let next: Vec<f64> = sums
            .chunks_exact(rows)
            .map(|row| row.iter().zip(&q).map(|(s, q)| s * q).sum())
            .collect();
        let largest = next.iter().zip(&q).map(|(n, q)| n / q).fold(0.0, f64::max);
        least = least.min(largest);
        let scale = next.iter().copied().fold(0.0, f64::max);
        q = next.iter().map(|n| n / scale).collect();
        if !q.iter().all(|q| (f64::MIN_POSITIVE..=1.0).contains(q)) {
            break;
        }
    }
    least
}

/// Appends sum_x <a[x+m], b[x]> for all shifts m, row by row; a and b are (side, side, columns).
fn correlate(a: &[f64], b: &[f64], side: usize, columns: usize, out: &mut Vec<f64>) {
    let shifts = 2 * side - 1;
    for y in 0..shifts {
        for x in 0..shifts {
            // m = y - (side-1): a starts at max(m, 0), b at max(-m, 0)
            let (a_y, b_y) = ((y + 1).saturating_sub(side), (side - 1).saturating_sub(y));
            let (a_x, b_x) = ((x + 1).saturating_sub(side), (side - 1).saturating_sub(x));
            let length = (side - a_x - b_x) * columns;
            let rows = 0..side - a_y - b_y;
            out.push(
                rows.map(|row| {
                    let a = &a[((a_y + row) * side + a_x) * columns..][..length];
                    let b = &b[((b_y + row) * side + b_x) * columns..][..length];
                    dot(a, b)
                })
                .sum(),
            );
        }
    }
}

/// Sum of products in 8 partial sums, which the compiler turns into vector instructions.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.into_iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_bring_row_sums_down_to_the_spectral_radius() {
        // eigenvalues 1 ± √2; row sums 3 and 1
        let radius = 1.0 + 2f64.sqrt();
        let got = weighted_row_sum(2, &[2.0, 1.0, 1.0, 0.0]);
        assert!(
            (got - radius).abs() < 1e-9 && got >= radius * (1.0 - 1e-15),
            "{got}"
        );
        // an isolated row, and nothing at all
        assert_eq!(weighted_row_sum(2, &[0.5, 0.0, 0.0, 3.0]), 3.0);
        assert_eq!(weighted_row_sum(2, &[0.0; 4]), 0.0);
    }

    #[test]
    fn correlation_equals_its_definition() {
        let (side, columns) = (3, 2);
        let value = |seed: usize, n: usize| ((n * 7 + seed * 5) % 11) as f64 - 5.0;
        let [a, b] = [1, 2].map(|seed| {
            (0..side * side * columns)
                .map(|n| value(seed, n))
                .collect::<Vec<_>>()
        });
        let mut fast = Vec::new();
        correlate(&a, &b, side, columns, &mut fast);
        let mut m = 0;
        for dy in -2i64..=2 {
            for dx in -2i64..=2 {
                let mut sum = 0.0;
                for (y, x, c) in
                    (0..3).flat_map(|y| (0..3).flat_map(move |x| (0..2).map(move |c| (y, x, c))))
                {
                    let at = |y: i64, x: i64| ((y * 3 + x) * 2 + c) as usize;
                    if (0..3).contains(&(y + dy)) && (0..3).contains(&(x + dx)) {
                        sum += a[at(y + dy, x + dx)] * b[at(y, x)];
                    }
                }
                assert_eq!(fast[m], sum, "{dy} {dx}");
                m += 1;
            }
        }
    }

    #[test]
    fn dot_sums_every_term() {
        for length in 0..40usize {
            let a: Vec<f64> = (0..length).map(|n| n as f64).collect();
            assert_eq!(
                dot(&a, &a),
                (0..length).map(|n| (n * n) as f64).sum::<f64>()
            );
        }
    }
}
