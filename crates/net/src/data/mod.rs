//! Pictures with masks: where they lie ([`list()`]), read at one size ([`load()`], [`Pictures`]), changed at random
//! ([`Augment`]), in batches that are made ahead of use ([`Batches`]), invented ([`shapes()`]); what a data set is and
//! what is wrong with it ([`guess()`], [`catalogue()`], [`survey()`]); and logits that another program computed
//! ([`LogitsFile`]), or label maps under noise ([`LabelMaps`]) and votes ([`VoteFile`]); the arrays of a point cloud
//! ([`CloudFile`]).

mod affine;
mod ahead;
mod attacked;
mod augment;
mod batch;
mod catalogue;
mod classes;
mod cloud_file;
mod colour;
mod colours;
mod decode;
mod digest;
mod files;
mod finding;
mod guess;
mod head;
mod integers;
mod label_maps;
mod layout;
mod listing;
mod load;
mod logits;
mod map_file;
mod maps;
mod mask;
mod npy;
mod npz;
mod pictures;
mod resize;
mod samples;
pub mod shapes;
mod survey;
mod vote_file;

pub use ahead::Ahead;
pub use attacked::{read_attacked, write_attacked};
pub use augment::Augment;
pub use batch::{Batch, Batches};
pub use catalogue::{Catalogue, Split, catalogue};
pub use classes::Classes;
pub use cloud_file::CloudFile;
pub use colours::Colours;
pub use decode::{Care, Oddity};
pub use digest::digest;
pub(crate) use digest::hex;
pub use finding::{Finding, Kind, Level};
pub use guess::{Guess, guess};
pub use head::read_head;
pub use label_maps::{LabelMaps, read_labels};
pub use layout::Layout;
pub use listing::{Entry, list};
pub use load::{LoadSettings, load, open};
pub use logits::{LogitsFile, LogitsImage};
pub use map_file::MapFile;
pub use maps::{Map, write_arrays, write_maps};
pub use mask::MaskRule;
pub use npz::checksums;
pub use pictures::Pictures;
pub use resize::{Filter, resize};
pub use shapes::shapes;
pub use survey::{ClassCount, Sizes, SplitCount, Survey, survey};
pub use vote_file::VoteFile;

/// The label of pixels that belong to no class: never trained on, never counted.
pub const VOID: u8 = 255;

/// One picture with its mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its name, unique in its data set.
    pub id: String,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// (3, H, W): red, green, blue, 0 to 255. Eight bits, as in the file: 700 pictures of 128x128 take 34 MB.
    pub image: Vec<u8>,
    /// (H, W): class indices, [`VOID`] where there is none; `None` for a picture without a mask.
    pub mask: Option<Vec<u8>>,
}

impl Sample {
    /// The picture as the model reads it: (3, H, W), in [0, 1].
    pub fn image_f32(&self) -> Vec<f32> {
        self.image.iter().map(|&v| UNIT[usize::from(v)]).collect()
    }
}

/// The one rule from a byte to [0, 1]: divided by 255.
pub(crate) static UNIT: [f32; 256] = {
    let mut unit = [0.0; 256];
    let mut value = 0;
    while value < 256 {
        unit[value] = value as f32 / 255.0;
        value += 1;
    }
    unit
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_numbers_in_the_unit_interval() {
        let sample = Sample {
            id: "a".into(),
            height: 1,
            width: 1,
            image: vec![0, 51, 255],
            mask: None,
        };
        assert_eq!(sample.image_f32(), [0.0, 0.2, 1.0]);
    }
}
