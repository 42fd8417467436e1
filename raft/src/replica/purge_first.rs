//! A node that was away takes what was destroyed meanwhile out of its files before it serves
//! payloads (`design §6`).
//!
//! Away is who starts, and who gets another node's snapshot. What there is to purge is known behind
//! the first read barrier after that: nothing, and then payloads are served from that moment on; or
//! something that was destroyed since, or is late. Nothing is purged for it that this node had
//! applied before its start and that is not late: that goes in its own time, as on a node that has
//! been there all the time, so that a restart costs nothing. (Applied durably: what a crash took of
//! the state counts as missed.) Consensus knows nothing of it: the node
//! votes, replicates and leads, and others serve payloads by its read points.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Replica;
use super::clock::ClusterClock;
use super::erasure::ErasureProgress;
use crate::error::StorageError;
use crate::state::tables;
use crate::store::StateHandle;

/// Whether a node serves payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadStanding {
    /// It does.
    Serves,
    /// Not before what was destroyed while it was away is out of its files.
    PurgesFirst,
    /// Nobody can say before a read barrier is passed in the present state.
    Unknown,
}

/// What has to be purged first.
pub(super) struct PurgeFirst {
    /// The state that this process began with.
    began: Erasures,
    /// Whatever is pending for longer is late.
    late_after: Duration,
    /// The newest generation of the state in which a read barrier was passed. The first is 1.
    confirmed_in: AtomicU64,
    /// The newest one in which payloads are served.
    open_in: AtomicU64,
    /// What has to be purged in the newest one in which there is something.
    wanted: Mutex<Option<Erasures>>,
}

/// So many erasures of a generation.
#[derive(Debug, Clone, Copy)]
struct Erasures {
    generation: u64,
    count: u64,
}

impl PurgeFirst {
    /// For a process that begins with this state.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(super) fn new(state: &StateHandle, purge_within: Duration) -> Result<Self, StorageError> {
        let count = state.read(|view| tables::erasures(view))??.count;
        Ok(Self {
            began: Erasures { generation: state.generation_number(), count },
            late_after: purge_within / 2,
            confirmed_in: AtomicU64::new(0),
            open_in: AtomicU64::new(0),
            wanted: Mutex::default(),
        })
    }

    /// A read barrier was passed that began in this generation.
    pub(super) fn confirmed(&self, generation: u64) {
        self.confirmed_in.fetch_max(generation, Ordering::AcqRel);
    }

    /// Whether payloads are served now: to be asked for after the view that they come from is read.
    pub(super) fn standing(
        &self,
        erasure: &ErasureProgress,
        state: &StateHandle,
        clock: &ClusterClock,
    ) -> Result<PayloadStanding, StorageError> {
        let generation = state.generation_number();
        if self.open_in.load(Ordering::Acquire) == generation {
            return Ok(PayloadStanding::Serves);
        }
        if self.confirmed_in.load(Ordering::Acquire) != generation {
            return Ok(PayloadStanding::Unknown);
        }
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.is_some_and(|wanted| wanted.generation == generation) {
            // It may be done since the first look.
            let is_open = self.open_in.load(Ordering::Acquire) == generation;
            return Ok(if is_open {
                PayloadStanding::Serves
            } else {
                PayloadStanding::PurgesFirst
            });
        }
        let due = erasure.look_at(state)?;
        if due.generation != generation {
            return Ok(PayloadStanding::Unknown);
        }
        let began = self.began;
        let is_known = generation == began.generation && due.point.count <= began.count;
        let log_now = clock.log_now_at(state.applied().borrow().log_time);
        let is_late = erasure.pending_for(log_now) >= self.late_after;
        if due.pending == 0 || is_known && !is_late {
            self.open_in.fetch_max(generation, Ordering::AcqRel);
            return Ok(PayloadStanding::Serves);
        }
        *wanted = Some(Erasures { generation, count: due.point.count });
        let payloads = due.pending;
        tracing::info!(
            payloads,
            "what was destroyed meanwhile is purged before payloads are served"
        );
        Ok(PayloadStanding::PurgesFirst)
    }

    /// So many erasures of this generation are out of the node's files.
    pub(super) fn purged(&self, generation: u64, count: u64) {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_done =
            wanted.is_some_and(|wanted| wanted.generation == generation && wanted.count <= count);
        if is_done && self.open_in.fetch_max(generation, Ordering::AcqRel) < generation {
            tracing::info!("what was destroyed meanwhile is purged; payloads are served");
        }
    }
}

impl Replica {
    /// Whether this node serves payloads that it has read before this call; see
    /// [`PayloadStanding`].
    #[must_use]
    pub fn payload_standing(&self) -> PayloadStanding {
        let inner = &self.0;
        let standing = inner.purge_first.standing(&inner.erasure, &inner.state, &inner.clock);
        standing.unwrap_or_else(|error| {
            inner.faults.report(&error);
            PayloadStanding::Unknown
        })
    }
}
