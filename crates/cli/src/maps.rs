//! Maps of one picture for viewers and sliders: names and numbers as the README tells.

use std::path::{Path, PathBuf};

use anyhow::Result;
use certiseg_cert::{Certificate, Margins};
use certiseg_net::data::{Map, write_maps};

use crate::fail::Usage;

/// The maps of one picture, by name.
pub struct Maps<'a> {
    margins: &'a Margins<'a>,
    maps: Vec<(String, Map)>,
}

impl<'a> Maps<'a> {
    /// None yet.
    pub fn new(margins: &'a Margins<'a>) -> Self {
        Maps {
            margins,
            maps: Vec::new(),
        }
    }

    /// Those of one metric.
    pub fn add(&mut self, certificate: &Certificate) -> Result<()> {
        let name = certificate.metric().to_string().replace([':', '-'], "_");
        if let Some(budgets) = certificate.flip_budgets()? {
            self.maps
                .push((format!("budget_{name}"), Map::Floats(budgets)));
        }
        if let Some([lose, gain]) = certificate.ranks()? {
            self.maps.push((format!("lose_{name}"), Map::Places(lose)));
            self.maps.push((format!("gain_{name}"), Map::Places(gain)));
        }
        Ok(())
    }

    /// DIR/ID.npz.
    pub fn file(dir: &Path, id: &str) -> PathBuf {
        // names of pictures may be paths
        dir.join(format!("{}.npz", id.replace(['/', '\\', ':'], "__")))
    }

    /// DIR/ID.npz, which must not be there, since it may be somebody's logits; but where the image is
    /// `redone` an earlier run may have left it. `flag` names DIR.
    pub fn place(dir: &Path, id: &str, redone: bool, flag: &str) -> Result<PathBuf> {
        let path = Self::file(dir, id);
        if path.exists() && !redone {
            return Err(Usage::error(
                format!("{} exists already", path.display()),
                format!("give {flag} a new or empty folder"),
            ));
        }
        Ok(path)
    }

    /// Writes them there.
    pub fn write(mut self, path: &Path) -> Result<()> {
        let grid = self.margins.image().grid();
        let predictions = Map::Bytes(self.margins.predictions().to_vec());
        self.maps.push(("prediction".into(), predictions));
        self.maps
            .push(("radius".into(), Map::Floats(self.margins.radii_f32())));
        Ok(write_maps(path, &[grid.height, grid.width], &self.maps)?)
    }
}
