//! Objects: the budget below which each is not lost. Paper 001 appendix H, eq 30.
//!
//! An object that loses n pixels costs at least the sum of its n smallest costs. Objects have no
//! pixel in common, so one budget pays for several only if it pays their sum: the objects of a
//! class are a list like that of pixels, each with a radius of its own.

use crate::component::{Components, OUTSIDE};
use crate::error::Result;
use crate::flip_curve::FlipCurve;
use crate::margin::Margins;
use crate::metric::{Change, Kind, Metric};

/// A connected component that is large enough to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Its first pixel, row by row.
    pub first: usize,
    /// Its pixels.
    pub pixels: usize,
    /// No attack within a budget below this makes it lost; rounded down, inf if none does.
    pub budget: f64,
}

/// Objects in the order of their first pixel, and the object of each pixel, [`OUTSIDE`] of none.
pub(crate) struct ObjectMap {
    pub(crate) objects: Vec<Object>,
    pub(crate) of: Vec<u32>,
}

impl Margins<'_> {
    /// The objects of `objects:K` or `stable-objects:K` and the budget of each, in the order of
    /// their first pixels; none for other metrics.
    ///
    /// Errors: [`crate::Error::ClassOutOfRange`], [`crate::Error::LabelsMissing`].
    pub fn objects(&self, metric: Metric) -> Result<Vec<Object>> {
        Ok(self.object_map(metric)?.objects)
    }

    pub(crate) fn object_map(&self, metric: Metric) -> Result<ObjectMap> {
        let reference = metric.reference(self)?;
        let class = match metric {
            Metric::Objects(class) | Metric::StableObjects(class) => class,
            _ => {
                let objects = Vec::new();
                return Ok(ObjectMap {
                    objects,
                    of: vec![OUTSIDE; reference.len()],
                });
            }
        };
        let Components { mut of, sizes } = self.components(metric, class, reference);
        let rule = self.conventions().objects;
        let power = self.power();
        // radii by component: where those of each start, and the next free place
        let mut next: Vec<usize> = vec![0; sizes.len()];
        for component in 1..sizes.len() {
            next[component] = next[component - 1] + sizes[component - 1];
        }
        let mut first = vec![usize::MAX; sizes.len()];
        let mut radii = vec![0.0; sizes.iter().sum()];
        for (pixel, &component) in of.iter().enumerate().filter(|(_, c)| **c != OUTSIDE) {
            let component = component as usize;
            first[component] = first[component].min(pixel);
            // a pixel that is wrong already is lost already
            if self.predictions()[pixel] == class {
                radii[next[component]] = self.radius(pixel);
            }
            next[component] += 1;
        }
        let mut objects = Vec::new();
        let mut number = vec![OUTSIDE; sizes.len()];
        for (component, &size) in sizes.iter().enumerate() {
            if size < rule.pixels as usize {
                continue;
            }
            let radii = &radii[next[component] - size..next[component]];
            let curve = FlipCurve::new(radii.to_vec(), power);
            number[component] = objects.len() as u32;
            objects.push(Object {
                first: first[component],
                pixels: size,
                budget: curve.budget(rule.losses(size)),
            });
        }
        for component in of.iter_mut().filter(|component| **component != OUTSIDE) {
            *component = number[*component as usize];
        }
        Ok(ObjectMap { objects, of })
    }
}

/// The curve of the pixels or objects of a metric that counts.
pub(crate) fn counted_curve(metric: Metric, margins: &Margins) -> Result<FlipCurve> {
    let power = margins.power();
    if let Kind::Objects = metric.kind() {
        let budgets = margins
            .objects(metric)?
            .into_iter()
            .map(|object| object.budget);
        return Ok(FlipCurve::new(budgets.collect(), power));
    }
    Ok(FlipCurve::new(metric.radii(margins, Change::Lose)?, power))
}
