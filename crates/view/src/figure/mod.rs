//! Figures of rows and maps, in one look: SVG of our own writing, PDF and PNG from it.
//!
//! A figure has no number that is not one of its rows or a mean of those; lines of bounds are drawn as steps, each
//! at the value of its end, so that nothing between two rows is promised.

mod axis;
mod eps;
mod font;
mod front;
mod labels;
mod masks;
mod plate;
mod plot;
mod radius;
mod raster;
mod render;
mod samples;
mod source;
mod spread;
mod stable;
mod svg;
#[cfg(test)]
mod testing;
mod toy;

use certiseg_cert::Metric;

pub(crate) use self::source::alike;
pub use self::source::{Labelled, Material, Saved};
use crate::{Error, Result};

/// What a figure is asked to show.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Of the rows.
    pub metric: Metric,
    /// Budgets, of the rows or to cut maps at; none for those of the rows.
    pub eps: Vec<f64>,
    /// Of the maps.
    pub class: u8,
    /// Names of pictures; none for the first four.
    pub images: Vec<String>,
    /// Of a figure that has several; none for all.
    pub panels: Vec<String>,
}

impl Default for Ask {
    fn default() -> Self {
        Ask {
            metric: Metric::Accuracy,
            eps: Vec::new(),
            class: 1,
            images: Vec::new(),
            panels: Vec::new(),
        }
    }
}

/// A finished drawing.
#[derive(Clone, Debug)]
pub struct Figure {
    svg: String,
}

impl Figure {
    /// As SVG.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// As PDF; a column of it is 84 mm wide.
    ///
    /// # Errors
    /// [`Error::Drawing`].
    pub fn pdf(&self) -> Result<Vec<u8>> {
        render::pdf(&self.svg)
    }

    /// As PNG, two pixels to the unit.
    ///
    /// # Errors
    /// [`Error::Drawing`].
    pub fn png(&self) -> Result<Vec<u8>> {
        render::png(&self.svg)
    }
}

/// A figure that can be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// Where the papers have it.
    pub paper: &'static str,
    /// What it shows.
    pub shows: &'static str,
    /// The rows it is drawn from, and the commands that make them.
    pub made: &'static str,
    /// Flags that it heeds.
    pub flags: &'static [&'static str],
    draw: fn(&Material, &Ask) -> Result<Figure>,
}

/// All of them.
pub const KINDS: [Kind; 7] = [
    Kind {
        name: "eps",
        paper: "001 Fig. 3",
        shows: "a metric against the budget: clean, certified, attacked",
        made: "certify --eps E,... [--curve]; attack --eps E,..., one run a line",
        flags: &["metric"],
        draw: eps::draw,
    },
    Kind {
        name: "samples",
        paper: "001 Fig. 2",
        shows: "certified and right against Monte-Carlo samples, beside the bound",
        made: "compare --eps E,... --n N,...",
        flags: &["eps"],
        draw: samples::draw,
    },
    Kind {
        name: "front",
        paper: "001 Fig. 5",
        shows: "clean against certified value of several networks",
        made: "certify --eps E,..., one labelled run a network",
        flags: &["metric", "eps"],
        draw: front::draw,
    },
    Kind {
        name: "masks",
        paper: "001 Fig. 7",
        shows: "pictures with label, TP/FP/FN of a class and the worst case within a budget",
        made: "certify --metric fnr:K --maps DIR",
        flags: &["maps", "eps", "class", "image"],
        draw: masks::draw,
    },
    Kind {
        name: "stable",
        paper: "001 Figs. 1, 8",
        shows: "the stability radius of pixels, regions certified stable, an attack",
        made: "certify --maps DIR; attack --save DIR",
        flags: &["maps", "save", "eps", "image"],
        draw: stable::draw,
    },
    Kind {
        name: "radius",
        paper: "002 Fig. 3",
        shows: "certified share against the radius of randomized smoothing",
        made: "smooth --curve, one run a line",
        flags: &[],
        draw: radius::draw,
    },
    Kind {
        name: "toy",
        paper: "002 Figs. 2, 5, 6",
        shows: "power of the tests of paper 002, simulated beside exact expectations",
        made: "smooth toy",
        flags: &["panel"],
        draw: toy::draw,
    },
];

impl Kind {
    /// Of that name.
    pub fn named(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.name == name)
    }

    /// Draws it.
    ///
    /// # Errors
    /// [`Error::Missing`] where the material has not what it shows, [`Error::Mixed`] where runs do not belong
    /// together.
    pub fn draw(&self, material: &Material, ask: &Ask) -> Result<Figure> {
        (self.draw)(material, ask)
    }
}

/// The error that a figure needs other rows.
fn missing(figure: &str, needed: impl Into<String>) -> Error {
    Error::Missing {
        what: format!("figure {figure}"),
        needed: needed.into(),
    }
}
