//! Pictures in rows and columns, with a key to their colours.

use super::plot::{MARGIN, SMALL, finish};
use super::raster::Raster;
use super::svg::{GREY, Rect, Side, Svg, Type};
use super::{Figure, font};
use crate::palette::Rgb;

/// Width of a picture, in units.
const CELL: f64 = 116.0;
const GAP: f64 = 8.0;
/// Under and over pictures.
const NOTE: f64 = 9.5;

/// A picture and what is said under it.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) raster: Raster,
    pub(super) note: String,
}

impl Cell {
    pub(super) fn new(raster: Raster, note: impl Into<String>) -> Self {
        Cell {
            raster,
            note: note.into(),
        }
    }
}

/// A name, and a picture a column where there is one.
pub(super) type Row = (String, Vec<Option<Cell>>);

/// Rows of pictures under the names of their columns.
pub(super) struct Plate {
    pub(super) heads: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Colours and what they say.
    pub(super) key: Vec<(Rgb, String)>,
}

/// Draws it, with a line about where it comes from.
pub(super) fn plate(title: &str, plate: &Plate, about: &[String]) -> Figure {
    // columns in which no row has a picture are left out
    let used: Vec<usize> = (0..plate.heads.len())
        .filter(|column| plate.rows.iter().any(|(_, cells)| cells[*column].is_some()))
        .collect();
    let mut svg = Svg::new();
    let count = used.len().max(1) as f64;
    let width = 2.0 * MARGIN + count * CELL + (count - 1.0) * GAP;
    let left = |place: usize| MARGIN + place as f64 * (CELL + GAP);
    let heads: Vec<Vec<String>> = used
        .iter()
        .map(|column| font::wrap(&plate.heads[*column], SMALL, CELL))
        .collect();
    let lines = heads.iter().map(Vec::len).max().unwrap_or_default();
    let mut top = MARGIN + lines as f64 * (SMALL + 2.0) + 4.0;
    for (place, head) in heads.iter().enumerate() {
        for (index, line) in head.iter().rev().enumerate() {
            let base = top - 6.0 - index as f64 * (SMALL + 2.0);
            svg.text(
                [left(place) + CELL / 2.0, base],
                line,
                Type::of(SMALL).side(Side::Middle),
            );
        }
    }
    for (name, cells) in &plate.rows {
        svg.open(name);
        let mut high: f64 = 0.0;
        for (place, cell) in used.iter().map(|column| &cells[*column]).enumerate() {
            let Some(cell) = cell else { continue };
            let [height, wide] = cell.raster.size.map(|side| side as f64);
            let rect = Rect {
                left: left(place),
                top,
                width: CELL,
                height: CELL * height / wide,
            };
            svg.picture(rect, &cell.raster);
            svg.rect_outline(rect);
            let base = rect.bottom() + NOTE + 2.0;
            let kind = Type::of(NOTE).side(Side::Middle);
            svg.text([rect.left + CELL / 2.0, base], &cell.note, kind);
            high = high.max(rect.height);
        }
        svg.text(
            [MARGIN, top + high + NOTE + 2.0],
            name,
            Type::of(NOTE).colour(GREY),
        );
        svg.close();
        top += high + NOTE + 12.0;
    }
    top = key(&mut svg, &plate.key, [width, top]);
    finish(svg, title, [width, top + 6.0], about)
}

/// Swatches in lines; where they end.
fn key(svg: &mut Svg, entries: &[(Rgb, String)], [width, top]: [f64; 2]) -> f64 {
    const SWATCH: f64 = 9.0;
    let (mut x, mut base) = (MARGIN, top + SMALL);
    for (colour, text) in entries {
        let needs = SWATCH + 4.0 + font::width(text, SMALL) + 14.0;
        if x > MARGIN && x + needs > width - MARGIN + 14.0 {
            (x, base) = (MARGIN, base + SMALL + 5.0);
        }
        let rect = Rect {
            left: x,
            top: base - SWATCH + 0.5,
            width: SWATCH,
            height: SWATCH,
        };
        svg.rect(rect, *colour, Some(GREY));
        svg.text([x + SWATCH + 4.0, base], text, Type::of(SMALL));
        x += needs;
    }
    match entries.is_empty() {
        true => top,
        false => base + 6.0,
    }
}
