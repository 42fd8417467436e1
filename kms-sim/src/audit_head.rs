//! The head of the KMS's own audit, as it is told to a cluster that anchors it in its log
//! (`design §10`).
//!
//! Promises: what is told is on the disk, and signed; whether the files lead on from what the
//! cluster knows is looked at line by line, unless this run has told that head itself. At most one
//! thread reads the files for that, however many ask. Refuses to know who asks.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockbox_core::{Clock, KMS_AUDIT_ID, LogTime};
use lockbox_platform::audit::{
    AuditFiles, AuditorHandle, ChainHead, HeadSigner, HeadStatement, leads_unless,
};
use lockbox_platform::status::ApiError;
use lockbox_platform::tasks::{TaskKind, Tasks};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

/// Heads that are remembered with what became of them. A cluster asks about the one that was told
/// last, or the one before when its answer was lost.
const JUDGED_MAX: usize = 64;

/// What a cluster knows of this audit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The cluster.
    pub(crate) cluster_id: &'a str,
    /// The head that it has anchored last.
    pub(crate) last: Option<ChainHead>,
    /// What it has been told of retention.
    pub(crate) removed_through: Option<u64>,
}

/// A head, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The last record on the disk.
    pub(crate) head: ChainHead,
    /// The files lead to it from what the cluster knows.
    pub(crate) followed: bool,
    /// The last record that retention has removed, or is about to.
    pub(crate) removed_through: Option<u64>,
    /// This server's clock.
    pub(crate) told_at: LogTime,
    /// Of all that but `followed`, which is this server's word to whoever asks.
    pub(crate) signature: Vec<u8>,
}

/// Tells of the head.
pub(crate) struct AuditHeads {
    auditor: AuditorHandle,
    files: AuditFiles,
    signer: HeadSigner,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    judged: Arc<Judged>,
    /// Held by who reads the files.
    reading: Arc<Semaphore>,
}

impl AuditHeads {
    /// Tells of the audit that this auditor writes to these files.
    pub(crate) fn new(
        auditor: AuditorHandle,
        files: AuditFiles,
        signer: HeadSigner,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
    ) -> Self {
        let (judged, reading) = (Arc::default(), Arc::new(Semaphore::new(1)));
        Self { auditor, files, signer, clock, tasks, judged, reading }
    }

    /// The half of the key that verifies.
    pub(crate) const fn public_key(&self) -> [u8; lockbox_platform::audit::SIGNER_BYTES] {
        self.signer.public_key()
    }

    /// Tells the head; nothing when there is no record yet. What the cluster knows to be removed may
    /// go from now on.
    ///
    /// # Errors
    /// UNAVAILABLE when the files are being read for longer than the caller waits.
    pub(crate) async fn tell(
        &self,
        known: Known<'_>,
        deadline: Instant,
    ) -> Result<Option<Told>, ApiError> {
        let Some(head) = *self.auditor.synced_head().borrow() else { return Ok(None) };
        // Whatever a node says: of records to come nothing is known.
        let removed = known.removed_through.map(|through| through.min(head.sequence));
        if let Some(through) = removed {
            self.auditor.permit_removal(through);
        }
        let followed = match known.last {
            None => true,
            Some(last) if last == head => true,
            Some(last) => self.is_followed(last, head, deadline).await?,
        };
        let removable = self.auditor.removable_through().filter(|through| *through < head.sequence);
        let removed_through = removed.max(removable);
        let told_at = LogTime::from_ms(self.clock.wall_ms());
        let (cluster_id, node_id) = (known.cluster_id, KMS_AUDIT_ID);
        let said = HeadStatement { cluster_id, node_id, head, told_at, removed_through };
        let signature = self.signer.sign(&said);
        // This run goes on from there, and from nowhere else.
        self.judged.remember(head, true);
        Ok(Some(Told { head, followed, removed_through, told_at, signature }))
    }

    /// Whether the files lead from the head that the cluster knows to this one.
    async fn is_followed(
        &self,
        last: ChainHead,
        head: ChainHead,
        deadline: Instant,
    ) -> Result<bool, ApiError> {
        if let Some(followed) = self.judged.of(last) {
            return Ok(followed);
        }
        let being_read = || ApiError::unavailable("the files of the audit are being read");
        let Ok(permit) = Arc::clone(&self.reading).try_acquire_owned() else {
            return Err(being_read());
        };
        let answered = self.read(last, head, permit);
        match timeout_at(deadline, answered).await {
            Ok(answer) => answer.map_err(|_ended| being_read()),
            Err(_elapsed) => Err(being_read()),
        }
    }

    /// Reads the files on a thread, which remembers what it finds also when nobody waits any more.
    fn read(
        &self,
        last: ChainHead,
        head: ChainHead,
        permit: OwnedSemaphorePermit,
    ) -> oneshot::Receiver<bool> {
        let (reply, answered) = oneshot::channel();
        let (files, judged) = (self.files.clone(), Arc::clone(&self.judged));
        let stop = self.tasks.token();
        self.tasks.spawn_blocking(TaskKind::Background, "audit head", move || {
            let led = leads_unless(&files, last, head, || stop.is_cancelled());
            if let Some(followed) = judge(led, last, head) {
                judged.remember(last, followed);
                if reply.send(followed).is_err() {
                    tracing::debug!("nobody waits for the look into the audit any more");
                }
            }
            drop(permit);
            Ok::<(), Infallible>(())
        });
        answered
    }
}

/// What the look into the files has found; nothing when this server ends.
fn judge(led: io::Result<bool>, last: ChainHead, head: ChainHead) -> Option<bool> {
    let (sequence, next) = (last.sequence, head.sequence);
    match led {
        Ok(true) => return Some(true),
        Ok(false) => {
            tracing::error!(sequence, next, "the audit does not lead on from what was anchored");
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
        // It leads nowhere: the head is remembered, and whoever verifies judges.
        Err(error) => tracing::error!(%error, sequence, next, "the audit cannot be looked through"),
    }
    Some(false)
}

/// Heads of which it is known whether what this run writes follows them.
#[derive(Default)]
struct Judged(Mutex<VecDeque<(ChainHead, bool)>>);

impl Judged {
    fn heads(&self) -> MutexGuard<'_, VecDeque<(ChainHead, bool)>> {
        // Whole before and after each change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, head: ChainHead) -> Option<bool> {
        let heads = self.heads();
        heads.iter().find(|(judged, _)| *judged == head).map(|(_, followed)| *followed)
    }

    fn remember(&self, head: ChainHead, followed: bool) {
        let mut heads = self.heads();
        heads.retain(|(judged, _)| *judged != head);
        heads.push_back((head, followed));
        let too_many = heads.len().saturating_sub(JUDGED_MAX);
        heads.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use lockbox_platform::audit::LineHash;

    use super::*;

    #[test]
    fn what_was_judged_last_is_remembered() {
        let head = |sequence: u64| ChainHead { sequence, hash: LineHash::of(b"a line") };
        let judged = Judged::default();
        for sequence in 0..=JUDGED_MAX as u64 {
            judged.remember(head(sequence), sequence % 2 == 0);
        }
        assert_eq!((judged.of(head(0)), judged.of(head(1))), (None, Some(false)));
        judged.remember(head(1), true);
        assert_eq!((judged.of(head(1)), judged.of(head(2))), (Some(true), Some(true)));
        let other = ChainHead { sequence: 2, hash: LineHash::of(b"another line") };
        assert_eq!(judged.of(other), None);
    }
}
