//! Messages and hints.

use super::*;

#[test]
fn a_message_names_both_sides_and_a_hint_the_way_out() {
    let error = Error::MaskSize {
        id: "a".into(),
        got: [2, 3],
        expected: [4, 5],
    };
    assert_eq!(
        error.to_string(),
        "mask of a is 2x3, its image is 4x5 (height x width)"
    );
    assert_eq!(
        error.hint().unwrap(),
        "make the mask from the very image file, before any resizing"
    );
    let error = Error::MissingSplit {
        split: "val".into(),
        looked: vec!["a/val.txt".into(), "val.txt".into()],
    };
    assert_eq!(
        error.to_string(),
        r#"no split "val": looked for "a/val.txt", "val.txt""#
    );
    assert!(error.hint().unwrap().contains("val.txt"));
}

#[test]
fn a_message_that_says_it_all_has_no_hint() {
    let error = Error::setting("height", "0", "at least 1");
    assert_eq!(
        (error.to_string().as_str(), error.hint()),
        ("height is 0, expected at least 1", None)
    );
}
