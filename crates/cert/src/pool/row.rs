//! What an image adds to a [`Pool`], as a row: data sets whose images are spread over processes.
//!
//! All of it is whole numbers, so that rows taken in any order give the pooled values of one run, to
//! the bit. Curves are not in it: the common budget of a goal needs every pixel of every image.

use serde::{Deserialize, Serialize};

use super::{Hulls, Parts, Pool, add};
use crate::Metric;
use crate::conventions::EmptyPrecision;
use crate::error::{Error, Result};
use crate::joint::Hull;
use crate::share::{EXACT, Share};

/// Marks a pool line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PoolKind {
    #[default]
    Pool,
}

/// What one image, or several, add to the pool of a metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolRow {
    kind: PoolKind,
    /// Name of the image.
    pub image: String,
    /// The metric.
    pub metric: Metric,
    images: usize,
    undefined: usize,
    sums: Sums,
}

/// The parts of a pool without its curves; a share is [numerator, denominator].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Sums {
    Counts {
        clean: [u64; 2],
        worst: Vec<[u64; 2]>,
    },
    Ratios {
        empty: EmptyPrecision,
        counted: u64,
        clean: [u64; 2],
        minimisers: Vec<[u64; 2]>,
        /// At each eps, of each image: pixels of the class, corners [lost, gained] of the frontier.
        hulls: Vec<Vec<(u64, Hull)>>,
    },
    Classes {
        union: bool,
        classes: Vec<Sums>,
    },
}

impl Pool {
    /// What the images added so far come to, for [`Pool::take`]; `image` names them.
    ///
    /// Errors: [`Error::Unsupported`] of a pool with goals.
    pub fn row(&self, image: &str) -> Result<PoolRow> {
        if self.keep {
            return Err(Error::Unsupported {
                what: "the row of a pool that keeps curves for goals",
                way_out: "make the pool without goals",
            });
        }
        Ok(PoolRow {
            kind: PoolKind::Pool,
            image: image.into(),
            metric: self.metric,
            images: self.images,
            undefined: self.undefined,
            sums: Sums::of(self),
        })
    }

    /// Adds the images of a row, made by a pool of the same metric, classes and eps, under the same
    /// norm and conventions, which the row does not know.
    ///
    /// Errors: [`Error::PoolRow`], [`Error::TooManyPixels`]; the pool is of no use after.
    pub fn take(&mut self, row: PoolRow) -> Result<()> {
        let refuse = |reason| Error::PoolRow {
            image: row.image.clone(),
            reason,
        };
        if row.metric != self.metric {
            return Err(refuse("is of another metric than the pool"));
        }
        if self.keep {
            return Err(refuse("has no curves, which the pool keeps for goals"));
        }
        row.sums.check(&row.image)?;
        if !row.sums.fits(self) {
            return Err(refuse("is of other classes or eps than the pool"));
        }
        self.images += row.images;
        self.undefined += row.undefined;
        row.sums.add_to(self)
    }
}

fn pair(share: &Share) -> [u64; 2] {
    [share.numerator, share.denominator]
}

fn add_all(sums: &mut [Share], pairs: &[[u64; 2]]) -> Result<()> {
    let mut both = sums.iter_mut().zip(pairs);
    both.try_for_each(|(sum, &[numerator, denominator])| {
        add(
            sum,
            Share {
                numerator,
                denominator,
            },
        )
    })
}

impl Sums {
    fn of(pool: &Pool) -> Self {
        match &pool.parts {
            Parts::Counts { clean, worst, .. } => Sums::Counts {
                clean: pair(clean),
                worst: worst.iter().map(pair).collect(),
            },
            Parts::Ratios(ratios) => Sums::Ratios {
                empty: ratios.empty,
                counted: ratios.counted,
                clean: pair(&ratios.clean),
                minimisers: ratios.minimisers.iter().map(pair).collect(),
                hulls: ratios.hulls.iter().map(|at| at.images.clone()).collect(),
            },
            Parts::Classes { pools, union } => Sums::Classes {
                union: *union,
                classes: pools.iter().map(Sums::of).collect(),
            },
        }
    }

    /// Whether this is of a pool of as many classes and eps.
    fn fits(&self, pool: &Pool) -> bool {
        let eps = pool.eps.len();
        match (self, &pool.parts) {
            (Sums::Counts { worst, .. }, Parts::Counts { .. }) => worst.len() == eps,
            (
                Sums::Ratios {
                    minimisers, hulls, ..
                },
                Parts::Ratios(_),
            ) => minimisers.len() == eps && hulls.len() == eps,
            (Sums::Classes { classes, .. }, Parts::Classes { pools, .. }) => {
                let mut both = classes.iter().zip(pools);
                classes.len() == pools.len() && both.all(|(class, pool)| class.fits(pool))
            }
            _ => false,
        }
    }

