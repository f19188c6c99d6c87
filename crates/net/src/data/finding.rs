//! What is wrong, doubtful or worth knowing about a data set, in kinds.

use serde::Serialize;

use super::decode::Oddity;
use crate::Error;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A training on these pictures would stop.
    Error,
    /// It would run, and might not be what is meant.
    Warning,
    /// Read as it should be.
    Note,
}

/// Kinds of findings, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A split or a folder as a whole.
    Split,
    /// Images without masks.
    MissingMask,
    /// Names in lists without an image.
    MissingImage,
    /// Names twice in a list.
    ListedTwice,
    /// Two files of one name.
    SameName,
    /// Files that cannot be opened.
    Unreadable,
    /// Files that end too early.
    Torn,
    /// Files that the decoder refuses.
    Undecodable,
    /// Neither PNG nor JPEG.
    Foreign,
    /// A name that tells another format.
    WrongExtension,
    /// Transparency.
    Alpha,
    /// An EXIF orientation that may or may not hold for the mask.
    Oriented,
    /// Masks that are no indices.
    MaskNotIndexed,
    /// Masks with values that no class has.
    MaskValue,
    /// Masks of trainIds under the name of labelIds.
    TrainIds,
    /// Masks of another size than their images.
    MaskSize,
    /// Masks without images.
    SpareMask,
    /// One picture in two splits, by its name or its pixels.
    TwoSplits,
    /// The same pixels twice in a split.
    Duplicate,
    /// Masks that are void all over.
    AllVoid,
    /// Masks of 0 and 255 only: is 255 a class?
    Binary,
    /// Masks that might hold trainIds.
    MaybeTrainIds,
    /// Classes that no pixel has.
    AbsentClass,
    /// Pictures of 16 bits.
    SixteenBit,
    /// Pictures turned as EXIF asks.
    Turned,
    /// Transparency that is dropped.
    AlphaDropped,
    /// Pictures read by their content, whatever their names say.
    Misnamed,
    /// Masks of one class.
    OneClass,
    /// Pictures in no split.
    NoSplit,
    /// Hidden files.
    Hidden,
    /// Files that are no pictures.
    Stray,
}

impl Kind {
    /// How much it matters.
    pub fn level(self) -> Level {
        match self {
            kind if kind <= Kind::MaskSize => Level::Error,
            kind if kind <= Kind::AbsentClass => Level::Warning,
            _ => Level::Note,
        }
    }

    /// What `count` findings of this kind are, for a heading.
    pub fn title(self, count: usize) -> String {
        let plural = if count == 1 { "" } else { "s" };
        let (are, have, hold) = match count {
            1 => ("is", "has", "holds"),
            _ => ("are", "have", "hold"),
        };
        let of = |what: &str, rest: &str| format!("{count} {what}{plural} {rest}");
        match self {
            Kind::Split => of("part", "of the data set cannot be listed"),
            Kind::MissingMask => of("image", &format!("{have} no mask")),
            Kind::MissingImage => of("listed name", &format!("{have} no image")),
            Kind::ListedTwice => of("name", &format!("{are} listed twice")),
            Kind::SameName => of("pair", "of files of one name"),
            Kind::Unreadable => of("file", "cannot be read"),
            Kind::Torn => of("file", &format!("{are} cut short")),
            Kind::Undecodable => of("file", "cannot be decoded"),
            Kind::Foreign => of("file", &format!("{are} neither PNG nor JPEG")),
            Kind::WrongExtension => of("file", &format!("{have} the extension of another format")),
            Kind::Alpha => of("image", &format!("{have} an alpha channel")),
            Kind::Oriented => of("image", "may or may not be turned"),
            Kind::MaskNotIndexed => of("mask", &format!("{hold} no class indices")),
            Kind::MaskValue => of("mask", &format!("{hold} a value that is no class")),
            Kind::TrainIds => of("mask", &format!("{hold} trainIds, not labelIds")),
            Kind::MaskSize => of("mask", &format!("{have} another size than the image")),
            Kind::SpareMask => of("mask", &format!("{have} no image")),
            Kind::TwoSplits => of("picture", &format!("{are} in two splits")),
            Kind::Duplicate => of("picture", &format!("{are} there more than once")),
            Kind::AllVoid => of("mask", &format!("{are} void all over")),
            Kind::Binary => "masks hold 0 and 255 only".into(),
            Kind::MaybeTrainIds => "masks may hold trainIds".into(),
            Kind::AbsentClass if count == 1 => "1 class has no pixel".into(),
            Kind::AbsentClass => format!("{count} classes have no pixel"),
            Kind::SixteenBit => of(
                "image",
                &format!("{have} 16 bits per channel, rounded to 8"),
            ),
            Kind::Turned => of("image", &format!("{are} turned as EXIF asks")),
            Kind::AlphaDropped => of(
                "image",
                &format!("{have} an alpha channel, which is dropped"),
            ),
            Kind::Misnamed => of("image", &format!("{are} read by content, not by extension")),
            Kind::OneClass => of("mask", &format!("{hold} one class only")),
            Kind::NoSplit => of("picture", &format!("{are} in no split")),
            Kind::Hidden => of("hidden file", &format!("{are} left out")),
            Kind::Stray => of("file", &format!("{are} no picture{plural} and left out")),
        }
    }

