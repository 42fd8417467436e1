//! A store that was put together out of a backup learns what happened since, before it serves.
//!
//! Promises, once [`settle`] has returned: no commit has a number that an answer has carried
//! before; what was destroyed since the backup is destroyed here; whoever still runs on the store
//! of before can tell the cluster nothing any more. Each step may be repeated after a crash.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime, Randomness};

use super::{AHEAD, Attestation, Seen, Witness, WitnessError};
use crate::algorithm::Algorithm;
use crate::commit::staged::{ENCRYPTIONS_MAX, head_write};
use crate::engine::{OpenError, db_directory, open_mac_key};
use crate::keys::apply::{Place, Tombstone, bury};
use crate::keys::command::NewVersion;
use crate::material::{self, KeyMaterial, MaterialPlace};
use crate::root_key::RootKey;
use crate::store::identity::{Restore, RestoreMark, Restores, StoreIdentity};
use crate::store::records::Head;
use crate::store::{Db, StoreError};

/// What a restored store skips where no cluster can say how far it was: more commits than any store
/// makes (at 10,000 a second, those of three years).
pub const STANDALONE_JUMP: u64 = 1 << 40;
/// Pause between two questions while the cluster does not answer.
const PAUSE: Duration = Duration::from_secs(2);

/// Why a restored store does not serve; one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The store does not open, or not with this root key.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is nobody to ask.
    #[error(
        "the store in {path} was restored and has to ask the cluster what was destroyed since: \
         name its nodes under [cluster], or restore with --standalone where there never was one"
    )]
    NoCluster {
        /// The data directory.
        path: PathBuf,
    },
    /// The cluster never heard of a KMS.
    #[error(
        "the cluster knows nothing of this KMS, so it cannot say what was destroyed since the \
         backup: restore with --standalone if that is right"
    )]
    Unknown,
    /// The cluster belongs to another store.
    #[error("the cluster bears witness for another KMS store: this backup is not of its KMS")]
    Foreign,
    /// Another restored store was faster.
    #[error(
        "another restored store has taken the place of the KMS meanwhile (epoch {epoch}): this one \
         must not serve"
    )]
    Replaced {
        /// The epoch of the other one.
        epoch: u64,
    },
}

impl From<StoreError> for SettleError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

/// Catches up a store that was restored, and waits for the cluster for as long as that takes; does
/// nothing to one that was not. Dropping the future leaves a store that can be settled later.
///
/// # Errors
/// [`SettleError`].
pub async fn settle(
    data_dir: &Path,
    root: &RootKey,
    witness: Option<&dyn Witness>,
    random: &dyn Randomness,
    wall: LogTime,
) -> Result<(), SettleError> {
    let directory = db_directory(data_dir);
    if !directory.is_dir() {
        return Ok(());
    }
    let db = Db::open(&directory)?;
    let (mark, identity) = {
        let view = db.view();
        (RestoreMark::read(&view)?, StoreIdentity::read(&view)?)
    };
    let Some(mark) = mark else {
        // Without a cluster there is nobody who would reserve more.
        if let (None, Some(identity)) = (witness, identity.filter(|found| found.reserved > 0)) {
            db.commit(&[StoreIdentity { reserved: 0, ..identity }.write()])?;
        }
        return Ok(());
    };
    // Before anything is wrapped by it.
    open_mac_key(&db, root, random, data_dir)?;
    let identity = identity.unwrap_or_else(|| StoreIdentity::fresh(random));
    let settling = Settling { db: &db, root, random, wall };
    if mark.standalone {
        let identity = identity.reborn(random, identity.epoch.saturating_add(1));
        let floor = mark.head.saturating_add(STANDALONE_JUMP);
        let since = Since { floor, encryptions: ENCRYPTIONS_MAX, time: LogTime::default() };
        settling.finish(&mark, identity, &since, &[])?;
        tracing::warn!(
            "the restored store has asked nobody: keys that were destroyed since the backup may be \
             back, and every version that is in it encrypts no more"
        );
        return Ok(());
    }
    let Some(witness) = witness else {
        return Err(SettleError::NoCluster { path: data_dir.to_owned() });
    };
    let (identity, seen) = settling.take_over(mark, identity, witness).await?;
    let tombstones = all_tombstones(witness).await;
    let since = Since {
        floor: seen.floor,
        encryptions: seen.floor.saturating_sub(mark.head),
        time: seen.time,
    };
    let reserved = StoreIdentity { reserved: seen.reserved, ..identity };
    let buried = settling.finish(&mark, reserved, &since, &tombstones)?;
    tracing::info!(
        epoch = reserved.epoch,
        from = mark.head,
        to = seen.floor,
        buried,
        "the restored store has caught up with the cluster"
    );
    Ok(())
}

