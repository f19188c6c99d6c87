//! Mistakes of published programs, planted: the numbers tell them.

use certiseg_cert::Error;
use certiseg_cert::smoothing::{Correction, Procedure, Stage, Tail, Votes};

use crate::close;

/// A pixel with probability p passes the threshold although its 100 counted draws are copies: batches of
/// `size` over 110 draws, each sample of a batch the same, the first 10 not counted.
fn passes_with_copies(size: usize, p: f64, least: usize) -> f64 {
    // lengths of the runs among the counted
    let lengths: Vec<usize> = (0..110usize.div_ceil(size))
        .map(|batch| {
            let (start, end) = ((batch * size).max(10), (batch * size + size).min(110));
            end.saturating_sub(start)
        })
        .collect();
    let mut chances = vec![0.0; 101];
    chances[0] = 1.0;
    for length in lengths {
        for count in (0..=100usize).rev() {
            let hit = if count >= length {
                chances[count - length] * p
            } else {
                0.0
            };
            chances[count] = chances[count] * (1.0 - p) + hit;
        }
    }
    chances[least..].iter().sum()
}

#[test]
fn duplicate_noise_certifies_at_the_threshold() {
    let least = Tail::new(100, 0.75)
        .unwrap()
        .least(0.001 / 2_097_152.0)
        .unwrap();
    assert_eq!(least, 98);
    for (size, p, want) in [
        (4, 0.75, 0.00094067932),
        (12, 0.75, 0.0938558578),
        (24, 0.75, 0.2373046875),
        (24, 0.9, 0.59049),
    ] {
        let got = passes_with_copies(size, p, least);
        assert!(close(got, want, 1e-8), "{size} {p}: {got}");
    }
    // without copies it is the tail
    let honest = passes_with_copies(1, 0.75, least);
    assert!(close(honest, 1.87407514366e-10, 1e-9), "{honest}");
}

/// Counts of n samples, tested as if n - n0 had been drawn: the level is far from what it says.
#[test]
fn counts_of_n_tested_with_fewer_trials() {
    for (level, planted, honest, rate) in [
        (0.001, 80, 89, 0.148831),
        (0.001 / 2_097_152.0, 89, 98, 3.93518e-4),
    ] {
        let [few, all] = [90, 100].map(|n| Tail::new(n, 0.75).unwrap());
        assert_eq!(
            (few.least(level), all.least(level)),
            (Some(planted), Some(honest))
        );
        assert!(close(all.p(planted), rate, 1e-5), "{}", all.p(planted));
    }
    // here a count above n is refused, and votes carry their own n
    let error = Votes::from_counts(vec![0], &[95], 90).unwrap_err();
    assert!(matches!(
        error,
        Error::Count {
            count: 95,
            samples: 90,
            ..
        }
    ));
    let procedure = Procedure {
        tau: 0.75,
        alpha: 0.001,
        correction: Correction::Holm,
        stage: Stage::Two,
    };
    let votes = Votes::from_counts(vec![0], &[95], 100).unwrap();
    let histogram = votes.histogram(None).unwrap();
    assert!(matches!(
        procedure.decide(90, &histogram),
        Err(Error::Histogram { .. })
    ));
}

/// `<` for `<=`: hypotheses exactly at their level are lost.
#[test]
fn strict_comparison_loses_ties() {
    let strictly = |p: &[f64], alpha: f64| {
        let level = alpha / p.len() as f64;
        p.iter().filter(|p| **p < level).count()
    };
    let mut seen = 0;
    for case in crate::items("multiple_testing") {
        if case["kind"] == "allequal" {
            let (p, alpha) = (crate::numbers(&case["p"]), crate::number(&case["alpha"]));
            let sound = Correction::Bonferroni.reject(&p, alpha).unwrap();
            assert_eq!(sound.iter().filter(|r| **r).count(), p.len());
            seen += usize::from(strictly(&p, alpha) < p.len());
        }
    }
    assert!(seen > 0);
}

/// One-sided class of the same samples without the second tail, near 1/2: see the test of the two terms.
#[test]
fn a_chosen_class_is_not_a_fixed_class() {
    let [single, fixed] = [Tail::single_stage(20, 0.5), Tail::new(20, 0.5)].map(Result::unwrap);
    assert!(close(single.p(15), 2.0 * fixed.p(15), 1e-14));
}
