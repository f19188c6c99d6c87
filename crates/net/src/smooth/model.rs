//! What is smoothed: anything that gives a label map for a noisy picture.
//!
//! Noise is added before, in the unit and at the size of the picture; whatever a model does with the
//! result (cut, resize, flip, normalise) is part of it. It sees one picture at a time, so that no draw
//! can depend on another.

use certiseg_cert::smoothing::ABSTAIN;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::scale::{mirrored, scaled};
use crate::data::hex;
use crate::error::{Error, Result};
use crate::infer::{Inference, Pool};
use crate::network::Network;
use crate::node::{check_size, total_stride};

/// Called with every tensor that enters the first layer, just before it does, in the same order for each
/// picture: what the canary hashes.
pub type Enter<'a> = dyn FnMut(&[f32]) + 'a;

/// A deterministic function from noisy pictures to labels.
pub trait Model: Sync {
    /// Height and width of its pictures.
    fn size(&self) -> [usize; 2];

    /// Number of classes, at most 253.
    fn classes(&self) -> usize;

    /// Passes through the network for one picture: its scales and flips.
    fn forwards(&self) -> u64 {
        1
    }

    /// What tells it from other models, in a word.
    fn identity(&self) -> String;

    /// Class of each pixel of a picture (3, H, W) in [0, 1] units, which may lie outside [0, 1].
    ///
    /// # Errors
    /// Those of the network.
    fn labels(&self, picture: &[f32], enter: &mut Enter) -> Result<Vec<u8>>;

    /// Its scores (K, H, W), where it has any: for the mean logits of the hybrid.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it has none; those of the network.
    fn logits(&self, _picture: &[f32], _enter: &mut Enter) -> Result<Vec<f32>> {
        let what = "the mean of the logits of a model that gives labels only";
        Err(Error::unsupported(what.into(), "count its votes"))
    }
}

/// Ways of looking at a picture: their scores are brought back to its size and averaged before the one
/// argmax.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// Sides of the picture are multiplied by these, to the nearest that fits the network.
    pub scales: Vec<f64>,
    /// Each scale also mirrored, left to right.
    pub flip: bool,
}

impl Default for Views {
    fn default() -> Self {
        Views {
            scales: vec![1.0],
            flip: false,
        }
    }
}

impl Views {
    /// Passes for one picture.
    pub fn count(&self) -> usize {
        self.scales.len() * (1 + usize::from(self.flip))
    }
}

/// A baked network with its views.
pub struct NetworkModel {
    /// Of each scale.
    passes: Vec<([usize; 2], Pool<f32>)>,
    flip: bool,
    size: [usize; 2],
    classes: usize,
    identity: String,
}

impl NetworkModel {
    /// For pictures (3, `height`, `width`).
    ///
    /// # Errors
    /// [`Error::Setting`] for no scales, one twice or one that is not above 0, and for more classes than labels;
    /// [`Error::ImageSize`].
    pub fn new(network: &Network, size: [usize; 2], views: &Views) -> Result<Self> {
        check_size(&network.nodes, size[0], size[1])?;
        if views.scales.is_empty() {
            return Err(Error::setting("scales", "empty", "at least one"));
        }
        if (1..views.scales.len()).any(|i| views.scales[..i].contains(&views.scales[i])) {
            return Err(Error::setting(
                "scales",
                format!("{:?}", views.scales),
                "each number once",
            ));
        }
        let multiple = total_stride(&network.nodes);
        let mut passes = Vec::new();
        for &scale in &views.scales {
            if !(scale > 0.0 && scale <= 16.0) {
                let expected = "numbers above 0, up to 16";
                return Err(Error::setting("scales", scale.to_string(), expected));
            }
            let side = |side: usize| {
                let times = (side as f64 * scale / multiple as f64).round();
                multiple * (times as usize).max(1)
            };
            let size = if scale == 1.0 { size } else { size.map(side) };
            let [height, width] = size;
            passes.push((size, Pool::new(Inference::new(network, height, width)?)));
        }
        let model = NetworkModel {
            passes,
            flip: views.flip,
            size,
            classes: network.classes(),
            identity: identity(network, views),
        };
        Ok(model)
    }
}

/// SHA-256 of nodes, weights and views.
fn identity(network: &Network, views: &Views) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{:?}\n{views:?}\n", network.nodes));
    for (name, values) in &network.tensors {
        hash.update(format!("{name} {}\n", values.len()));
        values.iter().for_each(|v| hash.update(v.to_le_bytes()));
    }
    hex(&hash.finalize())
}

