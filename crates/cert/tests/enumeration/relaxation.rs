//! The relaxation on a tiny image, written from its definition: every pixel may predict any class,
//! at its cost, and the costs share a budget. Uses nothing of the crate but its descriptions.

use certiseg_cert::{
    Budget, Claim, Connectivity, Conventions, EmptyPrecision, Forced, Goal, Grid, Image, Margins,
    Metric, MiouClasses, Premises, Share, margins,
};

/// Logits in sixteenths, pixel by pixel and row by row.
#[derive(Clone, Debug)]
pub struct Scene {
    pub classes: usize,
    pub width: usize,
    pub logits: Vec<Vec<i8>>,
    pub labels: Vec<u8>,
    pub void: u8,
    pub region: Option<Vec<bool>>,
    pub premises: Premises,
    pub conventions: Conventions,
}

/// What a metric counts, one entry or one for each class: numerator, denominator, and the pixels
/// without which there is nothing to measure. Those of several images are added entry by entry.
pub type Tally = Vec<[u64; 3]>;

/// Every metric, of each class.
pub fn metrics(classes: usize) -> Vec<Metric> {
    let of_class =
        |name: &str, class: usize| name.replace('K', &class.to_string()).parse().unwrap();
    let all = |name: &'static str| {
        (0..if name.contains('K') { classes } else { 1 }).map(move |class| of_class(name, class))
    };
    Metric::NAMES.into_iter().flat_map(all).collect()
}

pub fn budget(eps: f64) -> Budget {
    Budget::new(eps).unwrap()
}

/// The goal at `hundredths` / 100, without equality where `hundredths` is odd.
pub fn goal(metric: Metric, hundredths: u64) -> Goal {
    let (down, strict) = (metric.higher_is_better(), hundredths % 2 == 1);
    let sign = [["<=", "<"], [">=", ">"]][usize::from(!down)][usize::from(strict)];
    format!("{metric}{sign}{}.{:02}", hundredths / 100, hundredths % 100)
        .parse()
        .unwrap()
}

/// Whether `share` meets [`goal`], in integers.
pub fn meets(share: Share, metric: Metric, hundredths: u64) -> bool {
    let (value, threshold) = (share.numerator * 100, share.denominator * hundredths);
    let beyond = if metric.higher_is_better() {
        value < threshold
    } else {
        value > threshold
    };
    beyond || hundredths.is_multiple_of(2) && value == threshold
}

/// Of two values the one an attack prefers.
pub fn worse(metric: Metric, a: Share, b: Share) -> Share {
    if metric.higher_is_better() {
        a.min(b)
    } else {
        a.max(b)
    }
}

impl Scene {
    pub fn with<T>(&self, then: impl FnOnce(&Margins) -> T) -> T {
        let plane = |class: usize| {
            self.logits
                .iter()
                .map(move |pixel| f32::from(pixel[class]) / 16.0)
        };
        let logits: Vec<f32> = (0..self.classes).flat_map(plane).collect();
        let grid = Grid::new(self.classes, self.labels.len() / self.width, self.width).unwrap();
        let mut image = Image::new(grid, &logits, Some(&self.labels), Some(self.void)).unwrap();
        if let Some(region) = &self.region {
            image = image.region(region).unwrap();
        }
        then(
            &margins(&image, &self.premises)
                .unwrap()
                .with(self.conventions)
                .unwrap(),
        )
    }

    /// The class of the largest logit, the first of equal ones.
    pub fn prediction(&self, pixel: usize) -> u8 {
        let logits = &self.logits[pixel];
        let largest = logits.iter().max().unwrap();
        logits.iter().position(|logit| logit == largest).unwrap() as u8
    }

