//! TensorBoard's event file: records of length, checksum, message, checksum.
//!
//! The messages are `Event` and `Summary` of TensorFlow's `event.proto` and `summary.proto`, the
//! framing that of its `record_writer`: lengths and checksums little endian, CRC-32C masked.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certiseg_net::checkpoint::write_whole;
use crc32c::crc32c;

/// TensorBoard looks for `tfevents` in a file's name.
const FILE: &str = "events.out.tfevents.0.certiseg";

/// An event file that grows.
pub struct Events {
    file: File,
    path: PathBuf,
}

impl Events {
    /// The file in a run folder with its scalars up to a step, those of the epoch that ends with it
    /// only where that is `done`; without one it is made. What a killed program left of a record at
    /// the end is dropped.
    pub fn open(dir: &Path, step: u64, done: bool) -> Result<Self> {
        let path = dir.join(FILE);
        let old = match std::fs::read(&path) {
            Ok(old) => old,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let mut kept = Vec::new();
        let mut rest = old.as_slice();
        let mut last = None;
        while let Some((message, after)) = first_record(rest) {
            let at = step_of(message);
            // the epoch comes behind its last step, under the same number
            let early = at == Some(step) && at == last && !done;
            if at.is_some_and(|at| at <= step) && !early {
                kept.extend(&rest[..rest.len() - after.len()]);
            }
            last = at;
            rest = after;
        }
        if kept.is_empty() {
            let version = field(3, Wire::Bytes(b"brain.Event:2"));
            kept = record(&[time(now()), field(2, Wire::Number(0)), version].concat());
        }
        write_whole(&path, &kept)?;
        let file = File::options().append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path })
    }

    /// Adds scalars at a step.
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> Result<()> {
        let summary: Vec<u8> = values
            .iter()
            .flat_map(|(tag, value)| {
                let value = Wire::Float(*value as f32);
                let inner = [field(1, Wire::Bytes(tag.as_bytes())), field(2, value)].concat();
                field(1, Wire::Bytes(&inner))
            })
            .collect();
        let step = field(2, Wire::Number(step));
        let message = [time(now()), step, field(5, Wire::Bytes(&summary))].concat();
        let written = self.file.write_all(&record(&message));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// What was added is on disk.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// A value of a message.
enum Wire<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
}

fn field(number: u8, value: Wire) -> Vec<u8> {
    let key = |kind| vec![number << 3 | kind];
    match value {
        Wire::Number(value) => [key(0), varint(value)].concat(),
        Wire::Float(value) => [key(5), value.to_le_bytes().to_vec()].concat(),
        Wire::Bytes(bytes) => [key(2), varint(bytes.len() as u64), bytes.to_vec()].concat(),
    }
}

/// Field 1, a double.
fn time(seconds: f64) -> Vec<u8> {
    [vec![1 << 3 | 1], seconds.to_le_bytes().to_vec()].concat()
}

/// Seven bits a byte, the lowest first.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let sums = [&length, message].map(|part| masked(crc32c(part)).to_le_bytes());
    [&length[..], &sums[0], message, &sums[1]].concat()
}

fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The first message and what follows it; `None` where no whole, sound record begins.
fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (message, rest) = rest.split_at_checked(count)?;
    let (message_sum, rest) = rest.split_first_chunk::<4>()?;
    let sound = masked(crc32c(length)).to_le_bytes() == *sum
        && masked(crc32c(message)).to_le_bytes() == *message_sum;
    sound.then_some((message, rest))
}

/// The step of a message of ours: time first (9 bytes), then the step.
fn step_of(message: &[u8]) -> Option<u64> {
    let after = message.get(9..)?.strip_prefix(&[2 << 3])?;
    let mut step = 0;
    for (at, byte) in after.iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_as_tensorflow_does() {
        // checksums by the definition of CRC-32C: crc32c("123456789") = e3069283
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(0xe306_9283), 0xc78a_b0e5);
        let framed = record(b"abc");
        assert_eq!(framed.len(), 8 + 4 + 3 + 4);
        assert_eq!(first_record(&framed), Some((&b"abc"[..], &b""[..])));
        for at in 0..framed.len() {
            let mut broken = framed.clone();
            broken[at] ^= 1;
            assert_eq!(first_record(&broken), None, "byte {at}");
            assert_eq!(first_record(&framed[..at]), None);
        }
    }

    #[test]
    fn a_torn_tail_and_later_steps_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::open(dir.path(), 0, true).unwrap();
        for step in [1, 2, 300] {
            let scalar = ("loss".to_owned(), 0.5);
            events.scalars(step, &[scalar]).unwrap();
        }
        let steps = || {
            let bytes = std::fs::read(dir.path().join(FILE)).unwrap();
            let (mut rest, mut steps) = (bytes.as_slice(), Vec::new());
            while let Some((message, after)) = first_record(rest) {
                steps.push(step_of(message).unwrap());
                rest = after;
            }
            (steps, rest.len())
        };
        assert_eq!(steps(), (vec![0, 1, 2, 300], 0));
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        drop(Events::open(dir.path(), 1000, true).unwrap());
        assert_eq!(steps(), (vec![0, 1, 2], 0));
        drop(Events::open(dir.path(), 1, true).unwrap());
        assert_eq!(steps(), (vec![0, 1], 0));
    }
    #[test]
    fn an_epoch_that_is_done_again_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::open(dir.path(), 0, true).unwrap();
        for (step, tag) in [(1, "train/loss"), (2, "train/loss"), (2, "epoch/loss")] {
            events.scalars(step, &[(tag.to_owned(), 0.5)]).unwrap();
        }
        let size = || std::fs::metadata(dir.path().join(FILE)).unwrap().len();
        let whole = size();
        drop(Events::open(dir.path(), 2, true).unwrap());
        assert_eq!(size(), whole);
        // the checkpoint is from before the end of the epoch
        let mut events = Events::open(dir.path(), 2, false).unwrap();
        assert!(size() < whole);
        let scalar = ("epoch/loss".to_owned(), 0.5);
        events.scalars(2, &[scalar]).unwrap();
        assert_eq!(size(), whole);
    }
}