    /// That nothing in it exceeds what it is a part of.
    fn check(&self, image: &str) -> Result<()> {
        let is_share = |&[part, all]: &[u64; 2]| part <= all && all < EXACT;
        let good = match self {
            Sums::Counts { clean, worst } => is_share(clean) && worst.iter().all(is_share),
            Sums::Ratios {
                counted,
                clean,
                minimisers,
                hulls,
                ..
            } => {
                let within = |(size, hull): &(u64, Hull)| hull.lost() <= *size && *size <= *counted;
                *counted < EXACT
                    && is_share(clean)
                    && minimisers.iter().all(is_share)
                    && hulls.iter().flatten().all(within)
            }
            Sums::Classes { classes, .. } => {
                return classes.iter().try_for_each(|class| class.check(image));
            }
        };
        match good {
            true => Ok(()),
            false => Err(Error::PoolRow {
                image: image.into(),
                reason: "has a part larger than the whole",
            }),
        }
    }

    /// Of sums that fit and were checked.
    fn add_to(self, pool: &mut Pool) -> Result<()> {
        match (self, &mut pool.parts) {
            (
                Sums::Counts { clean, worst },
                Parts::Counts {
                    clean: all,
                    worst: sums,
                    ..
                },
            ) => {
                add_all(std::slice::from_mut(all), &[clean])?;
                add_all(sums, &worst)
            }
            (
                Sums::Ratios {
                    empty,
                    counted,
                    clean,
                    minimisers,
                    hulls,
                },
                Parts::Ratios(ratios),
            ) => {
                ratios.empty = empty;
                ratios.counted = ratios.counted.saturating_add(counted);
                add_all(std::slice::from_mut(&mut ratios.clean), &[clean])?;
                add_all(&mut ratios.minimisers, &minimisers)?;
                for (all, more) in ratios.hulls.iter_mut().zip(hulls) {
                    all.take(more);
                }
                Ok(())
            }
            (Sums::Classes { union, classes }, Parts::Classes { pools, union: all }) => {
                *all = union;
                let mut both = classes.into_iter().zip(pools);
                both.try_for_each(|(class, pool)| class.add_to(pool))
            }
            _ => Ok(()),
        }
    }
}

impl Hulls {
    fn take(&mut self, images: Vec<(u64, Hull)>) {
        // the last point of a hull is the one that loses most
        self.all_lost &= images.iter().all(|(size, hull)| hull.lost() == *size);
        self.images.extend(images);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Grid, Image, Norm, Premises, margins};

    fn empty(metric: Metric, classes: usize, eps: usize, goals: bool) -> Pool {
        let eps = vec![Budget::new(1.5).unwrap(); eps];
        Pool::new(metric, classes, &eps, goals).unwrap()
    }

    /// The row of one image of two pixels of class 0, one predicted 1; gaps 2.
    fn row(metric: Metric) -> PoolRow {
        let grid = Grid::new(2, 1, 2).unwrap();
        let image = Image::new(grid, &[2.0, 0.0, 0.0, 2.0], Some(&[0, 0]), None).unwrap();
        let premises = Premises::new(Norm::L2, 1.0, 0.0).unwrap();
        let mut pool = empty(metric, 2, 1, false);
        pool.add(&margins(&image, &premises).unwrap()).unwrap();
        pool.row("a").unwrap()
    }

    fn refused(pool: Pool, row: PoolRow) -> &'static str {
        let mut pool = pool;
        match pool.take(row) {
            Err(Error::PoolRow { image, reason }) if image == "a" => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pool_row() {
        let iou = Metric::Iou(0);
        let reasons = [
            refused(empty(Metric::Iou(1), 2, 1, false), row(iou)),
            refused(empty(iou, 2, 2, false), row(iou)),
            refused(empty(Metric::Accuracy, 2, 0, false), row(Metric::Accuracy)),
            refused(empty(Metric::Miou, 3, 1, false), row(Metric::Miou)),
            refused(empty(iou, 2, 1, true), row(iou)),
        ];
        let expected = ["metric", "eps", "eps", "classes", "goals"];
        for (reason, expected) in reasons.into_iter().zip(expected) {
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn rows_that_cannot_be_are_refused() {
        let text = serde_json::to_string(&row(Metric::Iou(0))).unwrap();
        assert!(
            text.contains(r#""clean":[1,2]"#) && text.contains("[2,[[2,0]]]"),
            "{text}"
        );
        let read = |from: &str, to: &str| {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            serde_json::from_str::<PoolRow>(&changed)
        };
        for (from, to) in [
            (r#""clean":[1,2]"#, r#""clean":[3,2]"#),
            ("[2,[[2,0]]]", "[1,[[2,0]]]"),
            ("[2,[[2,0]]]", "[9,[[2,0]]]"),
        ] {
            let row = read(from, to).unwrap();
            let reason = refused(empty(Metric::Iou(0), 2, 1, false), row);
            assert!(reason.contains("larger than the whole"), "{to}");
        }
        for points in ["[[1,0],[0,1]]", "[[0,1],[1,1]]", "[[0,9007199254740992]]"] {
            let error = read("[[2,0]]", points).unwrap_err().to_string();
            assert!(error.contains("points of a hull"), "{error}");
        }
        assert!(read(r#""kind":"pool""#, r#""kind":"row""#).is_err());
    }

    #[test]
    fn pools_with_goals_have_no_rows() {
        let error = empty(Metric::Accuracy, 2, 1, true).row("a").unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}
