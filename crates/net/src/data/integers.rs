//! Whole numbers of an array: classes, labels, counts.

use super::VOID;
use super::npy::Kind;
use super::npz::{Archive, Array};
use crate::Result;

const LABELS: &str = "labels";
const CLASS: &str = "a class, 0 to 253";

/// Classes are below: the first number that is none.
const ABSTAIN: u8 = 254;

impl Array {
    /// An error unless the numbers are whole.
    pub(super) fn whole(self) -> Result<Self> {
        match self.number.kind {
            Kind::Float => Err(self.wrong_type("an integer type of 8 to 64 bits")),
            _ => Ok(self),
        }
    }

    /// The next `count` numbers, of which `before` were taken, as classes.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::ArrayValue`].
    pub(super) fn classes(&mut self, before: usize, count: usize) -> Result<Vec<u8>> {
        let bytes = self.take(count)?;
        // as they are, where they are all classes
        let most = bytes.iter().fold(0, |most, byte| most.max(*byte));
        if self.number.kind == Kind::Unsigned && self.number.bytes == 1 && most < ABSTAIN {
            return Ok(bytes);
        }
        self.convert(&bytes, before, CLASS, class)
    }

    /// All numbers, by a rule that gives none where one is not as `expected`; checks what was read.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::ArrayValue`], [`Error::ArrayHeader`].
    pub(super) fn all<T>(
        &mut self,
        expected: &'static str,
        rule: impl Fn(i128) -> Option<T>,
    ) -> Result<Vec<T>> {
        let bytes = self.take(self.shape.iter().product())?;
        let values = self.convert(&bytes, 0, expected, rule)?;
        self.finish()?;
        Ok(values)
    }

    fn convert<T>(
        &self,
        bytes: &[u8],
        before: usize,
        expected: &'static str,
        rule: impl Fn(i128) -> Option<T>,
    ) -> Result<Vec<T>> {
        let numbers = bytes.chunks_exact(self.number.bytes);
        let values = numbers.map(|chunk| self.number.integer(chunk));
        let checked = values.enumerate().map(|(i, value)| {
            rule(value).ok_or_else(|| self.wrong_value(before + i, value, expected))
        });
        checked.collect()
    }
}

/// A class, 0 to 253.
pub(super) fn class(value: i128) -> Option<u8> {
    u8::try_from(value).ok().filter(|class| *class < ABSTAIN)
}

/// The array `labels` with its shape, if there is one: classes, and [`VOID`] where it says `ignore`.
///
/// # Errors
/// Those of the archive and its arrays; [`Error::ArrayShape`] unless it has so many `components`.
pub(super) fn labels(
    archive: &mut Archive,
    components: usize,
    ignore: i64,
) -> Result<Option<(Vec<usize>, Vec<u8>)>> {
    let Some(array) = archive.array(LABELS)? else {
        return Ok(None);
    };
    let mut array = array.whole()?;
    let size = array
        .shape
        .iter()
        .try_fold(1usize, |n, &side| n.checked_mul(side));
    if size != Some(components) {
        return Err(array.wrong_shape(format!("the {components} components of the picture")));
    }
    let expected = "a class, 0 to 253, or the label that --ignore names";
    let labels = array.all(expected, |value| match value {
        _ if value == i128::from(ignore) => Some(VOID),
        _ => class(value),
    })?;
    Ok(Some((array.shape, labels)))
}

/// The array `name`.
///
/// # Errors
/// Those of the archive; [`Error::MissingArray`], [`Error::ArrayType`] of floats.
pub(super) fn needed(archive: &mut Archive, name: &'static str) -> Result<Array> {
    match archive.array(name)? {
        Some(array) => array.whole(),
        None => Err(archive.missing(name)?),
    }
}
