//! Masks drawn in colours: which class each colour stands for.

use std::collections::BTreeMap;

use super::VOID;

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// The class of each colour in RGB masks; exact colours only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colours {
    table: BTreeMap<Rgb, u8>,
}

impl Colours {
    /// Of the colours of each class, by index, and those of pixels without a class. `None` where a class has no colour
    /// or a colour stands for two: such colours are for people, not for reading masks.
    pub(super) fn new(classes: &[Vec<Rgb>], ignore: &[Rgb]) -> Option<Self> {
        if classes.is_empty() || classes.iter().any(Vec::is_empty) {
            return None;
        }
        let mut table = BTreeMap::new();
        let of_class = (0..VOID).zip(classes);
        let all = of_class.flat_map(|(class, colours)| colours.iter().map(move |&c| (c, class)));
        for (colour, class) in all.chain(ignore.iter().map(|&c| (c, VOID))) {
            if table.insert(colour, class).is_some_and(|old| old != class) {
                return None;
            }
        }
        Some(Self { table })
    }

    /// The class of a colour, [`VOID`] for the ignored ones; `None` for a colour that nobody named.
    pub fn class(&self, colour: Rgb) -> Option<u8> {
        self.table.get(&colour).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_has_one_class() {
        let classes = [vec![[0; 3], [1; 3]], vec![[9, 8, 7]]];
        let colours = Colours::new(&classes, &[[5; 3]]).unwrap();
        assert_eq!(
            [[0; 3], [1; 3], [9, 8, 7], [5; 3], [9, 8, 6]].map(|c| colours.class(c)),
            [Some(0), Some(0), Some(1), Some(VOID), None]
        );
    }

    #[test]
    fn colours_that_leave_a_choice_are_none() {
        for (classes, ignore) in [
            (vec![], vec![]),
            (vec![vec![[0; 3]], vec![]], vec![]),
            (vec![vec![[0; 3]], vec![[0; 3]]], vec![]),
            (vec![vec![[0; 3]], vec![[1; 3]]], vec![[1; 3]]),
        ] {
            assert_eq!(Colours::new(&classes, &ignore), None, "{classes:?}");
        }
    }
}
