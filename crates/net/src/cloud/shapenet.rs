//! ShapeNet part as it is downloaded (`shapenetcore_partanno_segmentation_benchmark_v0_normal`).
//!
//! `synsetoffset2category.txt` names a folder for each category; `OFFSET/MODEL.txt` has lines `x y z nx ny nz
//! label`, labels as `45.000000`, parts numbered over all categories; and
//! `train_test_split/shuffled_SPLIT_file_list.json` lists `shape_data/OFFSET/MODEL`. A cloud is brought to its
//! centroid and norm 1 first, and resampled then.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::chance::Chance;
use super::{Catalogue, Cloud, normalised};
use crate::checkpoint::read;
use crate::error::{Error, Result};
use crate::smooth::{Philox, Stream, image_number};

/// Names and numbers of parts, in the order of the alphabet.
const CATEGORIES: [(&str, u8); 16] = [
    ("Airplane", 4),
    ("Bag", 2),
    ("Cap", 2),
    ("Car", 4),
    ("Chair", 4),
    ("Earphone", 3),
    ("Guitar", 3),
    ("Knife", 2),
    ("Lamp", 4),
    ("Laptop", 2),
    ("Motorbike", 6),
    ("Mug", 2),
    ("Pistol", 3),
    ("Rocket", 3),
    ("Skateboard", 3),
    ("Table", 3),
];

const OFFSETS: &str = "synsetoffset2category.txt";
const ROOT: &str = "shapenetcore_partanno_segmentation_benchmark_v0_normal";

/// Numbers of a line.
const COLUMNS: usize = 7;

/// Of a line that is shown.
const SHOWN: usize = 60;

/// The 16 categories and their 50 parts.
pub fn catalogue() -> Catalogue {
    let mut end = 0;
    let parts = CATEGORIES.map(|(_, count)| {
        let start = end;
        end += count;
        start..end
    });
    Catalogue {
        names: CATEGORIES.map(|(name, _)| name.to_owned()).to_vec(),
        parts: parts.to_vec(),
    }
}

/// How points of a cloud are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resample {
    /// How many, with replacement, as the published figures have it.
    pub points: usize,
    /// Once for each shape; the same whatever samples are drawn of it.
    pub seed: u64,
}

/// A download.
#[derive(Clone, Debug)]
pub struct ShapeNet {
    dir: PathBuf,
    /// Category by folder.
    categories: HashMap<String, u8>,
}

/// A cloud of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// OFFSET/MODEL: models of two categories may share a name.
    pub id: String,
    /// Its category.
    pub category: u8,
    path: PathBuf,
}

impl ShapeNet {
    /// Of the folder that holds it, or the one above.
    ///
    /// # Errors
    /// [`Error::MissingFolder`] where there is none; [`Error::BadLine`] for categories that are not known or named
    /// twice.
    pub fn open(dir: &Path) -> Result<Self> {
        let looked = [dir.to_owned(), dir.join(ROOT)];
        let found = looked.iter().find(|dir| dir.join(OFFSETS).is_file());
        let Some(found) = found else {
            return Err(Error::MissingFolder {
                layout: "ShapeNet part",
                dir: dir.to_owned(),
                looked: looked.map(|dir| dir.join(OFFSETS)).to_vec(),
            });
        };
        let path = found.join(OFFSETS);
        let mut categories = HashMap::new();
        let mut seen = BTreeSet::new();
        for (line, text) in lines(&path)? {
            let words: Vec<&str> = text.split_whitespace().collect();
            let known = |name: &str| CATEGORIES.iter().position(|(known, _)| *known == name);
            let entry = match words[..] {
                [name, offset] => known(name).map(|category| (category as u8, offset)),
                _ => None,
            };
            let fresh = entry.filter(|(category, offset)| {
                seen.insert(*category) && !categories.contains_key(*offset)
            });
            let Some((category, offset)) = fresh else {
                let expected = "CATEGORY OFFSET, one of the 16 categories, each once";
                return Err(bad_line(&path, line, &text, expected.into()));
            };
            categories.insert(offset.to_owned(), category);
        }
        Ok(ShapeNet {
            dir: found.clone(),
            categories,
        })
    }

