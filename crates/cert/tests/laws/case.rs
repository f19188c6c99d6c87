//! Tiny images, what is certified of them, and what must be equal.

use certiseg_cert::testing::below_and_close;
use certiseg_cert::{
    Budget, Certificate, ClassHead, Connectivity, Conventions, EmptyPrecision, Forced, Goal, Grid,
    Image, Margins, Metric, MiouClasses, Norm, Objects, Premises, Share, Value, margins,
    margins_with_head,
};
use proptest::prelude::*;

/// Every metric, those of a class for two of them; a new one is one line.
pub const METRICS: [Metric; 22] = [
    Metric::Accuracy,
    Metric::Stability,
    Metric::Recall(0),
    Metric::Recall(1),
    Metric::Fnr(0),
    Metric::Fnr(1),
    Metric::Fpr(0),
    Metric::Fpr(1),
    Metric::Specificity(0),
    Metric::Specificity(1),
    Metric::Precision(0),
    Metric::Precision(1),
    Metric::Dice(0),
    Metric::Dice(1),
    Metric::Iou(0),
    Metric::Iou(1),
    Metric::MeanClassAccuracy,
    Metric::Miou,
    Metric::Objects(0),
    Metric::Objects(1),
    Metric::StableObjects(0),
    Metric::StableObjects(1),
];
pub const EXPONENTS: [f64; 5] = [1.0, 1.5, 2.0, 3.0, f64::INFINITY];
pub const VOID: u8 = 255;
/// Rounding of a certificate of 12 pixels, 1e-13 for general p, with room; Q2 above all, which
/// bisection finds to 2^-30.
pub const CLOSE: f64 = 1e-9;
/// The means are bounds whose prices are searched: they fall in eps up to this.
pub const SEARCHED: f64 = 1e-6;

pub fn is_mean(metric: Metric) -> bool {
    matches!(metric, Metric::MeanClassAccuracy | Metric::Miou)
}

pub fn is_ratio(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::Precision(_) | Metric::Dice(_) | Metric::Iou(_)
    )
}

pub fn is_of_objects(metric: Metric) -> bool {
    matches!(metric, Metric::Objects(_) | Metric::StableObjects(_))
}

/// The metrics whose value follows from pixels lost and gained.
pub fn of_lists() -> impl Iterator<Item = Metric> {
    METRICS
        .into_iter()
        .filter(|m| !is_mean(*m) && !is_of_objects(*m))
}

#[derive(Clone, Debug)]
pub struct Case {
    pub classes: usize,
    /// Logits of each pixel.
    pub pixels: Vec<Vec<f32>>,
    pub labels: Vec<u8>,
    pub void: u8,
    pub region: Option<Vec<bool>>,
    pub premises: Premises,
    pub conventions: Conventions,
    pub head: Option<ClassHead>,
}

/// Clean value, worst values and budgets: all that is reported.
pub type Report = Option<(Vec<Value>, Vec<Option<f64>>)>;

impl Case {
    /// The same constant and error in another norm.
    pub fn in_norm(&mut self, norm: Norm) {
        let Premises {
            lipschitz,
            eta,
            claim,
            ..
        } = self.premises;
        self.premises = Premises::new(norm, lipschitz, eta).unwrap();
        self.premises.claim = claim;
    }

    pub fn with<T>(&self, then: impl FnOnce(&Margins) -> T) -> T {
        let logits: Vec<f32> = (0..self.classes)
            .flat_map(|class| self.pixels.iter().map(move |pixel| pixel[class]))
            .collect();
        let grid = Grid::new(self.classes, 1, self.pixels.len()).unwrap();
        let mut image = Image::new(grid, &logits, Some(&self.labels), Some(self.void)).unwrap();
        if let Some(region) = &self.region {
            image = image.region(region).unwrap();
        }
        let margins = match &self.head {
            Some(head) => margins_with_head(&image, &self.premises, head),
            None => margins(&image, &self.premises),
        };
        then(&margins.unwrap().with(self.conventions).unwrap())
    }

    pub fn certify<T>(&self, metric: Metric, then: impl FnOnce(&Certificate) -> T) -> Option<T> {
        self.with(|margins| metric.certify(margins).unwrap().map(|c| then(&c)))
    }

    pub fn worst(&self, metric: Metric, eps: f64) -> Option<Value> {
        self.certify(metric, |c| c.worst(budget(eps)))
    }

    pub fn report(&self, metric: Metric, eps: f64) -> Report {
        self.certify(metric, |c| {
            let values = vec![c.clean(), c.worst(budget(0.0)), c.worst(budget(eps))];
            let budgets = (0..=4).map(|quarter| c.budget(&goal(metric, 25 * quarter)).unwrap());
            (values, budgets.collect())
        })
    }

