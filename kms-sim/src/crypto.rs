//! The four crypto calls: decide, compute, record durably, and only then answer.
//!
//! Promises: every decision rests on the keys as they are at the call's own place in the commit
//! sequence (a key that changed in between sends the call back to the start); no result leaves
//! before its ledger record is durable; a call that fails is not recorded and not billed. Refuses
//! to know gRPC.

use lockbox_core::{
    KmsKeyId, KmsKeyVersionId, Mutant, Permission, RequestMac, Sensitive, SensitiveBytes, mutant,
};

use crate::algorithm::Algorithm;
use crate::caller::{Caller, Via};
use crate::ciphertext::{self, Ciphertext};
use crate::commit::staged::{BillingClaim, CryptoCommit, CryptoRefusal, Recorded};
use crate::engine::{Engine, Reading};
use crate::error::{KmsError, Rejection};
use crate::ledger::record::{CryptoOperation, KeyVersionRef, LedgerEntry};
use crate::material::KeyMaterial;
use crate::seeded;
use crate::store::records::{KeyRecord, KeyStatus, VersionRecord, VersionStatus};
use crate::store::tables::{self, Table};

/// Times a call is decided again because a key changed meanwhile.
const TRIES_MAX: usize = 16;

/// What to encrypt with.
#[derive(Debug, Clone)]
pub struct Target {
    /// The key.
    pub key_id: KmsKeyId,
    /// The version; none for the primary one.
    pub version_id: Option<KmsKeyVersionId>,
    /// Authenticated, not stored.
    pub context: Vec<u8>,
}

/// What to decrypt.
#[derive(Debug, Clone)]
pub struct Source {
    /// The key.
    pub key_id: KmsKeyId,
    /// The bytes that it was encrypted with.
    pub context: Vec<u8>,
    /// Says itself which version made it.
    pub ciphertext: Vec<u8>,
}

/// One crypto call's input, already checked for its own limits.
#[derive(Debug)]
pub enum CryptoInput {
    /// Encrypts a plaintext.
    Encrypt(Target, SensitiveBytes),
    /// Decrypts a ciphertext.
    Decrypt(Source),
    /// Moves a ciphertext to another key, version or context.
    ReEncrypt(Target, Source),
    /// Makes a data key and encrypts it.
    GenerateDataKey {
        /// What to encrypt it with.
        target: Target,
        /// Its size.
        spec: Algorithm,
        /// Whether the clear data key stays here.
        skip_plaintext: bool,
    },
}

/// What a crypto call gives.
pub struct CryptoOutput {
    /// The key version used; for a re-encryption the target.
    pub target: KeyVersionRef,
    /// The key version that a re-encryption decrypted with.
    pub source: Option<KeyVersionRef>,
    /// The decrypted text or the clear data key.
    pub plaintext: Option<SensitiveBytes>,
    /// The new ciphertext.
    pub ciphertext: Option<Vec<u8>>,
    /// The commit sequence of the ledger record.
    pub index: u64,
    /// Whether it is billed.
    pub billable: bool,
}

/// What the audit names, filled in as far as the call gets.
#[derive(Debug, Default, Clone)]
pub struct Observed {
    /// The key; for a re-encryption the target.
    pub key: Option<KeyRecord>,
    /// The version of it.
    pub version_id: Option<KmsKeyVersionId>,
    /// The source key of a re-encryption.
    pub source_key: Option<KeyRecord>,
    /// The version of it.
    pub source_version_id: Option<KmsKeyVersionId>,
    /// The record of the ledger, once it is durable.
    pub recorded: Option<Recorded>,
}

/// A computed result that is not recorded yet, and so must not leave.
struct Computed {
    output: CryptoOutput,
    seen: Vec<(KmsKeyId, u64)>,
    key: KeyRecord,
}

impl CryptoInput {
    /// Which operation it is.
    #[must_use]
    pub const fn operation(&self) -> CryptoOperation {
        match self {
            Self::Encrypt(..) => CryptoOperation::Encrypt,
            Self::Decrypt(_) => CryptoOperation::Decrypt,
            Self::ReEncrypt(..) => CryptoOperation::ReEncrypt,
            Self::GenerateDataKey { .. } => CryptoOperation::GenerateDataKey,
        }
    }

