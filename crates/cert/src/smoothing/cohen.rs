//! One component, or the picture as one: prediction and certificate of Cohen et al. 2019, and the two
//! baselines of paper 002 section 4.

use super::law::Law;
use super::lower::{check_level, lower_bound};
use super::tail::Tail;
use super::votes::Votes;
use crate::error::{Error, Result};

/// The most frequent class of one component, if it is the argmax with probability 1 - alpha.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// min(1, 2·P(Bin(n_A + n_B, 1/2) >= n_A)) of the two most frequent classes, rounded up.
    pub p: f64,
    /// The class; none: abstain.
    pub class: Option<u8>,
}

/// From the votes of each class; ties to the lowest class.
///
/// # Errors
///
/// [`Error::NoSamples`] without votes, [`Error::Parameter`] for an alpha outside (0, 1) or more than
/// [`MAX_SAMPLES`](super::MAX_SAMPLES) votes, [`Error::Shape`] for more than 254 classes.
pub fn predict(votes: &[u64], alpha: f64) -> Result<Prediction> {
    check_level(alpha)?;
    let mut order: Vec<usize> = (0..votes.len()).collect();
    // stable
    order.sort_by_key(|class| std::cmp::Reverse(votes[*class]));
    let Some(&top) = order.first().filter(|class| votes[**class] > 0) else {
        return Err(Error::NoSamples);
    };
    let class = u8::try_from(top).map_err(|_| Error::Shape {
        what: "number of classes",
        got: votes.len(),
        expected: "at most 254".into(),
    })?;
    let second = order.get(1).map_or(0, |class| votes[*class]);
    let [first, second] = [votes[top], second].map(|count| count as usize);
    let p = (2.0 * Tail::new(first + second, 0.5)?.p(first)).min(1.0);
    Ok(Prediction {
        p,
        class: (p <= alpha).then_some(class),
    })
}

/// (L_alpha(k), radius) of k votes of n for a class chosen by other samples; none where the bound is at
/// most 1/2: abstain.
///
/// # Errors
///
/// As [`lower_bound`] and [`Law::check`].
pub fn certify(samples: usize, count: usize, alpha: f64, law: Law) -> Result<Option<(f64, f64)>> {
    let lower = lower_bound(samples, count, alpha)?;
    let radius = law.radius(lower)?;
    Ok((lower > 0.5).then_some((lower, radius)))
}

/// IndivClass: the least of all bounds at alpha/N, and its radius; none where that is at most 1/2: the
/// whole picture abstains.
///
/// # Errors
///
/// As [`certify`]; [`Error::NoSamples`] without components.
pub fn indiv_class(votes: &Votes, alpha: f64, law: Law) -> Result<Option<(f64, f64)>> {
    check_level(alpha)?;
    let counts = (0..votes.len()).map(|component| votes.count(component));
    let least = counts.min().ok_or(Error::NoSamples)?;
    certify(votes.samples(), least, alpha / votes.len() as f64, law)
}

/// What JointClass found.
#[derive(Clone, Debug, PartialEq)]
pub struct Joint {
    /// The most frequent whole map, ties to the lexicographically smallest.
    pub classes: Vec<u8>,
    /// How many of the test maps equal it.
    pub count: usize,
    /// (bound, radius) of the whole map; none: abstain.
    pub certified: Option<(f64, f64)>,
}

/// JointClass: whole maps as classes, one test.
///
/// # Errors
///
/// As [`certify`]; [`Error::NoSamples`] without maps to choose from, [`Error::Components`] for maps of
/// different sizes.
pub fn joint_class(choose: &[&[u8]], test: &[&[u8]], alpha: f64, law: Law) -> Result<Joint> {
    let size = choose.first().ok_or(Error::NoSamples)?.len();
    for map in choose.iter().chain(test) {
        super::guess::check_map(map, size)?;
    }
    let mut maps = choose.to_vec();
    maps.sort_unstable();
    let runs = maps.chunk_by(|a, b| a == b);
    // the last of equals by reversed order is the first by order
    let most = runs.rev().max_by_key(|run| run.len());
    let classes = most.map(|run| run[0].to_vec()).unwrap_or_default();
    let count = test.iter().filter(|map| ***map == classes[..]).count();
    let certified = certify(test.len(), count, alpha, law)?;
    Ok(Joint {
        classes,
        count,
        certified,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: Law = Law::Gaussian { sigma: 0.25 };

    #[test]
    fn predictions_of_the_design() {
        for (votes, p, sure) in [
            ([9, 1], 0.021484375, false),
            ([60, 40], 0.0568879336, false),
            ([66, 34], 0.00178993039, false),
            ([67, 33], 0.00087371984, true),
            // ten of ten are not enough
            ([10, 0], 0.001953125, false),
        ] {
            let got = predict(&votes, 0.001).unwrap();
            assert!((got.p / p - 1.0).abs() < 1e-8, "{votes:?}: {}", got.p);
            assert_eq!(got.class, sure.then_some(0), "{votes:?}");
        }
        assert_eq!(predict(&[3, 20, 3], 0.5).unwrap().class, Some(1));
        assert_eq!(
            predict(&[5, 5], 0.9).unwrap(),
            Prediction {
                p: 1.0,
                class: None
            }
        );
        assert_eq!(predict(&[0, 0], 0.1), Err(Error::NoSamples));
        assert_eq!(predict(&[], 0.1), Err(Error::NoSamples));
        let mut many = vec![0; 300];
        many[299] = 10;
        assert!(matches!(predict(&many, 0.1), Err(Error::Shape { .. })));
    }

    #[test]
    fn ten_of_ten_have_a_radius_of_nothing() {
        let (lower, radius) = certify(10, 10, 0.001, LAW).unwrap().unwrap();
        assert!((lower - 0.5011872336).abs() < 1e-10);
        assert!((radius - 0.00074398944).abs() < 1e-11);
        assert_eq!(certify(10, 9, 0.001, LAW).unwrap(), None);
        assert!(certify(10, 11, 0.001, LAW).is_err());
    }

    #[test]
    fn one_bad_component_makes_all_abstain() {
        let votes = |counts: &[u32]| Votes::from_counts(vec![0; counts.len()], counts, 50).unwrap();
        let all = indiv_class(&votes(&[50, 49, 48]), 0.01, LAW)
            .unwrap()
            .unwrap();
        assert_eq!(Some(all), certify(50, 48, 0.01 / 3.0, LAW).unwrap());
        assert_eq!(indiv_class(&votes(&[50, 49, 20]), 0.01, LAW).unwrap(), None);
        assert_eq!(indiv_class(&votes(&[]), 0.01, LAW), Err(Error::NoSamples));
    }

    #[test]
    fn whole_maps_are_classes() {
        let (a, b): (&[u8], &[u8]) = (&[0, 1], &[0, 2]);
        let joint = joint_class(&[b, a, b, a], &[a; 30], 0.01, LAW).unwrap();
        assert_eq!((&joint.classes[..], joint.count), (a, 30));
        assert!(joint.certified.is_some());
        let other = joint_class(&[b, a, b], &[a; 30], 0.01, LAW).unwrap();
        assert_eq!(
            (&other.classes[..], other.count, other.certified),
            (b, 0, None)
        );
        assert!(matches!(
            joint_class(&[], &[a], 0.1, LAW),
            Err(Error::NoSamples)
        ));
        assert!(matches!(
            joint_class(&[a], &[&[0]], 0.1, LAW),
            Err(Error::Components { .. })
        ));
    }
}
