//! One picture and its maps, as `certify --maps` writes them.

use std::collections::BTreeMap;

/// The label of pixels that do not count.
pub const VOID: u8 = 255;

/// Maps of one picture; all but `image` are (H, W).
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Name of the image, as in the rows.
    pub id: String,
    /// Height, width.
    pub size: [usize; 2],
    /// (H, W, 3), 0 to 255; none for logits of others.
    pub image: Option<Vec<u8>>,
    /// Classes, [`VOID`] where a pixel does not count; none without a mask.
    pub label: Option<Vec<u8>>,
    /// Classes.
    pub prediction: Vec<u8>,
    /// Stability radius, unit of eps, rounded down.
    pub radius: Vec<f32>,
    /// By name, `budget_accuracy` and so on: the eps from which the worst attack takes the pixel, rounded down;
    /// infinite where it does not count.
    pub budgets: BTreeMap<String, Vec<f32>>,
}

impl Picture {
    /// Pixels that count and are wrong without an attack; none without a label.
    pub fn wrong(&self) -> Vec<bool> {
        let Some(label) = &self.label else {
            return vec![false; self.prediction.len()];
        };
        let pairs = label.iter().zip(&self.prediction);
        pairs
            .map(|(&label, &predicted)| label != VOID && label != predicted)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn void_pixels_are_never_wrong() {
        let mut picture = Picture {
            id: "a".into(),
            size: [1, 3],
            image: None,
            label: Some(vec![0, VOID, 1]),
            prediction: vec![1, 1, 1],
            radius: vec![0.0; 3],
            budgets: BTreeMap::new(),
        };
        assert_eq!(picture.wrong(), [true, false, false]);
        picture.label = None;
        assert_eq!(picture.wrong(), [false; 3]);
    }
}
