//! Takes destroyed payloads out of the files of this node: every node does so for itself, within
//! `destroy.purge_within` (`design §6`).
//!
//! The state says what there is to do ([`crate::domain::erasure`]), a record beside it how far
//! this node has come. One round does all that is pending: the tables of the state are written
//! anew without it, then snapshots are replaced, for they share the tables of their time, then
//! the log is purged past the last destruction, whatever the settings keep, and its files are
//! written anew. A round that is cut short is begun again; so is everything after a snapshot of another
//! node was installed, for its files may hold what was gone here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::Clock;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::clock::ClusterClock;
use super::erasure::ErasureProgress;
use super::purge::Purger;
use crate::domain::erasure::ErasurePoint;
use crate::error::StorageError;
use crate::network::Raft;
use crate::state::tables;
use crate::store::{
    Blocking, Erased, ErasedRecord, Faults, LogReader, SnapshotRenewal, StateHandle,
};

/// Between two looks at what is pending, and at whether a step is done.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A round that waits longer for others begins again: whoever holds it up may be gone then. More
/// than the log is held for a peer. What the node does itself takes as long as it takes: begun
/// again, it would take that long again.
const WAIT_MAX: Duration = Duration::from_secs(240);

/// The task.
pub(super) struct Eraser {
    pub(super) raft: Raft,
    pub(super) purger: Arc<Purger>,
    pub(super) state: StateHandle,
    pub(super) log: LogReader,
    pub(super) renewal: SnapshotRenewal,
    pub(super) erased: ErasedRecord,
    pub(super) progress: Arc<ErasureProgress>,
    pub(super) clock: Arc<ClusterClock>,
    /// For what is told of the last round.
    pub(super) wall: Arc<dyn Clock>,
    pub(super) purge_within: Duration,
    pub(super) blocking: Blocking,
    pub(super) faults: Faults,
}

/// Why a round ended early.
enum Cut {
    /// It took too long, or the state was replaced under it: it is to be begun again.
    Again,
    /// Consensus or the store has stopped.
    Stopped,
}

impl From<StorageError> for Cut {
    fn from(_reported: StorageError) -> Self {
        Self::Stopped
    }
}

/// All keys of payloads.
fn every_payload() -> Vec<std::ops::Range<Vec<u8>>> {
    vec![vec![0]..vec![u8::MAX]]
}

