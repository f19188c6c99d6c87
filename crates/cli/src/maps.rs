//! Maps of one picture for viewers and sliders: names and numbers as the README tells.

use std::path::{Path, PathBuf};

use anyhow::Result;
use certiseg_cert::{Certificate, Margins};
use certiseg_net::data::{Map, write_arrays};

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

    /// Writes them there; `image` is the picture, (3,H,W), where there is one.
    pub fn write(mut self, path: &Path, image: Option<&[u8]>, label: Option<&[u8]>) -> Result<()> {
        let grid = self.margins.image().grid();
        let predictions = Map::Bytes(self.margins.predictions().to_vec());
        self.maps.push(("prediction".into(), predictions));
        self.maps
            .push(("radius".into(), Map::Floats(self.margins.radii_f32())));
        if let Some(label) = label {
            self.maps.push(("label".into(), Map::Bytes(label.to_vec())));
        }
        let size = [grid.height, grid.width];
        let coloured = [grid.height, grid.width, 3];
        let image = image.map(|image| Map::Bytes(channels_last(image)));
        let maps = self.maps.iter();
        let mut arrays: Vec<(&str, &[usize], &Map)> = maps
            .map(|(name, map)| (name.as_str(), &size[..], map))
            .collect();
        arrays.extend(image.iter().map(|map| ("image", &coloured[..], map)));
        Ok(write_arrays(path, &arrays)?)
    }
}

/// (3,H,W) as (H,W,3).
pub fn channels_last(image: &[u8]) -> Vec<u8> {
    let pixels = image.len() / 3;
    let pixel = |at: usize| [image[at], image[pixels + at], image[2 * pixels + at]];
    (0..pixels).flat_map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_last() {
        assert_eq!(channels_last(&[1, 2, 3, 4, 5, 6]), [1, 3, 5, 2, 4, 6]);
    }
}
