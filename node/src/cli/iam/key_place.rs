//! Where a new private key goes: into a file of its own, or to standard output.
//!
//! Promises: the place is there before anybody makes the key. A file is for its owner alone, is
//! never one that was there, and is gone again when no key has come for it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lockbox_platform::authorized_key::AuthorizedKeyFile;

use crate::cli::failure::Failure;
use crate::cli::output;

/// Nobody else reads a private key.
const OWNER_ONLY: u32 = 0o600;

/// A place that waits for its key.
pub(super) enum KeyPlace {
    /// Standard output.
    Output,
    /// A file that was made for it.
    File(NewFile),
}

/// An empty file, which goes when it stays empty.
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    filled: bool,
}

impl KeyPlace {
    /// Takes the place of this name; `-` is standard output.
    pub(super) fn take(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Output);
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
        let file = made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(format_args!(
                "{} exists: a key is not written over it",
                path.display()
            )),
            _ => cannot_write(path, &error),
        })?;
        Ok(Self::File(NewFile { path: path.to_owned(), file, filled: false }))
    }

    /// Puts the key there, on disk before it returns.
    pub(super) fn fill(self, key: &AuthorizedKeyFile) -> Result<(), Failure> {
        let json = key.to_json().map_err(Failure::usage)?;
        let bytes = json.expose().as_bytes();
        match self {
            Self::Output => match output::write_some(bytes)? {
                ControlFlow::Continue(()) => Ok(()),
                // Of a key nobody has seen enough.
                ControlFlow::Break(()) => Err(Failure::usage("nobody reads the output")),
            },
            Self::File(mut new) => {
                let written = new.file.write_all(bytes).and_then(|()| new.file.sync_all());
                written.map_err(|error| cannot_write(&new.path, &error))?;
                new.filled = true;
                Ok(())
            }
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.filled {
            // Whatever is wrong with it: there is nothing in it that anybody needs.
            std::fs::remove_file(&self.path).ok();
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format_args!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use lockbox_platform::authorized_key::{KeyAlgorithm, generate_key_pair};

    use super::*;
    use crate::cli::failure::Exit;

    fn refusal(path: &Path) -> Failure {
        KeyPlace::take(path).map(|_| ()).unwrap_err()
    }

    #[test]
    fn the_place_is_taken_before_the_key_is_made_and_given_back_without_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.json");
        let place = KeyPlace::take(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(place);
        assert!(!path.exists());

        let pair = generate_key_pair(KeyAlgorithm::Rsa2048).unwrap();
        let key = AuthorizedKeyFile {
            id: "ajk1".to_owned(),
            service_account_id: "aje1".to_owned(),
            created_at: String::new(),
            key_algorithm: KeyAlgorithm::Rsa2048,
            public_key: pair.public_key_pem,
            private_key: pair.private_key_pem,
        };
        KeyPlace::take(&path).unwrap().fill(&key).unwrap();
        assert_eq!(AuthorizedKeyFile::read(&path).unwrap().id, "ajk1");
    }

    #[test]
    fn a_file_that_is_there_is_left_alone_and_a_directory_that_is_not_is_said_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.json");
        std::fs::write(&path, "kept").unwrap();
        let refused = refusal(&path);
        assert_eq!(refused.exit(), Exit::Usage);
        assert!(refused.to_string().contains("key.json exists"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        let nowhere = refusal(&directory.path().join("absent").join("key.json"));
        assert_eq!(nowhere.exit(), Exit::Usage);
        assert!(nowhere.to_string().starts_with("cannot write "), "{nowhere}");
    }
}
