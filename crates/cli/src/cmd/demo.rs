//! `certiseg demo`: a bundled network on generated pictures, certified and attacked, in a minute
//! and without a download.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use certiseg_cert::{
    Budget, CurveRow, Goal, Head, Image, Margins, Method, Metric, Norm, Row, round_up,
};
use certiseg_net::attack::{Criterion, Suite};
use certiseg_net::checkpoint::{parse_model, write_whole};
use certiseg_net::compare::{Arena, Assault};
use certiseg_net::data::{Sample, VOID, shapes};
use certiseg_net::network::Certifier;
use certiseg_view::page::{Audit, AuditLayer, Materials, page};
use clap::Args;
use image::RgbImage;
use serde::Serialize;

use super::{attack, report};
use crate::maps::Maps;
use crate::output::{Format, Rows, head, make_dir, print_line};
use crate::progress::Progress;
use crate::source::hash;
use crate::tally::Tally;
use crate::{picture, runs};

/// The bundled network, made by `make demo-model`.
const MODEL: &[u8] = include_bytes!("../../assets/demo.safetensors");
/// Rows of the attacks.
const ATTACKS: &str = "attack.jsonl";
/// The page of both.
const PAGE: &str = "report.html";
/// Generated pictures that no training saw: the seed of the training set is another.
const SEED: u64 = 1_000_003;
const IMAGES: usize = 12;
const EPS: [f64; 4] = [0.1, 0.25, 0.5, 1.0];
/// Points of the curves behind the slider of the page.
const POINTS: usize = 65;
/// The budget of the worst-case pictures.
const SHOWN: f64 = 0.5;
const METRICS: [Metric; 4] = [
    Metric::Accuracy,
    Metric::Stability,
    Metric::Fnr(1),
    Metric::Iou(1),
];

/// Flags of the verb.
#[derive(Args)]
pub struct Demo {
    /// Folder for the rows, the pictures and the page
    #[arg(long, default_value = "certiseg-demo")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Settings {
    model: &'static str,
    model_hash: String,
    data: String,
    images: usize,
    classes: usize,
    names: [&'static str; shapes::CLASSES],
    size: [usize; 2],
    seed: u64,
    eps: [f64; 4],
    attack: Suite,
}

impl Demo {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let model = parse_model(MODEL)?;
        let trained = model.origin.as_ref().map(|origin| &origin.settings);
        let size = trained.map_or([64, 64], |t| [t.height, t.width]);
        let [height, width] = size;
        let audit = model.network.audit(height, width)?;
        let kernels = audit
            .layers
            .iter()
            .filter(|layer| layer.method != Method::Rule);
        let largest = kernels.map(|layer| layer.norm).fold(0.0, f64::max);
        print_line(&format!(
            "model  demo (bundled, {} weights)   L = {} (checked: {} layers, largest kernel norm {})   images {IMAGES} x {height}x{width}, {} classes\n",
            model.network.weights(),
            round_up(audit.lipschitz, 6),
            audit.layers.len(),
            round_up(largest, 7),
            model.network.classes(),
        ))?;
        let settings = Settings {
            model: "demo",
            model_hash: hash(MODEL),
            data: format!("generated, seed {SEED}"),
            images: IMAGES,
            classes: model.network.classes(),
            names: shapes::NAMES,
            size,
            seed: SEED,
            eps: EPS,
            attack: Suite::named("quick", None)?,
        };
        let unit = format!("[0,1] pixel space, image 3x{height}x{width}");
        let arena = Arena::new(&model.network, size)?;
        let head = head(&settings)
            .lipschitz(arena.lipschitz, arena.lipschitz_source())
            .unit(Norm::L2, unit)
            .eta_source(Certifier::ETA_SOURCE)
            .seed(SEED);
        let certified = head.clone().verb("certify", None);
        let mut rows = Rows::open(Format::Table, Some(&self.out), &certified)?;
        let mut strikes = struck(&self.out, &head.verb("attack", None))?;
        let maps = self.out.join("maps");
        make_dir(&maps)?;
        let assault = Assault {
            norm: Norm::L2,
            eps: EPS.to_vec(),
            suite: settings.attack.clone(),
            seed: SEED,
            timed: false,
        };
        let aims = [Criterion::Metric(Metric::Accuracy)];
        let goals = ["accuracy<=0.5", "stability<=0.5", "fnr:1>=0.7"];
        let goals: Vec<Goal> = goals
            .iter()
            .map(|g| Ok(g.parse()?))
            .collect::<Result<_>>()?;
        let mut tally = attack::Attacked::of(&METRICS, &EPS);
        let mut sheet = Vec::new();
        let mut spent = Duration::ZERO;
        let progress = Progress::new("demo", IMAGES);
        for (index, sample) in shapes(SEED, IMAGES, height).iter().enumerate() {
            let start = Instant::now();
            let seen = arena.compare(sample, &METRICS, &aims, &assault)?;
            spent += start.elapsed();
            let labels = sample.mask.as_deref();
            let image = Image::new(seen.logits.grid, &seen.logits.values, labels, Some(VOID))?;
            let margins = arena.margins(&image, &seen.premises)?;
            write_rows(&mut rows, &sample.id, &margins, &goals)?;
            write_maps(&maps, sample, &margins)?;
            sheet.push(tiles(&self.out, sample, &margins, size)?);
            for row in attack::Row::of(&sample.id, Norm::L2, &METRICS, &seen, None)? {
                strikes.push(&row)?;
                tally.row(&row);
            }
            progress.set(index + 1, "");
        }
        progress.finish();
        let overview = self.out.join("overview.png");
        picture::save(&overview, &picture::sheet(&sheet, 2))?;
        rows.finish()?;
        strikes.finish()?;
        let layers = audit.layers.iter().map(|layer| AuditLayer {
            name: layer.name.clone(),
            norm: layer.norm,
            method: layer.method.to_string(),
            seconds: None,
        });
        let audit = Audit {
            lipschitz: audit.lipschitz,
            height,
            width,
            weights: model.network.weights(),
            layers: layers.collect(),
        };
        self.write_page(audit)?;
        print_line(&tally.table())?;
        print_line(&format!(
            "time per image {:.0} ms",
            spent.as_secs_f64() * 1e3 / IMAGES as f64
        ))?;
        let verdict = tally.verdict();
        print_line(&closing(&self.out))?;
        Ok(verdict)
    }

