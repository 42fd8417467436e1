//! The sealed part of a backup: chunks of AES-256-GCM under a key of the backup's own.
//!
//! As STREAM does it (Hoang, Reyhanitabar, Rogaway, Vizár 2015): the nonce is the chunk's number and
//! whether it is the last one, so that chunks cannot be left out, moved or cut off; the associated
//! data is the header's hash, so that they fit no other backup.

use std::io::{self, BufRead, BufReader, Read, Write};

use zeroize::Zeroizing;

use super::BackupError;
use crate::algorithm::Algorithm;
use crate::gcm::{self, NONCE_BYTES, Parameters, TAG_BYTES};
use crate::root_key::RootKey;

/// What one chunk holds, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
const INFO_KEY: &[u8] = b"lockbox kms backup v1 key";

/// The key of one backup, and what its chunks are bound to.
pub(super) struct Sealing {
    /// On the heap, for a move copies what it moves and leaves the original on the stack.
    key: Zeroizing<Vec<u8>>,
    bound: [u8; 32],
}

impl Sealing {
    pub(super) fn new(root: &RootKey, salt: &[u8; 32], bound: [u8; 32]) -> Self {
        let mut key = Zeroizing::new(vec![0; 32]);
        root.derive(Some(salt), &[INFO_KEY], &mut key);
        Self { key, bound }
    }

    fn parameters<'a>(&'a self, nonce: &'a [u8; NONCE_BYTES]) -> Parameters<'a> {
        Parameters {
            algorithm: Algorithm::Aes256,
            key: &self.key,
            nonce,
            associated_data: &self.bound,
        }
    }
}

fn nonce(number: u64, is_last: bool) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    nonce
}

/// Seals what is written to it.
pub(super) struct ChunkWriter<'a> {
    sink: &'a mut dyn Write,
    sealing: Sealing,
    number: u64,
    waiting: Vec<u8>,
}

impl<'a> ChunkWriter<'a> {
    pub(super) fn new(sink: &'a mut dyn Write, sealing: Sealing) -> Self {
        Self { sink, sealing, number: 0, waiting: Vec::with_capacity(2 * CHUNK_BYTES) }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        // One is kept back: whether it is the last is known when more comes.
        while self.waiting.len() > CHUNK_BYTES {
            let rest = self.waiting.split_off(CHUNK_BYTES);
            let chunk = std::mem::replace(&mut self.waiting, rest);
            self.seal(&chunk, false)?;
        }
        Ok(())
    }

    /// Writes what is left, as the last chunk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.waiting);
        self.seal(&chunk, true)?;
        self.sink.flush()
    }

    fn seal(&mut self, chunk: &[u8], is_last: bool) -> io::Result<()> {
        let nonce = nonce(self.number, is_last);
        let sealed = gcm::seal(self.sealing.parameters(&nonce), chunk);
        self.number += 1;
        let length = u32::try_from(sealed.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        self.sink.write_all(&length.to_be_bytes())?;
        self.sink.write_all(&sealed)
    }
}

/// Opens what a [`ChunkWriter`] wrote.
pub(super) struct ChunkReader<R> {
    source: BufReader<R>,
    sealing: Sealing,
    number: u64,
    opened: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    is_over: bool,
}

impl<R: Read> ChunkReader<R> {
    pub(super) fn new(source: BufReader<R>, sealing: Sealing) -> Self {
        Self { source, sealing, number: 0, opened: Vec::new(), taken: 0, is_over: false }
    }

    /// The next bytes, exactly as many as the buffer is long.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.taken == self.opened.len() {
                self.open_next()?;
            }
            let left = &self.opened[self.taken..];
            let fits = left.len().min(buffer.len() - filled);
            buffer[filled..filled + fits].copy_from_slice(&left[..fits]);
            filled += fits;
            self.taken += fits;
        }
        Ok(())
    }

    /// Whether everything was taken, and nothing is behind it.
    pub(super) fn is_at_the_end(&self) -> bool {
        self.is_over && self.taken == self.opened.len()
    }

    fn open_next(&mut self) -> Result<(), BackupError> {
        if self.is_over {
            return Err(BackupError::Altered("it ends too early"));
        }
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if !(TAG_BYTES..=CHUNK_BYTES + TAG_BYTES).contains(&length) {
            return Err(BackupError::Altered("a chunk has a length that none has"));
        }
        let mut sealed = vec![0; length];
        self.read(&mut sealed)?;
        // Nothing may follow the last one: so the one that nothing follows has to be it.
        self.is_over = self.source.fill_buf().map_err(BackupError::Read)?.is_empty();
        let nonce = nonce(self.number, self.is_over);
        let opened = gcm::open(self.sealing.parameters(&nonce), &sealed)
            .map_err(|_| BackupError::Altered("a chunk does not open"))?;
        self.number += 1;
        self.opened.clear();
        self.opened.extend_from_slice(opened.expose());
        self.taken = 0;
        if self.opened.is_empty() && !self.is_over {
            return Err(BackupError::Altered("a chunk is empty"));
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        self.source.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Altered("it ends within a chunk"),
            _ => BackupError::Read(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing(bound: u8) -> Sealing {
        Sealing::new(&RootKey::from_bytes(&[1; 32]), &[2; 32], [bound; 32])
    }

    fn sealed(length: usize) -> (Vec<u8>, Vec<u8>) {
        let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let mut sink = Vec::new();
        let mut writer = ChunkWriter::new(&mut sink, sealing(3));
        for part in content.chunks(1000) {
            writer.push(part).unwrap();
        }
        writer.finish().unwrap();
        (content, sink)
    }

    fn read(file: &[u8], length: usize, bound: u8) -> Result<Vec<u8>, BackupError> {
        let mut reader = ChunkReader::new(BufReader::new(file), sealing(bound));
        let mut content = vec![0; length];
        reader.take(&mut content)?;
        if reader.is_at_the_end() { Ok(content) } else { Err(BackupError::Altered("more")) }
    }

    #[test]
    fn every_length_comes_back_and_only_whole() {
        for length in [1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let (content, file) = sealed(length);
            assert_eq!(read(&file, length, 3).unwrap(), content, "{length}");
            assert!(read(&file, length, 4).is_err(), "another header");
            assert!(read(&file, length - 1, 3).is_err(), "something is left");
            assert!(read(&file, length + 1, 3).is_err(), "something is missing");
        }
    }

    #[test]
    fn nothing_can_be_cut_moved_or_changed() {
        let length = 3 * CHUNK_BYTES;
        let (_, file) = sealed(length);
        let step = 4 + CHUNK_BYTES + TAG_BYTES;
        for cut in [0, 3, 4, step - 1, step, step + 1, 2 * step, file.len() - 1] {
            assert!(read(&file[..cut], length, 3).is_err(), "cut at {cut}");
            assert!(read(&file[..cut], cut.min(CHUNK_BYTES), 3).is_err(), "cut at {cut}");
        }
        let moved = [&file[step..2 * step], &file[..step], &file[2 * step..]].concat();
        assert!(read(&moved, length, 3).is_err());
        let left_out = [&file[..step], &file[2 * step..]].concat();
        assert!(read(&left_out, length - CHUNK_BYTES, 3).is_err());
        let longer = [&file[..], &[0]].concat();
        assert!(read(&longer, length, 3).is_err());
        for at in (0..file.len()).step_by(4099) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(read(&changed, length, 3).is_err(), "byte {at}");
        }
    }
}
