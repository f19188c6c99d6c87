//! The rows of `eval`, added up.

use anyhow::{Context, Result};
use certiseg_cert::{Conventions, Head};
use certiseg_net::confusion::{Confusion, Figures, Scope};
use serde::{Deserialize, Serialize};

use crate::output::{quoted, table};
use crate::rows_file::Line;
use crate::tally::Tally;

/// One image.
#[derive(Serialize, Deserialize)]
pub struct Row {
    kind: String,
    image: String,
    #[serde(flatten)]
    figures: Figures,
    /// Pixels by label (rows) and prediction.
    confusion: Confusion,
}

impl Row {
    /// Of an image.
    pub fn new(image: &str, figures: Figures, confusion: Confusion) -> Self {
        Row {
            kind: "eval".into(),
            image: image.into(),
            figures,
            confusion,
        }
    }
}

/// All images.
#[derive(Serialize)]
struct Evaluation {
    kind: &'static str,
    images: usize,
    /// Images without a pixel that counts.
    undefined: usize,
    /// Of the counts of all images together.
    pooled: Figures,
    /// Means over the images on which a figure is defined.
    mean: Figures,
    confusion: Confusion,
}

/// What the head row says.
#[derive(Deserialize)]
struct Asked {
    classes: usize,
    names: Vec<String>,
    confusion: bool,
}

/// Rows of `eval`.
pub struct Evaluated {
    asked: Asked,
    conventions: Conventions,
    images: Vec<Figures>,
    confusion: Confusion,
}

impl Evaluated {
    /// No rows yet, under this head.
    pub fn new(head: &str) -> Result<Self> {
        let head: Head<Asked> = serde_json::from_str(head).context("the head row")?;
        Ok(Self {
            conventions: head.conventions.unwrap_or_default(),
            images: Vec::new(),
            confusion: Confusion::new(head.settings.classes),
            asked: head.settings,
        })
    }

    fn evaluation(&self) -> Evaluation {
        let undefined = |figures: &&Figures| figures.pixels == 0;
        Evaluation {
            kind: "evaluation",
            images: self.images.len(),
            undefined: self.images.iter().filter(undefined).count(),
            pooled: self.confusion.figures(Scope::DataSet, &self.conventions),
            mean: Figures::mean(&self.images, self.asked.classes),
            confusion: self.confusion.clone(),
        }
    }

    fn name(&self, class: usize) -> String {
        match self.asked.names.get(class) {
            Some(name) => format!("{class} {name}"),
            None => class.to_string(),
        }
    }

    /// Pixels by label and prediction.
    fn matrix(&self) -> String {
        let classes = || 0..self.asked.classes;
        let mut header = vec!["label \\ predicted".to_owned()];
        header.extend(classes().map(|class| class.to_string()));
        let line = |class: usize| {
            let mut line = vec![self.name(class)];
            line.extend(self.confusion.row(class).iter().map(u64::to_string));
            line
        };
        table(&header, &classes().map(line).collect::<Vec<_>>())
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.4}"))
}

impl Tally for Evaluated {
    fn add(&mut self, line: &Line) -> Result<()> {
        match line.kind.as_str() {
            "eval" => {
                let row: Row = serde_json::from_str(&line.text)?;
                self.confusion.merge(&row.confusion)?;
                // from the counts: numbers of a row that was read may be a hair off
                let figures = row.confusion.figures(Scope::Image, &self.conventions);
                self.images.push(figures);
            }
            // made of the rows
            "evaluation" => {}
            other => anyhow::bail!("eval has no rows of kind {other}"),
        }
        Ok(())
    }

    fn closing(&self) -> Result<Vec<String>> {
        Ok(vec![serde_json::to_string(&self.evaluation())?])
    }

    fn tables(&self) -> Result<Vec<String>> {
        let Evaluation {
            images,
            undefined,
            pooled,
            mean,
            ..
        } = self.evaluation();
        let header = ["", "pooled", "mean over images"].map(str::to_owned);
        let line = |name: &str, of: &dyn Fn(&Figures) -> Option<f64>| {
            vec![name.to_owned(), shown(of(&pooled)), shown(of(&mean))]
        };
        let lines = [
            line("pixel accuracy", &|figures| figures.accuracy),
            line("mean class accuracy", &|figures| {
                figures.mean_class_accuracy
            }),
            line("mIoU", &|figures| figures.miou),
        ];
        let mut tables = vec![table(&header, &lines)];
        let header = [
            "class",
            "pixels",
            "IoU",
            "Dice",
            "precision",
            "recall",
            "mean IoU",
            "mean Dice",
            "mean precision",
            "mean recall",
        ]
        .map(str::to_owned);
        let line = |class: usize| {
            let mut line = vec![self.name(class), self.confusion.labelled(class).to_string()];
            for Figures {
                iou,
                dice,
                precision,
                recall,
                ..
            } in [&pooled, &mean]
            {
                line.extend([iou, dice, precision, recall].map(|each| shown(each[class])));
            }
            line
        };
        let lines: Vec<_> = (0..self.asked.classes).map(line).collect();
        tables.push(table(&header, &lines));
        if self.asked.confusion {
            tables.push(self.matrix());
        }
        tables.push(format!(
            "{images} images, {undefined} without a pixel that counts; {} pixels; pooled: the counts of all images as one; mean: over the images that have the figure; -: absent, and in no mean",
            pooled.pixels
        ));
        Ok(tables)
    }

    fn csv_header(&self) -> String {
        let mut names = vec!["image,pixels,accuracy,mean_class_accuracy,miou".to_owned()];
        for figure in ["iou", "dice", "precision", "recall"] {
            names.extend((0..self.asked.classes).map(|class| format!("{figure}_{class}")));
        }
        names.join(",")
    }

    fn csv(&self, line: &Line) -> Result<Option<String>> {
        if line.kind != "eval" {
            return Ok(None);
        }
        let row: Row = serde_json::from_str(&line.text)?;
        let figures = row.confusion.figures(Scope::Image, &self.conventions);
        let number = |value: &Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let Figures {
            accuracy,
            mean_class_accuracy,
            miou,
            iou,
            dice,
            precision,
            recall,
            ..
        } = &figures;
        let mut values = vec![quoted(&row.image), figures.pixels.to_string()];
        values.extend([accuracy, mean_class_accuracy, miou].map(number));
        values.extend(
            [iou, dice, precision, recall]
                .into_iter()
                .flatten()
                .map(number),
        );
        Ok(Some(values.join(",")))
    }
}
