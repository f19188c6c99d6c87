//! SOC: the exponential of a skew kernel, cut off after n terms (Singla and Feizi 2021), as one
//! explicit kernel, with the backward pass.
//!
//! A = (M − M*)/max(1, s), where M* is the adjoint of the raw kernel M (channels exchanged, taps
//! mirrored) and s ≈ ‖M − M*‖; `W = Σ_{i ≤ n} A^{⊛i}/i!`, of side 1 + n(r−1) for r taps of M.
//! One scalar, since a factor per channel would destroy the skewness.
//!
//! exp(A) is orthogonal and ‖W − exp(A)‖ ≤ ‖A‖^{n+1}·e^{‖A‖}/(n+1)!. As A has eigenvalues iφ only,
//! ‖W‖ is the largest |Σ_{k ≤ n} (iφ)^k/k!| over |φ| ≤ ‖A‖:
//!
//! | n | squared modulus | largest modulus for ‖A‖ ≤ 1 | smallest |
//! |---|---|---|---|
//! | 1 | 1 + φ² | 1.41422 | 1 |
//! | 2 | 1 + φ⁴/4 | 1.11804 | 1 |
//! | 3 | 1 − φ⁴/12 + φ⁶/36 | 1, and for all φ² ≤ 3 | 0.97182 |
//! | 4 | 1 − φ⁶/72 + φ⁸/576 | 1, and for all φ² ≤ 8 | 0.99390 |
//! | 5 | 1 + φ⁶/360 − φ⁸/960 + φ¹⁰/14400 | 1.00091 | 1 |
//!
//! s is the estimate of [`super::spectral`], from below: ‖A‖ may exceed one by some per cent. So
//! 3 or 4 terms leave ‖W‖ ≤ 1 with room to spare, 1, 2, 5 or 6 exceed it; in any case the audit
//! measures the norm and nothing relies on this. A bound from above for s would be 1.5 times too
//! large on random kernels and waste rotation.
//!
//! For s ≤ 1 the scalar is one: A may shrink to zero, W to the identity.

use super::kernel::Kernel;
use super::matrix::{Matrix, Real, dot};
use super::spectral::estimate;
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Shape of a skew orthogonal convolution: stride 1, as many channels out as in, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soc {
    /// Channels in and out.
    pub channels: usize,
    /// Side of the effective kernel, 1 + terms·(r−1).
    pub kernel: usize,
    /// Terms of the series after the identity, n.
    pub terms: usize,
}

/// What the backward pass of [`Soc::weight`] needs.
pub struct Tape<T> {
    /// A.
    skew: Kernel<T>,
    /// max(1, s).
    scale: f64,
    /// ∂s/∂(M − M*), where s > 1.
    slope: Option<Kernel<T>>,
    /// What A is composed with in each step, first step first.
    partial: Vec<Kernel<T>>,
}

impl Soc {
    /// Checks that the effective kernel is one of `terms` compositions of an odd kernel.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it is not, and for a dimension of zero.
    pub fn check(&self) -> Result<()> {
        let Self {
            channels,
            kernel,
            terms,
        } = *self;
        if channels == 0 || kernel == 0 || terms == 0 {
            return Err(Error::unsupported(
                format!("{self:?}: a skew convolution with a zero dimension"),
                "give at least one channel, tap and term",
            ));
        }
        if !(kernel - 1).is_multiple_of(2 * terms) {
            return Err(Error::unsupported(
                format!("a {kernel}x{kernel} kernel of a skew convolution of {terms} terms"),
                "use a side of 1 + 2·terms, or 2·terms more any number of times",
            ));
        }
        Ok(())
    }

