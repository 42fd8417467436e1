//! The commit sequence: every change of the store, ordered by one writer.
//!
//! [`Committer`] is the handle; the queue behind it is bounded, and a full queue answers at once.

pub mod staged;
mod writer;

use std::sync::Arc;

use lockbox_core::Clock;
use lockbox_platform::tasks::{TaskKind, Tasks};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use self::staged::{CryptoCommit, CryptoRefusal, Recorded};
use self::writer::{Writer, WriterParts};
use crate::keys::apply::Refusal;
use crate::keys::command::{Envelope, Quotas};
use crate::metrics::LedgerMetrics;
use crate::store::identity::{RestoreMark, StoreIdentity};
use crate::store::records::OperationRecord;
use crate::store::{Db, StoreError};

/// Calls that may wait for the writer.
const QUEUE_MAX: usize = 4096;

/// Nothing was decided, or it is not known what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitFailure {
    /// The queue is full; nothing was handed over.
    #[error("too many calls are waiting for the ledger")]
    Busy,
    /// The commits that the cluster has reserved are used up; nothing was decided.
    #[error("no more commits are reserved: the KMS has not reached its cluster for too long")]
    Unreserved,
    /// The writer has stopped before it took the call.
    #[error("the server is stopping")]
    Stopped,
    /// The writer stopped while it had the call: it may or may not be recorded.
    #[error("the ledger stopped before it confirmed the call")]
    Unknown,
}

/// A decided mutation.
#[derive(Debug)]
pub struct Mutated {
    /// The commit sequence that the decision reflects.
    pub index: u64,
    /// The operation, or why there is none.
    pub outcome: Result<Box<OperationRecord>, Refusal>,
}

/// What the writer is asked for.
enum Job {
    Crypto(
        Box<CryptoCommit>,
        oneshot::Sender<Result<Result<Recorded, CryptoRefusal>, CommitFailure>>,
    ),
    Mutation(Box<Envelope>, oneshot::Sender<Result<Mutated, CommitFailure>>),
    /// The audit has the operation of this commit now.
    AuditPaid(u64, oneshot::Sender<Result<(), CommitFailure>>),
    /// The cluster has reserved commits.
    Reserved(StoreIdentity, oneshot::Sender<Result<(), CommitFailure>>),
    /// The store is older than it should be: it has to catch up at the next start.
    Marked(RestoreMark, oneshot::Sender<Result<(), CommitFailure>>),
    Stop(oneshot::Sender<()>),
}

/// Hands calls to the commit writer. Clones share it.
#[derive(Clone)]
pub struct Committer {
    jobs: mpsc::Sender<Job>,
}

impl Committer {
    /// Starts the writer on a thread of its own. It ends with [`Committer::stop`].
    ///
    /// # Errors
    /// [`StoreError`] when the head of the sequence cannot be read.
    pub fn start(
        db: Arc<Db>,
        clock: Arc<dyn Clock>,
        quotas: Quotas,
        metrics: LedgerMetrics,
        tasks: &Tasks,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let fatal = tasks.fatal().clone();
        let parts = WriterParts { db, clock, quotas, metrics, fatal };
        let writer = Writer::open(parts, receiver)?;
        tasks.spawn_blocking(TaskKind::Critical, "kms-commit-writer", move || {
            writer.run();
            Ok::<(), std::convert::Infallible>(())
        });
        Ok(Self { jobs: sender })
    }

