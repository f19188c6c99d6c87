//! The little of SVG that figures need: lines, areas, marks, texts, pictures.

use std::fmt::Write;

use super::font;
use super::raster::Raster;
use crate::palette::Rgb;

/// Text.
pub(super) const INK: Rgb = [34, 34, 34];
/// Captions, axes.
pub(super) const GREY: Rgb = [105, 105, 105];
/// Lines to read values by.
pub(super) const PALE: Rgb = [228, 228, 228];
/// The ground.
pub(super) const WHITE: Rgb = [255, 255, 255];

/// A place: right, down.
pub(super) type Place = [f64; 2];

/// A rectangle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rect {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    pub(super) fn right(self) -> f64 {
        self.left + self.width
    }

    pub(super) fn bottom(self) -> f64 {
        self.top + self.height
    }

    /// The common area of two.
    pub(super) fn overlap(self, other: Rect) -> f64 {
        let wide = self.right().min(other.right()) - self.left.max(other.left);
        let high = self.bottom().min(other.bottom()) - self.top.max(other.top);
        wide.max(0.0) * high.max(0.0)
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub(super) colour: Rgb,
    pub(super) width: f64,
    /// Lengths of dashes and gaps; empty of a whole line.
    pub(super) dash: &'static str,
}

impl Stroke {
    pub(super) fn thin(colour: Rgb) -> Self {
        Stroke {
            colour,
            width: 0.7,
            dash: "",
        }
    }
}

/// The form of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Disc,
    Square,
    Triangle,
    Diamond,
    Ring,
    Cross,
}

/// Which side of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub(super) size: f64,
    pub(super) colour: Rgb,
    pub(super) side: Side,
}

impl Type {
    /// Dark, from its place on.
    pub(super) fn of(size: f64) -> Self {
        Type {
            size,
            colour: INK,
            side: Side::Start,
        }
    }

    pub(super) fn colour(self, colour: Rgb) -> Self {
        Type { colour, ..self }
    }

    pub(super) fn side(self, side: Side) -> Self {
        Type { side, ..self }
    }
}

/// A drawing under way.
pub(super) struct Svg {
    body: String,
    clips: usize,
}

impl Svg {
    pub(super) fn new() -> Self {
        Svg {
            body: String::new(),
            clips: 0,
        }
    }

