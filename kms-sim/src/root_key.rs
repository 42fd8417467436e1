//! The root key: 32 bytes that wrap all key material at rest.
//!
//! Owns its forms (a private file, the environment) and the keys derived from it. Promises that a
//! file which others can read is refused, and that the bytes are wiped when dropped. Refuses to
//! know what is wrapped, and what a passphrase is ([`crate::root_secret`]).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockbox_core::{Randomness, Sensitive};
use lockbox_platform::credentials;
use zeroize::Zeroizing;

use crate::gcm;
use crate::passphrase::{PASSPHRASE_BYTES_MAX, PASSPHRASE_BYTES_MIN, PASSPHRASE_VARIABLE};

/// Length of the root key, in bytes.
pub const ROOT_KEY_BYTES: usize = 32;
/// The environment variable that can hold the root key in base64.
pub const ROOT_KEY_VARIABLE: &str = "KMS_ROOT_KEY";

/// Longest file that can be a root key in any of the accepted forms.
const FILE_BYTES_MAX: usize = 256;
const INFO_ROOT_ID: &[u8] = b"lockbox kms root key v1 id";

/// Why there is no root key; one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The file cannot be read.
    #[error("cannot read the {what} file {path}: {source}")]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("the {what} file {path} has mode {mode:03o}: others can read it; run chmod 600 {path}")]
    Exposed {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
    },
    /// The file or variable does not hold a key.
    #[error("{origin} does not hold a root key: 32 bytes are expected, raw, in hex or in base64")]
    Malformed {
        /// The file or variable.
        origin: String,
    },
    /// The passphrase can be guessed, or is none.
    #[error(
        "{origin} does not hold a passphrase: {PASSPHRASE_BYTES_MIN} to {PASSPHRASE_BYTES_MAX} \
         bytes on one line are expected"
    )]
    Passphrase {
        /// The file or variable.
        origin: String,
    },
    /// Neither file nor variable is there.
    #[error(
        "there is no root key: set root_key.file or root_key.passphrase_file in the \
         configuration, or {ROOT_KEY_VARIABLE} or {PASSPHRASE_VARIABLE} in the environment"
    )]
    Missing,
    /// More than one is there, and nobody said which counts.
    #[error(
        "there is a root key and a passphrase: set one of {ROOT_KEY_VARIABLE} and \
         {PASSPHRASE_VARIABLE}"
    )]
    Ambiguous,
    /// The file cannot be created; it is never overwritten.
    #[error("cannot create the root key file {path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Names a root key without giving it away, so that a rotation can tell old wraps from new ones.
pub type RootKeyId = [u8; 8];

/// The root key. No `Debug`, wiped when dropped. On the heap, for a move copies what it moves and
/// leaves the original on the stack.
pub struct RootKey(Zeroizing<Vec<u8>>);

impl RootKey {
    /// Takes 32 bytes as the root key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; ROOT_KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The same from a buffer of 32 bytes that is wiped.
    pub(crate) fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Self {
        // INVARIANT: every caller makes it so long.
        assert_eq!(bytes.len(), ROOT_KEY_BYTES, "a root key has 32 bytes");
        Self(bytes)
    }

    /// The same from however many bytes, if they are 32.
    fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == ROOT_KEY_BYTES).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Reads a file that only its owner may read: 32 raw bytes, 64 hex digits or base64.
    ///
    /// # Errors
    /// [`RootKeyError::Read`], [`RootKeyError::Exposed`] or [`RootKeyError::Malformed`].
    pub fn read_file(path: &Path) -> Result<Self, RootKeyError> {
        let content = read_private("root key", path, FILE_BYTES_MAX)?;
        parse(&content)
            .ok_or_else(|| RootKeyError::Malformed { origin: path.display().to_string() })
    }

    /// Reads the value of [`ROOT_KEY_VARIABLE`].
    ///
    /// # Errors
    /// [`RootKeyError::Malformed`].
    pub fn from_variable(value: &Sensitive<String>) -> Result<Self, RootKeyError> {
        parse(value.expose().as_bytes())
            .ok_or_else(|| RootKeyError::Malformed { origin: ROOT_KEY_VARIABLE.to_owned() })
    }

    /// The public name of this key.
    #[must_use]
    pub fn id(&self) -> RootKeyId {
        let mut id = RootKeyId::default();
        self.derive(None, &[INFO_ROOT_ID], &mut id);
        id
    }

    /// A new random root key.
    #[must_use]
    pub fn generate(random: &dyn Randomness) -> Self {
        let mut key = Zeroizing::new(vec![0; ROOT_KEY_BYTES]);
        random.fill(&mut key);
        Self(key)
    }

    /// Writes the key into a new file with mode 0600, in hex. An existing file is left alone.
    ///
    /// # Errors
    /// [`RootKeyError::Create`].
    pub fn write_file(&self, path: &Path) -> Result<(), RootKeyError> {
        // As long as the text is from the start: a growing buffer would leave a copy behind.
        let mut text = Zeroizing::new(vec![b'\n'; 2 * ROOT_KEY_BYTES + 1]);
        // INVARIANT: two digits for each byte.
        let written = hex::encode_to_slice(self.0.as_slice(), &mut text[..2 * ROOT_KEY_BYTES]);
        assert!(written.is_ok(), "the digits of a root key fit");
        let written = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_slice())?;
            file.sync_all()?;
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        };
        written().map_err(|source| RootKeyError::Create { path: path.to_owned(), source })
    }

    /// The bytes, for recovery shares. Whoever calls this must not log, store or format them.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Derives a key for one purpose.
    pub(crate) fn derive(&self, salt: Option<&[u8]>, info: &[&[u8]], output: &mut [u8]) {
        gcm::derive(self.0.as_slice(), salt, info, output);
    }
}

