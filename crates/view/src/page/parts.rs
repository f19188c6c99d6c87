//! Metrics, classes and objects of the document.

use std::collections::BTreeSet;

use certiseg_cert::{Metric, mean_lower};

use super::build::budget;
use super::document::{ClassPart, GoalPart, MetricPart, ObjectImage, ObjectsPart};
use super::reading::{Readings, Until, until};
use super::smoothed::right_at;
use crate::number::{NONE, certified, certified_mean, nearest};
use crate::{Picture, Run, VOID, run::Figures};

/// Decimals of values.
const DIGITS: usize = 4;
/// What no budget reaches.
pub const NEVER: &str = "no budget";

/// Certified values as texts.
pub fn texts(metric: Metric, values: impl Iterator<Item = Option<f64>>) -> Vec<String> {
    values
        .map(|value| certified(metric, value, DIGITS))
        .collect()
}

/// A budget as text.
pub fn text_until(found: Option<Until>) -> String {
    match found {
        None => NONE.into(),
        Some(Until::Never) => NEVER.into(),
        Some(Until::Budget(eps)) => budget(eps),
    }
}

/// A metric over all images.
pub fn metric_part(
    runs: &[Run],
    readings: &Readings,
    metric: Metric,
    stops: &[f64],
    thresholds: &[String],
) -> MetricPart {
    let values: Vec<_> = stops
        .iter()
        .map(|&eps| readings.values(metric, eps))
        .collect();
    let over = |of: &dyn Fn(&[f64]) -> Option<f64>| {
        texts(metric, values.iter().map(|values| of(values.as_ref()?)))
    };
    let defined = readings.defined(metric);
    let clean: Vec<f64> = defined.iter().filter_map(|reading| reading.clean).collect();
    let dataset = || {
        runs.iter()
            .flat_map(|run| &run.dataset)
            .filter(|row| row.metric == metric)
    };
    let pooled = stops.iter().map(|eps| {
        let row = dataset().find(|row| row.eps.is_some_and(|known| known.get() == *eps));
        row.and_then(|row| row.value)
    });
    let found: Vec<_> = stops
        .iter()
        .map(|&eps| attacked(runs, metric, eps))
        .collect();
    let means = readings.means(metric, stops);
    let whole = !defined.is_empty() && defined.iter().all(|reading| reading.is_whole());
    let threshold = |text: &String| {
        text_until(until(
            metric,
            text.parse().unwrap_or(f64::NAN),
            &means,
            whole,
        ))
    };
    MetricPart {
        name: metric.to_string(),
        title: words(metric),
        higher: metric.higher_is_better(),
        images: defined.len(),
        undefined: readings.undefined(metric),
        clean: nearest(mean(&clean), DIGITS),
        clean_pooled: nearest(dataset().find_map(|row| row.clean), DIGITS),
        mean: over(&|values| certified_mean(metric, values)),
        low: over(&|values| Some(rank(metric, values, 1))),
        high: over(&|values| Some(rank(metric, values, 9))),
        pooled: texts(metric, pooled),
        attacked: found
            .iter()
            .map(|values| nearest(mean(values), DIGITS))
            .collect(),
        attacked_images: found.iter().map(Vec::len).collect(),
        smoothed: stops
            .iter()
            .map(|&eps| certified(metric, smoothed(runs, metric, eps), DIGITS))
            .collect(),
        until: thresholds.iter().map(threshold).collect(),
        goals: goals(runs, readings, metric),
    }
}

fn smoothed(runs: &[Run], metric: Metric, eps: f64) -> Option<f64> {
    // its norm is l2, and pixels are all it speaks of
    let asked = metric == Metric::Accuracy && eps > 0.0;
    let rows = || runs.iter().flat_map(|run| &run.rows);
    let same = rows().all(|row| row.norm == certiseg_cert::Norm::L2);
    (asked && same).then(|| right_at(runs, eps)).flatten()
}

