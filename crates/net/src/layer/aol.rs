//! AOL: a kernel of norm at most one by a rescaling of its channels (Prach and Lampert 2022), with
//! the backward pass.
//!
//! For the polyphase kernel K, G = KᵀK and positive q:
//! `t_i = Σ_{j,m} |G_ij[m]|·q_j/q_i`, `K̂ = K·diag(t^{-1/2})`.
//! At every frequency diag(t) − G(θ), scaled by diag(q) from both sides, is diagonally dominant,
//! so K̂ᵀK̂ ≤ I: in exact arithmetic ‖K̂‖ ≤ 1 for every q > 0. A channel with t = 0 is zero and
//! stays zero. Groups are independent blocks.
//!
//! A kernel with more columns than rows is scaled by its rows, from KKᵀ in the same way: its KᵀK
//! is singular and never diagonal, and the row sums would shrink even an orthogonal kernel (to half
//! of its Frobenius norm for 64 → 32 channels).
//!
//! q is trained as ln q, one for each scaled channel (and all its phases). The gradient is exact,
//! through t and q; |·| has slope 0 at 0.

use super::kernel::Kernel;
use super::matrix::{Matrix, Real, Side};
use super::shape::Shape;
use crate::rng::Rng;

/// An almost-orthogonal convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aol {
    /// Shape of the kernel.
    pub shape: Shape,
}

/// What the backward pass of [`Aol::weight`] needs.
pub struct Tape<T> {
    groups: Vec<Group<T>>,
}

/// The kernel of one group, to be scaled by columns.
struct Group<T> {
    kernel: Kernel<T>,
    /// G[m] for the shifts m of [`pairs`]; G[−m] is its transposed.
    gram: Vec<Matrix<T>>,
    /// Σ_m |G[m]| over all shifts, symmetric.
    sums: Matrix<f64>,
    /// Per column.
    q: Vec<f64>,
    t: Vec<f64>,
}

impl Aol {
    /// Number of raw parameters: the entries of the kernel, and ln q per scaled channel.
    pub fn raw_len(&self) -> usize {
        self.shape.weight_len() + self.shape.groups * self.scaled_channels()
    }

    /// Raw parameters at the start of a training: [`Shape::start`] and q = 1. The columns (or
    /// rows) that are scaled are orthonormal, so t = 1 and the kernel keeps its norm of one.
    pub fn start(&self, rng: &mut Rng) -> Vec<f32> {
        let mut raw = self.shape.start(rng);
        raw.resize(self.raw_len(), 0.0);
        raw
    }

    /// The effective weight in [`Shape::weight_shape`] layout, from `raw_len` raw parameters.
    pub fn weight<T: Real>(&self, raw: &[T]) -> (Vec<T>, Tape<T>) {
        assert_eq!(raw.len(), self.raw_len(), "raw parameters of {self:?}");
        let (entries, logs) = raw.split_at(self.shape.weight_len());
        let kernels = self.turned(self.shape.polyphase(entries));
        let logs = logs.chunks_exact(self.scaled_channels());
        let groups: Vec<_> = kernels
            .into_iter()
            .zip(logs)
            .map(|(kernel, logs)| Group::new(kernel, logs))
            .collect();
        let scaled = groups.iter().map(Group::scaled).collect();
        (
            self.shape.weight_from(&self.turned(scaled)),
            Tape { groups },
        )
    }

    /// Gradient in the raw parameters, from the gradient in the effective weight.
    pub fn backward<T: Real>(&self, tape: &Tape<T>, gradient: &[T]) -> Vec<T> {
        let gradients = self.turned(self.shape.polyphase(gradient));
        let groups = tape.groups.iter().zip(&gradients);
        let (kernels, logs): (Vec<_>, Vec<_>) = groups.map(|(group, g)| group.backward(g)).unzip();
        let mut raw = self.shape.weight_from(&self.turned(kernels));
        let phases = logs[0].len() / self.scaled_channels();
        let of_channels = logs.concat();
        let of_channels = of_channels.chunks_exact(phases);
        raw.extend(of_channels.map(|of_phases| T::from_f64(of_phases.iter().sum())));
        raw
    }