    pub(super) fn path(&mut self, places: &[Place], stroke: Stroke) {
        let Stroke {
            colour,
            width,
            dash,
        } = stroke;
        let dash = match dash {
            "" => String::new(),
            dash => format!(" stroke-dasharray=\"{dash}\""),
        };
        self.add(format!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
            outline(places),
            hex(colour),
            number(width),
        ));
    }

    /// Inside of a polygon.
    pub(super) fn area(&mut self, places: &[Place], colour: Rgb, opacity: f64) {
        self.add(format!(
            "<path d=\"{}Z\" fill=\"{}\" fill-opacity=\"{}\"/>",
            outline(places),
            hex(colour),
            number(opacity)
        ));
    }

    pub(super) fn rect(&mut self, rect: Rect, fill: Rgb, border: Option<Rgb>) {
        let border = border.map_or_else(String::new, |colour| {
            format!(" stroke=\"{}\" stroke-width=\"0.7\"", hex(colour))
        });
        self.add(format!(
            "<rect {} fill=\"{}\"{border}/>",
            sides(rect),
            hex(fill)
        ));
    }

    /// A thin border, without which a white picture has no end.
    pub(super) fn rect_outline(&mut self, rect: Rect) {
        self.add(format!(
            "<rect {} fill=\"none\" stroke=\"{}\" stroke-width=\"0.5\"/>",
            sides(rect),
            hex(PALE)
        ));
    }

    pub(super) fn mark(&mut self, [x, y]: Place, mark: Mark, colour: Rgb) {
        let polygon = |places: &[Place]| -> Vec<Place> {
            places.iter().map(|[dx, dy]| [x + dx, y + dy]).collect()
        };
        match mark {
            Mark::Disc | Mark::Ring => {
                let (fill, stroke) = match mark {
                    Mark::Disc => (colour, WHITE),
                    _ => (WHITE, colour),
                };
                let width = if mark == Mark::Disc { 0.6 } else { 1.2 };
                self.add(format!(
                    "<circle cx=\"{}\" cy=\"{}\" r=\"2.8\" fill=\"{}\" stroke=\"{}\" stroke-width=\"{width}\"/>",
                    number(x),
                    number(y),
                    hex(fill),
                    hex(stroke)
                ));
            }
            Mark::Square => self.area(
                &polygon(&[[-2.5, -2.5], [2.5, -2.5], [2.5, 2.5], [-2.5, 2.5]]),
                colour,
                1.0,
            ),
            Mark::Triangle => self.area(
                &polygon(&[[0.0, -3.4], [3.2, 2.4], [-3.2, 2.4]]),
                colour,
                1.0,
            ),
            Mark::Diamond => self.area(
                &polygon(&[[0.0, -3.6], [3.6, 0.0], [0.0, 3.6], [-3.6, 0.0]]),
                colour,
                1.0,
            ),
            Mark::Cross => {
                let stroke = Stroke {
                    colour,
                    width: 1.2,
                    dash: "",
                };
                self.path(&polygon(&[[-2.5, -2.5], [2.5, 2.5]]), stroke);
                self.path(&polygon(&[[-2.5, 2.5], [2.5, -2.5]]), stroke);
            }
        }
    }

    pub(super) fn text(&mut self, [x, y]: Place, text: &str, kind: Type) {
        let side = match kind.side {
            Side::Start => "",
            Side::Middle => " text-anchor=\"middle\"",
            Side::End => " text-anchor=\"end\"",
        };
        self.add(format!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\"{side}>{}</text>",
            number(x),
            number(y),
            number(kind.size),
            hex(kind.colour),
            escape(text)
        ));
    }

    pub(super) fn picture(&mut self, rect: Rect, raster: &Raster) {
        self.add(format!(
            "<image {} image-rendering=\"optimizeSpeed\" href=\"{}\"/>",
            sides(rect),
            raster.data()
        ));
    }

    /// What follows belongs together, under a name.
    pub(super) fn open(&mut self, name: &str) {
        self.add(format!("<g data-name=\"{}\">", escape(name)));
    }

    /// What follows is seen inside only.
    pub(super) fn open_clip(&mut self, rect: Rect) {
        let id = self.clips;
        self.clips += 1;
        self.add(format!(
            "<clipPath id=\"clip{id}\"><rect {}/></clipPath>\n<g clip-path=\"url(#clip{id})\">",
            sides(rect)
        ));
    }

    /// End of what was opened last.
    pub(super) fn close(&mut self) {
        self.add("</g>".into());
    }

    /// The file, under a title for readers of screens.
    pub(super) fn finish(self, [width, height]: [f64; 2], title: &str) -> String {
        let [width, height] = [width, height].map(number);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"{}\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>\n{}</svg>\n",
            font::FAMILY,
            escape(title),
            hex(WHITE),
            self.body
        )
    }

    fn add(&mut self, element: String) {
        self.body += &element;
        self.body.push('\n');
    }
}

fn sides(rect: Rect) -> String {
    let Rect {
        left,
        top,
        width,
        height,
    } = rect;
    let [left, top, width, height] = [left, top, width, height].map(number);
    format!("x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"")
}

fn outline(places: &[Place]) -> String {
    let mut text = String::new();
    for (index, [x, y]) in places.iter().enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        let _ = write!(text, "{letter}{} {}", number(*x), number(*y));
    }
    text
}

/// A hundredth of a unit is finer than any printer.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".into(),
        text => text.into(),
    }
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_written_safely() {
        assert_eq!(number(1.005), "1");
        assert_eq!(number(10.0), "10");
        assert_eq!(number(-0.001), "0");
        assert_eq!(hex([0, 114, 178]), "#0072b2");
        assert_eq!(escape("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
        let mut svg = Svg::new();
        svg.text([1.0, 2.0], "<\"&", Type::of(9.0));
        let text = svg.finish([10.0, 10.0], "a & b");
        let tree = usvg::roxmltree::Document::parse(&text).unwrap();
        let mut texts = tree.descendants().filter(|node| node.has_tag_name("text"));
        assert_eq!(texts.next().unwrap().text(), Some("<\"&"));
    }

    #[test]
    fn overlaps_are_areas() {
        let rect = |left, top| Rect {
            left,
            top,
            width: 2.0,
            height: 2.0,
        };
        assert_eq!(rect(0.0, 0.0).overlap(rect(1.0, 1.0)), 1.0);
        assert_eq!(rect(0.0, 0.0).overlap(rect(2.0, 0.0)), 0.0);
        assert_eq!(rect(0.0, 0.0).overlap(rect(5.0, 5.0)), 0.0);
    }
}
