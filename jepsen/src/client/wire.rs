//! From the messages of the public API to the answers of a history.
//!
//! Promises that whatever an answer says beyond what the history shows has been looked at here:
//! a message for another secret, of another type, or in a state that cannot be, is out of
//! contract and comes back as a sentence.

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use prost::{Message, Name};
use prost_types::{Any, Timestamp};
use wire::payload::entry::Value;

use super::request::{hash_binary, hash_text};
use crate::history::answer::{
    Answer, PayloadEntry, PayloadView, SecretPage, SecretStatus, SecretView, VersionList,
    VersionStatus, VersionView,
};
use crate::history::call::Call;
use crate::history::ids::SecretId;

/// What about an answer is out of contract, in one sentence.
pub type OutOfContract = String;

/// An answer as it came.
#[derive(Debug)]
pub enum Raw {
    /// Of every mutation.
    Operation(Box<Operation>),
    /// Of `SecretService.Get`.
    Secret(Box<wire::Secret>),
    /// Of `SecretService.ListVersions`.
    Versions(wire::ListVersionsResponse),
    /// Of `SecretService.List`.
    Secrets(wire::ListSecretsResponse),
    /// Of `PayloadService.Get`.
    Payload(wire::Payload),
    /// Of `IamTokenService.Revoke`, which tells nothing that the caller did not know.
    Revoked,
}

/// What an operation ended with.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "almost all are the largest variant")]
pub enum Ended {
    /// It did what was asked.
    Well(Answer),
    /// It failed: code and message (`contract §0.3`).
    Failed(i32, String),
}

/// Reads an answer to this call. `folder` is where the secrets of the run are that no call puts
/// elsewhere.
///
/// # Errors
/// What about it is out of contract.
pub fn read(call: &Call, folder: &str, raw: Raw) -> Result<Ended, OutOfContract> {
    let answer = match raw {
        Raw::Operation(operation) => return of_operation(call, folder, *operation),
        Raw::Secret(secret) => Answer::Secret(of_secret(folder, *secret)?),
        Raw::Versions(page) => {
            let secret = named(call)?;
            let versions = page.versions.into_iter().map(|version| of_version(secret, version));
            let versions = versions.collect::<Result<_, _>>()?;
            Answer::Versions(VersionList { versions, complete: page.next_page_token.is_empty() })
        }
        Raw::Secrets(page) => {
            let secrets = page.secrets.into_iter().map(|secret| of_secret(folder, secret));
            let next = Some(page.next_page_token).filter(|token| !token.is_empty());
            Answer::Secrets(SecretPage {
                secrets: secrets.collect::<Result<_, _>>()?,
                next: next.map(|token| token.as_str().into()),
            })
        }
        Raw::Payload(payload) => Answer::Payload(of_payload(payload)?),
        Raw::Revoked => Answer::Done,
    };
    right_secret(call, &answer)?;
    Ok(Ended::Well(answer))
}

fn of_operation(call: &Call, folder: &str, done: Operation) -> Result<Ended, OutOfContract> {
    let metadata = done.metadata.as_ref().ok_or("an operation without metadata")?;
    let response = match done.result {
        _ if !done.done => return Err("an operation that is not done".to_owned()),
        None => return Err("an operation that is done and has no result".to_owned()),
        Some(operation::Result::Error(error)) => {
            return Ok(Ended::Failed(error.code, error.message));
        }
        Some(operation::Result::Response(response)) => response,
    };
    let answer = match call {
        Call::CreateSecret(_) => {
            let told: wire::CreateSecretMetadata = unpack(metadata)?;
            let view = of_secret(folder, unpack(&response)?)?;
            let current = view.current.as_ref().map_or("", |version| version.id.as_str());
            same("secret", &told.secret_id, view.id.as_str())?;
            same("version", &told.version_id, current)?;
            Answer::Secret(view)
        }
        Call::UpdateSecret(_) => {
            let told: wire::UpdateSecretMetadata = unpack(metadata)?;
            changed_secret(folder, &told.secret_id, &response)?
        }
        Call::DeleteSecret(_) => {
            let told: wire::DeleteSecretMetadata = unpack(metadata)?;
            changed_secret(folder, &told.secret_id, &response)?
        }
        Call::Activate(_) => {
            let told: wire::ActivateSecretMetadata = unpack(metadata)?;
            changed_secret(folder, &told.secret_id, &response)?
        }
        Call::Deactivate(_) => {
            let told: wire::DeactivateSecretMetadata = unpack(metadata)?;
            changed_secret(folder, &told.secret_id, &response)?
        }
        Call::AddVersion(_) => {
            let told: wire::AddVersionMetadata = unpack(metadata)?;
            changed_version(call, &told.secret_id, &told.version_id, &response)?
        }
        Call::SetCurrentVersion(_) => {
            let told: wire::SetCurrentVersionMetadata = unpack(metadata)?;
            changed_version(call, &told.secret_id, &told.version_id, &response)?
        }
        Call::ScheduleDestruction(_) => {
            let told: wire::ScheduleVersionDestructionMetadata = unpack(metadata)?;
            changed_version(call, &told.secret_id, &told.version_id, &response)?
        }
        Call::CancelDestruction(_) => {
            let told: wire::CancelVersionDestructionMetadata = unpack(metadata)?;
            changed_version(call, &told.secret_id, &told.version_id, &response)?
        }
        Call::ChangeBinding(_) => {
            use lockbox_proto::yandex::cloud::access::UpdateAccessBindingsMetadata;
            let told: UpdateAccessBindingsMetadata = unpack(metadata)?;
            same("resource", &told.resource_id, named(call)?.as_str())?;
            unpack::<()>(&response)?;
            Answer::Done
        }
        Call::GetSecret(_)
        | Call::ListVersions(_)
        | Call::GetPayload(_)
        | Call::ListSecrets(_)
        | Call::RevokeToken(_) => {
            return Err("an operation as the answer to a call that makes none".to_owned());
        }
    };
    right_secret(call, &answer)?;
    Ok(Ended::Well(answer))
}

