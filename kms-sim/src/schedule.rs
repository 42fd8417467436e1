//! What the KMS does by itself: destroys what was scheduled, and rotates keys.
//!
//! A pass looks for what is due and hands it to the commit writer, which carries out only what is
//! still promised at that commit, and only once the commit's own time has reached it: a pass that
//! is early, late or repeated does no harm. What a crash interrupts, the next pass finds again.
//! Nothing is destroyed before the cluster that bears witness has its tombstone.
//! Rotations are audited as anybody's, which the commit leaves to `grpc/automatic.rs`: an audit that
//! hangs stands in the way of no destruction. The end of a version is not an event
//! (`contract §6.1`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{KmsKeyId, LogTime, OperationId, Subject};
use tokio_util::sync::CancellationToken;

use crate::commit::staged::ENCRYPTIONS_WARN;
use crate::commit::{CommitFailure, Mutated};
use crate::engine::Engine;
use crate::error::KmsError;
use crate::keys::apply::{Refusal, Tombstone, read_keys, read_primary, read_versions};
use crate::keys::command::{Command, Envelope, RotateKey, RotationCause, VersionOf};
use crate::store::StoreError;
use crate::store::due::Due;
use crate::store::identity::Restores;
use crate::store::records::{KeyRecord, KeyStatus, OperationRecord, VersionStatus};
use crate::store::tables::{self, Table};
use crate::witness::Keeper;

/// Time between two passes: what is due waits at most that much longer.
const PASS_EVERY: Duration = Duration::from_secs(1);
/// Passes from one look at how much versions have encrypted to the next.
const WORN_EVERY: u64 = 60;
/// Passes until a purge that could not be done is tried again: somebody still reads what was there.
const PURGE_AGAIN: u64 = 1;
/// Passes until one that failed is.
const PURGE_RETRY: u64 = 60;
/// Most that one pass does.
const DUE_MAX: usize = 256;
/// When a rotation that was refused is tried again.
const REFUSED_RETRY: Duration = Duration::from_mins(10);

/// Why it ended, though nobody told it to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScheduleError {
    /// The store failed.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The thread that rewrites files panicked.
    #[error("the purge of destroyed material ended unexpectedly")]
    Purge,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Pass {
    /// Versions, and keys with all that they held, that were destroyed.
    pub destroyed: usize,
    /// Keys that were rotated.
    pub rotated: Vec<Box<OperationRecord>>,
}

/// Finds what is due and does it.
#[derive(Default)]
pub struct Scheduler {
    /// Who tells the cluster what is going to be destroyed; none where there is no cluster.
    keeper: Option<Arc<Keeper>>,
    /// Keys that have as many versions as they may, and when to try again. One entry for each such
    /// key at most.
    refused: BTreeMap<KmsKeyId, LogTime>,
}

