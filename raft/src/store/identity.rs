//! Whose data directory it is, and whether it is still whole.
//!
//! A random store id is written three times: into `IDENTITY`, into the log and into `CURRENT`. A
//! node whose log or state was wiped has forgotten votes or entries that it acknowledged; coming
//! back under its old id it could lose committed data, so it is refused (`openraft.md §6`).

use std::path::Path;

use lockbox_core::NodeId;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::durable_files::{read_optional, replace_file};
use super::layout::Layout;
use crate::domain::codec;
use crate::error::StorageError;

/// The directory format that this build writes, and the only one that it opens. Format 1 had a
/// table of request ids; format 2 had members without store ids, and no register of them.
pub const FORMAT_VERSION: u32 = 3;

/// Who opens the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node. Its directory opens for no other one.
    pub node_id: NodeId,
    /// Sixteen random bytes; they name the store if this call creates it.
    pub fresh_store_id: [u8; 16],
}

/// What a directory says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct StoreIdentity {
    #[n(0)]
    pub(super) node_id: NodeId,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) store_id: [u8; 16],
}

/// `IDENTITY` and `CURRENT` as text, for the operator's eyes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityText {
    format_version: u32,
    node_id: NodeId,
    store_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CurrentText {
    generation: u64,
    store_id: String,
}

/// Which generation of the state counts, and of which store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) generation: u64,
    pub(super) store_id: [u8; 16],
}

/// What was found in a directory before anything is written to it.
pub(super) struct Found {
    pub(super) marker: Option<StoreIdentity>,
    pub(super) in_log: Option<StoreIdentity>,
    pub(super) current: Option<Current>,
    /// The log holds a vote or entries.
    pub(super) log_in_use: bool,
}

impl Found {
    /// Decides whose store this is, or why it must not be opened.
    ///
    /// A crash during creation leaves a log that was never used and no `IDENTITY`: that is
    /// completed. Everything else that is not whole is refused.
    pub(super) fn settle(&self, layout: &Layout, node: &NodeIdentity) -> Checked {
        let root = layout.root().display();
        let Some(known) = self.marker.or(self.in_log) else {
            let fresh = StoreIdentity { node_id: node.node_id, store_id: node.fresh_store_id };
            return match self.current {
                None if !self.log_in_use => Ok(fresh),
                None | Some(_) => Err(wiped(layout, "IDENTITY and the log's own record are gone")),
            };
        };
        if known.node_id != node.node_id {
            return Err(StorageError::wrong_identity(format!(
                "{root} belongs to node {}, not to node {}; check node id and data directory",
                known.node_id, node.node_id
            )));
        }
        if self.in_log != Some(known) {
            return Err(wiped(layout, "the log in raft/ was removed or replaced"));
        }
        match self.current {
            Some(current) if current.store_id != known.store_id => {
                Err(wiped(layout, "CURRENT is from another store"))
            }
            None if self.marker.is_some() || self.log_in_use => {
                Err(wiped(layout, "CURRENT, which names the state, was removed"))
            }
            Some(_) | None => Ok(known),
        }
    }
}

type Checked = Result<StoreIdentity, StorageError>;

/// The refusal of a store that has lost a part, with the way back.
pub(super) fn wiped(layout: &Layout, what: &str) -> StorageError {
    StorageError::store_lost(format!(
        "{}: {what}. This node may have forgotten what it acknowledged and cannot come back under \
         its id: restore the directory as it was, or remove the node from the cluster and add it \
         again with a new id and an empty directory",
        layout.root().display()
    ))
}

pub(super) fn encode(identity: &StoreIdentity) -> Vec<u8> {
    codec::encode(identity)
}

pub(super) fn decode(encoded: &[u8]) -> Checked {
    codec::decode(encoded).map_err(|error| {
        StorageError::wrong_identity(format!("the log's identity record: {error}"))
    })
}

pub(super) fn read_marker(path: &Path) -> Result<Option<StoreIdentity>, StorageError> {
    let Some(content) = read_optional(path)? else { return Ok(None) };
    let text: IdentityText = parse(path, &content)?;
    if text.format_version != FORMAT_VERSION {
        return Err(StorageError::wrong_identity(format!(
            "{} has format {}, this build opens format {FORMAT_VERSION}; use the matching build",
            path.display(),
            text.format_version
        )));
    }
    let store_id = parse_id(path, &text.store_id)?;
    Ok(Some(StoreIdentity { node_id: text.node_id, store_id }))
}