    /// Calls that wait for the writer, and how many may.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let max = self.jobs.max_capacity();
        (max.saturating_sub(self.jobs.capacity()), max)
    }

    /// Records a crypto call; returns once the record is durable.
    ///
    /// # Errors
    /// [`CommitFailure`].
    pub async fn record(
        &self,
        commit: CryptoCommit,
    ) -> Result<Result<Recorded, CryptoRefusal>, CommitFailure> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Crypto(Box::new(commit), reply))?;
        let span = tracing::trace_span!(target: "lockbox_trace", "write_ledger");
        answer.instrument(span).await.unwrap_or(Err(CommitFailure::Unknown))
    }

    /// Decides a mutation and, unless it is refused or a repeat, makes it durable.
    ///
    /// # Errors
    /// [`CommitFailure`].
    pub async fn mutate(&self, envelope: Envelope) -> Result<Mutated, CommitFailure> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Mutation(Box::new(envelope), reply))?;
        let span = tracing::trace_span!(target: "lockbox_trace", "write_ledger");
        answer.instrument(span).await.unwrap_or(Err(CommitFailure::Unknown))
    }

    /// Notes what the cluster has reserved; commits up to there may be made once it returns.
    ///
    /// # Errors
    /// [`CommitFailure`].
    pub async fn reserved(&self, identity: StoreIdentity) -> Result<(), CommitFailure> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Reserved(identity, reply))?;
        answer.await.unwrap_or(Err(CommitFailure::Unknown))
    }

    /// Notes that the store has to catch up when it is opened next.
    ///
    /// # Errors
    /// [`CommitFailure`].
    pub async fn mark(&self, mark: RestoreMark) -> Result<(), CommitFailure> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Marked(mark, reply))?;
        answer.await.unwrap_or(Err(CommitFailure::Unknown))
    }

    /// Forgets that the audit is owed the operation of a commit.
    ///
    /// # Errors
    /// [`CommitFailure`].
    pub async fn audit_paid(&self, sequence: u64) -> Result<(), CommitFailure> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::AuditPaid(sequence, reply))?;
        answer.await.unwrap_or(Err(CommitFailure::Unknown))
    }

    /// Lets the writer finish what is queued, and ends it.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.jobs.send(Job::Stop(reply)).await.is_ok() {
            // An error means that the writer has ended before: that is what was asked for.
            drop(stopped.await);
        }
    }

    fn send(&self, job: Job) -> Result<(), CommitFailure> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => CommitFailure::Busy,
            TrySendError::Closed(_) => CommitFailure::Stopped,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockbox_platform::exit::{ExitCode, FatalExit};
    use lockbox_platform::metrics::{Metrics, Prefix};
    use lockbox_platform::system::SystemClock;

    use super::*;
    use crate::ledger::record::CryptoOperation;
    use crate::ledger::record::tests::entry;
    use crate::metrics::KmsMetrics;

    fn call() -> CryptoCommit {
        let entry = entry(CryptoOperation::Decrypt, "k", "v");
        CryptoCommit { entry, seen: Vec::new(), claim: None }
    }

    fn start(db: Db, tasks: &Tasks) -> Committer {
        let quotas = Quotas { keys_per_cloud: 1, versions_per_key: 1 };
        let metrics = KmsMetrics::register(&Metrics::new(Prefix::Kms).unwrap()).unwrap();
        let clock = Arc::new(SystemClock::new());
        Committer::start(Arc::new(db), clock, quotas, metrics.ledger, tasks).unwrap()
    }

    #[tokio::test]
    async fn a_write_that_fails_is_never_answered_with_success_and_stops_the_process() {
        let directory = tempfile::tempdir().unwrap();
        drop(Db::open(directory.path()).unwrap());
        // A store opened for reading refuses every write, as a broken disk would.
        let broken = Db::open_read_only(directory.path()).unwrap();
        let tasks = Tasks::new(FatalExit::new());
        let committer = start(broken, &tasks);
        assert_eq!(committer.record(call()).await, Err(CommitFailure::Unknown));
        assert_eq!(tasks.fatal().wait().await.code, ExitCode::Storage);
        tasks.shutdown(Duration::from_secs(5)).await.unwrap();
        assert_eq!(committer.record(call()).await, Err(CommitFailure::Stopped));
    }

    #[tokio::test]
    async fn what_waits_is_finished_before_the_end_and_later_calls_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let tasks = Tasks::new(FatalExit::new());
        let committer = start(Db::open(directory.path()).unwrap(), &tasks);
        let calls = (0..100).map(|_| committer.record(call()));
        let (answers, ()) = tokio::join!(futures::future::join_all(calls), committer.stop());
        for answer in &answers {
            assert!(matches!(answer, Ok(Ok(_)) | Err(CommitFailure::Stopped)), "{answer:?}");
        }
        let recorded = answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count();
        tasks.shutdown(Duration::from_secs(5)).await.unwrap();
        assert_eq!(committer.record(call()).await, Err(CommitFailure::Stopped));
        drop(committer);
        let db = Db::open(directory.path()).unwrap();
        assert_eq!(db.view().head().unwrap().ledger_records, recorded as u64);
    }
}
