//! The heading of a sealed file: what anybody may read of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SealedFileError;

/// The format that this build writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Those who may open one file, at most.
pub const RECIPIENTS_MAX: usize = 32;
/// A heading is no longer than this.
pub(super) const HEADING_BYTES_MAX: usize = 64 << 10;

/// The file's key as somebody has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Wrap {
    /// Wrapped by HPKE for a recipient.
    Recipient {
        /// Who that is.
        recipient: String,
        /// The encapsulated secret, in hexadecimal digits.
        encapsulated: String,
        /// The wrapped key, in hexadecimal digits.
        wrapped: String,
    },
    /// Encrypted by a key of a KMS, with the file's id as associated data.
    Kms {
        /// The key's id there.
        key_id: String,
        /// The wrapped key, in hexadecimal digits.
        wrapped: String,
    },
}

impl Wrap {
    /// Who can open it, for people.
    #[must_use]
    pub fn holder(&self) -> String {
        match self {
            Self::Recipient { recipient, .. } => recipient.clone(),
            Self::Kms { key_id, .. } => format!("the key {key_id} of the KMS"),
        }
    }
}

/// What stands in clear at the beginning of a file; the chunks are bound to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heading {
    /// The format of the file.
    pub format: u32,
    /// What is inside: each kind has readers of its own.
    pub kind: String,
    /// Sixteen random bytes, in hexadecimal digits.
    pub file_id: String,
    /// Commitment to the file's key, in hexadecimal digits.
    pub commitment: String,
    /// What its maker says of it, in clear.
    pub about: BTreeMap<String, String>,
    /// The key, for each who may have it.
    pub wraps: Vec<Wrap>,
}

/// What every format has: enough to say that a file is too new.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl Heading {
    pub(super) fn from_json(json: &[u8]) -> Result<Self, SealedFileError> {
        let unreadable = |error: serde_json::Error| SealedFileError::Heading(error.to_string());
        let AnyFormat { format } = serde_json::from_slice(json).map_err(unreadable)?;
        if format != FORMAT_VERSION {
            return Err(SealedFileError::Format { found: format });
        }
        serde_json::from_slice(json).map_err(unreadable)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, SealedFileError> {
        let json = serde_json::to_vec(self);
        let json = json.map_err(|error| SealedFileError::Heading(error.to_string()))?;
        if json.len() > HEADING_BYTES_MAX {
            return Err(SealedFileError::Heading("it is too long".to_owned()));
        }
        Ok(json)
    }

    /// The bytes of the file's id.
    pub(super) fn id_bytes(&self) -> Result<Vec<u8>, SealedFileError> {
        hex::decode(&self.file_id).map_err(|error| SealedFileError::Heading(error.to_string()))
    }

    /// Who can open the file, for people.
    #[must_use]
    pub fn holders(&self) -> String {
        self.wraps.iter().map(Wrap::holder).collect::<Vec<_>>().join(", ")
    }
}
