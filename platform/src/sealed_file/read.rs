//! Reading a sealed file: its heading by anybody, what is inside by who has the key.

use std::io::{ErrorKind, Read};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use sha2::{Digest, Sha256};

use super::heading::{HEADING_BYTES_MAX, Heading};
use super::recipient::RecipientKey;
use super::{CHUNK_BYTES, FileKey, LAST, MAGIC, SealedFileError, TAG_BYTES, nonce};

/// Input that is hashed as it is read.
struct Hashed<R> {
    input: R,
    hash: Sha256,
}

impl<R: Read> Hashed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), SealedFileError> {
        read_all(&mut self.input, bytes)?;
        self.hash.update(&*bytes);
        Ok(())
    }

    fn number(&mut self) -> Result<u32, SealedFileError> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// The next chunk as it is in the file, and whether it is the last.
    fn chunk(&mut self) -> Result<(Vec<u8>, bool), SealedFileError> {
        let length = self.number()?;
        let (bytes, is_last) = ((length & !LAST) as usize, length & LAST != 0);
        if !(TAG_BYTES..=CHUNK_BYTES + TAG_BYTES).contains(&bytes) {
            return Err(SealedFileError::Altered);
        }
        let mut ciphertext = vec![0; bytes];
        self.read(&mut ciphertext)?;
        Ok((ciphertext, is_last))
    }

    /// The checksum at the end, and that it is the end.
    fn end(mut self) -> Result<(), SealedFileError> {
        let expected: [u8; 32] = self.hash.finalize().into();
        let mut found = [0; 32];
        read_all(&mut self.input, &mut found)?;
        let mut more = [0];
        let is_end = loop {
            match self.input.read(&mut more) {
                Ok(read) => break read == 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        if found == expected && is_end { Ok(()) } else { Err(SealedFileError::Altered) }
    }
}

fn read_all(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), SealedFileError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => SealedFileError::Truncated,
        _ => error.into(),
    })
}

/// A file whose heading is read.
pub struct SealedFile<R: Read> {
    input: Hashed<R>,
    heading: Heading,
    heading_hash: [u8; 32],
}

impl<R: Read> SealedFile<R> {
    /// Reads the heading.
    ///
    /// # Errors
    /// [`SealedFileError`].
    pub fn begin(input: R) -> Result<Self, SealedFileError> {
        let mut input = Hashed { input, hash: Sha256::new() };
        let mut magic = [0; MAGIC.len()];
        match input.read(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Ok(()) | Err(SealedFileError::Truncated) => return Err(SealedFileError::NotSealed),
            Err(error) => return Err(error),
        }
        let length = input.number()? as usize;
        if length > HEADING_BYTES_MAX {
            return Err(SealedFileError::Altered);
        }
        let mut json = vec![0; length];
        input.read(&mut json)?;
        let heading = Heading::from_json(&json)?;
        Ok(Self { input, heading, heading_hash: Sha256::digest(&json).into() })
    }

    /// What stands in clear.
    #[must_use]
    pub const fn heading(&self) -> &Heading {
        &self.heading
    }

    /// The file's key, as this recipient has it; nothing when it is for others.
    #[must_use]
    pub fn key_for(&self, recipient: &RecipientKey) -> Option<FileKey> {
        self.heading.wraps.iter().find_map(|wrap| recipient.unwrap(wrap))
    }

    /// What is inside, with the key.
    ///
    /// # Errors
    /// [`SealedFileError::NoKey`] with another key.
    pub fn open(self, key: &FileKey) -> Result<OpenedFile<R>, SealedFileError> {
        let file_id = self.heading.id_bytes()?;
        let commitment = hex::decode(&self.heading.commitment)
            .map_err(|error| SealedFileError::Heading(error.to_string()))?;
        if !key.fits(&file_id, &commitment) {
            return Err(SealedFileError::NoKey(self.heading.holders()));
        }
        let Self { input, heading_hash, .. } = self;
        let cipher = key.cipher(&file_id);
        Ok(OpenedFile { input: Some(input), has_end: false, cipher, heading_hash, number: 0 })
    }
}

/// What is inside a sealed file. Nothing of it is whole before [`OpenedFile::next_chunk`] has
/// given nothing.
pub struct OpenedFile<R: Read> {
    /// Nothing once the end was reached, or reading has failed.
    input: Option<Hashed<R>>,
    has_end: bool,
    cipher: Aes256Gcm,
    heading_hash: [u8; 32],
    number: u64,
}

impl<R: Read> OpenedFile<R> {
    /// The next piece; nothing at the end, which is the end of the file.
    ///
    /// # Errors
    /// [`SealedFileError`]: what came before must not be used, either.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, SealedFileError> {
        let Some(mut input) = self.input.take() else {
            // Who asks again after a failure must not take it for the end.
            return if self.has_end { Ok(None) } else { Err(SealedFileError::Altered) };
        };
        let (ciphertext, is_last) = input.chunk()?;
        let payload = Payload { msg: &ciphertext, aad: &self.heading_hash };
        let opened = self.cipher.decrypt(&Nonce::from(nonce(self.number, is_last)), payload);
        let plaintext = opened.map_err(|_| SealedFileError::Altered)?;
        self.number += 1;
        if is_last {
            input.end()?;
            self.has_end = true;
        } else {
            self.input = Some(input);
        }
        Ok(Some(plaintext))
    }
}

/// Whether a file is as it was written, as far as that can be told without a key: against damage,
/// and not against who means it. Reads all of it.
///
/// # Errors
/// [`SealedFileError`].
pub fn check<R: Read>(input: R) -> Result<Heading, SealedFileError> {
    let SealedFile { mut input, heading, .. } = SealedFile::begin(input)?;
    loop {
        let (_, is_last) = input.chunk()?;
        if is_last {
            input.end()?;
            return Ok(heading);
        }
    }
}
