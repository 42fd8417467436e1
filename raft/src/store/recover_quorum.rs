//! A cluster whose quorum is lost for good goes on from one survivor, in a new epoch.
//!
//! On the directory of a node that does not run. [`survey`] says what is there and changes nothing;
//! [`begin_epoch`] writes what a leader would have written who could remove all other members at
//! once: one entry with a membership of this node alone, in a term of its own. From then on this
//! node elects itself, and what was in its log counts as committed. The others' ids are used up, as
//! after any removal, and the epoch in the handshake keeps them from mixing with what goes on here
//! should they come back after all. Whether they are really lost is for the caller to find out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use lockbox_core::{LogTime, NodeId};
use openraft::{EntryPayload, Membership};

use super::codec;
use super::damage::DamageMark;
use super::directory_lock::DirectoryLock;
use super::engine::{Engines, LogEngine, LogOp, LogRecord, RecoveredLog};
use super::epoch_file::EpochFile;
use super::identity;
use super::layout::Layout;
use super::restore::refuse_half_restored;
use super::state_handle::{applied_of, membership_of, on_view};
use crate::error::StorageError;
use crate::state::tables;
use crate::types::{LogEntry, LogId, Member, StoredMembership, Vote};

/// Encoded bytes of the log that are read at once.
const READ_BYTES: usize = 2 << 20;

/// A member of the cluster that was, as the survivor knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurvivorMember {
    /// Its node id.
    pub node_id: NodeId,
    /// Its addresses and its directory.
    pub member: Member,
    /// Whether it votes.
    pub voter: bool,
}

/// What is in the directory of a survivor. Indexes are 0 while there is no such entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// The node.
    pub node_id: NodeId,
    /// The cluster's id; empty when none is known here.
    pub cluster_id: String,
    /// The epoch that it belongs to.
    pub epoch: u64,
    /// The highest term that it has voted in.
    pub term: u64,
    /// The last entry in its log: what was acknowledged beyond it is lost with the others.
    pub last_index: u64,
    /// The term of that entry.
    pub last_term: u64,
    /// The last entry that it knows to be committed. What is behind it may or may not have been
    /// acknowledged; it counts as committed from the new epoch on.
    pub committed_index: u64,
    /// The last entry applied to its state.
    pub applied_index: u64,
    /// The time of that, on the log's clock.
    pub applied_at: LogTime,
    /// All members, this node among them, by id.
    pub members: Vec<SurvivorMember>,
}

/// The opened directory. The lock goes last.
struct Opened {
    log: Arc<dyn LogEngine>,
    survivor: Survivor,
    last: LogId,
    vote: Option<Vote>,
    own: Member,
    epoch: EpochFile,
    _lock: DirectoryLock,
}

/// Looks at the directory of a node that does not run. Blocks; changes nothing that counts.
///
/// # Errors
/// [`StorageError`] when the directory is in use, another node's, damaged, or of a node that is no
/// member of a cluster.
pub fn survey(
    directory: &Path,
    engines: &dyn Engines,
    node_id: NodeId,
) -> Result<Survivor, StorageError> {
    open(directory, engines, node_id).map(|opened| opened.survivor)
}

/// Makes this node the only member, in a new epoch. `last_index` is what [`survey`] has said of the
/// log, so that nobody gives up more than was told. Blocks; durable when it returns the new epoch.
///
/// # Errors
/// [`StorageError`], as of [`survey`]; wrong identity when the log ends elsewhere.
pub fn begin_epoch(
    directory: &Path,
    engines: &dyn Engines,
    node_id: NodeId,
    last_index: u64,
) -> Result<u64, StorageError> {
    let opened = open(directory, engines, node_id)?;
    let survivor = &opened.survivor;
    if survivor.last_index != last_index {
        let found = survivor.last_index;
        return Err(StorageError::wrong_identity(format!(
            "the log ends at entry {found}, not at {last_index}: look at it again"
        )));
    }
    let epoch = survivor.epoch.saturating_add(1);
    let term = survivor.term.max(survivor.last_term).saturating_add(1);
    let voters = vec![BTreeSet::from([node_id])];
    let nodes = BTreeMap::from([(node_id, opened.own.clone())]);
    let alone = Membership::new(voters, nodes)
        .map_err(|error| StorageError::corrupt("make a membership", error.to_string()))?;
    let log_id = LogId::new_term_index(term, opened.last.index.saturating_add(1));
    let entry = LogEntry { log_id, payload: EntryPayload::Membership(alone) };
    // As this node would have it, had it led that term.
    let mut vote = Vote::new(term, node_id);
    vote.committed = true;
    debug_assert!(opened.vote.is_none_or(|old| old < vote));
    // ORDER: the epoch first. Should nothing follow, this node is one of a cluster that is in a
    // later epoch, and takes the others along; the other way round it would be a member of the
    // earlier one that has removed them.
    opened.epoch.write(epoch)?;
    let encoded = codec::encode_entry(&entry);
    let ops = [
        LogOp::Append { index: log_id.index, encoded },
        LogOp::Record { record: LogRecord::Vote, value: codec::encode_vote(&vote) },
    ];
    opened.log.write(&ops, true)?;
    Ok(epoch)
}

