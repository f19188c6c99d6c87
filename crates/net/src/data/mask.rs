//! Masks: from the values in a file to class indices.

use std::path::Path;

use super::VOID;
use super::colours::Colours;
use super::samples::{Mask, brightness, indices};
use crate::{Error, Result};

/// What the values in a mask file mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskRule {
    /// Class indices as they are. The other rules but [`MaskRule::Threshold`] read indices too.
    Index,
    /// Brightness above 128: class 1, else 0 (Kvasir-SEG: JPEG, so every value is blurred).
    Threshold,
    /// 1, 2, 3 are the classes 0, 1, 2 (Oxford-IIIT Pet).
    Trimap,
    /// 11 is void (CamVid as SegNet has it).
    Camvid,
    /// `labelIds` to the 19 `trainIds`, all else void (Cityscapes).
    Cityscapes,
    /// One more than the class, 0 and 255 are void (Pascal Context, 59 classes).
    OneBased,
}

/// labelId of each trainId of Cityscapes.
const CITYSCAPES: [u8; 19] = [
    7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33,
];

impl MaskRule {
    /// The class of a value in the file, [`VOID`] for none; `None` for a value that may not be there.
    pub fn class(self, value: u8) -> Option<u8> {
        match (self, value) {
            (MaskRule::Index, _) => Some(value),
            (MaskRule::Threshold, _) => Some(u8::from(value > 128)),
            (MaskRule::Trimap, 1..=3) => Some(value - 1),
            (MaskRule::Camvid, 0..=10) => Some(value),
            (MaskRule::Camvid, 11 | VOID) => Some(VOID),
            // 255 is -1 in a byte
            (MaskRule::Cityscapes, 0..=33 | VOID) => {
                let train_id = CITYSCAPES.iter().position(|&id| id == value);
                Some(train_id.map_or(VOID, |id| id as u8))
            }
            (MaskRule::OneBased, 1..=59) => Some(value - 1),
            (MaskRule::OneBased, 0 | VOID) => Some(VOID),
            _ => None,
        }
    }

    /// The values that may be in a file, in words.
    fn values(self) -> &'static str {
        match self {
            MaskRule::Index | MaskRule::Threshold => "0 to 255",
            MaskRule::Trimap => "1, 2 or 3",
            MaskRule::Camvid => "0 to 10, or 11 for void",
            MaskRule::Cityscapes => "a labelId, 0 to 33",
            MaskRule::OneBased => "1 to 59, or 0 for void",
        }
    }

    /// The values in a file. `colours` say what the colours of RGB masks stand for.
    pub(super) fn open(self, path: &Path, colours: Option<&Colours>) -> Result<Mask> {
        match self {
            MaskRule::Threshold => brightness(path),
            _ => indices(path, colours),
        }
    }

    /// Class indices below `classes` or [`VOID`]; those equal to `ignore` or 255 become [`VOID`].
    pub(super) fn classes(
        self,
        id: &str,
        mask: Mask,
        classes: usize,
        ignore: u8,
    ) -> Result<Vec<u8>> {
        if self == MaskRule::Cityscapes && holds_train_ids(&mask.values) {
            return Err(Error::TrainIds { id: id.into() });
        }
        let table: [Option<u8>; 256] = std::array::from_fn(|value| match self.class(value as u8) {
            Some(class) if class == ignore || class == VOID => Some(VOID),
            Some(class) if usize::from(class) < classes => Some(class),
            _ => None,
        });
        let is_bad = table.each_ref().map(Option::is_none);
        let bad = mask.values.iter().position(|&v| is_bad[usize::from(v)]);
        if let Some(i) = bad {
            let value = mask.values[i];
            return Err(Error::MaskValue {
                id: id.into(),
                value,
                row: i / mask.size[1],
                column: i % mask.size[1],
                expected: match self.class(value) {
                    None => self.values().into(),
                    Some(_) => {
                        format!("a class below {classes} or the ignore value {ignore}")
                    }
                },
            });
        }
        let table = table.map(|class| class.unwrap_or(VOID));
        let mut values = mask.values;
        for value in &mut values {
            *value = table[usize::from(*value)];
        }
        Ok(values)
    }
}

