//! Where things lie in a data directory (`openraft.md §3.2`).
//!
//! ```text
//! IDENTITY                    whose directory it is
//! LOCK                        held by the running process
//! CURRENT                     which generation of the state counts
//! raft/                       the log
//! state/<generation>/         the state
//! ERASED                      how far destroyed payloads are gone from the other files
//! snapshots/<index>-<term>/   snapshots; index in 16 hexadecimal digits; with a number behind
//!                             them when it took the place of another one of the same entry
//! ```

use std::path::{Path, PathBuf};

use super::durable_files::UNFINISHED;
use crate::types::LogId;

/// The paths of one data directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn identity(&self) -> PathBuf {
        self.root.join("IDENTITY")
    }

    pub(super) fn current(&self) -> PathBuf {
        self.root.join("CURRENT")
    }

    pub(super) fn erased(&self) -> PathBuf {
        self.root.join("ERASED")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("raft")
    }

    pub(super) fn states(&self) -> PathBuf {
        self.root.join("state")
    }

    pub(super) fn state(&self, generation: u64) -> PathBuf {
        self.states().join(generation.to_string())
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }
}

/// The directory name of a snapshot up to this entry; absent for the empty state.
pub(super) fn snapshot_name(last: Option<&LogId>) -> String {
    match last {
        Some(id) => format!("{:016x}-{}", id.index, id.leader_id.term),
        None => "empty".to_owned(),
    }
}

/// The directory name of one that takes the place of another one up to this entry.
pub(super) fn renewed_name(last: Option<&LogId>, renewal: u64) -> String {
    format!("{}-{renewal}", snapshot_name(last))
}

/// Whether the name is that of something unfinished.
pub(super) fn is_unfinished(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == UNFINISHED)
}