impl Model for NetworkModel {
    fn size(&self) -> [usize; 2] {
        self.size
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn forwards(&self) -> u64 {
        self.passes.len() as u64 * (1 + u64::from(self.flip))
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn labels(&self, picture: &[f32], enter: &mut Enter) -> Result<Vec<u8>> {
        Ok(argmax(&self.logits(picture, enter)?, self.classes))
    }

    fn logits(&self, picture: &[f32], enter: &mut Enter) -> Result<Vec<f32>> {
        let mut sums: Vec<f32> = Vec::new();
        for (size, pool) in &self.passes {
            let seen = scaled(picture, self.size, *size);
            for flip in [false, true].into_iter().take(1 + usize::from(self.flip)) {
                let turned = flip.then(|| mirrored(&seen, size[1]));
                let input = turned.as_ref().unwrap_or(&seen);
                enter(input);
                let scores = pool.with(|pass| pass.forward(input).map(<[f32]>::to_vec))?;
                let scores = match flip {
                    true => mirrored(&scores, size[1]),
                    false => scores,
                };
                let scores = match *size == self.size {
                    true => scores,
                    false => scaled(&scores, *size, self.size),
                };
                match sums.is_empty() {
                    true => sums = scores,
                    false => sums.iter_mut().zip(scores).for_each(|(sum, s)| *sum += s),
                }
            }
        }
        let views = self.forwards() as f32;
        if views > 1.0 {
            sums.iter_mut().for_each(|sum| *sum /= views);
        }
        Ok(sums)
    }
}

/// Class of the largest score of each pixel, ties to the lowest; scores are (K, pixels).
pub fn argmax(scores: &[f32], classes: usize) -> Vec<u8> {
    let pixels = scores.len() / classes.max(1);
    let mut best = scores[..pixels].to_vec();
    let mut labels = vec![0; pixels];
    for class in 1..classes.min(usize::from(ABSTAIN)) {
        let rivals = &scores[class * pixels..][..pixels];
        for ((label, best), rival) in labels.iter_mut().zip(&mut best).zip(rivals) {
            if rival > best {
                (*best, *label) = (*rival, class as u8);
            }
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, Size};
    use crate::parameters::Parameters;

    fn network() -> Network {
        let settings = Architecture {
            size: Size::Xs,
            classes: 3,
            rates: vec![1, 2],
            ..Architecture::default()
        };
        let nodes = settings.resolve(16).unwrap().nodes();
        Parameters::start(&nodes, 3).bake(&nodes).unwrap()
    }

    fn picture() -> Vec<f32> {
        (0..3 * 256)
            .map(|i| (i * 37 % 101) as f32 / 50.0 - 0.5)
            .collect()
    }

    fn model(scales: &[f64], flip: bool) -> NetworkModel {
        let views = Views {
            scales: scales.to_vec(),
            flip,
        };
        let model = NetworkModel::new(&network(), [16, 16], &views).unwrap();
        assert_eq!(model.forwards(), views.count() as u64);
        model
    }

    fn logits(model: &NetworkModel, picture: &[f32]) -> (Vec<f32>, Vec<usize>) {
        let mut entered = Vec::new();
        let logits = model.logits(picture, &mut |tensor| entered.push(tensor.len()));
        (logits.unwrap(), entered)
    }

    #[test]
    fn one_view_is_the_network() {
        let (got, entered) = logits(&model(&[1.0], false), &picture());
        let mut pass = Inference::<f32>::new(&network(), 16, 16).unwrap();
        assert_eq!(got, pass.forward(&picture()).unwrap());
        assert_eq!(entered, [3 * 256]);
    }

    #[test]
    fn scores_of_views_are_averaged_at_the_size_of_the_picture() {
        let (plain, _) = logits(&model(&[1.0], false), &picture());
        let (turned, _) = logits(&model(&[1.0], false), &mirrored(&picture(), 16));
        let (both, entered) = logits(&model(&[1.0], true), &picture());
        let back = mirrored(&turned, 16);
        let mean = plain.iter().zip(&back).map(|(a, b)| (a + b) / 2.0);
        assert_eq!(both, mean.collect::<Vec<_>>());
        assert_eq!(entered.len(), 2);

        let (larger, entered) = logits(&model(&[2.0], false), &picture());
        let mut pass = Inference::<f32>::new(&network(), 32, 32).unwrap();
        let wide = scaled(&picture(), [16, 16], [32, 32]);
        let scores = scaled(pass.forward(&wide).unwrap(), [32, 32], [16, 16]);
        assert_eq!((larger, entered), (scores, vec![3 * 1024]));
        let (_, entered) = logits(&model(&[1.0, 2.0], true), &picture());
        assert_eq!(entered, [768, 768, 3072, 3072]);
        assert_ne!(
            model(&[1.0], true).identity(),
            model(&[1.0], false).identity()
        );
    }

    #[test]
    fn ties_go_to_the_lowest_class() {
        let scores = [1.0, 0.0, -1.0, 1.0, 2.0, -1.0, 0.0, 2.0, -2.0];
        assert_eq!(argmax(&scores, 3), [0, 1, 0]);
    }

    #[test]
    fn views_out_of_range() {
        let refused = |scales: Vec<f64>| {
            let views = Views {
                scales,
                flip: false,
            };
            let error = NetworkModel::new(&network(), [16, 16], &views).err();
            matches!(error, Some(Error::Setting { .. }))
        };
        assert!(refused(vec![]) && refused(vec![0.0]) && refused(vec![1.0, f64::NAN]));
        assert!(refused(vec![1.0, 0.5, 1.0]));
        let odd = NetworkModel::new(&network(), [15, 16], &Views::default());
        assert!(matches!(odd.err(), Some(Error::ImageSize { .. })));
    }
}