/// Runs passes until told to stop.
///
/// # Errors
/// [`ScheduleError`].
pub(crate) async fn run(
    engine: Arc<Engine>,
    keeper: Option<Arc<Keeper>>,
    stop: CancellationToken,
) -> Result<(), ScheduleError> {
    let mut scheduler = Scheduler::announcing(keeper);
    // What was destroyed before the last end may still be in files.
    let mut purge_at = Some(1);
    for pass in 1_u64.. {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(PASS_EVERY) => {}
        }
        // A pass after the destruction: whoever read the material before has ended by now.
        if purge_at.is_some_and(|at| at <= pass) {
            purge_at = purge(&engine).await?.map(|passes| pass + passes);
        }
        let mut done = Pass::default();
        let mut result = scheduler.pass(&engine, &mut done).await;
        if result.is_ok() && pass % WORN_EVERY == 1 {
            result = scheduler.replace_worn(&engine, &mut done).await;
        }
        if done.destroyed > 0 {
            purge_at = Some(pass + 1);
        }
        match result {
            Ok(()) | Err(KmsError::Commit(CommitFailure::Busy | CommitFailure::Unreserved)) => {}
            // The writer ends by itself, or has said why it had to.
            Err(KmsError::Commit(CommitFailure::Stopped | CommitFailure::Unknown)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Rewrites the files that may hold destroyed material. If that is not done: after how many passes
/// it is to be tried again.
async fn purge(engine: &Arc<Engine>) -> Result<Option<u64>, ScheduleError> {
    let engine = Arc::clone(engine);
    let purged = tokio::task::spawn_blocking(move || engine.purge_destroyed()).await;
    match purged.map_err(|_panic| ScheduleError::Purge)? {
        Ok(true) => Ok(None),
        Ok(false) => {
            tracing::warn!("destroyed key material may still be in old files; trying again");
            Ok(Some(PURGE_AGAIN))
        }
        Err(error) => {
            tracing::error!(%error, "destroyed key material is still in old files");
            Ok(Some(PURGE_RETRY))
        }
    }
}

impl Scheduler {
    /// One that tells the cluster before it destroys.
    #[must_use]
    pub fn announcing(keeper: Option<Arc<Keeper>>) -> Self {
        Self { keeper, ..Self::default() }
    }

    /// Does what is due now, as much as one pass may.
    ///
    /// # Errors
    /// [`KmsError`]; `done` is right all the same.
    pub async fn pass(&mut self, engine: &Engine, done: &mut Pass) -> Result<(), KmsError> {
        let now = engine.now()?;
        self.refused.retain(|_, retry_at| *retry_at > now);
        let due = self.due(engine, now)?;
        let may_destroy = self.announce(engine, &due).await?;
        for (at, due) in due {
            match due {
                Due::DestroyVersion(..) | Due::DestroyKey(_) if !may_destroy => {}
                Due::DestroyVersion(key_id, version_id) => {
                    tracing::info!(%key_id, %version_id, "a key version is to be destroyed");
                    let version = VersionOf { key_id, version_id };
                    destroy(engine, Command::DestroyVersion(version, at), done).await?;
                }
                Due::DestroyKey(key_id) => {
                    tracing::info!(%key_id, "what a deleted key holds is to be destroyed");
                    destroy(engine, Command::DestroyKey(key_id, at), done).await?;
                }
                Due::Rotate(key_id) => {
                    self.rotate(engine, key_id, RotationCause::Due(at), now, done).await?;
                }
            }
        }
        Ok(())
    }

    /// Rotates the keys whose primary version has encrypted enough, long before it may do no more.
    ///
    /// # Errors
    /// [`KmsError`]; `done` is right all the same.
    pub async fn replace_worn(&mut self, engine: &Engine, done: &mut Pass) -> Result<(), KmsError> {
        let now = engine.now()?;
        for key in worn(engine)? {
            if !self.refused.contains_key(&key.id) {
                let cause = RotationCause::Worn(key.primary_version_id);
                self.rotate(engine, key.id, cause, now, done).await?;
            }
        }
        Ok(())
    }

    /// Tells the cluster what is going to be destroyed; false when it does not know of it yet. From
    /// the moment on that something is due it cannot be called off any more, so what is told comes
    /// true.
    async fn announce(&self, engine: &Engine, due: &[(LogTime, Due)]) -> Result<bool, StoreError> {
        let Some(keeper) = &self.keeper else { return Ok(true) };
        let told = buried(engine, due)?;
        Ok(told.is_empty() || keeper.announce(&told).await)
    }

    /// What is due, the earliest first, without the rotations that were refused a short time ago.
    fn due(&self, engine: &Engine, now: LogTime) -> Result<Vec<(LogTime, Due)>, StoreError> {
        let view = engine.view();
        let mut found = Vec::new();
        for row in view.scan(Table::Due, b"", b"") {
            let (row, _) = row?;
            let wrong = || StoreError::inconsistent(Table::Due, "a row has no such key");
            let (at, due) = Due::parse(&row).ok_or_else(wrong)?;
            if at > now || found.len() == DUE_MAX {
                break;
            }
            let waits = matches!(&due, Due::Rotate(key_id) if self.refused.contains_key(key_id));
            if !waits {
                found.push((at, due));
            }
        }
        Ok(found)
    }

    async fn rotate(
        &mut self,
        engine: &Engine,
        key_id: KmsKeyId,
        cause: RotationCause,
        now: LogTime,
        done: &mut Pass,
    ) -> Result<(), KmsError> {
        let key: Option<KeyRecord> = engine.view().record(Table::Keys, &tables::key(&key_id))?;
        let nobody = || StoreError::inconsistent(Table::Due, "a row names no key");
        let algorithm = key.ok_or_else(nobody)?.default_algorithm;
        let version = engine.new_version(&key_id, algorithm);
        let command = Command::Rotate(RotateKey { key_id: key_id.clone(), version, cause });
        match commit(engine, command).await? {
            Ok(operation) => done.rotated.push(operation),
            Err(Refusal::TooManyVersions) => {
                tracing::warn!(%key_id, "a key is not rotated: it has as many versions as it may");
                self.refused.insert(key_id, now.plus(REFUSED_RETRY));
            }
            // It was changed at the same time: the next pass sees what is due then.
            Err(refusal) => tracing::debug!(%key_id, ?refusal, "a rotation was called off"),
        }
        Ok(())
    }
}

async fn destroy(engine: &Engine, command: Command, done: &mut Pass) -> Result<(), KmsError> {
    match commit(engine, command).await? {
        Ok(_) => {
            done.destroyed += 1;
            Ok(())
        }
        // It was taken back at the same time.
        Err(Refusal::NotDue) => Ok(()),
        Err(_) => Err(StoreError::inconsistent(Table::Due, "a row names no version").into()),
    }
}

/// Commits what nobody asked for.
async fn commit(
    engine: &Engine,
    command: Command,
) -> Result<Result<Box<OperationRecord>, Refusal>, KmsError> {
    let envelope = Envelope {
        command,
        operation_id: OperationId::generate(engine.random()),
        created_by: Subject::internal(),
        seen: None,
        idempotency: None,
    };
    let Mutated { outcome, .. } = engine.committer().mutate(envelope).await?;
    Ok(outcome)
}

/// The tombstones of what is due.
fn buried(engine: &Engine, due: &[(LogTime, Due)]) -> Result<Vec<Tombstone>, StoreError> {
    let view = engine.view();
    let mut found = Vec::new();
    for (at, due) in due {
        let key_id = due.key_id().clone();
        match due {
            Due::DestroyVersion(_, version_id) => {
                let version_id = Some(version_id.clone());
                found.push(Tombstone { key_id, version_id, destroyed_at: *at });
            }
            Due::DestroyKey(_) => {
                let key: Option<KeyRecord> = view.record(Table::Keys, &tables::key(&key_id))?;
                let versions = key.map(|key| read_versions(&view, &key)).transpose()?;
                let left = versions.unwrap_or_default().into_iter();
                let left = left.filter(|version| version.status != VersionStatus::Destroyed);
                found.extend(left.map(|version| Tombstone {
                    key_id: version.key_id,
                    version_id: Some(version.id),
                    destroyed_at: *at,
                }));
                found.push(Tombstone { key_id, version_id: None, destroyed_at: *at });
            }
            Due::Rotate(_) => {}
        }
    }
    Ok(found)
}

/// The active keys whose primary version has encrypted enough.
fn worn(engine: &Engine) -> Result<Vec<KeyRecord>, StoreError> {
    let view = engine.view();
    let restores = Restores::read(&view)?;
    let mut found = Vec::new();
    for key in read_keys(&view)? {
        let row = tables::usage(&key.primary_version_id);
        let mut uses: u64 = view.record(Table::Usage, &row)?.unwrap_or(0);
        if !restores.is_empty() {
            let primary = read_primary(&view, &key)?;
            uses = uses.saturating_add(restores.carried(primary.created_at));
        }
        let active = key.status == KeyStatus::Active && key.deletion.is_none();
        if active && uses >= ENCRYPTIONS_WARN {
            found.push(key);
        }
    }
    Ok(found)
}
