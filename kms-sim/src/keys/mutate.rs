//! The way of every mutation: a repeat is answered, rights are judged on a view, and the decision
//! falls at the mutation's own place in the commit sequence.
//!
//! Promises: a right on a key that was lost before that place is not used. The revision of the
//! key's bindings goes along with the command; when they have changed since, the rights are judged
//! again.

use lockbox_core::{KmsKeyId, KmsKeyVersionId, OperationId, Permission, Subject};

use super::apply::{self, Decision, Refusal};
use super::command::{Command, Envelope, IdempotencyClaim};
use super::service::Answer;
use crate::caller::Caller;
use crate::commit::Mutated;
use crate::engine::Engine;
use crate::error::{KmsError, Rejection};
use crate::store::records::{KeyRecord, OperationRecord};

/// Times a mutation is judged again because the bindings of its key changed meanwhile.
const TRIES_MAX: usize = 16;

/// What a mutation answers.
pub type Done = Answer<Box<OperationRecord>>;

/// What a mutation of a key is about.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The key.
    pub(super) key_id: &'a KmsKeyId,
    /// The version that the request names, for refusals.
    pub(super) version_id: Option<&'a KmsKeyVersionId>,
    /// What the caller needs, all of it.
    pub(super) needed: &'a [Permission],
}

impl<'a> Target<'a> {
    /// A key as a whole, and one right.
    pub(super) const fn key(key_id: &'a KmsKeyId, needed: &'a [Permission]) -> Self {
        Self { key_id, version_id: None, needed }
    }
}

/// Changes a key. `command` is made of the key as it was seen, anew for each try.
///
/// # Errors
/// [`KmsError`].
pub(super) async fn change(
    engine: &Engine,
    caller: &Caller,
    target: Target<'_>,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
    command: impl Fn(&KeyRecord) -> Result<Command, KmsError>,
) -> Result<Done, KmsError> {
    if let Some(repeat) = recall(engine, caller, idempotency.as_ref())? {
        return Ok(repeat);
    }
    for _ in 0..TRIES_MAX {
        let key = {
            let reading = engine.reading()?;
            let key = reading.key(target.key_id, observed)?;
            reading.require(caller, target.needed, &key)?;
            key
        };
        let envelope = Envelope {
            command: command(&key)?,
            operation_id: OperationId::generate(engine.random()),
            created_by: caller.subject.clone(),
            seen: Some(key.bindings_revision),
            idempotency: idempotency.clone(),
        };
        let Mutated { index, outcome } = engine.committer().mutate(envelope).await?;
        match outcome {
            Ok(value) => return Ok(Answer { value, index }),
            Err(Refusal::Stale) => {}
            Err(refusal) => return Err(refused(refusal, &target, index)),
        }
    }
    Err(KmsError::Contended)
}

/// Does a mutation that no right of a key stands behind: the caller has judged it.
///
/// # Errors
/// [`KmsError`].
pub(super) async fn commit(
    engine: &Engine,
    created_by: Subject,
    command: Command,
    idempotency: Option<IdempotencyClaim>,
) -> Result<Done, KmsError> {
    let key_id = command.key_id().clone();
    let envelope = Envelope {
        command,
        operation_id: OperationId::generate(engine.random()),
        created_by,
        seen: None,
        idempotency,
    };
    let Mutated { index, outcome } = engine.committer().mutate(envelope).await?;
    outcome
        .map(|value| Answer { value, index })
        .map_err(|refusal| refused(refusal, &Target::key(&key_id, &[]), index))
}

/// The operation of an earlier call under the same idempotency key. It needs no right any more: it
/// was the caller's own, and the key may be gone by now.
///
/// # Errors
/// [`KmsError`], also when the key was used for another request.
pub(super) fn recall(
    engine: &Engine,
    caller: &Caller,
    idempotency: Option<&IdempotencyClaim>,
) -> Result<Option<Done>, KmsError> {
    let Some(claim) = idempotency else { return Ok(None) };
    let reading = engine.reading()?;
    match apply::earlier(&reading.view, &caller.subject, claim)? {
        Some(Decision::Repeat(value)) => Ok(Some(Answer { value, index: reading.index })),
        Some(Decision::Refused(_)) => Err(reading.reject(Rejection::IdempotencyKeyReused)),
        Some(Decision::Commit { .. }) | None => Ok(None),
    }
}

/// A refusal in the words of a caller.
fn refused(refusal: Refusal, target: &Target<'_>, index: u64) -> KmsError {
    let key_id = target.key_id.clone();
    // Who names no version is refused for none.
    let of_version = |make: fn(KmsKeyId, KmsKeyVersionId) -> Rejection| {
        let key_id = target.key_id.clone();
        match target.version_id {
            Some(version_id) => make(key_id, version_id.clone()),
            None => Rejection::KeyNotFound(key_id),
        }
    };
    let rejection = match refusal {
        Refusal::KeyNotFound => Rejection::KeyNotFound(key_id),
        Refusal::KeyInactive => Rejection::KeyInactive(key_id),
        Refusal::DeletionProtected => Rejection::DeletionProtected(key_id),
        Refusal::KeyNotDeleted => Rejection::KeyNotDeleted(key_id),
        Refusal::VersionNotFound => of_version(Rejection::VersionNotFound),
        Refusal::VersionNotActive => of_version(Rejection::VersionNotActive),
        Refusal::VersionNotScheduled => of_version(Rejection::VersionNotScheduled),
        Refusal::VersionIsPrimary => of_version(Rejection::VersionIsPrimary),
        Refusal::TooManyKeys => Rejection::TooManyKeys,
        Refusal::TooManyVersions => Rejection::TooManyVersions,
        Refusal::TooManyBindings => Rejection::TooManyBindings,
        Refusal::IdempotencyKeyReused => Rejection::IdempotencyKeyReused,
        Refusal::Stale | Refusal::NotDue => return KmsError::Contended,
    };
    KmsError::Rejected { index, rejection }
}
