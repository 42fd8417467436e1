//! A node that was away takes what was destroyed meanwhile out of its files before it serves
//! payloads (`design §6`).
//!
//! Away is who starts, and who gets another node's snapshot. What there is to purge is known behind
//! the first read barrier after that: nothing, and then payloads are served from that moment on; or
//! something that was destroyed since, or is late. What is destroyed after that barrier goes in its
//! own time, as on a node that has been there all the time, and so does what this node had applied
//! before its start and is not late, so that a restart costs nothing. (Applied durably: what a
//! crash took of the state counts as missed.) Consensus knows nothing of it: the node votes,
//! replicates and leads, and others serve payloads by its read points.

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
    /// ORDER: behind `missed`, which it is the quick look at.
    confirmed_in: AtomicU64,
    /// What had been destroyed when the first barrier was passed in it.
    missed: Mutex<Option<Erasures>>,
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
            missed: Mutex::default(),
            open_in: AtomicU64::new(0),
            wanted: Mutex::default(),
        })
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
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.confirmed_in.load(Ordering::Acquire) < generation {
            *missed = Some(Erasures { generation, count });
            self.confirmed_in.store(generation, Ordering::Release);
        }
        Ok(())
    }

    /// What was destroyed before this generation was confirmed, if it is.
    fn missed_in(&self, generation: u64) -> Option<Erasures> {
        let missed = *self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.filter(|missed| missed.generation == generation)
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
        let Some(missed) = self.missed_in(generation) else {
            return Ok(PayloadStanding::Unknown);
        };
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
        let payloads = missed.count.saturating_sub(due.done);
        let began = self.began;
        let is_known = generation == began.generation && missed.count <= began.count;
        let log_now = clock.log_now_at(state.applied().borrow().log_time);
        let is_late = erasure.pending_for(log_now) >= self.late_after;
        if payloads == 0 || is_known && !is_late {
            self.open_in.fetch_max(generation, Ordering::AcqRel);
            return Ok(PayloadStanding::Serves);
        }
        *wanted = Some(missed);
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
