//! The manifest of a snapshot: what it contains, and the length and hash of every file.
//!
//! JSON, so that an operator can read it. `hmac` is reserved: a later release fills it with a MAC
//! over the other fields under a cluster key; this one writes none and does not check it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::codec;
use crate::error::StorageError;
use crate::types::SnapshotMeta;

/// The manifest format that this build writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// The manifest's own name beside the files.
pub(super) const MANIFEST_NAME: &str = "manifest.json";
/// Files in one snapshot; a checkpoint has some dozens.
const FILES_MAX: usize = 100_000;
const NAME_BYTES_MAX: usize = 128;

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its name; never a path.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// What a snapshot contains, and in which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    meta: SnapshotMeta,
    files: Vec<ManifestFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestText {
    format_version: u32,
    last_index: Option<u64>,
    last_term: Option<u64>,
    /// The snapshot's metadata, encoded.
    meta: String,
    files: Vec<FileText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hmac: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    name: String,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    pub(super) const fn new(meta: SnapshotMeta, files: Vec<ManifestFile>) -> Self {
        Self { meta, files }
    }

    /// What the snapshot contains.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Its files, in the order in which they are transferred.
    #[must_use]
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }

    /// The length of all files together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// The manifest as it is stored and sent.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let last = self.meta.last_log_id.as_ref();
        let file = |file: &ManifestFile| FileText {
            name: file.name.clone(),
            bytes: file.bytes,
            sha256: hex::encode(file.sha256),
        };
        let text = ManifestText {
            format_version: FORMAT_VERSION,
            last_index: last.map(|id| id.index),
            last_term: last.map(codec::term_of),
            meta: hex::encode(codec::encode_snapshot_meta(&self.meta)),
            files: self.files.iter().map(file).collect(),
            hmac: None,
        };
        // INVARIANT: structs of numbers and text always serialize.
        let Ok(json) = serde_json::to_vec_pretty(&text) else {
            unreachable!("numbers and text serialize")
        };
        json
    }

    /// Reads a manifest, stored or received, and refuses names that could leave the directory.
    ///
    /// # Errors
    /// [`StorageError`] (corrupt).
    pub fn from_json(json: &[u8]) -> Result<Self, StorageError> {
        let text: ManifestText =
            serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))?;
        if text.format_version != FORMAT_VERSION {
            let found = text.format_version;
            return Err(corrupt(format!("format {found}, this build reads {FORMAT_VERSION}")));
        }
        let meta = hex::decode(&text.meta).map_err(|error| corrupt(error.to_string()))?;
        let meta = codec::decode_snapshot_meta(&meta)?;
        let last = meta.last_log_id.as_ref();
        if (text.last_index, text.last_term) != (last.map(|id| id.index), last.map(codec::term_of))
        {
            return Err(corrupt("it contradicts itself about its last entry"));
        }
        if text.files.is_empty() || text.files.len() > FILES_MAX {
            return Err(corrupt(format!("it names {} files", text.files.len())));
        }
        let files = text.files.into_iter().map(file).collect::<Result<Vec<_>, _>>()?;
        let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        if names.len() != files.len() || names.contains(MANIFEST_NAME) {
            return Err(corrupt("it names a file twice, or itself"));
        }
        Ok(Self { meta, files })
    }
}

fn file(text: FileText) -> Result<ManifestFile, StorageError> {
    let harmless = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    let name = text.name;
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(harmless);
    if !is_name || name.starts_with('.') {
        return Err(corrupt("a file name is not allowed"));
    }
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&text.sha256, &mut sha256).map_err(|error| corrupt(error.to_string()))?;
    Ok(ManifestFile { name, bytes: text.bytes, sha256 })
}

fn corrupt(message: impl Into<String>) -> StorageError {
    StorageError::corrupt("read a snapshot's manifest", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogId, StoredMembership};

    fn manifest() -> Manifest {
        let last_log_id = Some(LogId::new_term_index(3, 42));
        let meta = SnapshotMeta { last_log_id, last_membership: StoredMembership::default() };
        let file = |name: &str| ManifestFile { name: name.into(), bytes: 7, sha256: [5; 32] };
        Manifest::new(meta, vec![file("000012.sst"), file("MANIFEST-000004")])
    }

    #[test]
    fn manifests_come_back() {
        let manifest = manifest();
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        assert_eq!(manifest.total_bytes(), 14);
    }

    #[test]
    fn what_could_do_harm_is_refused() {
        let json = String::from_utf8(manifest().to_json()).unwrap();
        for (from, to) in [
            ("000012.sst", "../../etc/x"),
            ("000012.sst", "/etc/x"),
            ("000012.sst", ".."),
            ("000012.sst", ""),
            ("000012.sst", "MANIFEST-000004"),
            ("000012.sst", MANIFEST_NAME),
            ("\"format_version\": 1", "\"format_version\": 2"),
            ("\"last_index\": 42", "\"last_index\": 43"),
            ("\"bytes\"", "\"size\""),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            assert!(Manifest::from_json(changed.as_bytes()).is_err(), "{to}");
        }
    }
}
