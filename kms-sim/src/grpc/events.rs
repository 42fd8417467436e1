//! The audit events of the KMS (`contract §6.1`, `§6.3`), from what a call got to see.

use std::collections::BTreeMap;

use lockbox_core::ResourcePath;
use lockbox_platform::audit::details::{
    CryptoDetails, ReEncryptDetails, RequestDetails, SymmetricKeyDetails,
};
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::audit::{AuditDetails, AuditTime};

use super::call::Event;
use crate::crypto::Observed;
use crate::ledger::record::CryptoOperation;
use crate::store::records::{KeyRecord, OperationRecord};

/// The event of a crypto call; `key_id` and `source_key_id` are the ids as asked for.
pub(super) fn crypto(
    operation: CryptoOperation,
    observed: &Observed,
    key_id: &str,
    source_key_id: &str,
) -> Event {
    let text = |id: Option<String>| id.unwrap_or_default();
    let key = observed.key.as_ref();
    let target = CryptoDetails {
        key_id: key_id.to_owned(),
        key_name: text(key.map(|key| key.name.clone())),
        version_id: text(observed.version_id.clone().map(Into::into)),
        folder_id: text(key.map(|key| key.path.folder_id.to_string())),
    };
    let details = match operation {
        CryptoOperation::Encrypt => AuditDetails::Encrypt(target),
        CryptoOperation::Decrypt => AuditDetails::Decrypt(target),
        CryptoOperation::GenerateDataKey => AuditDetails::GenerateDataKey(target),
        CryptoOperation::ReEncrypt => {
            let source = observed.source_key.as_ref();
            AuditDetails::ReEncrypt(ReEncryptDetails {
                target,
                source_key_id: source_key_id.to_owned(),
                source_key_name: text(source.map(|key| key.name.clone())),
                source_version_id: text(observed.source_version_id.clone().map(Into::into)),
                source_folder_id: text(source.map(|key| key.path.folder_id.to_string())),
            })
        }
    };
    Event { details, path: path(key) }
}

/// Which mutation an event is about.
#[derive(Clone, Copy)]
pub(super) enum Mutation {
    Create,
    Update,
    Rotate,
}

/// The event of a mutation: the key afterwards, or what was seen of it before it was refused.
pub(super) fn mutation(
    mutation: Mutation,
    key_id: &str,
    operation: Option<&OperationRecord>,
    observed: Option<&KeyRecord>,
) -> Event {
    let key = operation.map(|operation| &operation.key).or(observed);
    let mut details = key.map_or_else(
        || SymmetricKeyDetails { key_id: key_id.to_owned(), ..SymmetricKeyDetails::default() },
        key_details,
    );
    if let Some(operation) = operation {
        details.primary_version_status = Some(operation.primary_version.status.as_str());
        details.primary_version_algorithm = Some(operation.primary_version.algorithm.as_str());
    }
    let details = match mutation {
        Mutation::Create => AuditDetails::CreateSymmetricKey(details),
        Mutation::Update => AuditDetails::UpdateSymmetricKey(details),
        Mutation::Rotate => AuditDetails::RotateSymmetricKey(details),
    };
    Event { details, path: path(key) }
}

/// The event of any other call: its name and the id that it named.
pub(super) fn request(
    source: EventSource,
    event_name: &'static str,
    id: (&'static str, &str),
    observed: Option<&KeyRecord>,
) -> Event {
    let ids = BTreeMap::from([(id.0, id.1.to_owned())]);
    let details = AuditDetails::Request(RequestDetails { source, event_name, ids });
    Event { details, path: path(observed) }
}

fn path(key: Option<&KeyRecord>) -> ResourcePath {
    key.map(KeyRecord::resources).unwrap_or_default()
}

fn key_details(key: &KeyRecord) -> SymmetricKeyDetails {
    let period = key.rotation_period_ms.map(|ms| format!("{}.{:03}s", ms / 1000, ms % 1000));
    SymmetricKeyDetails {
        key_id: key.id.to_string(),
        key_name: key.name.clone(),
        primary_version_id: key.primary_version_id.to_string(),
        default_algorithm: Some(key.default_algorithm.as_str()),
        rotation_period: period.unwrap_or_default(),
        key_status: Some(key.status.as_str()),
        deletion_protection: Some(key.deletion_protection),
        primary_version_status: None,
        primary_version_algorithm: None,
        description: key.description.clone(),
        labels: key.labels.clone(),
        created_at: Some(AuditTime::from(key.created_at)),
        rotated_at: Some(AuditTime::from(key.rotated_at)),
    }
}
