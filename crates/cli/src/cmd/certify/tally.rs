//! The rows of `certify`, added up.

use anyhow::{Context, Result};
use certiseg_cert::{
    Budget, DatasetRow, Goal, Head, Metric, Norm, Pool, Premises, Row, Summary, round_up,
};
use serde::Deserialize;
use serde_json::Value;

use crate::output::table;
use crate::rows_file::Line;
use crate::tally::{Tally, budgets};

/// What the head row says of the questions.
#[derive(Deserialize)]
struct Asked {
    model: Option<Value>,
    metrics: Vec<Metric>,
    until: Vec<Goal>,
    classes: usize,
    dimension: Option<usize>,
    dataset: bool,
}

/// Rows of `certify`.
pub struct Certified {
    head: Head<Asked>,
    summary: Summary,
    images: usize,
    last: Option<String>,
    /// Pools of the rows that have come.
    pools: Vec<Pool>,
    pooled: bool,
    dataset: Vec<DatasetRow>,
}

impl Certified {
    /// No rows yet, under this head.
    pub fn new(head: &str) -> Result<Self> {
        let eps = budgets(head)?;
        let head: Head<Asked> = serde_json::from_str(head).context("the head row")?;
        let Asked {
            metrics,
            until,
            classes,
            dataset,
            ..
        } = &head.settings;
        let each = eps.iter().map(|&eps| Budget::new(eps));
        let each = each.collect::<certiseg_cert::Result<Vec<_>>>()?;
        let pooled = metrics.iter().filter(|_| *dataset);
        let pools = pooled.map(|&metric| Pool::new(metric, *classes, &each, false));
        Ok(Self {
            summary: Summary::new(metrics, &eps, until),
            pools: pools.collect::<certiseg_cert::Result<_>>()?,
            head,
            images: 0,
            last: None,
            pooled: false,
            dataset: Vec::new(),
        })
    }

    fn footer(&self) -> String {
        let Self { head, images, .. } = self;
        let norm = head.norm.unwrap_or(Norm::L2);
        let converted = head.settings.model.is_some() && norm != Norm::L2;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!(
            "{images} images; l{norm} in {}; L = {}{} ({}); values are certified, rounded against us: worst within eps, or budget of the goal",
            text(&head.unit),
            head.lipschitz.map_or("-".into(), |l| round_up(l, 6)),
            match converted || head.settings.dimension.is_some() {
                true => " converted from l2",
                false => "",
            },
            text(&head.lipschitz_source),
        )
    }
}

impl Tally for Certified {
    fn add(&mut self, line: &Line) -> Result<()> {
        if line.image.is_some() && line.image != self.last {
            self.images += 1;
            self.last.clone_from(&line.image);
        }
        match line.kind.as_str() {
            "row" => self.summary.add(&serde_json::from_str(&line.text)?),
            "dataset" => self.dataset.push(serde_json::from_str(&line.text)?),
            "pool" => {
                let row: certiseg_cert::PoolRow = serde_json::from_str(&line.text)?;
                let pool = self
                    .pools
                    .iter_mut()
                    .find(|pool| pool.metric() == row.metric);
                pool.context("a metric that the head row does not have")?
                    .take(row)?;
                self.pooled = true;
            }
            // curves and times are drawn, not added up
            "curve" | "time" => {}
            other => anyhow::bail!("certify has no rows of kind {other}"),
        }
        Ok(())
    }

    fn closing(&self) -> Result<Vec<String>> {
        if !self.pooled {
            return Ok(Vec::new());
        }
        // the rows take the norm of the budgets from here, and nothing else
        let premises = Premises::new(self.head.norm.unwrap_or(Norm::L2), 1.0, 0.0)?;
        let mut lines = Vec::new();
        for pool in &self.pools {
            for row in DatasetRow::of(pool, &[], &premises)? {
                lines.push(serde_json::to_string(&row)?);
            }
        }
        Ok(lines)
    }

    fn tables(&self) -> Result<Vec<String>> {
        let (header, lines) = self.summary.lines();
        let mut tables = vec![table(&header, &lines)];
        if !self.dataset.is_empty() {
            let (header, lines) = DatasetRow::lines(&self.dataset);
            tables.push(table(&header, &lines));
        }
        tables.push(self.footer());
        Ok(tables)
    }

    fn csv_header(&self) -> String {
        Row::CSV_HEADER.into()
    }

    fn csv(&self, line: &Line) -> Result<Option<String>> {
        match line.kind.as_str() {
            "row" => Ok(Some(serde_json::from_str::<Row>(&line.text)?.csv())),
            _ => Ok(None),
        }
    }
}
