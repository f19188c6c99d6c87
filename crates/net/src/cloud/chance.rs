//! Chance of generated data: counted bits, and only what IEEE 754 rounds the same way everywhere (no sine, no
//! logarithm), so that a shape has the same bytes on every platform.

use crate::smooth::Philox;

/// Numbers of a stream, one after the other.
pub(super) struct Chance {
    bits: Philox,
    /// Pairs that were taken.
    taken: usize,
    /// The second of the last pair.
    left: Option<u64>,
}

impl Chance {
    /// From the first number on.
    pub(super) fn new(bits: Philox) -> Self {
        Chance {
            bits,
            taken: 0,
            left: None,
        }
    }

    /// The next 64 bits.
    pub(super) fn next_u64(&mut self) -> u64 {
        if let Some(number) = self.left.take() {
            return number;
        }
        let mut pair = [0; 2];
        self.bits.fill(self.taken, &mut pair);
        self.taken += 1;
        self.left = Some(pair[1]);
        pair[0]
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n, biased by less than n/2^64.
    pub(super) fn below(&mut self, n: usize) -> usize {
        part(self.next_u64(), n)
    }

    /// Cosine and sine of an angle, all alike: a point of a ring around the origin, brought to length 1.
    pub(super) fn direction(&mut self) -> [f64; 2] {
        /// Square of the inner radius of the ring: the quotient stays exact enough.
        const INNER: f64 = 0.01;
        loop {
            let [x, y] = [self.between(-1.0, 1.0), self.between(-1.0, 1.0)];
            let square = x * x + y * y;
            if (INNER..=1.0).contains(&square) {
                let length = square.sqrt();
                return [x / length, y / length];
            }
        }
    }

    /// A point of the unit sphere, all alike (Archimedes: its height is uniform).
    pub(super) fn sphere(&mut self) -> [f64; 3] {
        let z = self.between(-1.0, 1.0);
        let radius = (1.0 - z * z).max(0.0).sqrt();
        let [cos, sin] = self.direction();
        [radius * cos, radius * sin, z]
    }
}

/// floor(bits·n/2^64).
pub(super) fn part(bits: u64, n: usize) -> usize {
    ((u128::from(bits) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smooth::Stream;

    fn chance() -> Chance {
        Chance::new(Philox::new(3, Stream::Data, 1, 0))
    }

    #[test]
    fn numbers_are_those_of_the_stream_in_order() {
        let mut all = [0; 8];
        Philox::new(3, Stream::Data, 1, 0).fill(0, &mut all);
        let mut chance = chance();
        assert_eq!(all.map(|_| chance.next_u64()), all);
    }

    #[test]
    fn parts_of_the_range() {
        assert_eq!([0, 1 << 63, u64::MAX].map(|bits| part(bits, 10)), [0, 5, 9]);
        assert_eq!(part(u64::MAX, usize::MAX), usize::MAX - 1);
    }

    /// Six standard errors of 10^5 draws; the seed is fixed, so the test passes for ever or never.
    #[test]
    fn directions_are_uniform() {
        let n = 100_000;
        let slack = 6.0 / f64::from(n).sqrt();
        let mut chance = chance();
        // means of cos, sin, cos², cos·sin, and of the coordinates of the sphere and their squares
        let mut ring = [0.0; 4];
        let mut sphere = [0.0; 6];
        for _ in 0..n {
            let [x, y] = chance.direction();
            assert!((x * x + y * y - 1.0).abs() < 1e-15);
            for (sum, value) in ring.iter_mut().zip([x, y, x * x - 0.5, x * y]) {
                *sum += value / f64::from(n);
            }
            let p = chance.sphere();
            for (axis, value) in p.iter().enumerate() {
                sphere[axis] += value / f64::from(n);
                sphere[axis + 3] += (value * value - 1.0 / 3.0) / f64::from(n);
            }
        }
        assert!(
            ring.iter().chain(&sphere).all(|mean| mean.abs() < slack),
            "{ring:?} {sphere:?}"
        );
    }
}
