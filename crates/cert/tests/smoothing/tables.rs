//! Tails, bounds, quantiles and radii against their vectors.

use certiseg_cert::smoothing::{
    Law, Promise, RadiusTable, Stage, Tail, lower_bound, normal_cdf, normal_quantile, predict,
};

use crate::{close, items, number, whole};

/// Of ln p, times max(1, |ln p|).
const LN: f64 = 1e-12;

/// ln p of a row is above the reference, and within `LN`: at most the largest distance found.
fn logarithm(got: f64, want: f64) -> Result<f64, String> {
    let distance = (got - want) / want.abs().max(1.0);
    if (-1e-15..=LN).contains(&distance) {
        Ok(distance)
    } else {
        Err(format!("{got:e} {want:e}: {distance:e}"))
    }
}

#[test]
fn binomial_upper_tails() {
    let mut worst = 0.0f64;
    for row in items("binom_upper_tail") {
        let (n, k, tau) = (whole(&row[0]), whole(&row[1]), number(&row[2]));
        let (p, ln_p) = (number(&row[3]), number(&row[4]));
        let tail = Tail::new(n, tau).unwrap();
        worst = worst.max(logarithm(tail.ln_p(k), ln_p).unwrap_or_else(|e| panic!("{row}: {e}")));
        if p > 1e-300 {
            // 6 units and the rounding of the reference
            let excess = tail.p(k) / p - 1.0;
            assert!(
                (0.0..=8.0 * f64::EPSILON).contains(&excess),
                "{row}: {excess:e}"
            );
        } else {
            assert!(tail.p(k) <= 1e-300, "{row}");
        }
    }
    println!("ln p: largest distance {worst:e}");
}

#[test]
fn the_logarithm_sees_planted_errors() {
    assert!(logarithm(-20.0 * (1.0 - 1e-13), -20.0).is_ok());
    assert!(
        logarithm(-20.0 * (1.0 + 1e-13), -20.0).is_err(),
        "rounded down"
    );
    assert!(logarithm(-20.0 * (1.0 - 1e-11), -20.0).is_err(), "far");
    assert!(logarithm(f64::NAN, -20.0).is_err());
}

#[test]
fn two_sided_p_values() {
    for row in items("binom_two_sided") {
        let (n, k, p) = (whole(&row[0]), whole(&row[1]), number(&row[2]));
        let got = predict(&[k as u64, (n - k) as u64], 0.5).unwrap().p;
        assert!(close(got, p, 1e-12), "{row}: {got}");
    }
}

#[test]
fn clopper_pearson_bounds() {
    let mut worst = 0.0f64;
    for row in items("clopper_pearson_lower") {
        let (n, k, alpha) = (whole(&row[0]), whole(&row[1]), number(&row[2]));
        let (want, got) = (number(&row[3]), lower_bound(n, k, alpha).unwrap());
        let tolerance = if want > 1e-6 { 1e-12 } else { 1e-10 };
        assert!(close(got, want, tolerance), "{row}: {got:e}");
        if want > 1e-6 {
            worst = worst.max((got / want - 1.0).abs());
        }
    }
    println!("lower bounds: largest distance {worst:e}");
}

#[test]
fn normal_quantiles() {
    for row in items("norm_ppf") {
        let (p, want) = (number(&row[0]), number(&row[1]));
        let got = normal_quantile(p);
        assert!(
            (got - want).abs() <= 1e-14 * want.abs().max(1.0),
            "{row}: {got:e}"
        );
    }
    // the counter-example to theorem 5.1 of paper 002
    let left = normal_cdf(normal_quantile(0.7501) - 0.16 / 0.25);
    assert!((left - 0.5138821719).abs() < 1e-10);
}

