//! From the domain to the wire: one function for each public resource.
//!
//! Nothing here decides anything; a field's meaning is in the domain, its number in the protos.

use lockbox_core::{LogTime, SecretId};
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use lockbox_proto::yandex::cloud::resourcemanager::v1 as resourcemanager;
use lockbox_raft::domain::identity::{
    AuthorizedKeyRecord, CloudRecord, FolderRecord, KeyAlgorithm, ServiceAccountRecord,
    ServiceAccountStatus,
};
use lockbox_raft::domain::operation::{
    OperationMetadata, OperationRecord, OperationResult, SecretSnapshot,
};
use lockbox_raft::domain::secret::{PasswordSpec, SecretStatus};
use lockbox_raft::domain::version::{VersionRecord, VersionStatus};
use prost::{Message, Name};
use prost_types::{Any, Timestamp};

use crate::bindings;

/// What every `Any` on the wire begins with (`contract §0.3`).
const TYPE_PREFIX: &str = "type.googleapis.com/";

/// Packs a message under its exact type.
#[must_use]
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("{TYPE_PREFIX}{}", M::full_name()), value: message.encode_to_vec() }
}

/// A point on the log's clock as a timestamp.
#[must_use]
pub fn timestamp(at: LogTime) -> Timestamp {
    let ms = at.as_ms();
    Timestamp {
        // Milliseconds since 1970 in a u64 are less than 2^63 seconds.
        seconds: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default(),
    }
}

/// A timestamp as a point on the log's clock; nothing before 1970.
#[must_use]
pub fn log_time(at: &Timestamp) -> Option<LogTime> {
    let seconds = u64::try_from(at.seconds).ok()?;
    let ms = u64::try_from(at.nanos).ok()? / 1_000_000;
    Some(LogTime::from_ms(seconds.checked_mul(1000)?.checked_add(ms)?))
}

/// A secret with its current version.
#[must_use]
pub fn secret(snapshot: &SecretSnapshot) -> wire::Secret {
    let record = &snapshot.secret;
    wire::Secret {
        id: record.id.to_string(),
        folder_id: record.folder_id.to_string(),
        created_at: Some(timestamp(record.created_at)),
        name: record.name.clone(),
        description: record.description.clone(),
        labels: record.labels.clone().into_iter().collect(),
        kms_key_id: record.kms_key_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        status: match record.status {
            SecretStatus::Active => wire::secret::Status::Active,
            SecretStatus::Inactive => wire::secret::Status::Inactive,
        }
        .into(),
        current_version: snapshot.current_version.as_ref().map(version),
        deletion_protection: record.deletion_protection,
        payload_specification: record.password_spec.as_ref().map(|spec| {
            wire::secret::PayloadSpecification::PasswordPayloadSpecification(password_spec(spec))
        }),
    }
}

/// A version's metadata.
#[must_use]
pub fn version(record: &VersionRecord) -> wire::Version {
    wire::Version {
        id: record.id.to_string(),
        secret_id: record.secret_id.to_string(),
        created_at: Some(timestamp(record.created_at)),
        destroy_at: record.destroy_at.map(timestamp),
        description: record.description.clone(),
        status: match record.status {
            VersionStatus::Active => wire::version::Status::Active,
            VersionStatus::ScheduledForDestruction => {
                wire::version::Status::ScheduledForDestruction
            }
            VersionStatus::Destroyed => wire::version::Status::Destroyed,
        }
        .into(),
        payload_entry_keys: record.entry_keys.clone(),
        payload_specification: record.password_spec.as_ref().map(|spec| {
            wire::version::PayloadSpecification::PasswordPayloadSpecification(password_spec(spec))
        }),
    }
}

fn password_spec(spec: &PasswordSpec) -> wire::PasswordPayloadSpecification {
    wire::PasswordPayloadSpecification {
        password_key: spec.password_key.clone(),
        length: i64::from(spec.length),
        include_uppercase: spec.include_uppercase,
        include_lowercase: spec.include_lowercase,
        include_digits: spec.include_digits,
        include_punctuation: spec.include_punctuation,
        included_punctuation: spec.included_punctuation.clone(),
        excluded_punctuation: spec.excluded_punctuation.clone(),
    }
}

/// A password specification as it came; its length was validated before.
#[must_use]
pub fn spec_from_wire(spec: wire::PasswordPayloadSpecification) -> PasswordSpec {
    PasswordSpec {
        password_key: spec.password_key,
        length: u32::try_from(spec.length).unwrap_or_default(),
        include_uppercase: spec.include_uppercase,
        include_lowercase: spec.include_lowercase,
        include_digits: spec.include_digits,
        include_punctuation: spec.include_punctuation,
        included_punctuation: spec.included_punctuation,
        excluded_punctuation: spec.excluded_punctuation,
    }
}

