//! Dense matrices for parametrisations: row-major, f32 for training and f64 for baking.
//!
//! One generic code serves both precisions, so that what is baked in f64 is the function that was
//! trained in f32.

use gemm::{Parallelism, gemm};

/// The two precisions of a parametrisation.
pub trait Real:
    Copy
    + Send
    + Sync
    + 'static
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::AddAssign
{
    /// Rounds an f64 to this precision.
    fn from_f64(value: f64) -> Self;
    /// Widens to f64, exact.
    fn to_f64(self) -> f64;
    /// Distance from 1 to the next larger number.
    const EPSILON: f64;
    /// Share of a vector that is left when nothing but rounding is.
    const CONVERGED: f64;
    /// Most Krylov rounds of a norm estimate: one in training, where it runs at every step.
    const ROUNDS: usize;
}

impl Real for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    const EPSILON: f64 = f32::EPSILON as f64;
    const CONVERGED: f64 = 1e-4;
    const ROUNDS: usize = 1;
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    const EPSILON: f64 = f64::EPSILON;
    const CONVERGED: f64 = 1e-9;
    const ROUNDS: usize = 30;
}

/// A row-major matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<T> {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Entries, row after row.
    pub data: Vec<T>,
}

impl<T: Real> Matrix<T> {
    /// A matrix of `rows` x `cols` entries; `data` must hold exactly that many.
    pub fn new(rows: usize, cols: usize, data: Vec<T>) -> Self {
        assert_eq!(data.len(), rows * cols, "matrix data of the wrong length");
        Self { rows, cols, data }
    }

    /// All entries zero.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self::new(rows, cols, vec![T::from_f64(0.0); rows * cols])
    }

    /// The first `cols` columns of the identity of size `rows`.
    pub fn identity(rows: usize, cols: usize) -> Self {
        let mut identity = Self::zeros(rows, cols);
        for i in 0..rows.min(cols) {
            identity.data[i * cols + i] = T::from_f64(1.0);
        }
        identity
    }

    /// The same matrix in another precision, each entry rounded to nearest.
    pub fn cast<U: Real>(&self) -> Matrix<U> {
        let data = self.data.iter().map(|x| U::from_f64(x.to_f64())).collect();
        Matrix::new(self.rows, self.cols, data)
    }

    /// The transposed matrix.
    pub fn transposed(&self) -> Self {
        let mut result = Self::zeros(self.cols, self.rows);
        // bands of 16 rows: the reads stay in few cache lines, the writes fill theirs
        for band in (0..self.rows).step_by(16) {
            let rows = band..self.rows.min(band + 16);
            for c in 0..self.cols {
                for r in rows.clone() {
                    result.data[c * self.rows + r] = self.data[r * self.cols + c];
                }
            }
        }
        result
    }

    /// `self · other`.
    pub fn times(&self, other: &Self) -> Self {
        let mut result = Self::zeros(self.rows, other.cols);
        result.add_product(1.0, self, Side::Plain, other, Side::Plain);
        result
    }

    /// `selfᵀ · other`.
    pub fn transposed_times(&self, other: &Self) -> Self {
        let mut result = Self::zeros(self.cols, other.cols);
        result.add_product(1.0, self, Side::Transposed, other, Side::Plain);
        result
    }

    /// `self · otherᵀ`.
    pub fn times_transposed(&self, other: &Self) -> Self {
        let mut result = Self::zeros(self.rows, other.rows);
        result.add_product(1.0, self, Side::Plain, other, Side::Transposed);
        result
    }

    /// `self += factor · a · b`, each operand plain or transposed.
    pub fn add_product(&mut self, factor: f64, a: &Self, a_side: Side, b: &Self, b_side: Side) {
        let (m, k, a_row, a_col) = a.view(a_side);
        let (b_k, n, b_row, b_col) = b.view(b_side);
        assert_eq!((self.rows, self.cols, k), (m, n, b_k), "matrix shapes");
        // SAFETY: the three buffers hold rows·cols entries (checked at construction), the strides
        // describe exactly those, and `self` is borrowed mutably, so it aliases neither operand.
        #[expect(unsafe_code, reason = "the gemm crate takes raw pointers")]
        unsafe {
            gemm(
                m,
                n,
                k,
                self.data.as_mut_ptr(),
                1,
                self.cols as isize,
                true,
                a.data.as_ptr(),
                a_col,
                a_row,
                b.data.as_ptr(),
                b_col,
                b_row,
                T::from_f64(1.0),
                T::from_f64(factor),
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }

    /// `self += factor · other`, entry by entry.
    pub fn add_scaled(&mut self, factor: f64, other: &Self) {
        assert_eq!((self.rows, self.cols), (other.rows, other.cols));
        let factor = T::from_f64(factor);
        for (a, &b) in self.data.iter_mut().zip(&other.data) {
            *a += factor * b;
        }
    }

    /// `self += value · I` for a square matrix.
    pub fn add_diagonal(&mut self, value: f64) {
        assert_eq!(self.rows, self.cols, "the diagonal of a square");
        let value = T::from_f64(value);
        for entry in self.data.iter_mut().step_by(self.cols + 1) {
            *entry += value;
        }
    }

    /// `(self + selfᵀ)/2` in place of a square matrix.
    pub fn symmetrise(&mut self) {
        let mirrored = self.transposed();
        let half = T::from_f64(0.5);
        for (a, &b) in self.data.iter_mut().zip(&mirrored.data) {
            *a = half * (*a + b);
        }
    }

    /// `factor · self`.
    pub fn scaled(&self, factor: f64) -> Self {
        let factor = T::from_f64(factor);
        let data = self.data.iter().map(|&x| x * factor).collect();
        Self::new(self.rows, self.cols, data)
    }

    /// Frobenius norm, summed in f64.
    pub fn frobenius(&self) -> f64 {
        dot(&self.data, &self.data).sqrt()
    }

    /// rows, columns, row stride, column stride of the operand.
    fn view(&self, side: Side) -> (usize, usize, isize, isize) {
        let stride = self.cols as isize;
        match side {
            Side::Plain => (self.rows, self.cols, stride, 1),
            Side::Transposed => (self.cols, self.rows, 1, stride),
        }
    }
}

/// ⟨a, b⟩, summed in f64.
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let product = |(a, b): (&T, &T)| a.to_f64() * b.to_f64();
    let (eights, rest) = a.as_chunks::<8>();
    let (other_eights, other_rest) = b.as_chunks::<8>();
    // eight sums side by side: one alone waits for each addition
    let mut sums = [0.0; 8];
    for (a, b) in eights.iter().zip(other_eights) {
        for (sum, pair) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += product(pair);
        }
    }
    let rest: f64 = rest.iter().zip(other_rest).map(product).sum();
    sums.iter().sum::<f64>() + rest
}

/// How an operand enters a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As stored.
    Plain,
    /// Transposed.
    Transposed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_equal_the_triple_loop() {
        let a = Matrix::<f64>::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let b = Matrix::<f64>::new(3, 2, vec![1.0, -1.0, 0.5, 2.0, 0.0, 4.0]);
        let ab = vec![2.0, 15.0, 6.5, 30.0];
        assert_eq!(a.times(&b).data, ab);
        assert_eq!(a.transposed().transposed_times(&b).data, ab);
        assert_eq!(a.times_transposed(&b.transposed()).data, ab);
        let mut sum = Matrix::identity(2, 2);
        sum.add_product(-2.0, &a, Side::Plain, &b, Side::Plain);
        assert_eq!(sum.data, vec![-3.0, -30.0, -13.0, -59.0]);
    }
}
