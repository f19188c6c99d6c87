//! Where in a picture certificates and attacks bite: by class, and by the size of what is shown.

use serde::{Deserialize, Serialize};

use crate::data::VOID;

/// Pixels of a kind, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// `class K`, or the size of a connected region of one label in shares of the picture.
    pub part: String,
    /// Pixels of the kind that are not void.
    pub pixels: u64,
    /// Those wrong on the clean picture.
    pub wrong: u64,
    /// Those wrong on the attacked picture.
    pub attacked: u64,
    /// Those that the certificate fears for: its worst attack takes them, wrong ones included.
    pub feared: u64,
}

/// Upper ends of the sizes of regions in per cent of the picture, and their names.
const SIZES: [(usize, &str); 4] = [
    (1, "region < 1 %"),
    (5, "region < 5 %"),
    (20, "region < 20 %"),
    (usize::MAX, "region >= 20 %"),
];

/// The parts of a picture that have pixels: by class, then by size of region (4-connected). All maps
/// are (H, W); the last three say which pixels are wrong, attacked, and taken.
pub fn parts(
    labels: &[u8],
    width: usize,
    wrong: &[bool],
    attacked: &[bool],
    taken: &[bool],
) -> Vec<Part> {
    let sizes = regions(labels, width);
    let of = |part: String, inside: &dyn Fn(usize) -> bool| {
        let counted = |pixel: &usize| labels[*pixel] != VOID && inside(*pixel);
        let here: Vec<usize> = (0..labels.len()).filter(counted).collect();
        let count = |map: &[bool]| here.iter().filter(|&&pixel| map[pixel]).count() as u64;
        Part {
            part,
            pixels: here.len() as u64,
            wrong: count(wrong),
            attacked: count(attacked),
            feared: count(taken),
        }
    };
    let classes = (0..VOID).map(|class| of(format!("class {class}"), &|at| labels[at] == class));
    let mut smallest = 0;
    let regions = SIZES.map(|(percent, name)| {
        let range = smallest..percent.saturating_mul(labels.len());
        smallest = range.end;
        of(name.to_owned(), &|at| range.contains(&(100 * sizes[at])))
    });
    let all = classes.chain(regions);
    all.filter(|part| part.pixels > 0).collect()
}

/// Of each pixel the number of pixels in its connected region of one label.
fn regions(labels: &[u8], width: usize) -> Vec<usize> {
    let mut sizes = vec![0; labels.len()];
    let mut region = Vec::new();
    for first in 0..labels.len() {
        if sizes[first] > 0 {
            continue;
        }
        region.clear();
        region.push(first);
        sizes[first] = 1;
        let mut next = 0;
        while let Some(&at) = region.get(next) {
            next += 1;
            let (row, column) = (at / width, at % width);
            let beside = [
                (column > 0).then(|| at - 1),
                (column + 1 < width).then_some(at + 1),
                (row > 0).then(|| at - width),
                Some(at + width).filter(|&below| below < labels.len()),
            ];
            for other in beside.into_iter().flatten() {
                if sizes[other] == 0 && labels[other] == labels[first] {
                    sizes[other] = 1;
                    region.push(other);
                }
            }
        }
        region.iter().for_each(|&at| sizes[at] = region.len());
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_counted_by_class_and_by_region() {
        // a pair, and a pixel apart from it; a pixel of class 0 that touches the others at a corner only
        let labels = [1, 1, 0, 0, 0, 1, 0, 0, 255];
        assert_eq!(regions(&labels, 3), [2, 2, 1, 4, 4, 1, 4, 4, 1]);
        let wrong = labels.map(|label| label == 1);
        let none = [false; 9];
        let found = parts(&labels, 3, &wrong, &wrong, &none);
        let line = |part: &Part| (part.part.clone(), part.pixels, part.attacked);
        let found: Vec<_> = found.iter().map(line).collect();
        // a ninth of the picture is 11 %, two are 22 %
        let expected = [
            ("class 0", 5, 0),
            ("class 1", 3, 3),
            ("region < 20 %", 2, 1),
            ("region >= 20 %", 6, 2),
        ];
        assert_eq!(found, expected.map(|(name, a, b)| (name.to_owned(), a, b)));
    }
}
