//! Budgets as they are typed.

use anyhow::Result;

use crate::fail::Usage;

/// Reads `0.05,0.1`, numbers from 0 in the unit of eps; the hint of a fraction has its number.
pub fn parse_eps(text: &str) -> Result<Vec<f64>> {
    if text.trim().is_empty() {
        return Err(Usage::error("the list of budgets is empty", PLAIN));
    }
    let number =
        |word: &str| budget(word).map_err(|Wrong { message, hint }| Usage::error(message, hint));
    text.split(',').map(number).collect()
}

/// Reads one budget of a list that the command line has taken apart; the message ends with the hint.
pub fn one(word: &str) -> Result<f64, String> {
    budget(word).map_err(|Wrong { message, hint }| format!("{message}; {hint}"))
}

const PLAIN: &str = "give comma-separated numbers of at least 0, for example --eps 0.05,0.1";

/// A word that is no budget, and what to write instead.
struct Wrong {
    message: String,
    hint: String,
}

fn budget(word: &str) -> Result<f64, Wrong> {
    let sound = |eps: &f64| *eps >= 0.0;
    let value = word.trim().parse().ok().filter(sound);
    value.ok_or_else(|| Wrong {
        message: format!("{word:?} is no budget"),
        hint: match fraction(word) {
            // who copies budgets of l-infinity into l2 finds nothing
            Some(eps) => format!(
                "eps is a plain number, of pictures in [0, 1], in l2 the length of the whole change: write {eps} for {}",
                word.trim()
            ),
            None => PLAIN.into(),
        },
    })
}

/// The number that `8/255` means.
fn fraction(word: &str) -> Option<f64> {
    let (above, below) = word.split_once('/')?;
    let [above, below]: [f64; 2] = [above.trim().parse().ok()?, below.trim().parse().ok()?];
    let number = above / below;
    (number >= 0.0 && number.is_finite()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_from_0_are_budgets() {
        assert_eq!(parse_eps("0.05, 0.1,0").unwrap(), [0.05, 0.1, 0.0]);
        assert_eq!(one("0.25"), Ok(0.25));
        for wrong in ["", " ", "0.1,,0.2", "-0.1", "NaN", "x"] {
            assert!(parse_eps(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_hint_of_a_fraction_has_its_number() {
        for (word, number) in [("8/255", "0.03137254901960784"), (" 1 / 4", "0.25")] {
            let message = one(word).unwrap_err();
            assert!(
                message.contains(&format!("write {number} for")),
                "{message}"
            );
            assert!(
                message.contains(&format!("{word:?} is no budget")),
                "{message}"
            );
        }
        for none in ["8/0", "-8/255", "8/255/2", "/", "x/2", "0/0"] {
            let message = one(none).unwrap_err();
            assert!(message.contains("comma-separated"), "{none}: {message}");
        }
    }
}
