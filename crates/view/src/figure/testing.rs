//! Small runs, and drawings read back.

use usvg::roxmltree::{Document, Node};

use super::{Figure, Labelled};
use crate::Run;

/// A run of so many rows, without their braces, under settings.
pub(super) fn run(name: &str, settings: &str, rows: &[String]) -> Run {
    let head = format!(
        r#"{{"kind":"head","format":1,"program":"certiseg","version":"0","seed":7,"norm":"2","settings":{settings}}}"#
    );
    Run::read(name, &head, rows.iter().map(String::as_str)).unwrap()
}

/// The same with a label.
pub(super) fn labelled(label: &str, rows: &[String]) -> Labelled {
    Labelled {
        label: Some(label.into()),
        run: run(label, "{}", rows),
    }
}

/// All texts of a figure.
pub(super) fn texts(figure: &Figure) -> Vec<String> {
    let tree = Document::parse(figure.svg()).unwrap();
    let texts = tree.descendants().filter(|node| node.has_tag_name("text"));
    texts
        .filter_map(|node| Some(node.text()?.to_owned()))
        .collect()
}

fn number(node: &Node, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

/// Corners of the first line of a series, as values of y by the numbers at the ticks; x in units.
pub(super) fn line(figure: &Figure, name: &str) -> Vec<[f64; 2]> {
    let tree = Document::parse(figure.svg()).unwrap();
    let ticks = tree
        .descendants()
        .filter(|node| node.has_tag_name("text") && node.attribute("text-anchor") == Some("end"));
    let ticks: Vec<[f64; 2]> = ticks
        .filter_map(|node| Some([node.text()?.parse().ok()?, number(&node, "y")]))
        .collect();
    let ([low, bottom], [high, top]) = (ticks[0], ticks[ticks.len() - 1]);
    // texts are a little below what they name
    let below = 10.5 * 0.36;
    let value = |y: f64| low + (y - bottom + below) / (top - bottom) * (high - low);
    let mut groups = tree.descendants();
    let group = groups.find(|node| node.attribute("data-name") == Some(name));
    let group = group.unwrap_or_else(|| panic!("no series {name}"));
    let mut paths = group.children().filter(|node| node.has_tag_name("path"));
    let path = paths.next().unwrap().attribute("d").unwrap();
    let corners = path.trim_start_matches('M').split('L');
    let corner = |corner: &str| {
        let (x, y) = corner.split_once(' ').unwrap();
        [x.parse().unwrap(), value(y.parse().unwrap())]
    };
    corners.map(corner).collect()
}

/// It is drawn the same twice, and PDF and PNG are made of it.
pub(super) fn is_steady(draw: impl Fn() -> Figure) {
    let [one, two] = [draw(), draw()];
    assert_eq!(one.svg(), two.svg());
    assert_eq!(one.pdf().unwrap(), two.pdf().unwrap());
    let png = one.png().unwrap();
    assert_eq!(png, two.png().unwrap());
    assert!(one.pdf().unwrap().starts_with(b"%PDF") && png[1..4] == *b"PNG");
}