    /// Radius to make a pixel predict a class.
    fn radius(&self, pixel: usize, class: u8) -> f64 {
        let Premises {
            norm,
            lipschitz,
            eta,
            claim,
            ..
        } = self.premises;
        let etas = if claim == Claim::Function { 2.0 } else { 4.0 };
        let wanted = self.logits[pixel][usize::from(class)];
        let gap = |logit: &i8| (f64::from(logit - wanted) / 16.0 - etas * eta).max(0.0);
        let mut gaps: Vec<f64> = self.logits[pixel].iter().map(gap).collect();
        gaps.sort_unstable_by(|a, b| b.total_cmp(a));
        if class == self.prediction(pixel) || gaps[0] == 0.0 {
            return 0.0;
        }
        let p = norm.p();
        let factor = if p.is_finite() {
            2f64.powf((1.0 - p) / p)
        } else {
            0.5
        };
        if self.conventions.forced == Forced::Pairwise || p != 2.0 {
            return factor * gaps[0] / lipschitz;
        }
        // the wanted logit rises to a level, those above fall to it; the best is a mean of some
        let moved = |level: f64| {
            level.powi(2)
                + gaps
                    .iter()
                    .map(|gap| (gap - level).max(0.0).powi(2))
                    .sum::<f64>()
        };
        let level = |above: usize| gaps[..above].iter().sum::<f64>() / (above + 1) as f64;
        (1..=gaps.len())
            .map(|above| moved(level(above)).sqrt())
            .fold(f64::INFINITY, f64::min)
            / lipschitz
    }

    /// Every assignment of classes to pixels, and the budget it needs.
    pub fn assignments(&self) -> Vec<(f64, Vec<u8>)> {
        let (p, classes) = (self.premises.norm.p(), self.classes as u8);
        let mut all = vec![(0.0, Vec::new())];
        for pixel in 0..self.labels.len() {
            let cost = |class| match (self.radius(pixel, class), p.is_finite()) {
                (radius, true) => radius.powf(p),
                (radius, false) => radius,
            };
            let costs: Vec<f64> = (0..classes).map(cost).collect();
            let longer = |(total, classes): &(f64, Vec<u8>), class: u8| {
                let cost = costs[usize::from(class)];
                let total = if p.is_finite() {
                    total + cost
                } else {
                    cost.max(*total)
                };
                (total, [&classes[..], &[class]].concat())
            };
            all = all
                .iter()
                .flat_map(|shorter| (0..classes).map(move |class| longer(shorter, class)))
                .collect();
        }
        let root = |total: f64| {
            if p.is_finite() {
                total.powf(1.0 / p)
            } else {
                total
            }
        };
        all.into_iter()
            .map(|(total, classes)| (root(total), classes))
            .collect()
    }

    /// Whether a pixel counts for a metric.
    fn counts(&self, metric: Metric, pixel: usize) -> bool {
        let void = metric.needs_labels() && self.labels[pixel] == self.void;
        !void && self.region.as_ref().is_none_or(|region| region[pixel])
    }

    /// The objects of a metric: pixels of its class, flooded from the first.
    fn objects(&self, metric: Metric, class: u8) -> Vec<Vec<usize>> {
        let reference = |pixel| {
            if metric.needs_labels() {
                self.labels[pixel]
            } else {
                self.prediction(pixel)
            }
        };
        let mut dry: Vec<usize> = (0..self.labels.len())
            .filter(|&p| self.counts(metric, p) && reference(p) == class)
            .collect();
        let rule = self.conventions.objects;
        let touch = |a: usize, b: usize| {
            let (rows, columns) = (
                (a / self.width).abs_diff(b / self.width),
                (a % self.width).abs_diff(b % self.width),
            );
            rows + columns == 1
                || rows.max(columns) == 1 && rule.connectivity == Connectivity::Eight
        };
        let mut objects = Vec::new();
        while let Some(first) = dry.pop() {
            let mut object = vec![first];
            let mut next = 0;
            while next < object.len() {
                let (wet, left) = dry
                    .into_iter()
                    .partition(|&pixel| touch(pixel, object[next]));
                object.extend::<Vec<usize>>(wet);
                dry = left;
                next += 1;
            }
            objects.push(object);
        }
        objects.retain(|object| object.len() >= rule.pixels as usize);
        objects
    }