impl Eraser {
    /// Runs until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            // Consensus has stopped: nothing to erase any more, but the task ends when told to.
            () = self.erase() => stop.cancelled().await,
        }
    }

    /// Returns when consensus or the store has stopped.
    async fn erase(&self) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(Cut::Stopped) = self.look().await {
                return;
            }
        }
    }

    /// Does what is due.
    async fn look(&self) -> Result<(), Cut> {
        let due = self.progress.look_at(&self.state);
        let due = due.inspect_err(|error| self.faults.report(error))?;
        let log_now = self.clock.log_now_at(self.state.applied().borrow().log_time);
        let waits = self.progress.pending_for(log_now) < self.purge_within / 2;
        if due.pending == 0 || waits {
            return Ok(());
        }
        let started = Instant::now();
        self.round(due.generation, due.done, due.point).await?;
        if self.state.generation_number() != due.generation {
            return Err(Cut::Again);
        }
        let done = Erased { generation: due.generation, count: due.point.count };
        let record = self.erased.clone();
        let written = self.blocking.run(move || record.write(done)).await;
        written.inspect_err(|error| self.faults.report(error))?;
        self.progress.done(done, started, self.wall.wall_ms());
        let took_ms = started.elapsed().as_millis();
        tracing::info!(payloads = due.pending, took_ms, "took destroyed payloads out of the files");
        Ok(())
    }

    /// One round: when it ends well, nothing up to `point` is in any file.
    async fn round(&self, generation: u64, done: u64, point: ErasurePoint) -> Result<(), Cut> {
        self.erase_from_state(generation, done, point).await?;
        let renewal = self.renewal.begin();
        self.replace_snapshots(generation, renewal, point.index).await?;
        self.purge_log(generation, point.index).await?;
        self.erase_from_log(generation).await?;
        // What is being sent, or read of a state that was replaced, ends by itself.
        let by = Instant::now() + WAIT_MAX;
        while !self.is_alone(renewal).inspect_err(|error| self.faults.report(error))? {
            self.wait(generation, by).await?;
        }
        Ok(())
    }

    /// Whether nothing is left of older snapshots and states.
    fn is_alone(&self, renewal: u64) -> Result<bool, StorageError> {
        Ok(self.renewal.is_done(renewal)? && self.state.is_only_generation()?)
    }

    async fn erase_from_state(
        &self,
        generation: u64,
        done: u64,
        point: ErasurePoint,
    ) -> Result<(), Cut> {
        let known = self.state.read(|view| {
            // What came since is a part of the next round.
            tables::erasures_after(view, done, tables::erasures(view)?)
        });
        let known = known.and_then(std::convert::identity);
        let known = known.inspect_err(|error| self.faults.report(error))?;
        let payloads = known.map_or_else(every_payload, |known| {
            let rows = known.iter().filter(|erasure| erasure.number <= point.count);
            rows.map(|erasure| erasure.keys()).filter(|keys| keys.start < keys.end).collect()
        });
        loop {
            let (state, payloads) = (self.state.clone(), payloads.clone());
            let rewritten = self.blocking.run(move || state.erase_removed(&payloads)).await;
            if let Some(left) = rewritten.inspect_err(|error| self.faults.report(error))? {
                return self.wait_gone(generation, &left).await;
            }
            // A view of before is still open.
            self.pause(generation).await?;
        }
    }

    /// Makes sure that the newest snapshot was taken since this renewal, and covers `index`.
    async fn replace_snapshots(
        &self,
        generation: u64,
        renewal: u64,
        index: u64,
    ) -> Result<(), Cut> {
        loop {
            if self.renewal.is_taken(renewal) && self.covered_and_purged().0 >= index {
                return Ok(());
            }
            // To no effect while one is made, which may have begun before.
            self.raft.trigger().snapshot().await.map_err(|_fatal| Cut::Stopped)?;
            self.pause(generation).await?;
        }
    }

    async fn purge_log(&self, generation: u64, index: u64) -> Result<(), Cut> {
        // No further: a peer that lags a little would need a snapshot.
        self.purger.ask(index).await.map_err(|_fatal| Cut::Stopped)?;
        let by = Instant::now() + WAIT_MAX;
        while self.covered_and_purged().1 < index {
            self.wait(generation, by).await?;
        }
        Ok(())
    }

    /// The last entry in the newest snapshot, and the last that is purged.
    fn covered_and_purged(&self) -> (u64, u64) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: Option<crate::types::LogId>| id.map_or(0, |id| id.index);
        (index(metrics.snapshot), index(metrics.purged))
    }

    async fn erase_from_log(&self, generation: u64) -> Result<(), Cut> {
        loop {
            if let Some(left) = self.log.erase_removed(self.blocking).await? {
                return self.wait_gone(generation, &left).await;
            }
            self.pause(generation).await?;
        }
    }

    /// Waits until these files are gone: who reads them keeps them.
    async fn wait_gone(&self, generation: u64, files: &[PathBuf]) -> Result<(), Cut> {
        let by = Instant::now() + WAIT_MAX;
        while files.iter().any(|file| file.exists()) {
            self.wait(generation, by).await?;
        }
        Ok(())
    }

    /// Waits for others.
    async fn wait(&self, generation: u64, by: Instant) -> Result<(), Cut> {
        if Instant::now() >= by {
            tracing::warn!("destroyed payloads are still in files; beginning again");
            return Err(Cut::Again);
        }
        self.pause(generation).await
    }

    /// Until the next look, unless the state that the round is about is another one meanwhile.
    async fn pause(&self, generation: u64) -> Result<(), Cut> {
        if self.state.generation_number() != generation {
            return Err(Cut::Again);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        Ok(())
    }
}
