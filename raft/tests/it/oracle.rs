//! What must be there after a crash: everything that somebody was told is durable, and a state
//! that agrees with its own `last_applied`.
//!
//! Entries are all in term 1 and follow from their index ([`crate::harness::entry`]), so what was
//! told fits into two numbers.

use std::sync::{Arc, OnceLock};

use lockbox_raft::store::{Engines, MemoryEngines, Store};
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine};
use tempfile::TempDir;

use crate::harness::{INLINE, apply, entries, entry, hash, open};

/// Entries that a log under the oracle may have.
pub(crate) const ENTRIES_MAX: u64 = 2_000;

/// What the clients were told.
#[derive(Default, Debug)]
pub(crate) struct Told {
    /// Entries acknowledged as durable, from index 0 on.
    pub(crate) acked: u64,
    /// Highest term voted in.
    pub(crate) voted: u64,
}

impl Told {
    /// Takes note of a line that another process printed; true when it acknowledges entries.
    pub(crate) fn note(&mut self, line: &str) -> bool {
        // The test harness of the child writes to the same pipe.
        let number = |name: &str| line.split_once(name).and_then(|(_, n)| n.parse().ok());
        if let Some(end) = number("acked ") {
            self.acked = end;
        }
        if let Some(term) = number("voted ") {
            self.voted = term;
        }
        line.contains("acked ")
    }
}

/// The hash of the empty state, and of the state after each entry.
async fn expected_hashes() -> &'static [[u8; 32]] {
    static HASHES: OnceLock<Vec<[u8; 32]>> = OnceLock::new();
    if let Some(hashes) = HASHES.get() {
        return hashes;
    }
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let mut store = open(directory.path(), &engines, &INLINE);
    let mut hashes = vec![hash(&store).unwrap()];
    for index in 0..ENTRIES_MAX {
        apply(&mut store, vec![entry(1, index)]).await.unwrap();
        hashes.push(hash(&store).unwrap());
        if index % 50 == 0 {
            // The engine in memory keeps what is not flushed batch by batch.
            store.state.flush().unwrap();
        }
    }
    HASHES.get_or_init(|| hashes)
}

/// Compares what survived with what was told. Returns the end of the log.
pub(crate) async fn check(store: &mut Store, told: &Told) -> Result<u64, String> {
    let found = entries(store).await;
    let purged = store.log.get_log_state().await.unwrap().last_purged_log_id;
    let start = purged.map_or(0, |id| id.index + 1);
    let end = start + found.len() as u64;
    if end < told.acked {
        return Err(format!("{} entries acknowledged, {end} left", told.acked));
    }
    for (index, found) in (start..).zip(&found) {
        let wrote = entry(1, index);
        if found.log_id != wrote.log_id || found.payload != wrote.payload {
            return Err(format!("entry {index} is not what was written"));
        }
    }
    let vote = store.log.get_log_reader().await.read_vote().await.unwrap();
    let term = vote.map_or(0, |vote| vote.leader_id.term);
    if term < told.voted {
        return Err(format!("voted in term {}, remembers {term}", told.voted));
    }
    let snapshot = store.state_machine.get_current_snapshot().await.unwrap();
    let covered = snapshot.and_then(|snapshot| snapshot.meta.last_log_id);
    if covered < purged {
        return Err(format!("purged up to {purged:?}, the snapshot ends at {covered:?}"));
    }
    let (applied, _) = store.state_machine.applied_state().await.unwrap();
    let applied_end = applied.map_or(0, |id| id.index + 1);
    if applied_end > end || applied < purged {
        return Err(format!("applied up to {applied_end}, the log is {start}..{end}"));
    }
    let expected = expected_hashes().await[usize::try_from(applied_end).unwrap()];
    if hash(store).unwrap() != expected {
        return Err(format!("the state is not what the first {applied_end} entries left"));
    }
    Ok(end)
}
