//! The queue in front of the log: one totally ordered stream of writes.
//!
//! Bounded: appends wait at the door ([`WriteQueue::admits_append`]); a vote is awaited by its
//! sender; truncation and purge happen between appends; of the committed marker only the newest
//! is kept. Once closed or poisoned it accepts nothing and holds nothing.

use std::collections::VecDeque;

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::engine::{LogOp, LogRecord};
use crate::error::StorageError;
use crate::types::TypeConfig;

/// Appends that may wait undrained. With a few, openraft itself batches better while the disk is
/// busy; with one, it starves (`openraft.md §5.3`).
const QUEUED_APPENDS_MAX: usize = 4;
/// Bytes that may wait undrained before appends have to.
const QUEUED_BYTES_MAX: usize = 16 << 20;
/// Bytes written and synced together.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;

/// Whom to tell that a command is durable, or that it failed for good.
pub(super) enum Completion {
    /// Nobody: the command need not be durable by itself.
    Nobody,
    /// openraft, about an append.
    Append(IOFlushed<TypeConfig>),
    /// The task that saves a vote.
    Vote(oneshot::Sender<Result<(), StorageError>>),
    /// Whoever waits until all that was queued before is written.
    Before(oneshot::Sender<Result<(), StorageError>>),
}

impl Completion {
    pub(super) const fn needs_sync(&self) -> bool {
        match self {
            Self::Nobody => false,
            Self::Append(_) | Self::Vote(_) | Self::Before(_) => true,
        }
    }

    pub(super) fn complete(self, result: Result<(), StorageError>) {
        match self {
            Self::Nobody => {}
            Self::Append(flushed) => flushed.io_completed(result.map_err(Into::into)),
            // The receiver is gone only when the core or the replica was stopped meanwhile.
            Self::Vote(sender) | Self::Before(sender) => drop(sender.send(result)),
        }
    }
}

/// Writes that belong together, and whom to tell.
pub(super) struct WriteCommand {
    pub(super) ops: Vec<LogOp>,
    pub(super) bytes: usize,
    pub(super) completion: Completion,
}

impl WriteCommand {
    fn is_append(&self) -> bool {
        matches!(self.completion, Completion::Append(_))
    }

    fn is_committed_marker(&self) -> bool {
        matches!(self.ops.as_slice(), [LogOp::Record { record: LogRecord::Committed, .. }])
    }
}

/// What is written and synced together.
pub(super) struct Batch {
    pub(super) commands: Vec<WriteCommand>,
    /// Sequence number of its last command.
    pub(super) sequence: u64,
}

enum Door {
    Open,
    Closed,
    Poisoned(StorageError),
}

/// Commands in order, each with its sequence number (the first is 1).
pub(super) struct WriteQueue {
    commands: VecDeque<WriteCommand>,
    bytes: usize,
    appends: usize,
    last_sequence: u64,
    door: Door,
}

impl WriteQueue {
    pub(super) fn new() -> Self {
        let commands = VecDeque::new();
        Self { commands, bytes: 0, appends: 0, last_sequence: 0, door: Door::Open }
    }

