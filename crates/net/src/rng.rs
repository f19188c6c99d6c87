//! Seeded chance by integer arithmetic: the same seed gives the same numbers on every platform.
//!
//! xoshiro256** with a state filled by SplitMix64 (Blackman and Vigna, "Scrambled linear pseudorandom number
//! generators", 2021). Not for secrets.

/// 2^64 divided by the golden ratio, odd: the step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        let state = [1, 2, 3, 4].map(|i: u64| mix(seed.wrapping_add(i.wrapping_mul(STEP))));
        Self { state }
    }

    /// The stream of `seed` and a list of keys, as (epoch, sample): any change of seed, keys, their order or number
    /// gives an unrelated stream.
    pub fn keyed(seed: u64, keys: &[u64]) -> Self {
        let hash = keys
            .iter()
            .fold(mix(seed ^ keys.len() as u64), |hash, &key| {
                mix(hash.rotate_left(17).wrapping_add(STEP) ^ mix(key.wrapping_add(STEP)))
            });
        Self::new(hash)
    }

    /// A number for a name, to be used as a key (FNV-1a).
    pub fn hash(name: &[u8]) -> u64 {
        name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let out = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        out
    }

    /// Uniform in 0..n, without bias (Lemire, "Fast random integer generation in an interval", 2019); 0 if n is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // the 2^64 mod n lowest fractions are one draw too many for some results: drawn again
        let excess = n.wrapping_neg().checked_rem(n).unwrap_or(0);
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            let (high, fraction) = ((product >> 64) as u64, product as u64);
            if fraction >= excess {
                return high;
            }
        }
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal. The last bits follow the platform's logarithm.
    pub fn normal(&mut self) -> f64 {
        // the second number is dropped; a state without it is simpler to store
        self.normals()[0]
    }

    /// Two independent standard normals at the price of one (Marsaglia and Bray's polar method).
    pub fn normals(&mut self) -> [f64; 2] {
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                return [x * factor, y * factor];
            }
        }
    }

    /// Brings `items` into random order, all orders alike (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// The output function of SplitMix64: a bijection of 64 bits that spreads every bit.
pub(crate) fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        // the first outputs for the seed 1234567, from the authors' C program
        assert_eq!(
            Rng::new(1234567).state,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423,
                4593380528125082431
            ]
        );
    }

    #[test]
    fn xoshiro_gives_the_published_numbers() {
        let mut rng = Rng {
            state: [1, 2, 3, 4],
        };
        let expected = [
            11520,
            0,
            1509978240,
            1215971899390074240,
            1216172134540287360,
        ];
        assert_eq!(expected.map(|_| rng.next_u64()), expected);
    }

    #[test]
    fn names_hash_to_the_published_number() {
        assert_eq!(Rng::hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_change_of_seed_or_keys_gives_another_stream() {
        let mut keys: Vec<Vec<u64>> = vec![vec![], vec![0], vec![0, 0], vec![0, 0, 0]];
        keys.extend((0..30).flat_map(|epoch| (1..30).map(move |sample| vec![epoch, sample])));
        let mut first: Vec<u64> = (0..4)
            .flat_map(|seed| keys.iter().map(move |k| Rng::keyed(seed, k).next_u64()))
            .collect();
        let drawn = first.len();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), drawn);
        assert_eq!(Rng::keyed(3, &[1, 2]), Rng::keyed(3, &[1, 2]));
    }

    /// Pearson's statistic of counts that should be equal.
    fn chi_square(counts: &[u32]) -> f64 {
        let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts
            .iter()
            .map(|&c| (f64::from(c) - mean).powi(2) / mean)
            .sum()
    }

    /// The 99.99 % quantile of chi-square with 5 degrees of freedom; the seeds are fixed, so a test passes for ever or never.
    const CHI_SQUARE_5: f64 = 25.7;

    #[test]
    fn below_and_shuffle_are_even() {
        let mut rng = Rng::new(1);
        let (mut faces, mut orders) = ([0; 6], [0; 6]);
        for _ in 0..60_000 {
            faces[rng.below(6) as usize] += 1;
            let mut items = [0, 1, 2];
            rng.shuffle(&mut items);
            orders[items[0] * 2 + usize::from(items[1] > items[2])] += 1;
        }
        assert!(chi_square(&faces) < CHI_SQUARE_5, "{faces:?}");
        assert!(chi_square(&orders) < CHI_SQUARE_5, "{orders:?}");
        assert!(
            chi_square(&[10_400, 10_000, 10_000, 10_000, 10_000, 9_600]) > CHI_SQUARE_5,
            "a loaded die must be seen"
        );
    }

    #[test]
    fn below_has_no_bias_where_the_modulus_would() {
        // with n = 3·2^62 the plain product gives every third value twice as often
        let n = 3 << 62;
        let mut rng = Rng::new(2);
        let mut thirds = [0; 6];
        for _ in 0..60_000 {
            let x = rng.below(n);
            assert!(x < n);
            thirds[2 * (x % 3) as usize + usize::from(x >= n / 2)] += 1;
        }
        assert!(chi_square(&thirds) < CHI_SQUARE_5, "{thirds:?}");
        assert_eq!((rng.below(1), rng.below(0)), (0, 0));
    }

    #[test]
    fn one_normal_is_the_first_of_two() {
        let mut rng = Rng::new(5);
        assert_eq!(Rng::new(5).normal(), rng.normals()[0]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        // five standard errors of each mean for 10^5 draws
        let (n, tolerance) = (100_000, 5.0 / 100_000f64.sqrt());
        let mut rng = Rng::new(3);
        let (mut mean, mut square, mut fourth, mut uniform) = (0.0, 0.0, 0.0, 0.0);
        let mut covariance = 0.0;
        for i in 0..n {
            let [x, y] = rng.normals();
            covariance += x * y / f64::from(n);
            let x = if i % 2 == 0 { x } else { y };
            mean += x / f64::from(n);
            square += x * x / f64::from(n);
            fourth += x.powi(4) / f64::from(n);
            let u = rng.uniform();
            assert!((0.0..1.0).contains(&u));
            uniform += u / f64::from(n);
        }
        assert!(mean.abs() < tolerance, "{mean}");
        assert!(covariance.abs() < tolerance, "{covariance}");
        assert!((square - 1.0).abs() < tolerance * 2f64.sqrt(), "{square}");
        assert!((fourth - 3.0).abs() < tolerance * 96f64.sqrt(), "{fourth}");
        assert!(
            (uniform - 0.5).abs() < tolerance / 12f64.sqrt(),
            "{uniform}"
        );
    }
}