/// Whether a mask of Cityscapes can only hold trainIds: -1 (255) belongs to licence plates, which no labelId mask has
/// without a vehicle (24 and above), and every trainId mask has for all that is void.
fn holds_train_ids(values: &[u8]) -> bool {
    let of_both = |&value: &u8| value <= 18 || value == VOID;
    values.contains(&VOID) && values.iter().any(|&v| v != VOID) && values.iter().all(of_both)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::super::decode::tests::save;
    use super::*;

    fn value(rule: MaskRule, values: &[u8], classes: usize, ignore: u8) -> Result<Vec<u8>> {
        rule.classes(
            "a",
            Mask {
                size: [1, values.len()],
                values: values.to_vec(),
            },
            classes,
            ignore,
        )
    }

    #[test]
    fn thresholds_read_jpegs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        save(
            RgbImage::from_fn(32, 16, |x, _| image::Rgb([if x < 16 { 0 } else { 255 }; 3])),
            &path,
        );
        let mask = MaskRule::Threshold.open(&path, None).unwrap();
        let classes = MaskRule::Threshold.classes("a", mask, 2, 255).unwrap();
        assert!(
            classes
                .iter()
                .enumerate()
                .all(|(i, &class)| class == u8::from(i % 32 >= 16))
        );
    }

    #[test]
    fn train_ids() {
        let classes = |values: &[u8]| value(MaskRule::Cityscapes, values, 19, 255);
        let error = classes(&[0, 255, 18, 10]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "mask of a holds trainIds (0 to 18 and 255), expected labelIds as its name says"
        );
        assert!(error.hint().unwrap().contains("labelTrainIds"));
        // a licence plate on its car, a dummy, a road without anything
        for values in [&[255, 26, 7][..], &[255, 255], &[0, 1, 3], &[7, 8]] {
            assert!(classes(values).is_ok(), "{values:?}");
        }
    }

    #[test]
    fn mask_value() {
        let mask = Mask {
            size: [2, 3],
            values: vec![0, 255, 1, 2, 7, 9],
        };
        let error = MaskRule::Index.classes("a", mask, 3, 255).unwrap_err();
        assert_eq!(
            error.to_string(),
            "mask of a has the value 7 at row 1, column 1, expected a class below 3 or the ignore value 255"
        );
        assert!(matches!(
            value(MaskRule::Trimap, &[1, 0], 3, 255),
            Err(Error::MaskValue {
                value: 0,
                column: 1,
                ..
            })
        ));
    }

    #[test]
    fn every_rule_keeps_its_data_set_s_word() {
        assert_eq!(
            value(MaskRule::Index, &[0, 1, 7, 255], 2, 7).unwrap(),
            [0, 1, VOID, VOID]
        );
        assert_eq!(
            value(MaskRule::Threshold, &[0, 8, 128, 129, 247, 255], 2, 255).unwrap(),
            [0, 0, 0, 1, 1, 1]
        );
        assert_eq!(
            value(MaskRule::Trimap, &[1, 2, 3], 3, 255).unwrap(),
            [0, 1, 2]
        );
        assert_eq!(
            value(MaskRule::Camvid, &[0, 10, 11], 11, 255).unwrap(),
            [0, 10, VOID]
        );
        assert_eq!(
            value(MaskRule::OneBased, &[0, 1, 59, 255], 59, 255).unwrap(),
            [VOID, 0, 58, VOID]
        );
        for (rule, first) in [
            (MaskRule::OneBased, 60),
            (MaskRule::Camvid, 12),
            (MaskRule::Cityscapes, 34),
            (MaskRule::Trimap, 4),
        ] {
            for wrong in first..=254 {
                let error = value(rule, &[1, wrong], 255, 255).unwrap_err();
                let expected = format!(
                    "the value {wrong} at row 0, column 1, expected {}",
                    rule.values()
                );
                assert!(error.to_string().ends_with(&expected), "{error}");
            }
        }
        let known = [
            (7, 0),
            (8, 1),
            (11, 2),
            (20, 7),
            (26, 13),
            (33, 18),
            (0, VOID),
            (9, VOID),
            (33, 18),
            (255, VOID),
        ];
        for (label, train) in known {
            assert_eq!(
                value(MaskRule::Cityscapes, &[label], 19, 255).unwrap(),
                [train]
            );
        }
    }
}
