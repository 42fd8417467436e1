//! Where things lie in a data directory (`openraft.md §3.2`).
//!
//! ```text
//! IDENTITY                    whose directory it is
//! LOCK                        held by the running process
//! RESTORING                   a backup is being restored into it: no node's yet
//! CURRENT                     which generation of the state counts
//! raft/                       the log
//! state/<generation>/         the state
//! EPOCH                       which epoch of the cluster it belongs to; absent in the first
//! DAMAGED                     why the node must not start again; absent while it may
//! ERASED                      how far destroyed payloads are gone from the other files
//! snapshots/<index>-<term>/   snapshots; index in 16 hexadecimal digits; with a number behind
//!                             them when it took the place of another one of the same entry
//! ```

use std::path::{Component, Path, PathBuf};

use super::durable_files::UNFINISHED;
use super::memory::IMAGE_NAME;
use super::memory_state::CHECKPOINT_NAME;
use crate::types::LogId;

/// The generation of the state that a node begins with.
pub(super) const FIRST_GENERATION: u64 = 1;

const LOG: &str = "raft";
const STATES: &str = "state";
const SNAPSHOTS: &str = "snapshots";
/// How many hexadecimal digits the index of a snapshot's entry has.
const INDEX_DIGITS: usize = 16;
/// The mark of a directory that a backup is being restored into.
pub(super) const RESTORING_NAME: &str = "RESTORING";
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

    pub(super) fn epoch(&self) -> PathBuf {
        self.root.join("EPOCH")
    }

    pub(super) fn damaged(&self) -> PathBuf {
        self.root.join("DAMAGED")
    }

    pub(super) fn restoring(&self) -> PathBuf {
        self.root.join(RESTORING_NAME)
    }

    pub(super) fn erased(&self) -> PathBuf {
        self.root.join("ERASED")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join(LOG)
    }

    pub(super) fn states(&self) -> PathBuf {
        self.root.join(STATES)
    }

    pub(super) fn state(&self, generation: u64) -> PathBuf {
        self.states().join(generation.to_string())
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.root.join(SNAPSHOTS)
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

/// Whether the name is one that a snapshot has, complete or not.
pub(super) fn is_of_snapshot(name: &str) -> bool {
    let mut parts = name.split('-');
    let begins = match parts.next() {
        Some("empty") => true,
        Some(index) => {
            index.len() == INDEX_DIGITS
                && is_hexadecimal(index)
                && parts.next().is_some_and(is_number)
        }
        None => false,
    };
    is_unfinished(name) || begins && parts.next().is_none_or(is_number) && parts.next().is_none()
}

/// Whether the name is one that a generation of the state has, or had until it is removed.
pub(super) fn is_of_generation(name: &str) -> bool {
    let doomed = name.strip_suffix(UNFINISHED).and_then(|name| name.strip_suffix('.'));
    is_number(doomed.unwrap_or(name))
}

/// Whether a file, by its path below the data directory, is none that a node has where its log, its
/// states and its snapshots are. Somebody has put it there: it goes with nothing, and nobody
/// removes it.
pub(super) fn is_stray(path: &Path) -> bool {
    let parts = path.components().map(|part| match part {
        Component::Normal(name) => name.to_str().unwrap_or_default(),
        _ => "",
    });
    let parts: Vec<&str> = parts.collect();
    match parts.as_slice() {
        [LOG, rest @ ..] => !matches!(rest, [name] if is_of_engine(name)),
        [STATES, rest @ ..] => {
            !matches!(rest, [of, name] if is_of_generation(of) && is_of_engine(name))
        }
        // What is in a snapshot goes with it.
        [SNAPSHOTS, rest @ ..] => !matches!(rest, [of, _, ..] if is_of_snapshot(of)),
        _ => false,
    }
}

/// Whether an engine names one of its files so: a database of RocksDB, or the one in memory.
fn is_of_engine(name: &str) -> bool {
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let is_numbered = |kind: &str| name.strip_prefix(kind).is_some_and(is_number);
    match extension {
        Some("sst" | "log" | "blob") => is_number(stem),
        Some("dbtmp") => true,
        _ => {
            ["CURRENT", "IDENTITY", "LOCK", "LOG", CHECKPOINT_NAME, IMAGE_NAME].contains(&name)
                || is_numbered("MANIFEST-")
                || is_numbered("OPTIONS-")
                || is_numbered("LOG.old.")
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_makes_is_none_of_the_strays() {
        let last = LogId::new_term_index(7, 300);
        let snapshots = [
            snapshot_name(None),
            snapshot_name(Some(&last)),
            renewed_name(None, 2),
            renewed_name(Some(&last), 2),
            "build-3.tmp".to_owned(),
        ];
        for name in snapshots {
            assert!(is_of_snapshot(&name), "{name}");
            assert!(!is_stray(&Path::new("snapshots").join(&name).join("000012.sst")), "{name}");
            assert!(is_stray(&Path::new("snapshots").join(&name)), "{name} as a file");
        }
        for name in ["000012.sst", "000012.log", "CURRENT", "LOG.old.1767225600", "OPTIONS-000007"]
        {
            assert!(!is_stray(&Path::new("raft").join(name)), "{name}");
            assert!(!is_stray(&Path::new("state/3").join(name)), "{name}");
        }
        assert!(!is_stray(Path::new("audit.jsonl")), "it is not for this crate to say");
    }

    #[test]
    fn whatever_else_is_there_is_one() {
        let strays = [
            "snapshots/notes.txt",
            "snapshots/old/000012.sst",
            "snapshots/0000000000000007/000012.sst",
            "snapshots/0000000000000007-1-2-3/000012.sst",
            "snapshots/0000000000000007-1.bak/000012.sst",
            "state/000012.sst",
            "state/1.bak/000012.sst",
            "state/1/copy.sst",
            "state/1/below/000012.sst",
            "raft/000012.sst.bak",
            "raft/below/000012.sst",
        ];
        for stray in strays {
            assert!(is_stray(Path::new(stray)), "{stray}");
        }
    }
}