    pub fn counts(&self, pixel: usize) -> bool {
        self.region.as_ref().is_none_or(|region| region[pixel])
    }

    /// Only these pixels, the region with them.
    pub fn keep(&self, kept: impl Fn(usize) -> bool) -> Case {
        let at = || (0..self.labels.len()).filter(|&pixel| kept(pixel));
        Case {
            pixels: at().map(|pixel| self.pixels[pixel].clone()).collect(),
            labels: at().map(|pixel| self.labels[pixel]).collect(),
            region: self
                .region
                .as_ref()
                .map(|region| at().map(|pixel| region[pixel]).collect()),
            ..self.clone()
        }
    }

    /// The costs of the metric's pixels, from the definition, forced classes pairwise:
    /// (is a loss, radius).
    pub fn radii(&self, metric: Metric) -> Vec<(bool, f64)> {
        let p = self.premises.norm.p();
        let factor = if p == f64::INFINITY {
            0.5
        } else {
            2f64.powf((1.0 - p) / p)
        };
        let radius =
            |gap: f64| factor * (gap - 2.0 * self.premises.eta).max(0.0) / self.premises.lipschitz;
        let mut radii = Vec::new();
        for (pixel, (logits, &label)) in self.pixels.iter().zip(&self.labels).enumerate() {
            let logit = |class: usize| f64::from(logits[class]);
            let top = (0..self.classes)
                .rev()
                .max_by(|&a, &b| logit(a).total_cmp(&logit(b)))
                .unwrap();
            let others = (0..self.classes).filter(|&c| c != top).map(logit);
            let leave = radius(logit(top) - others.fold(f64::NEG_INFINITY, f64::max));
            let lose = if top == usize::from(label) {
                leave
            } else {
                0.0
            };
            let force = |class: u8| {
                let class = usize::from(class);
                if top == class {
                    0.0
                } else {
                    radius(logit(top) - logit(class))
                }
            };
            match metric {
                _ if !self.counts(pixel) => {}
                Metric::Stability => radii.push((true, leave)),
                _ if label == self.void => {}
                Metric::Accuracy => radii.push((true, lose)),
                Metric::Fpr(class) | Metric::Specificity(class) if class != label => {
                    radii.push((true, force(class)))
                }
                Metric::Fpr(_) | Metric::Specificity(_) => {}
                _ if metric.class() == Some(label) => radii.push((true, lose)),
                Metric::Precision(class) | Metric::Dice(class) | Metric::Iou(class) => {
                    radii.push((false, force(class)))
                }
                _ => {}
            }
        }
        radii
    }

    /// Value after losing i of s pixels and gaining j.
    pub fn left(&self, metric: Metric, s: u64, [i, j]: [u64; 2]) -> Option<Share> {
        let (numerator, denominator) = match metric {
            Metric::Fnr(_) | Metric::Fpr(_) => (i, s),
            Metric::Iou(_) => (s - i, s + j),
            Metric::Dice(_) => (2 * (s - i), 2 * s - i + j),
            Metric::Precision(_) if s - i + j == 0 => match self.conventions.empty_precision {
                EmptyPrecision::One => (1, 1),
                EmptyPrecision::Zero => (0, 1),
                EmptyPrecision::Skip => return None,
            },
            Metric::Precision(_) => (s - i, s - i + j),
            _ => (s - i, s),
        };
        Some(Share {
            numerator,
            denominator,
        })
    }

    /// Pixels lost, up to all, and the most that can be gained with them, from the lists of
    /// [`Self::radii`].
    pub fn pairs(&self, lists: &[(bool, f64)], eps: f64) -> Vec<[u64; 2]> {
        let p = self.premises.norm.p();
        let sums = |loss: bool| {
            let mut radii: Vec<f64> = lists
                .iter()
                .filter(|(l, _)| *l == loss)
                .map(|(_, r)| *r)
                .collect();
            radii.sort_unstable_by(f64::total_cmp);
            let mut sum = 0.0;
            let add = radii.into_iter().map(move |r| {
                sum = if p.is_finite() { sum + r.powf(p) } else { r };
                sum
            });
            [0.0].into_iter().chain(add).collect::<Vec<f64>>()
        };
        let (lose, gain) = (sums(true), sums(false));
        let affordable = if p.is_finite() { eps.powf(p) } else { eps };
        let both = |a: f64, b: f64| if p.is_finite() { a + b } else { a.max(b) };
        let pair = |i: usize| {
            let j = gain
                .iter()
                .filter(|cost| both(lose[i], **cost) <= affordable)
                .count()
                .checked_sub(1)?;
            Some([i as u64, j as u64])
        };
        (0..lose.len()).map_while(pair).collect()
    }

