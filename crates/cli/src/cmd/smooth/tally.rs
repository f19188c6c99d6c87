//! The rows of `smooth`, added up.

use anyhow::{Context, Result, bail};
use certiseg_cert::smoothing::{Family, SmoothCurve, SmoothDataset, SmoothRow};
use certiseg_cert::{Head, round_down, round_up};
use serde::Deserialize;

use super::hybrid::HybridRow;
use crate::output::{quoted, table};
use crate::rows_file::Line;
use crate::tally::Tally;

/// What the head row says.
#[derive(Deserialize)]
struct Asked {
    classes: Option<usize>,
    screen: usize,
    curves: Vec<u64>,
    radius_map: bool,
}

/// Rows of `smooth`.
pub struct Smoothed {
    asked: Asked,
    rows: Vec<SmoothRow>,
    hybrids: Vec<HybridRow>,
}

impl Smoothed {
    /// No rows yet, under this head.
    pub fn new(head: &str) -> Result<Self> {
        let head: Head<Asked> = serde_json::from_str(head).context("the head row")?;
        Ok(Self {
            asked: head.settings,
            rows: Vec::new(),
            hybrids: Vec::new(),
        })
    }

    fn dataset(&self) -> Result<SmoothDataset> {
        Ok(SmoothDataset::of(&self.rows, self.asked.classes)?)
    }

    /// What is shown of an image, or of all: what it is called, and the cells.
    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![
            Column::new(
                "certified",
                |row| down(row.certified),
                |all| down(all.certified),
            ),
            Column::new(
                "abstained",
                |row| up(row.abstained),
                |all| up(all.abstained),
            ),
            Column::new("radius", |row| round_down(row.radius, 4), |_| String::new()),
            Column::new("from votes", from_votes, |_| String::new()),
        ];
        if self
            .rows
            .iter()
            .any(|row| row.allowed.is_some_and(|wrong| wrong > 0))
        {
            columns.push(Column::new(
                "right at least",
                |row| row.net.to_string(),
                |all| all.net.to_string(),
            ));
        }
        if self.rows.iter().any(|row| row.levels.is_some()) {
            let gain = |row: &SmoothRow| down(row.levels.as_ref().and_then(|levels| levels.gain));
            columns.push(Column::new("at any level", at_any_level, |_| String::new()));
            columns.push(Column::new("gain", gain, |all| down(all.gain)));
        }
        if self.rows.iter().any(|row| row.figures.is_some()) {
            let miou =
                |row: &SmoothRow| near(row.figures.as_ref().and_then(|f| f.figures.miou_dataset));
            // certified, and right but for those that may be wrong
            columns.push(Column::new(
                "certified and right",
                |row| down(row.right_at_least()),
                |all| down(all.right_at_least),
            ));
            let all = |all: &SmoothDataset| near(all.figures.as_ref().and_then(|f| f.miou_dataset));
            columns.push(Column::new("mIoU", miou, all));
        }
        columns
    }

    /// What is proved, and what is not.
    fn words(&self, all: &SmoothDataset) -> Vec<String> {
        // the image whose draws are farthest off the law: its statement is that of all others, or less
        let rows = self.rows.iter();
        let farthest =
            rows.reduce(
                |most, row| match row.sampling.distance > most.sampling.distance {
                    true => row,
                    false => most,
                },
            );
        let Some(row) = farthest else {
            return Vec::new();
        };
        let mut words = vec![row.statement()];
        let family = match row.sampling.family {
            Family::All => "all components".into(),
            Family::NotIgnored => {
                "components whose label counts, which serves metrics: in use all are tested".into()
            }
            Family::Screened => format!(
                "components whose class at least {} of {} samples chose",
                self.asked.screen, row.sampling.choose
            ),
        };
        words.push(format!("tested: {family}; radii in {}", row.sampling.unit));
        words.push(match all.wrong_images {
            Some(_) => {
                let images = format!("alpha is per image: of {0} at most {0}·{1} are expected to have a wrong statement", all.images, row.alpha);
                match all.band.filter(|band| *band < 1.0) {
                    Some(band) => format!("{images}; the mean is within {} of that of images of their kind, with probability 0.95", round_up(band, 4)),
                    None => images,
                }
            }
            None => "alpha is per component: of N tested components alpha·N may be wrong, in every image".into(),
        });
        let mut not = vec!["nothing is said of components that abstain"];
        if row.sampling.seed.is_none() {
            not.push(
                "that samples are independent draws of this noise is the word of who drew them",
            );
        }
        if self.asked.radius_map {
            not.push(
                "the radius map is a statement of its own, for all tau together, at the same alpha",
            );
        }
        if !self.asked.curves.is_empty() {
            not.push("each curve is one too, for all radii together");
        }
        words.push(not.join("; "));
        if let Some(split) = all.boundary {
            let [boundary, interior] = [split.boundary, split.interior].map(|side| {
                format!(
                    "{} right, {} abstained of {} pixels",
                    near(side.accuracy()),
                    near(side.abstain_rate()),
                    side.counted
                )
            });
            words.push(format!(
                "within {} pixels of a change of label: {boundary}; elsewhere: {interior}",
                split.distance
            ));
        }
        words
    }
}

