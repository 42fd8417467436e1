//! The commit writer: one thread that orders, decides, writes and syncs every change.
//!
//! Owns the commit sequence and every write to the store. Promises: a call is answered only after
//! the group that holds its record is durable; all calls that wait are written and synced at once;
//! after a failed write nothing more is written or answered, and the process stops.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{Clock, LogTime, Mutant, mutant};
use lockbox_platform::exit::{ExitCode, FatalExit};
use tokio::sync::{mpsc, oneshot};

use super::staged::{CryptoCommit, CryptoRefusal, Recorded, Revisions, Staged, head_write};
use super::{CommitFailure, Job, Mutated};
use crate::keys::apply::{self, Decision, Place};
use crate::keys::command::{Envelope, Quotas};
use crate::ledger::record::CryptoOperation;
use crate::metrics::LedgerMetrics;
use crate::store::identity::{Restores, StoreIdentity};
use crate::store::records::Head;
use crate::store::tables::{self, Table};
use crate::store::{Db, StoreError, Write};

/// Most calls written together.
const GROUP_MAX: usize = 1024;
/// Expired rows removed along with a group, for each of its calls: more than a call adds, so that
/// removal keeps up with any load.
const EXPIRED_PER_CALL: usize = 4;

/// How long a record is late with [`Mutant::ServedUnbilled`].
const SERVED_UNBILLED: Duration = Duration::from_millis(150);

/// What the writer needs besides its queue.
pub(super) struct WriterParts {
    pub(super) db: Arc<Db>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) quotas: Quotas,
    pub(super) metrics: LedgerMetrics,
    pub(super) fatal: FatalExit,
}

pub(super) struct Writer {
    parts: WriterParts,
    jobs: mpsc::Receiver<Job>,
    head: Head,
    revisions: Revisions,
    /// The last commit that may be made before the cluster has reserved more.
    limit: u64,
    /// What the store has missed.
    restores: Restores,
    /// Where the search for expired rows goes on, and before when there is none.
    expired: Expired,
}

#[derive(Default)]
struct Expired {
    searched: Vec<u8>,
    none_before: LogTime,
}

type CryptoReply = oneshot::Sender<Result<Result<Recorded, CryptoRefusal>, CommitFailure>>;
type DecidedCall = (Result<Recorded, CryptoRefusal>, CryptoOperation, CryptoReply);
type MutationReply = oneshot::Sender<Result<Mutated, CommitFailure>>;

impl Writer {
    pub(super) fn open(parts: WriterParts, jobs: mpsc::Receiver<Job>) -> Result<Self, StoreError> {
        let (head, revisions, limit, restores) = {
            let view = parts.db.view();
            let keys = apply::read_keys(&view)?;
            let revisions = keys.into_iter().map(|key| (key.id, key.revision)).collect();
            let identity = StoreIdentity::read(&view)?;
            let limit = identity.map_or(u64::MAX, |identity| identity.limit());
            (view.head()?, revisions, limit, Restores::read(&view)?)
        };
        let expired = Expired::default();
        Ok(Self { parts, jobs, head, revisions, limit, restores, expired })
    }