    /// Everything that makes two calls the same call.
    fn mac(&self, engine: &Engine, caller: &Caller) -> RequestMac {
        let subject = caller.subject.to_string();
        let mut parts: Vec<&[u8]> = vec![self.operation().as_str().as_bytes(), subject.as_bytes()];
        match self {
            Self::Encrypt(target, plaintext) => {
                parts.extend(target.parts());
                parts.push(plaintext.expose());
            }
            Self::Decrypt(source) => parts.extend(source.parts()),
            Self::ReEncrypt(target, source) => {
                parts.extend(target.parts());
                parts.extend(source.parts());
            }
            Self::GenerateDataKey { target, spec, skip_plaintext } => {
                parts.extend(target.parts());
                parts.push(spec.as_str().as_bytes());
                parts.push(if *skip_plaintext { b"skip" } else { b"" });
            }
        }
        engine.mac_key().of(&parts)
    }
}

impl Target {
    fn parts(&self) -> [&[u8]; 3] {
        let version_id = self.version_id.as_ref().map_or("", KmsKeyVersionId::as_str);
        [self.key_id.as_str().as_bytes(), version_id.as_bytes(), &self.context]
    }
}

impl Source {
    fn parts(&self) -> [&[u8]; 3] {
        [self.key_id.as_str().as_bytes(), &self.context, &self.ciphertext]
    }
}

/// Does one crypto call. `observed` is filled in also when it fails.
///
/// # Errors
/// [`KmsError`]; nothing is billed then, except when the record's fate is unknown.
pub async fn execute(
    engine: &Engine,
    caller: &Caller,
    request_id: &str,
    input: &CryptoInput,
    observed: &mut Observed,
) -> Result<CryptoOutput, KmsError> {
    let claim = match &caller.via {
        Via::Assertion { kms_request_id: Some(id), .. } => {
            Some((id, BillingClaim { input_mac: input.mac(engine, caller) }))
        }
        Via::Assertion { kms_request_id: None, .. } => {
            return Err(KmsError::invalid("kms_request_id", "must be 16 or 32 bytes"));
        }
        Via::Node { .. } | Via::Token | Via::Operator => None,
    };
    for _ in 0..TRIES_MAX {
        let Computed { mut output, seen, key } = compute(engine, caller, input, observed)?;
        let entry = LedgerEntry {
            operation: input.operation(),
            target: output.target.clone(),
            source: output.source.clone(),
            folder_id: key.path.folder_id,
            scope: key.scope,
            subject: caller.subject.clone(),
            node: caller.node_name().map(str::to_owned),
            request_id: request_id.to_owned(),
            kms_request_id: claim
                .as_ref()
                .map(|(id, _)| id.as_bytes().to_vec())
                .unwrap_or_default(),
        };
        let claim = claim.as_ref().map(|(_, claim)| claim.clone());
        match engine.committer().record(CryptoCommit { entry, seen, claim }).await? {
            Ok(recorded) => {
                observed.recorded = Some(recorded);
                output.index = recorded.sequence;
                output.billable = recorded.billable;
                return Ok(output);
            }
            Err(CryptoRefusal::Stale) => {}
            Err(CryptoRefusal::RequestIdReused) => {
                return Err(engine.reading()?.reject(Rejection::RequestIdReused));
            }
            Err(CryptoRefusal::VersionExhausted) => {
                let KeyVersionRef { key_id, version_id } = output.target;
                let rejection = Rejection::VersionExhausted(key_id, version_id);
                return Err(engine.reading()?.reject(rejection));
            }
        }
    }
    Err(KmsError::Contended)
}

/// Decides and computes on one view.
fn compute(
    engine: &Engine,
    caller: &Caller,
    input: &CryptoInput,
    observed: &mut Observed,
) -> Result<Computed, KmsError> {
    let reading = engine.reading()?;
    *observed = Observed::default();
    let cx = Context { engine, reading: &reading, caller };
    match input {
        CryptoInput::Encrypt(target, plaintext) => {
            let opened = cx.open_target(target, observed)?;
            Ok(cx.seal(opened, target, plaintext, None))
        }
        CryptoInput::Decrypt(source) => {
            let key = cx.key(Permission::KmsKeysDecrypt, &source.key_id, &mut observed.key)?;
            cx.active(&key)?;
            let (version, plaintext) = cx.decrypt(&key, source, &mut observed.version_id)?;
            let output = CryptoOutput {
                target: version,
                source: None,
                plaintext: Some(plaintext),
                ciphertext: None,
                index: 0,
                billable: false,
            };
            Ok(Computed { output, seen: vec![(key.id.clone(), key.revision)], key })
        }
        CryptoInput::ReEncrypt(target, source) => {
            // Both rights before any state: a refusal must not tell the state of either key.
            let source_key =
                cx.key(Permission::KmsKeysDecrypt, &source.key_id, &mut observed.source_key)?;
            let opened = cx.open_target(target, observed)?;
            cx.active(&source_key)?;
            let (version, plaintext) =
                cx.decrypt(&source_key, source, &mut observed.source_version_id)?;
            let mut computed = cx.seal(opened, target, &plaintext, Some(version));
            computed.seen.push((source_key.id, source_key.revision));
            Ok(computed)
        }
        CryptoInput::GenerateDataKey { target, spec, skip_plaintext } => {
            let opened = cx.open_target(target, observed)?;
            let data_key = KeyMaterial::generate(*spec, engine.random());
            let plaintext = Sensitive::new(data_key.expose().to_vec());
            let mut computed = cx.seal(opened, target, &plaintext, None);
            computed.output.plaintext = (!skip_plaintext).then_some(plaintext);
            Ok(computed)
        }
    }
}

