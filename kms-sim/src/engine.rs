//! The engine: the store, the root key and the commit writer behind every service.
//!
//! Owns opening: the right root key is proved before anything is served, and the system key is
//! made at the first start. Gives out consistent views, keys that the caller may use, and unwrapped
//! material for the length of one call. Nothing unwrapped is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockbox_core::{
    Clock, FolderId, KmsKeyId, KmsKeyVersionId, LogTime, OperationId, Permission, Randomness,
    Subject,
};
use lockbox_platform::tasks::Tasks;

use crate::algorithm::Algorithm;
use crate::caller::Caller;
use crate::commit::Committer;
use crate::error::{KmsError, Rejection};
use crate::keys::apply::read_bindings;
use crate::keys::command::{Command, CreateKey, Envelope, NewVersion, Quotas};
use crate::mac::MacKey;
use crate::material::{self, KeyMaterial, MaterialPlace, WrappedMaterial};
use crate::metrics::LedgerMetrics;
use crate::passphrase::DerivationError;
use crate::root_key::RootKey;
use crate::root_proof;
use crate::store::identity::{RestoreMark, StoreIdentity};
use crate::store::records::{FolderPath, KeyRecord, KeyScope, VersionRecord};
use crate::store::tables::{self, MAC_KEY, Table};
use crate::store::{Db, StoreError, StoreStats, View, Write};
use lockbox_core::codec::encode;

/// Id of the system key, the same in every installation, so that a node finds it by name.
pub const SYSTEM_KEY_ID: &str = "abj00000000000system";
/// The folder that the system key is in; nobody else can put a key there.
pub const SYSTEM_FOLDER_ID: &str = "system";

/// The store's directory inside the data directory.
const DB_DIRECTORY: &str = "db";
/// What the MAC key's wrap is bound to.
const MAC_KEY_ID: &str = "mac-key";
const MAC_KEY_VERSION: &str = "1";
pub(crate) const MAC_KEY_ALGORITHM: Algorithm = Algorithm::Aes256;

/// Why the engine does not start; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be made.
    #[error("cannot create the data directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The keys in the data directory were wrapped by another root key.
    #[error("the root key does not open the keys in {path}: it is not the one they were made with")]
    WrongRootKey {
        /// The data directory.
        path: PathBuf,
    },
    /// The keys in the data directory were wrapped by a root key that was no passphrase.
    #[error("the keys in {path} were made with a root key, and not with a passphrase")]
    NoPassphrase {
        /// The data directory.
        path: PathBuf,
    },
    /// The data directory has no keys yet, so no root key is known to be its own.
    #[error("there are no keys in {path} yet: start the server on it first")]
    NoKeys {
        /// The data directory.
        path: PathBuf,
    },
    /// The store does not say how a passphrase becomes the root key.
    #[error(transparent)]
    Derivation(#[from] DerivationError),
    /// The store does not open or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is one of a backup that has not caught up.
    #[error("the store in {path} was restored, and has not learnt yet what happened since")]
    Restored {
        /// The data directory.
        path: PathBuf,
    },
    /// The system key cannot be made.
    #[error("cannot make the system key: {0}")]
    SystemKey(String),
}

/// What the engine takes from its surroundings.
pub struct EngineParts {
    /// Wraps all key material.
    pub root: RootKey,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Keys, nonces and ids.
    pub random: Arc<dyn Randomness>,
    /// Quotas.
    pub quotas: Quotas,
    /// What the ledger measures.
    pub metrics: LedgerMetrics,
    /// Runs the commit writer.
    pub tasks: Tasks,
}

/// The store, the root key and the commit writer.
pub struct Engine {
    db: Arc<Db>,
    root: RootKey,
    mac_key: MacKey,
    committer: Committer,
    random: Arc<dyn Randomness>,
    clock: Arc<dyn Clock>,
}

/// Where the store of a data directory is.
#[must_use]
pub fn db_directory(data_dir: &Path) -> PathBuf {
    data_dir.join(DB_DIRECTORY)
}

