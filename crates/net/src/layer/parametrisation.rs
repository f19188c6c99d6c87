//! How the effective values of a tensor follow from raw parameters, with the way back for gradients:
//! one list of all parametrisations.

use super::aoc::{self, Aoc};
use super::aol::{self, Aol};
use super::matrix::Real;
use super::shape::Shape;
use super::soc::{self, Soc};
use super::spectral::{self, Spectral};
use super::unit_rows::{self, UnitRows};
use crate::error::Result;
use crate::rng::Rng;

/// How a tensor is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Parametrisation {
    /// Raw values as they are, all starting at one number.
    Free {
        /// Number of values.
        length: usize,
        /// Their start.
        start: f32,
    },
    /// A kernel without constraint; starts Gaussian with variance 2/(inputs of an output).
    Kernel {
        /// Its shape.
        shape: Shape,
    },
    /// Orthogonal convolution.
    Aoc(Aoc),
    /// Divided by its norm.
    Spectral(Spectral),
    /// Almost orthogonal.
    Aol(Aol),
    /// Exponential of a skew kernel.
    Soc(Soc),
    /// Rows of norm 1.
    UnitRows(UnitRows),
    /// Angles θ, starting at π/2, to normals (sin, −cos)(θ/2): first all sines.
    Angles {
        /// Number of pairs.
        pairs: usize,
    },
    /// Positive weights that sum to 1.
    Softmax {
        /// Number of weights.
        count: usize,
    },
    /// 1/N each; nothing is learned.
    Even {
        /// Number of weights.
        count: usize,
    },
    /// α, starting at 1, to (α, 1/(1 + |α|)).
    Prescale,
}

/// What a backward pass needs.
pub enum Tape<T> {
    /// Nothing: the values are the raw parameters, or none are learned.
    Direct,
    /// Of [`Aoc`].
    Aoc(aoc::Tape<T>),
    /// Of [`Spectral`].
    Spectral(spectral::Tape<T>),
    /// Of [`Aol`].
    Aol(aol::Tape<T>),
    /// Of [`Soc`].
    Soc(soc::Tape<T>),
    /// Of [`UnitRows`].
    UnitRows(unit_rows::Tape<T>),
    /// The effective values themselves.
    Values(Vec<T>),
}

impl Parametrisation {
    /// Checks that the construction exists.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] with what stands in the way.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Aoc(aoc) => aoc.check(),
            Self::Soc(soc) => soc.check(),
            _ => Ok(()),
        }
    }

    /// Number of raw parameters.
    pub fn raw_len(&self) -> usize {
        match self {
            Self::Free { length, .. } => *length,
            Self::Kernel { shape } => shape.weight_shape().iter().product(),
            Self::Aoc(aoc) => aoc.raw_len(),
            Self::Spectral(spectral) => spectral.raw_len(),
            Self::Aol(aol) => aol.raw_len(),
            Self::Soc(soc) => soc.raw_len(),
            Self::UnitRows(rows) => rows.raw_len(),
            Self::Angles { pairs } => *pairs,
            Self::Softmax { count } => *count,
            Self::Even { .. } => 0,
            Self::Prescale => 1,
        }
    }

    /// Raw parameters at the start of a training.
    pub fn start(&self, rng: &mut Rng) -> Vec<f32> {
        match self {
            Self::Free { length, start } => vec![*start; *length],
            Self::Kernel { shape } => {
                let [out, input, height, width] = shape.weight_shape();
                let inputs = if shape.transposed {
                    out
                } else {
                    input * height * width
                };
                let deviation = (2.0 / inputs as f64).sqrt();
                (0..out * input * height * width)
                    .map(|_| (deviation * rng.normal()) as f32)
                    .collect()
            }
            Self::Aoc(aoc) => aoc.start(rng),
            Self::Spectral(spectral) => spectral.start(rng),
            Self::Aol(aol) => aol.start(rng),
            Self::Soc(soc) => soc.start(rng),
            Self::UnitRows(rows) => rows.start(rng),
            Self::Angles { pairs } => vec![std::f32::consts::FRAC_PI_2; *pairs],
            Self::Softmax { count } => vec![0.0; *count],
            Self::Even { .. } => Vec::new(),
            Self::Prescale => vec![1.0],
        }
    }

    /// The effective values, in the layout of the tensor.
    pub fn weight<T: Real>(&self, raw: &[T]) -> (Vec<T>, Tape<T>) {
        match self {
            Self::Free { .. } | Self::Kernel { .. } => (raw.to_vec(), Tape::Direct),
            Self::Aoc(aoc) => taped(aoc.weight(raw), Tape::Aoc),
            Self::Spectral(spectral) => taped(spectral.weight(raw), Tape::Spectral),
            Self::Aol(aol) => taped(aol.weight(raw), Tape::Aol),
            Self::Soc(soc) => taped(soc.weight(raw), Tape::Soc),
            Self::UnitRows(rows) => taped(rows.weight(raw), Tape::UnitRows),
            Self::Angles { .. } => {
                let halves = raw.iter().map(|x| 0.5 * x.to_f64());
                let sines = halves.clone().map(f64::sin);
                let values: Vec<T> = sines
                    .chain(halves.map(|x| -x.cos()))
                    .map(T::from_f64)
                    .collect();
                (values.clone(), Tape::Values(values))
            }
            Self::Softmax { .. } => {
                let most = raw
                    .iter()
                    .map(|x| x.to_f64())
                    .fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = raw.iter().map(|x| (x.to_f64() - most).exp()).collect();
                let total: f64 = powers.iter().sum();
                let values: Vec<T> = powers.iter().map(|p| T::from_f64(p / total)).collect();
                (values.clone(), Tape::Values(values))
            }
            Self::Even { count } => (vec![T::from_f64(1.0 / *count as f64); *count], Tape::Direct),
            Self::Prescale => {
                let alpha = raw[0].to_f64();
                let values = vec![raw[0], T::from_f64(1.0 / (1.0 + alpha.abs()))];
                (values.clone(), Tape::Values(values))
            }
        }
    }

    /// Gradient in the raw parameters, from that in the effective values.
    pub fn backward<T: Real>(&self, tape: &Tape<T>, gradient: &[T]) -> Vec<T> {
        match (self, tape) {
            (Self::Even { .. }, _) => Vec::new(),
            (_, Tape::Direct) => gradient.to_vec(),
            (Self::Aoc(aoc), Tape::Aoc(tape)) => aoc.backward(tape, gradient),
            (Self::Spectral(spectral), Tape::Spectral(tape)) => spectral.backward(tape, gradient),
            (Self::Aol(aol), Tape::Aol(tape)) => aol.backward(tape, gradient),
            (Self::Soc(soc), Tape::Soc(tape)) => soc.backward(tape, gradient),
            (Self::UnitRows(rows), Tape::UnitRows(tape)) => rows.backward(tape, gradient),
            (Self::Angles { pairs }, Tape::Values(values)) => {
                // d(sin, -cos)(θ/2) = ½ (cos, sin)(θ/2) dθ
                let (sines, cosines) = values.split_at(*pairs);
                let (in_sines, in_cosines) = gradient.split_at(*pairs);
                (0..*pairs)
                    .map(|i| {
                        let along = in_cosines[i].to_f64() * sines[i].to_f64();
                        let across = in_sines[i].to_f64() * cosines[i].to_f64();
                        T::from_f64(0.5 * (along - across))
                    })
                    .collect()
            }
            (Self::Softmax { .. }, Tape::Values(values)) => {
                let pairs = || values.iter().zip(gradient);
                let mean: f64 = pairs().map(|(w, g)| w.to_f64() * g.to_f64()).sum();
                pairs()
                    .map(|(w, g)| T::from_f64(w.to_f64() * (g.to_f64() - mean)))
                    .collect()
            }
            (Self::Prescale, Tape::Values(values)) => {
                let (alpha, factor) = (values[0].to_f64(), values[1].to_f64());
                let through = gradient[1].to_f64() * alpha.signum() * factor * factor;
                vec![T::from_f64(gradient[0].to_f64() - through)]
            }
            // a tape comes from `weight` of the same parametrisation
            _ => unreachable!("the tape of another parametrisation"),
        }
    }
}