    /// Whether rows are scaled instead of columns.
    fn by_rows(&self) -> bool {
        let [rows, cols] = self.shape.block();
        rows < cols * self.shape.phases().pow(2)
    }

    /// Channels that are scaled in each group.
    fn scaled_channels(&self) -> usize {
        let [rows, cols] = self.shape.block();
        if self.by_rows() { rows } else { cols }
    }

    /// Kernels with the scaled channels as columns, and back. No spatial flip: it changes no sum
    /// over all shifts.
    fn turned<T: Real>(&self, kernels: Vec<Kernel<T>>) -> Vec<Kernel<T>> {
        match self.by_rows() {
            true => kernels.iter().map(Kernel::transposed).collect(),
            false => kernels,
        }
    }
}

impl<T: Real> Group<T> {
    fn new(kernel: Kernel<T>, logs: &[T]) -> Self {
        let (cols, side) = (kernel.taps[0].cols, kernel.width);
        let phases = cols / logs.len();
        // a common factor of all q has no effect: the largest is one, none overflows
        let most = logs.iter().map(|x| x.to_f64()).fold(f64::MIN, f64::max);
        let q: Vec<f64> = (0..cols)
            .map(|i| (logs[i / phases].to_f64() - most).exp())
            .collect();
        let mut gram = vec![Matrix::zeros(cols, cols); 2 * side * side - side];
        for (a, b, m) in pairs(side) {
            let [a, b] = [&kernel.taps[a], &kernel.taps[b]];
            gram[m].add_product(1.0, a, Side::Transposed, b, Side::Plain);
        }
        let mut sums = Matrix::zeros(cols, cols);
        for (m, part) in gram.iter().enumerate() {
            for (index, value) in part.data.iter().enumerate() {
                let size = value.to_f64().abs();
                sums.data[index] += size;
                if m != centre(side) {
                    sums.data[index % cols * cols + index / cols] += size;
                }
            }
        }
        let t = sums.times(&Matrix::new(cols, 1, q.clone())).data;
        let t = t.iter().zip(&q).map(|(t, q)| t / q).collect();
        Self {
            kernel,
            gram,
            sums,
            q,
            t,
        }
    }

    /// t^{-1/2}; zero where t is.
    fn factors(&self) -> Vec<f64> {
        let factor = |&t: &f64| if t == 0.0 { 0.0 } else { t.sqrt().recip() };
        self.t.iter().map(factor).collect()
    }

    fn scaled(&self) -> Kernel<T> {
        scale_columns(&self.kernel, &self.factors())
    }

    /// Gradients in the kernel and in ln q, from the gradient in the scaled kernel.
    fn backward(&self, gradient: &Kernel<T>) -> (Kernel<T>, Vec<f64>) {
        let (cols, factors) = (self.t.len(), self.factors());
        let mut in_factors = vec![0.0; cols];
        for (tap, g) in self.kernel.taps.iter().zip(&gradient.taps) {
            for (index, (k, g)) in tap.data.iter().zip(&g.data).enumerate() {
                in_factors[index % cols] += k.to_f64() * g.to_f64();
            }
        }
        // t = S·q/q with S = Σ_m |G[m]|, and the factor is t^{-1/2}
        let in_t = factors
            .iter()
            .zip(&in_factors)
            .map(|(f, g)| -0.5 * f.powi(3) * g);
        let in_t: Vec<f64> = in_t.collect();
        let in_product: Vec<f64> = in_t.iter().zip(&self.q).map(|(g, q)| g / q).collect();
        let through = self.sums.times(&Matrix::new(cols, 1, in_product.clone()));
        let in_logs = (0..cols).map(|i| self.q[i] * through.data[i] - in_t[i] * self.t[i]);
        let mut in_kernel = scale_columns(gradient, &factors);
        let in_gram: Vec<_> = (0..self.gram.len())
            .map(|m| self.in_gram(m, &in_product))
            .collect();
        for (a, b, m) in pairs(self.kernel.width) {
            // G = KᵀL:  dK = L·Hᵀ, dL = K·H
            let (taps, h) = (&self.kernel.taps, &in_gram[m]);
            in_kernel.taps[a].add_product(1.0, &taps[b], Side::Plain, h, Side::Transposed);
            in_kernel.taps[b].add_product(1.0, &taps[a], Side::Plain, h, Side::Plain);
        }
        (in_kernel, in_logs.collect())
    }

