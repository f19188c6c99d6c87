//! Pools against the enumeration of all assignments of all images, each within the same budget.

use std::collections::BTreeSet;

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{Budget, Conventions, Metric, MiouClasses, Pool, Share, Value};
use proptest::prelude::*;

use crate::relaxation::{Scene, Tally, budget, goal, meets, metrics, value, value_of_image, worse};
use crate::scenes::{scene, terms};
use crate::{CLOSE, NOISE, Pick, eps, picks, planted, run};

/// What attacks may leave of each image, and of all clean images together.
struct Joint {
    metric: Metric,
    conventions: Conventions,
    images: Vec<Vec<(f64, Tally)>>,
    clean: Tally,
}

fn sum(a: &Tally, b: &Tally) -> Tally {
    a.iter()
        .zip(b)
        .map(|(a, b)| [0, 1, 2].map(|n| a[n] + b[n]))
        .collect()
}

impl Joint {
    fn of(scenes: &[Scene], assignments: &[Vec<(f64, Vec<u8>)>], metric: Metric) -> Self {
        let image = |(scene, all): (&Scene, &Vec<(f64, Vec<u8>)>)| {
            all.iter()
                .map(|(budget, classes)| (*budget, scene.tally(metric, classes)))
                .collect()
        };
        let clean = scenes.iter().map(|scene| {
            let predictions: Vec<u8> = (0..scene.labels.len())
                .map(|pixel| scene.prediction(pixel))
                .collect();
            scene.tally(metric, &predictions)
        });
        Joint {
            metric,
            conventions: scenes[0].conventions,
            images: scenes.iter().zip(assignments).map(image).collect(),
            clean: clean.reduce(|a, b| sum(&a, &b)).unwrap(),
        }
    }

    /// Whether an entry has a value in the data set: a class does where it is labelled or predicted
    /// (by the union convention also where the attack predicts it), the rest where a pixel counts.
    fn defined(&self, entry: usize, tally: &Tally) -> bool {
        let [_, union, size] = self.clean[entry];
        match self.metric {
            Metric::Miou if self.conventions.miou == MiouClasses::Union => {
                union + tally[entry][1] > 0
            }
            Metric::Iou(_) | Metric::Dice(_) | Metric::Miou => union > 0,
            _ => size > 0,
        }
    }

    fn value(&self, tally: &Tally) -> Option<Share> {
        value(self.metric, tally, &self.conventions, |entry| {
            self.defined(entry, tally)
        })
    }

    /// The sums over the images of what attacks within `eps` leave of each.
    fn sums(&self, eps: f64) -> BTreeSet<Tally> {
        let within = |image: &Vec<(f64, Tally)>| -> BTreeSet<Tally> {
            image
                .iter()
                .filter(|(budget, _)| *budget <= eps)
                .map(|(_, tally)| tally.clone())
                .collect()
        };
        let together = |all: BTreeSet<Tally>, image: BTreeSet<Tally>| {
            all.iter()
                .flat_map(|a| image.iter().map(move |b| sum(a, b)))
                .collect()
        };
        self.images.iter().map(within).reduce(together).unwrap()
    }

    fn worst(&self, eps: f64) -> Option<Share> {
        let values = self
            .sums(eps)
            .into_iter()
            .filter_map(|tally| self.value(&tally));
        values.reduce(|a, b| worse(self.metric, a, b))
    }

    /// The mean over the classes, each attacked with the whole budget.
    fn class_by_class(&self, eps: f64) -> f64 {
        let sums = self.sums(eps);
        let share = |class: usize| {
            sums.iter()
                .map(move |tally| tally[class][0] as f64 / tally[class][1].max(1) as f64)
        };
        let reached = |class: &usize| sums.iter().any(|tally| self.defined(*class, tally));
        let classes: Vec<usize> = (0..self.clean.len()).filter(reached).collect();
        let total: f64 = classes
            .iter()
            .map(|&class| share(class).fold(1.0, f64::min))
            .sum();
        total / classes.len() as f64
    }