/// A column: its name, the cell of an image, that of all.
struct Column {
    name: &'static str,
    image: fn(&SmoothRow) -> String,
    all: fn(&SmoothDataset) -> String,
}

impl Column {
    fn new(
        name: &'static str,
        image: fn(&SmoothRow) -> String,
        all: fn(&SmoothDataset) -> String,
    ) -> Self {
        Column { name, image, all }
    }
}

fn down(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| round_down(value, 4))
}

fn up(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| round_up(value, 4))
}

fn near(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.4}"))
}

fn from_votes(row: &SmoothRow) -> String {
    let least = row.threshold.map_or("-".into(), |least| least.to_string());
    format!("{least}/{}", row.sampling.samples)
}

fn at_any_level(row: &SmoothRow) -> String {
    let certified = row.levels.as_ref().map(|levels| &levels.certified);
    let numbers = certified.map(|levels| levels.iter().map(u64::to_string).collect::<Vec<_>>());
    numbers.map_or("-".into(), |numbers| numbers.join(" "))
}

impl Tally for Smoothed {
    fn add(&mut self, line: &Line) -> Result<()> {
        match line.kind.as_str() {
            "smooth" => self.rows.push(serde_json::from_str(&line.text)?),
            "smooth-hybrid" => self.hybrids.push(serde_json::from_str(&line.text)?),
            // curves are drawn, not added up
            "smooth-curve" => {
                serde_json::from_str::<SmoothCurve>(&line.text)?;
            }
            // made of the rows
            "smooth-dataset" => {}
            other => bail!("smooth has no rows of kind {other}"),
        }
        Ok(())
    }

    fn closing(&self) -> Result<Vec<String>> {
        Ok(vec![serde_json::to_string(&self.dataset()?)?])
    }

    fn tables(&self) -> Result<Vec<String>> {
        let all = self.dataset()?;
        let columns = self.columns();
        let names = columns.iter().map(|column| column.name.to_owned());
        let header: Vec<_> = std::iter::once("image".to_owned()).chain(names).collect();
        let line = |row: &SmoothRow| {
            let cells = columns.iter().map(|column| (column.image)(row));
            std::iter::once(row.image.clone()).chain(cells).collect()
        };
        let mut lines: Vec<Vec<_>> = self.rows.iter().map(line).collect();
        let cells = columns.iter().map(|column| (column.all)(&all));
        lines.push(std::iter::once("all".to_owned()).chain(cells).collect());
        let mut tables = vec![table(&header, &lines)];
        tables.extend(self.words(&all));
        tables.extend(super::hybrid::tables(&self.hybrids));
        Ok(tables)
    }

    fn csv_header(&self) -> String {
        "image,tests,certified,abstained,radius,threshold,samples,net,acc_certified,acc_selective,abstain_rate,miou_dataset".into()
    }

    fn csv(&self, line: &Line) -> Result<Option<String>> {
        if line.kind != "smooth" {
            return Ok(None);
        }
        let row: SmoothRow = serde_json::from_str(&line.text)?;
        let figures = row.figures.map(|figures| figures.figures);
        let figure = |of: fn(&certiseg_cert::smoothing::AbstentionFigures) -> Option<f64>| {
            number(figures.as_ref().and_then(of))
        };
        let values = [
            quoted(&row.image),
            row.tests.to_string(),
            number(row.certified),
            number(row.abstained),
            row.radius.to_string(),
            row.threshold
                .map_or(String::new(), |least| least.to_string()),
            row.sampling.samples.to_string(),
            row.net.to_string(),
            figure(|figures| figures.acc_certified),
            figure(|figures| figures.acc_selective),
            figure(|figures| figures.abstain_rate),
            figure(|figures| figures.miou_dataset),
        ];
        Ok(Some(values.join(",")))
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}