    /// Gradient in G[m], where each entry stands for its mirror image in G[−m] too.
    fn in_gram(&self, m: usize, in_product: &[f64]) -> Matrix<T> {
        let cols = self.t.len();
        let slope = |(index, value): (usize, &T)| {
            let (i, j) = (index / cols, index % cols);
            let mirrored = match m == centre(self.kernel.width) {
                true => 0.0,
                false => in_product[j] * self.q[i],
            };
            let size = in_product[i] * self.q[j] + mirrored;
            T::from_f64(match value.to_f64() {
                0.0 => 0.0,
                value => size * value.signum(),
            })
        };
        let data = self.gram[m].data.iter().enumerate().map(slope);
        Matrix::new(cols, cols, data.collect())
    }
}

fn scale_columns<T: Real>(kernel: &Kernel<T>, factors: &[f64]) -> Kernel<T> {
    let tap = |tap: &Matrix<T>| {
        let data = tap.data.iter().zip(factors.iter().cycle());
        let data = data.map(|(x, f)| T::from_f64(x.to_f64() * f));
        Matrix::new(tap.rows, tap.cols, data.collect())
    };
    Kernel {
        taps: kernel.taps.iter().map(tap).collect(),
        ..*kernel
    }
}

/// Taps (a, b) with b not before a, and the index of their shift m = b − a: half of all shifts.
fn pairs(side: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..side * side).flat_map(move |b| {
        (0..=b).map(move |a| {
            let down = b / side - a / side;
            (
                a,
                b,
                down * (2 * side - 1) + centre(side) + b % side - a % side,
            )
        })
    })
}

/// Index of the shift zero.
fn centre(side: usize) -> usize {
    side - 1
}

#[cfg(test)]
mod tests {
    use certiseg_cert::Method;

    use super::super::testing::{SHAPES, assert_gradient, bound, bound_to, norm, operator, random};
    use super::*;

    /// f64 sums of some dozen products, and the norm's own 1e-14.
    const ROUNDING: f64 = 1e-12;

