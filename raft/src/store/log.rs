//! The Raft log: engine, tail cache and writer behind openraft's two log traits.
//!
//! Contracts: `openraft.md §2.2–2.3`. Entries are readable when `append` returns and reported
//! only once they are durable; a vote is durable when `save_vote` returns; truncation, purge and
//! the committed marker keep their place in the order and need no sync of their own.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, alias};
use tokio::sync::oneshot;

use super::blocking::Blocking;
use super::codec;
use super::engine::{LogEngine, LogOp, LogRecord, RecoveredLog};
use super::engine_stats::EngineStats;
use super::faults::Faults;
use super::locking::locked;
use super::log_tail::Tail;
use super::log_writer::LogWriterHandle;
use super::pace::Pace;
use super::state_handle::AppliedIndex;
use super::tail_cache::TailCache;
use super::write_queue::{Completion, WriteCommand};
use crate::error::StorageError;
use crate::types::{LogEntry, LogId, TypeConfig, Vote};

/// Encoded bytes that one read for replication or apply may return before it stops.
const READ_BYTES_MAX: usize = 2 << 20;

struct Shared {
    engine: Arc<dyn LogEngine>,
    tail: Mutex<Tail>,
    vote: Mutex<Option<Vote>>,
    writer: LogWriterHandle,
    faults: Faults,
    /// Held as long as anything can write to the directory.
    _directory: Arc<super::directory_lock::DirectoryLock>,
}

/// The writing side; openraft's core owns it.
pub struct LogStore {
    shared: Arc<Shared>,
}

/// A reading side; as many as needed.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// Lets `apply` wait until what it applies is durable on this node (`openraft.md §3.3`).
pub(super) struct DurabilityBarrier {
    shared: Arc<Shared>,
}

