//! The only writer of state: one log entry in, one outcome out.
//!
//! Pure and deterministic: the same state and the same entry give the same bytes on every node.
//! No clock, no randomness, no map order, no I/O beyond the view; time comes from the entry.
//! Whatever a handler checked on its view is decided again here (`design §3`).

mod access;
mod accounts;
mod audit_heads;
mod bindings;
mod changes;
mod containers;
mod destroyed;
mod destruction;
mod erasures;
mod feature_level;
mod identity;
mod keyring;
mod kms_witness;
mod members;
mod metering;
mod paths;
mod recovery;
mod restored;
mod retention;
mod secret;
mod seeded;
mod state_check;
mod tokens;
mod trim;
mod version;

use std::time::Duration;

use lockbox_core::{LogTime, Mutant, OperationId, ResourceRef, Subject, mutant};

use crate::domain::codec;
use crate::domain::command::{Command, Envelope};
use crate::domain::operation::{OperationMetadata, OperationRecord, OperationResult};
use crate::domain::outcome::{Outcome, Rejection};
use crate::error::StorageError;
use crate::state::{Overlay, Space, StateRead, TimedView, keys, tables};

pub use access::{
    Held, Unmet, authenticate, authorize, held_along, identify, may_all_of, require,
    require_grantor, require_key_maker, require_over_keys, require_own_token, require_payload,
};
pub use destruction::destructions_due;
pub use identity::{account_of, account_path, room_for_authorized_key};
pub use members::register_members;
pub use paths::{bound_path, cloud_path, find_resource};
pub use restored::{destroy_again, found_restored};
pub use retention::{recall, recall_or_room};
pub use secret::{CreationLimits, expect_current, room_for_secret, secret_id_taken};
pub use version::{default_base, room_for_version};