    /// t by its definition, every shift summed on its own, for a kernel scaled by columns.
    fn definition(kernel: &Kernel<f64>, q: &[f64]) -> Vec<f64> {
        let (side, reach) = (kernel.width as i64, kernel.width as i64 - 1);
        let tap = |y: i64, x: i64| match (0..side).contains(&y) && (0..side).contains(&x) {
            true => kernel.taps.get((y * side + x) as usize),
            false => None,
        };
        let mut t = vec![0.0; q.len()];
        for (dy, dx) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx))) {
            let mut gram = Matrix::zeros(q.len(), q.len());
            for (y, x) in (0..side * side).map(|p| (p / side, p % side)) {
                if let (Some(a), Some(b)) = (tap(y, x), tap(y + dy, x + dx)) {
                    gram.add_product(1.0, a, Side::Transposed, b, Side::Plain);
                }
            }
            for (index, g) in gram.data.iter().enumerate() {
                let (i, j) = (index / q.len(), index % q.len());
                t[i] += g.abs() * q[j] / q[i];
            }
        }
        t
    }

    #[test]
    fn t_equals_its_definition() {
        for shape in SHAPES {
            for kernel in shape.polyphase(&random(shape.weight_len(), 1)) {
                let logs = random(kernel.taps[0].cols, 2);
                let q: Vec<f64> = logs.iter().map(|x| x.exp()).collect();
                let group = Group::new(kernel, &logs);
                let expected = definition(&group.kernel, &q);
                for (got, expected) in group.t.iter().zip(&expected) {
                    assert!((got - expected).abs() < ROUNDING * expected, "{shape:?}");
                    assert!((got * (1.0 + 1e-9) - expected).abs() > ROUNDING * expected);
                }
            }
        }
    }

    #[test]
    fn the_norm_is_at_most_one_for_every_q_and_q_has_an_effect() {
        for shape in SHAPES {
            let layer = Aol { shape };
            let mut raw = random(layer.raw_len(), 3);
            let mut before = Vec::new();
            for spread in [0.0, 0.5, 2.0, 20.0] {
                for (log, x) in raw[shape.weight_len()..].iter_mut().zip(random(99, 4)) {
                    *log = spread * x;
                }
                let (weight, _) = layer.weight(&raw);
                let got = norm(&operator(&shape, &weight, 6));
                assert!(got <= 1.0 + ROUNDING, "{shape:?}, {spread}: {got}");
                assert!(got > 0.05, "{shape:?}, {spread}: {got}");
                // 1 % is the slack of the audited bound, 1e-6 the rounding to f32
                assert!(bound(&shape, &weight) <= 1.01, "{shape:?}, {spread}");
                let alone = layer.scaled_channels() == 1;
                assert_eq!(
                    weight == before,
                    alone && spread > 0.0,
                    "{shape:?}, {spread}"
                );
                before = weight;
            }
        }
    }

    #[test]
    fn the_audit_needs_no_grid() {
        // f32 rounding of the entries
        const ENOUGH: f64 = 1.0 + 1e-6;
        for shape in SHAPES {
            let layer = Aol { shape };
            let (weight, _) = layer.weight(&random(layer.raw_len(), 8));
            let cheap = bound_to(&shape, &weight, ENOUGH);
            assert!(
                cheap.norm <= ENOUGH && cheap.method == Method::Residual,
                "{shape:?}: {cheap:?}"
            );
            assert!(
                cheap.norm >= bound(&shape, &weight) * (1.0 - 1e-9),
                "{shape:?}"
            );
        }
    }

    #[test]
    fn a_start_keeps_its_norm() {
        // dilated with a stride, the one tap has rows that are not full
        for shape in SHAPES.into_iter() {
            let layer = Aol { shape };
            let start = layer.start(&mut Rng::new(5));
            let (weight, _) = layer.weight(&start);
            for (a, b) in weight.iter().zip(&start) {
                // t = 1 up to f32 rounding of the orthonormal columns
                assert!((a - b).abs() < 1e-5, "{shape:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn gradients_equal_central_differences() {
        for shape in SHAPES {
            let layer = Aol { shape };
            assert_gradient(
                &format!("{shape:?}"),
                &random(layer.raw_len(), 6),
                |raw| layer.weight(raw),
                |tape, g| layer.backward(tape, g),
            );
        }
    }

    #[test]
    fn a_zero_channel_stays_zero_and_extreme_q_do_not_panic() {
        let layer = Aol { shape: SHAPES[0] };
        let mut raw = layer.start(&mut Rng::new(7));
        for block in raw[..54].chunks_exact_mut(18) {
            block[..9].fill(0.0);
        }
        let (weight, tape) = layer.weight(&raw);
        assert!(weight.iter().all(|w| w.is_finite()));
        assert!(weight.chunks_exact(18).all(|block| block[..9] == [0.0; 9]));
        let gradient = layer.backward(&tape, &vec![1.0; 54]);
        assert!(gradient.iter().all(|g| g.is_finite()));
        let far = random(layer.raw_len(), 8)
            .iter()
            .map(|&x| 300.0 * x as f32)
            .collect::<Vec<_>>();
        let (weight, _) = layer.weight(&far);
        let weight: Vec<f64> = weight.into_iter().map(f64::from).collect();
        assert!(
            norm(&operator(&layer.shape, &weight, 6)) <= 1.0 + 1e-5,
            "f32"
        );
        raw[5] = f32::NAN;
        assert!(layer.weight(&raw).0.iter().any(|w| w.is_nan()));
    }
}
