//! Where a data set lies, and a look at all of it.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use certiseg_net::data::{Catalogue, Layout, Survey, catalogue, guess, survey};
use clap::Args;

use crate::interrupt;
use crate::progress::Progress;

/// Flags that say where the data is.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// Folder of the data set
    pub dir: PathBuf,
    /// kvasir, pets, camvid, cityscapes, voc, context, folder, images (without masks); auto: told from the folders
    #[arg(long, default_value = "auto")]
    pub layout: Choice,
    /// One split: SPLIT.txt or a sub-folder; without it, all there are
    #[arg(long)]
    pub split: Option<String>,
}

/// A layout, or the wish to have it guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// From the folders.
    Auto,
    /// This one.
    Named(Layout),
}

impl FromStr for Choice {
    type Err = certiseg_net::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Choice::Auto),
            name => name.parse().map(Choice::Named),
        }
    }
}

/// A data set that was found.
pub struct Found {
    /// Its pictures.
    pub catalogue: Catalogue,
    /// How the layout is known.
    pub why: String,
}

impl Place {
    /// Lists the pictures.
    pub fn open(&self) -> Result<Found> {
        let (layout, why) = match self.layout {
            Choice::Named(layout) => (layout, "as asked".into()),
            Choice::Auto => {
                let guess = guess(&self.dir)?;
                (guess.layout, guess.why)
            }
        };
        let catalogue = catalogue(&self.dir, layout, self.split.as_deref())?;
        Ok(Found { catalogue, why })
    }
}

impl Found {
    /// Looks at every picture; `None` if Ctrl-C asked to stop.
    pub fn survey(&self) -> Result<Option<Survey>> {
        interrupt::listen()?;
        let progress = Progress::new("pictures", self.catalogue.entries.len());
        let step = |done| progress.set(done, "");
        let survey = survey(&self.catalogue, &step, &interrupt::asked);
        progress.finish();
        Ok(survey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_named_or_guessed() {
        assert_eq!("auto".parse::<Choice>().unwrap(), Choice::Auto);
        assert_eq!("voc".parse::<Choice>().unwrap(), Choice::Named(Layout::Voc));
        let error = "coco".parse::<Choice>().unwrap_err().to_string();
        assert!(error.contains("no layout is called \"coco\""), "{error}");
    }
}
