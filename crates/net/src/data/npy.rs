//! NumPy's `npy` format: a header that names type and shape, then the numbers.
//!
//! Source: `numpy.lib.format`, versions 1 to 3.

use std::io::{self, Read};
use std::path::Path;

use crate::Error;

/// Longest `npy` header read, in bytes: NumPy's own limit.
const LONGEST_HEADER: usize = 10_000;

/// Type of the numbers of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) kind: Kind,
    pub(super) bytes: usize,
    big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Signed,
    Unsigned,
}

impl Number {
    /// The type named by NumPy's letters: byte order, kind, bytes.
    fn named(descr: &str) -> Option<Self> {
        let mut letters = descr.chars();
        let (order, kind) = (letters.next()?, letters.next()?);
        let bytes = letters.as_str().parse().ok()?;
        let kind = match (kind, bytes) {
            ('f', 2 | 4 | 8) => Kind::Float,
            ('i', 1 | 2 | 4 | 8) => Kind::Signed,
            ('u', 1 | 2 | 4 | 8) => Kind::Unsigned,
            _ => return None,
        };
        matches!(order, '<' | '>' | '|').then_some(Self {
            kind,
            bytes,
            big_endian: order == '>',
        })
    }

    /// Its name in NumPy.
    pub(super) fn name(self) -> String {
        let kind = match self.kind {
            Kind::Float => "float",
            Kind::Signed => "int",
            Kind::Unsigned => "uint",
        };
        format!("{kind}{}", 8 * self.bytes)
    }

    /// The bits, most significant byte first.
    fn bits(self, chunk: &[u8]) -> u64 {
        let push = |bits: u64, &byte: &u8| bits << 8 | u64::from(byte);
        if self.big_endian {
            chunk.iter().fold(0, push)
        } else {
            chunk.iter().rev().fold(0, push)
        }
    }

    pub(super) fn float(self, chunk: &[u8]) -> f64 {
        let bits = self.bits(chunk);
        match self.bytes {
            2 => half(bits as u16),
            4 => f64::from(f32::from_bits(bits as u32)),
            _ => f64::from_bits(bits),
        }
    }

    pub(super) fn integer(self, chunk: &[u8]) -> i128 {
        let bits = self.bits(chunk);
        let unused = 64 - 8 * self.bytes;
        match self.kind {
            Kind::Signed => i128::from((bits << unused) as i64 >> unused),
            _ => i128::from(bits),
        }
    }
}

/// A float16 (1 bit sign, 5 exponent, 10 fraction) as a number, exactly.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// What is wrong with a header.
pub(super) enum Fault {
    Short(io::Error),
    Reason(String),
    Fortran,
    Type(String),
}

impl Fault {
    pub(super) fn of(self, path: &Path, name: &'static str) -> Error {
        let path = path.to_path_buf();
        match self {
            Fault::Short(error) => Error::Truncated {
                path,
                reason: format!("array {name:?}: {error}"),
            },
            Fault::Reason(reason) => Error::ArrayHeader { path, name, reason },
            Fault::Fortran => Error::FortranOrder { path, name },
            Fault::Type(got) => {
                let expected = "a float of 16 to 64 bits or an integer of 8 to 64 bits";
                Error::ArrayType {
                    path,
                    name,
                    got,
                    expected,
                }
            }
        }
    }
}

/// Type and shape from an `npy` header; leaves the reader at the first number.
pub(super) fn read_header(
    reader: &mut impl Read,
) -> std::result::Result<(Number, Vec<usize>), Fault> {
    let mut bytes = |length: usize| {
        let mut bytes = vec![0; length];
        reader
            .read_exact(&mut bytes)
            .map(|()| bytes)
            .map_err(Fault::Short)
    };
    let reason = |text: &str| Fault::Reason(text.into());
    let length = match bytes(8)?[..] {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _] => bytes(2)?,
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _] => bytes(4)?,
        _ => return Err(reason("no npy header of version 1 to 3")),
    };
    let length = length
        .iter()
        .rev()
        .fold(0, |length, &byte| length << 8 | usize::from(byte));
    if length > LONGEST_HEADER {
        return Err(Fault::Reason(format!(
            "{length} bytes long, expected at most {LONGEST_HEADER}"
        )));
    }
    let text = String::from_utf8(bytes(length)?).map_err(|_| reason("not text"))?;
    let value = |key: &str| {
        let rest = text
            .split_once(&format!("'{key}'"))
            .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
        rest.map(str::trim_start)
            .ok_or_else(|| Fault::Reason(format!("no {key:?} in {:?}", text.trim_end())))
    };
    let descr = value("descr")?;
    let named = descr
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''));
    // a list here is a record type
    let descr = named
        .map(|(descr, _)| descr)
        .ok_or_else(|| Fault::Type("record".into()))?;
    let number = Number::named(descr).ok_or_else(|| Fault::Type(descr.into()))?;
    let shape = value("shape")?
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .map(|(shape, _)| shape);
    let sizes = shape
        .ok_or_else(|| reason("the shape is no tuple"))?
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty());
    let shape: Vec<usize> = sizes
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| reason("the shape is no tuple of sizes"))?;
    match value("fortran_order")? {
        order if order.starts_with("False") => Ok((number, shape)),
        order if order.starts_with("True") => Err(Fault::Fortran),
        _ => Err(reason("fortran_order is neither True nor False")),
    }
}
#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An `npy` file of version 1.
    pub fn npy(descr: &str, order: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
        let text =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\0".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.bytes().chain(bytes.iter().copied()));
        file
    }

    #[test]
    fn headers_give_type_and_shape_and_end_where_the_numbers_begin() {
        let first = npy(">i2", "False", "(3,)", &[7, 8]);
        let length = u32::from(u16::from_le_bytes([first[8], first[9]]));
        let second = [b"\x93NUMPY\x02\0", &length.to_le_bytes()[..], &first[10..]].concat();
        for file in [first, second] {
            let mut rest = &file[..];
            let Ok((number, shape)) = read_header(&mut rest) else {
                panic!("{file:?}")
            };
            assert_eq!((shape, rest), (vec![3], &[7, 8][..]));
            assert_eq!(
                number,
                Number {
                    kind: Kind::Signed,
                    bytes: 2,
                    big_endian: true
                }
            );
        }
        let scalar = read_header(&mut &npy("<f8", "False", "()", &[])[..]).ok();
        assert_eq!(scalar.map(|(_, shape)| shape), Some(vec![]));
    }

    #[test]
    fn a_header_may_not_claim_any_length() {
        let file = [b"\x93NUMPY\x02\0", &u32::MAX.to_le_bytes()[..]].concat();
        assert!(matches!(read_header(&mut &file[..]), Err(Fault::Reason(_))));
    }

    #[test]
    fn float16_is_exact() {
        // values from the standard: 1, -2, 65504, the smallest normal and subnormal
        let known = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103515625e-5),
            (1, 5.960464477539063e-8),
        ];
        for (bits, value) in known {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00) == f64::INFINITY && half(0xfc00) == f64::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
        let rises = |bits| half(bits) < half(bits + 1);
        assert!((0..0x7c00).all(|bits| rises(bits) && half(bits) == f64::from(half(bits) as f32)));
    }
}