fn open(directory: &Path, engines: &dyn Engines, node_id: NodeId) -> Result<Opened, StorageError> {
    let layout = Layout::new(directory);
    let nothing = |what: &str| {
        let path = directory.display();
        StorageError::wrong_identity(format!("{path}: {what}, so there is nothing to go on from"))
    };
    if !layout.identity().exists() {
        return Err(nothing("no node has run here"));
    }
    let lock = DirectoryLock::acquire(directory)?;
    refuse_half_restored(&layout)?;
    DamageMark { path: layout.damaged() }.check()?;
    let Some(marker) = identity::read_marker(&layout.identity())? else {
        return Err(nothing("no node has run here"));
    };
    if marker.node_id != node_id {
        let found = marker.node_id;
        return Err(StorageError::wrong_identity(format!(
            "{} belongs to node {found}, not to node {node_id}",
            directory.display()
        )));
    }
    let Some(current) = identity::read_current(&layout.current())? else {
        return Err(identity::wiped(&layout, "CURRENT, which names the state, was removed"));
    };
    if !layout.log().exists() || !layout.state(current.generation).exists() {
        return Err(identity::wiped(&layout, "the log or the state was removed"));
    }
    let log = engines.open_log(&layout.log())?;
    let recovered = log.recover()?;
    let state = engines.open_state(&layout.state(current.generation))?;
    let (applied, of_state, cluster) = on_view(state.as_ref(), |view| {
        Ok::<_, StorageError>((applied_of(view)?, membership_of(view)?, tables::cluster(view)?))
    })??;
    let record = |name| recovered.records.get(&name).map(Vec::as_slice);
    let vote = record(LogRecord::Vote).map(codec::decode_vote).transpose()?;
    let committed = record(LogRecord::Committed).map(codec::decode_log_id).transpose()?;
    let purged = record(LogRecord::Purged).map(codec::decode_log_id).transpose()?;
    let (in_log, last_entry) = last_membership(log.as_ref(), &recovered)?;
    let membership = in_log.unwrap_or(of_state);
    let members = members(&membership);
    let own = members.iter().find(|known| known.node_id == node_id);
    let own = own.ok_or_else(|| nothing("this node is no member of a cluster"))?.member.clone();
    let last = last_entry.or(purged).ok_or_else(|| nothing("its log is empty"))?;
    if applied.at.index > last.index {
        return Err(nothing(
            "its state is ahead of its log: start the node once and stop it again",
        ));
    }
    let epoch = EpochFile { path: layout.epoch() };
    let survivor = Survivor {
        node_id,
        cluster_id: cluster.map(|cluster| cluster.id.to_string()).unwrap_or_default(),
        epoch: epoch.read()?,
        term: vote.map_or(0, |vote: Vote| vote.leader_id.term),
        last_index: last.index,
        last_term: codec::term_of(&last),
        committed_index: committed.map_or(0, |id: LogId| id.index).max(applied.at.index),
        applied_index: applied.at.index,
        applied_at: applied.log_time,
        members,
    };
    Ok(Opened { log, survivor, last, vote, own, epoch, _lock: lock })
}

/// The last membership in the log, if there is one, and its last entry.
fn last_membership(
    log: &dyn LogEngine,
    recovered: &RecoveredLog,
) -> Result<(Option<StoredMembership>, Option<LogId>), StorageError> {
    let (mut membership, mut last) = (None, None);
    let mut next = recovered.entries.start;
    while next < recovered.entries.end {
        let piece = log.read(next..recovered.entries.end, READ_BYTES)?;
        if piece.is_empty() {
            let message = format!("entry {next} is missing");
            return Err(StorageError::corrupt("read the log", message));
        }
        for encoded in &piece {
            let entry = codec::decode_entry(encoded)?;
            last = Some(entry.log_id);
            if let EntryPayload::Membership(found) = entry.payload {
                membership = Some(openraft::StoredMembership::new(last, found));
            }
        }
        next += piece.len() as u64;
    }
    Ok((membership, last))
}

fn members(membership: &StoredMembership) -> Vec<SurvivorMember> {
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let member = |(id, member): (&NodeId, &Member)| SurvivorMember {
        node_id: *id,
        member: member.clone(),
        voter: voters.contains(id),
    };
    membership.membership().nodes().map(member).collect()
}
