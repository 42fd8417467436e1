//! The hash of this node's state at the entry of a comparison ([`crate::domain::state_check`]).
//!
//! The view is taken before the next entry is applied, which waits for no more than that; the rows
//! are read beside it, at a bounded rate. One comparison at a time: another that comes meanwhile is
//! left out, and this node says nothing to it.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::blocking::Blocking;
use super::faults::Faults;
use super::locking::locked;
use super::pace::Pace;
use super::state_handle::{Generation, on_view};
use super::state_hash::state_hash;
use crate::error::{StorageError, StorageFailure};
use crate::state::{Row, Scan, Space, StateRead};

/// How fast the state is read.
const BYTES_PER_SECOND: u64 = 64 << 20;
/// A view that is open keeps deleted rows in the files: after so long it is read as fast as that
/// goes.
const PACED_MAX: Duration = Duration::from_secs(60);
/// How long the end of a store waits for the thread that reads its state: a thousand rows, and a
/// pause for them.
const END_WAIT_MAX: Duration = Duration::from_secs(2);

/// What this node's state was at an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnHash {
    /// The entry.
    pub index: u64,
    /// SHA-256 over the state as it left it.
    pub hash: [u8; 32],
}

/// Hashes the state when an entry asks for it; the state machine owns it.
pub(super) struct StateHasher {
    told: watch::Sender<Option<OwnHash>>,
    blocking: Blocking,
    faults: Faults,
    /// The one under way.
    hashing: Option<JoinHandle<()>>,
    /// Disconnected once that one has let go of the state.
    ended: Mutex<Option<Receiver<()>>>,
    stop: CancellationToken,
}

impl StateHasher {
    pub(super) fn new(blocking: Blocking, faults: Faults) -> Self {
        let (told, stop) = (watch::Sender::new(None), CancellationToken::new());
        Self { told, blocking, faults, hashing: None, ended: Mutex::new(None), stop }
    }

    /// Follows what it has found.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<OwnHash>> {
        self.told.subscribe()
    }

    /// Hashes the state as it is now, which is that of `index`. Returns once the view is taken.
    pub(super) async fn hash(&mut self, index: u64, generation: Arc<Generation>) {
        if self.hashing.as_ref().is_some_and(|hashing| !hashing.is_finished()) {
            tracing::warn!(index, "the state is still being hashed for the comparison before");
            return;
        }
        let (taken, view_taken) = oneshot::channel();
        let (ends, ended) = sync_channel::<()>(1);
        *locked(&self.ended) = Some(ended);
        let (told, faults, stop) = (self.told.clone(), self.faults.clone(), self.stop.clone());
        let work = move || {
            let hashed = on_view(generation.engine.as_ref(), |state| {
                // Nobody listens any more when the replica ends.
                taken.send(()).ok();
                paced_hash(state, stop.clone())
            });
            match hashed.and_then(std::convert::identity) {
                Ok(hash) => {
                    told.send_replace(Some(OwnHash { index, hash }));
                }
                Err(_told_to_end) if stop.is_cancelled() => {}
                Err(error) => faults.report(&error),
            }
            // ORDER: the state first, whose directory may be opened again at once.
            drop(generation);
            drop(ends);
        };
        match self.blocking {
            Blocking::Inline => work(),
            Blocking::Pool => {
                self.hashing = Some(tokio::task::spawn_blocking(work));
                // An error is a thread that never came to take a view, and says nothing.
                view_taken.await.ok();
            }
        }
    }
}

impl Drop for StateHasher {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(ended) = locked(&self.ended).take() {
            // Nothing is ever sent: it ends, or it takes too long.
            ended.recv_timeout(END_WAIT_MAX).ok();
        }
    }
}

fn paced_hash(state: &dyn StateRead, stop: CancellationToken) -> Result<[u8; 32], StorageError> {
    let pace = RefCell::new(Pace::new(BYTES_PER_SECOND, stop));
    state_hash(&PacedRead { state, pace, paced_until: Instant::now() + PACED_MAX })
}

/// A view whose scans take their time.
struct PacedRead<'a> {
    state: &'a dyn StateRead,
    pace: RefCell<Pace>,
    paced_until: Instant,
}

impl StateRead for PacedRead<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.state.get(space, key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
        let rows = self.state.scan(scan)?;
        let bytes = rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let mut pace = self.pace.borrow_mut();
        if Instant::now() > self.paced_until {
            pace.unbounded();
        }
        if pace.spend(bytes) {
            return Ok(rows);
        }
        Err(StorageError {
            failure: StorageFailure::Io,
            context: "hash the state".to_owned(),
            message: "the node ends".to_owned(),
        })
    }
}