fn changed_secret(folder: &str, told: &str, response: &Any) -> Result<Answer, OutOfContract> {
    let view = of_secret(folder, unpack(response)?)?;
    same("secret", told, view.id.as_str())?;
    Ok(Answer::Secret(view))
}

fn changed_version(
    call: &Call,
    secret: &str,
    version: &str,
    response: &Any,
) -> Result<Answer, OutOfContract> {
    let asked = named(call)?;
    let view = of_version(asked, unpack(response)?)?;
    same("secret", secret, asked.as_str())?;
    same("version", version, view.id.as_str())?;
    Ok(Answer::Version(view))
}

fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, OutOfContract> {
    any.to_msg().map_err(|error| format!("an operation holds no {}: {error}", M::full_name()))
}

fn same(what: &str, told: &str, expected: &str) -> Result<(), OutOfContract> {
    if told == expected {
        return Ok(());
    }
    Err(format!("the metadata name the {what} {told:?} where the answer has {expected:?}"))
}

fn named(call: &Call) -> Result<&SecretId, OutOfContract> {
    call.secret().ok_or_else(|| format!("no such answer belongs to {}", call.name()))
}

/// A secret that answers must be the one that was asked for.
fn right_secret(call: &Call, answer: &Answer) -> Result<(), OutOfContract> {
    match (call.secret(), answer) {
        (Some(asked), Answer::Secret(view)) if view.id != *asked => {
            Err(format!("the answer is about the secret {}", view.id))
        }
        _ => Ok(()),
    }
}

fn of_secret(folder: &str, secret: wire::Secret) -> Result<SecretView, OutOfContract> {
    if secret.payload_specification.is_some() {
        return Err(format!("secret {} has a payload specification", secret.id));
    }
    let status = match secret.status() {
        wire::secret::Status::Active => SecretStatus::Active,
        wire::secret::Status::Inactive => SecretStatus::Inactive,
        status @ (wire::secret::Status::Unspecified | wire::secret::Status::Creating) => {
            return Err(format!("secret {} is {}", secret.id, status.as_str_name()));
        }
    };
    let id = SecretId::from(secret.id.as_str());
    let current = secret.current_version.map(|version| of_version(&id, version)).transpose()?;
    Ok(SecretView {
        created_at_ns: nanoseconds(secret.created_at, "created_at")?,
        id,
        // Whether it is the right one is for the specification to say.
        folder: Some(secret.folder_id.as_str()).filter(|id| *id != folder).map(Into::into),
        name: secret.name,
        description: secret.description,
        labels: secret.labels.into_iter().collect(),
        kms_key: Some(secret.kms_key_id.as_str()).filter(|id| !id.is_empty()).map(Into::into),
        status,
        deletion_protection: secret.deletion_protection,
        current,
    })
}

fn of_version(secret: &SecretId, version: wire::Version) -> Result<VersionView, OutOfContract> {
    if version.secret_id != secret.as_str() {
        return Err(format!("version {} is of the secret {:?}", version.id, version.secret_id));
    }
    if version.payload_specification.is_some() {
        return Err(format!("version {} has a payload specification", version.id));
    }
    let status = match version.status() {
        wire::version::Status::Active => VersionStatus::Active,
        wire::version::Status::ScheduledForDestruction => VersionStatus::Scheduled,
        wire::version::Status::Destroyed => VersionStatus::Destroyed,
        wire::version::Status::Unspecified => {
            return Err(format!("version {} has no status", version.id));
        }
    };
    let destroy_at = version.destroy_at.map(|at| nanoseconds(Some(at), "destroy_at"));
    Ok(VersionView {
        id: version.id.as_str().into(),
        description: version.description,
        status,
        keys: version.payload_entry_keys.iter().map(|key| key.as_str().into()).collect(),
        created_at_ns: nanoseconds(version.created_at, "created_at")?,
        destroy_at_ns: destroy_at.transpose()?,
    })
}

fn of_payload(payload: wire::Payload) -> Result<PayloadView, OutOfContract> {
    let entry = |entry: wire::payload::Entry| {
        let value = match entry.value {
            Some(Value::TextValue(text)) => hash_text(&text),
            Some(Value::BinaryValue(bytes)) => hash_binary(&bytes),
            None => return Err(format!("the entry {:?} has no value", entry.key)),
        };
        Ok(PayloadEntry { key: entry.key.as_str().into(), value })
    };
    let entries = payload.entries.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(PayloadView { version: payload.version_id.as_str().into(), entries })
}

fn nanoseconds(at: Option<Timestamp>, field: &str) -> Result<i64, OutOfContract> {
    let at = at.ok_or_else(|| format!("{field} is missing"))?;
    let seconds = at.seconds.checked_mul(1_000_000_000);
    let whole = seconds.and_then(|ns| ns.checked_add(i64::from(at.nanos)));
    whole.ok_or_else(|| format!("{field} is not a time"))
}
