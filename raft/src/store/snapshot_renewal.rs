//! Replaces every snapshot of a node by one whose files lack what was erased from the state.
//!
//! A snapshot shares its tables with the state of its time, so it keeps them as they were. Knows
//! neither who takes snapshots nor what was erased.

use std::path::PathBuf;
use std::sync::Arc;

use super::snapshot::SnapshotShelf;
use crate::error::StorageError;

/// The snapshots of a node, to be replaced. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotRenewal {
    pub(super) shelf: Arc<SnapshotShelf>,
}

impl SnapshotRenewal {
    /// From here on what is there is to be replaced; names what the other functions ask for.
    pub(crate) fn begin(&self) -> u64 {
        self.shelf.renew()
    }

    /// Whether the newest snapshot was taken since.
    pub(crate) fn is_taken(&self, renewal: u64) -> bool {
        self.shelf.current().is_some_and(|current| current.renewal() >= renewal)
    }

    /// The others that are still there: those that are being sent stay until then. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn others(&self, renewal: u64) -> Result<Vec<PathBuf>, StorageError> {
        self.shelf.others(renewal)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::store::snapshot::{SnapshotHandle, seal};
    use crate::types::{LogId, SnapshotMeta};

    fn finished(shelf: &SnapshotShelf, index: u64, renewal: u64) -> SnapshotHandle {
        let directory = shelf.unfinished("build");
        fs::create_dir(directory.path()).unwrap();
        fs::write(directory.path().join("table"), index.to_string()).unwrap();
        let last_log_id = Some(LogId::new_term_index(1, index));
        let meta = SnapshotMeta { last_log_id, ..SnapshotMeta::default() };
        let manifest = seal(directory.path(), meta, None).unwrap();
        SnapshotHandle::new(directory, manifest).taken_after(renewal)
    }

    fn shelf(place: &Path) -> SnapshotRenewal {
        SnapshotRenewal { shelf: Arc::new(SnapshotShelf::open(place.to_owned()).unwrap()) }
    }

    fn is_done(snapshots: &SnapshotRenewal, renewal: u64) -> bool {
        snapshots.others(renewal).unwrap().is_empty()
    }

    /// As it is when somebody wipes the disk beneath, or a file of it cannot be removed for a while.
    #[test]
    fn what_was_left_over_is_removed_and_what_is_not_ours_holds_nothing_up() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("notes"), "of an operator").unwrap();
        let snapshots = shelf(place.path());
        let renewal = snapshots.begin();
        drop(snapshots.shelf.publish(finished(&snapshots.shelf, 7, renewal)).unwrap());
        for name in ["0000000000000003-1", "0000000000000003-1.tmp", "a copy"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        assert!(is_done(&snapshots, renewal));
        let left = crate::store::durable_files::names(place.path()).unwrap();
        assert_eq!(left, ["0000000000000007-1", "a copy", "notes"]);
        drop(snapshots);
        assert!(is_done(&shelf(place.path()), 0), "it opens with them, too");
    }

    #[test]
    fn a_snapshot_of_before_is_replaced_by_one_of_the_same_entry() {
        let place = tempfile::tempdir().unwrap();
        let snapshots = shelf(place.path());
        let shelf = &snapshots.shelf;
        let old = shelf.publish(finished(shelf, 7, shelf.renewal())).unwrap();
        assert!(snapshots.is_taken(0) && is_done(&snapshots, 0));
        // One that is built while the renewal begins is of before.
        let building = finished(shelf, 7, shelf.renewal());
        let renewal = snapshots.begin();
        assert!(!snapshots.is_taken(renewal));
        drop(shelf.publish(building).unwrap());
        assert!(!snapshots.is_taken(renewal));
        drop(shelf.publish(finished(shelf, 7, renewal)).unwrap());
        assert!(snapshots.is_taken(renewal));
        assert_eq!(snapshots.others(renewal).unwrap(), [old.path()], "somebody reads the old one");
        drop(old);
        assert!(is_done(&snapshots, renewal));
        // Whatever comes from another node may hold it again.
        drop(shelf.publish(finished(shelf, 8, 0)).unwrap());
        assert!(!snapshots.is_taken(renewal));
    }

    #[test]
    fn after_a_crash_one_of_two_of_the_same_entry_stays() {
        let place = tempfile::tempdir().unwrap();
        let snapshots = shelf(place.path());
        let held = snapshots.shelf.publish(finished(&snapshots.shelf, 7, 0)).unwrap();
        let renewal = snapshots.begin();
        drop(snapshots.shelf.publish(finished(&snapshots.shelf, 7, renewal)).unwrap());
        // As a process leaves it that is killed now.
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 2);
        std::mem::forget(held);
        drop(snapshots);
        let again = shelf(place.path());
        assert!(again.is_taken(0) && is_done(&again, 0));
    }
}
