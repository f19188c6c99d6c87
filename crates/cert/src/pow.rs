//! x^p and x^(1/p) with the same bits on every machine and a proven error.
//!
//! Radii become costs r^p and back, eqs 9-11 of paper 001, "Fast and Flexible Robustness
//! Certificates for Semantic Segmentation"; 2^((1-p)/p) is the factor of its eq 3. The
//! `powf` of a mathematical library serves for neither: its bits differ between machines, its
//! error is promised by none. Here all is integer: fixed point in 64 and 128 bits, cut off
//! towards 0. A *unit* is 2^-64; products of errors, below 2^-100, lie in the gap of the last
//! line.
//!
//! Error: log2 gives |log2 x| with a relative error of 12.5 units and cuts it to 64 bits, 2 units;
//! `pow` multiplies exactly, `root` divides, 4 units. So y, the logarithm of the result, |y| <= 1024,
//! is off by 1024·18.5 units, and by 1 when cut to a multiple of 2^-64: 18945 units.
//! That is a relative error of ln 2·18945 < 13132 units in 2^y; the series of 2^y adds 137 units,
//! the rounding to 53 bits 2048: 15317 in all, POW_ERROR is 16384.

/// Relative error of [`pow`], [`root`] and [`gap_factor`], either side: 2^-50.
pub(crate) const POW_ERROR: f64 = 1.0 / (1u64 << 50) as f64;

/// ln 2 in units, cut off.
const LN_2: u64 = 0xb172_17f7_d1cf_79ab;

/// 2 / ln 2 in multiples of 2^-62, cut off.
const TWO_BY_LN_2: u64 = 0xb8aa_3b29_5c17_f0bb;

/// Terms of the series of the logarithm after the first; 11 leave less than 1/3 unit.
const LOG_TERMS: usize = 11;

/// 1/3, 1/5, 1/7, ... in units, cut off.
const ODD: [u64; LOG_TERMS] = {
    let mut odd = [0; LOG_TERMS];
    let mut k = 0;
    while k < LOG_TERMS {
        odd[k] = ((1u128 << 64) / (2 * k as u128 + 3)) as u64;
        k += 1;
    }
    odd
};

/// Terms of the series of e^z - 1; 16 leave less than 120 units.
const EXP_TERMS: usize = 16;

/// 1, 1/2!, 1/3!, ... in multiples of 2^-63, cut off.
const FACTORIAL: [u64; EXP_TERMS] = {
    let mut inverse = [1 << 63; EXP_TERMS];
    let mut k = 1;
    while k < EXP_TERMS {
        // equal to 2^63 / (k+1)!: cutting off twice is cutting off once
        inverse[k] = inverse[k - 1] / (k as u64 + 1);
        k += 1;
    }
    inverse
};

/// x^p for x > 0 and p >= 1, both finite, relative error at most [`POW_ERROR`].
/// Below `f64::MIN_POSITIVE` the result is 0 (just above it, within the error, it may be 0 too),
/// above `f64::MAX` it is `f64::MAX`. Never NaN or inf.
pub(crate) fn pow(x: f64, p: f64) -> f64 {
    debug_assert!(x > 0.0 && x.is_finite() && p >= 1.0 && p.is_finite());
    if x == 1.0 {
        return 1.0;
    }
    let (negative, log, shift) = log2(x);
    let (p, exponent) = split(p);
    exp2(negative, product(log, p), shift - exponent - 1)
}

/// x^(1/p) for x > 0 and p >= 1, both finite, relative error at most [`POW_ERROR`].
/// Below `f64::MIN_POSITIVE` (a subnormal x, p near 1) the result is 0 as in [`pow`].
pub(crate) fn root(x: f64, p: f64) -> f64 {
    debug_assert!(x > 0.0 && x.is_finite() && p >= 1.0 && p.is_finite());
    if x == 1.0 {
        return 1.0;
    }
    let (negative, log, shift) = log2(x);
    let (p, exponent) = split(p);
    // both lie in [2^63, 2^64): the quotient has at least 62 bits, 4 units relative
    let quotient = (u128::from(log) << 63) / u128::from(p);
    exp2(negative, quotient << 64, shift + exponent)
}

