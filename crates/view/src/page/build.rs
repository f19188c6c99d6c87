//! The document of a page, from rows and pictures.

use std::collections::BTreeMap;

use certiseg_cert::{Metric, round_down, round_up};

use super::Materials;
use super::budgets::positions;
use super::document::{AuditPart, Document, ImagePart, Position};
use super::latency::Latency;
use super::pack::{Packed, ROOM, pack};
use super::parts::{classes, metric_part, objects, text_until, texts};
use super::provenance::{Source, assumptions, hash};
use super::reading::Readings;
use super::smoothed::{Beside, Smoothing};
use super::verdict::Verdict;
use crate::alike::values;
use crate::number::nearest;
use crate::{Error, Picture, Result, Run, VOID};

/// Pictures on a page.
pub const PICTURES: usize = 50;

/// The document.
///
/// # Errors
/// Those of [`super::page`].
pub fn document(materials: &Materials) -> Result<Document> {
    let Materials { runs, pictures, .. } = materials;
    one_model(runs)?;
    values(&runs.iter().collect::<Vec<_>>())?;
    let readings = Readings::of(runs);
    let asked = asked(runs);
    if readings.metrics.is_empty()
        && runs.iter().all(|run| {
            run.smooth.is_empty() && run.compared.is_empty() && run.evaluation.is_empty()
        })
        && materials.audit.is_none()
        && materials.trainings.is_empty()
        && materials.benches.is_empty()
    {
        return Err(Error::Missing {
            what: "a page".into(),
            needed: "rows of certify, attack, smooth, compare or eval".into(),
        });
    }
    let stops = positions(&asked, last(&readings));
    let thresholds = thresholds(runs);
    let metric = |&metric: &Metric| metric_part(runs, &readings, metric, &stops, &thresholds);
    let metrics: Vec<_> = readings.metrics.iter().map(metric).collect();
    let (packed, left_out) = packed(materials, &readings, &stops)?;
    let images = images(materials, &readings, &stops, &thresholds, packed);
    let start = asked.get(asked.len() / 2);
    let start = start.and_then(|eps| stops.iter().position(|stop| stop == eps));
    let mut warnings = warnings(runs);
    let foreign = foreign(&readings, pictures);
    if !foreign.is_empty() {
        warnings.push(format!(
            "The maps are not of the rows: the clean accuracy is another on {}",
            foreign.join(", ")
        ));
    }
    if !pictures.is_empty() && images.iter().all(|image| image.picture.is_none()) && left_out == 0 {
        warnings
            .push("No picture has the name of an image of the rows: pictures are not shown".into());
    }
    warnings.extend(misfit(runs, &images));
    Ok(Document {
        title: title(runs),
        verdict: Verdict::of(runs, &readings),
        warnings,
        unit: unit(runs),
        positions: stops
            .iter()
            .map(|&eps| Position {
                text: eps.to_string(),
                number: eps,
                row: asked.contains(&eps),
            })
            .collect(),
        start: start.unwrap_or(0),
        thresholds,
        classes: classes(runs, &readings, pictures),
        objects: objects(&readings),
        metrics,
        images,
        left_out,
        smoothing: Smoothing::of(runs),
        methods: Beside::of(runs),
        latency: Latency::of(runs),
        audit: audit(materials),
        benches: benches(materials),
        sources: sources(materials),
        assumptions: assumptions(runs),
    })
}

fn one_model(runs: &[Run]) -> Result<()> {
    let mut known = runs
        .iter()
        .filter_map(|run| Some((run, hash(run, "model_hash")?)));
    let Some((first, ours)) = known.next() else {
        return Ok(());
    };
    match known.find(|(_, theirs)| *theirs != ours) {
        Some((second, theirs)) => Err(Error::TwoModels {
            first: first.name.clone(),
            ours,
            second: second.name.clone(),
            theirs,
        }),
        None => Ok(()),
    }
}

/// Says where maps cannot be of these rows.
fn misfit(runs: &[Run], images: &[ImagePart]) -> Option<String> {
    let size = runs.iter().find_map(|run| run.setting("size"))?;
    images.iter().find_map(|image| {
        let [height, width] = image.picture.as_ref()?.size;
        let its = format!("[{height},{width}]");
        (its != size).then(|| {
            format!(
                "The maps of {} are of the size {its}, the rows of {size}: they are of different runs",
                image.id
            )
        })
    })
}

