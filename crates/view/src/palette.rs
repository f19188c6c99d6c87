//! Colours of classes.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Okabe and Ito's colours, told apart by colour-blind readers; classes beyond them wear lighter, then darker ones.
const CLASSES: [(Rgb, &str); 8] = [
    ([60, 60, 60], "grey"),
    ([230, 159, 0], "orange"),
    ([86, 180, 233], "sky blue"),
    ([0, 158, 115], "green"),
    ([240, 228, 66], "yellow"),
    ([0, 114, 178], "blue"),
    ([213, 94, 0], "vermilion"),
    ([204, 121, 167], "pink"),
];

/// Towards what a round of the eight colours is mixed, by 9/20.
const ROUNDS: [Option<(u8, &str)>; 3] = [None, Some((255, "light ")), Some((0, "dark "))];

/// Colour of a class; from the 25th class on they come again.
pub fn class_colour(class: u8) -> Rgb {
    let (class, rounds) = (usize::from(class), CLASSES.len());
    let (colour, _) = CLASSES[class % rounds];
    match ROUNDS[class / rounds % ROUNDS.len()] {
        None => colour,
        Some((to, _)) => mix(colour, [to; 3]),
    }
}

/// Its name, which says it to people.
pub fn class_colour_name(class: u8) -> String {
    let (class, rounds) = (usize::from(class), CLASSES.len());
    let (_, name) = CLASSES[class % rounds];
    let shade = ROUNDS[class / rounds % ROUNDS.len()].map_or("", |(_, shade)| shade);
    format!("{shade}{name}")
}

/// 11 parts of one colour and 9 of the other.
pub fn mix(one: Rgb, other: Rgb) -> Rgb {
    [0, 1, 2].map(|c| ((u16::from(one[c]) * 11 + u16::from(other[c]) * 9) / 20) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn twenty_four_classes_have_their_own_colour() {
        let colours: BTreeSet<Rgb> = (0..24).map(class_colour).collect();
        assert_eq!(colours.len(), 24);
        let names: BTreeSet<String> = (0..24).map(class_colour_name).collect();
        assert_eq!(names.len(), 24);
        assert_eq!(class_colour(24), class_colour(0));
        assert_eq!(class_colour_name(9), "light orange");
        assert!(!colours.contains(&[255; 3]), "white is void");
    }
}
