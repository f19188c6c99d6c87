//! Real noise from counted bits, several numbers abreast: no branch, no table, and functions of our own, so that
//! every machine draws the same.

use std::f64::consts::{FRAC_PI_2, LN_2};

use certiseg_cert::smoothing::Law;

/// 2^-53.
const UNIT: f64 = 1.0 / (1u64 << 53) as f64;

/// 1, as bits.
const ONE: u64 = 0x3ff0_0000_0000_0000;

/// The lowest of 64 bits, which no size below reads.
const LOWEST: u64 = 1;

/// Noise from pairs of numbers, in [0, 1] units.
///
/// Of the Gaussian law both numbers of a pair make both values (Box and Muller): radii end at 8.5 sigma, which cuts
/// off 2^-52 of the pairs. The Laplace law ends at 36 scales, the same mass of one value. Errors of the functions
/// are below 1e-12 of a value, far within what rounding to f32 does.
#[inline(always)]
pub(super) fn fill(law: Law, pairs: &[[u64; 2]], values: &mut [[f64; 2]]) {
    match law {
        Law::Gaussian { sigma } => {
            for (values, [a, b]) in values.iter_mut().zip(pairs) {
                let radius = sigma * (-2.0 * ln(positive(*a))).sqrt();
                *values = turned(*b).map(|share| radius * share);
            }
        }
        Law::Laplace { scale } => {
            for (values, pair) in values.iter_mut().zip(pairs) {
                *values = pair.map(|bits| {
                    let sign = (bits & LOWEST) << 63;
                    f64::from_bits((-scale * ln(positive(bits))).to_bits() ^ sign)
                });
            }
        }
        Law::Uniform { width } => {
            for (values, pair) in values.iter_mut().zip(pairs) {
                let of = |bits: u64| width * (2.0 * ((bits >> 11) as f64 + 0.5) * UNIT - 1.0);
                *values = pair.map(of);
            }
        }
    }
}

/// The upper 52 bits as a number in [0, 1).
#[inline(always)]
fn share(bits: u64) -> f64 {
    f64::from_bits(bits >> 12 | ONE) - 1.0
}

/// 1 less [`share`], in (0, 1]: nothing is rounded.
#[inline(always)]
fn positive(bits: u64) -> f64 {
    1.0 - share(bits)
}

/// Natural logarithm of a normal number in (0, 1], -0 of 1; within 4e-16 absolutely or relatively.
#[inline(always)]
fn ln(x: f64) -> f64 {
    /// sqrt(1/2), as bits.
    const ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
    /// Keeps exponents from becoming negative.
    const SHIFT: u64 = 2048;
    /// 2^52, and as bits.
    const WHOLE: f64 = (1u64 << 52) as f64;
    const WHOLE_BITS: u64 = 0x4330_0000_0000_0000;
    // x = 2^e·m with m from sqrt(1/2) to sqrt(2)
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(ROOT).wrapping_add(SHIFT << 52) >> 52;
    let e = f64::from_bits(shifted | WHOLE_BITS) - (WHOLE + SHIFT as f64);
    let m = f64::from_bits(bits.wrapping_sub(shifted.wrapping_sub(SHIFT) << 52));
    // ln m = 2·artanh s with |s| <= 0.1716; what is left out is below 2e-15 of it
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut series = 1.0 / 17.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * z + 1.0 / odd;
    }
    e * LN_2 + 2.0 * s * series
}

/// Cosine and sine of a uniform angle: of one within an eighth of a turn by the upper 52 bits, turned by quarters
/// by the lowest two.
#[inline(always)]
fn turned(bits: u64) -> [f64; 2] {
    let angle = FRAC_PI_2 * (share(bits) - 0.5);
    let z = angle * angle;
    // what is left out is below 2e-15
    let mut sine = 1.0;
    let mut cosine = 1.0;
    for k in [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sine = 1.0 - sine * z * (1.0 / (2.0 * k * (2.0 * k + 1.0)));
        cosine = 1.0 - cosine * z * (1.0 / (2.0 * k * (2.0 * k - 1.0)));
    }
    sine *= angle;
    let quarter = bits & LOWEST != 0;
    let half = (bits & 2) << 62;
    let (x, y) = if quarter {
        (-sine, cosine)
    } else {
        (cosine, sine)
    };
    [x, y].map(|value| f64::from_bits(value.to_bits() ^ half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn logarithms_are_those_of_the_library() {
        let mut rng = Rng::new(3);
        let near = [
            1.0,
            1.0 - UNIT,
            0.5,
            0.5f64.sqrt(),
            0.5f64.sqrt().next_down(),
            2.0 * UNIT,
        ];
        let any = (0..100_000).map(|_| positive(rng.next_u64()));
        let small = (1..52).map(|shift| positive(u64::MAX - (u64::MAX >> shift)));
        for x in near.into_iter().chain(any).chain(small) {
            let (got, want) = (ln(x), x.ln());
            assert!(
                (got - want).abs() <= 1e-15 * want.abs().max(0.5),
                "{x}: {got} {want}"
            );
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn angles_are_those_of_the_library() {
        let mut rng = Rng::new(4);
        for _ in 0..100_000 {
            let bits = rng.next_u64();
            let quarters = (bits & 1) as f64 + (bits & 2) as f64;
            let angle = FRAC_PI_2 * (share(bits) - 0.5 + quarters);
            let [x, y] = turned(bits);
            assert!((x - angle.cos()).abs() < 1e-13 && (y - angle.sin()).abs() < 1e-13);
        }
        // all around
        let corner = |low: u64| turned(1 << 63 | low);
        let got = [0, 1, 2, 3].map(|low| corner(low).map(|v| v.round() as i32));
        assert_eq!(got, [[1, 0], [0, 1], [-1, 0], [0, -1]]);
    }

    #[test]
    fn the_ends_are_finite() {
        for law in [
            Law::Gaussian { sigma: 1.0 },
            Law::Laplace { scale: 1.0 },
            Law::Uniform { width: 1.0 },
        ] {
            let pairs = [[0, 0], [u64::MAX, u64::MAX], [u64::MAX, 0], [0, u64::MAX]];
            let mut values = [[f64::NAN; 2]; 4];
            fill(law, &pairs, &mut values);
            assert!(
                values.iter().flatten().all(|value| value.abs() < 37.0),
                "{law}: {values:?}"
            );
        }
    }
}