    /// Exact for counts and ratios; the means are those of the classes, one by one.
    fn check_worst(&self, found: Option<Value>, eps: f64) -> Result<(), String> {
        let metric = self.metric;
        let [least, most] = [1.0 - CLOSE, 1.0 + CLOSE].map(|factor| self.worst(eps * factor));
        let (Some(found), Some(most)) = (found, most) else {
            return match (found, least) {
                (None, None) => Ok(()),
                _ => Err(format!(
                    "{metric} at {eps}: {found:?}, enumeration {least:?} to {most:?}"
                )),
            };
        };
        // undefined up to a tie at eps
        let least = least.unwrap_or(most);
        let holds = match found {
            Value::Share(share) => {
                worse(metric, share, least) == share && worse(metric, most, share) == most
            }
            Value::Real { lower, .. } => {
                let [decoupled, lowest] =
                    [1.0 - CLOSE, 1.0 + CLOSE].map(|factor| self.class_by_class(eps * factor));
                lower <= least.upper() && lower <= decoupled + NOISE && lower >= lowest - NOISE
            }
        };
        match holds {
            true => Ok(()),
            false => Err(format!(
                "{metric} at {eps}: {found}, enumeration {least} to {most}"
            )),
        }
    }

    /// The least common budget at which some choice of attacks reaches the goal.
    fn check_budget(&self, found: Option<f64>, hundredths: u64) -> Result<(), String> {
        let metric = self.metric;
        let mut budgets: Vec<f64> = self
            .images
            .iter()
            .flatten()
            .map(|(budget, _)| *budget)
            .collect();
        budgets.sort_unstable_by(f64::total_cmp);
        let reached = |eps: f64| {
            self.worst(eps)
                .is_some_and(|share| meets(share, metric, hundredths))
        };
        let least = budgets
            .get(budgets.partition_point(|eps| !reached(*eps)))
            .copied();
        let is_mean = matches!(metric, Metric::MeanClassAccuracy | Metric::Miou);
        match (found, least) {
            (None, None) => Ok(()),
            (Some(found), Some(least)) if !is_mean => {
                below_and_close(found, least * (1.0 + NOISE), CLOSE)
            }
            (Some(found), least)
                if is_mean && least.is_none_or(|least| found <= least * (1.0 + NOISE)) =>
            {
                let threshold = hundredths as f64 / 100.0;
                match self.class_by_class(found * (1.0 + 2.0 * CLOSE)) > threshold + NOISE {
                    true => Err(format!("{metric} {hundredths}: {found} is idle")),
                    false => Ok(()),
                }
            }
            _ => Err(format!(
                "{metric} {hundredths}: {found:?}, enumeration {least:?}"
            )),
        }
    }

    /// Of each image one of its worst attacks, where it has one: the sums of their counts.
    fn minima(&self, eps: f64) -> BTreeSet<[u64; 2]> {
        let minimisers = |image: &Vec<(f64, Tally)>| -> BTreeSet<[u64; 2]> {
            let within = image
                .iter()
                .filter(|(budget, tally)| *budget <= eps && tally[0][1] > 0);
            let counts: BTreeSet<_> = within
                .map(|(_, tally)| [tally[0][0], tally[0][1]])
                .collect();
            let share = |[numerator, denominator]: [u64; 2]| Share {
                numerator,
                denominator,
            };
            let least = counts.iter().map(|counts| share(*counts)).min();
            let whole = least.is_none_or(|least| {
                least
                    == Share {
                        numerator: 1,
                        denominator: 1,
                    }
            });
            if whole && matches!(self.metric, Metric::Precision(_)) {
                // a precision that no attack lowers is summed with hits it does not have
                return (0..=image[0].1[0][2]).map(|hits| [hits, hits]).collect();
            }
            let of_least = counts
                .into_iter()
                .filter(|counts| Some(share(*counts)) == least);
            let found: BTreeSet<_> = of_least.collect();
            if found.is_empty() {
                [[0, 0]].into()
            } else {
                found
            }
        };
        let together = |all: BTreeSet<[u64; 2]>, image: BTreeSet<[u64; 2]>| {
            all.iter()
                .flat_map(|a| image.iter().map(move |b| [a[0] + b[0], a[1] + b[1]]))
                .collect()
        };
        self.images.iter().map(minimisers).reduce(together).unwrap()
    }

