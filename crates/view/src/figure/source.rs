//! What figures are drawn from, and the line that says so.

use std::collections::BTreeSet;

use crate::alike::{budgets, same, values};
use crate::{Picture, Result, Run};

/// A run under the name that people read.
#[derive(Debug)]
pub struct Labelled {
    /// None for one of the figure's choice.
    pub label: Option<String>,
    /// Its rows.
    pub run: Run,
}

impl Labelled {
    /// Its label, or the last part of its path that tells something.
    pub(super) fn name(&self) -> String {
        match &self.label {
            Some(label) => label.clone(),
            None => base(&self.run.name),
        }
    }
}

/// A picture that was attacked.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Name of the image.
    pub id: String,
    /// Height, width.
    pub size: [usize; 2],
    /// (3, H, W), in [0, 1].
    pub clean: Vec<f32>,
    /// The same after the attack on the first criterion.
    pub attacked: Vec<f32>,
    /// Within this budget.
    pub eps: f64,
}

/// What a figure is drawn from.
#[derive(Debug, Default)]
pub struct Material {
    /// In the order given.
    pub runs: Vec<Labelled>,
    /// With maps.
    pub pictures: Vec<Picture>,
    /// Attacked.
    pub saved: Vec<Saved>,
}

/// The last part of a path that tells something.
pub(super) fn base(path: &str) -> String {
    let parts: Vec<&str> = path
        .split(['/', '\\'])
        .filter(|part| !part.is_empty())
        .collect();
    let telling = |part: &&&str| !["rows.jsonl", "model.safetensors", "."].contains(*part);
    let part = parts.iter().rev().find(telling).or(parts.last());
    let part = part.copied().unwrap_or(path);
    let known = [".jsonl", ".safetensors"];
    let stem = known.iter().find_map(|ending| part.strip_suffix(ending));
    stem.unwrap_or(part).into()
}

/// Network, data, images, seed and version of runs, the most telling first.
pub(super) fn about<'a>(runs: impl IntoIterator<Item = &'a Run>, images: usize) -> Vec<String> {
    let runs: Vec<&Run> = runs.into_iter().collect();
    let each = |read: &dyn Fn(&Run) -> Option<String>| -> Option<String> {
        let all: BTreeSet<String> = runs.iter().filter_map(|run| read(run)).collect();
        match all.len() {
            0 => None,
            1..=2 => Some(all.into_iter().collect::<Vec<_>>().join(", ")),
            several => Some(format!("({several} different ones)")),
        }
    };
    let network = each(&|run| run.deep("model").map(|path| base(&path)));
    let hash = each(&|run| {
        run.deep("model_hash")
            .map(|hash| hash.chars().take(8).collect())
    });
    let data = each(&|run| run.deep("data").map(|path| base(&path)));
    let split = each(&|run| run.deep("split").map(|path| base(&path)));
    let size = each(&|run| size(run));
    let seed = each(&|run| {
        let seed = run.head.seed.map(|seed| seed.to_string());
        seed.or_else(|| run.deep("seed"))
    });
    let version = each(&|run| {
        let git = run.head.git.as_deref().map(|git| format!(" ({git})"));
        Some(format!(
            "{} {}{}",
            run.head.program,
            run.head.version,
            git.unwrap_or_default()
        ))
    });
    let data = match (data, split) {
        (Some(data), Some(split)) => Some(format!("{data}, {split}")),
        (data, _) => data,
    };
    let images = match images {
        0 => None,
        1 => Some("1 image".to_owned()),
        images => Some(format!("{images} images")),
    };
    let images = match (images, size) {
        (Some(images), Some(size)) => Some(format!("{images} of {size}")),
        (images, _) => images,
    };
    let parts = [
        network.map(|network| format!("network {network}")),
        data.map(|data| format!("data {data}")),
        images,
        seed.map(|seed| format!("seed {seed}")),
        version,
        hash.map(|hash| format!("weights {hash}")),
    ];
    parts.into_iter().flatten().collect()
}