#[test]
fn numbers_of_the_design() {
    let tail = Tail::new(100, 0.75).unwrap();
    for (k, p) in [
        (93, 2.98892390e-6),
        (94, 6.41439497e-7),
        (97, 2.10816526763e-9),
        (98, 1.87407514366e-10),
        (99, 1.10113941698e-11),
        (100, 3.20720218538e-13),
    ] {
        assert!(close(tail.p(k), p, 1e-8), "{k}: {:e}", tail.p(k));
    }
    assert!((tail.ln_p(98) + 22.397735648925).abs() < 1e-12);
    let level = 0.001 / 2_097_152.0;
    let law = Law::Gaussian { sigma: 0.25 };
    for (k, lower, radius) in [
        (97, 0.7375290571681, 0.1589365396),
        (98, 0.7576414713783, 0.1746839897),
        (100, 0.8068330893172, 0.2165712813),
    ] {
        let got = lower_bound(100, k, level).unwrap();
        assert!(close(got, lower, 1e-12), "{k}: {got}");
        assert!(close(law.radius(got).unwrap(), radius, 1e-9), "{k}");
    }
    assert!(close(
        lower_bound(100, 95, 0.001).unwrap(),
        0.8446326941895,
        1e-12
    ));
    assert!(close(
        lower_bound(1000, 990, 0.001).unwrap(),
        0.9760361871553,
        1e-12
    ));
}

/// The law of a row of `radius`.
fn law(name: &str, parameter: f64) -> Law {
    match name {
        "gaussian_l2" => Law::Gaussian { sigma: parameter },
        "laplace_l1" => Law::Laplace { scale: parameter },
        "uniform_l1" => Law::Uniform { width: parameter },
        other => panic!("{other}"),
    }
}

#[test]
fn radii_of_thresholds() {
    for row in items("radius") {
        let law = law(row[0].as_str().unwrap(), number(&row[1]));
        let (tau, want) = (number(&row[2]), number(&row[3]));
        let got = law.radius(tau).unwrap();
        assert!(close(got, want, 1e-13), "{row}: {got:e}");
        // the reference is rounded to the nearest, a few times
        assert!(got <= want * (1.0 + 8.0 * f64::EPSILON), "{row}: {got:e}");
    }
}

#[test]
fn strong_thresholds_of_the_design() {
    let law = Law::Gaussian { sigma: 0.25 };
    let strong = Promise::Strong { out: 0.75 };
    let radius = law.radius(0.75).unwrap();
    for (radius, want) in [
        (0.16, 0.9056592774),
        (radius, 0.9113282247),
        (0.1, 0.8586983819),
    ] {
        let tau = law.threshold(radius, strong).unwrap();
        assert!((tau - want).abs() < 1e-10, "{tau}");
    }
}

#[test]
fn simultaneous_radii() {
    let mut last = None;
    for row in items("simultaneous_radius") {
        let (n, tests, alpha) = (whole(&row[0]), whole(&row[1]) as u64, number(&row[2]));
        let (sigma, k) = (number(&row[3]), whole(&row[4]));
        let (lower, radius) = (number(&row[5]), number(&row[6]));
        let key = (n, tests, alpha.to_bits(), sigma.to_bits());
        let table = match last.take() {
            Some((old, table)) if old == key => table,
            _ => {
                let law = (Law::Gaussian { sigma }, Promise::ClassOrAbstain);
                RadiusTable::new((n, Stage::Two), (tests, 0), alpha, law).unwrap()
            }
        };
        let got = lower_bound(n, k, alpha / tests as f64).unwrap();
        assert!(close(got, lower, 1e-12), "{row}: {got:e}");
        // near 1/2 the radius is a small difference
        let tolerance = if lower < 0.51 { 1e-11 } else { 1e-12 };
        assert!(
            close(table.radius(k), radius, tolerance),
            "{row}: {:e}",
            table.radius(k)
        );
        if lower > 0.5 {
            assert!(close(table.lower(k), lower, 1e-12), "{row}");
        }
        last = Some((key, table));
    }
}

#[test]
fn single_stage_p_values() {
    for row in items("single_stage_p") {
        let (n, k, tau) = (whole(&row[0]), whole(&row[1]), number(&row[2]));
        let got = Tail::single_stage(n, tau).unwrap().p(k);
        let want = number(&row[3]).min(1.0);
        assert!(close(got, want, 1e-12), "{row}: {got:e}");
    }
}
