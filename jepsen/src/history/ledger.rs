//! Lines of the ledgers that are compared after a run, and what a search for canaries found.

use serde::{Deserialize, Serialize};

use super::ids::{KmsKeyId, KmsRequestId, OpId};
use super::op::Stamp;

/// One line of one ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerLine {
    /// When the harness read the line.
    pub at: Stamp,
    /// Which ledger.
    pub ledger: Ledger,
    /// The request to the KMS.
    pub request: KmsRequestId,
    /// The operation that it was made for, by the id of the client's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<OpId>,
    /// What was done, or asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<KmsUse>,
    /// Whether it was done, as far as who kept the ledger knows. The bill does not ask.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
}

/// What was done with a key of the KMS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsUse {
    /// The key.
    pub key: KmsKeyId,
    /// What.
    pub operation: KmsOperation,
}

/// The operations that the KMS bills (`contract §7`), by their names there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KmsOperation {
    /// Encrypts.
    Encrypt,
    /// Decrypts: what a read of a payload takes, and each base of a merge.
    Decrypt,
    /// Encrypts anew.
    ReEncrypt,
    /// Makes a data key: what each new version takes.
    GenerateDataKey,
}

/// Who kept the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ledger {
    /// A node: this request was sent for that operation.
    NodeCalls,
    /// The KMS: this request was served.
    KmsServed,
    /// The KMS: this request was billed.
    KmsBilled,
}

/// A search for planted values where no plaintext may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryScan {
    /// When it ended.
    pub at: Stamp,
    /// Where it looked.
    pub place: ScanPlace,
    /// Which node's or process's, for the report.
    pub of: String,
    /// Canaries, or destroyed versions, that it looked for.
    pub canaries: u64,
    /// Bytes that it read.
    pub bytes: u64,
    /// Where it found one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<CanaryFound>,
}

/// What can hold a plaintext at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanPlace {
    /// A data directory: log, tables and snapshots.
    DataDirectory,
    /// What a process wrote as its log.
    ProcessLog,
    /// Audit records.
    Audit,
    /// The environment of a process.
    Environment,
    /// A core file, or the proof that there is none.
    CoreFiles,
    /// All files of a node, for versions that were destroyed.
    Destroyed,
}

/// A canary that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryFound {
    /// The operation that planted it, or the one that first saw the version destroyed.
    pub op: OpId,
    /// The file.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// In which form: `raw`, `base64`, `hex`, `utf16`, `wrapped_key`.
    pub form: String,
}