impl LogStore {
    pub(super) fn open(
        engine: Arc<dyn LogEngine>,
        recovered: &RecoveredLog,
        writer: LogWriterHandle,
        cache_bytes_max: usize,
        faults: Faults,
        directory: Arc<super::directory_lock::DirectoryLock>,
    ) -> Result<Self, StorageError> {
        let record = |name| recovered.records.get(&name).map(Vec::as_slice);
        let purged = record(LogRecord::Purged).map(codec::decode_log_id).transpose()?;
        let committed = record(LogRecord::Committed).map(codec::decode_log_id).transpose()?;
        let vote = record(LogRecord::Vote).map(codec::decode_vote).transpose()?;
        let start = purged.map_or(0, |id: LogId| id.index + 1);
        let present =
            if recovered.entries.is_empty() { start..start } else { recovered.entries.clone() };
        if present.start != start {
            let message = format!("it begins at {}, not at {start}", present.start);
            return Err(StorageError::corrupt("open the log", message));
        }
        let last = match present.end.checked_sub(1).filter(|_| !present.is_empty()) {
            Some(index) => Some(read_one(engine.as_ref(), index)?.log_id),
            None => purged,
        };
        let cache = TailCache::new(cache_bytes_max);
        let tail = Tail { cache, present, last, purged, committed, revision: 0 };
        let shared = Shared {
            engine,
            tail: Mutex::new(tail),
            vote: Mutex::new(vote),
            writer,
            faults,
            _directory: directory,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn barrier(&self) -> DurabilityBarrier {
        DurabilityBarrier { shared: Arc::clone(&self.shared) }
    }

    /// Ids of the last purged and of the last entry.
    pub(super) fn bounds(&self) -> (Option<LogId>, Option<LogId>) {
        let tail = locked(&self.shared.tail);
        (tail.purged, tail.last)
    }
}

impl DurabilityBarrier {
    /// Waits until the entry at this index is durable here.
    pub(super) async fn durable(&self, index: u64) -> Result<(), StorageError> {
        let sequence = locked(&self.shared.tail).cache.sequence_of(index);
        match sequence {
            Some(sequence) if sequence > self.shared.writer.durable() => {
                self.shared.writer.wait_durable(sequence).await
            }
            // What is not cached was durable before it was evicted, or when it was recovered.
            Some(_) | None => Ok(()),
        }
    }
}

impl DurabilityBarrier {
    /// The id of an entry some places before this one, while the log holds it; what a node takes
    /// for its last applied one as [`lockbox_core::Mutant::ReappliedAfterCrash`].
    pub(super) fn some_entries_before(&self, last: LogId) -> Result<Option<LogId>, StorageError> {
        let earlier = last.index.saturating_sub(super::seeded::ENTRIES_REAPPLIED);
        let found = self.shared.read(&(earlier..last.index), usize::MAX)?;
        Ok(found.first().map_or(Some(last), |entry| Some(entry.log_id)))
    }
}

fn read_one(engine: &dyn LogEngine, index: u64) -> Result<LogEntry, StorageError> {
    let encoded = engine.read(index..index + 1, 0)?;
    decode_run(&encoded, index)?
        .pop()
        .ok_or_else(|| StorageError::corrupt("read the log", format!("entry {index} is missing")))
}

/// Decodes entries that must begin at `first` and be consecutive.
fn decode_run(encoded: &[Bytes], first: u64) -> Result<Vec<LogEntry>, StorageError> {
    let expected = first..;
    let decode = |(encoded, index): (&Bytes, u64)| {
        let entry = codec::decode_entry(encoded)?;
        if entry.log_id.index == index {
            return Ok(entry);
        }
        let message = format!("entry {index} holds entry {}", entry.log_id.index);
        Err(StorageError::corrupt("read the log", message))
    };
    encoded.iter().zip(expected).map(decode).collect()
}

impl Shared {
    /// The entries of the range that exist: a prefix of them, ended once `bytes_max` is exceeded.
    fn read(&self, range: &Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>, StorageError> {
        loop {
            let (stored, cached, revision) = {
                let tail = locked(&self.tail);
                let start = range.start.max(tail.present.start);
                let end = range.end.min(tail.present.end);
                if start >= end {
                    return Ok(Vec::new());
                }
                let cache_start = tail.cache.first_index().unwrap_or(tail.present.end).min(end);
                let cached = tail.cache.range(start.max(cache_start), end, bytes_max);
                (start..cache_start, cached, tail.revision)
            };
            if stored.is_empty() {
                return Ok(cached);
            }
            let encoded = self.engine.read(stored.clone(), bytes_max);
            // A truncation or purge may have changed the engine under this read.
            if locked(&self.tail).revision != revision {
                continue;
            }
            let encoded = encoded?;
            let mut entries = decode_run(&encoded, stored.start)?;
            let bytes: usize = encoded.iter().map(Bytes::len).sum();
            let complete = entries.len() as u64 == stored.end - stored.start;
            if !complete && bytes <= bytes_max {
                let message = format!("entries {stored:?} are not all there");
                return Err(StorageError::corrupt("read the log", message));
            }
            if complete && bytes <= bytes_max {
                entries.extend(cached);
            }
            return Ok(entries);
        }
    }
}

/// The indexes that a range names.
fn bounds_of(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl LogReader {
    /// The index at which the log begins; behind its last entry when it holds none.
    pub(crate) fn first_index(&self) -> u64 {
        locked(&self.shared.tail).present.start
    }

    /// Commands that wait for the disk.
    pub(crate) fn writes_waiting(&self) -> usize {
        self.shared.writer.queued()
    }

    /// What the engine says of itself.
    pub(crate) fn stats(&self) -> EngineStats {
        self.shared.engine.stats()
    }

    /// Takes what was removed so far out of the files of the log, as
    /// [`LogEngine::erase_removed`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) async fn erase_removed(
        &self,
        blocking: Blocking,
    ) -> Result<Option<Vec<PathBuf>>, StorageError> {
        let (sender, written) = oneshot::channel();
        let (ops, completion) = (Vec::new(), Completion::Before(sender));
        // ORDER: the purge itself may still be queued.
        self.shared.writer.queue(WriteCommand { ops, bytes: 0, completion })?;
        let gone = |error: oneshot::error::RecvError| {
            StorageError::io("write to the log", &io::Error::other(error))
        };
        written.await.map_err(gone)??;
        let engine = Arc::clone(&self.shared.engine);
        let erased = blocking.run(move || engine.erase_removed()).await;
        erased.inspect_err(|error| self.shared.faults.report(error))
    }

    /// Which of the files that [`Self::erase_removed`] returned are still left, as
    /// [`LogEngine::still_left`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) async fn still_left(
        &self,
        files: Vec<PathBuf>,
        blocking: Blocking,
    ) -> Result<Vec<PathBuf>, StorageError> {
        let engine = Arc::clone(&self.shared.engine);
        let left = blocking.run(move || engine.still_left(files)).await;
        left.inspect_err(|error| self.shared.faults.report(error))
    }

    /// Looks for damage in the files of the log, as [`LogEngine::scrub`]. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn scrub(&self, pace: &mut Pace) -> Result<bool, StorageError> {
        self.shared.engine.scrub(pace)
    }

    /// Whether the log has this entry. If so, all that it has before is what the cluster agreed on
    /// before it, too (log matching); if not, a snapshot took its place, and what is still there
    /// may be what a succeeded leader once wrote.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn has(&self, at: AppliedIndex) -> Result<bool, StorageError> {
        let found = self.shared.read(&(at.index..at.index.saturating_add(1)), usize::MAX)?;
        let of_its_term = |entry: &LogEntry| codec::term_of(&entry.log_id) == at.term;
        Ok(found.first().is_some_and(of_its_term))
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<LogEntry>, io::Error> {
        self.shared.faults.watch(self.shared.read(&bounds_of(&range), usize::MAX))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*locked(&self.shared.vote))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let read = self.shared.read(&(start..end), READ_BYTES_MAX).map(|entries| {
            // A leader that was succeeded reads on for a moment while its successor cuts the log
            // off, or a snapshot takes the place of its beginning. Nothing is sent then; what
            // comes later in the log must not be sent instead. A hole inside of it is an error.
            let begins = entries.first().is_some_and(|first| first.log_id.index == start);
            if begins { entries } else { Vec::new() }
        });
        self.shared.faults.watch(read)
    }

    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = Result<LogEntry, io::Error>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // Read piece by piece: the committed range may be far larger than memory should hold.
        let Range { start, end } = bounds_of(&range);
        let pieces = futures::stream::try_unfold((self.clone(), start), move |(reader, next)| {
            let piece = reader.shared.read(&(next..end), READ_BYTES_MAX);
            let piece = reader.shared.faults.watch(piece).map(|entries| {
                let last = entries.last()?.log_id.index;
                let entries = futures::stream::iter(entries.into_iter().map(Ok));
                Some((entries, (reader, last + 1)))
            });
            std::future::ready(piece)
        });
        futures::TryStreamExt::try_flatten(pieces)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let (last_purged_log_id, last_log_id) = self.bounds();
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { shared: Arc::clone(&self.shared) }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (sender, saved) = oneshot::channel();
        let op = LogOp::Record { record: LogRecord::Vote, value: codec::encode_vote(vote) };
        let command =
            WriteCommand { ops: vec![op], bytes: 0, completion: Completion::Vote(sender) };
        // A command that is refused or dropped has its sender completed or dropped with it.
        self.shared.writer.queue(command)?;
        saved.await.map_err(io::Error::other)??;
        *locked(&self.shared.vote) = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(id) = committed else { return Ok(()) };
        locked(&self.shared.tail).committed = committed;
        let value = codec::encode_log_id(&id);
        let op = LogOp::Record { record: LogRecord::Committed, value };
        // Rides with the next write: a lost marker only means that more is applied again later.
        self.shared.writer.queue_silently(unsynced(op))?;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(locked(&self.shared.tail).committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        let ops = entries.iter().map(|entry| {
            let encoded = codec::encode_entry(entry);
            LogOp::Append { index: entry.log_id.index, encoded }
        });
        let ops: Vec<LogOp> = ops.collect();
        let sizes: Vec<usize> = ops.iter().map(encoded_bytes).collect();
        let bytes = sizes.iter().sum();
        self.shared.writer.admit_append().await?;
        let mut tail = locked(&self.shared.tail);
        self.shared.faults.watch(tail.check_consecutive(&entries))?;
        self.shared.writer.stats().record_append(entries.len(), bytes);
        let completion = Completion::Append(callback);
        let sequence = self.shared.writer.queue(WriteCommand { ops, bytes, completion })?;
        let durable = self.shared.writer.durable();
        for (entry, bytes) in entries.into_iter().zip(sizes) {
            tail.push(entry, bytes, sequence, durable);
        }
        Ok(())
    }

    async fn truncate_after(
        &mut self,
        last: Option<alias::LogIdOf<TypeConfig>>,
    ) -> Result<(), io::Error> {
        let removed = locked(&self.shared.tail).truncate_after(last);
        if let Some(index) = removed {
            self.shared.writer.queue(unsynced(LogOp::TruncateFrom { index }))?;
        }
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let removed = locked(&self.shared.tail).purge(upto);
        if let Some(from) = removed {
            let log_id = codec::encode_log_id(&upto);
            let op = LogOp::Purge { from, upto: upto.index, log_id };
            self.shared.writer.queue(unsynced(op))?;
        }
        Ok(())
    }
}

fn unsynced(op: LogOp) -> WriteCommand {
    WriteCommand { ops: vec![op], bytes: 0, completion: Completion::Nobody }
}

fn encoded_bytes(op: &LogOp) -> usize {
    match op {
        LogOp::Append { encoded, .. } => encoded.len(),
        LogOp::TruncateFrom { .. } | LogOp::Purge { .. } | LogOp::Record { .. } => 0,
    }
}
