//! The rows of `cloud smooth`, added up: those of `smooth`, and one of each cloud about its parts.

use anyhow::{Context, Result};
use certiseg_cert::{Head, round_down};
use certiseg_net::cloud::metrics::{CloudFigures, Denominator, ShapeCounts};
use certiseg_net::cloud::{Catalogue, Cloud};
use serde::{Deserialize, Serialize};

use crate::cmd::smooth::Smoothed;
use crate::output::table;
use crate::rows_file::Line;
use crate::tally::Tally;

/// Marks a row.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Cloud,
}

/// Marks the row of all.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DatasetKind {
    CloudDataset,
}

/// One cloud.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudRow {
    kind: Kind,
    /// Its name.
    image: String,
    category: u8,
    points: usize,
    /// What is left of the radius for each point where it is spread evenly, rounded down; null of rotations.
    per_point: Option<f64>,
    /// Changes of any size under which certified points keep their part; null where there are none.
    invariant_to: Option<String>,
    /// The network itself, without noise.
    plain: Option<ShapeCounts>,
    /// What is certified, beside the labels: of the cloud as it is, none of those that may be wrong taken off.
    certified: Option<ShapeCounts>,
}

/// All clouds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloudDataset {
    kind: DatasetKind,
    /// The networks themselves.
    plain: Option<CloudFigures>,
    /// What is certified, of the clouds as they are.
    certified: Option<CloudFigures>,
}

impl CloudRow {
    /// `plain` and certified counts beside labels.
    pub fn new(
        cloud: &Cloud,
        per_point: Option<f64>,
        invariant_to: Option<&str>,
        [plain, certified]: [Option<ShapeCounts>; 2],
    ) -> Self {
        CloudRow {
            kind: Kind::Cloud,
            image: cloud.id.clone(),
            category: cloud.category,
            points: cloud.points.len(),
            per_point,
            invariant_to: invariant_to.map(str::to_owned),
            plain,
            certified,
        }
    }
}

/// What the head row says.
#[derive(Deserialize)]
struct Asked {
    catalogue: Catalogue,
}

/// Rows of `cloud smooth`.
pub struct Clouded {
    smoothed: Smoothed,
    catalogue: Catalogue,
    rows: Vec<CloudRow>,
}

impl Clouded {
    /// No rows yet, under this head.
    pub fn new(head: &str) -> Result<Self> {
        let smoothed = Smoothed::new(head)?;
        let head: Head<Asked> = serde_json::from_str(head).context("the head row")?;
        Ok(Clouded {
            smoothed,
            catalogue: head.settings.catalogue,
            rows: Vec::new(),
        })
    }

    fn figures(&self, of: fn(&CloudRow) -> Option<&ShapeCounts>) -> Option<CloudFigures> {
        let counts: Vec<ShapeCounts> = self.rows.iter().filter_map(of).cloned().collect();
        let categories = self.catalogue.parts.len();
        (!counts.is_empty()).then(|| CloudFigures::of(&counts, categories, Denominator::Union))
    }

    fn dataset(&self) -> CloudDataset {
        CloudDataset {
            kind: DatasetKind::CloudDataset,
            plain: self.figures(|row| row.plain.as_ref()),
            certified: self.figures(|row| row.certified.as_ref()),
        }
    }

    /// Part IoU by category, and the means of both kinds.
    fn parts(&self) -> Option<String> {
        let all = self.dataset();
        let (plain, certified) = (all.plain?, all.certified?);
        let near = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        let header = ["part IoU", "clouds", "network", "smoothed"].map(str::to_owned);
        let mut lines = Vec::new();
        for (category, name) in self.catalogue.names.iter().enumerate() {
            let own = |row: &&CloudRow| usize::from(row.category) == category;
            let count = self.rows.iter().filter(own).count();
            if count > 0 {
                let ious = [&plain, &certified].map(|figures| near(figures.by_category[category]));
                let [first, second] = ious;
                lines.push(vec![name.clone(), count.to_string(), first, second]);
            }
        }
        type Mean = fn(&CloudFigures) -> Option<f64>;
        let means: [(&str, Mean); 3] = [
            ("mean of categories", |all| all.category_miou),
            ("mean of clouds", |all| all.instance_miou),
            ("points that are right", |all| all.accuracy),
        ];
        for (name, of) in means {
            let [first, second] = [&plain, &certified].map(|figures| near(of(figures)));
            lines.push(vec![
                name.into(),
                self.rows.len().to_string(),
                first,
                second,
            ]);
        }
        Some(table(&header, &lines))
    }

    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if !self.rows.is_empty() {
            words.push("what is certified is the cloud on the grid of 2^-12: each coordinate is within 2^-13 of the one that was read".into());
        }
        let spread = self.rows.iter().filter_map(|row| row.per_point);
        if let Some(least) = spread.reduce(f64::min) {
            words.push(format!(
                "a radius is that of all points together: spread evenly, {} a point; normals are as they are",
                round_down(least, 5)
            ));
        }
        if let Some(all) = self.rows.iter().find_map(|row| row.invariant_to.as_ref()) {
            words.push(format!(
                "what is certified holds for {all} of points and normals together, whatever the radius says"
            ));
        }
        if self.rows.iter().any(|row| row.certified.is_some()) {
            words.push("smoothed, below: of the clouds as they are; what abstains has no part there, but may get any within the radius, so that its part IoU is no bound as `certified and right` is one".into());
        }
        words
    }
}

impl Tally for Clouded {
    fn add(&mut self, line: &Line) -> Result<()> {
        match line.kind.as_str() {
            "cloud" => self.rows.push(serde_json::from_str(&line.text)?),
            // made of the rows
            "cloud-dataset" => {}
            _ => self.smoothed.add(line)?,
        }
        Ok(())
    }

    fn closing(&self) -> Result<Vec<String>> {
        let mut rows = self.smoothed.closing()?;
        rows.push(serde_json::to_string(&self.dataset())?);
        Ok(rows)
    }

    fn tables(&self) -> Result<Vec<String>> {
        let mut tables = self.smoothed.tables()?;
        tables.extend(self.words());
        tables.extend(self.parts());
        Ok(tables)
    }

    fn csv_header(&self) -> String {
        self.smoothed.csv_header()
    }

    fn csv(&self, line: &Line) -> Result<Option<String>> {
        match line.kind.as_str() {
            "cloud" | "cloud-dataset" => Ok(None),
            _ => self.smoothed.csv(line),
        }
    }
}
