//! The beginning of a backup: in clear, for it says which root key opens the rest; authenticated
//! with every chunk of that.

use std::io::{self, Read, Write};

use lockbox_core::LogTime;
use lockbox_core::codec;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use super::BackupError;
use crate::passphrase::Derivation;
use crate::root_key::RootKeyId;
use crate::store::identity::Stamp;

/// The newest format that this build writes, and reads; also all before it.
pub const FORMAT: u32 = 1;
/// How every backup begins.
const MAGIC: &[u8; 19] = b"lockbox kms backup\n";
/// Longest header, in bytes.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// What is known of a backup without the root key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackupHeader {
    /// The format of what follows.
    #[n(0)]
    pub format: u32,
    /// The store that it is of.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub store_id: Stamp,
    /// The name of the root key that opens it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub root_key_id: RootKeyId,
    /// Makes its key one of its own.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub salt: [u8; 32],
    /// How the root key is derived, when it comes from a passphrase.
    #[n(4)]
    pub derivation: Option<Derivation>,
    /// The last commit that is in it.
    #[n(5)]
    pub head: u64,
    /// When it was made, on the KMS's clock.
    #[n(6)]
    pub created_at: LogTime,
    /// The tables; rows name them by their place in this list.
    #[n(7)]
    pub tables: Vec<String>,
}

impl BackupHeader {
    /// Writes it; gives what every chunk is bound to.
    pub(super) fn write(&self, sink: &mut dyn Write) -> io::Result<[u8; 32]> {
        let body = codec::encode(self);
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        sink.write_all(MAGIC)?;
        sink.write_all(&length.to_be_bytes())?;
        sink.write_all(&body)?;
        Ok(bound(&body))
    }

    /// Reads it; gives what every chunk is bound to, too.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`], [`BackupError::Format`], [`BackupError::Altered`] or
    /// [`BackupError::Read`].
    pub fn read(source: &mut dyn Read) -> Result<(Self, [u8; 32]), BackupError> {
        let mut magic = [0; MAGIC.len()];
        let mut length = [0; 4];
        let begun = source.read_exact(&mut magic).and_then(|()| source.read_exact(&mut length));
        match begun {
            Ok(()) if magic == *MAGIC => {}
            Ok(()) => return Err(BackupError::NotABackup),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(BackupError::NotABackup);
            }
            Err(error) => return Err(BackupError::Read(error)),
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > HEADER_BYTES_MAX {
            return Err(BackupError::Altered("its header is too long"));
        }
        let mut body = vec![0; length];
        source.read_exact(&mut body).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Altered("it ends within its header"),
            _ => BackupError::Read(error),
        })?;
        // The number first: what a later build writes need not decode.
        let unreadable = BackupError::Altered("its header cannot be read");
        let Ok(Numbered { format }) = codec::decode(&body) else { return Err(unreadable) };
        if format != FORMAT {
            return Err(BackupError::Format { found: format, known: FORMAT });
        }
        let header = codec::decode(&body).map_err(|_| unreadable)?;
        Ok((header, bound(&body)))
    }
}

/// As much of a header as those of all formats have.
#[derive(Decode)]
struct Numbered {
    #[n(0)]
    format: u32,
}

fn bound(body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    hash.update(body);
    hash.finalize().into()
}