    /// The clouds of a split, `train`, `val` or `test`, in the order of its list.
    ///
    /// # Errors
    /// [`Error::MissingSplit`]; [`Error::ClassList`] for what is no list; [`Error::ListedTwice`];
    /// [`Error::MissingImage`] for a folder that is no category; [`Error::Empty`].
    pub fn split(&self, split: &str) -> Result<Vec<Listed>> {
        let file = format!("shuffled_{split}_file_list.json");
        let path = self.dir.join("train_test_split").join(file);
        if !path.is_file() {
            let split = split.to_owned();
            let looked = vec![path];
            return Err(Error::MissingSplit { split, looked });
        }
        let names: Vec<String> =
            serde_json::from_slice(&read(&path)?).map_err(|error| Error::ClassList {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        let mut seen = BTreeSet::new();
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            let missing = || Error::MissingImage {
                id: name.clone(),
                folder: self.dir.clone(),
            };
            // shape_data/OFFSET/MODEL
            let mut words = name.rsplit('/');
            let (model, offset) = (words.next(), words.next());
            let (Some(model), Some(offset)) = (model, offset) else {
                return Err(missing());
            };
            let category = self.categories.get(offset).copied().ok_or_else(missing)?;
            let id = format!("{offset}/{model}");
            if !seen.insert(id.clone()) {
                let list = path.clone();
                return Err(Error::ListedTwice { list, id });
            }
            let file = self.dir.join(offset).join(format!("{model}.txt"));
            listed.push(Listed {
                id,
                category,
                path: file,
            });
        }
        match listed.is_empty() {
            true => Err(Error::Empty { path }),
            false => Ok(listed),
        }
    }
}

impl Listed {
    /// Bytes of its file.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn size(&self) -> Result<u64> {
        let file = std::fs::metadata(&self.path);
        let file = file.map_err(|source| Error::Unreadable {
            path: self.path.clone(),
            source,
        })?;
        Ok(file.len())
    }

    /// Reads it: all points, or some of them.
    ///
    /// # Errors
    /// [`Error::Unreadable`]; [`Error::BadLine`] for a line that is not seven finite numbers, the last a part of the
    /// category; [`Error::BadCloud`] for no points, or all in one place.
    pub fn load(&self, resample: Option<Resample>) -> Result<Cloud> {
        let catalogue = catalogue();
        let parts = catalogue.parts(self.category)?;
        let mut points = Vec::new();
        let (mut normals, mut labels) = (Vec::new(), Vec::new());
        for (line, text) in lines(&self.path)? {
            let expected = || {
                let name = &catalogue.names[usize::from(self.category)];
                let last = parts.end - 1;
                format!(
                    "x y z nx ny nz label, the label of {name} from {} to {last}",
                    parts.start
                )
            };
            let numbers = text.split_whitespace().map(str::parse::<f64>);
            let numbers: Vec<f64> = numbers.filter_map(|number| number.ok()).collect();
            let words = text.split_whitespace().count();
            let finite = numbers.iter().all(|number| number.is_finite());
            let label = parts
                .clone()
                .find(|part| numbers.last() == Some(&f64::from(*part)));
            match (&numbers[..], label) {
                ([x, y, z, u, v, w, _], Some(label)) if words == COLUMNS && finite => {
                    points.push([*x, *y, *z]);
                    normals.push(unit([*u, *v, *w]));
                    labels.push(label);
                }
                _ => return Err(bad_line(&self.path, line, &text, expected())),
            }
        }
        if points.is_empty() {
            return Err(Error::bad_cloud(&self.id, "no points".into()));
        }
        let points = normalised(&self.id, &points)?;
        let cloud = Cloud {
            id: self.id.clone(),
            category: self.category,
            points,
            normals,
            labels,
        };
        Ok(match resample {
            None => cloud,
            Some(resample) => resample.of(cloud),
        })
    }
}

impl Resample {
    fn of(self, cloud: Cloud) -> Cloud {
        let image = image_number(&cloud.id);
        let mut chance = Chance::new(Philox::new(self.seed, Stream::Data, image, 0));
        let count = cloud.points.len();
        let taken: Vec<usize> = (0..self.points).map(|_| chance.below(count)).collect();
        Cloud {
            points: taken.iter().map(|i| cloud.points[*i]).collect(),
            normals: taken.iter().map(|i| cloud.normals[*i]).collect(),
            labels: taken.iter().map(|i| cloud.labels[*i]).collect(),
            ..cloud
        }
    }
}

