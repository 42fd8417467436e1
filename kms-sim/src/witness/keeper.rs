//! Keeps the cluster's knowledge ahead of the KMS, while it serves.
//!
//! Promises: no commit is answered that the cluster has not reserved, once it has reserved any; a
//! key or version is destroyed only when the cluster has its tombstone; a store that is older than
//! the cluster knows, or that was replaced by a restored one, ends the process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lockbox_platform::exit::{ExitCode, FatalExit};
use tokio_util::sync::CancellationToken;

use super::{AHEAD, Attestation, Seen, TOMBSTONES_MAX, Witness, WitnessError};
use crate::commit::CommitFailure;
use crate::engine::Engine;
use crate::keys::apply::{Tombstone, tombstones};
use crate::metrics::WitnessMetrics;
use crate::store::StoreError;
use crate::store::identity::{RestoreMark, StoreIdentity};
use crate::store::records::Head;
use crate::store::tables::Table;

/// Time between two looks at how much is reserved.
const PERIOD: Duration = Duration::from_secs(10);
/// The first pause while the cluster has not answered yet; it doubles up to the period.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often a cluster may be out of reach in a row before it is worth a line of the log.
const TOLD_AFTER: u32 = 4;
/// Looks from one question whether the KMS is still the cluster's own to the next.
const ASK_EVERY: u32 = 30;

/// Why the cluster has not taken what the KMS says.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The cluster could not be asked.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The cluster belongs to another KMS.
    #[error("the cluster bears witness for another KMS store: this one has no witness")]
    Foreign,
    /// A restored store has taken this one's place.
    #[error(
        "a restored store has taken the place of this one (epoch {epoch}): what is in this data \
         directory is out of date"
    )]
    Replaced {
        /// The epoch of the other one.
        epoch: u64,
    },
    /// Somebody has put older data in the place of newer.
    #[error(
        "the data end at commit {head}, and the cluster has seen commit {seen}: they are older \
         than they should be; the next start catches up as after a restore"
    )]
    Behind {
        /// The last commit that the cluster has seen.
        seen: u64,
        /// The last one that is here.
        head: u64,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was reserved is not noted.
    #[error(transparent)]
    Commit(#[from] CommitFailure),
}

/// Tells the cluster.
pub struct Keeper {
    engine: Arc<Engine>,
    witness: Arc<dyn Witness>,
    metrics: WitnessMetrics,
    fatal: FatalExit,
    stop: CancellationToken,
}

impl Keeper {
    /// Speaks for the engine. Once `stop` is cancelled nobody waits for the cluster any more.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        witness: Arc<dyn Witness>,
        metrics: WitnessMetrics,
        fatal: FatalExit,
        stop: CancellationToken,
    ) -> Self {
        Self { engine, witness, metrics, fatal, stop }
    }

    /// Tells how far the KMS is and what it destroys, and takes up what is reserved then.
    ///
    /// # Errors
    /// [`AttestError`]; where the process cannot go on, it is told to end.
    pub async fn attest(&self, tombstones: Vec<Tombstone>) -> Result<Seen, AttestError> {
        let (identity, head) = self.state()?;
        // What was reserved once stays reserved, also where the cluster was set back meanwhile.
        let ahead = AHEAD.max(identity.reserved.saturating_sub(head.sequence));
        let said =
            Attestation { identity, head: head.sequence, ahead, time: head.time, tombstones };
        let seen = self.witness.attest(&said).await?;
        let seen = seen.ok_or(WitnessError::Malformed)?;
        self.judge(&seen).await?;
        let reserved = StoreIdentity { reserved: seen.reserved, ..identity };
        self.engine.committer().reserved(reserved).await?;
        self.metrics.reserved.set(to_gauge(seen.reserved.saturating_sub(head.sequence)));
        Ok(seen)
    }

    /// Whether what is due may be destroyed: the cluster knows of it, or knows nothing of this KMS
    /// at all, and then has nothing to remember it by.
    pub async fn announce(&self, tombstones: &[Tombstone]) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            may_go = self.bury(tombstones) => may_go,
        }
    }

    async fn bury(&self, tombstones: &[Tombstone]) -> bool {
        for page in tombstones.chunks(TOMBSTONES_MAX) {
            let Err(error) = self.attest(page.to_vec()).await else { continue };
            if self.state().is_ok_and(|(identity, _)| identity.reserved == 0) {
                break;
            }
            let waiting = tombstones.len();
            // Once, and not with every pass.
            if self.metrics.waiting.get() == 0 {
                tracing::warn!(%error, waiting, "a destruction waits until the cluster knows of it");
            }
            self.metrics.waiting.set(to_gauge(waiting as u64));
            return false;
        }
        self.metrics.waiting.set(0);
        true
    }

    /// Tells all that was destroyed, when the cluster has less of it: it is another one, or was set
    /// back to a backup.
    ///
    /// # Errors
    /// [`AttestError`].
    pub async fn tell_all(&self, seen: &Seen) -> Result<(), AttestError> {
        let all = tombstones(&self.engine.view())?;
        if (all.len() as u64) <= seen.tombstones {
            return Ok(());
        }
        for page in all.chunks(TOMBSTONES_MAX) {
            self.attest(page.to_vec()).await?;
        }
        Ok(())
    }

    /// Tells what has to be told by now; whether the cluster has answered.
    async fn look(&self, ask: bool) -> Result<(), AttestError> {
        let (identity, head) = self.state()?;
        let left = identity.reserved.saturating_sub(head.sequence);
        self.metrics.reserved.set(to_gauge(left));
        if left < AHEAD / 2 {
            let seen = self.attest(Vec::new()).await?;
            return self.tell_all(&seen).await;
        }
        if !ask {
            return Ok(());
        }
        match self.witness.recall().await? {
            Some(seen) if seen.incarnation == identity.incarnation => {
                self.judge(&seen).await?;
                if seen.reserved < identity.reserved {
                    self.attest(Vec::new()).await?;
                }
                self.tell_all(&seen).await
            }
            // Another life of this store: this one is at its end, or the cluster was set back to a
            // time before it began. Or it is a new cluster.
            other => {
                if let Some(seen) = other {
                    self.judge(&seen).await?;
                }
                let seen = self.attest(Vec::new()).await?;
                self.tell_all(&seen).await
            }
        }
    }

    fn state(&self) -> Result<(StoreIdentity, Head), StoreError> {
        let view = self.engine.view();
        let nameless = || StoreError::inconsistent(Table::Meta, "the store has no identity");
        Ok((StoreIdentity::read(&view)?.ok_or_else(nameless)?, view.head()?))
    }

    /// Whether the cluster speaks of this store as it is.
    async fn judge(&self, seen: &Seen) -> Result<(), AttestError> {
        let (identity, head) = self.state()?;
        if seen.store_id != identity.store_id {
            return Err(AttestError::Foreign);
        }
        if seen.incarnation != identity.incarnation {
            // A cluster that was set back may know the one before: it learns of this one.
            if seen.epoch < identity.epoch {
                return Ok(());
            }
            let error = AttestError::Replaced { epoch: seen.epoch };
            self.fatal.raise(ExitCode::IdentityMismatch, error.to_string());
            return Err(error);
        }
        if seen.head > head.sequence {
            let mark = RestoreMark {
                head: head.sequence,
                backed_up_at: head.time,
                standalone: false,
                claimed: false,
            };
            self.engine.committer().mark(mark).await?;
            let error = AttestError::Behind { seen: seen.head, head: head.sequence };
            self.fatal.raise(ExitCode::IdentityMismatch, error.to_string());
            return Err(error);
        }
        Ok(())
    }
}

