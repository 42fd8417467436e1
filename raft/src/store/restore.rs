//! A data directory that is made out of a copy of a state: the first node of another cluster.
//!
//! The rows go into the first generation of the state as they come; what makes the directory one
//! that a node opens comes last. Until then a mark in it says that it is not done, and no node takes
//! it for its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockbox_core::{ClusterId, NodeId};
use openraft::Membership;

use super::codec;
use super::directory_lock::DirectoryLock;
use super::durable_files::{create_directory, failed, names, remove_directory, sync_directory};
use super::engine::{Engines, LogOp, LogRecord, StateEngine};
use super::identity::{self, Current, StoreIdentity};
use super::layout::{Layout, RESTORING_NAME};
use super::state_handle::{last_applied, on_view};
use crate::apply::{destroy_again, found_restored};
use crate::domain::erasure::Destroyed;
use crate::error::StorageError;
use crate::state::{Overlay, Row, Space, StateRead, Write, keys, tables};
use crate::types::{LogId, Member, StoreId, StoredMembership, Vote};

/// The generation that the rows go into.
const GENERATION: u64 = 1;
/// What may be in a directory that counts as empty.
const NO_DATA: [&str; 2] = ["lost+found", "LOCK"];

/// Why nothing is restored; each a sentence.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory is somebody's.
    #[error("{0} is not empty: restore into a directory of its own")]
    NotEmpty(PathBuf),
    /// The node's id was one in the cluster that the backup is of.
    #[error("node {0} is, or was, a member of the cluster that the backup is of: take another id")]
    NodeIdUsed(NodeId),
    /// The copy lacks what every state has.
    #[error("what was restored is not the state of a cluster: {0} is missing")]
    NotAState(&'static str),
    /// The disk fails, or the rows do not decode.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The first node of the cluster that begins with the copy.
#[derive(Debug, Clone)]
pub struct Founder {
    /// The cluster's new id.
    pub cluster_id: ClusterId,
    /// The node's id, which the cluster before has never used.
    pub node_id: NodeId,
    /// Sixteen random bytes: the name of its directory.
    pub store_id: [u8; 16],
    /// `host:port` of its listener for peers.
    pub peer_address: String,
    /// `host:port` that its clients use.
    pub api_address: String,
}

/// Where the restored state stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founded {
    /// The entry that the restoring counts as.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// A restoring under way. Dropping it leaves the mark, and a directory that no node opens.
pub struct Restoring {
    layout: Layout,
    engines: Arc<dyn Engines>,
    state: Arc<dyn StateEngine>,
    _lock: DirectoryLock,
}

impl Restoring {
    /// Takes a directory that is empty, or in which a restoring was interrupted. Blocks.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn begin(directory: &Path, engines: Arc<dyn Engines>) -> Result<Self, RestoreError> {
        let layout = Layout::new(directory);
        create_directory(directory)?;
        let lock = DirectoryLock::acquire(directory)?;
        if layout.restoring().exists() {
            // All that is here is from that.
            remove_directory(&layout.states())?;
            remove_directory(&layout.log())?;
            for file in [layout.current(), layout.identity()] {
                remove_file(&file)?;
            }
        } else if names(directory)?.iter().any(|name| !NO_DATA.contains(&name.as_str())) {
            return Err(RestoreError::NotEmpty(directory.to_owned()));
        }
        // ORDER: the mark before anything that it is about.
        let mark = layout.restoring();
        let marked = File::create(&mark).and_then(|file| file.sync_all());
        marked.map_err(|error| failed("create the file", &mark, &error))?;
        sync_directory(directory)?;
        create_directory(&layout.states())?;
        create_directory(&layout.state(GENERATION))?;
        let state = engines.open_state(&layout.state(GENERATION))?;
        Ok(Self { layout, engines, state, _lock: lock })
    }

    /// Stores rows of the copy. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn put(&self, space: Space, rows: Vec<Row>) -> Result<(), StorageError> {
        let write = |(key, value)| Write { space, key, value: Some(value) };
        self.state.commit(&rows.into_iter().map(write).collect::<Vec<_>>())
    }

    /// Destroys what was destroyed after the copy was made; gives how many were still there. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn destroy_again(&self, destroyed: &[Destroyed]) -> Result<usize, StorageError> {
        let mut were_there = 0;
        // One at a time: a list may be long, and a secret has a thousand versions.
        for item in destroyed {
            let (was_there, writes) = on_view(self.state.as_ref(), |state| {
                let index = last_applied(state)?.map_or(0, |last| last.index);
                let mut overlay = Overlay::new(state);
                let was_there = destroy_again(&mut overlay, item, index)?;
                Ok::<_, StorageError>((was_there, overlay.into_writes()))
            })??;
            self.state.commit(&writes)?;
            were_there += usize::from(was_there);
        }
        Ok(were_there)
    }

    /// Ends it: the directory is that of the only node of a cluster of its own. Blocks.
    ///
    /// # Errors
    /// [`RestoreError`]; no node opens the directory then.
    pub fn finish(self, founder: Founder) -> Result<Founded, RestoreError> {
        let Self { layout, engines, state, _lock } = self;
        let node_id = founder.node_id;
        let store = StoreIdentity { node_id, store_id: founder.store_id };
        let (at, writes) = on_view(state.as_ref(), |view| found(view, founder))??;
        state.commit(&writes)?;
        state.flush()?;
        drop(state);
        sync_directory(&layout.state(GENERATION))?;
        create_directory(&layout.log())?;
        let log = engines.open_log(&layout.log())?;
        // A log that was purged up to the entry that stands for the restoring, of a node that has
        // voted in its term: it asks for votes in a later one.
        let last = codec::encode_log_id(&LogId::new_term_index(at.term, at.index));
        let records = [
            (LogRecord::Identity, identity::encode(&store)),
            (LogRecord::Vote, codec::encode_vote(&Vote::new(at.term, node_id))),
            (LogRecord::Committed, last.clone()),
            (LogRecord::Purged, last),
        ];
        log.write(&records.map(|(record, value)| LogOp::Record { record, value }), true)?;
        drop(log);
        let current = Current { generation: GENERATION, store_id: store.store_id };
        identity::write_current(&layout.current(), &current)?;
        identity::write_marker(&layout.identity(), &store)?;
        // ORDER: last: from here on a node opens it.
        remove_file(&layout.restoring())?;
        sync_directory(layout.root())?;
        Ok(at)
    }
}