/// Creates a root key file with mode 0600, in hex. An existing file is left alone.
///
/// # Errors
/// [`RootKeyError::Create`].
pub fn create_file(path: &Path, random: &dyn Randomness) -> Result<(), RootKeyError> {
    RootKey::generate(random).write_file(path)
}

/// The beginning of a file that nobody but its reader may read, at most so many bytes of it.
///
/// # Errors
/// [`RootKeyError::Read`] or [`RootKeyError::Exposed`].
pub(crate) fn read_private(
    what: &'static str,
    path: &Path,
    bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, RootKeyError> {
    let failed = |source| RootKeyError::Read { what, path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file: the name could be moved to another one in between.
    let metadata = file.metadata().map_err(failed)?;
    if !credentials::is_private(path, &metadata) {
        let mode = metadata.mode() & 0o777;
        return Err(RootKeyError::Exposed { what, path: path.to_owned(), mode });
    }
    // As large as it may get: a growing buffer would leave a copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(bytes_max));
    file.take(bytes_max as u64).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

fn parse(content: &[u8]) -> Option<RootKey> {
    if let Some(raw) = RootKey::from_slice(content) {
        return Some(raw);
    }
    let text = std::str::from_utf8(content).ok()?.trim();
    let decoded = if text.len() == 2 * ROOT_KEY_BYTES {
        Zeroizing::new(hex::decode(text).ok()?)
    } else {
        Zeroizing::new(STANDARD.decode(text).ok()?)
    };
    RootKey::from_slice(&decoded)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use lockbox_platform::system::SystemRandom;

    use super::*;

    fn write(path: &Path, content: &[u8], mode: u32) {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_created_file_is_private_reads_back_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.key");
        create_file(&path, &SystemRandom).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let first = RootKey::read_file(&path).map(|key| key.id()).unwrap();
        assert!(matches!(create_file(&path, &SystemRandom), Err(RootKeyError::Create { .. })));
        assert_eq!(RootKey::read_file(&path).map(|key| key.id()).unwrap(), first);
    }

    #[test]
    fn the_three_forms_are_the_same_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.key");
        let bytes = [0xc3_u8; ROOT_KEY_BYTES];
        let expected = RootKey::from_bytes(&bytes).id();
        let base64 = STANDARD.encode(bytes);
        let hexed = hex::encode(bytes) + "\n";
        for content in [bytes.as_slice(), base64.as_bytes(), hexed.as_bytes()] {
            write(&path, content, 0o400);
            assert_eq!(RootKey::read_file(&path).map(|key| key.id()).unwrap(), expected);
        }
        let variable = Sensitive::new(base64);
        assert_eq!(RootKey::from_variable(&variable).map(|key| key.id()).unwrap(), expected);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.key");
        for mode in [0o644, 0o640, 0o604, 0o620] {
            write(&path, &[7; ROOT_KEY_BYTES], mode);
            let Err(error) = RootKey::read_file(&path) else { panic!("mode {mode:o} accepted") };
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn missing_short_and_garbled_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.key");
        assert!(matches!(RootKey::read_file(&path), Err(RootKeyError::Read { .. })));
        for content in [&b""[..], &[1; 31], b"zz", &[b'f'; 63]] {
            write(&path, content, 0o600);
            assert!(matches!(RootKey::read_file(&path), Err(RootKeyError::Malformed { .. })));
        }
    }
}
