//! One ledger record: who used which key version for what, and how it hangs on the one before.
//!
//! Promises: a record holds ids and counts, never content; its stored form is
//! `format | CBOR | chain`, where the chain value is SHA-256 over the previous chain value and the
//! bytes before it, so that a changed, lost or reordered record shows (`billing verify`).

use lockbox_core::{FolderId, KmsKeyId, KmsKeyVersionId, LogTime, Subject};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::store::records::KeyScope;
use lockbox_core::codec::{self, CodecError};

/// Length of a chain value, in bytes.
pub const CHAIN_BYTES: usize = 32;
/// Units charged for one operation (`contract §7`).
pub const UNITS_PER_OPERATION: u32 = 1;
/// Begins every chain computation, so that the hash fits no other use.
const CHAIN_DOMAIN: &[u8] = b"lockbox kms ledger v1";

/// A chain value.
pub type Chain = [u8; CHAIN_BYTES];

/// The four billed operations (`contract §7`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum CryptoOperation {
    /// Encrypt.
    #[n(1)]
    Encrypt = 1,
    /// Decrypt.
    #[n(2)]
    Decrypt = 2,
    /// ReEncrypt: one operation, on the target key (`contract §13` no. 24).
    #[n(3)]
    ReEncrypt = 3,
    /// GenerateDataKey.
    #[n(4)]
    GenerateDataKey = 4,
}

impl CryptoOperation {
    /// Every operation.
    pub const ALL: [Self; 4] =
        [Self::Encrypt, Self::Decrypt, Self::ReEncrypt, Self::GenerateDataKey];

    /// The name in reports, metrics and audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
            Self::ReEncrypt => "ReEncrypt",
            Self::GenerateDataKey => "GenerateDataKey",
        }
    }

    /// Whether the operation uses up one nonce of its key version.
    #[must_use]
    pub const fn encrypts(self) -> bool {
        match self {
            Self::Encrypt | Self::ReEncrypt | Self::GenerateDataKey => true,
            Self::Decrypt => false,
        }
    }
}

/// One version of one key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyVersionRef {
    /// The key.
    #[n(0)]
    pub key_id: KmsKeyId,
    /// The version.
    #[n(1)]
    pub version_id: KmsKeyVersionId,
}

/// What the caller of the ledger knows; the writer adds sequence, time and whether it is billed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LedgerEntry {
    /// What was done.
    #[n(0)]
    pub operation: CryptoOperation,
    /// With what; for a re-encryption the target.
    #[n(1)]
    pub target: KeyVersionRef,
    /// The source of a re-encryption.
    #[n(2)]
    pub source: Option<KeyVersionRef>,
    /// The target key's folder.
    #[n(3)]
    pub folder_id: FolderId,
    /// Whose key it is; the system's own uses are recorded and never billed.
    #[n(4)]
    pub scope: KeyScope,
    /// Who asked.
    #[n(5)]
    pub subject: Subject,
    /// The node that asked on the subject's behalf.
    #[n(6)]
    pub node: Option<String>,
    /// Id of the client's request, for logs.
    #[n(7)]
    pub request_id: String,
    /// Id by which a node's retry is recognised; empty when there is none.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub kms_request_id: Vec<u8>,
}

/// A ledger record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LedgerRecord {
    /// Its place in the commit sequence.
    #[n(0)]
    pub sequence: u64,
    /// When it was committed.
    #[n(1)]
    pub time: LogTime,
    /// What was done.
    #[n(2)]
    pub entry: LedgerEntry,
    /// False for a repeat of a billed request and for the system's own uses.
    #[n(3)]
    pub billable: bool,
    /// Units charged when billable; one for every operation so far.
    #[n(4)]
    pub units: u32,
}

/// Encodes a record as the successor of `previous`; gives its stored form and its chain value.
#[must_use]
pub fn encode(record: &LedgerRecord, previous: &Chain) -> (Vec<u8>, Chain) {
    let mut bytes = codec::encode(record);
    let chain = link(previous, &bytes);
    bytes.extend_from_slice(&chain);
    (bytes, chain)
}

/// Decodes a record; gives its chain value, and whether it follows from `previous`.
///
/// # Errors
/// [`CodecError`] when the bytes are no record.
pub fn decode(bytes: &[u8], previous: &Chain) -> Result<(LedgerRecord, Chain, bool), CodecError> {
    let (body, chain) = bytes.split_last_chunk().ok_or(CodecError::Empty)?;
    Ok((codec::decode(body)?, *chain, link(previous, body) == *chain))
}

fn link(previous: &Chain, body: &[u8]) -> Chain {
    let mut hash = Sha256::new();
    hash.update(CHAIN_DOMAIN);
    hash.update(previous);
    hash.update(body);
    hash.finalize().into()
}

#[cfg(test)]
pub(crate) mod tests {
    use lockbox_core::SubjectKind;

    use super::*;

    pub(crate) fn entry(operation: CryptoOperation, key: &str, version: &str) -> LedgerEntry {
        LedgerEntry {
            operation,
            target: KeyVersionRef {
                key_id: KmsKeyId::parse(key).unwrap(),
                version_id: KmsKeyVersionId::parse(version).unwrap(),
            },
            source: None,
            folder_id: FolderId::parse("folder").unwrap(),
            scope: KeyScope::Customer,
            subject: Subject { kind: SubjectKind::ServiceAccount, id: "sa".to_owned() },
            node: None,
            request_id: "request".to_owned(),
            kms_request_id: vec![1; 16],
        }
    }

    #[test]
    fn a_record_reads_back_only_behind_its_predecessor() {
        let record = LedgerRecord {
            sequence: 7,
            time: LogTime::from_ms(1),
            entry: entry(CryptoOperation::Encrypt, "k", "v"),
            billable: true,
            units: 1,
        };
        let (bytes, chain) = encode(&record, &[3; CHAIN_BYTES]);
        assert_eq!(decode(&bytes, &[3; CHAIN_BYTES]), Ok((record.clone(), chain, true)));
        assert_eq!(decode(&bytes, &[4; CHAIN_BYTES]), Ok((record, chain, false)));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let noticed = !matches!(decode(&damaged, &[3; CHAIN_BYTES]), Ok((_, _, true)));
            assert!(noticed, "byte {at}");
        }
        assert_eq!(decode(&bytes[..20], &[3; CHAIN_BYTES]), Err(CodecError::Empty));
    }
}