pub(super) fn write_marker(path: &Path, identity: &StoreIdentity) -> Result<(), StorageError> {
    let store_id = hex::encode(identity.store_id);
    let text = IdentityText { format_version: FORMAT_VERSION, node_id: identity.node_id, store_id };
    replace_file(path, &to_json(&text))
}

pub(super) fn read_current(path: &Path) -> Result<Option<Current>, StorageError> {
    let Some(content) = read_optional(path)? else { return Ok(None) };
    let text: CurrentText = parse(path, &content)?;
    let store_id = parse_id(path, &text.store_id)?;
    Ok(Some(Current { generation: text.generation, store_id }))
}

pub(super) fn write_current(path: &Path, current: &Current) -> Result<(), StorageError> {
    let store_id = hex::encode(current.store_id);
    replace_file(path, &to_json(&CurrentText { generation: current.generation, store_id }))
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, content: &[u8]) -> Result<T, StorageError> {
    serde_json::from_slice(content).map_err(|error| unreadable(path, &error.to_string()))
}

fn parse_id(path: &Path, text: &str) -> Result<[u8; 16], StorageError> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).map_err(|error| unreadable(path, &error.to_string()))?;
    Ok(id)
}

fn unreadable(path: &Path, why: &str) -> StorageError {
    StorageError::wrong_identity(format!("{} is not readable: {why}", path.display()))
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // INVARIANT: structs of numbers and text always serialize.
    let Ok(mut json) = serde_json::to_vec_pretty(value) else {
        unreachable!("numbers and text serialize")
    };
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeIdentity = NodeIdentity { node_id: 7, fresh_store_id: [1; 16] };
    const KNOWN: StoreIdentity = StoreIdentity { node_id: 7, store_id: [2; 16] };
    const CURRENT: Current = Current { generation: 1, store_id: [2; 16] };

    fn settle(found: &Found) -> Checked {
        found.settle(&Layout::new(Path::new("/data")), &NODE)
    }

    fn whole() -> Found {
        let (marker, in_log) = (Some(KNOWN), Some(KNOWN));
        Found { marker, in_log, current: Some(CURRENT), log_in_use: true }
    }

    #[test]
    fn new_and_whole_directories_open() {
        let empty = Found { marker: None, in_log: None, current: None, log_in_use: false };
        assert_eq!(settle(&empty).unwrap().store_id, NODE.fresh_store_id);
        assert_eq!(settle(&whole()).unwrap(), KNOWN);
    }

    #[test]
    fn an_interrupted_creation_is_completed() {
        for current in [None, Some(CURRENT)] {
            let found = Found { marker: None, current, log_in_use: false, ..whole() };
            assert_eq!(settle(&found).unwrap(), KNOWN);
        }
    }

    #[test]
    fn lost_parts_are_refused() {
        let other = StoreIdentity { store_id: [3; 16], ..KNOWN };
        let foreign = Current { store_id: [3; 16], ..CURRENT };
        for found in [
            Found { in_log: None, log_in_use: false, ..whole() },
            Found { in_log: Some(other), ..whole() },
            Found { current: None, ..whole() },
            Found { current: Some(foreign), ..whole() },
            Found { marker: None, current: None, ..whole() },
            Found { marker: None, in_log: None, log_in_use: false, ..whole() },
            Found { marker: None, in_log: None, current: None, log_in_use: true },
        ] {
            let error = settle(&found).unwrap_err();
            assert!(error.to_string().contains("new id"), "{error}");
        }
    }

    #[test]
    fn another_nodes_directory_is_refused() {
        let theirs = StoreIdentity { node_id: 8, ..KNOWN };
        let found = Found { marker: Some(theirs), in_log: Some(theirs), ..whole() };
        let error = settle(&found).unwrap_err();
        assert!(error.to_string().contains("belongs to node 8, not to node 7"), "{error}");
    }

    #[test]
    fn another_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("IDENTITY");
        write_marker(&path, &KNOWN).unwrap();
        assert_eq!(read_marker(&path).unwrap(), Some(KNOWN));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(
            &path,
            text.replace(&format!("\"format_version\": {FORMAT_VERSION}"), "\"format_version\": 9"),
        )
        .unwrap();
        let error = read_marker(&path).unwrap_err();
        assert!(error.to_string().contains("has format 9"), "{error}");
        std::fs::write(&path, "").unwrap();
        assert!(read_marker(&path).is_err());
    }
}