impl Engine {
    /// Opens or creates the data directory and starts the commit writer.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(data_dir: &Path, parts: EngineParts) -> Result<Self, OpenError> {
        let db = open_db(data_dir)?;
        Self::on(db, data_dir, parts).await
    }

    /// Opens it without waiting for the disk: for benchmarks alone, which show what the ledger's
    /// sync costs. No configuration leads here.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_without_sync(data_dir: &Path, parts: EngineParts) -> Result<Self, OpenError> {
        let db = open_db(data_dir)?.without_sync();
        Self::on(db, data_dir, parts).await
    }

    async fn on(db: Db, data_dir: &Path, parts: EngineParts) -> Result<Self, OpenError> {
        let db = Arc::new(db);
        let EngineParts { root, clock, random, quotas, metrics, tasks } = parts;
        if RestoreMark::read(&db.view())?.is_some() {
            return Err(OpenError::Restored { path: data_dir.to_owned() });
        }
        let mac_key = open_mac_key(&db, &root, random.as_ref(), data_dir)?;
        if StoreIdentity::read(&db.view())?.is_none() {
            db.commit(&[StoreIdentity::fresh(random.as_ref()).write()])?;
        }
        let writers_clock = Arc::clone(&clock);
        let committer = Committer::start(Arc::clone(&db), writers_clock, quotas, metrics, &tasks)?;
        let engine = Self { db, root, mac_key, committer, random, clock };
        engine.ensure_system_key().await?;
        Ok(engine)
    }

    /// Finishes what is queued and ends the commit writer.
    pub async fn stop(&self) {
        self.committer.stop().await;
    }

    /// A consistent view of the present state.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        self.db.view()
    }

    /// The time that a commit would have now: the clock's, but never before the last commit's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn now(&self) -> Result<LogTime, StoreError> {
        Ok(self.view().head()?.time.max(LogTime::from_ms(self.clock.wall_ms())))
    }

    /// Takes destroyed material, and what an earlier root key has wrapped, out of every file of the
    /// store, and out of memory; false when it may still be there. Blocks; see [`Db::purge`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn purge_destroyed(&self) -> Result<bool, StoreError> {
        purge_wraps(&self.db)
    }

    /// What the store says of itself.
    #[must_use]
    pub fn store_stats(&self) -> StoreStats {
        self.db.stats()
    }

    /// Orders and records calls.
    #[must_use]
    pub const fn committer(&self) -> &Committer {
        &self.committer
    }

    /// What wraps all material, for backups. Whoever calls this must not log, store or format it.
    pub(crate) const fn root(&self) -> &RootKey {
        &self.root
    }

    /// Random bytes.
    #[must_use]
    pub fn random(&self) -> &dyn Randomness {
        self.random.as_ref()
    }

    /// Recognises repeats.
    #[must_use]
    pub const fn mac_key(&self) -> &MacKey {
        &self.mac_key
    }

    /// New material for a version of a key, wrapped.
    #[must_use]
    pub fn new_version(&self, key_id: &KmsKeyId, algorithm: Algorithm) -> NewVersion {
        let id = KmsKeyVersionId::generate(self.random());
        let fresh = KeyMaterial::generate(algorithm, self.random());
        let place = MaterialPlace { key_id, version_id: &id, algorithm };
        let material = material::wrap(&self.root, &fresh, &place, self.random());
        NewVersion { id, algorithm, material }
    }

    /// The material of a version.
    ///
    /// # Errors
    /// [`KmsError::MaterialDamaged`] when it does not open, or a store error.
    pub fn material(
        &self,
        reading: &Reading<'_>,
        version: &VersionRecord,
    ) -> Result<KeyMaterial, KmsError> {
        let row = tables::version(&version.key_id, &version.id);
        let damaged = || KmsError::MaterialDamaged(version.id.clone());
        let wrapped: WrappedMaterial =
            reading.view.record(Table::Materials, &row)?.ok_or_else(damaged)?;
        let place = MaterialPlace {
            key_id: &version.key_id,
            version_id: &version.id,
            algorithm: version.algorithm,
        };
        material::unwrap(&self.root, &wrapped, &place).map_err(|_| damaged())
    }

    /// A view with the commit sequence that it reflects.
    ///
    /// # Errors
    /// A store error.
    pub fn reading(&self) -> Result<Reading<'_>, KmsError> {
        let view = self.view();
        let index = view.head()?.sequence;
        Ok(Reading { view, index })
    }

    async fn ensure_system_key(&self) -> Result<(), OpenError> {
        let failed = |problem: &str| OpenError::SystemKey(problem.to_owned());
        let key_id = KmsKeyId::parse(SYSTEM_KEY_ID).map_err(|e| failed(&e.to_string()))?;
        let folder_id = FolderId::parse(SYSTEM_FOLDER_ID).map_err(|e| failed(&e.to_string()))?;
        if self.view().get(Table::Keys, &tables::key(&key_id))?.is_some() {
            return Ok(());
        }
        let create = CreateKey {
            version: self.new_version(&key_id, Algorithm::Aes256),
            key_id,
            scope: KeyScope::System,
            path: FolderPath { folder_id, cloud_id: None, organization_id: None },
            name: "system".to_owned(),
            description: "wraps the keyring of the cluster".to_owned(),
            labels: std::collections::BTreeMap::new(),
            rotation_period_ms: None,
            deletion_protection: true,
        };
        let envelope = Envelope {
            command: Command::Create(create),
            operation_id: OperationId::generate(self.random()),
            created_by: Subject::internal(),
            seen: None,
            idempotency: None,
        };
        match self.committer.mutate(envelope).await {
            Ok(mutated) if mutated.outcome.is_ok() => Ok(()),
            Ok(_) => Err(failed("it was refused")),
            Err(failure) => Err(failed(&failure.to_string())),
        }
    }
}

