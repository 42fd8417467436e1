//! Files that hold plaintexts, ciphertexts and contexts, byte for byte; `-` is the standard stream.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use lockbox_core::SensitiveBytes;

use crate::cli::failure::Failure;

/// More than any server takes: a file of another kind is not read to its end.
const INPUT_BYTES_MAX: u64 = 1 << 20;
/// Nobody else reads a plaintext.
const OWNER_ONLY: u32 = 0o600;

/// Reads a file, or standard input.
pub(crate) fn read(path: &Path) -> Result<SensitiveBytes, Failure> {
    let failed = |problem: &dyn std::fmt::Display| {
        Failure::usage(format_args!("cannot read {}: {problem}", path.display()))
    };
    let mut bytes = SensitiveBytes::new(Vec::new());
    let input: Box<dyn Read> = if is_standard(path) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| failed(&error))?)
    };
    let read = input.take(INPUT_BYTES_MAX + 1).read_to_end(bytes.expose_mut());
    if read.map_err(|error| failed(&error))? as u64 > INPUT_BYTES_MAX {
        return Err(failed(&"it is too long"));
    }
    Ok(bytes)
}

/// Writes a file that only its owner can read, in place of what was there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(path)
        .and_then(|mut file| file.write_all(bytes));
    written
        .map_err(|error| Failure::usage(format_args!("cannot write {}: {error}", path.display())))
}

/// Whether the path means standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn bytes_come_back_and_are_the_owners() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plain");
        write(&path, b"a longer text that is replaced").unwrap();
        write(&path, &[0, 255, b'\n']).unwrap();
        assert_eq!(read(&path).unwrap().expose(), &[0, 255, b'\n']);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let absent = read(&directory.path().join("absent")).map(drop).unwrap_err();
        assert!(absent.to_string().contains("cannot read"), "{absent}");
        let long = directory.path().join("long");
        std::fs::write(&long, vec![0; (1 << 20) + 1]).unwrap();
        assert!(read(&long).is_err());
    }
}