    /// Every set of flips that has a value: its budget and that value.
    pub fn subsets(&self, metric: Metric) -> Vec<(f64, Share)> {
        let (radii, p) = (self.radii(metric), self.premises.norm.p());
        let losses = radii.iter().filter(|(loss, _)| *loss).count() as u64;
        let of = |set: u32| {
            let taken = || {
                radii
                    .iter()
                    .enumerate()
                    .filter(move |(n, _)| set >> n & 1 == 1)
                    .map(|(_, r)| r)
            };
            let budget = match p {
                f64::INFINITY => taken().map(|(_, r)| *r).fold(0.0, f64::max),
                p => taken().map(|(_, r)| r.powf(p)).sum::<f64>().powf(1.0 / p),
            };
            let lost = taken().filter(|(loss, _)| *loss).count() as u64;
            let gained = taken().count() as u64 - lost;
            Some((budget, self.left(metric, losses, [lost, gained])?))
        };
        (0..1u32 << radii.len()).filter_map(of).collect()
    }
}

pub fn budget(eps: f64) -> Budget {
    Budget::new(eps).unwrap()
}

/// The goal at `hundredths` / 100, without equality where `hundredths` is odd.
pub fn goal(metric: Metric, hundredths: u32) -> Goal {
    let sign = match (metric.higher_is_better(), hundredths % 2 == 1) {
        (true, false) => "<=",
        (true, true) => "<",
        (false, false) => ">=",
        (false, true) => ">",
    };
    let text = format!("{metric}{sign}{}.{:02}", hundredths / 100, hundredths % 100);
    text.parse().unwrap()
}

/// Whether `share` meets [`goal`], in integers.
pub fn meets(share: Share, metric: Metric, hundredths: u32) -> bool {
    let (value, threshold) = (
        share.numerator * 100,
        share.denominator * u64::from(hundredths),
    );
    match (metric.higher_is_better(), hundredths % 2 == 1) {
        (true, false) => value <= threshold,
        (true, true) => value < threshold,
        (false, false) => value >= threshold,
        (false, true) => value > threshold,
    }
}

/// Whether `a` is at least as bad as `b`: fractions exactly, other bounds up to [`SEARCHED`].
pub fn as_bad(metric: Metric, a: Value, b: Value) -> bool {
    match (a, b, metric.higher_is_better()) {
        (Value::Share(a), Value::Share(b), true) => a <= b,
        (Value::Share(a), Value::Share(b), false) => a >= b,
        _ => metric.cautious(a) <= metric.cautious(b) + SEARCHED,
    }
}

/// `found` is the worst value that a set of at most `eps` leaves: never better, and equal where no
/// budget is within rounding of `eps`.
pub fn equals_enumeration(
    metric: Metric,
    found: Value,
    subsets: &[(f64, Share)],
    eps: f64,
) -> Result<(), String> {
    let worst_within = |eps: f64| {
        let within = subsets
            .iter()
            .filter(|(budget, _)| *budget <= eps)
            .map(|(_, share)| Value::Share(*share));
        within
            .reduce(|a, b| if as_bad(metric, a, b) { a } else { b })
            .unwrap()
    };
    let [least, most] = [1.0 - CLOSE, 1.0 + CLOSE].map(|factor| worst_within(eps * factor));
    if as_bad(metric, found, least) && as_bad(metric, most, found) {
        Ok(())
    } else {
        Err(format!(
            "{metric} at {eps}: {found}, enumeration {least} to {most}"
        ))
    }
}

/// `a` says of `metric` what `b` says, up to rounding: a budget within [`CLOSE`] of a tie.
pub fn same_but_for_rounding(a: &Case, b: &Case, metric: Metric, eps: f64) -> Result<(), String> {
    let worse = b.worst(metric, eps * (1.0 + CLOSE));
    match (
        worse,
        a.worst(metric, eps),
        b.worst(metric, eps * (1.0 - CLOSE)),
    ) {
        (None, None, None) => return Ok(()),
        (Some(most), Some(found), Some(least))
            if as_bad(metric, most, found) && as_bad(metric, found, least) => {}
        values => return Err(format!("{metric} at {eps}: {values:?}")),
    }
    // a searched bound that rests at the threshold says little about the budget
    for hundredths in [0, 25, 50, 75, 100]
        .into_iter()
        .filter(|_| !is_mean(metric))
    {
        let least = |case: &Case| {
            case.certify(metric, |c| c.budget(&goal(metric, hundredths)).unwrap())
                .flatten()
        };
        match (least(a), least(b)) {
            (None, None) => {}
            (Some(a), Some(b)) => below_and_close(a.min(b), a.max(b), CLOSE)?,
            budgets => return Err(format!("{metric} {hundredths}: {budgets:?}")),
        }
    }
    Ok(())
}