/// 2^((1-p)/p) for finite p >= 1, in (1/2, 1], relative error at most [`POW_ERROR`].
pub(crate) fn gap_factor(p: f64) -> f64 {
    0.5 * root(2.0, p)
}

/// a·b, exactly.
fn product(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// a·b of two fractions in units, in units, cut off.
fn times(a: u64, b: u64) -> u64 {
    (product(a, b) >> 64) as u64
}

/// (p, e) with p·2^(e-63) the argument, which is normal and at least 1; p in [2^63, 2^64). Exact.
fn split(p: f64) -> (u64, i32) {
    let bits = p.to_bits();
    ((bits | 1 << 52) << 11, (bits >> 52) as i32 - 1023)
}

/// (x < 1, a, k) with a·2^-k the absolute value of log2(x), x > 0 finite and not 1; a in
/// [2^63, 2^64), k in [53, 117]. Relative error at most 14.5 units.
///
/// log2(x) = e + log2(m), m in [sqrt 1/2, sqrt 2), and log2(m) = (2/ln 2)·s·(1 + s²/3 + s⁴/5 + ..),
/// s = (m-1)/(m+1), |s| < 0.1716, s² < 0.0295. Relative errors in units:
/// s 4.9; the bracket 3.1; 2/ln 2 and its product with the bracket 1.4 each; log2(m) cut to a
/// multiple of 2^-116 1.4, as |log2(m)| > 1.44·2^-53 unless 0: 12.2 in all, then 2 for 64 bits.
/// If e is not 0, |log2(x)| >= 1/2 >= |log2(m)|: the sum has no larger relative error.
fn log2(x: f64) -> (bool, u64, i32) {
    const TWO_TO_54: f64 = (1u64 << 54) as f64;
    let (x, scaled) = if x < f64::MIN_POSITIVE {
        (x * TWO_TO_54, 54)
    } else {
        (x, 0)
    };
    // differences of bit patterns: the floor of their quotient is e, the rest gives m
    let bits = x.to_bits() as i64;
    let e = (bits - std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64) >> 52;
    let m = f64::from_bits((bits - (e << 52)) as u64);

    // m is a multiple of 2^-53; in that unit m - 1 and m + 1 are exact
    const ONE: i64 = 1 << 53;
    let m = (m * ONE as f64) as i64;
    let mut log = i128::from(e - scaled) << 116;
    if m != ONE {
        let difference = (m - ONE).unsigned_abs();
        // |m - 1| < 0.415: zeros is 12 to 63
        let zeros = difference.leading_zeros();
        let sum = (m + ONE).unsigned_abs() << 9;
        // s = quotient·2^-(53+zeros), the quotient in [0.82·2^62, 2^63.3): 4.9 units
        let quotient = ((u128::from(difference << zeros) << 62) / u128::from(sum)) as u64;
        // s in units, 1.5 too small at most; its square 2·0.18·1.5 + 1 < 1.6
        let s = quotient >> (zeros - 11);
        let square = times(s, s);
        // Horner: each step loses 1 (constant) + 1 (product) + 0.34·1.6 (square) and 0.03 of the
        // loss before: 2.7. Times the square once more: 0.03·2.7 + 0.34·1.6 + 1 < 1.7, half of
        // a multiple of 2^-63 is 1 more, the terms left out 1/3
        let tail = ODD.iter().rev().fold(0, |sum, c| c + times(square, sum));
        let bracket = (1 << 63) + (times(square, tail) >> 1);
        // in multiples of 2^-62, 2.88 to 2.92
        let factor = (product(TWO_BY_LN_2, bracket) >> 63) as u64;
        // quotient·factor is in multiples of 2^-(115+zeros), below 2^127
        let part = (product(quotient, factor) >> (zeros - 1)) as i128;
        log += if m < ONE { -part } else { part };
    }
    let size = log.unsigned_abs();
    let zeros = size.leading_zeros();
    (log < 0, ((size << zeros) >> 64) as u64, 52 + zeros as i32)
}

/// 2^y for y = ±digits·2^-(64+shift), digits < 2^128 and, if shift < 0, at least 2^126.
/// Besides y cut to a multiple of 2^-64, relative error at most 137 units and the rounding to
/// 53 bits, 2^-53. 0 below `f64::MIN_POSITIVE`, `f64::MAX` above that.
///
/// 2^y = 2^n·e^z, n whole, z in [0, ln 2); e^z - 1 = z·(1 + z/2! + z²/3! + ..).
fn exp2(negative: bool, digits: u128, shift: i32) -> f64 {
    const LIMIT: u128 = 1024 << 64;
    let size = match u32::try_from(shift) {
        Ok(shift) => digits.checked_shr(shift).unwrap_or(0).min(LIMIT),
        Err(_) => LIMIT,
    } as i128;
    let y = if negative { -size } else { size };
    let n = (y >> 64) as i64;
    // the low half is the fraction y - n in units; z is 2 too small at most
    let z = times(y as u64, LN_2);
    // Horner in multiples of 2^-63: each step loses 1 (constant) + 1 (product) + 0.65 (z, 1 times
    // the sum so far) and 0.6932 of the loss before: 8.7
    let tail = FACTORIAL.iter().rev().fold(0, |sum, c| c + times(z, sum));
    // e^z - 1 in units: 2·0.6932·8.7 + 2·1.45 (z) + 1 < 17 too small, and 120 left out
    let fraction = (product(z, tail) >> 63) as u64;
    // half up; a carry goes into the exponent, where it belongs
    let bits = ((1023 + n) << 52) + (fraction >> 12) as i64 + (fraction >> 11 & 1) as i64;
    if bits < f64::MIN_POSITIVE.to_bits() as i64 {
        return 0.0;
    }
    f64::from_bits(bits as u64).min(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `got` lies within `tolerance` of the doubles `want`, each relative; 0 only matches 0.
    fn close(got: f64, want: f64, tolerance: f64) -> bool {
        (got - want).abs() <= tolerance * want
    }

    /// The nearest double of a reference value is off by half a step.
    const REFERENCE: f64 = POW_ERROR + f64::EPSILON;

    /// x, p, x^p, x^(1/p), by mpmath 1.3.0 with 400 bits, then rounded to the nearest double;
    /// 0 below the normal range, the largest double above it. First x in {1e-300, 1e-5, 0.3,
    /// 0.999999} for each p in {1.1, 1.5, 3, 7.25, 100, 1e6}; then 1-2^-53, 2, 2^-1074, random.
    #[rustfmt::skip]
    const TABLE: [[u64; 4]; 36] = [
        [0x01a56e1fc2f8f359, 0x3ff199999999999a, 0x0000000000000000, 0x0750380e8e5bd84c],
        [0x01a56e1fc2f8f359, 0x3ff8000000000000, 0x0000000000000000, 0x16687e92154ef7ac],
        [0x01a56e1fc2f8f359, 0x4008000000000000, 0x0000000000000000, 0x2b2bff2ee48e0530],
        [0x01a56e1fc2f8f359, 0x401d000000000000, 0x0000000000000000, 0x37574736dd940ee1],
        [0x01a56e1fc2f8f359, 0x4059000000000000, 0x0000000000000000, 0x3f50624dd2f1a9fc],
        [0x01a56e1fc2f8f359, 0x412e848000000000, 0x0000000000000000, 0x3feffa57d6c5be05],
        [0x3ee4f8b588e368f1, 0x3ff199999999999a, 0x3eca86f0875fcf8d, 0x3efddd23589640c1],
        [0x3ee4f8b588e368f1, 0x3ff8000000000000, 0x3e60fa3389d6eb41, 0x3f3e6b4b396428e8],
        [0x3ee4f8b588e368f1, 0x4008000000000000, 0x3cd203af9ee75617, 0x3f960fb8a566f628],
        [0x3ee4f8b588e368f1, 0x401d000000000000, 0x3867eb5ad37210d0, 0x3fca27ae5e1ba3c4],
        [0x3ee4f8b588e368f1, 0x4059000000000000, 0x0000000000000000, 0x3fec8520affa0a4b],
        [0x3ee4f8b588e368f1, 0x412e848000000000, 0x0000000000000000, 0x3fefffe7db14ae66],
        [0x3fd3333333333333, 0x3ff199999999999a, 0x3fd105a8e6ed2c75, 0x3fd56bb976c58747],
        [0x3fd3333333333333, 0x3ff8000000000000, 0x3fc50854f2c3d222, 0x3fdcae5562aa4107],
        [0x3fd3333333333333, 0x4008000000000000, 0x3f9ba5e353f7ced8, 0x3fe56bfea66ef78d],
        [0x3fd3333333333333, 0x401d000000000000, 0x3f2536fd647f4b50, 0x3feb1a8cdcaface0],
        [0x3fd3333333333333, 0x4059000000000000, 0x3513beceda168ae7, 0x3fef9df63f9c1c37],
        [0x3fd3333333333333, 0x412e848000000000, 0x0000000000000000, 0x3feffffd799f565e],
        [0x3feffffde7210be9, 0x3ff199999999999a, 0x3feffffdb17128a3, 0x3feffffe17ef7dbd],
        [0x3feffffde7210be9, 0x3ff8000000000000, 0x3feffffcdab19f0f, 0x3feffffe9a160408],
        [0x3feffffde7210be9, 0x4008000000000000, 0x3feffff9b5638d49, 0x3fefffff4d0b0010],
        [0x3feffffde7210be9, 0x401d000000000000, 0x3feffff0cbb2b37e, 0x3fefffffb5f2e511],
        [0x3feffffde7210be9, 0x4059000000000000, 0x3fefff2e4b90f3f8, 0x3feffffffaa19c1b],
        [0x3feffffde7210be9, 0x412e848000000000, 0x3fd78b5570a90a47, 0x3fefffffffffdcd1],
        [0x3fefffffffffffff, 0x4008000000000000, 0x3feffffffffffffd, 0x3ff0000000000000],
        [0x3fefffffffffffff, 0x412e848000000000, 0x3feffffffff0bdc0, 0x3ff0000000000000],
        [0x3fefffffffffffff, 0x43d3b2c47bff831e, 0x07184d77497d653e, 0x3ff0000000000000],
        [0x3fefffffffffffff, 0x7e37e43c8800759c, 0x0000000000000000, 0x3ff0000000000000],
        [0x4000000000000000, 0x3ff199999999999a, 0x400125fbee250664, 0x3ffe0bb8d64fdb5a],
        [0x4000000000000000, 0x412e848000000000, 0x7fefffffffffffff, 0x3ff00000ba10ba62],
        [0x0000000000000001, 0x4008000000000000, 0x0000000000000000, 0x2990000000000000],
        [0x3fe6a09e667f3bcd, 0x409f400000000000, 0x0170000000000268, 0x3feffe949f6ba2e0],
        [0x3fde15f76174224a, 0x40855105b02867a5, 0x118201971010cca1, 0x3feff6f09d798ec5],
        [0x3fd370a9899a035e, 0x408073dd9b1bf5ee, 0x075f08a31e3cb6c6, 0x3fefed7b0e7be77f],
        [0x3fda3ee4360ec7d6, 0x4081c320f67e4bee, 0x12409a35dce84be5, 0x3feff329b575a717],
        [0x3fd0f9621443f420, 0x4060534c9c6f4ce8, 0x304e7c1b5d042a98, 0x3fefad2c9de304c7],
    ];

    /// The rows that `power` and `radical` miss.
    fn missed(power: impl Fn(f64, f64) -> f64, radical: impl Fn(f64, f64) -> f64) -> Vec<usize> {
        let meets = |row: &[u64; 4]| {
            let [x, p, to_p, root_p] = row.map(f64::from_bits);
            close(power(x, p), to_p, REFERENCE) && close(radical(x, p), root_p, REFERENCE)
        };
        (0..TABLE.len()).filter(|&i| !meets(&TABLE[i])).collect()
    }

    #[test]
    fn table() {
        assert_eq!(missed(pow, root), Vec::<usize>::new());
    }

    #[test]
    fn the_comparison_sees_planted_errors() {
        let all: Vec<usize> = (0..TABLE.len()).collect();
        // four times the bound is seen in each row: every root is positive
        for wrong in [1.0 + 4.0 * POW_ERROR, 1.0 - 4.0 * POW_ERROR] {
            assert_eq!(missed(pow, |x, p| root(x, p) * wrong), all);
            let missed = missed(|x, p| pow(x, p) * wrong, root);
            assert!(all.iter().all(|i| missed.contains(i) || TABLE[*i][2] == 0));
            assert!(missed.len() > 20);
        }
        // p·log2(x) in one double, the error this file is there to avoid
        assert!(missed(|x, p| (p * x.log2()).exp2(), root).len() > 3);
        // 1/p rounded first: seen where the logarithm is large
        assert!(missed(pow, |x, p| x.powf(1.0 / p)).len() > 3);
    }

    /// x = a/2^17: x, x², x³ are doubles, so all of these are exact comparisons.
    #[test]
    fn small_fractions_have_exact_powers() {
        for a in (1..=1u32 << 17).step_by(61) {
            let x = f64::from(a) / f64::from(1 << 17);
            let (square, cube) = (x * x, x * x * x);
            for (got, want) in [
                (pow(x, 1.0), x),
                (pow(x, 2.0), square),
                (pow(x, 3.0), cube),
                (pow(square, 1.5), cube),
                (root(x, 1.0), x),
                (root(square, 2.0), x),
                (root(cube, 3.0), x),
                (root(cube, 1.5), square),
            ] {
                assert!(close(got, want, POW_ERROR), "{x}: {got} {want}");
            }
        }
    }

    /// Numbers in (0, 1) spread over all exponents, and many just below 1.
    fn numbers() -> impl Iterator<Item = f64> {
        const ONE: u64 = 1.0f64.to_bits();
        let spread = (1..1000).map(|i| f64::from_bits(ONE / 1000 * i + 0x9e37_79b9 * i));
        let near = (0..1000).map(|i| 1.0 - f64::EPSILON / 2.0 * 1.037f64.powi(i).floor());
        spread.chain(near).filter(|x| (0.0..1.0).contains(x))
    }

    #[test]
    fn squares_and_square_roots_of_full_length() {
        for x in numbers().filter(|&x| x > 1e-140) {
            let square = x * x;
            let rest = x.mul_add(x, -square);
            let error = (pow(x, 2.0) - square) - rest;
            assert!(error.abs() <= POW_ERROR * square, "{x}");
            // the root r of x has error E where r² has 2E + E²
            let r = root(x, 2.0);
            let square = r * r;
            let rest = r.mul_add(r, -square);
            assert!(((square - x) + rest).abs() <= 2.0 * POW_ERROR * x, "{x}");
        }
    }

    #[test]
    fn powers_of_two_are_exact() {
        for n in 1..=1022u64 {
            let x = f64::from_bits((1023 - n) << 52);
            assert_eq!(pow(0.5, n as f64), x);
            assert_eq!(root(x, n as f64), 0.5);
            assert_eq!(pow(x, 1.0), x);
            assert_eq!(root(x, 1.0), x);
            assert_eq!(pow(2.0, n as f64), 1.0 / x);
        }
        assert_eq!(pow(0.25, 1.5), 0.125);
        assert_eq!(root(0.125, 1.5), 0.25);
        assert_eq!(root(f64::from_bits((1023 + 80) << 52), 80.0), 2.0);
    }

    #[test]
    fn extremes() {
        const TINY: f64 = f64::MIN_POSITIVE;
        let (below_one, top) = (1.0f64.next_down(), f64::MAX);
        for p in [1.0, 1.0f64.next_up(), 2.5, 1e6, 1e300, top] {
            assert_eq!((pow(1.0, p), root(1.0, p)), (1.0, 1.0));
            for x in [5e-324, TINY.next_down(), TINY, 0.5, below_one, 2.0, top] {
                for result in [pow(x, p), root(x, p)] {
                    assert!(result == 0.0 || result.is_normal(), "{x} {p}");
                }
            }
        }
        // the border of the normal range
        assert_eq!((pow(TINY, 1.0), root(TINY, 1.0)), (TINY, TINY));
        assert_eq!((pow(5e-324, 1.0), root(5e-324, 1.0)), (0.0, 0.0));
        assert_eq!((pow(0.5, 1022.0), pow(0.5, 1022.1)), (TINY, 0.0));
        assert_eq!((pow(2.0, 1024.0), pow(2.0, top)), (top, top));
        assert_eq!((pow(below_one, top), root(5e-324, top)), (0.0, 1.0));
    }

    /// A step of the grid is far larger than the error.
    #[test]
    fn rising_in_x() {
        for p in [1.1, 1.5, 3.0, 7.25, 100.0] {
            for i in 1..5000 {
                let [x, next] = [i, i + 1].map(|i| f64::from(i) / 5000.0);
                let [low, high] = [x, next].map(|x| pow(x, p));
                assert!(low < high || high == 0.0, "{x} {p}");
                assert!(root(x, p) < root(next, p), "{x} {p}");
            }
        }
    }

    /// The error of the power is divided by p >= 1 in the root, which adds its own.
    /// The library's powf promises nothing: sanity only.
    #[test]
    fn root_undoes_pow_and_powf_is_near() {
        for p in [1.0, 1.1, 1.5, 3.0, 7.25, 100.0, 1e6] {
            for x in numbers().filter(|x| x.powf(p) >= f64::MIN_POSITIVE) {
                let power = pow(x, p);
                assert!(close(root(power, p), x, 2.01 * POW_ERROR), "{x} {p}");
                assert!(close(power, x.powf(p), 1e-13), "{x} {p}");
            }
        }
    }

    #[test]
    fn gap_factors() {
        assert_eq!((gap_factor(1.0), gap_factor(f64::MAX)), (1.0, 0.5));
        // factor^p = 2^(1-p); at p = 1.5 the factor is 2^(-1/3)
        assert!(close(pow(gap_factor(3.0), 3.0), 0.25, 5.0 * POW_ERROR));
        assert!(close(gap_factor(1.5), root(0.5, 3.0), 2.01 * POW_ERROR));
        assert!(close(gap_factor(2.0), 0.5f64.sqrt(), REFERENCE));
    }

    /// ln 2 = sum of 1/(k·2^k), here in multiples of 2^-120, less than 121 of them too small.
    #[test]
    fn constants_are_cut_off_correctly() {
        let ln_2: u128 = (1..=120u32).map(|k| (1 << (120 - k)) / u128::from(k)).sum();
        assert_eq!([ln_2 >> 56, (ln_2 + 121) >> 56], [u128::from(LN_2); 2]);
        // (2/ln 2)·ln 2 = 2 in multiples of 2^-122; the product of 184 bits is taken in two halves
        let scaled = |c: u64, ln_2: u128| {
            let low = u128::from(c) * (ln_2 & ((1 << 60) - 1));
            u128::from(c) * (ln_2 >> 60) + (low >> 60)
        };
        assert!(scaled(TWO_BY_LN_2, ln_2 + 121) < 2 << 122);
        assert!(scaled(TWO_BY_LN_2 + 1, ln_2) >= 2 << 122);
        assert_eq!(FACTORIAL.map(|c| c >> 62)[..2], [2, 1]);
        assert_eq!(FACTORIAL[9], (1 << 63) / 3_628_800);
    }
}