fn taped<T, A>((values, tape): (Vec<T>, A), wrap: impl Fn(A) -> Tape<T>) -> (Vec<T>, Tape<T>) {
    (values, wrap(tape))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// h = 1e-6 leaves h² of truncation and 1e-16/h of rounding, on numbers of order one.
    const DIFFERENCES: f64 = 1e-8;

    #[test]
    fn gradients_equal_central_differences() {
        let mut rng = Rng::new(5);
        let table = [
            Parametrisation::Angles { pairs: 3 },
            Parametrisation::Softmax { count: 4 },
            Parametrisation::Prescale,
            Parametrisation::Free {
                length: 2,
                start: 0.0,
            },
            Parametrisation::Even { count: 2 },
        ];
        for member in table {
            let raw: Vec<f64> = (0..member.raw_len()).map(|_| rng.normal()).collect();
            let (values, tape) = member.weight(&raw);
            let direction: Vec<f64> = values.iter().map(|_| rng.normal()).collect();
            let gradient = member.backward(&tape, &direction);
            assert_eq!(gradient.len(), raw.len());
            for at in 0..raw.len() {
                let moved = |step: f64| {
                    let mut raw = raw.clone();
                    raw[at] += step;
                    let (values, _) = member.weight(&raw);
                    values
                        .iter()
                        .zip(&direction)
                        .map(|(a, b)| a * b)
                        .sum::<f64>()
                };
                let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                let got = gradient[at];
                assert!(
                    (got - expected).abs() < DIFFERENCES,
                    "{member:?} {got} {expected}"
                );
            }
        }
    }

    #[test]
    fn starts_are_those_of_the_field() {
        let values = |p: Parametrisation| p.weight(&p.start(&mut Rng::new(1))).0;
        // θ = π/2 exchanges the pair where a > b: MaxMin
        let normals = values(Parametrisation::Angles { pairs: 1 });
        assert!((normals[0] - 0.5f32.sqrt()).abs() < 1e-7 && normals[1] == -normals[0]);
        assert_eq!(values(Parametrisation::Softmax { count: 2 }), [0.5, 0.5]);
        assert_eq!(values(Parametrisation::Even { count: 4 }), [0.25; 4]);
        assert_eq!(values(Parametrisation::Prescale), [1.0, 0.5]);
    }
}
