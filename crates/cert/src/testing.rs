//! Comparisons and tolerances of the tests. Not part of the public surface.

/// Relative distance allowed between a bound and the exact value it bounds: the slack of a sum
/// of 2^20 terms is 2.3e-10, everything else is below 1e-12.
pub const TIGHT: f64 = 1e-9;

/// `bound` <= `truth`, and not below it by more than `tolerance`, relative.
pub fn below_and_close(bound: f64, truth: f64, tolerance: f64) -> Result<(), String> {
    let (floor, ceiling) = (truth * (1.0 - tolerance), truth * (1.0 + f64::EPSILON));
    // one unit of the last place for `truth`, which is rounded too
    if (floor..=ceiling).contains(&bound) {
        Ok(())
    } else {
        Err(format!("{bound:e} is not just below {truth:e}"))
    }
}

/// `exact(eps just above) <= bound <= exact(eps)` for a value that falls in eps: sound, and idle
/// by a tie at most.
pub fn sound_and_tight<T: PartialOrd + std::fmt::Debug>(
    bound: T,
    at: T,
    just_above: T,
) -> Result<(), String> {
    if just_above <= bound && bound <= at {
        Ok(())
    } else {
        Err(format!(
            "{bound:?} is not between {just_above:?} and {at:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comparison_sees_planted_errors() {
        assert!(below_and_close(0.1 * (1.0 - 1e-10), 0.1, TIGHT).is_ok());
        // 0.1 % short, 0.1 % long, a wrong norm, nothing, no number
        for planted in [
            0.0999,
            0.1001,
            0.1 * (1.0 + 1e-14),
            0.1f64.sqrt(),
            0.0,
            f64::NAN,
            f64::INFINITY,
        ] {
            assert!(below_and_close(planted, 0.1, TIGHT).is_err(), "{planted}");
        }
        assert!(below_and_close(0.0, 0.0, TIGHT).is_ok());
        assert!(below_and_close(5e-324, 0.0, TIGHT).is_err());
        assert!(sound_and_tight(3, 4, 3).is_ok());
        assert!(sound_and_tight(5, 4, 3).is_err(), "a lost pixel");
        assert!(sound_and_tight(2, 4, 3).is_err(), "an idle bound");
    }
}