fn conventions(exact: bool, empty: u8, union: bool, objects: Objects) -> Conventions {
    Conventions {
        forced: if exact {
            Forced::Exact
        } else {
            Forced::Pairwise
        },
        empty_precision: [
            EmptyPrecision::One,
            EmptyPrecision::Zero,
            EmptyPrecision::Skip,
        ][usize::from(empty)],
        miou: if union {
            MiouClasses::Union
        } else {
            MiouClasses::Present
        },
        objects,
    }
}

pub fn case(pixels: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Case> {
    let eta = prop::sample::select(vec![0.0, 0.015625]);
    let lipschitz = prop::sample::select(vec![0.5, 1.0, 3.0]);
    let norm = prop::sample::select(EXPONENTS.to_vec()).prop_map(|p| Norm::new(p).unwrap());
    let premises =
        (norm, lipschitz, eta).prop_map(|(norm, l, eta)| Premises::new(norm, l, eta).unwrap());
    let coverage = prop::sample::select(vec![0u8, 0, 50, 90]);
    let objects = (1..=2u32, coverage).prop_map(|(pixels, coverage)| {
        let connectivity = Connectivity::Four;
        Objects {
            connectivity,
            pixels,
            coverage,
        }
    });
    let choices = (any::<bool>(), 0..3u8, any::<bool>(), objects);
    (2..=4usize, pixels, premises, choices, 0..4u8).prop_flat_map(
        |(classes, count, premises, choices, part)| {
            let logit = (-32..=32i8).prop_map(|n| f32::from(n) / 16.0);
            let pixels = prop::collection::vec(prop::collection::vec(logit, classes), count);
            let label = (0..=classes as u8)
                .prop_map(move |n| if usize::from(n) == classes { VOID } else { n });
            let labels = prop::collection::vec(label, count);
            let region = prop::collection::vec(any::<bool>(), count);
            (pixels, labels, region).prop_map(move |(pixels, labels, region)| {
                let (exact, empty, union, objects) = choices;
                let exact = exact && [1.0, 2.0, f64::INFINITY].contains(&premises.norm.p());
                let conventions = conventions(exact, empty, union, objects);
                let region = (part == 0).then_some(region);
                Case {
                    classes,
                    pixels,
                    labels,
                    void: VOID,
                    region,
                    premises,
                    conventions,
                    head: None,
                }
            })
        },
    )
}

/// Budgets from none to enough for most images.
pub fn eps() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 1 => (0..64u8).prop_map(|n| f64::from(n) / 16.0), 6 => 0.0..6.0f64]
}

/// The comparison with enumeration must object to a lost pixel, a budget 0.1 % short, a wrong norm.
#[test]
fn the_comparison_sees_planted_errors() {
    let mut case = Case {
        classes: 2,
        pixels: [1.0, 1.0, 2.0, 0.0]
            .map(|margin| vec![margin, 0.0])
            .to_vec(),
        labels: vec![0, 0, 0, 1],
        void: VOID,
        region: None,
        premises: Premises::new(Norm::L2, 1.0, 0.0).unwrap(),
        conventions: Conventions::default(),
        head: None,
    };
    // both pixels of radius 1/sqrt(2), at a budget of 1
    let eps = 1.0005;
    let two_lists = [Metric::Iou(0), Metric::Dice(0), Metric::Recall(0)];
    for metric in [Metric::Accuracy, Metric::Stability, Metric::Fnr(0)]
        .into_iter()
        .chain(two_lists)
    {
        let subsets = case.subsets(metric);
        let found = case.worst(metric, eps).unwrap();
        equals_enumeration(metric, found, &subsets, eps).unwrap();
        let share = found.share().unwrap();
        for numerator in [share.numerator + 1, share.numerator.wrapping_sub(1)] {
            let planted = Value::Share(Share { numerator, ..share });
            assert!(
                equals_enumeration(metric, planted, &subsets, eps).is_err(),
                "{metric}"
            );
        }
        let other = case.worst(metric, eps * 0.999).unwrap();
        assert!(
            equals_enumeration(metric, other, &subsets, eps).is_err(),
            "{metric}: 0.1 % short"
        );
        let right = case.clone();
        case.premises.norm = Norm::LINF;
        let other = case.worst(metric, eps).unwrap();
        assert!(
            equals_enumeration(metric, other, &subsets, eps).is_err(),
            "{metric}: wrong norm"
        );
        same_but_for_rounding(&case, &right, metric, eps).unwrap_err();
        case = right;
        let mut longer = case.clone();
        longer.premises.lipschitz = 1.001;
        same_but_for_rounding(&longer, &case, metric, 0.2).unwrap_err();
    }
    let half = Share {
        numerator: 1,
        denominator: 2,
    };
    assert!(meets(half, Metric::Accuracy, 50));
    assert!(!meets(half, Metric::Accuracy, 49));
    assert!(!meets(half, Metric::Fnr(0), 51));
}