/// Why a command ends without an effect: the state says no, or the store cannot answer.
#[derive(Debug)]
pub enum Refusal {
    /// The state says no; the entry's outcome.
    Rejected(Rejection),
    /// The store cannot answer; the process ends.
    Storage(StorageError),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<crate::domain::outcome::Precondition> for Refusal {
    fn from(precondition: crate::domain::outcome::Precondition) -> Self {
        Self::Rejected(precondition.into())
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// What a command did: enough to make its operation.
struct Effect {
    description: String,
    resource: ResourceRef,
    metadata: OperationMetadata,
    result: OperationResult,
}

/// Where in the log an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPosition {
    /// Its index.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
}

/// A command on its way through `apply`: where it writes, and at which point of the log.
struct Application<'o, 'b> {
    state: &'o mut Overlay<'b>,
    index: u64,
    now: LogTime,
}

impl Application<'_, '_> {
    /// What rights are judged by.
    fn view(&self) -> TimedView<'_> {
        TimedView::new(&*self.state, self.now)
    }

    fn put<T: minicbor::Encode<()>>(&mut self, space: Space, key: Vec<u8>, record: &T) {
        self.state.put(space, key, codec::encode(record));
    }
}

/// Applies one encoded [`Envelope`] to the overlay, as the entry at this position of the log.
///
/// On return the overlay's pending level is empty: kept on success, dropped on rejection. Only
/// the log time advances whatever the outcome, so that it never goes back; and what the entry
/// brings of a version that is destroyed already is noted, for the log holds it.
///
/// # Errors
/// [`StorageError`] when the store cannot answer or the entry does not decode; the node stops.
pub fn apply_entry(
    state: &mut Overlay<'_>,
    encoded: &[u8],
    at: EntryPosition,
) -> Result<Outcome, StorageError> {
    let envelope: Envelope = codec::decode(encoded).map_err(|e| {
        StorageError::corrupt("apply a log entry", format!("entry {}: {e}", at.index))
    })?;
    let now = tables::log_time(state)?.max(envelope.proposed_at);
    let outcome = match decide(state, &envelope, at, now) {
        Ok(outcome) => {
            state.keep();
            outcome
        }
        Err(Refusal::Rejected(rejection)) => {
            state.discard();
            Outcome::Rejected(rejection)
        }
        Err(Refusal::Storage(error)) => {
            state.discard();
            return Err(error);
        }
    };
    state.put(Space::System, keys::SYSTEM_LOG_TIME.to_vec(), codec::encode(&now));
    let is_new = matches!(&outcome, Outcome::Done(operation) if operation.index == at.index);
    // A rewrap takes effect on those that are there, and passes over those that are gone.
    if !is_new || matches!(envelope.command, Command::RewrapDataKeys(_)) {
        erasures::of_late_copy(state, &envelope, &outcome, at.index, now)?;
    }
    retention::expire(state, now)?;
    trim::trim(state, now)?;
    state.keep();
    Ok(outcome)
}

fn decide(
    state: &mut Overlay<'_>,
    envelope: &Envelope,
    at: EntryPosition,
    now: LogTime,
) -> Result<Outcome, Refusal> {
    let repeat = |found: &OperationRecord| !seeded::overlooks(found, at.index);
    if let Some(operation) = retention::repeated_request(state, envelope)?.filter(repeat) {
        return Ok(Outcome::Done(Box::new(operation)));
    }
    feature_level::require(state, &envelope.command)?;
    access::authenticate(state, &envelope.subject, envelope.token.as_ref(), now)?;
    if let Some(claim) = &envelope.idempotency
        && let Some(operation) = retention::recall(state, &envelope.subject, claim)?.filter(repeat)
    {
        return Ok(Outcome::Done(Box::new(operation)));
    }
    let mut application = Application { state, index: at.index, now };
    let Some(effect) = dispatch(&mut application, envelope)? else { return Ok(Outcome::Nothing) };
    let operation = operation_of(&envelope.operation_id, effect, envelope, at, now);
    retention::remember(&mut application, envelope, &operation)?;
    Ok(Outcome::Done(Box::new(operation)))
}

/// Applies the command itself; no effect when it makes no operation.
fn dispatch(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
) -> Result<Option<Effect>, Refusal> {
    let begins_term = matches!(envelope.command, Command::AdvanceTime);
    if mutant(Mutant::KeysForgottenAtLeaderChange) && begins_term {
        seeded::forget_keys(application.state)?;
    }
    let effect = match &envelope.command {
        Command::AdvanceTime if envelope.subject == Subject::internal() => return Ok(None),
        Command::AdvanceTime => return Err(Rejection::PermissionDenied.into()),
        Command::SetRetention { bytes_max } => {
            return trim::set_retention(application, envelope, *bytes_max).map(|()| None);
        }
        Command::BeginStateCheck => {
            return state_check::begin(application, envelope).map(|()| None);
        }
        Command::ReportStateHash { index, report } => {
            return state_check::report(application, envelope, *index, report).map(|()| None);
        }
        Command::AnchorAuditHead(head) => {
            return audit_heads::anchor(application, envelope, head).map(|()| None);
        }
        Command::ReportReads(report) => {
            return metering::count_reads(application, envelope, report).map(|()| None);
        }
        Command::AttestKms(told) => {
            return kms_witness::attest(application, envelope, told).map(|()| None);
        }
        Command::RaiseFeatureLevel { level } => {
            return feature_level::raise(application, envelope, *level).map(|()| None);
        }
        Command::InitCluster(init) => identity::init_cluster(application, init),
        Command::CreateSecret(create) => secret::create(application, envelope, create),
        Command::UpdateSecret { secret_id, changes } => {
            secret::update(application, envelope, secret_id, changes)
        }
        Command::DeleteSecret { secret_id } => secret::delete(application, envelope, secret_id),
        Command::SetSecretStatus { secret_id, status } => {
            secret::set_status(application, envelope, secret_id, *status)
        }
        Command::AddVersion(add) => version::add(application, envelope, add),
        Command::SetCurrentVersion { secret_id, version_id } => {
            version::set_current(application, envelope, secret_id, version_id)
        }
        Command::CreateServiceAccount(create) => {
            identity::create_service_account(application, envelope, create)
        }
        Command::CreateAuthorizedKey(create) => {
            identity::create_authorized_key(application, envelope, create)
        }
        Command::SetAccessBindings { resource, bindings } => {
            bindings::set(application, envelope, resource, bindings)
        }
        Command::UpdateAccessBindings { resource, deltas } => {
            bindings::update(application, envelope, resource, deltas)
        }
        Command::DeleteAuthorizedKey { key_id } => {
            identity::delete_authorized_key(application, envelope, key_id)
        }
        Command::UpdateAuthorizedKey { key_id, description } => {
            identity::update_authorized_key(application, envelope, key_id, description)
        }
        Command::CreateCloud(create) => containers::create_cloud(application, envelope, create),
        Command::UpdateCloud { cloud_id, changes } => {
            containers::update_cloud(application, envelope, cloud_id, changes)
        }
        Command::CreateFolder(create) => containers::create_folder(application, envelope, create),
        Command::UpdateFolder { folder_id, changes } => {
            containers::update_folder(application, envelope, folder_id, changes)
        }
        Command::ScheduleVersionDestruction { secret_id, version_id, pending_ms, retained_ms } => {
            let periods = destruction::Periods {
                pending: Duration::from_millis(*pending_ms),
                retained_ms: *retained_ms,
            };
            destruction::schedule(application, envelope, (secret_id, version_id), periods)
        }
        Command::CancelVersionDestruction { secret_id, version_id } => {
            destruction::cancel(application, envelope, secret_id, version_id)
        }
        Command::UpdateServiceAccount { service_account_id, changes } => {
            accounts::update(application, envelope, service_account_id, changes)
        }
        Command::DeleteServiceAccount { service_account_id } => {
            accounts::delete(application, envelope, service_account_id)
        }
        Command::SetServiceAccountStatus { service_account_id, status } => {
            accounts::set_status(application, envelope, service_account_id, *status)
        }
        Command::RevokeToken(revoke) => Ok(tokens::revoke(application, revoke)?),
        Command::DestroyVersion(due) => destruction::destroy(application, envelope, due),
        Command::RecoverAdmin(recover) => recovery::recover_admin(application, envelope, recover),
        Command::AddKeyringKey(new) => keyring::add(application, envelope, new),
        Command::ConfirmKeyringKey { key_id, stage, node_id } => {
            keyring::confirm(application, envelope, (*key_id, *stage), *node_id)
        }
        Command::StepKeyringKey { key_id, to } => {
            keyring::step(application, envelope, *key_id, *to)
        }
        Command::RewrapDataKeys(rewraps) => {
            keyring::rewrap_data_keys(application, envelope, rewraps)
        }
        Command::RewrapKeyringKey(rewrap) => keyring::rewrap_key(application, envelope, rewrap),
    };
    effect.map(Some)
}

fn operation_of(
    id: &OperationId,
    effect: Effect,
    envelope: &Envelope,
    at: EntryPosition,
    now: LogTime,
) -> OperationRecord {
    OperationRecord {
        id: id.clone(),
        description: effect.description,
        created_at: now,
        created_by: envelope.subject.clone(),
        resource: effect.resource,
        metadata: effect.metadata,
        result: effect.result,
        index: at.index,
        request_id: envelope.request_id,
        term: at.term,
    }
}

/// The row under a key must not exist yet: ids are random, so a collision is a repeated proposal
/// under another request id, or a forged one.
fn require_absent(
    state: &dyn StateRead,
    space: Space,
    key: &[u8],
    kind: lockbox_core::ResourceKind,
) -> Result<(), Refusal> {
    match state.get(space, key)? {
        Some(_) => Err(Rejection::AlreadyExists { kind }.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
