//! Sealed files: what leaves a server as a file, for those who are named to open it.
//!
//! ```text
//! "LOCKBOX-SEALED-FILE\n"
//! length of the heading (4 bytes, big-endian), the heading: JSON, in clear
//! chunks: length (4 bytes, the highest bit marks the last one), AES-256-GCM ciphertext and tag
//! SHA-256 of all of that
//! ```
//!
//! The key of the chunks is random, and wrapped for each recipient by HPKE (RFC 9180: X25519,
//! HKDF-SHA256, AES-256-GCM), or by whoever else the heading names. The hash of the heading is
//! associated data of every chunk, and the number of a chunk and whether it is the last are its
//! nonce: so nothing can be changed, left out, moved or cut off unnoticed. The checksum at the end
//! finds damage without a key, and proves nothing against who means it.
//!
//! Promises: what opens is what was sealed, whole. Refuses to know what is inside.

mod heading;
mod read;
mod recipient;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::io;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::KeyInit;
use hkdf::Hkdf;
use lockbox_core::{Randomness, Sensitive};
use sha2::Sha256;

pub use heading::{FORMAT_VERSION, Heading, RECIPIENTS_MAX, Wrap};
pub use read::{OpenedFile, SealedFile, check};
pub use recipient::{Recipient, RecipientKey};
pub use write::{SealedBy, SealingWriter};

/// What the file begins with.
const MAGIC: &[u8; 20] = b"LOCKBOX-SEALED-FILE\n";
/// Plaintext in one chunk, at most.
const CHUNK_BYTES: usize = 1 << 20;
/// What GCM adds.
const TAG_BYTES: usize = 16;
/// In the length of a chunk: it is the last one.
const LAST: u32 = 1 << 31;
/// Bytes of a file's key.
pub const FILE_KEY_BYTES: usize = 32;

const INFO_MESSAGE: &[u8] = b"lockbox sealed file v1 message key";
const INFO_COMMITMENT: &[u8] = b"lockbox sealed file v1 key commitment";

/// Why a file is not read, or not written; each a sentence about the file.
#[derive(Debug, thiserror::Error)]
pub enum SealedFileError {
    /// It begins with something else.
    #[error("it is no sealed file of Lockbox")]
    NotSealed,
    /// Another build has written it.
    #[error("it has format {found}, and this build reads format {FORMAT_VERSION}: use a newer one")]
    Format {
        /// The format that it names.
        found: u32,
    },
    /// Its heading cannot be read.
    #[error("its heading does not read: {0}")]
    Heading(String),
    /// It is shorter than it was.
    #[error("it ends early: a part of it is missing")]
    Truncated,
    /// It is not what was written.
    #[error("it was altered or damaged since it was written")]
    Altered,
    /// No key fits.
    #[error("no key that was given opens it: it is sealed for {0}")]
    NoKey(String),
    /// A text is no recipient, or no recipient's key. It is not quoted: it may be the wrong half.
    #[error("a {0} is not readable")]
    Unreadable(&'static str),
    /// It has too many recipients, or none.
    #[error("it must be sealed for at least one and at most {RECIPIENTS_MAX} recipients")]
    Recipients,
    /// The disk, or whoever takes the bytes, fails.
    #[error("cannot read or write it: {0}")]
    Io(#[from] io::Error),
}

/// The random key of one file.
#[derive(Clone)]
pub struct FileKey(Sensitive<[u8; FILE_KEY_BYTES]>);

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FileKey {
    /// A new one.
    #[must_use]
    pub fn generate(random: &dyn Randomness) -> Self {
        let mut key = Sensitive::new([0; FILE_KEY_BYTES]);
        random.fill(key.expose_mut());
        Self(key)
    }

    /// The key with these bytes; nothing when they are too few or too many.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; FILE_KEY_BYTES]>::try_from(bytes).ok().map(|key| Self(Sensitive::new(key)))
    }

    /// The key bytes. Whoever calls this must not log, store or format them.
    #[must_use]
    pub fn expose(&self) -> &[u8; FILE_KEY_BYTES] {
        self.0.expose()
    }

    fn derive(&self, file_id: &[u8], info: &[u8]) -> Sensitive<[u8; 32]> {
        let mut output = Sensitive::new([0; 32]);
        let hkdf = Hkdf::<Sha256>::new(Some(file_id), self.expose());
        let expanded = hkdf.expand(info, output.expose_mut());
        // INVARIANT: HKDF-SHA256 gives up to 8160 bytes (RFC 5869 §2.3); 32 always fit.
        assert!(expanded.is_ok(), "HKDF output is too long");
        output
    }

    fn cipher(&self, file_id: &[u8]) -> Aes256Gcm {
        Aes256Gcm::new(self.derive(file_id, INFO_MESSAGE).expose().into())
    }

    /// Binds the file to its key: one file cannot open to two contents under two keys.
    fn commitment(&self, file_id: &[u8]) -> [u8; 32] {
        *self.derive(file_id, INFO_COMMITMENT).expose()
    }

    fn fits(&self, file_id: &[u8], commitment: &[u8]) -> bool {
        self.derive(file_id, INFO_COMMITMENT).ct_eq(commitment)
    }
}

/// The nonce of a chunk, which is used once: the key is of one file.
fn nonce(number: u64, is_last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    nonce
}
