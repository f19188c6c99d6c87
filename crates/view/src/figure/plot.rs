//! Plots: panels of lines with their names beside them.

use super::axis::Axis;
use super::labels::{along, beside, spread};
use super::svg::{GREY, INK, Mark, PALE, Place, Rect, Side, Stroke, Svg, Type};
use super::{Figure, font};
use crate::palette::{Rgb, mix};

/// Width of a figure of one column, 84 mm on paper, in units.
pub(super) const COLUMN: f64 = 380.0;
/// Between panels side by side.
const GAP: f64 = 24.0;
/// Height of what is inside of the axes.
const HEIGHT: f64 = 196.0;
/// Around all.
pub(super) const MARGIN: f64 = 10.0;
/// Names, numbers at ticks.
pub(super) const SMALL: f64 = 10.5;
/// Titles of axes.
const PLAIN: f64 = 11.0;
/// Of a line under the figure.
const CAPTION: f64 = 8.5;
/// Width of a column of names at most.
const NAMES: f64 = 104.0;

/// Dark to light, as far from each other as can be to colour-blind readers.
const COLOURS: [Rgb; 7] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [60, 60, 60],
];
const DASHES: [&str; 7] = ["", "6 2.5", "2 2", "8 2.5 2 2.5", "4 2", "10 3", "1.2 2"];
const MARKS: [Mark; 6] = [
    Mark::Disc,
    Mark::Square,
    Mark::Triangle,
    Mark::Diamond,
    Mark::Ring,
    Mark::Cross,
];

/// How a series is told from others: by colour, dashes and the form of its points, each alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) colour: Rgb,
    pub(super) dash: &'static str,
    pub(super) mark: Option<Mark>,
}

impl Look {
    /// The look of the series of a number.
    pub(super) fn of(index: usize) -> Self {
        Look {
            colour: COLOURS[index % COLOURS.len()],
            dash: DASHES[index % DASHES.len()],
            mark: Some(MARKS[index % MARKS.len()]),
        }
    }

    /// What others are held against.
    pub(super) fn reference() -> Self {
        Look {
            colour: [60, 60, 60],
            dash: "1.2 2.4",
            mark: None,
        }
    }

    pub(super) fn unmarked(self) -> Self {
        Look { mark: None, ..self }
    }

    pub(super) fn dashed(self, dash: &'static str) -> Self {
        Look { dash, ..self }
    }
}

/// How points are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// By lines.
    Lines,
    /// Up to each point its own value: bounds of everything before it.
    Steps,
    /// Not at all.
    Not,
}

/// Points of one kind.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Beside its end; empty where another says it.
    pub(super) name: String,
    /// By rising x, unless lines go back.
    pub(super) points: Vec<Place>,
    pub(super) join: Join,
    pub(super) look: Look,
    /// x, from, to.
    pub(super) band: Vec<[f64; 3]>,
    /// Points with marks of their own; where empty, all have them.
    pub(super) marked: Vec<Place>,
    /// Names of the points.
    pub(super) tags: Vec<String>,
}