/// The writes that make the copy the state of another cluster.
fn found(view: &dyn StateRead, founder: Founder) -> Result<(Founded, Vec<Write>), RestoreError> {
    let Founder { cluster_id, node_id, store_id, peer_address, api_address } = founder;
    let last = last_applied(view)?.ok_or(RestoreError::NotAState("the last entry"))?;
    let before = tables::cluster(view)?.ok_or(RestoreError::NotAState("the cluster's record"))?;
    if tables::member(view, node_id)?.is_some() {
        return Err(RestoreError::NodeIdUsed(node_id));
    }
    let at = Founded { index: last.index + 1, term: codec::term_of(&last) + 1 };
    let mut overlay = Overlay::new(view);
    found_restored(&mut overlay, &before, cluster_id, (node_id, store_id), at.index)?;
    let id = LogId::new_term_index(at.term, at.index);
    let store_id = StoreId::from_bytes(store_id);
    let membership = only_voter(node_id, Member { peer_address, api_address, store_id }, id)?;
    let rows = [
        (keys::SYSTEM_LAST_APPLIED, codec::encode_log_id(&id)),
        (keys::SYSTEM_MEMBERSHIP, codec::encode_membership(&membership)),
    ];
    for (key, value) in rows {
        overlay.put(Space::System, key.to_vec(), value);
    }
    overlay.keep();
    Ok((at, overlay.into_writes()))
}

fn only_voter(id: NodeId, member: Member, at: LogId) -> Result<StoredMembership, StorageError> {
    let voters = vec![BTreeSet::from([id])];
    let membership = Membership::new(voters, BTreeMap::from([(id, member)]));
    let membership = membership
        .map_err(|error| StorageError::corrupt("make a membership", error.to_string()))?;
    Ok(openraft::StoredMembership::new(Some(at), membership))
}

fn remove_file(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("remove the file", path, &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Refuses a directory in which a restoring has not come to its end.
pub(super) fn refuse_half_restored(layout: &Layout) -> Result<(), StorageError> {
    if !layout.restoring().exists() {
        return Ok(());
    }
    Err(StorageError::wrong_identity(format!(
        "{} holds a half of a restored backup ({RESTORING_NAME}): restore it again",
        layout.root().display()
    )))
}