/// One view of the keys and who looks at it.
#[derive(Clone, Copy)]
struct Context<'a> {
    engine: &'a Engine,
    reading: &'a Reading<'a>,
    caller: &'a Caller,
}

/// A version that may encrypt, with its material.
struct Opened {
    key: KeyRecord,
    version: VersionRecord,
    material: KeyMaterial,
}

impl Context<'_> {
    fn key(
        &self,
        permission: Permission,
        key_id: &KmsKeyId,
        observed: &mut Option<KeyRecord>,
    ) -> Result<KeyRecord, KmsError> {
        self.reading.permitted_key(self.caller, permission, key_id, observed)
    }

    fn active(&self, key: &KeyRecord) -> Result<(), KmsError> {
        let mut status = key.status;
        if mutant(Mutant::KeyStatusCached) {
            status = seeded::status_lately(key);
        }
        match status {
            KeyStatus::Active => Ok(()),
            KeyStatus::Inactive => Err(self.reading.reject(Rejection::KeyInactive(key.id.clone()))),
        }
    }

    fn version(
        &self,
        key: &KeyRecord,
        version_id: &KmsKeyVersionId,
    ) -> Result<Option<VersionRecord>, KmsError> {
        let row = tables::version(&key.id, version_id);
        Ok(self.reading.view.record(Table::Versions, &row)?)
    }

    fn active_version(&self, version: &VersionRecord) -> Result<(), KmsError> {
        match version.status {
            VersionStatus::Active => Ok(()),
            VersionStatus::ScheduledForDestruction | VersionStatus::Destroyed => {
                let (key_id, id) = (version.key_id.clone(), version.id.clone());
                Err(self.reading.reject(Rejection::VersionNotActive(key_id, id)))
            }
        }
    }

    fn open_target(&self, target: &Target, observed: &mut Observed) -> Result<Opened, KmsError> {
        let key = self.key(Permission::KmsKeysEncrypt, &target.key_id, &mut observed.key)?;
        self.active(&key)?;
        let version_id = target.version_id.as_ref().unwrap_or(&key.primary_version_id);
        let version = self.version(&key, version_id)?.ok_or_else(|| {
            let rejection = Rejection::VersionNotFound(key.id.clone(), version_id.clone());
            self.reading.reject(rejection)
        })?;
        observed.version_id = Some(version.id.clone());
        self.active_version(&version)?;
        let material = self.engine.material(self.reading, &version)?;
        Ok(Opened { key, version, material })
    }

    fn seal(
        &self,
        opened: Opened,
        target: &Target,
        plaintext: &SensitiveBytes,
        source: Option<KeyVersionRef>,
    ) -> Computed {
        let Opened { key, version, material } = opened;
        let random = self.engine.random();
        let bytes = plaintext.expose();
        let ciphertext =
            ciphertext::seal(&material, &key.id, &version.id, &target.context, bytes, random);
        let output = CryptoOutput {
            target: KeyVersionRef { key_id: version.key_id, version_id: version.id },
            source,
            plaintext: None,
            ciphertext: Some(ciphertext),
            index: 0,
            billable: false,
        };
        Computed { output, seen: vec![(key.id.clone(), key.revision)], key }
    }

    fn decrypt(
        &self,
        key: &KeyRecord,
        source: &Source,
        observed: &mut Option<KmsKeyVersionId>,
    ) -> Result<(KeyVersionRef, SensitiveBytes), KmsError> {
        let foreign = || self.reading.reject(Rejection::Ciphertext);
        let parsed = Ciphertext::parse(&source.ciphertext).map_err(|_| foreign())?;
        // A version that this key does not have means a ciphertext of another key.
        let version = self.version(key, &parsed.version_id)?.ok_or_else(foreign)?;
        *observed = Some(version.id.clone());
        self.active_version(&version)?;
        let material = self.engine.material(self.reading, &version)?;
        let plaintext = parsed.open(&material, &key.id, &source.context).map_err(|_| foreign())?;
        let reference = KeyVersionRef { key_id: version.key_id, version_id: version.id };
        Ok((reference, plaintext))
    }
}
