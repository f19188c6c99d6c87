//! Everything that can go wrong in this crate: what was got, what was expected; [`Error::hint`] is the way out.

mod hint;
mod make;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use self::make::listed;
use crate::smooth::canary::Entered;

/// Result of the fallible functions of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of this crate. Sizes are height x width, rows and columns count from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A word that names nothing.
    #[error("no {what} is called {got:?}, expected one of {expected}")]
    UnknownName {
        /// What the word should have named.
        what: &'static str,
        /// The word.
        got: String,
        /// The names there are.
        expected: String,
    },
    /// No device to compute on.
    #[error("no graphics card to compute on: {reason}")]
    NoDevice {
        /// What stood in the way.
        reason: String,
    },
    /// A setting outside its range.
    #[error("{field} is {got}, expected {expected}")]
    Setting {
        /// Name of the setting.
        field: String,
        /// Its value.
        got: String,
        /// Its range.
        expected: String,
    },
    /// None of the folders in which a layout may lie is there.
    #[error(
        "no {layout} data in {dir:?}: looked for the folder {}",
        listed(looked)
    )]
    MissingFolder {
        /// Name of the layout.
        layout: &'static str,
        /// The folder given.
        dir: PathBuf,
        /// The folders looked for.
        looked: Vec<PathBuf>,
    },
    /// A folder that looks like none of the layouts.
    #[error(
        "no known layout fits {dir:?}: it has {found}, expected images/ and masks/ or an official download"
    )]
    UnknownLayout {
        /// The folder given.
        dir: PathBuf,
        /// What is in it.
        found: String,
    },
    /// A folder that looks like several layouts.
    #[error("{dir:?} fits several layouts: {fitting}")]
    AmbiguousLayout {
        /// The folder given.
        dir: PathBuf,
        /// The layouts and why.
        fitting: String,
    },
    /// A split was asked for and nothing lists it.
    #[error("no split {split:?}: looked for {}", listed(looked))]
    MissingSplit {
        /// Name of the split.
        split: String,
        /// The files and folders looked for.
        looked: Vec<PathBuf>,
    },
    /// The layout has official splits and none was named.
    #[error("{layout} has official splits and none was named, expected one of {expected}")]
    SplitNeeded {
        /// Name of the layout.
        layout: &'static str,
        /// Its splits.
        expected: String,
    },
    /// A list or folder without a single image.
    #[error("no images in {path:?}, expected at least one")]
    Empty {
        /// The list or folder.
        path: PathBuf,
    },
    /// A split list names an image twice: it would count twice.
    #[error("{list:?} names {id} twice, expected once")]
    ListedTwice {
        /// The split list.
        list: PathBuf,
        /// The image.
        id: String,
    },
    /// Two files of one folder differ in their extension only.
    #[error("{first:?} and {second:?} have one name, expected one file per image")]
    SameStem {
        /// The first file.
        first: PathBuf,
        /// The second file.
        second: PathBuf,
    },
    /// A split list names an image that is not there.
    #[error("image {id} is not in {folder:?}")]
    MissingImage {
        /// The image.
        id: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// An image without a mask file.
    #[error("image {id} has no mask in {folder:?}")]
    MissingMask {
        /// The image.
        id: String,
        /// Where its mask was looked for.
        folder: PathBuf,
    },
    /// A file or folder that cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that ends too early.
    #[error("{path:?} is cut short: {reason}")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where it ended.
        reason: String,
    },
    /// An image file the decoder refuses.
    #[error("cannot decode {path:?}: {reason}")]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// Neither PNG nor JPEG.
    #[error("{path:?} is {content}, expected PNG or JPEG")]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What its first bytes say.
        content: &'static str,
    },
    /// The name says one format, the content another.
    #[error("{path:?} is {content} by its content, expected what its name says")]
    WrongExtension {
        /// The file.
        path: PathBuf,
        /// What its first bytes say.
        content: &'static str,
    },
    /// A mask of 16 bits with a value that no byte holds.
    #[error(
        "mask {path:?} has the value {value} at row {row}, column {column}, expected at most 255"
    )]
    SixteenBit {
        /// The file.
        path: PathBuf,
        /// The value in the file.
        value: u16,
        /// Row of the first such pixel.
        row: usize,
        /// Column of the first such pixel.
        column: usize,
    },
    /// An image with transparency.
    #[error("{path:?} has an alpha channel, expected RGB, grey or a palette without transparency")]
    Alpha {
        /// The file.
        path: PathBuf,
    },
    /// The EXIF orientation asks for a turn and the mask does not say whether it is turned too.
    #[error(
        "{path:?} asks to be shown turned or mirrored (EXIF orientation {orientation}), expected 1: its mask fits both ways"
    )]
    Oriented {
        /// The file.
        path: PathBuf,
        /// The EXIF value, 2 to 8.
        orientation: u8,
    },
    /// A mask whose pixels are no class indices.
    #[error("mask {path:?} is {got}, expected one class index per pixel: a palette or grey PNG")]
    MaskNotIndexed {
        /// The file.
        path: PathBuf,
        /// What it is.
        got: String,
    },
    /// A mask drawn in colours that nobody explains.
    #[error(
        "mask {path:?} is RGB with {colours} colours, expected one class index per pixel: a palette or grey PNG"
    )]
    MaskColours {
        /// The file.
        path: PathBuf,
        /// How many colours it has.
        colours: usize,
    },
    /// A mask with a colour that is no class's.
    #[error(
        "mask {path:?} has the colour {colour:?} at row {row}, column {column}, expected one that classes.json gives a class"
    )]
    UnknownColour {
        /// The file.
        path: PathBuf,
        /// Red, green, blue.
        colour: [u8; 3],
        /// Row of the first such pixel.
        row: usize,
        /// Column of the first such pixel.
        column: usize,
    },
    /// A mask of Cityscapes that holds trainIds under the name of labelIds.
    #[error("mask of {id} holds trainIds (0 to 18 and 255), expected labelIds as its name says")]
    TrainIds {
        /// The image.
        id: String,
    },
    /// A mask of another size than its image.
    #[error("mask of {id} is {}x{}, its image is {}x{} (height x width)", got[0], got[1], expected[0], expected[1])]
    MaskSize {
        /// The image.
        id: String,
        /// Height and width of the mask.
        got: [usize; 2],
        /// Height and width of the image.
        expected: [usize; 2],
    },
    /// A mask value that is no class.
    #[error(
        "mask of {id} has the value {value} at row {row}, column {column}, expected {expected}"
    )]
    MaskValue {
        /// The image.
        id: String,
        /// The value in the file.
        value: u8,
        /// Row of the first such pixel.
        row: usize,
        /// Column of the first such pixel.
        column: usize,
        /// The values that may be there.
        expected: String,
    },
    /// A class list that cannot be used.
    #[error("class list {path:?}: {reason}")]
    ClassList {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a zip archive.
    #[error("{path:?} is no npz archive: {reason}")]
    NotNpz {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// The archive lacks an array.
    #[error("{path:?} has no array {name:?}, it has {found}")]
    MissingArray {
        /// The archive.
        path: PathBuf,
        /// The array looked for.
        name: &'static str,
        /// The arrays found.
        found: String,
    },
    /// An array header this reader does not know.
    #[error("array {name:?} of {path:?} has an unreadable header: {reason}")]
    ArrayHeader {
        /// The archive.
        path: PathBuf,
        /// The array.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An array of an unsupported type.
    #[error("array {name:?} of {path:?} has the type {got:?}, expected {expected}")]
    ArrayType {
        /// The archive.
        path: PathBuf,
        /// The array.
        name: &'static str,
        /// The type found, in NumPy's letters.
        got: String,
        /// The types read.
        expected: &'static str,
    },
    /// An array in Fortran order.
    #[error("array {name:?} of {path:?} is in Fortran order, expected C order")]
    FortranOrder {
        /// The archive.
        path: PathBuf,
        /// The array.
        name: &'static str,
    },
    /// An array of another shape than expected.
    #[error("array {name:?} of {path:?} has the shape {got:?}, expected {expected}")]
    ArrayShape {
        /// The archive.
        path: PathBuf,
        /// The array.
        name: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape expected.
        expected: String,
    },
    /// A number of an array that is not what it should be.
    #[error("array {name:?} of {path:?} has {value} at {at:?}, expected {expected}")]
    ArrayValue {
        /// The archive.
        path: PathBuf,
        /// The array.
        name: &'static str,
        /// The place of the first such number.
        at: Vec<usize>,
        /// What is there.
        value: i128,
        /// What should be.
        expected: &'static str,
    },
    /// A label that is no class.
    #[error(
        "image {image} of {path:?} has the label {value} at row {row}, column {column}, expected a class below {classes} or the ignore value {ignore}"
    )]
    LabelValue {
        /// The archive.
        path: PathBuf,
        /// Index of the image.
        image: usize,
        /// The label in the file.
        value: i128,
        /// Row of the first such pixel.
        row: usize,
        /// Column of the first such pixel.
        column: usize,
        /// Number of classes.
        classes: usize,
        /// The ignore value.
        ignore: i64,
    },
    /// What this program cannot do soundly.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// A picture size the network cannot take.
    #[error(
        "a picture of {height}x{width} does not fit the network, expected sides that are multiples of {multiple}"
    )]
    ImageSize {
        /// Height.
        height: usize,
        /// Width.
        width: usize,
        /// Product of the strides.
        multiple: usize,
    },
    /// A picture of another length than its size says.
    #[error("a picture of {got} numbers, expected {expected}")]
    ImageLength {
        /// Numbers given.
        got: usize,
        /// 3 x height x width.
        expected: usize,
    },
    /// A sample of another size than the training.
    #[error("sample {id} is {}x{}, expected {}x{} (height x width)", got[0], got[1], expected[0], expected[1])]
    SampleSize {
        /// The sample.
        id: String,
        /// Height and width of the sample.
        got: [usize; 2],
        /// Height and width of the settings.
        expected: [usize; 2],
    },
    /// A sample without labels where labels are needed.
    #[error("sample {id} has no mask, expected one")]
    NoMask {
        /// The sample.
        id: String,
    },
    /// A training that would go on with other samples than it began with.
    #[error("the training samples are not those this training began with")]
    OtherSamples,
    /// No pixel counts.
    #[error("every pixel is void, expected at least one that counts")]
    AllVoid,
    /// The loss is no number.
    #[error("the loss became {loss} in epoch {epoch}, step {step}, expected a number")]
    Diverged {
        /// Epoch, from 1.
        epoch: u64,
        /// Step in the epoch, from 1.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A tensor of a model that cannot be used.
    #[error("tensor {name}: {what}")]
    Tensor {
        /// Its name.
        name: String,
        /// What was got and expected.
        what: String,
    },
    /// A node of a model that cannot be used.
    #[error("node {name}: {what}")]
    Node {
        /// Its name.
        name: String,
        /// What was got and expected.
        what: String,
    },
    /// A file that holds no model.
    #[error("{what}, expected a certiseg model or checkpoint")]
    NotACheckpoint {
        /// What was got.
        what: String,
    },
    /// A file that holds no sampling to go on with.
    #[error("no whole sampling: {what}")]
    TornSampling {
        /// What was found.
        what: String,
    },
    /// A model file of another version.
    #[error("format {got}, expected format {expected}")]
    Format {
        /// Version of the file.
        got: String,
        /// Version of this program.
        expected: String,
    },
    /// Something is wrong inside a file.
    #[error("{path:?}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<Error>,
    },
    /// A file that cannot be written.
    #[error("cannot write {path:?}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A mistake in this program, on a thread that makes batches.
    #[error("the program failed while it made a batch: {reason}")]
    Panic {
        /// What the panic said.
        reason: String,
    },
    /// The device did not give a result back.
    #[error("the device failed: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
    /// Two samples or views enter the network with the same numbers.
    #[error(
        "samples {} and {} (views {} and {}) enter the network alike, expected noise of its own for each",
        first.sample, second.sample, first.view, second.view
    )]
    SameInput {
        /// The one that came first.
        first: Entered,
        /// The other.
        second: Entered,
    },
    /// Noise that is not that of its law.
    #[error(
        "the noise of sample {sample} has the {what} {got}, expected {expected} within {slack}"
    )]
    NoiseMoment {
        /// The sample.
        sample: u32,
        /// `mean` or `variance`.
        what: &'static str,
        /// Its own.
        got: f64,
        /// That of the law.
        expected: f64,
        /// Six standard errors.
        slack: f64,
    },
    /// A stored sampling of something else.
    #[error("the stored samples have the {field} {got}, expected {expected}")]
    OtherSampling {
        /// What differs.
        field: &'static str,
        /// That of the file.
        got: String,
        /// That of this run.
        expected: String,
    },
    /// Two images whose noise would be the same.
    #[error(
        "the names {first} and {second} give the same number, expected noise of its own for each image"
    )]
    SameNumber {
        /// The first image.
        first: String,
        /// The second.
        second: String,
    },
    /// A line of a text file that is not as it should be.
    #[error("line {line} of {path:?} is {got:?}, expected {expected}")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// The line, or its beginning.
        got: String,
        /// What should be there.
        expected: String,
    },
    /// A point cloud that cannot be used.
    #[error("cloud {id} has {what}")]
    BadCloud {
        /// Its name.
        id: String,
        /// What was got and expected.
        what: String,
    },
    /// The judge refused.
    #[error(transparent)]
    Cert(#[from] certiseg_cert::Error),
}
