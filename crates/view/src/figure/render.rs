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
    fonts.load_font_data(font::file().to_vec());
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
    let file = svg2pdf::to_pdf(&tree(svg)?, svg2pdf::ConversionOptions::default(), page)
        .map_err(|error| Error::Drawing(error.to_string()))?;
    Ok(in_order(file))
}

/// Resources by their names. They come in the order of a hash map, which is another each time; put in order they take
/// the same room, so that every offset of the file stays.
fn in_order(mut file: Vec<u8>) -> Vec<u8> {
    const LISTS: [&[u8]; 3] = [b"/XObject <<\n", b"/ExtGState <<\n", b"/ColorSpace <<\n"];
    let mut at = 0;
    while at < file.len() {
        let rest = &file[at..];
        // what is inside of a stream is none of ours
        if rest.starts_with(b"stream\n") {
            at += find(rest, b"endstream").unwrap_or(rest.len()) + b"endstream".len();
            continue;
        }
        let list = LISTS.iter().find(|list| rest.starts_with(list));
        let Some((list, length)) = list.and_then(|list| Some((list, find(rest, b">>")?))) else {
            at += 1;
            continue;
        };
        let (from, to) = (at + list.len(), at + length);
        let end = file[from..to].iter().rposition(|byte| *byte == b'\n');
        let end = from + end.map_or(0, |end| end + 1);
        let mut lines: Vec<&[u8]> = file[from..end]
            .split_inclusive(|byte| *byte == b'\n')
            .collect();
        lines.sort_unstable();
        let lines = lines.concat();
        file[from..end].copy_from_slice(&lines);
        at = to;
    }
    file
}

fn find(bytes: &[u8], words: &[u8]) -> Option<usize> {
    bytes
        .windows(words.len())
        .position(|window| window == words)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_put_in_order_and_streams_left_alone() {
        let file = b"/XObject <<\n  /x2 5 0 R\n  /x1 4 0 R\n>>\nstream\n/XObject <<\n  /b\n  /a\n>>\nendstream\n";
        let sorted = in_order(file.to_vec());
        let expected = b"/XObject <<\n  /x1 4 0 R\n  /x2 5 0 R\n>>\nstream\n/XObject <<\n  /b\n  /a\n>>\nendstream\n";
        assert_eq!(sorted, expected);
        assert_eq!(in_order(b"/XObject <<\n".to_vec()), b"/XObject <<\n");
    }
}