    /// The sum of the worst attacks on the single images is that of some of them.
    fn check_sum(&self, found: Option<Value>, eps: f64) -> Result<(), String> {
        let metric = self.metric;
        if !matches!(
            metric,
            Metric::Iou(_) | Metric::Dice(_) | Metric::Precision(_)
        ) {
            return found.map_or(Ok(()), |found| Err(format!("{metric}: {found}")));
        }
        let sums: BTreeSet<_> = [1.0 - CLOSE, 1.0 + CLOSE]
            .into_iter()
            .flat_map(|factor| self.minima(eps * factor))
            .collect();
        let counts = found.map_or([0, 0], |found| {
            found
                .share()
                .map_or([9, 9], |share| [share.numerator, share.denominator])
        });
        match sums.contains(&counts) {
            true => Ok(()),
            false => Err(format!(
                "{metric} at {eps}: {counts:?}, enumeration {sums:?}"
            )),
        }
    }
}

fn pool(scenes: &[Scene], metric: Metric, eps: &[Budget]) -> Pool {
    let mut pool = Pool::new(metric, scenes[0].classes, eps, true).unwrap();
    for scene in scenes {
        scene.with(|margins| pool.add(margins).unwrap());
    }
    pool
}

/// A pool of the rows of each image, last first, read from what was written.
fn pool_of_rows(scenes: &[Scene], metric: Metric, eps: &[Budget]) -> Pool {
    let empty = Pool::new(metric, scenes[0].classes, eps, false).unwrap();
    let mut all = empty.clone();
    for scene in scenes.iter().rev() {
        let mut one = empty.clone();
        scene.with(|margins| one.add(margins).unwrap());
        let text = serde_json::to_string(&one.row("a").unwrap()).unwrap();
        all.take(serde_json::from_str(&text).unwrap()).unwrap();
    }
    all
}

fn check_dataset(scenes: &[Scene], picks: &[Pick], hundredths: u64) {
    let assignments: Vec<_> = scenes.iter().map(Scene::assignments).collect();
    let budgets: Vec<f64> = assignments
        .iter()
        .flatten()
        .map(|(budget, _)| *budget)
        .collect();
    let chosen: Vec<Budget> = picks
        .iter()
        .map(|pick| budget(eps(&budgets, pick)))
        .collect();
    for metric in metrics(scenes[0].classes) {
        let joint = Joint::of(scenes, &assignments, metric);
        let pool = pool(scenes, metric, &chosen);
        let rows = pool_of_rows(scenes, metric, &chosen);
        let answers = |pool: &Pool| (pool.clean(), pool.worst(), pool.sum_of_image_minima());
        assert_eq!(answers(&rows), answers(&pool), "{metric}");
        assert_eq!(rows.undefined(), pool.undefined(), "{metric}");
        let clean = joint.value(&joint.clean);
        let same = match (pool.clean(), clean) {
            (Some(Value::Real { lower, upper }), Some(clean)) => {
                lower <= clean.upper() && clean.lower() <= upper && upper - lower < NOISE
            }
            (found, clean) => found.map(|value| value.share().unwrap()) == clean,
        };
        assert!(same, "{metric}: {:?} {clean:?}", pool.clean());
        let defined = scenes.iter().filter(|scene| {
            let predictions: Vec<u8> = (0..scene.labels.len())
                .map(|pixel| scene.prediction(pixel))
                .collect();
            value_of_image(
                metric,
                &scene.tally(metric, &predictions),
                &scene.conventions,
            )
            .is_some()
        });
        assert_eq!(
            (pool.images(), pool.undefined()),
            (scenes.len(), scenes.len() - defined.count()),
            "{metric}"
        );
        if clean.is_none() {
            assert!(pool.worst().iter().all(Option::is_none), "{metric}");
            assert_eq!(pool.budget(&goal(metric, hundredths)), Ok(None));
            continue;
        }
        for ((eps, found), sum) in chosen
            .iter()
            .zip(pool.worst())
            .zip(pool.sum_of_image_minima())
        {
            joint.check_worst(found, eps.get()).unwrap();
            joint.check_sum(sum, eps.get()).unwrap();
        }
        for hundredths in [hundredths, 0, 50, 100] {
            joint
                .check_budget(pool.budget(&goal(metric, hundredths)).unwrap(), hundredths)
                .unwrap();
        }
    }
}

