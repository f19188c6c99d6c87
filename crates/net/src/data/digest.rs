//! The hash of a data set: whether two runs saw the same files.

use std::fs::File;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::listing::Entry;
use crate::{Error, Result};

/// SHA-256 of the names of all pictures and of the bytes of their image and mask files, in order,
/// as 64 hexadecimal digits. `progress` is called with how many are done, from any thread.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn digest(entries: &[Entry], progress: &mut (dyn FnMut() + Send)) -> Result<String> {
    let progress = std::sync::Mutex::new(progress);
    let each: Vec<_> = entries
        .par_iter()
        .map(|entry| {
            let image = of_file(&entry.image)?;
            let mask = entry.mask.as_deref().map(of_file).transpose()?;
            if let Ok(mut progress) = progress.lock() {
                progress();
            }
            Ok((image, mask))
        })
        .collect::<Result<_>>()?;
    let mut all = Sha256::new();
    for (entry, (image, mask)) in entries.iter().zip(each) {
        // lengths keep a name from running into what follows
        all.update((entry.id.len() as u64).to_le_bytes());
        all.update(&entry.id);
        all.update(image);
        all.update([u8::from(mask.is_some())]);
        all.update(mask.unwrap_or_default());
    }
    Ok(hex(&all.finalize()))
}

fn of_file(path: &Path) -> Result<[u8; 32]> {
    let unreadable = |source| Error::Unreadable {
        path: path.into(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(unreadable)?;
    Ok(hash.finalize().into())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, list};
    use super::*;

    #[test]
    fn every_name_and_byte_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        for name in ["a", "b"] {
            write(&format!("images/{name}.png"), name.as_bytes());
            write(&format!("masks/{name}.png"), b"mask");
        }
        let entries = || list(dir.path(), Layout::Folder, None).unwrap();
        let mut calls = 0;
        let first = digest(&entries(), &mut || calls += 1).unwrap();
        assert_eq!((calls, first.len()), (2, 64));
        let again = || digest(&entries(), &mut || {}).unwrap();
        assert_eq!(again(), first);
        let mut turned = entries();
        turned.reverse();
        assert_ne!(digest(&turned, &mut || {}).unwrap(), first);
        write("masks/b.png", b"Mask");
        assert_ne!(again(), first);
        std::fs::remove_file(dir.path().join("masks/b.png")).unwrap();
        let gone = digest(&turned, &mut || {}).unwrap_err();
        assert!(matches!(gone, Error::Unreadable { path, .. } if path.ends_with("masks/b.png")));
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&Sha256::digest(b"abc")), expected);
    }
}