    /// The page, of the files as they were written.
    fn write_page(&self, audit: Audit) -> Result<()> {
        let rows = ["rows.jsonl", ATTACKS].map(|name| runs::read(&self.out.join(name)));
        let mut materials = Materials {
            runs: rows.into_iter().collect::<Result<_>>()?,
            audit: Some(audit),
            ..Materials::default()
        };
        materials.pictures = report::shown(&self.out.join("maps"), &materials)?;
        let page = page(&materials)?;
        Ok(write_whole(&self.out.join(PAGE), page.html.as_bytes())?)
    }
}

/// The rows of attacks, apart from those of certificates as the two verbs would write them.
fn struck<S: Serialize>(out: &Path, head: &Head<S>) -> Result<Rows> {
    let mut rows = Rows::create(Format::Table, Some(&out.join(ATTACKS)))?;
    rows.push(head)?;
    Ok(rows)
}

/// The maps of a picture, over those of an earlier demo.
fn write_maps(dir: &Path, sample: &Sample, margins: &Margins) -> Result<()> {
    let mut maps = Maps::new(margins);
    for metric in METRICS {
        if let Some(certificate) = metric.certify(margins)? {
            maps.add(&certificate)?;
        }
    }
    let file = Maps::file(dir, &sample.id);
    maps.write(&file, Some(&sample.image), sample.mask.as_deref())
}

fn write_rows(rows: &mut Rows, id: &str, margins: &Margins, goals: &[Goal]) -> Result<()> {
    for metric in METRICS {
        let certificate = metric.certify(margins)?;
        let certificate = certificate.as_ref();
        let row = Row::new(id, metric, margins.premises());
        for eps in EPS {
            rows.push(&row.clone().worst(certificate, Budget::new(eps)?))?;
        }
        for goal in goals.iter().filter(|goal| goal.metric == metric) {
            rows.push(&row.clone().budget(certificate, goal)?)?;
        }
        if let Some(certificate) = certificate {
            rows.push(&CurveRow::of(id, certificate, POINTS, margins.premises()))?;
        }
    }
    Ok(())
}

/// Image, label, prediction, worst case, flip budgets: each a file, together a row of the sheet.
fn tiles(
    out: &Path,
    sample: &Sample,
    margins: &Margins,
    size: [usize; 2],
) -> Result<Vec<RgbImage>> {
    let labels = sample.mask.as_deref().unwrap_or_default();
    let prediction = margins.predictions();
    let wrong: Vec<bool> = labels
        .iter()
        .zip(prediction)
        .map(|(&label, &predicted)| label != VOID && label != predicted)
        .collect();
    let mut tiles = vec![
        ("image", picture::photo(&sample.image_f32(), size)),
        ("label", picture::classes(labels, size)),
        ("prediction", picture::classes(prediction, size)),
    ];
    if let Some(certificate) = Metric::Accuracy.certify(margins)? {
        let taken = certificate.taken(Budget::new(SHOWN)?)?.unwrap_or_default();
        tiles.push((
            "worst_case",
            picture::worst_case(prediction, &wrong, &taken, size),
        ));
        if let Some(budgets) = certificate.flip_budgets()? {
            tiles.push(("flip_budget", picture::budgets(&budgets, size)));
        }
    }
    for (name, tile) in &tiles {
        picture::save(&out.join(format!("{}_{name}.png", sample.id)), tile)?;
    }
    Ok(tiles.into_iter().map(|(_, tile)| tile).collect())
}

/// What was written, what to look at, what to do then: a sentence each.
fn closing(out: &Path) -> String {
    let out = out.display();
    format!(
        "\nfiles   {out}/ has rows.jsonl (certificates, curves), {ATTACKS} (what attacks found), maps/ID.npz (per pixel: class,\n        \
         radius, the eps from which the worst attack takes it) and overview.png (image, label, prediction, worst case at\n        \
         eps {SHOWN}: red = may flip, an optimum of the bound and no attack that was found, dark red = wrong already; flip\n        \
         budgets: dark = falls first), whose parts are ID_*.png.\n\n\
         report  Open {out}/{PAGE} in a browser and move its slider: it shows which pixels an attack could take at\n        \
         each budget.\n\n\
         next    certiseg train --data DIR --out runs/mine --set network.classes=3 trains a network on pictures and masks of\n        \
         your own, and certiseg certify --help says how it is certified."
    )
}