    /// The four axes of the weight: [channels, channels, k, k].
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.channels, self.channels, self.kernel, self.kernel]
    }

    /// Number of raw parameters: the entries of M.
    pub fn raw_len(&self) -> usize {
        self.raw_shape().iter().product()
    }

    /// Raw parameters at the start of a training: Gaussian, so that ‖A‖ is about one quarter (the
    /// norm of an n x n Gaussian matrix of variance v is 2√(nv)). There three terms are orthogonal
    /// to φ⁴/24 = 2e-4, and the rotation has room to grow before the scalar sets in.
    pub fn start(&self, rng: &mut Rng) -> Vec<f32> {
        let [channels, _, r, _] = self.raw_shape();
        let deviation = 0.125 / ((2 * channels * r * r) as f64).sqrt();
        (0..self.raw_len())
            .map(|_| (deviation * rng.normal()) as f32)
            .collect()
    }

    /// The effective weight in [`Soc::weight_shape`] layout, from `raw_len` raw parameters.
    pub fn weight<T: Real>(&self, raw: &[T]) -> (Vec<T>, Tape<T>) {
        assert_eq!(raw.len(), self.raw_len(), "raw parameters of {self:?}");
        let difference = minus_adjoint(&Kernel::from_oihw(raw, self.raw_shape()));
        let estimate = estimate(&difference);
        let steep = estimate.norm > 1.0;
        let scale = if steep { estimate.norm } else { 1.0 };
        let skew = scaled(&difference, 1.0 / scale);
        // Horner: W ← I + A⊛W/i for i = n … 1
        let mut weight = Kernel::pointwise(Matrix::identity(self.channels, self.channels));
        let mut partial = Vec::new();
        for i in (1..=self.terms).rev() {
            let mut next = scaled(&skew.then(&weight), 1.0 / i as f64);
            let centre = next.taps.len() / 2;
            let identity = Matrix::identity(self.channels, self.channels);
            next.taps[centre].add_scaled(1.0, &identity);
            partial.push(std::mem::replace(&mut weight, next));
        }
        let tape = Tape {
            skew,
            scale,
            slope: steep.then_some(estimate.slope),
            partial,
        };
        (weight.to_oihw(), tape)
    }

    /// Gradient in the raw parameters, from the gradient in the effective weight.
    pub fn backward<T: Real>(&self, tape: &Tape<T>, gradient: &[T]) -> Vec<T> {
        let mut gradient = Kernel::from_oihw(gradient, self.weight_shape());
        let mut in_skew = scaled(&tape.skew, 0.0);
        for (step, before) in tape.partial.iter().enumerate().rev() {
            let factor = 1.0 / (self.terms - step) as f64;
            let (first, second) = tape.skew.then_backward(before, &scaled(&gradient, factor));
            add(&mut in_skew, 1.0, &first);
            gradient = second;
        }
        if let Some(slope) = &tape.slope {
            // A = D/s:  dD = (G − ⟨G, A⟩ ∂s/∂D) / s
            let taps = in_skew.taps.iter().zip(&tape.skew.taps);
            let along: f64 = taps.map(|(g, a)| dot(&g.data, &a.data)).sum();
            add(&mut in_skew, -along, slope);
        }
        minus_adjoint(&scaled(&in_skew, 1.0 / tape.scale)).to_oihw()
    }

    /// The four axes of M: [channels, channels, r, r].
    fn raw_shape(&self) -> [usize; 4] {
        let r = 1 + (self.kernel - 1) / self.terms;
        [self.channels, self.channels, r, r]
    }
}

/// M − M*; a linear map that is its own adjoint.
fn minus_adjoint<T: Real>(kernel: &Kernel<T>) -> Kernel<T> {
    let mut result = kernel.clone();
    for (tap, mirrored) in result.taps.iter_mut().zip(kernel.taps.iter().rev()) {
        tap.add_scaled(-1.0, &mirrored.transposed());
    }
    result
}

fn scaled<T: Real>(kernel: &Kernel<T>, factor: f64) -> Kernel<T> {
    let taps = kernel.taps.iter().map(|tap| tap.scaled(factor)).collect();
    Kernel { taps, ..*kernel }
}

