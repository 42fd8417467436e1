//! A node that was away takes what was destroyed meanwhile out of its files before it serves
//! payloads (`design §6`).
//!
//! Away is who starts, and who gets another node's snapshot. What there is to purge is known behind
//! the first read barrier after that: nothing, and then payloads are served from that moment on; or
//! something that was destroyed since, or is late. What is destroyed after that barrier goes in its
//! own time, as on a node that has been there all the time, and so does what this node had applied
//! before its start and is not late, so that a restart costs nothing. (Applied durably, and by a
//! process that served: what a crash took of the state counts as missed, and what an earlier
//! process still owed is owed.) Consensus knows nothing of it: the node votes, replicates and
//! leads, and others serve payloads by its read points.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Replica;
use super::clock::ClusterClock;
use super::erasure::ErasureProgress;
use crate::error::StorageError;
use crate::state::tables;
use crate::store::{Erased, Recorded, StateHandle};

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
    /// What this process began with and may go in its own time; of another state, nothing.
    began: Erased,
    /// Whatever is pending for longer is late.
    late_after: Duration,
    /// The newest generation of the state in which a read barrier was passed. The first is 1.
    /// ORDER: behind `known`, whose `missed` it is the quick look at.
    confirmed_in: AtomicU64,
    /// The newest one in which payloads are served.
    open_in: AtomicU64,
    known: Mutex<Known>,
}

/// What is known of the newest generation in which there is something to know.
#[derive(Default)]
struct Known {
    /// What had been destroyed when the first barrier was passed.
    missed: Option<Erased>,
    /// What has to be purged.
    wanted: Option<Erased>,
    /// What is out of the files, whether or not anybody has asked for it yet.
    purged: Option<Erased>,
}

/// Of this generation alone.
fn of(erased: Option<Erased>, generation: u64) -> Option<Erased> {
    erased.filter(|erased| erased.generation == generation)
}

impl PurgeFirst {
    /// For a process that begins with this state, and this record of it.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(super) fn new(
        state: &StateHandle,
        recorded: Recorded,
        purge_within: Duration,
    ) -> Result<Self, StorageError> {
        let generation = state.generation_number();
        let count = state.read(|view| tables::erasures(view))??.count;
        // Nobody has served payloads of a state that is not the one on record.
        let is_of_it = recorded.done.generation == generation;
        let known = if is_of_it { recorded.known.unwrap_or(count) } else { 0 };
        Ok(Self {
            began: Erased { generation, count: known.min(count) },
            late_after: purge_within / 2,
            confirmed_in: AtomicU64::new(0),
            open_in: AtomicU64::new(0),
            known: Mutex::default(),
        })
    }

    /// What a next life of this node may take for known of a state: everything once payloads of it
    /// are served.
    pub(super) fn known_in(&self, generation: u64) -> Option<u64> {
        if self.open_in.load(Ordering::Acquire) >= generation {
            return None;
        }
        Some(if self.began.generation == generation { self.began.count } else { 0 })
    }

    /// A read barrier was passed that began in this generation. The first one says what was
    /// destroyed while the node was away.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(super) fn confirmed(
        &self,
        generation: u64,
        state: &StateHandle,
    ) -> Result<(), StorageError> {
        if self.confirmed_in.load(Ordering::Acquire) >= generation {
            return Ok(());
        }
        let count = state.read(|view| tables::erasures(view))??.count;
        if state.generation_number() != generation {
            // It is another state's by now, perhaps: the first barrier in that one will say.
            return Ok(());
        }
        let mut known = self.known();
        if self.confirmed_in.load(Ordering::Acquire) < generation {
            known.missed = Some(Erased { generation, count });
            self.confirmed_in.store(generation, Ordering::Release);
        }
        Ok(())
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
        let due = erasure.look_at(state)?;
        let log_now = clock.log_now_at(state.applied().borrow().log_time);
        let is_late = erasure.pending_for(log_now) >= self.late_after;
        let mut known = self.known();
        let Some(missed) = of(known.missed, generation).filter(|_| due.generation == generation)
        else {
            return Ok(PayloadStanding::Unknown);
        };
        let wanted = of(known.wanted, generation);
        let is_known = generation == self.began.generation && missed.count <= self.began.count;
        let done =
            of(known.purged, generation).map_or(due.done, |purged| due.done.max(purged.count));
        // What was wanted once stays so until it is done, however late it was.
        if done >= missed.count || wanted.is_none() && is_known && !is_late {
            self.open(generation, wanted.is_some());
            return Ok(PayloadStanding::Serves);
        }
        if wanted.is_none() {
            known.wanted = Some(missed);
            let payloads = missed.count - done;
            tracing::info!(
                payloads,
                "what was destroyed meanwhile is purged before payloads are served"
            );
        }
        Ok(PayloadStanding::PurgesFirst)
    }

    /// So many erasures are out of the node's own files.
    pub(super) fn purged(&self, now: Erased) {
        let mut known = self.known();
        known.purged = Some(now);
        if of(known.wanted, now.generation).is_some_and(|wanted| wanted.count <= now.count) {
            self.open(now.generation, true);
        }
    }

    fn open(&self, generation: u64, was_closed: bool) {
        if self.open_in.fetch_max(generation, Ordering::AcqRel) < generation && was_closed {
            tracing::info!("what was destroyed meanwhile is purged; payloads are served");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