/// A service account.
#[must_use]
pub fn service_account(record: &ServiceAccountRecord) -> iam::ServiceAccount {
    iam::ServiceAccount {
        id: record.id.to_string(),
        folder_id: record.folder_id.to_string(),
        created_at: Some(timestamp(record.created_at)),
        name: record.name.clone(),
        description: record.description.clone(),
        labels: record.labels.clone().into_iter().collect(),
        last_authenticated_at: None,
        status: match record.status {
            ServiceAccountStatus::Active => iam::service_account::Status::Active,
            ServiceAccountStatus::Suspended => iam::service_account::Status::Suspended,
        }
        .into(),
        expires_at: record.expires_at.map(timestamp),
    }
}

/// The public half of an authorized key.
#[must_use]
pub fn authorized_key(record: &AuthorizedKeyRecord) -> iam::Key {
    iam::Key {
        id: record.id.to_string(),
        created_at: Some(timestamp(record.created_at)),
        description: record.description.clone(),
        key_algorithm: match record.algorithm {
            KeyAlgorithm::Rsa2048 => iam::key::Algorithm::Rsa2048,
            KeyAlgorithm::Rsa4096 => iam::key::Algorithm::Rsa4096,
        }
        .into(),
        public_key: record.public_key_pem.clone(),
        last_used_at: None,
        subject: Some(iam::key::Subject::ServiceAccountId(record.service_account_id.to_string())),
    }
}

/// A folder.
#[must_use]
pub fn folder(record: &FolderRecord) -> resourcemanager::Folder {
    resourcemanager::Folder {
        id: record.id.to_string(),
        cloud_id: record.cloud_id.to_string(),
        created_at: Some(timestamp(record.created_at)),
        name: record.name.clone(),
        description: record.description.clone(),
        labels: record.labels.clone(),
        status: resourcemanager::folder::Status::Active.into(),
    }
}

/// A cloud.
#[must_use]
pub fn cloud(record: &CloudRecord) -> resourcemanager::Cloud {
    resourcemanager::Cloud {
        id: record.id.to_string(),
        created_at: Some(timestamp(record.created_at)),
        name: record.name.clone(),
        description: record.description.clone(),
        organization_id: record.organization_id.to_string(),
        labels: record.labels.clone(),
    }
}

/// An operation: done, with exactly typed metadata and response (`contract §0.3`).
#[must_use]
pub fn operation(record: &OperationRecord) -> Operation {
    let at = Some(timestamp(record.created_at));
    Operation {
        id: record.id.to_string(),
        description: record.description.clone(),
        created_at: at,
        created_by: record.created_by.id.clone(),
        modified_at: at,
        done: true,
        metadata: metadata(&record.metadata),
        result: Some(operation::Result::Response(response(record))),
    }
}

fn metadata(metadata: &OperationMetadata) -> Option<Any> {
    let text = SecretId::to_string;
    Some(match metadata {
        OperationMetadata::CreateSecret { secret_id, version_id } => {
            pack(&wire::CreateSecretMetadata {
                secret_id: text(secret_id),
                version_id: version_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            })
        }
        OperationMetadata::UpdateSecret { secret_id } => {
            pack(&wire::UpdateSecretMetadata { secret_id: text(secret_id) })
        }
        OperationMetadata::DeleteSecret { secret_id } => {
            pack(&wire::DeleteSecretMetadata { secret_id: text(secret_id) })
        }
        OperationMetadata::ActivateSecret { secret_id } => {
            pack(&wire::ActivateSecretMetadata { secret_id: text(secret_id) })
        }
        OperationMetadata::DeactivateSecret { secret_id } => {
            pack(&wire::DeactivateSecretMetadata { secret_id: text(secret_id) })
        }
        OperationMetadata::AddVersion { secret_id, version_id, .. } => {
            let (secret_id, version_id) = (text(secret_id), version_id.to_string());
            pack(&wire::AddVersionMetadata { secret_id, version_id })
        }
        OperationMetadata::SetCurrentVersion { secret_id, version_id, .. } => {
            let (secret_id, version_id) = (text(secret_id), version_id.to_string());
            pack(&wire::SetCurrentVersionMetadata { secret_id, version_id })
        }
        OperationMetadata::ScheduleVersionDestruction { secret_id, version_id, destroy_at } => {
            pack(&wire::ScheduleVersionDestructionMetadata {
                secret_id: text(secret_id),
                version_id: version_id.to_string(),
                destroy_at: Some(timestamp(*destroy_at)),
            })
        }
        OperationMetadata::CancelVersionDestruction { secret_id, version_id } => {
            let (secret_id, version_id) = (text(secret_id), version_id.to_string());
            pack(&wire::CancelVersionDestructionMetadata { secret_id, version_id })
        }
        OperationMetadata::CreateServiceAccount { service_account_id } => {
            let service_account_id = service_account_id.to_string();
            pack(&iam::CreateServiceAccountMetadata { service_account_id })
        }
        OperationMetadata::UpdateServiceAccount { service_account_id } => {
            let service_account_id = service_account_id.to_string();
            pack(&iam::UpdateServiceAccountMetadata { service_account_id })
        }
        OperationMetadata::DeleteServiceAccount { service_account_id } => {
            let service_account_id = service_account_id.to_string();
            pack(&iam::DeleteServiceAccountMetadata { service_account_id })
        }
        OperationMetadata::SuspendServiceAccount { service_account_id } => {
            let service_account_id = service_account_id.to_string();
            pack(&iam::SuspendServiceAccountMetadata { service_account_id })
        }
        OperationMetadata::ReactivateServiceAccount { service_account_id } => {
            let service_account_id = service_account_id.to_string();
            pack(&iam::ReactivateServiceAccountMetadata { service_account_id })
        }
        OperationMetadata::SetAccessBindings { resource } => {
            pack(&access::SetAccessBindingsMetadata { resource_id: resource.id.clone() })
        }
        OperationMetadata::UpdateAccessBindings { resource } => {
            pack(&access::UpdateAccessBindingsMetadata { resource_id: resource.id.clone() })
        }
        OperationMetadata::DeleteAuthorizedKey { key_id } => {
            pack(&iam::DeleteKeyMetadata { key_id: key_id.to_string() })
        }
        OperationMetadata::UpdateAuthorizedKey { key_id } => {
            pack(&iam::UpdateKeyMetadata { key_id: key_id.to_string() })
        }
        OperationMetadata::CreateFolder { folder_id } => {
            pack(&resourcemanager::CreateFolderMetadata { folder_id: folder_id.to_string() })
        }
        OperationMetadata::UpdateFolder { folder_id } => {
            pack(&resourcemanager::UpdateFolderMetadata { folder_id: folder_id.to_string() })
        }
        OperationMetadata::CreateCloud { cloud_id } => {
            pack(&resourcemanager::CreateCloudMetadata { cloud_id: cloud_id.to_string() })
        }
        OperationMetadata::UpdateCloud { cloud_id } => {
            pack(&resourcemanager::UpdateCloudMetadata { cloud_id: cloud_id.to_string() })
        }
        // Records of the cluster's own doing: no public method answers with them.
        OperationMetadata::CreateAuthorizedKey { .. }
        | OperationMetadata::InitCluster
        | OperationMetadata::RecoverAdmin { .. }
        | OperationMetadata::DestroyVersion { .. }
        | OperationMetadata::RevokeToken { .. }
        | OperationMetadata::ChangeKeyring { .. } => return None,
    })
}

