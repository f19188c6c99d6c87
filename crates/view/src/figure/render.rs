//! PDF and PNG of the same drawing. The same rows give the same bytes: nothing here knows a date.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use usvg::fontdb::Database;
use usvg::{Options, Tree};

use super::font;
use super::plot::COLUMN;
use crate::{Error, Result};

/// Pixels of a unit.
const SCALE: f32 = 2.0;
/// Width of a column on paper, in inches: 84 mm.
const INCHES: f64 = 84.0 / 25.4;

static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    for file in font::files() {
        fonts.load_font_data(file.to_vec());
    }
    fonts.set_sans_serif_family("DejaVu Sans");
    Arc::new(fonts)
});

fn tree(svg: &str) -> Result<Tree> {
    let options = Options {
        fontdb: FONTS.clone(),
        font_family: "DejaVu Sans".into(),
        ..Options::default()
    };
    Tree::from_str(svg, &options).map_err(|error| Error::Drawing(error.to_string()))
}

/// A page as large as the figure, a column 84 mm wide.
pub(super) fn pdf(svg: &str) -> Result<Vec<u8>> {
    let page = svg2pdf::PageOptions {
        dpi: (COLUMN / INCHES) as f32,
    };
    svg2pdf::to_pdf(&tree(svg)?, svg2pdf::ConversionOptions::default(), page)
        .map_err(|error| Error::Drawing(error.to_string()))
}

/// Two pixels to the unit.
pub(super) fn png(svg: &str) -> Result<Vec<u8>> {
    let tree = tree(svg)?;
    let sides =
        [tree.size().width(), tree.size().height()].map(|side| (side * SCALE).ceil() as u32);
    let fault = || Error::Drawing(format!("{} x {} pixels", sides[0], sides[1]));
    let mut pixels = Pixmap::new(sides[0], sides[1]).ok_or_else(fault)?;
    let scale = Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    pixels
        .encode_png()
        .map_err(|error| Error::Drawing(error.to_string()))
}