/// Of length 1; nothing where there is no direction.
fn unit(normal: [f64; 3]) -> [f32; 3] {
    let [x, y, z] = normal;
    let length = (x * x + y * y + z * z).sqrt();
    match length > 0.0 && length.is_finite() {
        true => normal.map(|value| (value / length) as f32),
        false => [0.0; 3],
    }
}

/// Lines that are not empty, with their numbers from 1.
fn lines(path: &Path) -> Result<Vec<(usize, String)>> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    // a mark at the very beginning, as some editors leave
    let text = text.trim_start_matches('\u{feff}');
    let all = text.lines().map(str::trim).enumerate();
    let filled = all.filter(|(_, line)| !line.is_empty());
    Ok(filled.map(|(i, line)| (i + 1, line.to_owned())).collect())
}

fn bad_line(path: &Path, line: usize, text: &str, expected: String) -> Error {
    Error::BadLine {
        path: path.to_owned(),
        line,
        got: text.chars().take(SHOWN).collect(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MUG: &str = "03797390";
    const TABLE: &str = "04379243";

    /// A download of two categories, written as the real one is.
    fn download(root: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join(root);
        let write = |name: &str, text: &str| {
            let path = base.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(OFFSETS, &format!("Mug\t{MUG}\r\nTable\t{TABLE}\r\n\r\n"));
        let mug = "1.0 2.0 3.0 0.0 0.0 1.0 36.000000\n3.0 2.0 3.0 0 2 0 37.000000\n1.0 2.0 7.0 0 0 0 36.000000\n";
        write(&format!("{MUG}/a.txt"), mug);
        // one name in two categories
        write(
            &format!("{TABLE}/a.txt"),
            &mug.replace("36.", "47.").replace("37.", "49."),
        );
        // strays
        write(&format!("{MUG}/._a.txt"), "x");
        write(&format!("{MUG}/Thumbs.db"), "x");
        let list = format!(r#"["shape_data/{TABLE}/a", "shape_data/{MUG}/a"]"#);
        write("train_test_split/shuffled_test_file_list.json", &list);
        dir
    }

    fn listed(dir: &tempfile::TempDir) -> Vec<Listed> {
        ShapeNet::open(dir.path()).unwrap().split("test").unwrap()
    }

    #[test]
    fn parts_are_those_of_the_download() {
        let catalogue = catalogue().check().unwrap();
        assert_eq!((catalogue.classes(), catalogue.names.len()), (50, 16));
        let of = |name: &str| {
            let at = catalogue.names.iter().position(|known| known == name);
            catalogue.parts[at.unwrap()].clone()
        };
        assert_eq!(
            (of("Airplane"), of("Motorbike"), of("Table")),
            (0..4, 30..36, 47..50)
        );
        assert_eq!(
            (of("Earphone"), of("Lamp"), of("Skateboard")),
            (16..19, 24..28, 44..47)
        );
    }

    #[test]
    fn clouds_are_read_in_the_order_of_the_list() {
        for root in ["", ROOT] {
            let dir = download(root);
            let all = listed(&dir);
            let ids: Vec<_> = all.iter().map(|listed| listed.id.as_str()).collect();
            assert_eq!(ids, [format!("{TABLE}/a"), format!("{MUG}/a")]);
            let mug = all[1].load(None).unwrap();
            mug.check(&catalogue()).unwrap();
            assert_eq!((mug.category, &mug.labels[..]), (11, &[36, 37, 36][..]));
            assert_eq!(mug.normals, [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0; 3]]);
            // the mean is (5/3, 2, 13/3); the third point is farthest
            let far = (4.0f64 / 9.0 + 64.0 / 9.0).sqrt();
            let want = [
                [-2.0 / 3.0, 0.0, -4.0 / 3.0],
                [4.0 / 3.0, 0.0, -4.0 / 3.0],
                [-2.0 / 3.0, 0.0, 8.0 / 3.0],
            ];
            for (got, want) in mug.points.iter().flatten().zip(want.iter().flatten()) {
                assert!((f64::from(*got) - want / far).abs() < 1e-7);
            }
            assert_eq!(all[0].load(None).unwrap().labels, [47, 49, 47]);
        }
    }

    #[test]
    fn points_are_drawn_once_and_after_norm_1() {
        let dir = download("");
        let all = listed(&dir);
        let of = |i: usize, points, seed| all[i].load(Some(Resample { points, seed })).unwrap();
        let whole = all[1].load(None).unwrap();
        let many = of(1, 300, 5);
        assert_eq!((many.points.len(), many.labels.len()), (300, 300));
        for (point, (normal, label)) in many
            .points
            .iter()
            .zip(many.normals.iter().zip(&many.labels))
        {
            let at = whole
                .points
                .iter()
                .position(|known| known == point)
                .unwrap();
            assert_eq!((normal, label), (&whole.normals[at], &whole.labels[at]));
        }
        for part in [36, 37] {
            assert!(many.labels.contains(&part));
        }
        assert_eq!(of(1, 300, 5), many);
        assert_ne!(of(1, 300, 6).points, many.points);
        // others of the same file name
        let other = of(0, 300, 5).labels;
        let same = other
            .iter()
            .zip(&many.labels)
            .filter(|(a, b)| (**a == 47) == (**b == 36));
        assert!(same.count() < 300);
    }

    #[test]
    fn bad_line() {
        let dir = download("");
        let path = dir.path().join(MUG).join("a.txt");
        for (text, why) in [
            ("1 2 3 0 0 1 36.5", "a label between two"),
            ("1 2 3 0 0 1 38.0", "a part of another category"),
            ("1 2 3 36.0", "a file without normals"),
            ("1 2 3 0 0 1 36.0 0", "a column more"),
            ("1 2 nan 0 0 1 36.0", "no number"),
            ("1 2 x 0 0 1 36.0", "a word"),
            ("1 2 1e999 0 0 1 36.0", "infinity"),
            ("1,2,3,0,0,1,36.0", "commas"),
        ] {
            fs::write(&path, format!("0 0 0 0 0 1 36.0\n\n{text}\n")).unwrap();
            let error = listed(&dir)[1].load(None).unwrap_err();
            assert!(
                matches!(error, Error::BadLine { line: 3, .. }),
                "{why}: {error}"
            );
            assert!(
                error.to_string().contains("of Mug from 36 to 37"),
                "{error}"
            );
        }
        let offsets = dir.path().join(OFFSETS);
        for text in ["Mug", "Mug 1\nMug 2", "Mug 1\nTable 1", "Spaceship 1"] {
            fs::write(&offsets, text).unwrap();
            let error = ShapeNet::open(dir.path()).unwrap_err();
            assert!(matches!(error, Error::BadLine { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn bad_cloud() {
        let dir = download("");
        let path = dir.path().join(MUG).join("a.txt");
        for text in ["", "\n\n", "1 2 3 0 0 1 36.0\n1 2 3 0 0 1 37.0\n"] {
            fs::write(&path, text).unwrap();
            let error = listed(&dir)[1].load(None).unwrap_err();
            assert!(matches!(error, Error::BadCloud { .. }), "{text:?}: {error}");
        }
        fs::remove_file(&path).unwrap();
        let error = listed(&dir)[1].load(None).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }));
    }

    #[test]
    fn lists_that_are_none() {
        let dir = download("");
        let list = dir
            .path()
            .join("train_test_split/shuffled_test_file_list.json");
        let error = |text: &str| {
            fs::write(&list, text).unwrap();
            let shapenet = ShapeNet::open(dir.path()).unwrap();
            shapenet.split("test").unwrap_err()
        };
        let twice = format!(r#"["shape_data/{MUG}/a", "shape_data/{MUG}/a"]"#);
        assert!(matches!(error(&twice), Error::ListedTwice { .. }));
        assert!(matches!(error("[]"), Error::Empty { .. }));
        assert!(matches!(error("{}"), Error::ClassList { .. }));
        assert!(matches!(error(r#"["a"]"#), Error::MissingImage { .. }));
        let other = r#"["shape_data/02691156/a"]"#;
        assert!(matches!(error(other), Error::MissingImage { .. }));
        let shapenet = ShapeNet::open(dir.path()).unwrap();
        assert!(matches!(
            shapenet.split("val"),
            Err(Error::MissingSplit { .. })
        ));
        let empty = tempfile::tempdir().unwrap();
        let error = ShapeNet::open(empty.path()).unwrap_err();
        assert!(matches!(error, Error::MissingFolder { .. }));
    }
}
