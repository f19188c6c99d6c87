//! What the user can do about an error.

use super::Error;

impl Error {
    /// What the user can do about it, a sentence without a full stop, where there is more to say than the message says.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Setting { field, .. } if field == "distance of a saved picture" => "give the --eps and --norm that it was made within; where rounding or float16 moved it, save it as float32 after moving it back: clean + (attacked - clean) * 0.999999 * eps / distance".into(),
            Error::Setting { field, expected, .. } if field == "saved picture" && expected.starts_with("a number") => "clip it to [0, 1] before it is saved".into(),
            Error::Setting { field, .. } if field == "saved picture" => "give the --region that it was made in, or none".into(),
            Error::MissingFolder { looked, .. } if looked.iter().any(|path| path.ends_with("SegmentationClassContext")) => "Pascal Context comes as one annotation file: write its masks with the Detail API, as PNGs of 0 (void) to 59, into that folder".into(),
            Error::MissingFolder { layout: "ShapeNet part", .. } => "give the folder whose name ends in v0_normal, or the one above".into(),
            Error::MissingFolder { .. } => "give the folder that holds it, or another layout; certiseg data info DIR says which fits".into(),
            Error::UnknownLayout { .. } => "give the folder that holds it, or call the folders images and masks".into(),
            Error::AmbiguousLayout { .. } => "name one with --layout".into(),
            Error::MissingSplit { looked, .. } if looked.iter().any(|path| path.parent().is_some_and(|dir| dir.ends_with("train_test_split"))) => "splits of ShapeNet part are train, val and test".into(),
            Error::MissingSplit { split, .. } => {
                format!("write one image name per line into {split}.txt, or name no split to take all images")
            }
            Error::Empty { path } if path.extension().is_some_and(|e| e == "txt") => "write one image name per line".into(),
            Error::Empty { path } if path.extension().is_some_and(|e| e == "npz") => "certiseg cloud shapes makes such a folder".into(),
            Error::Empty { path } if path.extension().is_some_and(|e| e == "json") => "it lists shape_data/OFFSET/MODEL, one or more".into(),
            Error::Empty { .. } => "images end in .png, .jpg or .jpeg; sub-folders of images/ are splits: name one".into(),
            Error::ClassList { path, .. } if path.ends_with("catalogue.json") => r#"it looks like {"names": ["mug"], "parts": [{"start": 0, "end": 2}]}"#.into(),
            Error::ClassList { path, .. } if path.parent().is_some_and(|dir| dir.ends_with("train_test_split")) => r#"it looks like ["shape_data/OFFSET/MODEL"]"#.into(),
            Error::ClassList { .. } => r#"it looks like {"num_classes": 2, "names": ["road", "car"], "ignore_index": 255}"#.into(),
            Error::SameStem { .. } => "remove or rename one of them".into(),
            Error::MissingMask { id, .. } => format!("add a mask called {id}, or list the images that have one in a split list"),
            Error::Truncated { .. } => "copy or download the file again".into(),
            Error::WrongExtension { .. } => "rename the file".into(),
            Error::NotAnImage { content: "empty", .. } => "copy or download the file again".into(),
            Error::NotAnImage { .. } => "convert it to PNG".into(),
            Error::SixteenBit { .. } => "save class indices; of Cityscapes take labelIds, not instanceIds".into(),
            Error::Alpha { .. } => "paint it on the background of your choice and save it as RGB".into(),
            Error::Oriented { .. } => "save the image as it is shown, without the EXIF orientation, and check it against its mask".into(),
            Error::MaskNotIndexed { .. } => "save class indices as a palette or grey PNG; black and white masks of two classes are read by --layout kvasir".into(),
            Error::MaskColours { colours: ..=256, .. } => r#"in a plain folder, give every class its "color": [r, g, b] in classes.json; else save class indices"#.into(),
            Error::MaskColours { .. } => "more colours than classes: was it smoothed, or is it no mask? save class indices".into(),
            Error::UnknownColour { .. } => r#"add it as a class's "color" or as "ignore_color"; if the mask holds indices, take the colors out of classes.json"#.into(),
            Error::TrainIds { .. } => "call the files NAME_gtFine_labelTrainIds.png: these are read as they are".into(),
            Error::MaskSize { .. } => "make the mask from the very image file, before any resizing".into(),
            Error::MaskValue { .. } => "check the number of classes, the ignore value, and that the mask holds indices, not colours".into(),
            Error::MissingArray { name, .. } => format!("save it under that name: numpy.savez(file, {name}=...)"),
            Error::NotNpz { .. } => "write it with numpy.savez or numpy.savez_compressed".into(),
            Error::ArrayShape { name, .. } => format!("reshape it in numpy before saving: {name}.reshape(...)"),
            Error::ArrayType { name, .. } => format!("convert it in numpy before saving: {name}.astype(...)"),
            Error::ArrayValue { name: "counts", .. } => "of the test samples, how many gave the class: see certiseg smooth --help at --votes".into(),
            Error::ArrayValue { expected, .. } if expected.starts_with("a part") || expected.starts_with("a category") => "categories and parts are numbered from 0 as in catalogue.json, parts over all categories; every point has one, or leave labels out".into(),
            Error::ArrayValue { .. } => "number classes from 0; 254 and 255 stand for abstained and ignored, and the label of pixels that do not count is named by --ignore".into(),
            Error::FortranOrder { name, .. } => format!("save numpy.ascontiguousarray({name})"),
            Error::LabelValue { .. } => "name the value that marks unlabelled pixels, for example --ignore -1".into(),
            Error::Unsupported { hint, .. } => hint.clone(),
            Error::OtherSamples => "restore the data set and its split list, or start a new training".into(),
            Error::ImageSize { .. } => "choose another size".into(),
            Error::NoDevice { .. } => "build with --features gpu (Vulkan) or cuda and see that its driver is installed, or compute on the processor: --device cpu".into(),
            Error::Diverged { .. } => "lower the learning rate or the temperature; a checkpoint written before is whole".into(),
            Error::NotACheckpoint { .. } => "copy the file again, or train anew".into(),
            Error::TornSampling { .. } => "remove the file: its image begins anew".into(),
            Error::Tensor { .. } => "write the file again: weights are named, finite F32 tensors of the shapes that the layers say".into(),
            Error::Format { .. } => "use the version of this program that wrote it".into(),
            Error::SameInput { .. } => "use none of these votes: a draw is repeated somewhere before the network, or the noise is too small to be seen".into(),
            Error::NoiseMoment { .. } => "use none of these votes: noise is added in [0, 1] units, before any resizing and normalisation".into(),
            Error::OtherSampling { .. } => "go on with the picture, model, noise and seed that it began with, or remove the file".into(),
            Error::BadLine { path, .. } if path.extension().is_some_and(|e| e == "txt") => "take the download whose name ends in v0_normal: sixteen categories and seven numbers a line; if it is that, unpack it again".into(),
            Error::BadCloud { .. } => "clouds are centred, of norm 1, with parts of their category as labels".into(),
            Error::SameNumber { .. } => "rename one of them".into(),
            Error::Panic { .. } => "this is a mistake in certiseg, not in the data; report it with all that was printed".into(),
            Error::File { source, .. } => return source.hint(),
            _ => return None,
        };
        Some(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_fit_what_is_wrong() {
        let cases = [
            (
                Error::Empty {
                    path: "d/train.txt".into(),
                },
                "one image name per line",
            ),
            (
                Error::Empty {
                    path: "d/images".into(),
                },
                ".jpeg",
            ),
            (
                Error::NotAnImage {
                    path: "a.png".into(),
                    content: "empty",
                },
                "copy or download",
            ),
            (
                Error::NotAnImage {
                    path: "a.png".into(),
                    content: "GIF",
                },
                "convert",
            ),
            (
                Error::MissingFolder {
                    layout: "context",
                    dir: "d".into(),
                    looked: vec!["d/SegmentationClassContext".into()],
                },
                "Detail API",
            ),
            (
                Error::MissingFolder {
                    layout: "voc",
                    dir: "d".into(),
                    looked: vec!["d/JPEGImages".into()],
                },
                "another layout",
            ),
            (
                Error::setting("distance of a saved picture", "0.3", "at most 0.2"),
                "the --eps and --norm that it was made within",
            ),
            (
                Error::setting("saved picture", "1.5", "a number in [0, 1]"),
                "clip",
            ),
            (
                Error::setting("saved picture", "changed", "unchanged there"),
                "--region",
            ),
        ];
        for (error, expected) in cases {
            let hint = error.hint().unwrap();
            assert!(hint.contains(expected), "{error}: {hint}");
        }
    }
}
