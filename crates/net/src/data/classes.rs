//! How many classes a data set has and what they are called.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use super::VOID;
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
}

/// `classes.json` as found in the wild: the names alone or objects that have one; other fields are left alone.
#[derive(Deserialize)]
struct File {
    num_classes: usize,
    ignore_index: Option<i64>,
    names: Option<Vec<String>>,
    classes: Option<Vec<Class>>,
}

#[derive(Deserialize)]
struct Class {
    id: usize,
    name: String,
}

impl Classes {
    /// Classes called `names`.
    pub(super) fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.map(str::to_owned).collect();
        Self {
            count: names.len(),
            names,
            ignore: VOID,
        }
    }

    /// What `classes.json` in `folder` says: `num_classes`, optionally `names` (or `classes` with `id` and `name`) and
    /// `ignore_index` (255). `None` if there is no such file.
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
        let names = match (self.names, self.classes) {
            (Some(names), _) => names,
            (None, Some(mut classes)) => {
                classes.sort_by_key(|class| class.id);
                if !classes.iter().map(|class| class.id).eq(0..classes.len()) {
                    return Err("the ids of classes are not 0, 1, 2, ...".into());
                }
                classes.into_iter().map(|class| class.name).collect()
            }
            (None, None) => Vec::new(),
        };
        if !names.is_empty() && names.len() != count {
            return Err(format!("{} names, expected {count}", names.len()));
        }
        Ok(Classes {
            count,
            names,
            ignore,
        })
    }
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
        };
        let short = r#"{"num_classes": 2, "names": ["ground", "polyp"], "ignore_index": 7}"#;
        assert_eq!(read(short).unwrap().unwrap(), expected);
        let long = r#"{"num_classes": 2, "ignore_index": 7, "dataset": "x",
            "classes": [{"id": 1, "name": "polyp", "color": [1, 2, 3]}, {"id": 0, "name": "ground"}]}"#;
        assert_eq!(read(long).unwrap().unwrap(), expected);
        assert_eq!(
            read(r#"{"num_classes": 255}"#).unwrap().unwrap(),
            Classes {
                count: 255,
                names: vec![],
                ignore: 255
            }
        );
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
        ] {
            let error = read(text).unwrap_err();
            assert!(
                matches!(error, Error::ClassList { .. }) && error.to_string().contains(expected),
                "{error}"
            );
        }
    }
}
