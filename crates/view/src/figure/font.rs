//! The font of figures, which travels with the program: the same widths and the same pictures everywhere.

use std::sync::LazyLock;

use ttf_parser::Face;

/// What SVG asks for; Verdana is as wide, where DejaVu Sans is not there.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// The one face: with several, PDF files would list them in another order each time.
pub(super) fn file() -> &'static [u8] {
    dejavu::sans::regular()
}

static FACE: LazyLock<Face<'static>> =
    LazyLock::new(|| Face::parse(file(), 0).expect("the embedded font is whole"));

/// Width of a text of so many units a letter, without kerning.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let face = &*FACE;
    let advance = |letter| {
        let glyph = face.glyph_index(letter).unwrap_or_default();
        f64::from(face.glyph_hor_advance(glyph).unwrap_or_default())
    };
    text.chars().map(advance).sum::<f64>() * size / f64::from(face.units_per_em())
}

/// The words in lines of at most so many units; a word that is longer has a line of its own.
pub(super) fn wrap(text: &str, size: f64, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (longer, lines.last_mut()) {
            (Some(longer), Some(line)) if width(&longer, size) <= most => *line = longer,
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// As many parts, joined by dots, as fit; the first always does, cut if it must be.
pub(super) fn fit(parts: &[String], size: f64, most: f64) -> String {
    let mut text = String::new();
    for part in parts {
        let longer = match text.is_empty() {
            true => part.clone(),
            false => format!("{text} · {part}"),
        };
        if !text.is_empty() && width(&longer, size) > most {
            break;
        }
        text = longer;
    }
    if width(&text, size) > most {
        while width(&text, size) + width("…", size) > most && text.pop().is_some() {}
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        // advances of DejaVu Sans 2.37: 651 of a space, 1255 of an a, 2048 units to the em
        let close = |got: f64, expected: f64| (got - expected).abs() < 1e-9;
        assert!(close(width("a", 2048.0), 1255.0));
        assert!(close(width("a a", 2048.0), 2.0 * 1255.0 + 651.0));
        assert!(!close(width("b", 2048.0), width("a", 2048.0)));
        // what figures write is in the font
        for letter in "≤≥·…–²⁶σ×±".chars() {
            assert!(FACE.glyph_index(letter).is_some(), "{letter}");
        }
    }

    #[test]
    fn texts_keep_to_their_room() {
        let lines = wrap("one two three", 10.0, 45.0);
        assert_eq!(lines, ["one two", "three"]);
        assert_eq!(wrap("incompatible", 10.0, 5.0), ["incompatible"]);
        let parts = ["network".to_owned(), "data".to_owned(), "seed 0".to_owned()];
        assert_eq!(fit(&parts, 10.0, 1000.0), "network · data · seed 0");
        assert_eq!(fit(&parts, 10.0, 90.0), "network · data");
        let cut = fit(&parts, 10.0, 30.0);
        assert!(cut.ends_with('…') && width(&cut, 10.0) <= 30.0, "{cut}");
    }
}
