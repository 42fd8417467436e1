//! Takes destroyed payloads out of the files of this node: every node does so for itself, within
//! `destroy.purge_within` (`design §6`).
//!
//! The state says what there is to do ([`crate::domain::erasure`]), a record beside it how far
//! this node has come. One round does all that is pending: the tables of the state are written
//! anew without it, then snapshots are replaced, for they share the tables of their time, then
//! the log is purged past the last destruction, whatever the settings keep, and its files are
//! written anew. At last it looks into what is none of its files ([`strays`]). A round that is cut
//! short is begun again, and goes on behind the steps that it has [`Finished`]; none of them counts
//! after a snapshot of another node was installed, for its files may hold what was gone here.

mod finished;
mod strays;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::Clock;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::finished::Finished;
use self::strays::Strays;
use super::clock::ClusterClock;
use super::erasure::{Due, ErasureProgress};
use super::purge::Purger;
use super::purge_first::{PayloadStanding, PurgeFirst};
use crate::error::StorageError;
use crate::network::Raft;
use crate::state::tables;
use crate::store::{
    Blocking, Erased, ErasedRecord, Faults, LogReader, Recorded, SnapshotRenewal, StateHandle,
};

/// Between two looks at what is pending, and at whether a step is done.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A round that waits longer for others begins again: whoever holds it up may be gone then. More
/// than the log is held for a peer. What the node does itself takes as long as it takes: begun
/// again, it would take that long again.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(240);

/// The task.
pub(super) struct Eraser {
    pub(super) raft: Raft,
    pub(super) purger: Arc<Purger>,
    pub(super) state: StateHandle,
    pub(super) log: LogReader,
    pub(super) renewal: SnapshotRenewal,
    pub(super) erased: ErasedRecord,
    /// What it says when this process begins.
    pub(super) recorded: Recorded,
    pub(super) progress: Arc<ErasureProgress>,
    pub(super) purge_first: Arc<PurgeFirst>,
    pub(super) clock: Arc<ClusterClock>,
    /// For what is told of the last round.
    pub(super) wall: Arc<dyn Clock>,
    /// The data directory.
    pub(super) root: PathBuf,
    pub(super) purge_within: Duration,
    pub(super) blocking: Blocking,
    pub(super) faults: Faults,
}