fn warnings(runs: &[Run]) -> Vec<String> {
    let mut all = Vec::new();
    let mut known = runs
        .iter()
        .filter_map(|run| Some((run, hash(run, "data_hash")?)));
    if let Some((first, ours)) = known.next() {
        let others = known.filter(|(_, theirs)| *theirs != ours);
        all.extend(others.map(|(other, theirs)| {
            format!(
                "{} is about other data than {} ({theirs}, {ours}): their means are over other images",
                other.name, first.name
            )
        }));
    }
    let norms: Vec<_> = runs
        .iter()
        .filter_map(|run| Some((run, run.head.norm?)))
        .collect();
    if let Some((first, norm)) = norms.first() {
        let others = norms.iter().filter(|(_, other)| other != norm);
        all.extend(others.map(|(other, theirs)| {
            format!(
                "{} has budgets in l{theirs}, {} in l{norm}: do not compare them",
                other.name, first.name
            )
        }));
    }
    for run in runs.iter().filter(|run| run.head.shard.is_some()) {
        all.push(format!(
            "{} has a part of the images only; merge makes one run of all",
            run.name
        ));
    }
    all
}

/// Pictures whose maps have as many pixels that count as the rows, and another share of them right: of another network.
fn foreign<'a>(readings: &Readings, pictures: &'a [Picture]) -> Vec<&'a str> {
    let differs = |picture: &&Picture| {
        let reading = readings.get(Metric::Accuracy, &picture.id);
        let Some((reading, label)) = reading.zip(picture.label.as_ref()) else {
            return false;
        };
        let counted = label.iter().filter(|&&label| label != VOID).count();
        let wrong = picture.wrong().into_iter().filter(|wrong| *wrong).count();
        let right = 1.0 - wrong as f64 / counted.max(1) as f64;
        let clean = reading.clean.filter(|_| reading.counted == counted as u64);
        clean.is_some_and(|clean| (clean - right).abs() > 1e-9)
    };
    let all = pictures.iter().filter(differs);
    all.map(|picture| picture.id.as_str()).collect()
}

/// Budgets of rows, rising.
fn asked(runs: &[Run]) -> Vec<f64> {
    let certified = runs
        .iter()
        .flat_map(|run| &run.rows)
        .filter_map(|row| row.eps);
    let attacked = runs.iter().flat_map(|run| &run.attacks).map(|row| row.eps);
    let mut all: Vec<f64> = certified.chain(attacked).map(|eps| eps.get()).collect();
    all.retain(|eps| eps.is_finite());
    all.sort_unstable_by(f64::total_cmp);
    all.dedup();
    all
}

/// Where the curves of the first metric end.
fn last(readings: &Readings) -> f64 {
    let Some(&metric) = readings.metrics.first() else {
        return 0.0;
    };
    let defined = readings.defined(metric);
    let ends = defined.iter().filter_map(|reading| reading.end());
    ends.fold(0.0, f64::max)
}

/// Hundredths two by two, and the thresholds of goals in rows.
fn thresholds(runs: &[Run]) -> Vec<String> {
    let goals = runs
        .iter()
        .flat_map(|run| &run.rows)
        .filter_map(|row| row.goal.as_ref());
    let goals = goals.filter_map(|goal| {
        let text = goal.to_string();
        let (_, number) = text.split_once(['<', '>'])?;
        number.trim_start_matches('=').parse::<f64>().ok()
    });
    let mut all: Vec<f64> = (0..=50)
        .map(|step| f64::from(step) / 50.0)
        .chain(goals)
        .collect();
    all.sort_unstable_by(f64::total_cmp);
    all.dedup();
    all.iter().map(f64::to_string).collect()
}