    /// Runs until told to stop, until nobody can send any more, or until a write fails.
    pub(super) fn run(mut self) {
        while let Some(job) = self.jobs.blocking_recv() {
            let mut group = vec![job];
            while group.len() < GROUP_MAX
                && let Ok(job) = self.jobs.try_recv()
            {
                group.push(job);
            }
            match self.commit_all(group) {
                Ok(Continue::Yes) => {}
                Ok(Continue::Stop) => break,
                Err(error) => {
                    let code = exit_code(&error);
                    self.parts.fatal.raise(code, format!("the ledger cannot be written: {error}"));
                    break;
                }
            }
        }
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            refuse(job);
        }
    }

    /// Commits jobs in their order: crypto calls in groups, each mutation by itself.
    fn commit_all(&mut self, jobs: Vec<Job>) -> Result<Continue, StoreError> {
        let mut calls = Vec::with_capacity(jobs.len());
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            match job {
                // Whoever stopped waiting before its turn gets no answer, and pays for none.
                Job::Crypto(_, reply) if reply.is_closed() => {}
                Job::Crypto(commit, reply) => calls.push((commit, reply)),
                Job::Mutation(envelope, reply) => {
                    self.commit_calls(std::mem::take(&mut calls))?;
                    self.commit_mutation(&envelope, reply)?;
                }
                Job::AuditPaid(sequence, reply) => {
                    self.commit_calls(std::mem::take(&mut calls))?;
                    // No change of a key: the commit sequence does not move.
                    self.write(
                        &[Write::delete(Table::AuditOwed, tables::audit_owed(sequence))],
                        1,
                    )?;
                    answer(reply, Ok(()));
                }
                Job::Reserved(identity, reply) => {
                    self.commit_calls(std::mem::take(&mut calls))?;
                    // Two answers of the cluster may come in another order than they were given.
                    if self.limit == u64::MAX || identity.limit() >= self.limit {
                        self.parts.db.commit(&[identity.write()])?;
                        self.limit = identity.limit();
                    }
                    answer(reply, Ok(()));
                }
                Job::Marked(mark, reply) => {
                    self.commit_calls(std::mem::take(&mut calls))?;
                    self.parts.db.commit(&[mark.write()])?;
                    answer(reply, Ok(()));
                }
                Job::Stop(reply) => {
                    self.commit_calls(calls)?;
                    jobs.for_each(refuse);
                    // What is in the log is as durable; in the tables a changed bit shows for sure.
                    if let Err(error) = self.parts.db.flush() {
                        tracing::warn!(%error, "the ledger's log is left as it is");
                    }
                    answer(reply, ());
                    return Ok(Continue::Stop);
                }
            }
        }
        self.commit_calls(calls)?;
        Ok(Continue::Yes)
    }

    fn commit_calls(
        &mut self,
        calls: Vec<(Box<CryptoCommit>, CryptoReply)>,
    ) -> Result<(), StoreError> {
        if calls.is_empty() {
            return Ok(());
        }
        let db = Arc::clone(&self.parts.db);
        let now = self.now();
        let mut writes = self.expired_rows(calls.len() * EXPIRED_PER_CALL)?;
        let mut decided = Vec::with_capacity(calls.len());
        let (staged, head) = {
            let view = db.view();
            let mut staged = Staged::new(&view, &self.revisions, self.head).behind(&self.restores);
            for (commit, reply) in calls {
                if staged.sequence() >= self.limit {
                    answer(reply, Err(CommitFailure::Unreserved));
                    continue;
                }
                let operation = commit.entry.operation;
                decided.push((staged.stage(*commit, now)?, operation, reply));
            }
            staged.finish()
        };
        // ORDER: removals first, so that a row claimed anew in this group stays.
        writes.extend(staged);
        let jobs = decided.len();
        if mutant(Mutant::ServedUnbilled) {
            self.answer_calls(std::mem::take(&mut decided));
            std::thread::sleep(SERVED_UNBILLED);
        }
        self.write(&writes, jobs)?;
        self.head = head;
        self.answer_calls(decided);
        Ok(())
    }

    fn answer_calls(&self, decided: Vec<DecidedCall>) {
        for (outcome, operation, reply) in decided {
            if let Ok(Recorded { billable: true, .. }) = outcome {
                self.parts.metrics.billed.with_label_values(&[operation.as_str()]).inc();
            }
            answer(reply, Ok(outcome));
        }
    }

    fn commit_mutation(
        &mut self,
        envelope: &Envelope,
        reply: MutationReply,
    ) -> Result<(), StoreError> {
        if self.head.sequence >= self.limit {
            answer(reply, Err(CommitFailure::Unreserved));
            return Ok(());
        }
        let place = Place { sequence: self.head.sequence + 1, time: self.now() };
        let db = Arc::clone(&self.parts.db);
        let decision = apply::apply(&db.view(), envelope, place, &self.parts.quotas)?;
        let mutated = match decision {
            Decision::Commit { mut writes, operation } => {
                let head = Head { sequence: place.sequence, time: place.time, ..self.head };
                writes.push(head_write(&head));
                self.write(&writes, 1)?;
                self.head = head;
                self.revisions.insert(operation.key.id.clone(), place.sequence);
                Mutated { index: place.sequence, outcome: Ok(operation) }
            }
            Decision::Repeat(operation) => {
                Mutated { index: self.head.sequence, outcome: Ok(operation) }
            }
            Decision::Refused(refusal) => {
                Mutated { index: self.head.sequence, outcome: Err(refusal) }
            }
        };
        answer(reply, Ok(mutated));
        Ok(())
    }

    fn write(&self, writes: &[Write], jobs: usize) -> Result<(), StoreError> {
        let started = self.parts.clock.monotonic();
        self.parts.db.commit(writes)?;
        let took = self.parts.clock.monotonic().saturating_sub(started);
        self.parts.metrics.sync.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
        self.parts.metrics.group.with_label_values::<&str>(&[]).observe(jobs as f64);
        Ok(())
    }

    /// Removals of at most `limit` rows whose time has passed.
    fn expired_rows(&mut self, limit: usize) -> Result<Vec<Write>, StoreError> {
        let now = self.now();
        let mut writes = Vec::new();
        if now < self.expired.none_before {
            return Ok(writes);
        }
        let view = self.parts.db.view();
        // Everything before the last row found is a removed row: do not walk over those again.
        for item in view.scan(Table::Expiries, b"", &self.expired.searched).take(limit) {
            let (row, _) = item?;
            let Some((at, table, target)) = tables::parse_expiry(&row) else {
                return Err(StoreError::inconsistent(Table::Expiries, "a row has no such key"));
            };
            if at > now {
                self.expired.none_before = at;
                break;
            }
            writes.push(Write::delete(table.table(), target.to_vec()));
            writes.push(Write::delete(Table::Expiries, row.to_vec()));
            self.expired.searched = row.into_vec();
        }
        Ok(writes)
    }

    /// The time of the next commit: the clock's, but never before the last one's.
    fn now(&self) -> LogTime {
        self.head.time.max(LogTime::from_ms(self.parts.clock.wall_ms()))
    }
}