fn size(run: &Run) -> Option<String> {
    let size: Vec<u64> = serde_json::from_str(&run.deep("size")?).ok()?;
    match size[..] {
        [height, width] => Some(format!("{height}x{width}")),
        _ => None,
    }
}

impl Run {
    /// A setting, at the top or of the network under noise.
    fn deep(&self, name: &str) -> Option<String> {
        let inner = || match self.head.settings.get("network")?.get(name)? {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        self.setting(name).or_else(inner)
    }
}

/// [`crate::Error::Mixed`] unless all runs that state them have the weights, the size, the norm and the pixels of the
/// first.
pub(super) fn alike(runs: &[&Run]) -> Result<()> {
    same(runs, "network", &|run| run.deep("model_hash"))?;
    same(runs, "size of pictures", &size)?;
    values(runs)?;
    budgets(runs)
}

/// [`crate::Error::Mixed`] unless runs of several networks are of the same pictures, and budgets of one norm and tensor.
pub(super) fn same_pictures(runs: &[&Run]) -> Result<()> {
    // what stands for the data of logits from anywhere is the file of logits, another for each network
    let pictures = |run: &Run| {
        run.deep("data_hash")
            .filter(|_| run.deep("logits").is_none())
    };
    same(runs, "data", &pictures)?;
    same(runs, "size of pictures", &size)?;
    values(runs)?;
    budgets(runs)
}

/// [`crate::Error::Mixed`] unless runs are of one network, wherever its weights have no hash by its file.
pub(super) fn same_network(runs: &[&Run]) -> Result<()> {
    same(runs, "network", &|run| {
        run.deep("model_hash").or_else(|| run.deep("model"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::run;
    use super::*;

    #[test]
    fn names_are_short_and_tell_no_place() {
        assert_eq!(base("/home/me/runs/pgd/rows.jsonl"), "pgd");
        assert_eq!(base("runs/kvasir.jsonl"), "kvasir");
        assert_eq!(base("runs/s/model.safetensors"), "s");
        assert_eq!(base("rows.jsonl"), "rows");
    }

    #[test]
    fn captions_say_where_rows_come_from() {
        let settings =
            r#"{"model":"/a/b/net.safetensors","data":"c/shapes","size":[64,32],"split":null}"#;
        let run = run("r", settings, &[]);
        let about = about([&run], 3);
        assert_eq!(
            about,
            [
                "network net",
                "data shapes",
                "3 images of 64x32",
                "seed 7",
                "certiseg 0"
            ]
        );
    }

    #[test]
    fn runs_of_other_networks_are_refused() {
        let one = run("one", r#"{"model_hash":"a","size":[1,2]}"#, &[]);
        let two = run("two", r#"{"model_hash":"b","size":[1,2]}"#, &[]);
        let bare = run("bare", "{}", &[]);
        alike(&[&one, &bare, &one]).unwrap();
        let error = alike(&[&one, &two]).unwrap_err().to_string();
        assert_eq!(error, "two is of another network than one: b, expected a");
        let error = same_network(&[&one, &two]).unwrap_err().to_string();
        assert!(error.contains("another network"), "{error}");
    }

    #[test]
    fn runs_of_other_pictures_are_refused() {
        let one = run("one", r#"{"data_hash":"a","size":[1,2]}"#, &[]);
        let size = run("size", r#"{"data_hash":"a","size":[2,2]}"#, &[]);
        let data = run("data", r#"{"data_hash":"b","size":[1,2]}"#, &[]);
        let logits = |hash: &str| {
            let settings = format!(r#"{{"data_hash":"{hash}","logits":"{hash}.npz"}}"#);
            run(hash, &settings, &[])
        };
        same_pictures(&[&one, &one]).unwrap();
        same_pictures(&[&logits("c"), &logits("d")]).unwrap();
        for (other, what) in [(&size, "another size of pictures"), (&data, "another data")] {
            let error = same_pictures(&[&one, other]).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