    /// What the metric counts where the pixels predict these classes.
    pub fn tally(&self, metric: Metric, predicted: &[u8]) -> Tally {
        let counted: Vec<usize> = (0..predicted.len())
            .filter(|&pixel| self.counts(metric, pixel))
            .collect();
        let count = |holds: &dyn Fn(usize) -> bool| {
            counted.iter().filter(|&&pixel| holds(pixel)).count() as u64
        };
        let all = counted.len() as u64;
        let sizes = |class: u8| {
            let hit = count(&|pixel| self.labels[pixel] == class && predicted[pixel] == class);
            let (labelled, guessed) = (
                count(&|pixel| self.labels[pixel] == class),
                count(&|pixel| predicted[pixel] == class),
            );
            (hit, labelled, guessed)
        };
        let iou = |class: u8| {
            let (hit, labelled, guessed) = sizes(class);
            [hit, labelled + guessed - hit, labelled]
        };
        let (hit, labelled, guessed) = sizes(metric.class().unwrap_or_default());
        let classes = 0..self.classes as u8;
        vec![match metric {
            Metric::Accuracy => [
                count(&|pixel| predicted[pixel] == self.labels[pixel]),
                all,
                all,
            ],
            Metric::Stability => [
                count(&|pixel| predicted[pixel] == self.prediction(pixel)),
                all,
                all,
            ],
            Metric::Recall(_) => [hit, labelled, labelled],
            Metric::Fnr(_) => [labelled - hit, labelled, labelled],
            Metric::Fpr(_) => [guessed - hit, all - labelled, all - labelled],
            Metric::Specificity(_) => [
                all - labelled - (guessed - hit),
                all - labelled,
                all - labelled,
            ],
            Metric::Precision(_) => [hit, guessed, all],
            Metric::Dice(_) => [2 * hit, labelled + guessed, labelled],
            Metric::Iou(class) => iou(class),
            Metric::MeanClassAccuracy => {
                return classes
                    .map(sizes)
                    .map(|(hit, size, _)| [hit, size, size])
                    .collect();
            }
            Metric::Miou => return classes.map(iou).collect(),
            Metric::Objects(class) | Metric::StableObjects(class) => {
                let coverage = usize::from(self.conventions.objects.coverage);
                let left = |object: &Vec<usize>| {
                    object
                        .iter()
                        .filter(|&&pixel| predicted[pixel] == class)
                        .count()
                };
                let objects = self.objects(metric, class);
                let kept = objects
                    .iter()
                    .filter(|object| left(object) * 100 > coverage * object.len());
                [
                    kept.count() as u64,
                    objects.len() as u64,
                    objects.len() as u64,
                ]
            }
        }]
    }
}

/// Value of a tally; `None` where it is undefined. `defined` says which entries count at all. A
/// class of a mean that is left without any pixel counts 0.
pub fn value(
    metric: Metric,
    tally: &Tally,
    conventions: &Conventions,
    defined: impl Fn(usize) -> bool,
) -> Option<Share> {
    let is_mean = tally.len() > 1;
    let share = |[numerator, denominator, _]: [u64; 3]| Share {
        numerator,
        denominator: denominator.max(u64::from(is_mean)),
    };
    let entries: Vec<Share> = (0..tally.len())
        .filter(|&n| defined(n))
        .map(|n| share(tally[n]))
        .collect();
    let product: u64 = entries.iter().map(|entry| entry.denominator).product();
    match (metric, &entries[..]) {
        (_, []) => None,
        (Metric::Precision(_), [Share { denominator: 0, .. }]) => match conventions.empty_precision
        {
            EmptyPrecision::One => Some(Share {
                numerator: 1,
                denominator: 1,
            }),
            EmptyPrecision::Zero => Some(Share {
                numerator: 0,
                denominator: 1,
            }),
            EmptyPrecision::Skip => None,
        },
        (_, [Share { denominator: 0, .. }]) => None,
        // the mean over one denominator
        _ => Some(Share {
            numerator: entries
                .iter()
                .map(|entry| entry.numerator * (product / entry.denominator))
                .sum(),
            denominator: product * entries.len() as u64,
        }),
    }
}

/// Value of a tally of one image.
pub fn value_of_image(metric: Metric, tally: &Tally, conventions: &Conventions) -> Option<Share> {
    let union = metric == Metric::Miou && conventions.miou == MiouClasses::Union;
    value(metric, tally, conventions, |n| {
        tally[n][2] > 0 || union && tally[n][1] > 0
    })
}
