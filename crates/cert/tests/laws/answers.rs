//! Laws of the many forms of one answer: one budget, curves, values of one's own, maps, objects.

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{Forced, Metric, Pool, Share, Value};
use proptest::prelude::*;

use crate::case::*;

/// Runs of a class in a row of pixels: first pixel and length.
fn runs(inside: &[bool]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (pixel, _) in inside.iter().enumerate().filter(|(_, inside)| **inside) {
        match runs.last_mut() {
            Some((first, length)) if *first + *length == pixel => *length += 1,
            _ => runs.push((pixel, 1)),
        }
    }
    runs
}

/// (sum of r^p)^(1/p), or the largest.
fn total(radii: &[f64], p: f64) -> f64 {
    match p {
        f64::INFINITY => radii.iter().copied().fold(0.0, f64::max),
        p => radii.iter().map(|r| r.powf(p)).sum::<f64>().powf(1.0 / p),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn dice_is_twice_the_iou_over_one_more(case in case(1..=12), eps in eps()) {
        for class in [0, 1] {
            let shares = [Metric::Iou(class), Metric::Dice(class)].map(|metric| case.worst(metric, eps).and_then(Value::share));
            let [Some(Share { numerator, denominator }), Some(dice)] = shares else {
                prop_assert_eq!(shares, [None, None]);
                continue;
            };
            prop_assert_eq!(dice, Share { numerator: 2 * numerator, denominator: denominator + numerator });
        }
    }

    #[test]
    fn one_budget_is_the_whole_certificate(case in case(1..=12), eps in eps()) {
        for metric in METRICS {
            let once = case.with(|margins| metric.worst(margins, budget(eps)).unwrap());
            let at = |factor: f64| case.worst(metric, eps * factor);
            match (at(1.0 + CLOSE), once, at(1.0 - CLOSE)) {
                (Some(most), Some(once), Some(least)) => prop_assert!(as_bad(metric, most, once) && as_bad(metric, once, least), "{}", metric),
                values => prop_assert_eq!(values, (None, None, None)),
            }
        }
    }

    /// More pixels than are sorted at once.
    #[test]
    fn one_budget_of_many_pixels_is_the_whole_certificate(case in case(65..=400), eps in eps(), factor in 1..4u8) {
        let eps = eps * f64::from(factor);
        for metric in of_lists() {
            let flips = |value: Option<Value>| value.and_then(Value::share).map(|share| (share.numerator, share.denominator));
            let once = case.with(|margins| metric.worst(margins, budget(eps)).unwrap());
            let at = |factor: f64| case.worst(metric, eps * factor);
            let [most, least] = [at(1.0 + CLOSE), at(1.0 - CLOSE)];
            prop_assert!([flips(most), flips(least)].contains(&flips(once)), "{}: {:?} {:?} {:?}", metric, most, once, least);
        }
    }

    #[test]
    fn curve_holds_at_every_budget_it_names_and_below(case in case(1..=12), eps in eps(), points in 0..40usize) {
        for metric in METRICS {
            case.certify(metric, |c| {
                let curve = c.curve(points);
                assert!(curve.len() <= points.max(2) && curve[0].0 == budget(0.0));
                assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0));
                assert!(curve.iter().all(|(eps, value)| c.worst(*eps) == *value));
                let (end, last) = curve[curve.len() - 1];
                assert!(as_bad(metric, last, c.worst(budget(f64::MAX))));
                if !is_mean(metric) && end > budget(0.0) {
                    assert!(c.worst(budget(end.get().next_down())) != last);
                }
                if let Some((_, value)) = curve.iter().find(|(point, _)| eps <= point.get()) {
                    assert!(as_bad(metric, *value, c.worst(budget(eps))), "{metric}");
                }
            });
        }
    }

    /// A value of one's own that is one of those built in.
    #[test]
    fn own_values_agree_with_the_built_in_ones(case in case(1..=12), eps in eps(), hundredths in 0..=100u32) {
        for metric in METRICS {
            case.certify(metric, |c| {
                let size = if is_ratio(metric) {
                    case.radii(metric).iter().filter(|(loss, _)| *loss).count() as u64
                } else {
                    c.counted()
                };
                let left = |i: usize, j: usize| case.left(metric, size, [i as u64, j as u64]);
                let (worst, least) = (c.worst_of(budget(eps), left), c.budget_where(|i, j| left(i, j).is_some_and(|share| meets(share, metric, hundredths))));
                if is_mean(metric) {
                    assert_eq!((worst, least), (None, None));
                    return;
                }
                assert_eq!(worst.map(Value::Share), Some(c.worst(budget(eps))), "{metric}");
                assert_eq!(least, c.budget(&goal(metric, hundredths)).unwrap(), "{metric} {hundredths}");
                let [i, j] = c.lost_and_gained(budget(eps)).unwrap();
                assert_eq!(left(i, j), worst, "{metric}");
            });
        }
    }

    /// The worst of all choices of one pair of losses and gains for each of three images.
    #[test]
    fn pools_are_the_worst_choice_of_pairs(mut case in case(6..=60), eps in eps()) {
        case.conventions.forced = Forced::Pairwise;
        // mostly right, and a budget for some of it
        let (predictions, eps) = (case.with(|margins| margins.predictions().to_vec()), eps / 4.0);
        (0..predictions.len()).filter(|pixel| pixel % 4 > 0).for_each(|pixel| case.labels[pixel] = predictions[pixel]);
        let third = case.labels.len() / 3;
        let images = [0, 1, 2].map(|part| case.keep(|pixel| pixel / third == part));
        for metric in of_lists().filter(|metric| is_ratio(*metric)) {
            let mut pool = Pool::new(metric, case.classes, &[budget(eps)], false).unwrap();
            let mut sizes = 0;
            let pairs = images.each_ref().map(|image| {
                image.with(|margins| pool.add(margins).unwrap());
                let lists = image.radii(metric);
                sizes += lists.iter().filter(|(loss, _)| *loss).count() as u64;
                image.pairs(&lists, eps)
            });
            let sum = |a: &[u64; 2], b: &[u64; 2]| [a[0] + b[0], a[1] + b[1]];
            let two = pairs[0].iter().flat_map(|a| pairs[1].iter().map(move |b| sum(a, b)));
            let all = two.flat_map(|a| pairs[2].iter().map(move |b| sum(&a, b)));
            let least = all.filter_map(|pair| case.left(metric, sizes, pair)).filter(|share| share.denominator > 0).min();
            // a tie at eps moves a pair, an undefined clean value leaves nothing to bound
            let ties = images.iter().any(|image| image.pairs(&image.radii(metric), eps * (1.0 - CLOSE)) != image.pairs(&image.radii(metric), eps * (1.0 + CLOSE)));
            if let (Some(found), Some(least), false) = (pool.worst()[0].and_then(Value::share), least, ties) {
                prop_assert_eq!(found, least, "{}", metric);
            }
        }
    }

    /// The maps show the pixels that are taken, and as many as are lost and gained.
    #[test]
    fn maps_show_the_flips(case in case(1..=12), eps in eps()) {
        for metric in METRICS {
            case.certify(metric, |c| {
                let maps = (c.flip_budgets().unwrap(), c.ranks().unwrap(), c.taken(budget(eps)).unwrap());
                let Some([lost, gained]) = c.lost_and_gained(budget(eps)) else {
                    assert!(is_mean(metric) && maps == (None, None, None));
                    return;
                };
                let taken = maps.2.unwrap();
                let count = taken.iter().filter(|t| **t).count();
                match (maps.0, maps.1) {
                    (Some(map), None) => {
                        assert!(map.iter().zip(&taken).all(|(b, taken)| !taken || f64::from(*b) <= eps), "{metric}");
                        // those that are not taken cost more, but for the rounding to f32
                        assert!(map.iter().zip(&taken).all(|(b, taken)| *taken || f64::from(*b) * (1.0 + 1e-6) >= eps), "{metric}");
                        if !is_of_objects(metric) {
                            assert_eq!((count, gained), (lost, 0), "{metric}");
                            assert_eq!(map.iter().filter(|b| b.is_finite()).count() as u64, c.counted());
                        }
                    }
                    (None, Some(ranks)) => {
                        assert_eq!(count, lost + gained, "{metric}");
                        let within = |ranks: &[u32], n: usize, pixel: usize| (ranks[pixel] as usize) < n;
                        assert!((0..taken.len()).all(|pixel| taken[pixel] == (within(&ranks[0], lost, pixel) || within(&ranks[1], gained, pixel))));
                        let listed = ranks.map(|mut ranks| {
                            ranks.sort_unstable();
                            ranks.into_iter().take_while(|rank| *rank < u32::MAX).enumerate().map(|(n, rank)| assert_eq!(n, rank as usize)).count()
                        });
                        assert_eq!((listed[0] + listed[1]) as u64, c.counted());
                    }
                    other => panic!("{metric}: {other:?}"),
                }
            });
        }
    }

    /// Runs of a class in the row; each costs its cheapest pixels, several cost their sum.
    #[test]
    fn objects_cost_their_cheapest_pixels(case in case(1..=12), eps in eps()) {
        let p = case.premises.norm.p();
        for metric in METRICS.into_iter().filter(|metric| is_of_objects(*metric)) {
            case.with(|margins| {
                let class = metric.class().unwrap();
                let reference = if metric.needs_labels() { &case.labels[..] } else { margins.predictions() };
                let inside: Vec<bool> = (0..reference.len()).map(|pixel| reference[pixel] == class && case.counts(pixel)).collect();
                let rule = case.conventions.objects;
                let runs = runs(&inside).into_iter().filter(|(_, length)| *length >= rule.pixels as usize);
                let (objects, radii) = (margins.objects(metric).unwrap(), margins.radii());
                assert_eq!(objects.iter().map(|o| (o.first, o.pixels)).collect::<Vec<_>>(), runs.collect::<Vec<_>>());
                for object in &objects {
                    let pixels = object.first..object.first + object.pixels;
                    let mut radii: Vec<f64> = pixels.map(|pixel| if margins.predictions()[pixel] == class { radii[pixel] } else { 0.0 }).collect();
                    radii.sort_unstable_by(f64::total_cmp);
                    // the least n of which at most coverage are left
                    let n = (1..=radii.len()).find(|n| (radii.len() - n) * 100 <= radii.len() * usize::from(rule.coverage)).unwrap();
                    below_and_close(object.budget, total(&radii[..n], p) * (1.0 + 1e-14), CLOSE).unwrap();
                }
                let mut budgets: Vec<f64> = objects.iter().map(|object| object.budget).collect();
                budgets.sort_unstable_by(f64::total_cmp);
                let Some(c) = metric.certify(margins).unwrap() else {
                    assert!(objects.is_empty());
                    return;
                };
                assert_eq!(c.counted(), objects.len() as u64);
                for n in 1..=budgets.len() {
                    let least = c.budget_where(|lost, _| lost >= n).unwrap();
                    below_and_close(least, total(&budgets[..n], p) * (1.0 + 1e-14), CLOSE).unwrap();
                }
                // whole objects are taken, the cheapest
                let (taken, lost) = (c.taken(budget(eps)).unwrap().unwrap(), c.lost_and_gained(budget(eps)).unwrap()[0]);
                let whole = |object: &certiseg_cert::Object| taken[object.first..][..object.pixels].iter().filter(|t| **t).count();
                assert!(objects.iter().all(|object| [0, object.pixels].contains(&whole(object))));
                let gone: Vec<f64> = objects.iter().filter(|object| whole(object) > 0).map(|object| object.budget).collect();
                assert_eq!(gone.len(), lost);
                assert!(gone.iter().all(|b| *b <= budgets[lost - 1]));
                assert_eq!(taken.iter().filter(|t| **t).count(), objects.iter().map(whole).sum::<usize>());
            });
        }
    }
}
