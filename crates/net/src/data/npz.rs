//! NumPy's `npz` format: a zip archive of `npy` files, stored or deflated. Pickled objects are never read.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::npy::{Fault, Number, read_header};
use crate::{Error, Result};

/// Name, size and checksum of every array of an archive, as it states them.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::NotNpz`].
pub fn checksums(path: &Path) -> Result<String> {
    Archive::open(path)?.checksums()
}

/// The directory of an archive.
pub(super) struct Archive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

/// An array under reading. It has a file handle of its own, so that several arrays can be read side by side.
pub(super) struct Array {
    path: PathBuf,
    name: &'static str,
    reader: CrcReader<Box<dyn Read + Send>>,
    checksum: u32,
    pub(super) number: Number,
    pub(super) shape: Vec<usize>,
}

impl Archive {
    /// # Errors
    /// [`Error::Unreadable`], [`Error::NotNpz`].
    pub(super) fn open(path: &Path) -> Result<Self> {
        let zip = ZipArchive::new(open(path)?).map_err(|error| broken(path, error))?;
        Ok(Self {
            path: path.into(),
            zip,
        })
    }

    /// The names of the arrays.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let names = self.zip.file_names().map(|name| {
            let name = name.map_err(|error| broken(&self.path, error))?;
            Ok(name.strip_suffix(".npy").map(str::to_owned))
        });
        names.filter_map(Result::transpose).collect()
    }

    /// Name, size and checksum of every entry, as the archive states them.
    pub(super) fn checksums(&mut self) -> Result<String> {
        let mut all = String::new();
        for index in 0..self.zip.len() {
            let entry = self.zip.by_index_raw(index);
            let entry = entry.map_err(|error| broken(&self.path, error))?;
            let name = entry.name().map_err(|error| broken(&self.path, error))?;
            all += &format!("{name:?} {} {:08x}\n", entry.size(), entry.crc32());
        }
        Ok(all)
    }

    /// The error that there is no array called `name`.
    pub(super) fn missing(&self, name: &'static str) -> Result<Error> {
        let names = self.names()?;
        let found = match names.is_empty() {
            true => "none".into(),
            false => names.join(", "),
        };
        Ok(Error::MissingArray {
            path: self.path.clone(),
            name,
            found,
        })
    }

    /// The array called `name` at its first number, `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::NotNpz`], [`Error::Truncated`], [`Error::ArrayHeader`], [`Error::ArrayType`],
    /// [`Error::FortranOrder`].
    pub(super) fn array(&mut self, name: &'static str) -> Result<Option<Array>> {
        self.array_as(name, name)
    }

    /// The array called `entry`, which errors call `name`.
    ///
    /// # Errors
    /// As of [`Self::array`].
    pub(super) fn array_as(&mut self, entry: &str, name: &'static str) -> Result<Option<Array>> {
        let path = &self.path;
        let entry = match self.zip.by_name(&format!("{entry}.npy")) {
            Err(ZipError::FileNotFound) => return Ok(None),
            entry => entry.map_err(|error| broken(path, error))?,
        };
        let mut file = open(path)?;
        let start = entry.data_start().unwrap_or_default();
        let unreadable = |source| Error::Unreadable {
            path: path.clone(),
            source,
        };
        file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
        let packed = file.take(entry.compressed_size());
        let reader: Box<dyn Read + Send> = match entry.compression() {
            CompressionMethod::Stored => Box::new(packed),
            CompressionMethod::Deflated => Box::new(DeflateDecoder::new(packed)),
            other => {
                let reason =
                    format!("array {name:?} is packed by {other}, expected stored or deflated");
                return Err(Error::NotNpz {
                    path: path.clone(),
                    reason,
                });
            }
        };
        let mut reader = CrcReader::new(reader);
        let header = read_header(&mut reader).map_err(|fault| fault.of(path, name));
        let (number, shape) = header?;
        Ok(Some(Array {
            path: path.clone(),
            name,
            reader,
            checksum: entry.crc32(),
            number,
            shape,
        }))
    }
}