impl Series {
    pub(super) fn new(name: &str, points: Vec<Place>, join: Join, look: Look) -> Self {
        Series {
            name: name.into(),
            points,
            join,
            look,
            band: Vec::new(),
            marked: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// Axes and what is between them.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    /// Above it; may be empty.
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

impl Panel {
    /// Draws it from `[left, top]` on, as wide as a column; how high it is.
    fn draw(&self, svg: &mut Svg, [left, top]: Place) -> f64 {
        let mut head = top + MARGIN;
        if !self.title.is_empty() {
            let lines = font::wrap(&self.title, PLAIN, COLUMN - 2.0 * MARGIN - 24.0);
            for line in lines {
                head += PLAIN + 3.0;
                svg.text([left + MARGIN, head], &line, Type::of(PLAIN));
            }
            head += 3.0;
        }
        head += PLAIN;
        svg.text([left + MARGIN, head], &self.y.title, Type::of(PLAIN));
        let room = self.room([left, head + 12.0]);
        self.axes(svg, room);
        self.bands(svg, room);
        for series in &self.series {
            svg.open(&series.name);
            self.line(svg, room, series);
            svg.close();
        }
        self.names(svg, room);
        self.tags(svg, room);
        room.bottom() + 36.0 - top
    }

    /// What is inside of the axes.
    fn room(&self, [left, top]: Place) -> Rect {
        let ticks = self.y.ticks.iter();
        let ticks = ticks.map(|tick| font::width(&tick.text, SMALL));
        let before = MARGIN + ticks.fold(0.0, f64::max) + 8.0;
        let names = self
            .series
            .iter()
            .flat_map(|series| name_lines(&series.name));
        let names = names.map(|line| font::width(&line, SMALL));
        let after = names.fold(0.0, f64::max).max(8.0) + 14.0 + MARGIN / 2.0;
        Rect {
            left: left + before,
            top,
            width: COLUMN - before - after,
            height: HEIGHT,
        }
    }

    fn at(&self, room: Rect, [x, y]: Place) -> Place {
        [
            self.x.place(x, [room.left, room.right()]),
            self.y.place(y, [room.bottom(), room.top]),
        ]
    }

    fn axes(&self, svg: &mut Svg, room: Rect) {
        let text = Type::of(SMALL).colour(GREY);
        for tick in &self.y.ticks {
            let [_, y] = self.at(room, [self.x.range[0], tick.at]);
            svg.path(&[[room.left, y], [room.right(), y]], Stroke::thin(PALE));
            let place = [room.left - 6.0, y + SMALL * 0.36];
            svg.text(place, &tick.text, text.side(Side::End));
        }
        let base = room.bottom();
        svg.path(
            &[[room.left, base], [room.right(), base]],
            Stroke::thin(GREY),
        );
        let mut free = f64::NEG_INFINITY;
        for tick in &self.x.ticks {
            let [x, _] = self.at(room, [tick.at, self.y.range[0]]);
            svg.path(&[[x, base], [x, base + 3.5]], Stroke::thin(GREY));
            let half = font::width(&tick.text, SMALL) / 2.0;
            if x - half > free {
                svg.text([x, base + 15.0], &tick.text, text.side(Side::Middle));
                free = x + half + 5.0;
            }
        }
        // as far to the left as it must be to end within the panel
        let width = font::width(&self.x.title, PLAIN);
        let middle = (room.left + room.right() - width) / 2.0;
        svg.text(
            [middle.max(room.left - 24.0), base + 30.0],
            &self.x.title,
            Type::of(PLAIN),
        );
    }

    fn bands(&self, svg: &mut Svg, room: Rect) {
        svg.open_clip(room);
        for series in self.series.iter().filter(|series| series.band.len() > 1) {
            let side = |side: usize| -> Vec<Place> {
                let points = series.band.iter().map(|point| [point[0], point[side]]);
                self.joined(room, &points.collect::<Vec<_>>(), series.join)
            };
            let mut outline = side(1);
            outline.extend(side(2).into_iter().rev());
            svg.area(&outline, series.look.colour, 0.13);
        }
        svg.close();
    }

    /// Corners of what joins points.
    fn joined(&self, room: Rect, points: &[Place], join: Join) -> Vec<Place> {
        let mut corners: Vec<Place> = Vec::new();
        for point in points {
            let [x, y] = self.at(room, *point);
            if let (Join::Steps, Some([before, _])) = (join, corners.last()) {
                corners.push([*before, y]);
            }
            corners.push([x, y]);
        }
        corners
    }

    fn line(&self, svg: &mut Svg, room: Rect, series: &Series) {
        let look = series.look;
        if series.join != Join::Not && series.points.len() > 1 {
            let stroke = Stroke {
                colour: look.colour,
                width: 1.5,
                dash: look.dash,
            };
            svg.path(&self.joined(room, &series.points, series.join), stroke);
        }
        let marked = match series.marked.is_empty() {
            true => &series.points,
            false => &series.marked,
        };
        if let Some(mark) = look.mark {
            for point in marked {
                svg.mark(self.at(room, *point), mark, look.colour);
            }
        }
    }

    /// Names to the right of the axes, at the height of the end of what they name.
    fn names(&self, svg: &mut Svg, room: Rect) {
        let named = self.series.iter();
        let named = named.filter(|series| !series.name.is_empty() && !series.points.is_empty());
        let named: Vec<(&Series, Vec<String>, Place)> = named
            .map(|series| {
                let end = self.at(room, end(&series.points).unwrap_or_default());
                (series, name_lines(&series.name), end)
            })
            .collect();
        let wanted: Vec<f64> = named.iter().map(|(.., end)| end[1]).collect();
        let heights: Vec<f64> = named
            .iter()
            .map(|(_, lines, _)| lines.len() as f64 * (SMALL + 1.5) + 2.0)
            .collect();
        let middles = spread(&wanted, &heights, [room.top - 6.0, room.bottom() + 6.0]);
        for (((series, lines, end), middle), height) in named.iter().zip(middles).zip(heights) {
            let text = room.right() + 12.0;
            let moved = (middle - end[1]).abs() > 3.0;
            if moved || room.right() - end[0] > 8.0 {
                let bend = [room.right() + 2.0, end[1]];
                let leader = Stroke {
                    width: 0.5,
                    ..Stroke::thin(mix(series.look.colour, [255; 3]))
                };
                svg.path(
                    &[[end[0] + 4.0, end[1]], bend, [text - 2.0, middle]],
                    leader,
                );
            }
            let kind = Type::of(SMALL).colour(mix(series.look.colour, INK));
            for (index, line) in lines.iter().enumerate() {
                let y = middle - height / 2.0 + (index as f64 + 1.0) * (SMALL + 1.5) - 1.5;
                svg.text([text, y], line, kind);
            }
        }
    }

    /// Names of points, off the lines and off each other.
    fn tags(&self, svg: &mut Svg, room: Rect) {
        let mut taken: Vec<Rect> = Vec::new();
        for series in &self.series {
            let corners = self.joined(room, &series.points, series.join);
            for pair in corners.windows(2) {
                taken.extend(along(pair[0], pair[1]));
            }
            // the way to the name
            if let (false, Some(end)) = (series.name.is_empty(), end(&corners)) {
                taken.extend(along(end, [room.right(), end[1]]));
            }
            for [x, y] in corners {
                taken.push(Rect {
                    left: x - 4.0,
                    top: y - 4.0,
                    width: 8.0,
                    height: 8.0,
                });
            }
        }
        let wide = Rect {
            top: room.top - 8.0,
            height: room.height + 8.0,
            ..room
        };
        for series in &self.series {
            for (point, tag) in series.points.iter().zip(&series.tags) {
                let size = [font::width(tag, SMALL - 1.0), SMALL];
                let place = beside(self.at(room, *point), size, &taken, wide);
                taken.push(place);
                let base = [place.left, place.bottom() - 2.0];
                svg.text(base, tag, Type::of(SMALL - 1.0));
            }
        }
    }
}

/// The point that is furthest to the right.
fn end(points: &[Place]) -> Option<Place> {
    let points = points.iter().copied();
    points.reduce(|a, b| if b[0] >= a[0] { b } else { a })
}

fn name_lines(name: &str) -> Vec<String> {
    font::wrap(name, SMALL, NAMES)
}

/// Panels side by side, two to a row, and a line about where they come from.
pub(super) fn plots(title: &str, panels: &[Panel], about: &[String]) -> Figure {
    let mut svg = Svg::new();
    let columns = panels.len().clamp(1, 2);
    let width = columns as f64 * COLUMN + (columns - 1) as f64 * GAP;
    let mut top = 0.0;
    for row in panels.chunks(columns) {
        let lefts = (0..).map(|column| f64::from(column) * (COLUMN + GAP));
        let heights = row.iter().zip(lefts);
        let heights = heights.map(|(panel, left)| panel.draw(&mut svg, [left, top]));
        top += heights.fold(0.0, f64::max) + 8.0;
    }
    finish(svg, title, [width, top], about)
}

/// Under a drawing of `[width, height]`.
pub(super) fn finish(mut svg: Svg, title: &str, [width, top]: Place, about: &[String]) -> Figure {
    let line = font::fit(about, CAPTION, width - 2.0 * MARGIN);
    let base = top + CAPTION;
    svg.text([MARGIN, base], &line, Type::of(CAPTION).colour(GREY));
    Figure {
        svg: svg.finish([width, base + MARGIN], title),
    }
}
