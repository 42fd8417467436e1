//! SHA-256 of files, as the tools for it write it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Read at a time, in bytes.
const CHUNK_BYTES: usize = 1 << 16;

/// The lowercase hex of the SHA-256 of some bytes.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Size and SHA-256 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn of_file(path: &Path) -> Result<(u64, String)> {
    let digested = || -> io::Result<(u64, String)> {
        let mut file = File::open(path)?;
        let (mut digest, mut bytes) = (Sha256::new(), 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok((bytes, hex(&digest.finalize()))),
                read => {
                    digest.update(chunk.get(..read).unwrap_or_default());
                    bytes += read as u64;
                }
            }
        }
    };
    digested().with_context(|| format!("cannot read {}", path.display()))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_hash_of_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&path).unwrap(), (3, known.to_owned()));
        assert_eq!(of_bytes(b"abc"), known);
        let long = vec![7; 3 * CHUNK_BYTES + 1];
        std::fs::write(&path, &long).unwrap();
        assert_eq!(of_file(&path).unwrap(), (long.len() as u64, of_bytes(&long)));
    }
}
