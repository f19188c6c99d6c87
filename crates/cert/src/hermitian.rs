//! Hermitian matrices, and the test that bounds their eigenvalues from above: where v·I - A has a
//! Cholesky factor, no eigenvalue of A exceeds v, up to a known rounding (S. M. Rump, "Verification
//! of positive definiteness", 2006).
//!
//! Rows are kept in bands of [`LANES`], which the compiler turns into vector instructions.

/// Rows of a band.
pub(crate) const LANES: usize = 4;

/// One column of a band.
#[derive(Clone, Copy, Default)]
pub(crate) struct Column {
    pub(crate) real: [f64; LANES],
    pub(crate) imaginary: [f64; LANES],
}

impl Column {
    /// self -= factor · conj(other at `lane`).
    fn subtract(&mut self, factor: &Column, other: &Column, lane: usize) {
        let (re, im) = (other.real[lane], other.imaginary[lane]);
        for l in 0..LANES {
            self.real[l] -= factor.real[l] * re + factor.imaginary[l] * im;
            self.imaginary[l] -= factor.imaginary[l] * re - factor.real[l] * im;
        }
    }
}

/// A Hermitian matrix by its lower half, and room for its Cholesky factor.
pub(crate) struct Hermitian {
    bands: usize,
    /// Columns 0 to LANES·(b+1) - 1 of band b, band after band. What is right of the diagonal is
    /// not read; rows that fill up the last band are zero.
    pub(crate) columns: Vec<Column>,
    factor: Vec<Column>,
}

/// Where the columns of a band start.
fn start(band: usize) -> usize {
    LANES * band * (band + 1) / 2
}

impl Hermitian {
    /// Zero.
    pub(crate) fn new(rows: usize) -> Self {
        let bands = rows.div_ceil(LANES);
        let zeros = || vec![Column::default(); LANES * bands * (bands + 1) / 2];
        Hermitian {
            bands,
            columns: zeros(),
            factor: zeros(),
        }
    }

    /// Whether the Cholesky factorisation of value·I - self succeeds.
    pub(crate) fn is_below(&mut self, value: f64) -> bool {
        for band in 0..self.bands {
            let matrix = &self.columns[start(band)..];
            let (above, row) = self.factor.split_at_mut(start(band));
            for block in 0..=band {
                let first = LANES * block;
                let (left, here) = row.split_at_mut(first);
                // value·I - self in this block, less the columns of the factor before it
                let mut rests = [Column::default(); LANES];
                for (lane, (rest, entry)) in rests.iter_mut().zip(&matrix[first..]).enumerate() {
                    rest.real = entry.real.map(|v| -v);
                    rest.imaginary = entry.imaginary.map(|v| -v);
                    if block == band {
                        rest.real[lane] += value;
                    }
                }
                // The band that holds the diagonal of this block: one above, or this one.
                let mut diagonal = [Column::default(); LANES];
                let other = match block < band {
                    true => {
                        let other = &above[start(block)..start(block + 1)];
                        diagonal.copy_from_slice(&other[first..]);
                        &other[..first]
                    }
                    false => &*left,
                };
                subtract_products(&mut rests, left, other);
                for lane in 0..LANES {
                    let mut rest = rests[lane];
                    for (done, other) in here.iter().zip(&diagonal[..lane]) {
                        rest.subtract(done, other, lane);
                    }
                    let mut pivot = diagonal[lane].real[lane];
                    if block == band {
                        // NaN fails too
                        if rest.real[lane].is_nan() || rest.real[lane] <= 0.0 {
                            return false;
                        }
                        pivot = rest.real[lane].sqrt();
                    }
                    here[lane] = Column {
                        real: rest.real.map(|v| v / pivot),
                        imaginary: rest.imaginary.map(|v| v / pivot),
                    };
                    if block == band {
                        diagonal[lane] = here[lane];
                    }
                }
            }
        }
        true
    }
}

/// From each lane's column: sum_k left_k · conj(other_k at that lane).
fn subtract_products(rests: &mut [Column; LANES], left: &[Column], other: &[Column]) {
    // Two at a time: as many sums as there are vector registers to hold them.
    for (pair, rests) in rests.chunks_exact_mut(2).enumerate() {
        let [mut a, mut b] = [rests[0], rests[1]];
        for (left, other) in left.iter().zip(other) {
            a.subtract(left, other, 2 * pair);
            b.subtract(left, other, 2 * pair + 1);
        }
        rests.copy_from_slice(&[a, b]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix of a(i, j), j <= i.
    fn matrix(rows: usize, a: impl Fn(usize, usize) -> (f64, f64)) -> Hermitian {
        let mut matrix = Hermitian::new(rows);
        for (i, j) in (0..rows).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let column = &mut matrix.columns[start(i / LANES) + j];
            (column.real[i % LANES], column.imaginary[i % LANES]) = a(i, j);
        }
        matrix
    }

    #[test]
    fn cholesky_finds_the_largest_eigenvalue() {
        // [[2, 1-i], [1+i, 3]] has eigenvalues 1 and 4
        let mut two = matrix(2, |i, j| [[(2.0, 0.0); 2], [(1.0, 1.0), (3.0, 0.0)]][i][j]);
        assert!(two.is_below(4.0 + 1e-9));
        for planted in [4.0 - 1e-9, 2.0, 0.0, -1.0, f64::NAN] {
            assert!(!two.is_below(planted), "{planted}");
        }
    }

    /// u u* + w w* with u = (1, i, -1, ..) / sqrt(n) and w of the alternate signs of u, orthogonal to
    /// it in even dimensions: eigenvalues 1 and 0; with weights 2 and 1 the largest is 2.
    #[test]
    fn cholesky_crosses_bands() {
        for rows in [2usize, 4, 6, 8, 10, 14, 20] {
            let mut sum = matrix(rows, |i, j| {
                let turn = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][(i - j) % 4];
                let weight = if (i - j) % 2 == 0 { 3.0 } else { 1.0 } / rows as f64;
                (turn.0 * weight, turn.1 * weight)
            });
            assert!(sum.is_below(2.0 + 1e-9), "{rows}");
            assert!(!sum.is_below(2.0 - 1e-9), "{rows}");
        }
    }
}