enum Continue {
    Yes,
    Stop,
}

/// Tells a caller that its job was not taken.
fn refuse(job: Job) {
    match job {
        Job::Crypto(_, reply) => answer(reply, Err(CommitFailure::Stopped)),
        Job::Mutation(_, reply) => answer(reply, Err(CommitFailure::Stopped)),
        Job::AuditPaid(_, reply) => answer(reply, Err(CommitFailure::Stopped)),
        Job::Reserved(_, reply) => answer(reply, Err(CommitFailure::Stopped)),
        Job::Marked(_, reply) => answer(reply, Err(CommitFailure::Stopped)),
        Job::Stop(reply) => answer(reply, ()),
    }
}

/// Answers a caller. One that went away meanwhile is billed all the same: the record is written.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        tracing::debug!("a caller went away before its answer");
    }
}

const fn exit_code(error: &StoreError) -> ExitCode {
    match error {
        StoreError::DiskFull(_) => ExitCode::DiskFull,
        StoreError::Damaged { .. } => ExitCode::CorruptLog,
        StoreError::Newer { .. } => ExitCode::IdentityMismatch,
        StoreError::InUse { .. }
        | StoreError::Open { .. }
        | StoreError::Missing { .. }
        | StoreError::Unsettled { .. }
        | StoreError::Write(_)
        | StoreError::Read(_) => ExitCode::Storage,
    }
}
