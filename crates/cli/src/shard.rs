//! Parts of the images: picture k belongs to shard k mod N.

use std::fmt;
use std::str::FromStr;

/// Most shards there can be.
const MOST: u32 = 1 << 20;

/// Some of N equal parts, at least one, rising. Written `0/4`; merged ones `0,2/4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    parts: Vec<u32>,
    of: u32,
}

impl Shard {
    /// Some of `of` parts, in any order; `None` of none, of parts that are not there, or twice.
    pub fn new(mut parts: Vec<u32>, of: u32) -> Option<Self> {
        parts.sort_unstable();
        let apart = parts.windows(2).all(|pair| pair[0] < pair[1]);
        let last = *parts.last()?;
        (apart && last < of && of <= MOST).then_some(Self { parts, of })
    }

    /// All images.
    pub fn whole() -> Self {
        Self {
            parts: vec![0],
            of: 1,
        }
    }

    /// Number of parts in all.
    pub fn of(&self) -> u32 {
        self.of
    }

    /// The parts that are here.
    pub fn parts(&self) -> &[u32] {
        &self.parts
    }

    /// The parts that are not.
    pub fn missing(&self) -> Vec<u32> {
        let here = |part: &u32| self.parts.contains(part);
        (0..self.of).filter(|part| !here(part)).collect()
    }

    /// Whether the image of this index is here.
    pub fn has(&self, index: usize) -> bool {
        let part = index % self.of as usize;
        self.parts.iter().any(|&here| here as usize == part)
    }

    /// How many of so many images are here.
    pub fn count(&self, images: usize) -> usize {
        let of = self.of as usize;
        let extra = |part: &&u32| (**part as usize) < images % of;
        images / of * self.parts.len() + self.parts.iter().filter(extra).count()
    }

    /// Name of the file of its rows: shards can share a folder.
    pub fn file_name(shard: Option<&Self>) -> String {
        match shard {
            None => "rows.jsonl".into(),
            Some(shard) => format!("rows-{}-of-{}.jsonl", listed(&shard.parts, "+"), shard.of),
        }
    }
}

/// Numbers with something between.
pub fn listed(numbers: &[u32], between: &str) -> String {
    let words: Vec<_> = numbers.iter().map(u32::to_string).collect();
    words.join(between)
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", listed(&self.parts, ","), self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (parts, of) = text.split_once('/')?;
            let parts: Option<Vec<u32>> = parts.split(',').map(|part| part.parse().ok()).collect();
            Shard::new(parts?, of.parse().ok()?)
        };
        read().ok_or_else(|| {
            format!("{text:?} is no shard, expected I/N with I from 0 to N - 1, for example 0/4")
        })
    }
}

/// One part, as a process is given it.
pub fn one(text: &str) -> Result<Shard, String> {
    let shard: Shard = text.parse()?;
    match shard.parts.len() {
        1 => Ok(shard),
        _ => Err(format!(
            "{text:?} are several shards, expected one, for example 0/4"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_in_one_shard() {
        for (images, of) in [(0, 3), (1, 3), (7, 3), (9, 3), (5, 1)] {
            let shards = (0..of).map(|part| Shard::new(vec![part], of).unwrap());
            let shards: Vec<_> = shards.collect();
            for index in 0..images {
                assert_eq!(shards.iter().filter(|s| s.has(index)).count(), 1);
            }
            let counts = shards.iter().map(|shard| shard.count(images));
            assert_eq!(counts.sum::<usize>(), images);
            for shard in &shards {
                assert_eq!(
                    shard.count(images),
                    (0..images).filter(|&i| shard.has(i)).count()
                );
            }
        }
        let two: Shard = "0,2/4".parse().unwrap();
        assert_eq!(two.count(7), (0..7).filter(|&i| two.has(i)).count());
        assert_eq!(two.missing(), [1, 3]);
    }

    #[test]
    fn shards_as_text() {
        for text in ["0/1", "3/4", "0,2/4"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "1",
            "/",
            "1/1",
            "-1/4",
            "0/0",
            "0,0/4",
            "a/4",
            "0/9999999",
        ] {
            let error = bad.parse::<Shard>().unwrap_err();
            assert!(error.contains("I/N"), "{bad}");
        }
        assert!(one("0,1/4").unwrap_err().contains("several"));
        assert!(one("1/4").is_ok());
    }

    #[test]
    fn shards_have_files_of_their_own() {
        let name = |text: &str| Shard::file_name(Some(&text.parse().unwrap()));
        assert_eq!(Shard::file_name(None), "rows.jsonl");
        assert_eq!(name("0/4"), "rows-0-of-4.jsonl");
        assert_eq!(name("0,2/4"), "rows-0+2-of-4.jsonl");
    }
}
