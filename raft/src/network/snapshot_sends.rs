//! The snapshots that this node is sending, or has lately sent, to its peers.
//!
//! Knows where in the log each receiver will go on, so that what it needs next is still there when
//! it has installed (openraft#1706: a purge during a long transfer forces another one).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockbox_core::NodeId;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Snapshots that a leader sends at the same time: the disk and the link are shared with the log.
const SNAPSHOTS_SENT_AT_ONCE: usize = 1;

/// A snapshot on its way to a peer, or there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Last entry in the snapshot: its receiver goes on with the next one.
    pub(crate) index: u64,
    /// When the peer said that it has installed it.
    pub(crate) installed: Option<Instant>,
    attempt: u64,
}

/// All of them.
pub(crate) struct SnapshotSends {
    turns: Semaphore,
    sent: Mutex<(u64, BTreeMap<NodeId, Sent>)>,
}

impl SnapshotSends {
    pub(crate) const fn new() -> Self {
        let turns = Semaphore::const_new(SNAPSHOTS_SENT_AT_ONCE);
        Self { turns, sent: Mutex::new((0, BTreeMap::new())) }
    }

    /// Waits for this sender's turn.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.turns.acquire().await
    }

    /// From now on this peer is being sent the state up to `index`.
    pub(crate) fn begin(self: &Arc<Self>, peer: NodeId, index: u64) -> Sending {
        let mut sent = self.lock();
        sent.0 += 1;
        let attempt = sent.0;
        sent.1.insert(peer, Sent { index, installed: None, attempt });
        Sending { sends: Arc::clone(self), peer, attempt, installed: false }
    }

    /// Keeps those for which this is true; returns the lowest index that one of them keeps.
    ///
    /// `wanted` tells the last entry that its peer does not need, or `None` when it needs no
    /// consideration any more.
    pub(crate) fn lowest(&self, wanted: impl Fn(NodeId, &Sent) -> Option<u64>) -> Option<u64> {
        let mut lowest = None;
        self.lock().1.retain(|peer, sent| {
            let index = wanted(*peer, sent);
            lowest = lowest.into_iter().chain(index).min();
            index.is_some()
        });
        lowest
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<NodeId, Sent>)> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One transfer; dropped before it has [succeeded](Self::installed), it holds nothing any more.
pub(crate) struct Sending {
    sends: Arc<SnapshotSends>,
    peer: NodeId,
    attempt: u64,
    installed: bool,
}

impl Sending {
    /// The peer has installed the snapshot, and now needs what follows it.
    pub(crate) fn installed(mut self) {
        self.installed = true;
        if let Some(sent) = self.sends.lock().1.get_mut(&self.peer)
            && sent.attempt == self.attempt
        {
            sent.installed = Some(Instant::now());
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.installed {
            return;
        }
        let mut sent = self.sends.lock();
        // A later transfer to the same peer may have begun before this one was given up.
        if sent.1.get(&self.peer).is_some_and(|sent| sent.attempt == self.attempt) {
            sent.1.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowest(sends: &SnapshotSends) -> Option<u64> {
        sends.lowest(|_, sent| Some(sent.index))
    }

    #[test]
    fn a_transfer_counts_until_it_fails() {
        let sends = Arc::new(SnapshotSends::new());
        let (to_two, to_three) = (sends.begin(2, 70), sends.begin(3, 50));
        assert_eq!(lowest(&sends), Some(50));
        drop(to_three);
        assert_eq!(lowest(&sends), Some(70));
        to_two.installed();
        assert_eq!(lowest(&sends), Some(70), "its receiver has yet to catch up");
        assert_eq!(sends.lowest(|_, sent| sent.installed.map(|_| 71)), Some(71));
        assert_eq!(sends.lowest(|_, _| None), None);
        assert_eq!(lowest(&sends), None, "what is not wanted is forgotten");
    }

    #[test]
    fn a_transfer_that_is_given_up_late_does_not_end_the_next_one() {
        let sends = Arc::new(SnapshotSends::new());
        let first = sends.begin(2, 50);
        let second = sends.begin(2, 90);
        drop(first);
        assert_eq!(lowest(&sends), Some(90));
        drop(second);
        assert_eq!(lowest(&sends), None);
    }
}