    /// Commands that wait.
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) const fn is_closed(&self) -> bool {
        !matches!(self.door, Door::Open)
    }

    /// Whether one more append may enter now.
    pub(super) fn admits_append(&self) -> Result<bool, StorageError> {
        self.check_open()?;
        Ok(self.appends < QUEUED_APPENDS_MAX && self.bytes < QUEUED_BYTES_MAX)
    }

    fn check_open(&self) -> Result<(), StorageError> {
        match &self.door {
            Door::Open => Ok(()),
            Door::Closed => Err(stopped()),
            Door::Poisoned(error) => Err(error.clone()),
        }
    }

    /// Takes the command in and numbers it, or fails it at once.
    pub(super) fn push(&mut self, command: WriteCommand) -> Result<u64, StorageError> {
        if let Err(error) = self.check_open() {
            command.completion.complete(Err(error.clone()));
            return Err(error);
        }
        self.last_sequence += 1;
        self.bytes += command.bytes;
        self.appends += usize::from(command.is_append());
        let replaces = |last: &WriteCommand| last.is_committed_marker();
        if command.is_committed_marker() && self.commands.back().is_some_and(replaces) {
            // The number of the replaced marker is taken over; nobody waits for either.
            self.last_sequence -= 1;
            self.commands.pop_back();
        }
        self.commands.push_back(command);
        Ok(self.last_sequence)
    }

    /// Takes everything queued, in order, up to the byte bound; at least one command.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        let mut commands = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.commands.front() {
            if !commands.is_empty() && bytes + next.bytes > BATCH_BYTES_MAX {
                break;
            }
            bytes += next.bytes;
            self.appends -= usize::from(next.is_append());
            commands.extend(self.commands.pop_front());
        }
        self.bytes -= bytes;
        let sequence = self.last_sequence - self.commands.len() as u64;
        (!commands.is_empty()).then_some(Batch { commands, sequence })
    }

    /// Accepts nothing more; what is queued stays.
    pub(super) fn close(&mut self) {
        if matches!(self.door, Door::Open) {
            self.door = Door::Closed;
        }
    }

    /// Accepts nothing more and gives back what is queued, to be failed.
    pub(super) fn poison(&mut self, error: StorageError) -> Vec<WriteCommand> {
        self.door = Door::Poisoned(error);
        self.bytes = 0;
        self.appends = 0;
        self.commands.drain(..).collect()
    }
}

/// The error of whoever still wants to write after the log writer has stopped.
fn stopped() -> StorageError {
    let gone = std::io::Error::other("the log writer has stopped");
    StorageError::io("write to the log", &gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(bytes: usize) -> WriteCommand {
        let completion = Completion::Append(IOFlushed::noop());
        WriteCommand { ops: Vec::new(), bytes, completion }
    }

    fn committed(value: u8) -> WriteCommand {
        let op = LogOp::Record { record: LogRecord::Committed, value: vec![value] };
        WriteCommand { ops: vec![op], bytes: 0, completion: Completion::Nobody }
    }

    #[test]
    fn appends_wait_at_the_door() {
        let mut queue = WriteQueue::new();
        for _ in 0..QUEUED_APPENDS_MAX {
            assert!(queue.admits_append().unwrap());
            queue.push(append(1)).unwrap();
        }
        assert!(!queue.admits_append().unwrap());
        queue.take_batch().unwrap();
        assert!(queue.admits_append().unwrap());
        queue.push(append(QUEUED_BYTES_MAX)).unwrap();
        assert!(!queue.admits_append().unwrap());
    }

    #[test]
    fn batches_keep_order_and_stop_at_the_byte_bound() {
        let mut queue = WriteQueue::new();
        for bytes in [BATCH_BYTES_MAX * 2, 10, 20] {
            queue.push(append(bytes)).unwrap();
        }
        let first = queue.take_batch().unwrap();
        assert_eq!((first.commands.len(), first.sequence), (1, 1));
        let second = queue.take_batch().unwrap();
        assert_eq!((second.commands.len(), second.sequence), (2, 3));
        assert!(queue.take_batch().is_none());
    }

    #[test]
    fn only_the_newest_committed_marker_is_kept() {
        let mut queue = WriteQueue::new();
        queue.push(append(1)).unwrap();
        queue.push(committed(1)).unwrap();
        queue.push(committed(2)).unwrap();
        assert_eq!(queue.push(append(1)).unwrap(), 3);
        let batch = queue.take_batch().unwrap();
        assert_eq!((batch.commands.len(), batch.sequence), (3, 3));
        let kept = &batch.commands[1].ops;
        assert!(matches!(&kept[..], [LogOp::Record { value, .. }] if value == &[2]));
    }

    #[test]
    fn a_poisoned_queue_refuses_with_the_cause() {
        let mut queue = WriteQueue::new();
        queue.push(append(1)).unwrap();
        let cause = StorageError::corrupt("write", "cause");
        assert_eq!(queue.poison(cause).len(), 1);
        assert!(queue.push(append(1)).unwrap_err().to_string().contains("cause"));
        queue.close();
        assert!(queue.admits_append().unwrap_err().to_string().contains("cause"));
    }
}