/// Keeps the cluster ahead until told to stop.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub(crate) async fn run(keeper: Arc<Keeper>) -> Result<(), Infallible> {
    let stop = &keeper.stop;
    let (mut pause, mut failures) = (FIRST_PAUSE, 0_u32);
    for look in 0_u32.. {
        // The first look of a process always asks: the data may be older than they should be.
        let looked = tokio::select! {
            () = stop.cancelled() => break,
            looked = keeper.look(look.is_multiple_of(ASK_EVERY) || failures > 0) => looked,
        };
        match looked {
            Ok(()) => {
                if failures >= TOLD_AFTER {
                    tracing::info!("the cluster bears witness again");
                }
                (pause, failures) = (PERIOD, 0);
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let told_at = match error {
                    // It may only be starting, as the KMS is.
                    AttestError::Witness(WitnessError::Unreachable) => TOLD_AFTER,
                    AttestError::Witness(WitnessError::Unimplemented | WitnessError::Malformed)
                    | AttestError::Foreign
                    | AttestError::Replaced { .. }
                    | AttestError::Behind { .. }
                    | AttestError::Store(_)
                    | AttestError::Commit(_) => 1,
                };
                if failures == told_at {
                    tracing::warn!(%error, "the cluster bears no witness");
                }
                pause = (pause * 2).min(PERIOD);
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

fn to_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
