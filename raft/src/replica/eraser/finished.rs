//! What the rounds of an erasure have finished, so that one that is begun again does not do all of
//! it again.
//!
//! Kept is what stays true whatever comes: rows that are out of the tables of a state do not come
//! back into these, for `apply` stores no payload of a destroyed version; entries that are purged
//! are not appended again. Not kept, because it is about what is there *now*: which snapshots and
//! states are left, how far the newest snapshot reaches and the log is purged, and what lies beside
//! the node's files; to look is cheap. Nothing is kept of another generation of the state, whose
//! tables came from another node. Nor on disk: what a crash leaves behind (tables that were written
//! and never used, logs without their end) is known to the round that comes after it alone.

use std::path::PathBuf;

/// What is finished in one generation of the state.
#[derive(Debug, Default)]
pub(super) struct Finished {
    generation: u64,
    /// So many erasures are out of the tables of the state.
    pub(super) state: u64,
    /// But for these, which are no longer of the state, and go with their last reader.
    pub(super) state_left: Vec<PathBuf>,
    renewal: Option<Renewal>,
    /// The log up to this entry was purged, and then its files were written anew.
    pub(super) log: u64,
    /// But for these.
    pub(super) log_left: Vec<PathBuf>,
}

/// A renewal of the snapshots.
#[derive(Debug, Clone, Copy)]
struct Renewal {
    number: u64,
    /// So many erasures were out of the tables when it began.
    count: u64,
}

impl Finished {
    /// Forgets what is not of this generation.
    pub(super) fn only_of(&mut self, generation: u64) {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
    }

    /// The renewal of snapshots that began when so many erasures were out of the tables; it begins
    /// now if there is none, so they have to be out.
    pub(super) fn renewal_for(&mut self, count: u64, begin: impl FnOnce() -> u64) -> u64 {
        debug_assert!(self.state >= count, "a snapshot would share tables of before");
        let known = self.renewal.filter(|renewal| renewal.count >= count);
        let renewal = known.unwrap_or_else(|| Renewal { number: begin(), count: self.state });
        self.renewal = Some(renewal);
        renewal.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_serves_what_was_out_of_the_tables_when_it_began() {
        let mut finished = Finished { state: 2, ..Finished::default() };
        let never = || unreachable!("there is one");
        assert_eq!(finished.renewal_for(2, || 7), 7);
        assert_eq!(finished.renewal_for(2, never), 7);
        assert_eq!(finished.renewal_for(1, never), 7);
        finished.state = 3;
        assert_eq!(finished.renewal_for(3, || 8), 8);
    }

    #[test]
    fn nothing_is_finished_in_another_state() {
        let left = vec![PathBuf::from("000012.sst")];
        let (state_left, log_left) = (left.clone(), left);
        let renewal = Some(Renewal { number: 7, count: 2 });
        let mut finished =
            Finished { generation: 4, state: 2, state_left, renewal, log: 9, log_left };
        finished.only_of(4);
        assert_eq!((finished.state, finished.log, finished.state_left.len()), (2, 9, 1));
        finished.only_of(5);
        assert_eq!((finished.state, finished.log), (0, 0));
        assert!(finished.state_left.is_empty() && finished.log_left.is_empty());
        assert!(finished.renewal.is_none());
    }
}