    /// The kind of what makes a training stop.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::MissingMask { .. } => Kind::MissingMask,
            Error::MissingImage { .. } => Kind::MissingImage,
            Error::ListedTwice { .. } => Kind::ListedTwice,
            Error::SameStem { .. } => Kind::SameName,
            Error::Unreadable { .. } => Kind::Unreadable,
            Error::Truncated { .. } => Kind::Torn,
            Error::Undecodable { .. } => Kind::Undecodable,
            Error::NotAnImage { .. } => Kind::Foreign,
            Error::WrongExtension { .. } => Kind::WrongExtension,
            Error::Alpha { .. } => Kind::Alpha,
            Error::Oriented { .. } => Kind::Oriented,
            Error::MaskNotIndexed { .. } | Error::MaskColours { .. } => Kind::MaskNotIndexed,
            Error::MaskValue { .. } | Error::SixteenBit { .. } | Error::UnknownColour { .. } => {
                Kind::MaskValue
            }
            Error::TrainIds { .. } => Kind::TrainIds,
            Error::MaskSize { .. } => Kind::MaskSize,
            _ => Kind::Split,
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// Its kind.
    pub kind: Kind,
    /// Which file or picture, and what about it.
    pub words: String,
    /// The way out, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// Something of a kind.
    pub(super) fn new(kind: Kind, words: String, hint: Option<&str>) -> Self {
        Self {
            level: kind.level(),
            kind,
            words,
            hint: hint.map(str::to_owned),
        }
    }

    /// What would stop a training.
    pub(super) fn refused(error: &Error) -> Self {
        Self::new(Kind::of(error), error.to_string(), error.hint().as_deref())
    }

    /// What is unusual about the image of picture `id`.
    pub(super) fn odd(id: &str, oddity: Oddity) -> Self {
        match oddity {
            Oddity::Misnamed(content) => {
                Self::new(Kind::Misnamed, format!("{id} is {content}"), None)
            }
            Oddity::Alpha => Self::new(Kind::AlphaDropped, id.into(), None),
            Oddity::SixteenBit => Self::new(Kind::SixteenBit, id.into(), None),
            Oddity::Turned(orientation) => {
                let words = format!("{id}: EXIF orientation {orientation}");
                Self::new(Kind::Turned, words, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_order_of_kinds() {
        let levels = [
            (Kind::Split, Level::Error),
            (Kind::MaskSize, Level::Error),
            (Kind::SpareMask, Level::Warning),
            (Kind::AbsentClass, Level::Warning),
            (Kind::SixteenBit, Level::Note),
            (Kind::Stray, Level::Note),
        ];
        for (kind, level) in levels {
            assert_eq!(kind.level(), level, "{kind:?}");
        }
    }

    #[test]
    fn titles_are_english_for_one_and_for_many() {
        for (kind, one, two) in [
            (
                Kind::Split,
                "1 part of the data set cannot be listed",
                "2 parts of the data set cannot be listed",
            ),
            (
                Kind::MissingMask,
                "1 image has no mask",
                "2 images have no mask",
            ),
            (
                Kind::ListedTwice,
                "1 name is listed twice",
                "2 names are listed twice",
            ),
            (
                Kind::SameName,
                "1 pair of files of one name",
                "2 pairs of files of one name",
            ),
            (
                Kind::MaskValue,
                "1 mask holds a value that is no class",
                "2 masks hold a value that is no class",
            ),
            (
                Kind::TwoSplits,
                "1 picture is in two splits",
                "2 pictures are in two splits",
            ),
            (
                Kind::AbsentClass,
                "1 class has no pixel",
                "2 classes have no pixel",
            ),
            (
                Kind::Stray,
                "1 file is no picture and left out",
                "2 files are no pictures and left out",
            ),
        ] {
            assert_eq!([kind.title(1), kind.title(2)], [one, two]);
        }
    }

    #[test]
    fn an_error_keeps_its_words_and_its_way_out() {
        let error = Error::Truncated {
            path: "a.png".into(),
            reason: "3 bytes".into(),
        };
        let finding = Finding::refused(&error);
        assert_eq!((finding.level, finding.kind), (Level::Error, Kind::Torn));
        assert_eq!(finding.words, error.to_string());
        assert_eq!(finding.hint, error.hint());
    }
}
