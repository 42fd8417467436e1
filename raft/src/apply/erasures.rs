//! What is destroyed is noted, so that every node takes it out of its files (`design §6`).
//!
//! Deleting a row leaves its bytes in older files, and the entry that brought it is in the log.
//! `apply` says up to where in the log that is so, and which rows it was; each node compares this
//! with how far it has come ([`crate::replica`]'s eraser).

use std::ops::Range;

use lockbox_core::{LogTime, SecretId, Subject, VersionId};

use super::Application;
use crate::domain::codec;
use crate::domain::command::{Command, Envelope, MergeBase};
use crate::domain::erasure::{Erasure, ErasurePoint};
use crate::domain::operation::OperationMetadata;
use crate::domain::outcome::Outcome;
use crate::domain::version::VersionStatus;
use crate::error::StorageError;
use crate::state::{Overlay, Space, StateRead, keys, tables};

/// Notes that the payload of a version is gone. Once in an entry.
pub(super) fn of_version(
    application: &mut Application<'_, '_>,
    secret: &SecretId,
    version: &VersionId,
) -> Result<(), StorageError> {
    let from = keys::payload(secret, version);
    let to = keys::prefix_end(&from);
    let (index, now) = (application.index, application.now);
    note(application.state, index, now, from..to)
}

/// Notes that all payloads of a secret are gone. Once in an entry.
pub(super) fn of_secret(
    application: &mut Application<'_, '_>,
    secret: &SecretId,
) -> Result<(), StorageError> {
    let from = keys::payloads_of(secret);
    let to = keys::prefix_end(&from);
    let (index, now) = (application.index, application.now);
    note(application.state, index, now, from..to)
}

/// Notes an entry that carries the values or the data key of a version that was destroyed before: a
/// copy of its proposal, a repeat of its request, a merge that was made of it, or a rewrap, that
/// came late. It has no effect on it, but stands in the log.
pub(super) fn of_late_copy(
    state: &mut Overlay<'_>,
    envelope: &Envelope,
    outcome: &Outcome,
    index: u64,
    now: LogTime,
) -> Result<(), StorageError> {
    let carried = envelope.command.payloads_carried();
    // A repeat under an idempotency key is sealed anew: the same values, and ids that never were.
    let repeated = match outcome {
        Outcome::Done(operation) if !carried.is_empty() => made_by(&operation.metadata),
        Outcome::Done(_) | Outcome::Rejected(_) | Outcome::Nothing => None,
    };
    let is_refused = matches!(outcome, Outcome::Rejected(_));
    let merged = merged_from(&envelope.command).filter(|_| is_refused);
    // Nobody but the cluster makes one, and of what was stored alone.
    let is_rewrap = matches!(envelope.command, Command::RewrapDataKeys(_))
        && envelope.subject == Subject::internal();
    let carried = carried.into_iter().map(|(secret, version)| (secret, version, is_rewrap));
    let repeated = repeated.map(|(secret, version)| (secret, version, true));
    let merged = merged.map(|(secret, version)| (secret, version, false));
    for (secret, version, was_stored) in carried.chain(repeated).chain(merged) {
        if is_gone(state, secret, version, was_stored)? {
            let key = keys::payload(secret, version);
            return note(state, index, now, key.clone()..key);
        }
    }
    Ok(())
}

/// The version that an operation has made.
fn made_by(metadata: &OperationMetadata) -> Option<(&SecretId, &VersionId)> {
    match metadata {
        OperationMetadata::CreateSecret { secret_id, version_id } => {
            Some((secret_id, version_id.as_ref()?))
        }
        OperationMetadata::AddVersion { secret_id, version_id, .. } => {
            Some((secret_id, version_id))
        }
        _ => None,
    }
}

/// The version whose values a new one begins with.
fn merged_from(command: &Command) -> Option<(&SecretId, &VersionId)> {
    let Command::AddVersion(add) = command else { return None };
    match &add.base {
        MergeBase::Named(id) | MergeBase::Default(Some(id)) => Some((&add.secret_id, id)),
        MergeBase::Default(None) | MergeBase::Generated => None,
    }
}

fn is_gone(
    state: &Overlay<'_>,
    secret: &SecretId,
    version: &VersionId,
    was_stored: bool,
) -> Result<bool, StorageError> {
    Ok(match tables::version(state, secret, version)? {
        Some(version) => version.status == VersionStatus::Destroyed,
        // It is forgotten by now.
        None if was_stored => true,
        // What was perhaps never stored is no version, and nothing to note.
        None => state.get(Space::Records, &keys::deleted_secret(secret))?.is_some(),
    })
}

fn note(
    state: &mut Overlay<'_>,
    index: u64,
    now: LogTime,
    rows: Range<Vec<u8>>,
) -> Result<(), StorageError> {
    let number = tables::erasures(state)?.count.saturating_add(1);
    let erasure = Erasure { number, from: rows.start, to: rows.end, at: now };
    let point = ErasurePoint { count: number, index, at: now };
    state.put(Space::System, keys::erasure(number), codec::encode(&erasure));
    state.put(Space::System, keys::SYSTEM_ERASURES.to_vec(), codec::encode(&point));
    Ok(())
}