fn title(runs: &[Run]) -> String {
    let model = runs.iter().find_map(|run| run.setting("model"));
    let file = |path: &str| {
        path.rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    match model {
        Some(model) => format!("{}: certified robustness", file(&model)),
        None => "Certified robustness".into(),
    }
}

fn unit(runs: &[Run]) -> String {
    let of = |run: &Run| {
        Some(format!(
            "l{} in {}",
            run.head.norm?,
            run.head.unit.as_ref()?
        ))
    };
    runs.iter().find_map(of).unwrap_or_default()
}

/// Pictures by image, as many as there is room for, and how many are left out.
fn packed(
    materials: &Materials,
    readings: &Readings,
    stops: &[f64],
) -> Result<(BTreeMap<String, Packed>, usize)> {
    let maps = readings.metrics.iter().map(|metric| {
        let name = metric.to_string();
        (format!("budget_{}", name.replace([':', '-'], "_")), name)
    });
    let maps: Vec<_> = maps.collect();
    let known = |id: &String| readings.images.is_empty() || readings.images.contains(id);
    let wanted: Vec<_> = materials
        .pictures
        .iter()
        .filter(|picture| known(&picture.id))
        .collect();
    let shown = &wanted[..wanted.len().min(PICTURES)];
    let mut count = maps.len();
    loop {
        let mut all = BTreeMap::new();
        let mut room = ROOM;
        for picture in shown {
            let packed = pack(picture, stops, &maps[..count])?;
            match room.checked_sub(packed.bytes()) {
                Some(left) => room = left,
                None if count > 1 => break,
                None => continue,
            }
            all.insert(picture.id.clone(), packed);
        }
        if all.len() == shown.len() || count <= 1 {
            let left_out = wanted.len() - all.len();
            return Ok((all, left_out));
        }
        count -= 1;
    }
}

fn images(
    materials: &Materials,
    readings: &Readings,
    stops: &[f64],
    thresholds: &[String],
    mut packed: BTreeMap<String, Packed>,
) -> Vec<ImagePart> {
    let attacked = attacked(&materials.runs);
    let mut names = readings.images.clone();
    if names.is_empty() {
        names = packed.keys().cloned().collect();
    }
    let image = |id: String| {
        let each = |part: &dyn Fn(Metric) -> Vec<String>| -> Vec<Vec<String>> {
            readings
                .metrics
                .iter()
                .map(|&metric| part(metric))
                .collect()
        };
        let of = |metric| {
            readings
                .get(metric, &id)
                .filter(|reading| !reading.undefined)
        };
        ImagePart {
            clean: readings
                .metrics
                .iter()
                .map(|&metric| nearest(of(metric).and_then(|reading| reading.clean), 4))
                .collect(),
            values: each(&|metric| match of(metric) {
                Some(reading) => texts(metric, stops.iter().map(|&eps| reading.at(eps))),
                None => Vec::new(),
            }),
            attacked: each(&|metric| {
                let known = |eps: &f64| attacked.get(&(metric, id.as_str(), eps.to_bits()));
                match stops.iter().any(|eps| known(eps).is_some()) {
                    true => stops
                        .iter()
                        .map(|eps| {
                            known(eps).map_or(String::new(), |&value| nearest(Some(value), 4))
                        })
                        .collect(),
                    false => Vec::new(),
                }
            }),
            until: each(&|metric| match of(metric) {
                Some(reading) => thresholds
                    .iter()
                    .map(|text| text_until(reading.until(metric, text)))
                    .collect(),
                None => Vec::new(),
            }),
            picture: packed.remove(&id),
            id,
        }
    };
    names.into_iter().map(image).collect()
}

/// The worst value found by image and budget, over runs.
fn attacked(runs: &[Run]) -> BTreeMap<(Metric, &str, u64), f64> {
    let mut all: BTreeMap<_, f64> = BTreeMap::new();
    for row in runs
        .iter()
        .flat_map(|run| &run.attacks)
        .filter(|row| !row.idle)
    {
        let Some(value) = row.attacked else {
            continue;
        };
        let key = (row.metric, row.image.as_str(), row.eps.get().to_bits());
        let worst = all.entry(key).or_insert(value);
        *worst = match row.metric.higher_is_better() {
            true => worst.min(value),
            false => worst.max(value),
        };
    }
    all
}

fn audit(materials: &Materials) -> Option<AuditPart> {
    let audit = materials.audit.as_ref()?;
    let layers = audit.layers.iter().map(|layer| {
        [
            layer.name.clone(),
            round_up(layer.norm, 9),
            layer.method.clone(),
            nearest(layer.seconds.map(|seconds| 1e3 * seconds), 2),
        ]
    });
    Some(AuditPart {
        lipschitz: round_up(audit.lipschitz, 9),
        size: [audit.height, audit.width],
        layers: layers.collect(),
    })
}

fn benches(materials: &Materials) -> Vec<[String; 4]> {
    let row = |bench: &super::Bench| {
        [
            format!(
                "{}, {} of {}x{}",
                bench.what, bench.batch, bench.height, bench.width
            ),
            bench.threads.to_string(),
            format!("{:.2}", bench.milliseconds),
            format!("{:.2}", bench.least_milliseconds),
        ]
    };
    materials.benches.iter().map(row).collect()
}

fn sources(materials: &Materials) -> Vec<Source> {
    let mut all: Vec<_> = materials.runs.iter().map(Source::of).collect();
    for training in &materials.trainings {
        let pretty = |value| serde_json::to_string_pretty(value).unwrap_or_default();
        let mut facts = vec![["epochs".to_owned(), training.epochs.len().to_string()]];
        if let Some(last) = training.epochs.last() {
            facts.push(["last epoch".into(), last.to_string()]);
        }
        all.push(Source {
            name: training.name.clone(),
            verb: "train".into(),
            facts,
            settings: Vec::new(),
            texts: vec![
                ["config.toml".into(), training.config.clone()],
                ["env.json".into(), pretty(&training.sessions)],
            ],
        });
    }
    all
}

/// Shown budgets err down.
pub fn budget(value: f64) -> String {
    round_down(value, 4)
}
