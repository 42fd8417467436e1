//! Compresses finished files, on a thread of its own: neither calls nor the writer wait for it.
//!
//! Promises: the compressed copy is on disk, and was read back and compared, before the file that
//! it is of is removed, also when it was there already; whatever ends the process meanwhile leaves
//! one of the two whole. A file that cannot be compressed keeps none of the others from it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::Receiver;

use sha2::{Digest, Sha256};

use crate::audit::files::AuditFiles;

/// JSON that repeats itself is a tenth at the lowest levels already.
const ZSTD_LEVEL: i32 = 3;
/// How much is compressed between two looks at whether the process ends, in bytes.
const BLOCK_BYTES: usize = 256 << 10;

/// The thread's work.
pub(super) struct Finisher {
    pub(super) files: AuditFiles,
}

impl Finisher {
    /// Compresses what earlier runs have left, then what is told of, until nobody can tell any
    /// more.
    pub(super) fn run(self, finished: &Receiver<()>, stopping: impl Fn() -> bool) {
        loop {
            if let Err(error) = self.compress_all(&stopping) {
                // The files stay as they are, which every reader takes; the next one tries again.
                tracing::warn!(%error, "finished audit files are not looked for");
            }
            if stopping() || finished.recv().is_err() {
                return;
            }
        }
    }

    fn compress_all(&self, stopping: &impl Fn() -> bool) -> io::Result<()> {
        for number in self.files.finished()? {
            if stopping() {
                return Ok(());
            }
            if self.files.plain(number).exists()
                && let Err(error) = self.compress(number, stopping)
            {
                tracing::warn!(%error, number, "a finished audit file is not compressed");
            }
        }
        Ok(())
    }

    fn compress(&self, number: u64, stopping: &impl Fn() -> bool) -> io::Result<()> {
        let (plain, part) = (self.files.plain(number), self.files.part(number));
        let target = self.files.compressed(number);
        if target.exists() {
            // A crash came between the two, or somebody else has made it.
            demand_copy(&target, hash_of(File::open(&plain)?)?)?;
        } else {
            let Some(written) = compress(&plain, &part, stopping)? else {
                return std::fs::remove_file(part);
            };
            demand_copy(&part, written)?;
            std::fs::rename(&part, &target)?;
            self.files.sync_directory()?;
        }
        match std::fs::remove_file(plain) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // It was one too many meanwhile; then its copy is, too.
                std::fs::remove_file(target)
            }
            removed => removed,
        }
    }
}

/// Writes a compressed copy to the disk and gives the hash of what went into it; nothing when the
/// process ends meanwhile.
fn compress(
    plain: &Path,
    part: &Path,
    stopping: &impl Fn() -> bool,
) -> io::Result<Option<[u8; 32]>> {
    let mut source = File::open(plain)?;
    let mut options = OpenOptions::new();
    let target = options.create(true).write(true).truncate(true).mode(0o600).open(part)?;
    let mut encoder = zstd::Encoder::new(target, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if stopping() {
            return Ok(None);
        }
        let length = source.read(&mut block)?;
        if length == 0 {
            break;
        }
        hash.update(&block[..length]);
        encoder.write_all(&block[..length])?;
    }
    encoder.finish()?.sync_all()?;
    Ok(Some(hash.finalize().into()))
}

/// Refuses a compressed file that does not hold what has this hash.
fn demand_copy(copy: &Path, hash: [u8; 32]) -> io::Result<()> {
    if hash_of(zstd::Decoder::new(File::open(copy)?)?)? == hash {
        return Ok(());
    }
    let message = format!("{} does not hold what was compressed", copy.display());
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

fn hash_of(mut source: impl Read) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let length = source.read(&mut block)?;
        if length == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&block[..length]);
    }
}