fn response(record: &OperationRecord) -> Any {
    match &record.metadata {
        OperationMetadata::SuspendServiceAccount { .. } => {
            return pack(&iam::SuspendServiceAccountResponse {});
        }
        OperationMetadata::ReactivateServiceAccount { .. } => {
            return pack(&iam::ReactivateServiceAccountResponse {});
        }
        _ => {}
    }
    match &record.result {
        OperationResult::Empty => {
            Any { type_url: format!("{TYPE_PREFIX}google.protobuf.Empty"), value: Vec::new() }
        }
        OperationResult::Secret(snapshot) => pack(&secret(snapshot)),
        OperationResult::Version(record) => pack(&version(record)),
        OperationResult::ServiceAccount(record) => pack(&service_account(record)),
        OperationResult::AuthorizedKey(record) => pack(&authorized_key(record)),
        OperationResult::Bindings(effective) => pack(&bindings::result_to_wire(effective)),
        OperationResult::Folder(record) => pack(&folder(record)),
        OperationResult::Cloud(record) => pack(&cloud(record)),
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::{OperationId, RequestId, ResourceKind, ResourceRef, Subject, VersionId};

    use super::*;

    #[test]
    fn operations_carry_exact_types() {
        let secret_id = SecretId::parse("s").unwrap();
        let record = OperationRecord {
            id: OperationId::parse("o").unwrap(),
            description: "Create secret".into(),
            created_at: LogTime::from_ms(1_500),
            created_by: Subject::internal(),
            resource: ResourceRef::new(ResourceKind::Secret, "s"),
            metadata: OperationMetadata::CreateSecret {
                secret_id,
                version_id: Some(VersionId::parse("v").unwrap()),
            },
            result: OperationResult::Empty,
            index: 1,
            request_id: RequestId::from_bytes([0; 16]),
            term: 1,
        };
        let operation = operation(&record);
        let url = |any: Option<&Any>| any.map(|a| a.type_url.clone()).unwrap_or_default();
        assert_eq!(
            url(operation.metadata.as_ref()),
            "type.googleapis.com/yandex.cloud.lockbox.v1.CreateSecretMetadata"
        );
        let Some(operation::Result::Response(response)) = &operation.result else { panic!() };
        assert_eq!(response.type_url, "type.googleapis.com/google.protobuf.Empty");
        let at = operation.created_at.unwrap();
        assert_eq!((at.seconds, at.nanos), (1, 500_000_000));
        assert!(operation.done);
    }

    #[test]
    fn times_round_trip_and_do_not_precede_the_epoch() {
        let at = LogTime::from_ms(1_700_000_000_123);
        assert_eq!(log_time(&timestamp(at)), Some(at));
        assert_eq!(log_time(&Timestamp { seconds: -1, nanos: 0 }), None);
    }
}
