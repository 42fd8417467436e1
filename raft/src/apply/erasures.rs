//! What is destroyed is noted, so that every node takes it out of its files (`design §6`).
//!
//! Deleting a row leaves its bytes in older files, and the entry that brought it is in the log.
//! `apply` says up to where in the log that is so, and which rows it was; each node compares this
//! with how far it has come ([`crate::replica`]'s eraser).

use std::ops::Range;

use lockbox_core::{LogTime, SecretId, VersionId};

use super::Application;
use crate::domain::codec;
use crate::domain::command::Envelope;
use crate::domain::erasure::{Erasure, ErasurePoint};
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

/// Notes an entry that carries the payload of a version that was destroyed before: a copy of its
/// proposal that came late. It has no effect, but it stands in the log.
pub(super) fn of_late_copy(
    state: &mut Overlay<'_>,
    envelope: &Envelope,
    index: u64,
    now: LogTime,
) -> Result<(), StorageError> {
    let Some((secret, version)) = envelope.command.payload_of() else { return Ok(()) };
    let is_gone = match tables::version(state, secret, version)? {
        Some(version) => version.status == VersionStatus::Destroyed,
        None => state.get(Space::Records, &keys::deleted_secret(secret))?.is_some(),
    };
    if is_gone { note(state, index, now, Vec::new()..Vec::new()) } else { Ok(()) }
}

fn note(
    state: &mut Overlay<'_>,
    index: u64,
    now: LogTime,
    rows: Range<Vec<u8>>,
) -> Result<(), StorageError> {
    let number = tables::erasures(state)?.count.saturating_add(1);
    let erasure = Erasure { number, from: rows.start, to: rows.end };
    let point = ErasurePoint { count: number, index, at: now };
    state.put(Space::System, keys::erasure(number), codec::encode(&erasure));
    state.put(Space::System, keys::SYSTEM_ERASURES.to_vec(), codec::encode(&point));
    Ok(())
}