/// Whose files are waited for.
#[derive(Clone, Copy)]
enum Database {
    State,
    Log,
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
        let (mut finished, mut strays) = (Finished::default(), Strays::default());
        let mut recorded = self.recorded;
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let looked = self.look(&mut finished, &mut strays, &mut recorded).await;
            if let Err(Cut::Stopped) = looked {
                return;
            }
        }
    }

    /// Does what is due.
    async fn look(
        &self,
        finished: &mut Finished,
        strays: &mut Strays,
        recorded: &mut Recorded,
    ) -> Result<(), Cut> {
        let due = self.progress.look_at(&self.state);
        let due = due.inspect_err(|error| self.faults.report(error))?;
        let log_now = self.clock.log_now_at(self.state.applied().borrow().log_time);
        let standing = self.purge_first.standing(&self.progress, &self.state, &self.clock);
        let standing = standing.inspect_err(|error| self.faults.report(error))?;
        self.note_known(&due, recorded).await?;
        let is_owed = standing == PayloadStanding::PurgesFirst;
        let waits = self.progress.pending_for(log_now) < self.purge_within / 2;
        // Strays do not keep a node from serving.
        if due.pending == 0 || !is_owed && (waits || self.is_held_up(&due, strays)) {
            return Ok(());
        }
        let started = Instant::now();
        self.round(&due, finished).await?;
        let done = Erased { generation: due.generation, count: due.point.count };
        self.purge_first.purged(done);
        self.progress.out_of_files(done);
        if self.search_strays(&due, strays).await? {
            return Ok(());
        }
        if self.state.generation_number() != due.generation {
            return Err(Cut::Again);
        }
        let known = self.purge_first.known_in(done.generation);
        self.record(Recorded { done, known }, recorded).await?;
        self.progress.done(done, started, self.wall.wall_ms());
        let took_ms = started.elapsed().as_millis();
        tracing::info!(payloads = due.pending, took_ms, "took destroyed payloads out of the files");
        Ok(())
    }

    /// Writes down what a next life may take for known, when that has changed.
    async fn note_known(&self, due: &Due, recorded: &mut Recorded) -> Result<(), Cut> {
        let known = self.purge_first.known_in(due.generation);
        if (recorded.done.generation, recorded.known) == (due.generation, known) {
            return Ok(());
        }
        let done = Erased { generation: due.generation, count: due.done };
        self.record(Recorded { done, known }, recorded).await
    }

    async fn record(&self, new: Recorded, recorded: &mut Recorded) -> Result<(), Cut> {
        let record = self.erased.clone();
        let written = self.blocking.run(move || record.write(new)).await;
        written.inspect_err(|error| self.faults.report(error))?;
        *recorded = new;
        Ok(())
    }

    /// One round: when it ends well, nothing up to the point is in any file of this node.
    async fn round(&self, due: &Due, finished: &mut Finished) -> Result<(), Cut> {
        let (generation, point) = (due.generation, due.point);
        finished.only_of(generation);
        self.erase_from_state(due, finished).await?;
        self.wait_gone(generation, Database::State, &mut finished.state_left).await?;
        let renewal = finished.renewal_for(point.count, || self.renewal.begin());
        self.replace_snapshots(generation, renewal, point.index).await?;
        self.purge_log(generation, point.index).await?;
        self.erase_from_log(due, finished).await?;
        self.wait_gone(generation, Database::Log, &mut finished.log_left).await?;
        // What is being sent, or read of a state that was replaced, ends by itself.
        let by = Instant::now() + WAIT_MAX;
        loop {
            let left = self.others(renewal).await?;
            if left.is_empty() {
                return Ok(());
            }
            self.wait(generation, by, &Files(&left)).await?;
        }
    }

    /// What is left of older snapshots and states.
    async fn others(&self, renewal: u64) -> Result<Vec<PathBuf>, Cut> {
        let (snapshots, state) = (self.renewal.clone(), self.state.clone());
        let others = self
            .blocking
            .run(move || Ok([snapshots.others(renewal)?, state.other_generations()?].concat()));
        Ok(others.await.inspect_err(|error| self.faults.report(error))?)
    }

    async fn erase_from_state(&self, due: &Due, finished: &mut Finished) -> Result<(), Cut> {
        let (point, done) = (due.point, due.done.max(finished.state));
        if done >= point.count {
            return Ok(());
        }
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
                finished.state = point.count;
                finished.state_left.extend(left);
                return Ok(());
            }
            // A view of before is still open.
            self.pause(due.generation).await?;
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
            self.wait(generation, by, &"the log, kept for a peer that catches up").await?;
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

    async fn erase_from_log(&self, due: &Due, finished: &mut Finished) -> Result<(), Cut> {
        if finished.log >= due.point.index {
            return Ok(());
        }
        loop {
            if let Some(left) = self.log.erase_removed(self.blocking).await? {
                finished.log = due.point.index;
                finished.log_left.extend(left);
                return Ok(());
            }
            self.pause(due.generation).await?;
        }
    }

    /// Waits until these files are gone: who reads them keeps them, and whoever was the last to
    /// read one does not always remove it.
    async fn wait_gone(
        &self,
        generation: u64,
        of: Database,
        files: &mut Vec<PathBuf>,
    ) -> Result<(), Cut> {
        let by = Instant::now() + WAIT_MAX;
        loop {
            let before = files.clone();
            *files = match of {
                Database::State => {
                    let state = self.state.clone();
                    self.blocking.run(move || state.still_left(before)).await?
                }
                Database::Log => self.log.still_left(before, self.blocking).await?,
            };
            if files.is_empty() {
                return Ok(());
            }
            self.wait(generation, by, &Files(files)).await?;
        }
    }

    /// Waits for others, because of whom `what` is still there.
    async fn wait(
        &self,
        generation: u64,
        by: Instant,
        what: &(dyn fmt::Display + Sync),
    ) -> Result<(), Cut> {
        if Instant::now() >= by {
            let what = what.to_string();
            tracing::warn!(what, "destroyed payloads wait for others to let go; beginning again");
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

/// Files and directories, for the log.
struct Files<'a>(&'a [PathBuf]);

impl fmt::Display for Files<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, path) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{}", path.display())?;
        }
        Ok(())
    }
}