fn check_datasets(cases: u32) {
    // small enough for all choices of three images
    let scenes = (2..=3usize, 2..=3usize, terms()).prop_flat_map(|(classes, images, terms)| {
        let most = if classes == 2 { 6 } else { 3 };
        prop::collection::vec(scene(classes, most, terms), images)
    });
    run(
        cases,
        (scenes, picks(), 0..=100u64),
        |(scenes, picks, hundredths)| check_dataset(&scenes, &picks, hundredths),
    );
}

#[test]
fn pools_equal_the_enumeration_of_all_choices() {
    check_datasets(256);
}

#[test]
#[ignore = "minutes: make slow"]
fn pools_equal_the_enumeration_many_times() {
    check_datasets(5000);
}

#[test]
fn the_comparisons_of_data_sets_see_planted_errors() {
    let first = planted();
    let mut second = first.clone();
    second
        .logits
        .iter_mut()
        .flatten()
        .for_each(|logit| *logit /= 4);
    second.labels = vec![0, 1, 1, 0, 1, 0];
    let scenes = [first, second];
    let assignments: Vec<_> = scenes.iter().map(Scene::assignments).collect();
    let with = |l: f64, void: u8| {
        let mut scenes = scenes.clone();
        for scene in &mut scenes {
            scene.premises.lipschitz = l;
            scene.void = void;
        }
        scenes[0].labels[4] = if void == 255 { 255 } else { 2 };
        scenes
    };
    let wrong = [
        ("no factor", with(3.0 / 2f64.sqrt(), 255)),
        ("no 1/L", with(1.0, 255)),
        ("0.1 % short", with(3.0 / 1.001, 255)),
        ("void counts", with(3.0, 254)),
    ];
    for metric in [
        Metric::Accuracy,
        Metric::Recall(0),
        Metric::Fpr(0),
        Metric::Iou(0),
        Metric::Dice(0),
        Metric::Precision(0),
        Metric::MeanClassAccuracy,
        Metric::Miou,
    ] {
        let joint = Joint::of(&scenes, &assignments, metric);
        let mut moves: Vec<f64> = joint
            .images
            .iter()
            .flatten()
            .map(|(budget, _)| budget * 1.0005)
            .collect();
        moves.retain(|eps| joint.worst(*eps) != joint.worst(eps * 0.999));
        let eps: Vec<Budget> = moves.iter().map(|eps| budget(*eps)).collect();
        let objections = |scenes: &[Scene]| {
            let pool = pool(scenes, metric, &eps);
            let worst = moves
                .iter()
                .zip(pool.worst())
                .filter(|(eps, found)| joint.check_worst(*found, **eps).is_err())
                .count();
            let least = (0..=100)
                .filter(|n| {
                    joint
                        .check_budget(pool.budget(&goal(metric, *n)).unwrap(), *n)
                        .is_err()
                })
                .count();
            (worst, least)
        };
        assert_eq!(objections(&scenes), (0, 0), "{metric}");
        for (name, scenes) in &wrong {
            let (worst, least) = objections(scenes);
            let blind = *name == "void counts" && matches!(metric, Metric::Recall(_));
            assert!(
                blind || worst > 0 && least > 0,
                "{metric}: {name} {worst} {least}"
            );
        }
        let share = joint.worst(moves[0]).unwrap();
        for numerator in [share.numerator + 1, share.numerator.wrapping_sub(1)] {
            let planted = Value::Share(Share { numerator, ..share });
            joint.check_worst(Some(planted), moves[0]).unwrap_err();
        }
        joint.check_worst(None, moves[0]).unwrap_err();
        joint
            .check_sum(
                Some(Value::Share(Share {
                    numerator: 0,
                    denominator: 99,
                })),
                moves[0],
            )
            .unwrap_err();
    }
}
