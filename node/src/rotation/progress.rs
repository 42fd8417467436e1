//! How far the leader has come, for who asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far it has come with data keys. Numbers are of the present leader, since it leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether this node is going through the payloads.
    pub running: bool,
    /// Payloads that this pass has looked at.
    pub examined: u64,
    /// Payloads that there were when it began.
    pub versions: u64,
    /// Data keys put under another keyring key, in all passes.
    pub rewrapped: u64,
    /// Data keys of this pass that did not open, and so keep their key from going.
    pub unreadable: u64,
}

/// The progress of this node's part in a rotation. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Rotation(Arc<Mutex<Progress>>);

impl Rotation {
    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.lock()
    }

    /// A pass through so many versions begins.
    pub(super) fn begin_pass(&self, versions: u64) {
        let mut progress = self.lock();
        let rewrapped = progress.rewrapped;
        *progress = Progress { running: true, versions, rewrapped, ..Progress::default() };
    }

    /// So many payloads were looked at, and of their data keys so many put under another key, and
    /// so many found not to open.
    pub(super) fn count(&self, examined: u64, rewrapped: u64, unreadable: u64) {
        let mut progress = self.lock();
        progress.examined += examined;
        progress.rewrapped += rewrapped;
        progress.unreadable += unreadable;
    }

    /// There is nothing to go through.
    pub(super) fn stand_by(&self) {
        self.lock().running = false;
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