impl Array {
    /// The bytes of the next `count` numbers.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let length = count * self.number.bytes;
        // memory as the bytes come: a header may claim any size
        let mut bytes = Vec::new();
        let part = self
            .reader
            .by_ref()
            .take(length as u64)
            .read_to_end(&mut bytes);
        match part {
            Err(error) => Err(Fault::Short(error).of(&self.path, self.name)),
            Ok(got) if got < length => {
                let reason = format!("{got} bytes of the next image, expected {length}");
                Err(Fault::Short(io::Error::other(reason)).of(&self.path, self.name))
            }
            Ok(_) => Ok(bytes),
        }
    }

    /// Compares the checksum of what was read, which must have been all.
    ///
    /// # Errors
    /// [`Error::ArrayHeader`] if there is more, [`Error::Truncated`] if the bytes are not those that were saved.
    pub(super) fn finish(&mut self) -> Result<()> {
        let reason = match self.reader.read(&mut [0]) {
            Err(error) => Fault::Short(error),
            Ok(1..) => Fault::Reason("more numbers than the shape says".into()),
            Ok(0) if self.reader.crc().sum() != self.checksum => {
                Fault::Short(io::Error::other("its checksum differs"))
            }
            Ok(0) => return Ok(()),
        };
        Err(reason.of(&self.path, self.name))
    }

    /// The error that its numbers are not of the types `expected`.
    pub(super) fn wrong_type(&self, expected: &'static str) -> Error {
        Error::ArrayType {
            path: self.path.clone(),
            name: self.name,
            got: self.number.name(),
            expected,
        }
    }

    /// The error that its number of this place, counted through the array, is not as `expected`.
    pub(super) fn wrong_value(&self, place: usize, value: i128, expected: &'static str) -> Error {
        let mut left = place;
        let mut at: Vec<usize> = Vec::new();
        for side in self.shape.iter().rev() {
            at.push(left % side.max(&1));
            left /= side.max(&1);
        }
        at.reverse();
        Error::ArrayValue {
            path: self.path.clone(),
            name: self.name,
            at,
            value,
            expected,
        }
    }

    /// The error that its shape is not the one `expected`.
    pub(super) fn wrong_shape(&self, expected: impl Into<String>) -> Error {
        let (path, got) = (self.path.clone(), self.shape.clone());
        Error::ArrayShape {
            path,
            name: self.name,
            got,
            expected: expected.into(),
        }
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let unreadable = |source| Error::Unreadable {
        path: path.into(),
        source,
    };
    File::open(path).map(BufReader::new).map_err(unreadable)
}

fn broken(path: &Path, error: ZipError) -> Error {
    let path = path.into();
    match error {
        ZipError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            Error::Unreadable { path, source }
        }
        error => Error::NotNpz {
            path,
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::super::npy::tests::npy;
    use super::*;

    const NAME: &str = "numbers";

    /// An archive of arrays.
    pub fn save(
        arrays: &[(&str, Vec<u8>)],
        method: CompressionMethod,
    ) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let mut writer = ZipWriter::new(File::create(&path).unwrap());
        for (name, bytes) in arrays {
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(format!("{name}.npy"), options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
        (dir, path)
    }

    /// The six bytes 1 to 6 in three parts, then the check of the whole.
    fn read(path: &Path) -> Result<Vec<u8>> {
        let mut array = Archive::open(path)?
            .array(NAME)?
            .expect("the array was saved");
        let parts: Vec<Vec<u8>> = (0..3).map(|_| array.take(2)).collect::<Result<_>>()?;
        array.finish()?;
        Ok(parts.concat())
    }

    fn numbers(shape: &str) -> Vec<u8> {
        npy("|u1", "False", shape, &[1, 2, 3, 4, 5, 6])
    }

    #[test]
    fn stored_and_deflated_arrays_are_read_in_parts() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let (_dir, path) = save(&[("other", b"x".to_vec()), (NAME, numbers("(6,)"))], method);
            assert_eq!(read(&path).unwrap(), [1, 2, 3, 4, 5, 6]);
            let mut archive = Archive::open(&path).unwrap();
            assert_eq!(archive.names().unwrap(), ["other", NAME]);
            assert!(archive.array("absent").unwrap().is_none());
        }
    }

    #[test]
    fn not_npz() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        for bytes in [&b""[..], b"hello", b"\x93NUMPY"] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(Archive::open(&path), Err(Error::NotNpz { .. })));
        }
        let (_dir, path) = save(&[(NAME, numbers("(6,)"))], CompressionMethod::Stored);
        let mut bytes = fs::read(&path).unwrap();
        // the method, in the local header and in the directory: 12 is bzip2
        let directory = bytes
            .windows(4)
            .position(|four| four == b"PK\x01\x02")
            .unwrap();
        bytes[8] = 12;
        bytes[directory + 10] = 12;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(read(&path), Err(Error::NotNpz { .. })));
    }

    #[test]
    fn unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let error = Archive::open(&dir.path().join("absent.npz")).err().unwrap();
        assert!(matches!(error, Error::Unreadable { .. }));
    }

    #[test]
    fn truncated() {
        // a whole archive of an array that ends early, in the header or the numbers
        let whole = numbers("(6,)");
        for length in [0, 5, 9, 30, whole.len() - 1] {
            let (_dir, path) = save(
                &[(NAME, whole[..length].to_vec())],
                CompressionMethod::Deflated,
            );
            let error = read(&path).unwrap_err();
            assert!(
                matches!(error, Error::Truncated { .. }),
                "{length}: {error}"
            );
        }
        // an archive that ends early has lost its directory
        let (_dir, path) = save(&[(NAME, whole)], CompressionMethod::Stored);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(read(&path).is_err(), "{length} of {}", bytes.len());
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let (_dir, path) = save(&[(NAME, numbers("(6,)"))], CompressionMethod::Stored);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes
            .windows(3)
            .position(|three| three == [4, 5, 6])
            .unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(&error, Error::Truncated { .. }), "{error}");
        assert!(error.to_string().contains("checksum"));
    }

    #[test]
    fn more_numbers_than_the_shape_says() {
        let long = [numbers("(6,)"), vec![7]].concat();
        let (_dir, path) = save(&[(NAME, long)], CompressionMethod::Stored);
        assert!(matches!(read(&path), Err(Error::ArrayHeader { .. })));
    }
}
