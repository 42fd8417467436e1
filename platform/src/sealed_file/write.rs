//! Writing a sealed file, chunk by chunk.

use std::collections::BTreeMap;
use std::io::Write;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use sha2::{Digest, Sha256};

use super::heading::{FORMAT_VERSION, Heading, RECIPIENTS_MAX, Wrap};
use super::{CHUNK_BYTES, FileKey, LAST, MAGIC, SealedFileError, nonce};

/// A key and those who may have it.
#[derive(Debug, Clone)]
pub struct SealedBy {
    /// Sixteen random bytes that name the file.
    pub file_id: [u8; 16],
    /// Its key.
    pub key: FileKey,
    /// The same key, wrapped.
    pub wraps: Vec<Wrap>,
}

/// Output that is hashed as it is written.
struct Hashed<W> {
    output: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SealedFileError> {
        self.output.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Seals what is written to it. A file without [`SealingWriter::finish`] does not open.
pub struct SealingWriter<W: Write> {
    output: Hashed<W>,
    cipher: Aes256Gcm,
    heading_hash: [u8; 32],
    number: u64,
    buffer: Vec<u8>,
}

impl<W: Write> SealingWriter<W> {
    /// Begins a file of this kind, about which this is said in clear.
    ///
    /// # Errors
    /// [`SealedFileError`].
    pub fn begin(
        output: W,
        kind: &str,
        about: BTreeMap<String, String>,
        sealed_by: SealedBy,
    ) -> Result<Self, SealedFileError> {
        let SealedBy { file_id, key, wraps } = sealed_by;
        if wraps.is_empty() || wraps.len() > RECIPIENTS_MAX {
            return Err(SealedFileError::Recipients);
        }
        let heading = Heading {
            format: FORMAT_VERSION,
            kind: kind.to_owned(),
            file_id: hex::encode(file_id),
            commitment: hex::encode(key.commitment(&file_id)),
            about,
            wraps,
        };
        let json = heading.to_json()?;
        let mut output = Hashed { output, hash: Sha256::new(), bytes: 0 };
        output.write(MAGIC)?;
        // It is bounded far below.
        output.write(&(json.len() as u32).to_be_bytes())?;
        output.write(&json)?;
        Ok(Self {
            output,
            cipher: key.cipher(&file_id),
            heading_hash: Sha256::digest(&json).into(),
            number: 0,
            buffer: Vec::with_capacity(CHUNK_BYTES),
        })
    }

    /// Seals more.
    ///
    /// # Errors
    /// [`SealedFileError::Io`].
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SealedFileError> {
        while !bytes.is_empty() {
            if self.buffer.len() == CHUNK_BYTES {
                self.seal(false)?;
            }
            let (taken, left) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(taken);
            bytes = left;
        }
        Ok(())
    }

    /// Ends the file; gives the output back, and the length of the file in bytes.
    ///
    /// # Errors
    /// [`SealedFileError::Io`].
    pub fn finish(mut self) -> Result<(W, u64), SealedFileError> {
        self.seal(true)?;
        let Hashed { mut output, hash, bytes } = self.output;
        let checksum: [u8; 32] = hash.finalize().into();
        output.write_all(&checksum)?;
        output.flush()?;
        Ok((output, bytes + checksum.len() as u64))
    }

    fn seal(&mut self, is_last: bool) -> Result<(), SealedFileError> {
        let payload = Payload { msg: &self.buffer, aad: &self.heading_hash };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce(self.number, is_last)), payload);
        // INVARIANT: GCM refuses only messages near 64 GiB.
        let Ok(ciphertext) = sealed else { unreachable!("a chunk is within the limits of GCM") };
        self.number += 1;
        self.buffer.clear();
        let length = ciphertext.len() as u32 | if is_last { LAST } else { 0 };
        self.output.write(&length.to_be_bytes())?;
        self.output.write(&ciphertext)
    }
}
