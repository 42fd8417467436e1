//! Which finished files are too many, and which of them may go.
//!
//! Promises: a file that the cluster has to hear of first stays until it is permitted to go
//! (`design §10`), so that whoever verifies need not believe the files themselves about what is
//! missing from them. Refuses to know who permits it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::audit::config::Removal;
use crate::audit::file::AuditFile;

/// What the writer and those who permit removals tell each other.
#[derive(Debug)]
pub(super) struct Removals {
    /// Records before this one are in files that are too many.
    due_before: AtomicU64,
    /// Files go whose records are all before this one.
    permitted_before: AtomicU64,
}

impl Removals {
    fn new(removal: Removal) -> Self {
        let permitted = match removal {
            Removal::AtOnce => u64::MAX,
            Removal::WhenPermitted => 0,
        };
        Self { due_before: AtomicU64::new(0), permitted_before: AtomicU64::new(permitted) }
    }

    /// The last record of the files that are too many.
    pub(super) fn due_through(&self) -> Option<u64> {
        self.due_before.load(Ordering::Acquire).checked_sub(1)
    }

    /// What is too many goes, up to the file that ends with this record.
    pub(super) fn permit(&self, through: u64) {
        self.permitted_before.fetch_max(through.saturating_add(1), Ordering::AcqRel);
    }
}

/// The writer's part.
pub(super) struct Retention {
    /// Finished files that are kept; all of them when absent.
    kept: Option<usize>,
    /// The last records of those that are too many, the oldest first.
    too_many: Vec<u64>,
    removals: Arc<Removals>,
}

impl Retention {
    /// Knows of no file that is too many yet.
    pub(super) fn new(finished_files_max: Option<u32>, removal: Removal) -> Self {
        let kept = finished_files_max.map(|kept| usize::try_from(kept).unwrap_or(usize::MAX));
        Self { kept, too_many: Vec::new(), removals: Arc::new(Removals::new(removal)) }
    }

    /// What the others see of it.
    pub(super) fn removals(&self) -> Arc<Removals> {
        Arc::clone(&self.removals)
    }

    /// Looks for files that are too many now that one was finished, which ends with this record.
    ///
    /// # Errors
    /// When the directory cannot be read; then what was too many before is too many still.
    pub(super) fn look(&mut self, file: &dyn AuditFile, last_sequence: u64) -> io::Result<()> {
        let Some(kept) = self.kept else { return Ok(()) };
        let mut finished = file.finished()?;
        // A larger number is not one of ours: nothing may be said of records that are to come.
        finished.retain(|last| *last <= last_sequence);
        finished.truncate(finished.len().saturating_sub(kept));
        if let Some(last) = finished.last() {
            self.removals.due_before.fetch_max(last.saturating_add(1), Ordering::AcqRel);
        }
        self.too_many = finished;
        Ok(())
    }

    /// Those that go now, by their last records.
    pub(super) fn going(&self) -> Vec<u64> {
        let permitted = self.removals.permitted_before.load(Ordering::Acquire);
        self.too_many.iter().copied().take_while(|last| *last < permitted).collect()
    }

    /// They are gone, or their removal was tried in vain: the next look finds what is left.
    pub(super) fn gone(&mut self, count: usize) {
        self.too_many.drain(..count.min(self.too_many.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of files.
    struct Names(Vec<u64>);

    impl AuditFile for Names {
        fn append(&self, _lines: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn length(&self) -> u64 {
            0
        }
        fn finish(&self, _last_sequence: u64) -> io::Result<()> {
            Ok(())
        }
        fn finished(&self) -> io::Result<Vec<u64>> {
            Ok(self.0.clone())
        }
        fn remove(&self, _last_sequence: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn files_go_when_they_are_too_many_and_permitted() {
        let mut retention = Retention::new(Some(1), Removal::WhenPermitted);
        let removals = retention.removals();
        retention.look(&Names(vec![9]), 9).unwrap();
        assert_eq!((removals.due_through(), retention.going()), (None, vec![]));
        retention.look(&Names(vec![9, 19, 29]), 29).unwrap();
        assert_eq!((removals.due_through(), retention.going()), (Some(19), vec![]));
        removals.permit(18);
        assert_eq!(retention.going(), [9]);
        retention.gone(1);
        assert!(retention.going().is_empty());
        removals.permit(u64::MAX);
        assert_eq!(retention.going(), [19]);

        let mut at_once = Retention::new(Some(2), Removal::AtOnce);
        at_once.look(&Names(vec![9, 19, 29]), 29).unwrap();
        assert_eq!(at_once.going(), [9]);
        let mut all = Retention::new(None, Removal::AtOnce);
        all.look(&Names(vec![9, 19, 29]), 29).unwrap();
        assert_eq!((all.removals().due_through(), all.going()), (None, vec![]));
    }

    /// Somebody's files with large numbers do not make the cluster believe that records to come
    /// were removed.
    #[test]
    fn a_number_beyond_the_last_record_counts_for_nothing() {
        let mut retention = Retention::new(Some(1), Removal::WhenPermitted);
        retention.look(&Names(vec![9, 19, 1 << 40, 1 << 41]), 19).unwrap();
        assert_eq!(retention.removals().due_through(), Some(9));
    }
}