/// A view with the commit sequence that it reflects.
pub struct Reading<'a> {
    /// The view.
    pub view: View<'a>,
    /// The commit sequence.
    pub index: u64,
}

impl Reading<'_> {
    /// A key that the caller may use in this way. `observed` is filled in also when it may not.
    ///
    /// # Errors
    /// [`KmsError::Rejected`] when there is no such key or the role is missing.
    pub fn permitted_key(
        &self,
        caller: &Caller,
        permission: Permission,
        key_id: &KmsKeyId,
        observed: &mut Option<KeyRecord>,
    ) -> Result<KeyRecord, KmsError> {
        let key = self.key(key_id, observed)?;
        self.require(caller, &[permission], &key)?;
        Ok(key)
    }

    /// Demands permissions on a key.
    ///
    /// # Errors
    /// [`KmsError::Rejected`] when one is missing.
    pub fn require(
        &self,
        caller: &Caller,
        needed: &[Permission],
        key: &KeyRecord,
    ) -> Result<(), KmsError> {
        for permission in needed {
            if !self.may(caller, *permission, key)? {
                return Err(self.reject(Rejection::Denied));
            }
        }
        Ok(())
    }

    /// Whether the caller has a permission on a key: by a role that came with the call, or by one
    /// that is bound on the key itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn may(
        &self,
        caller: &Caller,
        permission: Permission,
        key: &KeyRecord,
    ) -> Result<bool, StoreError> {
        if caller.may(permission, key) {
            return Ok(true);
        }
        Ok(caller.may_by(&read_bindings(&self.view, &key.id)?, permission, key))
    }

    /// A key, whoever asks; `observed` is filled in with it. One that is deleted is not there.
    ///
    /// # Errors
    /// [`KmsError::Rejected`] when there is no such key.
    pub fn key(
        &self,
        key_id: &KmsKeyId,
        observed: &mut Option<KeyRecord>,
    ) -> Result<KeyRecord, KmsError> {
        let row = tables::key(key_id);
        let found: Option<KeyRecord> = self.view.record(Table::Keys, &row)?;
        let Some(key) = found.filter(|key| key.deletion.is_none()) else {
            return Err(self.reject(Rejection::KeyNotFound(key_id.clone())));
        };
        *observed = Some(key.clone());
        Ok(key)
    }

    /// A refusal that rests on this view.
    #[must_use]
    pub const fn reject(&self, rejection: Rejection) -> KmsError {
        KmsError::Rejected { index: self.index, rejection }
    }
}

/// Takes wraps that were removed or replaced out of every file; false when one may still be there.
pub(crate) fn purge_wraps(db: &Db) -> Result<bool, StoreError> {
    Ok(db.purge(Table::Materials)? && db.purge(Table::Meta)?)
}

/// Opens or creates the store of a data directory.
pub(crate) fn open_db(data_dir: &Path) -> Result<Db, OpenError> {
    let directory = db_directory(data_dir);
    std::fs::create_dir_all(&directory)
        .map_err(|source| OpenError::Directory { path: directory.clone(), source })?;
    Ok(Db::open(&directory)?)
}

/// What the MAC key's wrap is bound to. The parts are constants: they always parse.
pub(crate) fn mac_key_name() -> Option<(KmsKeyId, KmsKeyVersionId)> {
    Some((KmsKeyId::parse(MAC_KEY_ID).ok()?, KmsKeyVersionId::parse(MAC_KEY_VERSION).ok()?))
}

/// Opens the MAC key, or makes it at the first start. It opens only under the right root key.
pub(crate) fn open_mac_key(
    db: &Db,
    root: &RootKey,
    random: &dyn Randomness,
    data_dir: &Path,
) -> Result<MacKey, OpenError> {
    let inconsistent = |problem| OpenError::Store(StoreError::inconsistent(Table::Meta, problem));
    let (key_id, version_id) =
        mac_key_name().ok_or_else(|| inconsistent("the MAC key has no name"))?;
    let algorithm = MAC_KEY_ALGORITHM;
    let place = MaterialPlace { key_id: &key_id, version_id: &version_id, algorithm };
    let view = db.view();
    if let Some(present) = root_proof::mac_key(&view, root, data_dir)? {
        return Ok(MacKey::new(present));
    }
    if view.head()?.sequence > 0 {
        return Err(inconsistent("the MAC key is missing"));
    }
    let fresh = KeyMaterial::generate(algorithm, random);
    let wrapped = material::wrap(root, &fresh, &place, random);
    db.commit(&[Write::put(Table::Meta, MAC_KEY.to_vec(), encode(&wrapped))])?;
    Ok(MacKey::new(fresh))
}