/// The value below which so many tenths of the images are; of two neighbours the worse one.
fn rank(metric: Metric, values: &[f64], tenths: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = (sorted.len() - 1) * tenths;
    match metric.higher_is_better() {
        true => sorted[place / 10],
        false => sorted[place.div_ceil(10)],
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The worst that attacks found, image by image.
fn attacked(runs: &[Run], metric: Metric, eps: f64) -> Vec<f64> {
    let mut images: Vec<(&str, f64)> = Vec::new();
    let rows = runs.iter().flat_map(|run| &run.attacks);
    for row in rows.filter(|row| row.metric == metric && row.eps.get() == eps && !row.idle) {
        let Some(value) = row.attacked else {
            continue;
        };
        match images.iter_mut().find(|(image, _)| *image == row.image) {
            Some((_, worst)) if metric.higher_is_better() => *worst = worst.min(value),
            Some((_, worst)) => *worst = worst.max(value),
            None => images.push((&row.image, value)),
        }
    }
    images.into_iter().map(|(_, value)| value).collect()
}

fn goals(runs: &[Run], readings: &Readings, metric: Metric) -> Vec<GoalPart> {
    let defined = readings.defined(metric);
    let mut names: Vec<String> = Vec::new();
    for (goal, _) in defined.iter().flat_map(|reading| &reading.goals) {
        if !names.contains(&goal.to_string()) {
            names.push(goal.to_string());
        }
    }
    let least = || runs.iter().flat_map(|run| &run.least);
    let part = |name: String| {
        let all: Vec<Option<f64>> = defined
            .iter()
            .flat_map(|reading| &reading.goals)
            .filter(|(goal, _)| goal.to_string() == name)
            .map(|(_, value)| *value)
            .collect();
        let within: Vec<f64> = all.iter().copied().flatten().collect();
        let found = least().filter(|row| row.goal.to_string() == name);
        let found: Vec<f64> = found.filter_map(|row| row.attacked).collect();
        let dataset = runs.iter().flat_map(|run| &run.dataset);
        let mut pooled = dataset.filter(|row| {
            row.goal
                .as_ref()
                .is_some_and(|goal| goal.to_string() == name)
        });
        GoalPart {
            mean: mean_lower(&within).map_or(NONE.into(), budget),
            least: within
                .iter()
                .copied()
                .reduce(f64::min)
                .map_or(NONE.into(), budget),
            images: within.len(),
            unreachable: all.len() - within.len(),
            pooled: match pooled.next() {
                Some(row) if row.unreachable => NEVER.into(),
                row => row.and_then(|row| row.value).map_or(NONE.into(), budget),
            },
            // those that an attack reached, which need not be those behind the certified mean
            attacked: match found.len() {
                0 => NONE.into(),
                count => format!("{} ({count})", nearest(mean(&found), DIGITS)),
            },
            goal: name,
        }
    };
    names.into_iter().map(part).collect()
}

/// The classes that rows and pictures tell of.
pub fn classes(runs: &[Run], readings: &Readings, pictures: &[Picture]) -> Vec<ClassPart> {
    let evaluation = runs.iter().find_map(|run| run.evaluation.first());
    let names = runs.iter().find_map(|run| {
        let names = run.head.settings.get("names")?.as_array()?;
        Some(
            names
                .iter()
                .map(|name| name.as_str().unwrap_or_default().to_owned())
                .collect(),
        )
    });
    let names: Vec<String> = names.unwrap_or_default();
    let about = readings.metrics.iter().filter_map(|metric| metric.class());
    let seen = Seen::of(readings, pictures);
    let counts = [
        runs.iter()
            .filter_map(|run| run.setting("classes")?.parse().ok())
            .max()
            .unwrap_or(0),
        evaluation.map_or(0, |all| all.pooled.iou.len()),
        about.max().map_or(0, |class| usize::from(class) + 1),
        names.len(),
        seen.count,
    ];
    let count = counts.into_iter().max().unwrap_or(0).min(255) as u8;
    let figure = |field: fn(&Figures) -> &Vec<Option<f64>>, class: u8| {
        let values = evaluation.map(|all| field(&all.pooled));
        values.and_then(|values| *values.get(usize::from(class))?)
    };
    // figures that certificates begin with, where no evaluation was made
    let pooled = |metric: Metric| {
        let mut rows = runs.iter().flat_map(|run| &run.dataset);
        rows.find_map(|row| row.clean.filter(|_| row.metric == metric))
    };
    let clean_mean = |metric: Metric| {
        let defined = readings.defined(metric);
        mean(
            &defined
                .iter()
                .filter_map(|reading| reading.clean)
                .collect::<Vec<_>>(),
        )
    };
    let shown = |value: Option<f64>, metric: Metric| nearest(value.or(pooled(metric)), DIGITS);
    let part = |class: u8| {
        let about = readings.metrics.iter().enumerate();
        let about: Vec<usize> = about
            .filter(|(_, metric)| metric.class() == Some(class))
            .map(|(index, _)| index)
            .collect();
        // a class has a recall where it is labelled
        let labelled =
            evaluation.map(|all| all.pooled.recall.get(usize::from(class)).copied().flatten());
        let measured = about.iter().map(|&index| readings.metrics[index]);
        let measured: Vec<bool> = measured
            .filter(|metric| metric.needs_labels())
            .map(|metric| !readings.defined(metric).is_empty())
            .collect();
        let state = match (labelled, &measured[..]) {
            (Some(recall), _) if recall.is_some() => "present",
            (Some(_), _) => "absent",
            (None, _) if seen.labelled.contains(&class) => "present",
            (None, _) if seen.all => "absent",
            (None, []) => "unknown",
            (None, measured) if measured.contains(&true) => "present",
            (None, _) => "absent",
        };
        let of_images = evaluation.and_then(|all| *all.mean.iou.get(usize::from(class))?);
        ClassPart {
            name: match names.get(usize::from(class)) {
                Some(name) => format!("{class} {name}"),
                None => class.to_string(),
            },
            class,
            state,
            iou: [
                shown(figure(|f| &f.iou, class), Metric::Iou(class)),
                nearest(of_images.or(clean_mean(Metric::Iou(class))), DIGITS),
            ],
            recall: shown(figure(|f| &f.recall, class), Metric::Recall(class)),
            precision: shown(figure(|f| &f.precision, class), Metric::Precision(class)),
            metrics: about,
        }
    };
    let all: Vec<_> = (0..count).map(part).collect();
    let tell = all.iter().any(|class| class.state != "unknown");
    if tell { all } else { Vec::new() }
}

/// Classes on pictures.
struct Seen {
    /// One more than the largest, predicted or labelled.
    count: usize,
    /// Those of labels.
    labelled: BTreeSet<u8>,
    /// Whether there is a label of every image of the rows, so that a class that is not here is absent.
    all: bool,
}

impl Seen {
    fn of(readings: &Readings, pictures: &[Picture]) -> Self {
        let labels: Vec<_> = pictures.iter().filter(|p| p.label.is_some()).collect();
        let known: BTreeSet<&str> = labels.iter().map(|picture| picture.id.as_str()).collect();
        let labelled = labels.iter().filter_map(|picture| picture.label.as_ref());
        let labelled: BTreeSet<u8> = labelled.flatten().copied().collect();
        let predicted = pictures.iter().flat_map(|picture| &picture.prediction);
        let all = predicted.chain(&labelled).filter(|&&class| class != VOID);
        Seen {
            count: all.max().map_or(0, |&class| usize::from(class) + 1),
            labelled,
            all: !readings.images.is_empty()
                && readings.images.iter().all(|id| known.contains(id.as_str())),
        }
    }
}

/// Metrics of objects.
pub fn objects(readings: &Readings) -> Vec<ObjectsPart> {
    let metrics = readings.metrics.iter().copied();
    let metrics = metrics.filter(|m| matches!(m, Metric::Objects(_) | Metric::StableObjects(_)));
    let part = |metric: Metric| {
        let images = || {
            let images = readings.images.iter();
            let all = images.filter_map(|id| Some((id, readings.get(metric, id)?)));
            all.filter(|(_, reading)| !reading.undefined)
        };
        let mut goals: Vec<String> = Vec::new();
        for (goal, _) in images().flat_map(|(_, reading)| &reading.goals) {
            if !goals.contains(&goal.to_string()) {
                goals.push(goal.to_string());
            }
        }
        let image = |(id, reading): (&String, &super::reading::Reading)| ObjectImage {
            id: id.clone(),
            counted: reading.counted,
            falls: reading.falls().into_iter().map(budget).collect(),
            budgets: goals
                .iter()
                .map(|name| {
                    let mut goals = reading.goals.iter();
                    let found = goals.find(|(goal, _)| goal.to_string() == *name);
                    text_until(found.map(|(_, value)| value.map_or(Until::Never, Until::Budget)))
                })
                .collect(),
        };
        ObjectsPart {
            name: metric.to_string(),
            images: images().map(image).collect(),
            goals: goals.clone(),
        }
    };
    metrics.map(part).collect()
}

/// A metric in words.
fn words(metric: Metric) -> String {
    let of = |what: &str| format!("{what} of class {}", metric.class().unwrap_or_default());
    match metric {
        Metric::Accuracy => "pixel accuracy".into(),
        Metric::Stability => "stability: pixels that keep their class".into(),
        Metric::Recall(_) => of("recall"),
        Metric::Fnr(_) => of("false negative rate"),
        Metric::Fpr(_) => of("false positive rate"),
        Metric::Specificity(_) => of("specificity"),
        Metric::Precision(_) => of("precision"),
        Metric::Dice(_) => of("Dice"),
        Metric::Iou(_) => of("IoU"),
        Metric::MeanClassAccuracy => "mean recall over classes".into(),
        Metric::Miou => "mean IoU over classes".into(),
        Metric::Objects(_) => of("objects that are not lost,"),
        Metric::StableObjects(_) => of("predicted objects that stay,"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_lie_on_the_worse_side() {
        let values = [0.4, 0.1, 0.3, 0.2];
        let band = |metric| [1, 9].map(|tenths| rank(metric, &values, tenths));
        assert_eq!(band(Metric::Accuracy), [0.1, 0.3]);
        assert_eq!(band(Metric::Fnr(1)), [0.2, 0.4]);
        assert_eq!(rank(Metric::Fnr(1), &[0.5], 9), 0.5);
    }
}