fn add<T: Real>(sum: &mut Kernel<T>, factor: f64, kernel: &Kernel<T>) {
    for (sum, tap) in sum.taps.iter_mut().zip(&kernel.taps) {
        sum.add_scaled(factor, tap);
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::Shape;
    use super::super::testing::{assert_gradient, bound, norm, operator, random};
    use super::*;

    fn soc(channels: usize, terms: usize) -> Soc {
        Soc {
            channels,
            kernel: 1 + 2 * terms,
            terms,
        }
    }

    fn shape(channels: usize, kernel: usize) -> Shape {
        Shape {
            input: channels,
            out: channels,
            kernel,
            stride: 1,
            dilation: 1,
            groups: 1,
            transposed: false,
        }
    }

    /// f64 sums of some hundred products of order one.
    const ROUNDING: f64 = 1e-12;
    /// Rounding of a weight to f32.
    const F32: f64 = 1e-6;

    #[test]
    fn the_kernel_is_the_cut_series_of_a_skew_operator() {
        for terms in [1, 2, 3, 5] {
            let layer = soc(2, terms);
            let (weight, tape) = layer.weight(&random(layer.raw_len(), 1));
            let side = 4;
            let skew = operator(&shape(2, 3), &tape.skew.to_oihw(), side);
            // taps are counted from the corner: A is skew after a shift back by its centre
            let shift = operator(&shape(1, 3), &[0., 0., 0., 0., 1., 0., 0., 0., 0.], side);
            let shift = |times: usize| {
                let mut both = Matrix::<f64>::zeros(2 * 16, 2 * 16);
                let mut one = Matrix::identity(16, 16);
                (0..times).for_each(|_| one = shift.times(&one));
                for (index, &value) in one.data.iter().enumerate() {
                    let (r, c) = (index / 16, index % 16);
                    both.data[r * 32 + c] = value;
                    both.data[(r + 16) * 32 + c + 16] = value;
                }
                both
            };
            let skew = shift(1).transposed_times(&skew);
            let mut symmetric = skew.clone();
            symmetric.add_scaled(1.0, &skew.transposed());
            assert!(symmetric.frobenius() < ROUNDING);
            let mut power = Matrix::identity(32, 32);
            let mut series = power.clone();
            for i in 1..=terms {
                power = skew.times(&power).scaled(1.0 / i as f64);
                series.add_scaled(1.0, &power);
            }
            let far = |series: &Matrix<f64>| {
                let mut rest = shift(terms).transposed_times(&operator(
                    &shape(2, layer.kernel),
                    &weight,
                    side,
                ));
                rest.add_scaled(-1.0, series);
                rest.frobenius() > ROUNDING
            };
            assert!(!far(&series), "{terms} terms");
            assert!(far(&series.scaled(1.0 + 1e-9)));
        }
    }

    /// |Σ_{k ≤ n} (iφ)^k/k!|.
    fn modulus(terms: usize, phi: f64) -> f64 {
        let (mut re, mut im, mut term) = (0.0, 0.0, 1.0);
        for k in 0..=terms {
            match k % 4 {
                0 => re += term,
                1 => im += term,
                2 => re -= term,
                _ => im -= term,
            }
            term *= phi / (k + 1) as f64;
        }
        re.hypot(im)
    }

    #[test]
    fn the_table_of_moduli() {
        let extremes = |terms: usize, most: f64| {
            let moduli = (0..=1000).map(|i| modulus(terms, most * f64::from(i) / 1000.0));
            moduli.fold((f64::MAX, 0f64), |(low, high), m| (low.min(m), high.max(m)))
        };
        let table = [
            (1, 1.0, 1.41422),
            (2, 1.0, 1.11804),
            (3, 0.97182, 1.0),
            (4, 0.99390, 1.0),
            (5, 1.0, 1.00091),
        ];
        for (terms, low, high) in table {
            let (smallest, largest) = extremes(terms, 1.0);
            assert!(
                (0.0..1e-5).contains(&(smallest - low)),
                "{terms}: {smallest}"
            );
            assert!(
                (-1e-12..1e-5).contains(&(high - largest)),
                "{terms}: {largest}"
            );
        }
        // the sides of φ² = 3 and φ² = 8
        assert!(extremes(3, 3f64.sqrt()).1 <= 1.0 + ROUNDING && modulus(3, 1.75) > 1.0);
        assert!(extremes(4, 8f64.sqrt()).1 <= 1.0 + ROUNDING && modulus(4, 2.85) > 1.0);
    }

    #[test]
    fn the_audit_sees_what_the_cut_series_does_to_the_norm() {
        for (terms, above) in [(1, true), (2, true), (3, false), (4, false), (5, true)] {
            let layer = soc(2, terms);
            let (weight, tape) = layer.weight(&random(layer.raw_len(), 2));
            assert!(tape.scale > 1.0, "the scalar is at work");
            let shape = shape(2, layer.kernel);
            let exact = norm(&operator(&shape, &weight, 8));
            let phi = bound(&self::shape(2, 3), &tape.skew.to_oihw());
            assert!((1.0 - F32..1.01).contains(&phi), "{phi}");
            let most = if above { modulus(terms, phi) } else { 1.0 };
            assert!(
                (0.98 * most..most + ROUNDING).contains(&exact),
                "{terms}: {exact} {most}"
            );
            let got = bound(&shape, &weight);
            assert!(
                (exact - F32..SLACK * exact).contains(&got),
                "{terms}: {got} {exact}"
            );
        }
    }

    /// The audited bound over the norm on a map of 8 x 8, for kernels of side 3 to 11.
    const SLACK: f64 = 1.05;

    #[test]
    fn three_terms_exceed_one_without_the_scalar_and_the_audit_says_so() {
        let layer = soc(2, 3);
        let (_, mut tape) = layer.weight(&random(layer.raw_len(), 2));
        tape.skew = scaled(&tape.skew, 2.0);
        let mut weight = Kernel::pointwise(Matrix::identity(2, 2));
        for i in [3.0, 2.0, 1.0] {
            weight = scaled(&tape.skew.then(&weight), 1.0 / i);
            let centre = weight.taps.len() / 2;
            weight.taps[centre].add_scaled(1.0, &Matrix::identity(2, 2));
        }
        // 1.2018 = |1 + 2i − 2 − (4/3)i| at φ = 2
        let expected = modulus(3, 2.0);
        assert!((expected - 1.2018).abs() < 1e-4);
        let got = bound(&shape(2, 7), &weight.to_oihw());
        assert!((expected - F32..SLACK * expected).contains(&got), "{got}");
    }

    #[test]
    fn gradients_equal_central_differences() {
        // below and above the norm at which the scalar sets in
        for (layer, size) in [
            (soc(2, 3), 0.01),
            (soc(2, 3), 1.0),
            (soc(3, 1), 1.0),
            (soc(1, 2), 1.0),
        ] {
            let raw: Vec<f64> = random(layer.raw_len(), 3)
                .iter()
                .map(|x| size * x)
                .collect();
            assert_gradient(
                &format!("{layer:?}, {size}"),
                &raw,
                |raw| layer.weight(raw),
                |tape, g| layer.backward(tape, g),
            );
        }
    }

    #[test]
    fn a_start_has_a_norm_near_one() {
        for channels in [4, 16] {
            let layer = soc(channels, 3);
            let start = layer.start(&mut Rng::new(4));
            assert_eq!(start, layer.start(&mut Rng::new(4)));
            let raw: Vec<f64> = start.into_iter().map(f64::from).collect();
            let (weight, tape) = layer.weight(&raw);
            assert!(tape.slope.is_none(), "below the scalar");
            let got = bound(&shape(channels, 7), &weight);
            assert!((1.0 - F32..1.001).contains(&got), "{got}");
            // the largest eigenvalue of a random kernel scatters most for few channels
            let skew = estimate(&tape.skew).norm;
            assert!((0.2..0.3).contains(&skew), "{skew}");
        }
    }

    #[test]
    fn zero_is_the_identity_and_nan_stays() {
        let layer = soc(2, 2);
        let mut raw = vec![0f32; layer.raw_len()];
        let (weight, _) = layer.weight(&raw);
        let identity = |i: usize| if i == 12 || i == 87 { 1.0 } else { 0.0 };
        assert_eq!(weight, (0..100).map(identity).collect::<Vec<f32>>());
        raw[0] = f32::NAN;
        assert!(layer.weight(&raw).0.iter().any(|w| w.is_nan()));
    }

    #[test]
    fn what_is_no_composition_of_odd_kernels_is_refused() {
        let refused = |channels, kernel, terms| {
            let layer = Soc {
                channels,
                kernel,
                terms,
            };
            layer.check().unwrap_err().to_string()
        };
        assert!(refused(2, 8, 3).contains("8x8 kernel"));
        assert!(
            refused(2, 4, 3).contains("4x4 kernel"),
            "two taps have no centre"
        );
        assert!(refused(2, 0, 3).contains("zero dimension"));
        assert!(refused(2, 7, 0).contains("zero dimension"));
        assert!(soc(2, 3).check().is_ok());
    }
}
