//! How many classes a data set has and what they are called.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use super::VOID;
use super::colours::{Colours, Rgb};
use crate::{Error, Result};

/// The classes of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    /// How many, 1 to 255.
    pub count: usize,
    /// Their names by index; empty where nobody gave them.
    pub names: Vec<String>,
    /// The value of pixels without a class in the mask files.
    pub ignore: u8,
    /// The first colour of each class by index; empty where not every class has one.
    pub colours: Vec<Rgb>,
    /// What the colours of RGB masks stand for, where each stands for one class.
    pub(super) table: Option<Colours>,
}

/// `classes.json` as found in the wild: the names alone or objects that have one; other fields are left alone.
#[derive(Deserialize)]
struct File {
    num_classes: usize,
    ignore_index: Option<i64>,
    names: Option<Vec<String>>,
    classes: Option<Vec<Class>>,
    ignore_color: Option<Rgb>,
    ignore_colors: Option<Vec<Rgb>>,
}

#[derive(Deserialize)]
struct Class {
    id: usize,
    name: String,
    color: Option<Rgb>,
    colors: Option<Vec<Rgb>>,
}

impl Classes {
    /// `count` classes without names.
    pub(super) fn unnamed(count: usize) -> Self {
        Self {
            count,
            names: Vec::new(),
            ignore: VOID,
            colours: Vec::new(),
            table: None,
        }
    }

    /// Classes called `names`.
    pub(super) fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.map(str::to_owned).collect();
        Self {
            names: names.clone(),
            ..Self::unnamed(names.len())
        }
    }

    /// What `classes.json` in `folder` says: `num_classes`, optionally `names` (or `classes` with `id` and `name`) and
    /// `ignore_index` (255). `None` if there is no such file. For masks drawn in colours, each of `classes` has a `color`
    /// (`[r, g, b]`) or several `colors`, and pixels without a class may have an `ignore_color` or `ignore_colors`.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::ClassList`].
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("classes.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Unreadable { path, source }),
        };
        let file = serde_json::from_slice(&text).map_err(|e| e.to_string());
        file.and_then(File::classes)
            .map(Some)
            .map_err(|reason| Error::ClassList { path, reason })
    }
}

impl File {
    fn classes(self) -> std::result::Result<Classes, String> {
        let count = self.num_classes;
        if !(1..=usize::from(VOID)).contains(&count) {
            return Err(format!("num_classes is {count}, expected 1 to 255"));
        }
        let ignore = self.ignore_index.unwrap_or(VOID.into());
        let ignore = u8::try_from(ignore)
            .map_err(|_| format!("ignore_index is {ignore}, expected 0 to 255"))?;
        let mut classes = self.classes.unwrap_or_default();
        classes.sort_by_key(|class| class.id);
        if !classes.iter().map(|class| class.id).eq(0..classes.len()) {
            return Err("the ids of classes are not 0, 1, 2, ...".into());
        }
        let (own, colours): (Vec<String>, Vec<Vec<Rgb>>) = classes
            .into_iter()
            .map(|class| (class.name, both(class.color, class.colors)))
            .unzip();
        let names = self.names.unwrap_or(own);
        for got in [names.len(), colours.len()] {
            if got != 0 && got != count {
                return Err(format!("{got} names, expected {count}"));
            }
        }
        let first: Option<Vec<Rgb>> = colours.iter().map(|c| c.first().copied()).collect();
        let void = both(self.ignore_color, self.ignore_colors);
        Ok(Classes {
            count,
            names,
            ignore,
            colours: first.unwrap_or_default(),
            table: Colours::new(&colours, &void),
        })
    }
}

/// One colour and more of them.
fn both(one: Option<Rgb>, more: Option<Vec<Rgb>>) -> Vec<Rgb> {
    one.into_iter().chain(more.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Classes>> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("classes.json"), text).unwrap();
        Classes::read(folder.path())
    }

    #[test]
    fn both_forms_of_names_are_read() {
        let expected = Classes {
            count: 2,
            names: vec!["ground".into(), "polyp".into()],
            ignore: 7,
            ..Classes::unnamed(2)
        };
        let short = r#"{"num_classes": 2, "names": ["ground", "polyp"], "ignore_index": 7}"#;
        assert_eq!(read(short).unwrap().unwrap(), expected);
        let long = r#"{"num_classes": 2, "ignore_index": 7, "dataset": "x",
            "classes": [{"id": 1, "name": "polyp", "color": [1, 2, 3]}, {"id": 0, "name": "ground"}]}"#;
        assert_eq!(read(long).unwrap().unwrap(), expected);
        assert_eq!(
            read(r#"{"num_classes": 255}"#).unwrap().unwrap(),
            Classes::unnamed(255)
        );
    }

    #[test]
    fn colours_are_read_where_every_class_has_its_own() {
        let classes = |more: &str, second: &str| {
            let text = format!(
                r#"{{"num_classes": 2, {more} "classes": [{{"id": 0, "name": "a", "color": [1, 2, 3]}},
                {{"id": 1, "name": "b", {second}}}]}}"#
            );
            read(&text).unwrap().unwrap()
        };
        let two = classes(
            r#""ignore_color": [0, 0, 0], "ignore_colors": [[7, 7, 7]],"#,
            r#""colors": [[4, 5, 6], [8, 8, 8]]"#,
        );
        assert_eq!(two.colours, [[1, 2, 3], [4, 5, 6]]);
        let table = two.table.unwrap();
        assert_eq!(
            [[1, 2, 3], [8, 8, 8], [7, 7, 7], [0, 0, 0], [2, 2, 2]].map(|c| table.class(c)),
            [Some(0), Some(1), Some(VOID), Some(VOID), None]
        );
        let alike = classes("", r#""color": [1, 2, 3]"#);
        assert_eq!((alike.colours.len(), alike.table), (2, None));
        let lacking = classes("", r#""note": 1"#);
        assert_eq!((lacking.colours.len(), lacking.table), (0, None));
    }

    #[test]
    fn no_file_is_no_list() {
        assert_eq!(
            Classes::read(tempfile::tempdir().unwrap().path()).unwrap(),
            None
        );
    }

    #[test]
    fn class_list() {
        for (text, expected) in [
            ("{", "EOF"),
            ("{}", "num_classes"),
            (r#"{"num_classes": 0}"#, "num_classes is 0"),
            (r#"{"num_classes": 256}"#, "num_classes is 256"),
            (
                r#"{"num_classes": 2, "ignore_index": -100}"#,
                "ignore_index is -100",
            ),
            (
                r#"{"num_classes": 2, "names": ["a"]}"#,
                "1 names, expected 2",
            ),
            (
                r#"{"num_classes": 1, "classes": [{"id": 1, "name": "a"}]}"#,
                "not 0, 1, 2",
            ),
            (
                r##"{"num_classes": 1, "classes": [{"id": 0, "name": "a", "color": "#000"}]}"##,
                "expected an array of length 3",
            ),
            (
                r#"{"num_classes": 1, "classes": [{"id": 0, "name": "a", "color": [0, 0, 256]}]}"#,
                "256",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                matches!(error, Error::ClassList { .. }) && error.to_string().contains(expected),
                "{error}"
            );
        }
    }
}