/// What is known of the time since the backup.
struct Since {
    /// No commit beyond this one may have been answered.
    floor: u64,
    /// What one version may have encrypted.
    encryptions: u64,
    /// The last time that a commit is known to have had.
    time: LogTime,
}

struct Settling<'a> {
    db: &'a Db,
    root: &'a RootKey,
    random: &'a dyn Randomness,
    wall: LogTime,
}

impl Settling<'_> {
    /// Begins the next life of the store, in the cluster, and shuts the one before out.
    async fn take_over(
        &self,
        mark: RestoreMark,
        identity: StoreIdentity,
        witness: &dyn Witness,
    ) -> Result<(StoreIdentity, Seen), SettleError> {
        let known = patient(|| witness.recall()).await.ok_or(SettleError::Unknown)?;
        if known.store_id != identity.store_id {
            return Err(SettleError::Foreign);
        }
        let identity = if mark.claimed {
            identity
        } else {
            let next = known.epoch.max(identity.epoch).saturating_add(1);
            let identity = identity.reborn(self.random, next);
            // ORDER: on the disk before the cluster hears of it, so that what a crash interrupts is
            // gone on with under the same name.
            self.db.commit(&[identity.write(), RestoreMark { claimed: true, ..mark }.write()])?;
            identity
        };
        let head = self.db.view().head()?;
        let said = Attestation {
            identity,
            head: mark.head,
            ahead: AHEAD,
            time: head.time,
            tombstones: Vec::new(),
        };
        let seen = patient(|| witness.attest(&said)).await.ok_or(SettleError::Unknown)?;
        if seen.incarnation != identity.incarnation {
            return Err(SettleError::Replaced { epoch: seen.epoch });
        }
        Ok((identity, seen))
    }

    /// Writes all that was learnt, in one batch; says how much was buried.
    fn finish(
        &self,
        mark: &RestoreMark,
        identity: StoreIdentity,
        since: &Since,
        tombstones: &[Tombstone],
    ) -> Result<usize, StoreError> {
        let view = self.db.view();
        let head = view.head()?;
        // Behind everything that may have been answered, and a commit of its own.
        let sequence = since.floor.max(head.sequence).saturating_add(1);
        let time = head.time.max(since.time).max(self.wall);
        let mut fresh = |key_id: &KmsKeyId, algorithm: Algorithm| self.version(key_id, algorithm);
        let place = Place { sequence, time };
        let (mut writes, buried) = bury(&view, tombstones, place, &mut fresh)?;
        let mut restores = Restores::read(&view)?;
        restores.restores.push(Restore {
            from: mark.head,
            to: sequence,
            backed_up_at: mark.backed_up_at,
            at: time,
            encryptions: since.encryptions,
            epoch: identity.epoch,
        });
        writes.extend([restores.write(), identity.write(), RestoreMark::delete()]);
        writes.push(head_write(&Head { sequence, time, ..head }));
        drop(view);
        self.db.commit(&writes)?;
        Ok(buried)
    }

    fn version(&self, key_id: &KmsKeyId, algorithm: Algorithm) -> NewVersion {
        let id = KmsKeyVersionId::generate(self.random);
        let fresh = KeyMaterial::generate(algorithm, self.random);
        let place = MaterialPlace { key_id, version_id: &id, algorithm };
        let material = material::wrap(self.root, &fresh, &place, self.random);
        NewVersion { id, algorithm, material }
    }
}

/// All that the cluster remembers. Asked for once nobody else can tell it any more.
async fn all_tombstones(witness: &dyn Witness) -> Vec<Tombstone> {
    let mut all: Vec<Tombstone> = Vec::new();
    loop {
        let last = all.last().cloned();
        let (page, more) = patient(|| witness.tombstones(last.as_ref())).await;
        let is_last = !more || page.is_empty();
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

/// Asks until there is an answer: a restored store that serves without one would be worse than
/// none.
async fn patient<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, WitnessError>>,
{
    let mut said = None;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                if said != Some(error) {
                    tracing::warn!(%error, "the restored store waits for the cluster");
                    said = Some(error);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
